/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QEMU plugin: counts the instructions that the guest executes between two
 * markers, kernel and user apart, and where the kernel's go.
 *
 * Markers are hints that a processor executes as NOPs: HINT #96 begins an
 * interval, #97 ends it, #98 begins a new phase. Output (out=NAME, or standard
 * error), one record a line:
 *	phase				a new phase
 *	block ADDRESS INSTRUCTIONS	kernel code that ran in the interval that ends with
 *	interval KERNEL USER		its instructions
 * One virtual CPU only: two would need to be told apart.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <qemu-plugin.h>

QEMU_PLUGIN_EXPORT int qemu_plugin_version = QEMU_PLUGIN_VERSION;

#define HINT(n)		(0xd503201fu | (n) << 5)
#define KERNEL(va)	((va) >> 63)

struct block {
	uint64_t va;
	uint64_t insns;
	uint64_t count;		/* runs in this interval */
	struct block *next;	/* in touched */
};

static struct block *touched;	/* kernel blocks that ran in this interval */
static bool active;
static uint64_t kernel, user;
static FILE *out;

static void on_block(unsigned int cpu, void *data)
{
	struct block *b = data;

	(void)cpu;
	if (!active)
		return;
	if (!KERNEL(b->va)) {
		user += b->insns;
		return;
	}
	kernel += b->insns;
	if (!b->count++) {
		b->next = touched;
		touched = b;
	}
}

static void on_begin(unsigned int cpu, void *data)
{
	(void)cpu, (void)data;
	kernel = user = 0;
	active = true;
}

static void on_end(unsigned int cpu, void *data)
{
	struct block *b;

	(void)cpu, (void)data;
	if (!active)
		return;
	active = false;
	for (b = touched; b; b = b->next) {
		fprintf(out, "block %" PRIx64 " %" PRIu64 "\n", b->va, b->insns * b->count);
		b->count = 0;
	}
	touched = NULL;
	fprintf(out, "interval %" PRIu64 " %" PRIu64 "\n", kernel, user);
}

static void on_phase(unsigned int cpu, void *data)
{
	(void)cpu, (void)data;
	fprintf(out, "phase\n");
}

static qemu_plugin_vcpu_udata_cb_t marker(uint32_t insn)
{
	switch (insn) {
	case HINT(96): return on_begin;
	case HINT(97): return on_end;
	case HINT(98): return on_phase;
	}
	return NULL;
}

static void on_translate(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	size_t n = qemu_plugin_tb_n_insns(tb), i;
	struct block *b = malloc(sizeof(*b));

	(void)id;
	if (!b)
		abort();
	*b = (struct block){ .va = qemu_plugin_tb_vaddr(tb), .insns = n };
	qemu_plugin_register_vcpu_tb_exec_cb(tb, on_block, QEMU_PLUGIN_CB_NO_REGS, b);
	for (i = 0; i < n; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		qemu_plugin_vcpu_udata_cb_t cb;
		uint32_t word = 0;

		qemu_plugin_insn_data(insn, &word, sizeof(word));
		cb = marker(word);
		if (cb)
			qemu_plugin_register_vcpu_insn_exec_cb(insn, cb, QEMU_PLUGIN_CB_NO_REGS, NULL);
	}
}

static void on_unload(qemu_plugin_id_t id, void *data)
{
	(void)id, (void)data;
	fflush(out);
}

QEMU_PLUGIN_EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv)
{
	int i;

	(void)info;
	out = stderr;
	for (i = 0; i < argc; i++) {
		if (strncmp(argv[i], "out=", 4)) {
			fprintf(stderr, "count: unknown option %s\n", argv[i]);
			return -1;
		}
		out = fopen(argv[i] + 4, "w");
		if (!out) {
			perror(argv[i] + 4);
			return -1;
		}
	}
	qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
	qemu_plugin_register_atexit_cb(id, on_unload, NULL);
	return 0;
}
