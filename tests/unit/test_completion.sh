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

# zsh_completes WORDS WANT: TAB behind WORDS, on a terminal, makes WANT of them: npu is a function that prints its words.
zsh_completes() {
	local got
	got=$(DIR=$dir TYPED="npu $1" zsh -f -c '
		zmodload zsh/zpty
		zpty shell zsh -f -i
		zpty -w shell "fpath=($DIR \$fpath); autoload -U compinit; compinit -u -D; unsetopt beep"
		zpty -w shell "npu() { print -r -- GOT\"\":\$*: }; print DO\"\"NE"
		zpty -r -m shell text "*DONE*" || exit 1
		zpty -w -n shell "$TYPED"$'\''\t\n'\''
		zpty -r -m shell text "*GOT:*:*"
		print -r -- "$text"
		zpty -d shell')
	grep -qF -- "GOT:$2" <<<"$got" || fail "zsh: npu $1 does not become npu $2"
}

for command in run info bench selftest dis gguf; do
	zsh_completes "${command:0:1}" "$command"
done
zsh_completes 'bench pre' 'bench prefill'
zsh_completes 'run --kv q' 'run --kv q8_0'
exit $status
