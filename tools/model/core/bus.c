// SPDX-License-Identifier: MIT
/* Bus memory: windows of the host, cached until it says that they changed. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core.h"

#define MAX_WINDOWS 4096u	/* more are looked up each time */

void bus_init(struct bus *b, const struct npu_model_bus *ops, void *host)
{
	b->ops = *ops;
	b->host = host;
	pthread_mutex_init(&b->lock, NULL);
	b->windows = NULL;
	b->count = 0;
	b->room = 0;
}

void bus_forget(struct bus *b)
{
	pthread_mutex_lock(&b->lock);
	b->count = 0;
	pthread_mutex_unlock(&b->lock);
}

void bus_fini(struct bus *b)
{
	free(b->windows);
	b->windows = NULL;
	pthread_mutex_destroy(&b->lock);
}

/* Index of the first window that begins above @addr. */
static unsigned int upper(const struct bus *b, uint64_t addr)
{
	unsigned int lo = 0, hi = b->count;

	while (lo < hi) {
		unsigned int mid = (lo + hi) / 2;

		if (b->windows[mid].bus <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static bool holds(const struct npu_model_window *w, uint64_t addr)
{
	return addr >= w->bus && addr - w->bus < w->size;
}

static void remember(struct bus *b, const struct npu_model_window *w)
{
	unsigned int i = upper(b, w->bus);

	if (i && holds(&b->windows[i - 1], w->bus))
		return;		/* another thread was faster */
	if (b->count == b->room) {
		unsigned int room = b->room ? b->room * 2 : 16;
		struct npu_model_window *n;

		if (room > MAX_WINDOWS)
			return;
		n = realloc(b->windows, room * sizeof(*n));
		if (!n)
			return;
		b->windows = n;
		b->room = room;
	}
	memmove(&b->windows[i + 1], &b->windows[i], (b->count - i) * sizeof(*w));
	b->windows[i] = *w;
	b->count++;
}

int bus_find(struct bus *b, uint64_t addr, uint64_t len, struct npu_model_window *out)
{
	bool found = false;
	unsigned int i;

	pthread_mutex_lock(&b->lock);
	i = upper(b, addr);
	if (i && holds(&b->windows[i - 1], addr)) {
		*out = b->windows[i - 1];
		found = true;
	}
	pthread_mutex_unlock(&b->lock);
	if (!found) {
		memset(out, 0, sizeof(*out));
		out->fd = -1;
		if (b->ops.window(b->host, addr, out) || !holds(out, addr) || !out->host)
			return -EFAULT;
		pthread_mutex_lock(&b->lock);
		remember(b, out);
		pthread_mutex_unlock(&b->lock);
	}
	return out->size - (addr - out->bus) >= len ? 0 : -EFAULT;
}

void *bus_ptr(struct bus *b, uint64_t addr, uint64_t len, bool write)
{
	struct npu_model_window w;

	if (bus_find(b, addr, len, &w) || (write && !w.writable))
		return NULL;
	return (uint8_t *)w.host + (addr - w.bus);
}

static int bus_copy(struct bus *b, uint64_t addr, uint8_t *buf, size_t len, bool write)
{
	while (len) {
		struct npu_model_window w;
		uint8_t *host;
		size_t n;

		if (bus_find(b, addr, 1, &w) || (write && !w.writable))
			return -EFAULT;
		n = w.size - (addr - w.bus) < len ? w.size - (addr - w.bus) : len;
		host = (uint8_t *)w.host + (addr - w.bus);
		if (write)
			memcpy(host, buf, n);
		else
			memcpy(buf, host, n);
		addr += n;
		buf += n;
		len -= n;
	}
	return 0;
}

int bus_read(struct bus *b, uint64_t addr, void *buf, size_t len)
{
	return bus_copy(b, addr, buf, len, false);
}

int bus_write(struct bus *b, uint64_t addr, const void *buf, size_t len)
{
	return bus_copy(b, addr, (uint8_t *)buf, len, true);
}
