/*
 * health.c - what a check costs those who work: writers' waits without and with checks in slices, by turns,
 * and how long the answer takes when nothing has changed.
 *
 *   health [MEGABYTES [SECONDS [ROUNDS]]]     in the current directory
 */
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "holdfast.h"

enum { WRITERS = 2, SAMPLES = 4000000, SLICE_MS = 10, REST_US = 2000 };

static holdfast_pool *pool;
static atomic_bool stop;
static atomic_long count;
static double *samples; /* milliseconds */

static double now_ms(void)
{
  struct timespec t;

  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int insert(holdfast_lease *lease, void *arg)
{
  (void)arg;
  return sqlite3_exec(holdfast_lease_db(lease), "UPDATE t SET n = n + 1 WHERE id = abs(random()) % 10000",
                      NULL, NULL, NULL);
}

static void *writer(void *arg)
{
  (void)arg;
  while (!atomic_load(&stop)) {
    double start = now_ms();
    if (holdfast_write(pool, insert, NULL) == 0) {
      long at = atomic_fetch_add(&count, 1);
      if (at < SAMPLES) samples[at] = now_ms() - start;
    }
    (void)usleep(REST_US); /* a program that does other things, too: checks get their turns in between */
  }
  return NULL;
}

typedef struct tally {
  long checks, ok, cut;
} tally;

static void *checker(void *arg)
{
  tally *t = arg;
  holdfast_health_options options = {
      .struct_size = sizeof options, .kind = HOLDFAST_HEALTH_QUICK, .force = 1, .slice_ms = SLICE_MS};
  holdfast_health_report report = {.struct_size = sizeof report};

  while (!atomic_load(&stop)) {
    options.kind = t->checks % 2 ? HOLDFAST_HEALTH_FULL : HOLDFAST_HEALTH_QUICK;
    options.budget_ms = 3000;
    if (holdfast_health_check(pool, &options, &report) != 0) continue;
    t->checks++;
    t->ok += report.verdict == HOLDFAST_HEALTH_OK;
    t->cut += report.interruptions;
  }
  return NULL;
}

static int by_size(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double work(int seconds, bool with_checks)
{
  pthread_t threads[WRITERS + 1];
  tally t = {0};
  long n;
  double p99;

  atomic_store(&stop, false);
  atomic_store(&count, 0);
  for (int i = 0; i < WRITERS; i++)
    if (pthread_create(&threads[i], NULL, writer, NULL)) exit(1);
  if (with_checks && pthread_create(&threads[WRITERS], NULL, checker, &t)) exit(1);
  (void)sleep((unsigned)seconds);
  atomic_store(&stop, true);
  for (int i = 0; i < WRITERS + with_checks; i++) (void)pthread_join(threads[i], NULL);
  n = atomic_load(&count) < SAMPLES ? atomic_load(&count) : SAMPLES;
  if (n == 0) exit(1);
  qsort(samples, (size_t)n, sizeof *samples, by_size);
  p99 = samples[n * 99 / 100];
  printf("  %-14s %7ld writes, p50 %7.3f ms, p99 %7.3f ms, max %8.3f ms",
         with_checks ? "with checks" : "without checks", n, samples[n / 2], p99, samples[n - 1]);
  if (with_checks) printf("; %ld checks, %ld to their end, %ld pieces cut off", t.checks, t.ok, t.cut);
  printf("\n");
  return p99;
}

static void fill(int megabytes)
{
  sqlite3 *db = NULL;
  char sql[600];

  if (sqlite3_open("health.db", &db) != SQLITE_OK) exit(1);
  (void)snprintf(
      sql, sizeof sql,
      "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; CREATE TABLE t(id INTEGER PRIMARY KEY, n INT, v "
      "TEXT);"
      "CREATE INDEX tn ON t(v); WITH RECURSIVE i(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM i WHERE x < %d) "
      "INSERT INTO t SELECT x, 0, hex(randomblob(100)) FROM i; PRAGMA wal_checkpoint(TRUNCATE)",
      megabytes * 2200);
  if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK) exit(1);
  (void)sqlite3_close(db);
}

static void unchanged(int megabytes)
{
  holdfast_health_options options = {
      .struct_size = sizeof options, .kind = HOLDFAST_HEALTH_FULL, .budget_ms = -1};
  holdfast_health_report report = {.struct_size = sizeof report};
  double start, read, again[101];

  /* Else the pool makes it while the file is read, and then it has changed. */
  if (holdfast_pool_checkpoint(pool, 0, NULL) != 0) exit(1);
  (void)usleep(200000); /* so that the times of the file are certain */
  start = now_ms();
  if (holdfast_health_check(pool, &options, &report) != 0) exit(1);
  read = now_ms() - start;
  for (int i = 0; i < 101; i++) {
    start = now_ms();
    if (holdfast_health_check(pool, &options, &report) != 0 || !report.unchanged) {
      printf("  not answered at once: %s\n", report.text);
      return;
    }
    again[i] = now_ms() - start;
  }
  qsort(again, 101, sizeof *again, by_size);
  printf("  %d MB: read %.0f ms; unchanged p50 %.4f ms, max %.4f ms (mark: 1 ms)\n", megabytes, read,
         again[50], again[100]);
}

int main(int argc, char **argv)
{
  int megabytes = argc > 1 ? atoi(argv[1]) : 50, seconds = argc > 2 ? atoi(argv[2]) : 3,
      rounds = argc > 3 ? atoi(argv[3]) : 3;
  holdfast_pool_config config = {.struct_size = sizeof config, .check = HOLDFAST_CHECK_NONE};
  double grown[50];

  samples = malloc(sizeof *samples * SAMPLES);
  if (!samples || rounds < 1 || rounds > 50 || holdfast_register(NULL) != SQLITE_OK) return 1;
  fill(megabytes);
  if (holdfast_pool_open("health.db", &config, &pool) != 0) return 1;
  printf("%d writers, WAL, %d MB, slices of %d ms, %d rounds of %d s each by turns, SQLite %s\n", WRITERS,
         megabytes, SLICE_MS, rounds, seconds, sqlite3_libversion());
  for (int i = 0; i < rounds; i++) {
    double without = work(seconds, false);
    grown[i] = work(seconds, true) - without;
  }
  qsort(grown, (size_t)rounds, sizeof *grown, by_size);
  printf("writers' p99 grows by %.3f ms (median; lowest %.3f, highest %.3f; mark: %d ms)\n",
         grown[rounds / 2], grown[0], grown[rounds - 1], SLICE_MS + 2);
  printf("the answer when nothing has changed since the last full ok:\n");
  unchanged(megabytes);
  (void)holdfast_pool_close(pool, 0);
  free(samples);
  return 0;
}
