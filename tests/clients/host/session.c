/*
 * session.c - every check on one SQLite library with the shim, and all libraries at once.
 *
 * Which journal mode is right, HOLDFAST_ASSUME decides. Libraries that are unloaded, and other VFS above and
 * below the shim, are host.c's.
 */
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib.h"
#include "session.h"

const char *host_program;

/* Databases are taken for a network's when the environment says so; SQLite keeps out of WAL there. */
bool on_network(void)
{
  const char *assume = getenv("HOLDFAST_ASSUME");

  return assume && strcmp(assume, "network") == 0;
}

/* ---------------------------------------------------------------- whose VFS opens the files */

/* Each library has its own system call table. Its "open" is counted here, so the counters tell which
 * library's VFS did the work. SQLite hands nothing to that function by which one could serve all. */
typedef int (*open_call)(const char *path, int flags, int mode);
static int opens[LIBS_MAX];
static open_call next_open[LIBS_MAX];

#define COUNTED_OPEN(n)                                                                                      \
  static int open_##n(const char *path, int flags, int mode)                                                 \
  {                                                                                                          \
    opens[n]++;                                                                                              \
    return next_open[n](path, flags, mode);                                                                  \
  }
COUNTED_OPEN(0)
COUNTED_OPEN(1)
COUNTED_OPEN(2)
COUNTED_OPEN(3)
COUNTED_OPEN(4)
COUNTED_OPEN(5)
COUNTED_OPEN(6)
COUNTED_OPEN(7)
static const open_call counted_open[LIBS_MAX] = {open_0, open_1, open_2, open_3,
                                                 open_4, open_5, open_6, open_7};

static void count_opens(lib *one, int index)
{
  sqlite3_vfs *base = one->call.vfs_find("unix");

  next_open[index] = (open_call)base->xGetSystemCall(base, "open");
  (void)check(one, base->xSetSystemCall(base, "open", (sqlite3_syscall_ptr)counted_open[index]) == SQLITE_OK,
              "the system call \"open\" cannot be replaced");
}

static void check_route(lib *libs, int count, int index)
{
  lib *one = &libs[index];
  char path[64], text[TEXT_MAX];
  sqlite3 *db;

  memset(opens, 0, sizeof opens);
  snprintf(path, sizeof path, "route-%s.db", one->version);
  db = db_open(one, path, NULL);
  (void)check(one,
              db_ask(one, db, "CREATE TABLE IF NOT EXISTS t(x); INSERT INTO t VALUES(1)", text) == SQLITE_OK,
              "write: %s", one->call.errmsg(db));
  for (int i = 0; i < count; i++)
    (void)check(one, (opens[i] > 0) == (i == index), "the VFS of SQLite %s opened %d of its files",
                libs[i].version, opens[i]);
  db_close(one, db);
}

void route(lib *libs, int count)
{
  for (int i = 0; i < count; i++) count_opens(&libs[i], i);
  for (int i = 0; i < count; i++) check_route(libs, count, i);
}

/* ---------------------------------------------------------------- one library's session */

static int named_holdfast(lib *one)
{
  int count = 0;

  for (sqlite3_vfs *vfs = one->call.vfs_find(NULL); vfs && count < 100; vfs = vfs->pNext)
    if (strcmp(vfs->zName, "holdfast") == 0) count++;
  return count;
}

/* The database is under the shim, once, and both know which library it belongs to. */
void check_covered(lib *one, sqlite3 *db, const char *base)
{
  char text[TEXT_MAX], wanted[100];

  snprintf(wanted, sizeof wanted, "holdfast/%s", base);
  db_vfs_name(one, db, text);
  (void)check_text(one, "VFSNAME", text, wanted);
  (void)check(one, named_holdfast(one) == 1, "%d VFS are called holdfast", named_holdfast(one));

  (void)check(one,
              db_ask(one, db, "PRAGMA holdfast", text) == SQLITE_OK && strncmp(text, "holdfast ", 9) == 0,
              "PRAGMA holdfast: \"%s\"", text);
  (void)check(one, strstr(text, on_network() ? "rollback-only" : "wal-ok") != NULL, "PRAGMA holdfast: \"%s\"",
              text);
  (void)db_ask(one, db, "SELECT sqlite_version()", text);
  (void)check_text(one, "sqlite_version()", text, one->version);
  snprintf(wanted, sizeof wanted, "\"sqlite_version\":\"%s\"", one->version);
  (void)check(one, db_ask(one, db, "PRAGMA holdfast_status", text) == SQLITE_OK && strstr(text, wanted),
              "PRAGMA holdfast_status is of another SQLite: %s", text);
}

/* Tables and functions are there on a connection that did not load the extension itself. */
static void check_sql_objects(lib *one, sqlite3 *db, const char *path)
{
  char sql[200], text[TEXT_MAX];

  snprintf(sql, sizeof sql, "SELECT count(*) FROM holdfast_mount WHERE path LIKE '%%/%s'", path);
  (void)check(one, db_ask(one, db, sql, text) == SQLITE_OK, "holdfast_mount: %s", one->call.errmsg(db));
  (void)check_text(one, "rows of holdfast_mount", text, "1");
  (void)check(one, db_ask(one, db, "SELECT count(*) FROM holdfast_events", text) == SQLITE_OK,
              "holdfast_events: %s", one->call.errmsg(db));
  (void)check(one, db_ask(one, db, "SELECT holdfast_version()", text) == SQLITE_OK && text[0],
              "holdfast_version(): %s", one->call.errmsg(db));
}

static FILE *beside(const char *what, const lib *one, const char *path)
{
  char command[3 * PATH_MAX];

  snprintf(command, sizeof command, "exec '%s' %s '%s' '%s'", host_program, what, one->file, path);
  fflush(stdout);
  return popen(command, "re");
}

/* What a process with plain SQLite sees: "code rows", the code being that of its BEGIN IMMEDIATE. */
static void check_probe(lib *one, const char *path, const char *wanted, const char *what)
{
  FILE *probe = beside("probe", one, path);
  char line[100] = "";

  if (probe && fgets(line, sizeof line, probe)) line[strcspn(line, "\n")] = 0;
  (void)check(one, probe && pclose(probe) == 0, "the probe did not end well");
  (void)check_text(one, what, line, wanted);
}

static void check_locks(lib *one, sqlite3 *db, sqlite3 *other, const char *path)
{
  char text[TEXT_MAX];
  FILE *holder;
  int held;

  (void)check(one, db_ask(one, db, "BEGIN IMMEDIATE; INSERT INTO t VALUES(4)", text) == SQLITE_OK,
              "BEGIN: %s", one->call.errmsg(db));
  (void)check(one, db_ask(one, other, "BEGIN IMMEDIATE", text) == SQLITE_BUSY,
              "a second writer in this process");
  check_probe(one, path, "5 3", "another process while we write");
  (void)check(one, db_ask(one, db, "ROLLBACK", text) == SQLITE_OK, "ROLLBACK: %s", one->call.errmsg(db));
  check_probe(one, path, "0 3", "another process after our rollback");

  holder = beside("hold", one, path);
  held = holder && fgets(text, sizeof text, holder) && strcmp(text, "held\n") == 0;
  (void)check(one, held, "another process could not lock");
  (void)check(one, db_ask(one, db, "BEGIN IMMEDIATE", text) == SQLITE_BUSY,
              "a lock of another process is not seen");
  (void)check(one, holder && pclose(holder) == 0, "the holder did not end well");
  (void)check(one, db_ask(one, db, "BEGIN IMMEDIATE; COMMIT", text) == SQLITE_OK, "BEGIN: %s",
              one->call.errmsg(db));
}

/* The text of a mapping is the database's path; with no shim in the way, SQLite maps what it reads. */
static void check_mmap(lib *one, const char *path)
{
  sqlite3 *db = db_open(one, path, NULL);
  char text[TEXT_MAX], name[100];

  snprintf(name, sizeof name, "/%s", path);
  (void)db_ask(one, db, "PRAGMA mmap_size=1048576", text);
  (void)check(one, db_ask(one, db, "SELECT sum(x) FROM t", text) == SQLITE_OK, "read: %s",
              one->call.errmsg(db));
  (void)check(one, is_mapped(name) == !on_network(), "the database is %smapped",
              is_mapped(name) ? "" : "not ");
  db_close(one, db);
}

void session(lib *one, const char *base, const char *name)
{
  char path[64], wal[80], text[TEXT_MAX];
  sqlite3 *db, *other;

  snprintf(path, sizeof path, "%s-%s.db", name, one->version);
  snprintf(wal, sizeof wal, "%s-wal", path);
  db = db_open(one, path, NULL);
  check_covered(one, db, base);

  (void)db_ask(one, db, "PRAGMA journal_mode=WAL", text);
  (void)check_text(one, "journal_mode=WAL", text, on_network() ? "delete" : "wal");
  (void)check(one, db_ask(one, db, "CREATE TABLE t(x); INSERT INTO t VALUES(1),(2),(3)", text) == SQLITE_OK,
              "write: %s", one->call.errmsg(db));
  (void)check(one, (access(wal, F_OK) == 0) == !on_network(), "%s does %sexist", wal,
              on_network() ? "" : "not ");

  other = db_open(one, path, NULL);
  (void)db_ask(one, other, "SELECT sum(x) FROM t", text);
  (void)check_text(one, "sum on a second connection", text, "6");
  check_locks(one, db, other, path);
  db_close(one, other);

  other = db_open(one, ":memory:", NULL);
  check_sql_objects(one, other, path);
  db_close(one, other);

  (void)db_ask(one, db, "PRAGMA wal_checkpoint(TRUNCATE)", text);
  check_mmap(one, path);
  (void)db_ask(one, db, "PRAGMA integrity_check", text);
  (void)check_text(one, "integrity_check", text, "ok");
  db_close(one, db);
  (void)check(one, access(wal, F_OK) != 0, "%s is still there after the last close", wal);
  check_probe(one, path, "0 3", "plain SQLite afterwards");
}

/* ---------------------------------------------------------------- all at once */

/* One library in its own thread: commits, and a connection that is opened anew each time. */
static void *work(void *argument)
{
  lib *one = argument;
  char path[64], text[TEXT_MAX];
  int rc = SQLITE_OK;

  snprintf(path, sizeof path, "thread-%s.db", one->version);
  for (int i = 0; i < 50 && rc == SQLITE_OK; i++) {
    sqlite3 *db = db_open(one, path, NULL);
    if (i == 0) rc = db_ask(one, db, "PRAGMA journal_mode=WAL; CREATE TABLE t(x)", text);
    if (rc == SQLITE_OK) rc = db_ask(one, db, "PRAGMA synchronous=OFF; INSERT INTO t VALUES(1)", text);
    if (rc == SQLITE_OK) rc = db_ask(one, db, "SELECT count(*) FROM t", text);
    (void)check(one, rc == SQLITE_OK && atoi(text) == i + 1, "row %d of a thread: %d %s, rows %s", i, rc,
                one->call.errmsg(db), text);
    db_close(one, db);
  }
  return NULL;
}

static void threads(lib *libs, int count)
{
  pthread_t thread[LIBS_MAX];

  for (int i = 0; i < count; i++)
    if (pthread_create(&thread[i], NULL, work, &libs[i])) abort();
  for (int i = 0; i < count; i++) pthread_join(thread[i], NULL);
}

void sessions(lib *libs, int count, const char *extension)
{
  for (int i = 0; i < count; i++) {
    if (lib_load(&libs[i], extension)) return;
    (void)lib_load(&libs[i], extension); /* a second time, from another connection, changes nothing */
  }
  route(libs, count);
  for (int i = 0; i < count; i++) session(&libs[i], "unix", "session");
  threads(libs, count);
  for (int i = 0; i < count; i++) check_route(libs, count, i);
}
