// SPDX-License-Identifier: MIT
/*
 * What a packet touches; and the hazard checker, which reports commands of one
 * queue that overlap in device time on different engines and touch the same
 * bytes, one of them writing: a missing scoreboard token.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core.h"

#define OUTSTANDING	64u		/* commands remembered */
#define RUN_LIMIT	(1u << 20)	/* contiguous runs compared one by one; more count as overlapping */

/* n[d] runs of @run bytes at distances s[d]; dimensions with n == 1 are not used. */
struct area {
	uint64_t addr, run;
	uint64_t n[NPU_DIMS], s[NPU_DIMS];
	uint8_t operand;
	bool write;
};

struct areas {
	struct area list[MAX_SPANS];
	unsigned int count;
};

/* ---- Areas of a packet ----------------------------------------------------------- */

static void add_bytes(struct areas *a, uint64_t addr, uint64_t len, unsigned int operand, bool write)
{
	struct area *r = &a->list[a->count];

	if (!len || a->count == MAX_SPANS)
		return;
	memset(r, 0, sizeof(*r));
	r->addr = addr;
	r->run = len;
	for (unsigned int i = 0; i < NPU_DIMS; i++)
		r->n[i] = 1;
	r->operand = (uint8_t)operand;
	r->write = write;
	a->count++;
}

static void add_tensor(struct areas *a, const struct npu_tensor *t, unsigned int operand, bool write)
{
	uint64_t block = npu_type_block_bytes(t->type), n[NPU_DIMS];
	struct area *r = &a->list[a->count];
	unsigned int d = 0;

	if (!block || !t->ne[0] || !t->ne[1] || !t->ne[2] || !t->ne[3])
		return;
	add_bytes(a, t->addr, block, operand, write);
	for (unsigned int i = 0; i < NPU_DIMS; i++)
		n[i] = t->ne[i];
	n[0] /= npu_type_block_len(t->type);
	if (t->layout == NPU_LAYOUT_TILE16) {
		r->run = n[0] * block * ((n[1] + 15) / 16 * 16);
		d = 2;
	}
	/* Merge what is contiguous. */
	for (; d < NPU_DIMS; d++) {
		if (n[d] > 1 && t->nb[d] != r->run)
			break;
		r->run *= n[d];
	}
	for (; d < NPU_DIMS; d++) {
		r->n[d] = t->nb[d] ? n[d] : 1;
		r->s[d] = t->nb[d];
	}
}

static void matmul_areas(const struct npu_cmd_matmul *p, struct areas *a)
{
	add_tensor(a, &p->dst, 0, true);
	add_tensor(a, &p->x, 1, false);
	add_tensor(a, &p->w, 2, false);
	if (p->flags & NPU_MATMUL_BIAS)
		add_bytes(a, p->bias, p->dst.ne[0] * 4ull, NPU_OPERAND_AUX0, false);
}

static void norm_areas(const struct npu_cmd_norm *p, struct areas *a)
{
	add_tensor(a, &p->dst, 0, true);
	add_tensor(a, &p->src, 1, false);
	if (p->weight)
		add_bytes(a, p->weight, p->src.ne[0] * 4ull, NPU_OPERAND_AUX0, false);
	if (p->bias)
		add_bytes(a, p->bias, p->src.ne[0] * 4ull, NPU_OPERAND_AUX1, false);
}

static void rope_areas(const struct npu_cmd_rope *p, struct areas *a)
{
	add_tensor(a, &p->dst, 0, true);
	add_tensor(a, &p->src, 1, false);
	add_bytes(a, p->step, p->ndims / 2 * 8ull, NPU_OPERAND_AUX0, false);
	if (p->positions)
		add_bytes(a, p->positions, p->src.ne[2] * 4ull, NPU_OPERAND_AUX1, false);
}

static void tensor_areas(const void *packet, struct areas *a)
{
	const struct npu_cmd *c = packet;
	const struct npu_cmd_matmul_glu *mg = packet;
	const struct npu_cmd_attention *at = packet;
	const struct npu_cmd_softmax *sm = packet;
	const struct npu_cmd_map *mp = packet;
	const struct npu_cmd_binary *bi = packet;
	const struct npu_cmd_topk *tk = packet;
	const struct npu_cmd_rows *ro = packet;

	switch (c->opcode) {
	case NPU_OP_MATMUL:
		matmul_areas(packet, a);
		break;
	case NPU_OP_MATMUL_GLU:
		add_tensor(a, &mg->dst, 0, true);
		add_tensor(a, &mg->x, 1, false);
		add_tensor(a, &mg->gate, 2, false);
		add_tensor(a, &mg->up, 3, false);
		break;
	case NPU_OP_ATTENTION:
		add_tensor(a, &at->dst, 0, true);
		add_tensor(a, &at->q, 1, false);
		add_tensor(a, &at->k, 2, false);
		add_tensor(a, &at->v, 3, false);
		break;
	case NPU_OP_RMS_NORM:
	case NPU_OP_LAYER_NORM:
		norm_areas(packet, a);
		break;
	case NPU_OP_ROPE:
		rope_areas(packet, a);
		break;
	case NPU_OP_SOFTMAX:
		add_tensor(a, &sm->dst, 0, true);
		add_tensor(a, &sm->src, 1, false);
		if (sm->flags & NPU_SOFTMAX_MASK)
			add_tensor(a, &sm->mask, 2, false);
		break;
	case NPU_OP_GLU:
	case NPU_OP_BINARY:
		add_tensor(a, &bi->dst, 0, true);
		add_tensor(a, &bi->a, 1, false);
		add_tensor(a, &bi->b, 2, false);
		break;
	case NPU_OP_TOPK:
		add_tensor(a, &tk->values, 0, true);
		add_tensor(a, &tk->indices, 1, true);
		add_tensor(a, &tk->src, 2, false);
		break;
	case NPU_OP_GATHER:
	case NPU_OP_SCATTER:
		add_tensor(a, &ro->dst, 0, c->opcode == NPU_OP_GATHER);
		add_tensor(a, &ro->table, 1, c->opcode == NPU_OP_SCATTER);
		add_tensor(a, &ro->index, 2, false);
		break;
	default:
		add_tensor(a, &mp->dst, 0, true);
		if (c->opcode != NPU_OP_FILL)
			add_tensor(a, &mp->src, 1, false);
		break;
	}
}

static void control_areas(const void *packet, struct areas *a)
{
	const struct npu_cmd *c = packet;
	const struct npu_cmd_mem *mem = packet;
	const struct npu_cmd_timestamp *ts = packet;

	if (c->opcode == NPU_CMD_LOAD || c->opcode == NPU_CMD_STORE)
		add_bytes(a, mem->addr, mem->size, NPU_OPERAND_NONE, c->opcode == NPU_CMD_STORE);
	else if (c->opcode == NPU_CMD_TIMESTAMP)
		add_bytes(a, ts->addr, sizeof(struct npu_timestamp), NPU_OPERAND_NONE, true);
}

static void packet_areas(const void *packet, struct areas *a)
{
	a->count = 0;
	if (((const struct npu_cmd *)packet)->opcode >= NPU_OP_FIRST)
		tensor_areas(packet, a);
	else
		control_areas(packet, a);
}

static uint64_t area_last(const struct area *r)
{
	uint64_t last = r->addr + r->run - 1;

	for (unsigned int i = 0; i < NPU_DIMS; i++)
		last += (r->n[i] - 1) * r->s[i];
	return last;
}

/* Bounding spans of a checked packet. */
unsigned int packet_spans(const void *packet, struct span *out)
{
	struct areas a;

	packet_areas(packet, &a);
	for (unsigned int i = 0; i < a.count; i++) {
		out[i].first = a.list[i].addr;
		out[i].last = area_last(&a.list[i]);
		out[i].operand = a.list[i].operand;
		out[i].write = a.list[i].write;
	}
	return a.count;
}

/* Whether a checked packet accounts for an access; what it does not would be missed by LOCK and by this checker. */
bool packet_holds(const void *packet, uint64_t va, uint64_t len, bool write)
{
	struct span span[MAX_SPANS];
	unsigned int n = packet_spans(packet, span);

	while (n--)
		if (va >= span[n].first && va + len - 1 <= span[n].last && (!write || span[n].write))
			return true;
	return false;
}

/* ---- Overlap of two areas ----------------------------------------------------------- */

/* Dimensions in use, by falling stride. */
static unsigned int sorted_dims(const struct area *r, unsigned int order[NPU_DIMS])
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < NPU_DIMS; i++) {
		unsigned int at = n;

		if (r->n[i] <= 1)
			continue;
		for (; at && r->s[order[at - 1]] < r->s[i]; at--)
			order[at] = order[at - 1];
		order[at] = i;
		n++;
	}
	return n;
}

/* Whether [lo, hi] meets the part of @r at @base spanned by order[0..n). */
static bool meets(const struct area *r, const unsigned int *order, unsigned int n, uint64_t base, uint64_t lo,
		  uint64_t hi)
{
	uint64_t extent = r->run - 1, first, last, stride, count;

	if (!n)
		return base <= hi && base + r->run - 1 >= lo;
	for (unsigned int i = 1; i < n; i++)
		extent += (r->n[order[i]] - 1) * r->s[order[i]];
	stride = r->s[order[0]];
	count = r->n[order[0]];
	if (hi < base)
		return false;
	first = lo > base + extent ? (lo - base - extent + stride - 1) / stride : 0;
	last = (hi - base) / stride;
	if (last >= count)
		last = count - 1;
	for (uint64_t i = first; i <= last; i++)
		if (meets(r, order + 1, n - 1, base + i * stride, lo, hi))
			return true;
	return false;
}

static uint64_t runs(const struct area *r)
{
	return r->n[0] * r->n[1] * r->n[2] * r->n[3];
}

static bool overlap(const struct area *a, const struct area *b)
{
	unsigned int order[NPU_DIMS], n;

	if (a->addr > area_last(b) || b->addr > area_last(a))
		return false;
	if (runs(a) > runs(b)) {
		const struct area *t = a;

		a = b;
		b = t;
	}
	if (runs(a) > RUN_LIMIT)
		return true;
	n = sorted_dims(b, order);
	for (uint64_t i = 0; i < runs(a); i++) {
		uint64_t rest = i, at = a->addr;

		for (unsigned int d = 0; d < NPU_DIMS; d++) {
			at += rest % a->n[d] * a->s[d];
			rest /= a->n[d];
		}
		if (meets(b, order, n, b->addr, at, at + a->run - 1))
			return true;
	}
	return false;
}

/* ---- Checker ------------------------------------------------------------------------------ */

struct outstanding {
	struct areas areas;
	uint64_t start, end;
	uint32_t queue, tag;
	uint16_t opcode;
	uint8_t engine;
};

struct hazards {
	struct outstanding list[OUTSTANDING];
	unsigned int count;
};

struct hazards *hazards_new(void)
{
	return calloc(1, sizeof(struct hazards));
}

void hazards_free(struct hazards *h)
{
	free(h);
}

void hazards_reset(struct hazards *h)
{
	h->count = 0;
}

static void report(struct npu_model *m, const struct outstanding *old, const struct area *a,
		   const struct outstanding *new, const struct area *b)
{
	atomic_fetch_add_explicit(&m->stat_hazards, 1, memory_order_relaxed);
	core_log(m,
		 "hazard: queue %u: command 0x%02x (tag %u) operand %u %s what command 0x%02x (tag %u) operand %u %s "
		 "near 0x%" PRIx64 ": a scoreboard token is missing",
		 new->queue, new->opcode, new->tag, b->operand, b->write ? "writes" : "reads", old->opcode, old->tag,
		 a->operand, a->write ? "writes" : "reads", a->addr > b->addr ? a->addr : b->addr);
}

static void compare(struct npu_model *m, const struct outstanding *old, const struct outstanding *new)
{
	for (unsigned int i = 0; i < old->areas.count; i++) {
		for (unsigned int j = 0; j < new->areas.count; j++) {
			const struct area *a = &old->areas.list[i], *b = &new->areas.list[j];

			if ((a->write || b->write) && overlap(a, b)) {
				report(m, old, a, new, b);
				return;
			}
		}
	}
}

void hazards_check(struct npu_model *m, struct queue *q, const void *packet, unsigned int engine, uint64_t start,
		   uint64_t end)
{
	const struct npu_cmd *c = packet;
	struct hazards *h = m->hazards;
	struct outstanding new = { .start = start, .end = end, .queue = q->index, .tag = c->tag,
				   .opcode = c->opcode, .engine = (uint8_t)engine };
	unsigned int kept = 0;

	packet_areas(packet, &new.areas);
	if (!new.areas.count)
		return;
	for (unsigned int i = 0; i < h->count; i++) {
		const struct outstanding *old = &h->list[i];

		/* Starts never go back: who ended before this one cannot meet a later one. */
		if (old->end <= start)
			continue;
		if (old->queue == new.queue && old->engine != engine && old->start < end)
			compare(m, old, &new);
		if (kept != i)
			h->list[kept] = *old;
		kept++;
	}
	h->count = kept;
	if (engine != NPU_ENGINE_CONTROL && h->count < OUTSTANDING)
		h->list[h->count++] = new;
}
