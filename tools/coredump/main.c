// SPDX-License-Identifier: MIT
/* npu-coredump: a dump of the driver (/sys/class/devcoredump/devcdN/data) as text. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "npu_dump.h"
#include "print.h"

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

static int refuse(const char *path, const char *why)
{
	fprintf(stderr, "npu-coredump: %s: %s\n", path, why);
	return 1;
}

static int print_dump(const char *path, const uint8_t *data, size_t size)
{
	struct dump_state state = { 0 };
	struct npu_dump_section section;
	struct npu_dump_header header;
	size_t at = sizeof(header);
	time_t seconds;
	char when[64];

	if (size < sizeof(header))
		return refuse(path, "too short for a dump");
	memcpy(&header, data, sizeof(header));
	if (header.magic != NPU_DUMP_MAGIC)
		return refuse(path, "not a dump of the npu driver");
	if (header.version != NPU_DUMP_VERSION)
		return refuse(path, "version unknown: use the npu-coredump that belongs to the driver");

	seconds = header.time_ns / 1000000000;
	strftime(when, sizeof(when), "%F %T UTC", gmtime(&seconds));
	printf("dump of %s: %s%s\n", when, queue_state_name(header.state),
	       header.truncated ? " (incomplete: the buffer was too small, or the VM was being changed)" : "");

	while (size - at >= sizeof(section)) {
		memcpy(&section, data + at, sizeof(section));
		at += sizeof(section);
		if (section.size > size - at)
			return refuse(path, "ends in the middle of a section");
		print_section(&section, data + at, &state);
		at += (section.size + 7ull) & ~7ull;
		if (at > size)
			break;
	}
	return 0;
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
	if (!data)
		return refuse(argv[1], strerror(errno));
	ret = print_dump(argv[1], data, size);
	free(data);
	return ret;
}
