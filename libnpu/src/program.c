// SPDX-License-Identifier: MIT
/* Programs: compiled graphs and their replay. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "npu_regs.h"
#include "graph.h"
#include "stream.h"

/* ---- Making ----------------------------------------------------------------------- */

void program_free(struct npu_program *p)
{
	struct npu_device *dev = p->dev;

	for (uint32_t i = 0; i < p->nheld; i++)
		npu_buffer_unref(p->held[i]);
	for (uint32_t i = 0; i < p->nios; i++)
		npu_free(dev, p->ios[i].name);
	npu_free(dev, p->held);
	npu_free(dev, p->ios);
	npu_free(dev, p->ops);
	npu_free(dev, p->strings);
	npu_free(dev, p->stream_copy);
	npu_fence_unref(p->fence);
	npu_buffer_unref(p->stream);
	npu_buffer_unref(p->arena);
	npu_buffer_unref(p->io);
	npu_vm_unref(p->vm);
	npu_free(dev, p);
	npu_device_close(dev);
}

/* Offset of a copy of @text; the same as @last's when it is the same text. -1: no memory. */
static int64_t add_string(struct npu_program *p, const char *text, const char *last, uint32_t last_at)
{
	size_t n;
	uint32_t at = p->strings_bytes;

	if (!text || !*text)
		return 0;
	if (text == last)
		return last_at;
	n = strlen(text) + 1;
	if (at + n > p->strings_room) {
		uint32_t room = p->strings_room ? 2 * p->strings_room : 4096;
		char *s;

		while (room < at + n)
			room *= 2;
		s = npu_resize(p->dev, p->strings, room);
		if (!s)
			return -1;
		p->strings = s;
		p->strings_room = room;
	}
	memcpy(p->strings + at, text, n);
	p->strings_bytes += (uint32_t)n;
	return at;
}

/* What reports and error texts need of the graph, which may be destroyed. */
static int keep_ops(struct npu_program *p, const struct npu_graph *g)
{
	const char *last = NULL;
	uint32_t last_at = 0;

	p->nops = g->nnodes;
	p->ops = npu_alloc(p->dev, (g->nnodes + 1ul) * sizeof(*p->ops));
	p->strings = npu_alloc(p->dev, 4096);
	if (!p->ops || !p->strings)
		return -ENOMEM;
	p->strings_room = 4096;
	p->strings_bytes = 1;
	for (uint32_t i = 0; i < g->nnodes; i++) {
		const struct node *n = g->nodes[i];
		struct program_op *o = &p->ops[n->id - 1];
		uint64_t packet[NPU_PACKET_MAX / 8];
		struct packet_cost cost;
		int64_t scope, weight;

		if (n->kind != NODE_OP)
			continue;
		scope = add_string(p, n->scope, last, last_at);
		weight = add_string(p, operand_weight(n->opnd), NULL, 0);
		if (scope < 0 || weight < 0)
			return -ENOMEM;
		last = n->scope;
		last_at = (uint32_t)scope;
		o->scope = (uint32_t)scope;
		o->weight = (uint32_t)weight;
		o->opcode = n->opcode;
		o->commands = (uint16_t)(n->commands > UINT16_MAX ? UINT16_MAX : n->commands);
		node_packet(n, packet);
		packet_cost(packet, &cost);
		o->macs = cost.macs;
		o->bytes = cost.bytes;
		for (unsigned int k = 0; k < PACKET_OPERANDS; k++)
			if (n->opnd[k]) {
				o->opnd[k].type = n->opnd[k]->type;
				o->opnd[k].layout = n->opnd[k]->layout;
				memcpy(o->opnd[k].ne, n->opnd[k]->ne, sizeof(o->opnd[k].ne));
			}
	}
	return 0;
}

static int keep_ios(struct npu_program *p, const struct npu_graph *g)
{
	uint32_t n = 0;

	for (struct io_entry *e = g->ios; e; e = e->next)
		n++;
	p->ios = npu_alloc(p->dev, (n + 1ul) * sizeof(*p->ios));
	if (!p->ios)
		return -ENOMEM;
	for (struct io_entry *e = g->ios; e; e = e->next) {
		struct program_io *io = &p->ios[p->nios];

		io->name = npu_alloc(p->dev, strlen(e->name) + 1);
		if (!io->name)
			return -ENOMEM;
		strcpy(io->name, e->name);
		io->offset = e->t->st->place;
		io->bytes = e->t->st->bytes;
		io->type = (enum npu_type)e->t->type;
		io->output = e->output;
		memcpy(io->ne, e->t->ne, sizeof(io->ne));
		p->nios++;
	}
	return 0;
}

static int hold_buffers(struct npu_program *p, struct npu_graph *g)
{
	uint32_t n = 0;

	for (struct storage *st = g->storages; st; st = st->next)
		n += st->buffer != NULL;
	p->held = npu_alloc(p->dev, (n + 1ul) * sizeof(*p->held));
	if (!p->held)
		return graph_fail(g, -ENOMEM, "no memory for a program");
	for (struct storage *st = g->storages; st; st = st->next) {
		if (!st->buffer)
			continue;
		if (st->buffer->vm != p->vm)
			return graph_fail(g, -EINVAL, "a bound buffer is of another address space than the program's");
		p->held[p->nheld++] = npu_buffer_ref(st->buffer);
	}
	return 0;
}

static int make_buffers(struct npu_program *p, struct npu_graph *g, const struct npu_compile_options *opt,
			const struct memory_plan *plan)
{
	uint64_t io = 0;
	int err;

	for (struct storage *st = g->storages; st; st = st->next)
		if (st->kind == STORAGE_IO && st->place + st->bytes > io)
			io = st->place + st->bytes;
	p->info.arena_bytes = plan->bytes;
	p->info.arena_lower_bound = plan->lower_bound;
	p->info.io_bytes = io;
	if (opt->arena) {
		if (opt->arena->vm != p->vm || opt->arena->size < plan->bytes)
			return graph_fail(g, opt->arena->vm != p->vm ? -EINVAL : -ENOSPC,
					  "arena: %" PRIu64 " bytes%s, %" PRIu64 " are needed", opt->arena->size,
					  opt->arena->vm != p->vm ? " of another address space" : "", plan->bytes);
		p->arena = npu_buffer_ref(opt->arena);
	} else {
		err = npu_buffer_create(p->vm, plan->bytes ? plan->bytes : 1, 0, &p->arena);
		if (err)
			return graph_fail(g, err, "no %" PRIu64 " bytes for intermediate results", plan->bytes);
	}
	err = npu_buffer_create(p->vm, io ? io : 1, NPU_BUFFER_CACHED, &p->io);
	if (!err && !npu_buffer_map(p->io))
		err = -ENOMEM;
	return err ? graph_fail(g, err, "no %" PRIu64 " bytes for inputs and outputs", io) : 0;
}

static int upload_stream(struct npu_program *p, struct npu_graph *g, const struct npu_stream *s)
{
	int err;

	p->stream_bytes = s->bytes;
	p->stream_copy = npu_alloc(p->dev, s->bytes);
	if (!p->stream_copy)
		return graph_fail(g, -ENOMEM, "no memory for a stream of %u bytes", s->bytes);
	memcpy(p->stream_copy, s->data, s->bytes);
	p->info.stream_bytes = s->bytes;
	err = npu_buffer_create(p->vm, s->bytes, NPU_BUFFER_READONLY, &p->stream);
	if (!err)
		err = npu_buffer_upload(p->stream, 0, s->data, s->bytes);
	return err ? graph_fail(g, err, "no device memory for a stream of %u bytes", s->bytes) : 0;
}

static void keep_args(struct npu_program *p, const struct npu_graph *g)
{
	for (uint32_t i = 0; i < g->nscalars; i++) {
		const struct scalar *s = &g->scalars[i];

		if (s->arg < 0)
			continue;
		p->arg_reg[s->arg] = (uint8_t)i;
		p->arg_max[s->arg] = s->max;
		memcpy(p->arg_name[s->arg], s->name, sizeof(s->name));
		p->nregs = i + 1;
		p->nargs++;
	}
}

static uint64_t weight_bytes(const struct npu_graph *g)
{
	uint64_t sum = 0;

	for (struct storage *st = g->storages; st; st = st->next)
		if (st->kind == STORAGE_BUFFER && st->readonly && st->first != UINT32_MAX)
			sum += st->bytes;
	return sum;
}

static int compile(struct npu_graph *g, struct npu_program *p, const struct npu_compile_options *opt)
{
	struct memory_plan plan;
	struct npu_stream *s;
	int err;

	if (g->current)
		return graph_fail(g, -EINVAL, "a %s has no end", g->blocks[g->current].loop ? "loop" : "skip");
	err = hold_buffers(p, g);
	graph_narrow(g);
	if (!err)
		err = graph_plan(g, &plan);
	if (!err)
		err = make_buffers(p, g, opt, &plan);
	if (err)
		return err;
	err = npu_stream_create(p->dev, &s);
	if (err)
		return graph_fail(g, err, "no memory for a stream");
	err = graph_emit(g, p, s, p->arena->va, p->io->va, opt->serial);
	if (!err)
		err = upload_stream(p, g, s);
	npu_stream_destroy(s);
	if (err)
		return err;
	keep_args(p, g);
	p->info.weight_bytes = weight_bytes(g);
	if (keep_ops(p, g) || keep_ios(p, g))
		return graph_fail(g, -ENOMEM, "no memory for a program");
	err = npu_fence_create(p->dev, &p->fence);
	return err ? graph_fail(g, err, "no fence for a program") : 0;
}

int npu_graph_compile(struct npu_graph *g, struct npu_vm *vm, const struct npu_compile_options *opt,
		      struct npu_program **out)
{
	struct npu_compile_options o = { .size = sizeof(o) };
	struct npu_program *p;
	int err;

	*out = NULL;
	err = npu_device_enter(g->dev);
	if (err)
		return err;
	if (g->status)
		return g->status;
	if (opt) {
		if (opt->size < offsetof(struct npu_compile_options, serial))
			return npu_fail(g->dev, -EINVAL, "compile options: size %zu is too small", opt->size);
		memcpy(&o, opt, opt->size < sizeof(o) ? opt->size : sizeof(o));
	}
	if (vm->dev != g->dev)
		return npu_fail(g->dev, -EINVAL, "compile: the address space is of another device");
	p = npu_alloc(g->dev, sizeof(*p));
	if (!p)
		return npu_fail(g->dev, -ENOMEM, "no memory for a program");
	p->dev = npu_device_ref(g->dev);
	p->vm = npu_vm_ref(vm);
	p->refs = 1;
	err = compile(g, p, &o);
	if (err) {
		program_free(p);
		/* What fails here does not spoil the graph: another arena or address space may do. */
		g->status = 0;
		return err;
	}
	*out = p;
	return 0;
}

struct npu_program *npu_program_ref(struct npu_program *p)
{
	atomic_fetch_add(&p->refs, 1);
	return p;
}

void npu_program_unref(struct npu_program *p)
{
	if (p && atomic_fetch_sub(&p->refs, 1) == 1)
		program_free(p);
}

struct npu_buffer *npu_program_arena(struct npu_program *p)
{
	return p->arena;
}

/* ---- Inputs and outputs ---------------------------------------------------------------- */

int npu_program_io(struct npu_program *p, const char *name, struct npu_io *io)
{
	memset(io, 0, sizeof(*io));
	for (uint32_t i = 0; i < p->nios; i++) {
		const struct program_io *x = &p->ios[i];

		if (strcmp(x->name, name))
			continue;
		io->data = (char *)npu_buffer_map(p->io) + x->offset;
		io->bytes = x->bytes;
		io->va = p->io->va + x->offset;
		io->type = x->type;
		memcpy(io->ne, x->ne, sizeof(io->ne));
		return 0;
	}
	return npu_fail(p->dev, -ENOENT, "the program has no input or output \"%s\"", name);
}

int npu_program_flush(struct npu_program *p)
{
	return npu_buffer_sync(p->io, NPU_SYNC_FOR_DEVICE, 0, p->io->size);
}

int npu_program_invalidate(struct npu_program *p)
{
	return npu_buffer_sync(p->io, NPU_SYNC_FOR_CPU, 0, p->io->size);
}

/* ---- Replay -------------------------------------------------------------------------------- */

int npu_program_submit(struct npu_program *p, struct npu_queue *queue, const struct npu_submit *submit)
{
	uint64_t regs[NPU_SCALARS] = { 0 };
	struct npu_submit s = { .size = sizeof(s) };
	struct npu_job job = { 0 };

	if (submit)
		memcpy(&s, submit, submit->size < sizeof(s) ? submit->size : sizeof(s));
	if (s.nargs != p->nargs || (s.nargs && !s.args))
		return npu_fail(p->dev, -EINVAL, "the program takes %u arguments, %u are given", p->nargs, s.nargs);
	if (queue->vm != p->vm)
		return npu_fail(p->dev, -EINVAL, "the queue is of another address space than the program");
	for (uint32_t i = 0; i < s.nargs; i++) {
		if (s.args[i] > p->arg_max[i])
			return npu_fail(p->dev, -EINVAL, "argument %u (%s) is %" PRIu64 ", at most %" PRIu64 " is possible", i,
					p->arg_name[i], s.args[i], p->arg_max[i]);
		regs[p->arg_reg[i]] = s.args[i];
	}
	job.stream = p->stream->va;
	job.stream_bytes = p->stream_bytes;
	job.nregs = p->nregs;
	job.regs = regs;
	job.budget_us = s.budget_us;
	job.waits = s.waits;
	job.nwaits = s.nwaits;
	job.signals = s.signals;
	job.nsignals = s.nsignals;
	return npu_queue_submit(queue, &job, 1);
}

/* Name the operation of a fault in the device's text. */
static int explain(struct npu_program *p, struct npu_queue *queue, int err)
{
	struct npu_queue_status st;
	char name[128], text[384];

	if ((err != -EFAULT && err != -EIO && err != -ETIMEDOUT) || npu_queue_status(queue, &st, sizeof(st)) ||
	    npu_program_op_name(p, st.fault_tag, name, sizeof(name)))
		return err;
	npu_device_error(p->dev, text, sizeof(text));
	return npu_fail(p->dev, err, "%s: %s", name, text);
}

int npu_program_run(struct npu_program *p, struct npu_queue *queue, const uint64_t *args, uint32_t nargs,
		    int64_t timeout_ns)
{
	struct npu_point done = { p->fence, p->fence_value + 1 };
	struct npu_submit s = { .size = sizeof(s), .args = args, .nargs = nargs, .signals = &done, .nsignals = 1 };
	int err = npu_program_flush(p);

	if (!err)
		err = npu_program_submit(p, queue, &s);
	if (err)
		return err;
	p->fence_value++;
	err = npu_fence_wait(p->fence, p->fence_value, timeout_ns);
	if (!err)
		err = npu_queue_check(queue);
	if (err)
		return explain(p, queue, err);
	return npu_program_invalidate(p);
}

/* ---- Reports -------------------------------------------------------------------------------- */

int npu_program_info(const struct npu_program *p, struct npu_program_info *info, size_t size)
{
	memset(info, 0, size);
	memcpy(info, &p->info, size < sizeof(p->info) ? size : sizeof(p->info));
	return 0;
}

const void *npu_program_stream(const struct npu_program *p, uint32_t *bytes)
{
	*bytes = p->stream_bytes;
	return p->stream_copy;
}

int npu_program_op_name(const struct npu_program *p, uint32_t tag, char *buf, size_t size)
{
	const struct program_op *o;

	if (!tag || tag > p->nops || !p->ops[tag - 1].opcode)
		return -ENOENT;
	o = &p->ops[tag - 1];
	snprintf(buf, size, "%s%s%s%s%s", o->scope ? p->strings + o->scope : "", o->scope ? "/" : "",
		 npu_op_name(o->opcode), o->weight ? " " : "", o->weight ? p->strings + o->weight : "");
	return 0;
}

int npu_program_report(const struct npu_program *p, void (*line)(void *data, const char *text), void *data)
{
	static const char *const engines[] = { "MATRIX", "VECTOR", "COPY" };
	char name[128], text[512];

	for (uint32_t i = 0; i < p->nops; i++) {
		const struct program_op *o = &p->ops[i];
		const struct packet_info *info = packet_info(o->opcode);
		size_t at;

		if (!o->opcode || npu_program_op_name(p, i + 1, name, sizeof(name)))
			continue;
		at = (size_t)snprintf(text, sizeof(text), "%-40s %-6s %3u cmd %12" PRIu64 " MACs %12" PRIu64 " bytes", name,
				      engines[info->engine], o->commands, o->macs, o->bytes);
		for (unsigned int k = 0; k < info->count && at < sizeof(text); k++)
			if (o->opnd[k].ne[0])
				at += (size_t)snprintf(text + at, sizeof(text) - at, " %s %s%s{%u,%u,%u,%u}",
						       info->operand[k].name, npu_type_name(o->opnd[k].type),
						       o->opnd[k].layout ? "t" : "", o->opnd[k].ne[0], o->opnd[k].ne[1],
						       o->opnd[k].ne[2], o->opnd[k].ne[3]);
		line(data, text);
	}
	return 0;
}
