// SPDX-License-Identifier: MIT
/* Address spaces: walks, exact faults, the TLB, maintenance, host views. */
#include <time.h>

#include "core/core.h"	/* for the limit of mappings alone */
#include "model_common.h"

static const struct npu_model_options sync_opt = { .size = sizeof(sync_opt), .synchronous = true };
static const struct npu_model_options large_opt = { .size = sizeof(large_opt), .synchronous = true,
						    .config = "large" };
static const struct npu_model_options async_opt = { .size = sizeof(async_opt), .threads = 2 };

#define VA	0x30000000ull
#define LEAF(bus) ((bus) | NPU_PTE_VALID | NPU_PTE_TABLE | NPU_PTE_USER | NPU_PTE_AF)
#define BLOCK(bus) ((bus) | NPU_PTE_VALID | NPU_PTE_USER | NPU_PTE_AF)

static struct bench *setup(const struct npu_model_options *opt)
{
	struct bench *b = bench_new(opt);

	bench_queue(b, 0, 0, NPU_QC_MODE_KERNEL);
	return b;
}

/* Loads 8 bytes at @va; the value, or a fault. */
static bool load(struct bench *b, uint64_t va, uint64_t *value)
{
	struct stream s = { .size = 0 };

	s_load(&s, 1, 8, 0, va);
	s_store(&s, 1, 8, VA_DATA);
	s_end(&s);
	if (!q_wait(b, 0, q_submit(b, 0, &s)))
		return false;
	*value = *(uint64_t *)bus(b, b->data_bus);
	return true;
}

static uint64_t must_load(struct bench *b, uint64_t va)
{
	uint64_t v;

	assert_true(load(b, va, &v));
	return v;
}

static void restart(struct bench *b)
{
	assert_int_equal(q_cmd(b, 0, NPU_QCMD_RESET), NPU_QSTATE_STOPPED);
	assert_int_equal(rd(b, NPU_QC(0) + NPU_QC_FAULT), 0);
	wr(b, NPU_QC(0) + NPU_QC_HEAD, b->tail[0]);
	wr(b, NPU_IRQ_FAULT, 1);
	assert_int_equal(q_cmd(b, 0, NPU_QCMD_START), NPU_QSTATE_IDLE);
}

static void expect_load_fault(struct bench *b, uint64_t va, uint32_t code)
{
	uint64_t v;

	assert_false(load(b, va, &v));
	assert_int_equal(NPU_FAULT_CODE(rd(b, NPU_QC(0) + NPU_QC_FAULT)), code);
	assert_int_equal(NPU_FAULT_ENGINE(rd(b, NPU_QC(0) + NPU_QC_FAULT)), NPU_ENGINE_CONTROL);
	assert_int_equal(NPU_FAULT_OPCODE(rd(b, NPU_QC(0) + NPU_QC_FAULT)), NPU_CMD_LOAD);
	assert_int_equal(rd64(b, NPU_QC(0) + NPU_QC_FAULT_ADDR_LO), va);
	assert_int_equal(rd64(b, NPU_QC(0) + NPU_QC_FAULT_PC_LO), VA_STREAM);
	assert_int_equal(rd64(b, NPU_QC(0) + NPU_QC_FAULT_SEQNO_LO), b->seqno);
	restart(b);
}

static void test_fault_codes(void **state)
{
	struct bench *b = setup(&sync_opt);
	uint64_t page = bench_pages(b, 1), *pte;

	(void)state;
	*(uint64_t *)bus(b, page + 8) = 42;
	expect_load_fault(b, VA + 8, NPU_FAULT_TRANSLATION);
	pte = bench_pte(b, 0, VA, 3);
	expect_load_fault(b, VA + 8, NPU_FAULT_TRANSLATION);
	*pte = LEAF(page) & ~NPU_PTE_TABLE;
	expect_load_fault(b, VA + 8, NPU_FAULT_TABLE);
	*pte = LEAF(page) & ~NPU_PTE_AF;
	expect_load_fault(b, VA + 8, NPU_FAULT_PERMISSION);
	*pte = LEAF(page) & ~NPU_PTE_USER;
	expect_load_fault(b, VA + 8, NPU_FAULT_PERMISSION);
	*pte = LEAF(1ull << 41);
	expect_load_fault(b, VA + 8, NPU_FAULT_ADDRESS_SIZE);
	*pte = LEAF(0x1000ull);
	expect_load_fault(b, VA + 8, NPU_FAULT_BUS);
	assert_int_equal(as_cmd(b, 0, NPU_AS_CMD_FLUSH_ALL), NPU_AS_STATUS_ENABLED);
	*pte = LEAF(page);
	assert_int_equal(must_load(b, VA + 8), 42);
	expect_load_fault(b, 1ull << 39, NPU_FAULT_ADDRESS_SIZE);
	expect_load_fault(b, UINT64_MAX & ~7ull, NPU_FAULT_ADDRESS_SIZE);
	/* A walk that leaves memory, and a table above the bus. */
	*bench_pte(b, 0, VA + (4ull << 30), 2) = 0x2000ull | NPU_PTE_VALID | NPU_PTE_TABLE;
	expect_load_fault(b, VA + (4ull << 30), NPU_FAULT_WALK_BUS);
	*bench_pte(b, 0, VA + (5ull << 30), 2) = 1ull << 42 | NPU_PTE_VALID | NPU_PTE_TABLE;
	expect_load_fault(b, VA + (5ull << 30), NPU_FAULT_ADDRESS_SIZE);
	bench_free(b);
}

static void test_no_negative_caching(void **state)
{
	struct bench *b = setup(&sync_opt);
	uint64_t page = bench_pages(b, 1);

	(void)state;
	expect_load_fault(b, VA, NPU_FAULT_TRANSLATION);
	bench_map(b, 0, VA, page, PAGE, 0);
	*(uint64_t *)bus(b, page) = 7;
	assert_int_equal(must_load(b, VA), 7);
	bench_free(b);
}

static void test_read_only(void **state)
{
	struct bench *b = setup(&sync_opt);
	uint64_t page = bench_pages(b, 1);
	struct stream s = { .size = 0 };
	uint32_t f;

	(void)state;
	bench_map(b, 0, VA, page, PAGE, NPU_PTE_RDONLY);
	*(uint64_t *)bus(b, page + 16) = 9;
	assert_int_equal(must_load(b, VA + 16), 9);
	s_store(&s, 1, 4, VA + 20);
	s_end(&s);
	q_submit(b, 0, &s);
	q_expect_fault(b, 0, NPU_FAULT_PERMISSION);
	f = rd(b, NPU_QC(0) + NPU_QC_FAULT);
	assert_true(f & NPU_FAULT_WRITE);
	assert_int_equal(rd64(b, NPU_QC(0) + NPU_QC_FAULT_ADDR_LO), VA + 20);
	restart(b);
	/* The same for a tensor command: engine and operand are named. */
	s.size = 0;
	s_op(&s, NPU_CMD_NOP);
	s_inc(&s, VA + 64, VA_DATA, 16, 0, NPU_NO_TOKEN);
	s_end(&s);
	q_submit(b, 0, &s);
	q_expect_fault(b, 0, NPU_FAULT_PERMISSION);
	f = rd(b, NPU_QC(0) + NPU_QC_FAULT);
	assert_int_equal(NPU_FAULT_ENGINE(f), NPU_ENGINE_VECTOR);
	assert_int_equal(NPU_FAULT_OPERAND(f), 0);
	assert_int_equal(NPU_FAULT_OPCODE(f), NPU_OP_UNARY);
	assert_true(f & NPU_FAULT_WRITE);
	assert_int_equal(rd(b, NPU_QC(0) + NPU_QC_FAULT_TAG), 16);
	assert_int_equal(rd64(b, NPU_QC(0) + NPU_QC_FAULT_ADDR_LO), VA + 64);
	assert_int_equal(rd64(b, NPU_QC(0) + NPU_QC_FAULT_PC_LO), VA_STREAM + 16);
	bench_free(b);
}

/* The first byte that cannot be accessed, inside an operand that spans pages. */
static void test_exact_address(void **state)
{
	struct bench *b = setup(&sync_opt);
	uint64_t pages = bench_pages(b, 3);
	struct stream s = { .size = 0 };
	struct npu_cmd_map p = {
		.cmd = { .opcode = NPU_OP_UNARY, .signal = NPU_NO_TOKEN }, .kind = NPU_UNARY_NEG,
		.dst = f32(VA_DATA, 16, 3), .src = f32(VA + 100, 16, 3),
	};

	(void)state;
	bench_map(b, 0, VA, pages, PAGE, 0);
	bench_map(b, 0, VA + 2 * PAGE, pages + 2 * PAGE, PAGE, 0);
	s_inc(&s, VA_DATA, VA + 100, 3000, 0, NPU_NO_TOKEN);
	s_end(&s);
	q_submit(b, 0, &s);
	q_expect_fault(b, 0, NPU_FAULT_TRANSLATION);
	assert_int_equal(rd64(b, NPU_QC(0) + NPU_QC_FAULT_ADDR_LO), VA + PAGE);
	assert_int_equal(NPU_FAULT_OPERAND(rd(b, NPU_QC(0) + NPU_QC_FAULT)), 1);
	restart(b);
	/* A stride into nowhere: the third row's first byte, not the page between the rows. */
	p.src.nb[1] = 2 * PAGE;
	s.size = 0;
	s_put(&s, &p, sizeof(p), NULL, 0);
	s_end(&s);
	q_submit(b, 0, &s);
	q_expect_fault(b, 0, NPU_FAULT_TRANSLATION);
	assert_int_equal(rd64(b, NPU_QC(0) + NPU_QC_FAULT_ADDR_LO), VA + 100 + 4 * PAGE);
	assert_int_equal(NPU_FAULT_OPERAND(rd(b, NPU_QC(0) + NPU_QC_FAULT)), 1);
	bench_free(b);
}

static void test_blocks(void **state)
{
	struct bench *b = setup(&sync_opt);
	uint64_t base = RAM_BASE + (32ull << 20);

	(void)state;
	for (unsigned int i = 0; i < 16; i++)
		*(uint64_t *)bus(b, base + i * 0x100008ull) = 1000 + i;
	*bench_pte(b, 0, VA, 2) = BLOCK(base);
	assert_int_equal(must_load(b, VA + 0x100008ull), 1001);
	/* A 1 GiB block whose beginning is RAM; the rest is not. */
	*bench_pte(b, 0, 8ull << 30, 1) = BLOCK(RAM_BASE);
	assert_int_equal(must_load(b, (8ull << 30) + (32ull << 20) + 5 * 0x100008ull), 1005);
	expect_load_fault(b, (8ull << 30) + RAM_SIZE, NPU_FAULT_BUS);
	*bench_pte(b, 0, 9ull << 30, 1) = BLOCK(RAM_BASE + (2ull << 20));
	expect_load_fault(b, 9ull << 30, NPU_FAULT_TABLE);
	*bench_pte(b, 0, 10ull << 30, 2) = BLOCK(RAM_BASE + PAGE);
	expect_load_fault(b, 10ull << 30, NPU_FAULT_TABLE);
	bench_free(b);
}

static void test_four_levels(void **state)
{
	struct bench *b = bench_new(&large_opt);
	uint64_t far = 0xfffffffff000ull, page;

	(void)state;
	bench_slot(b, 0, 48);
	bench_queue(b, 0, 0, NPU_QC_MODE_KERNEL);
	page = bench_pages(b, 1);
	bench_map(b, 0, far, page, PAGE, 0);
	*(uint64_t *)bus(b, page + 4088) = 77;
	assert_int_equal(must_load(b, far + 4088), 77);
	*bench_pte(b, 0, 0x800000000000ull, 0) = BLOCK(RAM_BASE);
	expect_load_fault(b, 0x800000000000ull, NPU_FAULT_TABLE);
	bench_free(b);
}

/* A table that points at itself is a table at every level, and its own entry is a page. */
static void test_self_pointing(void **state)
{
	struct bench *b = setup(&sync_opt);
	uint64_t va = 0x1ffull << 30 | 0x1ffull << 21 | 0x1ffull << 12;
	uint64_t *root = bus(b, b->table[0]);

	(void)state;
	root[511] = b->table[0] | NPU_PTE_VALID | NPU_PTE_TABLE;
	expect_load_fault(b, va, NPU_FAULT_PERMISSION);		/* no AF, no AP[1] */
	root[511] |= NPU_PTE_AF | NPU_PTE_USER;
	assert_int_equal(must_load(b, va + 511 * 8), root[511]);
	bench_free(b);
}

static void test_missing_flush(void **state)
{
	struct bench *b = setup(&sync_opt);
	uint64_t a = bench_pages(b, 1), c = bench_pages(b, 1), walks;

	(void)state;
	*(uint64_t *)bus(b, a) = 1;
	*(uint64_t *)bus(b, c) = 2;
	bench_map(b, 0, VA, a, PAGE, 0);
	assert_int_equal(must_load(b, VA), 1);
	walks = rd64(b, NPU_CNT_WALKS_LO);
	bench_map(b, 0, VA, c, PAGE, 0);
	assert_int_equal(must_load(b, VA), 1);		/* stale, as it must be */
	assert_int_equal(rd64(b, NPU_CNT_WALKS_LO), walks);
	as_range(b, 0, VA + PAGE, PAGE);
	as_cmd(b, 0, NPU_AS_CMD_FLUSH);
	assert_int_equal(must_load(b, VA), 1);		/* another page's flush */
	as_range(b, 0, VA, PAGE);
	as_cmd(b, 0, NPU_AS_CMD_FLUSH);
	assert_int_equal(must_load(b, VA), 2);
	bench_unmap(b, 0, VA, PAGE);
	assert_int_equal(must_load(b, VA), 2);
	as_cmd(b, 0, NPU_AS_CMD_FLUSH_ALL);
	expect_load_fault(b, VA, NPU_FAULT_TRANSLATION);
	bench_free(b);
}

/* Tables are cached apart from translations. */
static void test_walk_cache(void **state)
{
	struct bench *b = setup(&sync_opt);
	uint64_t pages = bench_pages(b, 2), table = bench_pages(b, 1);

	(void)state;
	*(uint64_t *)bus(b, pages) = 1;
	*(uint64_t *)bus(b, pages + PAGE) = 2;
	bench_map(b, 0, VA, pages, PAGE, 0);
	assert_int_equal(must_load(b, VA), 1);
	((uint64_t *)bus(b, table))[VA >> 12 & 511] = LEAF(pages + PAGE);
	*bench_pte(b, 0, VA, 2) = table | NPU_PTE_VALID | NPU_PTE_TABLE;
	as_range(b, 0, VA, PAGE);
	as_cmd(b, 0, NPU_AS_CMD_FLUSH);
	assert_int_equal(must_load(b, VA), 1);		/* still through the old table */
	as_cmd(b, 0, NPU_AS_CMD_FLUSH_WALKS);
	assert_int_equal(must_load(b, VA), 1);		/* and the page is cached again */
	as_cmd(b, 0, NPU_AS_CMD_FLUSH);
	assert_int_equal(must_load(b, VA), 2);
	bench_free(b);
}

static void test_commands(void **state)
{
	struct bench *b = bench_new(&sync_opt);
	uint64_t as = NPU_MMU_BASE + NPU_AS(3);
	uint32_t on = NPU_AS_CFG_ENABLE | NPU_AS_CFG_VA_BITS(39);

	(void)state;
	wr64(b, as + NPU_AS_TABLE_LO, RAM_BASE);
	wr(b, as + NPU_AS_CFG, on);
	assert_int_equal(rd(b, as + NPU_AS_STATUS), 0);
	wr(b, NPU_IRQ_GLOBAL, UINT32_MAX);
	assert_int_equal(as_cmd(b, 3, NPU_AS_CMD_UPDATE), NPU_AS_STATUS_ENABLED);
	assert_int_equal(rd(b, NPU_IRQ_GLOBAL), NPU_IRQ_G_MMU);
	wr64(b, as + NPU_AS_TABLE_LO, RAM_BASE + 8);
	assert_true(as_cmd(b, 3, NPU_AS_CMD_UPDATE) & NPU_AS_STATUS_ERROR);
	wr64(b, as + NPU_AS_TABLE_LO, 1ull << 45);
	assert_true(as_cmd(b, 3, NPU_AS_CMD_UPDATE) & NPU_AS_STATUS_ERROR);
	wr64(b, as + NPU_AS_TABLE_LO, RAM_BASE);
	wr(b, as + NPU_AS_CFG, NPU_AS_CFG_ENABLE | NPU_AS_CFG_VA_BITS(38));
	assert_true(as_cmd(b, 3, NPU_AS_CMD_UPDATE) & NPU_AS_STATUS_ERROR);
	wr(b, as + NPU_AS_CFG, NPU_AS_CFG_ENABLE | NPU_AS_CFG_VA_BITS(40));
	assert_true(as_cmd(b, 3, NPU_AS_CMD_UPDATE) & NPU_AS_STATUS_ERROR);
	assert_true(rd(b, as + NPU_AS_STATUS) & NPU_AS_STATUS_ENABLED);	/* what was latched stays */
	assert_true(as_cmd(b, 3, NPU_AS_CMD_UNLOCK) & NPU_AS_STATUS_ERROR);
	assert_true(as_cmd(b, 3, 0) & NPU_AS_STATUS_ERROR);
	assert_true(as_cmd(b, 3, 99) & NPU_AS_STATUS_ERROR);
	as_range(b, 3, 0x1000, 0);
	assert_true(as_cmd(b, 3, NPU_AS_CMD_LOCK) & NPU_AS_STATUS_ERROR);
	as_range(b, 3, 0x1001, 0x1000);
	assert_true(as_cmd(b, 3, NPU_AS_CMD_FLUSH) & NPU_AS_STATUS_ERROR);
	as_range(b, 3, 0x1000, 1ull << 39);
	assert_true(as_cmd(b, 3, NPU_AS_CMD_LOCK) & NPU_AS_STATUS_ERROR);
	as_range(b, 3, 0, 1ull << 39);
	assert_int_equal(as_cmd(b, 3, NPU_AS_CMD_LOCK), NPU_AS_STATUS_ENABLED | NPU_AS_STATUS_LOCKED);
	assert_true(as_cmd(b, 3, NPU_AS_CMD_LOCK) & NPU_AS_STATUS_ERROR);
	assert_int_equal(as_cmd(b, 3, NPU_AS_CMD_UNLOCK), NPU_AS_STATUS_ENABLED);
	wr(b, as + NPU_AS_CFG, 0);
	assert_int_equal(as_cmd(b, 3, NPU_AS_CMD_UPDATE), 0);
	bench_free(b);
}

static void test_disabled_slot(void **state)
{
	struct bench *b = setup(&sync_opt);
	struct stream s = { .size = 0 };

	(void)state;
	s_end(&s);
	wr(b, NPU_MMU_BASE + NPU_AS(0) + NPU_AS_CFG, 0);
	as_cmd(b, 0, NPU_AS_CMD_UPDATE);
	q_submit(b, 0, &s);
	q_expect_fault(b, 0, NPU_FAULT_SLOT);
	assert_int_equal(rd64(b, NPU_QC(0) + NPU_QC_FAULT_ADDR_LO), VA_STREAM);
	bench_free(b);
}

/* An access to a locked range waits, whatever the table says, and walks anew after UNLOCK. */
static void test_lock_stalls(void **state)
{
	struct bench *b = setup(&sync_opt);
	uint64_t a = bench_pages(b, 1), c = bench_pages(b, 1), seqno;
	struct stream s = { .size = 0 };
	float *out = bus(b, b->data_bus);

	(void)state;
	bench_map(b, 0, VA, a, PAGE, 0);
	*(float *)bus(b, a) = 1.0f;
	*(float *)bus(b, c) = 10.0f;
	s_inc(&s, VA_DATA, VA, 1, 0, NPU_NO_TOKEN);
	s_end(&s);
	assert_true(q_wait(b, 0, q_submit(b, 0, &s)));
	assert_true(out[0] == 2.0f);
	as_range(b, 0, VA, PAGE);
	as_cmd(b, 0, NPU_AS_CMD_LOCK);
	seqno = q_submit(b, 0, &s);
	bench_unmap(b, 0, VA, PAGE);
	as_cmd(b, 0, NPU_AS_CMD_FLUSH);
	for (unsigned int i = 0; i < 10; i++)
		npu_model_step(b->m, 100);
	assert_int_equal(q_state(b, 0), NPU_QSTATE_BLOCKED);
	bench_map(b, 0, VA, c, PAGE, 0);
	as_cmd(b, 0, NPU_AS_CMD_UNLOCK);
	assert_true(q_wait(b, 0, seqno));
	assert_true(out[0] == 11.0f);
	/* A command elsewhere does not wait. */
	as_range(b, 0, VA + PAGE, PAGE);
	as_cmd(b, 0, NPU_AS_CMD_LOCK);
	assert_true(q_wait(b, 0, q_submit(b, 0, &s)));
	as_cmd(b, 0, NPU_AS_CMD_UNLOCK);
	/* A stalled queue can be reset, and a lock can outlive it. */
	as_range(b, 0, VA_STREAM, 16 * PAGE);
	as_cmd(b, 0, NPU_AS_CMD_LOCK);
	q_submit(b, 0, &s);
	npu_model_step(b->m, 100);
	assert_int_equal(q_state(b, 0), NPU_QSTATE_BLOCKED);
	restart(b);
	as_cmd(b, 0, NPU_AS_CMD_UNLOCK);
	assert_true(q_wait(b, 0, q_submit(b, 0, &s)));
	bench_free(b);
}

/* Remapping under LOCK while another thread computes: no fault, and never a mix of old and new. */
static void test_lock_under_traffic(void **state)
{
	struct bench *b = setup(&async_opt);
	uint64_t pages = bench_pages(b, 2 * 32);
	struct stream s = { .size = 0 };
	uint64_t seqno = 0;
	uint32_t top;

	(void)state;
	for (unsigned int i = 0; i < 32 * 1024; i++) {
		((float *)bus(b, pages))[i] = 1.0f;
		((float *)bus(b, pages + 32 * PAGE))[i] = 5.0f;
	}
	bench_map(b, 0, VA, pages, 32 * PAGE, 0);
	s_set(&s, 1, 300);
	top = s_inc(&s, VA_DATA, VA, 32 * 1024, 0, NPU_NO_TOKEN);
	s_loop(&s, 1, top);
	s_end(&s);
	as_range(b, 0, VA, 32 * PAGE);
	for (unsigned int round = 0; round < 100; round++) {
		const float *out = bus(b, b->data_bus);
		float want = round & 1 ? 2.0f : 6.0f;

		if (!round || q_state(b, 0) == NPU_QSTATE_IDLE)
			seqno = q_submit(b, 0, &s);
		assert_true(as_cmd(b, 0, NPU_AS_CMD_LOCK) & NPU_AS_STATUS_LOCKED);
		bench_map(b, 0, VA, round & 1 ? pages : pages + 32 * PAGE, 32 * PAGE, 0);
		as_cmd(b, 0, NPU_AS_CMD_FLUSH);
		assert_int_equal(as_cmd(b, 0, NPU_AS_CMD_UNLOCK), NPU_AS_STATUS_ENABLED);
		if (round % 10 == 9) {
			assert_true(q_wait(b, 0, seqno));
			seqno = q_submit(b, 0, &s);
			assert_true(q_wait(b, 0, seqno));
			for (unsigned int i = 0; i < 32 * 1024; i++)
				assert_true(out[i] == want);
		}
	}
	assert_true(q_wait(b, 0, seqno));
	bench_free(b);
}

/* LOCK ends although a queue of the slot hangs. */
static void test_lock_with_hung_queue(void **state)
{
	struct bench *b = setup(&async_opt);
	struct npu_model_injection hang = { .fault = NPU_INJECT_HANG, .queue = -1 };
	struct stream s = { .size = 0 };

	(void)state;
	s_inc(&s, VA_DATA, VA_DATA, 16, 0, NPU_NO_TOKEN);
	s_end(&s);
	assert_int_equal(npu_model_inject(b->m, &hang), 0);
	q_submit(b, 0, &s);
	while (!npu_model_stat(b->m, NPU_MODEL_STAT_INJECTED))
		;
	as_range(b, 0, VA_DATA, PAGE);
	assert_true(as_cmd(b, 0, NPU_AS_CMD_LOCK) & NPU_AS_STATUS_LOCKED);
	as_cmd(b, 0, NPU_AS_CMD_FLUSH);
	assert_int_equal(as_cmd(b, 0, NPU_AS_CMD_UNLOCK), NPU_AS_STATUS_ENABLED);
	bench_free(b);
}

/* Every other page, backwards: nothing is contiguous. */
static void scatter(struct bench *b, uint64_t pages, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		bench_map(b, 0, VA + i * PAGE, pages + 2 * (n - 1 - i) * PAGE, PAGE, 0);
}

static void check_scattered(struct bench *b, uint64_t pages, unsigned int n)
{
	struct stream s = { .size = 0 };

	for (unsigned int i = 0; i < n; i++)
		for (unsigned int j = 0; j < 1024; j++)
			((float *)bus(b, pages + 2 * (n - 1 - i) * PAGE))[j] = (float)(i * 1024 + j);
	/* In place, and twice, so that a view is used after it was made. */
	s_inc(&s, VA, VA, n * 1024, 0, NPU_NO_TOKEN);
	s_inc(&s, VA, VA, n * 1024, 0, NPU_NO_TOKEN);
	s_end(&s);
	assert_true(q_wait(b, 0, q_submit(b, 0, &s)));
	for (unsigned int i = 0; i < n; i++)
		for (unsigned int j = 0; j < 1024; j++)
			assert_true(((float *)bus(b, pages + 2 * (n - 1 - i) * PAGE))[j] == (float)(i * 1024 + j + 2));
}

static void test_scattered_view(void **state)
{
	struct bench *b = setup(&sync_opt);
	uint64_t pages = bench_pages(b, 1200);

	(void)state;
	scatter(b, pages, 600);
	check_scattered(b, pages, 600);
	assert_int_equal(npu_model_stat(b->m, NPU_MODEL_STAT_VIEW_MAPS), 600);
	assert_int_equal(npu_model_stat(b->m, NPU_MODEL_STAT_GATHERS), 0);
	/* A flush of the middle takes the mappings with it. */
	as_range(b, 0, VA + 100 * PAGE, 50 * PAGE);
	as_cmd(b, 0, NPU_AS_CMD_FLUSH);
	assert_int_equal(npu_model_stat(b->m, NPU_MODEL_STAT_VIEW_MAPS), 550);
	check_scattered(b, pages, 600);
	npu_model_bus_changed(b->m);
	assert_int_equal(npu_model_stat(b->m, NPU_MODEL_STAT_VIEW_MAPS), 0);
	check_scattered(b, pages, 600);
	bench_free(b);
}

/* What was found for a large operand ends with any of its pages. */
static void test_large_operand(void **state)
{
	enum { N = 600, LAST = N - 1 };
	struct bench *b = setup(&sync_opt);
	uint64_t pages = bench_pages(b, N), other = bench_pages(b, 1);
	struct stream s = { .size = 0 };
	float *last = bus(b, pages + LAST * PAGE), *moved = bus(b, other);

	(void)state;
	bench_map(b, 0, VA, pages, N * PAGE, 0);
	s_inc(&s, VA, VA, N * 1024, 0, NPU_NO_TOKEN);
	s_inc(&s, VA, VA, N * 1024, 0, NPU_NO_TOKEN);
	s_end(&s);
	assert_true(q_wait(b, 0, q_submit(b, 0, &s)));
	assert_true(last[1023] == 2.0f);

	bench_map(b, 0, VA + LAST * PAGE, other, PAGE, 0);
	assert_true(q_wait(b, 0, q_submit(b, 0, &s)));
	assert_true(last[1023] == 4.0f && moved[1023] == 0.0f);		/* not flushed */
	as_range(b, 0, VA + LAST * PAGE, PAGE);
	as_cmd(b, 0, NPU_AS_CMD_FLUSH);
	assert_true(q_wait(b, 0, q_submit(b, 0, &s)));
	assert_true(last[1023] == 4.0f && moved[1023] == 2.0f);

	bench_unmap(b, 0, VA + LAST * PAGE, PAGE);
	as_cmd(b, 0, NPU_AS_CMD_FLUSH);
	q_submit(b, 0, &s);
	q_expect_fault(b, 0, NPU_FAULT_TRANSLATION);
	assert_int_equal(rd64(b, NPU_QC(0) + NPU_QC_FAULT_ADDR_LO), VA + LAST * PAGE);
	assert_true(moved[1023] == 2.0f && *(float *)bus(b, pages) == 6.0f);
	bench_free(b);
}

static void test_scattered_gather(void **state)
{
	struct bench *b = bench_new(&sync_opt);
	uint64_t pages;

	(void)state;
	b->no_fd = true;
	bench_queue(b, 0, 0, NPU_QC_MODE_KERNEL);
	pages = bench_pages(b, 400);
	scatter(b, pages, 200);
	check_scattered(b, pages, 200);
	assert_int_equal(npu_model_stat(b->m, NPU_MODEL_STAT_VIEW_MAPS), 0);
	assert_true(npu_model_stat(b->m, NPU_MODEL_STAT_GATHERS) >= 2);
	bench_free(b);
}

/* Rows over two scattered pages each, with pages between them that are not mapped: each row is gathered by itself. */
static void test_scattered_rows(void **state)
{
	enum { ROWS = 100 };
	struct bench *b = bench_new(&sync_opt);
	struct stream s = { .size = 0 };
	struct npu_cmd_map p = {
		.cmd = { .opcode = NPU_OP_UNARY, .signal = NPU_NO_TOKEN }, .kind = NPU_UNARY_SCALE, .p0 = 1.0f, .p1 = 1.0f,
	};
	uint64_t pages;

	(void)state;
	b->no_fd = true;
	bench_queue(b, 0, 0, NPU_QC_MODE_KERNEL);
	pages = bench_pages(b, 4 * ROWS);
	for (unsigned int r = 0; r < ROWS; r++)
		for (unsigned int i = 0; i < 2; i++)
			bench_map(b, 0, VA + (3 * r + i) * PAGE, pages + (4 * r + 2 * (1 - i)) * PAGE, PAGE, 0);
	p.src = (struct npu_tensor){
		.addr = VA + PAGE / 2, .ne = { 1024, ROWS, 1, 1 }, .nb = { 4, 3 * PAGE }, .type = NPU_TYPE_F32,
	};
	p.dst = p.src;
	s_put(&s, &p, sizeof(p), NULL, 0);
	s_end(&s);
	assert_true(q_wait(b, 0, q_submit(b, 0, &s)));
	for (unsigned int r = 0; r < ROWS; r++) {
		const float *first = bus(b, pages + (4 * r + 2) * PAGE), *second = bus(b, pages + 4 * r * PAGE);

		assert_true(first[511] == 0.0f && first[512] == 1.0f && first[1023] == 1.0f);
		assert_true(second[0] == 1.0f && second[511] == 1.0f && second[512] == 0.0f);
	}
	bench_free(b);
}

/* No mappings left: what is mapped stays, the rest is gathered; after a flush others may be mapped. */
static void test_view_limit(void **state)
{
	struct bench *b = setup(&sync_opt);
	uint64_t pages = bench_pages(b, 1200);

	(void)state;
	b->m->view_limit = 100;
	scatter(b, pages, 600);
	check_scattered(b, pages, 600);
	assert_in_range(npu_model_stat(b->m, NPU_MODEL_STAT_VIEW_MAPS), 90, 100);
	assert_true(npu_model_stat(b->m, NPU_MODEL_STAT_GATHERS) >= 2);
	check_scattered(b, pages, 600);
	as_cmd(b, 0, NPU_AS_CMD_FLUSH_ALL);
	assert_int_equal(npu_model_stat(b->m, NPU_MODEL_STAT_VIEW_MAPS), 0);
	b->m->view_limit = 10000;
	check_scattered(b, pages, 600);
	assert_int_equal(npu_model_stat(b->m, NPU_MODEL_STAT_VIEW_MAPS), 600);
	bench_free(b);
}

/* Windows of 64 KiB: runs end where windows end. */
static void test_small_windows(void **state)
{
	struct bench *b = bench_new(&sync_opt);
	uint64_t pages;
	struct stream s = { .size = 0 };

	(void)state;
	b->window_size = 65536;
	bench_queue(b, 0, 0, NPU_QC_MODE_KERNEL);
	pages = bench_pages(b, 256);
	bench_map(b, 0, VA, pages, 256 * PAGE, 0);
	for (unsigned int i = 0; i < 256 * 1024; i++)
		((float *)bus(b, pages))[i] = (float)i;
	s_inc(&s, VA, VA, 256 * 1024, 0, NPU_NO_TOKEN);
	s_end(&s);
	assert_true(q_wait(b, 0, q_submit(b, 0, &s)));
	for (unsigned int i = 0; i < 256 * 1024; i++)
		assert_true(((float *)bus(b, pages))[i] == (float)(i + 1));
	bench_free(b);
}

/* Across the end of a segment of the view (64 GiB), and up to the last byte of the space. */
static void test_segment_end(void **state)
{
	struct bench *b = setup(&sync_opt);
	uint64_t edge = 1ull << 36, end = 1ull << 39, pages = bench_pages(b, 8);
	struct stream s = { .size = 0 };

	(void)state;
	bench_map(b, 0, edge - PAGE, pages, PAGE, 0);
	bench_map(b, 0, edge, pages + 2 * PAGE, PAGE, 0);
	bench_map(b, 0, end - PAGE, pages + 4 * PAGE, PAGE, 0);
	s_fill(&s, edge - 64, 32, 3.0f, 0, NPU_NO_TOKEN);
	s_fill(&s, end - 64, 16, 4.0f, 0, NPU_NO_TOKEN);
	s_end(&s);
	assert_true(q_wait(b, 0, q_submit(b, 0, &s)));
	for (unsigned int i = 0; i < 16; i++) {
		assert_true(((float *)bus(b, pages + PAGE - 64))[i] == 3.0f);
		assert_true(((float *)bus(b, pages + 2 * PAGE))[i] == 3.0f);
		assert_true(((float *)bus(b, pages + 5 * PAGE - 64))[i] == 4.0f);
	}
	s.size = 0;
	s_fill(&s, end - 64, 17, 4.0f, 0, NPU_NO_TOKEN);
	s_end(&s);
	q_submit(b, 0, &s);
	q_expect_fault(b, 0, NPU_FAULT_ADDRESS_SIZE);
	bench_free(b);
}

/* A table that the client rewrites while the device walks: a fault or a value, never worse. */
static bool hostile_stop;

static void *rewrite(void *arg)
{
	struct bench *b = arg;
	uint64_t *pte = bench_pte(b, 0, VA, 3), page = b->data_bus, x = 88172645463325252ull;

	for (unsigned int i = 0; !__atomic_load_n(&hostile_stop, __ATOMIC_RELAXED); i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		__atomic_store_n(pte, i & 1 ? LEAF(page) : x, __ATOMIC_RELAXED);
		if (i % 2 == 0)
			as_cmd(b, 0, NPU_AS_CMD_FLUSH_ALL);
	}
	__atomic_store_n(pte, LEAF(page), __ATOMIC_RELAXED);
	return NULL;
}

static void test_hostile_tables(void **state)
{
	struct bench *b = setup(&async_opt);
	struct stream s = { .size = 0 };
	pthread_t t;
	unsigned int faults = 0;

	(void)state;
	*bench_pte(b, 0, VA, 3) = 0;
	s_load(&s, 1, 8, 0, VA);
	s_end(&s);
	assert_int_equal(pthread_create(&t, NULL, rewrite, b), 0);
	for (unsigned int i = 0; i < 200; i++) {
		if (!q_wait(b, 0, q_submit(b, 0, &s))) {
			faults++;
			restart(b);
		}
	}
	__atomic_store_n(&hostile_stop, true, __ATOMIC_RELAXED);
	pthread_join(t, NULL);
	as_cmd(b, 0, NPU_AS_CMD_FLUSH_ALL);
	assert_true(q_wait(b, 0, q_submit(b, 0, &s)));
	print_message("# %u of 200 jobs faulted\n", faults);
	bench_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fault_codes),
		cmocka_unit_test(test_no_negative_caching),
		cmocka_unit_test(test_read_only),
		cmocka_unit_test(test_exact_address),
		cmocka_unit_test(test_blocks),
		cmocka_unit_test(test_four_levels),
		cmocka_unit_test(test_self_pointing),
		cmocka_unit_test(test_missing_flush),
		cmocka_unit_test(test_walk_cache),
		cmocka_unit_test(test_commands),
		cmocka_unit_test(test_disabled_slot),
		cmocka_unit_test(test_lock_stalls),
		cmocka_unit_test(test_lock_under_traffic),
		cmocka_unit_test(test_lock_with_hung_queue),
		cmocka_unit_test(test_scattered_view),
		cmocka_unit_test(test_large_operand),
		cmocka_unit_test(test_scattered_gather),
		cmocka_unit_test(test_scattered_rows),
		cmocka_unit_test(test_view_limit),
		cmocka_unit_test(test_small_windows),
		cmocka_unit_test(test_segment_end),
		cmocka_unit_test(test_hostile_tables),
	};

	return cmocka_run_group_tests_name("model: address spaces", tests, NULL, NULL);
}
