/* SPDX-License-Identifier: MIT */
/* attn_impl.h - between attn.c and its kernels; nobody else includes it. */
#ifndef NPU_MODEL_OPS_ATTN_IMPL_H
#define NPU_MODEL_OPS_ATTN_IMPL_H

#include "attn.h"
#include "pool.h"
#include "quant.h"

#define NPU_ATTN_FIRST_MAX	(-(1 << 21))	/* M before the first tile */
#define NPU_ATTN_CLAMP		0x1p20f		/* of t */

/*
 * A query row of one head. Queries of a group, that is of all heads that share
 * keys and values, are numbered m * (heads / groups) + head within the group.
 */
struct npu_attn_query {
	uint64_t begin, end;	/* visible positions */
	uint32_t m, head;
};

static inline struct npu_attn_query npu_attn_query(const struct npu_attn *at, uint32_t group, uint64_t index)
{
	uint32_t per = at->heads / at->groups;
	struct npu_attn_query q = { .m = (uint32_t)(index / per), .head = group * per + (uint32_t)(index % per) };
	uint64_t pos = (uint64_t)at->pos + q.m;

	q.end = at->causal && pos + 1 < at->kv ? pos + 1 : at->kv;
	q.begin = at->window && pos + 1 > at->window ? pos + 1 - at->window : 0;
	if (q.begin > q.end)
		q.begin = q.end;
	return q;
}

/* The factors of t, rounded as attn.h says. */
struct npu_attn_factors {
	float inner, outer;	/* without soft cap: t = s * inner */
};

static inline struct npu_attn_factors npu_attn_factors(const struct npu_attn *at)
{
	struct npu_attn_factors f = { .inner = at->scale * NPU_LOG2E, .outer = 1.0f };

	if (at->softcap != 0.0f) {
		f.inner = at->scale / at->softcap;
		f.outer = at->softcap * NPU_LOG2E;
	}
	return f;
}

/* Where the key and the value at position @j begin in at->k and at->v. */
static inline uint64_t npu_attn_key(const struct npu_attn *at, uint32_t group, uint64_t j)
{
	return group * at->k_group + j * at->k_pos;
}

static inline uint64_t npu_attn_value(const struct npu_attn *at, uint32_t group, uint64_t j)
{
	return group * at->v_group + j * at->v_pos;
}

static inline const uint8_t *npu_attn_q(const struct npu_attn *at, const struct npu_attn_query *q)
{
	return (const uint8_t *)at->q + q->m * at->q_row + q->head * at->q_head;
}

static inline uint8_t *npu_attn_dst(const struct npu_attn *at, const struct npu_attn_query *q)
{
	return (uint8_t *)at->dst + q->m * at->dst_row + q->head * at->dst_head;
}

/*
 * A kernel does the queries [first, first + count) of a group in memory of its
 * own, @mem, whose size it tells. @next_group: the group that it is probably called for next.
 */
struct npu_attn_kernel {
	uint32_t most;		/* queries at a time */
	size_t (*mem_bytes)(const struct npu_attn *at, uint32_t count);
	void (*run)(const struct npu_attn *at, uint32_t group, uint64_t first, uint32_t count, uint32_t next_group,
		    void *mem);
};

extern const struct npu_attn_kernel npu_attn_ref, npu_attn_avx2, npu_attn_avx512, npu_attn_neon;

#endif /* NPU_MODEL_OPS_ATTN_IMPL_H */
