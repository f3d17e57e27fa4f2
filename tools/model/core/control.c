// SPDX-License-Identifier: MIT
/* Control commands: registers, branches, single memory words, semaphores. */
#include <string.h>

#include "cp.h"

static enum run encoding(struct queue *q, struct fault *f)
{
	return cp_packet_fault(q, f, NPU_FAULT_ENCODING, q->job.pc);
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
		return cp_packet_fault(q, f, NPU_FAULT_STREAM, target);
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
		return cp_stop(q, BLOCK_LOCK);
	x.addr = addr;
	x.write = write;
	if (inject_hit(m, NPU_INJECT_PAGE_FAULT, (int)q->index, false, &arg)) {
		x.code = NPU_FAULT_TRANSLATION;
		return cp_access_fault(q, f, &x);
	}
	if (inject_hit(m, NPU_INJECT_ECC, (int)q->index, false, &arg)) {
		x.code = NPU_FAULT_ECC;
		return cp_access_fault(q, f, &x);
	}
	*out = mmu_page(m, s, addr, write, &x);
	return *out ? RUN_MORE : cp_access_fault(q, f, &x);
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
		return cp_packet_fault(q, f, NPU_FAULT_OPERAND_ILLEGAL, c->addr);
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
		return cp_packet_fault(q, f, NPU_FAULT_MODE, q->job.pc);
	if (c->addr % 8)
		return cp_packet_fault(q, f, NPU_FAULT_OPERAND_ILLEGAL, c->addr);
	r = datum(m, q, c->addr, 8, !wait, &p, f);
	if (r != RUN_MORE)
		return r;
	old = __atomic_load_n((uint64_t *)p, __ATOMIC_ACQUIRE);
	if (wait) {
		if (old >= c->value)
			return RUN_MORE;
		cp_packet_fault(q, &q->stop_fault, NPU_FAULT_BLOCKED, c->addr);
		return cp_stop(q, BLOCK_SEM);
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
		return cp_packet_fault(q, f, NPU_FAULT_OPERAND_ILLEGAL, c->addr);
	if (mmu_locked(s, c->addr, sizeof(t)))
		return cp_stop(q, BLOCK_LOCK);
	/* It may cross a page: both must be writable before anything is written. */
	r = datum(m, q, c->addr, 8, true, &p, f);
	if (r != RUN_MORE)
		return r;
	if (!mmu_page(m, s, c->addr + sizeof(t) - 1, true, &x)) {
		x.addr &= ~(PAGE_SIZE - 1);
		return cp_access_fault(q, f, &x);
	}
	t.timer = time_ticks(m);
	t.cycles = counter(&q->active_cycles) + q->cycles_base;
	t.commands = counter(&q->commands);
	if (mmu_write(m, s, c->addr, &t, sizeof(t), &x))
		return cp_access_fault(q, f, &x);
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

enum run cp_control(struct npu_model *m, struct queue *q, unsigned int len, uint64_t *next, struct fault *f)
{
	const struct npu_cmd *c = (const struct npu_cmd *)q->packet;
	uint64_t latency = 0;
	enum run r = RUN_MORE;

	if (c->opcode >= sizeof(control_size))
		return cp_packet_fault(q, f, NPU_FAULT_OPCODE_ILLEGAL, q->job.pc);
	if (len != control_size[c->opcode])
		return encoding(q, f);
	cp_advance(m, q, cp_tokens_clear(q, c->wait, counter(&m->now)));
	switch (c->opcode) {
	case NPU_CMD_NOP:
		break;
	case NPU_CMD_END:
		q->job.phase = PHASE_DONE;
		cp_drain(m, q);
		cp_write_back(m, q);
		break;
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
		r = cp_packet_fault(q, f, NPU_FAULT_TRAP, ((const struct npu_cmd_trap *)q->packet)->code);
		break;
	}
	if (r == RUN_MORE) {
		if (m->hazards)
			hazards_check(m, q, q->packet, NPU_ENGINE_CONTROL, counter(&m->now), counter(&m->now) + 1);
		cp_advance(m, q, counter(&m->now) + m->cfg.control_cycles + latency);
	}
	return r;
}
