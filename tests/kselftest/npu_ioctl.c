// SPDX-License-Identifier: GPL-2.0-only
/* Every ioctl with every field right, and wrong in turn: the documented errno. */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "npu_test.h"

FIXTURE(dev) {
	int fd;
	int log;
};

FIXTURE_SETUP(dev)
{
	self->log = log_open();
	self->fd = npu_open();
	if (self->fd == -ENODEV)
		SKIP(return, "no node of driver npu");
	ASSERT_GE(self->fd, 0);
}

FIXTURE_TEARDOWN(dev)
{
	if (self->fd >= 0)
		close(self->fd);
	EXPECT_TRUE(log_is_quiet(self->log));
}

/* ---- DEV_QUERY ---------------------------------------------------------------- */

static int query(int fd, uint32_t type, void *p, uint32_t *size)
{
	struct drm_npu_dev_query q = { .type = type, .size = *size, .pointer = (uintptr_t)p };
	int ret = npu_ioctl(fd, DRM_IOCTL_NPU_DEV_QUERY, &q);

	*size = q.size;
	return ret;
}

TEST_F(dev, query_info)
{
	struct drm_npu_info info = { 0 };
	uint32_t size = sizeof(info);

	ASSERT_EQ(0, query(self->fd, DRM_NPU_DEV_QUERY_INFO, &info, &size));
	EXPECT_EQ(sizeof(info), size);
	EXPECT_EQ(NPU_INTF_VALUE >> 16, info.intf >> 16);
	EXPECT_GE(info.hw_queues, 4);
	EXPECT_LE(info.hw_queues, NPU_MAX_QUEUES);
	EXPECT_GE(info.slots, 8);
	EXPECT_LE(info.slots, NPU_MAX_SLOTS);
	EXPECT_GE(info.va_bits, 39);
	EXPECT_LE(info.va_bits, 48);
	EXPECT_NE(0, info.ops & (1ull << NPU_OP_BIT(NPU_OP_MATMUL)));
	EXPECT_NE(0, info.types_rows & (1u << NPU_TYPE_F32));
	EXPECT_GT(info.max_macs, 0);
	EXPECT_GT(info.max_bytes, 0);
	EXPECT_GT(info.max_stream, 0);
	EXPECT_GT(info.max_jobs, 0);
	EXPECT_GT(info.timer_hz, 0);
	EXPECT_GT(info.core_khz, 0);
}

TEST_F(dev, query_size_only)
{
	uint32_t size = 0;

	ASSERT_EQ(0, query(self->fd, DRM_NPU_DEV_QUERY_INFO, NULL, &size));
	EXPECT_EQ(sizeof(struct drm_npu_info), size);
}

TEST_F(dev, query_short_and_long)
{
	uint8_t buf[sizeof(struct drm_npu_info) + 64];
	uint32_t size = 8;

	memset(buf, 0xa5, sizeof(buf));
	ASSERT_EQ(0, query(self->fd, DRM_NPU_DEV_QUERY_INFO, buf, &size));
	EXPECT_EQ(sizeof(struct drm_npu_info), size);
	EXPECT_EQ(0xa5, buf[8]);

	size = sizeof(buf);
	ASSERT_EQ(0, query(self->fd, DRM_NPU_DEV_QUERY_INFO, buf, &size));
	EXPECT_EQ(0, buf[sizeof(buf) - 1]);
}

TEST_F(dev, query_bad)
{
	struct drm_npu_info info;
	uint32_t size = sizeof(info);

	EXPECT_EQ(-EINVAL, query(self->fd, 999, &info, &size));
	size = sizeof(info);
	EXPECT_EQ(-EFAULT, query(self->fd, DRM_NPU_DEV_QUERY_INFO, (void *)8, &size));
}

TEST_F(dev, query_counters_rise)
{
	struct drm_npu_counters a = { 0 }, b = { 0 };
	uint32_t size = sizeof(a);
	struct client c;

	ASSERT_EQ(0, client_open(&c));
	ASSERT_EQ(0, client_ping(&c, 0, 1));
	ASSERT_EQ(0, query(c.fd, DRM_NPU_DEV_QUERY_COUNTERS, &a, &size));
	ASSERT_EQ(0, client_ping(&c, 0, 2));
	ASSERT_EQ(0, query(c.fd, DRM_NPU_DEV_QUERY_COUNTERS, &b, &size));
	EXPECT_GT(b.commands, a.commands);
	EXPECT_GE(b.timer, a.timer);
	EXPECT_GE(b.cycles, a.cycles);
	client_close(&c);
}

TEST_F(dev, query_priorities)
{
	struct drm_npu_priorities p = { 0 };
	uint32_t size = sizeof(p);

	ASSERT_EQ(0, query(self->fd, DRM_NPU_DEV_QUERY_PRIORITIES, &p, &size));
	EXPECT_EQ(7, p.allowed_mask & 7);
	EXPECT_EQ(0, p.pad);
}

/* ---- VM ------------------------------------------------------------------------- */

TEST_F(dev, vm_create_destroy)
{
	int id = vm_create(self->fd);
	struct drm_npu_vm_get_state st = { .vm_id = id };

	ASSERT_GT(id, 0);
	ASSERT_EQ(0, npu_ioctl(self->fd, DRM_IOCTL_NPU_VM_GET_STATE, &st));
	EXPECT_EQ(DRM_NPU_VM_USABLE, st.state);
	EXPECT_EQ(0, vm_destroy(self->fd, id));
	EXPECT_EQ(-ENOENT, vm_destroy(self->fd, id));
	EXPECT_EQ(-ENOENT, npu_ioctl(self->fd, DRM_IOCTL_NPU_VM_GET_STATE, &st));
}

TEST_F(dev, vm_bad)
{
	struct drm_npu_vm_create c = { .flags = 1 };
	struct drm_npu_vm_destroy d = { .id = 0 };

	EXPECT_EQ(-EINVAL, npu_ioctl(self->fd, DRM_IOCTL_NPU_VM_CREATE, &c));
	EXPECT_EQ(-ENOENT, npu_ioctl(self->fd, DRM_IOCTL_NPU_VM_DESTROY, &d));
	d.pad = 1;
	d.id = vm_create(self->fd);
	EXPECT_EQ(-EINVAL, npu_ioctl(self->fd, DRM_IOCTL_NPU_VM_DESTROY, &d));
}

TEST_F_TIMEOUT(dev, vm_limit, 120)
{
	int i, id;

	for (i = 0; i < 4096; i++) {
		id = vm_create(self->fd);
		ASSERT_GT(id, 0);
	}
	EXPECT_EQ(-ENOSPC, vm_create(self->fd));
	EXPECT_EQ(0, vm_destroy(self->fd, id));
	EXPECT_GT(vm_create(self->fd), 0);
}

TEST_F(dev, vm_ids_belong_to_the_file)
{
	int other = npu_open();
	int id = vm_create(self->fd);

	ASSERT_GE(other, 0);
	ASSERT_GT(id, 0);
	EXPECT_EQ(-ENOENT, vm_destroy(other, id));
	close(other);
}

TEST_F(dev, vm_range_is_sane)
{
	struct drm_npu_vm_create c = { 0 };

	ASSERT_EQ(0, npu_ioctl(self->fd, DRM_IOCTL_NPU_VM_CREATE, &c));
	EXPECT_EQ(0, c.va_start % PAGE);
	EXPECT_EQ(0, c.va_size % PAGE);
	EXPECT_GE(c.va_size, 1ull << 37);
}

/* ---- BO --------------------------------------------------------------------------- */

TEST_F(dev, bo_create_info)
{
	struct drm_npu_bo_info info = { 0 };
	int h = bo_create(self->fd, 5000, DRM_NPU_BO_CACHED, 0);

	ASSERT_GT(h, 0);
	info.handle = h;
	ASSERT_EQ(0, npu_ioctl(self->fd, DRM_IOCTL_NPU_BO_INFO, &info));
	EXPECT_EQ(DRM_NPU_BO_CACHED, info.flags);
	EXPECT_GE(info.size, 8192);
	EXPECT_EQ(0, info.imported);
	EXPECT_EQ(0, info.exclusive);
	EXPECT_EQ(0, bo_close(self->fd, h));
	EXPECT_EQ(-ENOENT, npu_ioctl(self->fd, DRM_IOCTL_NPU_BO_INFO, &info));
}

TEST_F(dev, bo_bad)
{
	struct drm_npu_bo_create c = { .size = PAGE, .pad = 1 };

	EXPECT_EQ(-EINVAL, npu_ioctl(self->fd, DRM_IOCTL_NPU_BO_CREATE, &c));
	EXPECT_EQ(-EINVAL, bo_create(self->fd, 0, 0, 0));
	EXPECT_EQ(-EINVAL, bo_create(self->fd, PAGE, 1u << 31, 0));
	EXPECT_EQ(-EINVAL, bo_create(self->fd, ~0ull, 0, 0));
	EXPECT_EQ(-EINVAL, bo_create(self->fd, ~0ull - PAGE, 0, 0));
	EXPECT_EQ(-ENOENT, bo_create(self->fd, PAGE, 0, 4711));
}

TEST_F(dev, bo_is_zeroed)
{
	static const uint8_t zero[PAGE];
	int h = bo_create(self->fd, 4 * PAGE, 0, 0);
	uint8_t *p;
	int i;

	ASSERT_GT(h, 0);
	p = bo_map(self->fd, h, 4 * PAGE);
	ASSERT_NE(NULL, p);
	for (i = 0; i < 4; i++)
		EXPECT_EQ(0, memcmp(p + i * PAGE, zero, PAGE));
}

TEST_F(dev, bo_no_mmap)
{
	int h = bo_create(self->fd, PAGE, DRM_NPU_BO_NO_MMAP, 0);
	struct drm_npu_bo_mmap_offset a = { .handle = h };

	ASSERT_GT(h, 0);
	EXPECT_EQ(-EINVAL, npu_ioctl(self->fd, DRM_IOCTL_NPU_BO_MMAP_OFFSET, &a));
}

TEST_F(dev, bo_mmap_offset_bad)
{
	struct drm_npu_bo_mmap_offset a = { .handle = 4711 };

	EXPECT_EQ(-ENOENT, npu_ioctl(self->fd, DRM_IOCTL_NPU_BO_MMAP_OFFSET, &a));
	a.handle = bo_create(self->fd, PAGE, 0, 0);
	a.pad = 1;
	EXPECT_EQ(-EINVAL, npu_ioctl(self->fd, DRM_IOCTL_NPU_BO_MMAP_OFFSET, &a));
	a.pad = 0;
	ASSERT_EQ(0, npu_ioctl(self->fd, DRM_IOCTL_NPU_BO_MMAP_OFFSET, &a));
	/* Past the end of the object there is nothing. */
	EXPECT_EQ(MAP_FAILED, mmap(NULL, 2 * PAGE, PROT_READ, MAP_SHARED, self->fd, a.offset));
	/* Without an offset from the ioctl there is nothing either. */
	EXPECT_EQ(MAP_FAILED, mmap(NULL, PAGE, PROT_READ, MAP_SHARED, self->fd, 0));
}

TEST_F(dev, bo_outlives_the_file)
{
	int h = bo_create(self->fd, PAGE, 0, 0);
	volatile uint64_t *p = bo_map(self->fd, h, PAGE);

	ASSERT_NE(NULL, p);
	p[1] = 42;
	close(self->fd);
	self->fd = -1;
	EXPECT_EQ(42, p[1]);
}

TEST_F(dev, bo_wait_idle)
{
	int h = bo_create(self->fd, PAGE, 0, 0);
	struct drm_npu_bo_wait a = { .handle = h, .pad = 1 };

	ASSERT_GT(h, 0);
	EXPECT_EQ(0, bo_wait(self->fd, h, 0));
	EXPECT_EQ(0, bo_wait(self->fd, h, -1));
	EXPECT_EQ(-ENOENT, bo_wait(self->fd, 4711, 0));
	EXPECT_EQ(-EINVAL, npu_ioctl(self->fd, DRM_IOCTL_NPU_BO_WAIT, &a));
}

static int bo_sync(int fd, struct drm_npu_bo_sync_op *op, uint32_t stride, uint32_t count)
{
	struct drm_npu_bo_sync a = { .ops = { stride, count, (uintptr_t)op } };

	return npu_ioctl(fd, DRM_IOCTL_NPU_BO_SYNC, &a);
}

TEST_F(dev, bo_sync)
{
	struct drm_npu_bo_sync_op op = { .size = PAGE };
	const uint32_t n = sizeof(op);

	op.handle = bo_create(self->fd, 2 * PAGE, DRM_NPU_BO_CACHED, 0);
	EXPECT_EQ(0, bo_sync(self->fd, &op, n, 1));
	op.type = DRM_NPU_BO_SYNC_FOR_CPU;
	op.offset = 100;
	EXPECT_EQ(0, bo_sync(self->fd, &op, n, 1));
	op.type = 2;
	EXPECT_EQ(-EINVAL, bo_sync(self->fd, &op, n, 1));
	op.type = 0;
	op.offset = 2 * PAGE;
	EXPECT_EQ(-EINVAL, bo_sync(self->fd, &op, n, 1));
	op.offset = ~0ull;
	EXPECT_EQ(-EINVAL, bo_sync(self->fd, &op, n, 1));
	op.offset = 0;
	op.handle = 4711;
	EXPECT_EQ(-ENOENT, bo_sync(self->fd, &op, n, 1));
	EXPECT_EQ(-EINVAL, bo_sync(self->fd, &op, n, 100000));
	EXPECT_EQ(-EINVAL, bo_sync(self->fd, &op, 4, 1));
	EXPECT_EQ(-EFAULT, bo_sync(self->fd, (void *)8, n, 1));
}

/* ---- Queue --------------------------------------------------------------------------- */

TEST_F(dev, queue_create_destroy)
{
	struct drm_npu_queue_get_state st;
	int vm = vm_create(self->fd);
	int q = queue_create(self->fd, vm, DRM_NPU_PRIORITY_LOW, 0);

	ASSERT_GT(q, 0);
	ASSERT_EQ(0, queue_state(self->fd, q, &st));
	EXPECT_EQ(DRM_NPU_QUEUE_ALIVE, st.state);
	EXPECT_EQ(0, st.fault);
	EXPECT_EQ(0, queue_destroy(self->fd, q));
	EXPECT_EQ(-ENOENT, queue_destroy(self->fd, q));
	EXPECT_EQ(-ENOENT, queue_state(self->fd, q, &st));
}

TEST_F(dev, queue_bad)
{
	int vm = vm_create(self->fd);
	struct drm_npu_queue_create a = { .vm_id = vm, .flags = 1 };
	struct drm_npu_queue_destroy d = { 0 };
	struct drm_npu_queue_get_state st = { .pad = 1 };

	EXPECT_EQ(-EINVAL, npu_ioctl(self->fd, DRM_IOCTL_NPU_QUEUE_CREATE, &a));
	a.flags = 0;
	a.pad = 1;
	EXPECT_EQ(-EINVAL, npu_ioctl(self->fd, DRM_IOCTL_NPU_QUEUE_CREATE, &a));
	EXPECT_EQ(-EINVAL, queue_create(self->fd, vm, 4, 0));
	EXPECT_EQ(-EINVAL, queue_create(self->fd, vm, 0, ~0u));
	EXPECT_EQ(-ENOENT, queue_create(self->fd, vm + 1000, 0, 0));
	d.id = queue_create(self->fd, vm, 0, 0);
	d.pad = 1;
	EXPECT_EQ(-EINVAL, npu_ioctl(self->fd, DRM_IOCTL_NPU_QUEUE_DESTROY, &d));
	st.id = d.id;
	EXPECT_EQ(-EINVAL, npu_ioctl(self->fd, DRM_IOCTL_NPU_QUEUE_GET_STATE, &st));
	st.pad = 0;
	EXPECT_EQ(0, npu_ioctl(self->fd, DRM_IOCTL_NPU_QUEUE_GET_STATE, &st));
	/* Id 0 is never valid. */
	EXPECT_EQ(-ENOENT, queue_state(self->fd, 0, &st));
	EXPECT_EQ(-ENOENT, queue_destroy(self->fd, 0));
	EXPECT_EQ(-ENOENT, queue_create(self->fd, 0, 0, 0));
}

TEST_F(dev, queue_realtime_needs_a_right)
{
	int vm = vm_create(self->fd);

	if (geteuid())
		SKIP(return, "not root: cannot show both sides");
	EXPECT_GT(queue_create(self->fd, vm, DRM_NPU_PRIORITY_REALTIME, 0), 0);
	ASSERT_EQ(0, seteuid(65534));
	EXPECT_EQ(-EACCES, queue_create(self->fd, vm, DRM_NPU_PRIORITY_REALTIME, 0));
	EXPECT_GT(queue_create(self->fd, vm, DRM_NPU_PRIORITY_HIGH, 0), 0);
	ASSERT_EQ(0, seteuid(0));
}

TEST_F(dev, queue_keeps_its_vm)
{
	struct client c;

	ASSERT_EQ(0, client_open(&c));
	ASSERT_EQ(0, vm_destroy(c.fd, c.vm));
	EXPECT_EQ(0, client_ping(&c, 3, 77));
	EXPECT_EQ(-ENOENT, vm_map(c.fd, c.vm, c.bo, 0, c.va, PAGE));
	client_close(&c);
}

TEST_F(dev, unknown_ioctl)
{
	uint64_t arg[8] = { 0 };

	EXPECT_EQ(-EINVAL, npu_ioctl(self->fd, DRM_IOWR(DRM_COMMAND_BASE + 0x3f, arg), arg));
}

/* A longer argument than the kernel knows is cut by drm_ioctl(); a shorter one is padded with zeros. */
TEST_F(dev, short_argument)
{
	struct { uint32_t flags, id; } a = { 0 };
	unsigned long req = DRM_IOWR(DRM_COMMAND_BASE + DRM_NPU_VM_CREATE, a);

	ASSERT_EQ(0, npu_ioctl(self->fd, req, &a));
	EXPECT_GT(a.id, 0);
}

TEST_HARNESS_MAIN
