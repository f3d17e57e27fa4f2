// SPDX-License-Identifier: MIT
/*
 * Merging: a text begins as a list of characters (SPM) or bytes (BPE); the best
 * pair of neighbours becomes one token until no pair is left. A heap holds the
 * candidates, so a text of n characters takes O(n log n).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tok_internal.h"
#include "unicode.h"

struct symbol {
	const char *s;
	uint32_t len;		/* 0: merged into its left neighbour */
	int32_t id;		/* token, or -1 */
	int32_t prev, next;
};

/* A candidate. It is stale when its symbols have changed since, which their lengths show. */
struct pair {
	double cost;		/* lowest first; ties: leftmost */
	int32_t left, right;
	uint32_t len;
	int32_t id;		/* of the result */
};

struct merger {
	const struct npu_tokenizer *t;
	struct symbol *sym;
	size_t n;
	struct pair *heap;
	size_t pairs;
};

static bool before(const struct pair *a, const struct pair *b)
{
	return a->cost < b->cost || (a->cost == b->cost && a->left < b->left);
}

static void heap_push(struct merger *m, struct pair p)
{
	size_t i = m->pairs++, up;

	for (; i > 0; i = up) {
		up = (i - 1) / 2;
		if (!before(&p, &m->heap[up]))
			break;
		m->heap[i] = m->heap[up];
	}
	m->heap[i] = p;
}

static struct pair heap_pop(struct merger *m)
{
	struct pair top = m->heap[0], last = m->heap[--m->pairs];
	size_t i = 0, down;

	while ((down = 2 * i + 1) < m->pairs) {
		if (down + 1 < m->pairs && before(&m->heap[down + 1], &m->heap[down]))
			down++;
		if (!before(&m->heap[down], &last))
			break;
		m->heap[i] = m->heap[down];
		i = down;
	}
	m->heap[i] = last;
	return top;
}

static void consider(struct merger *m, int32_t left, int32_t right)
{
	const struct npu_tokenizer *t = m->t;
	struct pair p = { .left = left, .right = right };
	int64_t rank;

	if (left < 0 || right < 0)
		return;
	p.len = m->sym[left].len + m->sym[right].len;
	if (t->spm) {
		p.id = tok_find(t, m->sym[left].s, p.len);
		if (p.id < 0)
			return;
		p.cost = -(double)t->score[p.id];
	} else {
		rank = tok_rule_find(t, m->sym[left].id, m->sym[right].id);
		if (rank < 0)
			return;
		p.id = t->rules[rank].id;
		p.cost = (double)rank;
	}
	heap_push(m, p);
}

/* Each merge adds at most two candidates and there are at most n - 1 of them. */
static int merger_alloc(struct merger *m, const struct npu_tokenizer *t, size_t symbols)
{
	m->t = t;
	m->n = 0;
	m->pairs = 0;
	m->sym = malloc(symbols * sizeof(*m->sym));
	m->heap = malloc(3 * symbols * sizeof(*m->heap));
	return m->sym && m->heap ? 0 : -ENOMEM;
}

static void merger_free(struct merger *m)
{
	free(m->sym);
	free(m->heap);
}

static void add_symbol(struct merger *m, const char *s, uint32_t len, int32_t id)
{
	struct symbol *sym = &m->sym[m->n];

	*sym = (struct symbol){
		.s = s, .len = len, .id = id, .prev = (int32_t)m->n - 1, .next = -1
	};
	if (m->n)
		sym[-1].next = (int32_t)m->n;
	m->n++;
}

static void merge_all(struct merger *m)
{
	size_t i;

	for (i = 1; i < m->n; i++)
		consider(m, (int32_t)i - 1, (int32_t)i);
	while (m->pairs) {
		struct pair p = heap_pop(m);
		struct symbol *l = &m->sym[p.left], *r = &m->sym[p.right];

		if (!l->len || !r->len || l->len + r->len != p.len || l->next != p.right)
			continue;
		l->len = p.len;
		l->id = p.id;
		r->len = 0;
		l->next = r->next;
		if (r->next >= 0)
			m->sym[r->next].prev = p.left;
		consider(m, l->prev, p.left);
		consider(m, p.left, l->next);
	}
}

/* A symbol that is no token: its bytes, or the unknown token. */
static int add_bytes(const struct npu_tokenizer *t, const struct symbol *s, struct tok_list *out)
{
	uint32_t i;
	int ret = 0;

	for (i = 0; i < s->len; i++)
		if (t->byte[(uint8_t)s->s[i]] < 0)
			return t->role[NPU_TOKEN_UNK] < 0
				       ? 0
				       : tok_list_add(out, t->role[NPU_TOKEN_UNK]);
	for (i = 0; i < s->len && !ret; i++)
		ret = tok_list_add(out, t->byte[(uint8_t)s->s[i]]);
	return ret;
}

static int emit(const struct merger *m, struct tok_list *out)
{
	int32_t i;
	int ret = 0;

	for (i = m->n ? 0 : -1; i >= 0 && !ret; i = m->sym[i].next) {
		if (m->sym[i].id >= 0)
			ret = tok_list_add(out, m->sym[i].id);
		else
			ret = add_bytes(m->t, &m->sym[i], out);
	}
	return ret;
}

int tok_encode_spm(const struct npu_tokenizer *t, const char *s, size_t len, struct tok_list *out)
{
	struct merger m;
	int ret = merger_alloc(&m, t, len + 1);
	uint32_t used;
	size_t pos;

	for (pos = 0; pos < len && !ret; pos += used) {
		unicode_decode(s + pos, len - pos, &used);
		add_symbol(&m, s + pos, used, tok_find(t, s + pos, used));
	}
	if (!ret) {
		merge_all(&m);
		ret = emit(&m, out);
	}
	merger_free(&m);
	return ret;
}

/* The word as the vocabulary writes it, if that is a token; -1 otherwise. */
static int32_t whole_word(const struct npu_tokenizer *t, const char *s, size_t len)
{
	char text[512];
	size_t i, n = 0;

	if (2 * len > sizeof(text) || len > t->longest)
		return -1;
	for (i = 0; i < len; i++)
		n += unicode_encode(tok_byte_to_char((uint8_t)s[i]), text + n);
	return tok_find(t, text, n);
}

static int encode_word(struct merger *m, const char *s, size_t len, struct tok_list *out)
{
	const struct npu_tokenizer *t = m->t;
	size_t i;

	if (t->whole_words) {
		int32_t id = whole_word(t, s, len);

		if (id >= 0)
			return tok_list_add(out, id);
	}
	m->n = 0;
	m->pairs = 0;
	for (i = 0; i < len; i++)
		add_symbol(m, s + i, 1, t->byte[(uint8_t)s[i]]);
	merge_all(m);
	return emit(m, out);
}

int tok_encode_bpe(const struct npu_tokenizer *t, const char *s, size_t len, struct tok_list *out)
{
	struct merger m = { 0 };
	size_t pos, n, room = 0;
	int ret = 0;

	for (pos = 0; pos < len && !ret; pos += n) {
		n = tok_pre_word(t->pre, s + pos, len - pos);
		if (n > room) {
			merger_free(&m);
			room = n > 64 ? 2 * n : 64;
			ret = merger_alloc(&m, t, room);
			if (ret)
				break;
		}
		ret = encode_word(&m, s + pos, n, out);
	}
	merger_free(&m);
	return ret;
}
