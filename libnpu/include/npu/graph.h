/* SPDX-License-Identifier: MIT */
/*
 * libnpu: graphs and programs.
 *
 * A graph records operations on tensors. npu_graph_compile() plans memory,
 * splits what is above the device's bounds, orders commands with scoreboard
 * tokens so that engines overlap, and writes ONE static command stream: a
 * program. A program is replayed with new arguments any number of times;
 * nothing is patched, nothing is allocated, and a replay is one submission.
 *
 * What changes between replays are scalars: arguments of the program that live in
 * the device's scalar registers. A dimension or a byte offset of a tensor, a
 * position and so on may be a scalar or an affine function of scalars.
 *
 * Errors while recording are sticky: a function that fails returns NULL (or a
 * negative errno), every later function that meets NULL returns NULL, and
 * npu_graph_compile() returns the first error. npu_graph_error() names the
 * operation, the operand and the reason. So a model can be written down without checks in between.
 *
 * Shapes: ne[0] is the innermost dimension ("columns"), unused dimensions are 1. Comments write shapes
 * as {ne0, ne1, ne2, ne3}. A graph is used by one thread at a time.
 */
#ifndef NPU_GRAPH_H
#define NPU_GRAPH_H

#include <npu/buffer.h>
#include <npu/queue.h>
#include <npu/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

struct npu_graph;
struct npu_gtensor;	/* a tensor recorded in a graph; owned by the graph */
struct npu_program;

/* ---- Graph ---------------------------------------------------------------------- */

/* A graph for the abilities of @dev (operations that it lacks are errors when they are recorded). */
NPU_API int npu_graph_create(struct npu_device *dev, struct npu_graph **out);
/* Frees the graph and its tensors; programs made of it live on. NULL is allowed. */
NPU_API void npu_graph_destroy(struct npu_graph *g);
/* The first error (negative errno, 0 = none) and its text ("" without one; lives as long as the graph). */
NPU_API int npu_graph_status(const struct npu_graph *g);
NPU_API const char *npu_graph_error(const struct npu_graph *g);
/*
 * Prefix for names of the operations recorded from now on, e.g. "blk.3"; copied. For error texts,
 * faults and reports.
 */
NPU_API void npu_graph_scope(struct npu_graph *g, const char *scope);

/* ---- Scalars ----------------------------------------------------------------------- */

/*
 * A scalar is named by a small positive number; 0 means none. Device and host see unsigned 64-bit values. There is room
 * for 24 of them together.
 */

/*
 * The next argument of the program: args[0] for the first call, args[1] for the second ... @max:
 * largest legal value.
 */
NPU_API int npu_graph_arg(struct npu_graph *g, const char *name, uint64_t max);
/*
 * A variable; zero when the program starts. @max: largest value it will have; values above are a fault
 * where it is a dimension.
 */
NPU_API int npu_graph_var(struct npu_graph *g, const char *name, uint64_t max);

/* imm + a * sa + b * sb, modulo 2^64; a, b: scalars, or 0 for none. */
struct npu_affine {
	uint64_t imm;
	int a;
	int32_t sa;
	int b;
	int32_t sb;
};

static inline struct npu_affine npu_const(uint64_t imm)
{
	struct npu_affine v = { imm, 0, 0, 0, 0 };

	return v;
}

/* scalar * scale, + imm: set member imm. */
static inline struct npu_affine npu_scaled(int scalar, int32_t scale)
{
	struct npu_affine v = { 0, scalar, scale, 0, 0 };

	return v;
}

/* a * sa + b * sb */
static inline struct npu_affine npu_sum(int a, int32_t sa, int b, int32_t sb)
{
	struct npu_affine v = { 0, a, sa, b, sb };

	return v;
}

/*
 * A new variable that is set to @value here (again in each round of a loop): e.g. KV length = pos + rows.
 * @max as in npu_graph_var().
 */
NPU_API int npu_graph_let(struct npu_graph *g, const char *name, struct npu_affine value, uint64_t max);
/* var = value, in order with everything else. Arguments may be set, too. */
NPU_API int npu_graph_set(struct npu_graph *g, int var, struct npu_affine value);
/* var = var OP value for what is not affine (enum npu_alu_op: MIN, MAX, UMOD, AND ...). */
NPU_API int npu_graph_alu(struct npu_graph *g, enum npu_alu_op op, int var, struct npu_affine value);
/* var = first element of @t (I32, sign-extended, or I64). Waits for the operation that writes it. */
NPU_API int npu_graph_load(struct npu_graph *g, int var, struct npu_gtensor *t);
/* First element of @t (state or output; I32 or I64) = value. */
NPU_API int npu_graph_store(struct npu_graph *g, struct npu_gtensor *t, struct npu_affine value);

/* ---- Tensors that live outside ------------------------------------------------------- */

/*
 * Geometry. dyn[i] != 0: the extent of dimension i is that scalar's value at run time, at most ne[i]
 * (checked by the device); memory and strides are those of ne[i].
 */
struct npu_shape {
	uint32_t ne[NPU_DIMS];	/* 0 counts as 1 */
	int dyn[NPU_DIMS];
};

/* {n0, n1, n2, n3} without run-time extents. */
static inline struct npu_shape npu_shape4(uint32_t n0, uint32_t n1, uint32_t n2, uint32_t n3)
{
	struct npu_shape s = { { n0, n1, n2, n3 }, { 0, 0, 0, 0 } };

	return s;
}

/* {n0, rows <= max_rows}: the usual activation of a Transformer. */
static inline struct npu_shape npu_shape_rows(uint32_t n0, int rows, uint32_t max_rows)
{
	struct npu_shape s = { { n0, max_rows, 1, 1 }, { 0, rows, 0, 0 } };

	return s;
}

struct npu_bound {
	const char *name;		/* for errors; may be NULL */
	enum npu_type type;
	enum npu_layout layout;		/* weights of matmul and tables of gather: rows or 16-row tiles */
	struct npu_shape shape;
	uint64_t nb[NPU_DIMS];		/* strides in bytes; nb[0] == 0: contiguous */
	struct npu_buffer *buffer;	/* the graph and its programs hold a reference */
	uint64_t offset;		/* of the first byte in the buffer */
};

/* Read-only data in a buffer: weights, tables, RoPE steps. Nothing in the graph may write it. */
NPU_API struct npu_gtensor *npu_graph_weight(struct npu_graph *g, const struct npu_bound *b);
/* Data in a buffer that the program reads and writes and that survives it: KV cache, token rings. */
NPU_API struct npu_gtensor *npu_graph_state(struct npu_graph *g, const struct npu_bound *b);
/*
 * An input: memory of the program that the host fills (npu_program_io(), by name). Stays as it is between replays;
 * operations may not write it.
 */
NPU_API struct npu_gtensor *npu_graph_input(struct npu_graph *g, const char *name, enum npu_type type,
					struct npu_shape shape);
/*
 * Make @t readable by the host under @name after the program has ended. A view, an input or a bound tensor
 * is copied. Returns the tensor that the host sees.
 */
NPU_API struct npu_gtensor *npu_graph_output(struct npu_graph *g, const char *name, struct npu_gtensor *t);

NPU_API enum npu_type npu_gtensor_type(const struct npu_gtensor *t);
NPU_API struct npu_shape npu_gtensor_shape(const struct npu_gtensor *t);

/* ---- Views: no commands, no memory ----------------------------------------------------- */

/* The same elements in order with new extents; @t must be contiguous in the dimensions that are regrouped. */
NPU_API struct npu_gtensor *npu_graph_reshape(struct npu_graph *g, struct npu_gtensor *t, struct npu_shape shape);
/* Dimension i of the result is dimension axis_i of @t (each of 0..3 once). */
NPU_API struct npu_gtensor *npu_graph_permute(struct npu_graph *g, struct npu_gtensor *t, unsigned int axis0,
					      unsigned int axis1, unsigned int axis2, unsigned int axis3);
/*
 * Any window of the storage of @t: new extents, strides in bytes (nb[0] == 0: contiguous), from byte @offset of @t,
 * which may depend on scalars: e.g. rows of a KV cache from position pos on. For block types nb[0] is the
 * block size. The window at the
 * largest values of the scalars must lie in the storage: -EINVAL otherwise.
 */
NPU_API struct npu_gtensor *npu_graph_view(struct npu_graph *g, struct npu_gtensor *t, struct npu_shape shape,
					   const uint64_t nb[NPU_DIMS], struct npu_affine offset);
/* @count elements of dimension @axis from @first on; dynamic extents of other dimensions stay. */
NPU_API struct npu_gtensor *npu_graph_slice(struct npu_graph *g, struct npu_gtensor *t, unsigned int axis,
					    uint32_t first, uint32_t count);
/* One row of dimension 1 at a run-time index, e.g. the last of M rows: {ne0, 1, ne2, ne3}. */
NPU_API struct npu_gtensor *npu_graph_row(struct npu_graph *g, struct npu_gtensor *t, struct npu_affine index);

/* ---- Operations ---------------------------------------------------------------------------- */

/*
 * Every result is a new contiguous tensor of the type named, F32 where none is named, unless the text says
 * otherwise. Extents that must agree must agree in their run-time scalar, too.
 *
 * A result that only matmuls with quantised weights read is stored as they quantise it (A8, A8_K), if the
 * device can: the same bits, in about a quarter of the memory.
 */

/* x {K, M, B2, B3} F32 F16 (A8, A8_K by the weights' type), w {K, N, b2, b3}, bias {N} F32 or NULL -> {N, M, B2, B3} of @type (F32, F16). */
NPU_API struct npu_gtensor *npu_graph_matmul(struct npu_graph *g, struct npu_gtensor *x, struct npu_gtensor *w,
					     struct npu_gtensor *bias, enum npu_type type);
/*
 * acc + x * w (+ bias), e.g. a residual connection: written in place of @acc, which must be F32 and the result
 * of an operation;
 * after this only the returned tensor may be used.
 */
NPU_API struct npu_gtensor *npu_graph_matmul_add(struct npu_graph *g, struct npu_gtensor *acc, struct npu_gtensor *x,
						 struct npu_gtensor *w, struct npu_gtensor *bias);

/*
 * As npu_graph_glu() of two matmuls with x: gate, up {K, N, b2, b3} of one type and layout; the products are
 * not stored. @type: F32, F16, A8, A8_K. A device may lack the operation: npu_device_has_op(MATMUL_GLU).
 */
NPU_API struct npu_gtensor *npu_graph_matmul_glu(struct npu_graph *g, enum npu_glu_kind kind, struct npu_gtensor *x,
						 struct npu_gtensor *gate, struct npu_gtensor *up, enum npu_type type);

struct npu_attention {
	struct npu_gtensor *q;	/* {D, H, M, B} F32 F16 */
	struct npu_gtensor *k;	/* {D, KV, G, B} F32 F16 Q8_0, usually a view of the cache */
	struct npu_gtensor *v;	/* {Dv, KV, G, B}, type of k */
	struct npu_affine pos;	/* position of query row 0 */
	uint32_t window;	/* keys seen, own position included; 0 = all */
	bool causal;
	float scale;
	float softcap;		/* 0 = none */
	enum npu_type type;	/* of the result: F32 or F16 */
};

/* -> {Dv, H, M, B} */
NPU_API struct npu_gtensor *npu_graph_attention(struct npu_graph *g, const struct npu_attention *a);

/* Rows along dimension 0; weight, bias {ne0} F32 or NULL. Result of @type (F32, F16). */
NPU_API struct npu_gtensor *npu_graph_rms_norm(struct npu_graph *g, struct npu_gtensor *x, struct npu_gtensor *weight,
					       float eps, enum npu_type type);
NPU_API struct npu_gtensor *npu_graph_layer_norm(struct npu_graph *g, struct npu_gtensor *x, struct npu_gtensor *weight,
						 struct npu_gtensor *bias, float eps, enum npu_type type);

struct npu_rope {
	struct npu_gtensor *x;		/* {D, H, M, B} F32 F16 */
	struct npu_gtensor *step;	/* weight {ndims / 2} I64: turns per position, units of 2^-64; npu_rope_steps() */
	struct npu_gtensor *positions;	/* {M} I32, or NULL: row m is at pos + m */
	struct npu_affine pos;
	uint32_t ndims;			/* even, <= D; the rest is copied */
	bool halves;			/* pairs (i, i + ndims / 2); else (2i, 2i + 1) */
	float mscale;			/* usually 1 */
	enum npu_type type;		/* of the result */
};

/* -> shape of x */
NPU_API struct npu_gtensor *npu_graph_rope(struct npu_graph *g, const struct npu_rope *r);
/* Into @dst, F32 or F16, of that shape, e.g. a view of a cache, or x itself; r->type is ignored. Returns @dst. */
NPU_API struct npu_gtensor *npu_graph_rope_to(struct npu_graph *g, struct npu_gtensor *dst, const struct npu_rope *r);
/*
 * step[i] = base^(-2i / ndims) * scale / factors[i] turns / (2 pi), as fixed point; @factors may be NULL.
 * @scale: 1 / the linear scaling factor.
 */
NPU_API void npu_rope_steps(uint64_t *step, uint32_t ndims, double base, double scale, const float *factors);

/* softmax along dimension 0 of scale * x (+ mask, broadcast in dimensions 1..3, or NULL). */
NPU_API struct npu_gtensor *npu_graph_softmax(struct npu_graph *g, struct npu_gtensor *x, struct npu_gtensor *mask,
					      float scale);
/* silu(a) * b and so on: same shapes. */
NPU_API struct npu_gtensor *npu_graph_glu(struct npu_graph *g, enum npu_glu_kind kind, struct npu_gtensor *a,
					  struct npu_gtensor *b, enum npu_type type);
NPU_API struct npu_gtensor *npu_graph_unary(struct npu_graph *g, enum npu_unary_kind kind, struct npu_gtensor *x,
					    float p0, float p1, enum npu_type type);
/* Each dimension of a and b is the result's, or 1 (broadcast). */
NPU_API struct npu_gtensor *npu_graph_binary(struct npu_graph *g, enum npu_binary_kind kind, struct npu_gtensor *a,
					     struct npu_gtensor *b, enum npu_type type);
/* Along dimension 0 -> {1, ne1, ne2, ne3} F32; argmax: I32, the lowest index of the largest value. */
NPU_API struct npu_gtensor *npu_graph_reduce(struct npu_graph *g, enum npu_reduce_kind kind, struct npu_gtensor *x);
NPU_API struct npu_gtensor *npu_graph_argmax(struct npu_graph *g, struct npu_gtensor *x);
/* The @k largest along dimension 0, descending -> values {k, ...}; *indices: I32 {k, ...}. */
NPU_API struct npu_gtensor *npu_graph_topk(struct npu_graph *g, struct npu_gtensor *x, uint32_t k,
					   struct npu_gtensor **indices);

/* Contiguous copy of any view, converted to @type (also Q8_0: quantised). */
NPU_API struct npu_gtensor *npu_graph_convert(struct npu_graph *g, struct npu_gtensor *x, enum npu_type type);
/*
 * Copy into existing storage: @dst is a state tensor, an operation's result, or a view of one, same shape;
 * converts (F16, Q8_0 caches).
 * Returns @dst. Later uses of overlapping views are ordered after it.
 */
NPU_API struct npu_gtensor *npu_graph_copy(struct npu_graph *g, struct npu_gtensor *dst, struct npu_gtensor *src);
/* table {C, T} any weight type, index {R, B} I32 -> {C, R, B} of @type (F32, F16). */
NPU_API struct npu_gtensor *npu_graph_gather(struct npu_graph *g, struct npu_gtensor *table, struct npu_gtensor *index,
					     enum npu_type type);
/* table row index[i] = src row i; index -1 is skipped. @table as dst of npu_graph_copy(). Returns @table. */
NPU_API struct npu_gtensor *npu_graph_scatter(struct npu_graph *g, struct npu_gtensor *table, struct npu_gtensor *index,
					      struct npu_gtensor *src);
/* All elements of @dst (as in npu_graph_copy()) = value. Returns @dst. */
NPU_API struct npu_gtensor *npu_graph_fill(struct npu_graph *g, struct npu_gtensor *dst, float value);

/* ---- Control -------------------------------------------------------------------------------- */

/*
 * A loop: what is recorded up to npu_graph_loop_end() is run @count times (0: not at all). Tensors made
 * inside do not survive a round; what one round hands to the next lives in state tensors and scalars. Loops
 * and skips nest.
 */
NPU_API int npu_graph_loop_begin(struct npu_graph *g, struct npu_affine count);
/* Leave the innermost loop when (scalar COND imm). */
NPU_API int npu_graph_loop_break(struct npu_graph *g, int scalar, enum npu_cond cond, uint64_t imm);
NPU_API int npu_graph_loop_end(struct npu_graph *g);

/*
 * Skip what is recorded up to npu_graph_skip_end() when (scalar COND imm). Tensors made inside are not
 * usable after it.
 */
NPU_API int npu_graph_skip_begin(struct npu_graph *g, int scalar, enum npu_cond cond, uint64_t imm);
NPU_API int npu_graph_skip_end(struct npu_graph *g);

/*
 * Publish @value (npu_queue_status.progress) once all earlier operations have ended; @irq: wake who
 * waits for an event.
 */
NPU_API int npu_graph_progress(struct npu_graph *g, struct npu_affine value, bool irq);
/* Write struct npu_timestamp to @t (state {4} I64) once all earlier operations have ended. */
NPU_API int npu_graph_timestamp(struct npu_graph *g, struct npu_gtensor *t);

/* ---- Programs --------------------------------------------------------------------------------- */

struct npu_compile_options {
	size_t size;			/* sizeof(struct npu_compile_options) */
	/*
	 * Memory for intermediate results, at least as large as the plan needs; NULL = allocated. Programs that
	 * never run at the same time (same queue) may share one: compile the largest first and hand its
	 * npu_program_arena() to the others.
	 */
	struct npu_buffer *arena;
	bool serial;			/* a barrier after each command: for debugging */
};

/*
 * Compile @g for @vm (that of its bound buffers). @opt may be NULL. Errors: the graph's first error; -EINVAL
 * an open loop or skip, a
 * buffer of another VM; -ENOSPC longer than the device's max_stream, too many scalars, arena too small;
 * -ENOMEM. The text is npu_graph_error()'s.
 */
NPU_API int npu_graph_compile(struct npu_graph *g, struct npu_vm *vm, const struct npu_compile_options *opt,
			      struct npu_program **out);
NPU_API struct npu_program *npu_program_ref(struct npu_program *p);
NPU_API void npu_program_unref(struct npu_program *p);
NPU_API struct npu_buffer *npu_program_arena(struct npu_program *p);

/* Input or output by name. */
struct npu_io {
	void *data;		/* where the CPU sees it; NULL when there is no such name */
	uint64_t bytes;
	uint64_t va;		/* where the device sees it */
	enum npu_type type;
	uint32_t ne[NPU_DIMS];	/* largest extents */
};

/*
 * -ENOENT: no such input or output. Written inputs need npu_program_flush(), outputs
 * npu_program_invalidate(), on devices that are not coherent; npu_program_run() does both.
 */
NPU_API int npu_program_io(struct npu_program *p, const char *name, struct npu_io *io);
NPU_API int npu_program_flush(struct npu_program *p);
NPU_API int npu_program_invalidate(struct npu_program *p);

struct npu_submit {
	size_t size;			/* sizeof(struct npu_submit) */
	const uint64_t *args;		/* one per npu_graph_arg(), in order */
	uint32_t nargs;
	uint32_t budget_us;		/* as in struct npu_job */
	const struct npu_point *waits;
	const struct npu_point *signals;
	uint32_t nwaits;
	uint32_t nsignals;
};

/*
 * Replay: one submission. Two replays of a program share its memory: put them on one queue, or order them
 * with fences. -EINVAL: number of arguments, an argument above its maximum, queue of another VM; and
 * npu_queue_submit()'s.
 */
NPU_API int npu_program_submit(struct npu_program *p, struct npu_queue *queue, const struct npu_submit *submit);
/* Flush, replay, wait, check the queue, invalidate. @timeout_ns as in npu_fence_wait(). Not for two threads at once. */
NPU_API int npu_program_run(struct npu_program *p, struct npu_queue *queue, const uint64_t *args, uint32_t nargs,
			    int64_t timeout_ns);

struct npu_program_info {
	uint32_t operations;		/* recorded */
	uint32_t commands;		/* in the stream */
	uint64_t stream_bytes;
	uint64_t arena_bytes;		/* of intermediate results */
	uint64_t arena_lower_bound;	/* largest sum of tensors alive at once */
	uint64_t io_bytes;
	uint64_t macs;			/* at the largest extents; loops once */
	uint64_t weight_bytes;		/* of bound tensors read at the largest extents; loops once */
	uint32_t splits;		/* operations that were split into several commands */
	uint32_t tokens;		/* waits between engines */
};

NPU_API int npu_program_info(const struct npu_program *p, struct npu_program_info *info, size_t size);
/* The stream, for npu_disassemble(). Lives as long as the program. */
NPU_API const void *npu_program_stream(const struct npu_program *p, uint32_t *bytes);
/* Placement: one line per operation: name, engine, commands, shapes, bytes. */
NPU_API int npu_program_report(const struct npu_program *p, void (*line)(void *data, const char *text), void *data);
/* "blk.3/MATMUL ffn_down" of a fault tag, into @buf. -ENOENT when it is none of this program. */
NPU_API int npu_program_op_name(const struct npu_program *p, uint32_t tag, char *buf, size_t size);

#ifdef __cplusplus
}
#endif
#endif /* NPU_GRAPH_H */
