/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * OpenNPU host interface: registers, job descriptors, completions, context
 * image header and page-table format.
 *
 * This header is shared by the kernel driver and by the hardware model. The
 * normative text is Documentation/hardware/; where the two differ, the text
 * is right and this header has a bug.
 *
 * Conventions
 *   - All registers are 32 bits wide, little endian, naturally aligned.
 *   - A 64-bit quantity FOO is the pair FOO_LO (lower address) and FOO_HI. It
 *     may be accessed with one 64-bit access where the bus is single-copy
 *     atomic for 64 bits; otherwise readers use HI, LO, HI and retry.
 *   - RO writes are ignored. Reserved registers and fields read as zero;
 *     writes to them are ignored. W1C: writing one clears, zero has no effect.
 *   - A block whose clock is off reads as all ones and ignores writes; no
 *     register that a client needs to trust can legally read as all ones.
 */
#ifndef NPU_REGS_H
#define NPU_REGS_H

#ifdef __KERNEL__
#include <linux/types.h>
#else
#include <stdint.h>
#endif

/* ---- Address map -------------------------------------------------------- */

#define NPU_FRAME_SIZE			0x10000u	/* one frame; maps on any page size */
#define NPU_GLOBAL_BASE			0x00000u
#define NPU_MMU_BASE			0x10000u
#define NPU_QUEUE_BASE			0x20000u
#define NPU_QUEUE_STRIDE		0x20000u
/* CONTROL frame of queue q: privileged. */
#define NPU_QC(q)			(NPU_QUEUE_BASE + (q) * NPU_QUEUE_STRIDE)
/* USER frame of queue q: may be mapped into a process. */
#define NPU_QU(q)			(NPU_QC(q) + NPU_FRAME_SIZE)
#define NPU_MAX_QUEUES			32u
#define NPU_MAX_SLOTS			64u
#define NPU_MMIO_SIZE(nqueues)		NPU_QC(nqueues)
#define NPU_MMIO_MAX_SIZE		NPU_QC(NPU_MAX_QUEUES)	/* 0x420000 */

/* ---- Global page: identity and capabilities (all RO) -------------------- */

#define NPU_ID				0x000	/* always NPU_ID_VALUE */
#define   NPU_ID_VALUE			0x3155504eu	/* "NPU1", never all ones */
#define NPU_IMPL			0x004	/* 31:16 implementer, 15:0 product */
#define   NPU_IMPL_IMPLEMENTER(v)	((v) >> 16)
#define   NPU_IMPL_PRODUCT(v)		((v) & 0xffff)
#define   NPU_IMPLEMENTER_MODEL		0x0001	/* the project's software model */
#define NPU_REV				0x008	/* 31:16 major, 15:8 minor, 7:0 patch */
#define NPU_INTF			0x00c	/* 31:16 major, 15:0 minor; informative */
#define   NPU_INTF_VALUE		0x00010000u	/* 1.0 */
#define NPU_ERRATA_LO			0x010	/* implementer-defined errata present */
#define NPU_ERRATA_HI			0x014

#define NPU_CAP0			0x020
#define   NPU_CAP0_QUEUES(v)		((v) & 0xff)		/* 4..32 */
#define   NPU_CAP0_SLOTS(v)		(((v) >> 8) & 0xff)	/* 8..64 */
#define   NPU_CAP0_VA_BITS(v)		(((v) >> 16) & 0xff)	/* 39..48 */
#define   NPU_CAP0_BUS_BITS(v)		(((v) >> 24) & 0xff)	/* 32..48 */
#define NPU_CAP1			0x024
#define   NPU_CAP1_RING_LOG2(v)		((v) & 0xff)		/* largest ring, log2 entries */
#define   NPU_CAP1_IMAGE_4K(v)		(((v) >> 8) & 0xff)	/* image size, 4 KiB units */
#define   NPU_CAP1_SCALARS(v)		(((v) >> 16) & 0xff)	/* scalar registers, 32 */
#define   NPU_CAP1_TOKENS(v)		(((v) >> 24) & 0xff)	/* scoreboard tokens, 32 */
#define NPU_CAP_FEAT_LO			0x028	/* NPU_FEAT_* */
#define NPU_CAP_FEAT_HI			0x02c
#define   NPU_FEAT_USER_QUEUES		(1u << 0)	/* USER mode and semaphores */
#define   NPU_FEAT_SUSPEND		(1u << 1)	/* context images */
#define   NPU_FEAT_COHERENT		(1u << 2)	/* honours the shareable attribute */
#define   NPU_FEAT_QUEUE_RESET		(1u << 3)	/* reset of one queue */
#define   NPU_FEAT_MIN_SHARE		(1u << 4)	/* guaranteed minimum shares */
#define   NPU_FEAT_ENGINE_CYCLES	(1u << 5)	/* counters per engine */
#define   NPU_FEAT_ACTIVATIONS		(1u << 6)	/* quantised activations: types A8 and A8_K */
#define NPU_CAP_OPS_LO			0x030	/* bit n: operation n of npu_isa.h */
#define NPU_CAP_OPS_HI			0x034
#define NPU_CAP_TYPES_LO		0x038	/* bit n: matmul weight type n, rows */
#define NPU_CAP_TYPES_HI		0x03c	/* bit n: matmul weight type n, 16-row tiles */
#define NPU_CAP_MAX_MACS_LO		0x040	/* bound of one command, MACs */
#define NPU_CAP_MAX_MACS_HI		0x044
#define NPU_CAP_MAX_BYTES_LO		0x048	/* bound of one command, bytes touched */
#define NPU_CAP_MAX_BYTES_HI		0x04c
#define NPU_CAP_MAX_STREAM		0x050	/* largest stream, bytes */
#define NPU_CAP_NUMERICS		0x054	/* numerics profile, 1 = Documentation/hardware/numerics */
#define NPU_CAP_TIMER_HZ		0x058	/* rate of TIMER; constant, not DVFS */
#define NPU_CAP_CORE_KHZ		0x05c	/* nominal core clock */
#define NPU_CAP_SRAM_KB			0x060	/* on-chip memory, informative */
#define NPU_CAP_MACS_I8			0x064	/* int8 MACs per core cycle, informative */
#define NPU_CAP_MACS_F16		0x068	/* F16 and F32 MACs per core cycle: 31:16 F32, 15:0 F16 */
#define NPU_CAP_LANES			0x06c	/* vector lanes, informative */
#define NPU_CAP_DRAM_MBPS		0x070	/* memory bandwidth, MB/s, informative */

/* ---- Global page: control ----------------------------------------------- */

#define NPU_RESET			0x100	/* WO; NPU_RESET_KEY resets the device */
#define   NPU_RESET_KEY			0x52535421u	/* "!TSR" */
#define NPU_STATUS			0x104	/* RO */
#define   NPU_STATUS_READY		(1u << 0)	/* out of reset, registers usable */
#define   NPU_STATUS_RESETTING		(1u << 1)
#define   NPU_STATUS_FATAL		(1u << 2)	/* only reset leaves this state */
#define   NPU_STATUS_BUSY		(1u << 3)	/* any engine or walk active */
#define   NPU_STATUS_RESET_FAILED	(1u << 4)	/* last device reset did not end */
#define NPU_FATAL_CAUSE			0x108	/* RO; NPU_FAULT_* code of a device-wide error */
#define NPU_POWER			0x10c	/* RW; 1 = core allowed to gate itself when idle */

/*
 * Interrupts: one level line = any (status & enable) bit in the four pairs.
 * A status bit is set by the event whether enabled or not. W1C clears exactly
 * the bits written; an event that comes after the read is kept because the
 * reader writes only what it read.
 */
#define NPU_IRQ_SUMMARY			0x120	/* RO; which status registers have enabled bits */
#define   NPU_IRQ_SUM_GLOBAL		(1u << 0)
#define   NPU_IRQ_SUM_DONE		(1u << 1)
#define   NPU_IRQ_SUM_FAULT		(1u << 2)
#define   NPU_IRQ_SUM_EVENT		(1u << 3)
#define NPU_IRQ_GLOBAL			0x124	/* W1C; NPU_IRQ_G_* */
#define   NPU_IRQ_G_RESET_DONE		(1u << 0)	/* device reset ended, READY */
#define   NPU_IRQ_G_FATAL		(1u << 1)	/* device-wide error, FATAL */
#define   NPU_IRQ_G_MMU			(1u << 2)	/* an MMU command ended */
#define   NPU_IRQ_G_POWER		(1u << 3)	/* clock or power state changed */
#define NPU_IRQ_DONE			0x128	/* W1C; bit q: queue q completed a job with JOB_IRQ */
#define NPU_IRQ_FAULT			0x12c	/* W1C; bit q: queue q entered FAULTED */
#define NPU_IRQ_EVENT			0x130	/* W1C; bit q: queue q ended a CMD, or PROGRESS with irq */
#define NPU_IRQ_GLOBAL_EN		0x134	/* RW, reset 0 */
#define NPU_IRQ_DONE_EN			0x138	/* RW, reset 0 */
#define NPU_IRQ_FAULT_EN		0x13c	/* RW, reset 0 */
#define NPU_IRQ_EVENT_EN		0x140	/* RW, reset 0 */

/* ---- Global page: time and counters (RO) --------------------------------- */

#define NPU_TIMER_LO			0x200	/* free running at CAP_TIMER_HZ */
#define NPU_TIMER_HI			0x204
#define NPU_CORE_KHZ			0x208	/* present core clock */
/* Counters: 64 bit, zero at device reset, never written. Core cycles are of the device's own (in the model: virtual) time. */
#define NPU_CNT_CYCLES_LO		0x240	/* core cycles while not idle */
#define NPU_CNT_CYCLES_HI		0x244
#define NPU_CNT_ENGINE_LO(e)		(0x248 + 8 * (e))	/* busy cycles of engine e */
#define NPU_CNT_ENGINE_HI(e)		(0x24c + 8 * (e))
#define NPU_CNT_READ_LO			0x268	/* bytes read from memory */
#define NPU_CNT_READ_HI			0x26c
#define NPU_CNT_WRITE_LO		0x270	/* bytes written to memory */
#define NPU_CNT_WRITE_HI		0x274
#define NPU_CNT_SRAM_LO			0x278	/* bytes moved to and from on-chip memory */
#define NPU_CNT_SRAM_HI			0x27c
#define NPU_CNT_MACS_LO			0x280	/* multiply-accumulates */
#define NPU_CNT_MACS_HI			0x284
#define NPU_CNT_COMMANDS_LO		0x288	/* commands retired */
#define NPU_CNT_COMMANDS_HI		0x28c
#define NPU_CNT_WALKS_LO		0x290	/* table walks */
#define NPU_CNT_WALKS_HI		0x294
#define NPU_CNT_SWITCHES_LO		0x298	/* switches between queues */
#define NPU_CNT_SWITCHES_HI		0x29c

/* Engines: index in counters, fault records and the scoreboard. */
#define NPU_ENGINE_MATRIX		0u
#define NPU_ENGINE_VECTOR		1u
#define NPU_ENGINE_COPY			2u
#define NPU_ENGINES			3u
#define NPU_ENGINE_CONTROL		3u	/* the command processor itself, in fault records */

/* ---- MMU page ------------------------------------------------------------ */

/* Registers of address-space slot s, offsets within the MMU page. */
#define NPU_AS(s)			(0x1000u + (s) * 0x40u)
#define NPU_AS_TABLE_LO			0x00	/* RW; bus address of the root table, 4 KiB aligned */
#define NPU_AS_TABLE_HI			0x04
#define NPU_AS_CFG			0x08	/* RW; taken over by CMD_UPDATE */
#define   NPU_AS_CFG_ENABLE		(1u << 0)
#define   NPU_AS_CFG_VA_BITS(n)		(((n) & 0x3fu) << 8)	/* 39 (3 levels) or 40..48 (4 levels) */
#define   NPU_AS_CFG_VA_BITS_GET(v)	(((v) >> 8) & 0x3fu)
#define   NPU_AS_CFG_WALK_SHAREABLE	(1u << 1)	/* walks snoop CPU caches */
#define NPU_AS_CMD			0x0c	/* WO; ignored while STATUS_BUSY */
#define   NPU_AS_CMD_UPDATE		1u	/* take over TABLE and CFG; drops all cached entries of the slot */
#define   NPU_AS_CMD_LOCK		2u	/* lock RANGE: younger accesses stall; done when older ones retired */
#define   NPU_AS_CMD_FLUSH		3u	/* drop cached translations of RANGE */
#define   NPU_AS_CMD_FLUSH_ALL		4u	/* drop all cached translations and walks of the slot */
#define   NPU_AS_CMD_FLUSH_WALKS	5u	/* drop cached table descriptors of the slot */
#define   NPU_AS_CMD_UNLOCK		6u	/* end the lock; stalled accesses walk anew */
#define NPU_AS_STATUS			0x10	/* RO */
#define   NPU_AS_STATUS_BUSY		(1u << 0)	/* a command is under way */
#define   NPU_AS_STATUS_LOCKED		(1u << 1)
#define   NPU_AS_STATUS_ENABLED		(1u << 2)
#define   NPU_AS_STATUS_ERROR		(1u << 3)	/* last command was illegal (bad table, range, order) */
#define NPU_AS_RANGE_LO			0x18	/* RW; first byte of RANGE, 4 KiB aligned */
#define NPU_AS_RANGE_HI			0x1c
#define NPU_AS_RANGE_SIZE_LO		0x20	/* RW; bytes, multiple of 4 KiB, not zero */
#define NPU_AS_RANGE_SIZE_HI		0x24

/*
 * Page tables: ARM 64-bit LPAE stage 1, 4 KiB granule. Levels 0 (48-bit) or 1
 * (39-bit) to 3; blocks at level 1 (1 GiB) and 2 (2 MiB); all addresses are
 * bus addresses.
 */
#define NPU_PTE_VALID			(1ull << 0)
#define NPU_PTE_TABLE			(1ull << 1)	/* levels 0..2: table; level 3: page (must be 1) */
#define NPU_PTE_ATTR(n)			((uint64_t)((n) & 7) << 2)
#define   NPU_PTE_ATTR_NC		0	/* normal, not cached by the system */
#define   NPU_PTE_ATTR_CACHED		1	/* normal, may be snooped or allocate */
#define NPU_PTE_USER			(1ull << 6)	/* AP[1]; must be 1 in leaves */
#define NPU_PTE_RDONLY			(1ull << 7)	/* AP[2] */
#define NPU_PTE_SH_OUTER		(2ull << 8)
#define NPU_PTE_SH_INNER		(3ull << 8)
#define NPU_PTE_AF			(1ull << 10)	/* must be 1 in leaves; 0 faults */
#define NPU_PTE_NG			(1ull << 11)	/* ignored: every entry is per slot */
#define NPU_PTE_XN			(3ull << 53)	/* ignored */
#define NPU_PTE_ADDR_MASK		0x0000fffffffff000ull

/* ---- Queue: CONTROL frame (privileged) ------------------------------------ */

/*
 * Configuration registers (marked C) may be written in the states STOPPED and
 * SUSPENDED only; a write in another state is ignored and sets ERR_CONFIG.
 */
#define NPU_QC_CMD			0x000	/* WO; NPU_QCMD_*; ignored while BUSY except RESET */
#define   NPU_QCMD_START		1u	/* STOPPED or SUSPENDED -> IDLE/RUNNING, from HEAD as configured */
#define   NPU_QCMD_SUSPEND		2u	/* stop at a command boundary, write the image -> SUSPENDED */
#define   NPU_QCMD_RESUME		3u	/* STOPPED or SUSPENDED: read the image, go on */
#define   NPU_QCMD_RESET		4u	/* any state: kill; DONE only when all traffic has retired -> STOPPED */
#define NPU_QC_STATUS			0x004	/* RO */
#define   NPU_QSTATE(v)			((v) & 0xf)
#define   NPU_QSTATE_STOPPED		0u	/* after reset */
#define   NPU_QSTATE_IDLE		1u	/* started, ring empty */
#define   NPU_QSTATE_RUNNING		2u	/* a job is in progress and owns an engine or is issuing */
#define   NPU_QSTATE_BLOCKED		3u	/* semaphore wait, or an access stalled by LOCK */
#define   NPU_QSTATE_PREEMPTED		4u	/* a job is in progress, another queue has the engines */
#define   NPU_QSTATE_SUSPENDED		5u
#define   NPU_QSTATE_FAULTED		6u	/* see FAULT_*; only RESET (or SUSPEND for a dump) leaves it */
#define   NPU_QSTATUS_BUSY		(1u << 4)	/* a CMD is under way */
#define   NPU_QSTATUS_IN_JOB		(1u << 5)	/* a job has started and not ended */
#define   NPU_QSTATUS_ERR_CONFIG	(1u << 8)	/* illegal write or CMD; cleared by RESET */
#define   NPU_QSTATUS_ERR_IMAGE		(1u << 9)	/* RESUME refused the image */
#define   NPU_QSTATUS_RESET_FAILED	(1u << 10)	/* RESET did not end; escalate */
#define NPU_QC_MODE			0x008	/* C */
#define   NPU_QC_MODE_KERNEL		0u	/* ring and completions at bus addresses */
#define   NPU_QC_MODE_USER		1u	/* ring and completions through the slot */
#define NPU_QC_SLOT			0x00c	/* C; address-space slot */
#define NPU_QC_RING_LO			0x010	/* C; ring base, 64-byte aligned */
#define NPU_QC_RING_HI			0x014
#define NPU_QC_COMP_LO			0x018	/* C; completion ring base, 64-byte aligned */
#define NPU_QC_COMP_HI			0x01c
#define NPU_QC_RING_LOG2		0x020	/* C; log2 of entries, 1..CAP1_RING_LOG2 */
#define NPU_QC_HEAD			0x024	/* C; free-running index of the next descriptor to retire */
#define NPU_QC_TAIL			0x028	/* C (doorbell writes it afterwards) */
#define NPU_QC_PRIO			0x02c	/* RW in any state; takes effect at the next command boundary */
#define   NPU_QC_PRIO_LEVEL(n)		((n) & 3u)		/* 0 low .. 3 highest */
#define   NPU_QC_PRIO_SHARE(n)		(((n) & 0x7fu) << 8)	/* guaranteed percent of device time, 0..100 */
#define NPU_QC_SLICE_US			0x030	/* RW; time slice among equals, microseconds; 0 = 1000 */
#define NPU_QC_WATCHDOG_US		0x034	/* RW; active time of one command, microseconds; 0 = off */
#define NPU_QC_BUDGET_US		0x038	/* RW; active time of one job, microseconds; 0 = off */
#define NPU_QC_BLOCK_US			0x03c	/* RW; wall time a job may spend BLOCKED; 0 = off */
#define NPU_QC_COALESCE_US		0x040	/* RW; longest delay of a JOB_COALESCE interrupt */
#define NPU_QC_IMAGE_LO			0x048	/* C+; bus address of the context image, 4 KiB aligned. C+: any state, not BUSY */
#define NPU_QC_IMAGE_HI			0x04c
#define NPU_QC_SEQNO_LO			0x050	/* C; sequence number of the last retired job */
#define NPU_QC_SEQNO_HI			0x054
#define NPU_QC_ACTIVE_LO		0x058	/* C; active time of this queue, nanoseconds of device time */
#define NPU_QC_ACTIVE_HI		0x05c
#define NPU_QC_CYCLES_LO		0x060	/* C; core cycles while active */
#define NPU_QC_CYCLES_HI		0x064
#define NPU_QC_COMMANDS_LO		0x068	/* C; commands retired */
#define NPU_QC_COMMANDS_HI		0x06c
#define NPU_QC_PROGRESS_LO		0x070	/* RO; last value of a PROGRESS command of the present job */
#define NPU_QC_PROGRESS_HI		0x074
/* Fault record: valid in FAULTED (and SUSPENDED out of FAULTED), cleared by RESET. */
#define NPU_QC_FAULT			0x080	/* RO */
#define   NPU_FAULT_CODE(v)		((v) & 0xff)		/* NPU_FAULT_* */
#define   NPU_FAULT_ENGINE(v)		(((v) >> 8) & 0x7)	/* NPU_ENGINE_* */
#define   NPU_FAULT_WRITE		(1u << 11)		/* the access was a write */
#define   NPU_FAULT_OPERAND(v)		(((v) >> 12) & 0xf)	/* operand index, 15 = none */
#define   NPU_FAULT_OPCODE(v)		(((v) >> 16) & 0xffff)	/* opcode of the command, 0xffff = none */
#define NPU_QC_FAULT_TAG		0x084	/* RO; tag of the command */
#define NPU_QC_FAULT_ADDR_LO		0x088	/* RO; faulting virtual (or bus) address */
#define NPU_QC_FAULT_ADDR_HI		0x08c
#define NPU_QC_FAULT_PC_LO		0x090	/* RO; virtual address of the command */
#define NPU_QC_FAULT_PC_HI		0x094
#define NPU_QC_FAULT_SEQNO_LO		0x098	/* RO; sequence number of the job */
#define NPU_QC_FAULT_SEQNO_HI		0x09c

/* Fault codes. 0 is "none". */
#define NPU_FAULT_NONE			0x00u
#define NPU_FAULT_TRANSLATION		0x10u	/* no valid entry */
#define NPU_FAULT_PERMISSION		0x11u	/* write to a read-only page, AP[1] or AF clear */
#define NPU_FAULT_ADDRESS_SIZE		0x12u	/* address above VA_BITS, or output above BUS_BITS */
#define NPU_FAULT_TABLE			0x13u	/* malformed table: reserved encoding */
#define NPU_FAULT_WALK_BUS		0x14u	/* bus error while walking */
#define NPU_FAULT_SLOT			0x15u	/* the slot is not enabled */
#define NPU_FAULT_BUS			0x18u	/* bus error on data */
#define NPU_FAULT_ECC			0x19u	/* uncorrectable memory error */
#define NPU_FAULT_OPCODE_ILLEGAL	0x20u	/* unknown or absent operation */
#define NPU_FAULT_ENCODING		0x21u	/* reserved bits, length, register number, misaligned packet */
#define NPU_FAULT_OPERAND_ILLEGAL	0x22u	/* type, shape, stride or alignment that the operation forbids */
#define NPU_FAULT_BOUND			0x23u	/* command above CAP_MAX_MACS or CAP_MAX_BYTES */
#define NPU_FAULT_STREAM		0x24u	/* control left the stream */
#define NPU_FAULT_MODE			0x25u	/* command not allowed in this queue mode */
#define NPU_FAULT_TRAP			0x26u	/* TRAP command; ADDR holds its code */
#define NPU_FAULT_DESCRIPTOR		0x30u	/* malformed descriptor */
#define NPU_FAULT_DOORBELL		0x31u	/* tail - head > ring entries */
#define NPU_FAULT_RING			0x32u	/* ring or completion not accessible */
#define NPU_FAULT_WATCHDOG		0x40u	/* one command exceeded WATCHDOG_US */
#define NPU_FAULT_BUDGET		0x41u	/* the job exceeded its budget */
#define NPU_FAULT_BLOCKED		0x42u	/* the job was BLOCKED longer than BLOCK_US */
#define NPU_FAULT_IMAGE			0x48u	/* context image not accessible */
#define NPU_FAULT_INTERNAL		0x50u	/* internal error: FATAL_CAUSE only */

/* ---- Queue: USER frame ----------------------------------------------------- */

#define NPU_QU_DOORBELL			0x000	/* WO; free-running tail index */
#define NPU_QU_HEAD			0x004	/* RO; free-running head index */
#define NPU_QU_SEQNO_LO			0x008	/* RO; sequence number of the last retired job */
#define NPU_QU_SEQNO_HI			0x00c

/* ---- Job descriptor: 64 bytes, little endian ------------------------------- */

struct npu_job_desc {
	uint64_t stream;	/* VA of the first packet, 16-byte aligned */
	uint32_t stream_size;	/* bytes, multiple of 16, not zero, <= CAP_MAX_STREAM */
	uint16_t flags;		/* NPU_JOB_* */
	uint16_t nregs;		/* initial scalar registers r0..r(n-1), 0..32; others are zero */
	uint64_t regs;		/* VA of nregs 64-bit values, 8-byte aligned; read at job start */
	uint64_t seqno;		/* written at completion; strictly increasing per queue by convention */
	uint32_t budget_us;	/* active time of this job; 0 = the queue's BUDGET_US alone */
	uint32_t cookie;	/* opaque, repeated in the completion */
	uint64_t rsvd[3];	/* must be zero */
};

#define NPU_JOB_IRQ			(1u << 0)	/* set IRQ_DONE at completion */
#define NPU_JOB_COALESCE		(1u << 1)	/* with JOB_IRQ: only when the ring runs empty or after COALESCE_US */
#define NPU_JOB_FLAGS			(NPU_JOB_IRQ | NPU_JOB_COALESCE)

/*
 * Completion ring entry, 32 bytes, index = the descriptor's ring index. The
 * device writes seqno last, with release order: a reader that sees it sees the
 * rest, and all output of the job. A faulted job writes no completion.
 */
struct npu_completion {
	uint64_t active_ns;	/* device time the job was active */
	uint64_t timer;		/* TIMER at completion */
	uint32_t commands;	/* commands retired by the job, modulo 2^32 */
	uint32_t cookie;	/* from the descriptor */
	uint64_t seqno;		/* from the descriptor */
};

/*
 * Context image. The header is architectural; the rest (up to CAP1_IMAGE_4K
 * pages) is the implementation's. It is valid on the same IMPL and REV only;
 * RESUME checks magic, version, size and checksum and refuses anything else
 * with ERR_IMAGE. A client must not modify it, except that HEAD-relative ring
 * registers and SLOT come from the queue's registers, not from the image.
 */
#define NPU_IMAGE_MAGIC			0x474d4955504eull	/* "NPUIMG" */
#define NPU_IMAGE_VERSION		1u

struct npu_image_header {
	uint64_t magic;
	uint32_t version;
	uint32_t size;		/* bytes of the whole image */
	uint32_t impl;		/* NPU_IMPL of the writer */
	uint32_t rev;		/* NPU_REV of the writer */
	uint32_t flags;		/* NPU_IMAGE_* */
	uint32_t checksum;	/* CRC-32 (IEEE 802.3) of the image with this field zero */
	uint64_t seqno;		/* of the job in progress, or of the last retired one */
	uint64_t pc;		/* VA of the next command; 0 when no job is in progress */
	uint32_t head;
	uint32_t rsvd;
	uint64_t progress;
};

#define NPU_IMAGE_IN_JOB		(1u << 0)	/* a job is in progress */
#define NPU_IMAGE_FAULTED		(1u << 1)	/* written out of FAULTED: for dumps, cannot be resumed */

#endif /* NPU_REGS_H */
