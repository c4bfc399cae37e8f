/*
 * load.c (bench) - a load on SQLite, bare or with a shim: what holdfast costs is the ratio of two runs.
 *
 *     load SHIM lockheavy FILE MODE INSERTS SELECTS
 *     load SHIM speedtest1 ARGUMENTS...        only where bench/run.sh built it with SQLite's speedtest1
 *
 *     load SHIM syscall          nanoseconds of one that does nothing
 *     load SHIM pairs DIRECTORY MODE PAIRS INSERTS SELECTS
 *
 * SHIM: "bare", an extension's path (holdfast.so, SQLite's vfsstat.so), or "vfstrace=PATH", SQLite's
 * vfstrace, whose output is thrown away. MODE: delete or wal. Every INSERT is a transaction and every SELECT
 * reads one row, so locks are most of the work. Prints the nanoseconds that the load took, by the clock and
 * of processor time, without opening and closing.
 *
 * `pairs` is for machines that do other work: two processes, one bare, one with the shim, each with a
 * database of its own, do the same small load by turns, PAIRS times, after each other within milliseconds, so
 * that what the machine does besides slows both. Prints medians: bare ns, shim ns, ratio of a pair by the
 * clock, its quartiles, ratio of processor time.
 */
#include <dlfcn.h>
#include <sqlite3.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

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

typedef struct times {
  double wall, used;
} times;

static sqlite3 *begin_load(const char *path, const char *mode)
{
  char sql[100];
  sqlite3 *db = NULL;

  must(db, sqlite3_open(path, &db), path);
  (void)snprintf(sql, sizeof sql, "PRAGMA journal_mode=%s", mode);
  must(db, sqlite3_exec(db, sql, NULL, NULL, NULL), sql);
  must(db, sqlite3_exec(db, "CREATE TABLE t(id INTEGER PRIMARY KEY, n INT)", NULL, NULL, NULL),
       "CREATE TABLE");
  return db;
}

static times one_load(sqlite3 *db, int inserts, int selects)
{
  uint64_t start = now_ns(CLOCK_MONOTONIC), used = now_ns(CLOCK_PROCESS_CPUTIME_ID);

  each(db, "INSERT INTO t(n) VALUES(?)", inserts, 1000000);
  each(db, "SELECT n FROM t WHERE id = ?", selects, inserts ? inserts : 1);
  used = now_ns(CLOCK_PROCESS_CPUTIME_ID) - used;
  return (times){(double)(now_ns(CLOCK_MONOTONIC) - start), (double)used};
}

static int lockheavy(char **argument)
{
  sqlite3 *db = begin_load(argument[0], argument[1]);
  times one = one_load(db, atoi(argument[2]), atoi(argument[3]));

  printf("%.0f %.0f\n", one.wall, one.used);
  must(db, sqlite3_close(db), "close");
  return 0;
}

/* ---------------------------------------------------------------- pairs */

typedef struct worker {
  int ask, answer; /* pipes */
} worker;

static worker start_worker(const char *shim, char **argument, const char *name)
{
  int ask[2], answer[2];
  char path[4096], token;

  if (pipe(ask) || pipe(answer)) give_up("pipe", "?");
  if (fork() == 0) {
    close(ask[1]); /* so that the end of the other is seen */
    close(answer[0]);
    start_shim(shim);
    (void)snprintf(path, sizeof path, "%s/%s.db", argument[0], name);
    sqlite3 *db = begin_load(path, argument[1]);
    while (read(ask[0], &token, 1) == 1) {
      times one = one_load(db, atoi(argument[3]), atoi(argument[4]));
      if (write(answer[1], &one, sizeof one) != sizeof one) break;
    }
    _exit(sqlite3_close(db) != SQLITE_OK);
  }
  close(ask[0]);
  close(answer[1]);
  return (worker){ask[1], answer[0]};
}

static times turn_of(worker w)
{
  times one = {0};

  if (write(w.ask, "", 1) != 1 || read(w.answer, &one, sizeof one) != sizeof one) give_up("worker", "gone");
  return one;
}

static int by_size(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double sorted_at(double *values, int count, int percent)
{
  qsort(values, (size_t)count, sizeof *values, by_size);
  return values[(count - 1) * percent / 100];
}

static int pairs(const char *shim, char **argument)
{
  int count = atoi(argument[2]);
  double *values = calloc((size_t)count + 1, 4 * sizeof *values);
  double *bare = values, *with = values + count, *wall = with + count, *used = wall + count;
  worker a = start_worker("bare", argument, "bare"), b = start_worker(shim, argument, "shim");

  if (!values || count < 1) give_up("pairs", "how many?");
  for (int i = -20; i < count; i++) { /* the first ones warm up; who begins, changes */
    times first = turn_of(i & 1 ? b : a), second = turn_of(i & 1 ? a : b);
    times own = i & 1 ? first : second, base = i & 1 ? second : first;
    if (i < 0) continue;
    bare[i] = base.wall;
    with[i] = own.wall;
    wall[i] = own.wall / base.wall;
    used[i] = own.used / base.used;
  }
  close(a.ask);
  close(b.ask);
  while (wait(NULL) > 0) continue;
  printf("%.0f %.0f %.4f %.4f %.4f %.4f\n", sorted_at(bare, count, 50), sorted_at(with, count, 50),
         sorted_at(wall, count, 50), sorted_at(wall, count, 25), sorted_at(wall, count, 75),
         sorted_at(used, count, 50));
  free(values);
  return 0;
}

static int empty_call(void)
{
  enum { CALLS = 100000 };
  uint64_t start = now_ns(CLOCK_MONOTONIC);

  for (int i = 0; i < CALLS; i++) (void)getppid();
  printf("%llu\n", (unsigned long long)((now_ns(CLOCK_MONOTONIC) - start) / CALLS));
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
  if (argc == 3 && strcmp(argv[2], "syscall") == 0) return empty_call();
  if (argc == 8 && strcmp(argv[2], "pairs") == 0) return pairs(argv[1], argv + 3);
#ifdef HF_SPEEDTEST1
  if (argc > 3 && strcmp(argv[2], "speedtest1") == 0) {
    start_shim(argv[1]);
    return speedtest1_main(argc - 2, argv + 2);
  }
#endif
  fprintf(stderr, "usage: load SHIM lockheavy FILE MODE INSERTS SELECTS\n"
                  "       load SHIM pairs DIRECTORY MODE PAIRS INSERTS SELECTS\n");
  return 64;
}
