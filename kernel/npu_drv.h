/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef NPU_DRV_H
#define NPU_DRV_H

#include <linux/workqueue.h>
#include <linux/xarray.h>

#define NPU_MAX_JOBS	1024	/* of one SUBMIT */
#define NPU_MAX_BINDS	1024	/* of one VM_BIND */
#define NPU_MAX_SYNC_OPS 1024	/* of one BO_SYNC */
#define NPU_MAX_OBJECTS	4096	/* VMs, and queues, of one file */

/**
 * struct npu_file - one open file
 */
struct npu_file {
	/** @vms: struct npu_vm by user's id. */
	struct xarray vms;
	/** @queues: struct npu_queue by user's id. */
	struct xarray queues;
	/** @stats: Of queues that have been destroyed. Protected by the lock of @queues. */
	struct {
		/** @active_ns: Device time. */
		u64 active_ns;
		/** @cycles: Core cycles. */
		u64 cycles;
	} stats;
};

/* Frees VMs, queues and binds, outside signalling paths. */
extern struct workqueue_struct *npu_cleanup_wq;

/* VMs and queues may outlive their files, but not the module. */
void npu_object_get(void);
void npu_object_put(void);

#endif /* NPU_DRV_H */
