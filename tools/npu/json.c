// SPDX-License-Identifier: MIT
/* UTF-8, and JSON strings. */
#include <stdint.h>

#include "tool.h"

/* Length of the valid UTF-8 sequence at @s, or 0. */
static size_t utf8(const unsigned char *s, size_t len)
{
	size_t n = s[0] < 0x80 ? 1 : s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : (s[0] & 0xf0) == 0xe0 ? 3 :
		   s[0] >= 0xf0 && s[0] <= 0xf4 ? 4 : 0, i;

	if (n == 0 || n > len)
		return 0;
	for (i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	/* Overlong forms, surrogates, beyond U+10FFFF. */
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
	    (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return n;
}

size_t tool_utf8_end(const char *str, size_t len)
{
	size_t at = 0, n;

	for (; at < len; at += n) {
		n = utf8((const unsigned char *)str + at, len - at);
		if (!n)
			break;
	}
	return at;
}

void tool_json_string(FILE *f, const char *str, size_t len)
{
	const unsigned char *s = (const unsigned char *)str;
	size_t n;

	fputc('"', f);
	for (; len; s += n, len -= n) {
		n = utf8(s, len);
		if (!n) {
			fputs("\\ufffd", f);
			n = 1;
		} else if (s[0] == '"' || s[0] == '\\') {
			fprintf(f, "\\%c", s[0]);
		} else if (s[0] == '\n') {
			fputs("\\n", f);
		} else if (s[0] < 32 || s[0] == 127) {
			fprintf(f, "\\u%04x", s[0]);
		} else {
			fwrite(s, 1, n, f);
		}
	}
	fputc('"', f);
}
