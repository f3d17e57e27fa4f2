// SPDX-License-Identifier: MIT
/* Queues as the driver sees them: states, commands, doorbells, faults. */
#include <string.h>

#include "core.h"

#define RESET_TIMEOUT_NS 10000000ull	/* a queue reset that takes longer has failed */

/* Whether another queue has, or would get back, the engines. */
static bool displaced(struct npu_model *m, const struct queue *q)
{
	if (m->exec)
		return m->exec != q;
	return m->current != NO_QUEUE && m->current != q->index && queue_runnable(m, &m->queue[m->current]);
}

uint32_t queue_state(struct npu_model *m, struct queue *q)
{
	bool in_job = atomic_load_explicit(&q->in_job, memory_order_relaxed);

	if (q->suspended)
		return NPU_QSTATE_SUSPENDED;
	if (q->faulted)
		return NPU_QSTATE_FAULTED;
	if (!q->started)
		return NPU_QSTATE_STOPPED;
	switch (q->block) {
	case BLOCK_SEM:
	case BLOCK_LOCK:
		return NPU_QSTATE_BLOCKED;
	case BLOCK_ENGINE:
		return NPU_QSTATE_PREEMPTED;
	case BLOCK_HUNG:
		return NPU_QSTATE_RUNNING;
	case BLOCK_NONE:
		break;
	}
	/* A semaphore that is looked at again is still a wait. */
	if (q->block_ns)
		return NPU_QSTATE_BLOCKED;
	if (!in_job && q->head == atomic_load_explicit(&q->tail, memory_order_relaxed))
		return NPU_QSTATE_IDLE;
	return displaced(m, q) ? NPU_QSTATE_PREEMPTED : NPU_QSTATE_RUNNING;
}

bool queue_runnable(struct npu_model *m, struct queue *q)
{
	(void)m;
	return queue_live(q) && !q->pending && q->block == BLOCK_NONE &&
	       (atomic_load_explicit(&q->in_job, memory_order_relaxed) ||
		q->head != atomic_load_explicit(&q->tail, memory_order_relaxed));
}

/* An interrupt that waits for company goes out before the queue stops. */
static void flush_coalesced(struct npu_model *m, struct queue *q)
{
	if (!q->coalesce_ns)
		return;
	q->coalesce_ns = 0;
	irq_raise(m, IRQ_DONE, 1u << q->index);
}

/* Forgets the job in progress and what it waits for. Token free. */
static void drop_job(struct npu_model *m, struct queue *q)
{
	if (q->block == BLOCK_HUNG)
		queue_release_engine(m, q);
	memset(&q->job, 0, sizeof(q->job));
	memset(q->token, 0, sizeof(q->token));
	if (q->dropped < q->drain)
		q->dropped = q->drain;
	q->drain = 0;
	if (m->resident.owner == q->index)
		resident_flush(m);
	q->block = BLOCK_NONE;
	q->block_ns = 0;
	q->fetch = NULL;
	flush_coalesced(m, q);
	q->slice_cycles = 0;
	q->credit = 0;
	q->in_credit = false;
	atomic_store_explicit(&q->in_job, false, memory_order_relaxed);
	atomic_store_explicit(&q->progress, 0, memory_order_relaxed);
}

/* All registers to their reset values. */
void queue_reset_state(struct queue *q)
{
	uint32_t index = q->index;

	memset(q, 0, sizeof(*q));
	q->index = index;
}

/* The hung command of @q is gone, or goes on: its engine is free for others. */
void queue_release_engine(struct npu_model *m, struct queue *q)
{
	uint64_t now = time_ns(m), cycles;

	if (q->block != BLOCK_HUNG)
		return;
	cycles = ns_to_cycles(m, now - q->hung_ns);
	m->hang_cycles[q->block_engine] += cycles;
	count(&q->active_cycles, cycles);
	q->job.cycles += cycles;
	q->block = BLOCK_NONE;
	if (q->block_engine >= NPU_ENGINES)
		return;
	atomic_store_explicit(&m->engine_hung[q->block_engine], NO_QUEUE, memory_order_relaxed);
	for (uint32_t i = 0; i < m->cfg.queues; i++) {
		struct queue *o = &m->queue[i];

		if (o->block == BLOCK_ENGINE && o->block_engine == q->block_engine)
			o->block = BLOCK_NONE;
	}
}

/* A semaphore wait is over, or interrupted: it counts against the job's limit. */
void queue_end_wait(struct npu_model *m, struct queue *q)
{
	if (q->block_ns)
		q->job.blocked_ns += time_ns(m) - q->block_ns;
	q->block_ns = 0;
}

void queue_unblock_slot(struct npu_model *m, uint32_t slot)
{
	for (uint32_t i = 0; i < m->cfg.queues; i++) {
		struct queue *q = &m->queue[i];

		if (q->block == BLOCK_LOCK && q->slot == slot)
			q->block = BLOCK_NONE;
	}
}

void queue_unblock_sems(struct npu_model *m)
{
	for (uint32_t i = 0; i < m->cfg.queues; i++)
		if (m->queue[i].block == BLOCK_SEM)
			m->queue[i].block = BLOCK_NONE;
}

/* The queue stops; nothing else does. Token free or @q's. */
void queue_fault(struct npu_model *m, struct queue *q, const struct fault *f)
{
	if (!queue_live(q))
		return;
	queue_release_engine(m, q);
	q->fault = *f;
	q->faulted = true;
	q->block = BLOCK_NONE;
	q->block_ns = 0;
	flush_coalesced(m, q);
	irq_raise(m, IRQ_FAULT, 1u << q->index);
}

static bool check_ring(struct npu_model *m, struct queue *q)
{
	struct fault f = { .code = NPU_FAULT_DOORBELL, .engine = NPU_ENGINE_CONTROL,
			   .operand = NPU_OPERAND_NONE, .opcode = 0xffff };
	uint32_t tail = atomic_load_explicit(&q->tail, memory_order_relaxed);

	if (!queue_live(q) || tail - q->head <= 1u << q->ring_log2)
		return true;
	f.addr = tail;
	f.seqno = q->seqno;
	queue_fault(m, q, &f);
	return false;
}

void queue_doorbell(struct npu_model *m, struct queue *q, uint32_t tail)
{
	atomic_store_explicit(&q->tail, tail, memory_order_release);
	/* Whether the queue sees it now or after START: a device signal all the same. */
	atomic_store_explicit(&m->sem_signalled, true, memory_order_relaxed);
	if (m->exec != q)
		check_ring(m, q);
	core_kick(m);
}

/* ---- Commands: lock held, token not this queue's --------------------------------- */

static bool config_valid(const struct npu_model *m, const struct queue *q)
{
	return q->mode <= NPU_QC_MODE_USER && q->slot < m->cfg.slots && q->ring_log2 >= 1 &&
	       q->ring_log2 <= m->cfg.ring_log2 && !(q->ring % 64) && !(q->comp % 64);
}

static bool start(struct npu_model *m, struct queue *q)
{
	if ((q->started && !q->suspended) || q->fault.code || !config_valid(m, q))
		return false;
	drop_job(m, q);
	q->started = true;
	q->suspended = false;
	check_ring(m, q);
	return true;
}

static bool suspend(struct npu_model *m, struct queue *q)
{
	struct fault f = { .code = NPU_FAULT_IMAGE, .engine = NPU_ENGINE_CONTROL, .write = true,
			   .operand = NPU_OPERAND_NONE, .opcode = 0xffff, .addr = q->image, .seqno = q->seqno };

	if (!q->started || q->suspended)
		return false;
	/* Engines drain: their work is part of the past when the image is written. */
	if (!q->faulted)
		cp_drain(m, q);
	if (image_save(m, q)) {
		if (!q->faulted)
			queue_fault(m, q, &f);
		return true;
	}
	if (q->block == BLOCK_LOCK || q->block == BLOCK_ENGINE || q->block == BLOCK_SEM)
		q->block = BLOCK_NONE;
	queue_end_wait(m, q);
	flush_coalesced(m, q);
	q->suspended = true;
	return true;
}

static bool resume(struct npu_model *m, struct queue *q)
{
	if ((q->started && !q->suspended) || q->fault.code || !config_valid(m, q))
		return false;
	drop_job(m, q);
	if (image_load(m, q)) {
		q->status |= NPU_QSTATUS_ERR_IMAGE;
		return true;
	}
	q->started = true;
	q->suspended = false;
	check_ring(m, q);
	return true;
}

static void reset_done(struct npu_model *m, struct queue *q)
{
	drop_job(m, q);
	memset(&q->fault, 0, sizeof(q->fault));
	q->started = false;
	q->suspended = false;
	q->faulted = false;
	q->status = 0;
	q->reset_deadline = 0;
	q->reset_stuck = false;
}

/* False: not yet. */
static bool reset(struct npu_model *m, struct queue *q)
{
	uint64_t now = time_ns(m), arg;

	if (q->reset_deadline) {
		if (now < q->reset_deadline)
			return false;
		if (q->reset_stuck) {
			q->status |= NPU_QSTATUS_RESET_FAILED;
			return false;
		}
	} else if (inject_hit(m, NPU_INJECT_QUEUE_RESET_FAIL, (int)q->index, true, &arg)) {
		q->reset_stuck = true;
		q->reset_deadline = now + RESET_TIMEOUT_NS;
		return false;
	} else if (inject_hit(m, NPU_INJECT_RESET_SLOW, (int)q->index, true, &arg) && arg) {
		q->reset_deadline = now + arg * 1000000;
		return false;
	}
	reset_done(m, q);
	return true;
}

static void finish(struct npu_model *m, struct queue *q)
{
	bool ok;

	switch (q->pending) {
	case NPU_QCMD_START:
		ok = start(m, q);
		break;
	case NPU_QCMD_SUSPEND:
		if (q->block == BLOCK_HUNG)
			return;		/* no command boundary in sight */
		ok = suspend(m, q);
		break;
	case NPU_QCMD_RESUME:
		ok = resume(m, q);
		break;
	case NPU_QCMD_RESET:
		if (!reset(m, q))
			return;
		ok = true;
		break;
	default:
		ok = false;
		break;
	}
	q->pending = 0;
	if (!ok)
		q->status |= NPU_QSTATUS_ERR_CONFIG;
	irq_raise(m, IRQ_EVENT, 1u << q->index);
}

void queue_command(struct npu_model *m, struct queue *q, uint32_t cmd)
{
	if (q->pending && (cmd != NPU_QCMD_RESET || q->pending == NPU_QCMD_RESET))
		return;
	q->pending = cmd ? cmd : UINT32_MAX;
	/* SUSPEND moves device time when it drains the engines. */
	if (!m->exec || (m->exec != q && cmd != NPU_QCMD_SUSPEND))
		finish(m, q);
	core_kick(m);
}

/* Token free, lock held. */
void queue_run_pending(struct npu_model *m)
{
	if (atomic_exchange_explicit(&m->sem_signalled, false, memory_order_relaxed))
		queue_unblock_sems(m);
	for (uint32_t i = 0; i < m->cfg.queues; i++) {
		check_ring(m, &m->queue[i]);
		if (m->queue[i].pending)
			finish(m, &m->queue[i]);
	}
}
