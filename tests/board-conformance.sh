#!/bin/sh
# SPDX-License-Identifier: MIT
# On the board: each Nth case of the conformance table, as TAP: on the device node, and on the software device of
# the guest's own library, whose arithmetic is that of 64-bit ARM.
status=0

# table DEVICE
table()
{
	if NPU_DEVICE=$1 /opt/npu/tests/conformance/npu-conformance --every "$every" /root/digests.txt \
		>/tmp/conformance.txt 2>&1; then
		echo "ok 1 - conformance: $1: $(tail -n 1 /tmp/conformance.txt)"
	else
		sed 's/^/# /' /tmp/conformance.txt
		echo "not ok 1 - conformance: each ${every}th case on $1"
		status=1
	fi
}

every=$1
table "$(find /dev/accel /dev/dri -type c 2>/dev/null | head -n 1)"
table soft:isa=neon
exit $status
