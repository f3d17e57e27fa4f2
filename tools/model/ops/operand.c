/* SPDX-License-Identifier: MIT */
/* Mapping of strided operands: whole spans where possible, else run by run. */
#include <errno.h>
#include <string.h>

#include "ahead.h"
#include "operand.h"

/*
 * That much of an operand begins to be fetched when it is mapped: weights that streamed past have
 * pushed it out of the cache, or another thread has just made it, and a command on a few KiB is
 * over before a CPU's own prefetchers have found their pace. Of more at once a CPU drops what it
 * has no room for.
 */
#define PREFETCH_BYTES	1536u

/* A tensor as runs of contiguous bytes: @bytes each, repeated over dimensions @first.. */
struct runs {
	uint64_t bytes;
	unsigned int first;
	uint64_t count[NPU_DIMS];	/* of dimension 0 in blocks */
};

static uint64_t tile_bytes(const struct npu_tensor *t)
{
	uint64_t row = (uint64_t)(t->ne[0] / npu_type_block_len(t->type)) * npu_type_block_bytes(t->type);

	return row * (((uint64_t)t->ne[1] + 15) / 16 * 16);
}

static struct runs runs_of(const struct npu_tensor *t)
{
	struct runs r = { .bytes = npu_type_block_bytes(t->type), .first = 0 };

	r.count[0] = t->ne[0] / npu_type_block_len(t->type);
	for (unsigned int i = 1; i < NPU_DIMS; i++)
		r.count[i] = t->ne[i];
	if (t->layout == NPU_LAYOUT_TILE16) {
		r.bytes = tile_bytes(t);
		r.first = 2;
	}
	while (r.first < NPU_DIMS && (r.count[r.first] == 1 || t->nb[r.first] == r.bytes)) {
		r.bytes *= r.count[r.first];
		r.first++;
	}
	return r;
}

bool npu_operand_span(const struct npu_tensor *t, uint64_t *span)
{
	uint64_t sum = npu_type_block_bytes(t->type);
	unsigned int first = 0;

	if (t->layout == NPU_LAYOUT_TILE16) {
		/* Below 2^32 rows of at most 2^34 bytes each: may overflow 64 bits. */
		uint64_t rows = ((uint64_t)t->ne[1] + 15) / 16 * 16;
		uint64_t row = (uint64_t)(t->ne[0] / npu_type_block_len(t->type)) * sum;

		if (__builtin_mul_overflow(row, rows, &sum))
			return false;
		first = 2;
	}
	for (unsigned int i = first; i < NPU_DIMS; i++) {
		uint64_t count = i ? t->ne[i] : t->ne[0] / npu_type_block_len(t->type);
		uint64_t extent;

		if (count <= 1)
			continue;
		if (__builtin_mul_overflow(count - 1, t->nb[i], &extent) || __builtin_add_overflow(sum, extent, &sum))
			return false;
	}
	*span = sum;
	return true;
}

/*
 * Visit every run of an operand in ascending index order: map it, and copy
 * between it and @copy (packed) where that is not NULL.
 */
static int walk(struct npu_op_env *env, const struct npu_operand *op, unsigned int access, uint8_t *copy, bool to_memory)
{
	struct runs r = runs_of(op->t);
	uint64_t at[NPU_DIMS] = { 0 };
	uint64_t va = op->t->addr;
	unsigned int d;

	for (;;) {
		uint8_t *p = env->map(env, va, r.bytes, access, op->number);

		if (!p)
			return -EFAULT;
		if (copy && to_memory)
			memcpy(p, copy, r.bytes);
		else if (copy)
			memcpy(copy, p, r.bytes);
		if (copy)
			copy += r.bytes;
		for (d = r.first; d < NPU_DIMS; d++) {
			va += op->t->nb[d];
			if (++at[d] < r.count[d])
				break;
			va -= op->t->nb[d] * r.count[d];
			at[d] = 0;
		}
		if (d == NPU_DIMS)
			return 0;
	}
}

static int map_span(struct npu_op_env *env, struct npu_operand *op, uint64_t span, unsigned int access)
{
	int err;

	if (op->in_pieces) {
		err = env->map_pieces(env, op->t->addr, span, access, op->number, &op->mem);
		op->p = err ? NULL : op->mem.p;
		return err;
	}
	op->p = env->map(env, op->t->addr, span, access, op->number);
	op->mem = (struct npu_pieces){ .p = op->p };
	if (op->p && op->number >= NPU_OPERAND_AUX0)
		npu_ahead_vector(op->p, span);
	if (op->p && (access & NPU_OP_READ))
		npu_prefetch(op->p, span < PREFETCH_BYTES ? span : PREFETCH_BYTES);
	return op->p ? 0 : -EFAULT;
}

/* In place, or op->packed is set and every run has been found accessible. */
static int map_one(struct npu_op_env *env, struct npu_operand *op)
{
	struct runs r = runs_of(op->t);
	uint64_t span;

	op->packed = 0;
	for (unsigned int i = 0; i < NPU_DIMS; i++)
		op->nb[i] = op->t->nb[i];
	if (!npu_operand_span(op->t, &span))
		return -EFAULT;	/* npu_op_plan() has refused it */
	if (r.first == NPU_DIMS)
		return map_span(env, op, span, op->access);
	if (!map_span(env, op, span, op->access | NPU_OP_PROBE))
		return 0;
	op->packed = r.bytes;
	for (unsigned int i = r.first; i < NPU_DIMS; i++)
		op->packed *= r.count[i];
	return walk(env, op, op->access, NULL, false);
}

static void pack_strides(struct npu_operand *op)
{
	uint64_t stride = npu_type_block_bytes(op->t->type);

	for (unsigned int i = 0; i < NPU_DIMS; i++) {
		op->nb[i] = stride;
		if (i == 1 && op->t->layout == NPU_LAYOUT_TILE16)
			stride = tile_bytes(op->t);
		else
			stride *= i ? op->t->ne[i] : op->t->ne[0] / npu_type_block_len(op->t->type);
	}
}

static size_t align64(uint64_t n)
{
	return (size_t)((n + 63) & ~63ull);
}

int npu_operands_map(struct npu_op_env *env, struct npu_operand *op, unsigned int n, size_t work_size, void **work)
{
	size_t total = align64(work_size);
	uint8_t *scratch = NULL;
	int err;

	for (unsigned int i = 0; i < n; i++) {
		if (!op[i].access)
			continue;
		err = map_one(env, &op[i]);
		if (err)
			return err;
		total += align64(op[i].packed);
	}
	if (total) {
		scratch = env->scratch(env, total);
		if (!scratch)
			return -ENOMEM;
	}
	if (work)
		*work = scratch;
	scratch = scratch ? scratch + align64(work_size) : NULL;
	for (unsigned int i = 0; i < n; i++) {
		if (!op[i].access || !op[i].packed)
			continue;
		op[i].p = scratch;
		op[i].mem = (struct npu_pieces){ .p = scratch };
		scratch += align64(op[i].packed);
		pack_strides(&op[i]);
		if (op[i].access & NPU_OP_READ) {
			err = walk(env, &op[i], op[i].access, op[i].p, false);
			if (err)
				return err;
		}
	}
	return 0;
}

int npu_operands_finish(struct npu_op_env *env, const struct npu_operand *op, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		if (!op[i].packed || !(op[i].access & NPU_OP_WRITE))
			continue;
		if (walk(env, &op[i], op[i].access, op[i].p, true))
			return -EFAULT;
	}
	return 0;
}
