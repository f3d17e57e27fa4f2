# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# Compile every device tree of a folder, any warning being an error; runs in the
# build root. Arguments: FOLDER TARGET KERNEL-HEADERS

set -eu

folder=$1 target=$2
common=${3%-arm64}-common

for source in "$folder"/*.dts "$folder"/*.dtso; do
	name=${source##*/}
	case $name in
	*.dtso) output=$target/${name%.dtso}.dtbo ;;
	*) output=$target/${name%.dts}.dtb ;;
	esac
	gcc -E -P -nostdinc -undef -D__DTS__ -x assembler-with-cpp \
		-I"$common/include" -I"$folder" "$source" >"$target/$name"
	dtc -@ -I dts -O dtb -o "$output" "$target/$name" 2>"$target/warnings"
	if [ -s "$target/warnings" ]; then
		cat "$target/warnings" >&2
		exit 1
	fi
done

fdtoverlay -i "$target/virt-board-bare.dtb" -o "$target/virt-board-overlay.dtb" \
	"$target/npu-overlay.dtbo"
