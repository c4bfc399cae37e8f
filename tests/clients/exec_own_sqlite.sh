#!/bin/bash
# `holdfast exec` with programs that bring a SQLite of their own, its symbols hidden or under another name:
# Node packages (alone and two in one process), RSQLite, sqlcipher. Each first runs as it is.
# shellcheck source=lib.sh disable=SC1091,SC2154
. "$HF_SOURCE/tests/clients/lib.sh" || exit 1
ran=0

if command -v node >/dev/null && packages=$("$HF_SOURCE/tools/fetch-node-packages.sh"); then
  ran=1
  export NODE_PATH=$packages/node_modules
  program=$HF_SOURCE/tests/clients/programs/roundtrip.cjs
  for name in libsql @photostructure/sqlite; do
    exec_trip node "$program" "$name"
  done
  out=$(timeout 60 "$tool" exec --assume network --report -- node "$program" libsql,@photostructure/sqlite both.db 2>report) ||
    fail "both in one process: ended with an error"
  same "both in one process: PRAGMA holdfast" "$(grep -c '^holdfast=holdfast .* rollback-only' <<<"$out")" 2
  same "both in one process: report" "$(cat report)" \
    "holdfast: report: node (pid *): 2 connections to 2 databases under holdfast; SQLite 3.* in */index.node, SQLite 3.* in *.node"
else
  echo "left out: ${packages:-no node here}"
fi

if command -v Rscript >/dev/null && Rscript -e 'library(RSQLite)' >/dev/null 2>&1; then
  ran=1
  cat >roundtrip.R <<'R'
suppressMessages({library(DBI); library(RSQLite)})
db <- dbConnect(SQLite(), commandArgs(TRUE)[1])
one <- function(sql) { rows <- suppressWarnings(dbGetQuery(db, sql)); if (nrow(rows)) rows[[1]][1] else "" }
cat("sqlite=", one("SELECT sqlite_version()"), "\nholdfast=", one("PRAGMA holdfast"), "\njournal_mode=", one("PRAGMA journal_mode=WAL"), "\n", sep="")
none <- dbExecute(db, "CREATE TABLE IF NOT EXISTS t(x)")
none <- dbWithTransaction(db, for (x in 1:100) dbExecute(db, "INSERT INTO t VALUES(?)", list(x)))
cat("rows=", one("SELECT count(*) FROM t"), " sum=", one("SELECT sum(x) FROM t"), "\n", sep="")
dbDisconnect(db)
R
  exec_trip Rscript roundtrip.R
else
  echo "left out: R or RSQLite is not here"
fi

if command -v sqlcipher >/dev/null; then
  ran=1
  same "sqlcipher, as it is" "$(sqlcipher plain.db 'PRAGMA holdfast')" ""
  same "sqlcipher, exec" "$(HOLDFAST_ASSUME=network timeout 60 "$tool" exec -- sqlcipher e.db \
    "PRAGMA key='k'; CREATE TABLE t(x); INSERT INTO t VALUES(7); PRAGMA holdfast; PRAGMA journal_mode=WAL; SELECT x FROM t" | tr '\n' ' ')" \
    "*holdfast 0* rollback-only network *delete 7 "
  same "sqlcipher reads it" "$(sqlcipher e.db "PRAGMA key='k'; SELECT x FROM t" | tail -n 1)" 7
else
  echo "left out: no sqlcipher here"
fi
[ $ran = 1 ] || skip "none of these programs is here"
finish
