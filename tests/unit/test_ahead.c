// SPDX-License-Identifier: MIT
/* Looking ahead: the job that followed is the one that is fetched, stream by stream, up to a bound. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>

#include "ahead.h"

#define LINE	64u
#define KIB	1024u

/* Addresses are never read. */
static const uint8_t *at(uintptr_t p)
{
	return (const uint8_t *)p;
}

/* @n streams, @apart bytes from each other. */
static void job(uintptr_t p, uint32_t n, uint64_t apart)
{
	struct npu_streams s = { .n = n };

	for (uint32_t i = 0; i < n; i++)
		s.p[i] = at(p + i * apart);
	npu_ahead_begin(&s);
	assert_null(npu_ahead_next());
	npu_ahead_end();
}

static int enter(void **state)
{
	(void)state;
	npu_ahead_enter();
	return 0;
}

static int leave(void **state)
{
	(void)state;
	npu_ahead_leave();
	return 0;
}

static void without_entering(void **state)
{
	(void)state;
	job(0x10000, 1, KIB);
	job(0x20000, 1, KIB);
	job(0x10000, 1, KIB);
	npu_ahead_vector(at(0x70000), LINE);
	assert_null(npu_ahead_next());
	assert_false(npu_ahead_fetch());
	assert_false(npu_ahead_vectors_left());
	npu_ahead_leave();
}

static void what_followed(void **state)
{
	(void)state;
	job(0x10000, 1, KIB);
	assert_null(npu_ahead_next());
	job(0x20000, 1, KIB);
	assert_null(npu_ahead_next());
	job(0x10000, 1, KIB);
	for (uint32_t i = 0; i < KIB; i += LINE)
		assert_ptr_equal(npu_ahead_next(), at(0x20000 + i));
	/* It learns. */
	job(0x30000, 1, KIB);
	job(0x10000, 1, KIB);
	assert_ptr_equal(npu_ahead_next(), at(0x30000));
}

static void streams_side_by_side(void **state)
{
	bool seen[4 * KIB / LINE] = { false };

	(void)state;
	job(0x10000, 1, KIB);
	job(0x40000, 4, KIB);
	job(0x10000, 1, KIB);
	for (uint32_t i = 0; i < 4 * KIB; i += LINE) {
		size_t off = (size_t)((const uint8_t *)npu_ahead_next() - at(0x40000));

		assert_true(off < 4 * KIB && off % LINE == 0);
		assert_false(seen[off / LINE]);
		seen[off / LINE] = true;
		/* None gets further than another by more than one turn. */
		assert_true(off % KIB < i / 4 + 256);
	}
}

/* A job, and vectors that are read after it. */
static void job_and_vectors(uintptr_t p, const uintptr_t *v, uint32_t n, size_t bytes)
{
	job(p, 1, KIB);
	for (uint32_t i = 0; i < n; i++)
		npu_ahead_vector(at(v[i]), bytes);
}

static void vectors_first(void **state)
{
	static const uintptr_t v[] = { 0x70000, 0x80000 };

	(void)state;
	npu_ahead_vector(at(0x90000), LINE);	/* there is no job yet */
	job_and_vectors(0x10000, v, 2, 100);
	assert_false(npu_ahead_vectors_left());
	job(0x20000, 1, KIB);
	job(0x10000, 1, KIB);
	for (uint32_t i = 0; i < 4; i++) {
		assert_true(npu_ahead_vectors_left());
		assert_ptr_equal(npu_ahead_next(), at(v[i / 2] + i % 2 * LINE));
	}
	assert_false(npu_ahead_vectors_left());
	assert_ptr_equal(npu_ahead_next(), at(0x20000));

	/* It learns that others are read, and fewer. */
	job_and_vectors(0x10000, v + 1, 1, LINE);
	job(0x20000, 1, KIB);
	job(0x10000, 1, KIB);
	assert_ptr_equal(npu_ahead_next(), at(v[1]));
	assert_ptr_equal(npu_ahead_next(), at(0x20000));
}

static void vectors_are_bounded(void **state)
{
	static const uintptr_t v[NPU_AHEAD_VECTORS + 1] = { 0x1000000, 0x2000000, 0x3000000, 0x4000000, 0x5000000 };
	uint32_t lines = 0;

	(void)state;
	job_and_vectors(0x10000, v, NPU_AHEAD_VECTORS + 1, 1u << 20);
	job(0x20000, 1, KIB);
	job(0x10000, 1, KIB);
	for (; npu_ahead_vectors_left(); lines++)
		assert_true(npu_ahead_next() < (const void *)at(v[NPU_AHEAD_VECTORS]));
	assert_int_equal(lines, NPU_AHEAD_VECTORS * NPU_AHEAD_VECTOR_BYTES / LINE);
}

static void bounded(void **state)
{
	uint32_t lines = 0;

	(void)state;
	job(0x1000000, 2, 1u << 20);
	job(0x2000000, 2, 1u << 20);
	job(0x1000000, 2, 1u << 20);
	while (npu_ahead_next())
		lines++;
	assert_int_equal(lines, NPU_AHEAD_BYTES / LINE);
	assert_false(npu_ahead_fetch());
}

static void more_jobs_than_entries(void **state)
{
	uint32_t known = 0, jobs = 4096;

	(void)state;
	for (uint32_t round = 0; round < 2; round++)
		for (uint32_t i = 0; i < jobs; i++)
			job(0x100000 + i * 0x1000, 1, KIB);
	job(0x100000, 1, KIB);
	job(0x101000, 1, KIB);
	/* The last ones are remembered, and nothing that did not follow. */
	for (uint32_t i = jobs - 64; i + 1 < jobs; i++) {
		const uint8_t *p;

		job(0x100000 + i * 0x1000, 1, KIB);
		p = npu_ahead_next();
		known += p == at(0x101000 + i * 0x1000);
	}
	assert_true(known > 32);
}

/* A token's jobs all find their place, wherever the matrices lie. */
static void a_model_is_remembered(void **state)
{
	static const uintptr_t apart[] = { 0x1000, 0x92000, 0x1320000, 0xbb0000, 0x2d4000 };
	uintptr_t base = 0x10000000, p;

	(void)state;
	for (uint32_t round = 0; round < 2; round++) {
		p = base;
		for (uint32_t i = 0; i < 300; i++, p += apart[i % 5]) {
			job(p, 1, KIB);
			if (round && i + 1 < 300)
				assert_ptr_equal(npu_ahead_next(), at(p + apart[(i + 1) % 5]));
		}
	}
}

static void *other_thread(void *arg)
{
	npu_ahead_enter();
	job(0x10000, 1, KIB);
	*(bool *)arg = !npu_ahead_next();
	npu_ahead_leave();
	return NULL;
}

static void threads_know_their_own(void **state)
{
	pthread_t t;
	bool nothing = false;

	(void)state;
	job(0x10000, 1, KIB);
	job(0x20000, 1, KIB);
	job(0x10000, 1, KIB);
	assert_int_equal(pthread_create(&t, NULL, other_thread, &nothing), 0);
	pthread_join(t, NULL);
	assert_true(nothing);
	assert_ptr_equal(npu_ahead_next(), at(0x20000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_entering),
		cmocka_unit_test_setup_teardown(what_followed, enter, leave),
		cmocka_unit_test_setup_teardown(streams_side_by_side, enter, leave),
		cmocka_unit_test_setup_teardown(vectors_first, enter, leave),
		cmocka_unit_test_setup_teardown(vectors_are_bounded, enter, leave),
		cmocka_unit_test_setup_teardown(bounded, enter, leave),
		cmocka_unit_test_setup_teardown(a_model_is_remembered, enter, leave),
		cmocka_unit_test_setup_teardown(more_jobs_than_entries, enter, leave),
		cmocka_unit_test_setup_teardown(threads_know_their_own, enter, leave),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
