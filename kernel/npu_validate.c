// SPDX-License-Identifier: GPL-2.0-only
#include <linux/align.h>
#include <linux/errno.h>
#include <linux/export.h>

#include <kunit/visibility.h>

#include <drm/npu_accel.h>

#include "npu_isa.h"
#include "npu_pgtable.h"
#include "npu_validate.h"

/* Is [va, va + size) aligned, not empty, and within [start, end)? */
int npu_bind_range_check(u64 va, u64 size, u64 offset, u64 start, u64 end)
{
	if (!size || !IS_ALIGNED(va | size | offset, NPU_PAGE_SIZE))
		return -EINVAL;
	if (va < start || va >= end || size > end - va)
		return -EINVAL;

	return 0;
}
EXPORT_SYMBOL_IF_KUNIT(npu_bind_range_check);

/* Fields of one job, apart from what its pointers point at. */
int npu_job_check(const struct drm_npu_job *job, const struct drm_npu_info *info, u64 va_start,
		  u64 va_end)
{
	if (job->flags || job->nregs > NPU_SCALARS || !!job->nregs != !!job->regs)
		return -EINVAL;

	/* No commands: sync operations only. */
	if (!job->stream_size)
		return job->stream || job->nregs || job->budget_us ? -EINVAL : 0;

	if (!IS_ALIGNED(job->stream | job->stream_size, NPU_PACKET_ALIGN) ||
	    job->stream_size > info->max_stream)
		return -EINVAL;
	if (job->stream < va_start || job->stream >= va_end ||
	    job->stream_size > va_end - job->stream)
		return -EINVAL;

	return 0;
}
EXPORT_SYMBOL_IF_KUNIT(npu_job_check);
