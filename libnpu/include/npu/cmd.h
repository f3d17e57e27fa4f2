/* SPDX-License-Identifier: MIT */
/*
 * libnpu: command streams. One function per command, each checked against the
 * device before it is added; and the disassembler.
 *
 * The packets themselves are those of npu_isa.h. Callers fill a packet's
 * operands; the function fills its header, appends register operands and
 * copies it into the stream.
 */
#ifndef NPU_CMD_H
#define NPU_CMD_H

#include <npu/device.h>
#include <npu_isa.h>

#ifdef __cplusplus
extern "C" {
#endif

struct npu_stream;

/* An empty stream, checked against @dev. Errors are sticky: after the first one, every function returns it. */
NPU_API int npu_stream_create(struct npu_device *dev, struct npu_stream **out);
NPU_API void npu_stream_destroy(struct npu_stream *s);
/* Forget all commands and the error; the memory is kept. */
NPU_API void npu_stream_reset(struct npu_stream *s);
/* Text of the first error: operation, operand and reason; "" without one. Lives until reset. */
NPU_API const char *npu_stream_error(const struct npu_stream *s);

/* The bytes so far. Valid until the next command. */
NPU_API const void *npu_stream_data(const struct npu_stream *s);
NPU_API uint32_t npu_stream_bytes(const struct npu_stream *s);

/* How a command is issued. Zero-initialise, then NPU_ISSUE_INIT, or pass NULL: no waits, no signal, no registers. */
struct npu_issue {
	uint32_t wait;			/* mask of tokens that must be zero before it starts */
	uint8_t signal;			/* token counted while it runs, or NPU_NO_TOKEN */
	uint8_t nregops;
	uint16_t rsvd;
	uint32_t tag;			/* repeated in a fault record */
	const struct npu_regop *regops;	/* run-time operands; the packet's field holds the constant part */
};

#define NPU_ISSUE_INIT { 0, NPU_NO_TOKEN, 0, 0, 0, NULL }

/* Register operand of a member of a packet: field += R[ra] * sa + R[rb] * sb. */
#define NPU_FIELD(packet, member) \
	((uint16_t)(offsetof(packet, member) | (sizeof(((packet *)0)->member) == 8 ? NPU_REGOP_64 : 0)))

/*
 * Control commands. All return the offset of the new packet (for branches and for
 * reading the stream) or a negative errno: -EINVAL what the device forbids, -ENOSPC longer than max_stream, -ENOMEM.
 */
NPU_API int npu_emit_nop(struct npu_stream *s, const struct npu_issue *issue);
NPU_API int npu_emit_end(struct npu_stream *s, const struct npu_issue *issue);
NPU_API int npu_emit_barrier(struct npu_stream *s);
NPU_API int npu_emit_set(struct npu_stream *s, unsigned int rd, uint64_t imm);
/* rd = ra op rb; npu_emit_alui: rd = ra op imm. */
NPU_API int npu_emit_alu(struct npu_stream *s, enum npu_alu_op op, unsigned int rd, unsigned int ra, unsigned int rb);
NPU_API int npu_emit_alui(struct npu_stream *s, enum npu_alu_op op, unsigned int rd, unsigned int ra, uint64_t imm);
/* @size 4 or 8 bytes at @addr (plus register operands on NPU_FIELD(struct npu_cmd_mem, addr)). */
NPU_API int npu_emit_load(struct npu_stream *s, const struct npu_issue *issue, unsigned int rd, uint64_t addr,
			  unsigned int size, bool sign);
NPU_API int npu_emit_store(struct npu_stream *s, const struct npu_issue *issue, unsigned int rs, uint64_t addr,
			   unsigned int size);
/*
 * Branch to the packet at @target (an offset that a function returned), or, with @target -1, to a place named
 * later with npu_stream_land(s, branch). npu_emit_branchi compares with @imm, npu_emit_branch with rb.
 * npu_emit_loop: rc -= 1, branch back to @target while it is not 0.
 */
NPU_API int npu_emit_branch(struct npu_stream *s, enum npu_cond cond, unsigned int ra, unsigned int rb, int target);
NPU_API int npu_emit_branchi(struct npu_stream *s, enum npu_cond cond, unsigned int ra, uint64_t imm, int target);
NPU_API int npu_emit_loop(struct npu_stream *s, unsigned int rc, int target);
NPU_API int npu_stream_land(struct npu_stream *s, int branch);
NPU_API int npu_emit_sem_signal(struct npu_stream *s, const struct npu_issue *issue, uint64_t addr, uint64_t value);
NPU_API int npu_emit_sem_wait(struct npu_stream *s, const struct npu_issue *issue, uint64_t addr, uint64_t value);
NPU_API int npu_emit_timestamp(struct npu_stream *s, const struct npu_issue *issue, uint64_t addr);
NPU_API int npu_emit_progress(struct npu_stream *s, const struct npu_issue *issue, uint64_t value, bool irq);
NPU_API int npu_emit_trap(struct npu_stream *s, uint64_t code);

/* Tensor operations: @p with its operands; p->cmd is ignored. Shapes and types as npu_isa.h says. */
NPU_API int npu_emit_matmul(struct npu_stream *s, const struct npu_issue *issue, const struct npu_cmd_matmul *p);
NPU_API int npu_emit_matmul_glu(struct npu_stream *s, const struct npu_issue *issue,
				const struct npu_cmd_matmul_glu *p);
NPU_API int npu_emit_attention(struct npu_stream *s, const struct npu_issue *issue, const struct npu_cmd_attention *p);
NPU_API int npu_emit_rms_norm(struct npu_stream *s, const struct npu_issue *issue, const struct npu_cmd_norm *p);
NPU_API int npu_emit_layer_norm(struct npu_stream *s, const struct npu_issue *issue, const struct npu_cmd_norm *p);
NPU_API int npu_emit_rope(struct npu_stream *s, const struct npu_issue *issue, const struct npu_cmd_rope *p);
NPU_API int npu_emit_softmax(struct npu_stream *s, const struct npu_issue *issue, const struct npu_cmd_softmax *p);
NPU_API int npu_emit_glu(struct npu_stream *s, const struct npu_issue *issue, const struct npu_cmd_binary *p);
NPU_API int npu_emit_binary(struct npu_stream *s, const struct npu_issue *issue, const struct npu_cmd_binary *p);
NPU_API int npu_emit_unary(struct npu_stream *s, const struct npu_issue *issue, const struct npu_cmd_map *p);
NPU_API int npu_emit_reduce(struct npu_stream *s, const struct npu_issue *issue, const struct npu_cmd_map *p);
NPU_API int npu_emit_argmax(struct npu_stream *s, const struct npu_issue *issue, const struct npu_cmd_map *p);
NPU_API int npu_emit_copy(struct npu_stream *s, const struct npu_issue *issue, const struct npu_cmd_map *p);
NPU_API int npu_emit_fill(struct npu_stream *s, const struct npu_issue *issue, const struct npu_cmd_map *p);
NPU_API int npu_emit_topk(struct npu_stream *s, const struct npu_issue *issue, const struct npu_cmd_topk *p);
NPU_API int npu_emit_gather(struct npu_stream *s, const struct npu_issue *issue, const struct npu_cmd_rows *p);
NPU_API int npu_emit_scatter(struct npu_stream *s, const struct npu_issue *issue, const struct npu_cmd_rows *p);

/* ---- Disassembler ------------------------------------------------------------------ */

/*
 * Text of the packet at @offset of a stream of @bytes, without newline, into @buf. Returns the packet's length in
 * bytes, or -EINVAL when there is no whole packet (text says why). Never reads outside.
 */
NPU_API int npu_disassemble(const void *stream, uint32_t bytes, uint32_t offset, char *buf, size_t size);

#ifdef __cplusplus
}
#endif
#endif /* NPU_CMD_H */
