/*
 * storm.c - four processes on two clients write one database, and every second one of them is killed.
 *
 *   storm SECONDS SYNC JOURNAL    environment as for cases.c; CASE_SEED makes a run repeatable, as far as
 *                                 processes on one machine are
 *
 * Each writer keeps a log of its own, on a file system that no kill can harm, of what it was told: committed,
 * an error, rows that do not belong together. At the end plain SQLite looks at the server for every commit.
 * What counts is "missing" and "torn"; an error is a nuisance, and is counted, too.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "kit.h"

enum { WRITERS = 4, ROWS = 12, PATH_BYTES = 2048, SMALL_CACHE = 8 };

typedef struct writer {
  kit_agent agent, next; /* who writes, and who will when that one is killed: loaded and waiting */
  int life;              /* how often it was started */
  char log[PATH_BYTES];
} writer;

static const char *shim; /* NULL: plain SQLite */
static char db[PATH_BYTES], server_db[PATH_BYTES];
static writer writers[WRITERS];

static void make(const char *journal)
{
  kit_agent maker = kit_start(NULL, NULL);

  kit_must(&maker, "open %s", server_db);
  kit_must(&maker,
           "sql PRAGMA journal_mode=%s; CREATE TABLE t(id INTEGER PRIMARY KEY, v INT, pad BLOB); "
           "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<%d) "
           "INSERT INTO t SELECT i, 0, zeroblob(3500) FROM n; CREATE TABLE log(who TEXT PRIMARY KEY, v INT)",
           journal, ROWS);
  kit_stop(&maker);
}

/* Writers with a small cache write pages before their commit. What they are told needs a lock, so it belongs
 * to the storm: nobody waits for it here, or kills would come as seldom as locks do. */
static void start(int i, const char *sync, const char *journal)
{
  writer *w = &writers[i];

  w->agent = w->next;
  kit_ready(&w->agent);
  w->next = kit_spawn(shim, i % 2 == 0 ? NULL : kit_need("CASE_CLIENT2"));
  kit_must(&w->agent, "connect %s", db);
  kit_must(&w->agent, "first PRAGMA synchronous=%s; PRAGMA cache_size=%d; PRAGMA journal_mode=%s", sync,
           i < 2 ? SMALL_CACHE : 1000, journal);
  kit_tell(&w->agent, "storm %d.%d %s", i, w->life++, w->log);
}

static double now(void)
{
  struct timespec t;

  (void)clock_gettime(CLOCK_MONOTONIC, &t); /* this clock is always there */
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int count_kills(double seconds, unsigned seed, const char *sync, const char *journal)
{
  double end = now() + seconds;
  int kills = 0;

  while (now() < end) {
    struct timespec pause = {0, 600000000 + rand_r(&seed) % 400000000 - 1};
    int victim;

    (void)nanosleep(&pause, NULL); /* the pace of the storm */
    victim = rand_r(&seed) % WRITERS;
    kit_kill(&writers[victim].agent);
    kills++;
    start(victim, sync, journal);
  }
  return kills;
}

/* Adds up what all logs say; plain SQLite, which rolls back what the last killed writer left. */
static void look(int kills)
{
  kit_agent plain = kit_start(NULL, NULL);
  long sum[4] = {0}, whole = 0;
  char check[16] = "";
  const char *heard;
  int i, j;

  kit_must(&plain, "connect %s", server_db);
  kit_must(&plain, "sql PRAGMA busy_timeout=30000; SELECT count(*) FROM t");
  heard = kit_ask(&plain,
                  "sql SELECT count(DISTINCT v) = 1 AND max(v) = (SELECT count(*) FROM log) FROM t; PRAGMA "
                  "integrity_check");
  if (sscanf(heard, "ok %ld|%15s", &whole, check) != 2)
    (void)snprintf(check, sizeof check, "%s", kit_short(heard));
  for (i = 0; i < WRITERS; i++) {
    long one[4] = {0};

    heard = kit_ask(&plain, "found %s", writers[i].log);
    if (sscanf(heard, "ok %ld|%ld|%ld|%ld", &one[0], &one[1], &one[2], &one[3]) != 4)
      kit_fail("found: %s", heard);
    for (j = 0; j < 4; j++) sum[j] += one[j];
  }
  printf("%ld acked, %ld missing, %ld torn, %ld errors, %d kills", sum[0], sum[1], sum[3] + (whole != 1),
         sum[2], kills);
  if (strcmp(check, "ok") != 0) printf(", damaged");
  kit_stop(&plain);
}

int main(int argc, char **argv)
{
  const char *side, *seed = kit_setting("CASE_SEED");
  unsigned number = seed != NULL ? (unsigned)strtoul(seed, NULL, 10) : (unsigned)getpid();
  int i, kills;

  (void)signal(SIGPIPE, SIG_IGN); /* an agent that died is noticed by its silence */
  if (argc != 4) {
    fprintf(stderr, "usage: storm SECONDS SYNC JOURNAL\n");
    return 64;
  }
  shim = kit_setting("CASE_SHIM");
  side = shim != NULL ? "holdfast" : "stock";
  (void)snprintf(db, sizeof db, "%s/storm-%s-%s-%u.db", kit_need("CASE_DIR"), argv[2], side, number);
  (void)snprintf(server_db, sizeof server_db, "%s/storm-%s-%s-%u.db", kit_need("CASE_SERVER"), argv[2], side,
                 number);
  fprintf(stderr, "# storm: seed %u\n", number);
  make(argv[3]);
  for (i = 0; i < WRITERS; i++) {
    (void)snprintf(writers[i].log, sizeof writers[i].log, "%s/storm-%s-%s-%u.%d", kit_need("CASE_LOGS"),
                   argv[2], side, number, i);
    writers[i].next = kit_spawn(shim, i % 2 == 0 ? NULL : kit_need("CASE_CLIENT2"));
  }
  for (i = 0; i < WRITERS; i++) start(i, argv[2], argv[3]);
  kills = count_kills(strtod(argv[1], NULL), number, argv[2], argv[3]);
  for (i = 0; i < WRITERS; i++) kit_tell(&writers[i].agent, "stop");
  for (i = 0; i < WRITERS; i++) {
    (void)kit_hear(&writers[i].agent); /* the end of its storm */
    kit_stop(&writers[i].agent);
    kit_kill(&writers[i].next);
  }
  look(kills);
  printf("\n");
  return 0;
}
