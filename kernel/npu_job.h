/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef NPU_JOB_H
#define NPU_JOB_H

#include <linux/dma-fence.h>
#include <linux/spinlock.h>

#include <drm/gpu_scheduler.h>

struct drm_file;
struct drm_npu_submit;
struct npu_file;
struct npu_queue;

/**
 * struct npu_job_entry - one job of the user: one entry of the ring
 */
struct npu_job_entry {
	/** @stream: Address of the command stream. */
	u64 stream;
	/** @stream_size: Bytes. */
	u32 stream_size;
	/** @budget_us: Active time after which it is stopped; 0 = the queue's. */
	u32 budget_us;
	/** @regs: Initial registers, in the memory of the job. */
	const u64 *regs;
	/** @nregs: Number of @regs. */
	u32 nregs;
};

/**
 * struct npu_job - what the scheduler sees as one job
 *
 * Jobs of one ioctl that nobody can wait for apart are run together: there is one
 * fence, behind the last of them.
 */
struct npu_job {
	/**
	 * @done: Hardware fence; first, so that its default release frees the job.
	 * Initialised when the job runs: before that, the job has no reference count.
	 */
	struct dma_fence done;
	/** @lock: Lock of @done, where the core has none built in. */
	spinlock_t lock;
	/** @coalesce: Nobody waits for this job alone: its interrupt may be late. */
	bool coalesce;
	/** @error: First error of an entry that was lost although its queue lives on. */
	int error;
	/** @base: For the scheduler. */
	struct drm_sched_job base;
	/** @queue: Queue. Owned until the scheduler frees the job. */
	struct npu_queue *queue;
	/** @node: In npu_queue.in_flight. */
	struct list_head node;
	/** @left: Entries that have not ended, once it runs. */
	u32 left;
	/** @count: Number of @entries; 0 = no commands. */
	u32 count;
	/** @entries: Entries, and behind them their registers. */
	struct npu_job_entry entries[] __counted_by(count);
};

extern const struct drm_sched_backend_ops npu_job_sched_ops;

int npu_job_submit(struct npu_queue *queue, struct drm_file *file,
		   const struct drm_npu_submit *args);
u32 npu_job_timeout_us(u32 ms);
bool npu_job_timeout_valid(u32 ms);

#endif /* NPU_JOB_H */
