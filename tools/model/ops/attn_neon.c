// SPDX-License-Identifier: MIT
/* Attention kernel for 64-bit ARM. */
#include "simd_neon.h"
#include "attn_simd.h"

const struct npu_attn_kernel npu_attn_neon = { MOST, mem_bytes, run };
