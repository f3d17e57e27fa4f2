/* SPDX-License-Identifier: MIT */
/* MATMUL and ATTENTION: batches of the kernels on host pointers. */
#include "attn.h"
#include "matmul.h"
#include "run.h"

/* The batch that matrix @i of @n reads, of @part. */
static uint64_t group(uint64_t i, uint32_t n, uint32_t part)
{
	return i / (n / part);
}

int npu_run_matmul(const struct npu_cmd_matmul *p, struct npu_op_env *env)
{
	bool acc = p->flags & NPU_MATMUL_ACCUMULATE;
	struct npu_tensor bias;
	struct npu_operand op[] = {
		{ .t = &p->dst, .number = 0, .access = acc ? NPU_OP_READ | NPU_OP_WRITE : NPU_OP_WRITE },
		{ .t = &p->x, .number = 1, .access = NPU_OP_READ },
		{ .t = &p->w, .number = 2, .access = NPU_OP_READ, .in_pieces = true },
		npu_vector_operand(&bias, p->bias, NPU_TYPE_F32, p->dst.ne[0], NPU_OPERAND_AUX0),
	};
	struct npu_operand *dst = &op[0], *x = &op[1], *w = &op[2];
	struct npu_matmul mm = {
		.dst_type = p->dst.type, .x_type = p->x.type, .w_type = p->w.type, .w_layout = p->w.layout,
		.accumulate = acc, .m = p->dst.ne[1], .n = p->dst.ne[0], .k = p->x.ne[0],
	};
	void *scratch;
	int err;

	if (!(p->flags & NPU_MATMUL_BIAS))
		op[3].access = 0;
	err = npu_operands_map(env, op, 4, npu_matmul_scratch(&mm, env->pool, env->path), &scratch);
	if (err)
		return err;
	mm.bias = op[3].access ? (const float *)op[3].p : NULL;
	mm.dst_stride = dst->nb[1];
	mm.x_stride = x->nb[1];
	mm.w_stride = w->nb[1];
	for (uint64_t i3 = 0; i3 < p->dst.ne[3]; i3++) {
		for (uint64_t i2 = 0; i2 < p->dst.ne[2]; i2++) {
			mm.dst = dst->p + i2 * dst->nb[2] + i3 * dst->nb[3];
			mm.x = x->p + i2 * x->nb[2] + i3 * x->nb[3];
			mm.w = npu_pieces_from(&w->mem, group(i2, p->dst.ne[2], p->w.ne[2]) * w->nb[2] +
							group(i3, p->dst.ne[3], p->w.ne[3]) * w->nb[3]);
			npu_matmul_run(&mm, env->pool, env->path, scratch);
		}
	}
	return npu_operands_finish(env, op, 4);
}

int npu_run_attention(const struct npu_cmd_attention *p, struct npu_op_env *env)
{
	struct npu_operand op[] = {
		{ .t = &p->dst, .number = 0, .access = NPU_OP_WRITE },
		{ .t = &p->q, .number = 1, .access = NPU_OP_READ },
		{ .t = &p->k, .number = 2, .access = NPU_OP_READ, .in_pieces = true },
		{ .t = &p->v, .number = 3, .access = NPU_OP_READ, .in_pieces = true },
	};
	struct npu_attn at = {
		.dst_type = p->dst.type, .q_type = p->q.type, .kv_type = p->k.type,
		.causal = p->flags & NPU_ATTN_CAUSAL,
		.m = p->q.ne[2], .heads = p->q.ne[1], .groups = p->k.ne[2], .d = p->q.ne[0], .dv = p->dst.ne[0],
		.kv = p->k.ne[1], .pos = p->pos, .window = p->window, .scale = p->scale, .softcap = p->softcap,
	};
	void *scratch;
	int err = npu_operands_map(env, op, 4, npu_attn_scratch(&at, env->pool, env->path), &scratch);

	if (err)
		return err;
	at.dst_row = op[0].nb[2];
	at.dst_head = op[0].nb[1];
	at.q_row = op[1].nb[2];
	at.q_head = op[1].nb[1];
	at.k_pos = op[2].nb[1];
	at.k_group = op[2].nb[2];
	at.v_pos = op[3].nb[1];
	at.v_group = op[3].nb[2];
	for (uint64_t b = 0; b < p->q.ne[3]; b++) {
		at.dst = op[0].p + b * op[0].nb[3];
		at.q = op[1].p + b * op[1].nb[3];
		at.k = npu_pieces_from(&op[2].mem, b * op[2].nb[3]);
		at.v = npu_pieces_from(&op[3].mem, b * op[3].nb[3]);
		npu_attn_run(&at, env->pool, env->path, scratch);
	}
	return npu_operands_finish(env, op, 4);
}
