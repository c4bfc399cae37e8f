/*
 * fuzz_database.c - any bytes as a database: the check and salvage stay in their bounds, write to nothing
 * that is not theirs, and call no whole database damaged.
 *
 *     clang -fsanitize=fuzzer,address,undefined ... && ./fuzz_database CORPUS
 *
 * Built without -fsanitize=fuzzer it brings its own main(): it makes small databases of several kinds, one
 * with rows in its -wal, changes them at random (HF_SEED repeats a run, HF_ROUNDS sets its length), or takes
 * the files that are named. A round in six changes nothing: there the verdict has to be ok, and nothing may
 * be lost. tests/proc/asan.sh runs it with sanitizers, and with a bound taken out of the reader of pages as
 * its control.
 */
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "holdfast.h"

#define REQUIRE(condition)                                                                                   \
  do {                                                                                                       \
    if (!(condition)) {                                                                                      \
      fprintf(stderr, "round %ld, line %d: %s is not true: %s\n", round_now, __LINE__, #condition, said);    \
      abort();                                                                                               \
    }                                                                                                        \
  } while (0)

enum { INPUT_MAX = 1 << 20, BASES = 5 };

typedef struct bytes {
  uint8_t *at;
  size_t size;
} bytes;

static long round_now;
static char said[300]; /* the last answer, for REQUIRE */

/* ---------------------------------------------------------------- files */

static bytes load(const char *path)
{
  FILE *f = fopen(path, "rb");
  bytes b = {malloc(INPUT_MAX), 0};

  if (f && b.at) b.size = fread(b.at, 1, INPUT_MAX, f);
  if (f) (void)fclose(f); /* only read */
  return b;
}

static void store(const char *path, const uint8_t *data, size_t size)
{
  FILE *f = fopen(path, "wb");

  if (!f || fwrite(data, 1, size, f) != size || fclose(f) != 0) {
    perror(path);
    exit(1);
  }
}

static bool is_still(const char *path, const uint8_t *data, size_t size)
{
  bytes now = load(path);
  bool same = now.at && now.size == size && memcmp(now.at, data, size) == 0;

  free(now.at);
  return same;
}

static void clear(void)
{
  static const char *const names[] = {"f.db", "f.db-wal", "f.db-shm", "f.db-journal", "new.db"};

  for (size_t i = 0; i < sizeof names / sizeof *names; i++) (void)unlink(names[i]); /* most are not there */
}

/* ---------------------------------------------------------------- one input */

static void require_sound(const holdfast_health_run *run, const holdfast_health_report *r)
{
  holdfast_health_finding_row row = {.struct_size = sizeof row};
  char text[300];

  REQUIRE(strcmp(holdfast_word("verdict", r->verdict), "?") != 0);
  REQUIRE(strcmp(holdfast_word("kind", r->kind), "?") != 0);
  REQUIRE(memchr(r->text, 0, sizeof r->text) != NULL);
  REQUIRE((r->verdict == HOLDFAST_HEALTH_NOT_CHECKED) == (r->reason != 0));
  REQUIRE(r->verdict != HOLDFAST_HEALTH_DAMAGED || (r->damage > 0 && r->text[0]));
  REQUIRE(r->verdict != HOLDFAST_HEALTH_OK || r->damage == 0);
  REQUIRE(strlen(holdfast_health_coverage(r, text, sizeof text)) < sizeof text);
  for (int i = 0; i < r->findings; i++) {
    REQUIRE(holdfast_health_finding(run, i, &row) == SQLITE_OK);
    REQUIRE(memchr(row.text, 0, sizeof row.text) && memchr(row.object, 0, sizeof row.object));
  }
  REQUIRE(holdfast_health_finding(run, r->findings, &row) == SQLITE_NOTFOUND);
}

static int check(sqlite3 *db, int kind, bool unsliced)
{
  holdfast_health_options options = {
      .struct_size = sizeof options, .kind = kind, .force = 1, .budget_ms = 10000, .unsliced = unsliced};
  holdfast_health_report report = {.struct_size = sizeof report};
  holdfast_health_run *run = NULL;

  REQUIRE(holdfast_health_begin(db, "main", &options, &run) == SQLITE_OK);
  while (holdfast_health_step(run, 20) == SQLITE_ROW) continue;
  (void)holdfast_health_report_of(run, &report); /* the arguments are right */
  (void)snprintf(said, sizeof said, "%s, %s: %.200s", holdfast_word("verdict", report.verdict),
                 holdfast_word("reason", report.reason), report.text);
  require_sound(run, &report);
  holdfast_health_end(run);
  return report.verdict;
}

static int keep(void *out, int columns, char **values, char **names)
{
  (void)columns, (void)names;
  (void)snprintf(out, sizeof said, "%s", values[0] ? values[0] : "");
  return 0;
}

/* What salvage made is a whole database, whatever it was made from. */
static void require_whole(const char *path)
{
  sqlite3 *db = NULL;

  said[0] = 0;
  REQUIRE(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, "unix") == SQLITE_OK);
  (void)sqlite3_exec(db, "PRAGMA integrity_check", keep, said, NULL); /* said tells */
  REQUIRE(strcmp(said, "ok") == 0 || strncmp(said, "NULL value in", 13) == 0 ||
          strncmp(said, "CHECK constraint failed", 23) == 0);
  (void)sqlite3_close(db);
}

static void count_rows(const holdfast_salvage_table *table, void *rows)
{
  *(int64_t *)rows += table->rows_kept;
  if (table->rows_lost < 0 || table->rows_broken < 0 || table->pages_lost < 0) abort();
}

/* The verdict of full, the rows that were kept, and what salvage said. */
typedef struct outcome {
  int quick, full, salvage;
  int64_t rows;
} outcome;

static outcome run(const uint8_t *data, size_t size, const uint8_t *wal, size_t wal_size)
{
  outcome out = {0};
  sqlite3 *db = NULL;
  char message[400] = "";

  clear();
  store("f.db", data, size);
  if (wal) store("f.db-wal", wal, wal_size);
  REQUIRE(sqlite3_open_v2("f.db", &db, SQLITE_OPEN_READWRITE, "holdfast") == SQLITE_OK);
  (void)sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL); /* 3.16 and newer know it */
  out.quick = check(db, HOLDFAST_HEALTH_QUICK, false);
  out.full = check(db, HOLDFAST_HEALTH_FULL, false);
  (void)check(db, HOLDFAST_HEALTH_FULL, true);
  (void)check(db, HOLDFAST_HEALTH_FK, false);
  REQUIRE(is_still("f.db", data, size));
  REQUIRE(!wal || is_still("f.db-wal", wal, wal_size));
  (void)sqlite3_close(db);
  REQUIRE(is_still("f.db", data, size));
  if (wal) store("f.db-wal", wal, wal_size); /* SQLite takes away one that holds nothing */
  out.salvage = holdfast_salvage("f.db", "new.db", count_rows, &out.rows, message, sizeof message);
  REQUIRE(is_still("f.db", data, size));
  REQUIRE(!wal || is_still("f.db-wal", wal, wal_size));
  REQUIRE(out.salvage == SQLITE_OK || message[0] || out.salvage == SQLITE_CORRUPT);
  if (access("new.db", F_OK) == 0) require_whole("new.db");
  return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static bool registered;

  if (!registered && holdfast_register(NULL) != SQLITE_OK) abort();
  registered = true;
  for (size_t i = 0; i + 4 <= size && i < 400; i += 4) {
    int32_t code;
    memcpy(&code, data + i, sizeof code);
    (void)holdfast_classify(code & 0xffff);
  }
  (void)run(data, size, NULL, 0);
  return 0;
}

/* ---------------------------------------------------------------- bases */

static const struct {
  const char *set, *make;
  bool wal;
} kinds[BASES] = {
    {"PRAGMA page_size = 512", "CREATE TABLE t(id INTEGER PRIMARY KEY, a, b TEXT); CREATE INDEX ta ON t(a)",
     false},
    {"PRAGMA page_size = 1024; PRAGMA auto_vacuum = 1",
     "CREATE TABLE t(a TEXT, n INT, b, PRIMARY KEY(a, n)) WITHOUT ROWID; CREATE INDEX tb ON t(b)", false},
    {"PRAGMA page_size = 4096; PRAGMA encoding = 'UTF-16le'",
     "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, a UNIQUE, b AS (a || 'x') STORED, c REFERENCES "
     "t(id))",
     false},
    {"PRAGMA page_size = 512; PRAGMA auto_vacuum = 2",
     "CREATE TABLE t(id INTEGER PRIMARY KEY, a, b); CREATE VIEW v AS SELECT a FROM t; CREATE TRIGGER x AFTER "
     "DELETE "
     "ON t BEGIN SELECT 1; END; CREATE TABLE u(z NOT NULL)",
     false},
    {"PRAGMA page_size = 1024; PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0",
     "CREATE TABLE t(id INTEGER PRIMARY KEY, a, b); CREATE INDEX ta ON t(a)", true},
};
static bytes bases[BASES], base_wal;

static void must(sqlite3 *db, const char *sql)
{
  if (sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK) return;
  fprintf(stderr, "%s: %s\n", sql, sqlite3_errmsg(db));
  exit(1);
}

static void make_base(int which)
{
  sqlite3 *db = NULL;
  char sql[400];

  clear();
  if (sqlite3_open_v2("f.db", &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "unix") != SQLITE_OK) exit(1);
  must(db, kinds[which].set);
  must(db, kinds[which].make);
  (void)snprintf(
      sql, sizeof sql,
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 150) INSERT INTO t(%s) "
      "SELECT printf('row %%d', i)%s, %s FROM n",
      which == 1   ? "a, n, b"
      : which == 2 ? "a, c"
                   : "a, b",
      which == 1 ? ", i" : "", which == 2 ? "NULL" : "zeroblob(i % 40 * 30)");
  must(db, "BEGIN");
  must(db, sql);
  must(db, "COMMIT; CREATE TABLE gone(x); INSERT INTO gone VALUES(zeroblob(6000)); DROP TABLE gone");
  bases[which] = load("f.db"); /* the only connection is ours, and nobody relies on its locks */
  if (kinds[which].wal) base_wal = load("f.db-wal");
  (void)sqlite3_close(db);
}

/* ---------------------------------------------------------------- changes */

static uint32_t state;

static uint32_t next(void)
{
  state ^= state << 13;
  state ^= state >> 17;
  state ^= state << 5;
  return state;
}

static void change(bytes *b, size_t page)
{
  static const uint8_t values[] = {0, 1, 2, 5, 10, 13, 0x7f, 0x80, 0xff};
  size_t pages = b->size / page, at = b->size ? next() % b->size : 0, other;

  if (b->size < 2 * page) return;
  switch (next() % 9) {
  case 0: b->at[at] = (uint8_t)next(); break;
  case 1: b->at[at] = values[next() % sizeof values]; break;
  case 2: b->at[next() % 100] = values[next() % sizeof values]; break;                        /* the header */
  case 3: b->at[next() % pages * page + next() % 12] = values[next() % sizeof values]; break; /* a page's */
  case 4: b->at[next() % pages * page + 8 + next() % 40] = (uint8_t)next(); break; /* where its cells are */
  case 5: /* the first page of the freelist, and how many there are */
    b->at[32 + next() % 8] = (uint8_t)(next() % (pages + 2));
    break;
  case 6: /* a page onto another */
    other = next() % pages;
    memmove(b->at + other * page, b->at + next() % pages * page, page);
    break;
  case 7: memset(b->at + at, values[next() % sizeof values], (b->size - at) % 300); break;
  default: b->size = next() % 2 ? at : at / page * page;
  }
}

static bytes copy_of(bytes b)
{
  bytes made = {malloc(b.size + 1), b.size};

  if (!made.at) exit(1);
  memcpy(made.at, b.at, b.size);
  return made;
}

static void one_round(int tally[3])
{
  static const size_t pages[BASES] = {512, 1024, 4096, 512, 1024};
  static int64_t rows[BASES];
  int which = (int)(next() % BASES);
  bytes b = copy_of(bases[which]), wal = kinds[which].wal ? copy_of(base_wal) : (bytes){0};
  bool whole = !rows[which] || next() % 6 == 0;
  outcome out;

  if (!whole) {
    for (uint32_t n = 1 + next() % 8; n > 0; n--)
      change(wal.at && next() % 2 ? &wal : &b, pages[which] + (wal.at ? 24 : 0));
  }
  out = run(b.at, b.size, wal.at, wal.size);
  if (whole) {
    REQUIRE(out.quick == HOLDFAST_HEALTH_OK && out.full == HOLDFAST_HEALTH_OK && out.salvage == SQLITE_OK);
    REQUIRE(out.rows >= 150 && (!rows[which] || rows[which] == out.rows));
    rows[which] = out.rows;
  } else {
    tally[out.full == HOLDFAST_HEALTH_OK ? 0 : out.full == HOLDFAST_HEALTH_DAMAGED ? 1 : 2]++;
  }
  free(b.at);
  free(wal.at);
}

/* In memory where there is a place: salvage syncs what it makes. After a failure the input is still there. */
static void go_to(char *folder)
{
  if (!mkdtemp(folder) || chdir(folder) != 0) {
    *folder = 0;
    return;
  }
  printf("in %s\n", folder);
  (void)fflush(stdout); /* whoever looks after a crash has to know */
}

/* Weak: libFuzzer brings a main() of its own. */
__attribute__((weak)) int main(int argc, char **argv)
{
  const char *seed = getenv("HF_SEED"), *rounds_text = getenv("HF_ROUNDS");
  long rounds = rounds_text ? atol(rounds_text) : getenv("HF_LONG") ? 100000 : 200;
  char folder[] = "/dev/shm/holdfast-fuzz.XXXXXX";
  int tally[3] = {0};

  for (int i = 1; i < argc; i++) {
    bytes b = load(argv[i]);
    LLVMFuzzerTestOneInput(b.at, b.size);
    free(b.at);
  }
  if (argc > 1) return 0;
  state = seed ? (uint32_t)strtoul(seed, NULL, 0) : (uint32_t)time(NULL) ^ (uint32_t)getpid() << 16;
  printf("HF_SEED=%u HF_ROUNDS=%ld\n", state, rounds);
  go_to(folder);
  (void)fflush(stdout);
  if (state == 0) state = 1;
  if (holdfast_register(NULL) != SQLITE_OK) return 1;
  for (int i = 0; i < BASES; i++) make_base(i);
  for (round_now = 0; round_now < rounds; round_now++) one_round(tally);
  printf("changed databases: %d ok, %d damaged, %d not checked\n", tally[0], tally[1], tally[2]);
  for (int i = 0; i < BASES; i++) free(bases[i].at);
  free(base_wal.at);
  clear();
  if (*folder) (void)rmdir(folder); /* what is left of it says more than a failure here */
  return tally[1] > 0 ? 0 : 1;
}
