#!/bin/bash
# tools/demo-programs.sh - two programs that know nothing of holdfast, the stock sqlite3 shell and Python's
# sqlite3 module, work on one database through holdfast.so. Called by `make demo-programs`.
#
#   tools/demo-programs.sh [DIR]       default: a temporary directory
#
# Works in a new folder inside DIR and removes it. Every figure shown is read back with plain SQLite;
# if one is not as it should be, the demo says so and ends with exit 1.
set -u

: "${HF_SOURCE:=$(cd "$(dirname "$0")/.." && pwd)}"
: "${HF_BUILD:=$HF_SOURCE/build}"
export SHIM=$HF_BUILD/holdfast
unset HOLDFAST_MODE HOLDFAST_ASSUME HOLDFAST_JOURNAL HOLDFAST_STRICT
export HOLDFAST_LOG=none
python=/usr/bin/python3
[ -x $python ] || python=python3

bold='' plain=''
if [ -t 1 ]; then bold=$'\e[1m' plain=$'\e[0m'; fi
title() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
row() { printf '   %-34s %s\n' "$1" "$2"; }
fail() { echo "demo FAILED: $*" >&2; exit 1; }

place=${1:-${TMPDIR:-/tmp}}
[ -d "$place" ] || fail "$place is not a directory"
work=$(mktemp -d "$place/holdfast-demo.XXXXXX") || fail "cannot write in $place"
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1

# The stock shell: with holdfast loaded first, and without it.
shell() { local db=$1; shift; sqlite3 -batch -init /dev/null -cmd ".load '$SHIM'" -cmd ".open $db" :memory: "$@"; }
stock() { sqlite3 -batch -init /dev/null "$@"; }

# Python asks for WAL as many programs do, adds a row, and prints the mode that it got.
python_asks_for_wal() {
  $python - "$1" <<'PY'
import os, sqlite3, sys
boot = sqlite3.connect(":memory:")
boot.enable_load_extension(True)
boot.load_extension(os.environ["SHIM"])     # once; every later connection is covered
db = sqlite3.connect(sys.argv[1])
print(db.execute("PRAGMA journal_mode=WAL").fetchone()[0])
with db:
    db.execute("CREATE TABLE IF NOT EXISTS note(who, what)")
    db.execute("INSERT INTO note VALUES('python', 'hello')")
PY
}

# One database, both programs through holdfast, then read by plain SQLite.
both_programs() {
  local db=$1 wanted=$2 mode verdict counted
  verdict=$(shell "$db" 'PRAGMA holdfast') || fail 'the shell could not load holdfast.so'
  [ -n "$verdict" ] || fail "PRAGMA holdfast has no answer for $db"
  row 'PRAGMA holdfast' "$verdict"
  mode=$(python_asks_for_wal "$db") || fail 'python could not use the database'
  row 'python asks for WAL, gets' "$mode"
  [ "$mode" = "$wanted" ] || fail "expected $wanted"
  mode=$(shell "$db" 'PRAGMA journal_mode=WAL') || fail 'the shell could not use the database'
  row 'sqlite3 asks for WAL, gets' "$mode"
  [ "$mode" = "$wanted" ] || fail "expected $wanted"
  shell "$db" "INSERT INTO note VALUES('sqlite3', 'hello')" || fail 'the shell could not write'
  counted=$(stock "$db" "SELECT group_concat(who, ', ') FROM (SELECT who FROM note ORDER BY rowid)")
  row 'rows, read by plain SQLite' "$counted"
  [ "$counted" = 'python, sqlite3' ] || fail 'rows are missing'
  [ "$(stock "$db" 'PRAGMA integrity_check')" = ok ] || fail 'plain SQLite finds damage'
}

# A WAL database as a crashed program leaves it: its rows are in the -wal only. Where holdfast is sure of
# the mount it is converted, elsewhere it may be refused, and then nothing must have changed.
existing_wal() {
  local db=$1 may_refuse=${2:-} before mode counted
  stock "$db" '.dbconfig no_ckpt_on_close on' 'PRAGMA journal_mode=WAL' 'CREATE TABLE note(who, what)' \
    "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i<1000)
     INSERT INTO note SELECT 'old', i FROM n" >/dev/null
  [ -s "$db-wal" ] || fail "$db has no -wal"
  row 'before' "journal mode wal, 1000 rows in $db-wal, database file $(stat -c %s "$db") bytes"
  before=$(sha256sum "$db" "$db-wal")
  mode=$(HOLDFAST_LOG=log shell "$db" 'PRAGMA journal_mode' 2>error)
  row 'what holdfast logged' "$(tail -n 1 log | cut -c 1-300)"
  if [ -n "$may_refuse" ] && [ -s error ]; then
    row 'opened through holdfast' "refused: $(head -n 1 error)"
    [ "$(sha256sum "$db" "$db-wal")" = "$before" ] || fail 'a refused database was changed'
    row 'its bytes' 'unchanged'
    return
  fi
  counted=$(stock "$db" 'SELECT count(*) FROM note')
  row 'after one open through holdfast' "journal mode $mode, $counted rows, file $(stat -c %s "$db") bytes"
  [ "$mode" = delete ] || fail "not converted: $(cat error)"
  [ "$counted" = 1000 ] || fail 'rows are missing'
  [ ! -e "$db-wal" ] || fail 'there still is a -wal'
  [ "$(stock "$db" 'PRAGMA integrity_check')" = ok ] || fail 'plain SQLite finds damage'
}

echo "holdfast $(cat "$HF_SOURCE/VERSION") with sqlite3 $(sqlite3 --version | cut -d' ' -f1) and" \
     "$($python --version | tr '[:upper:]' '[:lower:]'), in $place"

verdict=$(shell here.db 'PRAGMA holdfast')
case $verdict in
  *' wal-ok '*)
    title '1. Here, as it is: a local disk, so nothing changes'
    both_programs here.db wal
    export HOLDFAST_ASSUME=network
    title '2. The same directory, PRETENDING that it is a network mount (HOLDFAST_ASSUME=network)'
    both_programs pretended.db delete
    title '3. A WAL database that was there before, same pretence'
    existing_wal old.db
    printf '\nDone. On NFS and SMB WAL loses data: there holdfast keeps SQLite in DELETE mode by itself.\n'
    echo 'On a mount of yours: make demo-programs DIR=/path   On real NFS and SMB: make demo LAB=1'
    ;;
  *' rollback-only '* | *' rollback-one-host '*)
    title '1. Here, as it is: WAL cannot be trusted on this mount'
    both_programs here.db delete
    title '2. A WAL database that was there before'
    existing_wal old.db may-refuse
    printf "\nDone. More about this mount: build/holdfast doctor '%s'\n" "$place"
    ;;
  *) fail "holdfast refuses databases in $place: ${verdict:-no verdict}" ;;
esac
