// SPDX-License-Identifier: MIT
/*
 * Address spaces: table walks over the bus, the TLB, and its maintenance.
 *
 * The TLB is larger than any real one: an entry stays until it is flushed, so
 * that a missing flush is always seen. Nothing invalid is ever cached. Walks
 * cache the address of level-3 tables in a small direct-mapped cache, which
 * only FLUSH_WALKS, FLUSH_ALL and UPDATE empty.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core.h"

/* ---- Leaves: the cached translations, hashed by 2 MiB ----------------------- */

/* Eight neighbours share a cache line of the table: large operands are looked up in a row. */
static uint32_t hash(uint64_t va, uint32_t room)
{
	uint64_t leaf = va >> LEAF_SHIFT, line = (leaf >> 3) * 0x9e3779b97f4a7c15ull >> 40;

	return (uint32_t)(line << 3 | (leaf & 7)) & (room - 1);
}

static struct leaf **find(struct leaf **leaves, uint32_t room, uint64_t va)
{
	uint32_t i = hash(va, room);

	while (leaves[i] && leaves[i]->va != va)
		i = (i + 1) & (room - 1);
	return &leaves[i];
}

static bool grow(struct slot *s)
{
	uint32_t room = s->leaf_room ? s->leaf_room * 2 : 64;
	struct leaf **n = calloc(room, sizeof(struct leaf *));

	if (!n)
		return false;
	for (uint32_t i = 0; i < s->leaf_room; i++)
		if (s->leaves[i])
			*find(n, room, s->leaves[i]->va) = s->leaves[i];
	free(s->leaves);
	s->leaves = n;
	s->leaf_room = room;
	return true;
}

struct leaf *mmu_leaf(struct slot *s, uint64_t va, bool create)
{
	struct leaf **l;

	va &= ~(LEAF_SIZE - 1);
	if (s->last && s->last->va == va)
		return s->last;
	if (s->leaf_room) {
		l = find(s->leaves, s->leaf_room, va);
		if (*l)
			return s->last = *l;
	}
	if (!create || (s->leaf_count * 2 >= s->leaf_room && !grow(s)))
		return NULL;
	l = find(s->leaves, s->leaf_room, va);
	*l = calloc(1, sizeof(struct leaf));
	if (!*l)
		return NULL;
	(*l)->va = va;
	s->leaf_count++;
	return s->last = *l;
}

/* ---- Walks -------------------------------------------------------------------- */

struct walk {
	uint64_t bus;		/* of the 4 KiB page */
	uint64_t attrs;		/* of the leaf entry */
	uint64_t block;		/* bytes that the entry maps */
};

static uint8_t read_entry(struct npu_model *m, uint64_t table, unsigned int index, uint64_t *out)
{
	const uint64_t *p;

	if (table >> m->cfg.bus_bits)
		return NPU_FAULT_ADDRESS_SIZE;
	p = bus_ptr(&m->bus, table + index * 8ull, 8, false);
	if (!p)
		return NPU_FAULT_WALK_BUS;
	*out = __atomic_load_n(p, __ATOMIC_ACQUIRE);
	return 0;
}

static struct walk_entry *walk_slot(struct slot *s, uint64_t va)
{
	return &s->walks[(va >> LEAF_SHIFT) * 0x9e3779b97f4a7c15ull >> (64 - WALK_CACHE_LOG2)];
}

/* Down from @level to the entry that maps @va; 0 or a fault code. */
static uint8_t walk(struct npu_model *m, struct slot *s, uint64_t va, struct walk *w)
{
	struct walk_entry *cached = walk_slot(s, va);
	unsigned int level = s->va_bits > 39 ? 0 : 1;
	uint64_t table = s->table, entry;
	uint8_t code;

	count(&m->cnt_walks, 1);
	if (cached->tag == (va >> LEAF_SHIFT) + 1) {
		table = cached->table;
		level = 3;
	}
	for (;; level++) {
		unsigned int shift = 39 - 9 * level;

		code = read_entry(m, table, va >> shift & 511, &entry);
		if (code)
			return code;
		if (!(entry & NPU_PTE_VALID))
			return NPU_FAULT_TRANSLATION;
		if (level == 3 ? !(entry & NPU_PTE_TABLE) : level == 0 && !(entry & NPU_PTE_TABLE))
			return NPU_FAULT_TABLE;
		if (level < 3 && (entry & NPU_PTE_TABLE)) {
			table = entry & NPU_PTE_ADDR_MASK;
			if (level == 2) {
				cached->tag = (va >> LEAF_SHIFT) + 1;
				cached->table = table;
			}
			continue;
		}
		w->block = 1ull << shift;
		w->attrs = entry;
		w->bus = entry & NPU_PTE_ADDR_MASK;
		if (w->bus & (w->block - 1))
			return NPU_FAULT_TABLE;		/* a block that is not aligned to its size */
		if (w->bus >> m->cfg.bus_bits)
			return NPU_FAULT_ADDRESS_SIZE;
		if (!(entry & NPU_PTE_AF) || !(entry & NPU_PTE_USER))
			return NPU_FAULT_PERMISSION;
		w->bus += va & (w->block - 1) & ~(PAGE_SIZE - 1);
		return 0;
	}
}

static void set_entry(struct leaf *l, unsigned int i, uint64_t bus, bool write, const struct npu_model_window *w)
{
	uint64_t pte = bus | TLB_VALID;

	l->host[i] = w->host ? (uint8_t *)w->host + (bus - w->bus) : NULL;
	if (!w->writable)
		pte |= TLB_HOST_RO;
	if (write) {
		pte |= TLB_WRITE;
		l->writable++;
	}
	l->pte[i] = pte;
	l->valid++;
}

static void leaf_summary(struct leaf *l)
{
	l->base = NULL;
	if (l->valid != LEAF_PAGES || !l->host[0])
		return;
	for (unsigned int i = 0; i < LEAF_PAGES; i++)
		if (l->host[i] != l->host[0] + i * PAGE_SIZE || (l->pte[i] & TLB_HOST_RO))
			return;
	l->base = l->host[0];
}

/* Translates page @page of @l into the TLB; the rest of a block comes with it. */
int mmu_fill(struct npu_model *m, struct slot *s, struct leaf *l, unsigned int page, struct xlate *x)
{
	uint64_t va = l->va + page * PAGE_SIZE;
	struct npu_model_window win;
	unsigned int first = page, n = 1;
	struct walk w;

	x->code = walk(m, s, va, &w);
	if (x->code) {
		x->addr = va;
		return -EFAULT;
	}
	if (w.block >= LEAF_SIZE) {
		first = 0;
		n = LEAF_PAGES;
		w.bus -= page * PAGE_SIZE;
	}
	win.size = 0;
	for (unsigned int i = first; i < first + n; i++, w.bus += PAGE_SIZE) {
		if (l->pte[i] & TLB_VALID)
			continue;
		if (!win.size || w.bus < win.bus || w.bus - win.bus >= win.size ||
		    win.size - (w.bus - win.bus) < PAGE_SIZE) {
			if (bus_find(&m->bus, w.bus, PAGE_SIZE, &win)) {
				memset(&win, 0, sizeof(win));
				win.bus = w.bus;
				win.size = PAGE_SIZE;
			}
		}
		set_entry(l, i, w.bus, !(w.attrs & NPU_PTE_RDONLY), &win);
	}
	leaf_summary(l);
	huge_want(s, l, &win);
	return 0;
}

bool mmu_locked(const struct slot *s, uint64_t va, uint64_t len)
{
	return s->locked && len && va <= s->lock_last && va + len - 1 >= s->lock_first;
}

/* Host pointer of the page that holds @va, plus the offset in it. */
uint8_t *mmu_page(struct npu_model *m, struct slot *s, uint64_t va, bool write, struct xlate *x)
{
	unsigned int i = va >> PAGE_SHIFT & (LEAF_PAGES - 1);
	struct leaf *l;

	x->addr = va;
	x->write = write;
	x->code = 0;
	if (!s->enabled)
		x->code = NPU_FAULT_SLOT;
	else if (va >> s->va_bits)
		x->code = NPU_FAULT_ADDRESS_SIZE;
	if (x->code)
		return NULL;
	l = mmu_leaf(s, va, true);
	if (!l) {
		x->code = NPU_FAULT_INTERNAL;
		return NULL;
	}
	if (!(l->pte[i] & TLB_VALID) && mmu_fill(m, s, l, i, x)) {
		x->addr = va;
		return NULL;
	}
	if (write && !(l->pte[i] & TLB_WRITE))
		x->code = NPU_FAULT_PERMISSION;
	else if (!l->host[i] || (write && (l->pte[i] & TLB_HOST_RO)))
		x->code = NPU_FAULT_BUS;
	return x->code ? NULL : l->host[i] + (va & (PAGE_SIZE - 1));
}

static int mmu_copy(struct npu_model *m, struct slot *s, uint64_t va, uint8_t *buf, size_t len, bool write,
		    struct xlate *x)
{
	while (len) {
		size_t n = PAGE_SIZE - (va & (PAGE_SIZE - 1));
		uint8_t *host = mmu_page(m, s, va, write, x);

		if (!host)
			return -EFAULT;
		if (n > len)
			n = len;
		if (write)
			memcpy(host, buf, n);
		else
			memcpy(buf, host, n);
		va += n;
		buf += n;
		len -= n;
	}
	return 0;
}

int mmu_read(struct npu_model *m, struct slot *s, uint64_t va, void *buf, size_t len, struct xlate *x)
{
	return mmu_copy(m, s, va, buf, len, false, x);
}

int mmu_write(struct npu_model *m, struct slot *s, uint64_t va, const void *buf, size_t len, struct xlate *x)
{
	return mmu_copy(m, s, va, (uint8_t *)buf, len, true, x);
}

/* ---- Maintenance ---------------------------------------------------------------- */

static void drop_walks(struct slot *s)
{
	memset(s->walks, 0, sizeof(s->walks));
}

static void drop_pages(struct npu_model *m, struct slot *s, struct leaf *l, unsigned int first, unsigned int n)
{
	view_leaf_drop(m, s, l, first, n);
	huge_forget(s, l);
	for (unsigned int i = first; i < first + n; i++) {
		if (!(l->pte[i] & TLB_VALID))
			continue;
		l->valid--;
		if (l->pte[i] & TLB_WRITE)
			l->writable--;
		l->pte[i] = 0;
		l->host[i] = NULL;
	}
	l->base = NULL;
}

void mmu_drop_all(struct npu_model *m, struct slot *s)
{
	for (uint32_t i = 0; i < s->leaf_room; i++) {
		if (!s->leaves[i])
			continue;
		drop_pages(m, s, s->leaves[i], 0, LEAF_PAGES);
		free(s->leaves[i]);
	}
	free(s->leaves);
	s->leaves = NULL;
	s->leaf_count = 0;
	s->leaf_room = 0;
	s->last = NULL;
	s->gen++;
	drop_walks(s);
}

static void drop_in_leaf(struct npu_model *m, struct slot *s, struct leaf *l, uint64_t first, uint64_t last)
{
	unsigned int a = 0, b = LEAF_PAGES - 1;

	if (first > l->va)
		a = (first - l->va) >> PAGE_SHIFT;
	if (last - l->va < LEAF_SIZE)
		b = (last - l->va) >> PAGE_SHIFT;
	if (l->valid)
		drop_pages(m, s, l, a, b - a + 1);
}

static void drop_range(struct npu_model *m, struct slot *s, uint64_t first, uint64_t size)
{
	uint64_t last = first + size - 1;
	uint64_t leaves = (last >> LEAF_SHIFT) - (first >> LEAF_SHIFT) + 1;

	s->gen++;
	if (leaves < s->leaf_count) {
		for (uint64_t va = first & ~(LEAF_SIZE - 1); leaves; leaves--, va += LEAF_SIZE) {
			struct leaf *l = mmu_leaf(s, va, false);

			if (l)
				drop_in_leaf(m, s, l, first, last);
		}
		return;
	}
	for (uint32_t i = 0; i < s->leaf_room; i++) {
		struct leaf *l = s->leaves[i];

		if (l && l->va <= last && l->va + (LEAF_SIZE - 1) >= first)
			drop_in_leaf(m, s, l, first, last);
	}
}

static bool range_valid(const struct npu_model *m, const struct slot *s)
{
	uint64_t limit = 1ull << m->cfg.va_bits;

	return !(s->range % PAGE_SIZE) && !(s->range_size % PAGE_SIZE) && s->range_size && s->range < limit &&
	       s->range_size <= limit - s->range;
}

static bool update(struct npu_model *m, struct slot *s)
{
	uint32_t bits = NPU_AS_CFG_VA_BITS_GET(s->reg_cfg);
	bool enable = s->reg_cfg & NPU_AS_CFG_ENABLE;

	if (enable && (bits < 39 || bits > m->cfg.va_bits || s->reg_table % PAGE_SIZE ||
		       s->reg_table >> m->cfg.bus_bits))
		return false;
	mmu_drop_all(m, s);
	s->enabled = enable;
	s->table = s->reg_table;
	s->va_bits = bits;
	return true;
}

static bool run(struct npu_model *m, uint32_t index, struct slot *s, uint32_t cmd)
{
	switch (cmd) {
	case NPU_AS_CMD_UPDATE:
		return update(m, s);
	case NPU_AS_CMD_LOCK:
		if (s->locked || !range_valid(m, s))
			return false;
		s->locked = true;
		s->lock_first = s->range;
		s->lock_last = s->range + s->range_size - 1;
		return true;
	case NPU_AS_CMD_FLUSH:
		if (!range_valid(m, s))
			return false;
		drop_range(m, s, s->range, s->range_size);
		return true;
	case NPU_AS_CMD_FLUSH_ALL:
		mmu_drop_all(m, s);
		return true;
	case NPU_AS_CMD_FLUSH_WALKS:
		drop_walks(s);
		return true;
	case NPU_AS_CMD_UNLOCK:
		if (!s->locked)
			return false;
		s->locked = false;
		s->gen++;
		queue_unblock_slot(m, index);
		return true;
	}
	return false;
}

static void finish(struct npu_model *m, uint32_t index)
{
	struct slot *s = &m->slot[index];

	s->error = !run(m, index, s, s->pending);
	s->pending = 0;
	irq_raise(m, IRQ_GLOBAL, NPU_IRQ_G_MMU);
}

/*
 * A command of a slot whose queue is executing ends at the next command
 * boundary: by then every access that was older than the command has retired.
 */
void mmu_command(struct npu_model *m, uint32_t slot, uint32_t cmd)
{
	struct slot *s = &m->slot[slot];

	if (s->pending)
		return;
	s->pending = cmd;
	if (cmd == 0)
		s->pending = UINT32_MAX;	/* illegal, but an attempt */
	if (!m->exec || m->exec->slot != slot)
		finish(m, slot);
	else
		m->slot_pending = true;
	core_kick(m);
}

/* Token free, lock held. */
void mmu_run_pending(struct npu_model *m)
{
	if (!m->slot_pending)
		return;
	m->slot_pending = false;
	for (uint32_t i = 0; i < m->cfg.slots; i++)
		if (m->slot[i].pending)
			finish(m, i);
}

void mmu_slot_reset(struct npu_model *m, struct slot *s)
{
	mmu_drop_all(m, s);
	s->reg_table = 0;
	s->reg_cfg = 0;
	s->range = 0;
	s->range_size = 0;
	s->pending = 0;
	s->error = false;
	s->enabled = false;
	s->table = 0;
	s->va_bits = 0;
	s->locked = false;
}

void mmu_slot_fini(struct npu_model *m, struct slot *s)
{
	mmu_drop_all(m, s);
	view_fini(m, s);
}
