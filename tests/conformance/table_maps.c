/* SPDX-License-Identifier: MIT */
/* UNARY, BINARY, GLU, COPY, FILL: one result element per source element. */
#include <math.h>
#include <string.h>

#include "conf_impl.h"

static const uint32_t shapes[][NPU_DIMS] = {
	{ 1, 1, 1, 1 }, { 7, 3, 2, 1 }, { 33, 5, 2, 3 }, { 2500, 2, 1, 1 }, { 0, 4, 1, 1 },
	{ 17001, 3, 1, 1 }, { 5, 4100, 2, 1 },
};

#define NSHAPES (sizeof(shapes) / sizeof(shapes[0]))

/* Shapes that are worth several threads get few variants. */
static bool is_large(const uint32_t *ne)
{
	return (uint64_t)ne[0] * ne[1] * ne[2] * ne[3] > 16384;
}

struct result {
	double want, tol;
};

/* Relative error, and absolute where the function's own value is small. */
static struct result result(double want, double rel_eps, double abs_eps)
{
	return (struct result){ want, fabs(want) * rel_eps * EPS32 + abs_eps * EPS32 + 0x1p-149 };
}

static struct result exact(double want)
{
	return (struct result){ want, 0.0 };
}

static double pos_max(double a, double b)
{
	return isnan(a) || isnan(b) ? NAN : fmax(a, b);
}

static double pos_min(double a, double b)
{
	return isnan(a) || isnan(b) ? NAN : fmin(a, b);
}

static double gelu(double x)
{
	return x == -INFINITY ? 0.0 : 0.5 * x * erfc(-x * M_SQRT1_2);
}

static double gelu_tanh(double x)
{
	double u = sqrt(2.0 / M_PI) * (x + 0.044715 * x * x * x);

	return x == -INFINITY ? 0.0 : x / (1.0 + exp(-2.0 * u));
}

static double silu(double x)
{
	return x == -INFINITY ? 0.0 : x / (1.0 + exp(-x));
}

/* ---- UNARY --------------------------------------------------------------------------- */

static const struct {
	const char *name;
	float p0, p1;
} unary[NPU_UNARY_COUNT] = {
	[NPU_UNARY_SCALE] = { "scale", 1.7f, -0.3f }, [NPU_UNARY_CLAMP] = { "clamp", -0.5f, 0.75f },
	[NPU_UNARY_NEG] = { "neg", 0, 0 }, [NPU_UNARY_ABS] = { "abs", 0, 0 },
	[NPU_UNARY_SQUARE] = { "square", 0, 0 }, [NPU_UNARY_SQRT] = { "sqrt", 0, 0 },
	[NPU_UNARY_RSQRT] = { "rsqrt", 0, 0 }, [NPU_UNARY_RECIP] = { "recip", 0, 0 },
	[NPU_UNARY_EXP] = { "exp", 0, 0 }, [NPU_UNARY_LOG] = { "log", 0, 0 }, [NPU_UNARY_SIN] = { "sin", 0, 0 },
	[NPU_UNARY_COS] = { "cos", 0, 0 }, [NPU_UNARY_TANH] = { "tanh", 0, 0 }, [NPU_UNARY_ERF] = { "erf", 0, 0 },
	[NPU_UNARY_SIGMOID] = { "sigmoid", 0, 0 }, [NPU_UNARY_SILU] = { "silu", 0, 0 },
	[NPU_UNARY_GELU] = { "gelu", 0, 0 }, [NPU_UNARY_GELU_TANH] = { "gelu_tanh", 0, 0 },
	[NPU_UNARY_RELU] = { "relu", 0, 0 }, [NPU_UNARY_LEAKY_RELU] = { "leaky_relu", 0.01f, 0 },
	[NPU_UNARY_SOFTCAP] = { "softcap", 30.0f, 0 },
};

static struct result expect_unary(unsigned int kind, double p0, double p1, double x)
{
	switch (kind) {
	case NPU_UNARY_SCALE:
		return result(x * p0 + p1, 0, 0);
	case NPU_UNARY_CLAMP:
		return exact(pos_min(pos_max(x, p0), p1));
	case NPU_UNARY_NEG:
		return exact(-x);
	case NPU_UNARY_ABS:
		return exact(fabs(x));
	case NPU_UNARY_SQUARE:
		return result(x * x, 0, 0);
	case NPU_UNARY_SQRT:
		return result(sqrt(x), 0, 0);
	case NPU_UNARY_RSQRT:	/* of -0: -infinity */
		return result(1.0 / sqrt(x), 1.5, 0);
	case NPU_UNARY_RECIP:
		return result(1.0 / x, 0, 0);
	case NPU_UNARY_EXP:
		return result(exp(x), 2, 0);
	case NPU_UNARY_LOG:
		return result(log(x), 3, 0);
	case NPU_UNARY_SIN:	/* no phase in F32 beyond 2^21 */
		return fabs(x) > 0x1p21 ? exact(NAN) : result(sin(x), 4, 0);
	case NPU_UNARY_COS:
		return fabs(x) > 0x1p21 ? exact(NAN) : result(cos(x), 4, 0);
	case NPU_UNARY_TANH:
		return result(tanh(x), 3, 0);
	case NPU_UNARY_ERF:
		return result(erf(x), 3, 0);
	case NPU_UNARY_SIGMOID:
		return result(1.0 / (1.0 + exp(-x)), 5, 0);
	case NPU_UNARY_SILU:
		return result(silu(x), 6, 0);
	case NPU_UNARY_GELU:	/* 1 + erf cancels for negative x */
		return result(gelu(x), 6, isinf(x) ? 0 : 2 * fmin(fabs(x), 8.0));
	case NPU_UNARY_GELU_TANH:
		return result(gelu_tanh(x), 6, isinf(x) ? 0 : 8 * fmin(fabs(x), 8.0));
	case NPU_UNARY_RELU:
		return exact(pos_max(x, 0.0));
	case NPU_UNARY_LEAKY_RELU:
		return result(x < 0 ? p0 * x : x, 0, 0);
	default:
		return result(p0 * tanh(x / p0), 5, 0);
	}
}

static void make_unary(struct conf_instance *ci, const struct conf_case *c)
{
	struct npu_cmd_map *p = (struct npu_cmd_map *)ci->packet;

	ci->len = sizeof(*p);
	p->kind = c->kind;
	p->p0 = unary[c->kind].p0;
	p->p1 = unary[c->kind].p1;
	conf_tensor(ci, &p->dst, c->dst_type, c->ne, c->pad, true);
	conf_tensor(ci, &p->src, c->src_type, c->ne, c->pad == STRIDE_TRANSPOSED ? STRIDE_DENSE : c->pad, false);
	if (ci->failed)
		return;
	conf_fill_tensor(ci, &p->src, c->fill);
	EACH_ROW(c->ne, i1, i2, i3) {
		for (uint64_t i = 0; i < c->ne[0]; i++) {
			struct result r = expect_unary(c->kind, (double)p->p0, (double)p->p1,
						       conf_get(ci, &p->src, i, i1, i2, i3));

			conf_expect(ci, &p->dst, i, i1, i2, i3, r.want, r.tol);
		}
	}
}

/* Type, stride and contents of variant @v. */
static void variant(struct conf_case *c, unsigned int v)
{
	static const enum conf_fill fills[] = { FILL_NORMAL, FILL_SPECIAL, FILL_LARGE, FILL_TINY };

	c->src_type = v & 1 ? NPU_TYPE_F16 : NPU_TYPE_F32;
	c->src2_type = v & 2 ? NPU_TYPE_F16 : NPU_TYPE_F32;
	c->dst_type = v & 4 ? NPU_TYPE_F16 : NPU_TYPE_F32;
	c->pad = v == 3 ? STRIDE_PADDED : v == 6 ? STRIDE_TRANSPOSED : STRIDE_DENSE;
	c->fill = v < 2 ? (v ? FILL_SPECIAL : FILL_NORMAL) : fills[v % 4];
}

static void add_unary(void)
{
	for (unsigned int kind = 0; kind < NPU_UNARY_COUNT; kind++) {
		for (size_t s = 0; s < NSHAPES; s++) {
			for (unsigned int v = 0; v < (is_large(shapes[s]) ? 1u : 8u); v++) {
				struct conf_case c = { .make = make_unary, .op = NPU_OP_UNARY, .kind = kind };

				variant(&c, v);
				memcpy(c.ne, shapes[s], sizeof(c.ne));
				conf_add(&c, "unary-%s/%s-%s/%ux%ux%ux%u/v%u/%s", unary[kind].name,
					 conf_type_name(c.src_type), conf_type_name(c.dst_type), c.ne[0], c.ne[1],
					 c.ne[2], c.ne[3], v, conf_fill_name(c.fill));
			}
		}
	}
}

/* ---- BINARY, GLU ---------------------------------------------------------------------------- */

static struct result expect_binary(unsigned int kind, double a, double b)
{
	switch (kind) {
	case NPU_BINARY_ADD:
		return result(a + b, 0, 0);
	case NPU_BINARY_SUB:
		return result(a - b, 0, 0);
	case NPU_BINARY_MUL:
		return result(a * b, 0, 0);
	case NPU_BINARY_DIV:
		return result(a / b, 0, 0);
	case NPU_BINARY_MIN:
		return exact(pos_min(a, b));
	default:
		return exact(pos_max(a, b));
	}
}

static struct result expect_glu(unsigned int kind, double a, double b)
{
	/* What the first factor is off by, the second multiplies. */
	double soft = isinf(a) || isinf(b) ? 0 : fmin(fabs(a), 8.0) * fabs(b);

	switch (kind) {
	case NPU_GLU_SWIGLU:
		return result(silu(a) * b, 7, 0);
	case NPU_GLU_GEGLU:
		return result(gelu(a) * b, 7, 2 * soft);
	case NPU_GLU_GEGLU_TANH:
		return result(gelu_tanh(a) * b, 7, 8 * soft);
	case NPU_GLU_REGLU:
		return result(pos_max(a, 0.0) * b, 0, 0);
	default:
		return result(b / (1.0 + exp(-a)), 7, 0);
	}
}

/* a[0]: bit i: dimension i of the second operand is 1; bit 4 + i: of the first. */
static void make_binary(struct conf_instance *ci, const struct conf_case *c)
{
	struct npu_cmd_binary *p = (struct npu_cmd_binary *)ci->packet;
	uint32_t ne[2][NPU_DIMS];

	ci->len = sizeof(*p);
	p->kind = c->kind;
	for (unsigned int d = 0; d < NPU_DIMS; d++) {
		ne[0][d] = c->a[0] >> (4 + d) & 1 ? 1 : c->ne[d];
		ne[1][d] = c->a[0] >> d & 1 ? 1 : c->ne[d];
	}
	conf_tensor(ci, &p->dst, c->dst_type, c->ne, STRIDE_DENSE, true);
	conf_tensor(ci, &p->a, c->src_type, ne[0], c->pad, false);
	conf_tensor(ci, &p->b, c->src2_type, ne[1], STRIDE_DENSE, false);
	if (ci->failed)
		return;
	conf_fill_tensor(ci, &p->a, c->fill);
	conf_fill_tensor(ci, &p->b, c->fill == FILL_LARGE ? FILL_NORMAL : c->fill);
	EACH_ROW(c->ne, i1, i2, i3) {
		for (uint64_t i0 = 0; i0 < c->ne[0]; i0++) {
			double x[2];
			struct result r;

			for (unsigned int s = 0; s < 2; s++)
				x[s] = conf_get(ci, s ? &p->b : &p->a, i0 % ne[s][0], i1 % ne[s][1], i2 % ne[s][2],
						i3 % ne[s][3]);
			r = c->op == NPU_OP_GLU ? expect_glu(c->kind, x[0], x[1]) : expect_binary(c->kind, x[0], x[1]);
			conf_expect(ci, &p->dst, i0, i1, i2, i3, r.want, r.tol);
		}
	}
}

static void add_binary(void)
{
	static const char *const names[] = { "add", "sub", "mul", "div", "min", "max" };
	static const char *const glu_names[] = { "swiglu", "geglu", "geglu_tanh", "reglu", "siglu" };
	static const uint32_t broadcasts[] = { 0x00, 0x0e, 0x0f, 0x01, 0x20, 0x02, 0xa5 };

	for (unsigned int glu = 0; glu < 2; glu++) {
		for (unsigned int kind = 0; kind < (glu ? (unsigned int)NPU_GLU_COUNT : NPU_BINARY_COUNT); kind++) {
			for (size_t s = 0; s < NSHAPES; s++) {
				for (unsigned int v = 0; v < (is_large(shapes[s]) ? 2u : 8u); v++) {
					struct conf_case c = { .make = make_binary, .kind = kind };

					c.op = glu ? NPU_OP_GLU : NPU_OP_BINARY;
					variant(&c, v);
					if (!glu && c.fill != FILL_TINY)
						c.a[0] = broadcasts[(v + s) % 7];
					if (!shapes[s][0])
						c.a[0] &= ~0x11u;	/* 1 is not a broadcast of 0 elements */
					memcpy(c.ne, shapes[s], sizeof(c.ne));
					conf_add(&c, "%s-%s/%s,%s-%s/%ux%ux%ux%u/v%u/broadcast%02x/%s",
						 glu ? "glu" : "binary", glu ? glu_names[kind] : names[kind],
						 conf_type_name(c.src_type), conf_type_name(c.src2_type),
						 conf_type_name(c.dst_type), c.ne[0], c.ne[1], c.ne[2], c.ne[3], v,
						 c.a[0], conf_fill_name(c.fill));
				}
			}
		}
	}
}

/* ---- COPY, FILL ------------------------------------------------------------------------------ */

static bool is_int(unsigned int type)
{
	return type >= NPU_TYPE_I8 && type <= NPU_TYPE_I64;
}

static double to_int(unsigned int type, double v)
{
	double top = ldexp(1.0, (int)(8 * conf_block_bytes(type)) - 1);

	if (isnan(v))
		return 0.0;
	/* 2^63 - 1 is no double; conf_decode() rounds it to 2^63. */
	return fmin(fmax(trunc(v), -top), type == NPU_TYPE_I64 ? top : top - 1.0);
}

/* Error of storing @v in a block type whose largest magnitude is @amax: half a step, and the F16 scale. */
static double block_error(unsigned int type, double amax, double v)
{
	double step = amax / (type == NPU_TYPE_Q8_0 ? 127.0 : 8.0);

	/* Q4_0: codes end at +7, one step short of -max. */
	return (type == NPU_TYPE_Q4_0 ? 1.001 : 0.501) * step + fabs(v) * 0x1p-11 + 0x1p-24 * 127;
}

static void expect_block(struct conf_instance *ci, const struct npu_cmd_map *p, uint64_t i0, uint64_t i1, uint64_t i2,
			 uint64_t i3)
{
	double amax = 0.0;
	bool finite = true;

	for (uint64_t i = i0; i < i0 + 32; i++) {
		double v = conf_get(ci, &p->src, i, i1, i2, i3);

		finite &= isfinite(v) != 0;
		amax = fmax(amax, fabs(v));
	}
	for (uint64_t i = i0; i < i0 + 32; i++) {
		double v = conf_get(ci, &p->src, i, i1, i2, i3);

		conf_expect(ci, &p->dst, i, i1, i2, i3, finite ? v : NAN, block_error(p->dst.type, amax, v));
	}
}

static void make_copy(struct conf_instance *ci, const struct conf_case *c)
{
	struct npu_cmd_map *p = (struct npu_cmd_map *)ci->packet;
	bool src_blocks = conf_block_len(c->src_type) > 1, dst_blocks = conf_block_len(c->dst_type) > 1;
	bool act = c->dst_type == NPU_TYPE_A8 || c->dst_type == NPU_TYPE_A8_K;

	ci->len = sizeof(*p);
	conf_tensor(ci, &p->dst, c->dst_type, c->ne, dst_blocks && c->pad == STRIDE_TRANSPOSED ? STRIDE_PADDED : c->pad,
		    true);
	conf_tensor(ci, &p->src, c->src_type, c->ne, src_blocks || c->pad == STRIDE_TRANSPOSED ? STRIDE_DENSE : c->pad,
		    false);
	if (ci->failed)
		return;
	conf_fill_tensor(ci, &p->src, c->fill);
	EACH_ROW(c->ne, i1, i2, i3) {
		if (dst_blocks && !src_blocks && !act) {
			for (uint64_t i = 0; i < c->ne[0]; i += 32)
				expect_block(ci, p, i, i1, i2, i3);
			continue;
		}
		for (uint64_t i = 0; i < c->ne[0]; i++) {
			double v = conf_get(ci, &p->src, i, i1, i2, i3);
			/* Through F32: its rounding comes before the stored type's. */
			double tol = c->src_type == c->dst_type || is_int(c->dst_type) ? 0.0 : 4 * EPS32 * fabs(v);

			if (c->src_type != c->dst_type && is_int(c->dst_type))
				v = to_int(c->dst_type, v);
			conf_expect(ci, &p->dst, i, i1, i2, i3, v, tol);
		}
	}
}

static void add_copy(void)
{
	static const uint8_t types[] = {
		NPU_TYPE_F32, NPU_TYPE_F16, NPU_TYPE_BF16, NPU_TYPE_I8, NPU_TYPE_I16, NPU_TYPE_I32, NPU_TYPE_I64,
		NPU_TYPE_Q8_0, NPU_TYPE_Q4_0, NPU_TYPE_Q4_K, NPU_TYPE_Q6_K,
	};
	static const uint32_t plain[][NPU_DIMS] = {
		{ 1, 1, 1, 1 }, { 7, 3, 2, 1 }, { 65, 9, 2, 2 }, { 3000, 2, 1, 1 }, { 0, 2, 1, 1 },
		{ 20000, 2, 1, 1 }, { 130, 150, 1, 1 },
	};
	static const uint32_t blocks[][NPU_DIMS] = {
		{ 256, 1, 1, 1 }, { 512, 3, 2, 1 }, { 768, 1, 2, 2 }, { 5120, 2, 1, 1 }, { 0, 2, 1, 1 },
		{ 20480, 1, 1, 1 }, { 256, 80, 1, 1 },
	};
	static const enum conf_fill fills[] = { FILL_NORMAL, FILL_SPECIAL, FILL_LARGE, FILL_TINY };

	for (size_t i = 0; i < sizeof(types) * sizeof(types); i++) {
		unsigned int from = types[i / sizeof(types)], to = types[i % sizeof(types)];
		bool from_block = conf_block_len(from) > 1, to_block = conf_block_len(to) > 1;

		if (from != to && ((from_block && (to_block || is_int(to))) || (to_block && is_int(from)) ||
				   to == NPU_TYPE_Q4_K || to == NPU_TYPE_Q6_K))
			continue;
		for (unsigned int s = 0; s < 7; s++) {
			for (unsigned int v = s == 5 ? 2 : 0; v < 4; v++) {
				struct conf_case c = {
					.make = make_copy, .op = NPU_OP_COPY, .src_type = (uint8_t)from,
					.dst_type = (uint8_t)to, .fill = fills[v],
					.pad = v == 2 ? STRIDE_PADDED : v == 3 ? STRIDE_TRANSPOSED : STRIDE_DENSE,
				};

				if (from == to && !is_int(from) && v == 1)
					c.fill = FILL_NORMAL;	/* bytes, not canonical NaNs */
				if (to_block && !from_block && v == 2)
					c.fill = FILL_POSITIVE;	/* F16 scales do not reach F32's range */
				memcpy(c.ne, from_block || to_block ? blocks[s] : plain[s], sizeof(c.ne));
				if (to_block && c.pad == STRIDE_TRANSPOSED)
					c.pad = STRIDE_PADDED;
				conf_add(&c, "copy/%s-%s/%ux%ux%ux%u/v%u/%s", conf_type_name(from), conf_type_name(to),
					 c.ne[0], c.ne[1], c.ne[2], c.ne[3], v, conf_fill_name(c.fill));
			}
		}
	}
}

static void make_fill(struct conf_instance *ci, const struct conf_case *c)
{
	struct npu_cmd_map *p = (struct npu_cmd_map *)ci->packet;
	double v = (double)c->f[0];

	ci->len = sizeof(*p);
	p->p0 = c->f[0];
	conf_tensor(ci, &p->dst, c->dst_type, c->ne, c->pad, true);
	if (ci->failed)
		return;
	EACH_ROW(c->ne, i1, i2, i3)
		for (uint64_t i = 0; i < c->ne[0]; i++)
			conf_expect(ci, &p->dst, i, i1, i2, i3, is_int(c->dst_type) ? to_int(c->dst_type, v) : v, 0.0);
}

static void add_fill(void)
{
	static const uint8_t types[] = {
		NPU_TYPE_F32, NPU_TYPE_F16, NPU_TYPE_BF16, NPU_TYPE_I8, NPU_TYPE_I16, NPU_TYPE_I32, NPU_TYPE_I64,
	};
	static const float values[] = { 0.0f, -1.75f, 300.7f, 3e38f, NAN, -INFINITY };

	for (size_t t = 0; t < sizeof(types); t++) {
		for (size_t s = 0; s < NSHAPES; s++) {
			for (unsigned int v = 0; v < 6; v++) {
				struct conf_case c = {
					.make = make_fill, .op = NPU_OP_FILL, .dst_type = types[t], .f = { values[v] },
					.pad = v % 3,
				};

				memcpy(c.ne, shapes[s], sizeof(c.ne));
				conf_add(&c, "fill/%s/%ux%ux%ux%u/%g", conf_type_name(types[t]), c.ne[0], c.ne[1], c.ne[2],
					 c.ne[3], (double)values[v]);
			}
		}
	}
}

/* Quantised activations: gated units, copies. */
static void add_activations(void)
{
	static const uint8_t types[] = { NPU_TYPE_A8, NPU_TYPE_A8_K };
	static const uint32_t ne[][NPU_DIMS] = {
		{ 256, 1, 1, 1 }, { 768, 3, 2, 1 }, { 1280, 2, 1, 2 }, { 20480, 1, 1, 1 }, { 256, 80, 1, 1 }, { 0, 2, 1, 1 },
	};
	static const enum conf_fill fills[] = { FILL_NORMAL, FILL_SPECIAL, FILL_TINY, FILL_LARGE };

	for (size_t t = 0; t < sizeof(types); t++)
		for (size_t s = 0; s < sizeof(ne) / sizeof(ne[0]); s++)
			for (unsigned int v = 0; v < 4; v++) {
				struct conf_case c = {
					.make = make_copy, .op = NPU_OP_COPY, .dst_type = types[t], .fill = fills[v],
					.src_type = v == 1 ? NPU_TYPE_F16 : v == 2 ? NPU_TYPE_BF16 : NPU_TYPE_F32,
					.pad = v % 2 ? STRIDE_PADDED : STRIDE_DENSE,
				};

				if (v == 3)
					c.src_type = types[t];
				memcpy(c.ne, ne[s], sizeof(c.ne));
				conf_add(&c, "copy/%s-%s/%ux%ux%ux%u/%s", conf_type_name(c.src_type),
					 conf_type_name(c.dst_type), c.ne[0], c.ne[1], c.ne[2], c.ne[3],
					 conf_fill_name(c.fill));
				c.make = make_binary;
				c.op = NPU_OP_GLU;
				c.kind = v % NPU_GLU_COUNT;
				c.src_type = v == 1 ? NPU_TYPE_F16 : NPU_TYPE_F32;
				c.src2_type = NPU_TYPE_F32;
				conf_add(&c, "glu/%u/%s,f32-%s/%ux%ux%ux%u/%s", c.kind, conf_type_name(c.src_type),
					 conf_type_name(c.dst_type), c.ne[0], c.ne[1], c.ne[2], c.ne[3],
					 conf_fill_name(c.fill));
			}
}

void conf_add_maps(void)
{
	add_unary();
	add_binary();
	add_copy();
	add_fill();
	add_activations();
}
