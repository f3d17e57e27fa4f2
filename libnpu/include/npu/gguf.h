/* SPDX-License-Identifier: MIT */
/*
 * GGUF files: metadata and tensors, memory-mapped and checked.
 *
 * Everything that this interface returns has been validated when the file was
 * opened: strings and arrays lie inside the file, tensor data lies inside the
 * file, is aligned and does not overlap, keys and names are unique. Whether the
 * metadata describe a model that can be run is the business of npu/llm.h.
 *
 * Versions 2 and 3, little endian. A file that is split into several
 * ("name-00001-of-00003.gguf") is opened by the name of its first part.
 *
 * Thread safety: an open file is immutable; any number of threads may read it.
 * The file must not be truncated while it is open (as with any mapping, that
 * would end in SIGBUS).
 */
#ifndef NPU_GGUF_H
#define NPU_GGUF_H

#include <npu/error.h>

#ifdef __cplusplus
extern "C" {
#endif

struct npu_gguf;

/* Types of metadata values. */
enum npu_gguf_type {
	NPU_GGUF_U8 = 0,
	NPU_GGUF_I8 = 1,
	NPU_GGUF_U16 = 2,
	NPU_GGUF_I16 = 3,
	NPU_GGUF_U32 = 4,
	NPU_GGUF_I32 = 5,
	NPU_GGUF_F32 = 6,
	NPU_GGUF_BOOL = 7,
	NPU_GGUF_STRING = 8,
	NPU_GGUF_ARRAY = 9,
	NPU_GGUF_U64 = 10,
	NPU_GGUF_I64 = 11,
	NPU_GGUF_F64 = 12,
};

/* Not terminated by a zero; points into the mapping and lives as long as the file is open. */
struct npu_gguf_str {
	const char *ptr;
	size_t len;
};

/*
 * One metadata entry. For an array, @type is that of its elements and
 * @is_array is set; a scalar has a count of 1. @data are the raw values
 * (little endian, possibly unaligned): read them with the functions below.
 */
struct npu_gguf_kv {
	const char *key;
	enum npu_gguf_type type;
	bool is_array;
	uint64_t count;
	uint64_t size;		/* bytes of @data */
	const uint8_t *data;
};

/* One tensor. Dimension 0 is the innermost; unused dimensions are 1. */
struct npu_gguf_tensor {
	const char *name;
	uint32_t type;		/* GGUF's number, see npu_gguf_type_info() */
	uint32_t ndims;
	uint64_t ne[4];
	uint64_t size;		/* bytes */
	uint64_t offset;	/* of the data, from the start of its file */
	uint32_t part;		/* file of a split set that holds it, from 0 */
	const void *data;	/* aligned as the file says, at least to 8 bytes */
};

/**
 * npu_gguf_open() - map and check a file
 * @path: file, or the first file of a split set
 * @out: the open file
 * @err: buffer for a message that names cause and place; may be NULL
 * @err_size: its size
 *
 * Return: 0, or -ENOENT, -EACCES, ... (opening), -EBADMSG (not a GGUF file, or
 * corrupt), -EPROTONOSUPPORT (another version or byte order), -ENOMEM.
 */
NPU_API int npu_gguf_open(const char *path, struct npu_gguf **out, char *err, size_t err_size);

/**
 * npu_gguf_open_memory() - check a file that is in memory
 * @data: aligned to 32 bytes; stays the caller's and must outlive the result
 * @size: bytes
 *
 * Split sets cannot be opened this way. Return: as npu_gguf_open().
 */
NPU_API int npu_gguf_open_memory(const void *data, size_t size, struct npu_gguf **out, char *err,
				 size_t err_size);

/* Unmap. NULL is allowed. */
NPU_API void npu_gguf_close(struct npu_gguf *g);

NPU_API uint32_t npu_gguf_version(const struct npu_gguf *g);
NPU_API uint32_t npu_gguf_parts(const struct npu_gguf *g);
/* Bytes of all files together. */
NPU_API uint64_t npu_gguf_file_size(const struct npu_gguf *g);

/* Metadata of the first file, in its order; NULL past the end. */
NPU_API uint64_t npu_gguf_kv_count(const struct npu_gguf *g);
NPU_API const struct npu_gguf_kv *npu_gguf_kv(const struct npu_gguf *g, uint64_t i);
/* NULL when there is no such key. */
NPU_API const struct npu_gguf_kv *npu_gguf_find(const struct npu_gguf *g, const char *key);

/*
 * Typed access by key. -ENOENT: no such key (@out is left alone); -EINVAL:
 * another type (integers convert into each other where the value fits, F32 and
 * F64 convert).
 */
NPU_API int npu_gguf_get_u32(const struct npu_gguf *g, const char *key, uint32_t *out);
NPU_API int npu_gguf_get_u64(const struct npu_gguf *g, const char *key, uint64_t *out);
NPU_API int npu_gguf_get_f32(const struct npu_gguf *g, const char *key, float *out);
NPU_API int npu_gguf_get_bool(const struct npu_gguf *g, const char *key, bool *out);
NPU_API int npu_gguf_get_str(const struct npu_gguf *g, const char *key, struct npu_gguf_str *out);

/*
 * Element @i of a scalar or array, widened. The kind must fit, else -EINVAL; past the end
 * -ERANGE.
 */
NPU_API int npu_gguf_kv_int(const struct npu_gguf_kv *kv, uint64_t i, int64_t *out);
NPU_API int npu_gguf_kv_float(const struct npu_gguf_kv *kv, uint64_t i, double *out);
/*
 * The strings of a string or string array, one after the other: *@pos starts
 * at NULL. Returns false at the end, or when @kv holds no strings.
 */
NPU_API bool npu_gguf_kv_next_str(const struct npu_gguf_kv *kv, const uint8_t **pos,
				  struct npu_gguf_str *out);

/* Tensors of all parts, in file order; NULL past the end or without such a name. */
NPU_API uint64_t npu_gguf_tensor_count(const struct npu_gguf *g);
NPU_API const struct npu_gguf_tensor *npu_gguf_tensor(const struct npu_gguf *g, uint64_t i);
NPU_API const struct npu_gguf_tensor *npu_gguf_find_tensor(const struct npu_gguf *g,
							   const char *name);

/* A tensor type of the format. */
struct npu_gguf_type_info {
	const char *name;		/* "Q8_0" */
	uint16_t block_len;		/* elements */
	uint16_t block_size;		/* bytes */
};

/* NULL for an unknown type. */
NPU_API const struct npu_gguf_type_info *npu_gguf_type_info(uint32_t type);
/* "u32", "string", ...; NULL for an unknown type. */
NPU_API const char *npu_gguf_value_type_name(enum npu_gguf_type type);

#ifdef __cplusplus
}
#endif
#endif /* NPU_GGUF_H */
