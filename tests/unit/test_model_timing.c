// SPDX-License-Identifier: MIT
/*
 * The timing model: the cases that counters-and-timing.rst computes by
 * hand, counters, determinism, and the hazard checker.
 */
#include "model_common.h"

static const struct npu_model_options sync_opt = { .size = sizeof(sync_opt), .synchronous = true,
						   .check_hazards = true };

static struct bench *setup(void)
{
	struct bench *b = bench_new(&sync_opt);

	bench_queue(b, 0, 0, NPU_QC_MODE_KERNEL);
	/* 16 MiB at VA 0x100000000 for large operands. */
	bench_map(b, 0, 0x100000000ull, bench_pages(b, 4096), 4096 * PAGE, 0);
	return b;
}

#define BIG 0x100000000ull

/* Runs @s alone; core cycles that the job was active. */
static uint64_t cycles_of(struct bench *b, struct stream *s)
{
	uint64_t before = rd64(b, NPU_QC(0) + NPU_QC_CYCLES_LO);

	assert_true(q_wait(b, 0, q_submit(b, 0, s)));
	s->size = 0;
	return rd64(b, NPU_QC(0) + NPU_QC_CYCLES_LO) - before;
}

static void expect_cycles(uint64_t got, uint64_t hand)
{
	print_message("# %llu cycles, by hand %llu\n", (unsigned long long)got, (unsigned long long)hand);
	assert_in_range(got, hand - hand / 20, hand + hand / 20);
}

/* Of the tensors of the commands below. */
static uint8_t dst_hint, src_hint;

static uint32_t s_matmul(struct stream *s, uint8_t wtype, uint32_t m, uint32_t n, uint32_t k, uint64_t row, uint64_t dst,
			 uint32_t wait, uint8_t signal)
{
	struct npu_cmd_matmul c = { .cmd = cmd(NPU_OP_MATMUL), .dst = f32(dst, n, m), .x = f32(BIG, k, m),
				    .w = f32(BIG + (1 << 20), k, n) };

	c.w.type = wtype;
	c.w.nb[0] = wtype == NPU_TYPE_F16 ? 2 : 34;
	c.w.nb[1] = row;
	c.w.nb[2] = c.w.nb[3] = row * n;
	c.dst.hint = dst_hint;
	c.cmd.wait = wait;
	c.cmd.signal = signal;
	return s_put(s, &c, sizeof(c), NULL, 0);
}

static uint32_t s_copy(struct stream *s, uint64_t dst, uint64_t src, uint32_t n, uint32_t wait, uint8_t signal)
{
	struct npu_cmd_map c = { .cmd = cmd(NPU_OP_COPY), .dst = f32(dst, n, 1), .src = f32(src, n, 1) };

	c.src.hint = src_hint;
	c.cmd.wait = wait;
	c.cmd.signal = signal;
	return s_put(s, &c, sizeof(c), NULL, 0);
}

/* 1: control packets only. */
static void test_case_control(void **state)
{
	struct bench *b = setup();
	struct stream s = { .size = 0 };
	uint32_t top;

	(void)state;
	s_set(&s, 1, 1000);
	top = s_alu(&s, NPU_ALU_ADD, 2, 2, NPU_NO_REG, 1);
	s_loop(&s, 1, top);
	s_load(&s, 3, 8, 0, VA_DATA);
	s_end(&s);
	expect_cycles(cycles_of(b, &s), 16144);
	bench_free(b);
}

/* 2: a copy, bound by memory. */
static void test_case_copy(void **state)
{
	struct bench *b = setup();
	struct stream s = { .size = 0 };

	(void)state;
	s_copy(&s, BIG + (4 << 20), BIG, 262144, 0, NPU_NO_TOKEN);
	s_end(&s);
	expect_cycles(cycles_of(b, &s), 123562);
	assert_int_equal(rd64(b, NPU_CNT_READ_LO), 1048576);
	assert_int_equal(rd64(b, NPU_CNT_WRITE_LO), 1048576);
	assert_int_equal(rd64(b, NPU_CNT_ENGINE_LO(NPU_ENGINE_COPY)), 123546);
	bench_free(b);
}

/* 3: Q8_0 weights times one row, bound by memory. */
static void test_case_gemv(void **state)
{
	struct bench *b = setup();
	struct stream s = { .size = 0 };

	(void)state;
	s_matmul(&s, NPU_TYPE_Q8_0, 1, 1024, 1024, 1088, BIG + (8 << 20), 0, NPU_NO_TOKEN);
	s_end(&s);
	expect_cycles(cycles_of(b, &s), 66218);
	assert_int_equal(rd64(b, NPU_CNT_MACS_LO), 1048576);
	bench_free(b);
}

/* 4: F16 weights times 128 rows, bound by the MAC array. */
static void test_case_gemm(void **state)
{
	struct bench *b = setup();
	struct stream s = { .size = 0 };

	(void)state;
	s_matmul(&s, NPU_TYPE_F16, 128, 1024, 1024, 2048, BIG + (8 << 20), 0, NPU_NO_TOKEN);
	s_end(&s);
	expect_cycles(cycles_of(b, &s), 262344);
	bench_free(b);
}

/* 5: the same, and a copy beside it that needs no token: hidden behind the matmul. */
static void test_case_overlap(void **state)
{
	struct bench *b = setup();
	struct stream s = { .size = 0 };

	(void)state;
	s_matmul(&s, NPU_TYPE_F16, 128, 1024, 1024, 2048, BIG + (8 << 20), 0, 1);
	s_copy(&s, BIG + (12 << 20), BIG + (10 << 20), 65536, 0, 2);
	s_end(&s);
	expect_cycles(cycles_of(b, &s), 262344);
	assert_int_equal(npu_model_stat(b->m, NPU_MODEL_STAT_HAZARDS), 0);
	bench_free(b);
}

/* 6: a copy of the matmul's result, ordered by a token: one after the other. */
static void test_case_dependent(void **state)
{
	struct bench *b = setup();
	struct stream s = { .size = 0 };

	(void)state;
	s_matmul(&s, NPU_TYPE_F16, 128, 1024, 1024, 2048, BIG + (8 << 20), 0, 1);
	s_copy(&s, BIG + (12 << 20), BIG + (8 << 20), 131072, 1u << 1, NPU_NO_TOKEN);
	s_end(&s);
	expect_cycles(cycles_of(b, &s), 324217);
	assert_int_equal(npu_model_stat(b->m, NPU_MODEL_STAT_HAZARDS), 0);
	bench_free(b);
}

static uint64_t written(struct bench *b)
{
	return rd64(b, NPU_CNT_WRITE_LO);
}

/* 7: the result stays on chip, so that the copy reads nothing; it is dropped, or written back at the end. */
static void test_case_kept(void **state)
{
	struct bench *b = setup();
	struct stream s = { .size = 0 };
	uint64_t before;

	(void)state;
	for (unsigned int drop = 0; drop < 2; drop++) {
		before = written(b);
		dst_hint = NPU_HINT_KEEP | NPU_HINT_LOCAL;
		src_hint = drop ? NPU_HINT_DROP : NPU_HINT_KEEP;
		s_matmul(&s, NPU_TYPE_F16, 128, 1024, 1024, 2048, BIG + (8 << 20), 0, 1);
		s_copy(&s, BIG + (12 << 20), BIG + (8 << 20), 131072, 1u << 1, NPU_NO_TOKEN);
		s_end(&s);
		expect_cycles(cycles_of(b, &s), drop ? 293377 : 324218);
		assert_int_equal(written(b) - before, drop ? 524288 : 1048576);
	}
	dst_hint = src_hint = 0;
	bench_free(b);
}

/* What does not fit goes, oldest first; what another command overwrites or reads is not lost. */
static void test_room(void **state)
{
	struct bench *b = setup();
	struct stream s = { .size = 0 };
	uint64_t before = written(b), reads = rd64(b, NPU_CNT_READ_LO);

	(void)state;
	dst_hint = NPU_HINT_KEEP | NPU_HINT_LOCAL;
	/* 512 KiB each, of 896 KiB: the second makes the first one leave. */
	s_matmul(&s, NPU_TYPE_F16, 128, 1024, 32, 64, BIG + (8 << 20), 0, 1);
	s_matmul(&s, NPU_TYPE_F16, 128, 1024, 32, 64, BIG + (9 << 20), 0, 1);
	/* More than there is: written at once. */
	s_matmul(&s, NPU_TYPE_F16, 256, 1024, 32, 64, BIG + (10 << 20), 0, 1);
	dst_hint = 0;
	/* Half of the second is overwritten without a hint; the copy reads all of it from memory. */
	s_copy(&s, BIG + (9 << 20), BIG + (12 << 20), 65536, 1u << 1, 2);
	s_copy(&s, BIG + (13 << 20), BIG + (9 << 20), 131072, 1u << 2, NPU_NO_TOKEN);
	s_end(&s);
	cycles_of(b, &s);
	assert_int_equal(written(b) - before, (512 + 512 + 1024 + 256 + 512) << 10);
	assert_int_equal(rd64(b, NPU_CNT_READ_LO) - reads, 3 * 65536 + (2 * 128 + 256) * 32 * 4 + ((256 + 512) << 10));
	bench_free(b);
}

/* The same numbers every time, counters included. */
static void test_deterministic(void **state)
{
	uint64_t first[12] = { 0 };

	(void)state;
	for (unsigned int run = 0; run < 3; run++) {
		struct bench *b = setup();
		struct stream s = { .size = 0 };

		bench_queue(b, 1, 0, 0);
		s_matmul(&s, NPU_TYPE_Q8_0, 4, 64, 1024, 1088, BIG + (8 << 20), 0, 1);
		s_inc(&s, VA_DATA, VA_DATA, 5000, 0, 2);
		s_copy(&s, VA_DATA + 65536, VA_DATA, 5000, 1u << 2, NPU_NO_TOKEN);
		s_end(&s);
		for (unsigned int i = 0; i < 10; i++) {
			q_submit(b, 0, &s);
			q_submit(b, 1, &s);
		}
		assert_true(q_wait(b, 0, 19));
		assert_true(q_wait(b, 1, 20));
		for (unsigned int i = 0; i < 12; i++) {
			uint64_t v = rd64(b, NPU_CNT_CYCLES_LO + 8 * i);

			if (!run)
				first[i] = v;
			assert_int_equal(v, first[i]);
		}
		assert_true(rd64(b, NPU_TIMER_LO) > 0);
		bench_free(b);
	}
}

/* Any command that the bounds allow ends within 1 ms at the nominal clock. */
static void test_bounds(void **state)
{
	static const char *const names[] = { "small", "large" };

	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		struct npu_model_options o = { .size = sizeof(o), .synchronous = true, .config = names[i] };
		struct bench *b = bench_new(&o);
		uint64_t khz = rd(b, NPU_CAP_CORE_KHZ), slowest = rd(b, NPU_CAP_MACS_F16) >> 16;
		uint64_t macs = rd64(b, NPU_CAP_MAX_MACS_LO), bytes = rd64(b, NPU_CAP_MAX_BYTES_LO);

		if (slowest > (rd(b, NPU_CAP_MACS_F16) & 0xffff))
			slowest = rd(b, NPU_CAP_MACS_F16) & 0xffff;
		print_message("# %s: %llu us by MACs, %llu us by bytes\n", names[i],
			      (unsigned long long)(macs * 1000 / slowest / khz),
			      (unsigned long long)(bytes / rd(b, NPU_CAP_DRAM_MBPS)));
		assert_true(macs * 1000 / slowest / khz <= 1000);
		assert_true(bytes / rd(b, NPU_CAP_DRAM_MBPS) <= 1000);
		bench_free(b);
	}
}

static void test_above_bound(void **state)
{
	struct bench *b = setup();
	struct stream s = { .size = 0 };

	(void)state;
	s_fill(&s, BIG, 4194305, 0.0f, 0, NPU_NO_TOKEN);
	s_end(&s);
	q_submit(b, 0, &s);
	q_expect_fault(b, 0, NPU_FAULT_BOUND);
	bench_free(b);
}

/* ---- Hazards ------------------------------------------------------------------------- */

static uint64_t hazards(struct bench *b, struct stream *s)
{
	uint64_t before = npu_model_stat(b->m, NPU_MODEL_STAT_HAZARDS);

	s_end(s);
	cycles_of(b, s);
	return npu_model_stat(b->m, NPU_MODEL_STAT_HAZARDS) - before;
}

static uint32_t s_rows(struct stream *s, uint64_t dst, uint64_t src, uint32_t n, uint32_t rows, uint64_t stride)
{
	struct npu_cmd_map c = { .cmd = cmd(NPU_OP_COPY), .dst = f32(dst, n, rows), .src = f32(src, n, rows) };

	c.dst.nb[1] = stride;
	c.dst.nb[2] = c.dst.nb[3] = stride * rows;
	return s_put(s, &c, sizeof(c), NULL, 0);
}

static void test_hazards(void **state)
{
	struct bench *b = setup();
	struct stream s = { .size = 0 };

	(void)state;
	/* Read after write, write after read, write after write: without a token, and with one. */
	s_inc(&s, VA_DATA, VA_DATA + 65536, 1000, 0, 1);
	s_copy(&s, VA_DATA + 131072, VA_DATA, 1000, 0, NPU_NO_TOKEN);
	assert_int_equal(hazards(b, &s), 1);
	assert_non_null(strstr(b->log, "a scoreboard token is missing"));
	s_inc(&s, VA_DATA, VA_DATA + 65536, 1000, 0, 1);
	s_copy(&s, VA_DATA + 131072, VA_DATA, 1000, 1u << 1, NPU_NO_TOKEN);
	assert_int_equal(hazards(b, &s), 0);
	s_inc(&s, VA_DATA, VA_DATA + 65536, 1000, 0, 1);
	s_fill(&s, VA_DATA + 65536 + 3996, 10, 0.0f, 0, NPU_NO_TOKEN);
	assert_int_equal(hazards(b, &s), 1);
	s_inc(&s, VA_DATA, VA_DATA + 65536, 1000, 0, 1);
	s_fill(&s, VA_DATA + 65536 + 4000, 10, 0.0f, 0, NPU_NO_TOKEN);
	assert_int_equal(hazards(b, &s), 0);
	s_inc(&s, VA_DATA, VA_DATA + 65536, 1000, 0, 1);
	s_load(&s, 1, 4, 0, VA_DATA + 400);
	assert_int_equal(hazards(b, &s), 1);
	/* One engine is always in order. */
	s_inc(&s, VA_DATA, VA_DATA, 1000, 0, 1);
	s_inc(&s, VA_DATA, VA_DATA, 1000, 0, 1);
	assert_int_equal(hazards(b, &s), 0);
	/* A command that does nothing stands in that order, too. */
	s_inc(&s, VA_DATA, VA_DATA + 65536, 1000, 0, NPU_NO_TOKEN);
	s_inc(&s, VA_DATA, VA_DATA, 0, 0, 1);
	s_copy(&s, VA_DATA + 131072, VA_DATA, 1000, 1u << 1, NPU_NO_TOKEN);
	assert_int_equal(hazards(b, &s), 0);
	/* Interleaved rows: only their holes are shared. */
	s_inc(&s, VA_DATA + 256, VA_DATA + 256, 64, 0, 1);
	s_rows(&s, VA_DATA, VA_DATA + 131072, 64, 8, 512);
	assert_int_equal(hazards(b, &s), 0);
	s_inc(&s, VA_DATA + 252, VA_DATA + 252, 65, 0, 1);
	s_rows(&s, VA_DATA, VA_DATA + 131072, 64, 8, 512);
	assert_int_equal(hazards(b, &s), 1);
	bench_free(b);
}

/* ---- Faults ---------------------------------------------------------------------------- */

static void restart(struct bench *b, unsigned int q)
{
	q_cmd(b, q, NPU_QCMD_RESET);
	wr(b, NPU_QC(q) + NPU_QC_HEAD, b->tail[q]);
	q_cmd(b, q, NPU_QCMD_START);
}

/* What a faulted job left on an engine has ended when the queue's next job starts: it meets no later command. */
static void test_dropped_job(void **state)
{
	struct bench *b = setup();
	struct stream s = { .size = 0 };
	uint64_t before;

	(void)state;
	s_inc(&s, VA_DATA, VA_DATA, 65536, 0, NPU_NO_TOKEN);	/* 31 us */
	s_op(&s, 0x0e);
	q_submit(b, 0, &s);
	q_expect_fault(b, 0, NPU_FAULT_OPCODE_ILLEGAL);
	before = npu_model_stat(b->m, NPU_MODEL_STAT_DEVICE_NS);
	assert_true(before < 10000);
	restart(b, 0);
	s.size = 0;
	s_fill(&s, VA_DATA, 65536, 0.0f, 0, NPU_NO_TOKEN);
	assert_int_equal(hazards(b, &s), 0);
	assert_true(npu_model_stat(b->m, NPU_MODEL_STAT_DEVICE_NS) > 31000);

	/* The next job's budget is its own. */
	wr(b, NPU_QC(0) + NPU_QC_BUDGET_US, 20);
	for (unsigned int i = 0; i < 2; i++) {
		s.size = 0;
		s_inc(&s, VA_DATA, VA_DATA, 65536, 0, NPU_NO_TOKEN);
		s_op(&s, 0x0e);
		q_submit(b, 0, &s);
		q_expect_fault(b, 0, NPU_FAULT_OPCODE_ILLEGAL);
		restart(b, 0);
	}
	s.size = 0;
	s_inc(&s, VA_DATA, VA_DATA, 1000, 0, NPU_NO_TOKEN);
	assert_int_equal(hazards(b, &s), 0);
	bench_free(b);
}

/* A command that its watchdog stopped holds its engine no longer. */
static void test_watchdog_frees(void **state)
{
	struct bench *b = setup();
	struct stream s = { .size = 0 };
	uint64_t cycles = 10ull * rd(b, NPU_CAP_CORE_KHZ) / 1000;

	(void)state;
	bench_queue(b, 1, 0, NPU_QC_MODE_KERNEL);
	wr(b, NPU_QC(0) + NPU_QC_WATCHDOG_US, 10);
	s_inc(&s, VA_DATA, VA_DATA, 65536, 0, NPU_NO_TOKEN);
	s_end(&s);
	q_submit(b, 0, &s);
	q_expect_fault(b, 0, NPU_FAULT_WATCHDOG);
	assert_int_equal(rd64(b, NPU_CNT_ENGINE_LO(NPU_ENGINE_VECTOR)), cycles);
	s.size = 0;
	s_inc(&s, VA_DATA, VA_DATA, 1000, 0, NPU_NO_TOKEN);
	s_end(&s);
	assert_true(q_wait(b, 1, q_submit(b, 1, &s)));
	assert_in_range(npu_model_stat(b->m, NPU_MODEL_STAT_DEVICE_NS), 10000, 12000);
	bench_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_case_control),  cmocka_unit_test(test_case_copy),
		cmocka_unit_test(test_case_gemv),     cmocka_unit_test(test_case_gemm),
		cmocka_unit_test(test_case_overlap),  cmocka_unit_test(test_case_dependent),
		cmocka_unit_test(test_case_kept),
		cmocka_unit_test(test_room),
		cmocka_unit_test(test_deterministic), cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_above_bound),   cmocka_unit_test(test_hazards),
		cmocka_unit_test(test_dropped_job),   cmocka_unit_test(test_watchdog_frees),
	};

	return cmocka_run_group_tests_name("model: timing", tests, NULL, NULL);
}
