// SPDX-License-Identifier: MIT
/*
 * Language models on the device of NPU_DEVICE (default: the software device).
 * The bundled model, and small ones with random weights made here, prove
 * everything; models beside the project are compared with known texts.
 */
#define _GNU_SOURCE	/* memmem */
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>
#include <cmocka.h>

#include <npu/device.h>
#include <npu/llm.h>

#include "llm_build.h"
#include "test_models.h"

static struct npu_device *dev;
static char err[512];

/* ---- Random models --------------------------------------------------------------- */

static const struct shape tiny_qwen2 = { "qwen2", 64, 96, 2, 4, 2, 16, true, false, true };
static const struct shape tiny_qwen3 = { "qwen3", 64, 96, 2, 4, 1, 32, false, true, true };

static const float *weight(const struct weights *w, int layer, const char *name)
{
	char full[64];
	uint32_t i;

	if (layer < 0)
		snprintf(full, sizeof(full), "%s", name);
	else
		snprintf(full, sizeof(full), "blk.%d.%s", layer, name);
	for (i = 0; i < w->n; i++)
		if (!strcmp(w->t[i].name, full))
			return w->t[i].w;
	return NULL;
}

/* ---- The test's own forward pass, in double -------------------------------------- */

#define MAX_T	48u
#define MAX_N	128u

static void d_norm(const double *x, const float *w, uint32_t n, double *y)
{
	double ss = 0;
	uint32_t i;

	for (i = 0; i < n; i++)
		ss += x[i] * x[i];
	ss = 1 / sqrt(ss / n + (double)1e-5f);
	for (i = 0; i < n; i++)
		y[i] = x[i] * ss * (double)w[i];
}

static void d_matvec(const float *w, const float *bias, const double *x, uint32_t k, uint32_t n,
		     double *y)
{
	uint32_t i, j;

	for (i = 0; i < n; i++) {
		y[i] = bias ? (double)bias[i] : 0;
		for (j = 0; j < k; j++)
			y[i] += (double)w[(size_t)i * k + j] * x[j];
	}
}

/*
 * Radians per position of pair @i. With YaRN a pair that turns at least 32 times in the trained
 * context keeps its speed, one that turns less than once is slowed, and between the two the pairs
 * change evenly from one to the other.
 */
static double d_speed(uint32_t i, uint32_t d)
{
	double speed = pow(10000, -2.0 * i / d), low, high, slowed;

	if (yarn == 0)
		return speed;
	low = fmax(0, floor(d / 2.0 * log(yarn_context / (64 * M_PI)) / log(10000)));
	high = fmin(d - 1, ceil(d / 2.0 * log(yarn_context / (2 * M_PI)) / log(10000)));
	slowed = i <= low ? 0 : i >= high ? 1 : (i - low) / (high - low);
	return speed * (1 - slowed) + speed / yarn * slowed;
}

static void d_rope(double *x, uint32_t d, uint32_t pos, bool halves)
{
	double m = yarn == 0 ? 1 : 1 + 0.1 * log(yarn);
	uint32_t i, a, b;

	for (i = 0; i < d / 2; i++) {
		double t = pos * d_speed(i, d), p, q;

		a = halves ? i : 2 * i;
		b = halves ? i + d / 2 : 2 * i + 1;
		p = m * (x[a] * cos(t) - x[b] * sin(t));
		q = m * (x[a] * sin(t) + x[b] * cos(t));
		x[a] = p;
		x[b] = q;
	}
}

static double half(double x)
{
	return (double)(float)(_Float16)(float)x;
}

/* One head of q and k: norm if the model has it, then the rotation. */
static void d_head(double *x, const struct shape *s, const float *norm, uint32_t pos)
{
	double y[MAX_N];

	if (norm) {
		d_norm(x, norm, s->head_dim, y);
		memcpy(x, y, s->head_dim * sizeof(*x));
	}
	d_rope(x, s->head_dim, pos, strcmp(s->arch, "llama") != 0);
}

static void d_attend(const struct shape *s, uint32_t t, const double *q, double (*k)[MAX_N],
		     double (*v)[MAX_N], double *o)
{
	uint32_t h, j, i, d = s->head_dim, per = s->heads / s->kv_heads;
	double score[MAX_T], max, sum;

	for (h = 0; h < s->heads; h++) {
		for (j = 0, max = -INFINITY; j <= t; j++) {
			for (i = 0, score[j] = 0; i < d; i++)
				score[j] += q[h * d + i] * k[j][h / per * d + i];
			score[j] /= sqrt(d);
			max = fmax(max, score[j]);
		}
		for (j = 0, sum = 0; j <= t; j++)
			sum += score[j] = exp(score[j] - max);
		for (i = 0; i < d; i++) {
			for (j = 0, o[h * d + i] = 0; j <= t; j++)
				o[h * d + i] += score[j] / sum * v[j][h / per * d + i];
		}
	}
}

static void d_layer(const struct weights *w, const struct shape *s, int il, uint32_t n,
		    double (*x)[MAX_N])
{
	static double k[MAX_T][MAX_N], v[MAX_T][MAX_N];
	uint32_t nq = s->heads * s->head_dim, nkv = s->kv_heads * s->head_dim, t, i;
	double h[MAX_N], q[MAX_N], o[MAX_N], g[MAX_N], u[MAX_N];

	for (t = 0; t < n; t++) {
		d_norm(x[t], weight(w, il, "attn_norm.weight"), s->embd, h);
		d_matvec(weight(w, il, "attn_q.weight"), weight(w, il, "attn_q.bias"), h, s->embd,
			 nq, q);
		d_matvec(weight(w, il, "attn_k.weight"), weight(w, il, "attn_k.bias"), h, s->embd,
			 nkv, k[t]);
		d_matvec(weight(w, il, "attn_v.weight"), weight(w, il, "attn_v.bias"), h, s->embd,
			 nkv, v[t]);
		for (i = 0; i < s->heads; i++)
			d_head(q + i * s->head_dim, s, weight(w, il, "attn_q_norm.weight"), t);
		for (i = 0; i < s->kv_heads; i++)
			d_head(k[t] + i * s->head_dim, s, weight(w, il, "attn_k_norm.weight"), t);
		for (i = 0; i < nkv; i++) {
			k[t][i] = half(k[t][i]);	/* the cache is F16 */
			v[t][i] = half(v[t][i]);
		}
		d_attend(s, t, q, k, v, o);
		d_matvec(weight(w, il, "attn_output.weight"), NULL, o, nq, s->embd, h);
		for (i = 0; i < s->embd; i++)
			x[t][i] += h[i];
		d_norm(x[t], weight(w, il, "ffn_norm.weight"), s->embd, h);
		d_matvec(weight(w, il, "ffn_gate.weight"), NULL, h, s->embd, s->ff, g);
		d_matvec(weight(w, il, "ffn_up.weight"), NULL, h, s->embd, s->ff, u);
		for (i = 0; i < s->ff; i++)
			g[i] = g[i] / (1 + exp(-g[i])) * u[i];
		d_matvec(weight(w, il, "ffn_down.weight"), NULL, g, s->ff, s->embd, h);
		for (i = 0; i < s->embd; i++)
			x[t][i] += h[i];
	}
}

/* Logits after the last of @n tokens. */
static void d_forward(const struct weights *w, const struct shape *s, const int32_t *tokens,
		      uint32_t n, double *logits)
{
	static double x[MAX_T][MAX_N];
	const float *out = weight(w, -1, s->tied ? "token_embd.weight" : "output.weight");
	double h[MAX_N];
	uint32_t t, i;

	for (t = 0; t < n; t++)
		for (i = 0; i < s->embd; i++)
			x[t][i] = (double)weight(
				w, -1, "token_embd.weight")[(uint32_t)tokens[t] * s->embd + i];
	for (i = 0; i < s->layers; i++)
		d_layer(w, s, (int)i, n, x);
	d_norm(x[n - 1], weight(w, -1, "output_norm.weight"), s->embd, h);
	d_matvec(out, NULL, h, s->embd, V, logits);
}

/* ---- Helpers --------------------------------------------------------------------- */

static struct npu_llm *open_llm(const char *path, const struct npu_llm_options *opt)
{
	struct npu_llm *llm = NULL;
	int ret = npu_llm_open(dev, path, opt, &llm, err, sizeof(err));

	if (ret)
		fail_msg("%s: %s", path, err);
	return llm;
}

static void expect_refused(const char *path, const struct npu_llm_options *opt, int code,
			   const char *text)
{
	struct npu_llm *llm = NULL;

	err[0] = 0;
	assert_int_equal(npu_llm_open(dev, path, opt, &llm, err, sizeof(err)), code);
	assert_null(llm);
	if (!strstr(err, text))
		fail_msg("message '%s' does not say '%s'", err, text);
}

#define ok(llm, call) \
	do { \
		int ret_ = (call); \
		if (ret_) \
			fail_msg("%s: %d, %s", #call, ret_, npu_llm_error(llm)); \
	} while (0)

struct text {
	char s[8192];
	size_t len;
	uint32_t calls, cancel_at;
};

static int collect(void *data, const struct npu_llm_piece *piece)
{
	struct text *t = data;

	assert_true(t->len + piece->len < sizeof(t->s));
	memcpy(t->s + t->len, piece->text, piece->len);
	t->len += piece->len;
	t->s[t->len] = 0;
	return ++t->calls == t->cancel_at;
}

static uint32_t encode(struct npu_llm *llm, const char *text, int32_t *tokens, uint32_t max)
{
	int64_t n = npu_tokenizer_encode(npu_llm_tokenizer(llm), text, strlen(text),
					 NPU_ENCODE_SPECIAL, tokens, max);

	assert_true(n > 0 && n <= max);
	return (uint32_t)n;
}

static struct npu_llm_params greedy(struct text *t, uint32_t n)
{
	struct npu_llm_params p;

	memset(t, 0, sizeof(*t));
	npu_llm_params_init(&p);
	p.temperature = 0;
	p.max_tokens = n;
	p.piece = collect;
	p.data = t;
	return p;
}

static void some_tokens(int32_t *tokens, uint32_t n)
{
	uint32_t i;

	for (i = 0; i < n; i++)
		tokens[i] = (int32_t)(i == 0 ? 1 : 3 + (i * 37 + i * i * 11) % (V - 3));
}

/* The tests that run on any model take the first that is there. */
static const char *any_model(void)
{
	static char path[PATH_MAX];

	if (test_bundled_model(path, sizeof(path)) ||
	    test_model("stories15M-Q8_0.gguf", path, sizeof(path)))
		return path;
	return NULL;
}

/* ---- Arithmetic ------------------------------------------------------------------ */

static void compare_with_double(const struct shape *s)
{
	struct npu_llm *llm;
	struct gguf_build b;
	struct weights w;
	int32_t tokens[MAX_T];
	double want[V], worst = 0;
	const float *got;
	uint32_t i;

	build_model(&b, &w, s);
	write_model(&b);
	llm = open_llm(model_path, NULL);
	some_tokens(tokens, 40);
	ok(llm, npu_llm_feed(llm, tokens, 40));
	got = npu_llm_logits(llm);
	assert_non_null(got);
	d_forward(&w, s, tokens, 40, want);
	for (i = 0; i < V; i++)
		worst = fmax(worst, fabs((double)got[i] - want[i]));
	printf("# %s: largest difference to double arithmetic %.3g\n", s->arch, worst);
	assert_true(worst <= 1e-3);
	npu_llm_close(llm);
	free_weights(&w);
	unlink(model_path);
}

static void llama_equals_double(void **state)
{
	(void)state;
	compare_with_double(&tiny_llama);
}

static void qwen2_equals_double(void **state)
{
	(void)state;
	compare_with_double(&tiny_qwen2);
}

static void qwen3_equals_double(void **state)
{
	(void)state;
	compare_with_double(&tiny_qwen3);
}

static void yarn_equals_double(void **state)
{
	(void)state;
	yarn = 4;
	yarn_context = 1024;
	compare_with_double(&tiny_llama);
	compare_with_double(&tiny_qwen2);
	yarn = 0;
}

/* Logits of the same tokens, as options say. */
static float *logits_with(const char *path, const struct npu_llm_options *opt,
			  const int32_t *tokens, uint32_t n, uint32_t *vocab)
{
	struct npu_llm *llm = open_llm(path, opt);
	struct npu_llm_info info;
	float *copy;

	npu_llm_info(llm, &info, sizeof(info));
	ok(llm, npu_llm_feed(llm, tokens, n));
	copy = malloc(info.vocab * sizeof(*copy));
	memcpy(copy, npu_llm_logits(llm), info.vocab * sizeof(*copy));
	*vocab = info.vocab;
	npu_llm_close(llm);
	return copy;
}

/* Chunks of 1, 7 and 512, tiles and rows: the same bits. */
static void same_bits(const char *path, const int32_t *tokens, uint32_t n)
{
	const struct npu_llm_options opts[] = {
		{ .size = sizeof(opts[0]), .chunk = 512 },
		{ .size = sizeof(opts[0]), .chunk = 1 },
		{ .size = sizeof(opts[0]), .chunk = 7 },
		{ .size = sizeof(opts[0]), .row_layout = true },
		{ .size = sizeof(opts[0]), .context = n, .chunk = 7 },
	};
	float *first, *other;
	uint32_t i, v;

	first = logits_with(path, &opts[0], tokens, n, &v);
	for (i = 1; i < sizeof(opts) / sizeof(opts[0]); i++) {
		other = logits_with(path, &opts[i], tokens, n, &v);
		assert_memory_equal(first, other, v * sizeof(*first));
		free(other);
	}
	free(first);
}

static void bits_do_not_depend_on_chunks(void **state)
{
	struct gguf_build b;
	struct weights w;
	int32_t tokens[60];

	(void)state;
	build_model(&b, &w, &tiny_llama);
	write_model(&b);
	some_tokens(tokens, 60);
	same_bits(model_path, tokens, 60);
	free_weights(&w);
	unlink(model_path);
}

static void bits_of_a_real_model(void **state)
{
	const char *path = any_model();
	int32_t tokens[100];
	uint32_t i;

	(void)state;
	if (!path)
		skip();
	for (i = 0; i < 100; i++)
		tokens[i] = (int32_t)(i ? 300 + i * 17 % 1000 : 1);
	same_bits(path, tokens, 100);
}

/* ---- Sequences ------------------------------------------------------------------- */

/* A common beginning is kept; the bits are those of a fresh start. */
static void prefix_is_reused(void **state)
{
	struct npu_llm *a, *b;
	struct gguf_build build;
	struct weights w;
	int32_t x[50], y[50];

	(void)state;
	build_model(&build, &w, &tiny_llama);
	write_model(&build);
	a = open_llm(model_path, NULL);
	b = open_llm(model_path, NULL);
	some_tokens(x, 50);
	memcpy(y, x, sizeof(y));
	y[30] = y[30] == 5 ? 6 : 5;
	ok(a, npu_llm_feed(a, x, 50));
	ok(a, npu_llm_feed(a, y, 45));
	ok(b, npu_llm_feed(b, y, 45));
	assert_memory_equal(npu_llm_logits(a), npu_llm_logits(b), V * sizeof(float));
	npu_llm_truncate(a, 20);
	assert_int_equal(npu_llm_length(a), 20);
	assert_null(npu_llm_logits(a));
	ok(a, npu_llm_feed(a, y, 45));
	assert_memory_equal(npu_llm_logits(a), npu_llm_logits(b), V * sizeof(float));
	ok(a, npu_llm_feed(a, y, 45));	/* nothing to do */
	assert_non_null(npu_llm_logits(a));
	npu_llm_close(a);
	npu_llm_close(b);
	free_weights(&w);
	unlink(model_path);
}

/* Near the end of the context a few tokens do not cost what a whole chunk does, and have the same bits. */
static void few_at_the_end_of_the_context(void **state)
{
	const struct npu_llm_options opt = { .size = sizeof(opt), .context = 60 };
	static const uint32_t lengths[] = { 50, 51, 56, 60 };
	struct npu_counters before, after;
	uint64_t macs[4];
	struct npu_llm *a;
	struct gguf_build build;
	struct weights w;
	int32_t x[60];
	size_t i;

	(void)state;
	build_model(&build, &w, &tiny_llama);
	write_model(&build);
	a = open_llm(model_path, &opt);
	some_tokens(x, 60);
	for (i = 0; i < 4; i++) {
		float *fresh;
		uint32_t v;

		npu_device_counters(dev, &before, sizeof(before));
		ok(a, npu_llm_feed(a, x, lengths[i]));
		npu_device_counters(dev, &after, sizeof(after));
		macs[i] = after.macs - before.macs;
		fresh = logits_with(model_path, &opt, x, lengths[i], &v);
		assert_memory_equal(npu_llm_logits(a), fresh, v * sizeof(*fresh));
		free(fresh);
	}
	assert_true(macs[1] * 20 < macs[0]);
	assert_true(macs[2] * 5 < macs[0]);
	npu_llm_close(a);
	free_weights(&w);
	unlink(model_path);
}

static int32_t argmax(const float *x, uint32_t n)
{
	uint32_t i, best = 0;

	for (i = 1; i < n; i++)
		if (x[i] > x[best])
			best = i;
	return (int32_t)best;
}

/* Loops on the device, one submission per token, and fresh prompts: the same tokens. */
static void loops_equal_single_steps(void **state)
{
	static const uint32_t loops[] = { 1, 3, 40 };
	struct npu_llm *llm;
	struct gguf_build b;
	struct weights w;
	struct npu_llm_params p;
	struct npu_llm_stats st;
	struct text t;
	int32_t tokens[64];
	uint32_t i, n;

	(void)state;
	build_model(&b, &w, &tiny_llama);
	write_model(&b);
	llm = open_llm(model_path, NULL);
	some_tokens(tokens, 10);
	for (n = 10; n < 50; n++) {
		ok(llm, npu_llm_feed(llm, tokens, n));
		tokens[n] = argmax(npu_llm_logits(llm), V);
	}
	for (i = 0; i < 3; i++) {
		npu_llm_truncate(llm, 0);
		p = greedy(&t, 40);
		p.loop = loops[i];
		p.ignore_end = true;
		ok(llm, npu_llm_generate(llm, tokens, 10, &p, &st));
		assert_int_equal(st.finish, NPU_LLM_FINISH_LENGTH);
		assert_int_equal(st.tokens, 40);
		assert_int_equal(npu_llm_length(llm), 50);
		assert_memory_equal(npu_llm_tokens(llm), tokens, sizeof(tokens[0]) * 50);
		assert_int_equal(st.submissions, (39 + loops[i] - 1) / loops[i]);
	}
	npu_llm_close(llm);
	free_weights(&w);
	unlink(model_path);
}

/* A full context: stop, or go on as a fresh prompt of what is kept would. */
static void context_overflow(void **state)
{
	struct npu_llm_options opt = { .size = sizeof(opt), .context = 32 };
	struct npu_llm *llm, *fresh;
	struct gguf_build b;
	struct weights w;
	struct npu_llm_params p;
	struct npu_llm_stats st;
	struct text t;
	int32_t tokens[40], kept[64];
	uint32_t i, n;

	(void)state;
	build_model(&b, &w, &tiny_llama);
	write_model(&b);
	llm = open_llm(model_path, &opt);
	fresh = open_llm(model_path, &opt);
	some_tokens(tokens, 40);
	p = greedy(&t, 0);
	p.ignore_end = true;
	ok(llm, npu_llm_generate(llm, tokens, 10, &p, &st));
	assert_int_equal(st.finish, NPU_LLM_FINISH_CONTEXT);
	assert_int_equal(st.tokens, 23);	/* 22 that fit, and the one that they give */

	/* Two tokens are kept, so the kept half is tokens 0, 1 and the last 14. */
	memcpy(kept, npu_llm_tokens(llm), 2 * sizeof(kept[0]));
	memcpy(kept + 2, npu_llm_tokens(llm) + 33 - 14, 14 * sizeof(kept[0]));
	for (n = 16; n < 26; n++) {
		ok(fresh, npu_llm_feed(fresh, kept, n));
		kept[n] = argmax(npu_llm_logits(fresh), V);
	}
	for (i = 0; i < 2; i++) {
		npu_llm_truncate(llm, 0);
		p = greedy(&t, 33);
		p.ignore_end = true;
		p.overflow = NPU_LLM_OVERFLOW_DROP;
		p.keep = 2;
		p.top_k = 1;
		p.temperature = i ? 1 : 0;	/* through the sampler it is the same */
		ok(llm, npu_llm_generate(llm, tokens, 10, &p, &st));
		assert_int_equal(st.drops, 1);
		assert_int_equal(st.tokens, 33);
		assert_int_equal(npu_llm_length(llm), 26);
		assert_memory_equal(npu_llm_tokens(llm), kept, 26 * sizeof(kept[0]));
	}
	assert_int_equal(npu_llm_feed(llm, tokens, 40), -ENOSPC);
	assert_non_null(strstr(npu_llm_error(llm), "the prompt has 40 tokens, the context 32"));
	npu_llm_close(llm);
	npu_llm_close(fresh);
	free_weights(&w);
	unlink(model_path);
}

/* The score of a text is the sum over its tokens' own predictions, at any cut. */
static void score_equals_logits(void **state)
{
	struct npu_llm *llm;
	struct gguf_build b;
	struct weights w;
	int32_t tokens[60];
	double sum, want = 0, z;
	const float *l;
	uint32_t i, j;

	(void)state;
	build_model(&b, &w, &tiny_llama);
	write_model(&b);
	llm = open_llm(model_path, &(struct npu_llm_options){
					   .size = sizeof(struct npu_llm_options), .chunk = 13 });
	some_tokens(tokens, 60);
	for (i = 20; i < 60; i++) {
		ok(llm, npu_llm_feed(llm, tokens, i));
		l = npu_llm_logits(llm);
		for (j = 0, z = 0; j < V; j++)
			z += exp((double)l[j]);
		want += (double)l[tokens[i]] - log(z);
	}
	ok(llm, npu_llm_score(llm, tokens, 60, 20, &sum));
	assert_true(fabs(sum - want) < 1e-9);
	assert_int_equal(npu_llm_score(llm, tokens, 1, 1, &sum), -EINVAL);
	npu_llm_close(llm);
	free_weights(&w);
	unlink(model_path);
}

/* ---- Choosing and stopping ------------------------------------------------------- */

static void seed_reproduces(void **state)
{
	const char *path = any_model();
	struct npu_llm *llm;
	struct npu_llm_params p;
	struct text a, b, c;
	int32_t tokens[64];
	uint32_t n;

	(void)state;
	if (!path)
		skip();
	llm = open_llm(path, NULL);
	n = encode(llm, "Once upon a time", tokens, 64);
	p = greedy(&a, 40);
	p.temperature = 1;
	p.repeat_penalty = 1.1f;
	p.seed = 42;
	ok(llm, npu_llm_generate(llm, tokens, n, &p, NULL));
	memset(&b, 0, sizeof(b));
	p.data = &b;
	ok(llm, npu_llm_generate(llm, tokens, n, &p, NULL));
	assert_string_equal(a.s, b.s);
	memset(&c, 0, sizeof(c));
	p.data = &c;
	p.seed = 43;
	ok(llm, npu_llm_generate(llm, tokens, n, &p, NULL));
	assert_string_not_equal(a.s, c.s);
	npu_llm_close(llm);
}

/* Text ends exactly before the stop string, also when it spans tokens and when the device loops. */
static void sane_sampling(struct gguf_build *b)
{
	gb_kv_f32(b, "general.sampling.temp", 0.5f);
	gb_kv_u32(b, "general.sampling.top_k", 7);
	gb_kv_f32(b, "general.sampling.top_p", 0.75f);
	gb_kv_f32(b, "general.sampling.penalty_repeat", 1.25f);
}

static void mad_sampling(struct gguf_build *b)
{
	gb_kv_f32(b, "general.sampling.temp", -1);
	gb_kv_str(b, "general.sampling.top_k", "many");
	gb_kv_f32(b, "general.sampling.top_p", 1.5f);
	gb_kv_f32(b, "general.sampling.min_p", NAN);
	gb_kv_f32(b, "general.sampling.penalty_repeat", INFINITY);
}

static struct npu_llm_params recommended_by(void (*fn)(struct gguf_build *b))
{
	struct npu_llm_params p;
	struct npu_llm *llm;
	struct gguf_build b;
	struct weights w;

	recommend = fn;
	build_model(&b, &w, &tiny_llama);
	recommend = NULL;
	write_model(&b);
	llm = open_llm(model_path, NULL);
	npu_llm_params_init(&p);
	p.seed = 5;
	npu_llm_params_recommended(llm, &p);
	npu_llm_close(llm);
	free_weights(&w);
	unlink(model_path);
	return p;
}

static void the_file_recommends(void **state)
{
	struct npu_llm_params none = recommended_by(NULL), mad = recommended_by(mad_sampling),
			      sane = recommended_by(sane_sampling);

	(void)state;
	assert_true(none.temperature == 0.8f && none.top_k == 40 && none.top_p == 0.95f &&
		    none.min_p == 0.05f && none.repeat_penalty == 1 && none.seed == 5);
	assert_true(mad.temperature == 0.8f && mad.top_k == 40 && mad.top_p == 0.95f &&
		    mad.min_p == 0.05f && mad.repeat_penalty == 1);
	assert_true(sane.temperature == 0.5f && sane.top_k == 7 && sane.top_p == 0.75f &&
		    sane.min_p == 0.05f && sane.repeat_penalty == 1.25f && sane.seed == 5);
}

static void stop_strings(void **state)
{
	const char *path = any_model(), *stop[1];
	struct npu_llm *llm;
	struct npu_llm_params p;
	struct npu_llm_stats st;
	struct text whole, cut;
	char mark[16];
	int32_t tokens[64];
	uint32_t n;

	(void)state;
	if (!path)
		skip();
	llm = open_llm(path, NULL);
	n = encode(llm, "Once upon a time", tokens, 64);
	p = greedy(&whole, 40);
	ok(llm, npu_llm_generate(llm, tokens, n, &p, NULL));
	assert_true(whole.len > 60);
	memcpy(mark, whole.s + 37, 11);
	mark[11] = 0;
	stop[0] = mark;
	p = greedy(&cut, 40);
	p.stop = stop;
	p.nstop = 1;
	ok(llm, npu_llm_generate(llm, tokens, n, &p, &st));
	assert_int_equal(st.finish, NPU_LLM_FINISH_STOP);
	assert_string_equal(npu_llm_finish_name(st.finish), "stop");
	assert_non_null(npu_gguf_find(npu_llm_gguf(llm), "tokenizer.ggml.model"));
	assert_int_equal(cut.len, strstr(whole.s, mark) - whole.s);
	assert_memory_equal(cut.s, whole.s, cut.len);
	/* A stop string that never comes holds nothing back for good. */
	stop[0] = "@@never@@";
	p = greedy(&cut, 40);
	p.stop = stop;
	p.nstop = 1;
	ok(llm, npu_llm_generate(llm, tokens, n, &p, &st));
	assert_string_equal(cut.s, whole.s);
	npu_llm_close(llm);
}

static void callback_cancels(void **state)
{
	const char *path = any_model();
	struct npu_llm *llm;
	struct npu_llm_params p;
	struct npu_llm_stats st;
	struct text t, whole;
	int32_t tokens[64];
	uint32_t n;

	(void)state;
	if (!path)
		skip();
	llm = open_llm(path, NULL);
	n = encode(llm, "Once upon a time", tokens, 64);
	p = greedy(&t, 100);
	p.loop = 64;
	t.cancel_at = 5;
	ok(llm, npu_llm_generate(llm, tokens, n, &p, &st));
	assert_int_equal(st.finish, NPU_LLM_FINISH_CANCELLED);
	assert_int_equal(st.tokens, 5);
	assert_int_equal(npu_llm_length(llm), n + 5);
	/* What follows is not disturbed by what the device did in the meantime. */
	p = greedy(&whole, 100);
	ok(llm, npu_llm_generate(llm, tokens, n, &p, &st));
	assert_memory_equal(whole.s, t.s, t.len);
	assert_true(whole.len > t.len);
	npu_llm_close(llm);
}

static int cancel_from_outside(void *data, const struct npu_llm_piece *piece)
{
	struct npu_llm **llm = data;

	(void)piece;
	npu_llm_cancel(*llm);	/* as a signal handler would */
	return 0;
}

static void cancel_ends_a_loop(void **state)
{
	const char *path = any_model();
	struct npu_llm *llm;
	struct npu_llm_params p;
	struct npu_llm_stats st;
	struct text t;
	int32_t tokens[64];
	uint32_t n;

	(void)state;
	if (!path)
		skip();
	llm = open_llm(path, NULL);
	n = encode(llm, "Once upon a time", tokens, 64);
	p = greedy(&t, 120);
	p.loop = 8;
	p.piece = cancel_from_outside;
	p.data = &llm;
	ok(llm, npu_llm_generate(llm, tokens, n, &p, &st));
	assert_int_equal(st.finish, NPU_LLM_FINISH_CANCELLED);
	assert_true(st.tokens < 120);
	p = greedy(&t, 20);	/* the next call is not cancelled */
	ok(llm, npu_llm_generate(llm, tokens, n, &p, &st));
	assert_int_equal(st.tokens, 20);
	npu_llm_close(llm);
}

/*
 * A fault in the middle: the error names it, what was written stays, and the model can be used
 * again.
 */
static void device_faults(void **state)
{
	static const char *const faults[] = { "page-fault", "ecc", "hang" };
	struct npu_llm *llm;
	struct gguf_build b;
	struct weights w;
	struct npu_llm_params p;
	struct npu_llm_stats st;
	struct text whole, t;
	int32_t tokens[10];
	uint32_t i;

	(void)state;
	build_model(&b, &w, &tiny_llama);
	write_model(&b);
	llm = open_llm(model_path, NULL);
	some_tokens(tokens, 10);
	p = greedy(&whole, 40);
	p.ignore_end = true;
	p.loop = 4;
	ok(llm, npu_llm_generate(llm, tokens, 10, &p, NULL));
	for (i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		if (npu_device_inject(dev, faults[i], -1, 300, 0)) {
			printf("# skipped: faults are injected into the software device only\n");
			break;
		}
		p.data = &t;
		memset(&t, 0, sizeof(t));
		assert_true(npu_llm_generate(llm, tokens, 10, &p, &st) < 0);
		assert_non_null(strstr(npu_llm_error(llm), "the device failed"));
		assert_true(t.calls == st.tokens && st.tokens < 40);
		assert_memory_equal(t.s, whole.s, t.len);
		memset(&t, 0, sizeof(t));
		ok(llm, npu_llm_generate(llm, tokens, 10, &p, &st));
		assert_string_equal(t.s, whole.s);
	}
	npu_llm_close(llm);
	free_weights(&w);
	unlink(model_path);
}

/* ---- Known texts ----------------------------------------------------------------- */

#define LILY_15M \
	", there was a little girl named Lily. She loved to play outside in the sunshine. One day, she saw a big, " \
	"red ball in the sky. It was the sun! She thought it was so pretty.\nLily"
#define REST_15M \
	" wanted to play with the ball, but it was too high up in the sky. She tried to jump and reach it, but she " \
	"couldn't. Then, she had an idea. She would use a stick to get the ball down."
#define LILY_260K \
	", there was a little girl named Lily. She loved to play outside in the park. One day, she saw a big, red " \
	"ball. She wanted to play with it, but it was too high.\nLily's mom said, \"Lily, let's go to the park.\""

static void check_story(const char *name, uint32_t n, const char *want)
{
	char path[PATH_MAX];
	struct npu_llm_params p;
	struct npu_llm *llm;
	struct text t;
	int32_t tokens[64];

	if (!test_model(name, path, sizeof(path)))
		skip();
	llm = open_llm(path, NULL);
	p = greedy(&t, n);
	ok(llm,
	   npu_llm_generate(llm, tokens, encode(llm, "Once upon a time", tokens, 64), &p, NULL));
	assert_true(t.len >= strlen(want));
	t.s[strlen(want)] = 0;
	assert_string_equal(t.s, want);
	npu_llm_close(llm);
}

static void story_260k(void **state)
{
	(void)state;
	check_story("stories260K-f32.gguf", 110, LILY_260K);
}

static void story_15m(void **state)
{
	(void)state;
	check_story("stories15M-Q8_0.gguf", 110, LILY_15M);
}

/*
 * The rest of that story as another runtime writes it. After "Lily" two tokens
 * are nearly equal: 0.04 apart without rounding, where rounding activations to
 * 8 bits (this profile with an F32 scale, the other runtime with an F16 one)
 * moves logits by 0.2 and more. So the text is given and each of its tokens must
 * be the most probable one, at two places up to much less than that noise.
 */
static void story_15m_to_its_end(void **state)
{
	char path[PATH_MAX];
	struct npu_llm_info info;
	struct npu_llm *llm;
	int32_t tokens[256];
	const float *l;
	uint32_t n, i, ties = 0;

	(void)state;
	if (!test_model("stories15M-Q8_0.gguf", path, sizeof(path)))
		skip();
	llm = open_llm(path, NULL);
	npu_llm_info(llm, &info, sizeof(info));
	n = encode(llm, "Once upon a time" LILY_15M REST_15M, tokens, 256);
	for (i = encode(llm, "Once upon a time", (int32_t[64]){ 0 }, 64); i < n; i++) {
		ok(llm, npu_llm_feed(llm, tokens, i));
		l = npu_llm_logits(llm);
		if (argmax(l, info.vocab) == tokens[i])
			continue;
		printf("# token %u: %.4f below the most probable\n", i,
		       (double)(l[argmax(l, info.vocab)] - l[tokens[i]]));
		assert_true(l[argmax(l, info.vocab)] - l[tokens[i]] < 0.05f);
		ties++;
	}
	assert_true(ties <= 2);
	npu_llm_close(llm);
}

static void bundled_model_writes(void **state)
{
	char path[PATH_MAX];
	struct npu_llm_params p;
	struct npu_llm_stats st;
	struct npu_llm *llm;
	struct text t;
	int32_t tokens[64];

	(void)state;
	if (!test_bundled_model(path, sizeof(path))) {
		printf("# skipped: no model in models/\n");
		skip();
	}
	llm = open_llm(path, NULL);
	p = greedy(&t, 60);
	ok(llm,
	   npu_llm_generate(llm, tokens, encode(llm, "Once upon a time", tokens, 64), &p, &st));
	assert_true(st.finish == NPU_LLM_FINISH_LENGTH || st.finish == NPU_LLM_FINISH_END);
	assert_true(t.len > 100);
	npu_llm_close(llm);
}

/* ---- Caches, chats, errors ------------------------------------------------------- */

static void q8_0_cache(void **state)
{
	struct npu_llm_options opt = { .size = sizeof(opt), .kv_type = NPU_LLM_KV_Q8_0 };
	struct npu_llm *llm;
	struct gguf_build b;
	struct weights w;
	int32_t tokens[40];
	double want[V], worst = 0;
	uint32_t i;

	(void)state;
	build_model(&b, &w, &tiny_qwen3);	/* heads of 32 */
	write_model(&b);
	llm = open_llm(model_path, &opt);
	some_tokens(tokens, 40);
	ok(llm, npu_llm_feed(llm, tokens, 40));
	d_forward(&w, &tiny_qwen3, tokens, 40, want);
	for (i = 0; i < V; i++)
		worst = fmax(worst, fabs((double)npu_llm_logits(llm)[i] - want[i]));
	printf("# Q8_0 cache: largest difference to an F16 cache in double arithmetic %.3g\n",
	       worst);
	assert_true(worst > 0 && worst < 0.2);
	npu_llm_close(llm);
	free_weights(&w);
	unlink(model_path);
	build_model(&b, &w, &tiny_llama);
	write_model(&b);
	expect_refused(model_path, &opt, -EINVAL, "multiple of 32");
	free_weights(&w);
	unlink(model_path);
}

/* The vocabulary has one letter per token, so the frame of a chat can be read off. */
static void chat_templates(void **state)
{
	const struct npu_chat_message msgs[] = { { "user", "HI" },
						 { "assistant", "YO" },
						 { "user", "</s>" } };
	struct npu_llm *llm;
	struct gguf_build b;
	struct weights w;
	int32_t *tokens;
	uint32_t n, i, ends = 0;

	(void)state;
	build_model(&b, &w, &tiny_llama);
	write_model(&b);
	llm = open_llm(model_path, NULL);
	assert_null(npu_llm_chat_template(llm));
	assert_int_equal(npu_llm_chat(llm, msgs, 1, true, &tokens, &n), -ENOTSUP);
	npu_llm_close(llm);
	unlink(model_path);
	free_weights(&w);

	chat_mark = "{{ '<|user|>' }} ... {{ eos_token }}";
	build_model(&b, &w, &tiny_llama);
	chat_mark = NULL;
	write_model(&b);
	llm = open_llm(model_path, NULL);
	assert_string_equal(npu_llm_chat_template(llm), "zephyr");
	ok(llm, npu_llm_chat(llm, msgs, 3, true, &tokens, &n));
	assert_int_equal(tokens[0], 1);
	/* Each message ends with the token; the text "</s>" of a message does not become one. */
	for (i = 0; i < n; i++)
		ends += tokens[i] == 2;
	assert_int_equal(ends, 3);
	free(tokens);
	assert_int_equal(npu_llm_chat(llm, &(struct npu_chat_message){ "robot", "HI" }, 1, true,
				      &tokens, &n),
			 -EINVAL);
	npu_llm_close(llm);
	free_weights(&w);
	unlink(model_path);
}

/* The tokens of a conversation as text: ( and ) for begin and end; what has no token is left out. */
static void expect_chat(const char *mark, const char *name, const char *want)
{
	const struct npu_chat_message msgs[] = {
		{ "system", "BE" }, { "user", "HI" }, { "assistant", "YO" }, { "user", "AH" },
	};
	struct npu_llm *llm;
	struct gguf_build b;
	struct weights w;
	int32_t *tokens;
	char got[256];
	uint32_t n, i, at = 0;

	chat_mark = mark;
	build_model(&b, &w, &tiny_llama);
	chat_mark = NULL;
	write_model(&b);
	llm = open_llm(model_path, NULL);
	assert_string_equal(npu_llm_chat_template(llm), name);
	ok(llm, npu_llm_chat(llm, msgs, 4, true, &tokens, &n));
	for (i = 0; i < n && at + 1 < sizeof(got); i++)
		if (tokens[i])
			got[at++] = (char)(tokens[i] == 1 ? '(' : tokens[i] == 2 ? ')' : 'A' + tokens[i] - 3);
	got[at] = 0;
	assert_string_equal(got, want);
	free(tokens);
	npu_llm_close(llm);
	free_weights(&w);
	unlink(model_path);
}

static void chat_frames(void **state)
{
	(void)state;
	expect_chat("{{ bos_token + '[INST] ' }}", "llama2",
		    "([INST]SYSBESYSHI[INST]YO)([INST]AH[INST]");
	expect_chat("{{ '<|im_start|>' }}", "chatml",
		    "(|im_start|systemBE|im_end||im_start|userHI|im_end||im_start|assistantYO|im_end|"
		    "|im_start|userAH|im_end||im_start|assistant");
	expect_chat("{{ '<|start_header_id|>' }}", "llama3",
		    "(|start_header_id|system|end_header_id|BE|eot_id||start_header_id|user|end_header_id|HI|eot_id|"
		    "|start_header_id|assistant|end_header_id|YO|eot_id||start_header_id|user|end_header_id|AH|eot_id|"
		    "|start_header_id|assistant|end_header_id|");
}

static int give_up(void *data, uint64_t done, uint64_t total)
{
	uint32_t *calls = data;

	assert_true(done > 0 && total > 0);
	return ++*calls == 1;
}

static void loading_can_be_cancelled(void **state)
{
	uint32_t calls = 0;
	struct npu_llm_options opt = { .size = sizeof(opt), .threads = 1, .progress = give_up, .data = &calls };
	struct gguf_build b;
	struct weights w;

	(void)state;
	build_model(&b, &w, &tiny_llama);
	write_model(&b);
	expect_refused(model_path, &opt, -ECANCELED, "loading was cancelled");
	assert_int_equal(calls, 1);
	free_weights(&w);
	unlink(model_path);
}

/* Change the low byte of a number in the metadata. */
static void patch(struct gguf_build *b, const char *key, uint8_t v)
{
	uint8_t *p = memmem(b->head, b->head_len, key, strlen(key));

	assert_non_null(p);
	p[strlen(key) + 4] = v;
}

static void refuses_bad_models(void **state)
{
	struct shape s = tiny_llama;
	struct gguf_build b;
	struct weights w;
	char path[PATH_MAX];

	(void)state;
	expect_refused("/nonexistent.gguf", NULL, -ENOENT, "/nonexistent.gguf");
	build_model(&b, &w, &s);
	patch(&b, "llama.block_count", 3);
	write_model(&b);
	free_weights(&w);
	expect_refused(model_path, NULL, -EBADMSG, "tensor 'blk.2.attn_norm.weight' is missing");
	unlink(model_path);

	s.arch = "mamba";
	build_model(&b, &w, &s);
	write_model(&b);
	free_weights(&w);
	expect_refused(model_path, NULL, -ENOTSUP, "architecture 'mamba'");
	unlink(model_path);

	s = tiny_llama;
	s.heads = 3;			/* 3 heads, 2 key/value heads */
	build_model(&b, &w, &s);
	write_model(&b);
	free_weights(&w);
	expect_refused(model_path, NULL, -EBADMSG, "do not divide");
	unlink(model_path);

	if (test_model("ggml-vocab-llama-spm.gguf", path, sizeof(path)))
		expect_refused(path, NULL, -EBADMSG, "no weights");
}

/* Metadata that say another size than the tensors have. */
static void refuses_wrong_shapes(void **state)
{
	struct gguf_build b;
	struct weights w;
	struct shape s = tiny_llama;

	(void)state;
	build_model(&b, &w, &s);
	patch(&b, "llama.feed_forward_length", 100);
	write_model(&b);
	free_weights(&w);
	expect_refused(model_path, NULL, -EBADMSG,
		       "ffn_gate.weight' is 64 x 96, the metadata say 64 x 100");
	unlink(model_path);
}

static void refuses_bad_calls(void **state)
{
	struct npu_llm *llm;
	struct gguf_build b;
	struct weights w;
	int32_t bad[2] = { 1, V };

	(void)state;
	build_model(&b, &w, &tiny_llama);
	write_model(&b);
	llm = open_llm(model_path, NULL);
	assert_int_equal(npu_llm_feed(llm, bad, 0), -EINVAL);
	assert_int_equal(npu_llm_feed(llm, bad, 2), -EINVAL);
	assert_non_null(strstr(npu_llm_error(llm), "token 1 is 64, but there are 64"));
	bad[1] = -1;
	assert_int_equal(npu_llm_feed(llm, bad, 2), -EINVAL);
	npu_llm_close(llm);
	npu_llm_close(NULL);
	expect_refused(model_path,
		       &(struct npu_llm_options){ .size = sizeof(struct npu_llm_options),
						  .chunk = 100000 },
		       -EINVAL, "chunks of 100000");
	free_weights(&w);
	unlink(model_path);
}

static int open_device(void **state)
{
	(void)state;
	return npu_device_open(NULL, NULL, &dev);
}

static int close_device(void **state)
{
	(void)state;
	npu_device_close(dev);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(llama_equals_double),
		cmocka_unit_test(qwen2_equals_double),
		cmocka_unit_test(qwen3_equals_double),
		cmocka_unit_test(yarn_equals_double),
		cmocka_unit_test(bits_do_not_depend_on_chunks),
		cmocka_unit_test(bits_of_a_real_model),
		cmocka_unit_test(prefix_is_reused),
		cmocka_unit_test(few_at_the_end_of_the_context),
		cmocka_unit_test(loops_equal_single_steps),
		cmocka_unit_test(context_overflow),
		cmocka_unit_test(score_equals_logits),
		cmocka_unit_test(seed_reproduces),
		cmocka_unit_test(the_file_recommends),
		cmocka_unit_test(stop_strings),
		cmocka_unit_test(callback_cancels),
		cmocka_unit_test(cancel_ends_a_loop),
		cmocka_unit_test(device_faults),
		cmocka_unit_test(story_15m),
		cmocka_unit_test(story_15m_to_its_end),
		cmocka_unit_test(story_260k),
		cmocka_unit_test(bundled_model_writes),
		cmocka_unit_test(q8_0_cache),
		cmocka_unit_test(chat_templates),
		cmocka_unit_test(chat_frames),
		cmocka_unit_test(loading_can_be_cancelled),
		cmocka_unit_test(refuses_bad_models),
		cmocka_unit_test(refuses_wrong_shapes),
		cmocka_unit_test(refuses_bad_calls),
	};

	return cmocka_run_group_tests(tests, open_device, close_device);
}
