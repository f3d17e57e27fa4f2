/* SPDX-License-Identifier: MIT */
/* GATHER and SCATTER. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "conf_impl.h"

/* a: C, T, R, B */
static void make_rows(struct conf_instance *ci, const struct conf_case *c)
{
	struct npu_cmd_rows *p = (struct npu_cmd_rows *)ci->packet;
	bool gather = c->op == NPU_OP_GATHER;
	uint32_t width = c->a[0], rows = c->a[1];
	int32_t *winner = NULL;

	ci->len = sizeof(*p);
	conf_tensor(ci, &p->dst, c->dst_type, (uint32_t[]){ width, c->a[2], c->a[3], 1 }, c->pad, gather);
	conf_tensor(ci, &p->index, NPU_TYPE_I32, (uint32_t[]){ c->a[2], c->a[3], 1, 1 }, c->pad, false);
	conf_tensor(ci, &p->table, c->src_type, (uint32_t[]){ width, rows, 1, 1 },
		    c->layout || c->pad == STRIDE_TRANSPOSED ? STRIDE_DENSE : c->pad, !gather);
	if (!gather)
		winner = malloc((rows + 1) * sizeof(*winner));
	if (ci->failed || (!gather && !winner)) {
		ci->failed = true;
		free(winner);
		return;
	}
	conf_fill_tensor(ci, &p->table, c->fill);
	conf_fill_tensor(ci, &p->dst, c->fill);
	for (uint32_t i = 0; winner && i < rows; i++)
		winner[i] = -1;
	for (uint64_t i2 = 0; i2 < c->a[3]; i2++) {
		for (uint64_t i1 = 0; i1 < c->a[2]; i1++) {
			int32_t at = (int32_t)(conf_random(ci) % (rows ? rows : 1));

			if (!gather && conf_random(ci) % 4 == 0)
				at = -1;
			conf_encode(NPU_TYPE_I32, conf_at(ci, &p->index, i1, i2, 0, 0), at);
			for (uint64_t i = 0; gather && rows && i < width; i++) {
				double v = conf_get(ci, &p->table, i, (uint64_t)at, 0, 0);

				conf_expect(ci, &p->dst, i, i1, i2, 0, v, 3 * EPS32 * fabs(v));
			}
			if (!gather && at >= 0)
				winner[at] = (int32_t)(i2 * c->a[2] + i1);	/* the last one */
		}
	}
	for (uint32_t r = 0; winner && r < rows; r++) {
		for (uint64_t i = 0; winner[r] >= 0 && i < width; i++) {
			uint64_t i1 = (uint64_t)winner[r] % c->a[2], i2 = (uint64_t)winner[r] / c->a[2];
			double v = conf_get(ci, &p->dst, i, i1, i2, 0), tol = 0.0;

			if (c->src_type == NPU_TYPE_Q8_0) {
				double amax = 0.0;

				for (uint64_t j = i / 32 * 32; j < i / 32 * 32 + 32; j++)
					amax = fmax(amax, fabs(conf_get(ci, &p->dst, j, i1, i2, 0)));
				tol = 0.501 * amax / 127.0 + fabs(v) * 0x1p-11 + 0x1p-24 * 127;
			}
			conf_expect(ci, &p->table, i, r, 0, 0, v, tol);
		}
	}
	free(winner);
	if (c->layout && rows)
		conf_make_tiles(ci, &p->table);
}

static void add(const struct conf_case *base, const uint32_t *shape, const char *what, unsigned int v)
{
	struct conf_case c = *base;

	c.make = make_rows;
	memcpy(c.a, shape, sizeof(c.a));
	if (conf_block_len(c.src_type) > 1)
		c.a[0] = (c.a[0] + 255) / 256 * 256;
	conf_add(&c, "%s/%s/%s-%s/c%ut%ur%ub%u/v%u/%s", what, c.layout ? "tile16" : "rows", conf_type_name(c.src_type),
		 conf_type_name(c.dst_type), c.a[0], c.a[1], c.a[2], c.a[3], v, conf_fill_name(c.fill));
}

void conf_add_rows(void)
{
	static const uint8_t types[] = {
		NPU_TYPE_F32, NPU_TYPE_F16, NPU_TYPE_BF16, NPU_TYPE_Q8_0, NPU_TYPE_Q4_0, NPU_TYPE_Q4_K, NPU_TYPE_Q6_K,
		NPU_TYPE_I8, NPU_TYPE_I32,
	};
	static const uint8_t stored[] = { NPU_TYPE_F32, NPU_TYPE_F16, NPU_TYPE_Q8_0 };
	static const uint32_t shapes[][4] = {
		{ 1, 1, 1, 1 }, { 64, 37, 1, 1 }, { 100, 16, 9, 2 }, { 1500, 50, 33, 1 }, { 64, 5, 0, 1 }, { 0, 5, 3, 1 }, { 512, 90, 70, 1 }, { 9000, 3, 4, 1 },
	};

	for (size_t s = 0; s < sizeof(shapes) / sizeof(shapes[0]); s++) {
		for (unsigned int v = 0; v < 4; v++) {
			struct conf_case c = {
				.dst_type = v & 1 ? NPU_TYPE_F16 : NPU_TYPE_F32,
				.pad = v == 2 ? STRIDE_PADDED : v == 3 ? STRIDE_TRANSPOSED : STRIDE_DENSE,
				.fill = v == 1 ? FILL_SPECIAL : FILL_NORMAL,
			};

			c.op = NPU_OP_GATHER;
			for (size_t t = 0; t < sizeof(types); t++) {
				c.src_type = types[t];
				for (c.layout = 0; c.layout < (t < 7 ? 2 : 1); c.layout++)
					add(&c, shapes[s], "gather", v);
			}
			c.op = NPU_OP_SCATTER;
			c.layout = 0;
			c.fill = FILL_NORMAL;
			for (size_t t = 0; t < sizeof(stored); t++) {
				c.src_type = stored[t];
				add(&c, shapes[s], "scatter", v);
			}
		}
	}
}
