/* SPDX-License-Identifier: MIT */
/* Shared by the parts of the command processor: cp.c, control.c, tensor.c. */
#ifndef NPU_MODEL_CP_H
#define NPU_MODEL_CP_H

#include "core.h"

static inline bool reg_none(uint8_t r)
{
	return r == NPU_NO_REG;
}

/* Fill @f about the packet in q->packet, at q->job.pc; RUN_FAULT. */
enum run cp_packet_fault(struct queue *q, struct fault *f, uint8_t code, uint64_t addr);
/* The same for an access that was refused; RUN_FATAL for a host that is out of memory. */
enum run cp_access_fault(struct queue *q, struct fault *f, const struct xlate *x);
/* The queue cannot go on now; RUN_BLOCKED. */
enum run cp_stop(struct queue *q, enum block why);
bool cp_engine_hung(struct npu_model *m, unsigned int engine);
/* When every token of @mask is zero, not before @t. */
uint64_t cp_tokens_clear(const struct queue *q, uint32_t mask, uint64_t t);

/* One command; @len: bytes without register operands. cp_control() may move @next. */
enum run cp_control(struct npu_model *m, struct queue *q, unsigned int len, uint64_t *next, struct fault *f);
enum run cp_tensor(struct npu_model *m, struct queue *q, unsigned int len, struct fault *f);

#endif /* NPU_MODEL_CP_H */
