/*
 * calls.c - what a transaction on NFS costs: calls to the server and transactions per second, one process,
 * plain SQLite and holdfast by turns.
 *
 *   calls TRANSACTIONS PAIRS    environment as for cases.c; prints rows of a Markdown table
 *
 * Calls are counted by the kernel's client (/proc/self/mountstats): each is one request and one answer. With
 * NFSv3 the lock manager's calls are not among them. The figures of a row are medians.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kit.h"

enum { PATH_BYTES = 2048, PAIRS_MAX = 21, STOCK = 0, SHIM = 1 };

typedef struct figure {
  double calls, per_second;
} figure;

static long calls_so_far(void)
{
  char line[1024], mark[PATH_BYTES];
  FILE *in = fopen("/proc/self/mountstats", "r");
  long sum = 0, n;
  int here = 0;

  if (in == NULL) kit_fail("no mountstats");
  (void)snprintf(mark, sizeof mark, " mounted on %s with ", kit_need("CASE_DIR"));
  while (fgets(line, sizeof line, in) != NULL) {
    char name[40];

    if (strncmp(line, "device ", 7) == 0) here = strstr(line, mark) != NULL;
    /* "\t    GETATTR: 12 12 0 ..."; lines of this kind come after "per-op statistics" alone */
    if (here && sscanf(line, " %39[A-Z0-9_]: %ld", name, &n) == 2) sum += n;
  }
  (void)fclose(in); /* only read */
  return sum;
}

static double now(void)
{
  struct timespec t;

  (void)clock_gettime(CLOCK_MONOTONIC, &t); /* this clock is always there */
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* work: the agent's command, with a number behind it */
static figure measure(const char *mode, const char *work, long n, int side, int round)
{
  const char *shim = side == SHIM ? kit_need("CASE_SHIM") : NULL;
  char db[PATH_BYTES];
  kit_agent agent;
  figure out;
  double start;
  long calls, done = -1;
  int code = 0;

  (void)snprintf(db, sizeof db, "%s/calls-%s-%s-%d-%d.db", kit_need("CASE_DIR"), mode, work, side, round);
  if (strcmp(mode, "wal-exclusive") == 0) (void)setenv("HOLDFAST_JOURNAL", mode, 1); /* checked below */
  agent = kit_start(shim, NULL);
  (void)unsetenv("HOLDFAST_JOURNAL");
  kit_must(&agent, "open %s", db);
  if (strcmp(mode, "wal-exclusive") != 0)
    kit_must(&agent, "sql PRAGMA journal_mode=%s", mode);
  else if (strstr(kit_ask(&agent, "sql PRAGMA journal_mode=WAL"), "wal") == NULL)
    kit_fail("WAL did not start");
  kit_must(&agent,
           "sql PRAGMA synchronous=FULL; CREATE TABLE c(v INT); INSERT INTO c VALUES(0); CREATE TABLE "
           "log(who, v INT)");
  kit_must(&agent, "commits 5 x");
  calls = calls_so_far();
  start = now();
  if (sscanf(kit_ask(&agent, "%s %ld x", work, n), "ok %ld|%d", &done, &code) == 2 && done != n)
    kit_fail("%s: error %d after %ld", mode, code, done);
  out.per_second = (double)n / (now() - start);
  out.calls = (double)(calls_so_far() - calls) / (double)n;
  kit_stop(&agent);
  return out;
}

static int by_size(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;

  return (x > y) - (x < y);
}

static double median(const figure *of, int pairs, int calls)
{
  double values[PAIRS_MAX];
  int i;

  for (i = 0; i < pairs; i++) values[i] = calls ? of[i].calls : of[i].per_second;
  qsort(values, (size_t)pairs, sizeof *values, by_size);
  return values[pairs / 2];
}

/* A mode that plain SQLite has no counterpart for is set beside its DELETE mode. */
static void row(const char *mode, const char *beside, const char *work, long n, int pairs)
{
  figure stock[PAIRS_MAX], shim[PAIRS_MAX];
  double a, b;
  int i;

  for (i = 0; i < pairs; i++) {
    stock[i] = measure(beside, work, n, STOCK, i + (mode == beside ? 0 : 100));
    shim[i] = measure(mode, work, n, SHIM, i);
  }
  a = median(stock, pairs, 0);
  b = median(shim, pairs, 0);
  printf("| %s | %s%s | %.1f | %.1f | %.0f | %.0f | %.2f |\n", kit_need("CASE_TITLE"),
         strcmp(work, "reads") == 0 ? "read, " : "", mode, median(stock, pairs, 1), median(shim, pairs, 1), a,
         b, b / a);
  (void)fflush(stdout); /* rows are shown as they come */
}

int main(int argc, char **argv)
{
  static const char del[] = "delete";
  long n = argc == 3 ? strtol(argv[1], NULL, 10) : 0;
  int pairs = argc == 3 ? atoi(argv[2]) : 0;

  (void)signal(SIGPIPE, SIG_IGN); /* an agent that died is noticed by its silence */
  if (n < 1 || pairs < 1 || pairs > PAIRS_MAX) {
    fprintf(stderr, "usage: calls TRANSACTIONS PAIRS (at most %d)\n", PAIRS_MAX);
    return 64;
  }
  row(del, del, "commits", n, pairs);
  row("truncate", "truncate", "commits", n, pairs);
  row("persist", "persist", "commits", n, pairs);
  row("wal-exclusive", del, "commits", n, pairs);
  row(del, del, "reads", n, pairs);
  return 0;
}
