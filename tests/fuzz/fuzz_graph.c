// SPDX-License-Identifier: MIT
/*
 * Fuzz target of the graph builder: bytes become calls of its interface, with any operands and shapes. What compiles
 * is run on the software device, which looks for commands that overlap without a token. A graph that compiles
 * may only fault where values decide (an index outside its table).
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <npu/npu.h>

#include "npu_regs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_TENSORS	64u
#define STATE_BYTES	65536u

struct in {
	const uint8_t *p;
	size_t left;
};

static uint32_t take(struct in *in, uint32_t below)
{
	uint32_t v = 0;

	for (unsigned int i = 0; i < 2 && in->left; i++, in->left--)
		v = v << 8 | *in->p++;
	return below ? v % below : v;
}

static struct npu_device *dev;
static struct npu_vm *vm;
static struct npu_queue *queue;
static struct npu_buffer *state;
static bool hazard;

static void log_line(void *data, enum npu_log_level level, const char *text)
{
	(void)data;
	(void)level;
	if (strstr(text, "hazard")) {
		fprintf(stderr, "%s\n", text);
		hazard = true;
	}
}

static void must(int err)
{
	if (err)
		abort();
}

static void open_device(void)
{
	struct npu_device_options opt = { .size = sizeof(opt), .log = log_line };

	must(npu_device_open("soft:sync=1,hazards=1,isa=scalar", &opt, &dev));
	must(npu_vm_create(dev, &vm));
	must(npu_buffer_create(vm, STATE_BYTES, 0, &state));
}

struct build {
	struct npu_graph *g;
	struct npu_gtensor *t[MAX_TENSORS];
	unsigned int n;
	int scalar[8];
	unsigned int nscalars;
};

static struct npu_gtensor *any(struct build *b, struct in *in)
{
	/* Now and then none at all. */
	return b->n && take(in, 64) ? b->t[take(in, b->n)] : NULL;
}

static int any_scalar(struct build *b, struct in *in)
{
	return b->nscalars && take(in, 3) ? b->scalar[take(in, b->nscalars)] : 0;
}

static struct npu_affine any_affine(struct build *b, struct in *in, int32_t scale)
{
	struct npu_affine v = { take(in, 16) * (uint64_t)(scale ? scale : 1), any_scalar(b, in), scale, 0, 0 };

	if (take(in, 8) == 0) {
		v.b = any_scalar(b, in);
		v.sb = scale * 2;
	}
	return v;
}

/* A tensor is large enough for the splitting of commands, and small enough for attention over it to end in time. */
#define MAX_ELEMENTS	16384u

static struct npu_shape any_shape(struct build *b, struct in *in)
{
	static const uint32_t sizes[] = { 1, 2, 3, 8, 16, 32, 64, 0 };
	uint32_t elements = 1;
	struct npu_shape s;

	for (unsigned int i = 0; i < NPU_DIMS; i++) {
		s.ne[i] = i < 2 || !take(in, 4) ? sizes[take(in, 8)] : 1;
		if (s.ne[i] * elements > MAX_ELEMENTS)
			s.ne[i] = 1;
		elements *= s.ne[i];
		s.dyn[i] = take(in, 6) ? 0 : any_scalar(b, in);
	}
	return s;
}

static void keep(struct build *b, struct npu_gtensor *t)
{
	if (t && b->n < MAX_TENSORS)
		b->t[b->n++] = t;
}

static enum npu_type any_type(struct in *in)
{
	static const enum npu_type types[] = { NPU_TYPE_F32, NPU_TYPE_F32, NPU_TYPE_F16, NPU_TYPE_Q8_0, NPU_TYPE_I32,
					       NPU_TYPE_BF16, (enum npu_type)77 };

	return types[take(in, 7)];
}

static void bound(struct build *b, struct in *in)
{
	struct npu_bound d = { .name = "b", .type = any_type(in), .buffer = state, .offset = take(in, 4) * 4096 };

	d.layout = take(in, 4) ? NPU_LAYOUT_ROWS : NPU_LAYOUT_TILE16;
	d.shape = any_shape(b, in);
	/* Weights are promised to be written by nobody: give them the upper half. */
	if (take(in, 2)) {
		d.offset += STATE_BYTES / 2;
		keep(b, npu_graph_weight(b->g, &d));
	} else {
		keep(b, npu_graph_state(b->g, &d));
	}
}

static void view(struct build *b, struct in *in)
{
	struct npu_gtensor *t = any(b, in);
	uint64_t nb[NPU_DIMS] = { take(in, 9), take(in, 300), take(in, 4000), take(in, 65536) };

	switch (take(in, 5)) {
	case 0:
		keep(b, npu_graph_reshape(b->g, t, any_shape(b, in)));
		break;
	case 1:
		keep(b, npu_graph_permute(b->g, t, take(in, 4), take(in, 4), take(in, 4), take(in, 5)));
		break;
	case 2:
		keep(b, npu_graph_slice(b->g, t, take(in, 5), take(in, 32), take(in, 33)));
		break;
	case 3:
		keep(b, npu_graph_row(b->g, t, any_affine(b, in, 1)));
		break;
	default:
		keep(b, npu_graph_view(b->g, t, any_shape(b, in), take(in, 2) ? nb : NULL, any_affine(b, in, 4)));
		break;
	}
}

static void attention(struct build *b, struct in *in)
{
	struct npu_attention a = {
		.q = any(b, in), .k = any(b, in), .v = any(b, in), .pos = any_affine(b, in, 1), .window = take(in, 4),
		.causal = take(in, 2), .scale = 0.5f, .softcap = take(in, 4) ? 0 : 10, .type = any_type(in),
	};

	keep(b, npu_graph_attention(b->g, &a));
}

static void rope(struct build *b, struct in *in)
{
	struct npu_rope r = {
		.x = any(b, in), .step = any(b, in), .positions = take(in, 2) ? any(b, in) : NULL, .pos = any_affine(b, in, 1),
		.ndims = take(in, 65), .halves = take(in, 2), .mscale = 1, .type = any_type(in),
	};

	keep(b, npu_graph_rope(b->g, &r));
}

static void control(struct build *b, struct in *in)
{
	switch (take(in, 9)) {
	case 0:
		npu_graph_loop_begin(b->g, npu_const(take(in, 3)));
		break;
	case 1:
		npu_graph_loop_end(b->g);
		break;
	case 2:
		npu_graph_skip_begin(b->g, any_scalar(b, in), (enum npu_cond)take(in, 8), take(in, 4));
		break;
	case 3:
		npu_graph_skip_end(b->g);
		break;
	case 4:
		npu_graph_progress(b->g, any_affine(b, in, 1), take(in, 2));
		break;
	case 5:
		npu_graph_store(b->g, any(b, in), any_affine(b, in, 1));
		break;
	case 6:
		npu_graph_loop_break(b->g, any_scalar(b, in), (enum npu_cond)take(in, 8), take(in, 4));
		break;
	case 7:
		npu_graph_timestamp(b->g, any(b, in));
		break;
	default:
		npu_graph_scope(b->g, take(in, 2) ? "scope" : NULL);
		break;
	}
}

static void operation(struct build *b, struct in *in)
{
	struct npu_gtensor *second = NULL;
	char name[16];

	switch (take(in, 22)) {
	case 0: case 1:
		keep(b, npu_graph_matmul(b->g, any(b, in), any(b, in), take(in, 3) ? NULL : any(b, in), any_type(in)));
		break;
	case 2:
		keep(b, npu_graph_matmul_add(b->g, any(b, in), any(b, in), any(b, in), NULL));
		break;
	case 3:
		attention(b, in);
		break;
	case 4:
		rope(b, in);
		break;
	case 5:
		keep(b, npu_graph_rms_norm(b->g, any(b, in), take(in, 2) ? any(b, in) : NULL, 1e-5f, any_type(in)));
		break;
	case 6:
		keep(b, npu_graph_softmax(b->g, any(b, in), take(in, 2) ? any(b, in) : NULL, 1));
		break;
	case 7:
		keep(b, npu_graph_glu(b->g, (enum npu_glu_kind)take(in, 6), any(b, in), any(b, in), any_type(in)));
		break;
	case 8: case 9:
		keep(b, npu_graph_unary(b->g, (enum npu_unary_kind)take(in, 22), any(b, in), 1, 2, any_type(in)));
		break;
	case 10: case 11:
		keep(b, npu_graph_binary(b->g, (enum npu_binary_kind)take(in, 7), any(b, in), any(b, in), any_type(in)));
		break;
	case 12:
		keep(b, npu_graph_reduce(b->g, (enum npu_reduce_kind)take(in, 6), any(b, in)));
		break;
	case 13:
		keep(b, npu_graph_topk(b->g, any(b, in), take(in, 9), &second));
		keep(b, second);
		break;
	case 14:
		keep(b, npu_graph_convert(b->g, any(b, in), any_type(in)));
		break;
	case 15: case 16:
		keep(b, npu_graph_copy(b->g, any(b, in), any(b, in)));
		break;
	case 17:
		keep(b, npu_graph_gather(b->g, any(b, in), any(b, in), any_type(in)));
		break;
	case 18:
		keep(b, npu_graph_fill(b->g, any(b, in), 3));
		break;
	case 19:
		snprintf(name, sizeof(name), "out%u", b->n);
		keep(b, npu_graph_output(b->g, name, any(b, in)));
		break;
	case 20:
		keep(b, npu_graph_argmax(b->g, any(b, in)));
		break;
	default:
		keep(b, npu_graph_scatter(b->g, any(b, in), any(b, in), any(b, in)));
		break;
	}
}

static void show(struct npu_program *p)
{
	uint32_t bytes, at = 0;
	const void *stream = npu_program_stream(p, &bytes);
	char line[1024];
	int len = 1;

	while (at < bytes && len > 0) {
		len = npu_disassemble(stream, bytes, at, line, sizeof(line));
		fprintf(stderr, "%06x %s\n", at, line);
		at += (uint32_t)len;
	}
}

/*
 * May values have done it? Indices of GATHER and SCATTER; a scalar above the extent it stands for (found before the command
 * reaches an engine); an offset that a scalar moved out of its buffer.
 */
static bool by_value(uint32_t fault)
{
	uint32_t op = NPU_FAULT_OPCODE(fault);

	switch (NPU_FAULT_CODE(fault)) {
	case NPU_FAULT_OPERAND_ILLEGAL:
		return op == NPU_OP_GATHER || op == NPU_OP_SCATTER || NPU_FAULT_ENGINE(fault) == NPU_ENGINE_CONTROL;
	case NPU_FAULT_TRANSLATION:
	case NPU_FAULT_PERMISSION:
		return true;
	default:
		return false;
	}
}

static void run(struct npu_program *p, struct in *in, unsigned int nargs)
{
	uint64_t args[4];
	int err;

	must(npu_queue_create(vm, NULL, &queue));
	for (unsigned int i = 0; i < nargs; i++)
		args[i] = take(in, 33);
	err = npu_program_run(p, queue, args, nargs, 10000000000ll);
	if (err == -14 /* EFAULT */) {
		struct npu_queue_status st;
		char text[256];

		must(npu_queue_status(queue, &st, sizeof(st)));
		npu_device_error(dev, text, sizeof(text));
		if (!by_value(st.fault)) {
			show(p);
			fprintf(stderr, "%s\n", text);
			abort();
		}
	}
	npu_queue_unref(queue);
	if (hazard) {
		show(p);
		abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct in in = { data, size };
	struct build b = { 0 };
	struct npu_program *p;
	unsigned int nargs;

	if (!dev)
		open_device();
	must(npu_graph_create(dev, &b.g));
	nargs = take(&in, 4);
	for (unsigned int i = 0; i < nargs; i++)
		b.scalar[b.nscalars++] = npu_graph_arg(b.g, "arg", 32);
	b.scalar[b.nscalars++] = npu_graph_let(b.g, "var", npu_scaled(nargs ? b.scalar[0] : 0, 1), 32);
	for (unsigned int i = 0; i < 3; i++)
		keep(&b, npu_graph_input(b.g, (const char *[]){ "a", "b", "c" }[i], i == 2 ? NPU_TYPE_I32 : NPU_TYPE_F32,
					 any_shape(&b, &in)));
	while (in.left > 4 && !npu_graph_status(b.g)) {
		switch (take(&in, 8)) {
		case 0:
			bound(&b, &in);
			break;
		case 1: case 2:
			view(&b, &in);
			break;
		case 3:
			control(&b, &in);
			break;
		default:
			operation(&b, &in);
			break;
		}
	}
	if (!npu_graph_compile(b.g, vm, NULL, &p)) {
		run(p, &in, nargs);
		npu_program_unref(p);
	} else if (!npu_graph_error(b.g)[0]) {
		abort();	/* an error without a text */
	}
	npu_graph_destroy(b.g);
	return 0;
}
