/* SPDX-License-Identifier: MIT */
/* npu_op_run(): memory is reached through map() alone, in order, and only where elements are. */
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "ops.h"

#define MEMORY	(64u << 10)
#define PAGE	256u		/* granule of what is accessible */

/* An address space of MEMORY bytes from 0, page by page readable or writable. */
struct space {
	struct npu_op_env env;
	uint8_t bytes[MEMORY];
	uint8_t access[MEMORY / PAGE];
	int faults;		/* recorded */
	unsigned int fault_operand, illegal_operand;
	uint64_t fault_addr, illegal_addr;
	unsigned int maps, probes;
	bool no_memory;
	void *scratch;
};

static void *map(struct npu_op_env *env, uint64_t va, uint64_t len, unsigned int access, unsigned int operand)
{
	struct space *s = (struct space *)env;

	(access & NPU_OP_PROBE) ? s->probes++ : s->maps++;
	assert_int_equal(s->faults, 0);		/* nothing is accessed after a fault */
	assert_true(len > 0);
	for (uint64_t at = va; at < va + len; at++) {
		unsigned int have = at < MEMORY ? s->access[at / PAGE] : 0;

		if ((have & access & 3) == (access & 3))
			continue;
		if (!(access & NPU_OP_PROBE)) {
			s->faults++;
			s->fault_operand = operand;
			s->fault_addr = at;
		}
		return NULL;
	}
	return s->bytes + va;
}

static int map_pieces(struct npu_op_env *env, uint64_t va, uint64_t len, unsigned int access, unsigned int operand,
		      struct npu_pieces *out)
{
	*out = (struct npu_pieces){ .p = map(env, va, len, access, operand) };
	return out->p ? 0 : -EFAULT;
}

static int illegal(struct npu_op_env *env, unsigned int operand, uint64_t addr)
{
	struct space *s = (struct space *)env;

	s->faults++;
	s->illegal_operand = operand;
	s->illegal_addr = addr;
	return -EFAULT;
}

static void *scratch(struct npu_op_env *env, size_t size)
{
	struct space *s = (struct space *)env;

	if (s->no_memory)
		return NULL;
	free(s->scratch);
	s->scratch = aligned_alloc(64, (size + 63) / 64 * 64);
	return s->scratch;
}

static int setup(void **state)
{
	struct space *s = calloc(1, sizeof(*s));

	if (!s)
		return -1;
	s->env.map = map;
	s->env.map_pieces = map_pieces;
	s->env.illegal = illegal;
	s->env.scratch = scratch;
	s->env.path = npu_path_best();
	memset(s->access, NPU_OP_READ | NPU_OP_WRITE, sizeof(s->access));
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	struct space *s = *state;

	free(s->scratch);
	free(s);
	return 0;
}

static struct npu_tensor dense(uint64_t addr, unsigned int type, uint32_t n0, uint32_t n1, uint32_t n2)
{
	struct npu_tensor t = { .addr = addr, .ne = { n0, n1, n2, 1 }, .type = (uint8_t)type };

	t.nb[0] = npu_type_block_bytes(type);
	t.nb[1] = t.nb[0] * (n0 / npu_type_block_len(type));
	t.nb[2] = t.nb[1] * n1;
	t.nb[3] = t.nb[2] * n2;
	return t;
}

static float *floats(struct space *s, uint64_t addr)
{
	return (float *)(s->bytes + addr);
}

static int run(struct space *s, const void *packet, uint32_t len)
{
	const struct npu_op_limits lim = {
		.max_macs = ~0ull, .max_bytes = ~0ull, .va_limit = ~0ull, .ops = ~0ull, .types_rows = ~0u,
		.types_tiles = ~0u,
	};
	struct npu_op_plan plan;

	npu_op_plan(packet, len, &lim, &plan);
	assert_int_equal(plan.fault, 0);
	return npu_op_run(packet, &s->env);
}

static struct npu_cmd_map negate(struct npu_tensor dst, struct npu_tensor src)
{
	return (struct npu_cmd_map){ .cmd.opcode = NPU_OP_UNARY, .kind = NPU_UNARY_NEG, .dst = dst, .src = src };
}

/* Holes: 3 rows of 8 floats, one page each; the page between them is not accessible. */
static void test_holes(void **state)
{
	struct space *s = *state;
	struct npu_cmd_map p = negate(dense(0, NPU_TYPE_F32, 8, 3, 1), dense(0x4000, NPU_TYPE_F32, 8, 3, 1));

	p.dst.nb[1] = p.src.nb[1] = 2 * PAGE;
	for (unsigned int r = 0; r < 3; r++)
		for (unsigned int i = 0; i < 8; i++)
			floats(s, 0x4000 + 2 * PAGE * r)[i] = (float)(r * 8 + i);
	s->access[1] = s->access[3] = s->access[0x4000 / PAGE + 1] = s->access[0x4000 / PAGE + 3] = 0;
	assert_int_equal(run(s, &p, sizeof(p)), 0);
	assert_int_equal(s->probes, 2);
	for (unsigned int r = 0; r < 3; r++)
		for (unsigned int i = 0; i < 8; i++)
			assert_true(floats(s, 2 * PAGE * r)[i] == -(float)(r * 8 + i));
	assert_true(floats(s, PAGE)[0] == 0.0f);

	/* With the holes accessible it is mapped whole. */
	memset(s->access, 3, sizeof(s->access));
	s->maps = s->probes = 0;
	assert_int_equal(run(s, &p, sizeof(p)), 0);
	assert_int_equal(s->maps, 0);
	assert_int_equal(s->probes, 2);
}

/* The first operand in order that faults is the one reported, and nothing has been written. */
static void test_fault_order(void **state)
{
	struct space *s = *state;
	struct npu_cmd_map p = negate(dense(0, NPU_TYPE_F32, 8, 3, 1), dense(0x4000, NPU_TYPE_F32, 8, 3, 1));
	uint8_t before[MEMORY];

	p.dst.nb[1] = p.src.nb[1] = 2 * PAGE;
	memset(s->bytes, 1, sizeof(s->bytes));
	memcpy(before, s->bytes, sizeof(before));
	s->access[4] = NPU_OP_READ;			/* row 2 of dst is read-only */
	s->access[0x4000 / PAGE] = 0;
	assert_int_equal(run(s, &p, sizeof(p)), -EFAULT);
	assert_int_equal(s->fault_operand, 0);
	assert_int_equal(s->fault_addr, 4 * PAGE);
	s->faults = 0;
	s->access[4] = NPU_OP_READ | NPU_OP_WRITE;
	assert_int_equal(run(s, &p, sizeof(p)), -EFAULT);
	assert_int_equal(s->fault_operand, 1);
	assert_int_equal(s->fault_addr, 0x4000);
	s->faults = 0;
	s->access[0x4000 / PAGE] = NPU_OP_READ;
	s->access[0x4000 / PAGE + 4] = NPU_OP_WRITE;
	assert_int_equal(run(s, &p, sizeof(p)), -EFAULT);
	assert_int_equal(s->fault_addr, 0x4000 + 4 * PAGE);
	assert_memory_equal(before, s->bytes, MEMORY);
}

static void test_no_memory(void **state)
{
	struct space *s = *state;
	struct npu_cmd_map p = negate(dense(0, NPU_TYPE_F32, 8, 3, 1), dense(0x4000, NPU_TYPE_F32, 8, 3, 1));

	p.src.nb[1] = 2 * PAGE;
	s->access[0x4000 / PAGE + 1] = 0;
	s->no_memory = true;
	assert_int_equal(run(s, &p, sizeof(p)), -ENOMEM);
	assert_int_equal(s->faults, 0);
}

static struct npu_cmd_rows rows(unsigned int op, struct npu_tensor dst, struct npu_tensor table, struct npu_tensor index)
{
	return (struct npu_cmd_rows){ .cmd.opcode = (uint16_t)op, .dst = dst, .table = table, .index = index };
}

/* Only the rows that are named need to be there; an index outside the table is illegal. */
static void test_gather(void **state)
{
	struct space *s = *state;
	struct npu_cmd_rows p = rows(NPU_OP_GATHER, dense(0, NPU_TYPE_F32, 64, 3, 1),
				     dense(0x4000, NPU_TYPE_F32, 64, 8, 1), dense(0x2000, NPU_TYPE_I32, 3, 1, 1));
	int32_t *index = (int32_t *)(s->bytes + 0x2000);

	for (unsigned int i = 0; i < 8 * 64; i++)
		floats(s, 0x4000)[i] = (float)i;
	memset(s->access + 0x4000 / PAGE, 0, 8);
	s->access[0x4000 / PAGE + 7] = s->access[0x4000 / PAGE + 2] = NPU_OP_READ;
	memcpy(index, (int32_t[]){ 7, 2, 7 }, 12);
	assert_int_equal(run(s, &p, sizeof(p)), 0);
	assert_true(floats(s, 0)[0] == 448.0f && floats(s, 0)[64] == 128.0f && floats(s, 0)[191] == 511.0f);

	memset(s->bytes, 0, 768);
	index[2] = 3;
	assert_int_equal(run(s, &p, sizeof(p)), -EFAULT);
	assert_int_equal(s->fault_operand, 1);
	assert_int_equal(s->fault_addr, 0x4000 + 3 * 256);
	for (int32_t bad = -2; bad < 10; bad += bad == -1 ? 9 : 1) {
		s->faults = 0;
		s->illegal_operand = 0;
		index[1] = bad;
		assert_int_equal(run(s, &p, sizeof(p)), -EFAULT);
		assert_int_equal(s->illegal_operand, 2);
		assert_int_equal(s->illegal_addr, 0x2004);
	}
	assert_true(floats(s, 0)[0] == 0.0f);	/* nothing was written */
}

static void test_scatter(void **state)
{
	struct space *s = *state;
	struct npu_cmd_rows p = rows(NPU_OP_SCATTER, dense(0, NPU_TYPE_F32, 64, 4, 1),
				     dense(0x4000, NPU_TYPE_F32, 64, 8, 1), dense(0x2000, NPU_TYPE_I32, 4, 1, 1));
	int32_t *index = (int32_t *)(s->bytes + 0x2000);

	for (unsigned int i = 0; i < 4 * 64; i++)
		floats(s, 0)[i] = (float)(i + 1);
	memset(s->access + 0x4000 / PAGE, NPU_OP_READ, 8);
	s->access[0x4000 / PAGE + 6] = s->access[0x4000 / PAGE + 1] = NPU_OP_WRITE;
	memcpy(index, (int32_t[]){ 6, -1, 1, 6 }, 16);
	assert_int_equal(run(s, &p, sizeof(p)), 0);
	assert_true(floats(s, 0x4000 + 6 * 256)[0] == 193.0f);	/* the last of equal indices */
	assert_true(floats(s, 0x4000 + 1 * 256)[0] == 129.0f);
	assert_true(floats(s, 0x4000)[0] == 0.0f);

	index[3] = 5;	/* read-only */
	memset(s->bytes + 0x4000, 0, 8 * 256);
	assert_int_equal(run(s, &p, sizeof(p)), -EFAULT);
	assert_int_equal(s->fault_addr, 0x4000 + 5 * 256);
	assert_true(floats(s, 0x4000 + 6 * 256)[0] == 0.0f);
	s->faults = 0;
	index[3] = -2;
	assert_int_equal(run(s, &p, sizeof(p)), -EFAULT);
	assert_int_equal(s->illegal_operand, 2);
}

/* A destination may be the source itself. */
static void test_in_place(void **state)
{
	struct space *s = *state;
	struct npu_tensor t = dense(0x1000, NPU_TYPE_F32, 40, 5, 1), weight = dense(0x100, NPU_TYPE_F32, 40, 1, 1);
	struct npu_tensor out = dense(0x3000, NPU_TYPE_F32, 40, 5, 1);
	struct npu_cmd_map u[2] = { negate(out, t), negate(t, t) };
	struct npu_cmd_norm n[2];
	struct npu_cmd_softmax m[2];
	struct npu_cmd_binary b[2];
	struct npu_cmd_rope r[2];

	for (unsigned int i = 0; i < 40; i++)
		floats(s, weight.addr)[i] = (float)i / 8.0f;
	for (unsigned int way = 0; way < 2; way++) {
		struct npu_tensor dst = way ? t : out;

		n[way] = (struct npu_cmd_norm){ .cmd.opcode = NPU_OP_LAYER_NORM, .weight = 0x100, .bias = 0x100,
						.eps = 1e-5f, .dst = dst, .src = t };
		m[way] = (struct npu_cmd_softmax){ .cmd.opcode = NPU_OP_SOFTMAX, .scale = 1.0f, .dst = dst, .src = t };
		b[way] = (struct npu_cmd_binary){ .cmd.opcode = NPU_OP_BINARY, .kind = NPU_BINARY_MUL, .dst = dst,
						  .a = t, .b = weight };
		r[way] = (struct npu_cmd_rope){ .cmd.opcode = NPU_OP_ROPE, .flags = NPU_ROPE_HALVES, .ndims = 32,
						.pos = 3, .mscale = 1.0f, .step = 0x200, .dst = dst, .src = t };
	}
	for (unsigned int i = 0; i < 32; i++)
		((uint64_t *)(s->bytes + 0x200))[i] = 0x0123456789abcdefull * (i + 1);
	for (unsigned int path = NPU_PATH_SCALAR; path <= NPU_PATH_NEON; path++) {
		if (!npu_path_supported(path))
			continue;
		s->env.path = path;
		for (unsigned int op = 0; op < 5; op++) {
			const void *const packets[5][2] = {
				{ &u[0], &u[1] }, { &n[0], &n[1] }, { &m[0], &m[1] }, { &b[0], &b[1] }, { &r[0], &r[1] },
			};
			const uint32_t sizes[] = { sizeof(u[0]), sizeof(n[0]), sizeof(m[0]), sizeof(b[0]), sizeof(r[0]) };

			for (unsigned int i = 0; i < 200; i++)
				floats(s, t.addr)[i] = (float)((i * 37) % 101) / 16.0f - 3.0f;
			assert_int_equal(run(s, packets[op][0], sizes[op]), 0);
			assert_int_equal(run(s, packets[op][1], sizes[op]), 0);
			assert_memory_equal(s->bytes + t.addr, s->bytes + out.addr, 800);
		}
	}
}

/* A zero dimension touches nothing at all. */
static void test_empty(void **state)
{
	struct space *s = *state;
	struct npu_cmd_map p = negate(dense(0, NPU_TYPE_F32, 8, 0, 1), dense(0x4000, NPU_TYPE_F32, 8, 0, 1));

	memset(s->access, 0, sizeof(s->access));
	assert_int_equal(run(s, &p, sizeof(p)), 0);
	assert_int_equal(s->maps + s->probes, 0);
}

/* ---- The caller's floating-point environment ---------------------------------------- */

#if defined(__x86_64__)
/* Round up, flush subnormal results and operands to zero, trap division by zero and overflow. */
#define STRANGE_ENV	0xd9c0u
static uint64_t get_env(void)
{
	return __builtin_ia32_stmxcsr() & ~0x3fu;	/* without the sticky flags */
}

static void set_env(uint64_t v)
{
	__builtin_ia32_ldmxcsr((unsigned int)v);
}
#elif defined(__aarch64__)
/* Round up, flush to zero. */
#define STRANGE_ENV	0x1400000u
static uint64_t get_env(void)
{
	uint64_t v;

	__asm__ volatile("mrs %0, fpcr" : "=r"(v));
	return v;
}

static void set_env(uint64_t v)
{
	__asm__ volatile("msr fpcr, %0" : : "r"(v) : "memory");
}
#endif

#if defined(STRANGE_ENV)
#define ENV_X		0x1000u
#define ENV_W		0x2000u
#define ENV_DST		0x3000u
#define ENV_BYTES	0x800u

/* Numbers of which sums, products and quotients are inexact, and some are subnormal. */
static void fill_env_operands(struct space *s)
{
	for (unsigned int i = 0; i < ENV_BYTES / 4; i++) {
		floats(s, ENV_X)[i] = (float)((i * 37) % 101) / 7.0f - 7.0f;
		floats(s, ENV_W)[i] = (i % 3 ? 0x1p-128f : 1.0f) * (float)(1 + i % 13) / 3.0f;
	}
	memset(s->bytes + ENV_DST, 0xee, ENV_BYTES);
}

/*
 * A host process may have set any mode in the thread that calls (fast-math
 * start-up code sets FTZ and DAZ): the bits stay the same, and so does the mode.
 */
static void test_environment(void **state)
{
	struct space *s = *state;
	struct npu_tensor x = dense(ENV_X, NPU_TYPE_F32, 32, 16, 1), w = dense(ENV_W, NPU_TYPE_F32, 32, 16, 1);
	struct npu_tensor dst = dense(ENV_DST, NPU_TYPE_F32, 32, 16, 1), sq = dense(ENV_DST, NPU_TYPE_F32, 16, 16, 1);
	const struct npu_cmd_matmul mm = { .cmd.opcode = NPU_OP_MATMUL, .dst = sq, .x = x, .w = w };
	const struct npu_cmd_norm norm = { .cmd.opcode = NPU_OP_RMS_NORM, .weight = ENV_W, .eps = 1e-5f, .dst = dst,
					   .src = x };
	const struct npu_cmd_softmax soft = { .cmd.opcode = NPU_OP_SOFTMAX, .scale = 13.0f, .dst = dst, .src = x };
	const struct npu_cmd_binary mul = { .cmd.opcode = NPU_OP_BINARY, .kind = NPU_BINARY_MUL, .dst = dst, .a = x,
					    .b = w };
	const struct npu_cmd_binary div = { .cmd.opcode = NPU_OP_BINARY, .kind = NPU_BINARY_DIV, .dst = dst, .a = x,
					    .b = x };
	const struct npu_cmd_map silu = { .cmd.opcode = NPU_OP_UNARY, .kind = NPU_UNARY_SILU, .dst = dst, .src = x };
	const struct npu_cmd_map q8 = { .cmd.opcode = NPU_OP_COPY, .dst = dense(ENV_DST, NPU_TYPE_Q8_0, 32, 16, 1),
					.src = x };
	const struct {
		const void *packet;
		uint32_t size;
	} ops[] = {
		{ &mm, sizeof(mm) },   { &norm, sizeof(norm) }, { &soft, sizeof(soft) }, { &mul, sizeof(mul) },
		{ &div, sizeof(div) }, { &silu, sizeof(silu) }, { &q8, sizeof(q8) },
	};
	const uint64_t normal = get_env();
	uint8_t want[ENV_BYTES];

	for (unsigned int path = NPU_PATH_SCALAR; path <= NPU_PATH_NEON; path++) {
		if (!npu_path_supported(path))
			continue;
		s->env.path = path;
		for (unsigned int i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
			uint64_t env;
			int r;

			fill_env_operands(s);
			assert_int_equal(run(s, ops[i].packet, ops[i].size), 0);
			memcpy(want, s->bytes + ENV_DST, ENV_BYTES);
			memset(s->bytes + ENV_DST, 0xee, ENV_BYTES);
			set_env(STRANGE_ENV);
			r = npu_op_run(ops[i].packet, &s->env);
			env = get_env();
			set_env(normal);
			assert_int_equal(r, 0);
			assert_int_equal(env, STRANGE_ENV);
			assert_memory_equal(want, s->bytes + ENV_DST, ENV_BYTES);
		}
	}
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_holes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fault_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_memory, setup, teardown),
		cmocka_unit_test_setup_teardown(test_gather, setup, teardown),
		cmocka_unit_test_setup_teardown(test_scatter, setup, teardown),
		cmocka_unit_test_setup_teardown(test_in_place, setup, teardown),
		cmocka_unit_test_setup_teardown(test_empty, setup, teardown),
#if defined(STRANGE_ENV)
		cmocka_unit_test_setup_teardown(test_environment, setup, teardown),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
