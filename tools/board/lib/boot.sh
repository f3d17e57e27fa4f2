# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# Start the board: a shell, or one command with its output, status and log.

run_usage() {
	cat <<-EOF
		usage: tools/board/run [OPTION...] [--] COMMAND [ARGUMENT...]

		Boot the board, run COMMAND as root, return its exit status. A single
		argument is a shell command line; several are one program's.

		  -k KERNEL   $(echo "$KERNELS" | sed 's/ /, /g') (default: latest)
		  -t SECONDS  time limit, boot included (default: 300)
		  -o FOLDER   what the command leaves in /out comes back here
		  -l FILE     keep the kernel log here
		  -m FILE     put FILE in /models, read only (repeatable)
		  -f FILE     put FILE in /root (repeatable)
		  -M MIB      guest memory (default: 1024, more if there are models)
		  -n NPUS     1 or 2 (default: 1)
		  -c CONFIG   configuration of the model: small, large or a file (default: small)
		  -g OPTION   QEMU option of the NPU, as threads=2 or isa=scalar (repeatable)
		  -d TREE     device tree of dts/ by name (default: virt-board or virt-board-dual)
		  -S          output over a serial port, stderr with it: for commands that
		              suspend the system, which virtio's 9p and console do not survive
		  -x OPTION   option for QEMU itself (repeatable)
		  -D          do not load the driver
		  -R          let the guest reboot (COMMAND runs again) instead of ending
		  -W          do not fail on warnings in the kernel log
		  -B          do not build anything: use what was built last
		  -q          no progress messages

		Exit status: COMMAND's; $EXIT_TIMEOUT: time limit; $EXIT_BOARD: the board could not be made or
		died; $EXIT_KERNEL_LOG: COMMAND succeeded but the kernel log holds a warning or worse.
	EOF
}

# For the kernel. It would watch its own use of memory (DAMON), on a CPU that is dear.
ARGUMENTS='panic=-1 damon_stat.enabled=0'

boot_options() {
	kernel=latest limit=300 output='' log='' models='' files='' memory='' npus=1
	config='' npu_options='' tree='' driver=yes serial=no qemu_options='' reboot=no warnings=fail build=yes
	while getopts k:t:o:l:m:f:M:n:c:g:d:x:SDRWBqh option; do
		case $option in
		k) kernel=$OPTARG ;;
		t) limit=$OPTARG ;;
		o) output=$OPTARG ;;
		l) log=$OPTARG ;;
		m) models="$models$OPTARG
" ;;
		f) files="$files$OPTARG
" ;;
		M) memory=$OPTARG ;;
		n) npus=$OPTARG ;;
		c) config=$OPTARG ;;
		g) npu_options="$npu_options -global npu.$OPTARG" ;;
		d) tree=$OPTARG ;;
		x) qemu_options="$qemu_options $OPTARG" ;;
		S) serial=yes ;;
		D) driver=no ;;
		R) reboot=yes ;;
		W) warnings=pass ;;
		B) build=no ;;
		q) BOARD_QUIET=yes ;;
		h)
			run_usage
			exit 0
			;;
		*)
			run_usage >&2
			exit "$EXIT_BOARD"
			;;
		esac
	done
}

boot_check_options() {
	case $npus in
	1) tree=${tree:-virt-board} ;;
	2) tree=${tree:-virt-board-dual} ;;
	*) die "-n $npus: the board holds 1 or 2 NPUs" ;;
	esac
	case $limit in
	'' | *[!0-9]* | 0) die "-t $limit: expected seconds" ;;
	esac
	case $memory in
	*[!0-9]*) die "-M $memory: expected MiB" ;;
	esac
	case $config in
	'' | small | large) ;;
	*) [ -r "$config" ] || die "-c $config: no such configuration file (or use small or large)" ;;
	esac
	echo "$models$files" | while IFS= read -r file; do
		[ -z "$file" ] || [ -r "$file" ] || die "$file: no such file"
	done || exit
}

# Everything that a boot needs, for the chosen kernel.
boot_build() {
	kernel_select "$kernel"
	kernel_ensure
	initrd=$OUT/$KERNEL/initramfs.cpio
	MODULES=$OUT/$KERNEL/modules
	if [ "$build" = no ]; then
		if [ ! -e "$initrd" ] || [ ! -x "$QEMU" ]; then
			die "-B: nothing was built for kernel $KERNEL yet"
		fi
		return 0
	fi
	qemu_ensure
	dtb_ensure
	modules_build
	userspace_build
	initramfs_build
}

initramfs_build() {
	(
		exec 9>"$OUT/$KERNEL/.lock"
		flock 9
		newest=
		[ ! -e "$initrd" ] ||
			newest=$(find "$MODULES" "$BOARD/guest" "$BOARD/lib/initramfs-make.sh" \
				"$USERSPACE" "$TOP/tests" "$TOP/models" -type f -newer "$initrd" \
				! -name '*.log' ! -path '*/meson-logs/*' ! -name '.ninja_*' \
				! -path '*/meson-private/*' 2>/dev/null | head -n 1)
		[ ! -e "$initrd" ] || [ -n "$newest" ] || exit 0
		in_root sh -eu "$BOARD/lib/initramfs-make.sh" "$initrd" "$(kernel_dir)/lib/modules" \
			"$(kernel_release)" "$MODULES" "$BOARD/guest" "$USERSPACE" "$TOP" >&2
	) || die "the initramfs could not be made"
}

quote() {
	printf "'%s' " "$(printf '%s' "$1" | sed "s/'/'\\\\''/g")"
}

# boot_request MODE [COMMAND...]: the archive behind the initramfs that says what to do.
boot_request() {
	request=$work/request
	mkdir -p "$request/etc/board" "$request/root"
	{
		echo "mode=$1"
		echo "driver=$driver"
		echo "output=yes"
		[ "$serial" = no ] || echo "serial=yes"
		[ -z "$models" ] || echo "models=yes"
		[ "$warnings" = pass ] || echo "leaks=yes"
	} >"$request/etc/board/config"
	shift
	if [ $# -eq 1 ]; then
		printf '%s\n' "$1"
	else
		for argument in "$@"; do
			quote "$argument"
		done
		echo
	fi >"$request/etc/board/command"
	echo "$files" | while IFS= read -r file; do
		[ -z "$file" ] || cp "$file" "$request/root/" || exit
	done || die "cannot copy the files of -f"
	in_request=$work/request.cpio
	(cd "$request" && find . | cpio --quiet -o -H newc -R 0:0) >"$in_request" ||
		die "cannot pack the request: is cpio installed?"
	cat "$initrd" "$in_request" >"$work/initrd"
}

# models_image TMP FILE...
models_image() {
	image=$1
	shift
	mib=$(du -cmL "$@" | awk 'END { print $1 }')
	need_space "$CACHE" $((2 * mib + mib / 8 + 64)) "the disk image of the models"
	say "making the disk image of the models ($mib MiB)"
	remove_tree "$image.d"
	{
		mkdir "$image.d" &&
			{ cp -lL "$@" "$image.d" 2>/dev/null || cp -fL "$@" "$image.d"; } &&
			mke2fs -q -F -t ext4 -O ^has_journal -m 0 -d "$image.d" "$image" \
				$((mib + mib / 16 + 16))M >/dev/null &&
			rm -rf "$image.d"
	} || die "cannot make the disk image of the models in $CACHE"
}

# shellcheck disable=SC2120  # its arguments are its own
# The models as a read-only disk, and memory for twice their size: the page
# cache and the device's copy.
boot_models() {
	models_mib=0
	[ -n "$models" ] || return 0
	need_program mke2fs e2fsprogs
	eval "set -- $(echo "$models" | while IFS= read -r file; do
		[ -z "$file" ] || quote "$file"
	done)"
	models_mib=$(du -cmL "$@" | awk 'END { print $1 }')
	models_image=$CACHE/models-$(stat -Lc '%n %s %Y %i' "$@" | sha256sum | cut -c1-12).img
	once "$models_image" models_image "$@"
}

boot_memory() {
	memory=${memory:-$((1024 + models_mib * 9 / 4))}
	free=$(awk '/^MemAvailable/ { print int($2 / 1024) }' /proc/meminfo)
	[ "$memory" -lt "$free" ] ||
		die "the guest needs $memory MiB of memory, this host has $free MiB free: use -M or a smaller model"
}

# boot_qemu ARG...: the board, with what is common to shell and run.
boot_qemu() {
	[ -e "$DTB/$tree.dtb" ] || die "-d $tree: no such device tree in dts/"
	set -- -M "npu-board,memory-backend=ram,npus=$npus" -accel tcg,thread=multi \
		-cpu cortex-a76 -smp 2 -m "${memory}M" -name npu-board \
		-object "memory-backend-memfd,id=ram,size=${memory}M,share=on" \
		-nodefaults -display none \
		-kernel "$(kernel_dir)/Image" -initrd "$work/initrd" -dtb "$DTB/$tree.dtb" \
		-global virtio-mmio.force-legacy=false \
		-object rng-random,id=rng,filename=/dev/urandom \
		-device virtio-rng-device,rng=rng,bus=virtio-mmio-bus.3 \
		-fsdev "local,id=out,path=$output,security_model=none" \
		-device virtio-9p-device,fsdev=out,mount_tag=out,bus=virtio-mmio-bus.1 \
		"$@"
	[ -z "$models" ] || set -- "$@" \
		-drive "file=$models_image,if=none,id=models,format=raw,readonly=on" \
		-device virtio-blk-device,drive=models,bus=virtio-mmio-bus.2
	[ -z "$config" ] || set -- "$@" -global "npu.config=$config"
	[ "$reboot" = yes ] || set -- "$@" -no-reboot
	# shellcheck disable=SC2086
	qemu_run "$@" $npu_options $qemu_options
}

boot_prepare() {
	work=$(mktemp -d "${TMPDIR:-/tmp}/npu-board.XXXXXX") || die "cannot make a temporary folder"
	trap 'boot_cleanup' EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	boot_build
	# shellcheck disable=SC2119
	boot_models
	boot_memory
	output=${output:-$work/out}
	mkdir -p "$output" || die "-o $output: cannot make that folder"
	output=$(cd "$output" && pwd -P)
}

boot_cleanup() {
	for pid in ${board_pids-}; do
		kill "$pid" 2>/dev/null || true
	done
	rm -rf "$work"
}

cmd_shell() {
	boot_options "$@"
	shift $((OPTIND - 1))
	[ $# -eq 0 ] || die "shell takes no command: use tools/board/run"
	[ -t 0 ] || die "a shell needs a terminal: use tools/board/run for one command"
	boot_check_options
	boot_prepare
	boot_request shell :
	limit=
	say "booting $(kernel_describe); leave with 'exit' or Ctrl-A x"
	(boot_qemu -serial mon:stdio -serial null -append "console=ttyAMA0 quiet loglevel=4 $ARGUMENTS")
}

cmd_run() {
	boot_options "$@"
	shift $((OPTIND - 1))
	[ $# -gt 0 ] || {
		run_usage >&2
		exit "$EXIT_BOARD"
	}
	boot_check_options
	boot_prepare
	boot_request run "$@"
	log=${log:-$work/kernel.log}
	: >"$log" || die "-l $log: cannot write there"
	mkfifo "$work/stdout" "$work/stderr"
	: >"$work/status"
	say "booting $(kernel_describe)"
	cat "$work/stdout" &
	reader_out=$!
	cat "$work/stderr" >&2 &
	reader_err=$!
	uart=null port='-device virtserialport,chardev=stdout,name=board.out'
	[ "$serial" = no ] || { uart=chardev:stdout port=''; }
	# shellcheck disable=SC2086
	(boot_qemu -serial "file:$log" -serial "$uart" \
		-monitor "unix:$work/monitor,server=on,wait=off" \
		-device virtio-serial-device,bus=virtio-mmio-bus.0 \
		-chardev "file,id=stdout,path=$work/stdout" \
		$port \
		-chardev "file,id=stderr,path=$work/stderr" \
		-device virtserialport,chardev=stderr,name=board.err \
		-chardev "file,id=status,path=$work/status" \
		-device virtserialport,chardev=status,name=board.status \
		-append "console=ttyAMA0 earlycon $ARGUMENTS $(kernel_arguments)") &
	board=$!
	board_pids="$board $reader_out $reader_err"
	wait "$board" && qemu_status=0 || qemu_status=$?
	wait "$reader_out" "$reader_err" || true
	board_pids=
	run_verdict
}

# What became of the command: see run_usage for the codes.
run_verdict() {
	reports=$(log_reports "$log")
	code=$(sed -n 's/^exit //p' "$work/status" | tail -n 1)
	[ "$serial" = no ] || code=$(sed -n 's/.*board: exit \([0-9]*\).*/\1/p' "$log" | tail -n 1)
	# timeout's own status, and that of a QEMU which it had to kill
	if [ -z "$code" ] && { [ "$qemu_status" -eq 124 ] || [ "$qemu_status" -eq 137 ]; }; then
		log_tail "$log"
		say "time limit of $limit s reached; the end of the kernel log is above"
		exit "$EXIT_TIMEOUT"
	fi
	if [ -n "$reports" ]; then
		printf 'board: the kernel log holds:\n%s\n' "$reports" >&2
	fi
	if [ -z "$code" ]; then
		[ -n "$reports" ] || log_tail "$log"
		die "the board stopped before the command ended (QEMU's exit status: $qemu_status)"
	fi
	[ "$code" -eq 0 ] || exit "$code"
	[ -z "$reports" ] || [ "$warnings" = pass ] || exit "$EXIT_KERNEL_LOG"
	exit 0
}
