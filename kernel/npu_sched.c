// SPDX-License-Identifier: GPL-2.0-only
/*
 * Binding of queues to hardware queues.
 */
#include <linux/bitops.h>
#include <linux/dma-fence.h>
#include <linux/iopoll.h>
#include <linux/jiffies.h>

#include <drm/drm_managed.h>
#include <drm/drm_print.h>

#include "npu_device.h"
#include "npu_drv.h"
#include "npu_mmu.h"
#include "npu_queue.h"
#include "npu_sched.h"
#include "npu_trace.h"
#include "npu_vm.h"

/* A command of a queue (a command of its stream must end first) is given up after this. */
#define NPU_HWQ_SPIN_US		20
#define NPU_HWQ_TIMEOUT_US	(3000 * USEC_PER_MSEC)

/* Slice of a busy queue while an equal one waits. */
#define NPU_SLICE_MS		10

/* A queue that has waited this long counts one priority higher. */
#define NPU_STARVED_MS		500

/* How often queues with jobs are watched. */
#define NPU_WATCH_MS		100

/* Longest delay of the interrupt of a job that nobody waits for by itself. */
#define NPU_COALESCE_US		200

/* ---- One hardware queue -------------------------------------------------- */

/* All ones: the device has gone. */
static bool npu_hwq_ended(u32 status)
{
	return !(status & NPU_QSTATUS_BUSY) || status == ~0u;
}

/* Wait until the command of a hardware queue has ended. Return: 0, -ETIMEDOUT or -ENODEV. */
int npu_hwq_wait(struct npu_device *npu, int id, u32 *status)
{
	void __iomem *reg = npu->iomem + NPU_QC(id) + NPU_QC_STATUS;
	int ret;

	ret = readl_poll_timeout_atomic(reg, *status, npu_hwq_ended(*status), 1, NPU_HWQ_SPIN_US);
	if (ret)
		ret = readl_poll_timeout(reg, *status, npu_hwq_ended(*status), 50,
					 NPU_HWQ_TIMEOUT_US);
	return ret ?: *status == ~0u ? -ENODEV : 0;
}

static int npu_hwq_command(struct npu_device *npu, int id, u32 cmd, u32 *status)
{
	npu_write(npu, NPU_QC(id) + NPU_QC_CMD, cmd);
	return npu_hwq_wait(npu, id, status);
}

static void npu_hwq_configure(struct npu_queue *queue, int id)
{
	struct npu_device *npu = queue->npu;
	u32 qc = NPU_QC(id);

	npu_write(npu, qc + NPU_QC_MODE, NPU_QC_MODE_KERNEL);
	npu_write(npu, qc + NPU_QC_SLOT, queue->vm->slot.id);
	npu_write64(npu, qc + NPU_QC_RING_LO, queue->mem.dma);
	npu_write64(npu, qc + NPU_QC_COMP_LO,
		    queue->mem.dma + ((void *)queue->comp - queue->mem.cpu));
	npu_write(npu, qc + NPU_QC_RING_LOG2, npu->ring_log2);
	npu_write(npu, qc + NPU_QC_HEAD, queue->head);
	npu_write(npu, qc + NPU_QC_TAIL, READ_ONCE(queue->tail));
	npu_write(npu, qc + NPU_QC_PRIO, NPU_QC_PRIO_LEVEL(queue->priority));
	npu_write(npu, qc + NPU_QC_BUDGET_US, queue->timeout_us);
	npu_write(npu, qc + NPU_QC_COALESCE_US, NPU_COALESCE_US);
	npu_write64(npu, qc + NPU_QC_IMAGE_LO, queue->image.dma);
	npu_write64(npu, qc + NPU_QC_SEQNO_LO, queue->done_seqno);
	npu_write64(npu, qc + NPU_QC_ACTIVE_LO, queue->hw.active);
	npu_write64(npu, qc + NPU_QC_CYCLES_LO, queue->hw.cycles);
	npu_write64(npu, qc + NPU_QC_COMMANDS_LO, queue->hw.commands);
}

/* Take over what the registers say, before the queue leaves the hardware. */
void npu_hwq_save(struct npu_queue *queue, int id, u32 status)
{
	struct npu_device *npu = queue->npu;
	u32 qc = NPU_QC(id);

	queue->hw.active = npu_read64_counter(npu, qc + NPU_QC_ACTIVE_LO);
	queue->hw.cycles = npu_read64_counter(npu, qc + NPU_QC_CYCLES_LO);
	queue->hw.commands = npu_read64_counter(npu, qc + NPU_QC_COMMANDS_LO);
	queue->hw.progress = npu_read64_counter(npu, qc + NPU_QC_PROGRESS_LO);
	queue->hw.in_job = status & NPU_QSTATUS_IN_JOB;
}

static int npu_hwq_start(struct npu_queue *queue, int id)
{
	struct npu_device *npu = queue->npu;
	u32 cmd = queue->hw.in_job ? NPU_QCMD_RESUME : NPU_QCMD_START, status;
	int ret;

	npu_hwq_configure(queue, id);
	ret = npu_hwq_command(npu, id, cmd, &status);
	if (ret)
		return ret;

	if (status & (NPU_QSTATUS_ERR_CONFIG | NPU_QSTATUS_ERR_IMAGE)) {
		drm_err(&npu->drm, "hardware queue %d refuses queue %u: status %#x\n", id,
			queue->id, status);
		return -EIO;
	}

	return 0;
}

/* ---- Waiting for hardware ------------------------------------------------ */

/* The queue wants hardware, if it still has jobs. */
void npu_sched_wait_for_hw(struct npu_sched *sched, struct npu_queue *queue)
{
	unsigned long flags;

	spin_lock_irqsave(&sched->lock, flags);
	if (queue->hwq < 0 && list_empty(&queue->wait_node) && npu_queue_busy(queue) &&
	    !READ_ONCE(queue->dead)) {
		queue->wait_since = jiffies;
		list_add_tail(&queue->wait_node, &sched->waiting[queue->priority]);
	}
	spin_unlock_irqrestore(&sched->lock, flags);
}

/* The queue does not want hardware any more. */
void npu_sched_forget(struct npu_sched *sched, struct npu_queue *queue)
{
	spin_lock_irq(&sched->lock);
	list_del_init(&queue->wait_node);
	spin_unlock_irq(&sched->lock);
}

static bool npu_queue_starved(const struct npu_queue *queue)
{
	return time_after(jiffies, queue->wait_since + msecs_to_jiffies(NPU_STARVED_MS));
}

/* A starved queue counts one level higher, but never as real-time. */
static u32 npu_queue_rank(const struct npu_queue *queue)
{
	if (queue->priority < DRM_NPU_PRIORITY_HIGH && npu_queue_starved(queue))
		return queue->priority + 1;
	return queue->priority;
}

/* The queue that comes next, with a reference, or NULL. It stays in the list. */
static struct npu_queue *npu_sched_next(struct npu_sched *sched)
{
	struct npu_queue *queue, *best = NULL;
	int i;

	spin_lock_irq(&sched->lock);
	for (i = NPU_PRIORITIES - 1; i >= 0; i--) {
		queue = list_first_entry_or_null(&sched->waiting[i], struct npu_queue, wait_node);
		if (queue && (!best || npu_queue_rank(queue) > npu_queue_rank(best)))
			best = queue;
	}
	if (best)
		npu_queue_get(best);
	spin_unlock_irq(&sched->lock);

	return best;
}

static bool npu_sched_has_waiting(struct npu_sched *sched)
{
	bool ret = false;
	int i;

	spin_lock_irq(&sched->lock);
	for (i = 0; i < NPU_PRIORITIES; i++)
		ret |= !list_empty(&sched->waiting[i]);
	spin_unlock_irq(&sched->lock);
	return ret;
}

/* ---- Binding ------------------------------------------------------------- */

static void npu_sched_publish(struct npu_sched *sched, struct npu_queue *queue, int id)
{
	spin_lock_irq(&sched->lock);
	spin_lock(&queue->lock);
	list_del_init(&queue->wait_node);
	sched->hwq[id] = npu_queue_get(queue);
	queue->hwq = id;
	/* Jobs that came since the registers were written; completions that nobody saw. */
	npu_write(sched->npu, NPU_QU(id) + NPU_QU_DOORBELL, queue->tail);
	npu_queue_complete_locked(queue);
	spin_unlock(&queue->lock);
	spin_unlock_irq(&sched->lock);
}

/* From here on no doorbell is rung and no completion served for the queue. */
void npu_sched_unpublish(struct npu_sched *sched, int id)
{
	struct npu_queue *queue = sched->hwq[id];

	spin_lock_irq(&sched->lock);
	spin_lock(&queue->lock);
	sched->hwq[id] = NULL;
	sched->faults &= ~BIT(id);
	queue->hwq = -1;
	spin_unlock(&queue->lock);
	spin_unlock_irq(&sched->lock);
}

/* The hardware has forgotten the queue: give back what it held while bound. */
void npu_sched_release(struct npu_sched *sched, struct npu_queue *queue)
{
	npu_mmu_vm_put_slot(queue->vm);
	npu_queue_put(queue);
}

/* Return: 0; -EBUSY without a free slot; -EIO or -ETIMEDOUT when the hardware fails. */
static int npu_sched_bind(struct npu_sched *sched, struct npu_queue *queue, int id)
{
	int ret;

	ret = npu_mmu_vm_get_slot(queue->vm);
	if (ret)
		return ret;

	ret = npu_hwq_start(queue, id);
	if (ret) {
		npu_mmu_vm_put_slot(queue->vm);
		return ret;
	}

	queue->hw.in_job = false;
	queue->hw.bound_at = jiffies;
	queue->hw.watch_since = jiffies;
	queue->hw.watch_seqno = queue->done_seqno;
	queue->hw.watch_commands = queue->hw.commands;
	queue->hw.watch_active = queue->hw.active;
	npu_sched_publish(sched, queue, id);
	trace_npu_queue_bind(sched->npu->drm.dev, queue->id, id);
	return 0;
}

/* Stop a queue at a command boundary and take it off the hardware. */
static void npu_sched_unbind(struct npu_sched *sched, int id)
{
	struct npu_queue *queue = sched->hwq[id];
	struct npu_device *npu = sched->npu;
	u32 status, cmd;

	npu_sched_unpublish(sched, id);
	trace_npu_queue_unbind(npu->drm.dev, queue->id, id);

	cmd = npu->info.features & NPU_FEAT_SUSPEND ? NPU_QCMD_SUSPEND : NPU_QCMD_RESET;
	if (npu_hwq_command(npu, id, cmd, &status)) {
		npu_reset_hung_suspend(sched, queue, id);
		return;
	}

	npu_queue_complete(queue);
	if (npu_read(npu, NPU_QC(id) + NPU_QC_FAULT)) {
		/* It faulted before the command came: the record survives that. */
		npu_reset_hung_suspend(sched, queue, id);
		return;
	}

	npu_hwq_save(queue, id, status);
	npu_sched_release(sched, queue);
	npu_sched_wait_for_hw(sched, queue);
}

/* Is @a a better victim than @b? The idle before the busy, low before high, old before young. */
static bool npu_sched_better_victim(struct npu_queue *a, struct npu_queue *b)
{
	bool busy_a = npu_queue_busy(a), busy_b = npu_queue_busy(b);

	if (busy_a != busy_b)
		return !busy_a;
	if (busy_a && a->priority != b->priority)
		return a->priority < b->priority;
	return time_before(a->hw.bound_at, b->hw.bound_at);
}

static bool npu_sched_may_evict(struct npu_sched *sched, struct npu_queue *victim,
				struct npu_queue *queue)
{
	u32 rank = npu_queue_rank(queue);

	if (!npu_queue_busy(victim))
		return true;
	if (!(sched->npu->info.features & NPU_FEAT_SUSPEND))
		return false;
	if (victim->priority != rank)
		return victim->priority < rank;
	return time_after_eq(jiffies, victim->hw.bound_at + msecs_to_jiffies(NPU_SLICE_MS));
}

/* A hardware queue whose queue may make room for @queue, or -EBUSY. */
static int npu_sched_find_victim(struct npu_sched *sched, struct npu_queue *queue)
{
	struct npu_queue *victim;
	int id, best = -EBUSY;

	for (id = 0; id < sched->npu->info.hw_queues; id++) {
		victim = sched->hwq[id];
		if (!victim || !npu_sched_may_evict(sched, victim, queue))
			continue;
		if (best < 0 || npu_sched_better_victim(victim, sched->hwq[best]))
			best = id;
	}

	return best;
}

static int npu_sched_find_free(struct npu_sched *sched)
{
	int id;

	for (id = 0; id < sched->npu->info.hw_queues; id++) {
		if (!sched->hwq[id])
			return id;
	}
	return -EBUSY;
}

/* Give hardware to @queue if others can make room. Return: as npu_sched_bind(). */
static int npu_sched_place(struct npu_sched *sched, struct npu_queue *queue)
{
	int id, victim, ret = -EBUSY;

	for (;;) {
		id = npu_sched_find_free(sched);
		if (id >= 0) {
			ret = npu_sched_bind(sched, queue, id);
			if (ret != -EBUSY)
				return ret;
		}

		/* No hardware queue, or no slot: each victim may free both. */
		victim = npu_sched_find_victim(sched, queue);
		if (victim < 0)
			return -EBUSY;
		npu_sched_unbind(sched, victim);
		if (READ_ONCE(sched->reset_wanted))
			return -EBUSY;
	}
}

static void npu_sched_bind_waiting(struct npu_sched *sched)
{
	struct npu_queue *queue;
	int ret = 0;

	while (!ret && !READ_ONCE(sched->reset_wanted)) {
		queue = npu_sched_next(sched);
		if (!queue)
			break;

		if (READ_ONCE(queue->dead))
			npu_sched_forget(sched, queue);
		else
			ret = npu_sched_place(sched, queue);

		if (ret && ret != -EBUSY)
			npu_sched_request_reset(sched->npu);
		npu_queue_put(queue);
	}
}

/* ---- Worker -------------------------------------------------------------- */

/*
 * Who finds the tick not running starts it. It counts as a job for the device's
 * power, so that jobs that follow each other do not switch that.
 */
static bool npu_sched_start_ticking(struct npu_sched *sched)
{
	if (test_bit(0, &sched->ticking) || test_and_set_bit(0, &sched->ticking))
		return false;
	if (atomic_inc_not_zero(&sched->npu->pending))
		return true;
	/* The jobs have ended meanwhile. */
	clear_bit(0, &sched->ticking);
	return false;
}

static void npu_sched_arm_tick(struct npu_sched *sched)
{
	unsigned int ms = npu_sched_has_waiting(sched) ? NPU_SLICE_MS : NPU_WATCH_MS;

	mod_delayed_work(sched->wq, &sched->tick, msecs_to_jiffies(ms));
}

static void npu_sched_serve(struct npu_sched *sched)
{
	if (READ_ONCE(sched->reset_wanted))
		npu_reset_device(sched, NULL);
	npu_reset_faults(sched);
	npu_sched_bind_waiting(sched);
	/* Binding may have found the device broken. */
	if (READ_ONCE(sched->reset_wanted)) {
		npu_reset_device(sched, NULL);
		npu_sched_bind_waiting(sched);
	}
}

static void npu_sched_work(struct work_struct *work)
{
	struct npu_sched *sched = container_of(work, struct npu_sched, work);
	bool cookie;

	cookie = dma_fence_begin_signalling();
	mutex_lock(&sched->bind_lock);
	if (!sched->suspended && !npu_device_lost(sched->npu)) {
		npu_sched_serve(sched);
		if (npu_sched_has_waiting(sched)) {
			npu_sched_start_ticking(sched);
			npu_sched_arm_tick(sched);
		}
	}
	mutex_unlock(&sched->bind_lock);
	dma_fence_end_signalling(cookie);
}

static void npu_sched_tick(struct work_struct *work)
{
	struct npu_sched *sched = container_of(to_delayed_work(work), struct npu_sched, tick);
	bool cookie, powered, again = false;

	cookie = dma_fence_begin_signalling();
	mutex_lock(&sched->bind_lock);
	/* Whoever pushes a job from here on arms the tick again. */
	powered = test_and_clear_bit(0, &sched->ticking);
	if (!sched->suspended && !npu_device_lost(sched->npu)) {
		again = npu_reset_watch(sched);
		npu_sched_serve(sched);
		again |= npu_sched_has_waiting(sched);
	}
	if (again) {
		npu_sched_start_ticking(sched);
		npu_sched_arm_tick(sched);
	}
	mutex_unlock(&sched->bind_lock);
	dma_fence_end_signalling(cookie);
	/* If it goes on, that has taken power of its own. */
	if (powered)
		npu_device_put_power(sched->npu, 1);
}

/**
 * npu_sched_queue_ready() - A job has been written into the ring of a queue
 * @queue: Queue.
 * @bound: The doorbell has been rung already.
 */
void npu_sched_queue_ready(struct npu_queue *queue, bool bound)
{
	struct npu_sched *sched = queue->npu->sched;

	if (!bound) {
		npu_sched_wait_for_hw(sched, queue);
		queue_work(sched->wq, &sched->work);
	}

	if (npu_sched_start_ticking(sched))
		queue_delayed_work(sched->wq, &sched->tick, msecs_to_jiffies(NPU_WATCH_MS));
}

/* The device does not do what it must: reset it. Any context. */
void npu_sched_request_reset(struct npu_device *npu)
{
	WRITE_ONCE(npu->sched->reset_wanted, true);
	queue_work(npu->sched->wq, &npu->sched->work);
}

/* Wait until a requested reset is over. */
void npu_sched_wait_reset(struct npu_device *npu)
{
	flush_work(&npu->sched->work);
}

/* ---- Interrupt ----------------------------------------------------------- */

void npu_sched_irq_done(struct npu_device *npu, u32 bits)
{
	struct npu_sched *sched = npu->sched;
	struct npu_queue *queue;
	unsigned long mask = bits;
	unsigned int id;

	spin_lock(&sched->lock);
	for_each_set_bit(id, &mask, NPU_MAX_QUEUES) {
		queue = sched->hwq[id];
		if (!queue)
			continue;
		spin_lock(&queue->lock);
		npu_queue_complete_locked(queue);
		spin_unlock(&queue->lock);
	}
	spin_unlock(&sched->lock);
}

void npu_sched_irq_fault(struct npu_device *npu, u32 bits)
{
	struct npu_sched *sched = npu->sched;

	spin_lock(&sched->lock);
	sched->faults |= bits;
	spin_unlock(&sched->lock);
	queue_work(sched->wq, &sched->work);
}

void npu_sched_irq_event(struct npu_device *npu)
{
	wake_up_all(&npu->sched->event);
}

void npu_sched_irq_fatal(struct npu_device *npu)
{
	npu_sched_request_reset(npu);
}

/* ---- Queues' ends, power, life ------------------------------------------- */

/**
 * npu_sched_kill_queue() - End a queue, whatever it is doing
 * @queue: Queue.
 * @state: enum drm_npu_queue_state, why.
 * @error: Error of its fences.
 */
void npu_sched_kill_queue(struct npu_queue *queue, u32 state, int error)
{
	struct npu_sched *sched = queue->npu->sched;
	int id;

	mutex_lock(&sched->bind_lock);
	id = queue->hwq;
	if (id >= 0) {
		npu_sched_unpublish(sched, id);
		npu_reset_end_queue(sched, queue, id, state, error, NULL);
	} else {
		npu_queue_kill(queue, state, error, NULL);
	}
	npu_sched_forget(sched, queue);
	mutex_unlock(&sched->bind_lock);
}

/* Bring what the driver knows of a bound queue's registers up to date. */
void npu_sched_sample(struct npu_queue *queue)
{
	struct npu_sched *sched = queue->npu->sched;
	int id;

	mutex_lock(&sched->bind_lock);
	id = queue->hwq;
	if (id >= 0 && !npu_device_lost(queue->npu)) {
		npu_hwq_save(queue, id, 0);
		npu_queue_complete(queue);
	}
	mutex_unlock(&sched->bind_lock);
}

/**
 * npu_sched_suspend() - Take all queues off the hardware, which is about to be powered off
 * @npu: Device.
 *
 * Jobs in progress are saved and go on after npu_sched_resume().
 */
void npu_sched_suspend(struct npu_device *npu)
{
	struct npu_sched *sched = npu->sched;
	struct npu_queue *queue;
	int id;

	mutex_lock(&sched->bind_lock);
	sched->suspended = true;
	for (id = 0; id < npu->info.hw_queues; id++) {
		queue = sched->hwq[id];
		if (!queue)
			continue;

		npu_queue_complete(queue);
		if (npu_queue_busy(queue)) {
			npu_sched_unbind(sched, id);
			continue;
		}

		/* Idle: nothing to save but counters. The reset after power-on does the rest. */
		npu_sched_unpublish(sched, id);
		npu_hwq_save(queue, id, 0);
		npu_sched_release(sched, queue);
	}
	mutex_unlock(&sched->bind_lock);
}

void npu_sched_resume(struct npu_device *npu)
{
	struct npu_sched *sched = npu->sched;

	mutex_lock(&sched->bind_lock);
	sched->suspended = false;
	mutex_unlock(&sched->bind_lock);
	queue_work(sched->wq, &sched->work);
}

/* The device is lost: all queues end. */
void npu_sched_lose(struct npu_device *npu)
{
	mutex_lock(&npu->sched->bind_lock);
	npu_reset_lose(npu->sched);
	mutex_unlock(&npu->sched->bind_lock);
}

/* No worker runs any more. Ioctls have ended; jobs may still come, and find their queues dead. */
void npu_sched_fini(struct npu_device *npu)
{
	struct npu_sched *sched = npu->sched;

	mutex_lock(&sched->bind_lock);
	sched->suspended = true;
	mutex_unlock(&sched->bind_lock);
	cancel_work_sync(&sched->work);
	cancel_delayed_work_sync(&sched->tick);
	if (test_and_clear_bit(0, &sched->ticking))
		npu_device_put_power(npu, 1);
}

static void npu_sched_release_wq(struct drm_device *drm, void *wq)
{
	destroy_workqueue(wq);
}

int npu_sched_init(struct npu_device *npu)
{
	struct npu_sched *sched;
	int i, ret;

	sched = drmm_kzalloc(&npu->drm, sizeof(*sched), GFP_KERNEL);
	if (!sched)
		return -ENOMEM;

	sched->npu = npu;
	spin_lock_init(&sched->lock);
	for (i = 0; i < NPU_PRIORITIES; i++)
		INIT_LIST_HEAD(&sched->waiting[i]);
	INIT_WORK(&sched->work, npu_sched_work);
	INIT_DELAYED_WORK(&sched->tick, npu_sched_tick);
	init_waitqueue_head(&sched->event);
	ret = drmm_mutex_init(&npu->drm, &sched->bind_lock);
	if (ret)
		return ret;

	sched->wq = alloc_ordered_workqueue("npu-sched", WQ_MEM_RECLAIM | WQ_HIGHPRI);
	if (!sched->wq)
		return -ENOMEM;
	ret = drmm_add_action_or_reset(&npu->drm, npu_sched_release_wq, sched->wq);
	if (ret)
		return ret;

	npu->sched = sched;
	return 0;
}
