// SPDX-License-Identifier: MIT
/* What a thread reads next: a table from a job to the one that followed it last. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "ahead.h"

#define LINE		64u
#define PIECE		256u	/* of each stream in turn */
#define LOG_ENTRIES	10	/* a large model has some 400 matrices */
#define ENTRIES		(1u << LOG_ENTRIES)
#define PROBES		8

struct entry {
	const uint8_t *job;
	struct npu_streams next;
};

struct ahead {
	struct npu_streams now;		/* what is being fetched */
	uint32_t stream, line;		/* next: of its streams, and bytes into a piece of it */
	uint32_t at;			/* where in each stream that piece is */
	uint32_t left;			/* bytes to go */
	struct entry *last;		/* of the job that began last */
	struct entry table[ENTRIES];
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

/*
 * Multiplicative hashing of the address of a cache line, linear probing (Knuth 6.4). Jobs that share a place
 * would make each other forgotten with every token; only when all places are taken the first gives way.
 */
static struct entry *entry_of(struct ahead *a, const uint8_t *job)
{
	uint32_t h = (uint32_t)((uintptr_t)job / LINE * 0x9e3779b97f4a7c15ull >> (64 - LOG_ENTRIES));

	for (uint32_t i = 0; i < PROBES; i++) {
		struct entry *e = &a->table[(h + i) % ENTRIES];

		if (e->job == job || !e->job)
			return e;
	}
	return &a->table[h];
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
	a->left = 0;
}

void npu_ahead_end(void)
{
	struct ahead *a = own;

	if (!a || !a->last || !a->last->next.n)
		return;
	a->now = a->last->next;
	a->stream = 0;
	a->line = 0;
	a->at = 0;
	a->left = NPU_AHEAD_BYTES;
}

/* NULL: no more. Without divisions: fetching is to be faster than memory. */
static const uint8_t *next_line(struct ahead *a)
{
	const uint8_t *p;

	if (!a->left)
		return NULL;
	a->left -= LINE;
	p = a->now.p[a->stream] + a->at + a->line;
	a->line += LINE;
	if (a->line < PIECE)
		return p;
	a->line = 0;
	if (++a->stream == a->now.n) {
		a->stream = 0;
		a->at += PIECE;
	}
	return p;
}

const void *npu_ahead_next(void)
{
	return own ? next_line(own) : NULL;
}

bool npu_ahead_fetch(void)
{
	struct ahead *a = own;
	const uint8_t *p;

	if (!a || !a->left)
		return false;
	for (unsigned int i = 0; i < NPU_AHEAD_LINES && (p = next_line(a)); i++)
		__builtin_prefetch(p, 0, 2);
	return true;
}
