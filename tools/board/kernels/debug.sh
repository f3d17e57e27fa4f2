# SPDX-License-Identifier: MIT
# shellcheck shell=sh
# Built here from the packaged source of the latest kernel, with every checker
# that the driver's tests use: see debug.config.

kernel_describe() {
	echo "debug kernel with KASAN, lockdep and kmemleak, $(kernel_release)"
}

kernel_dir() {
	printf '%s/kernel/debug-%s-%s\n' "$CACHE" "$(lock_get latest_version)" \
		"$(hash_of "$BOARD/kernels/debug.config")"
}

kernel_release() {
	cat "$(kernel_dir)/release" 2>/dev/null || lock_get latest_version
}

kernel_headers() {
	echo "$(kernel_dir)/build"
}

kernel_arguments() {
	echo "kmemleak=on"
}

# debug_source TMP: the packaged source, unpacked.
debug_source() {
	version=$(lock_get latest_version)
	series=$(echo "$version" | cut -d. -f1-2)
	need_space "$CACHE" 6000 "the debug kernel"
	deb=$(archive_fetch "linux-source-$series" all "$version") || exit
	say "unpacking the source of Linux $version"
	mkdir -p "$1"
	dpkg-deb --fsys-tarfile "$deb" |
		tar -xO "./usr/src/linux-source-$series.tar.xz" |
		tar -xJ --strip-components=1 -C "$1" ||
		die "cannot unpack $deb: remove it and run again"
}

kernel_ensure() {
	debug=$(kernel_dir)
	[ ! -e "$debug/release" ] || return 0
	root_ensure
	lock_check
	(
		mkdir -p "$debug"
		exec 9>"$debug/lock"
		flock 9
		[ ! -e "$debug/release" ] || exit 0
		once "$debug/src" debug_source
		say "building the debug kernel, once (6 to 12 minutes on 2 cores; an interrupted build goes on)"
		logged "$CACHE/kernel-debug.log" '^  [A-Z]+ +.*' in_root sh -eu \
			"$BOARD/lib/kernel-make.sh" "$debug" "$BOARD/kernels/debug.config" || {
			grep -E 'error|Error|missing' "$CACHE/kernel-debug.log" | tail -n 20 >&2
			die "the debug kernel could not be built (see $CACHE/kernel-debug.log)"
		}
	) || exit
}
