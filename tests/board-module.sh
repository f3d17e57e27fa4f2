#!/bin/sh
# SPDX-License-Identifier: MIT
# On the board, the driver not loaded: loading and unloading it, a probe that must
# wait for its clock, and a device that goes while it works. As TAP.
# shellcheck disable=SC2317  # functions that check() calls by name
count=0 failed=0

# check NAME COMMAND...
check()
{
	name=$1
	shift
	count=$((count + 1))
	if "$@" >/tmp/check.log 2>&1; then echo "ok $count - $name"; else
		sed 's/^/# /' /tmp/check.log
		echo "not ok $count - $name"
		failed=1
	fi
}

node() { find /dev/accel /dev/dri -type c \( -name 'accel*' -o -name 'renderD*' \) 2>/dev/null | head -n 1; }
has_node() { [ -n "$(node)" ]; }
refuses() { ! "$@"; }

# within COMMAND...: it comes true within 30 seconds.
within()
{
	for _ in $(seq 300); do
		"$@" && return 0
		sleep 0.1
	done
	return 1
}

# The clock's, reset's and power domain's driver comes last.
check 'the board controller goes' rmmod npu_board_ctl
check 'the driver loads before the clock is there' modprobe npu
check 'no node yet' refuses has_node
check 'the probe is deferred' grep -q npu /sys/kernel/debug/devices_deferred
check 'the board controller comes' modprobe npu-board-ctl
check 'the node comes with the clock' within has_node
check 'the device works' npu info

device=$(basename "$(echo /sys/bus/platform/drivers/npu/*.npu)")
exec 3<>"$(node)"
check 'unloading while a file is open is refused' refuses rmmod npu
exec 3>&-
check 'unloading when it is closed' within rmmod npu
check 'no node afterwards' refuses has_node

# Jobs in flight, the device unbound below them, the module unloaded behind.
check 'loading again' modprobe npu
model=$(echo /opt/npu/models/*.gguf)
# Again and again, on the node and nothing else, until it fails: it must be at work whenever the device goes.
(
	while NPU_DEVICE=drm npu run -m "$model" -p 'Once upon a time' -n 400; do :; done
	echo yes >/tmp/ended
) >/tmp/run 2>&1 &
check 'a program works on it' within grep -q . /tmp/run
sleep 1
echo "$device" >/sys/bus/platform/drivers/npu/unbind
check 'the program ends with an error' within test -s /tmp/ended
check 'unloading after that' within rmmod npu
check 'loading again' modprobe npu
check 'the device works again' npu info
echo "1..$count"
exit $failed
