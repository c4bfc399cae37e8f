/*
 * walrace.c - see walrace.h. Threads run one at a time (interleave.h), so what they share needs no lock.
 */
#include "walrace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "files.h"
#include "interleave.h"
#include "peer.h"

#define SOUND "(SELECT group_concat(integrity_check) FROM pragma_integrity_check)"

enum { PARTS = 5, ROWS = 30, TRIES_MAX = 300, ANSWER = 400 };

typedef struct part {
  sqlite3 *db;
  uint64_t random;
  bool writes, checkpoints;
} part;

static struct {
  part parts[PARTS]; /* two checkpointers, two writers, a reader */
  walrace_result *result;
  uint64_t random;
  bool hold;
  long rows, sum; /* acknowledged */
  long sum_asked; /* with what unfinished commits may add */
} now;

static void bad(const char *what, const char *detail)
{
  if (now.result->bad) return;
  now.result->bad = true;
  (void)snprintf(now.result->why, sizeof now.result->why, "%.60s: %.230s", what,
                 detail); /* cut, for people */
}

void walrace_yield(const wrap_call *call)
{
  int restart = SQLITE_SHM_LOCK | SQLITE_SHM_EXCLUSIVE;

  if (call->op == WRAP_SHM_LOCK && call->a == 4 && call->n == 4 && call->flags == restart && now.result)
    now.result->restarts++;
  /* Half of the schedules like to hold a thread up where SQLite has just copied a changed wal-index header.
   */
  if (call->op == WRAP_SLEEP || (call->op == WRAP_UNFETCH && now.hold && !interleave_random(&now.random, 2)))
    interleave_wait();
  else
    interleave_point();
}

/* SQLITE_BUSY is an answer, any other error is a damage. */
static int run(part *p, const char *sql)
{
  int rc = sqlite3_exec(p->db, sql, NULL, NULL, NULL) & 0xff;

  if (rc != SQLITE_OK && rc != SQLITE_BUSY) bad(sql, sqlite3_errmsg(p->db));
  return rc;
}

static int some(part *p, int limit)
{
  return (int)interleave_random(&p->random, (uint32_t)limit);
}

/* ---------------------------------------------------------------- what the parts do */

static void checkpoint(part *p)
{
  static const char *const modes[] = {"PASSIVE", "PASSIVE", "PASSIVE", "PASSIVE",
                                      "FULL",    "FULL",    "RESTART", "TRUNCATE"};
  char sql[60];

  (void)snprintf(sql, sizeof sql, "PRAGMA wal_checkpoint(%s)", modes[some(p, 8)]); /* fits */
  if (run(p, sql) == SQLITE_OK) now.result->checkpoints++;
}

/* Small, large, growing, spilling; every tenth is rolled back. */
static void transaction(part *p)
{
  int first = 1 + some(p, ROWS), count = some(p, 3) ? 1 + some(p, 3) : 1 + some(p, ROWS);
  int grow = some(p, 3) ? 0 : 1 + some(p, ROWS), tries = 0;
  bool commit = some(p, 10) > 0;
  long before;
  char sql[300];

  while (run(p, "BEGIN IMMEDIATE") == SQLITE_BUSY) {
    if (++tries == TRIES_MAX) return;
    interleave_wait();
  }
  if (first + count > ROWS + 1) count = ROWS + 1 - first;
  (void)snprintf(sql, sizeof sql, "UPDATE t SET n=n+1 WHERE id BETWEEN %d AND %d", first, first + count - 1);
  if (run(p, sql) == SQLITE_OK && grow > 0) {
    (void)snprintf(sql, sizeof sql, "INSERT INTO t(n, pad) SELECT 1, pad FROM t LIMIT %d", grow);
    (void)run(p, sql); /* an error is noted there */
  }
  if (now.result->bad || !commit) {
    (void)run(p, "ROLLBACK"); /* as above */
    return;
  }
  before = now.sum_asked;
  now.sum_asked += count + grow;
  if (run(p, "COMMIT") != SQLITE_OK) {
    now.sum_asked = before; /* one writer at a time: nobody has added to it */
    (void)run(p, "ROLLBACK");
    return;
  }
  now.sum += count + grow;
  now.rows += grow;
  now.result->commits++;
}

static void busy_part(void *arg)
{
  part *p = arg;
  int acts = p->writes ? 2 + some(p, 4) : 1 + some(p, 3);

  for (int i = 0; i < acts && !now.result->bad; i++) {
    if (p->writes && (!p->checkpoints || some(p, 2)))
      transaction(p);
    else
      checkpoint(p);
  }
}

static long sum_seen(part *p)
{
  char answer[ANSWER];

  if (sql_text(p->db, "SELECT sum(n) FROM t", answer, sizeof answer) != SQLITE_OK) bad("reader", answer);
  return atol(answer);
}

static void reading_part(void *arg)
{
  part *p = arg;

  for (int i = 0; i < 3 && !now.result->bad; i++) {
    long at_least = now.sum, first, again;
    (void)run(p, "BEGIN"); /* an error is noted there */
    first = sum_seen(p);
    if (first < at_least || first > now.sum_asked) bad("reader", "sees what never was");
    interleave_point();
    again = sum_seen(p);
    if (again != first && !now.result->bad) bad("reader", "its snapshot changed");
    (void)run(p, "COMMIT");
  }
}

/* ---------------------------------------------------------------- scene and result */

static sqlite3 *open_on(const char *vfs)
{
  sqlite3 *db = NULL;

  if (sqlite3_open_v2("race.db", &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, vfs) != SQLITE_OK)
    check_broken(sqlite3_errmsg(db));
  return db;
}

static void must(sqlite3 *db, const char *sql)
{
  char answer[ANSWER];

  if (sql_text(db, sql, answer, sizeof answer) != SQLITE_OK) check_broken(answer);
}

static void open_part(part *p, const char *vfs, const char *settings)
{
  p->db = open_on(vfs);
  must(p->db, settings);
  must(p->db, "SELECT count(*) FROM t");
}

/*
 * All of the log is copied, and the checkpointers' own copy of the header is older than that: the state in
 * which the next commit restarts the log. One schedule of five begins with a log that is not copied.
 */
static void set_scene(const walrace *race, sqlite3 *plain)
{
  char sql[200];
  int frames = 1 + (int)interleave_random(&now.random, ROWS);

  must(plain, "PRAGMA synchronous=OFF; PRAGMA page_size=512; PRAGMA journal_mode=WAL;"
              "PRAGMA wal_autocheckpoint=0; CREATE TABLE t(id INTEGER PRIMARY KEY, n, pad);"
              "CREATE INDEX i ON t(n)");
  (void)snprintf(sql, sizeof sql,
                 "WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x+1 FROM c WHERE x<%d) "
                 "INSERT INTO t SELECT x, 0, zeroblob(300) FROM c",
                 ROWS);
  must(plain, sql);
  for (int i = 0; i < PARTS; i++) {
    part *p = &now.parts[i];
    p->random = interleave_state(interleave_random(&now.random, UINT32_MAX));
    p->checkpoints = i < 2 || (race->mixed && i < 4);
    p->writes = i == 2 || i == 3 || (race->mixed && i == 1);
    open_part(p, i < 2 ? race->checkpointer : race->writer,
              "PRAGMA synchronous=OFF; PRAGMA wal_autocheckpoint=0; PRAGMA cache_size=10");
  }
  now.rows = ROWS;
  now.sum = frames;
  now.sum_asked = frames;
  (void)snprintf(sql, sizeof sql, "UPDATE t SET n=n+1 WHERE id<=%d", frames);
  must(plain, sql);
  if (interleave_random(&now.random, 5)) must(plain, "PRAGMA wal_checkpoint");
}

static void look(const char *vfs, const char *when)
{
  char answer[ANSWER], want[ANSWER];
  sqlite3 *db = open_on(vfs);

  (void)snprintf(want, sizeof want, "%ld|%ld|ok", now.rows, now.sum);
  (void)sql_text(db, "PRAGMA synchronous=OFF; SELECT count(*), sum(n), " SOUND " FROM t", answer,
                 sizeof answer);
  if (strcmp(answer, want) != 0) {
    char both[sizeof answer + sizeof want + 10];
    (void)snprintf(both, sizeof both, "%.100s, want %.100s", answer, want); /* cut, for people */
    bad(when, both);
  }
  (void)sqlite3_close(db); /* no statement is left */
}

void walrace_run(const walrace *race, uint32_t seed, walrace_result *out)
{
  interleave_body *bodies[PARTS] = {busy_part, busy_part, busy_part, busy_part, reading_part};
  void *args[PARTS];
  sqlite3 *plain;
  int parts, changes;

  now.random = interleave_state(seed);
  memset(out, 0, sizeof *out);
  now.hold = false;
  now.result = out;
  db_remove("race.db");
  plain = open_on(race->plain);
  set_scene(race, plain);
  out->restarts = 0;
  now.hold = interleave_random(&now.random, 2);
  for (int i = 0; i < PARTS; i++) args[i] = &now.parts[i];
  parts = interleave_random(&now.random, 2) ? PARTS : PARTS - 1; /* with or without the reader */
  changes = 1 + (int)interleave_random(&now.random, 4);
  (void)interleave_run(parts, bodies, args, changes, 400, interleave_random(&now.random, UINT32_MAX));
  look(race->plain, "afterwards");
  for (int i = 0; i < PARTS; i++) (void)sqlite3_close(now.parts[i].db); /* no statement is left */
  (void)sqlite3_close(plain);
  look(race->plain, "after the last close");
  now.result = NULL;
}

int walrace_many(const walrace *race, int count, const char *who)
{
  const char *only = getenv("HF_SCHEDULE");
  long commits = 0, checkpoints = 0, restarts = 0;
  int bad_ones = 0, shown_max = 3;
  walrace_result result;

  if (only) count = 1;
  for (int i = 0; i < count; i++) {
    uint32_t seed = only ? (uint32_t)strtoul(only, NULL, 0) : seed_next();
    walrace_run(race, seed, &result);
    commits += result.commits;
    checkpoints += result.checkpoints;
    restarts += result.restarts;
    if (!result.bad) continue;
    if (bad_ones++ < shown_max) printf("    %s: HF_SCHEDULE=%u: %s\n", who, seed, result.why);
  }
  printf("%s: %d of %d schedules bad (%ld commits, %ld checkpoints, %ld restarts tried)\n", who, bad_ones,
         count, commits, checkpoints, restarts);
  return bad_ones;
}
