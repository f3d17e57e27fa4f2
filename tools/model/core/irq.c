// SPDX-License-Identifier: MIT
/*
 * The interrupt: one level line, any (status & enable).
 *
 * The host's callback may take a lock of the host that another thread holds
 * while it waits for m->lock in a register access. So the callback runs without
 * m->lock: one thread at a time delivers, in order, until the host has the
 * level that the registers ask for; a thread that changes the level meanwhile
 * leaves its delivery to that one.
 */
#include "core.h"

void irq_update(struct npu_model *m)
{
	struct irq *i = &m->irq;
	bool level = false;

	for (unsigned int n = 0; n < 4; n++)
		level |= (i->status[n] & i->enable[n]) != 0;
	if (i->lost)
		level = false;
	if (i->storm_ns)
		level = true;
	if (!m->power)
		level = false;
	i->level = level;
}

void irq_raise(struct npu_model *m, unsigned int which, uint32_t bits)
{
	struct irq *i = &m->irq;
	uint64_t arg;

	if (!bits)
		return;
	i->status[which] |= bits;
	i->lost = inject_hit(m, NPU_INJECT_IRQ_LOST, -1, true, &arg);
	if (inject_hit(m, NPU_INJECT_IRQ_SPURIOUS, -1, true, &arg))
		i->pulse = true;
	if (inject_hit(m, NPU_INJECT_IRQ_STORM, -1, true, &arg)) {
		i->storm_ns = time_ns(m) + arg * 1000000;
		core_kick(m);
	}
	irq_update(m);
}

/* Releases m->lock; before that, brings the host up to date. */
void irq_deliver_unlock(struct npu_model *m)
{
	struct irq *i = &m->irq;

	if (!i->delivering) {
		i->delivering = true;
		while (i->level != i->delivered || i->pulse) {
			/* A pulse on a high line has no edge: it ends unseen. */
			bool pulse = i->pulse && !i->level && !i->delivered;

			i->pulse = false;
			if (!pulse && i->level == i->delivered)
				break;
			i->pulses += pulse;
			i->delivered = pulse || i->level;
			pthread_mutex_unlock(&m->lock);
			m->bus.ops.irq(m->bus.host, i->delivered);
			pthread_mutex_lock(&m->lock);
		}
		i->delivering = false;
	}
	pthread_mutex_unlock(&m->lock);
}

bool npu_model_irq(struct npu_model *m, uint64_t *pulses)
{
	bool level;

	core_lock(m);
	level = m->irq.level;
	if (pulses)
		*pulses = m->irq.pulses;
	/* What is to be delivered is another thread's business. */
	pthread_mutex_unlock(&m->lock);
	return level;
}
