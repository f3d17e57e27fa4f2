/* SPDX-License-Identifier: MIT */
/* A dump of the driver as text, for the programs that show one. */
#ifndef NPU_COREDUMP_DUMP_H
#define NPU_COREDUMP_DUMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Begins as a dump does. */
bool dump_is(const uint8_t *data, size_t size);

/*
 * Print all of it on standard output. @data is aligned to 8 bytes. What is wrong with the file at
 * @path goes to standard error as "@who: @path: ...". Returns the exit status.
 */
int dump_print(const char *who, const char *path, const uint8_t *data, size_t size);

#endif /* NPU_COREDUMP_DUMP_H */
