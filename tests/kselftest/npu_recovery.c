// SPDX-License-Identifier: GPL-2.0-only
/* Faults and hangs: only the guilty queue ends, it says why, and innocents lose nothing. */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "npu_test.h"

#define HANG_MS	20	/* device time: much longer by the clock of a loaded host */

FIXTURE(recovery) {
	struct client bad;	/* short timeout */
	struct client good;
};

FIXTURE_SETUP(recovery)
{
	int ret = client_open_prio(&self->bad, DRM_NPU_PRIORITY_MEDIUM, HANG_MS);

	self->good.fd = -1;
	if (ret == -ENODEV)
		SKIP(return, "no node of driver npu");
	ASSERT_EQ(0, ret);
	ASSERT_EQ(0, client_open(&self->good));
}

FIXTURE_TEARDOWN(recovery)
{
	client_close(&self->bad);
	client_close(&self->good);
}

/* Runs the stream of @c: the error of its fence, and the queue's state. */
static int run_bad(struct client *c, struct stream *s, struct drm_npu_queue_get_state *st)
{
	int sync = syncobj_create(c->fd, false);
	int ret = client_submit(c, s->size, sync);

	if (!ret)
		ret = syncobj_wait(c->fd, sync, now_ns() + LONG_WAIT);
	if (!ret)
		ret = syncobj_error(c->fd, sync);
	syncobj_destroy(c->fd, sync);
	if (queue_state(c->fd, c->queue, st))
		return -EPROTO;
	return ret;
}

/* Expects that the device and the other client are well, and that a new queue of the bad one works. */
#define EXPECT_OTHERS_WELL() do {								\
	EXPECT_EQ(0, client_ping(&self->good, 1, 1234));					\
	EXPECT_EQ(-EIO, client_submit(&self->bad, 16, 0));					\
	EXPECT_EQ(0, queue_destroy(self->bad.fd, self->bad.queue));				\
	self->bad.queue = queue_create(self->bad.fd, self->bad.vm, 1, HANG_MS);		\
	EXPECT_EQ(0, client_ping(&self->bad, 2, 5678));					\
} while (0)

TEST_F(recovery, endless_loop)
{
	struct drm_npu_queue_get_state st;
	struct stream s = client_stream(&self->bad);

	stream_spin(&s);
	stream_end(&s);
	EXPECT_EQ(-ETIMEDOUT, run_bad(&self->bad, &s, &st));
	EXPECT_EQ(DRM_NPU_QUEUE_TIMEOUT, st.state);
	EXPECT_OTHERS_WELL();
}

TEST_F(recovery, job_budget)
{
	struct client *c = &self->good;	/* no short timeout: the job's own budget ends it */
	struct stream s = client_stream(c);
	struct drm_npu_sync_op op = { .flags = DRM_NPU_SYNC_SIGNAL, .handle = syncobj_create(c->fd, false) };
	struct drm_npu_job job = { .stream = c->va, .budget_us = 50000, .syncs = { sizeof(op), 1, (uintptr_t)&op } };
	struct drm_npu_queue_get_state st;

	stream_spin(&s);
	job.stream_size = s.size;
	ASSERT_EQ(0, submit(c->fd, c->queue, &job, 1));
	ASSERT_EQ(0, syncobj_wait(c->fd, op.handle, now_ns() + LONG_WAIT));
	EXPECT_EQ(-ETIMEDOUT, syncobj_error(c->fd, op.handle));
	ASSERT_EQ(0, queue_state(c->fd, c->queue, &st));
	EXPECT_EQ(DRM_NPU_QUEUE_TIMEOUT, st.state);
	EXPECT_EQ(0, client_ping(&self->bad, 0, 1));
}

TEST_F(recovery, illegal_opcode)
{
	struct drm_npu_queue_get_state st;
	struct stream s = client_stream(&self->bad);
	struct npu_cmd *cmd = stream_add(&s, 0x7ff0, 16);

	cmd->tag = 0xabcd;
	stream_end(&s);
	EXPECT_EQ(-EFAULT, run_bad(&self->bad, &s, &st));
	EXPECT_EQ(DRM_NPU_QUEUE_FAULT, st.state);
	EXPECT_EQ(NPU_FAULT_OPCODE_ILLEGAL, NPU_FAULT_CODE(st.fault));
	EXPECT_EQ(0x7ff0, NPU_FAULT_OPCODE(st.fault));
	EXPECT_EQ(0xabcd, st.fault_tag);
	EXPECT_EQ(self->bad.va, st.fault_pc);
	EXPECT_OTHERS_WELL();
}

TEST_F(recovery, stream_without_end)
{
	struct drm_npu_queue_get_state st;
	struct stream s = client_stream(&self->bad);

	stream_add(&s, NPU_CMD_NOP, 16);
	EXPECT_EQ(-EFAULT, run_bad(&self->bad, &s, &st));
	EXPECT_EQ(NPU_FAULT_STREAM, NPU_FAULT_CODE(st.fault));
	EXPECT_OTHERS_WELL();
}

TEST_F(recovery, trap)
{
	struct drm_npu_queue_get_state st;
	struct stream s = client_stream(&self->bad);
	struct npu_cmd_trap *t = stream_add(&s, NPU_CMD_TRAP, sizeof(*t));

	t->code = 0xdead;
	EXPECT_EQ(-EFAULT, run_bad(&self->bad, &s, &st));
	EXPECT_EQ(NPU_FAULT_TRAP, NPU_FAULT_CODE(st.fault));
	EXPECT_EQ(0xdead, st.fault_addr);
	EXPECT_OTHERS_WELL();
}

TEST_F(recovery, semaphores_are_not_for_kernel_queues)
{
	struct drm_npu_queue_get_state st;
	struct stream s = client_stream(&self->bad);
	struct npu_cmd_sem *w = stream_add(&s, NPU_CMD_SEM_WAIT, sizeof(*w));

	w->addr = self->bad.va + CLIENT_DATA;
	w->value = 1;
	EXPECT_EQ(-EFAULT, run_bad(&self->bad, &s, &st));
	EXPECT_EQ(NPU_FAULT_MODE, NPU_FAULT_CODE(st.fault));
	EXPECT_OTHERS_WELL();
}

TEST_F(recovery, wild_addresses)
{
	static const uint64_t addr[] = { 0, 8, 1ull << 47, ~0ull & ~7ull, 1ull << 63 };
	struct drm_npu_queue_get_state st;
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(addr); i++) {
		struct stream s = client_stream(&self->bad);

		stream_store(&s, addr[i], 1);
		stream_end(&s);
		EXPECT_EQ(-EFAULT, run_bad(&self->bad, &s, &st));
		EXPECT_EQ(DRM_NPU_QUEUE_FAULT, st.state);
		EXPECT_EQ(addr[i], st.fault_addr);
		EXPECT_OTHERS_WELL();
	}
}

/* The kernel's own mappings in the VM must not be writable by a stream. */
TEST_F(recovery, kernel_range_is_not_writable)
{
	struct client *c = &self->bad;
	struct drm_npu_queue_get_state st;
	uint64_t va, end = c->va_start + c->va_size;
	int i;

	for (i = 0; i < 16; i++) {
		struct stream s = client_stream(c);

		va = end + i * 16 * PAGE;
		stream_store(&s, va, ~0ull);
		stream_end(&s);
		EXPECT_EQ(-EFAULT, run_bad(c, &s, &st));
		EXPECT_EQ(DRM_NPU_QUEUE_FAULT, st.state);
		EXPECT_OTHERS_WELL();
	}
}

/* Jobs behind the guilty one on its queue are cancelled, all of them. */
TEST_F(recovery, queue_of_the_guilty_drains)
{
	enum { N = 20 };
	struct client *c = &self->bad;
	struct stream s = client_stream(c);
	int sync[N], i;

	stream_spin(&s);
	for (i = 0; i < N; i++) {
		sync[i] = syncobj_create(c->fd, false);
		ASSERT_EQ(0, client_submit(c, s.size, sync[i]));
	}
	for (i = 0; i < N; i++) {
		ASSERT_EQ(0, syncobj_wait(c->fd, sync[i], now_ns() + LONG_WAIT));
		EXPECT_EQ(i ? -ECANCELED : -ETIMEDOUT, syncobj_error(c->fd, sync[i]));
	}
	EXPECT_OTHERS_WELL();
}

/* Work of others that is under way while a queue is reset ends well, with right results. */
TEST_F_TIMEOUT(recovery, innocents_in_flight_lose_nothing, 120)
{
	enum { N = 30 };
	struct client *c = &self->good;
	struct drm_npu_queue_get_state st;
	struct stream s = client_stream(c), bad;
	int sync[N], i;

	stream_loop(&s, 100000);
	stream_end(&s);
	for (i = 0; i < N; i++) {
		sync[i] = syncobj_create(c->fd, false);
		ASSERT_EQ(0, client_submit(c, s.size, sync[i]));
	}
	bad = client_stream(&self->bad);
	stream_spin(&bad);
	EXPECT_EQ(-ETIMEDOUT, run_bad(&self->bad, &bad, &st));
	for (i = 0; i < N; i++) {
		ASSERT_EQ(0, syncobj_wait(c->fd, sync[i], now_ns() + LONG_WAIT));
		EXPECT_EQ(0, syncobj_error(c->fd, sync[i]));
	}
	ASSERT_EQ(0, queue_state(c->fd, c->queue, &st));
	EXPECT_EQ(DRM_NPU_QUEUE_ALIVE, st.state);
	EXPECT_EQ(0, st.innocent_resets);
}

/* Waiting behind other work is not hanging: many busy queues, each job far below its timeout. */
TEST_F_TIMEOUT(recovery, waiting_is_not_hanging, 120)
{
	enum { N = 24 };
	struct client *c = &self->bad;
	struct stream s = client_stream(c);
	int q[N], sync[N], i;

	stream_loop(&s, 50000);
	stream_end(&s);
	for (i = 0; i < N; i++) {
		struct drm_npu_sync_op op = { .flags = DRM_NPU_SYNC_SIGNAL };
		struct drm_npu_job job = { .stream = c->va, .stream_size = s.size, .syncs = { sizeof(op), 1, (uintptr_t)&op } };

		q[i] = queue_create(c->fd, c->vm, 1, HANG_MS);
		ASSERT_GT(q[i], 0);
		op.handle = sync[i] = syncobj_create(c->fd, false);
		ASSERT_EQ(0, submit(c->fd, q[i], &job, 1));
	}
	for (i = 0; i < N; i++) {
		ASSERT_EQ(0, syncobj_wait(c->fd, sync[i], now_ns() + LONG_WAIT));
		EXPECT_EQ(0, syncobj_error(c->fd, sync[i]));
	}
}

/* Each round is a time-out: few of them, and time enough for a loaded machine. */
TEST_F_TIMEOUT(recovery, reset_storm, 600)
{
	struct drm_npu_queue_get_state st;
	int i;

	for (i = 0; i < 10; i++) {
		struct stream s = client_stream(&self->bad);

		stream_spin(&s);
		ASSERT_EQ(-ETIMEDOUT, run_bad(&self->bad, &s, &st));
		EXPECT_OTHERS_WELL();
	}
}

TEST_HARNESS_MAIN
