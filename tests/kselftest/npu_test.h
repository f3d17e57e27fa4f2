/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Common parts of the OpenNPU kselftests: node, ioctls, buffers, streams.
 *
 * Only libc and uapi headers are used, so that a static build runs on any board.
 * NPU_NODE in the environment names the node; otherwise the first one whose
 * driver is "npu" is taken.
 */
#ifndef NPU_TEST_H
#define NPU_TEST_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "npu_accel.h"
#include "npu_isa.h"
#include "npu_regs.h"

#define ARRAY_LEN(a)	(sizeof(a) / sizeof((a)[0]))
#define PAGE		4096ull
#define MIB		(1024ull * 1024)
#define SEC		1000000000ll

/* Longest that any test waits for work that must end. */
#define LONG_WAIT	(60 * SEC)

/* 0 or -errno; restarts as libdrm does. */
static inline int npu_ioctl(int fd, unsigned long req, void *arg)
{
	int ret;

	do {
		ret = ioctl(fd, req, arg);
	} while (ret < 0 && (errno == EINTR || errno == EAGAIN));
	return ret < 0 ? -errno : ret;
}

static inline int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * SEC + ts.tv_nsec;
}

static inline bool npu_node_is_ours(int fd)
{
	char name[16] = "";
	struct drm_version v = { .name = name, .name_len = sizeof(name) - 1 };

	return !npu_ioctl(fd, DRM_IOCTL_VERSION, &v) && !strcmp(name, "npu");
}

/* Path of the @nth node of the driver; false if there are not so many. */
static inline bool npu_node_path(unsigned int nth, char *path, size_t size)
{
	static const char * const dirs[] = { "/dev/accel/accel", "/dev/dri/renderD" };
	unsigned int d, i;

	for (d = 0; d < ARRAY_LEN(dirs); d++) {
		for (i = 0; i < 192; i++) {
			int fd;

			snprintf(path, size, "%s%u", dirs[d], i);
			fd = open(path, O_RDWR | O_CLOEXEC);
			if (fd < 0)
				continue;
			if (npu_node_is_ours(fd) && nth-- == 0) {
				close(fd);
				return true;
			}
			close(fd);
		}
	}
	return false;
}

/* A new file on the node, or -errno. */
static inline int npu_open(void)
{
	const char *env = getenv("NPU_NODE");
	char path[128];
	int fd;

	if (env)
		snprintf(path, sizeof(path), "%s", env);
	else if (!npu_node_path(0, path, sizeof(path)))
		return -ENODEV;
	fd = open(path, O_RDWR | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* ---- Objects: a positive id or handle, or -errno ----------------------------- */

static inline int vm_create(int fd)
{
	struct drm_npu_vm_create a = { 0 };
	int ret = npu_ioctl(fd, DRM_IOCTL_NPU_VM_CREATE, &a);

	return ret ?: (int)a.id;
}

static inline int vm_destroy(int fd, uint32_t id)
{
	struct drm_npu_vm_destroy a = { .id = id };

	return npu_ioctl(fd, DRM_IOCTL_NPU_VM_DESTROY, &a);
}

static inline int bo_create(int fd, uint64_t size, uint32_t flags, uint32_t vm)
{
	struct drm_npu_bo_create a = { .size = size, .flags = flags, .exclusive_vm_id = vm };
	int ret = npu_ioctl(fd, DRM_IOCTL_NPU_BO_CREATE, &a);

	return ret ?: (int)a.handle;
}

static inline int bo_close(int fd, uint32_t handle)
{
	struct drm_gem_close a = { .handle = handle };

	return npu_ioctl(fd, DRM_IOCTL_GEM_CLOSE, &a);
}

static inline void *bo_map(int fd, uint32_t handle, uint64_t size)
{
	struct drm_npu_bo_mmap_offset a = { .handle = handle };
	void *p;

	if (npu_ioctl(fd, DRM_IOCTL_NPU_BO_MMAP_OFFSET, &a))
		return NULL;
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, a.offset);
	return p == MAP_FAILED ? NULL : p;
}

static inline int bo_wait(int fd, uint32_t handle, int64_t timeout_abs)
{
	struct drm_npu_bo_wait a = { .handle = handle, .timeout_ns = timeout_abs };

	return npu_ioctl(fd, DRM_IOCTL_NPU_BO_WAIT, &a);
}

static inline int vm_bind(int fd, uint32_t vm, uint32_t flags, struct drm_npu_vm_bind_op *ops, uint32_t n)
{
	struct drm_npu_vm_bind a = {
		.vm_id = vm,
		.flags = flags,
		.ops = { .stride = sizeof(*ops), .count = n, .array = (uintptr_t)ops },
	};

	return npu_ioctl(fd, DRM_IOCTL_NPU_VM_BIND, &a);
}

static inline int vm_map(int fd, uint32_t vm, uint32_t bo, uint64_t off, uint64_t va, uint64_t size)
{
	struct drm_npu_vm_bind_op op = {
		.type = DRM_NPU_VM_BIND_MAP, .bo_handle = bo, .bo_offset = off, .va = va, .size = size,
	};

	return vm_bind(fd, vm, 0, &op, 1);
}

static inline int vm_unmap(int fd, uint32_t vm, uint64_t va, uint64_t size)
{
	struct drm_npu_vm_bind_op op = { .type = DRM_NPU_VM_BIND_UNMAP, .va = va, .size = size };

	return vm_bind(fd, vm, 0, &op, 1);
}

static inline int queue_create(int fd, uint32_t vm, uint32_t priority, uint32_t timeout_ms)
{
	struct drm_npu_queue_create a = { .vm_id = vm, .priority = priority, .timeout_ms = timeout_ms };
	int ret = npu_ioctl(fd, DRM_IOCTL_NPU_QUEUE_CREATE, &a);

	return ret ?: (int)a.id;
}

static inline int queue_destroy(int fd, uint32_t id)
{
	struct drm_npu_queue_destroy a = { .id = id };

	return npu_ioctl(fd, DRM_IOCTL_NPU_QUEUE_DESTROY, &a);
}

static inline int queue_state(int fd, uint32_t id, struct drm_npu_queue_get_state *st)
{
	memset(st, 0, sizeof(*st));
	st->id = id;
	return npu_ioctl(fd, DRM_IOCTL_NPU_QUEUE_GET_STATE, st);
}

static inline int submit(int fd, uint32_t queue, struct drm_npu_job *jobs, uint32_t n)
{
	struct drm_npu_submit a = {
		.queue_id = queue,
		.jobs = { .stride = sizeof(*jobs), .count = n, .array = (uintptr_t)jobs },
	};

	return npu_ioctl(fd, DRM_IOCTL_NPU_SUBMIT, &a);
}

/* ---- Syncobjs ------------------------------------------------------------------- */

static inline int syncobj_create(int fd, bool signaled)
{
	struct drm_syncobj_create a = { .flags = signaled ? DRM_SYNCOBJ_CREATE_SIGNALED : 0 };
	int ret = npu_ioctl(fd, DRM_IOCTL_SYNCOBJ_CREATE, &a);

	return ret ?: (int)a.handle;
}

static inline int syncobj_destroy(int fd, uint32_t handle)
{
	struct drm_syncobj_destroy a = { .handle = handle };

	return npu_ioctl(fd, DRM_IOCTL_SYNCOBJ_DESTROY, &a);
}

static inline int syncobj_wait(int fd, uint32_t handle, int64_t timeout_abs)
{
	struct drm_syncobj_wait a = {
		.handles = (uintptr_t)&handle, .count_handles = 1, .timeout_nsec = timeout_abs,
	};

	return npu_ioctl(fd, DRM_IOCTL_SYNCOBJ_WAIT, &a);
}

static inline int timeline_wait(int fd, uint32_t handle, uint64_t point, int64_t timeout_abs)
{
	struct drm_syncobj_timeline_wait a = {
		.handles = (uintptr_t)&handle, .points = (uintptr_t)&point, .count_handles = 1,
		.timeout_nsec = timeout_abs, .flags = DRM_SYNCOBJ_WAIT_FLAGS_WAIT_FOR_SUBMIT,
	};

	return npu_ioctl(fd, DRM_IOCTL_SYNCOBJ_TIMELINE_WAIT, &a);
}

static inline int timeline_signal(int fd, uint32_t handle, uint64_t point)
{
	struct drm_syncobj_timeline_array a = {
		.handles = (uintptr_t)&handle, .points = (uintptr_t)&point, .count_handles = 1,
	};

	return npu_ioctl(fd, DRM_IOCTL_SYNCOBJ_TIMELINE_SIGNAL, &a);
}

/* ---- Streams ----------------------------------------------------------------------- */

struct stream {
	uint8_t *p;
	uint32_t size;
	uint32_t room;
};

static inline void *stream_add(struct stream *s, uint16_t opcode, uint32_t len)
{
	struct npu_cmd *c = (void *)(s->p + s->size);

	if (s->size + len > s->room)
		abort();
	memset(c, 0, len);
	c->opcode = opcode;
	c->len = len / NPU_PACKET_ALIGN;
	c->signal = NPU_NO_TOKEN;
	s->size += len;
	return c;
}

static inline void stream_end(struct stream *s)
{
	stream_add(s, NPU_CMD_END, sizeof(struct npu_cmd));
}

/* memory u64 at @addr = @value, through r31 */
static inline void stream_store(struct stream *s, uint64_t addr, uint64_t value)
{
	struct npu_cmd_set *set = stream_add(s, NPU_CMD_SET, sizeof(*set));
	struct npu_cmd_mem *st;

	set->rd = 31;
	set->imm = value;
	st = stream_add(s, NPU_CMD_STORE, sizeof(*st));
	st->reg = 31;
	st->size = 8;
	st->addr = addr;
}

/* memory u64 at @addr = register @reg */
static inline void stream_store_reg(struct stream *s, uint64_t addr, uint8_t reg)
{
	struct npu_cmd_mem *st = stream_add(s, NPU_CMD_STORE, sizeof(*st));

	st->reg = reg;
	st->size = 8;
	st->addr = addr;
}

static inline void stream_load(struct stream *s, uint8_t reg, uint64_t addr)
{
	struct npu_cmd_mem *ld = stream_add(s, NPU_CMD_LOAD, sizeof(*ld));

	ld->reg = reg;
	ld->size = 8;
	ld->addr = addr;
}

/* A loop that never ends: the hang of a hostile or broken program. */
static inline void stream_spin(struct stream *s)
{
	struct npu_cmd_branch *b = stream_add(s, NPU_CMD_BRANCH, sizeof(*b));

	b->cond = NPU_COND_ALWAYS;
	b->rb = NPU_NO_REG;
	b->offset = 0;
}

/* A loop of @turns turns, each one command, in register 30. */
static inline void stream_loop(struct stream *s, uint64_t turns)
{
	struct npu_cmd_set *set = stream_add(s, NPU_CMD_SET, sizeof(*set));
	struct npu_cmd_branch *b;

	set->rd = 30;
	set->imm = turns;
	b = stream_add(s, NPU_CMD_LOOP, sizeof(*b));
	b->ra = 30;
	b->rb = NPU_NO_REG;
	b->offset = 0;
}

/* ---- A client: file, VM, queue, one buffer with stream and data --------------------- */

#define CLIENT_SIZE	(64 * 1024)
#define CLIENT_DATA	(32 * 1024)	/* offset of the data half */

struct client {
	int fd;
	uint32_t vm, queue, bo;
	uint64_t va_start, va_size;
	uint64_t va;			/* of the buffer */
	uint8_t *map;
};

static inline void client_close(struct client *c)
{
	if (c->map)
		munmap(c->map, CLIENT_SIZE);
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	c->map = NULL;
}

/* Opens everything; 0 or -errno with nothing left open. */
static inline int client_open_prio(struct client *c, uint32_t priority, uint32_t timeout_ms)
{
	struct drm_npu_vm_create vm = { 0 };
	int ret;

	memset(c, 0, sizeof(*c));
	c->fd = npu_open();
	if (c->fd < 0)
		return c->fd;
	ret = npu_ioctl(c->fd, DRM_IOCTL_NPU_VM_CREATE, &vm);
	if (ret)
		goto err;
	c->vm = vm.id;
	c->va_start = vm.va_start;
	c->va_size = vm.va_size;
	c->va = vm.va_start + 16 * MIB;
	ret = bo_create(c->fd, CLIENT_SIZE, 0, c->vm);
	if (ret < 0)
		goto err;
	c->bo = ret;
	ret = vm_map(c->fd, c->vm, c->bo, 0, c->va, CLIENT_SIZE);
	if (ret)
		goto err;
	ret = -ENOMEM;
	c->map = bo_map(c->fd, c->bo, CLIENT_SIZE);
	if (!c->map)
		goto err;
	ret = queue_create(c->fd, c->vm, priority, timeout_ms);
	if (ret < 0)
		goto err;
	c->queue = ret;
	return 0;

err:
	client_close(c);
	return ret;
}

static inline int client_open(struct client *c)
{
	return client_open_prio(c, DRM_NPU_PRIORITY_MEDIUM, 0);
}

static inline struct stream client_stream(struct client *c)
{
	struct stream s = { .p = c->map, .room = CLIENT_DATA };

	return s;
}

static inline volatile uint64_t *client_data(struct client *c)
{
	return (volatile uint64_t *)(c->map + CLIENT_DATA);
}

/* Submits the stream at the start of the buffer; signals @sync (0 = none). */
static inline int client_submit(struct client *c, uint32_t stream_size, uint32_t sync)
{
	struct drm_npu_sync_op op = { .flags = DRM_NPU_SYNC_SIGNAL, .handle = sync };
	struct drm_npu_job job = { .stream = c->va, .stream_size = stream_size };

	if (sync)
		job.syncs = (struct drm_npu_obj_array){ sizeof(op), 1, (uintptr_t)&op };
	return submit(c->fd, c->queue, &job, 1);
}

/* Runs a stream to its end: 0, or -errno of submit or wait. */
static inline int client_run(struct client *c, uint32_t stream_size)
{
	int sync = syncobj_create(c->fd, false);
	int ret;

	if (sync < 0)
		return sync;
	ret = client_submit(c, stream_size, sync);
	if (!ret)
		ret = syncobj_wait(c->fd, sync, now_ns() + LONG_WAIT);
	syncobj_destroy(c->fd, sync);
	return ret;
}

/* Stores @value at data[index] by the device and checks that it came: 0 or -errno, -EBADMSG for wrong data. */
static inline int client_ping(struct client *c, unsigned int index, uint64_t value)
{
	struct stream s = client_stream(c);
	int ret;

	client_data(c)[index] = ~value;
	stream_store(&s, c->va + CLIENT_DATA + 8 * index, value);
	stream_end(&s);
	ret = client_run(c, s.size);
	if (ret)
		return ret;
	return client_data(c)[index] == value ? 0 : -EBADMSG;
}

/* The error that the fence in a syncobj carries: 0 while pending or without error, or -errno. */
static inline int syncobj_error(int fd, uint32_t handle)
{
	struct drm_syncobj_handle h = {
		.handle = handle, .flags = DRM_SYNCOBJ_HANDLE_TO_FD_FLAGS_EXPORT_SYNC_FILE, .fd = -1,
	};
	struct { char name[32]; int32_t status; uint32_t flags, num_fences, pad; uint64_t infos; } info = { 0 };
	int ret = npu_ioctl(fd, DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD, &h);

	if (ret)
		return ret;
	/* SYNC_IOC_FILE_INFO of linux/sync_file.h */
	ret = npu_ioctl(h.fd, _IOWR('>', 4, info), &info);
	close(h.fd);
	if (ret)
		return ret;
	return info.status < 0 ? info.status : 0;
}

/* ---- Files of the kernel: sysfs, procfs, debugfs ---------------------------------------- */

/* 0 or -errno. */
static inline int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int ret = fd < 0 || write(fd, text, strlen(text)) < 0 ? -errno : 0;

	if (fd >= 0)
		close(fd);
	return ret;
}

/* The whole file, or what there is room for, and a zero behind it: bytes, or -errno. */
static inline ssize_t read_file(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = 0, got = -1;

	while (fd >= 0 && n < (ssize_t)size - 1 && (got = read(fd, text + n, size - 1 - n)) > 0)
		n += got;
	if (got < 0)
		n = -errno;
	text[n < 0 ? 0 : n] = 0;
	if (fd >= 0)
		close(fd);
	return n;
}

static inline int write_in(const char *dir, const char *file, const char *text)
{
	char path[PATH_MAX + 32];

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	return write_file(path, text);
}

static inline ssize_t read_in(const char *dir, const char *file, char *text, size_t size)
{
	char path[PATH_MAX + 32];

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	return read_file(path, text, size);
}

/* The sysfs folder of the device behind the node @fd. */
static inline bool sysfs_folder(int fd, char *path, size_t size)
{
	struct stat st;

	if (fstat(fd, &st))
		return false;
	snprintf(path, size, "/sys/dev/char/%u:%u/device", major(st.st_rdev), minor(st.st_rdev));
	return true;
}

/* Wait at most @ms for the device to be "active" or "suspended" at run time. */
static inline bool runtime_status(const char *folder, const char *want, int ms)
{
	char text[32];

	do {
		if (read_in(folder, "power/runtime_status", text, sizeof(text)) < 0)
			return false;
		if (!strncmp(text, want, strlen(want)))
			return true;
		usleep(10000);
	} while ((ms -= 10) > 0);
	return false;
}

/* Name of the device behind the node @fd, and the sysfs folder of its driver (PATH_MAX). */
static inline bool sysfs_device(int fd, char *name, size_t size, char *driver)
{
	char path[64], real[PATH_MAX];

	if (!sysfs_folder(fd, path, sizeof(path)) || !realpath(path, real))
		return false;
	snprintf(name, size, "%s", strrchr(real, '/') + 1);
	strcat(path, "/driver");
	return realpath(path, driver);
}

/* The driver's folder in debugfs; its name differs between kernels and kinds of nodes. */
static inline bool find_debugfs(int fd, const char *name, char *path, size_t size)
{
	static const char * const roots[] = { "accel", "dri" };
	char file[PATH_MAX + 16];
	unsigned int i, minor_name;
	struct stat st;

	if (fstat(fd, &st))
		return false;
	for (i = 0; i < ARRAY_LEN(roots); i++) {
		for (minor_name = 0; minor_name < 2; minor_name++) {
			if (minor_name)
				snprintf(path, size, "/sys/kernel/debug/%s/%u", roots[i], minor(st.st_rdev));
			else
				snprintf(path, size, "/sys/kernel/debug/%s/%s", roots[i], name);
			snprintf(file, sizeof(file), "%s/npu_vms", path);
			if (!access(file, R_OK))
				return true;
		}
	}
	return false;
}

/* How many lines of a file of the driver in debugfs begin with one of @first; 0 where there is none. */
static inline unsigned int count_lines(const char *debugfs, const char *file, const char *first)
{
	char path[PATH_MAX + 32], line[512];
	unsigned int n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", debugfs, file);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f))
		n += !!strchr(first, line[0]);
	if (f)
		fclose(f);
	return n;
}

/* What the driver holds for all its files, as debugfs shows it; zeroes where there is none. */
struct objects {
	unsigned int vms, queues, buffers;
};

static inline struct objects count_objects(int fd)
{
	char name[256], driver[PATH_MAX], debugfs[PATH_MAX];
	struct objects n = { 0 };

	if (!sysfs_device(fd, name, sizeof(name), driver) || !find_debugfs(fd, name, debugfs, sizeof(debugfs)))
		return n;
	n.vms = count_lines(debugfs, "npu_vms", "v");
	n.queues = count_lines(debugfs, "npu_queues", "0123456789");
	/* The last line is the sum. */
	n.buffers = count_lines(debugfs, "npu_gems", "0123456789") - 1;
	return n;
}

/* Objects of closed files go in the background: wait until there are no more than @want. */
static inline bool wait_objects(int fd, const struct objects *want)
{
	struct objects n;
	int ms = 60000;

	do {
		n = count_objects(fd);
		if (n.vms <= want->vms && n.queues <= want->queues && n.buffers <= want->buffers)
			return true;
		usleep(20000);
	} while ((ms -= 20) > 0);
	printf("# %u VMs, %u queues, %u buffers; expected %u, %u, %u\n", n.vms, n.queues, n.buffers,
	       want->vms, want->queues, want->buffers);
	return false;
}

/* ---- The kernel log: bad input leaves nothing there ------------------------------------- */

/* From here on; -1 where it may not be read. */
static inline int log_open(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0)
		lseek(fd, 0, SEEK_END);
	return fd;
}

/* Nothing about the device since log_open(), but for what is for debugging. Closes @fd. */
static inline bool log_is_quiet(int fd)
{
	bool quiet = true;
	char line[8192];
	ssize_t n;

	while (fd >= 0 && ((n = read(fd, line, sizeof(line) - 1)) > 0 || errno == EPIPE)) {
		if (n <= 0)
			continue;
		line[n] = 0;
		/* "priority,number,time,flags;text" */
		if ((atoi(line) & 7) < 7 && strstr(line, "npu")) {
			printf("# kernel log: %s", strchr(line, ';') ?: line);
			quiet = false;
		}
	}
	if (fd >= 0)
		close(fd);
	return quiet;
}

/* There may be another device, and numbers of nodes change: this device's node, from now on. */
static inline bool use_node_of(const char *name)
{
	static const struct { const char *class, *node, *dev; } kinds[] = {
		{ "accel", "accel", "/dev/accel" }, { "drm", "renderD", "/dev/dri" },
	};
	char path[PATH_MAX];
	struct dirent *d;
	bool found = false;
	unsigned int i;
	DIR *dir;

	for (i = 0; !found && i < ARRAY_LEN(kinds); i++) {
		snprintf(path, sizeof(path), "/sys/bus/platform/devices/%s/%s", name, kinds[i].class);
		dir = opendir(path);
		while (dir && !found && (d = readdir(dir))) {
			if (strncmp(d->d_name, kinds[i].node, strlen(kinds[i].node)))
				continue;
			snprintf(path, sizeof(path), "%s/%s", kinds[i].dev, d->d_name);
			found = !setenv("NPU_NODE", path, 1);
		}
		if (dir)
			closedir(dir);
	}
	return found;
}

#endif /* NPU_TEST_H */
