// SPDX-License-Identifier: GPL-2.0-only
/*
 * Dumps of hangs and faults (format: npu_dump.h).
 *
 * A dump is captured before the hardware is reset, on the way of fences: into
 * a buffer that was made at probe, with nothing allocated and no lock waited
 * for that could depend on a fence. Publishing it allocates, and is done by a
 * worker. A dump that comes before the last one is published is dropped: the
 * first is the interesting one.
 */
#include <linux/devcoredump.h>
#include <linux/highmem.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/vmalloc.h>

#include <drm/drm_managed.h>
#include <drm/drm_print.h>

#include "npu_coredump.h"
#include "npu_device.h"
#include "npu_drv.h"
#include "npu_dump.h"
#include "npu_gem.h"
#include "npu_isa.h"
#include "npu_queue.h"
#include "npu_vm.h"

#define NPU_COREDUMP_SIZE	SZ_256K

/* Bytes of the stream before and after the command. */
#define NPU_STREAM_BEFORE	SZ_1K
#define NPU_STREAM_AFTER	SZ_4K

/**
 * struct npu_coredump - buffer of one dump
 */
struct npu_coredump {
	/** @npu: Device. */
	struct npu_device *npu;
	/** @busy: A dump is being captured or published. */
	unsigned long busy;
	/** @data: struct npu_dump_header and sections. */
	void *data;
	/** @used: Bytes of @data in use. */
	size_t used;
	/** @publish: Hands the dump to devcoredump. */
	struct work_struct publish;
};

/* ---- Writing ------------------------------------------------------------- */

/* Room for a section of at most @max bytes; NULL when there is none. */
static void *npu_dump_begin(struct npu_coredump *dump, size_t max)
{
	struct npu_dump_header *header = dump->data;

	if (dump->used + sizeof(struct npu_dump_section) + ALIGN(max, 8) > NPU_COREDUMP_SIZE) {
		header->truncated = 1;
		return NULL;
	}
	return dump->data + dump->used + sizeof(struct npu_dump_section);
}

static void npu_dump_end(struct npu_coredump *dump, u32 type, size_t size)
{
	struct npu_dump_section *section = dump->data + dump->used;

	section->type = type;
	section->size = size;
	memset((void *)(section + 1) + size, 0, ALIGN(size, 8) - size);
	dump->used += sizeof(*section) + ALIGN(size, 8);
}

static void npu_dump_add(struct npu_coredump *dump, u32 type, const void *data, size_t size)
{
	void *to = npu_dump_begin(dump, size);

	if (to) {
		memcpy(to, data, size);
		npu_dump_end(dump, type, size);
	}
}

/* ---- Parts --------------------------------------------------------------- */

struct npu_dump_range {
	u32 first;
	u32 last;
};

/* Reading a register has no side effect. */
static const struct npu_dump_range npu_dump_global[] = {
	{ NPU_ID, NPU_ERRATA_HI },
	{ NPU_CAP0, NPU_CAP_DRAM_MBPS },
	{ NPU_STATUS, NPU_POWER },
	{ NPU_IRQ_SUMMARY, NPU_IRQ_EVENT_EN },
	{ NPU_TIMER_LO, NPU_CORE_KHZ },
	{ NPU_CNT_CYCLES_LO, NPU_CNT_SWITCHES_HI },
};

static const struct npu_dump_range npu_dump_slot[] = {
	{ NPU_AS_TABLE_LO, NPU_AS_CFG },
	{ NPU_AS_STATUS, NPU_AS_STATUS },
	{ NPU_AS_RANGE_LO, NPU_AS_RANGE_SIZE_HI },
};

static const struct npu_dump_range npu_dump_control[] = {
	{ NPU_QC_STATUS, NPU_QC_FAULT_SEQNO_HI },
};

static const struct npu_dump_range npu_dump_user[] = {
	{ NPU_QU_HEAD, NPU_QU_SEQNO_HI },
};

static struct npu_dump_register *npu_dump_ranges(struct npu_device *npu,
						 struct npu_dump_register *out, u32 base,
						 const struct npu_dump_range *ranges, size_t n)
{
	u32 reg;

	for (; n--; ranges++) {
		for (reg = base + ranges->first; reg <= base + ranges->last; reg += 4, out++) {
			out->offset = reg;
			out->value = npu_read(npu, reg);
		}
	}
	return out;
}

static void npu_dump_registers(struct npu_coredump *dump, int id, int slot)
{
	struct npu_dump_register *first = npu_dump_begin(dump, 1024 * sizeof(*first));
	struct npu_dump_register *out = first;
	struct npu_device *npu = dump->npu;

	if (!first || npu_read(npu, NPU_ID) != NPU_ID_VALUE)
		return;

	out = npu_dump_ranges(npu, out, 0, npu_dump_global, ARRAY_SIZE(npu_dump_global));
	if (slot >= 0)
		out = npu_dump_ranges(npu, out, NPU_MMU_BASE + NPU_AS(slot), npu_dump_slot,
				      ARRAY_SIZE(npu_dump_slot));
	if (id >= 0) {
		out = npu_dump_ranges(npu, out, NPU_QC(id), npu_dump_control,
				      ARRAY_SIZE(npu_dump_control));
		out = npu_dump_ranges(npu, out, NPU_QU(id), npu_dump_user,
				      ARRAY_SIZE(npu_dump_user));
	}
	npu_dump_end(dump, NPU_DUMP_REGISTERS, (void *)out - (void *)first);
}

static void npu_dump_queue(struct npu_coredump *dump, struct npu_queue *queue, int id,
			   const struct npu_fault_info *fault)
{
	u32 entries = npu_queue_entries(dump->npu), index;
	struct npu_dump_queue out = {
		.id = queue->id,
		.vm_id = queue->vm->id,
		.priority = queue->priority,
		.hwq = id,
		.entries = entries,
		.timeout_us = queue->timeout_us,
		.fault = fault->fault,
		.fault_tag = fault->tag,
		.fault_addr = fault->addr,
		.fault_pc = fault->pc,
		.fault_seqno = fault->seqno,
		.pid = queue->pid,
	};

	memcpy(out.comm, queue->comm, sizeof(out.comm));
	spin_lock_irq(&queue->lock);
	out.head = queue->head;
	out.tail = queue->tail;
	out.seqno = queue->seqno;
	out.done_seqno = queue->done_seqno;
	spin_unlock_irq(&queue->lock);

	npu_dump_add(dump, NPU_DUMP_QUEUE, &out, sizeof(out));
	npu_dump_add(dump, NPU_DUMP_RING, queue->desc, entries * sizeof(*queue->desc));
	npu_dump_add(dump, NPU_DUMP_COMPLETIONS, queue->comp, entries * sizeof(*queue->comp));
	index = out.head & (entries - 1);
	npu_dump_add(dump, NPU_DUMP_SCALARS, queue->regs + index * NPU_SCALARS,
		     NPU_SCALARS * sizeof(u64));
}

/* The VM's bytes from @va on, until something is not mapped. Return: bytes copied. */
static size_t npu_dump_copy(struct npu_vm *vm, u8 *to, u64 va, size_t size)
{
	size_t done = 0, n;
	u64 offset, left;
	struct npu_bo *bo;
	void *from;

	while (done < size) {
		bo = npu_vm_find_bo(vm, va + done, &offset, &left);
		/* Pages of others have no place in a dump. */
		if (!bo || !bo->base.pages)
			break;

		n = min3((u64)size - done, left, PAGE_SIZE - offset_in_page(offset));
		from = kmap_local_page(bo->base.pages[offset >> PAGE_SHIFT]);
		memcpy(to + done, from + offset_in_page(offset), n);
		kunmap_local(from);
		done += n;
	}

	return done;
}

static void npu_dump_stream(struct npu_coredump *dump, struct npu_queue *queue, u64 pc)
{
	u32 index = READ_ONCE(queue->head) & (npu_queue_entries(dump->npu) - 1);
	struct npu_dump_memory *memory;
	u64 start = queue->desc[index].stream, n;

	/* Without a fault record: the beginning of the oldest job's stream. */
	if (pc)
		start = max_t(s64, pc - NPU_STREAM_BEFORE, min(start, pc));

	memory = npu_dump_begin(dump, sizeof(*memory) + NPU_STREAM_BEFORE + NPU_STREAM_AFTER);
	if (!memory)
		return;

	memory->va = start;
	n = npu_dump_copy(queue->vm, (u8 *)(memory + 1), start,
			  NPU_STREAM_BEFORE + NPU_STREAM_AFTER);
	npu_dump_end(dump, NPU_DUMP_STREAM, sizeof(*memory) + n);
}

static void npu_dump_mappings(struct npu_coredump *dump, struct npu_vm *vm)
{
	size_t max = (NPU_COREDUMP_SIZE - dump->used) / 2 / sizeof(struct npu_dump_mapping);
	struct npu_dump_header *header = dump->data;
	struct npu_dump_mapping *first, *out;
	struct drm_gpuva *va;

	first = npu_dump_begin(dump, max * sizeof(*first));
	if (!first)
		return;

	out = first;
	drm_gpuvm_for_each_va(va, &vm->base) {
		if (va == &vm->base.kernel_alloc_node || !va->gem.obj)
			continue;
		if (out == first + max) {
			header->truncated = 1;
			break;
		}
		*out++ = (struct npu_dump_mapping) {
			.va = va->va.addr,
			.size = va->va.range,
			.bo_offset = va->gem.offset,
			.bo_size = va->gem.obj->size,
		};
	}
	npu_dump_end(dump, NPU_DUMP_MAPPINGS, (void *)out - (void *)first);
}

/* ---- Capture and publication --------------------------------------------- */

/**
 * npu_coredump_capture() - Write down what is known of a hang or fault
 * @npu: Device, powered, not yet reset.
 * @queue: Queue that is to blame, or NULL.
 * @id: Hardware queue that it has, or -1.
 * @state: enum drm_npu_queue_state that the queue is about to get.
 * @fault: Fault record, with @queue.
 */
void npu_coredump_capture(struct npu_device *npu, struct npu_queue *queue, int id, u32 state,
			  const struct npu_fault_info *fault)
{
	struct npu_coredump *dump = npu->coredump;
	struct npu_dump_header *header;

	if (!dump || test_and_set_bit(0, &dump->busy))
		return;

	header = dump->data;
	*header = (struct npu_dump_header) {
		.magic = NPU_DUMP_MAGIC,
		.version = NPU_DUMP_VERSION,
		.time_ns = ktime_get_real_ns(),
		.state = state,
	};
	dump->used = sizeof(*header);

	npu_dump_add(dump, NPU_DUMP_INFO, &npu->info, sizeof(npu->info));
	npu_dump_registers(dump, id, queue ? queue->vm->slot.id : -1);
	if (queue) {
		npu_dump_queue(dump, queue, id, fault);
		/* A bind may be waiting for the very reset that comes next. */
		if (mutex_trylock(&queue->vm->op_lock)) {
			npu_dump_stream(dump, queue, fault->pc);
			npu_dump_mappings(dump, queue->vm);
			mutex_unlock(&queue->vm->op_lock);
		} else {
			header->truncated = 1;
		}
	}

	header->size = dump->used;
	queue_work(npu_cleanup_wq, &dump->publish);
}

static void npu_coredump_publish(struct work_struct *work)
{
	struct npu_coredump *dump = container_of(work, struct npu_coredump, publish);
	struct device *dev = dump->npu->drm.dev;
	void *data;

	data = vmalloc(dump->used);
	if (data) {
		memcpy(data, dump->data, dump->used);
		/* Takes the data over; drops it when the last dump has not been read yet. */
		dev_coredumpv(dev, data, dump->used, GFP_KERNEL);
	}
	clear_bit_unlock(0, &dump->busy);
}

static void npu_coredump_free(struct drm_device *drm, void *data)
{
	vfree(data);
}

int npu_coredump_init(struct npu_device *npu)
{
	struct npu_coredump *dump;
	int ret;

	dump = drmm_kzalloc(&npu->drm, sizeof(*dump), GFP_KERNEL);
	if (!dump)
		return -ENOMEM;

	dump->npu = npu;
	INIT_WORK(&dump->publish, npu_coredump_publish);
	dump->data = vmalloc(NPU_COREDUMP_SIZE);
	if (!dump->data)
		return -ENOMEM;

	ret = drmm_add_action_or_reset(&npu->drm, npu_coredump_free, dump->data);
	if (ret)
		return ret;

	npu->coredump = dump;
	return 0;
}

/* The device goes; nothing captures any more. */
void npu_coredump_fini(struct npu_device *npu)
{
	flush_work(&npu->coredump->publish);
}
