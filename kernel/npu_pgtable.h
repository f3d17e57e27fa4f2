/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Page tables of an address space: ARM 64-bit LPAE stage 1, 4 KiB granule, over
 * DMA addresses. This is table code alone: translations cached by the device
 * are the caller's business (npu_mmu.h), and so is locking.
 */
#ifndef NPU_PGTABLE_H
#define NPU_PGTABLE_H

#include <linux/list.h>
#include <linux/sizes.h>
#include <linux/types.h>

struct device;
struct npu_pt;
struct sg_table;

#define NPU_PAGE_SHIFT	12
#define NPU_PAGE_SIZE	SZ_4K
#define NPU_BLOCK_SHIFT	21
#define NPU_BLOCK_SIZE	SZ_2M

#define NPU_PROT_READONLY	BIT(0)	/* the device may not write */
#define NPU_PROT_CACHED		BIT(1)	/* snoop CPU caches */

/**
 * struct npu_pgtable - tables of one address space
 */
struct npu_pgtable {
	/** @dev: Device that walks the tables. */
	struct device *dev;
	/** @root: Root table; its DMA address is npu_pgtable_root(). */
	struct npu_pt *root;
	/** @va_bits: Bits of a virtual address, 39 to 48. */
	u32 va_bits;
	/** @tables: Tables in the tree, for accounting. */
	u32 tables;
};

/**
 * struct npu_pt_stash - tables made in advance, and tables taken out
 *
 * Changing a mapping never allocates and never frees: it takes tables from
 * here, and puts those that became empty on @dead. They may be freed once the
 * device has dropped the translations through them.
 */
struct npu_pt_stash {
	/** @leaves: Tables of level 3. */
	struct list_head leaves;
	/** @nodes: Tables of higher levels. */
	struct list_head nodes;
	/** @dead: Tables that were in the tree. */
	struct list_head dead;
};

int npu_pgtable_init(struct npu_pgtable *pgt, struct device *dev, u32 va_bits);
void npu_pgtable_fini(struct npu_pgtable *pgt);
dma_addr_t npu_pgtable_root(const struct npu_pgtable *pgt);

void npu_pt_stash_init(struct npu_pt_stash *stash);
int npu_pt_stash_fill(const struct npu_pgtable *pgt, struct npu_pt_stash *stash,
		      u32 leaves, u32 nodes);
void npu_pt_stash_drain(const struct npu_pgtable *pgt, struct npu_pt_stash *stash);

u32 npu_pgtable_count_nodes(const struct npu_pgtable *pgt, u64 va, u64 size);
u32 npu_pgtable_count_leaves_sgt(u64 va, struct sg_table *sgt, u64 offset, u64 size);
u32 npu_pgtable_count_splits(u64 va, u64 size);

int npu_pgtable_map(struct npu_pgtable *pgt, struct npu_pt_stash *stash, u64 va,
		    dma_addr_t addr, u64 size, u32 prot);
int npu_pgtable_map_sgt(struct npu_pgtable *pgt, struct npu_pt_stash *stash, u64 va,
			struct sg_table *sgt, u64 offset, u64 size, u32 prot);
int npu_pgtable_unmap(struct npu_pgtable *pgt, struct npu_pt_stash *stash, u64 va, u64 size);
u64 npu_pgtable_lookup(const struct npu_pgtable *pgt, u64 va, u64 *size);

#endif /* NPU_PGTABLE_H */
