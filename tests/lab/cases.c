/*
 * cases.c - the lab's cases. Each does one thing on one mount, with plain SQLite or through the shim,
 * and prints in a few words what happened; what should have happened is in cases.sh.
 *
 *   cases CASE    environment: CASE_DIR (the mount), CASE_SERVER (the same files without the mount),
 *                 CASE_RO (the mount again, read-only), CASE_SHIM (absent: plain SQLite),
 *                 CASE_WRITER_SHIM (of the writer that dies), CASE_CLIENT2 (a process there),
 *                 CASE_ROUNDS (crashes), CASE_COMMITS (of each of two writers)
 *
 * Exit code 0: it ran; 77: it cannot run here; anything else: the lab itself failed.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kit.h"

enum { PATH_BYTES = 2048, PAGES = 40 };

static const char *shim; /* NULL: plain SQLite */
static char db[PATH_BYTES], server_db[PATH_BYTES], readonly_db[PATH_BYTES];

static void name_files(const char *name, long round)
{
  const char *kind = shim != NULL ? "holdfast" : "stock";
  const char *dir = kit_need("CASE_DIR"), *below = kit_need("CASE_SERVER"), *ro = kit_need("CASE_RO");

  (void)snprintf(db, sizeof db, "%s/%s-%s%ld.db", dir, name, kind, round);
  (void)snprintf(server_db, sizeof server_db, "%s/%s-%s%ld.db", below, name, kind, round);
  (void)snprintf(readonly_db, sizeof readonly_db, "%s/%s-%s%ld.db", ro, name, kind, round);
}

static const char *side_files(void)
{
  bool wal = kit_exists(db, "-wal"), shm = kit_exists(db, "-shm");

  if (wal && shm) return "-wal and -shm";
  return wal ? "-wal" : shm ? "-shm" : "no side files";
}

/* A WAL database whose 1,000 rows are in its -wal alone: its maker is killed before any checkpoint. */
static void make_wal_database(void)
{
  kit_agent maker = kit_start(NULL, NULL);

  kit_must(&maker, "open %s", server_db);
  kit_must(&maker, "sql PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; PRAGMA synchronous=FULL");
  kit_must(
      &maker,
      "sql CREATE TABLE t(a); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<1000) "
      "INSERT INTO t SELECT i FROM n");
  kit_kill(&maker);
  if (!kit_exists(server_db, "-wal")) kit_fail("no -wal was left behind");
}

/* ---- 1: what is this mount */

/* The value of "key":"value" in a JSON text that holds no quotes inside its values. */
static const char *json_word(const char *json, const char *key)
{
  static char word[64];
  char quoted[64];
  const char *p;

  word[0] = '\0';
  (void)snprintf(quoted, sizeof quoted, "\"%s\":\"", key);
  p = strstr(json, quoted);
  if (p != NULL) {
    p += strlen(quoted);
    (void)snprintf(word, sizeof word, "%.*s", (int)strcspn(p, "\""), p);
  }
  return word;
}

static void case_verdict(void)
{
  kit_agent agent = kit_start(shim, NULL);
  const char *heard;
  char rule[64];

  kit_must(&agent, "open %s", db);
  heard = kit_ask(&agent, "sql PRAGMA holdfast_mount");
  (void)snprintf(rule, sizeof rule, "%s", json_word(heard, "rule"));
  if (strcmp(heard, "ok") == 0) {
    printf("nothing is said");
  } else {
    printf("%s, %s", json_word(heard, "class"), rule);
    heard = kit_ask(&agent, "sql PRAGMA holdfast_status");
    if (strcmp(json_word(heard, "rule"), rule) != 0) printf(", BUT %s", json_word(heard, "rule"));
  }
  kit_stop(&agent);
}

/* ---- 2: WAL asked for by a program that does not know where it is */

static void wal_asked(const char *before)
{
  kit_agent agent = kit_start(shim, NULL);

  kit_must(&agent, "open %s", db);
  if (before != NULL) kit_must(&agent, "sql %s", before);
  printf("%s", kit_short(kit_ask(&agent, "sql PRAGMA journal_mode=WAL")));
  if (strncmp(kit_ask(&agent, "sql CREATE TABLE t(a); INSERT INTO t VALUES(1)"), "ok", 2) != 0)
    printf(", cannot write");
  printf(", %s", side_files());
  kit_stop(&agent);
}

static void case_wal(void)
{
  wal_asked(NULL);
}
static void case_wal_exclusive(void)
{
  wal_asked("PRAGMA locking_mode=EXCLUSIVE");
}

/* ---- 3: a database that is in WAL mode already */

static void case_rows_in_wal(void)
{
  kit_agent agent, plain;
  uint64_t db_sum, wal_sum;
  const char *heard;

  make_wal_database();
  db_sum = kit_sum(server_db, "");
  wal_sum = kit_sum(server_db, "-wal");
  agent = kit_start(shim, NULL);
  heard = kit_ask(&agent, "open %s", db);
  if (strncmp(heard, "ok", 2) == 0) heard = kit_ask(&agent, "sql SELECT count(*) FROM t");
  if (strncmp(heard, "ok", 2) != 0) {
    bool same = kit_sum(server_db, "") == db_sum && kit_sum(server_db, "-wal") == wal_sum;

    printf("%s, %s", kit_short(heard), same ? "unchanged" : "CHANGED");
    kit_stop(&agent);
    return;
  }
  printf("%s rows", kit_short(heard));
  printf(", %s", kit_short(kit_ask(&agent, "sql PRAGMA journal_mode")));
  kit_stop(&agent);

  plain = kit_start(NULL, NULL); /* what others find afterwards */
  kit_must(&plain, "open %s", server_db);
  heard = kit_ask(&plain, "sql SELECT count(*) FROM t; PRAGMA integrity_check");
  if (strcmp(heard, "ok 1000|ok") != 0) printf(", then %s", heard);
  kit_stop(&plain);
}

/* ---- 4: the same, while a plain process has it open in WAL mode */

static void case_attached(void)
{
  kit_agent holder = kit_start(NULL, NULL), agent;
  uint64_t db_sum, wal_sum;
  const char *heard, *where = "";
  bool same;

  make_wal_database();
  heard = kit_ask(&holder, "open %s", db);
  if (strncmp(heard, "ok", 2) == 0) heard = kit_ask(&holder, "sql SELECT count(*) FROM t");
  if (strcmp(heard, "ok 1000") != 0) {
    where = ", held below"; /* plain SQLite cannot use WAL on this mount at all */
    kit_must(&holder, "open %s", server_db);
    kit_must(&holder, "sql SELECT count(*) FROM t");
  }
  db_sum = kit_sum(server_db, "");
  wal_sum = kit_sum(server_db, "-wal");
  agent = kit_start(shim, NULL);
  heard = kit_ask(&agent, "open %s", db);
  if (strncmp(heard, "ok", 2) == 0)
    heard = kit_ask(&agent, "sql SELECT count(*) FROM t; PRAGMA journal_mode");
  printf("%s", kit_short(heard));
  same = kit_sum(server_db, "") == db_sum && kit_sum(server_db, "-wal") == wal_sum;
  printf(", %s%s", same ? "unchanged" : "CHANGED", where);
  if (strcmp(kit_ask(&holder, "sql SELECT count(*) FROM t"), "ok 1000") != 0) printf(", HOLDER BROKEN");
  kit_stop(&agent);
  kit_stop(&holder);
}

/* ---- 5: read-only mounts */

static void case_readonly(void)
{
  kit_agent agent = kit_start(NULL, NULL);

  kit_must(&agent, "open %s", server_db);
  kit_must(&agent, "sql CREATE TABLE t(a); INSERT INTO t VALUES(7)");
  kit_stop(&agent);
  agent = kit_start(shim, NULL);
  (void)kit_ask(&agent, "open %s", readonly_db); /* if it failed, so does the next step, and is shown */
  printf("reads %s", kit_short(kit_ask(&agent, "sql SELECT a FROM t")));
  printf(", write %s", kit_short(kit_ask(&agent, "sql INSERT INTO t VALUES(8)")));
  kit_stop(&agent);
}

static void case_readonly_wal(void)
{
  kit_agent agent;
  uint64_t db_sum, wal_sum;
  const char *heard;

  make_wal_database();
  db_sum = kit_sum(server_db, "");
  wal_sum = kit_sum(server_db, "-wal");
  agent = kit_start(shim, NULL);
  heard = kit_ask(&agent, "open %s", readonly_db);
  if (strncmp(heard, "ok", 2) == 0) heard = kit_ask(&agent, "sql SELECT count(*) FROM t");
  printf("%s", kit_short(heard));
  printf(", %s",
         kit_sum(server_db, "") == db_sum && kit_sum(server_db, "-wal") == wal_sum ? "unchanged" : "CHANGED");
  kit_stop(&agent);
}

/* ---- 6: a writer on client 2 dies between two pages, client 1 reads next */

/* One row to a page, all of one version: two versions seen at once are half a transaction. */
static void make_versions(const char *writer_shim, const char *client2)
{
  kit_agent maker = kit_start(writer_shim, client2);

  kit_must(&maker, "open %s", db);
  kit_must(&maker,
           "sql CREATE TABLE t(id INTEGER PRIMARY KEY, v INT, pad BLOB); WITH RECURSIVE n(i) AS (SELECT 1 "
           "UNION ALL SELECT i+1 FROM n WHERE i<%d) INSERT INTO t SELECT i, 0, zeroblob(3500) FROM n",
           PAGES);
  kit_stop(&maker);
}

/* The reader's next act is a write of one row, which would keep half a transaction for ever: plain SQLite at
 * the server says what is there after it. */
static const char *write_and_look(const kit_agent *reader)
{
  kit_agent plain;
  const char *heard = kit_ask(reader, "sql UPDATE t SET pad = zeroblob(3400) WHERE id = %d", PAGES);

  if (strncmp(heard, "ok", 2) != 0) return heard;
  plain = kit_start(NULL, NULL);
  kit_must(&plain, "open %s", server_db);
  heard = kit_ask(&plain, "sql SELECT count(DISTINCT v), sum(v) FROM t");
  kit_stop(&plain);
  return heard;
}

typedef enum sight { WHOLE, HALF, REFUSED } sight;

/* What the reader does next, and how the writer syncs: without a sync its lock must not go before its journal
 * (F26). */
typedef struct crash {
  const char *name, *sync;
  bool write;
} crash;

static sight read_after_crash(const crash *of, const char *writer_shim, const char *client2, long round)
{
  kit_agent reader, writer;
  const char *heard;
  sight seen = WHOLE;

  name_files(of->name, round);
  make_versions(writer_shim, client2);
  reader = kit_start(shim, NULL);
  kit_must(&reader, "open %s", db);
  writer = kit_start(writer_shim, client2);
  kit_must(&writer, "open %s", db);
  kit_must(&writer, "sql PRAGMA synchronous=%s; SELECT count(*) FROM t", of->sync);
  kit_must(&writer, "die-after %d", PAGES / 2);

  kit_must(&reader, "sql SELECT sum(v) FROM t"); /* and so client 1 has learned that there is no journal */
  kit_tell(&writer, "sql UPDATE t SET v = v + 1");
  kit_must_die(&writer);
  if (!kit_exists(server_db, "-journal")) kit_fail("the dead writer left no journal");
  heard =
      of->write ? write_and_look(&reader) : kit_ask(&reader, "sql SELECT count(DISTINCT v), sum(v) FROM t");
  if (strncmp(heard, "ok 2|", 5) == 0) {
    seen = HALF;
  } else if (strncmp(heard, "error", 5) == 0) {
    seen = REFUSED;
  } else if (strcmp(heard, "ok 1|0") != 0) {
    kit_fail("round %ld: the reader got: %s", round, heard);
  }
  kit_stop(&reader);
  return seen;
}

static void crashes(const crash *of)
{
  const char *client2 = kit_need("CASE_CLIENT2"), *writer_shim = kit_setting("CASE_WRITER_SHIM");
  long round, rounds = kit_number("CASE_ROUNDS"), seen[3] = {0, 0, 0};

  for (round = 0; round < rounds; round++) seen[read_after_crash(of, writer_shim, client2, round)]++;
  printf("%ld of %ld half", seen[HALF], rounds);
  if (seen[REFUSED] > 0) printf(", %ld refused", seen[REFUSED]);
}

static void case_crash(void)
{
  crashes(&(crash){"crash", "FULL", false});
}
static void case_crash_write(void)
{
  crashes(&(crash){"crash-write", "FULL", true});
}
static void case_crash_off(void)
{
  crashes(&(crash){"crash-off", "OFF", false});
}

/* ---- 7: two clients write */

static void make_counter(void)
{
  kit_agent maker = kit_start(NULL, NULL);

  kit_must(&maker, "open %s", server_db);
  kit_must(&maker, "sql CREATE TABLE c(v INT); INSERT INTO c VALUES(0); CREATE TABLE log(who, v INT)");
  kit_stop(&maker);
}

/* "ok ACKNOWLEDGED|CODE", added up over agents. */
typedef struct tally {
  long acknowledged, code;
} tally;

static void add_to(tally *sum, const char *heard)
{
  long n = 0, code = 0;

  if (sscanf(heard, "ok %ld|%ld", &n, &code) != 2) kit_fail("commits: %s", heard);
  sum->acknowledged += n;
  if (code != 0) sum->code = code;
}

/* What plain SQLite finds at the server: each commit left a line with a number of its own. */
static void print_tally(const tally *sum)
{
  kit_agent plain = kit_start(NULL, NULL);
  const char *heard = kit_ask(&plain, "open %s", server_db);
  long distinct = 0, rows = 0;

  if (strncmp(heard, "ok", 2) == 0) {
    heard = kit_ask(&plain, "sql SELECT count(DISTINCT v), count(*) FROM log; PRAGMA integrity_check");
  }
  printf("%ld acknowledged", sum->acknowledged);
  if (sscanf(heard, "ok %ld|%ld|", &distinct, &rows) == 2) {
    printf(", %ld found%s", distinct, strstr(heard, "|ok") == NULL ? ", damaged" : "");
  } else {
    printf(", %s", kit_short(heard));
  }
  if (sum->code != 0) printf(", error %ld", sum->code);
  kit_stop(&plain);
}

static void case_two_writers(void)
{
  const char *client2 = kit_need("CASE_CLIENT2");
  long commits = kit_number("CASE_COMMITS");
  tally sum = {0, 0};
  kit_agent one, two;

  make_counter();
  one = kit_start(shim, NULL);
  two = kit_start(shim, client2);
  kit_must(&one, "open %s", db);
  kit_must(&two, "open %s", db);
  kit_tell(&one, "commits %ld one", commits);
  kit_tell(&two, "commits %ld two", commits);
  add_to(&sum, kit_hear(&one));
  add_to(&sum, kit_hear(&two));
  kit_stop(&one);
  kit_stop(&two);
  print_tally(&sum);
}

/* One after the other and never at once, but each asked for WAL as it would on a local disk. */
static void case_wal_writers(void)
{
  const char *client2 = kit_need("CASE_CLIENT2");
  long commits = kit_number("CASE_COMMITS") / 2;
  tally sum = {0, 0};
  kit_agent one, two;
  int turn;

  make_counter();
  one = kit_start(shim, NULL);
  two = kit_start(shim, client2);
  kit_must(&one, "open %s", db);
  (void)kit_ask(&one, "sql PRAGMA journal_mode=WAL"); /* as programs do: the answer is not looked at */
  (void)kit_ask(&two, "open %s", db);
  (void)kit_ask(&two, "sql PRAGMA journal_mode=WAL");
  for (turn = 0; turn < 2; turn++) {
    add_to(&sum, kit_ask(&one, "commits %ld one", commits));
    add_to(&sum, kit_ask(&two, "commits %ld two", commits));
  }
  kit_stop(&one);
  kit_stop(&two);
  print_tally(&sum);
}

static const struct {
  const char *name;
  void (*run)(void);
} cases[] = {
    {"verdict", case_verdict},
    {"wal", case_wal},
    {"wal-exclusive", case_wal_exclusive},
    {"rows-in-wal", case_rows_in_wal},
    {"attached", case_attached},
    {"readonly", case_readonly},
    {"readonly-wal", case_readonly_wal},
    {"crash", case_crash},
    {"wal-writers", case_wal_writers},
    {"two-writers", case_two_writers},
    {"crash-write", case_crash_write},
    {"crash-off", case_crash_off},
};

int main(int argc, char **argv)
{
  size_t i;

  if (argc != 2) {
    fprintf(stderr, "usage: cases CASE\n");
    return 64;
  }
  (void)signal(SIGPIPE, SIG_IGN); /* an agent that died is noticed by its silence */
  shim = kit_setting("CASE_SHIM");
  for (i = 0; i < sizeof cases / sizeof *cases; i++) {
    if (strcmp(argv[1], cases[i].name) != 0) continue;
    name_files(cases[i].name, 0);
    cases[i].run();
    printf("\n");
    return 0;
  }
  fprintf(stderr, "cases: no case named %s\n", argv[1]);
  return 64;
}
