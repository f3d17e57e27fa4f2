// SPDX-License-Identifier: MIT
/* Context images: the job in progress, written to and read from bus memory. */
#include <errno.h>
#include <string.h>

#include "core.h"

struct image {
	struct npu_image_header h;
	struct job job;
	uint64_t seqno;		/* register: last retired job */
	struct fault fault;	/* of a FAULTED image */
};

static uint32_t crc32(const void *data, size_t len)
{
	const uint8_t *p = data;
	uint32_t crc = 0xffffffffu;

	for (size_t i = 0; i < len; i++) {
		crc ^= p[i];
		for (unsigned int b = 0; b < 8; b++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
	}
	return ~crc;
}

static uint32_t image_crc(const struct image *im)
{
	struct image copy;

	memcpy(&copy, im, sizeof(copy));
	copy.h.checksum = 0;
	return crc32(&copy, sizeof(copy));
}

_Static_assert(sizeof(struct image) <= PAGE_SIZE, "CAP1_IMAGE_4K is 1");

int image_save(struct npu_model *m, struct queue *q)
{
	struct image im;

	if (q->image % PAGE_SIZE)
		return -EINVAL;
	memset(&im, 0, sizeof(im));
	im.h.magic = NPU_IMAGE_MAGIC;
	im.h.version = NPU_IMAGE_VERSION;
	im.h.size = sizeof(im);
	im.h.impl = reg_read(m, NPU_IMPL);
	im.h.rev = reg_read(m, NPU_REV);
	im.h.head = q->head;
	im.h.seqno = q->seqno;
	if (q->job.phase != PHASE_NONE) {
		im.h.flags |= NPU_IMAGE_IN_JOB;
		im.h.seqno = q->job.seqno;
		im.h.pc = q->job.pc;
		im.h.progress = counter(&q->progress);
	}
	if (q->faulted) {
		im.h.flags |= NPU_IMAGE_FAULTED;
		memcpy(&im.fault, &q->fault, sizeof(im.fault));
	}
	memcpy(&im.job, &q->job, sizeof(im.job));
	im.job.progress = counter(&q->progress);
	im.seqno = q->seqno;
	im.h.checksum = image_crc(&im);
	return bus_write(&m->bus, q->image, &im, sizeof(im));
}

int image_load(struct npu_model *m, struct queue *q)
{
	struct image im;

	if (q->image % PAGE_SIZE || bus_read(&m->bus, q->image, &im, sizeof(im)))
		return -EFAULT;
	if (im.h.magic != NPU_IMAGE_MAGIC || im.h.version != NPU_IMAGE_VERSION || im.h.size != sizeof(im) ||
	    im.h.impl != reg_read(m, NPU_IMPL) || im.h.rev != reg_read(m, NPU_REV) ||
	    im.h.flags & ~(uint32_t)NPU_IMAGE_IN_JOB || im.h.checksum != image_crc(&im))
		return -EINVAL;
	/* A checksum is no proof of origin: what the command processor relies on is checked as well. */
	if (im.job.phase > PHASE_DONE || im.job.nregs > NPU_SCALARS || im.job.stream_size > m->cfg.max_stream ||
	    im.job.stream % NPU_PACKET_ALIGN || im.job.pc % NPU_PACKET_ALIGN ||
	    im.job.pc - im.job.stream > im.job.stream_size)
		return -EINVAL;
	memcpy(&q->job, &im.job, sizeof(q->job));
	q->seqno = im.seqno;
	atomic_store_explicit(&q->progress, im.job.progress, memory_order_relaxed);
	atomic_store_explicit(&q->in_job, q->job.phase != PHASE_NONE, memory_order_relaxed);
	return 0;
}
