/* SPDX-License-Identifier: MIT */
/* digests.h - the committed digests of the results: lines "digest name". */
#ifndef NPU_TESTS_DIGESTS_H
#define NPU_TESTS_DIGESTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct digests {
	FILE *out;		/* when updating: where new lines go */
	char *text;
	char **lines;
	size_t n, next;		/* next: where the search begins */
	size_t used;
};

/* Read @in; false: out of memory. */
bool digests_read(struct digests *d, FILE *in);
void digests_free(struct digests *d);
/* Compare with (updating: write) the digest of case @name; false: @text says what differs. */
bool digest_check(struct digests *d, const char *name, uint64_t digest, char *text, size_t size);

#endif /* NPU_TESTS_DIGESTS_H */
