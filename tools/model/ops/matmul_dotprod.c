// SPDX-License-Identifier: MIT
/* Matmul kernels for 64-bit ARM with dot products. */
#define NPU_MM_TABLE npu_mm_dotprod
#include "simd_neon.h"
#include "matmul_simd.h"
