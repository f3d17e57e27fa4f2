// SPDX-License-Identifier: GPL-2.0-only
/*
 * The floor of what a job can cost: the kernel's scheduler alone, without driver, ioctl, syncobj
 * or interrupt. A job that is over as soon as it runs is pushed and waited for, between the
 * markers that tests/bench/submit/count.c sees.
 */
#include <linux/dma-fence.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include <drm/gpu_scheduler.h>

#define ROUNDS	100
#define WARM	20

#define MARK(n)	asm volatile("hint #" #n ::: "memory")

static struct dma_fence *floor_run(struct drm_sched_job *job)
{
	return NULL;
}

static void floor_free(struct drm_sched_job *job)
{
	drm_sched_job_cleanup(job);
	kfree(job);
}

static const struct drm_sched_backend_ops floor_ops = {
	.run_job = floor_run,
	.free_job = floor_free,
};

static int floor_once(struct drm_sched_entity *entity)
{
	struct drm_sched_job *job = kzalloc(sizeof(*job), GFP_KERNEL_ACCOUNT);
	struct dma_fence *done;
	int ret;

	if (!job)
		return -ENOMEM;
	ret = drm_sched_job_init(job, entity, 1, NULL, 0);
	if (ret) {
		kfree(job);
		return ret;
	}
	drm_sched_job_arm(job);
	done = dma_fence_get(&job->s_fence->finished);
	drm_sched_entity_push_job(job);
	dma_fence_wait(done, false);
	dma_fence_put(done);
	return 0;
}

static int floor_rounds(struct drm_sched_entity *entity)
{
	int i, ret = 0;

	for (i = 0; !ret && i < WARM; i++)
		ret = floor_once(entity);
	MARK(98);
	for (i = 0; !ret && i < ROUNDS; i++) {
		MARK(96);
		ret = floor_once(entity);
		MARK(97);
	}
	return ret;
}

static int __init floor_init(void)
{
	static struct drm_gpu_scheduler sched, *list = &sched;
	static struct drm_sched_entity entity;
	struct drm_sched_init_args args = {
		.ops = &floor_ops,
		.num_rqs = 1,
		.credit_limit = 64,
		.timeout = MAX_SCHEDULE_TIMEOUT,
		.name = "floor",
	};
	int ret = -ENOMEM;

	args.submit_wq = alloc_workqueue("floor", WQ_MEM_RECLAIM | WQ_HIGHPRI | WQ_PERCPU, 0);
	if (!args.submit_wq)
		return ret;
	ret = drm_sched_init(&sched, &args);
	if (ret)
		goto out_wq;
	ret = drm_sched_entity_init(&entity, DRM_SCHED_PRIORITY_KERNEL, &list, 1, NULL);
	if (ret)
		goto out_sched;
	ret = floor_rounds(&entity);
	drm_sched_entity_destroy(&entity);
out_sched:
	drm_sched_fini(&sched);
out_wq:
	destroy_workqueue(args.submit_wq);
	return ret;
}
module_init(floor_init);

static void __exit floor_exit(void)
{
}
module_exit(floor_exit);

MODULE_DESCRIPTION("What drm_sched alone costs");
MODULE_LICENSE("GPL");
