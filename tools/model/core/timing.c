// SPDX-License-Identifier: MIT
/*
 * The timing model: cycles of one command, and when it starts and ends in
 * device time. counters-and-timing.rst is the text; the formulas are its.
 */
#include "core.h"

static uint64_t div_up(uint64_t a, uint64_t b)
{
	return a / b + (a % b != 0);
}

static uint64_t mac_rate(const struct config *c, unsigned int type)
{
	switch (type) {
	case NPU_TYPE_I8:
		return c->macs_i8;
	case NPU_TYPE_F16:
	case NPU_TYPE_BF16:
		return c->macs_f16;
	default:
		return c->macs_f32;
	}
}

/* bytes / (MB/s) in cycles of kHz: bytes * kHz * 1000 / (MB/s * 1000000) */
static uint64_t dram_cycles(const struct config *c, uint64_t bytes)
{
	uint64_t per = (uint64_t)c->dram_mbps * 1000;

	return (uint64_t)(((unsigned __int128)bytes * c->core_khz + per - 1) / per);
}

void timing_cost(const struct config *c, const struct npu_op_plan *p, uint64_t memory, struct cost *out)
{
	uint64_t moved = p->bytes_read + p->bytes_written;
	uint64_t vector = div_up(p->lane_ops, c->lanes);

	out->sram_bytes = moved;
	switch (p->engine) {
	case NPU_ENGINE_MATRIX:
		out->compute = div_up(p->macs, mac_rate(c, p->mac_type)) + vector;
		out->sram_bytes += p->macs / c->sram_reuse;
		break;
	case NPU_ENGINE_VECTOR:
		out->compute = vector;
		break;
	default:
		out->compute = div_up(moved, c->copy_bytes);
		break;
	}
	out->sram = div_up(out->sram_bytes, c->sram_bytes);
	out->dram = dram_cycles(c, memory);
	out->latency = memory ? div_up((uint64_t)c->dram_latency_ns * c->core_khz, 1000000) : 0;
}

uint64_t timing_write_back(struct npu_model *m, uint64_t bytes, uint64_t now)
{
	if (!bytes)
		return now;
	m->dram_free = (now > m->dram_free ? now : m->dram_free) + dram_cycles(&m->cfg, bytes);
	return m->dram_free;
}

bool timing_book(struct npu_model *m, unsigned int engine, const struct cost *k, uint64_t issue, uint64_t limit,
		 uint64_t *start, uint64_t *stop)
{
	uint64_t begin = issue > m->engine_free[engine] ? issue : m->engine_free[engine];
	uint64_t data = begin + m->cfg.command_cycles;
	uint64_t dram = data > m->dram_free ? data : m->dram_free;
	uint64_t end = data + (k->compute > k->sram ? k->compute : k->sram), last = begin + limit;
	bool within;

	/* The memory channel serves one command after the other. */
	if (k->dram) {
		m->dram_free = dram + k->dram;
		if (m->dram_free > end)
			end = m->dram_free;
	}
	end += k->latency;
	within = !limit || end <= last;
	if (!within) {
		/* Taken off its engine, and off the memory channel if it had got there. */
		end = last;
		if (k->dram && m->dram_free > last)
			m->dram_free = dram > last ? dram : last;
	}
	m->engine_free[engine] = end;
	count(&m->cnt_engine[engine], end - begin);
	*start = begin;
	*stop = end;
	return within;
}
