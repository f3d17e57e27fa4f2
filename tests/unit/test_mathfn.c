// SPDX-License-Identifier: MIT
/*
 * The elementary functions of the profile against libm in double precision,
 * over a sample of all F32 arguments, and their special values.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "mathfn.h"

#define STEP	4099u	/* of the argument's bits: a prime, about a million arguments */

/* |got - want| in units in the last place of want. */
static double error_ulp(double want, float got)
{
	int e;

	if ((float)want == got)
		return 0;
	if (!isfinite((float)want) || !isfinite(got))
		return INFINITY;
	frexp(want, &e);
	e -= 24;
	return fabs(got - want) / ldexp(1, e < -149 ? -149 : e);
}

static void sweep(const char *name, float (*fn)(float), double (*ref)(double), float lo, float hi, double bound)
{
	double worst = 0;
	float at = 0;

	for (uint64_t u = 0; u <= UINT32_MAX; u += STEP) {
		float x = npu_f32_from_bits((uint32_t)u);
		double e;

		if (!(x >= lo && x <= hi))
			continue;
		e = error_ulp(ref(x), fn(x));
		if (e > worst) {
			worst = e;
			at = x;
		}
	}
	if (worst > bound) {
		print_error("%s(%a): %.3f ulp, bound %.1f\n", name, (double)at, worst, bound);
		fail();
	}
}

static double ref_sigmoid(double x)
{
	return 1 / (1 + exp(-x));
}

static double ref_silu(double x)
{
	return x / (1 + exp(-x));
}

static double ref_softplus(double x)
{
	return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x));
}

static double ref_rsqrt(double x)
{
	return 1 / sqrt(x);
}

static void test_errors(void **state)
{
	(void)state;
	sweep("exp2", npu_exp2, exp2, -200, 200, 1.2);
	sweep("exp", npu_exp, exp, -200, 200, 0.9);
	sweep("log", npu_log, log, 0x1p-149f, INFINITY, 1.2);
	sweep("log2", npu_log2, log2, 0x1p-149f, INFINITY, 2.1);
	sweep("tanh", npu_tanh, tanh, -INFINITY, INFINITY, 1.3);
	sweep("erf", npu_erf, erf, -INFINITY, INFINITY, 1.0);
	sweep("sin", npu_sin, sin, -NPU_SINCOS_MAX, NPU_SINCOS_MAX, 1.6);
	sweep("cos", npu_cos, cos, -NPU_SINCOS_MAX, NPU_SINCOS_MAX, 1.6);
	sweep("sigmoid", npu_sigmoid, ref_sigmoid, -87, INFINITY, 2.3);
	sweep("silu", npu_silu, ref_silu, -87, 1e30f, 2.6);
	sweep("softplus", npu_softplus, ref_softplus, -100, 1e30f, 2.2);
	sweep("rsqrt", npu_rsqrt, ref_rsqrt, 0x1p-149f, 0x1.fffffep127f, 1.5);
}

static void test_special(void **state)
{
	const float inf = INFINITY, nan = NAN;

	(void)state;
	assert_true(npu_exp2(0) == 1 && npu_exp2(10) == 1024 && npu_exp2(-149) == 0x1p-149f);
	assert_true(npu_exp2(inf) == inf && npu_exp2(-inf) == 0 && npu_exp(inf) == inf && npu_exp(-inf) == 0);
	assert_true(npu_exp(0) == 1 && npu_log(1) == 0 && npu_log2(8) == 3 && npu_log2(0x1p-140f) == -140);
	assert_true(npu_log(inf) == inf && npu_log(0.0f) == -inf && npu_log(-0.0f) == -inf && isnan(npu_log(-1)));
	assert_true(npu_tanh(inf) == 1 && npu_tanh(-inf) == -1 && npu_erf(inf) == 1 && npu_erf(-5) == -1);
	assert_int_equal(npu_f32_bits(npu_tanh(-0.0f)), 0x80000000);
	assert_int_equal(npu_f32_bits(npu_erf(-0.0f)), 0x80000000);
	assert_true(npu_sin(0) == 0 && npu_cos(0) == 1 && isnan(npu_sin(inf)) && isnan(npu_cos(0x1.000002p21f)));
	assert_true(npu_sigmoid(-inf) == 0 && npu_sigmoid(inf) == 1 && npu_silu(inf) == inf);
	assert_int_equal(npu_f32_bits(npu_silu(-inf)), 0x80000000);
	assert_true(isnan(npu_exp2(nan)) && isnan(npu_exp(nan)) && isnan(npu_log(nan)) && isnan(npu_log2(nan)) &&
		    isnan(npu_tanh(nan)) && isnan(npu_erf(nan)) && isnan(npu_sin(nan)) && isnan(npu_cos(nan)) &&
		    isnan(npu_sigmoid(nan)) && isnan(npu_silu(nan)) && isnan(npu_softplus(nan)));
	assert_int_equal(npu_f32_bits(npu_canon(npu_f32_from_bits(0xff812345))), NPU_F32_NAN_BITS);
}

/* An angle given as an unrounded product is better than its rounded value. */
static void test_sincos2(void **state)
{
	(void)state;
	for (uint32_t pos = 1; pos < 200000; pos = pos * 3 + 1) {
		for (float freq = 1.0f; freq > 1e-4f; freq *= 0.77f) {
			float hi = (float)pos * freq, lo = npu_fma((float)pos, freq, -hi), s, c;

			npu_sincos2(hi, lo, &s, &c);
			assert_true(fabs(s - sin((double)pos * freq)) < 1.2e-7);
			assert_true(fabs(c - cos((double)pos * freq)) < 1.2e-7);
		}
	}
}

/* Every F16 and BF16 widens and comes back; ties go to even; overflow and NaN. */
static void test_halves(void **state)
{
	(void)state;
	for (uint32_t h = 0; h <= 0xffff; h++) {
		float x = npu_f16_to_f32((uint16_t)h), b = npu_bf16_to_f32((uint16_t)h);
		int e = (int)(h >> 10 & 31), m = (int)(h & 1023);
		double want = e ? ldexp(1024 + m, e - 25) : ldexp(m, -24);

		if (e == 31)
			assert_true(m ? isnan(x) : isinf(x));
		else
			assert_true(x == (float)(h & 0x8000 ? -want : want));
		assert_int_equal(npu_f32_to_f16(x), isnan(x) ? NPU_F16_NAN_BITS : h);
		assert_int_equal(npu_f32_to_bf16(b), isnan(b) ? NPU_BF16_NAN_BITS : h);
	}
	assert_int_equal(npu_f32_to_f16(0x1.002p0f), 0x3c00);
	assert_int_equal(npu_f32_to_f16(0x1.006p0f), 0x3c02);
	assert_int_equal(npu_f32_to_f16(0x1.002002p0f), 0x3c01);
	assert_int_equal(npu_f32_to_f16(65519.996f), 0x7bff);
	assert_int_equal(npu_f32_to_f16(65520.0f), 0x7c00);
	assert_int_equal(npu_f32_to_f16(-0x1p-25f), 0x8000);
	assert_int_equal(npu_f32_to_f16(0x1.8p-25f), 0x0001);
	assert_int_equal(npu_f32_to_bf16(0x1.01p0f), 0x3f80);
	assert_int_equal(npu_f32_to_bf16(0x1.03p0f), 0x3f82);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_special),
		cmocka_unit_test(test_sincos2),
		cmocka_unit_test(test_halves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
