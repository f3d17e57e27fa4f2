/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The controller of the virtual board: clock, reset line, power switch,
 * counters and fault injection of each NPU. See npu_board_regs.h.
 */
#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "qapi/error.h"
#include "hw/misc/npu.h"
#include "migration/vmstate.h"
#include "npu_board_regs.h"

OBJECT_DECLARE_SIMPLE_TYPE(NpuBoardCtl, NPU_BOARD_CTL)

struct NpuBoardCtl {
    SysBusDevice parent_obj;

    MemoryRegion mmio;
    unsigned count;
    struct {
        NpuState *npu;
        uint32_t clock, reset, power;
        uint32_t stat_high;             /* latched */
        char request[NPU_BOARD_INJECT_MAX + 1];
        unsigned request_len;           /* > INJECT_MAX: too long */
        uint32_t inject_result;
    } block[NPU_BOARD_MAX];
};

static const enum npu_model_stat ctl_stats[NPU_BOARD_STATS] = {
    [NPU_BOARD_STAT_BAD_ACCESS] = NPU_MODEL_STAT_BAD_ACCESS,
    [NPU_BOARD_STAT_INJECTED] = NPU_MODEL_STAT_INJECTED,
    [NPU_BOARD_STAT_VIEW_MAPS] = NPU_MODEL_STAT_VIEW_MAPS,
    [NPU_BOARD_STAT_GATHERS] = NPU_MODEL_STAT_GATHERS,
    [NPU_BOARD_STAT_DEVICE_NS] = NPU_MODEL_STAT_DEVICE_NS,
    [NPU_BOARD_STAT_HAZARDS] = NPU_MODEL_STAT_HAZARDS,
};

static uint64_t ctl_block_read(NpuBoardCtl *s, unsigned n, hwaddr offset)
{
    uint64_t value;

    switch (offset) {
    case NPU_BOARD_CLOCK:
        return s->block[n].clock;
    case NPU_BOARD_RESET:
        return s->block[n].reset;
    case NPU_BOARD_POWER:
        return s->block[n].power;
    case NPU_BOARD_INJECT_RESULT:
        return s->block[n].inject_result;
    case NPU_BOARD_STAT(0) ... NPU_BOARD_STAT(NPU_BOARD_STATS) - 1:
        if (offset & 4) {
            return s->block[n].stat_high;
        }
        value = npu_stat(s->block[n].npu,
                         ctl_stats[(offset - NPU_BOARD_STAT(0)) / 8]);
        s->block[n].stat_high = value >> 32;
        return (uint32_t)value;
    }
    return 0;
}

static uint64_t ctl_read(void *opaque, hwaddr offset, unsigned size)
{
    NpuBoardCtl *s = opaque;

    if (offset == NPU_BOARD_ID) {
        return NPU_BOARD_ID_VALUE;
    }
    if (offset == NPU_BOARD_COUNT) {
        return s->count;
    }
    if (offset >= NPU_BOARD_BLOCK(0) && offset < NPU_BOARD_BLOCK(s->count)) {
        return ctl_block_read(s, offset / 0x100 - 1, offset % 0x100);
    }
    return 0;
}

static void ctl_inject(NpuBoardCtl *s, unsigned n, char c)
{
    unsigned len = s->block[n].request_len;
    Error *err = NULL;

    if (c) {
        if (len < NPU_BOARD_INJECT_MAX) {
            s->block[n].request[len] = c;
        }
        s->block[n].request_len = MIN(len + 1, NPU_BOARD_INJECT_MAX + 1);
        return;
    }
    s->block[n].request_len = 0;
    if (len > NPU_BOARD_INJECT_MAX) {
        s->block[n].inject_result = E2BIG;
        return;
    }
    s->block[n].request[len] = '\0';
    s->block[n].inject_result = -npu_inject(s->block[n].npu,
                                            s->block[n].request, &err);
    if (err) {
        warn_report_err(err);
    }
}

static void ctl_write(void *opaque, hwaddr offset, uint64_t value,
                      unsigned size)
{
    NpuBoardCtl *s = opaque;
    unsigned n = offset / 0x100 - 1;

    if (offset < NPU_BOARD_BLOCK(0) || offset >= NPU_BOARD_BLOCK(s->count)) {
        return;
    }
    switch (offset % 0x100) {
    case NPU_BOARD_CLOCK:
        s->block[n].clock = value & 1;
        npu_set_clock(s->block[n].npu, value & 1);
        break;
    case NPU_BOARD_RESET:
        s->block[n].reset = value & 1;
        npu_set_reset(s->block[n].npu, value & 1);
        break;
    case NPU_BOARD_POWER:
        s->block[n].power = value & 1;
        npu_set_power(s->block[n].npu, value & 1);
        break;
    case NPU_BOARD_INJECT:
        ctl_inject(s, n, value);
        break;
    }
}

static const MemoryRegionOps ctl_ops = {
    .read = ctl_read,
    .write = ctl_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = { .min_access_size = 4, .max_access_size = 4 },
    .impl = { .min_access_size = 4, .max_access_size = 4 },
};

static void ctl_realize(DeviceState *dev, Error **errp)
{
    NpuBoardCtl *s = NPU_BOARD_CTL(dev);

    memory_region_init_io(&s->mmio, OBJECT(s), &ctl_ops, s, TYPE_NPU_BOARD_CTL,
                          NPU_BOARD_CTL_SIZE);
    sysbus_init_mmio(SYS_BUS_DEVICE(dev), &s->mmio);
}

/* The NPUs themselves come up off and in reset: this only says the same. */
static void ctl_reset_hold(Object *obj, ResetType type)
{
    NpuBoardCtl *s = NPU_BOARD_CTL(obj);

    for (unsigned n = 0; n < s->count; n++) {
        s->block[n].clock = 0;
        s->block[n].reset = 1;
        s->block[n].power = 0;
        s->block[n].request_len = 0;
        s->block[n].inject_result = 0;
    }
}

static const VMStateDescription ctl_vmstate = {
    .name = TYPE_NPU_BOARD_CTL,
    .unmigratable = 1,
};

static void ctl_class_init(ObjectClass *oc, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(oc);

    dc->realize = ctl_realize;
    dc->vmsd = &ctl_vmstate;
    dc->desc = "clock, reset and power of the virtual board's NPUs";
    /* It has pointers to the NPUs that only the board can give it. */
    dc->user_creatable = false;
    RESETTABLE_CLASS(oc)->phases.hold = ctl_reset_hold;
}

static const TypeInfo ctl_types[] = {
    {
        .name = TYPE_NPU_BOARD_CTL,
        .parent = TYPE_SYS_BUS_DEVICE,
        .instance_size = sizeof(NpuBoardCtl),
        .class_init = ctl_class_init,
    },
};

DEFINE_TYPES(ctl_types)

DeviceState *npu_board_ctl_create(hwaddr base, NpuState **npus, unsigned count)
{
    NpuBoardCtl *s = NPU_BOARD_CTL(qdev_new(TYPE_NPU_BOARD_CTL));

    s->count = count;
    for (unsigned n = 0; n < count; n++) {
        s->block[n].npu = npus[n];
    }
    sysbus_realize_and_unref(SYS_BUS_DEVICE(s), &error_fatal);
    sysbus_mmio_map(SYS_BUS_DEVICE(s), 0, base);
    return DEVICE(s);
}
