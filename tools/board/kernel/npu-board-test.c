// SPDX-License-Identifier: GPL-2.0-only
/*
 * Bring-up test of the virtual board's NPU, without the driver: it binds to the
 * NPU in place of npu.ko and does one thing at a time on request, through
 * debugfs. tools/board/tests uses it to look at the board itself.
 *
 *   npu-board-test/DEVICE/run	write a request, then read what came of it:
 *
 *   id			"id=..." of the identity register
 *   job [PAGES]	copy PAGES (default 16) scattered pages by one job on queue 0:
 *			"status=done|fault|timeout irqs=.. seqno=.. fault=.. data=ok|bad"
 *   start		as job, but return at once: the job is left running
 *   reset-queue	"status=done|failed ms=.."
 *   reset-device	"status=done|failed ms=.."
 *   line		pulse the reset line: "id=..."
 *   clock 0|1		"id=..." with the clock off or on
 *   power		off and on: "table=.." a register that was set before
 *   irqs		"irqs=.. spurious=.. global=.." since loading
 */
#include <linux/clk.h>
#include <linux/completion.h>
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/dma-mapping.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/iopoll.h>
#include <linux/ktime.h>
#include <linux/mod_devicetable.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/platform_device.h>
#include <linux/pm_runtime.h>
#include <linux/reset.h>
#include <linux/uaccess.h>

#include "npu_isa.h"
#include "npu_regs.h"

#define MAX_PAGES	128
#define WORDS		(PAGE_SIZE / sizeof(u32))
#define RING_LOG2	4
#define VA_BASE		BIT_ULL(30)	/* first address that the page tables map */
#define WAIT_MS		3000
#define RESET_WAIT_MS	1000

static struct dentry *board_test_root;

/* Coherent memory of one page each. */
enum { MEM_RING, MEM_COMP, MEM_L1, MEM_L2, MEM_L3, MEM_STREAM, MEM_COUNT };

struct mem {
	void *cpu;
	dma_addr_t dma;
};

/**
 * struct board_test - the NPU under test
 * @dev: its device
 * @regs: its registers
 * @clk: core clock
 * @reset: reset line
 * @lock: one request at a time
 * @debugfs: folder of the device
 * @mem: ring, tables and stream
 * @pages: source pages, then destination pages
 * @dma: their addresses
 * @npages: pages of one side
 * @event: a job ended or faulted
 * @irqs: interrupts that had a cause
 * @spurious: interrupts that had none
 * @global: bits of IRQ_GLOBAL seen
 * @done: bits of IRQ_DONE and IRQ_FAULT seen since the job began
 * @seqno: of the last job
 * @clock_off: by request
 * @result: what the last request found
 */
struct board_test {
	struct device *dev;
	void __iomem *regs;
	struct clk *clk;
	struct reset_control *reset;
	/* One test at a time. */
	struct mutex lock;
	struct dentry *debugfs;
	struct mem mem[MEM_COUNT];
	struct page *pages[2 * MAX_PAGES];
	dma_addr_t dma[2 * MAX_PAGES];
	unsigned int npages;
	struct completion event;
	atomic_t irqs, spurious, global, done;
	u64 seqno;
	bool clock_off;
	char result[160];
};

static u32 rd(struct board_test *t, u32 offset)
{
	return readl(t->regs + offset);
}

static void wr(struct board_test *t, u32 offset, u32 value)
{
	writel(value, t->regs + offset);
}

static void wr64(struct board_test *t, u32 offset, u64 value)
{
	wr(t, offset, lower_32_bits(value));
	wr(t, offset + 4, upper_32_bits(value));
}

static irqreturn_t board_test_irq(int irq, void *data)
{
	static const u32 regs[] = {
		NPU_IRQ_GLOBAL, NPU_IRQ_DONE, NPU_IRQ_FAULT, NPU_IRQ_EVENT,
	};
	struct board_test *t = data;
	u32 summary = rd(t, NPU_IRQ_SUMMARY);
	unsigned int i;

	/* All ones: gated or gone, so nothing to clear. */
	if (!summary || summary == ~0u) {
		atomic_inc(&t->spurious);
		return IRQ_HANDLED;
	}
	atomic_inc(&t->irqs);
	for (i = 0; i < ARRAY_SIZE(regs); i++) {
		u32 bits = rd(t, regs[i]);

		wr(t, regs[i], bits);
		if (regs[i] == NPU_IRQ_GLOBAL)
			atomic_or(bits, &t->global);
		else
			atomic_or(bits, &t->done);
	}
	complete(&t->event);
	return IRQ_HANDLED;
}

/* ---- a job ------------------------------------------------------------------ */

static void free_pages_of(struct board_test *t)
{
	unsigned int i;

	for (i = 0; i < 2 * t->npages; i++) {
		dma_unmap_page(t->dev, t->dma[i], PAGE_SIZE, DMA_BIDIRECTIONAL);
		__free_page(t->pages[i]);
	}
	t->npages = 0;
}

static int alloc_pages_of(struct board_test *t, unsigned int npages)
{
	unsigned int i;

	for (i = 0; i < 2 * npages; i++) {
		t->pages[i] = alloc_page(GFP_KERNEL | __GFP_ZERO);
		if (!t->pages[i])
			goto err_free_pages;
		t->dma[i] = dma_map_page(t->dev, t->pages[i], 0, PAGE_SIZE, DMA_BIDIRECTIONAL);
		if (dma_mapping_error(t->dev, t->dma[i])) {
			__free_page(t->pages[i]);
			goto err_free_pages;
		}
	}
	t->npages = npages;
	return 0;

err_free_pages:
	while (i--) {
		dma_unmap_page(t->dev, t->dma[i], PAGE_SIZE, DMA_BIDIRECTIONAL);
		__free_page(t->pages[i]);
	}
	return -ENOMEM;
}

static u64 leaf(dma_addr_t dma)
{
	return dma | NPU_PTE_VALID | NPU_PTE_TABLE | NPU_PTE_ATTR(NPU_PTE_ATTR_CACHED) |
	       NPU_PTE_USER | NPU_PTE_SH_INNER | NPU_PTE_AF;
}

/* Page 0 is the stream; the data follow in an order that memory does not have. */
static u64 source_va(struct board_test *t)
{
	return VA_BASE + PAGE_SIZE;
}

static u64 target_va(struct board_test *t)
{
	return source_va(t) + t->npages * PAGE_SIZE;
}

static u32 pattern(unsigned int page, unsigned int word, u64 seqno)
{
	/* A normal float in [1, 2): copied as it is. */
	return 0x3f800000 | ((page * WORDS + word + seqno * 7919) & 0x7fffff);
}

/* Where page i of one side lies: every second one first, so that no two neighbours are. */
static unsigned int scattered(struct board_test *t, unsigned int i)
{
	unsigned int half = (t->npages + 1) / 2;

	return i < half ? t->npages - 1 - 2 * i : t->npages - 2 - 2 * (i - half);
}

static void fill_tables(struct board_test *t)
{
	u64 *l1 = t->mem[MEM_L1].cpu, *l2 = t->mem[MEM_L2].cpu, *l3 = t->mem[MEM_L3].cpu;
	unsigned int i;

	memset(l3, 0, PAGE_SIZE);
	l1[VA_BASE >> 30] = t->mem[MEM_L2].dma | NPU_PTE_VALID | NPU_PTE_TABLE;
	l2[0] = t->mem[MEM_L3].dma | NPU_PTE_VALID | NPU_PTE_TABLE;
	l3[0] = leaf(t->mem[MEM_STREAM].dma);
	for (i = 0; i < t->npages; i++) {
		l3[1 + i] = leaf(t->dma[scattered(t, i)]);
		l3[1 + t->npages + i] = leaf(t->dma[t->npages + scattered(t, i)]);
	}
	dma_wmb();
}

static void fill_source(struct board_test *t)
{
	unsigned int i, j;

	for (i = 0; i < t->npages; i++) {
		struct page *page = t->pages[scattered(t, i)];
		u32 *words = page_address(page);

		for (j = 0; j < WORDS; j++)
			words[j] = pattern(i, j, t->seqno);
		dma_sync_single_for_device(t->dev, t->dma[scattered(t, i)], PAGE_SIZE,
					   DMA_BIDIRECTIONAL);
	}
}

static bool check_target(struct board_test *t)
{
	unsigned int i, j;

	for (i = 0; i < t->npages; i++) {
		unsigned int at = t->npages + scattered(t, i);
		u32 *words = page_address(t->pages[at]);

		dma_sync_single_for_cpu(t->dev, t->dma[at], PAGE_SIZE, DMA_BIDIRECTIONAL);
		for (j = 0; j < WORDS; j++)
			if (words[j] != pattern(i, j, t->seqno))
				return false;
	}
	return true;
}

static void set_tensor(struct npu_tensor *tensor, u64 va, unsigned int words)
{
	tensor->addr = va;
	tensor->ne[0] = words;
	tensor->ne[1] = 1;
	tensor->ne[2] = 1;
	tensor->ne[3] = 1;
	tensor->nb[0] = sizeof(u32);
	tensor->nb[1] = words * sizeof(u32);
	tensor->nb[2] = tensor->nb[1];
	tensor->nb[3] = tensor->nb[1];
	tensor->type = NPU_TYPE_F32;
}

/* One COPY of everything, then END; or, to be left running, an endless loop. */
static u32 fill_stream(struct board_test *t, bool endless)
{
	struct npu_cmd_map *copy = t->mem[MEM_STREAM].cpu;
	struct npu_cmd *end = (void *)(copy + 1);

	memset(copy, 0, PAGE_SIZE);
	copy->cmd.opcode = NPU_OP_COPY;
	copy->cmd.len = sizeof(*copy) / NPU_PACKET_ALIGN;
	copy->cmd.signal = NPU_NO_TOKEN;
	set_tensor(&copy->dst, target_va(t), t->npages * WORDS);
	set_tensor(&copy->src, source_va(t), t->npages * WORDS);
	if (endless) {
		struct npu_cmd_branch *branch = (void *)end;

		branch->cmd.opcode = NPU_CMD_BRANCH;
		branch->cmd.len = sizeof(*branch) / NPU_PACKET_ALIGN;
		branch->cmd.signal = NPU_NO_TOKEN;
		branch->cond = NPU_COND_ALWAYS;
		branch->rb = NPU_NO_REG;
		branch->offset = -(s32)sizeof(*copy);
		return sizeof(*copy) + sizeof(*branch);
	}
	end->opcode = NPU_CMD_END;
	end->len = 1;
	end->signal = NPU_NO_TOKEN;
	return sizeof(*copy) + sizeof(*end);
}

static int mmu_command(struct board_test *t, u32 command)
{
	u32 status, at = NPU_MMU_BASE + NPU_AS(0);
	int ret;

	wr(t, at + NPU_AS_CMD, command);
	ret = readl_poll_timeout(t->regs + at + NPU_AS_STATUS, status,
				 !(status & NPU_AS_STATUS_BUSY), 10, 1000 * USEC_PER_MSEC);
	if (ret || (status & NPU_AS_STATUS_ERROR)) {
		dev_err(t->dev, "MMU command %u: status %#x\n", command, status);
		return ret ?: -EIO;
	}
	return 0;
}

/* Queue 0 in kernel mode on slot 0, if it is not running already. */
static int start_queue(struct board_test *t)
{
	u32 at = NPU_MMU_BASE + NPU_AS(0);
	u32 state = NPU_QSTATE(rd(t, NPU_QC(0) + NPU_QC_STATUS));
	int ret;

	/* MMU commands are polled for; their interrupt would hide a lost one. */
	wr(t, NPU_IRQ_GLOBAL_EN, NPU_IRQ_G_RESET_DONE | NPU_IRQ_G_FATAL);
	wr(t, NPU_IRQ_DONE_EN, ~0u);
	wr(t, NPU_IRQ_FAULT_EN, ~0u);

	wr64(t, at + NPU_AS_TABLE_LO, t->mem[MEM_L1].dma);
	wr(t, at + NPU_AS_CFG,
	   NPU_AS_CFG_ENABLE | NPU_AS_CFG_VA_BITS(39) | NPU_AS_CFG_WALK_SHAREABLE);
	ret = mmu_command(t, NPU_AS_CMD_UPDATE);
	if (ret || state != NPU_QSTATE_STOPPED)
		return ret;

	wr(t, NPU_QC(0) + NPU_QC_MODE, NPU_QC_MODE_KERNEL);
	wr(t, NPU_QC(0) + NPU_QC_SLOT, 0);
	wr64(t, NPU_QC(0) + NPU_QC_RING_LO, t->mem[MEM_RING].dma);
	wr64(t, NPU_QC(0) + NPU_QC_COMP_LO, t->mem[MEM_COMP].dma);
	wr(t, NPU_QC(0) + NPU_QC_RING_LOG2, RING_LOG2);
	wr(t, NPU_QC(0) + NPU_QC_HEAD, 0);
	wr(t, NPU_QC(0) + NPU_QC_TAIL, 0);
	wr(t, NPU_QC(0) + NPU_QC_CMD, NPU_QCMD_START);
	return 0;
}

static int ring_job(struct board_test *t, u32 stream_size)
{
	struct npu_job_desc *ring = t->mem[MEM_RING].cpu;
	u32 head = rd(t, NPU_QC(0) + NPU_QC_HEAD);
	struct npu_job_desc *desc = &ring[head % (1 << RING_LOG2)];

	memset(desc, 0, sizeof(*desc));
	desc->stream = VA_BASE;
	desc->stream_size = stream_size;
	desc->flags = NPU_JOB_IRQ;
	desc->seqno = t->seqno;
	desc->cookie = lower_32_bits(t->seqno);
	dma_wmb();
	reinit_completion(&t->event);
	atomic_set(&t->done, 0);
	wr(t, NPU_QU(0) + NPU_QU_DOORBELL, head + 1);
	return 0;
}

static int prepare_job(struct board_test *t, unsigned int npages)
{
	int ret;

	free_pages_of(t);
	ret = alloc_pages_of(t, npages);
	if (ret)
		return ret;
	t->seqno++;
	fill_tables(t);
	fill_source(t);
	return start_queue(t);
}

/*
 * False after WAIT_MS. Interrupts of what went before, of a reset or the MMU, may still come:
 * they are not the job's.
 */
static bool wait_job(struct board_test *t)
{
	unsigned long left = msecs_to_jiffies(WAIT_MS);

	while (left && !atomic_read(&t->done))
		left = wait_for_completion_timeout(&t->event, left);
	return atomic_read(&t->done);
}

static int request_job(struct board_test *t, unsigned int npages)
{
	const char *status = "timeout";
	bool done;
	u32 fault;
	u64 seqno;
	int ret;

	ret = prepare_job(t, npages);
	if (ret)
		return ret;
	ring_job(t, fill_stream(t, false));
	done = wait_job(t);
	fault = rd(t, NPU_QC(0) + NPU_QC_FAULT);
	seqno = rd(t, NPU_QC(0) + NPU_QC_SEQNO_LO);
	if (done)
		status = NPU_FAULT_CODE(fault) ? "fault" : "done";
	snprintf(t->result, sizeof(t->result),
		 "status=%s irqs=%d seqno=%llu/%llu fault=%#x data=%s\n", status,
		 hweight32(atomic_read(&t->done)), seqno, t->seqno, NPU_FAULT_CODE(fault),
		 check_target(t) ? "ok" : "bad");
	return 0;
}

static int request_start(struct board_test *t)
{
	int ret;

	ret = prepare_job(t, 16);
	if (ret)
		return ret;
	ring_job(t, fill_stream(t, true));
	/* Until the first commands have retired: it is really under way. */
	ret = wait_for_completion_timeout(&t->event, msecs_to_jiffies(200));
	snprintf(t->result, sizeof(t->result), "status=%s commands=%u\n",
		 NPU_QSTATE(rd(t, NPU_QC(0) + NPU_QC_STATUS)) == NPU_QSTATE_RUNNING ?
		 "running" : "ended", rd(t, NPU_QC(0) + NPU_QC_COMMANDS_LO));
	return 0;
}

/* ---- resets and lines ----------------------------------------------------------- */

static int request_reset_queue(struct board_test *t)
{
	ktime_t began = ktime_get();
	u32 status;
	int ret;

	wr(t, NPU_QC(0) + NPU_QC_CMD, NPU_QCMD_RESET);
	ret = readl_poll_timeout(t->regs + NPU_QC(0) + NPU_QC_STATUS, status,
				 !(status & NPU_QSTATUS_BUSY), 1000,
				 RESET_WAIT_MS * USEC_PER_MSEC);
	snprintf(t->result, sizeof(t->result), "status=%s ms=%lld state=%u\n",
		 ret || (status & NPU_QSTATUS_RESET_FAILED) ? "failed" : "done",
		 ktime_ms_delta(ktime_get(), began), NPU_QSTATE(status));
	return 0;
}

static int request_reset_device(struct board_test *t)
{
	ktime_t began = ktime_get();
	u32 status;
	int ret;

	wr(t, NPU_RESET, NPU_RESET_KEY);
	ret = readl_poll_timeout(t->regs + NPU_STATUS, status,
				 (status & NPU_STATUS_READY) && !(status & NPU_STATUS_RESETTING),
				 1000, RESET_WAIT_MS * USEC_PER_MSEC);
	snprintf(t->result, sizeof(t->result), "status=%s ms=%lld\n",
		 ret || (status & NPU_STATUS_RESET_FAILED) ? "failed" : "done",
		 ktime_ms_delta(ktime_get(), began));
	return 0;
}

static int request_id(struct board_test *t)
{
	snprintf(t->result, sizeof(t->result), "id=%#x\n", rd(t, NPU_ID));
	return 0;
}

static int request_line(struct board_test *t)
{
	reset_control_assert(t->reset);
	usleep_range(10, 20);
	reset_control_deassert(t->reset);
	return request_id(t);
}

static int request_clock(struct board_test *t, unsigned int on)
{
	if (on && t->clock_off)
		clk_prepare_enable(t->clk);
	else if (!on && !t->clock_off)
		clk_disable_unprepare(t->clk);
	t->clock_off = !on;
	return request_id(t);
}

static int request_power(struct board_test *t)
{
	u32 at = NPU_MMU_BASE + NPU_AS(0) + NPU_AS_TABLE_LO;
	u32 before;

	wr(t, at, 0x12345000);
	before = rd(t, at);
	pm_runtime_put_sync(t->dev);
	pm_runtime_get_sync(t->dev);
	snprintf(t->result, sizeof(t->result), "before=%#x after=%#x\n", before, rd(t, at));
	return 0;
}

static int request_irqs(struct board_test *t)
{
	snprintf(t->result, sizeof(t->result), "irqs=%d spurious=%d global=%#x status=%#x\n",
		 atomic_read(&t->irqs), atomic_read(&t->spurious), atomic_read(&t->global),
		 rd(t, NPU_STATUS));
	return 0;
}

static int do_request(struct board_test *t, const char *text)
{
	unsigned int value = 16;
	char verb[16];

	if (sscanf(text, "%15s %u", verb, &value) < 1)
		return -EINVAL;
	if (!strcmp(verb, "job"))
		return value && value <= MAX_PAGES ? request_job(t, value) : -EINVAL;
	if (!strcmp(verb, "id"))
		return request_id(t);
	if (!strcmp(verb, "start"))
		return request_start(t);
	if (!strcmp(verb, "reset-queue"))
		return request_reset_queue(t);
	if (!strcmp(verb, "reset-device"))
		return request_reset_device(t);
	if (!strcmp(verb, "line"))
		return request_line(t);
	if (!strcmp(verb, "clock"))
		return request_clock(t, value);
	if (!strcmp(verb, "power"))
		return request_power(t);
	if (!strcmp(verb, "irqs"))
		return request_irqs(t);
	return -EINVAL;
}

static ssize_t run_write(struct file *file, const char __user *user, size_t size, loff_t *pos)
{
	struct board_test *t = file->private_data;
	char text[32] = "";
	int ret;

	if (size >= sizeof(text))
		return -EINVAL;
	if (copy_from_user(text, user, size))
		return -EFAULT;
	mutex_lock(&t->lock);
	t->result[0] = '\0';
	ret = do_request(t, text);
	mutex_unlock(&t->lock);
	return ret ?: size;
}

static ssize_t run_read(struct file *file, char __user *user, size_t size, loff_t *pos)
{
	struct board_test *t = file->private_data;
	char result[sizeof(t->result)];

	mutex_lock(&t->lock);
	strscpy(result, t->result, sizeof(result));
	mutex_unlock(&t->lock);
	return simple_read_from_buffer(user, size, pos, result, strlen(result));
}

static const struct file_operations run_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.read = run_read,
	.write = run_write,
};

/* ---- probe ------------------------------------------------------------------------ */

static int board_test_on(struct board_test *t)
{
	u32 status;
	int ret;

	ret = pm_runtime_resume_and_get(t->dev);
	if (ret)
		return ret;
	ret = clk_prepare_enable(t->clk);
	if (ret)
		goto err_put;
	ret = reset_control_deassert(t->reset);
	if (ret)
		goto err_clk;
	ret = readl_poll_timeout(t->regs + NPU_STATUS, status, status & NPU_STATUS_READY, 100,
				 RESET_WAIT_MS * USEC_PER_MSEC);
	if (!ret)
		return 0;
	reset_control_assert(t->reset);
err_clk:
	clk_disable_unprepare(t->clk);
err_put:
	pm_runtime_put_sync(t->dev);
	return ret;
}

static int board_test_probe(struct platform_device *pdev)
{
	struct device *dev = &pdev->dev;
	struct board_test *t;
	unsigned int i;
	int irq, ret;

	t = devm_kzalloc(dev, sizeof(*t), GFP_KERNEL);
	if (!t)
		return -ENOMEM;
	t->dev = dev;
	platform_set_drvdata(pdev, t);
	init_completion(&t->event);
	ret = devm_mutex_init(dev, &t->lock);
	if (ret)
		return ret;

	t->regs = devm_platform_ioremap_resource(pdev, 0);
	if (IS_ERR(t->regs))
		return PTR_ERR(t->regs);
	t->clk = devm_clk_get(dev, "core");
	if (IS_ERR(t->clk))
		return dev_err_probe(dev, PTR_ERR(t->clk), "no clock\n");
	t->reset = devm_reset_control_get_exclusive(dev, NULL);
	if (IS_ERR(t->reset))
		return dev_err_probe(dev, PTR_ERR(t->reset), "no reset line\n");
	irq = platform_get_irq(pdev, 0);
	if (irq < 0)
		return irq;
	ret = dma_set_mask_and_coherent(dev, DMA_BIT_MASK(40));
	if (ret)
		return ret;
	for (i = 0; i < MEM_COUNT; i++) {
		t->mem[i].cpu = dmam_alloc_coherent(dev, PAGE_SIZE, &t->mem[i].dma, GFP_KERNEL);
		if (!t->mem[i].cpu)
			return -ENOMEM;
	}

	pm_runtime_enable(dev);
	ret = board_test_on(t);
	if (ret) {
		dev_err_probe(dev, ret, "the NPU does not get ready\n");
		goto err_pm;
	}
	ret = devm_request_irq(dev, irq, board_test_irq, 0, dev_name(dev), t);
	if (ret)
		goto err_off;

	t->debugfs = debugfs_create_dir(dev_name(dev), board_test_root);
	debugfs_create_file("run", 0600, t->debugfs, t, &run_fops);
	return 0;

err_off:
	reset_control_assert(t->reset);
	clk_disable_unprepare(t->clk);
	pm_runtime_put_sync(dev);
err_pm:
	pm_runtime_disable(dev);
	return ret;
}

static void board_test_remove(struct platform_device *pdev)
{
	struct board_test *t = platform_get_drvdata(pdev);

	debugfs_remove(t->debugfs);
	/* The line first: after it no job can touch the pages. */
	reset_control_assert(t->reset);
	free_pages_of(t);
	if (!t->clock_off)
		clk_disable_unprepare(t->clk);
	pm_runtime_put_sync(t->dev);
	pm_runtime_disable(t->dev);
}

static const struct of_device_id board_test_of_match[] = {
	{ .compatible = "opennpu,npu-1" },
	{ }
};

static struct platform_driver board_test_driver = {
	.probe = board_test_probe,
	.remove = board_test_remove,
	.driver = {
		.name = "npu-board-test",
		.of_match_table = board_test_of_match,
	},
};

static int __init board_test_init(void)
{
	int ret;

	board_test_root = debugfs_create_dir("npu-board-test", NULL);
	ret = platform_driver_register(&board_test_driver);
	if (ret)
		debugfs_remove(board_test_root);
	return ret;
}
module_init(board_test_init);

static void __exit board_test_exit(void)
{
	platform_driver_unregister(&board_test_driver);
	debugfs_remove(board_test_root);
}
module_exit(board_test_exit);

MODULE_DESCRIPTION("Bring-up test of OpenNPU's virtual board");
MODULE_LICENSE("GPL");
