// SPDX-License-Identifier: MIT
/* Fault injection. */
#include <errno.h>
#include <string.h>

#include "core.h"

static const char *const names[NPU_INJECT_COUNT] = {
	[NPU_INJECT_HANG] = "hang",
	[NPU_INJECT_PAGE_FAULT] = "page-fault",
	[NPU_INJECT_ECC] = "ecc",
	[NPU_INJECT_IRQ_LOST] = "irq-lost",
	[NPU_INJECT_IRQ_SPURIOUS] = "irq-spurious",
	[NPU_INJECT_IRQ_STORM] = "irq-storm",
	[NPU_INJECT_RESET_SLOW] = "reset-slow",
	[NPU_INJECT_QUEUE_RESET_FAIL] = "queue-reset-fail",
	[NPU_INJECT_DEVICE_RESET_FAIL] = "device-reset-fail",
	[NPU_INJECT_GONE] = "gone",
	[NPU_INJECT_DESCRIPTOR] = "descriptor",
	[NPU_INJECT_FATAL] = "fatal",
};

const char *npu_model_fault_name(enum npu_model_fault fault)
{
	return (unsigned int)fault < NPU_INJECT_COUNT ? names[fault] : NULL;
}

int npu_model_fault_parse(const char *name)
{
	for (int i = 0; name && i < NPU_INJECT_COUNT; i++)
		if (!strcmp(names[i], name))
			return i;
	return -EINVAL;
}

static void rearm(struct injections *in)
{
	uint32_t mask = 0;

	for (unsigned int i = 0; i < in->count; i++)
		mask |= 1u << in->list[i].fault;
	atomic_store_explicit(&in->armed, mask, memory_order_relaxed);
}

/* Interrupts are of no queue; a reset of the device is not one of a queue. */
static bool matches(const struct npu_model_injection *e, enum npu_model_fault fault, int queue)
{
	if (e->fault != fault)
		return false;
	if (e->queue < 0 || e->queue == queue)
		return true;
	return queue < 0 && fault != NPU_INJECT_RESET_SLOW;
}

static bool take(struct injections *in, enum npu_model_fault fault, int queue, uint64_t *arg)
{
	for (unsigned int i = 0; i < in->count; i++) {
		struct npu_model_injection *e = &in->list[i];

		if (!matches(e, fault, queue))
			continue;
		if (e->after) {
			e->after--;
			continue;
		}
		*arg = e->arg;
		if (--e->times == 0) {
			memmove(e, e + 1, (in->count - i - 1) * sizeof(*e));
			in->count--;
			rearm(in);
		}
		atomic_fetch_add_explicit(&in->happened, 1, memory_order_relaxed);
		return true;
	}
	return false;
}

bool inject_hit(struct npu_model *m, enum npu_model_fault fault, int queue, bool locked, uint64_t *arg)
{
	bool hit;

	*arg = 0;
	if (!(atomic_load_explicit(&m->inject.armed, memory_order_relaxed) & (1u << fault)))
		return false;
	if (!locked)
		pthread_mutex_lock(&m->lock);
	hit = take(&m->inject, fault, queue, arg);
	if (!locked)
		pthread_mutex_unlock(&m->lock);
	return hit;
}

/* Faults that need no event happen at once when nothing is to be skipped. */
static bool at_once(struct npu_model *m, const struct npu_model_injection *inj)
{
	if (inj->after)
		return false;
	switch (inj->fault) {
	case NPU_INJECT_IRQ_SPURIOUS:
		m->irq.pulse = true;
		break;
	case NPU_INJECT_IRQ_STORM:
		m->irq.storm_ns = time_ns(m) + inj->arg * 1000000;
		irq_update(m);
		break;
	case NPU_INJECT_GONE:
		m->gone = true;
		m->gone_forever |= inj->arg == 1;
		break;
	case NPU_INJECT_FATAL:
		core_fatal(m, NPU_FAULT_INTERNAL);
		break;
	default:
		return false;
	}
	atomic_fetch_add_explicit(&m->inject.happened, 1, memory_order_relaxed);
	return true;
}

int npu_model_inject(struct npu_model *m, const struct npu_model_injection *inj)
{
	int r = 0;

	if ((unsigned int)inj->fault >= NPU_INJECT_COUNT || inj->queue < -1 || inj->queue >= (int)m->cfg.queues)
		return -EINVAL;
	core_lock(m);
	if (!at_once(m, inj)) {
		if (m->inject.count < MAX_INJECTIONS) {
			struct npu_model_injection *e = &m->inject.list[m->inject.count++];

			*e = *inj;
			if (!e->times)
				e->times = 1;
			rearm(&m->inject);
		} else {
			r = -ENOSPC;
		}
	}
	core_kick(m);
	core_unlock(m);
	return r;
}

void npu_model_inject_clear(struct npu_model *m)
{
	core_lock(m);
	m->inject.count = 0;
	rearm(&m->inject);
	m->irq.lost = false;
	m->irq.storm_ns = 0;
	for (uint32_t i = 0; i < m->cfg.queues; i++)
		if (m->queue[i].block == BLOCK_HUNG)
			queue_release_engine(m, &m->queue[i]);
	irq_update(m);
	core_kick(m);
	core_unlock(m);
}
