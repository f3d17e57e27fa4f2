// SPDX-License-Identifier: MIT
/* Chat templates. The known ones are recognised by marks in the file's template. */
#define _GNU_SOURCE	/* memmem */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "llm_internal.h"

/* %s is the role; EOS in a text stands for the model's end-of-sequence token. */
#define EOS	"\x01"

struct chat_template {
	const char *name;
	const char *mark;		/* in the template's text */
	const char *open, *close;	/* around a message: control tokens are recognised */
	const char *reply;
};

static const struct chat_template templates[] = {
	{ "chatml", "<|im_start|>", "<|im_start|>%s\n", "<|im_end|>\n", "<|im_start|>assistant\n" },
	{ "llama3", "<|start_header_id|>", "<|start_header_id|>%s<|end_header_id|>\n\n",
	  "<|eot_id|>", "<|start_header_id|>assistant<|end_header_id|>\n\n" },
	{ "zephyr", "<|user|>", "<|%s|>\n", EOS "\n", "<|assistant|>\n" },
	{ "llama2", "[INST]", NULL, NULL, NULL },
};

static const struct chat_template *find_template(const struct npu_llm *llm)
{
	struct npu_gguf_str s;
	size_t i;

	if (npu_gguf_get_str(llm->gguf, "tokenizer.chat_template", &s))
		return NULL;
	for (i = 0; i < sizeof(templates) / sizeof(templates[0]); i++)
		if (memmem(s.ptr, s.len, templates[i].mark, strlen(templates[i].mark)))
			return &templates[i];
	return NULL;
}

const char *npu_llm_chat_template(const struct npu_llm *llm)
{
	const struct chat_template *t = find_template(llm);

	return t ? t->name : NULL;
}

struct writer {
	struct npu_llm *llm;
	int32_t *tokens;
	size_t n;
	int error;
};

static void put(struct writer *w, const char *text, size_t len, unsigned int flags)
{
	int64_t n;
	int32_t *tokens;

	if (w->error)
		return;
	n = npu_tokenizer_encode(w->llm->tok, text, len, flags, NULL, 0);
	if (n <= 0) {
		w->error = (int)n;
		return;
	}
	tokens = realloc(w->tokens, (w->n + (size_t)n) * sizeof(*tokens));
	if (!tokens) {
		w->error = -ENOMEM;
		return;
	}
	w->tokens = tokens;
	n = npu_tokenizer_encode(w->llm->tok, text, len, flags, tokens + w->n, (size_t)n);
	if (n < 0)
		w->error = (int)n;
	else
		w->n += (size_t)n;
}

static void put_token(struct writer *w, enum npu_token_role role)
{
	int32_t id = npu_tokenizer_special(w->llm->tok, role), *tokens;

	if (w->error || id < 0)
		return;
	tokens = realloc(w->tokens, (w->n + 1) * sizeof(*tokens));
	if (!tokens) {
		w->error = -ENOMEM;
		return;
	}
	w->tokens = tokens;
	w->tokens[w->n++] = id;
}

/* A part of the template; at the very beginning a text begins, later it goes on. */
static void put_frame(struct writer *w, const char *text, bool first)
{
	const char *eos = strstr(text, EOS);

	if (eos) {
		if (eos > text)
			put(w, text, (size_t)(eos - text),
			    NPU_ENCODE_CONTROL | NPU_ENCODE_CONTINUE);
		put_token(w, NPU_TOKEN_EOS);
		text = eos + 1;
	}
	put(w, text, strlen(text), NPU_ENCODE_CONTROL | (first ? 0 : NPU_ENCODE_CONTINUE));
}

static void put_marked(struct writer *w, const struct chat_template *t,
		       const struct npu_chat_message *m, bool first)
{
	char open[96];

	snprintf(open, sizeof(open), t->open, m->role);
	put_frame(w, open, first);
	put(w, m->text, strlen(m->text), NPU_ENCODE_CONTINUE);
	put_frame(w, t->close, false);
}

/*
 * [INST] <<SYS>> ... <</SYS>> question [/INST] answer </s>: the system message is part of the
 * first question.
 */
static void put_llama2(struct writer *w, const struct npu_chat_message *msgs, uint32_t n)
{
	const char *system = NULL;
	size_t size;
	char *text;
	uint32_t i;

	for (i = 0; i < n && !w->error; i++) {
		if (!strcmp(msgs[i].role, "system")) {
			system = msgs[i].text;
			continue;
		}
		size = strlen(msgs[i].text) + (system ? strlen(system) : 0) + 64;
		text = malloc(size);
		if (!text) {
			w->error = -ENOMEM;
			return;
		}
		if (!strcmp(msgs[i].role, "assistant")) {
			snprintf(text, size, " %s ", msgs[i].text);
			put(w, text, strlen(text), NPU_ENCODE_CONTINUE);
			put_token(w, NPU_TOKEN_EOS);
		} else {
			if (w->n > 1)
				put_token(w, NPU_TOKEN_BOS);
			if (system)
				snprintf(text, size, "[INST] <<SYS>>\n%s\n<</SYS>>\n\n%s [/INST]",
					 system, msgs[i].text);
			else
				snprintf(text, size, "[INST] %s [/INST]", msgs[i].text);
			put(w, text, strlen(text), 0);
			system = NULL;
		}
		free(text);
	}
}

static int check_roles(struct npu_llm *llm, const struct npu_chat_message *msgs, uint32_t n)
{
	uint32_t i;

	for (i = 0; i < n; i++)
		if (!msgs[i].role || !msgs[i].text ||
		    (strcmp(msgs[i].role, "system") && strcmp(msgs[i].role, "user") &&
		     strcmp(msgs[i].role, "assistant")))
			return llm_fail(llm, -EINVAL,
					"message %u is of '%s', not system, user or assistant", i,
					msgs[i].role ? msgs[i].role : "");
	return 0;
}

int npu_llm_chat(struct npu_llm *llm, const struct npu_chat_message *msgs, uint32_t n, bool reply,
		 int32_t **tokens, uint32_t *count)
{
	const struct chat_template *t = find_template(llm);
	struct writer w = { .llm = llm };
	uint32_t i;
	int ret;

	*tokens = NULL;
	*count = 0;
	if (!t)
		return llm_fail(
			llm, -ENOTSUP,
			"the model has no chat template that is known; it continues text only");
	ret = check_roles(llm, msgs, n);
	if (ret)
		return ret;
	if (npu_tokenizer_adds_bos(llm->tok))
		put_token(&w, NPU_TOKEN_BOS);
	if (!t->open)
		put_llama2(&w, msgs, n);
	for (i = 0; t->open && i < n; i++)
		put_marked(&w, t, &msgs[i], i == 0);
	if (reply && t->reply)
		put_frame(&w, t->reply, n == 0);
	if (w.error) {
		free(w.tokens);
		return llm_fail(llm, w.error, "the conversation cannot be encoded: %s",
				npu_strerror(w.error));
	}
	*tokens = w.tokens;
	*count = (uint32_t)w.n;
	return 0;
}
