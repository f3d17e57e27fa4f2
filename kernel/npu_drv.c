// SPDX-License-Identifier: GPL-2.0-only
/*
 * Ioctls, files and the module.
 */
#include <linux/atomic.h>
#include <linux/capability.h>
#include <linux/module.h>
#include <linux/of.h>
#include <linux/platform_device.h>
#include <linux/uaccess.h>
#include <linux/wait_bit.h>

#include <drm/drm_drv.h>
#include <drm/drm_file.h>
#include <drm/drm_gem_shmem_helper.h>
#include <drm/drm_ioctl.h>
#include <drm/drm_print.h>
#include <drm/npu_accel.h>

#include "npu_compat.h"
#include "npu_debugfs.h"
#include "npu_device.h"
#include "npu_drv.h"
#include "npu_gem.h"
#include "npu_job.h"
#include "npu_pm.h"
#include "npu_queue.h"
#include "npu_sched.h"
#include "npu_sync.h"
#include "npu_vm.h"

#ifdef NPU_NO_FENCE_SAFE_NAMES
struct drm_gpu_scheduler *npu_orphans;
#endif

struct workqueue_struct *npu_cleanup_wq;
static atomic_t npu_objects = ATOMIC_INIT(0);

void npu_object_get(void)
{
	atomic_inc(&npu_objects);
}

void npu_object_put(void)
{
	if (atomic_dec_and_test(&npu_objects))
		wake_up_var(&npu_objects);
}

/* ---- Handles ------------------------------------------------------------- */

/* The VM that the user calls @id, with a reference, or NULL. */
static struct npu_vm *npu_file_get_vm(struct npu_file *nfile, u32 id)
{
	struct npu_vm *vm;

	xa_lock(&nfile->vms);
	vm = xa_load(&nfile->vms, id);
	if (vm)
		npu_vm_get(vm);
	xa_unlock(&nfile->vms);
	return vm;
}

static struct npu_queue *npu_file_get_queue(struct npu_file *nfile, u32 id)
{
	struct npu_queue *queue;

	xa_lock(&nfile->queues);
	queue = xa_load(&nfile->queues, id);
	if (queue)
		npu_queue_get(queue);
	xa_unlock(&nfile->queues);
	return queue;
}

static int npu_file_add(struct xarray *xa, u32 *id, void *object)
{
	int ret = xa_alloc(xa, id, object, XA_LIMIT(1, NPU_MAX_OBJECTS), GFP_KERNEL);

	return ret == -EBUSY ? -ENOSPC : ret;
}

/* The handle has gone: what the queue has used stays on the file's account. */
static void npu_file_drop_queue(struct npu_file *nfile, struct npu_queue *queue)
{
	/* Killing it takes it off the hardware, which leaves its counters in memory. */
	npu_queue_get(queue);
	npu_queue_destroy(queue);

	xa_lock(&nfile->queues);
	nfile->stats.active_ns += max(queue->active_ns, queue->hw.active);
	nfile->stats.cycles += queue->hw.cycles;
	xa_unlock(&nfile->queues);
	npu_queue_put(queue);
}

/* ---- Device -------------------------------------------------------------- */

/* Copy a structure that grows: what the user has room for, zeroes beyond what the kernel knows. */
static int npu_query_copy(struct drm_npu_dev_query *args, const void *data, u32 size)
{
	void __user *to = u64_to_user_ptr(args->pointer);
	u32 room = args->size;

	args->size = size;
	if (!args->pointer)
		return 0;
	if (copy_to_user(to, data, min(room, size)))
		return -EFAULT;
	if (room > size && clear_user(to + size, room - size))
		return -EFAULT;

	return 0;
}

static bool npu_priority_allowed(u32 priority)
{
	return priority < DRM_NPU_PRIORITY_REALTIME || capable(CAP_SYS_NICE);
}

static int npu_query_priorities(struct drm_npu_dev_query *args)
{
	struct drm_npu_priorities out = { };
	u32 i;

	for (i = 0; i <= DRM_NPU_PRIORITY_REALTIME; i++) {
		if (npu_priority_allowed(i))
			out.allowed_mask |= BIT(i);
	}
	return npu_query_copy(args, &out, sizeof(out));
}

static int npu_query_counters(struct npu_device *npu, struct drm_npu_dev_query *args)
{
	struct drm_npu_counters out = { };
	int ret;

	if (args->pointer) {
		ret = npu_device_counters_read(npu, &out);
		if (ret)
			return ret;
	}
	return npu_query_copy(args, &out, sizeof(out));
}

static int npu_ioctl_dev_query(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct npu_device *npu = to_npu_device(drm);
	struct drm_npu_dev_query *args = data;

	switch (args->type) {
	case DRM_NPU_DEV_QUERY_INFO:
		return npu_query_copy(args, &npu->info, sizeof(npu->info));
	case DRM_NPU_DEV_QUERY_COUNTERS:
		return npu_query_counters(npu, args);
	case DRM_NPU_DEV_QUERY_PRIORITIES:
		return npu_query_priorities(args);
	default:
		drm_dbg(drm, "query of unknown type %u\n", args->type);
		return -EINVAL;
	}
}

/* ---- Address spaces ------------------------------------------------------ */

static int npu_ioctl_vm_create(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct npu_device *npu = to_npu_device(drm);
	struct npu_file *nfile = file->driver_priv;
	struct drm_npu_vm_create *args = data;
	struct npu_vm *vm;
	int ret, idx;

	if (args->flags)
		return -EINVAL;
	if (npu_device_lost(npu) || !drm_dev_enter(drm, &idx))
		return -ENODEV;

	vm = npu_vm_create(npu);
	drm_dev_exit(idx);
	if (IS_ERR(vm))
		return PTR_ERR(vm);

	args->va_start = NPU_VM_START;
	args->va_size = npu_vm_user_size(npu);
	ret = npu_file_add(&nfile->vms, &args->id, vm);
	if (ret)
		npu_vm_destroy(vm);
	return ret;
}

static int npu_ioctl_vm_destroy(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct npu_file *nfile = file->driver_priv;
	struct drm_npu_vm_destroy *args = data;
	struct npu_vm *vm;

	if (args->pad)
		return -EINVAL;

	vm = xa_erase(&nfile->vms, args->id);
	if (!vm)
		return -ENOENT;

	npu_vm_destroy(vm);
	return 0;
}

static int npu_ioctl_vm_bind(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct npu_file *nfile = file->driver_priv;
	struct drm_npu_vm_bind *args = data;
	struct drm_npu_vm_bind_op *ops;
	struct npu_vm *vm;
	u32 done = 0;
	int ret = 0;

	if (args->flags & ~DRM_NPU_VM_BIND_ASYNC)
		return -EINVAL;
	if (npu_device_lost(to_npu_device(drm)))
		return -ENODEV;

	vm = npu_file_get_vm(nfile, args->vm_id);
	if (!vm)
		return -ENOENT;
	if (npu_vm_unusable(vm)) {
		ret = -EIO;
		goto out_put_vm;
	}

	ops = npu_copy_array(&args->ops, offsetofend(struct drm_npu_vm_bind_op, syncs),
			     sizeof(*ops), NPU_MAX_BINDS);
	if (IS_ERR(ops)) {
		ret = PTR_ERR(ops);
		goto out_put_vm;
	}

	if (args->ops.count && args->flags & DRM_NPU_VM_BIND_ASYNC) {
		ret = npu_vm_bind_queued(vm, file, ops, args->ops.count);
	} else if (args->ops.count) {
		ret = npu_vm_bind_now(vm, file, ops, args->ops.count, &done);
		/* An interrupted ioctl starts again, as it was: binds may be repeated. */
		if (ret && ret != -EINTR && ret != -ERESTARTSYS)
			args->ops.count = done;
	}
	kvfree(ops);

out_put_vm:
	npu_vm_put(vm);
	return ret;
}

static int npu_ioctl_vm_get_state(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct npu_file *nfile = file->driver_priv;
	struct drm_npu_vm_get_state *args = data;
	struct npu_vm *vm;

	vm = npu_file_get_vm(nfile, args->vm_id);
	if (!vm)
		return -ENOENT;

	args->state = npu_vm_unusable(vm) ? DRM_NPU_VM_UNUSABLE : DRM_NPU_VM_USABLE;
	npu_vm_put(vm);
	return 0;
}

/* ---- Buffer objects ------------------------------------------------------ */

static int npu_ioctl_bo_create(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct npu_device *npu = to_npu_device(drm);
	struct npu_file *nfile = file->driver_priv;
	struct drm_npu_bo_create *args = data;
	struct npu_vm *vm = NULL;
	struct npu_bo *bo;
	int ret;

	if (args->pad || args->flags & ~(DRM_NPU_BO_CACHED | DRM_NPU_BO_NO_MMAP))
		return -EINVAL;
	if (!args->size || args->size > npu_vm_user_size(npu))
		return -EINVAL;
	if (npu_device_lost(npu))
		return -ENODEV;

	if (args->exclusive_vm_id) {
		vm = npu_file_get_vm(nfile, args->exclusive_vm_id);
		if (!vm)
			return -ENOENT;
	}

	bo = npu_bo_create(npu, vm, args->size, args->flags);
	npu_vm_put(vm);
	if (IS_ERR(bo))
		return PTR_ERR(bo);

	args->size = bo->base.base.size;
	ret = drm_gem_handle_create(file, &bo->base.base, &args->handle);
	drm_gem_object_put(&bo->base.base);
	return ret;
}

static int npu_ioctl_bo_mmap_offset(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_npu_bo_mmap_offset *args = data;
	struct drm_gem_object *obj;
	int ret;

	if (args->pad)
		return -EINVAL;

	obj = drm_gem_object_lookup(file, args->handle);
	if (!obj)
		return -ENOENT;

	ret = -EINVAL;
	if (!npu_bo_imported(to_npu_bo(obj)) && !(to_npu_bo(obj)->flags & DRM_NPU_BO_NO_MMAP))
		ret = drm_gem_create_mmap_offset(obj);
	if (!ret)
		args->offset = drm_vma_node_offset_addr(&obj->vma_node);

	drm_gem_object_put(obj);
	return ret;
}

static int npu_bo_sync_one(struct drm_file *file, const struct drm_npu_bo_sync_op *op)
{
	struct drm_gem_object *obj;
	int ret = -EINVAL;

	if (op->type > DRM_NPU_BO_SYNC_FOR_CPU)
		return -EINVAL;

	obj = drm_gem_object_lookup(file, op->handle);
	if (!obj)
		return -ENOENT;

	if (!npu_bo_imported(to_npu_bo(obj)) && op->offset <= obj->size &&
	    op->size <= obj->size - op->offset)
		ret = npu_bo_sync(to_npu_bo(obj), op->type, op->offset, op->size);

	drm_gem_object_put(obj);
	return ret;
}

static int npu_ioctl_bo_sync(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_npu_bo_sync *args = data;
	struct drm_npu_bo_sync_op *ops;
	int ret = 0, idx;
	u32 i;

	ops = npu_copy_array(&args->ops, offsetofend(struct drm_npu_bo_sync_op, size),
			     sizeof(*ops), NPU_MAX_SYNC_OPS);
	if (IS_ERR(ops))
		return PTR_ERR(ops);

	if (drm_dev_enter(drm, &idx)) {
		for (i = 0; !ret && i < args->ops.count; i++)
			ret = npu_bo_sync_one(file, &ops[i]);
		drm_dev_exit(idx);
	} else {
		ret = -ENODEV;
	}

	kvfree(ops);
	return ret;
}

static int npu_ioctl_bo_wait(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_npu_bo_wait *args = data;
	struct drm_gem_object *obj;
	int ret;

	if (args->pad)
		return -EINVAL;

	obj = drm_gem_object_lookup(file, args->handle);
	if (!obj)
		return -ENOENT;

	ret = npu_bo_wait(to_npu_bo(obj), args->timeout_ns);
	drm_gem_object_put(obj);
	return ret;
}

static int npu_ioctl_bo_info(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_npu_bo_info *args = data;
	struct drm_gem_object *obj;
	struct npu_bo *bo;

	obj = drm_gem_object_lookup(file, args->handle);
	if (!obj)
		return -ENOENT;

	bo = to_npu_bo(obj);
	args->flags = bo->flags;
	args->size = obj->size;
	args->imported = npu_bo_imported(bo);
	args->exclusive = !!bo->exclusive_root;
	drm_gem_object_put(obj);
	return 0;
}

/* ---- Queues and jobs ----------------------------------------------------- */

static int npu_ioctl_queue_create(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct npu_device *npu = to_npu_device(drm);
	struct npu_file *nfile = file->driver_priv;
	struct drm_npu_queue_create *args = data;
	struct npu_queue *queue;
	struct npu_vm *vm;
	int ret, idx;

	if (args->flags || args->pad || args->priority > DRM_NPU_PRIORITY_REALTIME ||
	    !npu_job_timeout_valid(args->timeout_ms))
		return -EINVAL;
	if (!npu_priority_allowed(args->priority))
		return -EACCES;
	if (npu_device_lost(npu))
		return -ENODEV;

	vm = npu_file_get_vm(nfile, args->vm_id);
	if (!vm)
		return -ENOENT;

	if (npu_vm_unusable(vm)) {
		queue = ERR_PTR(-EIO);
	} else if (drm_dev_enter(drm, &idx)) {
		queue = npu_queue_create(npu, vm, args);
		drm_dev_exit(idx);
	} else {
		queue = ERR_PTR(-ENODEV);
	}
	npu_vm_put(vm);
	if (IS_ERR(queue))
		return PTR_ERR(queue);

	ret = npu_file_add(&nfile->queues, &args->id, queue);
	if (ret)
		npu_queue_destroy(queue);
	return ret;
}

static int npu_ioctl_queue_destroy(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct npu_file *nfile = file->driver_priv;
	struct drm_npu_queue_destroy *args = data;
	struct npu_queue *queue;

	if (args->pad)
		return -EINVAL;

	queue = xa_erase(&nfile->queues, args->id);
	if (!queue)
		return -ENOENT;

	npu_file_drop_queue(nfile, queue);
	return 0;
}

static int npu_ioctl_queue_get_state(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct npu_file *nfile = file->driver_priv;
	struct drm_npu_queue_get_state *args = data;
	struct npu_queue *queue;

	if (args->pad)
		return -EINVAL;

	queue = npu_file_get_queue(nfile, args->id);
	if (!queue)
		return -ENOENT;

	npu_queue_get_state(queue, args);
	npu_queue_put(queue);
	return 0;
}

static int npu_ioctl_submit(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct npu_file *nfile = file->driver_priv;
	struct drm_npu_submit *args = data;
	struct npu_queue *queue;
	int ret;

	if (args->flags)
		return -EINVAL;

	queue = npu_file_get_queue(nfile, args->queue_id);
	if (!queue)
		return -ENOENT;

	ret = npu_job_submit(queue, file, args);
	npu_queue_put(queue);
	return ret;
}

#define NPU_IOCTL(n, f) DRM_IOCTL_DEF_DRV(NPU_##n, npu_ioctl_##f, DRM_RENDER_ALLOW)

static const struct drm_ioctl_desc npu_ioctls[] = {
	NPU_IOCTL(DEV_QUERY, dev_query),
	NPU_IOCTL(VM_CREATE, vm_create),
	NPU_IOCTL(VM_DESTROY, vm_destroy),
	NPU_IOCTL(VM_BIND, vm_bind),
	NPU_IOCTL(VM_GET_STATE, vm_get_state),
	NPU_IOCTL(BO_CREATE, bo_create),
	NPU_IOCTL(BO_MMAP_OFFSET, bo_mmap_offset),
	NPU_IOCTL(BO_SYNC, bo_sync),
	NPU_IOCTL(BO_WAIT, bo_wait),
	NPU_IOCTL(BO_INFO, bo_info),
	NPU_IOCTL(QUEUE_CREATE, queue_create),
	NPU_IOCTL(QUEUE_DESTROY, queue_destroy),
	NPU_IOCTL(QUEUE_GET_STATE, queue_get_state),
	NPU_IOCTL(SUBMIT, submit),
};

/* ---- Files --------------------------------------------------------------- */

static int npu_open(struct drm_device *drm, struct drm_file *file)
{
	struct npu_file *nfile;

	nfile = kzalloc_obj(*nfile);
	if (!nfile)
		return -ENOMEM;

	xa_init_flags(&nfile->vms, XA_FLAGS_ALLOC1);
	xa_init_flags(&nfile->queues, XA_FLAGS_ALLOC1);
	file->driver_priv = nfile;
	return 0;
}

static void npu_postclose(struct drm_device *drm, struct drm_file *file)
{
	struct npu_file *nfile = file->driver_priv;
	struct npu_queue *queue;
	struct npu_vm *vm;
	unsigned long id;

	xa_for_each(&nfile->queues, id, queue)
		npu_queue_destroy(queue);
	xa_destroy(&nfile->queues);

	xa_for_each(&nfile->vms, id, vm)
		npu_vm_destroy(vm);
	xa_destroy(&nfile->vms);

	kfree(nfile);
}

static void npu_show_fdinfo(struct drm_printer *p, struct drm_file *file)
{
	struct npu_device *npu = to_npu_device(file->minor->dev);
	struct npu_file *nfile = file->driver_priv;
	u64 active_ns, cycles;
	struct npu_queue *queue;
	unsigned long id;

	xa_lock(&nfile->queues);
	active_ns = nfile->stats.active_ns;
	cycles = nfile->stats.cycles;
	xa_unlock(&nfile->queues);

	xa_for_each(&nfile->queues, id, queue) {
		queue = npu_file_get_queue(nfile, id);
		if (!queue)
			continue;
		npu_sched_sample(queue);
		active_ns += max(queue->active_ns, queue->hw.active);
		cycles += queue->hw.cycles;
		npu_queue_put(queue);
	}

	drm_printf(p, "drm-engine-npu:\t%llu ns\n", active_ns);
	drm_printf(p, "drm-cycles-npu:\t%llu\n", cycles);
	drm_printf(p, "drm-maxfreq-npu:\t%llu Hz\n", npu->info.core_khz * 1000ull);
	drm_printf(p, "drm-curfreq-npu:\t%llu Hz\n", READ_ONCE(npu->core_khz) * 1000ull);
	drm_show_memory_stats(p, file);
}

static const struct file_operations npu_fops = {
	.owner = THIS_MODULE,
	.open = npu_file_open,
	.release = drm_release,
	.unlocked_ioctl = drm_ioctl,
	.compat_ioctl = drm_compat_ioctl,
	.poll = drm_poll,
	.read = drm_read,
	.llseek = noop_llseek,
	.mmap = drm_gem_mmap,
	.show_fdinfo = drm_show_fdinfo,
	.fop_flags = FOP_UNSIGNED_OFFSET,
};

static const struct drm_driver npu_drm_driver = {
	.driver_features = DRIVER_GEM | DRIVER_SYNCOBJ | DRIVER_SYNCOBJ_TIMELINE |
			   NPU_DRIVER_NODE | NPU_DRIVER_GPUVA,
	.open = npu_open,
	.postclose = npu_postclose,
	.show_fdinfo = npu_show_fdinfo,
	.ioctls = npu_ioctls,
	.num_ioctls = ARRAY_SIZE(npu_ioctls),
	.fops = &npu_fops,
	.gem_create_object = npu_gem_create_object,
	.gem_prime_import_sg_table = npu_gem_prime_import_sg_table,
	.name = "npu",
	.desc = "OpenNPU",
	.major = 1,
	.minor = 0,
};

/* ---- Module -------------------------------------------------------------- */

static int npu_probe(struct platform_device *pdev)
{
	struct npu_device *npu;
	int ret;

	npu = devm_drm_dev_alloc(&pdev->dev, &npu_drm_driver, struct npu_device, drm);
	if (IS_ERR(npu))
		return PTR_ERR(npu);

	platform_set_drvdata(pdev, npu);
	ret = npu_device_init(npu);
	if (!ret)
		npu_debugfs_init(npu);
	return ret;
}

static void npu_remove(struct platform_device *pdev)
{
	struct npu_device *npu = platform_get_drvdata(pdev);

	npu_debugfs_fini(npu);
	npu_device_unplug(npu);
}

static void npu_shutdown(struct platform_device *pdev)
{
	npu_device_unplug(platform_get_drvdata(pdev));
}

static const struct of_device_id npu_of_match[] = {
	{ .compatible = "opennpu,npu-1" },
	{ }
};
MODULE_DEVICE_TABLE(of, npu_of_match);

static struct platform_driver npu_platform_driver = {
	.probe = npu_probe,
	.remove = npu_remove,
	.shutdown = npu_shutdown,
	.driver = {
		.name = "npu",
		.of_match_table = npu_of_match,
		.pm = pm_ptr(&npu_pm_ops),
	},
};

static int __init npu_init(void)
{
	int ret = npu_orphans_init();

	if (ret)
		return ret;

	npu_cleanup_wq = alloc_workqueue("npu-cleanup", WQ_UNBOUND, 0);
	if (!npu_cleanup_wq)
		return -ENOMEM;

	ret = platform_driver_register(&npu_platform_driver);
	if (ret)
		destroy_workqueue(npu_cleanup_wq);
	return ret;
}
module_init(npu_init);

static void __exit npu_exit(void)
{
	platform_driver_unregister(&npu_platform_driver);
	/* Jobs of closed files may still wait for fences of other drivers. */
	wait_var_event(&npu_objects, !atomic_read(&npu_objects));
	rcu_barrier();
	destroy_workqueue(npu_cleanup_wq);
}
module_exit(npu_exit);

MODULE_DESCRIPTION("OpenNPU driver");
MODULE_LICENSE("GPL");
