// SPDX-License-Identifier: GPL-2.0-only
/*
 * The controller of OpenNPU's virtual board: a clock gate, a reset line and a
 * power domain per NPU, and in debugfs the board's counters and its fault
 * injection:
 *
 *   npu-board/npuN/{clock,power,reset}	present state, 0 or 1
 *   npu-board/npuN/{bad_accesses,injected,view_maps,gathers,device_ns,hazards}
 *   npu-board/npuN/inject		write "FAULT [queue=N] [after=N] ..." or "clear"
 */
#include <linux/clk-provider.h>
#include <linux/debugfs.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/of.h>
#include <linux/platform_device.h>
#include <linux/pm_domain.h>
#include <linux/reset-controller.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "npu_board_regs.h"

static const char * const npu_board_names[NPU_BOARD_MAX] = { "npu0", "npu1" };

#define NPU_BOARD_CLOCK_HZ	1000000000UL

struct npu_board;

/**
 * struct npu_board_line - what the board has for one NPU
 * @board: the controller
 * @regs: its block of registers
 * @clk: clock gate
 * @domain: power domain
 */
struct npu_board_line {
	struct npu_board *board;
	void __iomem *regs;
	struct clk_hw clk;
	struct generic_pm_domain domain;
	/** @inject_lock: held while the text of a request goes through the port */
	struct mutex inject_lock;
};

/**
 * struct npu_board - the controller
 * @dev: its device
 * @reset: reset lines, one per NPU
 * @clks: clocks by number, for consumers
 * @domains: power domains by number, for consumers
 * @debugfs: root of the debugfs files
 * @count: number of NPUs
 * @line: one per NPU
 */
struct npu_board {
	struct device *dev;
	struct reset_controller_dev reset;
	struct clk_hw_onecell_data *clks;
	struct genpd_onecell_data domains;
	struct dentry *debugfs;
	unsigned int count;
	struct npu_board_line line[NPU_BOARD_MAX];
};

/* ---- clocks ---------------------------------------------------------------- */

static struct npu_board_line *clk_to_line(struct clk_hw *hw)
{
	return container_of(hw, struct npu_board_line, clk);
}

static int npu_board_clk_enable(struct clk_hw *hw)
{
	writel(1, clk_to_line(hw)->regs + NPU_BOARD_CLOCK);
	return 0;
}

static void npu_board_clk_disable(struct clk_hw *hw)
{
	writel(0, clk_to_line(hw)->regs + NPU_BOARD_CLOCK);
}

static int npu_board_clk_is_enabled(struct clk_hw *hw)
{
	return readl(clk_to_line(hw)->regs + NPU_BOARD_CLOCK) & 1;
}

static unsigned long npu_board_clk_rate(struct clk_hw *hw, unsigned long parent_rate)
{
	return NPU_BOARD_CLOCK_HZ;
}

static const struct clk_ops npu_board_clk_ops = {
	.enable = npu_board_clk_enable,
	.disable = npu_board_clk_disable,
	.is_enabled = npu_board_clk_is_enabled,
	.recalc_rate = npu_board_clk_rate,
};

static int npu_board_add_clocks(struct npu_board *board)
{
	unsigned int i;
	int ret;

	board->clks = devm_kzalloc(board->dev, struct_size(board->clks, hws, board->count),
				   GFP_KERNEL);
	if (!board->clks)
		return -ENOMEM;
	board->clks->num = board->count;

	for (i = 0; i < board->count; i++) {
		struct clk_init_data init = {
			.name = npu_board_names[i],
			.ops = &npu_board_clk_ops,
		};

		board->line[i].clk.init = &init;
		ret = devm_clk_hw_register(board->dev, &board->line[i].clk);
		if (ret)
			return ret;
		board->clks->hws[i] = &board->line[i].clk;
	}
	return devm_of_clk_add_hw_provider(board->dev, of_clk_hw_onecell_get, board->clks);
}

/* ---- reset lines ------------------------------------------------------------- */

static struct npu_board_line *reset_to_line(struct reset_controller_dev *rcdev, unsigned long id)
{
	return &container_of(rcdev, struct npu_board, reset)->line[id];
}

static int npu_board_assert(struct reset_controller_dev *rcdev, unsigned long id)
{
	writel(1, reset_to_line(rcdev, id)->regs + NPU_BOARD_RESET);
	return 0;
}

static int npu_board_deassert(struct reset_controller_dev *rcdev, unsigned long id)
{
	writel(0, reset_to_line(rcdev, id)->regs + NPU_BOARD_RESET);
	return 0;
}

static int npu_board_reset(struct reset_controller_dev *rcdev, unsigned long id)
{
	npu_board_assert(rcdev, id);
	return npu_board_deassert(rcdev, id);
}

static int npu_board_reset_status(struct reset_controller_dev *rcdev, unsigned long id)
{
	return readl(reset_to_line(rcdev, id)->regs + NPU_BOARD_RESET) & 1;
}

static const struct reset_control_ops npu_board_reset_ops = {
	.assert = npu_board_assert,
	.deassert = npu_board_deassert,
	.reset = npu_board_reset,
	.status = npu_board_reset_status,
};

static int npu_board_add_resets(struct npu_board *board)
{
	board->reset.owner = THIS_MODULE;
	board->reset.ops = &npu_board_reset_ops;
	board->reset.of_node = board->dev->of_node;
	board->reset.nr_resets = board->count;
	return devm_reset_controller_register(board->dev, &board->reset);
}

/* ---- power domains ------------------------------------------------------------- */

static int npu_board_power_on(struct generic_pm_domain *domain)
{
	struct npu_board_line *line = container_of(domain, struct npu_board_line, domain);

	writel(1, line->regs + NPU_BOARD_POWER);
	return 0;
}

static int npu_board_power_off(struct generic_pm_domain *domain)
{
	struct npu_board_line *line = container_of(domain, struct npu_board_line, domain);

	writel(0, line->regs + NPU_BOARD_POWER);
	return 0;
}

static void npu_board_remove_domains(void *data)
{
	struct npu_board *board = data;
	unsigned int i;

	of_genpd_del_provider(board->dev->of_node);
	for (i = 0; i < board->count; i++)
		pm_genpd_remove(&board->line[i].domain);
}

static int npu_board_add_domains(struct npu_board *board)
{
	unsigned int i;
	int ret;

	board->domains.domains = devm_kcalloc(board->dev, board->count,
					      sizeof(*board->domains.domains), GFP_KERNEL);
	if (!board->domains.domains)
		return -ENOMEM;

	for (i = 0; i < board->count; i++) {
		struct generic_pm_domain *domain = &board->line[i].domain;

		domain->name = npu_board_names[i];
		domain->power_on = npu_board_power_on;
		domain->power_off = npu_board_power_off;
		ret = pm_genpd_init(domain, NULL,
				    !(readl(board->line[i].regs + NPU_BOARD_POWER) & 1));
		if (ret)
			goto err_remove_domains;
		board->domains.domains[i] = domain;
	}
	board->domains.num_domains = board->count;
	ret = of_genpd_add_provider_onecell(board->dev->of_node, &board->domains);
	if (ret)
		goto err_remove_domains;
	return devm_add_action_or_reset(board->dev, npu_board_remove_domains, board);

err_remove_domains:
	while (i--)
		pm_genpd_remove(&board->line[i].domain);
	return ret;
}

/* ---- debugfs --------------------------------------------------------------------- */

static ssize_t npu_board_inject_write(struct file *file, const char __user *user, size_t size,
				      loff_t *pos)
{
	struct npu_board_line *line = file->private_data;
	char *text, *end;
	u32 result;

	if (size > NPU_BOARD_INJECT_MAX)
		return -E2BIG;
	text = memdup_user_nul(user, size);
	if (IS_ERR(text))
		return PTR_ERR(text);
	end = strchrnul(text, '\n');
	*end = '\0';

	mutex_lock(&line->inject_lock);
	for (const char *c = text; *c; c++)
		writel(*c, line->regs + NPU_BOARD_INJECT);
	writel(0, line->regs + NPU_BOARD_INJECT);
	result = readl(line->regs + NPU_BOARD_INJECT_RESULT);
	mutex_unlock(&line->inject_lock);

	kfree(text);
	return result ? -(int)result : size;
}

static const struct file_operations npu_board_inject_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.write = npu_board_inject_write,
};

static int npu_board_clock_get(void *data, u64 *value)
{
	*value = readl(((struct npu_board_line *)data)->regs + NPU_BOARD_CLOCK);
	return 0;
}

static int npu_board_reset_get(void *data, u64 *value)
{
	*value = readl(((struct npu_board_line *)data)->regs + NPU_BOARD_RESET);
	return 0;
}

static int npu_board_power_get(void *data, u64 *value)
{
	*value = readl(((struct npu_board_line *)data)->regs + NPU_BOARD_POWER);
	return 0;
}

DEFINE_DEBUGFS_ATTRIBUTE(npu_board_clock_fops, npu_board_clock_get, NULL, "%llu\n");
DEFINE_DEBUGFS_ATTRIBUTE(npu_board_reset_fops, npu_board_reset_get, NULL, "%llu\n");
DEFINE_DEBUGFS_ATTRIBUTE(npu_board_power_fops, npu_board_power_get, NULL, "%llu\n");

/* @data: the counter's low register; reading it latches the high one */
static int npu_board_stat_get(void *data, u64 *value)
{
	void __iomem *reg = (void __iomem *)data;
	u64 low = readl(reg);

	*value = low | (u64)readl(reg + 4) << 32;
	return 0;
}

DEFINE_DEBUGFS_ATTRIBUTE(npu_board_stat_fops, npu_board_stat_get, NULL, "%llu\n");

static void npu_board_remove_debugfs(void *data)
{
	debugfs_remove(((struct npu_board *)data)->debugfs);
}

static int npu_board_add_debugfs(struct npu_board *board)
{
	static const char * const stats[NPU_BOARD_STATS] = {
		[NPU_BOARD_STAT_BAD_ACCESS] = "bad_accesses",
		[NPU_BOARD_STAT_INJECTED] = "injected",
		[NPU_BOARD_STAT_VIEW_MAPS] = "view_maps",
		[NPU_BOARD_STAT_GATHERS] = "gathers",
		[NPU_BOARD_STAT_DEVICE_NS] = "device_ns",
		[NPU_BOARD_STAT_HAZARDS] = "hazards",
	};
	unsigned int i, j;

	board->debugfs = debugfs_create_dir("npu-board", NULL);
	for (i = 0; i < board->count; i++) {
		struct npu_board_line *line = &board->line[i];
		struct dentry *dir = debugfs_create_dir(npu_board_names[i], board->debugfs);

		debugfs_create_file("clock", 0400, dir, line, &npu_board_clock_fops);
		debugfs_create_file("reset", 0400, dir, line, &npu_board_reset_fops);
		debugfs_create_file("power", 0400, dir, line, &npu_board_power_fops);
		debugfs_create_file("inject", 0200, dir, line, &npu_board_inject_fops);
		for (j = 0; j < NPU_BOARD_STATS; j++)
			debugfs_create_file(stats[j], 0400, dir,
					    (void __force *)(line->regs + NPU_BOARD_STAT(j)),
					    &npu_board_stat_fops);
	}
	return devm_add_action_or_reset(board->dev, npu_board_remove_debugfs, board);
}

/* ---- probe -------------------------------------------------------------------------- */

static int npu_board_probe(struct platform_device *pdev)
{
	struct device *dev = &pdev->dev;
	struct npu_board *board;
	void __iomem *regs;
	unsigned int i;
	int ret;

	board = devm_kzalloc(dev, sizeof(*board), GFP_KERNEL);
	if (!board)
		return -ENOMEM;
	board->dev = dev;

	regs = devm_platform_ioremap_resource(pdev, 0);
	if (IS_ERR(regs))
		return PTR_ERR(regs);
	if (readl(regs + NPU_BOARD_ID) != NPU_BOARD_ID_VALUE)
		return dev_err_probe(dev, -ENODEV, "no board controller at this address\n");

	board->count = min_t(u32, readl(regs + NPU_BOARD_COUNT), NPU_BOARD_MAX);
	for (i = 0; i < board->count; i++) {
		board->line[i].board = board;
		board->line[i].regs = regs + NPU_BOARD_BLOCK(i);
		ret = devm_mutex_init(dev, &board->line[i].inject_lock);
		if (ret)
			return ret;
	}

	ret = npu_board_add_clocks(board);
	if (ret)
		return dev_err_probe(dev, ret, "cannot add clocks\n");
	ret = npu_board_add_resets(board);
	if (ret)
		return dev_err_probe(dev, ret, "cannot add reset lines\n");
	ret = npu_board_add_domains(board);
	if (ret)
		return dev_err_probe(dev, ret, "cannot add power domains\n");
	return npu_board_add_debugfs(board);
}

static const struct of_device_id npu_board_of_match[] = {
	{ .compatible = "opennpu,virt-npu-ctl" },
	{ }
};
MODULE_DEVICE_TABLE(of, npu_board_of_match);

static struct platform_driver npu_board_driver = {
	.probe = npu_board_probe,
	.driver = {
		.name = "npu-board-ctl",
		.of_match_table = npu_board_of_match,
		/* Clocks and power domains in use cannot be taken away. */
		.suppress_bind_attrs = true,
	},
};
module_platform_driver(npu_board_driver);

MODULE_DESCRIPTION("Clock, reset and power of OpenNPU's virtual board");
MODULE_LICENSE("GPL");
