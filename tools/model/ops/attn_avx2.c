// SPDX-License-Identifier: MIT
/* Attention kernel for AVX2 with FMA and F16C. */
#include "simd_avx2.h"
#include "attn_simd.h"

const struct npu_attn_kernel npu_attn_avx2 = { MOST, mem_bytes, run };
