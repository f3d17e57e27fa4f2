#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The completions: bash's function is called as the shell calls it, zsh completes on a terminal of its own. Each option
# that a subcommand's help names must be offered. Arguments: NPU, folder of the completion files.
set -eu
npu=$1 dir=$2
status=0

fail() {
	echo "$*" >&2
	status=1
}

# What bash offers behind the words given; the last one is the word being written.
offers() {
	COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
	_npu
	printf '%s\n' "${COMPREPLY[@]}"
}

# shellcheck source=/dev/null
source "$dir/npu.bash"
complete -p npu | grep -q -- '-F _npu npu' || fail 'bash: no completion for npu'
[ "$(offers "$npu" se)" = selftest ] || fail 'bash: se is not completed to selftest'
offers "$npu" bench dec | grep -qx decode || fail 'bash: bench dec is not completed'
offers "$npu" run --kv '' | grep -qx q8_0 || fail 'bash: no values for --kv'
offers "$npu" info -d so | grep -qx soft || fail 'bash: no devices'
for command in run info bench selftest dis gguf; do
	offers "$npu" '' | grep -qx $command || fail "bash: no command $command"
	offered=$(offers "$npu" $command --)
	for option in $("$npu" $command --help | grep -oE -- '--[a-z][a-z-]+' | sort -u); do
		grep -qxF -- "$option" <<<"$offered" || fail "bash: $command lacks $option"
		grep -qF -- "$option" "$dir/_npu" || fail "zsh: $command lacks $option"
	done
done

if ! command -v zsh >/dev/null; then
	echo '# skipped: completion: no zsh here'
	exit $status
fi
zsh -n "$dir/_npu" || fail 'zsh: syntax'

# zsh_offers WORDS: the screen after TAB was pressed twice behind them.
zsh_offers() {
	DIR=$dir TYPED=$1 zsh -f -c '
		zmodload zsh/zpty
		zpty shell zsh -f -i
		send() { zpty -w shell "$1" }
		send "PS1=READY; fpath=($DIR \$fpath); autoload -U compinit; compinit -u -D; zstyle \":completion:*\" menu no"
		send "LISTMAX=1000; unsetopt beep; npu() { :; }; print DO\"\"NE"
		zpty -r -m shell text "*DONE*" || exit 1
		zpty -w -n shell "$TYPED"$'\''\t\t'\''
		zpty -w -n shell $'\''\x15print EN""D\n'\''
		text=
		zpty -r -m shell text "*END*"
		print -r -- "$text"
		zpty -d shell'
}

shown=$(zsh_offers 'npu ')
for command in run info bench selftest dis gguf; do
	grep -q "$command" <<<"$shown" || fail "zsh: no command $command"
done
# What was typed may have been drawn before: only what completion adds is sure to be in one piece.
zsh_offers 'npu bench pre' | grep -q fill || fail 'zsh: bench pre is not completed'
zsh_offers 'npu run --kv q' | grep -q 8_0 || fail 'zsh: no values for --kv'
exit $status
