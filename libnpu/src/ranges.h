/* SPDX-License-Identifier: MIT */
/*
 * Allocator of address ranges: first fit over a sorted array of free ranges. Used for
 * device addresses of a VM and for bus memory of the software device. Not locked.
 */
#ifndef LIBNPU_RANGES_H
#define LIBNPU_RANGES_H

#include <stdint.h>

struct npu_device;

struct npu_range {
	uint64_t start, size;
};

struct npu_ranges {
	struct npu_device *dev;	/* whose memory functions are used */
	struct npu_range *free;	/* ascending, never adjacent */
	uint32_t count, room;
	uint32_t live;		/* ranges handed out: each may become a free one, for which room is kept */
};

/* Everything in [start, start + size) is free. -ENOMEM. */
int npu_ranges_init(struct npu_ranges *r, struct npu_device *dev, uint64_t start, uint64_t size);
void npu_ranges_fini(struct npu_ranges *r);
/* @align is a power of two. -ENOSPC no hole is large enough; -ENOMEM. */
int npu_ranges_get(struct npu_ranges *r, uint64_t size, uint64_t align, uint64_t *start);
/* Never fails: each get reserves the room that its put may need. */
void npu_ranges_put(struct npu_ranges *r, uint64_t start, uint64_t size);

#endif /* LIBNPU_RANGES_H */
