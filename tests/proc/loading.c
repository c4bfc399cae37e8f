/*
 * loading.c - how the extension gets into a process, and how often: twice, from eight threads, after SQLite
 * was shut down, on another base VFS, by sqlite3_auto_extension.
 *
 * Clients with SQLite libraries of their own are in tests/clients.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "files.h"
#include "peer.h"

#define NETWORK "HOLDFAST_ASSUME=network"

static int load_into(sqlite3 *db)
{
  (void)sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 1, NULL); /* known since 3.13 */
  return sqlite3_load_extension(db, shim_path(), NULL, NULL);
}

static int load_in_slot_0(sqlite3 **db, char *out, size_t size)
{
  (void)out, (void)size;
  return load_into(db[0]);
}

/* The default VFS, the one below it, and how many VFSes are called holdfast. */
static int describe(sqlite3 **db, char *out, size_t size)
{
  const sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
  char *name = NULL;
  int count = 0, length = 0;

  for (const sqlite3_vfs *at = vfs; at && length < 100; at = at->pNext, length++)
    count += !strcmp(at->zName, "holdfast");
  (void)sqlite3_file_control(db[0], "main", SQLITE_FCNTL_VFSNAME, &name); /* no answer leaves NULL */
  (void)snprintf(out, size, "%s %d %s", vfs->zName, count, name ? name : "-");
  sqlite3_free(name);
  return length < 100 ? SQLITE_OK : SQLITE_ERROR; /* a circle */
}

static void again_and_again(void)
{
  peer *p = peer_start(SHIM_YES, NETWORK);

  check_scene("loaded again");
  CHECK_INT("open", peer_open(p, 0, "a.db", 0), SQLITE_OK);
  for (int i = 0; i < 5; i++) {
    CHECK_INT("from a covered connection", peer_call(p, load_in_slot_0), SQLITE_OK);
    CHECK_INT("describe", peer_call(p, describe), SQLITE_OK);
    CHECK_STR("one holdfast, over unix", peer_text(p), "holdfast 1 holdfast/unix");
    CHECK_INT("close", peer_close(p, 0), SQLITE_OK);
    CHECK_INT("open", peer_open(p, 0, i % 2 ? "a.db" : "file:a.db?vfs=holdfast", 0), SQLITE_OK);
    CHECK_STR("works", peer_ask(p, 0, "PRAGMA journal_mode=WAL; SELECT count(*) FROM holdfast_mount"),
              "delete\n1");
  }
  CHECK_INT("opting out by name", peer_open(p, 1, "file:b.db?vfs=unix", 0), SQLITE_OK);
  CHECK_STR("not covered", peer_ask(p, 1, "PRAGMA holdfast; PRAGMA journal_mode=WAL"), "wal");
  CHECK_INT("end", peer_end(p), 0);
}

/* ---------------------------------------------------------------- threads */

enum { THREADS = 8, ROUNDS = 20 };
static atomic_int failures;
static pthread_barrier_t together;

static void *load_and_use(void *number)
{
  char name[40], out[200];
  sqlite3 *db = NULL;

  (void)snprintf(name, sizeof name, "thread%d.db", (int)(intptr_t)number);
  (void)pthread_barrier_wait(&together);
  for (int i = 0; i < ROUNDS; i++) {
    int rc = sqlite3_open(":memory:", &db);
    if (rc == SQLITE_OK) rc = load_into(db);
    (void)sqlite3_close(db);
    if (rc == SQLITE_OK) rc = sqlite3_open(name, &db);
    if (rc == SQLITE_OK)
      rc = sql_text(
          db,
          "PRAGMA journal_mode=WAL; CREATE TABLE IF NOT EXISTS t(x); INSERT INTO t VALUES(1); SELECT "
          "count(*) > 0 FROM holdfast_mount; SELECT count(*) >= 0 FROM holdfast_events",
          out, sizeof out);
    if (rc == SQLITE_OK && strcmp(out, "delete\n1\n1") != 0) rc = SQLITE_MISMATCH;
    if (rc) printf("thread %s, round %d: %d %s\n", name, i, rc, out);
    if (rc) atomic_fetch_add(&failures, 1);
    (void)sqlite3_close(db);
  }
  return NULL;
}

static int eight_threads(sqlite3 **db, char *out, size_t size)
{
  pthread_t thread[THREADS];

  (void)db, (void)out, (void)size;
  atomic_store(&failures, 0);
  if (pthread_barrier_init(&together, NULL, THREADS)) return -1;
  for (int i = 0; i < THREADS; i++)
    if (pthread_create(&thread[i], NULL, load_and_use, (void *)(intptr_t)i)) return -1;
  for (int i = 0; i < THREADS; i++) (void)pthread_join(thread[i], NULL);
  (void)pthread_barrier_destroy(&together);
  return atomic_load(&failures);
}

static void from_eight_threads_at_once(void)
{
  peer *p = peer_start(SHIM_NO, NETWORK);

  check_scene("eight threads");
  CHECK_INT("failures", peer_call(p, eight_threads), 0);
  CHECK_INT("open", peer_open(p, 0, "thread0.db", 0), SQLITE_OK);
  CHECK_INT("describe", peer_call(p, describe), SQLITE_OK);
  CHECK_STR("one holdfast, over unix", peer_text(p), "holdfast 1 holdfast/unix");
  CHECK_STR("rows", peer_ask(p, 0, "SELECT count(*) FROM t"), "20");
  CHECK_INT("end", peer_end(p), 0);
}

/* ---------------------------------------------------------------- other roads */

static int shut_down(sqlite3 **db, char *out, size_t size)
{
  int rc = sqlite3_shutdown();

  (void)db, (void)out, (void)size;
  return rc ? rc : sqlite3_initialize();
}

/* SQLite registers its own VFSes as default again: loading once more puts the shim back. */
static void after_a_shutdown(void)
{
  peer *p = peer_start(SHIM_YES, NETWORK);

  check_scene("sqlite3_shutdown");
  for (int i = 0; i < 3; i++) {
    CHECK_INT("shutdown and initialize", peer_call(p, shut_down), SQLITE_OK);
    CHECK_INT("open", peer_open(p, 0, ":memory:", 0), SQLITE_OK);
    CHECK_INT("load", peer_call(p, load_in_slot_0), SQLITE_OK);
    CHECK_INT("close", peer_close(p, 0), SQLITE_OK);
    CHECK_INT("open", peer_open(p, 0, "a.db", 0), SQLITE_OK);
    CHECK_INT("describe", peer_call(p, describe), SQLITE_OK);
    CHECK_STR("one holdfast, over unix", peer_text(p), "holdfast 1 holdfast/unix");
    CHECK_STR("covered", peer_ask(p, 0, "PRAGMA journal_mode=WAL; SELECT count(*) FROM holdfast_mount"),
              "delete\n1");
    CHECK_INT("close", peer_close(p, 0), SQLITE_OK);
  }
  CHECK_INT("end", peer_end(p), 0);
}

static const char *base_name;

static void other_default(void)
{
  sqlite3_vfs *base;

  if (sqlite3_initialize() != SQLITE_OK) check_broken("sqlite3_initialize");
  base = sqlite3_vfs_find(base_name);
  if (!base || sqlite3_vfs_register(base, 1) != SQLITE_OK) check_broken(base_name);
}

static void on_another_base(const char *name, const char *want)
{
  peer *p;

  check_scene("on %s", name);
  base_name = name;
  p = peer_start_in(SHIM_YES, NETWORK, other_default);
  db_remove("c.db");
  CHECK_INT("open", peer_open(p, 0, "c.db", 0), SQLITE_OK);
  CHECK_INT("describe", peer_call(p, describe), SQLITE_OK);
  CHECK_STR("which", peer_text(p), want);
  CHECK_STR(
      "works",
      peer_ask(p, 0, "PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES(1); SELECT * FROM t"),
      "delete\n1");
  CHECK_HAS("covered", peer_ask(p, 0, "PRAGMA holdfast"), "rollback-only");
  CHECK_STR("header", db_header_mode("c.db"), "1,1");
  CHECK_INT("end", peer_end(p), 0);
}

/* The entry for sqlite3_auto_extension: the first open that it sees brings the shim, the next one is covered.
 */
static int by_auto_extension(sqlite3 **db, char *out, size_t size)
{
  void *library = dlopen(shim_path(), RTLD_NOW);
  void (*entry)(void) = NULL;

  (void)db;
  if (library) *(void **)&entry = dlsym(library, "sqlite3_holdfast_auto_init");
  if (!entry) {
    (void)snprintf(out, size, "%s", dlerror());
    return SQLITE_ERROR;
  }
  return sqlite3_auto_extension(entry);
}

static void auto_extension(const char *env, bool covered)
{
  peer *p = peer_start(SHIM_NO, env);

  check_scene("sqlite3_auto_extension with %s", env);
  db_remove("d.db");
  CHECK_INT("register", peer_call(p, by_auto_extension), SQLITE_OK);
  CHECK_INT("first open", peer_open(p, 0, ":memory:", 0), SQLITE_OK);
  CHECK_INT("second open", peer_open(p, 1, "d.db", 0), SQLITE_OK);
  CHECK_STR("WAL", peer_ask(p, 1, "PRAGMA journal_mode=WAL"), covered ? "delete" : "wal");
  if (covered) CHECK_STR("tables", peer_ask(p, 1, "SELECT rule FROM holdfast_mount"), "rollback-only");
  CHECK_INT("third open", peer_open(p, 2, "d.db", 0), SQLITE_OK);
  CHECK_INT("end", peer_end(p), 0);
}

/* PROJ keeps a pointer behind a file of the default VFS: its size must not change when the shim comes. */
static int size_of_file(sqlite3 **db, char *out, size_t size)
{
  const sqlite3_vfs *vfs = sqlite3_vfs_find(NULL), *unix_vfs = sqlite3_vfs_find("unix");

  (void)db;
  (void)snprintf(out, size, "%s %d %d %d", vfs->zName, vfs->szOsFile - unix_vfs->szOsFile,
                 vfs->mxPathname - unix_vfs->mxPathname, vfs->iVersion - unix_vfs->iVersion);
  return SQLITE_OK;
}

static void mirrors_the_base(void)
{
  peer *p = peer_start(SHIM_YES, NULL);

  check_scene("mirrors the base");
  CHECK_INT("sizes", peer_call(p, size_of_file), SQLITE_OK);
  CHECK_STR("no difference", peer_text(p), "holdfast 0 0 0");
  CHECK_INT("end", peer_end(p), 0);
}

int main(void)
{
  again_and_again();
  from_eight_threads_at_once();
  after_a_shutdown();
  on_another_base("unix-excl", "holdfast 1 holdfast/unix-excl");
  on_another_base("unix-dotfile", "holdfast 1 holdfast/unix-dotfile");
  on_another_base("unix-none", "holdfast 1 holdfast/unix-none");
  auto_extension(NETWORK, true);
  auto_extension("HOLDFAST_ASSUME=nonsense", false);
  mirrors_the_base();
  return check_done();
}
