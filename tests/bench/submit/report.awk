# SPDX-License-Identifier: MIT
# Reads what count.c wrote; -v phases= what guest.c printed, -v symbols= sorted
# kallsyms, -v breakdown= not empty: functions too.

function hex16(s) { return substr("0000000000000000" s, length(s) + 1) }

# The last symbol at or below an address.
function symbol(a,    lo, hi, mid) {
	if (a in known) return known[a]
	lo = 1; hi = nsym
	while (lo < hi) {
		mid = int((lo + hi + 1) / 2)
		if (addr[mid] <= a) lo = mid; else hi = mid - 1
	}
	return known[a] = name[lo]
}

function median(    i, j, t) {
	for (i = 2; i <= n; i++) {
		t = value[i]
		for (j = i - 1; j > 0 && value[j] > t; j--) value[j + 1] = value[j]
		value[j + 1] = t
	}
	return value[int((n + 1) / 2)]
}

# Which part of the kernel a function belongs to, by its module and name.
function part(s) {
	if (s ~ /\[npu\]/) return "npu"
	if (s ~ /\[gpu_sched\]|^drm_sched/) return "drm_sched"
	if (s ~ /syncobj|^drm_|\[drm/) return "drm, syncobj"
	if (s ~ /dma_fence|dma_resv|ww_mutex/) return "dma_fence, dma_resv"
	if (s ~ /work|wq_|pwq|kthread/) return "workqueue"
	if (s ~ /irq|gic|handle_.*(level|fasteoi)|el1h_|el1_|generic_handle|softirq/) return "interrupt"
	if (s ~ /slab|kmalloc|kfree|kmem|memcg|obj_cgroup|kvmalloc|kvfree|memset|objcg/) return "allocator"
	if (s ~ /sched|enqueue|dequeue|wake|pick_|update_|rq_|switch|task|_fair|runnable|avg|vruntime|cpuacct|pelt|entity|cfs|balance/) return "task switch, wake-up"
	if (s ~ /timer|ktime|tick|clock/) return "timers, clock"
	if (s ~ /el0|syscall|ioctl|copy_|user|fdget|fput|security|ret_to/) return "system call, copies"
	if (s ~ /lock|mutex|rcu/) return "locks, rcu"
	return "other"
}

function flush_phase(    s, i, tmp, cmd, m, p, part_of) {
	if (!cur || !n) return
	split(phase[cur], tmp, ",")
	m = median()
	printf "%-17s batch of %2d: %7d kernel instructions, %6d a job; median of %d, %d to %d\n",
		tmp[1], tmp[2], m, m / tmp[2], n, value[1], value[n]
	if (breakdown) {
		cmd = "sort -rn | sed 's/^/      /'"
		for (s in funcs) if (s !~ idle) part_of[part(s)] += funcs[s]
		for (p in part_of) printf "%8.0f  %s\n", part_of[p] / n, p | cmd
		close(cmd)
		cmd = "sort -rn | head -n 60 | sed 's/^/            /'"
		for (s in funcs) if (s !~ idle) printf "%8.0f  %s\n", funcs[s] / n, s | cmd
		close(cmd)
	}
	split("", funcs); split("", value); n = 0
}

BEGIN {
	while ((getline line < phases) > 0) phase[++np] = line
	while ((getline line < symbols) > 0) {
		split(line, f, " ")
		addr[++nsym] = f[1] ""
		name[nsym] = f[2] (f[3] == "" ? "" : " " f[3])
	}
	idle = "^(do_idle|default_idle_call|arch_cpu_idle.*|cpu_startup_entry|cpuidle_.*|tick_nohz_idle_.*|schedule_idle|ct_idle_.*|psci_cpu_.*|cpu_do_idle)( |$)"
}
$1 == "block" {
	s = symbol(hex16($2) "")
	funcs[s] += $3
	if (s ~ idle) out += $3
}
$1 == "interval" { value[++n] = $2 - out; out = 0 }
$1 == "phase" { flush_phase(); cur++ }
END { flush_phase() }
