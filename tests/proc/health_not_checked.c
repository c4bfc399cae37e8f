/*
 * health_not_checked.c - F5: what keeps a check from running is never taken for damage. Each scene is a
 * healthy database and one thing in the way: a lock, a missing function, an open transaction, a lost lock ...
 * Where plain SQLite's own check would say "malformed" of a healthy file, that is shown first.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "asked.h"
#include "check.h"
#include "files.h"
#include "sandbox.h"
#include "scene.h"

#define FILL                                                                                                 \
  "WITH RECURSIVE i(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM i WHERE x < 2000) "                          \
  "INSERT INTO t(who, n, v) SELECT x % 7, x, printf('%0100d', x) FROM i"

static peer *checker(const char *name, int flags)
{
  peer *p = asked_start(NULL);

  if (peer_open(p, 0, name, flags)) check_broken(name);
  return p;
}

static void expect(peer *p, peer_function *step, const char *answer)
{
  CHECK_HAS("verdict", asked_of(p, step), answer);
  CHECK_HAS_NOT("no event", peer_ask(p, 0, "PRAGMA holdfast_events"), "\"damaged\"");
}

/* ---------------------------------------------------------------- locks of others */

static int locked_by_a_neighbour(sqlite3 **db, char *out, size_t size)
{
  (void)sqlite3_exec(db[1], "BEGIN; CREATE TABLE fresh(x)", NULL, NULL, NULL);
  return asked_quick(db, out, size);
}

static void locks(void)
{
  peer *p, *other = scene_peer(SHIM_NO);

  check_scene("another process holds EXCLUSIVE");
  p = checker(SCENE_DB, 0);
  scene_must(other, "BEGIN EXCLUSIVE");
  expect(p, asked_quick, "not_checked|busy|0|database is locked");
  expect(p, asked_full, "not_checked|busy|0|");
  CHECK_HAS("by the PRAGMA", peer_ask(p, 0, "PRAGMA holdfast_health = full"), "\"not_checked\"");
  scene_must(other, "COMMIT");
  expect(p, asked_full, "ok|none|0|");
  (void)peer_end(p);
  (void)peer_end(other);

  check_scene("another connection of a shared cache holds the schema's lock");
  p = checker("file:" SCENE_DB "?cache=shared", 0);
  if (peer_open(p, 1, "file:" SCENE_DB "?cache=shared", 0)) check_broken("open");
  expect(p, locked_by_a_neighbour, "not_checked|busy|0|");
  (void)peer_kill(p);
}

/* ---------------------------------------------------------------- what the connection lacks */

static void known(sqlite3_context *context, int argc, sqlite3_value **argv)
{
  (void)argc;
  sqlite3_result_value(context, argv[0]);
}

static int like_any(void *arg, int a, const void *x, int b, const void *y)
{
  (void)arg;
  return memcmp(x, y, (size_t)(a < b ? a : b)) ? memcmp(x, y, (size_t)(a < b ? a : b)) : a - b;
}

static int teach(sqlite3 **db, char *out, size_t size)
{
  (void)out, (void)size;
  (void)sqlite3_create_function(db[0], "known", 1, SQLITE_UTF8 | SQLITE_DETERMINISTIC, NULL, known, NULL,
                                NULL);
  return sqlite3_create_collation(db[0], "mine", SQLITE_UTF8, NULL, like_any);
}

static void missing(const char *sql, const char *what)
{
  peer *p;

  check_scene("%s that this connection does not have", what);
  db_remove("m.db");
  p = peer_start(SHIM_NO, NULL);
  if (peer_open(p, 0, "m.db", 0)) check_broken("open");
  CHECK_INT("teach", peer_call(p, teach), SQLITE_OK);
  scene_must(p, sql);
  (void)peer_end(p);
  p = checker("m.db", 0);
  expect(p, asked_full, "not_checked|schema|0|");
  expect(p, asked_quick,
         strstr(sql, "INDEX") ? "|0|" : "not_checked|schema|0|"); /* quick does not look into an index */
  CHECK_INT("teach", peer_call(p, teach), SQLITE_OK);
  expect(p, asked_full, "ok|none|0|");
  (void)peer_end(p);
}

/* ---------------------------------------------------------------- time */

static int tiny_budget(sqlite3 **db, char *out, size_t size)
{
  holdfast_health_options options = {
      .struct_size = sizeof options, .kind = HOLDFAST_HEALTH_FULL, .budget_ms = 1};
  return asked(db[0], &options, 5, out, size);
}

static int tiny_slices(sqlite3 **db, char *out, size_t size)
{
  holdfast_health_options options = {
      .struct_size = sizeof options, .kind = HOLDFAST_HEALTH_FULL, .slice_max_ms = 1};
  return asked(db[0], &options, 1, out, size);
}

static int stop_at_once(void *arg)
{
  (void)arg;
  return 1;
}

static int interrupted(sqlite3 **db, char *out, size_t size)
{
  int rc;

  sqlite3_progress_handler(db[0], 100, stop_at_once, NULL);
  rc = asked_full(db, out, size);
  sqlite3_progress_handler(db[0], 0, NULL, NULL);
  return rc;
}

static void times(void)
{
  peer *p = checker("big.db", 0);

  check_scene("the time is up");
  scene_must(p, "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, b TEXT); CREATE INDEX i ON t(a); CREATE "
                "INDEX j ON t(b);"
                "WITH RECURSIVE i(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM i WHERE x < 100000) "
                "INSERT INTO t SELECT x, hex(randomblob(10)), hex(randomblob(10)) FROM i");
  expect(p, tiny_budget, "not_checked|budget|0|");
  expect(p, tiny_slices, "not_checked|budget|0|");
  expect(p, interrupted, "not_checked|interrupted|0|");
  check_scene("a slice is much too short, and grows");
  expect(p, asked_full, "ok|none|0|");
  (void)peer_end(p);
}

/* ---------------------------------------------------------------- the connection's own state */

static int denies(void *arg, int action, const char *a, const char *b, const char *c, const char *d)
{
  (void)arg, (void)b, (void)c, (void)d;
  return action == SQLITE_PRAGMA && a && strstr(a, "_check") ? SQLITE_DENY : SQLITE_OK;
}

static int denied(sqlite3 **db, char *out, size_t size)
{
  int rc;

  sqlite3_set_authorizer(db[0], denies, NULL);
  rc = asked_full(db, out, size);
  sqlite3_set_authorizer(db[0], NULL, NULL);
  return rc;
}

static int with_a_busy_statement(sqlite3 **db, char *out, size_t size)
{
  sqlite3_stmt *open = NULL;
  int rc;

  (void)sqlite3_prepare_v2(db[0], "SELECT * FROM t", -1, &open, NULL);
  (void)sqlite3_step(open);
  rc = asked_full(db, out, size);
  (void)sqlite3_finalize(open);
  return rc;
}

static void own_state(void)
{
  peer *p = checker(SCENE_DB, 0);

  check_scene("the connection has a transaction, a busy statement, an authorizer");
  scene_must(p, "BEGIN; SELECT count(*) FROM t");
  expect(p, asked_full, "not_checked|cached|0|");
  scene_must(p, "ROLLBACK");
  expect(p, with_a_busy_statement, "not_checked|cached|0|");
  expect(p, denied, "not_checked|caller|0|");
  expect(p, asked_full, "ok|none|0|");
  (void)peer_end(p);
}

/* ---------------------------------------------------------------- the file */

static void files(void)
{
  char noise[8192];
  peer *p;

  check_scene("an encrypted file, or something else");
  seed_fill(noise, sizeof noise);
  file_write("noise.db", noise, sizeof noise);
  p = checker("noise.db", 0);
  expect(p, asked_full, "not_checked|not-sqlite|0|");
  (void)peer_end(p);

  check_scene("nothing in it");
  file_write("empty.db", "", 0);
  p = checker("empty.db", 0);
  expect(p, asked_full, "ok|none|0|");
  (void)peer_end(p);

  check_scene("a hot journal, and no right to play it back");
  db_remove("hot.db");
  p = peer_start(SHIM_NO, NULL);
  if (peer_open(p, 0, "hot.db", 0)) check_broken("open");
  scene_must(p, "CREATE TABLE t(id INTEGER PRIMARY KEY, who INT, n INT, v TEXT); " FILL);
  scene_must(p, "PRAGMA cache_size = 2; BEGIN; UPDATE t SET v = hex(id)");
  peer_kill(p);
  CHECK_TRUE("it is hot", db_hot("hot.db"));
  p = checker("hot.db", SQLITE_OPEN_READONLY);
  expect(p, asked_full, "not_checked|read-only|0|");
  (void)peer_end(p);
  p = checker("hot.db", 0);
  expect(p, asked_full, "ok|none|0|");
  (void)peer_end(p);
}

/* ---------------------------------------------------------------- locks that are lost */

/*
 * The database has a CHECK that calls odd(). It runs in the middle of integrity_check, closes the file beside
 * SQLite, and has a helper outside rewrite all of it.
 */
static int ask_helper[2], from_helper[2];

static void odd(sqlite3_context *context, int argc, sqlite3_value **argv)
{
  char ready = 0;

  (void)argc;
  if (sqlite3_value_int(argv[0]) == 100 && stray_db(NULL, NULL, 0) == SQLITE_OK &&
      write(ask_helper[1], "x", 1) == 1 && read(from_helper[0], &ready, 1) != 1)
    exit(4);
  sqlite3_result_int(context, 1);
}

static void rewrite_again(void)
{
  char text[200], word;

  while (read(ask_helper[0], &word, 1) == 1) {
    sqlite3 *db = NULL;
    if (sqlite3_open(SCENE_DB, &db) != SQLITE_OK ||
        sql_text(db, "PRAGMA synchronous = OFF; DELETE FROM t WHERE id % 3 = 0 AND id > 200; VACUUM", text,
                 sizeof text))
      printf("the helper: %s\n", sqlite3_errmsg(db)); /* SQLite's lock held: that is right, too */
    (void)sqlite3_close(db);
    if (write(from_helper[1], "x", 1) != 1) break;
  }
  _exit(0);
}

static int know_odd(sqlite3 **db, char *out, size_t size)
{
  (void)out, (void)size;
  return sqlite3_create_function(db[0], "odd", 1, SQLITE_UTF8, NULL, odd, NULL, NULL);
}

static void make_odd(void)
{
  peer *p = peer_start(SHIM_NO, NULL);

  db_remove(SCENE_DB);
  if (peer_open(p, 0, SCENE_DB, 0)) check_broken(SCENE_DB);
  CHECK_INT("odd()", peer_call(p, know_odd), SQLITE_OK);
  scene_must(p,
             "CREATE TABLE t(id INTEGER PRIMARY KEY, who INT, n INT, v TEXT); "
             "CREATE INDEX ti ON t(v); " FILL "; "
             "PRAGMA writable_schema = ON; UPDATE sqlite_master SET sql = 'CREATE TABLE t(id INTEGER PRIMARY "
             "KEY, who INT, n INT, v TEXT, CHECK(odd(id)))' WHERE name = 't'");
  (void)peer_end(p);
}

static void lost_lock(void)
{
  peer *p;
  pid_t helper;
  char verdict[600];

  check_scene("the lock is lost in mid-check, and the file is written outside");
  if (pipe2(ask_helper, O_CLOEXEC) || pipe2(from_helper, O_CLOEXEC)) check_broken("pipe");
  (void)fflush(stdout);
  helper = fork();
  if (helper == 0) {
    (void)close(ask_helper[1]);
    rewrite_again();
  }
  (void)close(ask_helper[0]);

  make_odd();
  p = peer_start_in(SHIM_NO, NULL, sandbox_without_ofd);
  if (peer_open(p, 0, SCENE_DB, 0)) check_broken(SCENE_DB);
  CHECK_INT("odd()", peer_call(p, know_odd), SQLITE_OK);
  scene_must(p, "PRAGMA cache_size = 5; SELECT count(*) FROM t");
  (void)snprintf(verdict, sizeof verdict, "%s", peer_ask(p, 0, "PRAGMA integrity_check(3)"));
  printf("plain SQLite about a healthy file: %.100s\n", verdict);
  CHECK_TRUE("the control condemns it", strcmp(verdict, "ok") != 0 && !strstr(verdict, "odd"));
  peer_kill(p);
  CHECK_STR("a healthy file", scene_look("PRAGMA ignore_check_constraints = ON; SELECT count(*) > 0 FROM t"),
            "1");

  make_odd();
  p = asked_start(sandbox_without_ofd);
  if (peer_open(p, 0, SCENE_DB, 0)) check_broken(SCENE_DB);
  CHECK_INT("odd()", peer_call(p, know_odd), SQLITE_OK);
  scene_must(p, "PRAGMA cache_size = 5; SELECT count(*) FROM t");
  expect(p, asked_full, "not_checked|lock-lost|");
  peer_kill(p);

  check_scene("the same where holdfast owns the lock: nothing is lost, nobody gets in");
  make_odd();
  p = checker(SCENE_DB, 0);
  CHECK_INT("odd()", peer_call(p, know_odd), SQLITE_OK);
  scene_must(p, "PRAGMA cache_size = 5; SELECT count(*) FROM t");
  expect(p, asked_full, "ok|none|0|");
  (void)peer_end(p);
  (void)close(ask_helper[1]);
  (void)waitpid(helper, NULL, 0);
}

/* ---------------------------------------------------------------- not under the shim */

static void unproven(void)
{
  char zeros[4000] = {0};
  peer *p;

  check_scene("damage where nobody can look at the locks");
  scene_make("delete", FILL);
  file_patch(SCENE_DB, 4096L * 9, zeros, sizeof zeros);
  p = checker("file:" SCENE_DB "?holdfast_mode=off", 0);
  CHECK_HAS("verdict", asked_of(p, asked_full), "not_checked|unproven|");
  (void)peer_end(p);
  p = checker(SCENE_DB, 0);
  CHECK_HAS("verdict", asked_of(p, asked_full), "damaged|none|1|");
  (void)peer_end(p);
}

int main(void)
{
  seed_start();
  scene_make("delete", FILL);
  locks();
  own_state();
  missing("CREATE TABLE t(a); CREATE INDEX i ON t(known(a)); INSERT INTO t VALUES(1)",
          "an INDEX over a function");
  missing("CREATE TABLE t(a, CHECK(known(a))); INSERT INTO t VALUES(1)", "a CHECK with a function");
  missing("CREATE TABLE t(a COLLATE mine); CREATE INDEX i ON t(a); INSERT INTO t VALUES('x')",
          "a collation of an INDEX");
  times();
  files();
  lost_lock();
  unproven();
  return check_done();
}
