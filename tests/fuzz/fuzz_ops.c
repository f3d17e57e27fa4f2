/* SPDX-License-Identifier: MIT */
/*
 * Tensor packets: npu_op_plan() and npu_op_run() over packets that are random,
 * or legal but for a few bytes. Every access goes through map(), which gives a
 * buffer of exactly the bytes asked for, so that the address sanitizer sees
 * the first byte beyond; or, for operands that are taken in pieces, pages that lie
 * anywhere. Each packet runs on the reference and on the fast paths: the bits must
 * be equal.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ops.h"

#define MEMORY	(256u << 10)
#define MAPS	4096u

struct mapping {
	uint64_t va, len;
	unsigned int access;
	uint8_t *block, *copy;	/* what is allocated, and the bytes within */
};

struct space {
	struct npu_op_env env;
	uint8_t bytes[MEMORY];
	struct mapping maps[MAPS];
	unsigned int nmaps;
	bool probe;		/* spans with holes may be mapped whole */
	bool pages;		/* what may be in pieces is */
	uint64_t hole, hole_len;
	bool faulted;
	void *scratch;
};

static bool accessible(struct space *s, uint64_t va, uint64_t len, unsigned int access, unsigned int maps)
{
	bool there = len && len <= MEMORY && va <= MEMORY - len && (va + len <= s->hole || va >= s->hole + s->hole_len);

	if (s->faulted)
		abort();	/* nothing may be accessed after a fault */
	if (there && s->nmaps + maps <= MAPS && (!(access & NPU_OP_PROBE) || s->probe))
		return true;
	s->faulted = !(access & NPU_OP_PROBE);
	return false;
}

/* With @before and @after bytes around it that may be read. */
static uint8_t *add_map(struct space *s, uint64_t va, uint64_t len, unsigned int access, size_t before, size_t after)
{
	struct mapping *m = &s->maps[s->nmaps++];

	m->block = malloc(before + len + after);
	if (!m->block)
		abort();
	memset(m->block, 0xee, before + len + after);
	m->copy = m->block + before;
	memcpy(m->copy, s->bytes + va, len);
	m->va = va;
	m->len = len;
	m->access = access;
	return m->copy;
}

static void *map(struct npu_op_env *env, uint64_t va, uint64_t len, unsigned int access, unsigned int operand)
{
	struct space *s = (struct space *)env;

	(void)operand;
	return accessible(s, va, len, access, 1) ? add_map(s, va, len, access, 0, 0) : NULL;
}

/* Tables are in use until the next packet. */
#define OPERANDS	8u
#define FIRST_PAGE	(NPU_PIECES_PAGES - 5)	/* so that most operands need two tables */

static int map_pieces(struct npu_op_env *env, uint64_t va, uint64_t len, unsigned int access, unsigned int operand,
		      struct npu_pieces *out)
{
	static uint8_t *page[OPERANDS][2 * NPU_PIECES_PAGES];
	static uint8_t *const *table[OPERANDS][2];
	struct space *s = (struct space *)env;
	uint64_t at = va, i = FIRST_PAGE;

	if (operand >= OPERANDS)
		abort();
	if (!accessible(s, va, len, access, MEMORY / NPU_PIECES_PAGE + 1))
		return -EFAULT;
	if (!s->pages) {
		*out = (struct npu_pieces){ .p = add_map(s, va, len, access, 0, 0) };
		return 0;
	}
	for (; at < va + len; i++) {
		uint64_t begin = at % NPU_PIECES_PAGE, n = NPU_PIECES_PAGE - begin;

		n = n < va + len - at ? n : va + len - at;
		page[operand][i] = add_map(s, at, n, access, begin, NPU_PIECES_PAGE - begin - n) - begin;
		at += n;
	}
	table[operand][0] = page[operand];
	table[operand][1] = page[operand] + NPU_PIECES_PAGES;
	*out = (struct npu_pieces){
		.tables = table[operand], .first = (uint64_t)FIRST_PAGE * NPU_PIECES_PAGE + va % NPU_PIECES_PAGE,
	};
	return 0;
}

static int illegal(struct npu_op_env *env, unsigned int operand, uint64_t addr)
{
	struct space *s = (struct space *)env;

	(void)operand;
	(void)addr;
	s->faulted = true;
	return -EFAULT;
}

static void *scratch(struct npu_op_env *env, size_t size)
{
	struct space *s = (struct space *)env;

	free(s->scratch);
	s->scratch = aligned_alloc(64, (size + 63) / 64 * 64);
	if (s->scratch)
		memset(s->scratch, 0xff, size);
	return s->scratch;
}

/* ---- Input --------------------------------------------------------------------------- */

struct input {
	const uint8_t *p;
	size_t left;
};

static unsigned int byte(struct input *in)
{
	if (!in->left)
		return 0;
	in->left--;
	return *in->p++;
}

static unsigned int below(struct input *in, unsigned int n)
{
	return byte(in) % n;
}

static const uint8_t types[] = {
	NPU_TYPE_F32, NPU_TYPE_F16, NPU_TYPE_Q8_0, NPU_TYPE_Q4_0, NPU_TYPE_Q4_K, NPU_TYPE_Q6_K, NPU_TYPE_BF16,
	NPU_TYPE_I8, NPU_TYPE_I16, NPU_TYPE_I32, NPU_TYPE_I64, NPU_TYPE_A8, NPU_TYPE_A8_K,
};

static unsigned int float_type(struct input *in)
{
	return types[below(in, 2)];
}

static uint32_t dim(struct input *in)
{
	unsigned int b = byte(in);

	return b < 200 ? b % 9 : b - 199 + (b == 255 ? 1000 : 0);
}

static struct npu_tensor tensor(struct input *in, unsigned int type, uint32_t n0, uint32_t n1, uint32_t n2, uint32_t n3)
{
	struct npu_tensor t = { .ne = { n0, n1, n2, n3 }, .type = (uint8_t)type };
	unsigned int how = byte(in);
	uint64_t size = npu_type_block_bytes(type), at = size;

	t.addr = (uint64_t)byte(in) << 10 | (uint64_t)byte(in) << 3;
	for (unsigned int i = 0; i < NPU_DIMS; i++) {
		t.nb[i] = at;
		at *= i ? t.ne[i] : t.ne[0] / npu_type_block_len(type);
		if (i == 0 ? how & 1 && npu_type_block_len(type) == 1 && how & 2 : how & 4)
			at += size * (1 + how % 5);
	}
	if (how & 8 && how & 16)
		t.nb[how >> 5 & 3] = 0;
	return t;
}

static uint32_t columns(struct input *in, unsigned int type)
{
	uint32_t len = npu_type_block_len(type);

	return len > 1 ? len * (dim(in) % 5) : dim(in);
}

/* F32 or F16, or what goes with quantised weights of @type (or does not). */
static unsigned int act_type(struct input *in, unsigned int type)
{
	unsigned int b = below(in, 4);

	if (b < 2 || npu_type_block_len(type) == 1)
		return types[b % 2];
	return npu_type_block_len(type) == 32 ? NPU_TYPE_A8 : NPU_TYPE_A8_K;
}

static uint32_t make_matmul(struct input *in, struct npu_cmd_matmul *p)
{
	unsigned int type = types[below(in, 7)];
	uint32_t m = dim(in), n = dim(in), k = columns(in, type), b2 = 1 + below(in, 3);

	p->flags = below(in, 4);
	p->bias = p->flags & NPU_MATMUL_BIAS ? 64 : 0;
	p->dst = tensor(in, p->flags & NPU_MATMUL_ACCUMULATE ? NPU_TYPE_F32 : float_type(in), n, m, 2 * b2, 1);
	p->x = tensor(in, act_type(in, type), k, m, 2 * b2, 1);
	p->w = tensor(in, type, k, n, b2, 1);
	p->w.layout = below(in, 2);
	return sizeof(*p);
}

static uint32_t make_matmul_glu(struct input *in, struct npu_cmd_matmul_glu *p)
{
	unsigned int type = types[below(in, 7)], to = act_type(in, types[2 + below(in, 4)]);
	uint32_t m = dim(in), n = columns(in, to), k = columns(in, type), b2 = 1 + below(in, 3);

	p->kind = below(in, NPU_GLU_COUNT);
	p->dst = tensor(in, to, n, m, 2 * b2, 1);
	p->x = tensor(in, act_type(in, type), k, m, 2 * b2, 1);
	p->gate = tensor(in, type, k, n, b2, 1);
	p->up = tensor(in, type, k, n, b2, 1);
	p->gate.layout = p->up.layout = below(in, 2);
	p->x.hint = below(in, 2);
	return sizeof(*p);
}

static uint32_t make_attention(struct input *in, struct npu_cmd_attention *p)
{
	unsigned int type = types[below(in, 3)];
	uint32_t d = columns(in, type), dv = columns(in, type), g = 1 + below(in, 3), h = g * (1 + below(in, 3));
	uint32_t m = dim(in), kv = dim(in);

	p->flags = below(in, 2);
	p->pos = byte(in) == 77 ? ~0u : dim(in);
	p->window = below(in, 2) ? dim(in) : 0;
	p->scale = (float)below(in, 9) - 4.0f;
	p->softcap = (float)below(in, 3) * 10.0f;
	p->dst = tensor(in, act_type(in, type), dv, h, m, 1);
	p->q = tensor(in, float_type(in), d, h, m, 1);
	p->k = tensor(in, type, d, kv, g, 1);
	p->v = tensor(in, type, dv, kv, g, 1);
	return sizeof(*p);
}

static uint32_t make_vector(struct input *in, unsigned int op, uint8_t *packet)
{
	struct npu_cmd_norm *norm = (void *)packet;
	struct npu_cmd_rope *rope = (void *)packet;
	struct npu_cmd_softmax *softmax = (void *)packet;
	struct npu_cmd_topk *topk = (void *)packet;
	uint32_t n0 = dim(in), n1 = dim(in), n2 = dim(in), n3 = 1 + below(in, 2);
	struct npu_tensor dst = tensor(in, float_type(in), n0, n1, n2, n3), src = tensor(in, float_type(in), n0, n1, n2, n3);

	switch (op) {
	case NPU_OP_RMS_NORM:
	case NPU_OP_LAYER_NORM:
		norm->weight = below(in, 2) * 128;
		norm->bias = op == NPU_OP_LAYER_NORM ? below(in, 2) * 64 : 0;
		norm->eps = 1e-5f;
		norm->dst = dst;
		norm->src = src;
		return sizeof(*norm);
	case NPU_OP_ROPE:
		rope->flags = below(in, 2);
		rope->ndims = n0 / 2 * 2 - (n0 > 4 ? 2 * below(in, 2) : 0);
		rope->pos = byte(in) << 24 | byte(in);
		rope->mscale = 1.0f;
		rope->step = 8;
		rope->positions = below(in, 2) * 128;
		rope->dst = dst;
		rope->src = src;
		return sizeof(*rope);
	case NPU_OP_SOFTMAX:
		softmax->flags = below(in, 2);
		softmax->scale = (float)below(in, 5) - 1.0f;
		softmax->dst = dst;
		softmax->src = src;
		if (softmax->flags)
			softmax->mask = tensor(in, float_type(in), n0, below(in, 2) ? n1 : 1, 1, 1);
		return sizeof(*softmax);
	default:
		topk->k = 1 + dim(in) % (n0 ? n0 : 1);
		topk->src = src;
		topk->values = tensor(in, float_type(in), topk->k, n1, n2, n3);
		topk->indices = tensor(in, NPU_TYPE_I32, topk->k, n1, n2, n3);
		return sizeof(*topk);
	}
}

static uint32_t make_map(struct input *in, unsigned int op, struct npu_cmd_map *p)
{
	unsigned int from = float_type(in), to = float_type(in);
	uint32_t n0, n1 = dim(in), n2 = 1 + below(in, 3), n3 = 1 + below(in, 2);
	bool narrow = op == NPU_OP_REDUCE || op == NPU_OP_ARGMAX;

	if (op == NPU_OP_COPY || op == NPU_OP_FILL) {
		from = types[below(in, sizeof(types))];
		to = types[below(in, sizeof(types))];
	}
	if (op == NPU_OP_ARGMAX)
		to = NPU_TYPE_I32;
	n0 = columns(in, npu_type_block_len(from) > npu_type_block_len(to) ? from : to);
	if (op == NPU_OP_UNARY)
		p->kind = below(in, NPU_UNARY_COUNT);
	else if (op == NPU_OP_REDUCE)
		p->kind = below(in, NPU_REDUCE_COUNT);
	if (op == NPU_OP_FILL || (op == NPU_OP_UNARY && below(in, 2)))
		p->p0 = (float)byte(in) * 1e5f;
	p->dst = tensor(in, to, narrow ? 1 : n0, n1, n2, n3);
	if (op != NPU_OP_FILL)
		p->src = tensor(in, from, n0, n1, n2, n3);
	return sizeof(*p);
}

static uint32_t make_binary(struct input *in, unsigned int op, struct npu_cmd_binary *p)
{
	uint32_t ne[3][NPU_DIMS];
	unsigned int broadcast = op == NPU_OP_GLU ? 0 : byte(in);

	for (unsigned int d = 0; d < NPU_DIMS; d++) {
		ne[0][d] = d < 2 ? dim(in) : 1 + below(in, 3);
		ne[1][d] = broadcast >> d & 1 ? 1 : ne[0][d];
		ne[2][d] = broadcast >> (4 + d) & 1 ? 1 : ne[0][d];
	}
	p->kind = below(in, op == NPU_OP_GLU ? NPU_GLU_COUNT : NPU_BINARY_COUNT);
	p->dst = tensor(in, float_type(in), ne[0][0], ne[0][1], ne[0][2], ne[0][3]);
	p->a = tensor(in, float_type(in), ne[1][0], ne[1][1], ne[1][2], ne[1][3]);
	p->b = tensor(in, float_type(in), ne[2][0], ne[2][1], ne[2][2], ne[2][3]);
	return sizeof(*p);
}

static uint32_t make_rows(struct input *in, struct npu_cmd_rows *p)
{
	unsigned int type = types[below(in, sizeof(types))];
	uint32_t c = columns(in, type), r = dim(in), b = 1 + below(in, 2);

	p->dst = tensor(in, float_type(in), c, r, b, 1);
	p->table = tensor(in, type, c, dim(in), 1, 1);
	p->table.layout = below(in, 2);
	p->index = tensor(in, NPU_TYPE_I32, r, b, 1, 1);
	return sizeof(*p);
}

static uint32_t make_packet(struct input *in, uint8_t *packet)
{
	unsigned int op = NPU_OP_FIRST + below(in, 17);
	uint32_t len;

	memset(packet, 0, NPU_PACKET_MAX);
	if (op == NPU_OP_FIRST + 16)
		op = NPU_OP_MATMUL_GLU;
	switch (op) {
	case NPU_OP_MATMUL_GLU:
		len = make_matmul_glu(in, (void *)packet);
		break;
	case NPU_OP_MATMUL:
		len = make_matmul(in, (void *)packet);
		break;
	case NPU_OP_ATTENTION:
		len = make_attention(in, (void *)packet);
		break;
	case NPU_OP_UNARY:
	case NPU_OP_REDUCE:
	case NPU_OP_ARGMAX:
	case NPU_OP_COPY:
	case NPU_OP_FILL:
		len = make_map(in, op, (void *)packet);
		break;
	case NPU_OP_GLU:
	case NPU_OP_BINARY:
		len = make_binary(in, op, (void *)packet);
		break;
	case NPU_OP_GATHER:
	case NPU_OP_SCATTER:
		len = make_rows(in, (void *)packet);
		break;
	default:
		len = make_vector(in, op, packet);
	}
	((struct npu_cmd *)packet)->opcode = (uint16_t)op;
	for (unsigned int changes = below(in, 3); changes; changes--) {
		unsigned int at = (byte(in) | byte(in) << 8) % len;

		packet[at] = (uint8_t)byte(in);
	}
	return len;
}

/* ---- Running ------------------------------------------------------------------------------- */

/* Plausible floats, anything, or small indices. Most inputs share few seeds, so the last one's is kept. */
static const uint8_t *contents(uint64_t seed)
{
	static uint8_t bytes[MEMORY];
	static uint64_t have = UINT64_MAX;

	for (uint32_t i = 0; seed != have && i < MEMORY / 8; i++) {
		uint64_t z = (seed + i) * 0x9e3779b97f4a7c15ull;

		z ^= z >> 29;
		if (seed & 1)
			z = (z & 0x00ffffff00ffffffull) | 0x3e0000003e000000ull | (z & 0x8000000080000000ull);
		else if (seed & 2)
			z &= 0x0000000700000007ull;
		memcpy(bytes + 8 * i, &z, 8);
	}
	have = seed;
	return bytes;
}

static int run(struct space *s, const void *packet, enum npu_path path, uint64_t seed)
{
	int err;

	memcpy(s->bytes, contents(seed), MEMORY);
	s->env.path = path;
	s->nmaps = 0;
	s->faulted = false;
	err = npu_op_run(packet, &s->env);
	if ((err == -EFAULT) != s->faulted || (err && err != -EFAULT && err != -ENOMEM))
		abort();
	for (unsigned int i = 0; i < s->nmaps; i++) {
		const struct mapping *m = &s->maps[i];

		if ((m->access & NPU_OP_WRITE) && !err)
			memcpy(s->bytes + m->va, m->copy, m->len);
		free(m->block);
	}
	return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct npu_op_limits limits = {
		.max_macs = 1u << 20, .max_bytes = 1u << 18, .va_limit = 1u << 20,
		.ops = 0xffff | 1ull << NPU_OP_BIT(NPU_OP_MATMUL_GLU),
		.types_rows = ~0u, .types_tiles = ~0u,
	};
	static struct space s = { .env = { .map = map, .map_pieces = map_pieces, .illegal = illegal, .scratch = scratch } };
	static uint8_t want[MEMORY];
	struct input in = { data, size };
	_Alignas(16) uint8_t packet[NPU_PACKET_MAX];
	unsigned int how = byte(&in), seed = byte(&in);
	struct npu_op_plan plan;
	uint32_t len;
	int err;

	s.probe = how & 1;
	s.hole = how & 2 ? (uint64_t)byte(&in) << 10 : 0;
	s.hole_len = how & 2 ? 1u << below(&in, 12) : 0;
	if (how & 4) {
		len = (uint32_t)(in.left < sizeof(packet) ? in.left : sizeof(packet));
		memcpy(packet, in.p, len);
		if (len >= 16)
			((struct npu_cmd *)packet)->opcode &= 0x3f;
	} else {
		len = make_packet(&in, packet);
	}
	npu_op_plan(packet, len, &limits, &plan);
	if (plan.fault)
		return 0;
	s.pages = false;
	err = run(&s, packet, NPU_PATH_SCALAR, seed);
	memcpy(want, s.bytes, MEMORY);
	s.pages = how & 8;
	if (s.pages && (run(&s, packet, NPU_PATH_SCALAR, seed) != err || memcmp(want, s.bytes, MEMORY) != 0))
		abort();
	if (run(&s, packet, npu_path_best(), seed) != err || memcmp(want, s.bytes, MEMORY) != 0)
		abort();
	if (npu_path_supported(NPU_PATH_AVX2) &&
	    (run(&s, packet, NPU_PATH_AVX2, seed) != err || memcmp(want, s.bytes, MEMORY) != 0))
		abort();
	return 0;
}
