// SPDX-License-Identifier: MIT
/* The command processor: control packets, register operands, illegal streams. */
#include "model_common.h"

static const struct npu_model_options sync_opt = { .size = sizeof(sync_opt), .synchronous = true };

static struct bench *setup(void)
{
	struct bench *b = bench_new(&sync_opt);

	bench_queue(b, 0, 0, NPU_QC_MODE_KERNEL);
	return b;
}

static void run(struct bench *b, struct stream *s)
{
	s_end(s);
	assert_true(q_wait(b, 0, q_submit(b, 0, s)));
	s->size = 0;
}

static void restart(struct bench *b)
{
	q_cmd(b, 0, NPU_QCMD_RESET);
	wr(b, NPU_QC(0) + NPU_QC_HEAD, b->tail[0]);
	wr(b, NPU_IRQ_FAULT, 1);
	assert_int_equal(q_cmd(b, 0, NPU_QCMD_START), NPU_QSTATE_IDLE);
}

/* Without an END of its own. */
static void run_fault(struct bench *b, struct stream *s, uint32_t code)
{
	q_submit(b, 0, s);
	q_expect_fault(b, 0, code);
	s->size = 0;
	restart(b);
}

static uint64_t *data(struct bench *b)
{
	return bus(b, b->data_bus);
}

static void test_alu(void **state)
{
	static const struct {
		uint8_t op;
		uint64_t a, b, want;
	} cases[] = {
		{ NPU_ALU_ADD, UINT64_MAX, 2, 1 },
		{ NPU_ALU_SUB, 1, 2, UINT64_MAX },
		{ NPU_ALU_MUL, 1ull << 33, 1ull << 33, 0 },
		{ NPU_ALU_MUL, 3, 5, 15 },
		{ NPU_ALU_AND, 0xff00, 0x0ff0, 0x0f00 },
		{ NPU_ALU_OR, 0xff00, 0x0ff0, 0xfff0 },
		{ NPU_ALU_XOR, 0xff00, 0x0ff0, 0xf0f0 },
		{ NPU_ALU_SHL, 3, 65, 6 },
		{ NPU_ALU_SHR, 1ull << 63, 63, 1 },
		{ NPU_ALU_MIN, 5, UINT64_MAX, 5 },
		{ NPU_ALU_MAX, 5, UINT64_MAX, UINT64_MAX },
		{ NPU_ALU_UDIV, 17, 5, 3 },
		{ NPU_ALU_UDIV, 17, 0, UINT64_MAX },
		{ NPU_ALU_UMOD, 17, 5, 2 },
		{ NPU_ALU_UMOD, 17, 0, 17 },
	};
	struct bench *b = setup();
	struct stream s = { .size = 0 };

	(void)state;
	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		s_set(&s, 4, cases[i].a);
		s_set(&s, 5, cases[i].b);
		s_alu(&s, cases[i].op, 6, 4, 5, 0);
		s_alu(&s, cases[i].op, 7, 4, NPU_NO_REG, cases[i].b);
		s_store(&s, 6, 8, VA_DATA + 16 * i);
		s_store(&s, 7, 8, VA_DATA + 16 * i + 8);
	}
	run(b, &s);
	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(data(b)[2 * i], cases[i].want);
		assert_int_equal(data(b)[2 * i + 1], cases[i].want);
	}
	bench_free(b);
}

static void test_branches(void **state)
{
	static const struct {
		uint8_t cond;
		uint64_t a, b;
		bool taken;
	} cases[] = {
		{ NPU_COND_ALWAYS, 0, 1, true },
		{ NPU_COND_EQ, 4, 4, true },	      { NPU_COND_EQ, 4, 5, false },
		{ NPU_COND_NE, 4, 5, true },	      { NPU_COND_NE, 4, 4, false },
		{ NPU_COND_LTU, 1, UINT64_MAX, true }, { NPU_COND_LTU, 4, 4, false },
		{ NPU_COND_GEU, UINT64_MAX, 1, true }, { NPU_COND_GEU, 1, 2, false },
		{ NPU_COND_LT, UINT64_MAX, 1, true },  { NPU_COND_LT, 1, UINT64_MAX, false },
		{ NPU_COND_GE, 1, UINT64_MAX, true },  { NPU_COND_GE, UINT64_MAX, 1, false },
	};
	struct bench *b = setup();
	struct stream s = { .size = 0 };

	(void)state;
	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		s_set(&s, 1, cases[i].a);
		s_set(&s, 2, cases[i].b);
		s_set(&s, 3, 1);
		/* The branch skips one SET of 32 bytes. */
		s_branch(&s, cases[i].cond, 1, i & 1 ? 2 : NPU_NO_REG, i & 1 ? 0 : cases[i].b, s.size + 64);
		s_set(&s, 3, 0);
		s_store(&s, 3, 8, VA_DATA + 8 * i);
	}
	run(b, &s);
	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(data(b)[i], cases[i].taken);
	bench_free(b);
}

static void test_memory(void **state)
{
	struct bench *b = setup();
	struct stream s = { .size = 0 };

	(void)state;
	data(b)[0] = 0xfedcba9887654321ull;
	s_load(&s, 1, 8, 0, VA_DATA);
	s_load(&s, 2, 4, 0, VA_DATA);
	s_load(&s, 3, 4, NPU_MEM_SIGNED, VA_DATA);
	s_store(&s, 1, 8, VA_DATA + 8);
	s_store(&s, 2, 8, VA_DATA + 16);
	s_store(&s, 3, 8, VA_DATA + 24);
	s_store(&s, 1, 4, VA_DATA + 36);
	run(b, &s);
	assert_int_equal(data(b)[1], 0xfedcba9887654321ull);
	assert_int_equal(data(b)[2], 0x87654321ull);
	assert_int_equal(data(b)[3], 0xffffffff87654321ull);
	assert_int_equal(data(b)[4], 0x8765432100000000ull);
	s_load(&s, 1, 8, 0, VA_DATA + 4);
	run_fault(b, &s, NPU_FAULT_OPERAND_ILLEGAL);
	s_load(&s, 1, 2, 0, VA_DATA);
	run_fault(b, &s, NPU_FAULT_ENCODING);
	s_load(&s, 32, 4, 0, VA_DATA);
	run_fault(b, &s, NPU_FAULT_ENCODING);
	s_load(&s, 1, 8, NPU_MEM_SIGNED, VA_DATA);
	run_fault(b, &s, NPU_FAULT_ENCODING);
	bench_free(b);
}

/* Initial registers come from the descriptor; the others are zero. */
static void test_initial_registers(void **state)
{
	struct bench *b = setup();
	struct stream s = { .size = 0 };
	uint64_t *regs = data(b) + 512;

	(void)state;
	for (unsigned int i = 0; i < 32; i++) {
		regs[i] = 100 + i;
		s_store(&s, (uint8_t)i, 8, VA_DATA + 8 * i);
	}
	s_end(&s);
	q_push(b, 0, &s, VA_STREAM, 0);
	q_desc(b, 0, 0)->regs = VA_DATA + 4096;
	q_desc(b, 0, 0)->nregs = 20;
	q_ring(b, 0);
	assert_true(q_wait(b, 0, b->seqno));
	for (unsigned int i = 0; i < 32; i++)
		assert_int_equal(data(b)[i], i < 20 ? 100 + i : 0);
	bench_free(b);
}

static uint32_t set_regop(struct stream *s, uint64_t imm, struct npu_regop op)
{
	struct npu_cmd_set c = { .cmd = cmd(NPU_CMD_SET), .rd = 6, .imm = imm };

	return s_put(s, &c, sizeof(c), &op, 1);
}

static void test_regops(void **state)
{
	const uint16_t imm = offsetof(struct npu_cmd_set, imm);
	struct bench *b = setup();
	struct stream s = { .size = 0 };

	(void)state;
	s_set(&s, 1, 10);
	s_set(&s, 2, 7);
	set_regop(&s, 1000, (struct npu_regop){ .field = imm | NPU_REGOP_64, .ra = 1, .rb = 2, .sa = -3, .sb = 1ll << 40 });
	s_store(&s, 6, 8, VA_DATA);
	set_regop(&s, 5, (struct npu_regop){ .field = imm | NPU_REGOP_64, .ra = 2, .rb = NPU_NO_REG, .sa = -1 });
	s_store(&s, 6, 8, VA_DATA + 8);
	set_regop(&s, 5, (struct npu_regop){ .field = imm, .ra = 2, .rb = NPU_NO_REG, .sa = 2 });
	s_store(&s, 6, 8, VA_DATA + 16);
	set_regop(&s, 5, (struct npu_regop){ .field = imm | NPU_REGOP_64 | NPU_REGOP_MAX, .ra = 2, .rb = NPU_NO_REG,
					     .sa = 1, .sb = 12 });
	s_store(&s, 6, 8, VA_DATA + 24);
	run(b, &s);
	assert_int_equal(data(b)[0], 1000 - 30 + (7ull << 40));
	assert_int_equal(data(b)[1], (uint64_t)-2);
	assert_int_equal(data(b)[2], 19);
	assert_int_equal(data(b)[3], 12);
	/* The stream in memory is not changed. */
	assert_int_equal(((struct npu_cmd_set *)((uint8_t *)bus(b, b->stream_bus) + 64))->imm, 1000);

	s_set(&s, 2, 7);
	set_regop(&s, 6, (struct npu_regop){ .field = imm | NPU_REGOP_64 | NPU_REGOP_MAX, .ra = 2, .rb = NPU_NO_REG,
					     .sa = 1, .sb = 12 });
	run_fault(b, &s, NPU_FAULT_OPERAND_ILLEGAL);
	s_set(&s, 2, 7);
	set_regop(&s, 6, (struct npu_regop){ .field = imm, .ra = 2, .rb = NPU_NO_REG, .sa = -1 });
	run_fault(b, &s, NPU_FAULT_OPERAND_ILLEGAL);
	bench_free(b);
}

static void test_regop_encoding(void **state)
{
	static const struct npu_regop bad[] = {
		{ .field = 8, .ra = 1, .rb = NPU_NO_REG },			/* inside struct npu_cmd */
		{ .field = 32 | NPU_REGOP_64, .ra = 1, .rb = NPU_NO_REG },	/* behind the packet */
		{ .field = 28 | NPU_REGOP_64, .ra = 1, .rb = NPU_NO_REG },	/* misaligned */
		{ .field = 26, .ra = 1, .rb = NPU_NO_REG },
		{ .field = 24 | 1u << 12, .ra = 1, .rb = NPU_NO_REG },		/* reserved bit */
		{ .field = 24, .ra = 32, .rb = NPU_NO_REG },
		{ .field = 24, .ra = 1, .rb = 40 },
		{ .field = 24 | NPU_REGOP_MAX, .ra = 1, .rb = 2 },
	};
	struct bench *b = setup();
	struct stream s = { .size = 0 };

	(void)state;
	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		set_regop(&s, 0, bad[i]);
		s_end(&s);
		run_fault(b, &s, NPU_FAULT_ENCODING);
	}
	bench_free(b);
}

static void test_illegal_packets(void **state)
{
	struct bench *b = setup();
	struct stream s = { .size = 0 };
	struct npu_cmd c;
	uint32_t at;

	(void)state;
	s_op(&s, 0x0e);
	run_fault(b, &s, NPU_FAULT_OPCODE_ILLEGAL);
	s_op(&s, NPU_OP_RWKV);
	run_fault(b, &s, NPU_FAULT_OPCODE_ILLEGAL);
	s_op(&s, 0xffff);
	run_fault(b, &s, NPU_FAULT_OPCODE_ILLEGAL);
	c = cmd(NPU_CMD_NOP);
	c.signal = 32;
	s_put(&s, &c, sizeof(c), NULL, 0);
	run_fault(b, &s, NPU_FAULT_ENCODING);
	c = cmd(NPU_CMD_NOP);
	c.rsvd[1] = 1;
	s_put(&s, &c, sizeof(c), NULL, 0);
	run_fault(b, &s, NPU_FAULT_ENCODING);
	at = s_set(&s, 1, 0);
	((struct npu_cmd *)(s.bytes + at))->len = 1;
	run_fault(b, &s, NPU_FAULT_ENCODING);
	at = s_op(&s, NPU_CMD_NOP);
	((struct npu_cmd *)(s.bytes + at))->len = 0;
	run_fault(b, &s, NPU_FAULT_ENCODING);
	at = s_op(&s, NPU_CMD_NOP);
	((struct npu_cmd *)(s.bytes + at))->len = 65;
	s.size = 65 * 16;
	run_fault(b, &s, NPU_FAULT_ENCODING);
	at = s_op(&s, NPU_CMD_NOP);
	((struct npu_cmd *)(s.bytes + at))->nregops = 1;
	run_fault(b, &s, NPU_FAULT_ENCODING);
	/* A packet longer than what is left of the stream, and a stream without END. */
	at = s_set(&s, 1, 0);
	s.size -= 16;
	run_fault(b, &s, NPU_FAULT_STREAM);
	s_op(&s, NPU_CMD_NOP);
	run_fault(b, &s, NPU_FAULT_STREAM);
	/* Branches out of the stream, to its end, and to the middle of nowhere. */
	s_branch(&s, NPU_COND_ALWAYS, 0, 0, 0, (uint32_t)-16);
	run_fault(b, &s, NPU_FAULT_STREAM);
	s_branch(&s, NPU_COND_ALWAYS, 0, 0, 0, 32);
	run_fault(b, &s, NPU_FAULT_STREAM);
	s_branch(&s, NPU_COND_ALWAYS, 0, 0, 0, 8);
	run_fault(b, &s, NPU_FAULT_ENCODING);
	s_branch(&s, NPU_COND_COUNT, 0, 0, 0, 0);
	run_fault(b, &s, NPU_FAULT_ENCODING);
	s_alu(&s, NPU_ALU_COUNT, 0, 0, 0, 0);
	run_fault(b, &s, NPU_FAULT_ENCODING);
	s_set(&s, 32, 0);
	run_fault(b, &s, NPU_FAULT_ENCODING);
	/* Semaphores are for USER queues. */
	s_sem(&s, NPU_CMD_SEM_WAIT, VA_DATA, 1);
	run_fault(b, &s, NPU_FAULT_MODE);
	bench_free(b);
}

static void test_trap(void **state)
{
	struct npu_cmd_trap c = { .cmd = cmd(NPU_CMD_TRAP), .code = 0x1234567890ull };
	struct bench *b = setup();
	struct stream s = { .size = 0 };

	(void)state;
	s_op(&s, NPU_CMD_NOP);
	s_put(&s, &c, sizeof(c), NULL, 0);
	q_submit(b, 0, &s);
	q_expect_fault(b, 0, NPU_FAULT_TRAP);
	assert_int_equal(rd64(b, NPU_QC(0) + NPU_QC_FAULT_ADDR_LO), 0x1234567890ull);
	assert_int_equal(rd64(b, NPU_QC(0) + NPU_QC_FAULT_PC_LO), VA_STREAM + 16);
	assert_int_equal(rd(b, NPU_QC(0) + NPU_QC_FAULT_TAG), 16);
	/* No completion, no progress of the ring. */
	assert_int_equal(q_comp(b, 0, 0)->seqno, 0);
	assert_int_equal(rd(b, NPU_QU(0) + NPU_QU_HEAD), 0);
	assert_true(rd(b, NPU_QC(0) + NPU_QC_STATUS) & NPU_QSTATUS_IN_JOB);
	bench_free(b);
}

static void test_progress_and_timestamp(void **state)
{
	struct npu_cmd_progress p = { .cmd = cmd(NPU_CMD_PROGRESS), .value = 5 };
	struct npu_cmd_timestamp t = { .cmd = cmd(NPU_CMD_TIMESTAMP), .addr = VA_DATA + PAGE - 8 };
	struct bench *b = setup();
	struct stream s = { .size = 0 };
	struct npu_timestamp stamp;

	(void)state;
	s_put(&s, &p, sizeof(p), NULL, 0);
	p.value = 6;
	p.flags = NPU_PROGRESS_IRQ;
	s_put(&s, &p, sizeof(p), NULL, 0);
	s_put(&s, &t, sizeof(t), NULL, 0);
	s_end(&s);
	wr(b, NPU_IRQ_EVENT, UINT32_MAX);
	q_submit(b, 0, &s);
	npu_model_step(b->m, 1);
	assert_int_equal(rd64(b, NPU_QC(0) + NPU_QC_PROGRESS_LO), 5);
	assert_int_equal(rd(b, NPU_IRQ_EVENT), 0);
	npu_model_step(b->m, 1);
	assert_int_equal(rd64(b, NPU_QC(0) + NPU_QC_PROGRESS_LO), 6);
	assert_int_equal(rd(b, NPU_IRQ_EVENT), 1);
	assert_true(q_wait(b, 0, b->seqno));
	memcpy(&stamp, (uint8_t *)data(b) + PAGE - 8, sizeof(stamp));
	assert_int_equal(stamp.commands, 2);
	assert_int_equal(stamp.cycles, 16);
	assert_int_equal(stamp.timer, 16 / 10);	/* 1 GHz core, 100 MHz timer, synchronous mode */
	bench_free(b);
}

static void expect_bad_descriptor(struct bench *b, struct stream *s, uint64_t ring, size_t offset, uint64_t value,
				  size_t size)
{
	uint32_t at = b->tail[0];

	q_push(b, 0, s, VA_STREAM, 0);
	memcpy((uint8_t *)q_desc(b, 0, at) + offset, &value, size);
	q_ring(b, 0);
	q_expect_fault(b, 0, NPU_FAULT_DESCRIPTOR);
	assert_int_equal(NPU_FAULT_OPCODE(rd(b, NPU_QC(0) + NPU_QC_FAULT)), 0xffff);
	assert_int_equal(rd64(b, NPU_QC(0) + NPU_QC_FAULT_SEQNO_LO), b->seqno);
	assert_int_equal(rd64(b, NPU_QC(0) + NPU_QC_FAULT_ADDR_LO), ring + at % 16 * 64);
	restart(b);
}

#define BAD(field, value) \
	expect_bad_descriptor(b, s, ring, offsetof(struct npu_job_desc, field), value, \
			      sizeof(((struct npu_job_desc *)0)->field))

static void bad_descriptors(struct bench *b, struct stream *s, uint64_t ring)
{
	BAD(stream, VA_STREAM + 8);
	BAD(stream, UINT64_MAX - 15);
	BAD(stream_size, 0);
	BAD(stream_size, 24);
	BAD(stream_size, (16u << 20) + 16);
	BAD(flags, 4);
	BAD(nregs, 33);
	BAD(rsvd[0], 1);
	BAD(rsvd[2], 1ull << 63);
}

static void test_descriptors(void **state)
{
	struct bench *b = setup();
	struct stream s = { .size = 0 };

	(void)state;
	s_end(&s);
	bad_descriptors(b, &s, b->ring[0]);
	bench_free(b);
	/* A process forges them in its own ring. */
	b = bench_new(&sync_opt);
	bench_queue(b, 0, 0, NPU_QC_MODE_USER);
	bad_descriptors(b, &s, 0x40000000);
	assert_true(q_wait(b, 0, q_submit(b, 0, &s)));
	bench_free(b);
}

static void test_initial_register_faults(void **state)
{
	struct bench *b = setup();
	struct stream s = { .size = 0 };

	(void)state;
	s_end(&s);
	/* Registers at an odd place, and nowhere. */
	q_push(b, 0, &s, VA_STREAM, 0);
	q_desc(b, 0, b->tail[0] - 1)->nregs = 1;
	q_desc(b, 0, b->tail[0] - 1)->regs = VA_DATA + 4;
	q_ring(b, 0);
	q_expect_fault(b, 0, NPU_FAULT_DESCRIPTOR);
	restart(b);
	q_push(b, 0, &s, VA_STREAM, 0);
	q_desc(b, 0, b->tail[0] - 1)->nregs = 1;
	q_desc(b, 0, b->tail[0] - 1)->regs = 0x7000;
	q_ring(b, 0);
	q_expect_fault(b, 0, NPU_FAULT_TRANSLATION);
	assert_int_equal(rd64(b, NPU_QC(0) + NPU_QC_FAULT_ADDR_LO), 0x7000);
	bench_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_alu),
		cmocka_unit_test(test_branches),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_initial_registers),
		cmocka_unit_test(test_regops),
		cmocka_unit_test(test_regop_encoding),
		cmocka_unit_test(test_illegal_packets),
		cmocka_unit_test(test_trap),
		cmocka_unit_test(test_progress_and_timestamp),
		cmocka_unit_test(test_descriptors),
		cmocka_unit_test(test_initial_register_faults),
	};

	return cmocka_run_group_tests_name("model: command processor", tests, NULL, NULL);
}
