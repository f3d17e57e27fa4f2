# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# Make the guest's initramfs; runs in the build root.
# Arguments: TARGET KERNEL-LIB-MODULES RELEASE MODULES GUEST USERSPACE TREE

set -eu

target=$1 kernel=$2 release=$3 modules=$4 guest=$5 userspace=$6 tree=$7

stage=$target.d
rm -rf "$stage"
for folder in bin dev etc/board lib mnt opt/npu out proc root run sys tmp usr/bin usr/lib \
	usr/share "lib/modules/$release"; do
	mkdir -p "$stage/$folder"
done
ln -s bin "$stage/sbin"

cp /usr/bin/busybox "$stage/bin/busybox"
cp "$guest/init" "$stage/init"
chmod 755 "$stage/init"

# ---- kernel modules, with everything that they depend on ----

find "$kernel/$release" -name '*.ko*' >"$target.index"

# add_module NAME: from our own modules, else from the kernel's.
add_module() {
	pattern=$(echo "$1" | sed 's/[-_]/[-_]/g')
	[ -z "$(find "$stage/lib/modules" -name "$pattern.ko")" ] || return 0
	if [ -e "$modules/$1.ko" ]; then
		file=$modules/$1.ko
	else
		file=$(grep -E "/$pattern\.ko(\.xz|\.zst)?\$" "$target.index" | head -n 1)
		# Built in.
		[ -n "$file" ] || return 0
	fi
	copy=$stage/lib/modules/$release/$1.ko
	case $file in
	*.xz) xz -dc "$file" >"$copy" ;;
	*.zst) zstd -dqc "$file" >"$copy" ;;
	*) aarch64-linux-gnu-strip --strip-debug -o "$copy" "$file" ;;
	esac
	for dependency in $(modinfo -F depends "$copy" | tr , ' '); do
		add_module "$dependency"
	done
}

grep -v '^#' "$guest/modules" >"$target.wanted"
while IFS= read -r module; do
	add_module "$module"
done <"$target.wanted"
rm "$target.wanted"
for module in "$modules"/*.ko; do
	module=${module##*/}
	add_module "${module%.ko}"
done
rm "$target.index"
# What is built into the kernel need not be listed: modprobe finds it in /sys/module.
for list in order builtin builtin.modinfo; do
	: >"$stage/lib/modules/$release/modules.$list"
done
depmod -b "$stage" "$release"

# ---- programs and the libraries that they need ----

if [ -d "$userspace/stage/usr" ]; then
	cp -a "$userspace/stage/usr/bin" "$stage/usr/" 2>/dev/null || true
	find "$userspace/stage/usr/lib" -maxdepth 1 -name '*.so*' \
		-exec cp -a {} "$stage/usr/lib/" \; 2>/dev/null || true
	for folder in tests tools/model; do
		[ -d "$userspace/$folder" ] || continue
		(cd "$userspace" && find "$folder" -type f -perm /111 ! -name '*.so*') |
			while IFS= read -r file; do
				mkdir -p "$stage/opt/npu/${file%/*}"
				cp "$userspace/$file" "$stage/opt/npu/$file"
			done
	done
fi
# Scripts and data of the tests, at the place that they have in the tree.
(cd "$tree" && find tests models -type f \( -path '*/kselftest/*.sh' -o -name '*.gguf' \) \
	-size -32M 2>/dev/null) |
	while IFS= read -r file; do
		mkdir -p "$stage/opt/npu/${file%/*}"
		cp "$tree/$file" "$stage/opt/npu/$file"
	done

# add_libraries FILE: recursively, the loader included.
add_libraries() {
	for name in $(aarch64-linux-gnu-readelf -dl "$1" 2>/dev/null |
		sed -n -e 's/.*(NEEDED).*\[\(.*\)\]/\1/p' -e 's|.*interpreter: .*/\(.*\)\]|\1|p'); do
		[ ! -e "$stage/usr/lib/$name" ] || continue
		[ ! -e "$stage/lib/$name" ] || continue
		library=/usr/lib/aarch64-linux-gnu/$name
		[ -e "$library" ] || { echo "$1 needs $name, which the build root lacks" >&2; exit 1; }
		cp -L "$library" "$stage/lib/$name"
		add_libraries "$stage/lib/$name"
	done
}

find "$stage/usr" "$stage/opt" -type f -perm /111 >"$target.programs"
while IFS= read -r program; do
	add_libraries "$program"
done <"$target.programs"
rm "$target.programs"
find "$stage/usr" "$stage/opt" "$stage/lib" -maxdepth 6 -type f ! -name '*.ko' -perm /111 \
	-exec aarch64-linux-gnu-strip --strip-debug {} + 2>/dev/null || true

(cd "$stage" && find . -print0 | LC_ALL=C sort -z |
	cpio --quiet --null --create --format=newc --owner=0:0 --reproducible) >"$target.part"
mv "$target.part" "$target"
rm -rf "$stage"
