/* SPDX-License-Identifier: MIT */
/*
 * matmul_simd.h - template of the fast matmul kernels; include after simd_*.h, with
 * NPU_MM_TABLE defined to the name of their table.
 *
 * Each function does the operations of matmul_ref.c in the same order for
 * every element; what differs is that lanes are rows of w. A panel is two
 * vectors of rows: two tiles of 16 lanes, or the halves of one tile.
 */
#include "matmul_impl.h"
#include "quant.h"
#include "tile.h"

#define VB		(VL * 4)		/* bytes of a vector */
#define TILE_VECTORS	(16 / VL)		/* vectors across a tile */
#define NV		NPU_MM_VECTORS
#define WIDE		(2 * NV)		/* vectors across two panels */
#define INLINE		static inline __attribute__((always_inline))
#define UNROLL		_Pragma("GCC unroll 16")

#if SIMD_REGS == 32
#define MR_Q		6
#define MR_F		12
#else
#define MR_Q		3
#define MR_F		6
#endif
#define MR_DIRECT	4
#define MR_INT		(MR_Q > MR_DIRECT ? MR_Q : MR_DIRECT)

/* Packed block columns, in vectors. */
#define PANEL_Q32	(8 * NV + NV)			/* q, d */
#define PANEL_Q4_K	(64 * NV + 16 * NV + 2 * NV)	/* q, sc, m, d, dmin */
#define PANEL_Q6_K	(64 * NV + 16 * NV + NV)	/* q, sc, d */

/* Places in block columns of tiles (tile.h). */
#define Q8_0_QS		32
#define Q4_0_QS		32
#define Q4_K_DMIN	32
#define Q4_K_SCALES	64
#define Q4_K_QS		256
#define Q6_K_SCALES	32
#define Q6_K_Q(h, l)	(288 + ((h) * 8 + (l)) * 192)	/* ql, ql of the second 32, qh: 64 bytes each */

/* ---- Activations --------------------------------------------------------------- */

static void quantize_block(const float *x, uint32_t n, float id, int8_t *q)
{
	vf vid = vf_set1(id);

	/* |x * id| rounds to at most 127: no clamp is needed. */
	for (uint32_t i = 0; i < n; i += VL)
		vi_store_i8(q + i, vi_from_vf(vf_mul(vf_load(x + i), vid)));
}

static void all_sums_of_16(const int8_t *q, uint32_t k, int32_t *s16)
{
	for (; k >= 256; k -= 256, q += 256, s16 += 16)
		sums_of_16(q, s16);
	if (k) {
		int8_t tail[256] = { 0 };
		int32_t sums[16];

		memcpy(tail, q, k);
		sums_of_16(tail, sums);
		memcpy(s16, sums, k / 16 * sizeof(*s16));
	}
}

INLINE void quantize_blocks(const float *x, uint32_t k, uint32_t block, int8_t *q, float *d)
{
	for (uint32_t b = 0; b < k; b += block, x += block, q += block) {
		vi m = vi_zero();
		float amax;

		/* As integers, |x| are ordered like the numbers, with infinity and NaNs above. */
		for (uint32_t i = 0; i < block; i += VL)
			m = vi_max(m, vi_and(vf_as_vi(vf_load(x + i)), vi_set1(0x7fffffff)));
		amax = npu_f32_from_bits((uint32_t)vi_hmax(m));
		if (amax >= NPU_QUANT_MIN && amax < __builtin_inff()) {
			quantize_block(x, block, 127.0f / amax, q);
			*d++ = amax / 127.0f;
			continue;
		}
		memset(q, 0, block);
		*d++ = amax < NPU_QUANT_MIN ? 0.0f : npu_f32_from_bits(NPU_F32_NAN_BITS);
	}
}

static void quantize(const float *x, uint32_t k, uint32_t block, int8_t *q, float *d, int32_t *s16)
{
	if (block == NPU_Q_BLOCK)
		quantize_blocks(x, k, NPU_Q_BLOCK, q, d);
	else
		quantize_blocks(x, k, NPU_K_BLOCK, q, d);
	all_sums_of_16(q, k, s16);
}

/* As without a block's constant length compilers do not vectorise it. */
INLINE void load_act_blocks(const uint8_t *row, uint32_t k, const uint32_t block, int8_t *q, float *d)
{
	for (uint32_t b = 0; b < k; b += block, row += 4 + block, q += block) {
		const int8_t *from = (const int8_t *)row + 4;

		memcpy(d++, row, sizeof(*d));
		for (uint32_t i = 0; i < block; i++)
			q[i] = from[i] < -127 ? -127 : from[i];
	}
}

static void load_act(const uint8_t *row, uint32_t k, uint32_t block, int8_t *q, float *d, int32_t *s16)
{
	if (block == NPU_Q_BLOCK)
		load_act_blocks(row, k, NPU_Q_BLOCK, q, d);
	else
		load_act_blocks(row, k, NPU_K_BLOCK, q, d);
	all_sums_of_16(q, k, s16);
}

/* What load_act() and packing for one row of x do, at once. */
static void pack_act(const uint8_t *row, uint32_t blocks, int32_t bias, uint32_t *out)
{
	for (; blocks; blocks--, row += 4 + NPU_Q_BLOCK, out += NPU_Q_BLOCK / 4 + 2) {
		int8_t q[NPU_Q_BLOCK];
		int32_t sum = 0;

		memcpy(q, row + 4, sizeof(q));
		for (uint32_t i = 0; i < NPU_Q_BLOCK; i++)
			q[i] = q[i] < -127 ? -127 : q[i];
		for (uint32_t i = 0; i < NPU_Q_BLOCK; i++)
			sum += q[i];
		memcpy(out, q, sizeof(q));
		out[NPU_Q_BLOCK / 4] = (uint32_t)(-bias * sum);
		memcpy(&out[NPU_Q_BLOCK / 4 + 1], row, sizeof(*out));
	}
}

/* ---- Reading tiles --------------------------------------------------------------- */

/* Lanes of vector @v of a panel within its tile's block column: 32-bit pieces, or 16-bit ones. */
INLINE const uint8_t *lanes32(const uint8_t *const tile[], unsigned int v, size_t at)
{
	return tile[v / TILE_VECTORS] + at + v % TILE_VECTORS * VB;
}

INLINE const uint8_t *lanes16(const uint8_t *const tile[], unsigned int v, size_t at)
{
	return tile[v / TILE_VECTORS] + at + v % TILE_VECTORS * (VB / 2);
}

INLINE vf load_scale(const uint8_t *const tile[], unsigned int v, size_t at)
{
	return vf_load_f16(lanes16(tile, v, at));
}

INLINE vi q8_0_piece(const uint8_t *const tile[], unsigned int v, size_t col, unsigned int j)
{
	vi w = vi_load(lanes32(tile, v, col + Q8_0_QS + j * 64));

	return Q8_BIAS ? vi_xor(w, vi_set1((int)0x80808080u)) : w;
}

/* Low (elements 4 j ..) and high (16 + 4 j ..) nibbles. */
INLINE vi q4_0_raw(const uint8_t *const tile[], unsigned int v, size_t col, unsigned int j)
{
	return vi_load(lanes32(tile, v, col + Q4_0_QS + j * 64));
}

INLINE vi nibbles_lo(vi w)
{
	return vi_and(w, vi_set1(0x0f0f0f0f));
}

INLINE vi nibbles_hi(vi w)
{
	return vi_and(vi_srl(w, 4), vi_set1(0x0f0f0f0f));
}

/* The high nibbles as they go into a sum, and that sum; the shift comes last where bytes up to 240 are harmless. */
INLINE vi nibbles_hi_raw(vi w)
{
	return DOT_U_ANY ? vi_and(w, vi_set1((int)0xf0f0f0f0u)) : nibbles_hi(w);
}

INLINE vi sum_hi(vi s)
{
	return DOT_U_ANY ? vi_sra(s, 4) : s;
}

INLINE vf load_float(unsigned int type, const uint8_t *const tile[], unsigned int v, size_t col)
{
	if (type == NPU_TYPE_F32)
		return vf_load((const float *)lanes32(tile, v, col));
	if (type == NPU_TYPE_F16)
		return vf_load_f16(lanes16(tile, v, col));
	return vf_load_bf16(lanes16(tile, v, col));
}

/* ---- From rows to a tile ---------------------------------------------------------- */

INLINE void collect_words(const uint8_t *rows, size_t stride, unsigned int bytes, uint8_t *out)
{
	UNROLL for (unsigned int i = 0; i < bytes; i += 16)
		collect16(rows + i, stride, out + 16 * i, 64);
}

/* Sixteen rows are more streams than a core's prefetchers follow. */
#define COLLECT_AHEAD	512	/* bytes */

INLINE void prefetch_rows(const uint8_t *rows, size_t stride)
{
	UNROLL for (unsigned int r = 0; r < 16; r++)
		__builtin_prefetch(rows + r * stride + COLLECT_AHEAD);
}

/* One 16-bit value per row. */
INLINE void collect_scales(const uint8_t *rows, size_t stride, uint8_t *out)
{
	UNROLL for (unsigned int r = 0; r < 16; r++)
		memcpy(out + 2 * r, rows + r * stride, 2);
}

static void collect_q8_0(const uint8_t *rows, size_t stride, uint32_t blocks, uint8_t *out)
{
	for (; blocks; blocks--, rows += 34, out += 16 * 34) {
		prefetch_rows(rows, stride);
		collect_scales(rows, stride, out);
		collect_words(rows + 2, stride, 32, out + Q8_0_QS);
	}
}

static void collect_q4_0(const uint8_t *rows, size_t stride, uint32_t blocks, uint8_t *out)
{
	for (; blocks; blocks--, rows += 18, out += 16 * 18) {
		if (blocks % 2)
			prefetch_rows(rows, stride);
		collect_scales(rows, stride, out);
		collect_words(rows + 2, stride, 16, out + Q4_0_QS);
	}
}

static void collect_q4_k(const uint8_t *rows, size_t stride, uint32_t blocks, uint8_t *out)
{
	for (; blocks; blocks--, rows += 144, out += 16 * 144) {
		for (unsigned int i = 0; i < 144; i += 64)
			prefetch_rows(rows + i, stride);
		/* The first word of a block is d and dmin. */
		collect_words(rows, stride, 144, out);
		split_halves(out);
	}
}

static void collect_q6_k(const uint8_t *rows, size_t stride, uint32_t blocks, uint8_t *out)
{
	for (; blocks; blocks--, rows += 210, out += 16 * 210) {
		for (unsigned int i = 0; i < 210; i += 64)
			prefetch_rows(rows + i, stride);
		collect_scales(rows + 208, stride, out);
		collect_words(rows + 192, stride, 16, out + Q6_K_SCALES);
		UNROLL for (unsigned int i = 0; i < 4; i++) {
			unsigned int h = i / 2, l = i % 2 * 4;

			collect16(rows + 64 * h + 4 * l, stride, out + Q6_K_Q(h, l), 192);
			collect16(rows + 64 * h + 32 + 4 * l, stride, out + Q6_K_Q(h, l) + 64, 192);
			collect16(rows + 128 + 32 * h + 4 * l, stride, out + Q6_K_Q(h, l) + 128, 192);
		}
	}
}

/*
 * VL words of each of 16 rows. Strides of float rows are often large powers of
 * two, so a cache line must be done with before its set is needed again.
 */
static void collect_vectors(const uint8_t *rows, size_t stride, uint8_t *out)
{
	for (unsigned int h = 0; h < TILE_VECTORS; h++, rows += VL * stride, out += VB) {
		vf r[VL];

		UNROLL for (unsigned int i = 0; i < VL; i++)
			r[i] = vf_load((const float *)(rows + i * stride));
		vf_transpose(r);
		UNROLL for (unsigned int i = 0; i < VL; i++)
			vf_store((float *)(out + 64 * i), r[i]);
	}
}

/* F32, F16, BF16: returns how many of @k elements are done; the caller does the tail. */
static uint32_t collect_float(unsigned int type, const uint8_t *rows, size_t stride, uint32_t k, uint8_t *out)
{
	const uint32_t step = type == NPU_TYPE_F32 ? VL : 2 * VL;
	uint32_t i = 0;

	for (; i + step <= k; i += step, rows += VB, out += 64 * VL) {
		prefetch_rows(rows, stride);
		collect_vectors(rows, stride, out);
		for (unsigned int j = 0; j < VL && type != NPU_TYPE_F32; j++)
			split_halves(out + 64 * j);
	}
	return i;
}

/* 16 rows at @rows to a tile of @blocks block columns. */
static void collect(unsigned int type, const uint8_t *rows, size_t stride, uint32_t blocks, uint8_t *tile)
{
	uint32_t done;
	size_t size;

	switch (type) {
	case NPU_TYPE_Q8_0:
		collect_q8_0(rows, stride, blocks, tile);
		break;
	case NPU_TYPE_Q4_0:
		collect_q4_0(rows, stride, blocks, tile);
		break;
	case NPU_TYPE_Q4_K:
		collect_q4_k(rows, stride, blocks, tile);
		break;
	case NPU_TYPE_Q6_K:
		collect_q6_k(rows, stride, blocks, tile);
		break;
	default:
		done = collect_float(type, rows, stride, blocks, tile);
		size = type == NPU_TYPE_F32 ? 4 : 2;
		npu_rows_to_tiles(type, NPU_TILE_ROWS, blocks - done, rows + done * size, stride,
				  tile + NPU_TILE_ROWS * done * size);
	}
}

/* ---- Packing of panels ------------------------------------------------------------ */

#define PUT(vec)	(vi_store(out, vec), out += VB)

static void pack_q8_0(const uint8_t *const tile[], uint32_t blocks, uint8_t *out)
{
	for (size_t col = 0; blocks--; col += 16 * 34) {
		for (unsigned int j = 0; j < 8; j++)
			for (unsigned int v = 0; v < NV; v++)
				PUT(q8_0_piece(tile, v, col, j));
		for (unsigned int v = 0; v < NV; v++)
			PUT(vf_as_vi(load_scale(tile, v, col)));
	}
}

static void pack_q4_0(const uint8_t *const tile[], uint32_t blocks, uint8_t *out)
{
	for (size_t col = 0; blocks--; col += 16 * 18) {
		for (unsigned int j = 0; j < 4; j++)
			for (unsigned int v = 0; v < NV; v++)
				PUT(nibbles_lo(q4_0_raw(tile, v, col, j)));
		for (unsigned int j = 0; j < 4; j++)
			for (unsigned int v = 0; v < NV; v++)
				PUT(nibbles_hi(q4_0_raw(tile, v, col, j)));
		for (unsigned int v = 0; v < NV; v++)
			PUT(vf_as_vi(load_scale(tile, v, col)));
	}
}

INLINE vi byte_of(vi x, unsigned int i)
{
	return vi_and(vi_srl(x, 8 * i), vi_set1(0xff));
}

/* 6-bit values of a Q4_K block column, one per byte: word 0 the scales, 1 the minima; four and four. */
INLINE void load_6bit(const uint8_t *const tile[], unsigned int v, size_t col, unsigned int word, vi six[2])
{
	vi low = vi_load(lanes32(tile, v, col + Q4_K_SCALES + word * 64));
	vi high = vi_load(lanes32(tile, v, col + Q4_K_SCALES + 2 * 64));

	high = word ? nibbles_hi(high) : nibbles_lo(high);
	six[0] = vi_and(low, vi_set1(0x3f3f3f3f));
	six[1] = vi_or(high, vi_sll(vi_and(vi_srl(low, 6), vi_set1(0x03030303)), 4));
}

static uint8_t *pack_6bit(const uint8_t *const tile[], size_t col, unsigned int word, uint8_t *out)
{
	vi six[NV][2];

	for (unsigned int v = 0; v < NV; v++)
		load_6bit(tile, v, col, word, six[v]);
	for (unsigned int j = 0; j < 8; j++)
		for (unsigned int v = 0; v < NV; v++)
			PUT(byte_of(six[v][j / 4], j % 4));
	return out;
}

static void pack_q4_k(const uint8_t *const tile[], uint32_t blocks, uint8_t *out)
{
	for (size_t col = 0; blocks--; col += 16 * 144) {
		for (unsigned int g = 0; g < 64; g++) {
			for (unsigned int v = 0; v < NV; v++) {
				vi w = vi_load(lanes32(tile, v, col + Q4_K_QS + (g / 16 * 8 + g % 8) * 64));

				PUT(g / 8 % 2 ? nibbles_hi(w) : nibbles_lo(w));
			}
		}
		out = pack_6bit(tile, col, 0, out);
		out = pack_6bit(tile, col, 1, out);
		for (unsigned int v = 0; v < NV; v++)
			PUT(vf_as_vi(load_scale(tile, v, col)));
		for (unsigned int v = 0; v < NV; v++)
			PUT(vf_as_vi(load_scale(tile, v, col + Q4_K_DMIN)));
	}
}

static void pack_q6_k(const uint8_t *const tile[], uint32_t blocks, uint8_t *out)
{
	for (size_t col = 0; blocks--; col += 16 * 210) {
		for (unsigned int g = 0; g < 64; g++) {
			unsigned int half = g / 32, quarter = g / 8 % 4, l = g % 8;

			for (unsigned int v = 0; v < NV; v++) {
				vi lo = vi_load(lanes32(tile, v, col + Q6_K_Q(half, l) + quarter % 2 * 64));
				vi hi = vi_load(lanes32(tile, v, col + Q6_K_Q(half, l) + 128));

				hi = vi_and(vi_srl(hi, 2 * quarter), vi_set1(0x03030303));
				lo = quarter / 2 ? nibbles_hi(lo) : nibbles_lo(lo);
				PUT(vi_or(lo, vi_sll(hi, 4)));
			}
		}
		for (unsigned int j = 0; j < 16; j++) {
			for (unsigned int v = 0; v < NV; v++) {
				vi s = vi_load(lanes32(tile, v, col + Q6_K_SCALES + j / 4 * 64));

				PUT(vi_sra(vi_sll(s, 24 - 8 * (j % 4)), 24));
			}
		}
		for (unsigned int v = 0; v < NV; v++)
			PUT(vf_as_vi(load_scale(tile, v, col)));
	}
}

INLINE void pack_float(unsigned int type, const uint8_t *const tile[], uint32_t k, uint8_t *out)
{
	const size_t column = type == NPU_TYPE_F32 ? 64 : 32;

	for (size_t col = 0; k; k--, col += column)
		for (unsigned int v = 0; v < NV; v++)
			PUT(vf_as_vi(load_float(type, tile, v, col)));
}

static void pack(unsigned int type, const uint8_t *const tile[], uint32_t blocks, void *panel)
{
	switch (type) {
	case NPU_TYPE_Q8_0:
		pack_q8_0(tile, blocks, panel);
		break;
	case NPU_TYPE_Q4_0:
		pack_q4_0(tile, blocks, panel);
		break;
	case NPU_TYPE_Q4_K:
		pack_q4_k(tile, blocks, panel);
		break;
	case NPU_TYPE_Q6_K:
		pack_q6_k(tile, blocks, panel);
		break;
	case NPU_TYPE_F32:
		pack_float(NPU_TYPE_F32, tile, blocks, panel);
		break;
	case NPU_TYPE_F16:
		pack_float(NPU_TYPE_F16, tile, blocks, panel);
		break;
	default:
		pack_float(NPU_TYPE_BF16, tile, blocks, panel);
	}
}

static size_t panel_bytes(unsigned int type)
{
	switch (type) {
	case NPU_TYPE_Q8_0:
	case NPU_TYPE_Q4_0:
		return PANEL_Q32 * VB;
	case NPU_TYPE_Q4_K:
		return PANEL_Q4_K * VB;
	case NPU_TYPE_Q6_K:
		return PANEL_Q6_K * VB;
	default:
		return NV * VB;
	}
}

/* ---- Kernels over packed panels ------------------------------------------------------ */

INLINE void load_acc(unsigned int mr, unsigned int nv, const float *acc, vf f[][WIDE])
{
	UNROLL for (unsigned int r = 0; r < mr; r++)
		UNROLL for (unsigned int v = 0; v < nv; v++)
			f[r][v] = vf_load(acc + (r * nv + v) * VL);
}

INLINE void store_acc(unsigned int mr, unsigned int nv, float *acc, vf f[][WIDE])
{
	UNROLL for (unsigned int r = 0; r < mr; r++)
		UNROLL for (unsigned int v = 0; v < nv; v++)
			vf_store(acc + (r * nv + v) * VL, f[r][v]);
}

/* s[r][v] = dot4(w[v], a[r]) + s[r][v] for one group of four k. */
INLINE void dot_step(unsigned int mr, unsigned int nv, bool is_signed, const vi w[WIDE], const int32_t *a, vi s[][WIDE])
{
	UNROLL for (unsigned int r = 0; r < mr; r++) {
		vi ar = vi_set1(a[r]);

		UNROLL for (unsigned int v = 0; v < nv; v++)
			s[r][v] = is_signed ? vi_dot_s(s[r][v], w[v], ar) : vi_dot_u(s[r][v], w[v], ar);
	}
}

INLINE void load_w(const uint8_t *p, vi w[WIDE])
{
	UNROLL for (unsigned int v = 0; v < NV; v++)
		w[v] = vi_load(p + v * VB);
}

/* f = fma(s, rne(dw * da), f) */
INLINE void scale_step(unsigned int mr, unsigned int nv, const vf dw[WIDE], const float *da, vi s[][WIDE],
		       vf f[][WIDE])
{
	UNROLL for (unsigned int r = 0; r < mr; r++) {
		vf d = vf_set1(da[r]);

		UNROLL for (unsigned int v = 0; v < nv; v++)
			f[r][v] = vf_fma(vf_from_vi(s[r][v]), vf_mul(dw[v], d), f[r][v]);
	}
}

INLINE void start_sums(unsigned int mr, unsigned int nv, const int32_t *corr, vi s[][WIDE])
{
	UNROLL for (unsigned int r = 0; r < mr; r++)
		UNROLL for (unsigned int v = 0; v < nv; v++)
			s[r][v] = vi_set1(corr[r]);
}

INLINE void kernel_q32(unsigned int mr, bool is_signed, const uint8_t *w, const int32_t *g, uint32_t blocks, float *acc)
{
	vf f[MR_INT][WIDE];

	load_acc(mr, NV, acc, f);
	for (; blocks; blocks--, w += PANEL_Q32 * VB, g += 10 * mr) {
		vi s[MR_INT][WIDE];
		vf dw[WIDE];

		start_sums(mr, NV, g + 8 * mr, s);
		UNROLL for (unsigned int j = 0; j < 8; j++) {
			vi wv[WIDE];

			load_w(w + j * NV * VB, wv);
			dot_step(mr, NV, is_signed, wv, g + j * mr, s);
		}
		for (unsigned int v = 0; v < NV; v++)
			dw[v] = vf_load((const float *)(w + (8 * NV + v) * VB));
		scale_step(mr, NV, dw, (const float *)(g + 9 * mr), s, f);
	}
	store_acc(mr, NV, acc, f);
}

/* big = sum over sub-blocks of sc[j] * isum[j], sub-blocks of 4 * @groups elements. */
INLINE void k_sums(unsigned int mr, unsigned int groups, const uint8_t *w, const uint8_t *sc, const int32_t *g,
		   const int32_t *corr, vi big[][WIDE])
{
	UNROLL for (unsigned int r = 0; r < mr; r++)
		for (unsigned int v = 0; v < NV; v++)
			big[r][v] = vi_zero();
	for (unsigned int j = 0; j < 64 / groups; j++, w += groups * NV * VB, g += groups * mr) {
		vi s[MR_INT][WIDE];

		UNROLL for (unsigned int r = 0; r < mr; r++)
			for (unsigned int v = 0; v < NV; v++)
				s[r][v] = corr ? vi_set1(corr[j * mr + r]) : vi_zero();
		UNROLL for (unsigned int i = 0; i < groups; i++) {
			vi wv[WIDE];

			load_w(w + i * NV * VB, wv);
			dot_step(mr, NV, false, wv, g + i * mr, s);
		}
		UNROLL for (unsigned int r = 0; r < mr; r++)
			for (unsigned int v = 0; v < NV; v++)
				big[r][v] = vi_add(big[r][v],
						   vi_mul(vi_load(sc + (j * NV + v) * VB), s[r][v]));
	}
}

INLINE void kernel_q4_k(unsigned int mr, const uint8_t *w, const int32_t *g, uint32_t blocks, float *acc)
{
	for (; blocks; blocks--, w += PANEL_Q4_K * VB, g += 73 * mr) {
		const uint8_t *m = w + 72 * NV * VB, *d = w + 80 * NV * VB;
		vi s[MR_INT][WIDE];

		k_sums(mr, 8, w, w + 64 * NV * VB, g, NULL, s);
		for (unsigned int r = 0; r < mr; r++) {
			vf da = vf_set1(npu_f32_from_bits((uint32_t)g[72 * mr + r]));

			for (unsigned int v = 0; v < NV; v++) {
				vf f = vf_load(acc + (r * NV + v) * VL);
				vi t = vi_zero();

				for (unsigned int j = 0; j < 8; j++)
					t = vi_add(t, vi_mul(vi_load(m + (j * NV + v) * VB),
							     vi_set1(g[(64 + j) * mr + r])));
				f = vf_fma(vf_from_vi(s[r][v]), vf_mul(vf_load((const float *)(d + v * VB)), da), f);
				f = vf_fnma(vf_from_vi(t),
					    vf_mul(vf_load((const float *)(d + (NV + v) * VB)), da), f);
				vf_store(acc + (r * NV + v) * VL, f);
			}
		}
	}
}

INLINE void kernel_q6_k(unsigned int mr, const uint8_t *w, const int32_t *g, uint32_t blocks, float *acc)
{
	for (; blocks; blocks--, w += PANEL_Q6_K * VB, g += 81 * mr) {
		const float *d = (const float *)(w + 80 * NV * VB);
		vi s[MR_INT][WIDE];

		k_sums(mr, 4, w, w + 64 * NV * VB, g, g + 64 * mr, s);
		UNROLL for (unsigned int r = 0; r < mr; r++) {
			vf da = vf_set1(npu_f32_from_bits((uint32_t)g[80 * mr + r]));

			for (unsigned int v = 0; v < NV; v++) {
				vf f = vf_load(acc + (r * NV + v) * VL);

				f = vf_fma(vf_from_vi(s[r][v]), vf_mul(vf_load(d + v * VL), da), f);
				vf_store(acc + (r * NV + v) * VL, f);
			}
		}
	}
}

INLINE void kernel_float(unsigned int mr, const uint8_t *w, const float *g, uint32_t k, float *acc)
{
	vf f[MR_F][WIDE];

	load_acc(mr, NV, acc, f);
	for (; k; k--, w += NV * VB, g += mr) {
		vf wv[WIDE];

		for (unsigned int v = 0; v < NV; v++)
			wv[v] = vf_load((const float *)(w + v * VB));
		UNROLL for (unsigned int r = 0; r < mr; r++) {
			vf a = vf_set1(g[r]);

			for (unsigned int v = 0; v < NV; v++)
				f[r][v] = vf_fma(wv[v], a, f[r][v]);
		}
	}
	store_acc(mr, NV, acc, f);
}

/* Make mr a constant: CALL(mr) for each case. */
#define CASES_1_4(CALL)		\
	case 1: CALL(1); break; case 2: CALL(2); break; case 3: CALL(3); break; case 4: CALL(4); break
#define CASES_5_6(CALL)		case 5: CALL(5); break; case 6: CALL(6); break
#define CASES_7_12(CALL)	\
	case 7: CALL(7); break; case 8: CALL(8); break; case 9: CALL(9); break; \
	case 10: CALL(10); break; case 11: CALL(11); break; case 12: CALL(12); break

#if MR_Q == 6
#define CASES_Q(CALL)		CASES_1_4(CALL); CASES_5_6(CALL)
#define CASES_F(CALL)		CASES_1_4(CALL); CASES_5_6(CALL); CASES_7_12(CALL)
#else
#define CASES_Q(CALL)		CASES_1_4(CALL)
#define CASES_F(CALL)		CASES_1_4(CALL); CASES_5_6(CALL)
#endif

static void run_q8_0(unsigned int mr, const uint8_t *w, const int32_t *g, uint32_t blocks, float *acc)
{
#define CALL(n)	kernel_q32(n, !Q8_BIAS, w, g, blocks, acc)
	switch (mr) { CASES_Q(CALL); }
#undef CALL
}

static void run_q4_0(unsigned int mr, const uint8_t *w, const int32_t *g, uint32_t blocks, float *acc)
{
#define CALL(n)	kernel_q32(n, false, w, g, blocks, acc)
	switch (mr) { CASES_Q(CALL); }
#undef CALL
}

static void run_q4_k(unsigned int mr, const uint8_t *w, const int32_t *g, uint32_t blocks, float *acc)
{
#define CALL(n)	kernel_q4_k(n, w, g, blocks, acc)
	switch (mr) { CASES_Q(CALL); }
#undef CALL
}

static void run_q6_k(unsigned int mr, const uint8_t *w, const int32_t *g, uint32_t blocks, float *acc)
{
#define CALL(n)	kernel_q6_k(n, w, g, blocks, acc)
	switch (mr) { CASES_Q(CALL); }
#undef CALL
}

static void run_float(unsigned int mr, const uint8_t *w, const float *g, uint32_t k, float *acc)
{
#define CALL(n)	kernel_float(n, w, g, k, acc)
	switch (mr) { CASES_F(CALL); }
#undef CALL
}

static void kernel(unsigned int type, unsigned int mr, const void *panel, const void *group, uint32_t blocks, float *acc)
{
	switch (type) {
	case NPU_TYPE_Q8_0:
		run_q8_0(mr, panel, group, blocks, acc);
		break;
	case NPU_TYPE_Q4_0:
		run_q4_0(mr, panel, group, blocks, acc);
		break;
	case NPU_TYPE_Q4_K:
		run_q4_k(mr, panel, group, blocks, acc);
		break;
	case NPU_TYPE_Q6_K:
		run_q6_k(mr, panel, group, blocks, acc);
		break;
	default:
		run_float(mr, panel, group, blocks, acc);
	}
}

/* ---- Kernels straight over tiles ------------------------------------------------------- */

#define AHEAD_BYTES	NPU_PIECES_PAGE	/* from what is read to what is fetched; in whole pages both cross their ends at once */
#define FLOAT_PIECE	512		/* bytes */

/*
 * Where tiles are read: in pieces of some hundred bytes, contiguous or in pages. Scattered
 * pages are fetched line by line, each AHEAD_BYTES before it is read and in the order of
 * reading: CPUs do that by themselves only as far as memory seems to go on, and fetch less where
 * their picture of a stream is disturbed.
 */
struct reader {
	const uint8_t *tile[WIDE];	/* the piece; and what is to be fetched meanwhile */
	const uint8_t *fetch[WIDE];
	const uint8_t *p[WIDE];		/* the next piece */
	const uint8_t *ahead[WIDE];
	size_t left[WIDE];		/* bytes from there to the end of the page */
	uint64_t page[WIDE];		/* the byte of the matrix that follows them */
};

/* What begins AHEAD_BYTES after byte @at; or @p, which does no harm. */
INLINE const uint8_t *ahead_of(const struct npu_mm_tile *w, uint64_t at, const uint8_t *p)
{
	return at + AHEAD_BYTES < w->end ? npu_pieces_byte(w->w, at + AHEAD_BYTES) : p;
}

INLINE void start_reading(bool fetch, struct reader *r, unsigned int nv, const struct npu_mm_tile w[])
{
	UNROLL for (unsigned int t = 0; t < nv / TILE_VECTORS; t++) {
		r->p[t] = npu_pieces_byte(w[t].w, w[t].at);
		if (!fetch)
			continue;
		r->left[t] = npu_pieces_run(w[t].w, w[t].at, SIZE_MAX);
		r->page[t] = w[t].at + r->left[t];
		r->ahead[t] = ahead_of(&w[t], w[t].at, r->p[t]);
	}
}

/*
 * A piece of @bytes of which @left end a page and the others begin another at @rest. It is copied in vectors that lie
 * in one page; up to NPU_MM_MARGIN bytes before and after it go along.
 */
INLINE const uint8_t *join(const uint8_t *p, size_t left, const uint8_t *rest, size_t bytes, uint8_t *room)
{
	for (size_t i = 0; i < left; i += VB)
		vi_store(room + left - VB - i, vi_load(p + left - VB - i));
	for (size_t i = left; i < bytes; i += VB)
		vi_store(room + i, vi_load(rest + (i - left)));
	return room;
}

/* The next piece of tile @t, some of whose @bytes are in the next page. */
INLINE void next_page(struct reader *r, unsigned int t, const struct npu_mm_tile *w, size_t bytes)
{
	const uint8_t *p = npu_pieces_byte(w->w, r->page[t]);
	size_t left = r->left[t], rest = bytes - left;

	r->tile[t] = left ? join(r->p[t], left, p, bytes, w->room) : p;
	r->p[t] = p + rest;
	r->left[t] = NPU_PIECES_PAGE - rest;
	for (size_t i = 0; i < left; i += 64)
		__builtin_prefetch(r->ahead[t] + i, 0, 2);
	r->fetch[t] = ahead_of(w, r->page[t], p);
	r->ahead[t] = r->fetch[t] + rest;
	r->page[t] += NPU_PIECES_PAGE;
}

/*
 * Kernels take @nv vectors: a panel, or (with one row of x, when memory is the limit) two
 * panels, whose tiles may lie apart: what is loaded of x serves twice as many weights.
 */
INLINE void next_piece(bool fetch, struct reader *r, unsigned int nv, const struct npu_mm_tile w[], size_t bytes)
{
	UNROLL for (unsigned int t = 0; t < nv / TILE_VECTORS; t++) {
		if (fetch && __builtin_expect(r->left[t] < bytes, 0)) {
			next_page(r, t, &w[t], bytes);
			continue;
		}
		r->tile[t] = r->p[t];
		r->p[t] += bytes;
		if (fetch) {
			r->left[t] -= bytes;
			r->fetch[t] = r->ahead[t];
			r->ahead[t] += bytes;
		}
	}
}

/* A line of what is to be fetched, between a kernel's other work, since a core has few requests under way at once. */
INLINE void fetch_line(bool fetch, const struct reader *r, unsigned int nv, size_t at)
{
	if (!fetch)
		return;
	UNROLL for (unsigned int t = 0; t < nv / TILE_VECTORS; t++)
		__builtin_prefetch(r->fetch[t] + at, 0, 2);
}

INLINE void load_scales(const struct reader *r, unsigned int nv, vf dw[WIDE])
{
	UNROLL for (unsigned int v = 0; v < nv; v++)
		dw[v] = load_scale(r->tile, v, 0);
}

INLINE void q8_0_column(bool fetch, unsigned int mr, unsigned int nv, const struct reader *r, const int32_t *g,
			vf f[][WIDE])
{
	vi s[MR_DIRECT][WIDE];
	vf dw[WIDE];

	start_sums(mr, nv, g + 8 * mr, s);
	UNROLL for (unsigned int j = 0; j < 8; j++) {
		vi w[WIDE];

		fetch_line(fetch, r, nv, j * 64);
		UNROLL for (unsigned int v = 0; v < nv; v++)
			w[v] = q8_0_piece(r->tile, v, 0, j);
		dot_step(mr, nv, !Q8_BIAS, w, g + j * mr, s);
	}
	fetch_line(fetch, r, nv, 8 * 64);
	load_scales(r, nv, dw);
	scale_step(mr, nv, dw, (const float *)(g + 9 * mr), s, f);
}

INLINE void direct_q8_0(bool fetch, unsigned int mr, unsigned int nv, const struct npu_mm_tile w[], const int32_t *g,
			uint32_t blocks, float *acc)
{
	vf f[MR_DIRECT][WIDE];
	struct reader r;

	load_acc(mr, nv, acc, f);
	start_reading(fetch, &r, nv, w);
	for (; blocks; blocks--, g += 10 * mr) {
		next_piece(fetch, &r, nv, w, 16 * 34);
		q8_0_column(fetch, mr, nv, &r, g, f);
	}
	store_acc(mr, nv, acc, f);
}

INLINE void q4_0_column(bool fetch, unsigned int mr, unsigned int nv, const struct reader *r, const int32_t *g,
			vf f[][WIDE])
{
	vi s[MR_DIRECT][WIDE], h[MR_DIRECT][WIDE];
	vf dw[WIDE];

	start_sums(mr, nv, g + 8 * mr, s);
	UNROLL for (unsigned int r = 0; r < mr; r++)
		for (unsigned int v = 0; v < nv; v++)
			h[r][v] = vi_zero();
	UNROLL for (unsigned int j = 0; j < 4; j++) {
		vi lo[WIDE], hi[WIDE];

		fetch_line(fetch, r, nv, j * 64);
		UNROLL for (unsigned int v = 0; v < nv; v++) {
			vi w = q4_0_raw(r->tile, v, 0, j);

			lo[v] = nibbles_lo(w);
			hi[v] = nibbles_hi_raw(w);
		}
		dot_step(mr, nv, false, lo, g + j * mr, s);
		dot_step(mr, nv, false, hi, g + (4 + j) * mr, h);
	}
	fetch_line(fetch, r, nv, 4 * 64);
	UNROLL for (unsigned int r = 0; r < mr; r++)
		for (unsigned int v = 0; v < nv; v++)
			s[r][v] = vi_add(s[r][v], sum_hi(h[r][v]));
	load_scales(r, nv, dw);
	scale_step(mr, nv, dw, (const float *)(g + 9 * mr), s, f);
}

INLINE void direct_q4_0(bool fetch, unsigned int mr, unsigned int nv, const struct npu_mm_tile w[], const int32_t *g,
			uint32_t blocks, float *acc)
{
	vf f[MR_DIRECT][WIDE];
	struct reader r;

	load_acc(mr, nv, acc, f);
	start_reading(fetch, &r, nv, w);
	for (; blocks; blocks--, g += 10 * mr) {
		next_piece(fetch, &r, nv, w, 16 * 18);
		q4_0_column(fetch, mr, nv, &r, g, f);
	}
	store_acc(mr, nv, acc, f);
}

/* S over the 64 elements of chunk @c, the piece: two sub-blocks. */
INLINE void q4_k_chunk(bool fetch, unsigned int nv, const struct reader *r, const int32_t *g, unsigned int c,
		       vi sc[WIDE][2], vi s[WIDE])
{
	vi lo[WIDE], hi[WIDE];

	UNROLL for (unsigned int v = 0; v < nv; v++)
		lo[v] = hi[v] = vi_zero();
	UNROLL for (unsigned int i = 0; i < 8; i++) {
		vi a = vi_set1(g[c * 16 + i]), b = vi_set1(g[c * 16 + 8 + i]);

		fetch_line(fetch, r, nv, i * 64);
		UNROLL for (unsigned int v = 0; v < nv; v++) {
			vi w = vi_load(lanes32(r->tile, v, i * 64));

			lo[v] = vi_dot_u(lo[v], nibbles_lo(w), a);
			hi[v] = vi_dot_u(hi[v], nibbles_hi_raw(w), b);
		}
	}
	UNROLL for (unsigned int v = 0; v < nv; v++) {
		s[v] = vi_add(s[v], vi_mul(lo[v], byte_of(sc[v][c / 2], c % 2 * 2)));
		s[v] = vi_add(s[v], vi_mul(sum_hi(hi[v]), byte_of(sc[v][c / 2], c % 2 * 2 + 1)));
	}
}

/* One row of x. */
INLINE void q4_k_column(bool fetch, unsigned int nv, struct reader *r, const struct npu_mm_tile w[], const int32_t *g,
			vf f[WIDE])
{
	vf da = vf_set1(npu_f32_from_bits((uint32_t)g[72]));
	const uint8_t *head[WIDE];
	vi six[WIDE][2], s[WIDE], t[WIDE];

	next_piece(fetch, r, nv, w, Q4_K_QS);
	memcpy(head, r->tile, sizeof(head));
	UNROLL for (unsigned int i = 0; i < 4; i++)
		fetch_line(fetch, r, nv, i * 64);
	UNROLL for (unsigned int v = 0; v < nv; v++) {
		load_6bit(head, v, 0, 0, six[v]);
		s[v] = t[v] = vi_zero();
	}
	UNROLL for (unsigned int c = 0; c < 4; c++) {
		next_piece(fetch, r, nv, w, 8 * 64);
		q4_k_chunk(fetch, nv, r, g, c, six, s);
	}
	UNROLL for (unsigned int v = 0; v < nv; v++)
		load_6bit(head, v, 0, 1, six[v]);
	UNROLL for (unsigned int j = 0; j < 8; j++) {
		vi asum = vi_set1(g[64 + j]);

		UNROLL for (unsigned int v = 0; v < nv; v++)
			t[v] = vi_add(t[v], vi_mul(byte_of(six[v][j / 4], j % 4), asum));
	}
	UNROLL for (unsigned int v = 0; v < nv; v++) {
		f[v] = vf_fma(vf_from_vi(s[v]), vf_mul(load_scale(head, v, 0), da), f[v]);
		f[v] = vf_fnma(vf_from_vi(t[v]), vf_mul(load_scale(head, v, Q4_K_DMIN), da), f[v]);
	}
}

INLINE void direct_q4_k(bool fetch, unsigned int nv, const struct npu_mm_tile w[], const int32_t *g,
			uint32_t blocks, float *acc)
{
	vf f[1][WIDE];
	struct reader r;

	load_acc(1, nv, acc, f);
	start_reading(fetch, &r, nv, w);
	for (; blocks; blocks--, g += 73)
		q4_k_column(fetch, nv, &r, w, g, f[0]);
	store_acc(1, nv, acc, f);
}

/* The piece: sum += sc * (sums of 16) of the four quarters at half @h, first or second 16 of each quarter. */
INLINE void q6_k_part(bool fetch, unsigned int nv, const struct reader *r, const uint8_t *const head[],
		      const int32_t *g, unsigned int h, unsigned int second, vi sum[WIDE])
{
	const vi two = vi_set1(0x30303030);
	vi s[4][WIDE];

	UNROLL for (unsigned int q = 0; q < 4; q++)
		UNROLL for (unsigned int v = 0; v < nv; v++)
			s[q][v] = vi_set1(g[64 + h * 8 + q * 2 + second]);
	UNROLL for (unsigned int i = 0; i < 4; i++) {
		const int32_t *gi = g + h * 32 + second * 4 + i;

		UNROLL for (unsigned int n = 0; n < 3; n++)
			fetch_line(fetch, r, nv, (3 * i + n) * 64);
		UNROLL for (unsigned int v = 0; v < nv; v++) {
			vi a = vi_load(lanes32(r->tile, v, 3 * i * 64));
			vi b = vi_load(lanes32(r->tile, v, 3 * i * 64 + 64));
			vi hi = vi_load(lanes32(r->tile, v, 3 * i * 64 + 128));

			s[0][v] = vi_dot_u(s[0][v], vi_or(nibbles_lo(a), vi_and(vi_sll(hi, 4), two)), vi_set1(gi[0]));
			s[1][v] = vi_dot_u(s[1][v], vi_or(nibbles_lo(b), vi_and(vi_sll(hi, 2), two)), vi_set1(gi[8]));
			s[2][v] = vi_dot_u(s[2][v], vi_or(nibbles_hi(a), vi_and(hi, two)), vi_set1(gi[16]));
			s[3][v] = vi_dot_u(s[3][v], vi_or(nibbles_hi(b), vi_and(vi_srl(hi, 2), two)),
					   vi_set1(gi[24]));
		}
	}
	UNROLL for (unsigned int q = 0; q < 4; q++) {
		unsigned int j = h * 8 + q * 2 + second;

		UNROLL for (unsigned int v = 0; v < nv; v++) {
			vi sc = vi_load(lanes32(head, v, Q6_K_SCALES + j / 4 * 64));

			sum[v] = vi_add(sum[v], vi_mul(s[q][v], vi_sra(vi_sll(sc, 24 - 8 * (j % 4)), 24)));
		}
	}
}

/* One row of x. */
INLINE void q6_k_column(bool fetch, unsigned int nv, struct reader *r, const struct npu_mm_tile w[], const int32_t *g,
			vf f[WIDE])
{
	vf da = vf_set1(npu_f32_from_bits((uint32_t)g[80]));
	const uint8_t *head[WIDE];
	vi s[WIDE];

	next_piece(fetch, r, nv, w, Q6_K_Q(0, 0));
	memcpy(head, r->tile, sizeof(head));
	UNROLL for (unsigned int i = 0; i < 5; i++)
		fetch_line(fetch, r, nv, i * 64);
	UNROLL for (unsigned int v = 0; v < nv; v++)
		s[v] = vi_zero();
	for (unsigned int i = 0; i < 4; i++) {
		next_piece(fetch, r, nv, w, 4 * 192);
		q6_k_part(fetch, nv, r, head, g, i / 2, i % 2, s);
	}
	UNROLL for (unsigned int v = 0; v < nv; v++)
		f[v] = vf_fma(vf_from_vi(s[v]), vf_mul(load_scale(head, v, 0), da), f[v]);
}

INLINE void direct_q6_k(bool fetch, unsigned int nv, const struct npu_mm_tile w[], const int32_t *g,
			uint32_t blocks, float *acc)
{
	vf f[1][WIDE];
	struct reader r;

	load_acc(1, nv, acc, f);
	start_reading(fetch, &r, nv, w);
	for (; blocks; blocks--, g += 81)
		q6_k_column(fetch, nv, &r, w, g, f[0]);
	store_acc(1, nv, acc, f);
}

INLINE void float_column(unsigned int type, unsigned int mr, unsigned int nv, const uint8_t *const tile[], size_t col,
			 const float *g, vf f[][WIDE])
{
	vf w[WIDE];

	UNROLL for (unsigned int v = 0; v < nv; v++)
		w[v] = load_float(type, tile, v, col);
	UNROLL for (unsigned int r = 0; r < mr; r++) {
		vf a = vf_set1(g[r]);

		UNROLL for (unsigned int v = 0; v < nv; v++)
			f[r][v] = vf_fma(w[v], a, f[r][v]);
	}
}

INLINE void direct_float(bool fetch, unsigned int type, unsigned int mr, unsigned int nv,
			 const struct npu_mm_tile w[], const float *g, uint32_t blocks, float *acc)
{
	const size_t column = type == NPU_TYPE_F32 ? 64 : 32;
	vf f[MR_DIRECT][WIDE];
	struct reader r;

	load_acc(mr, nv, acc, f);
	start_reading(fetch, &r, nv, w);
	for (size_t left = blocks * column, bytes; left; left -= bytes) {
		bytes = left < FLOAT_PIECE ? left : FLOAT_PIECE;
		next_piece(fetch, &r, nv, w, bytes);
		for (size_t col = 0; col < bytes;) {
			fetch_line(fetch, &r, nv, col);
			UNROLL for (unsigned int i = 0; i < 64 / column && col < bytes; i++, col += column, g += mr)
				float_column(type, mr, nv, r.tile, col, g, f);
		}
	}
	store_acc(mr, nv, acc, f);
}

/* One panel, up to MR_DIRECT rows of x. */
INLINE bool direct_fetch(bool fetch, unsigned int type, unsigned int mr, const struct npu_mm_tile w[], const void *g,
			 uint32_t blocks, float *acc)
{
	switch (type) {
#define CALL(n)	direct_q8_0(fetch, n, NV, w, g, blocks, acc)
	case NPU_TYPE_Q8_0:
		switch (mr) { CASES_1_4(CALL); }
		return true;
#undef CALL
#define CALL(n)	direct_q4_0(fetch, n, NV, w, g, blocks, acc)
	case NPU_TYPE_Q4_0:
		switch (mr) { CASES_1_4(CALL); }
		return true;
#undef CALL
#define CALL(n)	direct_float(fetch, NPU_TYPE_F32, n, NV, w, g, blocks, acc)
	case NPU_TYPE_F32:
		switch (mr) { CASES_1_4(CALL); }
		return true;
#undef CALL
#define CALL(n)	direct_float(fetch, NPU_TYPE_F16, n, NV, w, g, blocks, acc)
	case NPU_TYPE_F16:
		switch (mr) { CASES_1_4(CALL); }
		return true;
#undef CALL
#define CALL(n)	direct_float(fetch, NPU_TYPE_BF16, n, NV, w, g, blocks, acc)
	case NPU_TYPE_BF16:
		switch (mr) { CASES_1_4(CALL); }
		return true;
#undef CALL
	case NPU_TYPE_Q4_K:
		if (mr == 1)
			direct_q4_k(fetch, NV, w, g, blocks, acc);
		return mr == 1;
	case NPU_TYPE_Q6_K:
		if (mr == 1)
			direct_q6_k(fetch, NV, w, g, blocks, acc);
		return mr == 1;
	default:
		return false;
	}
}

static bool direct(bool fetch, unsigned int type, unsigned int mr, const struct npu_mm_tile w[], const void *g,
		   uint32_t blocks, float *acc)
{
	return fetch ? direct_fetch(true, type, mr, w, g, blocks, acc) :
		       direct_fetch(false, type, mr, w, g, blocks, acc);
}

/* Two panels, one row of x. */
INLINE void direct_wide_fetch(bool fetch, unsigned int type, const struct npu_mm_tile w[], const void *g,
			      uint32_t blocks, float *acc)
{
	switch (type) {
	case NPU_TYPE_Q8_0:
		direct_q8_0(fetch, 1, WIDE, w, g, blocks, acc);
		break;
	case NPU_TYPE_Q4_0:
		direct_q4_0(fetch, 1, WIDE, w, g, blocks, acc);
		break;
	case NPU_TYPE_Q4_K:
		direct_q4_k(fetch, WIDE, w, g, blocks, acc);
		break;
	case NPU_TYPE_Q6_K:
		direct_q6_k(fetch, WIDE, w, g, blocks, acc);
		break;
	case NPU_TYPE_F32:
		direct_float(fetch, NPU_TYPE_F32, 1, WIDE, w, g, blocks, acc);
		break;
	case NPU_TYPE_F16:
		direct_float(fetch, NPU_TYPE_F16, 1, WIDE, w, g, blocks, acc);
		break;
	default:
		direct_float(fetch, NPU_TYPE_BF16, 1, WIDE, w, g, blocks, acc);
	}
}

/* Where memory is contiguous the CPU sees by itself what comes next, and is faster without. */
static void direct_wide(bool fetch, unsigned int type, const struct npu_mm_tile w[], const void *g, uint32_t blocks,
			float *acc)
{
	if (fetch)
		direct_wide_fetch(true, type, w, g, blocks, acc);
	else
		direct_wide_fetch(false, type, w, g, blocks, acc);
}

/* ---- Ends ------------------------------------------------------------------------------ */

static void finish(float *dst, const float *acc, const float *bias, bool accumulate, uint32_t n)
{
	const vf nan = vi_as_vf(vi_set1((int)NPU_F32_NAN_BITS));
	uint32_t i = 0;

	for (; i + VL <= n; i += VL) {
		vf r = vf_load(acc + i);

		if (bias)
			r = vf_add(r, vf_load(bias + i));
		if (accumulate)
			r = vf_add(r, vf_load(dst + i));
		vf_store(dst + i, vf_select(vm_nan_vf(r), nan, r));
	}
	for (; i < n; i++) {
		float r = bias ? acc[i] + bias[i] : acc[i];

		dst[i] = npu_canon(accumulate ? r + dst[i] : r);
	}
}

static void widen_f16(const uint16_t *h, uint32_t n, float *x)
{
	uint32_t i = 0;

	for (; i + VL <= n; i += VL)
		vf_store(x + i, vf_load_f16(h + i));
	for (; i < n; i++)
		x[i] = npu_f16_to_f32(h[i]);
}

const struct npu_mm_kernels NPU_MM_TABLE = {
	.panel_rows = NV * VL,
	.mr = { MR_F, MR_Q, MR_Q, MR_Q },
	.q8_bias = Q8_BIAS,
	.q4_bias = 8,
	.q6_bias = 32,
	.direct_mr = MR_DIRECT,
	.quantize = quantize,
	.load_act = load_act,
	.pack_act = pack_act,
	.panel_bytes = panel_bytes,
	.pack = pack,
	.kernel = kernel,
	.direct = direct,
	.direct_wide = direct_wide,
	.collect = collect,
	.finish = finish,
	.widen_f16 = widen_f16,
};
