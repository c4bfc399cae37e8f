# A Python program as lib.sh describes it: the sqlite3 module, or apsw with the first argument "apsw".
import sys

if sys.argv[1] == "apsw":
    import apsw

    connect, version = apsw.Connection, apsw.sqlitelibversion()
    def allow(db): db.enableloadextension(True)
    def load(db, path): db.loadextension(path)
else:
    import sqlite3

    version = sqlite3.sqlite_version
    def connect(path): return sqlite3.connect(path, isolation_level=None)
    def allow(db): db.enable_load_extension(True)
    def load(db, path): db.load_extension(path)

if len(sys.argv) > 3:
    boot = connect(":memory:")
    allow(boot)
    load(boot, sys.argv[3])
    boot.close()

db = connect(sys.argv[2])
ask = lambda sql: db.cursor().execute(sql).fetchall()
print("sqlite=" + version)
print("holdfast=" + "".join(row[0] for row in ask("PRAGMA holdfast")))
print("journal_mode=" + ask("PRAGMA journal_mode=WAL")[0][0])
ask("CREATE TABLE IF NOT EXISTS t(x)")
ask("BEGIN")
for x in range(1, 101):
    db.cursor().execute("INSERT INTO t VALUES(?)", (x,))
ask("COMMIT")
print("rows=%d sum=%d" % ask("SELECT count(*), sum(x) FROM t")[0])
db.close()
