// SPDX-License-Identifier: MIT
/* Conversion between the row layout and the tile layout of weights. */
#include <string.h>

#include "npu_isa.h"
#include "tile.h"

struct field {
	uint8_t offset;		/* in the GGUF block */
	uint8_t size;
	uint8_t piece;		/* 2 or 4 bytes */
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

struct block_format {
	unsigned int type;
	uint16_t len;		/* elements */
	uint16_t bytes;
	uint16_t nfields;
	struct field fields[MAX_FIELDS];	/* in the order of the tile layout */
};

static const struct block_format formats[] = {
	{ NPU_TYPE_F32, 1, 4, 1, { { 0, 4, 4 } } },
	{ NPU_TYPE_F16, 1, 2, 1, { { 0, 2, 2 } } },
	{ NPU_TYPE_BF16, 1, 2, 1, { { 0, 2, 2 } } },
	{ NPU_TYPE_Q8_0, 32, 34, 2, { { 0, 2, 2 }, { 2, 32, 4 } } },
	{ NPU_TYPE_Q4_0, 32, 18, 2, { { 0, 2, 2 }, { 2, 16, 4 } } },
	{ NPU_TYPE_Q4_K, 256, 144, 4, { { 0, 2, 2 }, { 2, 2, 2 }, { 4, 12, 4 }, { 16, 128, 4 } } },
	{ NPU_TYPE_Q6_K, 256, 210, MAX_FIELDS, { { 208, 2, 2 }, { 192, 16, 4 }, Q6_K_HALF(0), Q6_K_HALF(1) } },
};

static const struct block_format *format_of(unsigned int type)
{
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
		if (formats[i].type == type)
			return &formats[i];
	return NULL;
}

int npu_tile_type(unsigned int type)
{
	return format_of(type) != NULL;
}

size_t npu_row_bytes(unsigned int type, uint64_t k)
{
	const struct block_format *f = format_of(type);

	return f && k % f->len == 0 ? k / f->len * f->bytes : 0;
}

size_t npu_tile_bytes(unsigned int type, uint64_t n, uint64_t k)
{
	return (n + NPU_TILE_ROWS - 1) / NPU_TILE_ROWS * NPU_TILE_ROWS * npu_row_bytes(type, k);
}

/* Move one row's part of a field between its block and a block column. */
static inline void move_pieces(uint8_t *dst, size_t dst_step, const uint8_t *src, size_t src_step, unsigned int size,
			       unsigned int piece)
{
	for (unsigned int i = 0; i < size; i += piece, dst += dst_step, src += src_step) {
		if (piece == 4)
			memcpy(dst, src, 4);
		else
			memcpy(dst, src, 2);
	}
}

static void put_block(const struct block_format *f, const uint8_t *block, uint8_t *col, unsigned int r)
{
	for (unsigned int i = 0; i < f->nfields; i++) {
		const struct field *fd = &f->fields[i];

		move_pieces(col + r * fd->piece, NPU_TILE_ROWS * fd->piece, block + fd->offset, fd->piece, fd->size,
			    fd->piece);
		col += NPU_TILE_ROWS * fd->size;
	}
}

static void get_block(const struct block_format *f, const uint8_t *col, unsigned int r, uint8_t *block)
{
	for (unsigned int i = 0; i < f->nfields; i++) {
		const struct field *fd = &f->fields[i];

		move_pieces(block + fd->offset, fd->piece, col + r * fd->piece, NPU_TILE_ROWS * fd->piece, fd->size,
			    fd->piece);
		col += NPU_TILE_ROWS * fd->size;
	}
}

void npu_tile_block(unsigned int type, const void *col, unsigned int r, void *block)
{
	get_block(format_of(type), col, r, block);
}

void npu_rows_to_tiles(unsigned int type, uint64_t n, uint64_t k, const void *rows, size_t row_stride, void *tiles)
{
	const struct block_format *f = format_of(type);
	static const uint8_t zeros[NPU_BLOCK_MAX];
	uint64_t blocks = k / f->len;
	uint8_t *col = tiles;

	for (uint64_t n0 = 0; n0 < n; n0 += NPU_TILE_ROWS) {
		for (uint64_t b = 0; b < blocks; b++, col += NPU_TILE_ROWS * f->bytes) {
			for (unsigned int r = 0; r < NPU_TILE_ROWS; r++) {
				const uint8_t *row = (const uint8_t *)rows + (n0 + r) * row_stride;

				put_block(f, n0 + r < n ? row + b * f->bytes : zeros, col, r);
			}
		}
	}
}

void npu_tiles_to_rows(unsigned int type, uint64_t n, uint64_t k, const void *tiles, void *rows, size_t row_stride)
{
	const struct block_format *f = format_of(type);
	size_t row_bytes = k / f->len * f->bytes;

	for (uint64_t i = 0; i < n; i++) {
		const uint8_t *tile = (const uint8_t *)tiles + i / NPU_TILE_ROWS * NPU_TILE_ROWS * row_bytes;
		uint8_t *row = (uint8_t *)rows + i * row_stride;

		for (size_t at = 0; at < row_bytes; at += f->bytes)
			get_block(f, tile + at * NPU_TILE_ROWS, i % NPU_TILE_ROWS, row + at);
	}
}
