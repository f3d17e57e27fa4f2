// SPDX-License-Identifier: GPL-2.0-only
/*
 * Resources and life of the device. This file alone knows the order in which
 * the parts start and stop.
 */
#include <linux/clk.h>
#include <linux/delay.h>
#include <linux/dma-mapping.h>
#include <linux/iopoll.h>
#include <linux/of_reserved_mem.h>
#include <linux/pm_runtime.h>
#include <linux/property.h>
#include <linux/regulator/consumer.h>
#include <linux/reset.h>

#include <drm/drm_drv.h>
#include <drm/drm_managed.h>
#include <drm/drm_print.h>

#include "npu_compat.h"
#include "npu_coredump.h"
#include "npu_device.h"
#include "npu_drv.h"
#include "npu_gem.h"
#include "npu_irq.h"
#include "npu_mmu.h"
#include "npu_pm.h"
#include "npu_queue.h"
#include "npu_sched.h"
#include "npu_vm.h"

/* A reset is over within microseconds; a wedged one is given up after this. */
#define NPU_RESET_TIMEOUT_US	(2000 * USEC_PER_MSEC)

/* Entries of a queue's ring: deep enough to keep the device busy between wake-ups. */
#define NPU_RING_LOG2		6

/* ---- Power and reset of the hardware ------------------------------------- */

static void npu_device_disable_supplies(struct npu_device *npu, int count)
{
	while (count--) {
		if (npu->supplies[count])
			regulator_disable(npu->supplies[count]);
	}
}

static int npu_device_enable_supplies(struct npu_device *npu)
{
	int i, ret;

	for (i = 0; i < NPU_SUPPLIES; i++) {
		ret = npu->supplies[i] ? regulator_enable(npu->supplies[i]) : 0;
		if (ret) {
			npu_device_disable_supplies(npu, i);
			return ret;
		}
	}
	return 0;
}

int npu_device_power_on(struct npu_device *npu)
{
	int ret;

	ret = npu_device_enable_supplies(npu);
	if (ret)
		return ret;

	ret = clk_bulk_prepare_enable(npu->num_clks, npu->clks);
	if (ret)
		goto err_disable_supplies;

	ret = reset_control_deassert(npu->reset);
	if (ret)
		goto err_disable_clks;

	npu->powered = true;
	return 0;

err_disable_clks:
	clk_bulk_disable_unprepare(npu->num_clks, npu->clks);
err_disable_supplies:
	npu_device_disable_supplies(npu, NPU_SUPPLIES);
	return ret;
}

void npu_device_power_off(struct npu_device *npu)
{
	/* A cold reset may have failed half-way. */
	if (!npu->powered)
		return;

	npu->powered = false;
	reset_control_assert(npu->reset);
	clk_bulk_disable_unprepare(npu->num_clks, npu->clks);
	npu_device_disable_supplies(npu, NPU_SUPPLIES);
}

/**
 * npu_device_get_power() - Keep the device awake for jobs
 * @npu: Device.
 * @count: Number of jobs.
 *
 * All jobs share one reference, which the scheduler's tick keeps between jobs
 * that follow each other.
 *
 * Return: 0 or a negative errno.
 */
int npu_device_get_power(struct npu_device *npu, u32 count)
{
	struct device *dev = npu->drm.dev;
	int ret;

	if (atomic_add_unless(&npu->pending, count, 0))
		return 0;

	ret = pm_runtime_resume_and_get(dev);
	if (ret)
		return npu_device_lost(npu) ? -ENODEV : ret;

	/* Another thread may have been here in between. */
	if (atomic_add_return(count, &npu->pending) != count)
		pm_runtime_put_autosuspend(dev);
	return 0;
}

void npu_device_put_power(struct npu_device *npu, u32 count)
{
	if (atomic_sub_and_test(count, &npu->pending)) {
		pm_runtime_mark_last_busy(npu->drm.dev);
		pm_runtime_put_autosuspend(npu->drm.dev);
	}
}

static int npu_device_wait_ready(struct npu_device *npu)
{
	u32 status;
	int ret;

	ret = readl_poll_timeout(npu->iomem + NPU_STATUS, status,
				 status == ~0u ||
				 (status & (NPU_STATUS_READY | NPU_STATUS_RESETTING |
					    NPU_STATUS_RESET_FAILED)) == NPU_STATUS_READY ||
				 status & NPU_STATUS_RESET_FAILED,
				 5, NPU_RESET_TIMEOUT_US);
	if (ret)
		return ret;
	if (status == ~0u)
		return -ENODEV;

	return status & NPU_STATUS_RESET_FAILED ? -EIO : 0;
}

/**
 * npu_device_hw_reset() - Reset the device through its register
 * @npu: Device.
 *
 * Queues are unbound and slots are empty already. Counters are lost: save them before.
 *
 * Return: 0; -ETIMEDOUT or -EIO when the reset does not end; -ENODEV when the
 * device does not answer.
 */
static int npu_device_hw_reset(struct npu_device *npu)
{
	if (npu_inject(npu, NPU_INJECT_DEVICE_RESET))
		return -ETIMEDOUT;
	if (npu_read(npu, NPU_ID) != NPU_ID_VALUE)
		return -ENODEV;

	npu_write(npu, NPU_RESET, NPU_RESET_KEY);
	return npu_device_wait_ready(npu);
}

/**
 * npu_device_cold_reset() - Reset the device by its reset line, clocks and supply
 * @npu: Device, powered.
 *
 * Return: 0 when the device answers again, else as npu_device_hw_reset().
 */
static int npu_device_cold_reset(struct npu_device *npu)
{
	int ret;

	if (npu_inject(npu, NPU_INJECT_COLD_RESET))
		return -ETIMEDOUT;

	npu_device_power_off(npu);
	usleep_range(10, 20);

	ret = npu_device_power_on(npu);
	if (ret) {
		drm_err(&npu->drm, "cannot power the device on again: %d\n", ret);
		return ret;
	}

	if (npu_read(npu, NPU_ID) != NPU_ID_VALUE)
		return -ENODEV;

	ret = npu_device_wait_ready(npu);
	return ret ?: npu_device_hw_reset(npu);
}

/**
 * npu_device_reset() - Reset the device, by whatever helps
 * @npu: Device, powered.
 *
 * Return: 0 or a negative errno: then the device is lost.
 */
int npu_device_reset(struct npu_device *npu)
{
	int ret;

	ret = npu_device_hw_reset(npu);
	if (!ret)
		return 0;

	drm_warn(&npu->drm, "reset by register failed (%d): trying reset line and power\n", ret);
	return npu_device_cold_reset(npu);
}

/* The device is powered and reset: let it work. */
void npu_device_hw_start(struct npu_device *npu)
{
	npu_write(npu, NPU_POWER, 1);
	WRITE_ONCE(npu->core_khz, npu_read(npu, NPU_CORE_KHZ));
	npu_irq_enable(npu);
}

/* Nothing runs on the device any more: take back what only the driver knows. */
void npu_device_hw_stop(struct npu_device *npu)
{
	npu_device_counters_save(npu);
	npu_irq_disable(npu);
}

/**
 * npu_device_lose() - Give the device up
 * @npu: Device.
 *
 * From here on no register is touched. What is queued ends with -ENODEV.
 */
void npu_device_lose(struct npu_device *npu)
{
	npu_irq_disable(npu);
	WRITE_ONCE(npu->lost, true);
	npu_sched_lose(npu);
	npu_mmu_evict_all(npu);
}

/* ---- Counters ------------------------------------------------------------ */

static void npu_device_counters_add(struct npu_device *npu, struct drm_npu_counters *sum)
{
	unsigned int i;

	sum->cycles += npu_read64_counter(npu, NPU_CNT_CYCLES_LO);
	for (i = 0; i < ARRAY_SIZE(sum->engine_cycles); i++)
		sum->engine_cycles[i] += npu_read64_counter(npu, NPU_CNT_ENGINE_LO(i));
	sum->bytes_read += npu_read64_counter(npu, NPU_CNT_READ_LO);
	sum->bytes_written += npu_read64_counter(npu, NPU_CNT_WRITE_LO);
	sum->bytes_sram += npu_read64_counter(npu, NPU_CNT_SRAM_LO);
	sum->macs += npu_read64_counter(npu, NPU_CNT_MACS_LO);
	sum->commands += npu_read64_counter(npu, NPU_CNT_COMMANDS_LO);
	sum->walks += npu_read64_counter(npu, NPU_CNT_WALKS_LO);
	sum->switches += npu_read64_counter(npu, NPU_CNT_SWITCHES_LO);
}

/* The device is about to lose its counters, and is powered. */
void npu_device_counters_save(struct npu_device *npu)
{
	if (npu_device_lost(npu) || npu_read(npu, NPU_ID) != NPU_ID_VALUE)
		return;

	mutex_lock(&npu->counters.lock);
	npu_device_counters_add(npu, &npu->counters.base);
	mutex_unlock(&npu->counters.lock);
}

/* Wakes the device. Return: 0 or a negative errno. */
int npu_device_counters_read(struct npu_device *npu, struct drm_npu_counters *out)
{
	int ret, idx;

	if (!drm_dev_enter(&npu->drm, &idx))
		return -ENODEV;
	ret = pm_runtime_resume_and_get(npu->drm.dev);
	if (ret)
		goto out_exit;

	mutex_lock(&npu->counters.lock);
	*out = npu->counters.base;
	if (npu_device_lost(npu)) {
		ret = -ENODEV;
	} else {
		npu_device_counters_add(npu, out);
		out->timer = npu_read64_counter(npu, NPU_TIMER_LO);
		out->core_khz = npu_read(npu, NPU_CORE_KHZ);
		WRITE_ONCE(npu->core_khz, out->core_khz);
	}
	mutex_unlock(&npu->counters.lock);

	out->resets = atomic_read(&npu->resets);
	pm_runtime_mark_last_busy(npu->drm.dev);
	pm_runtime_put_autosuspend(npu->drm.dev);
out_exit:
	drm_dev_exit(idx);
	return npu_device_lost(npu) ? -ENODEV : ret;
}

/* ---- Queues and VMs ------------------------------------------------------ */

/* The queue with the lowest id from *@id on, with a reference, or NULL. *@id moves past it. */
struct npu_queue *npu_device_next_queue(struct npu_device *npu, unsigned long *id)
{
	struct npu_queue *queue;

	xa_lock(&npu->queues);
	xa_for_each_start(&npu->queues, *id, queue, *id) {
		if (kref_get_unless_zero(&queue->ref))
			break;
	}
	xa_unlock(&npu->queues);
	++*id;
	return queue;
}

/* As npu_device_next_queue(). */
struct npu_vm *npu_device_next_vm(struct npu_device *npu, unsigned long *id)
{
	struct npu_vm *vm;

	xa_lock(&npu->vms);
	xa_for_each_start(&npu->vms, *id, vm, *id) {
		if (kref_get_unless_zero(&vm->ref))
			break;
	}
	xa_unlock(&npu->vms);
	++*id;
	return vm;
}

/*
 * The device goes, but files are open: give back all DMA mappings. The objects
 * live on without, and what CPUs have mapped stays.
 */
static void npu_device_revoke(struct npu_device *npu)
{
	unsigned long next = 0;
	struct npu_queue *queue;
	struct npu_vm *vm;

	while ((queue = npu_device_next_queue(npu, &next))) {
		npu_queue_revoke(queue);
		npu_queue_put(queue);
	}

	next = 0;
	while ((vm = npu_device_next_vm(npu, &next))) {
		npu_vm_revoke(vm);
		npu_vm_put(vm);
	}

	npu_bo_revoke_all(npu);
}

/* ---- Probe --------------------------------------------------------------- */

static int npu_device_get_supplies(struct npu_device *npu, struct device *dev)
{
	static const char * const names[NPU_SUPPLIES] = { "npu", "sram" };
	struct regulator *supply;
	int i;

	for (i = 0; i < NPU_SUPPLIES; i++) {
		supply = devm_regulator_get_optional(dev, names[i]);
		if (IS_ERR(supply) && PTR_ERR(supply) != -ENODEV)
			return dev_err_probe(dev, PTR_ERR(supply), "cannot get the %s supply\n",
					     names[i]);
		npu->supplies[i] = IS_ERR(supply) ? NULL : supply;
	}
	return 0;
}

static int npu_device_get_resources(struct npu_device *npu, struct platform_device *pdev)
{
	struct device *dev = &pdev->dev;
	int ret;

	npu->iomem = devm_platform_ioremap_resource(pdev, 0);
	if (IS_ERR(npu->iomem))
		return dev_err_probe(dev, PTR_ERR(npu->iomem), "cannot map the registers\n");

	npu->irq = platform_get_irq(pdev, 0);
	if (npu->irq < 0)
		return npu->irq;

	npu->num_clks = devm_clk_bulk_get_all(dev, &npu->clks);
	if (npu->num_clks < 0)
		return dev_err_probe(dev, npu->num_clks, "cannot get the clocks\n");

	npu->reset = devm_reset_control_array_get_optional_exclusive(dev);
	if (IS_ERR(npu->reset))
		return dev_err_probe(dev, PTR_ERR(npu->reset), "cannot get the reset lines\n");

	ret = npu_device_get_supplies(npu, dev);
	if (ret)
		return ret;

	ret = of_reserved_mem_device_init(dev);
	if (ret && ret != -ENODEV)
		return dev_err_probe(dev, ret, "cannot use the reserved memory\n");

	return 0;
}

/* Impossible values are a broken device or a wrong node: say which. */
static int npu_device_check_caps(struct npu_device *npu, unsigned int bus_bits,
				 unsigned int max_log2)
{
	const struct drm_npu_info *info = &npu->info;
	struct device *dev = npu->drm.dev;

	if (info->hw_queues < 1 || info->hw_queues > NPU_MAX_QUEUES)
		return dev_err_probe(dev, -EINVAL, "device claims %u queues\n", info->hw_queues);
	if (info->slots < 1 || info->slots > NPU_MAX_SLOTS)
		return dev_err_probe(dev, -EINVAL, "device claims %u slots\n", info->slots);
	if (info->va_bits < 39 || info->va_bits > 48)
		return dev_err_probe(dev, -EINVAL, "device claims %u VA bits\n", info->va_bits);
	if (bus_bits < 32 || bus_bits > 48)
		return dev_err_probe(dev, -EINVAL, "device claims %u bus bits\n", bus_bits);
	if (max_log2 < 1 || max_log2 > 16)
		return dev_err_probe(dev, -EINVAL, "device claims rings of 2^%u\n", max_log2);
	if (!info->timer_hz)
		return dev_err_probe(dev, -EINVAL, "device claims a timer of 0 Hz\n");

	return 0;
}

static int npu_device_read_caps(struct npu_device *npu)
{
	struct drm_npu_info *info = &npu->info;
	u32 cap0 = npu_read(npu, NPU_CAP0), cap1 = npu_read(npu, NPU_CAP1);
	unsigned int bus_bits = NPU_CAP0_BUS_BITS(cap0), max_log2 = NPU_CAP1_RING_LOG2(cap1);
	int ret;

	*info = (struct drm_npu_info) {
		.impl = npu_read(npu, NPU_IMPL),
		.rev = npu_read(npu, NPU_REV),
		.intf = npu_read(npu, NPU_INTF),
		.numerics = npu_read(npu, NPU_CAP_NUMERICS),
		.errata = npu_read64(npu, NPU_ERRATA_LO),
		.features = npu_read64(npu, NPU_CAP_FEAT_LO),
		.ops = npu_read64(npu, NPU_CAP_OPS_LO),
		.types_rows = npu_read(npu, NPU_CAP_TYPES_LO),
		.types_tiles = npu_read(npu, NPU_CAP_TYPES_HI),
		.max_macs = npu_read64(npu, NPU_CAP_MAX_MACS_LO),
		.max_bytes = npu_read64(npu, NPU_CAP_MAX_BYTES_LO),
		.max_stream = npu_read(npu, NPU_CAP_MAX_STREAM),
		.hw_queues = NPU_CAP0_QUEUES(cap0),
		.slots = NPU_CAP0_SLOTS(cap0),
		.va_bits = NPU_CAP0_VA_BITS(cap0),
		.timer_hz = npu_read(npu, NPU_CAP_TIMER_HZ),
		.core_khz = npu_read(npu, NPU_CAP_CORE_KHZ),
		.macs_i8 = npu_read(npu, NPU_CAP_MACS_I8),
		.macs_f = npu_read(npu, NPU_CAP_MACS_F16),
		.lanes = npu_read(npu, NPU_CAP_LANES),
		.sram_kb = npu_read(npu, NPU_CAP_SRAM_KB),
		.dram_mbps = npu_read(npu, NPU_CAP_DRAM_MBPS),
		.max_jobs = NPU_MAX_JOBS,
	};

	ret = npu_device_check_caps(npu, bus_bits, max_log2);
	if (ret)
		return ret;

	npu->image_size = NPU_CAP1_IMAGE_4K(cap1) * 4096;
	npu->ring_log2 = min_t(u32, NPU_RING_LOG2, max_log2);

	npu->coherent = device_get_dma_attr(npu->drm.dev) == DEV_DMA_COHERENT;
	if (npu->coherent && !(info->features & NPU_FEAT_COHERENT))
		drm_warn(&npu->drm,
			 "the device tree says dma-coherent, the device says it does not snoop\n");
	info->coherent = npu->coherent;

	ret = dma_set_mask_and_coherent(npu->drm.dev, DMA_BIT_MASK(bus_bits));
	if (ret)
		return dev_err_probe(npu->drm.dev, ret, "no DMA with %u address bits\n", bus_bits);
	npu->dma32 = dma_get_required_mask(npu->drm.dev) > DMA_BIT_MASK(bus_bits);
	dma_set_max_seg_size(npu->drm.dev, UINT_MAX);

	return 0;
}

static int npu_device_identify(struct npu_device *npu)
{
	struct device *dev = npu->drm.dev;
	u32 id = npu_read(npu, NPU_ID);
	int ret;

	if (id == ~0u || !id)
		return dev_err_probe(dev, -ENODEV,
				     "no answer at the register address (ID %#x): check reg, clocks, resets and power domain\n",
				     id);
	if (id != NPU_ID_VALUE)
		return dev_err_probe(dev, -ENODEV, "not an OpenNPU device: ID %#x, not %#x\n",
				     id, NPU_ID_VALUE);

	ret = npu_device_wait_ready(npu);
	if (!ret)
		ret = npu_device_hw_reset(npu);
	if (ret)
		return dev_err_probe(dev, ret, "no way out of reset (status %#x)\n",
				     npu_read(npu, NPU_STATUS));

	return npu_device_read_caps(npu);
}

static void npu_device_destroy_wq(struct drm_device *drm, void *wq)
{
	destroy_workqueue(wq);
}

static int npu_device_init_wqs(struct npu_device *npu)
{
	npu->submit_wq = alloc_workqueue("npu-submit",
					 WQ_MEM_RECLAIM | WQ_HIGHPRI | NPU_WQ_PERCPU, 0);
	if (!npu->submit_wq)
		return -ENOMEM;
	if (drmm_add_action_or_reset(&npu->drm, npu_device_destroy_wq, npu->submit_wq))
		return -ENOMEM;

	npu->bind_wq = alloc_workqueue("npu-bind", WQ_MEM_RECLAIM | WQ_UNBOUND, 0);
	if (!npu->bind_wq)
		return -ENOMEM;

	return drmm_add_action_or_reset(&npu->drm, npu_device_destroy_wq, npu->bind_wq);
}

static int npu_device_start(struct npu_device *npu)
{
	struct device *dev = npu->drm.dev;
	int ret;

	ret = npu_device_identify(npu);
	if (ret)
		return ret;

	ret = npu_mmu_init(npu);
	if (ret)
		return ret;

	ret = npu_sched_init(npu);
	if (ret)
		return ret;

	ret = npu_coredump_init(npu);
	if (ret)
		return ret;

	npu_drm_huge_pages(&npu->drm);

	ret = npu_irq_init(npu);
	if (ret)
		return dev_err_probe(dev, ret, "cannot request interrupt %d\n", npu->irq);

	npu_device_hw_start(npu);
	return 0;
}

static void npu_device_wedged_work(struct work_struct *work)
{
	struct npu_device *npu = container_of(work, struct npu_device, wedged);
	int idx;

	if (!drm_dev_enter(&npu->drm, &idx))
		return;
	npu_drm_wedged(&npu->drm);
	drm_dev_exit(idx);
}

/* The device is lost until the driver is bound again: user space gets to know. */
void npu_device_wedged(struct npu_device *npu)
{
	schedule_work(&npu->wedged);
}

/**
 * npu_device_init() - Find the hardware and make it ready for clients
 * @npu: Device, its DRM device allocated.
 *
 * Return: 0 with the device powered and registered, or a negative errno with
 * the reason in the log.
 */
int npu_device_init(struct npu_device *npu)
{
	struct device *dev = npu->drm.dev;
	int ret;

	spin_lock_init(&npu->irq_state.lock);
	xa_init_flags(&npu->queues, XA_FLAGS_ALLOC1);
	xa_init_flags(&npu->vms, XA_FLAGS_ALLOC1);
	INIT_LIST_HEAD(&npu->bos.list);
	INIT_WORK(&npu->wedged, npu_device_wedged_work);
	ret = drmm_mutex_init(&npu->drm, &npu->bos.lock);
	if (ret)
		return ret;
	ret = drmm_mutex_init(&npu->drm, &npu->counters.lock);
	if (ret)
		return ret;

	ret = npu_device_init_wqs(npu);
	if (ret)
		return ret;

	ret = npu_device_get_resources(npu, to_platform_device(dev));
	if (ret)
		return ret;

	ret = npu_device_power_on(npu);
	if (ret) {
		ret = dev_err_probe(dev, ret, "cannot power the device on\n");
		goto err_release_mem;
	}

	ret = npu_device_start(npu);
	if (ret)
		goto err_power_off;

	npu_pm_init(npu);

	ret = drm_dev_register(&npu->drm, 0);
	if (ret) {
		dev_err_probe(dev, ret, "cannot register the device\n");
		goto err_stop;
	}

	drm_info(&npu->drm, "OpenNPU %04x:%04x rev %#x: %u queues, %u slots, %u-bit addresses%s\n",
		 NPU_IMPL_IMPLEMENTER(npu->info.impl), NPU_IMPL_PRODUCT(npu->info.impl),
		 npu->info.rev, npu->info.hw_queues, npu->info.slots, npu->info.va_bits,
		 npu->coherent ? ", coherent" : "");
	npu_pm_start(npu);
	return 0;

err_stop:
	npu_pm_fini(npu);
	npu_irq_disable(npu);
	npu_sched_fini(npu);
err_power_off:
	npu_device_power_off(npu);
err_release_mem:
	of_reserved_mem_device_release(dev);
	return ret;
}

/**
 * npu_device_unplug() - The device goes: unbind, module unload or removal
 * @npu: Device.
 *
 * Files may stay open: their ioctls answer -ENODEV and their fences end with it.
 */
void npu_device_unplug(struct npu_device *npu)
{
	struct device *dev = npu->drm.dev;

	if (atomic_xchg(&npu->unplugged, 1))
		return;

	/* No ioctl starts after this, and those that use the device have ended. */
	drm_dev_unplug(&npu->drm);

	pm_runtime_get_sync(dev);
	npu_sched_fini(npu);
	npu_irq_disable(npu);
	/* Memory is given back once the device no longer works on it. */
	if (npu->powered && !npu_device_lost(npu) && npu_device_hw_reset(npu))
		drm_warn(&npu->drm, "the device does not stop\n");
	npu_device_lose(npu);
	/* A job that came in between may have started the tick again. */
	npu_sched_fini(npu);
	cancel_work_sync(&npu->wedged);
	npu_device_revoke(npu);
	npu_coredump_fini(npu);
	npu_pm_fini(npu);
	npu_device_power_off(npu);
	of_reserved_mem_device_release(dev);
}
