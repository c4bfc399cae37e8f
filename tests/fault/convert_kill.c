/*
 * convert_kill.c - the conversion of a WAL database is killed at each of its system calls.
 *
 * A database whose committed rows are only in its -wal lies on a mount that is taken for a network mount. A
 * child with the shim opens it, which converts it to DELETE mode, and is killed with SIGKILL at its first,
 * second, ... system call until it gets through. After each kill a plain SQLite and a second opener with the
 * shim each get a copy of what is left: every committed row must be there, integrity_check must say ok, and
 * the database must be in one mode or the other.
 *
 * SIGKILL leaves the page cache: what a power cut would lose is not tested here.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "files.h"
#include "made.h"
#include "trace.h"

#define EXCLUSIVE_DELETE "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = DELETE"

static peer *plain, *shimmed; /* they look at what is left */
static int rows;

static void open_and_read(void *path)
{
  char out[256];
  sqlite3 *db = NULL;

  (void)alarm(60);
  if (shim_load() != SQLITE_OK) _exit(3);
  trace_here();
  if (sqlite3_open(path, &db) == SQLITE_OK) (void)sql_text(db, "SELECT v FROM t LIMIT 1", out, sizeof out);
  (void)sqlite3_close(db); /* killed or not: the looking is done by others */
}

/* The copy at `path` through one opener: rows and integrity, then the journal mode. */
static bool holds_all(peer *p, const char *path, const char *modes, char *said, size_t size)
{
  char want[160];
  int rc = peer_open(p, 0, path, 0);

  if (rc != SQLITE_OK) {
    (void)snprintf(said, size, "open: %d %.200s", rc, peer_text(p));
    return false;
  }
  (void)snprintf(said, size, "%.200s", peer_ask(p, 0, MADE_ASK "; PRAGMA journal_mode"));
  (void)peer_close(p, 0); /* a failure shows in the next open */
  for (const char *mode = modes; *mode; mode += strlen(mode) + 1) {
    (void)snprintf(want, sizeof want, "%s\n%s", made_answer(rows), mode);
    if (strcmp(want, said) == 0) return true;
  }
  return false;
}

/* What a kill left at "killed.db" is good for a plain opener and for a second one with the shim. */
static bool survivors_good(char *said, size_t size)
{
  db_copy("killed.db", "left.db");
  if (!holds_all(plain, "left.db", "wal\0delete\0", said, size)) return false;
  if (strcmp(db_header_mode("left.db"), "1,1") != 0 && strcmp(db_header_mode("left.db"), "2,2") != 0) {
    (void)snprintf(said, size, "half a mode after the plain opener: %s", db_header_mode("left.db"));
    return false;
  }
  db_copy("killed.db", "left.db");
  if (!holds_all(shimmed, "left.db", "delete\0", said, size)) return false;
  if (strcmp(db_header_mode("left.db"), "1,1") != 0 || db_beside("left.db", "-wal") || db_hot("left.db")) {
    (void)snprintf(said, size, "the shim left: header %s, -wal %d, hot -journal %d",
                   db_header_mode("left.db"), db_beside("left.db", "-wal"), db_hot("left.db"));
    return false;
  }
  return holds_all(plain, "left.db", "delete\0", said, size);
}

/* One kill. False: the child got through, there was no n-th call. */
static bool kill_at(int act, long n, long *in_wal)
{
  trace_plan plan = {.act = act, .at = n, .counts = act == TRACE_KILL_EXIT ? trace_writes : NULL};
  trace_result r;
  char said[512];

  db_copy("made.db", "killed.db");
  trace_run(open_and_read, (char[]){"killed.db"}, &plan, &r);
  if (!r.acted) return false;
  if (!WIFSIGNALED(r.status)) check_broken("the child was not killed");
  if (strcmp(db_header_mode("killed.db"), "2,2") == 0) ++*in_wal;
  if (!survivors_good(said, sizeof said)) {
    printf("after a kill at the %s of counted call %ld (%s, number %ld)\n",
           act == TRACE_KILL_EXIT ? "exit" : "entry", n, trace_name(r.call), r.call);
    CHECK_STR("what is left", said, "every row, ok, one mode");
  } else {
    CHECK_TRUE("what is left", true);
  }
  return true;
}

static long next_point(long n, long step, long each_from)
{
  if (n >= each_from) return n + 1;
  return n + step < each_from ? n + step : each_from;
}

/* Every step-th call, from a random first one; the last ones each: there the mode changes. */
static void sweep(const char *name, int act, long points)
{
  trace_plan count = {.act = TRACE_COUNT, .counts = act == TRACE_KILL_EXIT ? trace_writes : NULL};
  trace_result r;
  long covered = 0, in_wal = 0, step, tail = 30;

  check_scene("%s, killed at %s", name,
              act == TRACE_KILL_EXIT ? "the exit of writing calls" : "the entry of each call");
  db_copy("made.db", "killed.db");
  trace_run(open_and_read, (char[]){"killed.db"}, &count, &r);
  CHECK_INT("an undisturbed child ends well", r.status, 0);
  CHECK_STR("an undisturbed child converts", db_header_mode("killed.db"), "1,1");
  step = r.counted / points + 1;
  for (long n = step > 1 ? 1 + (long)seed_below((uint32_t)step) : 1;;
       n = next_point(n, step, r.counted - tail)) {
    if (!kill_at(act, n, &in_wal)) break;
    covered++;
  }
  printf("%s, %s: %ld of %ld calls were kill points (step %ld); %ld left the header in WAL mode, %ld not\n",
         name, act == TRACE_KILL_EXIT ? "exit of writing calls" : "entry", covered, r.counted, step, in_wal,
         covered - in_wal);
  (void)fflush(stdout);
}

static void both_sweeps(const char *name, long points)
{
  sweep(name, TRACE_KILL_ENTRY, points);
  sweep(name, TRACE_KILL_EXIT, points);
}

/* Is the checker able to fail? Without its -wal the database has lost its rows. */
static void control(void)
{
  char said[512];

  check_scene("control");
  db_copy("made.db", "killed.db");
  CHECK_TRUE("the database as it was made is good", survivors_good(said, sizeof said));
  file_remove("killed.db-wal");
  CHECK_TRUE("without its -wal it is not", !survivors_good(said, sizeof said));
}

/* What a plain SQLite does when it is killed while it changes the journal mode: a hot -journal is left. */
static const char *mode_change;

static void change_mode(void *path)
{
  char out[256];
  sqlite3 *db = NULL;

  if (sqlite3_open(path, &db) != SQLITE_OK) _exit(4);
  trace_here();
  (void)sql_text(db, mode_change, out, sizeof out); /* it is killed here */
  _exit(5);
}

/* Killed when the header on disk is already that of the other mode and the -journal can still undo it. */
static void make_hot_journal(const char *sql, const char *header)
{
  trace_plan plan = {.act = TRACE_KILL_EXIT, .counts = trace_writes};
  trace_result r = {.acted = true};

  mode_change = sql;
  db_copy("made.db", "base.db");
  for (plan.at = 1; r.acted; plan.at++) {
    db_copy("base.db", "made.db");
    trace_run(change_mode, (char[]){"made.db"}, &plan, &r);
    if (strcmp(db_header_mode("made.db"), header) == 0 && db_hot("made.db")) return;
  }
  check_broken("no hot journal came about");
}

/* The same, beside a connection of the shim that is open already: it is the one that rolls the change back.
 */
static void hot_journal_under_an_open_connection(const char *sql, const char *header, int first_read)
{
  char said[512];

  check_scene("killed beside an open connection: %s", sql);
  CHECK_INT("open", peer_open(shimmed, 1, "made.db", 0), SQLITE_OK);
  CHECK_STR("rows", peer_ask(shimmed, 1, MADE_ASK), made_answer(rows));
  if (strcmp(header, "1,1") == 0) { /* the one that will be killed comes from WAL */
    CHECK_INT("plain open", peer_open(plain, 1, "made.db", 0), SQLITE_OK);
    CHECK_STR("plain turns it to WAL", peer_ask(plain, 1, "PRAGMA journal_mode=WAL"), "wal");
    CHECK_INT("plain close", peer_close(plain, 1), SQLITE_OK);
  }
  make_hot_journal(sql, header);
  CHECK_INT("the first read", peer_sql(shimmed, 1, "SELECT count(*) FROM t") & 0xff, first_read);
  CHECK_INT("close", peer_close(shimmed, 1), SQLITE_OK);
  db_copy("made.db", "killed.db");
  if (!survivors_good(said, sizeof said)) CHECK_STR("what is left", said, "every row, ok, one mode");
}

static void garbage_shm(void)
{
  char bytes[32768];

  seed_fill(bytes, sizeof bytes);
  file_write("made.db-shm", bytes, sizeof bytes);
}

static void wal_of(int count, int page_size)
{
  rows = count;
  made_wal("made.db", count, page_size);
}

int main(void)
{
  seed_start();
  plain = peer_start(SHIM_NO, NULL);
  shimmed = peer_start(SHIM_YES, "HOLDFAST_ASSUME=network");
  if (setenv("HOLDFAST_ASSUME", "network", 1) || setenv("HOLDFAST_LOG", "none", 1)) check_broken("setenv");

  wal_of(MADE_ROWS, 0);
  control();
  both_sweeps("1000 rows in the -wal", 1000);
  file_remove("made.db-shm");
  sweep("no -shm", TRACE_KILL_ENTRY, 25);
  garbage_shm();
  sweep("garbage as -shm", TRACE_KILL_ENTRY, 25);

  wal_of(60000, 512);
  printf("big -wal: %ld bytes\n", file_size("made.db-wal"));
  both_sweeps("big -wal", 10);

  /* The rows are in the file, a -journal is hot, and the header on disk is that of the other mode. */
  rows = MADE_ROWS;
  made_rollback("made.db", rows);
  make_hot_journal("PRAGMA journal_mode = WAL", "2,2");
  sweep("hot -journal of a change to WAL", TRACE_KILL_ENTRY, 60);
  wal_of(MADE_ROWS, 0);
  make_hot_journal(EXCLUSIVE_DELETE, "1,1");
  sweep("hot -journal of a change from WAL", TRACE_KILL_ENTRY, 60);

  made_rollback("made.db", rows);
  hot_journal_under_an_open_connection("PRAGMA journal_mode = WAL", "2,2", SQLITE_OK);
  made_rollback("made.db", rows);
  hot_journal_under_an_open_connection(EXCLUSIVE_DELETE, "1,1", SQLITE_CANTOPEN);

  CHECK_INT("the plain opener lived", peer_end(plain), 0);
  CHECK_INT("the opener with the shim lived", peer_end(shimmed), 0);
  return check_done();
}
