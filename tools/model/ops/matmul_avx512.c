// SPDX-License-Identifier: MIT
/* Matmul kernels for AVX-512 with VNNI. */
#define NPU_MM_TABLE npu_mm_avx512
#include "simd_avx512.h"
#include "matmul_simd.h"
