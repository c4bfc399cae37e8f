#!/bin/bash
# `holdfast exec` with interpreters that share Debian's SQLite: programs that know nothing of holdfast. Each
# first runs as it is, which is the control.
# shellcheck source=lib.sh disable=SC1091,SC2154
. "$HF_SOURCE/tests/clients/lib.sh" || exit 1
programs=$HF_SOURCE/tests/clients/programs
ran=0

# has COMMAND...: does it run here? Says so when not.
has() {
  "$@" >/dev/null 2>&1 && { ran=$((ran + 1)); return 0; }
  echo "left out, not here: $*"
  return 1
}

# The shell of SQLite, as a child of a script: holdfast comes with the environment.
cat >shell.sh <<'SH'
echo "sqlite=$(sqlite3 "$1" 'SELECT sqlite_version()')"
echo "holdfast=$(sqlite3 "$1" 'PRAGMA holdfast')"
echo "journal_mode=$(sqlite3 "$1" 'PRAGMA journal_mode=WAL')"
sqlite3 "$1" 'CREATE TABLE IF NOT EXISTS t(x);
  WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c WHERE x<100) INSERT INTO t SELECT x FROM c;'
sqlite3 "$1" "SELECT 'rows=' || count(*) || ' sum=' || sum(x) FROM t"
SH
has sqlite3 --version && exec_trip sh shell.sh
for python in /usr/bin/python3 python3; do
  has $python -c 'import sqlite3' && exec_trip $python "$programs/roundtrip.py" sqlite3
  [ "$(command -v python3)" = /usr/bin/python3 ] && break # else there are two
done
has /usr/bin/python3 -c 'import apsw' && exec_trip /usr/bin/python3 "$programs/roundtrip.py" apsw
has perl -MDBD::SQLite -e 1 && exec_trip perl "$programs/roundtrip.pl"
has ruby -rsqlite3 -e 1 && exec_trip ruby "$programs/roundtrip.rb"
if has php -r 'exit(class_exists("SQLite3") && in_array("sqlite", PDO::getAvailableDrivers()) ? 0 : 1);'; then
  exec_trip php "$programs/roundtrip.php" sqlite3
  exec_trip php "$programs/roundtrip.php" pdo
fi
has sh -c 'echo "package require sqlite3" | tclsh' && exec_trip tclsh "$programs/roundtrip.tcl"
[ $ran -gt 0 ] || skip "none of these programs is here"

# F1 in a program that was not changed: it reads its own live file and closes it, which drops SQLite's locks.
cat >stray.py <<'PY'
import sqlite3, subprocess
db = sqlite3.connect("app.db", isolation_level=None, timeout=0)
db.execute("CREATE TABLE IF NOT EXISTS t(x)")
db.execute("BEGIN IMMEDIATE")
with open("app.db", "rb") as f:
    f.read(16)
other = subprocess.run(["sqlite3", "app.db", "INSERT INTO t VALUES('other')"], stderr=subprocess.DEVNULL)
print("second writer: " + ("in" if other.returncode == 0 else "kept out"))
PY
if has /usr/bin/python3 -c 'import sqlite3'; then
  export HOLDFAST_ASSUME=local
  same "a stray close, as it is" "$(timeout 30 /usr/bin/python3 stray.py)" "second writer: in"
  same "a stray close, exec" "$(timeout 30 "$tool" exec -- /usr/bin/python3 stray.py)" "second writer: kept out"
  same "a stray close, exec without children" "$(timeout 30 "$tool" exec --no-children -- /usr/bin/python3 stray.py)" "second writer: kept out"
  same "a stray close, exec, mode off" "$(timeout 30 "$tool" exec --mode off -- /usr/bin/python3 stray.py)" "second writer: in"
fi
finish
