// SPDX-License-Identifier: MIT
/*
 * Weights: which tensors a model must have, their shapes, where they go in the
 * one buffer of weights, and the copy. Each matrix is copied once, from the
 * mapped file into the buffer, and on the way turned into 16-row tiles.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "gguf_internal.h"
#include "llm_internal.h"

#define TILE_ROWS	16u
#define WORK_BYTES	(4u << 20)	/* of a weight copied between two looks at progress */

struct planner {
	struct npu_llm *llm;
	const struct npu_llm_options *opt;
	uint64_t end;
	uint64_t converted[64];		/* tensors, by type */
	int converted_to[64];
};

/* ---- Finding ------------------------------------------------------------------------- */

static const struct npu_gguf_tensor *find(struct planner *p, int layer, const char *name,
					  char *full, size_t size)
{
	if (layer < 0)
		snprintf(full, size, "%s", name);
	else
		snprintf(full, size, "blk.%d.%s", layer, name);
	return npu_gguf_find_tensor(p->llm->gguf, full);
}

/* The tensor, checked to be @cols x @rows; NULL with an error otherwise. */
static const struct npu_gguf_tensor *need(struct planner *p, int layer, const char *name,
					  uint64_t cols, uint64_t rows)
{
	const struct npu_gguf_tensor *t;
	char full[96];

	t = find(p, layer, name, full, sizeof(full));
	if (!t) {
		llm_fail(p->llm, -EBADMSG, "the tensor '%s' is missing: not a whole %s model", full,
			 p->llm->arch->name);
		return NULL;
	}
	if (t->ne[0] != cols || t->ne[1] != rows || t->ne[2] != 1 || t->ne[3] != 1) {
		llm_fail(p->llm, -EBADMSG,
			 "tensor '%s' is %llu x %llu, the metadata say %llu x %llu", full,
			 (unsigned long long)t->ne[0],
			 (unsigned long long)(t->ne[1] * t->ne[2] * t->ne[3]),
			 (unsigned long long)cols, (unsigned long long)rows);
		return NULL;
	}
	return t;
}

static void place(struct planner *p, struct llm_weight *w)
{
	w->offset = (p->end + LLM_WEIGHT_ALIGN - 1) / LLM_WEIGHT_ALIGN * LLM_WEIGHT_ALIGN;
	p->end = w->offset + w->bytes;
}

static void note_conversion(struct planner *p, const struct llm_weight *w)
{
	uint32_t i;

	for (i = 0; i < w->parts; i++) {
		if (w->part[i]->type == w->type || w->part[i]->type >= 64)
			continue;
		p->converted[w->part[i]->type]++;
		p->converted_to[w->part[i]->type] = (int)w->type;
		p->llm->converted++;
	}
}

/* Choose type and layout of a matrix whose parts are found, and place it. */
static int plan_matrix(struct planner *p, struct llm_weight *w)
{
	uint32_t type = w->part[0]->type;
	int dtype = llm_device_type(p->llm, type, w->cols, &w->layout);

	if (dtype < 0)
		return llm_fail(
			p->llm, dtype,
			"tensor '%s' has type %s, which neither the device nor the converter knows; use a Q8_0, Q4_0, Q4_K, Q6_K or F16 file",
			w->part[0]->name, npu_gguf_type_info(type)->name);
	w->type = (enum npu_type)dtype;
	w->bytes = w->layout == NPU_LAYOUT_TILE16 ? npu_tile16_bytes(w->type, w->cols, w->rows) :
						    npu_type_row_bytes(w->type, w->cols) * w->rows;
	if (!w->bytes)
		return llm_fail(p->llm, -EBADMSG, "tensor '%s' is too large", w->part[0]->name);
	place(p, w);
	note_conversion(p, w);
	return 0;
}

static int matrix(struct planner *p, int layer, const char *name, uint32_t cols, uint32_t rows,
		  struct llm_weight *w)
{
	w->part[0] = need(p, layer, name, cols, rows);
	if (!w->part[0])
		return -EBADMSG;
	w->parts = 1;
	w->cols = cols;
	w->rows = rows;
	return plan_matrix(p, w);
}

struct part {
	const char *name;
	uint32_t rows;
	struct llm_weight *alone;
};

/*
 * Several matrices with the same input: joined into one, so that one command
 * does their work, where types agree and tiles are full; else each alone. The
 * bits are the same.
 */
static int joined(struct planner *p, int layer, uint32_t cols, const struct part *part,
		  uint32_t parts, struct llm_weight *w)
{
	bool join = true;
	uint32_t i;
	int ret;

	w->rows = 0;
	for (i = 0; i < parts; i++) {
		w->part[i] = need(p, layer, part[i].name, cols, part[i].rows);
		if (!w->part[i])
			return -EBADMSG;
		w->rows += part[i].rows;
		join = join && w->part[i]->type == w->part[0]->type &&
		       part[i].rows % TILE_ROWS == 0;
	}
	w->cols = cols;
	w->parts = parts;
	if (join)
		return plan_matrix(p, w);
	w->parts = 0;
	for (i = 0; i < parts; i++) {
		ret = matrix(p, layer, part[i].name, cols, part[i].rows, part[i].alone);
		if (ret)
			return ret;
	}
	return 0;
}

/* Vectors joined into one F32 vector. */
static int vector(struct planner *p, int layer, const struct part *part, uint32_t parts,
		  struct llm_weight *w)
{
	uint32_t i;

	w->parts = parts;
	w->rows = 1;
	w->cols = 0;
	w->vector = true;
	w->type = NPU_TYPE_F32;
	w->layout = NPU_LAYOUT_ROWS;
	for (i = 0; i < parts; i++) {
		w->part[i] = need(p, layer, part[i].name, part[i].rows, 1);
		if (!w->part[i])
			return -EBADMSG;
		if (!llm_can_widen(w->part[i]->type))
			return llm_fail(p->llm, -ENOTSUP, "tensor '%s' has the unsupported type %s",
					w->part[i]->name,
					npu_gguf_type_info(w->part[i]->type)->name);
		w->cols += part[i].rows;
	}
	w->bytes = (uint64_t)w->cols * sizeof(float);
	place(p, w);
	return 0;
}

static int one_vector(struct planner *p, int layer, const char *name, uint32_t n,
		      struct llm_weight *w)
{
	return vector(p, layer, &(struct part){ name, n, NULL }, 1, w);
}

static int plan_attention(struct planner *p, int il, struct llm_layer *l)
{
	const struct llm_hparams *hp = &p->llm->hp;
	uint32_t nq = hp->heads * hp->head_dim, nkv = hp->kv_heads * hp->head_dim;
	const struct part qkv[] = {
		{ "attn_q.weight", nq, &l->q },
		{ "attn_k.weight", nkv, &l->k },
		{ "attn_v.weight", nkv, &l->v },
	};
	const struct part bias[] = {
		{ "attn_q.bias", nq, NULL },
		{ "attn_k.bias", nkv, NULL },
		{ "attn_v.bias", nkv, NULL },
	};
	int ret;

	ret = one_vector(p, il, "attn_norm.weight", hp->embd, &l->attn_norm);
	if (!ret)
		ret = joined(p, il, hp->embd, qkv, 3, &l->qkv);
	if (!ret && p->llm->arch->qkv_bias)
		ret = vector(p, il, bias, 3, &l->qkv_bias);
	if (!ret && p->llm->arch->qk_norm)
		ret = one_vector(p, il, "attn_q_norm.weight", hp->head_dim, &l->q_norm);
	if (!ret && p->llm->arch->qk_norm)
		ret = one_vector(p, il, "attn_k_norm.weight", hp->head_dim, &l->k_norm);
	if (!ret)
		ret = matrix(p, il, "attn_output.weight", nq, hp->embd, &l->attn_out);
	return ret;
}

static int plan_ffn(struct planner *p, int il, struct llm_layer *l)
{
	const struct llm_hparams *hp = &p->llm->hp;
	const struct part gate_up[] = {
		{ "ffn_gate.weight", hp->ff, &l->gate }, { "ffn_up.weight", hp->ff, &l->up },
	};
	int ret;

	ret = one_vector(p, il, "ffn_norm.weight", hp->embd, &l->ffn_norm);
	if (!ret)
		ret = joined(p, il, hp->embd, gate_up, 2, &l->gate_up);
	if (!ret)
		ret = matrix(p, il, "ffn_down.weight", hp->ff, hp->embd, &l->down);
	return ret;
}

static void say_conversions(struct planner *p)
{
	char text[160];
	uint32_t i;

	for (i = 0; i < 64; i++) {
		if (!p->converted[i] || !p->opt->notice)
			continue;
		snprintf(text, sizeof(text),
			 "%llu %s tensors are converted to %s, which the device computes with",
			 (unsigned long long)p->converted[i], npu_gguf_type_info(i)->name,
			 npu_gguf_type_info((uint32_t)p->converted_to[i])->name);
		p->opt->notice(p->opt->data, text);
	}
}

int llm_plan_weights(struct npu_llm *llm, const struct npu_llm_options *opt)
{
	struct planner p = { .llm = llm, .opt = opt };
	char full[96];
	uint32_t i;
	int ret;

	llm->layer = calloc(llm->hp.layers, sizeof(*llm->layer));
	if (!llm->layer)
		return llm_fail(llm, -ENOMEM, "out of memory");
	ret = matrix(&p, -1, "token_embd.weight", llm->hp.embd, llm->hp.vocab, &llm->embd);
	for (i = 0; i < llm->hp.layers && !ret; i++) {
		ret = plan_attention(&p, (int)i, &llm->layer[i]);
		if (!ret)
			ret = plan_ffn(&p, (int)i, &llm->layer[i]);
	}
	if (!ret)
		ret = one_vector(&p, -1, "output_norm.weight", llm->hp.embd, &llm->out_norm);
	llm->tied = !find(&p, -1, "output.weight", full, sizeof(full));
	if (!ret && llm->tied)
		llm->output = llm->embd;
	else if (!ret)
		ret = matrix(&p, -1, "output.weight", llm->hp.embd, llm->hp.vocab, &llm->output);
	if (ret)
		return ret;
	llm->weight_bytes = p.end;
	say_conversions(&p);
	return 0;
}

/* ---- Copying ---------------------------------------------------------------------------- */

/* Rows [first, first + rows) of one part of a weight. */
struct work {
	const struct llm_weight *w;
	const struct npu_gguf_tensor *t;
	uint64_t first, rows;
	uint64_t at;			/* row of the weight that @first becomes */
};

struct copier {
	struct npu_llm *llm;
	const struct npu_llm_options *opt;
	uint8_t *dst;
	struct work *work;
	size_t n, room;
	atomic_size_t next;
	atomic_size_t bytes;
	atomic_int error;
};

static int add_work(struct copier *c, const struct llm_weight *w)
{
	uint64_t row, step, first, at = 0;
	uint32_t i;

	for (i = 0; i < w->parts; i++) {
		uint64_t rows = w->vector ? 1 : w->part[i]->ne[1];

		row = w->part[i]->size / rows;
		step = (WORK_BYTES / row + TILE_ROWS) / TILE_ROWS * TILE_ROWS;
		for (first = 0; first < rows; first += step) {
			if (c->n == c->room) {
				size_t room = c->room ? 2 * c->room : 256;
				struct work *all = realloc(c->work, room * sizeof(*all));

				if (!all)
					return -ENOMEM;
				c->work = all;
				c->room = room;
			}
			c->work[c->n++] = (struct work){ w, w->part[i], first,
							 rows - first < step ? rows - first : step,
							 at + first };
		}
		at += w->vector ? w->part[i]->ne[0] : rows;
	}
	return 0;
}

/* Vectors: @at counts elements. */
static void copy_vector(struct copier *c, const struct work *k)
{
	llm_row_to_f32(k->t->type, k->t->data, k->t->ne[0],
		       (float *)(c->dst + k->w->offset) + k->at);
}

/* Convert rows through F32 into @out, rows of the device's type. */
static int convert_rows(const struct work *k, uint8_t *out)
{
	uint64_t r, n = k->w->cols, src_row = k->t->size / k->t->ne[1],
		    dst_row = npu_type_row_bytes(k->w->type, n);
	float *tmp = malloc(n * sizeof(*tmp));

	if (!tmp)
		return -ENOMEM;
	for (r = 0; r < k->rows; r++) {
		llm_row_to_f32(k->t->type, (const uint8_t *)k->t->data + (k->first + r) * src_row,
			       n, tmp);
		llm_row_from_f32(k->w->type, tmp, n, out + r * dst_row);
	}
	free(tmp);
	return 0;
}

static int copy_matrix(struct copier *c, const struct work *k)
{
	const struct llm_weight *w = k->w;
	uint64_t row = npu_type_row_bytes(w->type, w->cols);
	const uint8_t *src = (const uint8_t *)k->t->data + k->first * (k->t->size / k->t->ne[1]);
	uint8_t *dst = c->dst + w->offset + k->at * row, *tmp = NULL;
	int ret = 0;

	if (k->t->type != w->type) {
		tmp = malloc(k->rows * row);
		ret = tmp ? convert_rows(k, tmp) : -ENOMEM;
		src = tmp;
	}
	if (!ret && w->layout == NPU_LAYOUT_TILE16)
		ret = npu_tile16_pack(w->type, w->cols, k->rows, src, dst);
	else if (!ret)
		memcpy(dst, src, k->rows * row);
	free(tmp);
	return ret;
}

/*
 * Whole pages of the mapped file that were copied: they need not stay in the process beside the
 * copy.
 */
static void drop_source(const uint8_t *src, uint64_t bytes)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t first = ((uintptr_t)src + page - 1) / page * page,
		  end = ((uintptr_t)src + bytes) / page * page;

	if (end > first)
		madvise((void *)first, end - first, MADV_DONTNEED);
}

static int copy_one(struct copier *c, size_t i)
{
	const struct work *k = &c->work[i];
	uint64_t row = k->t->size / (k->w->vector ? 1 : k->t->ne[1]);
	int ret = 0;

	if (k->w->vector) {
		copy_vector(c, k);
	} else {
		ret = copy_matrix(c, k);
		drop_source((const uint8_t *)k->t->data + k->first * row, k->rows * row);
	}
	atomic_fetch_add(&c->bytes, k->rows * row);
	return ret;
}

static void *copy_thread(void *arg)
{
	struct copier *c = arg;
	size_t i;
	int ret;

	while (!atomic_load(&c->error) && (i = atomic_fetch_add(&c->next, 1)) < c->n) {
		ret = copy_one(c, i);
		if (ret)
			atomic_store(&c->error, ret);
	}
	return NULL;
}

/* The calling thread works, too, and reports progress between pieces. */
static void copy_and_report(struct copier *c)
{
	size_t i;
	int ret;

	while (!atomic_load(&c->error) && (i = atomic_fetch_add(&c->next, 1)) < c->n) {
		ret = copy_one(c, i);
		if (!ret && c->opt->progress &&
		    c->opt->progress(c->opt->data, atomic_load(&c->bytes), c->llm->weight_bytes))
			ret = -ECANCELED;
		if (ret)
			atomic_store(&c->error, ret);
	}
}

static int copy_all(struct copier *c)
{
	unsigned int i, made, threads = c->opt->threads;
	pthread_t id[7];

	if (!threads)
		threads = (unsigned int)sysconf(_SC_NPROCESSORS_ONLN);
	if (threads > 8)
		threads = 8;
	for (made = 0; made + 1 < threads; made++)
		if (pthread_create(&id[made], NULL, copy_thread, c))
			break;
	copy_and_report(c);
	for (i = 0; i < made; i++)
		pthread_join(id[i], NULL);
	return atomic_load(&c->error);
}

static int list_work(struct copier *c)
{
	struct npu_llm *llm = c->llm;
	uint32_t i, j;
	int ret = add_work(c, &llm->embd);

	for (i = 0; i < llm->hp.layers && !ret; i++) {
		const struct llm_weight *w = (const struct llm_weight *)&llm->layer[i];

		for (j = 0; j < sizeof(struct llm_layer) / sizeof(*w) && !ret; j++)
			ret = add_work(c, &w[j]);
	}
	if (!ret)
		ret = add_work(c, &llm->out_norm);
	if (!ret && !llm->tied)
		ret = add_work(c, &llm->output);
	return ret;
}

/* The software device's memory is only found missing when it is touched, so ask before. */
static int check_memory(struct npu_llm *llm)
{
	char line[128];
	unsigned long long kib = 0;
	FILE *f = fopen("/proc/meminfo", "r");

	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1)
			break;
	fclose(f);
	if (!kib || llm->weight_bytes / 1024 < kib)
		return 0;
	return llm_fail(
		llm, -ENOMEM,
		"the model needs %.1f GiB, but only %.1f GiB of memory are free; use a smaller model or a smaller weight type",
		(double)llm->weight_bytes / (1u << 30), (double)kib / (1u << 20));
}

int llm_load_weights(struct npu_llm *llm, const struct npu_llm_options *opt)
{
	struct copier c = { .llm = llm, .opt = opt };
	int ret = check_memory(llm);

	if (ret)
		return ret;
	ret = npu_buffer_create(llm->vm, llm->weight_bytes, NPU_BUFFER_READONLY, &llm->weights);
	if (!ret) {
		c.dst = npu_buffer_map(llm->weights);
		ret = c.dst ? 0 : -ENOMEM;
	}
	if (ret)
		return llm_fail_device(llm, ret, "no device memory for the weights");
	ret = list_work(&c);
	if (!ret)
		ret = copy_all(&c);
	free(c.work);
	if (ret == -ECANCELED)
		return llm_fail(llm, ret, "loading was cancelled");
	if (ret)
		return llm_fail(llm, ret, "the weights cannot be copied: %s", npu_strerror(ret));
	gguf_release(llm->gguf);
	ret = npu_buffer_sync(llm->weights, NPU_SYNC_FOR_DEVICE, 0, llm->weight_bytes);
	return ret ? llm_fail_device(llm, ret, "the weights cannot be handed to the device") : 0;
}
