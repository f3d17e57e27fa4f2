/* SPDX-License-Identifier: MIT */
/*
 * Frame of the library's tests: a device of NPU_DEVICE (default: the software device), one VM and one queue per
 * test, and a check that what was allocated is freed.
 */
#ifndef LIB_COMMON_H
#define LIB_COMMON_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <npu/npu.h>

/* Time for a wait that must end: a hang, not a speed limit. Under valgrind on a busy machine a second is long. */
#define LIB_HANG_NS 600000000000ll

struct lib_state {
	struct npu_device *dev;
	struct npu_vm *vm;
	struct npu_queue *queue;
	struct npu_device_info info;
};

/* Name of the device under test. */
const char *lib_device(void);
/* cmocka set-up and tear-down of a test with a device, VM and queue; the latter fails on leaked memory. */
int lib_setup(void **state);
int lib_teardown(void **state);

/* For what valgrind would make meaningless, or take minutes for. */
bool lib_under_valgrind(void);

/* Memory functions that count, and that fail the allocation number @lib_fail_at (counted from 1; 0 = never). */
extern long lib_live, lib_allocations, lib_fail_at;
/* Commands that the software device saw to overlap without a token; the tear-down fails then. */
extern long lib_hazards;
void *lib_realloc(void *data, void *ptr, size_t size);

/* assert_int_equal(err, 0) that shows the device's text. */
#define assert_ok(dev, call) lib_assert_ok(dev, (call), #call, __FILE__, __LINE__)
void lib_assert_ok(struct npu_device *dev, int err, const char *call, const char *file, int line);
/* The device's text contains @part. */
void lib_assert_text(struct npu_device *dev, const char *part);

/* Deterministic pseudo-random numbers in [-1, 1). */
float lib_random(uint32_t *seed);

/*
 * Cause a fault, as npu_device_inject() does: through it on the software device, through the board's control file on
 * a node. lib_can_inject(): there is a way.
 */
bool lib_can_inject(void);
int lib_inject(struct lib_state *s, const char *fault, uint64_t arg);

/* Run a stream that ends with END on the queue and wait: 0 or npu_queue_check()'s error. */
int lib_run(struct lib_state *s, struct npu_stream *stream, const uint64_t *regs, unsigned int nregs);

#endif /* LIB_COMMON_H */
