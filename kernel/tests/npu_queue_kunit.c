// SPDX-License-Identifier: GPL-2.0-only
/* Rings: what is written, what is completed, and what a kill or a reset leaves. */
#include <linux/dma-fence.h>
#include <linux/slab.h>

#include <kunit/test.h>

#include "npu_compat.h"
#include "npu_device.h"
#include "npu_isa.h"
#include "npu_job.h"
#include "npu_queue.h"

#define LOG2	3
#define ENTRIES	BIT(LOG2)
#define JOBS	(3 * ENTRIES)

struct queue_test {
	struct npu_device npu;
	struct npu_queue queue;
	struct npu_job *job[JOBS];
	struct npu_job_desc desc[ENTRIES];
	struct npu_completion comp[ENTRIES];
	u64 regs[ENTRIES * NPU_SCALARS];
	u64 job_regs[JOBS][2];
	u32 pushed;
};

static const char *test_name(struct dma_fence *fence)
{
	return "test";
}

static const struct dma_fence_ops test_ops = {
	.get_driver_name = test_name,
	.get_timeline_name = test_name,
};

/* Job @i gets @n entries. */
static void set_entries(struct queue_test *t, u32 i, u32 n)
{
	struct npu_job *job = t->job[i];
	u32 k;

	t->job_regs[i][0] = i;
	t->job_regs[i][1] = ~(u64)i;
	job->count = n;
	for (k = 0; k < n; k++) {
		job->entries[k].stream = SZ_1M + (i + k) * 16;
		job->entries[k].stream_size = 16;
		job->entries[k].nregs = 2;
		job->entries[k].regs = t->job_regs[i];
	}
}

static int queue_init(struct kunit *test)
{
	struct queue_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	int i;

	KUNIT_ASSERT_NOT_NULL(test, t);
	t->npu.ring_log2 = LOG2;
	t->queue.npu = &t->npu;
	t->queue.hwq = -1;
	t->queue.desc = t->desc;
	t->queue.comp = t->comp;
	t->queue.regs = t->regs;
	t->queue.regs_node.start = SZ_1G;
	/* Indices are free running: start shortly before they wrap. */
	t->queue.head = -5;
	t->queue.tail = -5;
	spin_lock_init(&t->queue.lock);
	INIT_LIST_HEAD(&t->queue.in_flight);

	for (i = 0; i < JOBS; i++) {
		/* Freed with the last reference of its fence. */
		t->job[i] = kzalloc(struct_size(t->job[i], entries, ENTRIES), GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, t->job[i]);
		npu_dma_fence_init(&t->job[i]->done, &test_ops, &t->job[i]->lock, 1, i + 1);
		set_entries(t, i, 1);
	}

	test->priv = t;
	return 0;
}

static void queue_exit(struct kunit *test)
{
	struct queue_test *t = test->priv;
	int i;

	for (i = 0; t && i < JOBS; i++)
		dma_fence_put(&t->job[i]->done);
	if (t)
		dma_fence_put(t->queue.last_fence);
}

static void push(struct queue_test *t)
{
	spin_lock_irq(&t->queue.lock);
	npu_queue_push_locked(&t->queue, t->job[t->pushed++]);
	spin_unlock_irq(&t->queue.lock);
}

/* The device completes the job at ring position @pos. */
static void finish(struct queue_test *t, u32 pos)
{
	u32 i = pos & (ENTRIES - 1);

	t->comp[i].active_ns = 10;
	t->comp[i].seqno = t->desc[i].seqno;
}

static bool done(struct queue_test *t, u32 job)
{
	return dma_fence_is_signaled(&t->job[job]->done);
}

static void queue_ring(struct kunit *test)
{
	struct queue_test *t = test->priv;
	u32 i, first = t->queue.tail;

	for (i = 0; i < JOBS; i++) {
		u32 index = (first + i) & (ENTRIES - 1);
		struct npu_job_desc *desc = &t->desc[index];

		push(t);
		KUNIT_EXPECT_EQ(test, desc->stream, SZ_1M + i * 16);
		KUNIT_EXPECT_EQ(test, desc->seqno, i + 1);
		KUNIT_EXPECT_EQ(test, desc->nregs, 2);
		KUNIT_EXPECT_EQ(test, desc->regs, SZ_1G + index * NPU_SCALARS * 8);
		KUNIT_EXPECT_EQ(test, t->regs[index * NPU_SCALARS + 1], ~(u64)i);
		KUNIT_EXPECT_EQ(test, desc->rsvd[0] | desc->rsvd[1] | desc->rsvd[2], 0);
		KUNIT_EXPECT_TRUE(test, npu_queue_busy(&t->queue));

		npu_queue_complete(&t->queue);
		KUNIT_EXPECT_FALSE(test, done(t, i));
		finish(t, first + i);
		npu_queue_complete(&t->queue);
		KUNIT_EXPECT_TRUE(test, done(t, i));
		KUNIT_EXPECT_FALSE(test, npu_queue_busy(&t->queue));
	}

	KUNIT_EXPECT_EQ(test, t->queue.head, (u32)(first + JOBS));
	KUNIT_EXPECT_EQ(test, t->queue.active_ns, 10 * JOBS);
	KUNIT_EXPECT_EQ(test, t->queue.done_seqno, JOBS);
}

/* A completion that is not the oldest job's is not looked at. */
static void queue_order(struct kunit *test)
{
	struct queue_test *t = test->priv;
	u32 first = t->queue.tail, i;

	for (i = 0; i < 4; i++)
		push(t);
	finish(t, first + 1);
	npu_queue_complete(&t->queue);
	KUNIT_EXPECT_FALSE(test, done(t, 0));
	KUNIT_EXPECT_FALSE(test, done(t, 1));

	finish(t, first);
	npu_queue_complete(&t->queue);
	KUNIT_EXPECT_TRUE(test, done(t, 0));
	KUNIT_EXPECT_TRUE(test, done(t, 1));
	KUNIT_EXPECT_FALSE(test, done(t, 2));
}

static void queue_kill(struct kunit *test)
{
	struct queue_test *t = test->priv;
	struct npu_fault_info fault = { .fault = NPU_FAULT_TRAP, .pc = 0x1230 };
	u32 first = t->queue.tail, i;

	for (i = 0; i < 4; i++)
		push(t);
	/* The first one has ended, and nobody has seen it yet. */
	finish(t, first);
	npu_queue_kill(&t->queue, DRM_NPU_QUEUE_FAULT, -EFAULT, &fault);

	KUNIT_EXPECT_EQ(test, dma_fence_get_status(&t->job[0]->done), 1);
	KUNIT_EXPECT_EQ(test, dma_fence_get_status(&t->job[1]->done), -EFAULT);
	KUNIT_EXPECT_EQ(test, dma_fence_get_status(&t->job[2]->done), -ECANCELED);
	KUNIT_EXPECT_EQ(test, dma_fence_get_status(&t->job[3]->done), -ECANCELED);
	KUNIT_EXPECT_TRUE(test, t->queue.dead);
	KUNIT_EXPECT_EQ(test, t->queue.state, DRM_NPU_QUEUE_FAULT);
	KUNIT_EXPECT_EQ(test, t->queue.fault.pc, 0x1230);

	/* The first reason stays, unless the device goes. */
	npu_queue_kill(&t->queue, DRM_NPU_QUEUE_TIMEOUT, -ETIMEDOUT, NULL);
	KUNIT_EXPECT_EQ(test, t->queue.state, DRM_NPU_QUEUE_FAULT);
	npu_queue_kill(&t->queue, DRM_NPU_QUEUE_DEVICE_LOST, -ENODEV, NULL);
	KUNIT_EXPECT_EQ(test, t->queue.state, DRM_NPU_QUEUE_DEVICE_LOST);
}

static void queue_innocent(struct kunit *test)
{
	struct queue_test *t = test->priv;
	u32 first = t->queue.tail, i;

	for (i = 0; i < 3; i++)
		push(t);
	npu_queue_cancel_started(&t->queue);
	KUNIT_EXPECT_EQ(test, dma_fence_get_status(&t->job[0]->done), -ECANCELED);
	KUNIT_EXPECT_EQ(test, dma_fence_get_status(&t->job[1]->done), 0);
	KUNIT_EXPECT_FALSE(test, t->queue.dead);
	KUNIT_EXPECT_EQ(test, t->queue.state, DRM_NPU_QUEUE_INNOCENT);
	KUNIT_EXPECT_EQ(test, t->queue.innocent_resets, 1);
	KUNIT_EXPECT_EQ(test, t->queue.head, first + 1);

	finish(t, first + 1);
	finish(t, first + 2);
	npu_queue_complete(&t->queue);
	KUNIT_EXPECT_EQ(test, dma_fence_get_status(&t->job[2]->done), 1);
}

/* Entries that run as one job: one interrupt and one fence, when all have ended. */
static void queue_group(struct kunit *test)
{
	struct queue_test *t = test->priv;
	u32 first = t->queue.tail, i;

	set_entries(t, 0, 3);
	push(t);
	push(t);
	for (i = 0; i < 4; i++) {
		struct npu_job_desc *desc = &t->desc[(first + i) & (ENTRIES - 1)];

		KUNIT_EXPECT_EQ(test, desc->seqno, i + 1);
		KUNIT_EXPECT_EQ(test, desc->flags, i < 2 ? 0 : NPU_JOB_IRQ);
	}

	finish(t, first);
	finish(t, first + 1);
	npu_queue_complete(&t->queue);
	KUNIT_EXPECT_FALSE(test, done(t, 0));
	KUNIT_EXPECT_EQ(test, t->queue.head, first + 2);
	KUNIT_EXPECT_EQ(test, t->queue.done_seqno, 2);

	finish(t, first + 2);
	npu_queue_complete(&t->queue);
	KUNIT_EXPECT_TRUE(test, done(t, 0));
	KUNIT_EXPECT_EQ(test, dma_fence_get_status(&t->job[0]->done), 1);
	KUNIT_EXPECT_FALSE(test, done(t, 1));
}

/* A reset in its midst: the started entry is lost, the rest runs, the fence tells. */
static void queue_group_innocent(struct kunit *test)
{
	struct queue_test *t = test->priv;
	u32 first = t->queue.tail;

	set_entries(t, 0, 3);
	push(t);
	finish(t, first);
	npu_queue_complete(&t->queue);
	npu_queue_cancel_started(&t->queue);
	KUNIT_EXPECT_EQ(test, t->queue.head, first + 2);
	KUNIT_EXPECT_EQ(test, t->queue.innocent_resets, 1);
	KUNIT_EXPECT_FALSE(test, done(t, 0));

	finish(t, first + 2);
	npu_queue_complete(&t->queue);
	KUNIT_EXPECT_EQ(test, dma_fence_get_status(&t->job[0]->done), -ECANCELED);
	KUNIT_EXPECT_FALSE(test, npu_queue_busy(&t->queue));
}

/* A kill in its midst. */
static void queue_group_kill(struct kunit *test)
{
	struct queue_test *t = test->priv;
	u32 first = t->queue.tail;

	set_entries(t, 0, 3);
	push(t);
	push(t);
	finish(t, first);
	npu_queue_kill(&t->queue, DRM_NPU_QUEUE_FAULT, -EFAULT, NULL);
	KUNIT_EXPECT_EQ(test, dma_fence_get_status(&t->job[0]->done), -EFAULT);
	KUNIT_EXPECT_EQ(test, dma_fence_get_status(&t->job[1]->done), -ECANCELED);
	KUNIT_EXPECT_FALSE(test, npu_queue_busy(&t->queue));
	KUNIT_EXPECT_EQ(test, t->queue.done_seqno, 4);
}

static struct kunit_case queue_cases[] = {
	KUNIT_CASE(queue_ring),
	KUNIT_CASE(queue_order),
	KUNIT_CASE(queue_kill),
	KUNIT_CASE(queue_innocent),
	KUNIT_CASE(queue_group),
	KUNIT_CASE(queue_group_innocent),
	KUNIT_CASE(queue_group_kill),
	{ }
};

static struct kunit_suite queue_suite = {
	.name = "npu_queue",
	.init = queue_init,
	.exit = queue_exit,
	.test_cases = queue_cases,
};

kunit_test_suite(queue_suite);
