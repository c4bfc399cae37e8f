/*
 * pool_lease.c - acquire and release: the queue's turn, a usable connection, and what is done with one that
 * comes back.
 *
 * A connection is judged when it is released, by what SQLite says about it, never by a query at acquire. The
 * cost of the ordinary case is the queue's mutex twice, the clock once, and two questions that SQLite
 * answers without touching the file.
 */
#include <stdio.h>
#include <string.h>

#include "pool_cancel.h"

#if SQLITE_VERSION_NUMBER >= 3034000
#pragma weak sqlite3_txn_state
#endif

enum { OPS_BETWEEN_LOOKS = 1000 };

/* ---------------------------------------------------------------- acquire */

int hf_want_of(const holdfast_pool *pool, int mode, const holdfast_options *options, hf_want *out)
{
  *out = (hf_want){.mode = mode, .thread = hf_thread(), .now_ns = hf_now(), .wait_ns = pool->config.wait_ns};
  if (mode != HOLDFAST_READ && mode != HOLDFAST_WRITE)
    return hf_fail(HOLDFAST_MISUSE, "pool %s: mode %d is neither HOLDFAST_READ nor HOLDFAST_WRITE",
                   pool->config.name, mode);
  if (mode == HOLDFAST_WRITE && pool->config.flags & HOLDFAST_POOL_READONLY)
    return hf_fail(HOLDFAST_MISUSE, "pool %s was opened with HOLDFAST_POOL_READONLY", pool->config.name);
  if (!options) return 0;
  if (options->struct_size < sizeof *options || options->wait_ms < HOLDFAST_NO_WAIT)
    return hf_fail(HOLDFAST_MISUSE, "pool %s: struct_size or wait_ms of the options is wrong",
                   pool->config.name);
  if (options->wait_ms) out->wait_ns = options->wait_ms > 0 ? options->wait_ms * HF_MS : 0;
  out->tag = options->tag;
  out->cancel = options->cancel;
  return 0;
}

/* An interrupt ends what runs. What the holder begins after the shot is ended by this. */
static int fired(void *cancel)
{
  return hf_cancel_fired(cancel);
}

int hf_acquire(holdfast_pool *pool, const hf_want *want, holdfast_lease **out)
{
  holdfast_lease *lease = NULL;
  int rc = hf_queue_take(pool, want, &lease);

  if (rc) return rc;
  if (want->cancel) hf_cancel_join(want->cancel, lease);
  rc = hf_connection_usable(lease);
  if (rc || want->cancel) rc = hf_lease_explain(lease, rc, "acquire");
  if (!rc && want->cancel) sqlite3_progress_handler(lease->db, OPS_BETWEEN_LOOKS, fired, want->cancel);
  if (rc) {
    hf_cancel_leave(lease);
    while (!hf_queue_give(lease)) hf_connection_close(lease, false);
    return rc;
  }
  *out = lease;
  return 0;
}

int holdfast_acquire_with(holdfast_pool *pool, int mode, const holdfast_options *options,
                          holdfast_lease **out)
{
  hf_want want;
  int rc;

  if (!pool || !out) return hf_fail(HOLDFAST_MISUSE, "holdfast_acquire: an argument is NULL");
  if (hf_forked(pool)) return hf_fail_forked();
  rc = hf_want_of(pool, mode, options, &want);
  return rc ? rc : hf_acquire(pool, &want, out);
}

int holdfast_acquire(holdfast_pool *pool, int mode, int wait_ms, holdfast_lease **out)
{
  holdfast_options options = {.struct_size = sizeof options, .wait_ms = wait_ms};
  return holdfast_acquire_with(pool, mode, &options, out);
}

sqlite3 *holdfast_lease_db(holdfast_lease *lease)
{
  return lease && !hf_forked(lease->pool) ? lease->db : NULL;
}

/* ---------------------------------------------------------------- stop */

void hf_lease_stop(holdfast_lease *lease, int why)
{
  holdfast_pool *pool = lease->pool;

  pthread_mutex_lock(&pool->mutex);
  if (lease->state == HF_LEASED) {
    atomic_store(&lease->stop, why);
    if (lease->db) sqlite3_interrupt(lease->db);
  }
  pthread_mutex_unlock(&pool->mutex);
}

/* A shot that was reset since has been heard all the same: it may have ended what ran here. */
int hf_lease_explain(const holdfast_lease *lease, int rc, const char *what)
{
  const char *name = lease->pool->config.name;
  int why = atomic_load(&lease->stop);

  if (rc && rc != SQLITE_INTERRUPT && (rc & 0xff) != SQLITE_BUSY) return rc;
  if (why == HF_STOP_CANCEL || hf_cancel_fired(lease->cancel))
    return hf_fail(HOLDFAST_CANCELLED, "pool %s: cancelled at %s", name, what);
  if (rc && why == HF_STOP_CLOSE) return hf_fail(HOLDFAST_CLOSED, "pool %s: closed at %s", name, what);
  return rc;
}

/* ---------------------------------------------------------------- release */

/* Is a snapshot or a lock kept, also one of a statement in mid-step? */
bool hf_is_reading(sqlite3 *db)
{
#if SQLITE_VERSION_NUMBER >= 3034000
  if (sqlite3_txn_state) return sqlite3_txn_state(db, NULL) != SQLITE_TXN_NONE;
#endif
  if (!sqlite3_get_autocommit(db)) return true;
  for (sqlite3_stmt *one = sqlite3_next_stmt(db, NULL); one; one = sqlite3_next_stmt(db, one))
    if (sqlite3_stmt_busy(one)) return true;
  return false;
}

/* Before 3.34 SQLite does not say; a transaction that is open on the write lane is taken for one that writes.
 */
bool hf_is_writing(sqlite3 *db)
{
#if SQLITE_VERSION_NUMBER >= 3034000
  if (sqlite3_txn_state) return sqlite3_txn_state(db, NULL) == SQLITE_TXN_WRITE;
#endif
  return !sqlite3_get_autocommit(db);
}

/* A BEGIN that nothing has followed yet keeps nothing, and must not reach the next holder all the same. */
static bool in_transaction(sqlite3 *db)
{
  return !sqlite3_get_autocommit(db) || hf_is_reading(db);
}

/* After these the connection may have lost its right to write (the shim's latch), or its cache is in doubt.
 */
static bool is_broken(int code)
{
  switch (code & 0xff) {
  case SQLITE_IOERR: return code != SQLITE_IOERR_NOMEM;
  case SQLITE_CORRUPT:
  case SQLITE_NOTADB:
  case SQLITE_CANTOPEN:
  case SQLITE_PROTOCOL: return true;
  default: return code == SQLITE_READONLY_DBMOVED;
  }
}

/* True: nothing is open any more. */
static bool clean(sqlite3 *db)
{
  for (sqlite3_stmt *one = sqlite3_next_stmt(db, NULL); one; one = sqlite3_next_stmt(db, one))
    if (sqlite3_stmt_busy(one)) (void)sqlite3_reset(one);
  if (!sqlite3_get_autocommit(db)) (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
  return !in_transaction(db);
}

static void report(holdfast_lease *lease, const hf_said *about, int kind, const char *what)
{
  hf_said said = *about;

  said.kind = kind;
  hf_event(lease->pool, &said, "%s by \"%s\"%s%s", what, *said.tag ? said.tag : "(no tag)",
           *said.sql ? ": " : "", said.sql);
}

typedef struct hf_findings {
  bool unclean, discard, leaked;
  unsigned moved_epoch; /* 0 = not moved */
  hf_said said;         /* set if one of the first three is */
} hf_findings;

/* What reports say about it: before anything is cleaned, because that runs statements, too. */
static void describe(holdfast_lease *lease, hf_said *out)
{
  holdfast_pool *pool = lease->pool;

  *out = (hf_said){.lane = lease->mode, .code = sqlite3_extended_errcode(lease->db)};
  pthread_mutex_lock(&pool->mutex);
  memcpy(out->tag, lease->tag, sizeof out->tag);
  hf_copy_sql(lease, out->sql);
  out->age_ms = (hf_now() - lease->since_ns) / HF_MS;
  pthread_mutex_unlock(&pool->mutex);
}

/*
 * With max_read_age_ms the keeper may be ending this very read: then SQLite's own mutex is held while its
 * answers are looked at. The keeper only tries that mutex, so it may be held around the pool's.
 */
void hf_lease_freeze(holdfast_lease *lease, bool freeze)
{
  if (!lease->pool->config.read_age_ns) return;
  (freeze ? sqlite3_mutex_enter : sqlite3_mutex_leave)(sqlite3_db_mutex(lease->db));
}

static void look_at(holdfast_lease *lease, hf_findings *found)
{
  int busy = 0, code = sqlite3_extended_errcode(lease->db);

  if (code == SQLITE_READONLY_DBMOVED) found->moved_epoch = lease->epoch + 1;
  found->discard = is_broken(code) || atomic_load_explicit(&lease->stop, memory_order_relaxed) == HF_STOP_AGE;
  found->leaked = atomic_load_explicit(&lease->leak_said, memory_order_relaxed);
  if (lease->statements.used || lease->statements.extra) hf_statements_put_back(&lease->statements, &busy);
  found->unclean = busy || in_transaction(lease->db);
  if (!found->unclean && !found->discard && !found->leaked) return;
  describe(lease, &found->said);
  if (found->unclean && !clean(lease->db)) found->discard = true;
}

static void count(holdfast_pool *pool, const hf_findings *found)
{
  pthread_mutex_lock(&pool->mutex);
  pool->unclean += found->unclean;
  pool->discarded += found->discard;
  pthread_mutex_unlock(&pool->mutex);
}

int hf_release(holdfast_lease *lease)
{
  holdfast_pool *pool = lease->pool;
  hf_findings found;

  found.unclean = found.discard = found.leaked = false; /* the rest is long, and seldom needed */
  found.moved_epoch = 0;
  if (lease->cancel && lease->db) sqlite3_progress_handler(lease->db, 0, NULL, NULL);
  if (lease->db) {
    hf_lease_freeze(lease, true);
    look_at(lease, &found);
    hf_lease_freeze(lease, false);
  }
  if (found.unclean || found.discard) count(pool, &found);
  if (found.discard) hf_connection_close(lease, found.moved_epoch != 0);
  if (lease->cancel) hf_cancel_leave(lease);
  /* Before it is given back: the pool may be gone a moment later. */
  if (found.moved_epoch) hf_pool_reopen(pool, found.moved_epoch - 1, SQLITE_READONLY_DBMOVED);
  if (found.unclean)
    report(lease, &found.said, HOLDFAST_POOL_UNCLEAN,
           "a lease came back with a transaction or statement open");
  if (found.discard)
    report(lease, &found.said, HOLDFAST_POOL_DISCARDED,
           "a connection was closed and will be opened anew, after use");
  if (found.leaked)
    report(lease, &found.said, HOLDFAST_POOL_RETURNED, "a lease that was reported came back, held");
  /* The keeper may have ended it in this very moment, and has left its mark on the connection. */
  while (!hf_queue_give(lease)) hf_connection_close(lease, false);
  return 0;
}

int holdfast_release(holdfast_lease *lease)
{
  if (!lease) return 0;
  if (hf_forked(lease->pool)) return hf_fail_forked();
  if (lease->state != HF_LEASED || !lease->db)
    return hf_fail(HOLDFAST_MISUSE, "pool %s: this lease is not out", lease->pool->config.name);
  return hf_release(lease);
}
