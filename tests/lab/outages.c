/*
 * outages.c - what becomes of transactions when their lock goes: a client is cut off for longer than its
 * lease, a server restarts, some code closes a descriptor.
 *
 *   outages CASE   environment as for cases.c, and CASE_OUTAGE: a command that takes `cut`, `join` (the cable
 *                  of client 2) or `restart` (the NFS server)
 *
 * A is a process on client 2, B one on client 1. All kinds of transaction go through one outage side by side,
 * each in a database of its own. Nothing waits by the clock: the cable comes back when B has committed
 * everywhere, which it cannot before the server has given A's locks away.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kit.h"

enum { PATH_BYTES = 2048, PAGES = 40, BIG_CACHE = 1000, SMALL_CACHE = 5, BLIP_SECONDS = 2 };

/* When the cable is cut: A has written into its cache; pages have been spilled into the file; A's COMMIT is
 * sent when it is already cut; A is about to delete its journal; A has read a part. */
typedef enum phase { RESERVED, SPILLED, IN_COMMIT, AT_UNLINK, READING } phase;

typedef struct kind {
  const char *name;
  phase at;
  const char *journal, *sync;
  bool two; /* connections of A */
} kind;

static const kind kinds[] = {
    {"reserved, delete, full", RESERVED, "delete", "full", false},
    {"reserved, delete, off", RESERVED, "delete", "off", false},
    {"reserved, memory, full", RESERVED, "memory", "full", false},
    {"reserved, memory, off", RESERVED, "memory", "off", false},
    {"spilled, delete, full", SPILLED, "delete", "full", false},
    {"spilled, delete, off", SPILLED, "delete", "off", false},
    {"spilled, memory, full", SPILLED, "memory", "full", false},
    {"spilled, memory, off", SPILLED, "memory", "off", false},
    {"commit, delete, full", IN_COMMIT, "delete", "full", false},
    {"commit, delete, off", IN_COMMIT, "delete", "off", false},
    {"commit, memory, full", IN_COMMIT, "memory", "full", false},
    {"commit, memory, off", IN_COMMIT, "memory", "off", false},
    {"reserved, delete, full, 2 connections", RESERVED, "delete", "full", true},
    {"commit, truncate, full", IN_COMMIT, "truncate", "full", false},
    {"spilled, persist, full", SPILLED, "persist", "full", false},
    {"before unlink, delete, full", AT_UNLINK, "delete", "full", false},
    {"reading", READING, "delete", "full", false},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

typedef struct trial {
  const kind *of;
  char db[PATH_BYTES], server_db[PATH_BYTES];
  kit_agent a, b;
  bool a_said_ok, b_said_ok, told;
  char said[256];
} trial;

static const char *shim; /* NULL: plain SQLite */
static trial trials[KINDS];

static void outage(const char *what)
{
  char command[PATH_BYTES];

  (void)snprintf(command, sizeof command, "%s %s", kit_need("CASE_OUTAGE"), what);
  if (system(command) != 0) kit_fail("%s failed", what);
}

static void name_files(trial *t, const char *name, int i)
{
  const char *side = shim != NULL ? "holdfast" : "stock";

  (void)snprintf(t->db, sizeof t->db, "%s/%s-%s%d.db", kit_need("CASE_DIR"), name, side, i);
  (void)snprintf(t->server_db, sizeof t->server_db, "%s/%s-%s%d.db", kit_need("CASE_SERVER"), name, side, i);
}

/* One row to a page, all of one version, and one line in the log for each version. */
static void make(const trial *t)
{
  const kit_agent *maker = kit_plain(t->server_db);

  kit_must(maker,
           "sql CREATE TABLE t(id INTEGER PRIMARY KEY, v INT, pad BLOB); WITH RECURSIVE n(i) AS (SELECT 1 "
           "UNION ALL SELECT i+1 FROM n WHERE i<%d) INSERT INTO t SELECT i, 0, zeroblob(3500) FROM n; "
           "CREATE TABLE log(who, v INT)",
           PAGES);
}

/* A up to the moment before the outage. */
static void begin(trial *t)
{
  const kind *of = t->of;

  t->a = kit_start(shim, kit_need("CASE_CLIENT2"));
  kit_must(&t->a, "open %s", t->db);
  kit_must(&t->a, "sql PRAGMA journal_mode=%s; PRAGMA synchronous=%s; PRAGMA cache_size=%d", of->journal,
           of->sync, of->at == SPILLED ? SMALL_CACHE : BIG_CACHE);
  if (of->two) kit_must(&t->a, "other %s", t->db);
  if (of->at == READING) {
    kit_must(&t->a, "sql BEGIN; SELECT sum(v) FROM t WHERE id <= 3");
    return;
  }
  kit_must(&t->a, "sql BEGIN IMMEDIATE; UPDATE t SET v = v + 1; INSERT INTO log(who) VALUES('A')");
  if (of->at == AT_UNLINK) {
    kit_must(&t->a, "stop-at-unlink");
    if (strcmp(kit_ask(&t->a, "sql COMMIT"), "stopped") != 0)
      kit_fail("the commit did not come to its unlink");
  }
}

static void tell_end(trial *t)
{
  const char *sql = t->of->at == READING
                        ? "SELECT CASE WHEN count(DISTINCT v) = 1 THEN 1/1 ELSE 'mixed' END FROM t"
                        : "COMMIT";

  if (t->of->at == AT_UNLINK)
    kit_tell(&t->a, "go");
  else
    kit_tell(&t->a, "sql %s", sql);
}

static void hear_end(trial *t)
{
  (void)snprintf(t->said, sizeof t->said, "%s", kit_hear(&t->a));
  t->a_said_ok = strncmp(t->said, "ok", 2) == 0 && t->of->at != READING;
  if (shim != NULL && strncmp(t->said, "error", 5) == 0)
    t->told = strstr(kit_ask(&t->a, "sql PRAGMA holdfast_events"), "lock-lost") != NULL;
}

/* What is wrong, NULL = nothing. A plain process looks at the server; it also rolls back what is left there.
 */
static const char *fault(const trial *t)
{
  const kit_agent *plain;
  const char *heard;
  long versions = 0, version = -1, lines = -2, of_a = 0, of_b = 0;
  char check[16] = "";

  if (strncmp(t->said, "error 11 ", 9) == 0 || strncmp(t->said, "error 26 ", 9) == 0) return "called corrupt";
  if (strcmp(t->said, "ok mixed") == 0) return "A read two versions at once";
  plain = kit_plain(t->server_db);
  heard = kit_ask(
      plain,
      "sql SELECT count(DISTINCT v), max(v) FROM t; SELECT count(*), count(CASE WHEN who='A' THEN 1 END), "
      "count(CASE WHEN who='B' THEN 1 END) FROM log; PRAGMA integrity_check");
  if (sscanf(heard, "ok %ld|%ld|%ld|%ld|%ld|%15s", &versions, &version, &lines, &of_a, &of_b, check) != 6)
    kit_fail("%s: %s", t->of->name, heard);
  if (strcmp(check, "ok") != 0) return "damaged";
  if (versions != 1 || version != lines) return "half a transaction";
  if (t->b_said_ok && of_b == 0) return "B's commit is gone";
  if (t->a_said_ok && of_a == 0) return "A's commit is gone";
  return NULL;
}

static void report(void)
{
  int i, wrong = 0, failed = 0, told = 0;

  for (i = 0; i < KINDS; i++) {
    const char *what = fault(&trials[i]);

    if (what != NULL) fprintf(stderr, "# %s: %s (A: %s)\n", trials[i].of->name, what, trials[i].said);
    wrong += what != NULL;
    failed += strncmp(trials[i].said, "error", 5) == 0;
    told += trials[i].told;
  }
  printf("%d of %d wrong, %d refused", wrong, KINDS, failed);
  if (told > 0) printf(", %d told why", told);
}

/* ---- a client is cut off for longer than its lease */

static void cut_off(void)
{
  int i;

  for (i = 0; i < KINDS; i++) {
    trials[i].b = kit_start(shim, NULL);
    kit_must(&trials[i].b, "connect %s", trials[i].db);
    kit_must(&trials[i].b, "sql PRAGMA busy_timeout=60000");
  }
  outage("cut");
  for (i = 0; i < KINDS; i++)
    if (trials[i].of->at == IN_COMMIT) tell_end(&trials[i]);
  for (i = 0; i < KINDS; i++)
    kit_tell(&trials[i].b,
             "sql BEGIN IMMEDIATE; UPDATE t SET v = v + 1; INSERT INTO log(who) VALUES('B'); COMMIT");
  for (i = 0; i < KINDS; i++) {
    trials[i].b_said_ok = strncmp(kit_hear(&trials[i].b), "ok", 2) == 0;
    if (!trials[i].b_said_ok) kit_fail("%s: B could not write", trials[i].of->name);
  }
  outage("join");
}

static void restarted(void)
{
  outage("restart");
}

static void each(const char *name, void (*happens)(void))
{
  int i;

  for (i = 0; i < KINDS; i++) {
    trials[i].of = &kinds[i];
    name_files(&trials[i], name, i);
    make(&trials[i]);
    begin(&trials[i]);
  }
  happens();
  for (i = 0; i < KINDS; i++) {
    if (kinds[i].at != IN_COMMIT || happens == restarted) tell_end(&trials[i]);
    hear_end(&trials[i]);
    kit_stop(&trials[i].a);
    if (trials[i].b.pid > 0) kit_stop(&trials[i].b);
  }
  report();
}

static void case_lease(void)
{
  each("lease", cut_off);
}

/* ---- the server restarts: clients take their locks again, and nothing is to be seen of it */

static void case_restart(void)
{
  each("restart", restarted);
}

/* ---- a client is cut off for less than its lease: calls wait and are sent again, and nothing is to be seen
 * of it */

static void cut_shortly(void)
{
  struct timespec pause = {BLIP_SECONDS, 0};
  int i;

  outage("cut");
  for (i = 0; i < KINDS; i++)
    if (trials[i].of->at == IN_COMMIT) tell_end(&trials[i]);
  (void)nanosleep(&pause, NULL); /* how long the outage lasts */
  outage("join");
}
static void case_blip(void)
{
  each("blip", cut_shortly);
}

/* ---- F1 on NFS: another descriptor is closed */

static void case_stray(void)
{
  long round, rounds = kit_number("CASE_ROUNDS"), entered = 0;
  trial *t = &trials[0];

  t->of = &kinds[0];
  for (round = 0; round < rounds; round++) {
    name_files(t, "stray", (int)round);
    make(t);
    begin(t);
    kit_must(&t->a, "stray %s", t->db);
    t->b = kit_start(shim, NULL);
    kit_must(&t->b, "open %s", t->db);
    entered += strncmp(kit_ask(&t->b, "sql PRAGMA busy_timeout=0; BEGIN IMMEDIATE"), "ok", 2) == 0;
    kit_stop(&t->b);
    kit_stop(&t->a);
  }
  printf("%ld of %ld let in", entered, rounds);
}

/* ---- one process that does what programs do: a first opener that only reads, several connections and
 * threads, a stray close, a fork in the middle of a transaction */

static int code_of(const char *heard)
{
  int code = 0;

  return sscanf(heard, "error %d", &code) == 1 ? code : 0;
}

static void case_process(void)
{
  trial *t = &trials[0];
  const kit_agent *plain;
  long in_threads = 0, of_b = 0, found = 0;
  char check[16] = "";

  t->of = &kinds[0];
  name_files(t, "process", 0);
  make(t);
  t->a = kit_start(shim, NULL);
  t->b = kit_start(shim, kit_need("CASE_CLIENT2"));
  kit_must(&t->a, "other %s", t->db);
  kit_must(&t->a, "open %s", t->db);
  kit_must(&t->b, "open %s", t->db);
  kit_must(&t->a, "sql CREATE TABLE c(v INT); INSERT INTO c VALUES(0); BEGIN IMMEDIATE; INSERT INTO log(who) "
                  "VALUES('A')");
  kit_must(&t->a, "other-reads");
  kit_must(&t->a, "stray %s", t->db);
  printf("B %d", code_of(kit_ask(&t->b, "sql PRAGMA busy_timeout=0; BEGIN IMMEDIATE; ROLLBACK")));
  if (shim != NULL) /* plain SQLite lets the child finish its parent's transaction */
    printf(", child %s", kit_short(kit_ask(&t->a, "fork")));
  printf(", B %d", code_of(kit_ask(&t->b, "sql BEGIN IMMEDIATE; ROLLBACK")));
  printf(", A %d", code_of(kit_ask(&t->a, "sql COMMIT")));
  kit_must(&t->a, "other-reads");
  kit_tell(&t->a, "threads 4 10 %s", t->db);
  (void)sscanf(kit_ask(&t->b, "commits 10 B"), "ok %ld", &of_b);
  (void)sscanf(kit_hear(&t->a), "ok %ld", &in_threads);
  kit_stop(&t->a);
  kit_stop(&t->b);
  plain = kit_plain(t->server_db);
  (void)sscanf(kit_ask(plain, "sql SELECT count(*) FROM log WHERE who <> 'A'; PRAGMA integrity_check"),
               "ok %ld|%15s", &found, check);
  printf(", %ld acknowledged, %ld found, %s", in_threads + of_b, found, check);
}

/* ---- journal=wal-exclusive: A alone uses the -wal, loses its lease, and B takes the database over */

enum { BEFORE = 10, AFTER = 5, TAKEN = 10, TRIES_MAX = 30 }; /* a try takes two or three seconds */

static void begin_wal(trial *t, int i)
{
  long before = 0;

  (void)setenv("HOLDFAST_JOURNAL", "wal-exclusive",
               1); /* fails only without memory; the answer below tells */
  t->a = kit_start(shim, kit_need("CASE_CLIENT2"));
  (void)unsetenv("HOLDFAST_JOURNAL");
  kit_must(&t->a, "open %s", t->db);
  /* NORMAL leaves a commit in the client's memory: the shim must see to it that it is sent. */
  if (strstr(kit_ask(&t->a,
                     "sql PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=%s",
                     i % 4 < 2 ? "FULL" : "NORMAL"),
             "wal") == NULL)
    kit_fail("WAL did not start");
  kit_must(&t->a, "sql CREATE TABLE c(v INT); INSERT INTO c VALUES(0)");
  if (sscanf(kit_ask(&t->a, "commits %d A", BEFORE), "ok %ld", &before) != 1 || before != BEFORE)
    kit_fail("A does not write");
}

/* B on client 1. In every other database it closes, which deletes the -wal, before the cable is back. */
static void take_over(trial *t)
{
  int tries;

  for (tries = 0; strncmp(kit_ask(&t->b, "open %s", t->db), "ok", 2) != 0; tries++)
    if (tries == TRIES_MAX) kit_fail("B could not open it");
  kit_must(&t->b, "sql PRAGMA busy_timeout=60000; INSERT INTO log(who) VALUES('B')");
}

/* How many of A's acknowledged commits plain SQLite does not find at the server. */
static long missing(trial *t, long acknowledged)
{
  const kit_agent *plain = kit_plain(t->server_db);
  long found = -1;

  (void)sscanf(kit_ask(plain, "sql SELECT count(*) FROM log WHERE who='A'"), "ok %ld", &found);
  return acknowledged - found;
}

static void case_take_over(void)
{
  long after[TAKEN] = {0}, gone = 0, sum = 0;
  int i;

  for (i = 0; i < TAKEN; i++) {
    trials[i].of = &kinds[0];
    name_files(&trials[i], "take-over", i);
    make(&trials[i]);
    begin_wal(&trials[i], i);
    trials[i].b = kit_start(shim, NULL);
  }
  outage("cut");
  for (i = 0; i < TAKEN; i++) {
    take_over(&trials[i]);
    if (i % 2 == 0) kit_stop(&trials[i].b);
  }
  outage("join");
  for (i = 0; i < TAKEN; i++) {
    (void)sscanf(kit_ask(&trials[i].a, "commits %d A", AFTER), "ok %ld",
                 &after[i]); /* 0 when it is refused */
    if (i % 2 != 0) kit_stop(&trials[i].b);
    kit_kill(&trials[i].a); /* its close would try to bring home what is not its own */
    gone += missing(&trials[i], BEFORE + after[i]);
    sum += BEFORE + after[i];
  }
  printf("%ld of %ld acknowledged are gone", gone, sum);
}

static const struct {
  const char *name;
  void (*run)(void);
} cases[] = {{"lease", case_lease}, {"restart", case_restart},     {"blip", case_blip},
             {"stray", case_stray}, {"take-over", case_take_over}, {"process", case_process}};

int main(int argc, char **argv)
{
  size_t i;

  (void)signal(SIGPIPE, SIG_IGN); /* an agent that died is noticed by its silence */
  shim = kit_setting("CASE_SHIM");
  for (i = 0; argc == 2 && i < sizeof cases / sizeof *cases; i++) {
    if (strcmp(argv[1], cases[i].name) != 0) continue;
    cases[i].run();
    printf("\n");
    return 0;
  }
  fprintf(stderr, "usage: outages lease|restart|blip|stray|process|take-over\n");
  return 64;
}
