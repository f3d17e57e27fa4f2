// SPDX-License-Identifier: MIT
/*
 * Host views: a contiguous host pointer for a range of a slot's addresses.
 *
 * Three ways, the cheapest that works:
 *   1. The pages lie contiguously in a window: a pointer into the window.
 *   2. They do not: their pieces of the windows' files are mapped side by side
 *      into a region reserved for 64 GiB of addresses (a segment), in runs as
 *      long as the pages are contiguous, and stay mapped until the translations
 *      are flushed. A process has about 65,000 mappings: views use at most
 *      m->view_limit of them.
 *   3. No file, no mapping left, or across a segment's end: an operation that
 *      takes its operand in pieces gets the pages, and collects each piece
 *      where it uses it. For others, whose operands are small or of which only
 *      some rows are used, the bytes are gathered into a bounce buffer and, when
 *      written, scattered at the end of the command. Only bytes that the command
 *      changed are written back.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "core.h"
#include "ops/pool.h"

#define SEGMENT_SIZE	(1ull << 36)
#define MAX_SEGMENTS	64u		/* per slot */

/* ---- Segments -------------------------------------------------------------- */

static struct segment *segment_find(struct slot *s, uint64_t va)
{
	va &= ~(SEGMENT_SIZE - 1);
	for (uint32_t i = 0; i < s->segment_count; i++)
		if (s->segments[i].va == va)
			return &s->segments[i];
	return NULL;
}

static struct segment *segment_get(struct slot *s, uint64_t va)
{
	struct segment *g = segment_find(s, va), *n;
	void *base;

	if (g || s->segment_count == MAX_SEGMENTS)
		return g;
	n = realloc(s->segments, (s->segment_count + 1) * sizeof(*n));
	if (!n)
		return NULL;
	s->segments = n;
	base = mmap(NULL, SEGMENT_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (base == MAP_FAILED)
		return NULL;
	g = &s->segments[s->segment_count++];
	g->va = va & ~(SEGMENT_SIZE - 1);
	g->base = base;
	return g;
}

void view_fini(struct npu_model *m, struct slot *s)
{
	(void)m;
	for (uint32_t i = 0; i < s->segment_count; i++)
		munmap(s->segments[i].base, SEGMENT_SIZE);
	free(s->segments);
	s->segments = NULL;
	s->segment_count = 0;
}

/* ---- Mappings of one leaf ---------------------------------------------------- */

static void recount(struct npu_model *m, struct leaf *l)
{
	uint16_t runs = 0, holes = 0;

	for (unsigned int i = 0; i < LEAF_PAGES; i++) {
		bool before = i && (l->pte[i - 1] & TLB_VIEW);

		if (!(l->pte[i] & TLB_VIEW))
			holes += !i || before;
		else if (!before || l->host[i] != l->host[i - 1] + PAGE_SIZE)
			runs++;
	}
	if (!runs)
		holes = 0;
	atomic_fetch_add_explicit(&m->stat_view_maps, (uint64_t)runs - l->view_runs, memory_order_relaxed);
	atomic_fetch_add_explicit(&m->view_maps, (uint64_t)(runs + holes) - l->view_maps, memory_order_relaxed);
	l->view_runs = runs;
	l->view_maps = runs + holes;
}

void view_leaf_drop(struct npu_model *m, struct slot *s, struct leaf *l, unsigned int first, unsigned int n)
{
	struct segment *g;

	if (!l->viewed)
		return;
	g = segment_find(s, l->va);
	for (unsigned int i = first; i < first + n; i++) {
		if (l->pte[i] & TLB_VIEW) {
			l->pte[i] &= ~TLB_VIEW;
			l->viewed--;
		}
	}
	/* Failure leaves the old mapping, which no access uses. */
	(void)mmap(g->base + (l->va - g->va) + first * PAGE_SIZE, n * PAGE_SIZE, PROT_NONE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
	recount(m, l);
}

static bool map_run(struct npu_model *m, struct leaf *l, unsigned int first, unsigned int n, uint8_t *at)
{
	uint64_t bus = l->pte[first] & NPU_PTE_ADDR_MASK;
	struct npu_model_window w;
	int prot = PROT_READ;

	if (bus_find(&m->bus, bus, n * PAGE_SIZE, &w) || w.fd < 0 || (w.fd_offset + (bus - w.bus)) % PAGE_SIZE)
		return false;
	if (w.writable)
		prot |= PROT_WRITE;
	/* Populated: a fault per page would cost more than the mapping. */
	return mmap(at, n * PAGE_SIZE, prot, MAP_SHARED | MAP_FIXED | MAP_POPULATE, w.fd, (off_t)(w.fd_offset + (bus - w.bus))) !=
	       MAP_FAILED;
}

/* Maps pages [first, end) of @l, which are all valid, into the view. */
static bool map_leaf(struct npu_model *m, struct leaf *l, unsigned int first, unsigned int end, uint8_t *leaf_base)
{
	/* What this call adds: a run each, and a hole before the first and after the last. */
	uint64_t room = counter(&m->view_maps) + 2;
	bool ok = true;

	while (ok && first < end) {
		unsigned int n = 1;

		if (l->pte[first] & TLB_VIEW) {
			first++;
			continue;
		}
		while (first + n < end && !(l->pte[first + n] & TLB_VIEW) &&
		       l->host[first + n] == l->host[first] + n * PAGE_SIZE &&
		       (l->pte[first + n] & NPU_PTE_ADDR_MASK) ==
			       (l->pte[first] & NPU_PTE_ADDR_MASK) + n * PAGE_SIZE)
			n++;
		ok = ++room <= m->view_limit && map_run(m, l, first, n, leaf_base + first * PAGE_SIZE);
		for (unsigned int i = first; ok && i < first + n; i++)
			l->pte[i] |= TLB_VIEW;
		if (ok)
			l->viewed += n;
		first += n;
	}
	recount(m, l);
	return ok;
}

static uint8_t *view(struct npu_model *m, struct slot *s, uint64_t va, uint64_t len)
{
	uint64_t last = va + len - 1;
	struct segment *g;

	if ((va ^ last) & ~(SEGMENT_SIZE - 1))
		return NULL;
	g = segment_get(s, va);
	if (!g)
		return NULL;
	for (uint64_t at = va & ~(LEAF_SIZE - 1); at <= last; at += LEAF_SIZE) {
		struct leaf *l = mmu_leaf(s, at, false);
		unsigned int first = at < va ? (va - at) >> PAGE_SHIFT : 0;
		unsigned int end = last - at < LEAF_SIZE ? ((last - at) >> PAGE_SHIFT) + 1 : LEAF_PAGES;

		if (l->viewed != LEAF_PAGES && !map_leaf(m, l, first, end, g->base + (at - g->va)))
			return NULL;
	}
	return g->base + (va - g->va);
}

/* ---- Bounce buffers ------------------------------------------------------------ */

static void *arena_take(struct bounces *b, uint64_t len)
{
	size_t size = (len + 63) & ~63ull;
	uint8_t *p;
	void **n;

	b->taken += size;
	if (b->arena_size - b->arena_used >= size) {
		p = b->arena + b->arena_used;
		b->arena_used += size;
		return p;
	}
	n = realloc(b->extra, (b->extra_count + 1) * sizeof(*n));
	if (!n)
		return NULL;
	b->extra = n;
	p = aligned_alloc(64, size);
	if (p)
		b->extra[b->extra_count++] = p;
	return p;
}

/* Next time one allocation holds it all. */
static void arena_grow(struct bounces *b)
{
	if (!b->extra_count)
		return;
	for (unsigned int i = 0; i < b->extra_count; i++)
		free(b->extra[i]);
	b->extra_count = 0;
	free(b->arena);
	b->arena = aligned_alloc(64, b->taken);
	b->arena_size = b->arena ? b->taken : 0;
}

/* The pages of a span that is translated, to be used until the command ends. */
static int pages_of(struct slot *s, struct bounces *b, uint64_t va, uint64_t len, struct npu_pieces *out)
{
	uint64_t first = va >> LEAF_SHIFT, n = ((va + len - 1) >> LEAF_SHIFT) - first + 1;
	uint8_t *const **tables = arena_take(b, n * sizeof(*tables));

	if (!tables)
		return -ENOMEM;
	for (uint64_t i = 0; i < n; i++)
		tables[i] = mmu_leaf(s, (first + i) << LEAF_SHIFT, false)->host;
	*out = (struct npu_pieces){ .tables = tables, .first = va & (LEAF_SIZE - 1) };
	return 0;
}

#define GATHER_GRAIN	(128u << 10)	/* bytes that a worker copies at a time */

struct gather {
	struct npu_pieces from;
	uint8_t *buf;
};

static void gather_bytes(void *arg, uint64_t begin, uint64_t end, unsigned int worker)
{
	const struct gather *g = arg;

	(void)worker;
	npu_pieces_read(&g->from, begin, end - begin, g->buf + begin);
}

/* Copies a span that is translated, in parallel where it is large. */
static int gather(struct npu_model *m, struct slot *s, struct bounces *b, uint64_t va, uint8_t *buf, uint64_t len)
{
	struct gather g = { .buf = buf };
	int err = pages_of(s, b, va, len, &g.from);

	if (!err)
		npu_pool_for(m->pool, len, GATHER_GRAIN, gather_bytes, &g);
	return err;
}

/*
 * The same bytes must have one buffer in a command. The first ones are searched
 * for any span inside them; the many that a strided operand may need are
 * rows, asked for again by the same address.
 */
#define BOUNCES_SEARCHED	64u
#define CHAINS_LOG2		16

static uint32_t chain_of(uint64_t va)
{
	return (uint32_t)(va * 0x9e3779b97f4a7c15ull >> (64 - CHAINS_LOG2));
}

static struct bounce *bounce_find(struct bounces *b, uint64_t va, uint64_t len, bool write)
{
	struct bounce *e;

	for (unsigned int i = 0; i < b->count && i < BOUNCES_SEARCHED; i++) {
		e = &b->list[i];
		if (va >= e->va && va + len <= e->va + e->len && (!write || e->old))
			return e;
	}
	for (uint32_t i = b->chain && b->count > BOUNCES_SEARCHED ? b->chain[chain_of(va)] : 0; i; i = e->next) {
		e = &b->list[i - 1];
		if (va == e->va && len <= e->len && (!write || e->old))
			return e;
	}
	return NULL;
}

/* Makes @e, the next of the list, found. */
static bool bounce_chain(struct bounces *b, struct bounce *e)
{
	uint32_t *head;

	if (b->count < BOUNCES_SEARCHED)
		return true;
	if (!b->chain)
		b->chain = calloc(1u << CHAINS_LOG2, sizeof(*b->chain));
	if (!b->chain)
		return false;
	head = &b->chain[chain_of(e->va)];
	e->next = *head;
	*head = b->count + 1;
	return true;
}

static uint8_t *bounce(struct npu_model *m, struct slot *s, struct bounces *b, uint64_t va, uint64_t len, bool write,
		       struct xlate *x)
{
	struct bounce *e = bounce_find(b, va, len, write);

	if (e)
		return e->buf + (va - e->va);
	if (b->count == b->room) {
		e = realloc(b->list, (b->room ? 2 * b->room : 16) * sizeof(*e));
		if (!e)
			goto full;
		b->list = e;
		b->room = b->room ? 2 * b->room : 16;
	}
	e = &b->list[b->count];
	e->va = va;
	e->len = len;
	e->buf = arena_take(b, len);
	e->old = write ? arena_take(b, len) : NULL;
	if (!e->buf || (write && !e->old))
		goto full;
	if (gather(m, s, b, va, e->buf, len))
		goto full;
	if (write)
		memcpy(e->old, e->buf, len);
	if (!bounce_chain(b, e))
		goto full;
	b->count++;
	count(&m->stat_gathers, 1);
	return e->buf;
full:
	x->code = NPU_FAULT_INTERNAL;
	x->addr = va;
	return NULL;
}

/* Writes back the bytes of [0, n) that differ. */
static int scatter_changes(struct npu_model *m, struct slot *s, const struct bounce *e, uint64_t off, uint64_t n)
{
	uint64_t i = off, end = off + n;
	struct xlate x;

	while (i < end) {
		uint64_t from;

		while (i < end && e->buf[i] == e->old[i])
			i++;
		from = i;
		while (i < end && e->buf[i] != e->old[i])
			i++;
		if (i > from && mmu_write(m, s, e->va + from, e->buf + from, i - from, &x))
			return -EFAULT;
	}
	return 0;
}

int view_end(struct npu_model *m, struct slot *s, struct bounces *b, bool write_back)
{
	int r = 0;

	for (unsigned int i = 0; i < b->count && write_back; i++) {
		const struct bounce *e = &b->list[i];

		for (uint64_t off = 0; e->old && off < e->len && !r; off += 4096) {
			uint64_t n = e->len - off < 4096 ? e->len - off : 4096;

			if (memcmp(e->buf + off, e->old + off, n))
				r = scatter_changes(m, s, e, off, n);
		}
	}
	arena_grow(b);
	if (b->chain && b->count > BOUNCES_SEARCHED)
		memset(b->chain, 0, sizeof(*b->chain) << CHAINS_LOG2);
	b->count = 0;
	b->arena_used = 0;
	b->taken = 0;
	return r;
}

void bounces_fini(struct bounces *b)
{
	for (unsigned int i = 0; i < b->extra_count; i++)
		free(b->extra[i]);
	free(b->extra);
	free(b->arena);
	free(b->list);
	free(b->chain);
	memset(b, 0, sizeof(*b));
}

/* ---- The way in ------------------------------------------------------------------ */

/*
 * Translates all pages of [va, va + len); @host: pointer to the first byte when
 * they are contiguous on the host, else NULL. First fault in ascending order.
 */
static int translate(struct npu_model *m, struct slot *s, uint64_t va, uint64_t len, bool write, uint8_t **host,
		     struct xlate *x)
{
	uint64_t last = va + len - 1, at = va;
	uint8_t *expect = NULL;

	*host = NULL;
	while (at <= last) {
		struct leaf *l = mmu_leaf(s, at, false);
		uint64_t step = PAGE_SIZE - (at & (PAGE_SIZE - 1));
		uint8_t *p;

		if (l && l->base && (!write || l->writable == LEAF_PAGES)) {
			step = LEAF_SIZE - (at & (LEAF_SIZE - 1));
			p = l->base + (at & (LEAF_SIZE - 1));
		} else {
			p = mmu_page(m, s, at, write, x);
			if (!p)
				return -EFAULT;
		}
		if (at == va)
			*host = p;
		else if (p != expect)
			*host = NULL;
		expect = p + step;
		at += step;
	}
	return 0;
}

/* Translates [va, va + len), and returns a contiguous host pointer to it; NULL: a fault, or (code 0) there is none. */
static uint8_t *look_up(struct npu_model *m, struct slot *s, uint64_t va, uint64_t len, bool write, struct xlate *x)
{
	uint8_t *host;

	x->code = 0;
	x->addr = va;
	x->write = write;
	if (!s->enabled)
		x->code = NPU_FAULT_SLOT;
	else if (va >> s->va_bits)
		x->code = NPU_FAULT_ADDRESS_SIZE;
	if (x->code)
		return NULL;
	if (len > (1ull << s->va_bits) - va) {
		/* Pages below the end may fault first. */
		if (!translate(m, s, va, (1ull << s->va_bits) - va, write, &host, x)) {
			x->code = NPU_FAULT_ADDRESS_SIZE;
			x->addr = 1ull << s->va_bits;
		}
		return NULL;
	}
	if (translate(m, s, va, len, write, &host, x))
		return NULL;
	return host ? host : view(m, s, va, len);
}

static struct span_entry *span_slot(struct slot *s, uint64_t va)
{
	return &s->spans[(va >> PAGE_SHIFT) * 0x9e3779b97f4a7c15ull >> (64 - SPAN_CACHE_LOG2)];
}

/* The same of a span of several leaves, which takes long to look up. */
static uint8_t *contiguous(struct npu_model *m, struct slot *s, uint64_t va, uint64_t len, bool write,
			   struct xlate *x)
{
	struct span_entry *e = span_slot(s, va);
	uint8_t *host;

	x->code = 0;
	if (len <= LEAF_SIZE)
		return look_up(m, s, va, len, write, x);
	if (e->va == va && e->len == len && e->gen == s->gen && (e->write || !write))
		return e->host;
	host = look_up(m, s, va, len, write, x);
	if (host)
		*e = (struct span_entry){ va, len, host, s->gen, write };
	return host;
}

uint8_t *view_map(struct npu_model *m, struct slot *s, struct bounces *b, uint64_t va, uint64_t len, bool write,
		  struct xlate *x)
{
	uint8_t *host = contiguous(m, s, va, len, write, x);

	return host || x->code ? host : bounce(m, s, b, va, len, write, x);
}

int view_pieces(struct npu_model *m, struct slot *s, struct bounces *b, uint64_t va, uint64_t len, bool write,
		struct npu_pieces *out, struct xlate *x)
{
	*out = (struct npu_pieces){ .p = contiguous(m, s, va, len, write, x) };
	if (out->p)
		return 0;
	if (!x->code) {
		count(&m->stat_gathers, 1);
		if (!pages_of(s, b, va, len, out))
			return 0;
		x->code = NPU_FAULT_INTERNAL;
	}
	return -EFAULT;
}
