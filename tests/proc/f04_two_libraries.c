/*
 * f04_two_libraries.c - F4: two SQLite libraries in one process use the same database.
 *
 * POSIX locks never conflict within a process: while one library holds a lock the other gets it too, the
 * last close of either drops the locks of both and takes the -wal away. With the shim in one or both of them
 * they exclude each other, and nobody outside gets in when one of them closes.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "crowd.h"
#include "files.h"
#include "scene.h"
#include "second.h"

/* Who of the two libraries has the shim. The outside process is always plain. */
static const struct libraries {
  const char *name;
  int first, second;
} all[] = {
    {"both plain", SHIM_NO, SHIM_NO},
    {"both with holdfast", SHIM_YES, SHIM_YES},
    {"first with holdfast", SHIM_YES, SHIM_NO},
    {"second with holdfast", SHIM_NO, SHIM_YES},
};
enum { LIBRARIES = sizeof all / sizeof all[0] };

/*
 * Steps inside the process with two libraries. The first one's connection is slot 0 of the peer.
 */
static sqlite3 *second;

static int load_plain(sqlite3 **db, char *out, size_t size)
{
  (void)db, (void)out, (void)size;
  second_load(SHIM_NO);
  return SQLITE_OK;
}

static int load_shimmed(sqlite3 **db, char *out, size_t size)
{
  (void)db, (void)out, (void)size;
  second_load(SHIM_YES);
  return SQLITE_OK;
}

static int second_opens(sqlite3 **db, char *out, size_t size)
{
  int rc = second_open(SCENE_DB, &second);

  (void)db;
  return rc ? rc : second_sql(second, "SELECT count(*) FROM t", out, size);
}

static int second_begins(sqlite3 **db, char *out, size_t size)
{
  (void)db;
  return second_sql(second, "BEGIN IMMEDIATE; INSERT INTO t(who) VALUES(2)", out, size);
}

static int second_commits(sqlite3 **db, char *out, size_t size)
{
  (void)db;
  return second_sql(second, "COMMIT", out, size);
}

static int second_rolls_back(sqlite3 **db, char *out, size_t size)
{
  (void)db;
  return second_sql(second, "ROLLBACK", out, size);
}

static int second_closes(sqlite3 **db, char *out, size_t size)
{
  (void)db, (void)out, (void)size;
  return second_close(second);
}

static peer *start(const struct libraries *l)
{
  peer *p = scene_peer(l->first);

  if (peer_call(p, l->second ? load_shimmed : load_plain)) check_broken("second library");
  CHECK_INT("the second library opens", peer_call(p, second_opens), SQLITE_OK);
  return p;
}

/* Each library holds by turns, the other tries. Returns how often it got in. */
static int breaches(const struct libraries *l, const char *mode, int rounds)
{
  peer *p;
  int in = 0;

  scene_make(mode, NULL);
  p = start(l);
  for (int i = 0; i < rounds; i++) {
    if (i % 2) {
      CHECK_INT("the second library begins", peer_call(p, second_begins), SQLITE_OK);
      in += scene_gets_in(p);
      CHECK_INT("the second library commits", peer_call(p, second_commits), SQLITE_OK);
    } else {
      scene_must(p, "BEGIN IMMEDIATE; INSERT INTO t(who) VALUES(1)");
      if (peer_call(p, second_begins) == SQLITE_OK) {
        in++;
        (void)peer_call(p, second_rolls_back); /* of two writers in one file, whatever that does */
      }
      (void)peer_sql(p, 0, "COMMIT"); /* counted below where it must have worked */
    }
  }
  CHECK_INT("the second library closes", peer_call(p, second_closes), SQLITE_OK);
  CHECK_INT("end of the process", peer_end(p), 0);
  if (l->first || l->second) {
    char want[40];
    (void)snprintf(want, sizeof want, "%d\nok", rounds);
    CHECK_STR("every commit is there",
              scene_look("SELECT count(*) FROM t NOT INDEXED; PRAGMA integrity_check"), want);
    CHECK_TRUE("no lock is left", !scene_locks_left());
  }
  return in;
}

/* The second library's last close while the first one is in the middle of a write: does an outsider get in,
 * and is the -wal taken away? */
static int closes(const struct libraries *l, const char *mode, int rounds, int *unlinked)
{
  bool guarded = l->first || l->second, wal = strcmp(mode, "wal") == 0;
  int in = 0;

  *unlinked = 0;
  for (int i = 0; i < rounds; i++) {
    peer *p, *outside;
    scene_make(mode, "INSERT INTO t(who) VALUES(0)");
    p = start(l);
    outside = scene_peer(SHIM_NO);
    scene_must(p, "BEGIN IMMEDIATE; INSERT INTO t(who) VALUES(1)");
    CHECK_TRUE("before the close nobody gets in", !scene_gets_in(outside));
    CHECK_INT("the second library closes", peer_call(p, second_closes), SQLITE_OK);
    in += scene_gets_in(outside);
    CHECK_INT("end of the outsider", peer_end(outside), 0);
    *unlinked += wal && !db_beside(SCENE_DB, "-wal");
    (void)peer_sql(p, 0, "COMMIT");
    if (guarded) CHECK_STR("the commit is seen", scene_look("SELECT count(*) FROM t"), "2");
    if (guarded)
      CHECK_INT("end of the process", peer_end(p), 0);
    else
      peer_kill(p);
    if (guarded)
      CHECK_STR("integrity", scene_look("SELECT count(*) FROM t; PRAGMA integrity_check"), "2\nok");
    if (guarded) CHECK_TRUE("no lock is left", !scene_locks_left());
  }
  return in;
}

/*
 * The moment between "is anybody else here?" and close(): the first library comes in it and takes the lock.
 * Where both libraries have met on this file before, that close must not happen at all.
 */
static sqlite3 *late;
static const char *late_at; /* suffix of the file at whose close it comes; NULL = not now */

static void come_late_now(void)
{
  char out[200];

  late_at = NULL;
  if (sqlite3_open_v2(SCENE_DB, &late, SQLITE_OPEN_READWRITE, NULL)) return;
  (void)sql_text(late, "BEGIN IMMEDIATE; INSERT INTO t(who) VALUES(1)", out, sizeof out);
}

static void come_late(int fd)
{
  char link[40], path[300];
  ssize_t n;

  if (!late_at) return;
  (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  n = readlink(link, path, sizeof path - 1);
  if (n < (ssize_t)strlen(late_at)) return;
  path[n] = 0;
  if (strcmp(path + n - strlen(late_at), late_at) == 0) come_late_now();
}

static int watch_closes(sqlite3 **db, char *out, size_t size)
{
  (void)db, (void)out, (void)size;
  second_watch_closes(come_late);
  return SQLITE_OK;
}

static int second_closes_late(sqlite3 **db, char *out, size_t size)
{
  (void)db, (void)out, (void)size;
  late_at = SCENE_DB; /* the last file that is closed: all its locks have been given back by then */
  (void)second_close(second);
  if (late_at) come_late_now(); /* it was not closed: come now */
  return late && !sqlite3_get_autocommit(late) ? SQLITE_OK : SQLITE_ERROR;
}

static int late_commits(sqlite3 **db, char *out, size_t size)
{
  int rc = sql_text(late, "COMMIT", out, size);

  (void)db;
  return rc ? rc : sqlite3_close(late);
}

static void between(const struct libraries *l, const char *mode)
{
  bool guarded = l->second; /* it is the second library that closes */
  bool wal = strcmp(mode, "wal") == 0;
  peer *p, *outside;
  int in = 0, rounds = scene_rounds(5, 50);

  check_scene("between the look and the close, %s, %s", mode, l->name);
  for (int i = 0; i < rounds; i++) {
    scene_make(mode, "INSERT INTO t(who) VALUES(0)");
    p = peer_start(l->first, NULL);
    outside = scene_peer(SHIM_NO); /* so that nobody is the last one */
    CHECK_INT("open", peer_open(p, 0, SCENE_DB, 0), SQLITE_OK);
    scene_must(p, "SELECT count(*) FROM t");
    (void)peer_call(p, watch_closes);
    if (peer_call(p, l->second ? load_shimmed : load_plain)) check_broken("second library");
    CHECK_INT("the second library opens", peer_call(p, second_opens), SQLITE_OK);
    CHECK_INT("and closes: they have met", peer_call(p, second_closes), SQLITE_OK);
    CHECK_INT("the first one leaves", peer_close(p, 0), SQLITE_OK);
    CHECK_INT("the second library opens again", peer_call(p, second_opens), SQLITE_OK);
    CHECK_INT("the first one comes at its close", peer_call(p, second_closes_late), SQLITE_OK);
    /* Its lock on the database: that of a writer in DELETE mode, and what keeps the -wal there in WAL mode.
     */
    if (!wal) in += scene_gets_in(outside);
    CHECK_INT("end of the outsider", peer_end(outside), 0);
    if (wal) in += !db_beside(SCENE_DB, "-wal");
    if (guarded) CHECK_INT("its commit", peer_call(p, late_commits), SQLITE_OK);
    if (guarded)
      CHECK_INT("end of the process", peer_end(p), 0);
    else
      peer_kill(p);
    if (guarded) CHECK_STR("rows", scene_look("SELECT count(*) FROM t; PRAGMA integrity_check"), "2\nok");
  }
  CHECK_INT("breaches", in, guarded ? 0 : rounds);
  printf("between  %-6s %-22s %d of %d\n", mode, l->name, in, rounds);
}

/*
 * All at once: a thread with the first library, one with the second, each opening and closing now and then,
 * and a writer outside.
 */
static int who_second;

static void *second_writes(void *unused)
{
  char sql[160], out[200];
  crowd_log *log = crowd_log_of(who_second);
  sqlite3 *db = NULL;
  int rc = SQLITE_OK;

  for (long n = 1; !crowd_stopped();) {
    if (!db && second_open(SCENE_DB, &db)) break;
    (void)snprintf(sql, sizeof sql,
                   "PRAGMA busy_timeout=100; INSERT INTO t(who,n,v) VALUES(%d,%ld,hex(randomblob(40)))",
                   who_second, n);
    atomic_store(&log->started, n);
    rc = second_sql(db, sql, out, sizeof out);
    if (rc == SQLITE_OK)
      atomic_store(&log->committed, n++);
    else if ((rc & 0xff) != SQLITE_BUSY)
      break;
    if (n % 20 == 0) (void)second_close(db), db = NULL; /* not busy: cannot fail */
  }
  if (rc != SQLITE_OK && (rc & 0xff) != SQLITE_BUSY) atomic_store(&log->error, rc);
  if (db) (void)second_close(db);
  return unused;
}

static const struct libraries *stressed;

static int two_libraries_write(int who)
{
  pthread_t thread;
  sqlite3 *db = NULL;
  int rc = SQLITE_OK;

  second_load(stressed->second);
  if (pthread_create(&thread, NULL, second_writes, NULL)) return 5;
  while (!crowd_stopped() && (rc == SQLITE_OK || rc == SQLITE_BUSY)) {
    rc = sqlite3_open_v2(SCENE_DB, &db, SQLITE_OPEN_READWRITE, NULL);
    (void)sqlite3_busy_timeout(db, 100);
    if (rc == SQLITE_OK) rc = crowd_insert(db, who, 20);
    (void)sqlite3_close(db);
  }
  (void)pthread_join(thread, NULL);
  return 0;
}

static void stress_run(const struct libraries *l, const char *mode, long ms, crowd_count *count)
{
  pid_t inside, outside;
  int first, code;

  crowd_start();
  scene_make(mode, "CREATE INDEX tv ON t(v)");
  stressed = l;
  first = crowd_writer();
  who_second = crowd_writer();
  inside = crowd_fork(l->first, two_libraries_write, first);
  outside = crowd_fork(SHIM_NO, crowd_insert_until_stop, crowd_writer());
  crowd_sleep(ms);
  crowd_stop();
  code = crowd_wait(inside);
  if (l->first || l->second) CHECK_INT("end of the process with two libraries", code, 0);
  code = crowd_wait(outside);
  if (l->first || l->second) CHECK_INT("end of the writer outside", code, 0);
  crowd_audit(count);
}

static void stress(const struct libraries *l, const char *mode)
{
  bool guarded = l->first || l->second;
  int limit = guarded ? scene_rounds(1, 5) : 10, bad = 0, runs = 0;
  long ms = scene_rounds(1500, 5000);
  crowd_count c = {0};

  check_scene("stress, %s, %s", mode, l->name);
  while (runs < limit && (guarded || bad == 0)) {
    stress_run(l, mode, ms, &c);
    runs++;
    bad += !crowd_exact(&c);
    if (guarded) CHECK_TRUE("everybody wrote", c.writers == 3 && c.committed > 30);
    if (guarded) CHECK_TRUE("no lock is left", !scene_locks_left());
  }
  if (guarded)
    CHECK_INT("bad runs", bad, 0);
  else
    CHECK_TRUE("the control goes bad", bad > 0);
  printf(
      "stress   %-6s %-22s %d of %d runs bad; last: %ld acknowledged, %ld lost, error %d, integrity: %.60s\n",
      mode, l->name, bad, runs, c.committed, c.lost, c.first_error, c.integrity);
}

int main(void)
{
  int rounds = scene_rounds(25, 200), in, unlinked;

  for (int m = 0; m < SCENE_MODES; m++)
    for (int i = 0; i < LIBRARIES; i++) {
      const struct libraries *l = &all[i];
      bool guarded = l->first || l->second;
      check_scene("%s, %s", scene_modes[m], l->name);
      in = breaches(l, scene_modes[m], rounds);
      CHECK_INT("breaches", in, guarded ? 0 : rounds);
      printf("breaches %-6s %-22s %d of %d\n", scene_modes[m], l->name, in, rounds);
      in = closes(l, scene_modes[m], scene_rounds(5, 50), &unlinked);
      CHECK_INT("outsiders that got in after a close", in, guarded ? 0 : scene_rounds(5, 50));
      if (guarded) CHECK_INT("-wal unlinked under the first library", unlinked, 0);
      printf("closes   %-6s %-22s %d of %d outsiders got in, %d -wal unlinked\n", scene_modes[m], l->name, in,
             scene_rounds(5, 50), unlinked);
      if (!(l->first && !l->second)) between(l, scene_modes[m]); /* the first one's close is the same */
      stress(l, scene_modes[m]);
    }
  return check_done();
}
