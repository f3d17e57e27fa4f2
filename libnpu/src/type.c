// SPDX-License-Identifier: MIT
/* Element types, opcode names, the tile layout of weights, half precision. */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include <npu/tensor.h>

/* A field of a block that the tile layout stores in pieces, row by row. */
struct field {
	uint8_t offset, size, piece;
};

/*
 * Q6_K: what a vector needs together lies together: for each half of the block
 * and i = 0..7, four elements' low bits of the first and of the second 32, and
 * the high bits that belong to both and to the next 64.
 */
#define Q6_K_PIECES(h, i)	{ 64 * (h) + 4 * (i), 4, 4 }, { 64 * (h) + 32 + 4 * (i), 4, 4 }, \
				{ 128 + 32 * (h) + 4 * (i), 4, 4 }
#define Q6_K_HALF(h)		Q6_K_PIECES(h, 0), Q6_K_PIECES(h, 1), Q6_K_PIECES(h, 2), Q6_K_PIECES(h, 3), \
				Q6_K_PIECES(h, 4), Q6_K_PIECES(h, 5), Q6_K_PIECES(h, 6), Q6_K_PIECES(h, 7)
#define MAX_FIELDS		50

struct type_info {
	uint8_t type;
	const char *name;
	uint16_t block, bytes;
	uint8_t nfields;	/* 0: no tile layout */
	struct field fields[MAX_FIELDS];
};

static const struct type_info types[] = {
	{ NPU_TYPE_F32, "f32", 1, 4, 1, { { 0, 4, 4 } } },
	{ NPU_TYPE_F16, "f16", 1, 2, 1, { { 0, 2, 2 } } },
	{ NPU_TYPE_BF16, "bf16", 1, 2, 1, { { 0, 2, 2 } } },
	{ NPU_TYPE_A8, "a8", 32, 36, 0, { { 0, 0, 0 } } },
	{ NPU_TYPE_A8_K, "a8_k", 256, 260, 0, { { 0, 0, 0 } } },
	{ NPU_TYPE_Q8_0, "q8_0", 32, 34, 2, { { 0, 2, 2 }, { 2, 32, 4 } } },
	{ NPU_TYPE_Q4_0, "q4_0", 32, 18, 2, { { 0, 2, 2 }, { 2, 16, 4 } } },
	{ NPU_TYPE_Q4_K, "q4_k", 256, 144, 4, { { 0, 2, 2 }, { 2, 2, 2 }, { 4, 12, 4 }, { 16, 128, 4 } } },
	{ NPU_TYPE_Q6_K, "q6_k", 256, 210, MAX_FIELDS, { { 208, 2, 2 }, { 192, 16, 4 }, Q6_K_HALF(0), Q6_K_HALF(1) } },
	{ NPU_TYPE_I8, "i8", 1, 1, 0, { { 0, 0, 0 } } },
	{ NPU_TYPE_I16, "i16", 1, 2, 0, { { 0, 0, 0 } } },
	{ NPU_TYPE_I32, "i32", 1, 4, 0, { { 0, 0, 0 } } },
	{ NPU_TYPE_I64, "i64", 1, 8, 0, { { 0, 0, 0 } } },
};

#define NTYPES (sizeof(types) / sizeof(types[0]))

static const struct type_info *info_of(unsigned int type)
{
	for (size_t i = 0; i < NTYPES; i++)
		if (types[i].type == type)
			return &types[i];
	return NULL;
}

const char *npu_type_name(unsigned int type)
{
	const struct type_info *t = info_of(type);

	return t ? t->name : NULL;
}

int npu_type_parse(const char *name)
{
	for (size_t i = 0; name && i < NTYPES; i++)
		if (!strcasecmp(types[i].name, name))
			return types[i].type;
	return -EINVAL;
}

uint32_t npu_type_block(unsigned int type)
{
	const struct type_info *t = info_of(type);

	return t ? t->block : 0;
}

uint32_t npu_type_bytes(unsigned int type)
{
	const struct type_info *t = info_of(type);

	return t ? t->bytes : 0;
}

uint64_t npu_type_row_bytes(unsigned int type, uint64_t n)
{
	const struct type_info *t = info_of(type);
	uint64_t bytes;

	if (!t || n % t->block || __builtin_mul_overflow(n / t->block, (uint64_t)t->bytes, &bytes))
		return 0;
	return bytes;
}

static const char *const op_names[NPU_OP_LAST + 1] = {
	[NPU_CMD_NOP] = "NOP", [NPU_CMD_END] = "END", [NPU_CMD_BARRIER] = "BARRIER", [NPU_CMD_SET] = "SET",
	[NPU_CMD_ALU] = "ALU", [NPU_CMD_LOAD] = "LOAD", [NPU_CMD_STORE] = "STORE", [NPU_CMD_BRANCH] = "BRANCH",
	[NPU_CMD_LOOP] = "LOOP", [NPU_CMD_SEM_SIGNAL] = "SEM_SIGNAL", [NPU_CMD_SEM_WAIT] = "SEM_WAIT",
	[NPU_CMD_TIMESTAMP] = "TIMESTAMP", [NPU_CMD_PROGRESS] = "PROGRESS", [NPU_CMD_TRAP] = "TRAP",
	[NPU_OP_MATMUL] = "MATMUL", [NPU_OP_ATTENTION] = "ATTENTION", [NPU_OP_RMS_NORM] = "RMS_NORM",
	[NPU_OP_LAYER_NORM] = "LAYER_NORM", [NPU_OP_ROPE] = "ROPE", [NPU_OP_SOFTMAX] = "SOFTMAX",
	[NPU_OP_GLU] = "GLU", [NPU_OP_UNARY] = "UNARY", [NPU_OP_BINARY] = "BINARY", [NPU_OP_REDUCE] = "REDUCE",
	[NPU_OP_ARGMAX] = "ARGMAX", [NPU_OP_TOPK] = "TOPK", [NPU_OP_COPY] = "COPY", [NPU_OP_GATHER] = "GATHER",
	[NPU_OP_SCATTER] = "SCATTER", [NPU_OP_FILL] = "FILL", [NPU_OP_GROUP_NORM] = "GROUP_NORM",
	[NPU_OP_CONV1D] = "CONV1D", [NPU_OP_CONV2D] = "CONV2D", [NPU_OP_DEPTHWISE] = "DEPTHWISE",
	[NPU_OP_POOL] = "POOL", [NPU_OP_UPSAMPLE] = "UPSAMPLE", [NPU_OP_SELECTIVE_SCAN] = "SELECTIVE_SCAN",
	[NPU_OP_RETENTION] = "RETENTION", [NPU_OP_RWKV] = "RWKV", [NPU_OP_MATMUL_GLU] = "MATMUL_GLU",
};

const char *npu_op_name(unsigned int opcode)
{
	return opcode <= NPU_OP_LAST ? op_names[opcode] : NULL;
}

/* ---- Tiles ------------------------------------------------------------------- */

#define TILE_ROWS 16u

uint64_t npu_tile16_bytes(unsigned int type, uint64_t n, uint64_t rows)
{
	const struct type_info *t = info_of(type);
	uint64_t row = npu_type_row_bytes(type, n), bytes;

	if (!t || !t->nfields || rows > UINT64_MAX - TILE_ROWS ||
	    __builtin_mul_overflow((rows + TILE_ROWS - 1) / TILE_ROWS * TILE_ROWS, row, &bytes))
		return 0;
	return bytes;
}

/* One field of one row's block into its pieces of the block column. */
static inline void put_field(const struct field *f, const uint8_t *src, uint8_t *dst)
{
	if (f->piece == 4) {
		for (unsigned int i = 0; i < f->size; i += 4)
			memcpy(dst + (size_t)i * TILE_ROWS, src + i, 4);
	} else {
		for (unsigned int i = 0; i < f->size; i += 2)
			memcpy(dst + (size_t)i * TILE_ROWS, src + i, 2);
	}
}

int npu_tile16_pack(unsigned int type, uint64_t n, uint64_t rows, const void *src, void *dst)
{
	const struct type_info *t = info_of(type);
	uint64_t row = npu_type_row_bytes(type, n);

	if (!t || !t->nfields || !row)
		return -EINVAL;
	for (uint64_t first = 0; first < rows; first += TILE_ROWS) {
		const uint8_t *in = (const uint8_t *)src + first * row;
		uint8_t *tile = (uint8_t *)dst + first * row;
		unsigned int live = rows - first < TILE_ROWS ? (unsigned int)(rows - first) : TILE_ROWS;

		if (live < TILE_ROWS)
			memset(tile, 0, TILE_ROWS * row);
		for (uint64_t b = 0; b < n / t->block; b++) {
			uint8_t *column = tile + b * t->bytes * TILE_ROWS;

			for (unsigned int i = 0; i < t->nfields; i++) {
				const struct field *f = &t->fields[i];

				for (unsigned int r = 0; r < live; r++)
					put_field(f, in + r * row + b * t->bytes + f->offset, column + r * f->piece);
				column += (size_t)f->size * TILE_ROWS;
			}
		}
	}
	return 0;
}

/* ---- Half precision ------------------------------------------------------------- */

uint16_t npu_f32_to_f16(float value)
{
	uint32_t u, sign, mant;
	int exp;

	memcpy(&u, &value, 4);
	sign = u >> 16 & 0x8000;
	exp = (int)(u >> 23 & 0xff) - 127 + 15;
	mant = u & 0x7fffff;
	if ((u & 0x7fffffff) > 0x7f800000)
		return 0x7e00;
	if (exp >= 31)
		return (uint16_t)(sign | 0x7c00);
	if (exp <= 0) {
		unsigned int shift = (unsigned int)(14 - exp);
		uint32_t half, rest, tie;

		if (exp < -10)
			return (uint16_t)sign;
		mant |= 0x800000;
		half = mant >> shift;
		rest = mant & ((1u << shift) - 1);
		tie = 1u << (shift - 1);
		if (rest > tie || (rest == tie && (half & 1)))
			half++;
		return (uint16_t)(sign | half);
	}
	u = sign | (uint32_t)exp << 10 | mant >> 13;
	if ((mant & 0x1fff) > 0x1000 || ((mant & 0x1fff) == 0x1000 && (u & 1)))
		u++;	/* may carry into the exponent, up to infinity: as it should */
	return (uint16_t)u;
}

float npu_f16_to_f32(uint16_t half)
{
	uint32_t sign = (uint32_t)(half & 0x8000) << 16, exp = half >> 10 & 31, mant = half & 0x3ff, u;
	float f;

	if (exp == 31) {
		u = sign | 0x7f800000 | mant << 13;
	} else if (exp) {
		u = sign | (exp + 112) << 23 | mant << 13;
	} else {
		f = (float)mant * 0x1p-24f;
		memcpy(&u, &f, 4);
		u |= sign;
	}
	memcpy(&f, &u, 4);
	return f;
}
