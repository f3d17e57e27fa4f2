// SPDX-License-Identifier: MIT
/* What a thread reads next: a table from a job to the one that followed it last. */
#include <stdlib.h>
#include <string.h>

#include "ahead.h"

#define LINE		64u
#define PIECE		256u	/* of each stream in turn */
#define LOG_ENTRIES	9	/* a large model has some 400 matrices */

struct entry {
	const uint8_t *job;
	struct npu_streams next;
};

struct ahead {
	struct entry table[1u << LOG_ENTRIES];
	struct entry *last;		/* of the job that began last */
	struct npu_streams now;		/* what is being fetched */
	uint32_t at;			/* bytes of it that have been */
};

static _Thread_local struct ahead *own;

void npu_ahead_enter(void)
{
	if (!own)
		own = calloc(1, sizeof(*own));
}

void npu_ahead_leave(void)
{
	free(own);
	own = NULL;
}

/* Multiplicative hashing (Knuth 6.4) of the address of a cache line. */
static struct entry *entry_of(struct ahead *a, const uint8_t *job)
{
	return &a->table[(uintptr_t)job / LINE * 0x9e3779b97f4a7c15ull >> (64 - LOG_ENTRIES)];
}

static bool same(const struct npu_streams *a, const struct npu_streams *b)
{
	return a->n == b->n && !memcmp(a->p, b->p, a->n * sizeof(a->p[0]));
}

void npu_ahead_begin(const struct npu_streams *s)
{
	struct ahead *a = own;

	if (!a)
		return;
	if (a->last && !same(&a->last->next, s))
		a->last->next = *s;
	a->last = entry_of(a, s->p[0]);
	if (a->last->job != s->p[0])
		*a->last = (struct entry){ .job = s->p[0] };
	a->now.n = 0;
}

void npu_ahead_end(void)
{
	struct ahead *a = own;

	if (!a || !a->last)
		return;
	a->now = a->last->next;
	a->at = 0;
}

const void *npu_ahead_next(void)
{
	struct ahead *a = own;
	uint32_t at, piece;

	if (!a || !a->now.n || a->at == NPU_AHEAD_BYTES)
		return NULL;
	at = a->at;
	piece = at / PIECE;
	a->at += LINE;
	return a->now.p[piece % a->now.n] + piece / a->now.n * PIECE + at % PIECE;
}

bool npu_ahead_fetch(void)
{
	for (unsigned int i = 0; i < NPU_AHEAD_LINES; i++) {
		const void *p = npu_ahead_next();

		if (!p)
			return i > 0;
		__builtin_prefetch(p, 0, 2);
	}
	return true;
}
