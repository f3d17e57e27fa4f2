# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# Messages, the cache, and the private namespace in which the board is built.
# Sourced by tools/board/board, which sets $TOP (the source tree).

BOARD=$TOP/tools/board
CACHE=${NPU_CACHE:-${XDG_CACHE_HOME:-${HOME:?set HOME or NPU_CACHE}/.cache}/opennpu}/board
OUT=$TOP/build/board

# A user's PATH lacks where chroot and mke2fs are.
PATH=$PATH:/usr/sbin:/sbin

# Exit codes of the tools beyond those of the command that they ran.
EXIT_TIMEOUT=124	# the time limit ended the board
EXIT_BOARD=125		# the board could not be made or started
EXIT_KERNEL_LOG=126	# the command succeeded, but the kernel log holds a report

say() {
	[ -n "${BOARD_QUIET-}" ] || printf 'board: %s\n' "$*" >&2
}

die() {
	printf 'board: error: %s\n' "$*" >&2
	exit "$EXIT_BOARD"
}

# need_space DIR MIB WHAT
need_space() {
	mkdir -p "$1" 2>/dev/null ||
		die "cannot create $1: set NPU_CACHE to a folder that you may write"
	free_mib=$(df -Pm "$1" | awk 'NR == 2 { print $4 }')
	[ "$free_mib" -ge "$2" ] ||
		die "$3 needs $2 MiB in $1, where $free_mib MiB are free:" \
		    "free some space, or point NPU_CACHE at another disk"
}

need_program() {
	command -v "$1" >/dev/null ||
		die "$1 is missing: install the package $2 (apt-get install $2)"
}

# hash_of FILE...: a short key of contents (names do not count).
hash_of() {
	cat "$@" | sha256sum | cut -c1-12
}

# once PATH BUILDER [ARG...]: make PATH unless it exists. "BUILDER TMP ARG..."
# makes TMP, which is renamed to PATH only when complete: what an interrupted
# run left behind is never believed. Concurrent callers wait for the first.
once() {
	[ ! -e "$1" ] || return 0
	mkdir -p "${1%/*}" || die "cannot create ${1%/*}"
	(
		exec 9>"$1.lock"
		flock -n 9 || { say "waiting for another run that makes ${1##*/}"; flock 9; }
		[ ! -e "$1" ] || exit 0
		once_path=$1
		once_builder=$2
		shift 2
		trap 'remove_tree "$once_path.part"' EXIT
		trap 'exit 130' INT
		trap 'exit 143' TERM HUP
		remove_tree "$once_path.part"
		"$once_builder" "$once_path.part" "$@" && mv "$once_path.part" "$once_path"
	) || exit
}

# logged LOG PATTERN CMD...: run CMD with its output in LOG, and show how far it
# is: the last match of PATTERN there.
logged() {
	logged_file=$1 logged_pattern=$2
	shift 2
	: >"$logged_file"
	logged_progress &
	logged_pid=$!
	"$@" >"$logged_file" 2>&1 && logged_status=0 || logged_status=$?
	kill "$logged_pid" 2>/dev/null || true
	[ ! -t 2 ] || printf '\r\033[K' >&2
	return "$logged_status"
}

# On a terminal one line that changes, elsewhere a line every half minute. Ends
# with this shell.
logged_progress() {
	if [ -n "${BOARD_QUIET-}" ]; then
		return
	elif [ -t 2 ]; then
		format='\rboard:   %.70s\033[K' interval=1
	else
		format='board:   %.70s\n' interval=30
	fi
	waited=0
	while sleep 1 && kill -0 $$ 2>/dev/null; do
		waited=$((waited + 1))
		[ $((waited % interval)) -eq 0 ] || continue
		# shellcheck disable=SC2059
		printf "$format" "$(grep -aoE "$logged_pattern" "$logged_file" | tail -n 1)" >&2
	done
}

# Files in a root made without being root belong to other ids: remove them from
# within the user namespace.
remove_tree() {
	[ -e "$1" ] || [ -L "$1" ] || return 0
	rm -rf "$1" 2>/dev/null || in_namespace rm -rf "$1"
}

check_namespace() {
	need_program unshare util-linux
	[ "$(id -u)" -ne 0 ] || return 0
	need_program newuidmap uidmap
	grep -q "^$(id -un):" /etc/subuid 2>/dev/null ||
		die "not root, and no subordinate user ids: run as root, or have root run" \
		    "'usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $(id -un)'"
	unshare --user --map-root-user --map-auto true 2>/dev/null ||
		die "not root, and this kernel allows no user namespaces:" \
		    "run as root, or have root enable them (sysctl user.max_user_namespaces," \
		    "kernel.unprivileged_userns_clone)"
}

# in_namespace CMD...: run as root with mounts of its own. All processes and
# mounts end with it.
in_namespace() {
	if [ "$(id -u)" -eq 0 ]; then
		unshare --mount --pid --fork --kill-child -- "$@"
	else
		unshare --user --map-root-user --map-auto --mount --pid --fork \
			--kill-child -- "$@"
	fi
}
