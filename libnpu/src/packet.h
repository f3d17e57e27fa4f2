/* SPDX-License-Identifier: MIT */
/*
 * What the library knows of each packet: size, engine, operands, rules and cost. The
 * encoder, the disassembler and the graph compiler share it.
 */
#ifndef LIBNPU_PACKET_H
#define LIBNPU_PACKET_H

#include <npu/device.h>
#include <npu/tensor.h>

#define PACKET_OPERANDS	4u

enum operand_flags {
	OP_WRITE	= 1 << 0,	/* elements may not coincide */
	OP_ROW		= 1 << 1,	/* dimension 0 must be contiguous */
	OP_WEIGHT	= 1 << 2,	/* types and layouts as the device says */
	OP_UNUSED0	= 1 << 3,	/* may be all zero bytes: not used */
};

struct operand_info {
	const char *name;
	uint16_t offset;	/* of the struct npu_tensor in the packet */
	uint16_t flags;
	uint32_t types;		/* bit t: type t */
};

struct packet_info {
	uint16_t opcode;
	uint16_t size;		/* without register operands */
	uint8_t engine;		/* NPU_ENGINE_* */
	uint8_t count;
	struct operand_info operand[PACKET_OPERANDS];
};

/* A8 or A8_K: what MATMUL quantises activations to for weights of this type; -1: it does not. */
int npu_activation_type(unsigned int weight);

/* NULL: no tensor operation that this library knows. */
const struct packet_info *packet_info(unsigned int opcode);

static inline struct npu_tensor *packet_tensor(void *packet, const struct packet_info *info, unsigned int i)
{
	return (struct npu_tensor *)(void *)((char *)packet + info->operand[i].offset);
}

static inline const struct npu_tensor *packet_tensor_c(const void *packet, const struct packet_info *info,
							unsigned int i)
{
	return (const struct npu_tensor *)(const void *)((const char *)packet + info->operand[i].offset);
}

/* Bytes from the first to past the last element; false on overflow. Not for empty tensors. */
bool tensor_span(const struct npu_tensor *t, uint64_t *span);
uint64_t tensor_elements(const struct npu_tensor *t);

/*
 * Check a packet against @info and the device. @dyn[i] bit d: extent d of operand i comes from a
 * register, so it agrees with anything. The reason is written to @err: "operand: why".
 */
int packet_check(const struct npu_device_info *dev, const void *packet, const uint8_t dyn[PACKET_OPERANDS], char *err,
		 size_t err_size);
/* Is it within the bounds of one command? */
int packet_bounds(const struct npu_device_info *dev, const void *packet, char *err, size_t err_size);

/* Work of one command, as the device counts it against its bounds. */
struct packet_cost {
	uint64_t macs;
	uint64_t bytes;		/* read and written */
};

void packet_cost(const void *packet, struct packet_cost *cost);

#endif /* LIBNPU_PACKET_H */
