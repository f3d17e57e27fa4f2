/* SPDX-License-Identifier: MIT */
/* Operations along dimension 0: RMS_NORM, LAYER_NORM, SOFTMAX, REDUCE, ARGMAX, TOPK. */
#include <string.h>

#include "order.h"
#include "run.h"

struct rows {
	const struct npu_row_kernels *k;
	const void *packet;
	const struct npu_operand *op;
	uint32_t ne[NPU_DIMS];	/* of the source */
};

static uint64_t row_count(const struct rows *r)
{
	return (uint64_t)r->ne[1] * r->ne[2] * r->ne[3];
}

static int run_rows(struct rows *r, const void *packet, const struct npu_tensor *src, struct npu_operand *op,
		    unsigned int n, struct npu_op_env *env, npu_pool_fn fn)
{
	int err = npu_operands_map(env, op, n, 0, NULL);

	if (err)
		return err;
	r->k = npu_row_kernels(env->path);
	r->packet = packet;
	r->op = op;
	memcpy(r->ne, src->ne, sizeof(r->ne));
	npu_pool_for(env->pool, row_count(r), npu_row_grain(r->ne[0]), fn, r);
	return npu_operands_finish(env, op, n);
}

/* Chunk @i of row @row of operand @op; *n elements. */
static const float *chunk(const struct rows *r, const struct npu_operand *op, const uint8_t *row, uint64_t i,
			  uint64_t *n, float *buf)
{
	*n = r->ne[0] - i < NPU_CHUNK ? r->ne[0] - i : NPU_CHUNK;
	return npu_row_load(r->k, op->t->type, row, op->nb[0], i, *n, buf);
}

#define EACH_CHUNK(r, i) for (uint64_t i = 0; i < (r)->ne[0]; i += NPU_CHUNK)

/* ---- Norms ------------------------------------------------------------------------------- */

static float row_mean(const struct rows *r, const struct npu_operand *op, const uint8_t *row)
{
	float buf[NPU_CHUNK], part[NPU_PARTIALS] = { 0 };
	uint64_t n;

	EACH_CHUNK(r, i) {
		const float *x = chunk(r, op, row, i, &n, buf);

		r->k->sum(x, n, part);
	}
	return npu_partials_sum(part) / (float)r->ne[0];
}

static float row_mean_square(const struct rows *r, const struct npu_operand *op, const uint8_t *row, float mean,
			     bool centred)
{
	float buf[NPU_CHUNK], part[NPU_PARTIALS] = { 0 };
	uint64_t n;

	EACH_CHUNK(r, i) {
		const float *x = chunk(r, op, row, i, &n, buf);

		if (centred)
			r->k->sumdev(x, mean, n, part);
		else
			r->k->sumsq(x, n, part);
	}
	return npu_partials_sum(part) / (float)r->ne[0];
}

static void norm_rows(void *arg, uint64_t begin, uint64_t end, unsigned int worker)
{
	const struct rows *r = arg;
	const struct npu_cmd_norm *p = r->packet;
	const struct npu_operand *dst = &r->op[0], *src = &r->op[1];
	const float *w = p->weight ? (const float *)r->op[2].p : NULL;
	const float *b = p->bias ? (const float *)r->op[3].p : NULL;
	bool layer = p->cmd.opcode == NPU_OP_LAYER_NORM;
	float buf[NPU_CHUNK], out[NPU_CHUNK];
	uint64_t n;

	(void)worker;
	for (uint64_t at = begin; at < end; at++) {
		const uint8_t *from = npu_row_at(src, r->ne, at);
		uint8_t *to = npu_row_at(dst, r->ne, at);
		float mean = layer ? row_mean(r, src, from) : 0.0f;
		float scale = npu_rsqrt(row_mean_square(r, src, from, mean, layer) + p->eps);

		EACH_CHUNK(r, i) {
			const float *x = chunk(r, src, from, i, &n, buf);
			float *y = npu_row_dest(dst->t->type, to, dst->nb[0], i, out);

			r->k->normalise(x, mean, scale, w ? w + i : NULL, b ? b + i : NULL, n, y);
			npu_row_finish(r->k, dst->t->type, to, dst->nb[0], i, n, y);
		}
	}
}

int npu_run_norm(const struct npu_cmd_norm *p, struct npu_op_env *env)
{
	struct rows r;
	struct npu_tensor weight, bias;
	struct npu_operand op[] = {
		{ .t = &p->dst, .number = 0, .access = NPU_OP_WRITE },
		{ .t = &p->src, .number = 1, .access = NPU_OP_READ },
		npu_vector_operand(&weight, p->weight, NPU_TYPE_F32, p->src.ne[0], NPU_OPERAND_AUX0),
		npu_vector_operand(&bias, p->bias, NPU_TYPE_F32, p->src.ne[0], NPU_OPERAND_AUX1),
	};

	if (!p->weight)
		op[2].access = 0;
	if (!p->bias)
		op[3].access = 0;
	return run_rows(&r, p, &p->src, op, 4, env, norm_rows);
}

/* ---- SOFTMAX -------------------------------------------------------------------------------- */

struct softmax_row {
	const uint8_t *from, *mask;
	uint8_t *to;
};

/* t = scale * src (+ mask) of chunk @i, in @t. */
static uint64_t softmax_input(const struct rows *r, const struct softmax_row *s, uint64_t i, float *t)
{
	const struct npu_cmd_softmax *p = r->packet;
	float buf[NPU_CHUNK], mbuf[NPU_CHUNK];
	const float *m = NULL, *x;
	uint64_t n;

	if (s->mask)
		m = chunk(r, &r->op[2], s->mask, i, &n, mbuf);
	x = chunk(r, &r->op[1], s->from, i, &n, buf);
	r->k->scale_mask(x, p->scale, m, n, t);
	return n;
}

static void softmax_const(const struct rows *r, const struct softmax_row *s, float value)
{
	const struct npu_operand *dst = &r->op[0];
	float buf[NPU_CHUNK];

	for (unsigned int i = 0; i < NPU_CHUNK; i++)
		buf[i] = value;
	EACH_CHUNK(r, i)
		npu_row_store(r->k, dst->t->type, s->to, dst->nb[0], i,
			      r->ne[0] - i < NPU_CHUNK ? r->ne[0] - i : NPU_CHUNK, buf);
}

static void softmax_row(const struct rows *r, const struct softmax_row *s)
{
	const struct npu_operand *dst = &r->op[0];
	float t[NPU_CHUNK], part[NPU_PARTIALS] = { 0 }, max, sum;
	int32_t key = INT32_MIN;
	uint64_t n;

	EACH_CHUNK(r, i) {
		int32_t k;

		n = softmax_input(r, s, i, t);
		k = r->k->max_key(t, n);
		key = k > key ? k : key;
	}
	max = npu_from_key(key);
	if (max != max || max == npu_f32_from_bits(0xff800000u)) {
		softmax_const(r, s, max != max ? max : 0.0f);
		return;
	}
	EACH_CHUNK(r, i) {
		float *e = npu_row_dest(dst->t->type, s->to, dst->nb[0], i, t);

		n = softmax_input(r, s, i, t);
		r->k->exp_sub(t, max, n, e);
		r->k->sum(e, n, part);
	}
	sum = npu_partials_sum(part);
	EACH_CHUNK(r, i) {
		float *y = npu_row_dest(dst->t->type, s->to, dst->nb[0], i, t);

		n = r->ne[0] - i < NPU_CHUNK ? r->ne[0] - i : NPU_CHUNK;
		if (y == t && r->ne[0] > NPU_CHUNK) {	/* else y still holds e of the chunk */
			softmax_input(r, s, i, t);
			r->k->exp_sub(t, max, n, t);
		}
		r->k->divide(y, sum, n, y);
		npu_row_finish(r->k, dst->t->type, s->to, dst->nb[0], i, n, y);
	}
}

static void softmax_rows(void *arg, uint64_t begin, uint64_t end, unsigned int worker)
{
	const struct rows *r = arg;
	const struct npu_cmd_softmax *p = r->packet;

	(void)worker;
	for (uint64_t at = begin; at < end; at++) {
		struct softmax_row s = {
			.from = npu_row_at(&r->op[1], r->ne, at),
			.to = npu_row_at(&r->op[0], r->ne, at),
		};

		if (p->flags & NPU_SOFTMAX_MASK)
			s.mask = npu_row_at(&r->op[2], r->ne, at);
		softmax_row(r, &s);
	}
}

int npu_run_softmax(const struct npu_cmd_softmax *p, struct npu_op_env *env)
{
	struct rows r;
	struct npu_operand op[] = {
		{ .t = &p->dst, .number = 0, .access = NPU_OP_WRITE },
		{ .t = &p->src, .number = 1, .access = NPU_OP_READ },
		{ .t = &p->mask, .number = 2, .access = p->flags & NPU_SOFTMAX_MASK ? NPU_OP_READ : 0 },
	};
	int err = npu_operands_map(env, op, 3, 0, NULL);

	if (err)
		return err;
	if (op[2].access)
		npu_broadcast(&op[2], p->src.ne);
	r = (struct rows){ .k = npu_row_kernels(env->path), .packet = p, .op = op };
	memcpy(r.ne, p->src.ne, sizeof(r.ne));
	npu_pool_for(env->pool, row_count(&r), npu_row_grain(r.ne[0]), softmax_rows, &r);
	return npu_operands_finish(env, op, 3);
}

/* ---- REDUCE, ARGMAX ----------------------------------------------------------------------- */

static float row_reduce(const struct rows *r, unsigned int kind, const struct npu_operand *src, const uint8_t *from)
{
	float buf[NPU_CHUNK], part[NPU_PARTIALS] = { 0 };
	int32_t max = INT32_MIN, min = INT32_MAX;
	uint64_t n;

	EACH_CHUNK(r, i) {
		const float *x = chunk(r, src, from, i, &n, buf);
		int32_t k;

		switch (kind) {
		case NPU_REDUCE_SUMSQ:
			r->k->sumsq(x, n, part);
			break;
		case NPU_REDUCE_MAX:
			k = r->k->max_key(x, n);
			max = k > max ? k : max;
			break;
		case NPU_REDUCE_MIN:
			k = r->k->min_key(x, n);
			min = k < min ? k : min;
			break;
		default:
			r->k->sum(x, n, part);
		}
	}
	switch (kind) {
	case NPU_REDUCE_MAX:
		return npu_from_key(max);
	case NPU_REDUCE_MIN:
		return npu_from_key(min);
	case NPU_REDUCE_MEAN:
		return npu_partials_sum(part) / (float)r->ne[0];
	default:
		return npu_partials_sum(part);
	}
}

/* Lowest index of the highest rank. */
static int32_t row_argmax(const struct rows *r, const struct npu_operand *src, const uint8_t *from)
{
	float buf[NPU_CHUNK];
	int32_t best = INT32_MIN, index = 0;
	uint64_t n, at;

	EACH_CHUNK(r, i) {
		const float *x = chunk(r, src, from, i, &n, buf);
		int32_t rank = r->k->max_rank(x, n);

		if (rank <= best)
			continue;
		best = rank;
		/* Another writer may have changed x meanwhile: then any index of the chunk will do. */
		at = r->k->first_above(x, n, rank - 1);
		index = (int32_t)(i + (at < n ? at : 0));
	}
	return index;
}

static void reduce_rows(void *arg, uint64_t begin, uint64_t end, unsigned int worker)
{
	const struct rows *r = arg;
	const struct npu_cmd_map *p = r->packet;
	const struct npu_operand *dst = &r->op[0], *src = &r->op[1];

	(void)worker;
	for (uint64_t at = begin; at < end; at++) {
		const uint8_t *from = npu_row_at(src, r->ne, at);
		uint8_t *to = npu_row_at(dst, r->ne, at);

		if (p->cmd.opcode == NPU_OP_ARGMAX) {
			int32_t index = row_argmax(r, src, from);

			memcpy(to, &index, sizeof(index));
		} else {
			float v = row_reduce(r, p->kind, src, from);

			r->k->narrow(dst->t->type, &v, 1, to);
		}
	}
}

int npu_run_reduce(const struct npu_cmd_map *p, struct npu_op_env *env)
{
	struct rows r;
	struct npu_operand op[] = {
		{ .t = &p->dst, .number = 0, .access = NPU_OP_WRITE },
		{ .t = &p->src, .number = 1, .access = NPU_OP_READ },
	};

	return run_rows(&r, p, &p->src, op, 2, env, reduce_rows);
}

/* ---- TOPK ---------------------------------------------------------------------------------- */

/*
 * A candidate as one number, larger is better: the rank above, the complement
 * of the index below, so that the lower of equal elements wins.
 */
static int64_t candidate(int32_t rank, uint64_t index)
{
	return (int64_t)((uint64_t)(uint32_t)rank << 32 | (uint32_t)~(uint32_t)index);
}

static uint64_t candidate_index(int64_t c)
{
	return (uint32_t)~(uint32_t)c;
}

/* A heap whose root is the worst of the best. */
static void sift_down(int64_t *heap, unsigned int n, unsigned int at)
{
	int64_t v = heap[at];

	for (unsigned int child; (child = 2 * at + 1) < n; at = child) {
		if (child + 1 < n && heap[child + 1] < heap[child])
			child++;
		if (heap[child] >= v)
			break;
		heap[at] = heap[child];
	}
	heap[at] = v;
}

static void topk_row(const struct rows *r, const uint8_t *from, unsigned int k, int64_t *heap)
{
	float buf[NPU_CHUNK];
	unsigned int have = 0;
	uint64_t n;

	EACH_CHUNK(r, i) {
		const float *x = chunk(r, &r->op[2], from, i, &n, buf);
		uint64_t j = 0;

		for (; j < n && have < k; j++) {
			heap[have++] = candidate(npu_rank(x[j]), i + j);
			if (have == k)
				for (unsigned int h = k / 2; h-- > 0;)
					sift_down(heap, k, h);
		}
		/* A later element of the root's rank would lose by its index. */
		while ((j += r->k->first_above(x + j, n - j, (int32_t)(heap[0] >> 32))) < n) {
			heap[0] = candidate(npu_rank(x[j]), i + j);
			sift_down(heap, k, 0);
			j++;
		}
	}
	for (unsigned int left = k - 1; left > 0; left--) {	/* worst last */
		int64_t worst = heap[0];

		heap[0] = heap[left];
		heap[left] = worst;
		sift_down(heap, left, 0);
	}
}

static void topk_rows(void *arg, uint64_t begin, uint64_t end, unsigned int worker)
{
	const struct rows *r = arg;
	const struct npu_cmd_topk *p = r->packet;
	const struct npu_operand *values = &r->op[0], *indices = &r->op[1], *src = &r->op[2];
	int64_t heap[NPU_TOPK_MAX];

	(void)worker;
	for (uint64_t at = begin; at < end; at++) {
		const uint8_t *from = npu_row_at(src, r->ne, at);
		uint8_t *value_row = npu_row_at(values, r->ne, at), *index_row = npu_row_at(indices, r->ne, at);

		topk_row(r, from, p->k, heap);
		for (unsigned int i = 0; i < p->k; i++) {
			uint64_t from_index = candidate_index(heap[i]);
			int32_t index = (int32_t)from_index;
			float buf, v;

			v = *npu_row_load(r->k, src->t->type, from, src->nb[0], from_index, 1, &buf);
			r->k->narrow(values->t->type, &v, 1, value_row + i * values->nb[0]);
			memcpy(index_row + i * indices->nb[0], &index, sizeof(index));
		}
	}
}

int npu_run_topk(const struct npu_cmd_topk *p, struct npu_op_env *env)
{
	struct rows r;
	struct npu_operand op[] = {
		{ .t = &p->values, .number = 0, .access = NPU_OP_WRITE },
		{ .t = &p->indices, .number = 1, .access = NPU_OP_WRITE },
		{ .t = &p->src, .number = 2, .access = NPU_OP_READ },
	};

	return run_rows(&r, p, &p->src, op, 3, env, topk_rows);
}
