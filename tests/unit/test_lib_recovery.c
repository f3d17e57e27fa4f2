// SPDX-License-Identifier: MIT
/*
 * Injected faults: every path of recovery, and what others notice of it; on the software device, and on a node of the
 * virtual board, whose control file injects.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib_common.h"


static bool is_soft(void)
{
	return !strncmp(lib_device(), "soft", 4);
}

struct job {
	struct npu_queue *queue;
	struct npu_fence *fence;
	struct npu_buffer *stream;
	uint64_t point;
	uint32_t bytes;
};

/* A queue with a job of @rounds loop rounds and a FILL behind its stream. */
static struct job job_new(struct lib_state *s, uint64_t rounds, uint32_t timeout_ms)
{
	struct npu_queue_options opt = { .size = sizeof(opt), .priority = NPU_PRIORITY_MEDIUM, .timeout_ms = timeout_ms };
	struct npu_cmd_map fill = { .p0 = 1, .dst = { .ne = { 16, 1, 1, 1 }, .nb = { 4, 64, 64, 64 } } };
	struct npu_stream *st;
	struct job j = { 0 };
	int top;

	assert_ok(s->dev, npu_queue_create(s->vm, &opt, &j.queue));
	assert_ok(s->dev, npu_fence_create(s->dev, &j.fence));
	assert_ok(s->dev, npu_stream_create(s->dev, &st));
	npu_emit_set(st, 0, rounds);
	top = npu_emit_nop(st, NULL);
	npu_emit_loop(st, 0, top);
	assert_ok(s->dev, npu_buffer_create(s->vm, 8192, 0, &j.stream));
	fill.dst.addr = npu_buffer_va(j.stream) + 4096;
	npu_emit_fill(st, NULL, &fill);
	npu_emit_end(st, NULL);
	assert_string_equal(npu_stream_error(st), "");
	j.bytes = npu_stream_bytes(st);
	assert_ok(s->dev, npu_buffer_upload(j.stream, 0, npu_stream_data(st), j.bytes));
	npu_stream_destroy(st);
	return j;
}

static int job_submit(struct job *j)
{
	struct npu_point p = { j->fence, j->point + 1 };
	struct npu_job job = {
		.stream = npu_buffer_va(j->stream), .stream_bytes = j->bytes, .signals = &p, .nsignals = 1,
	};
	int err = npu_queue_submit(j->queue, &job, 1);

	j->point += !err;
	return err;
}

static int job_wait(struct job *j)
{
	int err = npu_fence_wait(j->fence, j->point, LIB_HANG_NS);

	return err ? err : npu_queue_check(j->queue);
}

static void job_free(struct job *j)
{
	npu_queue_unref(j->queue);
	npu_fence_unref(j->fence);
	npu_buffer_unref(j->stream);
}

static void test_names(void **state)
{
	struct lib_state *s = *state;

	assert_int_equal(lib_inject(s, "no-such-fault", 0), -EINVAL);
	if (is_soft()) {
		lib_assert_text(s->dev, "no-such-fault");
		return;
	}
	assert_int_equal(npu_device_inject(s->dev, "hang", -1, 0, 0), -EOPNOTSUPP);
	lib_assert_text(s->dev, "software device");
}

/* A hang: the watchdog ends that queue; another one goes on. */
static void test_hang(void **state)
{
	struct lib_state *s = *state;
	struct job bad = job_new(s, 10, 500), good = job_new(s, 10, 0);

	assert_ok(s->dev, lib_inject(s, "hang", 0));
	assert_ok(s->dev, job_submit(&bad));
	assert_int_equal(job_wait(&bad), -ETIMEDOUT);
	assert_int_equal(job_submit(&bad), -EIO);
	assert_ok(s->dev, job_submit(&good));
	assert_ok(s->dev, job_wait(&good));
	job_free(&bad);
	job_free(&good);
}

static void test_memory_faults(void **state)
{
	struct lib_state *s = *state;
	static const struct {
		const char *name;
		int err;
	} faults[] = { { "page-fault", -EFAULT }, { "ecc", -EIO } };

	for (unsigned int i = 0; i < 2; i++) {
		struct job j = job_new(s, 10, 0);

		assert_ok(s->dev, lib_inject(s, faults[i].name, 0));
		assert_ok(s->dev, job_submit(&j));
		assert_int_equal(job_wait(&j), faults[i].err);
		job_free(&j);
	}
}

/* A lost interrupt costs time, not the job. */
static void test_lost_irq(void **state)
{
	struct lib_state *s = *state;
	struct job j = job_new(s, 10, 0);

	for (unsigned int i = 0; i < 3; i++) {
		assert_ok(s->dev, lib_inject(s, "irq-lost", 0));
		assert_ok(s->dev, job_submit(&j));
		assert_ok(s->dev, job_wait(&j));
	}
	assert_ok(s->dev, lib_inject(s, "irq-spurious", 0));
	assert_ok(s->dev, job_submit(&j));
	assert_ok(s->dev, job_wait(&j));
	assert_ok(s->dev, lib_inject(s, "irq-storm", 50));
	assert_ok(s->dev, job_submit(&j));
	assert_ok(s->dev, job_wait(&j));
	job_free(&j);
}

/* A queue reset that never ends takes the device down: the other queue's started job is lost, and told. */
static void test_device_reset(void **state)
{
	struct lib_state *s = *state;
	struct job bad = job_new(s, 10, 300), other = job_new(s, 10, 0);
	struct npu_counters c;
	int err;

	assert_ok(s->dev, lib_inject(s, "hang", 0));
	assert_ok(s->dev, lib_inject(s, "queue-reset-fail", 0));
	assert_ok(s->dev, job_submit(&bad));
	assert_int_equal(job_wait(&bad), -ETIMEDOUT);
	assert_ok(s->dev, npu_device_counters(s->dev, &c, sizeof(c)));
	assert_true(c.resets >= 1);
	assert_ok(s->dev, job_submit(&other));
	err = job_wait(&other);
	assert_true(!err || err == -ECANCELED);
	assert_ok(s->dev, job_submit(&other));
	assert_ok(s->dev, job_wait(&other));
	job_free(&bad);
	job_free(&other);
}

static void test_fatal(void **state)
{
	struct lib_state *s = *state;
	struct job j = job_new(s, 10, 0);
	int err;

	assert_ok(s->dev, lib_inject(s, "fatal", 0));
	assert_ok(s->dev, job_submit(&j));
	err = job_wait(&j);
	assert_true(!err || err == -ECANCELED);
	assert_ok(s->dev, job_submit(&j));
	assert_ok(s->dev, job_wait(&j));
	job_free(&j);
}

/* The device vanishes for good: everything ends with -ENODEV, nothing hangs. */
static void test_gone(void **state)
{
	struct lib_state *s = *state;
	struct job j;
	int err;

	if (!is_soft()) {
		print_message("# skipped: recovery: a node that is gone would be missed by the tests that follow\n");
		return;
	}
	j = job_new(s, 10, 0);
	assert_ok(s->dev, lib_inject(s, "gone", 1));
	err = job_submit(&j);
	if (!err)
		err = job_wait(&j);
	assert_int_equal(err, -ENODEV);
	assert_int_equal(job_submit(&j), -ENODEV);
	job_free(&j);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, lib_setup, lib_teardown)
	const struct CMUnitTest tests[] = {
		T(test_names), T(test_hang), T(test_memory_faults), T(test_lost_irq), T(test_device_reset), T(test_fatal),
		T(test_gone),
	};

	setenv("NPU_DEVICE", "soft:threads=1", 0);
	if (!lib_can_inject()) {
		print_message("# skipped: recovery: nothing injects faults into %s\n", lib_device());
		return 77;
	}
	return cmocka_run_group_tests_name("lib_recovery", tests, NULL, NULL);
}
