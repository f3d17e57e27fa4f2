// SPDX-License-Identifier: MIT
/*
 * Runs a language model on the software device and writes down what its matrix
 * products really multiplied: the rounded activations, as they stood in memory, and
 * the keys and values that went into the cache. forward.py --operands-from computes
 * with the same ones in double precision.
 *
 *   record_operands MODEL.gguf OUT "ID ID ..." [TOKENS [CHUNK [DEVICE]]]
 *
 * The prompt is fed in chunks of CHUNK tokens (0: all at once); then TOKENS tokens are
 * generated greedily by the decode program, each computed from the one before.
 *
 * The product knows nothing of this: the linker puts the __wrap_ functions below
 * between the operations and their kernels. The software device is synchronous, so
 * that all of it happens in this thread, in the order of the stream.
 *
 * OUT: records of 8 little-endian words (tag, six parameters, bytes that follow) and bytes:
 *   OPND  x type, weight type, m, k, n, 0; the m rows of x, each without a gap
 *   KEYS  type, m, groups, d, first position, 0; [group][m][d], without gaps
 *   VALS  the same
 *   LOGT  n, 0...; n F32: the logits of one row, what the record before it gave
 *   TOKS  n, 0...; n I32: all tokens, also the last one, which was not computed
 */
#include <err.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <npu/device.h>
#include <npu/llm.h>

#include "attn.h"
#include "matmul.h"
#include "run.h"
#include "tile.h"

#define DEVICE		"soft:sync=1,memory=256"
#define MAX_TOKENS	4096u

#define TAG(a, b, c, d) ((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16 | (uint32_t)(d) << 24)

/* A product: one command, or several where it was cut along n, each maybe in parts. */
struct product {
	bool open;		/* its next command may still come */
	bool quantised;		/* are its weights? Then it rounds its operand. */
	uint32_t tag;		/* of its commands */
	uint64_t address;	/* of x on the device */
	uint8_t x_type, w_type;
	uint32_t m, k, n;	/* n: of the commands so far */
	uint8_t *rows;		/* the operand, a copy without gaps */
	size_t row_bytes;
	uint32_t *columns;	/* [m] computed from each row: n after a command */
	float *result;		/* [vocab]: row 0, as far as it goes */

	/* of the command that runs: */
	const uint8_t *x;	/* row 0, where it lies */
	const float *dst;	/* of the last part */
	size_t x_stride;
};

static struct product product;
static FILE *out;
static uint32_t vocab;
static float *last_logits;	/* a copy of the last record of them */

static void put(uint32_t tag, const uint32_t parameters[6], const void *bytes, size_t n)
{
	uint32_t head[8] = { tag };

	memcpy(head + 1, parameters, 6 * sizeof(*head));
	head[7] = (uint32_t)n;
	if (fwrite(head, sizeof(head), 1, out) != 1 || (n && fwrite(bytes, n, 1, out) != 1))
		err(1, "the records cannot be written");
}

static void *allocate(size_t n)
{
	void *p = calloc(n ? n : 1, 1);

	if (!p)
		errx(1, "out of memory");
	return p;
}

/* ---- Matrix products ------------------------------------------------------------------ */

static bool is_quantised(unsigned int type)
{
	return type == NPU_TYPE_Q8_0 || type == NPU_TYPE_Q4_0 || type == NPU_TYPE_Q4_K || type == NPU_TYPE_Q6_K;
}

static void put_logits(void)
{
	memcpy(last_logits, product.result, vocab * sizeof(float));
	put(TAG('L', 'O', 'G', 'T'), (uint32_t[6]){ vocab }, last_logits, vocab * sizeof(float));
}

/* There is no more of it. */
static void finish(void)
{
	const struct product *p = &product;

	if (!p->open)
		return;
	if (p->quantised)
		put(TAG('O', 'P', 'N', 'D'), (uint32_t[6]){ p->x_type, p->w_type, p->m, p->k, p->n }, p->rows,
		    p->m * p->row_bytes);
	if (p->m == 1 && p->n == vocab)
		put_logits();
	free(p->rows);
	free(p->columns);
	free(p->result);
	product.open = false;
}

static bool continues(const struct npu_cmd *cmd, const struct npu_tensor *x, const struct npu_tensor *w, uint32_t m)
{
	const struct product *p = &product;

	return p->open && cmd->tag == p->tag && x->addr == p->address && x->type == p->x_type &&
	       w->type == p->w_type && x->ne[0] == p->k && m == p->m;
}

static void begin(const struct npu_cmd *cmd, const struct npu_tensor *x, const struct npu_tensor *w,
		  const struct npu_tensor *dst)
{
	struct product *p = &product;

	if (dst->ne[2] != 1 || dst->ne[3] != 1)
		errx(1, "a product of %u x %u matrices: models have none", dst->ne[2], dst->ne[3]);
	if (!continues(cmd, x, w, dst->ne[1])) {
		finish();
		*p = (struct product){
			.open = true, .quantised = is_quantised(w->type), .tag = cmd->tag, .address = x->addr,
			.x_type = x->type, .w_type = w->type, .m = dst->ne[1], .k = x->ne[0],
		};
		p->row_bytes = p->k / npu_type_block_len(p->x_type) * npu_type_block_bytes(p->x_type);
		p->rows = allocate(p->m * p->row_bytes);
		p->columns = allocate(p->m * sizeof(*p->columns));
		p->result = allocate(vocab * sizeof(*p->result));
	}
	p->x = NULL;
}

/* The command has run: @n columns, of which @dst has row 0 if that is a result in itself. */
static void end(uint32_t n, bool is_result)
{
	struct product *p = &product;

	if (is_result && p->n + n <= vocab)
		memcpy(p->result + p->n, p->dst, n * sizeof(float));
	p->n += n;
	for (uint32_t m = 0; m < p->m; m++)
		if (p->columns[m] != p->n)
			errx(1, "row %u met %u of %u columns", m, p->columns[m], p->n);
}

/* Row @m of the operand as this part has it; it must be what other parts had, also of other commands. */
static void take_row(uint32_t m, const uint8_t *row, uint32_t columns)
{
	uint8_t *copy = product.rows + m * product.row_bytes;

	if (product.columns[m] && memcmp(copy, row, product.row_bytes))
		errx(1, "row %u of an operand changed between parts of its product", m);
	memcpy(copy, row, product.row_bytes);
	product.columns[m] += columns;
}

static void take_part(const struct npu_matmul *mm)
{
	size_t first;

	if (!product.x) {
		product.x = mm->x;
		product.x_stride = mm->x_stride;
	}
	first = product.m > 1 ? (size_t)((const uint8_t *)mm->x - product.x) / product.x_stride : 0;
	if (first + mm->m > product.m || mm->k != product.k || mm->x_type != product.x_type ||
	    mm->w_type != product.w_type)
		errx(1, "a kernel computes something else than its command says");
	for (uint32_t i = 0; i < mm->m; i++)
		take_row((uint32_t)first + i, (const uint8_t *)mm->x + i * mm->x_stride, mm->w2 ? 2 * mm->n : mm->n);
	product.dst = mm->dst;
}

void __real_npu_matmul_run(const struct npu_matmul *mm, struct npu_pool *pool, enum npu_path path, void *scratch);
void __wrap_npu_matmul_run(const struct npu_matmul *mm, struct npu_pool *pool, enum npu_path path, void *scratch);
int __real_npu_run_matmul(const struct npu_cmd_matmul *p, struct npu_op_env *env);
int __wrap_npu_run_matmul(const struct npu_cmd_matmul *p, struct npu_op_env *env);
int __real_npu_run_matmul_glu(const struct npu_cmd_matmul_glu *p, struct npu_op_env *env);
int __wrap_npu_run_matmul_glu(const struct npu_cmd_matmul_glu *p, struct npu_op_env *env);

void __wrap_npu_matmul_run(const struct npu_matmul *mm, struct npu_pool *pool, enum npu_path path, void *scratch)
{
	take_part(mm);
	__real_npu_matmul_run(mm, pool, path, scratch);
}

int __wrap_npu_run_matmul(const struct npu_cmd_matmul *p, struct npu_op_env *env)
{
	int ret;

	begin(&p->cmd, &p->x, &p->w, &p->dst);
	ret = __real_npu_run_matmul(p, env);
	if (!ret)
		end(p->dst.ne[0], p->dst.type == NPU_TYPE_F32 && p->dst.ne[1] == 1);
	return ret;
}

int __wrap_npu_run_matmul_glu(const struct npu_cmd_matmul_glu *p, struct npu_op_env *env)
{
	int ret;

	begin(&p->cmd, &p->x, &p->gate, &p->dst);
	ret = __real_npu_run_matmul_glu(p, env);
	if (!ret)
		end(2 * p->dst.ne[0], false);
	return ret;
}

/* ---- Attention ------------------------------------------------------------------------- */

/* Of each group the positions that this run appended: the last m. */
static void put_cache(uint32_t tag, const struct npu_attn *at, const struct npu_pieces *cache, size_t pos_bytes,
		      size_t group_bytes, uint32_t d)
{
	size_t row = npu_row_bytes(at->kv_type, d), n = (size_t)at->groups * at->m * row;
	uint32_t first = at->kv - at->m;
	uint8_t *rows = allocate(n), *p = rows;

	for (uint32_t g = 0; g < at->groups; g++)
		for (uint32_t m = 0; m < at->m; m++, p += row)
			npu_pieces_read(cache, g * group_bytes + (first + m) * pos_bytes, row, p);
	put(tag, (uint32_t[6]){ at->kv_type, at->m, at->groups, d, first }, rows, n);
	free(rows);
}

void __real_npu_attn_run(const struct npu_attn *at, struct npu_pool *pool, enum npu_path path, void *scratch);
void __wrap_npu_attn_run(const struct npu_attn *at, struct npu_pool *pool, enum npu_path path, void *scratch);

void __wrap_npu_attn_run(const struct npu_attn *at, struct npu_pool *pool, enum npu_path path, void *scratch)
{
	if (at->pos + at->m != at->kv)
		errx(1, "queries from position %u on, but %u keys: the last of them are not the newest", at->pos, at->kv);
	finish();
	put_cache(TAG('K', 'E', 'Y', 'S'), at, &at->k, at->k_pos, at->k_group, at->d);
	put_cache(TAG('V', 'A', 'L', 'S'), at, &at->v, at->v_pos, at->v_group, at->dv);
	__real_npu_attn_run(at, pool, path, scratch);
}

/* ---- The run ------------------------------------------------------------------------------ */

static uint32_t parse_ids(const char *text, int32_t *ids)
{
	uint32_t n = 0;
	char *rest;

	for (long id = strtol(text, &rest, 10); rest != text; id = strtol(text, &rest, 10)) {
		if (n == MAX_TOKENS)
			errx(2, "more than %u tokens", MAX_TOKENS);
		ids[n++] = (int32_t)id;
		text = rest;
	}
	if (!n || *text)
		errx(2, "tokens are numbers with blanks between them, not \"%s\"", text);
	return n;
}

static uint32_t number(const char *text)
{
	char *rest;
	unsigned long n = strtoul(text, &rest, 10);

	if (rest == text || *rest || n > MAX_TOKENS)
		errx(2, "\"%s\" is no number up to %u", text, MAX_TOKENS);
	return (uint32_t)n;
}

static struct npu_llm *open_model(const char *path, uint32_t chunk, const char *device)
{
	struct npu_device_options dopt = { .size = sizeof(dopt) };
	struct npu_llm_options opt = { .size = sizeof(opt), .chunk = chunk };
	struct npu_llm_info info;
	struct npu_device *dev;
	struct npu_llm *llm;
	char text[512];

	dopt.err = text;
	dopt.err_size = sizeof(text);
	if (npu_device_open(device, &dopt, &dev) || npu_llm_open(dev, path, &opt, &llm, text, sizeof(text)))
		errx(1, "%s", text);
	npu_device_close(dev);
	npu_llm_info(llm, &info, sizeof(info));
	vocab = info.vocab;
	last_logits = allocate(vocab * sizeof(*last_logits));
	return llm;
}

static int32_t argmax(const float *v, uint32_t n)
{
	uint32_t best = 0;

	for (uint32_t i = 1; i < n; i++)
		if (v[i] > v[best])
			best = i;
	return (int32_t)best;
}

/* What was recorded as logits must be what users of the library get. */
static void prompt(struct npu_llm *llm, const int32_t *ids, uint32_t n)
{
	const float *logits;

	if (npu_llm_feed(llm, ids, n))
		errx(1, "%s", npu_llm_error(llm));
	finish();
	logits = npu_llm_logits(llm);
	if (memcmp(last_logits, logits, vocab * sizeof(*logits)))
		errx(1, "the logits are not what the last product with %u columns gave", vocab);
}

static void generate(struct npu_llm *llm, const int32_t *ids, uint32_t n, uint32_t tokens)
{
	struct npu_llm_params params;

	npu_llm_params_init(&params);
	params.temperature = 0;
	params.max_tokens = tokens + 1;		/* the last one is chosen, not computed */
	params.ignore_end = true;
	if (npu_llm_generate(llm, ids, n, &params, NULL))
		errx(1, "%s", npu_llm_error(llm));
	finish();
	if (npu_llm_length(llm) != n + tokens + 1 ||
	    npu_llm_tokens(llm)[n + tokens] != argmax(last_logits, vocab))
		errx(1, "the last token is not the argmax of the last logits");
}

int main(int argc, char **argv)
{
	static int32_t ids[MAX_TOKENS];
	uint32_t n, tokens = argc > 4 ? number(argv[4]) : 0, chunk = argc > 5 ? number(argv[5]) : 0;
	struct npu_llm *llm;

	if (argc < 4 || argc > 7)
		errx(2, "usage: %s MODEL.gguf OUT \"ID ID ...\" [TOKENS [CHUNK [DEVICE]]]", argv[0]);
	n = parse_ids(argv[3], ids);
	llm = open_model(argv[1], chunk ? chunk : n, argc > 6 ? argv[6] : DEVICE);
	out = fopen(argv[2], "wb");
	if (!out)
		err(1, "%s", argv[2]);
	prompt(llm, ids, n);
	if (tokens)
		generate(llm, ids, n, tokens);
	put(TAG('T', 'O', 'K', 'S'), (uint32_t[6]){ npu_llm_length(llm) }, npu_llm_tokens(llm),
	    npu_llm_length(llm) * sizeof(int32_t));
	npu_llm_close(llm);
	free(last_logits);
	if (fclose(out))
		err(1, "%s", argv[2]);
	return 0;
}
