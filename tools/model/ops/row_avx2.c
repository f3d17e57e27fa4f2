/* SPDX-License-Identifier: MIT */
/* Row kernels for AVX2, FMA and F16C. */
#define NPU_ROW_TABLE npu_row_avx2
#include "row_impl.h"
