// SPDX-License-Identifier: MIT
/*
 * Queues of the software device: software queues on hardware queues, completions,
 * faults and recovery. The order of steps is the kernel driver's.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "soft.h"

#define TO_Q(q)		((struct soft_queue *)(q))
#define TO_VM(vm)	((struct soft_vm *)(vm))

/* Layout of a queue's memory. */
#define OFF_RING	0u
#define OFF_COMP	4096u
#define OFF_REGS	8192u		/* SOFT_RING sets of 32 registers: 16 KiB */
#define OFF_IMAGE	(8192u + SOFT_RING * NPU_SCALARS * 8u)
#define REGS_BYTES	(SOFT_RING * NPU_SCALARS * 8u)

#define RESET_TIMEOUT_NS	2000000000ll
#define SERVICE_ROUNDS		64
#define STEP			65536u	/* commands at a time, synchronous mode */

int soft_poll(struct soft_device *sd, uint32_t offset, uint32_t mask, uint32_t value)
{
	int64_t deadline = npu_now_ns() + RESET_TIMEOUT_NS;

	for (unsigned int n = 0;; n++) {
		struct timespec ts = { 0, n < 100 ? 10000 : 200000 };
		uint32_t v = soft_rd(sd, offset);

		if (v == UINT32_MAX)
			return -ENODEV;
		if ((v & mask) == value)
			return 0;
		if (npu_now_ns() > deadline)
			return -ETIME;
		if (sd->synchronous)
			npu_model_step(sd->model, 1);
		else if (n > 10)
			nanosleep(&ts, NULL);
	}
}

/* ---- Jobs ------------------------------------------------------------------------- */

static struct soft_job *job_at(struct soft_queue *q, uint64_t n)
{
	return &q->jobs[n & (q->room - 1)];
}

static bool dead(const struct soft_queue *q)
{
	return q->st.state != NPU_QUEUE_ALIVE && q->st.state != NPU_QUEUE_INNOCENT;
}

static void job_release(struct soft_device *sd, struct soft_job *j)
{
	for (uint32_t i = 0; i < j->nwaits + j->nsignals; i++)
		soft_timeline_unref(sd, j->points[i].timeline);
	if (j->points != j->few)
		npu_free(&sd->base, j->points);
}

/* Signal what the oldest job promised, well or not. */
static void job_complete(struct soft_device *sd, struct soft_queue *q)
{
	struct soft_job *j = job_at(q, q->tail);

	q->tail++;
	sd->progress++;
	for (uint32_t i = 0; i < j->nsignals; i++)
		soft_timeline_signal(sd, j->points[j->nwaits + i].timeline, j->points[j->nwaits + i].value);
	job_release(sd, j);
	if (q->tail == q->head)
		sd->event = true;
}

static void fail_jobs(struct soft_device *sd, struct soft_queue *q)
{
	while (q->tail < q->head) {
		q->issued = q->tail + 1;
		job_complete(sd, q);
	}
	q->issued = q->head;
}

static bool waits_done(const struct soft_job *j)
{
	for (uint32_t i = 0; i < j->nwaits; i++)
		if (j->points[i].timeline->value < j->points[i].value)
			return false;
	return true;
}

/* ---- Slots and hardware queues ------------------------------------------------------ */

static int slot_get(struct soft_device *sd, struct soft_vm *vm)
{
	uint32_t as, best = UINT32_MAX;

	if (vm->slot >= 0)
		return 0;
	for (uint32_t s = 0; s < sd->base.info.slots; s++) {
		if (sd->slots[s].vm && sd->slots[s].vm->attached)
			continue;
		if (best == UINT32_MAX || !sd->slots[s].vm ||
		    (sd->slots[best].vm && sd->slots[s].used < sd->slots[best].used))
			best = s;
		if (!sd->slots[s].vm)
			break;
	}
	if (best == UINT32_MAX)
		return -EBUSY;
	if (sd->slots[best].vm)
		sd->slots[best].vm->slot = -1;
	sd->slots[best].vm = vm;
	vm->slot = (int)best;
	as = NPU_MMU_BASE + NPU_AS(best);
	soft_wr64(sd, as + NPU_AS_TABLE_LO, vm->table);
	soft_wr(sd, as + NPU_AS_CFG, NPU_AS_CFG_ENABLE | NPU_AS_CFG_VA_BITS(sd->base.info.va_bits) |
		NPU_AS_CFG_WALK_SHAREABLE);
	soft_wr(sd, as + NPU_AS_CMD, NPU_AS_CMD_UPDATE);
	return soft_poll(sd, as + NPU_AS_STATUS, NPU_AS_STATUS_BUSY, 0);
}

void soft_slot_release(struct soft_device *sd, struct soft_vm *vm)
{
	uint32_t as;

	if (vm->slot < 0)
		return;
	as = NPU_MMU_BASE + NPU_AS((uint32_t)vm->slot);
	soft_wr(sd, as + NPU_AS_CFG, 0);
	soft_wr(sd, as + NPU_AS_CMD, NPU_AS_CMD_UPDATE);
	soft_poll(sd, as + NPU_AS_STATUS, NPU_AS_STATUS_BUSY, 0);
	sd->slots[vm->slot].vm = NULL;
	vm->slot = -1;
}

static void detach(struct soft_device *sd, struct soft_queue *q)
{
	uint32_t qc = NPU_QC((uint32_t)q->hw);

	q->st.active_ns = soft_rd64(sd, qc + NPU_QC_ACTIVE_LO);
	sd->hwq[q->hw].owner = NULL;
	q->hw = -1;
	TO_VM(q->base.vm)->attached--;
}

/* Program hardware queue @hw, which is STOPPED or SUSPENDED, for @q and start it. */
static int attach(struct soft_device *sd, struct soft_queue *q, uint32_t hw)
{
	struct soft_vm *vm = TO_VM(q->base.vm);
	uint32_t qc = NPU_QC(hw), timeout = q->base.timeout_ms ? q->base.timeout_ms : SOFT_TIMEOUT_MS;
	int err = slot_get(sd, vm);

	if (err)
		return err;
	if (!q->image_valid)
		q->hw_head = q->hw_tail = 0;
	soft_wr(sd, qc + NPU_QC_MODE, NPU_QC_MODE_KERNEL);
	soft_wr(sd, qc + NPU_QC_SLOT, (uint32_t)vm->slot);
	soft_wr64(sd, qc + NPU_QC_RING_LO, q->mem.bus + OFF_RING);
	soft_wr64(sd, qc + NPU_QC_COMP_LO, q->mem.bus + OFF_COMP);
	soft_wr(sd, qc + NPU_QC_RING_LOG2, SOFT_RING_LOG2);
	soft_wr(sd, qc + NPU_QC_HEAD, q->hw_head);
	soft_wr(sd, qc + NPU_QC_TAIL, q->hw_tail);
	soft_wr(sd, qc + NPU_QC_PRIO, NPU_QC_PRIO_LEVEL(q->base.priority));
	soft_wr(sd, qc + NPU_QC_WATCHDOG_US, SOFT_COMMAND_US);
	soft_wr(sd, qc + NPU_QC_BUDGET_US, timeout > UINT32_MAX / 1000 ? UINT32_MAX : timeout * 1000);
	soft_wr64(sd, qc + NPU_QC_IMAGE_LO, q->mem.bus + OFF_IMAGE);
	soft_wr64(sd, qc + NPU_QC_SEQNO_LO, q->tail);
	soft_wr64(sd, qc + NPU_QC_ACTIVE_LO, q->st.active_ns);
	soft_wr(sd, qc + NPU_QC_CMD, q->image_valid ? NPU_QCMD_RESUME : NPU_QCMD_START);
	err = soft_poll(sd, qc + NPU_QC_STATUS, NPU_QSTATUS_BUSY, 0);
	if (err)
		return err;
	q->image_valid = false;
	q->hw = (int)hw;
	q->since_ns = npu_now_ns();
	sd->hwq[hw].owner = q;
	sd->slots[vm->slot].used = ++sd->stamp;
	vm->attached++;
	return 0;
}

static void retire(struct soft_device *sd, struct soft_queue *q)
{
	uint64_t seqno = soft_rd64(sd, NPU_QC((uint32_t)q->hw) + NPU_QC_SEQNO_LO);

	if (seqno == UINT64_MAX)	/* gone */
		return;
	while (q->tail < q->issued && job_at(q, q->tail)->seqno <= seqno)
		job_complete(sd, q);
}

/* Take the hardware queue from a queue with nothing on it. */
static int evict_idle(struct soft_device *sd, uint32_t hw)
{
	struct soft_queue *q = sd->hwq[hw].owner;

	if (q)
		detach(sd, q);
	soft_wr(sd, NPU_QC(hw) + NPU_QC_CMD, NPU_QCMD_RESET);
	return soft_poll(sd, NPU_QC(hw) + NPU_QC_STATUS, NPU_QSTATUS_BUSY, 0);
}

/* Take it from a queue that works, at a command boundary. */
static int evict_busy(struct soft_device *sd, uint32_t hw)
{
	struct soft_queue *q = sd->hwq[hw].owner;
	uint32_t qc = NPU_QC(hw);
	int err;

	soft_wr(sd, qc + NPU_QC_CMD, NPU_QCMD_SUSPEND);
	err = soft_poll(sd, qc + NPU_QC_STATUS, NPU_QSTATUS_BUSY, 0);
	if (err || NPU_QSTATE(soft_rd(sd, qc + NPU_QC_STATUS)) != NPU_QSTATE_SUSPENDED)
		return err ? err : -EBUSY;
	retire(sd, q);
	q->hw_head = soft_rd(sd, qc + NPU_QC_HEAD);
	q->image_valid = q->tail < q->issued;
	detach(sd, q);
	return 0;
}

/* A hardware queue for @q: free, else idle, else one that has had its slice. */
static int hwq_get(struct soft_device *sd, struct soft_queue *q)
{
	int64_t now = npu_now_ns(), oldest = INT64_MAX;
	int idle = -1, busy = -1;

	for (uint32_t h = 0; h < sd->base.info.hw_queues; h++) {
		struct soft_queue *o = sd->hwq[h].owner;

		if (!o)
			return attach(sd, q, h);
		if (o->tail == o->head)
			idle = (int)h;
		else if (o->base.priority <= q->base.priority && now - o->since_ns > SOFT_SLICE_NS &&
			 o->since_ns < oldest) {
			oldest = o->since_ns;
			busy = (int)h;
		}
	}
	if (idle >= 0)
		return evict_idle(sd, (uint32_t)idle) ? -EBUSY : attach(sd, q, (uint32_t)idle);
	if (busy >= 0 && (sd->base.info.features & NPU_FEAT_SUSPEND))
		return evict_busy(sd, (uint32_t)busy) ? -EBUSY : attach(sd, q, (uint32_t)busy);
	return -EBUSY;
}

/* ---- Issue ---------------------------------------------------------------------------- */

static void write_descriptor(struct soft_queue *q, struct soft_job *j)
{
	uint32_t i = q->hw_tail & (SOFT_RING - 1);
	struct npu_job_desc *d = (struct npu_job_desc *)((char *)q->mem.cpu + OFF_RING) + i;
	uint64_t *regs = (uint64_t *)(void *)((char *)q->mem.cpu + OFF_REGS) + (size_t)i * NPU_SCALARS;

	memcpy(regs, j->regs, j->nregs * sizeof(*regs));
	*d = (struct npu_job_desc) {
		.stream = j->stream,
		.stream_size = j->stream_bytes,
		.flags = NPU_JOB_IRQ,
		.nregs = (uint16_t)j->nregs,
		.regs = j->nregs ? q->regs_va + (uint64_t)i * NPU_SCALARS * 8 : 0,
		.seqno = j->seqno,
		.budget_us = j->budget_us,
		.cookie = (uint32_t)j->seqno,
	};
}

/* Hand the queue's runnable jobs to hardware. */
static void issue(struct soft_device *sd, struct soft_queue *q)
{
	bool ring = false;

	while (q->issued < q->head) {
		struct soft_job *j = job_at(q, q->issued);

		if (!waits_done(j))
			break;
		if (!j->stream_bytes) {
			/* Only synchronisation: it ends when the jobs before it have. */
			if (q->tail < q->issued)
				break;
			q->issued++;
			job_complete(sd, q);
			continue;
		}
		if (q->issued - q->tail >= SOFT_RING)
			break;
		if (q->hw < 0 && hwq_get(sd, q)) {
			sd->starving++;
			break;
		}
		write_descriptor(q, j);
		q->hw_tail++;
		q->issued++;
		ring = true;
	}
	if (ring)	/* the write orders the descriptors before it */
		soft_wr(sd, NPU_QU((uint32_t)q->hw) + NPU_QU_DOORBELL, q->hw_tail);
}

static bool has_work(const struct soft_queue *q)
{
	return !dead(q) && (q->issued < q->head || q->image_valid);
}

static void schedule(struct soft_device *sd)
{
	sd->starving = 0;
	for (int prio = NPU_PRIORITY_REALTIME; prio >= NPU_PRIORITY_LOW; prio--)
		for (struct soft_queue *q = sd->queues; q; q = q->next) {
			if ((int)q->base.priority != prio || !has_work(q))
				continue;
			/* Suspended with work: it needs a hardware queue even without a new job. */
			if (q->image_valid && q->hw < 0 && hwq_get(sd, q)) {
				sd->starving++;
				continue;
			}
			issue(sd, q);
		}
}

/* ---- Faults and resets ------------------------------------------------------------------- */

void soft_init_registers(struct soft_device *sd)
{
	uint32_t mask = sd->base.info.hw_queues >= 32 ? UINT32_MAX : (1u << sd->base.info.hw_queues) - 1;

	soft_wr(sd, NPU_IRQ_GLOBAL_EN, NPU_IRQ_G_FATAL);
	soft_wr(sd, NPU_IRQ_DONE_EN, mask);
	soft_wr(sd, NPU_IRQ_FAULT_EN, mask);
}

static void lose_device(struct soft_device *sd)
{
	sd->lost = true;
	npu_logf(&sd->base, NPU_LOG_ERROR, "software device: the device has gone");
	for (struct soft_queue *q = sd->queues; q; q = q->next) {
		if (!dead(q))
			q->st.state = NPU_QUEUE_DEVICE_LOST;
		if (q->hw >= 0) {
			sd->hwq[q->hw].owner = NULL;
			TO_VM(q->base.vm)->attached--;
			q->hw = -1;
		}
		fail_jobs(sd, q);
	}
	sd->event = true;
}

/* What a device reset did to a queue that had not caused it: its started job is lost, the others start anew. */
static void after_reset(struct soft_device *sd, struct soft_queue *q)
{
	bool started = q->tail < q->issued;

	if (q->hw >= 0) {
		sd->hwq[q->hw].owner = NULL;
		TO_VM(q->base.vm)->attached--;
		q->hw = -1;
	}
	TO_VM(q->base.vm)->slot = -1;
	if (dead(q) || q->image_valid)	/* suspended ones kept everything in their image */
		return;
	if (started) {
		q->st.innocent_resets++;
		q->st.state = NPU_QUEUE_INNOCENT;
		job_complete(sd, q);
	}
	q->issued = q->tail;
}

/* The registers start from zero; npu_device_counters() does not. */
static void keep_counters(struct soft_device *sd)
{
	struct npu_counters *c = &sd->counted;

	if (soft_rd(sd, NPU_ID) != NPU_ID_VALUE)
		return;
	c->cycles += soft_rd64(sd, NPU_CNT_CYCLES_LO);
	for (uint32_t e = 0; e < NPU_ENGINES; e++)
		c->engine[e] += soft_rd64(sd, NPU_CNT_ENGINE_LO(e));
	c->bytes_read += soft_rd64(sd, NPU_CNT_READ_LO);
	c->bytes_written += soft_rd64(sd, NPU_CNT_WRITE_LO);
	c->bytes_sram += soft_rd64(sd, NPU_CNT_SRAM_LO);
	c->macs += soft_rd64(sd, NPU_CNT_MACS_LO);
	c->commands += soft_rd64(sd, NPU_CNT_COMMANDS_LO);
	c->walks += soft_rd64(sd, NPU_CNT_WALKS_LO);
	c->switches += soft_rd64(sd, NPU_CNT_SWITCHES_LO);
}

static void reset_device(struct soft_device *sd)
{
	sd->resets++;
	keep_counters(sd);
	npu_logf(&sd->base, NPU_LOG_WARNING, "software device: device reset");
	soft_wr(sd, NPU_RESET, NPU_RESET_KEY);
	if (soft_poll(sd, NPU_STATUS, NPU_STATUS_READY | NPU_STATUS_RESETTING, NPU_STATUS_READY))
		npu_model_reset(sd->model);	/* the reset line */
	if (soft_rd(sd, NPU_ID) != NPU_ID_VALUE) {
		lose_device(sd);
		return;
	}
	for (uint32_t s = 0; s < NPU_MAX_SLOTS; s++)
		sd->slots[s].vm = NULL;
	for (struct soft_queue *q = sd->queues; q; q = q->next)
		after_reset(sd, q);
	soft_init_registers(sd);
}

/* Stop the hardware queue of @q; a reset that does not end takes the device with it. */
static void stop_queue(struct soft_device *sd, struct soft_queue *q)
{
	uint32_t qc = NPU_QC((uint32_t)q->hw);
	int err;

	soft_wr(sd, qc + NPU_QC_CMD, NPU_QCMD_RESET);
	err = soft_poll(sd, qc + NPU_QC_STATUS, NPU_QSTATUS_BUSY, 0);
	if (!err && !(soft_rd(sd, qc + NPU_QC_STATUS) & NPU_QSTATUS_RESET_FAILED))
		detach(sd, q);
	else
		reset_device(sd);
}

static bool is_timeout(uint32_t code)
{
	return code == NPU_FAULT_WATCHDOG || code == NPU_FAULT_BUDGET || code == NPU_FAULT_BLOCKED;
}

static void queue_faulted(struct soft_device *sd, struct soft_queue *q)
{
	uint32_t qc = NPU_QC((uint32_t)q->hw), fault = soft_rd(sd, qc + NPU_QC_FAULT);

	if (NPU_QSTATE(soft_rd(sd, qc + NPU_QC_STATUS)) != NPU_QSTATE_FAULTED)
		return;
	q->st.fault = fault;
	q->st.fault_tag = soft_rd(sd, qc + NPU_QC_FAULT_TAG);
	q->st.fault_addr = soft_rd64(sd, qc + NPU_QC_FAULT_ADDR_LO);
	q->st.fault_pc = soft_rd64(sd, qc + NPU_QC_FAULT_PC_LO);
	q->st.progress = soft_rd64(sd, qc + NPU_QC_PROGRESS_LO);
	retire(sd, q);
	q->st.state = is_timeout(NPU_FAULT_CODE(fault)) ? NPU_QUEUE_TIMEOUT : NPU_QUEUE_FAULT;
	npu_logf(&sd->base, NPU_LOG_WARNING, "software device: queue stopped: %s, address 0x%" PRIx64 ", command 0x%"
		 PRIx64, npu_fault_name(fault), q->st.fault_addr, q->st.fault_pc);
	stop_queue(sd, q);
	fail_jobs(sd, q);
}

/* ---- Service -------------------------------------------------------------------------------- */

static void handle_irq(struct soft_device *sd, bool all)
{
	uint32_t done = soft_rd(sd, NPU_IRQ_DONE), fault = soft_rd(sd, NPU_IRQ_FAULT);
	uint32_t global = soft_rd(sd, NPU_IRQ_GLOBAL);

	if ((global & done & fault) == UINT32_MAX && soft_rd(sd, NPU_ID) != NPU_ID_VALUE) {
		lose_device(sd);
		return;
	}
	/* Clear exactly what was seen, before looking at the queues: later events stay pending. */
	soft_wr(sd, NPU_IRQ_DONE, done);
	soft_wr(sd, NPU_IRQ_FAULT, fault);
	soft_wr(sd, NPU_IRQ_GLOBAL, global);
	for (uint32_t h = 0; h < sd->base.info.hw_queues && !sd->lost; h++) {
		struct soft_queue *q = sd->hwq[h].owner;

		if (q && (all || (done >> h & 1)))
			retire(sd, q);
		if (q && q->hw >= 0 && (all || (fault >> h & 1)))
			queue_faulted(sd, q);
	}
	if (global & NPU_IRQ_G_FATAL)
		reset_device(sd);
}

void soft_service(struct soft_device *sd)
{
	int64_t now = npu_now_ns();
	/* Now and then look without an interrupt: one may have been lost. */
	bool look = now - sd->looked_ns > SOFT_LOOK_NS;

	for (int round = 0; round < SERVICE_ROUNDS && !sd->lost;) {
		uint64_t before = sd->progress;

		if (look || atomic_load(&sd->irq)) {
			sd->looked_ns = now;
			handle_irq(sd, look);
			look = false;
		}
		schedule(sd);
		if (sd->synchronous && npu_model_step(sd->model, STEP))
			continue;
		if (!atomic_load(&sd->irq) && before == sd->progress)
			break;
		round++;	/* a line that nothing quiets must not hold us */
	}
	if (sd->importing)
		soft_fence_poll_imports(sd);
}

/* ---- The back end's functions ------------------------------------------------------------------ */

int soft_queue_create(struct npu_queue *base)
{
	struct soft_device *sd = SD(base->vm->dev);
	struct soft_queue *q = TO_Q(base);
	struct soft_vm *vm = TO_VM(base->vm);
	uint64_t image = (uint64_t)NPU_CAP1_IMAGE_4K(soft_rd(sd, NPU_CAP1)) * 4096;
	int err;

	q->hw = -1;
	q->room = 16;
	q->jobs = npu_alloc(base->vm->dev, q->room * sizeof(*q->jobs));
	if (!q->jobs)
		return npu_fail(base->vm->dev, -ENOMEM, "no memory for a queue");
	soft_lock(sd);
	if (sd->lost) {
		err = npu_fail(&sd->base, -ENODEV, "the device has gone");
		goto err_unlock;
	}
	err = soft_mem_get(sd, OFF_IMAGE + image, &q->mem);
	if (err)
		goto err_unlock;
	err = npu_ranges_get(&vm->kernel_va, REGS_BYTES, NPU_PAGE, &q->regs_va);
	if (err) {
		npu_fail(&sd->base, err, "no device addresses left for a queue");
		goto err_mem;
	}
	err = soft_map(sd, vm, q->regs_va, q->mem.bus + OFF_REGS, REGS_BYTES, true);
	if (err)
		goto err_va;
	q->next = sd->queues;
	sd->queues = q;
	soft_unlock(sd);
	return 0;

err_va:
	npu_ranges_put(&vm->kernel_va, q->regs_va, REGS_BYTES);
err_mem:
	soft_mem_put(sd, &q->mem);
err_unlock:
	soft_unlock(sd);
	npu_free(base->vm->dev, q->jobs);
	return err;
}

void soft_queue_destroy(struct npu_queue *base)
{
	struct soft_device *sd = SD(base->vm->dev);
	struct soft_queue *q = TO_Q(base);
	struct soft_vm *vm = TO_VM(base->vm);

	soft_lock(sd);
	if (q->hw >= 0)
		stop_queue(sd, q);
	fail_jobs(sd, q);
	for (struct soft_queue **p = &sd->queues; *p; p = &(*p)->next)
		if (*p == q) {
			*p = q->next;
			break;
		}
	soft_unmap(sd, vm, q->regs_va, REGS_BYTES);
	npu_ranges_put(&vm->kernel_va, q->regs_va, REGS_BYTES);
	soft_mem_put(sd, &q->mem);
	soft_service(sd);
	soft_unlock(sd);
	npu_free(base->vm->dev, q->jobs);
}

static int reserve_jobs(struct soft_device *sd, struct soft_queue *q, unsigned int count)
{
	uint32_t room = q->room;
	struct soft_job *jobs;

	while (room < q->head - q->tail + count)
		room *= 2;
	if (room == q->room)
		return 0;
	jobs = npu_alloc(&sd->base, room * sizeof(*jobs));
	if (!jobs)
		return -ENOMEM;
	for (uint64_t n = q->tail; n < q->head; n++) {
		struct soft_job *to = &jobs[n & (room - 1)], *from = job_at(q, n);

		*to = *from;
		if (from->points == from->few)
			to->points = to->few;
	}
	npu_free(&sd->base, q->jobs);
	q->jobs = jobs;
	q->room = room;
	return 0;
}

static void take_point(struct soft_job *j, uint32_t *n, const struct npu_point *p)
{
	struct soft_timeline *t = ((struct soft_fence *)p->fence)->timeline;

	t->refs++;
	j->points[*n].timeline = t;
	j->points[*n].value = p->value;
	(*n)++;
}

/* Fill the next place of the ring; the caller raises head when all jobs are in. */
static int take_job(struct soft_device *sd, struct soft_queue *q, uint64_t at, const struct npu_job *in)
{
	struct soft_job *j = job_at(q, at);
	uint32_t n = 0;

	j->points = j->few;
	if (in->nwaits + in->nsignals > SOFT_INLINE_POINTS) {
		j->points = npu_alloc(&sd->base, ((size_t)in->nwaits + in->nsignals) * sizeof(*j->points));
		if (!j->points)
			return -ENOMEM;
	}
	j->stream = in->stream;
	j->stream_bytes = in->stream_bytes;
	j->budget_us = in->budget_us;
	j->nregs = in->nregs;
	if (in->nregs)
		memcpy(j->regs, in->regs, in->nregs * sizeof(*j->regs));
	j->seqno = at + 1;
	j->nwaits = in->nwaits;
	j->nsignals = 0;
	for (uint32_t i = 0; i < in->nwaits; i++)
		take_point(j, &n, &in->waits[i]);
	for (uint32_t i = 0; i < in->nsignals; i++) {
		struct soft_timeline *t = ((struct soft_fence *)in->signals[i].fence)->timeline;
		int err = soft_timeline_promise(sd, t, in->signals[i].value);

		if (err)
			return err;
		take_point(j, &n, &in->signals[i]);
		j->nsignals++;
	}
	return 0;
}

static void untake_jobs(struct soft_device *sd, struct soft_queue *q, uint64_t first, uint64_t end)
{
	for (uint64_t n = first; n < end; n++) {
		struct soft_job *j = job_at(q, n);

		if (!j->points)
			continue;
		for (uint32_t i = 0; i < j->nsignals; i++)
			soft_timeline_forget(j->points[j->nwaits + i].timeline, j->points[j->nwaits + i].value);
		job_release(sd, j);
	}
}

int soft_queue_submit(struct npu_queue *base, const struct npu_job *jobs, unsigned int count)
{
	struct soft_device *sd = SD(base->vm->dev);
	struct soft_queue *q = TO_Q(base);
	uint64_t end;
	int err = 0;

	soft_lock(sd);
	if (sd->lost)
		err = npu_fail(&sd->base, -ENODEV, "submit: the device has gone");
	else if (dead(q))
		err = npu_fail(&sd->base, -EIO, "submit: the queue is dead (%s): npu_queue_check() says why",
			       npu_queue_state_name(q->st.state));
	if (err)
		goto out;
	err = reserve_jobs(sd, q, count);
	for (end = q->head; !err && end < q->head + count; end++) {
		err = take_job(sd, q, end, &jobs[end - q->head]);
	}
	if (err) {
		untake_jobs(sd, q, q->head, end);
		npu_fail(&sd->base, err, "submit: no memory for %u jobs", count);
		goto out;
	}
	q->head = end;
	soft_service(sd);
out:
	soft_unlock(sd);
	return err;
}

int soft_queue_status(struct npu_queue *base, struct npu_queue_status *st)
{
	struct soft_device *sd = SD(base->vm->dev);
	struct soft_queue *q = TO_Q(base);

	soft_lock(sd);
	soft_service(sd);
	*st = q->st;
	if (q->hw >= 0) {
		uint32_t qc = NPU_QC((uint32_t)q->hw);

		st->progress = soft_rd64(sd, qc + NPU_QC_PROGRESS_LO);
		st->active_ns = soft_rd64(sd, qc + NPU_QC_ACTIVE_LO);
	}
	soft_unlock(sd);
	return 0;
}

static int vm_idle(struct soft_device *sd, void *arg)
{
	for (struct soft_queue *q = sd->queues; q; q = q->next)
		if (q->base.vm == arg && q->tail < q->head)
			return 0;
	return 1;
}

/* As the kernel does for VM-exclusive buffers: every job of the VM may use it. */
int soft_buffer_wait(struct npu_buffer *buf, int64_t deadline_ns)
{
	int ret = soft_wait(SD(buf->vm->dev), vm_idle, buf->vm, deadline_ns);

	return ret < 0 ? ret : 0;
}
