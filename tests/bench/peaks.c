// SPDX-License-Identifier: MIT
/* The limits of this machine, measured. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

#include "ops.h"
#include "peaks.h"

#define READ_PIECE	(1u << 20)
#define UNROLL		_Pragma("GCC unroll 16")

double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + 1e-9 * (double)ts.tv_nsec;
}

/* Keeps results alive. */
static volatile uint64_t sink;

#if defined(__x86_64__)
#include <immintrin.h>

/* @streams (1 or 4) equal parts of [p, p + n) side by side. */
__attribute__((target("avx512f"))) static uint64_t sum_avx512(const uint8_t *p, size_t n, unsigned int streams)
{
	__m512i s[4] = { _mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(),
			 _mm512_setzero_si512() };
	size_t part = n / streams, step = 64 * (4 / streams);

	for (size_t i = 0; i + step <= part; i += step)
		for (unsigned int j = 0; j < 4; j++)
			s[j] = _mm512_add_epi64(s[j], _mm512_load_si512(p + i + j % streams * part + j / streams * 64));
	s[0] = _mm512_add_epi64(_mm512_add_epi64(s[0], s[1]), _mm512_add_epi64(s[2], s[3]));
	return (uint64_t)_mm512_reduce_add_epi64(s[0]);
}

__attribute__((target("avx512f,avx512bw,avx512vnni"))) static uint64_t int8_avx512(uint64_t loops)
{
	__m512i s[16], a = _mm512_set1_epi8(3);

	for (int i = 0; i < 16; i++)
		s[i] = _mm512_set1_epi32(i);
	for (; loops; loops--) {
		__asm__ volatile("" : "+v"(a));
		UNROLL for (int i = 0; i < 16; i++)
			s[i] = _mm512_dpbusd_epi32(s[i], a, a);
	}
	for (int i = 1; i < 16; i++)
		s[0] = _mm512_add_epi32(s[0], s[i]);
	return (uint64_t)_mm512_reduce_add_epi32(s[0]);
}

__attribute__((target("avx512f"))) static uint64_t fp32_avx512(uint64_t loops)
{
	__m512 s[16], a = _mm512_set1_ps(0.5f);

	for (int i = 0; i < 16; i++)
		s[i] = _mm512_set1_ps((float)i);
	for (; loops; loops--) {
		__asm__ volatile("" : "+v"(a));
		UNROLL for (int i = 0; i < 16; i++)
			s[i] = _mm512_fmadd_ps(s[i], a, a);
	}
	for (int i = 1; i < 16; i++)
		s[0] = _mm512_add_ps(s[0], s[i]);
	return (uint64_t)_mm512_reduce_add_ps(s[0]);
}

__attribute__((target("avx2"))) static uint64_t int8_avx2(uint64_t loops)
{
	__m256i s[12], a = _mm256_set1_epi8(3), ones = _mm256_set1_epi16(1);

	for (int i = 0; i < 12; i++)
		s[i] = _mm256_set1_epi32(i);
	for (; loops; loops--) {
		UNROLL for (int i = 0; i < 12; i++) {
			__asm__ volatile("" : "+x"(a));
			s[i] = _mm256_add_epi32(s[i], _mm256_madd_epi16(_mm256_maddubs_epi16(a, a), ones));
		}
	}
	for (int i = 1; i < 12; i++)
		s[0] = _mm256_add_epi32(s[0], s[i]);
	return (uint64_t)_mm256_extract_epi32(s[0], 0);
}

__attribute__((target("avx2,fma"))) static uint64_t fp32_avx2(uint64_t loops)
{
	__m256 s[12], a = _mm256_set1_ps(0.5f);

	for (int i = 0; i < 12; i++)
		s[i] = _mm256_set1_ps((float)i);
	for (; loops; loops--) {
		__asm__ volatile("" : "+x"(a));
		UNROLL for (int i = 0; i < 12; i++)
			s[i] = _mm256_fmadd_ps(s[i], a, a);
	}
	for (int i = 1; i < 12; i++)
		s[0] = _mm256_add_ps(s[0], s[i]);
	return (uint64_t)_mm256_cvtss_f32(s[0]);
}
#endif

static uint64_t sum_plain(const uint8_t *p, size_t n)
{
	const uint64_t *q = (const uint64_t *)p;
	uint64_t s[8] = { 0 };

	for (size_t i = 0; i + 8 <= n / 8; i += 8)
		for (int j = 0; j < 8; j++)
			s[j] += q[i + j];
	return s[0] + s[1] + s[2] + s[3] + s[4] + s[5] + s[6] + s[7];
}

static uint64_t int8_plain(uint64_t loops)
{
	int32_t s[8] = { 0 };
	volatile int8_t a = 3;

	for (; loops; loops--)
		for (int i = 0; i < 8; i++)
			s[i] += a * a;
	return (uint64_t)s[0] + (uint64_t)s[7];
}

static uint64_t fp32_plain(uint64_t loops)
{
	float s[8] = { 0 };
	volatile float a = 0.5f;

	for (; loops; loops--)
		for (int i = 0; i < 8; i++)
			s[i] = __builtin_fmaf(s[i], a, a);
	return (uint64_t)(s[0] + s[7]);
}

struct peak {
	uint64_t (*run)(uint64_t loops);
	double ops;		/* per loop */
};

static struct peak int8_peak(void)
{
#if defined(__x86_64__)
	if (npu_path_supported(NPU_PATH_AVX512))
		return (struct peak){ int8_avx512, 16 * 64 * 2 };
	if (npu_path_supported(NPU_PATH_AVX2))
		return (struct peak){ int8_avx2, 12 * 32 * 2 };
#endif
	return (struct peak){ int8_plain, 8 * 2 };
}

static struct peak fp32_peak(void)
{
#if defined(__x86_64__)
	if (npu_path_supported(NPU_PATH_AVX512))
		return (struct peak){ fp32_avx512, 16 * 16 * 2 };
	if (npu_path_supported(NPU_PATH_AVX2))
		return (struct peak){ fp32_avx2, 12 * 8 * 2 };
#endif
	return (struct peak){ fp32_plain, 8 * 2 };
}

struct job {
	const uint8_t *buf;
	struct peak peak;
	uint64_t loops;
	unsigned int streams;
};

static void read_piece(void *arg, uint64_t begin, uint64_t end, unsigned int worker)
{
	struct job *j = arg;

	(void)worker;
#if defined(__x86_64__)
	if (npu_path_supported(NPU_PATH_AVX512)) {
		sink += sum_avx512(j->buf + begin, end - begin, j->streams);
		return;
	}
#endif
	sink += sum_plain(j->buf + begin, end - begin);
}

double peak_read(struct npu_pool *pool, const void *buf, size_t size)
{
	double best = 0;

	/* Which one is faster depends on the machine and its neighbours. */
	for (unsigned int streams = 1; streams <= 4; streams += 3) {
		struct job j = { .buf = buf, .streams = streams };
		double t = now();

		npu_pool_for(pool, size, READ_PIECE, read_piece, &j);
		t = (double)size / (now() - t);
		best = t > best ? t : best;
	}
	return best;
}

static void compute_piece(void *arg, uint64_t begin, uint64_t end, unsigned int worker)
{
	struct job *j = arg;

	(void)worker;
	for (; begin < end; begin++)
		sink += j->peak.run(j->loops);
}

static double measure(struct npu_pool *pool, struct peak peak, double seconds)
{
	struct job j = { .peak = peak, .loops = 10000 };
	uint64_t pieces = 16 * npu_pool_threads(pool);
	double t = now();

	peak.run(j.loops);
	t = now() - t;
	j.loops = 1 + (uint64_t)((double)j.loops * seconds / 16 / t);
	t = now();
	npu_pool_for(pool, pieces, 1, compute_piece, &j);
	return peak.ops * (double)(j.loops * pieces) / (now() - t);
}

double peak_int8(struct npu_pool *pool, double seconds)
{
	return measure(pool, int8_peak(), seconds);
}

double peak_fp32(struct npu_pool *pool, double seconds)
{
	return measure(pool, fp32_peak(), seconds);
}

/* ---- Between CPUs ----------------------------------------------------------------------- */

#define TURNS	3000		/* there and back; the first third warms up */
#define SPINS	(1u << 16)	/* then the other one has no CPU */

static _Alignas(64) atomic_uint ball;

static void await(unsigned int value)
{
	for (unsigned int i = 0; atomic_load_explicit(&ball, memory_order_acquire) != value; i++)
		if (i >= SPINS)
			sched_yield();
}

static void *return_ball(void *arg)
{
	(void)arg;
	for (unsigned int i = 0; i < TURNS; i++) {
		await(2 * i + 1);
		atomic_store_explicit(&ball, 2 * i + 2, memory_order_release);
	}
	return NULL;
}

double peak_transfer(void)
{
	double begin = 0;
	pthread_t other;

	atomic_store(&ball, 0);
	if (pthread_create(&other, NULL, return_ball, NULL))
		return -1;
	for (unsigned int i = 0; i < TURNS; i++) {
		if (i == TURNS / 3)
			begin = now();
		atomic_store_explicit(&ball, 2 * i + 1, memory_order_release);
		await(2 * i + 2);
	}
	begin = now() - begin;
	pthread_join(other, NULL);
	return begin / (2 * (TURNS - TURNS / 3));
}
