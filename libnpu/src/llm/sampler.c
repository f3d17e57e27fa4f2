// SPDX-License-Identifier: MIT
/*
 * Sampling: repetition penalty, top-k, top-p, min-p, temperature, in this
 * order, then a draw. Everything but the logits is double precision, and the
 * generator is seeded, so that a seed reproduces a text.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "llm_internal.h"

int llm_sampler_init(struct llm_sampler *s, uint32_t vocab, uint64_t seed)
{
	s->state = seed;
	s->vocab = vocab;
	s->cand = malloc(vocab * sizeof(*s->cand));
	s->seen = malloc(vocab);
	if (s->cand && s->seen)
		return 0;
	llm_sampler_free(s);
	return -ENOMEM;
}

void llm_sampler_free(struct llm_sampler *s)
{
	free(s->cand);
	free(s->seen);
	s->cand = NULL;
	s->seen = NULL;
}

/* SplitMix64; a number in [0, 1). */
static double draw(struct llm_sampler *s)
{
	uint64_t z = s->state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return (double)((z ^ z >> 31) >> 11) * 0x1p-53;
}

static bool better(const struct llm_candidate *a, const struct llm_candidate *b)
{
	return a->logit > b->logit || (a->logit == b->logit && a->id < b->id);
}

static int compare(const void *a, const void *b)
{
	return better(a, b) ? -1 : 1;
}

static void sift_down(struct llm_candidate *c, uint32_t i, uint32_t n)
{
	struct llm_candidate v = c[i];
	uint32_t down;

	while ((down = 2 * i + 1) < n) {
		if (down + 1 < n && better(&c[down], &c[down + 1]))
			down++;
		if (!better(&v, &c[down]))
			break;
		c[i] = c[down];
		i = down;
	}
	c[i] = v;
}

/* The @k best to the front, best first: a heap whose root is the worst of those kept. */
static void select_best(struct llm_candidate *c, uint32_t n, uint32_t k)
{
	uint32_t i;

	for (i = k / 2; i-- > 0;)
		sift_down(c, i, k);
	for (i = k; i < n; i++) {
		if (!better(&c[i], &c[0]))
			continue;
		c[0] = c[i];
		sift_down(c, 0, k);
	}
	qsort(c, k, sizeof(*c), compare);
}

static void penalise(struct llm_sampler *s, const struct npu_llm_params *p, const int32_t *history,
		     uint32_t length)
{
	uint32_t i, from = length > p->repeat_last ? length - p->repeat_last : 0;

	if (p->repeat_penalty == 1 || p->repeat_penalty <= 0)
		return;
	memset(s->seen, 0, s->vocab);
	for (i = from; i < length; i++)
		s->seen[history[i]] = 1;
	for (i = 0; i < s->vocab; i++)
		if (s->seen[i])
			s->cand[i].logit = s->cand[i].logit > 0
						   ? s->cand[i].logit / p->repeat_penalty
						   : s->cand[i].logit * p->repeat_penalty;
}

/* Probabilities of the first @n candidates; best first. */
static void softmax(struct llm_candidate *c, uint32_t n, double temperature)
{
	double sum = 0;
	uint32_t i;

	for (i = 0; i < n; i++)
		sum += c[i].p = exp(((double)c[i].logit - (double)c[0].logit) / temperature);
	for (i = 0; i < n; i++)
		c[i].p /= sum;
}

/* The smallest number of candidates whose probabilities reach @p. */
static uint32_t cut_top_p(const struct llm_candidate *c, uint32_t n, double p)
{
	double sum = 0;
	uint32_t i;

	for (i = 0; i < n; i++) {
		sum += c[i].p;
		if (sum >= p)
			return i + 1;
	}
	return n;
}

static uint32_t cut_min_p(const struct llm_candidate *c, uint32_t n, double p)
{
	uint32_t i = 1;

	while (i < n && c[i].p >= p * c[0].p)
		i++;
	return i;
}

int32_t llm_sample(struct llm_sampler *s, const float *logits, const struct npu_llm_params *p,
		   const int32_t *history, uint32_t length)
{
	struct llm_candidate *c = s->cand;
	uint32_t i, n = s->vocab;
	double u, sum = 0;

	for (i = 0; i < s->vocab; i++)
		c[i] = (struct llm_candidate){ (int32_t)i, isnan(logits[i]) ? -INFINITY : logits[i],
					       0 };
	penalise(s, p, history, length);
	if (p->temperature <= 0)
		n = 1;
	else if (p->top_k && p->top_k < n)
		n = p->top_k;
	select_best(c, s->vocab, n);
	if (!isfinite(c[0].logit))
		return -1;
	if (n == 1)
		return c[0].id;
	softmax(c, n, 1);
	if (p->top_p < 1)
		n = cut_top_p(c, n, (double)p->top_p);
	if (p->min_p > 0)
		n = cut_min_p(c, n, (double)p->min_p);
	softmax(c, n, (double)p->temperature);
	u = draw(s);
	for (i = 0; i + 1 < n; i++) {
		sum += c[i].p;
		if (u < sum)
			break;
	}
	return c[i].id;
}
