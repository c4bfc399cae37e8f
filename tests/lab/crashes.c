/*
 * crashes.c - a writer on client 2 dies between two pages of its commit; what client 1 does next must not be
 * done with half a transaction. And what is asked for that makes it worse.
 *
 *   crashes CASE    environment as for cases.c, and CASE_WRITER_SHIM (of the writer that dies), CASE_ROUNDS
 *
 * Exit codes as in cases.c.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kit.h"

enum { PATH_BYTES = 2048, PAGES = 40 };

static const char *shim; /* NULL: plain SQLite */
static char db[PATH_BYTES], server_db[PATH_BYTES];

static void name_files(const char *name, long round)
{
  const char *side = shim != NULL ? "holdfast" : "stock";

  (void)snprintf(db, sizeof db, "%s/%s-%s%ld.db", kit_need("CASE_DIR"), name, side, round);
  (void)snprintf(server_db, sizeof server_db, "%s/%s-%s%ld.db", kit_need("CASE_SERVER"), name, side, round);
}

/* ---- a writer on client 2 dies between two pages, client 1 reads next */

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
  const char *heard = kit_ask(reader, "sql UPDATE t SET pad = zeroblob(3400) WHERE id = %d", PAGES);

  if (strncmp(heard, "ok", 2) != 0) return heard;
  return kit_ask(kit_plain(server_db), "sql SELECT count(DISTINCT v), sum(v) FROM t");
}

typedef enum sight { WHOLE, HALF, REFUSED } sight;

/*
 * What the reader does next, and how the writer syncs: without a sync its lock must not go before its journal
 * (F26). At once: a program of client 1 misses the journal's name a moment before client 2 makes it, in the
 * same step of the directory's time if it can be had, and the directory has changed in that step already.
 */
typedef struct crash {
  const char *name, *sync;
  bool write, at_once;
} crash;

static void no_journal_yet(long round)
{
  char path[PATH_BYTES + 10];
  FILE *made;

  (void)snprintf(path, sizeof path, "%s-journal", db);
  made = fopen(path, "a"); /* holdfast has left an empty one */
  if (made == NULL || fclose(made) != 0 || unlink(path) != 0) kit_fail("the directory cannot be changed");
  if (kit_exists(db, "-journal")) kit_fail("round %ld: there is a journal already", round);
}

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

  if (of->at_once) kit_must(&writer, "sql BEGIN IMMEDIATE");
  kit_must(&reader, "sql SELECT sum(v) FROM t"); /* and so client 1 has learned that there is no journal */
  if (of->at_once) no_journal_yet(round);
  kit_tell(&writer, "sql UPDATE t SET v = v + 1%s", of->at_once ? "; COMMIT" : "");
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
  crashes(&(crash){"crash", "FULL", false, false});
}
static void case_crash_write(void)
{
  crashes(&(crash){"crash-write", "FULL", true, false});
}
static void case_crash_off(void)
{
  crashes(&(crash){"crash-off", "OFF", false, false});
}
static void case_crash_at_once(void)
{
  crashes(&(crash){"crash-at-once", "FULL", false, true});
}

/* ---- what is dangerous on NFS is said, and refused where the user wants that */

static void set_recovery(const char *value)
{
  FILE *out = fopen("/sys/module/nfs/parameters/recover_lost_locks", "w");

  if (out == NULL || fputs(value, out) < 0 || fclose(out) != 0) kit_fail("recover_lost_locks cannot be set");
}

/* What a connection gets that asks for both. */
static void ask_for_trouble(const char *strict)
{
  kit_agent agent;
  int warned = 0;
  const char *heard;

  (void)setenv("HOLDFAST_STRICT", strict, 1); /* fails only without memory; what is printed tells */
  agent = kit_start(shim, NULL);
  kit_must(&agent, "open %s", db);
  printf("OFF %s", kit_short(kit_ask(&agent, "sql PRAGMA synchronous=OFF; SELECT 'allowed'")));
  set_recovery("Y");
  printf(", recovery %s", kit_short(kit_ask(&agent, "open %s", db)));
  set_recovery("N");
  heard = kit_ask(&agent, "sql PRAGMA holdfast_events");
  warned += strstr(heard, "synchronous=OFF") != NULL;
  warned += strstr(heard, "recover_lost_locks") != NULL;
  printf(", warned of %d", warned);
  kit_stop(&agent);
  (void)unsetenv("HOLDFAST_STRICT");
}

static void case_warned(void)
{
  ask_for_trouble("0");
  printf("; ");
  ask_for_trouble("1");
}

static const struct {
  const char *name;
  void (*run)(void);
} cases[] = {{"crash", case_crash},
             {"crash-write", case_crash_write},
             {"crash-off", case_crash_off},
             {"crash-at-once", case_crash_at_once},
             {"warned", case_warned}};

int main(int argc, char **argv)
{
  size_t i;

  (void)signal(SIGPIPE, SIG_IGN); /* an agent that died is noticed by its silence */
  shim = kit_setting("CASE_SHIM");
  for (i = 0; argc == 2 && i < sizeof cases / sizeof *cases; i++) {
    if (strcmp(argv[1], cases[i].name) != 0) continue;
    name_files(cases[i].name, 0);
    cases[i].run();
    printf("\n");
    return 0;
  }
  fprintf(stderr, "usage: crashes crash|crash-write|crash-off|crash-at-once|warned\n");
  return 64;
}
