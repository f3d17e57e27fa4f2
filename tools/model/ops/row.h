/* SPDX-License-Identifier: MIT */
/*
 * row.h - kernels on contiguous F32 rows, one table per speed path.
 *
 * row_impl.h holds the one source, in terms of mathfn.h; it is compiled once
 * per path. The scalar path is the reference: no vectoriser, no intrinsics.
 *
 * In all of them a destination may be the same as a source (same address),
 * otherwise they do not overlap. Results are canonical (npu_canon()) where the
 * comment says "stored".
 */
#ifndef NPU_MODEL_OPS_ROW_H
#define NPU_MODEL_OPS_ROW_H

#include <stdint.h>

#include "ops.h"

#define NPU_CHUNK	1024u	/* elements that operations take at a time; a multiple of 256 */
#define NPU_PARTIALS	16u

struct npu_row_kernels {
	/* Type conversion, contiguous. widen: any float or block type (n in whole blocks); exact or rounded once. */
	void (*widen)(unsigned int type, const void *src, uint64_t n, float *y);
	/* Stored; F32, F16, BF16, Q8_0, Q4_0, A8, A8_K. */
	void (*narrow)(unsigned int type, const float *x, uint64_t n, void *dst);

	/* Element by element, stored. */
	void (*unary)(unsigned int kind, float p0, float p1, const float *x, uint64_t n, float *y);
	void (*binary)(unsigned int kind, const float *a, const float *b, uint64_t n, float *y);
	void (*glu)(unsigned int kind, const float *a, const float *b, uint64_t n, float *y);

	/*
	 * Reductions into 16 partials: element i goes to part[i % 16], ascending.
	 * sumdev: of (x - mean)^2, the difference rounded.
	 */
	void (*sum)(const float *x, uint64_t n, float *part);
	void (*sumsq)(const float *x, uint64_t n, float *part);
	void (*sumdev)(const float *x, float mean, uint64_t n, float *part);
	/* The largest (smallest) of key(x); see npu_key_*() below. */
	int32_t (*max_key)(const float *x, uint64_t n);
	int32_t (*min_key)(const float *x, uint64_t n);
	int32_t (*max_rank)(const float *x, uint64_t n);
	/* Index of the first element whose rank is above @rank; @n if there is none. */
	uint64_t (*first_above)(const float *x, uint64_t n, int32_t rank);

	/* y = fma(rne(rne(x - mean) * r), w, b), stored; w and b may be NULL: 1 and -0. */
	void (*normalise)(const float *x, float mean, float r, const float *w, const float *b, uint64_t n, float *y);
	/* y = x * scale, or fma(x, scale, mask). */
	void (*scale_mask)(const float *x, float scale, const float *mask, uint64_t n, float *y);
	/* y = exp(x - max). */
	void (*exp_sub)(const float *x, float max, uint64_t n, float *y);
	/* y = x / s, stored. */
	void (*divide)(const float *x, float s, uint64_t n, float *y);

	/* cos and sin (times mscale) of position * step[i] * 2^-64 turns. */
	void (*rope_table)(const uint64_t *step, uint64_t position, float mscale, uint64_t n, float *c, float *s);
	/* y0 = x0 c - x1 s, y1 = x0 s + x1 c, each fma(x0, ., +-rne(x1 .)), stored; @pairs: elements alternate. */
	void (*rope_halves)(const float *x0, const float *x1, const float *c, const float *s, uint64_t n, float *y0,
			    float *y1);
	void (*rope_pairs)(const float *x, const float *c, const float *s, uint64_t n, float *y);
};

extern const struct npu_row_kernels npu_row_scalar;
#if defined(__x86_64__)
extern const struct npu_row_kernels npu_row_avx2, npu_row_avx512;
#elif defined(__aarch64__)
extern const struct npu_row_kernels npu_row_neon;
#endif

static inline const struct npu_row_kernels *npu_row_kernels(enum npu_path path)
{
	switch (path) {
#if defined(__x86_64__)
	case NPU_PATH_AVX2:
		return &npu_row_avx2;
	case NPU_PATH_AVX512:
		return &npu_row_avx512;
#elif defined(__aarch64__)
	case NPU_PATH_NEON:
		return &npu_row_neon;
#endif
	default:
		return &npu_row_scalar;
	}
}

/* The tree that ends a reduction: +8, +4, +2, +1. */
static inline float npu_partials_sum(const float *part)
{
	float t[NPU_PARTIALS];

	for (unsigned int i = 0; i < NPU_PARTIALS; i++)
		t[i] = part[i];
	for (unsigned int half = NPU_PARTIALS / 2; half; half /= 2)
		for (unsigned int i = 0; i < half; i++)
			t[i] = t[i] + t[i + half];
	return t[0];
}

#endif /* NPU_MODEL_OPS_ROW_H */
