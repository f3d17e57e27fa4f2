/* SPDX-License-Identifier: MIT */
/* Row kernels, the reference: compiled without vectors and without the vectoriser. */
#define NPU_ROW_PLAIN
#define NPU_ROW_TABLE npu_row_scalar
#include "row_impl.h"
