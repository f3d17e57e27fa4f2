/* SPDX-License-Identifier: MIT */
/* Element types and speed paths. */
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "ops.h"

struct type_info {
	uint16_t block_bytes;
	uint16_t block_len;
};

static const struct type_info types[] = {
	[NPU_TYPE_F32]	= { 4, 1 },
	[NPU_TYPE_F16]	= { 2, 1 },
	[NPU_TYPE_BF16]	= { 2, 1 },
	[NPU_TYPE_I8]	= { 1, 1 },
	[NPU_TYPE_I16]	= { 2, 1 },
	[NPU_TYPE_I32]	= { 4, 1 },
	[NPU_TYPE_I64]	= { 8, 1 },
	[NPU_TYPE_Q4_0]	= { 18, 32 },	/* F16 scale, 32 x 4 bits */
	[NPU_TYPE_A8]	= { 36, 32 },	/* F32 scale, 32 x 8 bits */
	[NPU_TYPE_A8_K]	= { 260, 256 },	/* F32 scale, 256 x 8 bits */
	[NPU_TYPE_Q8_0]	= { 34, 32 },	/* F16 scale, 32 x 8 bits */
	[NPU_TYPE_Q4_K]	= { 144, 256 },	/* 2 F16, 12 bytes of scales and minima, 256 x 4 bits */
	[NPU_TYPE_Q6_K]	= { 210, 256 },	/* 256 x 4 bits, 256 x 2 bits, 16 int8 scales, F16 */
};

#define NTYPES (sizeof(types) / sizeof(types[0]))

uint32_t npu_type_block_bytes(unsigned int type)
{
	return type < NTYPES ? types[type].block_bytes : 0;
}

uint32_t npu_type_block_len(unsigned int type)
{
	return type < NTYPES ? types[type].block_len : 0;
}

#if defined(__x86_64__)
/* Not every compiler's __builtin_cpu_supports() knows it. */
static bool has_f16c(void)
{
	unsigned int a, b, c, d;

	return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}
#endif

bool npu_path_supported(enum npu_path path)
{
	switch (path) {
	case NPU_PATH_SCALAR:
		return true;
#if defined(__x86_64__)
	case NPU_PATH_AVX2:
		return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
	case NPU_PATH_AVX512:
		return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
		       __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
		       __builtin_cpu_supports("avx512vnni");
#endif
#if defined(__aarch64__)
	case NPU_PATH_NEON:
		return true;
#endif
	default:
		return false;
	}
}

enum npu_path npu_path_best(void)
{
	static const enum npu_path order[] = { NPU_PATH_AVX512, NPU_PATH_AVX2, NPU_PATH_NEON };

	for (unsigned int i = 0; i < sizeof(order) / sizeof(order[0]); i++)
		if (npu_path_supported(order[i]))
			return order[i];
	return NPU_PATH_SCALAR;
}
