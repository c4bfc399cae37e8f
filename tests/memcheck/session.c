/*
 * session.c - one program's life with holdfast.so, to be run under valgrind (tests/run memcheck).
 *
 * It goes through the SQLite C API only and touches every kind of answer that the shim gives: WAL and
 * rollback files, temporary files, the PRAGMAs, tables and functions, a conversion, refusals, and files that
 * are no databases. Whether the answers are right is looked at too, because a session that stops at its first
 * error would have little to leak. Everything is done twice, and the second time must not cost memory.
 */
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "files.h"
#include "made.h"

enum { ANSWER_MAX = 65536 };
static char answer[ANSWER_MAX];

/* The first column of the last row, or the error text: in `answer`, until the next call. */
static const char *ask(sqlite3 *db, const char *sql)
{
  sqlite3_stmt *statement = NULL;

  snprintf(answer, sizeof answer, "(no row)");
  if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK) {
    while (sqlite3_step(statement) == SQLITE_ROW) {
      const char *text = (const char *)sqlite3_column_text(statement, 0);
      snprintf(answer, sizeof answer, "%s", text ? text : "(null)");
    }
  }
  if (sqlite3_finalize(statement) != SQLITE_OK || !statement) {
    snprintf(answer, sizeof answer, "error: %s", sqlite3_errmsg(db));
  }
  return answer;
}

static int run(sqlite3 *db, const char *sql)
{
  return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

static sqlite3 *open_or_stop(const char *uri)
{
  sqlite3 *db = NULL;
  int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI;

  if (sqlite3_open_v2(uri, &db, flags, NULL) != SQLITE_OK) check_broken(sqlite3_errmsg(db));
  return db;
}

/* Opens, reads the schema, closes: the code of the first step that failed. */
static int try_open(const char *uri, int flags)
{
  sqlite3 *db = NULL;
  int rc = sqlite3_open_v2(uri, &db, flags | SQLITE_OPEN_URI, NULL);

  if (rc == SQLITE_OK) rc = run(db, "SELECT count(*) FROM sqlite_master");
  sqlite3_close(db);
  return rc & 0xff;
}

static void load(const char *extension)
{
  sqlite3 *db = open_or_stop(":memory:");
  char *message = NULL;

  sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 1, NULL);
  CHECK_INT("load", sqlite3_load_extension(db, extension, NULL, &message), SQLITE_OK);
  if (message) printf("%s\n", message);
  sqlite3_free(message);
  sqlite3_close(db);
}

static void ordinary_work(const char *uri, const char *mode)
{
  sqlite3 *db = open_or_stop(uri), *second;

  check_scene("ordinary work, %s", uri);
  CHECK_HAS("PRAGMA holdfast", ask(db, "PRAGMA holdfast"), "holdfast ");
  CHECK_STR("journal mode", ask(db, "PRAGMA journal_mode=WAL"), mode);
  CHECK_INT("table", run(db, "CREATE TABLE t(id INTEGER PRIMARY KEY, v); CREATE INDEX i ON t(v)"), SQLITE_OK);
  CHECK_INT("rows",
            run(db, "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i<2000) "
                    "INSERT INTO t SELECT i, hex(randomblob(50)) FROM n"),
            SQLITE_OK);
  CHECK_INT("undone", run(db, "BEGIN; UPDATE t SET v=1; ROLLBACK"), SQLITE_OK);
  CHECK_INT("taken back in part", /* F28 */
            run(db, "PRAGMA cache_size=5; BEGIN; UPDATE t SET v=v||'a' WHERE id<400; SAVEPOINT s; "
                    "UPDATE t SET v=v||'b' WHERE id>800; UPDATE t SET v=v||'c' WHERE id>800; ROLLBACK TO s; "
                    "RELEASE s; UPDATE t SET v=v||'d' WHERE id>1900; COMMIT; PRAGMA cache_size=-2000"),
            SQLITE_OK);
  CHECK_INT("temporary", run(db, "CREATE TEMP TABLE x AS SELECT * FROM t ORDER BY v DESC"), SQLITE_OK);
  CHECK_INT("other file",
            run(db, "ATTACH 'attached.db' AS a; CREATE TABLE a.t(x); INSERT INTO a.t VALUES(1)"), SQLITE_OK);
  CHECK_INT("both files",
            run(db, "BEGIN; INSERT INTO t(v) VALUES(1); INSERT INTO a.t VALUES(2); COMMIT; DETACH a"),
            SQLITE_OK);
  second = open_or_stop(uri);
  CHECK_STR("second connection", ask(second, "SELECT count(*) FROM t"), "2001");
  CHECK_INT("lock held", run(db, "BEGIN IMMEDIATE"), SQLITE_OK);
  CHECK_INT("lock refused", run(second, "BEGIN IMMEDIATE"), SQLITE_BUSY);
  CHECK_INT("lock given up", run(db, "ROLLBACK; VACUUM"), SQLITE_OK);
  CHECK_STR("integrity", ask(second, "PRAGMA integrity_check"), "ok");
  sqlite3_close(second);
  sqlite3_close(db);
  db_remove("attached.db");
}

static void what_people_read(const char *uri)
{
  sqlite3 *db = open_or_stop(uri);

  check_scene("what people read, %s", uri);
  CHECK_HAS("status", ask(db, "PRAGMA holdfast_status"), "\"rule\"");
  CHECK_HAS("mount", ask(db, "PRAGMA holdfast_mount"), "\"fstype\"");
  CHECK_HAS("events", ask(db, "PRAGMA holdfast_events"), "[");
  CHECK_STR("version", ask(db, "SELECT holdfast_version() IS NOT NULL"), "1");
  CHECK_STR("mount table", ask(db, "SELECT count(*) FROM holdfast_mount"), "1");
  CHECK_HAS_NOT("event table", ask(db, "SELECT count(*) FROM holdfast_events"), "error");
  CHECK_HAS("no such PRAGMA", ask(db, "PRAGMA holdfast_nonsense"), "(no row)");
  sqlite3_close(db);
}

static void conversion(void)
{
  sqlite3 *db;

  check_scene("an existing WAL database is converted");
  made_wal("old.db", MADE_ROWS, 0);
  db = open_or_stop("file:old.db?holdfast_assume=network");
  CHECK_STR("mode", ask(db, "PRAGMA journal_mode"), "delete");
  CHECK_STR("rows", ask(db, "SELECT count(*) FROM t"), "1000");
  CHECK_HAS("event", ask(db, "PRAGMA holdfast_events"), "converted");
  sqlite3_close(db);

  check_scene("... and refused while somebody has it open");
  db_remove("old.db");
  made_wal("old.db", MADE_ROWS, 0);
  db = open_or_stop("file:old.db?holdfast_mode=off");
  CHECK_STR("rows", ask(db, "SELECT count(*) FROM t"), "1000");
  CHECK_INT("second opener",
            try_open("file:old.db?holdfast_assume=network", SQLITE_OPEN_READWRITE) != SQLITE_OK, 1);
  CHECK_INT("read only", try_open("file:old.db?holdfast_assume=network", SQLITE_OPEN_READONLY) != SQLITE_OK,
            1);
  sqlite3_close(db);
  db_remove("old.db");
}

static void bad_input(void)
{
  char name[4096 + 6] = "file:";

  check_scene("bad input");
  memset(name + 5, 'x', sizeof name - 6);
  name[sizeof name - 1] = '\0';
  CHECK_INT("long name", try_open(name, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE), SQLITE_CANTOPEN);
  CHECK_INT("no file", try_open("file:nothing.db", SQLITE_OPEN_READWRITE), SQLITE_CANTOPEN);
  CHECK_INT("no directory", try_open("file:no/such.db", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE),
            SQLITE_CANTOPEN);
  CHECK_INT("a directory", try_open("file:folder", SQLITE_OPEN_READWRITE), SQLITE_CANTOPEN);
  file_write("text.db",
             "this is no database, but it is long enough to have a header, if it had one: "
             "one hundred bytes it needs.......",
             110);
  CHECK_INT("no database", try_open("file:text.db?holdfast_assume=network", SQLITE_OPEN_READWRITE),
            SQLITE_NOTADB);
  CHECK_TRUE("absurd parameter", try_open("file:ok.db?holdfast_assume=mars&holdfast_journal=-1",
                                          SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE) != SQLITE_CORRUPT);
  db_remove("ok.db");
  db_remove("text.db");
}

int main(void)
{
  const char *build = getenv("HF_BUILD");
  char extension[4096];
  long long used[2];

  if (!build) check_skip("HF_BUILD is not set");
  snprintf(extension, sizeof extension, "%s/holdfast.so", build);
  setenv("HOLDFAST_LOG", "none", 1);
  if (mkdir("folder", 0755) != 0) check_broken("mkdir");
  load(extension);
  load(extension); /* once more is harmless */
  for (int round = 0; round < 2; round++) {
    ordinary_work("file:local.db?holdfast_assume=local", "wal");
    what_people_read("file:local.db?holdfast_assume=local");
    ordinary_work("file:network.db?holdfast_assume=network", "delete");
    what_people_read("file:network.db?holdfast_assume=network");
    conversion();
    bad_input();
    db_remove("local.db");
    db_remove("network.db");
    used[round] = sqlite3_memory_used();
  }
  check_scene("after everything is closed");
  CHECK_INT("memory of SQLite in use, second round against the first", used[1], used[0]);
  sqlite3_shutdown();
  return check_done();
}
