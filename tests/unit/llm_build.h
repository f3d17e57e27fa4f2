/* SPDX-License-Identifier: MIT */
/* Small language models with random weights, written as GGUF files. The includer has cmocka's assertions. */
#ifndef LLM_BUILD_H
#define LLM_BUILD_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <npu/tokenizer.h>

#include "gguf_build.h"

#define V	64u	/* vocabulary of the random models */

struct shape {
	const char *arch;
	uint32_t embd, ff, layers, heads, kv_heads, head_dim;
	bool bias, qk_norm, tied;
};

static const struct shape tiny_llama = { "llama", 64, 96, 2, 4, 2, 16, false, false, false };

/* Weights by name, so that the test's own forward pass finds them again. */
struct weights {
	struct {
		char name[40];
		float *w;
	} t[64];
	uint32_t n;
};

static inline float random_weight(uint32_t *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return ((float)(*seed >> 8) / (1 << 23) - 1) * 0.3f;
}

static inline void add_tensor(struct gguf_build *b, struct weights *w, const char *name, uint64_t ne0,
		       uint64_t ne1, float bias, uint32_t *seed)
{
	size_t i, n = ne0 * (ne1 ? ne1 : 1);
	float *data = malloc(n * sizeof(*data));

	for (i = 0; i < n; i++)
		data[i] = bias + random_weight(seed);
	gb_tensor(b, name, 0, ne0, ne1, data, n * sizeof(*data));
	snprintf(w->t[w->n].name, sizeof(w->t[0].name), "%s", name);
	w->t[w->n++].w = data;
}

static inline void free_weights(struct weights *w)
{
	while (w->n)
		free(w->t[--w->n].w);
}

static inline void put_vocabulary(struct gguf_build *b)
{
	static char texts[V][8];
	const char *list[V];
	float scores[V];
	int32_t types[V];
	uint32_t i;

	for (i = 0; i < V; i++) {
		if (i < 3)
			snprintf(texts[i], sizeof(texts[i]), "%s",
				 (const char *const[]){ "<unk>", "<s>", "</s>" }[i]);
		else
			snprintf(texts[i], sizeof(texts[i]), "%c", (int)(i - 3 + 'A'));
		list[i] = texts[i];
		scores[i] = -(float)i;
		types[i] = i == 0  ? NPU_TOKEN_UNKNOWN
			   : i < 3 ? NPU_TOKEN_CONTROL
				   : NPU_TOKEN_NORMAL;
	}
	gb_kv_str(b, "tokenizer.ggml.model", "llama");
	gb_kv_strs(b, "tokenizer.ggml.tokens", list, V);
	gb_kv_array(b, "tokenizer.ggml.scores", NPU_GGUF_F32, scores, V, 4);
	gb_kv_array(b, "tokenizer.ggml.token_type", NPU_GGUF_I32, types, V, 4);
}

static inline void put_number(struct gguf_build *b, const struct shape *s, const char *key, uint32_t v)
{
	char full[64];

	snprintf(full, sizeof(full), "%s.%s", s->arch, key);
	gb_kv_u32(b, full, v);
}

static inline void put_layer(struct gguf_build *b, struct weights *w, const struct shape *s, uint32_t il,
		      uint32_t *seed)
{
	const uint32_t nq = s->heads * s->head_dim, nkv = s->kv_heads * s->head_dim;
	const struct {
		const char *name;
		uint32_t ne0, ne1;
		float bias;
		bool present;
	} list[] = {
		{ "attn_norm.weight", s->embd, 0, 1, true },
		{ "attn_q.weight", s->embd, nq, 0, true },
		{ "attn_k.weight", s->embd, nkv, 0, true },
		{ "attn_v.weight", s->embd, nkv, 0, true },
		{ "attn_q.bias", nq, 0, 0, s->bias },
		{ "attn_k.bias", nkv, 0, 0, s->bias },
		{ "attn_v.bias", nkv, 0, 0, s->bias },
		{ "attn_q_norm.weight", s->head_dim, 0, 1, s->qk_norm },
		{ "attn_k_norm.weight", s->head_dim, 0, 1, s->qk_norm },
		{ "attn_output.weight", nq, s->embd, 0, true },
		{ "ffn_norm.weight", s->embd, 0, 1, true },
		{ "ffn_gate.weight", s->embd, s->ff, 0, true },
		{ "ffn_up.weight", s->embd, s->ff, 0, true },
		{ "ffn_down.weight", s->ff, s->embd, 0, true },
	};
	char name[64];
	size_t i;

	for (i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
		snprintf(name, sizeof(name), "blk.%u.%s", il, list[i].name);
		if (list[i].present)
			add_tensor(b, w, name, list[i].ne0, list[i].ne1, list[i].bias, seed);
	}
}

/* YaRN's factor in the model of the test, and the context that it was trained on; 0 = no YaRN. */
static double yarn, yarn_context;

/* Chat template that build_model() puts into its file, or NULL. */
static const char *chat_mark;

/* Adds recommendations for sampling, or NULL. */
static void (*recommend)(struct gguf_build *b);

static inline void build_model(struct gguf_build *b, struct weights *w, const struct shape *s)
{
	uint32_t seed = 7, i;

	gb_init(b);
	gb_kv_str(b, "general.architecture", s->arch);
	put_number(b, s, "block_count", s->layers);
	put_number(b, s, "embedding_length", s->embd);
	put_number(b, s, "feed_forward_length", s->ff);
	put_number(b, s, "context_length", 64);
	put_number(b, s, "attention.head_count", s->heads);
	put_number(b, s, "attention.head_count_kv", s->kv_heads);
	put_number(b, s, "attention.key_length", s->head_dim);
	put_number(b, s, "attention.value_length", s->head_dim);
	put_vocabulary(b);
	if (yarn != 0) {
		char key[64];

		snprintf(key, sizeof(key), "%s.rope.scaling.type", s->arch);
		gb_kv_str(b, key, "yarn");
		snprintf(key, sizeof(key), "%s.rope.scaling.factor", s->arch);
		gb_kv_f32(b, key, (float)yarn);
		put_number(b, s, "rope.scaling.original_context_length", (uint32_t)yarn_context);
	}
	if (chat_mark)
		gb_kv_str(b, "tokenizer.chat_template", chat_mark);
	if (recommend)
		recommend(b);
	memset(w, 0, sizeof(*w));
	add_tensor(b, w, "token_embd.weight", s->embd, V, 0, &seed);
	for (i = 0; i < s->layers; i++)
		put_layer(b, w, s, i, &seed);
	add_tensor(b, w, "output_norm.weight", s->embd, 0, 1, &seed);
	if (!s->tied)
		add_tensor(b, w, "output.weight", s->embd, V, 0, &seed);
}

static char model_path[64];

/* Writes the builder's file to a temporary place, which model_path names. */
static inline void write_model(struct gguf_build *b)
{
	size_t size;
	uint8_t *mem = gb_finish(b, &size);
	int fd;

	snprintf(model_path, sizeof(model_path), "/tmp/npu-llm-XXXXXX");
	fd = mkstemp(model_path);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(gb_write(model_path, mem, size), 0);
	free(mem);
}

#endif /* LLM_BUILD_H */
