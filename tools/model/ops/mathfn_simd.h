/* SPDX-License-Identifier: MIT */
/* mathfn_simd.h - functions of mathfn.h on vectors; include after simd_*.h. The same operations in the same order. */
#ifndef NPU_MODEL_OPS_MATHFN_SIMD_H
#define NPU_MODEL_OPS_MATHFN_SIMD_H

#include "mathfn.h"

static inline vf vf_exp2_poly(vf f)
{
	vf p = vf_set1(NPU_EXP2_C6);

	p = vf_fma(p, f, vf_set1(NPU_EXP2_C5));
	p = vf_fma(p, f, vf_set1(NPU_EXP2_C4));
	p = vf_fma(p, f, vf_set1(NPU_EXP2_C3));
	p = vf_fma(p, f, vf_set1(NPU_EXP2_C2));
	p = vf_fma(p, f, vf_set1(NPU_EXP2_C1));
	return vf_fma(p, f, vf_set1(NPU_EXP2_C0));
}

static inline vf vf_pow2i(vi n)
{
	return vi_as_vf(vi_sll(vi_add(n, vi_set1(127)), 23));
}

static inline vf vf_scale2(vf p, vi n)
{
	vi h = vi_sra(n, 1);

	return vf_mul(vf_mul(p, vf_pow2i(h)), vf_pow2i(vi_sub(n, h)));
}

static inline vf vf_exp(vf x)
{
	/* max and min return their second operand where one is a NaN. */
	vf xc = vf_max(vf_set1(-105.0f), vf_min(vf_set1(90.0f), x));
	vf n = vf_rint(vf_mul(xc, vf_set1(NPU_LOG2E)));
	vf r = vf_fma(n, vf_set1(-NPU_LN2_HI), xc);
	vf p = vf_set1(0x1.696e34p-10f);

	r = vf_fma(n, vf_set1(-(NPU_LN2_LO)), r);
	p = vf_fma(p, r, vf_set1(0x1.123f78p-7f));
	p = vf_fma(p, r, vf_set1(0x1.555a12p-5f));
	p = vf_fma(p, r, vf_set1(0x1.55548ap-3f));
	p = vf_fma(p, r, vf_set1(0x1.fffffap-2f));
	p = vf_fma(p, r, vf_set1(1.0f));
	p = vf_fma(p, r, vf_set1(1.0f));
	return vf_scale2(p, vi_from_vf(n));
}

static inline vf vf_tanh(vf x)
{
	const vi sign = vi_set1((int)0x80000000u);
	vf a = vi_as_vf(vi_and(vf_as_vi(x), vi_set1(0x7fffffff)));
	vf ac = vf_min(vf_set1(10.0f), a);
	vf s = vf_mul(ac, ac);
	vf p = vf_set1(0x1.1abac8p-9f);
	vf near, far;

	p = vf_fma(p, s, vf_set1(-0x1.0c84eep-7f));
	p = vf_fma(p, s, vf_set1(0x1.63ac7p-6f));
	p = vf_fma(p, s, vf_set1(-0x1.b9f218p-5f));
	p = vf_fma(p, s, vf_set1(0x1.11107cp-3f));
	p = vf_fma(p, s, vf_set1(-0x1.555554p-2f));
	near = vf_fma(vf_mul(ac, s), p, ac);
	far = vf_sub(vf_set1(1.0f),
		     vf_div(vf_set1(2.0f), vf_add(vf_exp(vf_mul(vf_set1(2.0f), ac)), vf_set1(1.0f))));
	near = vf_select(vm_lt_vf(a, vf_set1(0.625f)), near, far);
	return vi_as_vf(vi_or(vi_and(vf_as_vi(near), vi_set1(0x7fffffff)), vi_and(vf_as_vi(x), sign)));
}

#endif /* NPU_MODEL_OPS_MATHFN_SIMD_H */
