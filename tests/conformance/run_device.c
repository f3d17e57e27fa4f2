/* SPDX-License-Identifier: MIT */
/*
 * Runs the conformance table on a device through libnpu: whatever NPU_DEVICE
 * names, a DRM node or the software device. Each case is one job of one
 * command. Results must be within the table's bounds on every device, and have
 * the committed digests where the device announces numerics profile 1. Cases of
 * operations, types and sizes that the device does not announce are counted
 * as skipped.
 *
 * Usage: npu-conformance [--every N] DIGESTS [FILTER]
 *
 * --every: a sample, each Nth case of the table; on an emulated CPU the double
 * precision takes most of the time.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <npu/buffer.h>
#include <npu/queue.h>

#include "conf.h"
#include "digests.h"

#define TIMEOUT_NS	60000000000ll	/* a hang, not a speed limit */
#define MEMORY		(16u << 20)
#define STREAM		NPU_PACKET_MAX	/* the first bytes of the memory */

struct target {
	struct npu_device *dev;
	struct npu_device_info info;
	struct npu_vm *vm;
	struct npu_queue *queue;
	struct npu_fence *fence;
	uint64_t jobs;
	struct npu_buffer *memory;
};

static bool fail(struct target *t, const char *what, int err, char *text, size_t size)
{
	char why[256] = "";

	npu_device_error(t->dev, why, sizeof(why));
	snprintf(text, size, "%s: %s: %s", what, npu_strerror(err), why);
	return false;
}

static bool open_device(struct target *t)
{
	const char *name = getenv("NPU_DEVICE");
	char err[256] = "", text[512];
	struct npu_device_options opt = { .size = sizeof(opt), .err = err, .err_size = sizeof(err) };
	int ret = npu_device_open(name && *name ? name : "soft", &opt, &t->dev);

	if (ret < 0) {
		fprintf(stderr, "%s: %s: %s\n", name ? name : "soft", npu_strerror(ret), err);
		return false;
	}
	ret = npu_device_query(t->dev, &t->info, sizeof(t->info));
	if (ret >= 0)
		ret = npu_vm_create(t->dev, &t->vm);
	if (ret >= 0)
		ret = npu_queue_create(t->vm, NULL, &t->queue);
	if (ret >= 0)
		ret = npu_fence_create(t->dev, &t->fence);
	if (ret >= 0)
		ret = npu_buffer_create(t->vm, MEMORY, NPU_BUFFER_CACHED, &t->memory);
	if (ret >= 0)
		return true;
	fail(t, "setting up", ret, text, sizeof(text));
	fprintf(stderr, "%s\n", text);
	return false;
}

static void close_device(struct target *t)
{
	npu_buffer_unref(t->memory);
	npu_fence_unref(t->fence);
	npu_queue_unref(t->queue);
	npu_vm_unref(t->vm);
	npu_device_close(t->dev);
}

/* Place the buffers behind each other; false: they do not fit. */
static bool place(const struct target *t, struct conf_instance *ci, uint64_t *at)
{
	uint64_t end = STREAM;

	for (uint32_t b = 0; b < ci->nbufs; b++) {
		at[b] = end;
		end += ci->bufs[b].size;
		if (end > MEMORY)
			return false;
		conf_place(ci, b, npu_buffer_va(t->memory) + at[b]);
	}
	return true;
}

static bool announced(const struct target *t, const struct conf_instance *ci)
{
	const struct npu_cmd *cmd = (const struct npu_cmd *)ci->packet;
	const struct npu_tensor *w = NULL;

	if (!npu_device_has_op(t->dev, cmd->opcode))
		return false;
	if (cmd->opcode == NPU_OP_MATMUL)
		w = &((const struct npu_cmd_matmul *)cmd)->w;
	else if (cmd->opcode == NPU_OP_GATHER)
		w = &((const struct npu_cmd_rows *)cmd)->table;
	else if (cmd->opcode == NPU_OP_COPY)
		w = &((const struct npu_cmd_map *)cmd)->src;
	if (!w || (w->layout == NPU_LAYOUT_ROWS && w->type != NPU_TYPE_Q4_K && w->type != NPU_TYPE_Q6_K))
		return true;
	return npu_device_has_weight(t->dev, w->type, w->layout);
}

static bool run_packet(struct target *t, struct conf_instance *ci, const uint64_t *at, char *text, size_t size)
{
	struct npu_cmd end = { .opcode = NPU_CMD_END, .len = sizeof(end) / NPU_PACKET_ALIGN, .signal = NPU_NO_TOKEN };
	struct npu_point done = { t->fence, ++t->jobs };
	struct npu_job job = {
		.stream = npu_buffer_va(t->memory), .stream_bytes = ci->len + sizeof(end), .signals = &done, .nsignals = 1,
	};
	int err = npu_buffer_upload(t->memory, 0, ci->packet, ci->len);

	if (err >= 0)
		err = npu_buffer_upload(t->memory, ci->len, &end, sizeof(end));
	for (uint32_t b = 0; err >= 0 && b < ci->nbufs; b++)
		err = npu_buffer_upload(t->memory, at[b], ci->bufs[b].data, ci->bufs[b].size);
	if (err >= 0)
		err = npu_queue_submit(t->queue, &job, 1);
	if (err >= 0)
		err = npu_fence_wait(t->fence, t->jobs, TIMEOUT_NS);
	if (err >= 0)
		err = npu_queue_check(t->queue);
	for (uint32_t b = 0; err >= 0 && b < ci->nbufs; b++)
		if (ci->bufs[b].output)
			err = npu_buffer_download(t->memory, at[b], ci->bufs[b].data, ci->bufs[b].size);
	return err >= 0 || fail(t, ci->name, err, text, size);
}

enum verdict { PASSED, FAILED, SKIPPED };

static enum verdict run_case(struct target *t, size_t i, struct digests *d, char *text, size_t size)
{
	struct conf_instance ci;
	uint64_t at[CONF_BUFS];
	enum verdict v = FAILED;

	if (conf_make(i, &ci)) {
		snprintf(text, size, "%s: out of memory", conf_name(i));
		return FAILED;
	}
	if (!announced(t, &ci) || !place(t, &ci, at))
		v = SKIPPED;
	else if (run_packet(t, &ci, at, text, size) && conf_check(&ci, text, size) &&
		 (t->info.numerics != 1 || digest_check(d, ci.name, conf_digest(&ci), text, size)))
		v = PASSED;
	conf_free(&ci);
	return v;
}

static bool read_digests(struct digests *d, const char *path)
{
	FILE *f = fopen(path, "r");
	bool ok = f && digests_read(d, f);

	if (!ok)
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
	if (f)
		fclose(f);
	return ok;
}

int main(int argc, char **argv)
{
	const char *program = argv[0];
	struct target t = { 0 };
	struct digests d = { 0 };
	size_t count[3] = { 0 };
	size_t every = 1;
	char text[768];

	if (argc > 2 && !strcmp(argv[1], "--every")) {
		every = strtoul(argv[2], NULL, 10);
		argc -= 2;
		argv += 2;
	}
	if (argc < 2 || argc > 3 || !every) {
		fprintf(stderr, "usage: %s [--every N] DIGESTS [FILTER]\n", program);
		return 2;
	}
	if (!read_digests(&d, argv[1]))
		return 2;
	if (!open_device(&t)) {
		close_device(&t);
		digests_free(&d);
		return 2;
	}
	for (size_t i = 0; i < conf_count() && count[FAILED] < 20; i += every) {
		enum verdict v;

		if (argc == 3 && !strstr(conf_name(i), argv[2]))
			continue;
		v = run_case(&t, i, &d, text, sizeof(text));
		count[v]++;
		if (v == FAILED)
			printf("FAIL %s\n", text);
	}
	printf("%s, numerics profile %u: %zu cases passed, %zu failed, %zu skipped\n", npu_device_name(t.dev),
	       t.info.numerics, count[PASSED], count[FAILED], count[SKIPPED]);
	close_device(&t);
	digests_free(&d);
	return count[FAILED] || !count[PASSED];
}
