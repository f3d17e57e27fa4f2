// SPDX-License-Identifier: MIT
/*
 * Tokenizer: reads and checks the metadata, cuts out special tokens, hands the rest to
 * tok_merge.c.
 */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tok_internal.h"
#include "unicode.h"

#define TOK_MAX_VOCAB	(1u << 24)
#define TOK_MAX_TEXT	(1u << 30)

struct loader {
	struct npu_tokenizer *t;
	char *err;
	size_t err_size;
};

__attribute__((format(printf, 3, 4)))
static int tok_fail(struct loader *l, int code, const char *fmt, ...)
{
	va_list ap;

	if (l->err && l->err_size) {
		va_start(ap, fmt);
		vsnprintf(l->err, l->err_size, fmt, ap);
		va_end(ap);
	}
	return code;
}

static int no_memory(struct loader *l)
{
	return tok_fail(l, -ENOMEM, "out of memory for the tokenizer");
}

/* ---- Vocabulary ----------------------------------------------------------------- */

static int load_texts(struct loader *l)
{
	struct npu_tokenizer *t = l->t;
	const struct npu_gguf_kv *kv = npu_gguf_find(t->g, "tokenizer.ggml.tokens");
	const uint8_t *pos = NULL;
	uint32_t i;

	if (!kv || !kv->is_array || kv->type != NPU_GGUF_STRING || kv->count == 0 ||
	    kv->count > TOK_MAX_VOCAB)
		return tok_fail(l, -EBADMSG,
				"tokenizer.ggml.tokens is missing, or no list of 1 to %u texts",
				TOK_MAX_VOCAB);
	t->n = (uint32_t)kv->count;
	t->text = calloc(t->n, sizeof(*t->text));
	t->type = malloc(t->n);
	if (!t->text || !t->type || tok_map_init(&t->by_text, t->n))
		return no_memory(l);
	memset(t->type, NPU_TOKEN_NORMAL, t->n);
	for (i = 0; i < t->n && npu_gguf_kv_next_str(kv, &pos, &t->text[i]); i++)
		if (t->text[i].len > t->longest)
			t->longest = t->text[i].len;
	return 0;
}

static int load_types(struct loader *l)
{
	struct npu_tokenizer *t = l->t;
	const struct npu_gguf_kv *kv = npu_gguf_find(t->g, "tokenizer.ggml.token_type");
	int64_t v;
	uint32_t i;

	if (!kv)
		return 0;
	if (!kv->is_array || kv->count != t->n)
		return tok_fail(l, -EBADMSG,
				"tokenizer.ggml.token_type has %llu entries for %u tokens",
				(unsigned long long)kv->count, t->n);
	for (i = 0; i < t->n; i++) {
		if (npu_gguf_kv_int(kv, i, &v) || v < 0 || v > NPU_TOKEN_BYTE)
			return tok_fail(l, -EBADMSG,
					"tokenizer.ggml.token_type: token %u has no known type", i);
		t->type[i] = (uint8_t)v;
	}
	return 0;
}

/* Text that merging may produce. Control tokens come only from the model or on request. */
static bool is_mergeable(const struct npu_tokenizer *t, uint32_t i)
{
	return t->text[i].len && t->type[i] != NPU_TOKEN_CONTROL && t->type[i] != NPU_TOKEN_BYTE &&
	       t->type[i] != NPU_TOKEN_UNKNOWN && t->type[i] != NPU_TOKEN_UNUSED;
}

static int load_scores(struct loader *l)
{
	struct npu_tokenizer *t = l->t;
	const struct npu_gguf_kv *kv = npu_gguf_find(t->g, "tokenizer.ggml.scores");
	double v;
	uint32_t i;

	if (!kv || !kv->is_array || kv->count != t->n)
		return tok_fail(
			l, -EBADMSG,
			"tokenizer.ggml.scores is missing or has another length than the %u tokens",
			t->n);
	t->score = malloc(t->n * sizeof(*t->score));
	if (!t->score)
		return no_memory(l);
	for (i = 0; i < t->n; i++) {
		if (npu_gguf_kv_float(kv, i, &v) || isnan(v))
			return tok_fail(l, -EBADMSG,
					"tokenizer.ggml.scores: entry %u is not a number", i);
		t->score[i] = (float)v;
	}
	return 0;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "<0xHH>" -> the byte, else -1. */
static int byte_token(const struct npu_gguf_str *s)
{
	int hi, lo;

	if (s->len != 6 || memcmp(s->ptr, "<0x", 3) || s->ptr[5] != '>')
		return -1;
	hi = hex_digit(s->ptr[3]);
	lo = hex_digit(s->ptr[4]);
	return hi < 0 || lo < 0 ? -1 : hi * 16 + lo;
}

static int load_spm(struct loader *l)
{
	struct npu_tokenizer *t = l->t;
	int b, ret = load_scores(l);
	uint32_t i;

	if (ret)
		return ret;
	for (i = 0; i < t->n; i++) {
		if (is_mergeable(t, i))
			tok_vocab_insert(t, (int32_t)i);
		b = t->type[i] == NPU_TOKEN_BYTE ? byte_token(&t->text[i]) : -1;
		if (b >= 0)
			t->byte[b] = (int32_t)i;
	}
	return 0;
}

/* ---- Byte-level BPE ---------------------------------------------------------------- */

uint32_t tok_byte_to_char(uint8_t b)
{
	/* Printable Latin-1 stands for itself; the other 68 bytes are U+0100 and up, in order. */
	if ((b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174)
		return b;
	if (b <= 32)
		return 256u + b;
	if (b <= 160)
		return 256u + 33 + (b - 127u);
	return 256u + 67;	/* 173 */
}

int tok_char_to_byte(uint32_t cp)
{
	if ((cp >= 33 && cp <= 126) || (cp >= 161 && cp <= 172) || (cp >= 174 && cp <= 255))
		return (int)cp;
	if (cp >= 256 && cp <= 288)
		return (int)cp - 256;
	if (cp > 288 && cp <= 322)
		return (int)cp - 289 + 127;
	return cp == 323 ? 173 : -1;
}

/* "left right" -> a rule, when all three are tokens. */
static bool parse_rule(const struct npu_tokenizer *t, const struct npu_gguf_str *s,
		       struct tok_rule *r)
{
	const char *space;
	char joined[1024];
	size_t left;

	if (s->len < 3 || s->len > sizeof(joined))
		return false;
	space = memchr(s->ptr + 1, ' ', s->len - 1);
	if (!space)
		return false;
	left = (size_t)(space - s->ptr);
	memcpy(joined, s->ptr, left);
	memcpy(joined + left, space + 1, s->len - left - 1);
	r->left = tok_find(t, s->ptr, left);
	r->right = tok_find(t, space + 1, s->len - left - 1);
	r->id = tok_find(t, joined, s->len - 1);
	return r->left >= 0 && r->right >= 0 && r->id >= 0;
}

static int load_merges(struct loader *l)
{
	struct npu_tokenizer *t = l->t;
	const struct npu_gguf_kv *kv = npu_gguf_find(t->g, "tokenizer.ggml.merges");
	const uint8_t *pos = NULL;
	struct npu_gguf_str s;

	if (!kv || !kv->is_array || kv->type != NPU_GGUF_STRING || kv->count > TOK_MAX_VOCAB)
		return tok_fail(l, -EBADMSG,
				"tokenizer.ggml.merges is missing, or no list of texts");
	t->rules = malloc((kv->count ? kv->count : 1) * sizeof(*t->rules));
	if (!t->rules || tok_map_init(&t->by_pair, kv->count))
		return no_memory(l);
	while (npu_gguf_kv_next_str(kv, &pos, &s)) {
		if (!parse_rule(t, &s, &t->rules[t->n_rules]))
			continue;
		tok_rule_insert(t, t->n_rules);
		t->n_rules++;
	}
	return 0;
}

static const struct {
	const char *name;
	enum tok_pre pre;
	bool whole_words, add_bos;
} pre_tokenizers[] = {
	{ "gpt-2", TOK_PRE_GPT2, false, false },
	{ "gpt2", TOK_PRE_GPT2, false, false },
	{ "phi-2", TOK_PRE_GPT2, false, false },
	{ "llama-bpe", TOK_PRE_LLAMA3, true, true },
	{ "llama3", TOK_PRE_LLAMA3, true, true },
	{ "llama-v3", TOK_PRE_LLAMA3, true, true },
	{ "qwen2", TOK_PRE_QWEN2, false, false },
	{ "deepseek-r1-qwen", TOK_PRE_QWEN2, false, false },
	{ "smollm", TOK_PRE_SMOLLM, false, false },
};

static int load_pre(struct loader *l)
{
	struct npu_gguf_str name = { "", 0 };
	size_t i;

	npu_gguf_get_str(l->t->g, "tokenizer.ggml.pre", &name);
	for (i = 0; i < sizeof(pre_tokenizers) / sizeof(pre_tokenizers[0]); i++) {
		if (strlen(pre_tokenizers[i].name) != name.len ||
		    memcmp(pre_tokenizers[i].name, name.ptr, name.len))
			continue;
		l->t->pre = pre_tokenizers[i].pre;
		l->t->whole_words = pre_tokenizers[i].whole_words;
		l->t->add_bos = pre_tokenizers[i].add_bos;
		return 0;
	}
	return tok_fail(
		l, -ENOTSUP,
		"pre-tokenizer '%.*s' is not supported (gpt-2, llama-bpe, qwen2 and smollm are)",
		(int)(name.len < 64 ? name.len : 64), name.ptr);
}

static int load_bpe(struct loader *l)
{
	struct npu_tokenizer *t = l->t;
	int b, ret = load_pre(l);
	char text[4];
	uint32_t i;

	if (ret)
		return ret;
	for (i = 0; i < t->n; i++)
		if (is_mergeable(t, i))
			tok_vocab_insert(t, (int32_t)i);
	for (b = 0; b < 256; b++)
		t->byte[b] = tok_find(t, text, unicode_encode(tok_byte_to_char((uint8_t)b), text));
	return load_merges(l);
}

/* ---- Special tokens ------------------------------------------------------------------ */

static int load_role(struct loader *l, const char *key, enum npu_token_role role, int32_t def)
{
	uint32_t v;
	int ret = npu_gguf_get_u32(l->t->g, key, &v);

	l->t->role[role] = def >= 0 && (uint32_t)def < l->t->n ? def : -1;
	if (ret == -ENOENT)
		return 0;
	/* Some files write -1 or 2^32 - 1 for "none". */
	if (ret || v == UINT32_MAX) {
		l->t->role[role] = -1;
		return 0;
	}
	if (v >= l->t->n)
		return tok_fail(l, -EBADMSG, "%s is %u, but there are %u tokens", key, v, l->t->n);
	l->t->role[role] = (int32_t)v;
	return 0;
}

/* Tokens that end a turn, by their usual texts, where the file does not say. */
static const char *const end_texts[] = {
	"<|im_end|>", "<|eot_id|>",    "<|eom_id|>",	  "<|endoftext|>",
	"<|end|>",    "<end_of_turn>", "<|end_of_text|>",
};

static bool is_end_text(const struct npu_gguf_str *s)
{
	size_t i;

	for (i = 0; i < sizeof(end_texts) / sizeof(end_texts[0]); i++)
		if (strlen(end_texts[i]) == s->len && !memcmp(end_texts[i], s->ptr, s->len))
			return true;
	return false;
}

static int load_roles(struct loader *l)
{
	bool spm = l->t->spm;
	int ret;

	if ((ret = load_role(l, "tokenizer.ggml.bos_token_id", NPU_TOKEN_BOS, spm ? 1 : -1)) ||
	    (ret = load_role(l, "tokenizer.ggml.eos_token_id", NPU_TOKEN_EOS, spm ? 2 : -1)) ||
	    (ret = load_role(l, "tokenizer.ggml.eot_token_id", NPU_TOKEN_EOT, -1)) ||
	    (ret = load_role(l, "tokenizer.ggml.unknown_token_id", NPU_TOKEN_UNK, spm ? 0 : -1)))
		return ret;
	npu_gguf_get_bool(l->t->g, "tokenizer.ggml.add_bos_token", &l->t->add_bos);
	npu_gguf_get_bool(l->t->g, "tokenizer.ggml.add_eos_token", &l->t->add_eos);
	npu_gguf_get_bool(l->t->g, "tokenizer.ggml.add_space_prefix", &l->t->space_prefix);
	return 0;
}

struct special {
	size_t len;
	int32_t id;
};

/* Longest first, so that of two that begin alike the longer one is found. */
static int compare_special(const void *a, const void *b)
{
	const struct special *x = a, *y = b;

	if (x->len != y->len)
		return x->len < y->len ? 1 : -1;
	return (x->id > y->id) - (x->id < y->id);
}

static int load_special(struct loader *l)
{
	struct npu_tokenizer *t = l->t;
	struct special *s;
	uint32_t i, n = 0;

	for (i = 0; i < t->n; i++)
		n += t->text[i].len &&
		     (t->type[i] == NPU_TOKEN_CONTROL || t->type[i] == NPU_TOKEN_USER_DEFINED);
	s = malloc((n + 1) * sizeof(*s));
	t->special = malloc((n + 1) * sizeof(*t->special));
	if (!s || !t->special) {
		free(s);
		return no_memory(l);
	}
	for (i = 0; i < t->n; i++)
		if (t->text[i].len &&
		    (t->type[i] == NPU_TOKEN_CONTROL || t->type[i] == NPU_TOKEN_USER_DEFINED))
			s[t->n_special++] = (struct special){ t->text[i].len, (int32_t)i };
	qsort(s, n, sizeof(*s), compare_special);
	for (i = 0; i < n; i++) {
		t->special[i] = s[i].id;
		t->special_first[(uint8_t)t->text[s[i].id].ptr[0]] = true;
	}
	free(s);
	return 0;
}

/* ---- Making and freeing ---------------------------------------------------------------- */

static int load_model(struct loader *l)
{
	struct npu_gguf_str model;

	if (npu_gguf_get_str(l->t->g, "tokenizer.ggml.model", &model))
		return tok_fail(l, -EBADMSG,
				"the file has no tokenizer (tokenizer.ggml.model is missing)");
	if (model.len == 5 && !memcmp(model.ptr, "llama", 5)) {
		l->t->spm = l->t->add_bos = l->t->space_prefix = true;
		return 0;
	}
	if (model.len == 4 && !memcmp(model.ptr, "gpt2", 4))
		return 0;
	return tok_fail(l, -ENOTSUP, "tokenizer '%.*s' is not supported (llama and gpt2 are)",
			(int)(model.len < 64 ? model.len : 64), model.ptr);
}

int npu_tokenizer_create(const struct npu_gguf *g, struct npu_tokenizer **out, char *err,
			 size_t err_size)
{
	struct loader l = { .err = err, .err_size = err_size };
	int ret;

	if (!g || !out)
		return -EINVAL;
	*out = NULL;
	l.t = calloc(1, sizeof(*l.t));
	if (!l.t)
		return no_memory(&l);
	l.t->g = g;
	memset(l.t->byte, 0xff, sizeof(l.t->byte));
	if ((ret = load_model(&l)) || (ret = load_texts(&l)) || (ret = load_types(&l)) ||
	    (ret = l.t->spm ? load_spm(&l) : load_bpe(&l)) || (ret = load_roles(&l)) ||
	    (ret = load_special(&l))) {
		npu_tokenizer_destroy(l.t);
		return ret;
	}
	*out = l.t;
	return 0;
}

void npu_tokenizer_destroy(struct npu_tokenizer *t)
{
	if (!t)
		return;
	free(t->text);
	free(t->type);
	free(t->score);
	free(t->rules);
	free(t->special);
	tok_map_free(&t->by_text);
	tok_map_free(&t->by_pair);
	free(t);
}

/* ---- Questions ------------------------------------------------------------------------- */

uint32_t npu_tokenizer_vocab_size(const struct npu_tokenizer *t)
{
	return t->n;
}

int32_t npu_tokenizer_special(const struct npu_tokenizer *t, enum npu_token_role role)
{
	return (unsigned int)role < NPU_TOKEN_ROLES ? t->role[role] : -1;
}

bool npu_tokenizer_is_end(const struct npu_tokenizer *t, int32_t token)
{
	if (token < 0 || (uint32_t)token >= t->n)
		return false;
	return token == t->role[NPU_TOKEN_EOS] || token == t->role[NPU_TOKEN_EOT] ||
	       (t->type[token] == NPU_TOKEN_CONTROL && is_end_text(&t->text[token]));
}

bool npu_tokenizer_adds_bos(const struct npu_tokenizer *t)
{
	return t->add_bos && t->role[NPU_TOKEN_BOS] >= 0;
}

int32_t npu_tokenizer_find(const struct npu_tokenizer *t, const char *text, size_t len)
{
	uint32_t i;
	int32_t id = tok_find(t, text, len);

	/* Control tokens are not in the table of texts. */
	for (i = 0; id < 0 && i < t->n_special; i++)
		if (t->text[t->special[i]].len == len &&
		    !memcmp(t->text[t->special[i]].ptr, text, len))
			id = t->special[i];
	return id;
}

struct npu_gguf_str npu_tokenizer_text(const struct npu_tokenizer *t, int32_t token)
{
	if (token < 0 || (uint32_t)token >= t->n)
		return (struct npu_gguf_str){ "", 0 };
	return t->text[token];
}

enum npu_token_type npu_tokenizer_type(const struct npu_tokenizer *t, int32_t token)
{
	return token >= 0 && (uint32_t)token < t->n ? t->type[token] : NPU_TOKEN_UNDEFINED;
}

/* ---- Encoding ---------------------------------------------------------------------------- */

/* The special token at the beginning of @s, or -1. */
static int32_t special_at(const struct npu_tokenizer *t, const char *s, size_t len, bool control)
{
	uint32_t i;

	if (!t->special_first[(uint8_t)s[0]])
		return -1;
	for (i = 0; i < t->n_special; i++) {
		int32_t id = t->special[i];

		if (!control && t->type[id] == NPU_TOKEN_CONTROL)
			continue;
		if (t->text[id].len <= len && !memcmp(t->text[id].ptr, s, t->text[id].len))
			return id;
	}
	return -1;
}

/* SPM: spaces become U+2581, with one in front if asked. */
static int encode_escaped(const struct npu_tokenizer *t, const char *s, size_t len, bool prefix,
			  struct tok_list *out)
{
	size_t i, n = 0;
	char *buf;
	int ret;

	buf = malloc(TOK_SPACE_LEN * (len + 1));
	if (!buf)
		return -ENOMEM;
	if (prefix) {
		memcpy(buf, TOK_SPACE, TOK_SPACE_LEN);
		n = TOK_SPACE_LEN;
	}
	for (i = 0; i < len; i++) {
		if (s[i] == ' ') {
			memcpy(buf + n, TOK_SPACE, TOK_SPACE_LEN);
			n += TOK_SPACE_LEN;
		} else {
			buf[n++] = s[i];
		}
	}
	ret = tok_encode_spm(t, buf, n, out);
	free(buf);
	return ret;
}

static int encode_plain(const struct npu_tokenizer *t, const char *s, size_t len, bool prefix,
			struct tok_list *out)
{
	if (!len)
		return 0;
	if (t->spm)
		return encode_escaped(t, s, len, prefix && t->space_prefix, out);
	return tok_encode_bpe(t, s, len, out);
}

static int encode(const struct npu_tokenizer *t, const char *s, size_t len, unsigned int flags,
		  struct tok_list *out)
{
	bool prefix = !(flags & NPU_ENCODE_CONTINUE);
	size_t start = 0, pos = 0;
	int32_t id;
	int ret = 0;

	if ((flags & NPU_ENCODE_SPECIAL) && npu_tokenizer_adds_bos(t))
		ret = tok_list_add(out, t->role[NPU_TOKEN_BOS]);
	while (pos < len && !ret) {
		id = special_at(t, s + pos, len - pos, flags & NPU_ENCODE_CONTROL);
		if (id < 0) {
			pos++;
			continue;
		}
		ret = encode_plain(t, s + start, pos - start, prefix, out);
		if (!ret)
			ret = tok_list_add(out, id);
		prefix = true;
		pos += t->text[id].len;
		start = pos;
	}
	if (!ret)
		ret = encode_plain(t, s + start, len - start, prefix, out);
	if (!ret && (flags & NPU_ENCODE_SPECIAL) && t->add_eos && t->role[NPU_TOKEN_EOS] >= 0)
		ret = tok_list_add(out, t->role[NPU_TOKEN_EOS]);
	return ret;
}

int64_t npu_tokenizer_encode(const struct npu_tokenizer *t, const char *text, size_t len,
			     unsigned int flags, int32_t *tokens, size_t max)
{
	struct tok_list list = { 0 };
	int64_t ret;

	if (!t || (!text && len) || (!tokens && max))
		return -EINVAL;
	if (len >= TOK_MAX_TEXT / TOK_SPACE_LEN)
		return -E2BIG;
	ret = encode(t, text, len, flags, &list);
	if (!ret) {
		ret = (int64_t)list.n;
		if (list.n && max)
			memcpy(tokens, list.ids, (list.n < max ? list.n : max) * sizeof(*tokens));
	}
	free(list.ids);
	return ret;
}
