/* SPDX-License-Identifier: MIT */
/* run.h - what the operations share: rows in and out of F32, loops, and the list of them. */
#ifndef NPU_MODEL_OPS_RUN_H
#define NPU_MODEL_OPS_RUN_H

#include "operand.h"
#include "ops.h"
#include "pool.h"
#include "row.h"

/* Elements that are worth a piece of a parallel loop. */
#define NPU_GRAIN	16384u

/* Rows of @n elements per piece. */
static inline uint64_t npu_row_grain(uint64_t n)
{
	return n >= NPU_GRAIN ? 1 : NPU_GRAIN / (n ? n : 1);
}

/*
 * Elements [i0, i0 + n) of a row at @row as F32, n <= NPU_CHUNK; in place where
 * possible, else in @buf. @nb0 0 repeats one element. Block types: i0 and n in
 * whole blocks.
 */
const float *npu_row_load(const struct npu_row_kernels *k, unsigned int type, const uint8_t *row, uint64_t nb0,
			  uint64_t i0, uint64_t n, float *buf);

/* Where to compute elements [i0, i0 + n) of a destination row: in place, or @buf. */
float *npu_row_dest(unsigned int type, uint8_t *row, uint64_t nb0, uint64_t i0, float *buf);

/* Store @y, stored values that were computed where npu_row_dest() said. */
void npu_row_finish(const struct npu_row_kernels *k, unsigned int type, uint8_t *row, uint64_t nb0, uint64_t i0,
		    uint64_t n, const float *y);

/* Convert @x and store it. */
void npu_row_store(const struct npu_row_kernels *k, unsigned int type, uint8_t *row, uint64_t nb0, uint64_t i0,
		   uint64_t n, const float *x);

/* Row @r of an operand, rows counted over dimensions 1..3 of @ne. */
uint8_t *npu_row_at(const struct npu_operand *op, const uint32_t *ne, uint64_t r);

/* Strides of dimensions that @op has only once become 0. */
void npu_broadcast(struct npu_operand *op, const uint32_t *ne);

/* An operand that is a vector in the packet: @tensor is filled in. */
struct npu_operand npu_vector_operand(struct npu_tensor *tensor, uint64_t addr, unsigned int type, uint32_t n,
				      unsigned int number);

int npu_run_matmul(const struct npu_cmd_matmul *p, struct npu_op_env *env);
int npu_run_matmul_glu(const struct npu_cmd_matmul_glu *p, struct npu_op_env *env);
int npu_run_attention(const struct npu_cmd_attention *p, struct npu_op_env *env);
int npu_run_norm(const struct npu_cmd_norm *p, struct npu_op_env *env);
int npu_run_rope(const struct npu_cmd_rope *p, struct npu_op_env *env);
int npu_run_softmax(const struct npu_cmd_softmax *p, struct npu_op_env *env);
int npu_run_binary(const struct npu_cmd_binary *p, struct npu_op_env *env);	/* and GLU */
int npu_run_unary(const struct npu_cmd_map *p, struct npu_op_env *env);
int npu_run_copy(const struct npu_cmd_map *p, struct npu_op_env *env);
int npu_run_fill(const struct npu_cmd_map *p, struct npu_op_env *env);
int npu_run_reduce(const struct npu_cmd_map *p, struct npu_op_env *env);	/* and ARGMAX */
int npu_run_topk(const struct npu_cmd_topk *p, struct npu_op_env *env);
int npu_run_gather(const struct npu_cmd_rows *p, struct npu_op_env *env);
int npu_run_scatter(const struct npu_cmd_rows *p, struct npu_op_env *env);

#endif /* NPU_MODEL_OPS_RUN_H */
