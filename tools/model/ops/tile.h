/* SPDX-License-Identifier: MIT */
/*
 * tile.h - weight block formats and the 16-row tile layout.
 *
 * A weight matrix has N rows of K elements. In GGUF's row layout a row is
 * K / L blocks of B bytes, one after the other (L, B: elements and bytes of a
 * block; F32, F16 and BF16 are blocks of one element).
 *
 * In the tile layout the matrix is ceil(N / 16) tiles, one after the other, of
 * 16 * (K / L) * B bytes each; tile t holds rows 16 t to 16 t + 15, and rows
 * from N on are zero bytes. A tile is K / L block columns of 16 * B bytes in
 * ascending k. A block column holds the blocks of its 16 rows, field by field,
 * each field cut into pieces, and each piece stored for row 0, 1, ... 15
 * before the next piece comes:
 *
 *   type   field (bytes of the GGUF block)        piece
 *   F32    0..3                                   4 bytes
 *   F16    0..1                                   2
 *   BF16   0..1                                   2
 *   Q8_0   d 0..1                                 2
 *          qs 2..33                               4
 *   Q4_0   d 0..1                                 2
 *          qs 2..17                               4
 *   Q4_K   d 0..1, dmin 2..3                      2
 *          scales 4..15, qs 16..143               4
 *   Q6_K   d 208..209                             2
 *          scales 192..207                        4
 *          then for h = 0, 1 and i = 0..7, 4 each:
 *          ql 64 h + 4 i, ql 64 h + 32 + 4 i, qh 128 + 32 h + 4 i
 *
 * So a Q8_0 block column is d[16], then for j = 0..7: for r = 0..15: bytes
 * 2 + 4 j .. 5 + 4 j of row r's block. It streams in one piece, and a vector
 * of 16 lanes holds 16 rows without shuffling; every type is read in order (which
 * is why the low and high bits of Q6_K are woven together). Only the place of bytes
 * differs from the row layout, never a value.
 *
 * This file depends on uapi/npu_isa.h alone.
 */
#ifndef NPU_MODEL_OPS_TILE_H
#define NPU_MODEL_OPS_TILE_H

#include <stddef.h>
#include <stdint.h>

#define NPU_TILE_ROWS	16u
#define NPU_BLOCK_MAX	210u	/* bytes of the largest block */

/* Can @type be a weight (and so be tiled)? */
int npu_tile_type(unsigned int type);

/* Bytes of one row of @k elements in the row layout; 0: not a weight type, or @k not whole blocks. */
size_t npu_row_bytes(unsigned int type, uint64_t k);

/* Bytes of an @n x @k matrix in the tile layout; 0 as above. */
size_t npu_tile_bytes(unsigned int type, uint64_t n, uint64_t k);

/*
 * Convert @n rows (row r at @rows + r * @row_stride) to ceil(n / 16) tiles at
 * @tiles. Give multiples of 16 rows to convert a matrix in parts.
 */
void npu_rows_to_tiles(unsigned int type, uint64_t n, uint64_t k, const void *rows, size_t row_stride, void *tiles);

/* And back. */
void npu_tiles_to_rows(unsigned int type, uint64_t n, uint64_t k, const void *tiles, void *rows, size_t row_stride);

/* The block of row @r (0..15) out of block column @col, as in the row layout. */
void npu_tile_block(unsigned int type, const void *col, unsigned int r, void *block);

#endif /* NPU_MODEL_OPS_TILE_H */
