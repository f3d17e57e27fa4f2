/* SPDX-License-Identifier: MIT */
/* npu run, in parts. */
#ifndef NPU_TOOL_RUN_H
#define NPU_TOOL_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <npu/llm.h>

#define RUN_MAX_STOP	16

struct run_options {
	char path[4096];		/* of the bundled model */
	const char *model, *device, *prompt, *prompt_file, *system, *perplexity, *tokens_out, *ids,
		*logits;
	bool chat, json, quiet;
	uint64_t max_tokens;		/* of a text in --perplexity; 0 = all */
	const char *stop[RUN_MAX_STOP];
	struct npu_llm_options open;
	struct npu_llm_params gen;
	unsigned int given;		/* RUN_TEMP ...: of gen, not to be taken from the file */
};

enum { RUN_TEMP = 1, RUN_TOP_K = 2, RUN_TOP_P = 4, RUN_MIN_P = 8, RUN_PENALTY = 16 };

/* 0; 1: help was shown, end well; 2: wrong usage, said so. */
int run_parse(int argc, char **argv, struct run_options *o);
/* Path of the bundled model, or of $NPU_MODEL. */
bool run_default_model(char *path, size_t size);
/* The whole file (or "-": standard input), terminated; NULL after a message. */
char *run_read_file(const char *name, size_t *len);

/* Says so where a text is not UTF-8. */
void run_check_text(const struct run_options *o, const char *what, const char *text, size_t len);

/* What one generation wrote. */
struct run_text {
	char *text;
	size_t len, room;
	bool echo;			/* to standard output as it comes */
};

/* Ctrl-C cancels what this model does; NULL: ends the program. */
void run_interruptible(struct npu_llm *llm);
int run_piece(void *data, const struct npu_llm_piece *piece);
/* One text; returns the exit status. */
int run_prompt(struct npu_llm *llm, struct run_options *o);
int run_chat(struct npu_llm *llm, struct run_options *o);
int run_perplexity(struct npu_llm *llm, const struct run_options *o);
void run_report(struct npu_llm *llm, const struct npu_llm_stats *st);
void run_json(struct npu_llm *llm, const struct npu_llm_stats *st, const struct run_text *t,
	      uint32_t prompt, int error, uint64_t seed);

#endif /* NPU_TOOL_RUN_H */
