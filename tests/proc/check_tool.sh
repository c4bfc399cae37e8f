#!/bin/bash
# `holdfast check`: verdicts, exit codes, JSON; and not a byte of the database or its -wal changes, whatever lies
# there: a live writer, a crashed one with its -wal and no -shm, a hot journal, a directory that may not be written.
set -u
check() { timeout 60 "$HF_BUILD/holdfast" check "$@"; }
failures=0
fail() { echo "FAILED: $*"; failures=$((failures + 1)); }
# expect CODE TEXT ARGUMENT...
expect() {
  local want=$1 text=$2 out rc
  shift 2
  out=$(check "$@" 2>&1)
  rc=$?
  [ $rc = "$want" ] || fail "$* gave $rc, not $want: $out"
  case $out in *"$text"*) ;; *) fail "$* does not say \"$text\": $out" ;; esac
}
print_of() { cat "$1" "$1-wal" "$1-journal" 2>/dev/null | sha256sum; }
# unchanged CODE TEXT DB: checked in every way, the files stay as they are.
unchanged() {
  local before way
  before=$(print_of "$3")
  for way in '' --full --fk --fts; do
    # shellcheck disable=SC2086 # no option is no argument
    expect "$1" "$2" $way "$3"
  done
  [ "$before" = "$(print_of "$3")" ] || fail "the files of $3 changed"
}
fill='WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<3000)
      INSERT INTO t SELECT i, hex(randomblob(20)) FROM n;'
table='CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT); CREATE INDEX tv ON t(v);'

# -- whole
sqlite3 good.db "$table $fill"
unchanged 0 "good.db: ok" good.db
: >empty.db
unchanged 0 "ok" empty.db
[ ! -s empty.db ] || fail "something was written into an empty file"

# -- damaged: found, twice the same answer, exit code 2, the file as it was
cp good.db bad.db
head -c 4096 /dev/urandom | dd of=bad.db bs=4096 seek=20 conv=notrunc 2>/dev/null
before=$(print_of bad.db)
expect 2 "bad.db: damaged" bad.db
expect 2 "holdfast salvage" --full bad.db
[ "$before" = "$(print_of bad.db)" ] || fail "a damaged file was changed"
sqlite3 index.db "$table $fill
  PRAGMA writable_schema=ON; DELETE FROM sqlite_master WHERE name='tv'" >root 2>&1
root=$(sqlite3 good.db "SELECT rootpage FROM sqlite_master WHERE name='tv'")
sqlite3 index.db "INSERT INTO t VALUES(5000,'new'); PRAGMA writable_schema=ON;
  INSERT INTO sqlite_master VALUES('index','tv','t',$root,'CREATE INDEX tv ON t(v)')"
expect 0 "ok" index.db
expect 2 "missing from index tv" --full index.db

# -- whole, but rows break a rule
sqlite3 rule.db "CREATE TABLE t(a); INSERT INTO t VALUES(NULL);
  PRAGMA writable_schema=ON; UPDATE sqlite_master SET sql='CREATE TABLE t(a NOT NULL)'"
expect 1 "constraint: NULL value in t.a" --full rule.db
sqlite3 fk.db "CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE c(p REFERENCES p); INSERT INTO c VALUES(7)"
expect 0 "ok" --full fk.db
expect 2 "refers to a row of p that is not there" --fk fk.db
if sqlite3 fts.db "CREATE VIRTUAL TABLE f USING fts5(x); INSERT INTO f VALUES('one two three')" 2>/dev/null; then
  expect 0 "ok" --fts fts.db
  sqlite3 fts.db "DELETE FROM f_data WHERE id > 10"
  before=$(print_of fts.db)
  expect 2 "damaged" --fts fts.db
  [ "$before" = "$(print_of fts.db)" ] || fail "the check of an FTS table changed the file"
fi

# -- not checked
sqlite3 new.db "CREATE TABLE t(a); PRAGMA writable_schema=ON; UPDATE sqlite_master SET sql='CREATE TABLE t(a) FROM THE FUTURE'"
expect 1 "not_checked (schema)" new.db
head -c 9000 /dev/urandom >noise
expect 1 "not_checked (not-sqlite)" noise
expect 3 "unable to open" no-such.db
[ ! -e no-such.db ] || fail "check made a database"
mkdir directory
expect 3 "" directory

# -- a writer that lives, and one that crashed: everything in the -wal, no -shm
sqlite3 crashed.db "PRAGMA journal_mode=WAL; $table" >/dev/null
coproc sqlite3 crashed.db
writer=$COPROC_PID
printf 'PRAGMA wal_autocheckpoint=0;\n%s\n.print ready\n' "$fill" >&"${COPROC[1]}"
while read -r -t 20 -u "${COPROC[0]}" line && [ "$line" != ready ]; do :; done
unchanged 0 "ok" crashed.db
cp crashed.db crashed.db-wal keep/ 2>/dev/null || { mkdir keep && cp crashed.db crashed.db-wal keep/; }
kill -9 "$writer"
wait "$writer" 2>/dev/null
[ -s keep/crashed.db-wal ] || fail "no -wal: the test tests nothing"
unchanged 0 "ok" keep/crashed.db
cmp -s crashed.db-wal keep/crashed.db-wal || fail "the -wal was changed"

# -- a hot journal: it would have to be played back, so it is not checked
sqlite3 hot.db "$table $fill"
coproc sqlite3 hot.db
writer=$COPROC_PID
printf 'PRAGMA cache_size=2; BEGIN; UPDATE t SET v=id;\n.print ready\n' >&"${COPROC[1]}"
while read -r -t 20 -u "${COPROC[0]}" line && [ "$line" != ready ]; do :; done
kill -9 "$writer"
wait "$writer" 2>/dev/null
[ -s hot.db-journal ] || fail "no journal: the test tests nothing"
before=$(print_of hot.db)
expect 1 "read-only" hot.db
expect 1 "read-only" --full hot.db
[ "$before" = "$(print_of hot.db)" ] || fail "a hot journal was played back"

# -- nobody may write there
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
  public=$(mktemp -d "${TMPDIR:-/tmp}/holdfast-other.XXXXXX") || exit 1
  trap 'rm -rf "$public"' EXIT
  mkdir "$public/ro"
  cp "$HF_BUILD/holdfast" "$public/tool"
  cp good.db "$public/ro/good.db"
  sqlite3 "$public/ro/wal.db" "PRAGMA journal_mode=WAL; $table $fill" >/dev/null
  chmod 644 "$public/ro/"*
  chmod 555 "$public/ro"
  chmod 755 "$public"
  as_other() { setpriv --reuid 65534 --regid 65534 --clear-groups timeout 60 "$public/tool" check "$@"; }
  as_other "$public/ro/good.db" >other.text || fail "a read-only file: $(cat other.text)"
  as_other "$public/ro/wal.db" >other.text
  rc=$?
  [ $rc = 1 ] && grep -q not_checked other.text || fail "a WAL database that may not be written, $rc: $(cat other.text)"
  [ "$(find "$public/ro" -type f | wc -l)" = 2 ] || fail "a file was made in a read-only directory"
else
  echo "note: not root, so a directory that may not be written was not tried"
fi

# -- JSON, for a name that needs escapes
name=$'a"b\\\xff.db'
cp bad.db "$name"
check --full --json "$name" >answer.json
[ $? = 2 ] || fail "--json: exit code $?"
python3 -c '
import json
d = json.load(open("answer.json", encoding="utf-8", errors="strict"))
assert d["verdict"] == "damaged" and d["kind"] == "full" and d["path"] == "a\"b\\\ufffd.db", d
assert d["findings"] and d["findings"][0]["finding"] == "structure" and d["text"] and d["reason"] is None, d' || fail "JSON"
check --json no/such.db >answer.json
[ $? = 3 ] || fail "--json of a missing database"
python3 -c 'import json; assert json.load(open("answer.json"))["verdict"] == "failed"' || fail "JSON: $(cat answer.json)"

# -- usage
expect 64 "one database"
expect 64 "one database" a b
expect 64 "one of --full" --full --fk a
expect 64 "--budget wants" --budget 0 a
expect 64 "--nonsense" --nonsense a
expect 0 "--full" --help

[ $failures = 0 ] && echo "all as expected"
exit $((failures > 0))
