// SPDX-License-Identifier: MIT
/* Hyperparameters of a model from its metadata: read, and checked for what the runtime needs. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "llm_internal.h"

#define MAX_DIM		(1u << 20)

struct reader {
	struct npu_llm *llm;
	char key[96];
};

static const char *full_key(struct reader *r, const char *key)
{
	snprintf(r->key, sizeof(r->key), "%s.%s", r->llm->arch->name, key);
	return r->key;
}

/* A number from 1 to @max; @def for a missing key, 0 = it must be there. */
static int read_dim(struct reader *r, const char *key, uint32_t max, uint32_t def, uint32_t *out)
{
	int ret = npu_gguf_get_u32(r->llm->gguf, full_key(r, key), out);

	if (ret == -ENOENT && def) {
		*out = def;
		ret = 0;
	}
	if (ret == -ENOENT)
		return llm_fail(r->llm, -EBADMSG, "the metadata lack %s", r->key);
	if (ret || *out == 0 || *out > max)
		return llm_fail(r->llm, -EBADMSG, "%s is not a number from 1 to %u", r->key, max);
	return 0;
}

static int read_float(struct reader *r, const char *key, float def, float *out)
{
	int ret = npu_gguf_get_f32(r->llm->gguf, full_key(r, key), out);

	if (ret == -ENOENT) {
		*out = def;
		return 0;
	}
	if (ret || !isfinite(*out) || *out <= 0)
		return llm_fail(r->llm, -EBADMSG, "%s is not a positive number", r->key);
	return 0;
}

static bool str_is(const struct npu_gguf_str *s, const char *text)
{
	return s->len == strlen(text) && !memcmp(s->ptr, text, s->len);
}

/* The pair that turns @turns times in a context of @context. */
static double yarn_pair(const struct llm_hparams *hp, double context, double turns)
{
	return hp->rope_dims * log(context / (turns * 2 * M_PI)) / (2 * log(hp->rope_base));
}

static int read_yarn(struct reader *r, float factor)
{
	struct llm_hparams *hp = &r->llm->hp;
	float fast, slow, attention;
	uint32_t context;
	int ret;

	if ((ret = read_dim(r, "rope.scaling.original_context_length", UINT32_MAX,
			    hp->context_trained, &context)) ||
	    (ret = read_float(r, "rope.scaling.yarn_beta_fast", 32, &fast)) ||
	    (ret = read_float(r, "rope.scaling.yarn_beta_slow", 1, &slow)) ||
	    (ret = read_float(r, "rope.scaling.attn_factor", 1, &attention)))
		return ret;
	if (hp->rope_base <= 1)
		return llm_fail(r->llm, -EBADMSG, "YaRN needs a RoPE base above 1");
	hp->yarn = (double)factor;
	hp->yarn_low = fmax(0, floor(yarn_pair(hp, context, (double)fast)));
	hp->yarn_high = fmin(hp->rope_dims - 1, ceil(yarn_pair(hp, context, (double)slow)));
	hp->rope_mscale = (float)((double)attention * (1 + 0.1 * log((double)factor)));
	return 0;
}

/* How much slower than without scaling pair @i turns. */
static double yarn_factor(const struct llm_hparams *hp, uint32_t i)
{
	double ramp = (i - hp->yarn_low) / fmax(0.001, hp->yarn_high - hp->yarn_low);

	if (hp->yarn == 0)
		return 1;
	ramp = fmin(1, fmax(0, ramp));
	return 1 / (ramp / hp->yarn + 1 - ramp);
}

/*
 * Linear scaling divides all frequencies; Llama 3's factors are a tensor (rope_freqs). Others
 * change more than steps.
 */
static int read_rope_scaling(struct reader *r)
{
	struct llm_hparams *hp = &r->llm->hp;
	struct npu_gguf_str type = { "none", 4 };
	float factor;
	int ret;

	hp->rope_scale = 1;
	hp->rope_mscale = 1;
	npu_gguf_get_str(r->llm->gguf, full_key(r, "rope.scaling.type"), &type);
	if (str_is(&type, "none") || str_is(&type, ""))
		return 0;
	ret = read_float(r, "rope.scaling.factor", 1, &factor);
	if (ret)
		return ret;
	if (str_is(&type, "yarn"))
		return read_yarn(r, factor);
	if (!str_is(&type, "linear") && factor != 1)
		return llm_fail(
			r->llm, -ENOTSUP,
			"RoPE scaling '%.*s' is not supported (linear, yarn and Llama 3's factors are)",
			(int)(type.len < 32 ? type.len : 32), type.ptr);
	hp->rope_scale = 1 / (double)factor;
	return 0;
}

static int read_rope(struct reader *r)
{
	struct llm_hparams *hp = &r->llm->hp;
	float base;
	int ret;

	ret = read_dim(r, "rope.dimension_count", hp->head_dim, hp->head_dim, &hp->rope_dims);
	if (!ret && hp->rope_dims % 2)
		ret = llm_fail(r->llm, -EBADMSG, "%s is odd", r->key);
	if (!ret)
		ret = read_float(r, "rope.freq_base", 10000, &base);
	if (ret)
		return ret;
	hp->rope_base = (double)base;
	return read_rope_scaling(r);
}

static int read_heads(struct reader *r)
{
	struct llm_hparams *hp = &r->llm->hp;
	uint32_t v_dim;
	int ret;

	if ((ret = read_dim(r, "attention.head_count", 65536, 0, &hp->heads)) ||
	    (ret = read_dim(r, "attention.head_count_kv", 65536, hp->heads, &hp->kv_heads)) ||
	    (ret = read_dim(r, "attention.key_length", 4096,
			    hp->embd / hp->heads ? hp->embd / hp->heads : 1, &hp->head_dim)) ||
	    (ret = read_dim(r, "attention.value_length", 4096, hp->head_dim, &v_dim)))
		return ret;
	if (hp->heads % hp->kv_heads)
		return llm_fail(r->llm, -EBADMSG,
				"%u attention heads do not divide among %u key/value heads",
				hp->heads, hp->kv_heads);
	if (v_dim != hp->head_dim)
		return llm_fail(
			r->llm, -ENOTSUP,
			"keys of %u and values of %u elements: different lengths are not supported",
			hp->head_dim, v_dim);
	if (!npu_gguf_find(r->llm->gguf, full_key(r, "attention.key_length")) &&
	    hp->embd % hp->heads)
		return llm_fail(r->llm, -EBADMSG,
				"an embedding of %u does not divide among %u heads", hp->embd,
				hp->heads);
	return 0;
}

static int read_window(struct reader *r)
{
	struct llm_hparams *hp = &r->llm->hp;
	int ret = npu_gguf_get_u32(r->llm->gguf, full_key(r, "attention.sliding_window"),
				   &hp->window);

	if (ret && ret != -ENOENT)
		return llm_fail(r->llm, -EBADMSG, "%s is not a number", r->key);
	return 0;
}

int llm_load_hparams(struct npu_llm *llm)
{
	struct llm_hparams *hp = &llm->hp;
	struct reader r = { .llm = llm };
	uint32_t experts;
	int ret;

	if ((ret = read_dim(&r, "block_count", LLM_MAX_LAYERS, 0, &hp->layers)) ||
	    (ret = read_dim(&r, "embedding_length", MAX_DIM, 0, &hp->embd)) ||
	    (ret = read_dim(&r, "feed_forward_length", MAX_DIM, 0, &hp->ff)) ||
	    (ret = read_dim(&r, "context_length", UINT32_MAX, 2048, &hp->context_trained)) ||
	    (ret = read_float(&r, "attention.layer_norm_rms_epsilon", 1e-5f, &hp->rms_eps)) ||
	    (ret = read_heads(&r)) || (ret = read_rope(&r)) || (ret = read_window(&r)))
		return ret;
	if (!npu_gguf_get_u32(llm->gguf, full_key(&r, "expert_count"), &experts) && experts > 0)
		return llm_fail(llm, -ENOTSUP, "a mixture of %u experts is not supported", experts);
	hp->vocab = npu_tokenizer_vocab_size(llm->tok);
	return 0;
}

int llm_load_steps(struct npu_llm *llm)
{
	const struct npu_gguf_tensor *t = npu_gguf_find_tensor(llm->gguf, "rope_freqs.weight");
	uint32_t i, n = llm->hp.rope_dims / 2;
	float *factors = NULL;
	uint64_t *steps;
	int ret;

	if (t && (t->type != NPU_TYPE_F32 || t->ne[0] != n || t->size != n * sizeof(float)))
		return llm_fail(llm, -EBADMSG, "rope_freqs.weight is not %u F32 factors", n);
	ret = npu_buffer_create(llm->vm, n * sizeof(*steps), NPU_BUFFER_READONLY, &llm->steps);
	if (ret)
		return llm_fail_device(llm, ret, "no memory for the RoPE steps");
	steps = malloc(n * sizeof(*steps));
	factors = malloc(n * sizeof(*factors));
	if (!steps || !factors) {
		ret = llm_fail(llm, -ENOMEM, "out of memory");
		goto out;
	}
	for (i = 0; i < n; i++) {
		factors[i] =
			(t ? ((const float *)t->data)[i] : 1) * (float)yarn_factor(&llm->hp, i);
		if (!isfinite(factors[i]) || factors[i] <= 0) {
			ret = llm_fail(llm, -EBADMSG, "rope_freqs.weight holds %g",
				       (double)factors[i]);
			goto out;
		}
	}
	npu_rope_steps(steps, llm->hp.rope_dims, llm->hp.rope_base, llm->hp.rope_scale, factors);
	ret = npu_buffer_upload(llm->steps, 0, steps, n * sizeof(*steps));
	if (ret)
		llm_fail_device(llm, ret, "the RoPE steps cannot be uploaded");
out:
	free(steps);
	free(factors);
	return ret;
}
