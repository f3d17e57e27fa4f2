// SPDX-License-Identifier: MIT
/*
 * Attention kernels: every fast path against the reference bit for bit, the
 * reference against double precision, masks, special values.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>

#include "attn.h"
#include "kernels_common.h"
#include "pool.h"
#include "quant.h"

struct fixture {
	struct npu_attn at;
	uint8_t *q, *k, *v;
	size_t dst_bytes;
};

static size_t row_bytes(unsigned int type, uint32_t n)
{
	return n / npu_type_block_len(type) * npu_type_block_bytes(type);
}

static void fill_rows(struct rng *r, unsigned int type, uint8_t *p, size_t stride, uint32_t n, size_t rows)
{
	float *x = malloc(n * sizeof(float));

	for (size_t i = 0; i < rows; i++) {
		if (type == NPU_TYPE_Q8_0) {
			fill_float(r, NPU_TYPE_F32, x, n, 1.5f);
			npu_quant_row_q8_0(x, n, p + i * stride);
		} else {
			fill_float(r, type, p + i * stride, n, 1.5f);
		}
	}
	free(x);
}

/* Cache layout [kv][groups][d], padded; queries and results [m][heads][d]. */
static void make(struct fixture *f, unsigned int kv_type, uint32_t m, uint32_t heads, uint32_t groups, uint32_t d,
		 uint32_t dv, uint32_t kv, uint32_t pos, uint64_t seed)
{
	struct rng r = { seed * 0x9e3779b97f4a7c15ull + 1 };
	struct npu_attn *at = &f->at;

	memset(f, 0, sizeof(*f));
	at->m = m;
	at->heads = heads;
	at->groups = groups;
	at->d = d;
	at->dv = dv;
	at->kv = kv;
	at->pos = pos;
	at->causal = true;
	at->scale = 1.0f / sqrtf((float)d);
	at->kv_type = (uint8_t)kv_type;
	at->q_type = at->dst_type = NPU_TYPE_F32;
	at->q_head = d * 4 + 4;
	at->q_row = heads * at->q_head;
	at->dst_head = dv * 4 + 8;
	at->dst_row = heads * at->dst_head;
	at->k_group = row_bytes(kv_type, d) + 4;
	at->k_pos = groups * at->k_group;
	at->v_group = row_bytes(kv_type, dv) + 4;
	at->v_pos = groups * at->v_group;
	f->q = alloc64(m * at->q_row);
	f->k = alloc64((kv + 1) * at->k_pos);
	f->v = alloc64((kv + 1) * at->v_pos);
	f->dst_bytes = m * at->dst_row;
	fill_rows(&r, NPU_TYPE_F32, f->q, at->q_head, d, (size_t)m * heads);
	fill_rows(&r, kv_type, f->k, at->k_group, d, (size_t)kv * groups);
	fill_rows(&r, kv_type, f->v, at->v_group, dv, (size_t)kv * groups);
	at->q = f->q;
	at->k.p = f->k;
	at->v.p = f->v;
}

static void unmake(struct fixture *f)
{
	free(f->q);
	free(f->k);
	free(f->v);
}

static uint8_t *run(const struct fixture *f, struct npu_pool *pool, enum npu_path path)
{
	struct npu_attn at = f->at;
	void *scratch = alloc64(npu_attn_scratch(&at, pool, path));
	uint8_t *dst = alloc64(f->dst_bytes);

	at.dst = dst;
	npu_attn_run(&at, pool, path, scratch);
	free(scratch);
	return dst;
}

static void compare_all(const struct fixture *f, struct npu_pool *pool)
{
	uint8_t *ref = run(f, NULL, NPU_PATH_SCALAR);

	for (size_t p = 0; p < FAST_PATHS; p++) {
		uint8_t *got;

		if (!npu_path_supported(fast_paths[p]))
			continue;
		got = run(f, pool, fast_paths[p]);
		if (memcmp(ref, got, f->dst_bytes)) {
			print_error("path %d type %u m %u heads %u/%u d %u dv %u kv %u pos %u window %u cap %g\n",
				    (int)fast_paths[p], f->at.kv_type, f->at.m, f->at.heads, f->at.groups, f->at.d,
				    f->at.dv, f->at.kv, f->at.pos, f->at.window, f->at.softcap);
			fail();
		}
		free(got);
	}
	free(ref);
}

static struct npu_pool *make_pool(unsigned int threads)
{
	struct npu_pool_options opt = { .threads = threads };
	struct npu_pool *pool;

	assert_int_equal(npu_pool_create(&opt, &pool), 0);
	return pool;
}

static const uint8_t kv_types[] = { NPU_TYPE_F32, NPU_TYPE_F16, NPU_TYPE_Q8_0 };

static void test_shapes(void **state)
{
	static const struct {
		uint32_t m, heads, groups, d, dv, kv, pos;
	} shapes[] = {
		{ 1, 1, 1, 32, 32, 1, 0 },
		{ 1, 8, 2, 64, 64, 200, 199 },
		{ 1, 9, 3, 64, 64, 65, 64 },
		{ 5, 4, 4, 32, 96, 70, 60 },
		{ 37, 6, 2, 64, 64, 37, 0 },
		{ 130, 4, 1, 64, 128, 150, 20 },
		{ 3, 4, 2, 128, 32, 129, 126 },
		{ 2, 16, 1, 256, 256, 64, 100 },
		{ 9, 2, 1, 32, 64, 4, 0 },	/* some rows past kv */
	};
	struct npu_pool *pool = make_pool(3);

	(void)state;
	for (size_t t = 0; t < sizeof(kv_types); t++) {
		for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
			for (unsigned int mode = 0; mode < 5; mode++) {
				struct fixture f;

				make(&f, kv_types[t], shapes[i].m, shapes[i].heads, shapes[i].groups, shapes[i].d,
				     shapes[i].dv, shapes[i].kv, shapes[i].pos, 10 * i + mode);
				f.at.causal = mode != 1;
				f.at.window = mode == 2 ? 33 : mode == 3 ? 100 : 0;
				f.at.softcap = mode >= 3 ? 5.0f : 0.0f;
				f.at.scale *= mode == 4 ? 40.0f : 1.0f;
				compare_all(&f, pool);
				unmake(&f);
			}
		}
	}
	npu_pool_destroy(pool);
}

/* Head sizes that are no whole vectors; only types without blocks can have them. */
static void test_odd_heads(void **state)
{
	static const uint32_t ds[] = { 1, 2, 7, 15, 17, 40, 80, 100 };

	(void)state;
	for (size_t i = 0; i < sizeof(ds) / sizeof(ds[0]); i++) {
		for (unsigned int t = 0; t < 2; t++) {
			struct fixture f;

			make(&f, kv_types[t], 6, 4, 2, ds[i], ds[7 - i], 90, 84, i);
			compare_all(&f, NULL);
			unmake(&f);
		}
	}
}

static void test_f16_queries(void **state)
{
	struct rng r = { 99 };
	struct fixture f;

	(void)state;
	make(&f, NPU_TYPE_F16, 7, 4, 2, 64, 64, 40, 33, 1);
	for (uint32_t i = 0; i < 28; i++)
		fill_float(&r, NPU_TYPE_F16, f.q + i * f.at.q_head, 64, 1.0f);
	f.at.q_type = f.at.dst_type = NPU_TYPE_F16;
	compare_all(&f, NULL);
	unmake(&f);
}

/* Scores that spread over hundreds of powers of two, in rising and falling order. */
static void test_large_scores(void **state)
{
	(void)state;
	for (int sign = -1; sign <= 1; sign += 2) {
		struct fixture f;

		make(&f, NPU_TYPE_F32, 3, 2, 1, 32, 32, 300, 297, 3);
		for (uint32_t j = 0; j < 300; j++)
			for (uint32_t d = 0; d < 32; d++)
				((float *)(f.k + j * f.at.k_pos))[d] *= 1.0f + 10.0f * (float)(sign > 0 ? j : 300 - j);
		compare_all(&f, NULL);
		f.at.scale = 1e30f;
		compare_all(&f, NULL);
		f.at.scale = NAN;
		compare_all(&f, NULL);
		unmake(&f);
	}
}

/* NaN and infinity in keys and values; those in masked positions must not be seen. */
static void test_special(void **state)
{
	static const uint32_t specials[] = { 0x7f800000, 0xff800000, 0x7fc00000, 0xff800001, 0x00000001, 0x7f7fffff };
	uint8_t *clean, *got;
	struct fixture f;

	(void)state;
	for (size_t i = 0; i < 6; i++) {
		for (unsigned int where = 0; where < 3; where++) {
			make(&f, NPU_TYPE_F32, 4, 2, 1, 32, 32, 150, 100, i);
			memcpy(where == 0 ? f.q + 20 : where == 1 ? f.k + 70 * f.at.k_pos + 8 : f.v + 70 * f.at.v_pos + 4,
			       &specials[i], 4);
			compare_all(&f, NULL);
			unmake(&f);
		}
	}

	make(&f, NPU_TYPE_F32, 4, 2, 1, 32, 32, 150, 100, 1);
	clean = run(&f, NULL, npu_path_best());
	memset(f.k + 104 * f.at.k_pos, 0xff, 46 * f.at.k_pos);	/* NaNs after the last row's position */
	memset(f.v + 104 * f.at.v_pos, 0xff, 46 * f.at.v_pos);
	got = run(&f, NULL, npu_path_best());
	assert_memory_equal(clean, got, f.dst_bytes);
	compare_all(&f, NULL);
	free(clean);
	free(got);
	unmake(&f);
}

static void test_nothing_visible(void **state)
{
	uint8_t *dst;
	struct fixture f;

	(void)state;
	make(&f, NPU_TYPE_F16, 2, 2, 1, 32, 32, 10, 50, 1);
	f.at.window = 5;
	compare_all(&f, NULL);
	dst = run(&f, NULL, npu_path_best());
	for (uint32_t i = 0; i < 4; i++)
		for (uint32_t d = 0; d < 32; d++)
			assert_int_equal(((uint32_t *)(dst + i * f.at.dst_head))[d], 0);
	free(dst);
	f.at.window = 0;
	f.at.kv = 0;
	compare_all(&f, NULL);
	unmake(&f);
}

/* Softmax in double precision, one query. */
static void expected(const struct fixture *f, uint32_t m, uint32_t h, double *out)
{
	const struct npu_attn *at = &f->at;
	uint32_t g = h / (at->heads / at->groups), p = at->pos + m;
	float *x = malloc((at->d + at->dv) * sizeof(float));
	const float *q = (const float *)(f->q + m * at->q_row + h * at->q_head);
	double *s = malloc(at->kv * sizeof(double)), max = -INFINITY, sum = 0;

	for (uint32_t d = 0; d < at->dv; d++)
		out[d] = 0;
	for (uint32_t j = 0; j < at->kv; j++) {
		s[j] = -INFINITY;
		if ((at->causal && j > p) || (at->window && (uint64_t)j + at->window <= p))
			continue;
		npu_dequant_row(at->kv_type, f->k + j * at->k_pos + g * at->k_group, at->d, x);
		s[j] = 0;
		for (uint32_t d = 0; d < at->d; d++)
			s[j] += (double)q[d] * x[d];
		s[j] *= at->scale;
		if (at->softcap != 0)
			s[j] = at->softcap * tanh(s[j] / at->softcap);
		max = s[j] > max ? s[j] : max;
	}
	for (uint32_t j = 0; j < at->kv; j++) {
		double w = exp(s[j] - max);

		if (s[j] == -INFINITY)
			continue;
		sum += w;
		npu_dequant_row(at->kv_type, f->v + j * at->v_pos + g * at->v_group, at->dv, x);
		for (uint32_t d = 0; d < at->dv; d++)
			out[d] += w * x[d];
	}
	for (uint32_t d = 0; d < at->dv; d++)
		out[d] /= sum;
	free(x);
	free(s);
}

static void test_against_double(void **state)
{
	(void)state;
	for (size_t t = 0; t < sizeof(kv_types); t++) {
		for (unsigned int mode = 0; mode < 3; mode++) {
			struct fixture f;
			double want[64], worst = 0;
			uint8_t *dst;

			make(&f, kv_types[t], 5, 4, 2, 64, 64, 1000, 990, t);
			f.at.window = mode == 1 ? 300 : 0;
			f.at.softcap = mode == 2 ? 2.0f : 0.0f;
			dst = run(&f, NULL, NPU_PATH_SCALAR);
			for (uint32_t i = 0; i < 20; i++) {
				expected(&f, i / 4, i % 4, want);
				for (uint32_t d = 0; d < 64; d++) {
					float got = ((float *)(dst + i / 4 * f.at.dst_row + i % 4 * f.at.dst_head))[d];

					worst = fmax(worst, fabs(got - want[d]));
				}
			}
			/* Values are below 1.5; weights carry the error of s, |s| < 20, as a factor. */
			assert_true(worst < 1.5 * 20 * 64 * 0x1p-24);
			assert_true(worst < 4e-6);
			free(dst);
			unmake(&f);
		}
	}
}

/* A row does not depend on the rows beside it, nor on keys behind it. */
static void test_independence(void **state)
{
	struct fixture f, g;
	uint8_t *all, *one;

	(void)state;
	make(&f, NPU_TYPE_F16, 40, 8, 2, 64, 64, 240, 200, 4);
	all = run(&f, NULL, npu_path_best());
	for (uint32_t i = 0; i < 40; i++) {
		g = f;
		g.at.m = 1;
		g.at.pos = 200 + i;
		g.at.kv = 201 + i;
		g.at.q = f.q + i * f.at.q_row;
		g.dst_bytes = f.at.dst_row;
		one = run(&g, NULL, npu_path_best());
		assert_memory_equal(one, all + i * f.at.dst_row, f.at.dst_row);
		free(one);
	}
	free(all);
	unmake(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shapes),
		cmocka_unit_test(test_odd_heads),
		cmocka_unit_test(test_f16_queries),
		cmocka_unit_test(test_large_scores),
		cmocka_unit_test(test_special),
		cmocka_unit_test(test_nothing_visible),
		cmocka_unit_test(test_against_double),
		cmocka_unit_test(test_independence),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
