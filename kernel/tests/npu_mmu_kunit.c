// SPDX-License-Identifier: GPL-2.0-only
/* Slots: least recently used first, never a busy or locked one. Registers are memory. */
#include <linux/dma-mapping.h>
#include <linux/vmalloc.h>

#include <kunit/device.h>
#include <kunit/test.h>

#include <drm/drm_drv.h>

#include "npu_device.h"
#include "npu_mmu.h"
#include "npu_regs.h"
#include "npu_vm.h"

#define SLOTS	4
#define VMS	6

struct mmu_test {
	struct npu_device *npu;
	struct npu_vm *vm[VMS];
};

static const struct drm_driver mmu_driver = {
	.driver_features = DRIVER_GEM,
	.name = "npu-kunit",
	.desc = "KUnit",
};

static u32 mmu_reg(struct mmu_test *t, int id, u32 reg)
{
	return npu_read(t->npu, NPU_MMU_BASE + NPU_AS(id) + reg);
}

static void mmu_vfree(void *p)
{
	vfree(p);
}

static int mmu_init(struct kunit *test)
{
	struct device *dev = kunit_device_register(test, "npu-mmu");
	struct mmu_test *t;
	void *regs;
	int i;

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, dev);
	KUNIT_ASSERT_EQ(test, dma_coerce_mask_and_coherent(dev, DMA_BIT_MASK(48)), 0);
	t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, t);
	t->npu = devm_drm_dev_alloc(dev, &mmu_driver, struct npu_device, drm);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, t->npu);

	regs = vzalloc(NPU_MMU_BASE + NPU_FRAME_SIZE);
	KUNIT_ASSERT_NOT_NULL(test, regs);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, mmu_vfree, regs), 0);
	t->npu->iomem = (void __iomem __force *)regs;
	t->npu->info.slots = SLOTS;
	t->npu->info.va_bits = 39;
	KUNIT_ASSERT_EQ(test, npu_mmu_init(t->npu), 0);

	for (i = 0; i < VMS; i++) {
		t->vm[i] = kunit_kzalloc(test, sizeof(*t->vm[i]), GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, t->vm[i]);
		t->vm[i]->npu = t->npu;
		t->vm[i]->slot.id = -1;
		INIT_LIST_HEAD(&t->vm[i]->slot.lru);
		KUNIT_ASSERT_EQ(test, npu_pgtable_init(&t->vm[i]->pgt, dev, 39), 0);
	}

	test->priv = t;
	return 0;
}

static void mmu_exit(struct kunit *test)
{
	struct mmu_test *t = test->priv;
	int i;

	for (i = 0; t && i < VMS; i++) {
		if (t->vm[i] && t->vm[i]->pgt.dev)
			npu_pgtable_fini(&t->vm[i]->pgt);
	}
}

static void mmu_lru(struct kunit *test)
{
	struct mmu_test *t = test->priv;
	int i;

	for (i = 0; i < SLOTS; i++) {
		KUNIT_EXPECT_EQ(test, npu_mmu_vm_get_slot(t->vm[i]), 0);
		KUNIT_EXPECT_EQ(test, t->vm[i]->slot.id, i);
		KUNIT_EXPECT_EQ(test, mmu_reg(t, i, NPU_AS_TABLE_LO),
				lower_32_bits(npu_pgtable_root(&t->vm[i]->pgt)));
	}

	/* All busy. */
	KUNIT_EXPECT_EQ(test, npu_mmu_vm_get_slot(t->vm[4]), -EBUSY);

	/* 2 has been idle for longer than 1; 0 comes back and is no longer idle. */
	npu_mmu_vm_put_slot(t->vm[0]);
	npu_mmu_vm_put_slot(t->vm[2]);
	npu_mmu_vm_put_slot(t->vm[1]);
	KUNIT_EXPECT_EQ(test, npu_mmu_vm_get_slot(t->vm[0]), 0);
	KUNIT_EXPECT_EQ(test, t->vm[0]->slot.id, 0);
	KUNIT_EXPECT_EQ(test, npu_mmu_vm_get_slot(t->vm[4]), 0);
	KUNIT_EXPECT_EQ(test, t->vm[4]->slot.id, 2);
	KUNIT_EXPECT_EQ(test, t->vm[2]->slot.id, -1);
	KUNIT_EXPECT_EQ(test, t->vm[1]->slot.id, 1);

	/* A second user keeps a slot. */
	KUNIT_EXPECT_EQ(test, npu_mmu_vm_get_slot(t->vm[1]), 0);
	KUNIT_EXPECT_EQ(test, npu_mmu_vm_get_slot(t->vm[1]), 0);
	npu_mmu_vm_put_slot(t->vm[1]);
	KUNIT_EXPECT_EQ(test, npu_mmu_vm_get_slot(t->vm[5]), -EBUSY);
}

static void mmu_locked_stays(struct kunit *test)
{
	struct mmu_test *t = test->priv;
	int i;

	for (i = 0; i < SLOTS; i++) {
		KUNIT_ASSERT_EQ(test, npu_mmu_vm_get_slot(t->vm[i]), 0);
		npu_mmu_vm_put_slot(t->vm[i]);
	}

	/* The oldest is being changed: the next one goes. */
	KUNIT_EXPECT_EQ(test, npu_mmu_vm_lock(t->vm[0], SZ_2M + SZ_4K, SZ_4K), 0);
	KUNIT_EXPECT_EQ(test, mmu_reg(t, 0, NPU_AS_RANGE_LO), SZ_2M);
	KUNIT_EXPECT_EQ(test, mmu_reg(t, 0, NPU_AS_RANGE_SIZE_LO), SZ_2M);
	KUNIT_EXPECT_EQ(test, mmu_reg(t, 0, NPU_AS_CMD), NPU_AS_CMD_LOCK);
	KUNIT_EXPECT_EQ(test, npu_mmu_vm_get_slot(t->vm[4]), 0);
	KUNIT_EXPECT_EQ(test, t->vm[4]->slot.id, 1);
	KUNIT_EXPECT_EQ(test, npu_mmu_vm_unlock(t->vm[0], true), 0);
	KUNIT_EXPECT_EQ(test, mmu_reg(t, 0, NPU_AS_CMD), NPU_AS_CMD_UNLOCK);

	/* A VM that gets its slot in the middle of a change is locked there. */
	KUNIT_EXPECT_EQ(test, npu_mmu_vm_lock(t->vm[5], SZ_4M, SZ_4K), 0);
	KUNIT_EXPECT_EQ(test, npu_mmu_vm_get_slot(t->vm[5]), 0);
	KUNIT_EXPECT_EQ(test, mmu_reg(t, t->vm[5]->slot.id, NPU_AS_CMD), NPU_AS_CMD_LOCK);
	KUNIT_EXPECT_EQ(test, mmu_reg(t, t->vm[5]->slot.id, NPU_AS_RANGE_LO), SZ_4M);
}

static void mmu_evict_all(struct kunit *test)
{
	struct mmu_test *t = test->priv;
	int i;

	for (i = 0; i < SLOTS; i++) {
		KUNIT_ASSERT_EQ(test, npu_mmu_vm_get_slot(t->vm[i]), 0);
		npu_mmu_vm_put_slot(t->vm[i]);
	}
	npu_mmu_evict_all(t->npu);
	for (i = 0; i < SLOTS; i++)
		KUNIT_EXPECT_EQ(test, t->vm[i]->slot.id, -1);
	KUNIT_EXPECT_EQ(test, npu_mmu_vm_get_slot(t->vm[5]), 0);
	KUNIT_EXPECT_EQ(test, t->vm[5]->slot.id, 0);
	npu_mmu_vm_drop_slot(t->vm[5]);
	KUNIT_EXPECT_EQ(test, mmu_reg(t, 0, NPU_AS_CFG), 0);
}

static struct kunit_case mmu_cases[] = {
	KUNIT_CASE(mmu_lru),
	KUNIT_CASE(mmu_locked_stays),
	KUNIT_CASE(mmu_evict_all),
	{ }
};

static struct kunit_suite mmu_suite = {
	.name = "npu_mmu",
	.init = mmu_init,
	.exit = mmu_exit,
	.test_cases = mmu_cases,
};

kunit_test_suite(mmu_suite);
