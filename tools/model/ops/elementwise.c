/* SPDX-License-Identifier: MIT */
/* UNARY, BINARY, GLU, COPY, FILL: one result element per source element. */
#include <string.h>

#include "mathfn.h"
#include "run.h"

#define SOURCES 2u

struct loop;
/* @n results into @out from @in; @n <= NPU_CHUNK. */
typedef void (*compute_fn)(const struct loop *l, const float *const *in, uint64_t n, float *out);
/* Or all of it, from stored elements to stored elements. */
typedef void (*move_fn)(const struct loop *l, uint8_t *dst, const uint8_t *src, uint64_t n);

/* A loop over the elements of a destination, dimensions merged where all operands allow it. */
struct loop {
	const struct npu_row_kernels *k;
	compute_fn compute;
	move_fn move;
	unsigned int kind;
	float p0, p1;
	unsigned int nsrc;
	uint64_t ne[NPU_DIMS];
	struct {
		uint8_t type;
		uint32_t len;		/* elements of a block */
		struct npu_pieces mem;	/* not contiguous: only where nb[0] is the size of a block */
		uint64_t nb[NPU_DIMS];
	} op[1 + SOURCES];	/* destination first */
	uint8_t value[NPU_CHUNK * 8];	/* FILL */
};

static uint64_t row_extent(const struct loop *l, unsigned int o, unsigned int d)
{
	uint32_t len = d ? 1 : npu_type_block_len(l->op[o].type);

	return l->ne[d] / len * l->op[o].nb[d];
}

static void merge_dims(struct loop *l)
{
	unsigned int last = 0;

	for (unsigned int d = 1; d < NPU_DIMS; d++) {
		bool fits = true;

		if (l->ne[d] == 1)
			continue;
		for (unsigned int o = 0; o <= l->nsrc; o++)
			fits &= l->op[o].nb[d] == row_extent(l, o, last);
		if (fits) {
			l->ne[last] *= l->ne[d];
			continue;
		}
		if (!(last == 0 && l->ne[0] == 1))
			last++;
		l->ne[last] = l->ne[d];
		for (unsigned int o = 0; o <= l->nsrc; o++)
			l->op[o].nb[last] = l->op[o].nb[d];
	}
	for (unsigned int d = last + 1; d < NPU_DIMS; d++)
		l->ne[d] = 1;
}

/* Byte of @o's memory at which row @r begins. */
static uint64_t row_of(const struct loop *l, unsigned int o, uint64_t r)
{
	uint64_t i1 = r % l->ne[1], i2 = r / l->ne[1];

	return i1 * l->op[o].nb[1] + i2 % l->ne[2] * l->op[o].nb[2] + i2 / l->ne[2] * l->op[o].nb[3];
}

/* @n stored elements to stored elements. */
static void elements(const struct loop *l, uint8_t *dst, const uint8_t *const *src, uint64_t n)
{
	float in[SOURCES][NPU_CHUNK], buf[NPU_CHUNK];
	const float *x[SOURCES];
	float *y;

	if (l->move) {
		l->move(l, dst, src[0], n);
		return;
	}
	for (unsigned int s = 0; s < l->nsrc; s++)
		x[s] = npu_row_load(l->k, l->op[1 + s].type, src[s], l->op[1 + s].nb[0], 0, n, in[s]);
	if (!l->compute) {
		npu_row_store(l->k, l->op[0].type, dst, l->op[0].nb[0], 0, n, x[0]);
		return;
	}
	y = npu_row_dest(l->op[0].type, dst, l->op[0].nb[0], 0, buf);
	l->compute(l, x, n, y);
	npu_row_finish(l->k, l->op[0].type, dst, l->op[0].nb[0], 0, n, y);
}

/* Elements [i0, i0 + n) of a row that begins at byte row[o] of each operand. */
static void piece(const struct loop *l, const uint64_t *row, uint64_t i0, uint64_t n)
{
	uint8_t room[1 + SOURCES][NPU_CHUNK * 8];
	const uint8_t *src[SOURCES] = { NULL };
	uint64_t at[1 + SOURCES];
	uint8_t *dst;

	for (unsigned int o = 0; o <= l->nsrc; o++)
		at[o] = row[o] + i0 / l->op[o].len * l->op[o].nb[0];
	for (unsigned int s = 1; s <= l->nsrc; s++)
		src[s - 1] = npu_piece(&l->op[s].mem, at[s], n / l->op[s].len * l->op[s].nb[0], room[s]);
	dst = npu_pieces_place(&l->op[0].mem, at[0], n / l->op[0].len * l->op[0].nb[0], room[0]);
	elements(l, dst, src, n);
	if (dst == room[0])
		npu_pieces_write(&l->op[0].mem, at[0], n / l->op[0].len * l->op[0].nb[0], room[0]);
}

static void loop_piece(void *arg, uint64_t begin, uint64_t end, unsigned int worker)
{
	const struct loop *l = arg;
	uint64_t r = begin / l->ne[0], i = begin % l->ne[0];

	(void)worker;
	for (uint64_t at = begin; at < end; r++, i = 0) {
		uint64_t row[1 + SOURCES];
		uint64_t stop = l->ne[0] - i < end - at ? l->ne[0] : i + (end - at);

		for (unsigned int o = 0; o <= l->nsrc; o++)
			row[o] = row_of(l, o, r);
		at += stop - i;
		for (; i < stop; i += NPU_CHUNK)
			piece(l, row, i, stop - i < NPU_CHUNK ? stop - i : NPU_CHUNK);
	}
}

/*
 * A transposition reads down columns: a block of rows and columns is done at a
 * time, so that a cache line that was fetched for one row serves the next.
 */
#define BLOCK_ROWS	16u
#define BLOCK_COLUMNS	32u

static bool is_transposition(const struct loop *l)
{
	if (l->nsrc != 1 || npu_type_block_len(l->op[0].type) > 1 || npu_type_block_len(l->op[1].type) > 1)
		return false;
	return l->op[1].nb[0] >= 64 && l->op[1].nb[1] == npu_type_block_bytes(l->op[1].type) && l->ne[1] > 1;
}

/* Groups of BLOCK_ROWS rows of one matrix. */
static void transpose_piece(void *arg, uint64_t begin, uint64_t end, unsigned int worker)
{
	const struct loop *l = arg;
	uint64_t groups = (l->ne[1] + BLOCK_ROWS - 1) / BLOCK_ROWS;

	(void)worker;
	for (uint64_t g = begin; g < end; g++) {
		uint64_t r0 = g % groups * BLOCK_ROWS, matrix = g / groups * l->ne[1];
		uint64_t rows = l->ne[1] - r0 < BLOCK_ROWS ? l->ne[1] - r0 : BLOCK_ROWS;
		uint64_t row[BLOCK_ROWS][2];

		for (uint64_t r = 0; r < rows; r++)
			for (unsigned int o = 0; o < 2; o++)
				row[r][o] = row_of(l, o, matrix + r0 + r);
		for (uint64_t i = 0; i < l->ne[0]; i += BLOCK_COLUMNS)
			for (uint64_t r = 0; r < rows; r++)
				piece(l, row[r], i, l->ne[0] - i < BLOCK_COLUMNS ? l->ne[0] - i : BLOCK_COLUMNS);
	}
}

static void run_pieces(struct loop *l, struct npu_pool *pool)
{
	uint64_t matrices = l->ne[2] * l->ne[3];

	if (is_transposition(l))
		npu_pool_for(pool, (l->ne[1] + BLOCK_ROWS - 1) / BLOCK_ROWS * matrices,
			     npu_row_grain(BLOCK_ROWS * l->ne[0]), transpose_piece, l);
	else
		npu_pool_for(pool, l->ne[0] * l->ne[1] * matrices, NPU_GRAIN, loop_piece, l);
}

/*
 * Rows without gaps between elements may lie in pages. What is read across rows, or
 * one element over and over, is gathered whole where it is not contiguous.
 */
static bool in_pieces(const struct npu_tensor *t)
{
	return t->ne[0] > 1 && t->nb[0] == npu_type_block_bytes(t->type);
}

/* Map the operands and run the loop over the destination's elements. */
static int run_loop(struct loop *l, struct npu_operand *op, struct npu_op_env *env)
{
	int err;

	for (unsigned int o = 0; o <= l->nsrc; o++)
		op[o].in_pieces = in_pieces(op[o].t);
	err = npu_operands_map(env, op, 1 + l->nsrc, 0, NULL);
	if (err)
		return err;
	l->k = npu_row_kernels(env->path);
	for (unsigned int d = 0; d < NPU_DIMS; d++)
		l->ne[d] = op[0].t->ne[d];
	for (unsigned int o = 0; o <= l->nsrc; o++) {
		npu_broadcast(&op[o], op[0].t->ne);
		l->op[o].type = op[o].t->type;
		l->op[o].len = npu_type_block_len(op[o].t->type);
		l->op[o].mem = op[o].mem;
		memcpy(l->op[o].nb, op[o].nb, sizeof(l->op[o].nb));
		if (l->ne[0] == 1 || l->op[o].len > 1)
			l->op[o].nb[0] = npu_type_block_bytes(op[o].t->type);
	}
	merge_dims(l);
	run_pieces(l, env->pool);
	return npu_operands_finish(env, op, 1 + l->nsrc);
}

/* ---- UNARY, BINARY, GLU ---------------------------------------------------------------- */

static void compute_unary(const struct loop *l, const float *const *in, uint64_t n, float *out)
{
	l->k->unary(l->kind, l->p0, l->p1, in[0], n, out);
}

static void compute_binary(const struct loop *l, const float *const *in, uint64_t n, float *out)
{
	l->k->binary(l->kind, in[0], in[1], n, out);
}

static void compute_glu(const struct loop *l, const float *const *in, uint64_t n, float *out)
{
	l->k->glu(l->kind, in[0], in[1], n, out);
}

int npu_run_unary(const struct npu_cmd_map *p, struct npu_op_env *env)
{
	struct loop l;
	struct npu_operand op[] = {
		{ .t = &p->dst, .number = 0, .access = NPU_OP_WRITE },
		{ .t = &p->src, .number = 1, .access = NPU_OP_READ },
	};

	l.compute = compute_unary;
	l.move = NULL;
	l.nsrc = 1;
	l.kind = p->kind;
	l.p0 = p->p0;
	l.p1 = p->p1;
	return run_loop(&l, op, env);
}

int npu_run_binary(const struct npu_cmd_binary *p, struct npu_op_env *env)
{
	struct loop l;
	struct npu_operand op[] = {
		{ .t = &p->dst, .number = 0, .access = NPU_OP_WRITE },
		{ .t = &p->a, .number = 1, .access = NPU_OP_READ },
		{ .t = &p->b, .number = 2, .access = NPU_OP_READ },
	};

	l.compute = p->cmd.opcode == NPU_OP_GLU ? compute_glu : compute_binary;
	l.move = NULL;
	l.nsrc = 2;
	l.kind = p->kind;
	return run_loop(&l, op, env);
}

/* ---- COPY, FILL --------------------------------------------------------------------------- */

static int64_t load_int(unsigned int type, const uint8_t *p)
{
	int16_t i16;
	int32_t i32;
	int64_t i64;

	switch (type) {
	case NPU_TYPE_I8:
		return (int8_t)*p;
	case NPU_TYPE_I16:
		memcpy(&i16, p, 2);
		return i16;
	case NPU_TYPE_I32:
		memcpy(&i32, p, 4);
		return i32;
	default:
		memcpy(&i64, p, 8);
		return i64;
	}
}

static void store_int(unsigned int type, uint8_t *p, int64_t v)
{
	unsigned int bytes = npu_type_block_bytes(type);

	if (bytes < 8) {
		int64_t max = (1ll << (8 * bytes - 1)) - 1;

		v = v > max ? max : v;
		v = v < -max - 1 ? -max - 1 : v;
	}
	memcpy(p, &v, bytes);	/* little endian: the low bytes */
}

/* Toward zero; out of range saturates; NaN is 0. */
static int64_t float_to_int(float x)
{
	if (x >= 0x1p63f)
		return INT64_MAX;
	if (x < -0x1p63f)
		return INT64_MIN;
	return x == x ? (int64_t)x : 0;
}

static bool is_int(unsigned int type)
{
	return type >= NPU_TYPE_I8 && type <= NPU_TYPE_I64;
}

static void move_int(const struct loop *l, uint8_t *dst, const uint8_t *src, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		store_int(l->op[0].type, dst + i * l->op[0].nb[0], load_int(l->op[1].type, src + i * l->op[1].nb[0]));
}

static void move_float_to_int(const struct loop *l, uint8_t *dst, const uint8_t *src, uint64_t n)
{
	float buf[NPU_CHUNK];
	const float *x = npu_row_load(l->k, l->op[1].type, src, l->op[1].nb[0], 0, n, buf);

	for (uint64_t i = 0; i < n; i++)
		store_int(l->op[0].type, dst + i * l->op[0].nb[0], float_to_int(x[i]));
}

#define MOVE_STRIDED(bytes)							\
	for (uint64_t i = 0; i < n; i++)					\
		memcpy(dst + i * dst_nb, src + i * src_nb, bytes)

static void move_elements(uint8_t *dst, uint64_t dst_nb, const uint8_t *src, uint64_t src_nb, uint64_t n,
			  unsigned int size)
{
	if (dst_nb == size && src_nb == size) {
		memmove(dst, src, n * size);	/* a copy onto itself is legal */
		return;
	}
	switch (size) {
	case 1:
		MOVE_STRIDED(1);
		break;
	case 2:
		MOVE_STRIDED(2);
		break;
	case 4:
		MOVE_STRIDED(4);
		break;
	default:
		MOVE_STRIDED(8);
	}
}

/* The same type on both sides: bytes. */
static void move_bytes(const struct loop *l, uint8_t *dst, const uint8_t *src, uint64_t n)
{
	move_elements(dst, l->op[0].nb[0], src, l->op[1].nb[0], n / l->op[0].len, npu_type_block_bytes(l->op[0].type));
}

int npu_run_copy(const struct npu_cmd_map *p, struct npu_op_env *env)
{
	struct loop l;
	struct npu_operand op[] = {
		{ .t = &p->dst, .number = 0, .access = NPU_OP_WRITE },
		{ .t = &p->src, .number = 1, .access = NPU_OP_READ },
	};

	l.compute = NULL;
	l.nsrc = 1;
	if (p->dst.type == p->src.type)
		l.move = move_bytes;
	else if (is_int(p->dst.type))
		l.move = is_int(p->src.type) ? move_int : move_float_to_int;
	else
		l.move = NULL;
	return run_loop(&l, op, env);
}

static void move_value(const struct loop *l, uint8_t *dst, const uint8_t *src, uint64_t n)
{
	unsigned int size = npu_type_block_bytes(l->op[0].type);

	(void)src;
	move_elements(dst, l->op[0].nb[0], l->value, size, n, size);
}

int npu_run_fill(const struct npu_cmd_map *p, struct npu_op_env *env)
{
	unsigned int size = npu_type_block_bytes(p->dst.type);
	uint64_t n = (uint64_t)p->dst.ne[0] * p->dst.ne[1];
	struct loop l;
	struct npu_operand op[] = { { .t = &p->dst, .number = 0, .access = NPU_OP_WRITE } };

	l.compute = NULL;
	l.move = move_value;
	l.nsrc = 0;
	if (is_int(p->dst.type))
		store_int(p->dst.type, l.value, float_to_int(p->p0));
	else
		npu_row_scalar.narrow(p->dst.type, &p->p0, 1, l.value);
	/* Pieces are no longer than all elements. */
	n = n * p->dst.ne[2] < NPU_CHUNK ? n * p->dst.ne[2] * p->dst.ne[3] : NPU_CHUNK;
	n = (n < NPU_CHUNK ? n : NPU_CHUNK) * size;
	for (uint64_t have = size; have < n; have *= 2)
		memcpy(l.value + have, l.value, n - have < have ? n - have : have);
	return run_loop(&l, op, env);
}
