// SPDX-License-Identifier: MIT
/*
 * Matrix multiplication kernels: every fast path against the reference bit for
 * bit over shapes, types and layouts; the reference against double precision;
 * special values; independence of a row from everything but itself.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>

#include "kernels_common.h"
#include "matmul.h"
#include "pool.h"
#include "quant.h"

static const uint8_t weight_types[] = {
	NPU_TYPE_F32, NPU_TYPE_F16, NPU_TYPE_BF16, NPU_TYPE_Q8_0, NPU_TYPE_Q4_0, NPU_TYPE_Q4_K, NPU_TYPE_Q6_K,
};

#define WEIGHT_TYPES (sizeof(weight_types) / sizeof(weight_types[0]))

/* One case: operands with padded strides, weights in both layouts. */
struct fixture {
	struct npu_matmul mm;
	uint8_t *rows, *tiles;
	void *x;
	float *bias;
	size_t dst_bytes;
};

static size_t elem_size(unsigned int type)
{
	return type == NPU_TYPE_F32 ? 4 : 2;
}

static void make(struct fixture *f, unsigned int type, uint32_t m, uint32_t n, uint32_t k, unsigned int x_type,
		 unsigned int dst_type, uint64_t seed)
{
	struct rng r = { seed * 0x9e3779b97f4a7c15ull + 1 };
	size_t row = npu_row_bytes(type, k), es = elem_size(x_type);
	struct npu_matmul *mm = &f->mm;

	memset(f, 0, sizeof(*f));
	mm->m = m;
	mm->n = n;
	mm->k = k;
	mm->w_type = (uint8_t)type;
	mm->x_type = (uint8_t)x_type;
	mm->dst_type = (uint8_t)dst_type;
	mm->w_stride = row + 8;
	mm->x_stride = k * es + 12;
	mm->dst_stride = n * elem_size(dst_type) + 20;
	f->rows = alloc64(n * mm->w_stride);
	f->tiles = alloc64(npu_tile_bytes(type, n, k));
	f->x = alloc64(m * mm->x_stride);
	f->bias = alloc64(n * 4);
	f->dst_bytes = m * mm->dst_stride;
	for (uint32_t i = 0; i < n; i++)
		fill_weights(&r, type, f->rows + i * mm->w_stride, k, 1);
	for (uint32_t i = 0; i < m; i++)
		fill_float(&r, x_type, (uint8_t *)f->x + i * mm->x_stride, k, 2.0f);
	fill_float(&r, NPU_TYPE_F32, f->bias, n, 1.0f);
	npu_rows_to_tiles(type, n, k, f->rows, mm->w_stride, f->tiles);
	mm->x = f->x;
}

static void unmake(struct fixture *f)
{
	free(f->rows);
	free(f->tiles);
	free(f->x);
	free(f->bias);
}

/* Retile after the weights in rows were changed. */
static void retile(struct fixture *f)
{
	npu_rows_to_tiles(f->mm.w_type, f->mm.n, f->mm.k, f->rows, f->mm.w_stride, f->tiles);
}

/* Run with @layout on @path into a fresh dst, which starts as 0.5 (or garbage where there is no element). */
static uint8_t *run(struct fixture *f, struct npu_pool *pool, enum npu_path path, unsigned int layout)
{
	struct npu_matmul mm = f->mm;
	uint8_t *dst = alloc64(f->dst_bytes);
	void *scratch;

	for (uint32_t m = 0; m < mm.m && mm.dst_type == NPU_TYPE_F32; m++)
		for (uint32_t n = 0; n < mm.n; n++)
			((float *)(dst + m * mm.dst_stride))[n] = 0.5f + (float)n;
	mm.dst = dst;
	mm.w_layout = (uint8_t)layout;
	mm.w.p = layout == NPU_LAYOUT_ROWS ? f->rows : f->tiles;
	scratch = alloc64(npu_matmul_scratch(&mm, pool, path));
	npu_matmul_run(&mm, pool, path, scratch);
	free(scratch);
	return dst;
}

static void expect_same(const struct fixture *f, const uint8_t *ref, const uint8_t *got, enum npu_path path,
			unsigned int layout)
{
	size_t i = 0;

	if (!memcmp(ref, got, f->dst_bytes))
		return;
	while (ref[i] == got[i])
		i++;
	print_error("type %u m %u n %u k %u path %d layout %u x %u dst %u: row %zu byte %zu\n", f->mm.w_type, f->mm.m,
		    f->mm.n, f->mm.k, (int)path, layout, f->mm.x_type, f->mm.dst_type, i / f->mm.dst_stride,
		    i % f->mm.dst_stride);
	fail();
}

/* All paths and layouts, with and without a pool, against the reference on rows. */
static void compare_all(struct fixture *f, struct npu_pool *pool)
{
	uint8_t *ref = run(f, NULL, NPU_PATH_SCALAR, NPU_LAYOUT_ROWS), *got;

	got = run(f, NULL, NPU_PATH_SCALAR, NPU_LAYOUT_TILE16);
	expect_same(f, ref, got, NPU_PATH_SCALAR, NPU_LAYOUT_TILE16);
	free(got);
	for (size_t p = 0; p < FAST_PATHS; p++) {
		if (!npu_path_supported(fast_paths[p]))
			continue;
		for (unsigned int layout = 0; layout < 2; layout++) {
			got = run(f, pool, fast_paths[p], layout);
			expect_same(f, ref, got, fast_paths[p], layout);
			free(got);
		}
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

static void test_shapes(void **state)
{
	static const uint32_t ms[] = { 1, 2, 3, 4, 5, 7, 13, 24, 61 };
	static const uint32_t ns[] = { 1, 15, 16, 17, 33, 50, 96 };
	struct npu_pool *pool = make_pool(3);

	(void)state;
	for (size_t t = 0; t < WEIGHT_TYPES; t++) {
		uint32_t len = npu_type_block_len(weight_types[t]);
		uint32_t ks[] = { len, 2 * len, 3 * len, len == 1 ? 131 : 7 * len };

		for (size_t i = 0; i < sizeof(ms) / sizeof(ms[0]); i++) {
			for (size_t j = 0; j < sizeof(ns) / sizeof(ns[0]); j++) {
				uint32_t k = ks[(i + j) % 4];
				struct fixture f;

				make(&f, weight_types[t], ms[i], ns[j], k, NPU_TYPE_F32, NPU_TYPE_F32, i * 100 + j);
				compare_all(&f, pool);
				unmake(&f);
			}
		}
	}
	npu_pool_destroy(pool);
}

static void test_large(void **state)
{
	struct npu_pool *pool = make_pool(2);

	(void)state;
	for (size_t t = 0; t < WEIGHT_TYPES; t++) {
		struct fixture f;

		/* More rows than a chunk, more k than a packed part. */
		make(&f, weight_types[t], 530, 40, 1280, NPU_TYPE_F32, NPU_TYPE_F32, 7 + t);
		compare_all(&f, pool);
		unmake(&f);
		make(&f, weight_types[t], 1, 700, 2048, NPU_TYPE_F32, NPU_TYPE_F32, 70 + t);
		compare_all(&f, pool);
		unmake(&f);
	}
	npu_pool_destroy(pool);
}

static void test_zero_k(void **state)
{
	(void)state;
	for (size_t t = 0; t < WEIGHT_TYPES; t++) {
		struct fixture f;

		for (uint32_t m = 1; m < 10; m += 4) {
			make(&f, weight_types[t], m, 20, 0, NPU_TYPE_F32, NPU_TYPE_F32, t);
			f.mm.bias = f.bias;
			compare_all(&f, NULL);
			unmake(&f);
		}
	}
}

static void test_types_of_x_and_dst(void **state)
{
	struct npu_pool *pool = make_pool(2);

	(void)state;
	for (size_t t = 0; t < WEIGHT_TYPES; t++) {
		for (uint32_t m = 1; m < 10; m += 7) {
			struct fixture f;

			make(&f, weight_types[t], m, 37, 512, NPU_TYPE_F16, NPU_TYPE_F16, t);
			compare_all(&f, pool);
			f.mm.bias = f.bias;
			compare_all(&f, pool);
			unmake(&f);
			make(&f, weight_types[t], m, 37, 512, NPU_TYPE_F16, NPU_TYPE_F32, t);
			f.mm.bias = f.bias;
			f.mm.accumulate = true;
			compare_all(&f, pool);
			unmake(&f);
		}
	}
	npu_pool_destroy(pool);
}

/* Infinities, NaNs, subnormals, zeros and huge values in x and in the weights' scales. */
static void test_special(void **state)
{
	static const uint32_t specials[] = {
		0x7f800000, 0xff800000, 0x7fc00000, 0xffc12345, 0x7f800001, 0x00000001, 0x80000001, 0x007fffff,
		0x7f7fffff, 0xff7fffff, 0x03800000, 0x037fffff, 0x80000000, 0x00000000,
	};
	static const uint16_t scales[] = { 0x7c00, 0xfc00, 0x7e00, 0xfe01, 0x7c01, 0x0001, 0x8001, 0x7bff, 0x0000, 0x8000 };
	size_t ns = sizeof(specials) / sizeof(specials[0]);

	(void)state;
	for (size_t t = 0; t < WEIGHT_TYPES; t++) {
		unsigned int type = weight_types[t];

		for (uint32_t m = 1; m <= ns; m += ns - 1) {
			struct fixture f;

			make(&f, type, m, 34, 768, NPU_TYPE_F32, NPU_TYPE_F32, 40 + t);
			for (uint32_t i = 0; i < m; i++)
				memcpy((uint8_t *)f.x + i * f.mm.x_stride + 4 * (13 * i % 768), &specials[i], 4);
			compare_all(&f, NULL);
			/* Scales: row r gets scales[r] in its second block. */
			for (size_t r = 0; r < 10 && npu_type_block_len(type) > 1; r++)
				put16(f.rows + r * f.mm.w_stride + npu_type_block_bytes(type) +
				      (type == NPU_TYPE_Q6_K ? 208 : 0), scales[r]);
			for (size_t r = 0; r < 10 && type == NPU_TYPE_F16; r++)
				put16(f.rows + r * f.mm.w_stride + 2 * r, scales[r]);
			retile(&f);
			compare_all(&f, NULL);
			unmake(&f);
		}
	}
}

/* A block with a NaN or an infinity makes every result of its row the canonical NaN. */
static void test_nonfinite_is_nan(void **state)
{
	(void)state;
	for (size_t t = 0; t < WEIGHT_TYPES; t++) {
		struct fixture f;
		uint8_t *dst;

		if (npu_type_block_len(weight_types[t]) == 1)
			continue;
		make(&f, weight_types[t], 2, 20, 512, NPU_TYPE_F32, NPU_TYPE_F32, t);
		((float *)f.x)[300] = INFINITY;
		dst = run(&f, NULL, npu_path_best(), NPU_LAYOUT_TILE16);
		for (uint32_t n = 0; n < 20; n++) {
			assert_int_equal(npu_f32_bits(((float *)dst)[n]), NPU_F32_NAN_BITS);
			assert_true(isfinite(((float *)(dst + f.mm.dst_stride))[n]));
		}
		free(dst);
		unmake(&f);
	}
}

/*
 * Against sums in double precision of the same operands: widened weights times
 * x for the float types, times d * q for the others (quantised here anew).
 */
static double expected(const struct fixture *f, const float *w, const float *x, double *magnitude)
{
	uint32_t len = npu_type_block_len(f->mm.w_type);
	double sum = 0;

	*magnitude = 0;
	for (uint32_t k0 = 0; k0 < f->mm.k; k0 += len) {
		double amax = 0, part = 0;

		for (uint32_t k = k0; k < k0 + len; k++)
			amax = fabs(x[k]) > amax ? fabs(x[k]) : amax;
		for (uint32_t k = k0; k < k0 + len; k++) {
			double xq = len == 1 ? x[k] : nearbyint(x[k] * (double)(127.0f / (float)amax)) * (amax / 127);

			part += w[k] * xq;
			*magnitude += fabs(w[k] * xq);
		}
		sum += part;
	}
	return sum;
}

static void test_against_double(void **state)
{
	(void)state;
	for (size_t t = 0; t < WEIGHT_TYPES; t++) {
		const uint32_t m = 3, n = 24, k = 1024;
		float *w = malloc(k * sizeof(float));
		struct fixture f;
		uint8_t *dst;

		make(&f, weight_types[t], m, n, k, NPU_TYPE_F32, NPU_TYPE_F32, 5 + t);
		dst = run(&f, NULL, NPU_PATH_SCALAR, NPU_LAYOUT_ROWS);
		for (uint32_t i = 0; i < m; i++) {
			for (uint32_t j = 0; j < n; j++) {
				double mag, want, got = ((float *)(dst + i * f.mm.dst_stride))[j];

				npu_dequant_row(f.mm.w_type, f.rows + j * f.mm.w_stride, k, w);
				want = expected(&f, w, (const float *)((uint8_t *)f.x + i * f.mm.x_stride), &mag);
				/* One rounding of half an ulp per k at worst, of partial sums below mag; q ties. */
				if (fabs(got - want) > mag * (k + 4) * 0x1p-24) {
					print_error("type %u: %g, expected %g\n", f.mm.w_type, got, want);
					fail();
				}
				/* And typically far better. */
				assert_true(fabs(got - want) <= mag * 0x1p-18);
			}
		}
		free(dst);
		free(w);
		unmake(&f);
	}
}

/* Row 0 of many equals the only row; columns computed apart equal columns computed together. */
static void test_independence(void **state)
{
	struct npu_pool *pool = make_pool(2);

	(void)state;
	for (size_t t = 0; t < WEIGHT_TYPES; t++) {
		struct fixture f;
		uint8_t *all, *one;

		make(&f, weight_types[t], 29, 70, 768, NPU_TYPE_F32, NPU_TYPE_F32, 11 + t);
		all = run(&f, pool, npu_path_best(), NPU_LAYOUT_TILE16);
		for (uint32_t i = 0; i < 29; i++) {
			struct fixture g = f;

			g.mm.m = 1;
			g.mm.n = 70 - i;
			g.mm.x = (uint8_t *)f.x + i * f.mm.x_stride;
			one = run(&g, NULL, npu_path_best(), i % 2);
			assert_memory_equal(one, all + i * f.mm.dst_stride, (70 - i) * 4);
			free(one);
		}
		free(all);
		unmake(&f);
	}
	npu_pool_destroy(pool);
}

/* The products of a pair, and which of them have come: each once. */
struct pair_done {
	float *products;
	uint32_t n, unit;
	atomic_uchar hits[1200];
	atomic_uint bad;
};

static void pair_done(void *arg, const struct npu_mm_pairs *p)
{
	struct pair_done *d = arg;

	if (!p->items || !p->rows || p->items * p->rows > NPU_MM_PAIR_ROWS || (d->unit > 16 && p->rows % d->unit))
		atomic_fetch_add(&d->bad, 1);
	for (uint32_t i = 0; i < p->items; i++) {
		uint32_t row = p->first[i];

		if (row % d->unit || row >= d->n)
			atomic_fetch_add(&d->bad, 1);
		for (uint32_t k = 0; k < p->rows && row + k < d->n; k++) {
			if (atomic_fetch_add(&d->hits[row + k], 1))
				atomic_fetch_add(&d->bad, 1);
			d->products[row + k] = p->a[i * p->rows + k];
			d->products[d->n + row + k] = p->b[i * p->rows + k];
		}
	}
}

/* Two matrices at once, the second being the first from row 16 on: @expect holds the products of one. */
static void run_pair(const struct fixture *f, struct npu_pool *pool, enum npu_path path, uint32_t unit,
		     const float *expect)
{
	uint32_t n = f->mm.n / 256 * 256 - 256;
	struct npu_pieces up = { .p = f->tiles + npu_tile_bytes(f->mm.w_type, 16, f->mm.k) };
	struct pair_done d = { .n = n, .unit = unit };
	float *dst = alloc64(2ul * n * sizeof(float)), *products = alloc64(2ul * n * sizeof(float));
	struct npu_matmul mm = f->mm;
	void *scratch;

	mm.dst = dst;
	mm.n = n;
	mm.dst_stride = 2ul * n * sizeof(float);
	mm.w_layout = NPU_LAYOUT_TILE16;
	mm.w.p = f->tiles;
	mm.w2 = &up;
	mm.done = pair_done;
	mm.arg = &d;
	mm.unit = unit;
	d.products = products;
	scratch = alloc64(npu_matmul_scratch(&mm, pool, path));
	npu_matmul_run(&mm, pool, path, scratch);
	assert_int_equal(d.bad, 0);
	for (uint32_t i = 0; i < n; i++)
		assert_int_equal(d.hits[i], 1);
	assert_memory_equal(products, expect, n * sizeof(float));
	assert_memory_equal(products + n, expect + 16, n * sizeof(float));
	free(scratch);
	free(products);
	free(dst);
}

/* One row over tiles, however many threads share it, and however late some of them come. */
static void test_one_row(void **state)
{
	static const uint32_t ns[] = { 1, 16, 31, 64, 65, 128, 190, 336, 1001 };
	static const uint8_t types[] = { NPU_TYPE_Q4_0, NPU_TYPE_Q6_K, NPU_TYPE_F32 };
	struct fixture f;
	uint8_t *ref;

	(void)state;
	for (size_t t = 0; t < 3; t++) {
		for (size_t i = 0; i < sizeof(ns) / sizeof(ns[0]); i++) {
			make(&f, types[t], 1, ns[i], 2048, NPU_TYPE_F32, NPU_TYPE_F32, 31 * i + t);
			ref = run(&f, NULL, NPU_PATH_SCALAR, NPU_LAYOUT_ROWS);
			for (unsigned int threads = 1; threads < 8; threads += 2) {
				struct npu_pool *pool = make_pool(threads);

				for (size_t p = 0; p < FAST_PATHS; p++) {
					uint8_t *got;

					if (!npu_path_supported(fast_paths[p]))
						continue;
					got = run(&f, pool, fast_paths[p], NPU_LAYOUT_TILE16);
					expect_same(&f, ref, got, fast_paths[p], NPU_LAYOUT_TILE16);
					free(got);
					if (ns[i] > 512 && npu_matmul_pairs(&f.mm, fast_paths[p]))
						for (uint32_t unit = 1; unit <= 256; unit *= 16)
							run_pair(&f, pool, fast_paths[p], unit, (const float *)ref);
				}
				npu_pool_destroy(pool);
			}
			free(ref);
			unmake(&f);
		}
	}
}

static void test_tiles_round_trip(void **state)
{
	(void)state;
	for (size_t t = 0; t < WEIGHT_TYPES; t++) {
		unsigned int type = weight_types[t];
		struct fixture f;
		size_t row = npu_row_bytes(type, 512);
		uint8_t *back;
		float *a = malloc(512 * 4), *b = malloc(512 * 4);

		make(&f, type, 1, 37, 512, NPU_TYPE_F32, NPU_TYPE_F32, t);
		assert_int_equal(npu_tile_bytes(type, 37, 512), 48 * row);
		back = alloc64(37 * f.mm.w_stride);
		npu_tiles_to_rows(type, 37, 512, f.tiles, back, f.mm.w_stride);
		for (uint32_t i = 0; i < 37; i++) {
			assert_memory_equal(back + i * f.mm.w_stride, f.rows + i * f.mm.w_stride, row);
			npu_dequant_row(type, f.rows + i * f.mm.w_stride, 512, a);
			npu_dequant_tile_row(type, f.tiles + i / 16 * 16 * row, i % 16, 512, b);
			assert_memory_equal(a, b, 512 * 4);
		}
		/* Rows past the end are zero bytes. */
		npu_tiles_to_rows(type, 16, 512, f.tiles + 2 * 16 * row, back, f.mm.w_stride);
		for (uint32_t i = 5; i < 16; i++)
			for (size_t j = 0; j < row; j++)
				assert_int_equal(back[i * f.mm.w_stride + j], 0);
		free(a);
		free(b);
		free(back);
		unmake(&f);
	}
}

/* Widening agrees with the block formats of GGUF, built here by hand. */
static void test_dequant(void **state)
{
	uint8_t b[NPU_BLOCK_MAX] = { 0 };
	float y[256];

	(void)state;
	put16(b, npu_f32_to_f16(0.5f));
	b[2] = 0x80;			/* -128 */
	b[33] = 7;
	npu_dequant_row(NPU_TYPE_Q8_0, b, 32, y);
	assert_true(y[0] == -64.0f && y[1] == 0.0f && y[31] == 3.5f);

	memset(b + 2, 0x88, 16);
	b[2 + 3] = 0xf1;		/* element 3: 1 - 8, element 19: 15 - 8 */
	npu_dequant_row(NPU_TYPE_Q4_0, b, 32, y);
	assert_true(y[0] == 0.0f && y[3] == -3.5f && y[19] == 3.5f);

	memset(b, 0, sizeof(b));
	put16(b, npu_f32_to_f16(0.25f));
	put16(b + 2, npu_f32_to_f16(2.0f));
	b[4 + 1] = 0xc0 | 5;		/* sc[1] = 5, high bits of sc[5] = 3 */
	b[4 + 5] = 0x80 | 9;		/* m[1] = 9, high bits of m[5] = 2 */
	b[4 + 9] = 0x31;		/* sc[5] = 1 + 48, m[5] = 3 + 32 */
	b[16 + 32 * 0 + 4] = 0xa0;	/* element 32 + 4 = 10 */
	b[16 + 32 * 2 + 6] = 0x70;	/* element 128 + 32 + 6 = 7 */
	npu_dequant_row(NPU_TYPE_Q4_K, b, 256, y);
	assert_true(y[36] == 0.25f * 5 * 10 - 2 * 9 && y[37] == -18.0f && y[0] == 0.0f);
	assert_true(y[166] == 0.25f * 49 * 7 - 2 * 35 && y[160] == -70.0f);

	memset(b, 0, sizeof(b));
	put16(b + 208, npu_f32_to_f16(0.5f));
	for (int i = 0; i < 16; i++)
		b[192 + i] = (uint8_t)(i - 8);
	b[64 + 32 + 17] = 0xb0;		/* second half, quarter 3, l 17: low bits 11 */
	b[128 + 32 + 17] = 2 << 6;	/* high bits 2: 11 + 32 - 32 */
	npu_dequant_row(NPU_TYPE_Q6_K, b, 256, y);
	assert_true(y[128 + 96 + 17] == 0.5f * 7 * 11 && y[0] == 0.5f * -8 * -32 && y[255] == 0.5f * 7 * -32);
}

static void test_quantise(void **state)
{
	float x[32] = { 0 };
	uint8_t row[34];
	int8_t q[32];

	(void)state;
	assert_true(npu_f32_bits(npu_quant_block(x, 32, q)) == 0);
	x[3] = -254.0f;
	x[4] = 1.0f;			/* 0.5 of a step: to even */
	x[5] = 3.0f;			/* 1.5 */
	assert_true(npu_quant_block(x, 32, q) == 2.0f && q[3] == -127 && q[4] == 0 && q[5] == 2 && q[0] == 0);
	npu_quant_row_q8_0(x, 32, row);
	assert_true(row[0] == 0 && row[1] == 0x40 && (int8_t)row[2 + 3] == -127 && row[2 + 5] == 2);
	x[3] = 0x1.fffffep-121f;
	x[4] = x[5] = 0;
	assert_true(npu_quant_block(x, 32, q) == 0.0f && q[3] == 0);
	x[31] = NAN;
	assert_true(isnan(npu_quant_block(x, 32, q)) && q[3] == 0);
	npu_quant_row_q8_0(x, 32, row);
	assert_true(row[0] == 0 && row[1] == 0x7e && row[2 + 3] == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shapes),
		cmocka_unit_test(test_large),
		cmocka_unit_test(test_zero_k),
		cmocka_unit_test(test_types_of_x_and_dst),
		cmocka_unit_test(test_special),
		cmocka_unit_test(test_nonfinite_is_nan),
		cmocka_unit_test(test_against_double),
		cmocka_unit_test(test_independence),
		cmocka_unit_test(test_one_row),
		cmocka_unit_test(test_tiles_round_trip),
		cmocka_unit_test(test_dequant),
		cmocka_unit_test(test_quantise),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
