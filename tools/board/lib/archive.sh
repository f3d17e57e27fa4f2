# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# The Debian archive, read with an apt state of our own: neither the host's
# sources nor its package state are touched. Versions come from versions.lock.

SUITE=trixie
APT_DIR=$CACHE/apt
DEBS=$CACHE/debs

# The mirror that the host itself uses, unless NPU_DEBIAN_MIRROR names one.
archive_mirror() {
	if [ -n "${NPU_DEBIAN_MIRROR-}" ]; then
		printf '%s\n' "$NPU_DEBIAN_MIRROR"
		return
	fi
	# shellcheck disable=SC1091
	codename=$(. /etc/os-release && echo "${VERSION_CODENAME-}")
	# shellcheck disable=SC2016
	mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' |
		awk -v c="$codename" '$2 == c { print $1; exit }')
	[ -n "$mirror" ] ||
		die "found no Debian mirror in the host's apt sources: set NPU_DEBIAN_MIRROR to one"
	printf '%s\n' "${mirror%/}"
}

archive_sources() {
	keyring=/usr/share/keyrings/debian-archive-keyring.gpg
	[ -e "$keyring" ] ||
		die "$keyring is missing: install the package debian-archive-keyring"
	mirror=$(archive_mirror) || exit
	for suite in $SUITE $SUITE-updates $SUITE-backports; do
		echo "deb [signed-by=$keyring] $mirror $suite main"
	done
	echo "deb-src [signed-by=$keyring] $mirror $SUITE main"
}

archive_setup() {
	need_program apt-get apt
	need_program flock util-linux
	mkdir -p "$APT_DIR/lists/partial" "$APT_DIR/cache/archives/partial" "$DEBS/partial"
	# What interrupted fetches left behind.
	find "$DEBS" -maxdepth 1 -name 'fetch.*' -mmin +60 -exec rm -rf {} +
	archive_sources >"$APT_DIR/sources.list" || exit
	: >"$APT_DIR/status"
	cat >"$APT_DIR/apt.conf" <<-EOF
		#clear APT::Update;
		#clear DPkg::Post-Invoke;
		#clear DPkg::Pre-Install-Pkgs;
		APT::Architecture "amd64";
		APT::Architectures { "amd64"; "arm64"; };
		APT::Default-Release "";
		APT::Sandbox::User "root";
		Acquire::Languages "none";
		Acquire::Retries "3";
		Dir::Cache "$APT_DIR/cache";
		Dir::Etc::Preferences "/dev/null";
		Dir::Etc::PreferencesParts "/dev/null";
		Dir::Etc::SourceList "$APT_DIR/sources.list";
		Dir::Etc::SourceParts "/dev/null";
		Dir::State "$APT_DIR";
		Dir::State::Lists "$APT_DIR/lists";
		Dir::State::status "$APT_DIR/status";
	EOF
}

archive_apt() {
	APT_CONFIG=$APT_DIR/apt.conf "$@"
}

# Fetch the package lists, at most once an hour.
archive_update() {
	[ -z "$(find "$APT_DIR/updated" -mmin -60 2>/dev/null)" ] || return 0
	# apt-get update hangs on a full disk.
	need_space "$CACHE" 400 "reading Debian's package lists"
	archive_setup
	say "fetching Debian's package lists"
	archive_apt apt-get -qq update >"$APT_DIR/update.log" 2>&1 ||
		die "cannot fetch Debian's package lists (see $APT_DIR/update.log):" \
		    "check the network, or set NPU_DEBIAN_MIRROR to a mirror that you reach"
	touch "$APT_DIR/updated"
}

# archive_versions PACKAGE SUITE: its versions there, newest first.
archive_versions() {
	archive_apt apt-cache madison "$1" |
		awk -F' *[|] *' -v s="$2/main" 'index($3, " " s " ") { print $2 }'
}

archive_has() {
	archive_apt apt-cache madison "$1" 2>/dev/null |
		awk -F' *[|] *' -v v="$2" '$2 == v { found = 1 } END { exit !found }'
}

# archive_fetch PACKAGE ARCH VERSION: prints the path of the .deb, fetched if needed.
archive_fetch() {
	file=$DEBS/$1_${3#*:}_$2.deb
	if [ ! -e "$file" ]; then
		archive_update
		say "fetching $1 $3"
		part=$DEBS/fetch.$$
		mkdir -p "$part"
		case $2 in
		all) package=$1=$3 ;;
		*) package=$1:$2=$3 ;;
		esac
		(cd "$part" && archive_apt apt-get -qq download "$package" >fetch.log 2>&1) || {
			tail -n 3 "$part/fetch.log" >&2
			rm -rf "$part"
			die "cannot fetch $1 $3: check the network and the free space," \
			    "or run 'tools/board/board lock' to choose versions anew"
		}
		mv "$part"/*.deb "$file"
		rm -rf "$part"
	fi
	printf '%s\n' "$file"
}

# ---- versions ---------------------------------------------------------------

# The lock in force: the tree's, or what was resolved because that one vanished.
lock_file() {
	override=$CACHE/versions-$(hash_of "$BOARD/versions.lock").lock
	if [ -e "$override" ]; then
		printf '%s\n' "$override"
	else
		printf '%s\n' "$BOARD/versions.lock"
	fi
}

# lock_get KEY
lock_get() {
	sed -n "s/^$1=//p" "$(lock_file)"
}

lock_kernel_release() {
	archive_apt apt-cache show "linux-image-arm64:arm64=$1" |
		sed -n 's/.*linux-image-\([^ ,]*-arm64\) .*/\1/p' | head -n 1
}

# lock_resolve: print a lock with the newest of everything.
lock_resolve() {
	sed '/^[a-z]/,$d' "$BOARD/versions.lock"
	for lock_kernel in "stable $SUITE" "latest $SUITE-backports"; do
		suite=${lock_kernel#* }
		version=$(archive_versions linux-image-arm64:arm64 "$suite" | head -n 1)
		[ -n "$version" ] || die "the mirror has no arm64 kernel in $suite"
		release=$(lock_kernel_release "$version")
		echo "${lock_kernel% *}_release=$release"
		echo "${lock_kernel% *}_version=$version"
	done
	qemu=$(archive_apt apt-cache showsrc --only-source qemu | sed -n 's/^Version: //p' |
		sort -V | tail -n 1)
	[ -n "$qemu" ] || die "the mirror has no source package of qemu in $SUITE"
	echo "qemu_version=$qemu"
}

# Does the archive still have all that the lock names?
lock_holds() {
	for lock_kernel in stable latest; do
		release=$(lock_get ${lock_kernel}_release)
		version=$(lock_get ${lock_kernel}_version)
		archive_has "linux-headers-$release:arm64" "$version" || return 1
		archive_has "linux-image-$release:arm64" "$version" || return 1
	done
	archive_apt apt-cache showsrc --only-source qemu |
		grep -qxF "Version: $(lock_get qemu_version)"
}

# Call before fetching anything that the lock names.
lock_check() {
	archive_update
	if lock_holds; then return 0; fi
	override=$CACHE/versions-$(hash_of "$BOARD/versions.lock").lock
	lock_resolve >"$override.part" && mv "$override.part" "$override"
	say "notice: a locked version is no longer in the archive; resolved anew:"
	grep '^[a-z]' "$override" | sed 's/^/board:   /' >&2
	say "'tools/board/board lock' records this in tools/board/versions.lock"
}

cmd_lock() {
	rm -f "$APT_DIR/updated"
	archive_update
	lock_resolve >"$BOARD/versions.lock.part" &&
		mv "$BOARD/versions.lock.part" "$BOARD/versions.lock"
	cat "$BOARD/versions.lock"
}
