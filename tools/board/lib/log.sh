# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# What in a kernel log is a defect.

LOG_DEFECTS='WARNING: |BUG: |Oops|Kernel panic|Internal error: |Unable to handle kernel'
LOG_DEFECTS="$LOG_DEFECTS|KASAN: |UBSAN: |KCSAN: |DEBUG_LOCKS_WARN_ON|Call trace:"
LOG_DEFECTS="$LOG_DEFECTS|possible (circular|recursive) locking|inconsistent lock state"
LOG_DEFECTS="$LOG_DEFECTS|(un)?safe locking scenario|irq lock inversion|suspicious RCU usage"
LOG_DEFECTS="$LOG_DEFECTS|Invalid wait context|sleeping function called|scheduling while atomic"
LOG_DEFECTS="$LOG_DEFECTS|INFO: (rcu|task|trying)|detected stall|blocked for more than|soft lockup"
LOG_DEFECTS="$LOG_DEFECTS|kmemleak: [1-9][0-9]* new suspected|unreferenced object"
LOG_DEFECTS="$LOG_DEFECTS|DMA-API: .*(device driver|error|overlap|exceed)|refcount_t: |list_(add|del) corruption"

# log_reports FILE: the lines that report a defect, at most 20.
log_reports() {
	grep -aE "$LOG_DEFECTS" "$1" | head -n 20 | tr -d '\r'
}

log_tail() {
	tail -n 40 "$1" | tr -d '\r' | sed 's/^/| /' >&2
}
