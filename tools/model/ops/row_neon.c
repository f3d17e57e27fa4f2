/* SPDX-License-Identifier: MIT */
/* Row kernels for 64-bit ARM. */
#define NPU_ROW_TABLE npu_row_neon
#include "row_impl.h"
