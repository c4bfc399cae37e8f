/*
 * walguard.c between SQLite and a real VFS: what checkpoints answer with it and without it, the race itself
 * in one thread (the writer's commit happens inside a call of the checkpointer), and some random schedules.
 * tests/proc has the long runs, with processes and with the whole shim.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "check.h"
#include "files.h"
#include "holdfast.h"
#include "peer.h"
#include "walguard.h"
#include "walrace.h"

enum { ANSWER = 600, FRAMES = 20, SCHEDULES = 40 };

static int setting;              /* of connections that are opened on "guarded" */
static int alarms;               /* of all of them */
static void (*at_unfetch)(void); /* once, where a checkpoint has copied a changed header */
static int busy_calls;

/* ---------------------------------------------------------------- two VFS: "guarded" over "hook" */

static void hook_before(const wrap_call *call)
{
  void (*act)(void) = at_unfetch;

  walrace_yield(call);
  if (call->op != WRAP_UNFETCH || !act) return;
  at_unfetch = NULL;
  act();
}

static void guarded_opened(wrap_file *file)
{
  hf_walguard_open(file->extra, sqlite3_libversion_number(), sqlite3_sourceid(), setting);
}

static void guarded_mapped(wrap_file *file, int region, volatile void *page)
{
  hf_walguard_mapped(file->extra, region, page);
}

static int guarded_lock(wrap_file *file, int slot, int n, int flags)
{
  hf_walguard *g = file->extra;
  int rc = hf_walguard_lock(g, file->below, slot, n, flags);

  if (g->alarm) alarms++;
  g->alarm = false;
  return rc;
}

static const wrap_rules hook = {.name = "hook", .before = hook_before};
static const wrap_rules guarded = {.name = "guarded",
                                   .below = "hook",
                                   .extra = sizeof(hf_walguard),
                                   .opened = guarded_opened,
                                   .shm_lock = guarded_lock,
                                   .shm_mapped = guarded_mapped};

static int set_up(void **state)
{
  (void)state;
  seed_start();
  return wrapvfs_register(&hook, 0) || wrapvfs_register(&guarded, 0);
}

/* ---------------------------------------------------------------- connections */

static sqlite3 *open_on(const char *vfs)
{
  sqlite3 *db = NULL;

  assert_int_equal(sqlite3_open_v2("g.db", &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, vfs), SQLITE_OK);
  assert_int_equal(sqlite3_exec(db, "PRAGMA synchronous=OFF; PRAGMA wal_autocheckpoint=0", NULL, NULL, NULL),
                   SQLITE_OK);
  return db;
}

/* The rows, or "code: message". */
static const char *ask(sqlite3 *db, const char *sql)
{
  static char answer[ANSWER];
  char text[ANSWER - 20];
  int rc = sql_text(db, sql, text, sizeof text);

  if (rc)
    (void)snprintf(answer, sizeof answer, "%d: %s", rc, text);
  else
    (void)snprintf(answer, sizeof answer, "%s", text);
  return answer;
}

/* Rows of a page each, all of them in the database and none in the log. */
static void make_database(void)
{
  sqlite3 *db;

  db_remove("g.db");
  db = open_on("hook");
  assert_string_equal(ask(db, "PRAGMA page_size=512; PRAGMA journal_mode=WAL;"
                              "CREATE TABLE t(id INTEGER PRIMARY KEY, n, pad);"
                              "WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x+1 FROM c WHERE x<40)"
                              "INSERT INTO t SELECT x, 10, zeroblob(400) FROM c"),
                      "wal");
  assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* ---------------------------------------------------------------- checkpoints answer the same */

static int busy_three_times(void *arg, int times)
{
  (void)arg;
  busy_calls++;
  return times < 3;
}

enum { NOBODY, OLD_READER, NEW_READER, WRITER, CHECKPOINTED, COMPANIES };

/* What one checkpoint says, what it leaves behind, and what a second one says. */
static void one_checkpoint(const char *mode, int company, bool busy_handler, char *out, size_t size)
{
  sqlite3 *writer, *other, *checkpointer;
  char sql[60], first[200], second[200];
  long file, log;

  make_database();
  checkpointer = open_on("guarded");
  writer = open_on("guarded");
  other = open_on("guarded");
  busy_calls = 0;
  if (busy_handler) (void)sqlite3_busy_handler(checkpointer, busy_three_times, NULL); /* always OK */
  (void)ask(checkpointer, "SELECT count(*) FROM t");
  if (company == OLD_READER) (void)ask(other, "BEGIN; SELECT count(*) FROM t");
  assert_string_equal(ask(writer, "UPDATE t SET n=11 WHERE id<=20"), "");
  if (company == CHECKPOINTED) assert_string_equal(ask(writer, "PRAGMA wal_checkpoint"), "0|20|20");
  if (company == NEW_READER) (void)ask(other, "BEGIN; SELECT count(*) FROM t");
  if (company == WRITER) assert_string_equal(ask(other, "BEGIN IMMEDIATE; UPDATE t SET n=5 WHERE id=30"), "");
  (void)snprintf(sql, sizeof sql, "PRAGMA wal_checkpoint(%s)", mode);
  (void)snprintf(first, sizeof first, "%.190s", ask(checkpointer, sql));
  file = file_size("g.db");
  log = file_size("g.db-wal");
  assert_string_equal(ask(other, company == NOBODY || company == CHECKPOINTED ? "" : "COMMIT"), "");
  assert_string_equal(ask(writer, "UPDATE t SET n=12 WHERE id<=3"), "");
  (void)snprintf(second, sizeof second, "%.190s", ask(checkpointer, sql));
  (void)snprintf(out, size, "%s, busy %d, %ld, %ld; %s, %ld; %s", first, busy_calls, file, log, second,
                 file_size("g.db-wal"), ask(writer, "SELECT sum(n) FROM t; PRAGMA integrity_check"));
  assert_int_equal(sqlite3_close(other), SQLITE_OK);
  assert_int_equal(sqlite3_close(writer), SQLITE_OK);
  assert_int_equal(sqlite3_close(checkpointer), SQLITE_OK);
  assert_false(db_beside("g.db", "-wal"));
}

static void checkpoints_answer_the_same(void **state)
{
  static const char *const modes[] = {"PASSIVE", "FULL", "RESTART", "TRUNCATE"};
  char with[ANSWER * 2], without[ANSWER * 2];

  (void)state;
  for (int i = 0; i < 4 * COMPANIES * 2; i++) {
    setting = HF_WALGUARD_OFF;
    one_checkpoint(modes[i % 4], i / 4 % COMPANIES, i >= 4 * COMPANIES, without, sizeof without);
    setting = HF_WALGUARD_ON;
    one_checkpoint(modes[i % 4], i / 4 % COMPANIES, i >= 4 * COMPANIES, with, sizeof with);
    assert_string_equal(with, without);
  }
  assert_int_equal(alarms, 0);
}

/* A log that grows is restarted as often with the guard as without it. */
static void the_log_is_restarted_as_before(void **state)
{
  long sizes[2];

  (void)state;
  for (int on = 0; on < 2; on++) {
    sqlite3 *db;
    make_database();
    setting = on ? HF_WALGUARD_ON : HF_WALGUARD_OFF;
    db = open_on("guarded");
    assert_string_equal(ask(db, "PRAGMA wal_autocheckpoint=10"), "10");
    for (int i = 0; i < 100; i++) assert_string_equal(ask(db, "UPDATE t SET n=n+1 WHERE id<=3"), "");
    sizes[on] = file_size("g.db-wal");
    assert_string_equal(ask(db, "SELECT sum(n) FROM t"), "700");
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
  }
  assert_int_equal(sizes[1], sizes[0]);
  assert_true(sizes[1] < 20 * 600);
}

/* ---------------------------------------------------------------- the race */

static sqlite3 *race_writer;
static char race_writer_said[ANSWER];

static void commit_in_the_window(void)
{
  (void)snprintf(race_writer_said, sizeof race_writer_said, "%s",
                 ask(race_writer, "UPDATE t SET n=n+1 WHERE id=1"));
}

/* The log is copied, the writer restarts it while the checkpointer works with its copy of the old header, and
 * goes on committing. What a new connection then reads. */
static const char *after_the_race(const char *checkpointer_vfs, const char *writer_vfs)
{
  static char answer[ANSWER];
  sqlite3 *checkpointer, *reader;

  make_database();
  checkpointer = open_on(checkpointer_vfs);
  race_writer = open_on(writer_vfs);
  (void)ask(checkpointer, "SELECT count(*) FROM t");
  assert_string_equal(ask(race_writer, "UPDATE t SET n=n+1 WHERE id<=20; PRAGMA wal_checkpoint"), "0|20|20");
  at_unfetch = commit_in_the_window;
  (void)snprintf(race_writer_said, sizeof race_writer_said, "not asked");
  assert_true(ask(checkpointer, "PRAGMA wal_checkpoint")[0] == '0');
  assert_string_equal(race_writer_said, "");
  for (int i = 0; i < 5; i++)
    assert_string_equal(ask(race_writer, "UPDATE t SET n=n+1 WHERE id=(SELECT max(id) FROM t)"), "");
  reader = open_on("guarded");
  (void)snprintf(answer, sizeof answer, "%s", ask(reader, "SELECT sum(n) FROM t; PRAGMA integrity_check"));
  assert_int_equal(sqlite3_close(reader), SQLITE_OK);
  assert_int_equal(sqlite3_close(race_writer), SQLITE_OK);
  assert_int_equal(sqlite3_close(checkpointer), SQLITE_OK);
  return answer;
}

static void a_guard_on_either_side_prevents_the_loss(void **state)
{
  const char *all = "426\nok"; /* 40 rows of 10, 20 + 1 + 5 updates */

  (void)state;
  if (!hf_walguard_affected(sqlite3_libversion_number(), sqlite3_sourceid())) skip();
  setting = HF_WALGUARD_AUTO;
  alarms = 0;
  assert_string_equal(after_the_race("guarded", "hook"), all);
  assert_string_equal(after_the_race("hook", "guarded"), all);
  assert_string_equal(after_the_race("guarded", "guarded"), all);
  assert_int_equal(alarms, 0);
  /* Nothing of it holds without the guard, and then the reader's alarm goes off. */
  assert_string_not_equal(after_the_race("hook", "hook"), all);
  assert_int_equal(alarms, 1);
  setting = HF_WALGUARD_OFF;
  assert_string_not_equal(after_the_race("guarded", "guarded"), all);
  assert_int_equal(alarms, 1);
}

static void random_schedules_lose_nothing(void **state)
{
  walrace check = {"guarded", "hook", false, "hook"}, gate = {"hook", "guarded", false, "hook"};
  walrace both = {"guarded", "guarded", true, "hook"};

  (void)state;
  setting = HF_WALGUARD_ON;
  alarms = 0;
  assert_int_equal(walrace_many(&check, SCHEDULES, "check"), 0);
  assert_int_equal(walrace_many(&gate, SCHEDULES, "gate"), 0);
  assert_int_equal(walrace_many(&both, SCHEDULES, "both"), 0);
  assert_int_equal(alarms, 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(checkpoints_answer_the_same),
      cmocka_unit_test(the_log_is_restarted_as_before),
      cmocka_unit_test(a_guard_on_either_side_prevents_the_loss),
      cmocka_unit_test(random_schedules_lose_nothing),
  };
  return cmocka_run_group_tests(tests, set_up, NULL);
}
