// SPDX-License-Identifier: MIT
/* Tensor commands: their environment, execution, and place in device time. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "cp.h"

#define HUGE_PAGE	((size_t)1 << 21)

static struct npu_model *env_model(struct npu_op_env *env)
{
	return (struct npu_model *)((char *)env - offsetof(struct npu_model, env));
}

static void env_fault(struct npu_model *m, uint8_t code, uint64_t addr, bool write, unsigned int operand)
{
	struct queue *q = m->env_queue;
	uint8_t engine = m->env_fault->engine;

	cp_packet_fault(q, m->env_fault, code, addr);
	m->env_fault->engine = engine;
	m->env_fault->write = write;
	m->env_fault->operand = (uint8_t)operand;
}

/* What goes before every access: injected faults, and whether the packet has such an operand. */
static bool may_map(struct npu_model *m, uint64_t va, uint64_t len, unsigned int access, unsigned int operand)
{
	bool write = access & NPU_OP_WRITE;

	if (m->env_inject) {
		if (!(access & NPU_OP_PROBE)) {
			env_fault(m, m->env_inject, va, write, operand);
			m->env_inject = 0;
		}
		return false;
	}
	if (m->hazards && !packet_holds(m->env_queue->packet, va, len, write)) {
		core_log(m, "internal: opcode 0x%02x maps operand %u where the packet has none",
			 ((const struct npu_cmd *)m->env_queue->packet)->opcode, operand);
		env_fault(m, NPU_FAULT_INTERNAL, va, write, operand);
		return false;
	}
	return true;
}

static void *env_map(struct npu_op_env *env, uint64_t va, uint64_t len, unsigned int access, unsigned int operand)
{
	struct npu_model *m = env_model(env);
	struct xlate x;
	void *p;

	if (!len)
		return m->env_queue->packet;	/* never dereferenced */
	if (!may_map(m, va, len, access, operand))
		return NULL;
	p = view_map(m, &m->slot[m->env_queue->slot], &m->bounces, va, len, access & NPU_OP_WRITE, &x);
	if (!p && !(access & NPU_OP_PROBE))
		env_fault(m, x.code, x.addr, access & NPU_OP_WRITE, operand);
	return p;
}

static int env_map_pieces(struct npu_op_env *env, uint64_t va, uint64_t len, unsigned int access, unsigned int operand,
			  struct npu_pieces *out)
{
	struct npu_model *m = env_model(env);
	struct xlate x;
	int err;

	if (!len) {
		*out = (struct npu_pieces){ .p = m->env_queue->packet };	/* never dereferenced */
		return 0;
	}
	if (!may_map(m, va, len, access, operand))
		return -EFAULT;
	err = view_pieces(m, &m->slot[m->env_queue->slot], &m->bounces, va, len, access & NPU_OP_WRITE, out, &x);
	if (err && !(access & NPU_OP_PROBE))
		env_fault(m, x.code, x.addr, access & NPU_OP_WRITE, operand);
	return err;
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
		size_t room = (size + HUGE_PAGE - 1) & ~(size_t)(HUGE_PAGE - 1);

		free(m->scratch);
		m->scratch = aligned_alloc(HUGE_PAGE, room);
		m->scratch_size = m->scratch ? room : 0;
		if (m->scratch)
			madvise(m->scratch, room, MADV_HUGEPAGE);
	}
	return m->scratch;
}

void cp_env_init(struct npu_model *m)
{
	m->env.map = env_map;
	m->env.map_pieces = env_map_pieces;
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
	if (m->bounces.taken)
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
	uint64_t start, end, saved_read, saved_write;
	uint64_t left = resident_account(m, q, q->packet, &saved_read, &saved_write);
	uint64_t read = plan->bytes_read - saved_read, written = plan->bytes_written - saved_write + left;
	bool in_time;

	timing_cost(&m->cfg, plan, read + written, &k);
	in_time = timing_book(m, plan->engine, &k, issue, q->watchdog_cycles, &start, &end);
	if (m->hazards)
		hazards_check(m, q, q->packet, plan->engine, start, end);
	cp_advance(m, q, start);
	if (c->signal != NPU_NO_TOKEN && q->token[c->signal] < end)
		q->token[c->signal] = end;
	if (q->drain < end)
		q->drain = end;
	count(&m->cnt_macs, plan->macs);
	count(&m->cnt_read, read);
	count(&m->cnt_write, written);
	count(&m->cnt_sram, k.sram_bytes);
	if (!in_time) {
		cp_packet_fault(q, f, NPU_FAULT_WATCHDOG, q->job.pc);
		f->engine = plan->engine;
		return RUN_FAULT;
	}
	return RUN_MORE;
}

/* With the hazard checker, what is dropped is lost indeed. */
static void spoil(struct npu_model *m, struct queue *q, const struct npu_tensor *t)
{
	struct byte_rows b;
	struct xlate x;

	if (!(t->hint & NPU_HINT_DROP) || !resident_rows(t, &b))
		return;
	for (uint64_t r = 0; r < b.rows; r++) {
		void *p = view_map(m, &m->slot[q->slot], &m->bounces, b.lo + r * b.pitch, b.width, true, &x);

		if (p)
			memset(p, 0xa5, b.width);
	}
	if (m->bounces.taken)
		view_end(m, &m->slot[q->slot], &m->bounces, true);
}

static void spoil_dropped(struct npu_model *m, struct queue *q)
{
	struct npu_op_operand op[NPU_OP_TENSORS];
	unsigned int n = npu_op_operands(q->packet, op);

	for (unsigned int i = 0; i < n; i++)
		if (!(op[i].access & NPU_OP_WRITE))
			spoil(m, q, op[i].t);
}

enum run cp_tensor(struct npu_model *m, struct queue *q, unsigned int len, struct fault *f)
{
	const struct npu_cmd *c = (const struct npu_cmd *)q->packet;
	struct npu_op_plan plan;
	uint64_t issue;
	enum run r;

	npu_op_plan(q->packet, len, &m->limits, &plan);
	if (plan.fault) {
		cp_packet_fault(q, f, plan.fault, q->job.pc);
		f->operand = plan.operand;
		if (plan.fault != NPU_FAULT_OPCODE_ILLEGAL)
			f->engine = plan.engine;
		return RUN_FAULT;
	}
	issue = cp_tokens_clear(q, c->wait, counter(&m->now)) + m->cfg.control_cycles;
	if (plan.empty) {
		cp_advance(m, q, issue);
		/* It stands for the commands before it on its engine: programs wait for the last one only. */
		if (c->signal != NPU_NO_TOKEN && q->token[c->signal] < m->engine_free[plan.engine])
			q->token[c->signal] = m->engine_free[plan.engine];
		return RUN_MORE;
	}
	if (cp_engine_hung(m, plan.engine)) {
		q->stop_engine = plan.engine;
		return cp_stop(q, BLOCK_ENGINE);
	}
	if (stalled(&m->slot[q->slot], q->packet))
		return cp_stop(q, BLOCK_LOCK);
	if (m->slot[q->slot].huge.wanted)
		huge_tend(m, &m->slot[q->slot]);
	r = execute(m, q, &plan, f);
	if (r == RUN_MORE && m->hazards)
		spoil_dropped(m, q);
	if (r == RUN_MORE)
		r = account(m, q, &plan, issue, f);
	return r;
}
