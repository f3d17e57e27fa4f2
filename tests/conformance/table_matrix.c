/* SPDX-License-Identifier: MIT */
/* MATMUL and ATTENTION. */
#include <math.h>
#include <stdlib.h>

#include "conf_impl.h"

static bool is_block(unsigned int type)
{
	return conf_block_len(type) > 1;
}

/* Rows (i1, i2, i3) of a tensor as doubles. */
static double *decode_row(struct conf_instance *ci, const struct npu_tensor *t, uint64_t i1, uint64_t i2, uint64_t i3,
			  double *y)
{
	for (uint64_t i = 0; i < t->ne[0]; i++)
		y[i] = conf_get(ci, t, i, i1, i2, i3);
	return y;
}

/* ---- MATMUL ------------------------------------------------------------------------- */

/* a[0..2]: M, N, K; ne[2..3]: B2, B3; a[3]: b2 of w, b3 is 1. */

/* An activation row as the profile quantises it; slack: how far each value may be off by a tie. */
struct activation {
	double *x, *slack;
};

static void quantise(const struct activation *a, uint64_t k, uint64_t block)
{
	for (uint64_t b = 0; b < k; b += block) {
		double amax = 0.0, d, id;
		bool finite = true;

		for (uint64_t i = b; i < b + block; i++) {
			finite &= isfinite(a->x[i]) != 0;
			amax = fmax(amax, fabs(a->x[i]));
		}
		d = amax / 127.0;
		id = amax > 0.0 ? 127.0 / amax : 0.0;
		for (uint64_t i = b; i < b + block; i++) {
			double v = a->x[i] * id, q = nearbyint(v);

			a->slack[i] = fabs(fabs(v - q) - 0.5) < 1e-4 ? d : 0.0;
			a->x[i] = !finite ? NAN : amax < 0x1p-120 ? 0.0 : q * d;
		}
	}
}

struct dot {
	double sum, error;
};

/*
 * Error bound: a chain of n rounded additions of terms t (n elements, or blocks
 * of integers): n + 4 roundings of at most the sum of |t|, of which random signs
 * leave about the square root.
 */
static struct dot dot(const struct activation *a, const double *w, uint64_t k, uint64_t block)
{
	struct dot r = { 0.0, 0.0 };
	double abs_sum = 0.0, n = (double)(k / block);

	for (uint64_t i = 0; i < k; i++) {
		r.sum += a->x[i] * w[i];
		abs_sum += fabs(a->x[i] * w[i]);
		r.error += a->slack[i] * fabs(w[i]);
	}
	r.error += (4.0 * sqrt(n) + 4.0) * EPS32 * abs_sum;
	return r;
}

static void expect_matmul(struct conf_instance *ci, const struct npu_cmd_matmul *p, const struct npu_tensor *w,
			  const float *bias)
{
	uint64_t k = p->x.ne[0], n = w->ne[1], block = conf_block_len(w->type);
	double *rows = malloc((n + 2) * k * sizeof(double) + 1);
	struct activation a = { rows + n * k, rows + (n + 1) * k };

	if (!rows) {
		ci->failed = true;
		return;
	}
	for (uint64_t i3 = 0; i3 < p->dst.ne[3]; i3++) {
		for (uint64_t i2 = 0; i2 < p->dst.ne[2]; i2++) {
			uint64_t b2 = i2 / (p->dst.ne[2] / w->ne[2]), b3 = i3 / (p->dst.ne[3] / w->ne[3]);

			for (uint64_t i = 0; i < n; i++)
				decode_row(ci, w, i, b2, b3, rows + i * k);
			for (uint64_t m = 0; m < p->dst.ne[1]; m++) {
				decode_row(ci, &p->x, m, i2, i3, a.x);
				for (uint64_t i = 0; i < k; i++)
					a.slack[i] = 0.0;
				if (is_block(w->type) && !is_block(p->x.type))
					quantise(&a, k, block);
				for (uint64_t i = 0; i < n; i++) {
					struct dot r = dot(&a, rows + i * k, k, block);

					if (bias)
						r.sum += (double)bias[i];
					if (p->flags & NPU_MATMUL_ACCUMULATE)
						r.sum += conf_get(ci, &p->dst, i, m, i2, i3);
					r.error += 3.0 * EPS32 * fabs(r.sum) + 0x1p-140;
					conf_expect(ci, &p->dst, i, m, i2, i3, r.sum, r.error);
				}
			}
		}
	}
	free(rows);
}

static void make_matmul(struct conf_instance *ci, const struct conf_case *c)
{
	struct npu_cmd_matmul *p = (struct npu_cmd_matmul *)ci->packet;
	uint32_t m = c->a[0], n = c->a[1], k = c->a[2];
	float *bias = NULL;

	ci->len = sizeof(*p);
	p->flags = c->flags;
	conf_tensor(ci, &p->dst, c->dst_type, (uint32_t[]){ n, m, c->ne[2], c->ne[3] }, c->pad, true);
	conf_tensor(ci, &p->x, c->src2_type, (uint32_t[]){ k, m, c->ne[2], c->ne[3] }, c->pad, false);
	if (c->flags & NPU_MATMUL_BIAS) {
		bias = (float *)conf_vector(ci, &p->bias, n * sizeof(float));
		for (uint32_t i = 0; bias && i < n; i++)
			bias[i] = (float)(conf_uniform(ci) - 0.5);
	}
	conf_tensor(ci, &p->w, c->src_type, (uint32_t[]){ k, n, c->a[3], 1 }, c->layout ? STRIDE_DENSE : c->pad, false);
	if (ci->failed)
		return;
	conf_fill_tensor(ci, &p->x, c->fill);
	conf_fill_tensor(ci, &p->w, FILL_NORMAL);
	conf_fill_tensor(ci, &p->dst, FILL_NORMAL);
	if (c->ne[2] && m && n && k)
		expect_matmul(ci, p, &p->w, bias);
	if (c->layout)
		conf_make_tiles(ci, &p->w);
}

static const uint8_t weight_types[] = {
	NPU_TYPE_F32, NPU_TYPE_F16, NPU_TYPE_BF16, NPU_TYPE_Q8_0, NPU_TYPE_Q4_0, NPU_TYPE_Q4_K, NPU_TYPE_Q6_K,
};

struct mm_shape {
	uint32_t m, n, k;	/* k in elements of plain types, in blocks of the others */
};

static void add_mm(unsigned int type, unsigned int layout, struct mm_shape s, const struct conf_case *extra,
		   const char *what)
{
	struct conf_case c = *extra;

	c.make = make_matmul;
	c.op = NPU_OP_MATMUL;
	c.src_type = (uint8_t)type;
	c.layout = (uint8_t)layout;
	c.a[0] = s.m;
	c.a[1] = s.n;
	c.a[2] = s.k * conf_block_len(type);
	if (!c.a[3])
		c.a[3] = 1;
	if (!c.ne[3])
		c.ne[2] = c.ne[3] = 1;
	conf_add(&c, "matmul/%s/%s/m%un%uk%u/%s/%s", conf_type_name(type), layout ? "tile16" : "rows", c.a[0], c.a[1],
		 c.a[2], what, conf_fill_name(c.fill));
}

static void add_matmul(void)
{
	static const struct mm_shape plain[] = {
		{ 1, 1, 1 }, { 1, 16, 64 }, { 1, 33, 100 }, { 3, 17, 7 }, { 7, 50, 129 }, { 16, 32, 256 },
		{ 64, 48, 300 }, { 1, 272, 1024 },
	};
	static const struct mm_shape blocks[] = {
		{ 1, 1, 1 }, { 1, 16, 2 }, { 1, 33, 3 }, { 3, 17, 1 }, { 7, 50, 5 }, { 16, 32, 4 }, { 64, 48, 6 },
		{ 1, 272, 8 },
	};
	const struct conf_case base = { .dst_type = NPU_TYPE_F32, .src2_type = NPU_TYPE_F32 };

	for (size_t t = 0; t < sizeof(weight_types); t++) {
		unsigned int type = weight_types[t];
		const struct mm_shape *shapes = is_block(type) ? blocks : plain;

		for (unsigned int layout = 0; layout < 2; layout++) {
			struct conf_case c = base;

			for (size_t s = 0; s < 8; s++)
				add_mm(type, layout, shapes[s], &c, "f32-f32");
			add_mm(type, layout, (struct mm_shape){ 0, 16, 2 }, &c, "empty");
			add_mm(type, layout, (struct mm_shape){ 4, 0, 2 }, &c, "empty");
			add_mm(type, layout, (struct mm_shape){ 4, 16, 0 }, &c, "empty");
			c.fill = FILL_SPECIAL;
			add_mm(type, layout, shapes[4], &c, "f32-f32");
			c.fill = FILL_LARGE;
			add_mm(type, layout, shapes[5], &c, "f32-f32");
			c.fill = FILL_TINY;
			add_mm(type, layout, shapes[3], &c, "f32-f32");
			c.fill = FILL_NORMAL;
			c.src2_type = NPU_TYPE_F16;
			add_mm(type, layout, shapes[4], &c, "f16-f32");
			c.dst_type = NPU_TYPE_F16;
			add_mm(type, layout, shapes[2], &c, "f16-f16");
			c.pad = STRIDE_PADDED;
			c.flags = NPU_MATMUL_BIAS;
			add_mm(type, layout, shapes[4], &c, "f16-f16-bias-padded");
			c.dst_type = c.src2_type = NPU_TYPE_F32;
			c.flags = NPU_MATMUL_BIAS | NPU_MATMUL_ACCUMULATE;
			add_mm(type, layout, shapes[4], &c, "f32-bias-accumulate-padded");
			add_mm(type, layout, shapes[2], &c, "f32-bias-accumulate-padded");
			c.flags = 0;
			c.pad = STRIDE_DENSE;
			c.ne[2] = 4;
			c.ne[3] = 2;
			c.a[3] = 2;
			add_mm(type, layout, shapes[3], &c, "grouped");
		}
	}
}

/* Activations that are quantised already. */
static void add_matmul_act(void)
{
	static const uint8_t quantised[] = { NPU_TYPE_Q8_0, NPU_TYPE_Q4_0, NPU_TYPE_Q4_K, NPU_TYPE_Q6_K };
	static const struct mm_shape shapes[] = {
		{ 1, 1, 1 }, { 1, 33, 3 }, { 3, 17, 1 }, { 7, 50, 5 }, { 64, 48, 6 }, { 1, 272, 8 }, { 4, 16, 0 },
	};

	for (unsigned int i = 0; i < 4 * 2 * 7; i++) {
		unsigned int type = quantised[i / 14];
		struct conf_case c = {
			.dst_type = i % 7 == 3 ? NPU_TYPE_F16 : NPU_TYPE_F32, .pad = i % 2 ? STRIDE_PADDED : STRIDE_DENSE,
			.src2_type = conf_block_len(type) == 32 ? NPU_TYPE_A8 : NPU_TYPE_A8_K,
			.flags = i % 7 == 4 ? NPU_MATMUL_BIAS | NPU_MATMUL_ACCUMULATE : 0,
		};

		add_mm(type, i / 7 % 2, shapes[i % 7], &c, c.flags ? "act-bias-accumulate" : "act");
	}
}

/* ---- MATMUL_GLU ---------------------------------------------------------------------------- */

/* The act of a gated unit, and how much it changes with its argument at most. */
static double gate_of(unsigned int kind, double x, double *slope)
{
	double e = erf(x * M_SQRT1_2), t = tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x));

	*slope = 1.2;
	switch (kind) {
	case NPU_GLU_SWIGLU:
		return x == -INFINITY ? -0.0 : x / (1 + exp(-x));
	case NPU_GLU_GEGLU:
		return x == -INFINITY ? -0.0 : 0.5 * x * (1 + e);
	case NPU_GLU_GEGLU_TANH:
		return x == -INFINITY ? -0.0 : 0.5 * x * (1 + t);
	case NPU_GLU_REGLU:
		return isnan(x) || x > 0 ? x : 0.0;
	default:
		*slope = 0.26;
		return 1 / (1 + exp(-x));
	}
}

static void expect_gated(struct conf_instance *ci, const struct npu_cmd_matmul_glu *p)
{
	uint64_t k = p->x.ne[0], n = p->gate.ne[1], block = conf_block_len(p->gate.type);
	double *rows = malloc((2 * n + 2) * k * sizeof(double) + 1);
	struct activation a = { rows + 2 * n * k, rows + (2 * n + 1) * k };

	if (!rows) {
		ci->failed = true;
		return;
	}
	EACH_ROW(p->dst.ne, m, i2, i3) {
		uint64_t b2 = i2 / (p->dst.ne[2] / p->gate.ne[2]);

		for (uint64_t i = 0; i < n; i++) {
			decode_row(ci, &p->gate, i, b2, 0, rows + i * k);
			decode_row(ci, &p->up, i, b2, 0, rows + (n + i) * k);
		}
		decode_row(ci, &p->x, m, i2, i3, a.x);
		for (uint64_t i = 0; i < k; i++)
			a.slack[i] = 0.0;
		if (is_block(p->gate.type) && !is_block(p->x.type))
			quantise(&a, k, block);
		for (uint64_t i = 0; i < n; i++) {
			struct dot g = dot(&a, rows + i * k, k, block), u = dot(&a, rows + (n + i) * k, k, block);
			double slope, act = gate_of(p->kind, g.sum, &slope), want = act * u.sum;
			double soft = fmin(fabs(g.sum), 8.0) * fabs(u.sum);

			conf_expect(ci, &p->dst, i, m, i2, i3, want, slope * g.error * (fabs(u.sum) + u.error) +
				    fabs(act) * u.error + 16 * EPS32 * (fabs(want) + soft) + 0x1p-140);
		}
	}
	free(rows);
}

/* a[0..2]: M, N, K; ne[2..3]: B2, B3; a[3]: b2 of the weights. */
static void make_gated(struct conf_instance *ci, const struct conf_case *c)
{
	struct npu_cmd_matmul_glu *p = (struct npu_cmd_matmul_glu *)ci->packet;
	uint32_t m = c->a[0], n = c->a[1], k = c->a[2];

	ci->len = sizeof(*p);
	p->kind = c->kind;
	conf_tensor(ci, &p->dst, c->dst_type, (uint32_t[]){ n, m, c->ne[2], c->ne[3] }, c->pad, true);
	conf_tensor(ci, &p->x, c->src2_type, (uint32_t[]){ k, m, c->ne[2], c->ne[3] }, c->pad, false);
	conf_tensor(ci, &p->gate, c->src_type, (uint32_t[]){ k, n, c->a[3], 1 }, c->layout ? STRIDE_DENSE : c->pad, false);
	if (ci->failed)
		return;
	conf_fill_tensor(ci, &p->x, c->fill);
	conf_fill_tensor(ci, &p->gate, FILL_NORMAL);
	conf_tensor(ci, &p->up, c->src_type, (uint32_t[]){ k, n, c->a[3], 1 }, STRIDE_DENSE, false);
	if (ci->failed)
		return;
	conf_fill_tensor(ci, &p->up, FILL_NORMAL);
	if (m && n && k)
		expect_gated(ci, p);
	if (c->layout) {
		conf_make_tiles(ci, &p->up);
		conf_make_tiles(ci, &p->gate);
	}
}

static void add_gated(void)
{
	static const struct {
		uint32_t m, n, k, dst;
	} shapes[] = {
		{ 1, 32, 1, NPU_TYPE_A8 }, { 1, 256, 3, NPU_TYPE_A8_K }, { 3, 17, 2, NPU_TYPE_F32 },
		{ 7, 96, 2, NPU_TYPE_A8 }, { 33, 512, 2, NPU_TYPE_A8_K }, { 5, 48, 1, NPU_TYPE_F16 },
		{ 1, 304, 4, NPU_TYPE_F32 }, { 600, 1056, 1, NPU_TYPE_A8 }, { 4, 16, 0, NPU_TYPE_F32 },
		{ 1, 2336, 2, NPU_TYPE_A8 }, { 1, 1000, 1, NPU_TYPE_F32 }, { 1, 2304, 2, NPU_TYPE_A8_K },
	};
	const unsigned int count = sizeof(shapes) / sizeof(shapes[0]);

	for (size_t t = 0; t < sizeof(weight_types); t++)
		for (unsigned int i = 0; i < 2 * count; i++) {
			unsigned int type = weight_types[t], s = i % count;
			struct conf_case c = {
				.make = make_gated, .op = NPU_OP_MATMUL_GLU, .kind = (uint32_t)(t + i / count * 9 + s) % NPU_GLU_COUNT,
				.src_type = (uint8_t)type, .dst_type = (uint8_t)shapes[s].dst, .layout = i / count,
				.src2_type = s == 5 ? NPU_TYPE_F16 : NPU_TYPE_F32, .fill = s == 3 ? FILL_SPECIAL : FILL_NORMAL,
				.pad = s == 4 ? STRIDE_PADDED : STRIDE_DENSE,
				.ne = { 0, 0, s == 2 ? 4 : 1, s == 2 ? 2 : 1 },
				.a = { shapes[s].m, shapes[s].n, shapes[s].k * (is_block(type) ? conf_block_len(type) : 40),
				       s == 2 ? 2 : 1 },
			};

			if (s % 2 && is_block(type) && s != 3)
				c.src2_type = conf_block_len(type) == 32 ? NPU_TYPE_A8 : NPU_TYPE_A8_K;
			if (s == 7 && !(type == NPU_TYPE_Q8_0 || type == NPU_TYPE_F32))
				c.a[0] = 9;	/* one of each kind is large */
			conf_add(&c, "matmul_glu/%u/%s/%s/%s-%s/m%un%uk%u/%s", c.kind, conf_type_name(type),
				 c.layout ? "tile16" : "rows", conf_type_name(c.src2_type), conf_type_name(c.dst_type),
				 c.a[0], c.a[1], c.a[2], conf_fill_name(c.fill));
		}
}

/* ---- ATTENTION ------------------------------------------------------------------------- */

/* ne: D, H, M, B. a: Dv, KV, G, pos. kind: window. f: scale, softcap. */

static void expect_attention_row(struct conf_instance *ci, const struct npu_cmd_attention *p, uint64_t h, uint64_t m,
				 uint64_t b, double *work)
{
	uint64_t g = h / (p->q.ne[1] / p->k.ne[2]), kv = p->k.ne[1], dv = p->dst.ne[0], pos = (uint64_t)p->pos + m;
	double *q = work, *k = q + p->q.ne[0], *s = k + p->q.ne[0], *sum = s + kv, *abs_sum = sum + dv;
	double max = -INFINITY, total = 0.0, spread = 0.0;
	bool any = false;

	decode_row(ci, &p->q, h, m, b, q);
	for (uint64_t j = 0; j < kv; j++) {
		double abs_dot = 0.0;

		s[j] = -INFINITY;
		if (((p->flags & NPU_ATTN_CAUSAL) && j > pos) || (p->window && j + p->window <= pos))
			continue;
		any = true;
		decode_row(ci, &p->k, j, g, b, k);
		s[j] = 0.0;
		for (uint64_t d = 0; d < p->q.ne[0]; d++) {
			s[j] += q[d] * k[d];
			abs_dot += fabs(q[d] * k[d]);
		}
		s[j] *= (double)p->scale;
		abs_dot *= fabs((double)p->scale);
		if (p->softcap != 0.0f) {
			s[j] = (double)p->softcap * tanh(s[j] / (double)p->softcap);
			abs_dot += fabs((double)p->softcap);
		}
		/* Scores are held within +-2^20 in units of log 2. */
		if (fabs(s[j]) > 0x1p20 * M_LN2) {
			s[j] = copysign(0x1p20 * M_LN2, s[j]);
			abs_dot = 0.0;
		}
		spread = fmax(spread, abs_dot);
		max = isnan(s[j]) || isnan(max) ? NAN : fmax(max, s[j]);
	}
	for (uint64_t d = 0; d < dv; d++)
		sum[d] = abs_sum[d] = 0.0;
	for (uint64_t j = 0; j < kv; j++) {
		double w = exp(s[j] - max);

		if (s[j] == -INFINITY)
			continue;
		total += w;
		for (uint64_t d = 0; d < dv; d++) {
			double v = conf_get(ci, &p->v, d, j, g, b);

			sum[d] += w * v;
			abs_sum[d] += fabs(w * v);
		}
	}
	for (uint64_t d = 0; d < dv; d++) {
		/* Scores are off by their dot products' roundings, which the exponential makes relative. */
		double tol = any ? abs_sum[d] / total * ((16.0 + 2.0 * sqrt((double)kv)) * EPS32 +
							  (16.0 + 2.0 * sqrt((double)p->q.ne[0])) * EPS32 * spread) : 0;

		conf_expect(ci, &p->dst, d, h, m, b, any ? sum[d] / total : 0.0, tol + 0x1p-140);
	}
}

static void make_attention(struct conf_instance *ci, const struct conf_case *c)
{
	struct npu_cmd_attention *p = (struct npu_cmd_attention *)ci->packet;
	uint32_t dv = c->a[0], kv = c->a[1], g = c->a[2];
	double *work;

	ci->len = sizeof(*p);
	p->flags = c->flags;
	p->pos = c->a[3];
	p->window = c->kind;
	p->scale = c->f[0];
	p->softcap = c->f[1];
	conf_tensor(ci, &p->dst, c->dst_type, (uint32_t[]){ dv, c->ne[1], c->ne[2], c->ne[3] }, c->pad, true);
	conf_tensor(ci, &p->q, c->src2_type, c->ne, c->pad, false);
	conf_tensor(ci, &p->k, c->src_type, (uint32_t[]){ c->ne[0], kv, g, c->ne[3] }, c->pad, false);
	conf_tensor(ci, &p->v, c->src_type, (uint32_t[]){ dv, kv, g, c->ne[3] }, c->pad, false);
	if (ci->failed)
		return;
	conf_fill_tensor(ci, &p->q, c->fill);
	conf_fill_tensor(ci, &p->k, FILL_NORMAL);
	conf_fill_tensor(ci, &p->v, FILL_NORMAL);
	conf_fill_tensor(ci, &p->dst, FILL_NORMAL);
	if (!kv || !g)
		return;
	work = malloc((2 * (size_t)c->ne[0] + kv + 2 * (size_t)dv) * sizeof(double) + 1);
	if (!work) {
		ci->failed = true;
		return;
	}
	for (uint64_t b = 0; b < c->ne[3]; b++)
		for (uint64_t m = 0; m < c->ne[2]; m++)
			for (uint64_t h = 0; h < c->ne[1]; h++)
				expect_attention_row(ci, p, h, m, b, work);
	free(work);
}

static void add_attention(void)
{
	static const struct {
		uint32_t ne[4], a[4], window, flags;
		float scale, cap;
		uint8_t pad;
	} shapes[] = {
		/* D, H, M, B, Dv, KV, G, pos */
		{ { 64, 1, 1, 1 }, { 64, 1, 1, 0 }, 0, NPU_ATTN_CAUSAL, 0.125f, 0, 0 },
		{ { 64, 9, 1, 1 }, { 64, 130, 3, 129 }, 0, NPU_ATTN_CAUSAL, 0.125f, 0, 0 },
		{ { 32, 4, 1, 1 }, { 32, 700, 4, 699 }, 0, NPU_ATTN_CAUSAL, 0.1767767f, 0, 0 },
		{ { 64, 4, 17, 1 }, { 64, 17, 2, 0 }, 0, NPU_ATTN_CAUSAL, 0.125f, 0, 0 },
		{ { 32, 6, 40, 2 }, { 64, 140, 2, 100 }, 0, NPU_ATTN_CAUSAL, 0.1767767f, 0, STRIDE_PADDED },
		{ { 64, 2, 33, 1 }, { 32, 200, 1, 150 }, 50, NPU_ATTN_CAUSAL, 0.125f, 0, 0 },
		{ { 64, 2, 5, 1 }, { 64, 90, 2, 0 }, 0, 0, 0.125f, 0, 0 },
		{ { 64, 2, 5, 1 }, { 64, 90, 2, 40 }, 7, 0, 0.125f, 0, 0 },
		{ { 64, 4, 9, 1 }, { 64, 73, 4, 64 }, 0, NPU_ATTN_CAUSAL, 0.125f, 20.0f, 0 },
		{ { 64, 4, 9, 1 }, { 64, 73, 4, 300 }, 100, NPU_ATTN_CAUSAL, 0.125f, 0, 0 },	/* no key visible */
		{ { 64, 4, 9, 1 }, { 64, 0, 4, 3 }, 0, NPU_ATTN_CAUSAL, 0.125f, 0, 0 },
		{ { 64, 4, 0, 1 }, { 64, 8, 4, 3 }, 0, NPU_ATTN_CAUSAL, 0.125f, 0, 0 },
		{ { 128, 8, 64, 1 }, { 128, 256, 2, 192 }, 0, NPU_ATTN_CAUSAL, 0.08838835f, 0, 0 },
	};
	static const uint8_t caches[] = { NPU_TYPE_F32, NPU_TYPE_F16, NPU_TYPE_Q8_0 };

	for (size_t s = 0; s < sizeof(shapes) / sizeof(shapes[0]); s++) {
		for (size_t t = 0; t < sizeof(caches); t++) {
			for (unsigned int half = 0; half < 2; half++) {
				struct conf_case c = {
					.make = make_attention, .op = NPU_OP_ATTENTION, .kind = shapes[s].window,
					.flags = shapes[s].flags, .src_type = caches[t], .pad = shapes[s].pad,
					.dst_type = half ? NPU_TYPE_F16 : NPU_TYPE_F32,
					.src2_type = half ? NPU_TYPE_F16 : NPU_TYPE_F32,
					.f = { shapes[s].scale, shapes[s].cap },
					.fill = s == 1 && half ? FILL_SPECIAL : FILL_NORMAL,
				};

				for (unsigned int i = 0; i < 4; i++) {
					c.ne[i] = shapes[s].ne[i];
					c.a[i] = shapes[s].a[i];
				}
				conf_add(&c, "attention/%s/%s/d%uh%um%ub%u/dv%ukv%ug%u/pos%u/window%u%s%s/%s",
					 conf_type_name(caches[t]), half ? "f16" : "f32", c.ne[0], c.ne[1], c.ne[2],
					 c.ne[3], c.a[0], c.a[1], c.a[2], c.a[3], c.kind, c.flags ? "/causal" : "",
					 shapes[s].cap != 0.0f ? "/cap" : "", conf_fill_name(c.fill));
			}
		}
	}
}

static void add_attention_act(void)
{
	static const uint8_t caches[] = { NPU_TYPE_F32, NPU_TYPE_F16, NPU_TYPE_Q8_0 };

	for (unsigned int i = 0; i < 3 * 4; i++) {
		uint32_t d = i & 2 ? 256 : 64;
		struct conf_case c = {
			.make = make_attention, .op = NPU_OP_ATTENTION, .flags = NPU_ATTN_CAUSAL, .src_type = caches[i / 4],
			.src2_type = NPU_TYPE_F32, .dst_type = i & 2 ? NPU_TYPE_A8_K : NPU_TYPE_A8,
			.f = { 0.125f, 0 }, .fill = i & 1 ? FILL_SPECIAL : FILL_NORMAL,
			.ne = { d, 4, 9, 1 }, .a = { d, 140, 2, 100 },
		};

		conf_add(&c, "attention/%s-%s/d%u/%s", conf_type_name(c.src_type), conf_type_name(c.dst_type), d,
			 conf_fill_name(c.fill));
	}
}

void conf_add_matrix(void)
{
	add_matmul();
	add_attention();
	add_matmul_act();
	add_gated();
	add_attention_act();
}
