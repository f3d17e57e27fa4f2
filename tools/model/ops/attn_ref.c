// SPDX-License-Identifier: MIT
/* Fused attention: the reference, which is the definition. */
#include <string.h>

#include "attn_impl.h"
#include "tile.h"

#define TILE	NPU_ATTN_TILE

struct state {
	int32_t max;	/* M */
	float l[16];
	float *q;	/* [d] */
	float *o;	/* [dv] */
	float *kv;	/* [max(d, dv)], a key or a value */
	uint8_t *stored;	/* the same as it is stored, where its bytes have to be collected */
};

/* t of one position; @k is widened. */
static float score(const struct npu_attn *at, const float *q, const float *k)
{
	struct npu_attn_factors f = npu_attn_factors(at);
	float s = 0.0f, t;

	for (uint32_t d = 0; d < at->d; d++)
		s = npu_fma(q[d], k[d], s);
	t = s * f.inner;
	if (at->softcap != 0.0f)
		t = npu_tanh(t) * f.outer;
	t = t < -NPU_ATTN_CLAMP ? -NPU_ATTN_CLAMP : t;
	return t > NPU_ATTN_CLAMP ? NPU_ATTN_CLAMP : t;
}

/* Raise M to @max: scale o and l by 2^(M - max). */
static void raise_max(const struct npu_attn *at, struct state *s, int32_t max)
{
	float c = s->max - max < -126 ? 0.0f : npu_pow2i(s->max - max);

	if (max == s->max)
		return;
	for (uint32_t d = 0; d < at->dv; d++)
		s->o[d] = s->o[d] * c;
	for (int i = 0; i < 16; i++)
		s->l[i] = s->l[i] * c;
	s->max = max;
}

/* 2^(t - M). */
static float weight(float t, int32_t max)
{
	float floor_t = __builtin_floorf(t);
	int32_t e;

	if (t != t)
		return t;
	e = (int32_t)floor_t - max;
	return e < -126 ? 0.0f : npu_exp2_poly(t - floor_t) * npu_pow2i(e);
}

/* Positions [lo, hi), all in one tile. */
static void tile(const struct npu_attn *at, uint32_t group, uint64_t lo, uint64_t hi, struct state *s)
{
	size_t k_bytes = npu_row_bytes(at->kv_type, at->d), v_bytes = npu_row_bytes(at->kv_type, at->dv);
	float t[TILE];
	int32_t max = s->max;

	for (uint64_t j = lo; j < hi; j++) {
		float x;

		npu_dequant_row(at->kv_type, npu_piece(&at->k, npu_attn_key(at, group, j), k_bytes, s->stored), at->d,
				s->kv);
		x = score(at, s->q, s->kv);
		if (x == x && (int32_t)__builtin_floorf(x) > max)
			max = (int32_t)__builtin_floorf(x);
		t[j % TILE] = x;
	}
	raise_max(at, s, max);
	for (uint64_t j = lo; j < hi; j++) {
		float p = weight(t[j % TILE], max);

		npu_dequant_row(at->kv_type, npu_piece(&at->v, npu_attn_value(at, group, j), v_bytes, s->stored),
				at->dv, s->kv);
		for (uint32_t d = 0; d < at->dv; d++)
			s->o[d] = npu_fma(p, s->kv[d], s->o[d]);
		s->l[j % 16] = s->l[j % 16] + p;
	}
}

/* result[0..dv) to dst. */
static void store(const struct npu_attn *at, const struct npu_attn_query *q, const float *result)
{
	uint8_t *dst = npu_attn_dst(at, q);

	if (at->dst_type == NPU_TYPE_A8 || at->dst_type == NPU_TYPE_A8_K) {
		npu_quant_row_a8(result, at->dv, at->dst_type == NPU_TYPE_A8 ? NPU_Q_BLOCK : NPU_K_BLOCK, dst);
		return;
	}
	for (uint32_t d = 0; d < at->dv; d++) {
		if (at->dst_type == NPU_TYPE_F16)
			((uint16_t *)dst)[d] = npu_f32_to_f16(result[d]);
		else
			((float *)dst)[d] = npu_canon(result[d]);
	}
}

static void query(const struct npu_attn *at, uint32_t group, uint64_t index, struct state *s)
{
	struct npu_attn_query q = npu_attn_query(at, group, index);

	npu_dequant_row(at->q_type, npu_attn_q(at, &q), at->d, s->q);
	s->max = NPU_ATTN_FIRST_MAX;
	memset(s->l, 0, sizeof(s->l));
	memset(s->o, 0, at->dv * sizeof(float));

	for (uint64_t lo = q.begin; lo < q.end; lo = lo / TILE * TILE + TILE) {
		uint64_t hi = lo / TILE * TILE + TILE;

		tile(at, group, lo, hi < q.end ? hi : q.end, s);
	}
	for (int half = 8; half; half /= 2)
		for (int i = 0; i < half; i++)
			s->l[i] = s->l[i] + s->l[i + half];
	for (uint32_t d = 0; d < at->dv && q.begin < q.end; d++)
		s->o[d] = s->o[d] / s->l[0];
	store(at, &q, s->o);
}

static void run(const struct npu_attn *at, uint32_t group, uint64_t first, uint32_t count, uint32_t next_group,
		void *mem)
{
	struct state s = { .q = mem };

	(void)next_group;
	s.o = s.q + at->d;
	s.kv = s.o + at->dv;
	s.stored = (uint8_t *)(s.kv + (at->d > at->dv ? at->d : at->dv));
	for (uint64_t i = first; i < first + count; i++)
		query(at, group, i, &s);
}

static size_t mem_bytes(const struct npu_attn *at, uint32_t count)
{
	(void)count;
	/* A stored row is at most as large as one of F32. */
	return sizeof(float) * ((size_t)at->d + at->dv + 2 * (size_t)(at->d > at->dv ? at->d : at->dv));
}

const struct npu_attn_kernel npu_attn_ref = { 64, mem_bytes, run };
