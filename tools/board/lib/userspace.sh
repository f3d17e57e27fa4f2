# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# User space for the guest: library, tools and tests for arm64.

USERSPACE=$OUT/arm64

# Extra arguments go to meson compile.
cmd_userspace() {
	userspace_build "$@"
	say "arm64 programs are in ${USERSPACE#"$TOP/"}, installed in ${USERSPACE#"$TOP/"}/stage"
}

userspace_build() {
	root_ensure
	mkdir -p "$USERSPACE"
	(
		exec 9>"$OUT/arm64.lock"
		flock 9
		logged "$OUT/arm64.log" '^\[[0-9]+/[0-9]+\].*' \
			in_root sh -eu "$BOARD/lib/userspace-make.sh" "$TOP" "$USERSPACE" \
			"$BOARD/arm64.cross" "$@"
	) || {
		grep -E 'error|ERROR|FAILED' "$OUT/arm64.log" | tail -n 20 >&2
		die "the arm64 programs could not be built (see ${OUT#"$TOP/"}/arm64.log)"
	}
}
