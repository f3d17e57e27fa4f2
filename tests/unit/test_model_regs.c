// SPDX-License-Identifier: MIT
/* Registers: reset values, access types, misuse; interrupts; clock and power. */
#include <errno.h>
#include <unistd.h>

#include "model_common.h"

static const struct npu_model_options sync_opt = { .size = sizeof(sync_opt), .synchronous = true };

static void test_identity(void **state)
{
	struct bench *b = bench_new(&sync_opt);

	(void)state;
	assert_int_equal(npu_model_mmio_size(b->m), NPU_MMIO_SIZE(8));
	assert_int_equal(rd(b, NPU_ID), NPU_ID_VALUE);
	assert_int_equal(NPU_IMPL_IMPLEMENTER(rd(b, NPU_IMPL)), NPU_IMPLEMENTER_MODEL);
	assert_int_equal(rd(b, NPU_INTF), NPU_INTF_VALUE);
	assert_int_equal(NPU_CAP0_QUEUES(rd(b, NPU_CAP0)), 8);
	assert_int_equal(NPU_CAP0_SLOTS(rd(b, NPU_CAP0)), 16);
	assert_int_equal(NPU_CAP0_VA_BITS(rd(b, NPU_CAP0)), 39);
	assert_int_equal(NPU_CAP0_BUS_BITS(rd(b, NPU_CAP0)), 40);
	assert_int_equal(NPU_CAP1_SCALARS(rd(b, NPU_CAP1)), 32);
	assert_int_equal(NPU_CAP1_TOKENS(rd(b, NPU_CAP1)), 32);
	assert_int_equal(NPU_CAP1_IMAGE_4K(rd(b, NPU_CAP1)), 1);
	assert_int_equal(rd64(b, NPU_CAP_MAX_MACS_LO), 251658240);
	assert_int_equal(rd(b, NPU_CAP_TIMER_HZ), 100000000);
	assert_int_equal(rd(b, NPU_STATUS), NPU_STATUS_READY);
	assert_false(rd(b, NPU_CAP_FEAT_LO) & NPU_FEAT_COHERENT);
	/* Every operation that is announced has an opcode, and MATMUL is. */
	assert_true(rd(b, NPU_CAP_OPS_LO) & 1u << NPU_OP_BIT(NPU_OP_MATMUL));
	assert_true(rd(b, NPU_CAP_TYPES_LO) & 1u << NPU_TYPE_Q4_K);
	bench_free(b);
}

/* No register reads as all ones at reset, and writing garbage everywhere and resetting restores every value. */
static void test_reset_values(void **state)
{
	struct bench *b = bench_new(&sync_opt);
	uint32_t size = 0x20000 + NPU_QUEUE_STRIDE * 2, n = size / 4;
	uint32_t *before = malloc(size);

	(void)state;
	for (uint32_t i = 0; i < n; i++) {
		before[i] = rd(b, i * 4);
		assert_int_not_equal(before[i], UINT32_MAX);
	}
	for (uint32_t i = 0; i < n; i++)
		if (i * 4 != NPU_RESET)
			wr(b, i * 4, 0xa5a5a5a5u ^ i);
	npu_model_step(b->m, 1000);
	npu_model_reset(b->m);
	for (uint32_t i = 0; i < n; i++)
		if (i * 4 != NPU_TIMER_LO && rd(b, i * 4) != before[i])
			fail_msg("register 0x%x: 0x%x, after reset 0x%x", i * 4, before[i], rd(b, i * 4));
	free(before);
	bench_free(b);
}

static void test_access(void **state)
{
	struct bench *b = bench_new(&sync_opt);
	uint64_t size = npu_model_mmio_size(b->m);

	(void)state;
	assert_int_equal(npu_model_read(b->m, 1, 4), 0);
	assert_int_equal(npu_model_read(b->m, 2, 4), 0);
	assert_int_equal(npu_model_read(b->m, 4, 8), 0);
	assert_int_equal(npu_model_read(b->m, 0, 2), 0);
	assert_int_equal(npu_model_read(b->m, size, 4), 0);
	assert_int_equal(npu_model_read(b->m, UINT64_MAX - 3, 4), 0);
	npu_model_write(b->m, size, 1, 4);
	npu_model_write(b->m, NPU_QC(0) + NPU_QC_RING_LO, 0x12345678abcd0040ull, 8);
	assert_int_equal(rd(b, NPU_QC(0) + NPU_QC_RING_HI), 0x12345678);
	assert_int_equal(rd64(b, NPU_QC(0) + NPU_QC_RING_LO), 0x12345678abcd0040ull);
	wr(b, NPU_QC(0) + NPU_QC_RING_HI, 9);
	assert_int_equal(rd64(b, NPU_QC(0) + NPU_QC_RING_LO), 0x9abcd0040ull);
	wr(b, NPU_ID, 0);
	assert_int_equal(rd(b, NPU_ID), NPU_ID_VALUE);
	wr(b, NPU_CNT_COMMANDS_LO, 5);
	assert_int_equal(rd(b, NPU_CNT_COMMANDS_LO), 0);
	wr(b, NPU_POWER, UINT32_MAX);
	assert_int_equal(rd(b, NPU_POWER), 1);
	wr(b, NPU_IRQ_GLOBAL_EN, UINT32_MAX);
	assert_int_equal(rd(b, NPU_IRQ_GLOBAL_EN), 0xf);
	wr(b, NPU_IRQ_DONE_EN, UINT32_MAX);
	assert_int_equal(rd(b, NPU_IRQ_DONE_EN), 0xff);
	wr(b, NPU_QC(0) + NPU_QC_PRIO, UINT32_MAX);
	assert_int_equal(rd(b, NPU_QC(0) + NPU_QC_PRIO), 3 | 0x7f << 8);
	/* The USER frame shows progress and takes doorbells, nothing else. */
	wr(b, NPU_QU(0) + NPU_QU_HEAD, 7);
	assert_int_equal(rd(b, NPU_QU(0) + NPU_QU_HEAD), 0);
	for (uint32_t off = 0x10; off < NPU_FRAME_SIZE; off += 4)
		assert_int_equal(rd(b, NPU_QU(0) + off), 0);
	assert_int_equal(rd(b, NPU_QU(0) + NPU_QU_DOORBELL), 0);
	bench_free(b);
}

/* Configuration is frozen while a queue runs; a write is lost and noted. */
static void test_config_frozen(void **state)
{
	static const uint32_t frozen[] = {
		NPU_QC_MODE, NPU_QC_SLOT, NPU_QC_RING_LO, NPU_QC_RING_HI, NPU_QC_COMP_LO, NPU_QC_COMP_HI,
		NPU_QC_RING_LOG2, NPU_QC_HEAD, NPU_QC_TAIL, NPU_QC_SEQNO_LO, NPU_QC_SEQNO_HI, NPU_QC_ACTIVE_LO,
		NPU_QC_CYCLES_LO, NPU_QC_COMMANDS_LO,
	};
	struct bench *b = bench_new(&sync_opt);

	(void)state;
	bench_queue(b, 0, 0, NPU_QC_MODE_KERNEL);
	for (unsigned int i = 0; i < sizeof(frozen) / sizeof(frozen[0]); i++) {
		uint32_t old = rd(b, NPU_QC(0) + frozen[i]);

		wr(b, NPU_QC(0) + frozen[i], old ^ 1);
		assert_int_equal(rd(b, NPU_QC(0) + frozen[i]), old);
		assert_true(rd(b, NPU_QC(0) + NPU_QC_STATUS) & NPU_QSTATUS_ERR_CONFIG);
		q_cmd(b, 0, NPU_QCMD_RESET);
		assert_false(rd(b, NPU_QC(0) + NPU_QC_STATUS) & NPU_QSTATUS_ERR_CONFIG);
		wr(b, NPU_QC(0) + frozen[i], old ^ 1);
		assert_int_equal(rd(b, NPU_QC(0) + frozen[i]), old ^ 1);
		wr(b, NPU_QC(0) + frozen[i], old);
		assert_int_equal(q_cmd(b, 0, NPU_QCMD_START), NPU_QSTATE_IDLE);
	}
	/* Limits may change at any time. */
	wr(b, NPU_QC(0) + NPU_QC_WATCHDOG_US, 5);
	assert_int_equal(rd(b, NPU_QC(0) + NPU_QC_WATCHDOG_US), 5);
	assert_int_equal(rd(b, NPU_QC(0) + NPU_QC_STATUS), NPU_QSTATE_IDLE);
	bench_free(b);
}

static void expect_no_start(struct bench *b)
{
	assert_int_equal(q_cmd(b, 0, NPU_QCMD_START), NPU_QSTATE_STOPPED | NPU_QSTATUS_ERR_CONFIG);
	q_cmd(b, 0, NPU_QCMD_RESET);
}

static void test_start_checks(void **state)
{
	struct bench *b = bench_new(&sync_opt);

	(void)state;
	bench_config_queue(b, 0, 0, NPU_QC_MODE_KERNEL);
	wr(b, NPU_QC(0) + NPU_QC_MODE, 2);
	expect_no_start(b);
	wr(b, NPU_QC(0) + NPU_QC_MODE, 0);
	wr(b, NPU_QC(0) + NPU_QC_SLOT, 16);
	expect_no_start(b);
	wr(b, NPU_QC(0) + NPU_QC_SLOT, 0);
	wr(b, NPU_QC(0) + NPU_QC_RING_LOG2, 0);
	expect_no_start(b);
	wr(b, NPU_QC(0) + NPU_QC_RING_LOG2, 13);
	expect_no_start(b);
	wr(b, NPU_QC(0) + NPU_QC_RING_LOG2, 12);
	wr(b, NPU_QC(0) + NPU_QC_RING_LO, (uint32_t)b->ring[0] + 32);
	expect_no_start(b);
	wr(b, NPU_QC(0) + NPU_QC_RING_LO, (uint32_t)b->ring[0]);
	wr(b, NPU_IRQ_EVENT, UINT32_MAX);
	assert_int_equal(q_cmd(b, 0, NPU_QCMD_START), NPU_QSTATE_IDLE);
	assert_int_equal(rd(b, NPU_IRQ_EVENT), 1);
	assert_true(q_cmd(b, 0, NPU_QCMD_START) & NPU_QSTATUS_ERR_CONFIG);
	assert_true(q_cmd(b, 0, 77) & NPU_QSTATUS_ERR_CONFIG);
	assert_int_equal(q_cmd(b, 0, NPU_QCMD_RESET), NPU_QSTATE_STOPPED);
	assert_true(q_cmd(b, 0, NPU_QCMD_SUSPEND) & NPU_QSTATUS_ERR_CONFIG);
	bench_free(b);
}

/* The line is status & enable; clearing takes exactly the bits written. */
static void test_irq(void **state)
{
	struct bench *b = bench_new(&sync_opt);

	(void)state;
	bench_config_queue(b, 0, 0, 0);
	bench_config_queue(b, 1, 0, 0);
	wr(b, NPU_IRQ_EVENT, UINT32_MAX);
	q_cmd(b, 0, NPU_QCMD_START);
	assert_int_equal(rd(b, NPU_IRQ_EVENT), 1);
	assert_false(b->level);
	wr(b, NPU_IRQ_EVENT_EN, 2);
	assert_false(b->level);
	wr(b, NPU_IRQ_EVENT_EN, 1);
	assert_true(b->level);
	assert_int_equal(rd(b, NPU_IRQ_SUMMARY), NPU_IRQ_SUM_EVENT);
	q_cmd(b, 1, NPU_QCMD_START);
	wr(b, NPU_IRQ_EVENT, 1);
	assert_false(b->level);
	assert_int_equal(rd(b, NPU_IRQ_EVENT), 2);
	wr(b, NPU_IRQ_EVENT_EN, 3);
	assert_true(b->level);
	wr(b, NPU_IRQ_EVENT_EN, 0);
	assert_false(b->level);
	wr(b, NPU_IRQ_EVENT_EN, 2);
	assert_int_equal(b->rises, 3);
	wr(b, NPU_IRQ_EVENT, 0);
	assert_true(b->level);
	bench_free(b);
}

static void test_device_reset(void **state)
{
	struct bench *b = bench_new(&sync_opt);
	struct stream s = { .size = 0 };
	uint32_t top;

	(void)state;
	top = s_op(&s, NPU_CMD_NOP);
	s_branch(&s, NPU_COND_ALWAYS, 0, 0, 0, top);
	bench_queue(b, 0, 0, 0);
	wr(b, NPU_IRQ_GLOBAL_EN, NPU_IRQ_G_RESET_DONE);
	q_submit(b, 0, &s);
	assert_int_equal(npu_model_step(b->m, 10), 10);
	wr(b, NPU_RESET, 1);
	assert_int_equal(q_state(b, 0), NPU_QSTATE_RUNNING);
	wr(b, NPU_RESET, NPU_RESET_KEY);
	assert_int_equal(rd(b, NPU_STATUS), NPU_STATUS_READY);
	assert_int_equal(rd(b, NPU_IRQ_GLOBAL), NPU_IRQ_G_RESET_DONE);
	assert_int_equal(rd(b, NPU_IRQ_GLOBAL_EN), 0);
	assert_false(b->level);
	assert_int_equal(q_state(b, 0), NPU_QSTATE_STOPPED);
	assert_int_equal(rd64(b, NPU_QC(0) + NPU_QC_RING_LO), 0);
	assert_int_equal(rd64(b, NPU_CNT_COMMANDS_LO), 0);
	assert_int_equal(rd(b, NPU_MMU_BASE + NPU_AS(0) + NPU_AS_STATUS), 0);
	assert_int_equal(npu_model_step(b->m, 10), 0);
	bench_free(b);
}

static void test_clock_and_power(void **state)
{
	struct bench *b = bench_new(&sync_opt);
	struct stream s = { .size = 0 };

	(void)state;
	bench_queue(b, 0, 0, 0);
	for (unsigned int i = 0; i < 10; i++)
		s_op(&s, NPU_CMD_NOP);
	s_end(&s);
	q_submit(b, 0, &s);
	assert_int_equal(npu_model_step(b->m, 4), 4);
	npu_model_set_clock(b->m, false);
	assert_int_equal(rd(b, NPU_ID), UINT32_MAX);
	assert_int_equal(rd64(b, NPU_TIMER_LO), UINT64_MAX);
	wr(b, NPU_RESET, NPU_RESET_KEY);
	assert_int_equal(npu_model_step(b->m, 10), 0);
	assert_int_equal(npu_model_stat(b->m, NPU_MODEL_STAT_BAD_ACCESS), 3);
	npu_model_set_clock(b->m, true);
	assert_int_equal(rd(b, NPU_ID), NPU_ID_VALUE);
	assert_true(rd(b, NPU_IRQ_GLOBAL) & NPU_IRQ_G_POWER);
	assert_true(q_wait(b, 0, 1));
	npu_model_set_power(b->m, false);
	assert_int_equal(rd(b, NPU_ID), UINT32_MAX);
	npu_model_set_power(b->m, true);
	assert_int_equal(rd(b, NPU_ID), NPU_ID_VALUE);
	assert_int_equal(q_state(b, 0), NPU_QSTATE_STOPPED);
	assert_int_equal(rd64(b, NPU_QC(0) + NPU_QC_RING_LO), 0);
	bench_free(b);
}

static void expect_bad_config(const char *text, const char *message)
{
	struct npu_model_options o = { .size = sizeof(o), .config = "/tmp/npu-no-such-file" };
	struct npu_model_bus bus = { 0 };
	char path[] = "/tmp/npu-conf-XXXXXX", err[200];
	struct npu_model *m;
	int fd = mkstemp(path);

	bus.window = (void *)expect_bad_config;	/* never called */
	bus.irq = (void *)expect_bad_config;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	o.config = path;
	assert_true(npu_model_create(&bus, NULL, &o, &m, err, sizeof(err)) < 0);
	assert_null(m);
	if (!strstr(err, message))
		fail_msg("\"%s\" instead of \"%s\"", err, message);
	unlink(path);
}

static void test_config_errors(void **state)
{
	struct npu_model *m;
	char err[200];
	struct npu_model_bus bus = { 0 };

	(void)state;
	assert_int_equal(npu_model_create(&bus, NULL, NULL, &m, err, sizeof(err)), -EINVAL);
	expect_bad_config("queues 8\nbogus 1\n", ":2: unknown key \"bogus\"");
	expect_bad_config("queues 3\n", ":1: queues must be a number from 4 to 32, not \"3\"");
	expect_bad_config("queues -8\n", "must be a number");
	expect_bad_config("queues\n", ":1: expected \"key value\"");
	expect_bad_config("queues 8 9\n", ":1: expected \"key value\"");
	expect_bad_config("queues 8\nqueues 8\n", ":2: queues is given twice");
	expect_bad_config("# nothing\n", "name is missing");
}

/* The largest that the map allows: the last queue on the last slot, beside the first on the first. */
static void test_largest(void **state)
{
	static const char text[] =
		"name largest\nproduct 7\nqueues 32\nslots 64\nva_bits 48\nbus_bits 48\nring_log2 16\n"
		"core_khz 800000\ntimer_hz 24000000\nmax_stream 65536\nmax_macs 1048576\nmax_bytes 65536\n"
		"macs_i8 64\nmacs_f16 32\nmacs_f32 16\nlanes 16\ncopy_bytes 16\nsram_kb 64\nsram_bytes 64\n"
		"sram_reuse 8\ndram_mbps 8000\ndram_latency_ns 100\ncommand_cycles 10\ncontrol_cycles 2\n";
	struct bench *b = bench_new_config(&sync_opt, text);
	struct stream s = { .size = 0 };

	(void)state;
	assert_int_equal(npu_model_mmio_size(b->m), NPU_MMIO_MAX_SIZE);
	wr(b, NPU_IRQ_DONE_EN, UINT32_MAX);
	assert_int_equal(rd(b, NPU_IRQ_DONE_EN), UINT32_MAX);
	bench_queue(b, 0, 0, 0);
	bench_slot(b, 63, 48);
	bench_queue(b, 31, 63, NPU_QC_MODE_USER);
	s_fill(&s, VA_DATA, 4, 6.0f, 0, NPU_NO_TOKEN);
	s_end(&s);
	assert_true(q_wait(b, 31, q_submit(b, 31, &s)));
	assert_int_equal(rd(b, NPU_IRQ_DONE), 1u << 31);
	assert_true(b->level);
	assert_true(*(float *)bus(b, b->data_bus) == 6.0f);
	assert_true(q_wait(b, 0, q_submit(b, 0, &s)));
	assert_int_equal(rd(b, NPU_IRQ_DONE), 1u << 31 | 1);
	bench_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_identity),      cmocka_unit_test(test_reset_values),
		cmocka_unit_test(test_access),	      cmocka_unit_test(test_config_frozen),
		cmocka_unit_test(test_start_checks),  cmocka_unit_test(test_irq),
		cmocka_unit_test(test_device_reset),  cmocka_unit_test(test_clock_and_power),
		cmocka_unit_test(test_config_errors), cmocka_unit_test(test_largest),
	};

	return cmocka_run_group_tests_name("model: registers", tests, NULL, NULL);
}
