// SPDX-License-Identifier: MIT
/*
 * Operands in scattered pages: contiguous, mapped side by side, and collected piece
 * by piece where there are no mappings left; the bits must be the same on every path,
 * and unmaps and faults exact.
 */
#include "core/core.h"	/* for the limit of mappings alone */
#include "kernels_common.h"
#include "model_common.h"

#define VA_DIRECT	0x30000000ull
#define VA_SCATTERED	0x38000000ull
#define PAGES		1200u
#define SKEW		(PAGE / 2 + 36)	/* no tile, row or block is aligned to a page */
#define OUT		(512u << 10)	/* of VA_DATA: results; above: small operands */

struct place {
	struct bench *b;
	uint64_t direct, scattered;	/* pages, bus addresses */
	uint8_t out[3][OUT];
};

/* Page @i of the scattered ones: every other page of memory, backwards. */
static uint64_t page_at(const struct place *p, unsigned int i)
{
	return p->scattered + 2 * (PAGES - 1 - i) * PAGE;
}

static struct place *setup(enum npu_model_isa isa)
{
	struct npu_model_options o = { .size = sizeof(o), .synchronous = true, .isa = isa, .check_hazards = true };
	struct place *p = calloc(1, sizeof(*p));

	assert_non_null(p);
	o.threads = 2;
	p->b = bench_new(&o);
	bench_queue(p->b, 0, 0, NPU_QC_MODE_KERNEL);
	p->direct = bench_pages(p->b, PAGES);
	p->scattered = bench_pages(p->b, 2 * PAGES);
	bench_map(p->b, 0, VA_DIRECT, p->direct, PAGES * PAGE, 0);
	for (unsigned int i = 0; i < PAGES; i++)
		bench_map(p->b, 0, VA_SCATTERED + i * PAGE, page_at(p, i), PAGE, 0);
	return p;
}

static void teardown(struct place *p)
{
	bench_free(p->b);
	free(p);
}

/* The same bytes at both addresses, @skew bytes on. */
static void fill_from(struct place *p, uint64_t skew, const void *bytes, uint64_t size)
{
	uint8_t *at = bus(p->b, p->direct);

	assert_true(skew + size <= PAGES * PAGE);
	memset(at, 0xee, skew);
	memcpy(at + skew, bytes, size);
	for (unsigned int i = 0; i * PAGE < skew + size; i++)
		memcpy(bus(p->b, page_at(p, i)), at + i * PAGE, PAGE);
}

static void fill(struct place *p, const void *bytes, uint64_t size)
{
	fill_from(p, SKEW, bytes, size);
}

static void allow_views(struct place *p, bool allow)
{
	p->b->m->view_limit = allow ? 40000 : 0;
	as_cmd(p->b, 0, NPU_AS_CMD_FLUSH_ALL);
}

static bool submit(struct place *p, const void *packet, size_t size)
{
	struct stream s = { .size = 0 };

	s_put(&s, packet, size, NULL, 0);
	s_end(&s);
	return q_wait(p->b, 0, q_submit(p->b, 0, &s));
}

static struct npu_tensor tensor(unsigned int type, uint64_t addr, uint32_t n0, uint32_t n1, uint32_t n2)
{
	struct npu_tensor t = { .addr = addr, .ne = { n0, n1, n2, 1 }, .type = (uint8_t)type };

	t.nb[0] = npu_type_block_bytes(type);
	t.nb[1] = t.nb[0] * (n0 / npu_type_block_len(type));
	t.nb[2] = t.nb[1] * n1;
	t.nb[3] = t.nb[2] * n2;
	return t;
}

static uint64_t bytes_of(const struct npu_tensor *t)
{
	return t->layout ? npu_tile_bytes(t->type, t->ne[1], t->ne[0]) : t->nb[3];
}

/* Ends in out[0]. @move lists addresses in the packet that lie at VA_DIRECT. */
static void same_everywhere(struct place *p, void *packet, size_t size, uint64_t *const *move, unsigned int n,
			    const char *what)
{
	for (unsigned int how = 0; how < 3; how++) {
		uint64_t gathers = npu_model_stat(p->b->m, NPU_MODEL_STAT_GATHERS);

		for (unsigned int i = 0; i < n && how == 1; i++)
			*move[i] += VA_SCATTERED - VA_DIRECT;
		allow_views(p, how < 2);
		memset(bus(p->b, p->b->data_bus), 0, OUT);
		if (!submit(p, packet, size))
			fail_msg("%s: fault 0x%x", what, rd(p->b, NPU_QC(0) + NPU_QC_FAULT));
		memcpy(p->out[how], bus(p->b, p->b->data_bus), OUT);
		gathers = npu_model_stat(p->b->m, NPU_MODEL_STAT_GATHERS) - gathers;
		assert_int_equal(gathers, how == 2 ? n : 0);
		assert_int_equal(!!npu_model_stat(p->b->m, NPU_MODEL_STAT_VIEW_MAPS), how == 1);
		if (memcmp(p->out[how], p->out[0], OUT))
			fail_msg("%s: %s differs", what, how == 1 ? "viewed" : "gathered");
	}
	for (unsigned int i = 0; i < n; i++)
		*move[i] -= VA_SCATTERED - VA_DIRECT;
}

static uint64_t small(struct place *p, unsigned int type, uint32_t n, uint64_t at, uint64_t seed)
{
	struct rng r = { seed };

	fill_float(&r, type, (uint8_t *)bus(p->b, p->b->data_bus) + OUT + at, n, 1.0f);
	return VA_DATA + OUT + at;
}

static const uint8_t weight_types[] = {
	NPU_TYPE_F32, NPU_TYPE_F16, NPU_TYPE_BF16, NPU_TYPE_Q8_0, NPU_TYPE_Q4_0, NPU_TYPE_Q4_K, NPU_TYPE_Q6_K,
};

struct shape {
	uint32_t n, k, m;
	uint64_t skew;
};

static void matmul(struct place *p, unsigned int type, unsigned int layout, const struct shape *s)
{
	enum { N = 200, K = 1280 };	/* at most */
	struct npu_cmd_matmul c = { .cmd = cmd(NPU_OP_MATMUL) };
	static uint8_t rows[N * K * 4], tiles[(N + 15) * K * 4];
	struct rng r = { 77 + type };
	char what[100];

	snprintf(what, sizeof(what), "MATMUL type %u layout %u n %u k %u m %u skew %u", type, layout, s->n, s->k, s->m,
		 (unsigned int)s->skew);
	c.dst = tensor(NPU_TYPE_F32, VA_DATA, s->n, s->m, 1);
	c.x = tensor(NPU_TYPE_F32, small(p, NPU_TYPE_F32, s->k * s->m, 0, 5), s->k, s->m, 1);
	c.w = tensor(type, VA_DIRECT + s->skew, s->k, s->n, 1);
	c.w.layout = (uint8_t)layout;
	fill_weights(&r, type, rows, s->k, s->n);
	npu_rows_to_tiles(type, s->n, s->k, rows, c.w.nb[1], tiles);
	fill_from(p, s->skew, layout ? tiles : rows, bytes_of(&c.w));
	same_everywhere(p, &c, sizeof(c), (uint64_t *[]){ &c.w.addr }, 1, what);
}

static void matmuls(struct place *p, const struct shape *s)
{
	for (size_t t = 0; t < sizeof(weight_types); t++)
		for (unsigned int layout = 0; layout < 2; layout++)
			matmul(p, weight_types[t], layout, s);
}

static void test_matmul(struct place *p)
{
	for (uint32_t m = 1; m <= 64; m += m < 2 ? 1 : 62)
		matmuls(p, &(struct shape){ 100, 1280, m, SKEW });
}

/*
 * One row of x: wide kernels, and single panels where a run of tiles is odd or has gone; one block of k; the first page
 * whole, or all but its last bytes skipped; block columns of which a part ends a page, aligned to vectors or not; the
 * end of a table of 512 pages.
 */
static void test_matmul_edges(struct place *p)
{
	static const struct shape shapes[] = {
		{ 16, 256, 1, SKEW }, { 17, 256, 1, PAGE - 4 }, { 1, 512, 1, PAGE - 32 }, { 64, 256, 1, 0 },
		{ 64, 1280, 1, 0 }, { 64, 1280, 1, 32 }, { 112, 768, 1, 60 }, { 129, 1024, 1, PAGE - 64 },
		{ 200, 1280, 1, 509 * PAGE + 36 }, { 64, 1280, 1, 511 * PAGE + 32 }, { 64, 1280, 3, 511 * PAGE + 4 },
	};

	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
		matmuls(p, &shapes[i]);
}

/* Gate and up one after the other: joined where they are contiguous; side by side for one row. */
static void test_matmul_glu(struct place *p)
{
	enum { N = 96, K = 512, M = 3 };
	struct npu_cmd_matmul_glu c = { .cmd = cmd(NPU_OP_MATMUL_GLU), .kind = NPU_GLU_SWIGLU };
	static uint8_t w[2 * N * K];
	struct rng r = { 9 };

	c.gate = tensor(NPU_TYPE_Q4_0, VA_DIRECT + SKEW, K, N, 1);
	c.up = c.gate;
	c.up.addr += c.gate.nb[2];
	fill_weights(&r, NPU_TYPE_Q4_0, w, K, 2 * N);
	for (unsigned int layout = 0; layout < 2; layout++) {
		c.gate.layout = c.up.layout = (uint8_t)layout;
		fill(p, w, 2 * bytes_of(&c.gate));
		for (uint32_t m = 1; m <= M; m += M - 1) {
			c.dst = tensor(NPU_TYPE_F32, VA_DATA, N, m, 1);
			c.x = tensor(NPU_TYPE_F32, small(p, NPU_TYPE_F32, K * m, 0, 6), K, m, 1);
			same_everywhere(p, &c, sizeof(c), (uint64_t *[]){ &c.gate.addr, &c.up.addr }, 2, "MATMUL_GLU");
		}
	}
}

static void test_attention(struct place *p)
{
	enum { D = 96, KV = 210, G = 2, H = 6, M = 5 };
	static const uint8_t types[] = { NPU_TYPE_F32, NPU_TYPE_F16, NPU_TYPE_Q8_0 };
	static uint8_t kv[2 * D * KV * G * 4];

	for (size_t t = 0; t < sizeof(types); t++) {
		struct npu_cmd_attention c = { .cmd = cmd(NPU_OP_ATTENTION), .flags = NPU_ATTN_CAUSAL, .scale = 0.1f };
		struct rng r = { 3 + t };

		c.dst = tensor(NPU_TYPE_F32, VA_DATA, D, H, M);
		c.q = tensor(NPU_TYPE_F32, small(p, NPU_TYPE_F32, D * H * M, 0, 8), D, H, M);
		c.k = tensor(types[t], VA_DIRECT + SKEW, D, KV, G);
		c.v = c.k;
		c.v.addr += c.k.nb[3];
		c.pos = KV - M;
		fill_weights(&r, types[t], kv, D, 2 * KV * G);
		fill(p, kv, 2 * c.k.nb[3]);
		for (c.window = 0; c.window <= 70; c.window += 70)
			same_everywhere(p, &c, sizeof(c), (uint64_t *[]){ &c.k.addr, &c.v.addr }, 2, "ATTENTION");
	}
}

/* One result per element, from scattered pages and (copied back to look at it) into them. */
static void test_elements(struct place *p)
{
	enum { N = 20000 };
	static const uint8_t to[] = { NPU_TYPE_F32, NPU_TYPE_F16, NPU_TYPE_Q8_0 };
	static float x[2 * N];
	struct rng r = { 4 };

	fill_float(&r, NPU_TYPE_F32, x, 2 * N, 3.0f);
	for (size_t t = 0; t < sizeof(to); t++) {
		struct npu_cmd_map c = { .cmd = cmd(NPU_OP_COPY) };
		struct npu_cmd_map back = { .cmd = cmd(NPU_OP_COPY) };

		fill(p, x, sizeof(x));
		c.src = tensor(NPU_TYPE_F32, VA_DIRECT + SKEW, N, 1, 1);
		c.dst = tensor(to[t], VA_DATA, N, 1, 1);
		same_everywhere(p, &c, sizeof(c), (uint64_t *[]){ &c.src.addr }, 1, "COPY from pages");
		allow_views(p, false);
		c.dst.addr = VA_SCATTERED + SKEW + N * 4;
		assert_true(submit(p, &c, sizeof(c)));
		back.src = back.dst = tensor(to[t], VA_DATA, N, 1, 1);
		back.src.addr = c.dst.addr;
		memset(bus(p->b, p->b->data_bus), 0, OUT);
		assert_true(submit(p, &back, sizeof(back)));
		assert_memory_equal(bus(p->b, p->b->data_bus), p->out[0], OUT);
	}
}

/* In place, with rows that have gaps, and an operand of which one row serves all. */
static void test_binary_in_place(struct place *p)
{
	enum { N = 1500, ROWS = 40, PITCH = N + 77 };
	static float x[ROWS * PITCH], want[ROWS * PITCH];
	struct npu_cmd_binary c = { .cmd = cmd(NPU_OP_BINARY), .kind = NPU_BINARY_ADD };
	struct rng r = { 14 };

	fill_float(&r, NPU_TYPE_F32, x, ROWS * PITCH, 1.0f);
	fill(p, x, sizeof(x));
	c.a = tensor(NPU_TYPE_F32, VA_SCATTERED + SKEW, N, ROWS, 1);
	c.a.nb[1] = PITCH * 4;
	c.dst = c.a;
	c.b = tensor(NPU_TYPE_F32, small(p, NPU_TYPE_F32, N, 0, 15), N, 1, 1);
	memcpy(want, x, sizeof(x));
	for (unsigned int i = 0; i < ROWS * N; i++)
		want[i / N * PITCH + i % N] += ((float *)bus(p->b, p->b->data_bus + OUT))[i % N];
	allow_views(p, false);
	assert_true(submit(p, &c, sizeof(c)));
	for (size_t i = 0; i < sizeof(x); i++) {
		uint64_t at = SKEW + i;

		if (*((uint8_t *)bus(p->b, page_at(p, at / PAGE)) + at % PAGE) != ((uint8_t *)want)[i])
			fail_msg("byte %zu", i);
	}
}

static void all_paths(void (*test)(struct place *p))
{
	static const struct {
		enum npu_path path;
		enum npu_model_isa isa;
	} paths[] = {
		{ NPU_PATH_SCALAR, NPU_MODEL_ISA_SCALAR }, { NPU_PATH_AVX2, NPU_MODEL_ISA_AVX2 },
		{ NPU_PATH_AVX512, NPU_MODEL_ISA_AVX512 }, { NPU_PATH_NEON, NPU_MODEL_ISA_NEON },
	};

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		struct place *p;

		if (!npu_path_supported(paths[i].path))
			continue;
		p = setup(paths[i].isa);
		test(p);
		teardown(p);
	}
}

#define ON_ALL_PATHS(name)			\
static void name##_paths(void **state)		\
{						\
	(void)state;				\
	all_paths(name);			\
}

ON_ALL_PATHS(test_matmul)
ON_ALL_PATHS(test_matmul_edges)
ON_ALL_PATHS(test_matmul_glu)
ON_ALL_PATHS(test_attention)
ON_ALL_PATHS(test_elements)
ON_ALL_PATHS(test_binary_in_place)

/* ---- Unmaps and faults ------------------------------------------------------------------- */

#define W_ROWS	512u
#define W_K	1024u	/* 2 MiB and some of F32 */

static struct npu_cmd_matmul big(struct place *p)
{
	struct npu_cmd_matmul c = { .cmd = cmd(NPU_OP_MATMUL) };

	c.dst = tensor(NPU_TYPE_F32, VA_DATA, W_ROWS, 1, 1);
	c.x = tensor(NPU_TYPE_F32, small(p, NPU_TYPE_F32, W_K, 0, 21), W_K, 1, 1);
	c.w = tensor(NPU_TYPE_F32, VA_SCATTERED + SKEW, W_K, W_ROWS, 1);
	return c;
}

static void expect_fault(struct place *p, uint32_t code, uint64_t addr, unsigned int operand, bool write)
{
	uint32_t info;

	q_expect_fault(p->b, 0, code);
	info = rd(p->b, NPU_QC(0) + NPU_QC_FAULT);
	assert_int_equal(rd64(p->b, NPU_QC(0) + NPU_QC_FAULT_ADDR_LO), addr);
	assert_int_equal(NPU_FAULT_OPERAND(info), operand);
	assert_int_equal(!!(info & NPU_FAULT_WRITE), write);
	assert_int_equal(q_cmd(p->b, 0, NPU_QCMD_RESET), NPU_QSTATE_STOPPED);
	wr(p->b, NPU_QC(0) + NPU_QC_HEAD, p->b->tail[0]);
	wr(p->b, NPU_IRQ_FAULT, 1);
	assert_int_equal(q_cmd(p->b, 0, NPU_QCMD_START), NPU_QSTATE_IDLE);
}

static void test_unmap(void **state)
{
	struct place *p = setup(NPU_MODEL_ISA_AUTO);
	struct npu_cmd_matmul c = big(p);
	static float w[W_ROWS * W_K], want[W_ROWS];
	float *dst = bus(p->b, p->b->data_bus);
	uint64_t page = VA_SCATTERED + 300 * PAGE;
	struct rng r = { 2 };

	(void)state;
	fill_float(&r, NPU_TYPE_F32, w, W_ROWS * W_K, 1.0f);
	fill(p, w, sizeof(w));
	allow_views(p, false);
	assert_true(submit(p, &c, sizeof(c)));
	memcpy(want, dst, sizeof(want));
	/* Not flushed: the old page is still read. */
	bench_unmap(p->b, 0, page, PAGE);
	memset(dst, 0, sizeof(want));
	assert_true(submit(p, &c, sizeof(c)));
	assert_memory_equal(dst, want, sizeof(want));
	/* Flushed: a fault at the page's first byte, and nothing has been written. */
	as_range(p->b, 0, page, PAGE);
	as_cmd(p->b, 0, NPU_AS_CMD_FLUSH);
	memset(dst, 0x11, sizeof(want));
	assert_false(submit(p, &c, sizeof(c)));
	expect_fault(p, NPU_FAULT_TRANSLATION, page, 2, false);
	for (size_t i = 0; i < sizeof(want); i++)
		assert_int_equal(((uint8_t *)dst)[i], 0x11);
	/* Another page in its place: it is read, where the old one was. */
	bench_map(p->b, 0, page, p->direct, PAGE, 0);
	memset(bus(p->b, p->direct), 0, PAGE);
	assert_true(submit(p, &c, sizeof(c)));
	for (unsigned int i = 0; i < W_ROWS; i++) {
		uint64_t first = SKEW + i * W_K * 4ull, last = first + W_K * 4 - 1;
		bool touched = first < 301 * PAGE && last >= 300 * PAGE;

		assert_int_equal(dst[i] == want[i], !touched);
	}
	teardown(p);
}

/* A destination in pieces: its last page is missing, or may not be written. */
static void test_destination_faults(void **state)
{
	enum { N = 8000 };
	struct place *p = setup(NPU_MODEL_ISA_AUTO);
	struct npu_cmd_map c = { .cmd = cmd(NPU_OP_COPY) };
	uint64_t last = (VA_SCATTERED + SKEW + N * 4 - 1) & ~(PAGE - 1);
	unsigned int pages = (unsigned int)((last - VA_SCATTERED) / PAGE);
	static float x[N];

	(void)state;
	fill(p, x, sizeof(x));
	allow_views(p, false);
	c.src = tensor(NPU_TYPE_F32, small(p, NPU_TYPE_F32, N, 0, 30), N, 1, 1);
	c.dst = tensor(NPU_TYPE_F32, VA_SCATTERED + SKEW, N, 1, 1);
	for (unsigned int i = 0; i < 2; i++) {
		if (i)
			bench_map(p->b, 0, last, page_at(p, pages), PAGE, NPU_PTE_RDONLY);
		else
			bench_unmap(p->b, 0, last, PAGE);
		as_cmd(p->b, 0, NPU_AS_CMD_FLUSH_ALL);
		assert_false(submit(p, &c, sizeof(c)));
		expect_fault(p, i ? NPU_FAULT_PERMISSION : NPU_FAULT_TRANSLATION, last, 0, true);
		for (unsigned int j = 0; j < N; j++) {
			uint64_t at = SKEW + j * 4;

			assert_true(*(float *)((uint8_t *)bus(p->b, page_at(p, at / PAGE)) + at % PAGE) == 0.0f);
		}
	}
	teardown(p);
}

/* ---- Huge pages of the host ---------------------------------------------------------------- */

#define HUGE_VA		0x60000000ull
#define HUGE_LEAVES	4u
#define LEAF		(512 * PAGE)

/* One element of each leaf. */
static void read_leaves(struct place *p, unsigned int n)
{
	struct npu_cmd_map c = { .cmd = cmd(NPU_OP_COPY) };
	float *dst = bus(p->b, p->b->data_bus);

	c.dst = tensor(NPU_TYPE_F32, VA_DATA, 1, n, 1);
	c.src = tensor(NPU_TYPE_F32, HUGE_VA, 1, n, 1);
	c.src.nb[1] = LEAF;
	memset(dst, 0, n * sizeof(*dst));
	assert_true(submit(p, &c, sizeof(c)));
	for (unsigned int i = 0; i < n; i++)
		assert_true(dst[i] == 1.5f + (float)i);
}

/* All pages are translated. */
static void read_pages(struct place *p)
{
	struct npu_cmd_map c = { .cmd = cmd(NPU_OP_COPY) };

	c.dst = tensor(NPU_TYPE_F32, VA_DATA, 1, HUGE_LEAVES * 512, 1);
	c.src = tensor(NPU_TYPE_F32, HUGE_VA, 1, HUGE_LEAVES * 512, 1);
	c.src.nb[1] = PAGE;
	assert_true(submit(p, &c, sizeof(c)));
}

/* What is only read is to have huge pages, between commands, until it is no longer mapped. */
static void test_huge_pages(void **state)
{
	struct place *p = setup(NPU_MODEL_ISA_AUTO);
	uint64_t pages = bench_pages(p->b, HUGE_LEAVES * 512);
	struct huge *h = &p->b->m->slot[0].huge;

	(void)state;
	bench_map(p->b, 0, HUGE_VA, pages, HUGE_LEAVES * LEAF, NPU_PTE_RDONLY);
	for (unsigned int i = 0; i < HUGE_LEAVES; i++)
		*(float *)bus(p->b, pages + i * LEAF) = 1.5f + (float)i;
	/* Never yet. */
	h->after = INT64_MAX;
	read_pages(p);
	assert_int_equal(h->wanted, HUGE_LEAVES);
	assert_int_equal(p->b->m->slot[1].huge.wanted, 0);
	as_range(p->b, 0, HUGE_VA + LEAF, PAGE);
	as_cmd(p->b, 0, NPU_AS_CMD_FLUSH);
	assert_int_equal(h->wanted, HUGE_LEAVES - 1);
	read_leaves(p, HUGE_LEAVES);
	/* Now: at least one for each command. */
	for (unsigned int i = 0; i < HUGE_LEAVES && h->wanted; i++) {
		h->after = 0;
		read_leaves(p, HUGE_LEAVES);
	}
	assert_int_equal(h->wanted, 0);
	as_cmd(p->b, 0, NPU_AS_CMD_FLUSH_ALL);
	assert_int_equal(h->wanted, 0);
	read_leaves(p, HUGE_LEAVES);
	teardown(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_matmul_paths),
		cmocka_unit_test(test_matmul_edges_paths),
		cmocka_unit_test(test_matmul_glu_paths),
		cmocka_unit_test(test_attention_paths),
		cmocka_unit_test(test_elements_paths),
		cmocka_unit_test(test_binary_in_place_paths),
		cmocka_unit_test(test_unmap),
		cmocka_unit_test(test_destination_faults),
		cmocka_unit_test(test_huge_pages),
	};

	return cmocka_run_group_tests_name("model: operands in pieces", tests, NULL, NULL);
}
