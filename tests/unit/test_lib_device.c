// SPDX-License-Identifier: MIT
/* Devices, memory, queues, fences: functions and their errors, on any device. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib_common.h"


/* ---- Devices ------------------------------------------------------------------------- */

static int count_entry(void *data, const struct npu_device_entry *e)
{
	assert_non_null(e->name);
	assert_non_null(e->driver);
	(*(int *)data)++;
	return 0;
}

static int stop_entry(void *data, const struct npu_device_entry *e)
{
	(void)data;
	(void)e;
	return 42;
}

static void test_open(void **state)
{
	char err[256] = "";
	struct npu_device_options opt = { .size = sizeof(opt), .err = err, .err_size = sizeof(err) };
	struct npu_device *dev;
	int n = 0;

	(void)state;
	assert_true(npu_device_list(count_entry, &n) >= 1);
	assert_true(n >= 1);
	assert_int_equal(npu_device_list(stop_entry, NULL), 42);
	assert_int_equal(npu_device_open("no-such-device", &opt, &dev), -ENODEV);
	assert_non_null(strstr(err, "no-such-device"));
	assert_null(dev);
	assert_int_equal(npu_device_open("/dev/accel/accel77", &opt, &dev), -ENODEV);
	assert_non_null(strstr(err, "accel77"));
	assert_int_equal(npu_device_open("/dev/null", &opt, &dev), -EPROTO);
	assert_int_equal(npu_device_open("soft:colour=red", &opt, &dev), -EINVAL);
	assert_non_null(strstr(err, "colour"));
	assert_int_equal(npu_device_open("soft:threads=99", &opt, &dev), -EINVAL);
	assert_int_equal(npu_device_open("soft:memory=lots", &opt, &dev), -EINVAL);
	assert_int_equal(npu_device_open("soft:config=/nonexistent.conf", &opt, &dev), -ENOENT);
	assert_non_null(strstr(err, "nonexistent"));
	opt.size = 1;
	assert_int_equal(npu_device_open("soft", &opt, &dev), -EINVAL);
	npu_device_close(NULL);
	assert_string_equal(npu_strerror(-ENOMEM), "out of memory");
	assert_string_equal(npu_strerror(-12345), "unknown error");
	assert_int_equal(npu_version(), NPU_VERSION_MAJOR << 16 | NPU_VERSION_MINOR << 8 | NPU_VERSION_PATCH);
}

static void test_info(void **state)
{
	struct lib_state *s = *state;
	struct npu_device_info info;
	struct npu_counters c;
	uint32_t impl;

	assert_true(s->info.hw_queues >= 4 && s->info.slots >= 8);
	assert_memory_equal(npu_device_name(s->dev), lib_device(), 4);
	assert_true(npu_device_has_op(s->dev, NPU_OP_MATMUL));
	assert_false(npu_device_has_op(s->dev, NPU_CMD_NOP));
	assert_false(npu_device_has_op(s->dev, 0x7fffffff));
	assert_true(npu_device_has_weight(s->dev, NPU_TYPE_F32, NPU_LAYOUT_ROWS));
	assert_false(npu_device_has_weight(s->dev, 99, NPU_LAYOUT_ROWS));
	/* Shorter structures of older callers. */
	memset(&info, 0xee, sizeof(info));
	assert_ok(s->dev, npu_device_query(s->dev, &info, sizeof(impl)));
	assert_int_equal(info.impl, s->info.impl);
	assert_int_equal(info.rev, 0xeeeeeeee);
	assert_ok(s->dev, npu_device_counters(s->dev, &c, sizeof(c)));
	assert_true(c.core_khz > 0);
}

/* ---- Memory ------------------------------------------------------------------------------ */

static void test_buffers(void **state)
{
	struct lib_state *s = *state;
	static const uint64_t sizes[] = { 1, 4096, 4097, 1 << 20, (2 << 20) + 1, 5 << 20 };
	struct npu_buffer *b[6], *x;
	char data[100], back[100];

	for (unsigned int i = 0; i < 6; i++) {
		assert_ok(s->dev, npu_buffer_create(s->vm, sizes[i], i & 1 ? NPU_BUFFER_CACHED : 0, &b[i]));
		assert_int_equal(npu_buffer_size(b[i]), sizes[i]);
		assert_int_equal(npu_buffer_va(b[i]) % (sizes[i] >= 2 << 20 ? 2 << 20 : 4096), 0);
		for (unsigned int k = 0; k < i; k++)
			assert_true(npu_buffer_va(b[i]) + sizes[i] <= npu_buffer_va(b[k]) ||
				    npu_buffer_va(b[k]) + sizes[k] <= npu_buffer_va(b[i]));
		assert_non_null(npu_buffer_map(b[i]));
		assert_int_equal(((char *)npu_buffer_map(b[i]))[sizes[i] - 1], 0);
	}
	memset(data, 7, sizeof(data));
	assert_ok(s->dev, npu_buffer_upload(b[3], 1000, data, sizeof(data)));
	assert_ok(s->dev, npu_buffer_download(b[3], 1000, back, sizeof(back)));
	assert_memory_equal(data, back, sizeof(data));
	assert_int_equal(npu_buffer_upload(b[3], (1 << 20) - 99, data, 100), -EINVAL);
	lib_assert_text(s->dev, "outside");
	assert_int_equal(npu_buffer_sync(b[3], NPU_SYNC_FOR_CPU, UINT64_MAX, 2), -EINVAL);
	assert_ok(s->dev, npu_buffer_sync(b[3], NPU_SYNC_FOR_CPU, 1 << 20, 0));
	assert_ok(s->dev, npu_buffer_wait(b[3], 0));
	for (unsigned int i = 0; i < 6; i++)
		npu_buffer_unref(b[i]);
	assert_int_equal(npu_buffer_create(s->vm, 0, 0, &x), -EINVAL);
	assert_null(x);
	assert_int_equal(npu_buffer_create(s->vm, UINT64_MAX, 0, &x), -EINVAL);
	assert_int_equal(npu_buffer_create(s->vm, 4096, 1u << 31, &x), -EINVAL);
	lib_assert_text(s->dev, "flags");
	assert_ok(s->dev, npu_buffer_create(s->vm, 4096, NPU_BUFFER_NO_MAP, &x));
	assert_null(npu_buffer_map(x));
	assert_int_equal(npu_buffer_upload(x, 0, data, 1), -EINVAL);
	npu_buffer_unref(x);
	/* What was freed comes back as zeroes. */
	assert_ok(s->dev, npu_buffer_create(s->vm, 1 << 20, 0, &x));
	assert_int_equal(((char *)npu_buffer_map(x))[1000], 0);
	npu_buffer_unref(x);
}

static void test_share(void **state)
{
	struct lib_state *s = *state;
	struct npu_buffer *a, *b, *plain;
	struct npu_vm *vm2;
	int fd = -1;

	assert_ok(s->dev, npu_buffer_create(s->vm, 8192, 0, &plain));
	assert_int_equal(npu_buffer_export(plain, &fd), -EINVAL);
	lib_assert_text(s->dev, "NPU_BUFFER_SHARED");
	npu_buffer_unref(plain);
	assert_ok(s->dev, npu_buffer_create(s->vm, 8192, NPU_BUFFER_SHARED, &a));
	assert_ok(s->dev, npu_buffer_export(a, &fd));
	assert_ok(s->dev, npu_vm_create(s->dev, &vm2));
	assert_ok(s->dev, npu_buffer_import(vm2, fd, 0, &b));
	close(fd);
	assert_true(npu_buffer_size(b) >= 8192);
	((uint32_t *)npu_buffer_map(a))[5] = 0xabcd;
	assert_int_equal(((uint32_t *)npu_buffer_map(b))[5], 0xabcd);
	npu_buffer_unref(a);
	assert_int_equal(((uint32_t *)npu_buffer_map(b))[5], 0xabcd);
	npu_buffer_unref(b);
	assert_int_equal(npu_buffer_import(vm2, fd, 1u << 20, &b), -EINVAL);
	assert_true(npu_buffer_import(vm2, -1, 0, &b) < 0);
	npu_vm_unref(vm2);
}

/* ---- Jobs ------------------------------------------------------------------------------------ */

/* A stream in a buffer: r0 is stored at r1; with @spin, r2 rounds of a loop first. */
struct store_job {
	struct npu_buffer *stream, *out;
	uint32_t bytes;
};

static struct store_job store_job(struct lib_state *s)
{
	struct store_job j;
	struct npu_stream *st;
	struct npu_regop at = {
		.field = NPU_FIELD(struct npu_cmd_mem, addr), .ra = 1, .rb = NPU_NO_REG, .sa = 1,
	};
	struct npu_issue issue = NPU_ISSUE_INIT;
	int top;

	issue.nregops = 1;
	issue.regops = &at;
	assert_ok(s->dev, npu_stream_create(s->dev, &st));
	npu_emit_alui(st, NPU_ALU_ADD, 2, 2, 1);
	top = npu_emit_nop(st, NULL);
	npu_emit_loop(st, 2, top);
	npu_emit_store(st, &issue, 0, 0, 8);
	npu_emit_end(st, NULL);
	assert_string_equal(npu_stream_error(st), "");
	j.bytes = npu_stream_bytes(st);
	assert_ok(s->dev, npu_buffer_create(s->vm, j.bytes, 0, &j.stream));
	assert_ok(s->dev, npu_buffer_upload(j.stream, 0, npu_stream_data(st), j.bytes));
	assert_ok(s->dev, npu_buffer_create(s->vm, 65536, NPU_BUFFER_CACHED, &j.out));
	npu_stream_destroy(st);
	return j;
}

static void store_job_free(struct store_job *j)
{
	npu_buffer_unref(j->stream);
	npu_buffer_unref(j->out);
}

static struct npu_job make_job(const struct store_job *j, uint64_t regs[3], uint64_t value, uint32_t slot, uint64_t rounds)
{
	regs[0] = value;
	regs[1] = npu_buffer_va(j->out) + slot * 8ull;
	regs[2] = rounds;
	return (struct npu_job) {
		.stream = npu_buffer_va(j->stream), .stream_bytes = j->bytes, .nregs = 3, .regs = regs,
	};
}

static uint64_t slot_value(struct lib_state *s, const struct store_job *j, uint32_t slot)
{
	uint64_t v;

	assert_ok(s->dev, npu_buffer_download(j->out, slot * 8ull, &v, 8));
	return v;
}

static void test_jobs(void **state)
{
	struct lib_state *s = *state;
	struct store_job j = store_job(s);
	struct npu_point p = { NULL, 0 };
	struct npu_fence *f;
	uint64_t regs[3], value;

	assert_ok(s->dev, npu_fence_create(s->dev, &f));
	p.fence = f;
	/* More jobs than a ring holds, in one queue. */
	for (uint32_t i = 0; i < 300; i++) {
		struct npu_job job = make_job(&j, regs, i + 1000, i, 0);

		p.value = i + 1;
		job.signals = &p;
		job.nsignals = 1;
		assert_ok(s->dev, npu_queue_submit(s->queue, &job, 1));
	}
	assert_ok(s->dev, npu_fence_wait(f, 300, LIB_HANG_NS));
	assert_ok(s->dev, npu_fence_value(f, &value));
	assert_int_equal(value, 300);
	for (uint32_t i = 0; i < 300; i++)
		assert_int_equal(slot_value(s, &j, i), i + 1000);
	assert_ok(s->dev, npu_queue_check(s->queue));
	assert_ok(s->dev, npu_buffer_wait(j.out, LIB_HANG_NS));
	npu_fence_unref(f);
	store_job_free(&j);
}

static void test_submit_errors(void **state)
{
	struct lib_state *s = *state;
	struct store_job j = store_job(s);
	struct npu_point p = { NULL, 1 };
	struct npu_fence *f;
	uint64_t regs[3], value;
	struct npu_job good = make_job(&j, regs, 1, 0, 0), bad;

	assert_ok(s->dev, npu_fence_create(s->dev, &f));
	p.fence = f;
	assert_int_equal(npu_queue_submit(s->queue, &good, 0), -EINVAL);
	bad = good;
	bad.stream_bytes += 8;
	assert_int_equal(npu_queue_submit(s->queue, &bad, 1), -EINVAL);
	lib_assert_text(s->dev, "multiples of 16");
	bad = good;
	bad.nregs = 33;
	assert_int_equal(npu_queue_submit(s->queue, &bad, 1), -EINVAL);
	bad = good;
	bad.regs = NULL;
	assert_int_equal(npu_queue_submit(s->queue, &bad, 1), -EINVAL);
	bad = good;
	bad.stream_bytes = 0;
	assert_int_equal(npu_queue_submit(s->queue, &bad, 1), -EINVAL);
	bad = good;
	bad.waits = &p;
	bad.nwaits = 1;
	assert_int_equal(npu_queue_submit(s->queue, &bad, 1), -EINVAL);
	lib_assert_text(s->dev, "promised");
	/* All or none: the second job is bad, so the first must not signal. */
	{
		struct npu_job two[2] = { good, bad };
		struct npu_point later = { f, 9 };

		two[0].signals = &p;
		two[0].nsignals = 1;
		two[1].waits = &later;
		assert_int_equal(npu_queue_submit(s->queue, two, 2), -EINVAL);
		assert_ok(s->dev, npu_fence_value(f, &value));
		assert_int_equal(value, 0);
	}
	/* And the point is free again. */
	good.signals = &p;
	good.nsignals = 1;
	assert_ok(s->dev, npu_queue_submit(s->queue, &good, 1));
	assert_ok(s->dev, npu_fence_wait(f, 1, LIB_HANG_NS));
	assert_int_equal(npu_queue_submit(s->queue, &good, 1), -EINVAL);
	lib_assert_text(s->dev, "not above");
	npu_fence_unref(f);
	store_job_free(&j);
}

/* ---- Fences -------------------------------------------------------------------------------------- */

static void test_fences(void **state)
{
	struct lib_state *s = *state;
	struct store_job j = store_job(s);
	struct npu_queue *q2;
	struct npu_fence *f, *gate;
	uint64_t r1[3], r2[3], value;
	struct npu_job a = make_job(&j, r1, 11, 0, 0), b = make_job(&j, r2, 22, 0, 0);
	struct npu_point gate1, a_done, b_done, both[2];

	assert_ok(s->dev, npu_queue_create(s->vm, NULL, &q2));
	assert_ok(s->dev, npu_fence_create(s->dev, &f));
	assert_ok(s->dev, npu_fence_create(s->dev, &gate));
	gate1 = (struct npu_point){ gate, 1 };
	a_done = (struct npu_point){ f, 1 };
	b_done = (struct npu_point){ f, 2 };
	/* The CPU opens the gate; a on one queue, then b on the other, to the same place. */
	assert_int_equal(npu_fence_wait(gate, 1, 0), -ETIME);
	assert_int_equal(npu_fence_export(gate, 1, &(int){ 0 }), -EINVAL);
	assert_ok(s->dev, npu_fence_signal(gate, 1));
	assert_int_equal(npu_fence_signal(gate, 1), -EINVAL);
	a.waits = &gate1;
	a.nwaits = 1;
	a.signals = &a_done;
	a.nsignals = 1;
	b.waits = &a_done;
	b.nwaits = 1;
	b.signals = &b_done;
	b.nsignals = 1;
	assert_ok(s->dev, npu_queue_submit(s->queue, &a, 1));
	assert_ok(s->dev, npu_queue_submit(q2, &b, 1));
	both[0] = a_done;
	both[1] = b_done;
	assert_ok(s->dev, npu_fence_wait_all(both, 2, LIB_HANG_NS));
	assert_int_equal(npu_fence_wait_any(both, 2, LIB_HANG_NS), 0);
	assert_int_equal(slot_value(s, &j, 0), 22);
	assert_ok(s->dev, npu_fence_value(f, &value));
	assert_int_equal(value, 2);
	both[0].value = 99;
	assert_int_equal(npu_fence_wait_any(both, 2, LIB_HANG_NS), 1);
	assert_int_equal(npu_fence_wait_all(both, 2, 1000000), -ETIME);
	assert_int_equal(npu_fence_wait_all(both, 0, 0), -EINVAL);
	npu_fence_unref(gate);
	npu_fence_unref(f);
	npu_queue_unref(q2);
	store_job_free(&j);
}

static void test_fence_fd(void **state)
{
	struct lib_state *s = *state;
	struct store_job j = store_job(s);
	struct npu_fence *f, *g;
	struct pollfd pf = { .events = POLLIN };
	struct npu_point done, after;
	uint64_t regs[3];
	struct npu_job a = make_job(&j, regs, 5, 1, 20000), sync = { 0 };

	assert_ok(s->dev, npu_fence_create(s->dev, &f));
	assert_ok(s->dev, npu_fence_create(s->dev, &g));
	done = (struct npu_point){ f, 3 };
	a.signals = &done;
	a.nsignals = 1;
	assert_ok(s->dev, npu_queue_submit(s->queue, &a, 1));
	assert_ok(s->dev, npu_fence_export(f, 3, &pf.fd));
	/* The descriptor as a point of another fence, and a job without commands that waits for it. */
	assert_ok(s->dev, npu_fence_import(g, 7, pf.fd));
	after = (struct npu_point){ g, 7 };
	sync.waits = &after;
	sync.nwaits = 1;
	done.value = 4;
	sync.signals = &done;
	sync.nsignals = 1;
	assert_ok(s->dev, npu_queue_submit(s->queue, &sync, 1));
	assert_int_equal(poll(&pf, 1, 60000), 1);
	assert_ok(s->dev, npu_fence_wait(g, 7, LIB_HANG_NS));
	assert_ok(s->dev, npu_fence_wait(f, 4, LIB_HANG_NS));
	assert_int_equal(slot_value(s, &j, 1), 5);
	close(pf.fd);
	assert_true(npu_fence_import(g, 8, -1) < 0);
	npu_fence_unref(f);
	npu_fence_unref(g);
	store_job_free(&j);
}

/* ---- Queues -------------------------------------------------------------------------------------- */

/* More queues and address spaces than the hardware has, all with work at once. */
static void test_many_queues(void **state)
{
	struct lib_state *s = *state;
	enum { Q = 40 };
	struct npu_queue *q[Q];
	struct npu_vm *vm[Q];
	struct lib_state local[Q];
	struct store_job j[Q];
	struct npu_fence *f[Q];
	uint64_t regs[3];

	for (unsigned int i = 0; i < Q; i++) {
		assert_ok(s->dev, npu_vm_create(s->dev, &vm[i]));
		local[i] = *s;
		local[i].vm = vm[i];
		j[i] = store_job(&local[i]);
		assert_ok(s->dev, npu_queue_create(vm[i], NULL, &q[i]));
		assert_ok(s->dev, npu_fence_create(s->dev, &f[i]));
	}
	for (unsigned int n = 0; n < 5; n++)
		for (unsigned int i = 0; i < Q; i++) {
			struct npu_job job = make_job(&j[i], regs, 100 * i + n, n, 3000);
			struct npu_point p = { f[i], n + 1 };

			job.signals = &p;
			job.nsignals = 1;
			assert_ok(s->dev, npu_queue_submit(q[i], &job, 1));
		}
	for (unsigned int i = 0; i < Q; i++) {
		assert_ok(s->dev, npu_fence_wait(f[i], 5, LIB_HANG_NS));
		for (unsigned int n = 0; n < 5; n++)
			assert_int_equal(slot_value(&local[i], &j[i], n), 100 * i + n);
		assert_ok(s->dev, npu_queue_check(q[i]));
	}
	for (unsigned int i = 0; i < Q; i++) {
		npu_queue_unref(q[i]);
		store_job_free(&j[i]);
		npu_fence_unref(f[i]);
		npu_vm_unref(vm[i]);
	}
}

/* Long jobs on more queues than the hardware has: one that comes last does not wait for all before it. */
static void test_multiplex(void **state)
{
	struct lib_state *s = *state;
	uint32_t n = s->info.hw_queues + 4;
	struct store_job j = store_job(s);
	struct npu_queue **q = calloc(n, sizeof(*q));
	struct npu_fence *f;
	uint64_t regs[3], value;

	assert_ok(s->dev, npu_fence_create(s->dev, &f));
	for (uint32_t i = 0; i < n; i++) {
		struct npu_job job = make_job(&j, regs, 7 * i, i, 300000);
		struct npu_fence *own = NULL;

		/* The last one is short and signals; the others only run. */
		if (i == n - 1)
			job = make_job(&j, regs, 7 * i, i, 10);
		if (i == n - 1)
			own = f;
		job.signals = &(struct npu_point){ own, 1 };
		job.nsignals = own != NULL;
		assert_ok(s->dev, npu_queue_create(s->vm, NULL, &q[i]));
		assert_ok(s->dev, npu_queue_submit(q[i], &job, 1));
	}
	assert_ok(s->dev, npu_fence_wait(f, 1, LIB_HANG_NS));
	value = 0;
	for (uint32_t i = 0; i < n - 1; i++)
		value += slot_value(s, &j, i) == 7 * i && i;
	print_message("# %u of %u long jobs had ended before the short one\n", (unsigned int)value, n - 2);
	assert_true(value < n - 2);
	assert_ok(s->dev, npu_buffer_wait(j.out, LIB_HANG_NS));
	for (uint32_t i = 0; i < n; i++) {
		assert_int_equal(slot_value(s, &j, i), 7 * i);
		assert_ok(s->dev, npu_queue_check(q[i]));
		npu_queue_unref(q[i]);
	}
	free(q);
	npu_fence_unref(f);
	store_job_free(&j);
}

static void test_priorities(void **state)
{
	struct lib_state *s = *state;
	struct npu_queue_options opt = { .size = sizeof(opt) };
	struct npu_queue *q;

	for (int p = NPU_PRIORITY_LOW; p <= NPU_PRIORITY_REALTIME; p++) {
		opt.priority = (enum npu_priority)p;
		if (s->info.priorities >> p & 1) {
			assert_ok(s->dev, npu_queue_create(s->vm, &opt, &q));
			npu_queue_unref(q);
		} else {
			assert_int_equal(npu_queue_create(s->vm, &opt, &q), -EACCES);
		}
	}
	opt.priority = (enum npu_priority)9;
	assert_int_equal(npu_queue_create(s->vm, &opt, &q), -EINVAL);
	assert_null(q);
	opt.size = 2;
	assert_int_equal(npu_queue_create(s->vm, &opt, &q), -EINVAL);
}

/* A fault ends its queue with an explanation, and no other. */
static void test_fault(void **state)
{
	struct lib_state *s = *state;
	struct store_job j = store_job(s);
	struct npu_queue *bad;
	struct npu_queue_status st;
	struct npu_fence *f;
	uint64_t regs[3], hole = 1ull << (s->info.va_bits - 2);
	struct npu_job job = make_job(&j, regs, 1, 0, 0);
	struct npu_point p;

	assert_ok(s->dev, npu_queue_create(s->vm, NULL, &bad));
	assert_ok(s->dev, npu_fence_create(s->dev, &f));
	p = (struct npu_point){ f, 1 };
	regs[1] = hole;
	job.signals = &p;
	job.nsignals = 1;
	assert_ok(s->dev, npu_queue_submit(bad, &job, 1));
	assert_ok(s->dev, npu_fence_wait(f, 1, LIB_HANG_NS));
	assert_int_equal(npu_queue_check(bad), -EFAULT);
	lib_assert_text(s->dev, "STORE");
	lib_assert_text(s->dev, "not mapped");
	assert_ok(s->dev, npu_queue_status(bad, &st, sizeof(st)));
	assert_int_equal(st.state, NPU_QUEUE_FAULT);
	assert_int_equal(st.fault_addr, hole);
	assert_string_equal(npu_queue_state_name(st.state), "fault");
	assert_string_equal(npu_fault_name(st.fault), "address not mapped");
	assert_string_equal(npu_fault_name(0), "none");
	p.value = 2;
	assert_int_equal(npu_queue_submit(bad, &job, 1), -EIO);
	npu_queue_unref(bad);
	regs[1] = npu_buffer_va(j.out);
	assert_ok(s->dev, npu_queue_submit(s->queue, &job, 1));
	assert_ok(s->dev, npu_fence_wait(f, 2, LIB_HANG_NS));
	assert_ok(s->dev, npu_queue_check(s->queue));
	assert_int_equal(slot_value(s, &j, 0), 1);
	npu_fence_unref(f);
	store_job_free(&j);
}

/* A job above its budget is stopped. */
static void test_budget(void **state)
{
	struct lib_state *s = *state;
	struct store_job j = store_job(s);
	struct npu_fence *f;
	uint64_t regs[3];
	struct npu_job job = make_job(&j, regs, 1, 0, 1ull << 40);
	struct npu_point p;
	int err;

	assert_ok(s->dev, npu_fence_create(s->dev, &f));
	p = (struct npu_point){ f, 1 };
	job.budget_us = 2000;
	job.signals = &p;
	job.nsignals = 1;
	assert_ok(s->dev, npu_queue_submit(s->queue, &job, 1));
	assert_ok(s->dev, npu_fence_wait(f, 1, LIB_HANG_NS));
	err = npu_queue_check(s->queue);
	assert_int_equal(err, -ETIMEDOUT);
	lib_assert_text(s->dev, "too long");
	npu_fence_unref(f);
	store_job_free(&j);
}

/* Read-only buffers: the device may not write them. */
static void test_readonly(void **state)
{
	struct lib_state *s = *state;
	struct store_job j = store_job(s);
	struct npu_buffer *ro;
	struct npu_fence *f;
	uint64_t regs[3];
	struct npu_job job = make_job(&j, regs, 1, 0, 0);
	struct npu_point p;

	assert_ok(s->dev, npu_buffer_create(s->vm, 4096, NPU_BUFFER_READONLY, &ro));
	assert_ok(s->dev, npu_fence_create(s->dev, &f));
	p = (struct npu_point){ f, 1 };
	regs[1] = npu_buffer_va(ro);
	job.signals = &p;
	job.nsignals = 1;
	assert_ok(s->dev, npu_queue_submit(s->queue, &job, 1));
	assert_ok(s->dev, npu_fence_wait(f, 1, LIB_HANG_NS));
	assert_int_equal(npu_queue_check(s->queue), -EFAULT);
	lib_assert_text(s->dev, "not permitted");
	npu_fence_unref(f);
	npu_buffer_unref(ro);
	store_job_free(&j);
}

/* ---- Threads and processes ------------------------------------------------------------------------- */

struct worker {
	struct lib_state *s;
	struct store_job *j;
	unsigned int id;
	int err;
};

static void *submit_many(void *arg)
{
	struct worker *w = arg;
	struct npu_queue *q = NULL;
	struct npu_fence *f = NULL;
	uint64_t regs[3];

	w->err = npu_queue_create(w->s->vm, NULL, &q);
	if (!w->err)
		w->err = npu_fence_create(w->s->dev, &f);
	for (uint32_t i = 0; i < 50 && !w->err; i++) {
		struct npu_job job = make_job(w->j, regs, w->id, w->id, 10);
		struct npu_point p = { f, i + 1 };
		struct npu_buffer *b;

		job.signals = &p;
		job.nsignals = 1;
		w->err = npu_queue_submit(q, &job, 1);
		if (!w->err && i % 8 == 0) {
			w->err = npu_buffer_create(w->s->vm, 8192, 0, &b);
			if (!w->err)
				npu_buffer_unref(b);
		}
		if (!w->err)
			w->err = npu_fence_wait(f, i + 1, LIB_HANG_NS);
	}
	if (!w->err)
		w->err = npu_queue_check(q);
	npu_fence_unref(f);
	npu_queue_unref(q);
	return NULL;
}

static void test_threads(void **state)
{
	struct lib_state *s = *state;
	struct store_job j = store_job(s);
	struct worker w[6];
	pthread_t t[6];

	for (unsigned int i = 0; i < 6; i++) {
		w[i] = (struct worker) { s, &j, i + 1, 0 };
		assert_int_equal(pthread_create(&t[i], NULL, submit_many, &w[i]), 0);
	}
	for (unsigned int i = 0; i < 6; i++) {
		pthread_join(t[i], NULL);
		assert_int_equal(w[i].err, 0);
		assert_int_equal(slot_value(s, &j, i + 1), i + 1);
	}
	store_job_free(&j);
}

/* A reference keeps an object, and what it stands on, after the first one is gone. */
static void test_references(void **state)
{
	struct lib_state *s = *state;
	struct store_job j = store_job(s);
	struct npu_device *dev = npu_device_ref(s->dev);
	struct npu_queue *queue;
	struct npu_buffer *out;
	struct npu_fence *f;
	struct npu_vm *vm;
	uint64_t regs[3], value;
	struct npu_job job = make_job(&j, regs, 123, 4, 0);
	struct npu_point p;

	assert_ptr_equal(npu_vm_device(s->vm), s->dev);
	assert_ptr_equal(npu_buffer_vm(j.out), s->vm);
	assert_ptr_equal(npu_queue_vm(s->queue), s->vm);
	assert_ok(s->dev, npu_vm_check(s->vm));
	assert_ok(s->dev, npu_fence_create(s->dev, &f));
	npu_fence_ref(f);
	npu_fence_unref(f);
	p = (struct npu_point){ f, 1 };
	job.signals = &p;
	job.nsignals = 1;

	out = npu_buffer_ref(j.out);
	npu_buffer_unref(j.out);
	queue = npu_queue_ref(s->queue);
	npu_queue_unref(s->queue);
	vm = npu_vm_ref(s->vm);
	npu_vm_unref(s->vm);
	npu_device_close(s->dev);
	assert_ok(dev, npu_queue_submit(queue, &job, 1));
	assert_ok(dev, npu_fence_wait(f, 1, LIB_HANG_NS));
	assert_ok(dev, npu_buffer_download(out, 4 * 8, &value, 8));
	assert_int_equal(value, 123);
	npu_fence_unref(f);
	j.out = out;
	store_job_free(&j);
	/* What the tear-down drops are the second ones. */
	s->dev = dev;
	s->queue = queue;
	s->vm = vm;
}

/*
 * End of a forked child. By exec, as most children end: what it holds a copy of is the parent's, and no leak that
 * valgrind should look for at an exit.
 */
static void leave(int status)
{
	char command[16];

	snprintf(command, sizeof(command), "exit %d", status);
	execl("/bin/sh", "sh", "-c", command, (char *)NULL);
	_exit(127);
}

static void test_fork(void **state)
{
	struct lib_state *s = *state;
	struct store_job j = store_job(s);
	struct npu_fence *f;
	uint64_t regs[3];
	struct npu_job job = make_job(&j, regs, 99, 1, 0);
	struct npu_point p;
	int status;
	pid_t pid;

	assert_ok(s->dev, npu_fence_create(s->dev, &f));
	p = (struct npu_point){ f, 1 };
	job.signals = &p;
	job.nsignals = 1;
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		struct npu_buffer *b;
		struct npu_device_info info;

		if (npu_buffer_create(s->vm, 4096, 0, &b) != -EPERM)
			leave(1);
		if (npu_device_query(s->dev, &info, sizeof(info)) != -EPERM)
			leave(2);
		if (npu_queue_submit(s->queue, &job, 1) != -EPERM || npu_fence_wait(f, 1, 0) != -EPERM)
			leave(3);
		/* Freeing is allowed, and the parent must not notice. */
		store_job_free(&j);
		npu_fence_unref(f);
		npu_queue_unref(s->queue);
		npu_vm_unref(s->vm);
		npu_device_close(s->dev);
		leave(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_ok(s->dev, npu_queue_submit(s->queue, &job, 1));
	assert_ok(s->dev, npu_fence_wait(f, 1, LIB_HANG_NS));
	assert_ok(s->dev, npu_queue_check(s->queue));
	assert_int_equal(slot_value(s, &j, 1), 99);
	npu_fence_unref(f);
	store_job_free(&j);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, lib_setup, lib_teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_open), T(test_info), T(test_buffers), T(test_share), T(test_jobs),
		T(test_submit_errors), T(test_fences), T(test_fence_fd), T(test_many_queues), T(test_multiplex),
		T(test_priorities), T(test_fault),
		T(test_budget), T(test_readonly), T(test_threads), T(test_references), T(test_fork),
	};

	return cmocka_run_group_tests_name("lib_device", tests, NULL, NULL);
}
