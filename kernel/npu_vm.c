// SPDX-License-Identifier: GPL-2.0-only
/*
 * Address spaces and binds.
 *
 * A bind is prepared in the ioctl, where it may allocate and fail: pages are
 * pinned and DMA-mapped, page tables and mapping objects made in advance. It is
 * executed at once, or by a scheduler job behind its fences; executing takes
 * only op_lock and the MMU's lock, allocates nothing and frees nothing. What it
 * took out is freed when it is cleaned up, after the device has dropped it.
 */
#include <linux/dma-fence.h>
#include <linux/dma-resv.h>
#include <linux/slab.h>

#include <drm/drm_drv.h>
#include <drm/drm_file.h>
#include <drm/drm_print.h>

#include "npu_compat.h"
#include "npu_device.h"
#include "npu_drv.h"
#include "npu_gem.h"
#include "npu_sched.h"
#include "npu_sync.h"
#include "npu_trace.h"
#include "npu_validate.h"
#include "npu_vm.h"

/* Mapping objects that one bind can need: the new one, and two halves of split ones. */
#define NPU_BIND_MAPPINGS	3

/**
 * struct npu_mapping - one mapping of a VM
 */
struct npu_mapping {
	/** @base: In the gpuvm. */
	struct drm_gpuva base;
	/** @node: In npu_bind_op.dead. */
	struct list_head node;
	/** @prot: NPU_PROT_*. */
	u32 prot;
};

/**
 * struct npu_bind_op - one bind, prepared
 */
struct npu_bind_op {
	/** @type: enum drm_npu_vm_bind_op_type. */
	u32 type;
	/** @prot: NPU_PROT_* of the new mapping. */
	u32 prot;
	/** @va: First byte. */
	u64 va;
	/** @size: Bytes. */
	u64 size;
	/** @offset: First byte in the BO. */
	u64 offset;
	/** @bo: BO to map. Owned. */
	struct npu_bo *bo;
	/** @sgt: Its memory, which the BO owns. */
	struct sg_table *sgt;
	/** @vm_bo: Link between BO and VM. Owned. */
	struct drm_gpuvm_bo *vm_bo;
	/** @mappings: Made in advance; NULL where used. */
	struct npu_mapping *mappings[NPU_BIND_MAPPINGS];
	/** @dead: Mappings that were taken out. */
	struct list_head dead;
	/** @stash: Page tables. */
	struct npu_pt_stash stash;
	/** @mmu_failed: Until it is reset, the device may use what was taken out. */
	bool mmu_failed;
};

/**
 * struct npu_bind_job - a queued bind
 */
struct npu_bind_job {
	/** @base: For the scheduler. */
	struct drm_sched_job base;
	/** @vm: VM. Owned. */
	struct npu_vm *vm;
	/** @op: What to do. */
	struct npu_bind_op op;
	/** @cleanup: Frees what the bind took out, outside the signalling path. */
	struct work_struct cleanup;
};

u64 npu_vm_user_size(const struct npu_device *npu)
{
	return (1ull << npu->info.va_bits) - NPU_VM_KERNEL_SIZE - NPU_VM_START;
}

static u64 npu_vm_user_end(const struct npu_vm *vm)
{
	return NPU_VM_START + npu_vm_user_size(vm->npu);
}

static struct npu_mapping *to_npu_mapping(struct drm_gpuva *va)
{
	return container_of(va, struct npu_mapping, base);
}

/* ---- Links between BOs and VMs ------------------------------------------- */

static void npu_vm_bo_put(struct drm_gpuvm_bo *vm_bo)
{
	struct drm_gem_object *obj = vm_bo->obj;

	/* The last reference may be the BO's last as well, and the lock is in the BO. */
	drm_gem_object_get(obj);
	npu_gpuva_lock(obj, &to_npu_bo(obj)->gpuva_lock);
	drm_gpuvm_bo_put(vm_bo);
	npu_gpuva_unlock(obj, &to_npu_bo(obj)->gpuva_lock);
	drm_gem_object_put(obj);
}

static void npu_mapping_link(struct npu_mapping *map, struct drm_gpuvm_bo *vm_bo)
{
	npu_gpuva_lock(vm_bo->obj, &to_npu_bo(vm_bo->obj)->gpuva_lock);
	drm_gpuva_link(&map->base, vm_bo);
	npu_gpuva_unlock(vm_bo->obj, &to_npu_bo(vm_bo->obj)->gpuva_lock);
}

/* Its reference to the vm_bo is dropped in npu_bind_op_fini(), which may sleep and free. */
static void npu_mapping_unlink(struct npu_mapping *map, struct npu_bind_op *op)
{
	struct drm_gem_object *obj = map->base.gem.obj;

	npu_gpuva_lock(obj, &to_npu_bo(obj)->gpuva_lock);
	list_del_init(&map->base.gem.entry);
	npu_gpuva_unlock(obj, &to_npu_bo(obj)->gpuva_lock);
	list_add_tail(&map->node, &op->dead);
}

/* ---- Steps that gpuvm asks for ------------------------------------------- */

static struct npu_mapping *npu_bind_op_take_mapping(struct npu_bind_op *op)
{
	struct npu_mapping *map;
	unsigned int i;

	for (i = 0; i < NPU_BIND_MAPPINGS; i++) {
		map = op->mappings[i];
		if (map) {
			op->mappings[i] = NULL;
			return map;
		}
	}

	return NULL;
}

static int npu_vm_step_map(struct drm_gpuva_op *step, void *priv)
{
	struct npu_vm *vm = priv;
	struct npu_bind_op *op = vm->op;
	struct npu_mapping *map;
	int ret;

	map = npu_bind_op_take_mapping(op);
	if (!map)
		return -ENOMEM;

	map->prot = op->prot;
	ret = npu_pgtable_map_sgt(&vm->pgt, &op->stash, step->map.va.addr, op->sgt,
				  step->map.gem.offset, step->map.va.range, op->prot);
	if (ret) {
		kfree(map);
		return ret;
	}

	drm_gpuva_map(&vm->base, &map->base, &step->map);
	npu_mapping_link(map, op->vm_bo);
	return 0;
}

static int npu_vm_step_unmap(struct drm_gpuva_op *step, void *priv)
{
	struct npu_mapping *map = to_npu_mapping(step->unmap.va);
	struct npu_vm *vm = priv;
	int ret;

	ret = npu_pgtable_unmap(&vm->pgt, &vm->op->stash, map->base.va.addr, map->base.va.range);
	if (ret)
		return ret;

	drm_gpuva_unmap(&step->unmap);
	npu_mapping_unlink(map, vm->op);
	return 0;
}

static int npu_vm_step_remap(struct drm_gpuva_op *step, void *priv)
{
	struct npu_mapping *old = to_npu_mapping(step->remap.unmap->va), *prev = NULL, *next = NULL;
	struct drm_gpuvm_bo *vm_bo = old->base.vm_bo;
	struct npu_vm *vm = priv;
	u64 va, size;
	int ret;

	drm_gpuva_op_remap_to_unmap_range(&step->remap, &va, &size);
	ret = npu_pgtable_unmap(&vm->pgt, &vm->op->stash, va, size);
	if (ret)
		return ret;

	if (step->remap.prev) {
		prev = npu_bind_op_take_mapping(vm->op);
		if (!prev)
			return -ENOMEM;
		prev->prot = old->prot;
	}
	if (step->remap.next) {
		next = npu_bind_op_take_mapping(vm->op);
		if (!next) {
			kfree(prev);
			return -ENOMEM;
		}
		next->prot = old->prot;
	}

	drm_gpuva_remap(prev ? &prev->base : NULL, next ? &next->base : NULL, &step->remap);
	if (prev)
		npu_mapping_link(prev, vm_bo);
	if (next)
		npu_mapping_link(next, vm_bo);
	npu_mapping_unlink(old, vm->op);
	return 0;
}

static void npu_vm_free(struct drm_gpuvm *gpuvm)
{
	kfree(container_of(gpuvm, struct npu_vm, base));
}

static const struct drm_gpuvm_ops npu_gpuvm_ops = {
	.vm_free = npu_vm_free,
	.sm_step_map = npu_vm_step_map,
	.sm_step_remap = npu_vm_step_remap,
	.sm_step_unmap = npu_vm_step_unmap,
};

/* ---- Executing ----------------------------------------------------------- */

static int npu_bind_op_change(struct npu_vm *vm, struct npu_bind_op *op)
{
	if (op->type == DRM_NPU_VM_BIND_MAP)
		return npu_gpuvm_sm_map(&vm->base, vm, op->va, op->size, &op->bo->base.base,
					op->offset);

	return drm_gpuvm_sm_unmap(&vm->base, vm, op->va, op->size);
}

/*
 * Nothing here allocates or frees. A range in which nothing was mapped needs no
 * lock and no flush: the device caches valid translations only.
 */
static int npu_bind_op_exec(struct npu_vm *vm, struct npu_bind_op *op)
{
	bool lock;
	int ret;

	if (op->type == DRM_NPU_VM_BIND_SYNC_ONLY)
		return 0;

	mutex_lock(&vm->op_lock);
	vm->op = op;

	/* Taking down works without the device, too; see npu_vm_revoke(). */
	if (op->type == DRM_NPU_VM_BIND_MAP && npu_device_lost(vm->npu)) {
		ret = -ENODEV;
		goto out_unlock;
	}
	if (op->type == DRM_NPU_VM_BIND_MAP && npu_inject(vm->npu, NPU_INJECT_BIND)) {
		ret = -ENOMEM;
		goto out_unlock;
	}

	lock = drm_gpuva_find_first(&vm->base, op->va, op->size);
	ret = lock ? npu_mmu_vm_lock(vm, op->va, op->size) : 0;
	if (ret) {
		op->mmu_failed = true;
		goto out_unlock;
	}

	ret = npu_bind_op_change(vm, op);
	if (lock && npu_mmu_vm_unlock(vm, !list_empty(&op->stash.dead))) {
		op->mmu_failed = true;
		ret = ret ?: -EIO;
	}

out_unlock:
	vm->op = NULL;
	mutex_unlock(&vm->op_lock);

	trace_npu_vm_bind(vm->npu->drm.dev, vm->id, op->type, op->va, op->size, ret);
	return ret;
}

/* ---- Preparing ----------------------------------------------------------- */

/* May sleep, and may drop the last reference of BOs and tables. */
static void npu_bind_op_fini(struct npu_vm *vm, struct npu_bind_op *op)
{
	struct npu_mapping *map, *next;
	unsigned int i;

	/* What the device may still see is freed once it has been reset. */
	if (op->mmu_failed)
		npu_sched_wait_reset(vm->npu);

	list_for_each_entry_safe(map, next, &op->dead, node) {
		npu_vm_bo_put(map->base.vm_bo);
		kfree(map);
	}
	for (i = 0; i < NPU_BIND_MAPPINGS; i++)
		kfree(op->mappings[i]);
	npu_pt_stash_drain(&vm->pgt, &op->stash);
	if (op->vm_bo)
		npu_vm_bo_put(op->vm_bo);
	if (op->bo)
		drm_gem_object_put(&op->bo->base.base);
}

static int npu_bind_op_check(struct npu_vm *vm, const struct drm_npu_vm_bind_op *arg)
{
	if (arg->pad || arg->flags & ~(DRM_NPU_VM_BIND_READONLY | DRM_NPU_VM_BIND_UNCACHED))
		return -EINVAL;

	switch (arg->type) {
	case DRM_NPU_VM_BIND_MAP:
		break;
	case DRM_NPU_VM_BIND_UNMAP:
		if (arg->flags || arg->bo_handle || arg->bo_offset)
			return -EINVAL;
		break;
	case DRM_NPU_VM_BIND_SYNC_ONLY:
		return arg->flags || arg->bo_handle || arg->bo_offset || arg->va || arg->size ?
			       -EINVAL : 0;
	default:
		return -EINVAL;
	}

	return npu_bind_range_check(arg->va, arg->size, arg->bo_offset, NPU_VM_START,
				    npu_vm_user_end(vm));
}

static int npu_bind_op_get_bo(struct npu_vm *vm, struct npu_bind_op *op, struct drm_file *file,
			      u32 handle)
{
	struct drm_gem_object *obj;
	struct drm_gpuvm_bo *vm_bo;

	obj = drm_gem_object_lookup(file, handle);
	if (!obj)
		return -ENOENT;
	op->bo = to_npu_bo(obj);

	if (op->size > obj->size || op->offset > obj->size - op->size)
		return -EINVAL;
	if (op->bo->exclusive_root && op->bo->exclusive_root != drm_gpuvm_resv_obj(&vm->base))
		return -EINVAL;

	op->sgt = drm_gem_shmem_get_pages_sgt(&op->bo->base);
	if (IS_ERR(op->sgt))
		return PTR_ERR(op->sgt);

	vm_bo = drm_gpuvm_bo_create(&vm->base, obj);
	if (!vm_bo)
		return -ENOMEM;
	op->vm_bo = npu_gpuvm_bo_obtain(vm_bo, &op->bo->gpuva_lock);
	return 0;
}

static int npu_bind_op_prealloc(struct npu_vm *vm, struct npu_bind_op *op)
{
	u32 leaves = npu_pgtable_count_splits(op->va, op->size), nodes = 0;
	unsigned int i;

	for (i = 0; i < NPU_BIND_MAPPINGS; i++) {
		op->mappings[i] = kzalloc_obj(*op->mappings[i], GFP_KERNEL_ACCOUNT);
		if (!op->mappings[i])
			return -ENOMEM;
	}

	if (op->type == DRM_NPU_VM_BIND_MAP) {
		leaves += npu_pgtable_count_leaves_sgt(op->va, op->sgt, op->offset, op->size);
		nodes = npu_pgtable_count_nodes(&vm->pgt, op->va, op->size);
	}

	return npu_pt_stash_fill(&vm->pgt, &op->stash, leaves, nodes);
}

/* On error, npu_bind_op_fini() undoes what was done. */
static int npu_bind_op_init(struct npu_vm *vm, struct npu_bind_op *op, struct drm_file *file,
			    const struct drm_npu_vm_bind_op *arg)
{
	int ret;

	INIT_LIST_HEAD(&op->dead);
	npu_pt_stash_init(&op->stash);
	op->type = arg->type;
	op->va = arg->va;
	op->size = arg->size;
	op->offset = arg->bo_offset;
	if (arg->flags & DRM_NPU_VM_BIND_READONLY)
		op->prot |= NPU_PROT_READONLY;
	if (vm->npu->coherent && !(arg->flags & DRM_NPU_VM_BIND_UNCACHED))
		op->prot |= NPU_PROT_CACHED;

	ret = npu_bind_op_check(vm, arg);
	if (ret || op->type == DRM_NPU_VM_BIND_SYNC_ONLY)
		return ret;

	if (op->type == DRM_NPU_VM_BIND_MAP) {
		ret = npu_bind_op_get_bo(vm, op, file, arg->bo_handle);
		if (ret)
			return ret;
	}

	return npu_bind_op_prealloc(vm, op);
}

/* ---- Immediate binds ----------------------------------------------------- */

/* Immediate binds come after the queued ones. */
static int npu_vm_wait_binds(struct npu_vm *vm)
{
	struct dma_fence *fence;
	long ret;

	mutex_lock(&vm->bind_lock);
	fence = dma_fence_get(vm->last_bind);
	mutex_unlock(&vm->bind_lock);
	if (!fence)
		return 0;

	ret = dma_fence_wait(fence, true);
	dma_fence_put(fence);
	return ret;
}

static int npu_vm_bind_one(struct npu_vm *vm, struct drm_file *file,
			   const struct drm_npu_vm_bind_op *arg)
{
	struct npu_bind_op op = { };
	int ret, idx;

	if (npu_vm_unusable(vm))
		return -EIO;
	if (arg->type == DRM_NPU_VM_BIND_SYNC_ONLY || arg->syncs.count || arg->syncs.array)
		return -EINVAL;
	if (!drm_dev_enter(&vm->npu->drm, &idx))
		return -ENODEV;

	ret = npu_bind_op_init(vm, &op, file, arg);
	if (!ret)
		ret = npu_bind_op_exec(vm, &op);
	npu_bind_op_fini(vm, &op);
	drm_dev_exit(idx);
	return ret;
}

/**
 * npu_vm_bind_now() - Bind at once
 * @vm: VM.
 * @file: File.
 * @ops: Binds.
 * @count: Number of @ops.
 * @done: Number of binds that were done.
 *
 * Return: 0 or a negative errno.
 */
int npu_vm_bind_now(struct npu_vm *vm, struct drm_file *file,
		    const struct drm_npu_vm_bind_op *ops, u32 count, u32 *done)
{
	int ret;

	*done = 0;
	ret = npu_vm_wait_binds(vm);

	for (; !ret && *done < count; ++*done) {
		ret = npu_vm_bind_one(vm, file, &ops[*done]);
		if (ret)
			break;
	}

	return ret;
}

/* ---- Queued binds -------------------------------------------------------- */

static struct npu_bind_job *to_npu_bind_job(struct drm_sched_job *job)
{
	return container_of(job, struct npu_bind_job, base);
}

static void npu_vm_set_unusable(struct npu_vm *vm)
{
	WRITE_ONCE(vm->unusable, true);
	drm_dbg(&vm->npu->drm, "VM %u: a queued bind failed, the VM is unusable\n", vm->id);
}

static struct dma_fence *npu_bind_job_run(struct drm_sched_job *sched_job)
{
	struct npu_bind_job *job = to_npu_bind_job(sched_job);
	struct npu_vm *vm = job->vm;
	bool cookie;
	int ret;

	if (npu_vm_unusable(vm))
		return ERR_PTR(-EIO);

	cookie = dma_fence_begin_signalling();
	ret = npu_bind_op_exec(vm, &job->op);
	if (ret)
		npu_vm_set_unusable(vm);
	dma_fence_end_signalling(cookie);

	return ret ? ERR_PTR(ret) : NULL;
}

static void npu_bind_job_destroy(struct npu_bind_job *job)
{
	npu_bind_op_fini(job->vm, &job->op);
	npu_vm_put(job->vm);
	kfree(job);
}

static void npu_bind_job_cleanup(struct work_struct *work)
{
	npu_bind_job_destroy(container_of(work, struct npu_bind_job, cleanup));
}

static void npu_bind_job_free(struct drm_sched_job *sched_job)
{
	struct npu_bind_job *job = to_npu_bind_job(sched_job);

	npu_sched_job_orphan(sched_job);
	drm_sched_job_cleanup(sched_job);
	queue_work(npu_cleanup_wq, &job->cleanup);
}

/* Never: the scheduler's own time-out is off, and binds do not wait for jobs. */
static enum drm_gpu_sched_stat npu_bind_job_timedout(struct drm_sched_job *sched_job)
{
	return NPU_SCHED_STAT_RESET;
}

static const struct drm_sched_backend_ops npu_bind_sched_ops = {
	.run_job = npu_bind_job_run,
	.free_job = npu_bind_job_free,
	.timedout_job = npu_bind_job_timedout,
};

static struct npu_bind_job *npu_bind_job_create(struct npu_vm *vm, struct drm_file *file,
						const struct drm_npu_vm_bind_op *arg)
{
	struct npu_bind_job *job;
	int ret;

	job = kzalloc_obj(*job, GFP_KERNEL_ACCOUNT);
	if (!job)
		return ERR_PTR(-ENOMEM);

	job->vm = npu_vm_get(vm);
	INIT_WORK(&job->cleanup, npu_bind_job_cleanup);

	ret = npu_bind_op_init(vm, &job->op, file, arg);
	if (!ret)
		ret = npu_drm_sched_job_init(&job->base, &vm->bind_entity, 1, file, file);
	if (ret) {
		npu_bind_job_destroy(job);
		return ERR_PTR(ret);
	}

	return job;
}

static int npu_vm_push_binds(struct npu_vm *vm, struct npu_bind_job **jobs, u32 count,
			     struct npu_sync_list *syncs)
{
	struct dma_fence *fence;
	u32 i;

	mutex_lock(&vm->bind_lock);
	if (READ_ONCE(vm->destroyed) || npu_vm_unusable(vm)) {
		mutex_unlock(&vm->bind_lock);
		return -EIO;
	}

	for (i = 0; i < count; i++) {
		drm_sched_job_arm(&jobs[i]->base);
		fence = &jobs[i]->base.s_fence->finished;
		npu_sync_set_fence(syncs, i, fence);
		if (i == count - 1) {
			dma_fence_put(vm->last_bind);
			vm->last_bind = dma_fence_get(fence);
		}
	}
	for (i = 0; i < count; i++)
		drm_sched_entity_push_job(&jobs[i]->base);
	mutex_unlock(&vm->bind_lock);

	npu_sync_publish(syncs);
	return 0;
}

/**
 * npu_vm_bind_queued() - Queue binds behind their waits
 * @vm: VM.
 * @file: File.
 * @ops: Binds.
 * @count: Number of @ops, not 0.
 *
 * Return: 0 with all of them queued, or a negative errno with none.
 */
int npu_vm_bind_queued(struct npu_vm *vm, struct drm_file *file,
		       const struct drm_npu_vm_bind_op *ops, u32 count)
{
	struct npu_sync_list syncs;
	struct npu_bind_job **jobs;
	struct npu_sync_ops sync;
	int ret = 0, idx;
	u32 made = 0;

	npu_sync_init(&syncs);
	jobs = kvcalloc(count, sizeof(*jobs), GFP_KERNEL);
	if (!jobs)
		return -ENOMEM;
	if (!drm_dev_enter(&vm->npu->drm, &idx)) {
		kvfree(jobs);
		return -ENODEV;
	}

	for (; !ret && made < count; made++) {
		jobs[made] = npu_bind_job_create(vm, file, &ops[made]);
		if (IS_ERR(jobs[made])) {
			ret = PTR_ERR(jobs[made]);
			break;
		}
		ret = npu_sync_copy(&sync, &ops[made].syncs);
		if (!ret)
			ret = npu_sync_add(&syncs, file, &jobs[made]->base, made, &sync);
		npu_sync_free(&sync);
	}

	if (!ret)
		ret = npu_vm_push_binds(vm, jobs, count, &syncs);

	while (ret && made--) {
		drm_sched_job_cleanup(&jobs[made]->base);
		npu_bind_job_destroy(jobs[made]);
	}

	drm_dev_exit(idx);
	npu_sync_fini(&syncs);
	kvfree(jobs);
	return ret;
}

/* ---- The kernel's part --------------------------------------------------- */

/**
 * npu_vm_map_kernel() - Map memory of the kernel at an address of the kernel's choice
 * @vm: VM.
 * @node: Cleared; gets the address (start) and size.
 * @addr: DMA address of contiguous memory.
 * @size: Bytes, a multiple of 4 KiB.
 * @prot: NPU_PROT_*.
 *
 * Return: 0 or a negative errno.
 */
int npu_vm_map_kernel(struct npu_vm *vm, struct drm_mm_node *node, dma_addr_t addr, u64 size,
		      u32 prot)
{
	struct npu_pt_stash stash;
	int ret;

	mutex_lock(&vm->kernel_lock);
	ret = drm_mm_insert_node_generic(&vm->kernel_mm, node, size, NPU_PAGE_SIZE, 0,
					 DRM_MM_INSERT_BEST);
	mutex_unlock(&vm->kernel_lock);
	if (ret)
		return ret;

	npu_pt_stash_init(&stash);
	ret = npu_pt_stash_fill(&vm->pgt, &stash, (size >> NPU_BLOCK_SHIFT) + 2,
				npu_pgtable_count_nodes(&vm->pgt, node->start, size));
	if (!ret) {
		mutex_lock(&vm->op_lock);
		ret = npu_pgtable_map(&vm->pgt, &stash, node->start, addr, size, prot);
		mutex_unlock(&vm->op_lock);
	}
	npu_pt_stash_drain(&vm->pgt, &stash);

	if (ret)
		npu_vm_unmap_kernel(vm, node);
	return ret;
}

/* May sleep. */
void npu_vm_unmap_kernel(struct npu_vm *vm, struct drm_mm_node *node)
{
	struct npu_pt_stash stash;
	int ret;

	/* Only whole pages were mapped, no blocks: there is nothing to split. */
	npu_pt_stash_init(&stash);
	mutex_lock(&vm->op_lock);
	ret = npu_mmu_vm_lock(vm, node->start, node->size);
	npu_pgtable_unmap(&vm->pgt, &stash, node->start, node->size);
	if (!ret)
		ret = npu_mmu_vm_unlock(vm, !list_empty(&stash.dead));
	mutex_unlock(&vm->op_lock);
	if (ret)
		npu_sched_wait_reset(vm->npu);
	npu_pt_stash_drain(&vm->pgt, &stash);

	mutex_lock(&vm->kernel_lock);
	drm_mm_remove_node(node);
	mutex_unlock(&vm->kernel_lock);
}

/**
 * npu_vm_find_bo() - What user space mapped at an address, for dumps
 * @vm: VM, its op_lock held.
 * @va: Address.
 * @offset: Offset of @va in the object.
 * @left: Bytes of the mapping from there.
 *
 * Return: the object, which lives as long as op_lock is held; or NULL.
 */
struct npu_bo *npu_vm_find_bo(struct npu_vm *vm, u64 va, u64 *offset, u64 *left)
{
	struct drm_gpuva *gpuva;

	lockdep_assert_held(&vm->op_lock);

	gpuva = drm_gpuva_find_first(&vm->base, va, 1);
	if (!gpuva || !gpuva->gem.obj)
		return NULL;

	*offset = gpuva->gem.offset + (va - gpuva->va.addr);
	*left = gpuva->va.addr + gpuva->va.range - va;
	return to_npu_bo(gpuva->gem.obj);
}

/* The device has gone: the mappings stay in the books, without page tables. */
void npu_vm_revoke(struct npu_vm *vm)
{
	mutex_lock(&vm->op_lock);
	npu_pgtable_fini(&vm->pgt);
	mutex_unlock(&vm->op_lock);
}

/* ---- Life ---------------------------------------------------------------- */

static void npu_vm_unmap_all(struct npu_vm *vm)
{
	struct npu_bind_op op = {
		.type = DRM_NPU_VM_BIND_UNMAP,
		.va = 0,
		.size = 1ull << vm->npu->info.va_bits,
	};

	/* Whole mappings, no ends within blocks: nothing needs to be made in advance. */
	INIT_LIST_HEAD(&op.dead);
	npu_pt_stash_init(&op.stash);
	npu_bind_op_exec(vm, &op);
	npu_bind_op_fini(vm, &op);
}

static void npu_vm_free_parts(struct npu_vm *vm)
{
	struct npu_device *npu = vm->npu;

	drm_sched_entity_fini(&vm->bind_entity);
	drm_sched_fini(&vm->bind_sched);
	dma_fence_put(vm->last_bind);
	drm_mm_takedown(&vm->kernel_mm);
	npu_pgtable_fini(&vm->pgt);
	mutex_destroy(&vm->op_lock);
	mutex_destroy(&vm->kernel_lock);
	mutex_destroy(&vm->bind_lock);
	drm_dev_put(&npu->drm);
}

static void npu_vm_release_work(struct work_struct *work)
{
	struct npu_vm *vm = container_of(to_rcu_work(work), struct npu_vm, release);

	/* No queue uses the VM: once it has no slot, nothing needs to be flushed. */
	npu_mmu_vm_drop_slot(vm);
	npu_vm_unmap_all(vm);
	npu_vm_free_parts(vm);
	drm_gpuvm_put(&vm->base);
	npu_object_put();
}

static void npu_vm_release(struct kref *ref)
{
	struct npu_vm *vm = container_of(ref, struct npu_vm, ref);

	xa_erase(&vm->npu->vms, vm->id);
	queue_rcu_work(npu_cleanup_wq, &vm->release);
}

void npu_vm_put(struct npu_vm *vm)
{
	if (vm)
		kref_put(&vm->ref, npu_vm_release);
}

/* The handle has gone: queues keep the VM, but it is not changed any more. */
void npu_vm_destroy(struct npu_vm *vm)
{
	mutex_lock(&vm->bind_lock);
	WRITE_ONCE(vm->destroyed, true);
	mutex_unlock(&vm->bind_lock);
	npu_vm_put(vm);
}

static int npu_vm_init_binds(struct npu_vm *vm)
{
	struct drm_gpu_scheduler *sched = &vm->bind_sched;
	int ret;

	ret = npu_drm_sched_init(sched, &npu_bind_sched_ops, vm->npu->bind_wq, 1, "npu-bind",
				 vm->npu->drm.dev);
	if (ret)
		return ret;

	ret = drm_sched_entity_init(&vm->bind_entity, DRM_SCHED_PRIORITY_KERNEL, &sched, 1, NULL);
	if (ret)
		drm_sched_fini(sched);
	return ret;
}

/**
 * npu_vm_create() - Make an address space
 * @npu: Device.
 *
 * Return: VM with one reference, or an ERR_PTR().
 */
struct npu_vm *npu_vm_create(struct npu_device *npu)
{
	struct drm_gem_object *root;
	struct npu_vm *vm;
	int ret;

	vm = kzalloc_obj(*vm, GFP_KERNEL_ACCOUNT);
	if (!vm)
		return ERR_PTR(-ENOMEM);

	vm->npu = npu;
	vm->slot.id = -1;
	INIT_LIST_HEAD(&vm->slot.lru);
	INIT_RCU_WORK(&vm->release, npu_vm_release_work);
	kref_init(&vm->ref);

	ret = npu_pgtable_init(&vm->pgt, npu->drm.dev, npu->info.va_bits);
	if (ret)
		goto err_free;

	ret = npu_vm_init_binds(vm);
	if (ret)
		goto err_free_pgtable;

	root = drm_gpuvm_resv_object_alloc(&npu->drm);
	if (!root) {
		ret = -ENOMEM;
		goto err_fini_binds;
	}

	mutex_init(&vm->op_lock);
	mutex_init(&vm->kernel_lock);
	mutex_init(&vm->bind_lock);
	drm_mm_init(&vm->kernel_mm, npu_vm_user_end(vm), NPU_VM_KERNEL_SIZE);
	drm_gpuvm_init(&vm->base, "npu-vm", NPU_GPUVM_FLAGS, &npu->drm, root, 0,
		       1ull << npu->info.va_bits, 0, 0, &npu_gpuvm_ops);
	drm_gem_object_put(root);
	drm_dev_get(&npu->drm);
	npu_object_get();

	ret = xa_alloc(&npu->vms, &vm->id, vm, xa_limit_31b, GFP_KERNEL);
	if (ret) {
		npu_vm_put(vm);
		return ERR_PTR(ret);
	}

	return vm;

err_fini_binds:
	drm_sched_entity_fini(&vm->bind_entity);
	drm_sched_fini(&vm->bind_sched);
err_free_pgtable:
	npu_pgtable_fini(&vm->pgt);
err_free:
	kfree(vm);
	return ERR_PTR(ret);
}
