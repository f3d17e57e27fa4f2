// SPDX-License-Identifier: GPL-2.0-only
/* One client cannot reach another's memory, freed pages or the kernel's. */
#define _GNU_SOURCE
#include <sys/mount.h>
#include "kselftest_harness.h"
#include "npu_test.h"

#define SECRET 0x5ec2e75ec2e75ec2ull

FIXTURE(isolation) {
	struct client a, b;
};

FIXTURE_SETUP(isolation)
{
	int ret = client_open(&self->a);

	self->b.fd = -1;
	if (ret == -ENODEV)
		SKIP(return, "no node of driver npu");
	ASSERT_EQ(0, ret);
	ASSERT_EQ(0, client_open(&self->b));
}

FIXTURE_TEARDOWN(isolation)
{
	client_close(&self->a);
	client_close(&self->b);
}

/* Same addresses, different memory, whatever slot the VMs got. */
TEST_F(isolation, same_address_other_memory)
{
	int i;

	ASSERT_EQ(self->a.va, self->b.va);
	for (i = 0; i < 50; i++) {
		ASSERT_EQ(0, client_ping(&self->a, 0, 0xaaaa0000 + i));
		ASSERT_EQ(0, client_ping(&self->b, 0, 0xbbbb0000 + i));
		ASSERT_EQ(0xaaaa0000 + i, client_data(&self->a)[0]);
	}
}

TEST_F(isolation, handles_and_offsets_of_another_file)
{
	struct drm_npu_bo_mmap_offset off = { 0 };
	int h = bo_create(self->a.fd, 16 * PAGE, 0, 0);

	ASSERT_GT(h, 0);
	off.handle = h;
	ASSERT_EQ(0, npu_ioctl(self->a.fd, DRM_IOCTL_NPU_BO_MMAP_OFFSET, &off));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, PAGE, PROT_READ, MAP_SHARED, self->b.fd, off.offset));
	/* Handle numbers mean something else, or nothing, in another file. */
	EXPECT_EQ(-ENOENT, vm_map(self->b.fd, self->b.vm, h + 100, 0, self->b.va + MIB, PAGE));
	EXPECT_EQ(-ENOENT, submit(self->b.fd, self->a.queue + 100, &(struct drm_npu_job){ 0 }, 1));
}

/* Pages that come back from a client's freed buffers are zero for the next one. */
TEST_F(isolation, freed_pages_are_zero)
{
	const uint64_t size = 4 * MIB;
	unsigned int round;
	uint64_t i;

	for (round = 0; round < 4; round++) {
		int h = bo_create(self->a.fd, size, 0, 0);
		uint64_t *p = bo_map(self->a.fd, h, size);

		ASSERT_NE(NULL, p);
		for (i = 0; i < size / 8; i++)
			p[i] = SECRET;
		munmap(p, size);
		ASSERT_EQ(0, bo_close(self->a.fd, h));
		h = bo_create(self->b.fd, size, 0, 0);
		p = bo_map(self->b.fd, h, size);
		ASSERT_NE(NULL, p);
		for (i = 0; i < size / 8; i++)
			ASSERT_NE(SECRET, p[i]);
		munmap(p, size);
		ASSERT_EQ(0, bo_close(self->b.fd, h));
	}
}

/* After unmap and free, a stream that still knows the address must fault, not read what is there now. */
TEST_F(isolation, stale_translation)
{
	struct client *a = &self->a;
	const uint64_t va = a->va + 4 * MIB;
	struct drm_npu_queue_get_state st;
	struct stream s;
	int h = bo_create(a->fd, PAGE, 0, 0), v;
	uint64_t *p;

	ASSERT_EQ(0, vm_map(a->fd, a->vm, h, 0, va, PAGE));
	s = client_stream(a);
	stream_load(&s, 1, va);
	stream_store_reg(&s, a->va + CLIENT_DATA, 1);
	stream_end(&s);
	ASSERT_EQ(0, client_run(a, s.size));		/* the device has cached it */
	ASSERT_EQ(0, vm_unmap(a->fd, a->vm, va, PAGE));
	ASSERT_EQ(0, bo_close(a->fd, h));
	v = bo_create(self->b.fd, 64 * PAGE, 0, 0);
	p = bo_map(self->b.fd, v, 64 * PAGE);
	ASSERT_NE(NULL, p);
	for (h = 0; h < 64; h++)
		p[h * 512] = SECRET;
	client_run(a, s.size);
	ASSERT_EQ(0, queue_state(a->fd, a->queue, &st));
	EXPECT_EQ(DRM_NPU_QUEUE_FAULT, st.state);
	EXPECT_NE(SECRET, client_data(a)[0]);
}

/* The whole user range is swept by a reading stream: only own buffers are there. */
TEST_F(isolation, sweep_reads_nothing_foreign)
{
	struct client *b = &self->b;
	struct drm_npu_queue_get_state st;
	uint64_t step = b->va_size / 64, va;

	ASSERT_EQ(0, client_ping(&self->a, 0, SECRET));
	for (va = b->va_start; va < b->va_start + b->va_size && va + step > va; va += step) {
		struct stream s = client_stream(b);

		stream_load(&s, 1, va & ~7ull);
		stream_store_reg(&s, b->va + CLIENT_DATA, 1);
		stream_end(&s);
		client_data(b)[0] = 0;
		client_run(b, s.size);
		EXPECT_NE(SECRET, client_data(b)[0]);
		ASSERT_EQ(0, queue_state(b->fd, b->queue, &st));
		if (st.state != DRM_NPU_QUEUE_ALIVE) {
			ASSERT_EQ(0, queue_destroy(b->fd, b->queue));
			b->queue = queue_create(b->fd, b->vm, 1, 0);
			ASSERT_GT((int)b->queue, 0);
		}
	}
}

/* ---- What a client takes is charged to its memory cgroup --------------------------- */

#define CGROUP	"/sys/fs/cgroup/npu-test"

static long long charged(void)
{
	char text[32];

	return read_file(CGROUP "/memory.current", text, sizeof(text)) < 0 ? -1 : atoll(text);
}

/* In a group of its own: what a BO, and then 64 VMs with a queue each, add to its charge. */
static void charge(int result)
{
	const long long bo_size = 16 * MIB;
	long long sum[3];
	struct client c;
	char limit[32];
	int bo, i;

	if (write_file(CGROUP "/cgroup.procs", "0") || client_open(&c))
		_exit(1);
	sum[0] = charged();
	bo = bo_create(c.fd, bo_size, DRM_NPU_BO_NO_MMAP, c.vm);
	if (bo < 0 || vm_map(c.fd, c.vm, bo, 0, c.va + 64 * MIB, bo_size))
		_exit(2);
	sum[1] = charged();
	for (i = 0; i < 64; i++) {
		int vm = vm_create(c.fd);

		if (vm < 0 || queue_create(c.fd, vm, DRM_NPU_PRIORITY_MEDIUM, 0) < 0)
			_exit(3);
	}
	sum[2] = charged();
	/* Above the limit: an error, and nobody is killed. */
	snprintf(limit, sizeof(limit), "%lld", sum[2] + bo_size);
	bo = bo_create(c.fd, 4 * bo_size, DRM_NPU_BO_NO_MMAP, c.vm);
	if (bo < 0 || write_file(CGROUP "/memory.max", limit))
		_exit(5);
	if (vm_map(c.fd, c.vm, bo, 0, c.va + 128 * MIB, 4 * bo_size) != -ENOMEM)
		_exit(6);
	/* What it had until then goes with the object. */
	if (bo_close(c.fd, bo) || client_ping(&c, 0, 1))
		_exit(7);
	if (write(result, sum, sizeof(sum)) != sizeof(sum))
		_exit(4);
	_exit(0);
}

TEST(memory_is_charged_to_the_cgroup)
{
	long long sum[3] = { 0 };
	int pipe_fd[2], status, fd = npu_open();
	pid_t pid;

	if (fd < 0)
		SKIP(return, "no node of driver npu");
	close(fd);
	if (access("/sys/fs/cgroup/cgroup.controllers", F_OK) &&
	    mount("none", "/sys/fs/cgroup", "cgroup2", 0, NULL))
		SKIP(return, "no cgroup v2 here");
	if (write_file("/sys/fs/cgroup/cgroup.subtree_control", "+memory") ||
	    (mkdir(CGROUP, 0755) && errno != EEXIST) || charged() < 0)
		SKIP(return, "no memory controller here");

	ASSERT_EQ(0, pipe(pipe_fd));
	pid = fork();
	if (!pid)
		charge(pipe_fd[1]);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_EQ(0, status);
	ASSERT_EQ(sizeof(sum), read(pipe_fd[0], sum, sizeof(sum)));
	TH_LOG("16 MiB mapped: %lld KiB charged; 64 VMs and queues: %lld KiB", (sum[1] - sum[0]) >> 10,
	       (sum[2] - sum[1]) >> 10);
	EXPECT_GE(sum[1] - sum[0], 16ll * MIB * 9 / 10);
	/* Ring, registers, page tables: several pages each. */
	EXPECT_GE(sum[2] - sum[1], 64ll * 4 * PAGE);
	rmdir(CGROUP);
}

TEST_HARNESS_MAIN
