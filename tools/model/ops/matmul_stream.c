// SPDX-License-Identifier: MIT
/*
 * One row of x over a matrix in the tile layout: what decoding a language model
 * consists of, and limited by the rate at which a core reads memory.
 *
 * A kernel takes several tiles at once, so that x is loaded once for all of them;
 * and a core is slow at the beginning of each stream of memory. So every worker
 * has a share of the matrix, cut into as many segments as the kernel takes tiles,
 * and goes through all of them side by side, a tile of each per step, without a
 * break. Who has done its share takes half of
 * what is left of another's. Between CPUs that share no cache a line that both
 * write costs as much as the reading of some KiB: as long as there is no such
 * help, workers write nothing that others use.
 */
#include <stdatomic.h>
#include <string.h>

#include "ahead.h"
#include "matmul_impl.h"
#include "tile.h"

#define LINE		64u
#define WORKER_BYTES	(96u << 10)	/* of weights that are worth a worker */
#define MOST_BYTES	(512u << 10)	/* that a worker takes at a time */
#define PREFETCH_BYTES	(16u << 10)	/* of x, half a first-level cache */
#define START_BYTES	256u		/* of each stream, while x is packed */
#define PIECE_BYTES	512u		/* that a kernel reads from each tile at a time: at least a block column, or this */
#define WIDE_TILES	(2 * NPU_MM_PANEL_TILES)

_Static_assert(WIDE_TILES <= NPU_AHEAD_STREAMS, "each tile that a kernel takes is a stream");
_Static_assert(WIDE_TILES / 2 * 256 <= NPU_MM_PAIR_ROWS, "there is room for the items of a step");

/*
 * An item is some tiles, one below the other, of the matrix (or of both: then dst is computed
 * pairwise). A step takes an item of each segment, and can be cut in two halves if there are two.
 * Items that are left over are a share's last half step.
 */
struct shares {
	const struct npu_mm_stream *s;
	uint32_t wide;		/* tiles that the kernel takes at once */
	uint32_t matrices;
	uint32_t segments;	/* per share: wide / matrices */
	uint32_t halves;	/* of a step: 2, or 1 */
	uint32_t item_tiles;
	uint32_t tiles, items;	/* per matrix; in all */
	uint32_t workers;
	uint32_t most;		/* half steps to take */
	bool fetch;
	uint8_t *mem;		/* per worker: struct worker */
	size_t mem_bytes;
};

/* Half steps of a share. */
struct run {
	uint32_t share, begin, end;
};

/* The same in one word: begin | end << 29 | share << 58. */
#define RUN_BITS	29u
#define RUN_MASK	((1u << RUN_BITS) - 1)

struct worker {
	_Alignas(LINE) atomic_uint_fast64_t left;	/* a run: not yet taken */
	_Alignas(LINE) float acc[WIDE_TILES * NPU_TILE_ROWS];
	/* Of two matrices: the products of some items, until they are worth a call; the last ones are being computed. */
	_Alignas(LINE) float pairs[2][NPU_MM_PAIR_ROWS];
	uint32_t first[NPU_MM_PAIR_ROWS / NPU_TILE_ROWS];	/* row of each item */
	uint32_t items, begun;	/* how many, and of these complete */
	const void *group;	/* x, packed */
	_Alignas(LINE) uint8_t room[];		/* for each tile, what crosses pages */
};

static uint64_t pack_run(struct run r)
{
	return r.begin | (uint64_t)r.end << RUN_BITS | (uint64_t)r.share << 2 * RUN_BITS;
}

static struct run unpack_run(uint64_t v)
{
	return (struct run){ .begin = v & RUN_MASK, .end = v >> RUN_BITS & RUN_MASK,
			     .share = (uint32_t)(v >> 2 * RUN_BITS) };
}

static struct worker *worker_at(const struct shares *w, uint64_t i)
{
	return (struct worker *)(w->mem + i * w->mem_bytes);
}

static size_t room_bytes(const struct npu_mm_stream *s)
{
	size_t piece = s->column_bytes > PIECE_BYTES ? s->column_bytes : PIECE_BYTES;

	return (piece + 2 * NPU_MM_MARGIN + LINE - 1) / LINE * LINE;
}

static size_t worker_bytes(const struct npu_mm_stream *s)
{
	return sizeof(struct worker) + WIDE_TILES * room_bytes(s);
}

/* ---- Computing --------------------------------------------------------------------------- */

/* First item of a share in the matrix. */
static uint32_t first_item(const struct shares *w, uint32_t share)
{
	return (uint32_t)((uint64_t)w->items * share / w->workers);
}

static uint32_t share_items(const struct shares *w, uint32_t share)
{
	return first_item(w, share + 1) - first_item(w, share);
}

static uint32_t least32(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static struct npu_mm_tile tile_at(const struct shares *w, uint32_t matrix, uint32_t tile, uint32_t end, uint8_t *room)
{
	const struct npu_mm_stream *s = w->s;

	return (struct npu_mm_tile){ matrix ? s->mm->w2 : &s->mm->w, tile * s->tile_bytes, end * s->tile_bytes,
				     room + NPU_MM_MARGIN };
}

/* The pairs that there are go on. */
static void pass_pairs(const struct shares *w, struct worker *mem)
{
	const struct npu_matmul *mm = w->s->mm;

	if (mem->items)
		mm->done(mm->arg, &(struct npu_mm_pairs){ mem->pairs[0], mem->pairs[1], mem->first, mem->items,
							  w->item_tiles * NPU_TILE_ROWS });
	mem->items = 0;
}

/* @n items are computed next, the i-th from tile[i * @stride] on. */
static void begin_pairs(const struct shares *w, struct worker *mem, const uint32_t tile[], uint32_t stride, uint32_t n)
{
	if ((mem->items + n) * w->item_tiles * NPU_TILE_ROWS > NPU_MM_PAIR_ROWS)
		pass_pairs(w, mem);
	mem->begun = mem->items;
	for (uint32_t i = 0; i < n; i++)
		mem->first[mem->items++] = tile[i * stride] * NPU_TILE_ROWS;
}

/* Tile @tile, the @k-th of its item, which is the @i-th of those that were begun together. */
static void finish_tile(const struct shares *w, struct worker *mem, uint32_t i, uint32_t tile, uint32_t k,
			const float *acc)
{
	const struct npu_matmul *mm = w->s->mm;
	uint32_t row = tile * NPU_TILE_ROWS;

	if (w->matrices == 1)
		npu_mm_finish(mm, w->s->kern, 0, row, least32(mm->n - row, NPU_TILE_ROWS), acc);
	else
		w->s->kern->finish(mem->pairs[i % 2] + ((mem->begun + i / 2) * w->item_tiles + k) * NPU_TILE_ROWS, acc,
				   NULL, false, NPU_TILE_ROWS);
}

static uint32_t share_steps(const struct shares *w, uint32_t share)
{
	return share_items(w, share) / w->segments;
}

static uint32_t share_halves(const struct shares *w, uint32_t share)
{
	return share_steps(w, share) * w->halves + (share_items(w, share) % w->segments != 0);
}

/* Whole steps [from, to). */
static void run_steps(const struct shares *w, uint32_t share, uint32_t from, uint32_t to, struct worker *mem)
{
	const struct npu_mm_stream *s = w->s;
	uint32_t first = first_item(w, share), length = share_steps(w, share), tiles = (to - from) * w->item_tiles;
	struct npu_mm_tile t[WIDE_TILES];
	uint32_t tile[WIDE_TILES];

	for (uint32_t i = 0; i < w->wide; i++) {
		uint32_t segment = first + i / w->matrices * length;

		tile[i] = (segment + from) * w->item_tiles;
		t[i] = tile_at(w, i % w->matrices, tile[i], (segment + length) * w->item_tiles,
			       mem->room + i * room_bytes(s));
	}
	for (uint32_t k = 0; k < tiles; k++) {
		uint32_t at = k % w->item_tiles;

		if (w->matrices > 1 && !at)
			begin_pairs(w, mem, tile, w->matrices, w->segments);
		memset(mem->acc, 0, w->wide * NPU_TILE_ROWS * sizeof(float));
		s->kern->direct_wide(w->fetch, s->mm->w_type, t, mem->group, s->blocks, mem->acc);
		for (uint32_t i = 0; i < w->wide; i++) {
			finish_tile(w, mem, i, tile[i]++, at, mem->acc + i * NPU_TILE_ROWS);
			t[i].at += s->tile_bytes;
		}
	}
}

/* Tile @k of each of @n items, which begin at @tile; as many at a time as a panel has. */
static void run_panels(const struct shares *w, const uint32_t tile[], uint32_t n, uint32_t k, struct worker *mem)
{
	const struct npu_mm_stream *s = w->s;
	uint32_t per = w->wide / 2, all = n * w->matrices;

	for (uint32_t i = 0; i < all; i += per) {
		struct npu_mm_tile t[NPU_MM_PANEL_TILES];

		/* The first stands in for what a panel misses. */
		for (uint32_t c = 0; c < per; c++) {
			uint32_t at = i + c < all ? i + c : i;

			t[c] = tile_at(w, at % w->matrices, tile[at / w->matrices] + k, w->tiles,
				       mem->room + c * room_bytes(s));
		}
		memset(mem->acc, 0, per * NPU_TILE_ROWS * sizeof(float));
		s->kern->direct(w->fetch, s->mm->w_type, 1, t, mem->group, s->blocks, mem->acc);
		for (uint32_t c = 0; c < per && i + c < all; c++)
			finish_tile(w, mem, i + c, tile[(i + c) / w->matrices] + k, k, mem->acc + c * NPU_TILE_ROWS);
	}
}

/* Half step @at of a share by itself. */
static void run_half(const struct shares *w, uint32_t share, uint32_t at, struct worker *mem)
{
	uint32_t first = first_item(w, share), length = share_steps(w, share), step = at / w->halves;
	uint32_t n = step < length ? w->segments / w->halves : share_items(w, share) % w->segments;
	uint32_t tile[WIDE_TILES];

	for (uint32_t i = 0; i < n; i++) {
		if (step < length)
			tile[i] = first + (at % w->halves * n + i) * length + step;
		else
			tile[i] = first + length * w->segments + i;
		tile[i] *= w->item_tiles;
	}
	if (w->matrices > 1)
		begin_pairs(w, mem, tile, 1, n);
	for (uint32_t k = 0; k < w->item_tiles; k++)
		run_panels(w, tile, n, k, mem);
}

static void run_part(const struct shares *w, struct run r, struct worker *mem)
{
	uint32_t whole = least32(r.end / w->halves, share_steps(w, r.share));

	while (r.begin < r.end) {
		if (r.begin % w->halves == 0 && r.begin / w->halves < whole) {
			run_steps(w, r.share, r.begin / w->halves, whole, mem);
			r.begin = whole * w->halves;
		} else {
			run_half(w, r.share, r.begin++, mem);
		}
	}
}

/* ---- Dealing ---------------------------------------------------------------------------- */

/* From the front of the worker's own run, whole steps while there are many; false: it is empty. */
static bool take(const struct shares *w, struct worker *own, struct run *r)
{
	uint64_t v = atomic_load_explicit(&own->left, memory_order_relaxed);
	struct run rest;
	uint32_t n;

	do {
		rest = *r = unpack_run(v);
		n = rest.end - rest.begin;
		if (!n)
			return false;
		if (w->workers > 1)
			n = least32((n + 1) / 2, w->most);
		rest.begin += n > 2 ? n - n % w->halves : n;
	} while (!atomic_compare_exchange_weak_explicit(&own->left, &v, pack_run(rest), memory_order_relaxed,
							memory_order_relaxed));
	r->end = rest.begin;
	return true;
}

/* The back half of @from becomes @own, which is empty. */
static bool steal(struct worker *from, struct worker *own)
{
	uint64_t v = atomic_load_explicit(&from->left, memory_order_relaxed);
	struct run kept, taken;

	do {
		kept = taken = unpack_run(v);
		if (kept.begin == kept.end)
			return false;
		kept.end = kept.begin + (kept.end - kept.begin) / 2;
		taken.begin = kept.end;
	} while (!atomic_compare_exchange_weak_explicit(&from->left, &v, pack_run(kept), memory_order_relaxed,
							memory_order_relaxed));
	atomic_store_explicit(&own->left, pack_run(taken), memory_order_relaxed);
	return true;
}

/* Returns false when nothing is left. */
static bool next_run(const struct shares *w, uint32_t share, struct run *r)
{
	struct worker *own = worker_at(w, share);

	while (!take(w, own, r)) {
		uint32_t i = 1;

		while (i < w->workers && !steal(worker_at(w, (share + i) % w->workers), own))
			i++;
		if (i == w->workers)
			return false;
	}
	return true;
}

/* What the caller has just written is fetched at once, not line by line as it is met. */
static void prefetch_job(const struct shares *w)
{
	const struct npu_mm_stream *s = w->s;

	npu_prefetch(w, sizeof(*w));
	npu_prefetch(s, sizeof(*s));
	npu_prefetch(s->mm, sizeof(*s->mm));
	npu_prefetch(s->job, s->job_bytes);
	npu_prefetch(s->mm->x, s->x_bytes < PREFETCH_BYTES ? s->x_bytes : PREFETCH_BYTES);
}

/* Streams that are in pages are fetched piece by piece instead. */
static void begin_reading(const struct shares *w, uint32_t share)
{
	const struct npu_matmul *mm = w->s->mm;
	uint64_t item_bytes = w->item_tiles * w->s->tile_bytes;
	struct npu_streams s = { .n = w->wide };

	for (uint32_t i = 0; i < w->wide; i++)
		s.p[i] = (i % w->matrices ? mm->w2->p : mm->w.p) +
			 (first_item(w, share) + (uint64_t)(i / w->matrices) * share_steps(w, share)) * item_bytes;
	npu_ahead_begin(&s);
	for (uint32_t i = 0; i < s.n; i++)
		npu_prefetch(s.p[i], START_BYTES);
}

/* The caller goes on with small commands, whose vectors it fetches now; workers look ahead once they are known to be done. */
static void end_reading(unsigned int worker)
{
	npu_ahead_end();
	for (; !worker && npu_ahead_vectors_left(); npu_relax())
		npu_ahead_fetch();
}

/* Share @share, and help with others. */
static void run_share(void *arg, uint64_t share, uint64_t end, unsigned int worker)
{
	const struct shares *w = arg;
	struct worker *mem = worker_at(w, share);
	struct run r;

	(void)end;
	if (worker)
		prefetch_job(w);
	if (!w->fetch)
		begin_reading(w, (uint32_t)share);
	/* At most as many shares as workers, each run once: a share's memory is its runner's. */
	mem->group = w->s->pack(w->s->job, (unsigned int)share);
	mem->items = 0;
	while (next_run(w, (uint32_t)share, &r))
		run_part(w, r, mem);
	pass_pairs(w, mem);
	if (!w->fetch)
		end_reading(worker);
}

void npu_mm_stream_run(const struct npu_mm_stream *s, struct npu_pool *pool)
{
	const struct npu_matmul *mm = s->mm;
	struct shares w = {
		.s = s,
		.wide = 2 * s->kern->panel_rows / NPU_TILE_ROWS,
		.matrices = mm->w2 ? 2 : 1,
		.item_tiles = mm->w2 && mm->unit > NPU_TILE_ROWS ? mm->unit / NPU_TILE_ROWS : 1,
		.tiles = (uint32_t)(((uint64_t)mm->n + NPU_TILE_ROWS - 1) / NPU_TILE_ROWS),
		.fetch = !mm->w.p || (mm->w2 && !mm->w2->p),
		.mem = s->mem,
		.mem_bytes = worker_bytes(s),
	};
	uint64_t step_bytes = (uint64_t)w.item_tiles * w.wide * s->tile_bytes, pays;

	w.segments = w.wide / w.matrices;
	w.halves = w.segments % 2 ? 1 : 2;
	w.items = w.tiles / w.item_tiles;
	w.most = ((uint32_t)(MOST_BYTES / step_bytes) + 1) * w.halves;
	w.workers = least32(npu_pool_threads(pool), w.items);
	pays = w.items * step_bytes / w.segments / WORKER_BYTES + 1;
	if (pays < w.workers)
		w.workers = (uint32_t)pays;
	for (uint32_t i = 0; i < w.workers; i++) {
		struct run r = { i, 0, share_halves(&w, i) };

		atomic_init(&worker_at(&w, i)->left, pack_run(r));
	}
	npu_pool_for(pool, w.workers, 1, run_share, &w);
}

size_t npu_mm_stream_scratch(const struct npu_mm_stream *s, const struct npu_pool *pool)
{
	return npu_pool_threads(pool) * worker_bytes(s);
}
