// SPDX-License-Identifier: MIT
/* The back end on the driver's DRM nodes. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xf86drm.h>

#include "drm/npu_accel.h"
#include "npu_regs.h"
#include "device.h"

struct drm_device {
	struct npu_device base;
	int fd;
};

struct drm_vm {
	struct npu_vm base;
	uint32_t id;
};

struct drm_buffer {
	struct npu_buffer base;
	uint32_t handle;
};

struct drm_fence {
	struct npu_fence base;
	uint32_t handle;
};

struct drm_queue {
	struct npu_queue base;
	uint32_t id;
};

#define TO(type, p) ((struct drm_##type *)(p))

static int fd_of(struct npu_device *dev)
{
	return TO(device, dev)->fd;
}

static int call(struct npu_device *dev, unsigned long request, void *arg, const char *what)
{
	int ret;

	/* Not drmIoctl(): it would repeat on EAGAIN, which tells that a queue is full. */
	do {
		ret = ioctl(fd_of(dev), request, arg);
	} while (ret && errno == EINTR);
	if (!ret)
		return 0;
	return npu_fail(dev, -errno, "%s: %s: %s", dev->name, what, strerror(errno));
}

/* ---- Nodes ------------------------------------------------------------------------- */

/* Accel nodes are unknown to libdrm's enumeration, so both kinds are probed by number. */
static int probe(const char *path, char *bus, size_t bus_size)
{
	int fd = open(path, O_RDWR | O_CLOEXEC), err = -EPROTO;
	drmVersionPtr v;

	bus[0] = '\0';
	if (fd < 0)
		return -errno;
	v = drmGetVersion(fd);
	if (v && !strcmp(v->name, "npu")) {
		drmDevicePtr d = NULL;

		err = 0;
		if (!drmGetDevice2(fd, 0, &d) && d) {
			if (d->bustype == DRM_BUS_PLATFORM)
				snprintf(bus, bus_size, "platform:%.*s", (int)bus_size - 10,
					 d->businfo.platform->fullname);
			drmFreeDevice(&d);
		}
	}
	drmFreeVersion(v);
	close(fd);
	return err;
}

static int list_kind(const char *fmt, int first, int (*fn)(void *data, const struct npu_device_entry *entry), void *data)
{
	for (int i = first; i < first + 64; i++) {
		struct npu_device_entry e = { 0 };
		char path[64], bus[128];
		int err, ret;

		snprintf(path, sizeof(path), fmt, i);
		if (access(path, F_OK))
			continue;
		err = probe(path, bus, sizeof(bus));
		/* A node that may not be opened is named only where nothing else uses the directory. */
		if (err && (err != -EACCES || strncmp(path, "/dev/accel", 10)))
			continue;
		e.name = path;
		e.driver = err ? "" : "npu";
		e.bus = bus;
		e.accessible = !err;
		ret = fn(data, &e);
		if (ret)
			return ret;
	}
	return 0;
}

int npu_drm_list(int (*fn)(void *data, const struct npu_device_entry *entry), void *data)
{
	int ret = list_kind("/dev/accel/accel%d", 0, fn, data);

	return ret ? ret : list_kind("/dev/dri/renderD%d", 128, fn, data);
}

static int query(struct npu_device *dev, uint32_t type, void *p, uint32_t size, const char *what)
{
	struct drm_npu_dev_query q = { .type = type, .size = size, .pointer = (uintptr_t)p };

	return call(dev, DRM_IOCTL_NPU_DEV_QUERY, &q, what);
}

static int read_info(struct npu_device *dev)
{
	struct npu_device_info *o = &dev->info;
	struct drm_npu_priorities prio = { 0 };
	struct drm_npu_info i = { 0 };
	int err = query(dev, DRM_NPU_DEV_QUERY_INFO, &i, sizeof(i), "device query");

	if (!err)
		err = query(dev, DRM_NPU_DEV_QUERY_PRIORITIES, &prio, sizeof(prio), "priorities query");
	if (err)
		return err;
	o->impl = i.impl;
	o->rev = i.rev;
	o->intf = i.intf;
	o->numerics = i.numerics;
	o->errata = i.errata;
	o->features = i.features;
	o->ops = i.ops;
	o->types_rows = i.types_rows;
	o->types_tiles = i.types_tiles;
	o->max_macs = i.max_macs;
	o->max_bytes = i.max_bytes;
	o->max_stream = i.max_stream;
	o->hw_queues = i.hw_queues;
	o->slots = i.slots;
	o->va_bits = i.va_bits;
	o->timer_hz = i.timer_hz;
	o->core_khz = i.core_khz;
	o->macs_i8 = i.macs_i8;
	o->macs_f16 = i.macs_f & 0xffff;
	o->macs_f32 = i.macs_f >> 16;
	o->lanes = i.lanes;
	o->sram_kb = i.sram_kb;
	o->dram_mbps = i.dram_mbps;
	o->coherent = i.coherent;
	o->max_jobs = i.max_jobs ? i.max_jobs : 1;
	o->priorities = prio.allowed_mask;
	return 0;
}

static int check_driver(struct npu_device *dev)
{
	drmVersionPtr v = drmGetVersion(fd_of(dev));
	uint64_t cap = 0;

	if (!v || strcmp(v->name, "npu")) {
		npu_fail(dev, -EPROTO, "%s is a node of driver %s, not npu", dev->name, v ? v->name : "unknown");
		drmFreeVersion(v);
		return -EPROTO;
	}
	snprintf(dev->info.driver, sizeof(dev->info.driver), "%s", v->name);
	snprintf(dev->info.driver_version, sizeof(dev->info.driver_version), "%d.%d.%d", v->version_major,
		 v->version_minor, v->version_patchlevel);
	snprintf(dev->info.driver_date, sizeof(dev->info.driver_date), "%s", v->date ? v->date : "");
	drmFreeVersion(v);
	if (drmGetCap(fd_of(dev), DRM_CAP_SYNCOBJ_TIMELINE, &cap) || !cap)
		return npu_fail(dev, -EPROTO, "%s: the driver has no timeline syncobjs", dev->name);
	return 0;
}

static int drm_device_open(struct npu_device *dev, const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC), err;

	if (fd < 0) {
		err = -errno;
		if (err == -ENOENT || err == -ENXIO)
			err = -ENODEV;
		return npu_fail(dev, err, "%s: %s%s", path, strerror(errno),
				err == -EACCES ? " (is this user in the group of the node?)" : "");
	}
	TO(device, dev)->fd = fd;
	err = check_driver(dev);
	if (!err)
		err = read_info(dev);
	if (err)
		close(fd);
	return err;
}

static void drm_device_close(struct npu_device *dev)
{
	close(fd_of(dev));
}

static int drm_counters(struct npu_device *dev, struct npu_counters *c)
{
	struct drm_npu_counters k = { 0 };
	int err = query(dev, DRM_NPU_DEV_QUERY_COUNTERS, &k, sizeof(k), "counters query");

	if (err)
		return err;
	c->timer = k.timer;
	c->cycles = k.cycles;
	for (int e = 0; e < 3; e++)
		c->engine[e] = k.engine_cycles[e];
	c->bytes_read = k.bytes_read;
	c->bytes_written = k.bytes_written;
	c->bytes_sram = k.bytes_sram;
	c->macs = k.macs;
	c->commands = k.commands;
	c->walks = k.walks;
	c->switches = k.switches;
	c->core_khz = k.core_khz;
	c->resets = k.resets;
	return 0;
}

/* ---- Address spaces and buffers ------------------------------------------------------ */

static int drm_vm_create(struct npu_vm *vm)
{
	struct drm_npu_vm_create a = { 0 };
	int err = call(vm->dev, DRM_IOCTL_NPU_VM_CREATE, &a, "create address space");

	if (err)
		return err;
	TO(vm, vm)->id = a.id;
	vm->va_start = a.va_start;
	vm->va_size = a.va_size;
	return 0;
}

static void drm_vm_destroy(struct npu_vm *vm)
{
	struct drm_npu_vm_destroy a = { .id = TO(vm, vm)->id };

	drmIoctl(fd_of(vm->dev), DRM_IOCTL_NPU_VM_DESTROY, &a);
}

static int drm_vm_check(struct npu_vm *vm)
{
	struct drm_npu_vm_get_state a = { .vm_id = TO(vm, vm)->id };
	int err = call(vm->dev, DRM_IOCTL_NPU_VM_GET_STATE, &a, "state of address space");

	if (!err && a.state != DRM_NPU_VM_USABLE)
		err = npu_fail(vm->dev, -EIO, "the address space is unusable: a queued bind failed");
	return err;
}

static int bind(struct npu_vm *vm, struct drm_npu_vm_bind_op *op, const char *what)
{
	struct drm_npu_vm_bind a = {
		.vm_id = TO(vm, vm)->id,
		.ops = { .stride = sizeof(*op), .count = 1, .array = (uintptr_t)op },
	};

	return call(vm->dev, DRM_IOCTL_NPU_VM_BIND, &a, what);
}

static int drm_vm_map(struct npu_vm *vm, struct npu_buffer *buf, uint64_t va)
{
	struct drm_npu_vm_bind_op op = {
		.type = DRM_NPU_VM_BIND_MAP,
		.flags = buf->flags & NPU_BUFFER_READONLY ? DRM_NPU_VM_BIND_READONLY : 0,
		.bo_handle = TO(buffer, buf)->handle,
		.va = va,
		.size = buf->bytes,
	};

	return bind(vm, &op, "map a buffer");
}

static void drm_vm_unmap(struct npu_vm *vm, struct npu_buffer *buf, uint64_t va)
{
	struct drm_npu_vm_bind_op op = { .type = DRM_NPU_VM_BIND_UNMAP, .va = va, .size = buf->bytes };

	bind(vm, &op, "unmap a buffer");
}

static int drm_buffer_create(struct npu_buffer *buf)
{
	struct drm_npu_bo_create a = {
		.size = buf->bytes,
		.flags = (buf->flags & NPU_BUFFER_CACHED ? DRM_NPU_BO_CACHED : 0) |
			 (buf->flags & NPU_BUFFER_NO_MAP ? DRM_NPU_BO_NO_MMAP : 0),
		.exclusive_vm_id = buf->flags & NPU_BUFFER_SHARED ? 0 : TO(vm, buf->vm)->id,
	};
	int err = call(buf->vm->dev, DRM_IOCTL_NPU_BO_CREATE, &a, "create a buffer");

	if (err)
		return err;
	TO(buffer, buf)->handle = a.handle;
	buf->bytes = a.size;
	return 0;
}

static void drm_buffer_destroy(struct npu_buffer *buf)
{
	drmCloseBufferHandle(fd_of(buf->vm->dev), TO(buffer, buf)->handle);
}

static int drm_buffer_map(struct npu_buffer *buf, void **cpu)
{
	struct npu_device *dev = buf->vm->dev;
	struct drm_npu_bo_mmap_offset a = { .handle = TO(buffer, buf)->handle };
	int err, fd = -1;
	void *p;

	if (buf->imported) {
		/* Mapped through its exporter, who knows how. */
		if (drmPrimeHandleToFD(fd_of(dev), TO(buffer, buf)->handle, DRM_RDWR | DRM_CLOEXEC, &fd))
			return npu_fail(dev, -errno, "map an imported buffer: %s", strerror(errno));
		p = mmap(NULL, buf->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		close(fd);
	} else {
		err = call(dev, DRM_IOCTL_NPU_BO_MMAP_OFFSET, &a, "map a buffer");
		if (err)
			return err;
		p = mmap(NULL, buf->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd_of(dev), (off_t)a.offset);
	}
	if (p == MAP_FAILED)
		return npu_fail(dev, -errno, "mmap of %" PRIu64 " bytes: %s", buf->bytes, strerror(errno));
	*cpu = p;
	return 0;
}

static void drm_buffer_unmap(struct npu_buffer *buf, void *cpu)
{
	munmap(cpu, buf->bytes);
}

static int drm_buffer_sync(struct npu_buffer *buf, enum npu_sync_direction dir, uint64_t offset, uint64_t bytes)
{
	struct drm_npu_bo_sync_op op = {
		.handle = TO(buffer, buf)->handle,
		.type = dir == NPU_SYNC_FOR_CPU ? DRM_NPU_BO_SYNC_FOR_CPU : DRM_NPU_BO_SYNC_FOR_DEVICE,
		.offset = offset,
		.size = bytes,
	};
	struct drm_npu_bo_sync a = { .ops = { .stride = sizeof(op), .count = 1, .array = (uintptr_t)&op } };

	return call(buf->vm->dev, DRM_IOCTL_NPU_BO_SYNC, &a, "sync a buffer");
}

static int drm_buffer_wait(struct npu_buffer *buf, int64_t deadline_ns)
{
	struct drm_npu_bo_wait a = {
		.handle = TO(buffer, buf)->handle,
		.timeout_ns = deadline_ns == INT64_MAX ? -1 : deadline_ns,
	};
	int err = call(buf->vm->dev, DRM_IOCTL_NPU_BO_WAIT, &a, "wait for a buffer");

	return err == -ETIMEDOUT || err == -EBUSY ? -ETIME : err;
}

static int drm_buffer_export(struct npu_buffer *buf, int *fd)
{
	if (!drmPrimeHandleToFD(fd_of(buf->vm->dev), TO(buffer, buf)->handle, DRM_RDWR | DRM_CLOEXEC, fd))
		return 0;
	return npu_fail(buf->vm->dev, -errno, "export a buffer: %s", strerror(errno));
}

static int drm_buffer_import(struct npu_buffer *buf, int fd)
{
	struct npu_device *dev = buf->vm->dev;
	struct drm_npu_bo_info info = { 0 };
	int err;

	if (drmPrimeFDToHandle(fd_of(dev), fd, &TO(buffer, buf)->handle))
		return npu_fail(dev, -errno, "import a buffer: %s", strerror(errno));
	info.handle = TO(buffer, buf)->handle;
	err = call(dev, DRM_IOCTL_NPU_BO_INFO, &info, "size of an imported buffer");
	if (err) {
		drm_buffer_destroy(buf);
		return err;
	}
	buf->bytes = info.size & ~(NPU_PAGE - 1);
	return 0;
}

/* ---- Fences ----------------------------------------------------------------------------- */

static int drm_fence_create(struct npu_fence *f)
{
	if (!drmSyncobjCreate(fd_of(f->dev), 0, &TO(fence, f)->handle))
		return 0;
	return npu_fail(f->dev, -errno, "create a syncobj: %s", strerror(errno));
}

static void drm_fence_destroy(struct npu_fence *f)
{
	drmSyncobjDestroy(fd_of(f->dev), TO(fence, f)->handle);
}

static int drm_fence_wait(struct npu_device *dev, const struct npu_point *points, unsigned int count, bool all,
			  int64_t deadline_ns)
{
	uint32_t few_h[16], *h = few_h, first = 0, flags = DRM_SYNCOBJ_WAIT_FLAGS_WAIT_FOR_SUBMIT;
	uint64_t few_v[16], *v = few_v;
	int err;

	if (count > 16) {
		v = npu_alloc(dev, count * (sizeof(*v) + sizeof(*h)));
		if (!v)
			return npu_fail(dev, -ENOMEM, "wait: no memory for %u points", count);
		h = (uint32_t *)(v + count);
	}
	for (unsigned int i = 0; i < count; i++) {
		h[i] = TO(fence, points[i].fence)->handle;
		v[i] = points[i].value;
	}
	if (all)
		flags |= DRM_SYNCOBJ_WAIT_FLAGS_WAIT_ALL;
	err = drmSyncobjTimelineWait(fd_of(dev), h, v, count, deadline_ns, flags, &first);
	if (v != few_v)
		npu_free(dev, v);
	if (err && err != -ETIME)
		return npu_fail(dev, err, "wait for a fence: %s", strerror(-err));
	return err ? err : all ? 0 : (int)first;
}

static int drm_fence_signal(struct npu_fence *f, uint64_t value)
{
	if (!drmSyncobjTimelineSignal(fd_of(f->dev), &TO(fence, f)->handle, &value, 1))
		return 0;
	return npu_fail(f->dev, -errno, "signal a fence: %s", strerror(errno));
}

static int drm_fence_value(struct npu_fence *f, uint64_t *value)
{
	if (!drmSyncobjQuery(fd_of(f->dev), &TO(fence, f)->handle, value, 1))
		return 0;
	return npu_fail(f->dev, -errno, "read a fence: %s", strerror(errno));
}

/* sync_files hang off binary syncobjs only: go through a temporary one. */
static int drm_fence_export(struct npu_fence *f, uint64_t value, int *out)
{
	int fd = fd_of(f->dev), err = 0;
	uint32_t tmp;

	if (drmSyncobjCreate(fd, 0, &tmp))
		return npu_fail(f->dev, -errno, "export a fence: %s", strerror(errno));
	if (drmSyncobjTransfer(fd, tmp, 0, TO(fence, f)->handle, value, 0) || drmSyncobjExportSyncFile(fd, tmp, out))
		err = npu_fail(f->dev, -errno, "export a fence: %s", strerror(errno));
	drmSyncobjDestroy(fd, tmp);
	return err;
}

static int drm_fence_import(struct npu_fence *f, uint64_t value, int sync_file)
{
	int fd = fd_of(f->dev), err = 0;
	uint32_t tmp;

	if (drmSyncobjCreate(fd, 0, &tmp))
		return npu_fail(f->dev, -errno, "import a fence: %s", strerror(errno));
	if (drmSyncobjImportSyncFile(fd, tmp, sync_file) ||
	    drmSyncobjTransfer(fd, TO(fence, f)->handle, value, tmp, 0, 0))
		err = npu_fail(f->dev, -errno, "import a fence: %s", strerror(errno));
	drmSyncobjDestroy(fd, tmp);
	return err;
}

/* ---- Queues -------------------------------------------------------------------------------- */

static int drm_queue_create(struct npu_queue *q)
{
	struct drm_npu_queue_create a = {
		.vm_id = TO(vm, q->vm)->id,
		.priority = q->priority,
		.timeout_ms = q->timeout_ms,
	};
	int err = call(q->vm->dev, DRM_IOCTL_NPU_QUEUE_CREATE, &a, "create a queue");

	if (!err)
		TO(queue, q)->id = a.id;
	return err;
}

static void drm_queue_destroy(struct npu_queue *q)
{
	struct drm_npu_queue_destroy a = { .id = TO(queue, q)->id };

	drmIoctl(fd_of(q->vm->dev), DRM_IOCTL_NPU_QUEUE_DESTROY, &a);
}

#define FEW_JOBS	4u
#define FEW_SYNCS	16u

static void fill_sync(struct drm_npu_sync_op *o, const struct npu_point *p, uint32_t flags)
{
	o->flags = flags | DRM_NPU_SYNC_TIMELINE;
	o->handle = TO(fence, p->fence)->handle;
	o->value = p->value;
}

static void fill_jobs(struct drm_npu_job *out, struct drm_npu_sync_op *syncs, const struct npu_job *jobs,
		      unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		const struct npu_job *j = &jobs[i];
		unsigned int n = 0;

		for (unsigned int k = 0; k < j->nwaits; k++)
			fill_sync(&syncs[n++], &j->waits[k], 0);
		for (unsigned int k = 0; k < j->nsignals; k++)
			fill_sync(&syncs[n++], &j->signals[k], DRM_NPU_SYNC_SIGNAL);
		out[i] = (struct drm_npu_job) {
			.stream = j->stream,
			.stream_size = j->stream_bytes,
			.nregs = j->nregs,
			.regs = j->nregs ? (uintptr_t)j->regs : 0,
			.budget_us = j->budget_us,
			.syncs = { .stride = sizeof(*syncs), .count = n, .array = n ? (uintptr_t)syncs : 0 },
		};
		syncs += n;
	}
}

static int drm_queue_submit(struct npu_queue *q, const struct npu_job *jobs, unsigned int count)
{
	struct drm_npu_sync_op few_syncs[FEW_SYNCS], *syncs = few_syncs;
	struct drm_npu_job few_jobs[FEW_JOBS], *out = few_jobs;
	struct npu_device *dev = q->vm->dev;
	struct drm_npu_submit a = { .queue_id = TO(queue, q)->id };
	size_t n = 0;
	int err;

	for (unsigned int i = 0; i < count; i++)
		n += (size_t)jobs[i].nwaits + jobs[i].nsignals;
	if (count > FEW_JOBS || n > FEW_SYNCS) {
		out = npu_alloc(dev, count * sizeof(*out) + n * sizeof(*syncs));
		if (!out)
			return npu_fail(dev, -ENOMEM, "submit: no memory for %u jobs", count);
		syncs = (struct drm_npu_sync_op *)(out + count);
	}
	fill_jobs(out, syncs, jobs, count);
	a.jobs.stride = sizeof(*out);
	a.jobs.count = count;
	a.jobs.array = (uintptr_t)out;
	err = call(dev, DRM_IOCTL_NPU_SUBMIT, &a, "submit");
	if (out != few_jobs)
		npu_free(dev, out);
	return err;
}

static int drm_queue_status(struct npu_queue *q, struct npu_queue_status *st)
{
	struct drm_npu_queue_get_state a = { .id = TO(queue, q)->id };
	int err = call(q->vm->dev, DRM_IOCTL_NPU_QUEUE_GET_STATE, &a, "state of a queue");

	if (err)
		return err;
	st->state = (enum npu_queue_state)a.state;
	st->fault = a.fault;
	st->fault_tag = a.fault_tag;
	st->fault_addr = a.fault_addr;
	st->fault_pc = a.fault_pc;
	st->progress = a.progress;
	st->active_ns = a.active_ns;
	st->innocent_resets = a.innocent_resets;
	return 0;
}

const struct npu_backend npu_backend_drm = {
	.device_size = sizeof(struct drm_device),
	.vm_size = sizeof(struct drm_vm),
	.buffer_size = sizeof(struct drm_buffer),
	.fence_size = sizeof(struct drm_fence),
	.queue_size = sizeof(struct drm_queue),
	.device_open = drm_device_open,
	.device_close = drm_device_close,
	.counters = drm_counters,
	.vm_create = drm_vm_create,
	.vm_destroy = drm_vm_destroy,
	.vm_check = drm_vm_check,
	.vm_map = drm_vm_map,
	.vm_unmap = drm_vm_unmap,
	.buffer_create = drm_buffer_create,
	.buffer_destroy = drm_buffer_destroy,
	.buffer_map = drm_buffer_map,
	.buffer_unmap = drm_buffer_unmap,
	.buffer_sync = drm_buffer_sync,
	.buffer_wait = drm_buffer_wait,
	.buffer_export = drm_buffer_export,
	.buffer_import = drm_buffer_import,
	.fence_create = drm_fence_create,
	.fence_destroy = drm_fence_destroy,
	.fence_wait = drm_fence_wait,
	.fence_signal = drm_fence_signal,
	.fence_value = drm_fence_value,
	.fence_export = drm_fence_export,
	.fence_import = drm_fence_import,
	.queue_create = drm_queue_create,
	.queue_destroy = drm_queue_destroy,
	.queue_submit = drm_queue_submit,
	.queue_status = drm_queue_status,
};
