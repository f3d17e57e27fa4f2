/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Hardware queues: which queue is bound to which, and recovery.
 *
 * Queues outnumber hardware queues. A queue with jobs and no hardware waits;
 * one ordered worker binds waiting queues, by priority and then in order of
 * arrival, evicting idle queues first, then those of lower priority, then those
 * of the same priority whose slice is over. A job in progress is saved as a
 * context image and goes on from it.
 *
 * npu_sched.c binds; npu_reset.c watches and recovers. Both run on the worker.
 */
#ifndef NPU_SCHED_H
#define NPU_SCHED_H

#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

#include <drm/npu_accel.h>

#include "npu_regs.h"

struct npu_device;
struct npu_fault_info;
struct npu_queue;

#define NPU_PRIORITIES	4

/**
 * struct npu_sched - hardware queues of a device
 */
struct npu_sched {
	/** @npu: Device. */
	struct npu_device *npu;

	/**
	 * @bind_lock: Held while queues are bound, unbound or reset. Nothing under it
	 * allocates or waits for fences: it is on the way of fences.
	 */
	struct mutex bind_lock;

	/** @lock: Protects @hwq, @waiting and @faults; taken in the interrupt handler. */
	spinlock_t lock;
	/** @hwq: Queue bound to each hardware queue, with a reference. */
	struct npu_queue *hwq[NPU_MAX_QUEUES];
	/** @waiting: Queues that want hardware, by priority. */
	struct list_head waiting[NPU_PRIORITIES];
	/** @faults: Hardware queues that reported a fault. */
	u32 faults;

	/** @reset_wanted: The device misbehaves: reset it. */
	bool reset_wanted;
	/** @suspended: The device is asleep: nothing is bound. Protected by @bind_lock. */
	bool suspended;
	/** @ticking: @tick is queued or about to be; counts in npu_device.pending. */
	unsigned long ticking;

	/** @wq: Ordered: binding, watching and recovery never overlap. */
	struct workqueue_struct *wq;
	/** @work: Serves @reset_wanted, @faults and @waiting. */
	struct work_struct work;
	/** @tick: Watches queues that have jobs, and ends time slices. */
	struct delayed_work tick;
	/** @event: A command of a hardware queue has ended. */
	wait_queue_head_t event;
};

int npu_sched_init(struct npu_device *npu);
void npu_sched_fini(struct npu_device *npu);
void npu_sched_lose(struct npu_device *npu);
void npu_sched_suspend(struct npu_device *npu);
void npu_sched_resume(struct npu_device *npu);

void npu_sched_queue_ready(struct npu_queue *queue, bool bound);
void npu_sched_kill_queue(struct npu_queue *queue, u32 state, int error);
void npu_sched_sample(struct npu_queue *queue);
void npu_sched_request_reset(struct npu_device *npu);
void npu_sched_wait_reset(struct npu_device *npu);

void npu_sched_irq_done(struct npu_device *npu, u32 bits);
void npu_sched_irq_fault(struct npu_device *npu, u32 bits);
void npu_sched_irq_event(struct npu_device *npu);
void npu_sched_irq_fatal(struct npu_device *npu);

/* Between npu_sched.c and npu_reset.c; bind_lock held. */
int npu_hwq_wait(struct npu_device *npu, int id, u32 *status);
void npu_hwq_save(struct npu_queue *queue, int id, u32 status);
void npu_sched_unpublish(struct npu_sched *sched, int id);
void npu_sched_release(struct npu_sched *sched, struct npu_queue *queue);
void npu_sched_wait_for_hw(struct npu_sched *sched, struct npu_queue *queue);
void npu_sched_forget(struct npu_sched *sched, struct npu_queue *queue);

void npu_reset_end_queue(struct npu_sched *sched, struct npu_queue *queue, int id, u32 state,
			 int error, const struct npu_fault_info *fault);
void npu_reset_device(struct npu_sched *sched, struct npu_queue *guilty);
void npu_reset_faults(struct npu_sched *sched);
bool npu_reset_watch(struct npu_sched *sched);
void npu_reset_hung_suspend(struct npu_sched *sched, struct npu_queue *queue, int id);
void npu_reset_lose(struct npu_sched *sched);

#endif /* NPU_SCHED_H */
