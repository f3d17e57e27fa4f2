// SPDX-License-Identifier: MIT
/* Pieces of operands whose pages are not contiguous. */
#include <stdbool.h>
#include <string.h>

#include "pieces.h"

#define LINE	64u

static bool contiguous(const struct npu_pieces *s, uint64_t at, size_t len)
{
	size_t n = npu_pieces_run(s, at, len);
	const uint8_t *next = npu_pieces_byte(s, at) + n;

	for (at += n, len -= n; len; at += n, len -= n, next += n) {
		if (npu_pieces_byte(s, at) != next)
			return false;
		n = npu_pieces_run(s, at, len);
	}
	return true;
}

/* memcpy() of a length whose bound is known becomes string instructions, which take long to start. */
static void copy(uint8_t *to, const uint8_t *from, size_t n)
{
	size_t last = n - LINE;

	if (n < LINE) {
		while (n--)
			*to++ = *from++;
		return;
	}
	for (size_t i = 0; i < last; i += LINE)
		memcpy(to + i, from + i, LINE);
	memcpy(to + last, from + last, LINE);	/* may overlap the one before */
}

uint8_t *npu_pieces_place(const struct npu_pieces *s, uint64_t at, size_t len, uint8_t *buf)
{
	if (s->p)
		return s->p + at;
	return len && contiguous(s, at, len) ? npu_pieces_byte(s, at) : buf;
}

void npu_pieces_read(const struct npu_pieces *s, uint64_t at, size_t len, uint8_t *buf)
{
	while (len) {
		size_t n = npu_pieces_run(s, at, len);

		copy(buf, npu_pieces_byte(s, at), n);
		at += n;
		buf += n;
		len -= n;
	}
}

void npu_pieces_write(const struct npu_pieces *s, uint64_t at, size_t len, const uint8_t *buf)
{
	while (len) {
		size_t n = npu_pieces_run(s, at, len);

		copy(npu_pieces_byte(s, at), buf, n);
		at += n;
		buf += n;
		len -= n;
	}
}

const uint8_t *npu_pieces_collect(const struct npu_pieces *s, uint64_t at, size_t len, uint8_t *buf)
{
	const uint8_t *p = npu_pieces_place(s, at, len, buf);

	if (p == buf)
		npu_pieces_read(s, at, len, buf);
	return p;
}

void npu_pieces_prefetch(const struct npu_pieces *s, uint64_t at, size_t len)
{
	while (len) {
		size_t n = npu_pieces_run(s, at, len);

		npu_prefetch(npu_pieces_byte(s, at), n);
		at += n;
		len -= n;
	}
}
