/* SPDX-License-Identifier: MIT */
/*
 * row_impl.h - the kernels of row.h. Included by one file per speed path, which
 * defines NPU_ROW_TABLE, the name of its table.
 *
 * The loops are free of branches and of loop-carried dependences, so compilers
 * vectorise them; only the reductions into partials are written with vectors,
 * because their order of addition is fixed.
 */
#include <string.h>

#include "npu_isa.h"
#include "order.h"
#include "quant.h"
#include "row.h"

/* Iterations are independent, even where a destination is a source. */
#if defined(__clang__)
#define NPU_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#elif defined(NPU_ROW_PLAIN)
#define NPU_INDEPENDENT
#else
#define NPU_INDEPENDENT _Pragma("GCC ivdep")
#endif

#define EACH(i, n) NPU_INDEPENDENT for (uint64_t i = 0; i < (n); i++)

/* ---- Sixteen lanes -------------------------------------------------------------- */

#if defined(NPU_ROW_PLAIN)
typedef struct {
	float f[16];
} v16;

#define V16_EACH(expr) do { for (unsigned int l = 0; l < 16; l++) expr; } while (0)

static v16 v16_load(const float *p)
{
	v16 r;

	memcpy(&r, p, sizeof(r));
	return r;
}

static void v16_store(float *p, v16 a)
{
	memcpy(p, &a, sizeof(a));
}

static v16 v16_set(float x)
{
	v16 r;

	V16_EACH(r.f[l] = x);
	return r;
}

static v16 v16_add(v16 a, v16 b)
{
	V16_EACH(a.f[l] = a.f[l] + b.f[l]);
	return a;
}

static v16 v16_sub(v16 a, v16 b)
{
	V16_EACH(a.f[l] = a.f[l] - b.f[l]);
	return a;
}

/* a * b + c */
static v16 v16_fma(v16 a, v16 b, v16 c)
{
	V16_EACH(c.f[l] = npu_fma(a.f[l], b.f[l], c.f[l]));
	return c;
}
#elif defined(__AVX512F__)
#include <immintrin.h>
typedef __m512 v16;
#define v16_load(p)		_mm512_loadu_ps(p)
#define v16_store(p, a)		_mm512_storeu_ps(p, a)
#define v16_set(x)		_mm512_set1_ps(x)
#define v16_add(a, b)		_mm512_add_ps(a, b)
#define v16_sub(a, b)		_mm512_sub_ps(a, b)
#define v16_fma(a, b, c)	_mm512_fmadd_ps(a, b, c)
#elif defined(__AVX2__)
#include <immintrin.h>
typedef struct {
	__m256 lo, hi;
} v16;

static inline v16 v16_load(const float *p)
{
	return (v16){ _mm256_loadu_ps(p), _mm256_loadu_ps(p + 8) };
}

static inline void v16_store(float *p, v16 a)
{
	_mm256_storeu_ps(p, a.lo);
	_mm256_storeu_ps(p + 8, a.hi);
}

static inline v16 v16_set(float x)
{
	return (v16){ _mm256_set1_ps(x), _mm256_set1_ps(x) };
}

static inline v16 v16_add(v16 a, v16 b)
{
	return (v16){ _mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi) };
}

static inline v16 v16_sub(v16 a, v16 b)
{
	return (v16){ _mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi) };
}

static inline v16 v16_fma(v16 a, v16 b, v16 c)
{
	return (v16){ _mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi) };
}
#elif defined(__ARM_NEON)
#include <arm_neon.h>
typedef float32x4x4_t v16;
#define V16_EACH(expr) do { for (unsigned int l = 0; l < 4; l++) expr; } while (0)

static inline v16 v16_load(const float *p)
{
	v16 r;

	V16_EACH(r.val[l] = vld1q_f32(p + 4 * l));
	return r;
}

static inline void v16_store(float *p, v16 a)
{
	V16_EACH(vst1q_f32(p + 4 * l, a.val[l]));
}

static inline v16 v16_set(float x)
{
	v16 r;

	V16_EACH(r.val[l] = vdupq_n_f32(x));
	return r;
}

static inline v16 v16_add(v16 a, v16 b)
{
	V16_EACH(a.val[l] = vaddq_f32(a.val[l], b.val[l]));
	return a;
}

static inline v16 v16_sub(v16 a, v16 b)
{
	V16_EACH(a.val[l] = vsubq_f32(a.val[l], b.val[l]));
	return a;
}

static inline v16 v16_fma(v16 a, v16 b, v16 c)
{
	V16_EACH(c.val[l] = vfmaq_f32(c.val[l], a.val[l], b.val[l]));
	return c;
}
#else
#error "row_impl.h: no vectors of this architecture; define NPU_ROW_PLAIN"
#endif

/* ---- Conversion ------------------------------------------------------------------- */

static void widen_q8_0(const uint8_t *b, uint64_t n, float *y)
{
	for (; n; n -= NPU_Q_BLOCK, b += 34, y += NPU_Q_BLOCK) {
		const int8_t *q = (const int8_t *)b + 2;
		float d = npu_f16_to_f32(npu_load16(b));

		EACH(i, NPU_Q_BLOCK)
			y[i] = (float)q[i] * d;
	}
}

static void widen_q4_0(const uint8_t *b, uint64_t n, float *y)
{
	for (; n; n -= NPU_Q_BLOCK, b += 18, y += NPU_Q_BLOCK) {
		const uint8_t *q = b + 2;
		float d = npu_f16_to_f32(npu_load16(b));

		EACH(i, 16)
			y[i] = (float)((q[i] & 15) - 8) * d;
		EACH(i, 16)
			y[16 + i] = (float)((q[i] >> 4) - 8) * d;
	}
}

static void widen_q4_k(const uint8_t *b, uint64_t n, float *y)
{
	for (; n; n -= NPU_K_BLOCK, b += 144, y += NPU_K_BLOCK) {
		float d = npu_f16_to_f32(npu_load16(b)), dmin = npu_f16_to_f32(npu_load16(b + 2));

		for (unsigned int j = 0; j < 8; j++) {
			const uint8_t *q = b + 16 + j / 2 * 32;
			unsigned int shift = j % 2 * 4;
			uint32_t sc, m;
			float ds, dm;

			npu_q4_k_scale(b + 4, j, &sc, &m);
			ds = d * (float)sc;
			dm = dmin * (float)m;
			EACH(i, 32)
				y[32 * j + i] = npu_fma(ds, (float)(q[i] >> shift & 15), -dm);
		}
	}
}

static void widen_q6_k(const uint8_t *b, uint64_t n, float *y)
{
	for (; n; n -= NPU_K_BLOCK, b += 210, y += NPU_K_BLOCK) {
		float d = npu_f16_to_f32(npu_load16(b + 208));

		for (unsigned int j = 0; j < 16; j++) {
			unsigned int quarter = j / 2 % 4, at = j % 2 * 16;
			const uint8_t *ql = b + j / 8 * 64 + quarter % 2 * 32 + at;
			const uint8_t *qh = b + 128 + j / 8 * 32 + at;
			unsigned int lo = quarter / 2 * 4, hi = quarter * 2;
			float ds = d * (float)(int8_t)b[192 + j];

			EACH(i, 16)
				y[16 * j + i] = ds * (float)(((ql[i] >> lo & 15) | (qh[i] >> hi & 3) << 4) - 32);
		}
	}
}

static void k_widen(unsigned int type, const void *src, uint64_t n, float *y)
{
	switch (type) {
	case NPU_TYPE_F32:
		memcpy(y, src, n * sizeof(float));
		break;
	case NPU_TYPE_F16: {
		const uint16_t *h = src;

		EACH(i, n)
			y[i] = npu_f16_to_f32(h[i]);
		break;
	}
	case NPU_TYPE_BF16: {
		const uint16_t *h = src;

		EACH(i, n)
			y[i] = npu_bf16_to_f32(h[i]);
		break;
	}
	case NPU_TYPE_Q8_0:
		widen_q8_0(src, n, y);
		break;
	case NPU_TYPE_Q4_0:
		widen_q4_0(src, n, y);
		break;
	case NPU_TYPE_Q4_K:
		widen_q4_k(src, n, y);
		break;
	case NPU_TYPE_Q6_K:
		widen_q6_k(src, n, y);
		break;
	}
}

/* Largest magnitude of a block, as bits: infinities and NaNs are >= 0x7f800000. */
static uint32_t block_amax(const float *x)
{
	uint32_t amax = 0;

	for (unsigned int i = 0; i < NPU_Q_BLOCK; i++) {
		uint32_t a = npu_f32_bits(x[i]) & 0x7fffffffu;

		amax = a > amax ? a : amax;
	}
	return amax;
}

static uint32_t first_of_magnitude(const float *x, uint32_t bits)
{
	uint32_t at[NPU_Q_BLOCK];

	NPU_INDEPENDENT for (uint32_t i = 0; i < NPU_Q_BLOCK; i++)
		at[i] = (npu_f32_bits(x[i]) & 0x7fffffffu) == bits ? i : NPU_Q_BLOCK - 1;
	for (unsigned int half = NPU_Q_BLOCK / 2; half; half /= 2)
		for (unsigned int i = 0; i < half; i++)
			at[i] = at[i + half] < at[i] ? at[i + half] : at[i];
	return at[0];
}

static void store16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

/* quant.h: npu_quant_row_q8_0(). */
static void narrow_q8_0(const float *x, uint64_t n, uint8_t *b)
{
	for (; n; n -= NPU_Q_BLOCK, b += 34, x += NPU_Q_BLOCK) {
		uint32_t bits = block_amax(x);
		float amax = npu_f32_from_bits(bits), id;
		int8_t *q = (int8_t *)b + 2;

		if (bits >= 0x7f800000u || amax < NPU_QUANT_MIN) {
			store16(b, bits >= 0x7f800000u ? NPU_F16_NAN_BITS : 0);
			memset(q, 0, NPU_Q_BLOCK);
			continue;
		}
		id = 127.0f / amax;
		store16(b, npu_f32_to_f16(amax / 127.0f));
		EACH(i, NPU_Q_BLOCK) {
			float v = __builtin_rintf(x[i] * id);

			v = v < -127.0f ? -127.0f : v;
			v = v > 127.0f ? 127.0f : v;
			q[i] = (int8_t)(int32_t)v;
		}
	}
}

/* One block of A8 or A8_K, whose largest magnitude has @bits. */
static inline void put_a8(const float *x, uint32_t block, uint32_t bits, float d, float id, uint8_t *b)
{
	int8_t *q = (int8_t *)b + 4;

	if (bits >= 0x7f800000u || npu_f32_from_bits(bits) < NPU_QUANT_MIN) {
		d = bits >= 0x7f800000u ? npu_f32_from_bits(NPU_F32_NAN_BITS) : 0.0f;
		memcpy(b, &d, sizeof(d));
		memset(q, 0, block);
		return;
	}
	memcpy(b, &d, sizeof(d));
	for (uint32_t j = 0; j < block; j += NPU_Q_BLOCK)
		EACH(i, NPU_Q_BLOCK) {
			float v = __builtin_rintf(x[j + i] * id);

			v = v < -127.0f ? -127.0f : v;
			v = v > 127.0f ? 127.0f : v;
			q[j + i] = (int8_t)(int32_t)v;
		}
}

#define A8_BLOCKS	16u	/* at a time: as many divisions as a vector has lanes */

/* quant.h: npu_quant_row_a8(). */
static inline void narrow_a8(const float *x, uint64_t n, uint32_t block, uint8_t *b)
{
	while (n) {
		uint32_t bits[A8_BLOCKS] = { 0 }, blocks = n / block < A8_BLOCKS ? (uint32_t)(n / block) : A8_BLOCKS;
		float d[A8_BLOCKS], id[A8_BLOCKS];

		for (uint32_t k = 0; k < blocks; k++)
			for (uint32_t i = 0; i < block; i += NPU_Q_BLOCK) {
				uint32_t part = block_amax(x + k * block + i);

				bits[k] = part > bits[k] ? part : bits[k];
			}
		EACH(k, A8_BLOCKS) {
			float amax = npu_f32_from_bits(bits[k]);

			id[k] = 127.0f / amax;
			d[k] = amax / 127.0f;
		}
		for (uint32_t k = 0; k < blocks; k++, x += block, b += 4 + block)
			put_a8(x, block, bits[k], d[k], id[k], b);
		n -= (uint64_t)blocks * block;
	}
}

/*
 * Q4_0: the element of largest magnitude (the first of equals) becomes -8.
 *     d = max / -8;  id = -8 / max;  q[i] = clamp(rne(x[i] * id) + 8, 0, 15)
 * Exceptions as for Q8_0: NaN or infinity: d = NaN; amax < 2^-120: d = +0; then all q = 8.
 */
static void narrow_q4_0(const float *x, uint64_t n, uint8_t *b)
{
	for (; n; n -= NPU_Q_BLOCK, b += 18, x += NPU_Q_BLOCK) {
		uint32_t bits = block_amax(x);
		float amax = npu_f32_from_bits(bits), max, id;
		uint8_t q[NPU_Q_BLOCK];

		if (bits >= 0x7f800000u || amax < NPU_QUANT_MIN) {
			store16(b, bits >= 0x7f800000u ? NPU_F16_NAN_BITS : 0);
			memset(b + 2, 0x88, 16);
			continue;
		}
		max = x[first_of_magnitude(x, bits)];
		id = -8.0f / max;
		store16(b, npu_f32_to_f16(max / -8.0f));
		EACH(i, NPU_Q_BLOCK) {
			float v = __builtin_rintf(x[i] * id) + 8.0f;

			v = v < 0.0f ? 0.0f : v;
			v = v > 15.0f ? 15.0f : v;
			q[i] = (uint8_t)(int32_t)v;
		}
		EACH(i, 16)
			b[2 + i] = (uint8_t)(q[i] | q[i + 16] << 4);
	}
}

static void k_narrow(unsigned int type, const float *x, uint64_t n, void *dst)
{
	switch (type) {
	case NPU_TYPE_F32: {
		float *y = dst;

		EACH(i, n)
			y[i] = npu_canon(x[i]);
		break;
	}
	case NPU_TYPE_F16: {
		uint16_t *h = dst;

		EACH(i, n)
			h[i] = npu_f32_to_f16(x[i]);
		break;
	}
	case NPU_TYPE_BF16: {
		uint16_t *h = dst;

		EACH(i, n)
			h[i] = npu_f32_to_bf16(x[i]);
		break;
	}
	case NPU_TYPE_Q8_0:
		narrow_q8_0(x, n, dst);
		break;
	case NPU_TYPE_Q4_0:
		narrow_q4_0(x, n, dst);
		break;
	case NPU_TYPE_A8:
		narrow_a8(x, n, NPU_Q_BLOCK, dst);
		break;
	case NPU_TYPE_A8_K:
		narrow_a8(x, n, NPU_K_BLOCK, dst);
		break;
	}
}

/* ---- Element by element --------------------------------------------------------------- */

#define NPU_SQRT1_2		0x1.6a09e6p-1f	/* sqrt(1/2) */
#define NPU_GELU_K0		0x1.988454p-1f	/* sqrt(2 / pi) */
#define NPU_GELU_K1		0x1.2444f2p-5f	/* 0.044715 sqrt(2 / pi) */

/* x/2 (1 + erf(x / sqrt 2)); gelu(-inf) = -0. */
static inline float gelu(float x)
{
	float y = (0.5f * x) * (1.0f + npu_erf(x * NPU_SQRT1_2));

	return npu_f32_bits(x) == 0xff800000u ? -0.0f : y;
}

/* x/2 (1 + tanh(x (K0 + K1 x^2))); -inf gives -0. */
static inline float gelu_tanh(float x)
{
	float y = (0.5f * x) * (1.0f + npu_tanh(x * npu_fma(x * x, NPU_GELU_K1, NPU_GELU_K0)));

	return npu_f32_bits(x) == 0xff800000u ? -0.0f : y;
}

static inline float relu(float x)
{
	return npu_maximum(x, 0.0f);
}

static inline float neg(float x)
{
	return npu_f32_from_bits(npu_f32_bits(x) ^ 0x80000000u);
}

#define UNARY(kind, expr)				\
	case kind:					\
		EACH(i, n) {				\
			float v = x[i];			\
							\
			y[i] = npu_canon(expr);		\
		}					\
		break

static void k_unary(unsigned int kind, float p0, float p1, const float *x, uint64_t n, float *y)
{
	switch (kind) {
	UNARY(NPU_UNARY_SCALE, npu_fma(v, p0, p1));
	UNARY(NPU_UNARY_CLAMP, npu_minimum(npu_maximum(v, p0), p1));
	UNARY(NPU_UNARY_NEG, neg(v));
	UNARY(NPU_UNARY_ABS, npu_abs(v));
	UNARY(NPU_UNARY_SQUARE, v * v);
	UNARY(NPU_UNARY_SQRT, npu_sqrt(v));
	UNARY(NPU_UNARY_RSQRT, npu_rsqrt(v));
	UNARY(NPU_UNARY_RECIP, 1.0f / v);
	UNARY(NPU_UNARY_EXP, npu_exp(v));
	UNARY(NPU_UNARY_LOG, npu_log(v));
	UNARY(NPU_UNARY_SIN, npu_sin(v));
	UNARY(NPU_UNARY_COS, npu_cos(v));
	UNARY(NPU_UNARY_TANH, npu_tanh(v));
	UNARY(NPU_UNARY_ERF, npu_erf(v));
	UNARY(NPU_UNARY_SIGMOID, npu_sigmoid(v));
	UNARY(NPU_UNARY_SILU, npu_silu(v));
	UNARY(NPU_UNARY_GELU, gelu(v));
	UNARY(NPU_UNARY_GELU_TANH, gelu_tanh(v));
	UNARY(NPU_UNARY_RELU, relu(v));
	UNARY(NPU_UNARY_LEAKY_RELU, v < 0.0f ? p0 * v : v);
	UNARY(NPU_UNARY_SOFTCAP, p0 * npu_tanh(v / p0));
	}
}

#define BINARY(kind, expr)				\
	case kind:					\
		EACH(i, n) {				\
			float u = a[i], v = b[i];	\
							\
			y[i] = npu_canon(expr);		\
		}					\
		break

static void k_binary(unsigned int kind, const float *a, const float *b, uint64_t n, float *y)
{
	switch (kind) {
	BINARY(NPU_BINARY_ADD, u + v);
	BINARY(NPU_BINARY_SUB, u - v);
	BINARY(NPU_BINARY_MUL, u * v);
	BINARY(NPU_BINARY_DIV, u / v);
	BINARY(NPU_BINARY_MIN, npu_minimum(u, v));
	BINARY(NPU_BINARY_MAX, npu_maximum(u, v));
	}
}

static void k_glu(unsigned int kind, const float *a, const float *b, uint64_t n, float *y)
{
	switch (kind) {
	BINARY(NPU_GLU_SWIGLU, npu_silu(u) * v);
	BINARY(NPU_GLU_GEGLU, gelu(u) * v);
	BINARY(NPU_GLU_GEGLU_TANH, gelu_tanh(u) * v);
	BINARY(NPU_GLU_REGLU, relu(u) * v);
	BINARY(NPU_GLU_SIGLU, npu_sigmoid(u) * v);
	}
}

/* ---- Reductions ------------------------------------------------------------------------- */

static void k_sum(const float *x, uint64_t n, float *part)
{
	v16 acc = v16_load(part);
	uint64_t i = 0;

	for (; i + 16 <= n; i += 16)
		acc = v16_add(acc, v16_load(x + i));
	v16_store(part, acc);
	for (; i < n; i++)
		part[i % 16] = part[i % 16] + x[i];
}

static void k_sumsq(const float *x, uint64_t n, float *part)
{
	v16 acc = v16_load(part);
	uint64_t i = 0;

	for (; i + 16 <= n; i += 16) {
		v16 v = v16_load(x + i);

		acc = v16_fma(v, v, acc);
	}
	v16_store(part, acc);
	for (; i < n; i++)
		part[i % 16] = npu_fma(x[i], x[i], part[i % 16]);
}

static void k_sumdev(const float *x, float mean, uint64_t n, float *part)
{
	v16 acc = v16_load(part), m = v16_set(mean);
	uint64_t i = 0;

	for (; i + 16 <= n; i += 16) {
		v16 v = v16_sub(v16_load(x + i), m);

		acc = v16_fma(v, v, acc);
	}
	v16_store(part, acc);
	for (; i < n; i++)
		part[i % 16] = npu_fma(x[i] - mean, x[i] - mean, part[i % 16]);
}

/*
 * Extremes of integer keys, sixteen lanes at a time: keys first, then the
 * comparison, because compilers do not recognise the two together.
 */
#define KEY_EXTREME(name, key_of, start, op)					\
static int32_t name(const float *x, uint64_t n)					\
{										\
	int32_t best[16], key[16], r = start;					\
	uint64_t i = 0;								\
										\
	EACH(l, 16)								\
		best[l] = start;						\
	for (; i + 16 <= n; i += 16) {						\
		EACH(l, 16)							\
			key[l] = key_of(x[i + l]);				\
		EACH(l, 16)							\
			best[l] = key[l] op best[l] ? key[l] : best[l];		\
	}									\
	for (; i < n; i++) {							\
		int32_t k = key_of(x[i]);					\
										\
		r = k op r ? k : r;						\
	}									\
	for (unsigned int l = 0; l < 16; l++)					\
		r = best[l] op r ? best[l] : r;					\
	return r;								\
}

KEY_EXTREME(k_max_key, npu_key_max, INT32_MIN, >)
KEY_EXTREME(k_min_key, npu_key_min, INT32_MAX, <)
KEY_EXTREME(k_max_rank, npu_rank, INT32_MIN, >)

#define SEARCH 128u	/* elements whose comparisons are gathered before one test */

static uint64_t k_first_above(const float *x, uint64_t n, int32_t rank)
{
	uint64_t i = 0;

	for (; i + SEARCH <= n; i += SEARCH) {
		int32_t hit[16] = { 0 }, any = 0;

		for (unsigned int j = 0; j < SEARCH; j += 16)
			EACH(l, 16)
				hit[l] |= -(int32_t)(npu_rank(x[i + j + l]) > rank);
		for (unsigned int l = 0; l < 16; l++)
			any |= hit[l];
		if (any)
			break;
	}
	while (i < n && npu_rank(x[i]) <= rank)
		i++;
	return i;
}

/* ---- Norms and softmax --------------------------------------------------------------------- */

static void k_normalise(const float *x, float mean, float r, const float *w, const float *b, uint64_t n, float *y)
{
	if (w && b) {
		EACH(i, n)
			y[i] = npu_canon(npu_fma((x[i] - mean) * r, w[i], b[i]));
	} else if (w) {
		EACH(i, n)
			y[i] = npu_canon((x[i] - mean) * r * w[i]);
	} else if (b) {
		EACH(i, n)
			y[i] = npu_canon((x[i] - mean) * r + b[i]);
	} else {
		EACH(i, n)
			y[i] = npu_canon((x[i] - mean) * r);
	}
}

static void k_scale_mask(const float *x, float scale, const float *mask, uint64_t n, float *y)
{
	if (mask) {
		EACH(i, n)
			y[i] = npu_fma(x[i], scale, mask[i]);
	} else {
		EACH(i, n)
			y[i] = x[i] * scale;
	}
}

static void k_exp_sub(const float *x, float max, uint64_t n, float *y)
{
	EACH(i, n)
		y[i] = npu_exp(x[i] - max);
}

static void k_divide(const float *x, float s, uint64_t n, float *y)
{
	EACH(i, n)
		y[i] = npu_canon(x[i] / s);
}

/* ---- Rotary position embedding ------------------------------------------------------------- */

#define NPU_TURN_TO_RAD	0x1.921fb6p-30f		/* 2 pi / 2^32 */

/*
 * Sine and cosine of @phase * 2^-64 turns: the nearest quarter turn is taken
 * off exactly; what is left, cut to 2^-32 turns, is an angle in [-pi/4, pi/4].
 */
static inline void sincos_turn(uint64_t phase, float *sinx, float *cosx)
{
	uint32_t top = (uint32_t)(phase >> 32);
	uint32_t q = (top + 0x20000000u) >> 30;
	int32_t rest = (int32_t)(top - (q << 30));
	float s, c, st, ct;

	npu_sincos2((float)rest * NPU_TURN_TO_RAD, 0.0f, &s, &c);
	st = q & 1 ? c : s;
	ct = q & 1 ? s : c;
	*sinx = npu_f32_from_bits(npu_f32_bits(st) ^ ((q & 2) << 30));
	*cosx = npu_f32_from_bits(npu_f32_bits(ct) ^ (((q + 1) & 2) << 30));
}

static void k_rope_table(const uint64_t *step, uint64_t position, float mscale, uint64_t n, float *c, float *s)
{
	EACH(i, n) {
		float sinx, cosx;

		sincos_turn(position * step[i], &sinx, &cosx);
		c[i] = cosx * mscale;
		s[i] = sinx * mscale;
	}
}

static void k_rope_halves(const float *x0, const float *x1, const float *c, const float *s, uint64_t n, float *y0,
			  float *y1)
{
	EACH(i, n) {
		float u = x0[i], v = x1[i];

		y0[i] = npu_canon(npu_fma(u, c[i], -(v * s[i])));
		y1[i] = npu_canon(npu_fma(u, s[i], v * c[i]));
	}
}

static void k_rope_pairs(const float *x, const float *c, const float *s, uint64_t n, float *y)
{
	EACH(i, n) {
		float u = x[2 * i], v = x[2 * i + 1];

		y[2 * i] = npu_canon(npu_fma(u, c[i], -(v * s[i])));
		y[2 * i + 1] = npu_canon(npu_fma(u, s[i], v * c[i]));
	}
}

const struct npu_row_kernels NPU_ROW_TABLE = {
	.widen = k_widen,
	.narrow = k_narrow,
	.unary = k_unary,
	.binary = k_binary,
	.glu = k_glu,
	.sum = k_sum,
	.sumsq = k_sumsq,
	.sumdev = k_sumdev,
	.max_key = k_max_key,
	.min_key = k_min_key,
	.max_rank = k_max_rank,
	.first_above = k_first_above,
	.normalise = k_normalise,
	.scale_mask = k_scale_mask,
	.exp_sub = k_exp_sub,
	.divide = k_divide,
	.rope_table = k_rope_table,
	.rope_halves = k_rope_halves,
	.rope_pairs = k_rope_pairs,
};
