// SPDX-License-Identifier: MIT
/* Opening the software device, its worker, counters and injection. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "soft.h"

/*
 * That an idle worker waits for the next operation before it sleeps. Decoding has short operations that one thread does
 * alone between the matrix products; at 20 us workers slept some 50 times per token of a 1.1 G model, at 100 us once.
 */
#define SPIN_US	100

/* ---- Worker -------------------------------------------------------------------------- */

/*
 * After an event, or when an interrupt is left: those who wait shall look, or else the worker. Whom a signal wakes
 * would only queue for a lock that the signalling thread holds: so it is sent without any.
 */
static void notify(struct soft_device *sd, bool event)
{
	uint32_t waiters;

	pthread_mutex_lock(&sd->event_lock);
	sd->generation += event;
	waiters = sd->waiters;
	pthread_mutex_unlock(&sd->event_lock);
	if (waiters && event)
		pthread_cond_broadcast(&sd->changed);
	else if (!waiters && atomic_load(&sd->irq) && !atomic_load(&sd->serving))
		pthread_cond_signal(&sd->work);
}

/* From the model's threads, or from within a register access of ours: only take a note. */
static void irq_changed(void *host, bool level)
{
	struct soft_device *sd = host;

	atomic_store(&sd->irq, level);
	if (level)
		notify(sd, true);
}

void soft_lock(struct soft_device *sd)
{
	pthread_mutex_lock(&sd->lock);
	atomic_store(&sd->serving, true);
}

void soft_unlock(struct soft_device *sd)
{
	bool event = sd->event;

	sd->event = false;
	/* Before the look at the interrupt: one of both sides sees the other's store. */
	atomic_store(&sd->serving, false);
	pthread_mutex_unlock(&sd->lock);
	if (event || atomic_load(&sd->irq))
		notify(sd, event);
}

static void model_log(void *host, const char *text)
{
	npu_logf(host, NPU_LOG_WARNING, "model: %s", text);
}

/* Wait, under event_lock, for an interrupt that no waiter will see; at most @ns when not 0. */
static void worker_sleep(struct soft_device *sd, int64_t ns)
{
	int64_t until = npu_now_ns() + ns;
	struct timespec ts = { until / 1000000000, until % 1000000000 };

	if (ns)
		pthread_cond_timedwait(&sd->work, &sd->event_lock, &ts);
	else
		pthread_cond_wait(&sd->work, &sd->event_lock);
}

static void *worker(void *arg)
{
	struct soft_device *sd = arg;
	int64_t nap = 0;
	bool storm = false;

	pthread_mutex_lock(&sd->event_lock);
	while (!sd->stop) {
		bool busy, imports, starving;

		if (storm || !atomic_load(&sd->irq) || sd->waiters)
			worker_sleep(sd, nap);
		if (sd->stop)
			break;
		pthread_mutex_unlock(&sd->event_lock);

		soft_lock(sd);
		soft_service(sd);
		busy = false;
		for (struct soft_queue *q = sd->queues; q && !busy; q = q->next)
			busy = q->tail < q->head;
		imports = sd->importing;
		starving = sd->starving;
		/* A line that nothing quiets would keep us spinning. */
		storm = atomic_load(&sd->irq);
		soft_unlock(sd);

		nap = imports || storm ? 1000000 : starving ? SOFT_SLICE_NS : busy ? SOFT_LOOK_NS : 0;
		pthread_mutex_lock(&sd->event_lock);
	}
	pthread_mutex_unlock(&sd->event_lock);
	return NULL;
}

/* ---- Opening -------------------------------------------------------------------------- */

static int parse_number(struct npu_device *dev, const char *key, const char *value, unsigned long max,
			unsigned long *out)
{
	char *end;

	errno = 0;
	*out = strtoul(value, &end, 0);
	if (!*value || *end || errno || *out > max)
		return npu_fail(dev, -EINVAL, "software device: %s=%s is not a number from 0 to %lu", key, value, max);
	return 0;
}

static int parse_isa(struct npu_device *dev, const char *value, struct npu_model_options *o)
{
	static const char *const names[] = { "auto", "scalar", "avx2", "avx512", "neon" };

	for (unsigned int i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(value, names[i])) {
			o->isa = (enum npu_model_isa)i;
			return 0;
		}
	return npu_fail(dev, -EINVAL, "software device: isa=%s is none of auto, scalar, avx2, avx512, neon", value);
}

/* "key=value,..." in a copy that stays as long as @o. */
static int parse(struct soft_device *sd, char *arg, struct npu_model_options *o)
{
	struct npu_device *dev = &sd->base;
	char *save = NULL;

	for (char *key = strtok_r(arg, ",", &save); key; key = strtok_r(NULL, ",", &save)) {
		char *value = strchr(key, '=');
		unsigned long n = 0;
		int err = 0;

		if (value)
			*value++ = '\0';
		else
			value = key + strlen(key);
		if (!strcmp(key, "config"))
			o->config = value;
		else if (!strcmp(key, "isa"))
			err = parse_isa(dev, value, o);
		else if (!strcmp(key, "threads"))
			err = parse_number(dev, key, value, 64, &n), o->threads = (unsigned int)n;
		else if (!strcmp(key, "spin"))
			err = parse_number(dev, key, value, 1000000, &n), o->spin_us = (unsigned int)n;
		else if (!strcmp(key, "sync"))
			err = parse_number(dev, key, value, 1, &n), o->synchronous = n;
		else if (!strcmp(key, "coherent"))
			err = parse_number(dev, key, value, 1, &n), o->coherent = n;
		else if (!strcmp(key, "hazards"))
			err = parse_number(dev, key, value, 1, &n), o->check_hazards = n;
		else if (!strcmp(key, "memory"))
			err = parse_number(dev, key, value, 1 << 24, &n), sd->mem_bytes = (uint64_t)n << 20;
		else
			err = npu_fail(dev, -EINVAL, "software device: unknown setting \"%s\" (config, threads, spin, sync, "
				       "coherent, hazards, isa, memory)", key);
		if (err)
			return err;
	}
	return 0;
}

static void read_info(struct soft_device *sd)
{
	struct npu_device_info *i = &sd->base.info;
	uint32_t cap0 = soft_rd(sd, NPU_CAP0), rates = soft_rd(sd, NPU_CAP_MACS_F16);

	i->impl = soft_rd(sd, NPU_IMPL);
	i->rev = soft_rd(sd, NPU_REV);
	i->intf = soft_rd(sd, NPU_INTF);
	i->numerics = soft_rd(sd, NPU_CAP_NUMERICS);
	i->errata = soft_rd64(sd, NPU_ERRATA_LO);
	i->features = soft_rd64(sd, NPU_CAP_FEAT_LO);
	i->ops = soft_rd64(sd, NPU_CAP_OPS_LO);
	i->types_rows = soft_rd(sd, NPU_CAP_TYPES_LO);
	i->types_tiles = soft_rd(sd, NPU_CAP_TYPES_HI);
	i->max_macs = soft_rd64(sd, NPU_CAP_MAX_MACS_LO);
	i->max_bytes = soft_rd64(sd, NPU_CAP_MAX_BYTES_LO);
	i->max_stream = soft_rd(sd, NPU_CAP_MAX_STREAM);
	i->hw_queues = NPU_CAP0_QUEUES(cap0);
	i->slots = NPU_CAP0_SLOTS(cap0);
	i->va_bits = NPU_CAP0_VA_BITS(cap0);
	i->timer_hz = soft_rd(sd, NPU_CAP_TIMER_HZ);
	i->core_khz = soft_rd(sd, NPU_CAP_CORE_KHZ);
	i->macs_i8 = soft_rd(sd, NPU_CAP_MACS_I8);
	i->macs_f16 = rates & 0xffff;
	i->macs_f32 = rates >> 16;
	i->lanes = soft_rd(sd, NPU_CAP_LANES);
	i->sram_kb = soft_rd(sd, NPU_CAP_SRAM_KB);
	i->dram_mbps = soft_rd(sd, NPU_CAP_DRAM_MBPS);
	i->max_jobs = SOFT_MAX_JOBS;
	i->priorities = 0xf;
	i->software = 1;
	i->coherent = 1;	/* the model and the CPU share their caches */
	snprintf(i->driver, sizeof(i->driver), "software");
	snprintf(i->driver_version, sizeof(i->driver_version), "%d.%d.%d", NPU_VERSION_MAJOR, NPU_VERSION_MINOR,
		 NPU_VERSION_PATCH);
}

static void init_locks(struct soft_device *sd)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_mutex_init(&sd->lock, NULL);
	pthread_mutex_init(&sd->windows_lock, NULL);
	pthread_mutex_init(&sd->event_lock, NULL);
	pthread_cond_init(&sd->changed, &attr);
	pthread_cond_init(&sd->work, &attr);
	pthread_condattr_destroy(&attr);
}

static void soft_device_close(struct npu_device *dev)
{
	struct soft_device *sd = SD(dev);

	/* The threads are the parent's, and the bus memory is not mapped here. */
	if (npu_device_forked(dev)) {
		close(sd->memfd);
		return;
	}
	if (sd->worker_valid) {
		pthread_mutex_lock(&sd->event_lock);
		sd->stop = true;
		pthread_cond_signal(&sd->work);
		pthread_mutex_unlock(&sd->event_lock);
		pthread_join(sd->worker, NULL);
	}
	npu_model_destroy(sd->model);
	soft_mem_fini(sd);
	pthread_cond_destroy(&sd->work);
	pthread_cond_destroy(&sd->changed);
	pthread_mutex_destroy(&sd->event_lock);
	pthread_mutex_destroy(&sd->windows_lock);
	pthread_mutex_destroy(&sd->lock);
}

static int soft_device_open(struct npu_device *dev, const char *arg)
{
	const struct npu_model_bus bus = { .window = soft_window, .irq = irq_changed };
	struct npu_model_options opt = { .size = sizeof(opt), .log = model_log, .spin_us = SPIN_US };
	struct soft_device *sd = SD(dev);
	char text[256] = "", *copy;
	int err;

	init_locks(sd);
	sd->memfd = -1;
	copy = npu_alloc(dev, strlen(arg) + 1);
	if (!copy) {
		err = npu_fail(dev, -ENOMEM, "no memory for a device");
		goto err_close;
	}
	strcpy(copy, arg);
	err = parse(sd, copy, &opt);
	if (!err) {
		err = npu_model_create(&bus, sd, &opt, &sd->model, text, sizeof(text));
		if (err)
			npu_fail(dev, err, "software device: %s", text[0] ? text : strerror(-err));
	}
	npu_free(dev, copy);
	if (err)
		goto err_close;
	sd->synchronous = opt.synchronous;
	err = soft_mem_init(sd);
	if (err)
		goto err_close;
	read_info(sd);
	soft_init_registers(sd);
	if (!sd->synchronous) {
		err = -pthread_create(&sd->worker, NULL, worker, sd);
		if (err) {
			npu_fail(dev, err, "software device: no thread: %s", strerror(-err));
			goto err_close;
		}
		sd->worker_valid = true;
	}
	return 0;

err_close:
	soft_device_close(dev);
	return err;
}

static int soft_counters(struct npu_device *dev, struct npu_counters *c)
{
	struct soft_device *sd = SD(dev);

	soft_lock(sd);
	c->timer = soft_rd64(sd, NPU_TIMER_LO);
	c->cycles = sd->counted.cycles + soft_rd64(sd, NPU_CNT_CYCLES_LO);
	for (uint32_t e = 0; e < NPU_ENGINES; e++)
		c->engine[e] = sd->counted.engine[e] + soft_rd64(sd, NPU_CNT_ENGINE_LO(e));
	c->bytes_read = sd->counted.bytes_read + soft_rd64(sd, NPU_CNT_READ_LO);
	c->bytes_written = sd->counted.bytes_written + soft_rd64(sd, NPU_CNT_WRITE_LO);
	c->bytes_sram = sd->counted.bytes_sram + soft_rd64(sd, NPU_CNT_SRAM_LO);
	c->macs = sd->counted.macs + soft_rd64(sd, NPU_CNT_MACS_LO);
	c->commands = sd->counted.commands + soft_rd64(sd, NPU_CNT_COMMANDS_LO);
	c->walks = sd->counted.walks + soft_rd64(sd, NPU_CNT_WALKS_LO);
	c->switches = sd->counted.switches + soft_rd64(sd, NPU_CNT_SWITCHES_LO);
	c->core_khz = soft_rd(sd, NPU_CORE_KHZ);
	c->resets = sd->resets;
	soft_unlock(sd);
	return 0;
}

static int soft_inject(struct npu_device *dev, const char *fault, int queue, uint32_t after, uint64_t arg)
{
	int n = npu_model_fault_parse(fault), err;
	struct npu_model_injection inj = { .queue = queue, .after = after, .times = 1, .arg = arg };

	if (n < 0)
		return npu_fail(dev, -EINVAL, "no fault \"%s\" to inject", fault);
	inj.fault = (enum npu_model_fault)n;
	err = npu_model_inject(SD(dev)->model, &inj);
	return err ? npu_fail(dev, err, "cannot inject \"%s\" on queue %d", fault, queue) : 0;
}

const struct npu_backend npu_backend_soft = {
	.device_size = sizeof(struct soft_device),
	.vm_size = sizeof(struct soft_vm),
	.buffer_size = sizeof(struct soft_buffer),
	.fence_size = sizeof(struct soft_fence),
	.queue_size = sizeof(struct soft_queue),
	.device_open = soft_device_open,
	.device_close = soft_device_close,
	.counters = soft_counters,
	.inject = soft_inject,
	.vm_create = soft_vm_create,
	.vm_destroy = soft_vm_destroy,
	.vm_check = soft_vm_check,
	.vm_map = soft_vm_map,
	.vm_unmap = soft_vm_unmap,
	.buffer_create = soft_buffer_create,
	.buffer_destroy = soft_buffer_destroy,
	.buffer_map = soft_buffer_map,
	.buffer_unmap = soft_buffer_unmap,
	.buffer_sync = soft_buffer_sync,
	.buffer_wait = soft_buffer_wait,
	.buffer_export = soft_buffer_export,
	.buffer_import = soft_buffer_import,
	.fence_create = soft_fence_create,
	.fence_destroy = soft_fence_destroy,
	.fence_wait = soft_fence_wait,
	.fence_signal = soft_fence_signal,
	.fence_value = soft_fence_value,
	.fence_export = soft_fence_export,
	.fence_import = soft_fence_import,
	.queue_create = soft_queue_create,
	.queue_destroy = soft_queue_destroy,
	.queue_submit = soft_queue_submit,
	.queue_status = soft_queue_status,
};
