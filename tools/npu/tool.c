// SPDX-License-Identifier: MIT
/* What the subcommands share. */
#include <time.h>

#include <npu/npu.h>

#include "tool.h"

void tool_log(void *data, enum npu_log_level level, const char *text)
{
	(void)data;
	if (level <= NPU_LOG_WARNING)
		fprintf(stderr, "npu: %s\n", text);
}

struct npu_device *tool_open(const char *who, const char *name)
{
	char err[512] = "";
	struct npu_device_options opt = { .size = sizeof(opt), .err = err, .err_size = sizeof(err), .log = tool_log };
	struct npu_device *dev;
	int ret = npu_device_open(name, &opt, &dev);

	if (!ret)
		return dev;
	fprintf(stderr, "npu %s: %s\n", who, err[0] ? err : npu_strerror(ret));
	return NULL;
}

int tool_fail(const char *who, struct npu_device *dev, const char *what, int err)
{
	char text[512] = "";

	npu_device_error(dev, text, sizeof(text));
	fprintf(stderr, "npu %s: %s: %s\n", who, what, text[0] ? text : npu_strerror(err));
	return 1;
}

int64_t tool_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ll + ts.tv_nsec;
}

const char *tool_si(double value, char buf[16])
{
	static const char units[] = " kMGTP";
	unsigned int i = 0;

	while (value >= 1000 && i + 1 < sizeof(units) - 1) {
		value /= 1000;
		i++;
	}
	snprintf(buf, 16, "%.3g %c", value, units[i]);
	return buf;
}
