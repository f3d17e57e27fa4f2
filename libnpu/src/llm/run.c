// SPDX-License-Identifier: MIT
/* Running a model's programs: submissions, waiting, the sequence and its cache. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "llm_internal.h"

#define RETRIES		3	/* of a job that was lost to another queue's reset */
#define FEW_TOKENS	8u	/* that are sooner decoded one by one than together with many others again */
/*
 * Between looks at the ring and at cancellation: some tokens, but not so long that a reader notices. A look
 * is a timer, a wake-up and a system call: dear on a slow CPU, or on an emulated one that shares with the model.
 */
#define LOOK_TOKENS	4
#define LEAST_WAIT_NS	2000000
#define MOST_WAIT_NS	50000000

double llm_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

/* A queue dies with the job that it ran; weights, cache and sequence are not touched by that. */
static int revive_queue(struct npu_llm *llm)
{
	struct npu_queue_options opt = { .size = sizeof(opt), .priority = NPU_PRIORITY_MEDIUM };
	struct npu_queue *fresh;
	int ret;

	if (!llm->queue_dead)
		return 0;
	ret = npu_queue_create(llm->vm, &opt, &fresh);
	if (ret)
		return ret;
	npu_queue_unref(llm->queue);
	llm->queue = fresh;
	llm->queue_dead = false;
	return 0;
}

/* The device's text, and which operation of the model it was. */
static int fail_program(struct npu_llm *llm, const struct llm_program *prog, int code,
			const char *what)
{
	struct npu_queue_status st = { 0 };
	char op[64], text[128];

	snprintf(text, sizeof(text), "%s", what);
	if (!npu_queue_status(llm->queue, &st, sizeof(st)) && st.fault_tag &&
	    !npu_program_op_name(prog->p, st.fault_tag, op, sizeof(op)))
		snprintf(text, sizeof(text), "%s in %s", what, op);
	llm->queue_dead = code != -ENODEV;
	return llm_fail_device(llm, code, text);
}

static int submit(struct npu_llm *llm, struct llm_program *prog, const uint64_t *args,
		  uint32_t nargs)
{
	struct npu_point done = { llm->fence, llm->fence_value + 1 };
	struct npu_submit s = {
		.size = sizeof(s),
		.args = args,
		.nargs = nargs,
		.signals = &done,
		.nsignals = 1,
	};
	int ret = revive_queue(llm);

	if (!ret)
		ret = npu_program_flush(prog->p);
	if (!ret)
		ret = npu_program_submit(prog->p, llm->queue, &s);
	if (!ret)
		llm->fence_value++;
	return ret;
}

static int64_t wait_ns(const struct npu_llm *llm)
{
	double wait = llm->token_s * LOOK_TOKENS * 1e9;

	if (wait < LEAST_WAIT_NS)
		return LEAST_WAIT_NS;
	return wait < MOST_WAIT_NS ? (int64_t)wait : MOST_WAIT_NS;
}

/*
 * Wait for the last submission. @look (may be NULL) is called now and then, and
 * once more after the end. Returns the job's fate.
 */
static int finish(struct npu_llm *llm, struct llm_program *prog, void (*look)(void *data),
		  void *data)
{
	int ret;

	do {
		ret = npu_fence_wait(llm->fence, llm->fence_value, look ? wait_ns(llm) : -1);
		if (look)
			look(data);
	} while (ret == -ETIME);
	if (!ret)
		ret = npu_queue_check(llm->queue);
	if (!ret)
		ret = npu_program_invalidate(prog->p);
	return ret;
}

/*
 * Submit and wait; a job that was lost through no fault of its own is given again: it computes
 * the same bits.
 */
static int run(struct npu_llm *llm, struct llm_program *prog, const uint64_t *args, uint32_t nargs)
{
	int ret, i;

	for (i = 0; i <= RETRIES; i++) {
		ret = submit(llm, prog, args, nargs);
		if (!ret)
			ret = finish(llm, prog, NULL, NULL);
		if (ret != -ECANCELED)
			break;
	}
	return ret ? fail_program(llm, prog, ret, "the device failed") : 0;
}

/* ---- Prompt -------------------------------------------------------------------------------- */

static int read_logits(struct npu_llm *llm)
{
	struct llm_io *io = npu_buffer_map(llm->io);
	int ret = npu_buffer_sync(llm->logits_buf, NPU_SYNC_FOR_CPU, 0,
				  llm->hp.vocab * sizeof(float));

	if (!ret)
		ret = npu_buffer_sync(llm->io, NPU_SYNC_FOR_CPU, 0, sizeof(*io));
	if (ret)
		return llm_fail_device(llm, ret, "the results cannot be read");
	llm->greedy = io->token;
	llm->have_logits = true;
	return 0;
}

/*
 * One run of prefill or score for history[from, to). A chunk that would reach
 * beyond the cache at full size begins earlier instead: what it computes again
 * has the same bits.
 */
static int run_chunk(struct npu_llm *llm, struct llm_program *prog, uint32_t from, uint32_t to,
		     bool logits)
{
	uint32_t rows = prog->tokens.ne[0], nargs = prog == &llm->prefill ? 3 : 2;
	uint32_t start = from < llm->context - rows ? from : llm->context - rows;
	uint64_t args[3] = { start, to - start, logits };

	memcpy(prog->tokens.data, llm->history + start, (to - start) * sizeof(int32_t));
	return run(llm, prog, args, nargs);
}

static int start_loop(struct npu_llm *llm, struct llm_io *io, int32_t token)
{
	io->token = token;
	io->stop = 0;
	memset(io->ring, 0xff, sizeof(io->ring));
	return npu_buffer_sync(llm->io, NPU_SYNC_FOR_DEVICE, 0, sizeof(*io));
}

/* The token at position @pos of the history, with its logits. */
static int decode_one(struct npu_llm *llm, uint32_t pos)
{
	uint64_t args[3] = { pos, 1, UINT64_MAX };
	int ret, i;

	for (i = 0; i <= RETRIES; i++) {
		ret = start_loop(llm, npu_buffer_map(llm->io), llm->history[pos]);
		if (!ret)
			ret = submit(llm, &llm->decode, args, 3);
		if (!ret)
			ret = finish(llm, &llm->decode, NULL, NULL);
		if (ret != -ECANCELED)
			break;
	}
	return ret ? fail_program(llm, &llm->decode, ret, "the device failed during generation") : 0;
}

/* Near the end of the context a chunk would begin earlier: see run_chunk(). */
static bool few_at_the_end(const struct npu_llm *llm, uint32_t from, uint32_t to)
{
	return to - from <= FEW_TOKENS && from + llm->prefill.tokens.ne[0] > llm->context + FEW_TOKENS;
}

int llm_prefill(struct npu_llm *llm, uint32_t from, uint32_t to, bool logits)
{
	uint32_t end;
	int ret;

	for (; from < to; from = end) {
		if (atomic_load(&llm->cancel))
			return llm_fail(llm, -ECANCELED, "cancelled");
		if (few_at_the_end(llm, from, to)) {
			end = from + 1;
			ret = decode_one(llm, from);
		} else {
			end = to - from < llm->chunk ? to : from + llm->chunk;
			ret = run_chunk(llm, &llm->prefill, from, end, logits && end == to);
		}
		if (ret)
			return ret;
		llm->cached = end;
	}
	return logits ? read_logits(llm) : 0;
}

static int check_tokens(struct npu_llm *llm, const int32_t *tokens, uint32_t n)
{
	uint32_t i;

	if (n == 0 || !tokens)
		return llm_fail(llm, -EINVAL, "there are no tokens to compute; give a prompt");
	if (n > llm->context)
		return llm_fail(
			llm, -ENOSPC,
			"the prompt has %u tokens, the context %u; make it shorter, or the context larger",
			n, llm->context);
	for (i = 0; i < n; i++)
		if (tokens[i] < 0 || (uint32_t)tokens[i] >= llm->hp.vocab)
			return llm_fail(llm, -EINVAL, "token %u is %d, but there are %u tokens", i,
					tokens[i], llm->hp.vocab);
	return 0;
}

void npu_llm_truncate(struct npu_llm *llm, uint32_t n)
{
	if (n >= llm->length)
		return;
	llm->length = n;
	if (llm->cached > n)
		llm->cached = n;
	llm->have_logits = false;
}

int npu_llm_feed(struct npu_llm *llm, const int32_t *tokens, uint32_t n)
{
	uint32_t same = 0;
	int ret;

	atomic_store(&llm->cancel, 0);
	ret = check_tokens(llm, tokens, n);
	if (ret)
		return ret;
	while (same < llm->cached && same < n && llm->history[same] == tokens[same])
		same++;
	if (same == n && llm->length == n && llm->have_logits)
		return 0;
	/* The logits of the last token are wanted, so it is computed again even if it is cached. */
	if (same == n)
		same--;
	npu_llm_truncate(llm, same);
	memmove(llm->history + same, tokens + same, (n - same) * sizeof(*tokens));
	llm->length = n;
	llm->have_logits = false;
	ret = llm_prefill(llm, same, n, true);
	if (ret)
		llm->length = llm->cached;
	return ret;
}

const float *npu_llm_logits(const struct npu_llm *llm)
{
	return llm->have_logits ? llm->logits : NULL;
}

/* ---- Score ----------------------------------------------------------------------------------- */

/* log(softmax(row)[token]) */
static double log_probability(const float *row, uint32_t vocab, int32_t token)
{
	double max = (double)row[0], sum = 0;
	uint32_t i;

	for (i = 1; i < vocab; i++)
		max = fmax(max, (double)row[i]);
	for (i = 0; i < vocab; i++)
		sum += exp((double)row[i] - max);
	return (double)row[token] - max - log(sum);
}

int npu_llm_score(struct npu_llm *llm, const int32_t *tokens, uint32_t n, uint32_t from,
		  double *sum)
{
	uint32_t pos, end, rows, start, i;
	int ret;

	atomic_store(&llm->cancel, 0);
	if (n < 2 || from < 1 || from >= n || !sum)
		return llm_fail(llm, -EINVAL, "a score needs at least two tokens");
	if ((ret = check_tokens(llm, tokens, n)) || (ret = llm_build_score(llm)))
		return ret;
	npu_llm_truncate(llm, 0);
	memcpy(llm->history, tokens, n * sizeof(*tokens));
	rows = llm->score.tokens.ne[0];
	for (*sum = 0, pos = 0; pos < n; pos = end) {
		if (atomic_load(&llm->cancel))
			return llm_fail(llm, -ECANCELED, "cancelled");
		end = n - pos < rows ? n : pos + rows;
		ret = run_chunk(llm, &llm->score, pos, end, false);
		if (ret)
			return ret;
		start = pos < llm->context - rows ? pos : llm->context - rows;
		for (i = pos; i < end; i++)
			if (i + 1 >= from && i + 1 < n)
				*sum += log_probability((const float *)llm->score.logits.data +
								(uint64_t)(i - start) *
									llm->hp.vocab,
							llm->hp.vocab, tokens[i + 1]);
	}
	llm->length = n;
	llm->cached = n;
	return 0;
}

/* ---- Decoding -------------------------------------------------------------------- */

/* Watches the ring of a device loop. */
struct watch {
	struct npu_llm *llm;
	struct llm_io *io;
	uint32_t n, seen;
	int (*each)(void *data, int32_t token);
	void *data;
	bool stop;
};

static void look(void *data)
{
	struct watch *w = data;
	int32_t token;

	npu_buffer_sync(w->llm->io, NPU_SYNC_FOR_CPU, 0, sizeof(*w->io));
	while (!w->stop && w->seen < w->n) {
		token = __atomic_load_n(&w->io->ring[w->seen], __ATOMIC_ACQUIRE);
		if (token < 0)
			break;
		w->seen++;
		if ((uint32_t)token >= w->llm->hp.vocab)
			continue;	/* cannot be: the argmax of vocab values */
		w->llm->history[w->llm->length++] = token;
		if (w->each && w->each(w->data, token))
			w->stop = true;
	}
	if (w->stop || atomic_load(&w->llm->cancel)) {
		__atomic_store_n(&w->io->stop, 1, __ATOMIC_RELEASE);
		npu_buffer_sync(w->llm->io, NPU_SYNC_FOR_DEVICE, offsetof(struct llm_io, stop),
				sizeof(w->io->stop));
	}
}

/*
 * After an error the tokens that were seen stay in the history; the cache is
 * believed as far as it was before.
 */
int llm_decode(struct npu_llm *llm, uint32_t n, int32_t end, int (*each)(void *data, int32_t token),
	       void *data)
{
	uint64_t args[3] = { llm->cached, n, end < 0 ? UINT64_MAX : (uint64_t)end };
	struct watch w = {
		.llm = llm, .io = npu_buffer_map(llm->io), .n = n, .each = each, .data = data
	};
	double t = llm_now();
	int ret = 0, i;

	llm->have_logits = false;
	for (i = 0; i <= RETRIES; i++) {
		/* Begin again after tokens of a lost loop that were handed on already. */
		args[0] = llm->cached + w.seen;
		args[1] = n - w.seen;
		w.n -= w.seen;
		llm->cached += w.seen;
		w.seen = 0;
		n = w.n;
		if (!n)
			break;
		ret = start_loop(llm, w.io, llm->history[llm->length - 1]);
		if (!ret)
			ret = submit(llm, &llm->decode, args, 3);
		if (!ret)
			ret = finish(llm, &llm->decode, look, &w);
		if (ret != -ECANCELED)
			break;
	}
	if (ret)
		return fail_program(llm, &llm->decode, ret, "the device failed during generation");
	llm->cached += w.seen;
	if (w.seen) {
		t = (llm_now() - t) / w.seen;
		llm->token_s = llm->token_s > 0 ? 0.5 * (llm->token_s + t) : t;
	}
	return 0;
}

int llm_step(struct npu_llm *llm)
{
	int ret;

	llm->have_logits = false;
	ret = decode_one(llm, llm->cached);
	if (ret)
		return ret;
	llm->cached++;
	return read_logits(llm);
}
