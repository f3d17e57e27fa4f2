/* SPDX-License-Identifier: MIT */
/* npu_op_plan(): every illegal thing gives its fault and operand, every legal one its cost. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "ops.h"

static const struct npu_op_limits limits = {
	.max_macs = 1ull << 32, .max_bytes = 1ull << 26, .va_limit = 1ull << 39, .ops = 0xffff | 1ull << NPU_OP_BIT(NPU_OP_MATMUL_GLU),
	.types_rows = 1u << NPU_TYPE_F32 | 1u << NPU_TYPE_F16 | 1u << NPU_TYPE_BF16 | 1u << NPU_TYPE_Q8_0 |
		      1u << NPU_TYPE_Q4_0 | 1u << NPU_TYPE_Q4_K,
	.types_tiles = 1u << NPU_TYPE_Q8_0 | 1u << NPU_TYPE_F16,
};

static struct npu_op_plan plan;

static void plan_of(const void *p, uint32_t len)
{
	npu_op_plan(p, len, &limits, &plan);
}

#define NONE NPU_OPERAND_NONE

/* The packet as built by @make, changed by @change, is refused with @fault about @operand. */
#define REFUSED(type, make, change, want_fault, want_operand)			\
	do {									\
		type p;								\
										\
		make(&p);							\
		plan_of(&p, sizeof(p));						\
		assert_int_equal(plan.fault, 0);				\
		change;								\
		plan_of(&p, sizeof(p));						\
		assert_int_equal(plan.fault, NPU_FAULT_##want_fault);		\
		assert_int_equal(plan.operand, want_operand);			\
	} while (0)

#define ALLOWED(type, make, change)						\
	do {									\
		type p;								\
										\
		make(&p);							\
		change;								\
		plan_of(&p, sizeof(p));						\
		assert_int_equal(plan.fault, 0);				\
	} while (0)

static struct npu_tensor dense(uint64_t addr, unsigned int type, uint32_t n0, uint32_t n1, uint32_t n2, uint32_t n3)
{
	struct npu_tensor t = { .addr = addr, .ne = { n0, n1, n2, n3 }, .type = (uint8_t)type };
	uint64_t at = npu_type_block_bytes(type);

	for (unsigned int i = 0; i < NPU_DIMS; i++) {
		t.nb[i] = at;
		at *= i ? t.ne[i] : t.ne[0] / npu_type_block_len(type);
	}
	return t;
}

static void head(struct npu_cmd *c, unsigned int op, size_t size)
{
	memset(c, 0, size);
	c->opcode = (uint16_t)op;
	c->len = (uint8_t)(size / NPU_PACKET_ALIGN);
	c->signal = NPU_NO_TOKEN;
}

static void matmul(struct npu_cmd_matmul *p)
{
	head(&p->cmd, NPU_OP_MATMUL, sizeof(*p));
	p->dst = dense(0x1000, NPU_TYPE_F32, 48, 5, 4, 2);
	p->x = dense(0x10000, NPU_TYPE_F32, 64, 5, 4, 2);
	p->w = dense(0x20000, NPU_TYPE_Q8_0, 64, 48, 2, 1);
}

static void attention(struct npu_cmd_attention *p)
{
	head(&p->cmd, NPU_OP_ATTENTION, sizeof(*p));
	p->flags = NPU_ATTN_CAUSAL;
	p->scale = 0.125f;
	p->pos = 10;
	p->dst = dense(0x1000, NPU_TYPE_F16, 64, 6, 5, 2);
	p->q = dense(0x10000, NPU_TYPE_F32, 32, 6, 5, 2);
	p->k = dense(0x20000, NPU_TYPE_Q8_0, 32, 15, 3, 2);
	p->v = dense(0x30000, NPU_TYPE_Q8_0, 64, 15, 3, 2);
}

static void rms_norm(struct npu_cmd_norm *p)
{
	head(&p->cmd, NPU_OP_RMS_NORM, sizeof(*p));
	p->weight = 0x800;
	p->dst = dense(0x1000, NPU_TYPE_F32, 20, 3, 1, 1);
	p->src = dense(0x2000, NPU_TYPE_F16, 20, 3, 1, 1);
}

static void layer_norm(struct npu_cmd_norm *p)
{
	rms_norm(p);
	p->cmd.opcode = NPU_OP_LAYER_NORM;
	p->bias = 0x900;
}

static void rope(struct npu_cmd_rope *p)
{
	head(&p->cmd, NPU_OP_ROPE, sizeof(*p));
	p->ndims = 16;
	p->mscale = 1.0f;
	p->step = 0x800;
	p->positions = 0x900;
	p->dst = dense(0x1000, NPU_TYPE_F32, 20, 3, 7, 1);
	p->src = dense(0x4000, NPU_TYPE_F16, 20, 3, 7, 1);
}

static void softmax(struct npu_cmd_softmax *p)
{
	head(&p->cmd, NPU_OP_SOFTMAX, sizeof(*p));
	p->flags = NPU_SOFTMAX_MASK;
	p->scale = 1.0f;
	p->dst = dense(0x1000, NPU_TYPE_F32, 20, 3, 2, 1);
	p->src = dense(0x2000, NPU_TYPE_F32, 20, 3, 2, 1);
	p->mask = dense(0x3000, NPU_TYPE_F16, 20, 3, 1, 1);
}

static void unary(struct npu_cmd_map *p)
{
	head(&p->cmd, NPU_OP_UNARY, sizeof(*p));
	p->kind = NPU_UNARY_EXP;
	p->dst = dense(0x1000, NPU_TYPE_F32, 20, 3, 2, 1);
	p->src = dense(0x2000, NPU_TYPE_F16, 20, 3, 2, 1);
}

static void reduce(struct npu_cmd_map *p)
{
	unary(p);
	p->cmd.opcode = NPU_OP_REDUCE;
	p->kind = NPU_REDUCE_MAX;
	p->dst = dense(0x1000, NPU_TYPE_F32, 1, 3, 2, 1);
}

static void argmax(struct npu_cmd_map *p)
{
	reduce(p);
	p->cmd.opcode = NPU_OP_ARGMAX;
	p->kind = 0;
	p->dst.type = NPU_TYPE_I32;
}

static void copy(struct npu_cmd_map *p)
{
	unary(p);
	p->cmd.opcode = NPU_OP_COPY;
	p->kind = 0;
	p->dst = dense(0x1000, NPU_TYPE_Q8_0, 64, 3, 2, 1);
	p->src = dense(0x2000, NPU_TYPE_F16, 64, 3, 2, 1);
}

static void fill(struct npu_cmd_map *p)
{
	head(&p->cmd, NPU_OP_FILL, sizeof(*p));
	p->p0 = 1.0f;
	p->dst = dense(0x1000, NPU_TYPE_BF16, 20, 3, 2, 1);
}

static void binary(struct npu_cmd_binary *p)
{
	head(&p->cmd, NPU_OP_BINARY, sizeof(*p));
	p->kind = NPU_BINARY_ADD;
	p->dst = dense(0x1000, NPU_TYPE_F32, 20, 3, 2, 1);
	p->a = dense(0x2000, NPU_TYPE_F16, 20, 1, 2, 1);
	p->b = dense(0x3000, NPU_TYPE_F32, 1, 3, 1, 1);
}

static void glu(struct npu_cmd_binary *p)
{
	binary(p);
	p->cmd.opcode = NPU_OP_GLU;
	p->a = dense(0x2000, NPU_TYPE_F16, 20, 3, 2, 1);
	p->b = dense(0x3000, NPU_TYPE_F32, 20, 3, 2, 1);
}

static void topk(struct npu_cmd_topk *p)
{
	head(&p->cmd, NPU_OP_TOPK, sizeof(*p));
	p->k = 5;
	p->values = dense(0x1000, NPU_TYPE_F32, 5, 3, 2, 1);
	p->indices = dense(0x2000, NPU_TYPE_I32, 5, 3, 2, 1);
	p->src = dense(0x3000, NPU_TYPE_F32, 20, 3, 2, 1);
}

static void gather(struct npu_cmd_rows *p)
{
	head(&p->cmd, NPU_OP_GATHER, sizeof(*p));
	p->dst = dense(0x1000, NPU_TYPE_F32, 64, 3, 2, 1);
	p->table = dense(0x2000, NPU_TYPE_Q8_0, 64, 100, 1, 1);
	p->index = dense(0x8000, NPU_TYPE_I32, 3, 2, 1, 1);
}

static void scatter(struct npu_cmd_rows *p)
{
	gather(p);
	p->cmd.opcode = NPU_OP_SCATTER;
}

/* ---- Tests ------------------------------------------------------------------------ */

static void test_header(void **state)
{
	struct npu_cmd_matmul p;
	struct npu_op_limits some = limits;

	(void)state;
	matmul(&p);
	plan_of(&p, 15);
	assert_int_equal(plan.fault, NPU_FAULT_ENCODING);
	plan_of(&p, sizeof(p) - 16);
	assert_int_equal(plan.fault, NPU_FAULT_ENCODING);
	plan_of(&p, sizeof(p) + 16);
	assert_int_equal(plan.fault, NPU_FAULT_ENCODING);
	for (unsigned int op = 0; op < 0x10000; op++) {
		bool known = (op >= NPU_OP_MATMUL && op <= NPU_OP_FILL) || op == NPU_OP_MATMUL_GLU;

		p.cmd.opcode = (uint16_t)op;
		plan_of(&p, sizeof(p));
		assert_int_equal(plan.fault == NPU_FAULT_OPCODE_ILLEGAL, !known);
		assert_int_equal(plan.operand == NONE || known, true);
	}
	matmul(&p);
	some.ops &= ~1ull;
	npu_op_plan(&p, sizeof(p), &some, &plan);
	assert_int_equal(plan.fault, NPU_FAULT_OPCODE_ILLEGAL);
}

/* What holds for every tensor operand, seen on one. */
static void test_tensor(void **state)
{
	(void)state;
#define UNARY_REFUSED(change, fault, operand) REFUSED(struct npu_cmd_map, unary, change, fault, operand)
	for (unsigned int i = 0; i < sizeof(((struct npu_tensor *)0)->rsvd); i++) {
		UNARY_REFUSED(p.dst.rsvd[i] = 1, ENCODING, 0);
		UNARY_REFUSED(p.src.rsvd[i] = 0x80, ENCODING, 1);
	}
	for (unsigned int hint = 0; hint < 256; hint++) {
		if (hint > NPU_HINT_KEEP && hint != (NPU_HINT_KEEP | NPU_HINT_LOCAL))
			UNARY_REFUSED(p.dst.hint = (uint8_t)hint, ENCODING, 0);
		if (hint > NPU_HINT_KEEP && hint != NPU_HINT_DROP)
			UNARY_REFUSED(p.src.hint = (uint8_t)hint, ENCODING, 1);
	}
	for (unsigned int type = 0; type < 256; type++)
		if (type != NPU_TYPE_F32 && type != NPU_TYPE_F16)
			UNARY_REFUSED(p.src.type = (uint8_t)type, OPERAND_ILLEGAL, 1);
	for (unsigned int layout = 1; layout < 256; layout++)
		UNARY_REFUSED(p.dst.layout = (uint8_t)layout, OPERAND_ILLEGAL, 0);
	UNARY_REFUSED(p.dst.addr += 2, OPERAND_ILLEGAL, 0);
	UNARY_REFUSED(p.src.addr += 1, OPERAND_ILLEGAL, 1);
	UNARY_REFUSED(p.dst.nb[1] += 2, OPERAND_ILLEGAL, 0);
	UNARY_REFUSED(p.src.nb[2] += 1, OPERAND_ILLEGAL, 1);
	UNARY_REFUSED(p.src.nb[0] = 3, OPERAND_ILLEGAL, 1);
	UNARY_REFUSED(p.src.nb[1] = 1ull << 63, OPERAND_ILLEGAL, 1);	/* the span overflows */
	UNARY_REFUSED(p.src.nb[1] = ~1ull, OPERAND_ILLEGAL, 1);		/* no negative strides */
	UNARY_REFUSED(p.src.addr = ~1ull, OPERAND_ILLEGAL, 1);		/* address plus span overflows */
	UNARY_REFUSED(p.src.addr = 1ull << 39, ADDRESS_SIZE, 1);
	UNARY_REFUSED(p.dst.addr = (1ull << 39) - 20 * 3 * 2 * 4 + 4, ADDRESS_SIZE, 0);
	UNARY_REFUSED(p.src.nb[2] = 1ull << 39, ADDRESS_SIZE, 1);
	for (unsigned int i = 0; i < 4; i++)
		UNARY_REFUSED(p.src.ne[i]++, OPERAND_ILLEGAL, 1);
	/* Elements of a destination may not coincide. */
	UNARY_REFUSED(p.dst.nb[0] = 0, OPERAND_ILLEGAL, 0);
	UNARY_REFUSED(p.dst.nb[1] = 76, OPERAND_ILLEGAL, 0);
	UNARY_REFUSED(p.dst.nb[2] = 0, OPERAND_ILLEGAL, 0);
	UNARY_REFUSED(p.dst.nb[2] = p.dst.nb[1], OPERAND_ILLEGAL, 0);

	ALLOWED(struct npu_cmd_map, unary, p.dst.addr = (1ull << 39) - 20 * 3 * 2 * 4);
	ALLOWED(struct npu_cmd_map, unary, p.src.nb[1] = 0);	/* sources may repeat */
	ALLOWED(struct npu_cmd_map, unary, p.src.nb[3] = 1);	/* ne[3] == 1 ignores it */
	ALLOWED(struct npu_cmd_map, unary, p.dst.nb[0] = 3 * 4; p.dst.nb[1] = 4);	/* transposed */
}

static void test_zero_dimension(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 4; i++) {
		ALLOWED(struct npu_cmd_map, unary, p.src.ne[i] = p.dst.ne[i] = 0);
		assert_true(plan.empty);
		assert_int_equal(plan.lane_ops + plan.bytes_read + plan.bytes_written, 0);
		/* Nothing is accessed, so no address is wrong; encoding and shapes still count. */
		ALLOWED(struct npu_cmd_map, unary, p.src.ne[i] = p.dst.ne[i] = 0; p.src.addr = ~1ull);
		REFUSED(struct npu_cmd_map, unary, p.src.ne[i] = 0, OPERAND_ILLEGAL, 1);
		REFUSED(struct npu_cmd_map, unary, (p.src.ne[i] = p.dst.ne[i] = 0, p.src.rsvd[0] = 1), ENCODING, 1);
	}
	ALLOWED(struct npu_cmd_matmul, matmul, p.x.ne[0] = p.w.ne[0] = 0);
	assert_true(plan.empty);
	ALLOWED(struct npu_cmd_attention, attention, p.k.ne[1] = p.v.ne[1] = 0);
	assert_true(plan.empty);
}

static void test_matmul(void **state)
{
	(void)state;
#define MM_REFUSED(change, fault, operand) REFUSED(struct npu_cmd_matmul, matmul, change, fault, operand)
	ALLOWED(struct npu_cmd_matmul, matmul, (void)p);
	assert_int_equal(plan.engine, NPU_ENGINE_MATRIX);
	assert_int_equal(plan.mac_type, NPU_TYPE_I8);
	assert_int_equal(plan.macs, 48 * 5 * 4 * 2 * 64);
	assert_int_equal(plan.bytes_read, 64 * 5 * 8 * 4 + 2 * 48 * 2 * 34);
	assert_int_equal(plan.bytes_written, 48 * 5 * 8 * 4);

	MM_REFUSED(p.flags = 4, ENCODING, NONE);
	MM_REFUSED(p.rsvd = 1, ENCODING, NONE);
	MM_REFUSED(p.bias = 0x4000, ENCODING, NONE);
	MM_REFUSED((p.flags = NPU_MATMUL_BIAS, p.bias = 2), OPERAND_ILLEGAL, NPU_OPERAND_AUX0);
	MM_REFUSED((p.flags = NPU_MATMUL_BIAS, p.bias = 1ull << 39), ADDRESS_SIZE, NPU_OPERAND_AUX0);
	MM_REFUSED((p.flags = NPU_MATMUL_BIAS, p.bias = ~3ull), OPERAND_ILLEGAL, NPU_OPERAND_AUX0);
	MM_REFUSED((p.flags = NPU_MATMUL_ACCUMULATE, p.dst.type = NPU_TYPE_F16), OPERAND_ILLEGAL, 0);
	MM_REFUSED(p.dst.type = NPU_TYPE_BF16, OPERAND_ILLEGAL, 0);
	MM_REFUSED(p.x.type = NPU_TYPE_Q8_0, OPERAND_ILLEGAL, 1);
	MM_REFUSED(p.w.type = NPU_TYPE_I8, OPERAND_ILLEGAL, 2);
	MM_REFUSED(p.w = dense(0x20000, NPU_TYPE_Q6_K, 256, 48, 2, 1), OPERAND_ILLEGAL, 2);	/* no capability */
	MM_REFUSED(p.dst.nb[0] = 8, OPERAND_ILLEGAL, 0);	/* rows are contiguous */
	MM_REFUSED(p.x.nb[0] = 8, OPERAND_ILLEGAL, 1);
	MM_REFUSED(p.w.nb[0] = 36, OPERAND_ILLEGAL, 2);
	MM_REFUSED(p.w.ne[0] = 48, OPERAND_ILLEGAL, 2);		/* not whole blocks */
	MM_REFUSED(p.w.ne[0] = 32, OPERAND_ILLEGAL, 2);
	MM_REFUSED(p.w.ne[1] = 47, OPERAND_ILLEGAL, 2);
	MM_REFUSED(p.w.ne[2] = 3, OPERAND_ILLEGAL, 2);		/* does not divide 4 */
	MM_REFUSED(p.w.ne[3] = 0, OPERAND_ILLEGAL, 2);
	MM_REFUSED(p.x.ne[1] = 4, OPERAND_ILLEGAL, 1);
	MM_REFUSED(p.x.ne[3] = 1, OPERAND_ILLEGAL, 1);
	MM_REFUSED(p.w.addr++, OPERAND_ILLEGAL, 2);

	/* Tiles: as announced, rows exactly adjacent; the padding rows belong to the tensor. */
	ALLOWED(struct npu_cmd_matmul, matmul, p.w.layout = NPU_LAYOUT_TILE16);
	ALLOWED(struct npu_cmd_matmul, matmul, (p.w.layout = NPU_LAYOUT_TILE16, p.w.ne[1] = p.dst.ne[0] = 33,
		p.w.nb[2] = 48 * 68));
	assert_int_equal(plan.bytes_read, 64 * 5 * 8 * 4 + 2 * 48 * 2 * 34);
	MM_REFUSED((p.w.layout = NPU_LAYOUT_TILE16, p.w.nb[1] += 2), OPERAND_ILLEGAL, 2);
	MM_REFUSED((p.w = dense(0x20000, NPU_TYPE_Q4_0, 64, 48, 2, 1), p.w.layout = NPU_LAYOUT_TILE16),
		   OPERAND_ILLEGAL, 2);
	MM_REFUSED((p.w.layout = NPU_LAYOUT_TILE16, p.w.ne[1] = p.dst.ne[0] = 33, p.w.nb[2] = 0,
		    p.w.addr = (1ull << 39) - 33 * 68), ADDRESS_SIZE, 2);
	MM_REFUSED(p.x.layout = NPU_LAYOUT_TILE16, OPERAND_ILLEGAL, 1);

	/* Bounds. */
	MM_REFUSED((p.dst = dense(0x1000, NPU_TYPE_F32, 4096, 512, 1, 1), p.x = dense(0x1000, NPU_TYPE_F32, 4096, 512,
		   1, 1), p.w = dense(0, NPU_TYPE_F16, 4096, 4096, 1, 1)), BOUND, NONE);
	/* Shapes whose product overflows 64 bits are above any bound. */
	MM_REFUSED((p.x = dense(0, NPU_TYPE_F32, 1u << 31, 1u << 31, 1u << 31, 1u << 31), p.x.nb[1] = p.x.nb[2] =
		    p.x.nb[3] = 0, p.dst = p.x, p.dst.ne[0] = 1), OPERAND_ILLEGAL, 0);
}

static void test_attention(void **state)
{
	(void)state;
#define AT_REFUSED(change, fault, operand) REFUSED(struct npu_cmd_attention, attention, change, fault, operand)
	ALLOWED(struct npu_cmd_attention, attention, (void)p);
	/* Rows at 10..14 see 11..15 keys. */
	assert_int_equal(plan.macs, (11 + 12 + 13 + 14 + 15) * 6 * 2 * (32 + 64));
	assert_int_equal(plan.bytes_read, 32 * 6 * 5 * 2 * 4 + 15 * 3 * 2 * (34 + 68));
	assert_int_equal(plan.bytes_written, 64 * 6 * 5 * 2 * 2);
	assert_int_equal(plan.mac_type, NPU_TYPE_F16);
	ALLOWED(struct npu_cmd_attention, attention, p.window = 4);
	assert_int_equal(plan.macs, 4 * 5 * 6 * 2 * (32 + 64));
	assert_int_equal(plan.bytes_read, 32 * 6 * 5 * 2 * 4 + 8 * 3 * 2 * (34 + 68));
	ALLOWED(struct npu_cmd_attention, attention, p.flags = 0);
	assert_int_equal(plan.macs, 15 * 5 * 6 * 2 * (32 + 64));
	ALLOWED(struct npu_cmd_attention, attention, (p.flags = 0, p.window = 3, p.pos = 2));
	assert_int_equal(plan.macs, (15 + 14 + 13 + 12 + 11) * 6 * 2 * (32 + 64));
	ALLOWED(struct npu_cmd_attention, attention, (p.window = 3, p.pos = ~0u));
	assert_int_equal(plan.macs, 0);
	ALLOWED(struct npu_cmd_attention, attention, p.pos = ~0u);
	assert_int_equal(plan.macs, 15 * 5 * 6 * 2 * (32 + 64));

	AT_REFUSED(p.flags = 2, ENCODING, NONE);
	AT_REFUSED(p.rsvd[2] = 1, ENCODING, NONE);
	AT_REFUSED(p.dst.type = NPU_TYPE_Q8_0, OPERAND_ILLEGAL, 0);
	AT_REFUSED(p.q.type = NPU_TYPE_BF16, OPERAND_ILLEGAL, 1);
	AT_REFUSED(p.q.ne[1] = 5, OPERAND_ILLEGAL, 1);
	AT_REFUSED(p.k = dense(0x20000, NPU_TYPE_BF16, 32, 15, 3, 2), OPERAND_ILLEGAL, 2);
	AT_REFUSED(p.k.ne[2] = 4, OPERAND_ILLEGAL, 2);	/* does not divide 6 */
	AT_REFUSED(p.k = dense(0x20000, NPU_TYPE_Q8_0, 64, 15, 3, 2), OPERAND_ILLEGAL, 2);
	AT_REFUSED(p.k.ne[3] = 1, OPERAND_ILLEGAL, 2);
	AT_REFUSED(p.v = dense(0x20000, NPU_TYPE_F16, 64, 15, 3, 2), OPERAND_ILLEGAL, 3);
	AT_REFUSED(p.v.ne[1] = 14, OPERAND_ILLEGAL, 3);
	AT_REFUSED(p.v.ne[0] = 32, OPERAND_ILLEGAL, 3);
	AT_REFUSED(p.v.nb[0] = 36, OPERAND_ILLEGAL, 3);
	AT_REFUSED(p.k.layout = NPU_LAYOUT_TILE16, OPERAND_ILLEGAL, 2);
}

static void test_norms(void **state)
{
	(void)state;
	ALLOWED(struct npu_cmd_norm, rms_norm, (void)p);
	assert_int_equal(plan.engine, NPU_ENGINE_VECTOR);
	assert_int_equal(plan.bytes_read, 20 * 3 * 2 + 80);
	ALLOWED(struct npu_cmd_norm, layer_norm, p.weight = p.bias = 0);
	REFUSED(struct npu_cmd_norm, rms_norm, p.bias = 0x900, ENCODING, NONE);
	REFUSED(struct npu_cmd_norm, layer_norm, p.rsvd[0] = 1, ENCODING, NONE);
	REFUSED(struct npu_cmd_norm, layer_norm, p.weight += 2, OPERAND_ILLEGAL, NPU_OPERAND_AUX0);
	REFUSED(struct npu_cmd_norm, layer_norm, p.bias = 1ull << 40, ADDRESS_SIZE, NPU_OPERAND_AUX1);
	REFUSED(struct npu_cmd_norm, layer_norm, p.src.ne[1] = 4, OPERAND_ILLEGAL, 1);
	REFUSED(struct npu_cmd_norm, layer_norm, p.dst.type = NPU_TYPE_I32, OPERAND_ILLEGAL, 0);

	ALLOWED(struct npu_cmd_softmax, softmax, (void)p);
	REFUSED(struct npu_cmd_softmax, softmax, p.flags = 2, ENCODING, NONE);
	REFUSED(struct npu_cmd_softmax, softmax, p.flags = 0, ENCODING, NONE);	/* a mask without the flag */
	REFUSED(struct npu_cmd_softmax, softmax, p.rsvd[1] = 1, ENCODING, NONE);
	REFUSED(struct npu_cmd_softmax, softmax, p.mask.ne[0] = 1, OPERAND_ILLEGAL, 2);
	REFUSED(struct npu_cmd_softmax, softmax, p.mask.ne[1] = 2, OPERAND_ILLEGAL, 2);
	REFUSED(struct npu_cmd_softmax, softmax, p.src.ne[3] = 2, OPERAND_ILLEGAL, 1);
	REFUSED(struct npu_cmd_softmax, softmax, p.mask.addr++, OPERAND_ILLEGAL, 2);

	ALLOWED(struct npu_cmd_rope, rope, (void)p);
	assert_int_equal(plan.bytes_read, 20 * 3 * 7 * 2 + 8 * 8 + 7 * 4);
	REFUSED(struct npu_cmd_rope, rope, p.flags = 2, ENCODING, NONE);
	REFUSED(struct npu_cmd_rope, rope, p.ndims = 15, OPERAND_ILLEGAL, NONE);
	REFUSED(struct npu_cmd_rope, rope, p.ndims = 22, OPERAND_ILLEGAL, NONE);
	REFUSED(struct npu_cmd_rope, rope, p.step += 4, OPERAND_ILLEGAL, NPU_OPERAND_AUX0);
	REFUSED(struct npu_cmd_rope, rope, p.positions += 2, OPERAND_ILLEGAL, NPU_OPERAND_AUX1);
	REFUSED(struct npu_cmd_rope, rope, p.positions = (1ull << 39) - 4, ADDRESS_SIZE, NPU_OPERAND_AUX1);
	ALLOWED(struct npu_cmd_rope, rope, (p.ndims = 0, p.positions = 0));
}

static void test_maps(void **state)
{
	(void)state;
	UNARY_REFUSED(p.kind = NPU_UNARY_COUNT, ENCODING, NONE);
	UNARY_REFUSED(p.rsvd = 1, ENCODING, NONE);
	UNARY_REFUSED(p.p0 = 1.0f, ENCODING, NONE);	/* EXP has no parameters */
	UNARY_REFUSED(p.p1 = -0.0f, ENCODING, NONE);
	ALLOWED(struct npu_cmd_map, unary, (p.kind = NPU_UNARY_CLAMP, p.p0 = -1.0f, p.p1 = 1.0f));
	UNARY_REFUSED((p.kind = NPU_UNARY_SOFTCAP, p.p1 = 1.0f), ENCODING, NONE);

	REFUSED(struct npu_cmd_map, reduce, p.kind = NPU_REDUCE_COUNT, ENCODING, NONE);
	REFUSED(struct npu_cmd_map, reduce, p.dst.ne[0] = 2, OPERAND_ILLEGAL, 0);
	REFUSED(struct npu_cmd_map, reduce, p.src.ne[2] = 1, OPERAND_ILLEGAL, 1);
	REFUSED(struct npu_cmd_map, reduce, p.dst.type = NPU_TYPE_I32, OPERAND_ILLEGAL, 0);
	REFUSED(struct npu_cmd_map, argmax, p.kind = 1, ENCODING, NONE);
	REFUSED(struct npu_cmd_map, argmax, p.dst.type = NPU_TYPE_F32, OPERAND_ILLEGAL, 0);

	ALLOWED(struct npu_cmd_map, copy, (void)p);
	assert_int_equal(plan.engine, NPU_ENGINE_COPY);
	assert_int_equal(plan.bytes_written, 2 * 34 * 6);
	REFUSED(struct npu_cmd_map, copy, p.kind = 1, ENCODING, NONE);
	REFUSED(struct npu_cmd_map, copy, p.p0 = 1.0f, ENCODING, NONE);
	REFUSED(struct npu_cmd_map, copy, p.dst = dense(0x1000, NPU_TYPE_Q4_K, 256, 3, 2, 1), OPERAND_ILLEGAL, 1);
	REFUSED(struct npu_cmd_map, copy, (p.dst = dense(0x1000, NPU_TYPE_Q4_K, 256, 3, 2, 1),
					   p.src = dense(0x2000, NPU_TYPE_F32, 256, 3, 2, 1)), OPERAND_ILLEGAL, 0);
	REFUSED(struct npu_cmd_map, copy, p.src = dense(0x2000, NPU_TYPE_I32, 64, 3, 2, 1), OPERAND_ILLEGAL, 1);
	REFUSED(struct npu_cmd_map, copy, (p.src = dense(0x2000, NPU_TYPE_Q4_0, 64, 3, 2, 1),
					   p.dst = dense(0x1000, NPU_TYPE_I32, 64, 3, 2, 1)), OPERAND_ILLEGAL, 0);
	REFUSED(struct npu_cmd_map, copy, p.src = dense(0x2000, NPU_TYPE_Q6_K, 256, 3, 2, 1), OPERAND_ILLEGAL, 1);
	ALLOWED(struct npu_cmd_map, copy, (p.src = dense(0x2000, NPU_TYPE_Q4_K, 256, 3, 2, 1),
					   p.dst = dense(0x1000, NPU_TYPE_F16, 256, 3, 2, 1)));

	REFUSED(struct npu_cmd_map, fill, p.src.nb[3] = 1, ENCODING, 1);
	REFUSED(struct npu_cmd_map, fill, p.p1 = 1.0f, ENCODING, NONE);
	REFUSED(struct npu_cmd_map, fill, p.dst = dense(0x1000, NPU_TYPE_Q8_0, 64, 3, 2, 1), OPERAND_ILLEGAL, 0);
}

static void test_binary(void **state)
{
	(void)state;
	ALLOWED(struct npu_cmd_binary, binary, (void)p);
	assert_int_equal(plan.lane_ops, 20 * 3 * 2);
	assert_int_equal(plan.bytes_read, 20 * 2 * 2 + 3 * 4);
	REFUSED(struct npu_cmd_binary, binary, p.kind = NPU_BINARY_COUNT, ENCODING, NONE);
	REFUSED(struct npu_cmd_binary, binary, p.rsvd[0] = 1, ENCODING, NONE);
	REFUSED(struct npu_cmd_binary, binary, p.a.ne[0] = 10, OPERAND_ILLEGAL, 1);
	REFUSED(struct npu_cmd_binary, binary, p.b.ne[2] = 3, OPERAND_ILLEGAL, 2);
	REFUSED(struct npu_cmd_binary, binary, p.dst.ne[0] = 1, OPERAND_ILLEGAL, 1);
	ALLOWED(struct npu_cmd_binary, glu, (void)p);
	REFUSED(struct npu_cmd_binary, glu, p.kind = NPU_GLU_COUNT, ENCODING, NONE);
	REFUSED(struct npu_cmd_binary, glu, p.a.ne[1] = 1, OPERAND_ILLEGAL, 1);
	REFUSED(struct npu_cmd_binary, glu, p.b.ne[1] = 1, OPERAND_ILLEGAL, 2);
}

static void test_topk_rows(void **state)
{
	(void)state;
	ALLOWED(struct npu_cmd_topk, topk, (void)p);
	REFUSED(struct npu_cmd_topk, topk, p.k = 0, OPERAND_ILLEGAL, NONE);
	REFUSED(struct npu_cmd_topk, topk, p.k = 1025, OPERAND_ILLEGAL, NONE);
	REFUSED(struct npu_cmd_topk, topk, p.k = 21, OPERAND_ILLEGAL, NONE);
	REFUSED(struct npu_cmd_topk, topk, p.k = 4, OPERAND_ILLEGAL, 0);
	REFUSED(struct npu_cmd_topk, topk, p.rsvd[0] = 4, ENCODING, NONE);
	REFUSED(struct npu_cmd_topk, topk, p.indices.ne[0] = 4, OPERAND_ILLEGAL, 1);
	REFUSED(struct npu_cmd_topk, topk, p.indices.ne[1] = 4, OPERAND_ILLEGAL, 1);
	REFUSED(struct npu_cmd_topk, topk, p.indices.type = NPU_TYPE_F32, OPERAND_ILLEGAL, 1);
	REFUSED(struct npu_cmd_topk, topk, p.src.ne[1] = 4, OPERAND_ILLEGAL, 2);

	ALLOWED(struct npu_cmd_rows, gather, (void)p);
	assert_int_equal(plan.bytes_read, 6 * 4 + 6 * 68);
	assert_int_equal(plan.bytes_written, 6 * 64 * 4);
	ALLOWED(struct npu_cmd_rows, gather, p.table.layout = NPU_LAYOUT_TILE16);
	REFUSED(struct npu_cmd_rows, gather, (p.table.layout = NPU_LAYOUT_TILE16, p.table.nb[1] += 2),
		OPERAND_ILLEGAL, 1);
	REFUSED(struct npu_cmd_rows, gather, p.table.ne[2] = 2, OPERAND_ILLEGAL, 1);
	REFUSED(struct npu_cmd_rows, gather, p.table = dense(0, NPU_TYPE_Q8_0, 96, 10, 1, 1), OPERAND_ILLEGAL, 1);
	REFUSED(struct npu_cmd_rows, gather, p.table = dense(0, NPU_TYPE_Q6_K, 256, 10, 1, 1), OPERAND_ILLEGAL, 1);
	REFUSED(struct npu_cmd_rows, gather, p.dst.ne[3] = 2, OPERAND_ILLEGAL, 0);
	REFUSED(struct npu_cmd_rows, gather, p.index.ne[0] = 2, OPERAND_ILLEGAL, 2);
	REFUSED(struct npu_cmd_rows, gather, p.index.ne[2] = 2, OPERAND_ILLEGAL, 2);
	REFUSED(struct npu_cmd_rows, gather, p.index.type = NPU_TYPE_F32, OPERAND_ILLEGAL, 2);
	ALLOWED(struct npu_cmd_rows, scatter, p.dst.nb[1] = 0);		/* a source may repeat */
	REFUSED(struct npu_cmd_rows, gather, p.dst.nb[1] = 0, OPERAND_ILLEGAL, 0);
	REFUSED(struct npu_cmd_rows, scatter, p.table.nb[1] = 0, OPERAND_ILLEGAL, 1);
	REFUSED(struct npu_cmd_rows, scatter, p.table.layout = NPU_LAYOUT_TILE16, OPERAND_ILLEGAL, 1);
	REFUSED(struct npu_cmd_rows, scatter, p.table = dense(0, NPU_TYPE_Q4_0, 64, 100, 1, 1), OPERAND_ILLEGAL, 1);
}

/* Work is bounded even where strides of zero make few bytes of many elements. */
static void test_bounds(void **state)
{
	(void)state;
	REFUSED(struct npu_cmd_map, reduce, (p.src = dense(0, NPU_TYPE_F32, 1u << 31, 3, 2, 1), p.src.nb[0] = 0,
					     p.src.nb[1] = 4, p.src.nb[2] = 12), BOUND, NONE);
	REFUSED(struct npu_cmd_map, reduce, (p.src = dense(0, NPU_TYPE_F32, ~0u, ~0u, ~0u, ~0u), p.dst = p.src,
					     p.dst.ne[0] = 1, memset(p.src.nb, 0, sizeof(p.src.nb)),
					     p.dst.nb[1] = 4, p.dst.nb[2] = 1ull << 36, p.dst.nb[3] = 1ull << 62),
		OPERAND_ILLEGAL, 0);
	REFUSED(struct npu_cmd_map, copy, (p.src = dense(0, NPU_TYPE_F16, 1u << 25, 1, 1, 1),
					   p.dst = dense(0, NPU_TYPE_F16, 1u << 25, 1, 1, 1)), BOUND, NONE);
	ALLOWED(struct npu_cmd_map, copy, (p.src = dense(0, NPU_TYPE_F16, 1u << 24, 1, 1, 1),
					   p.dst = dense(0, NPU_TYPE_F16, 1u << 24, 1, 1, 1)));
	REFUSED(struct npu_cmd_attention, attention, (p.q = dense(0, NPU_TYPE_F32, 32, 6, 1u << 20, 2),
						      p.dst = dense(0, NPU_TYPE_F16, 64, 6, 1u << 20, 2)), BOUND, NONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_header), cmocka_unit_test(test_tensor), cmocka_unit_test(test_zero_dimension),
		cmocka_unit_test(test_matmul), cmocka_unit_test(test_attention), cmocka_unit_test(test_norms),
		cmocka_unit_test(test_maps), cmocka_unit_test(test_binary), cmocka_unit_test(test_topk_rows),
		cmocka_unit_test(test_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
