// SPDX-License-Identifier: GPL-2.0-only
/*
 * The interrupt. The line may be shared and the device unclocked, so the
 * handler touches registers only while irq_state.on says that it may.
 */
#include <linux/dma-fence.h>
#include <linux/interrupt.h>

#include <drm/drm_print.h>

#include "npu_device.h"
#include "npu_irq.h"
#include "npu_mmu.h"
#include "npu_sched.h"
#include "npu_trace.h"

/*
 * Clear what was read and nothing else, and before it is served: an event that
 * comes later sets its bit again.
 */
static u32 npu_irq_take(struct npu_device *npu, u32 reg)
{
	u32 bits = npu_read(npu, reg);

	if (bits)
		npu_write(npu, reg, bits);
	return bits;
}

static irqreturn_t npu_irq_serve(struct npu_device *npu)
{
	u32 summary = npu_read(npu, NPU_IRQ_SUMMARY);
	u32 bits;

	/* All ones: the device has gone. The scheduler's tick will find out. */
	if (!summary || summary == ~0u)
		return IRQ_NONE;

	if (summary & NPU_IRQ_SUM_DONE) {
		bits = npu_irq_take(npu, NPU_IRQ_DONE);
		trace_npu_irq_done(npu->drm.dev, bits);
		npu_sched_irq_done(npu, bits);
	}
	if (summary & NPU_IRQ_SUM_FAULT) {
		bits = npu_irq_take(npu, NPU_IRQ_FAULT);
		trace_npu_irq_fault(npu->drm.dev, bits);
		npu_sched_irq_fault(npu, bits);
	}
	if (summary & NPU_IRQ_SUM_EVENT) {
		npu_irq_take(npu, NPU_IRQ_EVENT);
		npu_sched_irq_event(npu);
	}
	if (summary & NPU_IRQ_SUM_GLOBAL) {
		bits = npu_irq_take(npu, NPU_IRQ_GLOBAL);
		if (bits & NPU_IRQ_G_FATAL)
			npu_sched_irq_fatal(npu);
	}

	return IRQ_HANDLED;
}

static irqreturn_t npu_irq_handler(int irq, void *data)
{
	struct npu_device *npu = data;
	irqreturn_t ret = IRQ_NONE;
	bool cookie;

	cookie = dma_fence_begin_signalling();
	spin_lock(&npu->irq_state.lock);
	if (npu->irq_state.on)
		ret = npu_irq_serve(npu);
	spin_unlock(&npu->irq_state.lock);
	dma_fence_end_signalling(cookie);

	return ret;
}

int npu_irq_init(struct npu_device *npu)
{
	/* Managed: freed after unplug, which has disabled the handler's work by then. */
	return devm_request_irq(npu->drm.dev, npu->irq, npu_irq_handler, IRQF_SHARED, "npu", npu);
}

void npu_irq_enable(struct npu_device *npu)
{
	/* Whatever is left from before is of no interest to anyone. */
	npu_write(npu, NPU_IRQ_DONE, ~0u);
	npu_write(npu, NPU_IRQ_FAULT, ~0u);
	npu_write(npu, NPU_IRQ_EVENT, ~0u);
	npu_write(npu, NPU_IRQ_GLOBAL, ~0u);

	spin_lock_irq(&npu->irq_state.lock);
	npu->irq_state.on = true;
	npu_write(npu, NPU_IRQ_DONE_EN, ~0u);
	npu_write(npu, NPU_IRQ_FAULT_EN, ~0u);
	npu_write(npu, NPU_IRQ_EVENT_EN, ~0u);
	npu_write(npu, NPU_IRQ_GLOBAL_EN, NPU_IRQ_G_FATAL);
	spin_unlock_irq(&npu->irq_state.lock);
}

/* When this returns, no handler runs, and none will touch a register. */
void npu_irq_disable(struct npu_device *npu)
{
	bool was_on;

	spin_lock_irq(&npu->irq_state.lock);
	was_on = npu->irq_state.on;
	npu->irq_state.on = false;
	if (was_on && !npu_device_lost(npu)) {
		npu_write(npu, NPU_IRQ_DONE_EN, 0);
		npu_write(npu, NPU_IRQ_FAULT_EN, 0);
		npu_write(npu, NPU_IRQ_EVENT_EN, 0);
		npu_write(npu, NPU_IRQ_GLOBAL_EN, 0);
	}
	spin_unlock_irq(&npu->irq_state.lock);
}
