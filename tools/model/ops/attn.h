/* SPDX-License-Identifier: MIT */
/*
 * attn.h - fused attention on host pointers, numerics profile 1.
 *
 * For query row m (position pos + m) and head h, which reads key/value head
 * g = h / (heads / groups), over the visible key positions j: j < kv; causal:
 * j <= pos + m; window != 0: j > pos + m - window:
 *
 *   s = +0; d ascending: s = fma(q[d], k[j][d], s)
 *   without soft cap:  t = s * rne(scale * log2 e)
 *   with soft cap c:   t = tanh(s * rne(scale / c)) * rne(c * log2 e)
 *   t = min(max(t, -2^20), 2^20); a NaN stays
 *
 * Key positions are taken in tiles of 64, tile i being 64 i to 64 i + 63; a
 * tile without visible positions is skipped. State: an integer M = -2^21,
 * o[d] = +0, l[16] = +0. For each tile:
 *
 *   M' = max(M, floor(t) of each visible j that is not NaN)
 *   c  = M - M' < -126 ? +0 : 2^(M - M');  o[d] = o[d] * c, l[i] = l[i] * c if M' != M;  M = M'
 *   p  = e < -126 ? +0 : P(t - floor(t)) * 2^e, e = floor(t) - M;  NaN if t is NaN
 *   visible j ascending: o[d] = fma(p[j], v[j][d], o[d]);  l[j mod 16] = l[j mod 16] + p[j]
 *
 * P is npu_exp2_poly(). Keys and values are widened exactly (F16; Q8_0: d * q).
 * At the end l is summed as l[i] + l[i + 8], then + 4, + 2, + 1, and the result
 * is o[d] / l. A row that sees no position gives +0.
 */
#ifndef NPU_MODEL_OPS_ATTN_H
#define NPU_MODEL_OPS_ATTN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ops.h"

#define NPU_ATTN_TILE	64u	/* key positions */

struct npu_attn {
	void *dst;		/* [m][heads][dv], F32, F16, A8 or A8_K; dv contiguous */
	const void *q;		/* [m][heads][d], F32 or F16; d contiguous */
	struct npu_pieces k;	/* [groups][kv][d], F32, F16 or Q8_0; d contiguous */
	struct npu_pieces v;	/* [groups][kv][dv], type of k; dv contiguous */
	size_t dst_row, dst_head;	/* byte strides of m and of heads */
	size_t q_row, q_head;
	size_t k_pos, k_group;	/* byte strides of kv and of groups */
	size_t v_pos, v_group;
	uint8_t dst_type, q_type, kv_type;	/* enum npu_type */
	bool causal;
	uint32_t m, heads, groups, d, dv;	/* groups divides heads; all >= 1 */
	uint32_t kv;		/* may be 0 */
	uint32_t pos, window;
	float scale, softcap;	/* softcap 0: none */
};

size_t npu_attn_scratch(const struct npu_attn *at, const struct npu_pool *pool, enum npu_path path);

/* @scratch is 64-byte aligned. @path must be supported by the CPU. */
void npu_attn_run(const struct npu_attn *at, struct npu_pool *pool, enum npu_path path, void *scratch);

#endif /* NPU_MODEL_OPS_ATTN_H */
