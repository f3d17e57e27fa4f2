/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * OpenNPU command stream encoding.
 *
 * A stream is a sequence of packets, each 16-byte aligned and a multiple of 16
 * bytes long, little endian. A packet is a fixed structure (struct npu_cmd_*),
 * whose first member is struct npu_cmd, followed by cmd.nregops register
 * operands (struct npu_regop). Reserved bytes must be zero.
 *
 * The normative text is Documentation/hardware/.
 */
#ifndef NPU_ISA_H
#define NPU_ISA_H

#ifdef __KERNEL__
#include <linux/types.h>
#include <linux/build_bug.h>
#else
#include <stdint.h>
#include <stddef.h>
#endif

#define NPU_PACKET_ALIGN	16u
#define NPU_PACKET_MAX		1024u	/* bytes, register operands included */
#define NPU_SCALARS		32u	/* scalar registers r0..r31, 64 bits */
#define NPU_TOKENS		32u	/* scoreboard tokens */
#define NPU_NO_TOKEN		0xffu
#define NPU_NO_REG		0xffu
#define NPU_DIMS		4u

/* ---- Opcodes --------------------------------------------------------------- */

enum npu_opcode {
	/* Control: run by the command processor, in order. */
	NPU_CMD_NOP		= 0x00,
	NPU_CMD_END		= 0x01,	/* the job is complete when all its commands have retired */
	NPU_CMD_BARRIER		= 0x02,	/* wait until every older command of the job has retired */
	NPU_CMD_SET		= 0x03,	/* rd = imm */
	NPU_CMD_ALU		= 0x04,	/* rd = ra OP (rb or imm) */
	NPU_CMD_LOAD		= 0x05,	/* rd = memory */
	NPU_CMD_STORE		= 0x06,	/* memory = rs */
	NPU_CMD_BRANCH		= 0x07,	/* if (ra COND rb-or-imm) pc += offset */
	NPU_CMD_LOOP		= 0x08,	/* rd -= 1; if (rd != 0) pc += offset */
	NPU_CMD_SEM_SIGNAL	= 0x09,	/* USER queues: memory u64 = max(memory, value), then a device signal */
	NPU_CMD_SEM_WAIT	= 0x0a,	/* USER queues: block until memory u64 >= value */
	NPU_CMD_TIMESTAMP	= 0x0b,	/* write struct npu_timestamp */
	NPU_CMD_PROGRESS	= 0x0c,	/* QC_PROGRESS = value; optionally IRQ_EVENT */
	NPU_CMD_TRAP		= 0x0d,	/* fault NPU_FAULT_TRAP with a code */

	/* Tensor operations: capability bit (opcode - NPU_OP_FIRST). */
	NPU_OP_FIRST		= 0x20,
	NPU_OP_MATMUL		= 0x20,	/* MATRIX */
	NPU_OP_ATTENTION	= 0x21,	/* MATRIX */
	NPU_OP_RMS_NORM		= 0x22,	/* VECTOR, as all without a note */
	NPU_OP_LAYER_NORM	= 0x23,
	NPU_OP_ROPE		= 0x24,
	NPU_OP_SOFTMAX		= 0x25,
	NPU_OP_GLU		= 0x26,
	NPU_OP_UNARY		= 0x27,
	NPU_OP_BINARY		= 0x28,
	NPU_OP_REDUCE		= 0x29,
	NPU_OP_ARGMAX		= 0x2a,
	NPU_OP_TOPK		= 0x2b,
	NPU_OP_COPY		= 0x2c,	/* COPY: convert, transpose, quantise */
	NPU_OP_GATHER		= 0x2d,	/* COPY */
	NPU_OP_SCATTER		= 0x2e,	/* COPY */
	NPU_OP_FILL		= 0x2f,	/* COPY */
	/* Optional, encodings reserved. */
	NPU_OP_GROUP_NORM	= 0x30,
	NPU_OP_CONV1D		= 0x31,
	NPU_OP_CONV2D		= 0x32,
	NPU_OP_DEPTHWISE	= 0x33,
	NPU_OP_POOL		= 0x34,
	NPU_OP_UPSAMPLE		= 0x35,
	NPU_OP_SELECTIVE_SCAN	= 0x36,
	NPU_OP_RETENTION	= 0x37,
	NPU_OP_RWKV		= 0x38,
	/* Optional, defined. */
	NPU_OP_MATMUL_GLU	= 0x39,	/* MATRIX: gated unit of two products */
	NPU_OP_LAST		= 0x5f,
};

#define NPU_OP_BIT(op)		((op) - NPU_OP_FIRST)

/* Element types: GGUF's numbers; A8 and A8_K have numbers that GGUF has retired. */
enum npu_type {
	NPU_TYPE_F32	= 0,
	NPU_TYPE_F16	= 1,
	NPU_TYPE_Q4_0	= 2,
	NPU_TYPE_A8	= 4,	/* activations as MATMUL quantises them for Q8_0 and Q4_0: F32 scale, 32 int8 */
	NPU_TYPE_A8_K	= 5,	/* ... for Q4_K and Q6_K: F32 scale, 256 int8 */
	NPU_TYPE_Q8_0	= 8,
	NPU_TYPE_Q4_K	= 12,
	NPU_TYPE_Q6_K	= 14,
	NPU_TYPE_I8	= 24,
	NPU_TYPE_I16	= 25,
	NPU_TYPE_I32	= 26,
	NPU_TYPE_I64	= 27,
	NPU_TYPE_BF16	= 30,
};

enum npu_layout {
	NPU_LAYOUT_ROWS		= 0,	/* GGUF rows */
	NPU_LAYOUT_TILE16	= 1,	/* 16-row tiles, weights of MATMUL and tables of GATHER only */
};

/* ---- Common parts ----------------------------------------------------------- */

/* First member of every packet. */
struct npu_cmd {
	uint16_t opcode;
	uint8_t len;		/* whole packet in 16-byte units, register operands included */
	uint8_t nregops;	/* struct npu_regop at the end of the packet */
	uint32_t wait;		/* tokens that must be zero before this command is issued */
	uint8_t signal;		/* token counted up at issue and down at retirement, or NPU_NO_TOKEN */
	uint8_t rsvd[3];
	uint32_t tag;		/* opaque; repeated in a fault record */
};

/*
 * Register operand: adds registers to a field of the packet before the packet
 * is checked and run (the stream in memory is not changed):
 *     field = field + R[ra] * sa + R[rb] * sb   (modulo 2^64)
 * With NPU_REGOP_MAX, rb is NPU_NO_REG and sb is an upper limit of the result:
 * more is NPU_FAULT_OPERAND_ILLEGAL. A 32-bit field that does not fit in 32
 * bits unsigned is NPU_FAULT_OPERAND_ILLEGAL, too.
 */
struct npu_regop {
	uint16_t field;		/* NPU_REGOP_*: byte offset of the field in the packet, and its size */
	uint8_t ra;		/* register, or NPU_NO_REG for none */
	uint8_t rb;
	int32_t sa;
	int64_t sb;
};

#define NPU_REGOP_OFFSET(f)	((f) & 0x3ffu)	/* multiple of the field's size, not in struct npu_cmd */
#define NPU_REGOP_64		(1u << 15)	/* the field has 64 bits, else 32 */
#define NPU_REGOP_MAX		(1u << 14)

/*
 * Tensor operand. Dimension 0 is the innermost. Strides are in bytes; nb[0] is
 * the distance of neighbouring elements (of blocks, for block types: then it is
 * the block size). ne[i] == 1 ignores nb[i]. A zero in ne makes the command do
 * nothing. Alignment: addr and nb multiples of the element size (of 2 for block
 * types).
 */
struct npu_tensor {
	uint64_t addr;
	uint32_t ne[NPU_DIMS];
	uint64_t nb[NPU_DIMS];
	uint8_t type;		/* enum npu_type */
	uint8_t layout;		/* enum npu_layout */
	uint8_t hint;		/* NPU_HINT_*: on-chip memory; never changes a result that may be read */
	uint8_t rsvd[5];	/* zero; a page-table operand is reserved here */
};

/*
 * Hints. A device may ignore KEEP and LOCAL. What DROP names must not be read
 * again before it is written: its bytes are unspecified then.
 */
#define NPU_HINT_KEEP	(1u << 0)	/* the bytes stay in on-chip memory as far as there is room */
#define NPU_HINT_LOCAL	(1u << 1)	/* destination, with KEEP: written to memory only if it must leave */
#define NPU_HINT_DROP	(1u << 2)	/* source: this is the last use; needs no place and no writing back */

/* ---- Control ---------------------------------------------------------------- */

enum npu_alu_op {
	NPU_ALU_ADD, NPU_ALU_SUB, NPU_ALU_MUL, NPU_ALU_AND, NPU_ALU_OR, NPU_ALU_XOR,
	NPU_ALU_SHL, NPU_ALU_SHR,	/* shift count modulo 64, logical */
	NPU_ALU_MIN, NPU_ALU_MAX,	/* unsigned */
	NPU_ALU_UDIV, NPU_ALU_UMOD,	/* by zero: all ones; the dividend */
	NPU_ALU_COUNT
};

enum npu_cond {
	NPU_COND_ALWAYS, NPU_COND_EQ, NPU_COND_NE,
	NPU_COND_LTU, NPU_COND_GEU,	/* unsigned */
	NPU_COND_LT, NPU_COND_GE,	/* signed */
	NPU_COND_COUNT
};

struct npu_cmd_set {
	struct npu_cmd cmd;
	uint8_t rd;
	uint8_t rsvd[7];
	uint64_t imm;
};

struct npu_cmd_alu {
	struct npu_cmd cmd;
	uint8_t op;		/* enum npu_alu_op */
	uint8_t rd, ra, rb;	/* rb == NPU_NO_REG: imm is the second operand */
	uint8_t rsvd[4];
	uint64_t imm;
};

/* LOAD and STORE: size bytes at addr, zero- or sign-extended, naturally aligned. */
struct npu_cmd_mem {
	struct npu_cmd cmd;
	uint8_t reg;
	uint8_t size;		/* 4 or 8 */
	uint8_t flags;		/* NPU_MEM_* */
	uint8_t rsvd[5];
	uint64_t addr;
};

#define NPU_MEM_SIGNED		(1u << 0)	/* LOAD of 4 bytes: sign-extend */

struct npu_cmd_branch {
	struct npu_cmd cmd;
	uint8_t cond;		/* enum npu_cond; LOOP: 0 */
	uint8_t ra, rb;		/* rb == NPU_NO_REG: imm. LOOP: ra is the counter, rb NPU_NO_REG */
	uint8_t rsvd;
	int32_t offset;		/* bytes from this packet to the target, multiple of 16 */
	uint64_t imm;		/* LOOP: 0 */
};

struct npu_cmd_sem {
	struct npu_cmd cmd;
	uint64_t addr;		/* 8-byte aligned */
	uint64_t value;
};

/* TIMESTAMP waits for older commands named in wait, then writes this. */
struct npu_timestamp {
	uint64_t timer;		/* TIMER */
	uint64_t cycles;	/* core cycles of device time of this queue */
	uint64_t commands;	/* retired by this queue */
	uint64_t rsvd;
};

struct npu_cmd_timestamp {
	struct npu_cmd cmd;
	uint64_t addr;		/* 8-byte aligned */
	uint64_t rsvd;
};

struct npu_cmd_progress {
	struct npu_cmd cmd;
	uint64_t value;		/* usually 0 plus a register */
	uint32_t flags;		/* NPU_PROGRESS_* */
	uint32_t rsvd;
};

#define NPU_PROGRESS_IRQ	(1u << 0)	/* set IRQ_EVENT of the queue */

struct npu_cmd_trap {
	struct npu_cmd cmd;
	uint64_t code;
	uint64_t rsvd;
};

/* ---- Tensor operations -------------------------------------------------------- */

/*
 * MATMUL: dst[m][n] = sum_k x[m][k] * w[n][k] (+ bias[n]) (+ old dst[m][n])
 *   dst ne {N, M, B2, B3}  F32 or F16
 *   x   ne {K, M, B2, B3}  F32 or F16; A8 with Q8_0 and Q4_0 weights, A8_K with Q4_K and Q6_K
 *   w   ne {K, N, b2, b3}  F32 F16 BF16 Q8_0 Q4_0 Q4_K Q6_K; b2 divides B2, b3 divides B3 (grouped)
 *   bias F32[N], contiguous
 */
struct npu_cmd_matmul {
	struct npu_cmd cmd;
	uint32_t flags;		/* NPU_MATMUL_* */
	uint32_t rsvd;
	uint64_t bias;		/* address, with NPU_MATMUL_BIAS; else 0 */
	struct npu_tensor dst, x, w;
};

#define NPU_MATMUL_BIAS		(1u << 0)
#define NPU_MATMUL_ACCUMULATE	(1u << 1)	/* dst F32 only */

/*
 * MATMUL_GLU: dst[m][n] = act(sum_k x[m][k] * gate[n][k]) * (sum_k x[m][k] * up[n][k])
 *   dst ne {N, M, B2, B3}  F32, F16; A8, A8_K
 *   x   as in MATMUL; gate, up: as w in MATMUL, of the same type, layout and extents
 * Each sum is rounded as MATMUL stores F32; act and the product are those of GLU.
 */
struct npu_cmd_matmul_glu {
	struct npu_cmd cmd;
	uint32_t kind;		/* enum npu_glu_kind */
	uint32_t rsvd[3];
	struct npu_tensor dst, x, gate, up;
};

/*
 * ATTENTION: for head h (of H) and query row m at position pos + m:
 *   dst[m][h][:] = sum_j softmax_j(cap(scale * q[m][h] . k[h / (H / G)][j])) v[h / (H / G)][j]
 *   over key positions j in [0, KV): causal j <= pos + m, window j > pos + m - window.
 *   dst ne {Dv, H, M, B}   F32, F16, A8 or A8_K
 *   q   ne {D,  H, M, B}   F32 or F16
 *   k   ne {D, KV, G, B}   F32 F16 Q8_0; G divides H
 *   v   ne {Dv, KV, G, B}  same type as k
 */
struct npu_cmd_attention {
	struct npu_cmd cmd;
	uint32_t flags;		/* NPU_ATTN_* */
	uint32_t pos;		/* position of query row 0 */
	uint32_t window;	/* keys seen, own position included; 0 = all */
	float scale;
	float softcap;		/* cap(s) = softcap * tanh(s / softcap); 0 = none */
	uint32_t rsvd[3];
	struct npu_tensor dst, q, k, v;
};

#define NPU_ATTN_CAUSAL		(1u << 0)

/* RMS_NORM, LAYER_NORM: rows of src along dimension 0; weight and bias F32[ne0], address 0 = none. */
struct npu_cmd_norm {
	struct npu_cmd cmd;
	uint64_t weight;
	uint64_t bias;		/* LAYER_NORM only */
	float eps;
	uint32_t rsvd[3];
	struct npu_tensor dst, src;	/* F32 or F16; dst also A8, A8_K */
};

/*
 * ROPE: src, dst ne {D, H, M, B}. Row m is at position pos + m, or positions[m]
 * (I32) where that address is not 0. The angle of pair i is
 *     position * step[i]  in units of 2^-64 turns, modulo one turn (exact),
 * step: ndims / 2 unsigned 64-bit values, into which the client folds base,
 * frequency scaling and factors. Pairs: (2i, 2i + 1), or with NPU_ROPE_HALVES
 * (i, i + ndims / 2). Elements from ndims on are copied. Both results are
 * multiplied by mscale.
 */
struct npu_cmd_rope {
	struct npu_cmd cmd;
	uint32_t flags;		/* NPU_ROPE_* */
	uint32_t ndims;		/* even, <= D */
	uint32_t pos;
	float mscale;
	uint64_t step;		/* address, 8-byte aligned */
	uint64_t positions;	/* address, or 0 */
	struct npu_tensor dst, src;	/* F32 or F16 */
};

#define NPU_ROPE_HALVES		(1u << 0)

/* SOFTMAX along dimension 0 of scale * src (+ mask, broadcast in dimensions 1..3). */
struct npu_cmd_softmax {
	struct npu_cmd cmd;
	uint32_t flags;		/* NPU_SOFTMAX_* */
	float scale;
	uint32_t rsvd[2];
	struct npu_tensor dst, src, mask;	/* F32 or F16; without MASK, mask is all zero bytes */
};

#define NPU_SOFTMAX_MASK	(1u << 0)

enum npu_glu_kind {
	NPU_GLU_SWIGLU,		/* silu(a) * b */
	NPU_GLU_GEGLU,		/* gelu(a) * b, erf */
	NPU_GLU_GEGLU_TANH,	/* gelu(a) * b, tanh approximation */
	NPU_GLU_REGLU,		/* relu(a) * b */
	NPU_GLU_SIGLU,		/* sigmoid(a) * b */
	NPU_GLU_COUNT
};

enum npu_unary_kind {	/* p0, p1: parameters of the packet */
	NPU_UNARY_SCALE,	/* fma(x, p0, p1) */
	NPU_UNARY_CLAMP,	/* min(max(x, p0), p1) */
	NPU_UNARY_NEG, NPU_UNARY_ABS, NPU_UNARY_SQUARE, NPU_UNARY_SQRT, NPU_UNARY_RSQRT,
	NPU_UNARY_RECIP, NPU_UNARY_EXP, NPU_UNARY_LOG, NPU_UNARY_SIN, NPU_UNARY_COS,
	NPU_UNARY_TANH, NPU_UNARY_ERF, NPU_UNARY_SIGMOID, NPU_UNARY_SILU, NPU_UNARY_GELU,
	NPU_UNARY_GELU_TANH, NPU_UNARY_RELU,
	NPU_UNARY_LEAKY_RELU,	/* x < 0 ? p0 * x : x */
	NPU_UNARY_SOFTCAP,	/* p0 * tanh(x / p0) */
	NPU_UNARY_COUNT
};

enum npu_binary_kind {
	NPU_BINARY_ADD, NPU_BINARY_SUB, NPU_BINARY_MUL, NPU_BINARY_DIV, NPU_BINARY_MIN, NPU_BINARY_MAX,
	NPU_BINARY_COUNT
};

enum npu_reduce_kind {
	NPU_REDUCE_SUM, NPU_REDUCE_MEAN, NPU_REDUCE_SUMSQ, NPU_REDUCE_MAX, NPU_REDUCE_MIN,
	NPU_REDUCE_COUNT
};

/* UNARY, REDUCE (dst ne0 = 1), ARGMAX (dst I32, ne0 = 1), COPY, FILL (src all zero bytes; value p0). */
struct npu_cmd_map {
	struct npu_cmd cmd;
	uint32_t kind;		/* enum of the operation; 0 where there is none */
	float p0, p1;
	uint32_t rsvd;
	struct npu_tensor dst, src;
};

/* BINARY, GLU: each dimension of a and b is dst's or 1 (broadcast; GLU: no broadcast). F32 or F16; dst of GLU also A8, A8_K. */
struct npu_cmd_binary {
	struct npu_cmd cmd;
	uint32_t kind;
	uint32_t rsvd[3];
	struct npu_tensor dst, a, b;
};

/* TOPK: the k largest along dimension 0, descending, ties by lower index. values ne {k, ...}, indices I32 ne {k, ...}. */
struct npu_cmd_topk {
	struct npu_cmd cmd;
	uint32_t k;		/* 1..1024, <= ne0 of src */
	uint32_t rsvd[3];
	struct npu_tensor values, indices, src;
};

/*
 * GATHER: dst row i = table row index[i]; dst ne {C, R, B, 1}, table ne {C, T, 1, 1}, index ne {R, B, 1, 1} I32.
 * SCATTER: table row index[i] = src row i (dst names src here), rows in ascending order.
 * An index outside [0, T) is NPU_FAULT_OPERAND_ILLEGAL; SCATTER skips index -1.
 * Types: table any type of enum npu_type up to BF16 that can be converted (GATHER), F32 F16 Q8_0 (SCATTER); dst F32 or F16.
 */
struct npu_cmd_rows {
	struct npu_cmd cmd;
	struct npu_tensor dst, table, index;
};

/* ---- Layout checks ------------------------------------------------------------ */

#ifdef __cplusplus
#define NPU_ISA_ASSERT(e) static_assert(e, #e)
#elif defined(__KERNEL__)
#define NPU_ISA_ASSERT(e) static_assert(e)
#else
#define NPU_ISA_ASSERT(e) _Static_assert(e, #e)
#endif

NPU_ISA_ASSERT(sizeof(struct npu_cmd) == 16);
NPU_ISA_ASSERT(sizeof(struct npu_regop) == 16);
NPU_ISA_ASSERT(sizeof(struct npu_tensor) == 64);
NPU_ISA_ASSERT(sizeof(struct npu_cmd_set) == 32);
NPU_ISA_ASSERT(sizeof(struct npu_cmd_alu) == 32);
NPU_ISA_ASSERT(sizeof(struct npu_cmd_mem) == 32);
NPU_ISA_ASSERT(sizeof(struct npu_cmd_branch) == 32);
NPU_ISA_ASSERT(sizeof(struct npu_cmd_sem) == 32);
NPU_ISA_ASSERT(sizeof(struct npu_timestamp) == 32);
NPU_ISA_ASSERT(sizeof(struct npu_cmd_timestamp) == 32);
NPU_ISA_ASSERT(sizeof(struct npu_cmd_progress) == 32);
NPU_ISA_ASSERT(sizeof(struct npu_cmd_trap) == 32);
NPU_ISA_ASSERT(sizeof(struct npu_cmd_matmul) == 224);
NPU_ISA_ASSERT(sizeof(struct npu_cmd_matmul_glu) == 288);
NPU_ISA_ASSERT(sizeof(struct npu_cmd_attention) == 304);
NPU_ISA_ASSERT(sizeof(struct npu_cmd_norm) == 176);
NPU_ISA_ASSERT(sizeof(struct npu_cmd_rope) == 176);
NPU_ISA_ASSERT(sizeof(struct npu_cmd_softmax) == 224);
NPU_ISA_ASSERT(sizeof(struct npu_cmd_map) == 160);
NPU_ISA_ASSERT(sizeof(struct npu_cmd_binary) == 224);
NPU_ISA_ASSERT(sizeof(struct npu_cmd_topk) == 224);
NPU_ISA_ASSERT(sizeof(struct npu_cmd_rows) == 208);
NPU_ISA_ASSERT(offsetof(struct npu_tensor, nb) == 24);
NPU_ISA_ASSERT(offsetof(struct npu_tensor, type) == 56);
NPU_ISA_ASSERT(offsetof(struct npu_tensor, hint) == 58);
NPU_ISA_ASSERT(offsetof(struct npu_cmd_matmul, dst) == 32);
NPU_ISA_ASSERT(offsetof(struct npu_cmd_matmul_glu, dst) == 32);
NPU_ISA_ASSERT(offsetof(struct npu_cmd_attention, dst) == 48);

#endif /* NPU_ISA_H */
