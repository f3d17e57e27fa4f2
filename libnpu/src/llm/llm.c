// SPDX-License-Identifier: MIT
/* Opening and closing a model: the order of its parts. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "llm_internal.h"

#define DEFAULT_CONTEXT	4096u
#define DEFAULT_CHUNK	512u

int llm_fail(struct npu_llm *llm, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(llm->error, sizeof(llm->error), fmt, ap);
	va_end(ap);
	return code;
}

int llm_fail_device(struct npu_llm *llm, int code, const char *what)
{
	char text[256] = "";

	npu_device_error(llm->dev, text, sizeof(text));
	return llm_fail(llm, code, "%s: %s", what, text[0] ? text : npu_strerror(code));
}

const char *npu_llm_error(const struct npu_llm *llm)
{
	return llm->error;
}

/* ---- Opening --------------------------------------------------------------------------------- */

static int open_file(struct npu_llm *llm, const char *path)
{
	struct npu_gguf_str name = { "", 0 };
	char err[sizeof(llm->error)] = "";
	int ret = npu_gguf_open(path, &llm->gguf, err, sizeof(err));

	if (ret)
		return llm_fail(llm, ret, "%s", err);
	if (npu_gguf_get_str(llm->gguf, "general.architecture", &name))
		return llm_fail(llm, -EBADMSG, "general.architecture is missing: not a model");
	llm->arch = llm_arch_find(&name);
	if (!llm->arch)
		return llm_fail(
			llm, -ENOTSUP,
			"the architecture '%.*s' is not supported (llama, qwen2 and qwen3 are)",
			(int)(name.len < 64 ? name.len : 64), name.ptr);
	if (npu_gguf_tensor_count(llm->gguf) == 0)
		return llm_fail(llm, -EBADMSG, "the file holds a vocabulary, but no weights");
	ret = npu_tokenizer_create(llm->gguf, &llm->tok, err, sizeof(err));
	return ret ? llm_fail(llm, ret, "%s", err) : 0;
}

static int take_options(struct npu_llm *llm, const struct npu_llm_options *opt)
{
	static const enum npu_type kv_types[] = { NPU_TYPE_F16, NPU_TYPE_Q8_0 };
	uint32_t trained = llm->hp.context_trained;

	llm->context = opt->context		   ? opt->context
		       : trained < DEFAULT_CONTEXT ? trained
						   : DEFAULT_CONTEXT;
	if (llm->context > LLM_MAX_CONTEXT)
		return llm_fail(llm, -EINVAL, "a context of %u is more than %u", llm->context,
				LLM_MAX_CONTEXT);
	llm->chunk = opt->chunk ? opt->chunk : DEFAULT_CHUNK;
	if (llm->chunk > LLM_MAX_CHUNK)
		return llm_fail(llm, -EINVAL, "chunks of %u are more than %u", llm->chunk,
				LLM_MAX_CHUNK);
	if (llm->chunk > llm->context)
		llm->chunk = llm->context;
	if ((unsigned int)opt->kv_type > NPU_LLM_KV_Q8_0)
		return llm_fail(llm, -EINVAL, "%u is no type of KV cache", opt->kv_type);
	llm->kv_type = kv_types[opt->kv_type];
	llm->row_layout = opt->row_layout;
	llm->kv_row = npu_type_row_bytes(llm->kv_type, llm->hp.head_dim);
	if (!llm->kv_row)
		return llm_fail(
			llm, -EINVAL,
			"a Q8_0 cache needs heads of a multiple of 32 elements; these have %u: use F16",
			llm->hp.head_dim);
	llm->kv_plane = llm->kv_row * llm->context * llm->hp.kv_heads;
	return 0;
}

static int open_device(struct npu_llm *llm)
{
	struct npu_queue_options q = { .size = sizeof(q), .priority = NPU_PRIORITY_MEDIUM };
	int ret;

	ret = npu_device_query(llm->dev, &llm->devinfo, sizeof(llm->devinfo));
	if (!ret)
		ret = npu_vm_create(llm->dev, &llm->vm);
	if (!ret)
		ret = npu_queue_create(llm->vm, &q, &llm->queue);
	if (!ret)
		ret = npu_fence_create(llm->dev, &llm->fence);
	return ret ? llm_fail_device(llm, ret, "the device cannot be used") : 0;
}

static int make_buffers(struct npu_llm *llm)
{
	uint64_t kv = 2 * (uint64_t)llm->hp.layers * llm->kv_plane;
	int ret = npu_buffer_create(llm->vm, kv, 0, &llm->kv);

	if (ret) {
		char what[96];

		snprintf(what, sizeof(what),
			 "no memory for a KV cache of %.1f MiB (a smaller context needs less)",
			 (double)kv / (1 << 20));
		return llm_fail_device(llm, ret, what);
	}
	ret = npu_buffer_create(llm->vm, sizeof(struct llm_io), 0, &llm->io);
	if (!ret)
		ret = npu_buffer_create(llm->vm, llm->hp.vocab * sizeof(float), NPU_BUFFER_CACHED,
					&llm->logits_buf);
	if (!ret) {
		llm->logits = npu_buffer_map(llm->logits_buf);
		if (!llm->logits || !npu_buffer_map(llm->io))
			ret = -ENOMEM;
	}
	if (ret)
		return llm_fail_device(llm, ret, "no device memory");
	llm->history = malloc(((size_t)llm->context + LLM_RING + 1) * sizeof(*llm->history));
	return llm->history ? 0 : llm_fail(llm, -ENOMEM, "out of memory");
}

static int open_model(struct npu_llm *llm, const char *path, const struct npu_llm_options *opt)
{
	int ret;

	if ((ret = open_file(llm, path)) || (ret = llm_load_hparams(llm)) ||
	    (ret = take_options(llm, opt)) || (ret = open_device(llm)) ||
	    (ret = llm_plan_weights(llm, opt)) || (ret = llm_load_weights(llm, opt)) ||
	    (ret = llm_load_steps(llm)) || (ret = make_buffers(llm)))
		return ret;
	return llm_build_programs(llm);
}

int npu_llm_open(struct npu_device *dev, const char *path, const struct npu_llm_options *opt,
		 struct npu_llm **out, char *err, size_t err_size)
{
	struct npu_llm_options o = { .size = sizeof(o) };
	struct npu_llm *llm;
	int ret;

	if (!dev || !path || !out)
		return -EINVAL;
	*out = NULL;
	if (opt)
		memcpy(&o, opt, opt->size < sizeof(o) ? opt->size : sizeof(o));
	llm = calloc(1, sizeof(*llm));
	if (!llm)
		return -ENOMEM;
	llm->dev = npu_device_ref(dev);
	ret = open_model(llm, path, &o);
	if (ret) {
		if (err && err_size)
			snprintf(err, err_size, "%s", llm->error);
		npu_llm_close(llm);
		return ret;
	}
	*out = llm;
	return 0;
}

void npu_llm_close(struct npu_llm *llm)
{
	if (!llm)
		return;
	/* Nothing is in flight: every call waits for what it submitted. */
	llm_program_free(&llm->score);
	llm_program_free(&llm->decode);
	llm_program_free(&llm->prefill);
	npu_queue_unref(llm->queue);
	npu_buffer_unref(llm->logits_buf);
	npu_buffer_unref(llm->io);
	npu_buffer_unref(llm->kv);
	npu_buffer_unref(llm->steps);
	npu_buffer_unref(llm->weights);
	npu_fence_unref(llm->fence);
	npu_vm_unref(llm->vm);
	npu_tokenizer_destroy(llm->tok);
	npu_gguf_close(llm->gguf);
	free(llm->layer);
	free(llm->history);
	npu_device_close(llm->dev);
	free(llm);
}

/* ---- Questions ------------------------------------------------------------------- */

const struct npu_tokenizer *npu_llm_tokenizer(const struct npu_llm *llm)
{
	return llm->tok;
}

const struct npu_gguf *npu_llm_gguf(const struct npu_llm *llm)
{
	return llm->gguf;
}

uint32_t npu_llm_length(const struct npu_llm *llm)
{
	return llm->length;
}

const int32_t *npu_llm_tokens(const struct npu_llm *llm)
{
	return llm->history;
}

void npu_llm_cancel(struct npu_llm *llm)
{
	atomic_store(&llm->cancel, 1);
}

static uint64_t count_parameters(const struct npu_gguf *g)
{
	const struct npu_gguf_tensor *t;
	uint64_t i, n = 0;

	for (i = 0; (t = npu_gguf_tensor(g, i)); i++)
		n += t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3];
	return n;
}

int npu_llm_info(const struct npu_llm *llm, struct npu_llm_info *info, size_t size)
{
	const struct llm_hparams *hp = &llm->hp;
	struct npu_program_info pi = { 0 };
	struct npu_gguf_str name = { "", 0 };
	struct npu_llm_info i = {
		.layers = hp->layers,
		.embedding = hp->embd,
		.feed_forward = hp->ff,
		.heads = hp->heads,
		.kv_heads = hp->kv_heads,
		.head_dim = hp->head_dim,
		.vocab = hp->vocab,
		.context = llm->context,
		.context_trained = hp->context_trained,
		.weight_bytes = llm->weight_bytes,
		.weight_bytes_token = llm->weight_bytes,
		.converted = llm->converted,
		.kv_bytes = 2 * (uint64_t)hp->layers * llm->kv_plane,
		.parameters = count_parameters(llm->gguf),
	};

	if (!info)
		return -EINVAL;
	if (!llm->tied)
		i.weight_bytes_token -= llm->embd.bytes;
	npu_program_info(llm->prefill.p, &pi, sizeof(pi));
	i.arena_bytes = pi.arena_bytes;
	npu_gguf_get_str(llm->gguf, "general.name", &name);
	snprintf(i.name, sizeof(i.name), "%.*s",
		 (int)(name.len < sizeof(i.name) ? name.len : sizeof(i.name) - 1), name.ptr);
	snprintf(i.architecture, sizeof(i.architecture), "%s", llm->arch->name);
	memcpy(info, &i, size < sizeof(i) ? size : sizeof(i));
	return 0;
}
