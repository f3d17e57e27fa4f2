// SPDX-License-Identifier: MIT
/* The worker pool: every index once, several callers at a time, nested use, callbacks, bad options. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "pool.h"

#define N	10000u

struct loop {
	atomic_uchar hits[N];
	uint64_t n, grain;
	unsigned int threads;
	atomic_uint bad;
	atomic_uchar busy[NPU_POOL_MAX_THREADS];	/* a worker number runs one piece at a time */
};

static void piece(void *arg, uint64_t begin, uint64_t end, unsigned int worker)
{
	struct loop *l = arg;

	if (begin % l->grain || end - begin > l->grain || begin >= end || end > l->n || worker >= l->threads ||
	    atomic_exchange(&l->busy[worker], 1))
		atomic_fetch_add(&l->bad, 1);
	for (uint64_t i = begin; i < end; i++)
		atomic_fetch_add(&l->hits[i], 1);
	atomic_store(&l->busy[worker], 0);
}

static void check(struct npu_pool *pool, uint64_t n, uint64_t grain)
{
	struct loop *l = calloc(1, sizeof(*l));

	l->n = n;
	l->grain = grain;
	l->threads = npu_pool_threads(pool);
	npu_pool_for(pool, n, grain, piece, l);
	for (uint64_t i = 0; i < N; i++)
		if (l->hits[i] != (i < n))
			atomic_fetch_add(&l->bad, 1);
	assert_int_equal(l->bad, 0);
	free(l);
}

static struct npu_pool *make(unsigned int threads)
{
	struct npu_pool_options opt = { .threads = threads };
	struct npu_pool *pool;

	assert_int_equal(npu_pool_create(&opt, &pool), 0);
	assert_int_equal(npu_pool_threads(pool), threads);
	return pool;
}

static void test_every_index_once(void **state)
{
	(void)state;
	for (unsigned int threads = 1; threads <= 5; threads++) {
		struct npu_pool *pool = make(threads);

		for (uint64_t n = 0; n <= N; n = n * 3 + 1)
			for (uint64_t grain = 1; grain < 5000; grain = grain * 7 + 2)
				check(pool, n, grain);
		npu_pool_destroy(pool);
	}
	check(NULL, N, 17);
}

static void *caller(void *pool)
{
	for (int i = 0; i < 200; i++)
		check(pool, 100 + (uint64_t)i, 3);
	return NULL;
}

static void test_several_callers(void **state)
{
	struct npu_pool *pool = make(3);
	pthread_t t[4];

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, caller, pool), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	npu_pool_destroy(pool);
}

/* Three pieces that wait for each other need three threads. */
static void meet(void *arg, uint64_t begin, uint64_t end, unsigned int worker)
{
	(void)begin;
	(void)end;
	(void)worker;
	pthread_barrier_wait(arg);
}

/* Workers that have gone to sleep come back, and a caller that has to wait long blocks and wakes. */
static void test_sleep_and_wake(void **state)
{
	struct npu_pool *pool = make(3);
	struct timespec ts = { .tv_nsec = 5000000 };
	pthread_barrier_t barrier;

	(void)state;
	pthread_barrier_init(&barrier, NULL, 3);
	for (int i = 0; i < 3; i++) {
		nanosleep(&ts, NULL);
		npu_pool_for(pool, 3, 1, meet, &barrier);
	}
	pthread_barrier_destroy(&barrier);
	npu_pool_destroy(pool);
}

struct hold {
	struct npu_pool *pool;
	atomic_uint held;
	atomic_bool go;
};

static void hold(void *arg, uint64_t begin, uint64_t end, unsigned int worker)
{
	struct hold *h = arg;

	(void)begin;
	(void)end;
	(void)worker;
	atomic_fetch_add(&h->held, 1);
	while (!atomic_load(&h->go))
		sched_yield();
}

static void *hold_all(void *arg)
{
	struct hold *h = arg;

	npu_pool_for(h->pool, 2, 1, hold, h);
	return NULL;
}

/* What a worker would be given that another loop has is the caller's. */
static void test_busy_worker(void **state)
{
	struct hold h = { .pool = make(2) };
	pthread_t t;

	(void)state;
	assert_int_equal(pthread_create(&t, NULL, hold_all, &h), 0);
	while (atomic_load(&h.held) < 2)
		sched_yield();
	check(h.pool, 2, 1);
	check(h.pool, 100, 3);
	atomic_store(&h.go, true);
	pthread_join(t, NULL);
	npu_pool_destroy(h.pool);
}

static void only_caller(void *arg, uint64_t begin, uint64_t end, unsigned int worker)
{
	(void)begin;
	(void)end;
	assert_int_equal(worker, 0);
	assert_true(pthread_equal(*(pthread_t *)arg, pthread_self()));
}

static void test_small_loops_stay_here(void **state)
{
	struct npu_pool *pool = make(4);
	pthread_t self = pthread_self();

	(void)state;
	for (int i = 0; i < 1000; i++)
		npu_pool_for(pool, 64, 64, only_caller, &self);
	npu_pool_destroy(pool);
}

static atomic_uint entered, left;

static void enter(void *arg)
{
	assert_ptr_equal(arg, &entered);
	atomic_fetch_add(&entered, 1);
}

static void leave(void *arg)
{
	assert_ptr_equal(arg, &entered);
	atomic_fetch_add(&left, 1);
}

static void test_callbacks(void **state)
{
	struct npu_pool_options opt = { .threads = 4, .thread_enter = enter, .thread_exit = leave, .arg = &entered };
	struct npu_pool *pool;

	(void)state;
	assert_int_equal(npu_pool_create(&opt, &pool), 0);
	npu_pool_destroy(pool);
	assert_int_equal(entered, 3);
	assert_int_equal(left, 3);
}

static void test_options(void **state)
{
	struct npu_pool_options opt = { .threads = NPU_POOL_MAX_THREADS + 1 };
	struct npu_pool *pool;

	(void)state;
	assert_int_equal(npu_pool_create(&opt, &pool), -EINVAL);
	opt.threads = 0;
	assert_int_equal(npu_pool_create(&opt, &pool), 0);
	assert_in_range(npu_pool_threads(pool), 1, NPU_POOL_MAX_THREADS);
	npu_pool_destroy(pool);
	npu_pool_destroy(NULL);
}

/* An idle pool uses no processor time once its workers have stopped spinning. */
static void test_idle(void **state)
{
	struct npu_pool *pool = make(4);
	struct timespec a, b, ts = { .tv_nsec = 100000000 };

	(void)state;
	check(pool, 1000, 1);
	nanosleep(&ts, NULL);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
	nanosleep(&ts, NULL);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
	assert_true((b.tv_sec - a.tv_sec) * 1000000000 + (b.tv_nsec - a.tv_nsec) < 20000000);
	npu_pool_destroy(pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_index_once),
		cmocka_unit_test(test_several_callers),
		cmocka_unit_test(test_sleep_and_wake),
		cmocka_unit_test(test_busy_worker),
		cmocka_unit_test(test_small_loops_stay_here),
		cmocka_unit_test(test_callbacks),
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_idle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
