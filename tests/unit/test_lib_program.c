// SPDX-License-Identifier: MIT
/* Compiled programs: their report, wrong arguments, and a fault that is told by the operation's name. */
#include <errno.h>
#include <string.h>

#include "lib_common.h"

struct prog {
	struct npu_program *p;
	struct npu_buffer *weights;
};

/* y = tanh(x w), @rows of x given at run time. */
static struct prog prog_new(struct lib_state *s)
{
	struct npu_bound w = { .name = "proj.weight", .type = NPU_TYPE_F32, .shape = npu_shape4(64, 32, 1, 1) };
	struct npu_graph *g;
	struct npu_gtensor *x, *y;
	struct prog r;

	assert_ok(s->dev, npu_buffer_create(s->vm, 64 * 32 * 4, 0, &r.weights));
	w.buffer = r.weights;
	assert_ok(s->dev, npu_graph_create(s->dev, &g));
	npu_graph_scope(g, "blk.7");
	x = npu_graph_input(g, "x", NPU_TYPE_F32, npu_shape_rows(64, npu_graph_arg(g, "rows", 16), 16));
	y = npu_graph_matmul(g, x, npu_graph_weight(g, &w), NULL, NPU_TYPE_F32);
	npu_graph_output(g, "y", npu_graph_unary(g, NPU_UNARY_TANH, y, 0, 0, NPU_TYPE_F32));
	assert_ok(s->dev, npu_graph_compile(g, s->vm, NULL, &r.p));
	npu_graph_destroy(g);
	return r;
}

static void prog_free(struct prog *r)
{
	npu_program_unref(r->p);
	npu_buffer_unref(r->weights);
}

struct lines {
	unsigned int n;
	bool matmul, unary;
};

static void take_line(void *data, const char *text)
{
	struct lines *l = data;

	l->n++;
	l->matmul |= strstr(text, "blk.7/MATMUL proj.weight") && strstr(text, "MATRIX") &&
		     strstr(text, "32768 MACs") && strstr(text, "{64,16,1,1}");
	l->unary |= strstr(text, "blk.7/") && strstr(text, "VECTOR");
}

static void test_report(void **state)
{
	struct lib_state *s = *state;
	struct prog r = prog_new(s);
	struct lines l = { 0 };
	char name[64];

	assert_ok(s->dev, npu_program_report(r.p, take_line, &l));
	assert_true(l.n >= 2);
	assert_true(l.matmul);
	assert_true(l.unary);
	assert_int_equal(npu_program_op_name(r.p, 0, name, sizeof(name)), -ENOENT);
	assert_int_equal(npu_program_op_name(r.p, 1u << 30, name, sizeof(name)), -ENOENT);
	prog_free(&r);
}

/* Two programs that never run at once share memory; a reference keeps one; its stream can be read. */
static void test_shared_arena(void **state)
{
	struct lib_state *s = *state;
	struct prog big = prog_new(s);
	struct npu_compile_options opt = { .size = sizeof(opt), .arena = npu_program_arena(big.p) };
	struct npu_program *small, *again;
	struct npu_gtensor *x;
	struct npu_graph *g;
	struct npu_io in, out;
	uint64_t rows = 16;
	const void *stream;
	uint32_t bytes, at = 0;
	char line[512];

	assert_non_null(opt.arena);
	assert_ok(s->dev, npu_graph_create(s->dev, &g));
	x = npu_graph_input(g, "x", NPU_TYPE_F32, npu_shape4(64, 1, 1, 1));
	x = npu_graph_unary(g, NPU_UNARY_SCALE, x, 2, 0, NPU_TYPE_F32);
	npu_graph_output(g, "y", npu_graph_unary(g, NPU_UNARY_SCALE, x, 1, 1, NPU_TYPE_F32));
	assert_ok(s->dev, npu_graph_compile(g, s->vm, &opt, &small));
	npu_graph_destroy(g);
	assert_ptr_equal(npu_program_arena(small), opt.arena);
	again = npu_program_ref(small);
	npu_program_unref(small);

	assert_ok(s->dev, npu_program_io(again, "x", &in));
	assert_ok(s->dev, npu_program_io(again, "y", &out));
	for (unsigned int i = 0; i < 64; i++)
		((float *)in.data)[i] = (float)i;
	assert_ok(s->dev, npu_program_run(big.p, s->queue, &rows, 1, LIB_HANG_NS));
	assert_ok(s->dev, npu_program_run(again, s->queue, NULL, 0, LIB_HANG_NS));
	assert_ok(s->dev, npu_program_invalidate(again));
	for (unsigned int i = 0; i < 64; i++)
		assert_true(((float *)out.data)[i] == 2 * (float)i + 1);

	stream = npu_program_stream(again, &bytes);
	while (at < bytes) {
		int len = npu_disassemble(stream, bytes, at, line, sizeof(line));

		assert_true(len > 0);
		at += (uint32_t)len;
	}
	assert_string_equal(line, "END");
	npu_program_unref(again);
	/* Less than the plan needs is refused. */
	assert_ok(s->dev, npu_buffer_create(s->vm, 64, 0, &opt.arena));
	assert_ok(s->dev, npu_graph_create(s->dev, &g));
	x = npu_graph_input(g, "x", NPU_TYPE_F32, npu_shape4(64, 64, 1, 1));
	x = npu_graph_unary(g, NPU_UNARY_SCALE, x, 2, 0, NPU_TYPE_F32);
	npu_graph_output(g, "y", npu_graph_unary(g, NPU_UNARY_SCALE, x, 1, 1, NPU_TYPE_F32));
	assert_int_equal(npu_graph_compile(g, s->vm, &opt, &small), -ENOSPC);
	assert_non_null(strstr(npu_graph_error(g), "arena"));
	npu_graph_destroy(g);
	npu_buffer_unref(opt.arena);
	prog_free(&big);
}

static void test_wrong_arguments(void **state)
{
	struct lib_state *s = *state;
	struct prog r = prog_new(s);
	uint64_t args[2] = { 17, 0 };
	struct npu_queue *queue;
	struct npu_vm *vm;
	struct npu_io io;

	assert_int_equal(npu_program_run(r.p, s->queue, args, 1, LIB_HANG_NS), -EINVAL);
	lib_assert_text(s->dev, "argument 0 (rows) is 17, at most 16");
	assert_int_equal(npu_program_run(r.p, s->queue, args, 2, LIB_HANG_NS), -EINVAL);
	lib_assert_text(s->dev, "takes 1 arguments, 2 are given");
	assert_int_equal(npu_program_run(r.p, s->queue, NULL, 1, LIB_HANG_NS), -EINVAL);
	assert_int_equal(npu_program_io(r.p, "z", &io), -ENOENT);
	lib_assert_text(s->dev, "\"z\"");

	assert_ok(s->dev, npu_vm_create(s->dev, &vm));
	assert_ok(s->dev, npu_queue_create(vm, NULL, &queue));
	args[0] = 1;
	assert_int_equal(npu_program_run(r.p, queue, args, 1, LIB_HANG_NS), -EINVAL);
	lib_assert_text(s->dev, "another address space");
	npu_queue_unref(queue);
	npu_vm_unref(vm);
	assert_ok(s->dev, npu_program_run(r.p, s->queue, args, 1, LIB_HANG_NS));
	prog_free(&r);
}

/* The text of a fault says which operation of which part of the model it was. */
static void test_fault_name(void **state)
{
	struct lib_state *s = *state;
	struct prog r = prog_new(s);
	uint64_t rows = 16;

	if (!lib_can_inject()) {
		print_message("# skipped: program: nothing injects faults into %s\n", lib_device());
		prog_free(&r);
		return;
	}
	assert_ok(s->dev, npu_program_run(r.p, s->queue, &rows, 1, LIB_HANG_NS));
	assert_ok(s->dev, lib_inject(s, "page-fault", 0));
	assert_int_equal(npu_program_run(r.p, s->queue, &rows, 1, LIB_HANG_NS), -EFAULT);
	lib_assert_text(s->dev, "blk.7/");
	/* The queue is dead, the program is not. */
	assert_int_equal(npu_program_run(r.p, s->queue, &rows, 1, LIB_HANG_NS), -EIO);
	npu_queue_unref(s->queue);
	assert_ok(s->dev, npu_queue_create(s->vm, NULL, &s->queue));
	assert_ok(s->dev, npu_program_run(r.p, s->queue, &rows, 1, LIB_HANG_NS));
	prog_free(&r);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, lib_setup, lib_teardown)
	const struct CMUnitTest tests[] = { T(test_report), T(test_shared_arena), T(test_wrong_arguments), T(test_fault_name) };

	return cmocka_run_group_tests_name("lib_program", tests, NULL, NULL);
}
