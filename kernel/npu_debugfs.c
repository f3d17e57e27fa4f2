// SPDX-License-Identifier: GPL-2.0-only
#include "npu_debugfs.h"
void npu_debugfs_init(struct npu_device *npu) { }
void npu_debugfs_fini(struct npu_device *npu) { }
