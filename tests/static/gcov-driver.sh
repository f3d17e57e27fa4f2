#!/bin/sh
# SPDX-License-Identifier: MIT
# In the build root: joins the gcov data that the board's debug kernel wrote
# (one archive per run) into lines covered, per file and in sum.
#	gcov-driver.sh TREE OUT: reads OUT/guest/*/gcov.tar, writes OUT/driver.txt, OUT/driver.sum
set -eu
tree=$1 out=$2
objects=$tree/build/board/debug/src/kernel
work=$(mktemp -d)
n=0
for tar in "$out"/guest/*/gcov.tar; do
	[ -e "$tar" ] || continue
	n=$((n + 1))
	mkdir -p "$work/$n"
	# The objects name their sources as the build saw them.
	ln -s "$tree/kernel" "$work/$n/kernel"
	tar -C "$work/$n" -xf "$tar"
	find "$work/$n" -path '*npu*' -name '*.gcda' | while read -r data; do
		name=$(basename "$data" .gcda)
		[ -e "$objects/$name.gcno" ] || continue
		cp "$data" "$objects/$name.gcno" "$work/$n/"
		(cd "$work/$n" && aarch64-linux-gnu-gcov -o . "$name.gcda" >/dev/null 2>&1) || true
	done
done
[ $n -gt 0 ] || { echo 'no gcov.tar came back from the board' >&2; exit 1; }
# Lines of a .gcov file: "count:line:text"; "-" is no code, "#####" never run.
find "$work" -name 'npu_*.c.gcov' -exec awk -F: '
FNR == 1 { file = FILENAME; sub(/.*\//, "", file); sub(/\.gcov$/, "", file) }
{ count = $1; line = $2; gsub(/ /, "", count); gsub(/ /, "", line) }
count == "-" || line == 0 { next }
{ key = file SUBSEP line; seen[key] = 1; if (count !~ /^[#=]/) hit[key] = 1; name[key] = file }
END {
	for (k in seen) { n[name[k]]++; total++; if (k in hit) { c[name[k]]++; covered++ } }
	for (f in n) printf "%-28s %5d of %5d lines %5.1f %%\n", f, c[f], n[f], 100 * c[f] / n[f] | "sort"
	close("sort")
	print covered + 0, total + 0 > "/dev/stderr"
}' {} + >"$out/driver.txt" 2>"$out/driver.sum"
rm -rf "$work"
