#!/bin/bash
# `holdfast doctor` on a local disk: what it says about databases and about what is none, its exit codes, its
# JSON for names of any bytes, and that it leaves every file as it was.
set -u
doctor() { "$HF_BUILD/holdfast" doctor "$@"; }
failures=0
fail() { echo "FAILED: $*"; failures=$((failures + 1)); }

# expect CODE TEXT COMMAND...: the exit code, and a text (fixed) in the output
expect() {
  local want=$1 text=$2 out rc
  shift 2
  out=$("$@" 2>&1)
  rc=$?
  [ $rc = "$want" ] || fail "$* gave $rc, not $want: $out"
  case $out in *"$text"*) ;; *) fail "$* does not say \"$text\": $out" ;; esac
}
# json CODE EXPRESSION ARGS...: a Python expression over the object d
json() {
  local want=$1 what=$2 rc
  shift 2
  doctor --json "$@" >answer.json
  rc=$?
  [ $rc = "$want" ] || fail "--json $* gave $rc, not $want"
  so "$what" answer.json || fail "--json $*: not so: $what"$'\n'"$(cat answer.json)"
}
# so EXPRESSION FILE...: true for each file's object d
so() {
  python3 -c '
import json, sys
for name in sys.argv[2:]:
    d = json.load(open(name, encoding="utf-8", errors="strict"))
    if not eval(sys.argv[1]):
        sys.exit(f"{name}: not so")
' "$@"
}

mkdir place
# Not every checkout lies on a local disk: what is right for the place is right for each file in it.
doctor place >/dev/null
good=$?
[ $good -le 1 ] || fail "the working directory is no place for a test: exit code $good"

# -- databases
sqlite3 place/rollback.db 'CREATE TABLE t(x); INSERT INTO t VALUES(1);'
sqlite3 place/wal.db 'PRAGMA page_size=1024; PRAGMA journal_mode=WAL; CREATE TABLE t(x);' >/dev/null
: >place/empty.db
json $good 'd["journal"]["mode"] == "rollback" and d["kind"] == "file" and d["journal"]["wal_size"] is None' place/rollback.db
json $good 'd["journal"]["mode"] == "wal" and d["journal"]["page_size"] == 1024' place/wal.db
json $good 'd["journal"]["mode"] == "empty"' place/empty.db
json $good 'd["kind"] == "new" and d["journal"] is None' place/new.db
json $good 'd["kind"] == "directory"' place
json $good 'd["selftest"]["result"] == "passed" and len(d["selftest"]["steps"]) == 12' place/rollback.db
json $good 'd["selftest"]["result"] == "not-run" and "steps" not in d["selftest"]' --no-probe place/rollback.db
json $good 'd["sqlite_version"].startswith("3.") and isinstance(d["known_bugs"], list) and isinstance(d["advice"], list)' place
json $good 'all(k in d for k in "path verdict rule class shm locks durable scope confidence fstype source options mount_point reason".split())' place
[ -e place/new.db ] && fail "doctor made the database"

# -- WAL with rows in it, held by another process; a hot journal
coproc sqlite3 place/wal.db
printf 'INSERT INTO t VALUES(1);\n.print ready\n' >&"${COPROC[1]}"
read -r -t 20 -u "${COPROC[0]}" line
[ "$line" = ready ] || fail "the other process says: $line"
json $good 'd["journal"]["wal_size"] > 0 and d["journal"]["shm_size"] == 32768' place/wal.db
expect $good "rows may be in the -wal only" doctor place/wal.db
sqlite3 place/wal.db 'SELECT count(*) FROM t' | grep -qx 1 || fail "the other process lost its row"
eval "exec ${COPROC[1]}>&-"
wait
printf '\xd9\xd5\x05\xf9\x20\xa1\x63\xd7' >place/rollback.db-journal
json $good 'd["journal"]["hot_possible"] is True and d["journal"]["journal_size"] == 8' place/rollback.db
printf '\0\0\0\0\0\0\0\0' >place/rollback.db-journal
json $good 'd["journal"]["hot_possible"] is False' place/rollback.db
rm place/rollback.db-journal

# -- links lead to the place that counts
ln -s place/rollback.db link.db
ln -s loop loop
json $good 'd["resolved"].endswith("/place/rollback.db") and d["path"] == "link.db"' link.db
json $good 'd["resolved"].endswith("/place/rollback.db")' place/../place//./rollback.db
expect 3 "Too many levels of symbolic links" doctor loop

# -- what is no database
printf 'not a database, but longer than a header of one hundred bytes, which is the least that SQLite looks at: %0200d' 1 >place/text.db
expect 1 "not a plain SQLite database" doctor place/text.db
printf 'SQLite format 3' >place/short.db
expect 1 "not a plain SQLite database" doctor place/short.db
mkfifo place/fifo
expect 3 "it is a FIFO" timeout 20 "$HF_BUILD/holdfast" doctor place/fifo
expect 3 "it is a character device" doctor /dev/null
expect 3 "No such file or directory" doctor no/such/dir/x.db
expect 3 "Not a directory" doctor place/text.db/x.db
expect 2 "refuse" doctor /proc
long=$(printf '%05000d' 0)
expect 3 "File name too long" doctor "$long"
expect 3 "File name too long" doctor "place/${long:0:300}"
json 3 'd["verdict"] == "failed" and d["rule"] is None and len(d["path"]) == 5000' "$long"
name=${long:0:250}
: >"place/$name"
json $good 'd["selftest"]["result"] == "passed"' "place/$name"

# -- usage
expect 64 "takes one path" doctor
expect 64 "takes one path" doctor ''
expect 64 "takes one path" doctor a b
expect 64 "--timeout wants" doctor --timeout 0 place
expect 64 "--timeout wants" doctor --timeout 1x place
expect 64 "--nonsense" doctor --nonsense place
expect 64 "no such command" "$HF_BUILD/holdfast" nonsense
expect 64 "which command" "$HF_BUILD/holdfast"
expect 0 "Exit codes" doctor --help
expect 0 "holdfast doctor" "$HF_BUILD/holdfast" help
expect 0 "--no-probe" "$HF_BUILD/holdfast" help doctor
expect 0 "$(cat "$HF_SOURCE/VERSION")" "$HF_BUILD/holdfast" --version
expect $good "database" doctor -- place/rollback.db
doctor place >/dev/full 2>/dev/null
[ $? = 3 ] || fail "a full disk behind the output is not noticed"

# -- names of any bytes: the JSON stays valid, the text sends no control character to a terminal
for byte in $(seq 1 255); do
  [ "$byte" = 47 ] && continue
  name=$(printf "place/n\\x$(printf %02x "$byte")x")
  doctor --json --no-probe "$name" >"byte-$byte.json"
  [ $? = $good ] || fail "byte $byte"
done
so 'd["path"].startswith("place/n") and len(d["path"]) in (8, 9)' byte-*.json || fail "no valid JSON"
[ "$(ls byte-*.json | wc -l)" = 254 ] || fail "not every byte was tried"
json $good 'd["path"] == "place/a\"b\\c\té\ufffd\U0001f600.db"' --no-probe $'place/a"b\\c\t\xc3\xa9\xff\xf0\x9f\x98\x80.db'
doctor --no-probe $'place/\033[31mred' | LC_ALL=C grep -q $'\033' && fail "an escape sequence reached the output"

# -- not allowed to: as another user, in a directory that this user can reach
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
  public=$(mktemp -d "${TMPDIR:-/tmp}/holdfast-other.XXXXXX") || exit 1
  trap 'rm -rf "$public"' EXIT
  chmod 755 "$public"
  cp "$HF_BUILD/holdfast" "$public/tool"
  sqlite3 "$public/a.db" 'CREATE TABLE t(x)'
  other() { setpriv --reuid 65534 --regid 65534 --clear-groups "$public/tool" doctor "$@"; }
  expect 1 "no file could be made here: Permission denied" other "$public"
  expect 1 "no file could be made here: Permission denied" other "$public/new.db"
  chmod 600 "$public/a.db"
  expect 1 "cannot be read: Permission denied" other "$public/a.db"
  mkdir "$public/closed"
  chmod 700 "$public/closed"
  expect 3 "Permission denied" other "$public/closed/a.db"
  [ -z "$(find "$public" -name '*hfprobe*')" ] || fail "left behind: $(ls "$public")"
else
  echo "note: not root, so another user's refusals were not tried"
fi

# -- nothing is left behind
left=$(find . -name '*hfprobe*')
[ -z "$left" ] || fail "left behind: $left"
[ $failures = 0 ] && echo "all as expected"
exit $((failures > 0))
