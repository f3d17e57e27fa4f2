# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# The build root: a Debian 13 tree with the cross toolchain, arm64 libraries and
# the headers of the stock kernels. Everything is built inside it, so that the
# host's own toolchain does not matter.

root_key() {
	{
		grep -v '^#' "$BOARD/root/packages"
		grep '^[a-z]*_release=' "$(lock_file)"
		root_recipe
	} | sha256sum | cut -c1-12
}

# Bump when root_build() makes a different root from the same inputs.
root_recipe() {
	echo 1
}

root_dir() {
	printf '%s/root-%s\n' "$CACHE" "$(root_key)"
}

# root_headers RELEASE VERSION: the packages to build modules for one stock kernel.
# They are unpacked, not installed: their dependencies name a native arm64 gcc.
root_headers() {
	abi=${1%-arm64}
	archive_fetch "linux-headers-$1" arm64 "$2" &&
		archive_fetch "linux-headers-$abi-common" all "$2" &&
		archive_fetch "linux-kbuild-$abi" amd64 "$2"
}

root_build() {
	target=$1
	need_program mmdebstrap mmdebstrap
	headers=$(root_headers "$(lock_get stable_release)" "$(lock_get stable_version)" &&
		root_headers "$(lock_get latest_release)" "$(lock_get latest_version)") || exit
	packages=$(grep -v '^#' "$BOARD/root/packages" | tr -s '\n' ',')
	say "making the Debian 13 build root (about a minute, 200 MB to fetch)"
	logged "$CACHE/root.log" '^I: .*' \
		in_namespace sh -eu "$BOARD/lib/root-make.sh" "$target" "$SUITE" "${packages#,}" \
		"$APT_DIR/sources.list" "$DEBS" "$headers" || {
		tail -n 5 "$CACHE/root.log" >&2
		die "the build root could not be made (see $CACHE/root.log)"
	}
}

root_ensure() {
	check_namespace
	[ ! -d "$(root_dir)" ] || return 0
	need_space "$CACHE" 3000 "the build root"
	lock_check
	once "$(root_dir)" root_build
}

# in_root CMD...: run CMD in the build root. The source tree and the cache are
# at their own paths there; so is the working directory if it lies in the tree.
in_root() {
	mkdir -p "$OUT"
	case $PWD/ in
	"$TOP"/*) directory=$PWD ;;
	*) directory=$TOP ;;
	esac
	in_namespace sh -eu "$BOARD/lib/root-enter.sh" "$(root_dir)" "$TOP" "$CACHE" "$directory" "$@"
}
