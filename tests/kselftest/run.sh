#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Runs the OpenNPU kselftests of this folder, as TAP, on a board: run.sh [TEST...]
# The last line sums up; the exit status is 1 when a test failed.
cd "$(dirname "$0")" || exit 1
[ $# -gt 0 ] || set -- npu_ioctl npu_vm_bind npu_submit npu_recovery npu_isolation npu_prime \
	npu_power npu_inject npu_hwfault npu_fail_nth npu_two_devices npu_unplug
failed=0
for t in "$@"; do
	if [ ! -x "./$t" ]; then
		echo "not ok - $t: no such test here"
		failed=$((failed + 1))
		continue
	fi
	echo "# selftests: npu: $t"
	if "./$t"; then :; else
		status=$?
		# The harness exits with 4 when everything was skipped.
		[ $status = 4 ] || { failed=$((failed + 1)); echo "# $t: exit status $status"; }
	fi
done
echo "# $failed of $# test programs failed"
[ $failed = 0 ]
