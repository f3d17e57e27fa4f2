/* SPDX-License-Identifier: MIT */
/*
 * Runs the conformance table on the model's tensor operations:
 *
 *   - the scalar reference against the expectation in double precision, and
 *     its digest against the committed one;
 *   - every faster path of this CPU against the reference, bit for bit, alone
 *     and with worker threads;
 *   - once more with every operand that has holes mapped run by run.
 *
 * Usage: run_model [--update] [--filter TEXT] DIGESTS
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf.h"
#include "digests.h"
#include "ops.h"
#include "pool.h"

#define BASE	0x100000000ull	/* buffers are far apart in the address space */

struct target {
	struct npu_op_env env;
	struct conf_instance *ci;
	bool whole;		/* spans with holes may be mapped whole */
	void *scratch;
	size_t scratch_size;
	char fault[160];
};

static uint64_t va_of(uint32_t buf)
{
	return BASE * (buf + 1);
}

/* A span inside one buffer; guards are mapped too, so that the comparison finds stray writes. */
static void *map(struct npu_op_env *env, uint64_t va, uint64_t len, unsigned int access, unsigned int operand)
{
	struct target *t = (struct target *)env;
	uint64_t buf = va / BASE - 1, at = va % BASE;

	if ((access & NPU_OP_PROBE) && !t->whole)
		return NULL;
	if (buf >= t->ci->nbufs || at + len > t->ci->bufs[buf].size ||
	    ((access & NPU_OP_WRITE) && !t->ci->bufs[buf].output)) {
		snprintf(t->fault, sizeof(t->fault), "operand %u: %s of %#" PRIx64 " + %" PRIu64 " is outside its buffer",
			 operand, access & NPU_OP_WRITE ? "write" : "read", va, len);
		return NULL;
	}
	return t->ci->bufs[buf].data + at;
}

/* In one piece. */
static int map_pieces(struct npu_op_env *env, uint64_t va, uint64_t len, unsigned int access, unsigned int operand,
		      struct npu_pieces *out)
{
	*out = (struct npu_pieces){ .p = map(env, va, len, access, operand) };
	return out->p ? 0 : -EFAULT;
}

static int illegal(struct npu_op_env *env, unsigned int operand, uint64_t addr)
{
	struct target *t = (struct target *)env;

	snprintf(t->fault, sizeof(t->fault), "operand %u: illegal at %#" PRIx64, operand, addr);
	return -EFAULT;
}

static void *scratch(struct npu_op_env *env, size_t size)
{
	struct target *t = (struct target *)env;

	if (size > t->scratch_size) {
		free(t->scratch);
		t->scratch_size = (size + 63) / 64 * 64;
		t->scratch = aligned_alloc(64, t->scratch_size);
	}
	/* Nothing may depend on what an earlier command left. */
	if (t->scratch)
		memset(t->scratch, 0xff, size);
	return t->scratch;
}

static bool run(struct target *t, enum npu_path path, struct npu_pool *pool, bool whole, uint64_t *digest, char *text,
		size_t size)
{
	static const struct npu_op_limits limits = {
		.max_macs = 1ull << 40, .max_bytes = 1ull << 40, .va_limit = 1ull << 48,
		.ops = 0xffff | 1ull << NPU_OP_BIT(NPU_OP_MATMUL_GLU),
		.types_rows = ~0u, .types_tiles = ~0u,
	};
	struct conf_instance *ci = t->ci;
	struct npu_op_plan plan;
	int err;

	for (uint32_t b = 0; b < ci->nbufs; b++)
		conf_place(ci, b, va_of(b));
	conf_restore(ci);
	t->env.path = path;
	t->env.pool = pool;
	t->whole = whole;
	t->fault[0] = 0;
	npu_op_plan(ci->packet, ci->len, &limits, &plan);
	if (plan.fault) {
		snprintf(text, size, "%s: refused: fault %#x, operand %u", ci->name, plan.fault, plan.operand);
		return false;
	}
	err = npu_op_run(ci->packet, &t->env);
	if (err) {
		snprintf(text, size, "%s: error %d: %s", ci->name, err, t->fault);
		return false;
	}
	*digest = conf_digest(ci);
	return true;
}

static const char *const path_names[] = { "scalar", "avx2", "avx512", "neon" };

static bool compare_paths(struct target *t, struct npu_pool *pool, uint64_t want, char *text, size_t size)
{
	for (unsigned int path = NPU_PATH_SCALAR; path <= NPU_PATH_NEON; path++) {
		if (!npu_path_supported(path))
			continue;
		for (unsigned int way = 0; way < 4; way++) {
			uint64_t got;

			if (!run(t, path, way & 1 ? pool : NULL, !(way & 2), &got, text, size))
				return false;
			if (got == want)
				continue;
			snprintf(text, size, "%s: path %s, %s, %s, differs from the reference", t->ci->name,
				 path_names[path], way & 1 ? "threads" : "one thread", way & 2 ? "run by run" : "whole spans");
			return false;
		}
	}
	return true;
}

static bool run_case(struct target *t, size_t i, struct npu_pool *pool, struct digests *d, char *text, size_t size)
{
	struct conf_instance ci;
	uint64_t digest;
	bool ok;

	if (conf_make(i, &ci)) {
		snprintf(text, size, "%s: out of memory", conf_name(i));
		return false;
	}
	t->ci = &ci;
	ok = run(t, NPU_PATH_SCALAR, NULL, true, &digest, text, size) && conf_check(&ci, text, size) &&
	     (!d || digest_check(d, ci.name, digest, text, size)) && compare_paths(t, pool, digest, text, size);
	conf_free(&ci);
	return ok;
}

int main(int argc, char **argv)
{
	struct target t = { .env = { .map = map, .map_pieces = map_pieces, .illegal = illegal, .scratch = scratch } };
	struct npu_pool_options opt = { .threads = 3 };
	struct npu_pool *pool;
	struct digests d = { 0 };
	FILE *f = NULL;
	const char *filter = NULL, *file = NULL;
	bool update = false;
	size_t ran = 0, bad = 0;
	char text[512];

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--update") == 0)
			update = true;
		else if (strcmp(argv[i], "--filter") == 0 && i + 1 < argc)
			filter = argv[++i];
		else
			file = argv[i];
	}
	if (!file && !filter) {
		fprintf(stderr, "usage: %s [--update] DIGESTS, or --filter TEXT\n", argv[0]);
		return 2;
	}
	if (file) {
		f = fopen(file, update ? "w" : "r");
		if (!f || (!update && !digests_read(&d, f))) {
			fprintf(stderr, "%s: %s\n", file, strerror(errno));
			return 2;
		}
		d.out = update ? f : NULL;
	}
	if (npu_pool_create(&opt, &pool)) {
		fprintf(stderr, "no worker threads to be had\n");
		return 2;
	}
	for (size_t i = 0; i < conf_count(); i++) {
		if (filter && !strstr(conf_name(i), filter))
			continue;
		ran++;
		if (run_case(&t, i, pool, file ? &d : NULL, text, sizeof(text)))
			continue;
		if (bad++ < 40)
			printf("FAIL %s\n", text);
	}
	if (!filter && !update && !bad && d.used != d.n) {
		printf("FAIL %s: %zu digests belong to no case\n", file, d.n - d.used);
		bad++;
	}
	printf("%zu cases, %zu failed; paths:", ran, bad);
	for (unsigned int path = NPU_PATH_SCALAR; path <= NPU_PATH_NEON; path++)
		if (npu_path_supported(path))
			printf(" %s", path_names[path]);
	printf("\n");
	npu_pool_destroy(pool);
	free(t.scratch);
	digests_free(&d);
	if (f && fclose(f)) {
		fprintf(stderr, "%s: %s\n", file, strerror(errno));
		return 2;
	}
	return bad || !ran;
}
