// SPDX-License-Identifier: GPL-2.0-only
#include <linux/dma-fence-chain.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include <drm/drm_file.h>
#include <drm/drm_syncobj.h>
#include <drm/gpu_scheduler.h>
#include <drm/npu_accel.h>

#include "npu_compat.h"
#include "npu_sync.h"

/**
 * npu_copy_array() - Copy an array of extensible structures from user space
 * @in: Array.
 * @min_size: Size of the oldest version of an element.
 * @size: Size of an element in the kernel.
 * @max: Largest count.
 *
 * Return: the elements, each @size bytes, to be freed with kvfree(); NULL for
 * an empty array; an ERR_PTR().
 */
void *npu_copy_array(const struct drm_npu_obj_array *in, u32 min_size, u32 size, u32 max)
{
	const void __user *src = u64_to_user_ptr(in->array);
	void *out;
	int ret;
	u32 i;

	if (!in->count)
		return in->array ? ERR_PTR(-EINVAL) : NULL;
	if (in->count > max || in->stride < min_size)
		return ERR_PTR(-EINVAL);

	if (in->stride == size) {
		out = kvmalloc_array(in->count, size, GFP_KERNEL);
		if (!out)
			return ERR_PTR(-ENOMEM);
		if (!copy_from_user(out, src, (size_t)in->count * size))
			return out;
		kvfree(out);
		return ERR_PTR(-EFAULT);
	}

	out = kvcalloc(in->count, size, GFP_KERNEL);
	if (!out)
		return ERR_PTR(-ENOMEM);

	for (i = 0; i < in->count; i++, src += in->stride) {
		ret = copy_struct_from_user(out + (size_t)i * size, size, src, in->stride);
		if (ret) {
			kvfree(out);
			return ERR_PTR(ret);
		}
	}

	return out;
}

static int npu_sync_check_op(const struct drm_npu_sync_op *op)
{
	bool timeline = op->flags & DRM_NPU_SYNC_TIMELINE;

	if (op->flags & ~(DRM_NPU_SYNC_SIGNAL | DRM_NPU_SYNC_TIMELINE))
		return -EINVAL;
	if (!timeline && op->value)
		return -EINVAL;
	/* Point 0 of a timeline has always been reached. */
	if (timeline && !op->value && op->flags & DRM_NPU_SYNC_SIGNAL)
		return -EINVAL;

	return 0;
}

/*
 * Does an earlier job of the same ioctl signal what is waited for? Jobs of one
 * ioctl run in order, so there is nothing else to wait for.
 */
static bool npu_sync_in_order(const struct npu_sync_list *list, const struct drm_npu_sync_op *op,
			      u32 index)
{
	const struct npu_sync_signal *sig;

	list_for_each_entry(sig, &list->signals, node) {
		if (sig->handle != op->handle || sig->index >= index)
			continue;
		if (op->flags & DRM_NPU_SYNC_TIMELINE ? sig->point >= op->value : !sig->point)
			return true;
	}

	return false;
}

static int npu_sync_add_wait(struct npu_sync_list *list, struct drm_file *file,
			     struct drm_sched_job *job, u32 index,
			     const struct drm_npu_sync_op *op)
{
	struct dma_fence *fence;
	int ret;

	/* A binary syncobj will hold the earlier job's fence and nothing else. */
	if (!(op->flags & DRM_NPU_SYNC_TIMELINE) && npu_sync_in_order(list, op, index))
		return 0;

	ret = drm_syncobj_find_fence(file, op->handle, op->value, 0, &fence);
	if (ret)
		return ret == -EINVAL && npu_sync_in_order(list, op, index) ? 0 : ret;

	return drm_sched_job_add_dependency(job, fence);
}

static int npu_sync_add_signal(struct npu_sync_list *list, struct drm_file *file, u32 index,
			       const struct drm_npu_sync_op *op)
{
	struct npu_sync_signal *sig;

	if (list_empty(&list->signals)) {
		sig = &list->first;
		*sig = (struct npu_sync_signal) { };
	} else {
		sig = kzalloc_obj(*sig);
	}
	if (!sig)
		return -ENOMEM;

	sig->index = index;
	sig->handle = op->handle;
	sig->point = op->value;
	list_add_tail(&sig->node, &list->signals);

	sig->syncobj = drm_syncobj_find(file, op->handle);
	if (!sig->syncobj)
		return -ENOENT;

	if (op->flags & DRM_NPU_SYNC_TIMELINE) {
		sig->chain = dma_fence_chain_alloc();
		if (!sig->chain)
			return -ENOMEM;
	}

	return 0;
}

/**
 * npu_sync_copy() - Take in the sync operations of one job
 * @out: The operations, to be given back with npu_sync_free(), whatever is returned.
 * @syncs: struct drm_npu_sync_op in user memory.
 *
 * Return: 0 or a negative errno.
 */
int npu_sync_copy(struct npu_sync_ops *out, const struct drm_npu_obj_array *syncs)
{
	int ret;
	u32 i;

	*out = (struct npu_sync_ops) { };
	if (!syncs->count && !syncs->array)
		return 0;

	if (npu_copy_one(syncs, &out->one, sizeof(out->one))) {
		out->ops = &out->one;
	} else {
		void *ops = npu_copy_array(syncs, offsetofend(struct drm_npu_sync_op, value),
					   sizeof(*out->ops), NPU_MAX_SYNCS);

		if (IS_ERR(ops))
			return PTR_ERR(ops);
		out->ops = ops;
	}

	out->count = syncs->count;
	for (i = 0; i < out->count; i++) {
		ret = npu_sync_check_op(&out->ops[i]);
		if (ret)
			return ret;
		if (out->ops[i].flags & DRM_NPU_SYNC_SIGNAL)
			out->signals = true;
		else
			out->waits = true;
	}
	return 0;
}

void npu_sync_free(struct npu_sync_ops *ops)
{
	if (ops->ops != &ops->one)
		kvfree(ops->ops);
}

/**
 * npu_sync_add() - Look up what one job waits for and signals
 * @list: Signals of the ioctl.
 * @file: File.
 * @job: Job that waits.
 * @index: Its place among the jobs of the ioctl.
 * @ops: Operations of the job, or of a part of it: then to be called again.
 *
 * Return: 0 or a negative errno: then npu_sync_fini() undoes all.
 */
int npu_sync_add(struct npu_sync_list *list, struct drm_file *file, struct drm_sched_job *job,
		 u32 index, const struct npu_sync_ops *ops)
{
	int ret = 0;
	u32 i;

	list->count += ops->count;
	if (list->count > NPU_MAX_SYNCS_TOTAL)
		return -EINVAL;

	/* Waits first: what the job itself signals is not what it waits for. */
	for (i = 0; !ret && i < ops->count; i++) {
		if (!(ops->ops[i].flags & DRM_NPU_SYNC_SIGNAL))
			ret = npu_sync_add_wait(list, file, job, index, &ops->ops[i]);
	}
	for (i = 0; !ret && i < ops->count; i++) {
		if (ops->ops[i].flags & DRM_NPU_SYNC_SIGNAL)
			ret = npu_sync_add_signal(list, file, index, &ops->ops[i]);
	}

	return ret;
}

/**
 * npu_sync_set_fence() - Give the signals of one job their fence
 * @list: Signals of the ioctl.
 * @index: Job; to be called for each job in order.
 * @fence: Its finished fence.
 */
void npu_sync_set_fence(struct npu_sync_list *list, u32 index, struct dma_fence *fence)
{
	struct npu_sync_signal *sig;

	/* Signals are in the order of jobs: go on from where the last call stopped. */
	if (list->next == &list->signals)
		list->next = list->signals.next;

	for (; list->next != &list->signals; list->next = list->next->next) {
		sig = list_entry(list->next, struct npu_sync_signal, node);
		if (sig->index != index)
			break;
		sig->fence = dma_fence_get(fence);
	}
}

void npu_sync_publish(struct npu_sync_list *list)
{
	struct npu_sync_signal *sig;

	list_for_each_entry(sig, &list->signals, node) {
		if (sig->chain) {
			drm_syncobj_add_point(sig->syncobj, sig->chain, sig->fence, sig->point);
			sig->chain = NULL;
		} else {
			drm_syncobj_replace_fence(sig->syncobj, sig->fence);
		}
	}
}

void npu_sync_fini(struct npu_sync_list *list)
{
	struct npu_sync_signal *sig, *next;

	list_for_each_entry_safe(sig, next, &list->signals, node) {
		dma_fence_chain_free(sig->chain);
		dma_fence_put(sig->fence);
		if (sig->syncobj)
			drm_syncobj_put(sig->syncobj);
		if (sig != &list->first)
			kfree(sig);
	}
}
