/* SPDX-License-Identifier: MIT */
/* peaks.h - what this machine can do: the limits that benchmarks are measured against. */
#ifndef TESTS_BENCH_PEAKS_H
#define TESTS_BENCH_PEAKS_H

#include <stddef.h>

#include "pool.h"

/* Bytes per second when all threads of @pool read @size bytes at @buf, in one or in four streams each: the better. */
double peak_read(struct npu_pool *pool, const void *buf, size_t size);

/*
 * Operations per second (a multiply-accumulate is two) of all threads for
 * about @seconds, in registers: int8 dot products into int32 (VNNI if the CPU has
 * it, else the AVX2 sequence), and F32 fused multiply-adds.
 */
double peak_int8(struct npu_pool *pool, double seconds);
double peak_fp32(struct npu_pool *pool, double seconds);

/*
 * Seconds until a line that one thread has written has reached another: what tells whether their CPUs share a cache.
 * Below zero: there is no second thread.
 */
double peak_transfer(void);

double now(void);	/* seconds */

#endif /* TESTS_BENCH_PEAKS_H */
