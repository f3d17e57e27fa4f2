/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Checks of what user space passes, as functions of their arguments alone.
 */
#ifndef NPU_VALIDATE_H
#define NPU_VALIDATE_H

#include <linux/types.h>

struct drm_npu_info;
struct drm_npu_job;

int npu_bind_range_check(u64 va, u64 size, u64 offset, u64 start, u64 end);
int npu_job_check(const struct drm_npu_job *job, const struct drm_npu_info *info, u64 va_start,
		  u64 va_end);

#endif /* NPU_VALIDATE_H */
