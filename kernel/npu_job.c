// SPDX-License-Identifier: GPL-2.0-only
/*
 * Submission. All that can fail comes before the first job is armed; from
 * there to the last push nothing can.
 */
#include <linux/dma-fence.h>
#include <linux/dma-resv.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include <drm/drm_file.h>
#include <drm/drm_print.h>
#include <drm/npu_accel.h>

#include "npu_compat.h"
#include "npu_device.h"
#include "npu_drv.h"
#include "npu_job.h"
#include "npu_queue.h"
#include "npu_sched.h"
#include "npu_sync.h"
#include "npu_trace.h"
#include "npu_validate.h"
#include "npu_vm.h"

static unsigned int job_timeout_ms = 5000;
module_param(job_timeout_ms, uint, 0644);
MODULE_PARM_DESC(job_timeout_ms, "Device time of a job after which it is a hang (default 5000)");

static unsigned int job_timeout_max_ms = 60000;
module_param(job_timeout_max_ms, uint, 0644);
MODULE_PARM_DESC(job_timeout_max_ms, "Longest such time that a queue may ask for (default 60000)");

/* Most jobs of the user, and most registers of theirs, that run as one for the scheduler. */
#define NPU_GROUP_JOBS	32u
#define NPU_GROUP_REGS	256u

bool npu_job_timeout_valid(u32 ms)
{
	return ms <= READ_ONCE(job_timeout_max_ms);
}

/* Of a queue that asks for @ms (0 = the default): bounded so that it fits the register. */
u32 npu_job_timeout_us(u32 ms)
{
	ms = ms ?: READ_ONCE(job_timeout_ms);
	return clamp(ms, 1u, U32_MAX / USEC_PER_MSEC - 1) * USEC_PER_MSEC;
}

/* ---- Hardware fence ------------------------------------------------------ */

static const char *npu_fence_driver_name(struct dma_fence *fence)
{
	return "npu";
}

static const char *npu_fence_timeline_name(struct dma_fence *fence)
{
	return "npu-job";
}

static const struct dma_fence_ops npu_fence_ops = {
	.get_driver_name = npu_fence_driver_name,
	.get_timeline_name = npu_fence_timeline_name,
};

/* ---- Scheduler's callbacks ----------------------------------------------- */

static struct npu_job *to_npu_job(struct drm_sched_job *job)
{
	return container_of(job, struct npu_job, base);
}

/* No commands: the job ends when the one before it has. */
static struct dma_fence *npu_job_run_empty(struct npu_queue *queue)
{
	struct dma_fence *fence;

	spin_lock_irq(&queue->lock);
	fence = queue->dead ? ERR_PTR(-ECANCELED) : dma_fence_get(queue->last_fence);
	spin_unlock_irq(&queue->lock);
	return fence;
}

/* Nothing here allocates, sleeps or powers up: submission has done all of that. */
static struct dma_fence *npu_job_run(struct drm_sched_job *sched_job)
{
	struct npu_job *job = to_npu_job(sched_job);
	struct npu_queue *queue = job->queue;
	struct dma_fence *fence = NULL;
	bool cookie, bound = true;
	int error = 0;

	cookie = dma_fence_begin_signalling();

	if (!job->count) {
		fence = npu_job_run_empty(queue);
		goto out;
	}

	spin_lock_irq(&queue->lock);
	if (npu_device_lost(queue->npu)) {
		error = -ENODEV;
	} else if (queue->dead) {
		error = -ECANCELED;
	} else {
		npu_dma_fence_init(&job->done, &npu_fence_ops, &job->lock, queue->fence_context,
				   queue->seqno + job->count);
		fence = dma_fence_get(&job->done);
		bound = npu_queue_push_locked(queue, job);
	}
	spin_unlock_irq(&queue->lock);

	if (error)
		fence = ERR_PTR(error);
	else
		npu_sched_queue_ready(queue, bound);

out:
	dma_fence_end_signalling(cookie);
	return fence;
}

/* @job has not been armed, or has ended. */
static void npu_job_destroy(struct npu_job *job)
{
	npu_queue_put(job->queue);
	/* A fence that never ran has no references, and nobody has seen it. */
	if (kref_read(&job->done.refcount))
		dma_fence_put(&job->done);
	else
		kfree(job);
}

static void npu_job_free(struct drm_sched_job *sched_job)
{
	struct npu_job *job = to_npu_job(sched_job);

	npu_sched_job_orphan(sched_job);
	drm_sched_job_cleanup(sched_job);
	npu_device_put_power(job->queue->npu, 1);
	npu_job_destroy(job);
}

/* Never: time-outs are the queue's (npu_reset.c), the scheduler's own is off. */
static enum drm_gpu_sched_stat npu_job_timedout(struct drm_sched_job *sched_job)
{
	return NPU_SCHED_STAT_RESET;
}

const struct drm_sched_backend_ops npu_job_sched_ops = {
	.run_job = npu_job_run,
	.free_job = npu_job_free,
	.timedout_job = npu_job_timedout,
};

/* ---- Submission ---------------------------------------------------------- */

/**
 * struct npu_submit - one SUBMIT in progress
 */
struct npu_submit {
	/** @queue: Queue. */
	struct npu_queue *queue;
	/** @file: File. */
	struct drm_file *file;
	/** @args: Jobs as the user gave them. */
	struct drm_npu_job *args;
	/** @syncs: Their sync operations. */
	struct npu_sync_ops *syncs;
	/** @copied: How many of @syncs there are to free. */
	u32 copied;
	/** @count: Number of @args. */
	u32 count;
	/** @jobs: What the scheduler gets. */
	struct npu_job **jobs;
	/** @made: Number of @jobs. */
	u32 made;
	/** @signals: Signals of all. */
	struct npu_sync_list signals;

	/** @one: In place of allocated memory when there is one job: of args, syncs, jobs. */
	struct {
		struct drm_npu_job arg;
		struct npu_sync_ops sync;
		struct npu_job *job;
	} one;
};

/*
 * How many jobs from the @first on run as one: as long as nobody waits for one
 * of them apart, none waits for others, and ring and memory have room.
 */
static u32 npu_submit_group(const struct npu_submit *sub, u32 first, u32 *nregs)
{
	u32 max = min(NPU_GROUP_JOBS, npu_queue_entries(sub->queue->npu) / 2), i;

	*nregs = sub->args[first].nregs;
	if (!sub->args[first].stream_size)
		return 1;

	for (i = first + 1; i < sub->count && i - first < max; i++) {
		if (sub->syncs[i - 1].signals || sub->syncs[i].waits ||
		    !sub->args[i].stream_size ||
		    *nregs + sub->args[i].nregs > NPU_GROUP_REGS)
			break;
		*nregs += sub->args[i].nregs;
	}

	return i - first;
}

static int npu_job_add_entry(struct npu_job_entry *entry, const struct drm_npu_job *arg,
			     u64 *regs)
{
	*entry = (struct npu_job_entry) {
		.stream = arg->stream,
		.stream_size = arg->stream_size,
		.budget_us = arg->budget_us,
		.regs = regs,
		.nregs = arg->nregs,
	};
	if (arg->nregs &&
	    copy_from_user(regs, u64_to_user_ptr(arg->regs), arg->nregs * sizeof(u64)))
		return -EFAULT;
	return 0;
}

/* The next @count jobs of the user, from @first on, as one. */
static struct npu_job *npu_job_create(struct npu_submit *sub, u32 first, u32 count, u32 nregs)
{
	/* A job without commands has no entry. */
	u32 entries = sub->args[first].stream_size ? count : 0, i;
	size_t size = struct_size_t(struct npu_job, entries, entries);
	struct npu_job *job;
	int ret = 0;
	u64 *regs;

	job = kzalloc(size + nregs * sizeof(*regs), GFP_KERNEL_ACCOUNT);
	if (!job)
		return ERR_PTR(-ENOMEM);

	regs = (void *)job + size;
	job->queue = npu_queue_get(sub->queue);
	job->count = entries;
	for (i = 0; !ret && i < entries; i++) {
		ret = npu_job_add_entry(&job->entries[i], &sub->args[first + i], regs);
		regs += sub->args[first + i].nregs;
	}

	if (!ret)
		ret = npu_drm_sched_job_init(&job->base, &sub->queue->entity,
					     max(entries, 1u), sub->file, sub->file);
	if (ret) {
		npu_job_destroy(job);
		return ERR_PTR(ret);
	}

	return job;
}

/* Arm and push under the VM's reservation lock, which gets the fence of the last job. */
static int npu_submit_push(struct npu_submit *sub)
{
	struct npu_queue *queue = sub->queue;
	struct dma_resv *resv = drm_gpuvm_resv(&queue->vm->base);
	struct dma_fence *fence;
	int ret;
	u32 i;

	ret = dma_resv_lock_interruptible(resv, NULL);
	if (ret)
		return ret;

	ret = dma_resv_reserve_fences(resv, 1);
	if (!ret && READ_ONCE(queue->dead))
		ret = npu_device_lost(queue->npu) ? -ENODEV : -EIO;
	if (ret)
		goto out_unlock;

	for (i = 0; i < sub->made; i++) {
		drm_sched_job_arm(&sub->jobs[i]->base);
		fence = &sub->jobs[i]->base.s_fence->finished;
		npu_sync_set_fence(&sub->signals, i, fence);
	}
	dma_resv_add_fence(resv, fence, DMA_RESV_USAGE_BOOKKEEP);
	for (i = 0; i < sub->made; i++)
		drm_sched_entity_push_job(&sub->jobs[i]->base);

out_unlock:
	dma_resv_unlock(resv);
	return ret;
}

/* Copy and check all arguments. */
static int npu_submit_copy(struct npu_submit *sub, const struct drm_npu_submit *args)
{
	struct npu_device *npu = sub->queue->npu;
	u64 va_end = NPU_VM_START + npu_vm_user_size(npu);
	void *infos;
	int ret;
	u32 i;

	sub->count = args->jobs.count;
	if (npu_copy_one(&args->jobs, &sub->one.arg, sizeof(sub->one.arg))) {
		sub->args = &sub->one.arg;
		sub->syncs = &sub->one.sync;
		sub->jobs = &sub->one.job;
	} else {
		infos = npu_copy_array(&args->jobs, offsetofend(struct drm_npu_job, syncs),
				       sizeof(*sub->args), NPU_MAX_JOBS);
		if (IS_ERR(infos))
			return PTR_ERR(infos);
		sub->args = infos;
		sub->syncs = kvmalloc_array(sub->count, sizeof(*sub->syncs), GFP_KERNEL);
		sub->jobs = kvmalloc_array(sub->count, sizeof(*sub->jobs), GFP_KERNEL);
		if (!sub->syncs || !sub->jobs)
			return -ENOMEM;
	}

	for (i = 0; i < sub->count; i++) {
		ret = npu_job_check(&sub->args[i], &npu->info, NPU_VM_START, va_end);
		if (ret)
			return ret;
		ret = npu_sync_copy(&sub->syncs[sub->copied++], &sub->args[i].syncs);
		if (ret)
			return ret;
	}
	return 0;
}

/* Make the scheduler's jobs. */
static int npu_submit_create(struct npu_submit *sub)
{
	u32 first, count, nregs, i;
	struct npu_job *job;
	int ret;

	for (first = 0; first < sub->count; first += count) {
		count = npu_submit_group(sub, first, &nregs);
		job = npu_job_create(sub, first, count, nregs);
		if (IS_ERR(job))
			return PTR_ERR(job);
		sub->jobs[sub->made] = job;

		/* Only the first waits, only the last signals. */
		for (i = first, ret = 0; !ret && i < first + count; i++)
			ret = npu_sync_add(&sub->signals, sub->file, &job->base, sub->made,
					   &sub->syncs[i]);
		sub->made++;
		if (ret)
			return ret;
		/* Without a signal of its own, only a job behind it can show that it ended. */
		job->coalesce = !sub->syncs[first + count - 1].signals &&
				first + count != sub->count;
	}

	return 0;
}

static void npu_submit_fini(struct npu_submit *sub)
{
	while (sub->made--) {
		drm_sched_job_cleanup(&sub->jobs[sub->made]->base);
		npu_job_destroy(sub->jobs[sub->made]);
	}
	while (sub->copied--)
		npu_sync_free(&sub->syncs[sub->copied]);
	npu_sync_fini(&sub->signals);

	if (sub->args != &sub->one.arg) {
		kvfree(sub->args);
		kvfree(sub->syncs);
		kvfree(sub->jobs);
	}
}

/**
 * npu_job_submit() - Hand jobs to a queue
 * @queue: Queue.
 * @file: File.
 * @args: Arguments; its flags have been checked.
 *
 * Return: 0 with all jobs accepted, or a negative errno with none.
 */
int npu_job_submit(struct npu_queue *queue, struct drm_file *file,
		   const struct drm_npu_submit *args)
{
	struct npu_submit sub;
	int ret;

	if (!args->jobs.count)
		return -EINVAL;
	if (READ_ONCE(queue->dead) || npu_vm_unusable(queue->vm))
		return npu_device_lost(queue->npu) ? -ENODEV : -EIO;

	sub.queue = queue;
	sub.file = file;
	sub.args = NULL;
	sub.syncs = NULL;
	sub.jobs = NULL;
	sub.copied = 0;
	sub.made = 0;
	npu_sync_init(&sub.signals);

	ret = npu_submit_copy(&sub, args);
	if (!ret)
		ret = npu_submit_create(&sub);
	if (!ret)
		ret = npu_device_get_power(queue->npu, sub.made);
	if (ret)
		goto out;

	ret = npu_submit_push(&sub);
	if (ret) {
		npu_device_put_power(queue->npu, sub.made);
		goto out;
	}

	npu_sync_publish(&sub.signals);
	trace_npu_submit(queue->npu->drm.dev, queue->id, sub.count);
	sub.made = 0;

out:
	npu_submit_fini(&sub);
	return ret;
}
