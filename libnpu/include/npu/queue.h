/* SPDX-License-Identifier: MIT */
/*
 * libnpu: queues, jobs and fences.
 */
#ifndef NPU_QUEUE_H
#define NPU_QUEUE_H

#include <npu/device.h>

#ifdef __cplusplus
extern "C" {
#endif

struct npu_queue;
struct npu_fence;

/* ---- Fences -------------------------------------------------------------------- */

/*
 * A timeline: points are numbers that become signalled in ascending order. Jobs wait for and signal points.
 * A signalled point means that the job has ended, well or not: npu_queue_check() tells which.
 */
NPU_API int npu_fence_create(struct npu_device *dev, struct npu_fence **out);
NPU_API struct npu_fence *npu_fence_ref(struct npu_fence *fence);
NPU_API void npu_fence_unref(struct npu_fence *fence);

/* A point of a fence. */
struct npu_point {
	struct npu_fence *fence;
	uint64_t value;
};

/*
 * Wait for points; @timeout_ns relative, 0 = only look, negative = for ever. Points that no job has promised yet are
 * waited for, too. any: returns the index of the first signalled one; all: returns 0.
 * Errors: -ETIME; -EINVAL no points.
 */
NPU_API int npu_fence_wait(struct npu_fence *fence, uint64_t value, int64_t timeout_ns);
NPU_API int npu_fence_wait_all(const struct npu_point *points, unsigned int count, int64_t timeout_ns);
NPU_API int npu_fence_wait_any(const struct npu_point *points, unsigned int count, int64_t timeout_ns);

/* Signal a point from the CPU; read the last signalled point. */
NPU_API int npu_fence_signal(struct npu_fence *fence, uint64_t value);
NPU_API int npu_fence_value(struct npu_fence *fence, uint64_t *value);

/*
 * A new descriptor that polls readable when the point is signalled: a sync_file on DRM nodes, an eventfd on the
 * software device. -EINVAL: no job has promised the point yet.
 */
NPU_API int npu_fence_export(struct npu_fence *fence, uint64_t value, int *fd);
/* Let @value become signalled when the descriptor (of the same kind) does. @fd stays the caller's. */
NPU_API int npu_fence_import(struct npu_fence *fence, uint64_t value, int fd);

/* ---- Queues ---------------------------------------------------------------------- */

enum npu_priority {
	NPU_PRIORITY_LOW,
	NPU_PRIORITY_MEDIUM,
	NPU_PRIORITY_HIGH,
	NPU_PRIORITY_REALTIME,	/* needs CAP_SYS_NICE on DRM nodes */
};

struct npu_queue_options {
	size_t size;			/* sizeof(struct npu_queue_options) */
	enum npu_priority priority;	/* without options: MEDIUM */
	uint32_t timeout_ms;		/* active time of a job after which it is stopped; 0 = the driver's default */
};

/*
 * A queue runs its jobs in order on one VM; queues run side by side. There may be more queues than the hardware has.
 * @opt may be NULL. Errors: -EACCES priority; -EIO VM unusable; -ENOSPC; -ENOMEM.
 */
NPU_API int npu_queue_create(struct npu_vm *vm, const struct npu_queue_options *opt, struct npu_queue **out);
NPU_API struct npu_queue *npu_queue_ref(struct npu_queue *queue);
/* The last reference destroys the queue and stops what runs on it. */
NPU_API void npu_queue_unref(struct npu_queue *queue);
NPU_API struct npu_vm *npu_queue_vm(const struct npu_queue *queue);

struct npu_job {
	uint64_t stream;		/* device address of the command stream, multiple of 16 */
	uint32_t stream_bytes;		/* multiple of 16; 0 = only waits and signals */
	uint32_t nregs;			/* initial scalar registers r0.., 0..32; others are zero */
	const uint64_t *regs;
	uint32_t budget_us;		/* active time after which it is stopped; 0 = the queue's timeout */
	uint32_t nwaits;
	const struct npu_point *waits;	/* before it starts */
	const struct npu_point *signals;/* when it has ended */
	uint32_t nsignals;
};

/*
 * Hand jobs to a queue: all are accepted or none; one system call; no allocation up to 16 waits and signals per call.
 * Errors: -EINVAL a bad field, or a wait for a point that nothing has promised; -EIO the queue is dead (npu_queue_check());
 * -EAGAIN the queue is full: wait for a job to end; -ENODEV the device has gone.
 */
NPU_API int npu_queue_submit(struct npu_queue *queue, const struct npu_job *jobs, unsigned int count);

enum npu_queue_state {
	NPU_QUEUE_ALIVE,
	NPU_QUEUE_FAULT,	/* a job did something illegal */
	NPU_QUEUE_TIMEOUT,	/* a job took too long */
	NPU_QUEUE_INNOCENT,	/* a job was lost to a device reset that another queue caused; alive for new jobs */
	NPU_QUEUE_VM_UNUSABLE,
	NPU_QUEUE_DEVICE_LOST,
};

struct npu_queue_status {
	enum npu_queue_state state;
	uint32_t fault;		/* FAULT register: code, engine, operand, opcode; 0 = none */
	uint32_t fault_tag;	/* tag of the command; programs of a graph: operation number + 1 */
	uint32_t innocent_resets;
	uint64_t fault_addr;
	uint64_t fault_pc;	/* device address of the command */
	uint64_t progress;	/* of the last PROGRESS command */
	uint64_t active_ns;	/* device time used */
};

/* Copies min(size, sizeof(struct npu_queue_status)) bytes. */
NPU_API int npu_queue_status(struct npu_queue *queue, struct npu_queue_status *status, size_t size);
/*
 * 0 while the queue is alive; else an error with a text (npu_device_error()) that tells the fault, the command and the
 * operand: -EFAULT illegal command or address, -EIO memory or VM, -ETIMEDOUT, -ENODEV. -ECANCELED once per innocent loss.
 */
NPU_API int npu_queue_check(struct npu_queue *queue);

/* "page not mapped", "illegal operand", ... of a fault code; and enum npu_queue_state by name. Never NULL. */
NPU_API const char *npu_fault_name(uint32_t fault);
NPU_API const char *npu_queue_state_name(enum npu_queue_state state);

#ifdef __cplusplus
}
#endif
#endif /* NPU_QUEUE_H */
