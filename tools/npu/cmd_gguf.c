// SPDX-License-Identifier: MIT
/* npu gguf: list and check a GGUF file. */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <npu/gguf.h>

#include "tool.h"

#define SHOWN_VALUES	8	/* of an array, without --all */
#define SHOWN_TEXT	120	/* bytes of a string */

struct options {
	bool all, tensors_only, meta_only, json;
};

static const char help[] =
	"usage: npu gguf [options] FILE\n"
	"Check a GGUF model file and list what it holds. A split model is named by its first file.\n"
	"  -m, --metadata   metadata only\n"
	"  -t, --tensors    tensors only\n"
	"  -a, --all        whole arrays and texts\n"
	"  -j, --json       machine readable\n"
	"  -q, --quiet      check only: exit status 0 when the file is sound\n";

static void print_text(const char *s, size_t len, bool all)
{
	size_t i, n = !all && len > SHOWN_TEXT ? SHOWN_TEXT : len;

	putchar('"');
	for (i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c == '\n')
			fputs("\\n", stdout);
		else if (c < 32 || c == 127)
			printf("\\x%02x", c);
		else
			putchar(c);
	}
	fputs(n < len ? "\"..." : "\"", stdout);
}

static void print_number(const struct npu_gguf_kv *kv, uint64_t i)
{
	int64_t v;
	double d;

	if (kv->type == NPU_GGUF_BOOL)
		fputs(kv->data[i] ? "true" : "false", stdout);
	else if (!npu_gguf_kv_int(kv, i, &v))
		printf("%" PRId64, v);
	else if (!npu_gguf_kv_float(kv, i, &d))
		printf("%.9g", d);
	else
		fputs("?", stdout);	/* an unsigned 64-bit number above 2^63 */
}

static void print_value(const struct npu_gguf_kv *kv, bool all)
{
	uint64_t i, n = !all && kv->count > SHOWN_VALUES ? SHOWN_VALUES : kv->count;
	const uint8_t *pos = NULL;
	struct npu_gguf_str s;

	if (kv->is_array)
		putchar('[');
	for (i = 0; i < n; i++) {
		if (i)
			fputs(", ", stdout);
		if (kv->type == NPU_GGUF_STRING && npu_gguf_kv_next_str(kv, &pos, &s))
			print_text(s.ptr, s.len, all);
		else
			print_number(kv, i);
	}
	if (kv->is_array)
		fputs(n < kv->count ? ", ...]" : "]", stdout);
}

static void list_metadata(const struct npu_gguf *g, bool all)
{
	const struct npu_gguf_kv *kv;
	uint64_t i;

	for (i = 0; (kv = npu_gguf_kv(g, i)); i++) {
		printf("%-42s %-7s", kv->key, npu_gguf_value_type_name(kv->type));
		if (kv->is_array)
			printf(" [%" PRIu64 "]", kv->count);
		printf(" ");
		print_value(kv, all);
		putchar('\n');
	}
}

static void list_tensors(const struct npu_gguf *g)
{
	const struct npu_gguf_tensor *t;
	uint64_t i;
	uint32_t d;
	char shape[96];
	int n;

	for (i = 0; (t = npu_gguf_tensor(g, i)); i++) {
		n = 0;
		for (d = 0; d < t->ndims; d++)
			n += snprintf(shape + n, sizeof(shape) - (size_t)n, "%s%" PRIu64,
				      d ? " x " : "", t->ne[d]);
		printf("%-34s %-7s %-18s %12" PRIu64 " bytes", t->name,
		       npu_gguf_type_info(t->type)->name, shape, t->size);
		if (npu_gguf_parts(g) > 1)
			printf("  part %u", t->part + 1);
		putchar('\n');
	}
}

static void summary(const struct npu_gguf *g)
{
	const struct npu_gguf_tensor *t;
	uint64_t i, bytes = 0, params = 0;

	for (i = 0; (t = npu_gguf_tensor(g, i)); i++) {
		bytes += t->size;
		params += t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3];
	}
	printf("GGUF version %u, %u file%s, %" PRIu64 " metadata entries, %" PRIu64
	       " tensors with %" PRIu64 " parameters in %" PRIu64 " bytes: sound\n",
	       npu_gguf_version(g), npu_gguf_parts(g), npu_gguf_parts(g) == 1 ? "" : "s",
	       npu_gguf_kv_count(g), npu_gguf_tensor_count(g), params, bytes);
}

static void json_value(const struct npu_gguf_kv *kv)
{
	const uint8_t *pos = NULL;
	struct npu_gguf_str s;
	uint64_t i;

	if (kv->is_array)
		putchar('[');
	for (i = 0; i < kv->count; i++) {
		if (i)
			putchar(',');
		if (kv->type == NPU_GGUF_STRING && npu_gguf_kv_next_str(kv, &pos, &s))
			tool_json_string(stdout, s.ptr, s.len);
		else
			print_number(kv, i);
	}
	if (kv->is_array)
		putchar(']');
}

static void print_json(const struct npu_gguf *g)
{
	const struct npu_gguf_kv *kv;
	const struct npu_gguf_tensor *t;
	uint64_t i;

	printf("{\"version\":%u,\"parts\":%u,\"metadata\":{", npu_gguf_version(g),
	       npu_gguf_parts(g));
	for (i = 0; (kv = npu_gguf_kv(g, i)); i++) {
		if (i)
			putchar(',');
		tool_json_string(stdout, kv->key, strlen(kv->key));
		putchar(':');
		json_value(kv);
	}
	printf("},\"tensors\":[");
	for (i = 0; (t = npu_gguf_tensor(g, i)); i++) {
		printf("%s{\"name\":", i ? "," : "");
		tool_json_string(stdout, t->name, strlen(t->name));
		printf(",\"type\":\"%s\",\"shape\":[%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64
		       "],\"bytes\":%" PRIu64 ",\"offset\":%" PRIu64 ",\"part\":%u}",
		       npu_gguf_type_info(t->type)->name, t->ne[0], t->ne[1], t->ne[2], t->ne[3],
		       t->size, t->offset, t->part);
	}
	puts("]}");
}

int cmd_gguf(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "metadata", no_argument, NULL, 'm' }, { "tensors", no_argument, NULL, 't' },
		{ "all", no_argument, NULL, 'a' }, { "json", no_argument, NULL, 'j' },
		{ "quiet", no_argument, NULL, 'q' }, { "help", no_argument, NULL, 'h' }, { 0 }
	};
	struct options o = { 0 };
	struct npu_gguf *g;
	bool quiet = false;
	char err[512];
	int c;

	while ((c = getopt_long(argc, argv, "mtajqh", longs, NULL)) != -1) {
		switch (c) {
		case 'm': o.meta_only = true; break;
		case 't': o.tensors_only = true; break;
		case 'a': o.all = true; break;
		case 'j': o.json = true; break;
		case 'q': quiet = true; break;
		case 'h': fputs(help, stdout); return 0;
		default: fputs(help, stderr); return 2;
		}
	}
	if (optind + 1 != argc) {
		fputs(help, stderr);
		return 2;
	}
	if (npu_gguf_open(argv[optind], &g, err, sizeof(err))) {
		fprintf(stderr, "npu gguf: %s\n", err);
		return 1;
	}
	if (o.json && !quiet) {
		print_json(g);
	} else if (!quiet) {
		if (!o.tensors_only)
			list_metadata(g, o.all);
		if (!o.meta_only)
			list_tensors(g);
		summary(g);
	}
	npu_gguf_close(g);
	return 0;
}
