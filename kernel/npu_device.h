/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The device: its resources, what it can, and the order in which its parts
 * start, stop, suspend and reset.
 */
#ifndef NPU_DEVICE_H
#define NPU_DEVICE_H

#include <linux/atomic.h>
#include <linux/io.h>
#include <linux/io-64-nonatomic-lo-hi.h>
#include <linux/mutex.h>
#include <linux/platform_device.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include <drm/drm_device.h>
#include <drm/npu_accel.h>

#include "npu_regs.h"

struct clk_bulk_data;
struct npu_coredump;
struct npu_mmu;
struct npu_queue;
struct npu_sched;
struct npu_vm;
struct regulator;
struct reset_control;

/* npu-supply, sram-supply. */
#define NPU_SUPPLIES	2

/* Failures that developers may ask for, through debugfs. */
enum npu_injection {
	NPU_INJECT_QUEUE_RESET,
	NPU_INJECT_DEVICE_RESET,
	NPU_INJECT_COLD_RESET,
	NPU_INJECT_MMU,
	NPU_INJECT_BIND,
	NPU_INJECT_COUNT
};

/**
 * struct npu_device - one NPU
 */
struct npu_device {
	/** @drm: The DRM device; owns the memory of this structure. */
	struct drm_device drm;

	/** @iomem: Registers. Valid until the device is unplugged. */
	void __iomem *iomem;

	/** @irq: Interrupt line. */
	int irq;

	/** @info: What the registers say, read once at probe, and limits of the driver. */
	struct drm_npu_info info;

	/** @image_size: Bytes of a context image. */
	u32 image_size;

	/** @ring_log2: log2 of the entries of the rings that the driver makes. */
	u32 ring_log2;

	/** @coherent: Device and CPU caches are coherent. */
	bool coherent;

	/** @dma32: Memory must come from the low 4 GiB: the device reaches no more. */
	bool dma32;

	/** @clks: Clocks; none is fine. */
	struct clk_bulk_data *clks;

	/** @num_clks: Number of @clks. */
	int num_clks;

	/** @reset: Reset lines, or NULL. */
	struct reset_control *reset;

	/** @supplies: Supplies of core and on-chip memory; NULL where there is none. */
	struct regulator *supplies[NPU_SUPPLIES];

	/** @core_khz: Core clock when last seen. */
	u32 core_khz;

	/**
	 * @pending: Jobs pushed and not yet freed, and one while the scheduler's tick
	 * runs; above 0 the device is kept awake.
	 */
	atomic_t pending;

	/** @powered: Supplies, clocks and resets are on. */
	bool powered;

	/** @mmu: Address-space slots. */
	struct npu_mmu *mmu;

	/** @sched: Hardware queues. */
	struct npu_sched *sched;

	/** @queues: All queues by id, without a reference; its lock protects finding them. */
	struct xarray queues;

	/** @vms: All VMs by id, likewise. */
	struct xarray vms;

	/** @submit_wq: Runs the schedulers of queues. */
	struct workqueue_struct *submit_wq;

	/** @bind_wq: Runs the queued binds of VMs. */
	struct workqueue_struct *bind_wq;

	/** @irq_state: What the interrupt handler may do. */
	struct {
		/** @lock: Protects @on; taken by the handler around all register accesses. */
		spinlock_t lock;
		/** @on: The registers are clocked and interrupts are wanted. */
		bool on;
	} irq_state;

	/** @counters: Device counters that resets and power-offs would lose. */
	struct {
		/** @lock: Protects the rest. */
		struct mutex lock;
		/** @base: Sums of what was lost. */
		struct drm_npu_counters base;
	} counters;

	/** @resets: Device resets since probe that were not planned. */
	atomic_t resets;

	/** @lost: The device is wedged or gone: no register may be touched. */
	bool lost;

	/** @wedged: Tells user space of the loss. It allocates: no fence may wait for it. */
	struct work_struct wedged;

	/** @unplugged: Guards npu_device_unplug(). */
	atomic_t unplugged;

	/** @bos: Buffer objects, for debugfs. */
	struct {
		/** @lock: Protects @list. */
		struct mutex lock;
		/** @list: struct npu_bo. */
		struct list_head list;
	} bos;

	/** @inject: How many of the next ones of each kind fail. */
	atomic_t inject[NPU_INJECT_COUNT];

	/** @coredump: Dump that waits to be published. */
	struct npu_coredump *coredump;
};

static inline struct npu_device *to_npu_device(struct drm_device *drm)
{
	return container_of(drm, struct npu_device, drm);
}

static inline u32 npu_read(struct npu_device *npu, u32 reg)
{
	return readl(npu->iomem + reg);
}

static inline void npu_write(struct npu_device *npu, u32 reg, u32 value)
{
	writel(value, npu->iomem + reg);
}

/* A register pair that does not change while it is read. */
static inline u64 npu_read64(struct npu_device *npu, u32 reg_lo)
{
	return readl(npu->iomem + reg_lo) | (u64)readl(npu->iomem + reg_lo + 4) << 32;
}

/* A register pair that counts. */
static inline u64 npu_read64_counter(struct npu_device *npu, u32 reg_lo)
{
	u32 hi, lo, again = npu_read(npu, reg_lo + 4);

	do {
		hi = again;
		lo = npu_read(npu, reg_lo);
		again = npu_read(npu, reg_lo + 4);
	} while (hi != again);

	return (u64)hi << 32 | lo;
}

static inline void npu_write64(struct npu_device *npu, u32 reg_lo, u64 value)
{
	writel(lower_32_bits(value), npu->iomem + reg_lo);
	writel(upper_32_bits(value), npu->iomem + reg_lo + 4);
}

/* Shall this fail? */
static inline bool npu_inject(struct npu_device *npu, enum npu_injection what)
{
	return unlikely(atomic_read(&npu->inject[what])) &&
	       atomic_dec_if_positive(&npu->inject[what]) >= 0;
}

/* Has the device gone? Then each ioctl that needs it answers -ENODEV. */
static inline bool npu_device_lost(struct npu_device *npu)
{
	return READ_ONCE(npu->lost);
}

int npu_device_init(struct npu_device *npu);
void npu_device_unplug(struct npu_device *npu);
int npu_device_power_on(struct npu_device *npu);
void npu_device_power_off(struct npu_device *npu);
int npu_device_get_power(struct npu_device *npu, u32 count);
void npu_device_put_power(struct npu_device *npu, u32 count);
int npu_device_reset(struct npu_device *npu);
void npu_device_hw_start(struct npu_device *npu);
void npu_device_hw_stop(struct npu_device *npu);
void npu_device_lose(struct npu_device *npu);
void npu_device_wedged(struct npu_device *npu);

void npu_device_counters_save(struct npu_device *npu);
int npu_device_counters_read(struct npu_device *npu, struct drm_npu_counters *out);

struct npu_queue *npu_device_next_queue(struct npu_device *npu, unsigned long *id);
struct npu_vm *npu_device_next_vm(struct npu_device *npu, unsigned long *id);

#endif /* NPU_DEVICE_H */
