/*
 * health.c - is a healthy database on NFS called corrupt? By a probe as programs write it, by holdfast's
 * check.
 *
 *   health probe SECONDS   beside a writer on each client; one of them moves pages about
 *   health lost            the lease is lost in the middle of a check, or before it
 *
 * Environment as for outages.c. The database is healthy the whole time, so every "corrupt" is a false
 * verdict. "busy" and a refusal of the system are counted apart in both columns.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kit.h"

enum { PATH_BYTES = 2048, CONTROL_SECONDS_MAX = 60 };

static const char *shim; /* NULL: plain SQLite */
static char db[PATH_BYTES], server_db[PATH_BYTES];

static void name_files(const char *name, int i)
{
  const char *side = shim != NULL ? "holdfast" : "stock";

  (void)snprintf(db, sizeof db, "%s/%s-%s%d.db", kit_need("CASE_DIR"), name, side, i);
  (void)snprintf(server_db, sizeof server_db, "%s/%s-%s%d.db", kit_need("CASE_SERVER"), name, side, i);
}

static void outage(const char *what)
{
  char command[PATH_BYTES];

  (void)snprintf(command, sizeof command, "%s %s", kit_need("CASE_OUTAGE"), what);
  if (system(command) != 0) kit_fail("%s failed", what);
}

static void make(void)
{
  kit_agent maker = kit_start(NULL, NULL);

  kit_must(&maker, "open %s", server_db);
  kit_must(
      &maker,
      "sql CREATE TABLE t(id INTEGER PRIMARY KEY, v INT, pad BLOB); CREATE TABLE log(who, v INT); CREATE "
      "TABLE big(id INTEGER PRIMARY KEY, k TEXT, pad BLOB); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL "
      "SELECT i+1 FROM n WHERE i<40) INSERT INTO t SELECT i, 0, zeroblob(3500) FROM n; WITH RECURSIVE "
      "n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<600) INSERT INTO big SELECT i, "
      "hex(randomblob(30)), zeroblob(700) FROM n; CREATE INDEX bigk ON big(k)");
  kit_stop(&maker);
}

/* By a plain process at the server: nothing of what was said of the database was true. */
static void require_whole(void)
{
  kit_agent plain = kit_start(NULL, NULL);

  kit_must(&plain, "open %s", server_db);
  if (strcmp(kit_ask(&plain, "sql PRAGMA integrity_check"), "ok ok") != 0)
    kit_fail("the database is damaged: %s", kit_ask(&plain, "sql PRAGMA integrity_check"));
  kit_stop(&plain);
}

typedef struct tally {
  int asked, ok, corrupt;
} tally;

/* Of holdfast: "ok verdict|reason". Of SQLite: "ok ok", findings, or an error. */
static void judge(tally *t, const char *how, const char *said)
{
  t->asked++;
  if (strncmp(said, "ok ok", 5) == 0) {
    t->ok++;
  } else if (strncmp(said, "ok not_checked", 14) == 0 || strncmp(said, "error 5 ", 8) == 0 ||
             strncmp(said, "error 10 ", 9) == 0) {
    fprintf(stderr, "# not checked, %s: %s\n", how, said);
  } else {
    t->corrupt++;
    fprintf(stderr, "# called corrupt, %s: %s\n", how, said);
  }
}

/* ---------------------------------------------------------------- a probe loop */

/* As `cp` does it, through the mount. */
static void copy_to(const char *to)
{
  static char bytes[1 << 16];
  FILE *in = fopen(db, "rb"), *out = fopen(to, "wb");
  size_t n;

  if (in == NULL || out == NULL) kit_fail("no copy");
  while ((n = fread(bytes, 1, sizeof bytes, in)) > 0)
    if (fwrite(bytes, 1, n, out) != n) kit_fail("no copy");
  (void)fclose(in); /* only read */
  if (fclose(out) != 0) kit_fail("no copy");
}

static const char *header(void)
{
  unsigned char head[32] = {0};
  FILE *in = fopen(db, "rb");
  long size, pages;

  if (in == NULL || fread(head, 1, sizeof head, in) != sizeof head || fseek(in, 0, SEEK_END) != 0)
    return "no header";
  size = ftell(in);
  (void)fclose(in); /* only read */
  pages = (long)head[28] << 24 | (long)head[29] << 16 | (long)head[30] << 8 | head[31];
  return size == pages * ((long)head[16] << 8 | head[17]) ? "ok ok" : "size and page count differ";
}

static void as_written(tally *t, kit_agent *probe)
{
  char copy[PATH_BYTES + 8];

  kit_must(probe, "connect %s", db);
  kit_must(probe, "sql PRAGMA busy_timeout=0");
  judge(t, "second connection", kit_ask(probe, "sql PRAGMA quick_check"));
  judge(t, "header", header());
  (void)snprintf(copy, sizeof copy, "%s-copy", db);
  copy_to(copy);
  kit_must(probe, "connect %s", copy);
  judge(t, "copy", kit_ask(probe, "sql PRAGMA quick_check"));
}

static void ours(tally *t, kit_agent *probe)
{
  static const char *const kinds[] = {"quick", "full"};

  for (int i = 0; i < 2; i++)
    judge(
        t, kinds[i],
        kit_ask(probe,
                "sql SELECT verdict, ifnull(reason, '') FROM holdfast_health('%s', 5000, 'main', 1) LIMIT 1",
                kinds[i]));
}

/* Changes that move pages, one after the other; what finds no gap ends the line. */
#define CHURN                                                                                                \
  "sql DELETE FROM big WHERE id IN (SELECT id FROM big ORDER BY random() LIMIT 150); INSERT INTO big(k, "    \
  "pad) SELECT "                                                                                             \
  "hex(randomblob(20)), zeroblob(900) FROM t, (SELECT 1 UNION SELECT 2 UNION SELECT 3); VACUUM; DELETE "     \
  "FROM big WHERE "                                                                                          \
  "id % 5 = 0; INSERT INTO big(k, pad) SELECT k, pad FROM big ORDER BY random() LIMIT 150; VACUUM"

static bool time_is_left(const struct timespec *start, int seconds)
{
  struct timespec now;

  (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail with this clock */
  return now.tv_sec - start->tv_sec < seconds;
}

/* The control goes on until it has shown that it can fail. */
static void probe(int seconds)
{
  kit_agent asks, churns, writer;
  struct timespec start;
  tally t = {0};

  name_files("probe", 0);
  make();
  asks = kit_start(shim, NULL);
  churns = kit_start(NULL, NULL);
  kit_must(&churns, "open %s", db);
  if (shim != NULL) kit_must(&asks, "open %s", db);
  writer = kit_start(NULL, kit_need("CASE_CLIENT2"));
  kit_must(&writer, "open %s", db);
  kit_tell(&writer, "storm %s %s/%s.log", "probe", kit_need("CASE_LOGS"), shim != NULL ? "ours" : "probe");
  (void)clock_gettime(CLOCK_MONOTONIC, &start); /* cannot fail with this clock */
  while (time_is_left(&start, seconds) ||
         (shim == NULL && t.corrupt == 0 && time_is_left(&start, CONTROL_SECONDS_MAX))) {
    kit_tell(&churns, "%s", CHURN);
    for (int i = 0; i < 5; i++) {
      if (shim != NULL)
        ours(&t, &asks);
      else
        as_written(&t, &asks);
    }
    (void)kit_hear(&churns); /* "busy", now and then */
  }
  kit_must(&writer, "stop");
  kit_stop(&writer);
  kit_stop(&churns);
  kit_stop(&asks);
  require_whole();
  printf("%d of %d called corrupt, %d ok", t.corrupt, t.asked, t.ok);
}

/* ---------------------------------------------------------------- a lost lease */

/* What the connection that asks has done when the cable is cut. */
typedef struct kind {
  const char *name, *before;
  int stop_after; /* steps of SQLite's machine within the check; 0: it is asked when the cable is back */
} kind;

static const kind kinds[] = {
    {"early in the check", "SELECT count(*) FROM t", 1000},
    {"later in the check", "SELECT count(*) FROM t", 4000},
    {"a transaction that has read a part", "BEGIN; SELECT count(pad) FROM big WHERE id < 300", 0},
    {"a transaction that has written",
     "BEGIN IMMEDIATE; UPDATE big SET k = hex(randomblob(20)) WHERE id < 300", 0},
    {"nothing open", "SELECT sum(length(pad)) FROM big", 0},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

static const char *question(void)
{
  return shim != NULL
             ? "SELECT verdict, ifnull(reason, '') FROM holdfast_health('full', 60000, 'main', 1) LIMIT 1"
             : "PRAGMA integrity_check";
}

static void lost(void)
{
  kit_agent a[KINDS], b[KINDS];
  int i, told = 0;
  tally t = {0}, after = {0};

  for (i = 0; i < KINDS; i++) {
    name_files("lost", i);
    make();
    a[i] = kit_start(shim, kit_need("CASE_CLIENT2"));
    b[i] = kit_start(shim, NULL);
    kit_must(&a[i], "open %s", db);
    kit_must(&b[i], "connect %s", db);
    kit_must(&b[i], "sql PRAGMA busy_timeout=60000");
    kit_must(&a[i], "sql PRAGMA cache_size=10; %s", kinds[i].before);
    if (kinds[i].stop_after == 0) continue;
    kit_must(&a[i], "stop-after-steps %d", kinds[i].stop_after);
    if (strcmp(kit_ask(&a[i], "sql %s", question()), "stopped") != 0)
      kit_fail("the check ended before it could be stopped");
  }
  outage("cut");
  for (i = 0; i < KINDS; i++)
    kit_tell(&b[i], "sql DELETE FROM big WHERE id %% 3 = 0; VACUUM; INSERT INTO log(who) VALUES('B')");
  for (i = 0; i < KINDS; i++)
    if (strncmp(kit_hear(&b[i]), "ok", 2) != 0) kit_fail("%s: B could not write", kinds[i].name);
  outage("join");
  for (i = 0; i < KINDS; i++) {
    char heard[300];

    kit_tell(&a[i], kinds[i].stop_after ? "go" : "sql %s", question());
    (void)snprintf(heard, sizeof heard, "%s", kit_hear(&a[i]));
    judge(&t, kinds[i].name, heard);
    fprintf(stderr, "# %s: %s\n", kinds[i].name, heard);
    if (shim != NULL && strstr(kit_ask(&a[i], "sql PRAGMA holdfast_events"), "\"damaged\"") != NULL) told++;
    (void)kit_ask(&a[i], "sql ROLLBACK"); /* where none is open it says so */
    name_files("lost", i);
    kit_must(&a[i], "open %s", db); /* as a program does after an error */
    judge(&after, "opened anew", kit_ask(&a[i], "sql %s", question()));
    kit_stop(&a[i]);
    kit_stop(&b[i]);
    require_whole();
  }
  printf("%d of %d called corrupt, %d ok", t.corrupt, KINDS, t.ok);
  if (shim != NULL) printf(", %d events, opened anew %d ok", told, after.ok);
}

int main(int argc, char **argv)
{
  (void)signal(SIGPIPE, SIG_IGN); /* an agent that died is noticed by its silence */
  shim = kit_setting("CASE_SHIM");
  if (argc == 3 && strcmp(argv[1], "probe") == 0) {
    probe(atoi(argv[2]));
  } else if (argc == 2 && strcmp(argv[1], "lost") == 0) {
    lost();
  } else {
    fprintf(stderr, "usage: health probe SECONDS | lost\n");
    return 64;
  }
  printf("\n");
  return 0;
}
