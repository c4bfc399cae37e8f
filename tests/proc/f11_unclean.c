/*
 * f11_unclean.c - F11: a connection goes back to a pool with a transaction or a statement left open.
 *
 * The control is what many pools do: they take a connection back as it is, or look at its autocommit flag. A
 * statement in mid-step then keeps the WAL from being begun again, a COMMIT that failed keeps the write lock.
 * holdfast_release() ends both, counts them, and says whose lease it was.
 */
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "files.h"
#include "pooled.h"
#include "scene.h"

enum { FRAMES = 3000 };
#define WRITE_MUCH                                                                                           \
  "WITH RECURSIVE i(n) AS (VALUES(1) UNION ALL SELECT n+1 FROM i WHERE n<50) "                               \
  "INSERT INTO t(who,n,v) SELECT 1,n,hex(randomblob(1000)) FROM i"

/* ---------------------------------------------------------------- steps of the process with a pool */

static holdfast_pool *pool;
static char event_text[300];
static int unclean_events;

static void on_event(const holdfast_pool_event *e, void *unused)
{
  (void)unused;
  if (e->kind != HOLDFAST_POOL_UNCLEAN) return;
  unclean_events++;
  (void)snprintf(event_text, sizeof event_text, "%s", e->text);
}

static int open_pool(sqlite3 **db, char *out, size_t size)
{
  (void)db, (void)out, (void)size;
  pool = pooled_open(NULL);
  return holdfast_pool_on_event(pool, on_event, NULL);
}

static int close_pool(sqlite3 **db, char *out, size_t size)
{
  (void)db, (void)out, (void)size;
  return holdfast_pool_close(pool, 0);
}

static int acquire(int mode, const char *tag, holdfast_lease **lease)
{
  holdfast_options o = {.struct_size = sizeof o, .tag = tag};

  return holdfast_acquire_with(pool, mode, &o, lease);
}

/* Borrow, step once, give back. */
static int leave_statement(sqlite3 **db, char *out, size_t size)
{
  holdfast_lease *lease = NULL;
  sqlite3_stmt *s = NULL;
  int rc = acquire(HOLDFAST_READ, "forgets its statement", &lease);

  (void)db, (void)out, (void)size;
  if (rc == 0) rc = holdfast_prepare(lease, "SELECT id FROM t", &s);
  if (rc == 0) rc = sqlite3_step(s) == SQLITE_ROW ? 0 : SQLITE_ERROR;
  if (rc == 0) rc = sqlite3_get_autocommit(holdfast_lease_db(lease)) ? 0 : SQLITE_ERROR; /* "it is clean" */
  return holdfast_release(lease) || rc;
}

/* A COMMIT that fails leaves its transaction open: a foreign key that is checked at the end. */
static int leave_transaction(sqlite3 **db, char *out, size_t size)
{
  holdfast_lease *lease = NULL;
  int rc = acquire(HOLDFAST_WRITE, "forgets its transaction", &lease);

  (void)db;
  if (rc == 0)
    rc = sql_text(holdfast_lease_db(lease),
                  "PRAGMA foreign_keys=ON; BEGIN; INSERT INTO child VALUES(77); COMMIT", out, size);
  if (rc == SQLITE_CONSTRAINT_FOREIGNKEY)
    rc = sqlite3_get_autocommit(holdfast_lease_db(lease)) ? SQLITE_ERROR : 0;
  return holdfast_release(lease) || rc;
}

static int ask_pool(sqlite3 **db, char *out, size_t size)
{
  holdfast_stats s = {.struct_size = sizeof s};
  int rc = holdfast_pool_stats(pool, &s);

  (void)db;
  (void)snprintf(out, size, "unclean %lld, events %d, in use %d: %s", (long long)s.unclean, unclean_events,
                 s.read.in_use + s.write.in_use, event_text);
  return rc;
}

/* ---------------------------------------------------------------- steps of one with a pool as others are */

static int plain_leave_statement(sqlite3 **db, char *out, size_t size)
{
  static sqlite3_stmt *kept; /* in that pool's statement cache */

  (void)out, (void)size;
  if (sqlite3_prepare_v2(db[0], "SELECT id FROM t", -1, &kept, NULL) || sqlite3_step(kept) != SQLITE_ROW)
    return SQLITE_ERROR;
  return sqlite3_get_autocommit(db[0]) ? SQLITE_OK : SQLITE_ERROR; /* "it is clean" */
}

static int plain_leave_transaction(sqlite3 **db, char *out, size_t size)
{
  int rc = sql_text(db[0], "PRAGMA foreign_keys=ON; BEGIN; INSERT INTO child VALUES(77); COMMIT", out, size);

  return rc == SQLITE_CONSTRAINT_FOREIGNKEY ? SQLITE_OK : SQLITE_ERROR;
}

/* ---------------------------------------------------------------- scenes */

/* Another process writes and checkpoints: bytes of the -wal that it ends with. */
static long wal_after_writing(peer *writer)
{
  scene_must(writer, "PRAGMA wal_autocheckpoint=200");
  for (int i = 0; i < FRAMES / 50; i++) scene_must(writer, WRITE_MUCH);
  return file_size(SCENE_DB "-wal");
}

static void statement(bool guarded)
{
  peer *borrower, *writer;
  long bytes;

  check_scene("a statement left in mid-step, %s", guarded ? "holdfast" : "plain");
  scene_make("wal", "INSERT INTO t(who) VALUES(1),(2),(3)");
  borrower = guarded ? peer_start(SHIM_NO, NULL) : scene_peer(SHIM_NO);
  writer = scene_peer(SHIM_NO);
  if (guarded) CHECK_INT("open", peer_call(borrower, open_pool), 0);
  CHECK_INT("borrow, step, return", peer_call(borrower, guarded ? leave_statement : plain_leave_statement),
            0);
  bytes = wal_after_writing(writer);
  printf("statement    %-8s -wal of %ld KiB\n", guarded ? "holdfast" : "plain", bytes / 1024);
  if (guarded) {
    CHECK_TRUE("the -wal was begun again", bytes < 4L << 20);
    CHECK_INT("what the pool says", peer_call(borrower, ask_pool), 0);
    CHECK_HAS("counted and reported", peer_text(borrower), "unclean 1, events 1, in use 0");
    CHECK_HAS("whose it was", peer_text(borrower), "forgets its statement");
    CHECK_INT("close", peer_call(borrower, close_pool), 0);
  } else {
    CHECK_TRUE("the -wal grows", bytes > 6L << 20);
  }
  CHECK_INT("end of the writer", peer_end(writer), 0);
  if (guarded)
    CHECK_INT("end of the borrower", peer_end(borrower), 0);
  else
    peer_kill(borrower); /* its close would be refused */
}

static void transaction(const char *mode, bool guarded)
{
  peer *borrower, *writer;

  check_scene("a transaction left open, %s, %s", guarded ? "holdfast" : "plain", mode);
  scene_make(mode, "CREATE TABLE parent(id INTEGER PRIMARY KEY);"
                   "CREATE TABLE child(p INT REFERENCES parent DEFERRABLE INITIALLY DEFERRED)");
  borrower = guarded ? peer_start(SHIM_NO, NULL) : scene_peer(SHIM_NO);
  writer = scene_peer(SHIM_NO);
  if (guarded) CHECK_INT("open", peer_call(borrower, open_pool), 0);
  CHECK_INT("borrow, fail to commit, return",
            peer_call(borrower, guarded ? leave_transaction : plain_leave_transaction), 0);
  CHECK_INT("another process gets in", scene_gets_in(writer), guarded);
  printf("transaction  %-8s %-6s another process is %s\n", guarded ? "holdfast" : "plain", mode,
         guarded ? "let in" : "locked out");
  if (guarded) {
    CHECK_INT("what the pool says", peer_call(borrower, ask_pool), 0);
    CHECK_HAS("counted and reported", peer_text(borrower), "unclean 1, events 1, in use 0");
    CHECK_HAS("whose it was", peer_text(borrower), "forgets its transaction");
    CHECK_INT("close", peer_call(borrower, close_pool), 0);
    CHECK_INT("end of the borrower", peer_end(borrower), 0);
  } else {
    peer_kill(borrower);
  }
  CHECK_INT("end of the writer", peer_end(writer), 0);
  CHECK_STR("nothing was committed", scene_look("SELECT count(*) FROM child; PRAGMA integrity_check"),
            "0\nok");
}

int main(void)
{
  statement(false);
  statement(true);
  for (int m = 0; m < SCENE_MODES; m++) {
    transaction(scene_modes[m], false);
    transaction(scene_modes[m], true);
  }
  return check_done();
}
