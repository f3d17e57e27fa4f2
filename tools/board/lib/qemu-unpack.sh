# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# Unpack and patch QEMU's source; runs in the build root.
# Arguments: TARGET DSC BOARD-QEMU-FOLDER

set -eu

rm -rf "$1"
dpkg-source --no-check -x "$2" "$1"
for patch in "$3"/patches/*.patch; do
	patch -d "$1" -p1 --no-backup-if-mismatch <"$patch"
done
cp "$3/npu.mak" "$1/configs/devices/aarch64-softmmu/npu.mak"
