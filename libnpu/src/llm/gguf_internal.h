/* SPDX-License-Identifier: MIT */
#ifndef NPU_GGUF_INTERNAL_H
#define NPU_GGUF_INTERNAL_H

#include "npu/gguf.h"

/*
 * One file. Metadata of later parts are checked and kept, but only those of the first are served.
 */
struct gguf_part {
	char *path;
	const uint8_t *map;
	uint64_t size;
	bool mapped;		/* by us, else the caller's memory */
	uint32_t align;
	struct npu_gguf_kv *kv;
	struct npu_gguf_kv **by_key;	/* sorted */
	uint64_t n_kv;
	uint64_t first_tensor, n_tensors;
};

struct npu_gguf {
	uint32_t version;
	uint32_t n_parts;
	struct gguf_part *parts;
	struct npu_gguf_tensor *tensors;
	struct npu_gguf_tensor **by_name;	/* sorted */
	uint64_t n_tensors;
};

const struct npu_gguf_kv *gguf_part_find(const struct gguf_part *part, const char *key);
size_t gguf_scalar_size(uint32_t type);
/*
 * The data have been copied: unmap their pages from the process (they come back when they are
 * touched).
 */
void gguf_release(const struct npu_gguf *g);

#endif /* NPU_GGUF_INTERNAL_H */
