#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The npu command: exit statuses, help, what it prints. Argument: NPU.

set -eu

npu=$1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
status=0

# expect STATUS TEXT COMMAND...: exit status, and a text in what it printed.
expect() {
	want=$1 text=$2 got=0
	shift 2
	"$@" >"$tmp/out" 2>&1 || got=$?
	if [ $got != "$want" ] || ! grep -qF -- "$text" "$tmp/out"; then
		echo "$*: status $got, wanted $want and \"$text\"; printed:" >&2
		sed 's/^/  /' "$tmp/out" >&2
		status=1
	fi
}

expect 2 'usage: npu' "$npu"
expect 0 'selftest' "$npu" --help
expect 0 'npu 0.' "$npu" --version
expect 2 'no command "frobnicate"' "$npu" frobnicate
for command in info bench selftest dis run gguf; do
	expect 0 'npu' "$npu" $command --help
	expect 2 '' "$npu" $command --no-such-option
done

export NPU_DEVICE=soft
expect 0 'MATMUL' "$npu" info
expect 0 '"driver":"software"' "$npu" info --json
expect 1 'no device of this name' "$npu" info -d nonsense
expect 1 'accel99' "$npu" info -d /dev/accel/accel99
expect 0 '9. a fault, contained   ok' "$npu" selftest
expect 0 'job/s' "$npu" bench -t 0.02 latency
expect 0 '"figures":[{"name":"copy 16 MiB"' "$npu" bench -t 0.02 --json copy
expect 0 'scalar path' env NPU_MODEL_ISA=scalar "$npu" info
expect 2 'no measurement' "$npu" bench frobnicate
expect 2 'seconds' "$npu" bench -t -1

# END, then half a packet.
printf '\001\000\001\000\000\000\000\000\377\000\000\000\000\000\000\000' >"$tmp/stream"
expect 0 '00001000  END' "$npu" dis -b 0x1000 "$tmp/stream"
printf '\001\000\001\000\000\000\000\000' >>"$tmp/stream"
expect 1 'no whole packet' "$npu" dis "$tmp/stream"
expect 0 'END' "$npu" dis -n 16 "$tmp/stream"
expect 1 'has 24 bytes' "$npu" dis -s 25 "$tmp/stream"
expect 1 'nowhere' "$npu" dis "$tmp/nowhere"
expect 2 'is no number' "$npu" dis -s x "$tmp/stream"

# A dump of the driver: header, then a stream of one END at 0x2000.
{
	printf 'NPUDUMP1\001\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\001\000\000\000\000\000\000\000'
	printf '\007\000\000\000\030\000\000\000\000\040\000\000\000\000\000\000'
	printf '\001\000\001\000\000\000\000\000\377\000\000\000\000\000\000\000'
} >"$tmp/dump"
expect 0 '0x0000002000  END' "$npu" dis "$tmp/dump"
expect 0 'a job faulted' "$npu" dis "$tmp/dump"
head -c 50 "$tmp/dump" >"$tmp/short"
expect 1 'in the middle of a section' "$npu" dis "$tmp/short"
expect 0 'END' "$npu" dis -s 48 "$tmp/dump"

# Models: the bundled one where it is there.
expect 1 'nowhere.gguf' "$npu" bench -m "$tmp/nowhere.gguf" decode
expect 1 'npu bench: ' "$npu" bench -m "$tmp/stream" prefill
if "$npu" run --quiet -n 1 -p a >/dev/null 2>&1; then
	expect 0 '"name":"prefill 512"' "$npu" bench -t 0.01 --json prefill decode
	expect 0 'of the limit' "$npu" bench -t 0.01 decode
	expect 0 'not UTF-8 from byte 2 on (0xff)' "$npu" run -n 1 -p "$(printf 'ab\377')"
	printf 'ab\343\201' >"$tmp/cut"
	expect 0 'not UTF-8 from byte 2 on (0xe3)' "$npu" run --perplexity "$tmp/cut"
fi
exit $status
