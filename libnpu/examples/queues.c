// SPDX-License-Identifier: MIT
/* Two queues in turn: each adds to the other's result, ordered by one timeline. */
#include <stdio.h>

#include <npu/npu.h>

#define ROUNDS 10u

/* *@addr = *@addr * mul + add, on the device. */
static int emit(struct npu_stream *s, uint64_t addr, uint64_t mul, uint64_t add)
{
	npu_emit_load(s, NULL, 0, addr, 8, false);
	npu_emit_alui(s, NPU_ALU_MUL, 0, 0, mul);
	npu_emit_alui(s, NPU_ALU_ADD, 0, 0, add);
	npu_emit_store(s, NULL, 0, addr, 8);
	return npu_emit_end(s, NULL);
}

int main(void)
{
	struct npu_device *dev;
	struct npu_vm *vm = NULL;
	struct npu_queue *queue[2] = { NULL, NULL };
	struct npu_fence *turn = NULL;
	struct npu_buffer *buf = NULL;	/* the number, and a stream at 1024 and at 2048 */
	struct npu_stream *s = NULL;
	struct npu_job job[2] = { { 0 }, { 0 } };
	uint64_t value = 1, expect = 1;
	char text[256] = "";
	int err;

	if (npu_device_open(NULL, NULL, &dev)) {
		fputs("cannot open a device\n", stderr);
		return 1;
	}
	err = npu_vm_create(dev, &vm);
	if (!err) err = npu_fence_create(dev, &turn);
	if (!err) err = npu_buffer_create(vm, 4096, NPU_BUFFER_CACHED, &buf);
	if (!err) err = npu_buffer_upload(buf, 0, &value, sizeof(value));
	if (!err) err = npu_stream_create(dev, &s);
	for (unsigned int i = 0; i < 2 && !err; i++) {
		npu_stream_reset(s);
		err = emit(s, npu_buffer_va(buf), 2 + i, 1 + i);
		job[i].stream = npu_buffer_va(buf) + 1024 * (i + 1);
		job[i].stream_bytes = npu_stream_bytes(s);
		if (err >= 0) err = npu_buffer_upload(buf, 1024 * (i + 1), npu_stream_data(s), npu_stream_bytes(s));
		if (!err) err = npu_queue_create(vm, NULL, &queue[i]);
	}
	for (uint64_t n = 0; n < ROUNDS && !err; n++) {
		struct npu_point before = { turn, n }, after = { turn, n + 1 };
		struct npu_job *j = &job[n % 2];

		j->waits = &before;
		j->nwaits = n > 0;
		j->signals = &after;
		j->nsignals = 1;
		err = npu_queue_submit(queue[n % 2], j, 1);
		expect = expect * (2 + n % 2) + 1 + n % 2;
	}
	if (!err) err = npu_fence_wait(turn, ROUNDS, -1);
	for (unsigned int i = 0; i < 2 && !err; i++)
		err = npu_queue_check(queue[i]);
	if (!err) err = npu_buffer_download(buf, 0, &value, sizeof(value));
	if (!err)
		printf("%u rounds: %llu, expected %llu\n", ROUNDS, (unsigned long long)value, (unsigned long long)expect);
	else if (npu_device_error(dev, text, sizeof(text)))
		fprintf(stderr, "%s\n", text);
	npu_stream_destroy(s);
	npu_buffer_unref(buf);
	npu_fence_unref(turn);
	npu_queue_unref(queue[0]);
	npu_queue_unref(queue[1]);
	npu_vm_unref(vm);
	npu_device_close(dev);
	return err || value != expect;
}
