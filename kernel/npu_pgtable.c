// SPDX-License-Identifier: GPL-2.0-only
/*
 * Page tables over DMA addresses.
 *
 * The kernel's io-pgtable stores physical addresses and so cannot serve a
 * device behind a translating IOMMU; this stores what the DMA API returns.
 * Each table has a shadow (struct npu_pt) that knows its children by pointer:
 * nothing is ever read back from a descriptor to find a table.
 */
#include <linux/align.h>
#include <linux/dma-mapping.h>
#include <linux/export.h>
#include <linux/minmax.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>

#include <kunit/visibility.h>

#include "npu_pgtable.h"
#include "npu_regs.h"

#define NPU_PT_ENTRIES	512
#define NPU_PT_BITS	9
#define NPU_PT_BYTES	(NPU_PT_ENTRIES * sizeof(__le64))
#define NPU_LEVEL_LEAF	3
#define NPU_LEVEL_BLOCK	2

/**
 * struct npu_pt - one table
 */
struct npu_pt {
	/** @node: In a stash. */
	struct list_head node;
	/** @desc: Descriptors, as the device reads them. */
	__le64 *desc;
	/** @dma: DMA address of @desc. */
	dma_addr_t dma;
	/** @used: Valid descriptors. */
	u32 used;
	/** @leaf: Level 3: @child has no entries. */
	bool leaf;
	/** @child: Tables below, by index; NULL where there is none or a block. */
	struct npu_pt *child[];
};

static struct npu_pt *npu_pt_alloc(struct device *dev, bool leaf)
{
	struct npu_pt *pt;

	pt = kzalloc(struct_size(pt, child, leaf ? 0 : NPU_PT_ENTRIES), GFP_KERNEL_ACCOUNT);
	if (!pt)
		return NULL;

	INIT_LIST_HEAD(&pt->node);
	pt->leaf = leaf;
	pt->desc = dma_alloc_noncoherent(dev, NPU_PT_BYTES, &pt->dma, DMA_TO_DEVICE,
					 GFP_KERNEL | __GFP_ZERO | __GFP_ACCOUNT);
	if (!pt->desc) {
		kfree(pt);
		return NULL;
	}

	dma_sync_single_for_device(dev, pt->dma, NPU_PT_BYTES, DMA_TO_DEVICE);
	return pt;
}

static void npu_pt_free(struct device *dev, struct npu_pt *pt)
{
	dma_free_noncoherent(dev, NPU_PT_BYTES, pt->desc, pt->dma, DMA_TO_DEVICE);
	kfree(pt);
}

static void npu_pt_free_list(struct device *dev, struct list_head *list)
{
	struct npu_pt *pt, *next;

	list_for_each_entry_safe(pt, next, list, node) {
		list_del(&pt->node);
		npu_pt_free(dev, pt);
	}
}

static void npu_pt_free_tree(struct device *dev, struct npu_pt *pt)
{
	unsigned int i;

	/* At most four levels: the recursion is bounded. */
	for (i = 0; !pt->leaf && i < NPU_PT_ENTRIES; i++) {
		if (pt->child[i])
			npu_pt_free_tree(dev, pt->child[i]);
	}
	npu_pt_free(dev, pt);
}

/* ---- Stash --------------------------------------------------------------- */

void npu_pt_stash_init(struct npu_pt_stash *stash)
{
	INIT_LIST_HEAD(&stash->leaves);
	INIT_LIST_HEAD(&stash->nodes);
	INIT_LIST_HEAD(&stash->dead);
}
EXPORT_SYMBOL_IF_KUNIT(npu_pt_stash_init);

static int npu_pt_stash_fill_list(struct device *dev, struct list_head *list, u32 count, bool leaf)
{
	struct npu_pt *pt;

	while (count--) {
		pt = npu_pt_alloc(dev, leaf);
		if (!pt)
			return -ENOMEM;
		list_add(&pt->node, list);
	}
	return 0;
}

/* On error, what was made stays in @stash, for npu_pt_stash_drain(). */
int npu_pt_stash_fill(const struct npu_pgtable *pgt, struct npu_pt_stash *stash,
		      u32 leaves, u32 nodes)
{
	int ret;

	ret = npu_pt_stash_fill_list(pgt->dev, &stash->leaves, leaves, true);
	if (ret)
		return ret;

	return npu_pt_stash_fill_list(pgt->dev, &stash->nodes, nodes, false);
}
EXPORT_SYMBOL_IF_KUNIT(npu_pt_stash_fill);

/* Free what was not used, and what is dead. */
void npu_pt_stash_drain(const struct npu_pgtable *pgt, struct npu_pt_stash *stash)
{
	npu_pt_free_list(pgt->dev, &stash->leaves);
	npu_pt_free_list(pgt->dev, &stash->nodes);
	npu_pt_free_list(pgt->dev, &stash->dead);
}
EXPORT_SYMBOL_IF_KUNIT(npu_pt_stash_drain);

static struct npu_pt *npu_pt_stash_take(struct npu_pt_stash *stash, bool leaf)
{
	struct list_head *list = leaf ? &stash->leaves : &stash->nodes;
	struct npu_pt *pt = list_first_entry_or_null(list, struct npu_pt, node);

	if (pt)
		list_del_init(&pt->node);
	return pt;
}

/* ---- Walking ------------------------------------------------------------- */

static unsigned int npu_root_level(const struct npu_pgtable *pgt)
{
	return pgt->va_bits > 39 ? 0 : 1;
}

static unsigned int npu_level_shift(unsigned int level)
{
	return NPU_PAGE_SHIFT + (NPU_LEVEL_LEAF - level) * NPU_PT_BITS;
}

static unsigned int npu_level_index(u64 va, unsigned int level)
{
	return (va >> npu_level_shift(level)) & (NPU_PT_ENTRIES - 1);
}

static bool npu_pt_valid(const struct npu_pt *pt, unsigned int i)
{
	return le64_to_cpu(pt->desc[i]) & NPU_PTE_VALID;
}

/* Write one descriptor and count it; the caller publishes it with npu_pt_sync(). */
static void npu_pt_set(struct npu_pt *pt, unsigned int i, u64 desc)
{
	pt->used += !!(desc & NPU_PTE_VALID) - npu_pt_valid(pt, i);
	WRITE_ONCE(pt->desc[i], cpu_to_le64(desc));
}

static void npu_pt_sync(const struct npu_pgtable *pgt, struct npu_pt *pt, unsigned int first,
			unsigned int count)
{
	/* Nothing was written: the first entry was taken already. */
	if (!count)
		return;

	dma_sync_single_for_device(pgt->dev, pt->dma + first * sizeof(__le64),
				   count * sizeof(__le64), DMA_TO_DEVICE);
}

static void npu_pt_attach(struct npu_pgtable *pgt, struct npu_pt *parent, unsigned int i,
			  struct npu_pt *child)
{
	/* The walker must not see the new table before its contents. */
	dma_wmb();
	parent->child[i] = child;
	npu_pt_set(parent, i, child->dma | NPU_PTE_TABLE | NPU_PTE_VALID);
	npu_pt_sync(pgt, parent, i, 1);
	pgt->tables++;
}

static void npu_pt_detach(struct npu_pgtable *pgt, struct npu_pt *parent, unsigned int i,
			  struct npu_pt_stash *stash)
{
	list_add(&parent->child[i]->node, &stash->dead);
	parent->child[i] = NULL;
	npu_pt_set(parent, i, 0);
	npu_pt_sync(pgt, parent, i, 1);
	pgt->tables--;
}

static u64 npu_pte(dma_addr_t addr, u32 prot, unsigned int level)
{
	u64 pte = addr | NPU_PTE_VALID | NPU_PTE_USER | NPU_PTE_AF | NPU_PTE_NG | NPU_PTE_XN;

	if (level == NPU_LEVEL_LEAF)
		pte |= NPU_PTE_TABLE;
	if (prot & NPU_PROT_READONLY)
		pte |= NPU_PTE_RDONLY;
	if (prot & NPU_PROT_CACHED)
		pte |= NPU_PTE_ATTR(NPU_PTE_ATTR_CACHED) | NPU_PTE_SH_INNER;
	else
		pte |= NPU_PTE_ATTR(NPU_PTE_ATTR_NC) | NPU_PTE_SH_OUTER;

	return pte;
}

/* ---- Mapping ------------------------------------------------------------- */

static int npu_map_leaf(struct npu_pgtable *pgt, struct npu_pt *pt, u64 va, dma_addr_t addr,
			u64 size, u32 prot, unsigned int level)
{
	unsigned int i = npu_level_index(va, level), first = i;
	unsigned int n = size >> npu_level_shift(level);

	for (; i < first + n; i++) {
		if (npu_pt_valid(pt, i))
			break;
		npu_pt_set(pt, i, npu_pte(addr, prot, level));
		addr += 1ull << npu_level_shift(level);
	}

	npu_pt_sync(pgt, pt, first, i - first);
	return i == first + n ? 0 : -EEXIST;
}

/* Does a piece of @size bytes at @va and @addr go into blocks at this level? */
static bool npu_use_block(u64 va, dma_addr_t addr, u64 size)
{
	return size >= NPU_BLOCK_SIZE && IS_ALIGNED(va | addr, NPU_BLOCK_SIZE);
}

static int npu_map_level(struct npu_pgtable *pgt, struct npu_pt_stash *stash, struct npu_pt *pt,
			 unsigned int level, u64 va, dma_addr_t addr, u64 size, u32 prot)
{
	u64 span = 1ull << npu_level_shift(level), chunk;
	struct npu_pt *child;
	unsigned int i;
	int ret;

	if (level == NPU_LEVEL_LEAF)
		return npu_map_leaf(pgt, pt, va, addr, size, prot, level);

	for (; size; va += chunk, addr += chunk, size -= chunk) {
		i = npu_level_index(va, level);

		if (level == NPU_LEVEL_BLOCK && npu_use_block(va, addr, size)) {
			chunk = span;
			ret = npu_map_leaf(pgt, pt, va, addr, chunk, prot, level);
			if (ret)
				return ret;
			continue;
		}

		chunk = min(size, span - (va & (span - 1)));
		if (!pt->child[i]) {
			if (npu_pt_valid(pt, i))
				return -EEXIST;
			child = npu_pt_stash_take(stash, level + 1 == NPU_LEVEL_LEAF);
			if (!child)
				return -ENOMEM;
			npu_pt_attach(pgt, pt, i, child);
		}

		ret = npu_map_level(pgt, stash, pt->child[i], level + 1, va, addr, chunk, prot);
		if (ret)
			return ret;
	}

	return 0;
}

static bool npu_range_valid(const struct npu_pgtable *pgt, u64 va, u64 size)
{
	u64 limit = 1ull << pgt->va_bits;

	return size && IS_ALIGNED(va | size, NPU_PAGE_SIZE) && size <= limit && va <= limit - size;
}

/**
 * npu_pgtable_map() - Map a contiguous piece of memory
 * @pgt: Tables.
 * @stash: Tables to take.
 * @va: Where, 4 KiB aligned.
 * @addr: DMA address, 4 KiB aligned.
 * @size: Bytes, a multiple of 4 KiB.
 * @prot: NPU_PROT_*.
 *
 * Return: 0; -EINVAL for a bad range; -EEXIST when something is mapped there,
 * -ENOMEM when @stash was too small: then part of the range may be mapped.
 */
int npu_pgtable_map(struct npu_pgtable *pgt, struct npu_pt_stash *stash, u64 va,
		    dma_addr_t addr, u64 size, u32 prot)
{
	if (!npu_range_valid(pgt, va, size) || !IS_ALIGNED(addr, NPU_PAGE_SIZE) ||
	    (addr + size - 1) & ~(NPU_PTE_ADDR_MASK | (NPU_PAGE_SIZE - 1)))
		return -EINVAL;

	return npu_map_level(pgt, stash, pgt->root, npu_root_level(pgt), va, addr, size, prot);
}
EXPORT_SYMBOL_IF_KUNIT(npu_pgtable_map);

/**
 * npu_pgtable_map_sgt() - Map a part of a scatter list
 * @pgt: Tables.
 * @stash: Tables to take.
 * @va: Where.
 * @sgt: DMA-mapped scatter list.
 * @offset: First byte in it.
 * @size: Bytes.
 * @prot: NPU_PROT_*.
 *
 * Return: 0 or as npu_pgtable_map(); -EINVAL when @sgt is too short.
 */
int npu_pgtable_map_sgt(struct npu_pgtable *pgt, struct npu_pt_stash *stash, u64 va,
			struct sg_table *sgt, u64 offset, u64 size, u32 prot)
{
	struct scatterlist *sg;
	unsigned int i;
	int ret;

	for_each_sgtable_dma_sg(sgt, sg, i) {
		u64 len = sg_dma_len(sg);
		dma_addr_t addr = sg_dma_address(sg);

		if (!size)
			break;
		if (offset >= len) {
			offset -= len;
			continue;
		}

		addr += offset;
		len = min(len - offset, size);
		offset = 0;

		ret = npu_pgtable_map(pgt, stash, va, addr, len, prot);
		if (ret)
			return ret;
		va += len;
		size -= len;
	}

	return size ? -EINVAL : 0;
}
EXPORT_SYMBOL_IF_KUNIT(npu_pgtable_map_sgt);

/* ---- Unmapping ----------------------------------------------------------- */

/* Turn the block at index @i of a level-2 table into a table of the same pages. */
static int npu_split_block(struct npu_pgtable *pgt, struct npu_pt_stash *stash,
			   struct npu_pt *pt, unsigned int i)
{
	struct npu_pt *leaf = npu_pt_stash_take(stash, true);
	u64 pte = le64_to_cpu(pt->desc[i]) | NPU_PTE_TABLE;
	unsigned int n;

	if (!leaf)
		return -ENOMEM;

	for (n = 0; n < NPU_PT_ENTRIES; n++)
		npu_pt_set(leaf, n, pte + n * NPU_PAGE_SIZE);
	npu_pt_sync(pgt, leaf, 0, NPU_PT_ENTRIES);

	/*
	 * The caller has locked the whole block, so no walk sees the moment between
	 * the two, and no translation of the block survives the flush that follows.
	 */
	npu_pt_set(pt, i, 0);
	npu_pt_sync(pgt, pt, i, 1);
	npu_pt_attach(pgt, pt, i, leaf);
	return 0;
}

static void npu_unmap_leaf(struct npu_pgtable *pgt, struct npu_pt *pt, u64 va, u64 size)
{
	unsigned int first = npu_level_index(va, NPU_LEVEL_LEAF), n = size >> NPU_PAGE_SHIFT, i;

	for (i = first; i < first + n; i++)
		npu_pt_set(pt, i, 0);
	npu_pt_sync(pgt, pt, first, n);
}

static int npu_unmap_level(struct npu_pgtable *pgt, struct npu_pt_stash *stash,
			   struct npu_pt *pt, unsigned int level, u64 va, u64 size)
{
	u64 span = 1ull << npu_level_shift(level), chunk;
	unsigned int i;
	int ret;

	if (level == NPU_LEVEL_LEAF) {
		npu_unmap_leaf(pgt, pt, va, size);
		return 0;
	}

	for (; size; va += chunk, size -= chunk) {
		chunk = min(size, span - (va & (span - 1)));
		i = npu_level_index(va, level);

		if (!npu_pt_valid(pt, i))
			continue;

		if (!pt->child[i] && chunk == span) {
			npu_pt_set(pt, i, 0);
			npu_pt_sync(pgt, pt, i, 1);
			continue;
		}

		if (!pt->child[i]) {
			ret = npu_split_block(pgt, stash, pt, i);
			if (ret)
				return ret;
		}

		ret = npu_unmap_level(pgt, stash, pt->child[i], level + 1, va, chunk);
		if (ret)
			return ret;
		if (!pt->child[i]->used)
			npu_pt_detach(pgt, pt, i, stash);
	}

	return 0;
}

/**
 * npu_pgtable_unmap() - Unmap a range; holes in it are fine
 * @pgt: Tables.
 * @stash: Tables to take for blocks that are split at the ends (see
 *         npu_pgtable_count_splits()), and where tables go that became empty.
 * @va: First byte, 4 KiB aligned.
 * @size: Bytes, a multiple of 4 KiB.
 *
 * Return: 0; -EINVAL for a bad range; -ENOMEM when @stash was too small.
 */
int npu_pgtable_unmap(struct npu_pgtable *pgt, struct npu_pt_stash *stash, u64 va, u64 size)
{
	if (!npu_range_valid(pgt, va, size))
		return -EINVAL;
	/* All tables have gone, and all mappings with them. */
	if (!pgt->root)
		return 0;

	return npu_unmap_level(pgt, stash, pgt->root, npu_root_level(pgt), va, size);
}
EXPORT_SYMBOL_IF_KUNIT(npu_pgtable_unmap);

/* ---- Counting ------------------------------------------------------------ */

static u32 npu_count_spans(u64 va, u64 size, unsigned int shift)
{
	return ((va + size - 1) >> shift) - (va >> shift) + 1;
}

/* Tables of levels 1 and 2 that mapping a range can need. */
u32 npu_pgtable_count_nodes(const struct npu_pgtable *pgt, u64 va, u64 size)
{
	unsigned int level;
	u32 n = 0;

	for (level = npu_root_level(pgt); level < NPU_LEVEL_BLOCK; level++)
		n += npu_count_spans(va, size, npu_level_shift(level));
	return n;
}
EXPORT_SYMBOL_IF_KUNIT(npu_pgtable_count_nodes);

/* Level-3 tables that mapping this part of a scatter list can need. */
u32 npu_pgtable_count_leaves_sgt(u64 va, struct sg_table *sgt, u64 offset, u64 size)
{
	u64 last = U64_MAX, len, chunk;
	struct scatterlist *sg;
	dma_addr_t addr;
	unsigned int i;
	u32 n = 0;

	for_each_sgtable_dma_sg(sgt, sg, i) {
		if (!size)
			break;
		len = sg_dma_len(sg);
		if (offset >= len) {
			offset -= len;
			continue;
		}

		addr = sg_dma_address(sg) + offset;
		len = min(len - offset, size);
		offset = 0;
		size -= len;

		for (; len; va += chunk, addr += chunk, len -= chunk) {
			if (npu_use_block(va, addr, len)) {
				chunk = NPU_BLOCK_SIZE;
				continue;
			}
			chunk = min(len, NPU_BLOCK_SIZE - (va & (NPU_BLOCK_SIZE - 1)));
			n += va >> NPU_BLOCK_SHIFT != last;
			last = va >> NPU_BLOCK_SHIFT;
		}
	}

	return n;
}
EXPORT_SYMBOL_IF_KUNIT(npu_pgtable_count_leaves_sgt);

/* Level-3 tables that unmapping a range can need: one for each end within a block. */
u32 npu_pgtable_count_splits(u64 va, u64 size)
{
	u64 end = va + size;
	bool head = !IS_ALIGNED(va, NPU_BLOCK_SIZE), tail = !IS_ALIGNED(end, NPU_BLOCK_SIZE);

	if (head && tail && va >> NPU_BLOCK_SHIFT == end >> NPU_BLOCK_SHIFT)
		return 1;
	return head + tail;
}
EXPORT_SYMBOL_IF_KUNIT(npu_pgtable_count_splits);

/* ---- Whole trees --------------------------------------------------------- */

/**
 * npu_pgtable_lookup() - What is mapped at an address?
 * @pgt: Tables.
 * @va: Virtual address.
 * @size: Bytes of the page or block, may be NULL.
 *
 * Return: its descriptor, 0 when there is none.
 */
u64 npu_pgtable_lookup(const struct npu_pgtable *pgt, u64 va, u64 *size)
{
	const struct npu_pt *pt = pgt->root;
	unsigned int level, i;

	if (va >> pgt->va_bits)
		return 0;

	for (level = npu_root_level(pgt); ; level++, pt = pt->child[i]) {
		i = npu_level_index(va, level);
		if (!npu_pt_valid(pt, i))
			return 0;
		if (level == NPU_LEVEL_LEAF || !pt->child[i])
			break;
	}

	if (size)
		*size = 1ull << npu_level_shift(level);
	return le64_to_cpu(pt->desc[i]);
}
EXPORT_SYMBOL_IF_KUNIT(npu_pgtable_lookup);

dma_addr_t npu_pgtable_root(const struct npu_pgtable *pgt)
{
	return pgt->root->dma;
}
EXPORT_SYMBOL_IF_KUNIT(npu_pgtable_root);

int npu_pgtable_init(struct npu_pgtable *pgt, struct device *dev, u32 va_bits)
{
	pgt->dev = dev;
	pgt->va_bits = va_bits;
	pgt->tables = 1;
	pgt->root = npu_pt_alloc(dev, false);
	return pgt->root ? 0 : -ENOMEM;
}
EXPORT_SYMBOL_IF_KUNIT(npu_pgtable_init);

/* The device no longer uses the tables. */
void npu_pgtable_fini(struct npu_pgtable *pgt)
{
	if (pgt->root)
		npu_pt_free_tree(pgt->dev, pgt->root);
	pgt->root = NULL;
}
EXPORT_SYMBOL_IF_KUNIT(npu_pgtable_fini);
