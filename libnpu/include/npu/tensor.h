/* SPDX-License-Identifier: MIT */
/*
 * libnpu: element types and tensor geometry.
 */
#ifndef NPU_TENSOR_H
#define NPU_TENSOR_H

#include <npu/error.h>
#include <npu_isa.h>

#ifdef __cplusplus
extern "C" {
#endif

/* "f32", "q8_0", ...; NULL for an unknown type. And back: -EINVAL. */
NPU_API const char *npu_type_name(unsigned int type);
NPU_API int npu_type_parse(const char *name);
/* Elements of one block (1 for plain types), and its bytes; 0 for an unknown type. */
NPU_API uint32_t npu_type_block(unsigned int type);
NPU_API uint32_t npu_type_bytes(unsigned int type);
/* Bytes of @n contiguous elements; 0 when @n is not a multiple of the block, or on overflow. */
NPU_API uint64_t npu_type_row_bytes(unsigned int type, uint64_t n);

/* "MATMUL", ...; NULL for an unknown opcode. */
NPU_API const char *npu_op_name(unsigned int opcode);

/*
 * Weights in 16-row tiles (NPU_LAYOUT_TILE16): convert @rows rows of @n elements, GGUF rows in @src, to tiles in @dst.
 * The size stays npu_type_row_bytes(type, n) times rows rounded up to 16; rows beyond the last are zero. -EINVAL: a type
 * without tiles, n not a multiple of the block. Source and destination must not overlap. Safe to call for
 * ranges of whole tiles from several threads.
 */
NPU_API uint64_t npu_tile16_bytes(unsigned int type, uint64_t n, uint64_t rows);
NPU_API int npu_tile16_pack(unsigned int type, uint64_t n, uint64_t rows, const void *src, void *dst);

/* IEEE conversions, rounding to nearest even: for tests, tools and loaders. */
NPU_API uint16_t npu_f32_to_f16(float value);
NPU_API float npu_f16_to_f32(uint16_t half);

#ifdef __cplusplus
}
#endif
#endif /* NPU_TENSOR_H */
