// SPDX-License-Identifier: MIT
/* Graphs: numbers, run-time extents, state, loops, cutting, planning, errors. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib_common.h"

static struct npu_graph *graph_new(struct lib_state *s)
{
	struct npu_graph *g;

	assert_ok(s->dev, npu_graph_create(s->dev, &g));
	return g;
}

static struct npu_program *compile(struct lib_state *s, struct npu_graph *g)
{
	struct npu_program *p;
	int err = npu_graph_compile(g, s->vm, NULL, &p);

	if (err)
		fail_msg("compile: %d: %s", err, npu_graph_error(g));
	return p;
}

static struct npu_io io_of(struct lib_state *s, struct npu_program *p, const char *name)
{
	struct npu_io io;

	assert_ok(s->dev, npu_program_io(p, name, &io));
	return io;
}

/* A buffer with @n random floats, copied to @out. */
static struct npu_buffer *random_buffer(struct lib_state *s, float *out, unsigned int n, uint32_t seed)
{
	struct npu_buffer *buf;

	for (unsigned int i = 0; i < n; i++)
		out[i] = lib_random(&seed);
	assert_ok(s->dev, npu_buffer_create(s->vm, n * 4ull, 0, &buf));
	assert_ok(s->dev, npu_buffer_upload(buf, 0, out, n * 4ull));
	return buf;
}

static struct npu_gtensor *weight(struct npu_graph *g, const char *name, struct npu_buffer *buf, uint32_t n0, uint32_t n1)
{
	struct npu_bound b = { .name = name, .type = NPU_TYPE_F32, .shape = npu_shape4(n0, n1, 1, 1), .buffer = buf };

	return npu_graph_weight(g, &b);
}

/* The specified F32 matmul: ascending k, one fma each. */
static float dot(const float *a, const float *b, unsigned int k)
{
	float acc = 0;

	for (unsigned int i = 0; i < k; i++)
		acc = fmaf(b[i], a[i], acc);
	return acc;
}

/* ---- Run-time extents ----------------------------------------------------------------- */

#define ROWS 8u
#define K 64u
#define N 48u

static void test_rows(void **state)
{
	struct lib_state *s = *state;
	static float w[N * K];
	struct npu_buffer *wb = random_buffer(s, w, N * K, 7);
	struct npu_graph *g = graph_new(s);
	int rows = npu_graph_arg(g, "rows", ROWS);
	struct npu_gtensor *x = npu_graph_input(g, "x", NPU_TYPE_F32, npu_shape_rows(K, rows, ROWS));
	struct npu_gtensor *y = npu_graph_matmul(g, x, weight(g, "w", wb, K, N), NULL, NPU_TYPE_F32);
	struct npu_program *p;
	struct npu_io in, out;
	uint32_t seed = 3;
	uint64_t arg;

	y = npu_graph_unary(g, NPU_UNARY_SCALE, y, 2, 1, NPU_TYPE_F32);
	assert_non_null(npu_graph_output(g, "y", y));
	p = compile(s, g);
	npu_graph_destroy(g);	/* programs live on */
	in = io_of(s, p, "x");
	out = io_of(s, p, "y");
	assert_int_equal(in.bytes, ROWS * K * 4);
	for (unsigned int i = 0; i < ROWS * K; i++)
		((float *)in.data)[i] = lib_random(&seed);
	for (arg = 0; arg <= ROWS; arg += 3) {
		float *y_host = out.data;

		for (unsigned int i = 0; i < ROWS * N; i++)
			y_host[i] = -99;
		assert_ok(s->dev, npu_program_flush(p));
		assert_ok(s->dev, npu_program_run(p, s->queue, &arg, 1, LIB_HANG_NS));
		for (unsigned int m = 0; m < ROWS; m++)
			for (unsigned int n = 0; n < N; n++) {
				float want = m < arg ? fmaf(dot((float *)in.data + m * K, w + n * K, K), 2, 1) : -99;

				assert_memory_equal(&y_host[m * N + n], &want, 4);
			}
	}
	arg = ROWS + 1;
	assert_int_equal(npu_program_run(p, s->queue, &arg, 1, LIB_HANG_NS), -EINVAL);
	lib_assert_text(s->dev, "rows");
	assert_int_equal(npu_program_run(p, s->queue, &arg, 0, LIB_HANG_NS), -EINVAL);
	npu_program_unref(p);
	npu_buffer_unref(wb);
}

/* ---- Operations along rows ------------------------------------------------------------------ */

#define RC 16u	/* columns */
#define RM 4u

/* A state tensor of integers in a buffer of its own. */
static struct npu_gtensor *int_state(struct npu_graph *g, struct npu_buffer *buf, enum npu_type type, uint32_t n)
{
	struct npu_bound b = { .name = "ints", .type = type, .shape = npu_shape4(n, 1, 1, 1), .buffer = buf };

	return npu_graph_state(g, &b);
}

/* Each result beside what plain C makes of the same rows. */
static void test_row_operations(void **state)
{
	static const int32_t places[RM] = { 2, -1, 0, 3 };
	struct lib_state *s = *state;
	struct npu_bound tb = { .name = "table", .type = NPU_TYPE_F32, .shape = npu_shape4(RC, RM, 1, 1) };
	struct npu_gtensor *x, *table, *top, *index;
	struct npu_graph *g = graph_new(s);
	struct npu_buffer *ib, *tib;
	struct npu_timestamp ts;
	struct npu_program *p;
	struct npu_io in;
	const float *norm, *sum, *best, *row;
	const int32_t *which;
	float filled[RC * RM], *v;
	uint64_t pick = 2;
	uint32_t seed = 11;

	assert_ok(s->dev, npu_buffer_create(s->vm, 4096, NPU_BUFFER_CACHED, &tb.buffer));
	assert_ok(s->dev, npu_buffer_create(s->vm, sizeof(places), 0, &ib));
	assert_ok(s->dev, npu_buffer_create(s->vm, sizeof(ts), NPU_BUFFER_CACHED, &tib));
	assert_ok(s->dev, npu_buffer_upload(ib, 0, places, sizeof(places)));
	x = npu_graph_input(g, "x", NPU_TYPE_F32, npu_shape4(RC, RM, 1, 1));
	assert_int_equal(npu_gtensor_type(x), NPU_TYPE_F32);
	assert_int_equal(npu_gtensor_shape(x).ne[1], RM);
	npu_graph_output(g, "norm", npu_graph_layer_norm(g, x, NULL, NULL, 0, NPU_TYPE_F32));
	npu_graph_output(g, "sum", npu_graph_reduce(g, NPU_REDUCE_SUM, x));
	top = npu_graph_topk(g, x, 3, &index);
	assert_int_equal(npu_gtensor_shape(top).ne[0], 3);
	assert_int_equal(npu_gtensor_type(index), NPU_TYPE_I32);
	npu_graph_output(g, "top", top);
	npu_graph_output(g, "index", index);
	npu_graph_output(g, "row", npu_graph_row(g, x, npu_scaled(npu_graph_arg(g, "pick", RM - 1), 1)));
	table = npu_graph_state(g, &tb);
	npu_graph_fill(g, table, 5);
	npu_graph_scatter(g, table, int_state(g, ib, NPU_TYPE_I32, RM), x);
	assert_int_equal(npu_graph_timestamp(g, int_state(g, tib, NPU_TYPE_I64, 4)), 0);
	p = compile(s, g);
	npu_graph_destroy(g);

	in = io_of(s, p, "x");
	v = in.data;
	for (unsigned int i = 0; i < RC * RM; i++)
		v[i] = lib_random(&seed);
	assert_ok(s->dev, npu_program_run(p, s->queue, &pick, 1, LIB_HANG_NS));
	norm = io_of(s, p, "norm").data;
	sum = io_of(s, p, "sum").data;
	best = io_of(s, p, "top").data;
	which = io_of(s, p, "index").data;
	row = io_of(s, p, "row").data;
	assert_ok(s->dev, npu_buffer_download(tb.buffer, 0, filled, sizeof(filled)));
	for (unsigned int m = 0; m < RM; m++, v += RC) {
		double mean = 0, var = 0;

		for (unsigned int i = 0; i < RC; i++)
			mean += v[i] / (double)RC;
		for (unsigned int i = 0; i < RC; i++)
			var += (v[i] - mean) * (v[i] - mean) / RC;
		assert_true(fabs(sum[m] - mean * RC) < 1e-5);
		for (unsigned int i = 0; i < RC; i++)
			assert_true(fabs(norm[m * RC + i] - (v[i] - mean) / sqrt(var)) < 1e-4);
		for (unsigned int i = 0; i < RC; i++) {
			unsigned int above = 0;

			for (unsigned int k = 0; k < RC; k++)
				above += v[k] > v[i];
			if (above < 3) {
				assert_true(best[m * 3 + above] == v[i]);
				assert_int_equal(which[m * 3 + above], i);
			}
		}
		if (places[m] >= 0)
			assert_memory_equal(filled + (uint32_t)places[m] * RC, v, RC * 4);
	}
	assert_memory_equal(row, (float *)in.data + pick * RC, RC * 4);
	for (unsigned int i = 0; i < RC; i++)	/* to which no row was scattered */
		assert_true(filled[RC + i] == 5);
	assert_ok(s->dev, npu_buffer_download(tib, 0, &ts, sizeof(ts)));
	assert_true(ts.commands > 0);
	npu_program_unref(p);
	npu_buffer_unref(tb.buffer);
	npu_buffer_unref(ib);
	npu_buffer_unref(tib);
}

/* ---- Residuals, views, several engines ---------------------------------------------------- */

static void test_block(void **state)
{
	struct lib_state *s = *state;
	static float w1[2 * N * K], w2[K * N], nw[K];
	struct npu_buffer *b1 = random_buffer(s, w1, 2 * N * K, 11), *b2 = random_buffer(s, w2, K * N, 12);
	struct npu_buffer *b3 = random_buffer(s, nw, K, 13);
	struct npu_graph *g = graph_new(s);
	struct npu_gtensor *x, *h, *gate, *up;
	struct npu_program *p;
	struct npu_io in, out;
	uint32_t seed = 5;

	x = npu_graph_input(g, "x", NPU_TYPE_F32, npu_shape4(K, ROWS, 1, 1));
	x = npu_graph_convert(g, x, NPU_TYPE_F32);
	h = npu_graph_rms_norm(g, x, weight(g, "norm", b3, K, 1), 1e-5f, NPU_TYPE_F32);
	h = npu_graph_matmul(g, h, weight(g, "up", b1, K, 2 * N), NULL, NPU_TYPE_F32);
	gate = npu_graph_slice(g, h, 0, 0, N);
	up = npu_graph_slice(g, h, 0, N, N);
	h = npu_graph_glu(g, NPU_GLU_SWIGLU, gate, up, NPU_TYPE_F32);
	x = npu_graph_matmul_add(g, x, h, weight(g, "down", b2, N, K), NULL);
	assert_non_null(npu_graph_output(g, "y", x));
	p = compile(s, g);
	in = io_of(s, p, "x");
	out = io_of(s, p, "y");
	for (unsigned int i = 0; i < ROWS * K; i++)
		((float *)in.data)[i] = lib_random(&seed);
	assert_ok(s->dev, npu_program_run(p, s->queue, NULL, 0, LIB_HANG_NS));
	for (unsigned int m = 0; m < ROWS; m++) {
		const float *row = (float *)in.data + m * K;
		double ss = 0, hn[K], act[N];

		for (unsigned int k = 0; k < K; k++)
			ss += (double)row[k] * (double)row[k];
		for (unsigned int k = 0; k < K; k++)
			hn[k] = (double)row[k] / sqrt(ss / K + 1e-5) * (double)nw[k];
		for (unsigned int n = 0; n < N; n++) {
			double a = 0, b = 0;

			for (unsigned int k = 0; k < K; k++) {
				a += (double)w1[n * K + k] * hn[k];
				b += (double)w1[(N + n) * K + k] * hn[k];
			}
			act[n] = a / (1 + exp(-a)) * b;
		}
		for (unsigned int k = 0; k < K; k++) {
			double want = (double)row[k];

			for (unsigned int n = 0; n < N; n++)
				want += act[n] * (double)w2[k * N + n];
			if (fabs(want - (double)((float *)out.data)[m * K + k]) > 1e-4 * (1 + fabs(want)))
				fail_msg("row %u column %u: %g, want %g", m, k, (double)((float *)out.data)[m * K + k], want);
		}
	}
	npu_program_unref(p);
	npu_graph_destroy(g);
	npu_buffer_unref(b1);
	npu_buffer_unref(b2);
	npu_buffer_unref(b3);
}

/* ---- A cache, prefill in pieces, a loop ----------------------------------------------------- */

#define D 32u
#define CTX 96u

/* Attention over a cache that is appended to; rows at positions pos.. */
static struct npu_program *attention_program(struct lib_state *s, struct npu_buffer *cache, uint32_t max_rows,
					     enum npu_type type)
{
	uint64_t row = npu_type_row_bytes(type, D);
	struct npu_bound kb = { .name = "k", .type = type, .shape = npu_shape4(D, CTX, 1, 1), .buffer = cache };
	struct npu_bound vb = { .name = "v", .type = type, .shape = npu_shape4(D, CTX, 1, 1), .buffer = cache,
				.offset = row * CTX };
	struct npu_graph *g = graph_new(s);
	int pos = npu_graph_arg(g, "pos", CTX - max_rows), rows = npu_graph_arg(g, "rows", max_rows);
	int kv = npu_graph_let(g, "kv", npu_sum(pos, 1, rows, 1), CTX);
	uint64_t nb[NPU_DIMS] = { npu_type_bytes(type), row, row * CTX, row * CTX };
	struct npu_shape cols = npu_shape_rows(D, rows, max_rows), filled = npu_shape_rows(D, kv, CTX);
	struct npu_shape heads = { { D, 1, max_rows, 1 }, { 0, 0, rows, 0 } };
	struct npu_gtensor *x = npu_graph_input(g, "x", NPU_TYPE_F32, cols);
	struct npu_gtensor *k = npu_graph_state(g, &kb), *v = npu_graph_state(g, &vb);
	struct npu_attention a = { .pos = npu_scaled(pos, 1), .causal = true, .scale = 0.25f, .type = NPU_TYPE_F32 };
	struct npu_program *p;

	npu_graph_copy(g, npu_graph_view(g, k, cols, nb, npu_scaled(pos, (int32_t)row)), x);
	npu_graph_copy(g, npu_graph_view(g, v, cols, nb, npu_scaled(pos, (int32_t)row)), x);
	a.q = npu_graph_reshape(g, npu_graph_unary(g, NPU_UNARY_SCALE, x, 3, 0, NPU_TYPE_F32), heads);
	a.k = npu_graph_view(g, k, filled, nb, npu_const(0));
	a.v = npu_graph_view(g, v, filled, nb, npu_const(0));
	npu_graph_output(g, "y", npu_graph_attention(g, &a));
	p = compile(s, g);
	npu_graph_destroy(g);
	return p;
}

/* Prefill in pieces of any size leaves the same bits. */
static void test_cache(void **state)
{
	struct lib_state *s = *state;
	static const uint32_t pieces[] = { 1, 7, CTX };
	static float x[CTX * D], want[CTX * D], got[CTX * D];
	uint32_t seed = 21;

	for (unsigned int i = 0; i < CTX * D; i++)
		x[i] = lib_random(&seed);
	for (unsigned int t = 0; t < 2; t++)
		for (unsigned int i = 3; i-- > 0;) {
			struct npu_buffer *cache;
			struct npu_program *p;
			struct npu_io in, out;

			assert_ok(s->dev, npu_buffer_create(s->vm, 2 * CTX * D * 4, 0, &cache));
			p = attention_program(s, cache, pieces[i], t ? NPU_TYPE_F16 : NPU_TYPE_F32);
			in = io_of(s, p, "x");
			out = io_of(s, p, "y");
			for (uint32_t pos = 0; pos < CTX; pos += pieces[i]) {
				uint32_t rows = CTX - pos < pieces[i] ? CTX - pos : pieces[i], back = pieces[i] - rows;
				/* The largest position leaves room for a full piece. */
				uint64_t args[2] = { pos - back, rows + back };

				memcpy(in.data, x + (pos - back) * D, (rows + back) * D * 4);
				assert_ok(s->dev, npu_program_run(p, s->queue, args, 2, LIB_HANG_NS));
				memcpy(got + (pos - back) * D, out.data, (rows + back) * D * 4);
			}
			if (i == 2)
				memcpy(want, got, sizeof(want));
			else
				assert_memory_equal(want, got, sizeof(want));
			npu_program_unref(p);
			npu_buffer_unref(cache);
		}
}

/* Device-side loop: token = argmax(W row(token)), to a ring, until the end token or the count. */
static void test_loop(void **state)
{
	struct lib_state *s = *state;
	enum { V = 40, RING = 64 };
	static float table[V * V];
	static int32_t ring[RING], expect[RING];
	struct npu_buffer *tb, *io;
	struct npu_bound token_b = { .name = "token", .type = NPU_TYPE_I32, .shape = npu_shape4(1, 1, 1, 1) };
	struct npu_bound ring_b = { .name = "ring", .type = NPU_TYPE_I32, .shape = npu_shape4(RING, 1, 1, 1), .offset = 64 };
	struct npu_graph *g = graph_new(s);
	struct npu_gtensor *token, *r, *row, *next;
	struct npu_queue_status st;
	struct npu_program *p;
	int count, end, step, got;
	uint64_t args[2];

	tb = random_buffer(s, table, V * V, 99);
	assert_ok(s->dev, npu_buffer_create(s->vm, 64 + sizeof(ring), NPU_BUFFER_CACHED, &io));
	token_b.buffer = ring_b.buffer = io;
	count = npu_graph_arg(g, "count", RING);
	end = npu_graph_arg(g, "end", UINT64_MAX);
	step = npu_graph_var(g, "step", RING - 1);
	got = npu_graph_var(g, "got", UINT64_MAX);
	token = npu_graph_state(g, &token_b);
	r = npu_graph_state(g, &ring_b);
	npu_graph_loop_begin(g, npu_scaled(count, 1));
	row = npu_graph_gather(g, weight(g, "table", tb, V, V), token, NPU_TYPE_F32);
	next = npu_graph_argmax(g, npu_graph_unary(g, NPU_UNARY_SQUARE, row, 0, 0, NPU_TYPE_F32));
	npu_graph_copy(g, token, next);
	npu_graph_load(g, got, token);
	npu_graph_store(g, npu_graph_view(g, r, npu_shape4(1, 1, 1, 1), NULL, npu_scaled(step, 4)), npu_scaled(got, 1));
	npu_graph_set(g, step, (struct npu_affine){ .imm = 1, .a = step, .sa = 1 });
	npu_graph_progress(g, npu_scaled(step, 1), false);
	npu_graph_alu(g, NPU_ALU_XOR, got, npu_scaled(end, 1));
	npu_graph_loop_break(g, got, NPU_COND_EQ, 0);
	npu_graph_loop_end(g);
	p = compile(s, g);
	npu_graph_destroy(g);

	for (int i = 0, t = 5; i < RING; i++) {
		int best = 0;

		for (int v = 1; v < V; v++)
			if (table[t * V + v] * table[t * V + v] > table[t * V + best] * table[t * V + best])
				best = v;
		expect[i] = t = best;
	}
	for (unsigned int n = 0; n < 3; n++) {
		int32_t first = 5;

		args[0] = n == 1 ? 0 : 30;
		args[1] = n == 2 ? (uint64_t)expect[1] : UINT64_MAX;
		memset(ring, 0xff, sizeof(ring));
		assert_ok(s->dev, npu_buffer_upload(io, 64, ring, sizeof(ring)));
		assert_ok(s->dev, npu_buffer_upload(io, 0, &first, 4));
		assert_ok(s->dev, npu_program_run(p, s->queue, args, 2, LIB_HANG_NS));
		assert_ok(s->dev, npu_buffer_download(io, 64, ring, sizeof(ring)));
		for (int i = 0; i < RING; i++) {
			int stop = n == 0 ? 30 : n == 1 ? 0 : expect[0] == expect[1] ? 1 : 2;

			assert_int_equal(ring[i], i < stop ? expect[i] : -1);
		}
		assert_ok(s->dev, npu_queue_status(s->queue, &st, sizeof(st)));
	}
	npu_program_unref(p);
	npu_buffer_unref(io);
	npu_buffer_unref(tb);
}

/* A skipped part must not run, and what follows must not rely on it. */
static void test_skip(void **state)
{
	struct lib_state *s = *state;
	struct npu_graph *g = graph_new(s);
	int flag = npu_graph_arg(g, "flag", 1);
	struct npu_gtensor *x = npu_graph_input(g, "x", NPU_TYPE_F32, npu_shape4(64, 1, 1, 1));
	struct npu_gtensor *y = npu_graph_convert(g, x, NPU_TYPE_F32), *inner;
	struct npu_program *p;
	struct npu_io in, out;

	npu_graph_skip_begin(g, flag, NPU_COND_EQ, 0);
	inner = npu_graph_unary(g, NPU_UNARY_SCALE, y, 10, 0, NPU_TYPE_F32);
	npu_graph_copy(g, y, inner);
	npu_graph_skip_end(g);
	y = npu_graph_unary(g, NPU_UNARY_SCALE, y, 1, 1, NPU_TYPE_F32);
	npu_graph_output(g, "y", y);
	p = compile(s, g);
	in = io_of(s, p, "x");
	out = io_of(s, p, "y");
	for (unsigned int i = 0; i < 64; i++)
		((float *)in.data)[i] = (float)i;
	for (uint64_t f = 0; f < 2; f++) {
		assert_ok(s->dev, npu_program_run(p, s->queue, &f, 1, LIB_HANG_NS));
		for (unsigned int i = 0; i < 64; i++)
			assert_true(((float *)out.data)[i] == (float)i * (f ? 10.0f : 1.0f) + 1);
	}
	npu_program_unref(p);
	/* What was made inside is out of reach after it. */
	assert_null(npu_graph_unary(g, NPU_UNARY_NEG, inner, 0, 0, NPU_TYPE_F32));
	assert_non_null(strstr(npu_graph_error(g), "has ended"));
	npu_graph_destroy(g);
}

/* ---- Cutting above the bounds --------------------------------------------------------------------- */

/* Rows and columns are cut until commands are within the bounds; the bits do not change. */
static void test_cut(void **state)
{
	struct lib_state *s = *state;
	uint32_t m = 160, k = 1024, n = 2048;	/* 335 M multiply-accumulates: above "small" */
	float *w = malloc(4ull * n * k);
	struct npu_buffer *wb = random_buffer(s, w, n * k, 31);
	struct npu_graph *g = graph_new(s);
	int rows = npu_graph_arg(g, "rows", m);
	struct npu_gtensor *x = npu_graph_input(g, "x", NPU_TYPE_F32, npu_shape_rows(k, rows, m)), *y;
	struct npu_program_info info;
	struct npu_program *p;
	struct npu_io in, out;
	uint64_t arg;
	uint32_t seed = 17;

	y = npu_graph_matmul(g, x, weight(g, "w", wb, k, n), NULL, NPU_TYPE_F32);
	npu_graph_output(g, "y", y);
	p = compile(s, g);
	npu_graph_destroy(g);
	npu_program_info(p, &info, sizeof(info));
	if (info.macs > s->info.max_macs)
		assert_true(info.commands > 1 && info.splits == 1);
	in = io_of(s, p, "x");
	out = io_of(s, p, "y");
	for (unsigned int i = 0; i < m * k; i++)
		((float *)in.data)[i] = lib_random(&seed);
	for (arg = 1; arg <= m; arg += 99) {
		float *y_host = out.data;

		memset(out.data, 0, out.bytes);
		assert_ok(s->dev, npu_program_run(p, s->queue, &arg, 1, LIB_HANG_NS));
		for (uint32_t i = 0; i < m; i += 13)
			for (uint32_t j = 0; j < n; j += 37) {
				float want = i < arg ? dot((float *)in.data + i * k, w + (size_t)j * k, k) : 0;

				assert_memory_equal(&y_host[(size_t)i * n + j], &want, 4);
			}
	}
	npu_program_unref(p);
	npu_buffer_unref(wb);
	free(w);
}

/* ---- Planning -------------------------------------------------------------------------------------- */

static int64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);	/* not disturbed by other load */
	return ts.tv_sec * 1000000000ll + ts.tv_nsec;
}

/* Many operations: memory near the lower bound, time linear. The target is 50 ms; sanitizers and emulators get ten times that. */
static void test_many(void **state)
{
	struct lib_state *s = *state;
	struct npu_program_info info;
	struct npu_program *p;
	struct npu_graph *g;
	struct npu_gtensor *x, *y;
	int64_t t0 = cpu_ns(), t1;

	g = graph_new(s);
	x = npu_graph_input(g, "x", NPU_TYPE_F32, npu_shape4(64, 16, 1, 1));
	x = npu_graph_convert(g, x, NPU_TYPE_F32);
	for (unsigned int i = 0; i < 3333; i++) {
		y = npu_graph_unary(g, NPU_UNARY_TANH, x, 0, 0, NPU_TYPE_F32);
		y = npu_graph_reshape(g, y, npu_shape4(32, 32, 1, 1));
		y = npu_graph_rms_norm(g, y, NULL, 1e-5f, NPU_TYPE_F32);
		y = npu_graph_reshape(g, y, npu_shape4(64, 16, 1, 1));
		x = npu_graph_binary(g, NPU_BINARY_ADD, x, y, NPU_TYPE_F32);
	}
	npu_graph_output(g, "y", x);
	p = compile(s, g);
	t1 = cpu_ns();
	npu_program_info(p, &info, sizeof(info));
	print_message("# %u operations in %.1f ms, arena %llu bytes, lower bound %llu\n", info.operations,
		      (double)(t1 - t0) * 1e-6, (unsigned long long)info.arena_bytes,
		      (unsigned long long)info.arena_lower_bound);
	assert_int_equal(info.operations, 10000);
	assert_true(info.arena_bytes * 10 <= info.arena_lower_bound * 11);
	assert_ok(s->dev, npu_program_run(p, s->queue, NULL, 0, LIB_HANG_NS));
	npu_program_unref(p);
	npu_graph_destroy(g);
}

/* ---- Errors --------------------------------------------------------------------------------------------- */

static void expect_error(struct npu_graph *g, int err, const char *part)
{
	assert_int_equal(npu_graph_status(g), err);
	if (!strstr(npu_graph_error(g), part))
		fail_msg("\"%s\" does not contain \"%s\"", npu_graph_error(g), part);
	npu_graph_destroy(g);
}

static void test_errors(void **state)
{
	struct lib_state *s = *state;
	static float w[64 * 64];
	struct npu_buffer *wb = random_buffer(s, w, 64 * 64, 1);
	struct npu_attention att = { .pos = npu_const(0), .scale = 1, .type = NPU_TYPE_F32 };
	struct npu_shape heads = npu_shape4(64, 1, 2, 1), groups = npu_shape4(64, 4, 1, 1);
	struct npu_gtensor *x, *y;
	struct npu_program *p;
	struct npu_graph *g;
	int rows;

	g = graph_new(s);
	npu_graph_scope(g, "blk.3");
	x = npu_graph_input(g, "x", NPU_TYPE_F32, npu_shape4(60, 4, 1, 1));
	y = npu_graph_matmul(g, x, weight(g, "ffn_down", wb, 64, 64), NULL, NPU_TYPE_F32);
	assert_null(y);
	assert_null(npu_graph_unary(g, NPU_UNARY_ABS, y, 0, 0, NPU_TYPE_F32));	/* the first error stays */
	expect_error(g, -EINVAL, "blk.3/MATMUL ffn_down: w: dimension 0 is 64, but dimension 0 of x is 60");

	g = graph_new(s);
	rows = npu_graph_arg(g, "rows", 4);
	x = npu_graph_input(g, "x", NPU_TYPE_F32, npu_shape_rows(64, rows, 4));
	y = npu_graph_input(g, "y", NPU_TYPE_F32, npu_shape4(64, 4, 1, 1));
	assert_null(npu_graph_binary(g, NPU_BINARY_ADD, x, y, NPU_TYPE_F32));
	expect_error(g, -EINVAL, "run-time extent");

	/* One row is no broadcast where there is none, and no group of its own beside another. */
	g = graph_new(s);
	rows = npu_graph_arg(g, "rows", 1);
	x = npu_graph_input(g, "x", NPU_TYPE_F32, npu_shape_rows(64, rows, 1));
	y = npu_graph_input(g, "y", NPU_TYPE_F32, npu_shape4(64, 1, 1, 1));
	assert_null(npu_graph_glu(g, NPU_GLU_GEGLU, x, y, NPU_TYPE_F32));
	expect_error(g, -EINVAL, "GLU: b: the run-time extent of dimension 1 is not that of dst");
	g = graph_new(s);
	heads.dyn[1] = groups.dyn[2] = npu_graph_arg(g, "heads", 1);
	att.q = npu_graph_input(g, "q", NPU_TYPE_F32, heads);
	att.k = npu_graph_input(g, "k", NPU_TYPE_F32, groups);
	att.v = npu_graph_input(g, "v", NPU_TYPE_F32, npu_shape4(64, 4, 1, 1));
	assert_null(npu_graph_attention(g, &att));
	expect_error(g, -EINVAL, "ATTENTION: v: the run-time extent of dimension 2 is not that of k");

	g = graph_new(s);
	assert_null(npu_graph_copy(g, weight(g, "w", wb, 64, 64), weight(g, "w2", wb, 64, 64)));
	expect_error(g, -EINVAL, "w may not be written");

	g = graph_new(s);
	assert_null(weight(g, "w", wb, 64, 65));
	expect_error(g, -EINVAL, "reaches outside its buffer");

	g = graph_new(s);
	x = npu_graph_input(g, "x", NPU_TYPE_F32, npu_shape4(64, 1, 1, 1));
	y = npu_graph_convert(g, x, NPU_TYPE_F32);
	assert_non_null(npu_graph_matmul_add(g, y, x, weight(g, "w", wb, 64, 64), NULL));
	assert_null(npu_graph_unary(g, NPU_UNARY_ABS, y, 0, 0, NPU_TYPE_F32));
	expect_error(g, -EINVAL, "overwritten");

	g = graph_new(s);
	npu_graph_loop_begin(g, npu_const(3));
	assert_int_equal(npu_graph_compile(g, s->vm, NULL, &p), -EINVAL);
	expect_error(g, 0, "no end");

	g = graph_new(s);
	assert_int_equal(npu_graph_loop_end(g), -EINVAL);
	expect_error(g, -EINVAL, "without its begin");

	g = graph_new(s);
	x = npu_graph_input(g, "x", NPU_TYPE_F32, npu_shape4(64, 4, 1, 1));
	assert_null(npu_graph_reshape(g, x, npu_shape4(64, 5, 1, 1)));
	expect_error(g, -EINVAL, "another number of elements");

	g = graph_new(s);
	x = npu_graph_input(g, "x", NPU_TYPE_F32, npu_shape4(64, 4, 1, 1));
	assert_null(npu_graph_view(g, x, npu_shape4(64, 4, 1, 1), NULL, npu_const(4)));
	expect_error(g, -EINVAL, "reaches to byte");

	g = graph_new(s);
	x = npu_graph_input(g, "x", NPU_TYPE_F32, npu_shape4(UINT32_MAX, 2, 1, 1));
	x = npu_graph_softmax(g, x, NULL, 1);
	assert_null(x);
	expect_error(g, -ENOSPC, "even one row");

	g = graph_new(s);
	assert_null(npu_graph_matmul(g, NULL, weight(g, "w", wb, 64, 64), NULL, NPU_TYPE_F32));
	expect_error(g, -EINVAL, "x is missing");
	npu_buffer_unref(wb);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, lib_setup, lib_teardown)
	const struct CMUnitTest tests[] = {
		T(test_rows), T(test_row_operations), T(test_block), T(test_cache), T(test_loop), T(test_skip), T(test_cut), T(test_many),
		T(test_errors),
	};

	return cmocka_run_group_tests_name("lib_graph", tests, NULL, NULL);
}
