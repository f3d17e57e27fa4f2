// SPDX-License-Identifier: MIT
/*
 * Speed of the model's matmul and attention kernels, each as an absolute and as
 * a share of what the machine can do. The limit is measured before and after
 * every repetition (bandwidth drifts with neighbours), and the median of the
 * repetitions' shares is reported.
 */
#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attn.h"
#include "mathfn.h"
#include "matmul.h"
#include "ops.h"
#include "peaks.h"
#include "pool.h"
#include "tile.h"

#define STREAM_BYTES	(256u << 20)	/* weights in rotation, well above the caches */
#define MAX_REPS	31

struct bench {
	struct npu_pool *pool;
	enum npu_path path;
	unsigned int reps;
	bool json, quick, first;
	const char *only;	/* run benchmarks whose name contains this */
	uint8_t *weights;	/* STREAM_BYTES */
	float *x, *dst;
	uint8_t *scratch;
	size_t scratch_size;
};

enum limit { READ, INT8, FP32 };
static const char *const limit_names[] = { "read bandwidth", "int8 peak", "fp32 peak" };
static const char *const limit_units[] = { "GB/s", "GOP/s", "GFLOP/s" };

static double limit(struct bench *b, enum limit which)
{
	switch (which) {
	case READ:
		return peak_read(b->pool, b->weights, STREAM_BYTES / 2);
	case INT8:
		return peak_int8(b->pool, 0.004);
	default:
		return peak_fp32(b->pool, 0.004);
	}
}

static void die(const char *what)
{
	fprintf(stderr, "bench_ops: %s\n", what);
	exit(1);
}

static void *allocate(size_t n)
{
	void *p = aligned_alloc(1 << 21, (n + (1 << 21) - 1) & ~(size_t)((1 << 21) - 1));

	if (!p)
		die("out of memory");
	return p;
}

static void *scratch(struct bench *b, size_t n)
{
	if (n > b->scratch_size) {
		free(b->scratch);
		b->scratch = allocate(n);
		b->scratch_size = n;
	}
	return b->scratch;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v, unsigned int n)
{
	qsort(v, n, sizeof(*v), by_value);
	return v[n / 2];
}

static bool wanted(const struct bench *b, const char *name)
{
	return !b->only || strstr(name, b->only);
}

/* Run @fn, which does @units units of the limit's kind per call, and report. */
static void bench(struct bench *b, const char *name, enum limit which, double units, void (*fn)(struct bench *, void *),
		  void *arg)
{
	double rate[MAX_REPS], share[MAX_REPS], lim[MAX_REPS], before;
	unsigned int calls = 1;
	double t = now(), best;

	fn(b, arg);
	t = now() - t;
	while (t * calls < 0.02)
		calls *= 2;
	before = limit(b, which);
	for (unsigned int i = 0; i < b->reps; i++) {
		double after;

		t = now();
		for (unsigned int c = 0; c < calls; c++)
			fn(b, arg);
		rate[i] = units * calls / (now() - t);
		after = limit(b, which);
		lim[i] = (before + after) / 2;
		share[i] = rate[i] / lim[i];
		before = after;
	}
	best = rate[0];
	for (unsigned int i = 1; i < b->reps; i++)
		best = rate[i] > best ? rate[i] : best;
	if (b->json)
		printf("%s\n  {\"name\": \"%s\", \"rate\": %.3f, \"best\": %.3f, \"unit\": \"%s\", \"limit\": \"%s\", "
		       "\"limit_rate\": %.3f, \"share\": %.4f, \"us\": %.3f}",
		       b->first ? "" : ",", name, median(rate, b->reps) / 1e9, best / 1e9, limit_units[which],
		       limit_names[which], median(lim, b->reps) / 1e9, median(share, b->reps),
		       units / median(rate, b->reps) * 1e6);
	else
		printf("%-36s %9.1f %-8s %5.1f %% of %s %.1f  (%.1f us)\n", name, median(rate, b->reps) / 1e9,
		       limit_units[which], 100 * median(share, b->reps), limit_names[which],
		       median(lim, b->reps) / 1e9, units / median(rate, b->reps) * 1e6);
	b->first = false;
	fflush(stdout);
}

/* ---- Matmul ----------------------------------------------------------------------- */

struct mm_bench {
	struct npu_matmul mm;
	size_t bytes;		/* of one matrix */
	unsigned int copies, next;
};

static void run_matmul(struct bench *b, void *arg)
{
	struct mm_bench *m = arg;

	m->mm.w.p = b->weights + m->next * m->bytes;
	m->next = (m->next + 1) % m->copies;
	npu_matmul_run(&m->mm, b->pool, b->path, b->scratch);
}

static const struct {
	unsigned int type;
	const char *name;
	bool fp;
} types[] = {
	{ NPU_TYPE_Q8_0, "Q8_0", false }, { NPU_TYPE_Q4_0, "Q4_0", false }, { NPU_TYPE_Q4_K, "Q4_K", false },
	{ NPU_TYPE_Q6_K, "Q6_K", false }, { NPU_TYPE_F16, "F16", true },    { NPU_TYPE_BF16, "BF16", true },
	{ NPU_TYPE_F32, "F32", true },
};

static void matmul(struct bench *b, unsigned int t, unsigned int layout, uint32_t m, uint32_t n, uint32_t k)
{
	struct mm_bench mb = {
		.mm = { .dst = b->dst, .x = b->x, .dst_stride = n * 4ul, .x_stride = k * 4ul,
			.w_stride = npu_row_bytes(types[t].type, k), .dst_type = NPU_TYPE_F32, .x_type = NPU_TYPE_F32,
			.w_type = (uint8_t)types[t].type, .w_layout = (uint8_t)layout, .m = m, .n = n, .k = k },
		.bytes = npu_tile_bytes(types[t].type, n, k),
	};
	char name[64];

	snprintf(name, sizeof(name), "%s %s %s %ux%ux%u", m == 1 ? "gemv" : "gemm", types[t].name,
		 layout ? "tiles" : "rows", m, n, k);
	if (!wanted(b, name))
		return;
	mb.copies = (unsigned int)(STREAM_BYTES / mb.bytes);
	if (!mb.copies)
		die("a matrix exceeds the buffer");
	scratch(b, npu_matmul_scratch(&mb.mm, b->pool, b->path));
	if (m <= 4)
		bench(b, name, READ, (double)mb.bytes, run_matmul, &mb);
	else
		bench(b, name, types[t].fp ? FP32 : INT8, 2.0 * m * n * k, run_matmul, &mb);
}

static void all_matmul(struct bench *b)
{
	for (unsigned int t = 0; t < sizeof(types) / sizeof(types[0]); t++) {
		for (unsigned int layout = 2; layout--;) {
			matmul(b, t, layout, 1, 4096, 4096);
			if (b->quick)
				continue;
			matmul(b, t, layout, 1, 11008, 4096);
			matmul(b, t, layout, 1, 4096, 11008);
		}
	}
	for (unsigned int t = 0; t < sizeof(types) / sizeof(types[0]); t++) {
		matmul(b, t, NPU_LAYOUT_TILE16, 512, 4096, 4096);
		if (b->quick)
			continue;
		matmul(b, t, NPU_LAYOUT_ROWS, 512, 4096, 4096);
		matmul(b, t, NPU_LAYOUT_TILE16, 2, 4096, 4096);
		matmul(b, t, NPU_LAYOUT_TILE16, 4, 4096, 4096);
		matmul(b, t, NPU_LAYOUT_TILE16, 16, 4096, 4096);
		matmul(b, t, NPU_LAYOUT_TILE16, 64, 4096, 4096);
	}
}

/* ---- Attention -------------------------------------------------------------------- */

static void run_attn(struct bench *b, void *arg)
{
	npu_attn_run(arg, b->pool, b->path, b->scratch);
}

static void attention(struct bench *b, unsigned int type, uint32_t m, uint32_t heads, uint32_t groups, uint32_t d,
		      uint32_t kv)
{
	size_t head = npu_row_bytes(type, d), row = groups * head, pairs;
	struct npu_attn at = {
		.dst = b->dst, .q = b->x, .k.p = b->weights, .v.p = b->weights + STREAM_BYTES / 2,
		.dst_row = heads * d * 4ul, .dst_head = d * 4ul, .q_row = heads * d * 4ul, .q_head = d * 4ul,
		.k_pos = row, .k_group = head, .v_pos = row, .v_group = head, .dst_type = NPU_TYPE_F32,
		.q_type = NPU_TYPE_F32, .kv_type = (uint8_t)type, .causal = true, .m = m, .heads = heads,
		.groups = groups, .d = d, .dv = d, .kv = kv, .pos = kv - m, .scale = 0.125f,
	};
	char name[64];

	snprintf(name, sizeof(name), "attention %s m%u h%u/%u d%u kv%u", type == NPU_TYPE_F16 ? "F16" : "Q8_0", m,
		 heads, groups, d, kv);
	if (!wanted(b, name))
		return;
	scratch(b, npu_attn_scratch(&at, b->pool, b->path));
	pairs = (size_t)m * (2 * kv - m + 1) / 2;
	if (m == 1)
		bench(b, name, READ, 2.0 * (double)row * kv, run_attn, &at);
	else
		bench(b, name, FP32, 4.0 * (double)pairs * heads * d, run_attn, &at);
}

static void all_attention(struct bench *b)
{
	static const unsigned int cache[] = { NPU_TYPE_F16, NPU_TYPE_Q8_0 };

	for (unsigned int t = 0; t < 2; t++) {
		for (uint32_t kv = 128; kv <= 4096; kv *= b->quick ? 8 : 2) {
			attention(b, cache[t], 1, 32, 4, 64, kv);
			attention(b, cache[t], 1, 32, 8, 128, kv);
			if (kv >= 512 && kv <= 2048) {
				attention(b, cache[t], 512, 32, 4, 64, kv);
				attention(b, cache[t], 512, 32, 8, 128, kv);
			}
		}
	}
}

/* ---- Set-up ------------------------------------------------------------------------ */

/* Bytes that make sense as every type: small F16 and F32 numbers, any quant. */
static void fill(struct bench *b)
{
	uint32_t s = 1;

	for (size_t i = 0; i < STREAM_BYTES / 2; i++) {
		s = s * 1664525 + 1013904223;
		/* Both bytes of an F16 or of half an F32: sign and exponent of about 2^-9. */
		((uint16_t *)b->weights)[i] = (uint16_t)(0x1800 | (s >> 16 & 0x83ff));
	}
	for (size_t i = 0; i < (512u << 10) * 16; i++) {
		s = s * 1664525 + 1013904223;
		b->x[i] = (float)(int32_t)s * 0x1p-31f;
	}
}

static void usage(FILE *f)
{
	fprintf(f, "usage: bench_ops [--quick] [--json] [--threads N] [--path scalar|avx2|avx512] [--reps N] [--only TEXT]\n");
}

static enum npu_path parse_path(const char *s)
{
	static const char *const names[] = { "scalar", "avx2", "avx512", "neon" };

	for (unsigned int i = 0; i < 4; i++) {
		if (strcmp(s, names[i]))
			continue;
		if (!npu_path_supported((enum npu_path)i))
			die("this CPU lacks that path");
		return (enum npu_path)i;
	}
	die("unknown path: use scalar, avx2, avx512 or neon");
	return NPU_PATH_SCALAR;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "quick", no_argument, NULL, 'q' },	  { "json", no_argument, NULL, 'j' },
		{ "threads", required_argument, NULL, 't' }, { "path", required_argument, NULL, 'p' },
		{ "reps", required_argument, NULL, 'r' }, { "only", required_argument, NULL, 'o' },
		{ "help", no_argument, NULL, 'h' },	  { NULL, 0, NULL, 0 },
	};
	struct npu_pool_options pool = { 0 };
	struct bench b = { .path = npu_path_best(), .reps = 9, .first = true };
	int c;

	while ((c = getopt_long(argc, argv, "qjt:p:r:o:h", options, NULL)) != -1) {
		switch (c) {
		case 'q':
			b.quick = true;
			b.reps = 5;
			break;
		case 'j':
			b.json = true;
			break;
		case 't':
			pool.threads = (unsigned int)strtoul(optarg, NULL, 10);
			break;
		case 'p':
			b.path = parse_path(optarg);
			break;
		case 'r':
			b.reps = (unsigned int)strtoul(optarg, NULL, 10);
			break;
		case 'o':
			b.only = optarg;
			break;
		case 'h':
			usage(stdout);
			return 0;
		default:
			usage(stderr);
			return 1;
		}
	}
	if (!b.reps || b.reps > MAX_REPS)
		die("--reps must be 1 to 31");
	if (npu_pool_create(&pool, &b.pool))
		die("no thread pool: --threads must be 1 to 64");
	b.weights = allocate(STREAM_BYTES);
	b.x = allocate(512ul * 16384 * 4);
	b.dst = allocate(512ul * 16384 * 4);
	fill(&b);
	if (b.json)
		printf("{\"threads\": %u, \"path\": %d, \"results\": [", npu_pool_threads(b.pool), (int)b.path);
	all_matmul(&b);
	all_attention(&b);
	if (b.json)
		printf("\n]}\n");
	npu_pool_destroy(b.pool);
	free(b.weights);
	free(b.x);
	free(b.dst);
	free(b.scratch);
	return 0;
}
