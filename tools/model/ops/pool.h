/* SPDX-License-Identifier: MIT */
/*
 * pool.h - worker threads for data-parallel loops.
 *
 * A pool of T threads is T - 1 workers and whoever calls npu_pool_for(). Any
 * number of threads may call it at the same time; a loop gets the workers that
 * have nothing to do when it begins. Workers that ran out of work look ahead
 * (ahead.h), spin for a short while and then block, so that an idle pool costs
 * nothing.
 */
#ifndef NPU_MODEL_OPS_POOL_H
#define NPU_MODEL_OPS_POOL_H

#include <stdint.h>

#define NPU_POOL_MAX_THREADS	64u
#define NPU_POOL_SPIN_US	20u

struct npu_pool;

struct npu_pool_options {
	unsigned int threads;	/* T, 1..64; 0: as many as the CPUs this process may use */
	unsigned int spin_us;	/* 0: NPU_POOL_SPIN_US */
	/* Optional: called first and last in each worker thread. */
	void (*thread_enter)(void *arg);
	void (*thread_exit)(void *arg);
	void *arg;
};

/* 0, -EINVAL, -ENOMEM or -EAGAIN (no thread to be had). One thread: no worker, everything runs in the caller. */
int npu_pool_create(const struct npu_pool_options *opt, struct npu_pool **out);

/* No loop may be running. NULL is allowed. */
void npu_pool_destroy(struct npu_pool *pool);

/* T; 1 for NULL. */
unsigned int npu_pool_threads(const struct npu_pool *pool);

/*
 * A piece [begin, end) of a loop. @worker is below npu_pool_threads() and
 * differs between pieces that run at the same time in one loop.
 */
typedef void (*npu_pool_fn)(void *arg, uint64_t begin, uint64_t end, unsigned int worker);

/*
 * Call @fn for all of [0, n) in pieces of at most @grain, which begin at
 * multiples of it. Returns when all have returned. If one piece is all
 * there is, or @pool is NULL or has one thread, the caller does everything and
 * wakes nobody.
 */
void npu_pool_for(struct npu_pool *pool, uint64_t n, uint64_t grain, npu_pool_fn fn, void *arg);

#endif /* NPU_MODEL_OPS_POOL_H */
