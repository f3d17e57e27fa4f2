// SPDX-License-Identifier: MIT
/* Quantisation and widening, the reference. */
#include <float.h>
#include <string.h>

#include "npu_isa.h"
#include "quant.h"
#include "tile.h"

float npu_quant_block(const float *x, unsigned int n, int8_t *q)
{
	float amax = 0.0f, id;

	for (unsigned int i = 0; i < n; i++) {
		float a = npu_abs(x[i]);

		if (!(a <= FLT_MAX)) {
			memset(q, 0, n);
			return npu_f32_from_bits(NPU_F32_NAN_BITS);
		}
		amax = a > amax ? a : amax;
	}
	if (amax < NPU_QUANT_MIN) {
		memset(q, 0, n);
		return 0.0f;
	}
	id = 127.0f / amax;
	for (unsigned int i = 0; i < n; i++) {
		float v = __builtin_rintf(x[i] * id);

		v = v < -127.0f ? -127.0f : v;
		q[i] = (int8_t)(v > 127.0f ? 127.0f : v);
	}
	return amax / 127.0f;
}

void npu_quant_row_q8_0(const float *x, uint64_t k, void *row)
{
	uint8_t *p = row;

	for (; k; k -= NPU_Q_BLOCK, x += NPU_Q_BLOCK, p += 34) {
		uint16_t d = npu_f32_to_f16(npu_quant_block(x, NPU_Q_BLOCK, (int8_t *)p + 2));

		p[0] = (uint8_t)d;
		p[1] = (uint8_t)(d >> 8);
	}
}

void npu_quant_row_a8(const float *x, uint64_t k, uint32_t block, void *row)
{
	uint8_t *p = row;

	for (; k; k -= block, x += block, p += 4 + block) {
		float d = npu_quant_block(x, block, (int8_t *)p + 4);

		memcpy(p, &d, sizeof(d));
	}
}

static void dequant_q8_0(const uint8_t *b, float *y)
{
	float d = npu_f16_to_f32(npu_load16(b));

	for (unsigned int i = 0; i < NPU_Q_BLOCK; i++)
		y[i] = (float)(int8_t)b[2 + i] * d;
}

static void dequant_q4_0(const uint8_t *b, float *y)
{
	float d = npu_f16_to_f32(npu_load16(b));

	for (unsigned int i = 0; i < 16; i++) {
		y[i] = (float)((b[2 + i] & 15) - 8) * d;
		y[i + 16] = (float)((b[2 + i] >> 4) - 8) * d;
	}
}

static void dequant_q4_k(const uint8_t *b, float *y)
{
	float d = npu_f16_to_f32(npu_load16(b)), dmin = npu_f16_to_f32(npu_load16(b + 2));

	for (unsigned int i = 0; i < NPU_K_BLOCK; i++) {
		uint32_t sc, m;

		npu_q4_k_scale(b + 4, i / 32, &sc, &m);
		/* d * sc and dmin * m are exact: 11 + 6 bits. */
		y[i] = npu_fma(d * (float)sc, (float)npu_q4_k_elem(b + 16, i), -(dmin * (float)m));
	}
}

static void dequant_q6_k(const uint8_t *b, float *y)
{
	float d = npu_f16_to_f32(npu_load16(b + 208));
	const int8_t *sc = (const int8_t *)b + 192;

	for (unsigned int i = 0; i < NPU_K_BLOCK; i++)
		y[i] = d * (float)sc[i / 16] * (float)npu_q6_k_elem(b, b + 128, i);
}

static void dequant_block(unsigned int type, const uint8_t *b, float *y)
{
	switch (type) {
	case NPU_TYPE_F32:
		memcpy(y, b, 4);
		break;
	case NPU_TYPE_F16:
		*y = npu_f16_to_f32(npu_load16(b));
		break;
	case NPU_TYPE_BF16:
		*y = npu_bf16_to_f32(npu_load16(b));
		break;
	case NPU_TYPE_Q8_0:
		dequant_q8_0(b, y);
		break;
	case NPU_TYPE_Q4_0:
		dequant_q4_0(b, y);
		break;
	case NPU_TYPE_Q4_K:
		dequant_q4_k(b, y);
		break;
	case NPU_TYPE_Q6_K:
		dequant_q6_k(b, y);
		break;
	}
}

static unsigned int block_len(unsigned int type)
{
	if (type == NPU_TYPE_Q8_0 || type == NPU_TYPE_Q4_0)
		return NPU_Q_BLOCK;
	return type == NPU_TYPE_Q4_K || type == NPU_TYPE_Q6_K ? NPU_K_BLOCK : 1;
}

void npu_dequant_row(unsigned int type, const void *row, uint64_t k, float *y)
{
	unsigned int len = block_len(type);
	size_t bytes = npu_row_bytes(type, len);
	const uint8_t *p = row;

	for (uint64_t i = 0; i < k; i += len, p += bytes)
		dequant_block(type, p, y + i);
}

void npu_dequant_tile_row(unsigned int type, const void *tile, unsigned int r, uint64_t k, float *y)
{
	unsigned int len = block_len(type);
	size_t bytes = npu_row_bytes(type, len);
	const uint8_t *col = tile;
	uint8_t block[NPU_BLOCK_MAX];

	for (uint64_t i = 0; i < k; i += len, col += NPU_TILE_ROWS * bytes) {
		npu_tile_block(type, col, r, block);
		dequant_block(type, block, y + i);
	}
}
