/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Registers of the virtual board's controller: a clock gate, a reset line and
 * a power switch per NPU, counters, and the port through which faults are
 * injected. Shared by the QEMU device and by the board's kernel driver.
 *
 * All registers are 32 bits wide, little endian. At power on every clock and
 * every power switch is off and every reset line is asserted.
 */
#ifndef NPU_BOARD_REGS_H
#define NPU_BOARD_REGS_H

#define NPU_BOARD_CTL_SIZE		0x10000

#define NPU_BOARD_ID			0x000	/* RO; NPU_BOARD_ID_VALUE */
#define   NPU_BOARD_ID_VALUE		0x4342504e	/* "NPBC" */
#define NPU_BOARD_COUNT			0x004	/* RO; number of NPUs on the board */

#define NPU_BOARD_MAX			2
#define NPU_BOARD_BLOCK(n)		(0x100 + (n) * 0x100)

/* Offsets within the block of one NPU. */
#define NPU_BOARD_CLOCK			0x00	/* RW; 1 = core clock runs */
#define NPU_BOARD_RESET			0x04	/* RW; 1 = reset line asserted */
#define NPU_BOARD_POWER			0x08	/* RW; 1 = powered */
/*
 * Fault injection. Write the text of a request to INJECT byte by byte, as many
 * as it has, then 0: the request is carried out, and INJECT_RESULT holds 0 or
 * an errno. The text is that of the QEMU property "inject".
 */
#define NPU_BOARD_INJECT		0x10	/* WO; next character, 0 = end */
#define NPU_BOARD_INJECT_RESULT		0x14	/* RO; 0, or a positive Linux errno */
#define   NPU_BOARD_INJECT_MAX		127	/* characters of a request */
/* 64-bit counters, low word first; reading the low word latches the high one. */
#define NPU_BOARD_STAT(i)		(0x40 + 8 * (i))	/* RO */
#define   NPU_BOARD_STAT_BAD_ACCESS	0	/* accesses to a gated NPU */
#define   NPU_BOARD_STAT_INJECTED	1	/* injected faults that happened */
#define   NPU_BOARD_STAT_VIEW_MAPS	2	/* mappings that the model made */
#define   NPU_BOARD_STAT_GATHERS	3	/* operands that it had to gather */
#define   NPU_BOARD_STAT_DEVICE_NS	4	/* device time passed, nanoseconds */
#define   NPU_BOARD_STAT_HAZARDS	5	/* missing scoreboard tokens found */
#define   NPU_BOARD_STATS		6

#endif /* NPU_BOARD_REGS_H */
