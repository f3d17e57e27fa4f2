// SPDX-License-Identifier: GPL-2.0-only
/* PRIME: between files of this driver, and with a foreign exporter (udmabuf). */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "npu_test.h"

#include <linux/udmabuf.h>

FIXTURE(prime) {
	struct client a, b;
};

FIXTURE_SETUP(prime)
{
	int ret = client_open(&self->a);

	self->b.fd = -1;
	if (ret == -ENODEV)
		SKIP(return, "no node of driver npu");
	ASSERT_EQ(0, ret);
	ASSERT_EQ(0, client_open(&self->b));
}

FIXTURE_TEARDOWN(prime)
{
	client_close(&self->a);
	client_close(&self->b);
}

static int prime_export(int fd, uint32_t handle)
{
	struct drm_prime_handle a = { .handle = handle, .flags = DRM_CLOEXEC | DRM_RDWR, .fd = -1 };
	int ret = npu_ioctl(fd, DRM_IOCTL_PRIME_HANDLE_TO_FD, &a);

	return ret ?: a.fd;
}

static int prime_import(int fd, int dmabuf)
{
	struct drm_prime_handle a = { .fd = dmabuf };
	int ret = npu_ioctl(fd, DRM_IOCTL_PRIME_FD_TO_HANDLE, &a);

	return ret ?: (int)a.handle;
}

TEST_F(prime, between_two_files)
{
	const uint64_t va = self->b.va + 4 * MIB;
	int h = bo_create(self->a.fd, 4 * PAGE, 0, 0), fd, imported;
	volatile uint64_t *p = bo_map(self->a.fd, h, 4 * PAGE);
	struct stream s = client_stream(&self->b);

	ASSERT_NE(NULL, p);
	fd = prime_export(self->a.fd, h);
	ASSERT_GE(fd, 0);
	imported = prime_import(self->b.fd, fd);
	ASSERT_GT(imported, 0);
	close(fd);
	ASSERT_EQ(0, vm_map(self->b.fd, self->b.vm, imported, 0, va, 4 * PAGE));
	stream_store(&s, va + PAGE, 4242);
	stream_end(&s);
	ASSERT_EQ(0, client_run(&self->b, s.size));
	EXPECT_EQ(4242, p[512]);
}

TEST_F(prime, same_file_gives_the_same_handle)
{
	int h = bo_create(self->a.fd, PAGE, 0, 0);
	int fd = prime_export(self->a.fd, h);

	ASSERT_GE(fd, 0);
	EXPECT_EQ(h, prime_import(self->a.fd, fd));
	close(fd);
}

TEST_F(prime, exclusive_is_not_exported)
{
	int h = bo_create(self->a.fd, PAGE, 0, self->a.vm);

	ASSERT_GT(h, 0);
	EXPECT_LT(prime_export(self->a.fd, h), 0);
}

TEST_F(prime, not_a_dmabuf)
{
	int fd = open("/dev/null", O_RDONLY);

	EXPECT_EQ(-EINVAL, prime_import(self->a.fd, fd));
	EXPECT_EQ(-EBADF, prime_import(self->a.fd, 4711));
	close(fd);
}

TEST_F(prime, outlives_exporter)
{
	int h = bo_create(self->a.fd, PAGE, 0, 0), fd, imported;
	const uint64_t va = self->b.va + 4 * MIB;

	fd = prime_export(self->a.fd, h);
	ASSERT_GE(fd, 0);
	client_close(&self->a);
	imported = prime_import(self->b.fd, fd);
	ASSERT_GT(imported, 0);
	close(fd);
	ASSERT_EQ(0, vm_map(self->b.fd, self->b.vm, imported, 0, va, PAGE));
	EXPECT_EQ(0, client_ping(&self->b, 0, 1));
}

TEST_F(prime, foreign_buffer)
{
	struct udmabuf_create create = { .size = 4 * PAGE };
	const uint64_t va = self->a.va + 4 * MIB;
	struct stream s = client_stream(&self->a);
	int dev = open("/dev/udmabuf", O_RDWR), mem, fd, h;
	volatile uint64_t *p;

	if (dev < 0)
		SKIP(return, "no /dev/udmabuf (CONFIG_UDMABUF)");
	mem = memfd_create("npu-prime", MFD_ALLOW_SEALING);
	ASSERT_GE(mem, 0);
	ASSERT_EQ(0, ftruncate(mem, 4 * PAGE));
	ASSERT_EQ(0, fcntl(mem, F_ADD_SEALS, F_SEAL_SHRINK));
	p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, mem, 0);
	ASSERT_NE(MAP_FAILED, p);
	create.memfd = mem;
	fd = ioctl(dev, UDMABUF_CREATE, &create);
	ASSERT_GE(fd, 0);
	h = prime_import(self->a.fd, fd);
	if (h == -EOPNOTSUPP)
		SKIP(return, "refused: this device does not reach all memory of this machine");
	ASSERT_GT(h, 0);
	ASSERT_EQ(0, vm_map(self->a.fd, self->a.vm, h, 0, va, 4 * PAGE));
	p[0] = 31;
	stream_load(&s, 1, va);
	stream_store_reg(&s, va + 3 * PAGE, 1);
	stream_end(&s);
	ASSERT_EQ(0, client_run(&self->a, s.size));
	EXPECT_EQ(31, p[3 * 512]);
	/* CPU access to a foreign buffer goes through its exporter, not through us. */
	EXPECT_EQ(-EINVAL, npu_ioctl(self->a.fd, DRM_IOCTL_NPU_BO_MMAP_OFFSET,
				     &(struct drm_npu_bo_mmap_offset){ .handle = h }));
	close(fd);
	close(mem);
	close(dev);
}

TEST_HARNESS_MAIN
