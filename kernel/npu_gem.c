// SPDX-License-Identifier: GPL-2.0-only
/*
 * Buffer objects: shared memory of the kernel, mapped through the DMA API.
 */
#include <linux/dma-buf.h>
#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/mm.h>
#include <linux/pagemap.h>

#include <drm/drm_gem.h>
#include <drm/drm_prime.h>
#include <drm/drm_utils.h>

#include "npu_compat.h"
#include "npu_device.h"
#include "npu_gem.h"
#include "npu_vm.h"

bool npu_bo_imported(struct npu_bo *bo)
{
	return !!bo->base.base.import_attach;
}

static void npu_gem_free(struct drm_gem_object *obj)
{
	struct npu_bo *bo = to_npu_bo(obj);
	struct drm_gem_object *root = bo->exclusive_root;
	struct npu_device *npu = to_npu_device(obj->dev);

	mutex_lock(&npu->bos.lock);
	list_del(&bo->node);
	mutex_unlock(&npu->bos.lock);

	drm_gem_free_mmap_offset(obj);
	npu_gpuva_lock_fini(&bo->gpuva_lock);
	drm_gem_shmem_free(&bo->base);

	/* The reservation object was the root's: it goes last. */
	drm_gem_object_put(root);
}

static struct dma_buf *npu_gem_export(struct drm_gem_object *obj, int flags)
{
	if (to_npu_bo(obj)->exclusive_root)
		return ERR_PTR(-EPERM);

	return drm_gem_prime_export(obj, flags);
}

static int npu_gem_mmap(struct drm_gem_object *obj, struct vm_area_struct *vma)
{
	if (to_npu_bo(obj)->flags & DRM_NPU_BO_NO_MMAP)
		return -EINVAL;

	return drm_gem_shmem_object_mmap(obj, vma);
}

static enum drm_gem_object_status npu_gem_status(struct drm_gem_object *obj)
{
	struct npu_bo *bo = to_npu_bo(obj);

	return bo->base.pages || npu_bo_imported(bo) ? DRM_GEM_OBJECT_RESIDENT : 0;
}

static const struct drm_gem_object_funcs npu_gem_funcs = {
	.free = npu_gem_free,
	.export = npu_gem_export,
	.print_info = drm_gem_shmem_object_print_info,
	.pin = drm_gem_shmem_object_pin,
	.unpin = drm_gem_shmem_object_unpin,
	.get_sg_table = drm_gem_shmem_object_get_sg_table,
	.vmap = drm_gem_shmem_object_vmap,
	.vunmap = drm_gem_shmem_object_vunmap,
	.mmap = npu_gem_mmap,
	.status = npu_gem_status,
	.vm_ops = &drm_gem_shmem_vm_ops,
};

struct drm_gem_object *npu_gem_create_object(struct drm_device *drm, size_t size)
{
	struct npu_device *npu = to_npu_device(drm);
	struct npu_bo *bo;

	bo = kzalloc_obj(*bo);
	if (!bo)
		return ERR_PTR(-ENOMEM);

	bo->base.base.funcs = &npu_gem_funcs;
	/*
	 * On a coherent system a write-combined mapping could miss what is in
	 * the caches, e.g. the zeroes of a new page: all mappings are cached.
	 */
	bo->base.map_wc = !npu->coherent;
	npu_gpuva_lock_init(&bo->base.base, &bo->gpuva_lock);
	INIT_LIST_HEAD(&bo->node);

	return &bo->base.base;
}

static void npu_bo_list(struct npu_device *npu, struct npu_bo *bo)
{
	mutex_lock(&npu->bos.lock);
	list_add_tail(&bo->node, &npu->bos.list);
	mutex_unlock(&npu->bos.lock);
}

struct drm_gem_object *npu_gem_prime_import_sg_table(struct drm_device *drm,
						     struct dma_buf_attachment *attach,
						     struct sg_table *sgt)
{
	struct drm_gem_object *obj;

	/*
	 * The buffer may lie where the device does not reach. The DMA API then
	 * hands over a copy, which nobody would keep in step with the buffer.
	 */
	if (to_npu_device(drm)->dma32)
		return ERR_PTR(-EOPNOTSUPP);

	obj = drm_gem_shmem_prime_import_sg_table(drm, attach, sgt);
	if (!IS_ERR(obj))
		npu_bo_list(to_npu_device(drm), to_npu_bo(obj));
	return obj;
}

/**
 * npu_bo_create() - Make a buffer object
 * @npu: Device.
 * @exclusive: The only VM that will map it, or NULL.
 * @size: Bytes, not 0.
 * @flags: enum drm_npu_bo_flags.
 *
 * Return: the object, or an ERR_PTR().
 */
struct npu_bo *npu_bo_create(struct npu_device *npu, struct npu_vm *exclusive, u64 size,
			     u32 flags)
{
	struct drm_gem_shmem_object *shmem;
	struct npu_bo *bo;

	/* It could never be used: refuse it before it takes all memory from everybody. */
	if (size >> PAGE_SHIFT > totalram_pages())
		return ERR_PTR(-ENOMEM);

	shmem = drm_gem_shmem_create(&npu->drm, size);
	if (IS_ERR(shmem))
		return ERR_CAST(shmem);

	bo = to_npu_bo(&shmem->base);
	npu_bo_list(npu, bo);
	bo->flags = flags;
	if (flags & DRM_NPU_BO_CACHED)
		shmem->map_wc = false;

	/* Memory that the device does not reach would be copied on each sync: never. */
	if (npu->dma32)
		mapping_set_gfp_mask(shmem->base.filp->f_mapping,
				     GFP_USER | GFP_DMA32 | __GFP_RETRY_MAYFAIL | __GFP_NOWARN);

	if (exclusive) {
		bo->exclusive_root = drm_gpuvm_resv_obj(&exclusive->base);
		drm_gem_object_get(bo->exclusive_root);
		shmem->base.resv = bo->exclusive_root->resv;
	}

	return bo;
}

/**
 * npu_bo_sync() - CPU cache maintenance
 * @bo: Object, not an imported one.
 * @type: enum drm_npu_bo_sync_type.
 * @offset: First byte.
 * @size: Bytes, within the object.
 *
 * Return: 0, or a negative errno when the memory cannot be had.
 */
int npu_bo_sync(struct npu_bo *bo, u32 type, u64 offset, u64 size)
{
	struct device *dev = bo->base.base.dev->dev;
	struct scatterlist *sg;
	struct sg_table *sgt;
	unsigned int i;

	if (bo->base.map_wc || to_npu_device(bo->base.base.dev)->coherent)
		return 0;

	sgt = drm_gem_shmem_get_pages_sgt(&bo->base);
	if (IS_ERR(sgt))
		return PTR_ERR(sgt);

	for_each_sgtable_dma_sg(sgt, sg, i) {
		u64 len = sg_dma_len(sg);
		dma_addr_t addr = sg_dma_address(sg);

		if (!size)
			break;
		if (offset >= len) {
			offset -= len;
			continue;
		}

		len = min(len - offset, size);
		if (type == DRM_NPU_BO_SYNC_FOR_DEVICE)
			dma_sync_single_for_device(dev, addr + offset, len, DMA_BIDIRECTIONAL);
		else
			dma_sync_single_for_cpu(dev, addr + offset, len, DMA_BIDIRECTIONAL);
		size -= len;
		offset = 0;
	}

	return 0;
}

static void npu_bo_revoke(struct npu_bo *bo)
{
	struct drm_gem_shmem_object *shmem = &bo->base;

	/* The mapping of a foreign buffer belongs to its exporter. */
	if (npu_bo_imported(bo))
		return;

	dma_resv_lock(shmem->base.resv, NULL);
	if (shmem->sgt) {
		dma_unmap_sgtable(shmem->base.dev->dev, shmem->sgt, DMA_BIDIRECTIONAL, 0);
		sg_free_table(shmem->sgt);
		kfree(shmem->sgt);
		shmem->sgt = NULL;
	}
	dma_resv_unlock(shmem->base.resv);
}

/* The device has gone: drop all its mappings of memory. The memory stays. */
void npu_bo_revoke_all(struct npu_device *npu)
{
	struct npu_bo *bo;

	/* An object that is just being freed waits for the lock to leave the list. */
	mutex_lock(&npu->bos.lock);
	list_for_each_entry(bo, &npu->bos.list, node)
		npu_bo_revoke(bo);
	mutex_unlock(&npu->bos.lock);
}

/* The VMs that may use @bo, as their root objects, each with a reference. */
static int npu_bo_get_roots(struct npu_bo *bo, struct drm_gem_object ***out)
{
	struct drm_gem_object *obj = &bo->base.base, **roots;
	struct drm_gpuvm_bo *vm_bo;
	int max = 4, n;

	for (;; max *= 2) {
		roots = kmalloc_array(max, sizeof(*roots), GFP_KERNEL);
		if (!roots)
			return -ENOMEM;

		n = 0;
		npu_gpuva_lock(obj, &bo->gpuva_lock);
		drm_gem_for_each_gpuvm_bo(vm_bo, obj) {
			if (n < max) {
				roots[n] = drm_gpuvm_resv_obj(vm_bo->vm);
				drm_gem_object_get(roots[n]);
			}
			n++;
		}
		npu_gpuva_unlock(obj, &bo->gpuva_lock);

		if (n <= max) {
			*out = roots;
			return n;
		}

		for (n = 0; n < max; n++)
			drm_gem_object_put(roots[n]);
		kfree(roots);
	}
}

/* Return: jiffies left (1 at least); 0 when time is up; negative errno. */
static long npu_resv_wait(struct dma_resv *resv, long timeout)
{
	return dma_resv_wait_timeout(resv, DMA_RESV_USAGE_BOOKKEEP, true, timeout);
}

/**
 * npu_bo_wait() - Wait until no job that was submitted before can use the object
 * @bo: Object.
 * @timeout_ns: Absolute, CLOCK_MONOTONIC; negative = for ever.
 *
 * Submissions add their fence to the VM alone, never to single objects: so the
 * VMs of the object are what is waited for.
 *
 * Return: 0, -EBUSY (poll), -ETIMEDOUT, -ERESTARTSYS or -ENOMEM.
 */
int npu_bo_wait(struct npu_bo *bo, s64 timeout_ns)
{
	long timeout = timeout_ns < 0 ? MAX_SCHEDULE_TIMEOUT :
					drm_timeout_abs_to_jiffies(timeout_ns);
	struct drm_gem_object **roots;
	bool poll = !timeout;
	long ret = 1;
	int i, n;

	if (bo->exclusive_root) {
		ret = npu_resv_wait(bo->exclusive_root->resv, timeout);
		goto out;
	}

	n = npu_bo_get_roots(bo, &roots);
	if (n < 0)
		return n;

	for (i = 0; i < n; i++) {
		if (ret > 0) {
			ret = npu_resv_wait(roots[i]->resv, timeout);
			if (ret > 0 && timeout && timeout != MAX_SCHEDULE_TIMEOUT)
				timeout = ret;
		}
		drm_gem_object_put(roots[i]);
	}
	kfree(roots);

out:
	if (!ret)
		return poll ? -EBUSY : -ETIMEDOUT;
	return ret < 0 ? ret : 0;
}
