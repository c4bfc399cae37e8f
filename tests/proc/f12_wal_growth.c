/*
 * f12_wal_growth.c - F12: a forgotten reader keeps the WAL from being begun again, and it grows without
 * limit.
 *
 * With plain SQLite nobody is told: a PASSIVE checkpoint answers "not busy" (0|log|copied), and the -wal
 * grows. The pool looks at what was copied, says within a second who pins the WAL, for how long and with
 * which statement, ends that reader if it was asked to, and cuts the -wal to its limit once the reader is
 * gone.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "check.h"
#include "files.h"
#include "pooled.h"
#include "scene.h"

enum { LIMIT_MIB = 1, CHECKPOINT_FRAMES = 200, NAMED_MS_MAX = 1000, PATIENCE_MS = 10000, AGE_MS = 300 };
#define WRITE_MUCH                                                                                           \
  "WITH RECURSIVE i(n) AS (VALUES(1) UNION ALL SELECT n+1 FROM i WHERE n<50) "                               \
  "INSERT INTO t(who,n,v) SELECT 1,n,hex(randomblob(1000)) FROM i"

static int64_t now_ms(void)
{
  struct timespec t;

  (void)clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---------------------------------------------------------------- plain */

static void plain(void)
{
  peer *reader, *writer;
  int busy = -1;
  long log = -1, copied = -1, bytes;

  check_scene("plain");
  scene_make("wal", "INSERT INTO t(who) VALUES(1)");
  reader = scene_peer(SHIM_NO);
  writer = scene_peer(SHIM_NO);
  scene_must(reader, "BEGIN; SELECT count(*) FROM t");
  for (int i = 0; i < 80; i++) scene_must(writer, WRITE_MUCH);
  (void)sscanf(peer_ask(writer, 0, "PRAGMA wal_checkpoint(PASSIVE)"), "%d|%ld|%ld", &busy, &log, &copied);
  bytes = file_size(SCENE_DB "-wal");
  printf("plain: the checkpoint says busy=%d, %ld of %ld frames copied; -wal of %ld KiB\n", busy, copied, log,
         bytes / 1024);
  CHECK_INT("the checkpoint says", busy, 0);
  CHECK_TRUE("and has not done its work", copied < log / 10);
  CHECK_TRUE("the -wal has grown", bytes > (4L << 20) * LIMIT_MIB);
  scene_must(reader, "COMMIT");
  CHECK_INT("end of the reader", peer_end(reader), 0);
  scene_must(writer, WRITE_MUCH);
  CHECK_TRUE("and it stays as large, with the reader gone", file_size(SCENE_DB "-wal") >= bytes);
  CHECK_INT("end of the writer", peer_end(writer), 0);
}

/* ---------------------------------------------------------------- in the process with the pool */

static holdfast_pool *pool;
static struct {
  atomic_llong pinned_at, ended_at;
  holdfast_pool_event first;
  char tag[64], sql[160], text[400];
} seen;

static void on_event(const holdfast_pool_event *e, void *unused)
{
  (void)unused;
  if (e->kind == HOLDFAST_POOL_PINNED && atomic_load(&seen.pinned_at) == 0) {
    seen.first = *e;
    (void)snprintf(seen.tag, sizeof seen.tag, "%s", e->tag);
    (void)snprintf(seen.sql, sizeof seen.sql, "%s", e->sql);
    (void)snprintf(seen.text, sizeof seen.text, "%s", e->text);
    atomic_store(&seen.pinned_at, now_ms());
  }
  if (e->kind == HOLDFAST_POOL_READ_ENDED) atomic_store(&seen.ended_at, now_ms());
}

static int write_much(void)
{
  return pooled_sql(pool, WRITE_MUCH);
}

/* A report that says what was reached, at most PATIENCE_MS after the reader has gone. */
static bool settles(void)
{
  int64_t end = now_ms() + PATIENCE_MS;
  holdfast_checkpoint r = {.struct_size = sizeof r};

  do {
    if (write_much() || holdfast_pool_checkpoint(pool, 0, &r)) return false;
    if (r.state == HOLDFAST_CHECKPOINT_COMPLETE && write_much() == 0 &&
        file_size(SCENE_DB "-wal") <= LIMIT_MIB * (1L << 20))
      return true;
  } while (now_ms() < end);
  return false;
}

/* Two members of a table of checks would hide which one failed: each line says what it is. */
static int wrong(const char *what)
{
  printf("wrong: %s (%s)\n", what, holdfast_errmsg());
  return 1;
}

/* `age_ms`: max_read_age_ms, 0 = the reader is never ended. */
static int idle_reader(int age_ms)
{
  holdfast_pool_config config = {.struct_size = sizeof config,
                                 .checkpoint_frames = CHECKPOINT_FRAMES,
                                 .wal_limit_mib = LIMIT_MIB,
                                 .max_read_age_ms = age_ms};
  holdfast_options idle = {.struct_size = sizeof idle, .tag = "idle reader"};
  holdfast_checkpoint r = {.struct_size = sizeof r};
  holdfast_lease *lease = NULL;
  sqlite3_stmt *s = NULL;
  int64_t first_incomplete = 0, end;
  int bad = 0;

  pool = pooled_open(&config);
  if (holdfast_pool_on_event(pool, on_event, NULL)) return wrong("on_event");
  if (holdfast_acquire_with(pool, HOLDFAST_READ, &idle, &lease)) return wrong("acquire");
  if (holdfast_prepare(lease, "SELECT id FROM t ORDER BY id", &s) || sqlite3_step(s) != SQLITE_ROW)
    return wrong("read");
  end = now_ms() + PATIENCE_MS;
  while (atomic_load(&seen.pinned_at) == 0 && now_ms() < end) {
    holdfast_stats st = {.struct_size = sizeof st};
    if (write_much()) return wrong("write");
    if (holdfast_pool_stats(pool, &st)) return wrong("stats");
    if (!first_incomplete && st.checkpoints_partial > 0) first_incomplete = now_ms();
  }
  if (!atomic_load(&seen.pinned_at)) return wrong("nobody is named");
  if (first_incomplete && atomic_load(&seen.pinned_at) - first_incomplete > NAMED_MS_MAX)
    bad += wrong("named too late");
  if (strcmp(seen.tag, "idle reader")) bad += wrong("the tag of the event");
  if (!strstr(seen.sql, "SELECT id FROM t ORDER BY id")) bad += wrong("the statement of the event");
  if (age_ms == 0) {
    if (holdfast_pool_checkpoint(pool, 0, &r)) bad += wrong("checkpoint");
    if (r.state != HOLDFAST_CHECKPOINT_PARTIAL || r.pin != 1 || strcmp(r.pin_tag, "idle reader") ||
        r.pin_age_ms < 0)
      bad += wrong("the report of a checkpoint");
    printf("holdfast: %s\n", seen.text);
  } else {
    while (atomic_load(&seen.ended_at) == 0 && now_ms() < end) (void)write_much();
    if (!atomic_load(&seen.ended_at)) bad += wrong("the reader was not ended");
    if (sqlite3_step(s) != SQLITE_INTERRUPT) bad += wrong("its statement goes on");
    printf("holdfast, max_read_age_ms=%d: ended\n", age_ms);
  }
  for (int i = 0; age_ms == 0 && i < 80; i++) bad += write_much() != 0;
  printf("  -wal with the reader: %ld KiB", file_size(SCENE_DB "-wal") / 1024);
  if (holdfast_release(lease)) bad += wrong("release");
  if (!settles()) bad += wrong("the -wal stays large");
  printf(", without: %ld KiB, limit %d KiB\n", file_size(SCENE_DB "-wal") / 1024, LIMIT_MIB * 1024);
  if (holdfast_pool_close(pool, 0)) bad += wrong("close");
  return bad != 0;
}

static int is_named(int who)
{
  (void)who;
  return idle_reader(0);
}

static int is_ended(int who)
{
  (void)who;
  return idle_reader(AGE_MS);
}

static void with_pool(const char *name, int (*body)(int who))
{
  check_scene("%s", name);
  crowd_start();
  scene_make("wal", "INSERT INTO t(who) VALUES(0),(0),(0)");
  CHECK_INT("the process with the pool", crowd_wait(crowd_fork(SHIM_NO, body, crowd_writer())), 0);
  CHECK_STR("integrity", scene_look("PRAGMA integrity_check"), "ok");
}

int main(void)
{
  plain();
  with_pool("an idle reader is named", is_named);
  with_pool("an idle reader is ended", is_ended);
  return check_done();
}
