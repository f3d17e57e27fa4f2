/* SPDX-License-Identifier: MIT */
#ifndef NPU_LLM_INTERNAL_H
#define NPU_LLM_INTERNAL_H

#include <stdatomic.h>

#include "npu/buffer.h"
#include "npu/graph.h"
#include "npu/llm.h"
#include "npu/queue.h"

#define LLM_MAX_LAYERS		1024u
#define LLM_MAX_CONTEXT		(1u << 20)
#define LLM_MAX_CHUNK		4096u
#define LLM_RING		256u	/* tokens of one device loop */
#define LLM_WEIGHT_PARTS	3u	/* tensors that are joined into one matrix */
#define LLM_WEIGHT_ALIGN	256u

/* ---- Model ------------------------------------------------------------------------ */

/* What the metadata say, checked. */
struct llm_hparams {
	uint32_t layers, embd, ff, heads, kv_heads, head_dim, vocab, context_trained;
	uint32_t rope_dims;
	float rms_eps;
	double rope_base, rope_scale;
	/* YaRN: pairs up to low keep their speed, from high on they are slowed by yarn; 0 = none. */
	double yarn, yarn_low, yarn_high;
	float rope_mscale;
	uint32_t window;		/* sliding window, 0 = none */
};

/*
 * One weight on the device: tensors of the file, joined along their rows (same
 * type and row length). A vector (norm, bias) has one row and is F32.
 */
struct llm_weight {
	const struct npu_gguf_tensor *part[LLM_WEIGHT_PARTS];
	uint32_t parts;
	enum npu_type type;		/* on the device */
	enum npu_layout layout;
	uint32_t cols, rows;
	bool vector;
	uint64_t offset, bytes;		/* in the buffer of weights */
};

/* Weights of a layer; absent ones have no parts. */
struct llm_layer {
	struct llm_weight attn_norm;
	struct llm_weight qkv;		/* joined, or: */
	struct llm_weight q, k, v;
	struct llm_weight qkv_bias;
	struct llm_weight q_norm, k_norm;
	struct llm_weight attn_out;
	struct llm_weight ffn_norm;
	struct llm_weight gate_up;	/* joined, or: */
	struct llm_weight gate, up;
	struct llm_weight down;
};

struct llm_build;

/* An architecture: what its files hold, and a layer in terms of the blocks below. */
struct llm_arch {
	const char *name;		/* general.architecture; prefix of its metadata */
	bool rope_halves;		/* pairs (i, i + d / 2); else neighbours */
	bool qkv_bias;
	bool qk_norm;			/* RMS norm of each head of q and k */
	struct npu_gtensor *(*layer)(struct llm_build *b, uint32_t il, struct npu_gtensor *x);
};

const struct llm_arch *llm_arch_find(const struct npu_gguf_str *name);

/* A compiled stream and where the host meets it. */
struct llm_program {
	struct npu_program *p;
	struct npu_io tokens;		/* input, where it has one */
	struct npu_io logits;		/* output of the scoring program */
};

struct npu_llm {
	struct npu_device *dev;
	struct npu_device_info devinfo;
	struct npu_vm *vm;
	struct npu_queue *queue;
	bool queue_dead;		/* a job failed: make another before the next one */
	struct npu_fence *fence;
	uint64_t fence_value;

	struct npu_gguf *gguf;
	struct npu_tokenizer *tok;
	const struct llm_arch *arch;
	struct llm_hparams hp;
	uint32_t context, chunk;
	enum npu_type kv_type;
	bool row_layout;

	struct llm_layer *layer;	/* [layers] */
	struct llm_weight embd, out_norm, output;
	bool tied;			/* output is the embedding table */
	struct npu_buffer *weights;
	uint64_t weight_bytes;
	uint32_t converted;

	struct npu_buffer *steps;	/* RoPE steps, I64 */
	struct npu_buffer *kv;
	uint64_t kv_row;		/* bytes of a head's row */
	uint64_t kv_plane;		/* bytes of K or V of a layer */
	struct npu_buffer *io;		/* struct llm_io */
	struct npu_buffer *logits_buf;
	float *logits;			/* of the last token, as the host sees them */

	struct llm_program prefill, decode, score;

	int32_t *history;		/* [context + LLM_RING + 1] tokens of the sequence */
	uint32_t length;		/* of it */
	uint32_t cached;		/* of it in the KV cache */
	/*
	 * With have_logits all tokens are in the cache, and logits are those of
	 * the last one. Else the last token may be pending: chosen, not computed.
	 */
	bool have_logits;
	int32_t greedy;			/* with have_logits: the device's argmax of them */
	double token_s;			/* time of a decoded token, smoothed; 0 = unknown */

	atomic_uint cancel;
	char error[512];
};

/* Shared words, written by one side each. */
struct llm_io {
	/* decode: the host's first token, then the device's; prefill: the device's */
	int32_t token;
	int32_t stop;			/* host: end the loop */
	int32_t pad[14];
	int32_t ring[LLM_RING + 16];	/* tokens of a loop; the host presets -1 */
};

__attribute__((format(printf, 3, 4)))
int llm_fail(struct npu_llm *llm, int code, const char *fmt, ...);
/* @code with the device's text behind @what. */
int llm_fail_device(struct npu_llm *llm, int code, const char *what);

/* ---- Loading (hparams.c, weights.c, convert.c) --------------------------------------- */

typedef void (*llm_notice_fn)(void *data, const char *text);

int llm_load_hparams(struct npu_llm *llm);
/* Find and check all tensors, and plan the buffer. */
int llm_plan_weights(struct npu_llm *llm, const struct npu_llm_options *opt);
int llm_load_weights(struct npu_llm *llm, const struct npu_llm_options *opt);
int llm_load_steps(struct npu_llm *llm);

/* The type that a weight of @type is kept in on the device; -ENOTSUP. */
int llm_device_type(const struct npu_llm *llm, uint32_t type, uint64_t cols,
		    enum npu_layout *layout);
/* One row of @n elements of any supported file type to F32. */
void llm_row_to_f32(uint32_t type, const void *src, uint64_t n, float *dst);
bool llm_can_widen(uint32_t type);
/* F32 to a row of @type: F16, F32 or Q8_0. */
void llm_row_from_f32(enum npu_type type, const float *src, uint64_t n, void *dst);

/* ---- Graphs (blocks.c, programs.c) ------------------------------------------------------ */

struct llm_build {
	struct npu_llm *llm;
	struct npu_graph *g;
	int pos;			/* scalar: position of row 0 */
	int rows;			/* scalar: rows of this run; 0: always one */
	uint32_t max_rows;
	int kv;				/* scalar: KV length after this run */
	struct npu_gtensor *steps;
};

struct npu_shape llm_rows(const struct llm_build *b, uint32_t cols);
struct npu_gtensor *llm_bind(struct llm_build *b, const char *name, const struct llm_weight *w);
struct npu_gtensor *llm_vector(struct llm_build *b, const char *name, const struct llm_weight *w);
/*
 * x + attention(norm(x)); x + ffn(norm(x)): the two halves of a Transformer layer, each with its
 * residual.
 */
struct npu_gtensor *llm_block_attention(struct llm_build *b, uint32_t il, struct npu_gtensor *x);
struct npu_gtensor *llm_block_swiglu(struct llm_build *b, uint32_t il, struct npu_gtensor *x);

int llm_build_programs(struct npu_llm *llm);
int llm_build_score(struct npu_llm *llm);
void llm_program_free(struct llm_program *p);

/* ---- Running (run.c) ---------------------------------------------------------------------- */

int llm_prefill(struct npu_llm *llm, uint32_t from, uint32_t to, bool logits);
/*
 * Decode up to @n tokens greedily, beginning with history[length - 1] at position cached. @each
 * is called with each new token as it appears; non-zero stops. New tokens are appended to the
 * history.
 */
int llm_decode(struct npu_llm *llm, uint32_t n, int32_t end, int (*each)(void *data, int32_t token),
	       void *data);
/* Compute the pending last token alone; its logits are there afterwards. */
int llm_step(struct npu_llm *llm);
double llm_now(void);

/* ---- Sampling (sampler.c) ------------------------------------------------------------------- */

struct llm_candidate {
	int32_t id;
	float logit;
	double p;
};

struct llm_sampler {
	uint64_t state;
	uint32_t vocab;
	struct llm_candidate *cand;	/* [vocab] */
	uint8_t *seen;			/* [vocab] */
};

int llm_sampler_init(struct llm_sampler *s, uint32_t vocab, uint64_t seed);
void llm_sampler_free(struct llm_sampler *s);
int32_t llm_sample(struct llm_sampler *s, const float *logits, const struct npu_llm_params *p,
		   const int32_t *history, uint32_t length);

#endif /* NPU_LLM_INTERNAL_H */
