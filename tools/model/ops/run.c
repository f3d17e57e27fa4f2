/* SPDX-License-Identifier: MIT */
/* Running a tensor packet that npu_op_plan() found legal. */
#include <string.h>

#include "fpenv.h"
#include "mathfn.h"
#include "run.h"

static float load_element(unsigned int type, const uint8_t *p)
{
	union {
		float f;
		uint16_t h;
		int8_t i8;
		int16_t i16;
		int32_t i32;
		int64_t i64;
	} u;

	memcpy(&u, p, npu_type_block_bytes(type));
	switch (type) {
	case NPU_TYPE_F16:
		return npu_f16_to_f32(u.h);
	case NPU_TYPE_BF16:
		return npu_bf16_to_f32(u.h);
	case NPU_TYPE_I8:
		return u.i8;
	case NPU_TYPE_I16:
		return u.i16;
	case NPU_TYPE_I32:
		return (float)u.i32;
	case NPU_TYPE_I64:
		return (float)u.i64;
	default:
		return u.f;
	}
}

static bool is_float(unsigned int type)
{
	return type == NPU_TYPE_F32 || type == NPU_TYPE_F16 || type == NPU_TYPE_BF16;
}

const float *npu_row_load(const struct npu_row_kernels *k, unsigned int type, const uint8_t *row, uint64_t nb0,
			  uint64_t i0, uint64_t n, float *buf)
{
	uint32_t size = npu_type_block_bytes(type), len = npu_type_block_len(type);

	if (nb0 == size && (len > 1 || is_float(type))) {
		const uint8_t *p = row + i0 / len * size;

		if (type == NPU_TYPE_F32)
			return (const float *)p;
		k->widen(type, p, n, buf);
	} else if (type == NPU_TYPE_F32) {
		for (uint64_t i = 0; i < n; i++)
			memcpy(&buf[i], row + (i0 + i) * nb0, sizeof(float));
	} else {
		for (uint64_t i = 0; i < n; i++)
			buf[i] = load_element(type, row + (i0 + i) * nb0);
	}
	return buf;
}

float *npu_row_dest(unsigned int type, uint8_t *row, uint64_t nb0, uint64_t i0, float *buf)
{
	return type == NPU_TYPE_F32 && nb0 == sizeof(float) ? (float *)(row + i0 * sizeof(float)) : buf;
}

void npu_row_store(const struct npu_row_kernels *k, unsigned int type, uint8_t *row, uint64_t nb0, uint64_t i0,
		   uint64_t n, const float *x)
{
	uint32_t size = npu_type_block_bytes(type), len = npu_type_block_len(type);
	uint64_t tmp[NPU_CHUNK * sizeof(float) / sizeof(uint64_t)];
	const uint8_t *t = (const uint8_t *)tmp;

	if (nb0 == size) {
		k->narrow(type, x, n, row + i0 / len * size);
		return;
	}
	k->narrow(type, x, n, tmp);
	for (uint64_t i = 0; i < n; i++)
		memcpy(row + (i0 + i) * nb0, t + i * size, size);
}

void npu_row_finish(const struct npu_row_kernels *k, unsigned int type, uint8_t *row, uint64_t nb0, uint64_t i0,
		    uint64_t n, const float *y)
{
	if (npu_row_dest(type, row, nb0, i0, NULL) != y)
		npu_row_store(k, type, row, nb0, i0, n, y);
}

uint8_t *npu_row_at(const struct npu_operand *op, const uint32_t *ne, uint64_t r)
{
	uint64_t i1 = r % ne[1], i2 = r / ne[1];

	return op->p + i1 * op->nb[1] + i2 % ne[2] * op->nb[2] + i2 / ne[2] * op->nb[3];
}

void npu_broadcast(struct npu_operand *op, const uint32_t *ne)
{
	for (unsigned int i = 0; i < NPU_DIMS; i++)
		if (op->t->ne[i] == 1 && ne[i] != 1)
			op->nb[i] = 0;
}

struct npu_operand npu_vector_operand(struct npu_tensor *tensor, uint64_t addr, unsigned int type, uint32_t n,
				      unsigned int number)
{
	*tensor = (struct npu_tensor){
		.addr = addr,
		.ne = { n, 1, 1, 1 },
		.nb = { npu_type_block_bytes(type) },
		.type = (uint8_t)type,
	};
	return (struct npu_operand){ .t = tensor, .number = number, .access = NPU_OP_READ };
}

static const struct npu_tensor *tensors_of(const void *packet, unsigned int *n)
{
	const struct npu_cmd *cmd = packet;

	*n = 2;
	switch (cmd->opcode) {
	case NPU_OP_MATMUL:
		*n = 3;
		return &((const struct npu_cmd_matmul *)packet)->dst;
	case NPU_OP_MATMUL_GLU:
		*n = 4;
		return &((const struct npu_cmd_matmul_glu *)packet)->dst;
	case NPU_OP_ATTENTION:
		*n = 4;
		return &((const struct npu_cmd_attention *)packet)->dst;
	case NPU_OP_RMS_NORM:
	case NPU_OP_LAYER_NORM:
		return &((const struct npu_cmd_norm *)packet)->dst;
	case NPU_OP_ROPE:
		return &((const struct npu_cmd_rope *)packet)->dst;
	case NPU_OP_SOFTMAX:
		*n = ((const struct npu_cmd_softmax *)packet)->flags & NPU_SOFTMAX_MASK ? 3 : 2;
		return &((const struct npu_cmd_softmax *)packet)->dst;
	case NPU_OP_GLU:
	case NPU_OP_BINARY:
		*n = 3;
		return &((const struct npu_cmd_binary *)packet)->dst;
	case NPU_OP_TOPK:
		*n = 3;
		return &((const struct npu_cmd_topk *)packet)->values;
	case NPU_OP_GATHER:
	case NPU_OP_SCATTER:
		*n = 3;
		return &((const struct npu_cmd_rows *)packet)->dst;
	case NPU_OP_FILL:
		*n = 1;
		return &((const struct npu_cmd_map *)packet)->dst;
	default:
		return &((const struct npu_cmd_map *)packet)->dst;
	}
}

/* Caches and tables are accessed in part. */
static unsigned int whole_operands(const struct npu_cmd *cmd, unsigned int n)
{
	if (cmd->opcode == NPU_OP_ATTENTION)
		return 2;
	return cmd->opcode == NPU_OP_GATHER || cmd->opcode == NPU_OP_SCATTER ? 1 : n;
}

unsigned int npu_op_operands(const void *packet, struct npu_op_operand out[NPU_OP_TENSORS])
{
	const struct npu_cmd *cmd = packet;
	const struct npu_cmd_matmul *mm = packet;
	unsigned int n;
	const struct npu_tensor *t = tensors_of(packet, &n);

	n = whole_operands(cmd, n);
	for (unsigned int i = 0; i < n; i++)
		out[i] = (struct npu_op_operand){ &t[i], i ? NPU_OP_READ : NPU_OP_WRITE };
	if (cmd->opcode == NPU_OP_TOPK)
		out[1].access = NPU_OP_WRITE;
	if (cmd->opcode == NPU_OP_SCATTER)
		out[0].access = NPU_OP_READ;
	if (cmd->opcode == NPU_OP_MATMUL && (mm->flags & NPU_MATMUL_ACCUMULATE))
		out[0].access |= NPU_OP_READ;
	return n;
}

static bool is_empty(const void *packet)
{
	unsigned int n;
	const struct npu_tensor *t = tensors_of(packet, &n);

	for (unsigned int i = 0; i < n; i++)
		for (unsigned int d = 0; d < NPU_DIMS; d++)
			if (!t[i].ne[d])
				return true;
	return false;
}

static int run(const void *packet, struct npu_op_env *env)
{
	const struct npu_cmd *cmd = packet;

	switch (cmd->opcode) {
	case NPU_OP_MATMUL:
		return npu_run_matmul(packet, env);
	case NPU_OP_MATMUL_GLU:
		return npu_run_matmul_glu(packet, env);
	case NPU_OP_ATTENTION:
		return npu_run_attention(packet, env);
	case NPU_OP_RMS_NORM:
	case NPU_OP_LAYER_NORM:
		return npu_run_norm(packet, env);
	case NPU_OP_ROPE:
		return npu_run_rope(packet, env);
	case NPU_OP_SOFTMAX:
		return npu_run_softmax(packet, env);
	case NPU_OP_GLU:
	case NPU_OP_BINARY:
		return npu_run_binary(packet, env);
	case NPU_OP_UNARY:
		return npu_run_unary(packet, env);
	case NPU_OP_REDUCE:
	case NPU_OP_ARGMAX:
		return npu_run_reduce(packet, env);
	case NPU_OP_TOPK:
		return npu_run_topk(packet, env);
	case NPU_OP_COPY:
		return npu_run_copy(packet, env);
	case NPU_OP_GATHER:
		return npu_run_gather(packet, env);
	case NPU_OP_SCATTER:
		return npu_run_scatter(packet, env);
	case NPU_OP_FILL:
		return npu_run_fill(packet, env);
	}
	return env->illegal(env, NPU_OPERAND_NONE, 0);	/* npu_op_plan() lets no other opcode pass */
}

int npu_op_run(const void *packet, struct npu_op_env *env)
{
	npu_fpenv caller;
	int r;

	if (is_empty(packet))
		return 0;
	caller = npu_fpenv_enter();
	r = run(packet, env);
	npu_fpenv_leave(caller);
	return r;
}
