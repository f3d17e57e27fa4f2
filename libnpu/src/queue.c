// SPDX-License-Identifier: MIT
/* Queues and fences. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <npu/tensor.h>

#include "npu_regs.h"
#include "device.h"

/* ---- Fences -------------------------------------------------------------------- */

int npu_fence_create(struct npu_device *dev, struct npu_fence **out)
{
	struct npu_fence *f;
	int err = npu_device_enter(dev);

	*out = NULL;
	if (err)
		return err;
	f = npu_alloc(dev, dev->ops->fence_size);
	if (!f)
		return npu_fail(dev, -ENOMEM, "no memory for a fence");
	f->dev = dev;
	f->refs = 1;
	err = dev->ops->fence_create(f);
	if (err) {
		npu_free(dev, f);
		return err;
	}
	npu_device_ref(dev);
	*out = f;
	return 0;
}

struct npu_fence *npu_fence_ref(struct npu_fence *fence)
{
	atomic_fetch_add(&fence->refs, 1);
	return fence;
}

void npu_fence_unref(struct npu_fence *fence)
{
	struct npu_device *dev;

	if (!fence || atomic_fetch_sub(&fence->refs, 1) != 1)
		return;
	dev = fence->dev;
	if (!npu_device_forked(dev))
		dev->ops->fence_destroy(fence);
	npu_free(dev, fence);
	npu_device_close(dev);
}

static int wait_points(const struct npu_point *points, unsigned int count, bool all, int64_t timeout_ns)
{
	struct npu_device *dev;
	int err;

	if (!count)
		return -EINVAL;
	dev = points[0].fence->dev;
	err = npu_device_enter(dev);
	if (err)
		return err;
	for (unsigned int i = 1; i < count; i++)
		if (points[i].fence->dev != dev)
			return npu_fail(dev, -EINVAL, "wait: point %u is of another device", i);
	return dev->ops->fence_wait(dev, points, count, all, npu_deadline(timeout_ns));
}

int npu_fence_wait(struct npu_fence *fence, uint64_t value, int64_t timeout_ns)
{
	struct npu_point p = { fence, value };

	return wait_points(&p, 1, true, timeout_ns);
}

int npu_fence_wait_all(const struct npu_point *points, unsigned int count, int64_t timeout_ns)
{
	return wait_points(points, count, true, timeout_ns);
}

int npu_fence_wait_any(const struct npu_point *points, unsigned int count, int64_t timeout_ns)
{
	return wait_points(points, count, false, timeout_ns);
}

/* Points ascend: otherwise waiters of an earlier one would be released too soon or never. */
static int check_promise(struct npu_fence *f, uint64_t value)
{
	uint64_t last = atomic_load(&f->promised);

	if (value > last)
		return 0;
	return npu_fail(f->dev, -EINVAL, "fence: point %" PRIu64 " is not above the last one, %" PRIu64, value, last);
}

int npu_fence_signal(struct npu_fence *fence, uint64_t value)
{
	int err = npu_device_enter(fence->dev);

	if (!err)
		err = check_promise(fence, value);
	if (!err)
		err = fence->dev->ops->fence_signal(fence, value);
	if (!err)
		atomic_store(&fence->promised, value);
	return err;
}

int npu_fence_value(struct npu_fence *fence, uint64_t *value)
{
	int err = npu_device_enter(fence->dev);

	return err ? err : fence->dev->ops->fence_value(fence, value);
}

int npu_fence_export(struct npu_fence *fence, uint64_t value, int *fd)
{
	int err = npu_device_enter(fence->dev);

	if (err)
		return err;
	if (value > atomic_load(&fence->promised))
		return npu_fail(fence->dev, -EINVAL, "export: no job has promised point %" PRIu64 " yet", value);
	return fence->dev->ops->fence_export(fence, value, fd);
}

int npu_fence_import(struct npu_fence *fence, uint64_t value, int fd)
{
	int err = npu_device_enter(fence->dev);

	if (!err)
		err = check_promise(fence, value);
	if (!err)
		err = fence->dev->ops->fence_import(fence, value, fd);
	if (!err)
		atomic_store(&fence->promised, value);
	return err;
}

/* ---- Queues ----------------------------------------------------------------------- */

int npu_queue_create(struct npu_vm *vm, const struct npu_queue_options *opt, struct npu_queue **out)
{
	struct npu_device *dev = vm->dev;
	struct npu_queue_options o = { sizeof(o), NPU_PRIORITY_MEDIUM, 0 };
	struct npu_queue *q;
	int err = npu_device_enter(dev);

	*out = NULL;
	if (err)
		return err;
	if (opt) {
		if (opt->size < offsetof(struct npu_queue_options, timeout_ms))
			return npu_fail(dev, -EINVAL, "queue options: size %zu is too small", opt->size);
		memcpy(&o, opt, opt->size < sizeof(o) ? opt->size : sizeof(o));
	}
	if ((unsigned int)o.priority > NPU_PRIORITY_REALTIME)
		return npu_fail(dev, -EINVAL, "queue: no priority %d", (int)o.priority);
	if (!(dev->info.priorities >> o.priority & 1))
		return npu_fail(dev, -EACCES, "queue: priority %d is not allowed to this process", (int)o.priority);
	q = npu_alloc(dev, dev->ops->queue_size);
	if (!q)
		return npu_fail(dev, -ENOMEM, "no memory for a queue");
	q->vm = vm;
	q->refs = 1;
	q->priority = o.priority;
	q->timeout_ms = o.timeout_ms;
	err = dev->ops->queue_create(q);
	if (err) {
		npu_free(dev, q);
		return err;
	}
	npu_vm_ref(vm);
	*out = q;
	return 0;
}

struct npu_queue *npu_queue_ref(struct npu_queue *queue)
{
	atomic_fetch_add(&queue->refs, 1);
	return queue;
}

void npu_queue_unref(struct npu_queue *queue)
{
	struct npu_vm *vm;

	if (!queue || atomic_fetch_sub(&queue->refs, 1) != 1)
		return;
	vm = queue->vm;
	if (!npu_device_forked(vm->dev))
		vm->dev->ops->queue_destroy(queue);
	npu_free(vm->dev, queue);
	npu_vm_unref(vm);
}

struct npu_vm *npu_queue_vm(const struct npu_queue *queue)
{
	return queue->vm;
}

static int check_job(struct npu_device *dev, const struct npu_job *j, unsigned int i)
{
	if (j->stream_bytes % NPU_PACKET_ALIGN || j->stream % NPU_PACKET_ALIGN)
		return npu_fail(dev, -EINVAL, "job %u: stream 0x%" PRIx64 ", %u bytes: not multiples of 16", i,
				j->stream, j->stream_bytes);
	if (j->stream_bytes > dev->info.max_stream)
		return npu_fail(dev, -EINVAL, "job %u: a stream of %u bytes is longer than the device takes (%u)", i,
				j->stream_bytes, dev->info.max_stream);
	if (j->nregs > NPU_SCALARS || (j->nregs && !j->regs))
		return npu_fail(dev, -EINVAL, "job %u: %u registers%s", i, j->nregs,
				j->nregs > NPU_SCALARS ? ", at most 32" : " without values");
	if (!j->stream_bytes && (j->stream || j->nregs))
		return npu_fail(dev, -EINVAL, "job %u: no stream, but an address or registers", i);
	for (unsigned int k = 0; k < j->nwaits; k++)
		if (!j->waits[k].fence || j->waits[k].fence->dev != dev)
			return npu_fail(dev, -EINVAL, "job %u: wait %u is not of this device", i, k);
	for (unsigned int k = 0; k < j->nsignals; k++)
		if (!j->signals[k].fence || j->signals[k].fence->dev != dev)
			return npu_fail(dev, -EINVAL, "job %u: signal %u is not of this device", i, k);
	return 0;
}

/* Raise what the signals promise, so that later jobs of the same call may wait for it; undone on failure. */
static int promise(struct npu_device *dev, const struct npu_job *j, unsigned int i)
{
	for (unsigned int k = 0; k < j->nwaits; k++)
		if (j->waits[k].value > atomic_load(&j->waits[k].fence->promised))
			return npu_fail(dev, -EINVAL, "job %u: wait %u: nothing has promised point %" PRIu64, i, k,
					j->waits[k].value);
	for (unsigned int k = 0; k < j->nsignals; k++) {
		int err = check_promise(j->signals[k].fence, j->signals[k].value);

		if (err)
			return err;
		atomic_store(&j->signals[k].fence->promised, j->signals[k].value);
	}
	return 0;
}

#define PROMISES 64u

struct old_promise {
	struct npu_fence *fence;
	uint64_t value;
};

static unsigned int save_promises(const struct npu_job *jobs, unsigned int count, struct old_promise *old,
				  unsigned int room)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < count; i++)
		for (unsigned int k = 0; k < jobs[i].nsignals; k++, n++)
			if (n < room) {
				old[n].fence = jobs[i].signals[k].fence;
				old[n].value = atomic_load(&old[n].fence->promised);
			}
	return n;
}

int npu_queue_submit(struct npu_queue *queue, const struct npu_job *jobs, unsigned int count)
{
	struct npu_device *dev = queue->vm->dev;
	struct old_promise few[PROMISES], *old = few;
	unsigned int n;
	int err = npu_device_enter(dev);

	if (err)
		return err;
	if (!count || count > dev->info.max_jobs)
		return npu_fail(dev, -EINVAL, "submit: %u jobs, 1 to %u are possible", count, dev->info.max_jobs);
	for (unsigned int i = 0; i < count && !err; i++)
		err = check_job(dev, &jobs[i], i);
	if (err)
		return err;
	n = save_promises(jobs, count, few, PROMISES);
	if (n > PROMISES) {
		old = npu_alloc(dev, n * sizeof(*old));
		if (!old)
			return npu_fail(dev, -ENOMEM, "submit: no memory for %u signals", n);
		save_promises(jobs, count, old, n);
	}
	for (unsigned int i = 0; i < count && !err; i++)
		err = promise(dev, &jobs[i], i);
	if (!err)
		err = dev->ops->queue_submit(queue, jobs, count);
	for (unsigned int i = n; err && i-- > 0;)
		atomic_store(&old[i].fence->promised, old[i].value);
	if (old != few)
		npu_free(dev, old);
	return err;
}

int npu_queue_status(struct npu_queue *queue, struct npu_queue_status *status, size_t size)
{
	struct npu_queue_status st = { 0 };
	int err = npu_device_enter(queue->vm->dev);

	if (!err)
		err = queue->vm->dev->ops->queue_status(queue, &st);
	if (err)
		return err;
	memset(status, 0, size);
	memcpy(status, &st, size < sizeof(st) ? size : sizeof(st));
	return 0;
}

const char *npu_fault_name(uint32_t fault)
{
	static const struct {
		uint32_t code;
		const char *name;
	} names[] = {
		{ NPU_FAULT_NONE, "none" },
		{ NPU_FAULT_TRANSLATION, "address not mapped" },
		{ NPU_FAULT_PERMISSION, "access not permitted" },
		{ NPU_FAULT_ADDRESS_SIZE, "address outside the address space" },
		{ NPU_FAULT_TABLE, "malformed page table" },
		{ NPU_FAULT_WALK_BUS, "bus error in a table walk" },
		{ NPU_FAULT_SLOT, "address-space slot not enabled" },
		{ NPU_FAULT_BUS, "bus error" },
		{ NPU_FAULT_ECC, "uncorrectable memory error" },
		{ NPU_FAULT_OPCODE_ILLEGAL, "operation unknown or absent" },
		{ NPU_FAULT_ENCODING, "malformed command" },
		{ NPU_FAULT_OPERAND_ILLEGAL, "illegal operand" },
		{ NPU_FAULT_BOUND, "command above the device's bound" },
		{ NPU_FAULT_STREAM, "control left the stream" },
		{ NPU_FAULT_MODE, "command not allowed in this queue" },
		{ NPU_FAULT_TRAP, "trap" },
		{ NPU_FAULT_DESCRIPTOR, "malformed job descriptor" },
		{ NPU_FAULT_DOORBELL, "bad doorbell value" },
		{ NPU_FAULT_RING, "ring not accessible" },
		{ NPU_FAULT_WATCHDOG, "command took too long" },
		{ NPU_FAULT_BUDGET, "job took too long" },
		{ NPU_FAULT_BLOCKED, "job waited too long" },
		{ NPU_FAULT_IMAGE, "context image not accessible" },
		{ NPU_FAULT_INTERNAL, "internal error of the device" },
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (names[i].code == NPU_FAULT_CODE(fault))
			return names[i].name;
	return "unknown fault";
}

const char *npu_queue_state_name(enum npu_queue_state state)
{
	static const char *const names[] = { "alive", "fault", "timeout", "innocent", "VM unusable", "device lost" };

	return (unsigned int)state < sizeof(names) / sizeof(names[0]) ? names[state] : "unknown";
}

static int fault_error(struct npu_device *dev, const struct npu_queue_status *st, int err)
{
	unsigned int operand = NPU_FAULT_OPERAND(st->fault);
	const char *op = npu_op_name(NPU_FAULT_OPCODE(st->fault));
	char where[32] = "";

	if (operand != 15)
		snprintf(where, sizeof(where), ", operand %u", operand);
	return npu_fail(dev, err, "%s: %s (code 0x%02x)%s of %s, tag %u, at command 0x%" PRIx64 ", address 0x%" PRIx64,
			npu_queue_state_name(st->state), npu_fault_name(st->fault), NPU_FAULT_CODE(st->fault), where,
			op ? op : "no command", st->fault_tag, st->fault_pc, st->fault_addr);
}

int npu_queue_check(struct npu_queue *queue)
{
	struct npu_device *dev = queue->vm->dev;
	struct npu_queue_status st = { 0 };
	unsigned int seen;
	int err = npu_device_enter(dev);

	if (!err)
		err = dev->ops->queue_status(queue, &st);
	if (err)
		return err;
	switch (st.state) {
	case NPU_QUEUE_FAULT:
		switch (NPU_FAULT_CODE(st.fault)) {
		case NPU_FAULT_BUS:
		case NPU_FAULT_ECC:
		case NPU_FAULT_WALK_BUS:
			return fault_error(dev, &st, -EIO);
		default:
			return fault_error(dev, &st, -EFAULT);
		}
	case NPU_QUEUE_TIMEOUT:
		return fault_error(dev, &st, -ETIMEDOUT);
	case NPU_QUEUE_VM_UNUSABLE:
		return npu_fail(dev, -EIO, "the queue's address space is unusable: a queued bind failed");
	case NPU_QUEUE_DEVICE_LOST:
		return npu_fail(dev, -ENODEV, "the device is wedged or has gone");
	default:
		break;
	}
	seen = atomic_load(&queue->innocent_seen);
	while (seen != st.innocent_resets)
		if (atomic_compare_exchange_weak(&queue->innocent_seen, &seen, st.innocent_resets))
			return npu_fail(dev, -ECANCELED,
					"a job was lost to a device reset that another queue caused: submit it again");
	return 0;
}
