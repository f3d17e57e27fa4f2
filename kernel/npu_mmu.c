// SPDX-License-Identifier: GPL-2.0-only
/*
 * Address-space slots.
 *
 * VMs outnumber slots. A VM keeps its slot after its last queue has left, and
 * loses it to another when slots run out, least recently used first.
 *
 * Tables change under LOCK, so that no access sees half of a change: LOCK the
 * range, change, FLUSH what the device has cached of it, UNLOCK. A VM without
 * a slot needs none of that; should it get one in the middle of a change, the
 * range is locked before any queue can use it.
 */
#include <linux/export.h>
#include <linux/iopoll.h>
#include <linux/ktime.h>

#include <kunit/visibility.h>

#include <drm/drm_drv.h>
#include <drm/drm_managed.h>
#include <drm/drm_print.h>

#include "npu_device.h"
#include "npu_mmu.h"
#include "npu_regs.h"
#include "npu_sched.h"
#include "npu_trace.h"
#include "npu_vm.h"

/* Commands end in bounded time even with a hung queue: beyond this the device is. */
#define NPU_MMU_SPIN_US		20
#define NPU_MMU_TIMEOUT_US	(3000 * USEC_PER_MSEC)

/**
 * struct npu_mmu - all slots
 */
struct npu_mmu {
	/** @lock: Protects all of this and npu_vm.slot. Taken in signalling paths. */
	struct mutex lock;
	/** @idle: VMs that have a slot and no user, least recently used first. */
	struct list_head idle;
	/** @slot: VM in each slot. */
	struct npu_vm *slot[NPU_MAX_SLOTS];
};

static u32 npu_as_reg(int id, u32 reg)
{
	return NPU_MMU_BASE + NPU_AS(id) + reg;
}

/* All ones: the device has gone. */
static bool npu_mmu_ended(u32 status)
{
	return !(status & NPU_AS_STATUS_BUSY) || status == ~0u;
}

static int npu_mmu_wait(struct npu_device *npu, int id)
{
	void __iomem *reg = npu->iomem + npu_as_reg(id, NPU_AS_STATUS);
	u32 status;
	int ret;

	ret = readl_poll_timeout_atomic(reg, status, npu_mmu_ended(status), 1, NPU_MMU_SPIN_US);
	if (ret)
		ret = readl_poll_timeout(reg, status, npu_mmu_ended(status), 50,
					 NPU_MMU_TIMEOUT_US);
	if (ret || status == ~0u || npu_inject(npu, NPU_INJECT_MMU)) {
		drm_err(&npu->drm, "slot %d: command does not end, status %#x\n", id, status);
		npu_sched_request_reset(npu);
		return -ETIMEDOUT;
	}
	if (status & NPU_AS_STATUS_ERROR) {
		/* At unplug, the device is reset under those who still unmap. */
		if (!drm_dev_is_unplugged(&npu->drm))
			drm_err(&npu->drm, "slot %d: command refused, status %#x\n", id, status);
		return -EIO;
	}

	return 0;
}

static int npu_mmu_command(struct npu_device *npu, int id, u32 cmd)
{
	npu_write(npu, npu_as_reg(id, NPU_AS_CMD), cmd);
	return npu_mmu_wait(npu, id);
}

static int npu_mmu_command_range(struct npu_device *npu, int id, u32 cmd, u64 va, u64 size)
{
	trace_npu_mmu_command(npu->drm.dev, id, cmd, va, size);
	npu_write64(npu, npu_as_reg(id, NPU_AS_RANGE_LO), va);
	npu_write64(npu, npu_as_reg(id, NPU_AS_RANGE_SIZE_LO), size);
	return npu_mmu_command(npu, id, cmd);
}

/* Point a slot at the tables of @vm, or at nothing. */
static int npu_mmu_load(struct npu_device *npu, int id, struct npu_vm *vm)
{
	u32 cfg = 0;

	if (vm) {
		cfg = NPU_AS_CFG_ENABLE | NPU_AS_CFG_VA_BITS(npu->info.va_bits);
		if (npu->coherent)
			cfg |= NPU_AS_CFG_WALK_SHAREABLE;
	}

	npu_write64(npu, npu_as_reg(id, NPU_AS_TABLE_LO), vm ? npu_pgtable_root(&vm->pgt) : 0);
	npu_write(npu, npu_as_reg(id, NPU_AS_CFG), cfg);
	return npu_mmu_command(npu, id, NPU_AS_CMD_UPDATE);
}

static int npu_mmu_find_slot(struct npu_device *npu)
{
	struct npu_mmu *mmu = npu->mmu;
	struct npu_vm *victim;
	int id;

	for (id = 0; id < npu->info.slots; id++) {
		if (!mmu->slot[id])
			return id;
	}

	list_for_each_entry(victim, &mmu->idle, slot.lru) {
		if (victim->slot.locked)
			continue;
		id = victim->slot.id;
		list_del_init(&victim->slot.lru);
		victim->slot.id = -1;
		mmu->slot[id] = NULL;
		trace_npu_vm_slot(npu->drm.dev, victim->id, -1);
		return id;
	}

	return -EBUSY;
}

static int npu_mmu_take_slot(struct npu_vm *vm)
{
	struct npu_device *npu = vm->npu;
	struct npu_mmu *mmu = npu->mmu;
	int id, ret;

	id = npu_mmu_find_slot(npu);
	if (id < 0)
		return id;

	ret = npu_mmu_load(npu, id, vm);
	if (!ret && vm->slot.locked)
		ret = npu_mmu_command_range(npu, id, NPU_AS_CMD_LOCK, vm->slot.lock_va,
					    vm->slot.lock_size);
	if (ret)
		return ret;

	mmu->slot[id] = vm;
	vm->slot.id = id;
	trace_npu_vm_slot(npu->drm.dev, vm->id, id);
	return 0;
}

/**
 * npu_mmu_vm_get_slot() - Make sure that a VM has a slot, and keep it there
 * @vm: VM; the device is powered.
 *
 * Return: 0; -EBUSY when all slots have users; -EIO or -ETIMEDOUT when the
 * device fails.
 */
int npu_mmu_vm_get_slot(struct npu_vm *vm)
{
	struct npu_mmu *mmu = vm->npu->mmu;
	int ret = 0;

	mutex_lock(&mmu->lock);
	if (vm->slot.id < 0)
		ret = npu_mmu_take_slot(vm);
	if (!ret) {
		vm->slot.users++;
		list_del_init(&vm->slot.lru);
	}
	mutex_unlock(&mmu->lock);

	return ret;
}
EXPORT_SYMBOL_IF_KUNIT(npu_mmu_vm_get_slot);

/* The VM may lose its slot once nobody keeps it. */
void npu_mmu_vm_put_slot(struct npu_vm *vm)
{
	struct npu_mmu *mmu = vm->npu->mmu;

	mutex_lock(&mmu->lock);
	if (!--vm->slot.users && vm->slot.id >= 0)
		list_add_tail(&vm->slot.lru, &mmu->idle);
	mutex_unlock(&mmu->lock);
}
EXPORT_SYMBOL_IF_KUNIT(npu_mmu_vm_put_slot);

/* The VM goes: its tables are about to be freed. */
void npu_mmu_vm_drop_slot(struct npu_vm *vm)
{
	struct npu_mmu *mmu = vm->npu->mmu;

	mutex_lock(&mmu->lock);
	list_del_init(&vm->slot.lru);
	if (vm->slot.id >= 0) {
		npu_mmu_load(vm->npu, vm->slot.id, NULL);
		mmu->slot[vm->slot.id] = NULL;
		vm->slot.id = -1;
	}
	mutex_unlock(&mmu->lock);
}
EXPORT_SYMBOL_IF_KUNIT(npu_mmu_vm_drop_slot);

/**
 * npu_mmu_vm_lock() - Stall accesses of the device to a range until it is unlocked
 * @vm: VM, its op_lock held.
 * @va: First byte.
 * @size: Bytes. Whole 2 MiB blocks are locked, because blocks may be split.
 *
 * Return: 0, or -EIO or -ETIMEDOUT: then the range must not be changed.
 */
int npu_mmu_vm_lock(struct npu_vm *vm, u64 va, u64 size)
{
	struct npu_mmu *mmu = vm->npu->mmu;
	int ret = 0;

	mutex_lock(&mmu->lock);
	vm->slot.lock_va = ALIGN_DOWN(va, NPU_BLOCK_SIZE);
	vm->slot.lock_size = ALIGN(va + size, NPU_BLOCK_SIZE) - vm->slot.lock_va;
	vm->slot.locked = true;
	if (vm->slot.id >= 0)
		ret = npu_mmu_command_range(vm->npu, vm->slot.id, NPU_AS_CMD_LOCK,
					    vm->slot.lock_va, vm->slot.lock_size);
	if (ret)
		vm->slot.locked = false;
	mutex_unlock(&mmu->lock);

	return ret;
}
EXPORT_SYMBOL_IF_KUNIT(npu_mmu_vm_lock);

/**
 * npu_mmu_vm_unlock() - Drop what is cached of the locked range, and go on
 * @vm: VM, its op_lock held.
 * @walks: Tables were taken out: drop cached table descriptors as well.
 *
 * Return: 0, or -EIO or -ETIMEDOUT: then the device may still use the old
 * translations, and what they name must be kept until it has been reset.
 */
int npu_mmu_vm_unlock(struct npu_vm *vm, bool walks)
{
	struct npu_device *npu = vm->npu;
	struct npu_mmu *mmu = npu->mmu;
	int id, ret = 0;

	mutex_lock(&mmu->lock);
	id = vm->slot.id;
	if (id >= 0) {
		ret = npu_mmu_command_range(npu, id, NPU_AS_CMD_FLUSH, vm->slot.lock_va,
					    vm->slot.lock_size);
		if (!ret && walks)
			ret = npu_mmu_command(npu, id, NPU_AS_CMD_FLUSH_WALKS);
		if (!ret)
			ret = npu_mmu_command(npu, id, NPU_AS_CMD_UNLOCK);
	}
	vm->slot.locked = false;
	mutex_unlock(&mmu->lock);

	return ret;
}
EXPORT_SYMBOL_IF_KUNIT(npu_mmu_vm_unlock);

/**
 * npu_mmu_evict_all() - No VM has a slot any more
 * @npu: Device, about to be reset, powered off or given up; no queue is bound.
 */
void npu_mmu_evict_all(struct npu_device *npu)
{
	struct npu_mmu *mmu = npu->mmu;
	unsigned int id;

	mutex_lock(&mmu->lock);
	for (id = 0; id < npu->info.slots; id++) {
		struct npu_vm *vm = mmu->slot[id];

		if (!vm)
			continue;
		list_del_init(&vm->slot.lru);
		vm->slot.id = -1;
		mmu->slot[id] = NULL;
		trace_npu_vm_slot(npu->drm.dev, vm->id, -1);
	}
	mutex_unlock(&mmu->lock);
}
EXPORT_SYMBOL_IF_KUNIT(npu_mmu_evict_all);

int npu_mmu_init(struct npu_device *npu)
{
	struct npu_mmu *mmu;

	mmu = drmm_kzalloc(&npu->drm, sizeof(*mmu), GFP_KERNEL);
	if (!mmu)
		return -ENOMEM;

	INIT_LIST_HEAD(&mmu->idle);
	npu->mmu = mmu;
	return drmm_mutex_init(&npu->drm, &mmu->lock);
}
EXPORT_SYMBOL_IF_KUNIT(npu_mmu_init);
