/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * "npu-board": the virt machine with one or two NPUs and their controller.
 *
 * The board boots with the device tree of dts/ (-dtb), whose addresses and
 * interrupts are those below; the tree that virt generates knows no NPU.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/visitor.h"
#include "hw/arm/virt.h"
#include "hw/misc/npu.h"
#include "hw/qdev-properties.h"
#include "npu_board_regs.h"

#define TYPE_NPU_BOARD MACHINE_TYPE_NAME("npu-board")
OBJECT_DECLARE_TYPE(NpuBoardState, NpuBoardClass, NPU_BOARD)

struct NpuBoardClass {
    VirtMachineClass parent_class;

    void (*parent_init)(MachineState *ms);
};

struct NpuBoardState {
    VirtMachineState parent_obj;

    uint32_t npus;
};

/* Free in virt's maps of memory and interrupts. */
static const struct {
    hwaddr base;
    int spi;
} npu_slots[NPU_BOARD_MAX] = {
    { 0x090c0000, 100 },
    { 0x09500000, 101 },
};
#define NPU_BOARD_CTL_BASE 0x09a00000

static void npu_board_init(MachineState *ms)
{
    VirtMachineState *vms = VIRT_MACHINE(ms);
    NpuBoardState *s = NPU_BOARD(ms);
    NpuState *npus[NPU_BOARD_MAX];

    NPU_BOARD_GET_CLASS(s)->parent_init(ms);

    for (unsigned i = 0; i < s->npus; i++) {
        g_autofree char *name = g_strdup_printf("npu%u", i);
        DeviceState *dev = qdev_new(TYPE_NPU);

        object_property_add_child(OBJECT(ms), name, OBJECT(dev));
        sysbus_realize_and_unref(SYS_BUS_DEVICE(dev), &error_fatal);
        sysbus_mmio_map(SYS_BUS_DEVICE(dev), 0, npu_slots[i].base);
        sysbus_connect_irq(SYS_BUS_DEVICE(dev), 0,
                           qdev_get_gpio_in(vms->gic, npu_slots[i].spi));
        npus[i] = NPU(dev);
    }
    npu_board_ctl_create(NPU_BOARD_CTL_BASE, npus, s->npus);
}

static void npu_board_get_npus(Object *obj, Visitor *v, const char *name,
                               void *opaque, Error **errp)
{
    visit_type_uint32(v, name, &NPU_BOARD(obj)->npus, errp);
}

static void npu_board_set_npus(Object *obj, Visitor *v, const char *name,
                               void *opaque, Error **errp)
{
    uint32_t npus;

    if (!visit_type_uint32(v, name, &npus, errp)) {
        return;
    }
    if (npus < 1 || npus > NPU_BOARD_MAX) {
        error_setg(errp, "the board holds 1 to %d NPUs", NPU_BOARD_MAX);
        return;
    }
    NPU_BOARD(obj)->npus = npus;
}

static void npu_board_instance_init(Object *obj)
{
    NPU_BOARD(obj)->npus = 1;
}

static void npu_board_class_init(ObjectClass *oc, void *data)
{
    MachineClass *mc = MACHINE_CLASS(oc);

    NPU_BOARD_CLASS(oc)->parent_init = mc->init;
    mc->init = npu_board_init;
    mc->desc = "ARM virt board with OpenNPU";
    mc->alias = NULL;
    object_class_property_add(oc, "npus", "uint32", npu_board_get_npus,
                              npu_board_set_npus, NULL, NULL);
    object_class_property_set_description(oc, "npus", "number of NPUs, 1 or 2");
}

static const TypeInfo npu_board_types[] = {
    {
        .name = TYPE_NPU_BOARD,
        .parent = TYPE_VIRT_MACHINE,
        .instance_size = sizeof(NpuBoardState),
        .instance_init = npu_board_instance_init,
        .class_size = sizeof(NpuBoardClass),
        .class_init = npu_board_class_init,
    },
};

DEFINE_TYPES(npu_board_types)
