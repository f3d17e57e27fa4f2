// SPDX-License-Identifier: MIT
/*
 * Command streams. Byte 0 chooses the queue's mode, whether scattered operands are
 * gathered, and whether the job is cut by suspend and resume; the rest is the stream. It must end by itself, by a
 * fault or by the budget; a command without an error of the host is never fatal.
 */
#include "fuzz_model.h"

#define STREAM_VA 0x10000ull

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct npu_job_desc d = { .stream = STREAM_VA, .flags = NPU_JOB_IRQ, .nregs = 4, .regs = 0x20000,
				  .seqno = 1 };
	unsigned int cuts;
	uint32_t state;

	fuzz_model_init();
	fuzz_views(!(size && data[0] & 2));
	if (size < 17 || size > 32768)
		return 0;
	fuzz_tables();
	memset(ram + 0x10000, 0, RAM_SIZE - 0x10000);
	for (unsigned int i = 0; i < 4; i++)
		put64(0x20000 + 8 * i, i * 5 + 1);
	d.stream_size = (uint32_t)((size - 1) & ~15ull);
	/* VA 0x13000 and 0x14000 are swapped pages. */
	for (size_t off = 0; off < d.stream_size; off++) {
		uint64_t at = 0x10000 + off, page = at / PAGE;

		page = page % 16 == 3 ? page + 1 : page % 16 == 4 ? page - 1 : page;
		ram[page * PAGE + at % PAGE] = data[1 + off];
	}
	memcpy(ram + 0x4000, &d, sizeof(d));
	fuzz_slot(0);
	fuzz_queue(0, data[0] & 1);
	wr(NPU_QU(0) + NPU_QU_DOORBELL, 1);
	for (cuts = data[0] >> 4; cuts; cuts--) {
		npu_model_step(model, 3);
		wr(NPU_QC(0) + NPU_QC_CMD, NPU_QCMD_SUSPEND);
		wr(NPU_QC(0) + NPU_QC_CMD, NPU_QCMD_RESUME);
		wr(NPU_MMU_BASE + NPU_AS(0) + NPU_AS_CMD, NPU_AS_CMD_FLUSH_ALL);
	}
	for (unsigned int i = 0; i < 200; i++) {
		state = NPU_QSTATE(rd(NPU_QC(0) + NPU_QC_STATUS));
		if (state != NPU_QSTATE_RUNNING && state != NPU_QSTATE_BLOCKED)
			break;
		npu_model_step(model, 256);
	}
	state = NPU_QSTATE(rd(NPU_QC(0) + NPU_QC_STATUS));
	if (state == NPU_QSTATE_IDLE ? rd(NPU_QU(0) + NPU_QU_HEAD) != 1 :
	    state == NPU_QSTATE_FAULTED ? !NPU_FAULT_CODE(rd(NPU_QC(0) + NPU_QC_FAULT)) :
					  state != NPU_QSTATE_SUSPENDED)
		abort();
	if (rd(NPU_STATUS) & NPU_STATUS_FATAL)
		abort();
	fuzz_check_reset();
	return 0;
}
