// SPDX-License-Identifier: MIT
/* Timelines of the software device, and waiting. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "soft.h"

#define TIMELINE(f) (((struct soft_fence *)(f))->timeline)

/* ---- Events -------------------------------------------------------------------------- */

static void wait_event(struct soft_device *sd, uint64_t seen, int64_t deadline_ns)
{
	struct timespec ts = { deadline_ns / 1000000000, deadline_ns % 1000000000 };
	int err = 0;

	pthread_mutex_lock(&sd->event_lock);
	while (sd->generation == seen && err != ETIMEDOUT) {
		if (deadline_ns == INT64_MAX)
			pthread_cond_wait(&sd->changed, &sd->event_lock);
		else
			err = pthread_cond_timedwait(&sd->changed, &sd->event_lock, &ts);
	}
	pthread_mutex_unlock(&sd->event_lock);
}

/* Waiters look at the registers now and then, in case an interrupt was lost. */
static int64_t next_look(int64_t deadline_ns)
{
	int64_t look = npu_now_ns() + SOFT_LOOK_NS + 1000000;

	return look < deadline_ns ? look : deadline_ns;
}

static uint64_t waiter_enter(struct soft_device *sd, int delta)
{
	uint32_t waiters;
	uint64_t gen;

	pthread_mutex_lock(&sd->event_lock);
	sd->waiters += (uint32_t)delta;
	waiters = sd->waiters;
	gen = sd->generation;
	pthread_mutex_unlock(&sd->event_lock);
	/* An interrupt that came for the last waiter after its last look is the worker's now. */
	if (!waiters && atomic_load(&sd->irq))
		pthread_cond_signal(&sd->work);
	return gen;
}

int soft_wait(struct soft_device *sd, int (*done)(struct soft_device *sd, void *arg), void *arg, int64_t deadline_ns)
{
	uint64_t gen = waiter_enter(sd, 1);
	int ret;

	for (;;) {
		soft_lock(sd);
		soft_service(sd);
		ret = done(sd, arg);
		soft_unlock(sd);
		if (ret)
			break;
		if (deadline_ns != INT64_MAX && npu_now_ns() >= deadline_ns) {
			ret = -ETIME;
			break;
		}
		wait_event(sd, gen, next_look(deadline_ns));
		gen = waiter_enter(sd, 0);
	}
	waiter_enter(sd, -1);
	return ret;
}

/* ---- Timelines ------------------------------------------------------------------------- */

static void watch_free(struct soft_device *sd, struct soft_watch *w)
{
	close(w->fd);
	npu_free(&sd->base, w);
}

static void run_exports(struct soft_device *sd, struct soft_timeline *t)
{
	struct soft_watch **p = &t->exports;

	while (*p) {
		struct soft_watch *w = *p;

		if (w->value > t->value) {
			p = &w->next;
			continue;
		}
		eventfd_write(w->fd, 1);
		*p = w->next;
		watch_free(sd, w);
	}
}

int soft_timeline_promise(struct soft_device *sd, struct soft_timeline *t, uint64_t value)
{
	if (t->count == t->room) {
		uint32_t room = t->room ? 2 * t->room : 16;
		void *p = npu_resize(&sd->base, t->links, room * sizeof(*t->links));

		if (!p)
			return -ENOMEM;
		t->links = p;
		t->room = room;
	}
	t->links[t->count].value = value;
	t->links[t->count].done = false;
	t->count++;
	return 0;
}

/* A point counts as signalled when all below it are, as in a chain of kernel fences. */
void soft_timeline_signal(struct soft_device *sd, struct soft_timeline *t, uint64_t value)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < t->count; i++)
		if (t->links[i].value == value)
			t->links[i].done = true;
	while (n < t->count && t->links[n].done)
		t->value = t->links[n++].value;
	if (!n)
		return;
	t->count -= n;
	memmove(t->links, t->links + n, t->count * sizeof(*t->links));
	run_exports(sd, t);
	sd->event = true;
}

void soft_timeline_forget(struct soft_timeline *t, uint64_t value)
{
	for (uint32_t i = t->count; i-- > 0;)
		if (t->links[i].value == value) {
			memmove(&t->links[i], &t->links[i + 1], (t->count - i - 1) * sizeof(*t->links));
			t->count--;
			return;
		}
}

static void importing_remove(struct soft_device *sd, struct soft_timeline *t)
{
	for (struct soft_timeline **p = &sd->importing; *p; p = &(*p)->next_import)
		if (*p == t) {
			*p = t->next_import;
			return;
		}
}

void soft_timeline_unref(struct soft_device *sd, struct soft_timeline *t)
{
	struct soft_watch *w;

	if (--t->refs)
		return;
	importing_remove(sd, t);
	while ((w = t->exports)) {
		t->exports = w->next;
		watch_free(sd, w);
	}
	while ((w = t->imports)) {
		t->imports = w->next;
		watch_free(sd, w);
	}
	npu_free(&sd->base, t->links);
	npu_free(&sd->base, t);
}

void soft_fence_poll_imports(struct soft_device *sd)
{
	struct soft_timeline **p = &sd->importing;

	while (*p) {
		struct soft_timeline *t = *p;
		struct soft_watch **q = &t->imports;

		while (*q) {
			struct soft_watch *w = *q;
			struct pollfd pf = { .fd = w->fd, .events = POLLIN };

			if (poll(&pf, 1, 0) != 1) {
				q = &w->next;
				continue;
			}
			*q = w->next;
			soft_timeline_signal(sd, t, w->value);
			watch_free(sd, w);
		}
		if (t->imports)
			p = &t->next_import;
		else
			*p = t->next_import;
	}
}

/* ---- The back end's functions ------------------------------------------------------------- */

int soft_fence_create(struct npu_fence *f)
{
	TIMELINE(f) = npu_alloc(f->dev, sizeof(*TIMELINE(f)));
	if (!TIMELINE(f))
		return npu_fail(f->dev, -ENOMEM, "no memory for a fence");
	TIMELINE(f)->refs = 1;
	return 0;
}

void soft_fence_destroy(struct npu_fence *f)
{
	struct soft_device *sd = SD(f->dev);

	soft_lock(sd);
	soft_timeline_unref(sd, TIMELINE(f));
	soft_unlock(sd);
}

struct wait_arg {
	const struct npu_point *points;
	unsigned int count;
	bool all;
};

/* Index + 1 of the first signalled point (any), 1 (all), or 0. */
static int points_done(struct soft_device *sd, void *data)
{
	const struct wait_arg *a = data;

	(void)sd;
	for (unsigned int i = 0; i < a->count; i++) {
		bool done = TIMELINE(a->points[i].fence)->value >= a->points[i].value;

		if (done && !a->all)
			return (int)i + 1;
		if (!done && a->all)
			return 0;
	}
	return a->all;
}

int soft_fence_wait(struct npu_device *dev, const struct npu_point *points, unsigned int count, bool all,
		    int64_t deadline_ns)
{
	struct wait_arg a = { points, count, all };
	int ret = soft_wait(SD(dev), points_done, &a, deadline_ns);

	return ret < 0 ? ret : ret - 1;
}

int soft_fence_signal(struct npu_fence *f, uint64_t value)
{
	struct soft_device *sd = SD(f->dev);
	int err;

	soft_lock(sd);
	err = soft_timeline_promise(sd, TIMELINE(f), value);
	if (!err) {
		soft_timeline_signal(sd, TIMELINE(f), value);
		soft_service(sd);
	}
	soft_unlock(sd);
	return err ? npu_fail(f->dev, err, "no memory for a point of a fence") : 0;
}

int soft_fence_value(struct npu_fence *f, uint64_t *value)
{
	struct soft_device *sd = SD(f->dev);

	soft_lock(sd);
	soft_service(sd);
	*value = TIMELINE(f)->value;
	soft_unlock(sd);
	return 0;
}

int soft_fence_export(struct npu_fence *f, uint64_t value, int *fd)
{
	struct soft_device *sd = SD(f->dev);
	struct soft_watch *w = npu_alloc(f->dev, sizeof(*w));
	int out = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), err = 0;

	if (!w || out < 0 || (w->fd = dup(out)) < 0) {
		err = npu_fail(f->dev, w ? -errno : -ENOMEM, "export a fence: %s", w ? strerror(errno) : "no memory");
		npu_free(f->dev, w);
		if (out >= 0)
			close(out);
		return err;
	}
	w->value = value;
	soft_lock(sd);
	w->next = TIMELINE(f)->exports;
	TIMELINE(f)->exports = w;
	run_exports(sd, TIMELINE(f));
	soft_unlock(sd);
	*fd = out;
	return 0;
}

int soft_fence_import(struct npu_fence *f, uint64_t value, int fd)
{
	struct soft_device *sd = SD(f->dev);
	struct soft_timeline *t = TIMELINE(f);
	struct pollfd pf = { .fd = fd, .events = POLLIN };
	struct soft_watch *w;
	int err;

	if (poll(&pf, 1, 0) < 0 || (pf.revents & POLLNVAL))
		return npu_fail(f->dev, -EINVAL, "import a fence: descriptor %d cannot be polled", fd);
	w = npu_alloc(f->dev, sizeof(*w));
	if (!w || (w->fd = dup(fd)) < 0) {
		err = npu_fail(f->dev, w ? -errno : -ENOMEM, "import a fence: %s", w ? strerror(errno) : "no memory");
		npu_free(f->dev, w);
		return err;
	}
	w->value = value;
	soft_lock(sd);
	err = soft_timeline_promise(sd, t, value);
	if (!err) {
		importing_remove(sd, t);
		t->next_import = sd->importing;
		sd->importing = t;
		w->next = t->imports;
		t->imports = w;
	}
	soft_unlock(sd);
	if (err) {
		watch_free(sd, w);
		return npu_fail(f->dev, err, "import a fence: no memory");
	}
	pthread_mutex_lock(&sd->event_lock);
	pthread_cond_signal(&sd->work);
	pthread_mutex_unlock(&sd->event_lock);
	return 0;
}
