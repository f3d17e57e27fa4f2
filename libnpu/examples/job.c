// SPDX-License-Identifier: MIT
/* Buffers and a job: the device adds two vectors. */
#include <stdio.h>

#include <npu/npu.h>

#define N 1024u

static struct npu_tensor vector(struct npu_buffer *buf, unsigned int index)
{
	struct npu_tensor t = {
		.addr = npu_buffer_va(buf) + index * N * sizeof(float),
		.ne = { N, 1, 1, 1 }, .nb = { 4, 4 * N, 4 * N, 4 * N }, .type = NPU_TYPE_F32,
	};

	return t;
}

int main(void)
{
	struct npu_cmd_binary add = { .kind = NPU_BINARY_ADD };
	struct npu_job job = { .nsignals = 1 };
	struct npu_point done = { .value = 1 };
	struct npu_device *dev = NULL;
	struct npu_vm *vm = NULL;
	struct npu_queue *queue = NULL;
	struct npu_buffer *data = NULL, *code = NULL;
	struct npu_stream *stream = NULL;
	char text[256] = "cannot open a device";
	float *x;
	int err = npu_device_open(NULL, NULL, &dev);	/* NPU_DEVICE, the first node, or software */

	if (!err) err = npu_vm_create(dev, &vm);
	if (!err) err = npu_queue_create(vm, NULL, &queue);
	if (!err) err = npu_fence_create(dev, &done.fence);
	if (!err) err = npu_buffer_create(vm, 3 * N * sizeof(float), NPU_BUFFER_CACHED, &data);
	if (!err) err = npu_stream_create(dev, &stream);
	if (err)
		goto out;
	x = npu_buffer_map(data);
	for (unsigned int i = 0; i < N; i++) {
		x[i] = (float)i;
		x[N + i] = 0.5f;
	}
	npu_buffer_sync(data, NPU_SYNC_FOR_DEVICE, 0, 2 * N * sizeof(float));
	add.a = vector(data, 0);
	add.b = vector(data, 1);
	add.dst = vector(data, 2);
	npu_emit_binary(stream, NULL, &add);
	err = npu_emit_end(stream, NULL);	/* errors are sticky: the last one tells */
	if (err < 0)
		goto out;
	err = npu_buffer_create(vm, npu_stream_bytes(stream), NPU_BUFFER_READONLY, &code);
	if (!err) err = npu_buffer_upload(code, 0, npu_stream_data(stream), npu_stream_bytes(stream));
	if (err)
		goto out;
	job.stream = npu_buffer_va(code);
	job.stream_bytes = npu_stream_bytes(stream);
	job.signals = &done;
	err = npu_queue_submit(queue, &job, 1);
	if (!err) err = npu_fence_wait(done.fence, done.value, -1);
	if (!err) err = npu_queue_check(queue);
	if (!err) err = npu_buffer_sync(data, NPU_SYNC_FOR_CPU, 0, 3 * N * sizeof(float));
	if (!err)
		printf("1000 + 0.5 = %g on %s\n", (double)x[2 * N + 1000], npu_device_name(dev));
out:
	if (dev)
		npu_device_error(dev, text, sizeof(text));
	if (err < 0)
		fprintf(stderr, "%s\n", text);
	npu_stream_destroy(stream);
	npu_buffer_unref(code);
	npu_buffer_unref(data);
	npu_fence_unref(done.fence);
	npu_queue_unref(queue);
	npu_vm_unref(vm);
	npu_device_close(dev);
	return err < 0;
}
