// SPDX-License-Identifier: GPL-2.0-only
/*
 * Files for developers: /sys/kernel/debug/accel/<device>/npu_*, or dri/ where the
 * device has a render node.
 */
#include <linux/debugfs.h>
#include <linux/pm_runtime.h>
#include <linux/seq_file.h>
#include <linux/uaccess.h>

#include <drm/drm_drv.h>
#include <drm/drm_gem.h>
#include <drm/drm_print.h>

#include "npu_debugfs.h"
#include "npu_device.h"
#include "npu_drv.h"
#include "npu_gem.h"
#include "npu_queue.h"
#include "npu_sched.h"
#include "npu_vm.h"

static const char * const npu_queue_states[] = {
	[DRM_NPU_QUEUE_ALIVE] = "alive",
	[DRM_NPU_QUEUE_FAULT] = "fault",
	[DRM_NPU_QUEUE_TIMEOUT] = "timeout",
	[DRM_NPU_QUEUE_INNOCENT] = "innocent",
	[DRM_NPU_QUEUE_VM_UNUSABLE] = "vm-unusable",
	[DRM_NPU_QUEUE_DEVICE_LOST] = "device-lost",
};

static int npu_queues_show(struct seq_file *m, void *unused)
{
	struct npu_device *npu = m->private;
	unsigned long next = 0;
	struct npu_queue *queue;

	seq_puts(m, "queue vm   prio hwq  head       tail       seqno      active_ns        ");
	seq_puts(m, "state       process\n");
	while ((queue = npu_device_next_queue(npu, &next))) {
		spin_lock_irq(&queue->lock);
		seq_printf(m, "%-5u %-4u %-4u %-4d %-10u %-10u %-10llu ", queue->id,
			   queue->vm->id, queue->priority, queue->hwq, queue->head, queue->tail,
			   queue->done_seqno);
		seq_printf(m, "%-16llu %-11s %.16s[%d]%s\n", queue->active_ns,
			   npu_queue_states[queue->state], queue->comm, queue->pid,
			   queue->dead ? " dead" : "");
		spin_unlock_irq(&queue->lock);
		npu_queue_put(queue);
	}
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(npu_queues);

static void npu_vm_show_mappings(struct seq_file *m, struct npu_vm *vm)
{
	struct drm_gpuva *va;

	drm_gpuvm_for_each_va(va, &vm->base) {
		if (va == &vm->base.kernel_alloc_node)
			continue;
		seq_printf(m, "  %#014llx..%#014llx offset %#llx of a BO of %zu bytes\n",
			   va->va.addr, va->va.addr + va->va.range, va->gem.offset,
			   va->gem.obj ? va->gem.obj->size : 0);
	}
}

static int npu_vms_show(struct seq_file *m, void *unused)
{
	struct npu_device *npu = m->private;
	unsigned long next = 0;
	struct npu_vm *vm;

	while ((vm = npu_device_next_vm(npu, &next))) {
		mutex_lock(&vm->op_lock);
		seq_printf(m, "vm %u: slot %d, %u queues bound, %u tables%s%s\n", vm->id,
			   vm->slot.id, vm->slot.users, vm->pgt.tables,
			   npu_vm_unusable(vm) ? ", unusable" : "",
			   READ_ONCE(vm->destroyed) ? ", destroyed" : "");
		npu_vm_show_mappings(m, vm);
		mutex_unlock(&vm->op_lock);
		npu_vm_put(vm);
	}
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(npu_vms);

static int npu_slots_show(struct seq_file *m, void *unused)
{
	struct npu_device *npu = m->private;
	struct npu_sched *sched = npu->sched;
	struct npu_queue *queue;
	int id;

	mutex_lock(&sched->bind_lock);
	seq_printf(m, "%s, %d resets\n", npu_device_lost(npu) ? "lost" :
		   sched->suspended ? "asleep" : "awake", atomic_read(&npu->resets));
	for (id = 0; id < npu->info.hw_queues; id++) {
		queue = sched->hwq[id];
		if (queue)
			seq_printf(m, "hardware queue %d: queue %u, VM %u in slot %d, %s\n", id,
				   queue->id, queue->vm->id, queue->vm->slot.id,
				   npu_queue_busy(queue) ? "busy" : "idle");
		else
			seq_printf(m, "hardware queue %d: free\n", id);
	}
	mutex_unlock(&sched->bind_lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(npu_slots);

static int npu_gems_show(struct seq_file *m, void *unused)
{
	struct npu_device *npu = m->private;
	size_t total = 0, count = 0;
	struct npu_bo *bo;

	seq_puts(m, "size             refs  flags\n");
	mutex_lock(&npu->bos.lock);
	list_for_each_entry(bo, &npu->bos.list, node) {
		struct drm_gem_object *obj = &bo->base.base;

		seq_printf(m, "%-16zu %-5u %s%s%s%s%s\n", obj->size, kref_read(&obj->refcount),
			   bo->base.map_wc ? "wc" : "cached",
			   bo->flags & DRM_NPU_BO_NO_MMAP ? " no-mmap" : "",
			   bo->exclusive_root ? " exclusive" : "",
			   npu_bo_imported(bo) ? " imported" : "",
			   bo->base.pages ? " resident" : "");
		total += obj->size;
		count++;
	}
	mutex_unlock(&npu->bos.lock);
	seq_printf(m, "%zu objects, %zu bytes\n", count, total);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(npu_gems);

static int npu_registers_show(struct seq_file *m, void *unused)
{
	struct npu_device *npu = m->private;
	int idx, ret;
	u32 id;

	if (!drm_dev_enter(&npu->drm, &idx))
		return -ENODEV;

	ret = pm_runtime_resume_and_get(npu->drm.dev);
	if (ret)
		goto out_exit;

	if (npu_device_lost(npu)) {
		ret = -ENODEV;
		goto out_put;
	}

	seq_printf(m, "ID          %#010x\n", npu_read(npu, NPU_ID));
	seq_printf(m, "STATUS      %#010x\n", npu_read(npu, NPU_STATUS));
	seq_printf(m, "FATAL_CAUSE %#010x\n", npu_read(npu, NPU_FATAL_CAUSE));
	seq_printf(m, "IRQ_SUMMARY %#010x\n", npu_read(npu, NPU_IRQ_SUMMARY));
	seq_printf(m, "CORE_KHZ    %u\n", npu_read(npu, NPU_CORE_KHZ));
	for (id = 0; id < npu->info.hw_queues; id++) {
		u32 qc = NPU_QC(id);

		seq_printf(m, "queue %2u: STATUS %#05x SLOT %2u HEAD %u TAIL %u SEQNO %llu FAULT %#x\n",
			   id, npu_read(npu, qc + NPU_QC_STATUS), npu_read(npu, qc + NPU_QC_SLOT),
			   npu_read(npu, qc + NPU_QC_HEAD), npu_read(npu, qc + NPU_QC_TAIL),
			   npu_read64_counter(npu, qc + NPU_QC_SEQNO_LO),
			   npu_read(npu, qc + NPU_QC_FAULT));
	}
	for (id = 0; id < npu->info.slots; id++) {
		u32 as = NPU_MMU_BASE + NPU_AS(id);

		seq_printf(m, "slot %2u: STATUS %#x TABLE %#llx\n", id,
			   npu_read(npu, as + NPU_AS_STATUS),
			   npu_read64(npu, as + NPU_AS_TABLE_LO));
	}

out_put:
	pm_runtime_mark_last_busy(npu->drm.dev);
	pm_runtime_put_autosuspend(npu->drm.dev);
out_exit:
	drm_dev_exit(idx);
	return ret;
}
DEFINE_SHOW_ATTRIBUTE(npu_registers);

/* ---- Fault injection ----------------------------------------------------- */

static const char * const npu_injections[] = {
	[NPU_INJECT_QUEUE_RESET] = "fail-queue-reset",
	[NPU_INJECT_DEVICE_RESET] = "fail-device-reset",
	[NPU_INJECT_COLD_RESET] = "fail-cold-reset",
	[NPU_INJECT_MMU] = "fail-mmu-command",
	[NPU_INJECT_BIND] = "fail-bind",
};

static int npu_inject_show(struct seq_file *m, void *unused)
{
	struct npu_device *npu = m->private;
	unsigned int i;

	seq_puts(m, "device-reset\n");
	for (i = 0; i < NPU_INJECT_COUNT; i++)
		seq_printf(m, "%s %d\n", npu_injections[i], atomic_read(&npu->inject[i]));
	return 0;
}

static int npu_inject_open(struct inode *inode, struct file *file)
{
	return single_open(file, npu_inject_show, inode->i_private);
}

/* "device-reset": reset the device now. "fail-...": let the next one of these fail. */
static ssize_t npu_inject_write(struct file *file, const char __user *buf, size_t size,
				loff_t *pos)
{
	struct npu_device *npu = ((struct seq_file *)file->private_data)->private;
	char text[32] = { };
	int i;

	if (size >= sizeof(text))
		return -EINVAL;
	if (copy_from_user(text, buf, size))
		return -EFAULT;

	if (sysfs_streq(text, "device-reset")) {
		i = pm_runtime_resume_and_get(npu->drm.dev);
		if (i)
			return i;
		npu_sched_request_reset(npu);
		npu_sched_wait_reset(npu);
		pm_runtime_put_autosuspend(npu->drm.dev);
		return size;
	}

	i = __sysfs_match_string(npu_injections, NPU_INJECT_COUNT, text);
	if (i < 0)
		return i;

	atomic_inc(&npu->inject[i]);
	return size;
}

static const struct file_operations npu_inject_fops = {
	.owner = THIS_MODULE,
	.open = npu_inject_open,
	.read = seq_read,
	.write = npu_inject_write,
	.llseek = seq_lseek,
	.release = single_release,
};

/* ---- Files --------------------------------------------------------------- */

struct npu_debugfs_file {
	const char *name;
	const struct file_operations *fops;
	umode_t mode;
};

static const struct npu_debugfs_file npu_debugfs_files[] = {
	{ "npu_queues", &npu_queues_fops, 0400 },
	{ "npu_vms", &npu_vms_fops, 0400 },
	{ "npu_slots", &npu_slots_fops, 0400 },
	{ "npu_gems", &npu_gems_fops, 0400 },
	{ "npu_registers", &npu_registers_fops, 0400 },
	{ "npu_inject", &npu_inject_fops, 0600 },
};

void npu_debugfs_init(struct npu_device *npu)
{
	unsigned int i;

	/* The core calls no debugfs_init() for accel nodes. */
	for (i = 0; i < ARRAY_SIZE(npu_debugfs_files); i++)
		debugfs_create_file(npu_debugfs_files[i].name, npu_debugfs_files[i].mode,
				    npu->drm.debugfs_root, npu, npu_debugfs_files[i].fops);
}

/* Waits for readers. */
void npu_debugfs_fini(struct npu_device *npu)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(npu_debugfs_files); i++)
		debugfs_lookup_and_remove(npu_debugfs_files[i].name, npu->drm.debugfs_root);
}
