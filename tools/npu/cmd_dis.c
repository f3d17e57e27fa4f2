// SPDX-License-Identifier: MIT
/* npu dis: a command stream, or a dump of the driver, as text. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <npu/npu.h>

#include "dump.h"
#include "tool.h"

static const char help[] =
"usage: npu dis [-s BYTES] [-n BYTES] [-b ADDRESS] FILE\n\n"
"Disassembles a file with a command stream (\"-\": standard input). A device coredump, such as\n"
"/sys/class/devcoredump/devcd1/data, is known by its first bytes and shown whole: what happened, jobs, registers,\n"
"mappings, and the stream with the command that failed marked.\n\n"
"  -s, --start BYTES   first byte of the stream in the file (also of a dump: as bytes then)\n"
"  -n, --bytes BYTES   length of the stream; default: to the end of the file\n"
"  -b, --base ADDRESS  device address of the first packet, shown instead of offsets\n"
"  -h, --help          this text\n";

static char *read_all(const char *name, size_t *size)
{
	FILE *f = strcmp(name, "-") ? fopen(name, "rb") : stdin;
	size_t room = 1 << 16, n;
	char *data = malloc(room);

	*size = 0;
	if (!f || !data) {
		fprintf(stderr, "npu dis: %s: %s\n", name, strerror(errno));
		free(data);
		return NULL;
	}
	while ((n = fread(data + *size, 1, room - *size, f)) > 0) {
		*size += n;
		if (*size == room) {
			char *p = realloc(data, room *= 2);

			if (!p) {
				fprintf(stderr, "npu dis: %s: out of memory\n", name);
				free(data);
				return NULL;
			}
			data = p;
		}
	}
	if (ferror(f))
		fprintf(stderr, "npu dis: %s: %s\n", name, strerror(errno));
	if (f != stdin)
		fclose(f);
	return data;
}

static int disassemble(const char *data, uint32_t bytes, uint64_t base)
{
	char line[1024];

	for (uint32_t at = 0; at < bytes;) {
		int len = npu_disassemble(data, bytes, at, line, sizeof(line));

		printf("%08" PRIx64 "  %s\n", base + at, line);
		if (len < 0)
			return 1;
		at += (uint32_t)len;
	}
	return 0;
}

static int number(const char *text, uint64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoull(text, &end, 0);
	if (*text && !*end && !errno)
		return 0;
	fprintf(stderr, "npu dis: \"%s\" is no number\n", text);
	return 2;
}

int cmd_dis(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "start", required_argument, NULL, 's' }, { "bytes", required_argument, NULL, 'n' },
		{ "base", required_argument, NULL, 'b' }, { "help", no_argument, NULL, 'h' }, { 0 }
	};
	uint64_t start = 0, bytes = UINT64_MAX, base = 0;
	size_t size;
	char *data;
	int c, ret = 0;

	while ((c = getopt_long(argc, argv, "s:n:b:h", longs, NULL)) != -1 && !ret) {
		switch (c) {
		case 's': ret = number(optarg, &start); break;
		case 'n': ret = number(optarg, &bytes); break;
		case 'b': ret = number(optarg, &base); break;
		case 'h': fputs(help, stdout); return 0;
		default: ret = 2;
		}
	}
	if (ret || optind + 1 != argc) {
		fputs(help, stderr);
		return 2;
	}
	data = read_all(argv[optind], &size);
	if (!data)
		return 1;
	if (!start && bytes == UINT64_MAX && dump_is((const uint8_t *)data, size)) {
		ret = dump_print("npu dis", argv[optind], (const uint8_t *)data, size);
	} else if (start > size || (bytes != UINT64_MAX && bytes > size - start)) {
		fprintf(stderr, "npu dis: %s has %zu bytes\n", argv[optind], size);
		ret = 1;
	} else {
		if (bytes == UINT64_MAX)
			bytes = size - start;
		ret = disassemble(data + start, bytes > UINT32_MAX ? UINT32_MAX : (uint32_t)bytes, base);
	}
	free(data);
	return ret;
}
