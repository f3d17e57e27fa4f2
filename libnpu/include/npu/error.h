/* SPDX-License-Identifier: MIT */
/*
 * libnpu: errors, log and memory callbacks, visibility.
 *
 * Errors: functions return 0 or a count on success and a negative errno on
 * failure; functions that return a pointer return NULL on failure. The text of
 * the last failure of a device (what, which operand, and the way out) is read
 * with npu_device_error(); that of a graph with npu_graph_error().
 *
 * Threads: functions on different devices, streams and graphs never interfere. A device,
 * VM, buffer, queue, fence and program may be used from several threads at once,
 * unless a function says otherwise; a stream or graph by one thread at a time.
 *
 * fork(): objects belong to the process that made them. In a child they answer
 * -EPERM, and only freeing them is allowed.
 */
#ifndef NPU_ERROR_H
#define NPU_ERROR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define NPU_API __attribute__((visibility("default")))
#define NPU_PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#define NPU_API
#define NPU_PRINTF(f, a)
#endif

#define NPU_VERSION_MAJOR	0
#define NPU_VERSION_MINOR	1
#define NPU_VERSION_PATCH	0

/* Version of the library that runs: major << 16 | minor << 8 | patch. */
NPU_API uint32_t npu_version(void);

/* Short English text of a negative errno as this library uses it; never NULL. */
NPU_API const char *npu_strerror(int err);

enum npu_log_level {
	NPU_LOG_ERROR,
	NPU_LOG_WARNING,
	NPU_LOG_INFO,
	NPU_LOG_DEBUG,
};

/* A line without newline. May be called from any thread that uses the device, and from its workers. */
typedef void (*npu_log_fn)(void *data, enum npu_log_level level, const char *text);

/*
 * Memory of the library: as realloc(); @size 0 frees and returns NULL. Called
 * from any thread. Memory of buffers, of the software device's arithmetic, and of model
 * files, tokenizers and language models themselves does not come from here.
 */
typedef void *(*npu_realloc_fn)(void *data, void *ptr, size_t size);

#ifdef __cplusplus
}
#endif
#endif /* NPU_ERROR_H */
