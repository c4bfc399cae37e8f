/*
 * host.c - a program with several SQLite libraries that all load one extension.
 *
 *   host session EXTENSION LIB...       every check on each library, then all of them in threads
 *   host route EXTENSION LIB...         only: are a library's files opened by its own VFS?
 *   host reload EXTENSION LIB...        shutdown, initialize, dlclose and dlopen of the libraries
 *   host auto EXTENSION LIB...          loaded by sqlite3_auto_extension()
 *   host stack EXTENSION LIB BASE       on the base BASE: a VFS of SQLite's, or "under", one of our own
 *   host probe LIB DATABASE             plain SQLite: tries to write, prints the code and the rows
 *   host hold LIB DATABASE              plain SQLite: holds the write lock until nobody reads its output
 *
 * Databases are made in the working directory. What is checked on a library is in session.c. The last line
 * says how many checks were made; the exit status is 0 when none failed.
 */
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib.h"
#include "session.h"

/* ---------------------------------------------------------------- libraries that go and come back */

static void shutdown_and_load(lib *one, const char *extension)
{
  char text[TEXT_MAX];
  sqlite3 *db;

  (void)check(one, one->call.shutdown() == SQLITE_OK && one->call.initialize() == SQLITE_OK, "shutdown");
  db = db_open(one, "named.db", "holdfast");
  (void)check(
      one, db_ask(one, db, "CREATE TABLE IF NOT EXISTS t(x); PRAGMA holdfast", text) == SQLITE_OK && text[0],
      "after a shutdown, vfs=holdfast: %s", one->call.errmsg(db));
  db_close(one, db);
  if (lib_load(one, extension) == SQLITE_OK) session(one, "unix", "shutdown");
}

static void reload(lib *one, const char *extension)
{
  const char *file = one->file;
  long page = sysconf(_SC_PAGESIZE);
  void *blocker;
  Dl_info where;

  if (lib_load(one, extension)) return;
  session(one, "unix", "first");
  shutdown_and_load(one, extension);

  if (!check(one, dladdr(*(void **)&one->call.libversion, &where) != 0, "dladdr")) return;
  lib_close(one);
  lib_open(one, file); /* often at the same address: what was kept about it must not be believed */
  if (lib_load(one, extension) == SQLITE_OK) session(one, "unix", "again");

  lib_close(one);
  blocker = mmap(where.dli_fbase, (size_t)page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  lib_open(one, file); /* now at another one */
  if (lib_load(one, extension) == SQLITE_OK) session(one, "unix", "moved");
  if (blocker != MAP_FAILED) munmap(blocker, (size_t)page);
}

/* ---------------------------------------------------------------- sqlite3_auto_extension() */

/* The entry point for sqlite3_auto_extension() must never fail an open. The connection that is being opened
 * when it first runs is too early to be covered; the next one is. */
static void load_automatically(lib *one, const char *extension)
{
  void *handle = dlopen(extension, RTLD_NOW | RTLD_LOCAL);
  void (*entry)(void) = NULL;
  char text[TEXT_MAX];
  sqlite3 *db;

  if (handle) *(void **)&entry = dlsym(handle, "sqlite3_holdfast_auto_init");
  if (!check(one, entry != NULL, "no sqlite3_holdfast_auto_init")) return;
  for (int i = 0; i < 2; i++)
    (void)check(one, one->call.auto_extension(entry) == SQLITE_OK, "sqlite3_auto_extension");
  for (int i = 0; i < 3; i++) db_close(one, db_open(one, ":memory:", NULL));

  db = db_open(one, "auto.db", NULL);
  (void)check(one, db_ask(one, db, "PRAGMA holdfast", text) == SQLITE_OK && text[0],
              "auto: PRAGMA holdfast: %s", one->call.errmsg(db));
  db_close(one, db);
  session(one, "unix", "auto");
}

/* ---------------------------------------------------------------- above and below other VFS */

/* Makes BASE the default and gives back its name. "under" is a copy of the unix VFS's structure. */
static const char *make_default(lib *one, const char *base, sqlite3_vfs *copy)
{
  sqlite3_vfs *vfs = one->call.vfs_find(base);

  if (!vfs) {
    *copy = *one->call.vfs_find("unix");
    copy->zName = base;
    vfs = copy;
  }
  (void)check(one, one->call.vfs_register(vfs, 1) == SQLITE_OK, "%s does not become the default", base);
  return base;
}

static void stack(lib *one, const char *extension, const char *base)
{
  static sqlite3_vfs under, over; /* SQLite keeps pointers to them */
  char bare_mode[TEXT_MAX], text[TEXT_MAX];
  sqlite3 *db;

  db = db_open(one, "bare.db", make_default(one, base, &under));
  (void)db_ask(one, db, "PRAGMA journal_mode=WAL", bare_mode);
  db_close(one, db);
  if (lib_load(one, extension)) return;

  /* quota and multiplex copy the whole structure of the VFS below them and call it by the copy. */
  over = *one->call.vfs_find(NULL);
  over.zName = "over";
  over.szOsFile += 64;
  (void)check(one, one->call.vfs_register(&over, 1) == SQLITE_OK, "register");
  (void)check(one, lib_load(one, extension) == SQLITE_OK, "loaded again below another default");
  (void)check_text(one, "the default VFS", one->call.vfs_find(NULL)->zName, "over");

  for (int i = 0; i < 2; i++) {
    db = db_open(one, "stack.db", i == 0 ? "holdfast" : NULL);
    check_covered(one, db, base);
    (void)db_ask(one, db, "PRAGMA journal_mode=WAL", text);
    (void)check_text(one, "journal_mode=WAL", text, on_network() ? "delete" : bare_mode);
    (void)check(
        one, db_ask(one, db, "CREATE TABLE IF NOT EXISTS t(x); INSERT INTO t VALUES(1)", text) == SQLITE_OK,
        "write: %s", one->call.errmsg(db));
    (void)db_ask(one, db, "SELECT count(*) FROM t", text);
    (void)check_text(one, "rows", text, i == 0 ? "1" : "2");
    db_close(one, db);
  }
}

/* ---------------------------------------------------------------- the processes beside it, and main */

static int probe(lib *one, const char *path)
{
  sqlite3 *db = db_open(one, path, NULL);
  char text[TEXT_MAX];
  int rc = db_ask(one, db, "BEGIN IMMEDIATE", text);

  (void)db_ask(one, db, "SELECT count(*) FROM t", text);
  printf("%d %s\n", rc, text);
  db_close(one, db);
  return 0;
}

static int hold(lib *one, const char *path)
{
  struct pollfd out = {.fd = STDOUT_FILENO, .events = 0};
  sqlite3 *db = db_open(one, path, NULL);
  char text[TEXT_MAX];

  printf("%s\n", db_ask(one, db, "BEGIN IMMEDIATE", text) == SQLITE_OK ? "held" : "not held");
  fflush(stdout);
  while (poll(&out, 1, 20000) < 0 && errno == EINTR) continue;
  db_close(one, db);
  return 0;
}

static int usage(void)
{
  fprintf(stderr, "usage: host session|route|reload|auto EXTENSION LIB... | stack EXTENSION LIB BASE |\n"
                  "            probe LIB DATABASE | hold LIB DATABASE\n");
  return 64;
}

int main(int argc, char **argv)
{
  static lib libs[LIBS_MAX];
  const char *mode = argc > 1 ? argv[1] : "";
  bool plain = strcmp(mode, "probe") == 0 || strcmp(mode, "hold") == 0;
  int first = plain ? 2 : 3, count = argc - first - (plain || strcmp(mode, "stack") == 0);

  host_program = argv[0];
  if (count < 1 || count > LIBS_MAX) return usage();
  for (int i = 0; i < count; i++) lib_open(&libs[i], argv[first + i]);

  if (plain) return mode[0] == 'p' ? probe(libs, argv[3]) : hold(libs, argv[3]);
  if (strcmp(mode, "session") == 0) {
    sessions(libs, count, argv[2]);
  } else if (strcmp(mode, "route") == 0) {
    for (int i = 0; i < count; i++) (void)lib_load(&libs[i], argv[2]);
    route(libs, count);
  } else if (strcmp(mode, "reload") == 0) {
    for (int i = 0; i < count; i++) reload(&libs[i], argv[2]);
  } else if (strcmp(mode, "auto") == 0) {
    for (int i = 0; i < count; i++) load_automatically(&libs[i], argv[2]);
  } else if (strcmp(mode, "stack") == 0) {
    stack(libs, argv[2], argv[4]);
  } else {
    return usage();
  }
  return check_summary();
}
