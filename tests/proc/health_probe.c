/*
 * health_probe.c - F5: false alarms. A writer works; beside it runs a "health check", first as applications
 * write it and then ours. The database is healthy the whole time, so every "corrupt" is a false verdict.
 *
 * The probe as it is written: a second connection of its own, read-only, without a busy timeout, whose every
 * error means "corrupt"; a look at the header by open() and close(); a copy of the file, checked as the file
 * itself. Ours: holdfast_health on a connection that stays, by the table and in C. Writers are plain SQLite:
 * DELETE and WAL, small cache, checkpoints and VACUUM. And a probe by a second SQLite library in the process
 * that writes, which its own process's locks do not keep out. HF_LONG=1: 10 s for each.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "asked.h"
#include "check.h"
#include "crowd.h"
#include "files.h"
#include "scene.h"
#include "second.h"

static double now(void)
{
  struct timespec t;

  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Goes on until there was something to see, but not for ever. */
static bool goes_on(double start, bool seen)
{
  double length = scene_long() ? 10 : 1.2;
  return now() < start + length || (!seen && now() < start + length + 40);
}

/* ---------------------------------------------------------------- the writer */

static int writes(int who)
{
  sqlite3 *db = NULL;
  char text[200];
  unsigned n = 0;

  (void)who;
  if (sqlite3_open(SCENE_DB, &db) != SQLITE_OK) return 1;
  (void)sqlite3_busy_timeout(db, 20000);
  (void)sql_text(db, "PRAGMA synchronous = OFF; PRAGMA cache_size = 20; PRAGMA wal_autocheckpoint = 50", text,
                 sizeof text);
  while (!crowd_stopped()) {
    const char *sql = "UPDATE t SET v = hex(randomblob(90)), who = who + 1 WHERE id % 5 = 0";
    if (++n % 10 == 3) sql = "DELETE FROM t WHERE id IN (SELECT id FROM t ORDER BY random() LIMIT 100)";
    if (n % 10 == 6)
      sql = "INSERT INTO t(who, n, v) SELECT who, n, hex(randomblob(200)) FROM t ORDER BY id LIMIT 100";
    if (n % 25 == 9) sql = "PRAGMA wal_checkpoint(TRUNCATE)";
    if (n % 25 == 19) sql = "VACUUM";
    int rc = sql_text(db, sql, text, sizeof text);
    if (rc && (rc & 0xff) != SQLITE_BUSY && (rc & 0xff) != SQLITE_LOCKED) {
      printf("the writer: %s: code %d, %s\n", sql, rc, text);
      (void)sqlite3_close(db);
      return 2;
    }
  }
  return sqlite3_close(db) == SQLITE_OK ? 0 : 3;
}

/* ---------------------------------------------------------------- the probe as it is written */

typedef struct tally {
  long asked, wrong, unknown;
  char first[200];
} tally;

static void condemned(tally *t, const char *why)
{
  if (t->wrong++ == 0) (void)snprintf(t->first, sizeof t->first, "%.199s", why);
}

static void probe_file(tally *t, const char *path)
{
  sqlite3 *db = NULL;
  char text[400] = "";

  t->asked++;
  if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK ||
      sql_text(db, "PRAGMA quick_check", text, sizeof text) != SQLITE_OK || strcmp(text, "ok") != 0)
    condemned(t, text[0] ? text : "cannot be opened");
  (void)sqlite3_close(db);
}

static void probe_header(tally *t)
{
  unsigned char head[100] = {0};
  long pages, size;
  int fd = open(SCENE_DB, O_RDONLY | O_CLOEXEC);

  t->asked++;
  if (fd < 0 || read(fd, head, sizeof head) != sizeof head || memcmp(head, "SQLite format 3", 16) != 0)
    condemned(t, "no header");
  size = lseek(fd, 0, SEEK_END);
  (void)close(fd);
  pages = (long)head[28] << 24 | (long)head[29] << 16 | (long)head[30] << 8 | head[31];
  if (size != pages * ((long)head[16] << 8 | head[17]))
    condemned(t, "the page count of the header is not the size");
}

/* As `cp` does it: the file changes meanwhile. */
static void copy_beside_the_writer(void)
{
  static char bytes[1 << 16];
  int from = open(SCENE_DB, O_RDONLY | O_CLOEXEC), to;
  ssize_t n;

  db_remove("copy.db");
  to = open("copy.db", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (from < 0 || to < 0) check_broken("copy.db");
  while ((n = read(from, bytes, sizeof bytes)) > 0)
    if (write(to, bytes, (size_t)n) != n) check_broken("copy.db");
  (void)close(from);
  (void)close(to);
}

static void probe_as_written(tally *t)
{
  double start = now();

  while (goes_on(start, t->wrong > 0)) {
    probe_file(t, SCENE_DB);
    probe_header(t);
    copy_beside_the_writer();
    probe_file(t, "copy.db");
  }
}

/* ---------------------------------------------------------------- ours */

static void judge(tally *t, const char *answer)
{
  t->asked++;
  if (strncmp(answer, "ok", 2) == 0) return;
  if (strncmp(answer, "not_checked", 11) == 0 || strncmp(answer, "error 5:", 8) == 0)
    t->unknown++;
  else
    condemned(t, answer);
}

static void probe_ours(tally *t)
{
  peer *table = peer_start(SHIM_YES, NULL), *c = asked_start(NULL);
  double start = now();

  if (peer_open(c, 0, SCENE_DB, 0) || peer_open(table, 0, SCENE_DB, 0)) check_broken("open");
  scene_must(table, "PRAGMA busy_timeout = 1000");
  scene_must(c, "PRAGMA busy_timeout = 1000");
  while (goes_on(start, t->asked > t->unknown)) {
    judge(t, peer_ask(table, 0,
                      "SELECT DISTINCT verdict, reason FROM holdfast_health('quick', 5000, 'main', 1)"));
    judge(t, asked_of(c, asked_quick));
    judge(t, peer_ask(table, 0,
                      "SELECT DISTINCT verdict, reason FROM holdfast_health('full', 5000, 'main', 1)"));
    judge(t, asked_of(c, asked_full));
  }
  CHECK_HAS_NOT("events", peer_ask(c, 0, "PRAGMA holdfast_events"), "\"damaged\"");
  CHECK_HAS_NOT("events", peer_ask(table, 0, "PRAGMA holdfast_events"), "\"damaged\"");
  (void)peer_end(table);
  (void)peer_end(c);
}

/* ---------------------------------------------------------------- both */

static void beside_a_writer(const char *mode, bool ours, tally *t)
{
  pid_t writer;

  scene_make(mode, "WITH RECURSIVE i(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM i WHERE x < 1500) "
                   "INSERT INTO t(who, n, v) SELECT x % 7, x, hex(randomblob(100)) FROM i; "
                   "CREATE INDEX tv ON t(v); CREATE INDEX tn ON t(n, who)");
  crowd_start();
  writer = crowd_fork(SHIM_NO, writes, 1);
  if (ours)
    probe_ours(t);
  else
    probe_as_written(t);
  crowd_stop();
  CHECK_INT("the writer", crowd_wait(writer), 0);
  CHECK_STR("the database is healthy", scene_look("PRAGMA integrity_check"), "ok");
  printf("%-6s %-10s %5ld asked, %4ld not checked, %4ld times called corrupt%s%.80s\n", mode,
         ours ? "holdfast" : "as written", t->asked, t->unknown, t->wrong, t->wrong ? ", first: " : "",
         t->first);
}

/* ---------------------------------------------------------------- a second library in the writer's process
 */

static tally *shared; /* the same memory in the child */

static void *writes_in_thread(void *result)
{
  *(int *)result = writes(1);
  return NULL;
}

/* Read-only, as a check should be; with a file that it may write it would roll back the writer's journal. */
static void probe_second(tally *t)
{
  sqlite3 *db = NULL;
  char text[400] = "";

  t->asked++;
  if (second_open_readonly(SCENE_DB, &db) != SQLITE_OK ||
      second_sql(db, "PRAGMA quick_check", text, sizeof text) != SQLITE_OK || strcmp(text, "ok") != 0)
    condemned(t, text[0] ? text : "cannot be opened");
  (void)second_close(db);
}

static int probes_beside_its_own_writer(int ours)
{
  holdfast_health_options options = {.struct_size = sizeof options, .kind = HOLDFAST_HEALTH_FULL, .force = 1};
  tally ignored = {0};
  sqlite3 *db = NULL;
  pthread_t thread;
  char answer[400];
  int result = 9;
  double start;

  if (ours && holdfast_register(NULL) != SQLITE_OK) return 3;
  second_load(SHIM_NO);
  if (sqlite3_open(SCENE_DB, &db) != SQLITE_OK || sqlite3_busy_timeout(db, 1000) != SQLITE_OK) return 4;
  if (pthread_create(&thread, NULL, writes_in_thread, &result)) return 5;
  start = now();
  while (goes_on(start, ours ? shared->asked > shared->unknown : shared->wrong > 0)) {
    probe_second(ours ? &ignored : shared); /* what it says is not holdfast's business; its close() is */
    if (!ours) continue;
    (void)asked(db, &options, 5, answer, sizeof answer); /* the answer tells */
    judge(shared, answer);
  }
  crowd_stop();
  (void)pthread_join(thread, NULL);
  return sqlite3_close(db) == SQLITE_OK ? result : 6;
}

static void second_library(bool ours)
{
  check_scene("a second library in the writer's process, %s", ours ? "holdfast" : "as written");
  scene_make("delete",
             "WITH RECURSIVE i(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM i WHERE x < 1500) INSERT INTO "
             "t(who, n, v) SELECT x % 7, x, hex(randomblob(100)) FROM i; CREATE INDEX tv ON t(v)");
  crowd_start();
  memset(shared, 0, sizeof *shared);
  CHECK_INT("its end", crowd_wait(crowd_fork(SHIM_NO, probes_beside_its_own_writer, ours)), 0);
  CHECK_STR("the database is healthy", scene_look("PRAGMA integrity_check"), "ok");
  printf("second library, %-10s %5ld asked, %4ld not checked, %4ld times called corrupt%s%.80s\n",
         ours ? "holdfast" : "as written", shared->asked, shared->unknown, shared->wrong,
         shared->wrong ? ", first: " : "", shared->first);
}

int main(void)
{
  for (int m = 0; m < SCENE_MODES; m++) {
    tally written = {0}, ours = {0};
    check_scene("%s", scene_modes[m]);
    beside_a_writer(scene_modes[m], false, &written);
    CHECK_TRUE("the control gives false verdicts", written.wrong > 0);
    beside_a_writer(scene_modes[m], true, &ours);
    CHECK_INT("false verdicts", ours.wrong, 0);
    CHECK_TRUE("some were checked", ours.asked - ours.unknown > 0);
  }
  shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) check_broken("shared memory");
  second_library(false);
  CHECK_TRUE("the control gives false verdicts", shared->wrong > 0);
  second_library(true);
  CHECK_INT("false verdicts", shared->wrong, 0);
  CHECK_TRUE("some were checked", shared->asked - shared->unknown > 0);
  return check_done();
}
