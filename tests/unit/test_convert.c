// SPDX-License-Identifier: MIT
/*
 * Weight types that are converted while loading: blocks are packed here, field
 * by field as the format lays them out, and must widen to the values that went
 * in.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "../../libnpu/src/llm/llm_internal.h"

#define D	0.5f	/* exact in F16, as is the minimum */
#define M	0.25f

enum {
	Q4_0 = 2,
	Q4_1 = 3,
	Q5_0 = 6,
	Q5_1 = 7,
	Q8_0 = 8,
	Q2_K = 10,
	Q3_K = 11,
	Q4_K = 12,
	Q5_K = 13,
	Q6_K = 14
};

static uint8_t block[512];
static uint32_t q[256];

static void put_half(size_t at, float v)
{
	uint16_t h = npu_f32_to_f16(v);

	memcpy(block + at, &h, 2);
}

static void draw(uint32_t n, uint32_t levels, uint32_t seed)
{
	uint32_t i;

	memset(block, 0, sizeof(block));
	for (i = 0; i < n; i++) {
		seed = seed * 1664525u + 1013904223u;
		q[i] = (seed >> 16) % levels;
	}
}

static void expect(uint32_t type, uint32_t n, float (*value)(uint32_t i))
{
	float got[256];
	uint32_t i;

	assert_true(llm_can_widen(type));
	llm_row_to_f32(type, block, n, got);
	for (i = 0; i < n; i++)
		if (got[i] != value(i))
			fail_msg("type %u, element %u: %g, not %g", type, i, (double)got[i],
				 (double)value(i));
}

/* ---- Blocks of 32 ------------------------------------------------------------------------ */

static void pack_nibbles(size_t at)
{
	uint32_t i;

	for (i = 0; i < 16; i++)
		block[at + i] = (uint8_t)((q[i] & 15) | (q[i + 16] & 15) << 4);
}

static void pack_fifth_bits(size_t at)
{
	uint32_t i;

	for (i = 0; i < 32; i++)
		block[at + i / 8] |= (uint8_t)((q[i] >> 4) << i % 8);
}

static float v_q4_0(uint32_t i) { return D * ((float)q[i] - 8); }
static float v_q4_1(uint32_t i) { return D * (float)q[i] + M; }
static float v_q5_0(uint32_t i) { return D * ((float)q[i] - 16); }
static float v_q8_0(uint32_t i) { return D * ((float)q[i] - 128); }

static void blocks_of_32(void **state)
{
	uint32_t i;

	(void)state;
	draw(32, 16, 1);
	put_half(0, D);
	pack_nibbles(2);
	expect(Q4_0, 32, v_q4_0);
	draw(32, 16, 2);
	put_half(0, D);
	put_half(2, M);
	pack_nibbles(4);
	expect(Q4_1, 32, v_q4_1);
	draw(32, 32, 3);
	put_half(0, D);
	pack_fifth_bits(2);
	pack_nibbles(6);
	expect(Q5_0, 32, v_q5_0);
	draw(32, 32, 4);
	put_half(0, D);
	put_half(2, M);
	pack_fifth_bits(4);
	pack_nibbles(8);
	expect(Q5_1, 32, v_q4_1);
	draw(32, 256, 5);
	put_half(0, D);
	for (i = 0; i < 32; i++)
		block[2 + i] = (uint8_t)(q[i] - 128);
	expect(Q8_0, 32, v_q8_0);
}

/* ---- Blocks of 256 ------------------------------------------------------------------------- */

static uint32_t sc(uint32_t j) { return (j * 11 + 5) % 64; }
static uint32_t mn(uint32_t j) { return (j * 23 + 9) % 64; }

/* Eight scales and minima of six bits in twelve bytes. */
static void pack_k_scales(size_t at)
{
	uint32_t j;

	for (j = 0; j < 4; j++) {
		block[at + j] = (uint8_t)(sc(j) | (sc(j + 4) >> 4) << 6);
		block[at + j + 4] = (uint8_t)(mn(j) | (mn(j + 4) >> 4) << 6);
		block[at + j + 8] = (uint8_t)((sc(j + 4) & 15) | (mn(j + 4) & 15) << 4);
	}
}

static float v_q45_k(uint32_t i)
{
	return D * (float)sc(i / 32) * (float)q[i] - M * (float)mn(i / 32);
}

static void pack_q45(size_t at)
{
	uint32_t part, i;

	for (part = 0; part < 4; part++)
		for (i = 0; i < 32; i++)
			block[at + part * 32 + i] = (uint8_t)((q[part * 64 + i] & 15) |
							      (q[part * 64 + 32 + i] & 15) << 4);
}

static void q4_k_and_q5_k(void **state)
{
	uint32_t i;

	(void)state;
	draw(256, 16, 6);
	put_half(0, D);
	put_half(2, M);
	pack_k_scales(4);
	pack_q45(16);
	expect(Q4_K, 256, v_q45_k);
	draw(256, 32, 7);
	put_half(0, D);
	put_half(2, M);
	pack_k_scales(4);
	for (i = 0; i < 256; i++)
		block[16 + i % 32] |= (uint8_t)((q[i] >> 4) << i / 32);
	pack_q45(48);
	expect(Q5_K, 256, v_q45_k);
}

static float v_q2_k(uint32_t i)
{
	return D * (float)(sc(i / 16) & 15) * (float)q[i] - M * (float)(mn(i / 16) & 15);
}

static void pack_pairs(size_t at)
{
	uint32_t half, shift, i;

	for (half = 0; half < 2; half++)
		for (shift = 0; shift < 4; shift++)
			for (i = 0; i < 32; i++)
				block[at + half * 32 + i] |=
					(uint8_t)((q[half * 128 + shift * 32 + i] & 3)
						  << 2 * shift);
}

static void q2_k(void **state)
{
	uint32_t j;

	(void)state;
	draw(256, 4, 8);
	for (j = 0; j < 16; j++)
		block[j] = (uint8_t)((sc(j) & 15) | (mn(j) & 15) << 4);
	pack_pairs(16);
	put_half(80, D);
	put_half(82, M);
	expect(Q2_K, 256, v_q2_k);
}

static float v_q3_k(uint32_t i) { return D * ((float)sc(i / 16) - 32) * ((float)q[i] - 4); }

static void q3_k(void **state)
{
	uint32_t i, j;

	(void)state;
	draw(256, 8, 9);
	for (i = 0; i < 256; i++)
		block[i % 32] |= (uint8_t)((q[i] >> 2) << i / 32);
	pack_pairs(32);
	for (j = 0; j < 16; j++) {
		block[96 + j % 8] |= (uint8_t)((sc(j) & 15) << (j < 8 ? 0 : 4));
		block[104 + j % 4] |= (uint8_t)((sc(j) >> 4) << 2 * (j / 4));
	}
	put_half(108, D);
	expect(Q3_K, 256, v_q3_k);
}

static float v_q6_k(uint32_t i) { return D * ((float)sc(i / 16) - 32) * ((float)q[i] - 32); }

static void q6_k(void **state)
{
	uint32_t half, i, j;

	(void)state;
	draw(256, 64, 10);
	for (half = 0; half < 2; half++) {
		const uint32_t *x = q + half * 128;

		for (i = 0; i < 32; i++) {
			block[half * 64 + i] = (uint8_t)((x[i] & 15) | (x[i + 64] & 15) << 4);
			block[half * 64 + 32 + i] =
				(uint8_t)((x[i + 32] & 15) | (x[i + 96] & 15) << 4);
			block[128 + half * 32 + i] =
				(uint8_t)(x[i] >> 4 | (x[i + 32] >> 4) << 2 |
					  (x[i + 64] >> 4) << 4 | (x[i + 96] >> 4) << 6);
		}
	}
	for (j = 0; j < 16; j++)
		block[192 + j] = (uint8_t)(sc(j) - 32);
	put_half(208, D);
	expect(Q6_K, 256, v_q6_k);
}

/* To Q8_0 and back: at most half a step of the largest element. */
static void stored_as_q8_0(void **state)
{
	float x[64], y[64], amax[2] = { 0, 0 };
	uint8_t row[68];
	uint32_t i;

	(void)state;
	draw(64, 1000, 11);
	for (i = 0; i < 64; i++) {
		x[i] = ((float)q[i] - 500) * (i < 32 ? 1e-3f : 40);
		amax[i / 32] = fmaxf(amax[i / 32], fabsf(x[i]));
	}
	llm_row_from_f32(NPU_TYPE_Q8_0, x, 64, row);
	llm_row_to_f32(Q8_0, row, 64, y);
	for (i = 0; i < 64; i++)
		/* with the scale's own rounding */
		assert_true(fabsf(x[i] - y[i]) <= amax[i / 32] / 127 * 0.57f);
	memset(x, 0, sizeof(x));
	llm_row_from_f32(NPU_TYPE_Q8_0, x, 64, row);
	llm_row_to_f32(Q8_0, row, 64, y);
	for (i = 0; i < 64; i++)
		assert_true(y[i] == 0);
}

static void unknown_types(void **state)
{
	(void)state;
	assert_false(llm_can_widen(4));
	assert_false(llm_can_widen(16));
	assert_false(llm_can_widen(UINT32_MAX));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(blocks_of_32),	 cmocka_unit_test(q4_k_and_q5_k),
		cmocka_unit_test(q2_k),		 cmocka_unit_test(q3_k),
		cmocka_unit_test(q6_k),		 cmocka_unit_test(stored_as_q8_0),
		cmocka_unit_test(unknown_types),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
