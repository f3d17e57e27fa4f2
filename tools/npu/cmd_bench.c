// SPDX-License-Identifier: MIT
/* npu bench: what a device reaches, beside what it says it can. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <npu/npu.h>

#include "bench.h"
#include "tool.h"

static const char help[] =
"usage: npu bench [-d DEVICE] [-m MODEL.gguf] [-t SECONDS] [--json] [BENCH...]\n\n"
"  copy       bandwidth of COPY, 16 MiB\n"
"  gemm       MATMUL of 512 rows, 2048 x 2048, f32, f16, q8_0, q4_0\n"
"  gemv       MATMUL of one row, 2048 x 8192, f16, q8_0, q4_0\n"
"  attention  32 heads of 64 over 2048 positions, 1 and 128 rows\n"
"  latency    an empty job: submit to fence, one at a time\n"
"  throughput empty jobs, many at once\n"
"  prefill    a language model: a prompt of up to 512 tokens\n"
"  decode     a language model: up to 128 tokens after it, greedy\n\n"
"All of them when none is named. Each line gives what was reached on this machine's clock, and what the device's own\n"
"cycles give (modelled device time on the software device) with its share of the limit that the device names.\n\n"
"  -d, --device NAME   /dev/accel/accel0, drm, soft, ...\n"
"  -m, --model FILE    GGUF file of prefill and decode; default: the bundled model\n"
"  -t, --time SECONDS  per measurement, default 0.5\n"
"  -j, --json          for programs\n"
"  -h, --help          this text\n";

#define WAIT_NS 60000000000ll

void bench_report(struct bench *b, const struct figure *f, unsigned int runs, int64_t ns, const struct npu_counters *c0,
		  const struct npu_counters *c1)
{
	double rate = f->per_run * runs / ((double)ns * 1e-9);
	double cycles = (double)(c1->cycles - c0->cycles), hz = b->info.core_khz * 1e3;
	double modelled = cycles > 0 ? f->per_run * runs / (cycles / hz) : 0;
	char x[16], y[16];

	if (b->json) {
		printf("%s{\"name\":\"%s\",\"unit\":\"%s\",\"rate\":%.6g,\"runs\":%u,\"device_rate\":%.6g,\"limit\":%.6g}",
		       b->lines++ ? "," : "", f->name, f->unit, rate, runs, modelled, f->limit);
		return;
	}
	printf("%-22s %8s%-8s", f->name, tool_si(rate, x), f->unit);
	if (modelled > 0)
		printf("  device %8s%-8s", tool_si(modelled, y), f->unit);
	if (modelled > 0 && f->limit > 0)
		printf("  %5.1f %% of the limit", 100 * modelled / f->limit);
	putchar('\n');
}

/* Replay @p for the time asked. */
static int measure(struct bench *b, struct npu_program *p, const uint64_t *args, uint32_t nargs, const struct figure *f)
{
	struct npu_counters c0, c1;
	unsigned int runs = 0;
	int64_t t0, t1;
	int err = npu_program_run(p, b->queue, args, nargs, WAIT_NS);	/* warm */

	if (!err)
		err = npu_device_counters(b->dev, &c0, sizeof(c0));
	t0 = t1 = tool_now_ns();
	while (!err && (t1 - t0 < b->time_ns || !runs)) {
		err = npu_program_run(p, b->queue, args, nargs, WAIT_NS);
		runs++;
		t1 = tool_now_ns();
	}
	if (!err)
		err = npu_device_counters(b->dev, &c1, sizeof(c1));
	if (err)
		return tool_fail("bench", b->dev, f->name, err);
	bench_report(b, f, runs, t1 - t0, &c0, &c1);
	return 0;
}

static int compile_and_measure(struct bench *b, struct npu_graph *g, const struct figure *f)
{
	struct npu_program *p;
	int err = npu_graph_compile(g, b->vm, NULL, &p), ret;

	npu_graph_destroy(g);
	if (err)
		return tool_fail("bench", b->dev, f->name, err);
	ret = measure(b, p, NULL, 0, f);
	npu_program_unref(p);
	return ret;
}

static int new_graph(struct bench *b, struct npu_graph **g)
{
	int err = npu_graph_create(b->dev, g);

	return err ? tool_fail("bench", b->dev, "graph", err) : 0;
}

static int bench_copy(struct bench *b)
{
	struct figure f = { "copy 16 MiB", "B/s", 2 * 16777216.0, b->info.dram_mbps * 1e6 };
	struct npu_graph *g;
	struct npu_gtensor *x;

	if (new_graph(b, &g))
		return 1;
	x = npu_graph_input(g, "x", NPU_TYPE_F32, npu_shape4(4096, 1024, 1, 1));
	npu_graph_convert(g, x, NPU_TYPE_F32);
	return compile_and_measure(b, g, &f);
}

/* Weights of @type with any valid contents, in tiles where the device has them. */
static struct npu_gtensor *weights(struct bench *b, struct npu_graph *g, enum npu_type type, uint32_t k, uint32_t n)
{
	struct npu_bound w = { .name = "w", .type = type, .shape = npu_shape4(k, n, 1, 1) };
	struct npu_gtensor *t;

	w.layout = npu_device_has_weight(b->dev, type, NPU_LAYOUT_TILE16) ? NPU_LAYOUT_TILE16 : NPU_LAYOUT_ROWS;
	if (npu_buffer_create(b->vm, npu_type_row_bytes(type, k) * n, 0, &w.buffer))
		return NULL;
	/* Small positive numbers in every type; and memory that is really there. */
	if (npu_buffer_map(w.buffer))
		memset(npu_buffer_map(w.buffer), 0x11, npu_buffer_size(w.buffer));
	t = npu_graph_weight(g, &w);
	npu_buffer_unref(w.buffer);	/* the graph keeps it */
	return t;
}

static int bench_matmul(struct bench *b, enum npu_type type, uint32_t m, uint32_t k, uint32_t n)
{
	char name[32];
	struct figure f = { name, "", 0, 0 };
	struct npu_graph *g;
	struct npu_gtensor *x, *w;

	if (!npu_device_has_weight(b->dev, type, NPU_LAYOUT_ROWS) && !npu_device_has_weight(b->dev, type, NPU_LAYOUT_TILE16))
		return 0;
	snprintf(name, sizeof(name), "%s %s", m > 1 ? "gemm 512" : "gemv", npu_type_name(type));
	if (m > 1) {
		uint32_t rate = type == NPU_TYPE_F32 ? b->info.macs_f32 : npu_type_block(type) > 1 ? b->info.macs_i8 :
				b->info.macs_f16;

		f.unit = "MAC/s";
		f.per_run = (double)m * k * n;
		f.limit = (double)rate * b->info.core_khz * 1e3;
	} else {
		f.unit = "B/s";
		f.per_run = (double)npu_type_row_bytes(type, k) * n;
		f.limit = b->info.dram_mbps * 1e6;
	}
	if (new_graph(b, &g))
		return 1;
	x = npu_graph_input(g, "x", NPU_TYPE_F32, npu_shape4(k, m, 1, 1));
	w = weights(b, g, type, k, n);
	npu_graph_matmul(g, x, w, NULL, NPU_TYPE_F32);
	return compile_and_measure(b, g, &f);
}

static int bench_gemm(struct bench *b)
{
	static const enum npu_type types[] = { NPU_TYPE_F32, NPU_TYPE_F16, NPU_TYPE_Q8_0, NPU_TYPE_Q4_0 };
	int ret = 0;

	for (unsigned int i = 0; i < 4 && !ret; i++)
		ret = bench_matmul(b, types[i], 512, 2048, 2048);
	return ret;
}

static int bench_gemv(struct bench *b)
{
	static const enum npu_type types[] = { NPU_TYPE_F16, NPU_TYPE_Q8_0, NPU_TYPE_Q4_0 };
	int ret = 0;

	for (unsigned int i = 0; i < 3 && !ret; i++)
		ret = bench_matmul(b, types[i], 1, 2048, 8192);
	return ret;
}

static int bench_attention_rows(struct bench *b, uint32_t rows)
{
	const uint32_t d = 64, heads = 32, groups = 8, kv = 2048;
	char name[32];
	struct figure f = { name, "MAC/s", 2.0 * d * heads * kv * rows, b->info.macs_f16 * (double)b->info.core_khz * 1e3 };
	struct npu_attention a = { .pos = { 0 }, .scale = 0.125f, .type = NPU_TYPE_F32 };
	struct npu_bound c = { .name = "cache", .type = NPU_TYPE_F16, .shape = npu_shape4(d, kv, groups, 1) };
	struct npu_graph *g;

	snprintf(name, sizeof(name), "attention %u row%s", rows, rows > 1 ? "s" : "");
	if (new_graph(b, &g))
		return 1;
	if (!npu_buffer_create(b->vm, 2ull * d * kv * groups * 2, 0, &c.buffer)) {
		a.k = npu_graph_state(g, &c);
		c.offset = 2ull * d * kv * groups;
		a.v = npu_graph_state(g, &c);
		npu_buffer_unref(c.buffer);
	}
	a.q = npu_graph_input(g, "q", NPU_TYPE_F32, npu_shape4(d, heads, rows, 1));
	npu_graph_attention(g, &a);
	return compile_and_measure(b, g, &f);
}

static int bench_attention(struct bench *b)
{
	return bench_attention_rows(b, 1) || bench_attention_rows(b, 128);
}

/* Empty jobs, @depth in flight. */
static int bench_jobs(struct bench *b, const char *name, unsigned int depth)
{
	struct figure f = { name, "job/s", 1, 0 };
	struct npu_counters c0 = { 0 };
	struct npu_buffer *buf = NULL;
	struct npu_fence *fence = NULL;
	struct npu_stream *s = NULL;
	struct npu_job job = { 0 };
	struct npu_point p = { NULL, 0 };
	unsigned int runs = 0;
	int64_t t0, t1;
	int err = npu_stream_create(b->dev, &s);

	if (!err)
		err = npu_fence_create(b->dev, &fence);
	if (!err)
		err = npu_buffer_create(b->vm, 4096, 0, &buf);
	if (!err) {
		npu_emit_end(s, NULL);
		err = npu_buffer_upload(buf, 0, npu_stream_data(s), npu_stream_bytes(s));
	}
	p.fence = fence;
	job.signals = &p;
	job.nsignals = 1;
	if (!err) {
		job.stream = npu_buffer_va(buf);
		job.stream_bytes = npu_stream_bytes(s);
	}
	t0 = t1 = tool_now_ns();
	while (!err && t1 - t0 < b->time_ns) {
		p.value++;
		err = npu_queue_submit(b->queue, &job, 1);
		if (!err && p.value >= depth)
			err = npu_fence_wait(fence, p.value - depth + 1, WAIT_NS);
		runs++;
		t1 = tool_now_ns();
	}
	if (!err)
		err = npu_fence_wait(fence, p.value, WAIT_NS);
	if (err)
		tool_fail("bench", b->dev, name, err);
	else
		bench_report(b, &f, runs, t1 - t0, &c0, &c0);
	npu_buffer_unref(buf);
	npu_fence_unref(fence);
	npu_stream_destroy(s);
	return err != 0;
}

static int bench_latency(struct bench *b)
{
	return bench_jobs(b, "submit, 1 at a time", 1);
}

static int bench_throughput(struct bench *b)
{
	return bench_jobs(b, "submit, 32 in flight", 32);
}

static const struct {
	const char *name;
	int (*run)(struct bench *b);
} benches[] = {
	{ "copy", bench_copy }, { "gemm", bench_gemm }, { "gemv", bench_gemv }, { "attention", bench_attention },
	{ "latency", bench_latency }, { "throughput", bench_throughput }, { "prefill", bench_prefill },
	{ "decode", bench_decode },
};

#define NBENCHES (sizeof(benches) / sizeof(benches[0]))

static int run_named(struct bench *b, int argc, char **argv)
{
	int ret = 0;

	for (size_t i = 0; i < NBENCHES && !ret; i++) {
		bool wanted = !argc;

		for (int k = 0; k < argc; k++)
			wanted |= !strcmp(argv[k], benches[i].name);
		if (wanted)
			ret = benches[i].run(b);
	}
	return ret;
}

static bool known(const char *name)
{
	for (size_t i = 0; i < NBENCHES; i++)
		if (!strcmp(benches[i].name, name))
			return true;
	fprintf(stderr, "npu bench: no measurement \"%s\"\n", name);
	return false;
}

int cmd_bench(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "device", required_argument, NULL, 'd' }, { "time", required_argument, NULL, 't' },
		{ "model", required_argument, NULL, 'm' }, { "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' }, { 0 }
	};
	struct bench b = { .time_ns = 500000000 };
	const char *name = NULL;
	double seconds;
	int c, err;

	while ((c = getopt_long(argc, argv, "d:m:t:jh", longs, NULL)) != -1) {
		switch (c) {
		case 'd': name = optarg; break;
		case 'm': b.model = optarg; break;
		case 't':
			seconds = atof(optarg);
			if (!(seconds > 0 && seconds < 3600)) {
				fprintf(stderr, "npu bench: -t %s: seconds above 0 are wanted\n", optarg);
				return 2;
			}
			b.time_ns = (int64_t)(seconds * 1e9);
			break;
		case 'j': b.json = true; break;
		case 'h': fputs(help, stdout); return 0;
		default: fputs(help, stderr); return 2;
		}
	}
	for (int k = optind; k < argc; k++)
		if (!known(argv[k]))
			return 2;
	b.named = optind < argc;
	b.dev = tool_open("bench", name);
	if (!b.dev)
		return 1;
	err = npu_device_query(b.dev, &b.info, sizeof(b.info));
	if (!err)
		err = npu_vm_create(b.dev, &b.vm);
	if (!err)
		err = npu_queue_create(b.vm, NULL, &b.queue);
	if (err) {
		tool_fail("bench", b.dev, "set-up", err);
	} else {
		if (b.json) {
			printf("{\"device\":");
			tool_json_string(stdout, npu_device_name(b.dev), strlen(npu_device_name(b.dev)));
			printf(",\"figures\":[");
		}
		err = run_named(&b, argc - optind, argv + optind);
		if (b.json)
			puts("]}");
	}
	bench_model_close(&b);
	npu_queue_unref(b.queue);
	npu_vm_unref(b.vm);
	npu_device_close(b.dev);
	return err != 0;
}
