#!/bin/bash
# `holdfast salvage`: everything of a whole database arrives, of a damaged one all but what was hit; the account is
# right; the damaged files are not touched. HF_LONG=1: 600 random damages instead of 12.
set -u
salvage() { timeout 120 "$HF_BUILD/holdfast" salvage "$@"; }
failures=0
fail() { echo "FAILED: $*"; failures=$((failures + 1)); }
seed=${HF_SEED:-$RANDOM}
echo "seed: HF_SEED=$seed"
RANDOM=$seed
print_of() { cat "$1" "$1-wal" "$1-journal" 2>/dev/null | sha256sum; }
# damage DB PAGE: random bytes over one page
damage() { head -c 4096 /dev/urandom | dd of="$1" bs=4096 seek=$(($2 - 1)) conv=notrunc 2>/dev/null; }
# salvaged CODE TEXT DB NEW: exit code, something in the account, DB as it was, NEW whole, no copy left
salvaged() {
  local before out rc
  before=$(print_of "$3")
  out=$(salvage "$3" "$4" 2>&1)
  rc=$?
  [ $rc = "$1" ] || fail "$3: exit code $rc, not $1: $out"
  case $out in *"$2"*) ;; *) fail "$3 does not say \"$2\": $out" ;; esac
  [ "$before" = "$(print_of "$3")" ] || fail "$3 was changed"
  [ "$rc" = 3 ] || [ "$(sqlite3 "$4" 'PRAGMA integrity_check')" = ok ] || fail "$4 is not whole"
  ls "$4"-salvage* >/dev/null 2>&1 && fail "a copy was left beside $4"
}
questions=(
  "SELECT count(*), sum(id), sum(length(v)), sum(n), sum(g), sum(h), sum(r), sum(late = 'dflt'), sum(typeof(r) = 'real') FROM t"
  "SELECT count(*), sum(x), sum(length(y)), min(k), max(k) FROM w"
  "SELECT count(*), sum(length(b)), max(hex(b)) FROM au" "SELECT * FROM sqlite_sequence" "SELECT count(*) FROM vv"
  "SELECT type, name, sql FROM sqlite_master WHERE name <> 'lost_and_found' ORDER BY 1, 2"
  "PRAGMA encoding" "PRAGMA user_version")
same() {
  local q a b
  for q in "${questions[@]}"; do
    a=$(sqlite3 "$1" "$q" 2>&1)
    b=$(sqlite3 "$2" "$q" 2>&1)
    [ "$a" = "$b" ] || fail "$1 and $2 differ: $q: ${a:0:200} / ${b:0:200}"
  done
}
make() { # DB FIRST_PRAGMAS
  sqlite3 "$1" "$2; CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT, n INT DEFAULT 7, g AS (n*2), h AS (n*3) STORED, r REAL);
    CREATE INDEX tv ON t(v); CREATE TABLE au(id INTEGER PRIMARY KEY AUTOINCREMENT, b);
    CREATE TABLE w(k TEXT, x INT, y BLOB, PRIMARY KEY(x, k)) WITHOUT ROWID; CREATE VIEW vv AS SELECT v FROM t;
    CREATE TRIGGER tr AFTER INSERT ON au BEGIN DELETE FROM w WHERE x = -1; END;
    CREATE TABLE c(a, b); CREATE UNIQUE INDEX cab ON c(a, b); CREATE TABLE gone(a);
    WITH RECURSIVE i(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM i WHERE x < 2500)
      INSERT INTO t(id, v, n, r) SELECT x, hex(randomblob(30)), x, x * 1.0 FROM i;
    INSERT INTO w SELECT 'k' || id, id % 50, randomblob(id % 7 * 500) FROM t WHERE id < 500;
    INSERT INTO au(b) SELECT randomblob(5000) FROM t LIMIT 30; INSERT INTO c SELECT n, v FROM t;
    ALTER TABLE t ADD COLUMN late TEXT DEFAULT 'dflt'; INSERT INTO gone SELECT v FROM t; DROP TABLE gone" >/dev/null
}

# -- a whole database, in each encoding and journal mode
for pragma in "PRAGMA encoding='UTF-8'" "PRAGMA encoding='UTF-16le'" "PRAGMA encoding='UTF-16be'" "PRAGMA page_size=512" \
  "PRAGMA page_size=65536" "PRAGMA journal_mode=WAL" "PRAGMA auto_vacuum=FULL"; do
  rm -f a.db* b.db
  make a.db "$pragma"
  salvaged 0 "Everything was there" a.db b.db
  same a.db b.db
done
rm -f good.db*
make good.db ""

# -- a name that exists, one that does not, what is no database
salvaged 3 "exists already" good.db b.db
salvaged 3 "No such file" no-such.db new.db
printf x >text.db
salvaged 3 "too small" text.db new.db
[ ! -e new.db ] || fail "a failure left a new database"

# -- the header gone: page size and schema are found
cp good.db d.db
dd if=/dev/zero of=d.db bs=100 count=1 conv=notrunc 2>/dev/null
rm -f n.db
salvaged 1 "page size 4096 was found" d.db n.db
same good.db n.db
# -- the root of a table gone: its rows have no parent, and one table only can have lost them
cp good.db d.db
damage d.db "$(sqlite3 good.db "SELECT rootpage FROM sqlite_master WHERE name = 't'")"
rm -f n.db
salvaged 1 "2500 of them from pages without a parent" d.db n.db
same good.db n.db
# -- a freelist in a circle, an index gone: nothing is missing
cp good.db d.db
trunk=$(od -An -tu4 --endian=big -j32 -N4 d.db | tr -d ' ')
dd if=d.db bs=1 skip=32 count=4 2>/dev/null | dd of=d.db bs=1 seek=$(((trunk - 1) * 4096)) conv=notrunc 2>/dev/null
damage d.db "$(sqlite3 good.db "SELECT rootpage FROM sqlite_master WHERE name = 'tv'")"
rm -f n.db
salvaged 0 "Everything was there" d.db n.db
same good.db n.db
# -- a leaf of c gone: the unique index has all columns, so its rows are whole again
cp good.db d.db
page=$(sqlite3 good.db "SELECT max(pageno) FROM dbstat WHERE name = 'c' AND pagetype = 'leaf'" 2>/dev/null)
if [ -n "$page" ]; then
  damage d.db "$page"
  rm -f n.db
  salvaged 1 "of them from an index" d.db n.db
  [ "$(sqlite3 good.db 'SELECT count(*), sum(a), max(b) FROM c')" = "$(sqlite3 n.db 'SELECT count(*), sum(a), max(b) FROM c')" ] ||
    fail "rows that an index has were not saved"
fi
# -- cut off
cp good.db d.db
truncate -s 300000 d.db
rm -f n.db
salvaged 1 "pages lost" d.db n.db
# -- a hot journal: its half transaction is rolled back in the copy only
cp good.db hot.db
coproc sqlite3 hot.db
writer=$COPROC_PID
printf 'PRAGMA cache_size=2; BEGIN; UPDATE t SET v=id;\n.print ready\n' >&"${COPROC[1]}"
while read -r -t 20 -u "${COPROC[0]}" line && [ "$line" != ready ]; do :; done
kill -9 "$writer"
wait "$writer" 2>/dev/null
[ -s hot.db-journal ] || fail "no journal: the test tests nothing"
rm -f n.db
salvaged 0 "Everything was there" hot.db n.db
same good.db n.db
# -- rows that are only in the -wal of a crashed writer
sqlite3 wal.db 'PRAGMA journal_mode=WAL; CREATE TABLE t(x)' >/dev/null
coproc sqlite3 wal.db
writer=$COPROC_PID
printf 'PRAGMA wal_autocheckpoint=0; INSERT INTO t SELECT 5;\n.print ready\n' >&"${COPROC[1]}"
while read -r -t 20 -u "${COPROC[0]}" line && [ "$line" != ready ]; do :; done
kill -9 "$writer"
wait "$writer" 2>/dev/null
rm -f n.db
salvaged 0 "1 rows  t" wal.db n.db
[ "$(sqlite3 n.db 'SELECT x FROM t')" = 5 ] || fail "a row of the -wal is missing"

# -- a page that claims more cells than can be on it: the account tells of one page, not of 30,000 rows
python3 - <<'P'
pages = bytearray(open("good.db", "rb").read())
leaf = next(at for at in range(4096, len(pages), 4096) if pages[at] == 13 and pages[at + 3:at + 5] > b"\0\x10")
pages[leaf + 3:leaf + 5] = b"zz"
open("cells.db", "wb").write(pages)
P
rm -f n.db
salvaged 1 " 1 pages lost" cells.db n.db
[ "$(sqlite3 n.db 'PRAGMA integrity_check; SELECT count(*) FROM t')" = "ok
2500" ] || fail "cells: $(sqlite3 n.db 'SELECT count(*) FROM t') rows"

# -- damage anywhere: it comes to an end, and no row is invented
rounds=12
[ -z "${HF_LONG:-}" ] || rounds=600
pages=$(($(stat -c %s good.db) / 4096)) kept=0
for ((i = 0; i < rounds; i++)); do
  cp good.db d.db
  for ((k = 0; k <= RANDOM % 4; k++)); do damage d.db $((1 + RANDOM % pages)); done
  dd if=/dev/urandom of=d.db bs=1 count=$((1 + RANDOM % 20)) seek=$((RANDOM * 20 % (pages * 4096))) conv=notrunc 2>/dev/null
  rm -f n.db
  salvage d.db n.db >account 2>&1
  rc=$?
  [ $rc -le 1 ] || { [ $rc = 3 ] && [ ! -e n.db ]; } || fail "damage $i: exit code $rc: $(cat account)"
  [ $rc -le 1 ] || continue
  [ "$(sqlite3 n.db 'PRAGMA quick_check' 2>&1 | head -n 1)" = ok ] || fail "damage $i: the new database is not whole"
  kept=$((kept + $(sqlite3 n.db 'SELECT count(*) FROM t' 2>/dev/null || echo 0)))
  # A few bytes may have hit a row itself: that shows in no check, and in at most that many rows here.
  wrong=$(sqlite3 n.db "ATTACH 'good.db' AS g; SELECT count(*) FROM t LEFT JOIN g.t AS o USING(id) WHERE t.v IS NOT o.v OR t.n IS NOT o.n" 2>/dev/null || echo 0)
  [ "$wrong" -le 2 ] || fail "damage $i: $wrong rows are not those that were there"
done
echo "$rounds random damages: $((100 * kept / (rounds * 2500))) % of the rows of t were kept"

python3 - "$HF_BUILD/holdfast" <<'P' || fail "JSON"
import json, subprocess, sys
r = subprocess.run([sys.argv[1], "salvage", "--json", "good.db", "j.db"], capture_output=True)
d = json.loads(r.stdout)
assert r.returncode == 0 and d["verdict"] == "ok" and {t["name"]: t["rows_kept"] for t in d["tables"]}["t"] == 2500, d
P
salvage a 2>/dev/null
[ $? = 64 ] || fail "usage"

[ $failures = 0 ] && echo "all as expected"
exit $((failures > 0))
