/*
 * reach.c - ways by which SQLite reaches or makes a database other than a plain open: backup, VACUUM INTO,
 * shared cache, serialisation, several connections and processes, plain and with the shim, on one file.
 *
 * On a mount that is taken for network none of them may start WAL, and all of them must go on working.
 */
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "files.h"
#include "made.h"

#define NETWORK "HOLDFAST_ASSUME=network"

/* Slot 1 is copied into slot 0, a few pages at a time. */
static int backup_step_by_step(sqlite3 **db, char *out, size_t size)
{
  sqlite3_backup *backup = sqlite3_backup_init(db[0], "main", db[1], "main");
  int rc;

  if (!backup) {
    (void)snprintf(out, size, "%s", sqlite3_errmsg(db[0]));
    return sqlite3_errcode(db[0]);
  }
  while ((rc = sqlite3_backup_step(backup, 5)) == SQLITE_OK) continue;
  (void)sqlite3_backup_finish(backup); /* tells what the last step told */
  return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* The source is a live WAL database on a local mount: its header, with WAL in it, is copied as it is. */
static void backup_of_a_wal_database(void)
{
  peer *p = peer_start(SHIM_YES, NETWORK), *plain = peer_start(SHIM_NO, NULL);

  check_scene("backup");
  made_wal("from.db", MADE_ROWS, 0);
  db_remove("to.db");
  CHECK_INT("target", peer_open(p, 0, "to.db", 0), SQLITE_OK);
  CHECK_INT("source", peer_open(p, 1, "file:from.db?holdfast_assume=local", 0), SQLITE_OK);
  CHECK_STR("source is WAL", peer_ask(p, 1, "PRAGMA journal_mode"), "wal");
  CHECK_INT("backup", peer_call(p, backup_step_by_step), SQLITE_OK);
  CHECK_INT("close", peer_close(p, 0), SQLITE_OK);
  CHECK_INT("open again", peer_open(p, 0, "to.db", 0), SQLITE_OK);
  CHECK_STR("every row", peer_ask(p, 0, MADE_ASK), made_answer(MADE_ROWS));
  CHECK_STR("mode", peer_ask(p, 0, "PRAGMA journal_mode"), "delete");
  CHECK_STR("write", peer_ask(p, 0, "DELETE FROM t WHERE id = 1; SELECT count(*) FROM t"), "999");
  CHECK_TRUE("no -wal, no -shm", !db_beside("to.db", "-wal") && !db_beside("to.db", "-shm"));

  CHECK_INT("once more, over an existing database", peer_call(p, backup_step_by_step), SQLITE_OK);
  CHECK_INT("close", peer_close(p, 0), SQLITE_OK);
  CHECK_INT("a plain opener", peer_open(plain, 0, "to.db", 0), SQLITE_OK);
  CHECK_STR("every row", peer_ask(plain, 0, MADE_ASK), made_answer(MADE_ROWS));
  CHECK_INT("end", peer_end(plain), 0);
  CHECK_INT("end", peer_end(p), 0);
}

static void vacuum(void)
{
  peer *p = peer_start(SHIM_YES, NETWORK);

  check_scene("VACUUM");
  made_rollback("a.db", MADE_ROWS);
  db_remove("into.db");
  CHECK_INT("open", peer_open(p, 0, "a.db", 0), SQLITE_OK);
  CHECK_STR("vacuum", peer_ask(p, 0, "DELETE FROM t WHERE id > 990; VACUUM; SELECT count(*) FROM t"), "990");
  CHECK_STR("into", peer_ask(p, 0, "VACUUM INTO 'into.db'; SELECT 1"), "1");
  CHECK_STR("header", db_header_mode("into.db"), "1,1");
  CHECK_INT("open", peer_open(p, 1, "into.db", 0), SQLITE_OK);
  CHECK_STR("rows", peer_ask(p, 1, "SELECT count(*), sum(id) FROM t; PRAGMA integrity_check"),
            "990|490545\nok");
  CHECK_STR("other page size", peer_ask(p, 1, "PRAGMA page_size=1024; VACUUM; PRAGMA page_size"), "1024");
  CHECK_INT("end", peer_end(p), 0);
}

/* The source is WAL and local, the copy lies on the network mount. */
static void vacuum_into_from_wal(void)
{
  peer *p = peer_start(SHIM_YES, NETWORK);

  check_scene("VACUUM INTO out of a WAL database");
  made_wal("a.db", MADE_ROWS, 0);
  db_remove("into.db");
  CHECK_INT("open", peer_open(p, 0, "file:a.db?holdfast_assume=local", 0), SQLITE_OK);
  CHECK_STR("into", peer_ask(p, 0, "VACUUM INTO 'into.db'; SELECT 1"), "1");
  CHECK_INT("open", peer_open(p, 1, "into.db", 0), SQLITE_OK);
  CHECK_STR("rows", peer_ask(p, 1, MADE_ASK), made_answer(MADE_ROWS));
  CHECK_STR("mode", peer_ask(p, 1, "PRAGMA journal_mode"), "delete");
  CHECK_INT("end", peer_end(p), 0);
}

/* The conversion runs while shared cache's own mutexes are held: a deadlock here hangs, and the peer is
 * killed. */
static void shared_cache(void)
{
  peer *p = peer_start(SHIM_YES, NETWORK);

  check_scene("shared cache");
  made_wal("a.db", MADE_ROWS, 0);
  CHECK_INT("first", peer_open(p, 0, "file:a.db?cache=shared", 0), SQLITE_OK);
  CHECK_STR("rows", peer_ask(p, 0, MADE_ASK), made_answer(MADE_ROWS));
  CHECK_INT("second", peer_open(p, 1, "file:a.db?cache=shared", 0), SQLITE_OK);
  CHECK_STR("rows", peer_ask(p, 1, "PRAGMA journal_mode=WAL; " MADE_ASK),
            "delete\n1000|500500|1000|1000\nok");
  CHECK_INT("close the first", peer_close(p, 0), SQLITE_OK);
  CHECK_STR("write", peer_ask(p, 1, "DELETE FROM t WHERE id = 1; SELECT count(*) FROM t"), "999");
  CHECK_STR("which file", peer_ask(p, 1, "SELECT count(*) FROM holdfast_mount WHERE schema = 'main'"), "1");
  CHECK_INT("end", peer_end(p), 0);
}

static int enable_shared_cache(sqlite3 **db, char *out, size_t size)
{
  (void)db, (void)out, (void)size;
  return sqlite3_enable_shared_cache(1);
}

static void shared_cache_by_default(void)
{
  peer *p = peer_start(SHIM_YES, NETWORK);

  check_scene("shared cache by default");
  made_wal("a.db", MADE_ROWS, 0);
  CHECK_INT("enable", peer_call(p, enable_shared_cache), SQLITE_OK);
  CHECK_INT("first", peer_open(p, 0, "a.db", 0), SQLITE_OK);
  CHECK_INT("second", peer_open(p, 1, "a.db", 0), SQLITE_OK);
  CHECK_STR("rows", peer_ask(p, 1, MADE_ASK), made_answer(MADE_ROWS));
  CHECK_STR("write", peer_ask(p, 0, "DELETE FROM t WHERE id = 1; SELECT count(*) FROM t"), "999");
  CHECK_INT("end", peer_end(p), 0);
}

/* P2: plain processes on the same file see the same locks. */
static void beside_plain_processes(void)
{
  peer *p = peer_start(SHIM_YES, NETWORK), *plain = peer_start(SHIM_NO, NULL);

  check_scene("beside a plain process");
  made_rollback("a.db", MADE_ROWS);
  CHECK_INT("open", peer_open(p, 0, "a.db", 0), SQLITE_OK);
  CHECK_INT("open", peer_open(plain, 0, "a.db", 0), SQLITE_OK);
  CHECK_STR("shim writes", peer_ask(p, 0, "BEGIN IMMEDIATE; DELETE FROM t WHERE id <= 10"), "");
  CHECK_INT("plain cannot", peer_sql(plain, 0, "BEGIN IMMEDIATE") & 0xff, SQLITE_BUSY);
  CHECK_STR("plain reads the old state", peer_ask(plain, 0, "SELECT count(*) FROM t"), "1000");
  CHECK_STR("commit", peer_ask(p, 0, "COMMIT"), "");
  CHECK_STR("plain reads the new state", peer_ask(plain, 0, "SELECT count(*) FROM t"), "990");
  CHECK_STR("plain writes", peer_ask(plain, 0, "BEGIN EXCLUSIVE; DELETE FROM t WHERE id <= 20"), "");
  CHECK_INT("shim cannot read", peer_sql(p, 0, "SELECT count(*) FROM t") & 0xff, SQLITE_BUSY);
  peer_kill(plain); /* nothing of it may stay: its journal, if any, is rolled back */
  CHECK_STR("shim reads what was committed", peer_ask(p, 0, "SELECT count(*) FROM t; PRAGMA integrity_check"),
            "990\nok");
  CHECK_INT("end", peer_end(p), 0);
}

/* A plain process turns the file to WAL while the shim has it open. It must be said, and nothing must be
 * lost. */
static void turned_to_wal_by_a_plain_process(void)
{
  peer *p = peer_start(SHIM_YES, NETWORK), *plain = peer_start(SHIM_NO, NULL);

  check_scene("a plain process turns it to WAL");
  made_rollback("a.db", MADE_ROWS);
  CHECK_INT("open", peer_open(p, 0, "a.db", 0), SQLITE_OK);
  CHECK_STR("rows", peer_ask(p, 0, MADE_ASK), made_answer(MADE_ROWS));
  CHECK_INT("plain open", peer_open(plain, 0, "a.db", 0), SQLITE_OK);
  CHECK_STR("plain: WAL", peer_ask(plain, 0, "PRAGMA journal_mode=WAL; INSERT INTO t VALUES(1001, 'new')"),
            "wal");
  CHECK_INT("the shim does not read it half", peer_sql(p, 0, "SELECT count(*) FROM t") & 0xff,
            SQLITE_CANTOPEN);
  CHECK_INT("nor write it", peer_sql(p, 0, "INSERT INTO t VALUES(1002, 'more')") & 0xff, SQLITE_CANTOPEN);
  CHECK_INT("plain end", peer_end(plain), 0);
  CHECK_INT("close", peer_close(p, 0), SQLITE_OK);
  CHECK_INT("opened again it is converted", peer_open(p, 0, "a.db", 0), SQLITE_OK);
  CHECK_STR("rows", peer_ask(p, 0, "SELECT count(*) FROM t; PRAGMA journal_mode"), "1001\ndelete");
  CHECK_INT("end", peer_end(p), 0);
}

/* A plain process dies in mid-commit beside us: its hot journal is rolled back, by us. */
static void hot_journal_of_another(void)
{
  peer *p = peer_start(SHIM_YES, NETWORK), *plain = peer_start(SHIM_NO, NULL);

  check_scene("a hot journal");
  made_rollback("a.db", MADE_ROWS);
  CHECK_INT("open", peer_open(p, 0, "a.db", 0), SQLITE_OK);
  CHECK_STR("rows", peer_ask(p, 0, MADE_ASK), made_answer(MADE_ROWS));
  CHECK_INT("plain open", peer_open(plain, 0, "a.db", 0), SQLITE_OK);
  /* A cache of two pages: changed pages go to the file before the commit. */
  CHECK_STR("half a change", peer_ask(plain, 0, "PRAGMA cache_size=2; BEGIN; UPDATE t SET v = 'gone'"), "");
  peer_kill(plain);
  CHECK_TRUE("its journal is hot", db_hot("a.db"));
  CHECK_STR("rows", peer_ask(p, 0, MADE_ASK), made_answer(MADE_ROWS));
  CHECK_TRUE("and gone", !db_hot("a.db"));
  CHECK_INT("end", peer_end(p), 0);
}

int main(void)
{
  backup_of_a_wal_database();
  vacuum();
  vacuum_into_from_wal();
  shared_cache();
  shared_cache_by_default();
  beside_plain_processes();
  turned_to_wal_by_a_plain_process();
  hot_journal_of_another();
  return check_done();
}
