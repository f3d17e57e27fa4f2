# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# Make the build root; runs in the private namespace of in_namespace().
# Arguments: TARGET SUITE PACKAGES SOURCES ARCHIVES HEADER-DEBS

set -eu

target=$1 suite=$2 packages=$3 sources=$4 archives=$5 headers=$6

# The fetched packages go to the cache, so that a second try need not fetch them.
export BOARD_ARCHIVES="$archives"
# shellcheck disable=SC2016
mmdebstrap --mode=root --variant=apt --architectures=amd64,arm64 \
	--skip=check/qemu,download/empty,essential/unlink,cleanup/apt \
	--aptopt='APT::Install-Recommends "false"' \
	--aptopt='Acquire::Languages "none"' \
	--aptopt='Acquire::Retries "3"' \
	--dpkgopt='path-exclude=/usr/share/doc/*' \
	--dpkgopt='path-exclude=/usr/share/locale/*' \
	--dpkgopt='path-exclude=/usr/share/man/*' \
	--setup-hook='mkdir -p "$1/var/cache/apt/archives" &&
		mount --bind "$BOARD_ARCHIVES" "$1/var/cache/apt/archives"' \
	--include="$packages" "$suite" "$target" "$sources" </dev/null

for deb in $headers; do
	dpkg-deb -x "$deb" "$target"
done
