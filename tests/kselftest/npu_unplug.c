// SPDX-License-Identifier: GPL-2.0-only
/* Unbind and rebind through sysfs, with files open, mappings alive and jobs in flight. Root only. */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "npu_test.h"

FIXTURE(unplug) {
	struct client c;
	char driver[PATH_MAX];	/* sysfs folder of the driver */
	char name[256];		/* of the device */
	bool unbound;
};

FIXTURE_SETUP(unplug)
{
	int ret = client_open(&self->c);

	self->unbound = false;
	if (ret == -ENODEV)
		SKIP(return, "no node of driver npu");
	ASSERT_EQ(0, ret);
	if (geteuid())
		SKIP(return, "not root: cannot unbind");
	ASSERT_TRUE(sysfs_device(self->c.fd, self->name, sizeof(self->name), self->driver));
}

FIXTURE_TEARDOWN(unplug)
{
	client_close(&self->c);
	if (self->unbound)
		write_in(self->driver, "bind", self->name);
}

#define UNBIND() do { self->unbound = true; ASSERT_EQ(0, write_in(self->driver, "unbind", self->name)); } while (0)

TEST_F_TIMEOUT(unplug, open_file, 60)
{
	struct drm_npu_queue_get_state st;
	struct client again;

	ASSERT_EQ(0, client_ping(&self->c, 0, 1));
	UNBIND();
	EXPECT_EQ(-ENODEV, vm_create(self->c.fd));
	EXPECT_EQ(-ENODEV, bo_create(self->c.fd, PAGE, 0, 0));
	EXPECT_EQ(-ENODEV, client_submit(&self->c, 80, 0));
	EXPECT_EQ(-ENODEV, queue_state(self->c.fd, self->c.queue, &st));
	/* What was mapped stays mapped: no SIGBUS. */
	EXPECT_EQ(1, client_data(&self->c)[0]);
	client_data(&self->c)[0] = 2;
	client_close(&self->c);
	ASSERT_EQ(0, write_in(self->driver, "bind", self->name));
	self->unbound = false;
	ASSERT_TRUE(use_node_of(self->name));
	ASSERT_EQ(0, client_open(&again));
	EXPECT_EQ(0, client_ping(&again, 0, 3));
	client_close(&again);
}

TEST_F_TIMEOUT(unplug, jobs_in_flight, 60)
{
	enum { N = 20 };
	struct client *c = &self->c;
	struct stream s = client_stream(c);
	int files[N], i;

	stream_loop(&s, 2000000);
	stream_end(&s);
	for (i = 0; i < N; i++) {
		struct drm_syncobj_handle h = { .flags = DRM_SYNCOBJ_HANDLE_TO_FD_FLAGS_EXPORT_SYNC_FILE };

		h.handle = syncobj_create(c->fd, false);
		ASSERT_EQ(0, client_submit(c, s.size, h.handle));
		ASSERT_EQ(0, npu_ioctl(c->fd, DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD, &h));
		files[i] = h.fd;
	}
	UNBIND();
	for (i = 0; i < N; i++) {
		struct pollfd p = { .fd = files[i], .events = POLLIN };

		/* Every fence is signalled, with an error or because it was done in time. */
		EXPECT_EQ(1, poll(&p, 1, 30000));
		close(files[i]);
	}
	client_close(c);
}

TEST_F_TIMEOUT(unplug, again_and_again_under_load, 120)
{
	int i, status, ready[2];
	char byte = 0;

	client_close(&self->c);
	ASSERT_EQ(0, pipe(ready));
	for (i = 0; i < 8; i++) {
		pid_t pid;

		ASSERT_TRUE(use_node_of(self->name));
		pid = fork();
		ASSERT_GE(pid, 0);
		if (!pid) {
			struct client c;
			struct stream s;

			/* From here on the device may go. */
			if (client_open(&c) || write(ready[1], &byte, 1) != 1)
				_exit(1);
			close(ready[1]);
			for (;;) {
				s = client_stream(&c);
				stream_loop(&s, 10000);
				stream_end(&s);
				if (client_run(&c, s.size) == -ENODEV || client_submit(&c, s.size, 0) == -ENODEV)
					_exit(0);
			}
		}
		ASSERT_EQ(1, read(ready[0], &byte, 1));
		usleep(i * 10000);
		UNBIND();
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_TRUE(WIFEXITED(status));
		EXPECT_EQ(0, WEXITSTATUS(status));
		ASSERT_EQ(0, write_in(self->driver, "bind", self->name));
		self->unbound = false;
	}
}

TEST_HARNESS_MAIN
