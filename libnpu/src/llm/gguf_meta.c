// SPDX-License-Identifier: MIT
/* Access to the metadata and tensors of an open GGUF file. All of it was checked by gguf.c. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gguf_internal.h"

uint32_t npu_gguf_version(const struct npu_gguf *g)
{
	return g->version;
}

uint32_t npu_gguf_parts(const struct npu_gguf *g)
{
	return g->n_parts;
}

uint64_t npu_gguf_file_size(const struct npu_gguf *g)
{
	uint64_t sum = 0;
	uint32_t i;

	for (i = 0; i < g->n_parts; i++)
		sum += g->parts[i].size;
	return sum;
}

uint64_t npu_gguf_kv_count(const struct npu_gguf *g)
{
	return g->parts[0].n_kv;
}

const struct npu_gguf_kv *npu_gguf_kv(const struct npu_gguf *g, uint64_t i)
{
	return i < g->parts[0].n_kv ? &g->parts[0].kv[i] : NULL;
}

static int compare_key(const void *key, const void *elem)
{
	const struct npu_gguf_kv *const *kv = elem;

	return strcmp(key, (*kv)->key);
}

const struct npu_gguf_kv *gguf_part_find(const struct gguf_part *part, const char *key)
{
	struct npu_gguf_kv **kv;

	kv = bsearch(key, part->by_key, part->n_kv, sizeof(*part->by_key), compare_key);
	return kv ? *kv : NULL;
}

const struct npu_gguf_kv *npu_gguf_find(const struct npu_gguf *g, const char *key)
{
	return gguf_part_find(&g->parts[0], key);
}

int npu_gguf_kv_int(const struct npu_gguf_kv *kv, uint64_t i, int64_t *out)
{
	uint8_t raw[8] = { 0 };
	size_t size = gguf_scalar_size(kv->type);
	uint64_t u;

	if (!size || kv->type == NPU_GGUF_F32 || kv->type == NPU_GGUF_F64)
		return -EINVAL;
	if (i >= kv->count)
		return -ERANGE;
	memcpy(raw, kv->data + i * size, size);
	memcpy(&u, raw, 8);
	switch (kv->type) {
	case NPU_GGUF_I8:
		*out = (int8_t)u;
		break;
	case NPU_GGUF_I16:
		*out = (int16_t)u;
		break;
	case NPU_GGUF_I32:
		*out = (int32_t)u;
		break;
	case NPU_GGUF_U64:
		if (u > INT64_MAX)
			return -EINVAL;
		*out = (int64_t)u;
		break;
	default:
		*out = (int64_t)u;
		break;
	}
	return 0;
}

int npu_gguf_kv_float(const struct npu_gguf_kv *kv, uint64_t i, double *out)
{
	float f;

	if (kv->type != NPU_GGUF_F32 && kv->type != NPU_GGUF_F64)
		return -EINVAL;
	if (i >= kv->count)
		return -ERANGE;
	if (kv->type == NPU_GGUF_F64) {
		memcpy(out, kv->data + i * 8, 8);
	} else {
		memcpy(&f, kv->data + i * 4, 4);
		*out = (double)f;
	}
	return 0;
}

bool npu_gguf_kv_next_str(const struct npu_gguf_kv *kv, const uint8_t **pos,
			  struct npu_gguf_str *out)
{
	const uint8_t *p = *pos ? *pos : kv->data;
	uint64_t len;

	if (kv->type != NPU_GGUF_STRING || p == kv->data + kv->size)
		return false;
	memcpy(&len, p, 8);
	out->ptr = (const char *)p + 8;
	out->len = len;
	*pos = p + 8 + len;
	return true;
}

static const struct npu_gguf_kv *find_scalar(const struct npu_gguf *g, const char *key)
{
	const struct npu_gguf_kv *kv = npu_gguf_find(g, key);

	return kv && !kv->is_array ? kv : NULL;
}

int npu_gguf_get_u64(const struct npu_gguf *g, const char *key, uint64_t *out)
{
	const struct npu_gguf_kv *kv = find_scalar(g, key);
	int64_t v;

	if (!kv)
		return npu_gguf_find(g, key) ? -EINVAL : -ENOENT;
	if (npu_gguf_kv_int(kv, 0, &v) || v < 0)
		return -EINVAL;
	*out = (uint64_t)v;
	return 0;
}

int npu_gguf_get_u32(const struct npu_gguf *g, const char *key, uint32_t *out)
{
	uint64_t v;
	int ret = npu_gguf_get_u64(g, key, &v);

	if (ret)
		return ret;
	if (v > UINT32_MAX)
		return -EINVAL;
	*out = (uint32_t)v;
	return 0;
}

int npu_gguf_get_f32(const struct npu_gguf *g, const char *key, float *out)
{
	const struct npu_gguf_kv *kv = find_scalar(g, key);
	double v;

	if (!kv)
		return npu_gguf_find(g, key) ? -EINVAL : -ENOENT;
	if (npu_gguf_kv_float(kv, 0, &v))
		return -EINVAL;
	*out = (float)v;
	return 0;
}

int npu_gguf_get_bool(const struct npu_gguf *g, const char *key, bool *out)
{
	const struct npu_gguf_kv *kv = find_scalar(g, key);

	if (!kv)
		return npu_gguf_find(g, key) ? -EINVAL : -ENOENT;
	if (kv->type != NPU_GGUF_BOOL)
		return -EINVAL;
	*out = kv->data[0];
	return 0;
}

int npu_gguf_get_str(const struct npu_gguf *g, const char *key, struct npu_gguf_str *out)
{
	const struct npu_gguf_kv *kv = find_scalar(g, key);
	const uint8_t *pos = NULL;

	if (!kv)
		return npu_gguf_find(g, key) ? -EINVAL : -ENOENT;
	return npu_gguf_kv_next_str(kv, &pos, out) ? 0 : -EINVAL;
}

uint64_t npu_gguf_tensor_count(const struct npu_gguf *g)
{
	return g->n_tensors;
}

const struct npu_gguf_tensor *npu_gguf_tensor(const struct npu_gguf *g, uint64_t i)
{
	return i < g->n_tensors ? &g->tensors[i] : NULL;
}

static int compare_name(const void *key, const void *elem)
{
	const struct npu_gguf_tensor *const *t = elem;

	return strcmp(key, (*t)->name);
}

const struct npu_gguf_tensor *npu_gguf_find_tensor(const struct npu_gguf *g, const char *name)
{
	struct npu_gguf_tensor **t;

	t = bsearch(name, g->by_name, g->n_tensors, sizeof(*g->by_name), compare_name);
	return t ? *t : NULL;
}
