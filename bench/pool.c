/*
 * pool.c (bench) - one thread: what a lease costs, and what a kept connection saves.
 *
 *     pool FILE
 *
 * Prints a line for each measure: its name, then the median and the 99th percentile in nanoseconds. Leases
 * are timed in hundreds, because one is not longer than a look at the clock; the rest one by one. "open" is a
 * connection for each operation, in a database that nobody else has open ("last": its close checkpoints and
 * removes the -wal) or that a sibling keeps open. The ways take turns, so that what else the machine does
 * falls on all of them. Plain SQLite runs in processes of its own, without the shim.
 */
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "holdfast.h"
#include "waits.h"

enum { LEASES = 100, LEASE_BATCHES = 20000, OPERATIONS = 2000, TURNS = 5, ROWS = 10000 };
static const char select_sql[] = "SELECT text FROM item WHERE id=?1";
static const char update_sql[] = "UPDATE item SET text='changed' WHERE id=?1";
static const char *path;

static void give_up(const char *what, const char *why)
{
  fprintf(stderr, "pool: %s: %s\n", what, why);
  exit(1);
}

static void must(int rc, const char *what)
{
  if (rc != SQLITE_OK) give_up(what, rc < 0 ? holdfast_errmsg() : sqlite3_errstr(rc));
}

static int key(int i)
{
  return (int)((int64_t)i * 7919 % ROWS) + 1;
}

static void run(sqlite3_stmt *s, int id, const char *what)
{
  int rc;

  must(sqlite3_bind_int(s, 1, id), what);
  rc = sqlite3_step(s);
  if (rc == SQLITE_ROW) rc = sqlite3_step(s);
  if (rc != SQLITE_DONE) give_up(what, sqlite3_errstr(rc));
}

/* ---------------------------------------------------------------- through the pool */

static holdfast_pool *pool;

static void open_pool(void)
{
  holdfast_config shim = {.struct_size = sizeof shim, .log = "none"};

  must(holdfast_init(&shim), "shim");
  must(holdfast_pool_open(path, NULL, &pool), path);
}

static void lease_mode(waits *out, int mode)
{
  holdfast_lease *lease;

  open_pool();
  for (int b = 0; b < LEASE_BATCHES / TURNS; b++) {
    int64_t began = waits_now_ns();
    for (int i = 0; i < LEASES; i++) {
      must(holdfast_acquire(pool, mode, 0, &lease), "acquire");
      must(holdfast_release(lease), "release");
    }
    waits_add(out, (waits_now_ns() - began) / LEASES);
  }
  must(holdfast_pool_close(pool, 0), "close");
}

static void lease_read(waits *out)
{
  lease_mode(out, HOLDFAST_READ);
}

static void lease_write(waits *out)
{
  lease_mode(out, HOLDFAST_WRITE);
}

static void operation_by_pool(waits *out, int mode, const char *sql)
{
  holdfast_lease *lease;
  sqlite3_stmt *s;

  open_pool();
  for (int i = 0; i < OPERATIONS; i++) {
    int64_t began = waits_now_ns();
    must(holdfast_acquire(pool, mode, 0, &lease), "acquire");
    must(holdfast_prepare(lease, sql, &s), sql);
    run(s, key(i), sql);
    must(holdfast_release(lease), "release");
    waits_add(out, waits_now_ns() - began);
  }
  must(holdfast_pool_close(pool, 0), "close");
}

static void read_by_pool(waits *out)
{
  operation_by_pool(out, HOLDFAST_READ, select_sql);
}

static void write_by_pool(waits *out)
{
  operation_by_pool(out, HOLDFAST_WRITE, update_sql);
}

/* ---------------------------------------------------------------- plain SQLite */

static sqlite3 *open_plain(void)
{
  sqlite3 *db = NULL;

  must(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL), path);
  must(sqlite3_busy_timeout(db, 5000), "timeout");
  return db;
}

/* A connection that stays open and has read, as a sibling has. */
static sqlite3 *open_sibling(void)
{
  sqlite3 *db = open_plain();

  must(sqlite3_exec(db, "SELECT count(*) FROM item", NULL, NULL, NULL), "sibling");
  return db;
}

static void operation_opened(waits *out, const char *sql, bool sibling)
{
  sqlite3 *other = sibling ? open_sibling() : NULL;

  for (int i = 0; i < OPERATIONS; i++) {
    int64_t began = waits_now_ns();
    sqlite3_stmt *s = NULL;
    sqlite3 *db = open_plain();
    must(sqlite3_prepare_v2(db, sql, -1, &s, NULL), sql);
    run(s, key(i), sql);
    must(sqlite3_finalize(s), sql);
    must(sqlite3_close(db), "close");
    waits_add(out, waits_now_ns() - began);
  }
  (void)sqlite3_close(other); /* NULL is harmless */
}

static void operation_kept(waits *out, const char *sql)
{
  sqlite3 *db = open_sibling();
  sqlite3_stmt *s = NULL;

  must(sqlite3_prepare_v2(db, sql, -1, &s, NULL), sql);
  for (int i = 0; i < OPERATIONS; i++) {
    int64_t began = waits_now_ns();
    run(s, key(i), sql);
    must(sqlite3_reset(s), sql);
    waits_add(out, waits_now_ns() - began);
  }
  must(sqlite3_finalize(s), sql);
  must(sqlite3_close(db), "close");
}

static void read_opened(waits *out)
{
  operation_opened(out, select_sql, true);
}
static void read_opened_last(waits *out)
{
  operation_opened(out, select_sql, false);
}
static void read_kept(waits *out)
{
  operation_kept(out, select_sql);
}
static void write_opened(waits *out)
{
  operation_opened(out, update_sql, true);
}
static void write_opened_last(waits *out)
{
  operation_opened(out, update_sql, false);
}
static void write_kept(waits *out)
{
  operation_kept(out, update_sql);
}

/* ---------------------------------------------------------------- in turns */

typedef struct measure {
  const char *name;
  void (*body)(waits *out);
} measure;
static const measure measures[] = {
    {"lease-read", lease_read},    {"lease-write", lease_write},
    {"read-pool", read_by_pool},   {"read-kept", read_kept},
    {"read-open", read_opened},    {"read-open-last", read_opened_last},
    {"write-pool", write_by_pool}, {"write-kept", write_kept},
    {"write-open", write_opened},  {"write-open-last", write_opened_last},
};
enum { MEASURES = sizeof measures / sizeof measures[0] };

static void make_database(waits *unused)
{
  sqlite3 *db = NULL;

  (void)unused;
  must(sqlite3_open(path, &db), path);
  must(sqlite3_exec(db,
                    "PRAGMA journal_mode=WAL; CREATE TABLE item(id INTEGER PRIMARY KEY, text TEXT);"
                    "WITH RECURSIVE i(n) AS (VALUES(1) UNION ALL SELECT n+1 FROM i WHERE n<10000) "
                    "INSERT INTO item SELECT n, hex(randomblob(50)) FROM i",
                    NULL, NULL, NULL),
       "table");
  must(sqlite3_close(db), "close");
}

static void apart(void (*body)(waits *out), waits *out)
{
  int status = 1;
  pid_t pid = fork();

  if (pid == 0) {
    body(out);
    _exit(0);
  }
  if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0) give_up("a process", "ended badly");
}

int main(int argc, char **argv)
{
  waits *results;

  if (argc != 2) {
    fprintf(stderr, "usage: pool FILE\n");
    return 64;
  }
  path = argv[1];
  results = mmap(NULL, MEASURES * sizeof *results, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (results == MAP_FAILED) give_up("memory", "no");
  apart(make_database, NULL);
  for (int turn = 0; turn < TURNS; turn++) {
    for (int i = 0; i < (int)MEASURES; i++) apart(measures[i].body, &results[i]);
  }
  for (int i = 0; i < (int)MEASURES; i++)
    printf("%s %lld %lld\n", measures[i].name, (long long)waits_at(&results[i], 0.5),
           (long long)waits_at(&results[i], 0.99));
  return 0;
}
