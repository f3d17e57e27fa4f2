/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Differences between the kernels that the driver builds on, Linux 6.12 to 7.3:
 * nothing else in the driver tests a version. In the kernel tree this file is
 * not needed: its users call the right-hand sides of the newest branch.
 */
#ifndef NPU_COMPAT_H
#define NPU_COMPAT_H

#include <linux/dma-fence.h>
#include <linux/pm_runtime.h>
#include <linux/version.h>
#include <linux/workqueue.h>

#include <drm/drm_drv.h>
#include <drm/drm_file.h>
#include <drm/drm_gem.h>
#include <drm/drm_gpuvm.h>
#include <drm/gpu_scheduler.h>

#define NPU_KERNEL_BEFORE(a, b)	(LINUX_VERSION_CODE < KERNEL_VERSION(a, b, 0))

/* Since 6.18: one of WQ_UNBOUND and WQ_PERCPU must be given. */
#if NPU_KERNEL_BEFORE(6, 18)
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

/* Since 6.18 the GEM core prepares its gpuva list always. */
#if NPU_KERNEL_BEFORE(6, 18)
#define NPU_DRIVER_GPUVA	DRIVER_GEM_GPUVA
#else
#define NPU_DRIVER_GPUVA	0
#endif

/*
 * The lock of the list of mappings of a GEM object: built in where gpuvm has an
 * immediate mode, before that a mutex of the driver's object.
 */
#ifdef drm_gem_gpuva_set_lock
#define NPU_GPUVM_FLAGS		0

static inline void npu_gpuva_lock_init(struct drm_gem_object *obj, struct mutex *lock)
{
	mutex_init(lock);
	drm_gem_gpuva_set_lock(obj, lock);
}

static inline void npu_gpuva_lock_fini(struct mutex *lock)
{
	mutex_destroy(lock);
}

#define npu_gpuva_lock(obj, own)	mutex_lock(own)
#define npu_gpuva_unlock(obj, own)	mutex_unlock(own)
#else
#define NPU_GPUVM_FLAGS		DRM_GPUVM_IMMEDIATE_MODE

static inline void npu_gpuva_lock_init(struct drm_gem_object *obj, struct mutex *lock) { }
static inline void npu_gpuva_lock_fini(struct mutex *lock) { }

#define npu_gpuva_lock(obj, own)	mutex_lock(&(obj)->gpuva.lock)
#define npu_gpuva_unlock(obj, own)	mutex_unlock(&(obj)->gpuva.lock)
#endif

/* Find the vm_bo of the pair, or insert @prealloc, whose reference is consumed. */
static inline struct drm_gpuvm_bo *
npu_gpuvm_bo_obtain(struct drm_gpuvm_bo *prealloc, struct mutex *own)
{
#ifdef drm_gem_gpuva_set_lock
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
#if NPU_KERNEL_BEFORE(6, 18)
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
#if NPU_KERNEL_BEFORE(6, 15)
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

/*
 * Since 6.17, and in the 6.12 stable series since some release, there is a
 * client id at the end: the type of the function says which it is.
 */
typedef int npu_sched_job_init_4(struct drm_sched_job *, struct drm_sched_entity *, u32, void *);
typedef int npu_sched_job_init_5(struct drm_sched_job *, struct drm_sched_entity *, u32, void *,
				 u64);

static inline int npu_drm_sched_job_init(struct drm_sched_job *job,
					 struct drm_sched_entity *entity, void *owner,
					 struct drm_file *file)
{
	void *init = drm_sched_job_init;

	if (__same_type(drm_sched_job_init, npu_sched_job_init_4))
		return ((npu_sched_job_init_4 *)init)(job, entity, 1, owner);

	return ((npu_sched_job_init_5 *)init)(job, entity, 1, owner, file->client_id);
}

#if NPU_KERNEL_BEFORE(6, 17)
#define NPU_SCHED_STAT_RESET	DRM_GPU_SCHED_STAT_NOMINAL
#else
#define NPU_SCHED_STAT_RESET	DRM_GPU_SCHED_STAT_RESET
#endif

/* A fence that carries its own lock: @lock is used where the core has none. */
static inline void npu_dma_fence_init(struct dma_fence *fence, const struct dma_fence_ops *ops,
				      spinlock_t *lock, u64 context, u64 seqno)
{
#if NPU_KERNEL_BEFORE(7, 1)
	spin_lock_init(lock);
	dma_fence_init(fence, ops, lock, context, seqno);
#else
	dma_fence_init(fence, ops, NULL, context, seqno);
#endif
}

/* Tell user space that the device is lost, where the core has an event for it. */
static inline void npu_drm_wedged(struct drm_device *drm)
{
#if !NPU_KERNEL_BEFORE(6, 17)
	drm_dev_wedged_event(drm, DRM_WEDGE_RECOVERY_REBIND, NULL);
#elif !NPU_KERNEL_BEFORE(6, 15)
	drm_dev_wedged_event(drm, DRM_WEDGE_RECOVERY_REBIND);
#endif
}

/* A mount with huge pages for the objects of @drm, where the core offers one. */
static inline void npu_drm_huge_pages(struct drm_device *drm)
{
#if !NPU_KERNEL_BEFORE(7, 0) && IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE)
	drm_gem_huge_mnt_create(drm, "within_size");
#endif
}

#endif /* NPU_COMPAT_H */
