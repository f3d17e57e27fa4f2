// SPDX-License-Identifier: GPL-2.0-only
/*
 * Soak: mixed clients for a chosen time; at the end nothing may have leaked and latency must not have drifted.
 *
 *   npu_soak [-s SECONDS] [-o CSV] [-c COMMAND]... [-p] [-L KIND]
 *     -o  samples ("-": standard output): seconds, latency_us (median of 51 jobs), slab_kb, available_kb, and
 *         how often so far: jobs, hangs, kills, suspends, commands
 *     -c  run this shell command again and again beside the rest (e.g. text generation); it must succeed
 *     -p  suspend the system (pm_test) now and then; root
 *     -L  leave something behind, which must make the soak fail: object, fence, memory or power
 */
#define _GNU_SOURCE
#include "npu_test.h"

#include <getopt.h>
#include <glob.h>
#include <sys/prctl.h>

#define SAMPLE_S	5
#define MAX_COMMANDS	4

/* Programs that share the device; the first ones are killed now and then. */
enum { CLIENT_JOBS, CLIENT_BAD = 3, CLIENT_PRESSURE, CLIENT_SUSPEND, CLIENT_COMMAND,
       CLIENTS = CLIENT_COMMAND + MAX_COMMANDS };

enum { JOBS, HANGS, KILLS, SUSPENDS, COMMANDS, SUSPENDS_FAILED, COMMANDS_FAILED, COUNTS };

static volatile uint64_t *counts;	/* shared by all processes */

static struct {
	unsigned int seconds;
	const char *commands[MAX_COMMANDS];
	unsigned int ncommands;
	bool suspend;
	const char *leak;
} opts = { .seconds = 60 };

static void count(unsigned int what)
{
	__sync_fetch_and_add(&counts[what], 1);
}

/* ---- Clients --------------------------------------------------------------------------- */

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
		count(JOBS);
	}
}

/* A program with an endless loop, stopped after 10 ms of device time, or with a wild address. */
static void client_bad(unsigned int seed)
{
	struct client c;
	unsigned int i;

	for (i = seed;; i++) {
		struct stream s;

		if (client_open_prio(&c, 1, 10))
			_exit(1);
		s = client_stream(&c);
		if (i % 2)
			stream_spin(&s);
		else
			stream_store(&s, 0x10, 1);
		stream_end(&s);
		client_run(&c, s.size);
		client_close(&c);
		count(HANGS);
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
		int status = system(command);

		count(COMMANDS);
		if (status) {
			printf("# exit status %d of: %s\n", WIFEXITED(status) ? WEXITSTATUS(status) : -1, command);
			fflush(stdout);
			count(COMMANDS_FAILED);
			sleep(1);
		}
	}
}

static void client_suspend(void)
{
	/* How long the system stays suspended, instead of 5 seconds. */
	write_file("/sys/module/suspend/parameters/pm_test_delay", "1");
	for (;;) {
		int ret;

		sleep(7);
		ret = write_file("/sys/power/pm_test", "devices") ?: write_file("/sys/power/state", "freeze");
		write_file("/sys/power/pm_test", "none");
		if (ret) {
			printf("# suspend: %s\n", strerror(-ret));
			fflush(stdout);
		}
		count(ret ? SUSPENDS_FAILED : SUSPENDS);
	}
}

/* In a group of its own, so that what it starts ends with it. 0: there is no such client. */
static pid_t spawn(unsigned int i, unsigned int seed)
{
	pid_t pid;

	if ((i == CLIENT_SUSPEND && !opts.suspend) || i >= CLIENT_COMMAND + opts.ncommands)
		return 0;
	pid = fork();
	if (pid) {
		setpgid(pid, pid);
		return pid;
	}
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	switch (i) {
	case CLIENT_BAD: client_bad(seed); break;
	case CLIENT_PRESSURE: client_pressure(); break;
	case CLIENT_SUSPEND: client_suspend(); break;
	default:
		if (i >= CLIENT_COMMAND)
			client_command(opts.commands[i - CLIENT_COMMAND]);
		client_jobs(seed);
	}
	_exit(0);
}

/* ---- Something that is not given back, to see that it is found --------------------------- */

static void leave_fences(struct client *c)
{
	int i;

	/* A sync file per job holds its fence. */
	for (i = 0; i < 1000; i++) {
		struct drm_syncobj_handle h = {
			.flags = DRM_SYNCOBJ_HANDLE_TO_FD_FLAGS_EXPORT_SYNC_FILE, .fd = -1,
		};
		struct stream s = client_stream(c);

		h.handle = syncobj_create(c->fd, false);
		stream_end(&s);
		if (client_submit(c, s.size, h.handle) || npu_ioctl(c->fd, DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD, &h))
			_exit(1);
		syncobj_destroy(c->fd, h.handle);
	}
	client_close(c);
}

static void leave_behind(const char *kind)
{
	struct stream s;
	struct client c;
	void *p;

	if (fork())
		return;
	setpgid(0, 0);
	if (client_open_prio(&c, 0, 60000))
		_exit(1);
	if (!strcmp(kind, "fence")) {
		leave_fences(&c);
	} else if (!strcmp(kind, "memory")) {
		client_close(&c);
		p = mmap(NULL, 64 * MIB, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
		if (p == MAP_FAILED)
			_exit(1);
	} else if (!strcmp(kind, "power")) {
		s = client_stream(&c);
		stream_spin(&s);
		client_submit(&c, s.size, 0);
	}
	for (;;)
		pause();
}

/* ---- What a quiet system looks like ------------------------------------------------------ */

struct rest {
	int64_t latency;			/* us, of the fastest of many jobs */
	long slab, available;			/* kB */
	long fences;
	struct objects objects;
	bool asleep;
};

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

#define SAMPLES	51

/* In microseconds, of 51 jobs the one with @rank from the fastest on; or -errno. */
static int64_t latency_us(struct client *c, unsigned int rank)
{
	int64_t t[SAMPLES];
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(t); i++) {
		int64_t begin = now_ns();
		int ret = client_ping(c, 0, i);

		if (ret)
			return ret;
		t[i] = now_ns() - begin;
	}
	qsort(t, ARRAY_LEN(t), sizeof(t[0]), compare);
	return t[rank] / 1000;
}

/* The host of a virtual board may be busy with something else: the fastest job says most. */
static int64_t least_latency_us(struct client *c)
{
	int64_t best = -1, us;
	unsigned int i;

	for (i = 0; i < 15; i++) {
		us = latency_us(c, 0);
		if (us < 0)
			return us;
		if (best < 0 || us < best)
			best = us;
	}
	return best;
}

/* Give back what caches keep: then what is there is in use. */
static void shrink_caches(void)
{
	glob_t g;
	size_t i;

	sync();
	write_file("/proc/sys/vm/drop_caches", "3");
	if (glob("/sys/kernel/slab/*/shrink", 0, NULL, &g))
		return;
	for (i = 0; i < g.gl_pathc; i++)
		write_file(g.gl_pathv[i], "1");
	globfree(&g);
}

static void measure_rest(struct client *c, struct rest *r)
{
	char folder[128], text[32];
	unsigned int i;

	/* Dead clients' objects go behind their backs. */
	sleep(2);
	r->latency = least_latency_us(c);
	sysfs_folder(c->fd, folder, sizeof(folder));
	/* Without runtime PM there is nothing to see. */
	r->asleep = read_in(folder, "power/runtime_status", text, sizeof(text)) < 0 ||
		    runtime_status(folder, "suspended", 5000);
	r->objects = count_objects(c->fd);
	/* Twice: what the first round frees may hold more. */
	for (i = 0; i < 2; i++) {
		shrink_caches();
		sleep(1);
	}
	r->fences = read_file("/sys/kernel/slab/drm_sched_fence/objects", text, sizeof(text)) < 0 ? 0 : atol(text);
	r->slab = meminfo("SUnreclaim:");
	r->available = meminfo("MemAvailable:");
}

static void print_rest(const char *when, const struct rest *r)
{
	printf("# at rest %s: latency %lld us, slab %ld kB, available %ld kB, %ld objects in the fences' cache, ",
	       when, (long long)r->latency, r->slab, r->available, r->fences);
	printf("%u VMs, %u queues, %u buffers, device %s\n", r->objects.vms, r->objects.queues, r->objects.buffers,
	       r->asleep ? "asleep" : "awake");
}

static bool check(bool good, const char *what)
{
	if (!good)
		printf("# %s\n", what);
	return good;
}

static bool judge(const struct rest *before, const struct rest *after)
{
	bool good = true;

	print_rest("before", before);
	print_rest("after", after);
	good &= check(before->latency >= 0 && after->latency >= 0, "the device does not work");
	good &= check(after->latency <= before->latency * 3 / 2 + 100, "latency drifted");
	/* What the kernel keeps of its own accord, tasks' and files' remains, is the noise. */
	good &= check(after->slab <= before->slab + 4096 + before->slab / 20, "slab memory grew");
	good &= check(after->available >= before->available - 16384 - before->available / 100,
		      "free memory shrank");
	good &= check(after->fences <= before->fences + 100, "fences leaked");
	good &= check(!memcmp(&after->objects, &before->objects, sizeof(after->objects)), "objects leaked");
	good &= check(before->asleep && after->asleep, "power references leaked: the device does not sleep");
	good &= check(counts[JOBS], "no job ran");
	good &= check(!opts.suspend || counts[SUSPENDS] > 9 * counts[SUSPENDS_FAILED], "suspending failed");
	good &= check(!counts[COMMANDS_FAILED], "commands failed");
	return good;
}

/* ---- The soak ----------------------------------------------------------------------------- */

/* Start the clients that are not there. False: one saw wrong data. */
static bool tend(pid_t *pid, unsigned int *seed)
{
	bool good = true;
	unsigned int i;
	int status;

	for (i = 0; i < CLIENTS; i++) {
		if (pid[i] > 0 && waitpid(pid[i], &status, WNOHANG) == pid[i]) {
			good &= check(!WIFEXITED(status) || WEXITSTATUS(status) != 3, "a client saw wrong data");
			pid[i] = 0;
		}
		if (pid[i] <= 0)
			pid[i] = spawn(i, (*seed)++);
	}
	return good;
}

static void sample(FILE *out, unsigned int seconds, int64_t latency)
{
	unsigned int i;

	fprintf(out, "%u,%lld,%ld,%ld", seconds, (long long)latency, meminfo("SUnreclaim:"), meminfo("MemAvailable:"));
	for (i = 0; i <= COMMANDS; i++)
		fprintf(out, ",%llu", (unsigned long long)counts[i]);
	fprintf(out, "\n");
	fflush(out);
}

/* Clients for @seconds; then none. False: something was wrong. */
static bool soak(struct client *probe, unsigned int seconds, FILE *out)
{
	static unsigned int seed = 1;
	int64_t begin = now_ns(), next = begin, latency;
	pid_t pid[CLIENTS] = { 0 };
	bool good = true;
	unsigned int i;

	while (good && now_ns() < begin + seconds * SEC) {
		good = tend(pid, &seed);
		next += SAMPLE_S * SEC;
		while (now_ns() < next)
			usleep(100000);
		/* One of the working clients dies in the middle of something. */
		i = seed++ % CLIENT_BAD;
		if (pid[i] > 0) {
			kill(pid[i], SIGKILL);
			count(KILLS);
		}
		latency = latency_us(probe, SAMPLES / 2);
		if (latency < 0) {
			client_close(probe);
			good &= check(!client_open_prio(probe, DRM_NPU_PRIORITY_HIGH, 0), "the device is lost");
		}
		if (out)
			sample(out, (now_ns() - begin) / SEC, latency);
	}
	for (i = 0; i < CLIENTS; i++) {
		if (pid[i] > 0) {
			kill(-pid[i], SIGKILL);
			waitpid(pid[i], NULL, 0);
		}
	}
	/* Killed in the middle of it. */
	write_file("/sys/power/pm_test", "none");
	return good;
}

static void usage(int status)
{
	fprintf(stderr, "usage: npu_soak [-s SECONDS] [-o CSV] [-c COMMAND]... [-p] [-L object|fence|memory|power]\n");
	exit(status);
}

int main(int argc, char **argv)
{
	const char *csv = NULL;
	struct rest before, after;
	struct client probe;
	FILE *out = NULL;
	bool good;
	int opt, ret;

	while ((opt = getopt(argc, argv, "s:o:c:pL:h")) != -1) {
		switch (opt) {
		case 's': opts.seconds = atoi(optarg); break;
		case 'o': csv = optarg; break;
		case 'c':
			if (opts.ncommands == MAX_COMMANDS)
				usage(2);
			opts.commands[opts.ncommands++] = optarg;
			break;
		case 'p': opts.suspend = true; break;
		case 'L': opts.leak = optarg; break;
		default: usage(opt == 'h' ? 0 : 2);
		}
	}
	printf("TAP version 13\n1..1\n");
	ret = client_open_prio(&probe, DRM_NPU_PRIORITY_HIGH, 0);
	if (ret == -ENODEV) {
		printf("ok 1 npu_soak # SKIP no node of driver npu\n");
		return 4;
	}
	if (csv)
		out = strcmp(csv, "-") ? fopen(csv, "w") : stdout;
	counts = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (ret || counts == MAP_FAILED || (csv && !out)) {
		printf("not ok 1 npu_soak: cannot start (%d)\n", ret);
		return 1;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (out)
		fprintf(out, "seconds,latency_us,slab_kb,available_kb,jobs,hangs,kills,suspends,commands\n");

	/* Everything once before the first look: what grows at first use is no leak. */
	good = soak(&probe, opts.seconds < 150 ? opts.seconds / 5 : 30, NULL);
	measure_rest(&probe, &before);
	good = good && soak(&probe, opts.seconds, out);
	if (opts.leak)
		leave_behind(opts.leak);
	measure_rest(&probe, &after);
	printf("# %llu jobs, %llu hangs and faults, %llu kills, %llu suspends (%llu failed), %llu commands (%llu failed)\n",
	       (unsigned long long)counts[JOBS], (unsigned long long)counts[HANGS], (unsigned long long)counts[KILLS],
	       (unsigned long long)counts[SUSPENDS], (unsigned long long)counts[SUSPENDS_FAILED],
	       (unsigned long long)counts[COMMANDS], (unsigned long long)counts[COMMANDS_FAILED]);
	good &= judge(&before, &after);
	printf("%sok 1 npu_soak: %u s\n", good ? "" : "not ", opts.seconds);
	return !good;
}
