// SPDX-License-Identifier: MIT
/* Matrix multiplication: the reference, which is the definition. */
#include <string.h>

#include "matmul_impl.h"
#include "quant.h"
#include "tile.h"

/* Block @b of row @n of w as in the row layout; @buf holds a block if it has to be collected. */
static const uint8_t *weight_block(const struct npu_matmul *mm, uint32_t n, uint32_t b, uint8_t *buf)
{
	size_t bytes = npu_type_block_bytes(mm->w_type);
	uint8_t column[NPU_TILE_ROWS * NPU_BLOCK_MAX];
	uint64_t at;

	if (mm->w_layout == NPU_LAYOUT_ROWS)
		return npu_piece(&mm->w, n * mm->w_stride + b * bytes, bytes, buf);
	at = n / NPU_TILE_ROWS * npu_tile_bytes(mm->w_type, NPU_TILE_ROWS, mm->k) + b * NPU_TILE_ROWS * bytes;
	npu_tile_block(mm->w_type, npu_piece(&mm->w, at, NPU_TILE_ROWS * bytes, column), n % NPU_TILE_ROWS, buf);
	return buf;
}

static float weight_float(unsigned int type, const uint8_t *w)
{
	float f;

	if (type == NPU_TYPE_F16)
		return npu_f16_to_f32(npu_load16(w));
	if (type == NPU_TYPE_BF16)
		return npu_bf16_to_f32(npu_load16(w));
	memcpy(&f, w, sizeof(f));
	return f;
}

static float step_q8_0(const uint8_t *w, const int8_t *q, float da, float acc)
{
	float dw = npu_f16_to_f32(npu_load16(w));
	int32_t isum = 0;

	for (int i = 0; i < 32; i++)
		isum += (int8_t)w[2 + i] * q[i];
	return npu_fma((float)isum, dw * da, acc);
}

static float step_q4_0(const uint8_t *w, const int8_t *q, float da, float acc)
{
	float dw = npu_f16_to_f32(npu_load16(w));
	int32_t isum = 0;

	for (int i = 0; i < 16; i++) {
		isum += ((w[2 + i] & 15) - 8) * q[i];
		isum += ((w[2 + i] >> 4) - 8) * q[i + 16];
	}
	return npu_fma((float)isum, dw * da, acc);
}

static float step_q4_k(const uint8_t *w, const int8_t *q, float da, float acc)
{
	float d = npu_f16_to_f32(npu_load16(w)), dmin = npu_f16_to_f32(npu_load16(w + 2));
	int32_t s = 0, t = 0;

	for (unsigned int j = 0; j < 8; j++) {
		int32_t isum = 0, asum = 0;
		uint32_t sc, m;

		for (unsigned int i = 32 * j; i < 32 * j + 32; i++) {
			isum += npu_q4_k_elem(w + 16, i) * q[i];
			asum += q[i];
		}
		npu_q4_k_scale(w + 4, j, &sc, &m);
		s += (int32_t)sc * isum;
		t += (int32_t)m * asum;
	}
	acc = npu_fma((float)s, d * da, acc);
	return npu_fma(-(float)t, dmin * da, acc);
}

static float step_q6_k(const uint8_t *w, const int8_t *q, float da, float acc)
{
	float d = npu_f16_to_f32(npu_load16(w + 208));
	const int8_t *sc = (const int8_t *)w + 192;
	int32_t s = 0;

	for (unsigned int j = 0; j < 16; j++) {
		int32_t isum = 0;

		for (unsigned int i = 16 * j; i < 16 * j + 16; i++)
			isum += npu_q6_k_elem(w, w + 128, i) * q[i];
		s += sc[j] * isum;
	}
	return npu_fma((float)s, d * da, acc);
}

/* Row m of x: as F32, and quantised where the weights are. */
struct row {
	const float *x;
	const int8_t *q;
	const float *d;		/* per block */
};

static float dot(const struct npu_matmul *mm, uint32_t n, const struct row *row)
{
	uint32_t len = npu_type_block_len(mm->w_type);
	float acc = 0.0f;

	for (uint32_t b = 0; b < mm->k / len; b++) {
		uint8_t buf[NPU_BLOCK_MAX];
		const uint8_t *w = weight_block(mm, n, b, buf);
		const int8_t *q = row->q + (size_t)b * len;

		switch (mm->w_type) {
		case NPU_TYPE_Q8_0:
			acc = step_q8_0(w, q, row->d[b], acc);
			break;
		case NPU_TYPE_Q4_0:
			acc = step_q4_0(w, q, row->d[b], acc);
			break;
		case NPU_TYPE_Q4_K:
			acc = step_q4_k(w, q, row->d[b], acc);
			break;
		case NPU_TYPE_Q6_K:
			acc = step_q6_k(w, q, row->d[b], acc);
			break;
		default:
			acc = npu_fma(weight_float(mm->w_type, w), row->x[b], acc);
		}
	}
	return acc;
}

static void store(const struct npu_matmul *mm, uint32_t m, uint32_t n, float acc)
{
	uint8_t *row = (uint8_t *)mm->dst + m * mm->dst_stride;
	float r = mm->bias ? acc + mm->bias[n] : acc;

	if (mm->dst_type == NPU_TYPE_F16) {
		((uint16_t *)row)[n] = npu_f32_to_f16(r);
		return;
	}
	if (mm->accumulate)
		r = r + ((float *)row)[n];
	((float *)row)[n] = npu_canon(r);
}

struct ref_job {
	const struct npu_matmul *mm;
	struct row row;
	uint32_t m;
};

static void ref_columns(void *arg, uint64_t begin, uint64_t end, unsigned int worker)
{
	struct ref_job *j = arg;

	(void)worker;
	for (uint64_t n = begin; n < end; n++)
		store(j->mm, j->m, (uint32_t)n, dot(j->mm, (uint32_t)n, &j->row));
}

/* Row @m of quantised activations: -128 is read as -127. */
static void load_act(const struct npu_matmul *mm, uint32_t m, uint32_t len, int8_t *q, float *d)
{
	const uint8_t *p = (const uint8_t *)mm->x + m * mm->x_stride;

	for (uint32_t k = 0; k < mm->k; k += len, p += 4 + len) {
		memcpy(d++, p, sizeof(*d));
		for (uint32_t i = 0; i < len; i++) {
			int8_t v = (int8_t)p[4 + i];

			*q++ = v < -127 ? -127 : v;
		}
	}
}

/* Scratch: one row as F32, one as int8, one scale per block. */
size_t npu_matmul_ref_scratch(const struct npu_matmul *mm)
{
	return (size_t)mm->k * 9;
}

void npu_matmul_ref(const struct npu_matmul *mm, struct npu_pool *pool, void *scratch)
{
	uint32_t len = npu_type_block_len(mm->w_type);
	float *x = scratch, *d = x + mm->k;
	int8_t *q = (int8_t *)(d + mm->k);
	struct ref_job job = { mm, { x, q, d }, 0 };

	for (; job.m < mm->m; job.m++) {
		if (npu_mm_quantised(mm)) {
			load_act(mm, job.m, len, q, d);
		} else {
			npu_mm_load_row(mm, job.m, x);
			for (uint32_t b = 0; len > 1 && b < mm->k / len; b++)
				d[b] = npu_quant_block(x + (size_t)b * len, len, q + (size_t)b * len);
		}
		npu_pool_for(pool, mm->n, 1 + 65536 / (mm->k + 1), ref_columns, &job);
	}
}
