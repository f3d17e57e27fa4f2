// SPDX-License-Identifier: MIT
/* npu bench: prompt and decode of a language model. */
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "run.h"
#include "tool.h"

#define PROMPT	512u
#define TOKENS	128u

/* 0, 1 after a message, or -1: no model is there and none was asked for. */
static int open_model(struct bench *b)
{
	struct npu_llm_options opt = { .size = sizeof(opt), .context = PROMPT + TOKENS + 1 };
	char path[4096], err[512] = "";
	const char *model = b->model;

	if (b->llm)
		return 0;
	if (!model && run_default_model(path, sizeof(path)))
		model = path;
	if (!model && !b->named)
		return -1;
	if (!model) {
		fprintf(stderr, "npu bench: the bundled model is not installed; name a GGUF file with -m\n");
		return 1;
	}
	if (!npu_llm_open(b->dev, model, &opt, &b->llm, err, sizeof(err)))
		return 0;
	fprintf(stderr, "npu bench: %s: %s\n", model, err);
	return 1;
}

void bench_model_close(struct bench *b)
{
	npu_llm_close(b->llm);
}

static int failed(struct bench *b, const char *what)
{
	fprintf(stderr, "npu bench: %s: %s\n", what, npu_llm_error(b->llm));
	return 1;
}

/* MACs per cycle of the engine that the model's large matrices keep busy. */
static double macs_per_cycle(const struct bench *b)
{
	const struct npu_gguf_tensor *t = npu_gguf_find_tensor(npu_llm_gguf(b->llm), "blk.0.ffn_gate.weight");
	const char *type = t ? npu_gguf_type_info(t->type)->name : "";

	if (!strcmp(type, "F32"))
		return b->info.macs_f32;
	return !strcmp(type, "F16") || !strcmp(type, "BF16") ? b->info.macs_f16 : b->info.macs_i8;
}

static int feed(struct bench *b)
{
	struct npu_llm_info info;
	int32_t prompt[PROMPT];

	npu_llm_info(b->llm, &info, sizeof(info));
	for (uint32_t i = 0; i < PROMPT; i++)
		prompt[i] = (int32_t)(i * 7919u % info.vocab);
	npu_llm_truncate(b->llm, 0);
	return npu_llm_feed(b->llm, prompt, PROMPT) ? failed(b, "prefill") : 0;
}

int bench_prefill(struct bench *b)
{
	struct figure f = { "prefill 512", "token/s", PROMPT, 0 };
	struct npu_counters c0, c1;
	unsigned int runs = 0;
	int64_t t0, t1;
	int ret = open_model(b);

	if (ret)
		return ret > 0;
	ret = feed(b);	/* warm */
	npu_device_counters(b->dev, &c0, sizeof(c0));
	t0 = t1 = tool_now_ns();
	while (!ret && (t1 - t0 < b->time_ns || !runs)) {
		ret = feed(b);
		runs++;
		t1 = tool_now_ns();
	}
	if (ret)
		return ret;
	npu_device_counters(b->dev, &c1, sizeof(c1));
	if (c1.macs > c0.macs)
		f.limit = macs_per_cycle(b) * b->info.core_khz * 1e3 * runs * PROMPT / (double)(c1.macs - c0.macs);
	bench_report(b, &f, runs, t1 - t0, &c0, &c1);
	return 0;
}

/* Begins at position 0, like the programs that such figures are compared with. */
static int generate(struct bench *b, double *seconds, double *modelled)
{
	const int32_t first = 1;
	struct npu_llm_params p;
	struct npu_llm_stats st;

	npu_llm_params_init(&p);
	p.temperature = 0;
	p.ignore_end = true;
	p.max_tokens = TOKENS + 1;	/* the first one comes from the prompt */
	npu_llm_truncate(b->llm, 0);
	if (npu_llm_generate(b->llm, &first, 1, &p, &st))
		return failed(b, "decode");
	*seconds += st.decode_s;
	*modelled += st.modelled_decode_s;
	return 0;
}

int bench_decode(struct bench *b)
{
	struct figure f = { "decode 128", "token/s", TOKENS, 0 };
	struct npu_counters c0 = { 0 }, c1 = { 0 };	/* of decoding alone, without the first token's prompt */
	double seconds = 0, modelled = 0, bytes;
	struct npu_llm_info info;
	unsigned int runs = 0;
	int ret = open_model(b);

	if (ret)
		return ret > 0;
	ret = generate(b, &seconds, &modelled);	/* warm */
	seconds = modelled = 0;
	while (!ret && (seconds * 1e9 < (double)b->time_ns || !runs)) {
		ret = generate(b, &seconds, &modelled);
		runs++;
	}
	if (ret)
		return ret;
	c1.cycles = (uint64_t)(modelled * b->info.core_khz * 1e3);
	npu_llm_info(b->llm, &info, sizeof(info));
	/* Half of the positions on average: K and V of every layer. */
	bytes = (double)info.weight_bytes_token + (double)info.kv_bytes / info.context * TOKENS / 2;
	f.limit = b->info.dram_mbps * 1e6 / bytes;
	bench_report(b, &f, runs, (int64_t)(seconds * 1e9), &c0, &c1);
	return 0;
}
