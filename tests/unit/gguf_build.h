/* SPDX-License-Identifier: MIT */
/* Writes GGUF files in memory for tests, right ones and wrong ones. */
#ifndef GGUF_BUILD_H
#define GGUF_BUILD_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <npu/gguf.h>

#define GB_ALIGN	32u

/* Two growing pieces: the header and the tensors' data. */
struct gguf_build {
	uint8_t *head, *data;
	size_t head_len, data_len;
	uint64_t kvs, tensors;
	uint32_t version;
};

static inline void gb_put(uint8_t **buf, size_t *len, const void *p, size_t n)
{
	*buf = realloc(*buf, *len + n + 1);
	if (!*buf)
		abort();
	if (n)
		memcpy(*buf + *len, p, n);
	*len += n;
}

static inline void gb_u32(struct gguf_build *b, uint32_t v)
{
	gb_put(&b->head, &b->head_len, &v, 4);
}

static inline void gb_u64(struct gguf_build *b, uint64_t v)
{
	gb_put(&b->head, &b->head_len, &v, 8);
}

static inline void gb_bytes(struct gguf_build *b, const void *p, size_t n)
{
	gb_put(&b->head, &b->head_len, p, n);
}

static inline void gb_text(struct gguf_build *b, const char *s, size_t len)
{
	gb_u64(b, len);
	gb_bytes(b, s, len);
}

static inline void gb_init(struct gguf_build *b)
{
	*b = (struct gguf_build){ .version = 3 };
	gb_bytes(b, "GGUF", 4);
	gb_u32(b, 3);
	gb_u64(b, 0);
	gb_u64(b, 0);
}

static inline void gb_key(struct gguf_build *b, const char *key, uint32_t type)
{
	gb_text(b, key, strlen(key));
	gb_u32(b, type);
	b->kvs++;
}

static inline void gb_kv_u32(struct gguf_build *b, const char *key, uint32_t v)
{
	gb_key(b, key, NPU_GGUF_U32);
	gb_u32(b, v);
}

static inline void gb_kv_f32(struct gguf_build *b, const char *key, float v)
{
	gb_key(b, key, NPU_GGUF_F32);
	gb_bytes(b, &v, 4);
}

static inline void gb_kv_bool(struct gguf_build *b, const char *key, uint8_t v)
{
	gb_key(b, key, NPU_GGUF_BOOL);
	gb_bytes(b, &v, 1);
}

static inline void gb_kv_str(struct gguf_build *b, const char *key, const char *v)
{
	gb_key(b, key, NPU_GGUF_STRING);
	gb_text(b, v, strlen(v));
}

static inline void gb_kv_strs(struct gguf_build *b, const char *key, const char *const *v, size_t n)
{
	size_t i;

	gb_key(b, key, NPU_GGUF_ARRAY);
	gb_u32(b, NPU_GGUF_STRING);
	gb_u64(b, n);
	for (i = 0; i < n; i++)
		gb_text(b, v[i], strlen(v[i]));
}

static inline void gb_kv_array(struct gguf_build *b, const char *key, uint32_t type, const void *v,
			       size_t n, size_t size)
{
	gb_key(b, key, NPU_GGUF_ARRAY);
	gb_u32(b, type);
	gb_u64(b, n);
	gb_bytes(b, v, n * size);
}

/* A tensor with @bytes of data; its entry must come after all metadata. */
static inline void gb_tensor(struct gguf_build *b, const char *name, uint32_t type, uint64_t ne0,
			     uint64_t ne1, const void *data, size_t bytes)
{
	static const uint8_t zero[GB_ALIGN];

	gb_text(b, name, strlen(name));
	gb_u32(b, ne1 ? 2 : 1);
	gb_u64(b, ne0);
	if (ne1)
		gb_u64(b, ne1);
	gb_u32(b, type);
	gb_u64(b, b->data_len);
	b->tensors++;
	gb_put(&b->data, &b->data_len, data, bytes);
	gb_put(&b->data, &b->data_len, zero, (GB_ALIGN - b->data_len % GB_ALIGN) % GB_ALIGN);
}

/* The file, 64-byte aligned, to be freed; the builder is emptied. */
static inline uint8_t *gb_finish(struct gguf_build *b, size_t *size)
{
	size_t start = (b->head_len + GB_ALIGN - 1) / GB_ALIGN * GB_ALIGN;
	uint8_t *out;

	*size = start + b->data_len;
	out = aligned_alloc(64, (*size + 127) / 64 * 64);
	if (!out)
		abort();
	memset(out, 0, start);
	memcpy(out, b->head, b->head_len);
	memcpy(out + 4, &b->version, 4);
	memcpy(out + 8, &b->tensors, 8);
	memcpy(out + 16, &b->kvs, 8);
	if (b->data_len)
		memcpy(out + start, b->data, b->data_len);
	free(b->head);
	free(b->data);
	memset(b, 0, sizeof(*b));
	return out;
}

static inline int gb_write(const char *path, const uint8_t *data, size_t size)
{
	FILE *f = fopen(path, "wb");

	if (!f)
		return -1;
	if (fwrite(data, 1, size, f) != size) {
		fclose(f);
		return -1;
	}
	return fclose(f);
}

#endif /* GGUF_BUILD_H */
