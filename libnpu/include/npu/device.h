/* SPDX-License-Identifier: MIT */
/*
 * libnpu: devices and address spaces.
 */
#ifndef NPU_DEVICE_H
#define NPU_DEVICE_H

#include <npu/error.h>

#ifdef __cplusplus
extern "C" {
#endif

struct npu_device;
struct npu_vm;

/* ---- Finding devices -------------------------------------------------------- */

struct npu_device_entry {
	const char *name;	/* for npu_device_open(): "/dev/accel/accel0", "soft" */
	const char *driver;	/* "npu" or "software" */
	const char *bus;	/* e.g. "platform:9100000.npu"; "" when unknown */
	bool accessible;	/* this process may open it */
};

/*
 * Call @fn for each device: DRM nodes of the driver "npu" first (accel nodes,
 * then render nodes), the software device last (where it is built in). Strings
 * live during the call. A non-zero return of @fn ends the search and is returned;
 * otherwise the number of devices.
 */
NPU_API int npu_device_list(int (*fn)(void *data, const struct npu_device_entry *entry), void *data);

/* ---- Opening ------------------------------------------------------------------ */

/* All members but @size may be zero. */
struct npu_device_options {
	size_t size;		/* sizeof(struct npu_device_options) */
	npu_log_fn log;		/* NULL = silent */
	npu_realloc_fn realloc;	/* NULL = the C library's */
	void *data;		/* handed to both */
	char *err;		/* receives the reason when opening fails; NULL = none */
	size_t err_size;
};

/*
 * Open a device. @name is
 *   "/dev/..."	a DRM node of the driver,
 *   "drm"	the first accessible node,
 *   "soft"	the software device in this process, optionally with settings:
 *		"soft:config=large,threads=2,sync=1,coherent=1,hazards=1,isa=scalar,memory=512"
 *		(config: "small", "large" or a file; sync: no threads, deterministic; memory: MiB,
 *		the host's without it),
 *   NULL	the environment's NPU_DEVICE; without it the first accessible node, and
 *		without one the software device.
 * Errors: -ENODEV no such device; -EACCES not permitted; -EPROTO the node is of another
 * driver or too old; -EINVAL a bad setting; -ENOMEM.
 */
NPU_API int npu_device_open(const char *name, const struct npu_device_options *opt, struct npu_device **out);

/* Another reference; npu_device_close() drops one. Objects of a device hold one each. NULL is allowed in close. */
NPU_API struct npu_device *npu_device_ref(struct npu_device *dev);
NPU_API void npu_device_close(struct npu_device *dev);

/* "soft" or the node's path; lives as long as the device. */
NPU_API const char *npu_device_name(const struct npu_device *dev);

/*
 * Copy the text of the last failed call on @dev or its objects into @buf (always
 * terminated). Returns its full length. Each call replaces the text, so with
 * several threads it may be another thread's: graphs and streams keep their own.
 */
NPU_API size_t npu_device_error(struct npu_device *dev, char *buf, size_t size);

/* ---- What it is --------------------------------------------------------------- */

struct npu_device_info {
	uint32_t impl;		/* implementer << 16 | product */
	uint32_t rev;		/* major << 16 | minor << 8 | patch */
	uint32_t intf;		/* hardware interface, major << 16 | minor */
	uint32_t numerics;	/* numerics profile: equal profile, equal bits */
	uint64_t errata;
	uint64_t features;	/* NPU_FEAT_* of the hardware interface */
	uint64_t ops;		/* bit (opcode - NPU_OP_FIRST) */
	uint32_t types_rows;	/* bit t: MATMUL weights of enum npu_type t as GGUF rows */
	uint32_t types_tiles;	/* ... as 16-row tiles */
	uint64_t max_macs;	/* of one command */
	uint64_t max_bytes;	/* of one command */
	uint32_t max_stream;	/* bytes of a stream */
	uint32_t hw_queues;
	uint32_t slots;		/* address-space slots */
	uint32_t va_bits;
	uint32_t timer_hz;	/* of timestamps */
	uint32_t core_khz;	/* nominal clock */
	uint32_t macs_i8;	/* per cycle; this and the following are informative */
	uint32_t macs_f16;
	uint32_t macs_f32;
	uint32_t lanes;		/* vector lanes */
	uint32_t sram_kb;
	uint32_t dram_mbps;
	uint32_t max_jobs;	/* of one submission */
	uint32_t priorities;	/* bit p: enum npu_priority p may be used */
	uint32_t software;	/* 1: the software device */
	uint32_t coherent;	/* 1: npu_buffer_sync() does nothing */
	char driver[32];
	char driver_version[32];
	char driver_date[32];
};

/* Copies min(size, sizeof(struct npu_device_info)) bytes, so that the structure can grow. */
NPU_API int npu_device_query(struct npu_device *dev, struct npu_device_info *info, size_t size);

/* Does it have operation @op (enum npu_opcode)? As MATMUL weight: @type in @layout? */
NPU_API bool npu_device_has_op(const struct npu_device *dev, unsigned int op);
NPU_API bool npu_device_has_weight(const struct npu_device *dev, unsigned int type, unsigned int layout);

/* Since the driver was loaded (software device: since it was opened). */
struct npu_counters {
	uint64_t timer;		/* ticks of timer_hz */
	uint64_t cycles;	/* core cycles not idle */
	uint64_t engine[3];	/* busy cycles: MATRIX, VECTOR, COPY */
	uint64_t bytes_read;
	uint64_t bytes_written;
	uint64_t bytes_sram;
	uint64_t macs;
	uint64_t commands;
	uint64_t walks;		/* page-table walks */
	uint64_t switches;	/* between queues */
	uint32_t core_khz;	/* present clock */
	uint32_t resets;	/* of the device */
};

NPU_API int npu_device_counters(struct npu_device *dev, struct npu_counters *counters, size_t size);

/*
 * Software device only: inject a fault ("hang", "page-fault", ... as the model names
 * them), on hardware queue @queue (-1 = any), after skipping @after matching events.
 * -EOPNOTSUPP on others, -EINVAL unknown name.
 */
NPU_API int npu_device_inject(struct npu_device *dev, const char *fault, int queue, uint32_t after, uint64_t arg);

/* ---- Address spaces ------------------------------------------------------------ */

/*
 * An address space of the device. Buffers are mapped into one, queues run on one. Isolated
 * from all others. Freed with the last reference (buffers and queues hold one each).
 */
NPU_API int npu_vm_create(struct npu_device *dev, struct npu_vm **out);
NPU_API struct npu_vm *npu_vm_ref(struct npu_vm *vm);
NPU_API void npu_vm_unref(struct npu_vm *vm);
NPU_API struct npu_device *npu_vm_device(const struct npu_vm *vm);
/* 0, or -EIO when a failed queued bind has made it unusable. */
NPU_API int npu_vm_check(struct npu_vm *vm);

#ifdef __cplusplus
}
#endif
#endif /* NPU_DEVICE_H */
