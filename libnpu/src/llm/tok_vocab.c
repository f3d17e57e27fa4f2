// SPDX-License-Identifier: MIT
/* Lookup of tokens by text and of merges by pair. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "tok_internal.h"

static uint64_t mix(uint64_t h)
{
	h ^= h >> 32;
	h *= 0xd6e8feb86659fd93ull;
	h ^= h >> 29;
	h *= 0x9fb21c651e98df25ull;
	return h ^ h >> 32;
}

static uint64_t hash_text(const struct tok_map *m, const char *s, size_t len)
{
	uint64_t h = m->seed ^ len, v;

	for (; len >= 8; s += 8, len -= 8) {
		memcpy(&v, s, 8);
		h = mix(h ^ v) + m->seed;
	}
	v = 0;
	memcpy(&v, s, len);
	return mix(h ^ v);
}

int tok_map_init(struct tok_map *m, uint64_t entries)
{
	uint64_t size = 16;

	while (size < 2 * entries)
		size *= 2;
	m->slots = calloc(size, sizeof(*m->slots));
	if (!m->slots)
		return -ENOMEM;
	m->mask = size - 1;
	if (getrandom(&m->seed, sizeof(m->seed), GRND_NONBLOCK) != sizeof(m->seed))
		m->seed = mix((uint64_t)time(NULL) ^ (uintptr_t)m->slots);
	return 0;
}

void tok_map_free(struct tok_map *m)
{
	free(m->slots);
	m->slots = NULL;
}

static bool same_text(const struct npu_tokenizer *t, uint32_t id, const char *s, size_t len)
{
	return t->text[id].len == len && !memcmp(t->text[id].ptr, s, len);
}

/* The slot that holds the text, or the free one where it would go. */
static struct tok_slot *text_slot(const struct npu_tokenizer *t, const char *s, size_t len,
				  uint64_t hash)
{
	const struct tok_map *m = &t->by_text;
	uint64_t i;

	for (i = hash & m->mask; m->slots[i].used; i = (i + 1) & m->mask)
		if (m->slots[i].key == hash && same_text(t, m->slots[i].value, s, len))
			break;
	return &m->slots[i];
}

int32_t tok_find(const struct npu_tokenizer *t, const char *s, size_t len)
{
	const struct tok_slot *slot = text_slot(t, s, len, hash_text(&t->by_text, s, len));

	return slot->used ? (int32_t)slot->value : -1;
}

/* Of two tokens with the same text the later one is found, as in other runtimes. */
void tok_vocab_insert(struct npu_tokenizer *t, int32_t id)
{
	const struct npu_gguf_str *s = &t->text[id];
	uint64_t hash = hash_text(&t->by_text, s->ptr, s->len);
	struct tok_slot *slot = text_slot(t, s->ptr, s->len, hash);

	slot->key = hash;
	slot->value = (uint32_t)id;
	slot->used = 1;
}

static struct tok_slot *pair_slot(const struct npu_tokenizer *t, int32_t left, int32_t right)
{
	const struct tok_map *m = &t->by_pair;
	uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
	uint64_t i;

	for (i = mix(key ^ m->seed) & m->mask; m->slots[i].used; i = (i + 1) & m->mask)
		if (m->slots[i].key == key)
			break;
	return &m->slots[i];
}

int64_t tok_rule_find(const struct npu_tokenizer *t, int32_t left, int32_t right)
{
	const struct tok_slot *slot = pair_slot(t, left, right);

	return slot->used ? (int64_t)slot->value : -1;
}

void tok_rule_insert(struct npu_tokenizer *t, uint32_t rank)
{
	const struct tok_rule *r = &t->rules[rank];
	struct tok_slot *slot = pair_slot(t, r->left, r->right);

	if (slot->used)
		return;	/* the lower rank stays */
	slot->key = (uint64_t)(uint32_t)r->left << 32 | (uint32_t)r->right;
	slot->value = rank;
	slot->used = 1;
}

int tok_list_add(struct tok_list *l, int32_t id)
{
	if (l->n == l->room) {
		size_t room = l->room ? 2 * l->room : 64;
		int32_t *ids = realloc(l->ids, room * sizeof(*ids));

		if (!ids)
			return -ENOMEM;
		l->ids = ids;
		l->room = room;
	}
	l->ids[l->n++] = id;
	return 0;
}
