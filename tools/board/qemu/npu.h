/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The NPU as a device of the board: what the machine and the board's controller
 * may do with it.
 */
#ifndef HW_MISC_NPU_H
#define HW_MISC_NPU_H

#include "hw/sysbus.h"
#include "npu_model.h"

#define TYPE_NPU "npu"
OBJECT_DECLARE_SIMPLE_TYPE(NpuState, NPU)

#define TYPE_NPU_BOARD_CTL "npu-board-ctl"

/* The lines that the board's controller drives. BQL held. */
void npu_set_clock(NpuState *s, bool on);
void npu_set_power(NpuState *s, bool on);
void npu_set_reset(NpuState *s, bool asserted);

/* Counter of the model; bad accesses include those while reset was asserted. */
uint64_t npu_stat(NpuState *s, enum npu_model_stat stat);

/*
 * Inject a fault: "NAME [queue=N] [after=N] [times=N] [arg=N]", or "clear" to
 * drop all injections. Returns 0 or -EINVAL, with the reason in @errp.
 */
int npu_inject(NpuState *s, const char *request, Error **errp);

/* The controller of @count NPUs. */
DeviceState *npu_board_ctl_create(hwaddr base, NpuState **npus, unsigned count);

#endif
