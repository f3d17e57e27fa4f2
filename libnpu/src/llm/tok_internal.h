/* SPDX-License-Identifier: MIT */
#ifndef NPU_TOK_INTERNAL_H
#define NPU_TOK_INTERNAL_H

#include "npu/tokenizer.h"

#define TOK_SPACE	"\xe2\x96\x81"	/* U+2581, SentencePiece's visible space */
#define TOK_SPACE_LEN	3u

/* Growing list of token ids. */
struct tok_list {
	int32_t *ids;
	size_t n, room;
};

int tok_list_add(struct tok_list *l, int32_t id);

/*
 * Hash table from 64-bit keys or texts to token ids, with open addressing. The
 * hash is seeded at random, so that a hostile file cannot choose collisions.
 */
struct tok_map {
	struct tok_slot *slots;
	uint64_t mask;
	uint64_t seed;
};

struct tok_slot {
	uint64_t key;		/* of a text: its hash */
	uint32_t value;		/* token, or rank of a merge */
	uint32_t used;
};

int tok_map_init(struct tok_map *m, uint64_t entries);
void tok_map_free(struct tok_map *m);

enum tok_pre { TOK_PRE_GPT2, TOK_PRE_LLAMA3, TOK_PRE_QWEN2, TOK_PRE_SMOLLM };

/* A merge of byte-level BPE: lower rank goes first. Its result is @id. */
struct tok_rule {
	int32_t left, right, id;
};

struct npu_tokenizer {
	const struct npu_gguf *g;
	bool spm;			/* else byte-level BPE */
	enum tok_pre pre;
	bool add_bos, add_eos, space_prefix;
	bool whole_words;		/* a word that is a token is taken before any merge */

	uint32_t n;
	struct npu_gguf_str *text;	/* in the file's mapping */
	float *score;			/* SPM */
	uint8_t *type;			/* enum npu_token_type */
	struct tok_map by_text;
	size_t longest;			/* bytes of the longest text */

	int32_t byte[256];		/* token of each byte, or -1 */
	struct tok_rule *rules;		/* BPE, by rank */
	uint32_t n_rules;
	struct tok_map by_pair;

	int32_t role[NPU_TOKEN_ROLES];
	int32_t *special;		/* tokens that are matched in the text, longest first */
	uint32_t n_special;
	bool special_first[256];	/* first bytes of their texts */
};

/* -1 when there is none. */
int32_t tok_find(const struct npu_tokenizer *t, const char *s, size_t len);
void tok_vocab_insert(struct npu_tokenizer *t, int32_t id);
void tok_rule_insert(struct npu_tokenizer *t, uint32_t rank);
/* Rank of the merge of two tokens, or -1. */
int64_t tok_rule_find(const struct npu_tokenizer *t, int32_t left, int32_t right);

/* Append the tokens of a text without special tokens in it. 0 or -ENOMEM. */
int tok_encode_spm(const struct npu_tokenizer *t, const char *s, size_t len, struct tok_list *out);
int tok_encode_bpe(const struct npu_tokenizer *t, const char *s, size_t len, struct tok_list *out);
/* Length of the first word of @s (@len > 0) by the rules of @pre: 1 to @len. */
size_t tok_pre_word(enum tok_pre pre, const char *s, size_t len);

/* GPT-2's printable stand-in of a byte, and back (-1: none). */
uint32_t tok_byte_to_char(uint8_t b);
int tok_char_to_byte(uint32_t cp);

#endif /* NPU_TOK_INTERNAL_H */
