// SPDX-License-Identifier: MIT
/*
 * Fused attention: how the work is cut. A piece is a run of queries of one
 * group, so that a tile of keys and values is widened once for all of them.
 */
#include "ahead.h"
#include "attn_impl.h"

#define GRAIN_MACS	(32u << 10)	/* work that is worth dealing out: some 4 us */
#define EVEN_MACS	(1u << 20)	/* work that is cut evenly: dealing it costs more than it can balance */

struct attn_job {
	const struct npu_attn *at;
	const struct npu_attn_kernel *kernel;
	uint64_t queries;	/* per group */
	uint64_t runs;		/* per group */
	uint32_t most;		/* queries per run */
	uint8_t *mem;
	size_t mem_bytes;	/* per worker */
};

static const struct npu_attn_kernel *kernel_of(enum npu_path path)
{
	switch (path) {
#if defined(__x86_64__)
	case NPU_PATH_AVX512:
		return &npu_attn_avx512;
	case NPU_PATH_AVX2:
		return &npu_attn_avx2;
#elif defined(__aarch64__)
	case NPU_PATH_NEON:
		return &npu_attn_neon;
#endif
	default:
		return &npu_attn_ref;
	}
}

/* Returns bytes of scratch. */
static size_t plan(struct attn_job *j, const struct npu_attn *at, const struct npu_pool *pool, enum npu_path path)
{
	uint32_t threads = npu_pool_threads(pool);

	j->at = at;
	j->kernel = kernel_of(path);
	j->queries = (uint64_t)at->m * (at->heads / at->groups);
	j->most = j->kernel->most;
	if (j->queries < j->most)
		j->most = (uint32_t)j->queries;
	/* Fewer groups than threads: cut them, as long as widening stays the lesser part. */
	while (j->most >= 16 && (j->queries + j->most - 1) / j->most * at->groups < threads)
		j->most = (j->most + 1) / 2;
	j->runs = (j->queries + j->most - 1) / j->most;
	j->mem_bytes = (j->kernel->mem_bytes(at, j->most) + 63) & ~(size_t)63;
	return j->mem_bytes * threads;
}

/* Keys and values of a thread's first query come from memory, like the weights around them; the others are fetched in time. */
static void remember(const struct npu_attn *at, uint32_t group, uint64_t query)
{
	struct npu_attn_query q = npu_attn_query(at, group, query);
	uint64_t rows = q.end - q.begin < NPU_ATTN_TILE ? q.end - q.begin : NPU_ATTN_TILE;

	if (at->k.p)
		npu_ahead_vector(at->k.p + npu_attn_key(at, group, q.begin), rows * at->k_pos);
	if (at->v.p)
		npu_ahead_vector(at->v.p + npu_attn_value(at, group, q.begin), rows * at->v_pos);
}

static void run_pieces(void *arg, uint64_t begin, uint64_t end, unsigned int worker)
{
	struct attn_job *j = arg;

	remember(j->at, (uint32_t)(begin / j->runs), begin % j->runs * j->most);
	for (uint64_t i = begin; i < end; i++) {
		uint64_t first = i % j->runs * j->most;
		uint64_t left = j->queries - first, next = i + 1 < end ? i + 1 : i;

		j->kernel->run(j->at, (uint32_t)(i / j->runs), first, left < j->most ? (uint32_t)left : j->most,
			       (uint32_t)(next / j->runs), j->mem + worker * j->mem_bytes);
	}
}

size_t npu_attn_scratch(const struct npu_attn *at, const struct npu_pool *pool, enum npu_path path)
{
	struct attn_job j;

	return plan(&j, at, pool, path);
}

void npu_attn_run(const struct npu_attn *at, struct npu_pool *pool, enum npu_path path, void *scratch)
{
	struct attn_job j;
	uint64_t seen, macs, pieces, grain, even;

	plan(&j, at, pool, path);
	j.mem = scratch;
	seen = npu_attn_query(at, 0, j.queries - 1).end - npu_attn_query(at, 0, 0).begin;
	macs = (seen + 1) * j.most * ((uint64_t)at->d + at->dv);
	pieces = j.runs * at->groups;
	grain = GRAIN_MACS / (macs + 1) + 1;
	even = (pieces - 1) / npu_pool_threads(pool) + 1;
	if (grain < even && macs * pieces <= EVEN_MACS)
		grain = even;
	npu_pool_for(pool, pieces, grain, run_pieces, &j);
}
