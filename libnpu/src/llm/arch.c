// SPDX-License-Identifier: MIT
/*
 * Architectures. Each says how its files differ from the common shape and what
 * a layer is, in terms of the blocks of blocks.c.
 */
#include <string.h>

#include "llm_internal.h"

/* x += attention(norm(x)); x += swiglu(norm(x)) */
static struct npu_gtensor *pre_norm_layer(struct llm_build *b, uint32_t il, struct npu_gtensor *x)
{
	x = llm_block_attention(b, il, x);
	return llm_block_swiglu(b, il, x);
}

/*
 * Llama 1 to 3.2, TinyLlama, SmolLM2, Mistral. Files have q and k permuted, so that pairs are
 * neighbours.
 */
static const struct llm_arch llama = {
	.name = "llama",
	.layer = pre_norm_layer,
};

/* Qwen2, Qwen2.5: biases on q, k and v. */
static const struct llm_arch qwen2 = {
	.name = "qwen2",
	.rope_halves = true,
	.qkv_bias = true,
	.layer = pre_norm_layer,
};

/* Qwen3: no biases, but a norm over each head of q and k. */
static const struct llm_arch qwen3 = {
	.name = "qwen3",
	.rope_halves = true,
	.qk_norm = true,
	.layer = pre_norm_layer,
};

static const struct llm_arch *const archs[] = { &llama, &qwen2, &qwen3 };

const struct llm_arch *llm_arch_find(const struct npu_gguf_str *name)
{
	size_t i;

	for (i = 0; i < sizeof(archs) / sizeof(archs[0]); i++)
		if (strlen(archs[i]->name) == name->len &&
		    !memcmp(archs[i]->name, name->ptr, name->len))
			return archs[i];
	return NULL;
}
