/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef NPU_JOB_H
#define NPU_JOB_H

#include <drm/gpu_scheduler.h>

struct drm_file;
struct drm_npu_submit;
struct npu_file;
struct npu_queue;

/**
 * struct npu_job - one job
 */
struct npu_job {
	/** @base: For the scheduler. */
	struct drm_sched_job base;
	/** @queue: Queue. Owned. */
	struct npu_queue *queue;
	/** @done: Hardware fence, made with the job and initialised when it runs. Owned. */
	struct dma_fence *done;
	/** @node: In npu_queue.in_flight. */
	struct list_head node;
	/** @seqno: Sequence number on the hardware. */
	u64 seqno;
	/** @stream: Address of the command stream. */
	u64 stream;
	/** @stream_size: Bytes; 0 = no commands. */
	u32 stream_size;
	/** @budget_us: Active time after which it is stopped; 0 = the queue's. */
	u32 budget_us;
	/** @coalesce: Nobody waits for this job alone: its interrupt may be late. */
	bool coalesce;
	/** @nregs: Number of @regs. */
	u32 nregs;
	/** @regs: Initial registers. */
	u64 regs[] __counted_by(nregs);
};

extern const struct drm_sched_backend_ops npu_job_sched_ops;

int npu_job_submit(struct npu_queue *queue, struct drm_file *file,
		   const struct drm_npu_submit *args);
u32 npu_job_timeout_us(u32 ms);
bool npu_job_timeout_valid(u32 ms);

#endif /* NPU_JOB_H */
