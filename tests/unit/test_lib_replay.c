// SPDX-License-Identifier: MIT
/*
 * What a replay costs: no memory is allocated, by the library's hook or below it, and submitting is at most one
 * system call: the node's ioctl, or the futex that wakes the software device's thread. There, a lock that another
 * thread holds at that moment can cost more: not in most submissions. Without threads it makes none.
 * Calls are counted by a parent that traces the thread which submits; it is told where to count by a
 * call that nothing else makes.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib_common.h"

#define REPLAYS		200
#define MARK		SYS_getpgid	/* of process MARK_BEGIN or MARK_END: none such */
#define MARK_BEGIN	0x7fffff01
#define MARK_END	0x7fffff02

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

/* ---- Every allocation of the process --------------------------------------------------- */

static atomic_long mallocs;

#if !SANITIZED && defined(__GLIBC__)
#define COUNTED 1
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t align, size_t n);

__attribute__((visibility("default"))) void *malloc(size_t n)
{
	atomic_fetch_add(&mallocs, 1);
	return __libc_malloc(n);
}

__attribute__((visibility("default"))) void *calloc(size_t n, size_t size)
{
	atomic_fetch_add(&mallocs, 1);
	return __libc_calloc(n, size);
}

__attribute__((visibility("default"))) void *realloc(void *p, size_t n)
{
	atomic_fetch_add(&mallocs, 1);
	return __libc_realloc(p, n);
}

__attribute__((visibility("default"))) void *aligned_alloc(size_t align, size_t n)
{
	atomic_fetch_add(&mallocs, 1);
	return __libc_memalign(align, n);
}
#else
#define COUNTED 0
#endif

/* ---- A program to replay ---------------------------------------------------------------- */

struct replay {
	struct npu_program *p;
	struct npu_fence *fence;
	uint64_t point;
};

/* A few operations of every engine, with an argument and more than one job's worth of waiting. */
static int replay_init(struct lib_state *s, struct replay *r)
{
	struct npu_bound w = { .name = "w", .type = NPU_TYPE_F32, .shape = npu_shape4(64, 64, 1, 1) };
	struct npu_gtensor *x, *y;
	struct npu_graph *g;
	int err = npu_buffer_create(s->vm, 64 * 64 * 4, 0, &w.buffer);

	if (!err)
		err = npu_graph_create(s->dev, &g);
	if (err)
		return err;
	x = npu_graph_input(g, "x", NPU_TYPE_F32, npu_shape_rows(64, npu_graph_arg(g, "rows", 16), 16));
	y = npu_graph_matmul(g, x, npu_graph_weight(g, &w), NULL, NPU_TYPE_F32);
	npu_graph_output(g, "y", npu_graph_unary(g, NPU_UNARY_TANH, y, 0, 0, NPU_TYPE_F32));
	err = npu_graph_compile(g, s->vm, NULL, &r->p);
	npu_graph_destroy(g);
	npu_buffer_unref(w.buffer);
	return err ? err : npu_fence_create(s->dev, &r->fence);
}

static void replay_free(struct replay *r)
{
	npu_program_unref(r->p);
	npu_fence_unref(r->fence);
}

static int replay_submit(struct lib_state *s, struct replay *r, uint64_t rows)
{
	struct npu_point done = { r->fence, r->point + 1 };
	struct npu_submit sub = {
		.size = sizeof(sub), .args = &rows, .nargs = 1, .signals = &done, .nsignals = 1,
	};
	int err = npu_program_submit(r->p, s->queue, &sub);

	r->point += !err;
	return err;
}

static void test_allocations(void **state)
{
	struct lib_state *s = *state;
	struct replay r = { 0 };
	long hook, process;

	assert_ok(s->dev, replay_init(s, &r));
	for (unsigned int i = 0; i < 8; i++) {	/* warm: argument slots, a worker's scratch */
		assert_ok(s->dev, replay_submit(s, &r, 16));
		assert_ok(s->dev, npu_fence_wait(r.fence, r.point, LIB_HANG_NS));
	}
	hook = lib_allocations;
	process = atomic_load(&mallocs);
	for (unsigned int i = 0; i < REPLAYS; i++) {
		assert_ok(s->dev, replay_submit(s, &r, 1 + i % 16));
		assert_ok(s->dev, npu_fence_wait(r.fence, r.point, LIB_HANG_NS));
	}
	assert_int_equal(lib_allocations, hook);
	if (COUNTED)
		assert_int_equal(atomic_load(&mallocs), process);
	replay_free(&r);
}

/* ---- System calls ------------------------------------------------------------------------- */

/* In the child, which opens everything itself: a device does not pass a fork. Returns its exit status. */
static int traced(void)
{
	struct replay r = { 0 };
	struct lib_state *s;
	int err;

	if (lib_setup((void **)&s))
		return 2;
	err = replay_init(s, &r);
	if (!err)
		err = replay_submit(s, &r, 16);
	if (!err)
		err = npu_fence_wait(r.fence, r.point, LIB_HANG_NS);
	if (!err && ptrace(PTRACE_TRACEME, 0, NULL, NULL))
		return 77;
	if (!err)
		raise(SIGSTOP);
	for (unsigned int i = 0; i < REPLAYS && !err; i++) {
		syscall(MARK, MARK_BEGIN);
		err = replay_submit(s, &r, 1 + i % 16);
		syscall(MARK, MARK_END);
		if (!err)
			err = npu_fence_wait(r.fence, r.point, LIB_HANG_NS);
	}
	replay_free(&r);
	return lib_teardown((void **)&s) || err ? 1 : 0;
}

struct count {
	unsigned int calls, futexes;		/* of the replay under way */
	unsigned int replays, most, all_futexes, more;	/* more: replays of more than one call */
	long last;	/* number of a call within the marks */
	bool counting;
};

/* The thread stands before a system call. */
static void count_entry(struct count *c, const struct __ptrace_syscall_info *info)
{
	if (info->entry.nr == MARK && info->entry.args[0] == MARK_BEGIN) {
		c->counting = true;
		c->calls = c->futexes = 0;
	} else if (info->entry.nr == MARK && info->entry.args[0] == MARK_END) {
		c->counting = false;
		c->replays++;
		c->all_futexes += c->futexes;
		c->more += c->calls + c->futexes > 1;
		if (c->calls > c->most)
			c->most = c->calls;
	} else if (c->counting && info->entry.nr == SYS_futex) {
		c->futexes++;
	} else if (c->counting) {
		c->calls++;
		c->last = (long)info->entry.nr;
	}
}

/* Lets the child go from call to call until it ends; its wait status. */
static int follow(pid_t pid, struct count *c)
{
	struct __ptrace_syscall_info info = { 0 };
	int status, signal;

	while (waitpid(pid, &status, 0) == pid && WIFSTOPPED(status)) {
		signal = WSTOPSIG(status);
		if (signal == (SIGTRAP | 0x80)) {
			signal = 0;
			if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info) > 0 &&
			    info.op == PTRACE_SYSCALL_INFO_ENTRY)
				count_entry(c, &info);
		} else if (signal == SIGSTOP) {
			ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
			signal = 0;
		}
		ptrace(PTRACE_SYSCALL, pid, NULL, (void *)(intptr_t)signal);
	}
	return status;
}

/* Counts the calls of a child that submits to @device. False: they cannot be counted here. */
static bool count_calls(const char *device, struct count *c)
{
	int status;
	pid_t pid;

	if (lib_under_valgrind()) {
		print_message("# skipped: replay: system calls cannot be told from valgrind's\n");
		return false;
	}
	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid)
		_exit(setenv("NPU_DEVICE", device, 1) ? 2 : traced());
	status = follow(pid, c);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77) {
		print_message("# skipped: replay: system calls cannot be traced here\n");
		return false;
	}
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_int_equal(c->replays, REPLAYS);
	print_message("# %s: at most %u system call(s) per submission (number %ld); futex calls: %.2f on average, more than one "
		      "call in %u of %u\n", device, c->most, c->last, (double)c->all_futexes / REPLAYS, c->more, REPLAYS);
	return true;
}

static bool is_soft(void)
{
	return !strncmp(lib_device(), "soft", 4);
}

static void test_system_calls(void **state)
{
	struct count c = { 0 };

	(void)state;
	if (!count_calls(lib_device(), &c))
		return;
	assert_int_equal(c.most, is_soft() ? 0 : 1);
	if (is_soft())
		assert_true(c.more < REPLAYS / 2);
	else
		assert_int_equal(c.all_futexes, 0);
}

static void test_no_system_calls(void **state)
{
	struct count c = { 0 };

	(void)state;
	if (!is_soft() || !count_calls("soft:sync=1", &c))
		return;
	assert_int_equal(c.most, 0);
	assert_int_equal(c.all_futexes, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_allocations, lib_setup, lib_teardown),
		cmocka_unit_test(test_system_calls),
		cmocka_unit_test(test_no_system_calls),
	};

	return cmocka_run_group_tests_name("lib_replay", tests, NULL, NULL);
}
