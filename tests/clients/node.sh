#!/bin/bash
# Node packages with a SQLite of their own inside: each alone, and both in one process.
# libsql's default VFS is not SQLite's own, so the shim stands on a strange base there.
# shellcheck source=lib.sh disable=SC1091,SC2154
. "$HF_SOURCE/tests/clients/lib.sh" || exit 1

need node
[ "$(node -p 'process.versions.node.split(".")[0]')" -ge 20 ] || skip "Node here is $(node --version); the packages need 20"
packages=$("$HF_SOURCE/tools/fetch-node-packages.sh") || skip "$packages"
# Node looks for packages beside the program and in NODE_PATH.
export NODE_PATH=$packages/node_modules
program=$HF_SOURCE/tests/clients/programs/roundtrip.cjs
for name in libsql @photostructure/sqlite; do
  round_trip node "$program" "$name"
done

for assume in local network; do
  mode=wal
  [ $assume = network ] && mode=delete
  out=$(HOLDFAST_ASSUME=$assume timeout 60 node "$program" libsql,@photostructure/sqlite "both-$assume.db" "$extension") ||
    fail "both in one process, $assume: ended with an error"
  echo "both, $assume: ${out//$'\n'/, }"
  same "both, $assume: two libraries" "$(grep -c '^sqlite=3' <<<"$out") $(grep '^sqlite=3' <<<"$out" | sort -u | wc -l)" "2 2"
  same "both, $assume: journal_mode=WAL" "$(grep -c "^journal_mode=$mode\$" <<<"$out")" 2
  same "both, $assume: PRAGMA holdfast" "$(grep -c '^holdfast=holdfast ' <<<"$out")" 2
  plain "both-$assume.db" $mode 100
  plain "both-$assume.db.1" $mode 100
done
finish
