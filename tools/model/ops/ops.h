/* SPDX-License-Identifier: MIT */
/*
 * Tensor operations of the model: what the device core (core/) sees of them.
 *
 * The core fetches a packet, applies its register operands, and hands the flat
 * packet to npu_op_plan(), which checks it and says what it costs; then
 * npu_op_run() does it. Memory is reached through npu_op_env.map() only, so
 * that every access is translated, can fault, and is attributed.
 *
 * Neither function allocates per command beyond the scratch in the environment,
 * takes a lock, or has a global besides constant tables.
 */
#ifndef NPU_OPS_H
#define NPU_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "npu_isa.h"
#include "npu_regs.h"
#include "pieces.h"

struct npu_pool;

/* Speed paths. Every one gives the same bits. */
enum npu_path { NPU_PATH_SCALAR, NPU_PATH_AVX2, NPU_PATH_AVX512, NPU_PATH_NEON };
/* The best path this CPU has; and whether it has @path. */
enum npu_path npu_path_best(void);
bool npu_path_supported(enum npu_path path);

/* Operand numbers in fault records: order of the npu_tensor members, then these. */
#define NPU_OPERAND_AUX0	8u	/* bias, weight, step */
#define NPU_OPERAND_AUX1	9u	/* LAYER_NORM bias, ROPE positions */
#define NPU_OPERAND_NONE	15u

/* What one command is and costs, before it runs. */
struct npu_op_plan {
	uint8_t engine;		/* NPU_ENGINE_* */
	uint8_t fault;		/* NPU_FAULT_*; 0 = legal */
	uint8_t operand;	/* that the fault is about, or NPU_OPERAND_NONE */
	uint8_t mac_type;	/* MATRIX: enum npu_type that names the MAC rate: I8, F16 or F32 */
	bool empty;		/* a zero dimension: nothing to do */
	uint64_t macs;		/* multiply-accumulates, for the bound and the timing model */
	uint64_t lane_ops;	/* VECTOR: elements x operations per element */
	uint64_t bytes_read;	/* distinct bytes of operands, for the bound and the timing model */
	uint64_t bytes_written;
};

struct npu_op_limits {
	uint64_t max_macs;
	uint64_t max_bytes;
	uint64_t va_limit;	/* first address above the address space */
	uint64_t ops;		/* capability masks as in the registers */
	uint32_t types_rows, types_tiles;
};

/*
 * Check a flat tensor packet (opcode >= NPU_OP_FIRST; register operands are
 * applied and cut off; @len bytes). Everything illegal in encoding, types,
 * shapes, strides, alignment, address overflow and bounds is found here.
 */
void npu_op_plan(const void *packet, uint32_t len, const struct npu_op_limits *lim, struct npu_op_plan *plan);

enum npu_op_access { NPU_OP_READ = 1, NPU_OP_WRITE = 2 };

struct npu_op_env {
	/*
	 * Host pointer to [va, va + len), contiguous, valid until the command
	 * ends. NULL: the access faults; the core has recorded the fault (with
	 * @operand), the operation returns -EFAULT at once. Order matters: the
	 * first fault is the one reported. For READ of operands whose
	 * span has holes use one call per contiguous run: only bytes of
	 * elements may be mapped. NPU_OP_PROBE: do not record, return NULL if
	 * any page of the span is not accessible, so that the span may be tried
	 * first and the runs afterwards.
	 */
	void *(*map)(struct npu_op_env *env, uint64_t va, uint64_t len, unsigned int access, unsigned int operand);
	/*
	 * The same for a large operand that is taken in pieces, which then costs
	 * no copy where no contiguous pointer can be had: 0 and @out, or -EFAULT.
	 */
	int (*map_pieces)(struct npu_op_env *env, uint64_t va, uint64_t len, unsigned int access, unsigned int operand,
			  struct npu_pieces *out);
	/* Raise NPU_FAULT_OPERAND_ILLEGAL found while running (an index out of range); returns -EFAULT. */
	int (*illegal)(struct npu_op_env *env, unsigned int operand, uint64_t addr);
	/* Scratch of at least @size bytes, 64-byte aligned, kept between commands; NULL: out of host memory. */
	void *(*scratch)(struct npu_op_env *env, size_t size);
	struct npu_pool *pool;
	enum npu_path path;
};

#define NPU_OP_PROBE	4u	/* or-ed to access */

/*
 * Do it, whatever the caller's floating-point environment. 0, -EFAULT (fault recorded), -ENOMEM (host memory; the
 * core reports NPU_FAULT_INTERNAL).
 */
int npu_op_run(const void *packet, struct npu_op_env *env);

/* Tensors of a packet in the order of operands, and how they are accessed; those that count whole in its costs. */
struct npu_op_operand {
	const struct npu_tensor *t;
	unsigned int access;	/* enum npu_op_access bits */
};

#define NPU_OP_TENSORS	4u

unsigned int npu_op_operands(const void *packet, struct npu_op_operand out[NPU_OP_TENSORS]);

/* Bytes per block and elements per block of a type; 0 for an unknown type. */
uint32_t npu_type_block_bytes(unsigned int type);
uint32_t npu_type_block_len(unsigned int type);

#endif /* NPU_OPS_H */
