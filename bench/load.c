/*
 * load.c (bench) - a load on SQLite, bare or with a shim: what holdfast costs is the ratio of two runs.
 *
 *     load SHIM lockheavy FILE MODE INSERTS SELECTS
 *     load SHIM speedtest1 ARGUMENTS...        only where bench/run.sh built it with SQLite's speedtest1
 *
 * SHIM: "bare", an extension's path (holdfast.so, SQLite's vfsstat.so), or "vfstrace=PATH", SQLite's
 * vfstrace, whose output is thrown away. MODE: delete or wal. Every INSERT is a transaction and every SELECT
 * reads one row, so locks are most of the work. Prints the nanoseconds that the load took, by the clock and
 * of processor time, without opening and closing.
 */
#include <dlfcn.h>
#include <sqlite3.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void give_up(const char *what, const char *why)
{
  fprintf(stderr, "load: %s: %s\n", what, why);
  exit(1);
}

static void must(sqlite3 *db, int rc, const char *what)
{
  if (rc != SQLITE_OK && rc != SQLITE_DONE && rc != SQLITE_ROW) give_up(what, sqlite3_errmsg(db));
}

/* ---------------------------------------------------------------- shims */

static int throw_away(const char *line, void *context)
{
  (void)line, (void)context;
  return 1;
}

static void start_vfstrace(const char *path)
{
  int (*enter)(const char *, const char *, int (*)(const char *, void *), void *, int) = NULL;
  void *library = dlopen(path, RTLD_NOW);

  if (library) *(void **)&enter = dlsym(library, "vfstrace_register");
  if (!enter || enter("trace", NULL, throw_away, NULL, 1) != SQLITE_OK)
    give_up(path, "vfstrace does not start");
}

static void start_shim(const char *shim)
{
  sqlite3 *db = NULL;
  char *message = NULL;

  if (strcmp(shim, "bare") == 0) return;
  if (strncmp(shim, "vfstrace=", 9) == 0) {
    start_vfstrace(shim + 9);
    return;
  }
  must(db, sqlite3_open(":memory:", &db), "memory database");
  must(db, sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 1, NULL), "extensions");
  if (sqlite3_load_extension(db, shim, NULL, &message) != SQLITE_OK) give_up(shim, message ? message : "?");
  (void)sqlite3_close(db); /* the shim stays */
}

/* ---------------------------------------------------------------- the lock-heavy load */

static uint64_t now_ns(clockid_t clock)
{
  struct timespec t;

  clock_gettime(clock, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void each(sqlite3 *db, const char *sql, int count, int range)
{
  sqlite3_stmt *statement = NULL;

  must(db, sqlite3_prepare_v2(db, sql, -1, &statement, NULL), sql);
  for (int i = 0; i < count; i++) {
    must(db, sqlite3_bind_int(statement, 1, (int)(((int64_t)i * 7919) % range) + 1), sql);
    must(db, sqlite3_step(statement), sql);
    must(db, sqlite3_reset(statement), sql);
  }
  must(db, sqlite3_finalize(statement), sql);
}

static int lockheavy(char **argument)
{
  int inserts = atoi(argument[2]), selects = atoi(argument[3]);
  char sql[100];
  uint64_t start, used;
  sqlite3 *db = NULL;

  must(db, sqlite3_open(argument[0], &db), argument[0]);
  (void)snprintf(sql, sizeof sql, "PRAGMA journal_mode=%s", argument[1]);
  must(db, sqlite3_exec(db, sql, NULL, NULL, NULL), sql);
  must(db, sqlite3_exec(db, "CREATE TABLE t(id INTEGER PRIMARY KEY, n INT)", NULL, NULL, NULL),
       "CREATE TABLE");
  start = now_ns(CLOCK_MONOTONIC);
  used = now_ns(CLOCK_PROCESS_CPUTIME_ID);
  each(db, "INSERT INTO t(n) VALUES(?)", inserts, 1000000);
  each(db, "SELECT n FROM t WHERE id = ?", selects, inserts ? inserts : 1);
  used = now_ns(CLOCK_PROCESS_CPUTIME_ID) - used;
  printf("%llu %llu\n", (unsigned long long)(now_ns(CLOCK_MONOTONIC) - start), (unsigned long long)used);
  must(db, sqlite3_close(db), "close");
  return 0;
}

#ifdef HF_SPEEDTEST1
int speedtest1_main(int argc, char **argv); /* SQLite's test/speedtest1.c, compiled with main renamed */
#endif

int main(int argc, char **argv)
{
  if (argc == 7 && strcmp(argv[2], "lockheavy") == 0) {
    start_shim(argv[1]);
    return lockheavy(argv + 3);
  }
#ifdef HF_SPEEDTEST1
  if (argc > 3 && strcmp(argv[2], "speedtest1") == 0) {
    start_shim(argv[1]);
    return speedtest1_main(argc - 2, argv + 2);
  }
#endif
  fprintf(stderr, "usage: load SHIM lockheavy FILE MODE INSERTS SELECTS\n");
  return 64;
}
