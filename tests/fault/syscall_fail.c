/*
 * syscall_fail.c - each system call of opening and converting a WAL database fails: once, and for ever.
 *
 * As in convert_kill.c the database lies on a mount taken for network and its rows are only in its -wal. A
 * child opens it with the shim and reads; its n-th call that has to do with files returns an error instead of
 * being executed. Whatever happens, the child ends with a SQLite code that fits (or with every row), a plain
 * SQLite finds every row afterwards, and so does a second opener with the shim.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "files.h"
#include "made.h"
#include "trace.h"

enum { ROWS = 200 };

/* What the child came to know. Shared memory, because writing it to a pipe would be a call that can fail. */
static struct outcome {
  int rc;
  char text[256];
} * outcome;
static peer *plain, *shimmed;

static void open_and_read(void *path)
{
  sqlite3 *db = NULL;

  (void)alarm(60);
  if (shim_load() != SQLITE_OK) _exit(3);
  trace_here();
  outcome->rc = sqlite3_open(path, &db);
  if (outcome->rc == SQLITE_OK)
    outcome->rc = sql_text(db, MADE_ASK "; PRAGMA journal_mode", outcome->text, sizeof outcome->text);
  (void)sqlite3_close(db); /* what a failed close leaves is looked at by others */
}

static int error_now; /* of the sweep that is running */

/* Codes that say "could not", never "is something else". "Is broken" only where SQLite itself says so: the
 * unix VFS takes EIO from a read for a broken file system, and SQLite turns that into SQLITE_CORRUPT. */
static bool fits(int rc)
{
  if (rc == SQLITE_CORRUPT) return error_now == EIO;
  switch (rc & 0xff) {
  case SQLITE_OK:
  case SQLITE_PERM:
  case SQLITE_BUSY:
  case SQLITE_NOMEM:
  case SQLITE_READONLY:
  case SQLITE_IOERR:
  case SQLITE_FULL:
  case SQLITE_CANTOPEN:
  case SQLITE_PROTOCOL: return true;
  default: return false;
  }
}

/* The calls that can return this error in real life. */
static bool can_fail(long call, const unsigned long *args)
{
  static const char *const may_wait[] = {"read",   "pread64", "write", "pwrite64",
                                         "openat", "open",    "fcntl", "ftruncate"};

  if (!trace_files(call, args)) return false;
  if (error_now == ENOSPC) return trace_writes(call, args) && strcmp(trace_name(call), "unlink") != 0;
  if (error_now != EINTR) return true;
  for (size_t i = 0; i < sizeof may_wait / sizeof may_wait[0]; i++)
    if (strcmp(trace_name(call), may_wait[i]) == 0) return true;
  return false;
}

static bool has_all(peer *p, const char *mode, char *said, size_t size)
{
  char want[160];
  int rc;

  db_copy("failed.db", "left.db");
  rc = peer_open(p, 0, "left.db", 0);
  if (rc != SQLITE_OK) {
    (void)snprintf(said, size, "open: %d %.200s", rc, peer_text(p));
    return false;
  }
  (void)snprintf(said, size, "%.200s", peer_ask(p, 0, mode ? MADE_ASK "; PRAGMA journal_mode" : MADE_ASK));
  (void)peer_close(p, 0); /* a failure shows in the next open */
  (void)snprintf(want, sizeof want, "%s%s%s", made_answer(ROWS), mode ? "\n" : "", mode ? mode : "");
  return strcmp(said, want) == 0;
}

static bool child_good(const trace_result *r, char *said, size_t size)
{
  char want[160];

  (void)snprintf(said, size, "endless %d, status 0x%x, code %d: %.200s", r->endless, (unsigned)r->status,
                 outcome->rc, outcome->text);
  if (r->endless || !WIFEXITED(r->status) || WEXITSTATUS(r->status) || !fits(outcome->rc)) return false;
  if (outcome->rc != SQLITE_OK) return true;
  (void)snprintf(want, sizeof want, "%s\ndelete", made_answer(ROWS));
  return strcmp(outcome->text, want) == 0;
}

/* One run. False: there is no n-th call. */
static bool fail_at(int act, long n, int *failed_opens)
{
  trace_plan plan = {.act = act, .at = n, .error = error_now, .counts = can_fail};
  trace_result r;
  char said[512];

  db_copy("made.db", "failed.db");
  *outcome = (struct outcome){.rc = -1};
  trace_run(open_and_read, (char[]){"failed.db"}, &plan, &r);
  if (!r.acted) return false;
  *failed_opens += outcome->rc != SQLITE_OK;
  check_scene("call %ld, %s (number %ld), fails %s with %s", n, trace_name(r.call), r.call,
              act == TRACE_FAIL_ONCE ? "once" : "for ever", strerror(error_now));
  if (!child_good(&r, said, sizeof said))
    CHECK_STR("the child", said, "a code that fits, or every row and mode delete");
  else if (!has_all(plain, NULL, said, sizeof said))
    CHECK_STR("a plain opener", said, made_answer(ROWS));
  else if (!has_all(shimmed, "delete", said, sizeof said))
    CHECK_STR("an opener with the shim", said, made_answer(ROWS));
  else
    CHECK_TRUE("all good", true);
  return true;
}

enum { LOOK_CALLS = 24 };

static void sweep(int act, int error)
{
  trace_plan count = {.act = TRACE_COUNT, .counts = can_fail};
  trace_result r;
  int runs = 0, failed_opens = 0;
  long n;

  error_now = error;
  db_copy("made.db", "failed.db");
  trace_run(open_and_read, (char[]){"failed.db"}, &count, &r);
  for (n = 1; n <= r.counted; n++) {
    if (!fail_at(act, n, &failed_opens)) break;
    runs++;
  }
  check_scene("%s, %s", strerror(error_now), act == TRACE_FAIL_ONCE ? "once" : "for ever");
  /* Not every run has as many: a look through the process's descriptors is left out when the last one was
   * slow. */
  CHECK_TRUE("nearly all calls were reached", runs > 0 && n > r.counted - LOOK_CALLS);
  if (act == TRACE_FAIL_EVER) CHECK_TRUE("failing for ever is noticed", failed_opens > runs / 2);
  printf("%s, %s: %d calls failed in turn, %d children got an error\n", strerror(error_now),
         act == TRACE_FAIL_ONCE ? "once" : "for ever", runs, failed_opens);
  (void)fflush(stdout);
}

/* Is the checker able to fail? */
static void control(void)
{
  trace_result r = {0};
  char said[512];

  check_scene("control");
  db_copy("made.db", "failed.db");
  CHECK_TRUE("the database as it was made is good", has_all(plain, NULL, said, sizeof said));
  file_remove("failed.db-wal");
  CHECK_TRUE("without its -wal it is not", !has_all(plain, NULL, said, sizeof said));
  *outcome = (struct outcome){.rc = SQLITE_CORRUPT};
  CHECK_TRUE("a child that reports damage is not good", !child_good(&r, said, sizeof said));
}

int main(void)
{
  outcome = mmap(NULL, sizeof *outcome, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (outcome == MAP_FAILED) check_broken("mmap");
  plain = peer_start(SHIM_NO, NULL);
  shimmed = peer_start(SHIM_YES, "HOLDFAST_ASSUME=network");
  if (setenv("HOLDFAST_ASSUME", "network", 1) || setenv("HOLDFAST_LOG", "none", 1)) check_broken("setenv");
  made_wal("made.db", ROWS, 0);

  control();
  sweep(TRACE_FAIL_ONCE, EIO);
  sweep(TRACE_FAIL_EVER, EIO);
  sweep(TRACE_FAIL_ONCE, ENOSPC);
  sweep(TRACE_FAIL_EVER, ENOSPC);
  sweep(TRACE_FAIL_ONCE, ENOMEM);
  sweep(TRACE_FAIL_EVER, ENOMEM);
  sweep(TRACE_FAIL_ONCE, EACCES);
  sweep(TRACE_FAIL_EVER, EACCES);
  sweep(TRACE_FAIL_ONCE, EINTR);

  CHECK_INT("the plain opener lived", peer_end(plain), 0);
  CHECK_INT("the opener with the shim lived", peer_end(shimmed), 0);
  return check_done();
}
