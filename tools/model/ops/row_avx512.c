/* SPDX-License-Identifier: MIT */
/* Row kernels for AVX-512. */
#define NPU_ROW_TABLE npu_row_avx512
#include "row_impl.h"
