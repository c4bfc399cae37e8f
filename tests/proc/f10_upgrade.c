/*
 * f10_upgrade.c - F10: "database is locked" at once, whatever the busy timeout.
 *
 * A transaction that begins by reading and then writes cannot wait for another writer: what it has read would
 * be old. SQLite does not even call the busy handler. Programs that read, think and write in one BEGIN lose
 * that transaction. holdfast_write() begins as a writer, so there is nothing to upgrade: it waits its turn.
 */
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "crowd.h"
#include "pooled.h"
#include "scene.h"

enum { PROCESSES = 3, TIMEOUT_MS = 20000, AT_ONCE_MS = 5000, THINK_US = 200 };

static long now_ms(void)
{
  struct timespec t;

  (void)clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Two programs, step by step. */
static void step_by_step(const char *mode)
{
  peer *a, *b;
  long began;
  int rc;

  check_scene("read, then write, step by step, %s", mode);
  scene_make(mode, "INSERT INTO t(who,n) VALUES(0,0)");
  a = scene_peer(SHIM_NO);
  b = scene_peer(SHIM_NO);
  scene_must(a, "PRAGMA busy_timeout=20000; BEGIN; SELECT n FROM t");
  scene_must(b, "PRAGMA busy_timeout=20000; BEGIN; SELECT n FROM t");
  scene_must(a, "UPDATE t SET n=n+1");
  if (mode[0] == 'w') scene_must(a, "COMMIT");
  began = now_ms();
  rc = peer_sql(b, 0, "UPDATE t SET n=n+1");
  printf("%-6s step by step: code %d after %ld ms of %d\n", mode, rc, now_ms() - began, TIMEOUT_MS);
  CHECK_INT("the upgrade", rc & 0xff, SQLITE_BUSY);
  CHECK_INT("its code", rc, mode[0] == 'w' ? SQLITE_BUSY_SNAPSHOT : SQLITE_BUSY);
  CHECK_TRUE("it did not wait", now_ms() - began < AT_ONCE_MS);
  CHECK_INT("end of a", peer_end(a), 0);
  CHECK_INT("end of b", peer_end(b), 0);
}

/* ---------------------------------------------------------------- a counter that three processes add to */

static int rounds(void)
{
  return scene_rounds(300, 5000);
}

static int plain_adds(int who)
{
  crowd_log *log = crowd_log_of(who);
  sqlite3 *db = NULL;
  char out[200];

  if (sqlite3_open(SCENE_DB, &db)) return 1;
  (void)sqlite3_busy_timeout(db, TIMEOUT_MS);
  if (!scene_long() && sql_text(db, "PRAGMA synchronous=OFF", out, sizeof out)) return 1;
  for (int i = 0; i < rounds(); i++) {
    int rc = sql_text(db, "BEGIN; SELECT n FROM t", out, sizeof out);
    (void)usleep(THINK_US);
    if (rc == SQLITE_OK) rc = sql_text(db, "UPDATE t SET n=n+1; COMMIT", out, sizeof out);
    if (rc == SQLITE_OK) {
      atomic_fetch_add(&log->committed, 1);
      continue;
    }
    if ((rc & 0xff) == SQLITE_BUSY)
      atomic_fetch_add(&log->busy, 1);
    else
      atomic_store(&log->error, rc);
    (void)sql_text(db, "ROLLBACK", out, sizeof out); /* nothing is open after some errors */
  }
  return sqlite3_close(db);
}

static int read_and_add(holdfast_lease *lease, void *unused)
{
  sqlite3_stmt *s = NULL;
  sqlite3_int64 n = -1;
  int rc = holdfast_prepare(lease, "SELECT n FROM t", &s);

  (void)unused;
  if (rc == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW) n = sqlite3_column_int64(s, 0);
  (void)usleep(THINK_US);
  if (rc == SQLITE_OK) rc = sqlite3_reset(s);
  if (rc == SQLITE_OK) rc = holdfast_prepare(lease, "UPDATE t SET n=?1", &s);
  if (rc == SQLITE_OK) rc = sqlite3_bind_int64(s, 1, n + 1);
  if (rc == SQLITE_OK) rc = sqlite3_step(s);
  return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int pool_adds(int who)
{
  crowd_log *log = crowd_log_of(who);
  holdfast_pool *pool = pooled_open(NULL);

  for (int i = 0; i < rounds(); i++) {
    int rc = holdfast_write(pool, read_and_add, NULL);
    if (rc == SQLITE_OK) {
      atomic_fetch_add(&log->committed, 1);
      continue;
    }
    if ((rc & 0xff) == SQLITE_BUSY || rc == HOLDFAST_TIMEOUT)
      atomic_fetch_add(&log->busy, 1);
    else
      atomic_store(&log->error, rc);
  }
  return holdfast_pool_close(pool, 0);
}

static void counter(const char *mode, const char *name, int (*body)(int who), bool guarded)
{
  pid_t pids[PROCESSES];
  long committed = 0, busy = 0, found = -1;

  check_scene("%d processes add, %s, %s", PROCESSES, name, mode);
  crowd_start();
  scene_make(mode, "INSERT INTO t(who,n) VALUES(0,0)");
  for (int i = 0; i < PROCESSES; i++) pids[i] = crowd_fork(SHIM_NO, body, crowd_writer());
  for (int i = 0; i < PROCESSES; i++) CHECK_INT("end of a process", crowd_wait(pids[i]), 0);
  for (int i = 1; i <= PROCESSES; i++) {
    const crowd_log *log = crowd_log_of(i);
    committed += atomic_load(&log->committed);
    busy += atomic_load(&log->busy);
    CHECK_INT("other errors", atomic_load(&log->error), 0);
  }
  (void)sscanf(scene_look("SELECT n FROM t"), "%ld", &found);
  printf("%-6s %-8s %ld transactions, %ld \"locked\", the counter says %ld\n", mode, name, committed, busy,
         found);
  CHECK_INT("the counter", found, committed);
  if (guarded) {
    CHECK_INT("transactions", committed, (long)PROCESSES * rounds());
    CHECK_INT("\"locked\"", busy, 0);
  } else {
    CHECK_TRUE("\"locked\" in spite of the timeout", busy > 0);
  }
}

int main(void)
{
  for (int m = 0; m < SCENE_MODES; m++) {
    step_by_step(scene_modes[m]);
    counter(scene_modes[m], "plain", plain_adds, false);
    counter(scene_modes[m], "holdfast", pool_adds, true);
  }
  return check_done();
}
