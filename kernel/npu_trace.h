/* SPDX-License-Identifier: GPL-2.0-only */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM npu

#if !defined(NPU_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define NPU_TRACE_H

#include <linux/device.h>
#include <linux/tracepoint.h>

/* Each step of a job: submit, run, done; and what happens to its queue meanwhile. */

TRACE_EVENT(npu_submit,
	    TP_PROTO(struct device *dev, u32 queue, u32 jobs),
	    TP_ARGS(dev, queue, jobs),
	    TP_STRUCT__entry(__string(dev, dev_name(dev))
			     __field(u32, queue)
			     __field(u32, jobs)),
	    TP_fast_assign(__assign_str(dev);
			   __entry->queue = queue;
			   __entry->jobs = jobs;
	    ),
	    TP_printk("%s queue=%u jobs=%u", __get_str(dev), __entry->queue, __entry->jobs));

TRACE_EVENT(npu_job_run,
	    TP_PROTO(struct device *dev, u32 queue, u64 seqno, u64 stream, u32 size, bool bound),
	    TP_ARGS(dev, queue, seqno, stream, size, bound),
	    TP_STRUCT__entry(__string(dev, dev_name(dev))
			     __field(u64, seqno)
			     __field(u32, queue)
			     __field(u32, size)
			     __field(u64, stream)
			     __field(bool, bound)),
	    TP_fast_assign(__assign_str(dev);
			   __entry->seqno = seqno;
			   __entry->queue = queue;
			   __entry->size = size;
			   __entry->stream = stream;
			   __entry->bound = bound;
	    ),
	    TP_printk("%s queue=%u seqno=%llu stream=%#llx size=%u%s", __get_str(dev),
		      __entry->queue, __entry->seqno, __entry->stream, __entry->size,
		      __entry->bound ? "" : " waits for hardware"));

TRACE_EVENT(npu_job_done,
	    TP_PROTO(struct device *dev, u32 queue, u64 seqno, int error),
	    TP_ARGS(dev, queue, seqno, error),
	    TP_STRUCT__entry(__string(dev, dev_name(dev))
			     __field(u64, seqno)
			     __field(u32, queue)
			     __field(int, error)),
	    TP_fast_assign(__assign_str(dev);
			   __entry->seqno = seqno;
			   __entry->queue = queue;
			   __entry->error = error;
	    ),
	    TP_printk("%s queue=%u seqno=%llu error=%d", __get_str(dev), __entry->queue,
		      __entry->seqno, __entry->error));

DECLARE_EVENT_CLASS(npu_queue_hw,
		    TP_PROTO(struct device *dev, u32 queue, int hwq),
		    TP_ARGS(dev, queue, hwq),
		    TP_STRUCT__entry(__string(dev, dev_name(dev))
				     __field(u32, queue)
				     __field(int, hwq)),
		    TP_fast_assign(__assign_str(dev);
				   __entry->queue = queue;
				   __entry->hwq = hwq;
		    ),
		    TP_printk("%s queue=%u hwq=%d", __get_str(dev), __entry->queue,
			      __entry->hwq));

DEFINE_EVENT(npu_queue_hw, npu_queue_bind,
	     TP_PROTO(struct device *dev, u32 queue, int hwq),
	     TP_ARGS(dev, queue, hwq));

DEFINE_EVENT(npu_queue_hw, npu_queue_unbind,
	     TP_PROTO(struct device *dev, u32 queue, int hwq),
	     TP_ARGS(dev, queue, hwq));

TRACE_EVENT(npu_queue_fault,
	    TP_PROTO(struct device *dev, u32 queue, u32 fault, u64 addr, u64 pc),
	    TP_ARGS(dev, queue, fault, addr, pc),
	    TP_STRUCT__entry(__string(dev, dev_name(dev))
			     __field(u32, queue)
			     __field(u32, fault)
			     __field(u64, addr)
			     __field(u64, pc)),
	    TP_fast_assign(__assign_str(dev);
			   __entry->queue = queue;
			   __entry->fault = fault;
			   __entry->addr = addr;
			   __entry->pc = pc;
	    ),
	    TP_printk("%s queue=%u fault=%#x addr=%#llx pc=%#llx", __get_str(dev),
		      __entry->queue, __entry->fault, __entry->addr, __entry->pc));

TRACE_EVENT(npu_queue_reset,
	    TP_PROTO(struct device *dev, u32 queue, int hwq, int ret),
	    TP_ARGS(dev, queue, hwq, ret),
	    TP_STRUCT__entry(__string(dev, dev_name(dev))
			     __field(u32, queue)
			     __field(int, hwq)
			     __field(int, ret)),
	    TP_fast_assign(__assign_str(dev);
			   __entry->queue = queue;
			   __entry->hwq = hwq;
			   __entry->ret = ret;
	    ),
	    TP_printk("%s queue=%u hwq=%d ret=%d", __get_str(dev), __entry->queue,
		      __entry->hwq, __entry->ret));

TRACE_EVENT(npu_device_reset,
	    TP_PROTO(struct device *dev, int ret),
	    TP_ARGS(dev, ret),
	    TP_STRUCT__entry(__string(dev, dev_name(dev))
			     __field(int, ret)),
	    TP_fast_assign(__assign_str(dev);
			   __entry->ret = ret;
	    ),
	    TP_printk("%s ret=%d", __get_str(dev), __entry->ret));

/* Each step of a bind. */

TRACE_EVENT(npu_vm_bind,
	    TP_PROTO(struct device *dev, u32 vm, u32 type, u64 va, u64 size, int ret),
	    TP_ARGS(dev, vm, type, va, size, ret),
	    TP_STRUCT__entry(__string(dev, dev_name(dev))
			     __field(u64, va)
			     __field(u64, size)
			     __field(u32, vm)
			     __field(u32, type)
			     __field(int, ret)),
	    TP_fast_assign(__assign_str(dev);
			   __entry->va = va;
			   __entry->size = size;
			   __entry->vm = vm;
			   __entry->type = type;
			   __entry->ret = ret;
	    ),
	    TP_printk("%s vm=%u %s va=%#llx size=%#llx ret=%d", __get_str(dev), __entry->vm,
		      __print_symbolic(__entry->type, { 0, "map" }, { 1, "unmap" }, { 2, "sync" }),
		      __entry->va, __entry->size, __entry->ret));

TRACE_EVENT(npu_vm_slot,
	    TP_PROTO(struct device *dev, u32 vm, int slot),
	    TP_ARGS(dev, vm, slot),
	    TP_STRUCT__entry(__string(dev, dev_name(dev))
			     __field(u32, vm)
			     __field(int, slot)),
	    TP_fast_assign(__assign_str(dev);
			   __entry->vm = vm;
			   __entry->slot = slot;
	    ),
	    TP_printk("%s vm=%u slot=%d", __get_str(dev), __entry->vm, __entry->slot));

TRACE_EVENT(npu_mmu_command,
	    TP_PROTO(struct device *dev, int slot, u32 cmd, u64 va, u64 size),
	    TP_ARGS(dev, slot, cmd, va, size),
	    TP_STRUCT__entry(__string(dev, dev_name(dev))
			     __field(u64, va)
			     __field(u64, size)
			     __field(int, slot)
			     __field(u32, cmd)),
	    TP_fast_assign(__assign_str(dev);
			   __entry->va = va;
			   __entry->size = size;
			   __entry->slot = slot;
			   __entry->cmd = cmd;
	    ),
	    TP_printk("%s slot=%d %s va=%#llx size=%#llx", __get_str(dev), __entry->slot,
		      __print_symbolic(__entry->cmd, { 2, "lock" }, { 3, "flush" }),
		      __entry->va, __entry->size));

/* Interrupts. */

DECLARE_EVENT_CLASS(npu_irq,
		    TP_PROTO(struct device *dev, u32 queues),
		    TP_ARGS(dev, queues),
		    TP_STRUCT__entry(__string(dev, dev_name(dev))
				     __field(u32, queues)),
		    TP_fast_assign(__assign_str(dev);
				   __entry->queues = queues;
		    ),
		    TP_printk("%s queues=%#x", __get_str(dev), __entry->queues));

DEFINE_EVENT(npu_irq, npu_irq_done,
	     TP_PROTO(struct device *dev, u32 queues),
	     TP_ARGS(dev, queues));

DEFINE_EVENT(npu_irq, npu_irq_fault,
	     TP_PROTO(struct device *dev, u32 queues),
	     TP_ARGS(dev, queues));

#endif /* NPU_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE npu_trace
#include <trace/define_trace.h>
