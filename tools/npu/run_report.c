// SPDX-License-Identifier: MIT
/* What npu run says at the end, and perplexity. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "run.h"
#include "tool.h"

static double rate(double n, double seconds)
{
	return seconds > 0 ? n / seconds : 0;
}

void run_report(struct npu_llm *llm, const struct npu_llm_stats *st)
{
	/* the first token comes from the prompt's logits */
	uint32_t decoded = st->tokens > 1 ? st->tokens - 1 : 0;

	fprintf(stderr, "prompt:      %u tokens in %.3f s, %.1f tokens/s", st->prompt_tokens,
		st->prompt_s, rate(st->prompt_tokens, st->prompt_s));
	if (st->cached_tokens)
		fprintf(stderr, " (and %u cached)", st->cached_tokens);
	fprintf(stderr, "\ndecode:      %u tokens in %.3f s, %.1f tokens/s, %u submissions\n",
		decoded, st->decode_s, rate(decoded, st->decode_s), st->submissions);
	fprintf(stderr, "first token: %.3f s\nended by:    %s\n", st->first_token_s,
		npu_llm_finish_name(st->finish));
	if (st->drops)
		fprintf(stderr,
			"context:     overflowed %u times, the oldest tokens were dropped\n",
			st->drops);
	if (st->modelled_decode_s > 0)
		fprintf(stderr,
			"modelled:    on the modelled device prompt %.3f ms, decode %.3f ms (%.1f tokens/s), matrix engine %.0f %% busy, memory %.0f %% of its rate\n",
			st->modelled_prompt_s * 1e3, st->modelled_decode_s * 1e3,
			rate(decoded, st->modelled_decode_s), st->modelled_matrix * 100,
			st->modelled_bandwidth * 100);
	(void)llm;
}

void run_json(struct npu_llm *llm, const struct npu_llm_stats *st, const struct run_text *t,
	      uint32_t prompt, int error, uint64_t seed)
{
	uint32_t i, n = npu_llm_length(llm), decoded = st->tokens > 1 ? st->tokens - 1 : 0;
	const int32_t *tokens = npu_llm_tokens(llm);

	printf("{\"text\":");
	tool_json_string(stdout, t->text ? t->text : "", t->len);
	printf(",\"tokens\":[");
	for (i = prompt < n && !st->drops ? prompt : 0; i < n; i++)
		printf("%" PRId32 "%s", tokens[i], i + 1 < n ? "," : "");
	printf("],\"finish\":\"%s\",\"seed\":%" PRIu64, npu_llm_finish_name(st->finish), seed);
	printf(",\"prompt_tokens\":%u,\"cached_tokens\":%u,\"generated_tokens\":%u,\"submissions\":%u,\"drops\":%u",
	       st->prompt_tokens, st->cached_tokens, st->tokens, st->submissions, st->drops);
	printf(",\"prompt_s\":%.6f,\"decode_s\":%.6f,\"first_token_s\":%.6f", st->prompt_s,
	       st->decode_s, st->first_token_s);
	printf(",\"prompt_tokens_per_s\":%.3f,\"decode_tokens_per_s\":%.3f",
	       rate(st->prompt_tokens, st->prompt_s), rate(decoded, st->decode_s));
	printf(",\"modelled\":{\"prompt_s\":%.9f,\"decode_s\":%.9f,\"matrix_busy\":%.4f,\"memory\":%.4f}",
	       st->modelled_prompt_s, st->modelled_decode_s, st->modelled_matrix,
	       st->modelled_bandwidth);
	if (error) {
		printf(",\"error\":");
		tool_json_string(stdout, npu_llm_error(llm), strlen(npu_llm_error(llm)));
	}
	puts("}");
}

/* Windows of context - 1 tokens, each after a begin token: every token of the text counts once. */
int run_perplexity(struct npu_llm *llm, const struct run_options *o)
{
	const struct npu_tokenizer *t = npu_llm_tokenizer(llm);
	int32_t bos = npu_tokenizer_special(t, NPU_TOKEN_BOS), *tokens = NULL, *window = NULL;
	struct npu_llm_info info;
	int64_t count, i, n;
	double sum = 0, part;
	uint64_t scored = 0;
	size_t len;
	char *text = run_read_file(o->perplexity, &len);
	int ret = -ENOMEM;

	if (!text)
		return 1;
	run_check_text(o, "text", text, len);
	npu_llm_info(llm, &info, sizeof(info));
	count = npu_tokenizer_encode(t, text, len, 0, NULL, 0);
	if (count > 0) {
		tokens = malloc((size_t)count * sizeof(*tokens));
		window = malloc(((size_t)info.context + 1) * sizeof(*window));
	}
	if (!tokens || !window) {
		fputs("npu run: the text is empty, or memory is\n", stderr);
		goto out;
	}
	npu_tokenizer_encode(t, text, len, 0, tokens, (size_t)count);
	if (o->max_tokens && (uint64_t)count > o->max_tokens)
		count = (int64_t)o->max_tokens;
	if (bos < 0)
		bos = npu_tokenizer_special(t, NPU_TOKEN_EOS);
	for (i = 0, ret = 0; i < count && !ret; i += n) {
		n = count - i < (int64_t)info.context - 1 ? count - i : (int64_t)info.context - 1;
		window[0] = bos < 0 ? 0 : bos;
		memcpy(window + 1, tokens + i, (size_t)n * sizeof(*tokens));
		ret = npu_llm_score(llm, window, (uint32_t)n + 1, 1, &part);
		if (ret)
			break;
		sum += part;
		scored += (uint64_t)n;
		if (!o->quiet && isatty(STDERR_FILENO))
			fprintf(stderr, "\r%" PRIu64 " of %" PRId64 " tokens, perplexity %.4f ",
				scored, count, exp(-sum / (double)scored));
	}
	if (!o->quiet && isatty(STDERR_FILENO))
		fputc('\n', stderr);
	if (ret)
		fprintf(stderr, "npu run: %s\n", npu_llm_error(llm));
	else if (o->json)
		printf("{\"perplexity\":%.9g,\"nats_per_token\":%.9g,\"tokens\":%" PRIu64
		       ",\"context\":%u}\n",
		       exp(-sum / (double)scored), -sum / (double)scored, scored, info.context);
	else
		printf("perplexity %.4f (%.6f nats per token) over %" PRIu64
		       " tokens, windows of %u\n",
		       exp(-sum / (double)scored), -sum / (double)scored, scored, info.context);
out:
	free(text);
	free(tokens);
	free(window);
	return ret ? 1 : 0;
}
