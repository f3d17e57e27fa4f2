/* SPDX-License-Identifier: MIT */
/*
 * matmul.h - dst[m][n] = sum_k x[m][k] * w[n][k] (+ bias[n]) (+ old dst[m][n])
 *
 * One matrix on host pointers. The arithmetic is numerics profile 1; row m of
 * the result depends on row m of x, on w and on bias only, never on M, N, the
 * pool, the path or the layout of w:
 *
 * F32, F16, BF16 weights: operands widened exactly;
 *     acc = +0; k ascending: acc = fma(w[n][k], x[m][k], acc)
 * Q8_0, Q4_0: x is quantised in blocks of 32 (quant.h: q, da); blocks ascending:
 *     isum = sum q_w * q_x (exact);  acc = fma(isum, rne(dw * da), acc)
 * Q4_K: x is quantised in blocks of 256; asum[j] sums q_x over sub-block j of 32;
 *     S = sum_j sc[j] * isum[j];  T = sum_j m[j] * asum[j] (both exact)
 *     acc = fma(rne(S), rne(d * da), acc);  acc = fma(-rne(T), rne(dmin * da), acc)
 * Q6_K: the same with S over 16 sub-blocks of 16 and without T.
 * Then r = acc; with bias r = r + bias[n]; when accumulating r = r + old dst;
 * the canonical NaN if r is a NaN; converted if dst is F16.
 */
#ifndef NPU_MODEL_OPS_MATMUL_H
#define NPU_MODEL_OPS_MATMUL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ops.h"

#define NPU_MM_PAIR_ROWS	512u	/* a multiple of 256 */

/*
 * Products of two matrices: @items runs of @rows rows each, the i-th from row first[i] on. Of a run that goes past
 * the last row, what lies behind it means nothing.
 */
struct npu_mm_pairs {
	const float *a, *b;	/* [items][rows] of the first and of the second matrix */
	const uint32_t *first;
	uint32_t items, rows;	/* items * rows <= NPU_MM_PAIR_ROWS */
};

struct npu_matmul {
	void *dst;		/* [m][n] F32 or F16, elements of a row contiguous */
	const void *x;		/* [m][k] F32 or F16, likewise; or quantised as below: A8, A8_K by w_type */
	struct npu_pieces w;	/* [n][k] */
	const float *bias;	/* [n] or NULL */
	size_t dst_stride;	/* bytes between rows */
	size_t x_stride;
	size_t w_stride;	/* ROWS only; a tiled matrix is contiguous */
	uint8_t dst_type, x_type, w_type;	/* enum npu_type */
	uint8_t w_layout;	/* enum npu_layout */
	bool accumulate;	/* dst F32 only */
	uint32_t m, n, k;	/* k in whole blocks of w_type; m, n >= 1, k may be 0 */

	/*
	 * A second matrix like w, or NULL; only where npu_matmul_pairs(). The products of both go to @done, which
	 * whichever thread has computed them calls while they are in its cache; dst[2][n] is room for them. Runs begin
	 * at multiples of @unit, a power of two up to 256, which divides n if it is above 16, and then their length, too.
	 */
	const struct npu_pieces *w2;
	void (*done)(void *arg, const struct npu_mm_pairs *p);
	void *arg;
	uint32_t unit;
};

/* May there be a second matrix? One row of x, F32 results, no bias, and a path with fast kernels. */
bool npu_matmul_pairs(const struct npu_matmul *mm, enum npu_path path);

/* Bytes of scratch that npu_matmul_run() needs. */
size_t npu_matmul_scratch(const struct npu_matmul *mm, const struct npu_pool *pool, enum npu_path path);

/* @scratch is 64-byte aligned. @path must be supported by the CPU. */
void npu_matmul_run(const struct npu_matmul *mm, struct npu_pool *pool, enum npu_path path, void *scratch);

#endif /* NPU_MODEL_OPS_MATMUL_H */
