/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Syncobj waits and signals of submissions and binds.
 *
 * All that can fail (look-ups, allocations) comes first: npu_sync_add(). Then,
 * with the jobs armed, npu_sync_set_fence(), and with the jobs pushed
 * npu_sync_publish(), neither of which can fail.
 */
#ifndef NPU_SYNC_H
#define NPU_SYNC_H

#include <linux/list.h>
#include <linux/types.h>
#include <linux/uaccess.h>

#include <drm/npu_accel.h>

struct dma_fence;
struct dma_fence_chain;
struct drm_file;
struct drm_sched_job;
struct drm_syncobj;

#define NPU_MAX_SYNCS		1024	/* of one job */
#define NPU_MAX_SYNCS_TOTAL	4096	/* of one ioctl: bounds the time of look-ups */

/**
 * struct npu_sync_ops - sync operations of one job, copied and checked
 */
struct npu_sync_ops {
	/** @ops: Operations: &@one, or memory of their own. */
	struct drm_npu_sync_op *ops;
	/** @count: Number of @ops. */
	u32 count;
	/** @waits: There is a wait among them. */
	bool waits;
	/** @signals: There is a signal among them. */
	bool signals;
	/** @one: A single operation, the common case. */
	struct drm_npu_sync_op one;
};

/**
 * struct npu_sync_signal - one signal operation
 */
struct npu_sync_signal {
	/** @node: In the list of the ioctl. */
	struct list_head node;
	/** @index: Job that signals. */
	u32 index;
	/** @handle: Syncobj, as the user names it. */
	u32 handle;
	/** @point: Timeline point, 0 for a binary syncobj. */
	u64 point;
	/** @syncobj: Owned. */
	struct drm_syncobj *syncobj;
	/** @chain: Link for a timeline, NULL for a binary one. Owned until published. */
	struct dma_fence_chain *chain;
	/** @fence: Finished fence of the job. Owned. */
	struct dma_fence *fence;
};

/**
 * struct npu_sync_list - signals of all jobs of one ioctl
 */
struct npu_sync_list {
	/** @signals: struct npu_sync_signal, in the order of jobs and operations. */
	struct list_head signals;
	/** @next: First signal that has no fence yet. */
	struct list_head *next;
	/** @count: Waits and signals so far. */
	u32 count;
	/** @first: The first one of @signals: most often there is no other. */
	struct npu_sync_signal first;
};

static inline void npu_sync_init(struct npu_sync_list *list)
{
	INIT_LIST_HEAD(&list->signals);
	list->next = &list->signals;
	list->count = 0;
}

int npu_sync_copy(struct npu_sync_ops *out, const struct drm_npu_obj_array *syncs);
void npu_sync_free(struct npu_sync_ops *ops);
int npu_sync_add(struct npu_sync_list *list, struct drm_file *file, struct drm_sched_job *job,
		 u32 index, const struct npu_sync_ops *ops);
void npu_sync_set_fence(struct npu_sync_list *list, u32 index, struct dma_fence *fence);
void npu_sync_publish(struct npu_sync_list *list);
void npu_sync_fini(struct npu_sync_list *list);

void *npu_copy_array(const struct drm_npu_obj_array *in, u32 min_size, u32 size, u32 max);

/* An array of one element of the kernel's size: to memory of the caller. False: another way. */
static __always_inline bool npu_copy_one(const struct drm_npu_obj_array *in, void *out, u32 size)
{
	return in->count == 1 && in->stride == size &&
	       !copy_from_user(out, u64_to_user_ptr(in->array), size);
}

#endif /* NPU_SYNC_H */
