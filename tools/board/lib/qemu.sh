# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# The pinned QEMU with the board's devices. QEMU itself is built once and kept
# in the cache; a change of the model or of a device relinks it.

QEMU=$OUT/qemu-system-aarch64

# Everything that makes another QEMU, apart from the board's own C files.
qemu_dir() {
	printf '%s/qemu-%s\n' "$CACHE" "$({
		lock_get qemu_version
		sed '/^[# ]*SPDX/d' "$BOARD"/qemu/patches/*.patch "$BOARD/qemu/configure-options"
		cat "$BOARD/qemu/npu.mak"
	} | sha256sum | cut -c1-12)"
}

# qemu_unpack TMP
qemu_unpack() {
	version=$(lock_get qemu_version)
	need_space "$CACHE" 2000 "QEMU"
	mkdir -p "$CACHE/qemu-source" "$1"
	say "fetching the source of QEMU $version (40 MB)"
	archive_update
	(cd "$CACHE/qemu-source" &&
		archive_apt apt-get -qq source --download-only "qemu=$version") \
		>"$CACHE/qemu-source/fetch.log" 2>&1 || {
		tail -n 3 "$CACHE/qemu-source/fetch.log" >&2
		die "cannot fetch the source of QEMU $version: check the network and the free space"
	}
	say "unpacking and patching QEMU"
	in_root sh -eu "$BOARD/lib/qemu-unpack.sh" "$1" \
		"$CACHE/qemu-source/qemu_${version#*:}.dsc" "$BOARD/qemu" ||
		die "QEMU $version cannot be unpacked or patched"
}

# The model as QEMU finds it: a library, its headers and a .pc file.
qemu_model() {
	native=$OUT/native
	logged "$OUT/model.log" '^\[[0-9]+/[0-9]+\].*' \
		in_root sh -eu "$BOARD/lib/model-make.sh" "$TOP" "$native" "$1/model" || {
		tail -n 20 "$OUT/model.log" >&2
		die "the hardware model could not be built (see $OUT/model.log)"
	}
}

qemu_inputs() {
	{
		echo "$1"
		cat "$1/model/libnpumodel.a" "$1"/model/*.h "$BOARD"/qemu/*.[ch]
	} | sha256sum
}

qemu_ensure() {
	root_ensure
	qemu=$(qemu_dir)
	mkdir -p "$OUT"
	[ -d "$qemu/src" ] || lock_check
	once "$qemu/src" qemu_unpack
	(
		exec 9>"$qemu/lock"
		flock 9
		qemu_model "$qemu"
		inputs=$(qemu_inputs "$qemu")
		if [ -x "$QEMU" ] && [ "$inputs" = "$(cat "$QEMU.inputs" 2>/dev/null)" ]; then
			exit 0
		fi
		[ -e "$qemu/build/built" ] ||
			say "building QEMU, once (3 to 6 minutes on 2 cores; an interrupted build goes on)"
		logged "$OUT/qemu.log" '^\[[0-9]+/[0-9]+\].*' \
			in_root sh -eu "$BOARD/lib/qemu-make.sh" "$qemu" "$BOARD/qemu" || {
			grep -E 'error|FAILED' "$OUT/qemu.log" | tail -n 20 >&2
			die "QEMU could not be built (see $OUT/qemu.log)"
		}
		cp "$qemu/build/qemu-system-aarch64" "$QEMU.part"
		mv "$QEMU.part" "$QEMU"
		echo "$inputs" >"$QEMU.inputs"
	) || exit
}

# qemu_run ARG...: the host's libc may be older than the one QEMU was built with,
# so it runs with the root's. $limit: seconds, if any.
qemu_run() {
	lib=$(root_dir)/usr/lib
	# shellcheck disable=SC2086
	exec ${limit:+timeout --foreground -k 10 $limit} "$lib/x86_64-linux-gnu/ld-linux-x86-64.so.2" \
		--library-path "$lib/x86_64-linux-gnu" "$QEMU" "$@"
}
