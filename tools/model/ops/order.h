/* SPDX-License-Identifier: MIT */
/*
 * order.h - comparison of F32 values by integers.
 *
 * key: the total order -inf < ... < -0 < +0 < ... < +inf. Minimum and maximum
 * are taken on keys, so they depend on no order of evaluation; a NaN is given
 * the extreme key and so wins.
 * rank: the order of ARGMAX and TOPK, where -0 and +0 are equal and a NaN is
 * below -inf, so it loses.
 */
#ifndef NPU_MODEL_OPS_ORDER_H
#define NPU_MODEL_OPS_ORDER_H

#include <stdint.h>

#include "mathfn.h"

static inline int32_t npu_key(float x)
{
	int32_t b = (int32_t)npu_f32_bits(x);

	return b ^ ((b >> 31) & 0x7fffffff);
}

static inline float npu_from_key(int32_t k)
{
	return npu_f32_from_bits((uint32_t)(k ^ ((k >> 31) & 0x7fffffff)));
}

/* All ones for a NaN. Bit arithmetic, because compilers turn a selection here into a branch. */
static inline int32_t npu_nan_mask(float x)
{
	return -(int32_t)((npu_f32_bits(x) & 0x7fffffffu) > 0x7f800000u);
}

static inline int32_t npu_key_max(float x)
{
	int32_t nan = npu_nan_mask(x);

	return (npu_key(x) & ~nan) | (nan & INT32_MAX);
}

static inline int32_t npu_key_min(float x)
{
	int32_t nan = npu_nan_mask(x);

	return (npu_key(x) & ~nan) | (nan & INT32_MIN);
}

/* x + 0 turns -0 into +0. */
static inline int32_t npu_rank(float x)
{
	int32_t nan = npu_nan_mask(x);

	return (npu_key(x + 0.0f) & ~nan) | (nan & INT32_MIN);
}

/* IEEE 754-2019 maximum and minimum: NaN if either is, -0 < +0. */
static inline float npu_maximum(float a, float b)
{
	int32_t ka = npu_key_max(a), kb = npu_key_max(b);

	return npu_from_key(ka > kb ? ka : kb);
}

static inline float npu_minimum(float a, float b)
{
	int32_t ka = npu_key_min(a), kb = npu_key_min(b);

	return npu_from_key(ka < kb ? ka : kb);
}

#endif /* NPU_MODEL_OPS_ORDER_H */
