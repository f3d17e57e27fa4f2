// SPDX-License-Identifier: GPL-2.0-only
/*
 * Submission. All that can fail comes before the first job is armed; from
 * there to the last push nothing can.
 */
#include <linux/dma-fence.h>
#include <linux/dma-resv.h>
#include <linux/module.h>
#include <linux/pm_runtime.h>
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

/**
 * struct npu_fence - signalled when the device has ended a job
 */
struct npu_fence {
	/** @base: Fence; first, so that the default release frees all. */
	struct dma_fence base;
	/** @lock: Its lock, where the core has none built in. */
	spinlock_t lock;
};

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

	if (!job->stream_size) {
		fence = npu_job_run_empty(queue);
		goto out;
	}

	spin_lock_irq(&queue->lock);
	if (npu_device_lost(queue->npu)) {
		error = -ENODEV;
	} else if (queue->dead) {
		error = -ECANCELED;
	} else {
		npu_dma_fence_init(job->done, &npu_fence_ops,
				   &container_of(job->done, struct npu_fence, base)->lock,
				   queue->fence_context, queue->seqno + 1);
		fence = dma_fence_get(job->done);
		bound = npu_queue_push_locked(queue, job);
	}
	spin_unlock_irq(&queue->lock);

	if (error)
		fence = ERR_PTR(error);
	else
		npu_sched_queue_ready(queue, bound);

out:
	trace_npu_job_run(queue->npu->drm.dev, queue->id, job->stream, job->stream_size, bound);
	dma_fence_end_signalling(cookie);
	return fence;
}

static void npu_job_put_pending(struct npu_queue *queue)
{
	struct device *dev = queue->npu->drm.dev;

	if (atomic_dec_and_test(&queue->pending)) {
		pm_runtime_mark_last_busy(dev);
		pm_runtime_put_autosuspend(dev);
	}
}

/* @job has not been armed, or has ended. */
static void npu_job_destroy(struct npu_job *job)
{
	if (job->done) {
		/* A fence that never ran has no references, and nobody has seen it. */
		if (kref_read(&job->done->refcount))
			dma_fence_put(job->done);
		else
			kfree(job->done);
	}
	npu_queue_put(job->queue);
	kfree(job);
}

static void npu_job_free(struct drm_sched_job *sched_job)
{
	struct npu_job *job = to_npu_job(sched_job);

	drm_sched_job_cleanup(sched_job);
	npu_job_put_pending(job->queue);
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

static int npu_job_copy_regs(struct npu_job *job, const struct drm_npu_job *arg)
{
	if (copy_from_user(job->regs, u64_to_user_ptr(arg->regs), arg->nregs * sizeof(u64)))
		return -EFAULT;
	return 0;
}

static struct npu_job *npu_job_create(struct npu_queue *queue, struct drm_file *file,
				      const struct drm_npu_job *arg)
{
	struct npu_fence *fence = NULL;
	struct npu_job *job;
	int ret;

	ret = npu_job_check(arg, &queue->npu->info, NPU_VM_START,
			    NPU_VM_START + npu_vm_user_size(queue->npu));
	if (ret)
		return ERR_PTR(ret);

	job = kzalloc(struct_size(job, regs, arg->nregs), GFP_KERNEL_ACCOUNT);
	if (!job)
		return ERR_PTR(-ENOMEM);

	job->queue = npu_queue_get(queue);
	job->stream = arg->stream;
	job->stream_size = arg->stream_size;
	job->budget_us = arg->budget_us;
	job->nregs = arg->nregs;

	ret = npu_job_copy_regs(job, arg);
	if (!ret && arg->stream_size) {
		fence = kzalloc_obj(*fence, GFP_KERNEL_ACCOUNT);
		ret = fence ? 0 : -ENOMEM;
		job->done = fence ? &fence->base : NULL;
	}
	if (!ret)
		ret = npu_drm_sched_job_init(&job->base, &queue->entity, file, file);
	if (ret) {
		npu_job_destroy(job);
		return ERR_PTR(ret);
	}

	return job;
}

/* One reference of the device's power for all pending jobs of a queue. */
static int npu_jobs_get_power(struct npu_queue *queue, u32 count)
{
	struct device *dev = queue->npu->drm.dev;
	int ret;

	if (atomic_add_unless(&queue->pending, count, 0))
		return 0;

	ret = pm_runtime_resume_and_get(dev);
	if (ret)
		return npu_device_lost(queue->npu) ? -ENODEV : ret;

	/* Another thread may have been here in between. */
	if (atomic_add_return(count, &queue->pending) != count)
		pm_runtime_put_autosuspend(dev);
	return 0;
}

static void npu_jobs_put_power(struct npu_queue *queue, u32 count)
{
	if (atomic_sub_and_test(count, &queue->pending))
		pm_runtime_put_autosuspend(queue->npu->drm.dev);
}

/* Arm and push under the VM's reservation lock, which gets the fence of the last job. */
static int npu_jobs_push(struct npu_queue *queue, struct npu_job **jobs, u32 count,
			 struct npu_sync_list *syncs)
{
	struct dma_resv *resv = drm_gpuvm_resv(&queue->vm->base);
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

	for (i = 0; i < count; i++) {
		drm_sched_job_arm(&jobs[i]->base);
		npu_sync_set_fence(syncs, i, &jobs[i]->base.s_fence->finished);
	}
	dma_resv_add_fence(resv, &jobs[count - 1]->base.s_fence->finished,
			   DMA_RESV_USAGE_BOOKKEEP);
	for (i = 0; i < count; i++)
		drm_sched_entity_push_job(&jobs[i]->base);

out_unlock:
	dma_resv_unlock(resv);
	return ret;
}

static int npu_jobs_create(struct npu_queue *queue, struct drm_file *file,
			   const struct drm_npu_job *args, u32 count, struct npu_job **jobs,
			   struct npu_sync_list *syncs, u32 *made)
{
	struct list_head *last;
	int ret;

	for (*made = 0; *made < count; ++*made) {
		struct npu_job *job = npu_job_create(queue, file, &args[*made]);

		if (IS_ERR(job))
			return PTR_ERR(job);
		jobs[*made] = job;

		last = syncs->signals.prev;
		ret = npu_sync_add(syncs, file, &job->base, *made, &args[*made].syncs);
		if (ret) {
			++*made;
			return ret;
		}
		/* Without a signal of its own, only a job behind it can show that it ended. */
		job->coalesce = last == syncs->signals.prev && *made != count - 1;
	}

	return 0;
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
	u32 count = args->jobs.count, made = 0;
	struct npu_sync_list syncs;
	struct drm_npu_job *infos;
	struct npu_job **jobs;
	int ret;

	if (!count)
		return -EINVAL;
	if (READ_ONCE(queue->dead) || npu_vm_unusable(queue->vm))
		return npu_device_lost(queue->npu) ? -ENODEV : -EIO;

	infos = npu_copy_array(&args->jobs, offsetofend(struct drm_npu_job, syncs),
			       sizeof(*infos), NPU_MAX_JOBS);
	if (IS_ERR(infos))
		return PTR_ERR(infos);

	npu_sync_init(&syncs);
	jobs = kvmalloc_array(count, sizeof(*jobs), GFP_KERNEL);
	if (!jobs) {
		ret = -ENOMEM;
		goto out_free;
	}

	ret = npu_jobs_create(queue, file, infos, count, jobs, &syncs, &made);
	if (ret)
		goto out_cleanup;

	ret = npu_jobs_get_power(queue, count);
	if (ret)
		goto out_cleanup;

	ret = npu_jobs_push(queue, jobs, count, &syncs);
	if (ret) {
		npu_jobs_put_power(queue, count);
		goto out_cleanup;
	}

	npu_sync_publish(&syncs);
	trace_npu_submit(queue->npu->drm.dev, queue->id, count);
	made = 0;

out_cleanup:
	while (made--) {
		drm_sched_job_cleanup(&jobs[made]->base);
		npu_job_destroy(jobs[made]);
	}
	kvfree(jobs);
out_free:
	npu_sync_fini(&syncs);
	kvfree(infos);
	return ret;
}
