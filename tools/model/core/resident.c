// SPDX-License-Identifier: MIT
/*
 * On-chip memory in the timing model: which operands it holds, as hints of
 * the commands say, and what they cost the memory channel because of it. Results
 * never depend on it. counters-and-timing.rst is the text.
 *
 * What is held are blocks: rows of bytes at one distance. All of them belong to
 * one queue, whose job runs.
 */
#include <string.h>

#include "core.h"

static uint64_t min64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* ---- Operands as blocks -------------------------------------------------------------- */

static void sort_by_stride(uint64_t n[NPU_DIMS], uint64_t s[NPU_DIMS])
{
	for (unsigned int i = 1; i < NPU_DIMS; i++)
		for (unsigned int k = i; k && s[k - 1] > s[k]; k--) {
			uint64_t tn = n[k], ts = s[k];

			n[k] = n[k - 1];
			s[k] = s[k - 1];
			n[k - 1] = tn;
			s[k - 1] = ts;
		}
}

bool resident_rows(const struct npu_tensor *t, struct byte_rows *b)
{
	uint64_t n[NPU_DIMS], s[NPU_DIMS], size = npu_type_block_bytes(t->type);

	for (unsigned int i = 0; i < NPU_DIMS; i++) {
		n[i] = i ? t->ne[i] : t->ne[0] / npu_type_block_len(t->type);
		s[i] = n[i] > 1 ? t->nb[i] : 0;
	}
	if (t->layout != NPU_LAYOUT_ROWS)
		return false;
	*b = (struct byte_rows){ .lo = t->addr, .width = size, .rows = 1 };
	sort_by_stride(n, s);
	for (unsigned int i = 0; i < NPU_DIMS; i++) {
		if (n[i] == 1)
			continue;
		if (b->rows == 1 && s[i] == b->width) {
			b->width *= n[i];
		} else if (b->rows == 1 && s[i] > b->width) {
			b->pitch = s[i];
			b->rows = n[i];
		} else if (b->rows > 1 && s[i] == b->pitch * b->rows) {
			b->rows *= n[i];
		} else {
			return false;
		}
	}
	return true;
}

static uint64_t bytes_of(const struct byte_rows *b)
{
	return b->width * b->rows;
}

static uint64_t end_of(const struct byte_rows *b)
{
	return b->lo + (b->rows - 1) * b->pitch + b->width;
}

static bool holds(const struct byte_rows *s, const struct byte_rows *b)
{
	uint64_t row, column;

	if (b->lo < s->lo || end_of(b) > end_of(s))
		return false;
	if (s->rows == 1)
		return true;
	if (b->rows > 1 && b->pitch != s->pitch)
		return false;
	row = (b->lo - s->lo) / s->pitch;
	column = (b->lo - s->lo) % s->pitch;
	return column + b->width <= s->width && row + b->rows <= s->rows;
}

/* May they share a byte? */
static bool overlap(const struct byte_rows *a, const struct byte_rows *b)
{
	uint64_t d;

	if (a->lo >= end_of(b) || b->lo >= end_of(a))
		return false;
	if (a->rows == 1 || b->rows == 1 || a->pitch != b->pitch)
		return true;
	d = b->lo >= a->lo ? (b->lo - a->lo) % a->pitch : (a->pitch - (a->lo - b->lo) % a->pitch) % a->pitch;
	return d < a->width || d + b->width > a->pitch;
}

/* @b continues the rows of @s. */
static bool adjoins(const struct byte_rows *s, const struct byte_rows *b)
{
	return s->rows > 1 && s->rows == b->rows && s->pitch == b->pitch && b->lo == s->lo + s->width &&
	       s->width + b->width <= s->pitch;
}

/* ---- What is held ---------------------------------------------------------------------- */

static void forget(struct resident *r, unsigned int i)
{
	r->used -= r->part[i].live;
	r->part[i] = r->part[--r->count];
}

/* Returns bytes that are written to memory. */
static uint64_t leave(struct resident *r, unsigned int i)
{
	uint64_t dirty = r->part[i].dirty;

	forget(r, i);
	return dirty;
}

static struct resident_part *find(struct resident *r, const struct byte_rows *b)
{
	for (unsigned int i = 0; i < r->count; i++)
		if (holds(&r->part[i].block, b))
			return &r->part[i];
	return NULL;
}

/* Room for @bytes at the cost of what was used longest ago, but not by this command. */
static bool make_room(struct resident *r, uint64_t bytes, uint64_t *written)
{
	while (r->used + bytes > r->size || r->count == RESIDENT_PARTS) {
		unsigned int oldest = 0;

		for (unsigned int i = 1; i < r->count; i++)
			if (r->part[i].stamp < r->part[oldest].stamp)
				oldest = i;
		if (!r->count || r->part[oldest].stamp == r->stamp)
			return false;
		*written += leave(r, oldest);
	}
	return true;
}

static bool insert(struct resident *r, const struct byte_rows *b, uint64_t dirty, uint64_t *written)
{
	uint64_t bytes = bytes_of(b);

	for (unsigned int i = 0; i < r->count; i++)
		if (adjoins(&r->part[i].block, b))
			r->part[i].stamp = r->stamp;
	if (bytes > r->size || !make_room(r, bytes, written))
		return false;
	r->used += bytes;
	for (unsigned int i = 0; i < r->count; i++) {
		struct resident_part *p = &r->part[i];

		if (!adjoins(&p->block, b))
			continue;
		p->block.width += b->width;
		if (p->block.width == p->block.pitch) {
			p->block.width *= p->block.rows;
			p->block.rows = 1;
			p->block.pitch = 0;
		}
		p->live += bytes;
		p->dirty += dirty;
		return true;
	}
	r->part[r->count++] = (struct resident_part){ *b, bytes, dirty, r->stamp };
	return true;
}

/* ---- One command ------------------------------------------------------------------------- */

/* A source must not leave for the sake of another operand. */
static void touch(struct resident *r, const struct npu_tensor *t)
{
	struct byte_rows b;
	struct resident_part *p = resident_rows(t, &b) ? find(r, &b) : NULL;

	if (p)
		p->stamp = r->stamp;
}

/* A source. Returns bytes that memory need not deliver. */
static uint64_t read_from(struct resident *r, const struct npu_tensor *t, uint64_t *written)
{
	struct byte_rows b;
	uint64_t bytes;

	if (!resident_rows(t, &b))
		return 0;
	bytes = bytes_of(&b);
	if (find(r, &b))
		return bytes;
	/* Memory must have what is read from it. */
	for (unsigned int i = 0; i < r->count; i++)
		if (r->part[i].dirty && overlap(&r->part[i].block, &b)) {
			*written += r->part[i].dirty;
			r->part[i].dirty = 0;
		}
	if (t->hint & NPU_HINT_KEEP)
		insert(r, &b, 0, written);
	return 0;
}

static void drop(struct resident *r, const struct npu_tensor *t)
{
	struct resident_part *p;
	struct byte_rows b;
	uint64_t bytes;

	if (!(t->hint & NPU_HINT_DROP) || !resident_rows(t, &b))
		return;
	p = find(r, &b);
	if (!p)
		return;
	bytes = min64(bytes_of(&b), p->live);
	p->live -= bytes;
	p->dirty -= min64(bytes, p->dirty);
	r->used -= bytes;
	if (!p->live)
		forget(r, (unsigned int)(p - r->part));
}

/* A destination. Returns bytes that memory need not take now. */
static uint64_t write_to(struct resident *r, const struct npu_tensor *t, uint64_t *written)
{
	bool local = t->hint & NPU_HINT_LOCAL;
	struct resident_part *p;
	struct byte_rows b;
	uint64_t bytes;

	if (!resident_rows(t, &b))
		return 0;
	bytes = bytes_of(&b);
	p = t->hint & NPU_HINT_KEEP ? find(r, &b) : NULL;
	if (p) {
		p->stamp = r->stamp;
		p->dirty = local ? min64(p->live, p->dirty + bytes) : p->dirty - min64(p->dirty, bytes);
		return local ? bytes : 0;
	}
	for (unsigned int i = r->count; i-- > 0;) {
		if (!overlap(&r->part[i].block, &b))
			continue;
		if (holds(&b, &r->part[i].block))
			forget(r, i);
		else
			*written += leave(r, i);
	}
	if (!(t->hint & NPU_HINT_KEEP) || !insert(r, &b, local ? bytes : 0, written))
		return 0;
	return local ? bytes : 0;
}

void resident_size(struct npu_model *m)
{
	/* An eighth is for operands on their way. */
	m->resident.size = (uint64_t)m->cfg.sram_kb * 1024 / 8 * 7;
}

uint64_t resident_flush(struct npu_model *m)
{
	uint64_t written = 0;

	while (m->resident.count)
		written += leave(&m->resident, m->resident.count - 1);
	return written;
}

uint64_t resident_account(struct npu_model *m, const struct queue *q, const void *packet, uint64_t *saved_read,
			  uint64_t *saved_write)
{
	struct resident *r = &m->resident;
	struct npu_op_operand op[NPU_OP_TENSORS];
	unsigned int n = npu_op_operands(packet, op);
	uint64_t written = 0;
	bool hints = r->count;

	*saved_read = *saved_write = 0;
	for (unsigned int i = 0; i < n; i++)
		hints |= op[i].t->hint != 0;
	if (!hints)
		return 0;
	if (r->owner != q->index)
		written += resident_flush(m);
	r->owner = q->index;
	r->stamp++;
	for (unsigned int i = 0; i < n; i++)
		if (op[i].access & NPU_OP_READ)
			touch(r, op[i].t);
	for (unsigned int i = 0; i < n; i++)
		if (op[i].access & NPU_OP_READ)
			*saved_read += read_from(r, op[i].t, &written);
	/* What is used for the last time makes room for the result. */
	for (unsigned int i = 0; i < n; i++)
		if (!(op[i].access & NPU_OP_WRITE))
			drop(r, op[i].t);
	for (unsigned int i = 0; i < n; i++)
		if (op[i].access & NPU_OP_WRITE)
			*saved_write += write_to(r, op[i].t, &written);
	return written;
}
