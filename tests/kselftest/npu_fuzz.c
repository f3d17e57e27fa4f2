// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fuzzer of the driver: processes make random, mostly valid ioctl calls and streams, are killed and start anew;
 * optionally with failing allocations. At the end the device must still work for an innocent program.
 *
 *   npu_fuzz [-s SECONDS] [-p PROCESSES] [-r SEED] [-f] [-v]
 *     -f  let allocations fail at random (CONFIG_FAULT_INJECTION, root)
 *     -v  print each call (one process, for replaying a finding)
 *
 * A run is given by its seed, up to timing. With CONFIG_KCOV the number of npu.ko's program counters reached is shown.
 */
#define _GNU_SOURCE
#include "npu_test.h"

#include <getopt.h>
#include <sys/prctl.h>

#define POOL	12		/* objects of a kind that a process keeps */
#define KCOV_WORDS	(64 << 10)
#define PC_BITS	20

struct shared {
	uint64_t calls, ok, restarts;
	uint64_t by_ioctl[16][2];		/* calls, successes */
	uint32_t errors[256];			/* by errno */
	uint8_t pcs[1 << (PC_BITS - 3)];	/* hashed program counters seen */
	bool kcov;				/* the kernel has it */
};

struct proc {
	uint64_t rng;
	int fd;
	uint32_t vm[POOL], bo[POOL], queue[POOL], sync[POOL];
	uint64_t bo_size[POOL];
	uint8_t *map[POOL];
	uint64_t va_start, va_size;
	uint64_t *kcov;
	int fail_fd;
	struct shared *sh;
};

static bool verbose;

static uint64_t rnd(struct proc *p)
{
	/* xorshift64*: period and quality are enough here. */
	p->rng ^= p->rng >> 12;
	p->rng ^= p->rng << 25;
	p->rng ^= p->rng >> 27;
	return p->rng * 0x2545f4914f6cdd1dull;
}

static uint32_t below(struct proc *p, uint32_t n)
{
	return rnd(p) % n;
}

static bool chance(struct proc *p, uint32_t percent)
{
	return below(p, 100) < percent;
}

/* Values at which code breaks. */
static uint64_t nasty(struct proc *p)
{
	static const uint64_t values[] = {
		0, 1, 2, 3, 7, 8, 15, 16, 4095, 4096, 4097, 65536, 2 * MIB, 1ull << 31, 0xffffffffull, 1ull << 32,
		1ull << 39, 1ull << 47, 1ull << 48, 1ull << 63, ~0ull, ~0ull - 4095,
	};

	return chance(p, 70) ? values[below(p, ARRAY_LEN(values))] : rnd(p);
}

/* ---- Coverage ------------------------------------------------------------------- */

#define KCOV_INIT	_IOR('c', 1, unsigned long)
#define KCOV_ENABLE	_IO('c', 100)

static void kcov_open(struct proc *p)
{
	int fd = open("/sys/kernel/debug/kcov", O_RDWR | O_CLOEXEC);

	p->kcov = NULL;
	if (fd < 0)
		return;
	if (!ioctl(fd, KCOV_INIT, KCOV_WORDS)) {
		p->kcov = mmap(NULL, KCOV_WORDS * 8, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (p->kcov == MAP_FAILED || ioctl(fd, KCOV_ENABLE, 0ul /* KCOV_TRACE_PC */))
			p->kcov = NULL;
	}
	p->sh->kcov |= !!p->kcov;
}

static void kcov_collect(struct proc *p)
{
	uint64_t i, n;

	if (!p->kcov)
		return;
	n = __atomic_load_n(&p->kcov[0], __ATOMIC_RELAXED);
	for (i = 1; i <= n && i < KCOV_WORDS; i++) {
		uint64_t h = (p->kcov[i] * 0x9e3779b97f4a7c15ull) >> (64 - PC_BITS);

		p->sh->pcs[h / 8] |= 1 << (h % 8);
	}
	__atomic_store_n(&p->kcov[0], 0, __ATOMIC_RELAXED);
}

/* ---- Calls ------------------------------------------------------------------------ */

static int call(struct proc *p, unsigned int nr, unsigned long req, void *arg)
{
	int ret;

	if (p->fail_fd >= 0 && chance(p, 10)) {
		char text[16];
		int n = snprintf(text, sizeof(text), "%u", 1 + below(p, 30));

		if (pwrite(p->fail_fd, text, n, 0) < 0)
			p->fail_fd = -1;
	}
	ret = ioctl(p->fd, req, arg) < 0 ? -errno : 0;
	if (p->fail_fd >= 0 && pwrite(p->fail_fd, "0", 1, 0) < 0)
		p->fail_fd = -1;
	p->sh->calls++;
	p->sh->by_ioctl[nr & 15][0]++;
	if (!ret) {
		p->sh->ok++;
		p->sh->by_ioctl[nr & 15][1]++;
	} else {
		p->sh->errors[-ret & 255]++;
	}
	kcov_collect(p);
	if (verbose)
		printf("# ioctl %u: %d\n", nr, ret);
	return ret;
}

#define CALL(p, name, arg) call(p, DRM_NPU_##name, DRM_IOCTL_NPU_##name, arg)

/* With some chance, breaks one aligned 32-bit word of an argument. */
static void mutate(struct proc *p, void *arg, size_t size)
{
	uint32_t word = nasty(p);

	/* memcpy: the compiler must see that any member may have changed. */
	if (chance(p, 12))
		memcpy((uint8_t *)arg + 4 * below(p, size / 4), &word, sizeof(word));
}

static uint32_t pick(struct proc *p, const uint32_t *pool)
{
	return chance(p, 95) ? pool[below(p, POOL)] : nasty(p);
}

static void fuzz_query(struct proc *p)
{
	uint8_t buf[512];
	struct drm_npu_dev_query a = {
		.type = below(p, 4), .size = chance(p, 80) ? sizeof(buf) : nasty(p) % sizeof(buf), .pointer = (uintptr_t)buf,
	};

	mutate(p, &a, sizeof(a));
	if (a.pointer == (uintptr_t)buf && a.size > sizeof(buf))
		a.size = sizeof(buf);
	CALL(p, DEV_QUERY, &a);
}

static void fuzz_vm_create(struct proc *p)
{
	struct drm_npu_vm_create a = { 0 };
	struct drm_npu_vm_destroy d = { 0 };
	int i = below(p, POOL);

	mutate(p, &a, sizeof(a));
	if (CALL(p, VM_CREATE, &a))
		return;
	d.id = p->vm[i];
	if (d.id)
		CALL(p, VM_DESTROY, &d);
	p->vm[i] = a.id;
	p->va_start = a.va_start;
	p->va_size = a.va_size;
}

static void fuzz_vm_destroy(struct proc *p)
{
	struct drm_npu_vm_destroy a = { .id = chance(p, 30) ? pick(p, p->vm) : nasty(p) };

	mutate(p, &a, sizeof(a));
	CALL(p, VM_DESTROY, &a);
}

static void fuzz_vm_state(struct proc *p)
{
	struct drm_npu_vm_get_state a = { .vm_id = pick(p, p->vm) };

	mutate(p, &a, sizeof(a));
	CALL(p, VM_GET_STATE, &a);
}

static void fuzz_bo_create(struct proc *p)
{
	struct drm_npu_bo_create a = {
		.size = chance(p, 95) ? (1 + below(p, 40)) * PAGE : chance(p, 20) ? 4 * MIB : nasty(p) % MIB,
		.flags = chance(p, 90) ? below(p, 2) : below(p, 8),
		.exclusive_vm_id = chance(p, 40) ? pick(p, p->vm) : 0,
	};
	int i = below(p, POOL);

	mutate(p, &a, sizeof(a));
	if (a.size > 8 * MIB)
		a.size |= 1ull << 60;	/* refused, not a drain on the machine */
	if (CALL(p, BO_CREATE, &a))
		return;
	if (p->map[i])
		munmap(p->map[i], p->bo_size[i]);
	if (p->bo[i])
		bo_close(p->fd, p->bo[i]);
	p->bo[i] = a.handle;
	p->bo_size[i] = a.size;
	p->map[i] = NULL;
	if (chance(p, 80))
		p->map[i] = bo_map(p->fd, a.handle, a.size);
}

static void fuzz_mmap_offset(struct proc *p)
{
	struct drm_npu_bo_mmap_offset a = { .handle = pick(p, p->bo) };

	mutate(p, &a, sizeof(a));
	CALL(p, BO_MMAP_OFFSET, &a);
}

static void fuzz_bo_sync(struct proc *p)
{
	struct drm_npu_bo_sync_op op[3];
	struct drm_npu_bo_sync a = { .ops = { sizeof(op[0]), 1 + below(p, 3), (uintptr_t)op } };
	unsigned int i;

	for (i = 0; i < 3; i++) {
		op[i] = (struct drm_npu_bo_sync_op){
			.handle = pick(p, p->bo), .type = below(p, 2), .offset = nasty(p) % (32 * PAGE), .size = nasty(p) % (32 * PAGE),
		};
		mutate(p, &op[i], sizeof(op[i]));
	}
	mutate(p, &a, sizeof(a));
	CALL(p, BO_SYNC, &a);
}

static void fuzz_bo_wait(struct proc *p)
{
	struct drm_npu_bo_wait a = { .handle = pick(p, p->bo), .timeout_ns = chance(p, 80) ? 0 : now_ns() + 5000000 };

	mutate(p, &a, sizeof(a));
	if (a.timeout_ns < 0 || a.timeout_ns > now_ns() + 20000000)
		a.timeout_ns = 0;
	CALL(p, BO_WAIT, &a);
}

static void fuzz_bo_info(struct proc *p)
{
	struct drm_npu_bo_info a = { .handle = pick(p, p->bo) };

	mutate(p, &a, sizeof(a));
	CALL(p, BO_INFO, &a);
}

/* A few addresses only, so that maps, jobs and unmaps meet. */
static uint64_t some_va(struct proc *p)
{
	return p->va_start + 16 * MIB + (uint64_t)below(p, 24) * (chance(p, 80) ? 16 * PAGE : 2 * MIB);
}

static uint32_t make_syncs(struct proc *p, struct drm_npu_sync_op *s, uint32_t max)
{
	uint32_t i, n = below(p, max + 1);

	for (i = 0; i < n; i++) {
		s[i] = (struct drm_npu_sync_op){ .flags = below(p, 4), .handle = pick(p, p->sync) };
		if (s[i].flags & DRM_NPU_SYNC_TIMELINE)
			s[i].value = 1 + below(p, 50);
		mutate(p, &s[i], sizeof(s[i]));
	}
	return n;
}

static void fuzz_vm_bind(struct proc *p)
{
	struct drm_npu_vm_bind_op op[4];
	struct drm_npu_sync_op syncs[4][3];
	struct drm_npu_vm_bind a = {
		.vm_id = pick(p, p->vm), .flags = below(p, 2), .ops = { sizeof(op[0]), 1 + below(p, 4), (uintptr_t)op },
	};
	unsigned int i;

	for (i = 0; i < 4; i++) {
		op[i] = (struct drm_npu_vm_bind_op){
			.type = below(p, 3), .va = some_va(p), .size = (1 + below(p, 40)) * PAGE,
			.flags = chance(p, 20) ? below(p, 4) : 0,
		};
		if (op[i].type == DRM_NPU_VM_BIND_MAP) {
			op[i].bo_handle = pick(p, p->bo);
			op[i].bo_offset = chance(p, 70) ? 0 : below(p, 8) * PAGE;
			if (chance(p, 70))
				op[i].size = PAGE * (1 + below(p, 4));
		}
		if (op[i].type == DRM_NPU_VM_BIND_SYNC_ONLY)
			op[i].va = op[i].size = 0;
		if (a.flags)
			op[i].syncs = (struct drm_npu_obj_array){ sizeof(syncs[0][0]), make_syncs(p, syncs[i], 3), (uintptr_t)syncs[i] };
		mutate(p, &op[i], sizeof(op[i]));
	}
	mutate(p, &a, sizeof(a));
	CALL(p, VM_BIND, &a);
}

static void fuzz_queue_create(struct proc *p)
{
	struct drm_npu_queue_create a = { .vm_id = pick(p, p->vm), .priority = below(p, 4), .timeout_ms = 50 };
	struct drm_npu_queue_destroy d = { 0 };
	int i = below(p, POOL);

	mutate(p, &a, sizeof(a));
	if (!a.timeout_ms || a.timeout_ms > 100)
		a.timeout_ms = 50;
	if (CALL(p, QUEUE_CREATE, &a))
		return;
	d.id = p->queue[i];
	if (d.id)
		CALL(p, QUEUE_DESTROY, &d);
	p->queue[i] = a.id;
}

static void fuzz_queue_destroy(struct proc *p)
{
	struct drm_npu_queue_destroy a = { .id = pick(p, p->queue) };

	mutate(p, &a, sizeof(a));
	CALL(p, QUEUE_DESTROY, &a);
}

static void fuzz_queue_state(struct proc *p)
{
	struct drm_npu_queue_get_state a = { .id = pick(p, p->queue) };

	mutate(p, &a, sizeof(a));
	CALL(p, QUEUE_GET_STATE, &a);
}

/* A stream of up to 1 KiB: mostly well-formed control commands, some tensor operations, some noise. */
static uint32_t make_stream(struct proc *p, uint8_t *at)
{
	struct stream s = { .p = at, .room = 4096 };
	unsigned int i, n = below(p, 12);

	for (i = 0; i < n; i++) {
		struct npu_cmd_map *map;

		switch (below(p, 9)) {
		case 0:
			stream_store(&s, some_va(p) + 8 * below(p, 512), rnd(p));
			break;
		case 1:
			stream_load(&s, below(p, 34), some_va(p) + 8 * below(p, 512));
			break;
		case 2:
			stream_loop(&s, 1 + below(p, 1000));
			break;
		case 3:
			stream_add(&s, below(p, 0x12), 16 * (1 + below(p, 3)));
			break;
		case 4:
			if (chance(p, 10))
				stream_spin(&s);
			break;
		case 5:
		case 6:
			map = stream_add(&s, chance(p, 70) ? NPU_OP_COPY : NPU_OP_FIRST + below(p, 20), sizeof(*map));
			map->src = (struct npu_tensor){ .addr = some_va(p), .ne = { 64, 4, 1, 1 }, .nb = { 4, 256, 1024, 1024 } };
			map->dst = map->src;
			map->dst.addr = some_va(p);
			mutate(p, &map->src, sizeof(map->src));
			mutate(p, map, sizeof(*map));
			break;
		default:
			stream_add(&s, NPU_CMD_NOP, 16);
		}
	}
	if (chance(p, 90))
		stream_end(&s);
	if (s.size)
		mutate(p, at, s.size);
	return s.size ?: 16;
}

static void fuzz_submit(struct proc *p)
{
	struct drm_npu_job job[4];
	struct drm_npu_sync_op syncs[4][3];
	uint64_t regs[40];
	struct drm_npu_submit a = {
		.queue_id = pick(p, p->queue), .jobs = { sizeof(job[0]), 1 + below(p, 4), (uintptr_t)job },
	};
	unsigned int i, b;

	for (i = 0; i < ARRAY_LEN(regs); i++)
		regs[i] = nasty(p);
	for (i = 0; i < 4; i++) {
		uint32_t size = 16;

		b = below(p, POOL);
		if (p->map[b])
			size = make_stream(p, p->map[b]);
		job[i] = (struct drm_npu_job){
			.stream = some_va(p), .stream_size = size, .nregs = below(p, 33), .regs = (uintptr_t)regs,
			.budget_us = chance(p, 30) ? 1 + below(p, 5000) : 0,
		};
		if (!job[i].nregs)
			job[i].regs = 0;
		job[i].syncs = (struct drm_npu_obj_array){ sizeof(syncs[0][0]), make_syncs(p, syncs[i], 3), (uintptr_t)syncs[i] };
		mutate(p, &job[i], sizeof(job[i]));
	}
	mutate(p, &a, sizeof(a));
	CALL(p, SUBMIT, &a);
}

/* One entry per ioctl of the interface: a new one without an entry does not compile. */
static const struct {
	void (*fn)(struct proc *p);
	unsigned int weight;
} fuzzers[] = {
	[DRM_NPU_DEV_QUERY] = { fuzz_query, 2 },
	[DRM_NPU_VM_CREATE] = { fuzz_vm_create, 2 },
	[DRM_NPU_VM_DESTROY] = { fuzz_vm_destroy, 1 },
	[DRM_NPU_VM_BIND] = { fuzz_vm_bind, 20 },
	[DRM_NPU_VM_GET_STATE] = { fuzz_vm_state, 1 },
	[DRM_NPU_BO_CREATE] = { fuzz_bo_create, 6 },
	[DRM_NPU_BO_MMAP_OFFSET] = { fuzz_mmap_offset, 1 },
	[DRM_NPU_BO_SYNC] = { fuzz_bo_sync, 2 },
	[DRM_NPU_BO_WAIT] = { fuzz_bo_wait, 3 },
	[DRM_NPU_BO_INFO] = { fuzz_bo_info, 1 },
	[DRM_NPU_QUEUE_CREATE] = { fuzz_queue_create, 5 },
	[DRM_NPU_QUEUE_DESTROY] = { fuzz_queue_destroy, 1 },
	[DRM_NPU_QUEUE_GET_STATE] = { fuzz_queue_state, 3 },
	[DRM_NPU_SUBMIT] = { fuzz_submit, 30 },
};

_Static_assert(ARRAY_LEN(fuzzers) == DRM_NPU_SUBMIT + 1, "every ioctl up to the last has an entry");

/* A failure on purpose is no news for the kernel log; nothing fails by chance outside fail-nth. */
static void quiet_injectors(void)
{
	static const char * const files[] = {
		"failslab/verbose", "fail_page_alloc/verbose", "fail_usercopy/verbose", "fail_futex/verbose",
		"failslab/probability", "fail_page_alloc/probability", "fail_usercopy/probability",
	};
	static const char * const wait[] = { "failslab/ignore-gfp-wait", "fail_page_alloc/ignore-gfp-wait" };
	char path[96];
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(files) + ARRAY_LEN(wait); i++) {
		bool is_wait = i >= ARRAY_LEN(files);
		int ret;

		snprintf(path, sizeof(path), "/sys/kernel/debug/%s", is_wait ? wait[i - ARRAY_LEN(files)] : files[i]);
		ret = write_file(path, is_wait ? "N" : "0");
		/* Not every kernel has every injector. */
		if (ret && ret != -ENOENT)
			fprintf(stderr, "%s: %s\n", path, strerror(-ret));
	}
}

static void child(struct shared *sh, uint64_t seed, bool fail)
{
	struct proc p = { .rng = seed | 1, .sh = sh, .fail_fd = -1 };
	unsigned int total = 0, i;

	/* Mappings hold whole objects: where memory runs out, it is this process that has it. */
	if (write_file("/proc/self/oom_score_adj", "1000"))
		perror("oom_score_adj");
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	p.fd = npu_open();
	if (p.fd < 0)
		_exit(1);
	if (fail)
		p.fail_fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	kcov_open(&p);
	for (i = 0; i < ARRAY_LEN(fuzzers); i++) {
		if (!fuzzers[i].fn)
			abort();
		total += fuzzers[i].weight;
	}
	for (i = 0; i < POOL; i++) {
		int s = syncobj_create(p.fd, chance(&p, 50));

		p.sync[i] = s > 0 ? s : 0;
	}
	fuzz_vm_create(&p);
	for (;;) {
		unsigned int w = below(&p, total);

		for (i = 0; w >= fuzzers[i].weight; i++)
			w -= fuzzers[i].weight;
		fuzzers[i].fn(&p);
	}
}

static unsigned int popcount_map(const uint8_t *p, size_t n)
{
	unsigned int c = 0;

	while (n--)
		c += __builtin_popcount(*p++);
	return c;
}

static void report(const struct shared *sh, uint64_t seed)
{
	static const char * const names[] = {
		"DEV_QUERY", "VM_CREATE", "VM_DESTROY", "VM_BIND", "VM_GET_STATE", "BO_CREATE", "BO_MMAP_OFFSET", "BO_SYNC",
		"BO_WAIT", "BO_INFO", "QUEUE_CREATE", "QUEUE_DESTROY", "QUEUE_GET_STATE", "SUBMIT",
	};
	unsigned int i, pcs = popcount_map(sh->pcs, sizeof(sh->pcs));

	printf("# seed %llu: %llu calls, %llu succeeded, %llu processes killed\n", (unsigned long long)seed,
	       (unsigned long long)sh->calls, (unsigned long long)sh->ok, (unsigned long long)sh->restarts);
	for (i = 0; i < ARRAY_LEN(names); i++)
		printf("#   %-16s %8llu calls, %8llu succeeded\n", names[i], (unsigned long long)sh->by_ioctl[i][0],
		       (unsigned long long)sh->by_ioctl[i][1]);
	for (i = 1; i < 256; i++)
		if (sh->errors[i])
			printf("#   %-40s %u\n", strerror(i), sh->errors[i]);
	if (pcs)
		printf("#   coverage: about %u program counters of npu.ko reached\n", pcs);
	else if (sh->kcov)
		printf("#   no coverage: npu.ko was built without KCOV\n");
	else
		printf("#   no coverage: this kernel has no KCOV\n");
}

int main(int argc, char **argv)
{
	unsigned int seconds = 60, procs = 3, i;
	uint64_t seed = 1, next;
	bool fail = false;
	struct shared *sh;
	struct client good;
	pid_t pid[16];
	int64_t end;
	int opt, ret;

	while ((opt = getopt(argc, argv, "s:p:r:fvh")) != -1) {
		switch (opt) {
		case 's': seconds = atoi(optarg); break;
		case 'p': procs = atoi(optarg); break;
		case 'r': seed = strtoull(optarg, NULL, 0); break;
		case 'f': fail = true; break;
		case 'v': verbose = true; break;
		default:
			fprintf(stderr, "usage: npu_fuzz [-s SECONDS] [-p PROCESSES 1..16] [-r SEED] [-f] [-v]\n");
			return opt == 'h' ? 0 : 2;
		}
	}
	if (procs < 1 || procs > 16)
		procs = 3;
	printf("TAP version 13\n1..1\n");
	ret = client_open(&good);
	if (ret == -ENODEV) {
		printf("ok 1 npu_fuzz # SKIP no node of driver npu\n");
		return 4;
	}
	sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (ret || sh == MAP_FAILED || client_ping(&good, 0, 1)) {
		printf("not ok 1 npu_fuzz: the device does not work before the start (%d)\n", ret);
		return 1;
	}
	if (fail)
		quiet_injectors();
	fflush(stdout);
	next = seed;
	memset(pid, 0, sizeof(pid));
	end = now_ns() + seconds * SEC;
	while (now_ns() < end) {
		for (i = 0; i < procs; i++) {
			if (pid[i] && waitpid(pid[i], NULL, WNOHANG) == pid[i])
				pid[i] = 0;
			if (pid[i])
				continue;
			pid[i] = fork();
			if (!pid[i])
				child(sh, ++next * 0x9e3779b97f4a7c15ull, fail);
			next++;
		}
		usleep(700000);
		i = next % procs;
		if (pid[i] > 0) {
			kill(pid[i], SIGKILL);
			waitpid(pid[i], NULL, 0);
			pid[i] = 0;
			sh->restarts++;
		}
	}
	for (i = 0; i < procs; i++) {
		if (pid[i] > 0) {
			kill(pid[i], SIGKILL);
			waitpid(pid[i], NULL, 0);
		}
	}
	report(sh, seed);
	/* The guilty must not have taken the innocent with them. A device reset is allowed; a dead device is not. */
	ret = client_ping(&good, 1, 2);
	if (ret) {
		client_close(&good);
		ret = client_open(&good) ?: client_ping(&good, 1, 2);
	}
	printf("%sok 1 npu_fuzz: %llu calls, the device works afterwards\n", ret || !sh->ok ? "not " : "",
	       (unsigned long long)sh->calls);
	return ret || !sh->ok;
}
