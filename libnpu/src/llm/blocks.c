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
	struct npu_gtensor *qk, *kv;	/* both at once, where they lie side by side; or NULL */
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
				     heads_of(b, x, n, nq + nkv, hp->kv_heads),
				     heads_of(b, x, n, 0, hp->heads + hp->kv_heads),
				     heads_of(b, x, n, nq, 2 * hp->kv_heads) };
	}
	q = npu_graph_matmul(b->g, h, llm_bind(b, "attn_q", &l->q),
			     bias_slice(b, &l->qkv_bias, 0, nq), NPU_TYPE_F32);
	k = npu_graph_matmul(b->g, h, llm_bind(b, "attn_k", &l->k),
			     bias_slice(b, &l->qkv_bias, nq, nkv), NPU_TYPE_F32);
	v = npu_graph_matmul(b->g, h, llm_bind(b, "attn_v", &l->v),
			     bias_slice(b, &l->qkv_bias, nq + nkv, nkv), NPU_TYPE_F32);
	return (struct qkv){ heads_of(b, q, nq, 0, hp->heads), heads_of(b, k, nkv, 0, hp->kv_heads),
			     heads_of(b, v, nkv, 0, hp->kv_heads), NULL, NULL };
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
 * A layer's cache: {D, context, 2 kv_heads}, heads of K before those of V. Each head's rows lie
 * together.
 */
static struct npu_gtensor *cache(struct llm_build *b, uint32_t il)
{
	const struct npu_llm *llm = b->llm;
	struct npu_bound bound = {
		.name = "cache",
		.type = llm->kv_type,
		.shape = npu_shape4(llm->hp.head_dim, llm->context, 2 * llm->hp.kv_heads, 1),
		.buffer = llm->kv,
		.offset = 2 * (uint64_t)il * llm->kv_plane,
	};

	return npu_graph_state(b->g, &bound);
}

/* Heads of a cache, all @extent rows from row @first (an offset in bytes) on. */
struct cache_part {
	uint32_t head, heads, extent;
	int dyn;		/* scalar: how many of the rows are there */
	struct npu_affine first;
};

static struct npu_gtensor *cache_view(struct llm_build *b, struct npu_gtensor *c, struct cache_part p)
{
	const struct npu_llm *llm = b->llm;
	struct npu_shape shape = { { llm->hp.head_dim, p.extent, p.heads, 1 }, { 0, p.dyn, 0, 0 } };
	uint64_t head = llm->kv_row * llm->context;
	uint64_t nb[NPU_DIMS] = { npu_type_bytes(llm->kv_type), llm->kv_row, head, head * p.heads };

	p.first.imm += p.head * head;
	return npu_graph_view(b->g, c, shape, nb, p.first);
}

/* Where @heads heads of K and V from @head on go in this run: {D, heads, M}. */
static struct npu_gtensor *cache_here(struct llm_build *b, struct npu_gtensor *c, uint32_t head,
				      uint32_t heads)
{
	struct npu_gtensor *here = cache_view(b, c, (struct cache_part){
		.head = head, .heads = heads, .extent = b->max_rows, .dyn = b->rows,
		.first = npu_scaled(b->pos, (int32_t)b->llm->kv_row) });

	return npu_graph_permute(b->g, here, 0, 2, 1, 3);
}

/* What is filled of K (@head 0) or V (kv_heads) after this run: {D, kv, kv_heads}. */
static struct npu_gtensor *cache_filled(struct llm_build *b, struct npu_gtensor *c, uint32_t head)
{
	return cache_view(b, c, (struct cache_part){
		.head = head, .heads = b->llm->hp.kv_heads, .extent = b->llm->context, .dyn = b->kv });
}

/* Queries and keys turned, keys and values in the cache @c; returns the queries. */
static struct npu_gtensor *turn_and_keep(struct llm_build *b, struct npu_gtensor *c, const struct qkv *p)
{
	uint32_t kv = b->llm->hp.kv_heads;
	struct npu_gtensor *q, *k;

	if (p->qk) {
		rope(b, p->qk, p->qk);
		npu_graph_copy(b->g, cache_here(b, c, 0, 2 * kv), p->kv);
		return p->q;
	}
	q = rope(b, p->q, p->q);
	k = cache_here(b, c, 0, kv);
	/* A cache that is quantised takes copies only. */
	if (b->llm->kv_type == NPU_TYPE_F16)
		rope(b, k, p->k);
	else
		npu_graph_copy(b->g, k, rope(b, p->k, p->k));
	npu_graph_copy(b->g, cache_here(b, c, kv, kv), p->v);
	return q;
}

struct npu_gtensor *llm_block_attention(struct llm_build *b, uint32_t il, struct npu_gtensor *x)
{
	const struct llm_layer *l = &b->llm->layer[il];
	const struct llm_hparams *hp = &b->llm->hp;
	struct npu_gtensor *h, *o, *c;
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
		p.qk = p.kv = NULL;
	}
	c = cache(b, il);
	a.q = turn_and_keep(b, c, &p);
	a.k = cache_filled(b, c, 0);
	a.v = cache_filled(b, c, hp->kv_heads);
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
