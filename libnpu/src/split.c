// SPDX-License-Identifier: MIT
/*
 * Cutting an operation into commands within the device's bounds. Axes along which results do not depend on
 * each other are cut; a result never depends on how it was cut.
 */
#include <errno.h>
#include <string.h>

#include "graph.h"

#define S AXIS_SPLIT
#define ROWWISE2 { { 1, 1, -1, -1 }, S }, { { 2, 2, -1, -1 }, S }, { { 3, 3, -1, -1 }, S }, { { 0, 0, -1, -1 }, 0 }
#define MAP2 { { 1, 1, -1, -1 }, S }, { { 2, 2, -1, -1 }, S }, { { 3, 3, -1, -1 }, S }, \
	{ { 0, 0, -1, -1 }, S | AXIS_BLOCK }

/* Operands in the order of the packet; axes that may be cut in the order in which they are tried from the last. */
static const struct op_axis matmul_axes[] = {
	{ { 0, -1, 1, -1 }, S }, { { 1, 1, -1, -1 }, S }, { { 2, 2, 2, -1 }, S | AXIS_GROUP },
	{ { 3, 3, 3, -1 }, S | AXIS_GROUP }, { { -1, 0, 0, -1 }, 0 },
};
static const struct op_axis matmul_glu_axes[] = {
	{ { 0, -1, 1, 1 }, S }, { { 1, 1, -1, -1 }, S }, { { 2, 2, 2, 2 }, S | AXIS_GROUP },
	{ { 3, 3, 3, 3 }, S | AXIS_GROUP }, { { -1, 0, 0, 0 }, 0 },
};
static const struct op_axis attention_axes[] = {
	{ { 2, 2, -1, -1 }, S }, { { 1, 1, 2, 2 }, S | AXIS_GROUP }, { { 3, 3, 3, 3 }, S }, { { -1, -1, 1, 1 }, 0 },
	{ { -1, 0, 0, -1 }, 0 }, { { 0, -1, -1, 0 }, 0 },
};
static const struct op_axis rowwise_axes[] = { ROWWISE2 };
static const struct op_axis softmax_axes[] = {
	{ { 1, 1, 1, -1 }, S | AXIS_BROADCAST }, { { 2, 2, 2, -1 }, S | AXIS_BROADCAST },
	{ { 3, 3, 3, -1 }, S | AXIS_BROADCAST }, { { 0, 0, 0, -1 }, 0 },
};
static const struct op_axis binary_axes[] = {
	{ { 0, 0, 0, -1 }, S | AXIS_BROADCAST | AXIS_BLOCK }, { { 1, 1, 1, -1 }, S | AXIS_BROADCAST },
	{ { 2, 2, 2, -1 }, S | AXIS_BROADCAST }, { { 3, 3, 3, -1 }, S | AXIS_BROADCAST },
};
static const struct op_axis glu_axes[] = {
	{ { 0, 0, 0, -1 }, S | AXIS_BLOCK }, { { 1, 1, 1, -1 }, S }, { { 2, 2, 2, -1 }, S }, { { 3, 3, 3, -1 }, S },
};
static const struct op_axis map_axes[] = { MAP2 };
static const struct op_axis reduce_axes[] = {
	{ { 1, 1, -1, -1 }, S }, { { 2, 2, -1, -1 }, S }, { { 3, 3, -1, -1 }, S }, { { -1, 0, -1, -1 }, 0 },
	{ { 0, -1, -1, -1 }, 0 },
};
static const struct op_axis topk_axes[] = {
	{ { 1, 1, 1, -1 }, S }, { { 2, 2, 2, -1 }, S }, { { 3, 3, 3, -1 }, S }, { { 0, 0, -1, -1 }, 0 },
	{ { -1, -1, 0, -1 }, 0 },
};
static const struct op_axis rows_axes[] = {
	{ { 1, -1, 0, -1 }, S }, { { 2, -1, 1, -1 }, S }, { { 0, 0, -1, -1 }, 0 }, { { -1, 1, -1, -1 }, 0 },
};
static const struct op_axis fill_axes[] = {
	{ { 0, -1, -1, -1 }, S | AXIS_BLOCK }, { { 1, -1, -1, -1 }, S }, { { 2, -1, -1, -1 }, S },
	{ { 3, -1, -1, -1 }, S },
};

#define AXES(t) (*count = sizeof(t) / sizeof((t)[0]), (t))

const struct op_axis *op_axes(unsigned int opcode, unsigned int *count)
{
	switch (opcode) {
	case NPU_OP_MATMUL:
		return AXES(matmul_axes);
	case NPU_OP_MATMUL_GLU:
		return AXES(matmul_glu_axes);
	case NPU_OP_ATTENTION:
		return AXES(attention_axes);
	case NPU_OP_SOFTMAX:
		return AXES(softmax_axes);
	case NPU_OP_GLU:
		return AXES(glu_axes);
	case NPU_OP_BINARY:
		return AXES(binary_axes);
	case NPU_OP_UNARY:
	case NPU_OP_COPY:
		return AXES(map_axes);
	case NPU_OP_REDUCE:
	case NPU_OP_ARGMAX:
		return AXES(reduce_axes);
	case NPU_OP_TOPK:
		return AXES(topk_axes);
	case NPU_OP_GATHER:
	case NPU_OP_SCATTER:
		return AXES(rows_axes);
	case NPU_OP_FILL:
		return AXES(fill_axes);
	default:
		return AXES(rowwise_axes);
	}
}

/* ---- Cost of a piece ---------------------------------------------------------------- */

static bool within(struct npu_graph *g, struct node *n, const struct cut *cut, const uint64_t *packet)
{
	const struct packet_info *info = packet_info(n->opcode);
	const struct npu_device_info *dev = &g->dev->info;
	uint64_t copy[NPU_PACKET_MAX / 8];
	struct packet_cost cost;
	unsigned int naxes;
	const struct op_axis *axes = op_axes(n->opcode, &naxes);

	memcpy(copy, packet, info->size);
	for (unsigned int a = 0; a < naxes; a++)
		for (unsigned int i = 0; i < info->count; i++) {
			struct npu_tensor *t = packet_tensor(copy, info, i);
			int d = axes[a].dim[i];

			if (d < 0 || cut->step[a] >= cut->extent[a] || !t->ne[d] || t->ne[d] == 1)
				continue;
			if (t->ne[d] == cut->extent[a])
				t->ne[d] = cut->step[a];
			else	/* grouped: as many as the piece touches */
				t->ne[d] = (cut->step[a] * t->ne[d] + cut->extent[a] - 1) / cut->extent[a];
		}
	packet_cost(copy, &cost);
	return cost.macs <= dev->max_macs && cost.bytes <= dev->max_bytes;
}

/* Pieces start at multiples of this. */
static uint32_t unit_of(const struct node *n, const struct op_axis *axis)
{
	if (n->opcode == NPU_OP_MATMUL && axis->dim[0] == 0)
		return 16;	/* rows of a tile */
	if (n->opcode == NPU_OP_MATMUL_GLU && axis->dim[0] == 0)
		return 256;	/* the result may be quantised */
	if (axis->flags & AXIS_BLOCK)
		return 256;	/* elements of the largest block */
	return 1;
}

/* Heads that share keys; 1 where nothing is shared. */
static uint32_t group_of(const struct node *n, const struct op_axis *axis)
{
	uint32_t whole, part;

	if (!(axis->flags & AXIS_GROUP))
		return 1;
	whole = n->opnd[1]->ne[axis->dim[1]];
	part = n->opnd[2]->ne[axis->dim[2]];
	return part ? whole / part : 1;
}

static void set_step(struct cut *cut, unsigned int a, uint32_t step)
{
	cut->step[a] = step;
	cut->parts[a] = (cut->extent[a] + step - 1) / step;
}

/* Largest step of axis @a, a multiple of @unit, that is within the bounds; @unit if none is. */
static bool shrink(struct npu_graph *g, struct node *n, struct cut *cut, unsigned int a, uint32_t unit,
		   const uint64_t *packet)
{
	uint32_t lo = 1, hi = (cut->extent[a] + unit - 1) / unit;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo + 1) / 2;

		set_step(cut, a, mid * unit);
		if (within(g, n, cut, packet))
			lo = mid;
		else
			hi = mid - 1;
	}
	/* Even pieces rather than full ones and a rest. */
	set_step(cut, a, lo * unit);
	if (cut->parts[a] > 1) {
		uint32_t even = (cut->extent[a] + cut->parts[a] - 1) / cut->parts[a];

		set_step(cut, a, (even + unit - 1) / unit * unit);
	}
	return within(g, n, cut, packet);
}

static bool is_matmul(const struct node *n)
{
	return n->opcode == NPU_OP_MATMUL || n->opcode == NPU_OP_MATMUL_GLU;
}

/*
 * Rows of x are read once per piece of N, weights once per piece of M: take the combination that reads least.
 */
static bool cut_matmul(struct npu_graph *g, struct node *n, struct cut *cut, const uint64_t *packet)
{
	uint64_t x = npu_type_row_bytes(n->opnd[1]->type, n->opnd[1]->ne[0]) * n->opnd[1]->ne[1];
	uint64_t w = npu_type_row_bytes(n->opnd[2]->type, n->opnd[2]->ne[0]) * n->opnd[2]->ne[1];
	uint32_t unit = n->opcode == NPU_OP_MATMUL ? 16 : 256;
	uint64_t best = UINT64_MAX;
	struct cut chosen = *cut;

	if (n->opcode == NPU_OP_MATMUL_GLU)
		w *= 2;

	for (uint32_t parts = 1; parts <= 64 && parts <= cut->extent[1]; parts++) {
		uint64_t read;

		set_step(cut, 1, (cut->extent[1] + parts - 1) / parts);
		set_step(cut, 0, cut->extent[0]);
		if (!within(g, n, cut, packet) && !shrink(g, n, cut, 0, unit, packet))
			continue;
		read = cut->parts[1] * w + cut->parts[0] * x;
		if (read < best) {
			best = read;
			chosen = *cut;
		}
		if (cut->parts[0] == 1)
			break;
	}
	if (best == UINT64_MAX)
		return false;
	*cut = chosen;
	return true;
}

static bool cut_all(struct npu_graph *g, struct node *n, struct cut *cut, const uint64_t *packet)
{
	unsigned int naxes;
	const struct op_axis *axes = op_axes(n->opcode, &naxes);

	if (is_matmul(n) && cut_matmul(g, n, cut, packet))
		return true;
	/* Whole groups first, so that keys are read once; then inside them. */
	for (unsigned int round = 0; round < 2; round++)
		for (unsigned int a = naxes; a-- > 0;) {
			uint32_t unit = unit_of(n, &axes[a]), group = group_of(n, &axes[a]);

			if (!(axes[a].flags & AXIS_SPLIT) || cut->extent[a] <= 1)
				continue;
			if (is_matmul(n) && group > 1)
				continue;
			if (group > 1 && round == 1) {
				set_step(cut, a, 1);
				if (within(g, n, cut, packet))
					return true;
			} else if (round == 0 && shrink(g, n, cut, a, group > 1 ? group : unit, packet)) {
				return true;
			}
		}
	return false;
}

int op_cut(struct npu_graph *g, struct node *n, struct cut *cut)
{
	const struct packet_info *info = packet_info(n->opcode);
	uint64_t packet[NPU_PACKET_MAX / 8];
	unsigned int naxes;
	const struct op_axis *axes = op_axes(n->opcode, &naxes);

	memset(cut, 0, sizeof(*cut));
	node_packet(n, packet);
	cut->total = 1;
	for (unsigned int a = 0; a < naxes; a++) {
		for (unsigned int i = 0; i < info->count; i++)
			if (axes[a].dim[i] >= 0 && n->opnd[i] && n->opnd[i]->ne[axes[a].dim[i]] > cut->extent[a])
				cut->extent[a] = n->opnd[i]->ne[axes[a].dim[i]];
		set_step(cut, a, cut->extent[a] ? cut->extent[a] : 1);
	}
	if (within(g, n, cut, packet))
		return 0;
	if (!cut_all(g, n, cut, packet))
		return -ENOSPC;
	for (unsigned int a = 0; a < naxes; a++)
		cut->total *= cut->parts[a] ? cut->parts[a] : 1;
	return 0;
}
