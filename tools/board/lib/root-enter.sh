# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# Enter the build root; runs in the private namespace of in_namespace(), so all
# mounts vanish with it. Arguments: ROOT TREE CACHE DIRECTORY CMD...

set -eu

root=$1 tree=$2 cache=$3 directory=$4
shift 4

mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
for path in "$tree" "$cache"; do
	mkdir -p "$root$path"
	mount --bind "$path" "$root$path"
done
# The source tree is read only except for its build folder.
mount -o remount,bind,ro "$root$tree"
mount --bind "$tree/build" "$root$tree/build"

# shellcheck disable=SC2016
exec chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp LANG=C.UTF-8 \
	TERM="${TERM-dumb}" sh -c 'cd "$0" && exec "$@"' "$directory" "$@"
