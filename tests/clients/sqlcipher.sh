#!/bin/bash
# sqlcipher 3.4.1: SQLite 3.15.2 in a library of its own, and files that only look like noise.
# shellcheck source=lib.sh disable=SC1091,SC2154
. "$HF_SOURCE/tests/clients/lib.sh" || exit 1

need sqlcipher

client() {
  local path=$1 load=()
  [ $# -gt 1 ] && load=(-cmd ".load $2")
  ask() { sqlcipher -batch -bail "${load[@]}" -cmd ".open $path" :memory: "$1"; }
  echo "sqlite=$(ask 'SELECT sqlite_version()')"
  echo "holdfast=$(ask 'PRAGMA holdfast')"
  echo "journal_mode=$(ask 'PRAGMA journal_mode=WAL')"
  ask "CREATE TABLE IF NOT EXISTS t(x); BEGIN;
       WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 100) INSERT INTO t SELECT x FROM n;
       COMMIT; SELECT 'rows=' || count(*) || ' sum=' || sum(x) FROM t"
}
export -f client
round_trip bash -c 'client "$@"' client

# An encrypted database: WAL does not start on a network, and one that is in WAL mode already is left as it is,
# because the shim cannot read its header.
keyed() { sqlcipher -batch -cmd ".load $extension" -cmd ".open $1" :memory: "PRAGMA key='k'; $2" 2>&1; }
same "encrypted" "$(HOLDFAST_ASSUME=network keyed secret.db 'PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES(7); SELECT x FROM t' | tr '\n' ' ')" "delete 7 "
same "encrypted, read again" "$(HOLDFAST_ASSUME=network keyed secret.db 'SELECT x FROM t')" 7
same "encrypted, now in WAL mode" "$(HOLDFAST_ASSUME=local keyed secret.db 'PRAGMA journal_mode=WAL; INSERT INTO t VALUES(8)')" wal
before=$(cksum <secret.db)
same "encrypted WAL database on a network" "$(HOLDFAST_ASSUME=network HOLDFAST_LOG=none keyed secret.db 'SELECT x FROM t')" "*rror*"
same "the file afterwards" "$(cksum <secret.db)" "$before"
same "encrypted, local again" "$(HOLDFAST_ASSUME=local keyed secret.db 'SELECT sum(x) FROM t')" 15
finish
