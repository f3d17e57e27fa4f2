// SPDX-License-Identifier: MIT
/*
 * Every allocation failed in turn: the documented error, nothing leaked, and the same objects work once there is
 * memory again.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib_common.h"


#define TRY(call) do { err = (call); if (err < 0) goto out; } while (0)

/* Everything that the library does, once. Returns the first error. */
static int scenario(void)
{
	char text[256] = "";
	struct npu_device_options opt = {
		.size = sizeof(opt), .realloc = lib_realloc, .err = text, .err_size = sizeof(text),
	};
	struct npu_device *dev = NULL;
	struct npu_vm *vm = NULL;
	struct npu_queue *queue = NULL;
	struct npu_buffer *buf = NULL, *shared = NULL, *imported = NULL, *w = NULL;
	struct npu_fence *fence = NULL, *other = NULL;
	struct npu_graph *g = NULL;
	struct npu_program *p = NULL;
	struct npu_gtensor *x, *y;
	struct npu_bound bound = { .name = "w", .type = NPU_TYPE_F32, .shape = npu_shape4(64, 64, 1, 1) };
	struct npu_point points[20];
	struct npu_job job = { 0 };
	uint64_t arg = 3;
	int fd = -1, efd = -1, err;

	TRY(npu_device_open(lib_device(), &opt, &dev));
	TRY(npu_vm_create(dev, &vm));
	TRY(npu_queue_create(vm, NULL, &queue));
	TRY(npu_buffer_create(vm, 1 << 20, 0, &buf));
	TRY(npu_buffer_create(vm, 8192, NPU_BUFFER_SHARED, &shared));
	TRY(npu_buffer_export(shared, &fd));
	TRY(npu_buffer_import(vm, fd, 0, &imported));
	TRY(npu_fence_create(dev, &fence));
	TRY(npu_fence_create(dev, &other));
	/* More points than are kept inline. */
	for (unsigned int i = 0; i < 20; i++)
		points[i] = (struct npu_point){ fence, i + 1 };
	job.signals = points;
	job.nsignals = 20;
	TRY(npu_queue_submit(queue, &job, 1));
	TRY(npu_fence_wait_all(points, 20, LIB_HANG_NS));
	TRY(npu_fence_export(fence, 20, &efd));
	TRY(npu_fence_import(other, 1, efd));
	TRY(npu_fence_wait(other, 1, LIB_HANG_NS));

	TRY(npu_buffer_create(vm, 64 * 64 * 4, 0, &w));
	bound.buffer = w;
	TRY(npu_graph_create(dev, &g));
	npu_graph_scope(g, "blk.0");
	x = npu_graph_input(g, "x", NPU_TYPE_F32, npu_shape_rows(64, npu_graph_arg(g, "rows", 16), 16));
	y = npu_graph_matmul(g, x, npu_graph_weight(g, &bound), NULL, NPU_TYPE_F32);
	npu_graph_loop_begin(g, npu_const(2));
	npu_graph_copy(g, y, npu_graph_unary(g, NPU_UNARY_TANH, y, 0, 0, NPU_TYPE_F32));
	npu_graph_loop_end(g);
	for (unsigned int i = 0; i < 300; i++)
		y = npu_graph_unary(g, NPU_UNARY_NEG, y, 0, 0, NPU_TYPE_F32);
	npu_graph_output(g, "y", y);
	TRY(npu_graph_compile(g, vm, NULL, &p));
	TRY(npu_program_run(p, queue, &arg, 1, LIB_HANG_NS));
out:
	if (fd >= 0)
		close(fd);
	if (efd >= 0)
		close(efd);
	npu_program_unref(p);
	npu_graph_destroy(g);
	npu_buffer_unref(w);
	npu_buffer_unref(imported);
	npu_buffer_unref(shared);
	npu_buffer_unref(buf);
	npu_fence_unref(other);
	npu_fence_unref(fence);
	npu_queue_unref(queue);
	npu_vm_unref(vm);
	npu_device_close(dev);
	return err < 0 ? err : 0;
}

static void test_each(void **state)
{
	long total;

	(void)state;
	lib_live = lib_allocations = lib_fail_at = 0;
	assert_int_equal(scenario(), 0);
	total = lib_allocations;
	assert_int_equal(lib_live, 0);
	assert_true(total > 30);
	for (long n = 1; n <= total; n++) {
		int err;

		lib_allocations = 0;
		lib_fail_at = n;
		err = scenario();
		if (lib_live || (err && err != -ENOMEM))
			fail_msg("allocation %ld of %ld: error %d, %ld leaked", n, total, err, lib_live);
		/* A failure may be survived (a larger room was only wished for), but then all went well. */
	}
	lib_fail_at = 0;
	assert_int_equal(scenario(), 0);
	print_message("# %ld allocations failed in turn\n", total);
}

/* A replay allocates nothing. */
static void test_replay(void **state)
{
	struct lib_state *s = *state;
	struct npu_graph *g;
	struct npu_program *p;
	struct npu_gtensor *x;
	long before;

	assert_ok(s->dev, npu_graph_create(s->dev, &g));
	x = npu_graph_input(g, "x", NPU_TYPE_F32, npu_shape4(64, 1, 1, 1));
	npu_graph_output(g, "y", npu_graph_unary(g, NPU_UNARY_NEG, x, 0, 0, NPU_TYPE_F32));
	assert_ok(s->dev, npu_graph_compile(g, s->vm, NULL, &p));
	assert_ok(s->dev, npu_program_run(p, s->queue, NULL, 0, LIB_HANG_NS));
	before = lib_allocations;
	for (unsigned int i = 0; i < 100; i++)
		assert_ok(s->dev, npu_program_run(p, s->queue, NULL, 0, LIB_HANG_NS));
	assert_int_equal(lib_allocations, before);
	npu_program_unref(p);
	npu_graph_destroy(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each), cmocka_unit_test_setup_teardown(test_replay, lib_setup, lib_teardown),
	};

	return cmocka_run_group_tests_name("lib_alloc", tests, NULL, NULL);
}
