# SPDX-License-Identifier: MIT
# Completion of npu for bash.
_npu()
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} cmd=${COMP_WORDS[1]}

	if [ "$COMP_CWORD" -eq 1 ]; then
		mapfile -t COMPREPLY < <(compgen -W "run info bench selftest dis gguf --help --version" -- "$cur")
		return
	fi
	case $prev in
	-d | --device)
		mapfile -t COMPREPLY < <(compgen -W "soft soft:config=large drm $(ls /dev/accel/* 2>/dev/null)" -- "$cur")
		return
		;;
	-m | --model | -f | --file | --tokens-out | --perplexity | --logits)
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
		;;
	--overflow)
		mapfile -t COMPREPLY < <(compgen -W "stop drop" -- "$cur")
		return
		;;
	--kv)
		mapfile -t COMPREPLY < <(compgen -W "f16 q8_0" -- "$cur")
		return
		;;
	esac
	case $cmd in
	info) mapfile -t COMPREPLY < <(compgen -W "--device --json --help" -- "$cur") ;;
	bench) mapfile -t COMPREPLY < <(compgen -W "copy gemm gemv attention latency throughput prefill decode --device --model --time --json --help" -- "$cur") ;;
	selftest) mapfile -t COMPREPLY < <(compgen -W "--device --keep-going --help" -- "$cur") ;;
	dis) mapfile -t COMPREPLY < <(compgen -W "--start --bytes --base --help" -f -- "$cur") ;;
	run) mapfile -t COMPREPLY < <(compgen -W "$("${COMP_WORDS[0]}" run --help 2>/dev/null | grep -oE -- '--[a-z-]+' | sort -u)" -- "$cur") ;;
	gguf) mapfile -t COMPREPLY < <(compgen -W "--metadata --tensors --all --json --quiet --help" -f -- "$cur") ;;
	esac
}
complete -o filenames -F _npu npu
