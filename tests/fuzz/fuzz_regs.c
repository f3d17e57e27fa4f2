// SPDX-License-Identifier: MIT
/*
 * Registers and descriptors. The input is a list of 12-byte actions: register
 * writes and reads, stores to RAM (tables, ring, image), faults to inject,
 * clock, power and steps. After it a cold reset must give a device as new.
 */
#include "fuzz_model.h"

struct action {
	uint8_t what, arg;
	uint16_t where;
	uint64_t value;
} __attribute__((packed));

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Registers of one block are tried more often than chance would. */
static uint64_t offset(uint8_t arg, uint16_t where)
{
	switch (arg & 7) {
	case 0:
		return where % 0x300;
	case 1:
		return NPU_MMU_BASE + NPU_AS(arg >> 3 & 7) + where % 0x40;
	case 2:
		return NPU_QU(arg >> 3 & 3) + where % 0x20;
	case 3:
		return (uint64_t)where * 16;
	default:
		return NPU_QC(arg >> 3 & 3) + where % 0xa0;
	}
}

static void inject(const struct action *a)
{
	struct npu_model_injection inj = {
		.fault = (enum npu_model_fault)(a->arg % NPU_INJECT_COUNT), .queue = (int)(a->where % 5) - 1,
		.after = (uint32_t)(a->value & 7), .times = (uint32_t)(a->value >> 3 & 3), .arg = a->value >> 8 & 3,
	};

	/* A device that is gone for good stays so; resets up to 3 ms. */
	if (inj.fault == NPU_INJECT_GONE)
		inj.arg = 0;
	npu_model_inject(model, &inj);
}

static void act(const struct action *a)
{
	uint64_t off = offset(a->arg, a->where);

	switch (a->what % 12) {
	case 0:
	case 1:
	case 2:
	case 3:
		npu_model_write(model, off & ~3ull, a->value, 4);
		break;
	case 4:
		npu_model_write(model, off & ~7ull, a->value, 8);
		break;
	case 5:
		(void)npu_model_read(model, off, a->value & 1 ? 4 : 8);
		break;
	case 6:
		put64((uint64_t)a->where % 0x7000 & ~7ull, a->value);
		break;
	case 7:
		put64((0x10000 + (uint64_t)a->where) & ~7ull, a->value);
		break;
	case 8:
		npu_model_step(model, a->where % 64);
		break;
	case 9:
		inject(a);
		break;
	case 10:
		if (a->arg & 1)
			npu_model_set_clock(model, a->value & 1);
		else if (a->arg & 2)
			npu_model_set_power(model, a->value & 1);
		else
			npu_model_bus_changed(model);
		break;
	default:
		wr(NPU_QU(a->arg & 3) + NPU_QU_DOORBELL, rd(NPU_QC(a->arg & 3) + NPU_QC_TAIL) + 1);
		break;
	}
}

static void small_job(unsigned int index)
{
	struct npu_job_desc d = { .stream = 0x10000, .stream_size = 48, .flags = NPU_JOB_IRQ, .seqno = index + 1 };
	struct npu_cmd_set set = { .cmd = { .opcode = NPU_CMD_SET, .len = 2, .signal = NPU_NO_TOKEN }, .imm = 7 };
	struct npu_cmd end = { .opcode = NPU_CMD_END, .len = 1, .signal = NPU_NO_TOKEN };

	memcpy(ram + 0x4000 + 64 * index, &d, sizeof(d));
	memcpy(ram + 0x10000, &set, sizeof(set));
	memcpy(ram + 0x10020, &end, sizeof(end));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct action a;

	fuzz_model_init();
	if (size > 12 * 400)
		return 0;
	fuzz_tables();
	for (unsigned int i = 0; i < 16; i++)
		small_job(i);
	for (unsigned int s = 0; s < 8; s++)
		fuzz_slot(s);
	for (unsigned int q = 0; q < 4; q++)
		fuzz_queue(q, q & 1);
	for (; size >= sizeof(a); data += sizeof(a), size -= sizeof(a)) {
		memcpy(&a, data, sizeof(a));
		act(&a);
	}
	for (unsigned int i = 0; i < 8; i++)
		npu_model_step(model, 64);
	fuzz_check_reset();
	return 0;
}
