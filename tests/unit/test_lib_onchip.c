// SPDX-License-Identifier: MIT
/*
 * Traffic of intermediate results: quantised storage, fused and in-place operations and hints give the bits of
 * the plain ones. (The devices of these tests spoil what was dropped.)
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib_common.h"

#define C	256u
#define FF	1024u
#define HEADS	4u
#define D	64u
#define ROWS	512u	/* more than one command of the small device does */

struct block {
	struct lib_state *s;
	struct npu_graph *g;
	enum npu_type type;
	bool plain;		/* every result is an output, too: nothing to save */
	unsigned int outputs;
	uint32_t seed;
	struct npu_buffer *buffers[8];
	unsigned int n;
};

static uint8_t random_byte(struct block *b)
{
	return (uint8_t)((lib_random(&b->seed) + 1) * 127);
}

static struct npu_buffer *buffer(struct block *b, const void *data, uint64_t bytes)
{
	struct npu_buffer *buf;

	assert_ok(b->s->dev, npu_buffer_create(b->s->vm, bytes, 0, &buf));
	assert_ok(b->s->dev, npu_buffer_upload(buf, 0, data, bytes));
	b->buffers[b->n++] = buf;
	return buf;
}

static struct npu_gtensor *weight(struct block *b, uint32_t k, uint32_t n)
{
	struct npu_bound bound = { .name = "w", .type = b->type, .shape = npu_shape4(k, n, 1, 1) };
	uint64_t row = npu_type_row_bytes(b->type, k), size = npu_type_bytes(b->type);
	uint8_t *data = malloc(row * n);
	uint16_t d = npu_f32_to_f16(0.002f);

	assert_non_null(data);
	for (uint64_t i = 0; i < row * n; i++)
		data[i] = random_byte(b);
	/* Scales: of Q4_K two, at the start as of the others. */
	for (uint64_t i = 0; i < row * n; i += size) {
		memcpy(data + i, &d, 2);
		if (b->type == NPU_TYPE_Q4_K)
			memcpy(data + i + 2, &d, 2);
	}
	bound.buffer = buffer(b, data, row * n);
	free(data);
	return npu_graph_weight(b->g, &bound);
}

static struct npu_gtensor *steps(struct block *b)
{
	struct npu_bound bound = { .name = "steps", .type = NPU_TYPE_I64, .shape = npu_shape4(D / 2, 1, 1, 1) };
	uint64_t step[D / 2];

	npu_rope_steps(step, D, 10000, 1, NULL);
	bound.buffer = buffer(b, step, sizeof(step));
	return npu_graph_weight(b->g, &bound);
}

/* In the plain graph @t has more readers than the next operation. */
static struct npu_gtensor *seen(struct block *b, struct npu_gtensor *t)
{
	char name[8];

	if (!b->plain)
		return t;
	snprintf(name, sizeof(name), "o%u", b->outputs++);
	return npu_graph_output(b->g, name, t);
}

static struct npu_gtensor *turn(struct block *b, struct npu_gtensor *x)
{
	struct npu_rope r = { .x = x, .step = steps(b), .ndims = D, .mscale = 1, .type = NPU_TYPE_F32 };

	return b->plain ? npu_graph_rope(b->g, &r) : npu_graph_rope_to(b->g, x, &r);
}

static struct npu_gtensor *record(struct block *b)
{
	struct npu_attention a = { .causal = true, .scale = 0.125f };
	struct npu_shape split = npu_shape4(D, HEADS, ROWS, 1);
	struct npu_gtensor *x, *h, *gate, *up;

	x = npu_graph_convert(b->g, npu_graph_input(b->g, "x", NPU_TYPE_F32, npu_shape4(C, ROWS, 1, 1)), NPU_TYPE_F32);
	h = seen(b, npu_graph_rms_norm(b->g, x, NULL, 1e-5f, NPU_TYPE_F32));
	a.q = npu_graph_matmul(b->g, h, weight(b, C, C), NULL, NPU_TYPE_F32);
	a.q = turn(b, npu_graph_reshape(b->g, a.q, split));
	a.k = a.v = npu_graph_permute(b->g, a.q, 0, 2, 1, 3);
	h = npu_graph_reshape(b->g, npu_graph_attention(b->g, &a), npu_shape4(C, ROWS, 1, 1));
	x = npu_graph_matmul_add(b->g, x, seen(b, h), weight(b, C, C), NULL);
	h = seen(b, npu_graph_rms_norm(b->g, x, NULL, 1e-5f, NPU_TYPE_F32));
	gate = weight(b, C, FF);
	up = weight(b, C, FF);
	if (b->plain) {
		gate = npu_graph_matmul(b->g, h, gate, NULL, NPU_TYPE_F32);
		up = npu_graph_matmul(b->g, h, up, NULL, NPU_TYPE_F32);
		h = seen(b, npu_graph_glu(b->g, NPU_GLU_GEGLU, gate, up, NPU_TYPE_F32));
	} else {
		h = npu_graph_matmul_glu(b->g, NPU_GLU_GEGLU, h, gate, up, NPU_TYPE_F32);
	}
	return npu_graph_matmul_add(b->g, x, h, weight(b, FF, C), NULL);
}

static void count_quantised(void *data, const char *text)
{
	*(unsigned int *)data += strstr(text, "a8") != NULL;
}

/* The result of one block; how many operations have a quantised operand. */
static void run_block(struct lib_state *s, enum npu_type type, bool plain, float *y, unsigned int *quantised)
{
	struct block b = { .s = s, .type = type, .plain = plain, .seed = 3 };
	uint32_t seed = 1;
	struct npu_program *p;
	struct npu_io x, out;

	assert_ok(s->dev, npu_graph_create(s->dev, &b.g));
	npu_graph_output(b.g, "y", npu_graph_convert(b.g, record(&b), NPU_TYPE_F32));
	if (npu_graph_compile(b.g, s->vm, NULL, &p))
		fail_msg("%s", npu_graph_error(b.g));
	npu_graph_destroy(b.g);
	assert_ok(s->dev, npu_program_io(p, "x", &x));
	assert_ok(s->dev, npu_program_io(p, "y", &out));
	for (unsigned int i = 0; i < C * ROWS; i++)
		((float *)x.data)[i] = lib_random(&seed) * 4;
	assert_ok(s->dev, npu_program_run(p, s->queue, NULL, 0, LIB_HANG_NS));
	memcpy(y, out.data, C * ROWS * sizeof(float));
	*quantised = 0;
	npu_program_report(p, count_quantised, quantised);
	npu_program_unref(p);
	while (b.n)
		npu_buffer_unref(b.buffers[--b.n]);
}

static void test_same_bits(void **state)
{
	static const struct {
		enum npu_type type;
		unsigned int quantised;	/* makers and readers: norms and gated units; attention's rows are too short for 256 */
	} cases[] = { { NPU_TYPE_Q8_0, 7 }, { NPU_TYPE_Q4_0, 7 }, { NPU_TYPE_Q4_K, 5 } };
	struct lib_state *s = *state;
	float *y = malloc(2 * C * ROWS * sizeof(*y));
	unsigned int n;

	assert_non_null(y);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		run_block(s, cases[i].type, true, y, &n);
		assert_int_equal(n, 0);
		run_block(s, cases[i].type, false, y + C * ROWS, &n);
		assert_int_equal(n, cases[i].quantised);
		assert_memory_equal(y, y + C * ROWS, C * ROWS * sizeof(*y));
	}
	free(y);
}

/* What cannot be: said when it is recorded. */
static void test_refused(void **state)
{
	struct lib_state *s = *state;
	struct block b = { .s = s, .type = NPU_TYPE_Q8_0, .seed = 3 };
	struct npu_gtensor *x, *w;

	assert_ok(s->dev, npu_graph_create(s->dev, &b.g));
	x = npu_graph_input(b.g, "x", NPU_TYPE_F32, npu_shape4(C, 4, 1, 1));
	w = weight(&b, C, FF);
	assert_null(npu_graph_matmul_glu(b.g, NPU_GLU_COUNT, x, w, w, NPU_TYPE_F32));
	lib_assert_text(s->dev, "kind");
	npu_graph_destroy(b.g);

	assert_ok(s->dev, npu_graph_create(s->dev, &b.g));
	x = npu_graph_convert(b.g, npu_graph_input(b.g, "x", NPU_TYPE_F32, npu_shape4(C, 4, 1, 1)), NPU_TYPE_A8_K);
	assert_null(npu_graph_matmul(b.g, x, weight(&b, C, FF), NULL, NPU_TYPE_F32));
	lib_assert_text(s->dev, "a8_k does not go with q8_0");
	npu_graph_destroy(b.g);

	assert_ok(s->dev, npu_graph_create(s->dev, &b.g));
	x = npu_graph_input(b.g, "x", NPU_TYPE_F32, npu_shape4(C, 4, 1, 1));
	assert_null(npu_graph_matmul_glu(b.g, NPU_GLU_SWIGLU, x, weight(&b, C, FF), weight(&b, C, 2 * FF), NPU_TYPE_F32));
	lib_assert_text(s->dev, "up: dimension 1");
	npu_graph_destroy(b.g);
	while (b.n)
		npu_buffer_unref(b.buffers[--b.n]);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, lib_setup, lib_teardown)
	const struct CMUnitTest tests[] = { T(test_same_bits), T(test_refused) };

	return cmocka_run_group_tests_name("lib_onchip", tests, NULL, NULL);
}
