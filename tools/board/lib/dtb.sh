# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# Device trees: dts/*.dts and *.dtso, compiled into build/board/dtb/.

DTB=$OUT/dtb

dtb_ensure() {
	mkdir -p "$DTB"
	(
		exec 9>"$DTB.lock"
		flock 9
		newest=$(find "$TOP/dts" -type f -newer "$DTB/.built" 2>/dev/null | head -n 1)
		[ ! -e "$DTB/.built" ] || [ -n "$newest" ] || exit 0
		in_root sh -eu "$BOARD/lib/dtb-make.sh" "$TOP/dts" "$DTB" \
			"/usr/src/linux-headers-$(lock_get latest_release)" ||
			die "the device trees in dts/ do not compile"
		: >"$DTB/.built"
	) || exit
}
