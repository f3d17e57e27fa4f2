/* SPDX-License-Identifier: MIT */
/*
 * Tokenizers from GGUF metadata: text to token ids and back.
 *
 * tokenizer.ggml.model "llama" (SentencePiece style: merges by score, byte
 * fallback) and "gpt2" (byte-level BPE) with the pre-tokenizers gpt-2,
 * llama-bpe, qwen2 and smollm.
 *
 * Input text need not be valid UTF-8: bytes that are no character are encoded
 * as bytes where the vocabulary has byte tokens, else as the unknown token.
 *
 * Thread safety: a tokenizer is immutable, any number of threads may use it. A
 * detokenizer belongs to one thread at a time.
 */
#ifndef NPU_TOKENIZER_H
#define NPU_TOKENIZER_H

#include <npu/gguf.h>

#ifdef __cplusplus
extern "C" {
#endif

struct npu_tokenizer;

/* Kinds of tokens, GGUF's numbers. */
enum npu_token_type {
	NPU_TOKEN_UNDEFINED = 0,
	NPU_TOKEN_NORMAL = 1,
	NPU_TOKEN_UNKNOWN = 2,
	NPU_TOKEN_CONTROL = 3,
	NPU_TOKEN_USER_DEFINED = 4,
	NPU_TOKEN_UNUSED = 5,
	NPU_TOKEN_BYTE = 6,
};

/* Roles of special tokens. */
enum npu_token_role {
	NPU_TOKEN_BOS,
	NPU_TOKEN_EOS,
	NPU_TOKEN_EOT,		/* end of turn, in chats */
	NPU_TOKEN_UNK,
	NPU_TOKEN_ROLES
};

/**
 * npu_tokenizer_create() - build the tokenizer that a file describes
 * @g: the file; must stay open as long as the tokenizer exists
 * @out: the tokenizer
 * @err: buffer for a message, may be NULL
 * @err_size: its size
 *
 * Return: 0, -EBADMSG (contradictory metadata), -ENOTSUP (a tokenizer or
 * pre-tokenizer that is not known), -ENOMEM.
 */
NPU_API int npu_tokenizer_create(const struct npu_gguf *g, struct npu_tokenizer **out, char *err,
				 size_t err_size);
/* NULL is allowed. */
NPU_API void npu_tokenizer_destroy(struct npu_tokenizer *t);

NPU_API uint32_t npu_tokenizer_vocab_size(const struct npu_tokenizer *t);
/* Token id of a role, or -1. */
NPU_API int32_t npu_tokenizer_special(const struct npu_tokenizer *t, enum npu_token_role role);
/* Whether generation ends at this token: end of sequence, of turn, of message. */
NPU_API bool npu_tokenizer_is_end(const struct npu_tokenizer *t, int32_t token);
/* Whether NPU_ENCODE_SPECIAL puts the begin-of-sequence token in front. */
NPU_API bool npu_tokenizer_adds_bos(const struct npu_tokenizer *t);
/* The token with exactly this text in the vocabulary, or -1. */
NPU_API int32_t npu_tokenizer_find(const struct npu_tokenizer *t, const char *text, size_t len);
/* Vocabulary text of a token (escaped as the vocabulary has it); empty when out of range. */
NPU_API struct npu_gguf_str npu_tokenizer_text(const struct npu_tokenizer *t, int32_t token);
NPU_API enum npu_token_type npu_tokenizer_type(const struct npu_tokenizer *t, int32_t token);

/* Add begin and end of sequence as the model asks for. */
#define NPU_ENCODE_SPECIAL	(1u << 0)
/*
 * Recognise the text of control tokens ("<|im_start|>") as those tokens. Not for text from
 * outside.
 */
#define NPU_ENCODE_CONTROL	(1u << 1)
/* The text continues an earlier one: no space in front of the first word. */
#define NPU_ENCODE_CONTINUE	(1u << 2)

/**
 * npu_tokenizer_encode() - text to tokens
 * @t: tokenizer
 * @text: @len bytes; zeros are allowed in it
 * @len: bytes, below 341 MiB
 * @flags: NPU_ENCODE_*
 * @tokens: result, may be NULL when @max is 0
 * @max: room in @tokens
 *
 * Return: how many tokens the text has; when that is more than @max, only the
 * first @max were stored. -EINVAL, -ENOMEM, -E2BIG.
 */
NPU_API int64_t npu_tokenizer_encode(const struct npu_tokenizer *t, const char *text, size_t len,
				     unsigned int flags, int32_t *tokens, size_t max);

/* ---- Tokens to text --------------------------------------------------------- */

struct npu_detokenizer;

/* Show control tokens as their text instead of nothing. */
#define NPU_DECODE_CONTROL	(1u << 0)
/* The first token begins a text: drop the space that encoding put in front. */
#define NPU_DECODE_START	(1u << 1)

NPU_API int npu_detokenizer_create(const struct npu_tokenizer *t, unsigned int flags,
				   struct npu_detokenizer **out);
NPU_API void npu_detokenizer_destroy(struct npu_detokenizer *d);

/*
 * The text that @token completes: whole UTF-8 characters only; the bytes of an
 * unfinished one wait for the next token. Bytes that can never become a
 * character come out as U+FFFD. The text is valid until the next call.
 */
NPU_API struct npu_gguf_str npu_detokenizer_push(struct npu_detokenizer *d, int32_t token);
/*
 * What is left at the end: nothing, or U+FFFD for an unfinished character. The next push starts
 * afresh.
 */
NPU_API struct npu_gguf_str npu_detokenizer_flush(struct npu_detokenizer *d);

#ifdef __cplusplus
}
#endif
#endif /* NPU_TOKENIZER_H */
