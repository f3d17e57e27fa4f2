// SPDX-License-Identifier: MIT
/* Sampling: each filter keeps what it should, and draws follow the probabilities. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "../../libnpu/src/llm/llm_internal.h"

#define N	6u
#define DRAWS	20000u

/* Probabilities 0.4 0.3 0.15 0.1 0.04 0.01, in another order. */
static const double prob[N] = { 0.1, 0.4, 0.01, 0.3, 0.15, 0.04 };

static void logits_of(float *l)
{
	uint32_t i;

	for (i = 0; i < N; i++)
		l[i] = (float)log(prob[i]) + 3;
}

static struct npu_llm_params all(void)
{
	return (struct npu_llm_params){ .size = sizeof(struct npu_llm_params),
					.temperature = 1,
					.top_p = 1,
					.repeat_penalty = 1,
					.repeat_last = 64 };
}

/* How often each token is drawn must be @want, within four deviations. */
static void expect_shares(const struct npu_llm_params *p, const int32_t *history, uint32_t length,
			  const double *want)
{
	struct llm_sampler s;
	uint32_t count[N] = { 0 }, i;
	float l[N];
	int32_t id;

	logits_of(l);
	assert_int_equal(llm_sampler_init(&s, N, 5), 0);
	for (i = 0; i < DRAWS; i++) {
		id = llm_sample(&s, l, p, history, length);
		assert_true(id >= 0 && id < (int32_t)N);
		count[id]++;
	}
	for (i = 0; i < N; i++) {
		double dev = sqrt(want[i] * (1 - want[i]) / DRAWS),
		       share = (double)count[i] / DRAWS;

		if (fabs(share - want[i]) > 4 * dev)
			fail_msg("token %u: drawn with %.4f, not %.4f", i, share, want[i]);
	}
	llm_sampler_free(&s);
}

static void draws_follow_probabilities(void **state)
{
	struct npu_llm_params p = all();

	(void)state;
	expect_shares(&p, NULL, 0, prob);
}

static void temperature_flattens(void **state)
{
	struct npu_llm_params p = all();
	double want[N], sum = 0;
	uint32_t i;

	(void)state;
	p.temperature = 2;
	for (i = 0; i < N; i++)
		sum += want[i] = sqrt(prob[i]);
	for (i = 0; i < N; i++)
		want[i] /= sum;
	expect_shares(&p, NULL, 0, want);
}

static void top_k_keeps_k(void **state)
{
	const double want[N] = { 0, 4.0 / 7, 0, 3.0 / 7, 0, 0 };
	struct npu_llm_params p = all();

	(void)state;
	p.top_k = 2;
	expect_shares(&p, NULL, 0, want);
	p.top_k = 100;
	expect_shares(&p, NULL, 0, prob);
}

static void top_p_keeps_enough(void **state)
{
	const double want[N] = { 0, 0.4 / 0.85, 0, 0.3 / 0.85, 0.15 / 0.85, 0 };
	struct npu_llm_params p = all();

	(void)state;
	p.top_p = 0.8f;
	expect_shares(&p, NULL, 0, want);
}

static void min_p_cuts_the_tail(void **state)
{
	const double want[N] = { 0.1 / 0.95, 0.4 / 0.95, 0, 0.3 / 0.95, 0.15 / 0.95, 0 };
	struct npu_llm_params p = all();

	(void)state;
	p.min_p = 0.2f;
	expect_shares(&p, NULL, 0, want);
}

/* A positive logit is divided, a negative one multiplied; each token once, and only recent ones. */
static void penalty_lowers_repeats(void **state)
{
	const int32_t history[] = { 3, 1, 1, 1 };
	struct npu_llm_params p = all();
	double want[N], sum = 0, l;
	uint32_t i;

	(void)state;
	p.repeat_penalty = 2;
	p.repeat_last = 3;
	for (i = 0; i < N; i++) {
		l = log(prob[i]) + 3;
		if (i == 1)
			l = l > 0 ? l / 2 : l * 2;
		sum += want[i] = exp(l);
	}
	for (i = 0; i < N; i++)
		want[i] /= sum;
	expect_shares(&p, history, 4, want);
}

static void greedy_and_ties(void **state)
{
	const float l[N] = { 1, 7, 7, 0, NAN, 7 };
	struct npu_llm_params p = all();
	struct llm_sampler s;
	float bad[N];
	uint32_t i;

	(void)state;
	assert_int_equal(llm_sampler_init(&s, N, 1), 0);
	p.temperature = 0;
	/* the lowest of equals, never NaN */
	assert_int_equal(llm_sample(&s, l, &p, NULL, 0), 1);
	p.temperature = 1;
	p.top_k = 1;
	assert_int_equal(llm_sample(&s, l, &p, NULL, 0), 1);
	for (i = 0; i < N; i++)
		bad[i] = NAN;
	assert_int_equal(llm_sample(&s, bad, &p, NULL, 0), -1);
	llm_sampler_free(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(draws_follow_probabilities),
		cmocka_unit_test(temperature_flattens),
		cmocka_unit_test(top_k_keeps_k),
		cmocka_unit_test(top_p_keeps_enough),
		cmocka_unit_test(min_p_cuts_the_tail),
		cmocka_unit_test(penalty_lowers_repeats),
		cmocka_unit_test(greedy_and_ties),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
