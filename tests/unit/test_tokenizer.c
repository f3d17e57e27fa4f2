// SPDX-License-Identifier: MIT
/*
 * Tokenizers: small vocabularies made here, whose every merge is known; and the
 * published vectors of real ones where they are (NPU_TEST_MODELS, or
 * ../shared/models beside the project).
 */
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <npu/tokenizer.h>

#include "gguf_build.h"
#include "test_models.h"

#define MAX_TOKENS	4096

struct vocab {
	uint8_t *mem;
	struct npu_gguf *g;
	struct npu_tokenizer *t;
};

static char err[512];

static int make(struct gguf_build *b, struct vocab *v)
{
	size_t size;

	v->mem = gb_finish(b, &size);
	assert_int_equal(npu_gguf_open_memory(v->mem, size, &v->g, err, sizeof(err)), 0);
	return npu_tokenizer_create(v->g, &v->t, err, sizeof(err));
}

static void drop(struct vocab *v)
{
	npu_tokenizer_destroy(v->t);
	npu_gguf_close(v->g);
	free(v->mem);
}

static void expect_refused(struct gguf_build *b, int code, const char *text)
{
	struct vocab v = { 0 };

	assert_int_equal(make(b, &v), code);
	assert_null(v.t);
	if (!strstr(err, text))
		fail_msg("message '%s' does not say '%s'", err, text);
	drop(&v);
}

/* <unk> <s> </s>, all bytes, then pieces: ids from 259. */
static void build_spm(struct gguf_build *b, const char *const *pieces, const float *scores,
		      const int32_t *types, size_t n)
{
	char bytes[256][8];
	const char *texts[300] = { "<unk>", "<s>", "</s>" };
	float score[300] = { 0 };
	int32_t type[300] = { NPU_TOKEN_UNKNOWN, NPU_TOKEN_CONTROL, NPU_TOKEN_CONTROL };
	size_t i;

	for (i = 0; i < 256; i++) {
		snprintf(bytes[i], sizeof(bytes[i]), "<0x%02X>", (unsigned int)i);
		texts[3 + i] = bytes[i];
		type[3 + i] = NPU_TOKEN_BYTE;
	}
	for (i = 0; i < n; i++) {
		texts[259 + i] = pieces[i];
		score[259 + i] = scores[i];
		type[259 + i] = types ? types[i] : NPU_TOKEN_NORMAL;
	}
	gb_init(b);
	gb_kv_str(b, "tokenizer.ggml.model", "llama");
	gb_kv_strs(b, "tokenizer.ggml.tokens", texts, 259 + n);
	gb_kv_array(b, "tokenizer.ggml.scores", NPU_GGUF_F32, score, 259 + n, 4);
	gb_kv_array(b, "tokenizer.ggml.token_type", NPU_GGUF_I32, type, 259 + n, 4);
}

static void expect_tokens(const struct vocab *v, const char *text, size_t len, unsigned int flags,
			  const int32_t *want, int64_t n)
{
	int32_t got[MAX_TOKENS];
	int64_t i, count = npu_tokenizer_encode(v->t, text, len, flags, got, MAX_TOKENS);

	assert_int_equal(count, n);
	for (i = 0; i < n; i++)
		assert_int_equal(got[i], want[i]);
}

#define EXPECT(v, text, flags, ...) \
	do { \
		const int32_t want_[] = { __VA_ARGS__ }; \
		expect_tokens(v, text, sizeof(text) - 1, flags, want_, \
			      sizeof(want_) / sizeof(want_[0])); \
	} while (0)

#define SP	"\xe2\x96\x81"

enum { T_SP = 259, T_A, T_B, T_AB, T_SPA, T_BA, T_IM };

static void make_ab(struct vocab *v)
{
	static const char *const pieces[] = { SP, "a", "b", "ab", SP "a", "ba", "<im>" };
	static const float scores[] = { -9, -8, -7, -1, -2, -3, 0 };
	static const int32_t types[] = { 1, 1, 1, 1, 1, 1, NPU_TOKEN_CONTROL };
	struct gguf_build b;

	build_spm(&b, pieces, scores, types, 7);
	assert_int_equal(make(&b, v), 0);
}

/* The pair with the best score merges first, wherever it is; equal ones from the left. */
static void spm_merges_by_score(void **state)
{
	struct vocab v;

	(void)state;
	make_ab(&v);
	assert_int_equal(npu_tokenizer_vocab_size(v.t), 259 + 7);
	assert_true(npu_tokenizer_adds_bos(v.t));
	EXPECT(&v, "ab", 0, T_SP, T_AB);	/* ab (-1) before _a (-2) */
	EXPECT(&v, "aab", 0, T_SPA, T_AB);
	EXPECT(&v, "abab", 0, T_SP, T_AB, T_AB);
	EXPECT(&v, "ba", 0, T_SP, T_BA);
	EXPECT(&v, "ab", NPU_ENCODE_CONTINUE, T_AB);
	EXPECT(&v, "ab", NPU_ENCODE_SPECIAL, 1, T_SP, T_AB);
	EXPECT(&v, "", NPU_ENCODE_SPECIAL, 1);
	drop(&v);
}

static void spm_falls_back_to_bytes(void **state)
{
	struct vocab v;

	(void)state;
	make_ab(&v);
	EXPECT(&v, "\xc3\xa4", NPU_ENCODE_CONTINUE, 3 + 0xc3, 3 + 0xa4);
	EXPECT(&v, "a\xff" "b", NPU_ENCODE_CONTINUE, T_A, 3 + 0xff, T_B);
	EXPECT(&v, "a\0b", NPU_ENCODE_CONTINUE, T_A, 3, T_B);
	/* cut in a character */
	EXPECT(&v, "\xe2\x96", NPU_ENCODE_CONTINUE, 3 + 0xe2, 3 + 0x96);
	drop(&v);
}

/* The text of a control token is that token only on request. */
static void control_tokens(void **state)
{
	struct npu_gguf_str s;
	struct vocab v;
	int32_t got[16];

	(void)state;
	make_ab(&v);
	EXPECT(&v, "a<im>b", NPU_ENCODE_CONTROL | NPU_ENCODE_CONTINUE, T_A, T_IM, T_SP, T_B);
	EXPECT(&v, "<im><im>", NPU_ENCODE_CONTROL, T_IM, T_IM);
	assert_int_equal(npu_tokenizer_encode(v.t, "<im>", 4, NPU_ENCODE_CONTINUE, got, 16), 4);
	assert_int_equal(npu_tokenizer_find(v.t, "<im>", 4), T_IM);
	assert_int_equal(npu_tokenizer_find(v.t, "nope", 4), -1);
	assert_int_equal(npu_tokenizer_type(v.t, T_IM), NPU_TOKEN_CONTROL);
	assert_int_equal(npu_tokenizer_special(v.t, NPU_TOKEN_EOS), 2);
	assert_true(npu_tokenizer_is_end(v.t, 2));
	assert_false(npu_tokenizer_is_end(v.t, T_A));
	assert_false(npu_tokenizer_is_end(v.t, -1));
	s = npu_tokenizer_text(v.t, 1 << 30);
	assert_int_equal(s.len, 0);
	drop(&v);
}

static void counts_what_does_not_fit(void **state)
{
	struct vocab v;
	int32_t got[2] = { -7, -7 };

	(void)state;
	make_ab(&v);
	assert_int_equal(npu_tokenizer_encode(v.t, "ab ab", 5, 0, NULL, 0), 4);
	assert_int_equal(npu_tokenizer_encode(v.t, "ab ab", 5, 0, got, 1), 4);
	assert_int_equal(got[0], T_SP);
	assert_int_equal(got[1], -7);
	assert_int_equal(npu_tokenizer_encode(v.t, NULL, 1, 0, got, 1), -EINVAL);
	drop(&v);
}

static void push(struct npu_detokenizer *d, int32_t token, const char *want)
{
	struct npu_gguf_str s = npu_detokenizer_push(d, token);

	assert_int_equal(s.len, strlen(want));
	assert_memory_equal(s.ptr, want, s.len);
}

/* A character leaves only when it is whole, and rubbish becomes U+FFFD. */
static void detokenizer_streams_whole_characters(void **state)
{
	struct npu_detokenizer *d;
	struct npu_gguf_str s;
	struct vocab v;

	(void)state;
	make_ab(&v);
	assert_int_equal(npu_detokenizer_create(v.t, NPU_DECODE_START, &d), 0);
	push(d, 1, "");			/* control */
	push(d, T_SPA, "a");		/* the space that encoding added */
	push(d, T_SPA, " a");
	push(d, 3 + 0xf0, "");
	push(d, 3 + 0x9f, "");
	push(d, 3 + 0xa6, "");
	push(d, 3 + 0x99, "\xf0\x9f\xa6\x99");
	push(d, 3 + 0xe2, "");
	push(d, T_A, "\xef\xbf\xbd" "a");	/* the character never comes */
	push(d, 3 + 0xff, "\xef\xbf\xbd");
	push(d, 3 + 0x80, "\xef\xbf\xbd");
	push(d, 3 + 0xe2, "");
	s = npu_detokenizer_flush(d);
	assert_int_equal(s.len, 3);
	s = npu_detokenizer_flush(d);
	assert_int_equal(s.len, 0);
	push(d, 1 << 20, "");		/* no such token */
	npu_detokenizer_destroy(d);
	assert_int_equal(npu_detokenizer_create(v.t, NPU_DECODE_CONTROL, &d), 0);
	push(d, T_IM, "<im>");
	npu_detokenizer_destroy(d);
	drop(&v);
}

/* GPT-2's stand-in characters of the 256 bytes, as UTF-8. */
static void byte_texts(char out[256][4])
{
	unsigned int b, next = 256, cp;

	for (b = 0; b < 256; b++) {
		cp = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174 ? b : next++;
		memset(out[b], 0, 4);
		if (cp < 128) {
			out[b][0] = (char)cp;
		} else {
			out[b][0] = (char)(0xc0 | cp >> 6);
			out[b][1] = (char)(0x80 | (cp & 63));
		}
	}
}

/* All bytes, then "ab", "abc", "Ġa"; merges in that order of rank. */
static void build_bpe(struct gguf_build *b, const char *pre)
{
	static const char *const merges[] = { "a b", "ab c", "\xc4\xa0 a", "not there" };
	char bytes[256][4];
	const char *texts[260];
	size_t i;

	byte_texts(bytes);
	for (i = 0; i < 256; i++)
		texts[i] = bytes[i];
	texts[256] = "ab";
	texts[257] = "abc";
	texts[258] = "\xc4\xa0" "a";
	texts[259] = "<|end|>";
	gb_init(b);
	gb_kv_str(b, "tokenizer.ggml.model", "gpt2");
	if (pre)
		gb_kv_str(b, "tokenizer.ggml.pre", pre);
	gb_kv_strs(b, "tokenizer.ggml.tokens", texts, 260);
	gb_kv_strs(b, "tokenizer.ggml.merges", merges, 4);
}

static void bpe_merges_by_rank(void **state)
{
	struct gguf_build b;
	struct vocab v;

	(void)state;
	build_bpe(&b, "gpt-2");
	assert_int_equal(make(&b, &v), 0);
	EXPECT(&v, "abc", 0, 257);
	EXPECT(&v, "abab", 0, 256, 256);
	EXPECT(&v, " a", 0, 258);
	EXPECT(&v, " ab", 0, 32, 256);		/* "a b" has the lower rank */
	EXPECT(&v, "a b", 0, 'a', 32, 'b');
	EXPECT(&v, "\xff\x01", 0, 0xff, 1);
	drop(&v);
}

/* Every byte comes back, whole characters at a time, from tokens that stand for bytes. */
static void bpe_gives_bytes_back(void **state)
{
	static const char text[] = " abc \xc3\xa9\t\n\xf0\x9f\xa6\x99 \xc2\xa0 ab<|end|>";
	int32_t tokens[MAX_TOKENS];
	struct npu_detokenizer *d;
	struct gguf_build b;
	struct vocab v;
	char got[2 * sizeof(text)];
	size_t at = 0;
	int64_t n, i;

	(void)state;
	build_bpe(&b, "gpt-2");
	assert_int_equal(make(&b, &v), 0);
	n = npu_tokenizer_encode(v.t, text, sizeof(text) - 1, 0, tokens, MAX_TOKENS);
	assert_true(n > 0 && n <= MAX_TOKENS);
	assert_int_equal(npu_detokenizer_create(v.t, 0, &d), 0);
	for (i = 0; i < n; i++) {
		struct npu_gguf_str s = npu_detokenizer_push(d, tokens[i]);

		assert_true(at + s.len <= sizeof(got));
		memcpy(got + at, s.ptr, s.len);
		at += s.len;
	}
	assert_int_equal(at, sizeof(text) - 1);
	assert_memory_equal(got, text, at);
	push(d, 0xc3, "");
	push(d, 0xa9, "\xc3\xa9");
	push(d, 259, "<|end|>");	/* not in the alphabet of bytes: as it is written */
	npu_detokenizer_destroy(d);
	drop(&v);
}

/*
 * How many words a pre-tokenizer makes of a text, seen through a vocabulary without merges across
 * them.
 */
static void expect_pre(const char *pre, const char *text, int64_t abcs)
{
	struct gguf_build b;
	struct vocab v;
	int32_t got[MAX_TOKENS];
	int64_t i, n, found = 0;

	build_bpe(&b, pre);
	assert_int_equal(make(&b, &v), 0);
	n = npu_tokenizer_encode(v.t, text, strlen(text), 0, got, MAX_TOKENS);
	for (i = 0; i < n; i++)
		found += got[i] >= 256;
	assert_int_equal(found, abcs);
	drop(&v);
}

static void pre_tokenizers_differ(void **state)
{
	(void)state;
	expect_pre("gpt-2", "  a", 1);		/* one space stays, the other goes with the word */
	expect_pre("llama-bpe", "  a", 1);
	expect_pre("qwen2", "\na", 0);		/* a newline goes with no word */
	expect_pre("smollm", " 1ab", 1);
	expect_pre("gpt-2", "1ab", 1);
}

static void refuses_bad_vocabularies(void **state)
{
	static const char *const pieces[] = { "a" };
	static const float nan_score[] = { __builtin_nanf("") }, score[] = { 0 };
	struct gguf_build b;

	(void)state;
	gb_init(&b);
	expect_refused(&b, -EBADMSG, "tokenizer.ggml.model is missing");
	gb_init(&b);
	gb_kv_str(&b, "tokenizer.ggml.model", "rwkv");
	expect_refused(&b, -ENOTSUP, "'rwkv' is not supported");
	gb_init(&b);
	gb_kv_str(&b, "tokenizer.ggml.model", "llama");
	expect_refused(&b, -EBADMSG, "tokenizer.ggml.tokens is missing");
	gb_init(&b);
	gb_kv_str(&b, "tokenizer.ggml.model", "llama");
	gb_kv_strs(&b, "tokenizer.ggml.tokens", pieces, 1);
	expect_refused(&b, -EBADMSG, "tokenizer.ggml.scores is missing");
	build_spm(&b, pieces, nan_score, NULL, 1);
	expect_refused(&b, -EBADMSG, "is not a number");
	build_spm(&b, pieces, score, NULL, 1);
	gb_kv_u32(&b, "tokenizer.ggml.bos_token_id", 260);
	expect_refused(&b, -EBADMSG, "there are 260 tokens");
	build_bpe(&b, "unheard-of");
	expect_refused(&b, -ENOTSUP, "pre-tokenizer 'unheard-of'");
	build_bpe(&b, NULL);
	expect_refused(&b, -ENOTSUP, "pre-tokenizer ''");
}

/* A million equal letters end soon: merging is not quadratic. */
static void long_words_are_fast(void **state)
{
	size_t n = 1 << 20;
	char *text = malloc(n);
	struct gguf_build b;
	struct vocab v;

	(void)state;
	memset(text, 'a', n);
	make_ab(&v);
	assert_true(npu_tokenizer_encode(v.t, text, n, 0, NULL, 0) > 0);
	drop(&v);
	build_bpe(&b, "llama-bpe");
	assert_int_equal(make(&b, &v), 0);
	assert_int_equal(npu_tokenizer_encode(v.t, text, n, 0, NULL, 0), n);
	drop(&v);
	free(text);
}

/* ---- Published vectors ----------------------------------------------------------- */

/* One text and its line of token numbers. */
static void check_vector(const struct vocab *v, const char *text, size_t len, char *line,
			 unsigned int number)
{
	int32_t got[MAX_TOKENS];
	int64_t i, n = npu_tokenizer_encode(v->t, text, len, 0, got, MAX_TOKENS);
	struct npu_detokenizer *d;
	size_t at = 0;
	char *end;

	for (i = 0; i < n; i++) {
		assert_int_equal(strtol(line, &end, 10), got[i]);
		if (end == line)
			fail_msg("text %u has too many tokens", number);
		line = end;
	}
	if (strspn(line, " ") != strlen(line))
		fail_msg("text %u has too few tokens", number);
	assert_int_equal(npu_detokenizer_create(v->t, NPU_DECODE_START, &d), 0);
	for (i = 0; i < n; i++) {
		struct npu_gguf_str s = npu_detokenizer_push(d, got[i]);

		assert_true(at + s.len <= len);
		assert_memory_equal(text + at, s.ptr, s.len);
		at += s.len;
	}
	assert_int_equal(at, len);
	npu_detokenizer_destroy(d);
}

static void check_vectors(const char *name)
{
	static const char separator[] = "\n__ggml_vocab_test__\n";
	char path[PATH_MAX], file[PATH_MAX + 8], *texts, *lines, *text, *line, *end, *nl;
	unsigned int n = 0;
	struct vocab v = { 0 };

	if (!test_model(name, path, sizeof(path)))
		skip();
	assert_int_equal(npu_gguf_open(path, &v.g, err, sizeof(err)), 0);
	assert_int_equal(npu_tokenizer_create(v.g, &v.t, err, sizeof(err)), 0);
	snprintf(file, sizeof(file), "%s.inp", path);
	texts = text = test_read(file);
	snprintf(file, sizeof(file), "%s.out", path);
	lines = line = test_read(file);
	assert_true(texts && lines);
	for (; *text; n++, text = end + strlen(separator), line = nl + 1) {
		end = strstr(text, separator);
		nl = strchr(line, '\n');
		assert_non_null(nl);
		*nl = 0;
		check_vector(&v, text, end ? (size_t)(end - text) : strlen(text), line, n);
		if (!end)
			break;
	}
	assert_true(n > 40);
	free(texts);
	free(lines);
	drop(&v);
}

static void vectors_llama(void **state)
{
	(void)state;
	check_vectors("ggml-vocab-llama-spm.gguf");
}

static void vectors_gpt2(void **state)
{
	(void)state;
	check_vectors("ggml-vocab-gpt-2.gguf");
}

static void vectors_qwen2(void **state)
{
	(void)state;
	check_vectors("ggml-vocab-qwen2.gguf");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(spm_merges_by_score),
		cmocka_unit_test(spm_falls_back_to_bytes),
		cmocka_unit_test(control_tokens),
		cmocka_unit_test(counts_what_does_not_fit),
		cmocka_unit_test(detokenizer_streams_whole_characters),
		cmocka_unit_test(bpe_merges_by_rank),
		cmocka_unit_test(bpe_gives_bytes_back),
		cmocka_unit_test(pre_tokenizers_differ),
		cmocka_unit_test(refuses_bad_vocabularies),
		cmocka_unit_test(long_words_are_fast),
		cmocka_unit_test(vectors_llama),
		cmocka_unit_test(vectors_gpt2),
		cmocka_unit_test(vectors_qwen2),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
