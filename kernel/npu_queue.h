/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Queues: what user space creates and submits to. A queue has a ring of its
 * own, and runs when it is bound to a hardware queue (npu_sched.h).
 */
#ifndef NPU_QUEUE_H
#define NPU_QUEUE_H

#include <linux/kref.h>
#include <linux/sched.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

#include <drm/drm_mm.h>
#include <drm/gpu_scheduler.h>
#include <drm/npu_accel.h>

#include "npu_regs.h"

struct drm_file;
struct npu_device;
struct npu_file;
struct npu_job;
struct npu_vm;

/**
 * struct npu_fault_info - why a queue died, as QUEUE_GET_STATE tells it
 */
struct npu_fault_info {
	/** @fault: FAULT register. */
	u32 fault;
	/** @tag: Tag of the command. */
	u32 tag;
	/** @addr: Faulting address. */
	u64 addr;
	/** @pc: Address of the command. */
	u64 pc;
	/** @seqno: Sequence number of the job. */
	u64 seqno;
};

/**
 * struct npu_queue - one queue
 *
 * The scheduler and its entity live and die with the queue, and each job holds a
 * reference: with the last reference, no job is left.
 */
struct npu_queue {
	/** @ref: References: handle, jobs, binding to a hardware queue. */
	struct kref ref;
	/** @npu: Device. */
	struct npu_device *npu;
	/** @vm: Address space. Owned. */
	struct npu_vm *vm;
	/** @id: In npu_device.queues; 0 before it is there. Not the user's handle. */
	u32 id;
	/** @priority: enum drm_npu_priority. */
	u32 priority;
	/** @timeout_us: Active time of a job after which it is a hang. */
	u32 timeout_us;

	/** @pid: Process that made the queue, for dumps and debugfs. */
	pid_t pid;
	/** @comm: Its name. */
	char comm[TASK_COMM_LEN];

	/** @sched: Scheduler of this queue alone. */
	struct drm_gpu_scheduler sched;
	/** @entity: Its only entity. Arming and pushing: under the VM's reservation. */
	struct drm_sched_entity entity;
	/** @fence_context: Context of hardware fences. */
	u64 fence_context;

	/** @mem: Ring, completions and initial registers. */
	struct {
		/** @cpu: CPU address. */
		void *cpu;
		/** @dma: DMA address. */
		dma_addr_t dma;
		/** @size: Bytes. */
		size_t size;
	} mem;
	/** @desc: Ring, in @mem. */
	struct npu_job_desc *desc;
	/** @comp: Completions, in @mem. */
	struct npu_completion *comp;
	/** @regs: Initial registers, NPU_SCALARS for each entry of the ring, in @mem. */
	u64 *regs;
	/** @regs_node: Where the device sees @regs. */
	struct drm_mm_node regs_node;
	/** @image: Context image, in memory that only the device reads. */
	struct {
		/** @cpu: CPU address. */
		void *cpu;
		/** @dma: DMA address. */
		dma_addr_t dma;
	} image;

	/** @lock: Protects all below unless noted; taken in the interrupt handler. */
	spinlock_t lock;
	/** @head: Free-running index of the oldest job that has not ended. */
	u32 head;
	/** @tail: Free-running index of the next job. */
	u32 tail;
	/** @seqno: Sequence number of the newest job. */
	u64 seqno;
	/** @done_seqno: Sequence number of the last job that has ended. */
	u64 done_seqno;
	/** @in_flight: Jobs from @head to @tail. */
	struct list_head in_flight;
	/** @last_fence: Hardware fence of the newest job, or NULL. Owned. */
	struct dma_fence *last_fence;
	/** @state: enum drm_npu_queue_state. */
	u32 state;
	/** @dead: No job is accepted any more, for the reason in @state or for a destroy. */
	bool dead;
	/** @fault: Valid in the state FAULT and TIMEOUT. */
	struct npu_fault_info fault;
	/** @innocent_resets: Jobs lost to device resets that others caused. */
	u32 innocent_resets;
	/** @active_ns: Device time of jobs that have ended. */
	u64 active_ns;
	/** @jobs_done: Jobs that have ended. */
	u64 jobs_done;

	/**
	 * @hwq: Hardware queue, -1 = none. Written with the scheduler's lock held
	 * as well: either suffices to read it.
	 */
	int hwq;

	/** @hw: What the scheduler keeps, protected by its bind_lock. */
	struct {
		/** @in_job: The image holds a job in progress. */
		bool in_job;
		/** @active: ACTIVE register when unbound. */
		u64 active;
		/** @cycles: CYCLES register when unbound. */
		u64 cycles;
		/** @commands: COMMANDS register when unbound. */
		u64 commands;
		/** @progress: Last seen PROGRESS. */
		u64 progress;
		/** @bound_at: When it was bound, jiffies. */
		unsigned long bound_at;
		/** @watch_seqno: Last seen done_seqno, by the watchdog. */
		u64 watch_seqno;
		/** @watch_commands: Last seen COMMANDS. */
		u64 watch_commands;
		/** @watch_active: ACTIVE when the present job was first seen. */
		u64 watch_active;
		/** @watch_since: When anything last moved, jiffies. */
		unsigned long watch_since;
	} hw;

	/** @wait_node: In a list of queues that wait for hardware; the scheduler's lock. */
	struct list_head wait_node;
	/** @wait_since: Since when, jiffies. */
	unsigned long wait_since;

	/** @release: Frees the queue, after a grace period for names of fences. */
	struct rcu_work release;
};

struct npu_queue *npu_queue_create(struct npu_device *npu, struct npu_vm *vm,
				   const struct drm_npu_queue_create *args);
void npu_queue_destroy(struct npu_queue *queue);
void npu_queue_put(struct npu_queue *queue);
void npu_queue_revoke(struct npu_queue *queue);
void npu_queue_get_state(struct npu_queue *queue, struct drm_npu_queue_get_state *out);

static inline struct npu_queue *npu_queue_get(struct npu_queue *queue)
{
	kref_get(&queue->ref);
	return queue;
}

bool npu_queue_push_locked(struct npu_queue *queue, struct npu_job *job);
void npu_queue_complete_locked(struct npu_queue *queue);
void npu_queue_complete(struct npu_queue *queue);
void npu_queue_kill(struct npu_queue *queue, u32 state, int error,
		    const struct npu_fault_info *fault);
void npu_queue_cancel_started(struct npu_queue *queue);

static inline bool npu_queue_busy(struct npu_queue *queue)
{
	return READ_ONCE(queue->head) != READ_ONCE(queue->tail);
}

/* Entries of each queue's ring. */
u32 npu_queue_entries(const struct npu_device *npu);

#endif /* NPU_QUEUE_H */
