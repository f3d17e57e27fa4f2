// SPDX-License-Identifier: MIT
/*
 * libFuzzer target: GGUF files and their tokenizers. Whatever the bytes are, the
 * loader refuses them or serves only what lies inside; a tokenizer that is made
 * encodes and decodes any text.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <npu/gguf.h>
#include <npu/tokenizer.h>

#define TOKENS	512

static volatile uint64_t sink;

static void touch(const void *data, uint64_t size)
{
	const uint8_t *p = data;
	uint64_t i;

	for (i = 0; i < size; i++)
		sink += p[i];
}

static void read_all(const struct npu_gguf *g)
{
	const struct npu_gguf_kv *kv;
	const struct npu_gguf_tensor *t;
	const uint8_t *pos;
	struct npu_gguf_str s;
	uint64_t i, n;
	int64_t v;
	double d;

	for (i = 0; (kv = npu_gguf_kv(g, i)); i++) {
		if (npu_gguf_find(g, kv->key) != kv)
			abort();
		for (n = 0, pos = NULL; npu_gguf_kv_next_str(kv, &pos, &s); n++)
			touch(s.ptr, s.len);
		if (kv->type == NPU_GGUF_STRING && n != kv->count)
			abort();
		for (n = 0; n < kv->count && n < 64; n++)
			if (npu_gguf_kv_int(kv, n, &v) && npu_gguf_kv_float(kv, n, &d))
				break;
	}
	for (i = 0; (t = npu_gguf_tensor(g, i)); i++) {
		if (npu_gguf_find_tensor(g, t->name) != t || !npu_gguf_type_info(t->type))
			abort();
		touch(t->data, t->size);
	}
}

static void use_tokenizer(const struct npu_gguf *g, const char *text, size_t len)
{
	struct npu_tokenizer *t;
	struct npu_detokenizer *d;
	struct npu_gguf_str s;
	int32_t tokens[TOKENS];
	int64_t i, n;

	if (npu_tokenizer_create(g, &t, NULL, 0))
		return;
	n = npu_tokenizer_encode(t, text, len, NPU_ENCODE_SPECIAL | NPU_ENCODE_CONTROL, tokens,
				 TOKENS);
	if (n < 0 || npu_detokenizer_create(t, NPU_DECODE_START | NPU_DECODE_CONTROL, &d))
		abort();
	for (i = 0; i < n && i < TOKENS; i++) {
		if (tokens[i] < 0 || (uint32_t)tokens[i] >= npu_tokenizer_vocab_size(t))
			abort();
		s = npu_detokenizer_push(d, tokens[i]);
		touch(s.ptr, s.len);
	}
	npu_detokenizer_flush(d);
	npu_detokenizer_destroy(d);
	npu_tokenizer_destroy(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The last bytes of the input, at most 64, are also the text. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t len = size < 64 ? size : 64;
	struct npu_gguf *g;
	char err[256];
	void *copy;

	if (posix_memalign(&copy, 32, size ? size : 1))
		return 0;
	memcpy(copy, data, size);
	if (!npu_gguf_open_memory(copy, size, &g, err, sizeof(err))) {
		read_all(g);
		use_tokenizer(g, (const char *)data + size - len, len);
		npu_gguf_close(g);
	}
	free(copy);
	return 0;
}
