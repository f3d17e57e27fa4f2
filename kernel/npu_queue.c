// SPDX-License-Identifier: GPL-2.0-only
/*
 * Queues: their memory, ring and end.
 */
#include <linux/dma-fence.h>
#include <linux/dma-mapping.h>
#include <linux/export.h>
#include <linux/slab.h>

#include <kunit/visibility.h>

#include <drm/drm_drv.h>
#include <drm/drm_print.h>

#include "npu_compat.h"
#include "npu_device.h"
#include "npu_drv.h"
#include "npu_isa.h"
#include "npu_job.h"
#include "npu_queue.h"
#include "npu_sched.h"
#include "npu_trace.h"
#include "npu_vm.h"

/* Initial registers of one job. */
#define NPU_REGS_BYTES	(NPU_SCALARS * sizeof(u64))

u32 npu_queue_entries(const struct npu_device *npu)
{
	return 1u << npu->ring_log2;
}

static u32 npu_queue_index(const struct npu_queue *queue, u32 position)
{
	return position & (npu_queue_entries(queue->npu) - 1);
}

/*
 * The structures of the hardware have plain integers: little endian, as the
 * device reads and writes them.
 */
static u64 npu_le64(u64 value)
{
	return (__force u64)cpu_to_le64(value);
}

static u32 npu_le32(u32 value)
{
	return (__force u32)cpu_to_le32(value);
}

static u16 npu_le16(u16 value)
{
	return (__force u16)cpu_to_le16(value);
}

/* ---- Ring ---------------------------------------------------------------- */

/* Write one entry, the last one of its job or not. */
static void npu_queue_write(struct npu_queue *queue, const struct npu_job_entry *entry, u16 flags)
{
	u32 index = npu_queue_index(queue, queue->tail);
	struct npu_job_desc *desc = &queue->desc[index];
	u64 seqno = ++queue->seqno, at = 0;

	if (entry->nregs) {
		memcpy(queue->regs + index * NPU_SCALARS, entry->regs,
		       entry->nregs * sizeof(*entry->regs));
		at = queue->regs_node.start + index * NPU_REGS_BYTES;
	}

	/* Zeroes, reserved words and little-endian order: the ring is always in this form. */
	desc->stream = npu_le64(entry->stream);
	desc->stream_size = npu_le32(entry->stream_size);
	desc->flags = npu_le16(flags);
	desc->nregs = npu_le16(entry->nregs);
	desc->regs = npu_le64(at);
	desc->seqno = npu_le64(seqno);
	desc->budget_us = npu_le32(entry->budget_us);
	desc->cookie = npu_le32(lower_32_bits(seqno));
	queue->comp[index].seqno = 0;
	WRITE_ONCE(queue->tail, queue->tail + 1);
	trace_npu_job_run(queue->npu->drm.dev, queue->id, seqno, entry->stream,
			  entry->stream_size, queue->hwq >= 0);
}

/**
 * npu_queue_push_locked() - Write a job into the ring
 * @queue: Queue; its scheduler's credits say that there is room.
 * @job: Job, its fence initialised.
 *
 * Return: true if the queue is bound: then the doorbell has been rung. Else
 * the scheduler must be told that the queue wants hardware.
 */
bool npu_queue_push_locked(struct npu_queue *queue, struct npu_job *job)
{
	u16 last = NPU_JOB_IRQ | (job->coalesce ? NPU_JOB_COALESCE : 0);
	u32 i;

	lockdep_assert_held(&queue->lock);

	/* Nobody waits for an entry that is not the last one: it needs no interrupt. */
	for (i = 0; i < job->count; i++)
		npu_queue_write(queue, &job->entries[i], i == job->count - 1 ? last : 0);

	job->left = job->count;
	list_add_tail(&job->node, &queue->in_flight);
	dma_fence_put(queue->last_fence);
	queue->last_fence = dma_fence_get(&job->done);

	if (queue->hwq < 0)
		return false;

	/* writel() orders the memory of the ring before the doorbell. */
	npu_write(queue->npu, NPU_QU(queue->hwq) + NPU_QU_DOORBELL, queue->tail);
	return true;
}
EXPORT_SYMBOL_IF_KUNIT(npu_queue_push_locked);

/* The oldest entry, of @job, has ended. */
static void npu_queue_pop(struct npu_queue *queue, struct npu_job *job, int error)
{
	queue->done_seqno++;
	queue->jobs_done++;
	WRITE_ONCE(queue->head, queue->head + 1);
	job->left--;
	job->error = job->error ?: error;
	trace_npu_job_done(queue->npu->drm.dev, queue->id, queue->done_seqno, error);
}

/* All entries of @job have ended. */
static void npu_queue_retire(struct npu_queue *queue, struct npu_job *job)
{
	/* The job may be freed as soon as its fence has been signalled. */
	struct dma_fence *fence = dma_fence_get(&job->done);

	list_del(&job->node);
	if (job->error)
		dma_fence_set_error(fence, job->error);
	dma_fence_signal(fence);
	dma_fence_put(fence);
}

/* Take note of the completions that have arrived, and signal the jobs that are complete. */
void npu_queue_complete_locked(struct npu_queue *queue)
{
	struct npu_completion *comp;
	struct npu_job *job, *next;

	lockdep_assert_held(&queue->lock);

	list_for_each_entry_safe(job, next, &queue->in_flight, node) {
		while (job->left) {
			comp = &queue->comp[npu_queue_index(queue, queue->head)];
			if (npu_le64(READ_ONCE(comp->seqno)) != queue->done_seqno + 1)
				return;

			/* The sequence number is written last: the rest is valid. */
			dma_rmb();
			queue->active_ns += npu_le64(comp->active_ns);
			npu_queue_pop(queue, job, 0);
		}
		npu_queue_retire(queue, job);
	}
}

void npu_queue_complete(struct npu_queue *queue)
{
	unsigned long flags;

	spin_lock_irqsave(&queue->lock, flags);
	npu_queue_complete_locked(queue);
	spin_unlock_irqrestore(&queue->lock, flags);
}
EXPORT_SYMBOL_IF_KUNIT(npu_queue_complete);

/**
 * npu_queue_kill() - The queue ends, and all its jobs with it
 * @queue: Queue, not bound: the hardware has forgotten it.
 * @state: enum drm_npu_queue_state, why; ALIVE when it is just destroyed.
 * @error: Error of the oldest job's fence; the younger ones are cancelled, or
 *         with a lost device end with the same.
 * @fault: Fault record, or NULL.
 */
void npu_queue_kill(struct npu_queue *queue, u32 state, int error,
		    const struct npu_fault_info *fault)
{
	struct npu_job *job, *next;
	unsigned long flags;
	bool cookie;

	cookie = dma_fence_begin_signalling();
	spin_lock_irqsave(&queue->lock, flags);
	npu_queue_complete_locked(queue);

	if (!queue->dead || state == DRM_NPU_QUEUE_DEVICE_LOST) {
		queue->state = state;
		if (fault)
			queue->fault = *fault;
	}
	WRITE_ONCE(queue->dead, true);

	list_for_each_entry_safe(job, next, &queue->in_flight, node) {
		while (job->left)
			npu_queue_pop(queue, job, error);
		npu_queue_retire(queue, job);
		if (state != DRM_NPU_QUEUE_DEVICE_LOST)
			error = -ECANCELED;
	}
	spin_unlock_irqrestore(&queue->lock, flags);
	dma_fence_end_signalling(cookie);
}
EXPORT_SYMBOL_IF_KUNIT(npu_queue_kill);

/**
 * npu_queue_cancel_started() - The device was reset under a job of the queue
 * @queue: Queue, not bound, innocent.
 *
 * Only the oldest entry can have been started. It is cancelled, which its job's
 * fence will say; the others run.
 */
void npu_queue_cancel_started(struct npu_queue *queue)
{
	struct npu_job *job;
	unsigned long flags;

	spin_lock_irqsave(&queue->lock, flags);
	job = list_first_entry_or_null(&queue->in_flight, struct npu_job, node);
	if (job) {
		queue->innocent_resets++;
		if (!queue->dead)
			queue->state = DRM_NPU_QUEUE_INNOCENT;
		npu_queue_pop(queue, job, -ECANCELED);
		if (!job->left)
			npu_queue_retire(queue, job);
	}
	spin_unlock_irqrestore(&queue->lock, flags);
}
EXPORT_SYMBOL_IF_KUNIT(npu_queue_cancel_started);

/* ---- State --------------------------------------------------------------- */

void npu_queue_get_state(struct npu_queue *queue, struct drm_npu_queue_get_state *out)
{
	npu_sched_sample(queue);

	spin_lock_irq(&queue->lock);
	out->state = queue->state;
	if (!queue->dead && npu_vm_unusable(queue->vm))
		out->state = DRM_NPU_QUEUE_VM_UNUSABLE;
	out->fault = queue->fault.fault;
	out->fault_tag = queue->fault.tag;
	out->fault_addr = queue->fault.addr;
	out->fault_pc = queue->fault.pc;
	out->progress = queue->hw.progress;
	out->active_ns = max(queue->active_ns, queue->hw.active);
	out->innocent_resets = queue->innocent_resets;
	spin_unlock_irq(&queue->lock);
}

/* ---- Life ---------------------------------------------------------------- */

static size_t npu_queue_regs_offset(const struct npu_device *npu)
{
	size_t entries = npu_queue_entries(npu);

	return ALIGN(entries * (sizeof(struct npu_job_desc) + sizeof(struct npu_completion)),
		     NPU_PAGE_SIZE);
}

static int npu_queue_alloc_mem(struct npu_queue *queue)
{
	struct npu_device *npu = queue->npu;
	size_t entries = npu_queue_entries(npu), offset = npu_queue_regs_offset(npu);
	size_t regs_size = ALIGN(entries * NPU_REGS_BYTES, NPU_PAGE_SIZE);
	u32 prot = NPU_PROT_READONLY | (npu->coherent ? NPU_PROT_CACHED : 0);

	queue->mem.size = offset + regs_size;
	queue->mem.cpu = dma_alloc_coherent(npu->drm.dev, queue->mem.size, &queue->mem.dma,
					    GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!queue->mem.cpu)
		return -ENOMEM;

	queue->desc = queue->mem.cpu;
	queue->comp = (void *)(queue->desc + entries);
	queue->regs = queue->mem.cpu + offset;

	if (npu->info.features & NPU_FEAT_SUSPEND) {
		queue->image.cpu = dma_alloc_coherent(npu->drm.dev, npu->image_size,
						      &queue->image.dma,
						      GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
		if (!queue->image.cpu)
			return -ENOMEM;
	}

	return npu_vm_map_kernel(queue->vm, &queue->regs_node, queue->mem.dma + offset, regs_size,
				 prot);
}

static void npu_queue_free_mem(struct npu_queue *queue)
{
	struct device *dev = queue->npu->drm.dev;

	if (drm_mm_node_allocated(&queue->regs_node))
		npu_vm_unmap_kernel(queue->vm, &queue->regs_node);
	if (queue->image.cpu)
		dma_free_coherent(dev, queue->npu->image_size, queue->image.cpu,
				  queue->image.dma);
	if (queue->mem.cpu)
		dma_free_coherent(dev, queue->mem.size, queue->mem.cpu, queue->mem.dma);
	queue->image.cpu = NULL;
	queue->mem.cpu = NULL;
}

/* The device has gone, and the queue is dead: nothing looks at its memory any more. */
void npu_queue_revoke(struct npu_queue *queue)
{
	npu_queue_free_mem(queue);
}

static void npu_queue_free(struct npu_queue *queue)
{
	npu_queue_free_mem(queue);
	dma_fence_put(queue->last_fence);
	npu_vm_put(queue->vm);
	drm_dev_put(&queue->npu->drm);
	kfree(queue);
}

static void npu_queue_release_work(struct work_struct *work)
{
	struct npu_queue *queue = container_of(to_rcu_work(work), struct npu_queue, release);

	drm_sched_entity_fini(&queue->entity);
	drm_sched_fini(&queue->sched);
	npu_queue_free(queue);
	npu_object_put();
}

static void npu_queue_release(struct kref *ref)
{
	struct npu_queue *queue = container_of(ref, struct npu_queue, ref);

	xa_erase(&queue->npu->queues, queue->id);
	queue_rcu_work(npu_cleanup_wq, &queue->release);
}

void npu_queue_put(struct npu_queue *queue)
{
	if (queue)
		kref_put(&queue->ref, npu_queue_release);
}

/* The handle has gone: kill what runs. Jobs that still wait for fences end when those do. */
void npu_queue_destroy(struct npu_queue *queue)
{
	npu_sched_kill_queue(queue, DRM_NPU_QUEUE_ALIVE, -ECANCELED);
	npu_queue_put(queue);
}

static int npu_queue_init_sched(struct npu_queue *queue)
{
	struct drm_gpu_scheduler *sched = &queue->sched;
	int ret;

	ret = npu_drm_sched_init(sched, &npu_job_sched_ops, queue->npu->submit_wq,
				 npu_queue_entries(queue->npu), "npu-queue",
				 queue->npu->drm.dev);
	if (ret)
		return ret;

	ret = drm_sched_entity_init(&queue->entity, DRM_SCHED_PRIORITY_KERNEL, &sched, 1, NULL);
	if (ret)
		drm_sched_fini(sched);
	return ret;
}

/**
 * npu_queue_create() - Make a queue
 * @npu: Device.
 * @vm: Address space; the queue takes a reference of its own.
 * @args: Checked arguments.
 *
 * Return: queue with one reference, or an ERR_PTR().
 */
struct npu_queue *npu_queue_create(struct npu_device *npu, struct npu_vm *vm,
				   const struct drm_npu_queue_create *args)
{
	struct npu_queue *queue;
	int ret;

	queue = kzalloc_obj(*queue, GFP_KERNEL_ACCOUNT);
	if (!queue)
		return ERR_PTR(-ENOMEM);

	kref_init(&queue->ref);
	spin_lock_init(&queue->lock);
	INIT_LIST_HEAD(&queue->in_flight);
	INIT_LIST_HEAD(&queue->wait_node);
	INIT_RCU_WORK(&queue->release, npu_queue_release_work);
	queue->npu = npu;
	queue->vm = npu_vm_get(vm);
	queue->priority = args->priority;
	queue->timeout_us = npu_job_timeout_us(args->timeout_ms);
	queue->hwq = -1;
	queue->pid = task_tgid_nr(current);
	get_task_comm(queue->comm, current);
	queue->fence_context = dma_fence_context_alloc(1);
	drm_dev_get(&npu->drm);

	ret = npu_queue_alloc_mem(queue);
	if (!ret)
		ret = npu_queue_init_sched(queue);
	if (ret) {
		npu_queue_free(queue);
		return ERR_PTR(ret);
	}

	npu_object_get();
	ret = xa_alloc(&npu->queues, &queue->id, queue, xa_limit_31b, GFP_KERNEL);
	if (ret) {
		npu_queue_put(queue);
		return ERR_PTR(ret);
	}

	return queue;
}
