// SPDX-License-Identifier: MIT
/*
 * Matrix multiplication: the part that is the same for every vector width.
 *
 * Rows of x are taken in chunks of up to CHUNK_ROWS, cut into groups of mr
 * rows. Each chunk is widened, quantised and packed once, in parallel over
 * groups; then, in parallel over w, either
 *  - one row over tiles: matmul_stream.c;
 *  - few rows: the kernel runs straight over tiles (or rows): w streams
 *    through once, nothing is written but the result; or
 *  - many rows: the panel is packed, a part of k at a time that fits the L1
 *    cache, and every group passes over it; sums stay in F32 between parts.
 * Both do the same operations in the same order for each element.
 */
#include <stdatomic.h>
#include <string.h>
#if defined(__aarch64__)
#include <sys/auxv.h>
#endif

#include "matmul_impl.h"
#include "quant.h"
#include "tile.h"

#define CHUNK_ROWS	512u
#define PANEL_BYTES	(20u << 10)	/* of packed weights that stay in L1 */
#define GRAIN_BYTES	(96u << 10)	/* of weights that are worth a worker */
#define STREAM_BYTES	(1u << 20)	/* of streamed weights per piece, at most */
#define LEAST_BYTES	(64u << 10)	/* at least */
#define GRAIN_MACS	(512u << 10)	/* per piece, when weights are reused */
#define ALIGN		64u

/* One worker's scratch, cut out of workers_at. */
struct worker_mem {
	uint8_t *panel;		/* packed weights */
	uint8_t *tile;		/* weights collected from rows, or from pages: up to two panels */
	uint8_t *rows;		/* a tile's rows, collected from pages */
	float *acc;		/* [groups][mr][panel_rows] */
	float *x;		/* a row of x as F32 */
	int8_t *q;		/* quantised */
	float *d;
	int32_t *s16;
	uint8_t *group;		/* for one row over tiles: packed x */
};

struct mm_job {
	const struct npu_matmul *mm;
	const struct npu_mm_kernels *kern;
	enum npu_mm_class class;
	uint32_t len;		/* elements of a block */
	size_t bytes;		/* of a block */
	uint32_t blocks;	/* per row */
	uint32_t part;		/* block columns packed at a time */
	uint64_t w_bytes;	/* from the first to the last byte of w */
	uint32_t m0, rows;	/* the chunk */
	uint32_t mr, groups;
	size_t group_bytes;
	uint8_t *groups_at;
	uint8_t *workers_at;	/* per worker: struct worker_mem */
	size_t worker_bytes;
	uint8_t *stream_at;	/* for matmul_stream.c */
	unsigned int workers;	/* that take panels of w */
	uint64_t panels, unit, least, most;	/* all; per piece */
	atomic_uint_fast64_t taken;
};

static size_t align_up(size_t n)
{
	return (n + ALIGN - 1) & ~(size_t)(ALIGN - 1);
}

static enum npu_mm_class class_of(unsigned int type)
{
	switch (type) {
	case NPU_TYPE_Q8_0:
	case NPU_TYPE_Q4_0:
		return NPU_MM_Q32;
	case NPU_TYPE_Q4_K:
		return NPU_MM_Q4_K;
	case NPU_TYPE_Q6_K:
		return NPU_MM_Q6_K;
	default:
		return NPU_MM_FLOAT;
	}
}

/* 32-bit values per row of x in a packed block column. */
static unsigned int group_values(enum npu_mm_class class)
{
	static const uint8_t values[] = {
		[NPU_MM_FLOAT] = 1, [NPU_MM_Q32] = 8 + 2, [NPU_MM_Q4_K] = 64 + 8 + 1, [NPU_MM_Q6_K] = 64 + 16 + 1,
	};

	return values[class];
}

static const struct npu_mm_kernels *kernels_of(enum npu_path path)
{
	switch (path) {
#if defined(__x86_64__)
	case NPU_PATH_AVX512:
		return &npu_mm_avx512;
	case NPU_PATH_AVX2:
		return &npu_mm_avx2;
#elif defined(__aarch64__)
	case NPU_PATH_NEON:
		return getauxval(AT_HWCAP) & HWCAP_ASIMDDP ? &npu_mm_dotprod : &npu_mm_neon;
#endif
	default:
		return NULL;
	}
}

/* @base may be NULL, when only sizes are wanted. */
static void *place(uint8_t *base, size_t at)
{
	return (void *)((uintptr_t)base + at);
}

/* Bytes of a stored tile. */
static uint64_t tile_bytes(const struct mm_job *j)
{
	return (uint64_t)j->blocks * j->bytes * NPU_TILE_ROWS;
}

/* Is it for matmul_stream.c if it has one row? Scratch does not ask for the rows: more rows never need less of it. */
static bool streams(const struct npu_matmul *mm)
{
	return mm->k && mm->w_layout == NPU_LAYOUT_TILE16;
}

/* Bytes of the part of a tile that is collected at a time. */
static size_t tile_room(const struct mm_job *j)
{
	return align_up(j->part * j->bytes * NPU_TILE_ROWS + 2 * NPU_MM_MARGIN);
}

/* Bytes of one worker's scratch; fills @mem if it is not NULL. */
static size_t layout_worker(const struct mm_job *j, uint8_t *base, struct worker_mem *mem)
{
	const struct npu_matmul *mm = j->mm;
	size_t k = mm->k, at = 0;
	size_t acc_rows = ((size_t)j->groups * j->mr + 1) * j->kern->panel_rows;	/* one: two panels */
	struct worker_mem m;

	m.panel = place(base, at);
	at += align_up(j->part * j->kern->panel_bytes(mm->w_type));
	m.tile = place(base, at);
	at += 2 * NPU_MM_PANEL_TILES * tile_room(j);
	m.rows = place(base, at);
	at += tile_room(j);
	m.acc = place(base, at);
	at += align_up(acc_rows * sizeof(float));
	m.x = place(base, at);
	at += align_up(k * sizeof(float));
	m.q = place(base, at);
	at += align_up(k);
	m.d = place(base, at);
	at += align_up(k / j->len * sizeof(float));
	m.s16 = place(base, at);
	at += align_up((k / 16 + 1) * sizeof(int32_t));
	m.group = place(base, at);
	at += streams(mm) ? j->group_bytes : 0;
	if (mem)
		*mem = m;
	return at;
}

static void worker_mem(const struct mm_job *j, unsigned int worker, struct worker_mem *mem)
{
	layout_worker(j, j->workers_at + worker * j->worker_bytes, mem);
}

/* Cut a chunk of @rows into equal groups. */
static void set_groups(struct mm_job *j, uint32_t rows)
{
	uint32_t max = j->kern->mr[j->class];

	if (rows <= j->kern->direct_mr)
		max = rows;
	j->rows = rows;
	j->groups = (rows + max - 1) / max;
	j->mr = (rows + j->groups - 1) / j->groups;
	j->group_bytes = align_up((size_t)j->blocks * group_values(j->class) * j->mr * 4);
}

/* A row of x as F32: in place, or widened into @buf. */
static const float *row_of_x(const struct mm_job *j, uint32_t m, float *buf)
{
	const uint8_t *row = (const uint8_t *)j->mm->x + m * j->mm->x_stride;

	if (j->mm->x_type == NPU_TYPE_F32)
		return (const float *)row;
	j->kern->widen_f16((const uint16_t *)row, j->mm->k, buf);
	return buf;
}

/* ---- Packing of x ---------------------------------------------------------------- */

static inline void put_q(uint32_t *out, unsigned int mr, unsigned int r, const int8_t *q, unsigned int n)
{
	if (mr == 1) {
		memcpy(out, q, n);
		return;
	}
	for (unsigned int i = 0; i < n / 4; i++)
		memcpy(&out[i * mr + r], q + 4 * i, 4);
}

static void put_f(uint32_t *out, unsigned int at, float f)
{
	out[at] = npu_f32_bits(f);
}

static int32_t bias_of(const struct mm_job *j)
{
	return (int32_t)(j->mm->w_type == NPU_TYPE_Q8_0 ? j->kern->q8_bias : j->kern->q4_bias);
}

static void pack_q32(const struct mm_job *j, unsigned int r, const struct worker_mem *mem, uint32_t *out)
{
	int32_t bias = bias_of(j);
	unsigned int mr = j->mr;

	for (uint32_t b = 0; b < j->blocks; b++, out += 10 * mr) {
		put_q(out, mr, r, mem->q + 32 * (size_t)b, 32);
		out[8 * mr + r] = (uint32_t)(-bias * (mem->s16[2 * b] + mem->s16[2 * b + 1]));
		put_f(out, 9 * mr + r, mem->d[b]);
	}
}

static void pack_k256(const struct mm_job *j, unsigned int r, const struct worker_mem *mem, uint32_t *out)
{
	bool q6 = j->class == NPU_MM_Q6_K;
	unsigned int mr = j->mr, sums = q6 ? 16 : 8;

	for (uint32_t b = 0; b < j->blocks; b++, out += (64 + sums + 1) * mr) {
		const int32_t *s = mem->s16 + 16 * (size_t)b;

		put_q(out, mr, r, mem->q + 256 * (size_t)b, 256);
		for (unsigned int i = 0; i < sums; i++)
			out[(64 + i) * mr + r] =
				(uint32_t)(q6 ? -(int32_t)j->kern->q6_bias * s[i] : s[2 * i] + s[2 * i + 1]);
		put_f(out, (64 + sums) * mr + r, mem->d[b]);
	}
}

static void pack_row(const struct mm_job *j, uint32_t m, unsigned int r, const struct worker_mem *mem, uint32_t *out)
{
	const uint8_t *row = (const uint8_t *)j->mm->x + m * j->mm->x_stride;

	if (j->mr == 1 && j->class == NPU_MM_Q32 && npu_mm_quantised(j->mm)) {
		j->kern->pack_act(row, j->blocks, bias_of(j), out);
		return;
	}
	if (j->class == NPU_MM_FLOAT) {
		const float *x = row_of_x(j, m, mem->x);

		for (uint32_t k = 0; k < j->mm->k; k++)
			memcpy(&out[(size_t)k * j->mr + r], &x[k], 4);
		return;
	}
	if (npu_mm_quantised(j->mm)) {
		j->kern->load_act(row, j->mm->k, j->len, mem->q, mem->d, mem->s16);
	} else {
		j->kern->quantize(row_of_x(j, m, mem->x), j->mm->k, j->len, mem->q, mem->d, mem->s16);
	}
	if (j->class == NPU_MM_Q32)
		pack_q32(j, r, mem, out);
	else
		pack_k256(j, r, mem, out);
}

/* The row of x for one worker. */
static const void *pack_for(const void *job, unsigned int worker)
{
	const struct mm_job *j = job;
	struct worker_mem mem;

	worker_mem(j, worker, &mem);
	pack_row(j, 0, 0, &mem, (uint32_t *)mem.group);
	return mem.group;
}

static struct npu_mm_stream stream_of(const struct mm_job *j)
{
	return (struct npu_mm_stream){
		.mm = j->mm, .kern = j->kern, .blocks = j->blocks, .column_bytes = NPU_TILE_ROWS * j->bytes,
		.tile_bytes = tile_bytes(j), .pack = pack_for, .job = j, .job_bytes = sizeof(*j), .mem = j->stream_at,
		.x_bytes = (size_t)j->mm->k / npu_type_block_len(j->mm->x_type) *
			   npu_type_block_bytes(j->mm->x_type),
	};
}

/* Everything but the pointers; the chunk is the largest one. Returns bytes of scratch. */
static size_t plan(struct mm_job *j, const struct npu_matmul *mm, const struct npu_mm_kernels *kern,
		   const struct npu_pool *pool)
{
	uint32_t max_rows = mm->m < CHUNK_ROWS ? mm->m : CHUNK_ROWS;
	size_t bytes;

	memset(j, 0, sizeof(*j));
	j->mm = mm;
	j->kern = kern;
	j->class = class_of(mm->w_type);
	j->len = npu_type_block_len(mm->w_type);
	j->bytes = npu_type_block_bytes(mm->w_type);
	j->blocks = mm->k / j->len;
	j->part = (uint32_t)(PANEL_BYTES / kern->panel_bytes(mm->w_type));
	if (j->part < 1)
		j->part = 1;
	if (j->part > j->blocks)
		j->part = j->blocks;
	j->w_bytes = mm->w_layout == NPU_LAYOUT_TILE16 ? npu_tile_bytes(mm->w_type, mm->n, mm->k) :
							 (mm->n - 1) * mm->w_stride + j->blocks * j->bytes;
	set_groups(j, max_rows);
	j->worker_bytes = layout_worker(j, NULL, NULL);
	bytes = j->groups * j->group_bytes + npu_pool_threads(pool) * j->worker_bytes;
	if (streams(mm)) {
		struct npu_mm_stream s = stream_of(j);

		bytes += npu_mm_stream_scratch(&s, pool);
	}
	return bytes;
}

void npu_mm_load_row(const struct npu_matmul *mm, uint32_t m, float *x)
{
	const uint8_t *row = (const uint8_t *)mm->x + m * mm->x_stride;

	if (mm->x_type == NPU_TYPE_F32) {
		memcpy(x, row, (size_t)mm->k * sizeof(float));
		return;
	}
	for (uint32_t k = 0; k < mm->k; k++)
		x[k] = npu_f16_to_f32(((const uint16_t *)row)[k]);
}

/* Pieces of the first loop: groups of x. */
static void pack_groups(void *arg, uint64_t begin, uint64_t end, unsigned int worker)
{
	struct mm_job *j = arg;
	struct worker_mem mem;

	worker_mem(j, worker, &mem);
	for (uint64_t g = begin; g < end; g++) {
		uint32_t *out = (uint32_t *)(j->groups_at + g * j->group_bytes);

		/* Rows past the end repeat the last one; their sums are dropped. */
		for (uint32_t r = 0; r < j->mr; r++) {
			uint32_t row = (uint32_t)g * j->mr + r;

			pack_row(j, j->m0 + (row < j->rows ? row : j->rows - 1), r, &mem, out);
		}
	}
}

/* ---- Panels of w ------------------------------------------------------------------- */

/* Where a panel is. Those of two matrices alternate. */
struct panel {
	const struct npu_pieces *w;	/* the matrix */
	uint32_t row;		/* its first row in it */
	uint32_t first;		/* of the matrix in dst */
};

static struct panel panel_at(const struct mm_job *j, uint64_t p)
{
	const struct npu_matmul *mm = j->mm;
	uint32_t width = j->kern->panel_rows;

	if (mm->w2)
		return (struct panel){ p % 2 ? mm->w2 : &mm->w, (uint32_t)(p / 2) * width, p % 2 ? mm->n : 0 };
	return (struct panel){ &mm->w, (uint32_t)p * width, 0 };
}

void npu_mm_finish(const struct npu_matmul *mm, const struct npu_mm_kernels *kern, uint32_t m, uint32_t n0, uint32_t n,
		   const float *acc)
{
	uint8_t *row = (uint8_t *)mm->dst + m * mm->dst_stride;
	const float *bias = mm->bias ? mm->bias + n0 : NULL;
	float tmp[NPU_MM_PANEL_ROWS];

	if (mm->dst_type == NPU_TYPE_F32) {
		kern->finish((float *)row + n0, acc, bias, mm->accumulate, n);
		return;
	}
	kern->finish(tmp, acc, bias, false, n);
	for (uint32_t i = 0; i < n; i++)
		((uint16_t *)row)[n0 + i] = npu_f32_to_f16(tmp[i]);
}

/* Has @len bytes of @w from byte @at on, or what there is of them, on their way. */
static void prefetch_weights(const struct mm_job *j, const struct npu_pieces *w, uint64_t at, size_t len)
{
	if (at < j->w_bytes)
		npu_pieces_prefetch(w, at, j->w_bytes - at < len ? j->w_bytes - at : len);
}

/* Up to 16 rows from row @n of @w, @blocks block columns from @b on, as a tile at @buf; @room for these rows. */
static void collect_tile(const struct mm_job *j, const struct npu_pieces *w, uint32_t n, uint32_t b, uint32_t blocks,
			 uint8_t *buf, uint8_t *room)
{
	const struct npu_matmul *mm = j->mm;
	uint32_t count = mm->n - n < NPU_TILE_ROWS ? mm->n - n : NPU_TILE_ROWS;
	size_t at = n * mm->w_stride + b * j->bytes, bytes = blocks * j->bytes, stride = mm->w_stride;
	const uint8_t *rows = room;

	if (w->p) {
		rows = w->p + at;
	} else {
		for (uint32_t r = 0; r < count; r++) {
			npu_pieces_read(w, at + r * stride, bytes, room + r * bytes);
			prefetch_weights(j, w, at + r * stride + bytes, bytes);
		}
		stride = bytes;
	}
	if (count == NPU_TILE_ROWS)
		j->kern->collect(mm->w_type, rows, stride, blocks, buf);
	else
		npu_rows_to_tiles(mm->w_type, count, (uint64_t)blocks * j->len, rows, stride, buf);
}

/* Block columns [b, b + blocks) of tile @t of @w in the tile layout; @room for them. */
static const uint8_t *stored_tile(const struct mm_job *j, const struct npu_pieces *w, uint64_t t, uint32_t b,
				  uint32_t blocks, uint8_t *room)
{
	size_t column = NPU_TILE_ROWS * j->bytes;

	return npu_piece(w, (t * j->blocks + b) * column, blocks * column, room);
}

/*
 * The panel's tiles from block column @b on. Past the last row of w the last
 * tile stands in for the missing one.
 */
static void tiles_at(const struct mm_job *j, const struct panel *p, uint32_t b, uint32_t blocks,
		     const struct worker_mem *mem, const uint8_t *tile[])
{
	const struct npu_matmul *mm = j->mm;

	for (uint32_t t = 0; t < j->kern->panel_rows / NPU_TILE_ROWS; t++) {
		uint32_t n = p->row + t * NPU_TILE_ROWS;
		uint8_t *room = mem->tile + t * tile_room(j);

		if (n >= mm->n) {
			tile[t] = tile[t - 1];
		} else if (mm->w_layout == NPU_LAYOUT_TILE16) {
			tile[t] = stored_tile(j, p->w, n / NPU_TILE_ROWS, b, blocks, room);
		} else {
			tile[t] = room;
			collect_tile(j, p->w, n, b, blocks, room, mem->rows);
		}
	}
}

static void packed_panel(const struct mm_job *j, const struct panel *p, const struct worker_mem *mem)
{
	unsigned int type = j->mm->w_type;
	size_t acc_step = (size_t)j->mr * j->kern->panel_rows;
	size_t column = (size_t)group_values(j->class) * j->mr * 4;

	memset(mem->acc, 0, j->groups * acc_step * sizeof(float));
	for (uint32_t b = 0; b < j->blocks; b += j->part) {
		uint32_t blocks = j->blocks - b < j->part ? j->blocks - b : j->part;
		const uint8_t *tile[NPU_MM_PANEL_TILES];

		tiles_at(j, p, b, blocks, mem, tile);
		j->kern->pack(type, tile, blocks, mem->panel);
		for (uint32_t g = 0; g < j->groups; g++)
			j->kern->kernel(type, j->mr, mem->panel, j->groups_at + g * j->group_bytes + b * column,
					blocks, mem->acc + g * acc_step);
	}
}

/* Few rows of x, but not one: straight over stored tiles. */
static bool direct_stored(const struct mm_job *j, const struct panel *p, const struct worker_mem *mem)
{
	struct npu_mm_tile w[NPU_MM_PANEL_TILES];

	for (uint32_t t = 0; t < j->kern->panel_rows / NPU_TILE_ROWS; t++) {
		uint32_t n = p->row + t * NPU_TILE_ROWS;

		w[t] = (struct npu_mm_tile){ p->w, (n < j->mm->n ? n : p->row) / NPU_TILE_ROWS * tile_bytes(j),
					     j->w_bytes, mem->tile + t * tile_room(j) + NPU_MM_MARGIN };
	}
	return j->kern->direct(!j->mm->w.p, j->mm->w_type, j->mr, w, j->groups_at, j->blocks, mem->acc);
}

/* The same over tiles collected from rows, a part at a time. */
static bool direct_collected(const struct mm_job *j, const struct panel *p, const struct worker_mem *mem)
{
	size_t column = (size_t)group_values(j->class) * j->mr * 4;

	for (uint32_t b = 0; b < j->blocks; b += j->part) {
		uint32_t blocks = j->blocks - b < j->part ? j->blocks - b : j->part;
		const uint8_t *tile[NPU_MM_PANEL_TILES];
		struct npu_pieces pieces[NPU_MM_PANEL_TILES];
		struct npu_mm_tile w[NPU_MM_PANEL_TILES];

		tiles_at(j, p, b, blocks, mem, tile);
		for (uint32_t t = 0; t < j->kern->panel_rows / NPU_TILE_ROWS; t++) {
			pieces[t] = (struct npu_pieces){ .p = (uint8_t *)tile[t] };
			w[t] = (struct npu_mm_tile){ .w = &pieces[t] };
		}
		if (!j->kern->direct(false, j->mm->w_type, j->mr, w, j->groups_at + b * column, blocks,
				     mem->acc))
			return false;
	}
	return true;
}

static bool direct_panel(const struct mm_job *j, const struct panel *p, const struct worker_mem *mem)
{
	if (j->groups > 1 || j->mr > j->kern->direct_mr)
		return false;
	memset(mem->acc, 0, (size_t)j->mr * j->kern->panel_rows * sizeof(float));
	if (!j->blocks)
		return true;
	return j->mm->w_layout == NPU_LAYOUT_TILE16 ? direct_stored(j, p, mem) : direct_collected(j, p, mem);
}

static void finish_panel(const struct mm_job *j, const struct panel *p, const float *acc)
{
	uint32_t left = j->mm->n - p->row, n = left < j->kern->panel_rows ? left : j->kern->panel_rows;

	for (uint32_t i = 0; i < j->rows; i++)
		npu_mm_finish(j->mm, j->kern, j->m0 + i, p->first + p->row, n, acc + i * j->kern->panel_rows);
}

static void run_panels(const struct mm_job *j, uint64_t begin, uint64_t end, const struct worker_mem *mem)
{
	for (; begin < end; begin++) {
		struct panel p = panel_at(j, begin);

		if (!direct_panel(j, &p, mem))
			packed_panel(j, &p, mem);
		finish_panel(j, &p, mem->acc);
	}
}

/*
 * How panels are dealt out. With many rows of x a piece is what is worth the
 * dealing. While weights stream past one row, pieces begin long, for long runs of
 * memory, and become short, so that all workers end together.
 */
static void set_pieces(struct mm_job *j, unsigned int threads)
{
	uint64_t bytes = (uint64_t)j->blocks * j->bytes * j->kern->panel_rows + 1;
	uint64_t macs = (uint64_t)j->mm->k * j->kern->panel_rows * j->rows + 1;
	uint64_t by_bytes = GRAIN_BYTES / bytes + 1, by_macs = GRAIN_MACS / macs + 1;
	uint64_t grain = by_bytes < by_macs || j->rows == 1 ? by_bytes : by_macs, workers;

	j->panels = ((uint64_t)j->mm->n + j->kern->panel_rows - 1) / j->kern->panel_rows;
	j->unit = 1;
	j->least = j->rows == 1 ? LEAST_BYTES / bytes + 1 : grain;
	j->most = j->rows == 1 ? STREAM_BYTES / bytes + 1 : grain;
	if (j->mm->w2) {
		j->panels *= 2;
		j->unit = j->mm->unit > j->kern->panel_rows ? 2 * j->mm->unit / j->kern->panel_rows : 2;
		j->least = (j->least + j->unit - 1) / j->unit * j->unit;
		j->most = (j->most + j->unit - 1) / j->unit * j->unit;
	}
	workers = (j->panels + grain - 1) / grain;
	j->workers = workers < threads ? (unsigned int)workers : threads;
	atomic_init(&j->taken, 0);
}

/* Returns false when nothing is left. */
static bool take_piece(struct mm_job *j, uint64_t *begin, uint64_t *end)
{
	uint64_t at = atomic_load_explicit(&j->taken, memory_order_relaxed), n;

	do {
		if (at == j->panels)
			return false;
		n = (j->panels - at) / (2 * j->workers);
		if (n > j->most)
			n = j->most;
		if (n > j->unit)
			n -= n % j->unit;
		if (n < j->least)
			n = j->least;
		if (n > j->panels - at || j->workers == 1)
			n = j->panels - at;
	} while (!atomic_compare_exchange_weak_explicit(&j->taken, &at, at + n, memory_order_relaxed,
							memory_order_relaxed));
	*begin = at;
	*end = at + n;
	return true;
}

/* Both matrices' products of the pairs of panels [begin, end), from dst. */
static void pairs_done(const struct mm_job *j, uint64_t begin, uint64_t end)
{
	const struct npu_matmul *mm = j->mm;
	uint32_t first = (uint32_t)(begin / 2 * j->kern->panel_rows), last = (uint32_t)(end / 2 * j->kern->panel_rows);
	struct npu_mm_pairs p = { .first = &first, .items = 1 };

	if (last > mm->n)
		last = mm->n;
	for (; first < last; first += p.rows) {
		p.rows = last - first < NPU_MM_PAIR_ROWS ? last - first : NPU_MM_PAIR_ROWS;
		p.a = (const float *)mm->dst + first;
		p.b = p.a + mm->n;
		mm->done(mm->arg, &p);
	}
}

/* The second loop; [begin, end) counts workers. */
static void take_panels(void *arg, uint64_t begin, uint64_t end, unsigned int worker)
{
	struct mm_job *j = arg;
	struct worker_mem mem;

	worker_mem(j, worker, &mem);
	while (take_piece(j, &begin, &end)) {
		run_panels(j, begin, end, &mem);
		if (j->mm->w2)
			pairs_done(j, begin, end);
	}
}

static void run_chunk(struct mm_job *j, struct npu_pool *pool)
{
	uint64_t group_elements = (uint64_t)j->mr * j->mm->k + 1;

	if (j->mm->m == 1 && streams(j->mm)) {
		struct npu_mm_stream s = stream_of(j);

		npu_mm_stream_run(&s, pool);
		return;
	}
	npu_pool_for(pool, j->groups, 65536 / group_elements + 1, pack_groups, j);
	set_pieces(j, npu_pool_threads(pool));
	npu_pool_for(pool, j->workers, 1, take_panels, j);
}

bool npu_matmul_pairs(const struct npu_matmul *mm, enum npu_path path)
{
	return kernels_of(path) && mm->m == 1 && mm->dst_type == NPU_TYPE_F32 && !mm->bias && !mm->accumulate;
}

size_t npu_matmul_scratch(const struct npu_matmul *mm, const struct npu_pool *pool, enum npu_path path)
{
	const struct npu_mm_kernels *kern = kernels_of(path);
	struct mm_job j;

	return kern ? plan(&j, mm, kern, pool) : npu_matmul_ref_scratch(mm);
}

void npu_matmul_run(const struct npu_matmul *mm, struct npu_pool *pool, enum npu_path path, void *scratch)
{
	const struct npu_mm_kernels *kern = kernels_of(path);
	struct mm_job j;

	if (!kern) {
		npu_matmul_ref(mm, pool, scratch);
		return;
	}
	plan(&j, mm, kern, pool);
	j.groups_at = scratch;
	j.workers_at = j.groups_at + j.groups * j.group_bytes;
	j.stream_at = j.workers_at + npu_pool_threads(pool) * j.worker_bytes;
	for (; j.m0 < mm->m; j.m0 += j.rows) {
		uint32_t left = mm->m - j.m0;

		set_groups(&j, left < CHUNK_ROWS ? left : CHUNK_ROWS);
		run_chunk(&j, pool);
	}
}
