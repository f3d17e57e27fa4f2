/* SPDX-License-Identifier: MIT */
/*
 * Validation and cost of tensor packets.
 *
 * Order of the checks, which decides what is reported when several things are
 * wrong (Documentation/hardware/tensor-operations.rst):
 *   1. opcode and capability, 2. length, 3. reserved bytes, flags, kinds and
 *   parameters of the packet, 4. each operand by itself in ascending operand
 *   number, 5. relations between operands, 6. the bounds of one command.
 * Nothing here reads memory other than the packet.
 */
#include <string.h>

#include "ops.h"
#include "operand.h"

#define T(type)		(1u << NPU_TYPE_##type)
#define T_FLOAT		(T(F32) | T(F16))
#define T_PLAIN		(T(F32) | T(F16) | T(BF16) | T(I8) | T(I16) | T(I32) | T(I64))
#define T_BLOCK		(T(Q4_0) | T(Q8_0) | T(Q4_K) | T(Q6_K))
#define T_ACT		(T(A8) | T(A8_K))
#define T_WEIGHT	(T(F32) | T(F16) | T(BF16) | T_BLOCK)

#define F_DST		(1u << 0)	/* written: elements may not coincide */
#define F_ROW		(1u << 1)	/* dimension 0 must be contiguous */

struct check {
	const struct npu_op_limits *lim;
	struct npu_op_plan *plan;
};

static bool fail(struct check *c, unsigned int fault, unsigned int operand)
{
	if (!c->plan->fault) {
		c->plan->fault = (uint8_t)fault;
		c->plan->operand = (uint8_t)operand;
	}
	return false;
}

static bool need(struct check *c, bool ok, unsigned int fault, unsigned int operand)
{
	return ok || fail(c, fault, operand);
}

static bool zero_bytes(const void *p, size_t n)
{
	const uint8_t *b = p;

	for (size_t i = 0; i < n; i++)
		if (b[i])
			return false;
	return true;
}

static bool reserved(struct check *c, const void *p, size_t n)
{
	return need(c, zero_bytes(p, n), NPU_FAULT_ENCODING, NPU_OPERAND_NONE);
}

/* A parameter that the operation does not use must be +0. */
static bool unused(struct check *c, float p)
{
	return reserved(c, &p, sizeof(p));
}

static uint64_t mul_sat(uint64_t a, uint64_t b)
{
	uint64_t r;

	return __builtin_mul_overflow(a, b, &r) ? UINT64_MAX : r;
}

static uint64_t add_sat(uint64_t a, uint64_t b)
{
	uint64_t r;

	return __builtin_add_overflow(a, b, &r) ? UINT64_MAX : r;
}

static uint64_t elements(const struct npu_tensor *t)
{
	uint64_t n = 1;

	for (unsigned int i = 0; i < NPU_DIMS; i++)
		if (!t->ne[i])
			return 0;
	for (unsigned int i = 0; i < NPU_DIMS; i++)
		n = mul_sat(n, t->ne[i]);
	return n;
}

/* Bytes of the elements, coinciding ones (stride 0) counted as often as they are used. */
static uint64_t bytes_of(const struct npu_tensor *t)
{
	uint64_t rows = t->layout == NPU_LAYOUT_TILE16 ? ((uint64_t)t->ne[1] + 15) / 16 * 16 : t->ne[1];
	uint64_t row = (uint64_t)(t->ne[0] / npu_type_block_len(t->type)) * npu_type_block_bytes(t->type);

	return elements(t) ? mul_sat(mul_sat(row, rows), mul_sat(t->ne[2], t->ne[3])) : 0;
}

static void reads(struct check *c, uint64_t bytes)
{
	c->plan->bytes_read = add_sat(c->plan->bytes_read, bytes);
}

static void writes(struct check *c, uint64_t bytes)
{
	c->plan->bytes_written = add_sat(c->plan->bytes_written, bytes);
}

static void lanes(struct check *c, uint64_t n, unsigned int per_element)
{
	c->plan->lane_ops = add_sat(c->plan->lane_ops, mul_sat(n, per_element));
}

static bool range(struct check *c, uint64_t addr, uint64_t bytes, unsigned int operand)
{
	uint64_t end;

	if (!bytes)
		return true;
	if (__builtin_add_overflow(addr, bytes, &end))
		return fail(c, NPU_FAULT_OPERAND_ILLEGAL, operand);
	return need(c, end <= c->lim->va_limit, NPU_FAULT_ADDRESS_SIZE, operand);
}

/*
 * Elements of a destination may not coincide: with the dimensions sorted by
 * stride, each stride is at least the extent of the smaller dimensions.
 */
static bool disjoint(const struct npu_tensor *t)
{
	unsigned int order[NPU_DIMS], n = 0;
	uint64_t extent = npu_type_block_bytes(t->type);

	for (unsigned int i = 0; i < NPU_DIMS; i++) {
		uint64_t count = i ? t->ne[i] : t->ne[0] / npu_type_block_len(t->type);
		unsigned int at = n;

		if (count <= 1)
			continue;
		for (; at && t->nb[order[at - 1]] > t->nb[i]; at--)
			order[at] = order[at - 1];
		order[at] = i;
		n++;
	}
	for (unsigned int i = 0; i < n; i++) {
		unsigned int d = order[i];
		uint64_t count = d ? t->ne[d] : t->ne[0] / npu_type_block_len(t->type);

		if (t->nb[d] < extent)
			return false;
		extent += (count - 1) * t->nb[d];	/* cannot overflow: the span did not */
	}
	return true;
}

/* LOCAL is for results that are kept; DROP for sources. */
static bool hint_ok(uint8_t hint, bool dst)
{
	if (dst)
		return hint == 0 || hint == NPU_HINT_KEEP || hint == (NPU_HINT_KEEP | NPU_HINT_LOCAL);
	return hint == 0 || hint == NPU_HINT_KEEP || hint == NPU_HINT_DROP;
}

static bool tensor(struct check *c, const struct npu_tensor *t, unsigned int operand, uint32_t types,
		   unsigned int flags)
{
	uint32_t size, len, align;
	uint64_t span;

	if (!need(c, zero_bytes(t->rsvd, sizeof(t->rsvd)), NPU_FAULT_ENCODING, operand) ||
	    !need(c, hint_ok(t->hint, flags & F_DST), NPU_FAULT_ENCODING, operand) ||
	    !need(c, t->type < 32 && (types >> t->type & 1), NPU_FAULT_OPERAND_ILLEGAL, operand) ||
	    !need(c, t->layout == NPU_LAYOUT_ROWS || t->layout == NPU_LAYOUT_TILE16, NPU_FAULT_OPERAND_ILLEGAL,
		  operand))
		return false;
	size = npu_type_block_bytes(t->type);
	len = npu_type_block_len(t->type);
	align = len > 1 ? 2 : size;
	if (t->ne[0] % len || t->addr % align)
		return fail(c, NPU_FAULT_OPERAND_ILLEGAL, operand);
	if ((len > 1 || ((flags & F_ROW) && t->ne[0] > 1)) && t->nb[0] != size)
		return fail(c, NPU_FAULT_OPERAND_ILLEGAL, operand);
	for (unsigned int i = 0; i < NPU_DIMS; i++)
		if (t->ne[i] > 1 && t->nb[i] % align)
			return fail(c, NPU_FAULT_OPERAND_ILLEGAL, operand);
	if (t->layout == NPU_LAYOUT_TILE16 && t->ne[1] > 1 &&
	    (t->nb[0] != size || t->nb[1] != (uint64_t)(t->ne[0] / len) * size))
		return fail(c, NPU_FAULT_OPERAND_ILLEGAL, operand);
	if (!elements(t)) {
		c->plan->empty = true;
		return true;
	}
	if (!npu_operand_span(t, &span))
		return fail(c, NPU_FAULT_OPERAND_ILLEGAL, operand);
	if ((flags & F_DST) && !disjoint(t))
		return fail(c, NPU_FAULT_OPERAND_ILLEGAL, operand);
	return range(c, t->addr, span, operand);
}

/* An operand in rows layout. */
static bool rows(struct check *c, const struct npu_tensor *t, unsigned int operand, uint32_t types,
		 unsigned int flags)
{
	return tensor(c, t, operand, types, flags) &&
	       need(c, t->layout == NPU_LAYOUT_ROWS, NPU_FAULT_OPERAND_ILLEGAL, operand);
}

/* A table or weight in either layout, as the capabilities allow. */
static bool weights(struct check *c, const struct npu_tensor *t, unsigned int operand, uint32_t extra)
{
	uint32_t types = t->layout == NPU_LAYOUT_TILE16 ? c->lim->types_tiles & T_WEIGHT :
							   (c->lim->types_rows & T_WEIGHT) | extra;

	return tensor(c, t, operand, types, F_ROW);
}

/* A contiguous vector of @n elements of @size bytes, aligned to its element. */
static bool vector(struct check *c, uint64_t addr, uint64_t n, unsigned int size, unsigned int operand)
{
	if (!need(c, addr % size == 0, NPU_FAULT_OPERAND_ILLEGAL, operand))
		return false;
	return range(c, addr, n * size, operand);
}

static bool same_shape(struct check *c, const struct npu_tensor *a, const struct npu_tensor *b,
		       unsigned int first_dim, unsigned int operand)
{
	for (unsigned int i = first_dim; i < NPU_DIMS; i++)
		if (a->ne[i] != b->ne[i])
			return fail(c, NPU_FAULT_OPERAND_ILLEGAL, operand);
	return true;
}

/* Each dimension of @t from @first_dim on is that of @full, or 1. */
static bool broadcasts(struct check *c, const struct npu_tensor *full, const struct npu_tensor *t,
		       unsigned int first_dim, unsigned int operand)
{
	for (unsigned int i = first_dim; i < NPU_DIMS; i++)
		if (t->ne[i] != full->ne[i] && t->ne[i] != 1)
			return fail(c, NPU_FAULT_OPERAND_ILLEGAL, operand);
	return true;
}

static bool divides(uint32_t part, uint32_t whole)
{
	return part ? whole % part == 0 : whole == 0;
}

static uint8_t mac_rate(unsigned int type)
{
	if (type == NPU_TYPE_F32)
		return NPU_TYPE_F32;
	return T_BLOCK >> type & 1 ? NPU_TYPE_I8 : NPU_TYPE_F16;
}

/* The type in which a matmul with weights of @type takes quantised activations; none for float weights. */
static uint32_t act_types(unsigned int type)
{
	if ((T(Q8_0) | T(Q4_0)) >> type & 1)
		return T(A8);
	return (T(Q4_K) | T(Q6_K)) >> type & 1 ? T(A8_K) : 0;
}

/* ---- One function per packet structure ---------------------------------------- */

/* Weights @w (operand 2) fit @dst and @x. */
static bool product(struct check *c, const struct npu_tensor *dst, const struct npu_tensor *x,
		    const struct npu_tensor *w)
{
	if (w->ne[0] != x->ne[0] || w->ne[1] != dst->ne[0] ||
	    !divides(w->ne[2], dst->ne[2]) || !divides(w->ne[3], dst->ne[3]))
		return fail(c, NPU_FAULT_OPERAND_ILLEGAL, 2);
	return need(c, (T_FLOAT | act_types(w->type)) >> x->type & 1, NPU_FAULT_OPERAND_ILLEGAL, 2);
}

static bool plan_matmul(struct check *c, const struct npu_cmd_matmul *p)
{
	bool acc = p->flags & NPU_MATMUL_ACCUMULATE, bias = p->flags & NPU_MATMUL_BIAS;

	if (!need(c, !(p->flags & ~(NPU_MATMUL_BIAS | NPU_MATMUL_ACCUMULATE)), NPU_FAULT_ENCODING,
		  NPU_OPERAND_NONE) ||
	    !reserved(c, &p->rsvd, sizeof(p->rsvd)) ||
	    !(bias || reserved(c, &p->bias, sizeof(p->bias))) ||
	    !rows(c, &p->dst, 0, acc ? T(F32) : T_FLOAT, F_DST | F_ROW) ||
	    !rows(c, &p->x, 1, T_FLOAT | T_ACT, F_ROW) ||
	    !weights(c, &p->w, 2, 0) ||
	    !(!bias || vector(c, p->bias, p->dst.ne[0], 4, NPU_OPERAND_AUX0)) ||
	    !same_shape(c, &p->dst, &p->x, 1, 1) ||
	    !product(c, &p->dst, &p->x, &p->w))
		return false;
	c->plan->mac_type = mac_rate(p->w.type);
	c->plan->macs = mul_sat(elements(&p->dst), p->x.ne[0]);
	reads(c, bytes_of(&p->x));
	reads(c, bytes_of(&p->w));
	reads(c, bias ? 4ull * p->dst.ne[0] : 0);
	reads(c, acc ? bytes_of(&p->dst) : 0);
	writes(c, bytes_of(&p->dst));
	return true;
}

/* Sum of clamp(i, 0, top) for i in [first, first + n). */
static unsigned __int128 sum_clamped(__int128 first, uint64_t n, uint64_t top)
{
	__int128 end = first + n;
	__int128 lo = first < 0 ? 0 : first, hi = end < (__int128)top ? end : (__int128)top;
	unsigned __int128 sum = 0;

	if (lo < hi)	/* the part that is not clamped */
		sum = (unsigned __int128)(lo + hi - 1) * (unsigned __int128)(hi - lo) / 2;
	if (end > (__int128)top)
		sum += (unsigned __int128)(end - (first > (__int128)top ? first : (__int128)top)) * top;
	return sum;
}

/* Pairs (query row, key position) of one head that are not masked. */
static uint64_t visible_pairs(const struct npu_cmd_attention *p)
{
	uint64_t m = p->q.ne[1 + 1], kv = p->k.ne[1];
	unsigned __int128 upper, lower = 0;

	if (p->flags & NPU_ATTN_CAUSAL)
		upper = sum_clamped((__int128)p->pos + 1, m, kv);
	else
		upper = (unsigned __int128)m * kv;
	if (p->window)
		lower = sum_clamped((__int128)p->pos + 1 - p->window, m, kv);
	return (uint64_t)(upper - lower);
}

/* Key positions that at least one query row sees. */
static uint64_t visible_keys(const struct npu_cmd_attention *p)
{
	uint64_t kv = p->k.ne[1], end = kv, begin = 0;

	if ((p->flags & NPU_ATTN_CAUSAL) && (uint64_t)p->pos + p->q.ne[2] < end)
		end = (uint64_t)p->pos + p->q.ne[2];
	if (p->window && (uint64_t)p->pos + 1 > p->window)
		begin = (uint64_t)p->pos + 1 - p->window;
	return begin < end ? end - begin : 0;
}

static uint64_t row_bytes(const struct npu_tensor *t)
{
	return (uint64_t)(t->ne[0] / npu_type_block_len(t->type)) * npu_type_block_bytes(t->type);
}

static bool plan_attention(struct check *c, const struct npu_cmd_attention *p)
{
	const uint32_t cache = T(F32) | T(F16) | T(Q8_0);
	uint64_t keys;

	if (!need(c, !(p->flags & ~NPU_ATTN_CAUSAL), NPU_FAULT_ENCODING, NPU_OPERAND_NONE) ||
	    !reserved(c, p->rsvd, sizeof(p->rsvd)) ||
	    !rows(c, &p->dst, 0, T_FLOAT | T_ACT, F_DST | F_ROW) ||
	    !rows(c, &p->q, 1, T_FLOAT, F_ROW) ||
	    !rows(c, &p->k, 2, cache, F_ROW) ||
	    !rows(c, &p->v, 3, cache, F_ROW) ||
	    !same_shape(c, &p->dst, &p->q, 1, 1))
		return false;
	if (p->k.ne[0] != p->q.ne[0] || !divides(p->k.ne[2], p->q.ne[1]) || p->k.ne[3] != p->q.ne[3])
		return fail(c, NPU_FAULT_OPERAND_ILLEGAL, 2);
	if (p->v.ne[0] != p->dst.ne[0] || p->v.type != p->k.type || !same_shape(c, &p->k, &p->v, 1, 3))
		return fail(c, NPU_FAULT_OPERAND_ILLEGAL, 3);
	c->plan->mac_type = mac_rate(p->k.type) == NPU_TYPE_F32 ? NPU_TYPE_F32 : NPU_TYPE_F16;
	c->plan->macs = mul_sat(mul_sat(visible_pairs(p), mul_sat(p->q.ne[1], p->q.ne[3])),
				(uint64_t)p->q.ne[0] + p->dst.ne[0]);
	keys = mul_sat(visible_keys(p), mul_sat(p->k.ne[2], p->k.ne[3]));
	reads(c, bytes_of(&p->q));
	reads(c, mul_sat(keys, row_bytes(&p->k) + row_bytes(&p->v)));
	writes(c, bytes_of(&p->dst));
	return true;
}

static bool plan_norm(struct check *c, const struct npu_cmd_norm *p)
{
	bool layer = p->cmd.opcode == NPU_OP_LAYER_NORM;

	if (!reserved(c, p->rsvd, sizeof(p->rsvd)) ||
	    !(layer || reserved(c, &p->bias, sizeof(p->bias))) ||
	    !rows(c, &p->dst, 0, T_FLOAT | T_ACT, F_DST) ||
	    !rows(c, &p->src, 1, T_FLOAT, 0) ||
	    !(!p->weight || vector(c, p->weight, p->src.ne[0], 4, NPU_OPERAND_AUX0)) ||
	    !(!p->bias || vector(c, p->bias, p->src.ne[0], 4, NPU_OPERAND_AUX1)) ||
	    !same_shape(c, &p->dst, &p->src, 0, 1))
		return false;
	lanes(c, elements(&p->src), layer ? 5 : 3);
	reads(c, bytes_of(&p->src));
	reads(c, p->weight ? 4ull * p->src.ne[0] : 0);
	reads(c, p->bias ? 4ull * p->src.ne[0] : 0);
	writes(c, bytes_of(&p->dst));
	return true;
}

static bool plan_rope(struct check *c, const struct npu_cmd_rope *p)
{
	if (!need(c, !(p->flags & ~NPU_ROPE_HALVES), NPU_FAULT_ENCODING, NPU_OPERAND_NONE) ||
	    !rows(c, &p->dst, 0, T_FLOAT, F_DST) ||
	    !rows(c, &p->src, 1, T_FLOAT, 0) ||
	    !vector(c, p->step, p->ndims / 2, 8, NPU_OPERAND_AUX0) ||
	    !(!p->positions || vector(c, p->positions, p->src.ne[2], 4, NPU_OPERAND_AUX1)) ||
	    !need(c, p->ndims % 2 == 0 && p->ndims <= p->src.ne[0], NPU_FAULT_OPERAND_ILLEGAL, NPU_OPERAND_NONE) ||
	    !same_shape(c, &p->dst, &p->src, 0, 1))
		return false;
	lanes(c, elements(&p->src), 2);
	lanes(c, mul_sat(p->ndims / 2, mul_sat(p->src.ne[2], p->src.ne[3])), 24);
	reads(c, bytes_of(&p->src));
	reads(c, 8ull * (p->ndims / 2));
	reads(c, p->positions ? 4ull * p->src.ne[2] : 0);
	writes(c, bytes_of(&p->dst));
	return true;
}

static bool plan_softmax(struct check *c, const struct npu_cmd_softmax *p)
{
	bool mask = p->flags & NPU_SOFTMAX_MASK;

	if (!need(c, !(p->flags & ~NPU_SOFTMAX_MASK), NPU_FAULT_ENCODING, NPU_OPERAND_NONE) ||
	    !reserved(c, p->rsvd, sizeof(p->rsvd)) ||
	    !(mask || reserved(c, &p->mask, sizeof(p->mask))) ||
	    !rows(c, &p->dst, 0, T_FLOAT, F_DST) ||
	    !rows(c, &p->src, 1, T_FLOAT, 0) ||
	    !(!mask || rows(c, &p->mask, 2, T_FLOAT, 0)) ||
	    !same_shape(c, &p->dst, &p->src, 0, 1))
		return false;
	if (mask && (p->mask.ne[0] != p->src.ne[0] || !broadcasts(c, &p->src, &p->mask, 1, 2)))
		return fail(c, NPU_FAULT_OPERAND_ILLEGAL, 2);
	lanes(c, elements(&p->src), 14);
	reads(c, bytes_of(&p->src));
	reads(c, mask ? bytes_of(&p->mask) : 0);
	writes(c, bytes_of(&p->dst));
	return true;
}

/* Lane operations per element of each UNARY kind, for the timing model. */
static const uint8_t unary_cost[NPU_UNARY_COUNT] = {
	[NPU_UNARY_SCALE] = 1, [NPU_UNARY_CLAMP] = 2, [NPU_UNARY_NEG] = 1, [NPU_UNARY_ABS] = 1,
	[NPU_UNARY_SQUARE] = 1, [NPU_UNARY_SQRT] = 4, [NPU_UNARY_RSQRT] = 8, [NPU_UNARY_RECIP] = 4,
	[NPU_UNARY_EXP] = 10, [NPU_UNARY_LOG] = 16, [NPU_UNARY_SIN] = 20, [NPU_UNARY_COS] = 20,
	[NPU_UNARY_TANH] = 16, [NPU_UNARY_ERF] = 20, [NPU_UNARY_SIGMOID] = 15, [NPU_UNARY_SILU] = 16,
	[NPU_UNARY_GELU] = 23, [NPU_UNARY_GELU_TANH] = 22, [NPU_UNARY_RELU] = 1, [NPU_UNARY_LEAKY_RELU] = 2,
	[NPU_UNARY_SOFTCAP] = 21,
};

static const uint8_t glu_cost[NPU_GLU_COUNT] = {
	[NPU_GLU_SWIGLU] = 17, [NPU_GLU_GEGLU] = 24, [NPU_GLU_GEGLU_TANH] = 23, [NPU_GLU_REGLU] = 2,
	[NPU_GLU_SIGLU] = 16,
};

/* Parameters that a UNARY kind uses: bit 0 p0, bit 1 p1. */
static unsigned int unary_params(uint32_t kind)
{
	switch (kind) {
	case NPU_UNARY_SCALE:
	case NPU_UNARY_CLAMP:
		return 3;
	case NPU_UNARY_LEAKY_RELU:
	case NPU_UNARY_SOFTCAP:
		return 1;
	default:
		return 0;
	}
}

static bool map_header(struct check *c, const struct npu_cmd_map *p, uint32_t kinds, unsigned int params)
{
	return need(c, p->kind < kinds, NPU_FAULT_ENCODING, NPU_OPERAND_NONE) &&
	       reserved(c, &p->rsvd, sizeof(p->rsvd)) &&
	       ((params & 1) || unused(c, p->p0)) && ((params & 2) || unused(c, p->p1));
}

static void map_cost(struct check *c, const struct npu_cmd_map *p, unsigned int per_element)
{
	lanes(c, elements(&p->src), per_element);
	reads(c, bytes_of(&p->src));
	writes(c, bytes_of(&p->dst));
}

static bool plan_unary(struct check *c, const struct npu_cmd_map *p)
{
	if (!map_header(c, p, NPU_UNARY_COUNT, unary_params(p->kind)) ||
	    !rows(c, &p->dst, 0, T_FLOAT, F_DST) ||
	    !rows(c, &p->src, 1, T_FLOAT, 0) ||
	    !same_shape(c, &p->dst, &p->src, 0, 1))
		return false;
	map_cost(c, p, unary_cost[p->kind]);
	return true;
}

static bool plan_reduce(struct check *c, const struct npu_cmd_map *p)
{
	bool argmax = p->cmd.opcode == NPU_OP_ARGMAX;

	if (!map_header(c, p, argmax ? 1 : NPU_REDUCE_COUNT, 0) ||
	    !rows(c, &p->dst, 0, argmax ? T(I32) : T_FLOAT, F_DST) ||
	    !rows(c, &p->src, 1, T_FLOAT, 0) ||
	    !need(c, p->dst.ne[0] == 1, NPU_FAULT_OPERAND_ILLEGAL, 0) ||
	    !need(c, !argmax || p->src.ne[0] <= INT32_MAX, NPU_FAULT_OPERAND_ILLEGAL, 1) ||
	    !same_shape(c, &p->dst, &p->src, 1, 1))
		return false;
	map_cost(c, p, argmax ? 2 : 1);
	return true;
}

static bool plan_copy(struct check *c, const struct npu_cmd_map *p)
{
	const uint32_t from = T_PLAIN | T(Q4_0) | T(Q8_0) | (c->lim->types_rows & T_BLOCK);
	uint32_t quantisable = T(F32) | T(F16) | T(BF16);

	if (!map_header(c, p, 1, 0) ||
	    !rows(c, &p->dst, 0, from | T_ACT, F_DST) ||
	    !rows(c, &p->src, 1, from | T_ACT, 0) ||
	    !same_shape(c, &p->dst, &p->src, 0, 1))
		return false;
	if (p->dst.type != p->src.type) {
		bool dst_block = (T_BLOCK | T_ACT) >> p->dst.type & 1, src_block = T_BLOCK >> p->src.type & 1;

		if (dst_block && !((T(Q8_0) | T(Q4_0) | T_ACT) >> p->dst.type & 1))
			return fail(c, NPU_FAULT_OPERAND_ILLEGAL, 0);
		if (T_ACT >> p->src.type & 1)
			return fail(c, NPU_FAULT_OPERAND_ILLEGAL, 1);
		if (dst_block && !(quantisable >> p->src.type & 1))
			return fail(c, NPU_FAULT_OPERAND_ILLEGAL, 1);
		if (src_block && !(quantisable >> p->dst.type & 1))
			return fail(c, NPU_FAULT_OPERAND_ILLEGAL, 0);
	}
	map_cost(c, p, 0);
	return true;
}

static bool plan_fill(struct check *c, const struct npu_cmd_map *p)
{
	if (!map_header(c, p, 1, 1) ||
	    !need(c, zero_bytes(&p->src, sizeof(p->src)), NPU_FAULT_ENCODING, 1) ||
	    !rows(c, &p->dst, 0, T_PLAIN, F_DST))
		return false;
	writes(c, bytes_of(&p->dst));
	return true;
}

static bool plan_binary(struct check *c, const struct npu_cmd_binary *p)
{
	bool glu = p->cmd.opcode == NPU_OP_GLU;

	if (!need(c, p->kind < (glu ? (uint32_t)NPU_GLU_COUNT : (uint32_t)NPU_BINARY_COUNT), NPU_FAULT_ENCODING,
		  NPU_OPERAND_NONE) ||
	    !reserved(c, p->rsvd, sizeof(p->rsvd)) ||
	    !rows(c, &p->dst, 0, glu ? T_FLOAT | T_ACT : T_FLOAT, F_DST) ||
	    !rows(c, &p->a, 1, T_FLOAT, 0) ||
	    !rows(c, &p->b, 2, T_FLOAT, 0))
		return false;
	if (glu ? !same_shape(c, &p->dst, &p->a, 0, 1) || !same_shape(c, &p->dst, &p->b, 0, 2) :
		  !broadcasts(c, &p->dst, &p->a, 0, 1) || !broadcasts(c, &p->dst, &p->b, 0, 2))
		return false;
	lanes(c, elements(&p->dst), glu ? glu_cost[p->kind] : p->kind == NPU_BINARY_DIV ? 4 : 1);
	reads(c, bytes_of(&p->a));
	reads(c, bytes_of(&p->b));
	writes(c, bytes_of(&p->dst));
	return true;
}

static bool plan_matmul_glu(struct check *c, const struct npu_cmd_matmul_glu *p)
{
	if (!need(c, p->kind < NPU_GLU_COUNT, NPU_FAULT_ENCODING, NPU_OPERAND_NONE) ||
	    !reserved(c, p->rsvd, sizeof(p->rsvd)) ||
	    !rows(c, &p->dst, 0, T_FLOAT | T_ACT, F_DST | F_ROW) ||
	    !rows(c, &p->x, 1, T_FLOAT | T_ACT, F_ROW) ||
	    !weights(c, &p->gate, 2, 0) ||
	    !weights(c, &p->up, 3, 0) ||
	    !same_shape(c, &p->dst, &p->x, 1, 1) ||
	    !product(c, &p->dst, &p->x, &p->gate) ||
	    !same_shape(c, &p->gate, &p->up, 0, 3) ||
	    !need(c, p->up.type == p->gate.type && p->up.layout == p->gate.layout, NPU_FAULT_OPERAND_ILLEGAL, 3))
		return false;
	c->plan->mac_type = mac_rate(p->gate.type);
	c->plan->macs = mul_sat(elements(&p->dst), mul_sat(2, p->x.ne[0]));
	lanes(c, elements(&p->dst), glu_cost[p->kind]);
	reads(c, bytes_of(&p->x));
	reads(c, bytes_of(&p->gate));
	reads(c, bytes_of(&p->up));
	writes(c, bytes_of(&p->dst));
	return true;
}

static bool plan_topk(struct check *c, const struct npu_cmd_topk *p)
{
	if (!reserved(c, p->rsvd, sizeof(p->rsvd)) ||
	    !rows(c, &p->values, 0, T_FLOAT, F_DST) ||
	    !rows(c, &p->indices, 1, T(I32), F_DST) ||
	    !rows(c, &p->src, 2, T_FLOAT, 0) ||
	    !need(c, p->k >= 1 && p->k <= NPU_TOPK_MAX && p->k <= p->src.ne[0], NPU_FAULT_OPERAND_ILLEGAL,
		  NPU_OPERAND_NONE) ||
	    !need(c, p->values.ne[0] == p->k, NPU_FAULT_OPERAND_ILLEGAL, 0) ||
	    !need(c, p->indices.ne[0] == p->k, NPU_FAULT_OPERAND_ILLEGAL, 1) ||
	    !need(c, p->src.ne[0] <= INT32_MAX, NPU_FAULT_OPERAND_ILLEGAL, 2) ||
	    !same_shape(c, &p->values, &p->indices, 1, 1) ||
	    !same_shape(c, &p->values, &p->src, 1, 2))
		return false;
	lanes(c, elements(&p->src), 4);
	lanes(c, elements(&p->values), 32);
	reads(c, bytes_of(&p->src));
	writes(c, bytes_of(&p->values));
	writes(c, bytes_of(&p->indices));
	return true;
}

static bool plan_rows(struct check *c, const struct npu_cmd_rows *p)
{
	bool gather = p->cmd.opcode == NPU_OP_GATHER;
	uint64_t moved;

	if (!rows(c, &p->dst, 0, T_FLOAT, gather ? F_DST : 0) ||
	    !(gather ? weights(c, &p->table, 1, T_PLAIN) :
		       rows(c, &p->table, 1, T(F32) | T(F16) | T(Q8_0), F_DST | F_ROW)) ||
	    !rows(c, &p->index, 2, T(I32), 0))
		return false;
	if (p->dst.ne[3] != 1)
		return fail(c, NPU_FAULT_OPERAND_ILLEGAL, 0);
	if (p->table.ne[0] != p->dst.ne[0] || p->table.ne[2] != 1 || p->table.ne[3] != 1)
		return fail(c, NPU_FAULT_OPERAND_ILLEGAL, 1);
	if (p->index.ne[0] != p->dst.ne[1] || p->index.ne[1] != p->dst.ne[2] || p->index.ne[2] != 1 ||
	    p->index.ne[3] != 1)
		return fail(c, NPU_FAULT_OPERAND_ILLEGAL, 2);
	moved = mul_sat(row_bytes(&p->table), mul_sat(p->index.ne[0], p->index.ne[1]));
	reads(c, bytes_of(&p->index));
	reads(c, gather ? moved : bytes_of(&p->dst));
	writes(c, gather ? bytes_of(&p->dst) : moved);
	return true;
}

/* ---- Dispatch -------------------------------------------------------------------- */

struct op_info {
	uint8_t engine;
	uint16_t size;
};

static const struct op_info infos[] = {
	[NPU_OP_BIT(NPU_OP_MATMUL)]	= { NPU_ENGINE_MATRIX, sizeof(struct npu_cmd_matmul) },
	[NPU_OP_BIT(NPU_OP_ATTENTION)]	= { NPU_ENGINE_MATRIX, sizeof(struct npu_cmd_attention) },
	[NPU_OP_BIT(NPU_OP_RMS_NORM)]	= { NPU_ENGINE_VECTOR, sizeof(struct npu_cmd_norm) },
	[NPU_OP_BIT(NPU_OP_LAYER_NORM)]	= { NPU_ENGINE_VECTOR, sizeof(struct npu_cmd_norm) },
	[NPU_OP_BIT(NPU_OP_ROPE)]	= { NPU_ENGINE_VECTOR, sizeof(struct npu_cmd_rope) },
	[NPU_OP_BIT(NPU_OP_SOFTMAX)]	= { NPU_ENGINE_VECTOR, sizeof(struct npu_cmd_softmax) },
	[NPU_OP_BIT(NPU_OP_GLU)]	= { NPU_ENGINE_VECTOR, sizeof(struct npu_cmd_binary) },
	[NPU_OP_BIT(NPU_OP_UNARY)]	= { NPU_ENGINE_VECTOR, sizeof(struct npu_cmd_map) },
	[NPU_OP_BIT(NPU_OP_BINARY)]	= { NPU_ENGINE_VECTOR, sizeof(struct npu_cmd_binary) },
	[NPU_OP_BIT(NPU_OP_REDUCE)]	= { NPU_ENGINE_VECTOR, sizeof(struct npu_cmd_map) },
	[NPU_OP_BIT(NPU_OP_ARGMAX)]	= { NPU_ENGINE_VECTOR, sizeof(struct npu_cmd_map) },
	[NPU_OP_BIT(NPU_OP_TOPK)]	= { NPU_ENGINE_VECTOR, sizeof(struct npu_cmd_topk) },
	[NPU_OP_BIT(NPU_OP_COPY)]	= { NPU_ENGINE_COPY, sizeof(struct npu_cmd_map) },
	[NPU_OP_BIT(NPU_OP_GATHER)]	= { NPU_ENGINE_COPY, sizeof(struct npu_cmd_rows) },
	[NPU_OP_BIT(NPU_OP_SCATTER)]	= { NPU_ENGINE_COPY, sizeof(struct npu_cmd_rows) },
	[NPU_OP_BIT(NPU_OP_FILL)]	= { NPU_ENGINE_COPY, sizeof(struct npu_cmd_map) },
	[NPU_OP_BIT(NPU_OP_MATMUL_GLU)]	= { NPU_ENGINE_MATRIX, sizeof(struct npu_cmd_matmul_glu) },
};

#define NOPS (sizeof(infos) / sizeof(infos[0]))

static bool plan_op(struct check *c, const void *packet)
{
	switch (((const struct npu_cmd *)packet)->opcode) {
	case NPU_OP_MATMUL:
		return plan_matmul(c, packet);
	case NPU_OP_MATMUL_GLU:
		return plan_matmul_glu(c, packet);
	case NPU_OP_ATTENTION:
		return plan_attention(c, packet);
	case NPU_OP_RMS_NORM:
	case NPU_OP_LAYER_NORM:
		return plan_norm(c, packet);
	case NPU_OP_ROPE:
		return plan_rope(c, packet);
	case NPU_OP_SOFTMAX:
		return plan_softmax(c, packet);
	case NPU_OP_GLU:
	case NPU_OP_BINARY:
		return plan_binary(c, packet);
	case NPU_OP_UNARY:
		return plan_unary(c, packet);
	case NPU_OP_REDUCE:
	case NPU_OP_ARGMAX:
		return plan_reduce(c, packet);
	case NPU_OP_TOPK:
		return plan_topk(c, packet);
	case NPU_OP_COPY:
		return plan_copy(c, packet);
	case NPU_OP_GATHER:
	case NPU_OP_SCATTER:
		return plan_rows(c, packet);
	case NPU_OP_FILL:
		return plan_fill(c, packet);
	default:
		return fail(c, NPU_FAULT_OPCODE_ILLEGAL, NPU_OPERAND_NONE);
	}
}

void npu_op_plan(const void *packet, uint32_t len, const struct npu_op_limits *lim, struct npu_op_plan *plan)
{
	const struct npu_cmd *cmd = packet;
	struct check c = { .lim = lim, .plan = plan };
	unsigned int op;
	bool legal;

	*plan = (struct npu_op_plan){ .engine = NPU_ENGINE_CONTROL, .operand = NPU_OPERAND_NONE };
	if (len < sizeof(*cmd)) {
		fail(&c, NPU_FAULT_ENCODING, NPU_OPERAND_NONE);
		return;
	}
	op = (unsigned int)cmd->opcode - NPU_OP_FIRST;
	if (op >= NOPS || !infos[op].size || !(lim->ops >> op & 1)) {
		fail(&c, NPU_FAULT_OPCODE_ILLEGAL, NPU_OPERAND_NONE);
		return;
	}
	plan->engine = infos[op].engine;
	if (len != infos[op].size) {
		fail(&c, NPU_FAULT_ENCODING, NPU_OPERAND_NONE);
		return;
	}
	legal = plan_op(&c, packet);
	if (plan->empty || !legal)
		plan->macs = plan->lane_ops = plan->bytes_read = plan->bytes_written = 0;
	if (plan->macs > lim->max_macs || add_sat(plan->bytes_read, plan->bytes_written) > lim->max_bytes)
		fail(&c, NPU_FAULT_BOUND, NPU_OPERAND_NONE);
}
