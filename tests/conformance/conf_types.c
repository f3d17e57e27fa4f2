/* SPDX-License-Identifier: MIT */
/* Formats of elements and weights, written from the normative text. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "conf_impl.h"

const char *conf_type_name(unsigned int type)
{
	switch (type) {
	case NPU_TYPE_F32: return "f32";
	case NPU_TYPE_F16: return "f16";
	case NPU_TYPE_BF16: return "bf16";
	case NPU_TYPE_A8: return "a8";
	case NPU_TYPE_A8_K: return "a8_k";
	case NPU_TYPE_Q4_0: return "q4_0";
	case NPU_TYPE_Q8_0: return "q8_0";
	case NPU_TYPE_Q4_K: return "q4_k";
	case NPU_TYPE_Q6_K: return "q6_k";
	case NPU_TYPE_I8: return "i8";
	case NPU_TYPE_I16: return "i16";
	case NPU_TYPE_I32: return "i32";
	case NPU_TYPE_I64: return "i64";
	}
	return "?";
}

uint32_t conf_block_bytes(unsigned int type)
{
	switch (type) {
	case NPU_TYPE_I8: return 1;
	case NPU_TYPE_F16: case NPU_TYPE_BF16: case NPU_TYPE_I16: return 2;
	case NPU_TYPE_I64: return 8;
	case NPU_TYPE_A8: return 4 + 32;
	case NPU_TYPE_A8_K: return 4 + 256;
	case NPU_TYPE_Q4_0: return 2 + 16;
	case NPU_TYPE_Q8_0: return 2 + 32;
	case NPU_TYPE_Q4_K: return 2 + 2 + 12 + 128;
	case NPU_TYPE_Q6_K: return 128 + 64 + 16 + 2;
	}
	return 4;
}

uint32_t conf_block_len(unsigned int type)
{
	switch (type) {
	case NPU_TYPE_Q4_0: case NPU_TYPE_Q8_0: case NPU_TYPE_A8: return 32;
	case NPU_TYPE_Q4_K: case NPU_TYPE_Q6_K: case NPU_TYPE_A8_K: return 256;
	}
	return 1;
}

static uint64_t load_bits(const uint8_t *p, unsigned int bytes)
{
	uint64_t u = 0;

	for (unsigned int i = bytes; i-- > 0;)
		u = u << 8 | p[i];
	return u;
}

/* A binary floating-point number of @ebits exponent and @mbits fraction bits. */
static double decode_float(uint64_t u, unsigned int ebits, unsigned int mbits)
{
	uint64_t frac = u & ((1ull << mbits) - 1), emax = (1ull << ebits) - 1, e = u >> mbits & emax;
	int bias = (int)(emax >> 1);
	double v;

	if (e == emax)
		v = frac ? NAN : INFINITY;
	else if (e == 0)
		v = ldexp((double)frac, 1 - bias - (int)mbits);
	else
		v = ldexp((double)(frac | 1ull << mbits), (int)e - bias - (int)mbits);
	return u >> (ebits + mbits) & 1 ? -v : v;
}

static double half_at(const uint8_t *p)
{
	return decode_float(load_bits(p, 2), 5, 10);
}

static double decode_q4_k(const uint8_t *b, uint64_t i)
{
	const uint8_t *s = b + 4, *q = b + 16;
	unsigned int sub = (unsigned int)(i / 32);
	unsigned int scale, min, code;

	if (sub < 4) {
		scale = s[sub] & 0x3f;
		min = s[sub + 4] & 0x3f;
	} else {
		scale = (s[sub + 4] & 0x0f) + (s[sub - 4] >> 6) * 16;
		min = (s[sub + 4] >> 4) + (s[sub] >> 6) * 16;
	}
	code = q[(i / 64) * 32 + i % 32];
	code = (i / 32) % 2 ? code >> 4 : code & 0x0f;
	return half_at(b) * scale * code - half_at(b + 2) * min;
}

static double decode_q6_k(const uint8_t *b, uint64_t i)
{
	uint64_t half = i / 128, in = i % 128, l = in % 32;
	unsigned int low = b[half * 64 + in % 64], high = b[128 + half * 32 + l] >> (in / 32 * 2);

	low = in < 64 ? low & 0x0f : low >> 4;
	return half_at(b + 208) * (int8_t)b[192 + i / 16] * ((int)(low + (high & 3) * 16) - 32);
}

double conf_decode(unsigned int type, const uint8_t *row, uint64_t i)
{
	const uint8_t *b = row + i / conf_block_len(type) * conf_block_bytes(type);

	i %= conf_block_len(type);
	switch (type) {
	case NPU_TYPE_F16:
		return half_at(b);
	case NPU_TYPE_BF16:
		return decode_float(load_bits(b, 2), 8, 7);
	case NPU_TYPE_I8:
		return (int8_t)b[0];
	case NPU_TYPE_I16:
		return (int16_t)load_bits(b, 2);
	case NPU_TYPE_I32:
		return (int32_t)load_bits(b, 4);
	case NPU_TYPE_I64:
		return (double)(int64_t)load_bits(b, 8);
	case NPU_TYPE_A8:
	case NPU_TYPE_A8_K:
		/* -128 is read as -127. */
		return decode_float(load_bits(b, 4), 8, 23) * fmax((int8_t)b[4 + i], -127.0);
	case NPU_TYPE_Q8_0:
		return half_at(b) * (int8_t)b[2 + i];
	case NPU_TYPE_Q4_0:
		return half_at(b) * ((i < 16 ? b[2 + i] & 15 : b[2 + i - 16] >> 4) - 8);
	case NPU_TYPE_Q4_K:
		return decode_q4_k(b, i);
	case NPU_TYPE_Q6_K:
		return decode_q6_k(b, i);
	default:
		return decode_float(load_bits(b, 4), 8, 23);
	}
}

static uint64_t encode_float(double v, unsigned int ebits, unsigned int mbits)
{
	int emax = (1 << ebits) - 1, bias = emax >> 1, e;
	uint64_t sign = signbit(v) ? 1ull << (ebits + mbits) : 0, infinity = (uint64_t)emax << mbits, u;
	double a = fabs(v);

	if (isnan(v))
		return infinity | 1ull << (mbits - 1);
	if (isinf(v))
		return sign | infinity;
	frexp(a, &e);
	e = a == 0.0 || e - 1 < 1 - bias ? 1 - bias : e - 1;
	/* As an integer, exponent and fraction are one number: a carry out of the fraction is right. */
	u = (uint64_t)nearbyint(ldexp(a, (int)mbits - e));
	u += (uint64_t)(e + bias - 1) << mbits;
	return sign | (u > infinity ? infinity : u);
}

void conf_encode(unsigned int type, uint8_t *p, double v)
{
	unsigned int bytes = conf_block_bytes(type);
	uint64_t u;

	switch (type) {
	case NPU_TYPE_F32:
		u = encode_float(v, 8, 23);
		break;
	case NPU_TYPE_F16:
		u = encode_float(v, 5, 10);
		break;
	case NPU_TYPE_BF16:
		u = encode_float(v, 8, 7);
		break;
	default:
		u = (uint64_t)(int64_t)v;
	}
	for (unsigned int i = 0; i < bytes; i++, u >>= 8)
		p[i] = (uint8_t)u;
}

/* ---- 16-row tiles ------------------------------------------------------------------- */

/* Fields of a block in the order of the tile layout: offset, bytes, bytes of a piece. */
static const struct tile_field {
	uint8_t type, offset, bytes, piece;
} tile_fields[] = {
	{ NPU_TYPE_F32, 0, 4, 4 },
	{ NPU_TYPE_F16, 0, 2, 2 },
	{ NPU_TYPE_BF16, 0, 2, 2 },
	{ NPU_TYPE_Q8_0, 0, 2, 2 }, { NPU_TYPE_Q8_0, 2, 32, 4 },
	{ NPU_TYPE_Q4_0, 0, 2, 2 }, { NPU_TYPE_Q4_0, 2, 16, 4 },
	{ NPU_TYPE_Q4_K, 0, 2, 2 }, { NPU_TYPE_Q4_K, 2, 2, 2 }, { NPU_TYPE_Q4_K, 4, 12, 4 },
	{ NPU_TYPE_Q4_K, 16, 128, 4 },
	{ NPU_TYPE_Q6_K, 208, 2, 2 }, { NPU_TYPE_Q6_K, 192, 16, 4 },
	/* Then its 64-byte low and 32-byte high bits of each half of the block, woven. */
#define WOVEN(h, i)	{ NPU_TYPE_Q6_K, 64 * (h) + 4 * (i), 4, 4 }, { NPU_TYPE_Q6_K, 64 * (h) + 32 + 4 * (i), 4, 4 }, \
			{ NPU_TYPE_Q6_K, 128 + 32 * (h) + 4 * (i), 4, 4 }
	WOVEN(0, 0), WOVEN(0, 1), WOVEN(0, 2), WOVEN(0, 3), WOVEN(0, 4), WOVEN(0, 5), WOVEN(0, 6), WOVEN(0, 7),
	WOVEN(1, 0), WOVEN(1, 1), WOVEN(1, 2), WOVEN(1, 3), WOVEN(1, 4), WOVEN(1, 5), WOVEN(1, 6), WOVEN(1, 7),
#undef WOVEN
};

/* Tile bytes in order: column by column, field by field, piece by piece, row by row. */
static uint8_t *put_column(unsigned int type, const uint8_t *const block[16], uint8_t *to)
{
	for (size_t f = 0; f < sizeof(tile_fields) / sizeof(tile_fields[0]); f++) {
		const struct tile_field *tf = &tile_fields[f];

		for (unsigned int at = 0; tf->type == type && at < tf->bytes; at += tf->piece) {
			for (unsigned int r = 0; r < 16; r++, to += tf->piece) {
				if (block[r])
					memcpy(to, block[r] + tf->offset + at, tf->piece);
				else
					memset(to, 0, tf->piece);
			}
		}
	}
	return to;
}

void conf_make_tiles(struct conf_instance *ci, struct npu_tensor *t)
{
	uint32_t bytes = conf_block_bytes(t->type), blocks = t->ne[0] / conf_block_len(t->type);
	size_t matrix = (size_t)(t->ne[1] + 15) / 16 * 16 * blocks * bytes, batches = (size_t)t->ne[2] * t->ne[3];
	struct conf_buf *b;
	uint8_t *data, *to;

	if (ci->failed)
		return;
	b = &ci->bufs[conf_buf_of(ci, t)];
	b->size = (matrix * batches + 2 * CONF_GUARD + 63) / 64 * 64;
	data = aligned_alloc(64, b->size);
	to = malloc(b->size);
	if (!data || !to) {
		ci->failed = true;
		free(data);
		free(to);
		return;
	}
	memset(data, 0xa5, b->size);
	free(b->before);
	b->before = to;
	to = data + CONF_GUARD;
	for (uint32_t i3 = 0; i3 < t->ne[3]; i3++)
		for (uint32_t i2 = 0; i2 < t->ne[2]; i2++)
			for (uint32_t n0 = 0; n0 < t->ne[1]; n0 += 16)
				for (uint32_t k = 0; k < blocks; k++) {
					const uint8_t *block[16] = { NULL };

					for (uint32_t r = 0; r < 16 && n0 + r < t->ne[1]; r++)
						block[r] = conf_at(ci, t, 0, n0 + r, i2, i3) + (size_t)k * bytes;
					to = put_column(t->type, block, to);
				}
	free(b->data);
	b->data = data;
	t->layout = NPU_LAYOUT_TILE16;
	t->nb[1] = (uint64_t)blocks * bytes;
	t->nb[2] = matrix;
	t->nb[3] = matrix * t->ne[2];
}
