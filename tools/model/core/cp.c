// SPDX-License-Identifier: MIT
/*
 * The command processor: jobs, packets, register operands.
 *
 * Commands execute here one after the other, in program order, which is always
 * a legal order. How they overlap on the three engines is a matter of device
 * time: m->now is when the next packet of the running queue issues; token[]
 * and drain are when what was issued ends.
 */
#include <string.h>

#include "cp.h"

/* ---- Device time ------------------------------------------------------------- */

void cp_advance(struct npu_model *m, struct queue *q, uint64_t to)
{
	uint64_t now = counter(&m->now), n;

	if (to <= now)
		return;
	n = to - now;
	atomic_store_explicit(&m->now, to, memory_order_relaxed);
	count(&m->cnt_cycles, n);
	count(&q->active_cycles, n);
	q->job.cycles += n;
}

void cp_drain(struct npu_model *m, struct queue *q)
{
	cp_advance(m, q, q->drain);
}

/* The job ends: on-chip memory is empty for the next one. */
void cp_write_back(struct npu_model *m, struct queue *q)
{
	uint64_t bytes = m->resident.owner == q->index ? resident_flush(m) : 0;

	count(&m->cnt_write, bytes);
	cp_advance(m, q, timing_write_back(m, bytes, counter(&m->now)));
}

/* When every token of @mask is zero. */
uint64_t cp_tokens_clear(const struct queue *q, uint32_t mask, uint64_t t)
{
	while (mask) {
		unsigned int i = (unsigned int)__builtin_ctz(mask);

		if (q->token[i] > t)
			t = q->token[i];
		mask &= mask - 1;
	}
	return t;
}

/* ---- Faults ------------------------------------------------------------------------ */

static enum run fault(struct queue *q, struct fault *f, uint8_t code, uint64_t addr)
{
	memset(f, 0, sizeof(*f));
	f->code = code;
	f->engine = NPU_ENGINE_CONTROL;
	f->operand = NPU_OPERAND_NONE;
	f->opcode = 0xffff;
	f->addr = addr;
	f->seqno = q->job.seqno;
	return RUN_FAULT;
}

/* About the packet in q->packet, at q->job.pc. */
enum run cp_packet_fault(struct queue *q, struct fault *f, uint8_t code, uint64_t addr)
{
	const struct npu_cmd *c = (const struct npu_cmd *)q->packet;

	fault(q, f, code, addr);
	f->opcode = c->opcode;
	f->tag = c->tag;
	f->pc = q->job.pc;
	return RUN_FAULT;
}

enum run cp_access_fault(struct queue *q, struct fault *f, const struct xlate *x)
{
	if (x->code == NPU_FAULT_INTERNAL)
		return RUN_FATAL;
	cp_packet_fault(q, f, x->code, x->addr);
	f->write = x->write;
	return RUN_FAULT;
}

bool cp_engine_hung(struct npu_model *m, unsigned int engine)
{
	return atomic_load_explicit(&m->engine_hung[engine], memory_order_relaxed) != NO_QUEUE;
}

enum run cp_stop(struct queue *q, enum block why)
{
	q->stop = why;
	return RUN_BLOCKED;
}

/* ---- Ring ---------------------------------------------------------------------------- */

/*
 * Host pointer of a ring or completion entry: at a bus address, or through the
 * slot. Entries do not cross pages.
 */
static enum run ring_ptr(struct npu_model *m, struct queue *q, uint64_t addr, size_t len, bool write, uint8_t **out,
			 struct fault *f)
{
	struct slot *s = &m->slot[q->slot];
	struct xlate x;

	if (q->mode == NPU_QC_MODE_KERNEL) {
		*out = addr >> m->cfg.bus_bits ? NULL : bus_ptr(&m->bus, addr, len, write);
	} else {
		if (mmu_locked(s, addr, len))
			return cp_stop(q, BLOCK_LOCK);
		*out = mmu_page(m, s, addr, write, &x);
		if (!*out && x.code == NPU_FAULT_INTERNAL)
			return RUN_FATAL;
	}
	if (*out)
		return RUN_MORE;
	fault(q, f, NPU_FAULT_RING, addr);
	f->write = write;
	return RUN_FAULT;
}

static bool descriptor_valid(const struct npu_model *m, const struct npu_job_desc *d)
{
	return d->stream % NPU_PACKET_ALIGN == 0 && d->stream_size && d->stream_size % NPU_PACKET_ALIGN == 0 &&
	       d->stream_size <= m->cfg.max_stream && d->stream + d->stream_size >= d->stream &&
	       !(d->flags & ~NPU_JOB_FLAGS) && d->nregs <= NPU_SCALARS && (!d->nregs || d->regs % 8 == 0) &&
	       !(d->rsvd[0] | d->rsvd[1] | d->rsvd[2]);
}

static enum run fetch_job(struct npu_model *m, struct queue *q, struct fault *f)
{
	uint64_t at = q->ring + (q->head & ((1u << q->ring_log2) - 1)) * sizeof(struct npu_job_desc), arg;
	struct npu_job_desc d;
	uint8_t *p;
	enum run r;

	r = ring_ptr(m, q, at, sizeof(d), false, &p, f);
	if (r != RUN_MORE)
		return r;
	memcpy(&d, p, sizeof(d));
	if (inject_hit(m, NPU_INJECT_DESCRIPTOR, (int)q->index, false, &arg)) {
		d.stream ^= 8;
		d.rsvd[0] ^= arg | 1;
	}
	/* What a dropped job left on the engines ends first; its time is not this job's. */
	cp_advance(m, q, q->dropped);
	memset(&q->job, 0, sizeof(q->job));
	q->job.seqno = d.seqno;
	if (!descriptor_valid(m, &d))
		return fault(q, f, NPU_FAULT_DESCRIPTOR, at);
	q->job.stream = d.stream;
	q->job.pc = d.stream;
	q->job.stream_size = d.stream_size;
	q->job.regs = d.regs;
	q->job.nregs = d.nregs;
	q->job.flags = d.flags;
	q->job.budget_us = d.budget_us;
	q->job.cookie = d.cookie;
	q->job.phase = PHASE_REGS;
	memset(q->token, 0, sizeof(q->token));
	q->drain = 0;
	atomic_store_explicit(&q->progress, 0, memory_order_relaxed);
	atomic_store_explicit(&q->in_job, true, memory_order_relaxed);
	return RUN_MORE;
}

static enum run load_regs(struct npu_model *m, struct queue *q, struct fault *f)
{
	struct slot *s = &m->slot[q->slot];
	size_t len = q->job.nregs * 8u;
	struct xlate x;

	if (len && mmu_locked(s, q->job.regs, len))
		return cp_stop(q, BLOCK_LOCK);
	if (len && mmu_read(m, s, q->job.regs, q->job.r, len, &x)) {
		if (x.code == NPU_FAULT_INTERNAL)
			return RUN_FATAL;
		return fault(q, f, x.code, x.addr);
	}
	q->job.phase = PHASE_RUN;
	return RUN_MORE;
}

/* Retires the job: completion, then sequence number, then interrupt. */
static enum run complete(struct npu_model *m, struct queue *q, struct fault *f)
{
	uint64_t at = q->comp + (q->head & ((1u << q->ring_log2) - 1)) * sizeof(struct npu_completion);
	struct npu_completion *c;
	uint8_t *p;
	enum run r;
	bool empty;

	r = ring_ptr(m, q, at, sizeof(*c), true, &p, f);
	if (r != RUN_MORE)
		return r;
	c = (struct npu_completion *)p;
	c->active_ns = cycles_to_ns(m, q->job.cycles);
	c->timer = time_ticks(m);
	c->commands = q->job.commands;
	c->cookie = q->job.cookie;
	__atomic_store_n(&c->seqno, q->job.seqno, __ATOMIC_RELEASE);

	pthread_mutex_lock(&m->lock);
	q->seqno = q->job.seqno;
	q->head++;
	empty = q->head == atomic_load_explicit(&q->tail, memory_order_relaxed);
	atomic_store_explicit(&q->in_job, false, memory_order_relaxed);
	if (q->job.flags & NPU_JOB_IRQ) {
		if ((q->job.flags & NPU_JOB_COALESCE) && !empty && q->coalesce_us) {
			if (!q->coalesce_ns)
				q->coalesce_ns = time_ns(m) + q->coalesce_us * 1000ull;
		} else {
			q->coalesce_ns = 0;
			irq_raise(m, IRQ_DONE, 1u << q->index);
		}
	}
	if (empty && q->coalesce_ns) {
		q->coalesce_ns = 0;
		irq_raise(m, IRQ_DONE, 1u << q->index);
	}
	core_unlock(m);
	q->job.phase = PHASE_NONE;
	return RUN_MORE;
}

/* ---- Packets ---------------------------------------------------------------------------- */

/* Bytes of the stream at pc, copied: the client may change its memory at any time. */
static enum run fetch_bytes(struct npu_model *m, struct queue *q, uint64_t va, void *buf, size_t len, struct fault *f)
{
	struct slot *s = &m->slot[q->slot];
	struct xlate x;

	if (q->fetch && q->fetch_gen == s->gen && !s->locked && va - q->fetch_va < PAGE_SIZE &&
	    PAGE_SIZE - (va - q->fetch_va) >= len) {
		memcpy(buf, q->fetch + (va - q->fetch_va), len);
		return RUN_MORE;
	}
	if (mmu_locked(s, va, len))
		return cp_stop(q, BLOCK_LOCK);
	if (mmu_read(m, s, va, buf, len, &x)) {
		if (x.code == NPU_FAULT_INTERNAL)
			return RUN_FATAL;
		fault(q, f, x.code, x.addr);
		f->pc = q->job.pc;
		return RUN_FAULT;
	}
	q->fetch_va = (va + len - 1) & ~(PAGE_SIZE - 1);
	q->fetch_gen = s->gen;
	q->fetch = mmu_page(m, s, q->fetch_va, false, &x);
	return RUN_MORE;
}

static enum run fetch_packet(struct npu_model *m, struct queue *q, struct fault *f)
{
	const struct npu_cmd *c = (const struct npu_cmd *)q->packet;
	uint64_t left = q->job.stream_size - (q->job.pc - q->job.stream);
	unsigned int len;
	enum run r;

	if (!left) {
		fault(q, f, NPU_FAULT_STREAM, q->job.pc);
		f->pc = q->job.pc;
		return RUN_FAULT;
	}
	r = fetch_bytes(m, q, q->job.pc, q->packet, sizeof(*c), f);
	if (r != RUN_MORE)
		return r;
	len = c->len * NPU_PACKET_ALIGN;
	if (len < sizeof(*c) + c->nregops * sizeof(struct npu_regop) || len > NPU_PACKET_MAX ||
	    c->rsvd[0] | c->rsvd[1] | c->rsvd[2] || (c->signal >= NPU_TOKENS && c->signal != NPU_NO_TOKEN))
		return cp_packet_fault(q, f, NPU_FAULT_ENCODING, q->job.pc);
	if (len > left)
		return cp_packet_fault(q, f, NPU_FAULT_STREAM, q->job.pc);
	if (len == sizeof(*c))
		return RUN_MORE;
	return fetch_bytes(m, q, q->job.pc + sizeof(*c), q->packet + sizeof(*c), len - sizeof(*c), f);
}

/* field += R[ra] * sa + R[rb] * sb, for each register operand; @len: bytes before them. */
static enum run apply_regops(struct queue *q, unsigned int len, unsigned int n, struct fault *f)
{
	uint8_t *base = q->packet;
	const struct npu_regop *op = (const struct npu_regop *)(base + len);

	for (; n; n--, op++) {
		unsigned int off = NPU_REGOP_OFFSET(op->field), size = op->field & NPU_REGOP_64 ? 8 : 4;
		bool max = op->field & NPU_REGOP_MAX;
		uint64_t v;
		uint32_t v32;

		if ((op->field & ~(NPU_REGOP_64 | NPU_REGOP_MAX | 0x3ffu)) || off % size ||
		    off < sizeof(struct npu_cmd) || off + size > len ||
		    (!reg_none(op->ra) && op->ra >= NPU_SCALARS) || (!reg_none(op->rb) && op->rb >= NPU_SCALARS) ||
		    (max && !reg_none(op->rb)))
			return cp_packet_fault(q, f, NPU_FAULT_ENCODING, q->job.pc);
		if (size == 8) {
			memcpy(&v, base + off, 8);
		} else {
			memcpy(&v32, base + off, 4);
			v = v32;
		}
		if (!reg_none(op->ra))
			v += q->job.r[op->ra] * (uint64_t)(int64_t)op->sa;
		if (!reg_none(op->rb))
			v += q->job.r[op->rb] * (uint64_t)op->sb;
		if ((max && v > (uint64_t)op->sb) || (size == 4 && v > UINT32_MAX))
			return cp_packet_fault(q, f, NPU_FAULT_OPERAND_ILLEGAL, v);
		if (size == 8) {
			memcpy(base + off, &v, 8);
		} else {
			v32 = (uint32_t)v;
			memcpy(base + off, &v32, 4);
		}
	}
	return RUN_MORE;
}

/* ---- One packet -------------------------------------------------------------------------------------- */

static enum run hang(struct npu_model *m, struct queue *q, unsigned int len)
{
	const struct npu_cmd *c = (const struct npu_cmd *)q->packet;
	struct npu_op_plan plan;

	q->stop_engine = NPU_ENGINE_CONTROL;
	if (c->opcode >= NPU_OP_FIRST) {
		npu_op_plan(q->packet, len, &m->limits, &plan);
		if (!plan.fault && !cp_engine_hung(m, plan.engine))
			q->stop_engine = plan.engine;
	}
	cp_packet_fault(q, &q->stop_fault, NPU_FAULT_WATCHDOG, q->job.pc);
	q->stop_fault.engine = q->stop_engine;
	return cp_stop(q, BLOCK_HUNG);
}

static enum run gone(struct npu_model *m, uint64_t arg)
{
	pthread_mutex_lock(&m->lock);
	m->gone_forever |= arg == 1;
	pthread_mutex_unlock(&m->lock);
	return RUN_GONE;
}

static bool over_budget(const struct queue *q)
{
	return q->budget_cycles && q->job.cycles > q->budget_cycles;
}

static enum run step(struct npu_model *m, struct queue *q, struct fault *f)
{
	const struct npu_cmd *c = (const struct npu_cmd *)q->packet;
	unsigned int len;
	uint64_t next, arg;
	enum run r;

	r = fetch_packet(m, q, f);
	if (r != RUN_MORE)
		return r;
	next = q->job.pc + c->len * NPU_PACKET_ALIGN;
	len = c->len * NPU_PACKET_ALIGN - c->nregops * (unsigned int)sizeof(struct npu_regop);
	if (c->nregops) {
		r = apply_regops(q, len, c->nregops, f);
		if (r != RUN_MORE)
			return r;
	}
	if (inject_hit(m, NPU_INJECT_GONE, (int)q->index, false, &arg))
		return gone(m, arg);
	if (inject_hit(m, NPU_INJECT_FATAL, (int)q->index, false, &arg))
		return RUN_FATAL;
	if (inject_hit(m, NPU_INJECT_HANG, (int)q->index, false, &arg))
		return hang(m, q, len);
	if (c->opcode >= NPU_OP_FIRST)
		r = cp_tensor(m, q, len, f);
	else
		r = cp_control(m, q, len, &next, f);
	if (r != RUN_MORE)
		return r;
	if (over_budget(q))
		return cp_packet_fault(q, f, NPU_FAULT_BUDGET, q->job.pc);
	q->job.pc = next;
	q->job.commands++;
	count(&q->commands, 1);
	count(&m->cnt_commands, 1);
	return RUN_MORE;
}

enum run cp_run(struct npu_model *m, struct queue *q, unsigned int budget, unsigned int *done, struct fault *f)
{
	enum run r = RUN_MORE;

	while (r == RUN_MORE && *done < budget && !atomic_load_explicit(&m->attention, memory_order_relaxed)) {
		switch (q->job.phase) {
		case PHASE_NONE:
			if (q->head == atomic_load_explicit(&q->tail, memory_order_acquire))
				return RUN_IDLE;
			r = fetch_job(m, q, f);
			if (r == RUN_MORE)
				cp_job_limits(m, q);
			break;
		case PHASE_REGS:
			r = load_regs(m, q, f);
			break;
		case PHASE_RUN:
			r = step(m, q, f);
			if (r == RUN_MORE)
				++*done;
			break;
		default:
			r = complete(m, q, f);
			break;
		}
	}
	return r;
}

/* The job's budget in cycles: the smaller of its own and the queue's. */
void cp_job_limits(struct npu_model *m, struct queue *q)
{
	uint64_t a = us_to_cycles(m, q->run_budget_us), b = us_to_cycles(m, q->job.budget_us);

	q->budget_cycles = !a || (b && b < a) ? b : a;
	q->watchdog_cycles = us_to_cycles(m, q->run_watchdog_us);
}
