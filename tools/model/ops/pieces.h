/* SPDX-License-Identifier: MIT */
/*
 * pieces.h - large operands of which an operation takes one piece after the other.
 *
 * Where no contiguous host pointer to an operand can be had, its pages need not be
 * copied as a whole: whoever works on a piece of a few KiB collects it into a
 * buffer that stays in its CPU's cache, so that memory is read once.
 */
#ifndef NPU_MODEL_OPS_PIECES_H
#define NPU_MODEL_OPS_PIECES_H

#include <stddef.h>
#include <stdint.h>

#define NPU_PIECES_PAGE		4096u
#define NPU_PIECES_PAGES	512u	/* of one table */

struct npu_pieces {
	uint8_t *p;			/* all of it, contiguous; or NULL: */
	/* Page i begins at tables[i / 512][i % 512]. All of it is there, and may be read, also where the operand is not. */
	uint8_t *const *const *tables;
	uint64_t first;			/* byte 0, counted from the first byte of page 0 */
};

/* What begins at byte @at of @s. */
static inline struct npu_pieces npu_pieces_from(const struct npu_pieces *s, uint64_t at)
{
	return (struct npu_pieces){ .p = s->p ? s->p + at : NULL, .tables = s->tables, .first = s->first + at };
}

/* Byte @at; what follows is contiguous up to the end of its page. */
static inline uint8_t *npu_pieces_byte(const struct npu_pieces *s, uint64_t at)
{
	uint64_t page = (s->first + at) / NPU_PIECES_PAGE;

	if (s->p)
		return s->p + at;
	return s->tables[page / NPU_PIECES_PAGES][page % NPU_PIECES_PAGES] + (s->first + at) % NPU_PIECES_PAGE;
}

/* How many of bytes [at, at + len) are contiguous for certain. */
static inline size_t npu_pieces_run(const struct npu_pieces *s, uint64_t at, size_t len)
{
	size_t left = NPU_PIECES_PAGE - (s->first + at) % NPU_PIECES_PAGE;

	return s->p || len < left ? len : left;
}

/* Bytes [at, at + len) to @buf, or from it. */
void npu_pieces_read(const struct npu_pieces *s, uint64_t at, size_t len, uint8_t *buf);
void npu_pieces_write(const struct npu_pieces *s, uint64_t at, size_t len, const uint8_t *buf);

/* Where bytes [at, at + len) are contiguous, the pointer to them; else @buf, which is left alone. */
uint8_t *npu_pieces_place(const struct npu_pieces *s, uint64_t at, size_t len, uint8_t *buf);

const uint8_t *npu_pieces_collect(const struct npu_pieces *s, uint64_t at, size_t len, uint8_t *buf);

/* Bytes [at, at + len), in place or copied to @buf. */
static inline const uint8_t *npu_piece(const struct npu_pieces *s, uint64_t at, size_t len, uint8_t *buf)
{
	if (npu_pieces_run(s, at, len) == len)
		return npu_pieces_byte(s, at);
	return npu_pieces_collect(s, at, len, buf);
}

/*
 * Has @len bytes from @p on, which need not be mapped, on their way into the second-level cache:
 * as many of them as the CPU has room for at once. ahead.h is for more.
 */
static inline void npu_prefetch(const void *p, size_t len)
{
	for (size_t i = 0; i < len; i += 64)
		__builtin_prefetch((const char *)p + i, 0, 2);
}

/* The same for bytes [at, at + len) of @s. */
void npu_pieces_prefetch(const struct npu_pieces *s, uint64_t at, size_t len);

#endif /* NPU_MODEL_OPS_PIECES_H */
