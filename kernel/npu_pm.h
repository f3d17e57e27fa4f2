/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef NPU_PM_H
#define NPU_PM_H

#include <linux/pm.h>

struct npu_device;

extern const struct dev_pm_ops npu_pm_ops;

void npu_pm_init(struct npu_device *npu);
void npu_pm_start(struct npu_device *npu);
void npu_pm_fini(struct npu_device *npu);

#endif /* NPU_PM_H */
