# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# Cross-build and stage user space; runs in the build root.
# Arguments: TREE BUILD-FOLDER CROSS-FILE [MESON-COMPILE-ARGUMENT...]

set -eu

tree=$1 build=$2 cross=$3
shift 3

# A changed cross file needs a new configuration.
if [ -n "$(find "$cross" -newer "$build/build.ninja" 2>/dev/null)" ]; then
	rm -rf "$build"
fi
[ -e "$build/build.ninja" ] ||
	meson setup "$build" "$tree" --cross-file "$cross" --prefix=/usr \
		--libdir=lib --buildtype=debugoptimized
meson compile -C "$build" "$@"
DESTDIR=$build/stage meson install -C "$build" --no-rebuild --only-changed --quiet
