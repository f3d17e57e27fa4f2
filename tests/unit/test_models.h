/* SPDX-License-Identifier: MIT */
/* Models for tests: those that lie beside the project may be absent, the bundled one may not. */
#ifndef TEST_MODELS_H
#define TEST_MODELS_H

#include <glob.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef NPU_SOURCE_ROOT
#error "the build defines NPU_SOURCE_ROOT"
#endif

/*
 * Path of a model of others: in NPU_TEST_MODELS, or ../shared/models. False, with the reason
 * printed, when absent.
 */
static inline bool test_model(const char *name, char *path, size_t size)
{
	const char *dir = getenv("NPU_TEST_MODELS");

	if (dir)
		snprintf(path, size, "%s/%s", dir, name);
	else
		snprintf(path, size, "%s/../shared/models/%s", NPU_SOURCE_ROOT, name);
	if (!access(path, R_OK))
		return true;
	printf("# skipped: no %s; NPU_TEST_MODELS names the folder that has it\n", path);
	return false;
}

static inline bool test_first_gguf(const char *dir, char *path, size_t size)
{
	char pattern[512];
	bool found = false;
	glob_t g;

	snprintf(pattern, sizeof(pattern), "%s/*.gguf", dir);
	if (!glob(pattern, 0, NULL, &g))
		found = (size_t)snprintf(path, size, "%s", g.gl_pathv[0]) < size;
	globfree(&g);
	return found;
}

/* The bundled model: in the tree, or where the virtual board has it. */
static inline bool test_bundled_model(char *path, size_t size)
{
	return test_first_gguf(NPU_SOURCE_ROOT "/models", path, size) ||
	       test_first_gguf("/opt/npu/models", path, size);
}

/* The whole file, terminated; NULL when it cannot be read. */
static inline char *test_read(const char *path)
{
	FILE *f = fopen(path, "rb");
	char *s = NULL;
	long n;

	if (!f)
		return NULL;
	if (!fseek(f, 0, SEEK_END) && (n = ftell(f)) >= 0 && !fseek(f, 0, SEEK_SET)) {
		s = calloc((size_t)n + 1, 1);
		if (s && fread(s, 1, (size_t)n, f) != (size_t)n) {
			free(s);
			s = NULL;
		}
	}
	fclose(f);
	return s;
}

#endif /* TEST_MODELS_H */
