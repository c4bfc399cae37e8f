#!/bin/bash
# `holdfast exec` and servers that fork: the database is opened before the fork (gunicorn with preload, PHP-FPM with
# a connection in the master), or by each worker. F14: in plain SQLite a child that closes what it inherited rolls
# its parent's transaction back, which is the control.
# shellcheck source=lib.sh disable=SC1091,SC2154
. "$HF_SOURCE/tests/clients/lib.sh" || exit 1
need sqlite3
need /usr/bin/python3
/usr/bin/python3 -c 'import sqlite3' 2>/dev/null || skip "Python here has no sqlite3"
export HOLDFAST_ASSUME=local

# A master that holds a write transaction while a worker that it forked closes what it inherited; then
# another program tries to write.
cat >master_writes.py <<'PY'
import os, sqlite3, subprocess
db = sqlite3.connect("app.db", isolation_level=None, timeout=0)
db.execute("CREATE TABLE IF NOT EXISTS t(x)")
db.execute("BEGIN IMMEDIATE")
db.execute("INSERT INTO t VALUES('master')")
worker = os.fork()
if worker == 0:
    try:
        db.execute("SELECT count(*) FROM t").fetchall()
    except sqlite3.Error:
        pass  # holdfast refuses the child: the parent is in a transaction
    db.close()
    os._exit(0)
os.waitpid(worker, 0)
other = subprocess.run(["sqlite3", "app.db", "INSERT INTO t VALUES('other')"], stderr=subprocess.DEVNULL)
try:
    db.execute("COMMIT")
    mine = "kept"
except sqlite3.Error as error:
    mine = "lost: %s" % error
print("other: %s, master: %s" % ("kept out" if other.returncode else "in", mine))
PY
same "a worker closes what it inherited, as it is" "$(timeout 60 /usr/bin/python3 master_writes.py)" "*master: lost*"
rm -f app.db*
same "a worker closes what it inherited, exec" "$(timeout 60 "$tool" exec -- /usr/bin/python3 master_writes.py)" "other: kept out, master: kept"
rm -f app.db*

# Pre-fork as gunicorn does with an application that was loaded before: an idle connection is inherited by
# four workers, which all write through it; each also opens one of its own. Nothing that was acknowledged is lost.
cat >prefork.py <<'PY'
import os, sqlite3, sys
WORKERS, EACH = 4, 25
db = sqlite3.connect("app.db", isolation_level=None, timeout=30)
db.execute("CREATE TABLE IF NOT EXISTS t(who, x)")
print("master", len(db.execute("PRAGMA holdfast").fetchall()), flush=True)
sys.stdout.flush()
pipes = []
for who in range(WORKERS):
    r, w = os.pipe()
    if os.fork() == 0:
        done = 0
        try:
            own = sqlite3.connect("app.db", isolation_level=None, timeout=30)
            covered = len(own.execute("PRAGMA holdfast").fetchall())
            for x in range(EACH):
                db.execute("INSERT INTO t VALUES(?, ?)", (who, x)); done += 1
                own.execute("INSERT INTO t VALUES(?, ?)", (who, -x)); done += 1
            own.close()
            os.write(w, b"%d %d" % (covered, done))
        except sqlite3.Error as error:
            os.write(w, b"0 %d %s" % (done, str(error).encode()))
        os._exit(0)
    os.close(w)
    pipes.append(r)
said = [os.read(r, 200).decode().split(" ", 2) for r in pipes]
for _ in pipes:
    os.wait()
acknowledged = sum(int(s[1]) for s in said)
found = sqlite3.connect("app.db").execute("SELECT count(*) FROM t").fetchone()[0]
print("workers covered", sum(int(s[0]) for s in said), "errors", [s[2] for s in said if len(s) > 2])
print("acknowledged", acknowledged, "found", found, db.execute("PRAGMA integrity_check").fetchone()[0])
PY
same "pre-fork, as it is" "$(timeout 120 /usr/bin/python3 prefork.py | tr '\n' ';')" "master 0;workers covered 0 errors *"
rm -f app.db*
same "pre-fork, exec" "$(timeout 120 "$tool" exec -- /usr/bin/python3 prefork.py | tr '\n' ';')" \
  "master 1;workers covered 4 errors \[\];acknowledged 200 found 200 ok;"
rm -f app.db*

# PHP with a master that forks workers for requests, as PHP-FPM does, the connection opened in each of them.
if command -v php >/dev/null && php -r 'exit(class_exists("SQLite3") && function_exists("pcntl_fork") ? 0 : 1);'; then
  cat >pool.php <<'PHP'
<?php
$boot = new SQLite3('app.db');
$boot->exec('CREATE TABLE IF NOT EXISTS t(x)');
$boot->close();
for ($i = 0; $i < 3; $i++) {
    if (pcntl_fork() === 0) {
        $db = new SQLite3('app.db');
        $db->busyTimeout(30000);
        for ($x = 0; $x < 20; $x++) $db->exec("INSERT INTO t VALUES($x)");
        echo $db->querySingle('PRAGMA holdfast') ? "covered\n" : "plain\n";
        exit(0);
    }
}
$ended = 0;
while (pcntl_wait($status) > 0) $ended += $status;
$db = new SQLite3('app.db');
echo "found ", $db->querySingle('SELECT count(*) FROM t'), " ended $ended\n";
PHP
  same "PHP workers, as they are" "$(timeout 60 php pool.php | tr '\n' ' ')" "plain plain plain found 60 ended 0 "
  rm -f app.db*
  same "PHP workers, exec" "$(timeout 60 "$tool" exec -- php pool.php | tr '\n' ' ')" "covered covered covered found 60 ended 0 "
  rm -f app.db*
else
  echo "left out: PHP here cannot fork"
fi

# Python's multiprocessing, both ways of starting a worker. SQLite starts in each worker by itself.
cat >pool.py <<'PY'
import multiprocessing, sqlite3, sys
def work(n):
    db = sqlite3.connect("app.db", timeout=30)
    db.execute("INSERT INTO t VALUES(?)", (n,))
    db.commit()
    return len(db.execute("PRAGMA holdfast").fetchall())
if __name__ == "__main__":
    sqlite3.connect("app.db").execute("CREATE TABLE t(x)")
    with multiprocessing.get_context(sys.argv[1]).Pool(3) as pool:
        answers = pool.map(work, range(12), 1)
    print(sum(answers), sqlite3.connect("app.db").execute("SELECT count(*) FROM t").fetchone()[0])
PY
for how in fork spawn; do
  same "multiprocessing by $how, as it is" "$(timeout 60 /usr/bin/python3 pool.py $how)" "0 12"
  rm -f app.db*
  same "multiprocessing by $how, exec" "$(timeout 60 "$tool" exec -- /usr/bin/python3 pool.py $how)" "12 12"
  rm -f app.db*
done
finish
