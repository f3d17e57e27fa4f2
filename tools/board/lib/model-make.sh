# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# Build the hardware model as a static library; runs in the build root.
# Arguments: TREE BUILD-FOLDER TARGET

set -eu

tree=$1 build=$2 target=$3

[ -e "$build/build.ninja" ] ||
	meson setup "$build" "$tree" --default-library=static --buildtype=release
meson compile -C "$build" npumodel

# Meson's archives are thin: make one that stands alone.
mkdir -p "$target"
library=$(find "$build/tools/model" -name libnpumodel.a)
# shellcheck disable=SC2046
(cd "$build" && rm -f "$target/.libnpumodel.a" &&
	ar rcsD "$target/.libnpumodel.a" $(ar t "$library"))
install -C -m 644 "$target/.libnpumodel.a" "$target/libnpumodel.a"
install -C -m 644 "$tree/tools/model/npu_model.h" "$tree/kernel/npu_regs.h" "$target/"
cat >"$target/npumodel.pc" <<EOF
Name: npumodel
Description: OpenNPU hardware model
Version: 1
Cflags: -I$target
Libs: -L$target -lnpumodel -lm -lpthread
EOF
