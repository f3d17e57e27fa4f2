/* SPDX-License-Identifier: MIT */
/* npu bench, in parts. */
#ifndef NPU_TOOL_BENCH_H
#define NPU_TOOL_BENCH_H

#include <stdbool.h>
#include <stdint.h>

#include <npu/llm.h>
#include <npu/npu.h>

struct bench {
	struct npu_device *dev;
	struct npu_device_info info;
	struct npu_vm *vm;
	struct npu_queue *queue;
	const char *model;		/* NULL: the bundled one */
	struct npu_llm *llm;		/* opened by the first measurement that needs it */
	int64_t time_ns;
	bool json, named;		/* named: the measurements were asked for by name */
	unsigned int lines;
};

/* One measured figure. */
struct figure {
	const char *name, *unit;
	double per_run;		/* units of work in one run */
	double limit;		/* units per second of device time; 0 = none known */
};

/* @runs took @ns of this machine's time, and the device's between two readings of its counters. */
void bench_report(struct bench *b, const struct figure *f, unsigned int runs, int64_t ns, const struct npu_counters *c0,
		  const struct npu_counters *c1);

/* Language models. Return the exit status. */
int bench_prefill(struct bench *b);
int bench_decode(struct bench *b);
void bench_model_close(struct bench *b);

#endif /* NPU_TOOL_BENCH_H */
