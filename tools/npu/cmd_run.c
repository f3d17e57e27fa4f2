// SPDX-License-Identifier: MIT
/* npu run: write a text with a language model. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "run.h"
#include "tool.h"

static struct npu_llm *volatile interruptible;
static volatile sig_atomic_t interrupted;

/* The first Ctrl-C ends loading or the text, the second one the program. */
static void on_interrupt(int sig)
{
	struct npu_llm *llm = interruptible;

	interrupted = 1;
	if (llm)
		npu_llm_cancel(llm);
	signal(sig, SIG_DFL);
}

void run_interruptible(struct npu_llm *llm)
{
	interruptible = llm;
	signal(SIGINT, llm ? on_interrupt : SIG_DFL);
}

/* ---- Loading --------------------------------------------------------------------------------- */

struct loading {
	bool show;
	unsigned int percent;
};

static int on_progress(void *data, uint64_t done, uint64_t total)
{
	struct loading *l = data;
	unsigned int percent = total ? (unsigned int)(done * 100 / total) : 100;

	if (l->show && percent != l->percent) {
		l->percent = percent;
		fprintf(stderr, "\rloading %3u %%", percent > 100 ? 100 : percent);
	}
	return interrupted;
}

static void on_notice(void *data, const char *text)
{
	(void)data;
	fprintf(stderr, "\rnpu run: %s\n", text);
}

static int open_model(struct run_options *o, struct npu_device **dev, struct npu_llm **llm)
{
	struct loading l = { .show = !o->quiet && isatty(STDERR_FILENO), .percent = UINT_MAX };
	struct npu_device_options d = { .size = sizeof(d) };
	char err[512] = "";
	int ret;

	if (!o->model) {
		if (!run_default_model(o->path, sizeof(o->path))) {
			fputs("npu run: the bundled model is not found; name one with -m or in NPU_MODEL\n",
			      stderr);
			return -ENOENT;
		}
		o->model = o->path;
	}
	d.err = err;
	d.err_size = sizeof(err);
	d.log = o->quiet ? NULL : tool_log;
	ret = npu_device_open(o->device, &d, dev);
	if (ret) {
		fprintf(stderr, "npu run: no device: %s\n", err[0] ? err : npu_strerror(ret));
		return ret;
	}
	o->open.progress = on_progress;
	o->open.notice = o->quiet ? NULL : on_notice;
	o->open.data = &l;
	signal(SIGINT, on_interrupt);
	ret = npu_llm_open(*dev, o->model, &o->open, llm, err, sizeof(err));
	signal(SIGINT, SIG_DFL);
	if (!ret && interrupted) {	/* after the weights */
		snprintf(err, sizeof(err), "loading was cancelled");
		ret = -ECANCELED;
	}
	if (l.show && l.percent != UINT_MAX)
		fputs("\r             \r", stderr);
	if (ret)
		fprintf(stderr, "npu run: %s%s%s\n", strstr(err, o->model) ? "" : o->model,
			strstr(err, o->model) ? "" : ": ", err);
	return ret;
}

/* As the file recommends, except what was asked for. */
static void choose_params(const struct npu_llm *llm, struct run_options *o)
{
	struct npu_llm_params asked = o->gen;

	npu_llm_params_recommended(llm, &o->gen);
	if (o->given & RUN_TEMP)
		o->gen.temperature = asked.temperature;
	if (o->given & RUN_TOP_K)
		o->gen.top_k = asked.top_k;
	if (o->given & RUN_TOP_P)
		o->gen.top_p = asked.top_p;
	if (o->given & RUN_MIN_P)
		o->gen.min_p = asked.min_p;
	if (o->given & RUN_PENALTY)
		o->gen.repeat_penalty = asked.repeat_penalty;
}

/* ---- Text ------------------------------------------------------------------------ */

int run_piece(void *data, const struct npu_llm_piece *piece)
{
	struct run_text *t = data;

	if (t->len + piece->len + 1 > t->room) {
		size_t room = 2 * (t->len + piece->len) + 256;
		char *text = realloc(t->text, room);

		if (!text)
			return -ENOMEM;
		t->text = text;
		t->room = room;
	}
	memcpy(t->text + t->len, piece->text, piece->len);
	t->len += piece->len;
	t->text[t->len] = 0;
	if (t->echo && piece->len) {
		fwrite(piece->text, 1, piece->len, stdout);
		fflush(stdout);
	}
	/* Nobody reads any more (a closed pipe): stop. */
	return t->echo && ferror(stdout);
}

char *run_read_file(const char *name, size_t *len)
{
	FILE *f = strcmp(name, "-") ? fopen(name, "rb") : stdin;
	char *text = NULL, *more;
	size_t n = 0, room = 0, got;

	if (!f) {
		fprintf(stderr, "npu run: %s: %s\n", name, strerror(errno));
		return NULL;
	}
	do {
		if (n + 1 >= room) {
			room = room ? 2 * room : 65536;
			more = realloc(text, room);
			if (!more) {
				fputs("npu run: out of memory\n", stderr);
				free(text);
				text = NULL;
				break;
			}
			text = more;
		}
		got = fread(text + n, 1, room - n - 1, f);
		n += got;
	} while (got);
	if (text && ferror(f)) {
		fprintf(stderr, "npu run: %s cannot be read\n", name);
		free(text);
		text = NULL;
	}
	if (f != stdin)
		fclose(f);
	if (text)
		text[n] = 0;
	*len = n;
	return text;
}

static int write_tokens(struct npu_llm *llm, const char *name)
{
	const int32_t *tokens = npu_llm_tokens(llm);
	uint32_t i, n = npu_llm_length(llm);
	FILE *f = fopen(name, "w");

	if (!f) {
		fprintf(stderr, "npu run: %s: %s\n", name, strerror(errno));
		return 1;
	}
	for (i = 0; i < n; i++)
		fprintf(f, "%" PRId32 "%c", tokens[i], i + 1 < n ? ' ' : '\n');
	if (fclose(f)) {
		fprintf(stderr, "npu run: %s: %s\n", name, strerror(errno));
		return 1;
	}
	return 0;
}

void run_check_text(const struct run_options *o, const char *what, const char *text, size_t len)
{
	size_t end = tool_utf8_end(text, len);

	if (end < len && !o->quiet)
		fprintf(stderr, "npu run: the %s is not UTF-8 from byte %zu on (0x%02x): bytes that are no character "
			"are given to the model one by one\n", what, end, (unsigned char)text[end]);
}

/* The tokens of a text as the begin of a sequence; NULL after a message. */
static int32_t *encode(struct npu_llm *llm, const char *text, size_t len, uint32_t *n)
{
	const struct npu_tokenizer *t = npu_llm_tokenizer(llm);
	int64_t count = npu_tokenizer_encode(t, text, len, NPU_ENCODE_SPECIAL, NULL, 0);
	int32_t *tokens;

	if (count < 0 || count > UINT32_MAX ||
	    !(tokens = malloc((size_t)(count + 1) * sizeof(*tokens)))) {
		fprintf(stderr, "npu run: the prompt cannot be encoded: %s\n",
			npu_strerror(count < 0 ? (int)count : -ENOMEM));
		return NULL;
	}
	npu_tokenizer_encode(t, text, len, NPU_ENCODE_SPECIAL, tokens, (size_t)count);
	*n = (uint32_t)count;
	return tokens;
}

/* Token numbers of --ids; NULL after a message. */
static int32_t *parse_ids(const char *text, uint32_t *n)
{
	int32_t *tokens = malloc((strlen(text) / 2 + 1) * sizeof(*tokens));
	char *end;
	long v;

	for (*n = 0; tokens && *(text += strspn(text, " ,")); text = end) {
		v = strtol(text, &end, 10);
		if (end == text || v < 0 || v > INT32_MAX) {
			fprintf(stderr, "npu run: --ids: '%s' is no token number\n", text);
			free(tokens);
			return NULL;
		}
		tokens[(*n)++] = (int32_t)v;
	}
	return tokens;
}

/*
 * The prompt of the options: its text (empty for --ids) and tokens. Returns false after a
 * message.
 */
struct prompt {
	char *text;
	size_t len;
	int32_t *tokens;
	uint32_t n;
};

static bool read_prompt(struct npu_llm *llm, const struct run_options *o, struct prompt *p)
{
	if (o->ids) {
		p->tokens = parse_ids(o->ids, &p->n);
		return p->tokens;
	}
	p->text = o->prompt_file ? run_read_file(o->prompt_file, &p->len)
				 : strdup(o->prompt ? o->prompt : "Once upon a time");
	if (!p->text)
		return false;
	if (!o->prompt_file)
		p->len = strlen(p->text);
	run_check_text(o, "prompt", p->text, p->len);
	p->tokens = encode(llm, p->text, p->len, &p->n);
	return p->tokens;
}

/* Each token's logits: the sequence grows by one, so only that one is computed. */
static int write_logits(struct npu_llm *llm, const struct run_options *o, const struct prompt *p)
{
	FILE *f = fopen(o->logits, "wb");
	struct npu_llm_info info;
	uint32_t i;
	int ret = 0;

	if (!f) {
		fprintf(stderr, "npu run: %s: %s\n", o->logits, strerror(errno));
		return 1;
	}
	npu_llm_info(llm, &info, sizeof(info));
	for (i = 1; i <= p->n && !ret; i++) {
		ret = npu_llm_feed(llm, p->tokens, i);
		if (ret)
			fprintf(stderr, "npu run: %s\n", npu_llm_error(llm));
		else if (fwrite(npu_llm_logits(llm), sizeof(float), info.vocab, f) != info.vocab)
			ret = -errno;
	}
	if (fclose(f) || ret) {
		fprintf(stderr, "npu run: %s was not written\n", o->logits);
		return 1;
	}
	return 0;
}

static int write_text(struct npu_llm *llm, struct run_options *o, const struct prompt *p)
{
	struct run_text t = { .echo = !o->json };
	struct npu_llm_stats st = { 0 };
	int ret;

	if (t.echo && p->len) {
		fwrite(p->text, 1, p->len, stdout);
		fflush(stdout);
	}
	o->gen.piece = run_piece;
	o->gen.data = &t;
	ret = npu_llm_generate(llm, p->tokens, p->n, &o->gen, &st);
	if (t.echo)
		putchar('\n');
	else
		run_json(llm, &st, &t, p->n, ret, o->gen.seed);
	fflush(stdout);
	if (ret)
		fprintf(stderr, "npu run: %s\n", npu_llm_error(llm));
	if (!o->quiet && !o->json && st.tokens)
		run_report(llm, &st);
	if (!o->quiet && !o->json && st.tokens && o->gen.temperature > 0)
		fprintf(stderr, "seed:        %" PRIu64 "\n", o->gen.seed);
	if (!ret && o->tokens_out)
		ret = write_tokens(llm, o->tokens_out);
	free(t.text);
	return ret ? 1 : 0;
}

int run_prompt(struct npu_llm *llm, struct run_options *o)
{
	struct prompt p = { 0 };
	int ret = 1;

	if (read_prompt(llm, o, &p))
		ret = o->logits ? write_logits(llm, o, &p) : write_text(llm, o, &p);
	free(p.text);
	free(p.tokens);
	return ret;
}

/* ---- Chat ------------------------------------------------------------------------ */

struct talk {
	struct npu_chat_message *msgs;
	uint32_t n;
};

static int say(struct talk *t, const char *role, const char *text)
{
	struct npu_chat_message *msgs = realloc(t->msgs, (t->n + 1) * sizeof(*msgs));

	if (!msgs)
		return -ENOMEM;
	t->msgs = msgs;
	msgs[t->n].role = role;
	msgs[t->n].text = strdup(text);
	return msgs[t->n].text ? (int)++t->n : -ENOMEM;
}

/* One answer. What is cached of the conversation is not computed again. */
static int answer(struct npu_llm *llm, struct run_options *o, struct talk *talk)
{
	struct run_text t = { .echo = !o->json };
	struct npu_llm_stats st = { 0 };
	int32_t *tokens;
	uint32_t n;
	int ret = npu_llm_chat(llm, talk->msgs, talk->n, true, &tokens, &n);

	if (!ret) {
		o->gen.piece = run_piece;
		o->gen.data = &t;
		ret = npu_llm_generate(llm, tokens, n, &o->gen, &st);
		free(tokens);
	}
	if (t.echo)
		putchar('\n');
	else
		run_json(llm, &st, &t, n, ret, o->gen.seed);
	fflush(stdout);
	if (ret)
		fprintf(stderr, "npu run: %s\n", npu_llm_error(llm));
	else if (say(talk, "assistant", t.text ? t.text : "") < 0)
		ret = -ENOMEM;
	if (!ret && !o->quiet && !o->json)
		fprintf(stderr, "[%u + %u tokens, %.1f tokens/s]\n", st.prompt_tokens, st.tokens,
			st.decode_s > 0 ? st.tokens / st.decode_s : 0);
	free(t.text);
	return ret;
}

int run_chat(struct npu_llm *llm, struct run_options *o)
{
	bool terminal = isatty(STDIN_FILENO);
	struct talk talk = { 0 };
	char *line = NULL;
	size_t room = 0;
	ssize_t len;
	int ret = 0;

	if (!npu_llm_chat_template(llm)) {
		fprintf(stderr,
			"npu run: %s has no chat template that is known; it can only continue text (-p)\n",
			o->model);
		return 1;
	}
	if (o->system)
		ret = say(&talk, "system", o->system) < 0 ? -ENOMEM : 0;
	while (!ret) {
		if (terminal)
			fputs("> ", stderr);
		len = getline(&line, &room, stdin);
		if (len <= 0)
			break;
		while (len && (line[len - 1] == '\n' || line[len - 1] == '\r'))
			line[--len] = 0;
		if (!len)
			continue;
		run_interruptible(llm);
		run_check_text(o, "message", line, strlen(line));
		if (say(&talk, "user", line) < 0 || answer(llm, o, &talk))
			ret = 1;
		run_interruptible(NULL);
	}
	while (talk.n)
		free((char *)talk.msgs[--talk.n].text);
	free(talk.msgs);
	free(line);
	return ret ? 1 : 0;
}

int cmd_run(int argc, char **argv)
{
	struct npu_device *dev = NULL;
	struct npu_llm *llm = NULL;
	struct run_options o;
	int ret = run_parse(argc, argv, &o);

	if (ret)
		return ret == 1 ? 0 : ret;
	ret = open_model(&o, &dev, &llm);
	if (ret)
		ret = ret == -ECANCELED ? 128 + SIGINT : 1;
	else
		choose_params(llm, &o);
	if (!ret && o.perplexity) {
		run_interruptible(llm);
		ret = run_perplexity(llm, &o);
	} else if (!ret && o.chat) {
		ret = run_chat(llm, &o);
	} else if (!ret) {
		run_interruptible(llm);
		ret = run_prompt(llm, &o);
	}
	run_interruptible(NULL);
	npu_llm_close(llm);
	npu_device_close(dev);
	return ret;
}
