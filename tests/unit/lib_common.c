// SPDX-License-Identifier: MIT
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib_common.h"

#define BOARD_INJECT "/sys/kernel/debug/npu-board/npu0/inject"

long lib_live, lib_allocations, lib_fail_at, lib_hazards;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void *lib_realloc(void *data, void *ptr, size_t size)
{
	void *p;
	int fail = 0;

	(void)data;
	if (!size) {
		if (ptr) {
			pthread_mutex_lock(&lock);
			lib_live--;
			pthread_mutex_unlock(&lock);
		}
		free(ptr);
		return NULL;
	}
	pthread_mutex_lock(&lock);
	fail = ++lib_allocations == lib_fail_at;
	pthread_mutex_unlock(&lock);
	if (fail)
		return NULL;
	p = realloc(ptr, size);
	if (p && !ptr) {
		pthread_mutex_lock(&lock);
		lib_live++;
		pthread_mutex_unlock(&lock);
	}
	return p;
}

const char *lib_device(void)
{
	const char *name = getenv("NPU_DEVICE");

	return name && *name ? name : "soft:threads=2,hazards=1";
}

bool lib_under_valgrind(void)
{
	const char *preload = getenv("LD_PRELOAD");

	return preload && strstr(preload, "vgpreload");
}

static void log_line(void *data, enum npu_log_level level, const char *text)
{
	(void)data;
	fprintf(stderr, "# %d %s\n", (int)level, text);
	if (strstr(text, "hazard"))
		lib_hazards++;
}

int lib_setup(void **state)
{
	char err[256] = "";
	struct npu_device_options opt = {
		.size = sizeof(opt), .log = log_line, .realloc = lib_realloc, .err = err, .err_size = sizeof(err),
	};
	struct lib_state *s = calloc(1, sizeof(*s));
	int ret;

	lib_live = 0;
	lib_hazards = 0;
	lib_fail_at = 0;
	ret = npu_device_open(lib_device(), &opt, &s->dev);
	if (ret) {
		fprintf(stderr, "# %s: %s: %s\n", lib_device(), npu_strerror(ret), err);
		free(s);
		return -1;
	}
	assert_ok(s->dev, npu_device_query(s->dev, &s->info, sizeof(s->info)));
	assert_ok(s->dev, npu_vm_create(s->dev, &s->vm));
	assert_ok(s->dev, npu_queue_create(s->vm, NULL, &s->queue));
	*state = s;
	return 0;
}

int lib_teardown(void **state)
{
	struct lib_state *s = *state;

	npu_queue_unref(s->queue);
	npu_vm_unref(s->vm);
	npu_device_close(s->dev);
	free(s);
	if (lib_live)
		fprintf(stderr, "# %ld allocations were not freed\n", lib_live);
	if (lib_hazards)
		fprintf(stderr, "# %ld missing scoreboard tokens\n", lib_hazards);
	return lib_live || lib_hazards ? -1 : 0;
}

void lib_assert_ok(struct npu_device *dev, int err, const char *call, const char *file, int line)
{
	char text[512] = "";

	if (err >= 0)
		return;
	npu_device_error(dev, text, sizeof(text));
	print_error("%s = %d (%s): %s\n", call, err, npu_strerror(err), text);
	_fail(file, line);
}

void lib_assert_text(struct npu_device *dev, const char *part)
{
	char text[512] = "";

	npu_device_error(dev, text, sizeof(text));
	if (!strstr(text, part))
		fail_msg("\"%s\" does not contain \"%s\"", text, part);
}

float lib_random(uint32_t *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return (float)(*seed >> 8) / 8388608.0f - 1.0f;
}

bool lib_can_inject(void)
{
	return !strncmp(lib_device(), "soft", 4) || !access(BOARD_INJECT, W_OK);
}

int lib_inject(struct lib_state *s, const char *fault, uint64_t arg)
{
	int err = 0;
	FILE *f;

	if (!strncmp(lib_device(), "soft", 4))
		return npu_device_inject(s->dev, fault, -1, 0, arg);
	f = fopen(BOARD_INJECT, "w");
	if (!f)
		return -errno;
	fprintf(f, "%s arg=%" PRIu64, fault, arg);
	if (fclose(f))
		err = -errno;
	return err;
}

int lib_run(struct lib_state *s, struct npu_stream *stream, const uint64_t *regs, unsigned int nregs)
{
	struct npu_buffer *buf;
	struct npu_fence *fence;
	struct npu_point done = { NULL, 1 };
	struct npu_job job = { .nregs = nregs, .regs = regs, .nsignals = 1, .signals = &done };
	int err;

	assert_string_equal(npu_stream_error(stream), "");
	assert_ok(s->dev, npu_fence_create(s->dev, &fence));
	assert_ok(s->dev, npu_buffer_create(s->vm, npu_stream_bytes(stream), 0, &buf));
	assert_ok(s->dev, npu_buffer_upload(buf, 0, npu_stream_data(stream), npu_stream_bytes(stream)));
	done.fence = fence;
	job.stream = npu_buffer_va(buf);
	job.stream_bytes = npu_stream_bytes(stream);
	assert_ok(s->dev, npu_queue_submit(s->queue, &job, 1));
	assert_ok(s->dev, npu_fence_wait(fence, 1, LIB_HANG_NS));
	err = npu_queue_check(s->queue);
	npu_buffer_unref(buf);
	npu_fence_unref(fence);
	return err;
}
