// SPDX-License-Identifier: MIT
/* The command encoder and the disassembler: every command runs, every rule has its text. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib_common.h"

static struct npu_tensor tensor(uint64_t addr, enum npu_type type, uint32_t n0, uint32_t n1)
{
	struct npu_tensor t = { .addr = addr, .ne = { n0, n1, 1, 1 }, .type = (uint8_t)type };

	t.nb[0] = npu_type_bytes(type);
	t.nb[1] = npu_type_row_bytes(type, n0);
	t.nb[2] = t.nb[3] = t.nb[1] * n1;
	return t;
}

static struct npu_stream *stream_new(struct lib_state *s)
{
	struct npu_stream *st;

	assert_ok(s->dev, npu_stream_create(s->dev, &st));
	return st;
}

#define F32(at, n0, n1) tensor(va + (at), NPU_TYPE_F32, n0, n1)
#define I32(at, n0, n1) tensor(va + (at), NPU_TYPE_I32, n0, n1)

/* One legal command of each kind, all in one job. */
static void emit_all(struct npu_stream *st, uint64_t va)
{
	struct npu_cmd_matmul mm = { .flags = NPU_MATMUL_BIAS, .bias = va, .dst = F32(4096, 16, 4), .x = F32(0, 32, 4),
				     .w = F32(8192, 32, 16) };
	struct npu_cmd_matmul_glu mg = { .kind = NPU_GLU_SWIGLU, .dst = F32(4096, 16, 4), .x = F32(0, 32, 4),
					 .gate = F32(8192, 32, 16), .up = F32(12288, 32, 16) };
	struct npu_cmd_attention at = { .flags = NPU_ATTN_CAUSAL, .pos = 4, .scale = 1, .dst = F32(4096, 16, 2),
					.q = F32(0, 16, 2), .k = F32(8192, 16, 8), .v = F32(12288, 16, 8) };
	struct npu_cmd_norm rms = { .eps = 1e-5f, .dst = F32(4096, 16, 4), .src = F32(0, 16, 4) };
	struct npu_cmd_norm ln = { .weight = va, .bias = va + 1024, .eps = 1e-5f, .dst = F32(4096, 16, 4),
				   .src = F32(0, 16, 4) };
	struct npu_cmd_rope rope = { .ndims = 16, .mscale = 1, .step = va, .dst = F32(4096, 16, 4), .src = F32(0, 16, 4) };
	struct npu_cmd_softmax soft = { .scale = 1, .dst = F32(4096, 16, 4), .src = F32(0, 16, 4) };
	struct npu_cmd_binary glu = { .kind = NPU_GLU_SWIGLU, .dst = F32(4096, 16, 4), .a = F32(0, 16, 4),
				      .b = F32(1024, 16, 4) };
	struct npu_cmd_binary add = { .kind = NPU_BINARY_ADD, .dst = F32(4096, 16, 4), .a = F32(0, 16, 4),
				      .b = F32(1024, 16, 1) };
	struct npu_cmd_map un = { .kind = NPU_UNARY_EXP, .dst = F32(4096, 16, 4), .src = F32(0, 16, 4) };
	struct npu_cmd_map red = { .kind = NPU_REDUCE_SUM, .dst = F32(4096, 1, 4), .src = F32(0, 16, 4) };
	struct npu_cmd_map am = { .dst = I32(4096, 1, 4), .src = F32(0, 16, 4) };
	struct npu_cmd_map cp = { .dst = tensor(va + 4096, NPU_TYPE_Q8_0, 32, 4), .src = F32(0, 32, 4) };
	struct npu_cmd_map fill = { .p0 = 2, .dst = F32(4096, 16, 4) };
	struct npu_cmd_topk top = { .k = 3, .values = F32(4096, 3, 4), .indices = I32(8192, 3, 4), .src = F32(0, 16, 4) };
	struct npu_cmd_rows ga = { .dst = F32(4096, 16, 4), .table = F32(0, 16, 8), .index = I32(16384, 4, 1) };
	struct npu_cmd_rows sc = { .dst = F32(4096, 16, 4), .table = F32(8192, 16, 8), .index = I32(16384, 4, 1) };

	npu_emit_matmul(st, NULL, &mm);
	npu_emit_barrier(st);
	npu_emit_matmul_glu(st, NULL, &mg);
	npu_emit_barrier(st);
	npu_emit_attention(st, NULL, &at);
	npu_emit_barrier(st);
	npu_emit_rms_norm(st, NULL, &rms);
	npu_emit_layer_norm(st, NULL, &ln);
	npu_emit_rope(st, NULL, &rope);
	npu_emit_softmax(st, NULL, &soft);
	npu_emit_glu(st, NULL, &glu);
	npu_emit_binary(st, NULL, &add);
	npu_emit_unary(st, NULL, &un);
	npu_emit_reduce(st, NULL, &red);
	npu_emit_argmax(st, NULL, &am);
	npu_emit_topk(st, NULL, &top);
	npu_emit_barrier(st);
	npu_emit_copy(st, NULL, &cp);
	npu_emit_fill(st, NULL, &fill);
	npu_emit_gather(st, NULL, &ga);
	npu_emit_scatter(st, NULL, &sc);
	npu_emit_barrier(st);
	npu_emit_timestamp(st, NULL, va + 32768);
	npu_emit_progress(st, NULL, 77, true);
	npu_emit_nop(st, NULL);
	npu_emit_end(st, NULL);
}

static void test_all(void **state)
{
	static const char *const names[] = {
		"MATMUL bias=", "MATMUL_GLU swiglu", "ATTENTION causal", "RMS_NORM", "LAYER_NORM", "ROPE ndims=16", "SOFTMAX", "GLU swiglu",
		"BINARY add", "UNARY exp", "REDUCE sum", "ARGMAX", "TOPK k=3", "COPY dst=q8_0[32,4,1,1]", "FILL 2", "GATHER",
		"SCATTER", "TIMESTAMP", "PROGRESS 0x4d irq", "NOP", "END",
	};
	struct lib_state *s = *state;
	struct npu_stream *st = stream_new(s);
	struct npu_timestamp ts;
	struct npu_buffer *buf;
	char line[1024];
	unsigned int found = 0;
	uint32_t at = 0;

	assert_ok(s->dev, npu_buffer_create(s->vm, 65536, NPU_BUFFER_CACHED, &buf));
	emit_all(st, npu_buffer_va(buf));
	assert_string_equal(npu_stream_error(st), "");
	assert_ok(s->dev, lib_run(s, st, NULL, 0));
	assert_ok(s->dev, npu_buffer_download(buf, 32768, &ts, sizeof(ts)));
	assert_true(ts.commands > 0);
	while (at < npu_stream_bytes(st)) {
		int len = npu_disassemble(npu_stream_data(st), npu_stream_bytes(st), at, line, sizeof(line));

		assert_true(len > 0);
		if (found < sizeof(names) / sizeof(names[0]) && !strncmp(line, names[found], strlen(names[found])))
			found++;
		at += (uint32_t)len;
	}
	if (found != sizeof(names) / sizeof(names[0]))
		fail_msg("\"%s\" is missing in the text", names[found]);
	npu_buffer_unref(buf);
	npu_stream_destroy(st);
}

/* Semaphores are for user-mode queues: a kernel-mode queue faults, and a device without the others refuses the command. */
static void test_semaphores(void **state)
{
	struct lib_state *s = *state;
	struct npu_stream *st = stream_new(s);
	uint64_t va = 1ull << 30;

	if (npu_emit_sem_signal(st, NULL, va, 1) < 0) {
		assert_non_null(strstr(npu_stream_error(st), "no user-mode queues"));
		npu_stream_destroy(st);
		return;
	}
	assert_int_equal(npu_emit_sem_wait(st, NULL, va + 4, 1), -EINVAL);
	assert_non_null(strstr(npu_stream_error(st), "aligned"));
	npu_stream_reset(st);
	assert_int_equal(npu_emit_sem_wait(st, NULL, va, 1), 0);
	npu_emit_end(st, NULL);
	assert_int_equal(lib_run(s, st, NULL, 0), -EFAULT);
	lib_assert_text(s->dev, "not allowed in this queue");
	npu_stream_destroy(st);
}

/* Registers: branches, loops, arithmetic, register operands. */
static void test_control(void **state)
{
	struct lib_state *s = *state;
	struct npu_stream *st = stream_new(s);
	struct npu_buffer *buf;
	uint64_t regs[4] = { 10, 3, 0, 5 }, out[3];
	int over, top;

	assert_ok(s->dev, npu_buffer_create(s->vm, 4096, NPU_BUFFER_CACHED, &buf));
	/* r2 = sum of r0 * r1 over r3 rounds; a branch over a trap */
	npu_emit_alu(st, NPU_ALU_MUL, 4, 0, 1);
	top = npu_emit_alu(st, NPU_ALU_ADD, 2, 2, 4);
	npu_emit_loop(st, 3, top);
	over = npu_emit_branchi(st, NPU_COND_EQ, 2, 150, -1);
	npu_emit_trap(st, 0xbad);
	npu_stream_land(st, over);
	npu_emit_store(st, NULL, 2, npu_buffer_va(buf), 8);
	npu_emit_set(st, 5, (uint64_t)-7);
	npu_emit_store(st, NULL, 5, npu_buffer_va(buf) + 8, 4);
	npu_emit_load(st, NULL, 6, npu_buffer_va(buf) + 8, 4, true);
	npu_emit_store(st, NULL, 6, npu_buffer_va(buf) + 16, 8);
	npu_emit_branch(st, NPU_COND_LT, 6, 0, -1);	/* -7 < 10: over another trap */
	over = (int)npu_stream_bytes(st) - 32;
	npu_emit_trap(st, 0xbad);
	npu_stream_land(st, over);
	npu_emit_end(st, NULL);
	assert_string_equal(npu_stream_error(st), "");
	assert_ok(s->dev, lib_run(s, st, regs, 4));
	assert_ok(s->dev, npu_buffer_download(buf, 0, out, sizeof(out)));
	assert_int_equal(out[0], 150);
	assert_int_equal(out[2], (uint64_t)-7);
	/* Without the right argument the trap is sprung. */
	regs[3] = 4;
	assert_int_equal(lib_run(s, st, regs, 4), -EFAULT);
	lib_assert_text(s->dev, "trap");
	npu_buffer_unref(buf);
	npu_stream_destroy(st);
}

static void expect(struct npu_stream *st, int ret, int err, const char *part)
{
	assert_int_equal(ret, err);
	if (!strstr(npu_stream_error(st), part))
		fail_msg("\"%s\" does not contain \"%s\"", npu_stream_error(st), part);
	/* The error stays until reset. */
	assert_int_equal(npu_emit_nop(st, NULL), err);
	npu_stream_reset(st);
	assert_string_equal(npu_stream_error(st), "");
	assert_int_equal(npu_stream_bytes(st), 0);
}

static void test_errors(void **state)
{
	struct lib_state *s = *state;
	struct npu_stream *st = stream_new(s);
	const uint64_t va = 1 << 20;
	struct npu_cmd_matmul good = { .dst = F32(4096, 16, 4), .x = F32(0, 32, 4), .w = F32(8192, 32, 16) }, m;
	struct npu_cmd_map cp;
	struct npu_regop op = { .field = NPU_FIELD(struct npu_cmd_matmul, dst.ne[1]), .ra = 40, .rb = NPU_NO_REG };
	struct npu_issue issue = NPU_ISSUE_INIT;

#define BAD(change, part) do { m = good; change; expect(st, npu_emit_matmul(st, NULL, &m), -EINVAL, part); } while (0)
	BAD(m.x.ne[0] = 31, "dimension 0");
	BAD(m.x.type = NPU_TYPE_I8, "x: type i8");
	BAD(m.dst.type = 200, "dst: type unknown");
	BAD(m.dst.addr += 2, "not aligned");
	BAD(m.dst.nb[1] = 6, "no multiple");
	BAD(m.dst.nb[1] = 32, "coincide");
	BAD(m.dst.nb[0] = 8, "stride 8 of dimension 0");
	BAD(m.x.addr = UINT64_MAX - 3, "outside the address space");
	BAD(m.x.layout = NPU_LAYOUT_TILE16, "layout 1");
	BAD(m.w.rsvd[2] = 1, "reserved");
	BAD(m.w.ne[2] = 3, "does not divide");
	BAD(m.flags = 64, "unknown flags");
	BAD((m.dst.type = NPU_TYPE_F16, m.dst.nb[0] = 2, m.flags = NPU_MATMUL_ACCUMULATE), "must be f32");
	BAD((m.dst = F32(4096, 1 << 16, 1 << 10), m.x = F32(0, 1 << 10, 1 << 10), m.w = F32(0, 1 << 10, 1 << 16)), "more than");
	cp = (struct npu_cmd_map){ .dst = tensor(va, NPU_TYPE_Q4_K, 256, 1), .src = F32(8192, 256, 1) };
	expect(st, npu_emit_copy(st, NULL, &cp), -EINVAL, "cannot be converted to q4_k");
	cp = (struct npu_cmd_map){ .kind = 999, .dst = F32(0, 16, 1), .src = F32(4096, 16, 1) };
	expect(st, npu_emit_unary(st, NULL, &cp), -EINVAL, "kind");
	expect(st, npu_emit_set(st, 32, 0), -EINVAL, "no register 32");
	expect(st, npu_emit_load(st, NULL, 0, 4, 8, false), -EINVAL, "LOAD");
	expect(st, npu_emit_load(st, NULL, 0, 0, 2, false), -EINVAL, "2 bytes");
	expect(st, npu_emit_loop(st, 0, -1), -EINVAL, "target");
	expect(st, npu_emit_branchi(st, NPU_COND_EQ, 0, 0, 400), -EINVAL, "no command at offset");
	expect(st, npu_stream_land(st, 0), -EINVAL, "no branch");
	expect(st, npu_emit_timestamp(st, NULL, 12), -EINVAL, "aligned");
	issue.nregops = 1;
	issue.regops = &op;
	expect(st, npu_emit_matmul(st, &issue, &good), -EINVAL, "registers 40");
	op.ra = 1;
	op.field = 6;
	expect(st, npu_emit_matmul(st, &issue, &good), -EINVAL, "does not name a field");
	issue.nregops = 0;
	issue.signal = 99;
	expect(st, npu_emit_matmul(st, &issue, &good), -EINVAL, "token 99");
	npu_stream_destroy(st);
}

/* Any bytes have a text, and nothing outside is read. */
static void test_disassemble(void **state)
{
	uint32_t seed = 1;
	char line[64], small[8];

	(void)state;
	for (unsigned int n = 0; n < 20000; n++) {
		uint32_t size = (n % 40) * 16;
		uint8_t *bytes = malloc(size ? size : 1);

		for (uint32_t i = 0; i < size; i++)
			bytes[i] = (uint8_t)(lib_random(&seed) * 128);
		if (size >= 16) {
			bytes[1] = 0;
			bytes[0] = (uint8_t)(n % 70);
			bytes[2] = (uint8_t)(n % 30);
		}
		for (uint32_t at = 0; at <= size; at += 16) {
			int len = npu_disassemble(bytes, size, at, line, sizeof(line));

			assert_true(len == -EINVAL || (len > 0 && (uint32_t)len <= size - at));
			npu_disassemble(bytes, size, at, small, sizeof(small));
			npu_disassemble(bytes, size, at, NULL, 0);
		}
		free(bytes);
	}
	assert_int_equal(npu_disassemble("", 0, 0, line, sizeof(line)), -EINVAL);
	assert_int_equal(npu_disassemble("0123456789abcdef", 16, 8, line, sizeof(line)), -EINVAL);
}

/* Types, tiles, halves. */
static void test_types(void **state)
{
	uint8_t rows[3 * 68], tiles[16 * 68];

	(void)state;
	assert_string_equal(npu_type_name(NPU_TYPE_Q8_0), "q8_0");
	assert_null(npu_type_name(99));
	assert_int_equal(npu_type_parse("Q4_K"), NPU_TYPE_Q4_K);
	assert_int_equal(npu_type_parse("q9"), -EINVAL);
	assert_int_equal(npu_type_parse(NULL), -EINVAL);
	assert_int_equal(npu_type_block(NPU_TYPE_Q8_0), 32);
	assert_int_equal(npu_type_block(NPU_TYPE_F32), 1);
	assert_int_equal(npu_type_block(99), 0);
	assert_int_equal(npu_type_row_bytes(NPU_TYPE_Q8_0, 64), 68);
	assert_int_equal(npu_type_row_bytes(NPU_TYPE_Q8_0, 33), 0);
	assert_int_equal(npu_type_row_bytes(NPU_TYPE_I64, UINT64_MAX / 2), 0);
	assert_int_equal(npu_tile16_bytes(NPU_TYPE_Q8_0, 64, 3), 16 * 68);
	assert_int_equal(npu_tile16_bytes(NPU_TYPE_I32, 64, 3), 0);
	for (unsigned int i = 0; i < sizeof(rows); i++)
		rows[i] = (uint8_t)(i + 1);
	assert_int_equal(npu_tile16_pack(NPU_TYPE_Q8_0, 64, 3, rows, tiles), 0);
	/* Block column 1: scales of 16 rows, then their quants in pieces of four; row 2. */
	assert_memory_equal(tiles + 16 * 34 + 2 * 2, rows + 2 * 68 + 34, 2);
	assert_memory_equal(tiles + 16 * 34 + 32 + 5 * 64 + 2 * 4, rows + 2 * 68 + 34 + 2 + 5 * 4, 4);
	assert_int_equal(tiles[3 * 2], 0);
	assert_int_equal(npu_tile16_pack(NPU_TYPE_Q8_0, 63, 3, rows, tiles), -EINVAL);
	for (uint32_t h = 0; h < 65536; h++) {
		float f = npu_f16_to_f32((uint16_t)h);

		if ((h & 0x7c00) == 0x7c00 && (h & 0x3ff))
			assert_int_equal(npu_f32_to_f16(f), 0x7e00);
		else
			assert_int_equal(npu_f32_to_f16(f), h);
	}
	assert_int_equal(npu_f32_to_f16(65519.0f), 0x7bff);
	assert_int_equal(npu_f32_to_f16(65520.0f), 0x7c00);
	assert_int_equal(npu_f32_to_f16(0x1p-25f), 0);
	assert_int_equal(npu_f32_to_f16(0x1.8p-25f), 1);
	assert_string_equal(npu_op_name(NPU_OP_GATHER), "GATHER");
	assert_null(npu_op_name(0x1f));
	assert_null(npu_op_name(0xffff));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, lib_setup, lib_teardown)
	const struct CMUnitTest tests[] = {
		T(test_all), T(test_semaphores), T(test_control), T(test_errors), cmocka_unit_test(test_disassemble), cmocka_unit_test(test_types),
	};

	return cmocka_run_group_tests_name("lib_cmd", tests, NULL, NULL);
}
