/* SPDX-License-Identifier: MIT */
/*
 * The seam between the library and a device: one table of functions per kind
 * of device. To add a kind, write one file with a struct npu_backend and name it
 * in device.c; nothing else knows what is below.
 *
 * The base structures here are embedded first in the back end's own, whose
 * sizes are in the table; the library allocates them zeroed, fills the base and calls
 * the create function; it frees them after the destroy function. Base members are
 * read-only for back ends unless they are marked B (filled by the back end).
 *
 * Functions return 0 or a negative errno and leave a text with npu_fail(). They may be
 * called by several threads at once; destroy functions are called once, when nothing else uses the object.
 */
#ifndef LIBNPU_DEVICE_H
#define LIBNPU_DEVICE_H

#include <pthread.h>
#include <stdatomic.h>

#include <npu/buffer.h>
#include <npu/device.h>
#include <npu/queue.h>
#include <npu_isa.h>

#include "ranges.h"

struct npu_backend;

struct npu_device {
	const struct npu_backend *ops;
	atomic_uint refs;
	npu_log_fn log;
	npu_realloc_fn realloc;
	void *data;
	char *name;
	struct npu_device_info info;	/* B: filled by open() */
	/* One page that reads as zero in a forked child; see npu_device_enter(). */
	atomic_uint *alive;
	pthread_mutex_t error_lock;	/* protects error; taken last */
	char error[512];
};

struct npu_vm {
	struct npu_device *dev;
	atomic_uint refs;
	uint64_t va_start, va_size;	/* B: addresses that the library may hand out */
	pthread_mutex_t lock;		/* protects va */
	struct npu_ranges va;
};

struct npu_buffer {
	struct npu_vm *vm;
	atomic_uint refs;
	uint64_t size;		/* as asked for */
	uint64_t bytes;		/* rounded up to pages. B for imports */
	uint64_t va;
	uint32_t flags;		/* enum npu_buffer_flags */
	bool imported;
	_Atomic(void *) cpu;	/* mapping, made on first use */
};

struct npu_fence {
	struct npu_device *dev;
	atomic_uint refs;
	atomic_uint_least64_t promised;	/* last point that a job or the CPU has promised */
};

struct npu_queue {
	struct npu_vm *vm;
	atomic_uint refs;
	enum npu_priority priority;
	uint32_t timeout_ms;
	atomic_uint innocent_seen;	/* innocent losses that npu_queue_check() has told */
};

struct npu_backend {
	size_t device_size, vm_size, buffer_size, fence_size, queue_size;

	/* Find and open; @arg is what follows the kind in the name. Fills dev->info. */
	int (*device_open)(struct npu_device *dev, const char *arg);
	void (*device_close)(struct npu_device *dev);	/* also in a forked child */
	int (*counters)(struct npu_device *dev, struct npu_counters *c);
	/* Optional (NULL = -EOPNOTSUPP). */
	int (*inject)(struct npu_device *dev, const char *fault, int queue, uint32_t after, uint64_t arg);

	/* Fills va_start and va_size, multiples of 4096. */
	int (*vm_create)(struct npu_vm *vm);
	void (*vm_destroy)(struct npu_vm *vm);
	int (*vm_check)(struct npu_vm *vm);
	/* Map the whole buffer at @va; done on return. Flags of the buffer say how. */
	int (*vm_map)(struct npu_vm *vm, struct npu_buffer *buf, uint64_t va);
	void (*vm_unmap)(struct npu_vm *vm, struct npu_buffer *buf, uint64_t va);

	/* Zeroed memory of buf->bytes. */
	int (*buffer_create)(struct npu_buffer *buf);
	void (*buffer_destroy)(struct npu_buffer *buf);
	/* CPU mapping of the whole buffer; called once per buffer. */
	int (*buffer_map)(struct npu_buffer *buf, void **cpu);
	void (*buffer_unmap)(struct npu_buffer *buf, void *cpu);
	/* Only called for cached buffers of devices that are not coherent. */
	int (*buffer_sync)(struct npu_buffer *buf, enum npu_sync_direction dir, uint64_t offset, uint64_t bytes);
	int (*buffer_wait)(struct npu_buffer *buf, int64_t deadline_ns);
	int (*buffer_export)(struct npu_buffer *buf, int *fd);
	/* Fills bytes. */
	int (*buffer_import)(struct npu_buffer *buf, int fd);

	int (*fence_create)(struct npu_fence *fence);
	void (*fence_destroy)(struct npu_fence *fence);
	/* @deadline_ns: CLOCK_MONOTONIC, INT64_MAX = for ever. Any: index; all: 0; -ETIME. */
	int (*fence_wait)(struct npu_device *dev, const struct npu_point *points, unsigned int count, bool all,
			  int64_t deadline_ns);
	int (*fence_signal)(struct npu_fence *fence, uint64_t value);
	int (*fence_value)(struct npu_fence *fence, uint64_t *value);
	int (*fence_export)(struct npu_fence *fence, uint64_t value, int *fd);
	int (*fence_import)(struct npu_fence *fence, uint64_t value, int fd);

	int (*queue_create)(struct npu_queue *queue);
	void (*queue_destroy)(struct npu_queue *queue);
	/* Fields are checked. All jobs or none. */
	int (*queue_submit)(struct npu_queue *queue, const struct npu_job *jobs, unsigned int count);
	int (*queue_status)(struct npu_queue *queue, struct npu_queue_status *status);
};

extern const struct npu_backend npu_backend_drm;
extern const struct npu_backend npu_backend_soft;

/* DRM nodes of the driver: calls @fn as npu_device_list() does. */
int npu_drm_list(int (*fn)(void *data, const struct npu_device_entry *entry), void *data);

/* ---- For back ends and upper layers ------------------------------------------------ */

/* Record the text of a failure and return @err. */
int npu_fail(struct npu_device *dev, int err, const char *fmt, ...) NPU_PRINTF(3, 4);
void npu_logf(struct npu_device *dev, enum npu_log_level level, const char *fmt, ...) NPU_PRINTF(3, 4);

/* Memory through the caller's function; zeroed. NULL when out of memory; free takes NULL. */
void *npu_alloc(struct npu_device *dev, size_t bytes);
void *npu_resize(struct npu_device *dev, void *ptr, size_t bytes);	/* new bytes are not zeroed */
void npu_free(struct npu_device *dev, void *ptr);

/* First in each public function: -EPERM in a forked child. */
int npu_device_enter(struct npu_device *dev);

/*
 * In a forked child objects are freed without the back end: handles, page tables and bus memory
 * are shared with the parent, who goes on using them.
 */
static inline bool npu_device_forked(const struct npu_device *dev)
{
	return !atomic_load_explicit(dev->alive, memory_order_relaxed);
}

/* CLOCK_MONOTONIC now, and a deadline from a relative time-out (negative = for ever). */
int64_t npu_now_ns(void);
int64_t npu_deadline(int64_t timeout_ns);

#define NPU_PAGE		4096ull
#define NPU_HUGE_PAGE		(1ull << 21)

#endif /* LIBNPU_DEVICE_H */
