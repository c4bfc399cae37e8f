/*
 * health_work.c - checks from several threads beside writers, and those who end them, for ThreadSanitizer to
 * look at.
 *
 *   health_work SECONDS      in an empty directory; exit 0, 1 (something went wrong), 66 (ThreadSanitizer's)
 *
 * Two pools (WAL, and DELETE on a mount that is taken for a network's) are written to; of each a thread
 * checks in slices, of every kind; others ask for the last verdict, read the events, run a check on a
 * connection of their own while another thread ends its steps. Damage comes and goes, written by a child: the
 * pool is in quarantine and out of it. No healthy file may be called damaged.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "holdfast.h"

enum { POOLS = 2, PAGE = 4096, PATIENCE = 8 };

static const char *const names[POOLS + 1] = {"wal.db", "file:net.db?holdfast_assume=network", "sick.db"};
static holdfast_pool *pools[POOLS + 1];
static atomic_long writes, ok, not_checked, lasts, yields, own, incidents, wrong;
static atomic_bool stop;

static pthread_mutex_t own_mutex = PTHREAD_MUTEX_INITIALIZER; /* guards the pointer and the life of own_run */
static holdfast_health_run *own_run;

static void complain(const char *what, const char *why)
{
  if (atomic_fetch_add(&wrong, 1) < 20) printf("WRONG: %s: %s\n", what, why);
}

static void nap(long us)
{
  struct timespec length = {0, us * 1000};
  nanosleep(&length, NULL);
}

static int change(holdfast_lease *lease, void *arg)
{
  (void)arg;
  return sqlite3_exec(holdfast_lease_db(lease),
                      "UPDATE t SET v = hex(randomblob(20)) WHERE id = abs(random()) % 3000", NULL, NULL,
                      NULL);
}

static int create(holdfast_lease *lease, void *arg)
{
  (void)arg;
  return sqlite3_exec(
      holdfast_lease_db(lease),
      "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT); CREATE INDEX tv ON t(v); WITH RECURSIVE n(i) "
      "AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) INSERT INTO t SELECT i, "
      "hex(randomblob(20)) FROM n",
      NULL, NULL, NULL);
}

static void *writer(void *which)
{
  while (!atomic_load(&stop)) {
    if (holdfast_write(pools[(intptr_t)which], change, NULL) == 0) atomic_fetch_add(&writes, 1);
    nap(2000);
  }
  return NULL;
}

static void *checker(void *which)
{
  holdfast_health_report report = {.struct_size = sizeof report};

  for (int round = 0; !atomic_load(&stop); round++) {
    holdfast_health_options options = {.struct_size = sizeof options,
                                       .kind = HOLDFAST_HEALTH_QUICK + round % 4,
                                       .budget_ms = 300,
                                       .slice_ms = 1 + round % 5,
                                       .force = round % 3 != 0};
    int rc = holdfast_health_check(pools[(intptr_t)which], &options, &report);

    if (rc && rc != HOLDFAST_TIMEOUT && rc != SQLITE_BUSY) complain("check", holdfast_errmsg());
    if (rc) continue;
    if (report.verdict == HOLDFAST_HEALTH_DAMAGED) complain("a healthy file", report.text);
    atomic_fetch_add(report.verdict == HOLDFAST_HEALTH_OK ? &ok : &not_checked, 1);
  }
  return NULL;
}

/* What asks without a connection, or with one that needs no file. */
static void *onlooker(void *unused)
{
  holdfast_health_report report = {.struct_size = sizeof report};
  holdfast_stats stats = {.struct_size = sizeof stats};
  sqlite3 *memory = NULL;

  (void)unused;
  if (sqlite3_open(":memory:", &memory) || holdfast_attach_sql(memory)) complain("open", ":memory:");
  while (!atomic_load(&stop)) {
    for (int i = 0; i <= POOLS; i++) {
      if (holdfast_health_last(pools[i], &report) || holdfast_pool_stats(pools[i], &stats))
        complain("last", holdfast_errmsg());
    }
    (void)holdfast_health_recall("wal.db", HOLDFAST_HEALTH_FK, &report); /* any answer is right */
    (void)sqlite3_exec(memory, "SELECT count(*) FROM holdfast_events", NULL, NULL, NULL);
    atomic_fetch_add(&lasts, 1);
    nap(500);
  }
  sqlite3_close(memory);
  return NULL;
}

/* A check in C on a connection of its own, whose steps another thread ends. */
static void one_own_run(sqlite3 *db, int kind)
{
  holdfast_health_options options = {
      .struct_size = sizeof options, .kind = kind, .force = 1, .budget_ms = 200};
  holdfast_health_report report = {.struct_size = sizeof report};
  holdfast_health_run *run = NULL;

  if (holdfast_health_begin(db, "main", &options, &run)) {
    complain("begin", sqlite3_errmsg(db));
    return;
  }
  pthread_mutex_lock(&own_mutex);
  own_run = run;
  pthread_mutex_unlock(&own_mutex);
  while (holdfast_health_step(run, 3) == SQLITE_ROW) (void)holdfast_health_progress(run);
  pthread_mutex_lock(&own_mutex);
  own_run = NULL;
  pthread_mutex_unlock(&own_mutex);
  if (holdfast_health_report_of(run, &report) == SQLITE_OK && report.verdict == HOLDFAST_HEALTH_DAMAGED)
    complain("a healthy file, on its own connection", report.text);
  holdfast_health_end(run);
  atomic_fetch_add(&own, 1);
}

static void *owner(void *unused)
{
  sqlite3 *db = NULL;

  (void)unused;
  if (sqlite3_open_v2("wal.db", &db, SQLITE_OPEN_READWRITE, NULL)) complain("open", "wal.db");
  for (int round = 0; !atomic_load(&stop); round++) one_own_run(db, HOLDFAST_HEALTH_QUICK + round % 2);
  sqlite3_close(db);
  return NULL;
}

static void *ender(void *unused)
{
  (void)unused;
  while (!atomic_load(&stop)) {
    pthread_mutex_lock(&own_mutex);
    if (own_run) {
      holdfast_health_yield(own_run);
      atomic_fetch_add(&yields, 1);
    }
    pthread_mutex_unlock(&own_mutex);
    nap(3000);
  }
  return NULL;
}

/* Pages are changed from outside, as damage comes. */
static void outside(const void *bytes)
{
  int status = 0;
  pid_t child = fork();

  if (child == 0) {
    int fd = open("sick.db", O_WRONLY | O_CLOEXEC);
    _exit(fd < 0 || pwrite(fd, bytes, PAGE, PAGE) != PAGE);
  }
  if (child < 0 || waitpid(child, &status, 0) != child || status) complain("fork", "the child failed");
}

static void *patient(void *unused)
{
  holdfast_health_options options = {.struct_size = sizeof options, .kind = HOLDFAST_HEALTH_FULL, .force = 1};
  holdfast_health_report report = {.struct_size = sizeof report};
  char good[PAGE], noise[PAGE];
  int fd = open("sick.db", O_RDONLY | O_CLOEXEC); /* its locks are holdfast's: a close here drops none */

  (void)unused;
  memset(noise, 'x', sizeof noise);
  if (fd < 0 || pread(fd, good, PAGE, PAGE) != PAGE) complain("sick.db", "cannot be read");
  (void)close(fd);
  while (!atomic_load(&stop)) {
    outside(noise);
    if (holdfast_health_check(pools[POOLS], &options, &report) || report.verdict != HOLDFAST_HEALTH_DAMAGED)
      complain("damage", report.text);
    outside(good);
    if (holdfast_health_check(pools[POOLS], &options, &report) || report.verdict != HOLDFAST_HEALTH_OK)
      complain("no damage", report.text);
    atomic_fetch_add(&incidents, 1);
    nap(20000);
  }
  return NULL;
}

/* On a machine that is busy with other work a check comes to its end seldom: it gives way to the writers. */
static bool enough(void)
{
  return writes && ok && own && yields && lasts && incidents;
}

int main(int argc, char **argv)
{
  struct timespec length = {argc == 2 ? atoi(argv[1]) : 0, 0};
  holdfast_pool_config config = {.struct_size = sizeof config, .readers = 2, .checkpoint_frames = 50};
  struct {
    void *(*life)(void *);
    intptr_t which;
  } const lives[] = {{writer, 0},   {writer, 1}, {checker, 0}, {checker, 1},
                     {onlooker, 0}, {owner, 0},  {ender, 0},   {patient, 0}};
  enum { THREADS = sizeof lives / sizeof *lives };
  pthread_t threads[THREADS];

  if (length.tv_sec <= 0) return fprintf(stderr, "usage: health_work SECONDS\n"), 1;
  for (int i = 0; i <= POOLS; i++) {
    if (holdfast_pool_open(names[i], &config, &pools[i]) || holdfast_write(pools[i], create, NULL) ||
        holdfast_pool_checkpoint(pools[i], 0, NULL))
      return fprintf(stderr, "%s: %s\n", names[i], holdfast_errmsg()), 1;
  }
  for (int i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, lives[i].life, (void *)lives[i].which);
  for (int times = 0; times < PATIENCE && (times == 0 || !enough()); times++) nanosleep(&length, NULL);
  atomic_store(&stop, true);
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  for (int i = 0; i <= POOLS; i++)
    if (holdfast_pool_close(pools[i], 0)) complain("close", holdfast_errmsg());
  printf("%ld writes, %ld checks ok, %ld not checked, %ld on a connection of their own, %ld ended, %ld last "
         "verdicts, %ld incidents, %ld wrong\n",
         writes, ok, not_checked, own, yields, lasts, incidents, wrong);
  if (!enough()) complain("too little", "was done");
  return wrong ? 1 : 0;
}
