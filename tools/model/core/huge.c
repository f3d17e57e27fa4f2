// SPDX-License-Identifier: MIT
/*
 * Huge pages of the host under what the device only reads.
 *
 * Weights above all are read in whole and again and again; from huge pages that is up to a quarter faster. Shared memory
 * mostly has none by itself. Asking for one costs a copy, and in a virtual machine whose host has taken free memory
 * back many times that: 4 ms for 2 MiB were seen. So it is done between commands, a page per thread at a time: in a
 * tenth of the time where that is quick; where it is slow in half of it, but only when work has gone on for a while,
 * as what is short would not get it back.
 */
#include <stdint.h>
#include <sys/mman.h>
#include <time.h>

#include "../ops/pool.h"
#include "core.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25	/* Linux 6.1; libc headers came later */
#endif

#define SLOW_NS		2000000ll	/* several times what a copy takes */

static int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ll + ts.tv_nsec;
}

void huge_want(struct slot *s, struct leaf *l, const struct npu_model_window *w)
{
	uint8_t *at = (uint8_t *)((uintptr_t)l->base & ~(LEAF_SIZE - 1));

	if (!l->base || l->writable || l->want_huge || w->fd < 0 || at < (uint8_t *)w->host ||
	    at + LEAF_SIZE > (uint8_t *)w->host + w->size)
		return;
	l->want_huge = true;
	if (!s->huge.wanted++)
		s->huge.since = now_ns();
}

void huge_forget(struct slot *s, struct leaf *l)
{
	if (!l->want_huge)
		return;
	l->want_huge = false;
	s->huge.wanted--;
}

/* The next leaf that wants one, from where the last search ended. There is one. */
static struct leaf *next(struct slot *s)
{
	for (;; s->huge.at++) {
		struct leaf *l = s->leaves[s->huge.at & (s->leaf_room - 1)];

		if (l && l->want_huge)
			return l;
	}
}

/* Where the host cannot make one, it stays as it is. */
static void collapse(void *arg, uint64_t first, uint64_t end, unsigned int worker)
{
	uint8_t *const *page = arg;

	(void)worker;
	for (; first < end; first++) {
		(void)*(volatile const uint8_t *)page[first];	/* a page that is there makes a huge one */
		madvise(page[first], LEAF_SIZE, MADV_COLLAPSE);
	}
}

/* When to go on after what took from @begin to @end. */
static int64_t next_time(const struct npu_model *m, const struct slot *s, int64_t begin, int64_t end)
{
	if (end - begin < SLOW_NS)
		return end + (end - begin) * 9;
	if (end - s->huge.since < m->huge_patience)
		return s->huge.since + m->huge_patience;
	return end + (end - begin);
}

void huge_tend(struct npu_model *m, struct slot *s)
{
	uint8_t *page[NPU_POOL_MAX_THREADS];
	unsigned int n = 0, most = npu_pool_threads(m->pool);
	int64_t begin = now_ns();

	if (begin < s->huge.after)
		return;
	for (; n < most && s->huge.wanted; n++) {
		struct leaf *l = next(s);

		page[n] = (uint8_t *)((uintptr_t)l->base & ~(LEAF_SIZE - 1));
		huge_forget(s, l);
	}
	npu_pool_for(m->pool, n, 1, collapse, page);
	s->huge.after = next_time(m, s, begin, now_ns());
}
