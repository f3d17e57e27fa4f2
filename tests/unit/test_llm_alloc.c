// SPDX-License-Identifier: MIT
/*
 * Language models when memory runs out: every allocation of loading, tokenizing, chatting, generating and scoring
 * failed in turn, whoever makes it: -ENOMEM or success, nothing leaked, and the same works afterwards.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <cmocka.h>

#include <npu/device.h>
#include <npu/llm.h>

#include "llm_build.h"

static struct npu_device *dev;

/* ---- Every allocation of the process --------------------------------------------------- */

static atomic_long allocations, live, fail_at;	/* fail_at: number of the one that fails, from 1; 0 = none */

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t align, size_t n);
void __libc_free(void *p);

static bool fails(void)
{
	return atomic_fetch_add(&allocations, 1) + 1 == atomic_load(&fail_at);
}

static void *made(void *p)
{
	if (p)
		atomic_fetch_add(&live, 1);
	else
		errno = ENOMEM;
	return p;
}

__attribute__((visibility("default"))) void *malloc(size_t n)
{
	return made(fails() ? NULL : __libc_malloc(n));
}

__attribute__((visibility("default"))) void *calloc(size_t n, size_t size)
{
	return made(fails() ? NULL : __libc_calloc(n, size));
}

__attribute__((visibility("default"))) void *aligned_alloc(size_t align, size_t n)
{
	return made(fails() ? NULL : __libc_memalign(align, n));
}

__attribute__((visibility("default"))) void *realloc(void *p, size_t n)
{
	void *q;

	if (!p)
		return malloc(n);
	if (!n) {
		free(p);
		return NULL;
	}
	q = fails() ? NULL : __libc_realloc(p, n);
	if (!q)
		errno = ENOMEM;
	return q;
}

__attribute__((visibility("default"))) void free(void *p)
{
	if (p)
		atomic_fetch_sub(&live, 1);
	__libc_free(p);
}
#endif

/* Whether the functions above are used: not with another C library, nor under valgrind. */
static bool counted(void)
{
	long n = atomic_load(&allocations), l = atomic_load(&live);
	void *volatile p = malloc(1);
	bool both = atomic_load(&allocations) == n + 1 && atomic_load(&live) == l + 1;

	free(p);
	return both && atomic_load(&live) == l;
}

/* ---- Everything that a program does with a model ----------------------------------------- */

#define TRY(call) do { ret = (call); if (ret < 0) goto out; } while (0)

static int scenario(void)
{
	static const struct npu_chat_message says[] = { { "user", "HI" } };
	/* One thread: the order of allocations is the same each time. */
	struct npu_llm_options opt = { .size = sizeof(opt), .threads = 1, .chunk = 8 };
	struct npu_llm_params params;
	struct npu_detokenizer *detok = NULL;
	struct npu_llm *llm = NULL;
	int32_t tokens[64], *chat = NULL;
	uint32_t count;
	double sum;
	int64_t n;
	int ret;

	TRY(npu_llm_open(dev, model_path, &opt, &llm, NULL, 0));
	n = npu_tokenizer_encode(npu_llm_tokenizer(llm), "HELLO", 5, NPU_ENCODE_SPECIAL, tokens, 64);
	TRY((int)n);
	TRY(npu_detokenizer_create(npu_llm_tokenizer(llm), 0, &detok));
	TRY(npu_llm_chat(llm, says, 1, true, &chat, &count));
	npu_llm_params_init(&params);
	params.max_tokens = 6;
	params.stop = (const char *const[]){ "NEVER" };
	params.nstop = 1;
	TRY(npu_llm_generate(llm, chat, count, &params, NULL));
	params.temperature = 0;
	TRY(npu_llm_generate(llm, tokens, (uint32_t)n, &params, NULL));
	TRY(npu_llm_score(llm, tokens, (uint32_t)n, 1, &sum));
out:
	free(chat);
	npu_detokenizer_destroy(detok);
	npu_llm_close(llm);
	return ret < 0 ? ret : 0;
}

static void test_each(void **state)
{
	long total, before;

	(void)state;
	if (!counted()) {
		print_message("# skipped: llm_alloc: allocations cannot be failed here\n");
		return;
	}
	/* The software device grows its scratch memory the first time. */
	assert_int_equal(scenario(), 0);
	before = atomic_load(&live);
	atomic_store(&allocations, 0);
	assert_int_equal(scenario(), 0);
	total = atomic_load(&allocations);
	assert_int_equal(atomic_load(&live), before);
	assert_true(total > 100);
	for (long n = 1; n <= total; n++) {
		int ret;

		atomic_store(&allocations, 0);
		atomic_store(&fail_at, n);
		ret = scenario();
		atomic_store(&fail_at, 0);
		if ((ret && ret != -ENOMEM) || atomic_load(&live) != before)
			fail_msg("allocation %ld of %ld: error %d, %ld leaked", n, total, ret, atomic_load(&live) - before);
	}
	assert_int_equal(scenario(), 0);
	print_message("# %ld allocations failed in turn\n", total);
}

static int setup(void **state)
{
	struct gguf_build b;
	struct weights w;

	(void)state;
	chat_mark = "{{ bos_token + '[INST] ' }}";
	build_model(&b, &w, &tiny_llama);
	write_model(&b);
	free_weights(&w);
	return npu_device_open(NULL, NULL, &dev);
}

static int teardown(void **state)
{
	(void)state;
	npu_device_close(dev);
	return unlink(model_path);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_each) };

	return cmocka_run_group_tests_name("llm_alloc", tests, setup, teardown);
}
