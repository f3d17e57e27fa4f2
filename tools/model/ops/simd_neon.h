/* SPDX-License-Identifier: MIT */
/*
 * simd_neon.h - vectors of 8 lanes, each two registers of 64-bit ARM, for the
 * kernel templates; see simd_avx512.h. With the dot product instructions of
 * ARMv8.2 where the file is compiled for them.
 */
#ifndef NPU_MODEL_OPS_SIMD_H
#define NPU_MODEL_OPS_SIMD_H

#include <arm_neon.h>
#include <stdint.h>
#include <string.h>

#define VL		8
#define SIMD_NAME(x)	x ## _neon
#define SIMD_REGS	16

typedef struct {
	float32x4_t a, b;
} vf;

typedef struct {
	int32x4_t a, b;
} vi;

typedef vi vm;			/* all ones or all zeros per lane */

#define BOTH(type, ...)		((type){ __VA_ARGS__ })
#define U32(x)			vreinterpretq_u32_s32(x)
#define S32(x)			vreinterpretq_s32_u32(x)

static inline vf vf_load(const float *p)
{
	return BOTH(vf, vld1q_f32(p), vld1q_f32(p + 4));
}

static inline void vf_store(float *p, vf v)
{
	vst1q_f32(p, v.a);
	vst1q_f32(p + 4, v.b);
}

static inline vf vf_set1(float x)
{
	return BOTH(vf, vdupq_n_f32(x), vdupq_n_f32(x));
}

static inline vf vf_zero(void)
{
	return vf_set1(0.0f);
}

static inline vf vf_add(vf x, vf y)
{
	return BOTH(vf, vaddq_f32(x.a, y.a), vaddq_f32(x.b, y.b));
}

static inline vf vf_sub(vf x, vf y)
{
	return BOTH(vf, vsubq_f32(x.a, y.a), vsubq_f32(x.b, y.b));
}

static inline vf vf_mul(vf x, vf y)
{
	return BOTH(vf, vmulq_f32(x.a, y.a), vmulq_f32(x.b, y.b));
}

static inline vf vf_div(vf x, vf y)
{
	return BOTH(vf, vdivq_f32(x.a, y.a), vdivq_f32(x.b, y.b));
}

static inline vf vf_fma(vf x, vf y, vf z)
{
	return BOTH(vf, vfmaq_f32(z.a, x.a, y.a), vfmaq_f32(z.b, x.b, y.b));
}

static inline vf vf_fnma(vf x, vf y, vf z)
{
	return BOTH(vf, vfmsq_f32(z.a, x.a, y.a), vfmsq_f32(z.b, x.b, y.b));
}

/* Not FMAX and FMIN: the second operand where one is a NaN. */
static inline vf vf_max(vf x, vf y)
{
	return BOTH(vf, vbslq_f32(vcgtq_f32(x.a, y.a), x.a, y.a), vbslq_f32(vcgtq_f32(x.b, y.b), x.b, y.b));
}

static inline vf vf_min(vf x, vf y)
{
	return BOTH(vf, vbslq_f32(vcltq_f32(x.a, y.a), x.a, y.a), vbslq_f32(vcltq_f32(x.b, y.b), x.b, y.b));
}

static inline vf vf_floor(vf x)
{
	return BOTH(vf, vrndmq_f32(x.a), vrndmq_f32(x.b));
}

static inline vf vf_rint(vf x)
{
	return BOTH(vf, vrndnq_f32(x.a), vrndnq_f32(x.b));
}

static inline vf vf_from_vi(vi x)
{
	return BOTH(vf, vcvtq_f32_s32(x.a), vcvtq_f32_s32(x.b));
}

/* The least integer for a NaN. */
static inline int32x4_t round_half(float32x4_t x)
{
	return vbslq_s32(vceqq_f32(x, x), vcvtnq_s32_f32(x), vdupq_n_s32(INT32_MIN));
}

static inline vi vi_from_vf(vf x)
{
	return BOTH(vi, round_half(x.a), round_half(x.b));
}

static inline vi vf_as_vi(vf x)
{
	return BOTH(vi, vreinterpretq_s32_f32(x.a), vreinterpretq_s32_f32(x.b));
}

static inline vf vi_as_vf(vi x)
{
	return BOTH(vf, vreinterpretq_f32_s32(x.a), vreinterpretq_f32_s32(x.b));
}

static inline vf vf_load_f16(const void *p)
{
	float16x8_t h = vreinterpretq_f16_u8(vld1q_u8(p));

	return BOTH(vf, vcvt_f32_f16(vget_low_f16(h)), vcvt_high_f32_f16(h));
}

static inline vf vf_load_bf16(const void *p)
{
	uint16x8_t h = vreinterpretq_u16_u8(vld1q_u8(p));

	return BOTH(vf, vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(h), 16)),
		    vreinterpretq_f32_u32(vshll_high_n_u16(h, 16)));
}

static inline vf vf_load_i8(const void *p)
{
	int16x8_t h = vmovl_s8(vld1_s8(p));

	return vf_from_vi(BOTH(vi, vmovl_s16(vget_low_s16(h)), vmovl_high_s16(h)));
}

static inline vi vi_load(const void *p)
{
	return BOTH(vi, vreinterpretq_s32_u8(vld1q_u8(p)), vreinterpretq_s32_u8(vld1q_u8((const uint8_t *)p + 16)));
}

static inline void vi_store(void *p, vi x)
{
	vst1q_u8(p, vreinterpretq_u8_s32(x.a));
	vst1q_u8((uint8_t *)p + 16, vreinterpretq_u8_s32(x.b));
}

static inline vi vi_set1(int32_t x)
{
	return BOTH(vi, vdupq_n_s32(x), vdupq_n_s32(x));
}

static inline vi vi_zero(void)
{
	return vi_set1(0);
}

#define VI_BINARY(name, op)	\
	static inline vi name(vi x, vi y)	\
	{	\
		return BOTH(vi, op(x.a, y.a), op(x.b, y.b));	\
	}

VI_BINARY(vi_add, vaddq_s32)
VI_BINARY(vi_sub, vsubq_s32)
VI_BINARY(vi_mul, vmulq_s32)
VI_BINARY(vi_and, vandq_s32)
VI_BINARY(vi_or, vorrq_s32)
VI_BINARY(vi_xor, veorq_s32)
VI_BINARY(vi_max, vmaxq_s32)
VI_BINARY(vi_min, vminq_s32)

/* Shifts by register: the counts are constants only after inlining. */
static inline vi vi_sll(vi x, int n)
{
	int32x4_t by = vdupq_n_s32(n);

	return BOTH(vi, vshlq_s32(x.a, by), vshlq_s32(x.b, by));
}

static inline vi vi_sra(vi x, int n)
{
	return vi_sll(x, -n);
}

static inline vi vi_srl(vi x, int n)
{
	int32x4_t by = vdupq_n_s32(-n);

	return BOTH(vi, S32(vshlq_u32(U32(x.a), by)), S32(vshlq_u32(U32(x.b), by)));
}

static inline vm vm_lt_vi(vi x, vi y)
{
	return BOTH(vi, S32(vcltq_s32(x.a, y.a)), S32(vcltq_s32(x.b, y.b)));
}

static inline vm vm_first(uint32_t n)
{
	static const int32_t lane[VL] = { 0, 1, 2, 3, 4, 5, 6, 7 };

	return vm_lt_vi(vi_load(lane), vi_set1((int32_t)n));
}

static inline vm vm_andnot(vm x, vm y)
{
	return BOTH(vi, vbicq_s32(y.a, x.a), vbicq_s32(y.b, x.b));
}

static inline vm vm_lt_vf(vf x, vf y)
{
	return BOTH(vi, S32(vcltq_f32(x.a, y.a)), S32(vcltq_f32(x.b, y.b)));
}

static inline vm vm_gt_vf(vf x, vf y)
{
	return vm_lt_vf(y, x);
}

static inline vm vm_nan_vf(vf x)
{
	return BOTH(vi, S32(vmvnq_u32(vceqq_f32(x.a, x.a))), S32(vmvnq_u32(vceqq_f32(x.b, x.b))));
}

static inline vi vi_select(vm m, vi x, vi y)
{
	return BOTH(vi, vbslq_s32(U32(m.a), x.a, y.a), vbslq_s32(U32(m.b), x.b, y.b));
}

static inline vf vf_select(vm m, vf x, vf y)
{
	return BOTH(vf, vbslq_f32(U32(m.a), x.a, y.a), vbslq_f32(U32(m.b), x.b, y.b));
}

/* Weights above 127 do not occur where they count as unsigned: both products are signed ones. */
static inline int32x4_t dot(int32x4_t acc, int32x4_t w, int32x4_t x)
{
	int8x16_t p = vreinterpretq_s8_s32(w), q = vreinterpretq_s8_s32(x);
#if defined(__ARM_FEATURE_DOTPROD)
	return vdotq_s32(acc, p, q);
#else
	/* |w| <= 128 and |x| <= 127: two products are 32512 at most. */
	return vpadalq_s16(acc, vpaddq_s16(vmull_s8(vget_low_s8(p), vget_low_s8(q)), vmull_high_s8(p, q)));
#endif
}

static inline vi vi_dot_s(vi acc, vi w, vi x)
{
	return BOTH(vi, dot(acc.a, w.a, x.a), dot(acc.b, w.b, x.b));
}

#define vi_dot_u(acc, w, x)	vi_dot_s(acc, w, x)
#define Q8_BIAS			0	/* packed Q8_0 weights stay signed */
#define DOT_U_ANY		0	/* bytes of w above 127 would count as negative */

static inline int32_t vi_hmax(vi x)
{
	return vmaxvq_s32(vmaxq_s32(x.a, x.b));
}

static inline void sums_of_16(const int8_t *q, int32_t *sums)
{
	for (int i = 0; i < 16; i++)
		sums[i] = vaddlvq_s8(vld1q_s8(q + 16 * i));
}

static inline void vi_store_i8(int8_t *p, vi x)
{
	vst1_s8(p, vmovn_s16(vcombine_s16(vmovn_s32(x.a), vmovn_s32(x.b))));
}

/* r[i] lane j <-> r[j] lane i, of four registers. */
static inline void transpose4(int32x4_t r[4])
{
	int64x2_t t[4];

	for (int i = 0; i < 4; i += 2) {
		t[i] = vreinterpretq_s64_s32(vtrn1q_s32(r[i], r[i + 1]));
		t[i + 1] = vreinterpretq_s64_s32(vtrn2q_s32(r[i], r[i + 1]));
	}
	for (int i = 0; i < 2; i++) {
		r[i] = vreinterpretq_s32_s64(vtrn1q_s64(t[i], t[i + 2]));
		r[i + 2] = vreinterpretq_s32_s64(vtrn2q_s64(t[i], t[i + 2]));
	}
}

static inline void vf_transpose(vf r[VL])
{
	int32x4_t quarter[4][4];	/* rows 0-3 and 4-7, their first and last four columns */

	for (int i = 0; i < VL; i++) {
		vi x = vf_as_vi(r[i]);

		quarter[i / 4 * 2][i % 4] = x.a;
		quarter[i / 4 * 2 + 1][i % 4] = x.b;
	}
	for (int i = 0; i < 4; i++)
		transpose4(quarter[i]);
	for (int i = 0; i < VL; i++)
		r[i] = vi_as_vf(BOTH(vi, quarter[i / 4][i % 4], quarter[i / 4 + 2][i % 4]));
}

static inline void collect16(const uint8_t *p, size_t stride, uint8_t *out, size_t step)
{
	for (int rows = 0; rows < 16; rows += 4, out += 16) {
		int32x4_t r[4];

		for (int i = 0; i < 4; i++, p += stride)
			r[i] = vreinterpretq_s32_u8(vld1q_u8(p));
		transpose4(r);
		for (int i = 0; i < 4; i++)
			vst1q_u8(out + i * step, vreinterpretq_u8_s32(r[i]));
	}
}

static inline void split_halves(uint8_t *p)
{
	uint16x8x2_t a = vuzpq_u16(vreinterpretq_u16_u8(vld1q_u8(p)), vreinterpretq_u16_u8(vld1q_u8(p + 16)));
	uint16x8x2_t b = vuzpq_u16(vreinterpretq_u16_u8(vld1q_u8(p + 32)), vreinterpretq_u16_u8(vld1q_u8(p + 48)));

	vst1q_u8(p, vreinterpretq_u8_u16(a.val[0]));
	vst1q_u8(p + 16, vreinterpretq_u8_u16(b.val[0]));
	vst1q_u8(p + 32, vreinterpretq_u8_u16(a.val[1]));
	vst1q_u8(p + 48, vreinterpretq_u8_u16(b.val[1]));
}

#endif /* NPU_MODEL_OPS_SIMD_H */
