// SPDX-License-Identifier: MIT
/*
 * Weight types of files that the device may lack: widened to F32 row by row,
 * then stored as Q8_0 (or F16, where a row is not whole blocks of 32).
 */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "llm_internal.h"

#define K_BLOCK	256u

static float half_at(const uint8_t *p)
{
	return npu_f16_to_f32((uint16_t)(p[0] | p[1] << 8));
}

static float bf16_at(const uint8_t *p)
{
	uint32_t u = (uint32_t)(p[0] | p[1] << 8) << 16;
	float f;

	memcpy(&f, &u, 4);
	return f;
}

/*
 * Blocks of 32: d (and m), then nibbles, low ones first. Five-bit types have the fifth bits in
 * between.
 */
static void widen_4bit(uint32_t type, const uint8_t *b, float *y)
{
	bool has_min = type == 3 || type == 7, five = type == 6 || type == 7;
	float d = half_at(b), m = has_min ? half_at(b + 2) : 0;
	const uint8_t *qs = b + 2 + (has_min ? 2 : 0) + (five ? 4 : 0);
	uint32_t high = 0, i;

	if (five)
		memcpy(&high, qs - 4, 4);
	for (i = 0; i < 32; i++) {
		int q = i < 16 ? qs[i] & 15 : qs[i - 16] >> 4;

		q |= (int)(high >> i & 1) << 4;
		if (!has_min)
			q -= five ? 16 : 8;
		y[i] = d * (float)q + m;
	}
}

static void widen_q8_0(const uint8_t *b, float *y)
{
	float d = half_at(b);
	unsigned int i;

	for (i = 0; i < 32; i++)
		y[i] = d * (float)(int8_t)b[2 + i];
}

/* The packed 6-bit scales and minima of Q4_K and Q5_K: 8 of each in 12 bytes. */
static void k_scale(const uint8_t *s, unsigned int j, float *sc, float *m)
{
	if (j < 4) {
		*sc = (float)(s[j] & 63);
		*m = (float)(s[j + 4] & 63);
	} else {
		*sc = (float)((s[j + 4] & 15) | (s[j - 4] >> 6) << 4);
		*m = (float)((s[j + 4] >> 4) | (s[j] >> 6) << 4);
	}
}

static void widen_q45_k(bool five, const uint8_t *b, float *y)
{
	float d = half_at(b), dmin = half_at(b + 2), sc, m;
	const uint8_t *qh = b + 16, *qs = b + 16 + (five ? 32 : 0);
	unsigned int i;

	for (i = 0; i < K_BLOCK; i++) {
		unsigned int j = i / 32, l = i % 32;
		int q = qs[i / 64 * 32 + l] >> (j % 2 * 4) & 15;

		if (five)
			q |= (qh[l] >> j & 1) << 4;
		k_scale(b + 4, j, &sc, &m);
		y[i] = d * sc * (float)q - dmin * m;
	}
}

static void widen_q6_k(const uint8_t *b, float *y)
{
	const uint8_t *ql = b, *qh = b + 128;
	const int8_t *sc = (const int8_t *)(b + 192);
	float d = half_at(b + 208);
	unsigned int i;

	for (i = 0; i < K_BLOCK; i++) {
		unsigned int half = i / 128, quarter = i / 32 % 4, l = i % 32;
		int lo = ql[half * 64 + quarter % 2 * 32 + l] >> (quarter / 2 * 4) & 15;
		int hi = qh[half * 32 + l] >> (quarter * 2) & 3;

		y[i] = d * (float)sc[i / 16] * (float)((lo | hi << 4) - 32);
	}
}

static void widen_q2_k(const uint8_t *b, float *y)
{
	const uint8_t *scales = b, *qs = b + 16;
	float d = half_at(b + 80), dmin = half_at(b + 82);
	unsigned int i;

	for (i = 0; i < K_BLOCK; i++) {
		int q = qs[i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2) & 3;

		y[i] = d * (float)(scales[i / 16] & 15) * (float)q -
		       dmin * (float)(scales[i / 16] >> 4);
	}
}

/* 16 scales of 6 bits in 12 bytes: low nibbles in the first 8, high pairs in the last 4. */
static int q3_k_scale(const uint8_t *s, unsigned int j)
{
	int lo = s[j % 8] >> (j / 8 * 4) & 15, hi = s[8 + j % 4] >> (j / 4 * 2) & 3;

	return (lo | hi << 4) - 32;
}

static void widen_q3_k(const uint8_t *b, float *y)
{
	const uint8_t *hmask = b, *qs = b + 32, *scales = b + 96;
	float d = half_at(b + 108);
	unsigned int i;

	for (i = 0; i < K_BLOCK; i++) {
		int q = qs[i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2) & 3;

		if (!(hmask[i % 32] >> (i / 32) & 1))
			q -= 4;
		y[i] = d * (float)q3_k_scale(scales, i / 16) * (float)q;
	}
}

static void widen_block(uint32_t type, const uint8_t *b, float *y)
{
	switch (type) {
	case NPU_TYPE_F32:
		memcpy(y, b, 4);
		break;
	case NPU_TYPE_F16:
		*y = half_at(b);
		break;
	case NPU_TYPE_BF16:
		*y = bf16_at(b);
		break;
	case 2: case 3: case 6: case 7:
		widen_4bit(type, b, y);
		break;
	case NPU_TYPE_Q8_0:
		widen_q8_0(b, y);
		break;
	case 10:
		widen_q2_k(b, y);
		break;
	case 11:
		widen_q3_k(b, y);
		break;
	case NPU_TYPE_Q4_K: case 13:
		widen_q45_k(type == 13, b, y);
		break;
	case NPU_TYPE_Q6_K:
		widen_q6_k(b, y);
		break;
	}
}

bool llm_can_widen(uint32_t type)
{
	switch (type) {
	case NPU_TYPE_F32: case NPU_TYPE_F16: case NPU_TYPE_BF16: case NPU_TYPE_Q8_0:
	case 2: case 3: case 6: case 7:		/* Q4_0 Q4_1 Q5_0 Q5_1 */
	case 10: case 11: case 12: case 13: case 14:	/* Q2_K to Q6_K */
		return true;
	default:
		return false;
	}
}

void llm_row_to_f32(uint32_t type, const void *src, uint64_t n, float *dst)
{
	const struct npu_gguf_type_info *info = npu_gguf_type_info(type);
	const uint8_t *b = src;
	uint64_t i;

	for (i = 0; i < n; i += info->block_len, b += info->block_size)
		widen_block(type, b, dst + i);
}

static void store_q8_0(const float *x, uint8_t *b)
{
	float amax = 0, d, id;
	uint16_t h;
	unsigned int i;

	for (i = 0; i < 32; i++)
		amax = fmaxf(amax, fabsf(x[i]));
	h = npu_f32_to_f16(amax / 127);
	d = npu_f16_to_f32(h);
	id = d > 0 ? 1 / d : 0;
	memcpy(b, &h, 2);
	for (i = 0; i < 32; i++)
		b[2 + i] = (uint8_t)(int8_t)fmaxf(-127, fminf(127, rintf(x[i] * id)));
}

void llm_row_from_f32(enum npu_type type, const float *src, uint64_t n, void *dst)
{
	uint64_t i;
	uint16_t h;

	if (type == NPU_TYPE_F32) {
		memcpy(dst, src, n * sizeof(*src));
		return;
	}
	for (i = 0; type == NPU_TYPE_F16 && i < n; i++) {
		h = npu_f32_to_f16(src[i]);
		memcpy((uint8_t *)dst + 2 * i, &h, 2);
	}
	for (i = 0; type == NPU_TYPE_Q8_0 && i < n; i += 32)
		store_q8_0(src + i, (uint8_t *)dst + i / 32 * 34);
}

int llm_device_type(const struct npu_llm *llm, uint32_t type, uint64_t cols,
		    enum npu_layout *layout)
{
	uint32_t want[] = { type, cols % 32 ? NPU_TYPE_F16 : NPU_TYPE_Q8_0, NPU_TYPE_F16,
			    NPU_TYPE_F32 };
	unsigned int i;

	for (i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		if (i && !llm_can_widen(type))
			break;
		*layout = NPU_LAYOUT_TILE16;
		if (!llm->row_layout && npu_device_has_weight(llm->dev, want[i], NPU_LAYOUT_TILE16))
			return (int)want[i];
		*layout = NPU_LAYOUT_ROWS;
		if (npu_device_has_weight(llm->dev, want[i], NPU_LAYOUT_ROWS))
			return (int)want[i];
	}
	return -ENOTSUP;
}
