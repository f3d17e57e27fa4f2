// SPDX-License-Identifier: MIT
/* The model as a whole: creation, register access, resets, clock and power. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core.h"
#include "ops/pool.h"

/* ---- Time ------------------------------------------------------------------ */

static uint64_t muldiv(uint64_t a, uint64_t b, uint64_t c)
{
	return (uint64_t)((unsigned __int128)a * b / c);
}

uint64_t cycles_to_ns(const struct npu_model *m, uint64_t cycles)
{
	return muldiv(cycles, 1000000, m->cfg.core_khz);
}

uint64_t ns_to_cycles(const struct npu_model *m, uint64_t ns)
{
	return (uint64_t)(((unsigned __int128)ns * m->cfg.core_khz + 999999) / 1000000);
}

uint64_t us_to_cycles(const struct npu_model *m, uint64_t us)
{
	return muldiv(us, m->cfg.core_khz, 1000);
}

uint64_t time_ns(struct npu_model *m)
{
	struct timespec ts;

	if (m->synchronous)
		return cycles_to_ns(m, counter(&m->now));
	if (m->bus.ops.time_ns)
		return m->bus.ops.time_ns(m->bus.host);
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

uint64_t time_ticks(struct npu_model *m)
{
	return muldiv(time_ns(m), m->cfg.timer_hz, 1000000000);
}

/* ---- Lock, wake-ups, log ------------------------------------------------------ */

void core_lock(struct npu_model *m)
{
	atomic_fetch_add_explicit(&m->contenders, 1, memory_order_relaxed);
	pthread_mutex_lock(&m->lock);
	atomic_fetch_sub_explicit(&m->contenders, 1, memory_order_relaxed);
}

/* The device thread is woken without the lock: otherwise it would wake up only to wait for that. */
void core_unlock(struct npu_model *m)
{
	bool kick = m->kick;

	m->kick = false;
	if ((m->irq.level != m->irq.delivered || m->irq.pulse) && !m->irq.delivering)
		irq_deliver_unlock(m);
	else
		pthread_mutex_unlock(&m->lock);
	if (kick)
		pthread_cond_signal(&m->wake);
}

void core_kick(struct npu_model *m)
{
	atomic_store_explicit(&m->attention, true, memory_order_relaxed);
	m->kick = true;
}

void core_log(struct npu_model *m, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	if (!m->log)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	m->log(m->bus.host, text);
}

/* ---- Resets --------------------------------------------------------------------- */

/* All registers to their reset values, all work dropped. Token free, lock held. */
void core_reset(struct npu_model *m)
{
	uint64_t now = counter(&m->now);

	for (uint32_t i = 0; i < m->cfg.queues; i++)
		queue_reset_state(&m->queue[i]);
	for (uint32_t i = 0; i < m->cfg.slots; i++)
		mmu_slot_reset(m, &m->slot[i]);
	for (unsigned int e = 0; e < NPU_ENGINES; e++) {
		atomic_store_explicit(&m->engine_hung[e], NO_QUEUE, memory_order_relaxed);
		m->engine_free[e] = now;
		atomic_store_explicit(&m->cnt_engine[e], 0, memory_order_relaxed);
	}
	memset(m->hang_cycles, 0, sizeof(m->hang_cycles));
	m->dram_free = now;
	resident_flush(m);
	m->current = NO_QUEUE;
	memset(m->last_rr, 0, sizeof(m->last_rr));
	memset(m->irq.status, 0, sizeof(m->irq.status));
	memset(m->irq.enable, 0, sizeof(m->irq.enable));
	m->irq.lost = false;
	irq_update(m);
	m->fatal = false;
	m->fatal_cause = 0;
	m->power_reg = 0;
	m->reset_failed = false;
	m->slot_pending = false;
	atomic_store_explicit(&m->cnt_cycles, 0, memory_order_relaxed);
	atomic_store_explicit(&m->cnt_read, 0, memory_order_relaxed);
	atomic_store_explicit(&m->cnt_write, 0, memory_order_relaxed);
	atomic_store_explicit(&m->cnt_sram, 0, memory_order_relaxed);
	atomic_store_explicit(&m->cnt_macs, 0, memory_order_relaxed);
	atomic_store_explicit(&m->cnt_commands, 0, memory_order_relaxed);
	atomic_store_explicit(&m->cnt_walks, 0, memory_order_relaxed);
	atomic_store_explicit(&m->cnt_switches, 0, memory_order_relaxed);
	if (m->hazards)
		hazards_reset(m->hazards);
}

#define RESET_TIMEOUT_NS 10000000ull	/* a device reset that takes longer has failed */

void core_reset_request(struct npu_model *m)
{
	if (m->resetting)
		return;
	m->resetting = true;
	m->reset_pending = true;
	/* At once, so that what is enabled from now on is not taken back at the boundary. */
	memset(m->irq.enable, 0, sizeof(m->irq.enable));
	irq_update(m);
	if (!m->exec)
		core_reset_begin(m);
	core_kick(m);
}

/* Token free: everything stops and is cleared; READY follows at once, later, or never. */
void core_reset_begin(struct npu_model *m)
{
	uint32_t enable[4];
	uint64_t arg;

	m->reset_pending = false;
	memcpy(enable, m->irq.enable, sizeof(enable));
	core_reset(m);
	memcpy(m->irq.enable, enable, sizeof(enable));
	m->reset_stuck = inject_hit(m, NPU_INJECT_DEVICE_RESET_FAIL, -1, true, &arg);
	if (m->reset_stuck)
		m->reset_deadline = time_ns(m) + RESET_TIMEOUT_NS;
	else if (inject_hit(m, NPU_INJECT_RESET_SLOW, -1, true, &arg) && arg)
		m->reset_deadline = time_ns(m) + arg * 1000000;
	else
		core_reset_end(m);
}

void core_reset_end(struct npu_model *m)
{
	if (m->reset_stuck) {
		m->reset_failed = true;
		return;
	}
	m->resetting = false;
	irq_raise(m, IRQ_GLOBAL, NPU_IRQ_G_RESET_DONE);
}

/* A device-wide error: nothing runs until a reset. */
void core_fatal(struct npu_model *m, uint32_t cause)
{
	if (m->fatal || m->resetting)
		return;
	m->fatal = true;
	m->fatal_cause = cause;
	irq_raise(m, IRQ_GLOBAL, NPU_IRQ_G_FATAL);
	core_kick(m);
}

/* Lock held; returns with it held and the token free, and nobody will take it while @flag. */
static void stop_traffic(struct npu_model *m)
{
	core_kick(m);
	m->waiters++;
	while (m->exec)
		pthread_cond_wait(&m->quiet, &m->lock);
	m->waiters--;
}

static void cold_reset(struct npu_model *m)
{
	m->cold_reset++;
	stop_traffic(m);
	core_reset(m);
	m->resetting = false;
	m->reset_pending = false;
	m->reset_stuck = false;
	m->irq.storm_ns = 0;
	m->gone = m->gone_forever;
	irq_update(m);
	m->cold_reset--;
	core_kick(m);
}

void npu_model_reset(struct npu_model *m)
{
	core_lock(m);
	if (m->power)
		cold_reset(m);
	core_unlock(m);
}

void npu_model_set_clock(struct npu_model *m, bool on)
{
	core_lock(m);
	if (m->clock != on) {
		m->clock = on;
		irq_raise(m, IRQ_GLOBAL, on && m->power ? NPU_IRQ_G_POWER : 0);
		core_kick(m);
	}
	core_unlock(m);
}

void npu_model_set_power(struct npu_model *m, bool on)
{
	core_lock(m);
	if (m->power != on) {
		m->power = on;
		cold_reset(m);
		irq_raise(m, IRQ_GLOBAL, on ? NPU_IRQ_G_POWER : 0);
	}
	core_unlock(m);
}

void npu_model_bus_changed(struct npu_model *m)
{
	core_lock(m);
	m->cold_reset++;	/* keeps the token free */
	stop_traffic(m);
	for (uint32_t i = 0; i < m->cfg.slots; i++)
		mmu_drop_all(m, &m->slot[i]);
	bus_forget(&m->bus);
	m->cold_reset--;
	core_kick(m);
	core_unlock(m);
}

/* ---- Register access --------------------------------------------------------------- */

uint64_t npu_model_mmio_size(const struct npu_model *m)
{
	return NPU_MMIO_SIZE(m->cfg.queues);
}

/* Lock held. False: the access is lost. */
static bool reachable(struct npu_model *m)
{
	if (m->clock && m->power)
		return !m->gone;
	atomic_fetch_add_explicit(&m->bad_access, 1, memory_order_relaxed);
	return false;
}

static bool access_valid(const struct npu_model *m, uint64_t offset, unsigned int size)
{
	return (size == 4 || size == 8) && offset % size == 0 && offset < npu_model_mmio_size(m);
}

uint64_t npu_model_read(struct npu_model *m, uint64_t offset, unsigned int size)
{
	uint64_t v;

	if (!access_valid(m, offset, size))
		return 0;
	core_lock(m);
	if (reachable(m)) {
		if (offset == NPU_TIMER_LO || offset == NPU_TIMER_HI)
			m->timer_latch = time_ticks(m);
		v = reg_read(m, offset);
		if (size == 8)
			v |= (uint64_t)reg_read(m, offset + 4) << 32;
	} else {
		v = size == 8 ? UINT64_MAX : UINT32_MAX;
	}
	core_unlock(m);
	return v;
}

void npu_model_write(struct npu_model *m, uint64_t offset, uint64_t value, unsigned int size)
{
	if (!access_valid(m, offset, size))
		return;
	core_lock(m);
	if (reachable(m)) {
		reg_write(m, offset, (uint32_t)value);
		if (size == 8)
			reg_write(m, offset + 4, (uint32_t)(value >> 32));
	}
	core_unlock(m);
}

/* ---- Synchronous mode, waiting ------------------------------------------------------- */

/* Nothing can run: device time goes to the next event. */
static bool skip_idle(struct npu_model *m)
{
	uint64_t d = sched_deadline(m), now = time_ns(m);

	if (d == NO_DEADLINE || !m->clock || !m->power)
		return false;
	if (d > now)
		atomic_store_explicit(&m->now, counter(&m->now) + ns_to_cycles(m, d - now), memory_order_relaxed);
	return true;
}

unsigned int npu_model_step(struct npu_model *m, unsigned int commands)
{
	unsigned int done = 0;
	bool skipped = false;

	if (!m->synchronous)
		return 0;
	core_lock(m);
	while (done < commands && !m->exec) {
		unsigned int n = sched_once(m, commands - done);

		done += n;
		if (!m->idle)
			continue;
		if (done || skipped || !skip_idle(m))
			break;
		skipped = true;
	}
	core_unlock(m);
	return done;
}

static bool quiet(struct npu_model *m)
{
	if (m->exec || m->resetting)
		return false;
	for (uint32_t i = 0; i < m->cfg.queues; i++) {
		struct queue *q = &m->queue[i];

		if (q->pending || queue_runnable(m, q) || q->block == BLOCK_HUNG)
			return false;
	}
	return !atomic_load_explicit(&m->attention, memory_order_relaxed) || !m->thread_valid;
}

int npu_model_wait_idle(struct npu_model *m, uint64_t timeout_ns)
{
	struct timespec ts;
	int r = 0;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	timeout_ns += (uint64_t)ts.tv_nsec;
	ts.tv_sec += (time_t)(timeout_ns / 1000000000);
	ts.tv_nsec = (long)(timeout_ns % 1000000000);
	core_lock(m);
	m->waiters++;
	while (!quiet(m) && !r)
		r = -pthread_cond_timedwait(&m->quiet, &m->lock, &ts);
	m->waiters--;
	core_unlock(m);
	return r;
}

/* ---- Observation ------------------------------------------------------------------------ */

uint64_t npu_model_stat(struct npu_model *m, enum npu_model_stat stat)
{
	switch (stat) {
	case NPU_MODEL_STAT_BAD_ACCESS:
		return counter(&m->bad_access);
	case NPU_MODEL_STAT_HAZARDS:
		return counter(&m->stat_hazards);
	case NPU_MODEL_STAT_VIEW_MAPS:
		return counter(&m->stat_view_maps);
	case NPU_MODEL_STAT_GATHERS:
		return counter(&m->stat_gathers);
	case NPU_MODEL_STAT_INJECTED:
		return counter(&m->inject.happened);
	case NPU_MODEL_STAT_DEVICE_NS:
		return cycles_to_ns(m, counter(&m->now));
	}
	return 0;
}

/* ---- Creation ------------------------------------------------------------------------------ */

static int fail(char *err, size_t size, int code, const char *text)
{
	if (err && size)
		snprintf(err, size, "%s: %s", text, strerror(-code));
	return code;
}

static int choose_path(enum npu_model_isa isa, enum npu_path *path, char *err, size_t err_size)
{
	static const char *const names[] = { "auto", "scalar", "avx2", "avx512", "neon" };
	const char *env = getenv("NPU_MODEL_ISA");
	unsigned int i = isa;

	if (i >= sizeof(names) / sizeof(names[0]))
		return fail(err, err_size, -EINVAL, "isa");
	if (i == NPU_MODEL_ISA_AUTO && env && *env) {
		for (i = 0; i < sizeof(names) / sizeof(names[0]) && strcmp(names[i], env); i++)
			;
		if (i == sizeof(names) / sizeof(names[0]))
			return fail(err, err_size, -EINVAL, "NPU_MODEL_ISA is none of auto, scalar, avx2, avx512, neon");
	}
	*path = i == NPU_MODEL_ISA_AUTO ? npu_path_best() : (enum npu_path)(i - NPU_MODEL_ISA_SCALAR);
	return npu_path_supported(*path) ? 0 : fail(err, err_size, -ENOTSUP, "isa: this CPU does not have it");
}

static uint64_t view_limit(void)
{
	FILE *f = fopen("/proc/sys/vm/max_map_count", "r");
	uint64_t max = 65530;
	unsigned long v;

	if (f) {
		if (fscanf(f, "%lu", &v) == 1)
			max = v;
		fclose(f);
	}
	return max / 4 * 3;	/* the rest is the host's */
}

static int create_pool(struct npu_model *m, const struct npu_model_options *o, char *err, size_t err_size)
{
	struct npu_pool_options po = {
		.threads = m->synchronous ? 1 : o->threads,
		.spin_us = o->spin_us,
		.thread_enter = m->bus.ops.thread_enter,
		.thread_exit = m->bus.ops.thread_exit,
		.arg = m->bus.host,
	};
	int r = npu_pool_create(&po, &m->pool);

	return r ? fail(err, err_size, r, "worker threads") : 0;
}

static int setup(struct npu_model *m, const struct npu_model_options *o, char *err, size_t err_size)
{
	int r = config_load(o->config, &m->cfg, err, err_size);

	if (!r)
		r = choose_path(o->isa, &m->env.path, err, err_size);
	if (r)
		return r;
	if (m->env.path == NPU_PATH_SCALAR && o->isa == NPU_MODEL_ISA_AUTO)
		core_log(m, "arithmetic takes the scalar path: the same bits as with AVX2, AVX-512 or NEON, much slower");
	m->huge_patience = (o->huge_ms ? o->huge_ms : 1000) * 1000000ll;
	m->queue = aligned_alloc(64, sizeof(struct queue) * m->cfg.queues);
	m->slot = calloc(m->cfg.slots, sizeof(struct slot));
	if (!m->queue || !m->slot || (m->check_hazards && !(m->hazards = hazards_new())))
		return fail(err, err_size, -ENOMEM, "model");
	memset(m->queue, 0, sizeof(struct queue) * m->cfg.queues);
	for (uint32_t i = 0; i < m->cfg.queues; i++)
		m->queue[i].index = i;
	r = create_pool(m, o, err, err_size);
	if (r)
		return r;
	m->env.pool = m->pool;
	cp_env_init(m);
	regs_limits(m, &m->limits);
	resident_size(m);
	m->view_limit = view_limit();
	core_reset(m);
	if (m->synchronous)
		return 0;
	r = -pthread_create(&m->thread, NULL, sched_thread, m);
	if (r)
		return fail(err, err_size, r, "device thread");
	m->thread_valid = true;
	return 0;
}

int npu_model_create(const struct npu_model_bus *bus, void *host, const struct npu_model_options *opt,
		     struct npu_model **out, char *err, size_t err_size)
{
	struct npu_model_options o = { 0 };
	struct npu_model *m;
	pthread_condattr_t attr;
	int r;

	*out = NULL;
	if (err && err_size)
		err[0] = 0;
	if (!bus || !bus->window || !bus->irq)
		return fail(err, err_size, -EINVAL, "bus: window and irq are needed");
	if (opt)
		memcpy(&o, opt, opt->size < sizeof(o) ? opt->size : sizeof(o));
	if (o.threads > NPU_POOL_MAX_THREADS)
		return fail(err, err_size, -EINVAL, "threads: at most 64");
	m = calloc(1, sizeof(*m));
	if (!m)
		return fail(err, err_size, -ENOMEM, "model");
	bus_init(&m->bus, bus, host);
	m->synchronous = o.synchronous;
	m->coherent = o.coherent;
	m->check_hazards = o.check_hazards;
	m->log = o.log;
	m->clock = true;
	m->power = true;
	pthread_mutex_init(&m->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&m->wake, &attr);
	pthread_cond_init(&m->quiet, &attr);
	pthread_condattr_destroy(&attr);
	r = setup(m, &o, err, err_size);
	if (r) {
		npu_model_destroy(m);
		return r;
	}
	*out = m;
	return 0;
}

void npu_model_destroy(struct npu_model *m)
{
	if (!m)
		return;
	if (m->thread_valid) {
		pthread_mutex_lock(&m->lock);
		m->stop = true;
		core_kick(m);
		core_unlock(m);
		pthread_join(m->thread, NULL);
	}
	npu_pool_destroy(m->pool);
	for (uint32_t i = 0; m->slot && i < m->cfg.slots; i++)
		mmu_slot_fini(m, &m->slot[i]);
	free(m->slot);
	free(m->queue);
	bounces_fini(&m->bounces);
	hazards_free(m->hazards);
	free(m->scratch);
	bus_fini(&m->bus);
	pthread_cond_destroy(&m->wake);
	pthread_cond_destroy(&m->quiet);
	pthread_mutex_destroy(&m->lock);
	free(m);
}
