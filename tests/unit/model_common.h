/* SPDX-License-Identifier: MIT */
/*
 * A bench for device-level tests: a model on a RAM of its own, page tables, a
 * stream builder, and a queue that is ready to run.
 */
#ifndef TESTS_MODEL_COMMON_H
#define TESTS_MODEL_COMMON_H

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "npu_isa.h"
#include "npu_model.h"
#include "npu_regs.h"

#define RAM_BASE	0x80000000ull
#define RAM_SIZE	(64ull << 20)
#define PAGE		4096ull

/* Virtual addresses that bench_queue() sets up, in slot 0. */
#define VA_STREAM	0x10000000ull	/* 64 KiB */
#define VA_DATA		0x20000000ull	/* 1 MiB */
#define RING_LOG2	4u

struct bench {
	struct npu_model *m;
	int fd;
	uint8_t *ram;
	uint64_t next;		/* first free bus address; grows */
	bool no_fd;		/* windows without a file */
	uint64_t window_size;	/* of each window; 0 = all of RAM */

	/* Interrupt line, under lock. */
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool level;
	unsigned int rises;
	bool irq_slow;		/* the callback takes its time */

	uint64_t table[64];	/* root of each slot's tables */
	uint64_t ring[32], comp[32], image[32];
	uint32_t tail[32];
	uint64_t seqno;
	uint64_t stream_bus, data_bus;
	char log[512];
};

/* A stream under construction. */
struct stream {
	uint8_t bytes[65536];
	uint32_t size;
};

struct bench *bench_new(const struct npu_model_options *opt);
struct bench *bench_new_config(const struct npu_model_options *opt, const char *text);
void bench_free(struct bench *b);

static inline void *bus(struct bench *b, uint64_t addr)
{
	return b->ram + (addr - RAM_BASE);
}

uint64_t bench_pages(struct bench *b, unsigned int n);	/* zeroed, contiguous */

uint32_t rd(struct bench *b, uint64_t off);
uint64_t rd64(struct bench *b, uint64_t off);
void wr(struct bench *b, uint64_t off, uint32_t v);
void wr64(struct bench *b, uint64_t off, uint64_t v);

/* Address spaces. Attributes: NPU_PTE_RDONLY or 0. */
void bench_slot(struct bench *b, unsigned int slot, unsigned int va_bits);
uint64_t *bench_pte(struct bench *b, unsigned int slot, uint64_t va, unsigned int level);	/* makes tables */
void bench_map(struct bench *b, unsigned int slot, uint64_t va, uint64_t bus, uint64_t size, uint64_t attrs);
void bench_unmap(struct bench *b, unsigned int slot, uint64_t va, uint64_t size);
void as_range(struct bench *b, unsigned int slot, uint64_t va, uint64_t size);
uint32_t as_cmd(struct bench *b, unsigned int slot, uint32_t cmd);	/* waits; returns STATUS */

/* Queues. */
void bench_queue(struct bench *b, unsigned int q, unsigned int slot, uint32_t mode);	/* configured and started */
void bench_config_queue(struct bench *b, unsigned int q, unsigned int slot, uint32_t mode);	/* STOPPED */
uint32_t q_cmd(struct bench *b, unsigned int q, uint32_t cmd);		/* waits; returns STATUS */
uint32_t q_state(struct bench *b, unsigned int q);
struct npu_job_desc *q_desc(struct bench *b, unsigned int q, uint32_t index);
struct npu_completion *q_comp(struct bench *b, unsigned int q, uint32_t index);
/* Puts @s at VA @va of slot 0's stream area and a descriptor into the ring; no doorbell. Returns the seqno. */
uint64_t q_push(struct bench *b, unsigned int q, const struct stream *s, uint64_t va, uint16_t flags);
void q_ring(struct bench *b, unsigned int q);
uint64_t q_submit(struct bench *b, unsigned int q, const struct stream *s);
/* Runs (synchronous) or waits until @q has retired @seqno or faulted: true = retired. */
bool q_wait(struct bench *b, unsigned int q, uint64_t seqno);
void q_expect_fault(struct bench *b, unsigned int q, uint32_t code);

/* Packets. Each returns its byte offset in the stream. */
uint32_t s_put(struct stream *s, const void *packet, size_t size, const struct npu_regop *ops, unsigned int n);
uint32_t s_op(struct stream *s, uint16_t opcode);	/* bare packet */
uint32_t s_set(struct stream *s, uint8_t rd, uint64_t imm);
uint32_t s_alu(struct stream *s, uint8_t op, uint8_t rd, uint8_t ra, uint8_t rb, uint64_t imm);
uint32_t s_load(struct stream *s, uint8_t reg, uint8_t size, uint8_t flags, uint64_t addr);
uint32_t s_store(struct stream *s, uint8_t reg, uint8_t size, uint64_t addr);
uint32_t s_branch(struct stream *s, uint8_t cond, uint8_t ra, uint8_t rb, uint64_t imm, uint32_t target);
uint32_t s_loop(struct stream *s, uint8_t ra, uint32_t target);
uint32_t s_sem(struct stream *s, uint16_t opcode, uint64_t addr, uint64_t value);
uint32_t s_end(struct stream *s);
/* dst = src + 1 over @n F32 elements at VAs (UNARY SCALE by 1, plus 1). */
uint32_t s_inc(struct stream *s, uint64_t dst, uint64_t src, uint32_t n, uint32_t wait, uint8_t signal);
uint32_t s_fill(struct stream *s, uint64_t dst, uint32_t n, float value, uint32_t wait, uint8_t signal);
struct npu_tensor f32(uint64_t addr, uint32_t ne0, uint32_t ne1);

static inline struct npu_cmd cmd(uint16_t opcode)
{
	return (struct npu_cmd){ .opcode = opcode, .signal = NPU_NO_TOKEN };
}

#endif
