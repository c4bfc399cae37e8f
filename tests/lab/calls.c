/*
 * calls.c - what a transaction on NFS or SMB costs: calls to the server and transactions per second, one
 * process, plain SQLite and holdfast by turns.
 *
 *   calls TRANSACTIONS PAIRS [ROW,...]   environment as for cases.c; prints rows of a Markdown table. ROWs of
 *                                        delete, truncate, persist, wal-exclusive, reads; else all
 *     CASE_STOCK_DIR   where plain SQLite works (nobrl), if not in CASE_DIR
 *     CASE_FAR=1       on client 2: through the cable, and so with its delay
 *
 * Calls are counted by the kernel's client (/proc/PID/mountstats; for SMB /proc/fs/cifs/Stats, all mounts
 * together): each is one request and one answer. With NFSv3 the lock manager's calls are not among them. The
 * figures of a row are medians.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "kit.h"

enum { PATH_BYTES = 2048, PAIRS_MAX = 21, STOCK = 0, SHIM = 1 };

typedef struct figure {
  double calls, per_second;
} figure;

/* SQLite's directory on this side, the process whose mounts count, and the client for its agent. */
static const char *dir_of(int side)
{
  const char *stock = kit_setting("CASE_STOCK_DIR");

  return side == STOCK && stock != NULL ? stock : kit_need("CASE_DIR");
}

static const char *client(void)
{
  return kit_setting("CASE_FAR") != NULL ? kit_need("CASE_CLIENT2") : NULL;
}

static long smb_calls(void)
{
  char line[256];
  FILE *in = fopen("/proc/fs/cifs/Stats", "r");
  long sum = 0, n;

  if (in == NULL) kit_fail("no statistics of cifs");
  while (fgets(line, sizeof line, in) != NULL)
    if (sscanf(line, "SMBs: %ld", &n) == 1) sum += n;
  (void)fclose(in); /* only read */
  return sum;
}

static long calls_so_far(const char *dir)
{
  char line[1024], mark[PATH_BYTES], name[PATH_BYTES];
  FILE *in;
  long sum = 0, n;
  int here = 0, smb = 0;

  (void)snprintf(name, sizeof name, "/proc/%s/mountstats", client() != NULL ? client() : "self");
  in = fopen(name, "r");
  if (in == NULL) kit_fail("no mountstats");
  (void)snprintf(mark, sizeof mark, " mounted on %s with ", dir);
  while (fgets(line, sizeof line, in) != NULL) {
    char op[40];

    if (strncmp(line, "device ", 7) == 0) here = strstr(line, mark) != NULL;
    if (here && strstr(line, " fstype cifs") != NULL) smb = 1;
    /* "\t    GETATTR: 12 12 0 ..."; lines of this kind come after "per-op statistics" alone */
    if (here && sscanf(line, " %39[A-Z0-9_]: %ld", op, &n) == 2) sum += n;
  }
  (void)fclose(in); /* only read */
  return smb ? smb_calls() : sum;
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

  (void)snprintf(db, sizeof db, "%s/calls-%d-%s-%s-%d-%d.db", dir_of(side), (int)getpid(), mode, work, side,
                 round);
  if (strcmp(mode, "wal-exclusive") == 0) (void)setenv("HOLDFAST_JOURNAL", mode, 1); /* checked below */
  agent = kit_start(shim, client());
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
  calls = calls_so_far(dir_of(side));
  start = now();
  if (sscanf(kit_ask(&agent, "%s %ld x", work, n), "ok %ld|%d", &done, &code) == 2 && done != n)
    kit_fail("%s: error %d after %ld", mode, code, done);
  out.per_second = (double)n / (now() - start);
  out.calls = (double)(calls_so_far(dir_of(side)) - calls) / (double)n;
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

static const char *rows; /* NULL: all */
static int wanted(const char *name)
{
  return rows == NULL || strstr(rows, name) != NULL; /* no name is a part of another */
}

int main(int argc, char **argv)
{
  static const char del[] = "delete";
  long n = argc >= 3 ? strtol(argv[1], NULL, 10) : 0;
  int pairs = argc >= 3 ? atoi(argv[2]) : 0;

  (void)signal(SIGPIPE, SIG_IGN); /* an agent that died is noticed by its silence */
  if (n < 1 || pairs < 1 || pairs > PAIRS_MAX || argc > 4) {
    fprintf(stderr, "usage: calls TRANSACTIONS PAIRS [ROW,...] (at most %d pairs)\n", PAIRS_MAX);
    return 64;
  }
  rows = argc == 4 ? argv[3] : NULL;
  if (wanted(del)) row(del, del, "commits", n, pairs);
  if (wanted("truncate")) row("truncate", "truncate", "commits", n, pairs);
  if (wanted("persist")) row("persist", "persist", "commits", n, pairs);
  if (wanted("wal-exclusive")) row("wal-exclusive", del, "commits", n, pairs);
  if (wanted("reads")) row(del, del, "reads", n, pairs);
  return 0;
}
