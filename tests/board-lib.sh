#!/bin/sh
# SPDX-License-Identifier: MIT
# On the board: the library's tests against the device node, as TAP.
node=$(find /dev/accel /dev/dri -type c 2>/dev/null | head -n 1)
if [ -z "$node" ]; then
	echo 'ok 1 - lib # SKIP no device node'
	exit 0
fi
status=0
for t in /opt/npu/tests/unit/test_lib_*; do
	[ -x "$t" ] || continue
	name=${t##*/}
	if NPU_DEVICE=$node CMOCKA_MESSAGE_OUTPUT=STDOUT "$t" >"/tmp/$name.log" 2>&1; then
		echo "ok 1 - lib: $name on $node"
	else
		code=$?
		sed 's/^/# /' "/tmp/$name.log" | tail -n 40
		if [ $code = 77 ]; then echo "ok 1 - lib: $name # SKIP see above"; else
			echo "not ok 1 - lib: $name on $node"
			status=1
		fi
	fi
done
exit $status
