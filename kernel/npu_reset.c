// SPDX-License-Identifier: GPL-2.0-only
/*
 * Recovery: the smallest reset that helps.
 *
 * A queue whose job faults or hangs is reset alone; others do not notice. If
 * that does not end, the device is reset through its register, then through its
 * reset line and power; if that fails as well, the device is lost. A device
 * reset ends the started jobs of other queues, which are innocent and live on.
 *
 * All functions are called with bind_lock held. Memory that a job uses is kept
 * until the hardware has forgotten the job: its fence is signalled afterwards.
 */
#include <linux/dma-fence.h>
#include <linux/iopoll.h>
#include <linux/jiffies.h>

#include <drm/drm_print.h>

#include "npu_compat.h"
#include "npu_coredump.h"
#include "npu_device.h"
#include "npu_drv.h"
#include "npu_irq.h"
#include "npu_mmu.h"
#include "npu_queue.h"
#include "npu_sched.h"
#include "npu_trace.h"

#define NPU_QUEUE_RESET_TIMEOUT_US	(2000 * USEC_PER_MSEC)

/*
 * The hardware stops a job that exceeds its budget. The driver steps in when the
 * hardware does not: with a margin, so that it does not race with it, and by the
 * wall clock when device time stands still: generously, because a model or an
 * FPGA may be a thousand times slower than its device time.
 */
#define NPU_HANG_MARGIN_MS	250
#define NPU_HANG_WALL_MS	10000

/* ---- Faults -------------------------------------------------------------- */

static void npu_fault_read(struct npu_device *npu, int id, struct npu_fault_info *fault)
{
	u32 qc = NPU_QC(id);

	fault->fault = npu_read(npu, qc + NPU_QC_FAULT);
	fault->tag = npu_read(npu, qc + NPU_QC_FAULT_TAG);
	fault->addr = npu_read64(npu, qc + NPU_QC_FAULT_ADDR_LO);
	fault->pc = npu_read64(npu, qc + NPU_QC_FAULT_PC_LO);
	fault->seqno = npu_read64(npu, qc + NPU_QC_FAULT_SEQNO_LO);
}

/* Why the queue ends, and the error of the job's fence. */
static u32 npu_fault_state(const struct npu_fault_info *fault, int *error)
{
	switch (NPU_FAULT_CODE(fault->fault)) {
	case NPU_FAULT_WATCHDOG:
	case NPU_FAULT_BUDGET:
	case NPU_FAULT_BLOCKED:
		*error = -ETIMEDOUT;
		return DRM_NPU_QUEUE_TIMEOUT;
	case NPU_FAULT_WALK_BUS:
	case NPU_FAULT_TABLE:
	case NPU_FAULT_SLOT:
	case NPU_FAULT_BUS:
	case NPU_FAULT_ECC:
	case NPU_FAULT_DESCRIPTOR:
	case NPU_FAULT_DOORBELL:
	case NPU_FAULT_RING:
	case NPU_FAULT_IMAGE:
	case NPU_FAULT_INTERNAL:
		*error = -EIO;
		return DRM_NPU_QUEUE_FAULT;
	default:
		*error = -EFAULT;
		return DRM_NPU_QUEUE_FAULT;
	}
}

/* ---- Reset of one queue -------------------------------------------------- */

static int npu_hwq_reset(struct npu_device *npu, int id)
{
	u32 status;
	int ret;

	if (!(npu->info.features & NPU_FEAT_QUEUE_RESET))
		return -EOPNOTSUPP;
	if (npu_inject(npu, NPU_INJECT_QUEUE_RESET))
		return -ETIMEDOUT;

	npu_write(npu, NPU_QC(id) + NPU_QC_CMD, NPU_QCMD_RESET);
	ret = readl_poll_timeout(npu->iomem + NPU_QC(id) + NPU_QC_STATUS, status,
				 status & NPU_QSTATUS_RESET_FAILED ||
				 !(status & NPU_QSTATUS_BUSY), 5, NPU_QUEUE_RESET_TIMEOUT_US);
	if (ret)
		return ret;
	if (status & NPU_QSTATUS_RESET_FAILED || NPU_QSTATE(status) != NPU_QSTATE_STOPPED)
		return -EIO;

	return 0;
}

/**
 * npu_reset_end_queue() - End a queue that has just been unpublished
 * @sched: Hardware queues.
 * @queue: Queue; the reference of its binding is dropped.
 * @id: Hardware queue that it had.
 * @state: Why it ends.
 * @error: Error of its oldest fence.
 * @fault: Fault record, or NULL.
 */
void npu_reset_end_queue(struct npu_sched *sched, struct npu_queue *queue, int id, u32 state,
			 int error, const struct npu_fault_info *fault)
{
	struct npu_device *npu = sched->npu;
	int ret;

	npu_hwq_save(queue, id, 0);
	ret = npu_hwq_reset(npu, id);
	trace_npu_queue_reset(npu->drm.dev, queue->id, id, ret);
	if (ret) {
		drm_warn(&npu->drm, "hardware queue %d cannot be reset alone (%d)\n", id, ret);
		npu_reset_device(sched, queue);
	}

	npu_queue_kill(queue, state, error, fault);
	npu_sched_release(sched, queue);
}

/* A queue did not stop when told to, or had faulted before: find out which. */
void npu_reset_hung_suspend(struct npu_sched *sched, struct npu_queue *queue, int id)
{
	struct npu_device *npu = sched->npu;
	u32 state = DRM_NPU_QUEUE_TIMEOUT;
	struct npu_fault_info fault = { };
	int error = -ETIMEDOUT;

	npu_fault_read(npu, id, &fault);
	if (fault.fault)
		state = npu_fault_state(&fault, &error);
	npu_coredump_capture(npu, queue, id, state, &fault);
	npu_reset_end_queue(sched, queue, id, state, error, &fault);
}

static void npu_reset_fault(struct npu_sched *sched, int id)
{
	struct npu_device *npu = sched->npu;
	struct npu_queue *queue = sched->hwq[id];
	u32 status = npu_read(npu, NPU_QC(id) + NPU_QC_STATUS), state;
	struct npu_fault_info fault;
	int error;

	if (!queue || NPU_QSTATE(status) != NPU_QSTATE_FAULTED)
		return;

	npu_fault_read(npu, id, &fault);
	state = npu_fault_state(&fault, &error);
	trace_npu_queue_fault(npu->drm.dev, queue->id, fault.fault, fault.addr, fault.pc);
	drm_dbg(&npu->drm, "queue %u: fault %#x tag %#x at %#llx, command at %#llx\n",
		queue->id, fault.fault, fault.tag, fault.addr, fault.pc);

	npu_sched_unpublish(sched, id);
	npu_queue_complete(queue);
	npu_coredump_capture(npu, queue, id, state, &fault);
	npu_reset_end_queue(sched, queue, id, state, error, &fault);
	npu_sched_forget(sched, queue);
}

/* Serve the faults that the interrupt handler has seen. */
void npu_reset_faults(struct npu_sched *sched)
{
	unsigned long mask;
	unsigned int id;

	spin_lock_irq(&sched->lock);
	mask = sched->faults;
	sched->faults = 0;
	spin_unlock_irq(&sched->lock);

	for_each_set_bit(id, &mask, sched->npu->info.hw_queues) {
		if (sched->hwq[id])
			npu_reset_fault(sched, id);
	}
}

/* ---- Watching ------------------------------------------------------------ */

/* Has the job in progress exceeded its time, although the hardware has not said so? */
static bool npu_watch_hung(struct npu_queue *queue, int id, u32 status)
{
	struct npu_device *npu = queue->npu;
	u64 active = npu_read64_counter(npu, NPU_QC(id) + NPU_QC_ACTIVE_LO);
	u64 commands = npu_read64_counter(npu, NPU_QC(id) + NPU_QC_COMMANDS_LO);
	u64 limit_us = queue->timeout_us + NPU_HANG_MARGIN_MS * USEC_PER_MSEC;
	unsigned int wall_ms = max(queue->timeout_us / USEC_PER_MSEC, (u32)NPU_HANG_WALL_MS);

	if (queue->hw.watch_seqno != queue->done_seqno) {
		queue->hw.watch_seqno = queue->done_seqno;
		queue->hw.watch_active = active;
		queue->hw.watch_since = jiffies;
	}

	/* A queue that others keep from running stands still without fault. */
	if (queue->hw.watch_commands != commands || NPU_QSTATE(status) == NPU_QSTATE_PREEMPTED) {
		queue->hw.watch_commands = commands;
		queue->hw.watch_since = jiffies;
	}

	return active - queue->hw.watch_active > limit_us * NSEC_PER_USEC ||
	       time_after(jiffies, queue->hw.watch_since + msecs_to_jiffies(wall_ms));
}

static void npu_watch_queue(struct npu_sched *sched, int id)
{
	struct npu_queue *queue = sched->hwq[id];
	struct npu_device *npu = sched->npu;
	struct npu_fault_info fault = { };
	u32 status;

	/* An interrupt may have been lost: the completion alone counts. */
	npu_queue_complete(queue);
	if (!npu_queue_busy(queue))
		return;

	status = npu_read(npu, NPU_QC(id) + NPU_QC_STATUS);
	if (NPU_QSTATE(status) == NPU_QSTATE_FAULTED) {
		npu_reset_fault(sched, id);
		return;
	}

	if (!npu_watch_hung(queue, id, status)) {
		/* So may a doorbell: ringing it again does no harm. */
		if (NPU_QSTATE(status) == NPU_QSTATE_IDLE) {
			spin_lock_irq(&queue->lock);
			npu_write(npu, NPU_QU(id) + NPU_QU_DOORBELL, queue->tail);
			spin_unlock_irq(&queue->lock);
		}
		return;
	}

	drm_dbg(&npu->drm, "queue %u: job %llu hangs, status %#x\n", queue->id,
		queue->done_seqno + 1, status);
	fault.seqno = queue->done_seqno + 1;
	npu_sched_unpublish(sched, id);
	npu_coredump_capture(npu, queue, id, DRM_NPU_QUEUE_TIMEOUT, &fault);
	npu_reset_end_queue(sched, queue, id, DRM_NPU_QUEUE_TIMEOUT, -ETIMEDOUT, &fault);
	npu_sched_forget(sched, queue);
}

/* Return: is there still something to watch? */
bool npu_reset_watch(struct npu_sched *sched)
{
	struct npu_device *npu = sched->npu;
	bool busy = false;
	int id;

	for (id = 0; id < npu->info.hw_queues; id++) {
		if (!sched->hwq[id] || !npu_queue_busy(sched->hwq[id]))
			continue;

		if (npu_read(npu, NPU_ID) != NPU_ID_VALUE) {
			drm_err(&npu->drm, "the device does not answer\n");
			WRITE_ONCE(sched->reset_wanted, true);
			return true;
		}
		if (npu_read(npu, NPU_STATUS) & NPU_STATUS_FATAL) {
			WRITE_ONCE(sched->reset_wanted, true);
			return true;
		}

		npu_watch_queue(sched, id);
		busy |= sched->hwq[id] && npu_queue_busy(sched->hwq[id]);
	}

	return busy;
}

/* ---- Reset of the device ------------------------------------------------- */

/* Take all queues off the hardware without its help. Bit n: queue n had started a job. */
static u32 npu_reset_unbind_all(struct npu_sched *sched, struct npu_queue **queues)
{
	struct npu_device *npu = sched->npu;
	bool answers = npu_read(npu, NPU_ID) == NPU_ID_VALUE;
	u32 started = 0;
	int id;

	for (id = 0; id < npu->info.hw_queues; id++) {
		struct npu_queue *queue = sched->hwq[id];

		queues[id] = queue;
		if (!queue)
			continue;

		npu_sched_unpublish(sched, id);
		npu_queue_complete(queue);
		/* A device that does not say must be taken to have started all. */
		if (!answers ||
		    npu_read(npu, NPU_QC(id) + NPU_QC_STATUS) & NPU_QSTATUS_IN_JOB)
			started |= BIT(id);
		if (answers)
			npu_hwq_save(queue, id, 0);
	}

	return started;
}

/**
 * npu_reset_device() - Reset the whole device
 * @sched: Hardware queues.
 * @guilty: Queue whose reset failed, unpublished already; or NULL.
 */
void npu_reset_device(struct npu_sched *sched, struct npu_queue *guilty)
{
	struct npu_queue *queues[NPU_MAX_QUEUES];
	struct npu_device *npu = sched->npu;
	u32 started;
	int id, ret;

	lockdep_assert_held(&sched->bind_lock);

	atomic_inc(&npu->resets);
	WRITE_ONCE(sched->reset_wanted, false);
	started = npu_reset_unbind_all(sched, queues);
	if (!guilty)
		npu_coredump_capture(npu, NULL, -1, 0, NULL);
	npu_device_hw_stop(npu);
	npu_mmu_evict_all(npu);

	ret = npu_device_reset(npu);
	trace_npu_device_reset(npu->drm.dev, ret);
	if (!ret) {
		drm_info(&npu->drm, "device reset (%d since probe)\n", atomic_read(&npu->resets));
		npu_device_hw_start(npu);
	}

	for (id = 0; id < npu->info.hw_queues; id++) {
		if (!queues[id])
			continue;
		if (!ret && started & BIT(id))
			npu_queue_cancel_started(queues[id]);
		if (!ret)
			npu_sched_wait_for_hw(sched, queues[id]);
		npu_sched_release(sched, queues[id]);
	}

	if (ret) {
		drm_err(&npu->drm, "the device cannot be reset (%d): it is lost until it is bound again\n",
			ret);
		/* Without power, the device works on nothing any more. */
		WRITE_ONCE(npu->lost, true);
		npu_device_power_off(npu);
		npu_reset_lose(sched);
		npu_device_wedged(npu);
	}
}

/* The device is lost: no register is touched, and all queues end with -ENODEV. */
void npu_reset_lose(struct npu_sched *sched)
{
	struct npu_device *npu = sched->npu;
	unsigned long next = 0;
	struct npu_queue *queue;
	u32 id;

	for (id = 0; id < npu->info.hw_queues; id++) {
		queue = sched->hwq[id];
		if (!queue)
			continue;
		npu_sched_unpublish(sched, id);
		npu_sched_release(sched, queue);
	}

	while ((queue = npu_device_next_queue(npu, &next))) {
		npu_queue_kill(queue, DRM_NPU_QUEUE_DEVICE_LOST, -ENODEV, NULL);
		npu_sched_forget(sched, queue);
		npu_queue_put(queue);
	}
}
