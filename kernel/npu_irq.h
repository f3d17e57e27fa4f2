/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef NPU_IRQ_H
#define NPU_IRQ_H

struct npu_device;

int npu_irq_init(struct npu_device *npu);
void npu_irq_enable(struct npu_device *npu);
void npu_irq_disable(struct npu_device *npu);

#endif /* NPU_IRQ_H */
