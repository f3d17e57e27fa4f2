// SPDX-License-Identifier: GPL-2.0-only
/* Two devices on one board: each its own memory, queues and faults. */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "npu_test.h"

FIXTURE(two) {
	struct client a, b;
};

FIXTURE_SETUP(two)
{
	char path[128];

	self->a.fd = self->b.fd = -1;
	if (!npu_node_path(0, path, sizeof(path)))
		SKIP(return, "no node of driver npu");
	setenv("NPU_NODE", path, 1);
	ASSERT_EQ(0, client_open(&self->a));
	if (!npu_node_path(1, path, sizeof(path)))
		SKIP(return, "only one device on this board");
	setenv("NPU_NODE", path, 1);
	ASSERT_EQ(0, client_open_prio(&self->b, DRM_NPU_PRIORITY_MEDIUM, 200));
}

FIXTURE_TEARDOWN(two)
{
	client_close(&self->a);
	client_close(&self->b);
}

TEST_F(two, both_work)
{
	EXPECT_EQ(0, client_ping(&self->a, 0, 1));
	EXPECT_EQ(0, client_ping(&self->b, 0, 2));
	EXPECT_EQ(1, client_data(&self->a)[0]);
}

TEST_F(two, hang_of_one_leaves_the_other)
{
	struct stream s = client_stream(&self->b);
	int sync = syncobj_create(self->b.fd, false);

	stream_spin(&s);
	stream_end(&s);
	ASSERT_EQ(0, client_submit(&self->b, s.size, sync));
	EXPECT_EQ(0, client_ping(&self->a, 0, 3));
	ASSERT_EQ(0, syncobj_wait(self->b.fd, sync, now_ns() + LONG_WAIT));
	EXPECT_EQ(0, client_ping(&self->a, 0, 4));
}

TEST_F(two, buffer_shared_between_devices)
{
	struct drm_prime_handle p = { .flags = DRM_CLOEXEC | DRM_RDWR };
	const uint64_t va = self->b.va + 4 * MIB;
	struct stream s = client_stream(&self->b);
	volatile uint64_t *m;

	p.handle = bo_create(self->a.fd, PAGE, 0, 0);
	m = bo_map(self->a.fd, p.handle, PAGE);
	ASSERT_NE(NULL, m);
	ASSERT_EQ(0, npu_ioctl(self->a.fd, DRM_IOCTL_PRIME_HANDLE_TO_FD, &p));
	ASSERT_EQ(0, npu_ioctl(self->b.fd, DRM_IOCTL_PRIME_FD_TO_HANDLE, &p));
	ASSERT_EQ(0, vm_map(self->b.fd, self->b.vm, p.handle, 0, va, PAGE));
	stream_store(&s, va, 77);
	stream_end(&s);
	ASSERT_EQ(0, client_run(&self->b, s.size));
	EXPECT_EQ(77, m[0]);
}

TEST_HARNESS_MAIN
