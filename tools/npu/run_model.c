// SPDX-License-Identifier: MIT
/* Where the bundled model is: beside the sources of a build, or under the installation's share/. */
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "run.h"

static bool first_match(const char *dir, const char *below, char *path, size_t size)
{
	char pattern[PATH_MAX];
	bool found = false;
	glob_t g;

	if ((size_t)snprintf(pattern, sizeof(pattern), "%s/%s/*.gguf", dir, below) >=
	    sizeof(pattern))
		return false;
	if (!glob(pattern, 0, NULL, &g))
		found = (size_t)snprintf(path, size, "%s", g.gl_pathv[0]) < size;
	globfree(&g);
	return found;
}

bool run_default_model(char *path, size_t size)
{
	/* bin/npu -> share/opennpu; build/tools/npu/npu -> models. */
	static const char *const places[] = {
		"../share/opennpu/models", "../../../models", "../../../../models",
	};
	const char *env = getenv("NPU_MODEL");
	char self[PATH_MAX], *slash;
	ssize_t n;
	size_t i;

	if (env && *env)
		return (size_t)snprintf(path, size, "%s", env) < size;
	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n > 0) {
		self[n] = 0;
		slash = strrchr(self, '/');
		if (slash)
			*slash = 0;
		for (i = 0; i < sizeof(places) / sizeof(places[0]); i++)
			if (first_match(self, places[i], path, size))
				return true;
	}
	return first_match("/opt/npu", "models", path, size);	/* the virtual board */
}
