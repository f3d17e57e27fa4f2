/* SPDX-License-Identifier: MIT */
/*
 * The software device: a model of the hardware in this process, driven through its
 * registers as the kernel driver drives real hardware. Bus memory is one memfd;
 * page tables, rings and context images lie in it.
 *
 * Locks, in this order:
 *   sd->lock	everything without another note. Held during register accesses. By soft_lock().
 *   sd->windows_lock	the list of windows, which the model asks for from its own threads.
 *   sd->event_lock	generation, waiters and the condition variables. The interrupt callback
 *		takes it and may come from within a register access.
 *
 * Who works: the thread that submits or waits does the driver's work itself; the worker thread
 * does it when an interrupt comes and nobody waits. It is not woken while somebody holds sd->lock, who
 * will see the interrupt: a submission wakes the device's thread and no other.
 */
#ifndef LIBNPU_SOFT_H
#define LIBNPU_SOFT_H

#include "npu_model.h"
#include "npu_regs.h"
#include "device.h"

#define SOFT_RING_LOG2		6u
#define SOFT_RING		(1u << SOFT_RING_LOG2)
#define SOFT_MAX_JOBS		64u
#define SOFT_SLICE_NS		10000000ll	/* of a queue that others wait for */
#define SOFT_LOOK_NS		50000000ll	/* without an interrupt, in case one was lost */
#define SOFT_TIMEOUT_MS		60000u		/* default active time of a job */
#define SOFT_COMMAND_US		5000000u	/* watchdog of one command */
#define SOFT_INLINE_POINTS	8u

struct soft_queue;
struct soft_vm;

/* Points of a fence that are promised and not yet signalled, ascending. */
struct soft_link {
	uint64_t value;
	bool done;
};

struct soft_watch {
	struct soft_watch *next;
	uint64_t value;
	int fd;		/* eventfd: written when the point is signalled; import: polled */
};

/* A timeline; outlives its fence while jobs refer to it. */
struct soft_timeline {
	uint32_t refs;
	uint64_t value;			/* all points up to here are signalled */
	struct soft_link *links;
	uint32_t count, room;
	struct soft_watch *exports;
	struct soft_watch *imports;
	struct soft_timeline *next_import;	/* in sd->importing */
};

struct soft_fence {
	struct npu_fence base;
	struct soft_timeline *timeline;
};

struct soft_point {
	struct soft_timeline *timeline;
	uint64_t value;
};

struct soft_job {
	uint64_t stream;
	uint32_t stream_bytes, nregs, budget_us;
	uint32_t nwaits, nsignals;
	uint64_t regs[NPU_SCALARS];
	uint64_t seqno;
	struct soft_point *points;	/* waits, then signals */
	struct soft_point few[SOFT_INLINE_POINTS];
};

struct soft_vm {
	struct npu_vm base;
	uint64_t table;			/* bus address of the root */
	int slot;			/* -1: none */
	uint32_t attached;		/* hardware queues that run on it */
	struct npu_ranges kernel_va;	/* addresses that the library never hands out */
};

/* A piece of bus memory. */
struct soft_mem {
	uint64_t bus, bytes;
	void *cpu;
};

struct soft_buffer {
	struct npu_buffer base;
	struct soft_mem mem;
	int fd;				/* own memfd of a shared buffer; -1: in the arena */
};

struct soft_queue {
	struct npu_queue base;
	struct soft_queue *next;	/* in sd->queues */
	int hw;				/* hardware queue, or -1 */
	int64_t since_ns;		/* attached since */

	/* Ring of jobs; grows. Of [tail, head): submitted; [tail, issued): in the hardware ring. */
	struct soft_job *jobs;
	uint32_t room;			/* power of two */
	uint64_t head, issued, tail;	/* counts of jobs */

	/* Bus memory: descriptors, completions, initial registers, context image. */
	struct soft_mem mem;
	uint64_t regs_va;
	bool image_valid;
	uint32_t hw_head, hw_tail;	/* free-running ring indices */

	struct npu_queue_status st;
	uint64_t active_base;
};

struct soft_hwq {
	struct soft_queue *owner;
};

struct soft_slot {
	struct soft_vm *vm;
	uint64_t used;			/* stamp of the last attachment, for LRU */
};

struct soft_device {
	struct npu_device base;
	struct npu_model *model;
	bool synchronous;
	bool lost;

	pthread_mutex_t lock;
	struct soft_queue *queues;
	struct soft_hwq hwq[NPU_MAX_QUEUES];
	struct soft_slot slots[NPU_MAX_SLOTS];
	uint64_t stamp;
	uint32_t resets;
	struct soft_timeline *importing;
	uint64_t progress;		/* counts job completions and attachments */
	int64_t looked_ns;		/* registers were last read */
	struct npu_counters counted;	/* up to the last device reset, which clears the registers */
	bool event;			/* something changed that waiters look at; told by soft_unlock() */
	uint32_t starving;		/* queues with runnable jobs and no hardware queue */

	/* Bus memory. */
	int memfd;
	uint8_t *mem;
	uint64_t mem_bus, mem_bytes;
	struct npu_ranges bus;		/* in the arena */
	struct npu_ranges shared_bus;	/* addresses of shared buffers */

	pthread_mutex_t windows_lock;
	struct npu_model_window *windows;
	uint32_t nwindows, windows_room;

	pthread_mutex_t event_lock;
	pthread_cond_t changed;		/* for waiters */
	pthread_cond_t work;		/* for the worker */
	uint64_t generation;		/* counts interrupts and state changes */
	uint32_t waiters;
	bool stop;
	atomic_bool irq;		/* level of the line */
	atomic_bool serving;		/* somebody holds lock, and looks at irq after it */
	bool worker_valid;
	pthread_t worker;
};

#define SD(dev) ((struct soft_device *)(dev))

static inline uint32_t soft_rd(struct soft_device *sd, uint32_t offset)
{
	return (uint32_t)npu_model_read(sd->model, offset, 4);
}

static inline void soft_wr(struct soft_device *sd, uint32_t offset, uint32_t value)
{
	npu_model_write(sd->model, offset, value, 4);
}

static inline uint64_t soft_rd64(struct soft_device *sd, uint32_t offset)
{
	return npu_model_read(sd->model, offset, 8);
}

static inline void soft_wr64(struct soft_device *sd, uint32_t offset, uint64_t value)
{
	npu_model_write(sd->model, offset, value, 8);
}

/* sd->lock; soft_unlock() tells others what happened meanwhile. */
void soft_lock(struct soft_device *sd);
void soft_unlock(struct soft_device *sd);
/* Wait until (register & mask) == value: 0, -ETIME, or -ENODEV when it reads all ones. */
int soft_poll(struct soft_device *sd, uint32_t offset, uint32_t mask, uint32_t value);

/* ---- soft_mem.c -------------------------------------------------------------------- */

int soft_mem_init(struct soft_device *sd);
void soft_mem_fini(struct soft_device *sd);
int soft_mem_get(struct soft_device *sd, uint64_t bytes, struct soft_mem *out);
void soft_mem_put(struct soft_device *sd, struct soft_mem *m);
int soft_window(void *host, uint64_t bus, struct npu_model_window *out);
/* Page tables of a VM. @bus ranges are contiguous. Called with sd->lock. */
int soft_map(struct soft_device *sd, struct soft_vm *vm, uint64_t va, uint64_t bus, uint64_t bytes, bool readonly);
void soft_unmap(struct soft_device *sd, struct soft_vm *vm, uint64_t va, uint64_t bytes);

int soft_vm_create(struct npu_vm *vm);
void soft_vm_destroy(struct npu_vm *vm);
int soft_vm_check(struct npu_vm *vm);
int soft_vm_map(struct npu_vm *vm, struct npu_buffer *buf, uint64_t va);
void soft_vm_unmap(struct npu_vm *vm, struct npu_buffer *buf, uint64_t va);
int soft_buffer_create(struct npu_buffer *buf);
void soft_buffer_destroy(struct npu_buffer *buf);
int soft_buffer_map(struct npu_buffer *buf, void **cpu);
void soft_buffer_unmap(struct npu_buffer *buf, void *cpu);
int soft_buffer_sync(struct npu_buffer *buf, enum npu_sync_direction dir, uint64_t offset, uint64_t bytes);
int soft_buffer_export(struct npu_buffer *buf, int *fd);
int soft_buffer_import(struct npu_buffer *buf, int fd);

/* ---- soft_fence.c ------------------------------------------------------------------- */

int soft_fence_create(struct npu_fence *f);
void soft_fence_destroy(struct npu_fence *f);
int soft_fence_wait(struct npu_device *dev, const struct npu_point *points, unsigned int count, bool all,
		    int64_t deadline_ns);
int soft_fence_signal(struct npu_fence *f, uint64_t value);
int soft_fence_value(struct npu_fence *f, uint64_t *value);
int soft_fence_export(struct npu_fence *f, uint64_t value, int *fd);
int soft_fence_import(struct npu_fence *f, uint64_t value, int fd);
/* Called with sd->lock. Reserve a point (-ENOMEM); mark it signalled; give a reserved point up again. */
int soft_timeline_promise(struct soft_device *sd, struct soft_timeline *t, uint64_t value);
void soft_timeline_signal(struct soft_device *sd, struct soft_timeline *t, uint64_t value);
void soft_timeline_forget(struct soft_timeline *t, uint64_t value);
void soft_timeline_unref(struct soft_device *sd, struct soft_timeline *t);
/* Look at imported descriptors. */
void soft_fence_poll_imports(struct soft_device *sd);
/* Wait (without sd->lock) until @done(arg), called with sd->lock, returns non-zero. That value, or -ETIME. */
int soft_wait(struct soft_device *sd, int (*done)(struct soft_device *sd, void *arg), void *arg, int64_t deadline_ns);

/* ---- soft_queue.c --------------------------------------------------------------------- */

int soft_queue_create(struct npu_queue *q);
void soft_queue_destroy(struct npu_queue *q);
int soft_queue_submit(struct npu_queue *q, const struct npu_job *jobs, unsigned int count);
int soft_queue_status(struct npu_queue *q, struct npu_queue_status *st);
int soft_buffer_wait(struct npu_buffer *buf, int64_t deadline_ns);
/* The driver's work: interrupts, completions, faults, scheduling. Called with sd->lock. */
void soft_service(struct soft_device *sd);
/* Enable interrupts; after open and after each reset. */
void soft_init_registers(struct soft_device *sd);
/* Detach idle queues of @vm and give its slot back. Called with sd->lock. */
void soft_slot_release(struct soft_device *sd, struct soft_vm *vm);

#endif /* LIBNPU_SOFT_H */
