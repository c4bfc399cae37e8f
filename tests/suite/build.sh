#!/bin/bash
# tests/suite/build.sh - builds SQLite's own test programs, linked with holdfast.
#
#   tests/suite/build.sh [PROGRAM...]     testfixture, mptester, speedtest1, probe; default: all
#
# Prints the folder that has them as its last line. With HF_SUITE_BARE set in their environment they
# run on SQLite's own VFS. Exit status: 0; 1 when they do not compile; 77 with the reason on the last line
# when this machine cannot have them.
set -u

HF_SOURCE=${HF_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
HF_BUILD=${HF_BUILD:-$HF_SOURCE/build}
out=$HF_BUILD/suite

skip() { echo "$*"; exit 77; }
die() { echo "suite: $*"; exit 1; }

source_tree=$("$HF_SOURCE/tools/fetch-sqlite-source.sh") || { echo "$source_tree"; exit 77; }
for need in make "${CC:-cc}"; do command -v "$need" >/dev/null || skip "no $need here"; done
find /usr/lib -name tclConfig.sh 2>/dev/null | grep -q . || skip "no tclConfig.sh here: SQLite's test programs need tcl-dev"
[ -f "$HF_BUILD/libholdfast.a" ] || die "no $HF_BUILD/libholdfast.a: run make first"

# Another source, and everything is compiled again.
if [ "$(cat "$out/source" 2>/dev/null)" != "$source_tree" ]; then rm -rf "$out"; fi
mkdir -p "$out" || die "cannot write to $out"
echo "$source_tree" >"$out/source"
timeout 900 make -j2 -C "$out" -f "$HF_SOURCE/tests/suite/Makefile" SRC="$source_tree" \
  ARCHIVE="$HF_BUILD/libholdfast.a" "$@" >"$out/build.log" 2>&1 || {
  tail -n 20 "$out/build.log" | cut -c 1-300
  die "SQLite's test programs do not build, see $out/build.log"
}
echo "$out"
