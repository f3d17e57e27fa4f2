/* SPDX-License-Identifier: MIT */
/*
 * fpenv.h - the profile's floating-point environment: round to nearest even,
 * subnormals kept, no traps. Threads of the pool have it for good; a caller's
 * is put aside while it runs operations.
 */
#ifndef NPU_MODEL_OPS_FPENV_H
#define NPU_MODEL_OPS_FPENV_H

#include <stdint.h>

#if defined(__x86_64__)
typedef uint32_t npu_fpenv;

static inline npu_fpenv npu_fpenv_enter(void)
{
	npu_fpenv old = __builtin_ia32_stmxcsr();

	__builtin_ia32_ldmxcsr(0x1f80);
	return old;
}

static inline void npu_fpenv_leave(npu_fpenv old)
{
	__builtin_ia32_ldmxcsr(old);
}
#elif defined(__aarch64__)
typedef uint64_t npu_fpenv;

static inline npu_fpenv npu_fpenv_enter(void)
{
	npu_fpenv old;

	__asm__ volatile("mrs %0, fpcr" : "=r"(old) : : "memory");
	__asm__ volatile("msr fpcr, xzr" : : : "memory");
	return old;
}

static inline void npu_fpenv_leave(npu_fpenv old)
{
	__asm__ volatile("msr fpcr, %0" : : "r"(old) : "memory");
}
#else
#include <fenv.h>

typedef fenv_t npu_fpenv;

static inline npu_fpenv npu_fpenv_enter(void)
{
	npu_fpenv old;

	fegetenv(&old);
	fesetenv(FE_DFL_ENV);
	return old;
}

static inline void npu_fpenv_leave(npu_fpenv old)
{
	fesetenv(&old);
}
#endif

#endif /* NPU_MODEL_OPS_FPENV_H */
