// SPDX-License-Identifier: MIT
/* Operations of a graph: what they take, what they make. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "graph.h"

#define PLACEHOLDER (1ull << 20)

/* ---- Packets of nodes ----------------------------------------------------------------- */

static void put_tensor(struct npu_tensor *x, const struct npu_gtensor *t)
{
	memcpy(x->ne, t->ne, sizeof(x->ne));
	memcpy(x->nb, t->nb, sizeof(x->nb));
	x->addr = PLACEHOLDER + (t->off.imm & 63);
	x->type = t->type;
	x->layout = t->layout;
}

static uint64_t aux_addr(const struct npu_gtensor *t)
{
	return t ? PLACEHOLDER + (t->off.imm & 63) : 0;
}

void node_packet(const struct node *n, void *packet)
{
	const struct packet_info *info = packet_info(n->opcode);
	struct npu_cmd head = { .opcode = n->opcode };

	memset(packet, 0, info->size);
	memcpy(packet, &head, sizeof(head));
	for (unsigned int i = 0; i < info->count; i++)
		if (n->opnd[i])
			put_tensor(packet_tensor(packet, info, i), n->opnd[i]);
	switch (n->opcode) {
	case NPU_OP_MATMUL: {
		struct npu_cmd_matmul *p = packet;

		p->flags = n->par.flags;
		p->bias = aux_addr(n->aux[0]);
		break;
	}
	case NPU_OP_ATTENTION: {
		struct npu_cmd_attention *p = packet;

		p->flags = n->par.flags;
		p->window = n->par.window;
		p->scale = n->par.p0;
		p->softcap = n->par.p1;
		break;
	}
	case NPU_OP_RMS_NORM:
	case NPU_OP_LAYER_NORM: {
		struct npu_cmd_norm *p = packet;

		p->weight = aux_addr(n->aux[0]);
		p->bias = aux_addr(n->aux[1]);
		p->eps = n->par.p0;
		break;
	}
	case NPU_OP_ROPE: {
		struct npu_cmd_rope *p = packet;

		p->flags = n->par.flags;
		p->ndims = n->par.ndims;
		p->mscale = n->par.mscale;
		p->step = aux_addr(n->aux[0]);
		p->positions = aux_addr(n->aux[1]);
		break;
	}
	case NPU_OP_SOFTMAX: {
		struct npu_cmd_softmax *p = packet;

		p->flags = n->par.flags;
		p->scale = n->par.p0;
		break;
	}
	case NPU_OP_GLU:
	case NPU_OP_BINARY:
		((struct npu_cmd_binary *)packet)->kind = n->par.kind;
		break;
	case NPU_OP_MATMUL_GLU:
		((struct npu_cmd_matmul_glu *)packet)->kind = n->par.kind;
		break;
	case NPU_OP_TOPK:
		((struct npu_cmd_topk *)packet)->k = n->par.k;
		break;
	case NPU_OP_GATHER:
	case NPU_OP_SCATTER:
		break;
	default: {
		struct npu_cmd_map *p = packet;

		p->kind = n->par.kind;
		p->p0 = n->par.p0;
		p->p1 = n->par.p1;
		break;
	}
	}
}

/* ---- Recording -------------------------------------------------------------------------- */

struct op {
	struct npu_graph *g;
	unsigned int opcode;
	const char *name;
	struct npu_gtensor *opnd[PACKET_OPERANDS];
	struct npu_gtensor *aux[GRAPH_AUX];
	const char *aux_name[GRAPH_AUX];
	struct op_params par;
	bool keep_dst;		/* opnd[0] (SCATTER: 1) exists already and is written */
};

static struct op op_begin(struct npu_graph *g, unsigned int opcode)
{
	struct op o = { .g = g, .opcode = opcode, .name = npu_op_name(opcode) };

	return o;
}

const char *operand_weight(struct npu_gtensor *const opnd[PACKET_OPERANDS])
{
	for (unsigned int i = 0; i < PACKET_OPERANDS; i++)
		if (opnd[i] && opnd[i]->name && opnd[i]->st->kind == STORAGE_BUFFER && opnd[i]->st->readonly)
			return opnd[i]->name;
	return NULL;
}

/* "MATMUL ffn_down": the operation with the weight that it uses. */
static void op_label(const struct op *o, char *buf, size_t size)
{
	const char *weight = operand_weight(o->opnd);

	snprintf(buf, size, "%s%s%s", o->name, weight ? " " : "", weight ? weight : "");
}

static bool other_extent(const struct op *o, const char *label, unsigned int i, int d, unsigned int like)
{
	const struct packet_info *info = packet_info(o->opcode);

	graph_fail(o->g, -EINVAL, "%s: %s: the run-time extent of dimension %d is not that of %s", label,
		   info->operand[i].name, d, info->operand[like].name);
	return false;
}

/*
 * Extents that agree at their largest must come from the same scalar. On a group axis operands 2
 * and 3 may have one group for all, but both or neither.
 */
static bool check_dynamic(const struct op *o, const char *label)
{
	const struct packet_info *info = packet_info(o->opcode);
	unsigned int naxes;
	const struct op_axis *axes = op_axes(o->opcode, &naxes);

	for (unsigned int a = 0; a < naxes; a++) {
		int scalar = -1;
		unsigned int first = 0;

		for (unsigned int i = 0; i < info->count; i++) {
			int d = axes[a].dim[i];

			if (d < 0 || !o->opnd[i])
				continue;
			if (i == 3 && (axes[a].flags & AXIS_GROUP) && o->opnd[2]->dyn[axes[a].dim[2]] != o->opnd[3]->dyn[d])
				return other_extent(o, label, 3, d, 2);
			if (i && (axes[a].flags & (AXIS_BROADCAST | AXIS_GROUP)) && o->opnd[i]->ne[d] == 1 &&
			    !o->opnd[i]->dyn[d])
				continue;
			if (scalar < 0) {
				scalar = o->opnd[i]->dyn[d];
				first = i;
			} else if (scalar != o->opnd[i]->dyn[d]) {
				return other_extent(o, label, i, d, first);
			}
		}
	}
	return true;
}

/* Offsets that scalars add keep the alignment of elements. */
static bool check_alignment(const struct op *o, const char *label)
{
	const struct packet_info *info = packet_info(o->opcode);

	for (unsigned int i = 0; i < info->count; i++) {
		const struct npu_gtensor *t = o->opnd[i];
		int32_t align;

		if (!t)
			continue;
		align = npu_type_block(t->type) > 1 ? 2 : (int32_t)npu_type_bytes(t->type);
		if ((t->off.a && t->off.sa % align) || (t->off.b && t->off.sb % align)) {
			graph_fail(o->g, -EINVAL, "%s: %s: its run-time offset is no multiple of %d bytes", label,
				   info->operand[i].name, align);
			return false;
		}
	}
	return true;
}

static bool check_operands(struct op *o, const char *label)
{
	const struct packet_info *info = packet_info(o->opcode);

	for (unsigned int i = 0; i < info->count; i++) {
		bool written = info->operand[i].flags & OP_WRITE, optional = info->operand[i].flags & OP_UNUSED0;

		if ((written && !o->keep_dst) || (!o->opnd[i] && optional))
			continue;
		if (!graph_use(o->g, o->opnd[i], label, info->operand[i].name))
			return false;
		if (written && o->opnd[i]->st->readonly) {
			graph_fail(o->g, -EINVAL, "%s: %s: %s may not be written", label, info->operand[i].name,
				   o->opnd[i]->name ? o->opnd[i]->name : "the tensor");
			return false;
		}
	}
	for (unsigned int i = 0; i < GRAPH_AUX; i++)
		if (o->aux[i] && !graph_use(o->g, o->aux[i], label, o->aux_name[i]))
			return false;
	return true;
}

/* A contiguous vector of @n elements of @type. */
static bool check_vector(const struct op *o, unsigned int i, enum npu_type type, uint64_t n, int dyn)
{
	const struct npu_gtensor *t = o->aux[i];

	if (!t)
		return true;
	if (t->type == type && t->ne[0] == n && (uint64_t)t->ne[1] * t->ne[2] * t->ne[3] == 1 && t->dyn[0] == dyn &&
	    t->nb[0] == npu_type_bytes(type))
		return true;
	graph_fail(o->g, -EINVAL, "%s: %s is %s {%u, %u, %u, %u} and must be %s {%" PRIu64 "}", o->name, o->aux_name[i],
		   npu_type_name(t->type), t->ne[0], t->ne[1], t->ne[2], t->ne[3], npu_type_name(type), n);
	return false;
}

/* Check everything and record; the operands that are written exist. */
static bool op_commit(struct op *o)
{
	const struct packet_info *info = packet_info(o->opcode);
	static const uint8_t none[PACKET_OPERANDS];
	uint64_t packet[NPU_PACKET_MAX / 8];
	char label[96], why[256];
	struct node tmp, *n;
	struct cut cut;

	op_label(o, label, sizeof(label));
	memset(&tmp, 0, sizeof(tmp));
	tmp.opcode = (uint16_t)o->opcode;
	memcpy(tmp.opnd, o->opnd, sizeof(tmp.opnd));
	memcpy(tmp.aux, o->aux, sizeof(tmp.aux));
	tmp.par = o->par;
	node_packet(&tmp, packet);
	if (packet_check(&o->g->dev->info, packet, none, why, sizeof(why))) {
		graph_fail(o->g, -EINVAL, "%s: %s", label, why);
		return false;
	}
	if (!check_dynamic(o, label) || !check_alignment(o, label) || !graph_affine_ok(o->g, &o->par.pos, label))
		return false;
	if (op_cut(o->g, &tmp, &cut)) {
		graph_fail(o->g, -ENOSPC, "%s: even one row is more than a command of this device may do (%" PRIu64
			   " multiply-accumulates, %" PRIu64 " bytes)", label, o->g->dev->info.max_macs,
			   o->g->dev->info.max_bytes);
		return false;
	}
	n = graph_node(o->g, NODE_OP);
	if (!n)
		return false;
	n->opcode = tmp.opcode;
	memcpy(n->opnd, o->opnd, sizeof(n->opnd));
	memcpy(n->aux, o->aux, sizeof(n->aux));
	n->par = o->par;
	(void)info;
	return true;
}

/* Use the operands, make the result and record. */
static struct npu_gtensor *op_end(struct op *o, enum npu_type type, const uint32_t ne[NPU_DIMS], const int dyn[NPU_DIMS])
{
	char label[96];

	if (!npu_type_bytes(type) || npu_type_block(type) > 1) {
		bool act = type == NPU_TYPE_A8 || type == NPU_TYPE_A8_K;
		bool quantised = npu_type_bytes(type) && (act || o->opcode == NPU_OP_COPY) &&
				 ne[0] % npu_type_block(type) == 0 && !dyn[0];

		if (!quantised) {
			graph_fail(o->g, -EINVAL, "%s: result: type %s is not possible here", o->name,
				   npu_type_name(type) ? npu_type_name(type) : "unknown");
			return NULL;
		}
	}
	op_label(o, label, sizeof(label));
	o->opnd[0] = graph_new(o->g, type, ne, dyn, STORAGE_ARENA);
	return o->opnd[0] && op_commit(o) ? o->opnd[0] : NULL;
}

static bool op_use(struct op *o)
{
	char label[96];

	if (o->g->status)
		return false;
	if (!npu_device_has_op(o->g->dev, o->opcode)) {
		graph_fail(o->g, -EOPNOTSUPP, "%s: the device has no such operation", o->name);
		return false;
	}
	op_label(o, label, sizeof(label));
	return check_operands(o, label);
}

static struct npu_gtensor *same_shape(struct op *o, unsigned int like, enum npu_type type)
{
	return op_use(o) ? op_end(o, type, o->opnd[like]->ne, o->opnd[like]->dyn) : NULL;
}

/* ---- Matrix ---------------------------------------------------------------------------------- */

static struct op matmul(struct npu_graph *g, struct npu_gtensor *x, struct npu_gtensor *w, struct npu_gtensor *bias)
{
	struct op o = op_begin(g, NPU_OP_MATMUL);

	o.opnd[1] = x;
	o.opnd[2] = w;
	o.aux[0] = bias;
	o.aux_name[0] = "bias";
	o.par.flags = bias ? NPU_MATMUL_BIAS : 0;
	return o;
}

struct npu_gtensor *npu_graph_matmul(struct npu_graph *g, struct npu_gtensor *x, struct npu_gtensor *w,
				     struct npu_gtensor *bias, enum npu_type type)
{
	struct op o = matmul(g, x, w, bias);

	if (!op_use(&o) || !check_vector(&o, 0, NPU_TYPE_F32, w->ne[1], w->dyn[1]))
		return NULL;
	return op_end(&o, type, (uint32_t[]){ w->ne[1], x->ne[1], x->ne[2], x->ne[3] },
		      (int[]){ w->dyn[1], x->dyn[1], x->dyn[2], x->dyn[3] });
}

struct npu_gtensor *npu_graph_matmul_add(struct npu_graph *g, struct npu_gtensor *acc, struct npu_gtensor *x,
					 struct npu_gtensor *w, struct npu_gtensor *bias)
{
	struct op o = matmul(g, x, w, bias);
	struct npu_gtensor *r;

	o.opnd[0] = acc;
	o.keep_dst = true;
	o.par.flags |= NPU_MATMUL_ACCUMULATE;
	if (!op_use(&o) || !check_vector(&o, 0, NPU_TYPE_F32, w->ne[1], w->dyn[1]))
		return NULL;
	if (acc->st->kind == STORAGE_BUFFER || acc->st->readonly || acc->st->block != g->current) {
		graph_fail(g, -EINVAL, "%s: acc must be the result of an operation of the same loop or skip", o.name);
		return NULL;
	}
	if (x->st == acc->st || w->st == acc->st || (bias && bias->st == acc->st)) {
		graph_fail(g, -EINVAL, "%s: acc is written in place and cannot be another operand, too", o.name);
		return NULL;
	}
	r = graph_alloc(g, sizeof(*r));
	if (!r)
		return NULL;
	*r = *acc;
	o.opnd[0] = r;
	if (!op_commit(&o))
		return NULL;
	r->version = ++r->st->version;
	return r;
}

struct npu_gtensor *npu_graph_matmul_glu(struct npu_graph *g, enum npu_glu_kind kind, struct npu_gtensor *x,
					 struct npu_gtensor *gate, struct npu_gtensor *up, enum npu_type type)
{
	struct op o = op_begin(g, NPU_OP_MATMUL_GLU);

	o.opnd[1] = x;
	o.opnd[2] = gate;
	o.opnd[3] = up;
	o.par.kind = kind;
	if (!op_use(&o))
		return NULL;
	return op_end(&o, type, (uint32_t[]){ gate->ne[1], x->ne[1], x->ne[2], x->ne[3] },
		      (int[]){ gate->dyn[1], x->dyn[1], x->dyn[2], x->dyn[3] });
}

struct npu_gtensor *npu_graph_attention(struct npu_graph *g, const struct npu_attention *a)
{
	struct op o = op_begin(g, NPU_OP_ATTENTION);

	o.opnd[1] = a->q;
	o.opnd[2] = a->k;
	o.opnd[3] = a->v;
	o.par.flags = a->causal ? NPU_ATTN_CAUSAL : 0;
	o.par.window = a->window;
	o.par.p0 = a->scale;
	o.par.p1 = a->softcap;
	o.par.pos = a->pos;
	if (!op_use(&o))
		return NULL;
	return op_end(&o, a->type, (uint32_t[]){ a->v->ne[0], a->q->ne[1], a->q->ne[2], a->q->ne[3] },
		      (int[]){ a->v->dyn[0], a->q->dyn[1], a->q->dyn[2], a->q->dyn[3] });
}

/* ---- Rows --------------------------------------------------------------------------------------- */

static struct npu_gtensor *norm(struct npu_graph *g, unsigned int opcode, struct npu_gtensor *x,
				struct npu_gtensor *weight, struct npu_gtensor *bias, float eps, enum npu_type type)
{
	struct op o = op_begin(g, opcode);

	o.opnd[1] = x;
	o.aux[0] = weight;
	o.aux[1] = bias;
	o.aux_name[0] = "weight";
	o.aux_name[1] = "bias";
	o.par.p0 = eps;
	if (!op_use(&o) || !check_vector(&o, 0, NPU_TYPE_F32, x->ne[0], x->dyn[0]) ||
	    !check_vector(&o, 1, NPU_TYPE_F32, x->ne[0], x->dyn[0]))
		return NULL;
	return op_end(&o, type, x->ne, x->dyn);
}

struct npu_gtensor *npu_graph_rms_norm(struct npu_graph *g, struct npu_gtensor *x, struct npu_gtensor *weight,
				       float eps, enum npu_type type)
{
	return norm(g, NPU_OP_RMS_NORM, x, weight, NULL, eps, type);
}

struct npu_gtensor *npu_graph_layer_norm(struct npu_graph *g, struct npu_gtensor *x, struct npu_gtensor *weight,
					 struct npu_gtensor *bias, float eps, enum npu_type type)
{
	return norm(g, NPU_OP_LAYER_NORM, x, weight, bias, eps, type);
}

/* Into @dst, or into a new tensor. */
static struct npu_gtensor *rope(struct npu_graph *g, const struct npu_rope *r, struct npu_gtensor *dst)
{
	struct op o = op_begin(g, NPU_OP_ROPE);

	o.opnd[0] = dst;
	o.keep_dst = dst;
	o.opnd[1] = r->x;
	o.aux[0] = r->step;
	o.aux[1] = r->positions;
	o.aux_name[0] = "step";
	o.aux_name[1] = "positions";
	o.par.flags = r->halves ? NPU_ROPE_HALVES : 0;
	o.par.ndims = r->ndims;
	o.par.mscale = r->mscale;
	o.par.pos = r->pos;
	if (!op_use(&o))
		return NULL;
	if (!r->step) {
		graph_fail(g, -EINVAL, "%s: step is missing", o.name);
		return NULL;
	}
	if (r->x->dyn[0]) {
		graph_fail(g, -EINVAL, "%s: src: dimension 0 has a run-time extent, which could be below ndims", o.name);
		return NULL;
	}
	if (!check_vector(&o, 0, NPU_TYPE_I64, r->ndims / 2, 0) ||
	    !check_vector(&o, 1, NPU_TYPE_I32, r->x->ne[2], r->x->dyn[2]))
		return NULL;
	if (dst)
		return op_commit(&o) ? dst : NULL;
	return op_end(&o, r->type, r->x->ne, r->x->dyn);
}

struct npu_gtensor *npu_graph_rope(struct npu_graph *g, const struct npu_rope *r)
{
	return rope(g, r, NULL);
}

struct npu_gtensor *npu_graph_rope_to(struct npu_graph *g, struct npu_gtensor *dst, const struct npu_rope *r)
{
	if (!dst) {
		graph_fail(g, -EINVAL, "ROPE: dst is missing");
		return NULL;
	}
	return rope(g, r, dst);
}

struct npu_gtensor *npu_graph_softmax(struct npu_graph *g, struct npu_gtensor *x, struct npu_gtensor *mask, float scale)
{
	struct op o = op_begin(g, NPU_OP_SOFTMAX);

	o.opnd[1] = x;
	o.opnd[2] = mask;
	o.par.flags = mask ? NPU_SOFTMAX_MASK : 0;
	o.par.p0 = scale;
	return same_shape(&o, 1, NPU_TYPE_F32);
}

struct npu_gtensor *npu_graph_glu(struct npu_graph *g, enum npu_glu_kind kind, struct npu_gtensor *a,
				  struct npu_gtensor *b, enum npu_type type)
{
	struct op o = op_begin(g, NPU_OP_GLU);

	o.opnd[1] = a;
	o.opnd[2] = b;
	o.par.kind = kind;
	return same_shape(&o, 1, type);
}

struct npu_gtensor *npu_graph_unary(struct npu_graph *g, enum npu_unary_kind kind, struct npu_gtensor *x, float p0,
				    float p1, enum npu_type type)
{
	struct op o = op_begin(g, NPU_OP_UNARY);

	o.opnd[1] = x;
	o.par.kind = kind;
	/* A parameter that the kind does not use must be +0 in the packet. */
	if (kind == NPU_UNARY_SCALE || kind == NPU_UNARY_CLAMP || kind == NPU_UNARY_LEAKY_RELU || kind == NPU_UNARY_SOFTCAP)
		o.par.p0 = p0;
	if (kind == NPU_UNARY_SCALE || kind == NPU_UNARY_CLAMP)
		o.par.p1 = p1;
	return same_shape(&o, 1, type);
}

struct npu_gtensor *npu_graph_binary(struct npu_graph *g, enum npu_binary_kind kind, struct npu_gtensor *a,
				     struct npu_gtensor *b, enum npu_type type)
{
	struct op o = op_begin(g, NPU_OP_BINARY);
	uint32_t ne[NPU_DIMS];
	int dyn[NPU_DIMS];

	o.opnd[1] = a;
	o.opnd[2] = b;
	o.par.kind = kind;
	if (!op_use(&o))
		return NULL;
	for (unsigned int i = 0; i < NPU_DIMS; i++) {
		bool from_b = a->ne[i] == 1 && !a->dyn[i];

		ne[i] = from_b ? b->ne[i] : a->ne[i];
		dyn[i] = from_b ? b->dyn[i] : a->dyn[i];
	}
	return op_end(&o, type, ne, dyn);
}

static struct npu_gtensor *reduce(struct npu_graph *g, unsigned int opcode, uint32_t kind, struct npu_gtensor *x,
				  enum npu_type type)
{
	struct op o = op_begin(g, opcode);

	o.opnd[1] = x;
	o.par.kind = kind;
	if (!op_use(&o))
		return NULL;
	return op_end(&o, type, (uint32_t[]){ 1, x->ne[1], x->ne[2], x->ne[3] },
		      (int[]){ 0, x->dyn[1], x->dyn[2], x->dyn[3] });
}

struct npu_gtensor *npu_graph_reduce(struct npu_graph *g, enum npu_reduce_kind kind, struct npu_gtensor *x)
{
	return reduce(g, NPU_OP_REDUCE, kind, x, NPU_TYPE_F32);
}

struct npu_gtensor *npu_graph_argmax(struct npu_graph *g, struct npu_gtensor *x)
{
	return reduce(g, NPU_OP_ARGMAX, 0, x, NPU_TYPE_I32);
}

struct npu_gtensor *npu_graph_topk(struct npu_graph *g, struct npu_gtensor *x, uint32_t k, struct npu_gtensor **indices)
{
	struct op o = op_begin(g, NPU_OP_TOPK);

	*indices = NULL;
	/* The results stand before the source in the packet: use it by hand. */
	if (!npu_device_has_op(g->dev, NPU_OP_TOPK)) {
		graph_fail(g, -EOPNOTSUPP, "%s: the device has no such operation", o.name);
		return NULL;
	}
	if (!graph_use(g, x, o.name, "src"))
		return NULL;
	if (x->dyn[0]) {
		graph_fail(g, -EINVAL, "%s: src: dimension 0 has a run-time extent, which could be below k", o.name);
		return NULL;
	}
	if (!k || k > 1024 || k > x->ne[0]) {
		graph_fail(g, -EINVAL, "%s: k: %u is not from 1 to %u", o.name, k, x->ne[0] < 1024 ? x->ne[0] : 1024);
		return NULL;
	}
	o.opnd[2] = x;
	o.par.k = k;
	o.opnd[1] = graph_new(g, NPU_TYPE_I32, (uint32_t[]){ k, x->ne[1], x->ne[2], x->ne[3] },
			      (int[]){ 0, x->dyn[1], x->dyn[2], x->dyn[3] }, STORAGE_ARENA);
	if (!o.opnd[1])
		return NULL;
	*indices = o.opnd[1];
	if (op_end(&o, NPU_TYPE_F32, o.opnd[1]->ne, o.opnd[1]->dyn))
		return o.opnd[0];
	*indices = NULL;
	return NULL;
}

/* ---- Copies ---------------------------------------------------------------------------------------- */

struct npu_gtensor *npu_graph_convert(struct npu_graph *g, struct npu_gtensor *x, enum npu_type type)
{
	struct op o = op_begin(g, NPU_OP_COPY);

	o.opnd[1] = x;
	return same_shape(&o, 1, type);
}

struct npu_gtensor *npu_graph_copy(struct npu_graph *g, struct npu_gtensor *dst, struct npu_gtensor *src)
{
	struct op o = op_begin(g, NPU_OP_COPY);

	o.opnd[0] = dst;
	o.opnd[1] = src;
	o.keep_dst = true;
	return op_use(&o) && op_commit(&o) ? dst : NULL;
}

struct npu_gtensor *npu_graph_gather(struct npu_graph *g, struct npu_gtensor *table, struct npu_gtensor *index,
				     enum npu_type type)
{
	struct op o = op_begin(g, NPU_OP_GATHER);

	o.opnd[1] = table;
	o.opnd[2] = index;
	if (!op_use(&o))
		return NULL;
	return op_end(&o, type, (uint32_t[]){ table->ne[0], index->ne[0], index->ne[1], 1 },
		      (int[]){ table->dyn[0], index->dyn[0], index->dyn[1], 0 });
}

struct npu_gtensor *npu_graph_scatter(struct npu_graph *g, struct npu_gtensor *table, struct npu_gtensor *index,
				      struct npu_gtensor *src)
{
	struct op o = op_begin(g, NPU_OP_SCATTER);

	o.opnd[0] = src;
	o.opnd[1] = table;
	o.opnd[2] = index;
	o.keep_dst = true;
	return op_use(&o) && op_commit(&o) ? table : NULL;
}

struct npu_gtensor *npu_graph_fill(struct npu_graph *g, struct npu_gtensor *dst, float value)
{
	struct op o = op_begin(g, NPU_OP_FILL);

	o.opnd[0] = dst;
	o.par.p0 = value;
	o.keep_dst = true;
	return op_use(&o) && op_commit(&o) ? dst : NULL;
}
