/* SPDX-License-Identifier: MIT */
/* RMS_NORM, LAYER_NORM, SOFTMAX, REDUCE, ARGMAX, TOPK, ROPE: operations along rows. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "conf_impl.h"

static const uint32_t shapes[][NPU_DIMS] = {
	{ 1, 1, 1, 1 }, { 7, 3, 1, 1 }, { 16, 5, 2, 1 }, { 100, 3, 2, 3 }, { 1024, 2, 1, 1 }, { 1030, 2, 1, 2 },
	{ 5000, 2, 1, 1 }, { 0, 4, 1, 1 }, { 8, 0, 1, 1 },
	{ 9000, 5, 1, 1 }, { 40, 900, 1, 1 },
};

#define NSHAPES (sizeof(shapes) / sizeof(shapes[0]))

struct stat {
	double sum, abs_sum, sum2, max, min;
};

static struct stat statistics(struct conf_instance *ci, const struct npu_tensor *t, uint64_t i1, uint64_t i2,
			      uint64_t i3)
{
	struct stat s = { .max = -INFINITY, .min = INFINITY };

	for (uint64_t i = 0; i < t->ne[0]; i++) {
		double x = conf_get(ci, t, i, i1, i2, i3);

		s.sum += x;
		s.abs_sum += fabs(x);
		s.sum2 += x * x;
		s.max = isnan(x) || isnan(s.max) ? NAN : fmax(s.max, x);
		s.min = isnan(x) || isnan(s.min) ? NAN : fmin(s.min, x);
	}
	return s;
}

/* Relative error of a sum of n terms in 16 partials. */
static double sum_error(uint64_t n)
{
	return ((double)n / 16.0 + 8.0) * EPS32;
}

/* ---- Norms ---------------------------------------------------------------------------- */

static float *random_vector(struct conf_instance *ci, uint64_t *field, uint32_t n)
{
	float *v = (float *)conf_vector(ci, field, n * sizeof(float));

	for (uint32_t i = 0; v && i < n; i++)
		v[i] = (float)(conf_uniform(ci) * 2.0 - 0.5);
	return v;
}

static void make_norm(struct conf_instance *ci, const struct conf_case *c)
{
	struct npu_cmd_norm *p = (struct npu_cmd_norm *)ci->packet;
	bool layer = c->op == NPU_OP_LAYER_NORM;
	float *w = NULL, *b = NULL;

	ci->len = sizeof(*p);
	p->eps = 1e-5f;
	conf_tensor(ci, &p->dst, c->dst_type, c->ne, c->pad, true);
	conf_tensor(ci, &p->src, c->src_type, c->ne, c->pad, false);
	if (c->flags & 1)
		w = random_vector(ci, &p->weight, c->ne[0]);
	if (c->flags & 2)
		b = random_vector(ci, &p->bias, c->ne[0]);
	if (ci->failed)
		return;
	conf_fill_tensor(ci, &p->src, c->fill);
	EACH_ROW(c->ne, i1, i2, i3) {
		struct stat s = statistics(ci, &p->src, i1, i2, i3);
		double n = c->ne[0], mean = layer ? s.sum / n : 0.0, var = 0.0, r, mean_error;

		for (uint64_t i = 0; i < c->ne[0]; i++)
			var += pow(conf_get(ci, &p->src, i, i1, i2, i3) - mean, 2.0);
		var /= n;
		mean_error = layer ? s.abs_sum / n * sum_error(c->ne[0]) : 0.0;
		r = 1.0 / sqrt(var + (double)p->eps);
		if (var > 0x1p128)	/* the square overflows F32: 1 / infinity */
			r = 0.0;
		for (uint64_t i = 0; i < c->ne[0]; i++) {
			double x = conf_get(ci, &p->src, i, i1, i2, i3), wi = w ? (double)w[i] : 1.0;
			double want = (x - mean) * r * wi + (b ? (double)b[i] : 0.0);
			double tol = (fabs(x - mean) * (sum_error(c->ne[0]) + 6 * EPS32 +
					mean_error * mean_error * r * r) + mean_error + fabs(mean) * EPS32) *
				     r * fabs(wi) + 2 * EPS32 * fabs(want) + 0x1p-148;

			conf_expect(ci, &p->dst, i, i1, i2, i3, want, tol);
		}
	}
}

static void add_norms(void)
{
	for (unsigned int layer = 0; layer < 2; layer++) {
		for (size_t s = 0; s < NSHAPES; s++) {
			for (unsigned int v = 0; v < 8; v++) {
				struct conf_case c = {
					.make = make_norm, .op = layer ? NPU_OP_LAYER_NORM : NPU_OP_RMS_NORM,
					.src_type = v & 1 ? NPU_TYPE_F16 : NPU_TYPE_F32,
					.dst_type = v & 2 ? NPU_TYPE_F16 : NPU_TYPE_F32,
					.pad = v == 4 ? STRIDE_PADDED : v == 5 ? STRIDE_TRANSPOSED : STRIDE_DENSE,
					.flags = v < 2 ? 0 : layer ? 1 + v % 3 : 1,
					.fill = v == 6 ? FILL_SPECIAL : v == 7 ? FILL_LARGE : FILL_NORMAL,
				};

				if (v == 7)
					c.src_type = NPU_TYPE_F16;
				memcpy(c.ne, shapes[s], sizeof(c.ne));
				conf_add(&c, "%s/%s-%s/%ux%ux%ux%u/v%u%s%s/%s", layer ? "layer_norm" : "rms_norm",
					 conf_type_name(c.src_type), conf_type_name(c.dst_type), c.ne[0], c.ne[1],
					 c.ne[2], c.ne[3], v, c.flags & 1 ? "/weight" : "", c.flags & 2 ? "/bias" : "",
					 conf_fill_name(c.fill));
			}
		}
	}
}

/* Quantised results. */
static void add_norm_activations(void)
{
	static const uint32_t ne[][NPU_DIMS] = { { 256, 1, 1, 1 }, { 768, 3, 2, 1 }, { 5120, 2, 1, 2 }, { 256, 300, 1, 1 } };
	static const enum conf_fill fills[] = { FILL_NORMAL, FILL_SPECIAL, FILL_TINY };

	for (unsigned int i = 0; i < 4 * 3 * 4; i++) {
		bool layer = i & 1;
		struct conf_case c = {
			.make = make_norm, .op = layer ? NPU_OP_LAYER_NORM : NPU_OP_RMS_NORM,
			.dst_type = i & 2 ? NPU_TYPE_A8_K : NPU_TYPE_A8, .fill = fills[i / 4 % 3], .flags = layer ? 3 : 1,
			.src_type = i / 4 % 3 == 1 ? NPU_TYPE_F16 : NPU_TYPE_F32,
			.pad = i / 4 % 3 == 2 ? STRIDE_PADDED : STRIDE_DENSE,
		};

		memcpy(c.ne, ne[i / 12], sizeof(c.ne));
		conf_add(&c, "%s/%s-%s/%ux%ux%ux%u/%s", layer ? "layer_norm" : "rms_norm", conf_type_name(c.src_type),
			 conf_type_name(c.dst_type), c.ne[0], c.ne[1], c.ne[2], c.ne[3], conf_fill_name(c.fill));
	}
}

/* ---- SOFTMAX ---------------------------------------------------------------------------- */

static void make_softmax(struct conf_instance *ci, const struct conf_case *c)
{
	struct npu_cmd_softmax *p = (struct npu_cmd_softmax *)ci->packet;
	bool mask = c->flags & NPU_SOFTMAX_MASK;
	const uint32_t one_row[NPU_DIMS] = { c->ne[0], c->ne[1], 1, 1 };
	double *t = malloc((c->ne[0] + 1) * sizeof(*t));

	ci->len = sizeof(*p);
	p->flags = c->flags;
	p->scale = c->f[0];
	conf_tensor(ci, &p->dst, c->dst_type, c->ne, c->pad, true);
	conf_tensor(ci, &p->src, c->src_type, c->ne, c->pad, false);
	if (mask)
		conf_tensor(ci, &p->mask, c->src2_type, one_row, STRIDE_DENSE, false);
	if (ci->failed || !t) {
		ci->failed = true;
		free(t);
		return;
	}
	conf_fill_tensor(ci, &p->src, c->fill);
	if (mask) {
		conf_fill_tensor(ci, &p->mask, FILL_NORMAL);
		for (uint64_t i1 = 0; i1 < c->ne[1]; i1++)
			for (uint64_t i = 0; i < c->ne[0]; i++)
				if (i1 == 1 || i % 3 == i1 % 3)	/* row 1 is masked altogether */
					conf_encode(c->src2_type, conf_at(ci, &p->mask, i, i1, 0, 0), -INFINITY);
	}
	EACH_ROW(c->ne, i1, i2, i3) {
		double max = -INFINITY, sum = 0.0;

		for (uint64_t i = 0; i < c->ne[0]; i++) {
			t[i] = conf_get(ci, &p->src, i, i1, i2, i3) * (double)p->scale;
			if (mask)
				t[i] += conf_get(ci, &p->mask, i, i1, 0, 0);
			max = isnan(t[i]) || isnan(max) ? NAN : fmax(max, t[i]);
		}
		for (uint64_t i = 0; i < c->ne[0]; i++)
			sum += exp(t[i] - max);
		for (uint64_t i = 0; i < c->ne[0]; i++) {
			double want = max == -INFINITY ? 0.0 : exp(t[i] - max) / sum;
			/* F32 exponents of magnitude t are off by t * EPS32, so the result relatively by that. */
			double rel = sum_error(c->ne[0]) + (isinf(t[i]) ? 8 : 8 + 2 * fabs(t[i]) + 2 * fabs(max)) * EPS32;

			conf_expect(ci, &p->dst, i, i1, i2, i3, want, want * rel + 0x1p-148);
		}
	}
	free(t);
}

static void add_softmax(void)
{
	for (size_t s = 0; s < NSHAPES; s++) {
		for (unsigned int v = 0; v < 8; v++) {
			struct conf_case c = {
				.make = make_softmax, .op = NPU_OP_SOFTMAX,
				.flags = v & 1 ? NPU_SOFTMAX_MASK : 0,
				.src_type = v & 2 ? NPU_TYPE_F16 : NPU_TYPE_F32,
				.dst_type = v & 4 ? NPU_TYPE_F16 : NPU_TYPE_F32,
				.src2_type = v & 2 ? NPU_TYPE_F32 : NPU_TYPE_F16,
				.pad = v == 3 ? STRIDE_PADDED : v == 4 ? STRIDE_TRANSPOSED : STRIDE_DENSE,
				.fill = v == 5 ? FILL_SPECIAL : v == 6 ? FILL_LARGE : FILL_NORMAL,
				.f = { v == 6 ? 1e-4f : 1.5f },
			};

			memcpy(c.ne, shapes[s], sizeof(c.ne));
			conf_add(&c, "softmax/%s-%s/%ux%ux%ux%u/v%u%s/%s", conf_type_name(c.src_type),
				 conf_type_name(c.dst_type), c.ne[0], c.ne[1], c.ne[2], c.ne[3], v,
				 c.flags ? "/mask" : "", conf_fill_name(c.fill));
		}
	}
}

/* ---- REDUCE, ARGMAX ------------------------------------------------------------------------- */

static const char *const reduce_names[NPU_REDUCE_COUNT] = { "sum", "mean", "sumsq", "max", "min" };

/* The order of ARGMAX and TOPK: NaN below all, -0 equal to +0. */
static bool above(double a, double b)
{
	return isnan(b) ? !isnan(a) : a > b;
}

static double argmax(struct conf_instance *ci, const struct npu_tensor *t, uint64_t i1, uint64_t i2, uint64_t i3)
{
	uint64_t best = 0;

	for (uint64_t i = 1; i < t->ne[0]; i++)
		if (above(conf_get(ci, t, i, i1, i2, i3), conf_get(ci, t, best, i1, i2, i3)))
			best = i;
	return (double)best;
}

static void make_reduce(struct conf_instance *ci, const struct conf_case *c)
{
	struct npu_cmd_map *p = (struct npu_cmd_map *)ci->packet;
	const uint32_t one[NPU_DIMS] = { 1, c->ne[1], c->ne[2], c->ne[3] };

	ci->len = sizeof(*p);
	p->kind = c->kind;
	conf_tensor(ci, &p->dst, c->dst_type, one, c->pad == STRIDE_PADDED ? c->pad : STRIDE_DENSE, true);
	conf_tensor(ci, &p->src, c->src_type, c->ne, c->pad, false);
	if (ci->failed)
		return;
	conf_fill_tensor(ci, &p->src, c->fill);
	if (!c->ne[0])
		return;
	EACH_ROW(c->ne, i1, i2, i3) {
		struct stat s = statistics(ci, &p->src, i1, i2, i3);
		double want, tol = 0.0, n = c->ne[0];

		if (c->op == NPU_OP_ARGMAX) {
			want = argmax(ci, &p->src, i1, i2, i3);
		} else if (c->kind == NPU_REDUCE_MAX || c->kind == NPU_REDUCE_MIN) {
			want = c->kind == NPU_REDUCE_MAX ? s.max : s.min;
		} else if (c->kind == NPU_REDUCE_SUMSQ) {
			want = s.sum2;
			tol = s.sum2 * sum_error(c->ne[0]) + 0x1p-140;
		} else {
			want = c->kind == NPU_REDUCE_MEAN ? s.sum / n : s.sum;
			tol = s.abs_sum * sum_error(c->ne[0]) / (c->kind == NPU_REDUCE_MEAN ? n : 1.0);
		}
		conf_expect(ci, &p->dst, 0, i1, i2, i3, want, tol);
	}
}

static void add_reduce(void)
{
	static const enum conf_fill fills[] = { FILL_NORMAL, FILL_SPECIAL, FILL_TIES, FILL_TINY };

	for (unsigned int kind = 0; kind <= NPU_REDUCE_COUNT; kind++) {
		bool arg = kind == NPU_REDUCE_COUNT;

		for (size_t s = 0; s < NSHAPES; s++) {
			for (unsigned int v = 0; v < 4; v++) {
				struct conf_case c = {
					.make = make_reduce, .op = arg ? NPU_OP_ARGMAX : NPU_OP_REDUCE,
					.kind = arg ? 0 : kind,
					.src_type = v & 1 ? NPU_TYPE_F16 : NPU_TYPE_F32,
					.dst_type = arg ? NPU_TYPE_I32 : v == 2 ? NPU_TYPE_F16 : NPU_TYPE_F32,
					.pad = v == 2 ? STRIDE_PADDED : v == 3 ? STRIDE_TRANSPOSED : STRIDE_DENSE,
					.fill = fills[v],
				};

				memcpy(c.ne, shapes[s], sizeof(c.ne));
				conf_add(&c, "%s%s/%s-%s/%ux%ux%ux%u/v%u/%s", arg ? "argmax" : "reduce-",
					 arg ? "" : reduce_names[kind], conf_type_name(c.src_type),
					 conf_type_name(c.dst_type), c.ne[0], c.ne[1], c.ne[2], c.ne[3], v,
					 conf_fill_name(c.fill));
			}
		}
	}
}

/* ---- TOPK ---------------------------------------------------------------------------------- */

static void make_topk(struct conf_instance *ci, const struct conf_case *c)
{
	struct npu_cmd_topk *p = (struct npu_cmd_topk *)ci->packet;
	const uint32_t out[NPU_DIMS] = { c->a[0], c->ne[1], c->ne[2], c->ne[3] };
	bool *taken = malloc(c->ne[0] + 1);

	ci->len = sizeof(*p);
	p->k = c->a[0];
	conf_tensor(ci, &p->values, c->dst_type, out, c->pad, true);
	conf_tensor(ci, &p->indices, NPU_TYPE_I32, out, c->pad, true);
	conf_tensor(ci, &p->src, c->src_type, c->ne, c->pad, false);
	if (ci->failed || !taken) {
		ci->failed = true;
		free(taken);
		return;
	}
	conf_fill_tensor(ci, &p->src, c->fill);
	EACH_ROW(c->ne, i1, i2, i3) {
		memset(taken, 0, c->ne[0]);
		for (uint64_t k = 0; k < c->a[0]; k++) {
			uint64_t best = UINT64_MAX;

			for (uint64_t i = 0; i < c->ne[0]; i++)
				if (!taken[i] && (best == UINT64_MAX || above(conf_get(ci, &p->src, i, i1, i2, i3),
									      conf_get(ci, &p->src, best, i1, i2, i3))))
					best = i;
			taken[best] = true;
			conf_expect(ci, &p->values, k, i1, i2, i3, conf_get(ci, &p->src, best, i1, i2, i3), 0.0);
			conf_expect(ci, &p->indices, k, i1, i2, i3, (double)best, 0.0);
		}
	}
	free(taken);
}

static void add_topk(void)
{
	static const uint32_t top[][5] = {
		{ 1, 1, 1, 1, 1 }, { 7, 3, 1, 1, 7 }, { 100, 3, 2, 1, 40 }, { 3000, 2, 1, 1, 8 }, { 3000, 1, 1, 1, 100 },
		{ 2048, 1, 1, 1, 1024 }, { 8, 0, 1, 1, 2 }, { 40000, 3, 1, 1, 40 },
	};
	static const enum conf_fill fills[] = { FILL_NORMAL, FILL_SPECIAL, FILL_TIES };

	for (size_t s = 0; s < sizeof(top) / sizeof(top[0]); s++) {
		for (unsigned int v = 0; v < 3; v++) {
			struct conf_case c = {
				.make = make_topk, .op = NPU_OP_TOPK,
				.src_type = v == 1 ? NPU_TYPE_F16 : NPU_TYPE_F32,
				.dst_type = v == 2 ? NPU_TYPE_F16 : NPU_TYPE_F32,
				.pad = v == 2 ? STRIDE_PADDED : STRIDE_DENSE, .fill = fills[v],
				.a = { top[s][4] },
			};

			memcpy(c.ne, top[s], sizeof(c.ne));
			conf_add(&c, "topk/%s-%s/%ux%ux%ux%u/k%u/%s", conf_type_name(c.src_type),
				 conf_type_name(c.dst_type), c.ne[0], c.ne[1], c.ne[2], c.ne[3], c.a[0],
				 conf_fill_name(c.fill));
		}
	}
}

/* ---- ROPE ------------------------------------------------------------------------------------ */

/* ne: D, H, M, B; a: ndims, pos, positions given */
static void make_rope(struct conf_instance *ci, const struct conf_case *c)
{
	struct npu_cmd_rope *p = (struct npu_cmd_rope *)ci->packet;
	uint32_t pairs = c->a[0] / 2;
	bool halves = c->flags & NPU_ROPE_HALVES;
	uint64_t *step;
	int32_t *positions = NULL;

	ci->len = sizeof(*p);
	p->flags = c->flags;
	p->ndims = c->a[0];
	p->pos = c->a[1];
	p->mscale = c->f[0];
	conf_tensor(ci, &p->dst, c->dst_type, c->ne, c->pad, true);
	conf_tensor(ci, &p->src, c->src_type, c->ne, c->pad, false);
	step = (uint64_t *)conf_vector(ci, &p->step, pairs * sizeof(*step));
	if (c->a[2])
		positions = (int32_t *)conf_vector(ci, &p->positions, c->ne[2] * sizeof(*positions));
	if (ci->failed)
		return;
	conf_fill_tensor(ci, &p->src, c->fill);
	for (uint32_t i = 0; i < pairs; i++)
		step[i] = (uint64_t)llrint(pow(10000.0, -2.0 * i / c->a[0]) / (2.0 * M_PI) * 0x1p62) * 4;
	for (uint32_t i = 0; positions && i < c->ne[2]; i++)
		positions[i] = (int32_t)(conf_random(ci) % 4000000) - 1000;
	EACH_ROW(c->ne, h, m, b) {
		int64_t pos = positions ? positions[m] : (int64_t)p->pos + (int64_t)m;

		for (uint32_t i = 0; i < pairs; i++) {
			/* The phase modulo one turn is exact in integers. */
			double angle = (double)(int64_t)((uint64_t)pos * step[i]) * 0x1p-64 * 2.0 * M_PI;
			uint64_t i0 = halves ? i : 2 * i, i1 = halves ? i + pairs : 2 * i + 1;
			double x0 = conf_get(ci, &p->src, i0, h, m, b), x1 = conf_get(ci, &p->src, i1, h, m, b);
			double ms = (double)p->mscale, tol = (fabs(x0) + fabs(x1)) * fabs(ms) * 6 * EPS32 + 0x1p-148;

			conf_expect(ci, &p->dst, i0, h, m, b, (x0 * cos(angle) - x1 * sin(angle)) * ms, tol);
			conf_expect(ci, &p->dst, i1, h, m, b, (x0 * sin(angle) + x1 * cos(angle)) * ms, tol);
		}
		for (uint32_t i = 2 * pairs; i < c->ne[0]; i++)
			conf_expect(ci, &p->dst, i, h, m, b, conf_get(ci, &p->src, i, h, m, b), 0.0);
	}
}

static void add_rope(void)
{
	static const uint32_t rope[][7] = {
		/* D, H, M, B, ndims, pos, positions given */
		{ 2, 1, 1, 1, 2, 0, 0 }, { 64, 9, 1, 1, 64, 1000, 0 }, { 64, 3, 17, 2, 32, 5, 0 },
		{ 10, 2, 3, 1, 6, 7, 1 }, { 128, 4, 33, 1, 128, 131000, 0 }, { 2100, 1, 2, 1, 2100, 9, 1 },
		{ 64, 2, 4, 1, 0, 9, 0 }, { 64, 2, 0, 1, 64, 9, 0 }, { 80, 2, 3, 1, 80, 4294967290u, 0 }, { 64, 9, 70, 1, 64, 11, 0 },
	};

	for (size_t s = 0; s < sizeof(rope) / sizeof(rope[0]); s++) {
		for (unsigned int v = 0; v < 8; v++) {
			struct conf_case c = {
				.make = make_rope, .op = NPU_OP_ROPE, .flags = v & 1 ? NPU_ROPE_HALVES : 0,
				.src_type = v & 2 ? NPU_TYPE_F16 : NPU_TYPE_F32,
				.dst_type = v & 4 ? NPU_TYPE_F16 : NPU_TYPE_F32,
				.pad = v == 2 ? STRIDE_PADDED : v == 5 ? STRIDE_TRANSPOSED : STRIDE_DENSE,
				.fill = v == 6 ? FILL_LARGE : FILL_NORMAL, .f = { v & 4 ? 1.25f : 1.0f },
				.a = { rope[s][4], rope[s][5], rope[s][6] },
			};

			memcpy(c.ne, rope[s], sizeof(c.ne));
			conf_add(&c, "rope/%s/%s-%s/%ux%ux%ux%u/n%u/pos%u%s/%s", v & 1 ? "halves" : "pairs",
				 conf_type_name(c.src_type), conf_type_name(c.dst_type), c.ne[0], c.ne[1], c.ne[2],
				 c.ne[3], c.a[0], c.a[1], c.a[2] ? "/positions" : "", conf_fill_name(c.fill));
		}
	}
}

void conf_add_norms(void)
{
	add_norms();
	add_softmax();
	add_reduce();
	add_topk();
	add_rope();
	add_norm_activations();
}
