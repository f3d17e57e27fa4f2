// SPDX-License-Identifier: MIT
/* Matmul kernels for 64-bit ARM. */
#include "simd_neon.h"
#include "matmul_simd.h"

const struct npu_mm_kernels npu_mm_neon = {
	.panel_rows = NV * VL,
	.mr = { MR_F, MR_Q, MR_Q, MR_Q },
	.q8_bias = Q8_BIAS,
	.q4_bias = 8,
	.q6_bias = 32,
	.direct_mr = MR_DIRECT,
	.quantize = quantize,
	.load_act = load_act,
	.panel_bytes = panel_bytes,
	.pack = pack,
	.kernel = kernel,
	.direct = direct,
	.direct_wide = direct_wide,
	.collect = collect,
	.finish = finish,
	.widen_f16 = widen_f16,
};
