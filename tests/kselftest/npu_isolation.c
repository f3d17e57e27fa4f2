// SPDX-License-Identifier: GPL-2.0-only
/* One client cannot reach another's memory, freed pages or the kernel's. */
#define _GNU_SOURCE
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

TEST_HARNESS_MAIN
