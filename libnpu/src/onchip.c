// SPDX-License-Identifier: MIT
/*
 * Traffic of intermediate results. What only quantising matmuls read is stored as
 * they would quantise it. And commands say what stays in on-chip memory:
 * every result until its last use, which ends it; the device keeps what it has
 * room for, and gives up first what was used longest ago.
 */
#include <string.h>

#include "npu_regs.h"
#include "graph.h"

#define NO_ACT 0xffu

/* Which storages not only operations read and write. */
static void mark_plain(struct npu_graph *g)
{
	for (struct storage *st = g->storages; st; st = st->next)
		st->plain = false;
	for (uint32_t k = 0; k < g->nnodes; k++) {
		struct node *n = g->nodes[k];

		for (unsigned int i = 0; i < GRAPH_AUX; i++)
			if (n->aux[i])
				n->aux[i]->st->plain = true;
		for (unsigned int i = 0; i < PACKET_OPERANDS && n->kind != NODE_OP; i++)
			if (n->opnd[i])
				n->opnd[i]->st->plain = true;
	}
}

/* ---- Quantised activations ------------------------------------------------------------- */

static bool makes_activations(const struct node *n)
{
	switch (n->opcode) {
	case NPU_OP_RMS_NORM:
	case NPU_OP_LAYER_NORM:
	case NPU_OP_ATTENTION:
	case NPU_OP_GLU:
	case NPU_OP_MATMUL_GLU:
		return true;
	default:
		return false;
	}
}

/* All of its storage, in order, as F32. */
static bool is_whole(const struct npu_gtensor *t)
{
	uint64_t nb[NPU_DIMS];

	graph_contiguous(t->type, t->ne, nb);
	return t->type == NPU_TYPE_F32 && !t->off.imm && !t->off.a && !t->off.b && !t->dyn[0] &&
	       !memcmp(nb, t->nb, sizeof(nb)) && nb[3] * t->ne[3] == t->st->bytes;
}

/* The type as which operand @i of @n could be stored; NO_ACT: none. */
static uint8_t act_of(const struct node *n, unsigned int i)
{
	int type;

	if ((n->opcode != NPU_OP_MATMUL && n->opcode != NPU_OP_MATMUL_GLU) || i != 1)
		return NO_ACT;
	type = npu_activation_type(n->opnd[2]->type);
	return type < 0 ? NO_ACT : (uint8_t)type;
}

static void judge_use(struct node *n, unsigned int i, bool write)
{
	struct storage *st = n->opnd[i]->st;
	uint8_t act;

	if (st->kind != STORAGE_ARENA || st->plain || !is_whole(n->opnd[i])) {
		st->act = NO_ACT;
	} else if (write) {
		if (st->writer || i || !makes_activations(n))
			st->act = NO_ACT;
		st->writer = n;
	} else {
		act = act_of(n, i);
		st->act = !st->act || st->act == act ? act : NO_ACT;
	}
}

static bool is_written(const struct node *n, unsigned int i)
{
	return n->kind == NODE_OP && (packet_info(n->opcode)->operand[i].flags & OP_WRITE);
}

/* Calls @fn for each operand that is an intermediate result. */
static void each_operand(struct npu_graph *g, void (*fn)(struct node *n, unsigned int i, bool write))
{
	for (uint32_t k = 0; k < g->nnodes; k++)
		for (unsigned int i = 0; i < PACKET_OPERANDS; i++)
			if (g->nodes[k]->opnd[i])
				fn(g->nodes[k], i, is_written(g->nodes[k], i));
}

/* Blocks lie within rows of every view. */
static void judge_shape(struct node *n, unsigned int i, bool write)
{
	struct npu_gtensor *t = n->opnd[i];

	(void)write;
	if (t->st->act && t->st->act != NO_ACT && t->ne[0] % npu_type_block(t->st->act))
		t->st->act = NO_ACT;
}

static void convert(struct node *n, unsigned int i, bool write)
{
	struct npu_gtensor *t = n->opnd[i];

	(void)write;
	if (!t->st->act || t->st->act == NO_ACT || !t->st->writer || t->type == t->st->act)
		return;
	t->type = t->st->act;
	graph_contiguous(t->type, t->ne, t->nb);
	t->st->bytes = t->nb[3] * t->ne[3];
}

void graph_narrow(struct npu_graph *g)
{
	if (!(g->dev->info.features & NPU_FEAT_ACTIVATIONS))
		return;
	mark_plain(g);
	each_operand(g, judge_use);
	each_operand(g, judge_shape);
	each_operand(g, convert);
}

/* ---- On-chip memory ---------------------------------------------------------------------- */

/* A later use of a storage. */
struct use {
	const struct npu_gtensor *t;
	struct use *next;
};

/* Rows of @width bytes from @column on, one each @pitch bytes, in [lo, hi) of the storage. */
struct region {
	uint64_t lo, hi, pitch, column, width;
};

static struct region region_of(const struct npu_gtensor *t)
{
	struct region r = { .lo = t->off.imm, .pitch = 0 };
	uint64_t span = 0, outer;
	unsigned int last = 0;

	gtensor_span(t, &span);
	r.hi = r.lo + span;
	for (unsigned int i = 1; i < NPU_DIMS; i++)
		if (t->ne[i] > 1 && t->nb[i] > r.pitch) {
			r.pitch = t->nb[i];
			last = i;
		}
	if (r.pitch) {
		outer = r.pitch * (t->ne[last] - 1);
		r.column = r.lo % r.pitch;
		r.width = span - outer;
	}
	return r;
}

static bool overlap(const struct npu_gtensor *x, const struct npu_gtensor *y)
{
	struct region a, b;

	if (x->off.a || x->off.b || y->off.a || y->off.b)
		return true;
	a = region_of(x);
	b = region_of(y);
	if (a.lo >= b.hi || b.lo >= a.hi)
		return false;
	if (!a.pitch || a.pitch != b.pitch || a.column + a.width > a.pitch || b.column + b.width > b.pitch)
		return true;
	return a.column < b.column + b.width && b.column < a.column + a.width;
}

static bool used_again(const struct npu_gtensor *t)
{
	for (const struct use *u = t->st->uses; u; u = u->next)
		if (overlap(t, u->t))
			return true;
	return false;
}

/* Kept from round to round of a loop, or read by more than operations: no hints. */
static bool is_local(const struct storage *st)
{
	return st->kind == STORAGE_ARENA && !st->hold && !st->plain;
}

static uint8_t hint_of(const struct node *n, unsigned int i)
{
	const struct npu_gtensor *t = n->opnd[i];

	if (!t || !is_local(t->st))
		return 0;
	if (is_written(n, i))
		return used_again(t) ? NPU_HINT_KEEP | NPU_HINT_LOCAL : 0;
	/* A destination that is the source, too, must not lose it. */
	if (n->opnd[0] && n->opnd[0]->st == t->st)
		return NPU_HINT_KEEP;
	return used_again(t) ? NPU_HINT_KEEP : NPU_HINT_DROP;
}

void graph_hints(struct npu_graph *g)
{
	mark_plain(g);
	for (struct storage *st = g->storages; st; st = st->next)
		st->uses = NULL;
	for (uint32_t k = g->nnodes; k-- > 0;) {
		struct node *n = g->nodes[k];

		for (unsigned int i = 0; i < PACKET_OPERANDS && n->kind == NODE_OP; i++)
			n->hint[i] = hint_of(n, i);
		for (unsigned int i = 0; i < PACKET_OPERANDS && n->kind == NODE_OP; i++) {
			struct npu_gtensor *t = n->opnd[i];
			struct use *u = t && is_local(t->st) ? graph_alloc(g, sizeof(*u)) : NULL;

			if (!u)
				continue;
			u->t = t;
			u->next = t->st->uses;
			t->st->uses = u;
		}
	}
}
