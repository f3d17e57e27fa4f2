// SPDX-License-Identifier: GPL-2.0-only
/* Runtime PM and system suspend, also with work in flight. Needs root and sysfs. */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "npu_test.h"

FIXTURE(power) {
	struct client c;
	char dev[256];		/* sysfs folder of the device */
};

FIXTURE_SETUP(power)
{
	int ret = client_open(&self->c);

	if (ret == -ENODEV)
		SKIP(return, "no node of driver npu");
	ASSERT_EQ(0, ret);
	ASSERT_TRUE(sysfs_folder(self->c.fd, self->dev, sizeof(self->dev)));
}

FIXTURE_TEARDOWN(power)
{
	client_close(&self->c);
}

TEST_F_TIMEOUT(power, sleeps_when_idle_and_wakes_for_work, 60)
{
	int i;

	for (i = 0; i < 5; i++) {
		ASSERT_EQ(0, client_ping(&self->c, i, 100 + i));
		if (i == 0 && !runtime_status(self->dev, "suspended", 5000)) {
			char text[32];

			if (read_in(self->dev, "power/control", text, sizeof(text)) < 0)
				SKIP(return, "no runtime PM in this kernel");
			ASSERT_STREQ("auto\n", text);
			TH_LOG("still not suspended");
			ASSERT_TRUE(false);
		}
		EXPECT_TRUE(runtime_status(self->dev, "suspended", 5000));
	}
}

TEST_F_TIMEOUT(power, stays_up_while_working, 60)
{
	struct stream s = client_stream(&self->c);
	int sync = syncobj_create(self->c.fd, false);

	stream_loop(&s, 5000000);
	stream_end(&s);
	ASSERT_EQ(0, client_submit(&self->c, s.size, sync));
	while (syncobj_wait(self->c.fd, sync, 0)) {
		char text[32];

		if (read_in(self->dev, "power/runtime_status", text, sizeof(text)) < 0)
			SKIP(return, "no runtime PM in this kernel");
		/* It may have ended between the two looks. */
		if (syncobj_wait(self->c.fd, sync, 0))
			EXPECT_STREQ("active\n", text);
		usleep(5000);
	}
}

/* s2idle that the RTC ends, or a pm_test level that needs no wake-up source. */
static const char *suspend_once(void)
{
	char text[256];

	if (geteuid())
		return "not root";
	if (read_file("/sys/power/state", text, sizeof(text)) < 0 || !strstr(text, "freeze"))
		return "no s2idle in this kernel";
	if (write_file("/sys/power/pm_test", "devices"))
		return "no pm_test (CONFIG_PM_DEBUG)";
	if (write_file("/sys/power/state", "freeze"))
		return "failed";
	write_file("/sys/power/pm_test", "none");
	return NULL;
}

TEST_F_TIMEOUT(power, system_suspend_idle, 60)
{
	const char *why;

	ASSERT_EQ(0, client_ping(&self->c, 0, 1));
	why = suspend_once();
	if (why && strcmp(why, "failed"))
		SKIP(return, "%s", why);
	ASSERT_EQ(NULL, why);
	EXPECT_EQ(0, client_ping(&self->c, 0, 2));
}

TEST_F_TIMEOUT(power, system_suspend_with_work_in_flight, 120)
{
	struct client *c = &self->c;
	struct stream s = client_stream(c);
	int sync[8], i;
	const char *why;

	stream_loop(&s, 3000000);
	stream_store(&s, c->va + CLIENT_DATA, 0x600d);
	stream_end(&s);
	client_data(c)[0] = 0;
	for (i = 0; i < 8; i++) {
		sync[i] = syncobj_create(c->fd, false);
		ASSERT_EQ(0, client_submit(c, s.size, sync[i]));
	}
	why = suspend_once();
	if (why && strcmp(why, "failed"))
		SKIP(return, "%s", why);
	ASSERT_EQ(NULL, why);
	for (i = 0; i < 8; i++) {
		ASSERT_EQ(0, syncobj_wait(c->fd, sync[i], now_ns() + LONG_WAIT));
		EXPECT_EQ(0, syncobj_error(c->fd, sync[i]));
	}
	EXPECT_EQ(0x600d, client_data(c)[0]);
}

TEST_F(power, fdinfo_counts_engine_time)
{
	char path[64], text[4096], *p;
	unsigned long long ns = 0;

	ASSERT_EQ(0, client_ping(&self->c, 0, 1));
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", self->c.fd);
	FILE *f = fopen(path, "r");

	ASSERT_NE(NULL, f);
	text[fread(text, 1, sizeof(text) - 1, f)] = 0;
	fclose(f);
	EXPECT_NE(NULL, strstr(text, "drm-driver:\tnpu"));
	p = strstr(text, "drm-engine-");
	ASSERT_NE(NULL, p);
	ASSERT_EQ(1, sscanf(strchr(p, ':') + 1, "%llu", &ns));
	EXPECT_GT(ns, 0);
	EXPECT_NE(NULL, strstr(text, "drm-total-memory"));
	EXPECT_NE(NULL, strstr(text, "drm-client-id"));
}

TEST_HARNESS_MAIN
