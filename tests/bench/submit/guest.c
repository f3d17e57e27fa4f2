// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest side of the submission benchmark: intervals from submit to completion, between
 * markers that tests/bench/submit/count.c sees. Prints what each phase is.
 */
#define _GNU_SOURCE
#include "npu_test.h"

#define ROUNDS	100
#define WARM	20

#define MARK(n)	asm volatile("hint #" #n ::: "memory")

#define MAX_QUEUES	65

struct bench {
	struct client c;
	struct drm_npu_job jobs[32];
	struct drm_npu_sync_op sync;
	/* Submitted to in turn; one, but for the phase that evicts. */
	uint32_t queues[MAX_QUEUES];
	unsigned int nqueues, turn;
};

static void die(const char *what, int ret)
{
	fprintf(stderr, "submit: %s: %s\n", what, strerror(-ret));
	exit(1);
}

static void open_bench(struct bench *b)
{
	struct stream s;
	unsigned int i;
	int ret = client_open(&b->c);

	if (ret)
		die("open", ret);
	s = client_stream(&b->c);
	stream_end(&s);
	ret = syncobj_create(b->c.fd, false);
	if (ret < 0)
		die("syncobj", ret);
	b->sync = (struct drm_npu_sync_op){ .flags = DRM_NPU_SYNC_SIGNAL, .handle = ret };
	b->queues[0] = b->c.queue;
	b->nqueues = 1;
	for (i = 0; i < ARRAY_LEN(b->jobs); i++)
		b->jobs[i] = (struct drm_npu_job){ .stream = b->c.va, .stream_size = s.size };
}

static void run_once(struct bench *b, unsigned int n)
{
	int ret;

	b->jobs[n - 1].syncs = (struct drm_npu_obj_array){ sizeof(b->sync), 1, (uintptr_t)&b->sync };
	ret = submit(b->c.fd, b->queues[b->turn++ % b->nqueues], b->jobs, n);
	if (!ret)
		ret = syncobj_wait(b->c.fd, b->sync.handle, INT64_MAX);
	b->jobs[n - 1].syncs = (struct drm_npu_obj_array){ 0 };
	if (ret)
		die("job", ret);
}

static void phase(struct bench *b, const char *name, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < WARM; i++)
		run_once(b, n);
	printf("%s,%u\n", name, n);
	fflush(stdout);
	MARK(98);
	for (i = 0; i < ROUNDS; i++) {
		MARK(96);
		run_once(b, n);
		MARK(97);
	}
}

/* @n more VMs with a queue each, idle. */
static void add_vms(struct bench *b, unsigned int n)
{
	while (n--) {
		int vm = vm_create(b->c.fd);
		int ret = vm < 0 ? vm : queue_create(b->c.fd, vm, 1, 0);

		if (ret < 0)
			die("more VMs", ret);
	}
}

/* @n more VM-exclusive objects of one page, mapped. */
static void add_bos(struct bench *b, unsigned int n)
{
	static uint64_t at;

	while (n--) {
		int bo = bo_create(b->c.fd, PAGE, DRM_NPU_BO_NO_MMAP, b->c.vm);
		int ret = bo < 0 ? bo : vm_map(b->c.fd, b->c.vm, bo, 0, b->c.va + 64 * MIB + at, PAGE);

		if (ret < 0)
			die("more objects", ret);
		at += PAGE;
	}
}

/* A queue in a VM of its own, with the stream of no command at the same address. */
static uint32_t another_queue(struct bench *b)
{
	struct stream s = { .room = CLIENT_SIZE };
	int vm = vm_create(b->c.fd);
	int bo = vm < 0 ? vm : bo_create(b->c.fd, CLIENT_SIZE, 0, vm);
	int ret = bo < 0 ? bo : vm_map(b->c.fd, vm, bo, 0, b->c.va, CLIENT_SIZE);

	if (ret)
		die("another VM", ret);
	s.p = bo_map(b->c.fd, bo, CLIENT_SIZE);
	if (!s.p)
		die("map", -errno);
	stream_end(&s);
	ret = queue_create(b->c.fd, vm, DRM_NPU_PRIORITY_MEDIUM, 0);
	if (ret < 0)
		die("another queue", ret);
	return ret;
}

/* More queues and VMs than the device holds: each submission evicts the oldest. */
static void add_queues(struct bench *b)
{
	struct drm_npu_info info;
	struct drm_npu_dev_query q = {
		.type = DRM_NPU_DEV_QUERY_INFO, .size = sizeof(info), .pointer = (uintptr_t)&info,
	};
	unsigned int n;
	int ret = npu_ioctl(b->c.fd, DRM_IOCTL_NPU_DEV_QUERY, &q);

	if (ret)
		die("query", ret);
	n = (info.slots > info.hw_queues ? info.slots : info.hw_queues) + 1;
	if (n > MAX_QUEUES)
		die("more queues than this program has room for", -E2BIG);
	while (b->nqueues < n)
		b->queues[b->nqueues++] = another_queue(b);
}

int main(int argc, char **argv)
{
	bool quick = argc > 1 && !strcmp(argv[1], "--quick");
	static struct bench b;

	open_bench(&b);
	phase(&b, "jobs", 1);
	phase(&b, "jobs", 8);
	phase(&b, "jobs", 32);
	if (quick)
		return 0;
	add_vms(&b, 10);
	phase(&b, "10 idle VMs", 1);
	add_vms(&b, 990);
	phase(&b, "1000 idle VMs", 1);
	add_bos(&b, 10);
	phase(&b, "10 mapped BOs", 1);
	add_bos(&b, 9990);
	phase(&b, "10000 mapped BOs", 1);
	add_queues(&b);
	phase(&b, "evicting", 1);
	return 0;
}
