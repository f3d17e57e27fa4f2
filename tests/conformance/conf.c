/* SPDX-License-Identifier: MIT */
/* The table: cases, instances, comparison. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf_impl.h"

static struct conf_case *cases;
static size_t ncases, cases_room;

void conf_add(const struct conf_case *c, const char *fmt, ...)
{
	va_list ap;

	if (ncases == cases_room) {
		struct conf_case *more;

		cases_room = cases_room ? 2 * cases_room : 512;
		more = realloc(cases, cases_room * sizeof(*cases));
		if (!more) {
			fprintf(stderr, "conformance: out of memory for the table\n");
			exit(1);
		}
		cases = more;
	}
	cases[ncases] = *c;
	va_start(ap, fmt);
	vsnprintf(cases[ncases].name, sizeof(cases[ncases].name), fmt, ap);
	va_end(ap);
	ncases++;
}

static void build(void)
{
	if (ncases)
		return;
	conf_add_matrix();
	conf_add_norms();
	conf_add_maps();
	conf_add_rows();
}

size_t conf_count(void)
{
	build();
	return ncases;
}

const char *conf_name(size_t i)
{
	build();
	return cases[i].name;
}

const char *conf_fill_name(enum conf_fill fill)
{
	static const char *const names[FILL_COUNT] = { "normal", "large", "tiny", "special", "positive", "ties" };

	return names[fill];
}

/* ---- Contents ------------------------------------------------------------------------ */

uint64_t conf_random(struct conf_instance *ci)
{
	uint64_t z = ci->seed += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

double conf_uniform(struct conf_instance *ci)
{
	return (double)(conf_random(ci) >> 11) * 0x1p-53;
}

static double normal(struct conf_instance *ci)
{
	double s = -6.0;

	for (int i = 0; i < 12; i++)
		s += conf_uniform(ci);
	return s;
}

static double value(struct conf_instance *ci, unsigned int type, enum conf_fill fill)
{
	double v = normal(ci);

	if (type >= NPU_TYPE_I8 && type <= NPU_TYPE_I64) {
		double top = type == NPU_TYPE_I8 ? 127 : type == NPU_TYPE_I16 ? 32767 : 0x1p31 - 1;

		return trunc((2 * conf_uniform(ci) - 1) * (fill == FILL_LARGE ? top : 100.0));
	}
	switch (fill) {
	case FILL_LARGE:
		return type == NPU_TYPE_F16 ? (2 * conf_uniform(ci) - 1) * 60000.0 : v * 3e29;
	case FILL_TINY:
		return type == NPU_TYPE_F16 ? v * 0x1p-16 : v * 0x1p-128;
	case FILL_SPECIAL:
		switch (conf_random(ci) % 23) {
		case 0:
			return conf_random(ci) % 4 ? v : NAN;
		case 1:
			return INFINITY;
		case 2:
			return -INFINITY;
		case 3:
			return -0.0;
		case 4:
			return 0.0;
		}
		return v;
	case FILL_POSITIVE:
		return fabs(v) + 0x1p-10;
	case FILL_TIES:
		return (double)(conf_random(ci) % 5) - 2.0;
	default:
		return v;
	}
}

static void random_bytes(struct conf_instance *ci, uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)(conf_random(ci) >> 24);
}

/* A block of any quantised type: random codes, scales about 1 / (largest code). */
static void random_block(struct conf_instance *ci, unsigned int type, uint8_t *p)
{
	double scale = (0.2 + conf_uniform(ci)) * (conf_random(ci) % 2 ? 1 : -1);

	random_bytes(ci, p, conf_block_bytes(type));
	switch (type) {
	case NPU_TYPE_A8:
	case NPU_TYPE_A8_K:
		conf_encode(NPU_TYPE_F32, p, scale / 127);
		break;
	case NPU_TYPE_Q8_0:
		conf_encode(NPU_TYPE_F16, p, scale / 127);
		break;
	case NPU_TYPE_Q4_0:
		conf_encode(NPU_TYPE_F16, p, scale / 8);
		break;
	case NPU_TYPE_Q4_K:
		conf_encode(NPU_TYPE_F16, p, fabs(scale) / 15 / 63);
		conf_encode(NPU_TYPE_F16, p + 2, (0.2 + conf_uniform(ci)) / 2 / 63);
		break;
	case NPU_TYPE_Q6_K:
		conf_encode(NPU_TYPE_F16, p + 208, scale / 32 / 127);
		break;
	}
}

void conf_fill_tensor(struct conf_instance *ci, const struct npu_tensor *t, enum conf_fill fill)
{
	uint32_t len = conf_block_len(t->type);

	if (ci->failed)
		return;
	EACH_ROW(t->ne, i1, i2, i3) {
		for (uint64_t i0 = 0; i0 < t->ne[0]; i0 += len) {
			uint8_t *p = conf_at(ci, t, i0, i1, i2, i3);

			if (len > 1)
				random_block(ci, t->type, p);
			else
				conf_encode(t->type, p, value(ci, t->type, fill));
		}
	}
}

/* ---- Tensors --------------------------------------------------------------------------- */

static uint32_t new_buf(struct conf_instance *ci, size_t bytes, bool output, uint64_t *field)
{
	struct conf_buf *b = &ci->bufs[ci->nbufs];
	struct conf_reloc *r = &ci->relocs[ci->nrelocs++];

	b->size = (bytes + 2 * CONF_GUARD + 63) / 64 * 64;
	b->output = output;
	b->data = aligned_alloc(64, b->size);
	b->before = malloc(b->size);
	ci->failed |= !b->data || !b->before;
	if (!ci->failed)
		random_bytes(ci, b->data, b->size);
	r->field = (uint32_t)((uint8_t *)field - ci->packet);
	r->buf = ci->nbufs;
	r->add = CONF_GUARD;
	*field = CONF_GUARD;
	return ci->nbufs++;
}

uint32_t conf_buf_of(const struct conf_instance *ci, const struct npu_tensor *t)
{
	uint32_t field = (uint32_t)((const uint8_t *)&t->addr - ci->packet);

	for (uint32_t i = 0; i < ci->nrelocs; i++)
		if (ci->relocs[i].field == field)
			return ci->relocs[i].buf;
	return CONF_BUFS;
}

void conf_tensor(struct conf_instance *ci, struct npu_tensor *t, unsigned int type, const uint32_t *ne,
		 enum conf_stride stride, bool output)
{
	uint32_t size = conf_block_bytes(type), len = conf_block_len(type);
	uint64_t at = size;
	unsigned int order[NPU_DIMS] = { 0, 1, 2, 3 };

	t->type = (uint8_t)type;
	if (stride == STRIDE_TRANSPOSED) {
		order[0] = 1;
		order[1] = 0;
	}
	for (unsigned int i = 0; i < NPU_DIMS; i++) {
		unsigned int d = order[i];

		t->ne[d] = ne[d];
		t->nb[d] = at;
		at *= d ? ne[d] : ne[d] / len;
		if (stride == STRIDE_PADDED)
			at += i == 0 ? 3 * size : size;
	}
	new_buf(ci, at, output, &t->addr);
}

uint8_t *conf_vector(struct conf_instance *ci, uint64_t *field, size_t bytes)
{
	uint32_t b = new_buf(ci, bytes, false, field);

	return ci->failed ? NULL : ci->bufs[b].data + CONF_GUARD;
}

uint8_t *conf_at(struct conf_instance *ci, const struct npu_tensor *t, uint64_t i0, uint64_t i1, uint64_t i2,
		 uint64_t i3)
{
	return ci->bufs[conf_buf_of(ci, t)].data + CONF_GUARD + i0 / conf_block_len(t->type) * t->nb[0] + i1 * t->nb[1] +
	       i2 * t->nb[2] + i3 * t->nb[3];
}

double conf_get(struct conf_instance *ci, const struct npu_tensor *t, uint64_t i0, uint64_t i1, uint64_t i2,
		uint64_t i3)
{
	return conf_decode(t->type, conf_at(ci, t, i0, i1, i2, i3), i0 % conf_block_len(t->type));
}

void conf_expect(struct conf_instance *ci, const struct npu_tensor *t, uint64_t i0, uint64_t i1, uint64_t i2,
		 uint64_t i3, double want, double tol)
{
	struct conf_value *v;

	if (ci->nvalues == ci->room) {
		ci->room = ci->room ? 2 * ci->room : 256;
		v = realloc(ci->values, ci->room * sizeof(*v));
		if (!v) {
			ci->failed = true;
			ci->room = ci->nvalues;
			return;
		}
		ci->values = v;
	}
	v = &ci->values[ci->nvalues++];
	v->buf = conf_buf_of(ci, t);
	v->offset = (uint64_t)(conf_at(ci, t, i0, i1, i2, i3) - ci->bufs[v->buf].data);
	v->index = (uint32_t)(i0 % conf_block_len(t->type));
	v->type = t->type;
	v->want = want;
	v->tol = isfinite(want) && isfinite(tol) ? tol : 0.0;
}

static bool is_act(unsigned int type)
{
	return type == NPU_TYPE_A8 || type == NPU_TYPE_A8_K;
}

/*
 * What was expected of elements is stored quantised: half a step besides, of a scale that is off by as much
 * as the largest element. Values of a block were added one after the other.
 */
static void expect_quantised(struct conf_instance *ci)
{
	for (size_t at = 0; at < ci->nvalues && !ci->failed;) {
		uint32_t len = is_act(ci->values[at].type) ? conf_block_len(ci->values[at].type) : 1;
		double amax = 0.0, tol = 0.0;
		bool finite = true;

		for (uint32_t i = 0; i < len && len > 1; i++) {
			const struct conf_value *v = &ci->values[at + i];

			finite &= isfinite(v->want) != 0;
			amax = fmax(amax, fabs(v->want));
			tol = fmax(tol, v->tol);
		}
		for (uint32_t i = 0; i < len && len > 1; i++) {
			struct conf_value *v = &ci->values[at + i];

			v->tol = finite ? 0.5001 * amax / 127.0 + 2.0 * (v->tol + tol) + 0x1p-119 : 0.0;
			v->want = finite ? v->want : NAN;
		}
		at += len;
	}
}

/* ---- Instances ---------------------------------------------------------------------------- */

int conf_make(size_t i, struct conf_instance *ci)
{
	struct npu_cmd *cmd = (struct npu_cmd *)ci->packet;

	build();
	memset(ci, 0, sizeof(*ci));
	ci->name = cases[i].name;
	ci->seed = 0xcbf29ce484222325ull;
	for (const char *s = ci->name; *s; s++)
		ci->seed = (ci->seed ^ (uint8_t)*s) * 0x100000001b3ull;
	cmd->opcode = (uint16_t)cases[i].op;
	cmd->signal = NPU_NO_TOKEN;
	cases[i].make(ci, &cases[i]);
	expect_quantised(ci);
	cmd->len = (uint8_t)(ci->len / NPU_PACKET_ALIGN);
	if (ci->failed) {
		conf_free(ci);
		return -ENOMEM;
	}
	for (uint32_t b = 0; b < ci->nbufs; b++)
		memcpy(ci->bufs[b].before, ci->bufs[b].data, ci->bufs[b].size);
	return 0;
}

void conf_free(struct conf_instance *ci)
{
	for (uint32_t b = 0; b < ci->nbufs; b++) {
		free(ci->bufs[b].data);
		free(ci->bufs[b].before);
	}
	free(ci->values);
	memset(ci, 0, sizeof(*ci));
}

void conf_place(struct conf_instance *ci, uint32_t buf, uint64_t va)
{
	for (uint32_t i = 0; i < ci->nrelocs; i++) {
		uint64_t addr = va + ci->relocs[i].add;

		if (ci->relocs[i].buf == buf)
			memcpy(ci->packet + ci->relocs[i].field, &addr, sizeof(addr));
	}
}

void conf_restore(struct conf_instance *ci)
{
	for (uint32_t b = 0; b < ci->nbufs; b++)
		if (ci->bufs[b].output)
			memcpy(ci->bufs[b].data, ci->bufs[b].before, ci->bufs[b].size);
}

uint64_t conf_digest(const struct conf_instance *ci)
{
	uint64_t h = 0xcbf29ce484222325ull;

	for (uint32_t b = 0; b < ci->nbufs; b++)
		for (size_t i = 0; ci->bufs[b].output && i < ci->bufs[b].size; i++)
			h = (h ^ ci->bufs[b].data[i]) * 0x100000001b3ull;
	return h;
}

/* ---- Comparison ------------------------------------------------------------------------------ */

/* Half a unit in the last place of @type at @v, and the largest finite value. */
static double rounding(unsigned int type, double v, double *max)
{
	int e, digits, emin;

	switch (type) {
	case NPU_TYPE_F32:
		digits = 24;
		emin = -126;
		*max = 0x1.fffffep127;
		break;
	case NPU_TYPE_F16:
		digits = 11;
		emin = -14;
		*max = 65504.0;
		break;
	case NPU_TYPE_BF16:
		digits = 8;
		emin = -126;
		*max = 0x1.fep127;
		break;
	default:
		*max = INFINITY;
		return 0.0;
	}
	frexp(v, &e);
	e -= 1;
	if (v == 0.0 || e < emin)
		e = emin;
	return ldexp(0.5, e - digits + 1);
}

static bool canonical_nan(const struct conf_value *v, const uint8_t *p)
{
	uint32_t u = 0;

	memcpy(&u, p, v->type == NPU_TYPE_F32 || is_act(v->type) ? 4 : 2);
	switch (v->type) {
	case NPU_TYPE_F32:
	case NPU_TYPE_A8:	/* the scale */
	case NPU_TYPE_A8_K:
		return u == 0x7fc00000u;
	case NPU_TYPE_BF16:
		return u == 0x7fc0u;
	default:	/* F16, and the scale of block types */
		return u == 0x7e00u;
	}
}

static bool matches(const struct conf_value *v, const uint8_t *p, double got)
{
	double max, half;

	if (isnan(v->want))
		return isnan(got) && canonical_nan(v, p);
	if (isnan(got))
		return false;
	if (isinf(v->want))
		return got == v->want;
	half = rounding(v->type, fabs(v->want) + v->tol, &max);
	if (v->type != NPU_TYPE_F32)	/* narrower types are rounded from F32 */
		half += fabs(v->want) * EPS32 * 1.01 + 0x1p-149;
	if (isinf(got))
		return copysign(1.0, got) == copysign(1.0, v->want) &&
		       (fabs(v->want) + v->tol) * (1.0 + EPS32) >= max + rounding(v->type, max, &max);
	return fabs(got - v->want) <= v->tol + half;
}

/* Bytes of output buffers that hold no result must be as before. */
static bool untouched(const struct conf_instance *ci, uint32_t b, char *text, size_t size)
{
	const struct conf_buf *buf = &ci->bufs[b];
	uint8_t *covered = calloc(1, buf->size);
	bool ok = covered;

	for (size_t i = 0; covered && i < ci->nvalues; i++)
		if (ci->values[i].buf == b)
			memset(covered + ci->values[i].offset, 1, conf_block_bytes(ci->values[i].type));
	for (size_t i = 0; ok && i < buf->size; i++) {
		if (covered[i] || buf->data[i] == buf->before[i])
			continue;
		snprintf(text, size, "%s: buffer %u: byte %zd, outside the result, was changed", ci->name, b,
			 (ssize_t)i - CONF_GUARD);
		ok = false;
	}
	free(covered);
	return ok;
}

bool conf_check(const struct conf_instance *ci, char *text, size_t size)
{
	for (size_t i = 0; i < ci->nvalues; i++) {
		const struct conf_value *v = &ci->values[i];
		const uint8_t *p = ci->bufs[v->buf].data + v->offset;
		double got = conf_decode(v->type, p, v->index);

		if (matches(v, p, got))
			continue;
		snprintf(text, size, "%s: result %zu (%s at byte %" PRIu64 "): got %.9g, expected %.9g +- %.3g", ci->name,
			 i, conf_type_name(v->type), v->offset - CONF_GUARD, got, v->want, v->tol);
		return false;
	}
	for (uint32_t b = 0; b < ci->nbufs; b++)
		if (!untouched(ci, b, text, size))
			return false;
	return true;
}
