/* SPDX-License-Identifier: MIT */
/*
 * conf.h - the conformance table: operation x type x shape x contents, each with
 * an expectation in double precision under a stated error bound.
 *
 * The table knows the command stream (uapi/npu_isa.h) and the normative text,
 * nothing of any implementation: what it needs of formats and arithmetic it
 * computes itself. A runner places the buffers in its device's address space,
 * has the packet executed, and checks. run_model.c does so with the model's
 * operations; any other device needs only these steps:
 *
 *     conf_make(i, &ci);
 *     for each buffer b: copy ci.bufs[b] to the device; conf_place(&ci, b, va);
 *     run ci.packet;
 *     for each output buffer: copy it back into ci.bufs[b].data;
 *     conf_check(&ci, text, sizeof(text)); conf_digest(&ci);
 *     conf_free(&ci);
 */
#ifndef NPU_TESTS_CONF_H
#define NPU_TESTS_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "npu_isa.h"

#define CONF_BUFS	8u
#define CONF_GUARD	256u	/* bytes before and after a tensor that must not change */

struct conf_buf {
	uint8_t *data;		/* guard, tensor, guard */
	uint8_t *before;	/* copy of the initial contents */
	size_t size;
	bool output;
};

/* One result element. */
struct conf_value {
	uint32_t buf;
	uint32_t index;		/* in the block, for block types */
	uint64_t offset;	/* of the element or block */
	uint8_t type;
	double want;		/* NaN: the canonical NaN */
	double tol;		/* largest |got - want|, rounding of the stored type not included */
};

struct conf_reloc {
	uint32_t field;		/* offset of a 64-bit address in the packet */
	uint32_t buf;
	uint64_t add;
};

struct conf_instance {
	const char *name;
	uint8_t packet[NPU_PACKET_MAX];
	uint32_t len;
	struct conf_buf bufs[CONF_BUFS];
	uint32_t nbufs;
	struct conf_reloc relocs[CONF_BUFS];
	uint32_t nrelocs;
	struct conf_value *values;
	size_t nvalues, room;
	uint64_t seed;		/* of the contents; from the name */
	bool failed;		/* out of memory while making it */
};

size_t conf_count(void);
const char *conf_name(size_t i);
/* 0 or -ENOMEM. */
int conf_make(size_t i, struct conf_instance *ci);
void conf_free(struct conf_instance *ci);
/* Buffer @buf is at @va (64-byte aligned) of the device's address space. */
void conf_place(struct conf_instance *ci, uint32_t buf, uint64_t va);
/* Output buffers back to their initial contents. */
void conf_restore(struct conf_instance *ci);
/* Compare the output buffers with the expectation; false: @text names the first difference. */
bool conf_check(const struct conf_instance *ci, char *text, size_t size);
/* Of all output bytes. */
uint64_t conf_digest(const struct conf_instance *ci);

#endif /* NPU_TESTS_CONF_H */
