#!/bin/bash
# lib.sh - what the tests of this folder share: the four runs of a client and what each must answer.
#
# A client is a program that has never heard of holdfast. It is called with a database and, when it
# shall load the shim, with the path of the extension; it then
#   loads the extension through a connection on ":memory:" (with no second argument it does not),
#   opens the database by its plain name, asks `PRAGMA holdfast`, then `PRAGMA journal_mode=WAL`,
#   makes the table t(x), adds 1..100 to it in one transaction, reads it back, and prints
#     sqlite=VERSION
#     holdfast=ANSWER          (holdfast= when there was no row)
#     journal_mode=ANSWER
#     rows=COUNT sum=SUM
# Everything else, such as which connections a client covers, is up to the test.
set -u
extension=$HF_BUILD/holdfast.so
tool=$HF_BUILD/holdfast
failed=0

skip() { echo "$*"; exit 77; }
need() { command -v "$1" >/dev/null || skip "no $1 here"; }
fail() { echo "FAIL: $*"; failed=1; }

# same WHAT GOT WANTED: WANTED is a pattern.
same() {
  # shellcheck disable=SC2053 # a pattern, so not quoted
  [[ $2 == $3 ]] || fail "$1: wanted \"$3\", got \"$2\""
}

# run_client HOLDFAST PRAGMA MODE ROWS SUM COMMAND...: one run, checked line by line.
run_client() {
  local title=$1 pragma=$2 mode=$3 rows=$4 out
  shift 4
  if ! out=$(timeout 60 "$@"); then
    fail "$title: the client ended with an error: $out"
    return
  fi
  echo "$title: ${out//$'\n'/, }"
  same "$title: sqlite_version()" "$(sed -n 's/^sqlite=//p' <<<"$out")" '3.[0-9]*'
  same "$title: PRAGMA holdfast" "$(sed -n 's/^holdfast=//p' <<<"$out")" "$pragma"
  same "$title: journal_mode=WAL" "$(sed -n 's/^journal_mode=//p' <<<"$out")" "$mode"
  same "$title: read back" "$(sed -n '/^rows=/p' <<<"$out")" "rows=$rows sum=$((rows * 101 / 2))"
}

# plain DATABASE MODE ROWS: stock SQLite reads what the client wrote.
plain() {
  same "$1 read by plain SQLite" "$(sqlite3 "$1" 'PRAGMA integrity_check; PRAGMA journal_mode; SELECT count(*), sum(x) FROM t' 2>&1 | tr '\n' ' ')" \
    "ok $2 $3|$(($3 * 101 / 2)) "
}

# round_trip COMMAND...: the runs of a client; the command gets DATABASE [EXTENSION] appended.
# The control comes first: without the shim the same program gets WAL, so the others prove something.
round_trip() {
  need sqlite3
  [ -f "$extension" ] || { fail "no $extension: run make first"; return; }
  run_client "control" "" wal 100 "$@" control.db
  plain control.db wal 100
  HOLDFAST_ASSUME=local run_client "local" "holdfast * wal-ok local *" wal 100 "$@" local.db "$extension"
  plain local.db wal 100
  HOLDFAST_ASSUME=network run_client "network" "holdfast * rollback-only network *" delete 100 "$@" network.db "$extension"
  plain network.db delete 100
  # The control's database is in WAL mode: it is converted before the program sees it.
  HOLDFAST_ASSUME=network run_client "converted" "holdfast * rollback-only network *" delete 200 "$@" control.db "$extension"
  plain control.db delete 200
  rm -f control.db local.db network.db
}

# exec_trip COMMAND...: the runs of a program that loads nothing: as it is, then under `holdfast exec`.
exec_trip() {
  need sqlite3
  rm -f control.db local.db network.db
  run_client "as it is" "" wal 100 "$@" control.db
  plain control.db wal 100
  run_client "exec, local" "holdfast * wal-ok local *" wal 100 "$tool" exec --assume local -- "$@" local.db
  plain local.db wal 100
  run_client "exec, network" "holdfast * rollback-only network *" delete 100 "$tool" exec --assume network -- "$@" network.db
  plain network.db delete 100
  run_client "exec, converted" "holdfast * rollback-only network *" delete 200 "$tool" exec --assume network -- "$@" control.db
  plain control.db delete 200
}

finish() { exit $failed; }
