/* SPDX-License-Identifier: MIT */
/*
 * The OpenNPU hardware model: the one public header.
 *
 * A model is one NPU: registers, queues, MMU, command processor, engines,
 * counters and fault injection, behaving as Documentation/hardware/ says, bit
 * for bit. It knows its host (libnpu's software device, the QEMU device, a
 * test) only through struct npu_model_bus.
 *
 * Threads. The model runs its own threads (none in synchronous mode). MMIO
 * functions may be called from any thread at any time and never wait for a
 * command. Bus callbacks come from the model's threads and from within MMIO
 * calls; they must be thread-safe and must not call back into the model.
 *
 * Errors: 0 or a negative errno.
 */
#ifndef NPU_MODEL_H
#define NPU_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct npu_model;

/* A piece of bus memory in the host's address space. */
struct npu_model_window {
	uint64_t bus;		/* first bus address */
	uint64_t size;		/* bytes */
	void *host;		/* where the host sees it */
	int fd;			/* memfd behind it, for remapped views; -1 = none (views are then gathered) */
	uint64_t fd_offset;	/* of the first byte */
	bool writable;
};

struct npu_model_bus {
	/*
	 * Find the window that contains bus address @bus. The window stays valid
	 * until the model is destroyed or npu_model_bus_changed() is called, so
	 * the model keeps it. -EFAULT: no memory there (a bus error).
	 */
	int (*window)(void *host, uint64_t bus, struct npu_model_window *out);

	/*
	 * The level of the interrupt line. Called on every change, in order, by
	 * one thread at a time and without a lock of the model: so a register
	 * access may return while another thread is about to tell of the change
	 * that it made. A host that drives a line of its own takes the call as a
	 * hint, and the level from npu_model_irq().
	 */
	void (*irq)(void *host, bool level);

	/* Optional: monotonic nanoseconds for TIMER; NULL = CLOCK_MONOTONIC. */
	uint64_t (*time_ns)(void *host);

	/* Optional: called first and last in each thread that the model makes. */
	void (*thread_enter)(void *host);
	void (*thread_exit)(void *host);
};

enum npu_model_isa {
	NPU_MODEL_ISA_AUTO,	/* the fastest that the CPU has; NPU_MODEL_ISA in the environment overrides */
	NPU_MODEL_ISA_SCALAR,	/* the reference */
	NPU_MODEL_ISA_AVX2,
	NPU_MODEL_ISA_AVX512,	/* with VNNI */
	NPU_MODEL_ISA_NEON,
};

struct npu_model_options {
	size_t size;		/* sizeof(struct npu_model_options), for growth */

	/* "small", "large", or the path of a configuration file; NULL = "small". */
	const char *config;
	unsigned int threads;	/* that compute; 0 = number of CPUs, 1..64 */
	unsigned int spin_us;	/* that a worker spins before it blocks; 0 = 20 */
	enum npu_model_isa isa;
	/*
	 * No threads: commands run inside npu_model_step() only, in a fixed
	 * order, with TIMER driven by device time; npu_model_write() does what
	 * the register asks for and nothing more. For tests and deterministic
	 * measurements.
	 */
	bool synchronous;
	bool coherent;		/* announce NPU_FEAT_COHERENT */
	/*
	 * Check, per command, that commands which overlap in device time on
	 * different engines do not touch the same bytes (a missing scoreboard
	 * token); each hazard is counted and reported through @log.
	 */
	bool check_hazards;
	/* Optional text output for warnings; NULL = none. Called from any thread. */
	void (*log)(void *host, const char *text);
	/*
	 * What the device only reads gets huge pages of the host. Where those take long to get, it works
	 * without them for this many milliseconds, and then asks for them in half of its time; 0 = 1000.
	 */
	unsigned int huge_ms;
};

/*
 * Make a model. @bus is copied; @host is passed to its functions. On error the
 * text in @err (may be NULL) says what was wrong, e.g. which line of the
 * configuration file.
 */
int npu_model_create(const struct npu_model_bus *bus, void *host, const struct npu_model_options *opt,
		     struct npu_model **out, char *err, size_t err_size);
/* Stops all threads; no bus callback comes after it returns. NULL is allowed. */
void npu_model_destroy(struct npu_model *m);

/* Bytes of the register file: NPU_MMIO_SIZE(queues). */
uint64_t npu_model_mmio_size(const struct npu_model *m);
/* @size is 4 or 8, @offset aligned to it; anything else reads 0 and is ignored. */
uint64_t npu_model_read(struct npu_model *m, uint64_t offset, unsigned int size);
void npu_model_write(struct npu_model *m, uint64_t offset, uint64_t value, unsigned int size);

/*
 * The level of the interrupt line now: what has been written is in it. Does not call
 * back, and waits for no callback. A host that samples and drives its line under
 * one lock never leaves an old level on it.
 * @pulses (may be NULL): injected rises so far that had no status bit and that no sample shows.
 */
bool npu_model_irq(struct npu_model *m, uint64_t *pulses);

/* Cold reset, as by the reset line: every register to its reset value, all work dropped. Waits for traffic to stop. */
void npu_model_reset(struct npu_model *m);
/*
 * Synchronous mode: do up to @commands commands (packets); returns how many
 * were done. When nothing can run, device time goes on to the next event (a
 * watchdog, a slow reset, a held-back interrupt) once.
 */
unsigned int npu_model_step(struct npu_model *m, unsigned int commands);
/* Wait (asynchronous mode) until no queue is RUNNING, or @timeout_ns have passed: 0 or -ETIMEDOUT. For tests. */
int npu_model_wait_idle(struct npu_model *m, uint64_t timeout_ns);

/*
 * Clock and power, as a board's clock and power controllers drive them.
 * Clock off: registers read all ones, writes are lost, engines stand still at a
 * command boundary; each lost access counts (NPU_MODEL_STAT_BAD_ACCESS). Power
 * off: as clock off, and all state is lost (power on = cold reset).
 */
void npu_model_set_clock(struct npu_model *m, bool on);
void npu_model_set_power(struct npu_model *m, bool on);

/* Windows may have moved (for instance memory hot-plug): forget them all. */
void npu_model_bus_changed(struct npu_model *m);

/* ---- Fault injection ----------------------------------------------------------- */

enum npu_model_fault {
	NPU_INJECT_HANG,		/* a command never ends */
	NPU_INJECT_PAGE_FAULT,		/* an access of a command faults, NPU_FAULT_TRANSLATION */
	NPU_INJECT_ECC,			/* an access of a command hits NPU_FAULT_ECC */
	NPU_INJECT_IRQ_LOST,		/* a status bit is set, the line stays low until the next event */
	NPU_INJECT_IRQ_SPURIOUS,	/* the line rises with no status bit, for a moment */
	NPU_INJECT_IRQ_STORM,		/* the line stays high whatever is cleared, until @arg ms have passed */
	NPU_INJECT_RESET_SLOW,		/* resets take @arg ms longer */
	NPU_INJECT_QUEUE_RESET_FAIL,	/* a queue reset never ends */
	NPU_INJECT_DEVICE_RESET_FAIL,	/* a register reset never ends; the reset line still works */
	NPU_INJECT_GONE,		/* all reads return all ones from now on, until cold reset; @arg 1: cold reset does not help */
	NPU_INJECT_DESCRIPTOR,		/* a fetched descriptor has flipped bits */
	NPU_INJECT_FATAL,		/* a device-wide internal error */
	NPU_INJECT_COUNT
};

struct npu_model_injection {
	enum npu_model_fault fault;
	int queue;		/* only on this queue; -1 = any */
	uint32_t after;		/* skip this many matching events (commands, jobs, resets, interrupts) first */
	uint32_t times;		/* then hit this many; 0 = 1 */
	uint64_t arg;
};

int npu_model_inject(struct npu_model *m, const struct npu_model_injection *inj);
void npu_model_inject_clear(struct npu_model *m);	/* all, and ends hangs that were injected */
/* Name as used on command lines ("hang", "page-fault", ...), NULL when out of range; and back: -EINVAL. */
const char *npu_model_fault_name(enum npu_model_fault fault);
int npu_model_fault_parse(const char *name);

/* ---- Observation ------------------------------------------------------------------ */

enum npu_model_stat {
	NPU_MODEL_STAT_BAD_ACCESS,	/* register accesses with the clock off */
	NPU_MODEL_STAT_HAZARDS,		/* found by check_hazards */
	NPU_MODEL_STAT_VIEW_MAPS,	/* host mappings that views use */
	NPU_MODEL_STAT_GATHERS,		/* operands that had to be gathered */
	NPU_MODEL_STAT_INJECTED,	/* injected faults that happened */
	NPU_MODEL_STAT_DEVICE_NS,	/* device time passed */
};

uint64_t npu_model_stat(struct npu_model *m, enum npu_model_stat stat);

#ifdef __cplusplus
}
#endif
#endif /* NPU_MODEL_H */
