#!/bin/bash
# The sqlite3 command. A database on its command line is open before -cmd is read, so .open comes after .load.
# shellcheck source=lib.sh disable=SC1091,SC2154
. "$HF_SOURCE/tests/clients/lib.sh" || exit 1

need sqlite3

client() {
  local path=$1 load=()
  [ $# -gt 1 ] && load=(-cmd ".load $2")
  ask() { sqlite3 -batch -bail "${load[@]}" -cmd ".open $path" :memory: "$1"; }
  echo "sqlite=$(ask 'SELECT sqlite_version()')"
  echo "holdfast=$(ask 'PRAGMA holdfast')"
  echo "journal_mode=$(ask 'PRAGMA journal_mode=WAL')"
  ask "CREATE TABLE IF NOT EXISTS t(x); BEGIN;
       WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 100) INSERT INTO t SELECT x FROM n;
       COMMIT; SELECT 'rows=' || count(*) || ' sum=' || sum(x) FROM t"
}
export -f client
round_trip bash -c 'client "$@"' client

# What only this program can show.
ask() { sqlite3 -batch -cmd ".load $extension" -cmd ".open $1" :memory: "${@:2}" 2>&1; }
same "the VFS's name" "$(ask name.db 'CREATE TABLE t(x)' .vfsname)" "holdfast/unix"
same ":memory: is never covered" "$(ask :memory: 'PRAGMA holdfast')" ""
same "a URI picks another VFS" "$(ask 'file:name.db?vfs=unix' 'PRAGMA holdfast')" ""
same "an attached database is covered" "$(ask :memory: "ATTACH 'name.db' AS a; PRAGMA a.holdfast")" "holdfast 0.*"
same "the table of mounts" "$(ask name.db 'SELECT count(*) FROM holdfast_mount')" 1

# The switches of HOLDFAST_MODE, on a database that would be kept out of WAL mode.
export HOLDFAST_ASSUME=network
same "enforce" "$(HOLDFAST_LOG=none ask enforce.db 'PRAGMA journal_mode=WAL')" delete
same "observe" "$(HOLDFAST_MODE=observe HOLDFAST_LOG=none ask observe.db 'PRAGMA journal_mode=WAL; SELECT kind FROM holdfast_events' | tr '\n' ' ')" "wal warned "
same "off" "$(HOLDFAST_MODE=off ask off.db 'PRAGMA journal_mode=WAL; PRAGMA holdfast')" wal
same "a mode that does not exist" "$(HOLDFAST_MODE=nonsense ask none.db 'SELECT 1')" "Error*nonsense*"
finish
