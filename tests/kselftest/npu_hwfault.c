// SPDX-License-Identifier: GPL-2.0-only
/*
 * Broken hardware: each fault that the virtual board can inject, under a job. Root only; other
 * boards have no injector.
 */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "npu_test.h"

#define HANG_MS		20	/* device time: much longer by the clock of a loaded host */
#define MAX_FAULTS	3

FIXTURE(hw) {
	struct client bad;	/* short timeout */
	struct client good;	/* long timeout */
	char driver[PATH_MAX];
	char name[256];
	char board[64];		/* the injector's folder */
	bool injected;
};

FIXTURE_VARIANT(hw) {
	const char *faults[MAX_FAULTS];
	int errors[5];		/* any of which the job may end with; 0: well */
	bool dead;		/* its queue ends */
	bool lost;		/* the device may have to be bound again */
};

#define HW(variant, ...) FIXTURE_VARIANT_ADD(hw, variant) { __VA_ARGS__ }

HW(hang, .faults = { "hang" }, .errors = { -ETIMEDOUT }, .dead = true);
HW(page_fault, .faults = { "page-fault" }, .errors = { -EFAULT }, .dead = true);
HW(memory_error, .faults = { "ecc" }, .errors = { -EIO }, .dead = true);
HW(bad_descriptor, .faults = { "descriptor" }, .errors = { -EIO, -EFAULT }, .dead = true);
HW(lost_interrupt, .faults = { "irq-lost" });
HW(spurious_interrupt, .faults = { "irq-spurious" });
HW(interrupt_storm, .faults = { "irq-storm arg=20" });
HW(slow_reset, .faults = { "hang", "reset-slow arg=200" }, .errors = { -ETIMEDOUT }, .dead = true);
HW(queue_reset_fails, .faults = { "hang", "queue-reset-fail" }, .errors = { -ETIMEDOUT }, .dead = true);
HW(device_reset_fails, .faults = { "hang", "queue-reset-fail", "device-reset-fail" }, .errors = { -ETIMEDOUT },
   .dead = true);
HW(internal_error, .faults = { "fatal" }, .errors = { -ECANCELED, -EIO });
HW(gone, .faults = { "gone" }, .errors = { -ENODEV, -ECANCELED, -EIO, -ETIMEDOUT }, .lost = true);

/* The board numbers its NPUs by address, which is what the device's name begins with. */
static bool find_board(const char *driver, const char *name, char *path, size_t size)
{
	unsigned int number = 0;
	struct dirent *d;
	DIR *dir = opendir(driver);

	while (dir && (d = readdir(dir)))
		number += strstr(d->d_name, ".npu") && strtoull(d->d_name, NULL, 16) < strtoull(name, NULL, 16);
	if (dir)
		closedir(dir);
	snprintf(path, size, "/sys/kernel/debug/npu-board/npu%u", number);
	return dir && !access(path, W_OK);
}

static long board_count(const char *board)
{
	char text[32];

	return read_in(board, "injected", text, sizeof(text)) < 0 ? -1 : atol(text);
}

FIXTURE_SETUP(hw)
{
	int ret = client_open_prio(&self->bad, DRM_NPU_PRIORITY_MEDIUM, HANG_MS);

	self->good.fd = -1;
	self->injected = false;
	if (ret == -ENODEV)
		SKIP(return, "no node of driver npu");
	ASSERT_EQ(0, ret);
	if (geteuid())
		SKIP(return, "not root");
	ASSERT_EQ(0, client_open_prio(&self->good, DRM_NPU_PRIORITY_MEDIUM, 60000));
	ASSERT_TRUE(sysfs_device(self->bad.fd, self->name, sizeof(self->name), self->driver));
	if (!find_board(self->driver, self->name, self->board, sizeof(self->board)))
		SKIP(return, "no fault injector on this board");
}

FIXTURE_TEARDOWN(hw)
{
	if (self->injected)
		write_in(self->board, "inject", "clear");
	client_close(&self->bad);
	client_close(&self->good);
}

static bool expected(int error, const int *errors, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++) {
		if (error == errors[i])
			return true;
	}
	return false;
}

/* The job that meets the fault ends as it must; then the device works, if need be after binding it again. */
TEST_F_TIMEOUT(hw, fault, 120)
{
	struct client *bad = &self->bad;
	struct stream s = client_stream(bad);
	int sync = syncobj_create(bad->fd, false), error, i;
	long before = board_count(self->board);
	struct drm_npu_queue_get_state st;

	stream_store(&s, bad->va + CLIENT_DATA, 99);
	stream_end(&s);
	self->injected = true;
	for (i = 0; i < MAX_FAULTS && variant->faults[i]; i++)
		ASSERT_EQ(0, write_in(self->board, "inject", variant->faults[i]));

	ASSERT_EQ(0, client_submit(bad, s.size, sync));
	ASSERT_EQ(0, syncobj_wait(bad->fd, sync, now_ns() + LONG_WAIT));
	EXPECT_GT(board_count(self->board), before);
	error = syncobj_error(bad->fd, sync);
	EXPECT_TRUE(expected(error, variant->errors, ARRAY_LEN(variant->errors))) {
		TH_LOG("it ended with %d", error);
	}
	if (!error)
		EXPECT_EQ(99, client_data(bad)[0]);
	ASSERT_EQ(0, queue_state(bad->fd, bad->queue, &st));
	if (variant->dead)
		EXPECT_TRUE(st.state == DRM_NPU_QUEUE_FAULT || st.state == DRM_NPU_QUEUE_TIMEOUT);

	ASSERT_EQ(0, write_in(self->board, "inject", "clear"));
	if (variant->lost && client_ping(&self->good, 0, 1)) {
		client_close(&self->good);
		client_close(bad);
		ASSERT_EQ(0, write_in(self->driver, "unbind", self->name));
		ASSERT_EQ(0, write_in(self->driver, "bind", self->name));
		ASSERT_TRUE(use_node_of(self->name));
		ASSERT_EQ(0, client_open(&self->good));
	}
	for (i = 0; i < 3; i++)
		EXPECT_EQ(0, client_ping(&self->good, i, 100 + i));
}

TEST_HARNESS_MAIN
