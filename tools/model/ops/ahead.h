/* SPDX-License-Identifier: MIT */
/*
 * ahead.h - what a thread reads next.
 *
 * A command stream is replayed token by token: after one matrix a thread reads the same one as
 * the last time. Threads that look ahead remember which, and while they wait for work or for
 * others they have its beginning fetched into their own second-level cache. What they remember
 * is theirs alone, may be out of date, and is only ever given to prefetch instructions, which
 * cannot fault.
 */
#ifndef NPU_MODEL_OPS_AHEAD_H
#define NPU_MODEL_OPS_AHEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NPU_AHEAD_STREAMS	8u
#define NPU_AHEAD_BYTES		(256u << 10)	/* of a job, at most: a second-level cache holds more */
#define NPU_AHEAD_LINES		12u		/* per npu_ahead_fetch() */
#define NPU_AHEAD_VECTORS	4u		/* between two jobs */
#define NPU_AHEAD_VECTOR_BYTES	(8u << 10)	/* of each, at most: then a CPU's own prefetchers have found it */

/* Where a job begins to read: its streams advance side by side. p[0] names the job. */
struct npu_streams {
	const uint8_t *p[NPU_AHEAD_STREAMS];
	uint32_t n;
};

/*
 * The calling thread looks ahead from here on, until it leaves. Without memory for it, or in a
 * thread that has not entered, the functions below do nothing.
 */
void npu_ahead_enter(void);
void npu_ahead_leave(void);

/* The thread begins a job that reads @s, 1 to NPU_AHEAD_STREAMS streams; and has ended it. */
void npu_ahead_begin(const struct npu_streams *s);
void npu_ahead_end(void);

/*
 * Between two jobs the thread reads @bytes of a constant at @p: next time it is fetched when the job before has ended.
 * What others have just written is not worth that; a constant comes from memory.
 */
void npu_ahead_vector(const void *p, size_t bytes);

/* Are there vectors to be fetched? They are read before the job is. */
bool npu_ahead_vectors_left(void);

/* The next address to be fetched, of what follows the job that ended last, vectors first; NULL: no more, or not known. */
const void *npu_ahead_next(void);

/*
 * Fetch some lines. False: there was nothing left. A CPU drops prefetches that it has no room for,
 * so pause between calls; as many as this arrive at some 20 GB/s if that takes 25 ns.
 */
bool npu_ahead_fetch(void);

/* A pause of some 25 ns. */
static inline void npu_relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

#endif /* NPU_MODEL_OPS_AHEAD_H */
