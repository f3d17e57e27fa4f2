/* SPDX-License-Identifier: MIT */
/* ROPE: rotary position embedding. */
#include <string.h>

#include "run.h"

#define PAIRS (NPU_CHUNK / 2)

struct rope {
	const struct npu_row_kernels *k;
	const struct npu_cmd_rope *p;
	const struct npu_operand *dst, *src;
	const uint64_t *step;
	const int32_t *positions;
};

struct angles {
	float c[PAIRS], s[PAIRS];
};

static void rotate_halves(const struct rope *r, uint8_t *to, const uint8_t *from, uint64_t i, uint64_t n,
			  const struct angles *a)
{
	unsigned int in_type = r->src->t->type, out_type = r->dst->t->type;
	uint64_t in_nb = r->src->nb[0], out_nb = r->dst->nb[0], half = r->p->ndims / 2;
	float in0[PAIRS], in1[PAIRS], out0[PAIRS], out1[PAIRS];
	const float *x0 = npu_row_load(r->k, in_type, from, in_nb, i, n, in0);
	const float *x1 = npu_row_load(r->k, in_type, from, in_nb, half + i, n, in1);
	float *y0 = npu_row_dest(out_type, to, out_nb, i, out0);
	float *y1 = npu_row_dest(out_type, to, out_nb, half + i, out1);

	r->k->rope_halves(x0, x1, a->c, a->s, n, y0, y1);
	npu_row_finish(r->k, out_type, to, out_nb, i, n, y0);
	npu_row_finish(r->k, out_type, to, out_nb, half + i, n, y1);
}

static void rotate_pairs(const struct rope *r, uint8_t *to, const uint8_t *from, uint64_t i, uint64_t n,
			 const struct angles *a)
{
	unsigned int in_type = r->src->t->type, out_type = r->dst->t->type;
	uint64_t in_nb = r->src->nb[0], out_nb = r->dst->nb[0];
	float in[NPU_CHUNK], out[NPU_CHUNK];
	const float *x = npu_row_load(r->k, in_type, from, in_nb, 2 * i, 2 * n, in);
	float *y = npu_row_dest(out_type, to, out_nb, 2 * i, out);

	r->k->rope_pairs(x, a->c, a->s, n, y);
	npu_row_finish(r->k, out_type, to, out_nb, 2 * i, 2 * n, y);
}

static void copy_tail(const struct rope *r, uint8_t *to, const uint8_t *from)
{
	float in[NPU_CHUNK];
	uint64_t width = r->src->t->ne[0];

	for (uint64_t i = r->p->ndims; i < width; i += NPU_CHUNK) {
		uint64_t n = width - i < NPU_CHUNK ? width - i : NPU_CHUNK;

		npu_row_store(r->k, r->dst->t->type, to, r->dst->nb[0], i, n,
			      npu_row_load(r->k, r->src->t->type, from, r->src->nb[0], i, n, in));
	}
}

/* One position: the angles are computed once and serve all heads. */
static void rope_position(const struct rope *r, uint64_t m, uint64_t b)
{
	uint64_t position = r->positions ? (uint64_t)(int64_t)r->positions[m] : r->p->pos + m;
	const uint8_t *from = r->src->p + m * r->src->nb[2] + b * r->src->nb[3];
	uint8_t *to = r->dst->p + m * r->dst->nb[2] + b * r->dst->nb[3];
	uint64_t pairs = r->p->ndims / 2, heads = r->src->t->ne[1];
	struct angles a;

	for (uint64_t i = 0; i < pairs; i += PAIRS) {
		uint64_t n = pairs - i < PAIRS ? pairs - i : PAIRS;

		r->k->rope_table(r->step + i, position, r->p->mscale, n, a.c, a.s);
		for (uint64_t h = 0; h < heads; h++) {
			if (r->p->flags & NPU_ROPE_HALVES)
				rotate_halves(r, to + h * r->dst->nb[1], from + h * r->src->nb[1], i, n, &a);
			else
				rotate_pairs(r, to + h * r->dst->nb[1], from + h * r->src->nb[1], i, n, &a);
		}
	}
	if (r->p->ndims < r->src->t->ne[0])
		for (uint64_t h = 0; h < heads; h++)
			copy_tail(r, to + h * r->dst->nb[1], from + h * r->src->nb[1]);
}

static void rope_positions(void *arg, uint64_t begin, uint64_t end, unsigned int worker)
{
	const struct rope *r = arg;
	uint64_t rows = r->src->t->ne[2];

	(void)worker;
	for (uint64_t at = begin; at < end; at++)
		rope_position(r, at % rows, at / rows);
}

int npu_run_rope(const struct npu_cmd_rope *p, struct npu_op_env *env)
{
	struct npu_tensor step, positions;
	struct npu_operand op[] = {
		{ .t = &p->dst, .number = 0, .access = NPU_OP_WRITE },
		{ .t = &p->src, .number = 1, .access = NPU_OP_READ },
		npu_vector_operand(&step, p->step, NPU_TYPE_I64, p->ndims / 2, NPU_OPERAND_AUX0),
		npu_vector_operand(&positions, p->positions, NPU_TYPE_I32, p->src.ne[2], NPU_OPERAND_AUX1),
	};
	struct rope r = { .k = npu_row_kernels(env->path), .p = p, .dst = &op[0], .src = &op[1] };
	int err;

	if (!p->ndims)
		op[2].access = 0;
	if (!p->positions)
		op[3].access = 0;
	err = npu_operands_map(env, op, 4, 0, NULL);
	if (err)
		return err;
	r.step = (const uint64_t *)op[2].p;
	r.positions = p->positions ? (const int32_t *)op[3].p : NULL;
	npu_pool_for(env->pool, (uint64_t)p->src.ne[2] * p->src.ne[3],
		     npu_row_grain((uint64_t)p->src.ne[0] * p->src.ne[1]), rope_positions, &r);
	return npu_operands_finish(env, op, 4);
}
