#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The library exports what its headers declare, no more and no less, and nothing
# that a release had is gone; a unit test beside this file calls each. Arguments: LIBRARY HEADER-FOLDER LIST.

set -eu

lib=$1 headers=$2 list=$3
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

nm -D --defined-only "$lib" | sed -n 's/.* T \(.*\)@@NPU_.*/\1/p' | LC_ALL=C sort >"$tmp/exported"
nm -D --defined-only "$lib" | awk '$2 != "A" && $3 !~ /@@NPU_/ { print $3 }' >"$tmp/unversioned"
cat "$headers"/*.h | grep -v "^#" | tr '\n' ' ' | grep -oE 'NPU_API [^;]*;' |
	sed -E 's/[[:space:]]+/ /g; s/^[^(]*[ *](npu_[a-z0-9_]+) ?\(.*/\1/' | LC_ALL=C sort -u >"$tmp/declared"
grep -v '^#' "$list" | LC_ALL=C sort >"$tmp/released"

status=0
fail() {
	echo "$1" >&2
	sed 's/^/  /' "$2" >&2
	status=1
}

LC_ALL=C comm -23 "$tmp/declared" "$tmp/exported" >"$tmp/missing"
LC_ALL=C comm -13 "$tmp/declared" "$tmp/exported" >"$tmp/extra"
LC_ALL=C comm -23 "$tmp/released" "$tmp/exported" >"$tmp/gone"
[ -s "$tmp/declared" ] || { echo "no declarations found in $headers" >&2; exit 1; }
[ ! -s "$tmp/missing" ] || fail "declared, but not exported:" "$tmp/missing"
[ ! -s "$tmp/extra" ] || fail "exported, but in no header:" "$tmp/extra"
[ ! -s "$tmp/gone" ] || fail "in $list, but gone (an ABI break):" "$tmp/gone"
[ ! -s "$tmp/unversioned" ] || fail "exported without a version:" "$tmp/unversioned"

cat "${list%/*}"/test_*.c "${list%/*}"/lib_common.c | grep -oE 'npu_[a-z0-9_]+' | LC_ALL=C sort -u >"$tmp/words"
LC_ALL=C comm -23 "$tmp/exported" "$tmp/words" >"$tmp/untested"
[ ! -s "$tmp/untested" ] || fail "exported, but in no unit test:" "$tmp/untested"

# Only these libraries are needed.
for need in $(readelf -d "$lib" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'); do
	case $need in
	libc.so.* | libm.so.* | libpthread.so.* | libdrm.so.* | ld-linux*) ;;
	*) echo "$lib needs $need" >&2; status=1 ;;
	esac
done
exit $status
