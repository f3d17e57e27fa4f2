/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef NPU_VM_H
#define NPU_VM_H

#include <linux/kref.h>
#include <linux/mutex.h>

#include <drm/drm_gpuvm.h>
#include <drm/drm_mm.h>
#include <drm/gpu_scheduler.h>
#include <drm/npu_accel.h>

#include "npu_mmu.h"
#include "npu_pgtable.h"

struct drm_file;
struct npu_bo;
struct npu_device;
struct seq_file;

/* Top of each address space that the kernel keeps: initial registers of queues. */
#define NPU_VM_KERNEL_SIZE	SZ_1G

/* Below: never mapped, so that null pointers fault. */
#define NPU_VM_START		SZ_64K

/**
 * struct npu_vm - address space
 *
 * @ref counts the handle, queues and bind jobs. The gpuvm inside has a count of
 * its own, which its mappings hold: with the last @ref, mappings are taken down.
 */
struct npu_vm {
	/** @base: Mappings of user space. Protected by @op_lock. */
	struct drm_gpuvm base;
	/** @ref: References. */
	struct kref ref;
	/** @npu: Device. */
	struct npu_device *npu;
	/** @id: In npu_device.vms; 0 before it is there. */
	u32 id;

	/** @op_lock: Serialises changes of @base and @pgt. Taken in signalling paths. */
	struct mutex op_lock;
	/** @pgt: Page tables. Protected by @op_lock. */
	struct npu_pgtable pgt;
	/** @op: Bind that is being done. Protected by @op_lock. */
	struct npu_bind_op *op;

	/** @kernel_lock: Protects @kernel_mm. */
	struct mutex kernel_lock;
	/** @kernel_mm: Addresses of the kernel's part. */
	struct drm_mm kernel_mm;

	/** @slot: The MMU's. */
	struct npu_vm_slot slot;

	/** @bind_sched: Runs queued binds. */
	struct drm_gpu_scheduler bind_sched;
	/** @bind_entity: Queue of queued binds. */
	struct drm_sched_entity bind_entity;
	/** @bind_lock: Held from arming to pushing queued binds; protects @last_bind. */
	struct mutex bind_lock;
	/** @last_bind: Finished fence of the last queued bind. */
	struct dma_fence *last_bind;

	/** @unusable: A queued bind failed. */
	bool unusable;
	/** @destroyed: The handle has gone: no more binds. */
	bool destroyed;

	/** @release: Frees the VM, after a grace period for names of fences. */
	struct rcu_work release;
};

struct npu_vm *npu_vm_create(struct npu_device *npu);
void npu_vm_destroy(struct npu_vm *vm);
void npu_vm_put(struct npu_vm *vm);
void npu_vm_revoke(struct npu_vm *vm);
u64 npu_vm_user_size(const struct npu_device *npu);

static inline struct npu_vm *npu_vm_get(struct npu_vm *vm)
{
	kref_get(&vm->ref);
	return vm;
}

static inline bool npu_vm_unusable(struct npu_vm *vm)
{
	return READ_ONCE(vm->unusable);
}

int npu_vm_bind_now(struct npu_vm *vm, struct drm_file *file,
		    const struct drm_npu_vm_bind_op *ops, u32 count, u32 *done);
int npu_vm_bind_queued(struct npu_vm *vm, struct drm_file *file,
		       const struct drm_npu_vm_bind_op *ops, u32 count);

int npu_vm_map_kernel(struct npu_vm *vm, struct drm_mm_node *node, dma_addr_t addr, u64 size,
		      u32 prot);
void npu_vm_unmap_kernel(struct npu_vm *vm, struct drm_mm_node *node);

struct npu_bo *npu_vm_find_bo(struct npu_vm *vm, u64 va, u64 *offset, u64 *left);

#endif /* NPU_VM_H */
