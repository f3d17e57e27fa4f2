// SPDX-License-Identifier: MIT
/* npu selftest: bring-up in the order of the guide. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include <npu/npu.h>

#include "tool.h"

static const char help[] =
"usage: npu selftest [-d DEVICE] [-k]\n\n"
"Runs the steps of the bring-up guide one after the other. Each says what it found, and when it fails, what\n"
"to check. Ends with status 0 when all steps passed.\n\n"
"  -d, --device NAME  /dev/accel/accel0, drm, soft, ...\n"
"  -k, --keep-going   go on after a failed step\n"
"  -h, --help         this text\n";

#define WAIT_NS 10000000000ll

struct bench {
	struct npu_device *dev;
	struct npu_device_info info;
	struct npu_vm *vm;
	struct npu_queue *queue;
	struct npu_buffer *buf;		/* 1 MiB: data; streams at its end */
	struct npu_fence *fence;
	uint64_t point;
	char note[256];
};

#define DATA_BYTES	(1u << 20)
#define STREAM_AT	(DATA_BYTES - 65536)

static int run_on(struct bench *b, struct npu_queue *q, struct npu_stream *s)
{
	struct npu_point done = { b->fence, b->point + 1 };
	struct npu_job job = {
		.stream = npu_buffer_va(b->buf) + STREAM_AT, .stream_bytes = npu_stream_bytes(s), .signals = &done,
		.nsignals = 1,
	};
	int err = npu_buffer_upload(b->buf, STREAM_AT, npu_stream_data(s), npu_stream_bytes(s));

	if (!err)
		err = npu_queue_submit(q, &job, 1);
	if (err)
		return err;
	b->point++;
	err = npu_fence_wait(b->fence, b->point, WAIT_NS);
	return err ? err : npu_queue_check(q);
}

/* END the stream, run it, drop it. */
static int finish(struct bench *b, struct npu_stream *s)
{
	int err;

	npu_emit_end(s, NULL);
	err = npu_stream_error(s)[0] ? -EINVAL : run_on(b, b->queue, s);
	npu_stream_destroy(s);
	return err;
}

static struct npu_tensor vec(struct bench *b, uint32_t offset, uint32_t n)
{
	struct npu_tensor t = {
		.addr = npu_buffer_va(b->buf) + offset, .ne = { n, 1, 1, 1 }, .nb = { 4, 4ull * n, 4ull * n, 4ull * n },
		.type = NPU_TYPE_F32,
	};

	return t;
}

/* ---- Steps ------------------------------------------------------------------------ */

static int step_identity(struct bench *b)
{
	int err = npu_device_query(b->dev, &b->info, sizeof(b->info));

	if (err)
		return err;
	snprintf(b->note, sizeof(b->note), "driver %s %s, implementer 0x%04x, product 0x%04x, interface %u.%u", b->info.driver,
		 b->info.driver_version, b->info.impl >> 16, b->info.impl & 0xffff, b->info.intf >> 16, b->info.intf & 0xffff);
	return b->info.impl == UINT32_MAX ? -EIO : 0;
}

static int step_capabilities(struct bench *b)
{
	const struct npu_device_info *i = &b->info;

	snprintf(b->note, sizeof(b->note), "%u queues, %u slots, %u address bits, numerics profile %u", i->hw_queues, i->slots,
		 i->va_bits, i->numerics);
	if (i->hw_queues < 4 || i->hw_queues > 32 || i->slots < 8 || i->slots > 64 || i->va_bits < 39 || i->va_bits > 48 ||
	    !i->max_macs || !i->max_bytes || !i->timer_hz)
		return -ERANGE;
	return npu_device_has_op(b->dev, NPU_OP_COPY) && npu_device_has_op(b->dev, NPU_OP_MATMUL) ? 0 : -EOPNOTSUPP;
}

static int step_memory(struct bench *b)
{
	uint32_t *p, bad = 0;
	int err = npu_vm_create(b->dev, &b->vm);

	if (!err)
		err = npu_buffer_create(b->vm, DATA_BYTES, NPU_BUFFER_CACHED, &b->buf);
	if (err)
		return err;
	p = npu_buffer_map(b->buf);
	if (!p)
		return -ENOMEM;
	for (uint32_t i = 0; i < DATA_BYTES / 4; i++)
		bad += p[i] != 0;
	snprintf(b->note, sizeof(b->note), "1 MiB at device address 0x%" PRIx64 ", zeroed", npu_buffer_va(b->buf));
	return bad ? -EIO : 0;
}

static int step_empty(struct bench *b)
{
	struct npu_stream *s;
	int64_t t0 = tool_now_ns();
	int err = npu_queue_create(b->vm, NULL, &b->queue);

	if (!err)
		err = npu_fence_create(b->dev, &b->fence);
	if (!err)
		err = npu_stream_create(b->dev, &s);
	if (err)
		return err;
	npu_emit_nop(s, NULL);
	err = finish(b, s);
	snprintf(b->note, sizeof(b->note), "submitted, completed, fence signalled in %" PRId64 " us",
		 (tool_now_ns() - t0) / 1000);
	return err;
}

static int step_store(struct bench *b)
{
	uint64_t value = 0;
	struct npu_stream *s;
	int err = npu_stream_create(b->dev, &s);

	if (err)
		return err;
	npu_emit_set(s, 3, 0x123456789abcdef0ull);
	npu_emit_store(s, NULL, 3, npu_buffer_va(b->buf) + 4096, 8);
	err = finish(b, s);
	if (!err)
		err = npu_buffer_download(b->buf, 4096, &value, 8);
	snprintf(b->note, sizeof(b->note), "the device wrote 0x%" PRIx64, value);
	return err ? err : value == 0x123456789abcdef0ull ? 0 : -EIO;
}

static int step_copy(struct bench *b)
{
	enum { N = 16384 };
	float *p = npu_buffer_map(b->buf);
	struct npu_cmd_map c = { .dst = vec(b, 131072, N), .src = vec(b, 0, N) };
	struct npu_stream *s;
	unsigned int bad = 0;
	int err = npu_stream_create(b->dev, &s);

	if (err)
		return err;
	for (unsigned int i = 0; i < N; i++)
		p[i] = (float)i * 0.5f;
	npu_buffer_sync(b->buf, NPU_SYNC_FOR_DEVICE, 0, N * 4);
	npu_emit_copy(s, NULL, &c);
	err = finish(b, s);
	if (!err)
		err = npu_buffer_sync(b->buf, NPU_SYNC_FOR_CPU, 131072, N * 4);
	for (unsigned int i = 0; i < N && !err; i++)
		bad += p[32768 + i] != (float)i * 0.5f;
	snprintf(b->note, sizeof(b->note), "64 KiB copied, %u elements differ", bad);
	return err ? err : bad ? -EIO : 0;
}

static int step_matmul(struct bench *b)
{
	enum { K = 128, N = 32 };
	float *p = npu_buffer_map(b->buf), *w = p + 16384, *y = p + 32768;
	struct npu_cmd_matmul c = { .x = vec(b, 0, K), .w = vec(b, 65536, K), .dst = vec(b, 131072, N) };
	struct npu_stream *s;
	unsigned int bad = 0;
	int err = npu_stream_create(b->dev, &s);

	if (err)
		return err;
	c.w.ne[1] = N;
	for (unsigned int i = 0; i < K; i++)
		p[i] = sinf((float)i);
	for (unsigned int i = 0; i < K * N; i++)
		w[i] = cosf((float)i);
	npu_buffer_sync(b->buf, NPU_SYNC_FOR_DEVICE, 0, DATA_BYTES);
	npu_emit_matmul(s, NULL, &c);
	err = finish(b, s);
	if (!err)
		err = npu_buffer_sync(b->buf, NPU_SYNC_FOR_CPU, 131072, N * 4);
	for (unsigned int n = 0; n < N && !err; n++) {
		float acc = 0;

		for (unsigned int k = 0; k < K; k++)
			acc = fmaf(w[n * K + k], p[k], acc);
		bad += memcmp(&acc, &y[n], 4) != 0;
	}
	snprintf(b->note, sizeof(b->note), "%u of %u results differ from the specified bits", bad, (unsigned int)N);
	return err ? err : bad ? -EIO : 0;
}

static int step_time(struct bench *b)
{
	struct npu_timestamp t[2] = { { 0 } };
	struct npu_counters c;
	struct npu_stream *s;
	int err = npu_stream_create(b->dev, &s);

	if (err)
		return err;
	npu_emit_timestamp(s, NULL, npu_buffer_va(b->buf) + 8192);
	npu_emit_timestamp(s, NULL, npu_buffer_va(b->buf) + 8192 + sizeof(t[0]));
	err = finish(b, s);
	if (!err)
		err = npu_buffer_download(b->buf, 8192, t, sizeof(t));
	if (!err)
		err = npu_device_counters(b->dev, &c, sizeof(c));
	if (err)
		return err;
	snprintf(b->note, sizeof(b->note), "timer %" PRIu64 ", %" PRIu64 " commands so far", t[1].timer, c.commands);
	return t[1].timer >= t[0].timer && c.timer >= t[1].timer && c.commands ? 0 : -EIO;
}

static int step_fault(struct bench *b)
{
	char note[128];
	struct npu_queue_status st;
	struct npu_queue *bad;
	struct npu_stream *s;
	int err = npu_queue_create(b->vm, NULL, &bad), ret;

	if (err)
		return err;
	err = npu_stream_create(b->dev, &s);
	if (err) {
		npu_queue_unref(bad);
		return err;
	}
	npu_emit_set(s, 0, 1);
	npu_emit_store(s, NULL, 0, 1ull << (b->info.va_bits - 2), 8);
	npu_emit_end(s, NULL);
	ret = run_on(b, bad, s);
	npu_stream_destroy(s);
	npu_queue_status(bad, &st, sizeof(st));
	snprintf(b->note, sizeof(b->note), "%s, %s at 0x%" PRIx64, npu_queue_state_name(st.state), npu_fault_name(st.fault),
		 st.fault_addr);
	npu_queue_unref(bad);
	if (ret != -EFAULT || st.fault_addr != 1ull << (b->info.va_bits - 2))
		return ret ? ret : -EIO;
	/* The other queue must not have noticed. */
	snprintf(note, sizeof(note), "%.127s", b->note);
	err = step_store(b);
	snprintf(b->note, sizeof(b->note), "%s; another queue goes on", note);
	return err ? -EIO : 0;
}

static const struct {
	const char *name;
	int (*run)(struct bench *b);
	const char *check;
} steps[] = {
	{ "identity", step_identity,
	  "The ID registers read wrong: is the block's address in the device tree right, its clock on, its reset released? "
	  "All ones mean a clock or power domain that is off." },
	{ "capabilities", step_capabilities,
	  "A capability register is outside what the interface allows, or a basic operation is missing: compare with "
	  "the hardware's configuration." },
	{ "memory and mapping", step_memory,
	  "Memory could not be allocated, mapped or was not zero: is there enough memory below the device's DMA mask, does an "
	  "IOMMU refuse the mapping? See the kernel's log." },
	{ "an empty job", step_empty,
	  "Nothing came back: is the interrupt's number and trigger (level, high) right in the device tree (/proc/interrupts)? "
	  "Does the ring lie where the device can read it (dma-ranges, dma-coherent)?" },
	{ "a store", step_store,
	  "The job ended, but memory does not hold what it wrote: is the system not coherent where the device tree says "
	  "dma-coherent? Are the page-table attributes honoured?" },
	{ "a copy", step_copy, "The COPY engine works on wrong data: look at burst lengths and byte enables." },
	{ "a matrix product", step_matmul,
	  "The MATRIX engine's bits are not those of the numerics profile: run the conformance suite." },
	{ "time and counters", step_time, "TIMER must run at CAP_TIMER_HZ and never backwards; counters must count." },
	{ "a fault, contained", step_fault,
	  "An access to an unmapped address must fault this queue with that address, and no other queue." },
};

#define NSTEPS (sizeof(steps) / sizeof(steps[0]))

static void drop(struct bench *b)
{
	npu_fence_unref(b->fence);
	npu_queue_unref(b->queue);
	npu_buffer_unref(b->buf);
	npu_vm_unref(b->vm);
	npu_device_close(b->dev);
}

int cmd_selftest(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "device", required_argument, NULL, 'd' }, { "keep-going", no_argument, NULL, 'k' },
		{ "help", no_argument, NULL, 'h' }, { 0 }
	};
	const char *name = NULL;
	struct bench b = { 0 };
	unsigned int failed = 0;
	bool keep = false;
	int c;

	while ((c = getopt_long(argc, argv, "d:kh", longs, NULL)) != -1) {
		switch (c) {
		case 'd': name = optarg; break;
		case 'k': keep = true; break;
		case 'h': fputs(help, stdout); return 0;
		default: fputs(help, stderr); return 2;
		}
	}
	b.dev = tool_open("selftest", name);
	if (!b.dev) {
		fputs("Is the driver loaded (lsmod), did it find the device (dmesg), may this user open the node?\n", stderr);
		return 1;
	}
	printf("%s\n", npu_device_name(b.dev));
	for (size_t i = 0; i < NSTEPS; i++) {
		char text[512] = "";
		int err;

		/* Later steps stand on these. */
		if (i > 3 && (!b.buf || !b.queue || !b.fence))
			break;
		b.note[0] = '\0';
		err = steps[i].run(&b);
		printf("%zu. %-20s %s  %s\n", i + 1, steps[i].name, err ? "FAILED" : "ok    ", b.note);
		if (!err)
			continue;
		failed++;
		npu_device_error(b.dev, text, sizeof(text));
		printf("   %s%s%s\n   What to check: %s\n", npu_strerror(err), text[0] ? ": " : "", text, steps[i].check);
		if (!keep)
			break;
	}
	drop(&b);
	return failed != 0;
}
