// SPDX-License-Identifier: GPL-2.0-only
/*
 * Each rung of recovery, by making the one below it fail through debugfs; what
 * debugfs and the device coredump say meanwhile. Root only.
 */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "npu_test.h"
#include "npu_dump.h"

#define HANG_MS	20	/* device time: much longer by the clock of a loaded host */
#define BEHIND	5	/* jobs behind the endless one */

static const char * const files[] = {
	"npu_queues", "npu_vms", "npu_slots", "npu_gems", "npu_registers", "npu_inject",
};

FIXTURE(inject) {
	struct client bad;	/* short timeout */
	struct client good;	/* long timeout */
	char driver[PATH_MAX];
	char name[256];
	char debugfs[PATH_MAX];
	int sync[1 + BEHIND];	/* of the good client's jobs */
	bool lost;
};

FIXTURE_SETUP(inject)
{
	int ret = client_open_prio(&self->bad, DRM_NPU_PRIORITY_MEDIUM, HANG_MS);

	self->good.fd = -1;
	self->lost = false;
	if (ret == -ENODEV)
		SKIP(return, "no node of driver npu");
	ASSERT_EQ(0, ret);
	if (geteuid())
		SKIP(return, "not root");
	ASSERT_EQ(0, client_open_prio(&self->good, DRM_NPU_PRIORITY_MEDIUM, 60000));
	ASSERT_TRUE(sysfs_device(self->good.fd, self->name, sizeof(self->name), self->driver));
	if (!find_debugfs(self->good.fd, self->name, self->debugfs, sizeof(self->debugfs)))
		SKIP(return, "no debugfs at /sys/kernel/debug, or a kernel without it");
}

FIXTURE_TEARDOWN(inject)
{
	client_close(&self->bad);
	client_close(&self->good);
	if (self->lost) {
		write_in(self->driver, "unbind", self->name);
		write_in(self->driver, "bind", self->name);
	}
}

static int run_at(struct client *c, uint32_t offset, uint32_t size, uint32_t sync)
{
	struct drm_npu_sync_op op = { .flags = DRM_NPU_SYNC_SIGNAL, .handle = sync };
	struct drm_npu_job job = {
		.stream = c->va + offset, .stream_size = size, .syncs = { sizeof(op), 1, (uintptr_t)&op },
	};

	return submit(c->fd, c->queue, &job, 1);
}

/* An endless job, known to have started, and jobs behind it that leave their number. */
static int start_good(struct client *c, int *sync)
{
	volatile uint64_t *data = client_data(c);
	struct stream s = client_stream(c);
	int64_t end = now_ns() + LONG_WAIT;
	uint32_t at;
	int i, ret;

	memset((void *)data, 0, (1 + BEHIND) * sizeof(*data));
	stream_store(&s, c->va + CLIENT_DATA, 1);
	stream_spin(&s);
	sync[0] = syncobj_create(c->fd, false);
	ret = run_at(c, 0, s.size, sync[0]);
	for (i = 1; !ret && i <= BEHIND; i++) {
		at = s.size;
		stream_store(&s, c->va + CLIENT_DATA + 8 * i, 100 + i);
		stream_end(&s);
		sync[i] = syncobj_create(c->fd, false);
		ret = run_at(c, at, s.size - at, sync[i]);
	}
	while (!ret && !data[0])
		if (now_ns() > end)
			ret = -ETIME;
	return ret;
}

static int hang(struct client *c)
{
	int sync = syncobj_create(c->fd, false), ret;
	struct stream s = client_stream(c);

	stream_spin(&s);
	ret = client_submit(c, s.size, sync);
	if (!ret)
		ret = syncobj_wait(c->fd, sync, now_ns() + LONG_WAIT);
	if (!ret)
		ret = syncobj_error(c->fd, sync);
	syncobj_destroy(c->fd, sync);
	return ret;
}

/* After a device reset: the started job was cancelled, those behind it have run, the queue lives. */
#define EXPECT_INNOCENT() do {								\
	struct client *c_ = &self->good;						\
	struct drm_npu_queue_get_state st_;						\
	int i_;										\
	for (i_ = 0; i_ <= BEHIND; i_++) {						\
		ASSERT_EQ(0, syncobj_wait(c_->fd, self->sync[i_], now_ns() + LONG_WAIT));	\
		EXPECT_EQ(i_ ? 0 : -ECANCELED, syncobj_error(c_->fd, self->sync[i_]));	\
		EXPECT_EQ(i_ ? 100 + i_ : 1, client_data(c_)[i_]);			\
	}										\
	ASSERT_EQ(0, queue_state(c_->fd, c_->queue, &st_));				\
	EXPECT_EQ(DRM_NPU_QUEUE_INNOCENT, st_.state);					\
	EXPECT_EQ(1, st_.innocent_resets);						\
	EXPECT_EQ(0, client_ping(c_, 0, 4321));						\
} while (0)

TEST_F_TIMEOUT(inject, queue_reset_fails, 120)
{
	struct drm_npu_queue_get_state st;

	ASSERT_EQ(0, start_good(&self->good, self->sync));
	ASSERT_EQ(0, write_in(self->debugfs, "npu_inject", "fail-queue-reset"));
	EXPECT_EQ(-ETIMEDOUT, hang(&self->bad));
	ASSERT_EQ(0, queue_state(self->bad.fd, self->bad.queue, &st));
	EXPECT_EQ(DRM_NPU_QUEUE_TIMEOUT, st.state);
	EXPECT_INNOCENT();
}

TEST_F_TIMEOUT(inject, device_reset_fails, 120)
{
	ASSERT_EQ(0, start_good(&self->good, self->sync));
	ASSERT_EQ(0, write_in(self->debugfs, "npu_inject", "fail-queue-reset"));
	ASSERT_EQ(0, write_in(self->debugfs, "npu_inject", "fail-device-reset"));
	EXPECT_EQ(-ETIMEDOUT, hang(&self->bad));
	EXPECT_INNOCENT();
}

TEST_F_TIMEOUT(inject, device_reset_on_demand, 120)
{
	ASSERT_EQ(0, start_good(&self->good, self->sync));
	EXPECT_EQ(0, write_in(self->debugfs, "npu_inject", "device-reset\n"));
	EXPECT_INNOCENT();
	EXPECT_EQ(0, client_ping(&self->bad, 0, 1));
}

TEST_F_TIMEOUT(inject, nothing_helps, 120)
{
	struct drm_npu_queue_get_state st;
	char text[4096];
	int i;

	ASSERT_EQ(0, start_good(&self->good, self->sync));
	self->lost = true;
	ASSERT_EQ(0, write_in(self->debugfs, "npu_inject", "fail-queue-reset"));
	ASSERT_EQ(0, write_in(self->debugfs, "npu_inject", "fail-device-reset"));
	ASSERT_EQ(0, write_in(self->debugfs, "npu_inject", "fail-cold-reset"));
	/* The guilty job may be told of the loss before it is told of its guilt. */
	EXPECT_NE(0, hang(&self->bad));
	for (i = 0; i <= BEHIND; i++) {
		ASSERT_EQ(0, syncobj_wait(self->good.fd, self->sync[i], now_ns() + LONG_WAIT));
		EXPECT_EQ(-ENODEV, syncobj_error(self->good.fd, self->sync[i]));
	}
	ASSERT_EQ(0, queue_state(self->good.fd, self->good.queue, &st));
	EXPECT_EQ(DRM_NPU_QUEUE_DEVICE_LOST, st.state);
	EXPECT_EQ(-ENODEV, client_submit(&self->good, 16, 0));
	EXPECT_EQ(-ENODEV, client_submit(&self->bad, 16, 0));
	EXPECT_GT(read_in(self->debugfs, "npu_slots", text, sizeof(text)), 0);
	EXPECT_EQ(0, strncmp(text, "lost", 4));
	EXPECT_EQ(-ENODEV, read_in(self->debugfs, "npu_registers", text, sizeof(text)));

	/* It is well again when the driver is bound again. */
	client_close(&self->good);
	client_close(&self->bad);
	ASSERT_EQ(0, write_in(self->driver, "unbind", self->name));
	ASSERT_EQ(0, write_in(self->driver, "bind", self->name));
	self->lost = false;
	ASSERT_TRUE(use_node_of(self->name));
	ASSERT_EQ(0, client_open(&self->good));
	EXPECT_EQ(0, client_ping(&self->good, 0, 7));
}

/* An MMU command that does not end costs a device reset; what it was for can be repeated. */
TEST_F_TIMEOUT(inject, mmu_command_fails, 120)
{
	struct client *c = &self->good;
	int bo = bo_create(c->fd, PAGE, 0, 0);
	uint64_t va = c->va + 16 * MIB;

	ASSERT_EQ(0, vm_map(c->fd, c->vm, bo, 0, va, PAGE));
	ASSERT_EQ(0, client_ping(c, 0, 1));
	ASSERT_EQ(0, write_in(self->debugfs, "npu_inject", "fail-mmu-command"));
	EXPECT_EQ(-ETIMEDOUT, vm_unmap(c->fd, c->vm, va, PAGE));
	EXPECT_EQ(0, vm_unmap(c->fd, c->vm, va, PAGE));
	EXPECT_EQ(0, client_ping(c, 0, 2));
	EXPECT_EQ(0, client_ping(&self->bad, 0, 3));
}

/* A queued bind that fails ends its VM, and nothing else. */
TEST_F(inject, bind_fails)
{
	struct client *c = &self->bad;
	int bo = bo_create(c->fd, PAGE, 0, 0), done = syncobj_create(c->fd, false);
	struct drm_npu_sync_op sync = { .flags = DRM_NPU_SYNC_SIGNAL, .handle = done };
	struct drm_npu_vm_bind_op op = {
		.type = DRM_NPU_VM_BIND_MAP, .bo_handle = bo, .va = c->va + 16 * MIB, .size = PAGE,
		.syncs = { sizeof(sync), 1, (uintptr_t)&sync },
	};
	struct drm_npu_vm_get_state st = { .vm_id = c->vm };
	int vm;

	ASSERT_EQ(0, write_in(self->debugfs, "npu_inject", "fail-bind"));
	ASSERT_EQ(0, vm_bind(c->fd, c->vm, DRM_NPU_VM_BIND_ASYNC, &op, 1));
	ASSERT_EQ(0, syncobj_wait(c->fd, done, now_ns() + LONG_WAIT));
	EXPECT_NE(0, syncobj_error(c->fd, done));
	ASSERT_EQ(0, npu_ioctl(c->fd, DRM_IOCTL_NPU_VM_GET_STATE, &st));
	EXPECT_EQ(DRM_NPU_VM_UNUSABLE, st.state);
	EXPECT_EQ(-EIO, client_submit(c, 16, 0));
	op.syncs = (struct drm_npu_obj_array){ 0 };
	EXPECT_EQ(-EIO, vm_bind(c->fd, c->vm, 0, &op, 1));
	EXPECT_EQ(0, client_ping(&self->good, 0, 1));
	/* Another VM of the same file is fine. */
	vm = vm_create(c->fd);
	ASSERT_GT(vm, 0);
	EXPECT_EQ(0, vm_map(c->fd, vm, bo, 0, c->va, PAGE));
}

TEST_F(inject, bad_words)
{
	EXPECT_EQ(-EINVAL, write_in(self->debugfs, "npu_inject", "fail-nothing"));
	EXPECT_EQ(-EINVAL, write_in(self->debugfs, "npu_inject", "fail-queue-reset fail-bind and more of it"));
	EXPECT_EQ(-EINVAL, write_in(self->debugfs, "npu_inject", "\n"));
	EXPECT_EQ(0, client_ping(&self->good, 0, 1));
}

TEST_F(inject, debugfs_shows_what_is_there)
{
	struct client *c = &self->good;
	char text[16384], want[64];

	ASSERT_EQ(0, client_ping(c, 0, 1));
	ASSERT_GT(read_in(self->debugfs, "npu_vms", text, sizeof(text)), 0);
	snprintf(want, sizeof(want), "%#llx", (unsigned long long)c->va);
	EXPECT_NE(NULL, strstr(text, "of a BO of 65536 bytes"));
	EXPECT_NE(NULL, strstr(text, want + 2));
	ASSERT_GT(read_in(self->debugfs, "npu_queues", text, sizeof(text)), 0);
	snprintf(want, sizeof(want), "[%d]", getpid());
	EXPECT_NE(NULL, strstr(text, want));
	ASSERT_GT(read_in(self->debugfs, "npu_gems", text, sizeof(text)), 0);
	EXPECT_NE(NULL, strstr(text, "65536"));
	ASSERT_GT(read_in(self->debugfs, "npu_slots", text, sizeof(text)), 0);
	EXPECT_NE(NULL, strstr(text, "hardware queue 0"));
	ASSERT_GT(read_in(self->debugfs, "npu_registers", text, sizeof(text)), 0);
	snprintf(want, sizeof(want), "%#010x", NPU_ID_VALUE);
	EXPECT_NE(NULL, strstr(text, want));
	ASSERT_GT(read_in(self->debugfs, "npu_inject", text, sizeof(text)), 0);
	EXPECT_NE(NULL, strstr(text, "fail-queue-reset"));
}

/* Readers, while jobs run and VMs, buffers and queues come and go. */
TEST_F_TIMEOUT(inject, debugfs_under_load, 120)
{
	pid_t pid = fork();
	char text[16384];
	unsigned int i, f;
	int status;

	if (!pid) {
		for (i = 0; ; i++) {
			struct client c;

			if (client_open(&c) || client_ping(&c, 0, i))
				_exit(1);
			client_close(&c);
		}
	}
	for (i = 0; i < 50; i++)
		for (f = 0; f < ARRAY_LEN(files); f++)
			EXPECT_GT(read_in(self->debugfs, files[f], text, sizeof(text)), 0);
	kill(pid, SIGKILL);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
}

/* ---- Coredump ------------------------------------------------------------------------ */

/* Path of a dump of the device @name; false: there is none. */
static bool find_dump(const char *name, char *path, size_t size)
{
	DIR *dir = opendir("/sys/class/devcoredump");
	char link[PATH_MAX], real[PATH_MAX];
	struct dirent *d;
	bool found = false;

	while (dir && !found && (d = readdir(dir))) {
		snprintf(link, sizeof(link), "/sys/class/devcoredump/%s/failing_device", d->d_name);
		if (strncmp(d->d_name, "devcd", 5) || !realpath(link, real) ||
		    strcmp(strrchr(real, '/') + 1, name))
			continue;
		snprintf(path, size, "/sys/class/devcoredump/%s", d->d_name);
		found = true;
	}
	if (dir)
		closedir(dir);
	return found;
}

/* The section of a type: its contents, and their size. */
static const void *dump_section(const uint8_t *dump, size_t size, uint32_t type, uint32_t *bytes)
{
	size_t at = sizeof(struct npu_dump_header);
	struct npu_dump_section s;

	while (at + sizeof(s) <= size) {
		memcpy(&s, dump + at, sizeof(s));
		at += sizeof(s);
		if (s.size > size - at)
			return NULL;
		if (s.type == type) {
			*bytes = s.size;
			return dump + at;
		}
		at += (s.size + 7) & ~7ull;
	}
	return NULL;
}

TEST_F_TIMEOUT(inject, coredump_of_a_hang, 120)
{
	static uint8_t dump[1 << 20];
	struct npu_dump_header h;
	struct npu_dump_mapping map;
	struct npu_dump_memory mem;
	struct npu_dump_queue q;
	struct stream s = client_stream(&self->bad);
	char path[PATH_MAX];
	const uint8_t *p;
	uint32_t bytes, i;
	bool mapped = false;
	ssize_t n;

	if (access("/sys/class/devcoredump", F_OK))
		SKIP(return, "a kernel without device coredumps");
	/* Only the first dump is kept: let go of what others left. A dump goes a little later than told. */
	for (i = 0; i < 100 && find_dump(self->name, path, sizeof(path)); i++) {
		write_in(path, "data", "1");
		usleep(100000);
	}
	ASSERT_FALSE(find_dump(self->name, path, sizeof(path)));

	stream_spin(&s);
	EXPECT_EQ(-ETIMEDOUT, hang(&self->bad));
	for (i = 0; i < 100 && !find_dump(self->name, path, sizeof(path)); i++)
		usleep(100000);
	ASSERT_TRUE(find_dump(self->name, path, sizeof(path)));
	n = read_in(path, "data", (char *)dump, sizeof(dump));
	ASSERT_GT(n, (ssize_t)sizeof(h));
	memcpy(&h, dump, sizeof(h));
	EXPECT_EQ(NPU_DUMP_MAGIC, h.magic);
	EXPECT_EQ(NPU_DUMP_VERSION, h.version);
	EXPECT_EQ(n, h.size);
	EXPECT_EQ(DRM_NPU_QUEUE_TIMEOUT, h.state);
	EXPECT_EQ(0, h.truncated);

	ASSERT_NE(NULL, dump_section(dump, n, NPU_DUMP_INFO, &bytes));
	p = dump_section(dump, n, NPU_DUMP_REGISTERS, &bytes);
	ASSERT_NE(NULL, p);
	EXPECT_GT(bytes, sizeof(struct npu_dump_register));
	p = dump_section(dump, n, NPU_DUMP_QUEUE, &bytes);
	ASSERT_NE(NULL, p);
	ASSERT_EQ(sizeof(q), bytes);
	memcpy(&q, p, sizeof(q));
	EXPECT_EQ(getpid(), q.pid);
	EXPECT_EQ(q.seqno, q.done_seqno + 1);
	ASSERT_NE(NULL, dump_section(dump, n, NPU_DUMP_RING, &bytes));
	p = dump_section(dump, n, NPU_DUMP_STREAM, &bytes);
	ASSERT_NE(NULL, p);
	ASSERT_GE(bytes, sizeof(mem) + s.size);
	memcpy(&mem, p, sizeof(mem));
	ASSERT_LE(mem.va, self->bad.va);
	ASSERT_LE(self->bad.va - mem.va + s.size, bytes - sizeof(mem));
	EXPECT_EQ(0, memcmp(p + sizeof(mem) + (self->bad.va - mem.va), s.p, s.size));
	p = dump_section(dump, n, NPU_DUMP_MAPPINGS, &bytes);
	ASSERT_NE(NULL, p);
	for (i = 0; i + sizeof(map) <= bytes; i += sizeof(map)) {
		memcpy(&map, p + i, sizeof(map));
		mapped |= map.va == self->bad.va && map.size == CLIENT_SIZE;
	}
	EXPECT_TRUE(mapped);

	EXPECT_EQ(0, write_in(path, "data", "1"));
	for (i = 0; i < 100 && !access(path, F_OK); i++)
		usleep(100000);
	EXPECT_NE(0, access(path, F_OK));
	EXPECT_EQ(0, client_ping(&self->good, 0, 1));
}

TEST_HARNESS_MAIN
