// SPDX-License-Identifier: MIT
/* A graph: relu(x w1) w2 for any number of rows, compiled once and replayed. */
#include <stdio.h>

#include <npu/npu.h>

#define IN	64u
#define HIDDEN	128u
#define OUT	16u
#define ROWS	32u

/* A weight of {k, n} elements, all of them @value. */
static struct npu_gtensor *weight(struct npu_graph *g, struct npu_vm *vm, const char *name, uint32_t k, uint32_t n,
				  float value)
{
	struct npu_bound b = { .name = name, .type = NPU_TYPE_F32, .shape = npu_shape4(k, n, 1, 1) };
	struct npu_gtensor *t = NULL;

	if (npu_buffer_create(vm, sizeof(float) * k * n, 0, &b.buffer))
		return NULL;
	for (uint32_t i = 0; i < k * n; i++)
		((float *)npu_buffer_map(b.buffer))[i] = value;
	if (!npu_buffer_sync(b.buffer, NPU_SYNC_FOR_DEVICE, 0, sizeof(float) * k * n))
		t = npu_graph_weight(g, &b);
	npu_buffer_unref(b.buffer);	/* the graph and its programs keep it */
	return t;
}

int main(void)
{
	struct npu_device *dev;
	struct npu_vm *vm = NULL;
	struct npu_queue *queue = NULL;
	struct npu_graph *g = NULL;
	struct npu_program *program = NULL;
	struct npu_gtensor *x;
	struct npu_io in, out;
	char text[256] = "";
	int err, rows;

	if (npu_device_open(NULL, NULL, &dev)) {
		fputs("cannot open a device\n", stderr);
		return 1;
	}
	err = npu_vm_create(dev, &vm);
	if (!err) err = npu_queue_create(vm, NULL, &queue);
	if (!err) err = npu_graph_create(dev, &g);
	if (err)
		goto out;
	/* Nothing here needs a check: the first error stays, and compiling returns it. */
	rows = npu_graph_arg(g, "rows", ROWS);
	x = npu_graph_input(g, "x", NPU_TYPE_F32, npu_shape_rows(IN, rows, ROWS));
	x = npu_graph_matmul(g, x, weight(g, vm, "w1", IN, HIDDEN, 0.25f), NULL, NPU_TYPE_F32);
	x = npu_graph_unary(g, NPU_UNARY_RELU, x, 0, 0, NPU_TYPE_F32);
	x = npu_graph_matmul(g, x, weight(g, vm, "w2", HIDDEN, OUT, 0.5f), NULL, NPU_TYPE_F32);
	npu_graph_output(g, "y", x);
	err = npu_graph_compile(g, vm, NULL, &program);
	if (!err) err = npu_program_io(program, "x", &in);
	if (!err) err = npu_program_io(program, "y", &out);
	for (uint64_t n = 1; n <= ROWS && !err; n *= 4) {
		for (uint32_t i = 0; i < n * IN; i++)
			((float *)in.data)[i] = (float)n;
		err = npu_program_run(program, queue, &n, 1, -1);
		if (!err)
			printf("%2d rows: y = %g\n", (int)n, (double)((float *)out.data)[(n - 1) * OUT]);
	}
out:
	if (err && npu_device_error(dev, text, sizeof(text)))
		fprintf(stderr, "%s\n", text);
	npu_program_unref(program);
	npu_graph_destroy(g);
	npu_queue_unref(queue);
	npu_vm_unref(vm);
	npu_device_close(dev);
	return err != 0;
}
