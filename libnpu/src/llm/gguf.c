// SPDX-License-Identifier: MIT
/*
 * GGUF loader: maps the files and checks every byte of their headers before
 * anything is believed. After npu_gguf_open() the accessors in gguf_meta.c need
 * no further check.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gguf_internal.h"

#define GGUF_MAGIC		0x46554747u	/* "GGUF" */
#define GGUF_DEFAULT_ALIGN	32u
#define GGUF_MAX_ALIGN		(1u << 20)
#define GGUF_MAX_NAME		65535u
#define GGUF_MAX_PARTS		1024u
/*
 * Smallest entries: key length, key, type, value; name length, name, ndims, one dimension, type,
 * offset.
 */
#define GGUF_MIN_KV		(8 + 1 + 4 + 1)
#define GGUF_MIN_TENSOR		(8 + 1 + 4 + 8 + 4 + 8)

/* Where the parser is. All errors go through gguf_fail(). */
struct parser {
	struct npu_gguf *g;
	struct gguf_part *part;
	uint32_t part_index;
	uint64_t pos;
	char *err;
	size_t err_size;
};

__attribute__((format(printf, 3, 4)))
static int gguf_fail(struct parser *p, int code, const char *fmt, ...)
{
	int n = 0;
	va_list ap;

	if (!p->err || !p->err_size)
		return code;
	if (p->part)
		n = snprintf(p->err, p->err_size, "%s: ", p->part->path);
	if (n < 0 || (size_t)n >= p->err_size)
		return code;
	va_start(ap, fmt);
	vsnprintf(p->err + n, p->err_size - (size_t)n, fmt, ap);
	va_end(ap);
	return code;
}

static uint64_t left(const struct parser *p)
{
	return p->part->size - p->pos;
}

static int take(struct parser *p, void *out, size_t n, const char *what)
{
	if (left(p) < n) {
		gguf_fail(p, -EBADMSG,
			  "truncated at byte %llu, in %s; the file is incomplete: fetch it again",
			  (unsigned long long)p->pos, what);
		return -EBADMSG;
	}
	memcpy(out, p->part->map + p->pos, n);
	p->pos += n;
	return 0;
}

/*
 * A key or name: copied to a terminated string in the arena, so that callers get a plain C
 * string.
 */
static int take_name(struct parser *p, const char **out, const char *what)
{
	uint64_t at = p->pos, len;
	char *s;
	int ret = take(p, &len, 8, what);

	if (ret)
		return ret;
	if (len == 0 || len > GGUF_MAX_NAME || len > left(p))
		return gguf_fail(p, -EBADMSG, "%s at byte %llu has an impossible length of %llu",
				 what, (unsigned long long)at, (unsigned long long)len);
	if (memchr(p->part->map + p->pos, 0, len))
		return gguf_fail(p, -EBADMSG, "%s at byte %llu contains a zero byte", what,
				 (unsigned long long)at);
	s = malloc(len + 1);
	if (!s)
		return gguf_fail(p, -ENOMEM, "out of memory for names");
	memcpy(s, p->part->map + p->pos, len);
	s[len] = 0;
	p->pos += len;
	*out = s;
	return 0;
}

/* Bytes of a scalar of that type; 0 for strings, arrays and unknown types. */
size_t gguf_scalar_size(uint32_t type)
{
	switch (type) {
	case NPU_GGUF_U8: case NPU_GGUF_I8: case NPU_GGUF_BOOL:
		return 1;
	case NPU_GGUF_U16: case NPU_GGUF_I16:
		return 2;
	case NPU_GGUF_U32: case NPU_GGUF_I32: case NPU_GGUF_F32:
		return 4;
	case NPU_GGUF_U64: case NPU_GGUF_I64: case NPU_GGUF_F64:
		return 8;
	default:
		return 0;
	}
}

static int skip_strings(struct parser *p, const struct npu_gguf_kv *kv)
{
	uint64_t i, len;
	int ret;

	for (i = 0; i < kv->count; i++) {
		ret = take(p, &len, 8, kv->key);
		if (ret)
			return ret;
		if (len > left(p))
			return gguf_fail(p, -EBADMSG,
					 "value %llu of '%s' has an impossible length of %llu",
					 (unsigned long long)i, kv->key, (unsigned long long)len);
		p->pos += len;
	}
	return 0;
}

static int check_bools(struct parser *p, const struct npu_gguf_kv *kv)
{
	uint64_t i;

	for (i = 0; i < kv->count; i++)
		if (kv->data[i] > 1)
			return gguf_fail(p, -EBADMSG, "'%s' is a bool but holds %u", kv->key,
					 kv->data[i]);
	return 0;
}

static int parse_value(struct parser *p, struct npu_gguf_kv *kv)
{
	uint32_t type;
	size_t size;
	int ret = take(p, &type, 4, kv->key);

	if (ret)
		return ret;
	kv->count = 1;
	if (type == NPU_GGUF_ARRAY) {
		kv->is_array = true;
		ret = take(p, &type, 4, kv->key);
		if (!ret)
			ret = take(p, &kv->count, 8, kv->key);
		if (ret)
			return ret;
		if (type == NPU_GGUF_ARRAY)
			return gguf_fail(p, -EBADMSG,
					 "'%s' is an array of arrays, which is not supported",
					 kv->key);
	}
	if (!npu_gguf_value_type_name(type))
		return gguf_fail(p, -EBADMSG, "'%s' has the unknown type %u", kv->key, type);
	kv->type = type;
	kv->data = p->part->map + p->pos;
	if (type == NPU_GGUF_STRING) {
		ret = skip_strings(p, kv);
		kv->size = (uint64_t)(p->part->map + p->pos - kv->data);
		return ret;
	}
	size = gguf_scalar_size(type);
	if (kv->count > left(p) / size)
		return gguf_fail(p, -EBADMSG, "'%s' with %llu values does not fit in the file",
				 kv->key, (unsigned long long)kv->count);
	kv->size = kv->count * size;
	p->pos += kv->size;
	return type == NPU_GGUF_BOOL ? check_bools(p, kv) : 0;
}

static int compare_kv(const void *a, const void *b)
{
	const struct npu_gguf_kv *const *x = a, *const *y = b;

	return strcmp((*x)->key, (*y)->key);
}

static int index_kv(struct parser *p, struct gguf_part *part)
{
	uint64_t i;

	part->by_key = calloc(part->n_kv ? part->n_kv : 1, sizeof(*part->by_key));
	if (!part->by_key)
		return gguf_fail(p, -ENOMEM, "out of memory for the index of keys");
	for (i = 0; i < part->n_kv; i++)
		part->by_key[i] = &part->kv[i];
	qsort(part->by_key, part->n_kv, sizeof(*part->by_key), compare_kv);
	for (i = 1; i < part->n_kv; i++)
		if (!strcmp(part->by_key[i - 1]->key, part->by_key[i]->key))
			return gguf_fail(p, -EBADMSG, "the key '%s' occurs twice",
					 part->by_key[i]->key);
	return 0;
}

static int parse_kvs(struct parser *p, uint64_t count)
{
	struct gguf_part *part = p->part;
	int ret;

	if (count > left(p) / GGUF_MIN_KV)
		return gguf_fail(p, -EBADMSG, "%llu metadata entries cannot fit in the file",
				 (unsigned long long)count);
	part->kv = calloc(count ? count : 1, sizeof(*part->kv));
	if (!part->kv)
		return gguf_fail(p, -ENOMEM, "out of memory for %llu metadata entries",
				 (unsigned long long)count);
	for (; part->n_kv < count; part->n_kv++) {
		struct npu_gguf_kv *kv = &part->kv[part->n_kv];

		ret = take_name(p, &kv->key, "a key");
		if (ret)
			return ret;
		ret = parse_value(p, kv);
		if (ret) {
			part->n_kv++;	/* its key is freed with the rest */
			return ret;
		}
	}
	return index_kv(p, part);
}

/* Bytes of the tensor's data, or an error: every product is checked. */
static int tensor_size(struct parser *p, struct npu_gguf_tensor *t)
{
	const struct npu_gguf_type_info *info = npu_gguf_type_info(t->type);
	uint64_t blocks, i;

	if (!info)
		return gguf_fail(p, -EBADMSG, "tensor '%s' has the unknown type %u", t->name,
				 t->type);
	if (t->ne[0] % info->block_len)
		return gguf_fail(
			p, -EBADMSG,
			"tensor '%s' has rows of %llu elements, not a multiple of %s's block of %u",
			t->name, (unsigned long long)t->ne[0], info->name, info->block_len);
	blocks = t->ne[0] / info->block_len;
	for (i = 1; i < 4; i++)
		if (__builtin_mul_overflow(blocks, t->ne[i], &blocks))
			goto overflow;
	if (__builtin_mul_overflow(blocks, (uint64_t)info->block_size, &t->size) ||
	    t->size > INT64_MAX)
		goto overflow;
	return 0;
overflow:
	return gguf_fail(p, -EBADMSG, "the size of tensor '%s' overflows", t->name);
}

static int parse_tensor(struct parser *p, struct npu_gguf_tensor *t)
{
	uint32_t i;
	int ret;

	if ((ret = take(p, &t->ndims, 4, t->name)))
		return ret;
	if (t->ndims < 1 || t->ndims > 4)
		return gguf_fail(p, -EBADMSG, "tensor '%s' has %u dimensions, 1 to 4 are possible",
				 t->name, t->ndims);
	for (i = 0; i < 4; i++)
		t->ne[i] = 1;
	for (i = 0; i < t->ndims; i++) {
		if ((ret = take(p, &t->ne[i], 8, t->name)))
			return ret;
		if (t->ne[i] == 0)
			return gguf_fail(p, -EBADMSG, "tensor '%s' has a dimension of zero",
					 t->name);
	}
	if ((ret = take(p, &t->type, 4, t->name)) || (ret = take(p, &t->offset, 8, t->name)))
		return ret;
	t->part = p->part_index;
	if (t->offset % p->part->align)
		return gguf_fail(p, -EBADMSG, "tensor '%s' is not aligned to %u bytes", t->name,
				 p->part->align);
	return tensor_size(p, t);
}

static int parse_tensors(struct parser *p, uint64_t count)
{
	struct npu_gguf *g = p->g;
	struct npu_gguf_tensor *all;
	int ret;

	if (count > left(p) / GGUF_MIN_TENSOR)
		return gguf_fail(p, -EBADMSG, "%llu tensors cannot fit in the file",
				 (unsigned long long)count);
	all = realloc(g->tensors, (g->n_tensors + count + 1) * sizeof(*all));
	if (!all)
		return gguf_fail(p, -ENOMEM, "out of memory for %llu tensors",
				 (unsigned long long)count);
	g->tensors = all;
	p->part->first_tensor = g->n_tensors;
	p->part->n_tensors = count;
	for (; count; count--) {
		struct npu_gguf_tensor *t = &g->tensors[g->n_tensors];

		memset(t, 0, sizeof(*t));
		ret = take_name(p, &t->name, "a tensor name");
		if (ret)
			return ret;
		g->n_tensors++;
		ret = parse_tensor(p, t);
		if (ret)
			return ret;
	}
	return 0;
}

static int compare_offset(const void *a, const void *b)
{
	const struct npu_gguf_tensor *const *x = a, *const *y = b;

	return ((*x)->offset > (*y)->offset) - ((*x)->offset < (*y)->offset);
}

/* Data of this part: inside the file and without overlap. */
static int place_tensors(struct parser *p)
{
	struct gguf_part *part = p->part;
	uint64_t i, base, n = part->n_tensors;
	struct npu_gguf_tensor *t, **sorted;
	int ret = 0;

	/* The file may end in the padding in front of the data if there is no data. */
	base = (p->pos + part->align - 1) / part->align * part->align;
	sorted = calloc(n ? n : 1, sizeof(*sorted));
	if (!sorted)
		return gguf_fail(p, -ENOMEM, "out of memory for %llu tensors",
				 (unsigned long long)n);
	for (i = 0; i < n; i++)
		sorted[i] = &p->g->tensors[part->first_tensor + i];
	qsort(sorted, n, sizeof(*sorted), compare_offset);
	for (i = 0; i < n; i++) {
		t = sorted[i];
		if (base > part->size || t->offset > part->size - base ||
		    t->size > part->size - base - t->offset)
			ret = gguf_fail(
				p, -EBADMSG,
				"tensor '%s' ends beyond the file (%llu bytes); the file is incomplete: fetch it again",
				t->name, (unsigned long long)part->size);
		else if (i + 1 < n && t->offset + t->size > sorted[i + 1]->offset)
			ret = gguf_fail(p, -EBADMSG, "tensors '%s' and '%s' overlap", t->name,
					sorted[i + 1]->name);
		if (ret)
			break;
		t->offset += base;
		t->data = part->map + t->offset;
	}
	free(sorted);
	return ret;
}

static int read_align(struct parser *p)
{
	const struct npu_gguf_kv *kv = gguf_part_find(p->part, "general.alignment");
	int64_t v = GGUF_DEFAULT_ALIGN;

	if (kv && (kv->is_array || npu_gguf_kv_int(kv, 0, &v)))
		return gguf_fail(p, -EBADMSG, "general.alignment is not an integer");
	if (v < 8 || v > GGUF_MAX_ALIGN || (v & (v - 1)))
		return gguf_fail(p, -EBADMSG,
				 "general.alignment is %lld, not a power of two from 8 to %u",
				 (long long)v, GGUF_MAX_ALIGN);
	p->part->align = (uint32_t)v;
	return 0;
}

static int parse_part(struct parser *p)
{
	uint32_t magic, version;
	uint64_t n_tensors, n_kv;
	int ret;

	p->pos = 0;
	if ((ret = take(p, &magic, 4, "the header")))
		return ret;
	if (magic != GGUF_MAGIC)
		return gguf_fail(p, -EBADMSG, "not a GGUF file (it begins with 0x%08x)", magic);
	if ((ret = take(p, &version, 4, "the header")))
		return ret;
	if (version != 2 && version != 3) {
		if (version == 0x02000000 || version == 0x03000000)
			return gguf_fail(p, -EPROTONOSUPPORT,
					 "a big-endian GGUF file; convert it to little endian");
		return gguf_fail(p, -EPROTONOSUPPORT,
				 "GGUF version %u; versions 2 and 3 are supported", version);
	}
	if (p->part_index == 0)
		p->g->version = version;
	if ((ret = take(p, &n_tensors, 8, "the header")) || (ret = take(p, &n_kv, 8, "the header")))
		return ret;
	if ((ret = parse_kvs(p, n_kv)) || (ret = read_align(p)) ||
	    (ret = parse_tensors(p, n_tensors)))
		return ret;
	return place_tensors(p);
}

static int compare_tensor(const void *a, const void *b)
{
	const struct npu_gguf_tensor *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

static int index_tensors(struct parser *p)
{
	struct npu_gguf *g = p->g;
	uint64_t i;

	p->part = &g->parts[0];
	g->by_name = calloc(g->n_tensors ? g->n_tensors : 1, sizeof(*g->by_name));
	if (!g->by_name)
		return gguf_fail(p, -ENOMEM, "out of memory for the index of tensors");
	for (i = 0; i < g->n_tensors; i++)
		g->by_name[i] = &g->tensors[i];
	qsort(g->by_name, g->n_tensors, sizeof(*g->by_name), compare_tensor);
	for (i = 1; i < g->n_tensors; i++)
		if (!strcmp(g->by_name[i - 1]->name, g->by_name[i]->name))
			return gguf_fail(p, -EBADMSG, "the tensor '%s' occurs twice",
					 g->by_name[i]->name);
	return 0;
}

static int map_part(struct parser *p, const char *path)
{
	struct gguf_part *part = p->part;
	struct stat st;
	int fd, ret = 0;
	void *map;

	part->path = strdup(path);
	if (!part->path)
		return gguf_fail(p, -ENOMEM, "out of memory");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return gguf_fail(p, -errno, "%s", strerror(errno));
	if (fstat(fd, &st))
		ret = gguf_fail(p, -errno, "%s", strerror(errno));
	else if (!S_ISREG(st.st_mode))
		ret = gguf_fail(p, -EBADMSG, "not a regular file");
	else if (st.st_size < 24)
		ret = gguf_fail(p, -EBADMSG, "too short for a GGUF file (%lld bytes)",
				(long long)st.st_size);
	if (!ret) {
		map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
		if (map == MAP_FAILED) {
			ret = gguf_fail(p, -errno, "cannot be mapped: %s", strerror(errno));
		} else {
			part->map = map;
			part->size = (uint64_t)st.st_size;
			part->mapped = true;
		}
	}
	close(fd);
	return ret;
}

static int split_info(struct parser *p, uint32_t index, uint32_t *count)
{
	const struct npu_gguf_kv *no = gguf_part_find(p->part, "split.no");
	const struct npu_gguf_kv *n = gguf_part_find(p->part, "split.count");
	int64_t v = 0;

	*count = 1;
	if (!n)
		return 0;
	if (npu_gguf_kv_int(n, 0, &v) || v < 1 || v > GGUF_MAX_PARTS)
		return gguf_fail(p, -EBADMSG, "split.count is not a number from 1 to %u",
				 GGUF_MAX_PARTS);
	*count = (uint32_t)v;
	v = 0;
	if (no && npu_gguf_kv_int(no, 0, &v))
		return gguf_fail(p, -EBADMSG, "split.no is not an integer");
	if (v == index)
		return 0;
	if (index == 0)
		return gguf_fail(p, -EBADMSG,
				 "part %lld of %u of a split model; name its first part instead",
				 (long long)v + 1, *count);
	return gguf_fail(p, -EBADMSG, "says that it is part %lld of %u, expected part %u",
			 (long long)v + 1, *count, index + 1);
}

/* "dir/name-00001-of-00003.gguf" -> the name of part @index (from 0). */
static int part_name(struct parser *p, const char *first, uint32_t index, uint32_t count, char *out,
		     size_t size)
{
	char suffix[64];
	size_t len = strlen(first), slen;

	slen = (size_t)snprintf(suffix, sizeof(suffix), "-00001-of-%05u.gguf", count);
	if (len < slen || strcmp(first + len - slen, suffix))
		return gguf_fail(
			p, -EBADMSG,
			"is the first of %u parts, but its name does not end in '%s', so that the others cannot be found",
			count, suffix);
	if ((size_t)snprintf(out, size, "%.*s-%05u-of-%05u.gguf", (int)(len - slen), first,
			     index + 1, count) >= size)
		return gguf_fail(p, -ENAMETOOLONG, "the name of part %u is too long", index + 1);
	return 0;
}

static int parse_other_parts(struct parser *p, const char *first, uint32_t count)
{
	char name[PATH_MAX];
	struct gguf_part *parts;
	uint32_t i, n;
	int ret;

	parts = realloc(p->g->parts, count * sizeof(*parts));
	if (!parts)
		return gguf_fail(p, -ENOMEM, "out of memory for %u parts", count);
	memset(parts + 1, 0, (count - 1) * sizeof(*parts));
	p->g->parts = parts;
	p->g->n_parts = count;
	for (i = 1; i < count; i++) {
		p->part = &parts[0];
		ret = part_name(p, first, i, count, name, sizeof(name));
		if (ret)
			return ret;
		p->part = &parts[i];
		p->part_index = i;
		if ((ret = map_part(p, name)) || (ret = parse_part(p)) ||
		    (ret = split_info(p, i, &n)))
			return ret;
		if (n != count)
			return gguf_fail(p, -EBADMSG, "belongs to a set of %u parts, not %u", n,
					 count);
	}
	return 0;
}

static int check_split_total(struct parser *p)
{
	const struct npu_gguf_kv *kv = gguf_part_find(&p->g->parts[0], "split.tensors.count");
	int64_t v;

	p->part = &p->g->parts[0];
	if (!kv || (!npu_gguf_kv_int(kv, 0, &v) && v >= 0 && (uint64_t)v == p->g->n_tensors))
		return 0;
	return gguf_fail(p, -EBADMSG, "the parts hold %llu tensors, split.tensors.count differs",
			 (unsigned long long)p->g->n_tensors);
}

static struct npu_gguf *gguf_new(struct parser *p)
{
	struct npu_gguf *g = calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	g->parts = calloc(1, sizeof(*g->parts));
	if (!g->parts) {
		free(g);
		return NULL;
	}
	g->n_parts = 1;
	p->g = g;
	p->part = &g->parts[0];
	return g;
}

int npu_gguf_open(const char *path, struct npu_gguf **out, char *err, size_t err_size)
{
	struct parser p = { .err = err, .err_size = err_size };
	uint32_t count = 1;
	int ret;

	if (!path || !out)
		return -EINVAL;
	*out = NULL;
	if (!gguf_new(&p))
		return gguf_fail(&p, -ENOMEM, "out of memory");
	ret = map_part(&p, path);
	if (!ret)
		ret = parse_part(&p);
	if (!ret)
		ret = split_info(&p, 0, &count);
	if (!ret && count > 1)
		ret = parse_other_parts(&p, path, count);
	if (!ret && count > 1)
		ret = check_split_total(&p);
	if (!ret)
		ret = index_tensors(&p);
	if (ret)
		npu_gguf_close(p.g);
	else
		*out = p.g;
	return ret;
}

int npu_gguf_open_memory(const void *data, size_t size, struct npu_gguf **out, char *err,
			 size_t err_size)
{
	struct parser p = { .err = err, .err_size = err_size };
	uint32_t count = 1;
	int ret;

	if (!data || !out || (uintptr_t)data % GGUF_DEFAULT_ALIGN)
		return -EINVAL;
	*out = NULL;
	if (!gguf_new(&p))
		return gguf_fail(&p, -ENOMEM, "out of memory");
	p.part->path = strdup("(memory)");
	p.part->map = data;
	p.part->size = size;
	ret = p.part->path ? parse_part(&p) : gguf_fail(&p, -ENOMEM, "out of memory");
	if (!ret)
		ret = split_info(&p, 0, &count);
	if (!ret && count > 1)
		ret = gguf_fail(&p, -EBADMSG,
				"one of %u parts; a split model is opened by file name", count);
	if (!ret)
		ret = index_tensors(&p);
	if (ret)
		npu_gguf_close(p.g);
	else
		*out = p.g;
	return ret;
}

void gguf_release(const struct npu_gguf *g)
{
	uint32_t i;

	for (i = 0; i < g->n_parts; i++)
		if (g->parts[i].mapped)
			madvise((void *)g->parts[i].map, g->parts[i].size, MADV_DONTNEED);
}

static void part_close(struct gguf_part *part)
{
	uint64_t i;

	for (i = 0; i < part->n_kv; i++)
		free((char *)part->kv[i].key);
	free(part->kv);
	free(part->by_key);
	if (part->mapped)
		munmap((void *)part->map, part->size);
	free(part->path);
}

void npu_gguf_close(struct npu_gguf *g)
{
	uint64_t i;

	if (!g)
		return;
	for (i = 0; i < g->n_tensors; i++)
		free((char *)g->tensors[i].name);
	free(g->tensors);
	free(g->by_name);
	for (i = 0; i < g->n_parts; i++)
		part_close(&g->parts[i]);
	free(g->parts);
	free(g);
}
