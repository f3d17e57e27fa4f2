#!/bin/sh
# SPDX-License-Identifier: MIT
# On the board: the library's tests against the device node, and npu on it, as TAP.
NPU_DEVICE=$(find /dev/accel /dev/dri -type c 2>/dev/null | head -n 1)
if [ -z "$NPU_DEVICE" ]; then
	echo 'ok 1 - lib # SKIP no device node'
	exit 0
fi
export NPU_DEVICE CMOCKA_MESSAGE_OUTPUT=STDOUT
status=0

# verdict NAME STATUS LOG
verdict()
{
	[ "$2" = 0 ] || sed 's/^/# /' "$3" | tail -n 40
	case $2 in
	0) echo "ok 1 - lib: $1 on $NPU_DEVICE" ;;
	77) echo "ok 1 - lib: $1 # SKIP see above" ;;
	*) echo "not ok 1 - lib: $1 on $NPU_DEVICE"
	   status=1 ;;
	esac
}

# The driver keeps the first dump of a device until somebody has written to it; it goes a little later than told.
dumps_gone()
{
	for n in 0 1 2 3 4 5 6 7 8 9; do
		set -- /sys/class/devcoredump/devcd*/data
		[ -e "$1" ] || return 0
		for d; do
			echo 1 >"$d"
		done 2>/dev/null
		sleep 1
	done
	echo "dumps of others stay: $n: $*"
	return 1
}

# What npu dis shows of the driver's dump of the fault that the last step of selftest causes: a write to an
# address without a mapping, and the command that did it.
dump_is_shown()
{
	dumps_gone || return 1
	npu selftest || return 1
	set -- /sys/class/devcoredump/devcd*/data
	[ -e "$1" ] || { echo 'the driver wrote no dump'; return 1; }
	npu dis "$1" >/tmp/dump.text || return 1
	cat /tmp/dump.text
	grep -q 'a job faulted' /tmp/dump.text || { echo 'no reason'; return 1; }
	grep -q 'queue .* of npu\[' /tmp/dump.text || { echo 'not of npu'; return 1; }
	address=$(sed -n 's/^fault: no valid translation.* of \(0x[0-9a-f]*\)$/\1/p' /tmp/dump.text)
	[ -n "$address" ] || { echo 'no fault with an address'; return 1; }
	[ "$(grep -c '^-> ' /tmp/dump.text)" = 1 ] || { echo 'no command is marked'; return 1; }
	grep -q "^-> .*$address" /tmp/dump.text || { echo "the marked command does not have the address $address"; return 1; }
}

for t in /opt/npu/tests/unit/test_lib_* /opt/npu/tests/unit/test_llm*; do
	[ -x "$t" ] || continue
	name=${t##*/}
	code=0
	"$t" >"/tmp/$name.log" 2>&1 || code=$?
	verdict "$name" $code "/tmp/$name.log"
done
code=0
if [ -d /sys/class/devcoredump ]; then
	dump_is_shown >/tmp/dump.log 2>&1 || code=$?
	verdict 'npu dis of a dump' $code /tmp/dump.log
else
	echo 'ok 1 - lib: npu dis of a dump # SKIP a kernel without device coredumps'
fi
exit $status
