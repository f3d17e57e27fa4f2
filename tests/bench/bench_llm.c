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
#include <time.h>

#include <npu/device.h>
#include <npu/llm.h>

#include "peaks.h"

#define READ_BYTES	(512u << 20)
#define MAX_RUNS	32

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

/* Of all threads of this process. */
static double cpu_seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

/* One value per run: tokens per second, and tokens per second of CPU time (for a busy machine). */
struct result {
	double pp[MAX_RUNS], tg[MAX_RUNS], pp_cpu[MAX_RUNS], tg_cpu[MAX_RUNS];
	double pp_modelled, pp_mac_share;	/* of the modelled device */
	struct npu_llm_stats st;
};

/* What the modelled device took for the prompt, and how much of its int8 MACs it used. */
static void modelled_prompt(struct npu_device *dev, const struct args *a,
			    const struct npu_counters *before, struct result *r)
{
	struct npu_device_info info;
	struct npu_counters c;
	double cycles;

	npu_device_query(dev, &info, sizeof(info));
	npu_device_counters(dev, &c, sizeof(c));
	cycles = (double)(c.cycles - before->cycles);
	r->pp_modelled = a->prompt / (cycles / (c.core_khz * 1e3));
	r->pp_mac_share = (double)(c.macs - before->macs) / (cycles * info.macs_i8);
}

static int run_once(struct npu_device *dev, struct npu_llm *llm, const struct args *a,
		    const int32_t *prompt, struct result *r, int run)
{
	struct npu_counters before;
	struct npu_llm_params p;
	double t, cpu;
	int ret;

	npu_llm_params_init(&p);
	p.temperature = 0;
	p.ignore_end = true;
	p.max_tokens = a->tokens + 1;	/* the first one comes from the prompt */
	npu_device_counters(dev, &before, sizeof(before));
	npu_llm_truncate(llm, 0);
	t = now();
	cpu = cpu_seconds();
	ret = npu_llm_feed(llm, prompt, a->prompt);
	if (ret)
		return ret;
	t = now() - t;
	cpu = cpu_seconds() - cpu;
	modelled_prompt(dev, a, &before, r);
	if (run >= 0) {
		r->pp[run] = a->prompt / t;
		r->pp_cpu[run] = a->prompt / cpu;
	}
	npu_llm_truncate(llm, 0);
	cpu = cpu_seconds();
	ret = npu_llm_generate(llm, prompt, 1, &p, &r->st);
	cpu = cpu_seconds() - cpu;
	if (!ret && run >= 0) {
		r->tg[run] = a->tokens / r->st.decode_s;
		r->tg_cpu[run] = a->tokens / cpu;
	}
	return ret;
}

static bool measure(struct npu_device *dev, struct npu_llm *llm, const struct args *a,
		    struct result *r)
{
	int32_t *prompt = malloc((a->prompt + 1) * sizeof(*prompt));
	struct npu_llm_info info;
	uint32_t i;
	int run, ret = 0;

	npu_llm_info(llm, &info, sizeof(info));
	for (i = 0; i <= a->prompt; i++)
		prompt[i] = (int32_t)(i * 7919u % info.vocab);
	for (run = -1; run < (int)a->runs && !ret; run++)	/* the first one warms up */
		ret = run_once(dev, llm, a, prompt, r, run);
	free(prompt);
	if (ret)
		fprintf(stderr, "bench_llm: %s\n", npu_llm_error(llm));
	return !ret;
}

static void report(struct npu_llm *llm, const struct args *a, struct result *r, double load,
		   double read)
{
	double pp = median(r->pp, a->runs), tg = median(r->tg, a->runs), per_token;
	struct npu_llm_info i;

	npu_llm_info(llm, &i, sizeof(i));
	/* Half of the positions on average: K and V of every layer. */
	per_token = (double)i.weight_bytes_token + (double)i.kv_bytes / i.context * a->tokens / 2;
	printf("%s (%s, %.1f M parameters), loaded in %.2f s\n", a->model, i.architecture,
	       (double)i.parameters / 1e6, load);
	printf("  pp%-5u %9.2f tokens/s (%.2f per second of CPU time)\n", a->prompt, pp,
	       median(r->pp_cpu, a->runs));
	printf("  tg%-5u %9.2f tokens/s (%.2f per second of CPU time)\n", a->tokens, tg,
	       median(r->tg_cpu, a->runs));
	printf("  tg reads %.1f GB/s of weights and cache, %.0f %% of the %.1f GB/s that %u threads read\n",
	       tg * per_token / 1e9, read > 0 ? 100 * tg * per_token / read : 0, read / 1e9,
	       a->threads);
	printf("  modelled device: pp %.1f tokens/s, %.0f %% of its int8 MACs\n", r->pp_modelled,
	       100 * r->pp_mac_share);
	printf("  modelled device: tg %.1f tokens/s, %.0f %% of its memory's rate\n",
	       r->st.modelled_decode_s > 0 ? a->tokens / r->st.modelled_decode_s : 0,
	       100 * r->st.modelled_bandwidth);
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
	return a->model && a->prompt && a->tokens && a->runs && a->runs <= MAX_RUNS && a->threads;
}

int main(int argc, char **argv)
{
	struct args a = { .prompt = 512, .tokens = 128, .runs = 3, .threads = 2 };
	struct npu_llm_options opt = { .size = sizeof(opt) };
	static struct result r;
	char err[512] = "", soft[64];
	struct npu_device *dev;
	struct npu_llm *llm;
	double t;
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
	ok = measure(dev, llm, &a, &r);
	if (ok)
		report(llm, &a, &r, t, read_rate(a.threads));
	npu_llm_close(llm);
	npu_device_close(dev);
	return ok ? 0 : 1;
}
