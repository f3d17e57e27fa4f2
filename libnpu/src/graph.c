// SPDX-License-Identifier: MIT
/* Graphs, scalars, tensors and views. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "graph.h"

/* ---- Memory ---------------------------------------------------------------------- */

#define CHUNK_BYTES 65536u

struct chunk_mem {
	struct chunk_mem *next;
	size_t used, room;
	_Alignas(16) char data[];
};

void *graph_alloc(struct npu_graph *g, size_t bytes)
{
	struct chunk_mem *c = g->mem;
	void *p;

	bytes = (bytes + 15) & ~(size_t)15;
	if (!c || c->room - c->used < bytes) {
		size_t room = bytes > CHUNK_BYTES ? bytes : CHUNK_BYTES;

		c = npu_alloc(g->dev, sizeof(*c) + room);
		if (!c) {
			graph_fail(g, -ENOMEM, "no memory for the graph");
			return NULL;
		}
		c->room = room;
		c->next = g->mem;
		g->mem = c;
	}
	p = c->data + c->used;
	c->used += bytes;
	return p;
}

const char *graph_strdup(struct npu_graph *g, const char *text)
{
	size_t n = strlen(text) + 1;
	char *p = graph_alloc(g, n);

	return p ? memcpy(p, text, n) : NULL;
}

int graph_fail(struct npu_graph *g, int err, const char *fmt, ...)
{
	va_list ap;
	int n = 0;

	if (g->status)
		return g->status;
	if (g->scope && g->scope[0])
		n = snprintf(g->error, sizeof(g->error), "%.64s/", g->scope);
	va_start(ap, fmt);
	vsnprintf(g->error + n, sizeof(g->error) - (size_t)n, fmt, ap);
	va_end(ap);
	g->status = err;
	return npu_fail(g->dev, err, "%s", g->error);
}

/* ---- Graph ------------------------------------------------------------------------- */

int npu_graph_create(struct npu_device *dev, struct npu_graph **out)
{
	struct npu_graph *g;
	int err = npu_device_enter(dev);

	*out = NULL;
	if (err)
		return err;
	g = npu_alloc(dev, sizeof(*g));
	if (!g)
		return npu_fail(dev, -ENOMEM, "no memory for a graph");
	g->dev = dev;
	g->block_room = 8;
	g->blocks = npu_alloc(dev, g->block_room * sizeof(*g->blocks));
	if (!g->blocks) {
		npu_free(dev, g);
		return npu_fail(dev, -ENOMEM, "no memory for a graph");
	}
	g->nblocks = 1;
	g->blocks[0].open = true;
	npu_device_ref(dev);
	*out = g;
	return 0;
}

void npu_graph_destroy(struct npu_graph *g)
{
	struct npu_device *dev;
	struct chunk_mem *c;

	if (!g)
		return;
	dev = g->dev;
	for (struct storage *st = g->storages; st; st = st->next)
		npu_buffer_unref(st->buffer);
	while ((c = g->mem)) {
		g->mem = c->next;
		npu_free(dev, c);
	}
	npu_free(dev, g->nodes);
	npu_free(dev, g->blocks);
	npu_free(dev, g);
	npu_device_close(dev);
}

int npu_graph_status(const struct npu_graph *g)
{
	return g->status;
}

const char *npu_graph_error(const struct npu_graph *g)
{
	return g->error;
}

void npu_graph_scope(struct npu_graph *g, const char *scope)
{
	g->scope = scope ? graph_strdup(g, scope) : NULL;
}

struct node *graph_node(struct npu_graph *g, enum node_kind kind)
{
	struct node *n;

	if (g->status)
		return NULL;
	if (g->nnodes == g->node_room) {
		uint32_t room = g->node_room ? 2 * g->node_room : 256;
		void *p = npu_resize(g->dev, g->nodes, room * sizeof(*g->nodes));

		if (!p) {
			graph_fail(g, -ENOMEM, "no memory for the graph");
			return NULL;
		}
		g->nodes = p;
		g->node_room = room;
	}
	n = graph_alloc(g, sizeof(*n));
	if (!n)
		return NULL;
	n->kind = (uint8_t)kind;
	n->scope = g->scope;
	n->block = g->current;
	n->id = g->nnodes + 1;
	g->nodes[g->nnodes++] = n;
	return n;
}

/* ---- Scalars ----------------------------------------------------------------------- */

static int new_scalar(struct npu_graph *g, const char *name, uint64_t max, int arg)
{
	struct scalar *s;

	if (g->status)
		return g->status;
	if (g->nscalars == GRAPH_SCALARS)
		return graph_fail(g, -ENOSPC, "scalar %s: there is room for %u scalars", name ? name : "", GRAPH_SCALARS);
	s = &g->scalars[g->nscalars++];
	snprintf(s->name, sizeof(s->name), "%s", name ? name : "");
	s->max = max;
	s->arg = arg;
	return (int)g->nscalars;
}

int npu_graph_arg(struct npu_graph *g, const char *name, uint64_t max)
{
	int id = new_scalar(g, name, max, (int)g->nargs);

	if (id > 0)
		g->nargs++;
	return id;
}

int npu_graph_var(struct npu_graph *g, const char *name, uint64_t max)
{
	return new_scalar(g, name, max, -1);
}

bool graph_scalar_ok(struct npu_graph *g, int scalar)
{
	return scalar > 0 && (uint32_t)scalar <= g->nscalars;
}

bool graph_affine_ok(struct npu_graph *g, const struct npu_affine *a, const char *what)
{
	if ((!a->a || graph_scalar_ok(g, a->a)) && (!a->b || graph_scalar_ok(g, a->b)))
		return true;
	graph_fail(g, -EINVAL, "%s: no scalar %d or %d", what, a->a, a->b);
	return false;
}

static __int128 term(const struct npu_graph *g, int scalar, int32_t scale, bool largest)
{
	__int128 max = scalar > 0 ? (__int128)g->scalars[scalar - 1].max : 0;

	return (scale > 0) == largest ? max * scale : 0;
}

__int128 graph_affine_max(const struct npu_graph *g, const struct npu_affine *a)
{
	return (__int128)(int64_t)a->imm + term(g, a->a, a->sa, true) + term(g, a->b, a->sb, true);
}

__int128 graph_affine_min(const struct npu_graph *g, const struct npu_affine *a)
{
	return (__int128)(int64_t)a->imm + term(g, a->a, a->sa, false) + term(g, a->b, a->sb, false);
}

int npu_graph_set(struct npu_graph *g, int var, struct npu_affine value)
{
	struct node *n;

	if (g->status)
		return g->status;
	if (!graph_scalar_ok(g, var) || !graph_affine_ok(g, &value, "set"))
		return graph_fail(g, -EINVAL, "set: no scalar %d", var);
	n = graph_node(g, NODE_SET);
	if (!n)
		return g->status;
	n->scalar = var;
	n->value = value;
	return 0;
}

int npu_graph_let(struct npu_graph *g, const char *name, struct npu_affine value, uint64_t max)
{
	int var = npu_graph_var(g, name, max), err;

	if (var < 0)
		return var;
	err = npu_graph_set(g, var, value);
	return err ? err : var;
}

int npu_graph_alu(struct npu_graph *g, enum npu_alu_op op, int var, struct npu_affine value)
{
	struct node *n;

	if (g->status)
		return g->status;
	if ((unsigned int)op >= NPU_ALU_COUNT || !graph_scalar_ok(g, var) || !graph_affine_ok(g, &value, "alu"))
		return graph_fail(g, -EINVAL, "alu: no operation %d or scalar %d", (int)op, var);
	n = graph_node(g, NODE_ALU);
	if (!n)
		return g->status;
	n->alu = (uint8_t)op;
	n->scalar = var;
	n->value = value;
	return 0;
}

static bool scalar_memory(struct npu_graph *g, struct npu_gtensor *t, const char *op)
{
	if (!graph_use(g, t, op, "tensor"))
		return false;
	if (t->type == NPU_TYPE_I32 || t->type == NPU_TYPE_I64)
		return true;
	graph_fail(g, -EINVAL, "%s: the tensor is %s and must be i32 or i64", op, npu_type_name(t->type));
	return false;
}

int npu_graph_load(struct npu_graph *g, int var, struct npu_gtensor *t)
{
	struct node *n;

	if (g->status)
		return g->status;
	if (!graph_scalar_ok(g, var))
		return graph_fail(g, -EINVAL, "load: no scalar %d", var);
	if (!scalar_memory(g, t, "load"))
		return g->status;
	n = graph_node(g, NODE_LOAD);
	if (!n)
		return g->status;
	n->scalar = var;
	n->opnd[0] = t;
	return 0;
}

static int write_node(struct npu_graph *g, enum node_kind kind, struct npu_gtensor *t, const char *op,
		      struct npu_affine value)
{
	struct node *n;

	if (!graph_affine_ok(g, &value, op))
		return g->status;
	if (t->st->readonly)
		return graph_fail(g, -EINVAL, "%s: %s may not be written", op, t->name ? t->name : "the tensor");
	n = graph_node(g, kind);
	if (!n)
		return g->status;
	n->opnd[0] = t;
	n->value = value;
	return 0;
}

int npu_graph_store(struct npu_graph *g, struct npu_gtensor *t, struct npu_affine value)
{
	if (g->status)
		return g->status;
	return scalar_memory(g, t, "store") ? write_node(g, NODE_STORE, t, "store", value) : g->status;
}

int npu_graph_timestamp(struct npu_graph *g, struct npu_gtensor *t)
{
	if (g->status)
		return g->status;
	if (!scalar_memory(g, t, "timestamp"))
		return g->status;
	if (t->type != NPU_TYPE_I64 || t->ne[0] < 4)
		return graph_fail(g, -EINVAL, "timestamp: the tensor must be i64 with 4 elements");
	return write_node(g, NODE_TIMESTAMP, t, "timestamp", npu_const(0));
}

int npu_graph_progress(struct npu_graph *g, struct npu_affine value, bool irq)
{
	struct node *n;

	if (g->status)
		return g->status;
	if (!graph_affine_ok(g, &value, "progress"))
		return g->status;
	n = graph_node(g, NODE_PROGRESS);
	if (!n)
		return g->status;
	n->value = value;
	n->irq = irq;
	return 0;
}

/* ---- Loops and skips ------------------------------------------------------------------ */

static int open_block(struct npu_graph *g, enum node_kind kind, struct node **out)
{
	uint32_t depth = 0, id = g->nblocks;
	struct node *n;

	for (uint32_t b = g->current; b; b = g->blocks[b].parent)
		depth++;
	if (depth == GRAPH_DEPTH)
		return graph_fail(g, -ENOSPC, "loops and skips nest at most %u deep", GRAPH_DEPTH);
	if (id == g->block_room) {
		void *p = npu_resize(g->dev, g->blocks, 2ul * g->block_room * sizeof(*g->blocks));

		if (!p)
			return graph_fail(g, -ENOMEM, "no memory for the graph");
		g->blocks = p;
		g->block_room *= 2;
	}
	n = graph_node(g, kind);
	if (!n)
		return g->status;
	g->blocks[id] = (struct block) {
		.parent = g->current, .loop = kind == NODE_LOOP_BEGIN, .open = true, .begin = g->nnodes - 1,
	};
	g->nblocks++;
	g->current = id;
	n->block = id;
	*out = n;
	return 0;
}

static int close_block(struct npu_graph *g, bool loop)
{
	struct block *b = &g->blocks[g->current];
	struct node *n;

	if (g->status)
		return g->status;
	if (!g->current || b->loop != loop)
		return graph_fail(g, -EINVAL, "%s end without its begin", loop ? "loop" : "skip");
	n = graph_node(g, loop ? NODE_LOOP_END : NODE_SKIP_END);
	if (!n)
		return g->status;
	b->end = g->nnodes - 1;
	b->open = false;
	g->current = b->parent;
	return 0;
}

int npu_graph_loop_begin(struct npu_graph *g, struct npu_affine count)
{
	struct node *n;
	int counter, err;

	if (g->status || !graph_affine_ok(g, &count, "loop"))
		return g->status;
	counter = npu_graph_var(g, "loop", UINT64_MAX);
	if (counter < 0)
		return counter;
	err = open_block(g, NODE_LOOP_BEGIN, &n);
	if (err)
		return err;
	g->blocks[n->block].counter = counter;
	n->scalar = counter;
	n->value = count;
	return 0;
}

int npu_graph_loop_break(struct npu_graph *g, int scalar, enum npu_cond cond, uint64_t imm)
{
	uint32_t b = g->current;
	struct node *n;

	if (g->status)
		return g->status;
	while (b && !g->blocks[b].loop)
		b = g->blocks[b].parent;
	if (!b || !graph_scalar_ok(g, scalar) || (unsigned int)cond >= NPU_COND_COUNT)
		return graph_fail(g, -EINVAL, "loop break: %s", b ? "no such scalar or condition" : "not in a loop");
	n = graph_node(g, NODE_LOOP_BREAK);
	if (!n)
		return g->status;
	n->block = b;
	n->scalar = scalar;
	n->cond = (uint8_t)cond;
	n->imm = imm;
	return 0;
}

int npu_graph_loop_end(struct npu_graph *g)
{
	return close_block(g, true);
}

int npu_graph_skip_begin(struct npu_graph *g, int scalar, enum npu_cond cond, uint64_t imm)
{
	struct node *n;
	int err;

	if (g->status)
		return g->status;
	if (!graph_scalar_ok(g, scalar) || (unsigned int)cond >= NPU_COND_COUNT)
		return graph_fail(g, -EINVAL, "skip: no scalar %d or condition %d", scalar, (int)cond);
	err = open_block(g, NODE_SKIP_BEGIN, &n);
	if (err)
		return err;
	n->scalar = scalar;
	n->cond = (uint8_t)cond;
	n->imm = imm;
	return 0;
}

int npu_graph_skip_end(struct npu_graph *g)
{
	return close_block(g, false);
}

/* ---- Tensors ------------------------------------------------------------------------------ */

void graph_contiguous(unsigned int type, const uint32_t ne[NPU_DIMS], uint64_t nb[NPU_DIMS])
{
	nb[0] = npu_type_bytes(type);
	nb[1] = npu_type_row_bytes(type, ne[0]);
	nb[2] = nb[1] * ne[1];
	nb[3] = nb[2] * ne[2];
}

bool gtensor_span(const struct npu_gtensor *t, uint64_t *span)
{
	struct npu_tensor x = { .type = t->type, .layout = t->layout };

	memcpy(x.ne, t->ne, sizeof(x.ne));
	memcpy(x.nb, t->nb, sizeof(x.nb));
	return tensor_span(&x, span);
}

/* Extents of @shape with 0 as 1; checks run-time extents and the type's block. */
static bool take_shape(struct npu_graph *g, const char *what, unsigned int type, const struct npu_shape *shape,
		       uint32_t ne[NPU_DIMS])
{
	uint64_t elements = 1;

	if (!npu_type_bytes(type)) {
		graph_fail(g, -EINVAL, "%s: unknown type %u", what, type);
		return false;
	}
	for (unsigned int i = 0; i < NPU_DIMS; i++) {
		ne[i] = shape->ne[i] ? shape->ne[i] : 1;
		if (shape->dyn[i] && !graph_scalar_ok(g, shape->dyn[i])) {
			graph_fail(g, -EINVAL, "%s: extent of dimension %u: no scalar %d", what, i, shape->dyn[i]);
			return false;
		}
		if (shape->dyn[i] && i == 0 && npu_type_block(type) > 1) {
			graph_fail(g, -EINVAL, "%s: dimension 0 of a %s tensor cannot be a run-time extent", what,
				   npu_type_name(type));
			return false;
		}
		if (__builtin_mul_overflow(elements, (uint64_t)ne[i], &elements) || elements >> 47) {
			graph_fail(g, -EINVAL, "%s: shape {%u, %u, %u, %u} is too large", what, ne[0], ne[1], ne[2], ne[3]);
			return false;
		}
	}
	if (ne[0] % npu_type_block(type)) {
		graph_fail(g, -EINVAL, "%s: %u columns are no multiple of the %u elements of a %s block", what, ne[0],
			   npu_type_block(type), npu_type_name(type));
		return false;
	}
	return true;
}

static struct storage *new_storage(struct npu_graph *g, enum storage_kind kind, uint64_t bytes)
{
	struct storage *st = graph_alloc(g, sizeof(*st));

	if (!st)
		return NULL;
	st->kind = kind;
	st->bytes = bytes;
	st->block = g->current;
	st->first = UINT32_MAX;
	st->next = g->storages;
	g->storages = st;
	return st;
}

struct npu_gtensor *graph_new(struct npu_graph *g, enum npu_type type, const uint32_t ne[NPU_DIMS],
			      const int dyn[NPU_DIMS], enum storage_kind kind)
{
	struct npu_gtensor *t = graph_alloc(g, sizeof(*t));

	if (!t)
		return NULL;
	t->g = g;
	t->type = (uint8_t)type;
	t->block = g->current;
	memcpy(t->ne, ne, sizeof(t->ne));
	memcpy(t->dyn, dyn, sizeof(t->dyn));
	graph_contiguous(type, ne, t->nb);
	t->st = new_storage(g, kind, t->nb[3] * ne[3]);
	return t->st ? t : NULL;
}

bool graph_use(struct npu_graph *g, struct npu_gtensor *t, const char *op, const char *what)
{
	uint32_t b, hold = 0;

	if (g->status)
		return false;
	if (!t || t->g != g) {
		graph_fail(g, -EINVAL, "%s: %s is %s", op, what, t ? "a tensor of another graph" : "missing");
		return false;
	}
	if (!g->blocks[t->block].open) {
		graph_fail(g, -EINVAL, "%s: %s was made inside a loop or skip that has ended", op, what);
		return false;
	}
	if (t->version != t->st->version) {
		graph_fail(g, -EINVAL, "%s: %s was overwritten by a later operation in place of it", op, what);
		return false;
	}
	/* A round of a loop must find what an outer operation left: it stays until the loop ends. */
	for (b = g->current; b != t->st->block && b; b = g->blocks[b].parent)
		if (g->blocks[b].loop)
			hold = b;
	if (hold)
		t->st->hold = hold;
	t->st->used = true;
	return true;
}

static struct npu_gtensor *bind(struct npu_graph *g, const struct npu_bound *b, bool readonly, const char *kind)
{
	const char *what = b->name ? b->name : kind;
	struct npu_gtensor *t;
	uint64_t span;

	if (g->status)
		return NULL;
	t = graph_alloc(g, sizeof(*t));
	if (!t || !take_shape(g, what, b->type, &b->shape, t->ne))
		return NULL;
	t->g = g;
	t->type = (uint8_t)b->type;
	t->layout = (uint8_t)b->layout;
	memcpy(t->dyn, b->shape.dyn, sizeof(t->dyn));
	if (b->nb[0])
		memcpy(t->nb, b->nb, sizeof(t->nb));
	else
		graph_contiguous(b->type, t->ne, t->nb);
	if (t->layout == NPU_LAYOUT_TILE16) {
		/* Whole tiles of 16 rows. */
		t->nb[2] = t->nb[1] * (((uint64_t)t->ne[1] + 15) / 16 * 16);
		t->nb[3] = t->nb[2] * t->ne[2];
	}
	if (!b->buffer || npu_buffer_vm(b->buffer)->dev != g->dev) {
		graph_fail(g, -EINVAL, "%s: %s", what, b->buffer ? "the buffer is of another device" : "no buffer");
		return NULL;
	}
	if (!gtensor_span(t, &span) || span > npu_buffer_size(b->buffer) ||
	    b->offset > npu_buffer_size(b->buffer) - span) {
		graph_fail(g, -EINVAL, "%s: %s {%u, %u, %u, %u} at offset %" PRIu64 " reaches outside its buffer of %" PRIu64
			   " bytes", what, npu_type_name(t->type), t->ne[0], t->ne[1], t->ne[2], t->ne[3], b->offset,
			   npu_buffer_size(b->buffer));
		return NULL;
	}
	t->name = b->name ? graph_strdup(g, b->name) : NULL;
	t->st = new_storage(g, STORAGE_BUFFER, span);
	if (!t->st)
		return NULL;
	/* Bound memory is outside: usable wherever it was named. */
	t->st->block = 0;
	t->st->buffer = npu_buffer_ref(b->buffer);
	t->st->place = b->offset;
	t->st->readonly = readonly || (b->buffer->flags & NPU_BUFFER_READONLY);
	return t;
}

struct npu_gtensor *npu_graph_weight(struct npu_graph *g, const struct npu_bound *b)
{
	return bind(g, b, true, "weight");
}

struct npu_gtensor *npu_graph_state(struct npu_graph *g, const struct npu_bound *b)
{
	return bind(g, b, false, "state");
}

static bool add_io(struct npu_graph *g, const char *name, struct npu_gtensor *t, bool output)
{
	struct io_entry *e;

	if (!name || !*name) {
		graph_fail(g, -EINVAL, "an input or output needs a name");
		return false;
	}
	for (e = g->ios; e; e = e->next)
		if (!strcmp(e->name, name)) {
			graph_fail(g, -EINVAL, "there is an input or output \"%s\" already", name);
			return false;
		}
	e = graph_alloc(g, sizeof(*e));
	if (!e)
		return false;
	e->name = graph_strdup(g, name);
	e->t = t;
	e->output = output;
	e->next = g->ios;
	g->ios = e;
	t->name = e->name;
	return e->name;
}

struct npu_gtensor *npu_graph_input(struct npu_graph *g, const char *name, enum npu_type type, struct npu_shape shape)
{
	struct npu_gtensor *t;
	uint32_t ne[NPU_DIMS];

	if (g->status || !take_shape(g, name ? name : "input", type, &shape, ne))
		return NULL;
	t = graph_new(g, type, ne, shape.dyn, STORAGE_IO);
	if (!t || !add_io(g, name, t, false))
		return NULL;
	t->block = t->st->block = 0;
	t->st->readonly = true;
	return t;
}

struct npu_gtensor *npu_graph_output(struct npu_graph *g, const char *name, struct npu_gtensor *t)
{
	struct npu_gtensor *out;
	uint64_t nb[NPU_DIMS];

	if (!graph_use(g, t, "output", name ? name : "tensor"))
		return NULL;
	graph_contiguous(t->type, t->ne, nb);
	if (t->st->kind == STORAGE_ARENA && !t->off.imm && !t->off.a && !t->off.b && !memcmp(nb, t->nb, sizeof(nb)) &&
	    t->st->bytes == nb[3] * t->ne[3]) {
		t->st->kind = STORAGE_IO;
		return add_io(g, name, t, true) ? t : NULL;
	}
	out = graph_new(g, t->type, t->ne, t->dyn, STORAGE_IO);
	if (!out || !add_io(g, name, out, true))
		return NULL;
	return npu_graph_copy(g, out, t);
}

enum npu_type npu_gtensor_type(const struct npu_gtensor *t)
{
	return (enum npu_type)t->type;
}

struct npu_shape npu_gtensor_shape(const struct npu_gtensor *t)
{
	struct npu_shape s;

	memcpy(s.ne, t->ne, sizeof(s.ne));
	memcpy(s.dyn, t->dyn, sizeof(s.dyn));
	return s;
}

/* ---- Views ------------------------------------------------------------------------------------ */

static struct npu_gtensor *view_of(struct npu_graph *g, struct npu_gtensor *t, const char *op)
{
	struct npu_gtensor *v;

	if (!graph_use(g, t, op, t && t->name ? t->name : "tensor"))
		return NULL;
	v = graph_alloc(g, sizeof(*v));
	if (v)
		*v = *t;
	return v;
}

/* Dimensions with more than one element, or with a run-time extent. */
static unsigned int real_dims(const uint32_t ne[NPU_DIMS], const int dyn[NPU_DIMS], unsigned int out[NPU_DIMS])
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < NPU_DIMS; i++)
		if (ne[i] != 1 || dyn[i])
			out[n++] = i;
	return n;
}

/* Bytes from one element of dimension @d to where the next outer dimension would continue. */
static uint64_t extent_bytes(unsigned int type, unsigned int d, const uint32_t ne[NPU_DIMS], uint64_t nb)
{
	return d == 0 ? npu_type_row_bytes(type, ne[0]) : nb * ne[d];
}

/*
 * Regroup: walk both shapes from the inside, ones left out; the dimensions of a group with the same product must
 * be contiguous in the source. Run-time extents only move as they are.
 */
static bool regroup(struct npu_gtensor *v, const struct npu_gtensor *t)
{
	unsigned int from[NPU_DIMS], to[NPU_DIMS], i = 0, k = 0;
	unsigned int nfrom = real_dims(t->ne, t->dyn, from), nto = real_dims(v->ne, v->dyn, to);
	uint64_t next = npu_type_bytes(t->type);

	while (i < nfrom && k < nto) {
		unsigned int i0 = i, k0 = k;
		uint64_t a = t->ne[from[i++]], b = v->ne[to[k++]], nb = t->nb[from[i0]];
		bool dyn = t->dyn[from[i0]] || v->dyn[to[k0]];

		while (a != b) {
			if (a < b) {
				unsigned int d = i < nfrom ? from[i] : 0;

				if (i == nfrom || t->nb[d] != extent_bytes(t->type, from[i - 1], t->ne, t->nb[from[i - 1]]))
					return false;
				dyn |= t->dyn[d] != 0;
				a *= t->ne[d];
				i++;
			} else {
				if (k == nto)
					return false;
				dyn |= v->dyn[to[k]] != 0;
				b *= v->ne[to[k++]];
			}
		}
		if (dyn && (i - i0 > 1 || k - k0 > 1 || t->dyn[from[i0]] != v->dyn[to[k0]]))
			return false;
		/* Blocks stay along dimension 0. */
		if (npu_type_block(t->type) > 1 && (from[i0] == 0) != (to[k0] == 0))
			return false;
		for (unsigned int d = k0; d < k; d++) {
			v->nb[to[d]] = nb;
			nb = extent_bytes(t->type, to[d], v->ne, nb);
		}
	}
	if (i != nfrom || k != nto)
		return false;
	/* Ones: any stride will do; give them that of a contiguous tensor. */
	for (unsigned int d = 0; d < NPU_DIMS; d++) {
		if (v->ne[d] == 1 && !v->dyn[d])
			v->nb[d] = next;
		next = d == 0 && v->nb[0] == npu_type_bytes(t->type) ? npu_type_row_bytes(t->type, v->ne[0]) :
			v->nb[d] * v->ne[d];
	}
	return true;
}

struct npu_gtensor *npu_graph_reshape(struct npu_graph *g, struct npu_gtensor *t, struct npu_shape shape)
{
	struct npu_gtensor *v = view_of(g, t, "reshape");
	uint64_t from = 1, to = 1;

	if (!v || !take_shape(g, "reshape", t->type, &shape, v->ne))
		return NULL;
	memcpy(v->dyn, shape.dyn, sizeof(v->dyn));
	for (unsigned int i = 0; i < NPU_DIMS; i++) {
		from *= t->ne[i];
		to *= v->ne[i];
	}
	if (t->layout != NPU_LAYOUT_ROWS || from != to || !regroup(v, t)) {
		graph_fail(g, -EINVAL, "reshape: {%u, %u, %u, %u}%s cannot be seen as {%u, %u, %u, %u}: %s", t->ne[0], t->ne[1],
			   t->ne[2], t->ne[3], t->layout ? " in tiles" : "", v->ne[0], v->ne[1], v->ne[2], v->ne[3],
			   from != to ? "another number of elements" :
			   "the dimensions that are regrouped are not contiguous, or have run-time extents");
		return NULL;
	}
	return v;
}

struct npu_gtensor *npu_graph_permute(struct npu_graph *g, struct npu_gtensor *t, unsigned int axis0,
				      unsigned int axis1, unsigned int axis2, unsigned int axis3)
{
	unsigned int axis[NPU_DIMS] = { axis0, axis1, axis2, axis3 }, seen = 0;
	struct npu_gtensor *v = view_of(g, t, "permute");

	if (!v)
		return NULL;
	for (unsigned int i = 0; i < NPU_DIMS; i++)
		seen |= axis[i] < NPU_DIMS ? 1u << axis[i] : 0;
	if (seen != 0xf || t->layout != NPU_LAYOUT_ROWS || (npu_type_block(t->type) > 1 && axis0 != 0)) {
		graph_fail(g, -EINVAL, "permute: axes %u, %u, %u, %u: %s", axis0, axis1, axis2, axis3,
			   seen != 0xf ? "each of 0 to 3 is needed once" : "blocks and tiles stay along dimension 0");
		return NULL;
	}
	for (unsigned int i = 0; i < NPU_DIMS; i++) {
		v->ne[i] = t->ne[axis[i]];
		v->nb[i] = t->nb[axis[i]];
		v->dyn[i] = t->dyn[axis[i]];
	}
	return v;
}

/* Sum of two offsets; more than two scalars in it do not fit into one operand. */
static bool add_offset(struct npu_graph *g, struct npu_affine *to, const struct npu_affine *off, const char *op)
{
	const int scalars[2] = { off->a, off->b };
	const int32_t scales[2] = { off->sa, off->sb };

	to->imm += off->imm;
	for (unsigned int i = 0; i < 2; i++) {
		if (!scalars[i] || !scales[i])
			continue;
		if (to->a == scalars[i] && !__builtin_add_overflow(to->sa, scales[i], &to->sa))
			continue;
		if (to->b == scalars[i] && !__builtin_add_overflow(to->sb, scales[i], &to->sb))
			continue;
		if (!to->a) {
			to->a = scalars[i];
			to->sa = scales[i];
		} else if (!to->b) {
			to->b = scalars[i];
			to->sb = scales[i];
		} else {
			graph_fail(g, -EINVAL, "%s: the offset depends on more than two scalars: make one of them with "
				   "npu_graph_let()", op);
			return false;
		}
	}
	return true;
}

/* The window must lie in the storage when the scalars are largest. */
static bool inside(struct npu_graph *g, const struct npu_gtensor *v, const char *op)
{
	__int128 max = graph_affine_max(g, &v->off);
	uint64_t span;

	if (gtensor_span(v, &span) && max >= 0 && max + (__int128)span <= (__int128)v->st->bytes)
		return true;
	graph_fail(g, -EINVAL, "%s: {%u, %u, %u, %u} reaches to byte %" PRIu64 " of %s, which has %" PRIu64, op, v->ne[0],
		   v->ne[1], v->ne[2], v->ne[3], max < 0 ? 0 : (uint64_t)(max + (__int128)span),
		   v->name ? v->name : "its tensor", v->st->bytes);
	return false;
}

struct npu_gtensor *npu_graph_view(struct npu_graph *g, struct npu_gtensor *t, struct npu_shape shape,
				   const uint64_t nb[NPU_DIMS], struct npu_affine offset)
{
	struct npu_gtensor *v = view_of(g, t, "view");

	if (!v || !take_shape(g, "view", t->type, &shape, v->ne) || !graph_affine_ok(g, &offset, "view"))
		return NULL;
	if (t->layout != NPU_LAYOUT_ROWS) {
		graph_fail(g, -EINVAL, "view: a tensor in tiles has no other views: use npu_graph_slice()");
		return NULL;
	}
	memcpy(v->dyn, shape.dyn, sizeof(v->dyn));
	if (nb && nb[0])
		memcpy(v->nb, nb, sizeof(v->nb));
	else
		graph_contiguous(t->type, v->ne, v->nb);
	return add_offset(g, &v->off, &offset, "view") && inside(g, v, "view") ? v : NULL;
}

struct npu_gtensor *npu_graph_slice(struct npu_graph *g, struct npu_gtensor *t, unsigned int axis, uint32_t first,
				    uint32_t count)
{
	struct npu_gtensor *v = view_of(g, t, "slice");
	uint32_t unit;

	if (!v)
		return NULL;
	unit = axis == 0 ? npu_type_block(t->type) : axis == 1 && t->layout ? 16 : 1;
	if (axis >= NPU_DIMS || !count || first > t->ne[axis] || count > t->ne[axis] - first || t->dyn[axis] ||
	    first % unit || (axis == 0 && (count % unit || t->layout))) {
		graph_fail(g, -EINVAL, "slice: elements %u to %u of dimension %u of {%u, %u, %u, %u}: %s", first, first + count,
			   axis, t->ne[0], t->ne[1], t->ne[2], t->ne[3],
			   axis < NPU_DIMS && t->dyn[axis] ? "its extent is a scalar: use npu_graph_view()" :
			   "outside, or not at whole blocks or tiles");
		return NULL;
	}
	v->ne[axis] = count;
	v->off.imm += (uint64_t)(first / (axis == 0 ? unit : 1)) * t->nb[axis];
	return v;
}

struct npu_gtensor *npu_graph_row(struct npu_graph *g, struct npu_gtensor *t, struct npu_affine index)
{
	struct npu_gtensor *v = view_of(g, t, "row");
	struct npu_affine off = index;
	int64_t sa, sb;

	if (!v || !graph_affine_ok(g, &index, "row"))
		return NULL;
	sa = index.sa * (int64_t)t->nb[1];
	sb = index.sb * (int64_t)t->nb[1];
	if (t->nb[1] > INT32_MAX || sa != (int32_t)sa || sb != (int32_t)sb || t->layout) {
		graph_fail(g, -EINVAL, "row: a row of %" PRIu64 " bytes%s cannot be addressed by a scalar", t->nb[1],
			   t->layout ? " in tiles" : "");
		return NULL;
	}
	off.imm = index.imm * t->nb[1];
	off.sa = (int32_t)sa;
	off.sb = (int32_t)sb;
	v->ne[1] = 1;
	v->dyn[1] = 0;
	if (graph_affine_max(g, &index) >= t->ne[1]) {
		graph_fail(g, -EINVAL, "row: the index reaches %" PRIu64 ", there are %u rows",
			   (uint64_t)graph_affine_max(g, &index), t->ne[1]);
		return NULL;
	}
	return add_offset(g, &v->off, &off, "row") ? v : NULL;
}

/* ---- RoPE steps ------------------------------------------------------------------------------- */

/* Turns per position as a fraction of 2^64; 53 bits of it are significant. */
void npu_rope_steps(uint64_t *step, uint32_t ndims, double base, double scale, const float *factors)
{
	const double turns_per_radian = 0x1.45f306dc9c883p-3;

	for (uint32_t i = 0; i < ndims / 2; i++) {
		double turns = pow(base, -2.0 * i / ndims) * scale * turns_per_radian;

		if (factors)
			turns /= (double)factors[i];
		turns -= floor(turns);
		step[i] = turns * 0x1p64 >= 0x1p64 ? UINT64_MAX : (uint64_t)(turns * 0x1p64);
	}
}
