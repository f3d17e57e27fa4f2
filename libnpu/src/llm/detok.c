// SPDX-License-Identifier: MIT
/* Streaming detokenizer: bytes of tokens, handed out as whole UTF-8 characters. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tok_internal.h"
#include "unicode.h"

#define UTF8_MAX	4u

struct npu_detokenizer {
	const struct npu_tokenizer *t;
	unsigned int flags;
	bool first;		/* nothing but control tokens so far */
	size_t held;		/* bytes of an unfinished character at the start of @raw */
	uint8_t *raw;		/* bytes of the token behind them */
	char *out;
};

int npu_detokenizer_create(const struct npu_tokenizer *t, unsigned int flags,
			   struct npu_detokenizer **out)
{
	struct npu_detokenizer *d;

	if (!t || !out)
		return -EINVAL;
	*out = NULL;
	d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	d->t = t;
	d->flags = flags;
	d->first = true;
	/* A byte may come out as U+FFFD, three bytes. */
	d->raw = malloc(t->longest + UTF8_MAX);
	d->out = malloc(3 * (t->longest + UTF8_MAX));
	if (!d->raw || !d->out) {
		npu_detokenizer_destroy(d);
		return -ENOMEM;
	}
	*out = d;
	return 0;
}

void npu_detokenizer_destroy(struct npu_detokenizer *d)
{
	if (!d)
		return;
	free(d->raw);
	free(d->out);
	free(d);
}

static size_t bytes_spm(const struct npu_gguf_str *s, uint8_t *out)
{
	size_t i, n = 0;

	for (i = 0; i < s->len;) {
		if (s->len - i >= TOK_SPACE_LEN && !memcmp(s->ptr + i, TOK_SPACE, TOK_SPACE_LEN)) {
			out[n++] = ' ';
			i += TOK_SPACE_LEN;
		} else {
			out[n++] = (uint8_t)s->ptr[i++];
		}
	}
	return n;
}

static size_t bytes_bpe(const struct npu_gguf_str *s, uint8_t *out)
{
	size_t i, n = 0;
	uint32_t used, cp;
	int b;

	for (i = 0; i < s->len; i += used) {
		cp = unicode_decode(s->ptr + i, s->len - i, &used);
		b = cp == UNICODE_INVALID ? -1 : tok_char_to_byte(cp);
		if (b >= 0) {
			out[n++] = (uint8_t)b;
			continue;
		}
		/* Not written in the byte alphabet (added tokens): as it is. */
		memcpy(out + n, s->ptr + i, used);
		n += used;
	}
	return n;
}

static int byte_of(const struct npu_tokenizer *t, int32_t token)
{
	int b;

	for (b = 0; b < 256; b++)
		if (t->byte[b] == token)
			return b;
	return -1;
}

/* Bytes of a token at @out, which has room for the longest. */
static size_t token_bytes(const struct npu_detokenizer *d, int32_t token, uint8_t *out)
{
	const struct npu_tokenizer *t = d->t;
	struct npu_gguf_str s = npu_tokenizer_text(t, token);
	int b;

	switch (npu_tokenizer_type(t, token)) {
	case NPU_TOKEN_CONTROL:
	case NPU_TOKEN_UNKNOWN:
	case NPU_TOKEN_UNUSED:
		if (!(d->flags & NPU_DECODE_CONTROL))
			return 0;
		memcpy(out, s.ptr, s.len);
		return s.len;
	case NPU_TOKEN_USER_DEFINED:
		if (t->spm)
			return bytes_spm(&s, out);
		memcpy(out, s.ptr, s.len);
		return s.len;
	case NPU_TOKEN_BYTE:
		b = byte_of(t, token);
		out[0] = (uint8_t)b;
		return b >= 0 ? 1 : 0;
	default:
		return t->spm ? bytes_spm(&s, out) : bytes_bpe(&s, out);
	}
}

/* Copy @n bytes of raw to out, with U+FFFD for each byte that is no character. */
static size_t clean(const struct npu_detokenizer *d, size_t n)
{
	const char *raw = (const char *)d->raw;
	size_t i, len = 0;
	uint32_t used;

	for (i = 0; i < n; i += used) {
		if (unicode_decode(raw + i, n - i, &used) == UNICODE_INVALID) {
			memcpy(d->out + len, UNICODE_REPLACEMENT, 3);
			len += 3;
		} else {
			memcpy(d->out + len, raw + i, used);
			len += used;
		}
	}
	return len;
}

struct npu_gguf_str npu_detokenizer_push(struct npu_detokenizer *d, int32_t token)
{
	uint8_t *bytes = d->raw + d->held;
	size_t n = token_bytes(d, token, bytes), skip = 0, tail;
	struct npu_gguf_str s = { d->out, 0 };

	if (n && d->first) {
		if ((d->flags & NPU_DECODE_START) && d->t->spm && d->t->space_prefix &&
		    bytes[0] == ' ')
			skip = 1;
		d->first = false;
	}
	memmove(bytes, bytes + skip, n - skip);
	n += d->held - skip;
	tail = unicode_incomplete_tail((const char *)d->raw, n);
	s.len = clean(d, n - tail);
	memmove(d->raw, d->raw + n - tail, tail);
	d->held = tail;
	return s;
}

struct npu_gguf_str npu_detokenizer_flush(struct npu_detokenizer *d)
{
	struct npu_gguf_str s = { d->out, clean(d, d->held) };

	d->held = 0;
	d->first = true;
	return s;
}
