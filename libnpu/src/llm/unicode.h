/* SPDX-License-Identifier: MIT */
#ifndef NPU_UNICODE_H
#define NPU_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UNICODE_REPLACEMENT	"\xef\xbf\xbd"	/* U+FFFD */
#define UNICODE_INVALID		0xffffffffu

/*
 * The character at @s, of which @len bytes are there (at least 1): its code
 * point and, in *@used, its bytes. A byte that begins no valid, complete
 * character is UNICODE_INVALID with one byte used.
 */
uint32_t unicode_decode(const char *s, size_t len, uint32_t *used);
/*
 * Bytes at the end of @s that begin a valid character which is not complete
 * yet: 0 to 3.
 */
size_t unicode_incomplete_tail(const char *s, size_t len);
/* Encode; returns bytes, at most 4. */
uint32_t unicode_encode(uint32_t cp, char *out);

enum unicode_class { UNICODE_OTHER, UNICODE_LETTER, UNICODE_NUMBER, UNICODE_SPACE };
/* General category L or N, or the property White_Space. */
enum unicode_class unicode_class(uint32_t cp);

#endif /* NPU_UNICODE_H */
