// SPDX-License-Identifier: MIT
/* The thinnest way through the stack: buffers, one MATMUL, numbers. */
#include <math.h>
#include <string.h>

#include "lib_common.h"

#define M 5u
#define K 96u
#define N 33u

static struct npu_tensor matrix(uint64_t addr, uint32_t columns, uint32_t rows)
{
	struct npu_tensor t = {
		.addr = addr, .ne = { columns, rows, 1, 1 }, .type = NPU_TYPE_F32,
		.nb = { 4, 4ull * columns, 4ull * columns * rows, 4ull * columns * rows },
	};

	return t;
}

/* F32 matmul is specified as a chain of fma in ascending k: the bits must agree. */
static void test_matmul(void **state)
{
	struct lib_state *s = *state;
	static float x[M * K], w[N * K], bias[N], dst[M * N];
	uint64_t off_w = sizeof(x), off_bias = off_w + sizeof(w), off_dst = off_bias + (sizeof(bias) + 63) / 64 * 64;
	struct npu_buffer *buf;
	struct npu_stream *stream;
	struct npu_cmd_matmul p = { .flags = NPU_MATMUL_BIAS };
	uint32_t seed = 1;

	for (unsigned int i = 0; i < M * K; i++)
		x[i] = lib_random(&seed);
	for (unsigned int i = 0; i < N * K; i++)
		w[i] = lib_random(&seed);
	for (unsigned int i = 0; i < N; i++)
		bias[i] = lib_random(&seed);
	assert_ok(s->dev, npu_buffer_create(s->vm, off_dst + sizeof(dst), NPU_BUFFER_CACHED, &buf));
	assert_ok(s->dev, npu_buffer_upload(buf, 0, x, sizeof(x)));
	assert_ok(s->dev, npu_buffer_upload(buf, off_w, w, sizeof(w)));
	assert_ok(s->dev, npu_buffer_upload(buf, off_bias, bias, sizeof(bias)));

	p.bias = npu_buffer_va(buf) + off_bias;
	p.dst = matrix(npu_buffer_va(buf) + off_dst, N, M);
	p.x = matrix(npu_buffer_va(buf), K, M);
	p.w = matrix(npu_buffer_va(buf) + off_w, K, N);
	assert_ok(s->dev, npu_stream_create(s->dev, &stream));
	assert_ok(s->dev, npu_emit_matmul(stream, NULL, &p));
	assert_ok(s->dev, npu_emit_end(stream, NULL));
	assert_ok(s->dev, lib_run(s, stream, NULL, 0));

	assert_ok(s->dev, npu_buffer_download(buf, off_dst, dst, sizeof(dst)));
	for (unsigned int m = 0; m < M; m++)
		for (unsigned int n = 0; n < N; n++) {
			float acc = 0;

			for (unsigned int k = 0; k < K; k++)
				acc = fmaf(w[n * K + k], x[m * K + k], acc);
			acc += bias[n];
			assert_memory_equal(&acc, &dst[m * N + n], 4);
		}
	npu_stream_destroy(stream);
	npu_buffer_unref(buf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_matmul, lib_setup, lib_teardown),
	};

	return cmocka_run_group_tests_name("lib_matmul", tests, NULL, NULL);
}
