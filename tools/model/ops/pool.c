// SPDX-License-Identifier: MIT
/*
 * Worker threads for data-parallel loops.
 *
 * A loop is a struct on its caller's stack. Each worker has a mailbox, alone in its cache line:
 * 0, a loop that a caller offers and the worker's first piece of it, the same with TAKEN set while
 * the worker runs pieces, or STOP. A caller offers its loop to workers whose mailbox is empty, runs
 * pieces itself, and then takes each offer back, with the piece that goes with it, or waits until
 * the worker has emptied its mailbox. Between two CPUs that is one cache line there and one back,
 * which is what a short loop costs most of; only where there are more pieces than threads are
 * they counted, in a line that all change. pool->lock is for sleeping only.
 *
 * Whoever is about to sleep says so (asleep, waiting), then looks once more at the mailbox; whoever
 * changes the mailbox does so first and then looks for sleepers. All four are sequentially
 * consistent, so one of the two sees the other.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ahead.h"
#include "fpenv.h"
#include "pieces.h"
#include "pool.h"

#define LINE	64u
#define FRAMES	1536u	/* bytes of the caller's stack where a loop and what it works on mostly lie */

/* A mailbox: the address of a loop, and in the bits below it these. */
#define TAKEN	((uintptr_t)1)
#define STOP	((uintptr_t)2)
#define PIECE	((uintptr_t)4)	/* times the number of the first piece, below NPU_POOL_MAX_THREADS */
#define LOOP	(PIECE * NPU_POOL_MAX_THREADS)

struct loop {
	_Alignas(LOOP) npu_pool_fn fn;
	void *arg;
	uint64_t n, grain, pieces;
	uint64_t given;			/* to the threads, one each; the others are dealt */
	_Alignas(LINE) atomic_uint_fast64_t piece;	/* next to be dealt */
};

struct worker {
	_Alignas(LINE) atomic_uintptr_t box;
	atomic_bool asleep;		/* or about to be */
	_Alignas(LINE) struct npu_pool *pool;
	pthread_t thread;
	pthread_cond_t wake;		/* the mailbox is full */
	unsigned int index;		/* 1..T-1; 0 is the caller */
};

struct npu_pool {
	pthread_mutex_t lock;
	pthread_cond_t done;		/* a worker has emptied its mailbox */
	atomic_uint waiting;		/* callers blocked on @done, or about to be */
	unsigned int threads;
	uint64_t spin_ns;
	struct npu_pool_options opt;
	struct worker workers[];
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/*
 * Look ahead, then spin, until @box is no longer @value; returns what it was last. The spinning is for the
 * configured time.
 */
static uintptr_t spin_while(const struct npu_pool *pool, atomic_uintptr_t *box, uintptr_t value)
{
	uint64_t until;
	uintptr_t v;

	do {
		v = atomic_load_explicit(box, memory_order_acquire);
		if (v != value)
			return v;
		npu_relax();
	} while (npu_ahead_fetch());
	until = now_ns() + pool->spin_ns;
	do {
		for (unsigned int i = 0; i < 32; i++) {
			v = atomic_load_explicit(box, memory_order_acquire);
			if (v != value)
				return v;
			npu_relax();
		}
	} while (now_ns() < until);
	return v;
}

static void run_piece(const struct loop *l, uint64_t piece, unsigned int worker)
{
	uint64_t begin = piece * l->grain;

	l->fn(l->arg, begin, l->n - begin < l->grain ? l->n : begin + l->grain, worker);
}

/* What is left to be dealt. */
static void run_dealt(struct loop *l, unsigned int worker)
{
	uint64_t piece;

	if (l->given == l->pieces)
		return;
	while ((piece = atomic_fetch_add_explicit(&l->piece, 1, memory_order_relaxed)) < l->pieces)
		run_piece(l, piece, worker);
}

/* ---- Workers ------------------------------------------------------------------------- */

static uintptr_t sleep_for_offer(struct worker *w)
{
	struct npu_pool *pool = w->pool;
	uintptr_t v;

	pthread_mutex_lock(&pool->lock);
	atomic_store(&w->asleep, true);
	for (v = atomic_load(&w->box); !v; v = atomic_load(&w->box))
		pthread_cond_wait(&w->wake, &pool->lock);
	atomic_store(&w->asleep, false);
	pthread_mutex_unlock(&pool->lock);
	return v;
}

/* What is in the mailbox next, and now taken; or STOP. */
static uintptr_t take_offer(struct worker *w)
{
	uintptr_t v;

	do {
		v = spin_while(w->pool, &w->box, 0);
		if (!v)
			v = sleep_for_offer(w);
		if (v == STOP)
			return STOP;
		/* What the loop leads to is on its way at once, not line by line as pointers are followed. */
		npu_prefetch((const void *)(v & -LOOP), FRAMES);
	} while (!atomic_compare_exchange_strong(&w->box, &v, v | TAKEN));
	return v;
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	struct npu_pool *pool = w->pool;
	uintptr_t v;

	(void)npu_fpenv_enter();
	npu_ahead_enter();
	if (pool->opt.thread_enter)
		pool->opt.thread_enter(pool->opt.arg);
	while ((v = take_offer(w)) != STOP) {
		struct loop *l = (struct loop *)(v & -LOOP);

		run_piece(l, v % LOOP / PIECE, w->index);
		run_dealt(l, w->index);
		/* From here on the loop may be gone. */
		atomic_store(&w->box, 0);
		if (atomic_load(&pool->waiting)) {
			pthread_mutex_lock(&pool->lock);
			pthread_cond_broadcast(&pool->done);
			pthread_mutex_unlock(&pool->lock);
		}
	}
	if (pool->opt.thread_exit)
		pool->opt.thread_exit(pool->opt.arg);
	npu_ahead_leave();
	return NULL;
}

static void wake(struct npu_pool *pool, struct worker *w)
{
	if (!atomic_load(&w->asleep))
		return;
	pthread_mutex_lock(&pool->lock);
	pthread_cond_signal(&w->wake);
	pthread_mutex_unlock(&pool->lock);
}

/* ---- Callers ------------------------------------------------------------------------- */

/* False: it is another loop's. */
static bool offer(struct npu_pool *pool, struct worker *w, uintptr_t v)
{
	uintptr_t empty = 0;

	if (atomic_load_explicit(&w->box, memory_order_relaxed) ||
	    !atomic_compare_exchange_strong(&w->box, &empty, v))
		return false;
	wake(pool, w);
	return true;
}

/*
 * Until @w, which @v was offered to, has nothing to do with it: briefly by spinning, then blocked. False: it never had,
 * and its piece is the caller's.
 */
static bool retire(struct npu_pool *pool, struct worker *w, uintptr_t v)
{
	uintptr_t taken = v | TAKEN;

	if (atomic_load_explicit(&w->box, memory_order_relaxed) == v && atomic_compare_exchange_strong(&w->box, &v, 0))
		return false;
	if (spin_while(pool, &w->box, taken) != taken)
		return true;
	pthread_mutex_lock(&pool->lock);
	atomic_fetch_add(&pool->waiting, 1);
	while (atomic_load(&w->box) == taken)
		pthread_cond_wait(&pool->done, &pool->lock);
	atomic_fetch_sub(&pool->waiting, 1);
	pthread_mutex_unlock(&pool->lock);
	return true;
}

/* Offers pieces from 1 on, one to each worker that is free. Returns a bit per such worker; *@next: the piece after them. */
static uint64_t offer_pieces(struct npu_pool *pool, struct loop *l, uint64_t *next)
{
	uint64_t offered = 0;

	*next = 1;
	for (unsigned int i = 0; i < pool->threads - 1 && *next < l->given; i++)
		if (offer(pool, &pool->workers[i], (uintptr_t)l | *next * PIECE)) {
			offered |= 1ull << i;
			++*next;
		}
	return offered;
}

void npu_pool_for(struct npu_pool *pool, uint64_t n, uint64_t grain, npu_pool_fn fn, void *arg)
{
	struct loop l = { .fn = fn, .arg = arg, .n = n, .grain = grain ? grain : 1 };
	uint64_t offered, next;

	if (!n)
		return;
	if (!pool || pool->threads == 1 || n <= l.grain) {
		for (uint64_t at = 0; at < n; at += l.grain)
			fn(arg, at, n - at < l.grain ? n : at + l.grain, 0);
		return;
	}
	l.pieces = (n - 1) / l.grain + 1;
	l.given = l.pieces < pool->threads ? l.pieces : pool->threads;
	atomic_init(&l.piece, l.given);
	offered = offer_pieces(pool, &l, &next);
	run_piece(&l, 0, 0);
	for (; next < l.given; next++)
		run_piece(&l, next, 0);
	run_dealt(&l, 0);
	for (next = 1; offered; offered &= offered - 1, next++)
		if (!retire(pool, &pool->workers[__builtin_ctzll(offered)], (uintptr_t)&l | next * PIECE))
			run_piece(&l, next, 0);
}

unsigned int npu_pool_threads(const struct npu_pool *pool)
{
	return pool ? pool->threads : 1;
}

static unsigned int cpus(void)
{
	cpu_set_t set;
	unsigned int n = 0;

	if (!sched_getaffinity(0, sizeof(set), &set))
		n = (unsigned int)CPU_COUNT(&set);
	if (n < 1)
		n = 1;
	return n > NPU_POOL_MAX_THREADS ? NPU_POOL_MAX_THREADS : n;
}

/* The first @started of them run. */
static void free_pool(struct npu_pool *pool, unsigned int started)
{
	for (unsigned int i = 0; i < started; i++) {
		struct worker *w = &pool->workers[i];

		atomic_store(&w->box, STOP);
		wake(pool, w);
		pthread_join(w->thread, NULL);
	}
	for (unsigned int i = 0; i < pool->threads - 1; i++)
		pthread_cond_destroy(&pool->workers[i].wake);
	pthread_cond_destroy(&pool->done);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}

static struct npu_pool *alloc_pool(const struct npu_pool_options *opt, unsigned int threads)
{
	size_t size = sizeof(struct npu_pool) + (threads - 1) * sizeof(struct worker);
	struct npu_pool *pool = aligned_alloc(LINE, (size + LINE - 1) / LINE * LINE);

	if (!pool)
		return NULL;
	memset(pool, 0, size);
	pool->opt = *opt;
	pool->threads = threads;
	pool->spin_ns = (uint64_t)(opt->spin_us ? opt->spin_us : NPU_POOL_SPIN_US) * 1000;
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->done, NULL);
	for (unsigned int i = 0; i < threads - 1; i++) {
		struct worker *w = &pool->workers[i];

		w->pool = pool;
		w->index = i + 1;
		pthread_cond_init(&w->wake, NULL);
	}
	return pool;
}

int npu_pool_create(const struct npu_pool_options *opt, struct npu_pool **out)
{
	unsigned int threads = opt->threads ? opt->threads : cpus();
	struct npu_pool *pool;

	if (threads > NPU_POOL_MAX_THREADS)
		return -EINVAL;
	pool = alloc_pool(opt, threads);
	if (!pool)
		return -ENOMEM;
	for (unsigned int i = 0; i < threads - 1; i++) {
		int err = pthread_create(&pool->workers[i].thread, NULL, worker_main, &pool->workers[i]);

		if (err) {
			free_pool(pool, i);
			return -err;
		}
	}
	*out = pool;
	return 0;
}

void npu_pool_destroy(struct npu_pool *pool)
{
	if (pool)
		free_pool(pool, pool->threads - 1);
}
