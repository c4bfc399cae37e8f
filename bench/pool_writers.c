/*
 * pool_writers.c (bench) - eight that write to one database: throughput, fairness and waits.
 *
 *     pool_writers WAY threads|processes[:N] delete|wal SECONDS FILE      N of them, 1 to 8
 *
 * WAY: "pool" holdfast's pool; "strict" the same without letting anybody pass the first in the queue; "own"
 * plain SQLite, a connection for each writer with busy_timeout, prepared statements and BEGIN IMMEDIATE;
 * "reopen" the same with a new connection for each transaction. A transaction is one INSERT and one UPDATE.
 * Prints one line: commits per second, most and least commits of one writer, waits for the write lock in
 * microseconds (50 %, 99 %, 99.9 %, worst), errors, and the 99.9 % of the writer in the middle: where one
 * writer gets nearly all commits, its short waits hide those of the others from the rest. A wait that was not
 * over at the end counts with what it took.
 */
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "holdfast.h"
#include "waits.h"

enum { WRITERS = 8, WAIT_MS_MAX = 120000, START_MS_MAX = 60000 };
static const char insert_sql[] =
    "INSERT INTO entry(writer,text) VALUES(?1,'a line of some forty characters, as logs have')";
static const char update_sql[] = "UPDATE total SET n=n+1 WHERE writer=?1";

typedef struct seat {
  waits waits;
  long commits, errors;
} seat;

typedef struct room {
  atomic_int stop, ready, go;
  seat seats[WRITERS];
} room;
static int writers = WRITERS;
static room *shared;
static const char *path;
static holdfast_pool *pool;
static bool one_pool; /* threads: main opened it for all */

static void give_up(const char *what, const char *why)
{
  fprintf(stderr, "pool_writers: %s: %s\n", what, why);
  exit(1);
}

static int step(sqlite3_stmt *s, int who)
{
  int rc = sqlite3_bind_int(s, 1, who);

  if (rc == SQLITE_OK) rc = sqlite3_step(s);
  (void)sqlite3_reset(s); /* step's code is what counts */
  return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* ---------------------------------------------------------------- through the pool */

typedef struct turn {
  int who;
  int64_t asked, entered;
} turn;

static int in_turn(holdfast_lease *lease, void *arg)
{
  turn *t = arg;
  sqlite3_stmt *s = NULL;
  int rc;

  t->entered = waits_now_ns();
  rc = holdfast_prepare(lease, insert_sql, &s);
  if (rc == SQLITE_OK) rc = step(s, t->who);
  if (rc == SQLITE_OK) rc = holdfast_prepare(lease, update_sql, &s);
  return rc == SQLITE_OK ? step(s, t->who) : rc;
}

static int write_by_pool(turn *t)
{
  return holdfast_write(pool, in_turn, t);
}

static void open_pool(const char *mode, bool strict)
{
  holdfast_config shim = {.struct_size = sizeof shim, .log = "none"};
  holdfast_pool_config config = {.struct_size = sizeof config,
                                 .wait_ms = WAIT_MS_MAX,
                                 .handoff_us = strict ? HOLDFAST_OFF : 0,
                                 .journal = strcmp(mode, "wal") ? HOLDFAST_JOURNAL_DELETE : 0};

  if (holdfast_init(&shim) != SQLITE_OK || holdfast_pool_open(path, &config, &pool) != SQLITE_OK)
    give_up(path, holdfast_errmsg());
}

/* ---------------------------------------------------------------- without it */

typedef struct plain {
  sqlite3 *db;
  sqlite3_stmt *begin, *insert, *update, *commit;
} plain;

static void plain_close(plain *p)
{
  (void)sqlite3_finalize(p->begin), (void)sqlite3_finalize(p->insert); /* NULL is harmless */
  (void)sqlite3_finalize(p->update), (void)sqlite3_finalize(p->commit);
  (void)sqlite3_close(p->db);
  *p = (plain){0};
}

static int plain_open(plain *p)
{
  int rc = sqlite3_open_v2(path, &p->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);

  if (rc == SQLITE_OK) rc = sqlite3_busy_timeout(p->db, WAIT_MS_MAX);
  if (rc == SQLITE_OK) rc = sqlite3_prepare_v2(p->db, "BEGIN IMMEDIATE", -1, &p->begin, NULL);
  if (rc == SQLITE_OK) rc = sqlite3_prepare_v2(p->db, insert_sql, -1, &p->insert, NULL);
  if (rc == SQLITE_OK) rc = sqlite3_prepare_v2(p->db, update_sql, -1, &p->update, NULL);
  if (rc == SQLITE_OK) rc = sqlite3_prepare_v2(p->db, "COMMIT", -1, &p->commit, NULL);
  return rc;
}

static int once(sqlite3_stmt *s)
{
  int rc = sqlite3_step(s);

  (void)sqlite3_reset(s); /* step's code is what counts */
  return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int write_by_own(plain *p, turn *t)
{
  int rc = once(p->begin);

  if (rc != SQLITE_OK) return rc;
  t->entered = waits_now_ns();
  rc = step(p->insert, t->who);
  if (rc == SQLITE_OK) rc = step(p->update, t->who);
  if (rc == SQLITE_OK) rc = once(p->commit);
  if (rc != SQLITE_OK) (void)sqlite3_exec(p->db, "ROLLBACK", NULL, NULL, NULL); /* the first code counts */
  return rc;
}

static int write_reopened(plain *p, turn *t)
{
  int rc = plain_open(p);

  if (rc == SQLITE_OK) rc = write_by_own(p, t);
  plain_close(p);
  return rc;
}

/* ---------------------------------------------------------------- one writer */

static const char *way;

static void write_until_stop(int who)
{
  seat *mine = &shared->seats[who];
  plain p = {0};

  if (!strcmp(way, "own") && plain_open(&p) != SQLITE_OK) give_up(path, "cannot be opened");
  atomic_fetch_add(&shared->ready, 1);
  while (!atomic_load(&shared->go)) (void)usleep(200);
  while (!atomic_load(&shared->stop)) {
    turn t = {.who = who, .asked = waits_now_ns()};
    int rc = pool                     ? write_by_pool(&t)
             : !strcmp(way, "reopen") ? write_reopened(&p, &t)
                                      : write_by_own(&p, &t);
    waits_add(&mine->waits, (t.entered ? t.entered : waits_now_ns()) - t.asked);
    if (rc == SQLITE_OK)
      mine->commits++;
    else if (mine->errors++ == 0)
      fprintf(stderr, "pool_writers: %s: %d %s\n", way, rc, rc < 0 ? holdfast_errmsg() : sqlite3_errstr(rc));
  }
  plain_close(&p);
}

static void *thread(void *arg)
{
  write_until_stop((int)(intptr_t)arg);
  return NULL;
}

static void process(int who, const char *mode)
{
  if (!strcmp(way, "pool") || !strcmp(way, "strict")) open_pool(mode, !strcmp(way, "strict"));
  write_until_stop(who);
  if (pool) (void)holdfast_pool_close(pool, 0); /* the process ends */
  _exit(0);
}

/* ---------------------------------------------------------------- all of them */

/* In a process of its own, which ends: nothing of it is left in ours. */
static void make_database(const char *mode)
{
  char sql[600];
  sqlite3 *db = NULL;
  pid_t pid = fork();

  if (pid > 0) {
    int status = 1;
    if (waitpid(pid, &status, 0) != pid || status != 0) give_up(path, "cannot be made");
    return;
  }
  (void)snprintf(sql, sizeof sql,
                 "PRAGMA journal_mode=%s; CREATE TABLE entry(id INTEGER PRIMARY KEY, writer INT, text TEXT);"
                 "CREATE TABLE total(writer INTEGER PRIMARY KEY, n INT);"
                 "INSERT INTO total VALUES(0,0),(1,0),(2,0),(3,0),(4,0),(5,0),(6,0),(7,0)",
                 mode);
  _exit(pid < 0 || sqlite3_open(path, &db) || sqlite3_exec(db, sql, NULL, NULL, NULL) || sqlite3_close(db));
}

static int64_t let_run(long seconds)
{
  int64_t began;

  for (int ms = 0; atomic_load(&shared->ready) < writers && ms < START_MS_MAX; ms++) (void)usleep(1000);
  began = waits_now_ns();
  if (atomic_load(&shared->ready) < writers) atomic_store(&shared->stop, 1); /* one of them could not start */
  atomic_store(&shared->go, 1);
  if (atomic_load(&shared->stop)) give_up("writers", "not all could start");
  (void)sleep((unsigned)seconds);
  atomic_store(&shared->stop, 1);
  return waits_now_ns() - began;
}

static int64_t as_threads(const char *mode, long seconds)
{
  pthread_t threads[WRITERS];
  int64_t ran;

  if (!strcmp(way, "pool") || !strcmp(way, "strict")) open_pool(mode, !strcmp(way, "strict"));
  one_pool = pool != NULL;
  for (int i = 0; i < writers; i++) {
    if (pthread_create(&threads[i], NULL, thread, (void *)(intptr_t)i)) give_up("threads", "no");
  }
  ran = let_run(seconds);
  for (int i = 0; i < writers; i++) (void)pthread_join(threads[i], NULL); /* each was started */
  if (one_pool && holdfast_pool_close(pool, 0)) give_up("close", holdfast_errmsg());
  return ran;
}

static int64_t as_processes(const char *mode, long seconds)
{
  pid_t pids[WRITERS];
  int64_t ran;
  int status;

  for (int i = 0; i < writers; i++) {
    pids[i] = fork();
    if (pids[i] < 0) give_up("processes", "no");
    if (pids[i] == 0) process(i, mode);
  }
  ran = let_run(seconds);
  for (int i = 0; i < writers; i++) {
    if (waitpid(pids[i], &status, 0) != pids[i] || status != 0) give_up("a process", "ended badly");
  }
  return ran;
}

static int by_size(const void *a, const void *b)
{
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

static void report(int64_t ran_ns)
{
  static waits all;
  long most = 0, least = -1, errors = 0, commits = 0;
  int64_t each[WRITERS];

  for (int i = 0; i < writers; i++) {
    const seat *s = &shared->seats[i];
    waits_merge(&all, &s->waits);
    each[i] = waits_at(&s->waits, 0.999);
    commits += s->commits;
    errors += s->errors;
    if (s->commits > most) most = s->commits;
    if (least < 0 || s->commits < least) least = s->commits;
  }
  qsort(each, (size_t)writers, sizeof *each, by_size);
  printf("%.0f %ld %ld %.1f %.1f %.1f %.1f %ld %.1f\n", (double)commits * 1e9 / (double)ran_ns, most, least,
         (double)waits_at(&all, 0.5) / 1e3, (double)waits_at(&all, 0.99) / 1e3,
         (double)waits_at(&all, 0.999) / 1e3, (double)all.max_ns / 1e3, errors,
         (double)each[writers / 2] / 1e3);
}

int main(int argc, char **argv)
{
  const char *number;
  long seconds;

  if (argc != 6) {
    fprintf(stderr,
            "usage: pool_writers pool|strict|own|reopen threads|processes[:N] delete|wal SECONDS FILE\n");
    return 64;
  }
  number = strchr(argv[2], ':');
  if (number) writers = atoi(number + 1);
  if (writers < 1 || writers > WRITERS) give_up("writers", "1 to 8 of them");
  way = argv[1];
  seconds = strtol(argv[4], NULL, 10);
  path = argv[5];
  shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED || seconds < 1) give_up("start", "no");
  make_database(argv[3]);
  report(!strncmp(argv[2], "threads", 7) ? as_threads(argv[3], seconds) : as_processes(argv[3], seconds));
  return 0;
}
