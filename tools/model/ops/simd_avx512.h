/* SPDX-License-Identifier: MIT */
/*
 * simd_avx512.h - vectors of 16 lanes for the kernel templates.
 *
 * simd_avx512.h and simd_avx2.h define the same names; a kernel file includes
 * one of them and then the template. vf: F32 lanes, vi: int32 lanes.
 */
#ifndef NPU_MODEL_OPS_SIMD_H
#define NPU_MODEL_OPS_SIMD_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#define VL		16		/* lanes */
#define SIMD_NAME(x)	x ## _avx512
#define SIMD_REGS	32

typedef __m512 vf;
typedef __m512i vi;

#define vf_load(p)		_mm512_loadu_ps(p)
#define vf_store(p, v)		_mm512_storeu_ps(p, v)
#define vf_set1(x)		_mm512_set1_ps(x)
#define vf_zero()		_mm512_setzero_ps()
#define vf_add(a, b)		_mm512_add_ps(a, b)
#define vf_sub(a, b)		_mm512_sub_ps(a, b)
#define vf_mul(a, b)		_mm512_mul_ps(a, b)
#define vf_div(a, b)		_mm512_div_ps(a, b)
#define vf_fma(a, b, c)		_mm512_fmadd_ps(a, b, c)	/* a * b + c */
#define vf_fnma(a, b, c)	_mm512_fnmadd_ps(a, b, c)	/* -(a * b) + c */
#define vf_max(a, b)		_mm512_max_ps(a, b)		/* a > b ? a : b */
#define vf_min(a, b)		_mm512_min_ps(a, b)		/* a < b ? a : b */
#define vf_floor(a)		_mm512_roundscale_ps(a, 0x09)	/* down, no exceptions */
#define vf_rint(a)		_mm512_roundscale_ps(a, 0x08)	/* nearest even */
#define vf_from_vi(a)		_mm512_cvtepi32_ps(a)
#define vi_from_vf(a)		_mm512_cvtps_epi32(a)		/* nearest even */
#define vf_as_vi(a)		_mm512_castps_si512(a)
#define vi_as_vf(a)		_mm512_castsi512_ps(a)
#define vf_load_f16(p)		_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(p)))
#define vf_load_bf16(p)		\
	vi_as_vf(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(p))), 16))
#define vf_load_i8(p)		\
	_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(p))))

#define vi_load(p)		_mm512_loadu_si512(p)
#define vi_store(p, v)		_mm512_storeu_si512(p, v)
#define vi_set1(x)		_mm512_set1_epi32(x)
#define vi_zero()		_mm512_setzero_si512()
#define vi_add(a, b)		_mm512_add_epi32(a, b)
#define vi_sub(a, b)		_mm512_sub_epi32(a, b)
#define vi_mul(a, b)		_mm512_mullo_epi32(a, b)
#define vi_and(a, b)		_mm512_and_si512(a, b)
#define vi_or(a, b)		_mm512_or_si512(a, b)
#define vi_xor(a, b)		_mm512_xor_si512(a, b)
#define vi_srl(a, n)		_mm512_srli_epi32(a, n)
#define vi_sra(a, n)		_mm512_srai_epi32(a, n)
#define vi_sll(a, n)		_mm512_slli_epi32(a, n)
#define vi_max(a, b)		_mm512_max_epi32(a, b)
#define vi_min(a, b)		_mm512_min_epi32(a, b)

/* Lane-wise selection: cond ? a : b. */
typedef __mmask16 vm;
#define vm_first(n)		((vm)((1u << (n)) - 1u))	/* lanes below n, 0 <= n <= 16 */
#define vm_andnot(a, b)		((vm)(~(a) & (b)))
#define vm_lt_vf(a, b)		_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ)
#define vm_gt_vf(a, b)		_mm512_cmp_ps_mask(a, b, _CMP_GT_OQ)
#define vm_nan_vf(a)		_mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q)
#define vm_lt_vi(a, b)		_mm512_cmplt_epi32_mask(a, b)
#define vf_select(m, a, b)	_mm512_mask_blend_ps(m, b, a)
#define vi_select(m, a, b)	_mm512_mask_blend_epi32(m, b, a)

/*
 * acc + the four products of bytes in each 32-bit lane. dot_u: w is unsigned,
 * a is signed. dot_s: both are signed, a is not -128 (only with Q8_BIAS 0).
 */
#define vi_dot_u(acc, w, a)	_mm512_dpbusd_epi32(acc, w, a)
#define vi_dot_s(acc, w, a)	_mm512_dpbusd_epi32(acc, w, a)
#define Q8_BIAS			128	/* packed Q8_0 weights are unsigned */
#define DOT_U_ANY		1	/* dot_u is exact for every byte of w */

static inline int32_t vi_hmax(vi a)
{
	return _mm512_reduce_max_epi32(a);
}

/* Sums of 16 of the 256 numbers at @q. */
static inline void sums_of_16(const int8_t *q, int32_t *sums)
{
	/* Packing works within 128-bit lanes: lane i ends up with sums i, i + 4, i + 8, i + 12. */
	const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
	const __m512i ones8 = _mm512_set1_epi8(1), ones16 = _mm512_set1_epi16(1);
	__m512i s4[4], a, b;

	for (int i = 0; i < 4; i++)
		s4[i] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), ones8, _mm512_loadu_si512(q + 64 * i));
	a = _mm512_madd_epi16(_mm512_packs_epi32(s4[0], s4[1]), ones16);
	b = _mm512_madd_epi16(_mm512_packs_epi32(s4[2], s4[3]), ones16);
	a = _mm512_madd_epi16(_mm512_packs_epi32(a, b), ones16);
	_mm512_storeu_si512(sums, _mm512_permutexvar_epi32(order, a));
}

/* The low bytes of the lanes. */
static inline void vi_store_i8(int8_t *p, vi a)
{
	_mm_storeu_si128((__m128i *)p, _mm512_cvtepi32_epi8(a));
}

/* r[i] lane j <-> r[j] lane i. */
static inline void vf_transpose(vf r[VL])
{
	__m512i t[VL];

	for (int i = 0; i < 16; i += 2) {
		t[i] = _mm512_castps_si512(_mm512_unpacklo_ps(r[i], r[i + 1]));
		t[i + 1] = _mm512_castps_si512(_mm512_unpackhi_ps(r[i], r[i + 1]));
	}
	for (int i = 0; i < 16; i += 4) {
		r[i] = _mm512_castsi512_ps(_mm512_unpacklo_epi64(t[i], t[i + 2]));
		r[i + 1] = _mm512_castsi512_ps(_mm512_unpackhi_epi64(t[i], t[i + 2]));
		r[i + 2] = _mm512_castsi512_ps(_mm512_unpacklo_epi64(t[i + 1], t[i + 3]));
		r[i + 3] = _mm512_castsi512_ps(_mm512_unpackhi_epi64(t[i + 1], t[i + 3]));
	}
	/* Now 4 x 4 within each 128-bit lane: exchange lanes. */
	for (int i = 0; i < 4; i++) {
		__m512 a = _mm512_shuffle_f32x4(r[i], r[i + 4], 0x88);
		__m512 b = _mm512_shuffle_f32x4(r[i], r[i + 4], 0xdd);
		__m512 c = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0x88);
		__m512 d = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0xdd);

		r[i] = _mm512_shuffle_f32x4(a, c, 0x88);
		r[i + 8] = _mm512_shuffle_f32x4(a, c, 0xdd);
		r[i + 4] = _mm512_shuffle_f32x4(b, d, 0x88);
		r[i + 12] = _mm512_shuffle_f32x4(b, d, 0xdd);
	}
}

/*
 * 16 bytes from each of 16 rows at @p, @stride bytes apart: four 32-bit words
 * each. Stores word i of all rows, 64 bytes, at @out + i * @step.
 */
static inline void collect16(const uint8_t *p, size_t stride, uint8_t *out, size_t step)
{
	__m512i r[4], t[4];

	for (int i = 0; i < 4; i++, p += stride) {
		r[i] = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)p));
		r[i] = _mm512_mask_broadcast_i32x4(r[i], 0x00f0, _mm_loadu_si128((const __m128i *)(p + 4 * stride)));
		r[i] = _mm512_mask_broadcast_i32x4(r[i], 0x0f00, _mm_loadu_si128((const __m128i *)(p + 8 * stride)));
		r[i] = _mm512_mask_broadcast_i32x4(r[i], 0xf000, _mm_loadu_si128((const __m128i *)(p + 12 * stride)));
	}
	t[0] = _mm512_unpacklo_epi32(r[0], r[1]);
	t[1] = _mm512_unpackhi_epi32(r[0], r[1]);
	t[2] = _mm512_unpacklo_epi32(r[2], r[3]);
	t[3] = _mm512_unpackhi_epi32(r[2], r[3]);
	_mm512_storeu_si512(out, _mm512_unpacklo_epi64(t[0], t[2]));
	_mm512_storeu_si512(out + step, _mm512_unpackhi_epi64(t[0], t[2]));
	_mm512_storeu_si512(out + 2 * step, _mm512_unpacklo_epi64(t[1], t[3]));
	_mm512_storeu_si512(out + 3 * step, _mm512_unpackhi_epi64(t[1], t[3]));
}

/* The low halves of 16 words at @p, then the high halves, in place. */
static inline void split_halves(uint8_t *p)
{
	const __m512i order = _mm512_set_epi16(31, 29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1,
					       30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);

	_mm512_storeu_si512(p, _mm512_permutexvar_epi16(order, _mm512_loadu_si512(p)));
}

#endif /* NPU_MODEL_OPS_SIMD_H */
