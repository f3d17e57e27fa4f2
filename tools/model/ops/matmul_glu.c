/* SPDX-License-Identifier: MIT */
/*
 * MATMUL_GLU: parts of both products go to scratch that stays in the CPU's
 * cache, and from there through the gated unit into the result. The parts of one
 * row of a result do not depend on how they are cut.
 */
#include <string.h>

#include "matmul.h"
#include "run.h"

#define PART_ROWS	512u		/* the rows that npu_matmul_run() packs at a time */
#define PART_ELEMENTS	(512u << 10)	/* of each product; a multiple of 256 whatever the rows */

struct part {
	const struct npu_row_kernels *k;
	unsigned int kind, type;
	const float *gate, *up;
	uint64_t stride;	/* elements between rows of gate and up */
	uint32_t columns;
	uint8_t *dst;		/* of the part's first element */
	uint64_t dst_stride;
};

static void glu_row(const struct part *p, const float *a, const float *b, uint8_t *row)
{
	uint64_t size = npu_type_block_bytes(p->type);
	float buf[NPU_CHUNK];

	for (uint64_t i = 0; i < p->columns; i += NPU_CHUNK) {
		uint64_t n = p->columns - i < NPU_CHUNK ? p->columns - i : NPU_CHUNK;
		float *y = npu_row_dest(p->type, row, size, i, buf);

		p->k->glu(p->kind, a + i, b + i, n, y);
		npu_row_finish(p->k, p->type, row, size, i, n, y);
	}
}

static void glu_rows(void *arg, uint64_t begin, uint64_t end, unsigned int worker)
{
	const struct part *p = arg;

	(void)worker;
	for (uint64_t m = begin; m < end; m++)
		glu_row(p, p->gate + m * p->stride, p->up + m * p->stride, p->dst + m * p->dst_stride);
}

static void glu_pairs(void *arg, const struct npu_mm_pairs *q)
{
	const struct part *p = arg;
	uint64_t len = npu_type_block_len(p->type), size = npu_type_block_bytes(p->type), run = q->rows / len * size;
	_Alignas(64) float y[NPU_MM_PAIR_ROWS];
	_Alignas(64) uint8_t out[NPU_MM_PAIR_ROWS * sizeof(float)];

	p->k->glu(p->kind, q->a, q->b, q->items * q->rows, y);
	p->k->narrow(p->type, y, q->items * q->rows, out);
	for (uint32_t i = 0; i < q->items; i++) {
		uint64_t left = (p->columns - q->first[i]) / len * size;

		memcpy(p->dst + q->first[i] / len * size, out + i * run, left < run ? left : run);
	}
}

/* One matrix: where gate and up lie one after the other, a part that has all columns is one product. */
struct pair {
	struct npu_matmul mm;	/* of the gate; dst is scratch */
	struct npu_pieces gate, up;
	uint64_t gate_row, up_row;	/* bytes */
	uint32_t rows, columns;	/* of a part, at most */
	bool joined;
	struct part part;
	uint8_t *dst;
	const uint8_t *x;
	float *products;
	void *scratch;
};

static void run_part(struct pair *p, uint32_t m, uint32_t n, struct npu_op_env *env)
{
	struct npu_matmul *mm = &p->mm;
	uint32_t left = mm->n - n, columns = left < p->columns ? left : p->columns, all = mm->n;
	bool joined = p->joined && columns == mm->n;
	struct part *part = &p->part;

	mm->x = p->x + m * mm->x_stride;
	mm->dst = p->products;
	mm->dst_stride = (joined ? 2 : 1) * sizeof(float) * columns;
	mm->w = npu_pieces_from(&p->gate, n * p->gate_row);
	mm->w_stride = p->gate_row;
	mm->n = joined ? 2 * columns : columns;
	npu_matmul_run(mm, env->pool, env->path, p->scratch);
	part->gate = p->products;
	part->up = joined ? p->products + columns : p->products + (uint64_t)mm->m * columns;
	part->stride = mm->dst_stride / sizeof(float);
	if (!joined) {
		mm->dst = p->products + (uint64_t)mm->m * columns;
		mm->w = npu_pieces_from(&p->up, n * p->up_row);
		mm->w_stride = p->up_row;
		npu_matmul_run(mm, env->pool, env->path, p->scratch);
	}
	mm->n = all;
	part->columns = columns;
	part->dst = p->dst + m * part->dst_stride +
		    (uint64_t)(n / npu_type_block_len(part->type)) * npu_type_block_bytes(part->type);
	npu_pool_for(env->pool, mm->m, npu_row_grain(columns), glu_rows, part);
}

/* One row: each thread turns the products that it made into results while they are in its cache. */
static void run_row(struct pair *p, struct npu_op_env *env)
{
	struct npu_matmul mm = p->mm;

	mm.x = p->x;
	mm.dst = p->products;
	mm.w = p->gate;
	mm.w_stride = p->gate_row;
	mm.w2 = &p->up;
	mm.done = glu_pairs;
	mm.arg = &p->part;
	mm.unit = npu_type_block_len(p->part.type);
	p->part.columns = mm.n;
	p->part.dst = p->dst;
	npu_matmul_run(&mm, env->pool, env->path, p->scratch);
}

static void run_pair(struct pair *p, uint32_t rows, struct npu_op_env *env)
{
	p->mm.m = 1;
	if (rows == 1 && p->columns == p->mm.n && p->gate_row == p->up_row && npu_matmul_pairs(&p->mm, env->path)) {
		run_row(p, env);
		return;
	}
	for (uint32_t m = 0; m < rows; m += p->rows) {
		p->mm.m = rows - m < p->rows ? rows - m : p->rows;
		for (uint32_t n = 0; n < p->mm.n; n += p->columns)
			run_part(p, m, n, env);
	}
}

static struct pair pair_of(const struct npu_cmd_matmul_glu *p, struct npu_op_env *env)
{
	uint32_t columns, m = p->dst.ne[1], n = p->dst.ne[0];
	struct pair pair = {
		.mm = {
			.dst_type = NPU_TYPE_F32, .x_type = p->x.type, .w_type = p->gate.type,
			.w_layout = p->gate.layout, .n = n, .k = p->x.ne[0],
		},
		.part = { .k = npu_row_kernels(env->path), .kind = p->kind, .type = p->dst.type },
	};

	pair.rows = m < PART_ROWS ? m : PART_ROWS;
	columns = PART_ELEMENTS / pair.rows / 256 * 256;
	pair.columns = n < columns ? n : columns;
	pair.gate_row = (uint64_t)(p->gate.ne[0] / npu_type_block_len(p->gate.type)) * npu_type_block_bytes(p->gate.type);
	pair.up_row = pair.gate_row;
	return pair;
}

/* Scratch for products of the largest part, joined or not. */
static size_t matmul_scratch(const struct pair *p, struct npu_op_env *env)
{
	struct npu_matmul mm = p->mm;

	mm.m = p->rows;
	mm.n = 2 * p->columns;
	return (npu_matmul_scratch(&mm, env->pool, env->path) + 63) & ~(size_t)63;
}

int npu_run_matmul_glu(const struct npu_cmd_matmul_glu *p, struct npu_op_env *env)
{
	struct npu_operand op[] = {
		{ .t = &p->dst, .number = 0, .access = NPU_OP_WRITE },
		{ .t = &p->x, .number = 1, .access = NPU_OP_READ },
		{ .t = &p->gate, .number = 2, .access = NPU_OP_READ, .in_pieces = true },
		{ .t = &p->up, .number = 3, .access = NPU_OP_READ, .in_pieces = true },
	};
	struct npu_operand *dst = &op[0], *x = &op[1], *gate = &op[2], *up = &op[3];
	struct pair pair = pair_of(p, env);
	size_t products = 2 * sizeof(float) * (size_t)pair.rows * pair.columns, mm = matmul_scratch(&pair, env);
	bool tiles = p->gate.layout == NPU_LAYOUT_TILE16;
	void *scratch;
	int err = npu_operands_map(env, op, 4, mm + products, &scratch);

	if (err)
		return err;
	pair.scratch = scratch;
	pair.products = (float *)((char *)scratch + mm);
	pair.part.dst_stride = dst->nb[1];
	pair.mm.x_stride = x->nb[1];
	if (!tiles && p->gate.ne[1] > 1) {
		pair.gate_row = gate->nb[1];
		pair.up_row = up->nb[1];
	}
	for (uint64_t i = 0; i < (uint64_t)p->dst.ne[2] * p->dst.ne[3]; i++) {
		uint64_t i2 = i % p->dst.ne[2], i3 = i / p->dst.ne[2];
		uint64_t w2 = i2 / (p->dst.ne[2] / p->gate.ne[2]), w3 = i3 / (p->dst.ne[3] / p->gate.ne[3]);

		pair.dst = dst->p + i2 * dst->nb[2] + i3 * dst->nb[3];
		pair.x = x->p + i2 * x->nb[2] + i3 * x->nb[3];
		pair.gate = npu_pieces_from(&gate->mem, w2 * gate->nb[2] + w3 * gate->nb[3]);
		pair.up = npu_pieces_from(&up->mem, w2 * up->nb[2] + w3 * up->nb[3]);
		pair.joined = pair.gate.p && pair.up.p == pair.gate.p + p->dst.ne[0] * pair.gate_row &&
			      pair.up_row == pair.gate_row && !(tiles && p->dst.ne[0] % 16);
		run_pair(&pair, p->dst.ne[1], env);
	}
	return npu_operands_finish(env, op, 4);
}
