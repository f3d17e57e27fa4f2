// SPDX-License-Identifier: MIT
/* Attention kernel for AVX-512. */
#include "simd_avx512.h"
#include "attn_simd.h"

const struct npu_attn_kernel npu_attn_avx512 = { MOST, mem_bytes, run };
