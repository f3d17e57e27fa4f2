// SPDX-License-Identifier: MIT
/*
 * The three static command streams of a model:
 *
 *   prefill  rows tokens from position pos on; on request logits of the last one
 *   decode   a loop of count tokens, each the argmax of the one before
 *   score    as prefill, with the logits of every row
 *
 * What changes between replays comes in scalars, so nothing is patched.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "llm_internal.h"

#define SCORE_ROWS 64u /* per run of the scoring program: its logits are rows x vocab F32 */

/* ---- Pieces ----------------------------------------------------------------------------- */

static struct npu_gtensor *io_state(struct llm_build *b, const char *name, uint32_t n,
				    size_t offset)
{
	struct npu_bound bound = {
		.name = name,
		.type = NPU_TYPE_I32,
		.shape = npu_shape4(n, 1, 1, 1),
		.buffer = b->llm->io,
		.offset = offset,
	};

	return npu_graph_state(b->g, &bound);
}

static struct npu_gtensor *logits_state(struct llm_build *b)
{
	struct npu_bound bound = {
		.name = "logits",
		.type = NPU_TYPE_F32,
		.shape = npu_shape4(b->llm->hp.vocab, 1, 1, 1),
		.buffer = b->llm->logits_buf,
	};

	return npu_graph_state(b->g, &bound);
}

static void bind_steps(struct llm_build *b)
{
	struct npu_bound bound = {
		.name = "rope_steps",
		.type = NPU_TYPE_I64,
		.shape = npu_shape4(b->llm->hp.rope_dims / 2, 1, 1, 1),
		.buffer = b->llm->steps,
	};

	b->steps = npu_graph_weight(b->g, &bound);
}

static struct npu_gtensor *tokens_input(struct llm_build *b)
{
	struct npu_shape shape = { { b->max_rows, 1, 1, 1 }, { b->rows, 0, 0, 0 } };

	return npu_graph_input(b->g, "tokens", NPU_TYPE_I32, shape);
}

/* Token ids {M} -> hidden states {C, M}. */
static struct npu_gtensor *embed(struct llm_build *b, struct npu_gtensor *tokens)
{
	npu_graph_scope(b->g, "embd");
	return npu_graph_gather(b->g, llm_bind(b, "token_embd", &b->llm->embd), tokens,
				NPU_TYPE_F32);
}

static struct npu_gtensor *layers(struct llm_build *b, struct npu_gtensor *x)
{
	char scope[32];
	uint32_t il;

	for (il = 0; il < b->llm->hp.layers; il++) {
		snprintf(scope, sizeof(scope), "blk.%u", il);
		npu_graph_scope(b->g, scope);
		x = b->llm->arch->layer(b, il, x);
	}
	npu_graph_scope(b->g, "head");
	return x;
}

/* Hidden states {C, M} -> logits {V, M}. */
static struct npu_gtensor *head(struct llm_build *b, struct npu_gtensor *x)
{
	x = npu_graph_rms_norm(b->g, x, llm_vector(b, "output_norm", &b->llm->out_norm),
			       b->llm->hp.rms_eps, NPU_TYPE_F32);
	return npu_graph_matmul(b->g, x, llm_bind(b, "output", &b->llm->output), NULL,
				NPU_TYPE_F32);
}

/*
 * Logits of one row to where the host reads them, and their argmax to the token word, which is
 * returned.
 */
static struct npu_gtensor *publish(struct llm_build *b, struct npu_gtensor *logits)
{
	struct npu_gtensor *token = io_state(b, "token", 1, offsetof(struct llm_io, token));

	npu_graph_copy(b->g, logits_state(b), logits);
	return npu_graph_copy(b->g, token, npu_graph_argmax(b->g, logits));
}

/* ---- Programs ------------------------------------------------------------------------------ */

/* Arguments: pos, rows, logits wanted. */
static void record_prefill(struct llm_build *b)
{
	struct npu_gtensor *x, *last;
	struct npu_affine row;
	int wanted;

	b->pos = npu_graph_arg(b->g, "pos", b->llm->context - b->max_rows);
	b->rows = npu_graph_arg(b->g, "rows", b->max_rows);
	wanted = npu_graph_arg(b->g, "logits", 1);
	b->kv = npu_graph_let(b->g, "kv", npu_sum(b->pos, 1, b->rows, 1), b->llm->context);
	bind_steps(b);
	x = embed(b, tokens_input(b));
	x = layers(b, x);
	npu_graph_skip_begin(b->g, wanted, NPU_COND_EQ, 0);
	row = npu_scaled(b->rows, 1);
	row.imm = (uint64_t)-1;
	last = npu_graph_row(b->g, x, row);
	b->rows = 0;
	b->max_rows = 1;
	publish(b, head(b, last));
	npu_graph_skip_end(b->g);
}

/*
 * Arguments: pos, count, end token. Each round takes the token word, leaves its successor there
 * and in the ring. The loop ends early at the end token or when the host has set the stop word.
 */
static void record_decode(struct llm_build *b)
{
	struct npu_gtensor *token, *stop, *ring, *here;
	int count, end, step, got, stopped;
	uint64_t nb[NPU_DIMS] = { 4, 4, 4, 4 };

	b->pos = npu_graph_arg(b->g, "pos", b->llm->context - 1);
	count = npu_graph_arg(b->g, "count", LLM_RING);
	end = npu_graph_arg(b->g, "end", UINT64_MAX);
	step = npu_graph_var(b->g, "step", LLM_RING);
	got = npu_graph_var(b->g, "token", UINT64_MAX);
	stopped = npu_graph_var(b->g, "stop", UINT64_MAX);
	b->max_rows = 1;
	bind_steps(b);
	token = io_state(b, "token", 1, offsetof(struct llm_io, token));
	stop = io_state(b, "stop", 1, offsetof(struct llm_io, stop));
	ring = io_state(b, "ring", LLM_RING + 1, offsetof(struct llm_io, ring));

	npu_graph_loop_begin(b->g, npu_scaled(count, 1));
	b->kv = npu_graph_let(b->g, "kv", (struct npu_affine){ .imm = 1, .a = b->pos, .sa = 1 },
			      b->llm->context);
	publish(b, head(b, layers(b, embed(b, token))));
	here = npu_graph_view(b->g, ring, npu_shape4(1, 1, 1, 1), nb, npu_scaled(step, 4));
	npu_graph_load(b->g, got, token);
	npu_graph_store(b->g, here, npu_scaled(got, 1));
	npu_graph_set(b->g, step, (struct npu_affine){ .imm = 1, .a = step, .sa = 1 });
	npu_graph_set(b->g, b->pos, (struct npu_affine){ .imm = 1, .a = b->pos, .sa = 1 });
	npu_graph_progress(b->g, npu_scaled(step, 1), false);
	npu_graph_alu(b->g, NPU_ALU_XOR, got, npu_scaled(end, 1));
	npu_graph_loop_break(b->g, got, NPU_COND_EQ, 0);
	npu_graph_load(b->g, stopped, stop);
	npu_graph_loop_break(b->g, stopped, NPU_COND_NE, 0);
	npu_graph_loop_end(b->g);
}

/* Arguments: pos, rows. */
static void record_score(struct llm_build *b)
{
	struct npu_gtensor *x;

	b->pos = npu_graph_arg(b->g, "pos", b->llm->context - b->max_rows);
	b->rows = npu_graph_arg(b->g, "rows", b->max_rows);
	b->kv = npu_graph_let(b->g, "kv", npu_sum(b->pos, 1, b->rows, 1), b->llm->context);
	bind_steps(b);
	x = embed(b, tokens_input(b));
	npu_graph_output(b->g, "logits", head(b, layers(b, x)));
}

static int build(struct npu_llm *llm, const char *name, void (*record)(struct llm_build *b),
		 uint32_t max_rows, struct llm_program *out)
{
	struct npu_compile_options opt = { .size = sizeof(opt) };
	struct llm_build b = { .llm = llm, .max_rows = max_rows };
	int ret;

	if (llm->prefill.p)
		opt.arena = npu_program_arena(llm->prefill.p);
	ret = npu_graph_create(llm->dev, &b.g);
	if (ret)
		return llm_fail_device(llm, ret, "no graph");
	record(&b);
	ret = npu_graph_compile(b.g, llm->vm, &opt, &out->p);
	if (ret == -ENOSPC && opt.arena) {
		opt.arena = NULL;	/* it needs more than prefill does */
		ret = npu_graph_compile(b.g, llm->vm, &opt, &out->p);
	}
	if (ret)
		llm_fail(llm, ret, "the %s program cannot be built: %s", name,
			 npu_graph_error(b.g));
	npu_graph_destroy(b.g);
	if (ret)
		return ret;
	npu_program_io(out->p, "tokens", &out->tokens);
	npu_program_io(out->p, "logits", &out->logits);
	return 0;
}

/* The largest first: the others use its memory. */
int llm_build_programs(struct npu_llm *llm)
{
	int ret = build(llm, "prefill", record_prefill, llm->chunk, &llm->prefill);

	return ret ? ret : build(llm, "decode", record_decode, 1, &llm->decode);
}

int llm_build_score(struct npu_llm *llm)
{
	uint32_t rows = llm->chunk < SCORE_ROWS ? llm->chunk : SCORE_ROWS;

	return llm->score.p ? 0 : build(llm, "score", record_score, rows, &llm->score);
}

void llm_program_free(struct llm_program *p)
{
	npu_program_unref(p->p);
	memset(p, 0, sizeof(*p));
}
