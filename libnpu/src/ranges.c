// SPDX-License-Identifier: MIT
#include <errno.h>
#include <string.h>

#include "device.h"
#include "ranges.h"

int npu_ranges_init(struct npu_ranges *r, struct npu_device *dev, uint64_t start, uint64_t size)
{
	r->dev = dev;
	r->room = 16;
	r->live = 0;
	r->free = npu_alloc(dev, r->room * sizeof(*r->free));
	if (!r->free)
		return -ENOMEM;
	r->free[0].start = start;
	r->free[0].size = size;
	r->count = size ? 1 : 0;
	return 0;
}

void npu_ranges_fini(struct npu_ranges *r)
{
	npu_free(r->dev, r->free);
	r->free = NULL;
	r->count = r->room = 0;
}

static int grow(struct npu_ranges *r)
{
	struct npu_range *n;

	/* A get adds at most one entry now (alignment gap) and its put one later. */
	if (r->live + r->count + 4 <= r->room)
		return 0;
	n = npu_resize(r->dev, r->free, 2ul * r->room * sizeof(*n));
	if (!n)
		return -ENOMEM;
	r->free = n;
	r->room *= 2;
	return 0;
}

static void insert(struct npu_ranges *r, uint32_t at, uint64_t start, uint64_t size)
{
	memmove(&r->free[at + 1], &r->free[at], (r->count - at) * sizeof(*r->free));
	r->free[at].start = start;
	r->free[at].size = size;
	r->count++;
}

static void erase(struct npu_ranges *r, uint32_t at)
{
	memmove(&r->free[at], &r->free[at + 1], (r->count - at - 1) * sizeof(*r->free));
	r->count--;
}

int npu_ranges_get(struct npu_ranges *r, uint64_t size, uint64_t align, uint64_t *start)
{
	int err = grow(r);

	if (err)
		return err;
	for (uint32_t i = 0; i < r->count; i++) {
		struct npu_range *f = &r->free[i];
		uint64_t at = (f->start + align - 1) & ~(align - 1);
		uint64_t gap = at - f->start, tail;

		if (f->size < gap || f->size - gap < size)
			continue;
		tail = f->size - gap - size;
		if (gap && tail) {
			f->size = gap;
			insert(r, i + 1, at + size, tail);
		} else if (gap) {
			f->size = gap;
		} else if (tail) {
			f->start = at + size;
			f->size = tail;
		} else {
			erase(r, i);
		}
		r->live++;
		*start = at;
		return 0;
	}
	return -ENOSPC;
}

void npu_ranges_put(struct npu_ranges *r, uint64_t start, uint64_t size)
{
	uint32_t lo = 0, hi = r->count;

	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;

		if (r->free[mid].start < start)
			lo = mid + 1;
		else
			hi = mid;
	}
	r->live--;
	if (lo < r->count && start + size == r->free[lo].start) {
		r->free[lo].start = start;
		r->free[lo].size += size;
	} else {
		insert(r, lo, start, size);
	}
	if (lo && r->free[lo - 1].start + r->free[lo - 1].size == r->free[lo].start) {
		r->free[lo - 1].size += r->free[lo].size;
		erase(r, lo);
	}
}
