// SPDX-License-Identifier: GPL-2.0-only
/* Checks of user space's arguments. */
#include <kunit/test.h>

#include <drm/npu_accel.h>

#include "npu_validate.h"

#define START	0x10000ull
#define END	0x7fc0000000ull

static const struct drm_npu_info info = { .max_stream = 0x100000 };

static int check(struct drm_npu_job job)
{
	return npu_job_check(&job, &info, START, END);
}

static void validate_job(struct kunit *test)
{
	const struct drm_npu_job good = { .stream = START, .stream_size = 16 };
	struct drm_npu_job job = good;

	KUNIT_EXPECT_EQ(test, check(good), 0);
#define EXPECT_BAD(change) do {				\
	job = good;					\
	change;						\
	KUNIT_EXPECT_EQ(test, check(job), -EINVAL);	\
} while (0)
	EXPECT_BAD(job.stream = START - 16);
	EXPECT_BAD(job.stream = END);
	EXPECT_BAD((job.stream = END - 16, job.stream_size = 32));
	EXPECT_BAD(job.stream = ~0ull & ~15ull);
	EXPECT_BAD(job.stream += 8);
	EXPECT_BAD(job.stream_size = 8);
	EXPECT_BAD(job.stream_size = info.max_stream + 16);
	EXPECT_BAD(job.flags = 1);
	EXPECT_BAD(job.nregs = 1);
	EXPECT_BAD(job.regs = 0x1000);
	EXPECT_BAD((job.nregs = 33, job.regs = 0x1000));
	EXPECT_BAD(job.stream_size = 0);
	EXPECT_BAD((job.stream_size = 0, job.stream = 0, job.budget_us = 1));
#undef EXPECT_BAD

	job = good;
	job.stream_size = info.max_stream;
	KUNIT_EXPECT_EQ(test, check(job), 0);
	job = (struct drm_npu_job) {
		.stream = END - 16, .stream_size = 16, .nregs = 32, .regs = 8
	};
	KUNIT_EXPECT_EQ(test, check(job), 0);
	KUNIT_EXPECT_EQ(test, check((struct drm_npu_job) { }), 0);
}

static void validate_bind_range(struct kunit *test)
{
	static const struct { u64 va, size, offset; int ret; } cases[] = {
		{ START, 0x1000, 0, 0 },
		{ START, END - START, 0, 0 },
		{ END - 0x1000, 0x1000, 0x5000, 0 },
		{ START, 0, 0, -EINVAL },
		{ START + 1, 0x1000, 0, -EINVAL },
		{ START, 0x1001, 0, -EINVAL },
		{ START, 0x1000, 1, -EINVAL },
		{ START - 0x1000, 0x1000, 0, -EINVAL },
		{ END, 0x1000, 0, -EINVAL },
		{ END - 0x1000, 0x2000, 0, -EINVAL },
		{ START, END - START + 0x1000, 0, -EINVAL },
		{ START, ~0xfffull, 0, -EINVAL },
		{ ~0xfffull, 0x1000, 0, -EINVAL },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++)
		KUNIT_EXPECT_EQ(test, npu_bind_range_check(cases[i].va, cases[i].size,
							   cases[i].offset, START, END),
				cases[i].ret);
}

static struct kunit_case validate_cases[] = {
	KUNIT_CASE(validate_job),
	KUNIT_CASE(validate_bind_range),
	{ }
};

static struct kunit_suite validate_suite = {
	.name = "npu_validate",
	.test_cases = validate_cases,
};

kunit_test_suite(validate_suite);
