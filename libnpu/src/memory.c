// SPDX-License-Identifier: MIT
/* Address spaces and buffers. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "device.h"

/* ---- Address spaces -------------------------------------------------------------- */

int npu_vm_create(struct npu_device *dev, struct npu_vm **out)
{
	struct npu_vm *vm;
	int err = npu_device_enter(dev);

	*out = NULL;
	if (err)
		return err;
	vm = npu_alloc(dev, dev->ops->vm_size);
	if (!vm)
		return npu_fail(dev, -ENOMEM, "no memory for an address space");
	vm->dev = dev;
	vm->refs = 1;
	pthread_mutex_init(&vm->lock, NULL);
	err = dev->ops->vm_create(vm);
	if (err)
		goto err_free;
	err = npu_ranges_init(&vm->va, dev, vm->va_start, vm->va_size);
	if (err) {
		npu_fail(dev, err, "no memory for an address space");
		goto err_vm;
	}
	npu_device_ref(dev);
	*out = vm;
	return 0;

err_vm:
	dev->ops->vm_destroy(vm);
err_free:
	pthread_mutex_destroy(&vm->lock);
	npu_free(dev, vm);
	return err;
}

struct npu_vm *npu_vm_ref(struct npu_vm *vm)
{
	atomic_fetch_add(&vm->refs, 1);
	return vm;
}

void npu_vm_unref(struct npu_vm *vm)
{
	struct npu_device *dev;

	if (!vm || atomic_fetch_sub(&vm->refs, 1) != 1)
		return;
	dev = vm->dev;
	if (!npu_device_forked(dev))
		dev->ops->vm_destroy(vm);
	npu_ranges_fini(&vm->va);
	pthread_mutex_destroy(&vm->lock);
	npu_free(dev, vm);
	npu_device_close(dev);
}

struct npu_device *npu_vm_device(const struct npu_vm *vm)
{
	return vm->dev;
}

int npu_vm_check(struct npu_vm *vm)
{
	int err = npu_device_enter(vm->dev);

	return err ? err : vm->dev->ops->vm_check(vm);
}

/* ---- Buffers ------------------------------------------------------------------------- */

#define BUFFER_FLAGS (NPU_BUFFER_CACHED | NPU_BUFFER_SHARED | NPU_BUFFER_READONLY | NPU_BUFFER_NO_MAP)

static uint64_t va_align(uint64_t bytes)
{
	return bytes >= NPU_HUGE_PAGE ? NPU_HUGE_PAGE : NPU_PAGE;
}

/* Give the buffer an address and map it there. */
static int buffer_place(struct npu_buffer *buf)
{
	struct npu_vm *vm = buf->vm;
	int err;

	pthread_mutex_lock(&vm->lock);
	err = npu_ranges_get(&vm->va, buf->bytes, va_align(buf->bytes), &buf->va);
	pthread_mutex_unlock(&vm->lock);
	if (err)
		return npu_fail(vm->dev, err, "no %" PRIu64 " bytes of free device addresses", buf->bytes);
	err = vm->dev->ops->vm_map(vm, buf, buf->va);
	if (err) {
		pthread_mutex_lock(&vm->lock);
		npu_ranges_put(&vm->va, buf->va, buf->bytes);
		pthread_mutex_unlock(&vm->lock);
	}
	return err;
}

static struct npu_buffer *buffer_new(struct npu_vm *vm, uint32_t flags)
{
	struct npu_buffer *buf = npu_alloc(vm->dev, vm->dev->ops->buffer_size);

	if (!buf) {
		npu_fail(vm->dev, -ENOMEM, "no memory for a buffer object");
		return NULL;
	}
	buf->vm = vm;
	buf->refs = 1;
	buf->flags = flags;
	return buf;
}

/* After the back end's part of creating or importing: place the buffer and hand it out, or free it. */
static int buffer_finish(struct npu_buffer *buf, int err, struct npu_buffer **out)
{
	struct npu_vm *vm = buf->vm;

	if (!err) {
		err = buffer_place(buf);
		if (err)
			vm->dev->ops->buffer_destroy(buf);
	}
	if (err) {
		npu_free(vm->dev, buf);
		return err;
	}
	npu_vm_ref(vm);
	*out = buf;
	return 0;
}

int npu_buffer_create(struct npu_vm *vm, uint64_t bytes, uint32_t flags, struct npu_buffer **out)
{
	struct npu_device *dev = vm->dev;
	struct npu_buffer *buf;
	int err = npu_device_enter(dev);

	*out = NULL;
	if (err)
		return err;
	if (!bytes || bytes > vm->va_size || (flags & ~BUFFER_FLAGS))
		return npu_fail(dev, -EINVAL, "buffer of %" PRIu64 " bytes, flags 0x%x: %s", bytes, flags,
				!bytes ? "no bytes" : bytes > vm->va_size ? "larger than the address space" :
				"unknown flags");
	buf = buffer_new(vm, flags);
	if (!buf)
		return -ENOMEM;
	buf->size = bytes;
	buf->bytes = (bytes + NPU_PAGE - 1) & ~(NPU_PAGE - 1);
	return buffer_finish(buf, dev->ops->buffer_create(buf), out);
}

int npu_buffer_import(struct npu_vm *vm, int fd, uint32_t flags, struct npu_buffer **out)
{
	struct npu_device *dev = vm->dev;
	struct npu_buffer *buf;
	int err = npu_device_enter(dev);

	*out = NULL;
	if (err)
		return err;
	if (flags & ~NPU_BUFFER_READONLY)
		return npu_fail(dev, -EINVAL, "import: flags 0x%x: only NPU_BUFFER_READONLY is possible", flags);
	buf = buffer_new(vm, flags | NPU_BUFFER_SHARED);
	if (!buf)
		return -ENOMEM;
	buf->imported = true;
	err = dev->ops->buffer_import(buf, fd);
	buf->size = buf->bytes;
	return buffer_finish(buf, err, out);
}

struct npu_buffer *npu_buffer_ref(struct npu_buffer *buf)
{
	atomic_fetch_add(&buf->refs, 1);
	return buf;
}

void npu_buffer_unref(struct npu_buffer *buf)
{
	struct npu_vm *vm;
	void *cpu;

	if (!buf || atomic_fetch_sub(&buf->refs, 1) != 1)
		return;
	vm = buf->vm;
	cpu = atomic_load(&buf->cpu);
	if (!npu_device_forked(vm->dev)) {
		if (cpu)
			vm->dev->ops->buffer_unmap(buf, cpu);
		vm->dev->ops->vm_unmap(vm, buf, buf->va);
		vm->dev->ops->buffer_destroy(buf);
	}
	pthread_mutex_lock(&vm->lock);
	npu_ranges_put(&vm->va, buf->va, buf->bytes);
	pthread_mutex_unlock(&vm->lock);
	npu_free(vm->dev, buf);
	npu_vm_unref(vm);
}

uint64_t npu_buffer_va(const struct npu_buffer *buf)
{
	return buf->va;
}

uint64_t npu_buffer_size(const struct npu_buffer *buf)
{
	return buf->size;
}

struct npu_vm *npu_buffer_vm(const struct npu_buffer *buf)
{
	return buf->vm;
}

void *npu_buffer_map(struct npu_buffer *buf)
{
	struct npu_device *dev = buf->vm->dev;
	void *cpu = atomic_load(&buf->cpu);

	if (cpu || npu_device_enter(dev))
		return cpu;
	if (buf->flags & NPU_BUFFER_NO_MAP) {
		npu_fail(dev, -EINVAL, "map: the buffer was made with NPU_BUFFER_NO_MAP");
		return NULL;
	}
	pthread_mutex_lock(&buf->vm->lock);
	cpu = atomic_load(&buf->cpu);
	if (!cpu && !dev->ops->buffer_map(buf, &cpu))
		atomic_store(&buf->cpu, cpu);
	pthread_mutex_unlock(&buf->vm->lock);
	return cpu;
}

static int check_range(struct npu_buffer *buf, const char *what, uint64_t offset, uint64_t bytes)
{
	if (offset > buf->size || bytes > buf->size - offset)
		return npu_fail(buf->vm->dev, -EINVAL,
				"%s: bytes %" PRIu64 " to %" PRIu64 " are outside the buffer of %" PRIu64, what,
				offset, offset + bytes, buf->size);
	return 0;
}

int npu_buffer_sync(struct npu_buffer *buf, enum npu_sync_direction direction, uint64_t offset, uint64_t bytes)
{
	struct npu_device *dev = buf->vm->dev;
	int err = npu_device_enter(dev);

	if (!err)
		err = check_range(buf, "sync", offset, bytes);
	if (err)
		return err;
	if (dev->info.coherent || !(buf->flags & NPU_BUFFER_CACHED) || buf->imported || !bytes)
		return 0;
	return dev->ops->buffer_sync(buf, direction, offset, bytes);
}

/* Where the CPU sees a range of the buffer. */
static int map_range(struct npu_buffer *buf, const char *what, uint64_t offset, uint64_t bytes, char **cpu)
{
	int err = npu_device_enter(buf->vm->dev);

	if (!err)
		err = check_range(buf, what, offset, bytes);
	if (err)
		return err;
	*cpu = npu_buffer_map(buf);
	if (!*cpu)
		return buf->flags & NPU_BUFFER_NO_MAP ? -EINVAL : -ENOMEM;
	*cpu += offset;
	return 0;
}

int npu_buffer_upload(struct npu_buffer *buf, uint64_t offset, const void *data, uint64_t bytes)
{
	char *cpu;
	int err = map_range(buf, "upload", offset, bytes, &cpu);

	if (err)
		return err;
	memcpy(cpu, data, bytes);
	return npu_buffer_sync(buf, NPU_SYNC_FOR_DEVICE, offset, bytes);
}

int npu_buffer_download(struct npu_buffer *buf, uint64_t offset, void *data, uint64_t bytes)
{
	char *cpu;
	int err = map_range(buf, "download", offset, bytes, &cpu);

	if (!err)
		err = npu_buffer_sync(buf, NPU_SYNC_FOR_CPU, offset, bytes);
	if (!err)
		memcpy(data, cpu, bytes);
	return err;
}

int npu_buffer_wait(struct npu_buffer *buf, int64_t timeout_ns)
{
	int err = npu_device_enter(buf->vm->dev);

	return err ? err : buf->vm->dev->ops->buffer_wait(buf, npu_deadline(timeout_ns));
}

int npu_buffer_export(struct npu_buffer *buf, int *fd)
{
	int err = npu_device_enter(buf->vm->dev);

	if (err)
		return err;
	if (!(buf->flags & NPU_BUFFER_SHARED))
		return npu_fail(buf->vm->dev, -EINVAL, "export: the buffer was made without NPU_BUFFER_SHARED");
	return buf->vm->dev->ops->buffer_export(buf, fd);
}
