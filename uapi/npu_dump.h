/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Format of the driver's dumps (devcoredump): a header, then sections, each
 * with a header of its own and padded to 8 bytes. Little endian. Readers skip
 * sections that they do not know, and take sections that are shorter or longer
 * than they expect.
 */
#ifndef NPU_DUMP_H
#define NPU_DUMP_H

#ifdef __KERNEL__
#include <linux/types.h>
#else
#include <stdint.h>
#endif

#define NPU_DUMP_MAGIC		0x31504d554455504eull	/* "NPUDUMP1" */
#define NPU_DUMP_VERSION	1u

/* First bytes of a dump. */
struct npu_dump_header {
	uint64_t magic;
	uint32_t version;
	uint32_t size;		/* bytes of the dump, this header included */
	uint64_t time_ns;	/* CLOCK_REALTIME at the capture */
	uint32_t state;		/* enum drm_npu_queue_state; 0: the device misbehaved, no queue is to blame */
	uint32_t truncated;	/* 1: the buffer was too small for all of it */
};

enum npu_dump_type {
	NPU_DUMP_INFO		= 1,	/* struct drm_npu_info */
	NPU_DUMP_REGISTERS	= 2,	/* struct npu_dump_register[] */
	NPU_DUMP_QUEUE		= 3,	/* struct npu_dump_queue */
	NPU_DUMP_RING		= 4,	/* struct npu_job_desc[]: the whole ring */
	NPU_DUMP_COMPLETIONS	= 5,	/* struct npu_completion[] */
	NPU_DUMP_SCALARS	= 6,	/* uint64_t[]: initial registers of the oldest job */
	NPU_DUMP_STREAM		= 7,	/* struct npu_dump_memory, then bytes */
	NPU_DUMP_MAPPINGS	= 8,	/* struct npu_dump_mapping[] */
};

struct npu_dump_section {
	uint32_t type;		/* enum npu_dump_type */
	uint32_t size;		/* bytes of the contents, without this header and the padding */
};

struct npu_dump_register {
	uint32_t offset;
	uint32_t value;
};

struct npu_dump_queue {
	uint32_t id;
	uint32_t vm_id;
	uint32_t priority;
	int32_t hwq;		/* hardware queue, -1 = none */
	uint32_t head;		/* oldest job that has not ended */
	uint32_t tail;		/* next job */
	uint32_t entries;	/* of the ring */
	uint32_t timeout_us;
	uint64_t seqno;		/* of the newest job */
	uint64_t done_seqno;	/* of the last job that has ended */
	uint32_t fault;		/* FAULT register */
	uint32_t fault_tag;
	uint64_t fault_addr;
	uint64_t fault_pc;
	uint64_t fault_seqno;
	uint32_t pid;		/* of the process that made the queue */
	uint32_t rsvd;
	char comm[16];		/* its name */
};

/* Bytes of the VM follow; where nothing is mapped, the section ends. */
struct npu_dump_memory {
	uint64_t va;
};

struct npu_dump_mapping {
	uint64_t va;
	uint64_t size;
	uint64_t bo_offset;
	uint64_t bo_size;
};

#endif /* NPU_DUMP_H */
