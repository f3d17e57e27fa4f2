// SPDX-License-Identifier: MIT
/* A dump of the driver as text: its header, then section by section. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "dump.h"
#include "npu_dump.h"
#include "print.h"

bool dump_is(const uint8_t *data, size_t size)
{
	uint64_t magic;

	if (size < sizeof(magic))
		return false;
	memcpy(&magic, data, sizeof(magic));
	return magic == NPU_DUMP_MAGIC;
}

static int refuse(const char *who, const char *path, const char *why)
{
	fprintf(stderr, "%s: %s: %s\n", who, path, why);
	return 1;
}

int dump_print(const char *who, const char *path, const uint8_t *data, size_t size)
{
	struct dump_state state = { 0 };
	struct npu_dump_section section;
	struct npu_dump_header header;
	size_t at = sizeof(header);
	time_t seconds;
	char when[64];

	if (size < sizeof(header))
		return refuse(who, path, "too short for a dump");
	memcpy(&header, data, sizeof(header));
	if (header.magic != NPU_DUMP_MAGIC)
		return refuse(who, path, "not a dump of the npu driver");
	if (header.version != NPU_DUMP_VERSION)
		return refuse(who, path, "version unknown: use the tool that belongs to the driver");

	seconds = header.time_ns / 1000000000;
	strftime(when, sizeof(when), "%F %T UTC", gmtime(&seconds));
	printf("dump of %s: %s%s\n", when, queue_state_name(header.state),
	       header.truncated ? " (incomplete: the buffer was too small, or the VM was being changed)" : "");

	while (size - at >= sizeof(section)) {
		memcpy(&section, data + at, sizeof(section));
		at += sizeof(section);
		if (section.size > size - at)
			return refuse(who, path, "ends in the middle of a section");
		print_section(&section, data + at, &state);
		at += (section.size + 7ull) & ~7ull;
		if (at > size)
			break;
	}
	return 0;
}
