// SPDX-License-Identifier: MIT
/*
 * The blocks that architectures are made of. Shapes are in the comments, innermost dimension
 * first.
 */
#include <math.h>

#include "llm_internal.h"

struct npu_shape llm_rows(const struct llm_build *b, uint32_t cols)
{
	return npu_shape_rows(cols, b->rows, b->max_rows);
}

static struct npu_gtensor *bind(struct llm_build *b, const char *name, const struct llm_weight *w,
				struct npu_shape shape)
{
	struct npu_bound bound = {
		.name = name,
		.type = w->type,
		.layout = w->layout,
		.shape = shape,
		.buffer = b->llm->weights,
		.offset = w->offset,
	};

	return npu_graph_weight(b->g, &bound);
}

struct npu_gtensor *llm_bind(struct llm_build *b, const char *name, const struct llm_weight *w)
{
	return bind(b, name, w, npu_shape4(w->cols, w->rows, 1, 1));
}

struct npu_gtensor *llm_vector(struct llm_build *b, const char *name, const struct llm_weight *w)
{
	return w->parts ? bind(b, name, w, npu_shape4(w->cols, 1, 1, 1)) : NULL;
}

/* ---- Attention ------------------------------------------------------------------------- */

/*
 * @heads heads from element @first on of each row of @x {cols, M}, F32 -> {D, heads, M}.
 */
static struct npu_gtensor *heads_of(struct llm_build *b, struct npu_gtensor *x, uint32_t cols,
				    uint32_t first, uint32_t heads)
{
	uint32_t d = b->llm->hp.head_dim;
	struct npu_shape shape = { { d, heads, b->max_rows, 1 }, { 0, 0, b->rows, 0 } };
	uint64_t row = (uint64_t)cols * sizeof(float);
	uint64_t nb[NPU_DIMS] = { sizeof(float), d * sizeof(float), row, row * b->max_rows };

	return npu_graph_view(b->g, x, shape, nb, npu_const((uint64_t)first * sizeof(float)));
}

struct qkv {
	struct npu_gtensor *q, *k, *v;	/* {D, heads, M}, {D, kv_heads, M} twice */
};

static struct npu_gtensor *bias_slice(struct llm_build *b, const struct llm_weight *w,
				      uint32_t first, uint32_t n)
{
	struct npu_gtensor *bias = llm_vector(b, "qkv_bias", w);

	return bias ? npu_graph_slice(b->g, bias, 0, first, n) : NULL;
}

/* h {C, M} -> queries, keys and values. */
static struct qkv project(struct llm_build *b, const struct llm_layer *l, struct npu_gtensor *h)
{
	const struct llm_hparams *hp = &b->llm->hp;
	uint32_t nq = hp->heads * hp->head_dim, nkv = hp->kv_heads * hp->head_dim, n = nq + 2 * nkv;
	struct npu_gtensor *x, *q, *k, *v;

	if (l->qkv.parts) {
		x = npu_graph_matmul(b->g, h, llm_bind(b, "attn_qkv", &l->qkv),
				     llm_vector(b, "qkv_bias", &l->qkv_bias), NPU_TYPE_F32);
		return (struct qkv){ heads_of(b, x, n, 0, hp->heads),
				     heads_of(b, x, n, nq, hp->kv_heads),
				     heads_of(b, x, n, nq + nkv, hp->kv_heads) };
	}
	q = npu_graph_matmul(b->g, h, llm_bind(b, "attn_q", &l->q),
			     bias_slice(b, &l->qkv_bias, 0, nq), NPU_TYPE_F32);
	k = npu_graph_matmul(b->g, h, llm_bind(b, "attn_k", &l->k),
			     bias_slice(b, &l->qkv_bias, nq, nkv), NPU_TYPE_F32);
	v = npu_graph_matmul(b->g, h, llm_bind(b, "attn_v", &l->v),
			     bias_slice(b, &l->qkv_bias, nq + nkv, nkv), NPU_TYPE_F32);
	return (struct qkv){ heads_of(b, q, nq, 0, hp->heads), heads_of(b, k, nkv, 0, hp->kv_heads),
			     heads_of(b, v, nkv, 0, hp->kv_heads) };
}

/* @x {D, heads, M} turned, into @dst or in place. */
static struct npu_gtensor *rope(struct llm_build *b, struct npu_gtensor *dst, struct npu_gtensor *x)
{
	struct npu_rope r = {
		.x = x,
		.step = b->steps,
		.pos = npu_scaled(b->pos, 1),
		.ndims = b->llm->hp.rope_dims,
		.halves = b->llm->arch->rope_halves,
		.mscale = b->llm->hp.rope_mscale,
	};

	return npu_graph_rope_to(b->g, dst, &r);
}

/*
 * K (@plane 0) or V (1) of a layer's cache: {D, context, kv_heads}. Each head's rows lie
 * together.
 */
static struct npu_gtensor *cache(struct llm_build *b, uint32_t il, uint32_t plane)
{
	const struct npu_llm *llm = b->llm;
	struct npu_bound bound = {
		.name = plane ? "cache_v" : "cache_k",
		.type = llm->kv_type,
		.shape = npu_shape4(llm->hp.head_dim, llm->context, llm->hp.kv_heads, 1),
		.buffer = llm->kv,
		.offset = (2 * (uint64_t)il + plane) * llm->kv_plane,
	};

	return npu_graph_state(b->g, &bound);
}

/* Positions from @first on of a cache; @extent rows, of which scalar @dyn are there. */
static struct npu_gtensor *cache_view(struct llm_build *b, struct npu_gtensor *c, uint32_t extent,
				      int dyn, struct npu_affine first)
{
	const struct npu_llm *llm = b->llm;
	struct npu_shape shape = { { llm->hp.head_dim, extent, llm->hp.kv_heads, 1 },
				   { 0, dyn, 0, 0 } };
	uint64_t head = llm->kv_row * llm->context;
	uint64_t nb[NPU_DIMS] = { npu_type_bytes(llm->kv_type), llm->kv_row, head,
				  head * llm->hp.kv_heads };

	return npu_graph_view(b->g, c, shape, nb, first);
}

/*
 * Put x {D, kv_heads, M} into the cache at the positions of this run, @turned on the way; returns
 * the part that is filled then. A cache that is quantised takes copies only.
 */
static struct npu_gtensor *cache_append(struct llm_build *b, struct npu_gtensor *c,
					struct npu_gtensor *x, bool turned)
{
	struct npu_gtensor *here =
		cache_view(b, c, b->max_rows, b->rows, npu_scaled(b->pos, (int32_t)b->llm->kv_row));

	if (turned && b->llm->kv_type == NPU_TYPE_F16)
		rope(b, npu_graph_permute(b->g, here, 0, 2, 1, 3), x);
	else
		npu_graph_copy(b->g, here,
			       npu_graph_permute(b->g, turned ? rope(b, x, x) : x, 0, 2, 1, 3));
	return cache_view(b, c, b->llm->context, b->kv, npu_const(0));
}

struct npu_gtensor *llm_block_attention(struct llm_build *b, uint32_t il, struct npu_gtensor *x)
{
	const struct llm_layer *l = &b->llm->layer[il];
	const struct llm_hparams *hp = &b->llm->hp;
	struct npu_gtensor *h, *o;
	struct npu_attention a = {
		.pos = npu_scaled(b->pos, 1),
		.window = hp->window,
		.causal = true,
		.scale = 1 / sqrtf((float)hp->head_dim),
		.type = NPU_TYPE_F32,
	};
	struct qkv p;

	h = npu_graph_rms_norm(b->g, x, llm_vector(b, "attn_norm", &l->attn_norm), hp->rms_eps,
			       NPU_TYPE_F32);
	p = project(b, l, h);
	if (b->llm->arch->qk_norm) {
		p.q = npu_graph_rms_norm(b->g, p.q, llm_vector(b, "attn_q_norm", &l->q_norm),
					 hp->rms_eps, NPU_TYPE_F32);
		p.k = npu_graph_rms_norm(b->g, p.k, llm_vector(b, "attn_k_norm", &l->k_norm),
					 hp->rms_eps, NPU_TYPE_F32);
	}
	a.q = rope(b, p.q, p.q);
	a.k = cache_append(b, cache(b, il, 0), p.k, true);
	a.v = cache_append(b, cache(b, il, 1), p.v, false);
	o = npu_graph_attention(b->g, &a);	/* {D, heads, M} */
	o = npu_graph_reshape(b->g, o, llm_rows(b, hp->heads * hp->head_dim));
	return npu_graph_matmul_add(b->g, x, o, llm_bind(b, "attn_output", &l->attn_out), NULL);
}

/* ---- Feed forward ------------------------------------------------------------------------- */

/* The gated unit: one command where the device has it and both weights can be named. */
static struct npu_gtensor *gated(struct llm_build *b, const struct llm_layer *l, struct npu_gtensor *h)
{
	uint32_t ff = b->llm->hp.ff;
	bool fused = npu_device_has_op(b->llm->dev, NPU_OP_MATMUL_GLU);
	struct npu_gtensor *gate, *up, *w;

	if (l->gate_up.parts) {
		w = llm_bind(b, "ffn_gate_up", &l->gate_up);
		if (fused && ff % 16 == 0) {
			gate = npu_graph_slice(b->g, w, 1, 0, ff);
			up = npu_graph_slice(b->g, w, 1, ff, ff);
			return npu_graph_matmul_glu(b->g, NPU_GLU_SWIGLU, h, gate, up, NPU_TYPE_F32);
		}
		h = npu_graph_matmul(b->g, h, w, NULL, NPU_TYPE_F32);
		gate = npu_graph_slice(b->g, h, 0, 0, ff);
		up = npu_graph_slice(b->g, h, 0, ff, ff);
		return npu_graph_glu(b->g, NPU_GLU_SWIGLU, gate, up, NPU_TYPE_F32);
	}
	gate = llm_bind(b, "ffn_gate", &l->gate);
	up = llm_bind(b, "ffn_up", &l->up);
	if (fused && l->gate.type == l->up.type && l->gate.layout == l->up.layout)
		return npu_graph_matmul_glu(b->g, NPU_GLU_SWIGLU, h, gate, up, NPU_TYPE_F32);
	gate = npu_graph_matmul(b->g, h, gate, NULL, NPU_TYPE_F32);
	up = npu_graph_matmul(b->g, h, up, NULL, NPU_TYPE_F32);
	return npu_graph_glu(b->g, NPU_GLU_SWIGLU, gate, up, NPU_TYPE_F32);
}

struct npu_gtensor *llm_block_swiglu(struct llm_build *b, uint32_t il, struct npu_gtensor *x)
{
	const struct llm_layer *l = &b->llm->layer[il];
	const struct llm_hparams *hp = &b->llm->hp;
	struct npu_gtensor *h;

	h = npu_graph_rms_norm(b->g, x, llm_vector(b, "ffn_norm", &l->ffn_norm), hp->rms_eps,
			       NPU_TYPE_F32);
	return npu_graph_matmul_add(b->g, x, gated(b, l, h), llm_bind(b, "ffn_down", &l->down), NULL);
}
