/* SPDX-License-Identifier: MIT */
/* The sections of a dump as text. */
#ifndef NPU_COREDUMP_PRINT_H
#define NPU_COREDUMP_PRINT_H

#include <stddef.h>
#include <stdint.h>

struct npu_dump_section;

/* What earlier sections said that later ones need. */
struct dump_state {
	uint32_t head;		/* of the queue, in entries of its ring */
	uint32_t tail;
	uint32_t entries;
	uint64_t pc;		/* address of the command that faulted, 0 = unknown */
};

void print_section(const struct npu_dump_section *section, const void *data, struct dump_state *state);
const char *queue_state_name(uint32_t state);

#endif /* NPU_COREDUMP_PRINT_H */
