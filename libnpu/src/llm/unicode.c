// SPDX-License-Identifier: MIT
/* UTF-8 and the three character classes that pre-tokenizers use. */
#include "unicode.h"

struct code_range {
	uint32_t first, last;
};

#include "unicode_table.h"

/*
 * Length of a sequence by its first byte, and the allowed range of the second (no overlong forms,
 * no surrogates).
 */
static uint32_t sequence(uint8_t b, uint8_t *lo, uint8_t *hi)
{
	*lo = 0x80;
	*hi = 0xbf;
	if (b < 0x80)
		return 1;
	if (b < 0xc2)
		return 0;
	if (b < 0xe0)
		return 2;
	if (b < 0xf0) {
		if (b == 0xe0)
			*lo = 0xa0;
		if (b == 0xed)
			*hi = 0x9f;
		return 3;
	}
	if (b == 0xf0)
		*lo = 0x90;
	if (b == 0xf4)
		*hi = 0x8f;
	return b <= 0xf4 ? 4 : 0;
}

/* How many bytes at @s belong to one valid sequence, which needs *@need. */
static uint32_t valid_prefix(const uint8_t *s, size_t len, uint32_t *need)
{
	uint8_t lo, hi;
	uint32_t i;

	*need = sequence(s[0], &lo, &hi);
	if (*need == 0)
		return 0;
	for (i = 1; i < *need && i < len; i++) {
		if (s[i] < lo || s[i] > hi)
			return 0;
		lo = 0x80;
		hi = 0xbf;
	}
	return i;
}

uint32_t unicode_decode(const char *str, size_t len, uint32_t *used)
{
	const uint8_t *s = (const uint8_t *)str;
	uint32_t need, cp, i;

	*used = 1;
	if (s[0] < 0x80)
		return s[0];
	if (valid_prefix(s, len, &need) != need || need == 0)
		return UNICODE_INVALID;
	cp = s[0] & (0xffu >> (need + 1));
	for (i = 1; i < need; i++)
		cp = cp << 6 | (s[i] & 0x3f);
	*used = need;
	return cp;
}

size_t unicode_incomplete_tail(const char *s, size_t len)
{
	size_t back;
	uint32_t need;

	for (back = 1; back <= 3 && back <= len; back++) {
		const uint8_t *p = (const uint8_t *)s + len - back;

		if ((*p & 0xc0) == 0x80)
			continue;
		return valid_prefix(p, back, &need) == back && back < need ? back : 0;
	}
	return 0;
}

uint32_t unicode_encode(uint32_t cp, char *out)
{
	if (cp < 0x80) {
		out[0] = (char)cp;
		return 1;
	}
	if (cp < 0x800) {
		out[0] = (char)(0xc0 | cp >> 6);
		out[1] = (char)(0x80 | (cp & 0x3f));
		return 2;
	}
	if (cp < 0x10000) {
		out[0] = (char)(0xe0 | cp >> 12);
		out[1] = (char)(0x80 | (cp >> 6 & 0x3f));
		out[2] = (char)(0x80 | (cp & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | cp >> 18);
	out[1] = (char)(0x80 | (cp >> 12 & 0x3f));
	out[2] = (char)(0x80 | (cp >> 6 & 0x3f));
	out[3] = (char)(0x80 | (cp & 0x3f));
	return 4;
}

static bool in_ranges(uint32_t cp, const struct code_range *r, size_t n)
{
	size_t lo = 0, hi = n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (cp > r[mid].last)
			lo = mid + 1;
		else if (cp < r[mid].first)
			hi = mid;
		else
			return true;
	}
	return false;
}

#define IN(cp, table)	in_ranges(cp, table, sizeof(table) / sizeof((table)[0]))

enum unicode_class unicode_class(uint32_t cp)
{
	if (IN(cp, letters))
		return UNICODE_LETTER;
	if (IN(cp, numbers))
		return UNICODE_NUMBER;
	return IN(cp, white_space) ? UNICODE_SPACE : UNICODE_OTHER;
}
