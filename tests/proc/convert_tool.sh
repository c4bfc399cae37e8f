#!/bin/bash
# `holdfast convert`: a WAL database keeps every row, a used one is left alone, byte for byte, and everything
# that cannot be converted is refused with exit code 3 and one sentence.
set -u
convert() { timeout 60 "$HF_BUILD/holdfast" convert "$@"; }
failures=0
fail() { echo "FAILED: $*"; failures=$((failures + 1)); }
# expect CODE TEXT ARGUMENT...
expect() {
  local want=$1 text=$2 out rc
  shift 2
  out=$(convert "$@" 2>&1)
  rc=$?
  [ $rc = "$want" ] || fail "$* gave $rc, not $want: $out"
  case $out in *"$text"*) ;; *) fail "$* does not say \"$text\": $out" ;; esac
}
mode_of() { od -An -tu1 -j18 -N2 "$1" | tr -d ' \n'; }

# A crashed writer: all rows are in the -wal only.
sqlite3 crashed.db 'PRAGMA journal_mode=WAL; CREATE TABLE t(x)' >/dev/null
coproc sqlite3 crashed.db
writer=$COPROC_PID
cat >&"${COPROC[1]}" <<'S'
PRAGMA wal_autocheckpoint=0;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<1000) INSERT INTO t SELECT i FROM n;
.print ready
S
read -r -t 20 -u "${COPROC[0]}" line # the PRAGMA's own answer
read -r -t 20 -u "${COPROC[0]}" line
[ "$line" = ready ] || fail "the writer says: $line"

# It still lives: refused, nothing changed.
before=$(cat crashed.db crashed.db-wal | sha256sum)
expect 3 "not known yet" --wait 0 crashed.db
SECONDS=0
expect 3 "" --wait 1 crashed.db
[ $SECONDS -le 10 ] || fail "--wait 1 took $SECONDS s"
[ "$before" = "$(cat crashed.db crashed.db-wal | sha256sum)" ] || fail "a refused conversion changed the files"

kill -9 "$writer"
wait "$writer" 2>/dev/null
[ -s crashed.db-wal ] || fail "no -wal to recover: the test tests nothing"
expect 0 "" crashed.db
[ "$(mode_of crashed.db)" = 11 ] || fail "the header still says WAL: $(mode_of crashed.db)"
[ ! -e crashed.db-wal ] || fail "a -wal is left"
[ "$(sqlite3 crashed.db 'SELECT count(*), sum(x) FROM t; PRAGMA integrity_check')" = "1000|500500"$'\n'ok ] ||
  fail "rows are missing"
expect 0 "nothing to do" crashed.db

# JSON, for a name that needs escapes
name=$'a"b\\\xff.db'
sqlite3 "$name" 'PRAGMA journal_mode=WAL; CREATE TABLE t(x)' >/dev/null
convert --json "$name" >answer.json || fail "--json: exit code $?"
python3 -c '
import json
d = json.load(open("answer.json", encoding="utf-8", errors="strict"))
assert d["verdict"] == "ok" and d["code"] == 0 and d["path"] == "a\"b\\\ufffd.db" and d["reason"], d' || fail "JSON"
convert --json no/such.db >answer.json
[ $? = 3 ] || fail "--json of a missing database"
python3 -c '
import json
d = json.load(open("answer.json"))
assert d["verdict"] == "failed" and d["code"] == 14, d' || fail "JSON of a refusal: $(cat answer.json)"

# Through a link; by somebody who may not write
sqlite3 target.db 'PRAGMA journal_mode=WAL; CREATE TABLE t(x)' >/dev/null
ln -s target.db link.db
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
  public=$(mktemp -d "${TMPDIR:-/tmp}/holdfast-other.XXXXXX") || exit 1
  trap 'rm -rf "$public"' EXIT
  chmod 755 "$public"
  cp "$HF_BUILD/holdfast" "$public/tool"
  cp target.db "$public/a.db"
  chmod 644 "$public/a.db"
  setpriv --reuid 65534 --regid 65534 --clear-groups "$public/tool" convert "$public/a.db" 2>other.text
  [ $? = 3 ] && grep -q "cannot be written" other.text || fail "another user: $(cat other.text)"
  cmp target.db "$public/a.db" || fail "a refused conversion changed the file"
else
  echo "note: not root, so a file of somebody else was not tried"
fi
expect 0 "converted" link.db
[ -L link.db ] && [ "$(mode_of target.db)" = 11 ] || fail "the file behind the link was not converted"

# What cannot be converted
printf '%0200d' 1 >text.db
: >empty.db
mkdir directory
expect 3 "not a database" text.db
expect 3 "No such file" no-such.db
[ ! -e no-such.db ] || fail "convert made a database"
expect 3 "not a regular file" directory
expect 0 "" empty.db
[ ! -s empty.db ] || fail "convert wrote into an empty file"
expect 3 "5000 bytes" "$(printf '%05000d' 0)"
mkfifo fifo
expect 3 "not a regular file" fifo

# Usage
expect 64 "one database"
expect 64 "one database" ''
expect 64 "one database" a b
expect 64 "--wait wants" --wait -1 a
expect 64 "--wait wants" --wait x a
expect 64 "--nonsense" --nonsense a
expect 0 "--wait SECONDS" --help

[ $failures = 0 ] && echo "all as expected"
exit $((failures > 0))
