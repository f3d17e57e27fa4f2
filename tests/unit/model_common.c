// SPDX-License-Identifier: MIT
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "model_common.h"

/* ---- Bus ------------------------------------------------------------------- */

static int bus_window(void *host, uint64_t addr, struct npu_model_window *out)
{
	struct bench *b = host;
	uint64_t size = b->window_size ? b->window_size : RAM_SIZE, off;

	if (addr < RAM_BASE || addr >= RAM_BASE + RAM_SIZE)
		return -EFAULT;
	off = (addr - RAM_BASE) / size * size;
	out->bus = RAM_BASE + off;
	out->size = size;
	out->host = b->ram + off;
	out->fd = b->no_fd ? -1 : b->fd;
	out->fd_offset = off;
	out->writable = true;
	return 0;
}

static void bus_irq(void *host, bool level)
{
	struct bench *b = host;
	bool slow;

	pthread_mutex_lock(&b->lock);
	if (level && !b->level)
		b->rises++;
	b->level = level;
	slow = b->irq_slow;
	pthread_cond_broadcast(&b->cond);
	pthread_mutex_unlock(&b->lock);
	if (slow)
		usleep(20);
}

static void bus_log(void *host, const char *text)
{
	struct bench *b = host;

	pthread_mutex_lock(&b->lock);
	snprintf(b->log, sizeof(b->log), "%s", text);
	pthread_mutex_unlock(&b->lock);
}

struct bench *bench_new(const struct npu_model_options *opt)
{
	struct npu_model_bus ops = { .window = bus_window, .irq = bus_irq };
	struct npu_model_options o = { .size = sizeof(o) };
	struct bench *b = calloc(1, sizeof(*b));
	char err[256];

	assert_non_null(b);
	b->fd = memfd_create("npu-test-ram", MFD_CLOEXEC);
	assert_true(b->fd >= 0);
	assert_int_equal(ftruncate(b->fd, RAM_SIZE), 0);
	b->ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, b->fd, 0);
	assert_true(b->ram != MAP_FAILED);
	b->next = RAM_BASE;
	pthread_mutex_init(&b->lock, NULL);
	pthread_cond_init(&b->cond, NULL);
	if (opt)
		o = *opt;
	if (!o.threads)
		o.threads = 1;
	o.log = bus_log;
	if (npu_model_create(&ops, b, &o, &b->m, err, sizeof(err)))
		fail_msg("npu_model_create: %s", err);
	return b;
}

/* With the configuration @text in a file. */
struct bench *bench_new_config(const struct npu_model_options *opt, const char *text)
{
	struct npu_model_options o = opt ? *opt : (struct npu_model_options){ .size = sizeof(o) };
	char path[] = "/tmp/npu-conf-XXXXXX";
	int fd = mkstemp(path);
	struct bench *b;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	o.config = path;
	b = bench_new(&o);
	unlink(path);
	return b;
}

void bench_free(struct bench *b)
{
	npu_model_destroy(b->m);
	munmap(b->ram, RAM_SIZE);
	close(b->fd);
	pthread_mutex_destroy(&b->lock);
	pthread_cond_destroy(&b->cond);
	free(b);
}

uint64_t bench_pages(struct bench *b, unsigned int n)
{
	uint64_t at = b->next;

	b->next += n * PAGE;
	assert_true(b->next <= RAM_BASE + RAM_SIZE);
	memset(bus(b, at), 0, n * PAGE);
	return at;
}

/* ---- Registers ------------------------------------------------------------------ */

uint32_t rd(struct bench *b, uint64_t off)
{
	return (uint32_t)npu_model_read(b->m, off, 4);
}

uint64_t rd64(struct bench *b, uint64_t off)
{
	return npu_model_read(b->m, off, 8);
}

void wr(struct bench *b, uint64_t off, uint32_t v)
{
	npu_model_write(b->m, off, v, 4);
}

void wr64(struct bench *b, uint64_t off, uint64_t v)
{
	npu_model_write(b->m, off, v, 8);
}

/* ---- Address spaces ---------------------------------------------------------------- */

static unsigned int root_level[64];

void bench_slot(struct bench *b, unsigned int slot, unsigned int va_bits)
{
	uint64_t as = NPU_MMU_BASE + NPU_AS(slot);

	b->table[slot] = bench_pages(b, 1);
	root_level[slot] = va_bits > 39 ? 0 : 1;
	wr64(b, as + NPU_AS_TABLE_LO, b->table[slot]);
	wr(b, as + NPU_AS_CFG, NPU_AS_CFG_ENABLE | NPU_AS_CFG_VA_BITS(va_bits));
	assert_int_equal(as_cmd(b, slot, NPU_AS_CMD_UPDATE), NPU_AS_STATUS_ENABLED);
}

uint64_t *bench_pte(struct bench *b, unsigned int slot, uint64_t va, unsigned int level)
{
	uint64_t *table = bus(b, b->table[slot]);

	for (unsigned int l = root_level[slot];; l++) {
		uint64_t *e = &table[va >> (39 - 9 * l) & 511];

		if (l == level)
			return e;
		if (!(*e & NPU_PTE_VALID))
			*e = bench_pages(b, 1) | NPU_PTE_TABLE | NPU_PTE_VALID;
		table = bus(b, *e & NPU_PTE_ADDR_MASK);
	}
}

void bench_map(struct bench *b, unsigned int slot, uint64_t va, uint64_t bus, uint64_t size, uint64_t attrs)
{
	for (uint64_t off = 0; off < size; off += PAGE)
		*bench_pte(b, slot, va + off, 3) = (bus + off) | attrs | NPU_PTE_VALID | NPU_PTE_TABLE |
						   NPU_PTE_USER | NPU_PTE_AF | NPU_PTE_SH_INNER |
						   NPU_PTE_ATTR(NPU_PTE_ATTR_CACHED);
}

void bench_unmap(struct bench *b, unsigned int slot, uint64_t va, uint64_t size)
{
	for (uint64_t off = 0; off < size; off += PAGE)
		*bench_pte(b, slot, va + off, 3) = 0;
}

void as_range(struct bench *b, unsigned int slot, uint64_t va, uint64_t size)
{
	wr64(b, NPU_MMU_BASE + NPU_AS(slot) + NPU_AS_RANGE_LO, va);
	wr64(b, NPU_MMU_BASE + NPU_AS(slot) + NPU_AS_RANGE_SIZE_LO, size);
}

static void nap(void)
{
	struct timespec ts = { .tv_nsec = 50000 };

	nanosleep(&ts, NULL);
}

uint32_t as_cmd(struct bench *b, unsigned int slot, uint32_t cmd)
{
	uint64_t as = NPU_MMU_BASE + NPU_AS(slot);
	uint32_t v;

	wr(b, as + NPU_AS_CMD, cmd);
	for (unsigned int i = 0; i < 100000; i++) {
		v = rd(b, as + NPU_AS_STATUS);
		if (!(v & NPU_AS_STATUS_BUSY))
			return v;
		nap();
	}
	fail_msg("MMU command %u does not end", cmd);
	return v;
}

/* ---- Queues -------------------------------------------------------------------------- */

void bench_config_queue(struct bench *b, unsigned int q, unsigned int slot, uint32_t mode)
{
	uint64_t va = 0x40000000ull + q * 0x10000ull;

	if (!b->table[slot])
		bench_slot(b, slot, 39);
	if (!b->stream_bus) {
		b->stream_bus = bench_pages(b, 16);
		b->data_bus = bench_pages(b, 256);
	}
	if (!(*bench_pte(b, slot, VA_STREAM, 3) & NPU_PTE_VALID)) {
		bench_map(b, slot, VA_STREAM, b->stream_bus, 16 * PAGE, 0);
		bench_map(b, slot, VA_DATA, b->data_bus, 256 * PAGE, 0);
	}
	b->ring[q] = bench_pages(b, 1);
	b->comp[q] = bench_pages(b, 1);
	b->image[q] = bench_pages(b, 1);
	if (mode == NPU_QC_MODE_USER) {
		bench_map(b, slot, va, b->ring[q], PAGE, 0);
		bench_map(b, slot, va + PAGE, b->comp[q], PAGE, 0);
	}
	wr(b, NPU_QC(q) + NPU_QC_MODE, mode);
	wr(b, NPU_QC(q) + NPU_QC_SLOT, slot);
	wr64(b, NPU_QC(q) + NPU_QC_RING_LO, mode ? va : b->ring[q]);
	wr64(b, NPU_QC(q) + NPU_QC_COMP_LO, mode ? va + PAGE : b->comp[q]);
	wr(b, NPU_QC(q) + NPU_QC_RING_LOG2, RING_LOG2);
	wr64(b, NPU_QC(q) + NPU_QC_IMAGE_LO, b->image[q]);
}

void bench_queue(struct bench *b, unsigned int q, unsigned int slot, uint32_t mode)
{
	bench_config_queue(b, q, slot, mode);
	assert_int_equal(q_cmd(b, q, NPU_QCMD_START), NPU_QSTATE_IDLE);
}

uint32_t q_cmd(struct bench *b, unsigned int q, uint32_t cmd)
{
	uint32_t v;

	wr(b, NPU_QC(q) + NPU_QC_CMD, cmd);
	for (unsigned int i = 0; i < 100000; i++) {
		v = rd(b, NPU_QC(q) + NPU_QC_STATUS);
		if (!(v & NPU_QSTATUS_BUSY))
			return v;
		nap();
	}
	fail_msg("queue command %u does not end, status 0x%x", cmd, v);
	return v;
}

uint32_t q_state(struct bench *b, unsigned int q)
{
	return NPU_QSTATE(rd(b, NPU_QC(q) + NPU_QC_STATUS));
}

struct npu_job_desc *q_desc(struct bench *b, unsigned int q, uint32_t index)
{
	return (struct npu_job_desc *)bus(b, b->ring[q]) + (index & ((1u << RING_LOG2) - 1));
}

struct npu_completion *q_comp(struct bench *b, unsigned int q, uint32_t index)
{
	return (struct npu_completion *)bus(b, b->comp[q]) + (index & ((1u << RING_LOG2) - 1));
}

uint64_t q_push(struct bench *b, unsigned int q, const struct stream *s, uint64_t va, uint16_t flags)
{
	struct npu_job_desc *d = q_desc(b, q, b->tail[q]);
	uint8_t *stream = (uint8_t *)bus(b, b->stream_bus) + (va - VA_STREAM);

	/* The same stream may be running. */
	if (memcmp(stream, s->bytes, s->size))
		memcpy(stream, s->bytes, s->size);
	memset(d, 0, sizeof(*d));
	d->stream = va;
	d->stream_size = s->size;
	d->flags = flags;
	d->seqno = ++b->seqno;
	d->cookie = (uint32_t)b->seqno ^ 0x5a5a;
	b->tail[q]++;
	return b->seqno;
}

void q_ring(struct bench *b, unsigned int q)
{
	wr(b, NPU_QU(q) + NPU_QU_DOORBELL, b->tail[q]);
}

uint64_t q_submit(struct bench *b, unsigned int q, const struct stream *s)
{
	uint64_t seqno = q_push(b, q, s, VA_STREAM, NPU_JOB_IRQ);

	q_ring(b, q);
	return seqno;
}

bool q_wait(struct bench *b, unsigned int q, uint64_t seqno)
{
	for (unsigned int i = 0; i < 100000; i++) {
		if (rd64(b, NPU_QU(q) + NPU_QU_SEQNO_LO) >= seqno)
			return true;
		if (q_state(b, q) == NPU_QSTATE_FAULTED)
			return false;
		if (!npu_model_step(b->m, 1000))
			nap();
	}
	fail_msg("queue %u does not retire %llu, status 0x%x", q, (unsigned long long)seqno,
		 rd(b, NPU_QC(q) + NPU_QC_STATUS));
	return false;
}

void q_expect_fault(struct bench *b, unsigned int q, uint32_t code)
{
	assert_false(q_wait(b, q, UINT64_MAX));
	assert_int_equal(NPU_FAULT_CODE(rd(b, NPU_QC(q) + NPU_QC_FAULT)), code);
	assert_true(rd(b, NPU_IRQ_FAULT) & 1u << q);
}

/* ---- Streams ---------------------------------------------------------------------------- */

uint32_t s_put(struct stream *s, const void *packet, size_t size, const struct npu_regop *ops, unsigned int n)
{
	uint32_t at = s->size;
	struct npu_cmd *c = (struct npu_cmd *)(s->bytes + at);

	assert_true(at + size + n * sizeof(*ops) <= sizeof(s->bytes));
	memcpy(c, packet, size);
	if (n)
		memcpy(s->bytes + at + size, ops, n * sizeof(*ops));
	c->len = (uint8_t)((size + n * sizeof(*ops)) / NPU_PACKET_ALIGN);
	c->nregops = (uint8_t)n;
	c->tag = at;
	s->size += (uint32_t)(size + n * sizeof(*ops));
	return at;
}

#define PUT(s, p) s_put(s, &(p), sizeof(p), NULL, 0)

uint32_t s_op(struct stream *s, uint16_t opcode)
{
	struct npu_cmd c = cmd(opcode);

	return PUT(s, c);
}

uint32_t s_end(struct stream *s)
{
	return s_op(s, NPU_CMD_END);
}

uint32_t s_set(struct stream *s, uint8_t rd, uint64_t imm)
{
	struct npu_cmd_set c = { .cmd = cmd(NPU_CMD_SET), .rd = rd, .imm = imm };

	return PUT(s, c);
}

uint32_t s_alu(struct stream *s, uint8_t op, uint8_t rd, uint8_t ra, uint8_t rb, uint64_t imm)
{
	struct npu_cmd_alu c = { .cmd = cmd(NPU_CMD_ALU), .op = op, .rd = rd, .ra = ra, .rb = rb, .imm = imm };

	return PUT(s, c);
}

static uint32_t s_mem(struct stream *s, uint16_t opcode, uint8_t reg, uint8_t size, uint8_t flags, uint64_t addr)
{
	struct npu_cmd_mem c = { .cmd = cmd(opcode), .reg = reg, .size = size, .flags = flags, .addr = addr };

	return PUT(s, c);
}

uint32_t s_load(struct stream *s, uint8_t reg, uint8_t size, uint8_t flags, uint64_t addr)
{
	return s_mem(s, NPU_CMD_LOAD, reg, size, flags, addr);
}

uint32_t s_store(struct stream *s, uint8_t reg, uint8_t size, uint64_t addr)
{
	return s_mem(s, NPU_CMD_STORE, reg, size, 0, addr);
}

uint32_t s_branch(struct stream *s, uint8_t cond, uint8_t ra, uint8_t rb, uint64_t imm, uint32_t target)
{
	struct npu_cmd_branch c = { .cmd = cmd(NPU_CMD_BRANCH), .cond = cond, .ra = ra, .rb = rb,
				    .offset = (int32_t)(target - s->size), .imm = imm };

	return PUT(s, c);
}

uint32_t s_loop(struct stream *s, uint8_t ra, uint32_t target)
{
	struct npu_cmd_branch c = { .cmd = cmd(NPU_CMD_LOOP), .ra = ra, .rb = NPU_NO_REG,
				    .offset = (int32_t)(target - s->size) };

	return PUT(s, c);
}

uint32_t s_sem(struct stream *s, uint16_t opcode, uint64_t addr, uint64_t value)
{
	struct npu_cmd_sem c = { .cmd = cmd(opcode), .addr = addr, .value = value };

	return PUT(s, c);
}

struct npu_tensor f32(uint64_t addr, uint32_t ne0, uint32_t ne1)
{
	return (struct npu_tensor){ .addr = addr, .ne = { ne0, ne1, 1, 1 },
				    .nb = { 4, ne0 * 4ull, ne0 * 4ull * ne1, ne0 * 4ull * ne1 },
				    .type = NPU_TYPE_F32 };
}

static uint32_t s_map(struct stream *s, uint16_t opcode, uint32_t kind, float p0, float p1, struct npu_tensor dst,
		      struct npu_tensor src, uint32_t wait, uint8_t signal)
{
	struct npu_cmd_map c = { .cmd = cmd(opcode), .kind = kind, .p0 = p0, .p1 = p1, .dst = dst, .src = src };

	c.cmd.wait = wait;
	c.cmd.signal = signal;
	return PUT(s, c);
}

uint32_t s_inc(struct stream *s, uint64_t dst, uint64_t src, uint32_t n, uint32_t wait, uint8_t signal)
{
	return s_map(s, NPU_OP_UNARY, NPU_UNARY_SCALE, 1.0f, 1.0f, f32(dst, n, 1), f32(src, n, 1), wait, signal);
}

uint32_t s_fill(struct stream *s, uint64_t dst, uint32_t n, float value, uint32_t wait, uint8_t signal)
{
	struct npu_tensor none = { 0 };

	return s_map(s, NPU_OP_FILL, 0, value, 0.0f, f32(dst, n, 1), none, wait, signal);
}
