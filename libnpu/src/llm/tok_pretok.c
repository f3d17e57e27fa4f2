// SPDX-License-Identifier: MIT
/*
 * Pre-tokenizers: cut a text into words before merging. Each is the hand-made
 * matcher of a regular expression; alternatives are tried in order. L letter,
 * N number, S white space, P everything else.
 *
 *   gpt-2:     's|'t|'re|'ve|'m|'ll|'d | ?L+ | ?N+ | ?P+ | S+(?!not S) | S+
 *   llama-bpe: (the same, any case) | [not \r\n L N]?L+ | N{1,3} | ?P+[\r\n]* |
 *              S*[\r\n]+ | S+(?!not S) | S+
 *   qwen2:     as llama-bpe, N alone
 *   smollm:    each N is cut out first, gpt-2 between them
 */
#include "tok_internal.h"
#include "unicode.h"

struct text {
	const char *s;
	size_t len;
};

static enum unicode_class class_at(const struct text *t, size_t pos, uint32_t *used)
{
	return unicode_class(unicode_decode(t->s + pos, t->len - pos, used));
}

/* End of the run of @class that begins at @pos, at most @max characters. */
static size_t run(const struct text *t, size_t pos, enum unicode_class class, size_t max)
{
	uint32_t used;

	for (; pos < t->len && max; pos += used, max--)
		if (class_at(t, pos, &used) != class)
			break;
	return pos;
}

static bool is_newline(char c)
{
	return c == '\r' || c == '\n';
}

static char lower(char c, bool any_case)
{
	return any_case && c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

/* 's 't 'm 'd 're 've 'll: its length, or 0. */
static size_t contraction(const struct text *t, bool any_case)
{
	char a, b;

	if (t->len < 2 || t->s[0] != '\'')
		return 0;
	a = lower(t->s[1], any_case);
	if (a == 's' || a == 't' || a == 'm' || a == 'd')
		return 2;
	if (t->len < 3)
		return 0;
	b = lower(t->s[2], any_case);
	return (a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l') ? 3 : 0;
}

/*
 * White space: all of it at the end, else all but its last character, which goes with the next
 * word.
 */
static size_t space(const struct text *t)
{
	size_t pos = 0, last = 0;
	uint32_t used;

	while (pos < t->len && class_at(t, pos, &used) == UNICODE_SPACE) {
		last = pos;
		pos += used;
	}
	return pos < t->len && last > 0 ? last : pos;
}

static size_t word_gpt2(const struct text *t)
{
	size_t n = contraction(t, false), start;
	enum unicode_class class;
	uint32_t used;

	if (n)
		return n;
	start = t->s[0] == ' ' && t->len > 1 ? 1 : 0;
	class = class_at(t, start, &used);
	if (class != UNICODE_SPACE)
		return run(t, start, class, SIZE_MAX);
	return space(t);
}

/* [not \r\n L N]?L+ : its length, or 0. */
static size_t letters_after_one(const struct text *t)
{
	uint32_t used;
	enum unicode_class class = class_at(t, 0, &used);

	if (class == UNICODE_LETTER)
		return run(t, 0, UNICODE_LETTER, SIZE_MAX);
	if (class == UNICODE_NUMBER || is_newline(t->s[0]) || used >= t->len)
		return 0;
	if (class_at(t, used, &(uint32_t){ 0 }) != UNICODE_LETTER)
		return 0;
	return run(t, used, UNICODE_LETTER, SIZE_MAX);
}

/* S*[\r\n]+ : up to the last newline of the white space, or 0. */
static size_t newlines(const struct text *t)
{
	size_t pos, end = run(t, 0, UNICODE_SPACE, SIZE_MAX);

	for (pos = end; pos > 0; pos--)
		if (is_newline(t->s[pos - 1]))
			return pos;
	return 0;
}

static size_t word_llama3(const struct text *t, size_t digits)
{
	size_t n = contraction(t, true), start;
	uint32_t used;

	if (n || (n = letters_after_one(t)) || (n = run(t, 0, UNICODE_NUMBER, digits)))
		return n;
	start = t->s[0] == ' ' && t->len > 1 ? 1 : 0;
	if (class_at(t, start, &used) == UNICODE_OTHER) {
		n = run(t, start, UNICODE_OTHER, SIZE_MAX);
		while (n < t->len && is_newline(t->s[n]))
			n++;
		return n;
	}
	n = newlines(t);
	return n ? n : space(t);
}

static size_t word_smollm(const struct text *t)
{
	struct text before = *t;
	size_t pos = 0;
	uint32_t used;

	if (class_at(t, 0, &used) == UNICODE_NUMBER)
		return used;
	/*
	 * Only the end of the white space asks what follows it, so looking for
	 * the next number may stop at the end of the first word.
	 */
	while (pos < t->len && class_at(t, pos, &used) == UNICODE_SPACE)
		pos += used;
	if (pos < t->len && class_at(t, pos, &used) == UNICODE_NUMBER) {
		before.len = pos;
		return word_gpt2(&before);
	}
	return word_gpt2(t);
}

size_t tok_pre_word(enum tok_pre pre, const char *s, size_t len)
{
	struct text t = { s, len };

	switch (pre) {
	case TOK_PRE_LLAMA3:
		return word_llama3(&t, 3);
	case TOK_PRE_QWEN2:
		return word_llama3(&t, 1);
	case TOK_PRE_SMOLLM:
		return word_smollm(&t);
	case TOK_PRE_GPT2:
	default:
		return word_gpt2(&t);
	}
}
