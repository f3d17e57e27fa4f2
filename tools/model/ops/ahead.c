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

struct vector {
	const uint8_t *p;
	uint32_t bytes;
};

struct entry {
	const uint8_t *job;
	struct npu_streams next;
	struct vector vector[NPU_AHEAD_VECTORS];	/* which are read before that, in this order */
};

struct ahead {
	struct npu_streams now;		/* what is being fetched */
	uint32_t stream, line;		/* next: of its streams, and bytes into a piece of it */
	uint32_t at;			/* where in each stream that piece is */
	uint32_t left;			/* bytes to go */
	struct vector vector[NPU_AHEAD_VECTORS];
	uint32_t vectors, fetched;	/* of them those to go, and of the first one what has been fetched */
	uint32_t used;			/* vectors since the last job */
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
	if (a->last && a->used < NPU_AHEAD_VECTORS)
		a->last->vector[a->used].p = NULL;
	a->last = entry_of(a, s->p[0]);
	if (a->last->job != s->p[0])
		*a->last = (struct entry){ .job = s->p[0] };
	a->left = 0;
	a->vectors = 0;
	a->used = 0;
}

void npu_ahead_vector(const void *p, size_t bytes)
{
	struct ahead *a = own;

	if (!a || !a->last || a->used == NPU_AHEAD_VECTORS)
		return;
	if (bytes > NPU_AHEAD_VECTOR_BYTES)
		bytes = NPU_AHEAD_VECTOR_BYTES;
	a->last->vector[a->used++] = (struct vector){ p, (uint32_t)bytes };
}

static void vectors_ahead(struct ahead *a)
{
	memcpy(a->vector, a->last->vector, sizeof(a->vector));
	a->vectors = 0;
	while (a->vectors < NPU_AHEAD_VECTORS && a->vector[a->vectors].p)
		a->vectors++;
	a->fetched = 0;
}

void npu_ahead_end(void)
{
	struct ahead *a = own;

	if (!a || !a->last || !a->last->next.n)
		return;
	vectors_ahead(a);
	a->now = a->last->next;
	a->stream = 0;
	a->line = 0;
	a->at = 0;
	a->left = NPU_AHEAD_BYTES;
}

static const uint8_t *next_vector_line(struct ahead *a)
{
	const struct vector *v = &a->vector[0];
	const uint8_t *p = v->p + a->fetched;

	a->fetched += LINE;
	if (a->fetched >= v->bytes) {
		a->fetched = 0;
		memmove(&a->vector[0], &a->vector[1], --a->vectors * sizeof(a->vector[0]));
	}
	return p;
}

/* NULL: no more. Without divisions: fetching is to be faster than memory. */
static const uint8_t *next_line(struct ahead *a)
{
	const uint8_t *p;

	if (a->vectors)
		return next_vector_line(a);
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

bool npu_ahead_vectors_left(void)
{
	return own && own->vectors;
}

const void *npu_ahead_next(void)
{
	return own ? next_line(own) : NULL;
}

bool npu_ahead_fetch(void)
{
	struct ahead *a = own;
	const uint8_t *p;

	if (!a || !(a->left || a->vectors))
		return false;
	for (unsigned int i = 0; i < NPU_AHEAD_LINES && (p = next_line(a)); i++)
		__builtin_prefetch(p, 0, 2);
	return true;
}
