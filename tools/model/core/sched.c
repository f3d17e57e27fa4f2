// SPDX-License-Identifier: MIT
/*
 * The arbiter and the device thread.
 *
 * At each command boundary the arbiter serves, in this order: a queue whose
 * guaranteed minimum share is owed; the highest priority level; inside a level
 * round robin, by time slices of device time. Alone, a queue runs on.
 */
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <time.h>

#include "core.h"
#include "ops/ahead.h"

#define SEM_POLL_NS	100000u		/* a semaphore is looked at that often without a signal */
#define SLICE_US	1000u
#define SHARE_WINDOW_US	10000u		/* over which minimum shares are kept */
#define ALONE_BUDGET	64u		/* packets between two looks at timers */
#define WAIT_MAX_NS	10000000u	/* when the host's clock is its own */

static unsigned int level(const struct queue *q)
{
	return NPU_QC_PRIO_LEVEL(q->prio);
}

static uint32_t share(const struct queue *q)
{
	uint32_t s = q->prio >> 8 & 0x7f;

	return s > 100 ? 100 : s;
}

static uint64_t slice(const struct npu_model *m, const struct queue *q)
{
	return us_to_cycles(m, q->slice_us ? q->slice_us : SLICE_US);
}

unsigned int sched_others(struct npu_model *m, struct queue *q)
{
	unsigned int n = 0;

	for (uint32_t i = 0; i < m->cfg.queues; i++)
		n += &m->queue[i] != q && queue_runnable(m, &m->queue[i]);
	return n;
}

/* The queue to whom most is owed under its minimum share. */
static struct queue *owed(struct npu_model *m)
{
	struct queue *best = NULL;

	for (uint32_t i = 0; i < m->cfg.queues; i++) {
		struct queue *q = &m->queue[i];

		if (q->in_credit && queue_runnable(m, q) && (!best || q->credit > best->credit))
			best = q;
	}
	return best;
}

static struct queue *round_robin(struct npu_model *m, unsigned int lvl)
{
	uint32_t last = m->last_rr[lvl];
	struct queue *q = &m->queue[last];

	if (level(q) == lvl && queue_runnable(m, q) && q->slice_cycles < slice(m, q))
		return q;
	for (uint32_t i = 1; i <= m->cfg.queues; i++) {
		q = &m->queue[(last + i) % m->cfg.queues];
		if (level(q) != lvl || !queue_runnable(m, q))
			continue;
		q->slice_cycles = 0;
		m->last_rr[lvl] = q->index;
		return q;
	}
	return NULL;
}

struct queue *sched_pick(struct npu_model *m)
{
	struct queue *q = owed(m);

	for (int lvl = 3; !q && lvl >= 0; lvl--)
		q = round_robin(m, (unsigned int)lvl);
	return q;
}

/* @q used @cycles of the device. */
void sched_account(struct npu_model *m, struct queue *q, uint64_t cycles)
{
	int64_t window = (int64_t)us_to_cycles(m, SHARE_WINDOW_US) * 100;

	q->slice_cycles += cycles;
	for (uint32_t i = 0; i < m->cfg.queues; i++) {
		struct queue *o = &m->queue[i];

		if (!share(o) || (o != q && !queue_runnable(m, o))) {
			o->credit = 0;
			o->in_credit = false;
			continue;
		}
		o->credit += (int64_t)(cycles * share(o)) - (o == q ? (int64_t)cycles * 100 : 0);
		if (o->credit > window)
			o->credit = window;
		if (o->credit < -window)
			o->credit = -window;
		/* Runs of about a quarter slice, not single commands. */
		if (o->credit >= (int64_t)slice(m, o) * share(o) / 4)
			o->in_credit = true;
		else if (o->credit <= 0)
			o->in_credit = false;
	}
}

/* ---- Timers ---------------------------------------------------------------------- */

static uint64_t us_after(uint64_t ns, uint32_t us)
{
	return us ? ns + us * 1000ull : NO_DEADLINE;
}

static uint64_t min64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* When the hung command of @q will be given up; @code: why. */
static uint64_t hang_deadline(const struct npu_model *m, const struct queue *q, uint8_t *code)
{
	uint64_t watchdog = us_after(q->hung_ns, q->watchdog_us), budget = NO_DEADLINE, used;
	uint32_t us = q->budget_us;

	if (q->job.budget_us && (!us || q->job.budget_us < us))
		us = q->job.budget_us;
	if (us) {
		used = cycles_to_ns(m, q->job.cycles);
		budget = q->hung_ns + (us * 1000ull > used ? us * 1000ull - used : 0);
	}
	*code = watchdog <= budget ? NPU_FAULT_WATCHDOG : NPU_FAULT_BUDGET;
	return min64(watchdog, budget);
}

/* BLOCK_US limits the waits of a job together. */
static uint64_t wait_deadline(const struct queue *q)
{
	uint64_t limit = q->block_us * 1000ull;

	if (!limit)
		return NO_DEADLINE;
	return q->block_ns + (limit > q->job.blocked_ns ? limit - q->job.blocked_ns : 0);
}

static uint64_t queue_deadline(const struct npu_model *m, const struct queue *q)
{
	uint64_t d = NO_DEADLINE;
	uint8_t code;

	if (q->reset_deadline && !(q->status & NPU_QSTATUS_RESET_FAILED))
		d = q->reset_deadline;
	if (!queue_live(q))
		return d;
	if (q->block == BLOCK_HUNG)
		d = min64(d, hang_deadline(m, q, &code));
	if (q->block_ns)
		d = min64(d, wait_deadline(q));
	if (q->block == BLOCK_SEM)
		d = min64(d, q->sem_check_ns);
	if (q->coalesce_ns)
		d = min64(d, q->coalesce_ns);
	return d;
}

/* The next moment at which something happens without a command. */
uint64_t sched_deadline(struct npu_model *m)
{
	uint64_t d = NO_DEADLINE;

	if (!m->clock || !m->power)
		return d;
	if (m->resetting && !m->reset_pending && !m->reset_failed)
		d = m->reset_deadline;
	if (m->irq.storm_ns)
		d = min64(d, m->irq.storm_ns);
	for (uint32_t i = 0; i < m->cfg.queues; i++)
		d = min64(d, queue_deadline(m, &m->queue[i]));
	return d;
}

static void block_fault(struct npu_model *m, struct queue *q, uint8_t code)
{
	struct fault f = q->stop_fault;

	f.code = code;
	queue_fault(m, q, &f);
}

static void queue_timers(struct npu_model *m, struct queue *q, uint64_t now)
{
	uint8_t code;

	if (!queue_live(q))
		return;
	if (q->coalesce_ns && now >= q->coalesce_ns) {
		q->coalesce_ns = 0;
		irq_raise(m, IRQ_DONE, 1u << q->index);
	}
	if (q->block == BLOCK_HUNG && now >= hang_deadline(m, q, &code))
		block_fault(m, q, code);
	else if (q->block_ns && now >= wait_deadline(q))
		block_fault(m, q, NPU_FAULT_BLOCKED);
	else if (q->block == BLOCK_SEM && now >= q->sem_check_ns)
		q->block = BLOCK_NONE;
}

/* Token free. */
void sched_timers(struct npu_model *m, uint64_t now)
{
	if (m->irq.storm_ns && now >= m->irq.storm_ns) {
		m->irq.storm_ns = 0;
		irq_update(m);
	}
	if (m->resetting && !m->reset_pending && now >= m->reset_deadline)
		core_reset_end(m);
	for (uint32_t i = 0; i < m->cfg.queues; i++)
		queue_timers(m, &m->queue[i], now);
}

/* ---- Running -------------------------------------------------------------------------- */

static bool may_run(const struct npu_model *m)
{
	return m->clock && m->power && !m->gone && !m->fatal && !m->resetting && !m->cold_reset;
}

/* The command at which the queue stopped never ends. */
static void hang_begins(struct npu_model *m, struct queue *q)
{
	q->hung_ns = time_ns(m);
	if (q->stop_engine < NPU_ENGINES)
		atomic_store_explicit(&m->engine_hung[q->stop_engine], q->index, memory_order_relaxed);
}

/* The lock is held again; takes over how the run ended. */
static void run_ended(struct npu_model *m, struct queue *q, enum run r, unsigned int done, const struct fault *f)
{
	bool waits = r == RUN_BLOCKED && q->stop == BLOCK_SEM;

	if (done || (r != RUN_MORE && !waits))
		queue_end_wait(m, q);
	switch (r) {
	case RUN_FAULT:
		queue_fault(m, q, f);
		break;
	case RUN_FATAL:
		core_fatal(m, NPU_FAULT_INTERNAL);
		break;
	case RUN_BLOCKED:
		q->block = q->stop;
		q->block_engine = q->stop_engine;
		if (q->stop == BLOCK_HUNG)
			hang_begins(m, q);
		if (waits) {
			q->sem_check_ns = time_ns(m) + SEM_POLL_NS;
			if (!q->block_ns)
				q->block_ns = time_ns(m);
		}
		break;
	case RUN_GONE:
		m->gone = true;
		break;
	default:
		break;
	}
}

static unsigned int run_queue(struct npu_model *m, struct queue *q, unsigned int budget)
{
	uint64_t before = counter(&m->now);
	struct fault f = { 0 };
	unsigned int done = 0;
	enum run r;

	if (m->current != q->index) {
		if (m->current != NO_QUEUE)
			count(&m->cnt_switches, 1);
		m->current = q->index;
	}
	if (sched_others(m, q))
		budget = 1;
	else if (budget > ALONE_BUDGET)
		budget = ALONE_BUDGET;
	m->exec = q;
	m->limits.va_limit = 1ull << (m->slot[q->slot].va_bits ? m->slot[q->slot].va_bits : m->cfg.va_bits);
	q->run_watchdog_us = q->watchdog_us;
	q->run_budget_us = q->budget_us;
	cp_job_limits(m, q);
	core_unlock(m);
	r = cp_run(m, q, budget, &done, &f);
	pthread_mutex_lock(&m->lock);
	run_ended(m, q, r, done, &f);
	sched_account(m, q, counter(&m->now) - before);
	m->exec = NULL;
	if (m->waiters)
		pthread_cond_broadcast(&m->quiet);
	return done;
}

/* Counters belong to the token. */
static void hang_counters(struct npu_model *m)
{
	for (unsigned int e = 0; e <= NPU_ENGINES; e++) {
		count(&m->cnt_cycles, m->hang_cycles[e]);
		if (e < NPU_ENGINES)
			count(&m->cnt_engine[e], m->hang_cycles[e]);
		m->hang_cycles[e] = 0;
	}
}

/*
 * One turn: whatever is pending, then up to @budget packets of one queue. Lock
 * held, token free. Returns the packets done; m->idle: there was no queue to run.
 */
unsigned int sched_once(struct npu_model *m, unsigned int budget)
{
	struct queue *q = NULL;

	atomic_store_explicit(&m->attention, false, memory_order_relaxed);
	if (m->power && m->clock) {
		if (m->reset_pending)
			core_reset_begin(m);
		hang_counters(m);
		sched_timers(m, time_ns(m));
		mmu_run_pending(m);
		queue_run_pending(m);
	}
	if (may_run(m))
		q = sched_pick(m);
	m->idle = !q;
	return q ? run_queue(m, q, budget) : 0;
}

/* Lets register accesses in: the mutex alone would not be fair to them. */
static void let_in(struct npu_model *m)
{
	if (!atomic_load_explicit(&m->contenders, memory_order_relaxed))
		return;
	core_unlock(m);
	for (unsigned int i = 0; i < 1000 && atomic_load_explicit(&m->contenders, memory_order_relaxed); i++)
		sched_yield();
	pthread_mutex_lock(&m->lock);
}

static void wait_for_work(struct npu_model *m)
{
	uint64_t d = sched_deadline(m), now = d == NO_DEADLINE ? 0 : time_ns(m), ns;
	struct timespec ts;

	if (m->irq.level != m->irq.delivered || m->irq.pulse) {
		core_unlock(m);
		pthread_mutex_lock(&m->lock);
	}
	if (atomic_load_explicit(&m->attention, memory_order_relaxed) || m->stop)
		return;
	if (m->waiters)
		pthread_cond_broadcast(&m->quiet);
	if (d == NO_DEADLINE) {
		pthread_cond_wait(&m->wake, &m->lock);
		return;
	}
	ns = d > now ? d - now : 0;
	if (m->bus.ops.time_ns && ns > WAIT_MAX_NS)
		ns = WAIT_MAX_NS;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	ns += (uint64_t)ts.tv_nsec;
	ts.tv_sec += (time_t)(ns / 1000000000);
	ts.tv_nsec = (long)(ns % 1000000000);
	pthread_cond_timedwait(&m->wake, &m->lock, &ts);
}

void *sched_thread(void *arg)
{
	struct npu_model *m = arg;

	if (m->bus.ops.thread_enter)
		m->bus.ops.thread_enter(m->bus.host);
	npu_ahead_enter();
	pthread_mutex_lock(&m->lock);
	while (!m->stop) {
		sched_once(m, UINT32_MAX);
		if (m->idle)
			wait_for_work(m);
		let_in(m);
	}
	core_unlock(m);
	npu_ahead_leave();
	if (m->bus.ops.thread_exit)
		m->bus.ops.thread_exit(m->bus.host);
	return NULL;
}
