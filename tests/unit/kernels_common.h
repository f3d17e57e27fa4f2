/* SPDX-License-Identifier: MIT */
/* Inputs for the tests of the tensor kernels: deterministic numbers and weights in every type. */
#ifndef TESTS_UNIT_KERNELS_COMMON_H
#define TESTS_UNIT_KERNELS_COMMON_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "mathfn.h"
#include "ops.h"
#include "tile.h"

struct rng {
	uint64_t s;
};

static inline uint32_t rng_u32(struct rng *r)
{
	/* xorshift64* */
	r->s ^= r->s >> 12;
	r->s ^= r->s << 25;
	r->s ^= r->s >> 27;
	return (uint32_t)(r->s * 0x2545f4914f6cdd1dull >> 32);
}

/* Uniform in [-1, 1). */
static inline float rng_float(struct rng *r)
{
	return (float)(int32_t)rng_u32(r) * 0x1p-31f;
}

static inline void fill_float(struct rng *r, unsigned int type, void *p, size_t n, float scale)
{
	for (size_t i = 0; i < n; i++) {
		float f = rng_float(r) * scale;

		if (type == NPU_TYPE_F32)
			((float *)p)[i] = f;
		else
			((uint16_t *)p)[i] = type == NPU_TYPE_F16 ? npu_f32_to_f16(f) : npu_f32_to_bf16(f);
	}
}

static inline void put16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

/* Any bytes are a valid block but for the F16 scales, which get moderate values. */
static inline void fill_weights(struct rng *r, unsigned int type, void *p, size_t k, size_t rows)
{
	size_t bytes = npu_type_block_bytes(type), blocks = k / npu_type_block_len(type) * rows;
	uint8_t *b = p;

	if (npu_type_block_len(type) == 1) {
		fill_float(r, type, p, k * rows, 1.0f);
		return;
	}
	for (; blocks--; b += bytes) {
		for (size_t i = 0; i < bytes; i++)
			b[i] = (uint8_t)rng_u32(r);
		put16(b + (type == NPU_TYPE_Q6_K ? 208 : 0), npu_f32_to_f16(rng_float(r) * 0.02f));
		if (type == NPU_TYPE_Q4_K)
			put16(b + 2, npu_f32_to_f16(rng_float(r) * 0.02f));
	}
}

static inline void *alloc64(size_t n)
{
	void *p = aligned_alloc(64, (n + 127) / 64 * 64);

	if (!p)
		abort();
	memset(p, 0x5a, (n + 127) / 64 * 64);
	return p;
}

static const enum npu_path fast_paths[] = { NPU_PATH_AVX512, NPU_PATH_AVX2, NPU_PATH_NEON };
#define FAST_PATHS (sizeof(fast_paths) / sizeof(fast_paths[0]))

#endif /* TESTS_UNIT_KERNELS_COMMON_H */
