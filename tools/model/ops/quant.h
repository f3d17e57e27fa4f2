/* SPDX-License-Identifier: MIT */
/*
 * quant.h - quantised types of numerics profile 1: widening, and quantisation
 * of activations and of stored Q8_0 rows.
 *
 * Activation quantisation of a block (32 elements for Q8_0 and Q4_0 weights,
 * 256 for Q4_K and Q6_K):
 *     amax = max |x|
 *     d    = amax / 127        id = 127 / amax
 *     q[i] = clamp(rne(x[i] * id), -127, 127)
 * with these exceptions:
 *     an element that is NaN or infinite: d = NaN, all q = 0 (so every result
 *         that the block takes part in is NaN);
 *     amax < 2^-120: d = +0, all q = 0 (127 / amax might overflow).
 */
#ifndef NPU_MODEL_OPS_QUANT_H
#define NPU_MODEL_OPS_QUANT_H

#include <stdint.h>

#include "mathfn.h"

#define NPU_Q_BLOCK	32u	/* elements of a Q8_0 or Q4_0 block */
#define NPU_K_BLOCK	256u	/* elements of a Q4_K or Q6_K block */
#define NPU_QUANT_MIN	0x1p-120f

/* Quantise @n elements as one block; returns d. */
float npu_quant_block(const float *x, unsigned int n, int8_t *q);

/* F32 row to a stored Q8_0 row: q as above, d rounded to F16 (a NaN block: 0x7e00). @k is a multiple of 32. */
void npu_quant_row_q8_0(const float *x, uint64_t k, void *row);

/* F32 row to a stored row of A8 (@block 32) or A8_K (256): q as above, d as it is. @k in whole blocks. */
void npu_quant_row_a8(const float *x, uint64_t k, uint32_t block, void *row);

/* Widen @k elements of a row of any weight type to F32: exact products d * q, rounded once for the K-quants' sums. */
void npu_dequant_row(unsigned int type, const void *row, uint64_t k, float *y);

/* The same for row @r (0..15) of a tile of @k columns. */
void npu_dequant_tile_row(unsigned int type, const void *tile, unsigned int r, uint64_t k, float *y);

static inline uint16_t npu_load16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

/* The 6-bit scale and minimum of sub-block @j (0..7) of a Q4_K block. */
static inline void npu_q4_k_scale(const uint8_t *scales, unsigned int j, uint32_t *sc, uint32_t *m)
{
	if (j < 4) {
		*sc = scales[j] & 63;
		*m = scales[j + 4] & 63;
	} else {
		*sc = (scales[j + 4] & 15) | (uint32_t)(scales[j - 4] >> 6) << 4;
		*m = scales[j + 4] >> 4 | (uint32_t)(scales[j] >> 6) << 4;
	}
}

/* Element @i (0..255) of a Q4_K block: 0..15. */
static inline int npu_q4_k_elem(const uint8_t *qs, unsigned int i)
{
	/* 64 elements share 32 bytes: low nibbles first, then high ones. */
	return qs[i / 64 * 32 + i % 32] >> (i / 32 % 2 * 4) & 15;
}

/* Element @i (0..255) of a Q6_K block: -32..31. */
static inline int npu_q6_k_elem(const uint8_t *ql, const uint8_t *qh, unsigned int i)
{
	/* Halves of 128; quarters of 32 in each: ql low, low + 32, high, high + 32; qh two bits each. */
	unsigned int half = i / 128, quarter = i / 32 % 4, l = i % 32;
	unsigned int lo = ql[half * 64 + quarter % 2 * 32 + l] >> (quarter / 2 * 4) & 15;
	unsigned int hi = qh[half * 32 + l] >> (quarter * 2) & 3;

	return (int)(lo | hi << 4) - 32;
}

#endif /* NPU_MODEL_OPS_QUANT_H */
