/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * OpenNPU DRM/accel driver: user-space interface.
 */
#ifndef _UAPI_NPU_ACCEL_H_
#define _UAPI_NPU_ACCEL_H_

#include "drm.h"

#if defined(__cplusplus)
extern "C" {
#endif

/**
 * DOC: Rules of this interface
 *
 * - Structures are naturally aligned, have no hidden padding, and look the
 *   same to 32-bit and 64-bit user space. Pointers are __u64.
 * - Structures grow at the end only. The kernel takes shorter ones as if the
 *   rest were zero; longer ones are accepted when the tail is zero and refused
 *   with -E2BIG otherwise (ioctl arguments: drm_ioctl() copies and pads;
 *   members of arrays: stride of struct drm_npu_obj_array).
 * - Fields called pad, and unknown flags, must be zero: else -EINVAL.
 * - Zero means the old behaviour for each field added later.
 * - Object ids (VMs, queues) and GEM handles belong to the file. Id 0 is never
 *   valid.
 * - Timeouts are absolute, CLOCK_MONOTONIC, nanoseconds: ioctls restart.
 * - Buffers are shared through PRIME. Exporting an exclusive one is -EPERM.
 *   Importing another driver's is -EOPNOTSUPP where the device does not reach all
 *   memory of the machine: it would work on a copy.
 * - Any ioctl may return -ENODEV after the device has gone, -EFAULT for a bad
 *   user pointer, -ENOMEM, and -EINTR or a restart for a signal.
 */

/**
 * enum drm_npu_ioctl_id - ioctl numbers. Append only.
 */
enum drm_npu_ioctl_id {
	/** @DRM_NPU_DEV_QUERY: Ask what the device and the driver are and can. */
	DRM_NPU_DEV_QUERY = 0,
	/** @DRM_NPU_VM_CREATE: Make an address space. */
	DRM_NPU_VM_CREATE,
	/** @DRM_NPU_VM_DESTROY: Drop an address space. */
	DRM_NPU_VM_DESTROY,
	/** @DRM_NPU_VM_BIND: Map and unmap. */
	DRM_NPU_VM_BIND,
	/** @DRM_NPU_VM_GET_STATE: Is the VM usable? */
	DRM_NPU_VM_GET_STATE,
	/** @DRM_NPU_BO_CREATE: Make a buffer object. */
	DRM_NPU_BO_CREATE,
	/** @DRM_NPU_BO_MMAP_OFFSET: Offset for mmap() of a buffer object. */
	DRM_NPU_BO_MMAP_OFFSET,
	/** @DRM_NPU_BO_SYNC: CPU cache maintenance of cached buffer objects. */
	DRM_NPU_BO_SYNC,
	/** @DRM_NPU_BO_WAIT: Wait until jobs that may use the object have ended. */
	DRM_NPU_BO_WAIT,
	/** @DRM_NPU_BO_INFO: Size and flags of a buffer object. */
	DRM_NPU_BO_INFO,
	/** @DRM_NPU_QUEUE_CREATE: Make a queue. */
	DRM_NPU_QUEUE_CREATE,
	/** @DRM_NPU_QUEUE_DESTROY: Drop a queue, killing what runs on it. */
	DRM_NPU_QUEUE_DESTROY,
	/** @DRM_NPU_QUEUE_GET_STATE: Is the queue alive, and if not, why? */
	DRM_NPU_QUEUE_GET_STATE,
	/** @DRM_NPU_SUBMIT: Hand jobs to a queue. */
	DRM_NPU_SUBMIT,
};

#define DRM_NPU_IOCTL(n, t) DRM_IOWR(DRM_COMMAND_BASE + DRM_NPU_##n, struct drm_npu_##t)

#define DRM_IOCTL_NPU_DEV_QUERY		DRM_NPU_IOCTL(DEV_QUERY, dev_query)
#define DRM_IOCTL_NPU_VM_CREATE		DRM_NPU_IOCTL(VM_CREATE, vm_create)
#define DRM_IOCTL_NPU_VM_DESTROY	DRM_NPU_IOCTL(VM_DESTROY, vm_destroy)
#define DRM_IOCTL_NPU_VM_BIND		DRM_NPU_IOCTL(VM_BIND, vm_bind)
#define DRM_IOCTL_NPU_VM_GET_STATE	DRM_NPU_IOCTL(VM_GET_STATE, vm_get_state)
#define DRM_IOCTL_NPU_BO_CREATE		DRM_NPU_IOCTL(BO_CREATE, bo_create)
#define DRM_IOCTL_NPU_BO_MMAP_OFFSET	DRM_NPU_IOCTL(BO_MMAP_OFFSET, bo_mmap_offset)
#define DRM_IOCTL_NPU_BO_SYNC		DRM_NPU_IOCTL(BO_SYNC, bo_sync)
#define DRM_IOCTL_NPU_BO_WAIT		DRM_NPU_IOCTL(BO_WAIT, bo_wait)
#define DRM_IOCTL_NPU_BO_INFO		DRM_NPU_IOCTL(BO_INFO, bo_info)
#define DRM_IOCTL_NPU_QUEUE_CREATE	DRM_NPU_IOCTL(QUEUE_CREATE, queue_create)
#define DRM_IOCTL_NPU_QUEUE_DESTROY	DRM_NPU_IOCTL(QUEUE_DESTROY, queue_destroy)
#define DRM_IOCTL_NPU_QUEUE_GET_STATE	DRM_NPU_IOCTL(QUEUE_GET_STATE, queue_get_state)
#define DRM_IOCTL_NPU_SUBMIT		DRM_NPU_IOCTL(SUBMIT, submit)

/**
 * struct drm_npu_obj_array - array of objects in user memory
 */
struct drm_npu_obj_array {
	/** @stride: in: Size of one object; the kernel's size or another version's. */
	__u32 stride;
	/** @count: in: Number of objects; each use of this structure names its limit. */
	__u32 count;
	/** @array: in: Pointer to the first; 0 when @count is 0. */
	__u64 array;
};

/**
 * enum drm_npu_sync_flags - what a sync operation is
 */
enum drm_npu_sync_flags {
	/** @DRM_NPU_SYNC_SIGNAL: Signal the object when done; without it: wait for it before. */
	DRM_NPU_SYNC_SIGNAL = 1 << 0,
	/** @DRM_NPU_SYNC_TIMELINE: A point of a timeline syncobj; without it: a binary one. */
	DRM_NPU_SYNC_TIMELINE = 1 << 1,
};

/**
 * struct drm_npu_sync_op - one wait or signal of a syncobj
 *
 * A wait for a point that has no fence yet is -EINVAL, except when an earlier
 * job (or bind) of the same array signals it.
 *
 * Limits: 1024 operations of one job or bind, and 4096 of all jobs or binds of
 * one ioctl; more is -EINVAL. So an array of 1024 binds or jobs can have four
 * operations each, or a few of them many: larger sets go into several ioctls, or
 * into one timeline point that stands for them.
 */
struct drm_npu_sync_op {
	/** @flags: in: enum drm_npu_sync_flags. */
	__u32 flags;
	/** @handle: in: Syncobj handle. -ENOENT when it is none. */
	__u32 handle;
	/** @value: in: Timeline point; must be 0 for a binary one. */
	__u64 value;
};

/* ---- Device query ------------------------------------------------------------ */

/**
 * enum drm_npu_dev_query_type - what to ask
 */
enum drm_npu_dev_query_type {
	/** @DRM_NPU_DEV_QUERY_INFO: struct drm_npu_info. */
	DRM_NPU_DEV_QUERY_INFO = 0,
	/** @DRM_NPU_DEV_QUERY_COUNTERS: struct drm_npu_counters. Wakes the device. */
	DRM_NPU_DEV_QUERY_COUNTERS,
	/** @DRM_NPU_DEV_QUERY_PRIORITIES: struct drm_npu_priorities. */
	DRM_NPU_DEV_QUERY_PRIORITIES,
};

/**
 * struct drm_npu_dev_query - argument of DRM_IOCTL_NPU_DEV_QUERY
 *
 * Errors: -EINVAL unknown @type or @pad.
 */
struct drm_npu_dev_query {
	/** @type: in: enum drm_npu_dev_query_type. */
	__u32 type;
	/**
	 * @size: in/out: Size of the memory at @pointer; at most so much is
	 * written, and bytes that the kernel does not know are zeroed. Set to the
	 * kernel's size of the structure.
	 */
	__u32 size;
	/** @pointer: in: Where the structure goes; 0 = only tell @size. */
	__u64 pointer;
};

/**
 * struct drm_npu_info - the device, as its registers say, and the driver's limits
 */
struct drm_npu_info {
	/** @impl: IMPL register: implementer and product. */
	__u32 impl;
	/** @rev: REV register. */
	__u32 rev;
	/** @intf: INTF register: version of the hardware interface. */
	__u32 intf;
	/** @numerics: Numerics profile. */
	__u32 numerics;
	/** @errata: ERRATA register. */
	__u64 errata;
	/** @features: CAP_FEAT register, NPU_FEAT_* of npu_regs.h. */
	__u64 features;
	/** @ops: CAP_OPS register: bit n is operation n. */
	__u64 ops;
	/** @types_rows: Matmul weight types, GGUF rows. */
	__u32 types_rows;
	/** @types_tiles: Matmul weight types, 16-row tiles. */
	__u32 types_tiles;
	/** @max_macs: Bound of one command. */
	__u64 max_macs;
	/** @max_bytes: Bound of one command. */
	__u64 max_bytes;
	/** @max_stream: Largest stream, bytes. */
	__u32 max_stream;
	/** @hw_queues: Hardware queues. */
	__u32 hw_queues;
	/** @slots: Address-space slots. */
	__u32 slots;
	/** @va_bits: Bits of a device virtual address. */
	__u32 va_bits;
	/** @timer_hz: Rate of device timestamps. */
	__u32 timer_hz;
	/** @core_khz: Nominal core clock. */
	__u32 core_khz;
	/** @macs_i8: int8 MACs per core cycle; informative, as the rest. */
	__u32 macs_i8;
	/** @macs_f: F32 (31:16) and F16 (15:0) MACs per core cycle. */
	__u32 macs_f;
	/** @lanes: Vector lanes. */
	__u32 lanes;
	/** @sram_kb: On-chip memory. */
	__u32 sram_kb;
	/** @dram_mbps: Memory bandwidth, MB/s. */
	__u32 dram_mbps;
	/** @coherent: 1: no BO_SYNC is needed on this system. */
	__u32 coherent;
	/** @max_jobs: Jobs of one SUBMIT. */
	__u32 max_jobs;
	/**
	 * @max_pending: Jobs that a queue holds before SUBMIT returns -EAGAIN; 0 = only
	 * memory limits.
	 */
	__u32 max_pending;
};

/**
 * struct drm_npu_counters - device counters since probe; device resets do not set them back
 */
struct drm_npu_counters {
	/** @timer: TIMER at the time of reading. */
	__u64 timer;
	/** @cycles: Core cycles while not idle. */
	__u64 cycles;
	/** @engine_cycles: Busy cycles: MATRIX, VECTOR, COPY. */
	__u64 engine_cycles[3];
	/** @bytes_read: From memory. */
	__u64 bytes_read;
	/** @bytes_written: To memory. */
	__u64 bytes_written;
	/** @bytes_sram: To and from on-chip memory. */
	__u64 bytes_sram;
	/** @macs: Multiply-accumulates. */
	__u64 macs;
	/** @commands: Commands retired. */
	__u64 commands;
	/** @walks: Table walks. */
	__u64 walks;
	/** @switches: Switches between queues. */
	__u64 switches;
	/** @core_khz: Present core clock. */
	__u32 core_khz;
	/** @resets: Device resets since probe. */
	__u32 resets;
};

/**
 * enum drm_npu_priority - queue priorities
 */
enum drm_npu_priority {
	/** @DRM_NPU_PRIORITY_LOW: Background. */
	DRM_NPU_PRIORITY_LOW = 0,
	/** @DRM_NPU_PRIORITY_MEDIUM: The usual one. */
	DRM_NPU_PRIORITY_MEDIUM,
	/** @DRM_NPU_PRIORITY_HIGH: Interactive. */
	DRM_NPU_PRIORITY_HIGH,
	/** @DRM_NPU_PRIORITY_REALTIME: Needs CAP_SYS_NICE: -EACCES otherwise. */
	DRM_NPU_PRIORITY_REALTIME,
};

/**
 * struct drm_npu_priorities - which priorities this file may use
 */
struct drm_npu_priorities {
	/** @allowed_mask: Bit n: priority n. */
	__u32 allowed_mask;
	/** @pad: Zero. */
	__u32 pad;
};

/* ---- Address spaces ------------------------------------------------------------ */

/**
 * struct drm_npu_vm_create - argument of DRM_IOCTL_NPU_VM_CREATE
 *
 * Errors: -EINVAL @flags or @pad; -ENOSPC more than 4096 VMs of this file.
 */
struct drm_npu_vm_create {
	/** @flags: in: Zero. */
	__u32 flags;
	/** @id: out: The VM. */
	__u32 id;
	/** @va_start: out: First address that user space may bind. */
	__u64 va_start;
	/** @va_size: out: Bytes from there; the rest of the space is the kernel's. */
	__u64 va_size;
};

/**
 * struct drm_npu_vm_destroy - argument of DRM_IOCTL_NPU_VM_DESTROY
 *
 * Queues of the VM keep it until they are destroyed, but no bind is accepted
 * any more. Errors: -EINVAL @pad; -ENOENT no such VM.
 */
struct drm_npu_vm_destroy {
	/** @id: in: The VM. */
	__u32 id;
	/** @pad: in: Zero. */
	__u32 pad;
};

/**
 * enum drm_npu_vm_bind_op_type - kind of a bind
 */
enum drm_npu_vm_bind_op_type {
	/** @DRM_NPU_VM_BIND_MAP: Map a range of a BO; what was mapped there before is replaced. */
	DRM_NPU_VM_BIND_MAP = 0,
	/** @DRM_NPU_VM_BIND_UNMAP: Unmap a range; holes in it are fine. */
	DRM_NPU_VM_BIND_UNMAP,
	/** @DRM_NPU_VM_BIND_SYNC_ONLY: Only the sync operations; queued binds only. */
	DRM_NPU_VM_BIND_SYNC_ONLY,
};

/**
 * enum drm_npu_vm_bind_op_flags - properties of a mapping
 */
enum drm_npu_vm_bind_op_flags {
	/** @DRM_NPU_VM_BIND_READONLY: The device may not write. */
	DRM_NPU_VM_BIND_READONLY = 1 << 0,
	/** @DRM_NPU_VM_BIND_UNCACHED: Do not snoop CPU caches, even where the device could. */
	DRM_NPU_VM_BIND_UNCACHED = 1 << 1,
};

/**
 * struct drm_npu_vm_bind_op - one bind
 */
struct drm_npu_vm_bind_op {
	/** @type: in: enum drm_npu_vm_bind_op_type. */
	__u32 type;
	/** @flags: in: enum drm_npu_vm_bind_op_flags; MAP only. */
	__u32 flags;
	/** @bo_handle: in: MAP: the BO; else 0. -ENOENT when it is none. */
	__u32 bo_handle;
	/** @pad: in: Zero. */
	__u32 pad;
	/** @bo_offset: in: MAP: first byte, a multiple of 4096; else 0. */
	__u64 bo_offset;
	/** @va: in: Device virtual address, a multiple of 4096, in the user range. */
	__u64 va;
	/** @size: in: Bytes, a multiple of 4096, not 0 (SYNC_ONLY: @va and @size are 0). */
	__u64 size;
	/** @syncs: in: struct drm_npu_sync_op, at most 1024; queued binds only. */
	struct drm_npu_obj_array syncs;
};

/**
 * enum drm_npu_vm_bind_flags - how binds are done
 */
enum drm_npu_vm_bind_flags {
	/**
	 * @DRM_NPU_VM_BIND_ASYNC: Queue them: in order with other queued binds of
	 * the VM, each after its waits. A failure makes the VM unusable (see
	 * DRM_IOCTL_NPU_VM_GET_STATE). Without the flag: done when the ioctl
	 * returns, after the queued binds of the VM.
	 */
	DRM_NPU_VM_BIND_ASYNC = 1 << 0,
};

/**
 * struct drm_npu_vm_bind - argument of DRM_IOCTL_NPU_VM_BIND
 *
 * Errors: -EINVAL bad range, alignment, type, flags, pad, syncs on an immediate
 * bind, more than 1024 @ops or 4096 sync operations of all of them, exclusive BO of
 * another VM; -ENOENT no such VM, BO or syncobj; -EIO the VM is unusable, or the
 * device was reset before it had forgotten what was mapped; -ETIMEDOUT the device's
 * MMU did not answer and was reset, the call may be repeated. In an
 * immediate array, operations before the failed one stay done, and @ops.count is set to
 * their number.
 */
struct drm_npu_vm_bind {
	/** @vm_id: in: The VM. */
	__u32 vm_id;
	/** @flags: in: enum drm_npu_vm_bind_flags. */
	__u32 flags;
	/** @ops: in/out: struct drm_npu_vm_bind_op. At most 1024. */
	struct drm_npu_obj_array ops;
};

/**
 * enum drm_npu_vm_state - state of a VM
 */
enum drm_npu_vm_state {
	/** @DRM_NPU_VM_USABLE: All is well. */
	DRM_NPU_VM_USABLE = 0,
	/** @DRM_NPU_VM_UNUSABLE: A queued bind failed; only destruction is left. */
	DRM_NPU_VM_UNUSABLE,
};

/**
 * struct drm_npu_vm_get_state - argument of DRM_IOCTL_NPU_VM_GET_STATE
 *
 * Errors: -ENOENT no such VM.
 */
struct drm_npu_vm_get_state {
	/** @vm_id: in: The VM. */
	__u32 vm_id;
	/** @state: out: enum drm_npu_vm_state. */
	__u32 state;
};

/* ---- Buffer objects -------------------------------------------------------------- */

/**
 * enum drm_npu_bo_flags - kind of buffer object
 */
enum drm_npu_bo_flags {
	/**
	 * @DRM_NPU_BO_CACHED: CPU mappings are cached; on a non-coherent system use
	 * BO_SYNC. Default: write-combined.
	 */
	DRM_NPU_BO_CACHED = 1 << 0,
	/** @DRM_NPU_BO_NO_MMAP: The CPU will never map it: mmap() is -EINVAL. */
	DRM_NPU_BO_NO_MMAP = 1 << 1,
};

/**
 * struct drm_npu_bo_create - argument of DRM_IOCTL_NPU_BO_CREATE
 *
 * The memory is zero. It is taken, as a whole, when the BO is first mapped (by
 * VM_BIND, BO_SYNC or mmap()), stays in memory until the BO and its mappings go, is
 * never swapped out, and is charged to the memory cgroup of the process that mapped it
 * first. The driver sets no limit of its own: a client may ask for gigabytes, and what
 * keeps it from taking the machine's memory is memory.max of its cgroup. A mapping
 * that finds no memory fails with -ENOMEM; the OOM killer is not called for it, but
 * whoever asks for memory next may call it.
 *
 * Errors: -EINVAL @size 0 or more than &drm_npu_vm_create.va_size, @flags, @pad;
 * -ENOMEM @size is more than all memory of the machine; -ENOENT no VM
 * @exclusive_vm_id.
 */
struct drm_npu_bo_create {
	/** @size: in/out: Bytes; rounded up to the page size. */
	__u64 size;
	/** @flags: in: enum drm_npu_bo_flags. */
	__u32 flags;
	/**
	 * @exclusive_vm_id: in: Only this VM will ever map it, and it will never
	 * be exported: jobs then do not pay for it. 0 = any VM.
	 */
	__u32 exclusive_vm_id;
	/** @handle: out: GEM handle, closed with DRM_IOCTL_GEM_CLOSE. */
	__u32 handle;
	/** @pad: in: Zero. */
	__u32 pad;
};

/**
 * struct drm_npu_bo_mmap_offset - argument of DRM_IOCTL_NPU_BO_MMAP_OFFSET
 *
 * Errors: -ENOENT no such BO; -EINVAL @pad, NO_MMAP or imported BO.
 */
struct drm_npu_bo_mmap_offset {
	/** @handle: in: GEM handle. */
	__u32 handle;
	/** @pad: in: Zero. */
	__u32 pad;
	/** @offset: out: For mmap() on the device file. */
	__u64 offset;
};

/**
 * enum drm_npu_bo_sync_type - direction of cache maintenance
 */
enum drm_npu_bo_sync_type {
	/** @DRM_NPU_BO_SYNC_FOR_DEVICE: The CPU wrote; the device will access. */
	DRM_NPU_BO_SYNC_FOR_DEVICE = 0,
	/** @DRM_NPU_BO_SYNC_FOR_CPU: The device wrote; the CPU will read. */
	DRM_NPU_BO_SYNC_FOR_CPU,
};

/**
 * struct drm_npu_bo_sync_op - one range
 */
struct drm_npu_bo_sync_op {
	/** @handle: in: GEM handle. */
	__u32 handle;
	/** @type: in: enum drm_npu_bo_sync_type. */
	__u32 type;
	/** @offset: in: First byte. */
	__u64 offset;
	/** @size: in: Bytes; the range must lie in the BO. */
	__u64 size;
};

/**
 * struct drm_npu_bo_sync - argument of DRM_IOCTL_NPU_BO_SYNC
 *
 * Nothing happens for write-combined BOs and on coherent systems. Errors: -ENOENT no such BO;
 * -EINVAL type, range, pad, imported BO.
 */
struct drm_npu_bo_sync {
	/** @ops: in: struct drm_npu_bo_sync_op. At most 1024. */
	struct drm_npu_obj_array ops;
};

/**
 * struct drm_npu_bo_wait - argument of DRM_IOCTL_NPU_BO_WAIT
 *
 * Waits for every job that was submitted before and may use the BO. Errors: -ENOENT no
 * such BO; -EINVAL @pad; -ETIMEDOUT (with @timeout_ns 0 or past: -EBUSY).
 */
struct drm_npu_bo_wait {
	/** @handle: in: GEM handle. */
	__u32 handle;
	/** @pad: in: Zero. */
	__u32 pad;
	/** @timeout_ns: in: Absolute CLOCK_MONOTONIC; negative = for ever. */
	__s64 timeout_ns;
};

/**
 * struct drm_npu_bo_info - argument of DRM_IOCTL_NPU_BO_INFO
 *
 * Errors: -ENOENT no such BO.
 */
struct drm_npu_bo_info {
	/** @handle: in: GEM handle. */
	__u32 handle;
	/** @flags: out: enum drm_npu_bo_flags as created; imported: 0. */
	__u32 flags;
	/** @size: out: Bytes. */
	__u64 size;
	/** @imported: out: 1 if it came through PRIME from elsewhere. */
	__u32 imported;
	/** @exclusive: out: 1 if it belongs to one VM. */
	__u32 exclusive;
};

/* ---- Queues ------------------------------------------------------------------------ */

/**
 * struct drm_npu_queue_create - argument of DRM_IOCTL_NPU_QUEUE_CREATE
 *
 * A queue runs its jobs in order, on one VM. Queues may outnumber the device's.
 * Errors: -EINVAL @flags, @pad, @priority, @timeout_ms; -EACCES priority; -ENOENT no such VM;
 * -EIO the VM is unusable; -ENOSPC more than 4096 queues of this file.
 */
struct drm_npu_queue_create {
	/** @vm_id: in: The VM. */
	__u32 vm_id;
	/** @priority: in: enum drm_npu_priority. */
	__u32 priority;
	/** @flags: in: Zero. */
	__u32 flags;
	/**
	 * @timeout_ms: in: Active time of a job after which it is a hang; 0 = the driver's
	 * default; at most that of the module parameter.
	 */
	__u32 timeout_ms;
	/** @id: out: The queue. */
	__u32 id;
	/** @pad: in: Zero. */
	__u32 pad;
};

/**
 * struct drm_npu_queue_destroy - argument of DRM_IOCTL_NPU_QUEUE_DESTROY
 *
 * Errors: -EINVAL @pad; -ENOENT no such queue.
 */
struct drm_npu_queue_destroy {
	/** @id: in: The queue. */
	__u32 id;
	/** @pad: in: Zero. */
	__u32 pad;
};

/**
 * enum drm_npu_queue_state - state of a queue
 */
enum drm_npu_queue_state {
	/** @DRM_NPU_QUEUE_ALIVE: Accepts jobs. */
	DRM_NPU_QUEUE_ALIVE = 0,
	/**
	 * @DRM_NPU_QUEUE_FAULT: A job of it faulted; fault_* say how. Fences carry -EFAULT
	 * (commands and addresses) or -EIO (bus, memory).
	 */
	DRM_NPU_QUEUE_FAULT,
	/** @DRM_NPU_QUEUE_TIMEOUT: A job of it exceeded its time. Its fence carries -ETIMEDOUT. */
	DRM_NPU_QUEUE_TIMEOUT,
	/**
	 * @DRM_NPU_QUEUE_INNOCENT: A device reset that another queue caused ended a
	 * started job. Its fence carries -ECANCELED. The queue stays alive for new jobs.
	 */
	DRM_NPU_QUEUE_INNOCENT,
	/** @DRM_NPU_QUEUE_VM_UNUSABLE: Its VM became unusable. */
	DRM_NPU_QUEUE_VM_UNUSABLE,
	/** @DRM_NPU_QUEUE_DEVICE_LOST: The device is wedged or gone. Fences carry -ENODEV. */
	DRM_NPU_QUEUE_DEVICE_LOST,
};

/**
 * struct drm_npu_queue_get_state - argument of DRM_IOCTL_NPU_QUEUE_GET_STATE
 *
 * Errors: -EINVAL @pad; -ENOENT no such queue.
 */
struct drm_npu_queue_get_state {
	/** @id: in: The queue. */
	__u32 id;
	/** @state: out: enum drm_npu_queue_state. */
	__u32 state;
	/**
	 * @fault: out: FAULT register (NPU_FAULT_* of npu_regs.h, engine, operand,
	 * opcode); 0 = none.
	 */
	__u32 fault;
	/** @fault_tag: out: Tag of the command. */
	__u32 fault_tag;
	/** @fault_addr: out: Faulting address. */
	__u64 fault_addr;
	/** @fault_pc: out: Address of the command. */
	__u64 fault_pc;
	/**
	 * @progress: out: Value of the last PROGRESS command of the present job; of a
	 * started queue, as last seen.
	 */
	__u64 progress;
	/** @active_ns: out: Device time that the queue has used. */
	__u64 active_ns;
	/** @innocent_resets: out: Started jobs lost to device resets that others caused. */
	__u32 innocent_resets;
	/** @pad: in: Zero. */
	__u32 pad;
};

/* ---- Submission ---------------------------------------------------------------------- */

/**
 * struct drm_npu_job - one job
 */
struct drm_npu_job {
	/** @stream: in: Address of the command stream, a multiple of 16, in the user range. */
	__u64 stream;
	/**
	 * @stream_size: in: Bytes, a multiple of 16, 1..max_stream. 0: no commands, sync
	 * operations only (then @stream, @nregs are 0).
	 */
	__u32 stream_size;
	/** @nregs: in: Initial scalar registers, 0..32. */
	__u32 nregs;
	/** @regs: in: Pointer to @nregs values (__u64); 0 when there are none. */
	__u64 regs;
	/** @flags: in: Zero. */
	__u32 flags;
	/**
	 * @budget_us: in: Active time after which the job is stopped; 0 = the queue's
	 * timeout alone.
	 */
	__u32 budget_us;
	/**
	 * @syncs: in: struct drm_npu_sync_op: waits before it starts, signals when it has
	 * ended. At most 1024, and 4096 in one SUBMIT.
	 */
	struct drm_npu_obj_array syncs;
};

/**
 * struct drm_npu_submit - argument of DRM_IOCTL_NPU_SUBMIT
 *
 * All jobs are accepted, or none. There is no implicit synchronisation: use
 * syncobjs, also with foreign buffers (DMA_BUF_IOCTL_EXPORT_SYNC_FILE).
 *
 * Errors: -EINVAL a bad field, wait for a point without a fence, too many jobs; -ENOENT
 * no such queue or syncobj; -EIO the queue is dead or its VM unusable (see
 * DRM_IOCTL_NPU_QUEUE_GET_STATE).
 */
struct drm_npu_submit {
	/** @queue_id: in: The queue. */
	__u32 queue_id;
	/** @flags: in: Zero. */
	__u32 flags;
	/** @jobs: in: struct drm_npu_job, 1..max_jobs, in order. */
	struct drm_npu_obj_array jobs;
};

#if defined(__cplusplus)
}
#endif

#endif /* _UAPI_NPU_ACCEL_H_ */
