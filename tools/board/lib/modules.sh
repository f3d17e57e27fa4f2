# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# Kernel modules: the driver (the tree's Kbuild) and the board's own driver,
# built for one kernel in build/board/KERNEL/.

# The sources as a tree of links: Kbuild writes beside its sources, and 6.12
# has no other way to keep a source tree clean.
modules_link() {
	mkdir -p "$1"
	find "$1" -type l ! -exec test -e {} \; -delete
	(cd "$TOP" && find . -maxdepth 1 -name Kbuild &&
		find kernel uapi tools/board/kernel -type f \
			\( -name '*.[chS]' -o -name Kbuild -o -name Makefile -o -name 'Kconfig*' \)) |
		while IFS= read -r file; do
			[ ! -L "$1/$file" ] || continue
			mkdir -p "$(dirname "$1/$file")"
			ln -s "$TOP/$file" "$1/$file"
		done
}

cmd_modules() {
	kernel=latest
	while getopts k: option; do
		case $option in
		k) kernel=$OPTARG ;;
		*) die "usage: tools/board/modules [-k KERNEL] [-- MAKE-ARGUMENT...]" ;;
		esac
	done
	shift $((OPTIND - 1))
	kernel_select "$kernel"
	modules_build "$@"
	say "modules for $KERNEL ($(kernel_release)) are in ${MODULES#"$TOP/"}"
}

# modules_build [MAKE-ARGUMENT...]: W=1, C=1 and the like are passed to make.
modules_build() {
	root_ensure
	kernel_headers_ensure
	MODULES=$OUT/$KERNEL/modules
	links=$OUT/$KERNEL/src
	mkdir -p "$MODULES"
	(
		exec 9>"$OUT/$KERNEL/.lock"
		flock 9
		modules_link "$links"
		for part in ${BOARD_PARTS:-tools/board/kernel .}; do
			[ -e "$links/$part/Kbuild" ] || continue
			in_root make -s -j2 -C "$(kernel_headers)" M="$links/${part#.}" \
				ARCH=arm64 CROSS_COMPILE=aarch64-linux-gnu- "$@" modules >&2 || exit
		done
		find "$MODULES" -name '*.ko' -delete
		find "$links" -name '*.ko' -exec cp -p {} "$MODULES/" \;
	) || die "the modules could not be built for kernel $KERNEL"
}

# Stock kernels have their headers in the root.
kernel_headers_ensure() {
	case $(kernel_headers) in
	/usr/src/*) ;;
	*) kernel_ensure ;;
	esac
}
