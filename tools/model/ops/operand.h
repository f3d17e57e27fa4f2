/* SPDX-License-Identifier: MIT */
/* Operands of a tensor packet as the kernels see them: host pointers and strides. */
#ifndef NPU_MODEL_OPS_OPERAND_H
#define NPU_MODEL_OPS_OPERAND_H

#include "ops.h"

#define NPU_TOPK_MAX	1024u
#define NPU_OPERANDS	6u	/* most operands of one packet, vectors included */

/* Bytes from the first byte of element 0 to the last byte of the last element; false: more than 2^64 - 1. */
bool npu_operand_span(const struct npu_tensor *t, uint64_t *span);

struct npu_operand {
	const struct npu_tensor *t;
	unsigned int number;		/* in fault records */
	unsigned int access;		/* enum npu_op_access bits; 0 = the operand is absent */
	bool in_pieces;			/* the operation reads (or writes) @mem in pieces, and never @p */
	/* Set by npu_operands_map(). */
	uint8_t *p;			/* element 0 */
	struct npu_pieces mem;		/* from element 0 on; holds @p, or where that is NULL, pages */
	uint64_t nb[NPU_DIMS];		/* strides at p; those of the packet, or of a packed copy */
	uint64_t packed;		/* bytes of the packed copy, 0 when mapped in place */
};

/*
 * Map @n operands in order. One whose whole span is accessible is used in
 * place; one that has holes which are not is copied run by run into scratch,
 * and npu_operands_finish() writes it back. @work_size bytes of scratch, 64-byte
 * aligned, are returned in @work. Nothing is written before all operands have
 * been found accessible. 0, -EFAULT or -ENOMEM.
 */
int npu_operands_map(struct npu_op_env *env, struct npu_operand *op, unsigned int n, size_t work_size, void **work);
/* Write packed destinations back. 0 or -EFAULT. */
int npu_operands_finish(struct npu_op_env *env, const struct npu_operand *op, unsigned int n);

#endif /* NPU_MODEL_OPS_OPERAND_H */
