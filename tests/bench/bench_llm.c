// SPDX-License-Identifier: MIT
/*
 * Speed of a language model: prompt (pp) and decode (tg) in tokens per second,
 * as other runtimes report them, beside what the machine's memory and integer
 * units allow in the same run. Prompt tokens are arbitrary; decode is greedy
 * and does not stop at end tokens.
 *
 *   bench_llm -m MODEL.gguf [-p 512] [-n 128] [-r 3] [-t 2] [-d DEVICE]
 *
 * -t sets the threads of the software device (and of the limits).
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <npu/device.h>
#include <npu/llm.h>

#include "peaks.h"

#define READ_BYTES	(512u << 20)

struct args {
	const char *model, *device;
	uint32_t prompt, tokens, runs, threads;
};

static int compare(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static double median(double *v, uint32_t n)
{
	qsort(v, n, sizeof(*v), compare);
	return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

/*
 * Bytes per second that all threads read: the best of three, as memory is shared with neighbours.
 */
static double read_rate(uint32_t threads)
{
	const struct npu_pool_options opt = { .threads = threads };
	void *buf = aligned_alloc(64, READ_BYTES);
	struct npu_pool *pool;
	double best = 0, r;
	int i;

	if (!buf || npu_pool_create(&opt, &pool)) {
		free(buf);
		return 0;
	}
	memset(buf, 1, READ_BYTES);
	for (i = 0; i < 3; i++) {
		r = peak_read(pool, buf, READ_BYTES);
		if (r > best)
			best = r;
	}
	free(buf);
	npu_pool_destroy(pool);
	return best;
}

static bool measure(struct npu_llm *llm, const struct args *a, double *pp, double *tg,
		    struct npu_llm_stats *st)
{
	int32_t *prompt = malloc((a->prompt + 1) * sizeof(*prompt));
	struct npu_llm_params p;
	struct npu_llm_info info;
	uint32_t r, i;
	double t;

	npu_llm_info(llm, &info, sizeof(info));
	for (i = 0; i <= a->prompt; i++)
		prompt[i] = (int32_t)(i * 7919u % info.vocab);
	npu_llm_params_init(&p);
	p.temperature = 0;
	p.ignore_end = true;
	p.max_tokens = a->tokens + 1;	/* the first one comes from the prompt */
	for (r = 0; r <= a->runs; r++) {	/* the first run warms up */
		npu_llm_truncate(llm, 0);
		t = now();
		if (npu_llm_feed(llm, prompt, a->prompt))
			break;
		if (r)
			pp[r - 1] = a->prompt / (now() - t);
		npu_llm_truncate(llm, 0);
		if (npu_llm_generate(llm, prompt, 1, &p, st))
			break;
		if (r)
			tg[r - 1] = a->tokens / st->decode_s;
	}
	free(prompt);
	if (r > a->runs)
		return true;
	fprintf(stderr, "bench_llm: %s\n", npu_llm_error(llm));
	return false;
}

static void report(struct npu_llm *llm, const struct args *a, double pp, double tg, double load,
		   double read, const struct npu_llm_stats *st)
{
	struct npu_llm_info i;
	double per_token;

	npu_llm_info(llm, &i, sizeof(i));
	/* Half of the positions on average: K and V of every layer. */
	per_token = (double)i.weight_bytes_token + (double)i.kv_bytes / i.context * a->tokens / 2;
	printf("%s (%s, %.1f M parameters, %.1f MB of weights), loaded in %.2f s\n", a->model,
	       i.architecture, (double)i.parameters / 1e6, (double)i.weight_bytes / 1e6, load);
	printf("  pp%-5u %9.2f tokens/s\n", a->prompt, pp);
	printf("  tg%-5u %9.2f tokens/s, %.1f GB/s of weights and cache = %.0f %% of the %.1f GB/s that %u threads read\n",
	       a->tokens, tg, tg * per_token / 1e9, read > 0 ? 100 * tg * per_token / read : 0,
	       read / 1e9, a->threads);
	printf("  modelled device: tg %9.2f tokens/s, matrix engine %.0f %% busy, memory at %.0f %% of its rate\n",
	       st->modelled_decode_s > 0 ? a->tokens / st->modelled_decode_s : 0,
	       100 * st->modelled_matrix, 100 * st->modelled_bandwidth);
	printf("  memory: weights %.1f MB, KV cache %.1f MB, intermediate %.1f MB\n",
	       (double)i.weight_bytes / 1e6, (double)i.kv_bytes / 1e6, (double)i.arena_bytes / 1e6);
}

static bool parse(int argc, char **argv, struct args *a)
{
	int c;

	while ((c = getopt(argc, argv, "m:p:n:r:t:d:")) != -1) {
		switch (c) {
		case 'm': a->model = optarg; break;
		case 'd': a->device = optarg; break;
		case 'p': a->prompt = (uint32_t)atoi(optarg); break;
		case 'n': a->tokens = (uint32_t)atoi(optarg); break;
		case 'r': a->runs = (uint32_t)atoi(optarg); break;
		case 't': a->threads = (uint32_t)atoi(optarg); break;
		default: return false;
		}
	}
	return a->model && a->prompt && a->tokens && a->runs && a->runs <= 32 && a->threads;
}

int main(int argc, char **argv)
{
	struct args a = { .prompt = 512, .tokens = 128, .runs = 3, .threads = 2 };
	struct npu_llm_options opt = { .size = sizeof(opt) };
	struct npu_llm_stats st = { 0 };
	char err[512] = "", soft[64];
	struct npu_device *dev;
	struct npu_llm *llm;
	double pp[32], tg[32], t;
	bool ok;

	if (!parse(argc, argv, &a)) {
		fprintf(stderr,
			"usage: bench_llm -m MODEL.gguf [-p 512] [-n 128] [-r 3] [-t 2] [-d DEVICE]\n");
		return 2;
	}
	snprintf(soft, sizeof(soft), "soft:threads=%u", a.threads);
	if (npu_device_open(a.device ? a.device : soft, NULL, &dev)) {
		fprintf(stderr, "bench_llm: the device cannot be opened\n");
		return 1;
	}
	opt.context = a.prompt + a.tokens + 1;
	opt.threads = a.threads;
	t = now();
	if (npu_llm_open(dev, a.model, &opt, &llm, err, sizeof(err))) {
		fprintf(stderr, "bench_llm: %s\n", err);
		npu_device_close(dev);
		return 1;
	}
	t = now() - t;
	ok = measure(llm, &a, pp, tg, &st);
	if (ok)
		report(llm, &a, median(pp, a.runs), median(tg, a.runs), t, read_rate(a.threads),
		       &st);
	npu_llm_close(llm);
	npu_device_close(dev);
	return ok ? 0 : 1;
}
