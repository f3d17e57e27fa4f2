// SPDX-License-Identifier: MIT
/* Every fault that can be injected, and the way out of it. */
#include <errno.h>
#include <sched.h>
#include <time.h>

#include "model_common.h"

static const struct npu_model_options sync_opt = { .size = sizeof(sync_opt), .synchronous = true };
static const struct npu_model_options async_opt = { .size = sizeof(async_opt), .threads = 2 };

static void work(struct stream *s, unsigned int n)
{
	s->size = 0;
	while (n--)
		s_inc(s, VA_DATA, VA_DATA, 100, 0, NPU_NO_TOKEN);
	s_end(s);
}

static void inject(struct bench *b, enum npu_model_fault fault, int queue, uint32_t after, uint32_t times, uint64_t arg)
{
	struct npu_model_injection inj = { .fault = fault, .queue = queue, .after = after, .times = times, .arg = arg };

	assert_int_equal(npu_model_inject(b->m, &inj), 0);
}

static struct bench *setup(const struct npu_model_options *opt)
{
	struct bench *b = bench_new(opt);

	bench_queue(b, 0, 0, 0);
	bench_queue(b, 1, 0, 0);
	wr(b, NPU_IRQ_EVENT, UINT32_MAX);
	wr(b, NPU_IRQ_GLOBAL, UINT32_MAX);
	return b;
}

static void restart(struct bench *b, unsigned int q)
{
	assert_int_equal(q_cmd(b, q, NPU_QCMD_RESET), NPU_QSTATE_STOPPED);
	wr(b, NPU_QC(q) + NPU_QC_HEAD, b->tail[q]);
	wr(b, NPU_IRQ_FAULT, UINT32_MAX);
	assert_int_equal(q_cmd(b, q, NPU_QCMD_START), NPU_QSTATE_IDLE);
}

static void test_names(void **state)
{
	(void)state;
	for (int i = 0; i < NPU_INJECT_COUNT; i++)
		assert_int_equal(npu_model_fault_parse(npu_model_fault_name((enum npu_model_fault)i)), i);
	assert_null(npu_model_fault_name(NPU_INJECT_COUNT));
	assert_int_equal(npu_model_fault_parse("no such"), -EINVAL);
	assert_int_equal(npu_model_fault_parse(NULL), -EINVAL);
}

/* A hang holds its engine and queue; other engines go on; RESET frees the engine. */
static void test_hang(void **state)
{
	struct bench *b = setup(&sync_opt);
	struct stream s, copy = { .size = 0 };
	uint64_t vector, other;

	(void)state;
	work(&s, 3);
	s_fill(&copy, VA_DATA + 8192, 100, 1.0f, 0, NPU_NO_TOKEN);
	s_end(&copy);
	inject(b, NPU_INJECT_HANG, 0, 1, 1, 0);
	q_submit(b, 0, &s);
	npu_model_step(b->m, 100);
	assert_int_equal(q_state(b, 0), NPU_QSTATE_RUNNING);
	assert_true(rd(b, NPU_STATUS) & NPU_STATUS_BUSY);
	assert_int_equal(rd64(b, NPU_QC(0) + NPU_QC_COMMANDS_LO), 1);
	other = q_push(b, 1, &copy, VA_STREAM + 8192, 0);
	q_ring(b, 1);
	assert_true(q_wait(b, 1, other));
	vector = q_push(b, 1, &s, VA_STREAM, 0);
	q_ring(b, 1);
	npu_model_step(b->m, 100);
	assert_int_equal(q_state(b, 1), NPU_QSTATE_PREEMPTED);
	restart(b, 0);
	assert_true(q_wait(b, 1, vector));
	bench_free(b);
}

static void test_hang_watchdog(void **state)
{
	struct bench *b = setup(&sync_opt);
	struct stream s;

	(void)state;
	work(&s, 3);
	wr(b, NPU_QC(0) + NPU_QC_WATCHDOG_US, 500);
	inject(b, NPU_INJECT_HANG, -1, 2, 1, 0);
	q_submit(b, 0, &s);
	q_expect_fault(b, 0, NPU_FAULT_WATCHDOG);
	assert_int_equal(NPU_FAULT_ENGINE(rd(b, NPU_QC(0) + NPU_QC_FAULT)), NPU_ENGINE_VECTOR);
	assert_int_equal(NPU_FAULT_OPCODE(rd(b, NPU_QC(0) + NPU_QC_FAULT)), NPU_OP_UNARY);
	assert_int_equal(rd(b, NPU_QC(0) + NPU_QC_FAULT_TAG), 320);
	assert_in_range(rd64(b, NPU_QC(0) + NPU_QC_ACTIVE_LO), 500000, 501000);
	assert_false(rd(b, NPU_STATUS) & NPU_STATUS_BUSY);
	restart(b, 0);
	/* The job's budget ends a hang, too. */
	wr(b, NPU_QC(0) + NPU_QC_WATCHDOG_US, 0);
	wr(b, NPU_QC(0) + NPU_QC_BUDGET_US, 300);
	inject(b, NPU_INJECT_HANG, 0, 0, 1, 0);
	q_submit(b, 0, &s);
	q_expect_fault(b, 0, NPU_FAULT_BUDGET);
	/* A SUSPEND waits for a boundary that does not come; RESET overtakes it. */
	restart(b, 0);
	wr(b, NPU_QC(0) + NPU_QC_BUDGET_US, 0);
	inject(b, NPU_INJECT_HANG, 0, 0, 1, 0);
	q_submit(b, 0, &s);
	npu_model_step(b->m, 10);
	wr(b, NPU_QC(0) + NPU_QC_CMD, NPU_QCMD_SUSPEND);
	npu_model_step(b->m, 10);
	assert_true(rd(b, NPU_QC(0) + NPU_QC_STATUS) & NPU_QSTATUS_BUSY);
	restart(b, 0);
	/* Clearing the injection lets the command go on. */
	inject(b, NPU_INJECT_HANG, 0, 0, 1, 0);
	q_submit(b, 0, &s);
	npu_model_step(b->m, 10);
	npu_model_inject_clear(b->m);
	assert_true(q_wait(b, 0, b->seqno));
	bench_free(b);
}

static void test_hang_async(void **state)
{
	struct bench *b = setup(&async_opt);
	struct stream s;
	uint64_t other;

	(void)state;
	work(&s, 3);
	wr(b, NPU_QC(0) + NPU_QC_WATCHDOG_US, 20000);
	inject(b, NPU_INJECT_HANG, 0, 1, 1, 0);
	q_submit(b, 0, &s);
	q_expect_fault(b, 0, NPU_FAULT_WATCHDOG);
	other = q_push(b, 1, &s, VA_STREAM, 0);
	q_ring(b, 1);
	assert_true(q_wait(b, 1, other));
	restart(b, 0);
	assert_true(q_wait(b, 0, q_submit(b, 0, &s)));
	bench_free(b);
}

static void test_access_faults(void **state)
{
	struct bench *b = setup(&sync_opt);
	struct stream s = { .size = 0 };

	(void)state;
	s_op(&s, NPU_CMD_NOP);
	s_inc(&s, VA_DATA, VA_DATA + 4096, 100, 0, NPU_NO_TOKEN);
	s_load(&s, 1, 4, 0, VA_DATA);
	s_end(&s);
	inject(b, NPU_INJECT_PAGE_FAULT, 0, 0, 1, 0);
	q_submit(b, 0, &s);
	q_expect_fault(b, 0, NPU_FAULT_TRANSLATION);
	assert_int_equal(NPU_FAULT_OPCODE(rd(b, NPU_QC(0) + NPU_QC_FAULT)), NPU_OP_UNARY);
	assert_int_equal(rd64(b, NPU_QC(0) + NPU_QC_FAULT_ADDR_LO) & ~4096ull, VA_DATA);
	restart(b, 0);
	inject(b, NPU_INJECT_ECC, 0, 1, 1, 0);
	q_submit(b, 0, &s);
	q_expect_fault(b, 0, NPU_FAULT_ECC);
	assert_int_equal(NPU_FAULT_OPCODE(rd(b, NPU_QC(0) + NPU_QC_FAULT)), NPU_CMD_LOAD);
	restart(b, 0);
	assert_true(q_wait(b, 0, q_submit(b, 0, &s)));
	assert_int_equal(npu_model_stat(b->m, NPU_MODEL_STAT_INJECTED), 2);
	bench_free(b);
}

static void test_descriptor(void **state)
{
	struct bench *b = setup(&sync_opt);
	struct stream s;

	(void)state;
	work(&s, 1);
	inject(b, NPU_INJECT_DESCRIPTOR, 0, 1, 1, 0);
	assert_true(q_wait(b, 0, q_submit(b, 0, &s)));
	q_submit(b, 0, &s);
	q_expect_fault(b, 0, NPU_FAULT_DESCRIPTOR);
	bench_free(b);
}

static void test_irq_lost(void **state)
{
	struct bench *b = setup(&sync_opt);
	struct stream s;

	(void)state;
	work(&s, 1);
	wr(b, NPU_IRQ_DONE_EN, 1);
	inject(b, NPU_INJECT_IRQ_LOST, -1, 0, 1, 0);
	assert_true(q_wait(b, 0, q_submit(b, 0, &s)));
	assert_int_equal(rd(b, NPU_IRQ_DONE), 1);
	assert_false(b->level);
	assert_true(q_wait(b, 0, q_submit(b, 0, &s)));
	assert_true(b->level);
	bench_free(b);
}

static void test_irq_spurious(void **state)
{
	struct bench *b = setup(&sync_opt);

	(void)state;
	inject(b, NPU_INJECT_IRQ_SPURIOUS, -1, 0, 1, 0);
	assert_int_equal(b->rises, 1);
	assert_false(b->level);
	assert_int_equal(rd(b, NPU_IRQ_SUMMARY), 0);
	bench_free(b);
}

static void *pulse_thread(void *arg)
{
	struct bench *b = arg;

	for (unsigned int i = 0; i < 500; i++) {
		inject(b, NPU_INJECT_IRQ_SPURIOUS, -1, 0, 1, 0);
		sched_yield();
	}
	return NULL;
}

/*
 * A sampled line is never behind a register access, even while another thread is
 * in the callback; nor is the line that callbacks drive, at rest.
 */
static void test_irq_sampled(void **state)
{
	struct bench *b = setup(&async_opt);
	pthread_t thread;
	uint64_t pulses, before;

	(void)state;
	/* A cause that stays: RESET_DONE. */
	wr(b, NPU_RESET, NPU_RESET_KEY);
	while (!(rd(b, NPU_STATUS) & NPU_STATUS_READY))
		sched_yield();
	pthread_mutex_lock(&b->lock);
	b->irq_slow = true;
	pthread_mutex_unlock(&b->lock);
	assert_int_equal(pthread_create(&thread, NULL, pulse_thread, b), 0);
	for (unsigned int i = 0; i < 3000; i++) {
		bool on = i % 2 == 0;

		wr(b, NPU_IRQ_GLOBAL_EN, on ? NPU_IRQ_G_RESET_DONE : 0);
		assert_int_equal(npu_model_irq(b->m, NULL), on);
	}
	pthread_join(thread, NULL);
	/* Pulses on a high line go unseen: any number of them, but no more than there were. */
	assert_false(npu_model_irq(b->m, &before));
	assert_in_range(before, 0, 500);
	/* On a low line one counts, if only when the thread that is telling comes back. */
	inject(b, NPU_INJECT_IRQ_SPURIOUS, -1, 0, 1, 0);
	do {
		sched_yield();
		assert_false(npu_model_irq(b->m, &pulses));
	} while (pulses == before);
	assert_in_range(pulses, before + 1, 501);
	pthread_mutex_lock(&b->lock);
	while (b->level)
		pthread_cond_wait(&b->cond, &b->lock);
	pthread_mutex_unlock(&b->lock);
	bench_free(b);
}

static void test_irq_storm(void **state)
{
	struct bench *b = setup(&sync_opt);

	(void)state;
	inject(b, NPU_INJECT_IRQ_STORM, -1, 0, 1, 5);
	assert_true(b->level);
	wr(b, NPU_IRQ_DONE, UINT32_MAX);
	assert_true(b->level);
	npu_model_step(b->m, 1);	/* device time goes to its end */
	assert_false(b->level);
	assert_in_range(npu_model_stat(b->m, NPU_MODEL_STAT_DEVICE_NS), 5000000, 5000100);
	bench_free(b);
}

static void test_slow_resets(void **state)
{
	struct bench *b = setup(&sync_opt);

	(void)state;
	inject(b, NPU_INJECT_RESET_SLOW, 0, 0, 1, 3);
	wr(b, NPU_QC(0) + NPU_QC_CMD, NPU_QCMD_RESET);
	assert_true(rd(b, NPU_QC(0) + NPU_QC_STATUS) & NPU_QSTATUS_BUSY);
	npu_model_step(b->m, 1);
	assert_int_equal(rd(b, NPU_QC(0) + NPU_QC_STATUS), NPU_QSTATE_STOPPED);
	inject(b, NPU_INJECT_RESET_SLOW, 0, 0, 1, 3);
	inject(b, NPU_INJECT_RESET_SLOW, -1, 0, 1, 3);
	wr(b, NPU_RESET, NPU_RESET_KEY);
	assert_int_equal(rd(b, NPU_STATUS), NPU_STATUS_RESETTING);
	wr(b, NPU_QC(0) + NPU_QC_SLICE_US, 5);
	wr(b, NPU_IRQ_GLOBAL_EN, NPU_IRQ_G_RESET_DONE);
	npu_model_step(b->m, 1);
	assert_int_equal(rd(b, NPU_STATUS), NPU_STATUS_READY);
	assert_int_equal(rd(b, NPU_QC(0) + NPU_QC_SLICE_US), 0);
	assert_true(b->level);
	/* The one for queue 0 is still there. */
	wr(b, NPU_QC(0) + NPU_QC_CMD, NPU_QCMD_RESET);
	assert_true(rd(b, NPU_QC(0) + NPU_QC_STATUS) & NPU_QSTATUS_BUSY);
	bench_free(b);
}

static void test_failed_resets(void **state)
{
	struct bench *b = setup(&sync_opt);

	(void)state;
	inject(b, NPU_INJECT_QUEUE_RESET_FAIL, 1, 0, 1, 0);
	assert_int_equal(q_cmd(b, 0, NPU_QCMD_RESET), NPU_QSTATE_STOPPED);
	wr(b, NPU_QC(1) + NPU_QC_CMD, NPU_QCMD_RESET);
	for (unsigned int i = 0; i < 3; i++)
		npu_model_step(b->m, 1);
	assert_true(rd(b, NPU_QC(1) + NPU_QC_STATUS) & NPU_QSTATUS_RESET_FAILED);
	assert_true(rd(b, NPU_QC(1) + NPU_QC_STATUS) & NPU_QSTATUS_BUSY);
	inject(b, NPU_INJECT_DEVICE_RESET_FAIL, -1, 0, 1, 0);
	wr(b, NPU_RESET, NPU_RESET_KEY);
	for (unsigned int i = 0; i < 3; i++)
		npu_model_step(b->m, 1);
	assert_int_equal(rd(b, NPU_STATUS), NPU_STATUS_RESETTING | NPU_STATUS_RESET_FAILED);
	wr(b, NPU_RESET, NPU_RESET_KEY);
	assert_int_equal(rd(b, NPU_STATUS), NPU_STATUS_RESETTING | NPU_STATUS_RESET_FAILED);
	npu_model_reset(b->m);
	assert_int_equal(rd(b, NPU_STATUS), NPU_STATUS_READY);
	assert_int_equal(rd(b, NPU_QC(1) + NPU_QC_STATUS), NPU_QSTATE_STOPPED);
	bench_free(b);
}

static void test_fatal(void **state)
{
	struct bench *b = setup(&sync_opt);
	struct stream s;

	(void)state;
	work(&s, 10);
	wr(b, NPU_IRQ_GLOBAL_EN, NPU_IRQ_G_FATAL);
	inject(b, NPU_INJECT_FATAL, -1, 4, 1, 0);
	q_submit(b, 0, &s);
	npu_model_step(b->m, 100);
	assert_int_equal(rd64(b, NPU_QC(0) + NPU_QC_COMMANDS_LO), 4);
	assert_int_equal(rd(b, NPU_STATUS), NPU_STATUS_FATAL);
	assert_int_equal(rd(b, NPU_FATAL_CAUSE), NPU_FAULT_INTERNAL);
	assert_true(b->level);
	assert_int_equal(npu_model_step(b->m, 100), 0);
	wr(b, NPU_RESET, NPU_RESET_KEY);
	assert_int_equal(rd(b, NPU_STATUS), NPU_STATUS_READY);
	assert_int_equal(rd(b, NPU_FATAL_CAUSE), 0);
	bench_free(b);
}

static void test_gone(void **state)
{
	struct bench *b = setup(&sync_opt);
	struct stream s;

	(void)state;
	work(&s, 10);
	inject(b, NPU_INJECT_GONE, -1, 3, 1, 0);
	q_submit(b, 0, &s);
	npu_model_step(b->m, 100);
	assert_int_equal(rd(b, NPU_ID), UINT32_MAX);
	assert_int_equal(rd64(b, NPU_QU(0) + NPU_QU_SEQNO_LO), UINT64_MAX);
	npu_model_reset(b->m);
	assert_int_equal(rd(b, NPU_ID), NPU_ID_VALUE);
	inject(b, NPU_INJECT_GONE, -1, 0, 1, 1);
	assert_int_equal(rd(b, NPU_ID), UINT32_MAX);
	npu_model_reset(b->m);
	assert_int_equal(rd(b, NPU_ID), UINT32_MAX);
	bench_free(b);
}

static void test_bad_injections(void **state)
{
	struct bench *b = bench_new(&sync_opt);
	struct npu_model_injection inj = { .fault = NPU_INJECT_COUNT, .queue = -1 };

	(void)state;
	assert_int_equal(npu_model_inject(b->m, &inj), -EINVAL);
	inj.fault = NPU_INJECT_HANG;
	inj.queue = 8;
	assert_int_equal(npu_model_inject(b->m, &inj), -EINVAL);
	inj.queue = -2;
	assert_int_equal(npu_model_inject(b->m, &inj), -EINVAL);
	inj.queue = 7;
	for (unsigned int i = 0; i < 64; i++)
		assert_int_equal(npu_model_inject(b->m, &inj), 0);
	assert_int_equal(npu_model_inject(b->m, &inj), -ENOSPC);
	npu_model_inject_clear(b->m);
	assert_int_equal(npu_model_inject(b->m, &inj), 0);
	bench_free(b);
}

/* ---- Everything at once ------------------------------------------------------------ */

static bool stress_stop;

static void *stress_mmu(void *arg)
{
	struct bench *b = arg;

	while (!__atomic_load_n(&stress_stop, __ATOMIC_RELAXED)) {
		as_range(b, 0, VA_DATA, 16 * PAGE);
		as_cmd(b, 0, NPU_AS_CMD_LOCK);
		as_cmd(b, 0, NPU_AS_CMD_FLUSH);
		as_cmd(b, 0, NPU_AS_CMD_FLUSH_WALKS);
		as_cmd(b, 0, NPU_AS_CMD_UNLOCK);
	}
	return NULL;
}

static void *stress_readers(void *arg)
{
	struct bench *b = arg;

	while (!__atomic_load_n(&stress_stop, __ATOMIC_RELAXED))
		for (uint64_t off = 0; off < NPU_QC(2); off += off < 0x400 ? 4 : 0x80)
			if (rd(b, off) == UINT32_MAX && off != NPU_TIMER_LO)
				fail_msg("register 0x%llx reads all ones", (unsigned long long)off);
	return NULL;
}

/* Suspends, resets, hangs and maintenance against running queues; the final sum is exact. */
static void test_stress(void **state)
{
	struct bench *b = setup(&async_opt);
	struct stream s = { .size = 0 };
	pthread_t t[2];
	uint32_t top;
	float *d;

	(void)state;
	bench_queue(b, 2, 0, NPU_QC_MODE_USER);
	s_set(&s, 1, 2000);
	top = s_inc(&s, VA_DATA + 32768, VA_DATA + 32768, 64, 0, NPU_NO_TOKEN);
	s_loop(&s, 1, top);
	s_end(&s);
	assert_int_equal(pthread_create(&t[0], NULL, stress_mmu, b), 0);
	assert_int_equal(pthread_create(&t[1], NULL, stress_readers, b), 0);
	q_submit(b, 0, &s);
	for (unsigned int i = 0; i < 30; i++) {
		struct stream w = { .size = 0 };

		s_inc(&w, VA_DATA, VA_DATA, 100, 0, NPU_NO_TOKEN);
		s_end(&w);
		assert_int_equal(NPU_QSTATE(q_cmd(b, 0, NPU_QCMD_SUSPEND)), NPU_QSTATE_SUSPENDED);
		inject(b, i & 1 ? NPU_INJECT_HANG : NPU_INJECT_ECC, 1, i % 2, 1, 0);
		q_push(b, 1, &w, VA_STREAM + 8192, 0);
		q_ring(b, 1);
		q_push(b, 2, &w, VA_STREAM + 12288, NPU_JOB_IRQ);
		q_ring(b, 2);
		assert_false(q_cmd(b, 0, NPU_QCMD_RESUME) & (NPU_QSTATUS_ERR_IMAGE | NPU_QSTATUS_ERR_CONFIG));
		npu_model_bus_changed(b->m);
		restart(b, 1);
		npu_model_inject_clear(b->m);
		assert_true(q_wait(b, 2, b->seqno));
	}
	assert_true(q_wait(b, 0, 1));
	__atomic_store_n(&stress_stop, true, __ATOMIC_RELAXED);
	pthread_join(t[0], NULL);
	pthread_join(t[1], NULL);
	d = bus(b, b->data_bus + 32768);
	for (unsigned int i = 0; i < 64; i++)
		assert_true(d[i] == 2000.0f);
	bench_free(b);
}

/* A device reset in the middle of everything leaves a usable device, again and again. */
static void test_reset_stress(void **state)
{
	struct bench *b = bench_new(&async_opt);
	struct stream s = { .size = 0 };
	uint32_t top;

	(void)state;
	top = s_inc(&s, VA_DATA, VA_DATA, 200000, 0, NPU_NO_TOKEN);
	s_branch(&s, NPU_COND_ALWAYS, 0, 0, 0, top);
	for (unsigned int i = 0; i < 50; i++) {
		memset(b->table, 0, sizeof(b->table));
		b->next = RAM_BASE;
		b->stream_bus = 0;
		memset(b->tail, 0, sizeof(b->tail));
		for (unsigned int q = 0; q < 4; q++) {
			bench_queue(b, q, q & 1, q >> 1);
			q_submit(b, q, &s);
		}
		switch (i % 3) {
		case 0:
			/* The interrupt is enabled while a command may still be running. */
			wr(b, NPU_RESET, NPU_RESET_KEY);
			wr(b, NPU_IRQ_GLOBAL_EN, NPU_IRQ_G_RESET_DONE);
			pthread_mutex_lock(&b->lock);
			while (!b->level)
				pthread_cond_wait(&b->cond, &b->lock);
			pthread_mutex_unlock(&b->lock);
			assert_int_equal(rd(b, NPU_STATUS) & ~NPU_STATUS_BUSY, NPU_STATUS_READY);
			break;
		case 1:
			npu_model_reset(b->m);
			break;
		default:
			npu_model_set_power(b->m, false);
			npu_model_set_power(b->m, true);
			break;
		}
		for (unsigned int q = 0; q < 4; q++)
			assert_int_equal(q_state(b, q), NPU_QSTATE_STOPPED);
		assert_int_equal(npu_model_wait_idle(b->m, 10000000000), 0);
	}
	bench_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),	       cmocka_unit_test(test_hang),
		cmocka_unit_test(test_hang_watchdog),  cmocka_unit_test(test_hang_async),
		cmocka_unit_test(test_access_faults),  cmocka_unit_test(test_descriptor),
		cmocka_unit_test(test_irq_lost),       cmocka_unit_test(test_irq_spurious),
		cmocka_unit_test(test_irq_sampled),
		cmocka_unit_test(test_irq_storm),      cmocka_unit_test(test_slow_resets),
		cmocka_unit_test(test_failed_resets),  cmocka_unit_test(test_fatal),
		cmocka_unit_test(test_gone),	       cmocka_unit_test(test_bad_injections),
		cmocka_unit_test(test_stress),	       cmocka_unit_test(test_reset_stress),
	};

	return cmocka_run_group_tests_name("model: faults", tests, NULL, NULL);
}
