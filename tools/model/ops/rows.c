/* SPDX-License-Identifier: MIT */
/* GATHER and SCATTER: rows by index. Only the rows that indices name are touched. */
#include <errno.h>
#include <string.h>

#include "run.h"
#include "tile.h"

/* A row of the table: an address in the row layout, or tile and row in it. NULL: skipped. */
struct row_ref {
	uint8_t *p;
	uint64_t in_tile;
};

struct rows {
	const struct npu_row_kernels *k;
	const struct npu_cmd_rows *p;
	const struct npu_operand *dst;
	const struct row_ref *refs;
	uint64_t count;
};

static uint64_t table_row_bytes(const struct npu_tensor *t)
{
	return (uint64_t)(t->ne[0] / npu_type_block_len(t->type)) * npu_type_block_bytes(t->type);
}

/* Each index is read once: memory may change under us, what was checked must be what is used. */
static int32_t read_index(const struct npu_operand *index, uint64_t i)
{
	int32_t v;

	memcpy(&v, index->p + i % index->t->ne[0] * index->nb[0] + i / index->t->ne[0] * index->nb[1], sizeof(v));
	return v;
}

static int find_rows(const struct npu_cmd_rows *p, struct npu_op_env *env, const struct npu_operand *index,
		     unsigned int access, struct row_ref *refs)
{
	const struct npu_tensor *t = &p->table;
	uint64_t row = table_row_bytes(t), count = (uint64_t)p->index.ne[0] * p->index.ne[1];
	bool tiles = t->layout == NPU_LAYOUT_TILE16;

	for (uint64_t i = 0; i < count; i++) {
		int32_t at = read_index(index, i);

		refs[i] = (struct row_ref){ 0 };
		if (at == -1 && (access & NPU_OP_WRITE))
			continue;
		if (at < 0 || (uint32_t)at >= t->ne[1])
			return env->illegal(env, 2, p->index.addr + i % p->index.ne[0] *
					    (p->index.ne[0] > 1 ? p->index.nb[0] : 0) + i / p->index.ne[0] *
					    (p->index.ne[1] > 1 ? p->index.nb[1] : 0));
		if (tiles) {
			refs[i].in_tile = (uint32_t)at % NPU_TILE_ROWS;
			refs[i].p = env->map(env, t->addr + (uint64_t)(uint32_t)at / NPU_TILE_ROWS * NPU_TILE_ROWS * row,
					     NPU_TILE_ROWS * row, access, 1);
		} else {
			refs[i].p = env->map(env, t->addr + (t->ne[1] > 1 ? (uint32_t)at * t->nb[1] : 0), row, access, 1);
		}
		if (!refs[i].p)
			return -EFAULT;
	}
	return 0;
}

/* Elements [i, i + n) of a table row as F32. */
static const float *load_table(const struct rows *r, const struct row_ref *ref, uint64_t i, uint64_t n, float *buf)
{
	const struct npu_tensor *t = &r->p->table;
	uint32_t len = npu_type_block_len(t->type), bytes = npu_type_block_bytes(t->type);
	uint8_t block[NPU_BLOCK_MAX];

	if (t->layout == NPU_LAYOUT_ROWS)
		return npu_row_load(r->k, t->type, ref->p, bytes, i, n, buf);
	for (uint64_t j = 0; j < n; j += len) {
		npu_tile_block(t->type, ref->p + (i + j) / len * NPU_TILE_ROWS * bytes, (unsigned int)ref->in_tile, block);
		r->k->widen(t->type, block, len, buf + j);
	}
	return buf;
}

static void gather_rows(void *arg, uint64_t begin, uint64_t end, unsigned int worker)
{
	const struct rows *r = arg;
	const struct npu_operand *dst = r->dst;
	uint64_t width = r->p->dst.ne[0];
	float buf[NPU_CHUNK];

	(void)worker;
	for (uint64_t at = begin; at < end; at++) {
		uint8_t *to = npu_row_at(dst, r->p->dst.ne, at);

		for (uint64_t i = 0; i < width; i += NPU_CHUNK) {
			uint64_t n = width - i < NPU_CHUNK ? width - i : NPU_CHUNK;
			const float *x = load_table(r, &r->refs[at], i, n, buf);

			npu_row_store(r->k, dst->t->type, to, dst->nb[0], i, n, x);
		}
	}
}

static int run(const struct npu_cmd_rows *p, struct npu_op_env *env, unsigned int dst_access, unsigned int table_access,
	       npu_pool_fn fn, uint64_t n, uint64_t grain)
{
	struct npu_operand op[] = {
		{ .t = &p->dst, .number = 0, .access = dst_access },
		{ .t = &p->index, .number = 2, .access = NPU_OP_READ },
	};
	uint64_t count = (uint64_t)p->index.ne[0] * p->index.ne[1];
	struct rows r = { .k = npu_row_kernels(env->path), .p = p, .dst = &op[0], .count = count };
	void *work;
	int err = npu_operands_map(env, op, 2, count * sizeof(struct row_ref), &work);

	if (err)
		return err;
	err = find_rows(p, env, &op[1], table_access, work);
	if (err)
		return err;
	r.refs = work;
	npu_pool_for(env->pool, n, grain, fn, &r);
	return npu_operands_finish(env, op, 2);
}

int npu_run_gather(const struct npu_cmd_rows *p, struct npu_op_env *env)
{
	return run(p, env, NPU_OP_WRITE, NPU_OP_READ, gather_rows, (uint64_t)p->dst.ne[1] * p->dst.ne[2],
		   npu_row_grain(p->dst.ne[0]));
}

/* Columns [begin, end) of all rows in ascending order, so that the last of equal indices wins. */
static void scatter_columns(void *arg, uint64_t begin, uint64_t end, unsigned int worker)
{
	const struct rows *r = arg;
	const struct npu_operand *src = r->dst;
	unsigned int type = r->p->table.type;
	float buf[NPU_CHUNK];

	(void)worker;
	for (uint64_t at = 0; at < r->count; at++) {
		const uint8_t *from = npu_row_at(src, r->p->dst.ne, at);

		if (!r->refs[at].p)
			continue;
		for (uint64_t i = begin; i < end; i += NPU_CHUNK) {
			uint64_t n = end - i < NPU_CHUNK ? end - i : NPU_CHUNK;
			const float *x = npu_row_load(r->k, src->t->type, from, src->nb[0], i, n, buf);

			npu_row_store(r->k, type, r->refs[at].p, npu_type_block_bytes(type), i, n, x);
		}
	}
}

int npu_run_scatter(const struct npu_cmd_rows *p, struct npu_op_env *env)
{
	uint64_t rows = (uint64_t)p->index.ne[0] * p->index.ne[1];
	uint64_t grain = (npu_row_grain(rows) + NPU_CHUNK - 1) / NPU_CHUNK * NPU_CHUNK;

	return run(p, env, NPU_OP_READ, NPU_OP_WRITE, scatter_columns, p->dst.ne[0], grain);
}
