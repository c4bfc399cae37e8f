/*
 * journal_mode.c - WAL is asked for on a mount where it cannot work: it never starts, whoever asks and
 * however.
 *
 * Each way of asking is run three times: by a plain SQLite, where WAL does start (or the test could not
 * fail), with the shim on a mount that is taken for local, where WAL stays the application's choice, and with
 * the shim on a mount that is taken for network, where the mode in force is the answer, without an error, and
 * no -wal and no -shm comes into being.
 */
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "files.h"
#include "peer.h"

#define NETWORK "HOLDFAST_ASSUME=network"
#define LOCAL   "HOLDFAST_ASSUME=local"

static const struct way {
  const char *sql;
  const char *wal;      /* answer where WAL starts */
  const char *rollback; /* answer where it does not */
} ways[] = {
    {"PRAGMA journal_mode=WAL", "wal", "delete"},
    {"pragma JOURNAL_MODE = wAl;", "wal", "delete"},
    {"PRAGMA journal_mode('WAL')", "wal", "delete"},
    {"PRAGMA journal_mode(\"wal\")", "wal", "delete"},
    {"PRAGMA journal_mode=[wal]", "wal", "delete"},
    {"PRAGMA main.journal_mode=WAL", "wal", "delete"},
    {"PRAGMA \"main\".journal_mode = 'wal'", "wal", "delete"},
    {"/* why */ PRAGMA journal_mode /* not */ = WAL -- ?\n", "wal", "delete"},
    {"PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL", "exclusive\nwal", "exclusive\ndelete"},
    {"PRAGMA main.locking_mode=EXCLUSIVE; SELECT count(*) FROM sqlite_master; PRAGMA main.journal_mode=WAL",
     "exclusive\n0\nwal", "exclusive\n0\ndelete"},
    {"PRAGMA journal_mode=TRUNCATE; PRAGMA journal_mode=WAL", "truncate\nwal", "truncate\ntruncate"},
    {"PRAGMA journal_mode=PERSIST; PRAGMA journal_mode=WAL", "persist\nwal", "persist\npersist"},
    {"PRAGMA journal_mode=WAL; PRAGMA journal_mode=WAL", "wal\nwal", "delete\ndelete"},
    {"PRAGMA journal_mode=WAL; PRAGMA journal_mode", "wal\nwal", "delete\ndelete"},
};
enum { WAYS = sizeof ways / sizeof ways[0] };

/* What stays the same wherever one is: these are honoured. */
static const struct way others[] = {
    {"PRAGMA journal_mode", "delete", "delete"},
    {"PRAGMA journal_mode=TRUNCATE", "truncate", "truncate"},
    {"PRAGMA journal_mode=PERSIST", "persist", "persist"},
    {"PRAGMA journal_mode=MEMORY", "memory", "memory"},
    {"PRAGMA journal_mode=OFF", "off", "off"},
    {"PRAGMA journal_mode=nonsense", "delete", "delete"},
    {"PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=TRUNCATE", "exclusive\ntruncate",
     "exclusive\ntruncate"},
};
enum { OTHERS = sizeof others / sizeof others[0] };

static void ask_once(int shim, const char *env, const char *sql, const char *want, bool may_wal)
{
  peer *p = peer_start(shim, env);
  bool wal = may_wal && strstr(want, "wal");

  db_remove("a.db");
  check_scene("%s %s: %s", shim ? "holdfast" : "plain", env ? env : "", sql);
  CHECK_INT("open", peer_open(p, 0, "a.db", 0), SQLITE_OK);
  CHECK_STR("answer", peer_ask(p, 0, sql), want);
  CHECK_STR("write", peer_ask(p, 0, "CREATE TABLE t(x); INSERT INTO t VALUES(1),(2)"), "");
  CHECK_STR("read", peer_ask(p, 0, "SELECT sum(x) FROM t"), "3");
  CHECK_INT("-wal while it is open", db_beside("a.db", "-wal"), wal);
  if (!wal) CHECK_TRUE("-shm while it is open", !db_beside("a.db", "-shm"));
  CHECK_STR("header", db_header_mode("a.db"), wal ? "2,2" : "1,1");
  CHECK_INT("end", peer_end(p), 0);
  CHECK_TRUE("-wal afterwards", !db_beside("a.db", "-wal"));
}

static void every_way(const struct way *list, int count)
{
  for (int i = 0; i < count; i++) {
    ask_once(SHIM_NO, NULL, list[i].sql, list[i].wal, true);
    ask_once(SHIM_YES, LOCAL, list[i].sql, list[i].wal, true);
    ask_once(SHIM_YES, NETWORK, list[i].sql, list[i].rollback, false);
  }
}

/* A journal mode that is asked for is also used: what lies on the disk after a commit. */
static void modes_are_used(void)
{
  peer *p = peer_start(SHIM_YES, NETWORK);

  check_scene("modes are used");
  db_remove("m.db");
  CHECK_INT("open", peer_open(p, 0, "m.db", 0), SQLITE_OK);
  CHECK_STR("truncate", peer_ask(p, 0, "PRAGMA journal_mode=TRUNCATE; CREATE TABLE t(x)"), "truncate");
  CHECK_INT("an empty journal stays", file_size("m.db-journal"), 0);
  CHECK_STR("persist", peer_ask(p, 0, "PRAGMA journal_mode=PERSIST; INSERT INTO t VALUES(1)"), "persist");
  CHECK_TRUE("a journal stays, and is not hot", file_size("m.db-journal") > 0 && !db_hot("m.db"));
  CHECK_STR("delete", peer_ask(p, 0, "PRAGMA journal_mode=DELETE; INSERT INTO t VALUES(2)"), "delete");
  CHECK_INT("no journal stays", file_size("m.db-journal"), -1);
  CHECK_INT("end", peer_end(p), 0);
}

/* An attached file is asked by its schema, and by a PRAGMA without a schema, which means all of them. */
static void attached(const char *locking)
{
  peer *p = peer_start(SHIM_YES, NETWORK);
  char sql[400];

  check_scene("attached, %s", locking);
  db_remove("one.db");
  db_remove("two.db");
  CHECK_INT("open", peer_open(p, 0, "one.db", 0), SQLITE_OK);
  (void)snprintf(sql, sizeof sql, "ATTACH 'two.db' AS 'a \"b'; PRAGMA locking_mode=%s", locking);
  CHECK_INT("attach", peer_sql(p, 0, sql), SQLITE_OK);
  CHECK_INT("tables", peer_sql(p, 0, "CREATE TABLE t(x); CREATE TABLE \"a \"\"b\".u(x)"), SQLITE_OK);
  CHECK_STR("by schema", peer_ask(p, 0, "PRAGMA \"a \"\"b\".journal_mode=WAL"), "delete");
  CHECK_STR("all", peer_ask(p, 0, "PRAGMA journal_mode=WAL"), "delete");
  CHECK_STR("main", peer_ask(p, 0, "PRAGMA main.journal_mode"), "delete");
  CHECK_STR("other", peer_ask(p, 0, "PRAGMA \"a \"\"b\".journal_mode"), "delete");
  CHECK_STR("writes", peer_ask(p, 0, "BEGIN; INSERT INTO t VALUES(1); INSERT INTO u VALUES(2); COMMIT"), "");
  CHECK_STR("reads", peer_ask(p, 0, "SELECT t.x, u.x FROM t, u"), "1|2");
  CHECK_STR("header of main", db_header_mode("one.db"), "1,1");
  CHECK_STR("header of the attached one", db_header_mode("two.db"), "1,1");
  CHECK_TRUE("no -wal", !db_beside("one.db", "-wal") && !db_beside("two.db", "-wal"));
  CHECK_INT("end", peer_end(p), 0);
}

/* Main in memory or temporary: the PRAGMA without a schema reaches the attached file without asking it. */
static void attached_to_memory(const char *main_name)
{
  peer *p = peer_start(SHIM_YES, NETWORK);

  check_scene("attached to %s", *main_name ? main_name : "a temporary database");
  db_remove("two.db");
  CHECK_INT("open", peer_open(p, 0, main_name, 0), SQLITE_OK);
  CHECK_STR("exclusive",
            peer_ask(p, 0, "ATTACH 'two.db' AS b; CREATE TABLE b.u(x); PRAGMA locking_mode=EXCLUSIVE"),
            "exclusive");
  (void)peer_sql(p, 0, "PRAGMA journal_mode=WAL"); /* its answer is that of main: it has no file */
  CHECK_STR("write", peer_ask(p, 0, "INSERT INTO b.u VALUES(1)"), "");
  CHECK_STR("read", peer_ask(p, 0, "SELECT count(*) FROM b.u"), "1");
  CHECK_STR("its header", db_header_mode("two.db"), "1,1");
  CHECK_TRUE("no -wal, no -shm", !db_beside("two.db", "-wal") && !db_beside("two.db", "-shm"));
  CHECK_INT("end", peer_end(p), 0);
}

/* Temporary tables and sorts go to the base untouched. */
static void temporary_files(void)
{
  peer *p = peer_start(SHIM_YES, NETWORK);

  check_scene("temporary files");
  db_remove("t.db");
  CHECK_INT("open", peer_open(p, 0, "t.db", 0), SQLITE_OK);
  CHECK_STR("temp table",
            peer_ask(p, 0,
                     "PRAGMA temp_store=FILE; PRAGMA cache_size=10; CREATE TEMP TABLE s(x); WITH RECURSIVE "
                     "n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<20000) INSERT INTO s "
                     "SELECT hex(randomblob(20)) FROM n; SELECT count(DISTINCT x) FROM s"),
            "20000");
  CHECK_STR("temp schema", peer_ask(p, 0, "PRAGMA temp.journal_mode=WAL"), "delete");
  CHECK_INT("unnamed database", peer_open(p, 1, "", 0), SQLITE_OK);
  CHECK_STR("WAL there", peer_ask(p, 1, "PRAGMA journal_mode=WAL; CREATE TABLE t(x); SELECT 1"), "delete\n1");
  CHECK_INT("memory database", peer_open(p, 2, ":memory:", 0), SQLITE_OK);
  CHECK_STR("WAL there", peer_ask(p, 2, "PRAGMA journal_mode=WAL; CREATE TABLE t(x); SELECT 1"), "memory\n1");
  CHECK_INT("end", peer_end(p), 0);
}

int main(void)
{
  every_way(ways, WAYS);
  every_way(others, OTHERS);
  modes_are_used();
  attached("NORMAL");
  attached("EXCLUSIVE");
  attached_to_memory(":memory:");
  attached_to_memory("");
  temporary_files();
  return check_done();
}
