#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Each public header compiles alone, as C11 and as C++11, without a warning.
# Arguments: HEADER-FOLDER UAPI-FOLDER.

set -eu

headers=$1 uapi=$2
status=0
for header in "$headers"/npu/*.h; do
	name=npu/${header##*/}
	for lang in 'c c11 cc' 'c++ c++11 c++'; do
		# shellcheck disable=SC2086
		set -- $lang
		command -v "$3" >/dev/null || continue
		printf '#include <%s>\n#include <%s>\n' "$name" "$name" |
			"$3" -x "$1" -std="$2" -Wall -Wextra -Wpedantic -Werror -fsyntax-only -I"$headers" -I"$uapi" - || {
			echo "$name does not compile as $2" >&2
			status=1
		}
	done
done
exit $status
