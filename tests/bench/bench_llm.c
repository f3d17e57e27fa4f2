// SPDX-License-Identifier: MIT
/*
 * Speed of a language model: prompt (pp) and decode (tg) in tokens per second,
 * as other runtimes report them, beside what the machine allows in the same
 * run: the rate of a bare matrix-vector product over weights of the same type,
 * and the memory's read rate. Both drift with neighbours, within seconds: so decode
 * is cut into slices, and they are measured before and after each. Prompt tokens are arbitrary; decode is greedy
 * and does not stop at end tokens. The model is loaded twice: the second time the machine's memory
 * is warm like the file, which a virtual machine's is not when its host took it back.
 *
 *   bench_llm -m MODEL.gguf [-p 512] [-n 128] [-r 3] [-t 2] [-d DEVICE] [-s SECONDS] [-j]
 *
 * -p 0 and -n 0 leave a part out; -t sets the threads of the software device (and of the limits);
 * -j prints one JSON object; -s, for machines whose CPUs now share a cache and now do not (virtual ones, as their host
 * moves them), decodes four tokens at a time, again and again up to -n, for so long, and reports either state by itself.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include <npu/device.h>
#include <npu/gguf.h>
#include <npu/llm.h>
#include <npu_isa.h>

#include "matmul.h"
#include "peaks.h"
#include "tile.h"

#define STREAM_BYTES	(512u << 20)	/* what the limits stream: well above the caches */
#define HUGE_PAGE	(1u << 21)
#define GEMV_SECONDS	0.25
#define SLICE		32u		/* tokens that are decoded at a time */
#define MAX_RUNS	32
#define STATE_SLICE	4u		/* the same, and seconds of the bare product, where states are told apart */
#define STATE_SECONDS	0.04
#define APART_SECONDS	110e-9		/* of a transfer: 35 to 55 ns were seen in a shared cache, 150 to 220 without */

/* Seconds: as it comes, and at once again. */
struct load {
	double first, again;
};

struct args {
	const char *model, *device;
	uint32_t prompt, tokens, runs, threads;
	double states;		/* seconds, or 0 */
	bool json;
};

/* Positions: every slice of the decode run adds the token that its prompt gave. */
static uint32_t context_of(const struct args *a)
{
	return a->prompt + a->tokens + a->tokens / SLICE + 2;
}

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

/* ---- Limits of this machine ------------------------------------------------------------- */

/* A matrix of the model's type and shape, as often as it fits, and threads of its own. */
struct limits {
	struct npu_pool *pool;
	struct npu_matmul mm;
	uint8_t *mem;
	void *scratch;
	float *x, *dst;
	size_t bytes, copies;	/* 0 = no kernel for this type */
};

/* Of the matrix that decoding reads most of: gate and up of a layer. */
static int weight_type(const struct npu_llm *llm)
{
	static const struct {
		const char *name;
		int type;
	} types[] = {
		{ "Q8_0", NPU_TYPE_Q8_0 }, { "Q4_0", NPU_TYPE_Q4_0 }, { "Q4_K", NPU_TYPE_Q4_K },
		{ "Q6_K", NPU_TYPE_Q6_K }, { "F16", NPU_TYPE_F16 },   { "BF16", NPU_TYPE_BF16 },
		{ "F32", NPU_TYPE_F32 },
	};
	const struct npu_gguf_tensor *t =
		npu_gguf_find_tensor(npu_llm_gguf(llm), "blk.0.ffn_gate.weight");
	size_t i;

	for (i = 0; t && i < sizeof(types) / sizeof(types[0]); i++)
		if (!strcmp(npu_gguf_type_info(t->type)->name, types[i].name))
			return types[i].type;
	return -1;
}

/* As the software device's memory: huge pages, and bytes that are small numbers in every type. */
static void *stream_memory(void)
{
	uint8_t *mem = aligned_alloc(HUGE_PAGE, STREAM_BYTES);

	if (!mem)
		return NULL;
	madvise(mem, STREAM_BYTES, MADV_HUGEPAGE);
	memset(mem, 0x11, STREAM_BYTES);
	return mem;
}

static void limits_free(struct limits *l)
{
	npu_pool_destroy(l->pool);
	free(l->mem);
	free(l->scratch);
	free(l->x);
	free(l->dst);
}

static bool limits_init(struct limits *l, const struct npu_llm *llm, uint32_t threads)
{
	const struct npu_pool_options opt = { .threads = threads };
	struct npu_llm_info i;
	size_t room;
	int type = weight_type(llm);

	npu_llm_info(llm, &i, sizeof(i));
	l->mem = stream_memory();
	if (!l->mem || npu_pool_create(&opt, &l->pool))
		return false;
	if (type < 0)
		return true;
	l->x = calloc(i.embedding, sizeof(*l->x));
	l->dst = calloc(2 * (size_t)i.feed_forward, sizeof(*l->dst));
	l->mm = (struct npu_matmul){
		.dst = l->dst, .x = l->x, .w.p = l->mem,
		.dst_stride = 2ul * i.feed_forward * 4, .x_stride = i.embedding * 4ul,
		.dst_type = NPU_TYPE_F32, .x_type = NPU_TYPE_F32,
		.w_type = (uint8_t)type, .w_layout = NPU_LAYOUT_TILE16,
		.m = 1, .n = 2 * i.feed_forward, .k = i.embedding,
	};
	room = (npu_matmul_scratch(&l->mm, l->pool, npu_path_best()) + 63) / 64 * 64;
	l->scratch = aligned_alloc(64, room ? room : 64);
	l->bytes = npu_tile_bytes((unsigned int)type, l->mm.n, l->mm.k);
	l->copies = l->bytes ? STREAM_BYTES / l->bytes : 0;
	return l->x && l->dst && l->scratch;
}

/* Bytes of weights per second through the matrix kernel at one row. */
static double gemv_rate(struct limits *l, double seconds)
{
	double begin = now(), t;
	size_t i, bytes = 0;

	if (!l->copies)
		return 0;
	do {
		for (i = 0; i < l->copies; i++) {
			l->mm.w.p = l->mem + i * l->bytes;
			npu_matmul_run(&l->mm, l->pool, npu_path_best(), l->scratch);
		}
		bytes += l->copies * l->bytes;
		t = now() - begin;
	} while (t < seconds);
	return (double)bytes / t;
}

/* ---- Runs -------------------------------------------------------------------------------- */

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
	double gemv[MAX_RUNS], read[MAX_RUNS];	/* around each slice, averaged: bytes per second */
	double gemv_share[MAX_RUNS], read_share[MAX_RUNS];	/* of them that decode used */
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

static int run_prompt(struct npu_device *dev, struct npu_llm *llm, const struct args *a,
		      const int32_t *prompt, struct result *r, int run)
{
	struct npu_counters before;
	double t, cpu;
	int ret;

	npu_device_counters(dev, &before, sizeof(before));
	npu_llm_truncate(llm, 0);
	t = now();
	cpu = cpu_seconds();
	ret = npu_llm_feed(llm, prompt, a->prompt);
	t = now() - t;
	cpu = cpu_seconds() - cpu;
	if (ret || run < 0)
		return ret;
	modelled_prompt(dev, a, &before, r);
	r->pp[run] = a->prompt / t;
	r->pp_cpu[run] = a->prompt / cpu;
	return 0;
}

/* Bytes of weights and, at half of the positions on average, K and V of every layer. */
static double bytes_per_token(const struct npu_llm *llm, const struct args *a)
{
	struct npu_llm_info i;

	npu_llm_info(llm, &i, sizeof(i));
	return (double)i.weight_bytes_token + (double)i.kv_bytes / i.context * a->tokens / 2;
}

/* The machine's limits, as they are now. */
struct rates {
	double gemv, read;
};

static struct rates rates_now(struct limits *l)
{
	return (struct rates){ gemv_rate(l, GEMV_SECONDS), peak_read(l->pool, l->mem, STREAM_BYTES) };
}

/* Decodes @tokens after @seq, whose length is *@n; that grows with it. */
static int decode_slice(struct npu_llm *llm, uint32_t tokens, int32_t *seq, uint32_t *n, struct npu_llm_stats *st)
{
	struct npu_llm_params p;
	int ret;

	npu_llm_params_init(&p);
	p.temperature = 0;
	p.ignore_end = true;
	p.max_tokens = tokens + 1;	/* the first one comes from the prompt */
	ret = npu_llm_generate(llm, seq, *n, &p, st);
	*n = npu_llm_length(llm);
	memcpy(seq, npu_llm_tokens(llm), *n * sizeof(*seq));
	return ret;
}

/* @seq: room for all tokens; the first one is the prompt. */
static int run_decode(struct npu_llm *llm, const struct args *a, struct limits *l, int32_t *seq,
		      struct result *r, int run)
{
	double seconds = 0, cpu = 0, gemv = 0, read = 0, gemv_share = 0, read_share = 0, begin;
	struct rates before = rates_now(l), after;
	uint32_t at, n, length = 1;
	int ret;

	npu_llm_truncate(llm, 0);
	for (at = 0; at < a->tokens; at += n, before = after) {
		double share, used;

		n = a->tokens - at < SLICE ? a->tokens - at : SLICE;
		begin = cpu_seconds();
		ret = decode_slice(llm, n, seq, &length, &r->st);
		if (ret)
			return ret;
		cpu += cpu_seconds() - begin;
		seconds += r->st.decode_s;
		after = rates_now(l);
		share = (double)n / a->tokens;
		used = n / r->st.decode_s * bytes_per_token(llm, a);
		gemv += share * (before.gemv + after.gemv) / 2;
		read += share * (before.read + after.read) / 2;
		gemv_share += before.gemv > 0 ? share * 2 * used / (before.gemv + after.gemv) : 0;
		read_share += share * 2 * used / (before.read + after.read);
	}
	if (run < 0)
		return 0;
	r->tg[run] = a->tokens / seconds;
	r->tg_cpu[run] = length / cpu;
	r->gemv[run] = gemv;
	r->read[run] = read;
	r->gemv_share[run] = gemv_share;
	r->read_share[run] = read_share;
	return 0;
}

/* ---- States of the machine ----------------------------------------------------------------- */

#define MOST_SLICES	4096u

/* Of each slice; share: of the bare product's rate around it. A state can change and come back unseen: so medians. */
struct state {
	uint32_t slices;
	double tokens[MOST_SLICES], gemv[MOST_SLICES], share[MOST_SLICES];
};

/* What the machine does at one moment; @apart: -1 if that changed meanwhile. */
struct moment {
	double gemv;
	int apart;
};

static struct moment moment_now(struct limits *l)
{
	int before = peak_transfer() > APART_SECONDS, after;
	struct moment m = { .gemv = gemv_rate(l, STATE_SECONDS) };

	after = peak_transfer() > APART_SECONDS;
	m.apart = before == after ? before : -1;
	return m;
}

static int measure_states(struct npu_llm *llm, const struct args *a, struct limits *l, int32_t *seq,
			  struct state state[2], uint32_t *changed)
{
	double end = now() + a->states;
	struct state *s;
	struct moment before = moment_now(l), after;
	struct npu_llm_stats st;
	uint32_t length = 1;
	int ret;

	for (npu_llm_truncate(llm, 0); now() < end; before = after) {
		if (length + STATE_SLICE > a->tokens) {
			npu_llm_truncate(llm, 0);
			length = 1;
		}
		ret = decode_slice(llm, STATE_SLICE, seq, &length, &st);
		if (ret)
			return ret;
		after = moment_now(l);
		if (before.apart < 0 || before.apart != after.apart) {
			++*changed;
			continue;
		}
		s = &state[after.apart];
		if (s->slices == MOST_SLICES)
			break;
		s->tokens[s->slices] = STATE_SLICE / st.decode_s;
		s->gemv[s->slices] = (before.gemv + after.gemv) / 2;
		s->share[s->slices] = s->tokens[s->slices] * bytes_per_token(llm, a) / s->gemv[s->slices];
		s->slices++;
	}
	return 0;
}

static void report_state(struct state *s)
{
	double share = s->slices ? median(s->share, s->slices) : 0;	/* sorts */

	if (!s->slices)
		printf("not seen\n");
	else
		printf("%u slices of %u tokens, %.2f tokens/s, %.1f %% (half of the slices %.1f to %.1f) of the %.1f GB/s of a bare GEMV\n",
		       s->slices, STATE_SLICE, median(s->tokens, s->slices), 100 * share,
		       100 * s->share[s->slices / 4], 100 * s->share[s->slices - 1 - s->slices / 4],
		       median(s->gemv, s->slices) / 1e9);
}

static bool report_states(struct npu_llm *llm, const struct args *a, struct limits *l)
{
	static struct state state[2];
	int32_t *seq = calloc(context_of(a), sizeof(*seq));
	uint32_t changed = 0;
	int ret = seq ? measure_states(llm, a, l, seq, state, &changed) : -ENOMEM;

	free(seq);
	if (ret) {
		fprintf(stderr, "bench_llm: %s\n", seq ? npu_llm_error(llm) : "no memory");
		return false;
	}
	printf("  CPUs that share a cache: ");
	report_state(&state[0]);
	printf("  CPUs that share none: ");
	report_state(&state[1]);
	printf("  the state changed around %u slices\n", changed);
	return true;
}

static bool measure(struct npu_device *dev, struct npu_llm *llm, const struct args *a,
		    struct limits *l, struct result *r)
{
	int32_t *prompt = malloc((a->prompt + 1) * sizeof(*prompt));
	int32_t *seq = malloc(context_of(a) * sizeof(*seq));
	struct npu_llm_info info;
	uint32_t i;
	int run, ret = 0;

	npu_llm_info(llm, &info, sizeof(info));
	for (i = 0; i <= a->prompt; i++)
		prompt[i] = (int32_t)(i * 7919u % info.vocab);
	seq[0] = prompt[0];
	for (run = -1; run < (int)a->runs && !ret; run++) {	/* the first one warms up */
		if (a->prompt)
			ret = run_prompt(dev, llm, a, prompt, r, run);
		if (a->tokens && !ret)
			ret = run_decode(llm, a, l, seq, r, run);
	}
	free(prompt);
	free(seq);
	if (ret)
		fprintf(stderr, "bench_llm: %s\n", npu_llm_error(llm));
	return !ret;
}

/* ---- Report ------------------------------------------------------------------------------- */

static void report_json(const struct npu_llm *llm, const struct args *a, struct result *r, const struct load *load)
{
	(void)llm;
	printf("{\"load_first_s\":%.3f,\"load_s\":%.3f,\"pp\":%.3f,\"tg\":%.3f,\"gemv_gbps\":%.2f,\"gemv_share\":%.4f,"
	       "\"read_gbps\":%.2f,\"read_share\":%.4f}\n",
	       load->first, load->again, median(r->pp, a->runs), median(r->tg, a->runs), median(r->gemv, a->runs) / 1e9,
	       median(r->gemv_share, a->runs), median(r->read, a->runs) / 1e9,
	       median(r->read_share, a->runs));
}

static void report_prompt(const struct args *a, struct result *r)
{
	printf("  pp%-5u %9.2f tokens/s (%.2f per second of CPU time)\n", a->prompt,
	       median(r->pp, a->runs), median(r->pp_cpu, a->runs));
	printf("  modelled device: pp %.1f tokens/s, %.0f %% of its int8 MACs\n", r->pp_modelled,
	       100 * r->pp_mac_share);
}

static void report_decode(const struct npu_llm *llm, const struct args *a, struct result *r)
{
	double tg = median(r->tg, a->runs);

	printf("  tg%-5u %9.2f tokens/s (%.2f per second of CPU time)\n", a->tokens, tg,
	       median(r->tg_cpu, a->runs));
	printf("  tg reads %.1f GB/s of weights and cache", tg * bytes_per_token(llm, a) / 1e9);
	if (r->gemv[0] > 0)
		printf(": %.1f %% of the %.1f GB/s of a bare GEMV,", 100 * median(r->gemv_share, a->runs),
		       median(r->gemv, a->runs) / 1e9);
	printf(" %.1f %% of the %.1f GB/s that %u threads read\n", 100 * median(r->read_share, a->runs),
	       median(r->read, a->runs) / 1e9, a->threads);
	printf("  modelled device: tg %.1f tokens/s, %.0f %% of its memory's rate\n",
	       r->st.modelled_decode_s > 0 ? (r->st.tokens - 1) / r->st.modelled_decode_s : 0,
	       100 * r->st.modelled_bandwidth);
}

static void report_text(const struct npu_llm *llm, const struct args *a, struct result *r, const struct load *load)
{
	struct npu_llm_info i;

	npu_llm_info(llm, &i, sizeof(i));
	printf("%s (%s, %.1f M parameters), loaded in %.2f s, again in %.2f s\n", a->model, i.architecture,
	       (double)i.parameters / 1e6, load->first, load->again);
	if (a->prompt)
		report_prompt(a, r);
	if (a->tokens)
		report_decode(llm, a, r);
	printf("  memory: weights %.1f MB, KV cache %.1f MB, intermediate %.1f MB\n",
	       (double)i.weight_bytes / 1e6, (double)i.kv_bytes / 1e6, (double)i.arena_bytes / 1e6);
}

static void usage(FILE *to)
{
	fprintf(to, "usage: bench_llm -m MODEL.gguf [-p 512] [-n 128] [-r 3] [-t 2] [-d DEVICE] [-s SECONDS] [-j]\n"
		    "  -m FILE     the model\n"
		    "  -p TOKENS   of the prompt; 0: none\n"
		    "  -n TOKENS   to decode; 0: none, with -s at least 8\n"
		    "  -r RUNS     of which medians are reported, at most 32\n"
		    "  -t THREADS  of the software device, and of the machine's limits\n"
		    "  -d DEVICE   another device\n"
		    "  -s SECONDS  decode only, apart for CPUs that share a cache and that do not\n"
		    "  -j          one JSON object; not with -s\n");
}

static bool parse(int argc, char **argv, struct args *a)
{
	static const struct option longs[] = { { "help", no_argument, NULL, 'h' }, { NULL, 0, NULL, 0 } };
	int c;

	while ((c = getopt_long(argc, argv, "m:p:n:r:t:d:s:jh", longs, NULL)) != -1) {
		switch (c) {
		case 'm': a->model = optarg; break;
		case 'd': a->device = optarg; break;
		case 'p': a->prompt = (uint32_t)atoi(optarg); break;
		case 'n': a->tokens = (uint32_t)atoi(optarg); break;
		case 'r': a->runs = (uint32_t)atoi(optarg); break;
		case 't': a->threads = (uint32_t)atoi(optarg); break;
		case 's': a->states = atof(optarg); break;
		case 'j': a->json = true; break;
		case 'h': usage(stdout); exit(0);
		default: return false;
		}
	}
	if (a->states > 0 && (a->json || a->tokens < 2 * STATE_SLICE))
		return false;
	return a->model && a->prompt + a->tokens && a->runs && a->runs <= MAX_RUNS && a->threads;
}

static bool run(struct npu_device *dev, struct npu_llm *llm, const struct args *a, const struct load *load)
{
	static struct result r;
	struct limits l = { 0 };
	bool ok = limits_init(&l, llm, a->threads);

	if (!ok)
		fprintf(stderr, "bench_llm: no memory or threads to measure the limits\n");
	if (ok && a->states > 0)
		ok = report_states(llm, a, &l);
	else if (ok && measure(dev, llm, a, &l, &r))
		(a->json ? report_json : report_text)(llm, a, &r, load);
	else
		ok = false;
	limits_free(&l);
	return ok;
}

/* Twice, timed; NULL after a message. */
static struct npu_llm *load_model(struct npu_device *dev, const struct args *a, struct load *load)
{
	struct npu_llm_options opt = {
		.size = sizeof(opt), .context = context_of(a), .threads = a->threads,
	};
	double *seconds[] = { &load->first, &load->again };
	struct npu_llm *llm = NULL;
	char err[512] = "";
	size_t i;

	for (i = 0; i < 2; i++) {
		npu_llm_close(llm);
		*seconds[i] = now();
		if (npu_llm_open(dev, a->model, &opt, &llm, err, sizeof(err))) {
			fprintf(stderr, "bench_llm: %s\n", err);
			return NULL;
		}
		*seconds[i] = now() - *seconds[i];
	}
	return llm;
}

int main(int argc, char **argv)
{
	struct args a = { .prompt = 512, .tokens = 128, .runs = 3, .threads = 2 };
	struct load load;
	char soft[64];
	struct npu_device *dev;
	struct npu_llm *llm;
	bool ok;

	if (!parse(argc, argv, &a)) {
		usage(stderr);
		return 2;
	}
	snprintf(soft, sizeof(soft), "soft:threads=%u", a.threads);
	if (npu_device_open(a.device ? a.device : soft, NULL, &dev)) {
		fprintf(stderr, "bench_llm: the device cannot be opened\n");
		return 1;
	}
	llm = load_model(dev, &a, &load);
	ok = llm && run(dev, llm, &a, &load);
	npu_llm_close(llm);
	npu_device_close(dev);
	return ok ? 0 : 1;
}
