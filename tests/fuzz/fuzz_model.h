/* SPDX-License-Identifier: MIT */
/* A model for fuzzing: synchronous, on 1 MiB of RAM, with small bounds so that no command takes long. */
#ifndef FUZZ_MODEL_H
#define FUZZ_MODEL_H

#define _GNU_SOURCE
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "npu_isa.h"
#include "npu_model.h"
#include "npu_regs.h"

#define RAM_BASE	0x80000000ull
#define RAM_SIZE	(1ull << 20)
#define PAGE		4096ull

static uint8_t *ram;
static int ram_fd;
static struct npu_model *model;
static bool hide_fd;

static int window(void *host, uint64_t bus, struct npu_model_window *out)
{
	(void)host;
	if (bus < RAM_BASE || bus >= RAM_BASE + RAM_SIZE)
		return -EFAULT;
	*out = (struct npu_model_window){ .bus = RAM_BASE, .size = RAM_SIZE, .host = ram, .fd = hide_fd ? -1 : ram_fd,
					  .writable = true };
	return 0;
}

static void irq(void *host, bool level)
{
	(void)host;
	(void)level;
}

static const char config[] =
	"name fuzz\nproduct 9\nqueues 4\nslots 8\nva_bits 48\nbus_bits 40\nring_log2 6\ncore_khz 1000000\n"
	"timer_hz 100000000\nmax_stream 65536\nmax_macs 1048576\nmax_bytes 65536\nmacs_i8 1024\nmacs_f16 512\n"
	"macs_f32 256\nlanes 128\ncopy_bytes 64\nsram_kb 64\nsram_bytes 256\nsram_reuse 16\ndram_mbps 17000\n"
	"dram_latency_ns 120\ncommand_cycles 64\ncontrol_cycles 8\n";

static inline void fuzz_model_init(void)
{
	const struct npu_model_bus bus = { .window = window, .irq = irq };
	struct npu_model_options o = { .size = sizeof(o), .synchronous = true, .check_hazards = true };
	char path[] = "/tmp/npu-fuzz-XXXXXX", err[200];
	int fd;

	if (model)
		return;
	ram_fd = memfd_create("npu-fuzz-ram", MFD_CLOEXEC);
	fd = mkstemp(path);
	if (ram_fd < 0 || fd < 0 || ftruncate(ram_fd, RAM_SIZE) || write(fd, config, strlen(config)) < 0)
		abort();
	ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, ram_fd, 0);
	if (ram == MAP_FAILED)
		abort();
	close(fd);
	o.config = path;
	if (npu_model_create(&bus, NULL, &o, &model, err, sizeof(err))) {
		fprintf(stderr, "%s\n", err);
		abort();
	}
	unlink(path);
}

/* Whether scattered pages may be mapped side by side, or have to be gathered. */
static inline void fuzz_views(bool allow)
{
	if (hide_fd != allow)
		return;
	hide_fd = !allow;
	npu_model_bus_changed(model);
}

static inline void wr(uint64_t off, uint32_t v)
{
	npu_model_write(model, off, v, 4);
}

static inline uint32_t rd(uint64_t off)
{
	return (uint32_t)npu_model_read(model, off, 4);
}

static inline void put64(uint64_t at, uint64_t v)
{
	memcpy(ram + at, &v, 8);
}

/*
 * RAM layout: 0x0000 root, 0x1000, 0x2000, 0x3000 tables; 0x4000 ring, 0x5000
 * completions, 0x6000 image; data from 0x10000. Slot 0 maps VA 0x10000 + n pages
 * to data: most in order, some swapped, read-only, absent; VA 0x4000 to 0x6000 to
 * the ring and completions.
 */
static inline void fuzz_tables(void)
{
	const uint64_t leaf = NPU_PTE_VALID | NPU_PTE_TABLE | NPU_PTE_USER | NPU_PTE_AF;

	memset(ram, 0, 0x10000);
	put64(0, (RAM_BASE + 0x1000) | NPU_PTE_VALID | NPU_PTE_TABLE);
	put64(0x1000, (RAM_BASE + 0x2000) | NPU_PTE_VALID | NPU_PTE_TABLE);
	put64(0x2000, (RAM_BASE + 0x3000) | NPU_PTE_VALID | NPU_PTE_TABLE);
	put64(0x2008, RAM_BASE | NPU_PTE_VALID | NPU_PTE_USER | NPU_PTE_AF);	/* a block, at VA 2 MiB */
	for (uint64_t i = 4; i < 7; i++)
		put64(0x3000 + i * 8, (RAM_BASE + i * PAGE) | leaf);
	for (uint64_t i = 16; i < 256; i++) {
		uint64_t page = i % 16 == 3 ? i + 1 : i % 16 == 4 ? i - 1 : i;

		if (i % 32 != 31)
			put64(0x3000 + i * 8, (RAM_BASE + page * PAGE) | leaf | (i % 32 == 30 ? NPU_PTE_RDONLY : 0));
	}
}

static inline void fuzz_slot(unsigned int slot)
{
	uint64_t as = NPU_MMU_BASE + NPU_AS(slot);

	npu_model_write(model, as + NPU_AS_TABLE_LO, RAM_BASE, 8);
	wr(as + NPU_AS_CFG, NPU_AS_CFG_ENABLE | NPU_AS_CFG_VA_BITS(48));
	wr(as + NPU_AS_CMD, NPU_AS_CMD_UPDATE);
}

static inline void fuzz_queue(unsigned int q, uint32_t mode)
{
	wr(NPU_QC(q) + NPU_QC_MODE, mode);
	npu_model_write(model, NPU_QC(q) + NPU_QC_RING_LO, mode ? 0x4000 : RAM_BASE + 0x4000, 8);
	npu_model_write(model, NPU_QC(q) + NPU_QC_COMP_LO, mode ? 0x5000 : RAM_BASE + 0x5000, 8);
	npu_model_write(model, NPU_QC(q) + NPU_QC_IMAGE_LO, RAM_BASE + 0x6000, 8);
	wr(NPU_QC(q) + NPU_QC_RING_LOG2, 4);
	wr(NPU_QC(q) + NPU_QC_BUDGET_US, 20);
	wr(NPU_QC(q) + NPU_QC_BLOCK_US, 300);
	wr(NPU_QC(q) + NPU_QC_CMD, NPU_QCMD_START);
}

/* Whatever happened, a cold reset gives a device as new. */
static inline void fuzz_check_reset(void)
{
	npu_model_inject_clear(model);
	npu_model_set_clock(model, true);
	npu_model_set_power(model, true);
	npu_model_reset(model);
	if (rd(NPU_ID) != NPU_ID_VALUE || rd(NPU_STATUS) != NPU_STATUS_READY)
		abort();
	for (unsigned int q = 0; q < 4; q++)
		if (rd(NPU_QC(q) + NPU_QC_STATUS) != NPU_QSTATE_STOPPED)
			abort();
	if (npu_model_stat(model, NPU_MODEL_STAT_VIEW_MAPS))
		abort();
}

#endif
