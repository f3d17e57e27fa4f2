#!/bin/sh
# SPDX-License-Identifier: MIT
# On the board: each Nth case of the conformance table on the device node, as TAP.
NPU_DEVICE=$(find /dev/accel /dev/dri -type c 2>/dev/null | head -n 1)
export NPU_DEVICE
if /opt/npu/tests/conformance/npu-conformance --every "$1" /root/digests.txt >/tmp/conformance.txt 2>&1; then
	echo "ok 1 - conformance: $(tail -n 1 /tmp/conformance.txt)"
else
	sed 's/^/# /' /tmp/conformance.txt
	echo "not ok 1 - conformance: each $1th case on $NPU_DEVICE"
	exit 1
fi
