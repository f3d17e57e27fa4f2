/* SPDX-License-Identifier: MIT */
/*
 * Inside of graphs. A graph is a list of nodes in the order of recording; compiling walks it:
 *
 *   graph.c	graphs, scalars, tensors, views
 *   graph_ops.c	operations: shape inference and checks; control
 *   plan.c	places of intermediate results (liveness)
 *   onchip.c	what is stored quantised; what stays in on-chip memory
 *   split.c	commands of one operation, within the device's bounds
 *   token.c	scoreboard tokens
 *   compile.c	nodes to commands, and the whole
 *   program.c	replay
 */
#ifndef LIBNPU_GRAPH_H
#define LIBNPU_GRAPH_H

#include <npu/graph.h>

#include "device.h"
#include "packet.h"

#define GRAPH_SCALARS	24u	/* r0..r23; scalar n is register n - 1 */
#define GRAPH_TEMP	24u	/* r24..r30: extents of pieces */
#define GRAPH_TEMPS	7u
#define GRAPH_VALUE	31u	/* r31: value of a STORE */
#define GRAPH_AUX	2u
#define GRAPH_ALIGN	64u	/* of intermediate results */
#define GRAPH_DEPTH	16u	/* nested loops and skips */

enum storage_kind {
	STORAGE_ARENA,		/* intermediate result: planned */
	STORAGE_IO,		/* input or output: own place in the program's io buffer */
	STORAGE_BUFFER,		/* the caller's buffer */
};

struct storage {
	enum storage_kind kind;
	bool readonly;
	bool used;
	uint32_t version;	/* counts in-place overwriting: older tensors are dead */
	uint64_t bytes;
	uint64_t place;		/* offset in arena or io buffer, or in @buffer */
	struct npu_buffer *buffer;
	uint32_t block;		/* where it was made */
	uint32_t hold;		/* outermost loop inside @block that uses it; 0 = none */
	uint32_t first, last;	/* nodes that write it first and use it last */
	/* onchip.c */
	struct node *writer;	/* the only one, while @act is not NO_ACT */
	uint8_t act;		/* type as which it can be stored */
	bool plain;		/* not only operands of operations */
	struct use *uses;	/* later ones, while hints are worked out */
	struct storage *next;
};

struct npu_gtensor {
	struct npu_graph *g;
	struct storage *st;
	const char *name;
	uint8_t type, layout;
	uint32_t version;
	uint32_t block;
	uint32_t ne[NPU_DIMS];
	int dyn[NPU_DIMS];
	uint64_t nb[NPU_DIMS];
	struct npu_affine off;	/* bytes from the start of the storage */
};

struct scalar {
	char name[16];
	uint64_t max;
	int arg;		/* index of the argument, -1: variable */
};

enum node_kind {
	NODE_OP, NODE_SET, NODE_ALU, NODE_LOAD, NODE_STORE, NODE_LOOP_BEGIN, NODE_LOOP_BREAK, NODE_LOOP_END,
	NODE_SKIP_BEGIN, NODE_SKIP_END, NODE_PROGRESS, NODE_TIMESTAMP,
};

/* Parameters of an operation, as in its packet. */
struct op_params {
	uint32_t flags, kind, window, ndims, k;
	float p0, p1, mscale;	/* p0: eps, scale; p1: softcap */
	struct npu_affine pos;
};

struct node {
	uint8_t kind;
	uint8_t alu, cond;
	bool irq;
	uint16_t opcode;	/* NODE_OP */
	uint32_t block;		/* in which it is; of LOOP and SKIP: which it opens or ends */
	int scalar;
	uint64_t imm;
	struct npu_affine value;
	const char *scope;
	struct npu_gtensor *opnd[PACKET_OPERANDS];
	struct npu_gtensor *aux[GRAPH_AUX];	/* bias, weight, step; second bias, positions */
	struct op_params par;
	uint32_t id;		/* order of recording, + 1: tag */
	uint32_t commands;	/* made of it */
	uint8_t hint[PACKET_OPERANDS];	/* NPU_HINT_*: of the last piece that uses the operand's part */
};

struct block {
	uint32_t parent;
	bool loop, open;
	uint32_t begin, end;	/* nodes */
	int counter;		/* loop: register + 1 */
};

struct chunk_mem;

struct npu_graph {
	struct npu_device *dev;
	int status;
	char error[512];
	const char *scope;
	struct chunk_mem *mem;	/* everything small is allocated from here */

	struct scalar scalars[GRAPH_SCALARS];
	uint32_t nscalars, nargs;

	struct node **nodes;
	uint32_t nnodes, node_room;
	struct block *blocks;	/* [0]: the graph itself */
	uint32_t nblocks, block_room;
	uint32_t current;	/* block */
	struct storage *storages;
	struct io_entry *ios;
};

struct io_entry {
	struct io_entry *next;
	const char *name;
	struct npu_gtensor *t;
	bool output;
};

/* ---- graph.c -------------------------------------------------------------------- */

/* Record the first error; returns NULL-friendly status. */
int graph_fail(struct npu_graph *g, int err, const char *fmt, ...) NPU_PRINTF(3, 4);
/* Zeroed memory that lives as long as the graph. */
void *graph_alloc(struct npu_graph *g, size_t bytes);
const char *graph_strdup(struct npu_graph *g, const char *text);
struct node *graph_node(struct npu_graph *g, enum node_kind kind);
/* New contiguous tensor with storage of its own. */
struct npu_gtensor *graph_new(struct npu_graph *g, enum npu_type type, const uint32_t ne[NPU_DIMS],
			      const int dyn[NPU_DIMS], enum storage_kind kind);
/* Usable here? Marks the storage as used by the next node. @what: "MATMUL: x". */
bool graph_use(struct npu_graph *g, struct npu_gtensor *t, const char *op, const char *what);
bool graph_scalar_ok(struct npu_graph *g, int scalar);
bool graph_affine_ok(struct npu_graph *g, const struct npu_affine *a, const char *what);
/* Largest value that @a can have, as a signed number; smallest with all scalars zero. */
__int128 graph_affine_max(const struct npu_graph *g, const struct npu_affine *a);
__int128 graph_affine_min(const struct npu_graph *g, const struct npu_affine *a);
void graph_contiguous(unsigned int type, const uint32_t ne[NPU_DIMS], uint64_t nb[NPU_DIMS]);
/* Bytes from the first to past the last element of largest extents. */
bool gtensor_span(const struct npu_gtensor *t, uint64_t *span);

/* ---- split.c ----------------------------------------------------------------------- */

/* One axis of an operation: the dimension of each operand that runs along it, -1 = none. */
struct op_axis {
	int8_t dim[PACKET_OPERANDS];
	uint8_t flags;
};

enum { AXIS_SPLIT = 1, AXIS_BROADCAST = 2, AXIS_GROUP = 4, AXIS_BLOCK = 8 };
#define OP_AXES 6u

const struct op_axis *op_axes(unsigned int opcode, unsigned int *count);

/* A piece of an operation: a range of each axis. */
struct piece {
	uint32_t first[OP_AXES], len[OP_AXES];
	bool whole[OP_AXES];
};

/* How an operation is cut: parts of each axis. -ENOSPC: the smallest piece is above the bounds. */
struct cut {
	uint32_t extent[OP_AXES];
	uint32_t step[OP_AXES];	/* length of pieces */
	uint32_t parts[OP_AXES];
	uint32_t total;
};

int op_cut(struct npu_graph *g, struct node *n, struct cut *cut);
/* The packet of the whole operation at its largest extents; addresses are placeholders with the right alignment. */
void node_packet(const struct node *n, void *packet);

/* Name of the weight among the operands; NULL = none. */
const char *operand_weight(struct npu_gtensor *const opnd[PACKET_OPERANDS]);

/* ---- plan.c --------------------------------------------------------------------------- */

struct memory_plan {
	uint64_t bytes, lower_bound;
};

int graph_plan(struct npu_graph *g, struct memory_plan *plan);

/* ---- onchip.c ------------------------------------------------------------------------- */

/* Before planning: results that only quantising matmuls read take their type. */
void graph_narrow(struct npu_graph *g);
/* After planning: node->hint. */
void graph_hints(struct npu_graph *g);

/* ---- token.c ---------------------------------------------------------------------------- */

struct access {
	uint64_t lo, hi;	/* bytes, half open */
	uint64_t pitch, width;	/* rows of @width bytes every @pitch; 0: everything between */
	bool write;
};

#define MAX_ACCESSES 8u

struct npu_stream;
struct track;
struct track *track_new(struct npu_device *dev);
void track_free(struct track *t);
/* Tokens that a command with these accesses must wait for. @engine: 3 = the command processor itself. */
int track_wait(struct track *t, struct npu_stream *s, unsigned int engine, const struct access *acc, unsigned int n,
	       uint32_t *wait);
/* The command at @offset of the stream was added. */
int track_add(struct track *t, unsigned int engine, uint32_t offset, const struct access *acc, unsigned int n);
/* All earlier commands have retired. */
void track_barrier(struct track *t);
/* What is known to have retired: kept at the start of a skip, given back at its end. */
struct track_state {
	uint32_t done[3], count[3];
};
void track_save(const struct track *t, struct track_state *st);
/* False: too much was added since; a barrier is needed instead. */
bool track_restore(struct track *t, const struct track_state *st);
uint32_t track_waits(const struct track *t);

/* ---- program.c --------------------------------------------------------------------------- */

struct program_io {
	char *name;
	uint64_t offset, bytes;
	enum npu_type type;
	uint32_t ne[NPU_DIMS];
	bool output;
};

/* One operation, for reports. Strings are offsets into npu_program.strings; 0 = none. */
struct program_op {
	uint32_t scope, weight;
	uint16_t opcode;
	uint16_t commands;
	uint64_t macs, bytes;
	struct {
		uint8_t type, layout;
		uint32_t ne[NPU_DIMS];
	} opnd[PACKET_OPERANDS];
};

struct npu_program {
	struct npu_device *dev;
	struct npu_vm *vm;
	atomic_uint refs;
	struct npu_buffer *stream, *arena, *io;
	void *stream_copy;
	uint32_t stream_bytes;
	struct npu_buffer **held;	/* bound buffers */
	uint32_t nheld;
	uint32_t nargs;
	uint8_t arg_reg[NPU_SCALARS];
	uint64_t arg_max[NPU_SCALARS];
	char arg_name[NPU_SCALARS][16];
	uint32_t nregs;
	struct program_io *ios;
	uint32_t nios;
	struct program_op *ops;	/* [tag - 1] */
	uint32_t nops;
	char *strings;
	uint32_t strings_bytes, strings_room;
	struct npu_program_info info;
	struct npu_fence *fence;	/* for npu_program_run() */
	uint64_t fence_value;
};

void program_free(struct npu_program *p);

/* ---- compile.c ---------------------------------------------------------------------------- */

/* Write the commands of the planned graph for memory at these addresses. */
int graph_emit(struct npu_graph *g, struct npu_program *p, struct npu_stream *s, uint64_t arena_va, uint64_t io_va,
	       bool serial);

#endif /* LIBNPU_GRAPH_H */
