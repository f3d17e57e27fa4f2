// SPDX-License-Identifier: GPL-2.0-only
/* VM_BIND: map, unmap, split, replace, huge blocks, queued, failing. */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "npu_test.h"

FIXTURE(bind) {
	struct client c;
	uint64_t va;		/* free range, 2 MiB aligned */
	int log;
};

FIXTURE_SETUP(bind)
{
	int ret = client_open(&self->c);

	self->log = log_open();
	if (ret == -ENODEV)
		SKIP(return, "no node of driver npu");
	ASSERT_EQ(0, ret);
	self->va = (self->c.va_start + 64 * MIB) & ~(2 * MIB - 1);
}

FIXTURE_TEARDOWN(bind)
{
	client_close(&self->c);
	EXPECT_TRUE(log_is_quiet(self->log));
}

/* The device's own view of address @va: 0 and *value, or the error of the run. */
static int peek(struct client *c, uint64_t va, uint64_t *value)
{
	struct stream s = client_stream(c);
	int ret;

	stream_load(&s, 1, va);
	stream_store_reg(&s, c->va + CLIENT_DATA, 1);
	stream_end(&s);
	client_data(c)[0] = 0;
	ret = client_run(c, s.size);
	*value = client_data(c)[0];
	return ret;
}

static bool queue_faulted(struct client *c)
{
	struct drm_npu_queue_get_state st;

	return !queue_state(c->fd, c->queue, &st) && st.state == DRM_NPU_QUEUE_FAULT &&
	       NPU_FAULT_CODE(st.fault) == NPU_FAULT_TRANSLATION;
}

TEST_F(bind, device_sees_a_mapping)
{
	struct client *c = &self->c;
	int bo = bo_create(c->fd, 4 * PAGE, 0, 0);
	volatile uint64_t *p = bo_map(c->fd, bo, 4 * PAGE);
	uint64_t v;
	int i;

	ASSERT_NE(NULL, p);
	for (i = 0; i < 4; i++)
		p[i * 512] = 100 + i;
	ASSERT_EQ(0, vm_map(c->fd, c->vm, bo, 0, self->va, 4 * PAGE));
	for (i = 0; i < 4; i++) {
		ASSERT_EQ(0, peek(c, self->va + i * PAGE, &v));
		EXPECT_EQ(100 + i, v);
	}
}

TEST_F(bind, offset_in_the_object)
{
	struct client *c = &self->c;
	int bo = bo_create(c->fd, 4 * PAGE, 0, c->vm);
	volatile uint64_t *p = bo_map(c->fd, bo, 4 * PAGE);
	uint64_t v;

	ASSERT_NE(NULL, p);
	p[2 * 512] = 7;
	ASSERT_EQ(0, vm_map(c->fd, c->vm, bo, 2 * PAGE, self->va, PAGE));
	ASSERT_EQ(0, peek(c, self->va, &v));
	EXPECT_EQ(7, v);
}

TEST_F(bind, unmapped_faults_and_is_attributed)
{
	struct client *c = &self->c;
	struct drm_npu_queue_get_state st;
	uint64_t v;

	peek(c, self->va, &v);
	ASSERT_EQ(0, queue_state(c->fd, c->queue, &st));
	EXPECT_EQ(DRM_NPU_QUEUE_FAULT, st.state);
	EXPECT_EQ(NPU_FAULT_TRANSLATION, NPU_FAULT_CODE(st.fault));
	EXPECT_EQ(NPU_CMD_LOAD, NPU_FAULT_OPCODE(st.fault));
	EXPECT_EQ(self->va, st.fault_addr);
	EXPECT_EQ(c->va, st.fault_pc);
}

TEST_F(bind, unmap_is_seen_at_once)
{
	struct client *c = &self->c;
	int bo = bo_create(c->fd, 2 * PAGE, 0, 0);
	uint64_t v;

	ASSERT_EQ(0, vm_map(c->fd, c->vm, bo, 0, self->va, 2 * PAGE));
	/* Both translations are cached by the device now. */
	ASSERT_EQ(0, peek(c, self->va, &v));
	ASSERT_EQ(0, peek(c, self->va + PAGE, &v));
	ASSERT_EQ(0, vm_unmap(c->fd, c->vm, self->va, PAGE));
	ASSERT_EQ(0, peek(c, self->va + PAGE, &v));
	peek(c, self->va, &v);
	EXPECT_TRUE(queue_faulted(c));
}

TEST_F(bind, split_in_the_middle)
{
	struct client *c = &self->c;
	int bo = bo_create(c->fd, 8 * PAGE, 0, 0);
	volatile uint64_t *p = bo_map(c->fd, bo, 8 * PAGE);
	uint64_t v;
	int i;

	ASSERT_NE(NULL, p);
	for (i = 0; i < 8; i++)
		p[i * 512] = i;
	ASSERT_EQ(0, vm_map(c->fd, c->vm, bo, 0, self->va, 8 * PAGE));
	ASSERT_EQ(0, vm_unmap(c->fd, c->vm, self->va + 3 * PAGE, 2 * PAGE));
	for (i = 0; i < 8; i++) {
		if (i == 3 || i == 4)
			continue;
		ASSERT_EQ(0, peek(c, self->va + i * PAGE, &v));
		EXPECT_EQ(i, v);
	}
	peek(c, self->va + 3 * PAGE, &v);
	EXPECT_TRUE(queue_faulted(c));
}

TEST_F(bind, map_replaces)
{
	struct client *c = &self->c;
	int a = bo_create(c->fd, 4 * PAGE, 0, 0), b = bo_create(c->fd, 4 * PAGE, 0, 0);
	volatile uint64_t *pa = bo_map(c->fd, a, 4 * PAGE), *pb = bo_map(c->fd, b, 4 * PAGE);
	uint64_t v;
	int i;

	ASSERT_NE(NULL, pa);
	ASSERT_NE(NULL, pb);
	for (i = 0; i < 4; i++) {
		pa[i * 512] = 10 + i;
		pb[i * 512] = 20 + i;
	}
	ASSERT_EQ(0, vm_map(c->fd, c->vm, a, 0, self->va, 4 * PAGE));
	ASSERT_EQ(0, peek(c, self->va + PAGE, &v));
	ASSERT_EQ(10 + 1, v);
	ASSERT_EQ(0, vm_map(c->fd, c->vm, b, 0, self->va + PAGE, 2 * PAGE));
	for (i = 0; i < 4; i++) {
		ASSERT_EQ(0, peek(c, self->va + i * PAGE, &v));
		EXPECT_EQ(i == 0 || i == 3 ? 10 + i : 20 + i - 1, v);
	}
}

TEST_F(bind, part_of_a_huge_block)
{
	struct client *c = &self->c;
	const uint64_t size = 4 * MIB;
	int bo = bo_create(c->fd, size, 0, c->vm);
	volatile uint64_t *p = bo_map(c->fd, bo, size);
	uint64_t v, off;

	ASSERT_NE(NULL, p);
	for (off = 0; off < size; off += PAGE)
		p[off / 8] = off + 1;
	ASSERT_EQ(0, vm_map(c->fd, c->vm, bo, 0, self->va, size));
	ASSERT_EQ(0, peek(c, self->va + MIB, &v));
	EXPECT_EQ(MIB + 1, v);
	ASSERT_EQ(0, vm_unmap(c->fd, c->vm, self->va + MIB, PAGE));
	for (off = 0; off < size; off += 64 * PAGE) {
		if (off == MIB)
			continue;
		ASSERT_EQ(0, peek(c, self->va + off, &v));
		EXPECT_EQ(off + 1, v);
	}
	peek(c, self->va + MIB, &v);
	EXPECT_TRUE(queue_faulted(c));
}

TEST_F(bind, readonly_faults_on_write)
{
	struct client *c = &self->c;
	struct drm_npu_vm_bind_op op = {
		.type = DRM_NPU_VM_BIND_MAP, .flags = DRM_NPU_VM_BIND_READONLY, .va = self->va, .size = PAGE,
	};
	struct drm_npu_queue_get_state st;
	struct stream s = client_stream(c);
	uint64_t v;

	op.bo_handle = bo_create(c->fd, PAGE, 0, 0);
	ASSERT_EQ(0, vm_bind(c->fd, c->vm, 0, &op, 1));
	ASSERT_EQ(0, peek(c, self->va, &v));
	stream_store(&s, self->va, 1);
	stream_end(&s);
	client_run(c, s.size);
	ASSERT_EQ(0, queue_state(c->fd, c->queue, &st));
	EXPECT_EQ(DRM_NPU_QUEUE_FAULT, st.state);
	EXPECT_EQ(NPU_FAULT_PERMISSION, NPU_FAULT_CODE(st.fault));
	EXPECT_NE(0, st.fault & NPU_FAULT_WRITE);
}

TEST_F(bind, mapping_holds_the_object)
{
	struct client *c = &self->c;
	int bo = bo_create(c->fd, PAGE, 0, 0);
	volatile uint64_t *p = bo_map(c->fd, bo, PAGE);
	uint64_t v;

	ASSERT_NE(NULL, p);
	p[0] = 55;
	ASSERT_EQ(0, vm_map(c->fd, c->vm, bo, 0, self->va, PAGE));
	munmap((void *)p, PAGE);
	ASSERT_EQ(0, bo_close(c->fd, bo));
	ASSERT_EQ(0, peek(c, self->va, &v));
	EXPECT_EQ(55, v);
}

TEST_F(bind, bad_fields)
{
	struct client *c = &self->c;
	const struct drm_npu_vm_bind_op good = {
		.type = DRM_NPU_VM_BIND_MAP, .bo_handle = bo_create(c->fd, 4 * PAGE, 0, 0), .va = self->va, .size = PAGE,
	};
	struct drm_npu_vm_bind_op op;
	struct drm_npu_sync_op sync = { .flags = DRM_NPU_SYNC_SIGNAL };

#define BAD(err, change) do { op = good; change; EXPECT_EQ(err, vm_bind(c->fd, c->vm, 0, &op, 1)) { TH_LOG("%s", #change); } } while (0)
	BAD(-EINVAL, op.type = 3);
	BAD(-EINVAL, op.type = DRM_NPU_VM_BIND_SYNC_ONLY);
	BAD(-EINVAL, op.flags = 1u << 30);
	BAD(-EINVAL, op.pad = 1);
	BAD(-ENOENT, op.bo_handle = 4711);
	BAD(-EINVAL, op.bo_offset = 1);
	BAD(-EINVAL, op.bo_offset = 4 * PAGE);
	BAD(-EINVAL, op.bo_offset = ~0ull & ~(PAGE - 1));
	BAD(-EINVAL, op.va += 1);
	BAD(-EINVAL, op.va = c->va_start + c->va_size);
	BAD(-EINVAL, op.va = ~0ull & ~(PAGE - 1));
	BAD(-EINVAL, op.size = 0);
	BAD(-EINVAL, op.size = 100);
	BAD(-EINVAL, op.size = 5 * PAGE);
	BAD(-EINVAL, op.size = ~0ull & ~(PAGE - 1));
	BAD(-EINVAL, (op.type = DRM_NPU_VM_BIND_UNMAP, op.bo_handle = 0, op.flags = DRM_NPU_VM_BIND_READONLY));
	BAD(-EINVAL, op.type = DRM_NPU_VM_BIND_UNMAP);
	BAD(-EINVAL, (op.type = DRM_NPU_VM_BIND_UNMAP, op.bo_handle = 0, op.bo_offset = PAGE));
	/* Sync operations belong to queued binds. */
	sync.handle = syncobj_create(c->fd, false);
	BAD(-EINVAL, (op.syncs = (struct drm_npu_obj_array){ sizeof(sync), 1, (uintptr_t)&sync }));
#undef BAD
	op = good;
	EXPECT_EQ(-EINVAL, vm_bind(c->fd, c->vm, 2, &op, 1));
	EXPECT_EQ(-ENOENT, vm_bind(c->fd, c->vm + 1000, 0, &op, 1));
	EXPECT_EQ(-EINVAL, vm_bind(c->fd, c->vm, 0, &op, 100000));
	EXPECT_EQ(-EFAULT, vm_bind(c->fd, c->vm, 0, (void *)8, 1));
}

TEST_F(bind, stride_of_other_versions)
{
	struct client *c = &self->c;
	struct { struct drm_npu_vm_bind_op op; uint64_t tail; } ops[1] = { {
		.op = { .type = DRM_NPU_VM_BIND_MAP, .bo_handle = bo_create(c->fd, PAGE, 0, 0), .va = self->va, .size = PAGE },
	} };
	struct drm_npu_vm_bind a = { .vm_id = c->vm, .ops = { sizeof(ops[0]), 1, (uintptr_t)ops } };

	/* Longer with a zero tail: a program for a newer kernel that asks for nothing new. */
	EXPECT_EQ(0, npu_ioctl(c->fd, DRM_IOCTL_NPU_VM_BIND, &a));
	ops[0].tail = 1;
	EXPECT_EQ(-E2BIG, npu_ioctl(c->fd, DRM_IOCTL_NPU_VM_BIND, &a));
	a.ops.stride = 4;
	EXPECT_EQ(-EINVAL, npu_ioctl(c->fd, DRM_IOCTL_NPU_VM_BIND, &a));
}

TEST_F(bind, exclusive_object_of_another_vm)
{
	struct client *c = &self->c;
	int other = vm_create(c->fd);
	int bo = bo_create(c->fd, PAGE, 0, other);

	ASSERT_GT(bo, 0);
	EXPECT_EQ(-EINVAL, vm_map(c->fd, c->vm, bo, 0, self->va, PAGE));
	EXPECT_EQ(0, vm_map(c->fd, other, bo, 0, self->va, PAGE));
}

TEST_F(bind, immediate_array_stops_at_the_failure)
{
	struct client *c = &self->c;
	int bo = bo_create(c->fd, PAGE, 0, 0);
	struct drm_npu_vm_bind_op ops[3] = {
		{ .type = DRM_NPU_VM_BIND_MAP, .bo_handle = bo, .va = self->va, .size = PAGE },
		{ .type = DRM_NPU_VM_BIND_MAP, .bo_handle = bo, .va = self->va + 1, .size = PAGE },
		{ .type = DRM_NPU_VM_BIND_MAP, .bo_handle = bo, .va = self->va + 2 * PAGE, .size = PAGE },
	};
	struct drm_npu_vm_bind a = { .vm_id = c->vm, .ops = { sizeof(ops[0]), 3, (uintptr_t)ops } };
	struct drm_npu_vm_get_state st = { .vm_id = c->vm };
	uint64_t v;

	EXPECT_EQ(-EINVAL, npu_ioctl(c->fd, DRM_IOCTL_NPU_VM_BIND, &a));
	EXPECT_EQ(1, a.ops.count);
	ASSERT_EQ(0, npu_ioctl(c->fd, DRM_IOCTL_NPU_VM_GET_STATE, &st));
	EXPECT_EQ(DRM_NPU_VM_USABLE, st.state);
	EXPECT_EQ(0, peek(c, self->va, &v));
}

TEST_F(bind, queued_behind_a_fence)
{
	struct client *c = &self->c;
	int bo = bo_create(c->fd, PAGE, 0, 0);
	volatile uint64_t *p = bo_map(c->fd, bo, PAGE);
	int tl = syncobj_create(c->fd, false), gate = syncobj_create(c->fd, false);
	struct drm_npu_sync_op syncs[2] = {
		{ .flags = DRM_NPU_SYNC_TIMELINE, .handle = gate, .value = 1 },
		{ .flags = DRM_NPU_SYNC_TIMELINE | DRM_NPU_SYNC_SIGNAL, .handle = tl, .value = 1 },
	};
	struct drm_npu_vm_bind_op op = {
		.type = DRM_NPU_VM_BIND_MAP, .bo_handle = bo, .va = self->va, .size = PAGE,
		.syncs = { sizeof(syncs[0]), 2, (uintptr_t)syncs },
	};
	struct drm_npu_sync_op wait = { .flags = DRM_NPU_SYNC_TIMELINE, .handle = tl, .value = 1 };
	struct drm_npu_sync_op job_syncs[2] = { wait, { .flags = DRM_NPU_SYNC_SIGNAL } };
	struct drm_npu_job job = { .stream = c->va, .syncs = { sizeof(job_syncs[0]), 2, (uintptr_t)job_syncs } };
	struct stream s = client_stream(c);
	int done = syncobj_create(c->fd, false);

	ASSERT_NE(NULL, p);
	p[0] = 99;
	/* A point without a fence: nobody could ever signal it as far as the kernel knows. */
	EXPECT_EQ(-EINVAL, vm_bind(c->fd, c->vm, DRM_NPU_VM_BIND_ASYNC, &op, 1));
	ASSERT_EQ(0, timeline_signal(c->fd, gate, 1));
	ASSERT_EQ(0, vm_bind(c->fd, c->vm, DRM_NPU_VM_BIND_ASYNC, &op, 1));
	stream_load(&s, 1, self->va);
	stream_store_reg(&s, c->va + CLIENT_DATA, 1);
	stream_end(&s);
	job.stream_size = s.size;
	job_syncs[1].handle = done;
	ASSERT_EQ(0, submit(c->fd, c->queue, &job, 1));
	ASSERT_EQ(0, syncobj_wait(c->fd, done, now_ns() + LONG_WAIT));
	EXPECT_EQ(99, client_data(c)[0]);
}

/* A queued bind waits for a job; another job waits for the bind: no CPU between. */
TEST_F(bind, chain_job_bind_job)
{
	struct client *c = &self->c;
	int a = bo_create(c->fd, PAGE, 0, 0), b = bo_create(c->fd, PAGE, 0, 0);
	volatile uint64_t *pa = bo_map(c->fd, a, PAGE), *pb = bo_map(c->fd, b, PAGE);
	int tl = syncobj_create(c->fd, false);
	struct drm_npu_sync_op sync[5] = {
		{ .flags = DRM_NPU_SYNC_TIMELINE | DRM_NPU_SYNC_SIGNAL, .handle = tl, .value = 1 },
		{ .flags = DRM_NPU_SYNC_TIMELINE, .handle = tl, .value = 1 },
		{ .flags = DRM_NPU_SYNC_TIMELINE | DRM_NPU_SYNC_SIGNAL, .handle = tl, .value = 2 },
		{ .flags = DRM_NPU_SYNC_TIMELINE, .handle = tl, .value = 2 },
		{ .flags = DRM_NPU_SYNC_TIMELINE | DRM_NPU_SYNC_SIGNAL, .handle = tl, .value = 3 },
	};
	struct drm_npu_vm_bind_op op = {
		.type = DRM_NPU_VM_BIND_MAP, .bo_handle = b, .va = self->va, .size = PAGE,
		.syncs = { sizeof(sync[0]), 2, (uintptr_t)&sync[1] },
	};
	struct drm_npu_job first = { .stream = c->va, .syncs = { sizeof(sync[0]), 1, (uintptr_t)&sync[0] } };
	struct drm_npu_job second = { .syncs = { sizeof(sync[0]), 2, (uintptr_t)&sync[3] } };
	struct stream s = client_stream(c);
	uint32_t at;

	ASSERT_NE(NULL, pa);
	ASSERT_NE(NULL, pb);
	pa[0] = 1;
	pb[0] = 2;
	ASSERT_EQ(0, vm_map(c->fd, c->vm, a, 0, self->va, PAGE));
	stream_loop(&s, 100000);
	stream_load(&s, 1, self->va);
	stream_store_reg(&s, c->va + CLIENT_DATA, 1);
	stream_end(&s);
	first.stream_size = s.size;
	at = s.size;
	stream_load(&s, 1, self->va);
	stream_store_reg(&s, c->va + CLIENT_DATA + 8, 1);
	stream_end(&s);
	second.stream = c->va + at;
	second.stream_size = s.size - at;
	ASSERT_EQ(0, submit(c->fd, c->queue, &first, 1));
	ASSERT_EQ(0, vm_bind(c->fd, c->vm, DRM_NPU_VM_BIND_ASYNC, &op, 1));
	ASSERT_EQ(0, submit(c->fd, c->queue, &second, 1));
	ASSERT_EQ(0, timeline_wait(c->fd, tl, 3, now_ns() + LONG_WAIT));
	EXPECT_EQ(1, client_data(c)[0]);
	EXPECT_EQ(2, client_data(c)[1]);
}

TEST_F_TIMEOUT(bind, many_random_binds_hold_their_data, 120)
{
	enum { PAGES = 64, ROUNDS = 300 };
	struct client *c = &self->c;
	int bo = bo_create(c->fd, PAGES * PAGE, 0, c->vm);
	volatile uint64_t *p = bo_map(c->fd, bo, PAGES * PAGE);
	int shadow[PAGES];	/* page of the object at each address, or -1 */
	uint64_t v;
	int i, r;

	ASSERT_NE(NULL, p);
	for (i = 0; i < PAGES; i++) {
		p[i * 512] = i + 1;
		shadow[i] = -1;
	}
	srand(1);
	for (r = 0; r < ROUNDS; r++) {
		int at = rand() % PAGES, n = 1 + rand() % (PAGES - at), from = rand() % (PAGES - n + 1);

		if (rand() % 3) {
			ASSERT_EQ(0, vm_map(c->fd, c->vm, bo, from * PAGE, self->va + at * PAGE, n * PAGE));
			for (i = 0; i < n; i++)
				shadow[at + i] = from + i;
		} else {
			ASSERT_EQ(0, vm_unmap(c->fd, c->vm, self->va + at * PAGE, n * PAGE));
			for (i = 0; i < n; i++)
				shadow[at + i] = -1;
		}
		i = rand() % PAGES;
		if (shadow[i] < 0)
			continue;
		ASSERT_EQ(0, peek(c, self->va + i * PAGE, &v));
		ASSERT_EQ(shadow[i] + 1, v);
	}
}

/* Four GiB of addresses in one call, and all that there are out in another. */
TEST_F_TIMEOUT(bind, gigabytes_of_addresses, 120)
{
	enum { N = 1024 };
	const uint64_t size = 4 * MIB, va = self->c.va_start + (4ull << 30);
	struct drm_npu_vm_bind_op *ops = calloc(N, sizeof(*ops));
	struct client *c = &self->c;
	int bo = bo_create(c->fd, size, 0, c->vm), i;
	volatile uint64_t *p = bo_map(c->fd, bo, size);
	uint64_t v;

	ASSERT_NE(NULL, ops);
	ASSERT_NE(NULL, p);
	p[7] = 1234;
	for (i = 0; i < N; i++)
		ops[i] = (struct drm_npu_vm_bind_op){
			.type = DRM_NPU_VM_BIND_MAP, .bo_handle = bo, .va = va + i * size, .size = size,
		};
	ASSERT_EQ(0, vm_bind(c->fd, c->vm, 0, ops, N));
	for (i = 0; i < N; i += N - 1) {
		ASSERT_EQ(0, peek(c, va + i * size + 56, &v));
		EXPECT_EQ(1234, v);
	}
	ASSERT_EQ(0, vm_unmap(c->fd, c->vm, va, c->va_start + c->va_size - va));
	peek(c, va + (N - 1) * size, &v);
	EXPECT_TRUE(queue_faulted(c));
	free(ops);
}

static uint64_t memory(const char *key)
{
	char text[4096], *p;

	if (read_file("/proc/meminfo", text, sizeof(text)) < 0)
		return 0;
	p = strstr(text, key);
	return p ? strtoull(p + strlen(key), NULL, 10) << 10 : 0;
}

TEST_F_TIMEOUT(bind, an_object_of_gigabytes, 300)
{
	const uint64_t size = 2ull << 30, va = self->c.va_start + (1ull << 30);
	struct client *c = &self->c;
	struct stream s;
	uint64_t v;
	int bo;

	if (memory("MemAvailable:") < size + 512 * MIB)
		SKIP(return, "needs 2.5 GiB of free memory");
	bo = bo_create(c->fd, size, DRM_NPU_BO_NO_MMAP, c->vm);
	ASSERT_GT(bo, 0);
	ASSERT_EQ(0, vm_map(c->fd, c->vm, bo, 0, va, size));
	s = client_stream(c);
	stream_store(&s, va + size - 8, 4711);
	stream_end(&s);
	ASSERT_EQ(0, client_run(c, s.size));
	ASSERT_EQ(0, peek(c, va + size - 8, &v));
	EXPECT_EQ(4711, v);
	ASSERT_EQ(0, peek(c, va + size / 2, &v));
	EXPECT_EQ(0, v);
}

/* More than there is: refused before the machine runs dry. */
TEST_F(bind, more_than_the_machine_has)
{
	EXPECT_EQ(-ENOMEM, bo_create(self->c.fd, 2 * memory("MemTotal:"), DRM_NPU_BO_NO_MMAP, self->c.vm));
}

TEST_HARNESS_MAIN
