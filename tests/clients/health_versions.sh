#!/bin/bash
# holdfast_health with SQLite 3.15 to the newest, one after the other: host/health.c says what is checked. A
# database with a STRICT table, which SQLite before 3.37 cannot read, must be "not checked" there, not "damaged".
# shellcheck source=lib.sh disable=SC1091,SC2154
. "$HF_SOURCE/tests/clients/lib.sh" || exit 1

cc=${CC:-cc}
need "$cc"
need sqlite3
list=$("$HF_SOURCE/tools/fetch-amalgamations.sh") || skip "$(tail -n 1 <<<"$list")"
mapfile -t libraries < <(cut -d ' ' -f 2- <<<"$list")
echo "SQLite $(cut -d ' ' -f 1 <<<"$list" | tr '\n' ' ')"
export HOLDFAST_ASSUME=local

sqlite3 newer.db 'CREATE TABLE s(a INT, b TEXT) STRICT; INSERT INTO s VALUES(1, 2)' ||
  skip "this sqlite3 is too old to make a STRICT table"
here=$HF_SOURCE/tests/clients/host
$cc -D_GNU_SOURCE -std=c11 -O1 -g -Wall -Wextra -o health "$here"/{health,lib}.c -ldl -lpthread ||
  { fail "the host does not compile"; finish; }
timeout 200 ./health "$extension" newer.db "${libraries[@]}" || fail "see above"
finish
