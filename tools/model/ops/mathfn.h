/* SPDX-License-Identifier: MIT */
/*
 * mathfn.h - the elementary functions of numerics profile 1, to the bit.
 *
 * Every function here is a definition, not an approximation of libm: the
 * sequence of F32 operations below, each rounded to nearest even with
 * subnormals kept, IS the result. The rules that keep it so:
 *
 *  - compile with -ffp-contract=off: a fused multiply-add happens only where
 *    npu_fma() is written, and there it always happens;
 *  - no libm call except those that IEEE 754 defines exactly (fma, sqrt,
 *    floor, rint), so a compiler may turn them into instructions;
 *  - no branches: selections only, so a loop over one of these vectorises and
 *    every lane computes what the scalar computes (-fno-trapping-math and
 *    -fno-math-errno help the vectoriser and change no bits).
 *
 * A NaN argument gives a NaN, of unspecified payload; whoever stores a result
 * passes it through npu_canon(), so stored NaNs have one representation.
 *
 * Largest errors measured, in units in the last place of the exact result:
 * exp2 1.2, exp 0.9, log 1.2, log2 2.1, tanh 1.3, erf 1.0, sin and cos 1.6 up
 * to |x| = 2^21, sigmoid 2.3 and silu 2.6 (x > -87), softplus 2.2 (x > -100),
 * rsqrt 1.5.
 */
#ifndef NPU_MODEL_OPS_MATHFN_H
#define NPU_MODEL_OPS_MATHFN_H

#include <stdint.h>
#include <string.h>

#define NPU_F32_NAN_BITS	0x7fc00000u
#define NPU_F16_NAN_BITS	0x7e00u
#define NPU_BF16_NAN_BITS	0x7fc0u

static inline uint32_t npu_f32_bits(float x)
{
	uint32_t u;

	memcpy(&u, &x, sizeof(u));
	return u;
}

static inline float npu_f32_from_bits(uint32_t u)
{
	float x;

	memcpy(&x, &u, sizeof(x));
	return x;
}

/* a * b + c, rounded once. */
static inline float npu_fma(float a, float b, float c)
{
	return __builtin_fmaf(a, b, c);
}

/* Correctly rounded square root; a negative argument gives a NaN. */
static inline float npu_sqrt(float x)
{
	return __builtin_sqrtf(x);
}

/* 1 / sqrt(x): two correctly rounded operations. */
static inline float npu_rsqrt(float x)
{
	return 1.0f / __builtin_sqrtf(x);
}

/* The value that is stored for @x: all NaNs become 0x7fc00000. */
static inline float npu_canon(float x)
{
	return x == x ? x : npu_f32_from_bits(NPU_F32_NAN_BITS);
}

static inline float npu_abs(float x)
{
	return npu_f32_from_bits(npu_f32_bits(x) & 0x7fffffffu);
}

/* |mag| with the sign of @sgn. */
static inline float npu_copysign(float mag, float sgn)
{
	return npu_f32_from_bits((npu_f32_bits(mag) & 0x7fffffffu) |
				 (npu_f32_bits(sgn) & 0x80000000u));
}

/* 2^n for -126 <= n <= 127. */
static inline float npu_pow2i(int32_t n)
{
	return npu_f32_from_bits((uint32_t)(n + 127) << 23);
}

/*
 * p * 2^n for 0.5 <= p < 4 and -252 <= n <= 252. The first product is exact,
 * the second rounds once: overflow and subnormal results are right.
 */
static inline float npu_scale2(float p, int32_t n)
{
	int32_t h = n >> 1;

	return (p * npu_pow2i(h)) * npu_pow2i(n - h);
}

/*
 * P(f) ~ 2^f for 0 <= f <= 1, 1.2 ulp. Attention
 * uses this polynomial by itself.
 */
#define NPU_EXP2_C0	0x1p0f
#define NPU_EXP2_C1	0x1.62e42ap-1f
#define NPU_EXP2_C2	0x1.ebfda8p-3f
#define NPU_EXP2_C3	0x1.c68322p-5f
#define NPU_EXP2_C4	0x1.3d3c34p-7f
#define NPU_EXP2_C5	0x1.456df6p-10f
#define NPU_EXP2_C6	0x1.c91fc6p-13f

static inline float npu_exp2_poly(float f)
{
	float p = NPU_EXP2_C6;

	p = npu_fma(p, f, NPU_EXP2_C5);
	p = npu_fma(p, f, NPU_EXP2_C4);
	p = npu_fma(p, f, NPU_EXP2_C3);
	p = npu_fma(p, f, NPU_EXP2_C2);
	p = npu_fma(p, f, NPU_EXP2_C1);
	return npu_fma(p, f, NPU_EXP2_C0);
}

/* 2^x. */
static inline float npu_exp2(float x)
{
	float xc = x > 129.0f ? 129.0f : x;
	float n, f;

	xc = xc < -151.0f ? -151.0f : xc;
	n = __builtin_floorf(xc);
	f = xc - n;
	return npu_scale2(npu_exp2_poly(f), (int32_t)(n == n ? n : 0.0f));
}

#define NPU_LOG2E	0x1.715476p0f		/* log2(e) */
#define NPU_LOG2E_LO	0x1.4ae0cp-26f		/* log2(e) - NPU_LOG2E */
#define NPU_LN2_HI	0x1.62e43p-1f		/* ln(2), 21 bits */
#define NPU_LN2_LO	-0x1.05c61p-29f		/* ln(2) - NPU_LN2_HI */

/* e^x: x = n ln 2 + r, |r| <= ln(2) / 2; e^r by a polynomial. */
static inline float npu_exp(float x)
{
	float xc = x > 90.0f ? 90.0f : x;
	float n, r, p;

	xc = xc < -105.0f ? -105.0f : xc;
	n = __builtin_rintf(xc * NPU_LOG2E);
	r = npu_fma(-n, NPU_LN2_HI, xc);
	r = npu_fma(-n, NPU_LN2_LO, r);
	p = 0x1.696e34p-10f;
	p = npu_fma(p, r, 0x1.123f78p-7f);
	p = npu_fma(p, r, 0x1.555a12p-5f);
	p = npu_fma(p, r, 0x1.55548ap-3f);
	p = npu_fma(p, r, 0x1.fffffap-2f);
	p = npu_fma(p, r, 1.0f);
	p = npu_fma(p, r, 1.0f);
	return npu_scale2(p, (int32_t)(n == n ? n : 0.0f));
}

/*
 * x = 2^e * (1 + f) with sqrt(1/2) <= 1 + f < sqrt(2), for x positive and
 * finite; subnormals are normalised first. Returns ln(1 + f).
 */
static inline float npu_log_reduce(float x, float *e)
{
	int small = x < 0x1p-126f;
	uint32_t ix = npu_f32_bits(small ? x * 0x1p24f : x);
	int32_t k = (int32_t)(ix - 0x3f3504f3u) >> 23;
	float f = npu_f32_from_bits(ix - ((uint32_t)k << 23)) - 1.0f;
	float f2 = f * f;
	float p = -0x1.355facp-4f;

	p = npu_fma(p, f, 0x1.065834p-3f);
	p = npu_fma(p, f, -0x1.0ebef6p-3f);
	p = npu_fma(p, f, 0x1.22cbd8p-3f);
	p = npu_fma(p, f, -0x1.544bbap-3f);
	p = npu_fma(p, f, 0x1.999f02p-3f);
	p = npu_fma(p, f, -0x1.0002cap-2f);
	p = npu_fma(p, f, 0x1.55555ap-2f);
	*e = (float)(k - (small ? 24 : 0));
	return npu_fma(f2 * f, p, npu_fma(-0.5f, f2, f));
}

/* What a logarithm gives where npu_log_reduce() does not apply. */
static inline float npu_log_special(float x, float y)
{
	float inf = npu_f32_from_bits(0x7f800000u);

	y = x == inf ? inf : y;
	y = x == 0.0f ? -inf : y;
	return x >= 0.0f ? y : npu_f32_from_bits(NPU_F32_NAN_BITS);
}

/* ln(x); ln(+-0) = -inf, a negative argument gives a NaN. */
static inline float npu_log(float x)
{
	float e, l = npu_log_reduce(x, &e);

	l = npu_fma(e, NPU_LN2_HI, npu_fma(e, NPU_LN2_LO, l));
	return npu_log_special(x, l);
}

/* log2(x), with the special cases of npu_log(). */
static inline float npu_log2(float x)
{
	float e, l = npu_log_reduce(x, &e);

	l = npu_fma(l, NPU_LOG2E, npu_fma(l, NPU_LOG2E_LO, e));
	return npu_log_special(x, l);
}

/* ln(1 + x) for x >= 0 (softplus needs 0..1): the rounding of 1 + x is made good. */
static inline float npu_log1p_pos(float x)
{
	float u = 1.0f + x;
	float e, l = npu_log_reduce(u, &e);
	float c = (x - (u - 1.0f)) / u;

	l = npu_fma(e, NPU_LN2_HI, npu_fma(e, NPU_LN2_LO, l)) + c;
	return x < 0x1p120f ? l : npu_log(x);
}

/* tanh(x): an odd polynomial below 0.625, 1 - 2 / (e^2|x| + 1) above. */
static inline float npu_tanh(float x)
{
	float a = npu_abs(x);
	float ac = a > 10.0f ? 10.0f : a;
	float s = ac * ac;
	float p = 0x1.1abac8p-9f;
	float near, far;

	p = npu_fma(p, s, -0x1.0c84eep-7f);
	p = npu_fma(p, s, 0x1.63ac7p-6f);
	p = npu_fma(p, s, -0x1.b9f218p-5f);
	p = npu_fma(p, s, 0x1.11107cp-3f);
	p = npu_fma(p, s, -0x1.555554p-2f);
	near = npu_fma(ac * s, p, ac);
	far = 1.0f - 2.0f / (npu_exp(2.0f * ac) + 1.0f);
	return npu_copysign(a < 0.625f ? near : far, x);
}

/* erf(x): an odd polynomial below 1, 1 - e^g(|x|) above, g ~ ln erfc. */
static inline float npu_erf(float x)
{
	float a = npu_abs(x);
	float ac = a > 4.0f ? 4.0f : a;
	float s = ac * ac;
	float p = 0x1.4917a4p-14f;
	float g = 0x1.ad813p-20f;
	float near, far;

	p = npu_fma(p, s, -0x1.a3d812p-11f);
	p = npu_fma(p, s, 0x1.540172p-8f);
	p = npu_fma(p, s, -0x1.b7f88cp-6f);
	p = npu_fma(p, s, 0x1.ce2cf2p-4f);
	p = npu_fma(p, s, -0x1.81273ep-2f);
	p = npu_fma(p, s, 0x1.06eba8p-3f);
	near = npu_fma(ac, p, ac);

	g = npu_fma(g, ac, -0x1.7c05a8p-15f);
	g = npu_fma(g, ac, 0x1.357426p-11f);
	g = npu_fma(g, ac, -0x1.35d7dcp-8f);
	g = npu_fma(g, ac, 0x1.af5b2ep-6f);
	g = npu_fma(g, ac, -0x1.c2314ap-4f);
	g = npu_fma(g, ac, -0x1.439734p-1f);
	g = npu_fma(g, ac, -0x1.214f8ap0f);
	g = npu_fma(g, ac, 0x1.313174p-12f);
	far = 1.0f - npu_exp(g);
	return npu_copysign(a < 1.0f ? near : far, x);
}

#define NPU_2_OVER_PI	0x1.45f306p-1f
#define NPU_PIO2_HI	0x1.921fb6p0f		/* pi / 2, 24 bits */
#define NPU_PIO2_MID	-0x1.777a5cp-25f	/* the next 24 */
#define NPU_PIO2_LO	-0x1.ee59dap-50f	/* and the next */
#define NPU_SINCOS_MAX	0x1p21f

/*
 * Sine and cosine of hi + lo radians, |lo| at most an ulp of hi (0 for a plain
 * F32 angle; lo = fma(a, b, -hi) for the unrounded product hi = a * b).
 * Beyond |hi| = 2^21, and for infinities, the results are NaN: such an angle
 * has no meaningful phase in F32. The first step of the reduction is exact.
 */
static inline void npu_sincos2(float hi, float lo, float *sinx, float *cosx)
{
	float in = npu_abs(hi) <= NPU_SINCOS_MAX ? hi : 0.0f;
	float n = __builtin_rintf(in * NPU_2_OVER_PI);
	uint32_t q = (uint32_t)(int32_t)n;
	float r = npu_fma(-n, NPU_PIO2_HI, in);
	float r2, s, c, st, ct;
	float nan = npu_f32_from_bits(NPU_F32_NAN_BITS);

	r = npu_fma(-n, NPU_PIO2_MID, r);
	r = npu_fma(-n, NPU_PIO2_LO, r) + lo;
	r2 = r * r;

	s = 0x1.77c182p-19f;
	s = npu_fma(s, r2, -0x1.a04824p-13f);
	s = npu_fma(s, r2, 0x1.111164p-7f);
	s = npu_fma(s, r2, -0x1.555556p-3f);
	s = npu_fma(r * r2, s, r);

	c = 0x1.99e334p-16f;
	c = npu_fma(c, r2, -0x1.6c0c1ep-10f);
	c = npu_fma(c, r2, 0x1.55554ap-5f);
	c = npu_fma(c, r2, -0.5f);
	c = npu_fma(c, r2, 1.0f);

	st = q & 1 ? c : s;
	ct = q & 1 ? s : c;
	st = npu_f32_from_bits(npu_f32_bits(st) ^ ((q & 2) << 30));
	ct = npu_f32_from_bits(npu_f32_bits(ct) ^ (((q + 1) & 2) << 30));
	*sinx = npu_abs(hi) <= NPU_SINCOS_MAX ? st : nan;
	*cosx = npu_abs(hi) <= NPU_SINCOS_MAX ? ct : nan;
}

static inline float npu_sin(float x)
{
	float s, c;

	npu_sincos2(x, 0.0f, &s, &c);
	return s;
}

static inline float npu_cos(float x)
{
	float s, c;

	npu_sincos2(x, 0.0f, &s, &c);
	return c;
}

/* 1 / (1 + e^-x). */
static inline float npu_sigmoid(float x)
{
	return 1.0f / (1.0f + npu_exp(-x));
}

/* x / (1 + e^-x); silu(-inf) = -0. */
static inline float npu_silu(float x)
{
	float y = x / (1.0f + npu_exp(-x));

	return npu_f32_bits(x) == 0xff800000u ? -0.0f : y;
}

/* ln(1 + e^x), without overflow. */
static inline float npu_softplus(float x)
{
	float m = x < 0.0f ? 0.0f : x;

	return m + npu_log1p_pos(npu_exp(-npu_abs(x)));
}

/* F16 (IEEE binary16) and BF16. Widening is exact; NaNs stay NaNs. */
static inline float npu_f16_to_f32(uint16_t h)
{
	uint32_t sign = (uint32_t)(h & 0x8000u) << 16;
	uint32_t mag = h & 0x7fffu;
	/* Rebias by a product, which also normalises subnormals exactly. */
	float v = npu_f32_from_bits(mag << 13) * 0x1p112f;
	uint32_t u = mag >= 0x7c00u ? (mag << 13) | 0x7f800000u : npu_f32_bits(v);

	return npu_f32_from_bits(sign | u);
}

/* Round to nearest even; overflow gives infinity, any NaN gives 0x7e00. */
static inline uint16_t npu_f32_to_f16(float x)
{
	uint32_t u = npu_f32_bits(x);
	uint32_t sign = (u >> 16) & 0x8000u;
	uint32_t mag = u & 0x7fffffffu;
	/* Normal results: add half an ulp less one, plus the tie's parity. */
	uint32_t norm = (mag - 0x38000000u + 0xfffu + ((mag >> 13) & 1)) >> 13;
	/* Subnormal results: let an F32 addition at 0.5 do the rounding. */
	uint32_t sub = npu_f32_bits(npu_f32_from_bits(mag) + 0.5f) - 0x3f000000u;
	uint32_t h = mag < 0x38800000u ? sub : norm;

	h = mag >= 0x477ff000u ? 0x7c00u : h;
	return (uint16_t)(mag > 0x7f800000u ? NPU_F16_NAN_BITS : sign | h);
}

static inline float npu_bf16_to_f32(uint16_t b)
{
	return npu_f32_from_bits((uint32_t)b << 16);
}

/* Round to nearest even; any NaN gives 0x7fc0. */
static inline uint16_t npu_f32_to_bf16(float x)
{
	uint32_t u = npu_f32_bits(x);
	uint32_t r = (u + 0x7fffu + ((u >> 16) & 1)) >> 16;

	return (uint16_t)((u & 0x7fffffffu) > 0x7f800000u ? NPU_BF16_NAN_BITS : r);
}

#endif /* NPU_MODEL_OPS_MATHFN_H */
