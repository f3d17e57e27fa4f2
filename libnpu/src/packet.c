// SPDX-License-Identifier: MIT
/* Rules and costs of tensor packets: npu_isa.h in code, from the client's side. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "npu_regs.h"
#include "packet.h"

#define T(t)		(1u << NPU_TYPE_##t)
#define T_FLOAT		(T(F32) | T(F16))
#define T_ACT		(T(A8) | T(A8_K))
#define T_WEIGHT	(T(F32) | T(F16) | T(BF16) | T(Q8_0) | T(Q4_0) | T(Q4_K) | T(Q6_K))
#define T_INT		(T(I8) | T(I16) | T(I32) | T(I64))
#define T_CACHE		(T(F32) | T(F16) | T(Q8_0))
#define T_PLAIN		(T_FLOAT | T(BF16) | T_INT)
#define T_ALL		(T_WEIGHT | T_INT | T_ACT)

#define OPND(s, m, f, t) { #m, offsetof(struct s, m), f, t }
#define MAP(op, engine, dt, st) { NPU_OP_##op, sizeof(struct npu_cmd_map), NPU_ENGINE_##engine, 2, \
	{ OPND(npu_cmd_map, dst, OP_WRITE, dt), OPND(npu_cmd_map, src, 0, st) } }
#define NORM(op) { NPU_OP_##op, sizeof(struct npu_cmd_norm), NPU_ENGINE_VECTOR, 2, \
	{ OPND(npu_cmd_norm, dst, OP_WRITE, T_FLOAT | T_ACT), OPND(npu_cmd_norm, src, 0, T_FLOAT) } }
#define BINARY(op, dt) { NPU_OP_##op, sizeof(struct npu_cmd_binary), NPU_ENGINE_VECTOR, 3, \
	{ OPND(npu_cmd_binary, dst, OP_WRITE, dt), OPND(npu_cmd_binary, a, 0, T_FLOAT), \
	  OPND(npu_cmd_binary, b, 0, T_FLOAT) } }

static const struct packet_info infos[] = {
	{ NPU_OP_MATMUL, sizeof(struct npu_cmd_matmul), NPU_ENGINE_MATRIX, 3,
	  { OPND(npu_cmd_matmul, dst, OP_WRITE | OP_ROW, T_FLOAT), OPND(npu_cmd_matmul, x, OP_ROW, T_FLOAT | T_ACT),
	    OPND(npu_cmd_matmul, w, OP_ROW | OP_WEIGHT, T_WEIGHT) } },
	{ NPU_OP_ATTENTION, sizeof(struct npu_cmd_attention), NPU_ENGINE_MATRIX, 4,
	  { OPND(npu_cmd_attention, dst, OP_WRITE | OP_ROW, T_FLOAT | T_ACT), OPND(npu_cmd_attention, q, OP_ROW, T_FLOAT),
	    OPND(npu_cmd_attention, k, OP_ROW, T_CACHE), OPND(npu_cmd_attention, v, OP_ROW, T_CACHE) } },
	NORM(RMS_NORM),
	NORM(LAYER_NORM),
	{ NPU_OP_ROPE, sizeof(struct npu_cmd_rope), NPU_ENGINE_VECTOR, 2,
	  { OPND(npu_cmd_rope, dst, OP_WRITE, T_FLOAT), OPND(npu_cmd_rope, src, 0, T_FLOAT) } },
	{ NPU_OP_SOFTMAX, sizeof(struct npu_cmd_softmax), NPU_ENGINE_VECTOR, 3,
	  { OPND(npu_cmd_softmax, dst, OP_WRITE, T_FLOAT), OPND(npu_cmd_softmax, src, 0, T_FLOAT),
	    OPND(npu_cmd_softmax, mask, OP_UNUSED0, T_FLOAT) } },
	BINARY(GLU, T_FLOAT | T_ACT),
	MAP(UNARY, VECTOR, T_FLOAT, T_FLOAT),
	BINARY(BINARY, T_FLOAT),
	MAP(REDUCE, VECTOR, T_FLOAT, T_FLOAT),
	MAP(ARGMAX, VECTOR, T(I32), T_FLOAT),
	{ NPU_OP_TOPK, sizeof(struct npu_cmd_topk), NPU_ENGINE_VECTOR, 3,
	  { OPND(npu_cmd_topk, values, OP_WRITE, T_FLOAT), OPND(npu_cmd_topk, indices, OP_WRITE, T(I32)),
	    OPND(npu_cmd_topk, src, 0, T_FLOAT) } },
	MAP(COPY, COPY, T_ALL, T_ALL),
	{ NPU_OP_GATHER, sizeof(struct npu_cmd_rows), NPU_ENGINE_COPY, 3,
	  { OPND(npu_cmd_rows, dst, OP_WRITE, T_FLOAT), OPND(npu_cmd_rows, table, OP_ROW | OP_WEIGHT, T_WEIGHT | T_INT),
	    OPND(npu_cmd_rows, index, 0, T(I32)) } },
	{ NPU_OP_SCATTER, sizeof(struct npu_cmd_rows), NPU_ENGINE_COPY, 3,
	  { OPND(npu_cmd_rows, dst, 0, T_FLOAT), OPND(npu_cmd_rows, table, OP_WRITE | OP_ROW, T_CACHE),
	    OPND(npu_cmd_rows, index, 0, T(I32)) } },
	{ NPU_OP_FILL, sizeof(struct npu_cmd_map), NPU_ENGINE_COPY, 2,
	  { OPND(npu_cmd_map, dst, OP_WRITE, T_PLAIN), OPND(npu_cmd_map, src, OP_UNUSED0, 0) } },
};

static const struct packet_info matmul_glu_info = {
	NPU_OP_MATMUL_GLU, sizeof(struct npu_cmd_matmul_glu), NPU_ENGINE_MATRIX, 4,
	{ OPND(npu_cmd_matmul_glu, dst, OP_WRITE | OP_ROW, T_FLOAT | T_ACT),
	  OPND(npu_cmd_matmul_glu, x, OP_ROW, T_FLOAT | T_ACT),
	  OPND(npu_cmd_matmul_glu, gate, OP_ROW | OP_WEIGHT, T_WEIGHT),
	  OPND(npu_cmd_matmul_glu, up, OP_ROW | OP_WEIGHT, T_WEIGHT) }
};

const struct packet_info *packet_info(unsigned int opcode)
{
	unsigned int i = opcode - NPU_OP_FIRST;

	if (opcode == NPU_OP_MATMUL_GLU)
		return &matmul_glu_info;
	/* The table is in the order of the opcodes. */
	return opcode >= NPU_OP_FIRST && i < sizeof(infos) / sizeof(infos[0]) ? &infos[i] : NULL;
}

int npu_activation_type(unsigned int weight)
{
	switch (weight) {
	case NPU_TYPE_Q8_0:
	case NPU_TYPE_Q4_0:
		return NPU_TYPE_A8;
	case NPU_TYPE_Q4_K:
	case NPU_TYPE_Q6_K:
		return NPU_TYPE_A8_K;
	default:
		return -1;
	}
}

/* ---- Geometry ------------------------------------------------------------------- */

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

uint64_t tensor_elements(const struct npu_tensor *t)
{
	if (!t->ne[0] || !t->ne[1] || !t->ne[2] || !t->ne[3])
		return 0;
	return mul_sat(mul_sat(t->ne[0], t->ne[1]), mul_sat(t->ne[2], t->ne[3]));
}

/* Steps of dimension i: blocks along dimension 0, tiles of 16 rows along dimension 1. */
static uint64_t steps(const struct npu_tensor *t, unsigned int i, uint64_t *stride)
{
	*stride = t->nb[i];
	if (i == 0)
		return t->ne[0] / npu_type_block(t->type);
	if (i == 1 && t->layout == NPU_LAYOUT_TILE16)
		return ((uint64_t)t->ne[1] + 15) / 16 * 16;
	return t->ne[i];
}

bool tensor_span(const struct npu_tensor *t, uint64_t *span)
{
	uint64_t sum = npu_type_bytes(t->type);

	for (unsigned int i = 0; i < NPU_DIMS; i++) {
		uint64_t stride, n = steps(t, i, &stride), part;

		if (n <= 1)
			continue;
		if (i == 1 && t->layout == NPU_LAYOUT_TILE16)
			stride = npu_type_row_bytes(t->type, t->ne[0]);
		if (__builtin_mul_overflow(n - 1, stride, &part) || __builtin_add_overflow(sum, part, &sum))
			return false;
	}
	*span = sum;
	return true;
}

/* Destination elements must be distinct: by ascending stride, each clears the extent below it. */
static bool disjoint(const struct npu_tensor *t)
{
	uint64_t extent = npu_type_bytes(t->type);
	bool used[NPU_DIMS] = { false };

	for (unsigned int round = 0; round < NPU_DIMS; round++) {
		uint64_t least = UINT64_MAX, stride, n = 0;
		int at = -1;

		for (unsigned int i = 0; i < NPU_DIMS; i++) {
			uint64_t k = steps(t, i, &stride);

			if (!used[i] && k > 1 && (at < 0 || stride < least)) {
				least = stride;
				at = (int)i;
				n = k;
			}
		}
		if (at < 0)
			break;
		used[at] = true;
		if (least < extent)
			return false;
		extent = add_sat(extent, mul_sat(n - 1, least));
	}
	return true;
}

/* ---- Checks ------------------------------------------------------------------------ */

struct check {
	const struct npu_device_info *dev;
	const struct packet_info *info;
	const uint8_t *dyn;
	const char *packet;
	char *err;
	size_t err_size;
};

static int NPU_PRINTF(2, 3) bad(struct check *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(c->err, c->err_size, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

static const struct npu_tensor *operand(struct check *c, unsigned int i)
{
	return packet_tensor_c(c->packet, c->info, i);
}

static int check_weight_type(struct check *c, const struct operand_info *o, const struct npu_tensor *t)
{
	uint32_t have = t->layout == NPU_LAYOUT_TILE16 ? c->dev->types_tiles : c->dev->types_rows;

	if (t->layout == NPU_LAYOUT_ROWS && (T_INT >> t->type & 1))
		return 0;	/* tables of integers */
	if (!(have >> t->type & 1))
		return bad(c, "%s: the device has no %s weights in %s", o->name, npu_type_name(t->type),
			   t->layout == NPU_LAYOUT_TILE16 ? "16-row tiles" : "rows");
	return 0;
}

static int check_strides(struct check *c, const struct operand_info *o, const struct npu_tensor *t, unsigned int dyn)
{
	uint32_t block = npu_type_block(t->type), bytes = npu_type_bytes(t->type), align = block > 1 ? 2 : bytes;

	if (t->ne[0] % block)
		return bad(c, "%s: %u columns are no multiple of the %u elements of a %s block", o->name, t->ne[0], block,
			   npu_type_name(t->type));
	if (t->addr % align)
		return bad(c, "%s: address 0x%" PRIx64 " is not aligned to %u", o->name, t->addr, align);
	if ((block > 1 || (o->flags & OP_ROW)) && (t->ne[0] > 1 || block > 1) && t->nb[0] != bytes)
		return bad(c, "%s: stride %" PRIu64 " of dimension 0 must be %u", o->name, t->nb[0], bytes);
	for (unsigned int i = 0; i < NPU_DIMS; i++)
		if ((t->ne[i] > 1 || (dyn >> i & 1)) && t->nb[i] % align)
			return bad(c, "%s: stride %" PRIu64 " of dimension %u is no multiple of %u", o->name, t->nb[i], i,
				   align);
	if (t->layout == NPU_LAYOUT_TILE16 && t->ne[1] > 1 && t->nb[1] != npu_type_row_bytes(t->type, t->ne[0]))
		return bad(c, "%s: rows of a tiled tensor must follow each other", o->name);
	return 0;
}

static bool hint_ok(uint8_t hint, bool dst)
{
	if (dst)
		return hint == 0 || hint == NPU_HINT_KEEP || hint == (NPU_HINT_KEEP | NPU_HINT_LOCAL);
	return hint == 0 || hint == NPU_HINT_KEEP || hint == NPU_HINT_DROP;
}

static int check_tensor(struct check *c, unsigned int i)
{
	static const uint8_t zero[sizeof(((struct npu_tensor *)0)->rsvd)];
	const struct operand_info *o = &c->info->operand[i];
	const struct npu_tensor *t = operand(c, i);
	uint64_t span;
	int err;

	if (memcmp(t->rsvd, zero, sizeof(zero)))
		return bad(c, "%s: reserved bytes are not zero", o->name);
	if (!hint_ok(t->hint, o->flags & OP_WRITE))
		return bad(c, "%s: hint 0x%x is not possible here", o->name, t->hint);
	if (t->type >= 32 || !(o->types >> t->type & 1))
		return bad(c, "%s: type %s is not possible here", o->name,
			   npu_type_name(t->type) ? npu_type_name(t->type) : "unknown");
	if (t->layout > NPU_LAYOUT_TILE16 || (t->layout && !(o->flags & OP_WEIGHT)))
		return bad(c, "%s: layout %u is not possible here", o->name, t->layout);
	err = o->flags & OP_WEIGHT ? check_weight_type(c, o, t) : 0;
	if (!err)
		err = check_strides(c, o, t, c->dyn[i]);
	if (err || !tensor_elements(t))
		return err;
	if (!tensor_span(t, &span) || t->addr + span < t->addr || (t->addr + span) >> c->dev->va_bits)
		return bad(c, "%s: reaches outside the address space of %u bits", o->name, c->dev->va_bits);
	if ((o->flags & OP_WRITE) && !disjoint(t))
		return bad(c, "%s: elements of a destination coincide", o->name);
	return 0;
}

static bool dyn_at(struct check *c, unsigned int i, unsigned int d)
{
	return c->dyn[i] >> d & 1;
}

/* Extents of operands i and k agree in dimensions di and dk. */
static int agree(struct check *c, unsigned int i, unsigned int di, unsigned int k, unsigned int dk)
{
	uint32_t a = operand(c, i)->ne[di], b = operand(c, k)->ne[dk];

	if (a == b || dyn_at(c, i, di) || dyn_at(c, k, dk))
		return 0;
	return bad(c, "%s: dimension %u is %u, but dimension %u of %s is %u", c->info->operand[k].name, dk, b, di,
		   c->info->operand[i].name, a);
}

static int same_from(struct check *c, unsigned int first, unsigned int i, unsigned int k)
{
	int err = 0;

	for (unsigned int d = first; d < NPU_DIMS && !err; d++)
		err = agree(c, i, d, k, d);
	return err;
}

static int broadcasts(struct check *c, unsigned int first, unsigned int full, unsigned int part)
{
	int err = 0;

	for (unsigned int d = first; d < NPU_DIMS && !err; d++)
		if (operand(c, part)->ne[d] != 1 || dyn_at(c, part, d))
			err = agree(c, full, d, part, d);
	return err;
}

/* Dimension d of @part divides that of @whole. */
static int divides(struct check *c, unsigned int whole, unsigned int dw, unsigned int part, unsigned int dp)
{
	uint32_t w = operand(c, whole)->ne[dw], p = operand(c, part)->ne[dp];

	if (dyn_at(c, whole, dw) || dyn_at(c, part, dp) || (p && w % p == 0))
		return 0;
	return bad(c, "%s: dimension %u is %u, which does not divide %u, dimension %u of %s", c->info->operand[part].name,
		   dp, p, w, dw, c->info->operand[whole].name);
}

static int is_one(struct check *c, unsigned int i, unsigned int d)
{
	if (operand(c, i)->ne[d] == 1 || dyn_at(c, i, d))
		return 0;
	return bad(c, "%s: dimension %u is %u and must be 1", c->info->operand[i].name, d, operand(c, i)->ne[d]);
}

#define TRY(e) do { int err_ = (e); if (err_) return err_; } while (0)

static int kind_in(struct check *c, uint32_t kind, uint32_t count)
{
	return kind < count ? 0 : bad(c, "kind: %u is unknown", kind);
}

/* dst, x and weights (operands 0, 1 and 2). */
static int product(struct check *c)
{
	unsigned int x = operand(c, 1)->type, w = operand(c, 2)->type;

	TRY(same_from(c, 1, 0, 1));
	TRY(agree(c, 1, 0, 2, 0));
	TRY(agree(c, 0, 0, 2, 1));
	TRY(divides(c, 0, 2, 2, 2));
	TRY(divides(c, 0, 3, 2, 3));
	if ((T_ACT >> x & 1) && npu_activation_type(w) != (int)x)
		return bad(c, "x: %s does not go with %s weights", npu_type_name(x), npu_type_name(w));
	return 0;
}

static int check_matmul(struct check *c, const struct npu_cmd_matmul *p)
{
	if (p->flags & ~(NPU_MATMUL_BIAS | NPU_MATMUL_ACCUMULATE))
		return bad(c, "unknown flags 0x%x", p->flags);
	if ((p->flags & NPU_MATMUL_ACCUMULATE) && p->dst.type != NPU_TYPE_F32)
		return bad(c, "dst: must be f32 to accumulate");
	if (p->bias % 4)
		return bad(c, "bias: address 0x%" PRIx64 " is not aligned to 4", p->bias);
	return product(c);
}

static int check_matmul_glu(struct check *c, const struct npu_cmd_matmul_glu *p)
{
	TRY(kind_in(c, p->kind, NPU_GLU_COUNT));
	TRY(product(c));
	TRY(same_from(c, 0, 2, 3));
	if (p->gate.type != p->up.type || p->gate.layout != p->up.layout)
		return bad(c, "up: type or layout differs from gate's (%s, %s)", npu_type_name(p->up.type),
			   npu_type_name(p->gate.type));
	return 0;
}

static int check_attention(struct check *c, const struct npu_cmd_attention *p)
{
	if (p->flags & ~NPU_ATTN_CAUSAL)
		return bad(c, "unknown flags 0x%x", p->flags);
	if (p->v.type != p->k.type)
		return bad(c, "v: type %s differs from %s of k", npu_type_name(p->v.type), npu_type_name(p->k.type));
	TRY(same_from(c, 1, 0, 1));
	TRY(agree(c, 1, 0, 2, 0));
	TRY(agree(c, 0, 0, 3, 0));
	TRY(same_from(c, 1, 2, 3));
	TRY(divides(c, 1, 1, 2, 2));
	return agree(c, 1, 3, 2, 3);
}

static int check_copy(struct check *c, const struct npu_cmd_map *p)
{
	const uint32_t blocks = T(Q8_0) | T(Q4_0) | T(Q4_K) | T(Q6_K) | T_ACT, quantisable = T(F32) | T(F16) | T(BF16);

	TRY(same_from(c, 0, 0, 1));
	if (p->dst.type == p->src.type)
		return 0;
	if ((blocks >> p->dst.type & 1) &&
	    (!((T(Q8_0) | T(Q4_0) | T_ACT) >> p->dst.type & 1) || !(quantisable >> p->src.type & 1)))
		return bad(c, "src: %s cannot be converted to %s", npu_type_name(p->src.type), npu_type_name(p->dst.type));
	if ((blocks >> p->src.type & 1) && (!(quantisable >> p->dst.type & 1) || (T_ACT >> p->src.type & 1)))
		return bad(c, "src: %s cannot be converted to %s", npu_type_name(p->src.type), npu_type_name(p->dst.type));
	return 0;
}

static int check_rows(struct check *c)
{
	TRY(agree(c, 1, 0, 0, 0));
	TRY(is_one(c, 0, 3));
	TRY(is_one(c, 1, 2));
	TRY(is_one(c, 1, 3));
	TRY(agree(c, 0, 1, 2, 0));
	TRY(agree(c, 0, 2, 2, 1));
	TRY(is_one(c, 2, 2));
	return is_one(c, 2, 3);
}

static int check_topk(struct check *c, const struct npu_cmd_topk *p)
{
	if (!p->k || p->k > 1024 || p->k > p->src.ne[0])
		return bad(c, "k: %u is not from 1 to %u", p->k, p->src.ne[0] < 1024 ? p->src.ne[0] : 1024);
	if (p->values.ne[0] != p->k)
		return bad(c, "values: dimension 0 is %u, but k is %u", p->values.ne[0], p->k);
	TRY(same_from(c, 0, 0, 1));
	return same_from(c, 1, 2, 0);
}

static int check_rope(struct check *c, const struct npu_cmd_rope *p)
{
	if (p->ndims % 2 || p->ndims > p->src.ne[0])
		return bad(c, "ndims: %u is odd or above the %u columns", p->ndims, p->src.ne[0]);
	if (p->step % 8 || p->positions % 4)
		return bad(c, "step, positions: addresses 0x%" PRIx64 ", 0x%" PRIx64 " are not aligned", p->step, p->positions);
	return same_from(c, 0, 0, 1);
}

/* Rules that tie operands together. */
static int relations(struct check *c)
{
	const void *p = c->packet;

	switch (c->info->opcode) {
	case NPU_OP_MATMUL:
		return check_matmul(c, p);
	case NPU_OP_MATMUL_GLU:
		return check_matmul_glu(c, p);
	case NPU_OP_ATTENTION:
		return check_attention(c, p);
	case NPU_OP_ROPE:
		return check_rope(c, p);
	case NPU_OP_SOFTMAX:
		TRY(same_from(c, 0, 0, 1));
		if (!(((const struct npu_cmd_softmax *)p)->flags & NPU_SOFTMAX_MASK))
			return 0;
		TRY(agree(c, 1, 0, 2, 0));
		return broadcasts(c, 1, 1, 2);
	case NPU_OP_GLU:
		TRY(kind_in(c, ((const struct npu_cmd_binary *)p)->kind, NPU_GLU_COUNT));
		TRY(same_from(c, 0, 0, 1));
		return same_from(c, 0, 0, 2);
	case NPU_OP_BINARY:
		TRY(kind_in(c, ((const struct npu_cmd_binary *)p)->kind, NPU_BINARY_COUNT));
		TRY(broadcasts(c, 0, 0, 1));
		return broadcasts(c, 0, 0, 2);
	case NPU_OP_UNARY:
		TRY(kind_in(c, ((const struct npu_cmd_map *)p)->kind, NPU_UNARY_COUNT));
		return same_from(c, 0, 0, 1);
	case NPU_OP_REDUCE:
		TRY(kind_in(c, ((const struct npu_cmd_map *)p)->kind, NPU_REDUCE_COUNT));
		/* fallthrough */
	case NPU_OP_ARGMAX:
		TRY(is_one(c, 0, 0));
		return same_from(c, 1, 0, 1);
	case NPU_OP_TOPK:
		return check_topk(c, p);
	case NPU_OP_COPY:
		return check_copy(c, p);
	case NPU_OP_GATHER:
	case NPU_OP_SCATTER:
		return check_rows(c);
	case NPU_OP_FILL:
		return 0;
	default:
		return same_from(c, 0, 0, 1);
	}
}

int packet_check(const struct npu_device_info *dev, const void *packet, const uint8_t dyn[PACKET_OPERANDS], char *err,
		 size_t err_size)
{
	static const struct npu_tensor none;
	const struct npu_cmd *cmd = packet;
	struct check c = { dev, packet_info(cmd->opcode), dyn, packet, err, err_size };

	if (!c.info || !(dev->ops >> NPU_OP_BIT(cmd->opcode) & 1))
		return bad(&c, "the device has no such operation");
	for (unsigned int i = 0; i < c.info->count; i++) {
		if ((c.info->operand[i].flags & OP_UNUSED0) && !memcmp(operand(&c, i), &none, sizeof(none)))
			continue;
		TRY(check_tensor(&c, i));
	}
	return relations(&c);
}

int packet_bounds(const struct npu_device_info *dev, const void *packet, char *err, size_t err_size)
{
	struct packet_cost cost;

	packet_cost(packet, &cost);
	if (cost.macs <= dev->max_macs && cost.bytes <= dev->max_bytes)
		return 0;
	if (cost.macs > dev->max_macs)
		snprintf(err, err_size, "%" PRIu64 " multiply-accumulates are more than one command may do (%" PRIu64 ")",
			 cost.macs, dev->max_macs);
	else
		snprintf(err, err_size, "%" PRIu64 " bytes are more than one command may touch (%" PRIu64 ")", cost.bytes,
			 dev->max_bytes);
	return -EINVAL;
}

/* ---- Cost --------------------------------------------------------------------------- */

static uint64_t tensor_bytes(const struct npu_tensor *t)
{
	uint64_t rows = t->layout == NPU_LAYOUT_TILE16 ? ((uint64_t)t->ne[1] + 15) / 16 * 16 : t->ne[1];

	if (!tensor_elements(t))
		return 0;
	return mul_sat(mul_sat(npu_type_row_bytes(t->type, t->ne[0]), rows), mul_sat(t->ne[2], t->ne[3]));
}

static uint64_t sum_bytes(const void *packet, const struct packet_info *info)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < info->count; i++)
		sum = add_sat(sum, tensor_bytes(packet_tensor_c(packet, info, i)));
	return sum;
}

/* Every position counted as visible: an upper bound for causal and windowed masks. */
static void attention_cost(const struct npu_cmd_attention *p, struct packet_cost *cost)
{
	uint64_t rows = mul_sat(mul_sat(p->q.ne[1], p->q.ne[2]), p->q.ne[3]);

	cost->macs = mul_sat(mul_sat(rows, p->k.ne[1]), (uint64_t)p->q.ne[0] + p->dst.ne[0]);
}

void packet_cost(const void *packet, struct packet_cost *cost)
{
	const struct npu_cmd *cmd = packet;
	const struct packet_info *info = packet_info(cmd->opcode);

	cost->macs = 0;
	cost->bytes = info ? sum_bytes(packet, info) : 0;
	switch (cmd->opcode) {
	case NPU_OP_MATMUL: {
		const struct npu_cmd_matmul *p = packet;

		cost->macs = mul_sat(tensor_elements(&p->dst), p->x.ne[0]);
		if (p->flags & NPU_MATMUL_ACCUMULATE)
			cost->bytes = add_sat(cost->bytes, tensor_bytes(&p->dst));
		if (p->flags & NPU_MATMUL_BIAS)
			cost->bytes = add_sat(cost->bytes, 4ull * p->dst.ne[0]);
		break;
	}
	case NPU_OP_MATMUL_GLU: {
		const struct npu_cmd_matmul_glu *p = packet;

		cost->macs = mul_sat(tensor_elements(&p->dst), mul_sat(2, p->x.ne[0]));
		break;
	}
	case NPU_OP_ATTENTION:
		attention_cost(packet, cost);
		break;
	case NPU_OP_RMS_NORM:
	case NPU_OP_LAYER_NORM: {
		const struct npu_cmd_norm *p = packet;

		cost->bytes = add_sat(cost->bytes, 4ull * p->src.ne[0] * (!!p->weight + !!p->bias));
		break;
	}
	case NPU_OP_ROPE: {
		const struct npu_cmd_rope *p = packet;

		cost->bytes = add_sat(cost->bytes, 4ull * p->ndims + (p->positions ? 4ull * p->src.ne[2] : 0));
		break;
	}
	case NPU_OP_GATHER:
	case NPU_OP_SCATTER: {
		const struct npu_cmd_rows *p = packet;

		/* Only the rows that are named move. */
		cost->bytes = add_sat(tensor_bytes(&p->dst), tensor_bytes(&p->index));
		cost->bytes = add_sat(cost->bytes, mul_sat(npu_type_row_bytes(p->table.type, p->table.ne[0]),
							   mul_sat(p->index.ne[0], p->index.ne[1])));
		break;
	}
	default:
		break;
	}
}
