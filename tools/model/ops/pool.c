// SPDX-License-Identifier: MIT
/*
 * Worker threads for data-parallel loops.
 *
 * A loop is a struct on its caller's stack, linked into pool->loops while it
 * has pieces left. pool->lock protects the list, loop->users and blocking;
 * pieces are dealt by an atomic counter without it. A worker that holds a
 * reference (users) may still run a piece after the loop left the list; the
 * caller waits for users == 0 before its frame goes away.
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
#include <time.h>
#include <unistd.h>

#include "fpenv.h"
#include "pool.h"

struct loop {
	struct loop *next;		/* protected by pool->lock */
	bool linked;			/* protected by pool->lock */
	atomic_uint users;		/* workers that may touch this loop; raised under the lock */
	npu_pool_fn fn;
	void *arg;
	uint64_t n, grain, pieces;
	atomic_uint_fast64_t piece;	/* next to be dealt */
};

struct worker {
	struct npu_pool *pool;
	pthread_t thread;
	unsigned int index;		/* 1..T-1; 0 is the caller */
};

struct npu_pool {
	pthread_mutex_t lock;
	pthread_cond_t work;		/* a loop was posted, or stop */
	pthread_cond_t done;		/* the last user of a loop left it */
	struct loop *loops;		/* those with pieces left, oldest first */
	atomic_uint posted;		/* changes whenever a loop is posted, or stop */
	unsigned int sleepers;		/* workers blocked on @work */
	unsigned int waiters;		/* callers blocked on @done */
	bool stop;
	unsigned int threads;
	uint64_t spin_ns;
	struct npu_pool_options opt;
	struct worker workers[];
};

static inline void relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static bool run_piece(struct loop *l, unsigned int worker)
{
	uint64_t p = atomic_fetch_add_explicit(&l->piece, 1, memory_order_relaxed);
	uint64_t begin, end;

	if (p >= l->pieces)
		return false;
	begin = p * l->grain;
	end = l->n - begin < l->grain ? l->n : begin + l->grain;
	l->fn(l->arg, begin, end, worker);
	return true;
}

/* Called with the lock held. */
static void unlink_loop(struct npu_pool *pool, struct loop *l)
{
	struct loop **at = &pool->loops;

	if (!l->linked)
		return;
	while (*at != l)
		at = &(*at)->next;
	*at = l->next;
	l->linked = false;
}

/* Take part in the oldest loop; called with the lock held, returns with it held. */
static void help(struct npu_pool *pool, struct worker *w)
{
	struct loop *l = pool->loops;

	atomic_fetch_add_explicit(&l->users, 1, memory_order_relaxed);
	pthread_mutex_unlock(&pool->lock);
	while (run_piece(l, w->index))
		;
	pthread_mutex_lock(&pool->lock);
	unlink_loop(pool, l);
	if (atomic_fetch_sub_explicit(&l->users, 1, memory_order_release) == 1 && pool->waiters)
		pthread_cond_broadcast(&pool->done);
}

/* Spin until @posted differs from @seen, for the configured time. */
static bool spin_for_work(struct npu_pool *pool, unsigned int seen)
{
	uint64_t until = now_ns() + pool->spin_ns;

	do {
		for (unsigned int i = 0; i < 32; i++) {
			if (atomic_load_explicit(&pool->posted, memory_order_acquire) != seen)
				return true;
			relax();
		}
	} while (now_ns() < until);
	return false;
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	struct npu_pool *pool = w->pool;

	(void)npu_fpenv_enter();
	if (pool->opt.thread_enter)
		pool->opt.thread_enter(pool->opt.arg);
	pthread_mutex_lock(&pool->lock);
	while (!pool->stop) {
		unsigned int seen = atomic_load_explicit(&pool->posted, memory_order_relaxed);

		if (pool->loops) {
			help(pool, w);
			continue;
		}
		pthread_mutex_unlock(&pool->lock);
		spin_for_work(pool, seen);
		pthread_mutex_lock(&pool->lock);
		while (!pool->stop && !pool->loops) {
			if (atomic_load_explicit(&pool->posted, memory_order_relaxed) != seen)
				break;
			pool->sleepers++;
			pthread_cond_wait(&pool->work, &pool->lock);
			pool->sleepers--;
		}
	}
	pthread_mutex_unlock(&pool->lock);
	if (pool->opt.thread_exit)
		pool->opt.thread_exit(pool->opt.arg);
	return NULL;
}

/* Called with the lock held: wake as many workers as there are pieces for. */
static void wake(struct npu_pool *pool, uint64_t pieces)
{
	if (pieces >= pool->sleepers) {
		if (pool->sleepers)
			pthread_cond_broadcast(&pool->work);
		return;
	}
	while (pieces--)
		pthread_cond_signal(&pool->work);
}

static void post(struct npu_pool *pool, struct loop *l)
{
	struct loop **at = &pool->loops;

	pthread_mutex_lock(&pool->lock);
	while (*at)
		at = &(*at)->next;
	*at = l;
	l->linked = true;
	atomic_fetch_add_explicit(&pool->posted, 1, memory_order_release);
	wake(pool, l->pieces - 1);
	pthread_mutex_unlock(&pool->lock);
}

/* Wait until no worker uses @l: briefly by spinning, then blocked. */
static void retire(struct npu_pool *pool, struct loop *l)
{
	uint64_t until;

	pthread_mutex_lock(&pool->lock);
	unlink_loop(pool, l);
	pthread_mutex_unlock(&pool->lock);

	until = now_ns() + pool->spin_ns;
	do {
		for (unsigned int i = 0; i < 32; i++) {
			if (!atomic_load_explicit(&l->users, memory_order_acquire))
				goto out;
			relax();
		}
	} while (now_ns() < until);
out:
	/* Always pass through the lock: the last user may still hold it. */
	pthread_mutex_lock(&pool->lock);
	pool->waiters++;
	while (atomic_load_explicit(&l->users, memory_order_acquire))
		pthread_cond_wait(&pool->done, &pool->lock);
	pool->waiters--;
	pthread_mutex_unlock(&pool->lock);
}

void npu_pool_for(struct npu_pool *pool, uint64_t n, uint64_t grain, npu_pool_fn fn, void *arg)
{
	struct loop l = { .fn = fn, .arg = arg, .n = n, .grain = grain ? grain : 1 };

	if (!n)
		return;
	if (!pool || pool->threads == 1 || n <= l.grain) {
		for (uint64_t at = 0; at < n; at += l.grain)
			fn(arg, at, n - at < l.grain ? n : at + l.grain, 0);
		return;
	}
	l.pieces = (n - 1) / l.grain + 1;
	post(pool, &l);
	while (run_piece(&l, 0))
		;
	retire(pool, &l);
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

static void stop_workers(struct npu_pool *pool, unsigned int started)
{
	pthread_mutex_lock(&pool->lock);
	pool->stop = true;
	atomic_fetch_add_explicit(&pool->posted, 1, memory_order_release);
	pthread_cond_broadcast(&pool->work);
	pthread_mutex_unlock(&pool->lock);
	for (unsigned int i = 0; i < started; i++)
		pthread_join(pool->workers[i].thread, NULL);
}

static void free_pool(struct npu_pool *pool)
{
	pthread_cond_destroy(&pool->done);
	pthread_cond_destroy(&pool->work);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}

int npu_pool_create(const struct npu_pool_options *opt, struct npu_pool **out)
{
	unsigned int threads = opt->threads ? opt->threads : cpus();
	struct npu_pool *pool;

	if (threads > NPU_POOL_MAX_THREADS)
		return -EINVAL;
	pool = calloc(1, sizeof(*pool) + (threads - 1) * sizeof(pool->workers[0]));
	if (!pool)
		return -ENOMEM;
	pool->opt = *opt;
	pool->threads = threads;
	pool->spin_ns = (uint64_t)(opt->spin_us ? opt->spin_us : NPU_POOL_SPIN_US) * 1000;
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->work, NULL);
	pthread_cond_init(&pool->done, NULL);

	for (unsigned int i = 0; i < threads - 1; i++) {
		struct worker *w = &pool->workers[i];
		int err;

		w->pool = pool;
		w->index = i + 1;
		err = pthread_create(&w->thread, NULL, worker_main, w);
		if (err) {
			stop_workers(pool, i);
			free_pool(pool);
			return -err;
		}
	}
	*out = pool;
	return 0;
}

void npu_pool_destroy(struct npu_pool *pool)
{
	if (!pool)
		return;
	stop_workers(pool, pool->threads - 1);
	free_pool(pool);
}
