// SPDX-License-Identifier: MIT
/* GGUF loader: what is right is read right, what is wrong is refused with its cause. */
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>
#include <cmocka.h>

#include "gguf_build.h"

static char err[512];

static int open_built(struct gguf_build *b, struct npu_gguf **g, uint8_t **mem)
{
	size_t size;

	*mem = gb_finish(b, &size);
	err[0] = 0;
	return npu_gguf_open_memory(*mem, size, g, err, sizeof(err));
}

/* Opens what @b holds, expects @code and @text in the message. */
static void expect_refused(struct gguf_build *b, int code, const char *text)
{
	struct npu_gguf *g = NULL;
	uint8_t *mem;

	assert_int_equal(open_built(b, &g, &mem), code);
	assert_null(g);
	if (!strstr(err, text))
		fail_msg("message '%s' does not say '%s'", err, text);
	free(mem);
}

static void build_small(struct gguf_build *b)
{
	static const float vec[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
	static const char *const words[] = { "one", "", "three" };
	static const int32_t numbers[] = { -1, 2, INT32_MAX };
	static uint8_t q8[34 * 2];

	gb_init(b);
	gb_kv_str(b, "general.architecture", "llama");
	gb_kv_u32(b, "a.u32", 4000000000u);
	gb_kv_f32(b, "a.f32", 0.5f);
	gb_kv_bool(b, "a.bool", 1);
	gb_kv_strs(b, "a.words", words, 3);
	gb_kv_array(b, "a.numbers", NPU_GGUF_I32, numbers, 3, 4);
	gb_tensor(b, "vec", 0, 8, 0, vec, sizeof(vec));
	gb_tensor(b, "mat", 8, 32, 2, q8, sizeof(q8));
}

static void reads_metadata(void **state)
{
	struct npu_gguf_str s;
	struct gguf_build b;
	struct npu_gguf *g;
	uint8_t *mem;
	uint32_t u;
	uint64_t u64;
	float f;
	bool flag = false;

	(void)state;
	build_small(&b);
	assert_int_equal(open_built(&b, &g, &mem), 0);
	assert_int_equal(npu_gguf_version(g), 3);
	assert_int_equal(npu_gguf_kv_count(g), 6);
	assert_string_equal(npu_gguf_kv(g, 1)->key, "a.u32");
	assert_null(npu_gguf_kv(g, 6));
	assert_int_equal(npu_gguf_get_u32(g, "a.u32", &u), 0);
	assert_int_equal(u, 4000000000u);
	assert_int_equal(npu_gguf_get_u64(g, "a.u32", &u64), 0);
	assert_int_equal(npu_gguf_get_f32(g, "a.f32", &f), 0);
	assert_true(f == 0.5f);
	assert_int_equal(npu_gguf_get_bool(g, "a.bool", &flag), 0);
	assert_true(flag);
	assert_int_equal(npu_gguf_get_str(g, "general.architecture", &s), 0);
	assert_int_equal(s.len, 5);
	assert_memory_equal(s.ptr, "llama", 5);
	assert_int_equal(npu_gguf_get_u32(g, "none", &u), -ENOENT);
	assert_int_equal(npu_gguf_get_u32(g, "a.f32", &u), -EINVAL);
	assert_int_equal(npu_gguf_get_f32(g, "a.u32", &f), -EINVAL);
	assert_int_equal(npu_gguf_get_str(g, "a.words", &s), -EINVAL);
	npu_gguf_close(g);
	free(mem);
}

static void reads_arrays(void **state)
{
	const struct npu_gguf_kv *kv;
	const uint8_t *pos = NULL;
	struct npu_gguf_str s;
	struct gguf_build b;
	struct npu_gguf *g;
	uint8_t *mem;
	int64_t v;
	double d;

	(void)state;
	build_small(&b);
	assert_int_equal(open_built(&b, &g, &mem), 0);
	kv = npu_gguf_find(g, "a.words");
	assert_true(kv->is_array && kv->count == 3);
	assert_true(npu_gguf_kv_next_str(kv, &pos, &s) && s.len == 3);
	assert_true(npu_gguf_kv_next_str(kv, &pos, &s) && s.len == 0);
	assert_true(npu_gguf_kv_next_str(kv, &pos, &s) && s.len == 5 && !memcmp(s.ptr, "three", 5));
	assert_false(npu_gguf_kv_next_str(kv, &pos, &s));
	kv = npu_gguf_find(g, "a.numbers");
	assert_int_equal(npu_gguf_kv_int(kv, 0, &v), 0);
	assert_int_equal(v, -1);
	assert_int_equal(npu_gguf_kv_int(kv, 2, &v), 0);
	assert_int_equal(v, INT32_MAX);
	assert_int_equal(npu_gguf_kv_int(kv, 3, &v), -ERANGE);
	assert_int_equal(npu_gguf_kv_float(kv, 0, &d), -EINVAL);
	npu_gguf_close(g);
	free(mem);
}

static void reads_tensors(void **state)
{
	const struct npu_gguf_tensor *t;
	struct gguf_build b;
	struct npu_gguf *g;
	uint8_t *mem;

	(void)state;
	build_small(&b);
	b.version = 2;
	assert_int_equal(open_built(&b, &g, &mem), 0);
	assert_int_equal(npu_gguf_version(g), 2);
	assert_int_equal(npu_gguf_tensor_count(g), 2);
	t = npu_gguf_find_tensor(g, "vec");
	assert_non_null(t);
	assert_int_equal(t->size, 32);
	assert_true(((const float *)t->data)[7] == 8);
	t = npu_gguf_find_tensor(g, "mat");
	assert_int_equal(t->ne[0], 32);
	assert_int_equal(t->ne[1], 2);
	assert_int_equal(t->ne[3], 1);
	assert_int_equal(t->size, 68);
	assert_string_equal(npu_gguf_type_info(t->type)->name, "Q8_0");
	assert_null(npu_gguf_find_tensor(g, "none"));
	npu_gguf_close(g);
	free(mem);
}

static void refuses_bad_headers(void **state)
{
	struct gguf_build b;

	(void)state;
	build_small(&b);
	memcpy(b.head, "GGML", 4);
	expect_refused(&b, -EBADMSG, "not a GGUF file");
	build_small(&b);
	b.version = 1;
	expect_refused(&b, -EPROTONOSUPPORT, "version 1");
	build_small(&b);
	b.version = 0x03000000;
	expect_refused(&b, -EPROTONOSUPPORT, "big-endian");
	build_small(&b);
	b.kvs = UINT64_MAX;
	expect_refused(&b, -EBADMSG, "metadata entries cannot fit");
	build_small(&b);
	b.tensors = UINT64_MAX / 2;
	expect_refused(&b, -EBADMSG, "tensors cannot fit");
}

static void refuses_bad_metadata(void **state)
{
	struct gguf_build b;

	(void)state;
	gb_init(&b);
	gb_kv_u32(&b, "same", 1);
	gb_kv_u32(&b, "same", 2);
	expect_refused(&b, -EBADMSG, "'same' occurs twice");
	gb_init(&b);
	gb_kv_bool(&b, "flag", 2);
	expect_refused(&b, -EBADMSG, "'flag' is a bool but holds 2");
	gb_init(&b);
	gb_key(&b, "odd", 77);
	gb_u64(&b, 0);
	expect_refused(&b, -EBADMSG, "unknown type 77");
	gb_init(&b);
	gb_key(&b, "nested", NPU_GGUF_ARRAY);
	gb_u32(&b, NPU_GGUF_ARRAY);
	gb_u64(&b, 1);
	expect_refused(&b, -EBADMSG, "array of arrays");
	gb_init(&b);
	gb_key(&b, "long", NPU_GGUF_ARRAY);
	gb_u32(&b, NPU_GGUF_F64);
	gb_u64(&b, UINT64_MAX / 4);
	expect_refused(&b, -EBADMSG, "'long' with");
	gb_init(&b);
	gb_key(&b, "text", NPU_GGUF_STRING);
	gb_u64(&b, UINT64_MAX);
	expect_refused(&b, -EBADMSG, "impossible length");
	gb_init(&b);
	gb_text(&b, "a\0b", 3);
	gb_u32(&b, NPU_GGUF_U32);
	gb_u32(&b, 0);
	b.kvs = 1;
	expect_refused(&b, -EBADMSG, "zero byte");
	gb_init(&b);
	gb_kv_u32(&b, "general.alignment", 48);
	expect_refused(&b, -EBADMSG, "general.alignment is 48");
	gb_init(&b);
	gb_kv_str(&b, "general.alignment", "32");
	expect_refused(&b, -EBADMSG, "not an integer");
}

/* A tensor entry with every number under control. */
static void raw_tensor(struct gguf_build *b, const char *name, uint32_t ndims, const uint64_t *ne,
		       uint32_t type, uint64_t offset)
{
	uint32_t i;

	gb_text(b, name, strlen(name));
	gb_u32(b, ndims);
	for (i = 0; i < ndims; i++)
		gb_u64(b, ne[i]);
	gb_u32(b, type);
	gb_u64(b, offset);
	b->tensors++;
}

static void refuses_bad_tensors(void **state)
{
	const uint64_t one[5] = { 8, 1, 1, 1, 1 }, zero[1] = { 0 }, odd[1] = { 33 };
	const uint64_t huge[4] = { 1ull << 40, 1ull << 40, 1, 1 };
	static const struct {
		const char *text;
		uint32_t ndims, type;
		uint64_t offset;
	} cases[] = {
		{ "has 5 dimensions", 5, 0, 0 },
		{ "has 0 dimensions", 0, 0, 0 },
		{ "unknown type 4", 1, 4, 0 },
		{ "not aligned", 1, 0, 4 },
		{ "beyond the file", 1, 0, 1 << 20 },
		{ "beyond the file", 1, 0, UINT64_MAX - 31 },
	};
	struct gguf_build b;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		gb_init(&b);
		raw_tensor(&b, "t", cases[i].ndims, one, cases[i].type, cases[i].offset);
		gb_put(&b.data, &b.data_len, one, 32);
		expect_refused(&b, -EBADMSG, cases[i].text);
	}
	gb_init(&b);
	raw_tensor(&b, "t", 1, zero, 0, 0);
	expect_refused(&b, -EBADMSG, "dimension of zero");
	gb_init(&b);
	raw_tensor(&b, "t", 1, odd, 8, 0);
	expect_refused(&b, -EBADMSG, "rows of 33 elements");
	gb_init(&b);
	raw_tensor(&b, "t", 4, huge, 0, 0);
	expect_refused(&b, -EBADMSG, "overflows");
	gb_init(&b);
	raw_tensor(&b, "t", 1, one, 0, 0);
	raw_tensor(&b, "t", 1, one, 0, 32);
	gb_put(&b.data, &b.data_len,
	       "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", 64);
	expect_refused(&b, -EBADMSG, "'t' occurs twice");
	gb_init(&b);
	raw_tensor(&b, "t", 1, one, 0, 0);
	raw_tensor(&b, "u", 1, one, 0, 0);
	gb_put(&b.data, &b.data_len, "0123456789abcdef0123456789abcdef", 32);
	expect_refused(&b, -EBADMSG, "'t' and 'u' overlap");
}

/* Every shorter file is refused, every changed byte is refused or read without harm. */
static void survives_damage(void **state)
{
	struct gguf_build b;
	struct npu_gguf *g;
	uint8_t *mem;
	void *part = NULL;
	size_t size, i;
	unsigned int bit;

	(void)state;
	build_small(&b);
	mem = gb_finish(&b, &size);
	for (i = 0; i < size; i++) {
		/* A block of exactly this size, so that a sanitizer sees an access behind it. */
		assert_int_equal(posix_memalign(&part, 32, i ? i : 1), 0);
		memcpy(part, mem, i);
		if (!npu_gguf_open_memory(part, i, &g, err, sizeof(err))) {
			/* Only the padding behind the last tensor may be missing. */
			assert_true(size - i < GB_ALIGN);
			npu_gguf_close(g);
		} else {
			assert_true(err[0]);
		}
		free(part);
	}
	for (i = 0; i < size; i++) {
		for (bit = 0; bit < 8; bit++) {
			mem[i] ^= (uint8_t)(1u << bit);
			if (!npu_gguf_open_memory(mem, size, &g, err, sizeof(err)))
				npu_gguf_close(g);
			mem[i] ^= (uint8_t)(1u << bit);
		}
	}
	free(mem);
}

static void opens_files(void **state)
{
	char dir[] = "/tmp/npu-gguf-XXXXXX", path[PATH_MAX];
	struct gguf_build b;
	struct npu_gguf *g;
	uint8_t *mem;
	size_t size;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/none.gguf", dir);
	assert_int_equal(npu_gguf_open(path, &g, err, sizeof(err)), -ENOENT);
	assert_non_null(strstr(err, "none.gguf"));
	assert_int_equal(npu_gguf_open(dir, &g, err, sizeof(err)), -EBADMSG);
	build_small(&b);
	mem = gb_finish(&b, &size);
	snprintf(path, sizeof(path), "%s/small.gguf", dir);
	assert_int_equal(gb_write(path, mem, size), 0);
	assert_int_equal(npu_gguf_open(path, &g, err, sizeof(err)), 0);
	assert_int_equal(npu_gguf_file_size(g), size);
	npu_gguf_close(g);
	assert_int_equal(gb_write(path, mem, 10), 0);
	assert_int_equal(npu_gguf_open(path, &g, err, sizeof(err)), -EBADMSG);
	assert_non_null(strstr(err, "too short"));
	free(mem);
	unlink(path);
	rmdir(dir);
}

/* Part @no of @count with one tensor. */
static void write_part(const char *dir, uint32_t no, uint32_t count, uint32_t says, uint32_t total,
		       const char *tensor)
{
	const float data[8] = { (float)no };
	char path[PATH_MAX];
	struct gguf_build b;
	uint8_t *mem;
	size_t size;

	gb_init(&b);
	if (no == 0)
		gb_kv_str(&b, "general.architecture", "llama");
	gb_kv_u32(&b, "split.no", says);
	gb_kv_u32(&b, "split.count", count);
	gb_kv_u32(&b, "split.tensors.count", total);
	gb_tensor(&b, tensor, 0, 8, 0, data, sizeof(data));
	mem = gb_finish(&b, &size);
	snprintf(path, sizeof(path), "%s/m-%05u-of-%05u.gguf", dir, no + 1, count);
	assert_int_equal(gb_write(path, mem, size), 0);
	free(mem);
}

static void opens_split_sets(void **state)
{
	char dir[] = "/tmp/npu-gguf-XXXXXX", path[PATH_MAX];
	struct npu_gguf *g;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/m-00001-of-00002.gguf", dir);
	write_part(dir, 0, 2, 0, 2, "a");
	/* the second is missing */
	assert_int_equal(npu_gguf_open(path, &g, err, sizeof(err)), -ENOENT);
	assert_non_null(strstr(err, "m-00002-of-00002.gguf"));
	write_part(dir, 1, 2, 1, 2, "b");
	assert_int_equal(npu_gguf_open(path, &g, err, sizeof(err)), 0);
	assert_int_equal(npu_gguf_parts(g), 2);
	assert_string_equal(npu_gguf_value_type_name(NPU_GGUF_STRING), "string");
	assert_null(npu_gguf_value_type_name((enum npu_gguf_type)99));
	assert_int_equal(npu_gguf_tensor_count(g), 2);
	assert_int_equal(npu_gguf_find_tensor(g, "b")->part, 1);
	assert_true(((const float *)npu_gguf_find_tensor(g, "b")->data)[0] == 1);
	npu_gguf_close(g);
	write_part(dir, 1, 2, 1, 2, "a");
	assert_int_equal(npu_gguf_open(path, &g, err, sizeof(err)), -EBADMSG);
	assert_non_null(strstr(err, "occurs twice"));
	write_part(dir, 1, 2, 0, 2, "b");
	assert_int_equal(npu_gguf_open(path, &g, err, sizeof(err)), -EBADMSG);
	assert_non_null(strstr(err, "expected part 2"));
	write_part(dir, 0, 2, 0, 3, "a");
	write_part(dir, 1, 2, 1, 3, "b");
	assert_int_equal(npu_gguf_open(path, &g, err, sizeof(err)), -EBADMSG);
	assert_non_null(strstr(err, "split.tensors.count"));
	snprintf(path, sizeof(path), "%s/m-00002-of-00002.gguf", dir);
	assert_int_equal(npu_gguf_open(path, &g, err, sizeof(err)), -EBADMSG);
	assert_non_null(strstr(err, "name its first part"));
	unlink(path);
	snprintf(path, sizeof(path), "%s/m-00001-of-00002.gguf", dir);
	unlink(path);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_metadata),
		cmocka_unit_test(reads_arrays),
		cmocka_unit_test(reads_tensors),
		cmocka_unit_test(refuses_bad_headers),
		cmocka_unit_test(refuses_bad_metadata),
		cmocka_unit_test(refuses_bad_tensors),
		cmocka_unit_test(survives_damage),
		cmocka_unit_test(opens_files),
		cmocka_unit_test(opens_split_sets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
