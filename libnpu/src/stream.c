// SPDX-License-Identifier: MIT
/* The command encoder. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "npu_regs.h"
#include "device.h"
#include "packet.h"
#include "stream.h"

int npu_stream_create(struct npu_device *dev, struct npu_stream **out)
{
	struct npu_stream *s;
	int err = npu_device_enter(dev);

	*out = NULL;
	if (err)
		return err;
	s = npu_alloc(dev, sizeof(*s));
	if (!s)
		return npu_fail(dev, -ENOMEM, "no memory for a stream");
	s->dev = npu_device_ref(dev);
	*out = s;
	return 0;
}

void npu_stream_destroy(struct npu_stream *s)
{
	struct npu_device *dev;

	if (!s)
		return;
	dev = s->dev;
	npu_free(dev, s->data);
	npu_free(dev, s);
	npu_device_close(dev);
}

void npu_stream_reset(struct npu_stream *s)
{
	s->bytes = 0;
	s->status = 0;
	s->error[0] = '\0';
}

const char *npu_stream_error(const struct npu_stream *s)
{
	return s->error;
}

const void *npu_stream_data(const struct npu_stream *s)
{
	return s->data;
}

uint32_t npu_stream_bytes(const struct npu_stream *s)
{
	return s->bytes;
}

static int NPU_PRINTF(3, 4) fail(struct npu_stream *s, int err, const char *fmt, ...)
{
	va_list ap;

	if (s->status)
		return s->status;
	va_start(ap, fmt);
	vsnprintf(s->error, sizeof(s->error), fmt, ap);
	va_end(ap);
	s->status = err;
	return npu_fail(s->dev, err, "%s", s->error);
}

static int reserve(struct npu_stream *s, uint32_t bytes)
{
	uint32_t room = s->room ? s->room : 4096;
	void *p;

	if (bytes > s->dev->info.max_stream - s->bytes)
		return fail(s, -ENOSPC, "the stream is longer than the device takes (%u bytes)", s->dev->info.max_stream);
	if (s->bytes + bytes <= s->room)
		return 0;
	while (room < s->bytes + bytes)
		room *= 2;
	p = npu_resize(s->dev, s->data, room);
	if (!p)
		return fail(s, -ENOMEM, "no memory for a stream of %u bytes", room);
	s->data = p;
	s->room = room;
	return 0;
}

/* ---- Register operands ---------------------------------------------------------- */

static bool reg_ok(unsigned int r)
{
	return r < NPU_SCALARS;
}

static int check_regop(struct npu_stream *s, const char *op, const struct npu_regop *r, uint32_t size)
{
	uint32_t off = NPU_REGOP_OFFSET(r->field), bytes = r->field & NPU_REGOP_64 ? 8 : 4;

	if (off < sizeof(struct npu_cmd) || off % bytes || off + bytes > size ||
	    (r->field & ~(0x3ffu | NPU_REGOP_64 | NPU_REGOP_MAX)))
		return fail(s, -EINVAL, "%s: register operand at byte %u does not name a field", op, off);
	if ((r->ra != NPU_NO_REG && !reg_ok(r->ra)) || (r->rb != NPU_NO_REG && !reg_ok(r->rb)))
		return fail(s, -EINVAL, "%s: register operand names registers %u, %u", op, r->ra, r->rb);
	if ((r->field & NPU_REGOP_MAX) && r->rb != NPU_NO_REG)
		return fail(s, -EINVAL, "%s: a register operand with a maximum has one register", op);
	return 0;
}

/* Which extents come from registers; with a maximum, that is checked in their place. */
static void note_dynamic(const struct packet_info *info, void *packet, const struct npu_regop *r,
			 uint8_t dyn[PACKET_OPERANDS])
{
	uint32_t off = NPU_REGOP_OFFSET(r->field);

	for (unsigned int i = 0; i < info->count; i++) {
		uint32_t ne = info->operand[i].offset + (uint32_t)offsetof(struct npu_tensor, ne);
		unsigned int d = (off - ne) / 4;

		if (off < ne || d >= NPU_DIMS)
			continue;
		dyn[i] |= (uint8_t)(1u << d);
		if (r->field & NPU_REGOP_MAX)
			packet_tensor(packet, info, i)->ne[d] = (uint32_t)r->sb;
		else if (!packet_tensor(packet, info, i)->ne[d])
			packet_tensor(packet, info, i)->ne[d] = npu_type_block(packet_tensor(packet, info, i)->type);
	}
}

static const struct npu_issue no_issue = NPU_ISSUE_INIT;

/* Append a packet of @size bytes whose operands are filled; returns its offset. */
static int append(struct npu_stream *s, const struct npu_issue *issue, unsigned int opcode, const void *packet,
		  uint32_t size)
{
	const char *op = npu_op_name(opcode);
	uint32_t bytes, at = s->bytes;
	struct npu_cmd *cmd;

	if (s->status)
		return s->status;
	if (!issue)
		issue = &no_issue;
	bytes = size + issue->nregops * (uint32_t)sizeof(struct npu_regop);
	if (bytes > NPU_PACKET_MAX)
		return fail(s, -EINVAL, "%s: %u register operands are too many", op, issue->nregops);
	if (issue->signal != NPU_NO_TOKEN && issue->signal >= NPU_TOKENS)
		return fail(s, -EINVAL, "%s: token %u, there are %u", op, issue->signal, NPU_TOKENS);
	for (unsigned int i = 0; i < issue->nregops; i++)
		if (check_regop(s, op, &issue->regops[i], size))
			return s->status;
	if (reserve(s, bytes))
		return s->status;
	cmd = (struct npu_cmd *)(void *)(s->data + at);
	memcpy(cmd, packet, size);
	*cmd = (struct npu_cmd) {
		.opcode = (uint16_t)opcode,
		.len = (uint8_t)(bytes / NPU_PACKET_ALIGN),
		.nregops = issue->nregops,
		.wait = issue->wait,
		.signal = issue->signal,
		.tag = issue->tag,
	};
	if (issue->nregops)
		memcpy(s->data + at + size, issue->regops, issue->nregops * sizeof(struct npu_regop));
	s->bytes += bytes;
	return (int)at;
}

/* ---- Control ------------------------------------------------------------------------ */

static int control(struct npu_stream *s, const struct npu_issue *issue, unsigned int opcode)
{
	struct npu_cmd c = { 0 };

	return append(s, issue, opcode, &c, sizeof(c));
}

int npu_emit_nop(struct npu_stream *s, const struct npu_issue *issue)
{
	return control(s, issue, NPU_CMD_NOP);
}

int npu_emit_end(struct npu_stream *s, const struct npu_issue *issue)
{
	return control(s, issue, NPU_CMD_END);
}

int npu_emit_barrier(struct npu_stream *s)
{
	return control(s, NULL, NPU_CMD_BARRIER);
}

int npu_stream_set(struct npu_stream *s, const struct npu_issue *issue, unsigned int rd, uint64_t imm)
{
	struct npu_cmd_set c = { .rd = (uint8_t)rd, .imm = imm };

	if (!reg_ok(rd))
		return fail(s, -EINVAL, "SET: no register %u", rd);
	return append(s, issue, NPU_CMD_SET, &c, sizeof(c));
}

int npu_emit_set(struct npu_stream *s, unsigned int rd, uint64_t imm)
{
	return npu_stream_set(s, NULL, rd, imm);
}

static int alu(struct npu_stream *s, const struct npu_issue *issue, enum npu_alu_op op, unsigned int rd,
	       unsigned int ra, unsigned int rb, uint64_t imm)
{
	struct npu_cmd_alu c = {
		.op = (uint8_t)op, .rd = (uint8_t)rd, .ra = (uint8_t)ra, .rb = (uint8_t)rb, .imm = imm,
	};

	if ((unsigned int)op >= NPU_ALU_COUNT || !reg_ok(rd) || !reg_ok(ra) || (rb != NPU_NO_REG && !reg_ok(rb)))
		return fail(s, -EINVAL, "ALU: operation %d, registers %u, %u, %u", (int)op, rd, ra, rb);
	return append(s, issue, NPU_CMD_ALU, &c, sizeof(c));
}

int npu_emit_alu(struct npu_stream *s, enum npu_alu_op op, unsigned int rd, unsigned int ra, unsigned int rb)
{
	if (!reg_ok(rb))
		return fail(s, -EINVAL, "ALU: no register %u", rb);
	return alu(s, NULL, op, rd, ra, rb, 0);
}

int npu_stream_alui(struct npu_stream *s, const struct npu_issue *issue, enum npu_alu_op op, unsigned int rd,
		    unsigned int ra, uint64_t imm)
{
	return alu(s, issue, op, rd, ra, NPU_NO_REG, imm);
}

int npu_emit_alui(struct npu_stream *s, enum npu_alu_op op, unsigned int rd, unsigned int ra, uint64_t imm)
{
	return npu_stream_alui(s, NULL, op, rd, ra, imm);
}

static int mem(struct npu_stream *s, const struct npu_issue *issue, unsigned int opcode, unsigned int reg,
	       uint64_t addr, unsigned int size, bool sign)
{
	struct npu_cmd_mem c = {
		.reg = (uint8_t)reg, .size = (uint8_t)size, .flags = sign ? NPU_MEM_SIGNED : 0, .addr = addr,
	};

	if (!reg_ok(reg) || (size != 4 && size != 8) || addr % size || (sign && size != 4))
		return fail(s, -EINVAL, "%s: register %u, %u bytes at 0x%" PRIx64, npu_op_name(opcode), reg, size, addr);
	return append(s, issue, opcode, &c, sizeof(c));
}

int npu_emit_load(struct npu_stream *s, const struct npu_issue *issue, unsigned int rd, uint64_t addr,
		  unsigned int size, bool sign)
{
	return mem(s, issue, NPU_CMD_LOAD, rd, addr, size, sign);
}

int npu_emit_store(struct npu_stream *s, const struct npu_issue *issue, unsigned int rs, uint64_t addr,
		   unsigned int size)
{
	return mem(s, issue, NPU_CMD_STORE, rs, addr, size, false);
}

static int branch(struct npu_stream *s, unsigned int opcode, unsigned int cond, unsigned int ra, unsigned int rb,
		  uint64_t imm, int target)
{
	struct npu_cmd_branch c = { .cond = (uint8_t)cond, .ra = (uint8_t)ra, .rb = (uint8_t)rb, .imm = imm };

	if (cond >= NPU_COND_COUNT || !reg_ok(ra) || (rb != NPU_NO_REG && !reg_ok(rb)))
		return fail(s, -EINVAL, "%s: condition %u, registers %u, %u", npu_op_name(opcode), cond, ra, rb);
	if (target >= 0) {
		if ((uint32_t)target > s->bytes || target % (int)NPU_PACKET_ALIGN)
			return fail(s, -EINVAL, "%s: no command at offset %d", npu_op_name(opcode), target);
		c.offset = target - (int)s->bytes;
	}
	return append(s, NULL, opcode, &c, sizeof(c));
}

int npu_emit_branch(struct npu_stream *s, enum npu_cond cond, unsigned int ra, unsigned int rb, int target)
{
	if (!reg_ok(rb))
		return fail(s, -EINVAL, "BRANCH: no register %u", rb);
	return branch(s, NPU_CMD_BRANCH, cond, ra, rb, 0, target);
}

int npu_emit_branchi(struct npu_stream *s, enum npu_cond cond, unsigned int ra, uint64_t imm, int target)
{
	return branch(s, NPU_CMD_BRANCH, cond, ra, NPU_NO_REG, imm, target);
}

int npu_emit_loop(struct npu_stream *s, unsigned int rc, int target)
{
	if (target < 0)
		return fail(s, -EINVAL, "LOOP: needs a target");
	return branch(s, NPU_CMD_LOOP, NPU_COND_ALWAYS, rc, NPU_NO_REG, 0, target);
}

int npu_stream_land(struct npu_stream *s, int at)
{
	struct npu_cmd_branch *c;

	if (s->status)
		return s->status;
	if (at < 0 || (uint32_t)at >= s->bytes || s->bytes - (uint32_t)at < sizeof(*c))
		return fail(s, -EINVAL, "no branch at offset %d to land", at);
	c = (struct npu_cmd_branch *)(void *)(s->data + at);
	if (c->cmd.opcode != NPU_CMD_BRANCH)
		return fail(s, -EINVAL, "no branch at offset %d to land", at);
	c->offset = (int32_t)s->bytes - at;
	return 0;
}

static int sem(struct npu_stream *s, const struct npu_issue *issue, unsigned int opcode, uint64_t addr, uint64_t value)
{
	struct npu_cmd_sem c = { .addr = addr, .value = value };

	if (!(s->dev->info.features & NPU_FEAT_USER_QUEUES))
		return fail(s, -EINVAL, "%s: the device has no user-mode queues", npu_op_name(opcode));
	if (addr % 8)
		return fail(s, -EINVAL, "%s: address 0x%" PRIx64 " is not aligned to 8", npu_op_name(opcode), addr);
	return append(s, issue, opcode, &c, sizeof(c));
}

int npu_emit_sem_signal(struct npu_stream *s, const struct npu_issue *issue, uint64_t addr, uint64_t value)
{
	return sem(s, issue, NPU_CMD_SEM_SIGNAL, addr, value);
}

int npu_emit_sem_wait(struct npu_stream *s, const struct npu_issue *issue, uint64_t addr, uint64_t value)
{
	return sem(s, issue, NPU_CMD_SEM_WAIT, addr, value);
}

int npu_emit_timestamp(struct npu_stream *s, const struct npu_issue *issue, uint64_t addr)
{
	struct npu_cmd_timestamp c = { .addr = addr };

	if (addr % 8)
		return fail(s, -EINVAL, "TIMESTAMP: address 0x%" PRIx64 " is not aligned to 8", addr);
	return append(s, issue, NPU_CMD_TIMESTAMP, &c, sizeof(c));
}

int npu_emit_progress(struct npu_stream *s, const struct npu_issue *issue, uint64_t value, bool irq)
{
	struct npu_cmd_progress c = { .value = value, .flags = irq ? NPU_PROGRESS_IRQ : 0 };

	return append(s, issue, NPU_CMD_PROGRESS, &c, sizeof(c));
}

int npu_emit_trap(struct npu_stream *s, uint64_t code)
{
	struct npu_cmd_trap c = { .code = code };

	return append(s, NULL, NPU_CMD_TRAP, &c, sizeof(c));
}

/* ---- Tensor operations ----------------------------------------------------------------- */

/* Extents from registers make the cost unknown here: the device checks its bounds again. */
static bool open_extent(const struct packet_info *info, const uint8_t dyn[PACKET_OPERANDS])
{
	for (unsigned int i = 0; i < info->count; i++)
		if (dyn[i])
			return true;
	return false;
}

int npu_stream_tensor_op(struct npu_stream *s, const struct npu_issue *issue, unsigned int opcode, const void *p)
{
	const struct packet_info *info = packet_info(opcode);
	uint64_t copy[NPU_PACKET_MAX / 8];
	uint8_t dyn[PACKET_OPERANDS] = { 0 };
	struct npu_cmd head = { 0 };
	char why[256];

	if (s->status)
		return s->status;
	memcpy(copy, p, info->size);
	head.opcode = (uint16_t)opcode;
	memcpy(copy, &head, sizeof(head));
	for (unsigned int i = 0; issue && i < issue->nregops; i++) {
		if (check_regop(s, npu_op_name(opcode), &issue->regops[i], info->size))
			return s->status;
		note_dynamic(info, copy, &issue->regops[i], dyn);
	}
	if (packet_check(&s->dev->info, copy, dyn, why, sizeof(why)) ||
	    (!open_extent(info, dyn) && packet_bounds(&s->dev->info, copy, why, sizeof(why))))
		return fail(s, -EINVAL, "%s: %s", npu_op_name(opcode), why);
	return append(s, issue, opcode, p, info->size);
}

#define TENSOR_OP(name, NAME, type) \
	int npu_emit_##name(struct npu_stream *s, const struct npu_issue *issue, const struct type *p) \
	{ \
		return npu_stream_tensor_op(s, issue, NPU_OP_##NAME, p); \
	}

TENSOR_OP(matmul, MATMUL, npu_cmd_matmul)
TENSOR_OP(matmul_glu, MATMUL_GLU, npu_cmd_matmul_glu)
TENSOR_OP(attention, ATTENTION, npu_cmd_attention)
TENSOR_OP(rms_norm, RMS_NORM, npu_cmd_norm)
TENSOR_OP(layer_norm, LAYER_NORM, npu_cmd_norm)
TENSOR_OP(rope, ROPE, npu_cmd_rope)
TENSOR_OP(softmax, SOFTMAX, npu_cmd_softmax)
TENSOR_OP(glu, GLU, npu_cmd_binary)
TENSOR_OP(binary, BINARY, npu_cmd_binary)
TENSOR_OP(unary, UNARY, npu_cmd_map)
TENSOR_OP(reduce, REDUCE, npu_cmd_map)
TENSOR_OP(argmax, ARGMAX, npu_cmd_map)
TENSOR_OP(copy, COPY, npu_cmd_map)
TENSOR_OP(fill, FILL, npu_cmd_map)
TENSOR_OP(topk, TOPK, npu_cmd_topk)
TENSOR_OP(gather, GATHER, npu_cmd_rows)
TENSOR_OP(scatter, SCATTER, npu_cmd_rows)
