/* SPDX-License-Identifier: MIT */
/* The npu command line: its subcommands and what they share. */
#ifndef NPU_TOOL_H
#define NPU_TOOL_H

#include <stddef.h>
#include <stdio.h>

/* Each returns the exit status: 0, 1 failure (a message went to standard error), 2 wrong usage. argv[0] is the subcommand. */
int cmd_run(int argc, char **argv);
int cmd_gguf(int argc, char **argv);

/* A JSON string with its quotes; bytes that are no UTF-8 come out as U+FFFD. */
void tool_json_string(FILE *f, const char *s, size_t len);

#endif /* NPU_TOOL_H */
