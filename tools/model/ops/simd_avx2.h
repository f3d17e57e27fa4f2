/* SPDX-License-Identifier: MIT */
/* simd_avx2.h - vectors of 8 lanes for the kernel templates; see simd_avx512.h. */
#ifndef NPU_MODEL_OPS_SIMD_H
#define NPU_MODEL_OPS_SIMD_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#define VL		8
#define SIMD_NAME(x)	x ## _avx2
#define SIMD_REGS	16

typedef __m256 vf;
typedef __m256i vi;

#define vf_load(p)		_mm256_loadu_ps(p)
#define vf_store(p, v)		_mm256_storeu_ps(p, v)
#define vf_set1(x)		_mm256_set1_ps(x)
#define vf_zero()		_mm256_setzero_ps()
#define vf_add(a, b)		_mm256_add_ps(a, b)
#define vf_sub(a, b)		_mm256_sub_ps(a, b)
#define vf_mul(a, b)		_mm256_mul_ps(a, b)
#define vf_div(a, b)		_mm256_div_ps(a, b)
#define vf_fma(a, b, c)		_mm256_fmadd_ps(a, b, c)
#define vf_fnma(a, b, c)	_mm256_fnmadd_ps(a, b, c)
#define vf_max(a, b)		_mm256_max_ps(a, b)
#define vf_min(a, b)		_mm256_min_ps(a, b)
#define vf_floor(a)		_mm256_round_ps(a, 0x09)
#define vf_rint(a)		_mm256_round_ps(a, 0x08)
#define vf_from_vi(a)		_mm256_cvtepi32_ps(a)
#define vi_from_vf(a)		_mm256_cvtps_epi32(a)
#define vf_as_vi(a)		_mm256_castps_si256(a)
#define vi_as_vf(a)		_mm256_castsi256_ps(a)
#define vf_load_f16(p)		_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(p)))
#define vf_load_bf16(p)		\
	vi_as_vf(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(p))), 16))
#define vf_load_i8(p)		\
	_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(p))))

#define vi_load(p)		_mm256_loadu_si256((const __m256i *)(p))
#define vi_store(p, v)		_mm256_storeu_si256((__m256i *)(p), v)
#define vi_set1(x)		_mm256_set1_epi32(x)
#define vi_zero()		_mm256_setzero_si256()
#define vi_add(a, b)		_mm256_add_epi32(a, b)
#define vi_sub(a, b)		_mm256_sub_epi32(a, b)
#define vi_mul(a, b)		_mm256_mullo_epi32(a, b)
#define vi_and(a, b)		_mm256_and_si256(a, b)
#define vi_or(a, b)		_mm256_or_si256(a, b)
#define vi_xor(a, b)		_mm256_xor_si256(a, b)
#define vi_srl(a, n)		_mm256_srli_epi32(a, n)
#define vi_sra(a, n)		_mm256_srai_epi32(a, n)
#define vi_sll(a, n)		_mm256_slli_epi32(a, n)
#define vi_max(a, b)		_mm256_max_epi32(a, b)
#define vi_min(a, b)		_mm256_min_epi32(a, b)

typedef __m256i vm;		/* all ones or all zeros per lane */
#define vm_first(n)		\
	_mm256_cmpgt_epi32(_mm256_set1_epi32((int)(n)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
#define vm_andnot(a, b)		_mm256_andnot_si256(a, b)
#define vm_lt_vf(a, b)		vf_as_vi(_mm256_cmp_ps(a, b, _CMP_LT_OQ))
#define vm_gt_vf(a, b)		vf_as_vi(_mm256_cmp_ps(a, b, _CMP_GT_OQ))
#define vm_nan_vf(a)		vf_as_vi(_mm256_cmp_ps(a, a, _CMP_UNORD_Q))
#define vm_lt_vi(a, b)		_mm256_cmpgt_epi32(b, a)
#define vf_select(m, a, b)	_mm256_blendv_ps(b, a, vi_as_vf(m))
#define vi_select(m, a, b)	_mm256_blendv_epi8(b, a, m)

/* No VNNI: pairs of products in 16 bits, which must not saturate. */
static inline vi vi_dot_u(vi acc, vi w, vi a)
{
	/* w <= 63, |a| <= 127: |pair| <= 16002. */
	return vi_add(acc, _mm256_madd_epi16(_mm256_maddubs_epi16(w, a), _mm256_set1_epi16(1)));
}

static inline vi vi_dot_s(vi acc, vi w, vi a)
{
	/*
	 * |w| <= 128 fits unsigned bytes; the sign goes to a, which is never
	 * -128: |pair| <= 2 * 128 * 127 = 32512.
	 */
	return vi_dot_u(acc, _mm256_abs_epi8(w), _mm256_sign_epi8(a, w));
}

#define Q8_BIAS			0	/* packed Q8_0 weights stay signed */
#define DOT_U_ANY		0	/* dot_u saturates with large bytes of w */

static inline int32_t vi_hmax(vi a)
{
	__m128i m = _mm_max_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));

	m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4e));
	m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0xb1));
	return _mm_cvtsi128_si32(m);
}

static inline void sums_of_16(const int8_t *q, int32_t *sums)
{
	const __m256i ones8 = _mm256_set1_epi8(1), ones16 = _mm256_set1_epi16(1);

	for (int half = 0; half < 2; half++, q += 128, sums += 8) {
		__m256i s4[4], a, b;

		for (int i = 0; i < 4; i++)
			s4[i] = _mm256_madd_epi16(
				_mm256_maddubs_epi16(ones8, _mm256_loadu_si256((const __m256i *)(q + 32 * i))), ones16);
		/* Packing works within 128-bit lanes: lane i ends up with sums i, i + 2, i + 4, i + 6. */
		a = _mm256_madd_epi16(_mm256_packs_epi32(s4[0], s4[1]), ones16);
		b = _mm256_madd_epi16(_mm256_packs_epi32(s4[2], s4[3]), ones16);
		a = _mm256_madd_epi16(_mm256_packs_epi32(a, b), ones16);
		_mm256_storeu_si256((__m256i *)sums,
				    _mm256_permutevar8x32_epi32(a, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7)));
	}
}

static inline void vi_store_i8(int8_t *p, vi a)
{
	__m128i s = _mm_packs_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));

	_mm_storel_epi64((__m128i *)p, _mm_packs_epi16(s, s));
}

static inline void vf_transpose(vf r[VL])
{
	__m256 t[VL];

	for (int i = 0; i < 8; i += 2) {
		t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
		t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
	}
	for (int i = 0; i < 8; i += 4) {
		r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
		r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
		r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
		r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
	}
	for (int i = 0; i < 4; i++) {
		__m256 a = _mm256_permute2f128_ps(r[i], r[i + 4], 0x20);

		r[i + 4] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x31);
		r[i] = a;
	}
}

static inline void collect16(const uint8_t *p, size_t stride, uint8_t *out, size_t step)
{
	for (int half = 0; half < 2; half++, p += 4 * stride, out += 32) {
		__m256i r[4], t[4];

		for (int i = 0; i < 4; i++, p += stride)
			r[i] = _mm256_inserti128_si256(
				_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)p)),
				_mm_loadu_si128((const __m128i *)(p + 4 * stride)), 1);
		t[0] = _mm256_unpacklo_epi32(r[0], r[1]);
		t[1] = _mm256_unpackhi_epi32(r[0], r[1]);
		t[2] = _mm256_unpacklo_epi32(r[2], r[3]);
		t[3] = _mm256_unpackhi_epi32(r[2], r[3]);
		_mm256_storeu_si256((__m256i *)out, _mm256_unpacklo_epi64(t[0], t[2]));
		_mm256_storeu_si256((__m256i *)(out + step), _mm256_unpackhi_epi64(t[0], t[2]));
		_mm256_storeu_si256((__m256i *)(out + 2 * step), _mm256_unpacklo_epi64(t[1], t[3]));
		_mm256_storeu_si256((__m256i *)(out + 3 * step), _mm256_unpackhi_epi64(t[1], t[3]));
	}
}

static inline void split_halves(uint8_t *p)
{
	const __m256i low = _mm256_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15,
					     0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
	__m256i a = _mm256_shuffle_epi8(_mm256_loadu_si256((const __m256i *)p), low);
	__m256i b = _mm256_shuffle_epi8(_mm256_loadu_si256((const __m256i *)(p + 32)), low);

	/* Each 64-bit quarter holds four halves: low, high, low, high. */
	a = _mm256_permute4x64_epi64(a, 0xd8);
	b = _mm256_permute4x64_epi64(b, 0xd8);
	_mm256_storeu_si256((__m256i *)p, _mm256_permute2x128_si256(a, b, 0x20));
	_mm256_storeu_si256((__m256i *)(p + 32), _mm256_permute2x128_si256(a, b, 0x31));
}

#endif /* NPU_MODEL_OPS_SIMD_H */
