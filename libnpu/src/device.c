// SPDX-License-Identifier: MIT
/* Devices: finding, opening, errors, memory, time. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "config.h"
#include "device.h"

uint32_t npu_version(void)
{
	return NPU_VERSION_MAJOR << 16 | NPU_VERSION_MINOR << 8 | NPU_VERSION_PATCH;
}

const char *npu_strerror(int err)
{
	static const struct {
		int err;
		const char *text;
	} texts[] = {
		{ 0, "success" },
		{ EPERM, "object of another process (made before fork)" },
		{ ENOENT, "no such object" },
		{ EIO, "the queue or address space is unusable, or memory failed" },
		{ EAGAIN, "the queue is full" },
		{ ENOMEM, "out of memory" },
		{ EACCES, "permission denied" },
		{ EFAULT, "a job accessed an address or gave a command that is not allowed" },
		{ EBUSY, "in use" },
		{ ENODEV, "no such device, or it has gone" },
		{ EINVAL, "invalid argument" },
		{ ENOSPC, "no room" },
		{ EPROTO, "a node of another driver, or of another version" },
		{ ETIME, "timed out" },
		{ ETIMEDOUT, "a job took too long" },
		{ ECANCELED, "lost to a device reset" },
		{ EOPNOTSUPP, "not supported by this device" },
		{ EINTR, "interrupted" },
		{ EOVERFLOW, "value too large" },
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (texts[i].err == -err)
			return texts[i].text;
	return "unknown error";
}

/* ---- Errors, log, memory, time ------------------------------------------------ */

int npu_fail(struct npu_device *dev, int err, const char *fmt, ...)
{
	va_list ap;

	pthread_mutex_lock(&dev->error_lock);
	va_start(ap, fmt);
	vsnprintf(dev->error, sizeof(dev->error), fmt, ap);
	va_end(ap);
	pthread_mutex_unlock(&dev->error_lock);
	return err;
}

void npu_logf(struct npu_device *dev, enum npu_log_level level, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	if (!dev->log)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	dev->log(dev->data, level, text);
}

static void *libc_realloc(void *data, void *ptr, size_t bytes)
{
	(void)data;
	if (!bytes) {
		free(ptr);
		return NULL;
	}
	return realloc(ptr, bytes);
}

void *npu_alloc(struct npu_device *dev, size_t bytes)
{
	void *p = dev->realloc(dev->data, NULL, bytes ? bytes : 1);

	if (p)
		memset(p, 0, bytes);
	return p;
}

void *npu_resize(struct npu_device *dev, void *ptr, size_t bytes)
{
	return dev->realloc(dev->data, ptr, bytes ? bytes : 1);
}

void npu_free(struct npu_device *dev, void *ptr)
{
	if (ptr)
		dev->realloc(dev->data, ptr, 0);
}

int64_t npu_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ll + ts.tv_nsec;
}

int64_t npu_deadline(int64_t timeout_ns)
{
	int64_t t;

	if (timeout_ns < 0)
		return INT64_MAX;
	if (__builtin_add_overflow(npu_now_ns(), timeout_ns, &t))
		return INT64_MAX;
	return t;
}

size_t npu_device_error(struct npu_device *dev, char *buf, size_t size)
{
	size_t len;

	pthread_mutex_lock(&dev->error_lock);
	len = strlen(dev->error);
	if (size)
		snprintf(buf, size, "%s", dev->error);
	pthread_mutex_unlock(&dev->error_lock);
	return len;
}

/*
 * A child of fork() shares device files and mappings with its parent but not
 * its threads and address-space state. The page is wiped there by the kernel,
 * so the check costs a load and no system call.
 */
int npu_device_enter(struct npu_device *dev)
{
	if (atomic_load_explicit(dev->alive, memory_order_relaxed))
		return 0;
	return -EPERM;
}

/* ---- Opening -------------------------------------------------------------------- */

static void device_free(struct npu_device *dev)
{
	if (dev->alive)
		munmap(dev->alive, (size_t)sysconf(_SC_PAGESIZE));
	pthread_mutex_destroy(&dev->error_lock);
	npu_free(dev, dev->name);
	npu_free(dev, dev);
}

static int device_alloc(const struct npu_backend *ops, const char *name, const struct npu_device_options *opt,
			struct npu_device **out)
{
	npu_realloc_fn fn = opt && opt->realloc ? opt->realloc : libc_realloc;
	struct npu_device *dev = fn(opt ? opt->data : NULL, NULL, ops->device_size);
	void *page;

	if (!dev)
		return -ENOMEM;
	memset(dev, 0, ops->device_size);
	dev->ops = ops;
	dev->realloc = fn;
	dev->log = opt ? opt->log : NULL;
	dev->data = opt ? opt->data : NULL;
	dev->refs = 1;
	pthread_mutex_init(&dev->error_lock, NULL);
	dev->name = npu_alloc(dev, strlen(name) + 1);
	page = mmap(NULL, (size_t)sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page != MAP_FAILED)
		dev->alive = page;
	if (!dev->name || !dev->alive || madvise(page, (size_t)sysconf(_SC_PAGESIZE), MADV_WIPEONFORK)) {
		device_free(dev);
		return -ENOMEM;
	}
	strcpy(dev->name, name);
	atomic_store(dev->alive, 1);
	*out = dev;
	return 0;
}

static int open_with(const struct npu_backend *ops, const char *name, const char *arg,
		     const struct npu_device_options *opt, struct npu_device **out)
{
	struct npu_device *dev;
	int err = device_alloc(ops, name, opt, &dev);

	if (err)
		return err;
	err = ops->device_open(dev, arg);
	if (err) {
		if (opt && opt->err && opt->err_size)
			snprintf(opt->err, opt->err_size, "%s", dev->error);
		device_free(dev);
		return err;
	}
	*out = dev;
	return 0;
}

static int open_error(const struct npu_device_options *opt, int err, const char *text, const char *name)
{
	if (opt && opt->err && opt->err_size)
		snprintf(opt->err, opt->err_size, "%s%s%s", text, name ? ": " : "", name ? name : "");
	return err;
}

static int first_node(void *data, const struct npu_device_entry *e)
{
	char *path = data;

	if (!e->accessible || strlen(e->name) >= PATH_MAX)
		return 0;
	strcpy(path, e->name);
	return 1;
}

static int open_soft(const char *name, const char *arg, const struct npu_device_options *opt, struct npu_device **out)
{
#ifdef HAVE_SOFT
	return open_with(&npu_backend_soft, name, arg, opt, out);
#else
	(void)arg, (void)out;
	return open_error(opt, -ENODEV, "this library was built without the software device", name);
#endif
}

int npu_device_open(const char *name, const struct npu_device_options *opt, struct npu_device **out)
{
	char path[PATH_MAX];
	struct npu_device_options o = { 0 };
	int found;

	*out = NULL;
	if (opt) {
		if (opt->size < offsetof(struct npu_device_options, err))
			return -EINVAL;
		memcpy(&o, opt, opt->size < sizeof(o) ? opt->size : sizeof(o));
		opt = &o;
	}
	if (!name)
		name = getenv("NPU_DEVICE");
	if (name && !*name)
		name = NULL;
	if (name && name[0] == '/')
		return open_with(&npu_backend_drm, name, name, opt, out);
	if (name && (!strcmp(name, "soft") || !strncmp(name, "soft:", 5)))
		return open_soft(name, name[4] ? name + 5 : "", opt, out);
	if (name && strcmp(name, "drm"))
		return open_error(opt, -ENODEV, "no device of this name (/dev/..., drm, soft or soft:settings)", name);
	found = npu_drm_list(first_node, path);
	if (found == 1 && path[0] == '/')
		return open_with(&npu_backend_drm, path, path, opt, out);
	if (name)
		return open_error(opt, -ENODEV,
				  "no DRM node of the driver npu that this process may open: is npu.ko loaded?", NULL);
	return open_soft("soft", "", opt, out);
}

struct npu_device *npu_device_ref(struct npu_device *dev)
{
	atomic_fetch_add(&dev->refs, 1);
	return dev;
}

void npu_device_close(struct npu_device *dev)
{
	if (!dev || atomic_fetch_sub(&dev->refs, 1) != 1)
		return;
	dev->ops->device_close(dev);
	device_free(dev);
}

const char *npu_device_name(const struct npu_device *dev)
{
	return dev->name;
}

/* ---- Listing and queries ----------------------------------------------------------- */

struct lister {
	int (*fn)(void *data, const struct npu_device_entry *entry);
	void *data;
	int count;
};

static int list_one(void *data, const struct npu_device_entry *e)
{
	struct lister *l = data;

	l->count++;
	return l->fn(l->data, e);
}

int npu_device_list(int (*fn)(void *data, const struct npu_device_entry *entry), void *data)
{
	struct lister l = { fn, data, 0 };
	int ret = npu_drm_list(list_one, &l);

	if (ret)
		return ret;
#ifdef HAVE_SOFT
	{
		static const struct npu_device_entry soft = { "soft", "software", "", true };

		ret = list_one(&l, &soft);
	}
#endif
	return ret ? ret : l.count;
}

int npu_device_query(struct npu_device *dev, struct npu_device_info *info, size_t size)
{
	int err = npu_device_enter(dev);

	if (err)
		return err;
	memcpy(info, &dev->info, size < sizeof(dev->info) ? size : sizeof(dev->info));
	if (size > sizeof(dev->info))
		memset((char *)info + sizeof(dev->info), 0, size - sizeof(dev->info));
	return 0;
}

bool npu_device_has_op(const struct npu_device *dev, unsigned int op)
{
	return op >= NPU_OP_FIRST && op <= NPU_OP_LAST && (dev->info.ops >> NPU_OP_BIT(op) & 1);
}

bool npu_device_has_weight(const struct npu_device *dev, unsigned int type, unsigned int layout)
{
	uint32_t mask = layout == NPU_LAYOUT_TILE16 ? dev->info.types_tiles : dev->info.types_rows;

	return type < 32 && (mask >> type & 1);
}

int npu_device_counters(struct npu_device *dev, struct npu_counters *counters, size_t size)
{
	struct npu_counters c = { 0 };
	int err = npu_device_enter(dev);

	if (!err)
		err = dev->ops->counters(dev, &c);
	if (err)
		return err;
	memset(counters, 0, size);
	memcpy(counters, &c, size < sizeof(c) ? size : sizeof(c));
	return 0;
}

int npu_device_inject(struct npu_device *dev, const char *fault, int queue, uint32_t after, uint64_t arg)
{
	int err = npu_device_enter(dev);

	if (err)
		return err;
	if (!dev->ops->inject)
		return npu_fail(dev, -EOPNOTSUPP, "%s: faults can be injected into the software device only", dev->name);
	return dev->ops->inject(dev, fault, queue, after, arg);
}
