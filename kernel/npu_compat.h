/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Differences between the kernels that the driver builds on, Linux 6.12 to 7.3:
 * nothing else in the driver knows about them. Stable series take over
 * interfaces of later kernels, so versions say little: the out-of-tree Makefile
 * looks into the headers and defines NPU_NO_* for what is not there. In the
 * kernel tree nothing is defined, and this file is what the newest kernel needs.
 */
#ifndef NPU_COMPAT_H
#define NPU_COMPAT_H

#include <linux/dma-fence.h>
#include <linux/pm_runtime.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include <drm/drm_drv.h>
#include <drm/drm_file.h>
#include <drm/drm_gem.h>
#include <drm/drm_gpuvm.h>
#include <drm/gpu_scheduler.h>

#ifdef NPU_NO_KZALLOC_OBJ
#define kzalloc_obj(obj, ...) \
	kzalloc(sizeof(obj), (GFP_KERNEL, ##__VA_ARGS__))
#endif

/* One of WQ_UNBOUND and WQ_PERCPU must be given, where there is the latter. */
#ifdef NPU_NO_WQ_PERCPU
#define NPU_WQ_PERCPU		0
#else
#define NPU_WQ_PERCPU		WQ_PERCPU
#endif

/* An accel node, or a render node where the accel subsystem is not built. */
#if IS_ENABLED(CONFIG_DRM_ACCEL)
#include <drm/drm_accel.h>
#define NPU_DRIVER_NODE		DRIVER_COMPUTE_ACCEL
#define npu_file_open		accel_open
#else
#define NPU_DRIVER_NODE		DRIVER_RENDER
#define npu_file_open		drm_open
#endif

/*
 * Without gpuvm's immediate mode, drivers ask for a gpuva list, and its lock is
 * a mutex of the driver's object; else the lock is built in.
 */
#ifdef NPU_NO_GPUVM_IMMEDIATE
#define NPU_DRIVER_GPUVA	DRIVER_GEM_GPUVA
#define NPU_GPUVM_FLAGS		0

static inline void npu_gpuva_lock_init(struct drm_gem_object *obj, struct mutex *own)
{
	mutex_init(own);
	drm_gem_gpuva_set_lock(obj, own);
}

static inline void npu_gpuva_lock_fini(struct mutex *own)
{
	mutex_destroy(own);
}

static inline void npu_gpuva_lock(struct drm_gem_object *obj, struct mutex *own)
{
	mutex_lock(own);
}

static inline void npu_gpuva_unlock(struct drm_gem_object *obj, struct mutex *own)
{
	mutex_unlock(own);
}

#else
#define NPU_DRIVER_GPUVA	0
#define NPU_GPUVM_FLAGS		DRM_GPUVM_IMMEDIATE_MODE

static inline void npu_gpuva_lock_init(struct drm_gem_object *obj, struct mutex *own) { }
static inline void npu_gpuva_lock_fini(struct mutex *own) { }

static inline void npu_gpuva_lock(struct drm_gem_object *obj, struct mutex *own)
{
	mutex_lock(&obj->gpuva.lock);
}

static inline void npu_gpuva_unlock(struct drm_gem_object *obj, struct mutex *own)
{
	mutex_unlock(&obj->gpuva.lock);
}
#endif

/* Find the vm_bo of the pair, or insert @prealloc, whose reference is consumed. */
static inline struct drm_gpuvm_bo *
npu_gpuvm_bo_obtain(struct drm_gpuvm_bo *prealloc, struct mutex *own)
{
#ifdef NPU_NO_GPUVM_IMMEDIATE
	struct drm_gpuvm_bo *vm_bo;

	mutex_lock(own);
	vm_bo = drm_gpuvm_bo_obtain_prealloc(prealloc);
	mutex_unlock(own);
	return vm_bo;
#else
	return drm_gpuvm_bo_obtain_prealloc(prealloc);
#endif
}

static inline int npu_gpuvm_sm_map(struct drm_gpuvm *gpuvm, void *priv, u64 va, u64 size,
				   struct drm_gem_object *obj, u64 offset)
{
#ifdef NPU_NO_GPUVM_MAP_REQ
	return drm_gpuvm_sm_map(gpuvm, priv, va, size, obj, offset);
#else
	const struct drm_gpuvm_map_req req = {
		.map.va.addr = va,
		.map.va.range = size,
		.map.gem.obj = obj,
		.map.gem.offset = offset,
	};

	return drm_gpuvm_sm_map(gpuvm, priv, &req);
#endif
}

/* A scheduler of one run queue, with a time-out of the driver's own. */
static inline int npu_drm_sched_init(struct drm_gpu_scheduler *sched,
				     const struct drm_sched_backend_ops *ops,
				     struct workqueue_struct *wq, u32 credits,
				     const char *name, struct device *dev)
{
#ifdef NPU_NO_SCHED_INIT_ARGS
	return drm_sched_init(sched, ops, wq, 1, credits, 0, MAX_SCHEDULE_TIMEOUT, NULL, NULL,
			      name, dev);
#else
	const struct drm_sched_init_args args = {
		.ops = ops,
		.submit_wq = wq,
		.num_rqs = 1,
		.credit_limit = credits,
		.timeout = MAX_SCHEDULE_TIMEOUT,
		.name = name,
		.dev = dev,
	};

	return drm_sched_init(sched, &args);
#endif
}

static inline int npu_drm_sched_job_init(struct drm_sched_job *job,
					 struct drm_sched_entity *entity, u32 credits, void *owner,
					 struct drm_file *file)
{
#ifdef NPU_NO_SCHED_CLIENT_ID
	return drm_sched_job_init(job, entity, credits, owner);
#else
	return drm_sched_job_init(job, entity, credits, owner, file->client_id);
#endif
}

#ifdef NPU_NO_SCHED_STAT_RESET
#define NPU_SCHED_STAT_RESET	DRM_GPU_SCHED_STAT_NOMINAL
#else
#define NPU_SCHED_STAT_RESET	DRM_GPU_SCHED_STAT_RESET
#endif

/*
 * A fence of the scheduler names it: by a pointer that is followed even after
 * the job and its queue have gone, where the core does not know better.
 * To be called when a job ends, before drm_sched_job_cleanup().
 */
#ifdef NPU_NO_FENCE_SAFE_NAMES
extern struct drm_gpu_scheduler *npu_orphans;

static inline void npu_sched_job_orphan(struct drm_sched_job *job)
{
	struct drm_sched_fence *fence = job->s_fence;

	if (!fence)
		return;
	fence->sched = npu_orphans;
	/* The hardware fence's operations go with the module. */
	dma_fence_put(fence->parent);
	fence->parent = NULL;
}

/* Fences outlive the module as well: what they name is left behind on purpose. */
static inline int npu_orphans_init(void)
{
	npu_orphans = kzalloc(sizeof(*npu_orphans) + 8, GFP_KERNEL);
	if (!npu_orphans)
		return -ENOMEM;
	npu_orphans->name = (char *)(npu_orphans + 1);
	memcpy(npu_orphans + 1, "npu", sizeof("npu"));
	return 0;
}
#else
static inline void npu_sched_job_orphan(struct drm_sched_job *job) { }
static inline int npu_orphans_init(void) { return 0; }
#endif

/* A fence that carries its own lock: @lock is used where the core has none. */
static inline void npu_dma_fence_init(struct dma_fence *fence, const struct dma_fence_ops *ops,
				      spinlock_t *lock, u64 context, u64 seqno)
{
#ifdef NPU_NO_FENCE_INLINE_LOCK
	spin_lock_init(lock);
	dma_fence_init(fence, ops, lock, context, seqno);
#else
	dma_fence_init(fence, ops, NULL, context, seqno);
#endif
}

/*
 * Tell user space that the device is lost. The core's event is for devices with a
 * primary node, of kernels that have the event: an accel node sends the same words.
 */
static inline void npu_drm_wedged(struct drm_device *drm)
{
	if (drm->accel) {
		char wedged[] = "WEDGED=rebind";
		char *envp[2] = { wedged };

		kobject_uevent_env(&drm->accel->kdev->kobj, KOBJ_CHANGE, envp);
		return;
	}
#ifndef NPU_NO_WEDGE_INFO
	drm_dev_wedged_event(drm, DRM_WEDGE_RECOVERY_REBIND, NULL);
#endif
}

/* A mount with huge pages for the objects of @drm, where the core offers one. */
static inline void npu_drm_huge_pages(struct drm_device *drm)
{
#if !defined(NPU_NO_HUGE_MNT) && IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE)
	drm_gem_huge_mnt_create(drm, "within_size");
#endif
}

#endif /* NPU_COMPAT_H */
