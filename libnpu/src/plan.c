// SPDX-License-Identifier: MIT
/*
 * Places of intermediate results: two results share memory when they are never alive
 * at once. Small graphs try largest-first placement too and keep the better plan.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "graph.h"
#include "ranges.h"

#define THOROUGH 2048u	/* results up to which the quadratic planner is tried */

static uint64_t round_up(uint64_t bytes)
{
	return (bytes + GRAPH_ALIGN - 1) & ~(uint64_t)(GRAPH_ALIGN - 1);
}

/* ---- Lifetimes ------------------------------------------------------------------------ */

static void touch(struct npu_graph *g, struct storage *st, uint32_t at)
{
	if (st->first == UINT32_MAX)
		st->first = at;
	if (at > st->last)
		st->last = at;
	(void)g;
}

static void lifetimes(struct npu_graph *g)
{
	for (struct storage *st = g->storages; st; st = st->next) {
		st->first = UINT32_MAX;
		st->last = 0;
	}
	for (uint32_t i = 0; i < g->nnodes; i++) {
		struct node *n = g->nodes[i];

		if (n->kind == NODE_LOOP_BEGIN)
			g->blocks[n->block].begin = i;
		if (n->kind == NODE_LOOP_END)
			g->blocks[n->block].end = i;
		for (unsigned int k = 0; k < PACKET_OPERANDS; k++)
			if (n->opnd[k])
				touch(g, n->opnd[k]->st, i);
		for (unsigned int k = 0; k < GRAPH_AUX; k++)
			if (n->aux[k])
				touch(g, n->aux[k]->st, i);
	}
	for (struct storage *st = g->storages; st; st = st->next)
		if (st->hold && st->first != UINT32_MAX && g->blocks[st->hold].end > st->last)
			st->last = g->blocks[st->hold].end;
}

/* ---- First fit in the order of time ------------------------------------------------------- */

static int by_first(const void *a, const void *b)
{
	const struct storage *x = *(struct storage *const *)a, *y = *(struct storage *const *)b;

	if (x->first != y->first)
		return x->first < y->first ? -1 : 1;
	return x->bytes > y->bytes ? -1 : x->bytes < y->bytes;
}

/* Heap of storages by the end of their life. */
static void heap_push(struct storage **heap, uint32_t *n, struct storage *st)
{
	uint32_t i = (*n)++;

	while (i && heap[(i - 1) / 2]->last > st->last) {
		heap[i] = heap[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	heap[i] = st;
}

static struct storage *heap_pop(struct storage **heap, uint32_t *n)
{
	struct storage *top = heap[0], *st = heap[--*n];
	uint32_t i = 0;

	for (;;) {
		uint32_t k = 2 * i + 1;

		if (k >= *n)
			break;
		if (k + 1 < *n && heap[k + 1]->last < heap[k]->last)
			k++;
		if (heap[k]->last >= st->last)
			break;
		heap[i] = heap[k];
		i = k;
	}
	heap[i] = st;
	return top;
}

static int plan_in_time(struct npu_graph *g, struct storage **list, struct storage **heap, uint32_t count,
			struct memory_plan *plan)
{
	struct npu_ranges space;
	uint64_t live = 0;
	uint32_t alive = 0;
	int err = npu_ranges_init(&space, g->dev, 0, 1ull << 62);

	for (uint32_t i = 0; i < count && !err; i++) {
		struct storage *st = list[i];
		uint64_t bytes = round_up(st->bytes);

		while (alive && heap[0]->last < st->first) {
			struct storage *gone = heap_pop(heap, &alive);

			npu_ranges_put(&space, gone->place, round_up(gone->bytes));
			live -= round_up(gone->bytes);
		}
		err = npu_ranges_get(&space, bytes, GRAPH_ALIGN, &st->place);
		if (err)
			break;
		heap_push(heap, &alive, st);
		live += bytes;
		if (live > plan->lower_bound)
			plan->lower_bound = live;
		if (st->place + bytes > plan->bytes)
			plan->bytes = st->place + bytes;
	}
	npu_ranges_fini(&space);
	return err;
}

/* ---- Largest first ------------------------------------------------------------------------- */

static int by_size(const void *a, const void *b)
{
	const struct storage *x = *(struct storage *const *)a, *y = *(struct storage *const *)b;

	if (x->bytes != y->bytes)
		return x->bytes > y->bytes ? -1 : 1;
	return x->first < y->first ? -1 : x->first > y->first;
}

/* @placed is sorted by place; @at receives the lowest hole among those that live at the same time. */
static uint64_t lowest_hole(struct storage **placed, const uint64_t *place, uint32_t n, const struct storage *st,
			    uint64_t bytes)
{
	uint64_t at = 0;

	for (uint32_t i = 0; i < n; i++) {
		if (placed[i]->last < st->first || placed[i]->first > st->last)
			continue;
		if (place[i] >= at + bytes)
			break;
		if (place[i] + round_up(placed[i]->bytes) > at)
			at = place[i] + round_up(placed[i]->bytes);
	}
	return at;
}

static uint64_t plan_by_size(struct storage **list, struct storage **placed, uint64_t *place, uint32_t count)
{
	uint64_t peak = 0;

	for (uint32_t i = 0; i < count; i++) {
		uint64_t bytes = round_up(list[i]->bytes);
		uint64_t at = lowest_hole(placed, place, i, list[i], bytes);
		uint32_t k = i;

		for (; k && place[k - 1] > at; k--) {
			place[k] = place[k - 1];
			placed[k] = placed[k - 1];
		}
		place[k] = at;
		placed[k] = list[i];
		if (at + bytes > peak)
			peak = at + bytes;
	}
	return peak;
}

/* ---- The whole --------------------------------------------------------------------------------- */

int graph_plan(struct npu_graph *g, struct memory_plan *plan)
{
	struct storage **list, **other;
	uint64_t *place, io = 0;
	uint32_t count = 0, all = 0;
	int err;

	memset(plan, 0, sizeof(*plan));
	lifetimes(g);
	for (struct storage *st = g->storages; st; st = st->next)
		all++;
	list = npu_alloc(g->dev, (all + 1) * (2 * sizeof(*list) + sizeof(*place)));
	if (!list)
		return graph_fail(g, -ENOMEM, "no memory to plan the graph");
	other = list + all + 1;
	place = (uint64_t *)(other + all + 1);
	for (struct storage *st = g->storages; st; st = st->next) {
		if (st->kind == STORAGE_IO) {
			st->place = io;
			io += round_up(st->bytes);
		} else if (st->kind == STORAGE_ARENA && st->first != UINT32_MAX) {
			list[count++] = st;
		}
	}
	qsort(list, count, sizeof(*list), by_first);
	err = plan_in_time(g, list, other, count, plan);
	if (!err && count <= THOROUGH && plan->bytes > plan->lower_bound) {
		qsort(list, count, sizeof(*list), by_size);
		if (plan_by_size(list, other, place, count) < plan->bytes) {
			plan->bytes = 0;
			for (uint32_t i = 0; i < count; i++) {
				other[i]->place = place[i];
				if (place[i] + round_up(other[i]->bytes) > plan->bytes)
					plan->bytes = place[i] + round_up(other[i]->bytes);
			}
		}
	}
	npu_free(g->dev, list);
	return err ? graph_fail(g, err, "no memory to plan the graph") : 0;
}
