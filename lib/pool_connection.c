/*
 * pool_connection.c - opening, setting up and closing the connections of a pool.
 *
 * Connections are in SQLite's serialized mode although one thread at a time uses them: the keeper looks at
 * those of others (who keeps the WAL?), and a program that breaks the rule gets a slow answer and no crash.
 * Readers are opened for writing with query_only, because only such a connection can recover a WAL that a
 * crash has left.
 */
#include <stdio.h>
#include <string.h>

#include "pool_wait.h"

enum { NO_CHECKPOINT_ON_CLOSE = 1006 }; /* SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, since 3.16 */

/* ---------------------------------------------------------------- what SQLite calls */

static int busy(void *arg, int count)
{
  return hf_wait_for_lock(arg, count);
}

/* The text of what is about to run, for reports about this lease. Comments are triggers' names. */
static int trace(unsigned type, void *arg, void *stmt, void *text)
{
  holdfast_lease *lease = arg;
  const char *sql = text;

  (void)type;
  (void)stmt;
  if (sql[0] == '-' && sql[1] == '-') return 0;
  /* Reading one's own note needs no mutex. */
  if (lease->sql_serial == lease->serial && strncmp(lease->sql, sql, HF_SQL - 1) == 0) return 0;
  pthread_mutex_lock(&lease->note);
  lease->sql_serial = lease->serial;
  (void)stpncpy(lease->sql, sql, HF_SQL - 1);
  pthread_mutex_unlock(&lease->note);
  return 0;
}

/* Takes the place of SQLite's automatic checkpoint, which would make the committing thread do the work. */
static int wal_grown(void *arg, sqlite3 *db, const char *schema, int frames)
{
  holdfast_lease *lease = arg;
  holdfast_pool *pool = lease->pool;

  (void)db;
  if (strcmp(schema, "main") != 0) return SQLITE_OK;
  if (frames < atomic_exchange(&pool->wal_frames, frames)) /* the log was begun anew */
    atomic_store(&pool->nudge_at, pool->config.checkpoint_frames);
  if (!pool->config.checkpoint_frames || frames < atomic_load(&pool->nudge_at)) return SQLITE_OK;
  /* The keeper may not reach the end. It is not woken for each commit of a long log. */
  atomic_store(&pool->nudge_at, frames + pool->config.checkpoint_frames);
  hf_keeper_nudge(pool);
  return SQLITE_OK;
}

/* In a pool of one connection a read lease has the writer's: what it writes is not kept. */
static int before_commit(void *arg)
{
  const holdfast_lease *lease = arg;
  return lease->mode == HOLDFAST_READ;
}

/* ---------------------------------------------------------------- small questions */

int hf_connection_text(sqlite3 *db, const char *sql, char *out, int size)
{
  sqlite3_stmt *stmt = NULL;
  const char *text;
  int rc = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);

  if (rc == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW && out) {
    text = (const char *)sqlite3_column_text(stmt, 0);
    snprintf(out, (size_t)size, "%s", text ? text : "");
  }
  if (stmt) rc = sqlite3_finalize(stmt);
  return rc;
}

/* ---------------------------------------------------------------- journal mode */

static const char *journal_word(int journal)
{
  switch (journal) {
  case HOLDFAST_JOURNAL_DELETE: return "delete";
  case HOLDFAST_JOURNAL_TRUNCATE: return "truncate";
  case HOLDFAST_JOURNAL_PERSIST: return "persist";
  default: return "wal";
  }
}

static void note_journal(holdfast_pool *pool, const char *mode)
{
  pthread_mutex_lock(&pool->mutex);
  snprintf(pool->journal, sizeof pool->journal, "%s", mode);
  pthread_mutex_unlock(&pool->mutex);
}

/*
 * The mode is read first and set only if it differs: setting it needs the file alone. What cannot be had
 * because others use the file, or because the shim keeps the database out of WAL, is told and lived with. An
 * error is an error: it is never taken for "WAL does not work here", and never answered by another mode.
 */
static int settle_journal(holdfast_lease *lease)
{
  holdfast_pool *pool = lease->pool;
  const char *wanted = journal_word(pool->config.journal);
  hf_said said = {.kind = HOLDFAST_POOL_JOURNAL, .lane = HOLDFAST_WRITE};
  char mode[12] = "", got[12] = "", sql[64];
  int rc = hf_connection_text(lease->db, "PRAGMA journal_mode", mode, sizeof mode);

  if (rc) return hf_fail_sqlite(pool, lease->db, rc, "its journal mode cannot be read");
  note_journal(pool, mode);
  if (pool->memory || pool->config.journal == HOLDFAST_JOURNAL_AS_IT_IS || strcmp(mode, wanted) == 0)
    return 0;
  if (pool->config.flags & HOLDFAST_POOL_READONLY) return 0;
  snprintf(sql, sizeof sql, "PRAGMA main.journal_mode=%s", wanted);
  rc = hf_connection_text(lease->db, sql, got, sizeof got);
  switch (rc & 0xff) {
  case SQLITE_OK:
  case SQLITE_BUSY:
  case SQLITE_LOCKED:
  case SQLITE_READONLY: break;
  default: return hf_fail_sqlite(pool, lease->db, rc, sql);
  }
  if (rc == SQLITE_OK) note_journal(pool, got);
  if (rc == SQLITE_OK && strcmp(got, wanted) == 0) return 0;
  said.code = rc;
  hf_event(pool, &said, "journal_mode=%s cannot be had (%s): it is %s", wanted,
           rc ? sqlite3_errmsg(lease->db) : "this mount does not allow it", rc ? mode : got);
  return 0;
}

/* ---------------------------------------------------------------- open */

static int set_up(holdfast_lease *lease)
{
  holdfast_pool *pool = lease->pool;
  bool writer = lease->lane->mode == HOLDFAST_WRITE;
  char sql[64];
  int rc;

  (void)sqlite3_extended_result_codes(lease->db, 1);
  (void)sqlite3_busy_handler(lease->db, busy, lease);
  if (writer && pool->reads == &pool->write) (void)sqlite3_commit_hook(lease->db, before_commit, lease);
  if (pool->config.on_connect) {
    rc = pool->config.on_connect(lease->db, lease->lane->mode, pool->config.on_connect_arg);
    if (rc) return hf_fail(rc, "pool %s: on_connect refused the connection (code %d)", pool->config.name, rc);
  }
  rc = writer ? settle_journal(lease) : 0;
  if (rc) return rc;
  if (writer) (void)sqlite3_wal_hook(lease->db, wal_grown, lease);
  snprintf(sql, sizeof sql, "PRAGMA main.journal_size_limit=%lld",
           (long long)pool->config.wal_limit_mib << 20);
  rc = hf_connection_text(lease->db, writer ? sql : "PRAGMA query_only=1", NULL, 0);
  if (rc) return hf_fail_sqlite(pool, lease->db, rc, "a connection cannot be set up");
  (void)sqlite3_trace_v2(lease->db, SQLITE_TRACE_STMT, trace, lease);
  return 0;
}

static int flags_of(const holdfast_lease *lease, bool first)
{
  const holdfast_pool *pool = lease->pool;
  int flags = SQLITE_OPEN_FULLMUTEX | SQLITE_OPEN_PRIVATECACHE;

  flags |= pool->config.flags & HOLDFAST_POOL_READONLY ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
  if (pool->uri) flags |= SQLITE_OPEN_URI;
  /* Once it was there it is not made again: an empty database in place of a lost one would hide the loss. */
  if (first && !(pool->config.flags & (HOLDFAST_POOL_READONLY | HOLDFAST_POOL_NO_CREATE)))
    flags |= SQLITE_OPEN_CREATE;
  return flags;
}

static int open_it(holdfast_lease *lease)
{
  holdfast_pool *pool = lease->pool;
  sqlite3 *db = NULL;
  unsigned epoch;
  int rc;

  pthread_mutex_lock(&pool->mutex);
  epoch = pool->epoch;
  pthread_mutex_unlock(&pool->mutex);
  rc = sqlite3_open_v2(pool->name, &db, flags_of(lease, epoch == 0 && !pool->ready_once), pool->config.vfs);
  if (rc) {
    rc = hf_fail_sqlite(pool, db, db ? sqlite3_extended_errcode(db) : rc, "cannot be opened");
    (void)sqlite3_close(db);
    return rc;
  }
  atomic_store(&lease->opening, true);
  pthread_mutex_lock(&pool->mutex);
  lease->db = db;
  lease->epoch = epoch;
  pool->opened++;
  pthread_mutex_unlock(&pool->mutex);
  rc = set_up(lease);
  atomic_store(&lease->opening, false);
  if (rc) hf_connection_close(lease, false);
  return rc;
}

int hf_connection_usable(holdfast_lease *lease)
{
  holdfast_pool *pool = lease->pool;
  bool current;

  if (!lease->db) return open_it(lease);
  current = lease->epoch == atomic_load_explicit(&pool->epoch, memory_order_relaxed);
  if (current) return 0;
  hf_connection_close(lease, true);
  return open_it(lease);
}

/* ---------------------------------------------------------------- close */

static bool under_the_shim(sqlite3 *db)
{
  holdfast_mount mount = {.struct_size = sizeof mount};
  return sqlite3_file_control(db, "main", HOLDFAST_FCNTL_MOUNT, &mount) == SQLITE_OK;
}

void hf_connection_plain_close(sqlite3 *db, bool stale)
{
  /* The last close checkpoints and takes the -wal away by its name, which is another file's now (T11). The
   * shim knows; without it there must be no checkpoint. */
  if (stale && !under_the_shim(db)) (void)sqlite3_db_config(db, NO_CHECKPOINT_ON_CLOSE, 1, (int *)NULL);
  for (sqlite3_stmt *one = sqlite3_next_stmt(db, NULL); one; one = sqlite3_next_stmt(db, one))
    (void)sqlite3_reset(one); /* no lock is kept */
  /* A statement that the program has forgotten, or a backup: SQLite closes when that goes. To finalize it
   * here would leave the program with a dead pointer. */
  (void)sqlite3_close_v2(db);
}

void hf_connection_close(holdfast_lease *lease, bool stale)
{
  holdfast_pool *pool = lease->pool;
  sqlite3 *db = lease->db;

  if (!db) return;
  hf_statements_free(&lease->statements);
  for (int i = 0; i < HF_SCOPES; i++) {
    (void)sqlite3_finalize(lease->scope[i]);
    lease->scope[i] = NULL;
  }
  pthread_mutex_lock(&pool->mutex); /* nobody looks at it or interrupts it from here on */
  lease->db = NULL;
  pthread_mutex_unlock(&pool->mutex);
  (void)sqlite3_trace_v2(db, 0, NULL, NULL);
  hf_connection_plain_close(db, stale);
}
