// SPDX-License-Identifier: MIT
/*
 * Engines overlap: the device cycles of a layer of TinyLlama's shape, beside the work of its busiest engine alone;
 * and its intermediate results take hardly more memory than those alive at once.
 * In modelled device time, so deterministic.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib_common.h"

#define C	2048u
#define FF	5632u
#define HEADS	32u
#define GROUPS	4u
#define D	64u
#define QKV	((HEADS + 2 * GROUPS) * D)
#define CTX	1024u

struct layer {
	struct npu_graph *g;
	struct npu_vm *vm;
	int pos, rows, kv;
	uint32_t m;
	struct npu_gtensor *steps;
	struct npu_buffer *buffers[32];
	unsigned int n;
};

static struct npu_buffer *buffer(struct layer *l, uint64_t bytes)
{
	struct npu_buffer *b;

	assert_int_equal(npu_buffer_create(l->vm, bytes, 0, &b), 0);
	l->buffers[l->n++] = b;
	return b;
}

static struct npu_gtensor *weight(struct layer *l, const char *name, uint32_t k, uint32_t n)
{
	struct npu_bound b = { .name = name, .type = NPU_TYPE_Q8_0, .layout = NPU_LAYOUT_TILE16,
			       .shape = npu_shape4(k, n, 1, 1) };

	b.buffer = buffer(l, npu_type_row_bytes(b.type, k) * n);
	return npu_graph_weight(l->g, &b);
}

static struct npu_gtensor *vector(struct layer *l, const char *name, enum npu_type type, uint32_t n)
{
	struct npu_bound b = { .name = name, .type = type, .shape = npu_shape4(n, 1, 1, 1) };

	b.buffer = buffer(l, npu_type_row_bytes(type, n));
	return npu_graph_weight(l->g, &b);
}

static struct npu_gtensor *heads(struct layer *l, struct npu_gtensor *x, uint32_t first, uint32_t n, uint32_t cols)
{
	struct npu_shape s = { { D, n, l->m, 1 }, { 0, 0, l->rows, 0 } };
	uint64_t nb[NPU_DIMS] = { 4, D * 4, cols * 4ull, cols * 4ull * l->m };

	return npu_graph_view(l->g, x, s, nb, npu_const(first * 4ull));
}

static struct npu_gtensor *rope(struct layer *l, struct npu_gtensor *dst, struct npu_gtensor *x)
{
	struct npu_rope r = { .x = x, .step = l->steps, .pos = npu_scaled(l->pos, 1), .ndims = D, .mscale = 1 };

	return npu_graph_rope_to(l->g, dst, &r);
}

static struct npu_gtensor *cache(struct layer *l, struct npu_gtensor *x, bool turned)
{
	struct npu_bound b = { .name = "cache", .type = NPU_TYPE_F16, .shape = npu_shape4(D, CTX, GROUPS, 1) };
	struct npu_shape here = { { D, l->m, GROUPS, 1 }, { 0, l->rows, 0, 0 } };
	struct npu_shape all = { { D, CTX, GROUPS, 1 }, { 0, l->kv, 0, 0 } };
	uint64_t nb[NPU_DIMS] = { 2, 2 * D, 2 * D * CTX, 2ull * D * CTX * GROUPS };
	struct npu_gtensor *c, *to;

	b.buffer = buffer(l, 2ull * D * CTX * GROUPS);
	c = npu_graph_state(l->g, &b);
	to = npu_graph_view(l->g, c, here, nb, npu_scaled(l->pos, 2 * D));
	if (turned)
		rope(l, npu_graph_permute(l->g, to, 0, 2, 1, 3), x);
	else
		npu_graph_copy(l->g, to, npu_graph_permute(l->g, x, 0, 2, 1, 3));
	return npu_graph_view(l->g, c, all, nb, npu_const(0));
}

static struct npu_gtensor *attention(struct layer *l, struct npu_gtensor *x)
{
	struct npu_attention a = { .causal = true, .scale = 0.125f, .pos = npu_scaled(l->pos, 1) };
	struct npu_gtensor *h, *qkv;

	h = npu_graph_rms_norm(l->g, x, vector(l, "attn_norm", NPU_TYPE_F32, C), 1e-5f, NPU_TYPE_F32);
	qkv = npu_graph_matmul(l->g, h, weight(l, "qkv", C, QKV), NULL, NPU_TYPE_F32);
	a.q = heads(l, qkv, 0, HEADS, QKV);
	a.q = rope(l, a.q, a.q);
	a.k = cache(l, heads(l, qkv, HEADS * D, GROUPS, QKV), true);
	a.v = cache(l, heads(l, qkv, (HEADS + GROUPS) * D, GROUPS, QKV), false);
	h = npu_graph_reshape(l->g, npu_graph_attention(l->g, &a), npu_shape_rows(C, l->rows, l->m));
	return npu_graph_matmul_add(l->g, x, h, weight(l, "attn_output", C, C), NULL);
}

static struct npu_gtensor *feed_forward(struct layer *l, struct npu_gtensor *x)
{
	struct npu_gtensor *h, *w;

	h = npu_graph_rms_norm(l->g, x, vector(l, "ffn_norm", NPU_TYPE_F32, C), 1e-5f, NPU_TYPE_F32);
	w = weight(l, "gate_up", C, 2 * FF);
	h = npu_graph_matmul_glu(l->g, NPU_GLU_SWIGLU, h, npu_graph_slice(l->g, w, 1, 0, FF),
				 npu_graph_slice(l->g, w, 1, FF, FF), NPU_TYPE_F32);
	return npu_graph_matmul_add(l->g, x, h, weight(l, "down", FF, C), NULL);
}

static struct npu_program *build(struct lib_state *s, struct layer *l, unsigned int layers)
{
	struct npu_program *p;
	struct npu_gtensor *x;

	assert_ok(s->dev, npu_graph_create(s->dev, &l->g));
	l->pos = npu_graph_arg(l->g, "pos", CTX - l->m);
	l->rows = npu_graph_arg(l->g, "rows", l->m);
	l->kv = npu_graph_let(l->g, "kv", npu_sum(l->pos, 1, l->rows, 1), CTX);
	l->steps = vector(l, "steps", NPU_TYPE_I64, D / 2);
	x = npu_graph_input(l->g, "x", NPU_TYPE_F32, npu_shape_rows(C, l->rows, l->m));
	x = npu_graph_convert(l->g, x, NPU_TYPE_F32);
	for (unsigned int i = 0; i < layers; i++)
		x = feed_forward(l, attention(l, x));
	npu_graph_output(l->g, "y", npu_graph_convert(l->g, x, NPU_TYPE_F32));
	if (npu_graph_compile(l->g, s->vm, NULL, &p))
		fail_msg("%s", npu_graph_error(l->g));
	npu_graph_destroy(l->g);
	return p;
}

static void run_layers(struct lib_state *s, uint32_t m, unsigned int layers, struct npu_counters *c)
{
	struct layer l = { .vm = s->vm, .m = m };
	struct npu_program *p = build(s, &l, layers);
	uint64_t args[2] = { CTX - m, m };
	struct npu_program_info info;
	struct npu_counters c0;

	assert_ok(s->dev, npu_program_info(p, &info, sizeof(info)));
	print_message("# M=%u, layers %u: arena %llu bytes, lower bound %llu\n", m, layers,
		      (unsigned long long)info.arena_bytes, (unsigned long long)info.arena_lower_bound);
	assert_true(info.arena_bytes * 10 <= info.arena_lower_bound * 11);
	assert_ok(s->dev, npu_device_counters(s->dev, &c0, sizeof(c0)));
	assert_ok(s->dev, npu_program_run(p, s->queue, args, 2, LIB_HANG_NS));
	assert_ok(s->dev, npu_device_counters(s->dev, c, sizeof(*c)));
	c->cycles -= c0.cycles;
	for (unsigned int e = 0; e < 3; e++)
		c->engine[e] -= c0.engine[e];
	c->bytes_read -= c0.bytes_read;
	c->bytes_written -= c0.bytes_written;
	npu_program_unref(p);
	for (unsigned int i = 0; i < l.n; i++)
		npu_buffer_unref(l.buffers[i]);
}

/* Cycles of one layer among others, and those of the busiest engine. */
static void run_layer(struct lib_state *s, uint32_t m, uint64_t *cycles, uint64_t *busiest)
{
	struct npu_counters one, three;
	uint64_t bytes, memory, engine[3];

	run_layers(s, m, 1, &one);
	run_layers(s, m, 3, &three);
	*cycles = (three.cycles - one.cycles) / 2;
	*busiest = 0;
	for (unsigned int e = 0; e < 3; e++) {
		engine[e] = (three.engine[e] - one.engine[e]) / 2;
		if (engine[e] > *busiest)
			*busiest = engine[e];
	}
	bytes = (three.bytes_read + three.bytes_written - one.bytes_read - one.bytes_written) / 2;
	memory = bytes * s->info.core_khz / 1000 / s->info.dram_mbps;
	print_message("# M=%u: %llu cycles; memory %llu; busy %llu matrix %llu vector %llu copy; %llu MB\n", m,
		      (unsigned long long)*cycles, (unsigned long long)memory, (unsigned long long)engine[0],
		      (unsigned long long)engine[1], (unsigned long long)engine[2], (unsigned long long)bytes / 1000000);
}

static void test_prefill(void **state)
{
	struct lib_state *s = *state;
	uint64_t cycles, busiest;

	if (lib_under_valgrind()) {
		print_message("# skipped: overlap: M=512 takes long under valgrind\n");
		return;
	}
	run_layer(s, 512, &cycles, &busiest);
	assert_true(cycles * 100 <= busiest * 110);
}

static void test_decode(void **state)
{
	struct lib_state *s = *state;
	uint64_t cycles, busiest;

	run_layer(s, 1, &cycles, &busiest);
	assert_true(cycles * 100 <= busiest * 120);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, lib_setup, lib_teardown)
	const struct CMUnitTest tests[] = { T(test_decode), T(test_prefill) };
	char name[256];

	if (strncmp(lib_device(), "soft", 4)) {
		print_message("# skipped: overlap: modelled cycles are the software device's\n");
		return 77;
	}
	/* The shape is that of the large configuration's models; other settings stay. */
	snprintf(name, sizeof(name), "%s%sconfig=large", lib_device(), strchr(lib_device(), ':') ? "," : ":");
	setenv("NPU_DEVICE", name, 1);
	return cmocka_run_group_tests_name("lib_overlap", tests, NULL, NULL);
}
