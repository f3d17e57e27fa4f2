# SPDX-License-Identifier: MIT
# shellcheck shell=dash
#
# Tests of the board itself, in the guest, without the driver: the bring-up
# module npu-board-test does one thing at a time, this script judges what came
# of it. Argument: single, dual or reset. Output: TAP.

set -u

count=0 failed=0

# check NAME PATTERN TEXT: a shell pattern.
check() {
	count=$((count + 1))
	# shellcheck disable=SC2254
	case $3 in
	$2) echo "ok $count - $1" ;;
	*)
		echo "not ok $count - $1"
		echo "# expected: $2"
		echo "# found:    $3"
		failed=$((failed + 1))
		;;
	esac
}

finish() {
	echo "1..$count"
	exit "$((failed != 0))"
}

# req REQUEST: what the module finds on the NPU chosen with use().
req() {
	echo "$*" >"$run" || echo "refused"
	cat "$run"
}

# use ADDRESS NUMBER
use() {
	run=/sys/kernel/debug/npu-board-test/$1.npu/run
	ctl=/sys/kernel/debug/npu-board/npu$2
}

stat_of() {
	cat "$ctl/$1"
}

# inject REQUEST...: and count that it happened with "hits N".
inject() {
	before=$(stat_of injected)
	echo "$*" >"$ctl/inject"
}

hits() {
	check "$1: happened" '[1-9]*' $(($(stat_of injected) - before))
}

recover() {
	echo clear >"$ctl/inject"
	req line >/dev/null
	check "$1: a job runs after recovery" 'status=done *data=ok' "$(req job)"
}

test_basic() {
	check 'identity register' 'id=0x3155504e' "$(req id)"
	check 'doorbell to interrupt' 'status=done irqs=1 *fault=0x0 *' "$(req job 1)"
	check 'DMA through 128 scattered pages' 'status=done *data=ok' "$(req job 128)"
	check 'no interrupt without a cause' '*spurious=0 *' "$(req irqs)"
	check 'reset of a queue' 'status=done *state=0' "$(req reset-queue)"
	check 'job after the reset of the queue' 'status=done *data=ok' "$(req job)"
	check 'reset of the device' 'status=done *' "$(req reset-device)"
	check 'job after the reset of the device' 'status=done *data=ok' "$(req job)"
}

test_gating() {
	bad=$(stat_of bad_accesses)
	check 'clock off: registers read all ones' 'id=0xffffffff' "$(req clock 0)"
	check 'clock off: the controller says so' 0 "$(stat_of clock)"
	check 'clock off: bad accesses are counted' 1 $(($(stat_of bad_accesses) - bad))
	check 'clock on: registers are back' 'id=0x3155504e' "$(req clock 1)"
	check 'clock on: a job runs' 'status=done *data=ok' "$(req job)"
	check 'power off wipes the state' 'before=0x12345000 after=0x0' "$(req power)"
	check 'power on: a job runs' 'status=done *data=ok' "$(req job)"
	check 'reset line: a running job ends' 'status=running *' "$(req start)"
	check 'reset line: identity afterwards' 'id=0x3155504e' "$(req line)"
	check 'reset line: a job runs' 'status=done *data=ok' "$(req job)"
}

test_faults() {
	inject page-fault
	check 'page-fault reaches the guest' 'status=fault *fault=0x10 *' "$(req job)"
	hits page-fault
	recover page-fault

	inject ecc
	check 'ecc reaches the guest' 'status=fault *fault=0x19 *' "$(req job)"
	hits ecc
	recover ecc

	inject descriptor
	check 'descriptor reaches the guest' 'status=fault *fault=0x30 *' "$(req job)"
	hits descriptor
	recover descriptor

	inject hang
	check 'hang reaches the guest' 'status=timeout *' "$(req job)"
	hits hang
	check 'hang: the queue can be reset' 'status=done *' "$(req reset-queue)"
	recover hang

	# The first event of a job is that of the MMU command.
	inject irq-lost after=1
	check 'irq-lost: the job ends without an interrupt' 'status=timeout *data=ok' "$(req job)"
	hits irq-lost
	recover irq-lost

	inject irq-spurious
	sleep 1
	check 'irq-spurious reaches the guest' '*spurious=[1-9]*' "$(req irqs)"
	hits irq-spurious
	recover irq-spurious

	inject irq-storm arg=50
	sleep 1
	storm=$(req irqs)
	storm=${storm#*spurious=}
	check 'irq-storm: more than one interrupt' '[1-9][0-9]*' "${storm%% *}"
	hits irq-storm
	recover irq-storm

	inject reset-slow arg=200
	slow=$(req reset-device)
	check 'reset-slow: the reset ends' 'status=done *' "$slow"
	slow=${slow##*ms=}
	check 'reset-slow: but not soon' yes "$([ "${slow%% *}" -ge 200 ] && echo yes)"
	hits reset-slow
	recover reset-slow

	inject queue-reset-fail
	check 'queue-reset-fail reaches the guest' 'status=failed *' "$(req reset-queue)"
	hits queue-reset-fail
	recover queue-reset-fail

	inject device-reset-fail
	check 'device-reset-fail reaches the guest' 'status=failed *' "$(req reset-device)"
	hits device-reset-fail
	recover device-reset-fail

	inject fatal
	check 'fatal: STATUS says so' '*status=0x[4-7c-f]' "$(req irqs)"
	hits fatal
	recover fatal

	inject gone
	check 'gone: registers read all ones' 'id=0xffffffff' "$(req id)"
	hits gone
	recover gone

	check 'an unknown fault is refused' refused \
		"$(echo 'no-such-fault' >"$ctl/inject" 2>/dev/null || echo refused)"
	check 'a queue that does not exist is refused' refused \
		"$(echo 'hang queue=99' >"$ctl/inject" 2>/dev/null || echo refused)"
}

test_dual() {
	use 9500000 1
	check 'second NPU: identity register' 'id=0x3155504e' "$(req id)"
	check 'second NPU: job' 'status=done irqs=1 *data=ok' "$(req job)"
	inject hang
	check 'second NPU: hang' 'status=timeout *' "$(req job)"
	use 90c0000 0
	check 'first NPU works meanwhile' 'status=done irqs=1 *data=ok' "$(req job)"
	check 'first NPU: nothing was injected' 0 "$(stat_of injected)"
	check 'first NPU: its clock can go off' 'id=0xffffffff' "$(req clock 0)"
	use 9500000 1
	check 'second NPU keeps its clock' 'id=0x3155504e' "$(req id)"
	recover 'second NPU'
}

# The guest reboots while a job runs; this script runs a second time then.
test_reset() {
	if [ ! -e /out/rebooted ]; then
		req start >/out/rebooted
		sync
		reboot -f
		sleep 60
	fi
	check 'a job was running when the guest was reset' 'status=running *' "$(cat /out/rebooted)"
	check 'after the reset: identity register' 'id=0x3155504e' "$(req id)"
	check 'after the reset: a job runs' 'status=done irqs=1 *data=ok' "$(req job)"
}

if [ "$1" = reset ] && [ -e /out/rebooted ]; then
	use 90c0000 0
	check 'after the reset: clock off, power off, in reset' 001 \
		"$(stat_of clock)$(stat_of power)$(stat_of reset)"
fi
modprobe npu-board-test
use 90c0000 0
case $1 in
single)
	test_basic
	test_gating
	test_faults
	;;
dual) test_dual ;;
reset) test_reset ;;
esac
finish
