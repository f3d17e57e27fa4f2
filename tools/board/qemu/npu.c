/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * NPU: a system-bus device around the OpenNPU hardware model.
 *
 * The model computes in threads of its own and reaches guest memory through
 * windows that it keeps, so neither MMIO nor the big lock ever waits for a
 * command. What it writes bypasses QEMU's dirty tracking: that is sound as long
 * as the NPU is not used to write code that the guest then executes.
 */
#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qemu/module.h"
#include "qemu/rcu.h"
#include "qemu/timer.h"
#include "qapi/error.h"
#include "qapi/visitor.h"
#include "exec/address-spaces.h"
#include "exec/ramblock.h"
#include "hw/irq.h"
#include "hw/misc/npu.h"
#include "hw/qdev-properties.h"
#include "migration/vmstate.h"
#include "npu_regs.h"

#define NPU_MAX_WINDOWS 8
#define NPU_HUGE_PAGE   (2u << 20)
/* Of work without huge pages: most guests are not for long, and their memory is new to the host. */
#define NPU_HUGE_MS     8000
/*
 * A pulse of the interrupt line lasts until the guest looks at the NPU, which is
 * when a CPU has seen it however busy the host is, and at most this long.
 */
#define NPU_PULSE_NS    (100 * SCALE_MS)

struct NpuState {
    SysBusDevice parent_obj;

    MemoryRegion mmio;
    qemu_irq irq;
    QEMUBH *irq_bh;
    uint64_t irq_pulses;        /* of the model that the guest was shown; BQL */
    QEMUTimer *irq_pulse_end;
    struct npu_model *model;

    /* Guest RAM; filled before the guest starts, then only read. */
    struct npu_model_window windows[NPU_MAX_WINDOWS];
    unsigned nr_windows;

    bool in_reset;              /* the line is asserted; BQL */
    uint64_t reset_accesses;    /* register accesses meanwhile; BQL */

    /* properties */
    char *config;
    char *isa;
    uint32_t threads;
    uint32_t spin_us;
    bool coherent;
    bool check_hazards;
    bool synchronous;
};

/* ---- the model's host: called from any thread, mostly without the BQL ----- */

static int npu_window(void *opaque, uint64_t bus, struct npu_model_window *out)
{
    NpuState *s = opaque;

    for (unsigned i = 0; i < s->nr_windows; i++) {
        const struct npu_model_window *w = &s->windows[i];

        if (bus >= w->bus && bus - w->bus < w->size) {
            *out = *w;
            return 0;
        }
    }
    return -EFAULT;
}

/*
 * The line is driven in the main loop: taking the BQL in the model's thread is
 * no faster, and could deadlock with a vCPU that waits for the model in a reset.
 */
static void npu_irq(void *opaque, bool level)
{
    NpuState *s = opaque;

    qemu_bh_schedule(s->irq_bh);
}

/* The guest's clock, so that TIMER stands still while the board is paused. */
static uint64_t npu_time_ns(void *opaque)
{
    return qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL);
}

static void npu_thread_enter(void *opaque)
{
    rcu_register_thread();
}

static void npu_thread_exit(void *opaque)
{
    rcu_unregister_thread();
}

static void npu_log(void *opaque, const char *text)
{
    warn_report("npu: %s", text);
}

static const struct npu_model_bus npu_bus = {
    .window = npu_window,
    .irq = npu_irq,
    .time_ns = npu_time_ns,
    .thread_enter = npu_thread_enter,
    .thread_exit = npu_thread_exit,
};

/*
 * BQL held: takes the level from the model and puts it on the line. Both happen
 * under the BQL, so of two updates the later one has the newer level; and a
 * register access leaves the line as it should be before the guest goes on.
 * Lock order: BQL, then the model's lock, which is never held in a callback.
 */
static void npu_update_irq(void *opaque)
{
    NpuState *s = opaque;
    uint64_t pulses;
    bool level = npu_model_irq(s->model, &pulses);

    if (pulses != s->irq_pulses) {
        s->irq_pulses = pulses;
        timer_mod(s->irq_pulse_end,
                  qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL) + NPU_PULSE_NS);
    }
    level |= timer_pending(s->irq_pulse_end);
    qemu_set_irq(s->irq, level && !s->in_reset);
}

/*
 * Guest memory once more, where the host can give it huge pages: QEMU's own
 * mapping is aligned to small ones. NULL: it stays with that one.
 */
static void *npu_alias(int fd, uint64_t offset, uint64_t size)
{
    uint8_t *p = mmap(NULL, size + NPU_HUGE_PAGE, PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (p == MAP_FAILED) {
        return NULL;
    }
    p += (offset - (uintptr_t)p) & (NPU_HUGE_PAGE - 1);
    p = mmap(p, size, PROT_READ | PROT_WRITE,
             MAP_SHARED | MAP_FIXED | MAP_NORESERVE, fd, offset);
    return p == MAP_FAILED ? NULL : p;
}

static bool npu_add_window(Int128 start, Int128 len, const MemoryRegion *cmr,
                           hwaddr offset, void *opaque)
{
    MemoryRegion *mr = (MemoryRegion *)cmr;
    NpuState *s = opaque;
    struct npu_model_window *w = &s->windows[s->nr_windows];

    if (!memory_region_is_ram(mr) || memory_region_is_ram_device(mr) ||
        memory_region_is_rom(mr)) {
        return false;
    }
    if (s->nr_windows == NPU_MAX_WINDOWS) {
        warn_report("npu: more than %d ranges of memory, the rest is invisible",
                    NPU_MAX_WINDOWS);
        return true;
    }
    w->bus = int128_get64(start);
    w->size = int128_get64(len);
    w->fd = memory_region_get_fd(mr);
    w->fd_offset = mr->ram_block->fd_offset + offset;
    w->host = w->fd < 0 ? NULL : npu_alias(w->fd, w->fd_offset, w->size);
    if (!w->host) {
        w->host = (char *)memory_region_get_ram_ptr(mr) + offset;
    }
    w->writable = true;
    s->nr_windows++;
    return false;
}

static void npu_find_windows(NpuState *s)
{
    if (s->nr_windows) {
        return;
    }
    RCU_READ_LOCK_GUARD();
    flatview_for_each_range(address_space_to_flatview(&address_space_memory),
                            npu_add_window, s);
}

/* ---- registers -------------------------------------------------------------- */

static void npu_end_pulse(NpuState *s)
{
    if (timer_pending(s->irq_pulse_end)) {
        timer_del(s->irq_pulse_end);
        npu_update_irq(s);
    }
}

static uint64_t npu_mmio_read(void *opaque, hwaddr offset, unsigned size)
{
    NpuState *s = opaque;

    if (s->in_reset) {
        s->reset_accesses++;
        return UINT64_MAX;
    }
    npu_end_pulse(s);
    return npu_model_read(s->model, offset, size);
}

static void npu_mmio_write(void *opaque, hwaddr offset, uint64_t value,
                           unsigned size)
{
    NpuState *s = opaque;

    if (s->in_reset) {
        s->reset_accesses++;
        return;
    }
    npu_model_write(s->model, offset, value, size);
    if (s->synchronous) {
        npu_model_step(s->model, UINT_MAX);
    }
    /* A line that this write lowered must be low when the guest goes on. */
    npu_update_irq(s);
}

static const MemoryRegionOps npu_mmio_ops = {
    .read = npu_mmio_read,
    .write = npu_mmio_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = { .min_access_size = 4, .max_access_size = 8 },
    .impl = { .min_access_size = 4, .max_access_size = 8 },
};

/* ---- the board's lines -------------------------------------------------------- */

void npu_set_clock(NpuState *s, bool on)
{
    npu_model_set_clock(s->model, on);
    npu_update_irq(s);
}

void npu_set_power(NpuState *s, bool on)
{
    npu_model_set_power(s->model, on);
    npu_update_irq(s);
}

void npu_set_reset(NpuState *s, bool asserted)
{
    if (asserted && !s->in_reset) {
        npu_model_reset(s->model);
    }
    s->in_reset = asserted;
    npu_update_irq(s);
}

uint64_t npu_stat(NpuState *s, enum npu_model_stat stat)
{
    uint64_t value = npu_model_stat(s->model, stat);

    return stat == NPU_MODEL_STAT_BAD_ACCESS ? value + s->reset_accesses : value;
}

/* ---- fault injection ------------------------------------------------------------ */

static int npu_inject_option(struct npu_model_injection *inj, const char *word,
                             Error **errp)
{
    const char *text = strchr(word, '=');
    uint64_t value;

    if (!text || qemu_strtou64(text + 1, NULL, 0, &value)) {
        error_setg(errp, "'%s': expected NAME=NUMBER", word);
        return -EINVAL;
    }
    if (g_str_has_prefix(word, "queue=") && value < NPU_MAX_QUEUES) {
        inj->queue = value;
    } else if (g_str_has_prefix(word, "after=") && value <= UINT32_MAX) {
        inj->after = value;
    } else if (g_str_has_prefix(word, "times=") && value <= UINT32_MAX) {
        inj->times = value;
    } else if (g_str_has_prefix(word, "arg=")) {
        inj->arg = value;
    } else {
        error_setg(errp, "'%s': expected queue=N (below %u), after=N, times=N "
                   "or arg=N", word, NPU_MAX_QUEUES);
        return -EINVAL;
    }
    return 0;
}

int npu_inject(NpuState *s, const char *request, Error **errp)
{
    g_autofree char *text = g_strstrip(g_strdup(request));
    g_auto(GStrv) words = g_strsplit(text, " ", -1);
    struct npu_model_injection inj = { .queue = -1 };
    int ret;

    if (words[0] && !strcmp(words[0], "clear") && !words[1]) {
        npu_model_inject_clear(s->model);
        return 0;
    }
    ret = words[0] ? npu_model_fault_parse(words[0]) : -EINVAL;
    if (ret < 0) {
        error_setg(errp, "'%s' is no fault: see Documentation/board/faults.rst",
                   words[0] ?: "");
        return -EINVAL;
    }
    inj.fault = ret;
    for (char **word = words + 1; *word; word++) {
        if (**word && npu_inject_option(&inj, *word, errp)) {
            return -EINVAL;
        }
    }
    ret = npu_model_inject(s->model, &inj);
    if (ret) {
        error_setg_errno(errp, -ret, "the model refused '%s'", request);
    }
    return ret;
}

static void npu_prop_inject(Object *obj, const char *value, Error **errp)
{
    NpuState *s = NPU(obj);

    if (!s->model) {
        error_setg(errp, "faults are injected while the board runs");
        return;
    }
    npu_inject(s, value, errp);
}

static void npu_prop_stat(Object *obj, Visitor *v, const char *name,
                          void *opaque, Error **errp)
{
    NpuState *s = NPU(obj);
    uint64_t value = s->model ? npu_stat(s, (uintptr_t)opaque) : 0;

    visit_type_uint64(v, name, &value, errp);
}

/* ---- life ------------------------------------------------------------------------- */

static bool npu_parse_isa(const char *name, enum npu_model_isa *isa)
{
    static const char *const names[] = {
        [NPU_MODEL_ISA_AUTO] = "auto",
        [NPU_MODEL_ISA_SCALAR] = "scalar",
        [NPU_MODEL_ISA_AVX2] = "avx2",
        [NPU_MODEL_ISA_AVX512] = "avx512",
        [NPU_MODEL_ISA_NEON] = "neon",
    };

    for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
        if (!strcmp(name ?: "auto", names[i])) {
            *isa = i;
            return true;
        }
    }
    return false;
}

static void npu_realize(DeviceState *dev, Error **errp)
{
    NpuState *s = NPU(dev);
    struct npu_model_options options = {
        .size = sizeof(options),
        .config = s->config,
        .threads = s->threads,
        .spin_us = s->spin_us,
        .coherent = s->coherent,
        .check_hazards = s->check_hazards,
        .synchronous = s->synchronous,
        .log = npu_log,
        .huge_ms = NPU_HUGE_MS,
    };
    char reason[256] = "";
    sigset_t all, old;
    int ret;

    if (!npu_parse_isa(s->isa, &options.isa)) {
        error_setg(errp, "isa=%s: expected auto, scalar, avx2, avx512 or neon",
                   s->isa);
        return;
    }
    s->irq_bh = qemu_bh_new(npu_update_irq, s);
    s->irq_pulse_end = timer_new_ns(QEMU_CLOCK_VIRTUAL, npu_update_irq, s);

    /* The model's threads inherit the mask: QEMU's signals are not for them. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    ret = npu_model_create(&npu_bus, s, &options, &s->model, reason,
                           sizeof(reason));
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (ret) {
        error_setg_errno(errp, -ret, "cannot make the NPU: %s", reason);
        qemu_bh_delete(s->irq_bh);
        timer_free(s->irq_pulse_end);
        return;
    }

    /* The whole frame space: queues that the model lacks read as zero. */
    memory_region_init_io(&s->mmio, OBJECT(s), &npu_mmio_ops, s, TYPE_NPU,
                          NPU_MMIO_MAX_SIZE);
    sysbus_init_mmio(SYS_BUS_DEVICE(dev), &s->mmio);
    sysbus_init_irq(SYS_BUS_DEVICE(dev), &s->irq);
}

static void npu_unrealize(DeviceState *dev)
{
    NpuState *s = NPU(dev);

    npu_model_destroy(s->model);
    s->model = NULL;
    qemu_bh_delete(s->irq_bh);
    timer_free(s->irq_pulse_end);
}

/* The board's power-on state: off, and in reset. */
static void npu_reset_hold(Object *obj, ResetType type)
{
    NpuState *s = NPU(obj);

    npu_find_windows(s);
    npu_set_reset(s, true);
    npu_set_clock(s, false);
    npu_set_power(s, false);
}

static const Property npu_properties[] = {
    DEFINE_PROP_STRING("config", NpuState, config),
    DEFINE_PROP_STRING("isa", NpuState, isa),
    DEFINE_PROP_UINT32("threads", NpuState, threads, 0),
    DEFINE_PROP_UINT32("spin-us", NpuState, spin_us, 0),
    DEFINE_PROP_BOOL("coherent", NpuState, coherent, true),
    DEFINE_PROP_BOOL("check-hazards", NpuState, check_hazards, false),
    /* Work is done within the register write: for counting instructions. */
    DEFINE_PROP_BOOL("synchronous", NpuState, synchronous, false),
};

static const VMStateDescription npu_vmstate = {
    .name = TYPE_NPU,
    .unmigratable = 1,
};

static void npu_add_stat(ObjectClass *oc, const char *name,
                         enum npu_model_stat stat)
{
    object_class_property_add(oc, name, "uint64", npu_prop_stat, NULL, NULL,
                              (void *)(uintptr_t)stat);
}

static void npu_class_init(ObjectClass *oc, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(oc);

    dc->realize = npu_realize;
    dc->unrealize = npu_unrealize;
    dc->vmsd = &npu_vmstate;
    dc->desc = "OpenNPU";
    device_class_set_props(dc, npu_properties);
    RESETTABLE_CLASS(oc)->phases.hold = npu_reset_hold;

    object_class_property_add_str(oc, "inject", NULL, npu_prop_inject);
    npu_add_stat(oc, "bad-accesses", NPU_MODEL_STAT_BAD_ACCESS);
    npu_add_stat(oc, "injected", NPU_MODEL_STAT_INJECTED);
    npu_add_stat(oc, "device-ns", NPU_MODEL_STAT_DEVICE_NS);
}

static const TypeInfo npu_types[] = {
    {
        .name = TYPE_NPU,
        .parent = TYPE_SYS_BUS_DEVICE,
        .instance_size = sizeof(NpuState),
        .class_init = npu_class_init,
    },
};

DEFINE_TYPES(npu_types)
