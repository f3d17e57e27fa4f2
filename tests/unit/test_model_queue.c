// SPDX-License-Identifier: MIT
/* Queues: doorbells, priorities, shares, limits, semaphores, suspend and resume, reset. */
#include <time.h>

#include "model_common.h"

static const struct npu_model_options sync_opt = { .size = sizeof(sync_opt), .synchronous = true };
static const struct npu_model_options async_opt = { .size = sizeof(async_opt), .threads = 2 };

/* @n commands of 1000 elements, then END. */
static void work(struct stream *s, unsigned int n)
{
	s->size = 0;
	while (n--)
		s_inc(s, VA_DATA, VA_DATA, 1000, 0, NPU_NO_TOKEN);
	s_end(s);
}

static void endless(struct stream *s)
{
	uint32_t top = s_inc(s, VA_DATA, VA_DATA, 16, 0, NPU_NO_TOKEN);

	s_branch(s, NPU_COND_ALWAYS, 0, 0, 0, top);
}

static uint64_t commands(struct bench *b, unsigned int q)
{
	return rd64(b, NPU_QC(q) + NPU_QC_COMMANDS_LO);
}

static uint64_t active(struct bench *b, unsigned int q)
{
	return rd64(b, NPU_QC(q) + NPU_QC_ACTIVE_LO);
}

static void test_doorbell(void **state)
{
	struct bench *b = bench_new(&sync_opt);

	(void)state;
	bench_queue(b, 0, 0, 0);
	wr(b, NPU_QU(0) + NPU_QU_DOORBELL, 17);
	assert_int_equal(q_state(b, 0), NPU_QSTATE_FAULTED);
	assert_int_equal(NPU_FAULT_CODE(rd(b, NPU_QC(0) + NPU_QC_FAULT)), NPU_FAULT_DOORBELL);
	assert_int_equal(rd(b, NPU_IRQ_FAULT), 1);
	/* Backwards is a large distance. The free-running index may wrap. */
	q_cmd(b, 0, NPU_QCMD_RESET);
	wr(b, NPU_QC(0) + NPU_QC_HEAD, UINT32_MAX);
	wr(b, NPU_QC(0) + NPU_QC_TAIL, UINT32_MAX);
	assert_int_equal(q_cmd(b, 0, NPU_QCMD_START), NPU_QSTATE_IDLE);
	wr(b, NPU_QU(0) + NPU_QU_DOORBELL, UINT32_MAX - 1);
	assert_int_equal(q_state(b, 0), NPU_QSTATE_FAULTED);
	bench_free(b);
}

static void test_index_wraps(void **state)
{
	struct bench *b = bench_new(&sync_opt);
	struct stream s;

	(void)state;
	bench_config_queue(b, 0, 0, 0);
	b->tail[0] = UINT32_MAX - 2;
	wr(b, NPU_QC(0) + NPU_QC_HEAD, b->tail[0]);
	wr(b, NPU_QC(0) + NPU_QC_TAIL, b->tail[0]);
	q_cmd(b, 0, NPU_QCMD_START);
	work(&s, 1);
	for (unsigned int i = 0; i < 6; i++)
		q_push(b, 0, &s, VA_STREAM, 0);
	q_ring(b, 0);
	assert_true(q_wait(b, 0, 6));
	assert_int_equal(rd(b, NPU_QU(0) + NPU_QU_HEAD), 3);
	for (uint32_t i = 0; i < 6; i++)
		assert_int_equal(q_comp(b, 0, UINT32_MAX - 2 + i)->seqno, i + 1);
	bench_free(b);
}

static void test_ring_faults(void **state)
{
	struct bench *b = bench_new(&sync_opt);
	struct stream s;

	(void)state;
	work(&s, 1);
	bench_config_queue(b, 0, 0, 0);
	wr64(b, NPU_QC(0) + NPU_QC_RING_LO, 0x1000);
	q_cmd(b, 0, NPU_QCMD_START);
	q_submit(b, 0, &s);
	q_expect_fault(b, 0, NPU_FAULT_RING);
	assert_int_equal(rd64(b, NPU_QC(0) + NPU_QC_FAULT_ADDR_LO), 0x1000);
	assert_false(rd(b, NPU_QC(0) + NPU_QC_FAULT) & NPU_FAULT_WRITE);
	/* A USER ring whose completion page is read-only. */
	bench_config_queue(b, 1, 0, NPU_QC_MODE_USER);
	*bench_pte(b, 0, 0x40011000, 3) |= NPU_PTE_RDONLY;
	q_cmd(b, 1, NPU_QCMD_START);
	q_submit(b, 1, &s);
	q_expect_fault(b, 1, NPU_FAULT_RING);
	assert_int_equal(rd64(b, NPU_QC(1) + NPU_QC_FAULT_ADDR_LO), 0x40011000);
	assert_true(rd(b, NPU_QC(1) + NPU_QC_FAULT) & NPU_FAULT_WRITE);
	bench_free(b);
}

/* A faulted queue leaves the others alone. */
static void test_fault_isolation(void **state)
{
	struct bench *b = bench_new(&sync_opt);
	struct stream s, bad = { .size = 0 };
	uint64_t good;

	(void)state;
	bench_queue(b, 0, 0, 0);
	bench_queue(b, 1, 0, 0);
	work(&s, 20);
	s_op(&bad, 0x0e);
	good = q_push(b, 1, &s, VA_STREAM + 4096 * 4, NPU_JOB_IRQ);
	q_ring(b, 1);
	npu_model_step(b->m, 3);
	q_submit(b, 0, &bad);
	q_expect_fault(b, 0, NPU_FAULT_OPCODE_ILLEGAL);
	assert_true(q_wait(b, 1, good));
	bench_free(b);
}

/* A doorbell of higher priority gets the very next command. */
static void test_priority_latency(void **state)
{
	struct bench *b = bench_new(&sync_opt);
	struct stream low = { .size = 0 }, high;
	uint64_t before, seqno;

	(void)state;
	endless(&low);
	work(&high, 3);
	for (unsigned int q = 0; q < 2; q++) {
		bench_queue(b, q, 0, 0);
		wr(b, NPU_QC(q) + NPU_QC_PRIO, NPU_QC_PRIO_LEVEL(q ? 2 : 1));
	}
	q_submit(b, 0, &low);
	assert_int_equal(npu_model_step(b->m, 37), 37);
	before = commands(b, 0);
	seqno = q_push(b, 1, &high, VA_STREAM + 8192, 0);
	q_ring(b, 1);
	assert_int_equal(q_state(b, 1), NPU_QSTATE_PREEMPTED);
	assert_int_equal(npu_model_step(b->m, 2), 2);
	assert_int_equal(q_state(b, 0), NPU_QSTATE_PREEMPTED);
	assert_int_equal(q_state(b, 1), NPU_QSTATE_RUNNING);
	assert_int_equal(commands(b, 0), before);
	assert_int_equal(npu_model_step(b->m, 2), 2);
	assert_int_equal(commands(b, 1), 4);
	/* Done: its completion is written before anything else runs. */
	npu_model_step(b->m, 1);
	assert_int_equal(rd64(b, NPU_QU(1) + NPU_QU_SEQNO_LO), seqno);
	npu_model_step(b->m, 5);
	assert_true(commands(b, 0) >= before + 5);
	/* A change of priority acts at the next boundary, too. */
	wr(b, NPU_QC(0) + NPU_QC_PRIO, NPU_QC_PRIO_LEVEL(3));
	q_push(b, 1, &high, VA_STREAM + 8192, 0);
	q_ring(b, 1);
	before = commands(b, 1);
	npu_model_step(b->m, 50);
	assert_int_equal(commands(b, 1), before);
	bench_free(b);
}

/* The same in threads: the switch is counted in commands, not in time. */
static void test_priority_async(void **state)
{
	struct bench *b = bench_new(&async_opt);
	struct stream low = { .size = 0 }, high = { .size = 0 };
	struct npu_cmd_timestamp t = { .cmd = cmd(NPU_CMD_TIMESTAMP), .addr = VA_DATA + 65536 };

	(void)state;
	endless(&low);
	s_put(&high, &t, sizeof(t), NULL, 0);
	s_end(&high);
	bench_queue(b, 0, 0, 0);
	bench_queue(b, 1, 0, 0);
	wr(b, NPU_QC(1) + NPU_QC_PRIO, 3);
	q_submit(b, 0, &low);
	for (unsigned int i = 0; i < 100; i++) {
		uint64_t seqno = q_push(b, 1, &high, VA_STREAM + 8192, 0);

		q_ring(b, 1);
		assert_true(q_wait(b, 1, seqno));
	}
	assert_int_equal(q_state(b, 0) & ~1u, NPU_QSTATE_RUNNING);
	assert_int_equal(q_cmd(b, 0, NPU_QCMD_RESET), NPU_QSTATE_STOPPED);
	bench_free(b);
}

/* Equals share by time slices of device time. */
static void test_time_slices(void **state)
{
	struct bench *b = bench_new(&sync_opt);
	struct stream s = { .size = 0 };
	uint64_t a[3], total = 0;

	(void)state;
	endless(&s);
	for (unsigned int q = 0; q < 3; q++) {
		bench_queue(b, q, 0, 0);
		wr(b, NPU_QC(q) + NPU_QC_SLICE_US, q == 2 ? 20 : 10);
		q_submit(b, q, &s);
	}
	npu_model_step(b->m, 30000);
	for (unsigned int q = 0; q < 3; q++)
		total += a[q] = active(b, q);
	assert_in_range(a[0] * 100 / total, 23, 27);
	assert_in_range(a[1] * 100 / total, 23, 27);
	assert_in_range(a[2] * 100 / total, 47, 53);
	/* Slices, not single commands: 10 us at about 0.5 us per pair of commands. */
	assert_true(rd64(b, NPU_CNT_SWITCHES_LO) < 3000);
	bench_free(b);
}

static void test_minimum_share(void **state)
{
	struct bench *b = bench_new(&sync_opt);
	struct stream s = { .size = 0 };
	uint64_t hi, lo, none;

	(void)state;
	endless(&s);
	for (unsigned int q = 0; q < 3; q++)
		bench_queue(b, q, 0, 0);
	wr(b, NPU_QC(0) + NPU_QC_PRIO, NPU_QC_PRIO_LEVEL(3));
	wr(b, NPU_QC(1) + NPU_QC_PRIO, NPU_QC_PRIO_LEVEL(0) | NPU_QC_PRIO_SHARE(20));
	wr(b, NPU_QC(2) + NPU_QC_PRIO, NPU_QC_PRIO_LEVEL(1));
	for (unsigned int q = 0; q < 3; q++)
		q_submit(b, q, &s);
	npu_model_step(b->m, 100000);
	hi = active(b, 0);
	lo = active(b, 1);
	none = active(b, 2);
	assert_int_equal(none, 0);
	assert_in_range(lo * 100 / (lo + hi), 19, 22);
	bench_free(b);
}

static void expect_limit(struct bench *b, struct stream *s, uint32_t code, uint64_t lo_ns, uint64_t hi_ns)
{
	q_submit(b, 0, s);
	q_expect_fault(b, 0, code);
	assert_in_range(active(b, 0), lo_ns, hi_ns);
}

/* Endless loops end by the budget: the queue's, or the job's, whichever is smaller. */
static void test_budget(void **state)
{
	struct stream nops = { .size = 0 }, s = { .size = 0 };
	struct bench *b = bench_new(&sync_opt);
	uint32_t top;

	(void)state;
	top = s_op(&nops, NPU_CMD_NOP);
	s_branch(&nops, NPU_COND_ALWAYS, 0, 0, 0, top);
	endless(&s);
	bench_queue(b, 0, 0, 0);
	wr(b, NPU_QC(0) + NPU_QC_BUDGET_US, 200);
	expect_limit(b, &nops, NPU_FAULT_BUDGET, 200000, 200100);
	q_cmd(b, 0, NPU_QCMD_RESET);
	wr(b, NPU_QC(0) + NPU_QC_HEAD, b->tail[0]);
	wr64(b, NPU_QC(0) + NPU_QC_ACTIVE_LO, 0);
	q_cmd(b, 0, NPU_QCMD_START);
	q_push(b, 0, &s, VA_STREAM, 0);
	q_desc(b, 0, b->tail[0] - 1)->budget_us = 50;
	q_ring(b, 0);
	q_expect_fault(b, 0, NPU_FAULT_BUDGET);
	assert_in_range(active(b, 0), 50000, 52000);
	bench_free(b);
}

static void test_watchdog(void **state)
{
	struct bench *b = bench_new(&sync_opt);
	struct stream s = { .size = 0 };

	(void)state;
	bench_queue(b, 0, 0, 0);
	wr(b, NPU_QC(0) + NPU_QC_WATCHDOG_US, 10);
	for (unsigned int i = 0; i < 100; i++)
		s_inc(&s, VA_DATA, VA_DATA, 4096, 0, NPU_NO_TOKEN);	/* 2.1 us each */
	s_end(&s);
	assert_true(q_wait(b, 0, q_submit(b, 0, &s)));
	s.size = 0;
	s_inc(&s, VA_DATA, VA_DATA, 65536, 0, NPU_NO_TOKEN);		/* 31 us */
	s_end(&s);
	q_submit(b, 0, &s);
	q_expect_fault(b, 0, NPU_FAULT_WATCHDOG);
	assert_int_equal(NPU_FAULT_ENGINE(rd(b, NPU_QC(0) + NPU_QC_FAULT)), NPU_ENGINE_VECTOR);
	bench_free(b);
}

static void test_coalescing(void **state)
{
	struct bench *b = bench_new(&sync_opt);
	struct stream s, loop = { .size = 0 };

	(void)state;
	work(&s, 1);
	bench_queue(b, 0, 0, 0);
	wr(b, NPU_QC(0) + NPU_QC_COALESCE_US, 1000);
	for (unsigned int i = 0; i < 4; i++)
		q_push(b, 0, &s, VA_STREAM, NPU_JOB_IRQ | NPU_JOB_COALESCE);
	q_ring(b, 0);
	while (rd(b, NPU_QU(0) + NPU_QU_HEAD) < 3) {
		npu_model_step(b->m, 1);
		assert_int_equal(rd(b, NPU_IRQ_DONE), 0);
	}
	q_wait(b, 0, 4);
	assert_int_equal(rd(b, NPU_IRQ_DONE), 1);		/* the ring ran empty */
	wr(b, NPU_IRQ_DONE, 1);
	/* Not empty: after COALESCE_US. */
	endless(&loop);
	q_push(b, 0, &s, VA_STREAM, NPU_JOB_IRQ | NPU_JOB_COALESCE);
	q_push(b, 0, &loop, VA_STREAM + 8192, 0);
	q_ring(b, 0);
	q_wait(b, 0, 5);
	assert_int_equal(rd(b, NPU_IRQ_DONE), 0);
	npu_model_step(b->m, 500);
	assert_int_equal(rd(b, NPU_IRQ_DONE), 0);
	npu_model_step(b->m, 10000);
	assert_int_equal(rd(b, NPU_IRQ_DONE), 1);
	/* A fault of the next job does not lose it. */
	q_cmd(b, 0, NPU_QCMD_RESET);
	wr(b, NPU_QC(0) + NPU_QC_HEAD, b->tail[0]);
	q_cmd(b, 0, NPU_QCMD_START);
	wr(b, NPU_IRQ_DONE, 1);
	loop.size = 0;
	s_op(&loop, 0x0e);
	q_push(b, 0, &s, VA_STREAM, NPU_JOB_IRQ | NPU_JOB_COALESCE);
	q_push(b, 0, &loop, VA_STREAM + 8192, 0);
	q_ring(b, 0);
	q_expect_fault(b, 0, NPU_FAULT_OPCODE_ILLEGAL);
	assert_int_equal(rd(b, NPU_IRQ_DONE), 1);
	bench_free(b);
}

static void test_semaphores(void **state)
{
	struct bench *b = bench_new(&sync_opt);
	struct stream wait = { .size = 0 }, signal = { .size = 0 };
	uint64_t *sem, seqno;

	(void)state;
	bench_queue(b, 0, 0, NPU_QC_MODE_USER);
	bench_queue(b, 1, 0, NPU_QC_MODE_USER);
	sem = (uint64_t *)bus(b, b->data_bus) + 128;
	s_sem(&wait, NPU_CMD_SEM_WAIT, VA_DATA + 1024, 5);
	s_sem(&wait, NPU_CMD_SEM_SIGNAL, VA_DATA + 1032, 9);
	s_sem(&wait, NPU_CMD_SEM_SIGNAL, VA_DATA + 1032, 3);	/* a smaller value changes nothing */
	s_end(&wait);
	s_sem(&signal, NPU_CMD_SEM_SIGNAL, VA_DATA + 1024, 5);
	s_sem(&signal, NPU_CMD_SEM_WAIT, VA_DATA + 1032, 9);
	s_end(&signal);
	q_submit(b, 0, &wait);
	npu_model_step(b->m, 10);
	assert_int_equal(q_state(b, 0), NPU_QSTATE_BLOCKED);
	assert_int_equal(sem[1], 0);
	seqno = q_push(b, 1, &signal, VA_STREAM + 8192, 0);
	q_ring(b, 1);
	assert_true(q_wait(b, 1, seqno));
	assert_true(q_wait(b, 0, 1));
	assert_int_equal(sem[0], 5);
	assert_int_equal(sem[1], 9);
	/* A host's store is found by the next doorbell, and by the timer. */
	sem[0] = 4;
	q_submit(b, 0, &wait);
	npu_model_step(b->m, 10);
	assert_int_equal(q_state(b, 0), NPU_QSTATE_BLOCKED);
	sem[0] = 6;
	wr(b, NPU_QU(1) + NPU_QU_DOORBELL, b->tail[1]);
	assert_true(npu_model_step(b->m, 10) > 0);
	sem[0] = 4;
	q_submit(b, 0, &wait);
	npu_model_step(b->m, 10);
	sem[0] = 6;
	assert_true(q_wait(b, 0, b->seqno));
	/* Never signalled: the limit. Waiting is not active time. */
	sem[0] = 0;
	wr(b, NPU_QC(0) + NPU_QC_BLOCK_US, 3000);
	wr(b, NPU_QC(0) + NPU_QC_BUDGET_US, 10);
	q_submit(b, 0, &wait);
	q_expect_fault(b, 0, NPU_FAULT_BLOCKED);
	assert_int_equal(NPU_FAULT_OPCODE(rd(b, NPU_QC(0) + NPU_QC_FAULT)), NPU_CMD_SEM_WAIT);
	bench_free(b);
}

static void test_semaphores_async(void **state)
{
	struct bench *b = bench_new(&async_opt);
	struct stream ping = { .size = 0 }, pong = { .size = 0 };
	struct npu_regop next = { .field = offsetof(struct npu_cmd_sem, value) | NPU_REGOP_64, .ra = 1,
				  .rb = NPU_NO_REG, .sa = 1 };
	struct npu_cmd_sem sig = { .cmd = cmd(NPU_CMD_SEM_SIGNAL), .addr = VA_DATA + 1024 };
	struct npu_cmd_sem wai = { .cmd = cmd(NPU_CMD_SEM_WAIT), .addr = VA_DATA + 1088 };
	uint32_t top;
	uint64_t last;

	(void)state;
	bench_queue(b, 0, 0, NPU_QC_MODE_USER);
	bench_queue(b, 1, 0, NPU_QC_MODE_USER);
	/* 200 round trips between two queues. */
	s_set(&ping, 1, 0);
	top = s_alu(&ping, NPU_ALU_ADD, 1, 1, NPU_NO_REG, 1);
	s_put(&ping, &sig, sizeof(sig), &next, 1);
	s_put(&ping, &wai, sizeof(wai), &next, 1);
	s_branch(&ping, NPU_COND_LTU, 1, NPU_NO_REG, 200, top);
	s_end(&ping);
	sig.addr = VA_DATA + 1088;
	wai.addr = VA_DATA + 1024;
	s_set(&pong, 1, 0);
	top = s_alu(&pong, NPU_ALU_ADD, 1, 1, NPU_NO_REG, 1);
	s_put(&pong, &wai, sizeof(wai), &next, 1);
	s_put(&pong, &sig, sizeof(sig), &next, 1);
	s_branch(&pong, NPU_COND_LTU, 1, NPU_NO_REG, 200, top);
	s_end(&pong);
	q_submit(b, 0, &ping);
	last = q_push(b, 1, &pong, VA_STREAM + 8192, 0);
	q_ring(b, 1);
	assert_true(q_wait(b, 1, last));
	assert_true(q_wait(b, 0, 1));
	bench_free(b);
}

/* ---- Suspend and resume ---------------------------------------------------------- */

static void mixed(struct stream *s)
{
	uint32_t top;

	s->size = 0;
	s_set(s, 1, 3);
	top = s_alu(s, NPU_ALU_ADD, 2, 2, 1, 0);
	s_inc(s, VA_DATA, VA_DATA, 500, 0, 1);
	s_inc(s, VA_DATA + 8192, VA_DATA, 500, 1u << 1, 2);
	s_fill(s, VA_DATA + 16384, 64, 2.5f, 1u << 2, NPU_NO_TOKEN);
	s_loop(s, 1, top);
	s_op(s, NPU_CMD_BARRIER);
	s_store(s, 2, 8, VA_DATA + 20000);
	s_end(s);
}

static void expect_mixed(struct bench *b)
{
	uint8_t *d = bus(b, b->data_bus);

	for (unsigned int i = 0; i < 500; i++) {
		assert_true(((float *)d)[i] == 3.0f);
		assert_true(((float *)(d + 8192))[i] == 4.0f);
	}
	assert_true(((float *)(d + 16384))[63] == 2.5f);
	assert_int_equal(*(uint64_t *)(d + 20000), 6);
}

/* Cut at every command, moved to another hardware queue, with other work in between. */
static void test_suspend_everywhere(void **state)
{
	struct stream s, other;
	unsigned int total = 1 + 3 * 5 + 3;

	(void)state;
	mixed(&s);
	work(&other, 5);
	for (unsigned int cut = 0; cut <= total; cut++) {
		struct bench *b = bench_new(&sync_opt);
		struct npu_image_header *h;

		bench_queue(b, 0, 0, 0);
		bench_config_queue(b, 1, 0, 0);
		q_submit(b, 0, &s);
		assert_int_equal(npu_model_step(b->m, cut), cut);
		assert_int_equal(NPU_QSTATE(q_cmd(b, 0, NPU_QCMD_SUSPEND)), NPU_QSTATE_SUSPENDED);
		h = bus(b, b->image[0]);
		assert_int_equal(h->magic, NPU_IMAGE_MAGIC);
		assert_int_equal(!!(h->flags & NPU_IMAGE_IN_JOB), cut > 0 && rd(b, NPU_QC(0) + NPU_QC_HEAD) == 0);
		assert_int_equal(npu_model_step(b->m, 10), 0);
		/* Another job on the first queue's hardware, then everything moves to queue 1. */
		wr64(b, NPU_QC(1) + NPU_QC_RING_LO, b->ring[0]);
		wr64(b, NPU_QC(1) + NPU_QC_COMP_LO, b->comp[0]);
		wr64(b, NPU_QC(1) + NPU_QC_IMAGE_LO, b->image[0]);
		wr(b, NPU_QC(1) + NPU_QC_HEAD, rd(b, NPU_QC(0) + NPU_QC_HEAD));
		wr(b, NPU_QC(1) + NPU_QC_TAIL, rd(b, NPU_QC(0) + NPU_QC_TAIL));
		assert_false(q_cmd(b, 1, NPU_QCMD_RESUME) & (NPU_QSTATUS_ERR_IMAGE | NPU_QSTATUS_ERR_CONFIG));
		assert_true(q_wait(b, 1, 1));
		expect_mixed(b);
		assert_int_equal(q_comp(b, 0, 0)->seqno, 1);
		assert_int_equal(q_comp(b, 0, 0)->commands, total);
		bench_free(b);
	}
}

/* The same in threads, wherever the suspends happen to cut. */
static void test_suspend_async(void **state)
{
	struct bench *b = bench_new(&async_opt);
	struct stream s = { .size = 0 };
	float *d;
	uint32_t top;

	(void)state;
	bench_queue(b, 0, 0, 0);
	s_set(&s, 1, 3000);
	top = s_inc(&s, VA_DATA, VA_DATA, 2000, 0, NPU_NO_TOKEN);
	s_loop(&s, 1, top);
	s_end(&s);
	q_submit(b, 0, &s);
	for (unsigned int i = 0; i < 200; i++) {
		assert_int_equal(NPU_QSTATE(q_cmd(b, 0, NPU_QCMD_SUSPEND)), NPU_QSTATE_SUSPENDED);
		assert_false(q_cmd(b, 0, NPU_QCMD_RESUME) & (NPU_QSTATUS_ERR_IMAGE | NPU_QSTATUS_ERR_CONFIG));
	}
	assert_true(q_wait(b, 0, 1));
	d = bus(b, b->data_bus);
	for (unsigned int i = 0; i < 2000; i++)
		assert_true(d[i] == 3000.0f);
	bench_free(b);
}

static void expect_refused(struct bench *b)
{
	assert_true(q_cmd(b, 0, NPU_QCMD_RESUME) & NPU_QSTATUS_ERR_IMAGE);
	assert_int_equal(q_state(b, 0), NPU_QSTATE_SUSPENDED);
}

static void test_bad_images(void **state)
{
	struct bench *b = bench_new(&sync_opt);
	struct stream s;
	uint8_t *image, copy[4096];

	(void)state;
	bench_queue(b, 0, 0, 0);
	mixed(&s);
	q_submit(b, 0, &s);
	npu_model_step(b->m, 5);
	q_cmd(b, 0, NPU_QCMD_SUSPEND);
	image = bus(b, b->image[0]);
	memcpy(copy, image, sizeof(copy));
	for (unsigned int i = 0; i < ((struct npu_image_header *)copy)->size; i++) {
		image[i] ^= 1u << (i % 8);
		expect_refused(b);
		image[i] ^= 1u << (i % 8);
	}
	wr64(b, NPU_QC(0) + NPU_QC_IMAGE_LO, 0x1000);
	expect_refused(b);
	wr64(b, NPU_QC(0) + NPU_QC_IMAGE_LO, b->image[0] + 8);
	expect_refused(b);
	wr64(b, NPU_QC(0) + NPU_QC_IMAGE_LO, b->image[0]);
	assert_int_equal(NPU_QSTATE(q_cmd(b, 0, NPU_QCMD_RESUME)), NPU_QSTATE_RUNNING);
	assert_true(q_wait(b, 0, 1));
	expect_mixed(b);
	bench_free(b);
}

/* Out of FAULTED: a dump, which cannot go on. */
static void test_suspend_faulted(void **state)
{
	struct bench *b = bench_new(&sync_opt);
	struct npu_image_header *h;
	struct stream s = { .size = 0 };

	(void)state;
	bench_queue(b, 0, 0, 0);
	s_op(&s, 0x0e);
	q_submit(b, 0, &s);
	q_expect_fault(b, 0, NPU_FAULT_OPCODE_ILLEGAL);
	assert_int_equal(NPU_QSTATE(q_cmd(b, 0, NPU_QCMD_SUSPEND)), NPU_QSTATE_SUSPENDED);
	assert_int_equal(NPU_FAULT_CODE(rd(b, NPU_QC(0) + NPU_QC_FAULT)), NPU_FAULT_OPCODE_ILLEGAL);
	h = bus(b, b->image[0]);
	assert_int_equal(h->flags, NPU_IMAGE_FAULTED | NPU_IMAGE_IN_JOB);
	assert_true(q_cmd(b, 0, NPU_QCMD_RESUME) & NPU_QSTATUS_ERR_CONFIG);
	q_cmd(b, 0, NPU_QCMD_RESET);
	assert_true(q_cmd(b, 0, NPU_QCMD_RESUME) & NPU_QSTATUS_ERR_IMAGE);
	/* An image that cannot be written is a fault itself. */
	wr64(b, NPU_QC(0) + NPU_QC_IMAGE_LO, 0x1000);
	q_cmd(b, 0, NPU_QCMD_RESET);
	wr(b, NPU_QC(0) + NPU_QC_HEAD, b->tail[0]);
	q_cmd(b, 0, NPU_QCMD_START);
	assert_int_equal(NPU_QSTATE(q_cmd(b, 0, NPU_QCMD_SUSPEND)), NPU_QSTATE_FAULTED);
	assert_int_equal(NPU_FAULT_CODE(rd(b, NPU_QC(0) + NPU_QC_FAULT)), NPU_FAULT_IMAGE);
	bench_free(b);
}

/* When RESET is done nothing of the queue is in flight: its memory can be reused at once. */
static void test_reset_under_traffic(void **state)
{
	struct bench *b = bench_new(&async_opt);
	struct stream s = { .size = 0 };
	uint32_t top;

	(void)state;
	top = s_inc(&s, VA_DATA, VA_DATA, 100000, 0, NPU_NO_TOKEN);
	s_branch(&s, NPU_COND_ALWAYS, 0, 0, 0, top);
	for (unsigned int i = 0; i < 100; i++) {
		uint8_t *d;

		if (!i) {
			bench_queue(b, 0, 0, 0);
		} else {
			wr(b, NPU_QC(0) + NPU_QC_HEAD, b->tail[0]);
			q_cmd(b, 0, NPU_QCMD_START);
		}
		q_submit(b, 0, &s);
		while (!(rd(b, NPU_QC(0) + NPU_QC_STATUS) & NPU_QSTATUS_IN_JOB))
			;
		assert_int_equal(q_cmd(b, 0, NPU_QCMD_RESET), NPU_QSTATE_STOPPED);
		d = bus(b, b->data_bus);
		memset(d, 0xee, 100000 * 4);
		for (unsigned int j = 0; j < 1000; j++)
			assert_int_equal(((volatile uint8_t *)d)[j * 400], 0xee);
		memset(d, 0, 100000 * 4);
	}
	bench_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_doorbell),
		cmocka_unit_test(test_index_wraps),
		cmocka_unit_test(test_ring_faults),
		cmocka_unit_test(test_fault_isolation),
		cmocka_unit_test(test_priority_latency),
		cmocka_unit_test(test_priority_async),
		cmocka_unit_test(test_time_slices),
		cmocka_unit_test(test_minimum_share),
		cmocka_unit_test(test_budget),
		cmocka_unit_test(test_watchdog),
		cmocka_unit_test(test_coalescing),
		cmocka_unit_test(test_semaphores),
		cmocka_unit_test(test_semaphores_async),
		cmocka_unit_test(test_suspend_everywhere),
		cmocka_unit_test(test_suspend_async),
		cmocka_unit_test(test_bad_images),
		cmocka_unit_test(test_suspend_faulted),
		cmocka_unit_test(test_reset_under_traffic),
	};

	return cmocka_run_group_tests_name("model: queues", tests, NULL, NULL);
}
