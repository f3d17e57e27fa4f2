// SPDX-License-Identifier: MIT
/*
 * The model's device core: cost per command, per job, and what scattered
 * memory costs an operand.
 *
 *   bench_model [threads]
 *
 * Streams are replayed from one queue of a threaded model; each figure is the
 * best of three runs. Costs of commands are CPU time of the process, which a busy
 * machine changes less than wall time; with more than one thread idle workers'
 * spinning is in them.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "npu_isa.h"
#include "npu_model.h"
#include "npu_regs.h"
#include "peaks.h"

#define RAM_BASE	0x80000000ull
#define RAM_SIZE	(192ull << 20)
#define PAGE		4096ull
#define VA_STREAM	0x10000ull
#define VA_DATA		0x100000ull		/* small operands */
#define VA_SRC		0x40000000ull		/* 8 MiB, contiguous on the bus */
#define VA_SCATTERED	0x50000000ull		/* the same pages of another 16 MiB, every other one, backwards */
#define BIG		(6ull << 20)
#define VA_WEIGHTS	0x60000000ull		/* contiguous on the bus */
#define VA_SCATTERED_WEIGHTS 0x70000000ull	/* other pages, every other one, backwards */
#define K		4096u
#define MAX_N		11264u			/* 48 MB of Q8_0, more than the last cache holds */
#define WEIGHTS		((MAX_N * (K / 32) * 34 + PAGE - 1) / PAGE * PAGE)
#define LOOPS		100000u

static uint8_t *ram;
static int ram_fd;
static bool hide_fd;
static struct npu_model *m;
static uint64_t next_page = RAM_BASE + PAGE;
static uint32_t tail[2];

static int window(void *host, uint64_t bus, struct npu_model_window *out)
{
	(void)host;
	if (bus < RAM_BASE || bus >= RAM_BASE + RAM_SIZE)
		return -EFAULT;
	*out = (struct npu_model_window){ .bus = RAM_BASE, .size = RAM_SIZE, .host = ram,
					  .fd = hide_fd ? -1 : ram_fd, .writable = true };
	return 0;
}

static void irq(void *host, bool level)
{
	(void)host;
	(void)level;
}

static clockid_t timebase = CLOCK_PROCESS_CPUTIME_ID;

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(timebase, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static void *at(uint64_t bus)
{
	return ram + (bus - RAM_BASE);
}

static uint64_t pages(uint64_t bytes)
{
	uint64_t p = next_page;

	next_page += bytes;
	return p;
}

static void map_page(uint64_t va, uint64_t bus)
{
	uint64_t *table = at(RAM_BASE);

	for (unsigned int level = 1; level < 3; level++) {
		uint64_t *e = &table[va >> (39 - 9 * level) & 511];

		if (!*e)
			*e = pages(PAGE) | NPU_PTE_VALID | NPU_PTE_TABLE;
		table = at(*e & NPU_PTE_ADDR_MASK);
	}
	table[va >> 12 & 511] = bus | NPU_PTE_VALID | NPU_PTE_TABLE | NPU_PTE_USER | NPU_PTE_AF;
}

static void map_range(uint64_t va, uint64_t bus, uint64_t size)
{
	for (uint64_t off = 0; off < size; off += PAGE)
		map_page(va + off, bus + off);
}

static uint64_t ring[2], comp[2], stream;

static void setup(unsigned int threads)
{
	const struct npu_model_bus bus = { .window = window, .irq = irq };
	struct npu_model_options o = { .size = sizeof(o), .config = "large", .threads = threads };
	char err[200];
	uint64_t big, as = NPU_MMU_BASE + NPU_AS(0);

	memset(ram, 0, RAM_SIZE);
	next_page = RAM_BASE + PAGE;
	tail[0] = tail[1] = 0;
	if (npu_model_create(&bus, NULL, &o, &m, err, sizeof(err))) {
		fprintf(stderr, "bench_model: %s\n", err);
		exit(1);
	}
	for (unsigned int q = 0; q < 2; q++) {
		ring[q] = pages(PAGE);
		comp[q] = pages(PAGE);
	}
	stream = pages(4 * PAGE);
	map_range(VA_STREAM, stream, 4 * PAGE);
	map_range(VA_DATA, pages(16 * PAGE), 16 * PAGE);
	map_range(VA_SRC, pages(BIG), BIG);
	big = pages(2 * BIG);
	for (uint64_t i = 0; i < BIG / PAGE; i++)
		map_page(VA_SCATTERED + i * PAGE, big + 2 * (BIG / PAGE - 1 - i) * PAGE);
	map_range(VA_WEIGHTS, pages(WEIGHTS), WEIGHTS);
	big = pages(2 * WEIGHTS);
	for (uint64_t i = 0; i < WEIGHTS / PAGE; i++)
		map_page(VA_SCATTERED_WEIGHTS + i * PAGE, big + 2 * (WEIGHTS / PAGE - 1 - i) * PAGE);
	npu_model_write(m, as + NPU_AS_TABLE_LO, RAM_BASE, 8);
	npu_model_write(m, as + NPU_AS_CFG, NPU_AS_CFG_ENABLE | NPU_AS_CFG_VA_BITS(39), 4);
	npu_model_write(m, as + NPU_AS_CMD, NPU_AS_CMD_UPDATE, 4);
	for (unsigned int q = 0; q < 2; q++) {
		npu_model_write(m, NPU_QC(q) + NPU_QC_RING_LO, ring[q], 8);
		npu_model_write(m, NPU_QC(q) + NPU_QC_COMP_LO, comp[q], 8);
		npu_model_write(m, NPU_QC(q) + NPU_QC_RING_LOG2, 6, 4);
		npu_model_write(m, NPU_QC(q) + NPU_QC_CMD, NPU_QCMD_START, 4);
	}
}

static uint32_t stream_size;

static void put(void *packet, size_t size)
{
	struct npu_cmd *c = packet;

	c->len = (uint8_t)(size / NPU_PACKET_ALIGN);
	c->signal = NPU_NO_TOKEN;
	memcpy((uint8_t *)at(stream) + stream_size, packet, size);
	stream_size += (uint32_t)size;
}

static struct npu_tensor f32(uint64_t addr, uint64_t n)
{
	return (struct npu_tensor){ .addr = addr, .ne = { (uint32_t)n, 1, 1, 1 }, .nb = { 4, 4 * n, 4 * n, 4 * n } };
}

/* @loops times one packet (none with size 0), in a loop of its own. */
static void build(void *packet, size_t size, uint32_t loops)
{
	struct npu_cmd_set set = { .cmd.opcode = NPU_CMD_SET, .rd = 1, .imm = loops };
	struct npu_cmd_branch loop = { .cmd.opcode = NPU_CMD_LOOP, .ra = 1, .rb = NPU_NO_REG,
				       .offset = -(int32_t)size };
	struct npu_cmd end = { .opcode = NPU_CMD_END };

	stream_size = 0;
	put(&set, sizeof(set));
	if (size)
		put(packet, size);
	put(&loop, sizeof(loop));
	put(&end, sizeof(end));
}

static void push(unsigned int q)
{
	struct npu_job_desc *d = (struct npu_job_desc *)at(ring[q]) + (tail[q] & 63);

	*d = (struct npu_job_desc){ .stream = VA_STREAM, .stream_size = stream_size, .seqno = ++tail[q] };
	npu_model_write(m, NPU_QU(q) + NPU_QU_DOORBELL, tail[q], 4);
}

static bool retired(unsigned int q)
{
	if (NPU_QSTATE(npu_model_read(m, NPU_QC(q) + NPU_QC_STATUS, 4)) == NPU_QSTATE_FAULTED) {
		fprintf(stderr, "bench_model: fault 0x%08x at 0x%llx\n",
			(unsigned int)npu_model_read(m, NPU_QC(q) + NPU_QC_FAULT, 4),
			(unsigned long long)npu_model_read(m, NPU_QC(q) + NPU_QC_FAULT_ADDR_LO, 8));
		exit(1);
	}
	return npu_model_read(m, NPU_QU(q) + NPU_QU_SEQNO_LO, 8) == tail[q];
}

/* @jobs one after the other on queue 0, and beside each one on queue 1 if @both. */
static double submit(uint32_t jobs, bool both)
{
	double t = seconds();

	for (uint32_t i = 0; i < jobs; i++) {
		push(0);
		if (both)
			push(1);
		while (!retired(0) || (both && !retired(1)))
			if (jobs == 1)
				usleep(200);
	}
	return seconds() - t;
}

static double best(uint32_t jobs, bool both)
{
	double b = 1e9;

	for (unsigned int i = 0; i < 3; i++) {
		double t = submit(jobs, both);

		if (t < b)
			b = t;
	}
	return b;
}

static void small_commands(void)
{
	struct npu_cmd_map inc = { .cmd.opcode = NPU_OP_UNARY, .kind = NPU_UNARY_SCALE, .p0 = 1, .p1 = 1 };
	struct npu_cmd_map copy = { .cmd.opcode = NPU_OP_COPY };
	struct npu_cmd_binary add = { .cmd.opcode = NPU_OP_BINARY, .kind = NPU_BINARY_ADD };
	double loop, t;

	build(NULL, 0, LOOPS);
	loop = best(1, false) / LOOPS;
	printf("control packet            %8.0f ns\n", loop * 1e9);
	inc.dst = inc.src = f32(VA_DATA, 4);
	build(&inc, sizeof(inc), LOOPS);
	t = best(1, false) / LOOPS - loop;
	printf("UNARY of 4 elements       %8.0f ns\n", t * 1e9);
	t = best(1, true) / (2 * LOOPS) - loop;
	printf("the same, of two queues   %8.0f ns, with the control packet's arbitration\n", t * 1e9);
	copy.dst = f32(VA_DATA, 4);
	copy.src = f32(VA_DATA + 64, 4);
	build(&copy, sizeof(copy), LOOPS);
	t = best(1, false) / LOOPS - loop;
	printf("COPY of 4 elements        %8.0f ns\n", t * 1e9);
	add.dst = f32(VA_DATA, 4);
	add.a = f32(VA_DATA + 64, 4);
	add.b = f32(VA_DATA + 128, 4);
	build(&add, sizeof(add), LOOPS);
	t = best(1, false) / LOOPS - loop;
	printf("BINARY of 4 elements      %8.0f ns\n", t * 1e9);
}

static void copies(const char *what, uint64_t va)
{
	struct npu_cmd_map copy = { .cmd.opcode = NPU_OP_COPY };
	double t;

	copy.dst = f32(VA_SRC, BIG / 8);
	copy.src = f32(va, BIG / 8);
	if (va == VA_SRC)
		copy.src.addr += BIG / 2;
	build(&copy, sizeof(copy), 100);
	submit(1, false);
	t = best(1, false) / 100;
	printf("COPY of 3 MiB, %-11s %7.2f GB/s  (%llu mappings, %llu gathers)\n", what, (double)BIG / t * 1e-9,
	       (unsigned long long)npu_model_stat(m, NPU_MODEL_STAT_VIEW_MAPS),
	       (unsigned long long)npu_model_stat(m, NPU_MODEL_STAT_GATHERS));
}

/* Whether scattered pages may be mapped side by side; without a file they have to be collected. */
static void allow_views(bool allow)
{
	uint64_t as = NPU_MMU_BASE + NPU_AS(0);

	hide_fd = !allow;
	npu_model_bus_changed(m);
	npu_model_write(m, as + NPU_AS_CMD, NPU_AS_CMD_FLUSH_ALL, 4);
	while (npu_model_read(m, as + NPU_AS_STATUS, 4) & NPU_AS_STATUS_BUSY)
		usleep(10);
}

#define TIMES	10u

/* Bytes of weights per second of MATMUL with one row. */
static double gemv(struct npu_cmd_matmul *p, uint64_t va, bool views)
{
	double t;

	allow_views(views);
	p->w.addr = va;
	build(p, sizeof(*p), TIMES);
	submit(1, false);
	t = submit(1, false);
	return TIMES * (double)p->w.nb[2] / t;
}

/* The same weights where they are contiguous, where they are mapped side by side, and collected from their pages. */
static void gemvs(unsigned int type, unsigned int layout, const char *name, uint32_t block, uint32_t bytes, double peak)
{
	uint64_t row = (uint64_t)K / block * bytes;
	uint32_t n = (uint32_t)(WEIGHTS / row) / 16 * 16;
	struct npu_cmd_matmul p = { .cmd.opcode = NPU_OP_MATMUL, .dst = f32(VA_SRC, n), .x = f32(VA_SRC + BIG / 2, K) };
	double direct = 0, viewed = 0, gathered = 0;

	p.w = (struct npu_tensor){ .ne = { K, n, 1, 1 }, .nb = { bytes, row, row * n, row * n }, .type = (uint8_t)type,
				   .layout = (uint8_t)layout };
	for (unsigned int i = 0; i < 5; i++) {
		double d = gemv(&p, VA_WEIGHTS, true), v = gemv(&p, VA_SCATTERED_WEIGHTS, true);
		double g = gemv(&p, VA_SCATTERED_WEIGHTS, false);

		direct = d > direct ? d : direct;
		viewed = v > viewed ? v : viewed;
		gathered = g > gathered ? g : gathered;
	}
	printf("GEMV %4s %-5s %2.0f MiB  contiguous %6.2f GB/s (%3.0f %%)  viewed %6.2f (%3.0f %%)  "
	       "gathered %6.2f (%3.0f %%)\n", name, layout ? "tiles" : "rows", (double)(row * n) / (1 << 20),
	       direct * 1e-9, 100 * direct / peak, viewed * 1e-9, 100 * viewed / peak, gathered * 1e-9,
	       100 * gathered / peak);
}

static void scattered_gemv(unsigned int threads)
{
	struct npu_pool_options o = { .threads = threads };
	struct npu_pool *pool;
	double peak = 0;

	if (npu_pool_create(&o, &pool))
		exit(1);
	for (unsigned int i = 0; i < 3; i++) {
		double p = peak_read(pool, ram + RAM_SIZE / 2, RAM_SIZE / 2);

		peak = p > peak ? p : peak;
	}
	npu_pool_destroy(pool);
	printf("read bandwidth            %8.2f GB/s; shares below are of it\n", peak * 1e-9);
	for (unsigned int layout = 0; layout < 2; layout++) {
		gemvs(NPU_TYPE_Q8_0, layout, "Q8_0", 32, 34, peak);
		gemvs(NPU_TYPE_Q4_0, layout, "Q4_0", 32, 18, peak);
		gemvs(NPU_TYPE_F16, layout, "F16", 1, 2, peak);
	}
}

int main(int argc, char **argv)
{
	unsigned int threads = argc > 1 ? (unsigned int)atoi(argv[1]) : 1;

	ram_fd = memfd_create("bench-ram", MFD_CLOEXEC);
	if (ram_fd < 0 || ftruncate(ram_fd, (off_t)RAM_SIZE))
		return 1;
	ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, ram_fd, 0);
	if (ram == MAP_FAILED)
		return 1;
	setup(threads);
	small_commands();
	timebase = CLOCK_MONOTONIC;
	build(NULL, 0, 1);
	printf("job, doorbell to seqno    %8.0f ns\n", best(1000, false) / 1000 * 1e9);
	copies("contiguous", VA_SRC);
	copies("viewed", VA_SCATTERED);
	allow_views(false);
	copies("gathered", VA_SCATTERED);
	scattered_gemv(threads);
	npu_model_destroy(m);
	return 0;
}
