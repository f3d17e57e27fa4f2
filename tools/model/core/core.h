/* SPDX-License-Identifier: MIT */
/*
 * Internals of the model's device core.
 *
 * Ownership and locking
 *   m->lock protects the state that registers show and that decides what runs:
 *   everything without another note. It is never held while a command computes.
 *
 *   The execution token (m->exec != NULL) belongs to the thread that runs
 *   commands of queue m->exec: the device thread, or the caller of
 *   npu_model_step() in synchronous mode. Its holder alone touches, without the
 *   lock, members marked X: the execution state of that queue, the cached
 *   translations and views of that queue's slot, engine and device time. While
 *   the token is free, X members belong to whoever holds m->lock. So a register
 *   write acts at once unless it concerns the queue or the slot in execution;
 *   then it is left pending and m->attention makes the holder stop at the next
 *   command boundary.
 *
 *   Members marked A are atomics: written by the holder, read by anybody.
 *
 *   m->bus_lock protects the cached windows; taken after m->lock, or alone.
 *
 * Host callbacks: the interrupt is delivered without m->lock (see irq.c).
 */
#ifndef NPU_MODEL_CORE_H
#define NPU_MODEL_CORE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "npu_isa.h"
#include "npu_model.h"
#include "npu_regs.h"
#include "ops/ops.h"

#define PAGE_SIZE	4096ull
#define PAGE_SHIFT	12
#define LEAF_SIZE	(1ull << 21)
#define LEAF_SHIFT	21
#define LEAF_PAGES	512u
#define NO_DEADLINE	UINT64_MAX
#define NO_QUEUE	UINT32_MAX

/* The published configuration: see configs/ and counters-and-timing.rst. */
struct config {
	char name[32];
	uint32_t product;
	uint32_t queues, slots, va_bits, bus_bits, ring_log2;
	uint32_t core_khz, timer_hz;
	uint64_t max_stream, max_macs, max_bytes;
	uint32_t macs_i8, macs_f16, macs_f32;	/* per cycle */
	uint32_t lanes;				/* vector operations per cycle */
	uint32_t copy_bytes;			/* that COPY moves per cycle */
	uint32_t sram_kb;
	uint32_t sram_bytes;			/* per cycle, both directions together */
	uint32_t sram_reuse;			/* MACs per byte read from SRAM */
	uint32_t dram_mbps, dram_latency_ns;
	uint32_t command_cycles;		/* set-up of a tensor command */
	uint32_t control_cycles;		/* of every packet in the command processor */
};

int config_load(const char *name, struct config *c, char *err, size_t err_size);

/* ---- Faults ---------------------------------------------------------------- */

struct fault {
	uint8_t code;		/* NPU_FAULT_*; 0 = none */
	uint8_t engine;
	uint8_t operand;
	bool write;
	uint16_t opcode;	/* 0xffff: none */
	uint32_t tag;
	uint64_t addr, pc, seqno;
};

/* ---- Bus --------------------------------------------------------------------- */

struct bus {
	struct npu_model_bus ops;
	void *host;
	pthread_mutex_t lock;
	struct npu_model_window *windows;	/* sorted by bus address, under lock */
	unsigned int count, room;
};

void bus_init(struct bus *b, const struct npu_model_bus *ops, void *host);
void bus_fini(struct bus *b);
void bus_forget(struct bus *b);
/* The window that holds [bus, bus + len) as a whole; -EFAULT. */
int bus_find(struct bus *b, uint64_t addr, uint64_t len, struct npu_model_window *out);
/* Host pointer for [addr, addr + len), which must lie in one window; NULL = bus error. */
void *bus_ptr(struct bus *b, uint64_t addr, uint64_t len, bool write);
/* Copies that may span windows. */
int bus_read(struct bus *b, uint64_t addr, void *buf, size_t len);
int bus_write(struct bus *b, uint64_t addr, const void *buf, size_t len);

/* ---- Address spaces ------------------------------------------------------------ */

/* TLB entry bits; the bus address is in bits 47:12. */
#define TLB_VALID	(1ull << 0)
#define TLB_WRITE	(1ull << 1)	/* the page table allows writes */
#define TLB_VIEW	(1ull << 2)	/* mapped in the host view */
#define TLB_HOST_RO	(1ull << 3)	/* the window does not */

/* Cached translations of 2 MiB of addresses. */
struct leaf {
	uint64_t va;
	uint16_t valid, writable, viewed;	/* entries with these bits */
	uint16_t view_runs;			/* runs of pages mapped in the view */
	uint16_t view_maps;			/* host mappings: runs, and the holes between them */
	bool want_huge;				/* counted in the slot's huge.wanted */
	uint8_t *base;				/* host[0] when full and host pointers ascend by pages; or NULL */
	uint64_t pte[LEAF_PAGES];
	uint8_t *host[LEAF_PAGES];		/* NULL: no memory there */
};

/* A reserved host region in which addresses of a slot are contiguous. */
struct segment {
	uint64_t va;
	uint8_t *base;
};

#define WALK_CACHE_LOG2	6
#define WALK_CACHE	(1u << WALK_CACHE_LOG2)

struct walk_entry {
	uint64_t tag;		/* VA >> 21, plus one; 0 = empty */
	uint64_t table;		/* bus address of the level-3 table */
};

/* Where a large operand was found: a program uses the same ones again and again. */
#define SPAN_CACHE_LOG2	9
#define SPAN_CACHE	(1u << SPAN_CACHE_LOG2)

struct span_entry {
	uint64_t va, len;	/* 0: none */
	uint8_t *host;
	uint64_t gen;		/* of the slot: later ones end it */
	bool write;
};

/* Which leaves of a slot want a huge page of the host: huge.c. */
struct huge {
	uint32_t wanted;	/* leaves */
	uint32_t at;		/* in the table: where the search for the next one goes on */
	int64_t since, after;	/* ns: when the first began to want one; not before */
};

struct slot {
	/* Registers. */
	uint64_t reg_table;
	uint32_t reg_cfg;
	uint64_t range, range_size;
	uint32_t pending;	/* NPU_AS_CMD_*; 0 = none */
	bool error;

	/* Latched by UPDATE. */
	bool enabled;
	uint64_t table;
	uint32_t va_bits;

	bool locked;
	uint64_t lock_first, lock_last;

	/* X: cached translations. */
	struct leaf **leaves;	/* hash by va >> 21, open addressing, power of two */
	uint32_t leaf_count, leaf_room;
	struct leaf *last;
	struct walk_entry walks[WALK_CACHE];
	struct span_entry spans[SPAN_CACHE];	/* large operands that were found contiguous */
	struct segment *segments;
	uint32_t segment_count;
	struct huge huge;
	uint64_t gen;		/* counts invalidations: host pointers kept elsewhere end */
};

/* What a translation ended in. */
struct xlate {
	uint8_t code;		/* NPU_FAULT_*; 0 = none */
	uint64_t addr;
	bool write;
};

struct npu_model;

bool mmu_locked(const struct slot *s, uint64_t va, uint64_t len);
/* Host pointer for [va, va + len), contiguous, or NULL with @x set. Never bounces: see view.c. */
uint8_t *mmu_page(struct npu_model *m, struct slot *s, uint64_t va, bool write, struct xlate *x);
struct leaf *mmu_leaf(struct slot *s, uint64_t va, bool create);
int mmu_fill(struct npu_model *m, struct slot *s, struct leaf *l, unsigned int page, struct xlate *x);
int mmu_read(struct npu_model *m, struct slot *s, uint64_t va, void *buf, size_t len, struct xlate *x);
int mmu_write(struct npu_model *m, struct slot *s, uint64_t va, const void *buf, size_t len, struct xlate *x);
void mmu_drop_all(struct npu_model *m, struct slot *s);
void mmu_slot_reset(struct npu_model *m, struct slot *s);
void mmu_slot_fini(struct npu_model *m, struct slot *s);
void mmu_command(struct npu_model *m, uint32_t slot, uint32_t cmd);
void mmu_run_pending(struct npu_model *m);

/* huge.c: huge pages of the host. As the translations, by whoever may change those of @s. */

/* @l has been filled from @w: it gets a huge page when there is time, if it can have one. */
void huge_want(struct slot *s, struct leaf *l, const struct npu_model_window *w);
void huge_forget(struct slot *s, struct leaf *l);
/* Before a command of @s, while any are wanted. */
void huge_tend(struct npu_model *m, struct slot *s);

/* Bounce buffers of one command, used where no contiguous host view can be had. */
struct bounce {
	uint64_t va, len;
	uint8_t *buf, *old;	/* @old: contents before the command, for writes */
	uint32_t next;		/* in the chain of its hash, plus one; 0 = last */
};

struct bounces {
	struct bounce *list;	/* kept between commands */
	unsigned int count, room;
	uint32_t *chain;	/* heads by hash of va, plus one; NULL until there are many */
	uint8_t *arena;		/* kept between commands */
	size_t arena_size, arena_used;
	size_t taken;		/* by this command, @extra included */
	void **extra;		/* allocations beyond the arena, freed at command end */
	unsigned int extra_count;
};

uint8_t *view_map(struct npu_model *m, struct slot *s, struct bounces *b, uint64_t va, uint64_t len, bool write,
		  struct xlate *x);
/* The same for an operand that is used in pieces: 0, or -EFAULT and @x. */
int view_pieces(struct npu_model *m, struct slot *s, struct bounces *b, uint64_t va, uint64_t len, bool write,
		struct npu_pieces *out, struct xlate *x);
/* Every command that mapped something ends with it, if @b has something taken. */
int view_end(struct npu_model *m, struct slot *s, struct bounces *b, bool write_back);
void view_leaf_drop(struct npu_model *m, struct slot *s, struct leaf *l, unsigned int first, unsigned int count);
void view_fini(struct npu_model *m, struct slot *s);
void bounces_fini(struct bounces *b);

/* ---- Queues ---------------------------------------------------------------------- */

enum phase {
	PHASE_NONE,		/* no job */
	PHASE_REGS,		/* descriptor accepted, scalar registers not yet read */
	PHASE_RUN,
	PHASE_DONE,		/* END reached, completion not yet written */
};

enum block {
	BLOCK_NONE,
	BLOCK_SEM,		/* semaphore wait */
	BLOCK_LOCK,		/* an access stalled by LOCK */
	BLOCK_ENGINE,		/* its engine is held by a hung command of another queue */
	BLOCK_HUNG,		/* its own command never ends */
};

/* State of the job in progress: what a context image holds. */
struct job {
	uint64_t stream, pc;
	uint64_t seqno, regs;
	uint64_t cycles;	/* active */
	uint64_t blocked_ns;	/* spent in semaphore waits that ended */
	uint64_t progress;
	uint64_t r[NPU_SCALARS];
	uint32_t stream_size, commands, budget_us, cookie;
	uint16_t flags, nregs;
	uint8_t phase;		/* enum phase */
	uint8_t rsvd[3];
};

struct queue {
	uint32_t index;

	/* Registers. */
	uint32_t mode, slot, ring_log2, prio, slice_us, watchdog_us, budget_us, block_us, coalesce_us;
	uint64_t ring, comp, image;
	uint32_t head;
	_Atomic uint32_t tail;			/* A: written under the lock */
	uint64_t seqno;
	uint32_t status;	/* NPU_QSTATUS_ERR_* and RESET_FAILED */
	_Atomic bool in_job;			/* A */
	_Atomic uint64_t active_cycles;		/* A */
	_Atomic uint64_t commands;		/* A */
	_Atomic uint64_t progress;		/* A */
	uint64_t active_base, cycles_base;	/* register = base + active_cycles in its unit */

	bool started, suspended, faulted;
	uint32_t pending;	/* NPU_QCMD_* under way; 0 = none */
	uint64_t reset_deadline;	/* ns of a slow reset; 0 = none */
	bool reset_stuck;		/* injected: reset_deadline only sets RESET_FAILED */
	struct fault fault;

	enum block block;
	uint64_t block_ns;	/* when the present semaphore wait began; 0 = none */
	uint64_t sem_check_ns;	/* next look at the semaphore */
	uint64_t hung_ns;	/* when the command hung */
	uint8_t block_engine;	/* NPU_ENGINE_* that hangs or is waited for */
	uint64_t coalesce_ns;	/* deadline of a held-back interrupt; 0 = none */

	/* Arbiter. */
	uint64_t slice_cycles;	/* used of the present slice */
	int64_t credit;		/* owed under the minimum share, in hundredths of cycles */
	bool in_credit;

	/* X: execution. */
	struct job job;
	enum block stop;	/* why cp_run() returned RUN_BLOCKED */
	uint8_t stop_engine;
	struct fault stop_fault;	/* of a hang: what a watchdog will report */
	uint64_t drain;		/* device time when all issued commands have ended */
	uint64_t dropped;	/* and when those of jobs that were dropped have */
	uint64_t token[NPU_TOKENS];	/* device time when the token is zero */
	uint32_t run_watchdog_us, run_budget_us;	/* the registers when the token was taken */
	uint64_t watchdog_cycles, budget_cycles;	/* of the job */
	uint8_t *fetch;		/* host pointer of the stream page in use */
	uint64_t fetch_va;
	uint64_t fetch_gen;
	unsigned char packet[NPU_PACKET_MAX] __attribute__((aligned(64)));
};

/* How running a queue ended. */
enum run {
	RUN_MORE,		/* more to do */
	RUN_IDLE,		/* ring empty */
	RUN_BLOCKED,		/* q->block says why */
	RUN_FAULT,
	RUN_FATAL,
	RUN_GONE,
};

uint32_t queue_state(struct npu_model *m, struct queue *q);
void queue_reset_state(struct queue *q);
void queue_command(struct npu_model *m, struct queue *q, uint32_t cmd);
void queue_run_pending(struct npu_model *m);
void queue_doorbell(struct npu_model *m, struct queue *q, uint32_t tail);
bool queue_runnable(struct npu_model *m, struct queue *q);
void queue_fault(struct npu_model *m, struct queue *q, const struct fault *f);
void queue_unblock_slot(struct npu_model *m, uint32_t slot);
void queue_unblock_sems(struct npu_model *m);
void queue_end_wait(struct npu_model *m, struct queue *q);
void queue_release_engine(struct npu_model *m, struct queue *q);
static inline bool queue_live(const struct queue *q)
{
	return q->started && !q->suspended && !q->faulted;
}

int image_save(struct npu_model *m, struct queue *q);
int image_load(struct npu_model *m, struct queue *q);

void cp_env_init(struct npu_model *m);
void cp_advance(struct npu_model *m, struct queue *q, uint64_t to);
void cp_drain(struct npu_model *m, struct queue *q);
void cp_write_back(struct npu_model *m, struct queue *q);
void cp_job_limits(struct npu_model *m, struct queue *q);
/* Runs up to @budget packets of the queue that holds the token. Without m->lock. */
enum run cp_run(struct npu_model *m, struct queue *q, unsigned int budget, unsigned int *done, struct fault *f);

/* ---- Timing -------------------------------------------------------------------------- */

/* Cost of a command on its engine, in core cycles and bytes. */
struct cost {
	uint64_t compute, dram, sram;	/* cycles */
	uint64_t sram_bytes;
	uint64_t latency;		/* cycles */
};

/* @memory: bytes that pass the memory channel. */
void timing_cost(const struct config *c, const struct npu_op_plan *p, uint64_t memory, struct cost *out);
/* The memory channel writes @bytes from @now on; returns when it has. */
uint64_t timing_write_back(struct npu_model *m, uint64_t bytes, uint64_t now);
/*
 * Books the command on its engine from @start, at or after @issue, to @stop. False: it would take more than @limit
 * cycles (0: none), and was stopped there.
 */
bool timing_book(struct npu_model *m, unsigned int engine, const struct cost *k, uint64_t issue, uint64_t limit,
		 uint64_t *start, uint64_t *stop);

/* ---- On-chip memory ---------------------------------------------------------------------- */

/* @rows times @width bytes, @pitch apart. */
struct byte_rows {
	uint64_t lo, width, pitch, rows;
};

struct resident_part {
	struct byte_rows block;
	uint64_t live;		/* bytes of it that have not been dropped */
	uint64_t dirty;		/* of these: not in memory */
	uint64_t stamp;		/* last use */
};

#define RESIDENT_PARTS 32u

struct resident {
	uint64_t size, used;	/* bytes */
	uint64_t stamp;
	unsigned int owner;	/* queue */
	unsigned int count;
	struct resident_part part[RESIDENT_PARTS];
};

void resident_size(struct npu_model *m);
/* What @t covers; false: not rows at one distance. */
bool resident_rows(const struct npu_tensor *t, struct byte_rows *b);
/*
 * Apply a command's hints. Returns bytes that leave to memory because of it;
 * @saved_*: bytes of its operands that do not pass the memory channel.
 */
uint64_t resident_account(struct npu_model *m, const struct queue *q, const void *packet, uint64_t *saved_read,
			  uint64_t *saved_write);
/* Nothing is held any more; returns bytes that go to memory. */
uint64_t resident_flush(struct npu_model *m);

/* ---- Hazards ---------------------------------------------------------------------------- */

struct span {
	uint64_t first, last;	/* bytes, inclusive */
	uint8_t operand;
	bool write;
};

#define MAX_SPANS 8u

unsigned int packet_spans(const void *packet, struct span *out);
bool packet_holds(const void *packet, uint64_t va, uint64_t len, bool write);
struct hazards;
struct hazards *hazards_new(void);
void hazards_free(struct hazards *h);
void hazards_reset(struct hazards *h);
void hazards_check(struct npu_model *m, struct queue *q, const void *packet, unsigned int engine, uint64_t start,
		   uint64_t end);

/* ---- Injection ---------------------------------------------------------------------------- */

#define MAX_INJECTIONS 64u

struct injections {
	struct npu_model_injection list[MAX_INJECTIONS];
	unsigned int count;
	_Atomic uint32_t armed;		/* mask of faults in the list */
	_Atomic uint64_t happened;
};

/* Whether @fault happens at this event. Takes m->lock unless @locked. */
bool inject_hit(struct npu_model *m, enum npu_model_fault fault, int queue, bool locked, uint64_t *arg);

/* ---- The model -------------------------------------------------------------------------------- */

struct irq {
	uint32_t status[4], enable[4];	/* order of the registers: GLOBAL, DONE, FAULT, EVENT */
	bool level;		/* what the line should be */
	bool delivered;		/* what the host was last told */
	bool delivering;	/* a thread is in the callback */
	bool lost;		/* injected: the line stays low until the next event */
	bool pulse;		/* injected: a spurious rise is due */
	uint64_t pulses;	/* such rises that the host was told of */
	uint64_t storm_ns;	/* injected: the line stays high until then; 0 = none */
};

enum { IRQ_GLOBAL, IRQ_DONE, IRQ_FAULT, IRQ_EVENT };

struct npu_model {
	struct config cfg;
	struct bus bus;
	bool synchronous, coherent, check_hazards;
	void (*log)(void *host, const char *text);

	pthread_mutex_t lock;
	pthread_cond_t wake;		/* the device thread has something to do */
	pthread_cond_t quiet;		/* the token was released, or nothing runs */
	pthread_t thread;
	bool thread_valid, stop;
	bool kick;			/* core_unlock() is to signal wake */
	unsigned int waiters;		/* on quiet */
	_Atomic bool attention;		/* A: stop at the next command boundary */
	_Atomic unsigned int contenders;	/* A: threads that want m->lock for MMIO */

	/* Device state. */
	struct queue *queue;		/* cfg.queues of them */
	struct slot *slot;		/* cfg.slots of them */
	struct queue *exec;		/* holder's queue; NULL = token free */
	unsigned int cold_reset;	/* somebody needs the token free: nothing may start */
	bool idle;			/* the last turn found no queue to run */
	uint64_t timer_latch;		/* TIMER of the register read under way */
	uint32_t current;		/* queue that last had the engines; NO_QUEUE */
	uint32_t last_rr[4];		/* per level: queue served last */
	_Atomic uint32_t engine_hung[NPU_ENGINES];	/* A: queue whose command hangs there, or NO_QUEUE */
	uint64_t hang_cycles[NPU_ENGINES + 1];	/* of hangs that ended, not yet in the counters */
	bool slot_pending;		/* some slot's command waits for the token */
	_Atomic bool sem_signalled;	/* A */
	bool clock, power, gone, gone_forever, fatal, resetting, reset_failed, reset_pending, reset_stuck;
	uint32_t fatal_cause;
	uint32_t power_reg;
	uint64_t reset_deadline;	/* ns */
	struct irq irq;
	struct injections inject;
	_Atomic uint64_t bad_access;

	/* X: time and engines. */
	_Atomic uint64_t now;		/* A: device time, core cycles */
	uint64_t engine_free[NPU_ENGINES];
	uint64_t dram_free;
	struct resident resident;
	struct hazards *hazards;

	/* A: counters. */
	_Atomic uint64_t cnt_cycles, cnt_engine[NPU_ENGINES], cnt_read, cnt_write, cnt_sram, cnt_macs, cnt_commands,
		cnt_walks, cnt_switches;
	_Atomic uint64_t stat_hazards, stat_gathers, stat_view_maps;
	_Atomic uint64_t view_maps;	/* host mappings that views cause, holes included */

	/* X: tensor operations. */
	struct npu_op_env env;
	struct npu_op_limits limits;
	struct npu_pool *pool;
	struct bounces bounces;
	int64_t huge_patience;	/* ns until slow huge pages are asked for */
	void *scratch;
	size_t scratch_size;
	struct queue *env_queue;	/* of the command that runs */
	struct fault *env_fault;
	uint8_t env_inject;		/* fault code that its next access gets; 0 = none */
	uint64_t view_limit;		/* host mappings that views may use */
};

static inline void count(_Atomic uint64_t *c, uint64_t n)
{
	/* One writer at a time: no read-modify-write needed. */
	atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + n, memory_order_relaxed);
}

static inline uint64_t counter(_Atomic uint64_t *c)
{
	return atomic_load_explicit(c, memory_order_relaxed);
}

void core_lock(struct npu_model *m);
/* Also delivers a change of the interrupt line, if there is one. */
void core_unlock(struct npu_model *m);
void core_kick(struct npu_model *m);	/* something changed: look again */
void core_log(struct npu_model *m, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void core_reset(struct npu_model *m);	/* all registers; token free, lock held */
void core_reset_request(struct npu_model *m);
void core_reset_begin(struct npu_model *m);
void core_reset_end(struct npu_model *m);
void core_fatal(struct npu_model *m, uint32_t cause);

uint64_t time_ns(struct npu_model *m);	/* behind TIMER */
uint64_t time_ticks(struct npu_model *m);
uint64_t cycles_to_ns(const struct npu_model *m, uint64_t cycles);
uint64_t us_to_cycles(const struct npu_model *m, uint64_t us);
uint64_t ns_to_cycles(const struct npu_model *m, uint64_t ns);

void irq_raise(struct npu_model *m, unsigned int which, uint32_t bits);
void irq_update(struct npu_model *m);
void irq_deliver_unlock(struct npu_model *m);

/* sched.c: lock held, token free. */
struct queue *sched_pick(struct npu_model *m);
unsigned int sched_others(struct npu_model *m, struct queue *q);	/* runnable queues besides @q */
void sched_account(struct npu_model *m, struct queue *q, uint64_t cycles);
uint64_t sched_deadline(struct npu_model *m);
void sched_timers(struct npu_model *m, uint64_t now);
unsigned int sched_once(struct npu_model *m, unsigned int budget);
void *sched_thread(void *arg);

void regs_limits(const struct npu_model *m, struct npu_op_limits *l);
uint32_t reg_read(struct npu_model *m, uint64_t off);
void reg_write(struct npu_model *m, uint64_t off, uint32_t v);

#endif /* NPU_MODEL_CORE_H */
