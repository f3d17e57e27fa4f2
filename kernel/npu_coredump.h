/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Dumps of hangs and faults, published through devcoredump.
 */
#ifndef NPU_COREDUMP_H
#define NPU_COREDUMP_H

#include <linux/types.h>

struct npu_device;
struct npu_fault_info;
struct npu_queue;

#ifdef CONFIG_DEV_COREDUMP
int npu_coredump_init(struct npu_device *npu);
void npu_coredump_fini(struct npu_device *npu);
void npu_coredump_capture(struct npu_device *npu, struct npu_queue *queue, int id, u32 state,
			  const struct npu_fault_info *fault);
#else
static inline int npu_coredump_init(struct npu_device *npu) { return 0; }
static inline void npu_coredump_fini(struct npu_device *npu) { }
static inline void npu_coredump_capture(struct npu_device *npu, struct npu_queue *queue, int id,
					u32 state, const struct npu_fault_info *fault) { }
#endif

#endif /* NPU_COREDUMP_H */
