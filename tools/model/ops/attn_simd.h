/* SPDX-License-Identifier: MIT */
/*
 * attn_simd.h - template of the fast attention kernel; include after simd_*.h.
 *
 * For each tile of 64 positions the keys are widened and transposed, so that
 * lanes are positions while scores are summed over d, and the values are
 * widened, so that lanes are d while they are summed over positions. Queries
 * pass over the tile four at a time. Each sum has the order of attn_ref.c.
 */
#include <string.h>

#include "attn_impl.h"
#include "mathfn_simd.h"
#include "row.h"
#include "tile.h"

#define TILE		NPU_ATTN_TILE
#define TV		(TILE / VL)	/* vectors across a tile */
#define QUAD		4		/* queries at a time */
#define MOST		128		/* queries per run */
#define FETCH_ROWS	4		/* of keys and of values, at a time */
#define INLINE		static inline __attribute__((always_inline))
#define UNROLL		_Pragma("GCC unroll 16")

/* A query of the run. */
struct lane {
	struct npu_attn_query at;
	int32_t max;		/* M */
	uint32_t lo, hi;	/* visible part of the current tile */
	float *q;		/* [d] */
	float *o;		/* [dv padded] */
	float *l;		/* [16] */
	float *t;		/* [TILE]: scores, then weights; of its place in the quad */
};

struct run {
	const struct npu_attn *at;
	struct npu_attn_factors factors;
	uint32_t group, count;
	uint32_t d, dv;		/* padded to whole vectors */
	uint64_t tile;		/* first position */
	uint64_t begin, end;	/* of all queries */
	uint32_t lo, hi;	/* part of the tile that some query sees */
	struct lane *lanes;
	float *kt;		/* [d][TILE] */
	float *v;		/* [TILE][dv] */
	uint64_t fetch, fetch_end;	/* positions of fetch_group that are not yet on their way */
	uint32_t fetch_group;
	const uint8_t *key[TILE], *value[TILE];	/* as stored, from lo to hi */
	size_t key_bytes, value_bytes;
	uint8_t *key_room, *value_room;		/* for those whose bytes have to be collected */
};

static uint32_t pad(uint32_t n)
{
	return (n + 15) & ~15u;
}

/* ---- Widening -------------------------------------------------------------------- */

INLINE vf widen(unsigned int type, const uint8_t *row, uint32_t d)
{
	const uint8_t *b;

	if (type == NPU_TYPE_F32)
		return vf_load((const float *)row + d);
	if (type == NPU_TYPE_F16)
		return vf_load_f16((const uint16_t *)row + d);
	b = row + d / NPU_Q_BLOCK * 34;
	return vf_mul(vf_load_i8(b + 2 + d % NPU_Q_BLOCK), vf_set1(npu_f16_to_f32(npu_load16(b))));
}

/* VL elements from @d on, zeros past the end of the row. */
INLINE vf widen_part(unsigned int type, const uint8_t *row, uint32_t d, uint32_t n)
{
	float tail[VL] = { 0 };

	if (d + VL <= n)
		return widen(type, row, d);
	/* Block types have whole vectors only. */
	if (d < n)
		npu_dequant_row(type, row + d * (type == NPU_TYPE_F32 ? 4 : 2), n - d, tail);
	return vf_load(tail);
}

/* VL keys from @j0 on, VL elements from @d on, transposed. Keys that nobody sees become zeros: they must not be read. */
INLINE void widen_square(const struct run *r, unsigned int type, uint32_t j0, uint32_t d)
{
	const uint8_t *const *row = r->key + j0;
	float *kt = r->kt + (size_t)d * TILE + j0;
	vf x[VL];

	if (r->lo <= j0 && j0 + VL <= r->hi && d + VL <= r->at->d) {
		UNROLL for (uint32_t i = 0; i < VL; i++)
			x[i] = widen(type, row[i], d);
	} else {
		for (uint32_t i = 0; i < VL; i++)
			x[i] = j0 + i < r->lo || j0 + i >= r->hi ? vf_zero() :
			       widen_part(type, row[i], d, r->at->d);
	}
	vf_transpose(x);
	UNROLL for (uint32_t i = 0; i < VL; i++)
		vf_store(kt + (size_t)i * TILE, x[i]);
}

INLINE void widen_keys(const struct run *r, unsigned int type)
{
	for (uint32_t j0 = 0; j0 < TILE; j0 += VL) {
		if (j0 + VL <= r->lo || j0 >= r->hi)
			continue;
		for (uint32_t d = 0; d < r->d; d += VL)
			widen_square(r, type, j0, d);
	}
}

INLINE void widen_values(const struct run *r, unsigned int type)
{
	for (uint32_t j = r->lo; j < r->hi; j++) {
		const uint8_t *row = r->value[j];
		float *v = r->v + (size_t)j * r->dv;
		uint32_t d = 0;

		for (; d + VL <= r->at->dv; d += VL)
			vf_store(v + d, widen(type, row, d));
		for (; d < r->dv; d += VL)
			vf_store(v + d, widen_part(type, row, d, r->at->dv));
	}
}

/*
 * What is read next, the next tile or the first one of @next_group, comes while the queries pass over this one:
 * a few rows at a time, since a CPU drops prefetches that it has no room for.
 */
static void fetch_begin(struct run *r, uint32_t next_group)
{
	r->fetch_group = r->group;
	r->fetch = r->tile + TILE;
	if (r->fetch >= r->end) {
		r->fetch_group = next_group;
		r->fetch = next_group == r->group ? r->end : r->begin;
	}
	r->fetch_end = r->end - r->fetch < TILE ? r->end : r->fetch / TILE * TILE + TILE;
}

static void fetch_rows(struct run *r)
{
	for (uint32_t i = 0; i < FETCH_ROWS && r->fetch < r->fetch_end; i++, r->fetch++) {
		npu_prefetch(npu_pieces_byte(&r->at->k, npu_attn_key(r->at, r->fetch_group, r->fetch)), r->key_bytes);
		npu_prefetch(npu_pieces_byte(&r->at->v, npu_attn_value(r->at, r->fetch_group, r->fetch)),
			     r->value_bytes);
	}
}

static void find_rows(struct run *r)
{
	for (uint32_t j = r->lo; j < r->hi; j++) {
		r->key[j] = npu_piece(&r->at->k, npu_attn_key(r->at, r->group, r->tile + j), r->key_bytes,
				      r->key_room + j * r->key_bytes);
		r->value[j] = npu_piece(&r->at->v, npu_attn_value(r->at, r->group, r->tile + j), r->value_bytes,
					r->value_room + j * r->value_bytes);
	}
}

static void widen_tile(const struct run *r)
{
	switch (r->at->kv_type) {
	case NPU_TYPE_F32:
		widen_keys(r, NPU_TYPE_F32);
		widen_values(r, NPU_TYPE_F32);
		break;
	case NPU_TYPE_F16:
		widen_keys(r, NPU_TYPE_F16);
		widen_values(r, NPU_TYPE_F16);
		break;
	default:
		widen_keys(r, NPU_TYPE_Q8_0);
		widen_values(r, NPU_TYPE_Q8_0);
	}
}

/* ---- Scores, weights, values ------------------------------------------------------- */

/* @nv vectors of s for each of @n queries, from position @j0 on. */
INLINE void scores(const struct run *r, uint32_t n, uint32_t nv, struct lane *const ln[], uint32_t j0)
{
	vf s[QUAD][4];
	const float *k = r->kt + j0;

	UNROLL for (uint32_t i = 0; i < n; i++)
		for (uint32_t v = 0; v < nv; v++)
			s[i][v] = vf_zero();
	for (uint32_t d = 0; d < r->at->d; d++, k += TILE) {
		vf kv[4];

		for (uint32_t v = 0; v < nv; v++)
			kv[v] = vf_load(k + v * VL);
		UNROLL for (uint32_t i = 0; i < n; i++) {
			vf q = vf_set1(ln[i]->q[d]);

			for (uint32_t v = 0; v < nv; v++)
				s[i][v] = vf_fma(q, kv[v], s[i][v]);
		}
	}
	UNROLL for (uint32_t i = 0; i < n; i++)
		for (uint32_t v = 0; v < nv; v++)
			vf_store(ln[i]->t + j0 + v * VL, s[i][v]);
}

/* Lanes of vector @v of the tile that the query sees. */
INLINE vm visible(const struct lane *ln, uint32_t v)
{
	uint32_t from = ln->lo < v * VL ? 0 : ln->lo - v * VL;
	uint32_t to = ln->hi < v * VL ? 0 : ln->hi - v * VL;

	return vm_andnot(vm_first(from > VL ? VL : from), vm_first(to > VL ? VL : to));
}

INLINE vf finish_score(const struct run *r, vf s)
{
	vf t = vf_mul(s, vf_set1(r->factors.inner));

	if (r->at->softcap != 0.0f)
		t = vf_mul(vf_tanh(t), vf_set1(r->factors.outer));
	/* Both return their second operand where it is a NaN. */
	return vf_min(vf_set1(NPU_ATTN_CLAMP), vf_max(vf_set1(-NPU_ATTN_CLAMP), t));
}

static void raise_max(const struct run *r, struct lane *ln, int32_t max)
{
	vf c = vf_set1(ln->max - max < -126 ? 0.0f : npu_pow2i(ln->max - max));

	for (uint32_t d = 0; d < r->dv; d += VL)
		vf_store(ln->o + d, vf_mul(vf_load(ln->o + d), c));
	for (uint32_t i = 0; i < 16; i += VL)
		vf_store(ln->l + i, vf_mul(vf_load(ln->l + i), c));
	ln->max = max;
}

/* s to weights in ln->t; M, o and l follow. */
static void weights(const struct run *r, struct lane *ln)
{
	vi top = vi_set1(ln->max);
	vf t[TV], floor_t[TV];
	uint32_t end = (r->hi + VL - 1) / VL;	/* behind it nothing is seen */
	int32_t max;

	for (uint32_t v = 0; v < end; v++) {
		vm seen = visible(ln, v);

		t[v] = finish_score(r, vf_load(ln->t + v * VL));
		floor_t[v] = vf_floor(t[v]);
		/* A NaN converts to the least integer, which raises nothing. */
		top = vi_max(top, vi_select(seen, vi_from_vf(floor_t[v]), top));
	}
	max = vi_hmax(top);
	if (max != ln->max)
		raise_max(r, ln, max);
	for (uint32_t v = 0; v < end; v++) {
		vi e = vi_sub(vi_from_vf(floor_t[v]), vi_set1(max));
		vf p = vf_exp2_poly(vf_sub(t[v], floor_t[v]));

		/* P is in [1, 2]: adding e to the exponent multiplies by 2^e exactly while e >= -126. */
		p = vi_as_vf(vi_add(vf_as_vi(p), vi_sll(e, 23)));
		p = vf_select(vm_lt_vi(e, vi_set1(-126)), vf_zero(), p);
		p = vf_select(vm_nan_vf(t[v]), t[v], p);
		p = vf_select(visible(ln, v), p, vf_zero());
		vf_store(ln->t + v * VL, p);
		/* l is never -0: adding +0 for positions that are not seen changes nothing. */
		vf_store(ln->l + v * VL % 16, vf_add(vf_load(ln->l + v * VL % 16), p));
	}
}

/* o += weights * values over positions [lo, hi) for @n queries and @nv vectors from @d on. */
INLINE void values(const struct run *r, uint32_t n, struct lane *const ln[], uint32_t d, uint32_t nv)
{
	const float *v = r->v + (size_t)ln[0]->lo * r->dv + d;
	vf o[QUAD][4];

	UNROLL for (uint32_t i = 0; i < n; i++)
		for (uint32_t c = 0; c < nv; c++)
			o[i][c] = vf_load(ln[i]->o + d + c * VL);
	for (uint32_t j = ln[0]->lo; j < ln[0]->hi; j++, v += r->dv) {
		vf vv[4];

		for (uint32_t c = 0; c < nv; c++)
			vv[c] = vf_load(v + c * VL);
		UNROLL for (uint32_t i = 0; i < n; i++) {
			vf p = vf_set1(ln[i]->t[j]);

			for (uint32_t c = 0; c < nv; c++)
				o[i][c] = vf_fma(p, vv[c], o[i][c]);
		}
	}
	UNROLL for (uint32_t i = 0; i < n; i++)
		for (uint32_t c = 0; c < nv; c++)
			vf_store(ln[i]->o + d + c * VL, o[i][c]);
}

INLINE void all_values(const struct run *r, uint32_t n, struct lane *const ln[])
{
	uint32_t d = 0;

	for (; d + 4 * VL <= r->dv; d += 4 * VL)
		values(r, n, ln, d, 4);
	for (; d < r->dv; d += VL)
		values(r, n, ln, d, 1);
}

/* The last tile has few positions as often as many. */
INLINE void all_scores(const struct run *r, uint32_t n, struct lane *const ln[])
{
	for (uint32_t j0 = r->lo / (4 * VL) * (4 * VL); j0 < r->hi; j0 += 4 * VL) {
		if (r->hi - j0 > 2 * VL)
			scores(r, n, 4, ln, j0);
		else if (r->hi - j0 > VL)
			scores(r, n, 2, ln, j0);
		else
			scores(r, n, 1, ln, j0);
	}
}

/* @n queries, 1 to QUAD, over the tile. */
static void quad(struct run *r, uint32_t n, struct lane *const ln[])
{
	bool same = n == QUAD;

	fetch_rows(r);
	if (n == QUAD)
		all_scores(r, QUAD, ln);
	for (uint32_t i = 0; i < n; i++) {
		fetch_rows(r);
		if (n < QUAD)
			all_scores(r, 1, ln + i);
		weights(r, ln[i]);
		same = same && ln[i]->lo == ln[0]->lo && ln[i]->hi == ln[0]->hi;
	}
	fetch_rows(r);
	if (same) {
		all_values(r, QUAD, ln);
		return;
	}
	for (uint32_t i = 0; i < n; i++)
		all_values(r, 1, ln + i);
}

/* ---- A run -------------------------------------------------------------------------- */

/* What of the tile each query sees; false: nothing of it is seen. */
static bool clip(struct run *r)
{
	r->lo = TILE;
	r->hi = 0;
	for (uint32_t i = 0; i < r->count; i++) {
		struct lane *ln = &r->lanes[i];
		uint64_t begin = ln->at.begin > r->tile ? ln->at.begin - r->tile : 0;
		uint64_t end = ln->at.end > r->tile ? ln->at.end - r->tile : 0;

		ln->lo = begin < TILE ? (uint32_t)begin : TILE;
		ln->hi = end < TILE ? (uint32_t)end : TILE;
		if (ln->lo >= ln->hi)
			continue;
		r->lo = ln->lo < r->lo ? ln->lo : r->lo;
		r->hi = ln->hi > r->hi ? ln->hi : r->hi;
	}
	return r->lo < r->hi;
}

static void tile(struct run *r, float *t, uint32_t next_group)
{
	struct lane *ln[QUAD];
	uint32_t n = 0;

	if (!clip(r))
		return;
	find_rows(r);
	widen_tile(r);
	fetch_begin(r, next_group);
	for (uint32_t i = 0; i < r->count; i++) {
		if (r->lanes[i].lo < r->lanes[i].hi) {
			ln[n] = &r->lanes[i];
			ln[n]->t = t + n * TILE;
			n++;
		}
		if (n == QUAD || (n && i + 1 == r->count)) {
			quad(r, n, ln);
			n = 0;
		}
	}
}

static void finish(const struct run *r, struct lane *ln)
{
	float *l = ln->l;

	for (int half = 8; half; half /= 2)
		for (int i = 0; i < half; i++)
			l[i] = l[i] + l[i + half];
	for (uint32_t d = 0; d < r->dv && ln->at.begin < ln->at.end; d += VL)
		vf_store(ln->o + d, vf_div(vf_load(ln->o + d), vf_set1(l[0])));
	SIMD_NAME(npu_row).narrow(r->at->dst_type, ln->o, r->at->dv, npu_attn_dst(r->at, &ln->at));
}

static size_t mem_bytes(const struct npu_attn *at, uint32_t count)
{
	size_t d = pad(at->d), dv = pad(at->dv);

	return (TILE * (d + dv) + QUAD * TILE + count * (d + dv + 16)) * sizeof(float) +
	       (count * sizeof(struct lane) + 63) / 64 * 64 +
	       TILE * (npu_row_bytes(at->kv_type, at->d) + npu_row_bytes(at->kv_type, at->dv));
}

static void run(const struct npu_attn *at, uint32_t group, uint64_t first, uint32_t count, uint32_t next_group,
		void *mem)
{
	struct run r = { .at = at, .factors = npu_attn_factors(at), .group = group, .count = count,
			 .d = pad(at->d), .dv = pad(at->dv), .key_bytes = npu_row_bytes(at->kv_type, at->d),
			 .value_bytes = npu_row_bytes(at->kv_type, at->dv) };
	float *next = mem, *t;

	r.begin = UINT64_MAX;
	r.kt = next;
	r.v = r.kt + (size_t)TILE * r.d;
	t = r.v + (size_t)TILE * r.dv;
	next = t + QUAD * TILE;
	r.lanes = (struct lane *)(next + (size_t)count * (r.d + r.dv + 16));
	r.key_room = (uint8_t *)(r.lanes + count);
	r.value_room = r.key_room + TILE * r.key_bytes;
	for (uint32_t i = 0; i < count; i++, next += r.d + r.dv + 16) {
		struct lane *ln = &r.lanes[i];

		ln->at = npu_attn_query(at, group, first + i);
		ln->max = NPU_ATTN_FIRST_MAX;
		ln->q = next;
		ln->o = ln->q + r.d;
		ln->l = ln->o + r.dv;
		SIMD_NAME(npu_row).widen(at->q_type, npu_attn_q(at, &ln->at), at->d, ln->q);
		memset(ln->o, 0, (r.dv + 16) * sizeof(float));
		if (ln->at.begin < ln->at.end) {
			r.begin = ln->at.begin < r.begin ? ln->at.begin : r.begin;
			r.end = ln->at.end > r.end ? ln->at.end : r.end;
		}
	}
	for (r.tile = r.begin / TILE * TILE; r.tile < r.end; r.tile += TILE)
		tile(&r, t, next_group);
	for (uint32_t i = 0; i < count; i++)
		finish(&r, &r.lanes[i]);
}
