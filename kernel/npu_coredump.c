// SPDX-License-Identifier: GPL-2.0-only
#include "npu_coredump.h"
int npu_coredump_init(struct npu_device *npu) { return 0; }
void npu_coredump_fini(struct npu_device *npu) { }
void npu_coredump_capture(struct npu_device *npu, struct npu_queue *queue, int id, u32 state,
			  const struct npu_fault_info *fault) { }
