/*
 * demo_board.c - the board of tasks: its tables, the steps of its users, and what is left of it in the end.
 */
#include <stdio.h>
#include <string.h>

#include "demo.h"

int board_create_tables(demo_connection *c, void *unused)
{
  (void)unused;
  return sqlite3_exec(
      c->db,
      "CREATE TABLE IF NOT EXISTS task(id INTEGER PRIMARY KEY, maker INT, number INT, state INT,"
      " owner INT, title TEXT);"
      "CREATE INDEX IF NOT EXISTS task_state ON task(state, id);"
      "CREATE TABLE IF NOT EXISTS event(id INTEGER PRIMARY KEY, task INT, program INT, what TEXT)",
      NULL, NULL, NULL);
}

/* One statement that gives no row. */
static int run(demo_connection *c, const char *sql, sqlite3_int64 a, sqlite3_int64 b, sqlite3_int64 d)
{
  sqlite3_stmt *s = NULL;
  int rc = board_prepare(c, sql, &s);

  if (rc != SQLITE_OK) return rc;
  rc = sqlite3_bind_int64(s, 1, a);
  if (rc == SQLITE_OK) rc = sqlite3_bind_int64(s, 2, b);
  if (rc == SQLITE_OK) rc = sqlite3_bind_int64(s, 3, d);
  if (rc == SQLITE_OK) rc = sqlite3_step(s);
  board_put(c, s);
  return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

int board_create(demo_connection *c, board_task *t)
{
  int rc = run(c,
               "INSERT INTO task(maker,number,state,owner,title)"
               " VALUES(?1,?2,?3,0,printf('task %d of program %d: call back',?2,?1))",
               t->who, t->number, TASK_CREATED);

  if (rc != SQLITE_OK) return rc;
  t->id = sqlite3_last_insert_rowid(c->db);
  return run(c, "INSERT INTO event(task,program,what) VALUES(?1,?2,printf('created as %d',?3))", t->id,
             t->who, t->number);
}

int board_claim(demo_connection *c, board_task *t)
{
  sqlite3_stmt *s = NULL;
  int rc = board_prepare(c, "SELECT id,maker,number FROM task WHERE state=1 ORDER BY id LIMIT 1", &s);

  if (rc != SQLITE_OK) return rc;
  t->id = 0;
  rc = sqlite3_step(s);
  if (rc == SQLITE_ROW) {
    t->id = sqlite3_column_int64(s, 0);
    t->maker = sqlite3_column_int(s, 1);
    t->number = (long)sqlite3_column_int64(s, 2);
    rc = SQLITE_DONE;
  }
  board_put(c, s);
  if (rc != SQLITE_DONE) return rc;
  if (!t->id) return SQLITE_OK;
  rc = run(c, "UPDATE task SET state=?1, owner=?2 WHERE id=?3", TASK_CLAIMED, t->who, t->id);
  if (rc != SQLITE_OK) return rc;
  return run(c, "INSERT INTO event(task,program,what) VALUES(?1,?2,printf('claimed %d',?3))", t->id, t->who,
             t->number);
}

int board_complete(demo_connection *c, board_task *t)
{
  int rc = run(c, "UPDATE task SET state=?1 WHERE id=?3 AND owner=?2", TASK_DONE, t->who, t->id);

  if (rc != SQLITE_OK) return rc;
  return run(c, "INSERT INTO event(task,program,what) VALUES(?1,?2,printf('done %d',?3))", t->id, t->who,
             t->number);
}

/* What a dashboard asks for on every tick. */
int board_poll(demo_connection *c, void *unused)
{
  sqlite3_stmt *s = NULL;
  int rc = board_prepare(c, "SELECT count(*), max(id) FROM task WHERE state=1", &s);

  (void)unused;
  if (rc != SQLITE_OK) return rc;
  do rc = sqlite3_step(s);
  while (rc == SQLITE_ROW);
  board_put(c, s);
  return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* ---------------------------------------------------------------- afterwards */

/* The table itself is read, not an index: destroyed rows can live on in an index. Each found task is taken
 * off the programs' memory, so that none counts twice. */
static void count_tasks(sqlite3 *db, demo_shared *shared)
{
  sqlite3_stmt *s = NULL;

  if (sqlite3_prepare_v2(db, "SELECT maker,number,state FROM task NOT INDEXED", -1, &s, NULL) != SQLITE_OK)
    return; /* nothing can be read: nothing was found */
  while (sqlite3_step(s) == SQLITE_ROW) {
    sqlite3_int64 maker = sqlite3_column_int64(s, 0), number = sqlite3_column_int64(s, 1);
    int state = sqlite3_column_int(s, 2), told;
    if (maker < 0 || maker >= DEMO_PROGRAMS || number < 0 || number >= DEMO_TASKS_MAX) continue;
    told = atomic_load(&shared->told[maker][number]);
    if (told == TASK_UNKNOWN || state < told) continue;
    shared->audit.found++;
    atomic_store(&shared->told[maker][number], TASK_UNKNOWN);
  }
  (void)sqlite3_finalize(s); /* its error, if any, is integrity_check's to tell */
}

/* The first answer; or the message, and the code that is not SQLITE_ROW. */
static int ask(sqlite3 *db, const char *sql, char *out, size_t size)
{
  sqlite3_stmt *s = NULL;
  int rc = sqlite3_prepare_v2(db, sql, -1, &s, NULL);

  if (rc == SQLITE_OK) rc = sqlite3_step(s);
  (void)snprintf(out, size, "%s",
                 rc == SQLITE_ROW ? (const char *)sqlite3_column_text(s, 0) : sqlite3_errmsg(db));
  (void)sqlite3_finalize(s); /* the message is in out */
  return rc;
}

/* "Locked" is no damage. */
static int verdict_of(int rc, const char *said)
{
  if (rc == SQLITE_ROW) return strcmp(said, "ok") ? CHECK_ALARM : CHECK_OK;
  return (rc & 0xFF) == SQLITE_CORRUPT || (rc & 0xFF) == SQLITE_NOTADB ? CHECK_ALARM : CHECK_NOT_DONE;
}

void board_audit(const char *path, demo_shared *shared)
{
  demo_audit *a = &shared->audit;
  char mode[sizeof a->mode];
  sqlite3 *db = NULL;
  int rc = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL);

  (void)strcpy(a->mode, "unreadable");
  (void)snprintf(a->said, sizeof a->said, "%s", sqlite3_errstr(rc));
  if (rc == SQLITE_OK) {
    (void)sqlite3_busy_timeout(db, 10000); /* fails only for a bad handle */
    count_tasks(db, shared);
    if (ask(db, "PRAGMA journal_mode", mode, sizeof mode) == SQLITE_ROW) (void)strcpy(a->mode, mode);
    rc = ask(db, "PRAGMA integrity_check(1)", a->said, sizeof a->said);
  }
  a->integrity = verdict_of(rc, a->said);
  a->done = true;
  (void)sqlite3_close(db); /* every statement is finalized */
}
