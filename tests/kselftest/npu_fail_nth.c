// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fail the first, second, third ... allocation of each ioctl: a clean error, and everything works afterwards.
 * Needs CONFIG_FAULT_INJECTION with FAILSLAB and FAIL_PAGE_ALLOC, debugfs and root.
 */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "npu_test.h"

#define MAX_NTH	400

static bool setup_injector(const char *name)
{
	static const struct { const char *file, *text; } set[] = {
		/* Probability 0: nobody fails but who counts down fail-nth. */
		{ "probability", "0" }, { "verbose", "0" },
		{ "ignore-gfp-wait", "N" }, { "ignore-gfp-highmem", "N" }, { "min-order", "0" },
	};
	bool ok = true;
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(set); i++) {
		char path[128];

		snprintf(path, sizeof(path), "/sys/kernel/debug/%s/%s", name, set[i].file);
		/* min-order is fail_page_alloc's only. */
		ok &= !write_file(path, set[i].text) || !strcmp(set[i].file, "min-order") ||
		      !strcmp(set[i].file, "ignore-gfp-highmem");
	}
	return ok;
}

FIXTURE(nth) {
	struct client c;
	int fd;			/* /proc/self/fail-nth */
};

FIXTURE_SETUP(nth)
{
	char name[256], driver[PATH_MAX];
	int ret = client_open(&self->c);

	self->fd = -1;
	if (ret == -ENODEV)
		SKIP(return, "no node of driver npu");
	ASSERT_EQ(0, ret);
	/* A look for the node that fails would end in ENODEV. */
	ASSERT_TRUE(sysfs_device(self->c.fd, name, sizeof(name), driver));
	ASSERT_TRUE(use_node_of(name));
	self->fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	if (self->fd < 0)
		SKIP(return, "no fail-nth (CONFIG_FAULT_INJECTION)");
	if (!setup_injector("failslab"))
		SKIP(return, "no failslab in debugfs (CONFIG_FAILSLAB, root)");
	setup_injector("fail_page_alloc");
	/* Copies from and to user space count as well, where the kernel can fail them. */
	setup_injector("fail_usercopy");
}

FIXTURE_TEARDOWN(nth)
{
	if (self->fd >= 0)
		close(self->fd);
	client_close(&self->c);
}

static void arm(int fd, int nth)
{
	char text[16];
	int n = snprintf(text, sizeof(text), "%d", nth);

	if (pwrite(fd, text, n, 0) != n)
		abort();
}

/*
 * True when the injected failure was used up. Where copies can fail, too, the count goes
 * on in these two calls: if it runs out here, the call before was not hit.
 */
static bool disarm(int fd)
{
	char text[16] = "";

	if (pread(fd, text, sizeof(text) - 1, 0) < 0) {
		if (errno != EFAULT)
			abort();
		return false;
	}
	if (!atoi(text))
		return true;
	if (pwrite(fd, "0", 1, 0) != 1 && errno != EFAULT)
		abort();
	return false;
}

/*
 * Runs CALL with the nth allocation failing, n rising until none fails any
 * more. Each time it must return 0 (the failure was survivable) or -ENOMEM.
 */
#define FOR_EACH_FAILURE(call, undo) do {							\
	int nth_, ret_ = 0;									\
	bool hit_ = true;									\
	for (nth_ = 1; hit_ && nth_ < MAX_NTH; nth_++) {					\
		arm(self->fd, nth_);								\
		ret_ = (call);									\
		hit_ = disarm(self->fd);							\
		if (ret_ >= 0) {								\
			undo;									\
		} else {									\
			ASSERT_TRUE(ret_ == -ENOMEM || ret_ == -EFAULT || ret_ == -ENOSPC) {	\
				TH_LOG("allocation %d: %d", nth_, ret_);			\
			}									\
		}										\
	}											\
	EXPECT_LT(nth_, MAX_NTH);								\
	EXPECT_GT(nth_, 2) { TH_LOG("no allocation was ever failed"); }			\
	EXPECT_GE(ret_, 0);									\
	EXPECT_EQ(0, client_ping(&self->c, 0, nth_));						\
} while (0)

TEST_F_TIMEOUT(nth, open_node, 120)
{
	FOR_EACH_FAILURE(npu_open(), close(ret_));
}

TEST_F_TIMEOUT(nth, vm_create, 120)
{
	FOR_EACH_FAILURE(vm_create(self->c.fd), vm_destroy(self->c.fd, ret_));
}

TEST_F_TIMEOUT(nth, bo_create, 120)
{
	FOR_EACH_FAILURE(bo_create(self->c.fd, 4 * PAGE, 0, 0), bo_close(self->c.fd, ret_));
}

TEST_F_TIMEOUT(nth, bo_create_exclusive, 120)
{
	FOR_EACH_FAILURE(bo_create(self->c.fd, 4 * PAGE, 0, self->c.vm), bo_close(self->c.fd, ret_));
}

TEST_F_TIMEOUT(nth, bo_prime, 120)
{
	int h = bo_create(self->c.fd, PAGE, 0, 0);
	struct drm_prime_handle a = { .handle = h, .flags = DRM_CLOEXEC | DRM_RDWR };

	FOR_EACH_FAILURE(npu_ioctl(self->c.fd, DRM_IOCTL_PRIME_HANDLE_TO_FD, &a), close(a.fd));
}

TEST_F_TIMEOUT(nth, vm_map, 240)
{
	const uint64_t va = self->c.va + 64 * MIB;
	int h = bo_create(self->c.fd, 64 * PAGE, 0, 0);

	FOR_EACH_FAILURE(vm_map(self->c.fd, self->c.vm, h, 0, va, 64 * PAGE),
			 ASSERT_EQ(0, vm_unmap(self->c.fd, self->c.vm, va, 64 * PAGE)));
}

TEST_F_TIMEOUT(nth, vm_unmap_split, 240)
{
	const uint64_t va = self->c.va + 64 * MIB;
	int h = bo_create(self->c.fd, 64 * PAGE, 0, 0);

	ASSERT_EQ(0, vm_map(self->c.fd, self->c.vm, h, 0, va, 64 * PAGE));
	FOR_EACH_FAILURE(vm_unmap(self->c.fd, self->c.vm, va + 8 * PAGE, 8 * PAGE),
			 ASSERT_EQ(0, vm_map(self->c.fd, self->c.vm, h, 0, va, 64 * PAGE)));
}

TEST_F_TIMEOUT(nth, vm_bind_queued, 240)
{
	const uint64_t va = self->c.va + 64 * MIB;
	int h = bo_create(self->c.fd, 8 * PAGE, 0, 0);
	int tl = syncobj_create(self->c.fd, false);
	struct drm_npu_sync_op sync = { .flags = DRM_NPU_SYNC_TIMELINE | DRM_NPU_SYNC_SIGNAL, .handle = tl };
	struct drm_npu_vm_bind_op op = {
		.type = DRM_NPU_VM_BIND_MAP, .bo_handle = h, .va = va, .size = 8 * PAGE,
		.syncs = { sizeof(sync), 1, (uintptr_t)&sync },
	};

	FOR_EACH_FAILURE((sync.value++, vm_bind(self->c.fd, self->c.vm, DRM_NPU_VM_BIND_ASYNC, &op, 1)),
			 ASSERT_EQ(0, timeline_wait(self->c.fd, tl, sync.value, now_ns() + LONG_WAIT)));
}

TEST_F_TIMEOUT(nth, queue_create, 240)
{
	FOR_EACH_FAILURE(queue_create(self->c.fd, self->c.vm, 1, 0), queue_destroy(self->c.fd, ret_));
}

TEST_F_TIMEOUT(nth, submit, 240)
{
	struct client *c = &self->c;
	uint64_t regs[4] = { 1, 2, 3, 4 };
	int tl = syncobj_create(c->fd, false);
	struct drm_npu_sync_op sync = { .flags = DRM_NPU_SYNC_TIMELINE | DRM_NPU_SYNC_SIGNAL, .handle = tl };
	struct stream s = { .p = c->map + 4096, .room = 256 };
	struct drm_npu_job jobs[2] = { { .stream = c->va + 4096, .nregs = 4, .regs = (uintptr_t)regs } };

	stream_end(&s);
	jobs[0].stream_size = s.size;
	jobs[1] = jobs[0];
	jobs[1].syncs = (struct drm_npu_obj_array){ sizeof(sync), 1, (uintptr_t)&sync };
	FOR_EACH_FAILURE((sync.value++, submit(c->fd, c->queue, jobs, 2)),
			 ASSERT_EQ(0, timeline_wait(c->fd, tl, sync.value, now_ns() + LONG_WAIT)));
}

TEST_HARNESS_MAIN
