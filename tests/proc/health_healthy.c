/*
 * health_healthy.c - F5: healthy databases of many shapes are checked while a writer changes them in every
 * way it can, and none is ever called damaged.
 *
 * Page sizes, DELETE and WAL, auto-vacuum, encodings; plain tables, WITHOUT ROWID, FTS4 and FTS5, R-Trees,
 * big values, foreign keys, generated columns and odd indexes, many tables, triggers. The writer is plain
 * SQLite: rows come and go, VACUUM, checkpoints, tables and indexes are made, altered and dropped. The checks
 * are by the table and in C, quick, full, foreign keys and FTS. The control: among the databases of one group
 * is a damaged file, which has to be found. 12 databases, with HF_LONG=1 200.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "asked.h"
#include "check.h"
#include "crowd.h"
#include "damage.h"
#include "files.h"
#include "scene.h"

enum { GROUP = 4, PLACES = GROUP + 1, ROUNDS_MAX = 500, ASKED_MIN = 12, WRITTEN_MIN = 2 * 20, NAME = 40 };

typedef struct shape {
  const char *name, *create;
  const char *work[4]; /* one after the other; NULL: fewer */
} shape;

#define NUMBERS(n) "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < " #n ") "
#define WORDS      "hex(randomblob(3)) || ' ' || hex(randomblob(2)) || ' some words'"

static const shape shapes[] = {
    {"rows and indexes",
     "CREATE TABLE t(id INTEGER PRIMARY KEY, a INT, b TEXT); CREATE INDEX ta ON t(a); CREATE UNIQUE INDEX tb "
     "ON "
     "t(b); " NUMBERS(300) "INSERT INTO t SELECT i, i % 7, hex(randomblob(20)) FROM n",
     {NUMBERS(20) "INSERT INTO t(a, b) SELECT i, hex(randomblob(30)) FROM n",
      "DELETE FROM t WHERE id IN (SELECT id FROM t ORDER BY random() LIMIT 20)",
      "UPDATE t SET a = a + 1, b = b || 'x' WHERE id % 9 = 3"}},
    {"WITHOUT ROWID",
     "CREATE TABLE w(k TEXT, n INT, v BLOB, PRIMARY KEY(k, n)) WITHOUT ROWID; CREATE INDEX wv ON "
     "w(v); " NUMBERS(200) "INSERT INTO w SELECT hex(randomblob(5)), i, randomblob(i % 60) FROM n",
     {NUMBERS(20) "INSERT INTO w SELECT hex(randomblob(8)), i, randomblob(50) FROM n",
      "DELETE FROM w WHERE n % 11 = 4", "UPDATE w SET k = k || 'y' WHERE n % 13 = 5"}},
    {"FTS5",
     "CREATE VIRTUAL TABLE f USING fts5(x); " NUMBERS(50) "INSERT INTO f SELECT " WORDS " FROM n",
     {NUMBERS(10) "INSERT INTO f SELECT " WORDS " FROM n",
      "DELETE FROM f WHERE rowid IN (SELECT rowid FROM f ORDER BY random() LIMIT 8)",
      "INSERT INTO f(f) VALUES('optimize')"}},
    {"FTS4",
     "CREATE VIRTUAL TABLE f USING fts4(x); " NUMBERS(50) "INSERT INTO f SELECT " WORDS " FROM n",
     {NUMBERS(10) "INSERT INTO f SELECT " WORDS " FROM n",
      "DELETE FROM f WHERE rowid IN (SELECT rowid FROM f ORDER BY random() LIMIT 8)",
      "INSERT INTO f(f) VALUES('optimize')"}},
    {"R-Tree",
     "CREATE VIRTUAL TABLE r USING rtree(id, x0, x1); " NUMBERS(
         150) "INSERT INTO r SELECT i, i, i + 5 FROM n",
     {NUMBERS(20) "INSERT INTO r SELECT NULL, i * 3, i * 3 + 2 FROM n", "DELETE FROM r WHERE id % 7 = 2",
      "UPDATE r SET x1 = x1 + 1 WHERE id % 5 = 1"}},
    {"big values",
     "CREATE TABLE b(id INTEGER PRIMARY KEY, v BLOB, w TEXT); CREATE INDEX bw ON b(w); " NUMBERS(
         12) "INSERT INTO b SELECT i, randomblob(i * 4000), hex(randomblob(i * 100)) FROM n",
     {"INSERT INTO b(v, w) VALUES(randomblob(70000), hex(randomblob(900)))",
      "DELETE FROM b WHERE id IN (SELECT id FROM b ORDER BY random() LIMIT 1)",
      "UPDATE b SET v = randomblob(abs(random()) % 20000) WHERE id % 4 = 1"}},
    {"foreign keys",
     "CREATE TABLE p(id INTEGER PRIMARY KEY, v); CREATE TABLE c(id INTEGER PRIMARY KEY, p INT REFERENCES p "
     "ON "
     "DELETE CASCADE, v); CREATE INDEX cp ON c(p); " NUMBERS(
         60) "INSERT INTO p SELECT i, i FROM n; INSERT INTO "
             "c SELECT p.id * 2, p.id, hex(p.v) FROM p",
     {"INSERT INTO p(v) VALUES(1); INSERT INTO c(p, v) SELECT max(id), 'new' FROM p",
      "DELETE FROM p WHERE id IN (SELECT id FROM p ORDER BY random() LIMIT 2)",
      "INSERT INTO c(p, v) SELECT id, 'more' FROM p"}},
    {"generated columns, odd indexes",
     "CREATE TABLE g(id INTEGER PRIMARY KEY, a TEXT NOT NULL CHECK(length(a) > 1), l INT AS (length(a)) "
     "STORED, u "
     "TEXT AS (upper(a))); CREATE INDEX gu ON g(u DESC); CREATE INDEX gl ON g(l) WHERE l > 20; CREATE INDEX "
     "ge ON "
     "g(substr(a, 2), l); " NUMBERS(200) "INSERT INTO g(a) SELECT hex(randomblob(1 + i % 20)) FROM n",
     {NUMBERS(20) "INSERT INTO g(a) SELECT hex(randomblob(i)) FROM n", "DELETE FROM g WHERE id % 17 = 3",
      "UPDATE g SET a = a || 'z' WHERE id % 5 = 2"}},
    {"triggers and AUTOINCREMENT",
     "CREATE TABLE e(id INTEGER PRIMARY KEY AUTOINCREMENT, v); CREATE TABLE h(id INTEGER PRIMARY KEY, old); "
     "CREATE "
     "TRIGGER ed AFTER DELETE ON e BEGIN INSERT INTO h(old) VALUES(old.v); END; CREATE VIEW ev AS SELECT v "
     "FROM "
     "e; " NUMBERS(200) "INSERT INTO e(v) SELECT hex(randomblob(25)) FROM n",
     {NUMBERS(20) "INSERT INTO e(v) SELECT hex(randomblob(25)) FROM n",
      "DELETE FROM e WHERE id IN (SELECT id FROM e ORDER BY random() LIMIT 15)",
      "DELETE FROM h WHERE id % 3 = 0"}},
    {"many tables",
     "CREATE TABLE m0(a PRIMARY KEY, b); CREATE TABLE m1(a PRIMARY KEY, b); CREATE TABLE m2(a PRIMARY KEY, "
     "b); "
     "CREATE TABLE m3(a PRIMARY KEY, b); CREATE TABLE m4(a PRIMARY KEY, b); CREATE TABLE m5(a PRIMARY KEY, "
     "b); "
     "CREATE TABLE m6(a PRIMARY KEY, b); CREATE TABLE m7(a PRIMARY KEY, b); CREATE TABLE m8(a PRIMARY KEY, "
     "b); "
     "CREATE TABLE m9(a PRIMARY KEY, b); " NUMBERS(100) "INSERT INTO m0 SELECT i, randomblob(30) FROM n",
     {"INSERT INTO m3 SELECT hex(randomblob(9)), 1 FROM m0 LIMIT 30; INSERT INTO m7 SELECT "
      "hex(randomblob(9)), b "
      "FROM m0 LIMIT 20",
      "DELETE FROM m3 WHERE rowid % 3 = 0", "INSERT OR REPLACE INTO m9 SELECT a, b || 'w' FROM m7"}},
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

/* What any program does to any database. What is refused ("no such table" the second time) is refused. */
static const char *const common[] = {
    "VACUUM",
    "CREATE TABLE extra(x, y UNIQUE); INSERT INTO extra VALUES(1, 2), (3, 4)",
    "PRAGMA wal_checkpoint(TRUNCATE)",
    "ALTER TABLE extra ADD COLUMN z DEFAULT 5; CREATE INDEX ez ON extra(z, x)",
    "REINDEX",
    "PRAGMA incremental_vacuum(5)",
    "DROP TABLE extra",
    "ANALYZE",
    "PRAGMA wal_checkpoint(PASSIVE)",
    "BEGIN; CREATE TABLE never(x); DROP TABLE never; ROLLBACK",
};
enum { COMMON = sizeof common / sizeof *common };

typedef struct count {
  int asked, ok_quick, ok_full, not_checked, damaged, other;
  int written; /* statements of the writer that went through, while the checks ran */
  char first[200];
} count;
static count *counts; /* [PLACES], the same memory in all processes */
static int first_of_group, damaged_one, group_size;
static char why[200];

static const char *name_of(int number, char *name)
{
  (void)snprintf(name, NAME, "h%d.db", number);
  return name;
}

static const char *describe(int number)
{
  static char text[200];

  (void)snprintf(text, sizeof text, "%s, page size %d, %s, auto_vacuum %d, %s", shapes[number % SHAPES].name,
                 512 << (number * 3 + number / SHAPES) % 8, number / SHAPES % 2 ? "delete" : "wal",
                 number % 3, number % 4 == 3 ? "UTF-16" : "UTF-8");
  return text;
}

static int make_one(int number)
{
  char name[NAME], sql[300], text[300] = "";
  sqlite3 *db = NULL;
  int rc;

  if (number == damaged_one) return 0;
  (void)snprintf(
      sql, sizeof sql,
      "PRAGMA page_size = %d; PRAGMA auto_vacuum = %d; PRAGMA encoding = '%s'; PRAGMA journal_mode = "
      "%s; PRAGMA synchronous = OFF; BEGIN",
      512 << (number * 3 + number / SHAPES) % 8, number % 3, number % 4 == 3 ? "UTF-16le" : "UTF-8",
      number / SHAPES % 2 ? "delete" : "wal");
  rc = sqlite3_open(name_of(number, name), &db);
  if (rc == SQLITE_OK) rc = sql_text(db, sql, text, sizeof text);
  if (rc == SQLITE_OK) rc = sql_text(db, shapes[number % SHAPES].create, text, sizeof text);
  if (rc && strstr(text, "no such module")) /* an SQLite without it */
    rc = sql_text(db, shapes[0].create, text, sizeof text);
  if (rc == SQLITE_OK) rc = sql_text(db, "COMMIT", text, sizeof text);
  if (rc) printf("%s: code %d, %s\n", describe(number), rc, text);
  (void)sqlite3_close(db);
  return rc != SQLITE_OK;
}

static int makes(int who)
{
  int bad = 0;

  (void)who;
  for (int i = 0; i < group_size; i++) bad |= make_one(first_of_group + i);
  return bad;
}

/* ---------------------------------------------------------------- the writer */

static bool allowed(int rc, const char *text)
{
  rc &= 0xff;
  return rc == SQLITE_OK || rc == SQLITE_BUSY || rc == SQLITE_LOCKED || strstr(text, "no such ") ||
         strstr(text, "already exists") || strstr(text, "duplicate column") || strstr(text, "UNIQUE");
}

static int writes(int who)
{
  sqlite3 *db[PLACES] = {0};
  char name[NAME], text[300];
  int bad = 0;
  unsigned turn = 0;

  (void)who;
  for (int i = 0; i < group_size; i++) {
    if (first_of_group + i == damaged_one) continue;
    if (sqlite3_open(name_of(first_of_group + i, name), &db[i]) != SQLITE_OK) return 9;
    (void)sqlite3_busy_timeout(db[i], 5000);
    (void)sql_text(db[i],
                   "PRAGMA synchronous = OFF; PRAGMA cache_size = 8; PRAGMA foreign_keys = ON; PRAGMA "
                   "wal_autocheckpoint = 30",
                   text, sizeof text);
  }
  for (; !crowd_stopped() && !bad; turn++) {
    const shape *s = &shapes[(first_of_group + (int)turn % group_size) % SHAPES];
    unsigned step = turn / (unsigned)group_size;
    const char *sql = step % 2 ? common[step / 2 % COMMON] : s->work[step / 2 % 3];
    sqlite3 *one = db[turn % (unsigned)group_size];
    int rc = one ? sql_text(one, sql, text, sizeof text) : SQLITE_OK;

    bad = !allowed(rc, text);
    if (bad) printf("the writer: %s: %s: code %d, %s\n", s->name, sql, rc, text);
    counts[turn % (unsigned)group_size].written += one && rc == SQLITE_OK;
    if (one && !sqlite3_get_autocommit(one)) (void)sql_text(one, "ROLLBACK", text, sizeof text);
  }
  for (int i = 0; i < group_size; i++)
    if (sqlite3_close(db[i]) != SQLITE_OK) bad = 1;
  return bad ? 2 : 0;
}

/* ---------------------------------------------------------------- the checks */

static const char *by_table(sqlite3 *db, bool full, char *out, size_t size)
{
  int rc = sql_text(
      db,
      full ? "SELECT verdict, ifnull(reason, 'none'), text FROM holdfast_health('full', 5000, 'main', "
             "1) LIMIT 1"
           : "SELECT verdict, ifnull(reason, 'none'), text FROM holdfast_health('quick', 5000, "
             "'main', 1) LIMIT 1",
      out, size);

  if (rc && (rc & 0xff) != SQLITE_BUSY)
    (void)snprintf(out, size, "code %d", rc);
  else if (rc)
    (void)snprintf(out, size, "not_checked|busy");
  return out;
}

static void judge(count *c, int round, int kind, const char *answer)
{
  c->asked++;
  if (strncmp(answer, "ok|", 3) == 0) {
    c->ok_quick += kind == HOLDFAST_HEALTH_QUICK;
    c->ok_full += kind == HOLDFAST_HEALTH_FULL;
  } else if (strncmp(answer, "not_checked|", 12) == 0) {
    c->not_checked++;
  } else {
    if (strncmp(answer, "damaged|", 8) == 0)
      c->damaged++;
    else
      c->other++;
    (void)snprintf(c->first, sizeof c->first, "round %d, kind %d: %.150s", round, kind, answer);
  }
}

static void check_one(sqlite3 *db, count *c, int round)
{
  static const int kinds[] = {HOLDFAST_HEALTH_QUICK, HOLDFAST_HEALTH_FULL, HOLDFAST_HEALTH_FK,
                              HOLDFAST_HEALTH_FTS};
  char answer[400];

  for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
    holdfast_health_options options = {
        .struct_size = sizeof options, .kind = kinds[k], .force = 1, .budget_ms = 5000};
    if (kinds[k] > HOLDFAST_HEALTH_FULL && round % 2) continue;
    if (kinds[k] <= HOLDFAST_HEALTH_FULL && round % 2)
      (void)by_table(db, kinds[k] == HOLDFAST_HEALTH_FULL, answer, sizeof answer);
    else
      (void)asked(db, &options, 5, answer, sizeof answer); /* the answer tells */
    judge(c, round, kinds[k], answer);
  }
}

/* All that the writer does has been done to each, and each was called ok. */
static bool enough(void)
{
  for (int i = 0; i < group_size; i++) {
    const count *c = &counts[i];
    if (c->asked < ASKED_MIN) return false;
    if (first_of_group + i != damaged_one && (!c->ok_quick || !c->ok_full || c->written < WRITTEN_MIN))
      return false;
  }
  return true;
}

/* Connections that stay, under the shim. */
static int checks(int who)
{
  sqlite3 *db[PLACES] = {0};
  char name[NAME];

  (void)who;
  if (holdfast_register(NULL) != SQLITE_OK) return 3;
  for (int i = 0; i < group_size; i++) {
    if (sqlite3_open(name_of(first_of_group + i, name), &db[i]) != SQLITE_OK) return 9;
    (void)sqlite3_busy_timeout(db[i], 1000);
    if (holdfast_attach_sql(db[i]) != SQLITE_OK) return 4;
  }
  for (int round = 0; round < ROUNDS_MAX && !enough(); round++)
    for (int i = 0; i < group_size; i++) check_one(db[i], &counts[i], round);
  for (int i = 0; i < group_size; i++)
    (void)sqlite3_close(db[i]); /* after the verdicts; nothing depends on it */
  return 0;
}

/* ---------------------------------------------------------------- both */

static void one_group(int first, int size, count *sum)
{
  pid_t writer;
  char name[NAME];

  first_of_group = first;
  group_size = size;
  memset(counts, 0, sizeof *counts * PLACES);
  crowd_start();
  CHECK_INT("made", crowd_wait(crowd_fork(SHIM_NO, makes, 0)), 0);
  writer = crowd_fork(SHIM_NO, writes, 1);
  CHECK_INT("the checks' process", crowd_wait(crowd_fork(SHIM_NO, checks, 2)), 0);
  crowd_stop();
  CHECK_INT("the writer", crowd_wait(writer), 0);
  for (int i = 0; i < size; i++) {
    const count *c = &counts[i];

    (void)name_of(first + i, name);
    if (first + i == damaged_one) {
      check_scene("the damaged file among them: %s", why);
      CHECK_TRUE("found", c->damaged > 0);
      CHECK_INT("called ok by full", c->ok_full, 0);
    } else {
      check_scene("%s: %s", name, describe(first + i));
      CHECK_INT("called damaged", c->damaged, 0);
      CHECK_INT("answered otherwise", c->other, 0);
      if (c->damaged || c->other) printf("    %s\n", c->first);
      CHECK_TRUE("it was written to", c->written >= WRITTEN_MIN);
      CHECK_TRUE("quick came to its end", c->ok_quick > 0);
      CHECK_TRUE("full came to its end", c->ok_full > 0);
      sum->asked += c->asked;
      sum->not_checked += c->not_checked;
      sum->damaged += c->damaged;
      sum->written += c->written;
    }
    db_remove(name);
  }
}

int main(void)
{
  int all = scene_rounds(12, 200);
  count sum = {0};
  char name[NAME];

  seed_start();
  counts = mmap(NULL, sizeof *counts * PLACES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (counts == MAP_FAILED) check_broken("shared memory");
  damaged_one = all; /* in a last group of its own, with healthy neighbours */
  for (int first = 0; first < all; first += GROUP) {
    if (first + GROUP >= all) {
      damage_base(name_of(damaged_one, name), "delete", 0);
      damage_do(name, (damage_kind)seed_below(DAMAGE_KINDS), why, sizeof why);
    }
    one_group(first, first + GROUP >= all ? GROUP + 1 : GROUP, &sum);
  }
  check_scene("all");
  printf(
      "%d healthy databases, %d checks beside %d statements of writers: %d not checked, %d called damaged\n",
      all, sum.asked, sum.written, sum.not_checked, sum.damaged);
  return check_done();
}
