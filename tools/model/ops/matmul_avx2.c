// SPDX-License-Identifier: MIT
/* Matmul kernels for AVX2 with FMA and F16C. */
#define NPU_MM_TABLE npu_mm_avx2
#include "simd_avx2.h"
#include "matmul_simd.h"
