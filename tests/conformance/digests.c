/* SPDX-License-Identifier: MIT */
/* The committed digests. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "digests.h"

bool digests_read(struct digests *d, FILE *in)
{
	size_t room = 1 << 20, have = 0;
	char *text = malloc(room), *more, *save;

	while (text && (have += fread(text + have, 1, room - have - 1, in)) == room - 1) {
		more = realloc(text, room *= 2);
		if (!more)
			free(text);
		text = more;
	}
	if (!text)
		return false;
	text[have] = 0;
	d->text = text;
	d->lines = malloc((have / 18 + 1) * sizeof(*d->lines));	/* 16 digits, a space, a line end */
	for (char *l = strtok_r(text, "\n", &save); d->lines && l; l = strtok_r(NULL, "\n", &save))
		if (strlen(l) > 17)
			d->lines[d->n++] = l;
	return d->lines;
}

static const char *digest_find(struct digests *d, const char *name)
{
	for (size_t i = 0; i < d->n; i++) {
		size_t at = (d->next + i) % d->n;

		if (strcmp(d->lines[at] + 17, name) == 0) {
			d->next = at + 1;
			d->used++;
			return d->lines[at];
		}
	}
	return NULL;
}

bool digest_check(struct digests *d, const char *name, uint64_t digest, char *text, size_t size)
{
	char is[17];
	const char *want;

	snprintf(is, sizeof(is), "%016" PRIx64, digest);
	if (d->out) {
		fprintf(d->out, "%s %s\n", is, name);
		return true;
	}
	want = digest_find(d, name);
	if (want && strncmp(want, is, 16) == 0)
		return true;
	snprintf(text, size, "%s: digest %s, committed %.16s", name, is, want ? want : "none");
	return false;
}

void digests_free(struct digests *d)
{
	free(d->lines);
	free(d->text);
}
