// SPDX-License-Identifier: MIT
/* The register file. Lock held throughout. */
#include "core.h"

/* Operations and weight types of this model. */
#define OPS_MASK	(0xffffull | 1ull << NPU_OP_BIT(NPU_OP_MATMUL_GLU))	/* MATMUL .. FILL, and the option */
#define TYPES_MASK	(1u << NPU_TYPE_F32 | 1u << NPU_TYPE_F16 | 1u << NPU_TYPE_Q4_0 | 1u << NPU_TYPE_Q8_0 | \
			 1u << NPU_TYPE_Q4_K | 1u << NPU_TYPE_Q6_K | 1u << NPU_TYPE_BF16)

void regs_limits(const struct npu_model *m, struct npu_op_limits *l)
{
	l->max_macs = m->cfg.max_macs;
	l->max_bytes = m->cfg.max_bytes;
	l->va_limit = 1ull << m->cfg.va_bits;
	l->ops = OPS_MASK;
	l->types_rows = TYPES_MASK;
	l->types_tiles = TYPES_MASK;
}

static uint32_t half(uint64_t v, uint64_t off)
{
	return (uint32_t)(off & 4 ? v >> 32 : v);
}

static uint64_t with_half(uint64_t old, uint64_t off, uint32_t v)
{
	return off & 4 ? (old & 0xffffffffu) | (uint64_t)v << 32 : (old & ~0xffffffffull) | v;
}

/* ---- Global page --------------------------------------------------------------- */

static uint32_t features(const struct npu_model *m)
{
	return NPU_FEAT_USER_QUEUES | NPU_FEAT_SUSPEND | NPU_FEAT_QUEUE_RESET | NPU_FEAT_MIN_SHARE |
	       NPU_FEAT_ENGINE_CYCLES | NPU_FEAT_ACTIVATIONS | (m->coherent ? NPU_FEAT_COHERENT : 0);
}

static bool busy(const struct npu_model *m)
{
	if (m->exec)
		return true;
	for (unsigned int e = 0; e < NPU_ENGINES; e++)
		if (atomic_load_explicit(&m->engine_hung[e], memory_order_relaxed) != NO_QUEUE)
			return true;
	return false;
}

static uint32_t status(const struct npu_model *m)
{
	uint32_t v = 0;

	if (m->resetting)
		v |= NPU_STATUS_RESETTING;
	else if (!m->fatal)
		v |= NPU_STATUS_READY;
	if (m->fatal)
		v |= NPU_STATUS_FATAL;
	if (m->reset_failed)
		v |= NPU_STATUS_RESET_FAILED;
	if (busy(m))
		v |= NPU_STATUS_BUSY;
	return v;
}

static uint32_t irq_summary(const struct npu_model *m)
{
	uint32_t v = 0;

	for (unsigned int i = 0; i < 4; i++)
		if (m->irq.status[i] & m->irq.enable[i])
			v |= 1u << i;
	return v;
}

static uint32_t read_capability(const struct npu_model *m, uint64_t off)
{
	const struct config *c = &m->cfg;

	switch (off) {
	case NPU_ID:
		return NPU_ID_VALUE;
	case NPU_IMPL:
		return NPU_IMPLEMENTER_MODEL << 16 | c->product;
	case NPU_REV:
		return 1u << 16;
	case NPU_INTF:
		return NPU_INTF_VALUE;
	case NPU_CAP0:
		return c->queues | c->slots << 8 | c->va_bits << 16 | c->bus_bits << 24;
	case NPU_CAP1:
		return c->ring_log2 | 1u << 8 | NPU_SCALARS << 16 | NPU_TOKENS << 24;
	case NPU_CAP_FEAT_LO:
		return features(m);
	case NPU_CAP_OPS_LO:
	case NPU_CAP_OPS_HI:
		return half(OPS_MASK, off);
	case NPU_CAP_TYPES_LO:
	case NPU_CAP_TYPES_HI:
		return TYPES_MASK;
	case NPU_CAP_MAX_MACS_LO:
	case NPU_CAP_MAX_MACS_HI:
		return half(c->max_macs, off);
	case NPU_CAP_MAX_BYTES_LO:
	case NPU_CAP_MAX_BYTES_HI:
		return half(c->max_bytes, off);
	case NPU_CAP_MAX_STREAM:
		return (uint32_t)c->max_stream;
	case NPU_CAP_NUMERICS:
		return 1;
	case NPU_CAP_TIMER_HZ:
		return c->timer_hz;
	case NPU_CAP_CORE_KHZ:
		return c->core_khz;
	case NPU_CAP_SRAM_KB:
		return c->sram_kb;
	case NPU_CAP_MACS_I8:
		return c->macs_i8;
	case NPU_CAP_MACS_F16:
		return c->macs_f32 << 16 | c->macs_f16;
	case NPU_CAP_LANES:
		return c->lanes;
	case NPU_CAP_DRAM_MBPS:
		return c->dram_mbps;
	}
	return 0;
}

static uint32_t read_counter(struct npu_model *m, uint64_t off)
{
	_Atomic uint64_t *const list[] = {
		&m->cnt_cycles, &m->cnt_engine[0], &m->cnt_engine[1], &m->cnt_engine[2], NULL, &m->cnt_read,
		&m->cnt_write, &m->cnt_sram, &m->cnt_macs, &m->cnt_commands, &m->cnt_walks, &m->cnt_switches,
	};
	uint64_t i = (off - NPU_CNT_CYCLES_LO) / 8;

	_Static_assert(NPU_CNT_READ_LO == NPU_CNT_CYCLES_LO + 5 * 8, "order of the counters");
	_Static_assert(NPU_CNT_SWITCHES_LO == NPU_CNT_CYCLES_LO + 11 * 8, "order of the counters");
	return i < sizeof(list) / sizeof(list[0]) && list[i] ? half(counter(list[i]), off) : 0;
}

static uint32_t read_global(struct npu_model *m, uint64_t off)
{
	if (off >= NPU_CNT_CYCLES_LO)
		return read_counter(m, off);
	switch (off) {
	case NPU_STATUS:
		return status(m);
	case NPU_FATAL_CAUSE:
		return m->fatal_cause;
	case NPU_POWER:
		return m->power_reg;
	case NPU_IRQ_SUMMARY:
		return irq_summary(m);
	case NPU_IRQ_GLOBAL:
	case NPU_IRQ_DONE:
	case NPU_IRQ_FAULT:
	case NPU_IRQ_EVENT:
		return m->irq.status[(off - NPU_IRQ_GLOBAL) / 4];
	case NPU_IRQ_GLOBAL_EN:
	case NPU_IRQ_DONE_EN:
	case NPU_IRQ_FAULT_EN:
	case NPU_IRQ_EVENT_EN:
		return m->irq.enable[(off - NPU_IRQ_GLOBAL_EN) / 4];
	case NPU_TIMER_LO:
	case NPU_TIMER_HI:
		return half(m->timer_latch, off);
	case NPU_CORE_KHZ:
		return m->cfg.core_khz;
	}
	return read_capability(m, off);
}

static uint32_t irq_mask(const struct npu_model *m, unsigned int which)
{
	if (which == IRQ_GLOBAL)
		return NPU_IRQ_G_RESET_DONE | NPU_IRQ_G_FATAL | NPU_IRQ_G_MMU | NPU_IRQ_G_POWER;
	return (uint32_t)((1ull << m->cfg.queues) - 1);
}

static void write_global(struct npu_model *m, uint64_t off, uint32_t v)
{
	unsigned int which;

	switch (off) {
	case NPU_RESET:
		if (v == NPU_RESET_KEY)
			core_reset_request(m);
		break;
	case NPU_POWER:
		m->power_reg = v & 1;
		break;
	case NPU_IRQ_GLOBAL:
	case NPU_IRQ_DONE:
	case NPU_IRQ_FAULT:
	case NPU_IRQ_EVENT:
		m->irq.status[(off - NPU_IRQ_GLOBAL) / 4] &= ~v;
		irq_update(m);
		break;
	case NPU_IRQ_GLOBAL_EN:
	case NPU_IRQ_DONE_EN:
	case NPU_IRQ_FAULT_EN:
	case NPU_IRQ_EVENT_EN:
		which = (unsigned int)(off - NPU_IRQ_GLOBAL_EN) / 4;
		m->irq.enable[which] = v & irq_mask(m, which);
		irq_update(m);
		break;
	}
}

/* ---- MMU page ---------------------------------------------------------------------- */

static struct slot *slot_at(struct npu_model *m, uint64_t off, uint32_t *index)
{
	if (off < NPU_AS(0) || off >= NPU_AS(m->cfg.slots))
		return NULL;
	*index = (uint32_t)((off - NPU_AS(0)) / 0x40);
	return &m->slot[*index];
}

static uint32_t read_mmu(struct npu_model *m, uint64_t off)
{
	uint32_t index, v = 0;
	const struct slot *s = slot_at(m, off, &index);

	if (!s)
		return 0;
	off = (off - NPU_AS(0)) % 0x40;
	switch (off) {
	case NPU_AS_TABLE_LO:
	case NPU_AS_TABLE_HI:
		return half(s->reg_table, off);
	case NPU_AS_CFG:
		return s->reg_cfg;
	case NPU_AS_STATUS:
		v |= s->pending ? NPU_AS_STATUS_BUSY : 0;
		v |= s->locked ? NPU_AS_STATUS_LOCKED : 0;
		v |= s->enabled ? NPU_AS_STATUS_ENABLED : 0;
		v |= s->error ? NPU_AS_STATUS_ERROR : 0;
		return v;
	case NPU_AS_RANGE_LO:
	case NPU_AS_RANGE_HI:
		return half(s->range, off);
	case NPU_AS_RANGE_SIZE_LO:
	case NPU_AS_RANGE_SIZE_HI:
		return half(s->range_size, off);
	}
	return 0;
}

static void write_mmu(struct npu_model *m, uint64_t off, uint32_t v)
{
	uint32_t index;
	struct slot *s = slot_at(m, off, &index);

	if (!s)
		return;
	off = (off - NPU_AS(0)) % 0x40;
	/* A command under way still reads them. */
	if (s->pending)
		return;
	switch (off) {
	case NPU_AS_TABLE_LO:
	case NPU_AS_TABLE_HI:
		s->reg_table = with_half(s->reg_table, off, v);
		break;
	case NPU_AS_CFG:
		s->reg_cfg = v & (NPU_AS_CFG_ENABLE | NPU_AS_CFG_WALK_SHAREABLE | 0x3fu << 8);
		break;
	case NPU_AS_CMD:
		mmu_command(m, index, v);
		break;
	case NPU_AS_RANGE_LO:
	case NPU_AS_RANGE_HI:
		s->range = with_half(s->range, off, v);
		break;
	case NPU_AS_RANGE_SIZE_LO:
	case NPU_AS_RANGE_SIZE_HI:
		s->range_size = with_half(s->range_size, off, v);
		break;
	}
}

/* ---- Queue frames ---------------------------------------------------------------------- */

static uint32_t queue_status(struct npu_model *m, struct queue *q)
{
	uint32_t v = queue_state(m, q) | q->status;

	if (q->pending)
		v |= NPU_QSTATUS_BUSY;
	if (atomic_load_explicit(&q->in_job, memory_order_relaxed))
		v |= NPU_QSTATUS_IN_JOB;
	return v;
}

static uint64_t active_ns(struct npu_model *m, struct queue *q)
{
	return q->active_base + cycles_to_ns(m, counter(&q->active_cycles));
}

static uint32_t fault_word(const struct fault *f)
{
	if (!f->code)
		return 0;
	return f->code | (uint32_t)f->engine << 8 | (f->write ? NPU_FAULT_WRITE : 0) | (uint32_t)f->operand << 12 |
	       (uint32_t)f->opcode << 16;
}

static uint32_t read_queue_fault(const struct queue *q, uint64_t off)
{
	switch (off) {
	case NPU_QC_FAULT:
		return fault_word(&q->fault);
	case NPU_QC_FAULT_TAG:
		return q->fault.tag;
	case NPU_QC_FAULT_ADDR_LO:
	case NPU_QC_FAULT_ADDR_HI:
		return half(q->fault.addr, off);
	case NPU_QC_FAULT_PC_LO:
	case NPU_QC_FAULT_PC_HI:
		return half(q->fault.pc, off);
	case NPU_QC_FAULT_SEQNO_LO:
	case NPU_QC_FAULT_SEQNO_HI:
		return half(q->fault.seqno, off);
	}
	return 0;
}

static uint32_t read_queue(struct npu_model *m, struct queue *q, uint64_t off)
{
	switch (off) {
	case NPU_QC_STATUS:
		return queue_status(m, q);
	case NPU_QC_MODE:
		return q->mode;
	case NPU_QC_SLOT:
		return q->slot;
	case NPU_QC_RING_LO:
	case NPU_QC_RING_HI:
		return half(q->ring, off);
	case NPU_QC_COMP_LO:
	case NPU_QC_COMP_HI:
		return half(q->comp, off);
	case NPU_QC_RING_LOG2:
		return q->ring_log2;
	case NPU_QC_HEAD:
		return q->head;
	case NPU_QC_TAIL:
		return atomic_load_explicit(&q->tail, memory_order_relaxed);
	case NPU_QC_PRIO:
		return q->prio;
	case NPU_QC_SLICE_US:
		return q->slice_us;
	case NPU_QC_WATCHDOG_US:
		return q->watchdog_us;
	case NPU_QC_BUDGET_US:
		return q->budget_us;
	case NPU_QC_BLOCK_US:
		return q->block_us;
	case NPU_QC_COALESCE_US:
		return q->coalesce_us;
	case NPU_QC_IMAGE_LO:
	case NPU_QC_IMAGE_HI:
		return half(q->image, off);
	case NPU_QC_SEQNO_LO:
	case NPU_QC_SEQNO_HI:
		return half(q->seqno, off);
	case NPU_QC_ACTIVE_LO:
	case NPU_QC_ACTIVE_HI:
		return half(active_ns(m, q), off);
	case NPU_QC_CYCLES_LO:
	case NPU_QC_CYCLES_HI:
		return half(q->cycles_base + counter(&q->active_cycles), off);
	case NPU_QC_COMMANDS_LO:
	case NPU_QC_COMMANDS_HI:
		return half(counter(&q->commands), off);
	case NPU_QC_PROGRESS_LO:
	case NPU_QC_PROGRESS_HI:
		return half(counter(&q->progress), off);
	}
	return read_queue_fault(q, off);
}

/* Registers that may be written in any state; false: not one of them. */
static bool write_queue_any(struct npu_model *m, struct queue *q, uint64_t off, uint32_t v)
{
	switch (off) {
	case NPU_QC_CMD:
		queue_command(m, q, v);
		return true;
	case NPU_QC_PRIO:
		q->prio = v & (3u | 0x7fu << 8);
		break;
	case NPU_QC_SLICE_US:
		q->slice_us = v;
		break;
	case NPU_QC_WATCHDOG_US:
		q->watchdog_us = v;
		break;
	case NPU_QC_BUDGET_US:
		q->budget_us = v;
		break;
	case NPU_QC_BLOCK_US:
		q->block_us = v;
		break;
	case NPU_QC_COALESCE_US:
		q->coalesce_us = v;
		break;
	case NPU_QC_IMAGE_LO:
	case NPU_QC_IMAGE_HI:
		if (!q->pending)
			q->image = with_half(q->image, off, v);
		return true;
	default:
		return false;
	}
	core_kick(m);
	return true;
}

static void write_queue_config(struct npu_model *m, struct queue *q, uint64_t off, uint32_t v)
{
	switch (off) {
	case NPU_QC_MODE:
		q->mode = v;
		break;
	case NPU_QC_SLOT:
		q->slot = v;
		break;
	case NPU_QC_RING_LO:
	case NPU_QC_RING_HI:
		q->ring = with_half(q->ring, off, v);
		break;
	case NPU_QC_COMP_LO:
	case NPU_QC_COMP_HI:
		q->comp = with_half(q->comp, off, v);
		break;
	case NPU_QC_RING_LOG2:
		q->ring_log2 = v;
		break;
	case NPU_QC_HEAD:
		q->head = v;
		break;
	case NPU_QC_TAIL:
		atomic_store_explicit(&q->tail, v, memory_order_relaxed);
		break;
	case NPU_QC_SEQNO_LO:
	case NPU_QC_SEQNO_HI:
		q->seqno = with_half(q->seqno, off, v);
		break;
	case NPU_QC_ACTIVE_LO:
	case NPU_QC_ACTIVE_HI:
		q->active_base += with_half(active_ns(m, q), off, v) - active_ns(m, q);
		break;
	case NPU_QC_CYCLES_LO:
	case NPU_QC_CYCLES_HI:
		q->cycles_base = with_half(q->cycles_base + counter(&q->active_cycles), off, v) -
				 counter(&q->active_cycles);
		break;
	case NPU_QC_COMMANDS_LO:
	case NPU_QC_COMMANDS_HI:
		atomic_store_explicit(&q->commands, with_half(counter(&q->commands), off, v), memory_order_relaxed);
		break;
	}
}

static bool is_config(uint64_t off)
{
	return (off >= NPU_QC_MODE && off <= NPU_QC_TAIL) || (off >= NPU_QC_SEQNO_LO && off <= NPU_QC_COMMANDS_HI);
}

static void write_queue(struct npu_model *m, struct queue *q, uint64_t off, uint32_t v)
{
	if (write_queue_any(m, q, off, v) || !is_config(off))
		return;
	if ((q->started && !q->suspended) || q->pending || m->exec == q) {
		q->status |= NPU_QSTATUS_ERR_CONFIG;
		return;
	}
	write_queue_config(m, q, off, v);
}

static uint32_t read_user(const struct queue *q, uint64_t off)
{
	switch (off) {
	case NPU_QU_HEAD:
		return q->head;
	case NPU_QU_SEQNO_LO:
	case NPU_QU_SEQNO_HI:
		return half(q->seqno, off);
	}
	return 0;
}

/* ---- All --------------------------------------------------------------------------------- */

static struct queue *queue_at(struct npu_model *m, uint64_t off)
{
	uint64_t i = (off - NPU_QUEUE_BASE) / NPU_QUEUE_STRIDE;

	return i < m->cfg.queues ? &m->queue[i] : NULL;
}

uint32_t reg_read(struct npu_model *m, uint64_t off)
{
	struct queue *q;

	if (off < NPU_MMU_BASE)
		return read_global(m, off);
	if (off < NPU_QUEUE_BASE)
		return read_mmu(m, off - NPU_MMU_BASE);
	q = queue_at(m, off);
	if (!q)
		return 0;
	off = (off - NPU_QUEUE_BASE) % NPU_QUEUE_STRIDE;
	return off < NPU_FRAME_SIZE ? read_queue(m, q, off) : read_user(q, off - NPU_FRAME_SIZE);
}

void reg_write(struct npu_model *m, uint64_t off, uint32_t v)
{
	struct queue *q;

	/* While resetting only the interrupt enables take writes: they were just cleared. */
	if (m->resetting && (off < NPU_IRQ_GLOBAL || off > NPU_IRQ_EVENT_EN))
		return;
	if (m->fatal && off >= NPU_MMU_BASE)
		return;
	if (off < NPU_MMU_BASE) {
		write_global(m, off, v);
		return;
	}
	if (off < NPU_QUEUE_BASE) {
		write_mmu(m, off - NPU_MMU_BASE, v);
		return;
	}
	q = queue_at(m, off);
	if (!q)
		return;
	off = (off - NPU_QUEUE_BASE) % NPU_QUEUE_STRIDE;
	if (off < NPU_FRAME_SIZE)
		write_queue(m, q, off, v);
	else if (off - NPU_FRAME_SIZE == NPU_QU_DOORBELL)
		queue_doorbell(m, q, v);
}
