// SPDX-License-Identifier: GPL-2.0-only
/* Page tables: against the kernel's io-pgtable, and against a plain array. */
#include <linux/dma-mapping.h>
#include <linux/io-pgtable.h>
#include <linux/module.h>
#include <linux/prandom.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>

#include <kunit/device.h>
#include <kunit/test.h>

#include "npu_pgtable.h"
#include "npu_regs.h"

#define TEST_ADDR	0x80000000ull

struct pgtable_test {
	struct npu_pgtable pgt;
	struct npu_pt_stash stash;
};

static int pgtable_setup(struct kunit *test, struct pgtable_test *t, u32 va_bits)
{
	npu_pt_stash_init(&t->stash);
	return npu_pgtable_init(&t->pgt, test->priv, va_bits);
}

static int pgtable_init(struct kunit *test)
{
	struct device *dev = kunit_device_register(test, "npu-pgtable");

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, dev);
	test->priv = dev;
	return dma_coerce_mask_and_coherent(dev, DMA_BIT_MASK(48));
}

static void pgtable_teardown(struct pgtable_test *t)
{
	npu_pt_stash_drain(&t->pgt, &t->stash);
	npu_pgtable_fini(&t->pgt);
}

/* Map with plenty of tables in the stash. */
static int pgtable_map(struct pgtable_test *t, u64 va, u64 addr, u64 size, u32 prot)
{
	int ret;

	ret = npu_pt_stash_fill(&t->pgt, &t->stash, (size >> NPU_BLOCK_SHIFT) + 2, 6);
	if (!ret)
		ret = npu_pgtable_map(&t->pgt, &t->stash, va, addr, size, prot);
	return ret;
}

static int pgtable_unmap(struct pgtable_test *t, u64 va, u64 size)
{
	int ret;

	ret = npu_pt_stash_fill(&t->pgt, &t->stash, npu_pgtable_count_splits(va, size), 0);
	if (!ret)
		ret = npu_pgtable_unmap(&t->pgt, &t->stash, va, size);
	return ret;
}

static u64 pgtable_addr(struct pgtable_test *t, u64 va)
{
	u64 size = NPU_PAGE_SIZE, pte = npu_pgtable_lookup(&t->pgt, va, &size);

	return pte ? (pte & NPU_PTE_ADDR_MASK & ~(size - 1)) + (va & (size - 1)) : 0;
}

static void pgtable_pages_and_blocks(struct kunit *test)
{
	static const u32 bits[] = { 39, 40, 47, 48 };
	struct pgtable_test t = { };
	unsigned int i;
	u64 size, top;

	for (i = 0; i < ARRAY_SIZE(bits); i++) {
		KUNIT_ASSERT_EQ(test, pgtable_setup(test, &t, bits[i]), 0);
		top = (1ull << bits[i]) - SZ_4M;

		/* One page before a block, the block, one page after. */
		KUNIT_EXPECT_EQ(test, pgtable_map(&t, top + SZ_2M - SZ_4K, TEST_ADDR - SZ_4K,
						  SZ_2M + SZ_4K, 0), 0);
		npu_pgtable_lookup(&t.pgt, top + SZ_2M - SZ_4K, &size);
		KUNIT_EXPECT_EQ(test, size, SZ_4K);
		npu_pgtable_lookup(&t.pgt, top + SZ_2M, &size);
		KUNIT_EXPECT_EQ(test, size, SZ_2M);
		KUNIT_EXPECT_EQ(test, pgtable_addr(&t, top + SZ_2M + 0x12345000 % SZ_2M),
				TEST_ADDR + 0x12345000 % SZ_2M);
		KUNIT_EXPECT_EQ(test, npu_pgtable_lookup(&t.pgt, top, NULL), 0);
		KUNIT_EXPECT_EQ(test, npu_pgtable_lookup(&t.pgt, 1ull << bits[i], NULL), 0);

		KUNIT_EXPECT_EQ(test, pgtable_unmap(&t, top, SZ_4M), 0);
		KUNIT_EXPECT_EQ(test, t.pgt.tables, 1);
		pgtable_teardown(&t);
	}
}

/* Part of a block goes; the rest keeps its addresses and permissions. */
static void pgtable_split_block(struct kunit *test)
{
	struct pgtable_test t = { };
	u64 va = SZ_1G, n, pte;

	KUNIT_ASSERT_EQ(test, pgtable_setup(test, &t, 39), 0);
	KUNIT_ASSERT_EQ(test, pgtable_map(&t, va, TEST_ADDR, SZ_2M, NPU_PROT_READONLY), 0);
	pte = npu_pgtable_lookup(&t.pgt, va, NULL);
	KUNIT_EXPECT_EQ(test, pgtable_unmap(&t, va + 5 * SZ_4K, 3 * SZ_4K), 0);

	for (n = 0; n < 512; n++) {
		if (n >= 5 && n < 8) {
			KUNIT_EXPECT_EQ(test, npu_pgtable_lookup(&t.pgt, va + n * SZ_4K, NULL), 0);
			continue;
		}
		KUNIT_EXPECT_EQ(test, npu_pgtable_lookup(&t.pgt, va + n * SZ_4K, NULL),
				(pte | NPU_PTE_TABLE) + n * SZ_4K);
	}
	pgtable_teardown(&t);
}

static void pgtable_errors(struct kunit *test)
{
	struct pgtable_test t = { };
	u64 end = 1ull << 39;

	KUNIT_ASSERT_EQ(test, pgtable_setup(test, &t, 39), 0);
	KUNIT_EXPECT_EQ(test, npu_pgtable_map(&t.pgt, &t.stash, SZ_2M, TEST_ADDR, 0, 0), -EINVAL);
	KUNIT_EXPECT_EQ(test, npu_pgtable_map(&t.pgt, &t.stash, 1, TEST_ADDR, SZ_4K, 0), -EINVAL);
	KUNIT_EXPECT_EQ(test, npu_pgtable_map(&t.pgt, &t.stash, 0, 1, SZ_4K, 0), -EINVAL);
	KUNIT_EXPECT_EQ(test, npu_pgtable_map(&t.pgt, &t.stash, end, TEST_ADDR, SZ_4K, 0), -EINVAL);
	KUNIT_EXPECT_EQ(test, npu_pgtable_map(&t.pgt, &t.stash, end - SZ_4K, TEST_ADDR, SZ_8K, 0),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, npu_pgtable_map(&t.pgt, &t.stash, 0, BIT_ULL(48), SZ_4K, 0), -EINVAL);
	KUNIT_EXPECT_EQ(test, npu_pgtable_unmap(&t.pgt, &t.stash, 0, ~0ull), -EINVAL);

	/* An empty stash. */
	KUNIT_EXPECT_EQ(test, npu_pgtable_map(&t.pgt, &t.stash, 0, TEST_ADDR, SZ_4K, 0), -ENOMEM);
	KUNIT_ASSERT_EQ(test, pgtable_map(&t, 0, TEST_ADDR, SZ_2M, 0), 0);
	npu_pt_stash_drain(&t.pgt, &t.stash);
	KUNIT_EXPECT_EQ(test, npu_pgtable_unmap(&t.pgt, &t.stash, 0, SZ_4K), -ENOMEM);
	/* Something is there: a block, then a page. */
	KUNIT_EXPECT_EQ(test, pgtable_map(&t, 0, TEST_ADDR, SZ_2M, 0), -EEXIST);
	KUNIT_EXPECT_EQ(test, pgtable_map(&t, SZ_4K, TEST_ADDR, SZ_4K, 0), -EEXIST);
	pgtable_teardown(&t);
}

/* What is counted in advance is enough, and nothing is left over that was needed. */
static void pgtable_counts_suffice(struct kunit *test)
{
	static const struct { u64 va, addr, offset, size; } cases[] = {
		{ 0, TEST_ADDR, 0, SZ_2M },
		{ SZ_4K, TEST_ADDR + SZ_4K, 0, SZ_4M },
		{ SZ_2M - SZ_4K, TEST_ADDR, SZ_4K, SZ_8K },
		{ SZ_1G - SZ_4K, TEST_ADDR - SZ_4K, 0, SZ_4M + SZ_8K },
		{ SZ_1G, TEST_ADDR, SZ_4K, SZ_4M },
	};
	struct pgtable_test t = { };
	struct scatterlist sg[2];
	struct sg_table sgt;
	unsigned int i;
	u32 leaves, nodes;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		u64 first = SZ_1M, size = cases[i].size, va = cases[i].va;

		KUNIT_ASSERT_EQ(test, pgtable_setup(test, &t, 48), 0);
		sg_init_table(sg, 2);
		sg_dma_address(&sg[0]) = cases[i].addr;
		sg_dma_len(&sg[0]) = first;
		sg_dma_address(&sg[1]) = cases[i].addr + SZ_1G;
		sg_dma_len(&sg[1]) = SZ_16M;
		sgt = (struct sg_table) { .sgl = sg, .nents = 2, .orig_nents = 2 };

		leaves = npu_pgtable_count_leaves_sgt(va, &sgt, cases[i].offset, size);
		nodes = npu_pgtable_count_nodes(&t.pgt, va, size);
		KUNIT_ASSERT_EQ(test, npu_pt_stash_fill(&t.pgt, &t.stash, leaves, nodes), 0);
		KUNIT_EXPECT_EQ(test, npu_pgtable_map_sgt(&t.pgt, &t.stash, va, &sgt,
							  cases[i].offset, size, 0), 0);
		KUNIT_EXPECT_TRUE(test, list_empty(&t.stash.leaves));
		KUNIT_EXPECT_TRUE(test, list_empty(&t.stash.nodes));
		KUNIT_EXPECT_EQ(test, npu_pgtable_map_sgt(&t.pgt, &t.stash, SZ_2G, &sgt, SZ_32M,
							  SZ_4K, 0), -EINVAL);
		pgtable_teardown(&t);
	}

	KUNIT_EXPECT_EQ(test, npu_pgtable_count_splits(0, SZ_2M), 0);
	KUNIT_EXPECT_EQ(test, npu_pgtable_count_splits(SZ_4K, SZ_4K), 1);
	KUNIT_EXPECT_EQ(test, npu_pgtable_count_splits(SZ_4K, SZ_2M), 2);
	KUNIT_EXPECT_EQ(test, npu_pgtable_count_splits(SZ_4K, SZ_2M - SZ_4K), 1);
}

/* Thousands of random maps and unmaps of 16 MiB, compared page by page with an array. */
static void pgtable_random(struct kunit *test)
{
	const unsigned int pages = SZ_16M / SZ_4K;
	struct pgtable_test t = { };
	struct rnd_state rnd;
	unsigned int round, i, first, count;
	u64 *want, addr;

	want = kunit_kcalloc(test, pages, sizeof(*want), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, want);
	KUNIT_ASSERT_EQ(test, pgtable_setup(test, &t, 39), 0);
	prandom_seed_state(&rnd, 1);

	for (round = 0; round < 1000; round++) {
		first = prandom_u32_state(&rnd) % pages;
		count = prandom_u32_state(&rnd) % min(pages - first, 1024u) + 1;
		if (prandom_u32_state(&rnd) & 1) {
			first &= ~511;
			count = 512;
		}

		/* As a bind does: what is there goes first. */
		KUNIT_ASSERT_EQ(test, pgtable_unmap(&t, (u64)first * SZ_4K,
						    (u64)count * SZ_4K), 0);
		for (i = first; i < first + count; i++)
			want[i] = 0;

		if (prandom_u32_state(&rnd) % 3) {
			addr = TEST_ADDR + (prandom_u32_state(&rnd) % 64) * SZ_1M;
			KUNIT_ASSERT_EQ(test, pgtable_map(&t, (u64)first * SZ_4K, addr,
							  (u64)count * SZ_4K, 0), 0);
			for (i = first; i < first + count; i++)
				want[i] = addr + (u64)(i - first) * SZ_4K;
		}

		npu_pt_stash_drain(&t.pgt, &t.stash);
		for (i = 0; i < pages; i += 1 + round % 7)
			KUNIT_ASSERT_EQ(test, pgtable_addr(&t, (u64)i * SZ_4K), want[i]);
	}

	KUNIT_EXPECT_EQ(test, pgtable_unmap(&t, 0, SZ_16M), 0);
	KUNIT_EXPECT_EQ(test, t.pgt.tables, 1);
	pgtable_teardown(&t);
}

#if IS_ENABLED(CONFIG_IOMMU_IO_PGTABLE_LPAE)
static void no_tlb(void *cookie) { }
static void no_tlb_walk(unsigned long iova, size_t size, size_t granule, void *cookie) { }

static const struct iommu_flush_ops no_flush = {
	.tlb_flush_all = no_tlb,
	.tlb_flush_walk = no_tlb_walk,
};

/* The descriptor of io-pgtable's own table for @va, at whatever level it is. */
static u64 io_pgtable_pte(const struct io_pgtable_cfg *cfg, u64 va)
{
	u64 *table = phys_to_virt(cfg->arm_lpae_s1_cfg.ttbr), pte;
	int level;

	for (level = 1; ; level++) {
		pte = table[(va >> (12 + 9 * (3 - level))) & 511];
		if (!(pte & NPU_PTE_VALID) || level == 3 || !(pte & NPU_PTE_TABLE))
			return pte & NPU_PTE_VALID ? pte : 0;
		table = phys_to_virt(pte & NPU_PTE_ADDR_MASK);
	}
}

/* Same maps, same descriptors, bit for bit. */
static void pgtable_equals_io_pgtable(struct kunit *test)
{
	static const struct { u64 va, addr, size; u32 prot; int io_prot; } maps[] = {
		{ SZ_4K, TEST_ADDR + SZ_4K, SZ_4K, 0, IOMMU_READ | IOMMU_WRITE },
		{ SZ_2M, TEST_ADDR, SZ_2M, NPU_PROT_CACHED,
		  IOMMU_READ | IOMMU_WRITE | IOMMU_CACHE },
		{ SZ_1G, TEST_ADDR + SZ_4M, SZ_2M, NPU_PROT_READONLY, IOMMU_READ },
		{ SZ_1G + SZ_4M, TEST_ADDR, SZ_64K, NPU_PROT_READONLY | NPU_PROT_CACHED,
		  IOMMU_READ | IOMMU_CACHE },
	};
	struct io_pgtable_cfg cfg = {
		.pgsize_bitmap = SZ_4K | SZ_2M,
		.ias = 39,
		.oas = 48,
		.coherent_walk = true,
		.tlb = &no_flush,
	};
	struct io_pgtable_ops *ops;
	struct pgtable_test t = { };
	unsigned int i;
	size_t mapped;
	u64 va;

	KUNIT_ASSERT_EQ(test, pgtable_setup(test, &t, 39), 0);
	cfg.iommu_dev = t.pgt.dev;
	ops = alloc_io_pgtable_ops(ARM_64_LPAE_S1, &cfg, NULL);
	KUNIT_ASSERT_NOT_NULL(test, ops);

	for (i = 0; i < ARRAY_SIZE(maps); i++) {
		size_t page = maps[i].size >= SZ_2M ? SZ_2M : SZ_4K;

		mapped = 0;
		KUNIT_EXPECT_EQ(test, pgtable_map(&t, maps[i].va, maps[i].addr, maps[i].size,
						  maps[i].prot), 0);
		KUNIT_EXPECT_EQ(test, ops->map_pages(ops, maps[i].va, maps[i].addr, page,
						     maps[i].size / page,
						     maps[i].io_prot | IOMMU_NOEXEC, GFP_KERNEL,
						     &mapped), 0);
		KUNIT_EXPECT_EQ(test, mapped, maps[i].size);
	}

	for (i = 0; i < ARRAY_SIZE(maps); i++) {
		for (va = maps[i].va - SZ_4K; va <= maps[i].va + maps[i].size; va += SZ_4K)
			KUNIT_EXPECT_EQ(test, npu_pgtable_lookup(&t.pgt, va, NULL),
					io_pgtable_pte(&cfg, va));
	}

	for (i = 0; i < ARRAY_SIZE(maps); i++)
		ops->unmap_pages(ops, maps[i].va, maps[i].size >= SZ_2M ? SZ_2M : SZ_4K,
				 maps[i].size / (maps[i].size >= SZ_2M ? SZ_2M : SZ_4K), NULL);
	free_io_pgtable_ops(ops);
	pgtable_teardown(&t);
}
#else
static void pgtable_equals_io_pgtable(struct kunit *test)
{
	kunit_skip(test, "no CONFIG_IOMMU_IO_PGTABLE_LPAE");
}
#endif

static struct kunit_case pgtable_cases[] = {
	KUNIT_CASE(pgtable_pages_and_blocks),
	KUNIT_CASE(pgtable_split_block),
	KUNIT_CASE(pgtable_errors),
	KUNIT_CASE(pgtable_counts_suffice),
	KUNIT_CASE(pgtable_random),
	KUNIT_CASE(pgtable_equals_io_pgtable),
	{ }
};

static struct kunit_suite pgtable_suite = {
	.name = "npu_pgtable",
	.init = pgtable_init,
	.test_cases = pgtable_cases,
};

kunit_test_suite(pgtable_suite);

MODULE_DESCRIPTION("KUnit tests of the OpenNPU driver");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS("EXPORTED_FOR_KUNIT_TESTING");
