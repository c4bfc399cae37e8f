/*
 * pool_scope.c - holdfast_read and holdfast_write: a lease with a transaction around a function.
 *
 * A write begins as a write (F10), and is a success only when COMMIT said so. Whatever SQLite did to the
 * transaction inside (it rolls back by itself after some errors) is looked at before COMMIT, so that work
 * that was taken back is not called done.
 */
#include <string.h>

#include "pool_cancel.h"
#include "pool_wait.h"

static const char *const texts[HF_SCOPES] = {"BEGIN", "BEGIN IMMEDIATE", "COMMIT", "ROLLBACK"};

static int run(holdfast_lease *lease, int which)
{
  sqlite3_stmt **stmt = &lease->scope[which];
  int rc = *stmt ? SQLITE_OK : sqlite3_prepare_v2(lease->db, texts[which], -1, stmt, NULL);

  if (rc) return rc;
  (void)sqlite3_step(*stmt);
  return sqlite3_reset(*stmt);
}

static void roll_back(holdfast_lease *lease)
{
  if (lease->cancel) sqlite3_progress_handler(lease->db, 0, NULL, NULL); /* this must not be stopped */
  if (!sqlite3_get_autocommit(lease->db))
    (void)run(lease, HF_ROLLBACK); /* the release looks what came of it */
}

/* SQLite's answer when the wait was ended by the deadline, or by somebody. */
static int explain(holdfast_lease *lease, int rc, const char *what)
{
  const holdfast_pool *pool = lease->pool;

  rc = hf_lease_explain(lease, rc, what);
  if (rc < 0) return rc;
  if ((rc & 0xff) == SQLITE_BUSY && lease->own_reader)
    return hf_fail(HOLDFAST_REENTRANT, "pool %s: %s waits for a read transaction of this very thread",
                   pool->config.name, what);
  if ((rc & 0xff) == SQLITE_BUSY)
    return hf_fail(
        HOLDFAST_TIMEOUT,
        "pool %s, %s lane: %s found the database locked for %lld ms, by another process or connection "
        "(%s)",
        pool->config.name, hf_lane_word(lease->mode), what,
        (long long)((hf_now() - lease->deadline_ns + lease->wait_ns) / HF_MS), "`holdfast locks` names it");
  return hf_fail_sqlite(pool, lease->db, rc, what);
}

/* The shim ended this connection's writing before anything was written: with a new one it may go on (F15,
 * F21). */
static bool worth_a_new_connection(int rc)
{
  return rc == SQLITE_READONLY_DBMOVED || ((rc & 0xff) == SQLITE_IOERR && rc != SQLITE_IOERR_NOMEM);
}

static int begin(holdfast_lease *lease)
{
  int which = lease->mode == HOLDFAST_WRITE ? HF_BEGIN_IMMEDIATE : HF_BEGIN;
  unsigned epoch = lease->epoch;
  int rc;

  hf_wait_give_way(lease);
  rc = run(lease, which);
  if (worth_a_new_connection(rc)) {
    hf_connection_close(lease, rc == SQLITE_READONLY_DBMOVED);
    if (rc == SQLITE_READONLY_DBMOVED) hf_pool_reopen(lease->pool, epoch, rc);
    rc = hf_connection_usable(lease);
    if (rc) return hf_lease_explain(lease, rc, texts[which]);
    rc = run(lease, which);
  }
  return rc ? explain(lease, rc, texts[which]) : 0;
}

static int end(holdfast_lease *lease, int rc)
{
  int ignored = 0;

  /* A function may leave its statements where they are: reset, they do not outlive the transaction. */
  if (lease->statements.used || lease->statements.extra) hf_statements_put_back(&lease->statements, &ignored);
  if (lease->mode == HOLDFAST_READ) {
    hf_lease_freeze(lease, true);
    if (!sqlite3_get_autocommit(lease->db) && run(lease, HF_COMMIT) != SQLITE_OK) roll_back(lease);
    hf_lease_freeze(lease, false);
    return rc;
  }
  if (rc) {
    roll_back(lease);
    return rc;
  }
  if (sqlite3_get_autocommit(lease->db)) {
    rc = sqlite3_errcode(lease->db);
    if (rc == SQLITE_OK || rc == SQLITE_ROW || rc == SQLITE_DONE) rc = HOLDFAST_MISUSE;
    return hf_fail(
        rc, "pool %s: the transaction had ended before COMMIT: by the function, or by SQLite after an error",
        lease->pool->config.name);
  }
  if (atomic_load(&lease->stop) || hf_cancel_fired(lease->cancel)) {
    roll_back(lease);
    return explain(lease, SQLITE_INTERRUPT, "COMMIT");
  }
  rc = run(lease, HF_COMMIT);
  if (rc) {
    rc = explain(lease, rc, "COMMIT");
    roll_back(lease);
  }
  return rc;
}

static int scope(holdfast_pool *pool, int mode, const holdfast_options *options, holdfast_fn fn, void *arg)
{
  holdfast_lease *lease = NULL;
  hf_want want;
  int rc, released;

  if (!pool || !fn) return hf_fail(HOLDFAST_MISUSE, "an argument is NULL");
  if (hf_forked(pool)) return hf_fail_forked();
  rc = hf_want_of(pool, mode, options, &want);
  if (rc) return rc;
  rc = hf_acquire(pool, &want, &lease);
  if (rc) return rc;
  rc = begin(lease);
  if (!rc) {
    rc = fn(lease, arg);
    if (hf_forked(pool)) return hf_fail_forked(); /* fn has forked, and this is the child */
    rc = end(lease, rc);
  }
  if (mode == HOLDFAST_WRITE) {
    pthread_mutex_lock(&pool->mutex);
    *(rc ? &pool->rollbacks : &pool->commits) += 1;
    pthread_mutex_unlock(&pool->mutex);
  }
  released = hf_release(lease);
  return rc ? rc : released;
}

int holdfast_read_with(holdfast_pool *pool, const holdfast_options *options, holdfast_fn fn, void *arg)
{
  return scope(pool, HOLDFAST_READ, options, fn, arg);
}
int holdfast_read(holdfast_pool *pool, holdfast_fn fn, void *arg)
{
  return scope(pool, HOLDFAST_READ, NULL, fn, arg);
}
int holdfast_write_with(holdfast_pool *pool, const holdfast_options *options, holdfast_fn fn, void *arg)
{
  return scope(pool, HOLDFAST_WRITE, options, fn, arg);
}
int holdfast_write(holdfast_pool *pool, holdfast_fn fn, void *arg)
{
  return scope(pool, HOLDFAST_WRITE, NULL, fn, arg);
}
