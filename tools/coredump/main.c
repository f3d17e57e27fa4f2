// SPDX-License-Identifier: MIT
/* npu-coredump: a dump of the driver (/sys/class/devcoredump/devcdN/data) as text. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dump.h"

/* Larger than any dump that the driver makes. */
#define DUMP_MAX	(64u << 20)

static void *read_all(const char *path, size_t *size)
{
	FILE *f = strcmp(path, "-") ? fopen(path, "rb") : stdin;
	uint8_t *data = NULL, *more;
	size_t room = 0, n;

	*size = 0;
	if (!f)
		return NULL;
	do {
		if (*size == room) {
			room = room ? 2 * room : 1u << 18;
			more = room <= DUMP_MAX ? realloc(data, room) : NULL;
			if (!more) {
				free(data);
				data = NULL;
				errno = room > DUMP_MAX ? EFBIG : ENOMEM;
				break;
			}
			data = more;
		}
		n = fread(data + *size, 1, room - *size, f);
		*size += n;
	} while (n);
	if (f != stdin)
		fclose(f);
	return data;
}

int main(int argc, char **argv)
{
	uint8_t *data;
	size_t size;
	int ret;

	if (argc != 2 || !strcmp(argv[1], "-h") || !strcmp(argv[1], "--help")) {
		fprintf(argc == 2 ? stdout : stderr,
			"usage: npu-coredump FILE\n"
			"Print a dump of the npu driver, e.g. /sys/class/devcoredump/devcd1/data, as text.\n"
			"Reading such a file does not remove it; writing anything to it does.\n");
		return argc == 2 ? 0 : 2;
	}

	data = read_all(argv[1], &size);
	if (!data) {
		fprintf(stderr, "npu-coredump: %s: %s\n", argv[1], strerror(errno));
		return 1;
	}
	ret = dump_print("npu-coredump", argv[1], data, size);
	free(data);
	return ret;
}
