// SPDX-License-Identifier: MIT
/* Bus memory, page tables, address spaces and buffers of the software device. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "soft.h"

#define MEM_BUS		(1ull << 30)	/* not 0, so that a null bus address is an error */
#define KERNEL_VA	(1ull << 30)	/* at the end of each address space */

#define POPULATE_STEP	(4ull << 20)
#define POPULATE_SKIP	(128ull << 20)
#define POPULATE_MOST	(64ull << 20)	/* of what may not all be used */
#define POPULATE_NS_PER_BYTE 1	/* about what faults would take */

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25	/* Linux 6.1; libc headers came later */
#endif

/* ---- Bus memory ------------------------------------------------------------------ */

/* Address space whose huge pages are those of the file that will be mapped there. */
static void *reserve(uint64_t bytes)
{
	uint8_t *p = mmap(NULL, bytes + NPU_HUGE_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint64_t skip;

	if (p == MAP_FAILED)
		return p;
	skip = -(uintptr_t)p & (NPU_HUGE_PAGE - 1);
	if (skip)
		munmap(p, skip);
	munmap(p + skip + bytes, NPU_HUGE_PAGE - skip);
	return p + skip;
}

/*
 * Without a setting the arena is as large as the host's memory; it costs nothing
 * until it is used: pages come with the first access and go when a buffer is freed.
 */
int soft_mem_init(struct soft_device *sd)
{
	uint32_t cap0 = soft_rd(sd, NPU_CAP0);
	uint64_t bus_size = 1ull << NPU_CAP0_BUS_BITS(cap0), half = bus_size / 2;
	int err;

	if (!sd->mem_bytes)
		sd->mem_bytes = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
	sd->mem_bytes = (sd->mem_bytes + NPU_HUGE_PAGE - 1) & ~(NPU_HUGE_PAGE - 1);
	if (sd->mem_bytes > half - MEM_BUS)
		sd->mem_bytes = half - MEM_BUS;
	sd->mem_bus = MEM_BUS;
	sd->memfd = memfd_create("npu-bus-memory", MFD_CLOEXEC);
	if (sd->memfd < 0 || ftruncate(sd->memfd, (off_t)sd->mem_bytes))
		return npu_fail(&sd->base, -errno, "software device: memfd of %" PRIu64 " bytes: %s", sd->mem_bytes,
				strerror(errno));
	sd->mem = reserve(sd->mem_bytes);
	if (sd->mem != MAP_FAILED)
		sd->mem = mmap(sd->mem, sd->mem_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE | MAP_FIXED,
			       sd->memfd, 0);
	if (sd->mem == MAP_FAILED) {
		sd->mem = NULL;
		return npu_fail(&sd->base, -ENOMEM, "software device: no %" PRIu64 " bytes of address space",
				sd->mem_bytes);
	}
	madvise(sd->mem, sd->mem_bytes, MADV_HUGEPAGE);
	/* A child of fork() has no use for it, and must not see the parent's devices change. */
	madvise(sd->mem, sd->mem_bytes, MADV_DONTFORK);
	err = npu_ranges_init(&sd->bus, &sd->base, sd->mem_bus, sd->mem_bytes);
	if (!err)
		err = npu_ranges_init(&sd->shared_bus, &sd->base, half, half);
	return err ? npu_fail(&sd->base, err, "software device: no memory") : 0;
}

void soft_mem_fini(struct soft_device *sd)
{
	npu_ranges_fini(&sd->bus);
	npu_ranges_fini(&sd->shared_bus);
	npu_free(&sd->base, sd->windows);
	if (sd->mem)
		munmap(sd->mem, sd->mem_bytes);
	if (sd->memfd >= 0)
		close(sd->memfd);
}

int soft_mem_get(struct soft_device *sd, uint64_t bytes, struct soft_mem *out)
{
	uint64_t align = bytes >= NPU_HUGE_PAGE ? NPU_HUGE_PAGE : NPU_PAGE;
	int err;

	bytes = (bytes + NPU_PAGE - 1) & ~(NPU_PAGE - 1);
	err = npu_ranges_get(&sd->bus, bytes, align, &out->bus);
	if (err)
		return npu_fail(&sd->base, -ENOMEM, "no %" PRIu64 " bytes left of the software device's memory (%" PRIu64
				" in all)", bytes, sd->mem_bytes);
	out->bytes = bytes;
	out->cpu = sd->mem + (out->bus - sd->mem_bus);
	return 0;
}

/* Of this thread: what others do does not count. */
static int64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return ts.tv_sec * 1000000000ll + ts.tv_nsec;
}

/*
 * Memory that will mostly be used gets huge pages at once, which also spares a fault per page: most hosts
 * give shared memory none by themselves. Where that takes longer than faults would, because memory is in pieces or a
 * virtual machine has to get it back first, more and more of what follows stays as it is.
 */
static void populate(const struct soft_mem *m)
{
	uint64_t end = m->bytes & ~(NPU_HUGE_PAGE - 1), skip = 0, n;
	int64_t begin;

	for (uint64_t at = 0; at < end; at += n + skip) {
		n = end - at < POPULATE_STEP ? end - at : POPULATE_STEP;
		begin = cpu_ns();
		/* A page that is there makes a huge one. */
		for (uint64_t page = at; page < at + n; page += NPU_HUGE_PAGE)
			*((volatile uint8_t *)m->cpu + page) = 0;
		if (madvise((uint8_t *)m->cpu + at, n, MADV_COLLAPSE))
			break;
		if (cpu_ns() - begin < (int64_t)n * POPULATE_NS_PER_BYTE)
			skip = 0;
		else if (skip < POPULATE_SKIP)
			skip = skip ? skip * 2 : POPULATE_STEP;
	}
}

void soft_mem_put(struct soft_device *sd, struct soft_mem *m)
{
	if (!m->bytes)
		return;
	/* Fresh memory is zero: drop the pages. */
	if (fallocate(sd->memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)(m->bus - sd->mem_bus),
		      (off_t)m->bytes))
		memset(m->cpu, 0, m->bytes);
	npu_ranges_put(&sd->bus, m->bus, m->bytes);
	m->bytes = 0;
}

/* ---- Windows ------------------------------------------------------------------------ */

int soft_window(void *host, uint64_t bus, struct npu_model_window *out)
{
	struct soft_device *sd = host;
	int err = -EFAULT;

	if (bus - sd->mem_bus < sd->mem_bytes) {
		*out = (struct npu_model_window) { sd->mem_bus, sd->mem_bytes, sd->mem, sd->memfd, 0, true };
		return 0;
	}
	pthread_mutex_lock(&sd->windows_lock);
	for (uint32_t i = 0; i < sd->nwindows && err; i++)
		if (bus - sd->windows[i].bus < sd->windows[i].size) {
			*out = sd->windows[i];
			err = 0;
		}
	pthread_mutex_unlock(&sd->windows_lock);
	return err;
}

static int window_add(struct soft_device *sd, const struct npu_model_window *w)
{
	int err = 0;

	pthread_mutex_lock(&sd->windows_lock);
	if (sd->nwindows == sd->windows_room) {
		uint32_t room = sd->windows_room ? 2 * sd->windows_room : 8;
		void *p = npu_resize(&sd->base, sd->windows, room * sizeof(*w));

		if (p) {
			sd->windows = p;
			sd->windows_room = room;
		} else {
			err = -ENOMEM;
		}
	}
	if (!err)
		sd->windows[sd->nwindows++] = *w;
	pthread_mutex_unlock(&sd->windows_lock);
	return err;
}

static void window_remove(struct soft_device *sd, uint64_t bus)
{
	pthread_mutex_lock(&sd->windows_lock);
	for (uint32_t i = 0; i < sd->nwindows; i++)
		if (sd->windows[i].bus == bus)
			sd->windows[i] = sd->windows[--sd->nwindows];
	pthread_mutex_unlock(&sd->windows_lock);
	npu_model_bus_changed(sd->model);
}

/* ---- Page tables ------------------------------------------------------------------------ */

#define ENTRIES 512u

static uint64_t *table_at(struct soft_device *sd, uint64_t bus)
{
	return (uint64_t *)(void *)(sd->mem + ((bus & NPU_PTE_ADDR_MASK) - sd->mem_bus));
}

static unsigned int root_level(struct soft_device *sd)
{
	return sd->base.info.va_bits > 39 ? 0 : 1;
}

static unsigned int level_shift(unsigned int level)
{
	return 12 + 9 * (3 - level);
}

/* The entry becomes visible to a walk that may run: contents first, then the link. */
static void set_entry(uint64_t *e, uint64_t value)
{
	__atomic_store_n(e, value, __ATOMIC_RELEASE);
}

static int map_level(struct soft_device *sd, uint64_t table, unsigned int level, uint64_t va, uint64_t bus,
		     uint64_t bytes, uint64_t attr)
{
	unsigned int shift = level_shift(level);
	uint64_t span = 1ull << shift;

	while (bytes) {
		uint64_t *e = table_at(sd, table) + (va >> shift) % ENTRIES;
		uint64_t part = span - (va & (span - 1));
		int err;

		if (part > bytes)
			part = bytes;
		if (level == 3) {
			set_entry(e, bus | attr | NPU_PTE_TABLE);
		} else if (level && part == span && !(bus & (span - 1)) && !(*e & NPU_PTE_VALID)) {
			set_entry(e, bus | attr);
		} else {
			if (!(*e & NPU_PTE_VALID)) {
				struct soft_mem m;

				err = soft_mem_get(sd, NPU_PAGE, &m);
				if (err)
					return err;
				set_entry(e, m.bus | NPU_PTE_VALID | NPU_PTE_TABLE);
			}
			err = map_level(sd, *e & NPU_PTE_ADDR_MASK, level + 1, va, bus, part, attr);
			if (err)
				return err;
		}
		va += part;
		bus += part;
		bytes -= part;
	}
	return 0;
}

static bool is_table(uint64_t entry, unsigned int level)
{
	return level < 3 && (entry & NPU_PTE_VALID) && (entry & NPU_PTE_TABLE);
}

/* Ranges are unmapped as they were mapped, so a block is never cut. */
static void unmap_level(struct soft_device *sd, uint64_t table, unsigned int level, uint64_t va, uint64_t bytes)
{
	unsigned int shift = level_shift(level);
	uint64_t span = 1ull << shift;

	while (bytes) {
		uint64_t *e = table_at(sd, table) + (va >> shift) % ENTRIES;
		uint64_t part = span - (va & (span - 1));

		if (part > bytes)
			part = bytes;
		if (is_table(*e, level))
			unmap_level(sd, *e & NPU_PTE_ADDR_MASK, level + 1, va, part);
		else
			set_entry(e, 0);
		va += part;
		bytes -= part;
	}
}

static void free_tables(struct soft_device *sd, uint64_t table, unsigned int level)
{
	struct soft_mem m = { table, NPU_PAGE, table_at(sd, table) };

	for (unsigned int i = 0; i < ENTRIES && level < 3; i++)
		if (is_table(table_at(sd, table)[i], level))
			free_tables(sd, table_at(sd, table)[i] & NPU_PTE_ADDR_MASK, level + 1);
	soft_mem_put(sd, &m);
}

static void slot_command(struct soft_device *sd, int slot, uint32_t cmd)
{
	uint32_t as = NPU_MMU_BASE + NPU_AS((uint32_t)slot);

	soft_wr(sd, as + NPU_AS_CMD, cmd);
	if (soft_poll(sd, as + NPU_AS_STATUS, NPU_AS_STATUS_BUSY, 0))
		npu_logf(&sd->base, NPU_LOG_ERROR, "software device: slot %d does not end command %u", slot, cmd);
}

int soft_map(struct soft_device *sd, struct soft_vm *vm, uint64_t va, uint64_t bus, uint64_t bytes, bool readonly)
{
	uint64_t attr = NPU_PTE_VALID | NPU_PTE_ATTR(NPU_PTE_ATTR_CACHED) | NPU_PTE_USER | NPU_PTE_SH_INNER |
			NPU_PTE_AF | NPU_PTE_NG | (readonly ? NPU_PTE_RDONLY : 0);
	int err = map_level(sd, vm->table, root_level(sd), va, bus, bytes, attr);

	/* Nothing to flush: the range was unmapped, and absence is never cached. */
	if (err)
		unmap_level(sd, vm->table, root_level(sd), va, bytes);
	return err;
}

void soft_unmap(struct soft_device *sd, struct soft_vm *vm, uint64_t va, uint64_t bytes)
{
	uint32_t as;

	if (vm->slot < 0) {
		unmap_level(sd, vm->table, root_level(sd), va, bytes);
		return;
	}
	as = NPU_MMU_BASE + NPU_AS((uint32_t)vm->slot);
	soft_wr64(sd, as + NPU_AS_RANGE_LO, va);
	soft_wr64(sd, as + NPU_AS_RANGE_SIZE_LO, bytes);
	slot_command(sd, vm->slot, NPU_AS_CMD_LOCK);
	unmap_level(sd, vm->table, root_level(sd), va, bytes);
	slot_command(sd, vm->slot, NPU_AS_CMD_FLUSH);
	slot_command(sd, vm->slot, NPU_AS_CMD_UNLOCK);
}

/* ---- Address spaces ------------------------------------------------------------------------ */

int soft_vm_create(struct npu_vm *base)
{
	struct soft_device *sd = SD(base->dev);
	struct soft_vm *vm = (struct soft_vm *)base;
	uint64_t size = 1ull << base->dev->info.va_bits;
	struct soft_mem root;
	int err;

	vm->slot = -1;
	base->va_start = NPU_HUGE_PAGE;
	base->va_size = size - KERNEL_VA - NPU_HUGE_PAGE;
	err = npu_ranges_init(&vm->kernel_va, base->dev, size - KERNEL_VA, KERNEL_VA);
	if (err)
		return npu_fail(base->dev, err, "no memory for an address space");
	soft_lock(sd);
	err = soft_mem_get(sd, NPU_PAGE, &root);
	soft_unlock(sd);
	if (err) {
		npu_ranges_fini(&vm->kernel_va);
		return err;
	}
	vm->table = root.bus;
	return 0;
}

void soft_vm_destroy(struct npu_vm *base)
{
	struct soft_device *sd = SD(base->dev);
	struct soft_vm *vm = (struct soft_vm *)base;

	soft_lock(sd);
	soft_slot_release(sd, vm);
	free_tables(sd, vm->table, root_level(sd));
	soft_unlock(sd);
	npu_ranges_fini(&vm->kernel_va);
}

int soft_vm_check(struct npu_vm *vm)
{
	/* Binds are immediate here: nothing can make it unusable. */
	(void)vm;
	return 0;
}

int soft_vm_map(struct npu_vm *base, struct npu_buffer *buf, uint64_t va)
{
	struct soft_device *sd = SD(base->dev);
	struct soft_buffer *sb = (struct soft_buffer *)buf;
	int err;

	soft_lock(sd);
	err = soft_map(sd, (struct soft_vm *)base, va, sb->mem.bus, buf->bytes, buf->flags & NPU_BUFFER_READONLY);
	soft_unlock(sd);
	return err;
}

void soft_vm_unmap(struct npu_vm *base, struct npu_buffer *buf, uint64_t va)
{
	struct soft_device *sd = SD(base->dev);

	soft_lock(sd);
	soft_unmap(sd, (struct soft_vm *)base, va, buf->bytes);
	soft_unlock(sd);
}

/* ---- Buffers ----------------------------------------------------------------------------------- */

/* A shared buffer is a memfd of its own with a window of its own. */
static int shared_attach(struct soft_device *sd, struct soft_buffer *sb, bool writable)
{
	struct npu_model_window w = { .size = sb->mem.bytes, .fd = sb->fd, .writable = writable };
	int prot = writable ? PROT_READ | PROT_WRITE : PROT_READ, err;

	sb->mem.cpu = mmap(NULL, sb->mem.bytes, prot, MAP_SHARED, sb->fd, 0);
	if (sb->mem.cpu == MAP_FAILED)
		return npu_fail(&sd->base, -errno, "mmap of a shared buffer: %s", strerror(errno));
	soft_lock(sd);
	err = npu_ranges_get(&sd->shared_bus, sb->mem.bytes, NPU_HUGE_PAGE, &sb->mem.bus);
	if (!err) {
		w.bus = sb->mem.bus;
		w.host = sb->mem.cpu;
		err = window_add(sd, &w);
		if (err)
			npu_ranges_put(&sd->shared_bus, sb->mem.bus, sb->mem.bytes);
	}
	soft_unlock(sd);
	if (err) {
		munmap(sb->mem.cpu, sb->mem.bytes);
		return npu_fail(&sd->base, err, "no room for a shared buffer of %" PRIu64 " bytes", sb->mem.bytes);
	}
	return 0;
}

int soft_buffer_create(struct npu_buffer *buf)
{
	struct soft_device *sd = SD(buf->vm->dev);
	struct soft_buffer *sb = (struct soft_buffer *)buf;
	uint64_t bytes = buf->bytes;
	int err;

	sb->fd = -1;
	if (!(buf->flags & NPU_BUFFER_SHARED)) {
		/*
		 * Keys and values, and intermediate results, lie in short pieces all over their
		 * buffers: with small pages, finding them is a good part of reading them.
		 */
		if (bytes >= NPU_HUGE_PAGE && bytes <= POPULATE_MOST)
			bytes = (bytes + NPU_HUGE_PAGE - 1) & ~(NPU_HUGE_PAGE - 1);
		soft_lock(sd);
		err = soft_mem_get(sd, bytes, &sb->mem);
		soft_unlock(sd);
		/* What the device cannot write the CPU will, and whole. */
		if (!err && bytes >= NPU_HUGE_PAGE && (buf->flags & NPU_BUFFER_READONLY || bytes <= POPULATE_MOST))
			populate(&sb->mem);
		return err;
	}
	sb->mem.bytes = buf->bytes;
	sb->fd = memfd_create("npu-buffer", MFD_CLOEXEC);
	if (sb->fd < 0 || ftruncate(sb->fd, (off_t)buf->bytes)) {
		err = npu_fail(&sd->base, -errno, "memfd of %" PRIu64 " bytes: %s", buf->bytes, strerror(errno));
		goto err_close;
	}
	err = shared_attach(sd, sb, true);
	if (err)
		goto err_close;
	return 0;

err_close:
	if (sb->fd >= 0)
		close(sb->fd);
	return err;
}

void soft_buffer_destroy(struct npu_buffer *buf)
{
	struct soft_device *sd = SD(buf->vm->dev);
	struct soft_buffer *sb = (struct soft_buffer *)buf;

	soft_lock(sd);
	if (sb->fd < 0) {
		soft_mem_put(sd, &sb->mem);
	} else {
		window_remove(sd, sb->mem.bus);
		npu_ranges_put(&sd->shared_bus, sb->mem.bus, sb->mem.bytes);
	}
	soft_unlock(sd);
	if (sb->fd >= 0) {
		munmap(sb->mem.cpu, sb->mem.bytes);
		close(sb->fd);
	}
}

int soft_buffer_map(struct npu_buffer *buf, void **cpu)
{
	*cpu = ((struct soft_buffer *)buf)->mem.cpu;
	return 0;
}

void soft_buffer_unmap(struct npu_buffer *buf, void *cpu)
{
	(void)buf, (void)cpu;	/* part of the arena, or unmapped with the buffer */
}

int soft_buffer_sync(struct npu_buffer *buf, enum npu_sync_direction dir, uint64_t offset, uint64_t bytes)
{
	(void)buf, (void)dir, (void)offset, (void)bytes;
	return 0;
}

int soft_buffer_export(struct npu_buffer *buf, int *fd)
{
	int copy = fcntl(((struct soft_buffer *)buf)->fd, F_DUPFD_CLOEXEC, 0);

	if (copy < 0)
		return npu_fail(buf->vm->dev, -errno, "export a buffer: %s", strerror(errno));
	*fd = copy;
	return 0;
}

int soft_buffer_import(struct npu_buffer *buf, int fd)
{
	struct soft_device *sd = SD(buf->vm->dev);
	struct soft_buffer *sb = (struct soft_buffer *)buf;
	off_t size = lseek(fd, 0, SEEK_END);
	int err;

	if (size < (off_t)NPU_PAGE)
		return npu_fail(&sd->base, -EINVAL, "import: descriptor %d is no shared buffer of at least 4096 bytes", fd);
	sb->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (sb->fd < 0)
		return npu_fail(&sd->base, -errno, "import: %s", strerror(errno));
	buf->bytes = (uint64_t)size & ~(NPU_PAGE - 1);
	sb->mem.bytes = buf->bytes;
	err = shared_attach(sd, sb, !(buf->flags & NPU_BUFFER_READONLY));
	if (err)
		close(sb->fd);
	return err;
}
