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

struct dma_fence;
struct drm_file;
struct drm_npu_obj_array;
struct drm_sched_job;

#define NPU_MAX_SYNCS		1024	/* of one job */
#define NPU_MAX_SYNCS_TOTAL	4096	/* of one ioctl: bounds the time of look-ups */

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
};

static inline void npu_sync_init(struct npu_sync_list *list)
{
	INIT_LIST_HEAD(&list->signals);
	list->next = &list->signals;
	list->count = 0;
}

int npu_sync_add(struct npu_sync_list *list, struct drm_file *file, struct drm_sched_job *job,
		 u32 index, const struct drm_npu_obj_array *syncs);
void npu_sync_set_fence(struct npu_sync_list *list, u32 index, struct dma_fence *fence);
void npu_sync_publish(struct npu_sync_list *list);
void npu_sync_fini(struct npu_sync_list *list);

void *npu_copy_array(const struct drm_npu_obj_array *in, u32 min_size, u32 size, u32 max);

#endif /* NPU_SYNC_H */
