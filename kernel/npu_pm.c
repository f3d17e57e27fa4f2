// SPDX-License-Identifier: GPL-2.0-only
/*
 * Runtime power management and system sleep.
 *
 * A queue holds a runtime reference while it has jobs, taken in the submit
 * ioctl: nothing on the way of a fence ever powers the device up. When the
 * device suspends at run time, its queues have nothing to do, and only lose
 * their place on the hardware. In a system sleep, jobs in progress are saved
 * as context images and go on afterwards.
 */
#include <linux/pm_runtime.h>

#include <drm/drm_print.h>

#include "npu_compat.h"
#include "npu_device.h"
#include "npu_mmu.h"
#include "npu_pm.h"
#include "npu_sched.h"

#define NPU_AUTOSUSPEND_MS	50

static int npu_pm_runtime_suspend(struct device *dev)
{
	struct npu_device *npu = dev_get_drvdata(dev);

	if (!npu_device_lost(npu)) {
		npu_sched_suspend(npu);
		npu_mmu_evict_all(npu);
		npu_device_hw_stop(npu);
	}
	npu_device_power_off(npu);
	return 0;
}

static int npu_pm_runtime_resume(struct device *dev)
{
	struct npu_device *npu = dev_get_drvdata(dev);
	int ret;

	if (npu_device_lost(npu))
		return -ENODEV;

	ret = npu_device_power_on(npu);
	if (ret)
		return ret;

	ret = npu_device_reset(npu);
	if (ret) {
		drm_err(&npu->drm, "the device does not come back (%d): it is lost until it is bound again\n",
			ret);
		npu_device_power_off(npu);
		npu_device_lose(npu);
		npu_device_wedged(npu);
		return -ENODEV;
	}

	npu_device_hw_start(npu);
	npu_sched_resume(npu);
	return 0;
}

static int npu_pm_suspend(struct device *dev)
{
	/*
	 * Jobs may be in progress: the scheduler saves them. A device that is
	 * asleep already stays so.
	 */
	return pm_runtime_force_suspend(dev);
}

static int npu_pm_resume(struct device *dev)
{
	struct npu_device *npu = dev_get_drvdata(dev);
	int ret;

	ret = pm_runtime_force_resume(dev);
	if (ret && !npu_device_lost(npu)) {
		drm_err(&npu->drm, "the device is lost after system sleep: %d\n", ret);
		npu_device_lose(npu);
	}

	return ret;
}

const struct dev_pm_ops npu_pm_ops = {
	SYSTEM_SLEEP_PM_OPS(npu_pm_suspend, npu_pm_resume)
	RUNTIME_PM_OPS(npu_pm_runtime_suspend, npu_pm_runtime_resume, NULL)
};

/* The device is powered; keep it so until npu_pm_start(). */
void npu_pm_init(struct npu_device *npu)
{
	struct device *dev = npu->drm.dev;

	pm_runtime_get_noresume(dev);
	pm_runtime_set_active(dev);
	pm_runtime_set_autosuspend_delay(dev, NPU_AUTOSUSPEND_MS);
	pm_runtime_use_autosuspend(dev);
	pm_runtime_enable(dev);
}

void npu_pm_start(struct npu_device *npu)
{
	pm_runtime_mark_last_busy(npu->drm.dev);
	pm_runtime_put_autosuspend(npu->drm.dev);
}

/* The caller holds a reference: the device is powered, and stays so. */
void npu_pm_fini(struct npu_device *npu)
{
	struct device *dev = npu->drm.dev;

	pm_runtime_dont_use_autosuspend(dev);
	pm_runtime_disable(dev);
	pm_runtime_put_noidle(dev);
	pm_runtime_set_suspended(dev);
}
