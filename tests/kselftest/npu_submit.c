// SPDX-License-Identifier: GPL-2.0-only
/* SUBMIT: results, registers, fences binary and timeline, chains, order, priorities, many VMs. */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "npu_test.h"

FIXTURE(submit) {
	struct client c;
	int log;
};

FIXTURE_SETUP(submit)
{
	int ret = client_open(&self->c);

	self->log = log_open();
	if (ret == -ENODEV)
		SKIP(return, "no node of driver npu");
	ASSERT_EQ(0, ret);
}

FIXTURE_TEARDOWN(submit)
{
	client_close(&self->c);
	EXPECT_TRUE(log_is_quiet(self->log));
}

TEST_F(submit, one_job)
{
	EXPECT_EQ(0, client_ping(&self->c, 5, 0x123456789abcdefull));
}

TEST_F(submit, initial_registers)
{
	struct client *c = &self->c;
	struct stream s = client_stream(c);
	uint64_t regs[32];
	struct drm_npu_sync_op sync = { .flags = DRM_NPU_SYNC_SIGNAL, .handle = syncobj_create(c->fd, false) };
	struct drm_npu_job job = {
		.stream = c->va, .nregs = 32, .regs = (uintptr_t)regs, .syncs = { sizeof(sync), 1, (uintptr_t)&sync },
	};
	int i;

	for (i = 0; i < 32; i++) {
		regs[i] = 0x1111111111111111ull * (i % 15 + 1) + i;
		stream_store_reg(&s, c->va + CLIENT_DATA + 8 * i, i);
	}
	stream_end(&s);
	job.stream_size = s.size;
	ASSERT_EQ(0, submit(c->fd, c->queue, &job, 1));
	ASSERT_EQ(0, syncobj_wait(c->fd, sync.handle, now_ns() + LONG_WAIT));
	for (i = 0; i < 32; i++)
		EXPECT_EQ(regs[i], client_data(c)[i]);
}

/* Registers of one job must not leak into the next. */
TEST_F(submit, registers_start_at_zero)
{
	struct client *c = &self->c;
	struct stream s = client_stream(c);
	int i;

	ASSERT_EQ(0, client_ping(c, 0, ~0ull));		/* leaves r31 set */
	for (i = 0; i < 32; i++) {
		client_data(c)[i] = 1;
		stream_store_reg(&s, c->va + CLIENT_DATA + 8 * i, i);
	}
	stream_end(&s);
	ASSERT_EQ(0, client_run(c, s.size));
	for (i = 0; i < 32; i++)
		EXPECT_EQ(0, client_data(c)[i]);
}

/* A matmul of the smallest interesting kind through the whole stack: 2x3 by 3x2. */
TEST_F(submit, matmul)
{
	struct client *c = &self->c;
	const uint64_t x = c->va + CLIENT_DATA, w = x + 256, y = w + 256;
	float *px = (float *)(c->map + CLIENT_DATA), *pw = px + 64, *py = pw + 64;
	static const float want[4] = { 1 * 7 + 2 * 8 + 3 * 9, 1 * 10 + 2 * 11 + 3 * 12,
				       4 * 7 + 5 * 8 + 6 * 9, 4 * 10 + 5 * 11 + 6 * 12 };
	struct stream s = client_stream(c);
	struct npu_cmd_matmul *mm = stream_add(&s, NPU_OP_MATMUL, sizeof(*mm));
	int i;

	for (i = 0; i < 6; i++) {
		px[i] = i + 1;
		pw[i] = i + 7;
	}
	mm->x = (struct npu_tensor){ .addr = x, .ne = { 3, 2, 1, 1 }, .nb = { 4, 12, 24, 24 }, .type = NPU_TYPE_F32 };
	mm->w = (struct npu_tensor){ .addr = w, .ne = { 3, 2, 1, 1 }, .nb = { 4, 12, 24, 24 }, .type = NPU_TYPE_F32 };
	mm->dst = (struct npu_tensor){ .addr = y, .ne = { 2, 2, 1, 1 }, .nb = { 4, 8, 16, 16 }, .type = NPU_TYPE_F32 };
	stream_end(&s);
	ASSERT_EQ(0, client_run(c, s.size));
	for (i = 0; i < 4; i++)
		EXPECT_EQ((int)want[i], (int)py[i]);
}

TEST_F(submit, no_commands_only_syncs)
{
	struct client *c = &self->c;
	struct drm_npu_sync_op sync = { .flags = DRM_NPU_SYNC_SIGNAL, .handle = syncobj_create(c->fd, false) };
	struct drm_npu_job job = { .syncs = { sizeof(sync), 1, (uintptr_t)&sync } };

	ASSERT_EQ(0, submit(c->fd, c->queue, &job, 1));
	EXPECT_EQ(0, syncobj_wait(c->fd, sync.handle, now_ns() + LONG_WAIT));
}

TEST_F(submit, bad_fields)
{
	struct client *c = &self->c;
	struct stream s = client_stream(c);
	struct drm_npu_job good = { .stream = c->va }, job;
	struct drm_npu_sync_op sync;
	struct drm_npu_submit a = { .queue_id = c->queue, .jobs = { sizeof(job), 1, (uintptr_t)&job } };

	stream_end(&s);
	good.stream_size = s.size;
#define BAD(err, change) do { job = good; change; EXPECT_EQ(err, submit(c->fd, c->queue, &job, 1)) { TH_LOG("%s", #change); } } while (0)
	BAD(-EINVAL, job.stream += 8);
	BAD(-EINVAL, job.stream = c->va_start + c->va_size);
	BAD(-EINVAL, job.stream = ~0ull & ~15ull);
	BAD(-EINVAL, job.stream_size = 8);
	BAD(-EINVAL, job.stream_size = 0xfffffff0u);
	BAD(-EINVAL, job.stream_size = 0);
	BAD(-EINVAL, job.nregs = 33);
	BAD(-EINVAL, job.regs = c->va);
	BAD(-EFAULT, (job.nregs = 1, job.regs = 8));
	BAD(-EINVAL, job.flags = 1);
	BAD(-EINVAL, job.syncs.count = 100000);
	BAD(-EINVAL, (job.syncs.count = 1, job.syncs.stride = 4));
	BAD(-EFAULT, (job.syncs = (struct drm_npu_obj_array){ sizeof(sync), 1, 8 }));
#define BADSYNC(err, ...) do { sync = (struct drm_npu_sync_op){ __VA_ARGS__ }; \
	BAD(err, (job.syncs = (struct drm_npu_obj_array){ sizeof(sync), 1, (uintptr_t)&sync })); } while (0)
	BADSYNC(-ENOENT, .flags = DRM_NPU_SYNC_SIGNAL, .handle = 4711);
	BADSYNC(-ENOENT, .flags = 0, .handle = 4711);
	BADSYNC(-EINVAL, .flags = 4, .handle = syncobj_create(c->fd, true));
	BADSYNC(-EINVAL, .flags = DRM_NPU_SYNC_SIGNAL, .handle = syncobj_create(c->fd, false), .value = 1);
	BADSYNC(-EINVAL, .flags = 0, .handle = syncobj_create(c->fd, false));
#undef BADSYNC
#undef BAD
	job = good;
	a.flags = 1;
	EXPECT_EQ(-EINVAL, npu_ioctl(c->fd, DRM_IOCTL_NPU_SUBMIT, &a));
	a.flags = 0;
	a.jobs.count = 0;
	EXPECT_EQ(-EINVAL, npu_ioctl(c->fd, DRM_IOCTL_NPU_SUBMIT, &a));
	a.jobs.count = 1u << 20;
	EXPECT_EQ(-EINVAL, npu_ioctl(c->fd, DRM_IOCTL_NPU_SUBMIT, &a));
	a.jobs = (struct drm_npu_obj_array){ 4, 1, (uintptr_t)&job };
	EXPECT_EQ(-EINVAL, npu_ioctl(c->fd, DRM_IOCTL_NPU_SUBMIT, &a));
	a.jobs = (struct drm_npu_obj_array){ sizeof(job), 1, 8 };
	EXPECT_EQ(-EFAULT, npu_ioctl(c->fd, DRM_IOCTL_NPU_SUBMIT, &a));
	a.jobs = (struct drm_npu_obj_array){ sizeof(job), 1, 0 };
	EXPECT_EQ(-EFAULT, npu_ioctl(c->fd, DRM_IOCTL_NPU_SUBMIT, &a));
	EXPECT_EQ(-ENOENT, submit(c->fd, c->queue + 1000, &job, 1));
	EXPECT_EQ(-ENOENT, submit(c->fd, 0, &job, 1));
	EXPECT_EQ(0, client_ping(c, 0, 1));
}

/* All or nothing: the second job is bad, so the first must not run. */
TEST_F(submit, array_is_atomic)
{
	struct client *c = &self->c;
	struct stream s = client_stream(c);
	struct drm_npu_job jobs[2] = { { .stream = c->va }, { .stream = c->va + 8 } };

	client_data(c)[0] = 1;
	stream_store(&s, c->va + CLIENT_DATA, 2);
	stream_end(&s);
	jobs[0].stream_size = jobs[1].stream_size = s.size;
	EXPECT_EQ(-EINVAL, submit(c->fd, c->queue, jobs, 2));
	ASSERT_EQ(0, client_ping(c, 1, 3));
	EXPECT_EQ(1, client_data(c)[0]);
}

/* Each job adds one to the same word: order and completeness. */
TEST_F(submit, batch_in_order)
{
	enum { N = 32 };
	struct client *c = &self->c;
	struct stream s = client_stream(c);
	struct drm_npu_job jobs[N] = { 0 };
	struct drm_npu_sync_op sync = { .flags = DRM_NPU_SYNC_SIGNAL, .handle = syncobj_create(c->fd, false) };
	struct npu_cmd_alu *alu;
	uint64_t i, regs[N];

	stream_load(&s, 1, c->va + CLIENT_DATA);
	alu = stream_add(&s, NPU_CMD_ALU, sizeof(*alu));
	alu->op = NPU_ALU_MUL;
	alu->rd = alu->ra = 1;
	alu->rb = NPU_NO_REG;
	alu->imm = 3;
	alu = stream_add(&s, NPU_CMD_ALU, sizeof(*alu));
	alu->op = NPU_ALU_ADD;
	alu->rd = alu->ra = 1;
	alu->rb = 0;
	stream_store_reg(&s, c->va + CLIENT_DATA, 1);
	stream_end(&s);
	uint64_t want = 0;

	for (i = 0; i < N; i++) {
		regs[i] = i;
		want = want * 3 + i;
		jobs[i] = (struct drm_npu_job){
			.stream = c->va, .stream_size = s.size, .nregs = 1, .regs = (uintptr_t)&regs[i],
		};
	}
	jobs[N - 1].syncs = (struct drm_npu_obj_array){ sizeof(sync), 1, (uintptr_t)&sync };
	client_data(c)[0] = 0;
	ASSERT_EQ(0, submit(c->fd, c->queue, jobs, N));
	ASSERT_EQ(0, syncobj_wait(c->fd, sync.handle, now_ns() + LONG_WAIT));
	EXPECT_EQ(want, client_data(c)[0]);
}

TEST_F(submit, timeline_between_queues)
{
	struct client *c = &self->c;
	int q2 = queue_create(c->fd, c->vm, DRM_NPU_PRIORITY_HIGH, 0);
	int tl = syncobj_create(c->fd, false);
	struct drm_npu_sync_op a = { .flags = DRM_NPU_SYNC_TIMELINE | DRM_NPU_SYNC_SIGNAL, .handle = tl, .value = 10 };
	struct drm_npu_sync_op b[2] = {
		{ .flags = DRM_NPU_SYNC_TIMELINE, .handle = tl, .value = 10 },
		{ .flags = DRM_NPU_SYNC_TIMELINE | DRM_NPU_SYNC_SIGNAL, .handle = tl, .value = 20 },
	};
	struct stream s = client_stream(c);
	struct drm_npu_job first = { .stream = c->va, .syncs = { sizeof(a), 1, (uintptr_t)&a } };
	struct drm_npu_job second = { .syncs = { sizeof(a), 2, (uintptr_t)b } };

	ASSERT_GT(q2, 0);
	stream_loop(&s, 200000);
	stream_store(&s, c->va + CLIENT_DATA, 11);
	stream_end(&s);
	first.stream_size = s.size;
	second.stream = c->va + s.size;
	stream_load(&s, 1, c->va + CLIENT_DATA);
	stream_store_reg(&s, c->va + CLIENT_DATA + 8, 1);
	stream_end(&s);
	second.stream_size = s.size - first.stream_size;
	client_data(c)[0] = 0;
	ASSERT_EQ(0, submit(c->fd, c->queue, &first, 1));
	ASSERT_EQ(0, submit(c->fd, q2, &second, 1));
	ASSERT_EQ(0, timeline_wait(c->fd, tl, 20, now_ns() + LONG_WAIT));
	EXPECT_EQ(11, client_data(c)[1]);
}

/* Job 2 of an array waits for what job 1 of the same array will signal. */
TEST_F(submit, chain_inside_one_array)
{
	struct client *c = &self->c;
	int tl = syncobj_create(c->fd, false), bin = syncobj_create(c->fd, false), done = syncobj_create(c->fd, false);
	struct drm_npu_sync_op s1[2] = {
		{ .flags = DRM_NPU_SYNC_TIMELINE | DRM_NPU_SYNC_SIGNAL, .handle = tl, .value = 1 },
		{ .flags = DRM_NPU_SYNC_SIGNAL, .handle = bin },
	};
	struct drm_npu_sync_op s2[3] = {
		{ .flags = DRM_NPU_SYNC_TIMELINE, .handle = tl, .value = 1 },
		{ .flags = 0, .handle = bin },
		{ .flags = DRM_NPU_SYNC_SIGNAL, .handle = done },
	};
	struct stream s = client_stream(c);
	struct drm_npu_job jobs[2] = {
		{ .stream = c->va, .syncs = { sizeof(s1[0]), 2, (uintptr_t)s1 } },
		{ .stream = c->va, .syncs = { sizeof(s2[0]), 3, (uintptr_t)s2 } },
	};

	stream_end(&s);
	jobs[0].stream_size = jobs[1].stream_size = s.size;
	ASSERT_EQ(0, submit(c->fd, c->queue, jobs, 2));
	EXPECT_EQ(0, syncobj_wait(c->fd, done, now_ns() + LONG_WAIT));
	EXPECT_EQ(0, timeline_wait(c->fd, tl, 1, now_ns() + LONG_WAIT));
}

TEST_F(submit, wait_fence_from_elsewhere)
{
	struct client *c = &self->c;
	int gate = syncobj_create(c->fd, true), done = syncobj_create(c->fd, false);
	struct drm_npu_sync_op syncs[2] = {
		{ .flags = 0, .handle = gate }, { .flags = DRM_NPU_SYNC_SIGNAL, .handle = done },
	};
	struct stream s = client_stream(c);
	struct drm_npu_job job = { .stream = c->va, .syncs = { sizeof(syncs[0]), 2, (uintptr_t)syncs } };

	stream_end(&s);
	job.stream_size = s.size;
	ASSERT_EQ(0, submit(c->fd, c->queue, &job, 1));
	EXPECT_EQ(0, syncobj_wait(c->fd, done, now_ns() + LONG_WAIT));
}

TEST_F(submit, sync_file_polls)
{
	struct client *c = &self->c;
	int sync = syncobj_create(c->fd, false);
	struct drm_syncobj_handle h = {
		.handle = sync, .flags = DRM_SYNCOBJ_HANDLE_TO_FD_FLAGS_EXPORT_SYNC_FILE, .fd = -1,
	};
	struct stream s = client_stream(c);
	struct pollfd p = { .events = POLLIN };

	stream_loop(&s, 50000);
	stream_end(&s);
	ASSERT_EQ(0, client_submit(c, s.size, sync));
	ASSERT_EQ(0, npu_ioctl(c->fd, DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD, &h));
	p.fd = h.fd;
	EXPECT_EQ(1, poll(&p, 1, 60000));
	close(h.fd);
}

TEST_F(submit, bo_wait_sees_jobs)
{
	struct client *c = &self->c;
	struct stream s = client_stream(c);
	int shared = bo_create(c->fd, PAGE, 0, 0);

	ASSERT_EQ(0, vm_map(c->fd, c->vm, shared, 0, c->va + MIB, PAGE));
	stream_loop(&s, 1000000);
	stream_store(&s, c->va + MIB, 5);
	stream_end(&s);
	ASSERT_EQ(0, client_submit(c, s.size, 0));
	ASSERT_EQ(0, bo_wait(c->fd, shared, now_ns() + LONG_WAIT));
	ASSERT_EQ(0, bo_wait(c->fd, c->bo, now_ns() + LONG_WAIT));
	EXPECT_EQ(5, *(volatile uint64_t *)bo_map(c->fd, shared, PAGE));
}

TEST_F(submit, all_priorities_make_progress)
{
	struct client *c = &self->c;
	int q[3], sync[3], i;
	struct stream s = client_stream(c);

	stream_loop(&s, 20000);
	stream_end(&s);
	for (i = 0; i < 3; i++) {
		struct drm_npu_sync_op op = { .flags = DRM_NPU_SYNC_SIGNAL };
		struct drm_npu_job job = { .stream = c->va, .stream_size = s.size, .syncs = { sizeof(op), 1, (uintptr_t)&op } };

		q[i] = queue_create(c->fd, c->vm, i, 0);
		ASSERT_GT(q[i], 0);
		op.handle = sync[i] = syncobj_create(c->fd, false);
		ASSERT_EQ(0, submit(c->fd, q[i], &job, 1));
	}
	for (i = 0; i < 3; i++)
		EXPECT_EQ(0, syncobj_wait(c->fd, sync[i], now_ns() + LONG_WAIT));
}

/* Software queues outnumber the hardware's: every one gets its turn, and its own result. */
TEST_F_TIMEOUT(submit, more_queues_than_hardware, 120)
{
	enum { N = 100 };
	struct client *c = &self->c;
	int q[N], sync[N], i;

	for (i = 0; i < N; i++) {
		q[i] = queue_create(c->fd, c->vm, i % 3, 0);
		ASSERT_GT(q[i], 0);
		sync[i] = syncobj_create(c->fd, false);
	}
	for (i = 0; i < N; i++) {
		struct stream s = { .p = c->map + 256 * i, .room = 256 };
		struct drm_npu_sync_op op = { .flags = DRM_NPU_SYNC_SIGNAL, .handle = sync[i] };
		struct drm_npu_job job = { .stream = c->va + 256 * i, .syncs = { sizeof(op), 1, (uintptr_t)&op } };

		client_data(c)[i] = 0;
		stream_loop(&s, 3000);
		stream_store(&s, c->va + CLIENT_DATA + 8 * i, i + 1);
		stream_end(&s);
		job.stream_size = s.size;
		ASSERT_EQ(0, submit(c->fd, q[i], &job, 1));
	}
	for (i = 0; i < N; i++) {
		ASSERT_EQ(0, syncobj_wait(c->fd, sync[i], now_ns() + LONG_WAIT));
		EXPECT_EQ(i + 1, client_data(c)[i]);
	}
}

/* VMs outnumber the slots; each sees its own buffer at the same address. */
TEST_F_TIMEOUT(submit, a_thousand_vms, 600)
{
	enum { N = 1000 };
	struct client *c = &self->c;
	static uint32_t vm[N], q[N], bo[N];
	static uint64_t *map[N];
	const uint64_t va = c->va;
	int i, round;

	for (i = 0; i < N; i++) {
		struct stream s;
		int ret = vm_create(c->fd);

		ASSERT_GT(ret, 0);
		vm[i] = ret;
		ret = bo_create(c->fd, PAGE, 0, vm[i]);
		ASSERT_GT(ret, 0);
		bo[i] = ret;
		ASSERT_EQ(0, vm_map(c->fd, vm[i], bo[i], 0, va, PAGE));
		map[i] = bo_map(c->fd, bo[i], PAGE);
		ASSERT_NE(NULL, map[i]);
		ret = queue_create(c->fd, vm[i], 1, 0);
		ASSERT_GT(ret, 0);
		q[i] = ret;
		s = (struct stream){ .p = (uint8_t *)map[i], .room = 1024 };
		stream_store(&s, va + 2048, i + 1);
		stream_end(&s);
	}
	for (round = 0; round < 2; round++) {
		for (i = 0; i < N; i++) {
			struct drm_npu_job job = { .stream = va, .stream_size = 80 };

			map[i][256] = 0;
			ASSERT_EQ(0, submit(c->fd, q[i], &job, 1));
		}
		for (i = 0; i < N; i++) {
			ASSERT_EQ(0, bo_wait(c->fd, bo[i], now_ns() + LONG_WAIT));
			ASSERT_EQ((uint64_t)i + 1, map[i][256]);
		}
	}
}

/* The stream is at once in the file's last moments: closing with jobs queued frees everything. */
TEST_F_TIMEOUT(submit, close_with_jobs_in_flight, 300)
{
	struct client *c = &self->c;
	struct stream s = client_stream(c);
	struct client other;
	int i;

	stream_loop(&s, 100000);
	stream_end(&s);
	for (i = 0; i < 200; i++)
		ASSERT_EQ(0, client_submit(c, s.size, 0));
	client_close(c);
	ASSERT_EQ(0, client_open(&other));
	EXPECT_EQ(0, client_ping(&other, 0, 9));
	client_close(&other);
}

TEST_F_TIMEOUT(submit, killed_with_a_thousand_jobs, 120)
{
	const struct objects before = count_objects(self->c.fd);
	int status;
	pid_t pid = fork();

	ASSERT_GE(pid, 0);
	if (!pid) {
		struct client c;
		struct stream s;
		int i;

		if (client_open(&c))
			_exit(1);
		s = client_stream(&c);
		stream_loop(&s, 100000);
		stream_end(&s);
		for (i = 0; i < 1000; i++)
			if (client_submit(&c, s.size, 0))
				_exit(2);
		raise(SIGKILL);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_EQ(0, client_ping(&self->c, 0, 9));
	EXPECT_TRUE(wait_objects(self->c.fd, &before));
}

TEST_HARNESS_MAIN
