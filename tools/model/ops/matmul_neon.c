// SPDX-License-Identifier: MIT
/* Matmul kernels for 64-bit ARM. */
#define NPU_MM_TABLE npu_mm_neon
#include "simd_neon.h"
#include "matmul_simd.h"
