// SPDX-License-Identifier: MIT
/*
 * The command processor: jobs, packets, register operands, control commands.
 *
 * Commands execute here one after the other, in program order, which is always
 * a legal order. How they overlap on the three engines is a matter of device
 * time: m->now is when the next packet of the running queue issues; token[]
 * and drain are when what was issued ends.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core.h"

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

/* When every token of @mask is zero. */
static uint64_t tokens_clear(const struct queue *q, uint32_t mask, uint64_t t)
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
static enum run packet_fault(struct queue *q, struct fault *f, uint8_t code, uint64_t addr)
{
	const struct npu_cmd *c = (const struct npu_cmd *)q->packet;

	fault(q, f, code, addr);
	f->opcode = c->opcode;
	f->tag = c->tag;
	f->pc = q->job.pc;
	return RUN_FAULT;
}

static enum run access_fault(struct queue *q, struct fault *f, const struct xlate *x)
{
	if (x->code == NPU_FAULT_INTERNAL)
		return RUN_FATAL;
	packet_fault(q, f, x->code, x->addr);
	f->write = x->write;
	return RUN_FAULT;
}

static enum run blocked(struct queue *q, enum block why)
{
	q->stop = why;
	return RUN_BLOCKED;
}

/* ---- Ring ---------------------------------------------------------------------------- */

/*
 * Copies a ring or completion entry from or to memory: at a bus address, or
 * through the slot. Entries do not cross pages.
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
			return blocked(q, BLOCK_LOCK);
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
		return blocked(q, BLOCK_LOCK);
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
		return blocked(q, BLOCK_LOCK);
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
		return packet_fault(q, f, NPU_FAULT_ENCODING, q->job.pc);
	if (len > left)
		return packet_fault(q, f, NPU_FAULT_STREAM, q->job.pc);
	if (len == sizeof(*c))
		return RUN_MORE;
	return fetch_bytes(m, q, q->job.pc + sizeof(*c), q->packet + sizeof(*c) / 4, len - sizeof(*c), f);
}

static bool reg_none(uint8_t r)
{
	return r == NPU_NO_REG;
}

/* field += R[ra] * sa + R[rb] * sb, for each register operand; @len: bytes before them. */
static enum run apply_regops(struct queue *q, unsigned int len, unsigned int n, struct fault *f)
{
	uint8_t *base = (uint8_t *)q->packet;
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
			return packet_fault(q, f, NPU_FAULT_ENCODING, q->job.pc);
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
			return packet_fault(q, f, NPU_FAULT_OPERAND_ILLEGAL, v);
		if (size == 8) {
			memcpy(base + off, &v, 8);
		} else {
			v32 = (uint32_t)v;
			memcpy(base + off, &v32, 4);
		}
	}
	return RUN_MORE;
}

/* ---- Control commands ------------------------------------------------------------------------ */

static enum run encoding(struct queue *q, struct fault *f)
{
	return packet_fault(q, f, NPU_FAULT_ENCODING, q->job.pc);
}

static bool zero(const uint8_t *p, unsigned int n)
{
	while (n--)
		if (*p++)
			return false;
	return true;
}

static enum run jump(struct queue *q, int64_t offset, struct fault *f)
{
	uint64_t target = q->job.pc + (uint64_t)offset;

	/* One past the end is out, too: the next fetch would leave the stream. */
	if (target % NPU_PACKET_ALIGN)
		return encoding(q, f);
	if (target - q->job.stream >= q->job.stream_size)
		return packet_fault(q, f, NPU_FAULT_STREAM, target);
	q->job.pc = target;
	return RUN_MORE;
}

static uint64_t alu(unsigned int op, uint64_t a, uint64_t b)
{
	switch (op) {
	case NPU_ALU_ADD:
		return a + b;
	case NPU_ALU_SUB:
		return a - b;
	case NPU_ALU_MUL:
		return a * b;
	case NPU_ALU_AND:
		return a & b;
	case NPU_ALU_OR:
		return a | b;
	case NPU_ALU_XOR:
		return a ^ b;
	case NPU_ALU_SHL:
		return a << (b & 63);
	case NPU_ALU_SHR:
		return a >> (b & 63);
	case NPU_ALU_MIN:
		return a < b ? a : b;
	case NPU_ALU_MAX:
		return a > b ? a : b;
	case NPU_ALU_UDIV:
		return b ? a / b : UINT64_MAX;
	default:
		return b ? a % b : a;
	}
}

static bool condition(unsigned int cond, uint64_t a, uint64_t b)
{
	switch (cond) {
	case NPU_COND_EQ:
		return a == b;
	case NPU_COND_NE:
		return a != b;
	case NPU_COND_LTU:
		return a < b;
	case NPU_COND_GEU:
		return a >= b;
	case NPU_COND_LT:
		return (int64_t)a < (int64_t)b;
	case NPU_COND_GE:
		return (int64_t)a >= (int64_t)b;
	default:
		return true;
	}
}

static enum run do_set(struct queue *q, struct fault *f)
{
	const struct npu_cmd_set *c = (const struct npu_cmd_set *)q->packet;

	if (c->rd >= NPU_SCALARS || !zero(c->rsvd, sizeof(c->rsvd)))
		return encoding(q, f);
	q->job.r[c->rd] = c->imm;
	return RUN_MORE;
}

static enum run do_alu(struct queue *q, struct fault *f)
{
	const struct npu_cmd_alu *c = (const struct npu_cmd_alu *)q->packet;

	if (c->op >= NPU_ALU_COUNT || c->rd >= NPU_SCALARS || c->ra >= NPU_SCALARS ||
	    (!reg_none(c->rb) && c->rb >= NPU_SCALARS) || !zero(c->rsvd, sizeof(c->rsvd)))
		return encoding(q, f);
	q->job.r[c->rd] = alu(c->op, q->job.r[c->ra], reg_none(c->rb) ? c->imm : q->job.r[c->rb]);
	return RUN_MORE;
}

static enum run do_branch(struct queue *q, uint64_t *next, struct fault *f)
{
	const struct npu_cmd_branch *c = (const struct npu_cmd_branch *)q->packet;
	bool loop = c->cmd.opcode == NPU_CMD_LOOP, take;
	uint64_t pc = q->job.pc;
	enum run r;

	if (c->ra >= NPU_SCALARS || c->rsvd)
		return encoding(q, f);
	if (loop) {
		if (c->cond || !reg_none(c->rb) || c->imm)
			return encoding(q, f);
		take = --q->job.r[c->ra] != 0;
	} else {
		if (c->cond >= NPU_COND_COUNT || (!reg_none(c->rb) && c->rb >= NPU_SCALARS))
			return encoding(q, f);
		take = condition(c->cond, q->job.r[c->ra], reg_none(c->rb) ? c->imm : q->job.r[c->rb]);
	}
	if (!take)
		return c->offset % (int)NPU_PACKET_ALIGN ? encoding(q, f) : RUN_MORE;
	r = jump(q, c->offset, f);
	*next = q->job.pc;
	q->job.pc = pc;
	return r;
}

/* Host pointer of a small, naturally aligned datum of a control command. */
static enum run datum(struct npu_model *m, struct queue *q, uint64_t addr, size_t len, bool write, uint8_t **out,
		      struct fault *f)
{
	struct slot *s = &m->slot[q->slot];
	struct xlate x;
	uint64_t arg;

	if (mmu_locked(s, addr, len))
		return blocked(q, BLOCK_LOCK);
	x.addr = addr;
	x.write = write;
	if (inject_hit(m, NPU_INJECT_PAGE_FAULT, (int)q->index, false, &arg)) {
		x.code = NPU_FAULT_TRANSLATION;
		return access_fault(q, f, &x);
	}
	if (inject_hit(m, NPU_INJECT_ECC, (int)q->index, false, &arg)) {
		x.code = NPU_FAULT_ECC;
		return access_fault(q, f, &x);
	}
	*out = mmu_page(m, s, addr, write, &x);
	return *out ? RUN_MORE : access_fault(q, f, &x);
}

static enum run do_mem(struct npu_model *m, struct queue *q, struct fault *f)
{
	const struct npu_cmd_mem *c = (const struct npu_cmd_mem *)q->packet;
	bool store = c->cmd.opcode == NPU_CMD_STORE;
	uint8_t *p;
	enum run r;

	if (c->reg >= NPU_SCALARS || !zero(c->rsvd, sizeof(c->rsvd)) || (c->size != 4 && c->size != 8) ||
	    (c->flags & ~NPU_MEM_SIGNED) || (c->flags && (store || c->size == 8)))
		return encoding(q, f);
	if (c->addr % c->size)
		return packet_fault(q, f, NPU_FAULT_OPERAND_ILLEGAL, c->addr);
	r = datum(m, q, c->addr, c->size, store, &p, f);
	if (r != RUN_MORE)
		return r;
	if (store && c->size == 8)
		__atomic_store_n((uint64_t *)p, q->job.r[c->reg], __ATOMIC_RELEASE);
	else if (store)
		__atomic_store_n((uint32_t *)p, (uint32_t)q->job.r[c->reg], __ATOMIC_RELEASE);
	else if (c->size == 8)
		q->job.r[c->reg] = __atomic_load_n((uint64_t *)p, __ATOMIC_ACQUIRE);
	else if (c->flags & NPU_MEM_SIGNED)
		q->job.r[c->reg] = (uint64_t)(int64_t)__atomic_load_n((int32_t *)p, __ATOMIC_ACQUIRE);
	else
		q->job.r[c->reg] = __atomic_load_n((uint32_t *)p, __ATOMIC_ACQUIRE);
	count(store ? &m->cnt_write : &m->cnt_read, c->size);
	return RUN_MORE;
}

static enum run do_sem(struct npu_model *m, struct queue *q, struct fault *f)
{
	const struct npu_cmd_sem *c = (const struct npu_cmd_sem *)q->packet;
	bool wait = c->cmd.opcode == NPU_CMD_SEM_WAIT;
	uint64_t old;
	uint8_t *p;
	enum run r;

	if (q->mode != NPU_QC_MODE_USER)
		return packet_fault(q, f, NPU_FAULT_MODE, q->job.pc);
	if (c->addr % 8)
		return packet_fault(q, f, NPU_FAULT_OPERAND_ILLEGAL, c->addr);
	r = datum(m, q, c->addr, 8, !wait, &p, f);
	if (r != RUN_MORE)
		return r;
	old = __atomic_load_n((uint64_t *)p, __ATOMIC_ACQUIRE);
	if (wait) {
		if (old < c->value)
			return blocked(q, BLOCK_SEM);
		q->block_ns = 0;
		return RUN_MORE;
	}
	while (old < c->value &&
	       !__atomic_compare_exchange_n((uint64_t *)p, &old, c->value, false, __ATOMIC_RELEASE, __ATOMIC_ACQUIRE))
		;
	atomic_store_explicit(&m->sem_signalled, true, memory_order_relaxed);
	atomic_store_explicit(&m->attention, true, memory_order_relaxed);
	return RUN_MORE;
}

static enum run do_timestamp(struct npu_model *m, struct queue *q, struct fault *f)
{
	const struct npu_cmd_timestamp *c = (const struct npu_cmd_timestamp *)q->packet;
	struct slot *s = &m->slot[q->slot];
	struct npu_timestamp t = { 0 };
	struct xlate x;
	uint8_t *p;
	enum run r;

	if (c->rsvd)
		return encoding(q, f);
	if (c->addr % 8)
		return packet_fault(q, f, NPU_FAULT_OPERAND_ILLEGAL, c->addr);
	if (mmu_locked(s, c->addr, sizeof(t)))
		return blocked(q, BLOCK_LOCK);
	/* It may cross a page: both must be writable before anything is written. */
	r = datum(m, q, c->addr, 8, true, &p, f);
	if (r != RUN_MORE)
		return r;
	if (!mmu_page(m, s, c->addr + sizeof(t) - 1, true, &x)) {
		x.addr &= ~(PAGE_SIZE - 1);
		return access_fault(q, f, &x);
	}
	t.timer = time_ticks(m);
	t.cycles = counter(&q->active_cycles) + q->cycles_base;
	t.commands = counter(&q->commands);
	if (mmu_write(m, s, c->addr, &t, sizeof(t), &x))
		return access_fault(q, f, &x);
	count(&m->cnt_write, sizeof(t));
	return RUN_MORE;
}

static enum run do_progress(struct npu_model *m, struct queue *q, struct fault *f)
{
	const struct npu_cmd_progress *c = (const struct npu_cmd_progress *)q->packet;

	if ((c->flags & ~NPU_PROGRESS_IRQ) || c->rsvd)
		return encoding(q, f);
	atomic_store_explicit(&q->progress, c->value, memory_order_release);
	if (c->flags & NPU_PROGRESS_IRQ) {
		pthread_mutex_lock(&m->lock);
		irq_raise(m, IRQ_EVENT, 1u << q->index);
		core_unlock(m);
	}
	return RUN_MORE;
}

static const uint8_t control_size[] = {
	[NPU_CMD_NOP] = sizeof(struct npu_cmd),
	[NPU_CMD_END] = sizeof(struct npu_cmd),
	[NPU_CMD_BARRIER] = sizeof(struct npu_cmd),
	[NPU_CMD_SET] = sizeof(struct npu_cmd_set),
	[NPU_CMD_ALU] = sizeof(struct npu_cmd_alu),
	[NPU_CMD_LOAD] = sizeof(struct npu_cmd_mem),
	[NPU_CMD_STORE] = sizeof(struct npu_cmd_mem),
	[NPU_CMD_BRANCH] = sizeof(struct npu_cmd_branch),
	[NPU_CMD_LOOP] = sizeof(struct npu_cmd_branch),
	[NPU_CMD_SEM_SIGNAL] = sizeof(struct npu_cmd_sem),
	[NPU_CMD_SEM_WAIT] = sizeof(struct npu_cmd_sem),
	[NPU_CMD_TIMESTAMP] = sizeof(struct npu_cmd_timestamp),
	[NPU_CMD_PROGRESS] = sizeof(struct npu_cmd_progress),
	[NPU_CMD_TRAP] = sizeof(struct npu_cmd_trap),
};

static enum run control(struct npu_model *m, struct queue *q, unsigned int len, uint64_t *next, struct fault *f)
{
	const struct npu_cmd *c = (const struct npu_cmd *)q->packet;
	uint64_t latency = 0;
	enum run r = RUN_MORE;

	if (c->opcode >= sizeof(control_size))
		return packet_fault(q, f, NPU_FAULT_OPCODE_ILLEGAL, q->job.pc);
	if (len != control_size[c->opcode])
		return encoding(q, f);
	cp_advance(m, q, tokens_clear(q, c->wait, counter(&m->now)));
	switch (c->opcode) {
	case NPU_CMD_NOP:
		break;
	case NPU_CMD_END:
		q->job.phase = PHASE_DONE;
		/* fall through */
	case NPU_CMD_BARRIER:
		cp_drain(m, q);
		break;
	case NPU_CMD_SET:
		r = do_set(q, f);
		break;
	case NPU_CMD_ALU:
		r = do_alu(q, f);
		break;
	case NPU_CMD_LOAD:
		latency = ns_to_cycles(m, m->cfg.dram_latency_ns);
		/* fall through */
	case NPU_CMD_STORE:
		r = do_mem(m, q, f);
		break;
	case NPU_CMD_BRANCH:
	case NPU_CMD_LOOP:
		r = do_branch(q, next, f);
		break;
	case NPU_CMD_SEM_SIGNAL:
	case NPU_CMD_SEM_WAIT:
		r = do_sem(m, q, f);
		break;
	case NPU_CMD_TIMESTAMP:
		r = do_timestamp(m, q, f);
		break;
	case NPU_CMD_PROGRESS:
		r = do_progress(m, q, f);
		break;
	default:
		r = packet_fault(q, f, NPU_FAULT_TRAP, ((const struct npu_cmd_trap *)q->packet)->code);
		break;
	}
	if (r == RUN_MORE) {
		if (m->hazards)
			hazards_check(m, q, q->packet, NPU_ENGINE_CONTROL, counter(&m->now), counter(&m->now) + 1);
		cp_advance(m, q, counter(&m->now) + m->cfg.control_cycles + latency);
	}
	return r;
}

/* ---- Tensor operations ----------------------------------------------------------------------------- */

static struct npu_model *env_model(struct npu_op_env *env)
{
	return (struct npu_model *)((char *)env - offsetof(struct npu_model, env));
}

static void env_fault(struct npu_model *m, uint8_t code, uint64_t addr, bool write, unsigned int operand)
{
	struct queue *q = m->env_queue;
	uint8_t engine = m->env_fault->engine;

	packet_fault(q, m->env_fault, code, addr);
	m->env_fault->engine = engine;
	m->env_fault->write = write;
	m->env_fault->operand = (uint8_t)operand;
}

static void *env_map(struct npu_op_env *env, uint64_t va, uint64_t len, unsigned int access, unsigned int operand)
{
	struct npu_model *m = env_model(env);
	struct slot *s = &m->slot[m->env_queue->slot];
	bool write = access & NPU_OP_WRITE;
	struct xlate x;
	void *p;

	if (!len)
		return m->env_queue->packet;	/* never dereferenced */
	if (m->env_inject) {
		if (!(access & NPU_OP_PROBE)) {
			env_fault(m, m->env_inject, va, write, operand);
			m->env_inject = 0;
		}
		return NULL;
	}
	p = view_map(m, s, &m->bounces, va, len, write, &x);
	if (!p && !(access & NPU_OP_PROBE))
		env_fault(m, x.code, x.addr, write, operand);
	return p;
}

static int env_illegal(struct npu_op_env *env, unsigned int operand, uint64_t addr)
{
	env_fault(env_model(env), NPU_FAULT_OPERAND_ILLEGAL, addr, false, operand);
	return -EFAULT;
}

static void *env_scratch(struct npu_op_env *env, size_t size)
{
	struct npu_model *m = env_model(env);

	if (size > m->scratch_size) {
		size_t room = (size + 65535) & ~(size_t)65535;

		free(m->scratch);
		m->scratch = aligned_alloc(64, room);
		m->scratch_size = m->scratch ? room : 0;
	}
	return m->scratch;
}

void cp_env_init(struct npu_model *m)
{
	m->env.map = env_map;
	m->env.illegal = env_illegal;
	m->env.scratch = env_scratch;
}

/* Whether a command touches what its slot has locked. */
static bool stalled(const struct slot *s, const void *packet)
{
	struct span span[MAX_SPANS];
	unsigned int n;

	if (!s->locked)
		return false;
	n = packet_spans(packet, span);
	while (n--)
		if (span[n].first <= s->lock_last && span[n].last >= s->lock_first)
			return true;
	return false;
}

static enum run execute(struct npu_model *m, struct queue *q, const struct npu_op_plan *plan, struct fault *f)
{
	uint64_t arg;
	int r;

	m->env_queue = q;
	m->env_fault = f;
	m->env_inject = 0;
	memset(f, 0, sizeof(*f));
	f->engine = plan->engine;
	if (inject_hit(m, NPU_INJECT_PAGE_FAULT, (int)q->index, false, &arg))
		m->env_inject = NPU_FAULT_TRANSLATION;
	else if (inject_hit(m, NPU_INJECT_ECC, (int)q->index, false, &arg))
		m->env_inject = NPU_FAULT_ECC;
	r = npu_op_run(q->packet, &m->env);
	if (m->bounces.count)
		view_end(m, &m->slot[q->slot], &m->bounces, r == 0);
	if (r == -ENOMEM || (r && f->code == NPU_FAULT_INTERNAL))
		return RUN_FATAL;
	if (r && !f->code)
		return RUN_FATAL;	/* an operation that failed without saying why */
	return r ? RUN_FAULT : RUN_MORE;
}

/* Device time and counters of a command that ran. */
static enum run account(struct npu_model *m, struct queue *q, const struct npu_op_plan *plan, uint64_t issue,
			struct fault *f)
{
	const struct npu_cmd *c = (const struct npu_cmd *)q->packet;
	struct cost k;
	uint64_t start, end;

	timing_cost(&m->cfg, plan, &k);
	end = timing_book(m, plan->engine, &k, issue, &start);
	if (m->hazards)
		hazards_check(m, q, q->packet, plan->engine, start, end);
	cp_advance(m, q, start);
	if (c->signal != NPU_NO_TOKEN && q->token[c->signal] < end)
		q->token[c->signal] = end;
	if (q->drain < end)
		q->drain = end;
	count(&m->cnt_macs, plan->macs);
	count(&m->cnt_read, plan->bytes_read);
	count(&m->cnt_write, plan->bytes_written);
	count(&m->cnt_sram, k.sram_bytes);
	if (q->watchdog_cycles && end - start > q->watchdog_cycles) {
		packet_fault(q, f, NPU_FAULT_WATCHDOG, q->job.pc);
		f->engine = plan->engine;
		return RUN_FAULT;
	}
	return RUN_MORE;
}

static enum run tensor(struct npu_model *m, struct queue *q, unsigned int len, struct fault *f)
{
	const struct npu_cmd *c = (const struct npu_cmd *)q->packet;
	struct npu_op_plan plan;
	uint64_t issue;
	enum run r;

	npu_op_plan(q->packet, len, &m->limits, &plan);
	if (plan.fault) {
		packet_fault(q, f, plan.fault, q->job.pc);
		f->operand = plan.operand;
		if (plan.fault != NPU_FAULT_OPCODE_ILLEGAL)
			f->engine = plan.engine;
		return RUN_FAULT;
	}
	issue = tokens_clear(q, c->wait, counter(&m->now)) + m->cfg.control_cycles;
	if (plan.empty) {
		cp_advance(m, q, issue);
		return RUN_MORE;
	}
	if (m->engine_hung[plan.engine] != NO_QUEUE) {
		q->stop_engine = plan.engine;
		return blocked(q, BLOCK_ENGINE);
	}
	if (stalled(&m->slot[q->slot], q->packet))
		return blocked(q, BLOCK_LOCK);
	r = execute(m, q, &plan, f);
	if (r == RUN_MORE)
		r = account(m, q, &plan, issue, f);
	return r;
}

/* ---- One packet -------------------------------------------------------------------------------------- */

static enum run hang(struct npu_model *m, struct queue *q, unsigned int len)
{
	const struct npu_cmd *c = (const struct npu_cmd *)q->packet;
	struct npu_op_plan plan;

	q->stop_engine = NPU_ENGINE_CONTROL;
	if (c->opcode >= NPU_OP_FIRST) {
		npu_op_plan(q->packet, len, &m->limits, &plan);
		if (!plan.fault && m->engine_hung[plan.engine] == NO_QUEUE)
			q->stop_engine = plan.engine;
	}
	packet_fault(q, &q->stop_fault, NPU_FAULT_WATCHDOG, q->job.pc);
	q->stop_fault.engine = q->stop_engine;
	return blocked(q, BLOCK_HUNG);
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
	if (inject_hit(m, NPU_INJECT_FATAL, (int)q->index, false, &arg))
		return RUN_FATAL;
	if (inject_hit(m, NPU_INJECT_HANG, (int)q->index, false, &arg))
		return hang(m, q, len);
	if (c->opcode >= NPU_OP_FIRST)
		r = tensor(m, q, len, f);
	else
		r = control(m, q, len, &next, f);
	if (r != RUN_MORE)
		return r;
	if (over_budget(q))
		return packet_fault(q, f, NPU_FAULT_BUDGET, q->job.pc);
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
