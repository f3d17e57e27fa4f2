/* SPDX-License-Identifier: MIT */
/* conf_impl.h - what the parts of the table share. */
#ifndef NPU_TESTS_CONF_IMPL_H
#define NPU_TESTS_CONF_IMPL_H

#include "conf.h"

#define EPS32	0x1p-24		/* half an ulp of F32, relative */

struct conf_case;
typedef void (*conf_make_fn)(struct conf_instance *ci, const struct conf_case *c);

/* What the elements of a source are. */
enum conf_fill {
	FILL_NORMAL,	/* about N(0, 1) */
	FILL_LARGE,	/* up to 1e30 (F32), 60000 (F16) */
	FILL_TINY,	/* subnormal and near it */
	FILL_SPECIAL,	/* normal with NaN, infinities and signed zeros among them */
	FILL_POSITIVE,	/* |normal| */
	FILL_TIES,	/* few different values */
	FILL_COUNT
};

struct conf_case {
	char name[112];
	conf_make_fn make;
	uint32_t op;
	uint32_t kind, flags;
	uint8_t dst_type, src_type, src2_type, layout;
	uint8_t pad;		/* enum conf_stride of strided operands */
	enum conf_fill fill;
	uint32_t ne[NPU_DIMS];
	uint32_t a[4];		/* more of the shape, as the operation likes */
	float f[3];
};

enum conf_stride {
	STRIDE_DENSE,
	STRIDE_PADDED,		/* rows have holes between them */
	STRIDE_TRANSPOSED,	/* dimension 1 is the innermost in memory */
};

/* Add a case; the name is printf-like. */
void conf_add(const struct conf_case *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
const char *conf_fill_name(enum conf_fill fill);
const char *conf_type_name(unsigned int type);

/* The families, each adds its cases. */
void conf_add_matrix(void);
void conf_add_norms(void);
void conf_add_maps(void);
void conf_add_rows(void);

/* ---- Making an instance ---------------------------------------------------------- */

uint64_t conf_random(struct conf_instance *ci);
double conf_uniform(struct conf_instance *ci);	/* [0, 1) */

/*
 * Make the buffer of tensor @t, which is inside ci->packet: strides, address
 * relocation, random guard bytes and contents.
 */
void conf_tensor(struct conf_instance *ci, struct npu_tensor *t, unsigned int type, const uint32_t *ne,
		 enum conf_stride stride, bool output);
/* The same for a contiguous vector whose address is the 64-bit field @field of the packet. */
uint8_t *conf_vector(struct conf_instance *ci, uint64_t *field, size_t bytes);
void conf_fill_tensor(struct conf_instance *ci, const struct npu_tensor *t, enum conf_fill fill);
/* Turn the rows of weights in @t into 16-row tiles. Reading them back with conf_get() needs a copy made before. */
void conf_make_tiles(struct conf_instance *ci, struct npu_tensor *t);

/* Index of the tensor's buffer. */
uint32_t conf_buf_of(const struct conf_instance *ci, const struct npu_tensor *t);
/* Where element (or its block) is in its buffer. */
uint8_t *conf_at(struct conf_instance *ci, const struct npu_tensor *t, uint64_t i0, uint64_t i1, uint64_t i2,
		 uint64_t i3);
double conf_get(struct conf_instance *ci, const struct npu_tensor *t, uint64_t i0, uint64_t i1, uint64_t i2,
		uint64_t i3);
void conf_expect(struct conf_instance *ci, const struct npu_tensor *t, uint64_t i0, uint64_t i1, uint64_t i2,
		 uint64_t i3, double want, double tol);
/* Element @i of a packed row of any type, from its bytes. */
double conf_decode(unsigned int type, const uint8_t *row, uint64_t i);
void conf_encode(unsigned int type, uint8_t *p, double v);	/* plain types only */

uint32_t conf_block_bytes(unsigned int type);
uint32_t conf_block_len(unsigned int type);

#define EACH_ROW(ne, i1, i2, i3)							\
	for (uint64_t i3 = 0; i3 < (ne)[3]; i3++)					\
		for (uint64_t i2 = 0; i2 < (ne)[2]; i2++)				\
			for (uint64_t i1 = 0; i1 < (ne)[1]; i1++)

#endif /* NPU_TESTS_CONF_IMPL_H */
