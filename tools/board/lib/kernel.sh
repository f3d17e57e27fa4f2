# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# Kernels by name. Each is described by kernels/NAME.sh, which defines
#   kernel_describe       one line for messages
#   kernel_release        prints the release (uname -r)
#   kernel_ensure         makes kernel_dir: Image and lib/modules/RELEASE
#   kernel_headers        prints the folder that modules are built against, in the root
#   kernel_arguments      prints arguments for its command line (default: none)

KERNELS=$(cd "$BOARD/kernels" && echo *.sh | sed 's/\.sh//g')

kernel_arguments() {
	:
}

kernel_select() {
	[ -e "$BOARD/kernels/$1.sh" ] ||
		die "unknown kernel '$1': there are $(echo "$KERNELS" | sed 's/ /, /g')"
	KERNEL=$1
	# shellcheck disable=SC1090
	. "$BOARD/kernels/$1.sh"
}

# A stock kernel: packages unpacked into one folder.
# stock_build TMP RELEASE VERSION PACKAGE...
stock_build() {
	target=$1
	shift 3
	need_space "$CACHE" 800 "the kernel $KERNEL"
	mkdir -p "$target/unpacked"
	for deb in "$@"; do
		dpkg-deb -x "$deb" "$target/unpacked" ||
			die "$deb is damaged: remove it and run again"
	done
	# 6.12 has its image in /boot, later ones beside the modules; both are plain Images.
	for image in "$target"/unpacked/boot/vmlinuz-* "$target"/unpacked/usr/lib/modules/*/vmlinuz; do
		[ ! -e "$image" ] || mv "$image" "$target/Image"
	done
	[ -e "$target/Image" ] || die "the packages of kernel $KERNEL hold no image"
	mkdir "$target/lib" && mv "$target/unpacked/usr/lib/modules" "$target/lib/modules" &&
		rm -rf "$target/unpacked"
}

# stock_ensure PACKAGE-PREFIX...
stock_ensure() {
	[ ! -d "$(kernel_dir)" ] || return 0
	root_ensure
	lock_check
	version=$(lock_get "${KERNEL}_version")
	debs=
	for prefix in "$@"; do
		deb=$(archive_fetch "$prefix-$(kernel_release)" arm64 "$version") || exit
		debs="$debs $deb"
	done
	say "unpacking kernel $KERNEL ($(kernel_release))"
	# shellcheck disable=SC2086
	once "$(kernel_dir)" stock_build "$(kernel_release)" "$version" $debs
}

kernel_dir() {
	printf '%s/kernel/%s-%s\n' "$CACHE" "$KERNEL" "$(kernel_release)"
}
