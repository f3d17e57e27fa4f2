#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The man pages: each function that the library exports is named in one page's NAME, and nothing else is; each
# option of each subcommand of npu is in its part of npu.1; pages are formatted without a warning.
# Arguments: LIBRARY MAN-FOLDER NPU NPU.1

set -eu

lib=$1 folder=$2 npu=$3 page=$4
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
status=0

fail() {
	echo "$1" >&2
	sed 's/^/  /' "$2" >&2
	status=1
}

# The names before the dash of NAME.
names_of() {
	sed -n '/^\.SH NAME/,/^\.SH SYNOPSIS/p' "$1" | sed '/^\.SH/d' | tr '\n' ' ' | sed 's/ \\-.*//; s/, */\n/g'
	echo
}

nm -D --defined-only "$lib" | sed -n 's/.* T \(.*\)@@NPU_.*/\1/p' | LC_ALL=C sort >"$tmp/exported"
for f in "$folder"/*.3; do
	names_of "$f"
done | tr -d ' ' | grep . | LC_ALL=C sort >"$tmp/named"
[ -s "$tmp/exported" ] || { echo "no symbols found in $lib" >&2; exit 1; }
LC_ALL=C uniq -d "$tmp/named" >"$tmp/twice"
LC_ALL=C comm -23 "$tmp/exported" "$tmp/named" >"$tmp/missing"
LC_ALL=C comm -13 "$tmp/exported" "$tmp/named" >"$tmp/stale"
[ ! -s "$tmp/missing" ] || fail 'exported, but in no man page (NAME):' "$tmp/missing"
[ ! -s "$tmp/stale" ] || fail 'in a man page (NAME), but not exported:' "$tmp/stale"
[ ! -s "$tmp/twice" ] || fail 'in the NAME of two man pages:' "$tmp/twice"

# --help is in the description, for all commands.
sed 's/\\-/-/g' "$page" >"$tmp/page"
"$npu" --help | sed -n 's/^  \([a-z]*\)  .*/\1/p' >"$tmp/commands"
[ -s "$tmp/commands" ] || { echo "$npu --help names no command" >&2; exit 1; }
while read -r command; do
	sed -n "/^\\.SS npu $command\$/,/^\\.S[SH] /p" "$tmp/page" | sed '/^\.S[SH] npu/d' >"$tmp/part"
	[ -s "$tmp/part" ] || echo "npu $command" >>"$tmp/absent"
	"$npu" "$command" --help | grep -oE -- '--[a-z][a-z-]+' | sort -u | grep -vx -- --help >"$tmp/options" || true
	while read -r option; do
		grep -qE -- "$option([^a-z-]|\$)" "$tmp/part" || echo "npu $command $option" >>"$tmp/absent"
	done <"$tmp/options"
done <"$tmp/commands"
[ ! -e "$tmp/absent" ] || fail "not in $page:" "$tmp/absent"

if command -v groff >/dev/null; then
	for f in "$folder"/*.[37] "$page" "${page%/*}"/../coredump/*.1; do
		groff -man -Tutf8 -ww -z "$f" 2>>"$tmp/warnings" || true
	done
	[ ! -s "$tmp/warnings" ] || fail 'warnings of groff:' "$tmp/warnings"
else
	echo '# skipped: man: no groff here'
fi
exit $status
