#!/bin/sh
# SPDX-License-Identifier: MIT
# Turns text files into C strings: embed.sh NAME FILE [NAME FILE]...
set -eu
printf '/* Generated from the files in configs/. */\n'
while [ $# -ge 2 ]; do
	printf 'static const char config_%s[] =\n' "$1"
	sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/.*/\t"&\\n"/' "$2"
	printf '\t;\n'
	shift 2
done
