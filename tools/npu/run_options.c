// SPDX-License-Identifier: MIT
/* Command line of npu run. */
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "run.h"

static const char help[] =
	"usage: npu run [-m MODEL.gguf] [-p TEXT] [options]\n"
	"Continue a text with a language model on the NPU. Without -m: the bundled model.\n"
	"  -m, --model FILE         GGUF file, or the first of a split set\n"
	"  -d, --device NAME        /dev/accel/accel0, soft, soft:threads=2 ... (default: NPU_DEVICE, else the first NPU)\n"
	"  -p, --prompt TEXT        text to continue (default: \"Once upon a time\")\n"
	"  -f, --file FILE          the same from a file; - is standard input\n"
	"  -n, --tokens N           write at most N tokens (default 256; 0: until the context is full)\n"
	"      --chat               converse: a line is a message, end with Ctrl-D; needs a model with a chat template\n"
	"      --system TEXT        system message of a chat\n"
	"      --json               one JSON object instead of the text\n"
	"      --quiet              no progress, no statistics\n"
	"      --tokens-out FILE    write the token numbers there\n"
	"      --perplexity FILE    measure perplexity on a text instead of writing one\n"
	"      --max-tokens N       of that text (default: all)\n"
	"      --ids \"N N ...\"      token numbers instead of a text\n"
	"      --logits FILE        write the logits after each prompt token there (rows of 32-bit floats), and no text\n"
	"choosing tokens (the defaults are those that the file recommends, else):\n"
	"      --temp T             temperature, 0: always the most probable (0.8)\n"
	"      --top-k K            of the K most probable (40; 0: all)\n"
	"      --top-p P            of the most probable that reach P together (0.95)\n"
	"      --min-p P            at least P times as probable as the most probable (0.05)\n"
	"      --repeat-penalty R   against repetition within --repeat-last N tokens (1: none; 64)\n"
	"      --seed S             makes a text reproducible (default: random, and shown)\n"
	"      --stop TEXT          end before this text (up to 16 times)\n"
	"      --ignore-end         go on when the model ends its text\n"
	"memory and speed:\n"
	"  -c, --context N          tokens of context (default: the model's, at most 4096)\n"
	"      --overflow stop|drop context full: stop, or drop the oldest half behind --keep N tokens (default: stop)\n"
	"      --kv f16|q8_0        type of the KV cache (default f16)\n"
	"      --chunk N            prompt tokens per submission (default 512)\n"
	"      --loop N             tokens per submission at temperature 0, 1 to 256 (default: half a second's)\n"
	"      --rows               keep weights in GGUF's row layout\n";

enum {
	OPT_CHAT = 256,
	OPT_SYSTEM,
	OPT_JSON,
	OPT_QUIET,
	OPT_TOKENS_OUT,
	OPT_PERPLEXITY,
	OPT_MAX_TOKENS,
	OPT_TEMP,
	OPT_TOP_K,
	OPT_TOP_P,
	OPT_MIN_P,
	OPT_PENALTY,
	OPT_REPEAT_LAST,
	OPT_SEED,
	OPT_STOP,
	OPT_IGNORE_END,
	OPT_OVERFLOW,
	OPT_KEEP,
	OPT_KV,
	OPT_CHUNK,
	OPT_LOOP,
	OPT_ROWS,
	OPT_IDS,
	OPT_LOGITS,
};

static const struct option longs[] = {
	{ "model", required_argument, NULL, 'm' },
	{ "device", required_argument, NULL, 'd' },
	{ "prompt", required_argument, NULL, 'p' },
	{ "file", required_argument, NULL, 'f' },
	{ "tokens", required_argument, NULL, 'n' },
	{ "context", required_argument, NULL, 'c' },
	{ "help", no_argument, NULL, 'h' },
	{ "chat", no_argument, NULL, OPT_CHAT },
	{ "system", required_argument, NULL, OPT_SYSTEM },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "quiet", no_argument, NULL, OPT_QUIET },
	{ "tokens-out", required_argument, NULL, OPT_TOKENS_OUT },
	{ "perplexity", required_argument, NULL, OPT_PERPLEXITY },
	{ "max-tokens", required_argument, NULL, OPT_MAX_TOKENS },
	{ "temp", required_argument, NULL, OPT_TEMP },
	{ "top-k", required_argument, NULL, OPT_TOP_K },
	{ "top-p", required_argument, NULL, OPT_TOP_P },
	{ "min-p", required_argument, NULL, OPT_MIN_P },
	{ "repeat-penalty", required_argument, NULL, OPT_PENALTY },
	{ "repeat-last", required_argument, NULL, OPT_REPEAT_LAST },
	{ "seed", required_argument, NULL, OPT_SEED },
	{ "stop", required_argument, NULL, OPT_STOP },
	{ "ignore-end", no_argument, NULL, OPT_IGNORE_END },
	{ "overflow", required_argument, NULL, OPT_OVERFLOW },
	{ "keep", required_argument, NULL, OPT_KEEP },
	{ "kv", required_argument, NULL, OPT_KV },
	{ "chunk", required_argument, NULL, OPT_CHUNK },
	{ "loop", required_argument, NULL, OPT_LOOP },
	{ "rows", no_argument, NULL, OPT_ROWS },
	{ "ids", required_argument, NULL, OPT_IDS },
	{ "logits", required_argument, NULL, OPT_LOGITS },
	{ 0 }
};

static const char *name_of(int c)
{
	size_t i;

	for (i = 0; longs[i].name; i++)
		if (longs[i].val == c)
			return longs[i].name;
	return "?";
}

static bool number(int c, uint64_t max, uint64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoull(optarg, &end, 10);
	if (errno || end == optarg || *end || *out > max || optarg[0] == '-') {
		fprintf(stderr, "npu run: --%s wants a number from 0 to %llu, not '%s'\n",
			name_of(c), (unsigned long long)max, optarg);
		return false;
	}
	return true;
}

static bool small(int c, uint32_t max, uint32_t *out)
{
	uint64_t v;

	if (!number(c, max, &v))
		return false;
	*out = (uint32_t)v;
	return true;
}

static bool fraction(int c, float max, float *out)
{
	char *end;

	*out = strtof(optarg, &end);
	if (end == optarg || *end || !(*out >= 0 && *out <= max)) {
		fprintf(stderr, "npu run: --%s wants a number from 0 to %g, not '%s'\n", name_of(c),
			(double)max, optarg);
		return false;
	}
	return true;
}

/* One of two words. */
static bool choice(int c, const char *zero, const char *one, bool *out)
{
	*out = !strcmp(optarg, one);
	if (*out || !strcmp(optarg, zero))
		return true;
	fprintf(stderr, "npu run: --%s is %s or %s, not '%s'\n", name_of(c), zero, one, optarg);
	return false;
}

static bool add_stop(struct run_options *o)
{
	if (o->gen.nstop == RUN_MAX_STOP || !*optarg) {
		fprintf(stderr, "npu run: --stop: at most %d texts, none empty\n", RUN_MAX_STOP);
		return false;
	}
	o->stop[o->gen.nstop++] = optarg;
	return true;
}

static bool take_sampling(int c, struct run_options *o)
{
	switch (c) {
	case OPT_TEMP: o->given |= RUN_TEMP; return fraction(c, 100, &o->gen.temperature);
	case OPT_TOP_K: o->given |= RUN_TOP_K; return small(c, UINT32_MAX, &o->gen.top_k);
	case OPT_TOP_P: o->given |= RUN_TOP_P; return fraction(c, 1, &o->gen.top_p);
	case OPT_MIN_P: o->given |= RUN_MIN_P; return fraction(c, 1, &o->gen.min_p);
	case OPT_PENALTY: o->given |= RUN_PENALTY; return fraction(c, 100, &o->gen.repeat_penalty);
	case OPT_REPEAT_LAST: return small(c, UINT32_MAX, &o->gen.repeat_last);
	case OPT_SEED: return number(c, UINT64_MAX, &o->gen.seed);
	case OPT_STOP: return add_stop(o);
	case OPT_KEEP: return small(c, UINT32_MAX, &o->gen.keep);
	case OPT_LOOP: return small(c, 256, &o->gen.loop);
	default: return false;
	}
}

static bool take_option(int c, struct run_options *o)
{
	bool b;

	switch (c) {
	case 'm': o->model = optarg; return true;
	case 'd': o->device = optarg; return true;
	case 'p': o->prompt = optarg; return true;
	case 'f': o->prompt_file = optarg; return true;
	case 'n': return small(c, UINT32_MAX, &o->gen.max_tokens);
	case 'c': return small(c, 1u << 20, &o->open.context);
	case OPT_CHAT: o->chat = true; return true;
	case OPT_SYSTEM: o->system = optarg; return true;
	case OPT_JSON: o->json = true; return true;
	case OPT_QUIET: o->quiet = true; return true;
	case OPT_TOKENS_OUT: o->tokens_out = optarg; return true;
	case OPT_PERPLEXITY: o->perplexity = optarg; return true;
	case OPT_MAX_TOKENS: return number(c, UINT64_MAX, &o->max_tokens);
	case OPT_IDS: o->ids = optarg; return true;
	case OPT_LOGITS: o->logits = optarg; return true;
	case OPT_IGNORE_END: o->gen.ignore_end = true; return true;
	case OPT_ROWS: o->open.row_layout = true; return true;
	case OPT_CHUNK: return small(c, 4096, &o->open.chunk);
	case OPT_OVERFLOW:
		if (!choice(c, "stop", "drop", &b))
			return false;
		o->gen.overflow = b ? NPU_LLM_OVERFLOW_DROP : NPU_LLM_OVERFLOW_STOP;
		return true;
	case OPT_KV:
		if (!choice(c, "f16", "q8_0", &b))
			return false;
		o->open.kv_type = b ? NPU_LLM_KV_Q8_0 : NPU_LLM_KV_F16;
		return true;
	default:
		return take_sampling(c, o);
	}
}

int run_parse(int argc, char **argv, struct run_options *o)
{
	int c;

	memset(o, 0, sizeof(*o));
	o->open.size = sizeof(o->open);
	npu_llm_params_init(&o->gen);
	o->gen.stop = o->stop;
	if (getrandom(&o->gen.seed, 4, GRND_NONBLOCK) != 4)
		o->gen.seed = 1;
	while ((c = getopt_long(argc, argv, "m:d:p:f:n:c:h", longs, NULL)) != -1) {
		if (c == 'h') {
			fputs(help, stdout);
			return 1;
		}
		if (c == '?' || !take_option(c, o)) {
			if (c == '?')
				fputs("npu run --help lists the options\n", stderr);
			return 2;
		}
	}
	if (optind < argc) {
		fprintf(stderr,
			"npu run: '%s' is not an option; the text goes behind -p, in quotes\n",
			argv[optind]);
		return 2;
	}
	if ((o->prompt != NULL) + (o->prompt_file != NULL) + (o->perplexity != NULL) +
		    (o->ids != NULL) >
	    1) {
		fputs("npu run: give one of --prompt, --file, --ids and --perplexity\n", stderr);
		return 2;
	}
	return 0;
}
