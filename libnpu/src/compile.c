// SPDX-License-Identifier: MIT
/* Nodes to commands. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "npu_regs.h"
#include "graph.h"
#include "stream.h"

/* A register that holds the extent of a piece: min(max(R[scalar], first) - first, len). */
struct temp {
	int scalar;		/* 0: free */
	uint32_t first, len;
	uint32_t used;		/* stamp, for reuse of the oldest */
};

struct frame {
	struct track_state state;	/* skip: at its begin */
	int branch;			/* over the block; -1: none */
	int body;			/* loop: first packet */
	int breaks[32];
	unsigned int nbreaks;
};

struct emit {
	struct npu_graph *g;
	struct npu_program *p;
	struct npu_stream *s;
	struct track *track;
	uint64_t arena_va, io_va;
	bool serial;
	struct temp temps[GRAPH_TEMPS];
	uint32_t stamp;
	struct frame frames[GRAPH_DEPTH];
	unsigned int depth;
};

/* One command being put together. */
struct command {
	uint64_t packet[NPU_PACKET_MAX / 8];
	struct npu_regop regops[40];
	struct npu_issue issue;
	struct access acc[MAX_ACCESSES];
	unsigned int nacc;
};

static unsigned int reg_of(int scalar)
{
	return (unsigned int)scalar - 1;
}

static uint64_t storage_va(const struct emit *e, const struct storage *st)
{
	switch (st->kind) {
	case STORAGE_ARENA:
		return e->arena_va + st->place;
	case STORAGE_IO:
		return e->io_va + st->place;
	default:
		return npu_buffer_va(st->buffer) + st->place;
	}
}

static void add_regop(struct command *c, uint16_t field, int a, int32_t sa, int b, int64_t sb)
{
	struct npu_regop *r = &c->regops[c->issue.nregops++];

	*r = (struct npu_regop) {
		.field = field,
		.ra = a ? (uint8_t)reg_of(a) : NPU_NO_REG,
		.rb = b ? (uint8_t)reg_of(b) : NPU_NO_REG,
		.sa = sa,
		.sb = sb,
	};
}

static void add_affine(struct command *c, uint16_t field, const struct npu_affine *v)
{
	if ((v->a && v->sa) || (v->b && v->sb))
		add_regop(c, field, v->sa ? v->a : 0, v->sa, v->sb ? v->b : 0, v->sb);
}

/* ---- Control nodes ----------------------------------------------------------------------- */

static void forget_temps(struct emit *e, int scalar)
{
	for (unsigned int i = 0; i < GRAPH_TEMPS; i++)
		if (!scalar || e->temps[i].scalar == scalar)
			e->temps[i].scalar = 0;
}

static void barrier(struct emit *e)
{
	npu_emit_barrier(e->s);
	track_barrier(e->track);
}

/* rd = value */
static void emit_set(struct emit *e, unsigned int rd, const struct npu_affine *v)
{
	struct command c = { .issue = NPU_ISSUE_INIT };

	add_affine(&c, NPU_FIELD(struct npu_cmd_set, imm), v);
	c.issue.regops = c.regops;
	npu_stream_set(e->s, &c.issue, rd, v->imm);
}

static void emit_alu(struct emit *e, const struct node *n)
{
	struct command c = { .issue = NPU_ISSUE_INIT };
	unsigned int r = reg_of(n->scalar);

	add_affine(&c, NPU_FIELD(struct npu_cmd_alu, imm), &n->value);
	c.issue.regops = c.regops;
	npu_stream_alui(e->s, &c.issue, (enum npu_alu_op)n->alu, r, r, n->value.imm);
}

/* The bytes of @t between the smallest and the largest value of its scalars. */
static void add_access(struct emit *e, struct command *c, const struct npu_gtensor *t, uint64_t bytes, bool write)
{
	__int128 min = graph_affine_min(e->g, &t->off), max = graph_affine_max(e->g, &t->off);
	uint64_t base = storage_va(e, t->st);
	struct access *a = &c->acc[c->nacc];

	if (t->st->readonly)	/* nothing writes it */
		return;
	c->nacc++;
	a->lo = base + (min < 0 ? 0 : (uint64_t)min);
	a->hi = base + (uint64_t)max + bytes;
	a->pitch = a->width = 0;
	a->write = write;
}

static void emit_mem(struct emit *e, const struct node *n)
{
	const struct npu_gtensor *t = n->opnd[0];
	struct command c = { .issue = NPU_ISSUE_INIT };
	unsigned int size = npu_type_bytes(t->type);
	uint64_t addr = storage_va(e, t->st) + t->off.imm;

	c.issue.tag = n->id;
	add_access(e, &c, t, size, n->kind == NODE_STORE);
	if (n->kind == NODE_STORE)
		emit_set(e, GRAPH_VALUE, &n->value);
	track_wait(e->track, e->s, NPU_ENGINE_CONTROL, c.acc, c.nacc, &c.issue.wait);
	add_affine(&c, NPU_FIELD(struct npu_cmd_mem, addr), &t->off);
	c.issue.regops = c.regops;
	if (n->kind == NODE_STORE)
		npu_emit_store(e->s, &c.issue, GRAPH_VALUE, addr, size);
	else
		npu_emit_load(e->s, &c.issue, reg_of(n->scalar), addr, size, size == 4);
	forget_temps(e, n->kind == NODE_LOAD ? n->scalar : -1);
}

static void emit_timestamp(struct emit *e, const struct node *n)
{
	const struct npu_gtensor *t = n->opnd[0];
	struct command c = { .issue = NPU_ISSUE_INIT };

	barrier(e);
	c.issue.tag = n->id;
	add_affine(&c, NPU_FIELD(struct npu_cmd_timestamp, addr), &t->off);
	c.issue.regops = c.regops;
	npu_emit_timestamp(e->s, &c.issue, storage_va(e, t->st) + t->off.imm);
}

static void emit_progress(struct emit *e, const struct node *n)
{
	struct command c = { .issue = NPU_ISSUE_INIT };

	barrier(e);
	c.issue.tag = n->id;
	add_affine(&c, NPU_FIELD(struct npu_cmd_progress, value), &n->value);
	c.issue.regops = c.regops;
	npu_emit_progress(e->s, &c.issue, n->value.imm, n->irq);
}

static struct frame *push_frame(struct emit *e)
{
	struct frame *f = &e->frames[e->depth++];

	f->branch = -1;
	f->nbreaks = 0;
	return f;
}

static void loop_begin(struct emit *e, const struct node *n)
{
	struct frame *f = push_frame(e);

	emit_set(e, reg_of(n->scalar), &n->value);
	f->branch = npu_emit_branchi(e->s, NPU_COND_EQ, reg_of(n->scalar), 0, -1);
	/* Rounds start alike: the first, too, must not rely on what the code before waited for or kept. */
	forget_temps(e, 0);
	f->body = (int)npu_stream_bytes(e->s);
}

static void loop_break(struct emit *e, const struct node *n)
{
	unsigned int d = e->depth;
	struct frame *f;
	int at = npu_emit_branchi(e->s, (enum npu_cond)n->cond, reg_of(n->scalar), n->imm, -1);

	/* The innermost frame that is a loop. */
	do {
		f = &e->frames[--d];
	} while (f->body < 0 && d);
	if (f->nbreaks == sizeof(f->breaks) / sizeof(f->breaks[0])) {
		graph_fail(e->g, -ENOSPC, "a loop has at most 32 breaks");
		return;
	}
	f->breaks[f->nbreaks++] = at;
}

/*
 * Between rounds all commands retire: what a round waits for is worked out as if it were the first. After
 * the loop the same, because it can be left in several places.
 */
static void loop_end(struct emit *e, uint32_t block)
{
	struct frame *f = &e->frames[--e->depth];
	unsigned int counter = reg_of(e->g->blocks[block].counter);

	barrier(e);
	npu_emit_loop(e->s, counter, f->body);
	npu_stream_land(e->s, f->branch);
	for (unsigned int i = 0; i < f->nbreaks; i++)
		npu_stream_land(e->s, f->breaks[i]);
	barrier(e);
	forget_temps(e, 0);
}

static void skip_begin(struct emit *e, const struct node *n)
{
	struct frame *f = push_frame(e);

	f->body = -1;
	f->branch = npu_emit_branchi(e->s, (enum npu_cond)n->cond, reg_of(n->scalar), n->imm, -1);
	track_save(e->track, &f->state);
	forget_temps(e, 0);
}

static void skip_end(struct emit *e)
{
	struct frame *f = &e->frames[--e->depth];

	npu_stream_land(e->s, f->branch);
	if (!track_restore(e->track, &f->state))
		barrier(e);
	forget_temps(e, 0);
}

/* ---- Tensor operations ------------------------------------------------------------------------ */

/* The register with the run-time extent of a piece. */
static unsigned int piece_extent(struct emit *e, int scalar, uint32_t first, uint32_t len)
{
	unsigned int oldest = 0, r = reg_of(scalar), t;

	for (unsigned int i = 0; i < GRAPH_TEMPS; i++) {
		struct temp *x = &e->temps[i];

		if (x->scalar == scalar && x->first == first && x->len == len) {
			x->used = ++e->stamp;
			return GRAPH_TEMP + i;
		}
		if (!x->scalar || (e->temps[oldest].scalar && x->used < e->temps[oldest].used))
			oldest = i;
	}
	e->temps[oldest] = (struct temp) { scalar, first, len, ++e->stamp };
	t = GRAPH_TEMP + oldest;
	npu_emit_alui(e->s, NPU_ALU_MAX, t, r, first);
	npu_emit_alui(e->s, NPU_ALU_SUB, t, t, first);
	npu_emit_alui(e->s, NPU_ALU_MIN, t, t, len);
	return t;
}

static void put_extent(struct emit *e, struct command *c, uint32_t offset, unsigned int d, const struct npu_gtensor *t,
		       struct npu_tensor *x, uint32_t first, uint32_t len)
{
	uint16_t field = (uint16_t)(offset + offsetof(struct npu_tensor, ne) + 4 * d);
	bool whole = first == 0 && len == t->ne[d];
	unsigned int reg;

	x->ne[d] = len;
	if (!t->dyn[d])
		return;
	reg = whole ? reg_of(t->dyn[d]) : piece_extent(e, t->dyn[d], first, len);
	x->ne[d] = 0;
	add_regop(c, field | NPU_REGOP_MAX, (int)reg + 1, 1, 0, len);
}

/* The range of dimension @d of operand @i that a piece covers. */
static void operand_range(const struct node *n, const struct cut *cut, const struct piece *pc, unsigned int i,
			  unsigned int d, uint32_t *first, uint32_t *len)
{
	const struct npu_gtensor *t = n->opnd[i];
	unsigned int naxes;
	const struct op_axis *axes = op_axes(n->opcode, &naxes);

	*first = 0;
	*len = t->ne[d];
	for (unsigned int a = 0; a < naxes; a++) {
		uint32_t share;

		if (axes[a].dim[i] != (int)d || cut->parts[a] <= 1)
			continue;
		if (t->ne[d] == 1)	/* broadcast, or one group for all */
			return;
		if (t->ne[d] == cut->extent[a]) {
			*first = pc->first[a];
			*len = pc->len[a];
			return;
		}
		share = cut->extent[a] / t->ne[d];
		*first = pc->first[a] / share;
		*len = (pc->first[a] + pc->len[a] - 1) / share - *first + 1;
		return;
	}
}

/* Rows of columns: what a piece of columns leaves untouched is told apart. */
static void add_operand_access(struct emit *e, struct command *c, const struct npu_gtensor *t, const struct npu_tensor *x,
			       const uint32_t len[NPU_DIMS], uint64_t slice, bool write)
{
	struct npu_tensor full = *x;
	struct npu_gtensor moved = *t;
	struct access *a;
	uint64_t span;
	unsigned int before = c->nacc;

	memcpy(full.ne, len, sizeof(full.ne));
	if (!tensor_span(&full, &span))
		return;
	moved.off.imm += slice;
	add_access(e, c, &moved, span, write);
	if (c->nacc == before)
		return;
	a = &c->acc[before];
	if (len[2] == 1 && len[3] == 1 && !t->off.a && !t->off.b && t->layout == NPU_LAYOUT_ROWS &&
	    t->nb[0] == npu_type_bytes(t->type) && npu_type_row_bytes(t->type, len[0]) < t->nb[1]) {
		a->pitch = t->nb[1];
		a->width = npu_type_row_bytes(t->type, len[0]);
	}
}

/* Pieces before the last one of those that use a part leave it where it is. */
static uint8_t operand_hint(const struct node *n, const struct cut *cut, const struct piece *pc, unsigned int i)
{
	unsigned int naxes;
	const struct op_axis *axes = op_axes(n->opcode, &naxes);

	if (!n->hint[i])
		return 0;
	for (unsigned int a = 0; a < naxes; a++) {
		int d = axes[a].dim[i];
		bool shared = d < 0 || n->opnd[i]->ne[d] != cut->extent[a];

		if (shared && cut->parts[a] > 1 && pc->first[a] + pc->len[a] < cut->extent[a])
			return NPU_HINT_KEEP;
	}
	return n->hint[i];
}

static void put_operand(struct emit *e, struct command *c, const struct node *n, const struct cut *cut,
			const struct piece *pc, unsigned int i)
{
	const struct packet_info *info = packet_info(n->opcode);
	const struct npu_gtensor *t = n->opnd[i];
	struct npu_tensor *x = packet_tensor(c->packet, info, i);
	uint32_t offset = info->operand[i].offset, lens[NPU_DIMS];
	uint64_t slice = 0;

	for (unsigned int d = 0; d < NPU_DIMS; d++) {
		uint32_t first;

		operand_range(n, cut, pc, i, d, &first, &lens[d]);
		put_extent(e, c, offset, d, t, x, first, lens[d]);
		slice += (uint64_t)(d ? first : first / npu_type_block(t->type)) * t->nb[d];
	}
	x->addr = storage_va(e, t->st) + t->off.imm + slice;
	x->hint = operand_hint(n, cut, pc, i);
	add_affine(c, (uint16_t)((offset + offsetof(struct npu_tensor, addr)) | NPU_REGOP_64), &t->off);
	add_operand_access(e, c, t, x, lens, slice, info->operand[i].flags & OP_WRITE);
}

/* Address of an auxiliary vector, from element @first on. */
static void put_aux(struct emit *e, struct command *c, const struct npu_gtensor *t, uint16_t field, uint32_t first)
{
	uint64_t addr;

	if (!t)
		return;
	addr = storage_va(e, t->st) + t->off.imm + (uint64_t)first * npu_type_bytes(t->type);
	memcpy((char *)c->packet + NPU_REGOP_OFFSET(field), &addr, sizeof(addr));
	add_affine(c, field, &t->off);
	add_access(e, c, t, (uint64_t)t->ne[0] * npu_type_bytes(t->type), false);
}

/* A 32-bit position that starts @first rows later. */
static void put_pos(struct command *c, const struct npu_affine *pos, uint16_t field, uint32_t first)
{
	uint32_t imm = (uint32_t)(pos->imm + first);

	memcpy((char *)c->packet + NPU_REGOP_OFFSET(field), &imm, sizeof(imm));
	add_affine(c, field, pos);
}

static uint32_t axis_first(const struct node *n, const struct piece *pc, unsigned int operand, int dim)
{
	unsigned int naxes;
	const struct op_axis *axes = op_axes(n->opcode, &naxes);

	for (unsigned int a = 0; a < naxes; a++)
		if (axes[a].dim[operand] == dim)
			return pc->first[a];
	return 0;
}

static void put_aux_all(struct emit *e, struct command *c, const struct node *n, const struct piece *pc)
{
	switch (n->opcode) {
	case NPU_OP_MATMUL:
		put_aux(e, c, n->aux[0], NPU_FIELD(struct npu_cmd_matmul, bias), axis_first(n, pc, 0, 0));
		break;
	case NPU_OP_ATTENTION:
		put_pos(c, &n->par.pos, NPU_FIELD(struct npu_cmd_attention, pos), axis_first(n, pc, 0, 2));
		break;
	case NPU_OP_RMS_NORM:
	case NPU_OP_LAYER_NORM:
		put_aux(e, c, n->aux[0], NPU_FIELD(struct npu_cmd_norm, weight), 0);
		put_aux(e, c, n->aux[1], NPU_FIELD(struct npu_cmd_norm, bias), 0);
		break;
	case NPU_OP_ROPE:
		put_pos(c, &n->par.pos, NPU_FIELD(struct npu_cmd_rope, pos), axis_first(n, pc, 0, 2));
		put_aux(e, c, n->aux[0], NPU_FIELD(struct npu_cmd_rope, step), 0);
		put_aux(e, c, n->aux[1], NPU_FIELD(struct npu_cmd_rope, positions), axis_first(n, pc, 0, 2));
		break;
	default:
		break;
	}
}

static void emit_piece(struct emit *e, struct node *n, const struct cut *cut, const struct piece *pc)
{
	const struct packet_info *info = packet_info(n->opcode);
	struct command c = { .issue = NPU_ISSUE_INIT };
	int at;

	node_packet(n, c.packet);
	for (unsigned int i = 0; i < info->count; i++)
		if (n->opnd[i])
			put_operand(e, &c, n, cut, pc, i);
	put_aux_all(e, &c, n, pc);
	c.issue.tag = n->id;
	c.issue.regops = c.regops;
	track_wait(e->track, e->s, info->engine, c.acc, c.nacc, &c.issue.wait);
	at = npu_stream_tensor_op(e->s, &c.issue, n->opcode, c.packet);
	if (at < 0)
		return;
	track_add(e->track, info->engine, (uint32_t)at, c.acc, c.nacc);
	n->commands++;
	if (e->serial)
		barrier(e);
}

static void emit_op(struct emit *e, struct node *n)
{
	struct piece pc = { 0 };
	struct packet_cost cost;
	uint64_t packet[NPU_PACKET_MAX / 8];
	struct cut cut;
	uint32_t at[OP_AXES] = { 0 };
	unsigned int a;

	if (op_cut(e->g, n, &cut))
		return;
	node_packet(n, packet);
	packet_cost(packet, &cost);
	e->p->info.macs += cost.macs;
	e->p->info.operations++;
	e->p->info.splits += cut.total > 1;
	do {
		for (a = 0; a < OP_AXES; a++) {
			uint32_t rest = cut.extent[a] - at[a] * cut.step[a];

			pc.first[a] = at[a] * cut.step[a];
			pc.len[a] = rest < cut.step[a] ? rest : cut.step[a];
		}
		emit_piece(e, n, &cut, &pc);
		for (a = 0; a < OP_AXES; a++) {
			if (++at[a] < cut.parts[a])
				break;
			at[a] = 0;
		}
	} while (a < OP_AXES && !e->s->status);
}

static void emit_node(struct emit *e, struct node *n)
{
	switch ((enum node_kind)n->kind) {
	case NODE_OP:
		emit_op(e, n);
		break;
	case NODE_SET:
		emit_set(e, reg_of(n->scalar), &n->value);
		forget_temps(e, n->scalar);
		break;
	case NODE_ALU:
		emit_alu(e, n);
		forget_temps(e, n->scalar);
		break;
	case NODE_LOAD:
	case NODE_STORE:
		emit_mem(e, n);
		break;
	case NODE_LOOP_BEGIN:
		loop_begin(e, n);
		break;
	case NODE_LOOP_BREAK:
		loop_break(e, n);
		break;
	case NODE_LOOP_END:
		loop_end(e, n->block);
		break;
	case NODE_SKIP_BEGIN:
		skip_begin(e, n);
		break;
	case NODE_SKIP_END:
		skip_end(e);
		break;
	case NODE_PROGRESS:
		emit_progress(e, n);
		break;
	case NODE_TIMESTAMP:
		emit_timestamp(e, n);
		break;
	}
}

int graph_emit(struct npu_graph *g, struct npu_program *p, struct npu_stream *s, uint64_t arena_va, uint64_t io_va,
	       bool serial)
{
	struct emit e = { .g = g, .p = p, .s = s, .arena_va = arena_va, .io_va = io_va, .serial = serial };

	graph_hints(g);
	e.track = track_new(g->dev);
	if (!e.track)
		return graph_fail(g, -ENOMEM, "no memory to compile the graph");
	for (uint32_t i = 0; i < g->nnodes && !g->status && !s->status; i++) {
		g->scope = g->nodes[i]->scope;
		g->nodes[i]->commands = 0;
		emit_node(&e, g->nodes[i]);
		p->info.commands += g->nodes[i]->commands;
	}
	npu_emit_end(s, NULL);
	p->info.tokens = track_waits(e.track);
	track_free(e.track);
	if (s->status)
		return graph_fail(g, s->status, "%s", s->error);
	g->scope = NULL;
	return g->status;
}
