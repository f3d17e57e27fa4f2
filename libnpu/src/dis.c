// SPDX-License-Identifier: MIT
/* The disassembler: text of any bytes, checked only as far as needed to read them. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <npu/cmd.h>

#include "packet.h"

struct text {
	char *p;
	size_t left;
};

static void NPU_PRINTF(2, 3) put(struct text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(t->p, t->left, fmt, ap);
	va_end(ap);
	if (n < 0 || !t->left)
		return;
	if ((size_t)n >= t->left)
		n = (int)t->left - 1;
	t->p += n;
	t->left -= (size_t)n;
}

static const char *pick(const char *const *names, unsigned int count, unsigned int i)
{
	return i < count ? names[i] : "?";
}

#define PICK(names, i) pick(names, sizeof(names) / sizeof((names)[0]), i)

static const char *const alu_names[] = {
	"add", "sub", "mul", "and", "or", "xor", "shl", "shr", "min", "max", "udiv", "umod",
};
static const char *const cond_names[] = { "always", "==", "!=", "<u", ">=u", "<", ">=" };
static const char *const glu_names[] = { "swiglu", "geglu", "geglu_tanh", "reglu", "siglu" };
static const char *const unary_names[] = {
	"scale", "clamp", "neg", "abs", "square", "sqrt", "rsqrt", "recip", "exp", "log", "sin", "cos", "tanh", "erf",
	"sigmoid", "silu", "gelu", "gelu_tanh", "relu", "leaky_relu", "softcap",
};
static const char *const binary_names[] = { "add", "sub", "mul", "div", "min", "max" };
static const char *const reduce_names[] = { "sum", "mean", "sumsq", "max", "min" };

static void put_tensor(struct text *t, const char *name, const struct npu_tensor *x)
{
	const char *type = npu_type_name(x->type);

	put(t, " %s=", name);
	if (type)
		put(t, "%s", type);
	else
		put(t, "type%u", x->type);
	put(t, "%s[%u,%u,%u,%u]@0x%" PRIx64 "/%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64,
	    x->layout == NPU_LAYOUT_TILE16 ? "t" : "", x->ne[0], x->ne[1], x->ne[2], x->ne[3], x->addr, x->nb[0],
	    x->nb[1], x->nb[2], x->nb[3]);
	put(t, "%s%s%s", x->hint & NPU_HINT_KEEP ? "/keep" : "", x->hint & NPU_HINT_LOCAL ? "/local" : "",
	    x->hint & NPU_HINT_DROP ? "/drop" : "");
}

static void put_parameters(struct text *t, const void *packet)
{
	const struct npu_cmd *cmd = packet;
	const struct npu_cmd_map *map = packet;
	const struct npu_cmd_binary *bin = packet;

	switch (cmd->opcode) {
	case NPU_OP_MATMUL: {
		const struct npu_cmd_matmul *p = packet;

		if (p->flags & NPU_MATMUL_ACCUMULATE)
			put(t, " accumulate");
		if (p->flags & NPU_MATMUL_BIAS)
			put(t, " bias=0x%" PRIx64, p->bias);
		break;
	}
	case NPU_OP_ATTENTION: {
		const struct npu_cmd_attention *p = packet;

		put(t, "%s pos=%u window=%u scale=%g softcap=%g", p->flags & NPU_ATTN_CAUSAL ? " causal" : "", p->pos,
		    p->window, (double)p->scale, (double)p->softcap);
		break;
	}
	case NPU_OP_RMS_NORM:
	case NPU_OP_LAYER_NORM: {
		const struct npu_cmd_norm *p = packet;

		put(t, " weight=0x%" PRIx64 " bias=0x%" PRIx64 " eps=%g", p->weight, p->bias, (double)p->eps);
		break;
	}
	case NPU_OP_ROPE: {
		const struct npu_cmd_rope *p = packet;

		put(t, "%s ndims=%u pos=%u mscale=%g step=0x%" PRIx64 " positions=0x%" PRIx64,
		    p->flags & NPU_ROPE_HALVES ? " halves" : "", p->ndims, p->pos, (double)p->mscale, p->step,
		    p->positions);
		break;
	}
	case NPU_OP_SOFTMAX:
		put(t, " scale=%g", (double)((const struct npu_cmd_softmax *)packet)->scale);
		break;
	case NPU_OP_MATMUL_GLU:
		put(t, " %s", PICK(glu_names, ((const struct npu_cmd_matmul_glu *)packet)->kind));
		break;
	case NPU_OP_GLU:
		put(t, " %s", PICK(glu_names, bin->kind));
		break;
	case NPU_OP_BINARY:
		put(t, " %s", PICK(binary_names, bin->kind));
		break;
	case NPU_OP_UNARY:
		put(t, " %s %g %g", PICK(unary_names, map->kind), (double)map->p0, (double)map->p1);
		break;
	case NPU_OP_REDUCE:
		put(t, " %s", PICK(reduce_names, map->kind));
		break;
	case NPU_OP_FILL:
		put(t, " %g", (double)map->p0);
		break;
	case NPU_OP_TOPK:
		put(t, " k=%u", ((const struct npu_cmd_topk *)packet)->k);
		break;
	default:
		break;
	}
}

static void put_second(struct text *t, uint8_t rb, uint64_t imm)
{
	if (rb == NPU_NO_REG)
		put(t, "0x%" PRIx64, imm);
	else
		put(t, "r%u", rb);
}

/* Bytes of a control packet without register operands; 0 = unknown opcode. */
static uint32_t control_size(unsigned int opcode)
{
	switch (opcode) {
	case NPU_CMD_NOP:
	case NPU_CMD_END:
	case NPU_CMD_BARRIER:
		return 16;
	default:
		return opcode <= NPU_CMD_TRAP ? 32 : 0;
	}
}

static void put_control(struct text *t, const void *packet, uint32_t offset)
{
	const struct npu_cmd *cmd = packet;

	switch (cmd->opcode) {
	case NPU_CMD_SET: {
		const struct npu_cmd_set *p = packet;

		put(t, " r%u = 0x%" PRIx64, p->rd, p->imm);
		break;
	}
	case NPU_CMD_ALU: {
		const struct npu_cmd_alu *p = packet;

		put(t, " r%u = r%u %s ", p->rd, p->ra, PICK(alu_names, p->op));
		put_second(t, p->rb, p->imm);
		break;
	}
	case NPU_CMD_LOAD:
	case NPU_CMD_STORE: {
		const struct npu_cmd_mem *p = packet;

		put(t, " r%u %s%u 0x%" PRIx64, p->reg, p->flags & NPU_MEM_SIGNED ? "i" : "u", p->size * 8, p->addr);
		break;
	}
	case NPU_CMD_BRANCH: {
		const struct npu_cmd_branch *p = packet;

		if (p->cond != NPU_COND_ALWAYS) {
			put(t, " r%u %s ", p->ra, PICK(cond_names, p->cond));
			put_second(t, p->rb, p->imm);
		}
		put(t, " -> 0x%" PRIx64, (uint64_t)(offset + (int64_t)p->offset));
		break;
	}
	case NPU_CMD_LOOP: {
		const struct npu_cmd_branch *p = packet;

		put(t, " r%u -> 0x%" PRIx64, p->ra, (uint64_t)(offset + (int64_t)p->offset));
		break;
	}
	case NPU_CMD_SEM_SIGNAL:
	case NPU_CMD_SEM_WAIT: {
		const struct npu_cmd_sem *p = packet;

		put(t, " 0x%" PRIx64 " 0x%" PRIx64, p->addr, p->value);
		break;
	}
	case NPU_CMD_TIMESTAMP:
		put(t, " 0x%" PRIx64, ((const struct npu_cmd_timestamp *)packet)->addr);
		break;
	case NPU_CMD_PROGRESS: {
		const struct npu_cmd_progress *p = packet;

		put(t, " 0x%" PRIx64 "%s", p->value, p->flags & NPU_PROGRESS_IRQ ? " irq" : "");
		break;
	}
	case NPU_CMD_TRAP:
		put(t, " 0x%" PRIx64, ((const struct npu_cmd_trap *)packet)->code);
		break;
	default:
		break;
	}
}

/* "w.ne[1]" for a field of a tensor operand; else its byte offset. */
static void put_field(struct text *t, const struct packet_info *info, uint32_t off)
{
	for (unsigned int i = 0; info && i < info->count; i++) {
		uint32_t at = off - info->operand[i].offset;

		if (off < info->operand[i].offset || at >= sizeof(struct npu_tensor))
			continue;
		put(t, " %s.", info->operand[i].name);
		if (at < offsetof(struct npu_tensor, ne))
			put(t, "addr");
		else if (at < offsetof(struct npu_tensor, nb))
			put(t, "ne[%u]", (at - (uint32_t)offsetof(struct npu_tensor, ne)) / 4);
		else if (at < offsetof(struct npu_tensor, type))
			put(t, "nb[%u]", (at - (uint32_t)offsetof(struct npu_tensor, nb)) / 8);
		else
			put(t, "byte%u", at);
		return;
	}
	put(t, " [%u]", off);
}

static void put_regop(struct text *t, const struct packet_info *info, const struct npu_regop *r)
{
	put_field(t, info, NPU_REGOP_OFFSET(r->field));
	if (r->ra != NPU_NO_REG)
		put(t, "+r%u*%d", r->ra, r->sa);
	if (r->field & NPU_REGOP_MAX)
		put(t, "<=%" PRId64, r->sb);
	else if (r->rb != NPU_NO_REG)
		put(t, "+r%u*%" PRId64, r->rb, r->sb);
}

static void put_header(struct text *t, const struct npu_cmd *cmd)
{
	const char *name = npu_op_name(cmd->opcode);

	if (name)
		put(t, "%s", name);
	else
		put(t, "opcode 0x%x", cmd->opcode);
	if (cmd->wait) {
		const char *sep = " wait ";

		for (unsigned int i = 0; i < NPU_TOKENS; i++)
			if (cmd->wait >> i & 1) {
				put(t, "%s%u", sep, i);
				sep = ",";
			}
	}
	if (cmd->signal != NPU_NO_TOKEN)
		put(t, " signal %u", cmd->signal);
	if (cmd->tag)
		put(t, " tag %u", cmd->tag);
}

int npu_disassemble(const void *stream, uint32_t bytes, uint32_t offset, char *buf, size_t size)
{
	uint64_t packet[255 * NPU_PACKET_ALIGN / 8];
	struct npu_cmd *cmd = (struct npu_cmd *)(void *)packet;
	struct text t = { buf, size };
	const struct packet_info *info;
	uint32_t len, base;

	if (size)
		buf[0] = '\0';
	if (offset % NPU_PACKET_ALIGN || offset > bytes || bytes - offset < sizeof(*cmd)) {
		put(&t, "no whole packet at offset 0x%x of %u bytes", offset, bytes);
		return -EINVAL;
	}
	memcpy(packet, (const char *)stream + offset, sizeof(*cmd));
	len = cmd->len * NPU_PACKET_ALIGN;
	info = packet_info(cmd->opcode);
	base = info ? info->size : control_size(cmd->opcode);
	if (!len || len > bytes - offset || base > len ||
	    (base && len != base + cmd->nregops * sizeof(struct npu_regop))) {
		put(&t, "malformed packet: opcode 0x%x, length %u, %u register operands", cmd->opcode, len, cmd->nregops);
		return -EINVAL;
	}
	memcpy(packet, (const char *)stream + offset, len);
	put_header(&t, cmd);
	if (info) {
		put_parameters(&t, packet);
		for (unsigned int i = 0; i < info->count; i++)
			put_tensor(&t, info->operand[i].name, packet_tensor_c(packet, info, i));
	} else {
		put_control(&t, packet, offset);
	}
	for (unsigned int i = 0; base && i < cmd->nregops; i++)
		put_regop(&t, info, (const struct npu_regop *)(const void *)((char *)packet + base) + i);
	return (int)len;
}
