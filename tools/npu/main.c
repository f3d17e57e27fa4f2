// SPDX-License-Identifier: MIT
/* npu: one command line with subcommands. */
#include <stdio.h>
#include <string.h>

#include <npu/error.h>

#include "tool.h"

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *what;
} commands[] = {
	{ "run", cmd_run, "write a text with a language model" },
	{ "gguf", cmd_gguf, "list and check a model file" },
};

#define COMMANDS	(sizeof(commands) / sizeof(commands[0]))

static void usage(FILE *f)
{
	size_t i;

	fputs("usage: npu COMMAND [options]\n\n", f);
	for (i = 0; i < COMMANDS; i++)
		fprintf(f, "  %-10s %s\n", commands[i].name, commands[i].what);
	fputs("\nnpu COMMAND --help describes a command. NPU_DEVICE names the device (default: the first NPU, else software).\n", f);
}

int main(int argc, char **argv)
{
	uint32_t v = npu_version();
	size_t i;

	if (argc < 2) {
		usage(stderr);
		return 2;
	}
	for (i = 0; i < COMMANDS; i++)
		if (!strcmp(argv[1], commands[i].name))
			return commands[i].run(argc - 1, argv + 1);
	if (!strcmp(argv[1], "help") || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
		usage(stdout);
		return 0;
	}
	if (!strcmp(argv[1], "--version")) {
		printf("npu %u.%u.%u\n", v >> 16, v >> 8 & 0xff, v & 0xff);
		return 0;
	}
	fprintf(stderr, "npu: '%s' is no command; npu --help lists them\n", argv[1]);
	return 2;
}
