/* SPDX-License-Identifier: MIT */
#ifndef LIBNPU_STREAM_H
#define LIBNPU_STREAM_H

#include <npu/cmd.h>

struct npu_stream {
	struct npu_device *dev;
	uint8_t *data;
	uint32_t bytes, room;
	int status;		/* first error */
	char error[384];
};

/* SET and ALU with register operands on their immediate. */
int npu_stream_set(struct npu_stream *s, const struct npu_issue *issue, unsigned int rd, uint64_t imm);
int npu_stream_alui(struct npu_stream *s, const struct npu_issue *issue, enum npu_alu_op op, unsigned int rd,
		    unsigned int ra, uint64_t imm);
/* Any tensor operation: @p points to its packet. */
int npu_stream_tensor_op(struct npu_stream *s, const struct npu_issue *issue, unsigned int opcode, const void *p);

#endif /* LIBNPU_STREAM_H */
