/* SPDX-License-Identifier: MIT */
/* The npu command line: its subcommands and what they share. */
#ifndef NPU_TOOL_H
#define NPU_TOOL_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <npu/device.h>

/* Each returns the exit status: 0, 1 failure (a message went to standard error), 2 wrong usage. argv[0] is the subcommand. */
int cmd_run(int argc, char **argv);
int cmd_gguf(int argc, char **argv);
int cmd_info(int argc, char **argv);
int cmd_bench(int argc, char **argv);
int cmd_dis(int argc, char **argv);
int cmd_selftest(int argc, char **argv);

/* Bytes of the longest beginning of @s that is UTF-8: @len if all of it is. */
size_t tool_utf8_end(const char *s, size_t len);

/* A JSON string with its quotes; bytes that are no UTF-8 come out as U+FFFD. */
void tool_json_string(FILE *f, const char *s, size_t len);

/* Log of a device: warnings to standard error. */
void tool_log(void *data, enum npu_log_level level, const char *text);
/* Open @name (NULL: the default); on failure says why on standard error as subcommand @who and returns NULL. */
struct npu_device *tool_open(const char *who, const char *name);
/* "npu WHO: WHAT: reason" of a failed call on standard error; returns 1. */
int tool_fail(const char *who, struct npu_device *dev, const char *what, int err);
/* CLOCK_MONOTONIC. */
int64_t tool_now_ns(void);
/* 12345678 -> "12.3 M" and so on, into @buf. */
const char *tool_si(double value, char buf[16]);

#endif /* NPU_TOOL_H */
