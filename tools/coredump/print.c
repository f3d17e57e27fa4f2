// SPDX-License-Identifier: MIT
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <npu/npu.h>

#include "drm/npu_accel.h"
#include "npu_dump.h"
#include "npu_regs.h"
#include "print.h"

const char *queue_state_name(uint32_t state)
{
	switch (state) {
	case DRM_NPU_QUEUE_ALIVE: return "no queue is to blame";
	case DRM_NPU_QUEUE_FAULT: return "a job faulted";
	case DRM_NPU_QUEUE_TIMEOUT: return "a job exceeded its time";
	case DRM_NPU_QUEUE_DEVICE_LOST: return "the device is lost";
	default: return "unknown reason";
	}
}

static const char *fault_name(uint32_t code)
{
	static const struct {
		uint32_t code;
		const char *name;
	} names[] = {
		{ NPU_FAULT_NONE, "none" },
		{ NPU_FAULT_TRANSLATION, "no valid translation" },
		{ NPU_FAULT_PERMISSION, "permission" },
		{ NPU_FAULT_ADDRESS_SIZE, "address too large" },
		{ NPU_FAULT_TABLE, "malformed page table" },
		{ NPU_FAULT_WALK_BUS, "bus error in a table walk" },
		{ NPU_FAULT_SLOT, "slot not enabled" },
		{ NPU_FAULT_BUS, "bus error" },
		{ NPU_FAULT_ECC, "uncorrectable memory error" },
		{ NPU_FAULT_OPCODE_ILLEGAL, "illegal opcode" },
		{ NPU_FAULT_ENCODING, "illegal encoding" },
		{ NPU_FAULT_OPERAND_ILLEGAL, "illegal operand" },
		{ NPU_FAULT_BOUND, "command too large" },
		{ NPU_FAULT_STREAM, "control left the stream" },
		{ NPU_FAULT_MODE, "command not allowed in this queue" },
		{ NPU_FAULT_TRAP, "trap" },
		{ NPU_FAULT_DESCRIPTOR, "malformed descriptor" },
		{ NPU_FAULT_DOORBELL, "impossible doorbell" },
		{ NPU_FAULT_RING, "ring not accessible" },
		{ NPU_FAULT_WATCHDOG, "command exceeded its time" },
		{ NPU_FAULT_BUDGET, "job exceeded its budget" },
		{ NPU_FAULT_BLOCKED, "job was blocked for too long" },
		{ NPU_FAULT_IMAGE, "context image not accessible" },
		{ NPU_FAULT_INTERNAL, "internal error" },
	};
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (names[i].code == code)
			return names[i].name;
	}
	return "unknown";
}

static void print_info(const void *data, size_t size)
{
	struct drm_npu_info info = { 0 };

	memcpy(&info, data, size < sizeof(info) ? size : sizeof(info));
	printf("device: implementer %#x product %#x revision %#x, %u queues, %u slots, %u-bit addresses%s\n",
	       NPU_IMPL_IMPLEMENTER(info.impl), NPU_IMPL_PRODUCT(info.impl), info.rev, info.hw_queues,
	       info.slots, info.va_bits, info.coherent ? ", coherent" : "");
}

static const char *register_frame(uint32_t offset, uint32_t *n, uint32_t *rest)
{
	*n = 0;
	*rest = offset % NPU_FRAME_SIZE;
	if (offset < NPU_MMU_BASE)
		return "global";
	if (offset < NPU_QUEUE_BASE) {
		*n = (*rest - NPU_AS(0)) / (NPU_AS(1) - NPU_AS(0));
		*rest -= NPU_AS(*n);
		return "slot";
	}
	*n = (offset - NPU_QUEUE_BASE) / NPU_QUEUE_STRIDE;
	return (offset - NPU_QUEUE_BASE) % NPU_QUEUE_STRIDE < NPU_FRAME_SIZE ? "control" : "user";
}

static void print_registers(const struct npu_dump_register *reg, size_t n)
{
	uint32_t index, rest;

	printf("registers:\n");
	for (; n--; reg++) {
		const char *frame = register_frame(reg->offset, &index, &rest);

		if (reg->offset < NPU_MMU_BASE)
			printf("  %-12s +0x%03x  0x%08x\n", frame, rest, reg->value);
		else
			printf("  %-9s %-2u +0x%03x  0x%08x\n", frame, index, rest, reg->value);
	}
}

static void print_queue(const void *data, size_t size, struct dump_state *state)
{
	struct npu_dump_queue q = { 0 };

	memcpy(&q, data, size < sizeof(q) ? size : sizeof(q));
	printf("queue %u of %.16s[%u]: VM %u, priority %u, hardware queue %d, time-out %u us\n", q.id, q.comm, q.pid,
	       q.vm_id, q.priority, q.hwq, q.timeout_us);
	printf("  jobs ended %" PRIu64 ", newest %" PRIu64 ", ring head %u tail %u of %u\n", q.done_seqno, q.seqno,
	       q.head, q.tail, q.entries);
	if (q.fault)
		printf("fault: %s (%#x), opcode %#x, operand %u, engine %u, %s of %#" PRIx64 "\n"
		       "  job %" PRIu64 ", command at %#" PRIx64 ", tag %#x\n",
		       fault_name(NPU_FAULT_CODE(q.fault)), q.fault, NPU_FAULT_OPCODE(q.fault),
		       NPU_FAULT_OPERAND(q.fault), NPU_FAULT_ENGINE(q.fault),
		       q.fault & NPU_FAULT_WRITE ? "write" : "read", q.fault_addr, q.fault_seqno, q.fault_pc,
		       q.fault_tag);
	else
		printf("fault: none: the driver saw no progress\n");
	state->head = q.head;
	state->tail = q.tail;
	state->entries = q.entries;
	state->pc = q.fault_pc;
}

/* The jobs that had not ended; a jump in the indices cannot loop for ever. */
static void print_ring(const struct npu_job_desc *desc, size_t n, const struct dump_state *state)
{
	uint32_t i, jobs = state->tail - state->head;

	if (!state->entries || n < state->entries)
		return;
	printf("jobs that have not ended: %u\n", jobs);
	for (i = 0; i < jobs && i < state->entries; i++) {
		const struct npu_job_desc *d = &desc[(state->head + i) % state->entries];

		printf("  %" PRIu64 ": stream %#" PRIx64 ", %u bytes, %u registers, flags %#x, budget %u us\n",
		       d->seqno, d->stream, d->stream_size, d->nregs, d->flags, d->budget_us);
	}
}

static void print_scalars(const uint64_t *value, size_t n)
{
	size_t i;

	printf("initial registers of the oldest job:\n");
	for (i = 0; i < n; i++) {
		if (value[i])
			printf("  r%zu = %#" PRIx64 "\n", i, value[i]);
	}
}

/* Bytes of the packet at @at, 0 when there is no whole one. */
static size_t packet_size(const uint8_t *data, size_t size, size_t at)
{
	size_t bytes;

	if (size - at < 16)
		return 0;
	bytes = data[at + 2] * 16u;
	return bytes && bytes <= size - at ? bytes : 0;
}

static void print_stream(const uint8_t *data, size_t size, const struct dump_state *state)
{
	const struct npu_dump_memory *memory = (const void *)data;
	size_t at = 0, bytes;
	char text[512];

	if (size < sizeof(*memory))
		return;
	data += sizeof(*memory);
	size -= sizeof(*memory);
	printf("stream from %#" PRIx64 ", %zu bytes:\n", memory->va, size);

	while ((bytes = packet_size(data, size, at))) {
		if (npu_disassemble(data, size, at, text, sizeof(text)) < 0)
			snprintf(text, sizeof(text), "(not a command: opcode %#x)", data[at] | data[at + 1] << 8);
		printf("%s %#012" PRIx64 "  %s\n", memory->va + at == state->pc ? "->" : "  ", memory->va + at, text);
		at += bytes;
	}
}

static void print_mappings(const struct npu_dump_mapping *map, size_t n)
{
	printf("mappings: %zu\n", n);
	for (; n--; map++)
		printf("  %#014" PRIx64 "..%#014" PRIx64 "  offset %#" PRIx64 " of a buffer of %#" PRIx64 " bytes\n",
		       map->va, map->va + map->size, map->bo_offset, map->bo_size);
}

void print_section(const struct npu_dump_section *section, const void *data, struct dump_state *state)
{
	size_t size = section->size;

	switch (section->type) {
	case NPU_DUMP_INFO:
		print_info(data, size);
		break;
	case NPU_DUMP_REGISTERS:
		print_registers(data, size / sizeof(struct npu_dump_register));
		break;
	case NPU_DUMP_QUEUE:
		print_queue(data, size, state);
		break;
	case NPU_DUMP_RING:
		print_ring(data, size / sizeof(struct npu_job_desc), state);
		break;
	case NPU_DUMP_COMPLETIONS:
		break;
	case NPU_DUMP_SCALARS:
		print_scalars(data, size / sizeof(uint64_t));
		break;
	case NPU_DUMP_STREAM:
		print_stream(data, size, state);
		break;
	case NPU_DUMP_MAPPINGS:
		print_mappings(data, size / sizeof(struct npu_dump_mapping));
		break;
	default:
		printf("section of unknown type %u, %zu bytes\n", section->type, size);
	}
}
