/* SPDX-License-Identifier: MIT */
/* libnpu: everything but language models (npu/llm.h). */
#ifndef NPU_NPU_H
#define NPU_NPU_H

#include <npu/error.h>
#include <npu/device.h>
#include <npu/buffer.h>
#include <npu/queue.h>
#include <npu/cmd.h>
#include <npu/tensor.h>
#include <npu/graph.h>

#endif /* NPU_NPU_H */
