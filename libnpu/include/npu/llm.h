/* SPDX-License-Identifier: MIT */
/*
 * Language models: from a GGUF file to text.
 *
 * An npu_llm holds a model's weights, one KV cache and the sequence of tokens
 * in it. All arithmetic runs on the device: the prompt in chunks of rows, then
 * one static command stream that is replayed for each token, or, for greedy
 * decoding, loops on the device for many tokens in one submission. The bits of
 * all results depend on the tokens alone, not on chunks, loops, threads or the
 * way they were submitted.
 *
 * Thread safety: one thread at a time per npu_llm, except npu_llm_cancel().
 * Errors: negative errno; the text is npu_llm_error()'s.
 */
#ifndef NPU_LLM_H
#define NPU_LLM_H

#include <npu/device.h>
#include <npu/tokenizer.h>

#ifdef __cplusplus
extern "C" {
#endif

struct npu_llm;

/* ---- Opening -------------------------------------------------------------------- */

enum npu_llm_kv_type {
	NPU_LLM_KV_F16,
	NPU_LLM_KV_Q8_0,	/* heads of a multiple of 32 elements */
};

/* All members but @size may be zero. */
struct npu_llm_options {
	size_t size;			/* sizeof(struct npu_llm_options) */
	/* tokens of the KV cache; 0 = what the model was trained for, at most 4096 */
	uint32_t context;
	uint32_t chunk;			/* prompt tokens per submission; 0 = 512 */
	enum npu_llm_kv_type kv_type;
	/* keep weights in GGUF's rows instead of 16-row tiles: slower, same bits */
	bool row_layout;
	uint32_t threads;		/* that convert weights; 0 = number of CPUs, at most 8 */
	/* Called while weights are copied; a non-zero return gives up with -ECANCELED. */
	int (*progress)(void *data, uint64_t done, uint64_t total);
	/* A line that the user should see, e.g. that a weight type is converted. */
	void (*notice)(void *data, const char *text);
	void *data;
};

/**
 * npu_llm_open() - load a model
 * @dev: device; the model holds a reference
 * @path: GGUF file, or the first of a split set
 * @opt: may be NULL
 * @out: the model
 * @err: buffer for a message that names cause and way out; may be NULL
 * @err_size: its size
 *
 * Return: 0, npu_gguf_open()'s errors, -EBADMSG (metadata and tensors
 * contradict each other), -ENOTSUP (an architecture, tokenizer or feature that
 * is not supported), -ENOMEM (larger than memory), -EINVAL (options).
 */
NPU_API int npu_llm_open(struct npu_device *dev, const char *path,
			 const struct npu_llm_options *opt, struct npu_llm **out, char *err,
			 size_t err_size);
/* NULL is allowed. */
NPU_API void npu_llm_close(struct npu_llm *llm);

/* Text of the last failed call; "" without one. Lives until the next call. */
NPU_API const char *npu_llm_error(const struct npu_llm *llm);

struct npu_llm_info {
	char name[64];			/* general.name */
	char architecture[32];
	uint32_t layers, embedding, feed_forward, heads, kv_heads, head_dim, vocab;
	uint32_t context;		/* of the KV cache */
	uint32_t context_trained;
	uint64_t parameters;
	uint64_t weight_bytes;		/* on the device */
	/* of them read for one token: all matrices, without the embedding table */
	uint64_t weight_bytes_token;
	uint64_t kv_bytes;		/* on the device */
	uint64_t arena_bytes;		/* intermediate results */
	uint32_t converted;		/* tensors whose type was converted */
};

/* Copies min(size, sizeof(struct npu_llm_info)) bytes. */
NPU_API int npu_llm_info(const struct npu_llm *llm, struct npu_llm_info *info, size_t size);
NPU_API const struct npu_tokenizer *npu_llm_tokenizer(const struct npu_llm *llm);
NPU_API const struct npu_gguf *npu_llm_gguf(const struct npu_llm *llm);

/* ---- Sequence -------------------------------------------------------------------- */

/* Tokens of the sequence, also those not in the KV cache yet. */
NPU_API uint32_t npu_llm_length(const struct npu_llm *llm);
NPU_API const int32_t *npu_llm_tokens(const struct npu_llm *llm);

/**
 * npu_llm_feed() - make @tokens the sequence
 * @llm: model
 * @tokens: @n ids, the whole sequence from its begin
 * @n: 1 to context
 *
 * What the KV cache already holds of it (a common beginning) is kept, the rest
 * is computed in chunks. Afterwards npu_llm_logits() are those of the last token.
 *
 * Return: 0; -EINVAL (no tokens, or an id outside the vocabulary); -ENOSPC
 * (more than the context); -ECANCELED (npu_llm_cancel()); the device's errors.
 */
NPU_API int npu_llm_feed(struct npu_llm *llm, const int32_t *tokens, uint32_t n);

/* Forget all tokens from position @n on. */
NPU_API void npu_llm_truncate(struct npu_llm *llm, uint32_t n);

/*
 * vocab F32 values after the last token; valid until the next call. NULL when the last call was
 * not a feed.
 */
NPU_API const float *npu_llm_logits(const struct npu_llm *llm);

/**
 * npu_llm_score() - log likelihood of a text
 * @llm: model; its sequence is replaced
 * @tokens: @n ids, n <= context
 * @n: at least 2
 * @from: the first token that counts, at least 1
 * @sum: natural logarithm of the probability of tokens from..n-1, each given all before it
 *
 * Perplexity is exp(-sum / (n - from)). Return: as npu_llm_feed().
 */
NPU_API int npu_llm_score(struct npu_llm *llm, const int32_t *tokens, uint32_t n, uint32_t from,
			  double *sum);

/* ---- Generation -------------------------------------------------------------------- */

enum npu_llm_overflow {
	NPU_LLM_OVERFLOW_STOP,	/* stop when the context is full */
	/*
	 * Drop the oldest tokens behind the first @keep, down to half of the context, and compute
	 * the rest again as a fresh prompt.
	 */
	NPU_LLM_OVERFLOW_DROP,
};

enum npu_llm_finish {
	NPU_LLM_FINISH_NONE,		/* an error */
	NPU_LLM_FINISH_END,		/* the model ended the text */
	NPU_LLM_FINISH_LENGTH,		/* max_tokens */
	NPU_LLM_FINISH_STOP,		/* a stop string */
	NPU_LLM_FINISH_CONTEXT,		/* the context is full */
	NPU_LLM_FINISH_CANCELLED,	/* npu_llm_cancel(), or the callback asked */
};

/*
 * A piece of text, in whole UTF-8 characters; empty while a character or a possible stop string
 * is unfinished.
 */
struct npu_llm_piece {
	int32_t token;		/* -1: text that was held back */
	const char *text;
	size_t len;
};

/* Set by npu_llm_params_init(); then change what you like. */
struct npu_llm_params {
	size_t size;			/* sizeof(struct npu_llm_params) */
	uint32_t max_tokens;		/* 0 = until the context is full */
	float temperature;		/* 0 = greedy: always the most probable token */
	uint32_t top_k;			/* 0 = all */
	float top_p;			/* 1 = all */
	float min_p;			/* 0 = all */
	float repeat_penalty;		/* 1 = none */
	uint32_t repeat_last;		/* tokens that it looks at */
	uint64_t seed;
	const char *const *stop;	/* strings that end the text; they are not part of it */
	uint32_t nstop;
	bool ignore_end;		/* go on after an end token */
	enum npu_llm_overflow overflow;
	uint32_t keep;			/* tokens at the begin that OVERFLOW_DROP keeps */
	/* greedy: most tokens per submission, 1..256; 0 = as many as run in half a second */
	uint32_t loop;
	/* Called in order for each token; a non-zero return cancels. May be NULL. */
	int (*piece)(void *data, const struct npu_llm_piece *piece);
	void *data;
};

/* Temperature 0.8, top-k 40, top-p 0.95, min-p 0.05, no penalty, seed 0, 256 tokens. */
NPU_API void npu_llm_params_init(struct npu_llm_params *params);

/*
 * Temperature, top-k, top-p, min-p and repetition penalty as the model's file recommends them
 * (GGUF keys general.sampling.temp, top_k, top_p, min_p, penalty_repeat). What it does not
 * mention, or where it says what cannot be meant, and everything else in @params stays.
 */
NPU_API void npu_llm_params_recommended(const struct npu_llm *llm, struct npu_llm_params *params);

/*
 * What npu_llm_generate() did. Times in seconds; modelled: of the device's own clock, from its
 * counters.
 */
struct npu_llm_stats {
	enum npu_llm_finish finish;
	uint32_t prompt_tokens;		/* computed (not those found in the cache) */
	uint32_t cached_tokens;
	uint32_t tokens;		/* generated, an end token included */
	uint32_t submissions;
	uint32_t drops;			/* context overflows handled */
	double prompt_s, decode_s;
	double first_token_s;		/* from the call to the first token */
	double modelled_prompt_s, modelled_decode_s;
	/* share of the modelled decode time that the matrix engine was busy */
	double modelled_matrix;
	/* bytes moved per modelled second of decode, as a share of the memory's rate */
	double modelled_bandwidth;
};

/**
 * npu_llm_generate() - feed a prompt and generate
 * @llm: model
 * @tokens: the whole sequence so far, as in npu_llm_feed()
 * @n: its length
 * @params: may be NULL
 * @stats: may be NULL; filled also on errors
 *
 * The generated tokens are in npu_llm_tokens() from @n on (unless the oldest
 * were dropped). On an error what was generated before has been handed to the callback.
 *
 * Return: 0, also when cancelled during generation (see finish); as npu_llm_feed().
 */
NPU_API int npu_llm_generate(struct npu_llm *llm, const int32_t *tokens, uint32_t n,
			     const struct npu_llm_params *params, struct npu_llm_stats *stats);

/*
 * End a running feed or generation soon, at the latest after the submission in
 * flight (a device loop ends after its present token). Any thread, signal handlers included. Has no
 * effect on calls that begin later.
 */
NPU_API void npu_llm_cancel(struct npu_llm *llm);

/* "end", "length", ...; never NULL. */
NPU_API const char *npu_llm_finish_name(enum npu_llm_finish finish);

/* ---- Chat -------------------------------------------------------------------------- */

struct npu_chat_message {
	const char *role;	/* "system", "user" or "assistant" */
	const char *text;
};

/**
 * npu_llm_chat() - the tokens of a conversation, as the model's template writes it
 * @llm: model
 * @msgs: messages
 * @n: number of them
 * @reply: append what begins the assistant's turn
 * @tokens: the whole sequence, to be freed with free()
 * @count: its length
 *
 * Templates that are known by their marks: ChatML (Qwen, SmolLM2), Llama 2 and
 * Mistral, Llama 3, Zephyr (TinyLlama). Control tokens come from the template
 * alone: a message that contains their text does not get them.
 *
 * Return: 0, -ENOTSUP (no template, or an unknown one), -EINVAL (roles), -ENOMEM.
 */
NPU_API int npu_llm_chat(struct npu_llm *llm, const struct npu_chat_message *msgs, uint32_t n,
			 bool reply, int32_t **tokens, uint32_t *count);
/* "chatml", "llama3", ...; NULL when the model has no known template. */
NPU_API const char *npu_llm_chat_template(const struct npu_llm *llm);

#ifdef __cplusplus
}
#endif
#endif /* NPU_LLM_H */
