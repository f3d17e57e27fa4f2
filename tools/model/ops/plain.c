/* SPDX-License-Identifier: MIT */
/* Plain stand-ins for the pool, matmul and attention, by the rules of their headers; serial. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "attn.h"
#include "mathfn.h"
#include "matmul.h"
#include "npu_isa.h"
#include "pool.h"
#include "quant.h"
#include "tile.h"

struct npu_pool {
	int unused;
};

int npu_pool_create(const struct npu_pool_options *opt, struct npu_pool **out)
{
	(void)opt;
	*out = calloc(1, sizeof(**out));
	return *out ? 0 : -ENOMEM;
}

void npu_pool_destroy(struct npu_pool *pool)
{
	free(pool);
}

unsigned int npu_pool_threads(const struct npu_pool *pool)
{
	(void)pool;
	return 1;
}

void npu_pool_for(struct npu_pool *pool, uint64_t n, uint64_t grain, npu_pool_fn fn, void *arg)
{
	(void)pool;
	for (uint64_t i = 0; i < n; i += grain)
		fn(arg, i, n - i < grain ? n : i + grain, 0);
}

static void load(unsigned int type, const void *p, uint32_t n, float *y)
{
	npu_dequant_row(type, p, n, y);
}

static void store(unsigned int type, float v, void *dst, uint32_t i)
{
	if (type == NPU_TYPE_F16)
		((uint16_t *)dst)[i] = npu_f32_to_f16(v);
	else
		((float *)dst)[i] = npu_canon(v);
}

static float dot_block(unsigned int type, const uint8_t *b, const float *x, float acc)
{
	bool k = type == NPU_TYPE_Q4_K || type == NPU_TYPE_Q6_K;
	unsigned int len = k ? NPU_K_BLOCK : NPU_Q_BLOCK;
	int8_t q[NPU_K_BLOCK];
	float da = npu_quant_block(x, len, q);
	int32_t s = 0, t = 0;

	for (unsigned int i = 0; i < len; i++) {
		uint32_t sc, m;

		switch (type) {
		case NPU_TYPE_Q8_0:
			s += (int8_t)b[2 + i] * q[i];
			break;
		case NPU_TYPE_Q4_0:
			s += ((i < 16 ? b[2 + i] & 15 : b[2 + i - 16] >> 4) - 8) * q[i];
			break;
		case NPU_TYPE_Q4_K:
			npu_q4_k_scale(b + 4, i / 32, &sc, &m);
			s += (int32_t)sc * npu_q4_k_elem(b + 16, i) * q[i];
			t += (int32_t)m * q[i];
			break;
		default:
			s += (int8_t)b[192 + i / 16] * npu_q6_k_elem(b, b + 128, i) * q[i];
		}
	}
	acc = npu_fma((float)s, npu_f16_to_f32(npu_load16(type == NPU_TYPE_Q6_K ? b + 208 : b)) * da, acc);
	if (type == NPU_TYPE_Q4_K)
		acc = npu_fma(-(float)t, npu_f16_to_f32(npu_load16(b + 2)) * da, acc);
	return acc;
}

size_t npu_matmul_scratch(const struct npu_matmul *mm, const struct npu_pool *pool, enum npu_path path)
{
	(void)pool;
	(void)path;
	return 2 * sizeof(float) * mm->k + 64;
}

void npu_matmul_run(const struct npu_matmul *mm, struct npu_pool *pool, enum npu_path path, void *scratch)
{
	float *x = scratch, *w = x + mm->k;
	size_t row = npu_row_bytes(mm->w_type, mm->k);
	bool quant = mm->w_type != NPU_TYPE_F32 && mm->w_type != NPU_TYPE_F16 && mm->w_type != NPU_TYPE_BF16;
	unsigned int len = mm->w_type == NPU_TYPE_Q4_K || mm->w_type == NPU_TYPE_Q6_K ? NPU_K_BLOCK : NPU_Q_BLOCK;

	(void)pool;
	(void)path;
	for (uint32_t m = 0; m < mm->m; m++) {
		uint8_t *dst = (uint8_t *)mm->dst + m * mm->dst_stride;

		load(mm->x_type, (const uint8_t *)mm->x + m * mm->x_stride, mm->k, x);
		for (uint32_t n = 0; n < mm->n; n++) {
			bool tile = mm->w_layout == NPU_LAYOUT_TILE16;
			const uint8_t *p = (const uint8_t *)mm->w + (tile ? n / 16 * 16 * row : n * mm->w_stride);
			float acc = 0.0f;

			if (!quant) {
				if (tile)
					npu_dequant_tile_row(mm->w_type, p, n % 16, mm->k, w);
				else
					load(mm->w_type, p, mm->k, w);
				for (uint32_t k = 0; k < mm->k; k++)
					acc = npu_fma(w[k], x[k], acc);
			} else {
				size_t bytes = npu_row_bytes(mm->w_type, len);

				for (uint32_t k = 0; k < mm->k; k += len) {
					uint8_t block[NPU_BLOCK_MAX];

					if (tile)
						npu_tile_block(mm->w_type, p + k / len * bytes * 16, n % 16, block);
					else
						memcpy(block, p + k / len * bytes, bytes);
					acc = dot_block(mm->w_type, block, x + k, acc);
				}
			}
			if (mm->bias)
				acc = acc + mm->bias[n];
			if (mm->accumulate)
				acc = acc + ((float *)dst)[n];
			store(mm->dst_type, acc, dst, n);
		}
	}
}

size_t npu_attn_scratch(const struct npu_attn *at, const struct npu_pool *pool, enum npu_path path)
{
	(void)pool;
	(void)path;
	return sizeof(float) * (2 * (size_t)at->d + 2 * (size_t)at->dv) + 64;
}

static void attn_row(const struct npu_attn *at, uint32_t m, uint32_t h, float *q)
{
	float *k = q + at->d, *v = k + at->d, *o = v + at->dv;
	uint32_t g = h / (at->heads / at->groups);
	uint64_t p = (uint64_t)at->pos + m, end = at->causal && p + 1 < at->kv ? p + 1 : at->kv;
	uint64_t begin = at->window && p + 1 > at->window ? p + 1 - at->window : 0;
	float l[16] = { 0 };
	int32_t top = -(1 << 21);

	load(at->q_type, (const uint8_t *)at->q + m * at->q_row + h * at->q_head, at->d, q);
	memset(o, 0, at->dv * sizeof(float));
	for (uint64_t tile = begin / 64 * 64; begin < end && tile < end; tile += 64) {
		uint64_t lo = tile < begin ? begin : tile, hi = tile + 64 < end ? tile + 64 : end;
		float t[64], c;
		int32_t next = top;

		for (uint64_t j = lo; j < hi; j++) {
			float s = 0.0f;

			load(at->kv_type, (const uint8_t *)at->k + g * at->k_group + j * at->k_pos, at->d, k);
			for (uint32_t d = 0; d < at->d; d++)
				s = npu_fma(q[d], k[d], s);
			if (at->softcap != 0.0f)
				s = npu_tanh(s * (at->scale / at->softcap)) * (at->softcap * NPU_LOG2E);
			else
				s = s * (at->scale * NPU_LOG2E);
			s = s < -0x1p20f ? -0x1p20f : s;
			s = s > 0x1p20f ? 0x1p20f : s;
			t[j - tile] = s;
			if (s == s && (int32_t)__builtin_floorf(s) > next)
				next = (int32_t)__builtin_floorf(s);
		}
		c = top - next < -126 ? 0.0f : npu_pow2i(top - next);
		for (uint32_t d = 0; next != top && d < at->dv; d++)
			o[d] = o[d] * c;
		for (unsigned int i = 0; next != top && i < 16; i++)
			l[i] = l[i] * c;
		top = next;
		for (uint64_t j = lo; j < hi; j++) {
			float s = t[j - tile], f = __builtin_floorf(s), w = s;

			if (s == s)
				w = f - (float)top < -126.0f ? 0.0f : npu_exp2_poly(s - f) * npu_pow2i((int32_t)f - top);
			load(at->kv_type, (const uint8_t *)at->v + g * at->v_group + j * at->v_pos, at->dv, v);
			for (uint32_t d = 0; d < at->dv; d++)
				o[d] = npu_fma(w, v[d], o[d]);
			l[j % 16] = l[j % 16] + w;
		}
	}
	for (unsigned int half = 8; half; half /= 2)
		for (unsigned int i = 0; i < half; i++)
			l[i] = l[i] + l[i + half];
	for (uint32_t d = 0; d < at->dv; d++)
		store(at->dst_type, begin < end ? o[d] / l[0] : 0.0f,
		      (uint8_t *)at->dst + m * at->dst_row + h * at->dst_head, d);
}

void npu_attn_run(const struct npu_attn *at, struct npu_pool *pool, enum npu_path path, void *scratch)
{
	(void)pool;
	(void)path;
	for (uint32_t m = 0; m < at->m; m++)
		for (uint32_t h = 0; h < at->heads; h++)
			attn_row(at, m, h, scratch);
}
