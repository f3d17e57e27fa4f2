/* SPDX-License-Identifier: MIT */
/*
 * libnpu: memory that the device reaches.
 */
#ifndef NPU_BUFFER_H
#define NPU_BUFFER_H

#include <npu/device.h>

#ifdef __cplusplus
extern "C" {
#endif

struct npu_buffer;

enum npu_buffer_flags {
	/* CPU mappings are cached: for what the CPU reads. Needs npu_buffer_sync() unless the device is coherent. */
	NPU_BUFFER_CACHED	= 1 << 0,
	/* May be exported as a dma-buf. Without it the buffer belongs to its VM alone, which makes jobs cheaper. */
	NPU_BUFFER_SHARED	= 1 << 1,
	/* The device may not write it. */
	NPU_BUFFER_READONLY	= 1 << 2,
	/* The CPU never maps it. */
	NPU_BUFFER_NO_MAP	= 1 << 3,
};

/*
 * Allocate @bytes of zeroed memory and map it into @vm. Sizes from 2 MiB on get addresses
 * aligned to 2 MiB, for huge pages; others 4 KiB. The buffer holds a reference to @vm.
 * Errors: -EINVAL no bytes or unknown flags; -ENOMEM; -ENOSPC address space full; -EIO the VM is unusable.
 */
NPU_API int npu_buffer_create(struct npu_vm *vm, uint64_t bytes, uint32_t flags, struct npu_buffer **out);

/*
 * References. The last one unmaps and frees the memory. Jobs do not hold references: drop a
 * buffer only when the jobs that use it have ended.
 */
NPU_API struct npu_buffer *npu_buffer_ref(struct npu_buffer *buf);
NPU_API void npu_buffer_unref(struct npu_buffer *buf);

NPU_API uint64_t npu_buffer_va(const struct npu_buffer *buf);	/* device virtual address of the first byte */
NPU_API uint64_t npu_buffer_size(const struct npu_buffer *buf);	/* as asked for */
NPU_API struct npu_vm *npu_buffer_vm(const struct npu_buffer *buf);

/*
 * Where the CPU sees it: mapped on first use, valid until the buffer is freed. NULL: NO_MAP, or
 * out of address space (npu_device_error()).
 */
NPU_API void *npu_buffer_map(struct npu_buffer *buf);

enum npu_sync_direction {
	NPU_SYNC_FOR_DEVICE,	/* the CPU wrote, the device will access */
	NPU_SYNC_FOR_CPU,	/* the device wrote, the CPU will read */
};

/* Cache maintenance of a range; does nothing where none is needed. -EINVAL: range outside. */
NPU_API int npu_buffer_sync(struct npu_buffer *buf, enum npu_sync_direction direction, uint64_t offset, uint64_t bytes);

/* Copy into and out of the buffer, with the maintenance. -EINVAL: range outside, or NO_MAP. */
NPU_API int npu_buffer_upload(struct npu_buffer *buf, uint64_t offset, const void *data, uint64_t bytes);
NPU_API int npu_buffer_download(struct npu_buffer *buf, uint64_t offset, void *data, uint64_t bytes);

/*
 * Wait until jobs submitted before that may use the buffer have ended; @timeout_ns relative, negative = for ever.
 * -ETIME when it has passed.
 */
NPU_API int npu_buffer_wait(struct npu_buffer *buf, int64_t timeout_ns);

/* A new file descriptor (dma-buf) for another process or driver. -EINVAL without NPU_BUFFER_SHARED. */
NPU_API int npu_buffer_export(struct npu_buffer *buf, int *fd);
/*
 * Map a dma-buf into @vm (it may come from another driver); @flags: NPU_BUFFER_READONLY or 0.
 * @fd stays the caller's. The software device takes what its own export made, and any other descriptor that
 * mmap() accepts as shared and writable.
 */
NPU_API int npu_buffer_import(struct npu_vm *vm, int fd, uint32_t flags, struct npu_buffer **out);

#ifdef __cplusplus
}
#endif
#endif /* NPU_BUFFER_H */
