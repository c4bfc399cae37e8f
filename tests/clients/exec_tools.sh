#!/bin/bash
# `holdfast exec` with whole programs: svn, ogr2ogr and Java through sqlite-jdbc, each first as it is; and fossil, which
# cannot be reached: it must say so, and work as ever.
# shellcheck source=lib.sh disable=SC1091,SC2154
. "$HF_SOURCE/tests/clients/lib.sh" || exit 1
export HOME=$PWD HOLDFAST_LOG=stderr
ran=0

# has COMMAND: is it here? Says so when not.
has() {
  command -v "$1" >/dev/null && { ran=1; return 0; }
  echo "left out: no $1 here"
  return 1
}

# exec_with ASSUME COMMAND...: under exec, its report in the file report.
exec_with() {
  local assume=$1
  shift
  timeout 120 "$tool" exec --assume "$assume" --report -- "$@" 2>report
}

if has svn && has svnadmin; then
  svnadmin create repo
  svn -q checkout "file://$PWD/repo" plain || fail "svn checkout, as it is"
  # A working copy's database is svn's own business; what exec adds is seen in the report.
  exec_with network svn -q checkout "file://$PWD/repo" work || fail "svn checkout, exec"
  same "svn checkout" "$(tail -n 1 report)" "holdfast: report: svn (pid *): * under holdfast; SQLite 3.* in */libsqlite3.so*"
  echo one >work/a.txt
  exec_with network svn -q add work/a.txt || fail "svn add, exec"
  exec_with network svn -q commit -m one work || fail "svn commit, exec"
  grep -q ' connections\{0,1\} to [1-9]' report || fail "svn commit: $(cat report)"
  svn -q update plain && same "what svn committed" "$(cat plain/a.txt)" one
  same "the working copy" "$(sqlite3 work/.svn/wc.db 'PRAGMA integrity_check; PRAGMA journal_mode' | tr '\n' ' ')" "ok * "
fi

if has ogr2ogr && ogr2ogr --formats | grep -q '^  SQLite '; then
  printf 'name,x,y\na,1,2\nb,3,4\n' >in.csv
  export OGR_SQLITE_JOURNAL=WAL
  ogr2ogr -q -f SQLite a.db in.csv -oo X_POSSIBLE_NAMES=x -oo Y_POSSIBLE_NAMES=y -a_srs EPSG:4326 || fail "ogr2ogr, as it is"
  same "ogr2ogr, as it is" "$(sqlite3 a.db 'PRAGMA journal_mode')" wal
  # Coordinates are transformed: PROJ builds a VFS of its own from ours. Here the first database is covered, too.
  for assume in local network; do
    rm -f out.db
    exec_with $assume ogr2ogr -q -f SQLite out.db in.csv -oo X_POSSIBLE_NAMES=x -oo Y_POSSIBLE_NAMES=y -s_srs EPSG:4326 -t_srs EPSG:3857 ||
      fail "ogr2ogr, exec, $assume: ended with $?"
    mode=wal
    [ $assume = network ] && mode=delete
    same "ogr2ogr, exec, $assume" "$(sqlite3 out.db 'PRAGMA integrity_check; PRAGMA journal_mode; SELECT count(*) FROM "in"' | tr '\n' ' ')" "ok $mode 2 "
    same "ogr2ogr, report" "$(tail -n 1 report)" "holdfast: report: ogr2ogr (pid *): * under holdfast; SQLite 3.* in */libsqlite3.so*"
  done
fi

jar=/usr/share/java/sqlite-jdbc.jar
if has java && has javac && [ -f $jar ]; then
  cat >RoundTrip.java <<'JAVA'
import java.sql.*;
public class RoundTrip {
  static String one(Connection c, String sql) throws SQLException {
    try (Statement s = c.createStatement();
         ResultSet r = s.execute(sql) ? s.getResultSet() : null) {
      return r != null && r.next() ? r.getString(1) : "";
    }
  }
  public static void main(String[] argv) throws SQLException {
    try (Connection c = DriverManager.getConnection("jdbc:sqlite:" + argv[0]); Statement s = c.createStatement()) {
      System.out.println("sqlite=" + one(c, "SELECT sqlite_version()") + "\nholdfast=" + one(c, "PRAGMA holdfast"));
      System.out.println("journal_mode=" + one(c, "PRAGMA journal_mode=WAL"));
      s.execute("CREATE TABLE IF NOT EXISTS t(x)");
      c.setAutoCommit(false);
      for (int x = 1; x <= 100; x++) s.execute("INSERT INTO t VALUES(" + x + ")");
      c.commit();
      System.out.println("rows=" + one(c, "SELECT count(*) FROM t") + " sum=" + one(c, "SELECT sum(x) FROM t"));
    }
  }
}
JAVA
  if javac RoundTrip.java; then
    exec_trip java -Xshare:auto -Xmx128m -cp "$jar:." RoundTrip
  else
    fail "RoundTrip.java does not compile"
  fi
elif [ ! -f $jar ]; then
  echo "left out: no $jar here"
fi

if has fossil; then
  fossil init --admin-user me plain.fossil >/dev/null || fail "fossil init, as it is"
  exec_with local fossil init --admin-user me a.fossil >/dev/null || fail "fossil init, exec: $?"
  same "fossil is told of" "$(head -n 1 report)" "holdfast: warned: */fossil: *cannot be *its databases are not protected"
  same "fossil, report" "$(tail -n 1 report)" "holdfast: report: fossil (pid *): 0 connections *; not reached: */fossil"
  same "what fossil made" "$(sqlite3 a.fossil 'PRAGMA integrity_check')" ok
  timeout 60 "$tool" exec --require -- fossil init --admin-user me b.fossil >/dev/null 2>report
  same "fossil, --require" "$? $([ -e b.fossil ] && echo made) $(cat report)" "3  holdfast: refused: */fossil: *"
fi
[ $ran = 1 ] || skip "none of these programs is here"
finish
