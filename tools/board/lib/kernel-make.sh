# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# Configure and build a kernel; runs in the build root.
# Arguments: FOLDER (src in it; build, Image and lib come there) CONFIG-FRAGMENT

set -eu

folder=$1 fragment=$2
build=$folder/build

run_make() {
	nice -n 5 make -C "$folder/src" O="$build" ARCH=arm64 CROSS_COMPILE=aarch64-linux-gnu- "$@"
}

mkdir -p "$build"
if [ ! -e "$build/configured" ]; then
	run_make tinyconfig
	"$folder/src/scripts/kconfig/merge_config.sh" -m -O "$build" "$build/.config" "$fragment"
	run_make olddefconfig
	grep '^CONFIG_' "$fragment" | grep -vxFf "$build/.config" >"$build/missing" || true
	sed 's/^/missing: /' "$build/missing"
	[ ! -s "$build/missing" ]
	: >"$build/configured"
fi
run_make -j2 Image modules
rm -rf "$folder/lib.part"
run_make INSTALL_MOD_PATH="$folder/lib.part" modules_install
mkdir -p "$folder/lib"
rm -rf "$folder/lib/modules"
mv "$folder/lib.part/lib/modules" "$folder/lib/modules"
rm -rf "$folder/lib.part"
cp "$build/arch/arm64/boot/Image" "$folder/Image"

# Keep what modules and the kernel's own scripts need; drop 2 GB of the rest.
find "$build" -name '*.o' ! -path '*/scripts/*' ! -path '*/tools/*' -delete
rm -f "$build/vmlinux.a" "$build/vmlinux.unstripped" "$build"/.tmp_vmlinux*
find "$folder/src" -name '*.c' ! -path '*/scripts/*' ! -path '*/tools/*' -delete

run_make -s kernelrelease >"$folder/release.part"
mv "$folder/release.part" "$folder/release"
