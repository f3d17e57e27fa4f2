# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# Configure and build QEMU; runs in the build root.
# Arguments: FOLDER (src, build and model in it) BOARD-QEMU-FOLDER

set -eu

folder=$1 own=$2

install -C -m 644 "$own/npu.c" "$own/npu-board-ctl.c" "$folder/src/hw/misc/"
install -C -m 644 "$own/npu-board.c" "$folder/src/hw/arm/"
install -C -m 644 "$own/npu.h" "$folder/src/include/hw/misc/"
install -C -m 644 "$own/../kernel/npu_board_regs.h" "$folder/src/include/"

mkdir -p "$folder/build"
cd "$folder/build"
if [ ! -e configured ]; then
	# shellcheck disable=SC2046
	PKG_CONFIG_PATH="$folder/model" ../src/configure $(grep -v '^#' "$own/configure-options")
	: >configured
fi
nice ninja -j2 qemu-system-aarch64
: >built
