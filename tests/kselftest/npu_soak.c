// SPDX-License-Identifier: GPL-2.0-only
/*
 * Soak: mixed clients for a chosen time; at the end nothing may have leaked and latency must not have drifted.
 *
 *   npu_soak [-s SECONDS] [-o CSV] [-c COMMAND] [-p]
 *     -o  samples: seconds, latency_us (median of 51 jobs), slab_kb, available_kb, jobs, hangs, kills, suspends, commands
 *     -c  run this shell command again and again beside the rest (e.g. text generation)
 *     -p  suspend the system (pm_test) now and then; root
 */
#define _GNU_SOURCE
#include "npu_test.h"

#include <getopt.h>
#include <sys/prctl.h>
#include <sys/sysmacros.h>

#define SAMPLE_S	5

enum { JOBS, HANGS, KILLS, SUSPENDS, COMMANDS, COUNTS };

static volatile uint64_t *counts;	/* shared by all processes */

static void die_with_parent(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/* Many small jobs, fresh buffers and mappings now and then. */
static void client_jobs(unsigned int seed)
{
	struct client c;
	unsigned int i;

	srand(seed);
	if (client_open_prio(&c, seed % 3, 0))
		_exit(1);
	for (i = 0;; i++) {
		struct stream s = client_stream(&c);
		uint64_t va = c.va + 8 * MIB + (rand() % 64) * 16 * PAGE;
		int bo;

		if (i % 16 == 0) {
			bo = bo_create(c.fd, (1 + rand() % 16) * PAGE, rand() % 2, rand() % 2 ? c.vm : 0);
			if (bo > 0) {
				vm_map(c.fd, c.vm, bo, 0, va, PAGE);
				bo_close(c.fd, bo);
			}
			if (rand() % 3 == 0)
				vm_unmap(c.fd, c.vm, c.va + 8 * MIB, 64 * 16 * PAGE);
		}
		stream_loop(&s, 1 + rand() % 20000);
		stream_store(&s, c.va + CLIENT_DATA, i);
		stream_end(&s);
		if (client_run(&c, s.size)) {
			client_close(&c);
			if (client_open_prio(&c, seed % 3, 0))
				_exit(1);
			continue;
		}
		if (client_data(&c)[0] != i)
			_exit(3);
		__sync_fetch_and_add(&counts[JOBS], 1);
	}
}

/* A program with an endless loop, or with a wild address. */
static void client_bad(unsigned int seed)
{
	struct client c;
	unsigned int i;

	for (i = seed;; i++) {
		struct stream s;

		if (client_open_prio(&c, 1, 100))
			_exit(1);
		s = client_stream(&c);
		if (i % 2)
			stream_spin(&s);
		else
			stream_store(&s, 0x10, 1);
		stream_end(&s);
		client_run(&c, s.size);
		client_close(&c);
		__sync_fetch_and_add(&counts[HANGS], 1);
		usleep(300000);
	}
}

/* Touches much memory and gives it back. */
static void client_pressure(void)
{
	long pages = sysconf(_SC_AVPHYS_PAGES) / 3;

	for (;;) {
		uint8_t *p = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		long i;

		for (i = 0; p != MAP_FAILED && i < pages; i++)
			p[i * PAGE] = 1;
		usleep(500000);
		if (p != MAP_FAILED)
			munmap(p, pages * PAGE);
		sleep(3);
	}
}

static void client_command(const char *command)
{
	for (;;) {
		if (system(command))
			sleep(1);
		__sync_fetch_and_add(&counts[COMMANDS], 1);
	}
}

static bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) > 0;

	if (fd >= 0)
		close(fd);
	return ok;
}

static void client_suspend(void)
{
	for (;;) {
		sleep(7);
		if (write_file("/sys/power/pm_test", "devices") && write_file("/sys/power/state", "freeze"))
			__sync_fetch_and_add(&counts[SUSPENDS], 1);
		write_file("/sys/power/pm_test", "none");
	}
}

static long meminfo(const char *key)
{
	char line[128];
	long kb = -1;
	FILE *f = fopen("/proc/meminfo", "r");

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, key, strlen(key)))
			kb = atol(line + strlen(key));
	if (f)
		fclose(f);
	return kb;
}

static int compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

/* Median of 51 jobs in microseconds, or -errno. */
static int64_t latency_us(struct client *c)
{
	int64_t t[51];
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(t); i++) {
		int64_t begin = now_ns();
		int ret = client_ping(c, 0, i);

		if (ret)
			return ret;
		t[i] = now_ns() - begin;
	}
	qsort(t, ARRAY_LEN(t), sizeof(t[0]), compare);
	return t[ARRAY_LEN(t) / 2] / 1000;
}

static long runtime_usage(int fd)
{
	char path[128], text[32] = "";
	struct stat st;
	int f;

	if (fstat(fd, &st))
		return -1;
	snprintf(path, sizeof(path), "/sys/dev/char/%u:%u/device/power/runtime_usage", major(st.st_rdev), minor(st.st_rdev));
	f = open(path, O_RDONLY | O_CLOEXEC);
	if (f < 0)
		return -1;
	if (read(f, text, sizeof(text) - 1) < 0)
		text[0] = 0;
	close(f);
	return atol(text);
}

struct rest {
	int64_t latency;
	long slab, available, usage;
};

/* State of a quiet system. */
static void measure_rest(struct client *c, struct rest *r)
{
	sync();
	write_file("/proc/sys/vm/drop_caches", "3");
	sleep(2);
	r->latency = latency_us(c);
	sleep(1);
	write_file("/proc/sys/vm/drop_caches", "3");
	r->slab = meminfo("SUnreclaim:");
	r->available = meminfo("MemAvailable:");
	r->usage = runtime_usage(c->fd);
}

#define CLIENTS 8

static pid_t spawn(unsigned int i, unsigned int seed, const char *command, bool suspend)
{
	pid_t pid;

	if ((i == 5 && !command) || (i == 6 && !suspend) || i == 7)
		return 0;
	pid = fork();
	if (pid)
		return pid;
	die_with_parent();
	switch (i) {
	case 0: case 1: case 2: client_jobs(seed);
	case 3: client_bad(seed);
	case 4: client_pressure();
	case 5: client_command(command);
	default: client_suspend();
	}
	_exit(0);
}

static int judge(const struct rest *before, const struct rest *after)
{
	int bad = 0;

	printf("# at rest before: latency %lld us, slab %ld kB, available %ld kB, power references %ld\n",
	       (long long)before->latency, before->slab, before->available, before->usage);
	printf("# at rest after:  latency %lld us, slab %ld kB, available %ld kB, power references %ld\n",
	       (long long)after->latency, after->slab, after->available, after->usage);
	if (after->latency < 0 || before->latency < 0) {
		printf("# the device does not work\n");
		bad = 1;
	}
	/* One per cent of memory, and at least 8 MiB, is the noise of caches that do not shrink on request. */
	if (after->slab > before->slab + 8192 + before->slab / 10) {
		printf("# slab memory grew\n");
		bad = 1;
	}
	if (after->available < before->available - 16384 - before->available / 100) {
		printf("# free memory shrank\n");
		bad = 1;
	}
	if (after->usage != before->usage) {
		printf("# power references leaked\n");
		bad = 1;
	}
	return bad;
}

int main(int argc, char **argv)
{
	const char *csv = NULL, *command = NULL;
	unsigned int seconds = 60, seed = 1, i;
	bool suspend = false;
	struct rest before, after;
	struct client probe;
	pid_t pid[CLIENTS] = { 0 };
	int64_t begin, next;
	FILE *out = NULL;
	int opt, ret, status, bad = 0;

	while ((opt = getopt(argc, argv, "s:o:c:ph")) != -1) {
		switch (opt) {
		case 's': seconds = atoi(optarg); break;
		case 'o': csv = optarg; break;
		case 'c': command = optarg; break;
		case 'p': suspend = true; break;
		default:
			fprintf(stderr, "usage: npu_soak [-s SECONDS] [-o CSV] [-c COMMAND] [-p]\n");
			return opt == 'h' ? 0 : 2;
		}
	}
	printf("TAP version 13\n1..1\n");
	ret = client_open_prio(&probe, DRM_NPU_PRIORITY_HIGH, 0);
	if (ret == -ENODEV) {
		printf("ok 1 npu_soak # SKIP no node of driver npu\n");
		return 4;
	}
	if (csv)
		out = fopen(csv, "w");
	counts = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (ret || counts == MAP_FAILED || (csv && !out)) {
		printf("not ok 1 npu_soak: cannot start (%d)\n", ret);
		return 1;
	}
	measure_rest(&probe, &before);
	if (out)
		fprintf(out, "seconds,latency_us,slab_kb,available_kb,jobs,hangs,kills,suspends,commands\n");
	fflush(stdout);
	begin = next = now_ns();
	while (now_ns() < begin + seconds * SEC && !bad) {
		int64_t latency;

		for (i = 0; i < CLIENTS; i++) {
			if (pid[i] > 0 && waitpid(pid[i], &status, WNOHANG) == pid[i]) {
				if (WIFEXITED(status) && WEXITSTATUS(status) == 3) {
					printf("# a client saw wrong data\n");
					bad = 1;
				}
				pid[i] = 0;
			}
			if (pid[i] <= 0)
				pid[i] = spawn(i, seed++, command, suspend);
		}
		next += SAMPLE_S * SEC;
		while (now_ns() < next)
			usleep(100000);
		/* One of the working clients dies in the middle of something. */
		i = seed++ % 3;
		if (pid[i] > 0) {
			kill(pid[i], SIGKILL);
			counts[KILLS]++;
		}
		latency = latency_us(&probe);
		if (latency < 0) {
			client_close(&probe);
			if (client_open_prio(&probe, DRM_NPU_PRIORITY_HIGH, 0)) {
				printf("# the device is lost\n");
				bad = 1;
			}
		}
		if (out) {
			fprintf(out, "%lld,%lld,%ld,%ld", (long long)((now_ns() - begin) / SEC), (long long)latency,
				meminfo("SUnreclaim:"), meminfo("MemAvailable:"));
			for (i = 0; i < COUNTS; i++)
				fprintf(out, ",%llu", (unsigned long long)counts[i]);
			fprintf(out, "\n");
			fflush(out);
		}
	}
	for (i = 0; i < CLIENTS; i++) {
		if (pid[i] > 0) {
			kill(pid[i], SIGKILL);
			waitpid(pid[i], NULL, 0);
		}
	}
	measure_rest(&probe, &after);
	printf("# %llu jobs, %llu hangs and faults, %llu kills, %llu suspends, %llu commands\n",
	       (unsigned long long)counts[JOBS], (unsigned long long)counts[HANGS], (unsigned long long)counts[KILLS],
	       (unsigned long long)counts[SUSPENDS], (unsigned long long)counts[COMMANDS]);
	bad |= judge(&before, &after) || !counts[JOBS];
	printf("%sok 1 npu_soak: %u s\n", bad ? "not " : "", seconds);
	return bad;
}
