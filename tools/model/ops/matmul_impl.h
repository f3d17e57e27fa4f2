/* SPDX-License-Identifier: MIT */
/* matmul_impl.h - between matmul.c and its kernels; nobody else includes it. */
#ifndef NPU_MODEL_OPS_MATMUL_IMPL_H
#define NPU_MODEL_OPS_MATMUL_IMPL_H

#include "matmul.h"
#include "pool.h"

/* Reference. */
size_t npu_matmul_ref_scratch(const struct npu_matmul *mm);
void npu_matmul_ref(const struct npu_matmul *mm, struct npu_pool *pool, void *scratch);

/* Row @m of x, widened to F32. */
void npu_mm_load_row(const struct npu_matmul *mm, uint32_t m, float *x);

/* Is x quantised already (A8, A8_K)? */
static inline bool npu_mm_quantised(const struct npu_matmul *mm)
{
	return mm->x_type == NPU_TYPE_A8 || mm->x_type == NPU_TYPE_A8_K;
}

/* Weight types that share a kernel over packed panels. */
enum npu_mm_class {
	NPU_MM_FLOAT,	/* F32, F16, BF16: blocks of one element */
	NPU_MM_Q32,	/* Q8_0, Q4_0 */
	NPU_MM_Q4_K,
	NPU_MM_Q6_K,
	NPU_MM_CLASSES
};

/*
 * Fast versions work on panels of two vectors of w rows (one or two tiles) and
 * on groups of mr rows of x. A group is packed block column by block column,
 * 32-bit values, [..][mr]:
 *
 *   FLOAT   x[mr]
 *   Q32     q[8][mr], each four consecutive int8; corr[mr]; d[mr]
 *   Q4_K    q[64][mr]; asum[8][mr] (sums of 32); d[mr]
 *   Q6_K    q[64][mr]; corr[16][mr]; d[mr]
 *
 * corr is what an integer sum over biased weights (w + bias >= 0) starts from:
 * -bias * sum q. The packed panel holds, per block column, bytes in the order
 * in which the kernel reads them; its layout is the kernel's own.
 */
#define NPU_MM_VECTORS		2u	/* per panel */
#define NPU_MM_PANEL_TILES	2u	/* at most */
#define NPU_MM_PANEL_ROWS	32u	/* at most */

#define NPU_MM_MARGIN		64u		/* bytes */

/* A tile that is read where it is stored. */
struct npu_mm_tile {
	const struct npu_pieces *w;
	uint64_t at, end;	/* its first byte in @w; from @end on nothing is fetched ahead of time */
	uint8_t *room;		/* if in pages: for a block column that crosses them, and a margin on either side */
};

struct npu_mm_kernels {
	unsigned int panel_rows;			/* 16 or 32 */
	unsigned int mr[NPU_MM_CLASSES];		/* largest group */
	unsigned int q8_bias, q4_bias, q6_bias;		/* of the packed weights */
	unsigned int direct_mr;				/* largest group of direct() */

	/* Quantise k elements in blocks of @block: q, d per block, sums of 16. */
	void (*quantize)(const float *x, uint32_t k, uint32_t block, int8_t *q, float *d, int32_t *s16);
	/* The same of a row of A8 (@block 32) or A8_K (256). */
	void (*load_act)(const uint8_t *row, uint32_t k, uint32_t block, int8_t *q, float *d, int32_t *s16);

	/* A row of A8 as a group of one row: of each block q, -bias * sum of q, d. */
	void (*pack_act)(const uint8_t *row, uint32_t blocks, int32_t bias, uint32_t *out);

	/* Bytes of a packed block column of @type. */
	size_t (*panel_bytes)(unsigned int type);
	/* Pack @blocks block columns of the panel's tiles (panel_rows / 16 of them). */
	void (*pack)(unsigned int type, const uint8_t *const tile[], uint32_t blocks, void *panel);
	/* acc[mr][panel_rows] += packed panel * group. */
	void (*kernel)(unsigned int type, unsigned int mr, const void *panel, const void *group, uint32_t blocks,
		       float *acc);

	/*
	 * The same straight from tiles, mr <= direct_mr; false: not for this type and mr. @fetch: some may be in
	 * pages, and what lies ahead is fetched; else all are contiguous.
	 */
	bool (*direct)(bool fetch, unsigned int type, unsigned int mr, const struct npu_mm_tile w[], const void *group,
		       uint32_t blocks, float *acc);

	/* Twice a panel's tiles and one row of x; every type. acc[2][panel_rows], tile by tile. */
	void (*direct_wide)(bool fetch, unsigned int type, const struct npu_mm_tile w[], const void *group,
			    uint32_t blocks, float *acc);

	/* 16 rows in the row layout to @blocks block columns of a tile. */
	void (*collect)(unsigned int type, const uint8_t *rows, size_t stride, uint32_t blocks, uint8_t *tile);

	/* dst[0..n) = finish(acc[0..n)): bias, accumulate, canonical NaN. */
	void (*finish)(float *dst, const float *acc, const float *bias, bool accumulate, uint32_t n);
	void (*widen_f16)(const uint16_t *h, uint32_t n, float *x);
};

/* dst[@m][@n0 + i] = finish(acc[i]) for @n columns, converted if need be. */
void npu_mm_finish(const struct npu_matmul *mm, const struct npu_mm_kernels *kern, uint32_t m, uint32_t n0, uint32_t n,
		   const float *acc);

/* One row of x over tiles (matmul_stream.c). k is not 0. */
struct npu_mm_stream {
	const struct npu_matmul *mm;
	const struct npu_mm_kernels *kern;
	uint32_t blocks;		/* per row of w */
	size_t column_bytes;		/* of a block column of a tile */
	uint64_t tile_bytes;
	/*
	 * x, packed by each worker for itself: between CPUs that share no cache that is faster than one packing
	 * for all. @worker is below the number of threads.
	 */
	const void *(*pack)(const void *job, unsigned int worker);
	const void *job;
	size_t job_bytes, x_bytes;
	void *mem;
};

/* Bytes of @mem, which begins at a cache line. */
size_t npu_mm_stream_scratch(const struct npu_mm_stream *s, const struct npu_pool *pool);
void npu_mm_stream_run(const struct npu_mm_stream *s, struct npu_pool *pool);

extern const struct npu_mm_kernels npu_mm_avx2, npu_mm_avx512, npu_mm_neon, npu_mm_dotprod;

#endif /* NPU_MODEL_OPS_MATMUL_IMPL_H */
