/*
 * locks_counted.c - the counters are exact: attempts, granted and busy of each lock and the syncs of each
 * file equal those of a VFS below the shim that only counts, in both journal modes, with several connections
 * in threads and with several processes that get in each other's way. And times are right: a lock is held and
 * waited for as long as a clock beside it says, and the statement and age that are shown for a holder of this
 * process are those of the holder.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "scene.h"
#include "wrapvfs.h"

enum { LEVELS = 5, SLOTS = 8, THREADS = 4, ROUNDS = 150 };

/* ---------------------------------------------------------------- the VFS below: in each peer, one */

typedef struct answers {
  atomic_long granted, busy, failed;
} answers;
static answers levels[LEVELS], slots[SLOTS];
static atomic_long syncs_db, syncs_wal, syncs_journal;

static void count_answer(answers *at, int rc)
{
  *(rc == SQLITE_OK ? &at->granted : (rc & 0xff) == SQLITE_BUSY ? &at->busy : &at->failed) += 1;
}

/* A writer that waits is told that RESERVED is taken before it has SHARED: that counts as a try. SQLite's own
 * question, of the journal, comes after it. */
static void answered(const wrap_call *call, int rc)
{
  int *level = call->file->extra;

  if (call->op == WRAP_LOCK && rc == SQLITE_OK) *level = call->a;
  if (call->op == WRAP_CHECK_RESERVED && *level == SQLITE_LOCK_NONE && call->a)
    count_answer(&levels[SQLITE_LOCK_RESERVED], SQLITE_BUSY);
  if (call->op == WRAP_LOCK) count_answer(&levels[call->a], rc);
  if (call->op == WRAP_SHM_LOCK && call->flags & SQLITE_SHM_LOCK)
    for (int i = 0; i < call->n; i++) count_answer(&slots[call->a + i], rc);
}

static void count(const wrap_call *call)
{
  int flags = call->file ? call->file->flags : 0;

  if (call->op == WRAP_UNLOCK) *(int *)call->file->extra = call->a;
  if (call->op != WRAP_SYNC) return;
  *(flags & SQLITE_OPEN_WAL            ? &syncs_wal
    : flags & SQLITE_OPEN_MAIN_JOURNAL ? &syncs_journal
                                       : &syncs_db) += 1;
}

static const wrap_rules counting = {
    .name = "counting", .extra = sizeof(int), .journals = 1, .before = count, .after = answered};

static void below(void)
{
  if (wrapvfs_register(&counting, 1) != SQLITE_OK) check_broken("the VFS that counts");
}

/* ---------------------------------------------------------------- what is compared */

static size_t one_lock(char *out, size_t size, const char *name, answers *of)
{
  long granted = of->granted, busy = of->busy, failed = of->failed;

  if (granted + busy + failed == 0) return 0;
  return (size_t)snprintf(out, size, "%s=%ld,%ld,%ld ", name, granted + busy + failed, granted, busy);
}

/* "LOCK=attempts,granted,busy " for each lock that was asked for, and "SYNC_FILE=calls ", in one order. */
static int counted_below(sqlite3 **db, char *out, size_t size)
{
  static const char *const level_names[] = {NULL, "SHARED", "RESERVED", NULL, "EXCLUSIVE"};
  static const char *const slot_names[] = {"WAL_WRITE", "WAL_CKPT",  "WAL_RECOVER", "WAL_READ0",
                                           "WAL_READ1", "WAL_READ2", "WAL_READ3",   "WAL_READ4"};
  const struct {
    const char *name;
    long calls;
  } syncs[] = {{"SYNC_DB", syncs_db}, {"SYNC_JOURNAL", syncs_journal}, {"SYNC_WAL", syncs_wal}};
  size_t used = 0;

  (void)db;
  for (int i = 1; i < LEVELS; i++)
    if (level_names[i]) used += one_lock(out + used, size - used, level_names[i], &levels[i]);
  for (int i = 0; i < SLOTS; i++) used += one_lock(out + used, size - used, slot_names[i], &slots[i]);
  for (size_t i = 0; i < sizeof syncs / sizeof *syncs; i++)
    if (syncs[i].calls)
      used += (size_t)snprintf(out + used, size - used, "%s=%ld ", syncs[i].name, syncs[i].calls);
  return SQLITE_OK;
}

#define COUNTED                                                                                              \
  "SELECT ifnull(group_concat(lock || '=' || attempts || iif(lock LIKE 'SYNC%', '', ',' || granted || ',' "  \
  "|| "                                                                                                      \
  "busy) || ' ', ''), '') FROM (SELECT lock, sum(attempts) AS attempts, sum(granted) AS granted, sum(busy) " \
  "AS "                                                                                                      \
  "busy, instr('SHARED RESERVED PENDING EXCLUSIVE WAL_WRITE WAL_CKPT WAL_RECOVER WAL_READ0 WAL_READ1 "       \
  "WAL_READ2 "                                                                                               \
  "WAL_READ3 WAL_READ4 SYNC_DB SYNC_JOURNAL SYNC_WAL', lock) AS place FROM holdfast_lock_stats "             \
  "WHERE lock NOT IN ('PENDING', 'DMS') GROUP BY lock ORDER BY place)"
/* Every attempt ended in one of three ways; what is granted has a time. */
#define SOUND                                                                                                \
  "SELECT count(*) FROM holdfast_lock_stats WHERE attempts <> granted + busy + errors OR errors > 0 "        \
  "OR hold_max_ns > hold_ns OR hold_p50_ns > hold_p99_ns OR hold_p99_ns > hold_max_ns OR wait_p50_ns > "     \
  "wait_p99_ns OR wait_p99_ns > wait_max_ns OR (granted > 1 AND hold_ns = 0 AND lock NOT IN ('PENDING', "    \
  "'DMS'))"

/* ---------------------------------------------------------------- work */

static void *worker(void *arg)
{
  char text[200];
  sqlite3 *db = NULL;

  (void)arg;
  if (sqlite3_open(SCENE_DB, &db) != SQLITE_OK) return "open";
  (void)sqlite3_busy_timeout(db, 4); /* short: so that there are busy answers of all kinds */
  (void)sql_text(db, "PRAGMA synchronous=NORMAL; PRAGMA wal_autocheckpoint=20", text, sizeof text);
  for (int i = 0; i < ROUNDS; i++) {
    (void)sql_text(db, "BEGIN; SELECT count(*) FROM t; INSERT INTO t(who) VALUES(1); COMMIT", text,
                   sizeof text);
    (void)sql_text(db, "ROLLBACK", text, sizeof text);
    if (i % 3 == 0)
      (void)sql_text(db, "BEGIN IMMEDIATE; INSERT INTO t(who) VALUES(3); COMMIT", text, sizeof text);
    (void)sql_text(db, "ROLLBACK", text, sizeof text);
    (void)sql_text(db, i % 2 ? "INSERT INTO t(who) VALUES(2)" : "SELECT max(id) FROM t", text, sizeof text);
  }
  return sqlite3_close(db) == SQLITE_OK ? NULL : "close";
}

static pthread_t thread[THREADS];

static int work_begin(sqlite3 **db, char *out, size_t size)
{
  (void)db, (void)out, (void)size;
  for (int i = 0; i < THREADS; i++)
    if (pthread_create(&thread[i], NULL, worker, NULL)) return SQLITE_ERROR;
  return SQLITE_OK;
}

static int work_end(sqlite3 **db, char *out, size_t size)
{
  (void)db;
  out[0] = 0;
  for (int i = 0; i < THREADS; i++) {
    void *what = NULL;
    (void)pthread_join(thread[i], &what);
    if (what) (void)snprintf(out, size, "%s", (const char *)what);
  }
  return out[0] ? SQLITE_ERROR : SQLITE_OK;
}

static void exact(const char *mode)
{
  enum { PEERS = 3 };
  peer *all[PEERS];
  char want[2000];

  check_scene("counters, %s, %d processes of %d threads", mode, PEERS, THREADS);
  scene_make(mode, NULL);
  for (int i = 0; i < PEERS; i++) {
    all[i] = peer_start_in(SHIM_YES, "HOLDFAST_WALGUARD=off", below); /* the guard takes locks of its own */
    CHECK_INT("a connection that can always ask", peer_open(all[i], 1, ":memory:", 0), SQLITE_OK);
  }
  for (int i = 0; i < PEERS; i++) { /* a commit each, whoever gets through later */
    CHECK_INT("its database", peer_open(all[i], 0, SCENE_DB, 0), SQLITE_OK);
    scene_must(all[i], "INSERT INTO t(who) VALUES(0)");
    CHECK_INT("closed", peer_close(all[i], 0), SQLITE_OK);
  }
  for (int i = 0; i < PEERS; i++) CHECK_INT("work begins", peer_call(all[i], work_begin), SQLITE_OK);
  for (int i = 0; i < PEERS; i++) CHECK_INT("work ends", peer_call(all[i], work_end), SQLITE_OK);
  for (int i = 0; i < PEERS; i++) {
    CHECK_INT("the VFS below", peer_call(all[i], counted_below), SQLITE_OK);
    (void)snprintf(want, sizeof want, "%s", peer_text(all[i]));
    CHECK_HAS("there is something to compare", want, strcmp(mode, "wal") ? "SYNC_JOURNAL=" : "WAL_WRITE=");
    CHECK_STR("attempts, granted and busy of each lock", peer_ask(all[i], 1, COUNTED), want);
    CHECK_STR("rows that do not add up", peer_ask(all[i], 1, SOUND), "0");
    if (i == 0) printf("%s: %s\n", mode, want);
    CHECK_TRUE("somebody was in the way",
               atol(peer_ask(all[i], 1, "SELECT sum(busy) FROM holdfast_lock_stats")) > 0);
  }
  CHECK_STR("reset", peer_ask(all[0], 1, "SELECT holdfast_reset_stats() IS NULL"), "1");
  CHECK_STR("after a reset", peer_ask(all[0], 1, COUNTED), "");
  for (int i = 0; i < PEERS; i++) CHECK_INT("the end", peer_end(all[i]), 0);
}

/* ---------------------------------------------------------------- times */

static long long now_ms(void)
{
  struct timespec t;
  (void)clock_gettime(CLOCK_MONOTONIC, &t);
  return (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int pause_400(sqlite3 **db, char *out, size_t size)
{
  const struct timespec time = {0, 400000000};
  (void)db, (void)out, (void)size;
  return nanosleep(&time, NULL) ? SQLITE_ERROR : SQLITE_OK;
}

/* The waiter's statement runs in a thread, until it is granted. */
static pthread_t waiting;
static long long waited_ms;
static atomic_llong first_busy; /* when it was known, 0 = not yet */

static int on_busy(void *arg, int tries)
{
  const struct timespec time = {0, 5000000};
  (void)arg, (void)tries;
  if (!atomic_load(&first_busy)) atomic_store(&first_busy, now_ms());
  (void)nanosleep(&time, NULL);
  return 1;
}

static void *wait_for_it(void *arg)
{
  char text[200];
  sqlite3 *db = arg;
  long long began = now_ms();
  int rc;

  (void)sqlite3_busy_handler(db, on_busy, NULL);
  rc = sql_text(db, "BEGIN IMMEDIATE", text, sizeof text);
  waited_ms = now_ms() - began;
  if (rc == SQLITE_OK) rc = sql_text(db, "COMMIT", text, sizeof text);
  return rc == SQLITE_OK ? NULL : "error";
}

static int wait_begin(sqlite3 **db, char *out, size_t size)
{
  (void)out, (void)size;
  if (pthread_create(&waiting, NULL, wait_for_it, db[0])) return SQLITE_ERROR;
  while (!atomic_load(&first_busy)) (void)usleep(100);
  return SQLITE_OK;
}

static int wait_end(sqlite3 **db, char *out, size_t size)
{
  void *what;

  (void)db;
  (void)pthread_join(waiting, &what);
  (void)snprintf(out, size, "%lld %lld", waited_ms, (long long)atomic_load(&first_busy));
  return what ? SQLITE_ERROR : SQLITE_OK;
}

/* Both limits come from clocks around what was measured, so a machine that is busy moves them, too. */
static bool near(const char *what, long long got, long long low, long long high)
{
  bool good = got >= low - low / 10 && got <= high + high / 10;

  if (!good) printf("%s: %lld is not between %lld and %lld\n", what, got, low, high);
  return CHECK_TRUE(what, good);
}

/* One process holds the writer's lock for a while; the other asks once and waits for it. */
static void times(const char *mode, const char *lock)
{
  long long taken, given, before, tried, after, waited = 0, busy = 0;
  char sql[400];
  peer *holder, *waiter;

  check_scene("times, %s", mode);
  scene_make(mode, NULL);
  holder = scene_peer(SHIM_YES);
  waiter = scene_peer(SHIM_YES);
  CHECK_INT("a connection that can always ask", peer_open(holder, 1, ":memory:", 0), SQLITE_OK);
  CHECK_INT("another", peer_open(waiter, 1, ":memory:", 0), SQLITE_OK);
  (void)peer_ask(holder, 1, "SELECT holdfast_reset_stats()");
  before = now_ms();
  scene_must(holder, "BEGIN IMMEDIATE; INSERT INTO t(who) VALUES(7)");
  taken = now_ms();
  CHECK_INT("a pause", peer_call(holder, pause_400), SQLITE_OK);
  (void)snprintf(sql, sizeof sql, "SELECT since_ms FROM holdfast_lock_holders WHERE lock='%s' AND mine",
                 lock);
  after = now_ms();
  long long age = atoll(peer_ask(holder, 1, sql));
  near("age of the lock", age, after - taken, now_ms() - before);
  (void)snprintf(
      sql, sizeof sql,
      "SELECT sql, connection, thread, pid=thread, state FROM holdfast_lock_holders WHERE lock='%s' AND mine",
      lock);
  char want[200];
  (void)snprintf(want, sizeof want, "BEGIN IMMEDIATE;|1|%d|1|running", (int)peer_pid(holder));
  CHECK_STR("the holder's statement, handle and thread", peer_ask(holder, 1, sql), want);

  /* A wait of which the second half is a gap of more than a second: abandoned. */
  tried = now_ms();
  CHECK_STR("the other is busy", peer_ask(waiter, 0, "PRAGMA busy_timeout=300; BEGIN IMMEDIATE"),
            "error 5: database is locked");
  after = now_ms();
  for (int i = 0; i < 3; i++) CHECK_INT("a pause", peer_call(waiter, pause_400), SQLITE_OK);
  (void)snprintf(sql, sizeof sql, "SELECT abandoned, granted FROM holdfast_lock_stats WHERE lock='%s'", lock);
  CHECK_STR("given up", peer_ask(waiter, 1, sql), "1|0");
  (void)snprintf(sql, sizeof sql, "SELECT wait_ns/1000000 FROM holdfast_lock_stats WHERE lock='%s'", lock);
  near("it waited up to its last try", atoll(peer_ask(waiter, 1, sql)), 300, after - tried);
  (void)peer_ask(waiter, 1, "SELECT holdfast_reset_stats()");

  /* A wait that is granted. Its first busy answer comes before the holder gives back, in the same step. */
  CHECK_INT("waiting begins", peer_call(waiter, wait_begin), SQLITE_OK);
  CHECK_INT("a pause", peer_call(holder, pause_400), SQLITE_OK);
  given = now_ms();
  scene_must(holder, "COMMIT");
  CHECK_INT("waiting ends", peer_call(waiter, wait_end), SQLITE_OK);
  CHECK_INT("two times", sscanf(peer_text(waiter), "%lld %lld", &waited, &busy), 2);
  (void)snprintf(sql, sizeof sql, "SELECT abandoned, granted FROM holdfast_lock_stats WHERE lock='%s'", lock);
  CHECK_STR("granted", peer_ask(waiter, 1, sql), "0|1");
  (void)snprintf(sql, sizeof sql, "SELECT wait_ns/1000000 FROM holdfast_lock_stats WHERE lock='%s'", lock);
  near("the time that it waited", atoll(peer_ask(waiter, 1, sql)), given - busy, waited);
  (void)snprintf(sql, sizeof sql, "SELECT hold_ns/1000000 FROM holdfast_lock_stats WHERE lock='%s'", lock);
  long long held = atoll(peer_ask(holder, 1, sql));
  near("the time that it was held", held, given - taken, now_ms() - before);
  CHECK_INT("the end", peer_end(holder), 0);
  CHECK_INT("the end", peer_end(waiter), 0);
}

/*
 * Whatever lock it is, the holder's own process says since when and which handle; of a writer also by which
 * statement and thread. A reader's statement is not noted: that would cost every reader.
 */
static void ages(const char *mode, const char *take, const char *lock, const char *statement)
{
  long long taken, before, after, age;
  char sql[400], want[200];
  peer *holder;

  check_scene("age of %s, %s", lock, mode);
  scene_make(mode, NULL);
  holder = scene_peer(SHIM_YES);
  CHECK_INT("a connection that can always ask", peer_open(holder, 1, ":memory:", 0), SQLITE_OK);
  scene_must(holder, "INSERT INTO t(who) VALUES(1)"); /* in WAL mode: a mark above 0 */
  before = now_ms();
  scene_must(holder, take);
  taken = now_ms();
  CHECK_INT("a pause", peer_call(holder, pause_400), SQLITE_OK);
  after = now_ms();
  (void)snprintf(sql, sizeof sql, "SELECT since_ms FROM holdfast_lock_holders WHERE lock='%s' AND mine",
                 lock);
  age = atoll(peer_ask(holder, 1, sql));
  near("its age", age, after - taken, now_ms() - before);
  (void)snprintf(
      sql, sizeof sql,
      "SELECT sql, connection, thread, pid=thread, state FROM holdfast_lock_holders WHERE lock='%s' AND mine",
      lock);
  if (statement)
    (void)snprintf(want, sizeof want, "%s|1|%d|1|running", statement, (int)peer_pid(holder));
  else
    (void)snprintf(want, sizeof want, "|1|||running");
  CHECK_STR("the statement, handle and thread", peer_ask(holder, 1, sql), want);
  CHECK_INT("the end", peer_end(holder), 0);
}

int main(void)
{
  exact("delete");
  exact("wal");
  ages("delete", "BEGIN EXCLUSIVE", "EXCLUSIVE", "BEGIN EXCLUSIVE");
  ages("delete", "BEGIN; SELECT count(*) FROM t", "SHARED", NULL);
  ages("wal", "BEGIN; SELECT count(*) FROM t", "WAL_READ1", NULL);
  times("delete", "RESERVED");
  times("wal", "WAL_WRITE");
  return check_done();
}
