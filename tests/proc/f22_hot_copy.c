/*
 * f22_hot_copy.c - F22: a database that is copied, as files, while it is in use.
 *
 * A writer moves amounts between accounts, a commit each; their sum never changes. The control copies the
 * file, as a script or a sync service does: what it gets lacks the -wal, or has pages of different commits.
 * holdfast_pool_backup() gives whole commits only: all that were acknowledged before it began, the right sum,
 * integrity ok; and the writer goes on meanwhile.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "crowd.h"
#include "files.h"
#include "pooled.h"
#include "scene.h"

enum { ACCOUNTS = 4000, START = 100, COPIES = 10, COPIES_MAX = 300 };
#define MAKE                                                                                                 \
  "CREATE TABLE account(id INTEGER PRIMARY KEY, amount INT, pad TEXT); "                                     \
  "WITH RECURSIVE i(n) AS (VALUES(1) UNION ALL SELECT n+1 FROM i WHERE n<4000) "                             \
  "INSERT INTO account SELECT n,100,hex(randomblob(200)) FROM i; INSERT INTO t(id,who,n) VALUES(1,0,0)"
#define MOVE                                                                                                 \
  "UPDATE account SET amount=amount-1 WHERE id<=50; UPDATE account SET amount=amount+1 WHERE id>3950; "      \
  "UPDATE t SET n=n+1 WHERE id=1"

/* One question to a copy, by a fresh plain process; the copy is opened like any database. */
static const char *of_copy(peer **p, const char *copy, const char *sql)
{
  const char *text;

  *p = peer_start(SHIM_NO, NULL);
  if (peer_open(*p, 0, copy, SQLITE_OPEN_READWRITE)) return "cannot be opened";
  text = peer_ask(*p, 0, sql);
  return text;
}

/* Whole, as it was after a commit not older than `at_least`? */
static bool is_good(const char *copy, long at_least)
{
  char text[300], sum[100];
  long n = -1;
  peer *p;

  (void)snprintf(
      text, sizeof text, "%.250s",
      of_copy(&p, copy,
              "SELECT (SELECT n FROM t WHERE id=1), (SELECT sum(amount) FROM account NOT INDEXED); "
              "PRAGMA integrity_check(1)"));
  (void)peer_end(p); /* its answer is in text */
  (void)snprintf(sum, sizeof sum, "|%d\nok", ACCOUNTS * START);
  return sscanf(text, "%ld|", &n) == 1 && n >= at_least && strstr(text, sum) != NULL;
}

/* ---------------------------------------------------------------- the writers */

static int plain_moves(int who)
{
  crowd_log *log = crowd_log_of(who);
  sqlite3 *db = NULL;
  char out[200];
  int rc = sqlite3_open(SCENE_DB, &db);

  (void)sqlite3_busy_timeout(db, 20000);
  if (rc == SQLITE_OK)
    rc = sql_text(db, "PRAGMA synchronous=OFF", out, sizeof out); /* more commits meanwhile */
  while (rc == SQLITE_OK && !crowd_stopped()) {
    rc = sql_text(db, "BEGIN IMMEDIATE; " MOVE "; COMMIT", out, sizeof out);
    if (rc == SQLITE_OK) atomic_fetch_add(&log->committed, 1);
  }
  return sqlite3_close(db) || rc;
}

static int move(holdfast_lease *lease, void *unused)
{
  char out[200];

  (void)unused;
  return sql_text(holdfast_lease_db(lease), MOVE, out, sizeof out);
}

static void *move_until_stop(void *arg)
{
  holdfast_pool *pool = arg;

  while (!crowd_stopped() && holdfast_write(pool, move, NULL) == 0)
    atomic_fetch_add(&crowd_log_of(1)->committed, 1);
  return NULL;
}

/* Copies while it writes. Exit code: 0, or what went wrong. */
static int backs_up(int who)
{
  holdfast_pool *pool = pooled_open(NULL);
  pthread_t second;
  int rc = 0;

  (void)who;
  if (pthread_create(&second, NULL, move_until_stop, pool)) return 5;
  for (int i = 0; i < COPIES && rc == 0; i++) {
    char name[40];
    long before = atomic_load(&crowd_log_of(1)->committed);
    (void)snprintf(name, sizeof name, "copy-%d.db", i);
    atomic_store(&crowd_log_of(2 + i)->started, before); /* what the copy must have at least */
    rc = holdfast_pool_backup(pool, name, NULL);
    if (rc == 0)
      atomic_store(&crowd_log_of(2 + i)->committed, 1);
    else
      printf("backup: %d %s\n", rc, holdfast_errmsg());
  }
  if (rc == 0 && holdfast_pool_backup(pool, "copy-0.db", NULL) != SQLITE_CANTOPEN)
    rc = 6; /* not overwritten */
  crowd_stop();
  (void)pthread_join(second, NULL); /* started above */
  return holdfast_pool_close(pool, 0) || rc;
}

/* ---------------------------------------------------------------- the scenes */

static void as_files(const char *mode)
{
  int writer, bad = 0, copies = 0;
  long before, moves;
  pid_t pid;

  check_scene("copied as a file, %s", mode);
  crowd_start();
  scene_make(mode, MAKE);
  writer = crowd_writer();
  pid = crowd_fork(SHIM_NO, plain_moves, writer);
  while (atomic_load(&crowd_log_of(writer)->committed) < 20) crowd_sleep(1); /* let it get going */
  for (; copies < COPIES || (bad == 0 && copies < COPIES_MAX); copies++) {
    char *bytes;
    size_t size;
    crowd_sleep(10);
    before = atomic_load(&crowd_log_of(writer)->committed);
    bytes = file_read(SCENE_DB, &size);
    file_write("copy.db", bytes, size);
    free(bytes);
    bad += !is_good("copy.db", before);
    db_remove("copy.db");
  }
  crowd_stop();
  CHECK_INT("end of the writer", crowd_wait(pid), 0);
  moves = atomic_load(&crowd_log_of(writer)->committed);
  printf("%-6s as a file: %d of %d copies are bad (%ld commits meanwhile)\n", mode, bad, copies, moves);
  CHECK_TRUE("some copies are bad", bad > 0);
}

static void by_pool(const char *mode)
{
  int good = 0;
  pid_t pid;
  long moves;

  check_scene("copied by the pool, %s", mode);
  crowd_start();
  scene_make(mode, MAKE);
  pid = crowd_fork(SHIM_NO, backs_up, 1);
  CHECK_INT("end of the process", crowd_wait(pid), 0);
  for (int i = 0; i < COPIES; i++) {
    char name[40];
    const crowd_log *log = crowd_log_of(2 + i);
    (void)snprintf(name, sizeof name, "copy-%d.db", i);
    CHECK_INT("the backup says", atomic_load(&log->committed), 1);
    good += is_good(name, atomic_load(&log->started));
    db_remove(name);
  }
  moves = atomic_load(&crowd_log_of(1)->committed);
  printf("%-6s by the pool: %d of %d copies are bad (%ld commits meanwhile)\n", mode, COPIES - good, COPIES,
         moves);
  CHECK_INT("good copies", good, COPIES);
  CHECK_TRUE("the writer went on", moves > COPIES);
  CHECK_STR("the database itself", scene_look("PRAGMA integrity_check"), "ok");
}

int main(void)
{
  for (int m = 0; m < SCENE_MODES; m++) {
    as_files(scene_modes[m]);
    by_pool(scene_modes[m]);
  }
  return check_done();
}
