#!/bin/bash
# F28 with SQLite 3.15 to the newest: tests/proc/f28_savepoint in front of which each library is loaded. Those with the bug
# must lose the commit without holdfast; those without it must keep it.
# shellcheck source=lib.sh disable=SC1091,SC2154
. "$HF_SOURCE/tests/clients/lib.sh" || exit 1

program=$HF_BUILD/tests/proc/f28_savepoint
[ -x "$program" ] || skip "no $program: run make tests"
list=$("$HF_SOURCE/tools/fetch-amalgamations.sh") || skip "$(tail -n 1 <<<"$list")"
export HOLDFAST_ASSUME=local HOLDFAST_LOG=none

while read -r version library; do
  if ! out=$(LD_PRELOAD=$library timeout 60 "$program" 2>&1); then
    fail "SQLite $version: $out"
    continue
  fi
  same "the library" "$(sed -n 's/^SQLite //p' <<<"$out")" "$version"
  echo "SQLite $version: plain lost $(grep -c 'plain: [^k]' <<<"$out") of $(grep -c 'plain: ' <<<"$out")"
done <<<"$list"
finish
