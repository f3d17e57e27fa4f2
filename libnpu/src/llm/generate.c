// SPDX-License-Identifier: MIT
/* Generation: choose tokens, turn them into text, know when to stop. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "llm_internal.h"

#define LOOP_SECONDS 0.5 /* of one submission: a cancelled loop ends sooner, by its stop word */
#define LOOP_FIRST	8	/* tokens of a loop while their time is not known */

struct gen {
	struct npu_llm *llm;
	struct npu_llm_params p;
	struct npu_llm_stats st;
	struct npu_detokenizer *detok;
	struct llm_sampler sampler;
	bool greedy;
	double start;
	char *held;			/* text that may become a stop string */
	size_t held_len, held_room;
	uint32_t held_from;		/* length of the history when it began */
	int error;
};

void npu_llm_params_init(struct npu_llm_params *params)
{
	*params = (struct npu_llm_params){
		.size = sizeof(*params),
		.max_tokens = 256,
		.temperature = 0.8f,
		.top_k = 40,
		.top_p = 0.95f,
		.min_p = 0.05f,
		.repeat_penalty = 1,
		.repeat_last = 64,
	};
}

static void recommended(const struct npu_gguf *g, const char *key, float max, float *out)
{
	float v;

	if (!npu_gguf_get_f32(g, key, &v) && v >= 0 && v <= max)
		*out = v;
}

void npu_llm_params_recommended(const struct npu_llm *llm, struct npu_llm_params *params)
{
	const struct npu_gguf *g = llm->gguf;
	uint32_t top_k;

	recommended(g, "general.sampling.temp", 100, &params->temperature);
	recommended(g, "general.sampling.top_p", 1, &params->top_p);
	recommended(g, "general.sampling.min_p", 1, &params->min_p);
	recommended(g, "general.sampling.penalty_repeat", 100, &params->repeat_penalty);
	if (!npu_gguf_get_u32(g, "general.sampling.top_k", &top_k))
		params->top_k = top_k;
}

const char *npu_llm_finish_name(enum npu_llm_finish finish)
{
	static const char *const names[] = {
		"none", "end", "length", "stop", "context", "cancelled"
	};

	return (unsigned int)finish < sizeof(names) / sizeof(names[0]) ? names[finish] : "unknown";
}

/* ---- Text ---------------------------------------------------------------------------------- */

static void deliver(struct gen *g, int32_t token, const char *text, size_t len)
{
	struct npu_llm_piece piece = { token, text, len };

	if (g->p.piece && g->p.piece(g->p.data, &piece) && !g->st.finish)
		g->st.finish = NPU_LLM_FINISH_CANCELLED;
}

static int hold(struct gen *g, const char *text, size_t len)
{
	if (g->held_len + len > g->held_room) {
		size_t room = 2 * (g->held_len + len) + 64;
		char *held = realloc(g->held, room);

		if (!held)
			return -ENOMEM;
		g->held = held;
		g->held_room = room;
	}
	if (!g->held_len)
		g->held_from = g->llm->length - 1;
	if (len)
		memcpy(g->held + g->held_len, text, len);
	g->held_len += len;
	return 0;
}

/* Where the first stop string begins in the held text; held_len when there is none. */
static size_t find_stop(const struct gen *g)
{
	size_t i, first = g->held_len;
	uint32_t s;

	for (s = 0; s < g->p.nstop; s++) {
		size_t n = strlen(g->p.stop[s]);

		for (i = 0; n && i < first && i + n <= g->held_len; i++)
			if (!memcmp(g->held + i, g->p.stop[s], n))
				first = i;
	}
	return first;
}

/* Bytes at the end of the held text that may be the beginning of a stop string. */
static size_t unfinished_stop(const struct gen *g)
{
	size_t n, most = 0;
	uint32_t s;

	for (s = 0; s < g->p.nstop; s++) {
		size_t len = strlen(g->p.stop[s]);

		n = len ? len - 1 : 0;
		if (n > g->held_len)
			n = g->held_len;
		for (; n > most; n--)
			if (!memcmp(g->held + g->held_len - n, g->p.stop[s], n))
				most = n;
	}
	return most;
}

static int deliver_held(struct gen *g, int32_t token)
{
	size_t stop = find_stop(g), keep, n;

	if (stop < g->held_len) {
		g->st.finish = NPU_LLM_FINISH_STOP;
		deliver(g, token, g->held, stop);
		npu_llm_truncate(g->llm, g->held_from);
		g->held_len = 0;
		return 0;
	}
	keep = unfinished_stop(g);
	n = g->held_len - keep;
	deliver(g, token, g->held, n);
	if (n) {
		memmove(g->held, g->held + n, keep);
		g->held_from = g->llm->length - 1;
	}
	g->held_len = keep;
	return 0;
}

/* The last token of the history is new. Non-zero: generation has ended. */
static int take(void *data, int32_t token)
{
	struct gen *g = data;
	struct npu_gguf_str s;

	if (!g->st.tokens++)
		g->st.first_token_s = llm_now() - g->start;
	if (!g->p.ignore_end && npu_tokenizer_is_end(g->llm->tok, token)) {
		g->st.finish = NPU_LLM_FINISH_END;
		return 1;
	}
	s = npu_detokenizer_push(g->detok, token);
	g->error = hold(g, s.ptr, s.len);
	if (g->error)
		return 1;
	deliver_held(g, token);
	if (!g->st.finish && g->st.tokens >= g->p.max_tokens)
		g->st.finish = NPU_LLM_FINISH_LENGTH;
	return g->st.finish != NPU_LLM_FINISH_NONE;
}

/* What was held back is text after all. */
static void flush_text(struct gen *g)
{
	struct npu_gguf_str s = npu_detokenizer_flush(g->detok);

	if (g->st.finish == NPU_LLM_FINISH_STOP)
		return;
	if (g->held_len)
		deliver(g, -1, g->held, g->held_len);
	if (s.len)
		deliver(g, -1, s.ptr, s.len);
}

/* ---- Tokens --------------------------------------------------------------------------------- */

/* With logits: the next token, appended and handed on. */
static int choose(struct gen *g)
{
	struct npu_llm *llm = g->llm;
	int32_t token =
		g->greedy ? llm->greedy
			  : llm_sample(&g->sampler, llm->logits, &g->p, llm->history, llm->length);

	if (token < 0 || (uint32_t)token >= llm->hp.vocab)
		return llm_fail(
			llm, -EIO,
			"the model's logits are not numbers: its weights are damaged, or the device is");
	llm->history[llm->length++] = token;
	llm->have_logits = false;
	take(g, token);
	return g->error;
}

static uint32_t loop_length(const struct gen *g)
{
	const struct npu_llm *llm = g->llm;
	uint32_t n = g->p.loop, room = llm->context - llm->cached,
		 wanted = g->p.max_tokens - g->st.tokens;

	if (!n)
		n = llm->token_s > 0 ? (uint32_t)(LOOP_SECONDS / llm->token_s) : LOOP_FIRST;
	if (n < 1)
		n = 1;
	if (n > LLM_RING)
		n = LLM_RING;
	if (n > room)
		n = room;
	return n < wanted ? n : wanted;
}

/*
 * Greedy, with a pending token: loops on the device until something ends it or the cache is full.
 */
static int loop(struct gen *g)
{
	struct npu_llm *llm = g->llm;
	int32_t end = g->p.ignore_end ? -1 : npu_tokenizer_special(llm->tok, NPU_TOKEN_EOS);
	int ret = 0;

	while (!ret && !g->error && !g->st.finish && llm->cached < llm->context) {
		if (atomic_load(&llm->cancel)) {
			g->st.finish = NPU_LLM_FINISH_CANCELLED;
			break;
		}
		ret = llm_decode(llm, loop_length(g), end, take, g);
		g->st.submissions++;
	}
	return ret ? ret : g->error;
}

/* The cache is full: keep the first and the newest, and compute them as a fresh prompt. */
static int overflow(struct gen *g)
{
	struct npu_llm *llm = g->llm;
	uint32_t half = llm->context / 2, keep = g->p.keep < half ? g->p.keep : half,
		 rest = half - keep;

	if (g->p.overflow == NPU_LLM_OVERFLOW_STOP || half == 0) {
		g->st.finish = NPU_LLM_FINISH_CONTEXT;
		return 0;
	}
	if (keep == half) {
		keep = half - 1;
		rest = 1;
	}
	memmove(llm->history + keep, llm->history + llm->length - rest,
		rest * sizeof(*llm->history));
	llm->length = half;
	llm->cached = keep;
	g->held_from = half;
	g->st.drops++;
	return llm_prefill(llm, keep, half, true);
}

static int generate(struct gen *g)
{
	struct npu_llm *llm = g->llm;
	int ret = 0;

	while (!ret && !g->st.finish) {
		if (atomic_load(&llm->cancel)) {
			g->st.finish = NPU_LLM_FINISH_CANCELLED;
			break;
		}
		ret = choose(g);
		if (ret || g->st.finish)
			break;
		if (g->greedy)
			ret = loop(g);
		if (ret || g->st.finish)
			break;
		if (llm->cached == llm->context) {
			ret = overflow(g);
		} else {
			ret = llm_step(llm);
			g->st.submissions++;
		}
	}
	return ret;
}

/* ---- Statistics and the call ----------------------------------------------------- */

/* Seconds of the device's own time between two readings, and how busy it was in them. */
static double modelled(const struct npu_llm *llm, const struct npu_counters *a,
		       const struct npu_counters *b, struct npu_llm_stats *st)
{
	double cycles = (double)(b->cycles - a->cycles), s;

	if (cycles <= 0 || !b->core_khz)
		return 0;
	s = cycles / (b->core_khz * 1e3);
	if (st) {
		st->modelled_matrix = (double)(b->engine[0] - a->engine[0]) / cycles;
		if (llm->devinfo.dram_mbps)
			st->modelled_bandwidth = (double)(b->bytes_read - a->bytes_read +
							  b->bytes_written - a->bytes_written) /
						 s / (llm->devinfo.dram_mbps * 1e6);
	}
	return s;
}

static int prepare(struct gen *g, const int32_t *tokens, uint32_t n)
{
	struct npu_llm *llm = g->llm;
	unsigned int flags = 0;
	int ret;

	if (!g->p.max_tokens)
		g->p.max_tokens = UINT32_MAX;
	g->greedy = g->p.temperature <= 0 && (g->p.repeat_penalty == 1 || g->p.repeat_penalty <= 0);
	/* Behind a begin token alone the text starts here. */
	if (n == 1 && tokens && tokens[0] == npu_tokenizer_special(llm->tok, NPU_TOKEN_BOS))
		flags = NPU_DECODE_START;
	ret = npu_detokenizer_create(llm->tok, flags, &g->detok);
	if (!ret && !g->greedy)
		ret = llm_sampler_init(&g->sampler, llm->hp.vocab, g->p.seed);
	return ret ? llm_fail(llm, ret, "out of memory") : 0;
}

static int run_all(struct gen *g, const int32_t *tokens, uint32_t n)
{
	struct npu_counters c[3] = { 0 };
	struct npu_llm *llm = g->llm;
	uint32_t before;
	double t;
	int ret;

	npu_device_counters(llm->dev, &c[0], sizeof(c[0]));
	for (before = 0;
	     before < llm->cached && before < n && llm->history[before] == tokens[before];)
		before++;
	ret = npu_llm_feed(llm, tokens, n);
	t = llm_now();
	g->st.prompt_s = t - g->start;
	if (ret)
		return ret;
	g->st.cached_tokens = before;
	g->st.prompt_tokens = n - before;
	npu_device_counters(llm->dev, &c[1], sizeof(c[1]));
	ret = generate(g);
	g->st.decode_s = llm_now() - t;
	npu_device_counters(llm->dev, &c[2], sizeof(c[2]));
	g->st.modelled_prompt_s = modelled(llm, &c[0], &c[1], NULL);
	g->st.modelled_decode_s = modelled(llm, &c[1], &c[2], &g->st);
	return ret;
}

int npu_llm_generate(struct npu_llm *llm, const int32_t *tokens, uint32_t n,
		     const struct npu_llm_params *params, struct npu_llm_stats *stats)
{
	struct gen g = { .llm = llm, .start = llm_now() };
	int ret;

	npu_llm_params_init(&g.p);
	if (params)
		memcpy(&g.p, params, params->size < sizeof(g.p) ? params->size : sizeof(g.p));
	ret = prepare(&g, tokens, n);
	if (!ret)
		ret = run_all(&g, tokens, n);
	if (g.detok)
		flush_text(&g);
	npu_detokenizer_destroy(g.detok);
	llm_sampler_free(&g.sampler);
	free(g.held);
	if (stats)
		*stats = g.st;
	return ret;
}
