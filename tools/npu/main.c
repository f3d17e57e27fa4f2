// SPDX-License-Identifier: MIT
/* npu: one command line, its subcommands. */
#include <stdio.h>
#include <string.h>

#include <npu/npu.h>

#include "tool.h"

static const struct {
	const char *name, *what;
	int (*run)(int argc, char **argv);
} commands[] = {
	{ "run", "write text with a language model", cmd_run },
	{ "info", "devices: capabilities, driver, topology", cmd_info },
	{ "bench", "measure bandwidth, matrix work, attention and submission", cmd_bench },
	{ "selftest", "bring a device up step by step, saying what to check", cmd_selftest },
	{ "dis", "disassemble a command stream", cmd_dis },
	{ "gguf", "list and check a GGUF file", cmd_gguf },
};

#define NCOMMANDS (sizeof(commands) / sizeof(commands[0]))

static void usage(FILE *f)
{
	fputs("usage: npu COMMAND [OPTION...]\n\n", f);
	for (size_t i = 0; i < NCOMMANDS; i++)
		fprintf(f, "  %-10s %s\n", commands[i].name, commands[i].what);
	fputs("\nnpu COMMAND --help tells the options. The environment's NPU_DEVICE names the device:\n"
	      "/dev/accel/accel0, drm (the first node), soft (in this process), soft:config=large,threads=2.\n", f);
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		usage(stderr);
		return 2;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		usage(stdout);
		return 0;
	}
	if (!strcmp(argv[1], "--version")) {
		uint32_t v = npu_version();

		printf("npu %u.%u.%u\n", v >> 16, v >> 8 & 0xff, v & 0xff);
		return 0;
	}
	for (size_t i = 0; i < NCOMMANDS; i++)
		if (!strcmp(argv[1], commands[i].name))
			return commands[i].run(argc - 1, argv + 1);
	fprintf(stderr, "npu: no command \"%s\": npu --help lists them\n", argv[1]);
	return 2;
}
