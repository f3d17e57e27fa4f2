// SPDX-License-Identifier: MIT
/* Text from a GGUF file. Arguments: MODEL.gguf PROMPT. */
#include <stdio.h>
#include <string.h>

#include <npu/llm.h>

static int print(void *data, const struct npu_llm_piece *piece)
{
	(void)data;
	fwrite(piece->text, 1, piece->len, stdout);
	return fflush(stdout);
}

int main(int argc, char **argv)
{
	struct npu_device *dev = NULL;
	struct npu_llm *llm = NULL;
	struct npu_llm_params params;
	char err[512] = "cannot open a device";
	int32_t tokens[512];
	int64_t n;
	int ret;

	if (argc != 3) {
		fprintf(stderr, "usage: %s MODEL.gguf PROMPT\n", argv[0]);
		return 2;
	}
	ret = npu_device_open(NULL, NULL, &dev);
	if (!ret)
		ret = npu_llm_open(dev, argv[1], NULL, &llm, err, sizeof(err));
	if (ret) {
		fprintf(stderr, "%s\n", err);
		npu_device_close(dev);
		return 1;
	}
	n = npu_tokenizer_encode(npu_llm_tokenizer(llm), argv[2], strlen(argv[2]), NPU_ENCODE_SPECIAL, tokens, 512);
	npu_llm_params_init(&params);
	params.max_tokens = 64;
	params.piece = print;
	fputs(argv[2], stdout);
	ret = n > 0 && n <= 512 ? npu_llm_generate(llm, tokens, (uint32_t)n, &params, NULL) : -1;
	putchar('\n');
	if (ret)
		fprintf(stderr, "%s\n", n > 0 && n <= 512 ? npu_llm_error(llm) : "the prompt is empty or too long");
	npu_llm_close(llm);
	npu_device_close(dev);
	return ret != 0;
}
