/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef NPU_GEM_H
#define NPU_GEM_H

#include <drm/drm_gem_shmem_helper.h>

struct npu_device;
struct npu_vm;

/**
 * struct npu_bo - buffer object
 */
struct npu_bo {
	/** @base: Backing memory. */
	struct drm_gem_shmem_object base;
	/** @gpuva_lock: Protects the list of mappings where the core has no lock for it. */
	struct mutex gpuva_lock;
	/** @exclusive_root: Root object of the only VM that may map this, or NULL. Owned. */
	struct drm_gem_object *exclusive_root;
	/** @flags: enum drm_npu_bo_flags. */
	u32 flags;
	/** @node: In npu_device.bos. */
	struct list_head node;
};

static inline struct npu_bo *to_npu_bo(struct drm_gem_object *obj)
{
	return container_of(to_drm_gem_shmem_obj(obj), struct npu_bo, base);
}

struct drm_gem_object *npu_gem_create_object(struct drm_device *drm, size_t size);
struct drm_gem_object *npu_gem_prime_import_sg_table(struct drm_device *drm,
						     struct dma_buf_attachment *attach,
						     struct sg_table *sgt);
struct npu_bo *npu_bo_create(struct npu_device *npu, struct npu_vm *exclusive, u64 size,
			     u32 flags);
int npu_bo_sync(struct npu_bo *bo, u32 type, u64 offset, u64 size);
int npu_bo_wait(struct npu_bo *bo, s64 timeout_ns);
bool npu_bo_imported(struct npu_bo *bo);
void npu_bo_revoke_all(struct npu_device *npu);

#endif /* NPU_GEM_H */
