// SPDX-License-Identifier: MIT
/* A job from doorbell to interrupt, in both modes and on both kinds of queue. */
#include <time.h>

#include "model_common.h"

static const struct npu_model_options sync_opt = { .size = sizeof(sync_opt), .synchronous = true };
static const struct npu_model_options async_opt = { .size = sizeof(async_opt), .threads = 2 };

/* Control packets and a tensor operation: data[i] = i becomes i + 3, r3 is stored behind. */
static void build(struct stream *s)
{
	uint32_t top;

	s->size = 0;
	s_set(s, 1, 3);
	s_set(s, 2, 0);
	top = s_alu(s, NPU_ALU_ADD, 2, 2, NPU_NO_REG, 7);
	s_inc(s, VA_DATA, VA_DATA, 1000, 0, NPU_NO_TOKEN);
	s_loop(s, 1, top);
	s_store(s, 2, 8, VA_DATA + 8192);
	s_end(s);
}

static void run_job(const struct npu_model_options *opt, uint32_t mode)
{
	struct bench *b = bench_new(opt);
	struct stream s;
	float *data;
	uint64_t seqno;

	bench_queue(b, 0, 0, mode);
	wr(b, NPU_IRQ_DONE, UINT32_MAX);
	wr(b, NPU_IRQ_DONE_EN, UINT32_MAX);
	data = bus(b, b->data_bus);
	for (int i = 0; i < 1001; i++)
		data[i] = (float)i;
	build(&s);
	seqno = q_submit(b, 0, &s);
	assert_true(q_wait(b, 0, seqno));
	for (int i = 0; i < 1000; i++)
		assert_true(data[i] == (float)(i + 3));
	assert_true(data[1000] == 1000.0f);
	assert_int_equal(*(uint64_t *)(data + 2048), 21);
	assert_int_equal(q_comp(b, 0, 0)->seqno, seqno);
	assert_int_equal(q_comp(b, 0, 0)->cookie, (uint32_t)seqno ^ 0x5a5a);
	assert_int_equal(q_comp(b, 0, 0)->commands, 2 + 3 * 3 + 2);
	assert_true(q_comp(b, 0, 0)->active_ns > 0);
	assert_int_equal(rd(b, NPU_QU(0) + NPU_QU_HEAD), 1);
	assert_int_equal(rd64(b, NPU_QC(0) + NPU_QC_COMMANDS_LO), 13);
	/* The line rises, and falls when the status is cleared. */
	pthread_mutex_lock(&b->lock);
	while (!b->level)
		pthread_cond_wait(&b->cond, &b->lock);
	assert_int_equal(b->rises, 1);
	pthread_mutex_unlock(&b->lock);
	assert_int_equal(rd(b, NPU_IRQ_SUMMARY), NPU_IRQ_SUM_DONE);
	assert_int_equal(rd(b, NPU_IRQ_DONE), 1);
	wr(b, NPU_IRQ_DONE, 1);
	assert_int_equal(rd(b, NPU_IRQ_SUMMARY), 0);
	pthread_mutex_lock(&b->lock);
	while (b->level)
		pthread_cond_wait(&b->cond, &b->lock);
	pthread_mutex_unlock(&b->lock);
	bench_free(b);
}

static void test_kernel_sync(void **state)
{
	(void)state;
	run_job(&sync_opt, NPU_QC_MODE_KERNEL);
}

static void test_kernel_async(void **state)
{
	(void)state;
	run_job(&async_opt, NPU_QC_MODE_KERNEL);
}

static void test_user_sync(void **state)
{
	(void)state;
	run_job(&sync_opt, NPU_QC_MODE_USER);
}

static void test_user_async(void **state)
{
	(void)state;
	run_job(&async_opt, NPU_QC_MODE_USER);
}

/* More jobs than the ring has entries, from several queues. */
static void test_many_jobs(void **state)
{
	struct bench *b = bench_new(&async_opt);
	struct stream s = { .size = 0 };
	float *data;

	(void)state;
	s_inc(&s, VA_DATA, VA_DATA, 16, 0, NPU_NO_TOKEN);
	s_end(&s);
	for (unsigned int q = 0; q < 4; q++)
		bench_queue(b, q, 0, q & 1);
	data = bus(b, b->data_bus);
	for (unsigned int round = 0; round < 50; round++) {
		uint64_t last[4];

		for (unsigned int q = 0; q < 4; q++) {
			for (unsigned int i = 0; i < 1u << RING_LOG2; i++)
				last[q] = q_push(b, q, &s, VA_STREAM, NPU_JOB_IRQ);
			q_ring(b, q);
		}
		for (unsigned int q = 0; q < 4; q++)
			assert_true(q_wait(b, q, last[q]));
	}
	assert_true(data[0] == 50.0f * 4 * (1u << RING_LOG2));
	assert_int_equal(npu_model_wait_idle(b->m, 1000000000), 0);
	bench_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kernel_sync), cmocka_unit_test(test_kernel_async),
		cmocka_unit_test(test_user_sync),   cmocka_unit_test(test_user_async),
		cmocka_unit_test(test_many_jobs),
	};

	return cmocka_run_group_tests_name("model: jobs", tests, NULL, NULL);
}
