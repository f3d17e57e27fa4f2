/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Address-space slots of the device: which VM has which, and what the device
 * has cached of its tables.
 */
#ifndef NPU_MMU_H
#define NPU_MMU_H

#include <linux/list.h>
#include <linux/types.h>

struct npu_device;
struct npu_vm;

/**
 * struct npu_vm_slot - what the MMU keeps of a VM, protected by its lock
 */
struct npu_vm_slot {
	/** @id: Slot, -1 = none. */
	int id;
	/** @users: Bound hardware queues that use the VM. */
	u32 users;
	/** @lru: In the list of idle VMs that have a slot. */
	struct list_head lru;
	/** @locked: A range is locked: it must be so in any slot that the VM gets. */
	bool locked;
	/** @lock_va: First byte of the locked range. */
	u64 lock_va;
	/** @lock_size: Bytes of it. */
	u64 lock_size;
};

int npu_mmu_init(struct npu_device *npu);

int npu_mmu_vm_get_slot(struct npu_vm *vm);
void npu_mmu_vm_put_slot(struct npu_vm *vm);
void npu_mmu_vm_drop_slot(struct npu_vm *vm);

int npu_mmu_vm_lock(struct npu_vm *vm, u64 va, u64 size);
int npu_mmu_vm_unlock(struct npu_vm *vm, bool walks);

void npu_mmu_evict_all(struct npu_device *npu);

#endif /* NPU_MMU_H */
