// SPDX-License-Identifier: MIT
/*
 * Scoreboard tokens. Each engine runs its commands in order, and packets are issued
 * in order; so a command needs to wait only for the last command of each other engine
 * that touches the same bytes, and what it waited for has retired for all that follow.
 * A command gets a token when the first other one needs to wait for it. Tokens of an engine
 * are used in turn; a wait for a token that was used again waits longer, never too short.
 * A command inside a skip that has ended may not have been issued: it stands for no older one.
 */
#include <errno.h>
#include <string.h>

#include "graph.h"
#include "stream.h"

#define ENGINES		3u
#define WINDOW		64u	/* commands of one engine that may be unretired as far as we know */

static const uint8_t token_first[ENGINES] = { 0, 12, 23 }, token_count[ENGINES] = { 12, 11, 9 };

struct record {
	uint32_t offset;	/* of the packet */
	int8_t token;
	bool maybe;		/* in a skip that has ended */
	uint8_t n;
	struct access acc[MAX_ACCESSES];
};

struct lane {
	struct record ring[WINDOW];	/* record i is at i % WINDOW */
	uint32_t count;			/* added */
	uint32_t done;			/* records below have retired */
	uint32_t next_token;
};

struct track {
	struct npu_device *dev;
	struct lane lane[ENGINES];
	uint32_t waits;
};

struct track *track_new(struct npu_device *dev)
{
	struct track *t = npu_alloc(dev, sizeof(*t));

	if (t)
		t->dev = dev;
	return t;
}

void track_free(struct track *t)
{
	if (t)
		npu_free(t->dev, t);
}

/* Same rows apart, side by side in each row: no common byte. */
static bool side_by_side(const struct access *a, const struct access *b)
{
	uint64_t d;

	if (!a->pitch || a->pitch != b->pitch)
		return false;
	d = b->lo >= a->lo ? (b->lo - a->lo) % a->pitch : (a->pitch - (a->lo - b->lo) % a->pitch) % a->pitch;
	return d >= a->width && d + b->width <= a->pitch;
}

static bool conflict(const struct access *a, unsigned int na, const struct access *b, unsigned int nb)
{
	for (unsigned int i = 0; i < na; i++)
		for (unsigned int k = 0; k < nb; k++)
			if ((a[i].write || b[k].write) && a[i].lo < b[k].hi && b[k].lo < a[i].hi &&
			    !side_by_side(&a[i], &b[k]))
				return true;
	return false;
}

/* The token of record @r of an engine, made when it has none. */
static unsigned int token_of(struct lane *l, unsigned int engine, struct npu_stream *s, uint32_t r)
{
	struct record *rec = &l->ring[r % WINDOW];
	struct npu_cmd *cmd;

	if (rec->token < 0) {
		rec->token = (int8_t)(token_first[engine] + l->next_token++ % token_count[engine]);
		cmd = (struct npu_cmd *)(void *)(s->data + rec->offset);
		cmd->signal = (uint8_t)rec->token;
	}
	return (unsigned int)rec->token;
}

/* Returns whether all up to @r have retired then. */
static bool wait_for(struct track *t, struct npu_stream *s, unsigned int engine, uint32_t r, uint32_t *wait)
{
	struct lane *l = &t->lane[engine];
	unsigned int token = token_of(l, engine, s, r);

	if (!(*wait >> token & 1))
		t->waits++;
	*wait |= 1u << token;
	if (l->ring[r % WINDOW].maybe)
		return false;
	if (l->done <= r)
		l->done = r + 1;
	return true;
}

/* Keep the window: an old command must have retired before its record is forgotten. */
static void wait_window(struct track *t, struct npu_stream *s, unsigned int engine, uint32_t *wait)
{
	struct lane *l = &t->lane[engine];
	uint32_t end = l->count - WINDOW / 2;

	for (uint32_t r = end; r-- > l->done;)
		if (wait_for(t, s, engine, r, wait))
			break;
	l->done = end;
}

int track_wait(struct track *t, struct npu_stream *s, unsigned int engine, const struct access *acc, unsigned int n,
	       uint32_t *wait)
{
	*wait = 0;
	for (unsigned int e = 0; e < ENGINES; e++) {
		struct lane *l = &t->lane[e];

		if (e == engine)
			continue;
		for (uint32_t r = l->count; r-- > l->done;)
			if (conflict(acc, n, l->ring[r % WINDOW].acc, l->ring[r % WINDOW].n) &&
			    wait_for(t, s, e, r, wait))
				break;
	}
	if (engine < ENGINES && t->lane[engine].count - t->lane[engine].done >= WINDOW)
		wait_window(t, s, engine, wait);
	return 0;
}

int track_add(struct track *t, unsigned int engine, uint32_t offset, const struct access *acc, unsigned int n)
{
	struct lane *l = &t->lane[engine];
	struct record *rec = &l->ring[l->count % WINDOW];

	rec->offset = offset;
	rec->token = -1;
	rec->maybe = false;
	rec->n = (uint8_t)n;
	memcpy(rec->acc, acc, n * sizeof(*acc));
	l->count++;
	return 0;
}

void track_barrier(struct track *t)
{
	for (unsigned int e = 0; e < ENGINES; e++)
		t->lane[e].done = t->lane[e].count;
}

void track_save(const struct track *t, struct track_state *st)
{
	for (unsigned int e = 0; e < ENGINES; e++) {
		st->done[e] = t->lane[e].done;
		st->count[e] = t->lane[e].count;
	}
}

/*
 * Waits inside the skip may not have happened. Records that have left the ring
 * are only safe when they had retired before.
 */
bool track_restore(struct track *t, const struct track_state *st)
{
	for (unsigned int e = 0; e < ENGINES; e++)
		if (t->lane[e].count - st->done[e] > WINDOW)
			return false;
	for (unsigned int e = 0; e < ENGINES; e++) {
		t->lane[e].done = st->done[e];
		for (uint32_t r = st->count[e]; r < t->lane[e].count; r++)
			t->lane[e].ring[r % WINDOW].maybe = true;
	}
	return true;
}

uint32_t track_waits(const struct track *t)
{
	return t->waits;
}
