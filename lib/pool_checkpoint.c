/*
 * pool_checkpoint.c - bringing the WAL home, off the path of commits.
 *
 * The keeper has a connection of its own for it. PASSIVE is the only kind: nobody waits for it. But a writer
 * that goes on meanwhile leaves a tail, and a log with a tail is never begun anew. So when the log has become
 * long in spite of it, the keeper takes the write lane for the tail alone: a short wait for writers instead
 * of a log without limit.
 *
 * A checkpoint that does not reach the end is no success (F12): it is made again a quarter of a second
 * later, and when the same reader is still in the way, that reader is named, once.
 */
#include <stdio.h>
#include <string.h>

#include "pool_keeper.h"

enum {
  AGAIN_NS = 250000000,
  SLACK_NS = 20000000,
  OPEN_BUSY_MS = 200,
  LONG_LOGS = 4,
  TAIL_WAIT_NS = 1000000000,
  NAMED = 3
};

/* ---------------------------------------------------------------- the connection */

/* `work` is held. A fresh connection must have read something: SQLite does not know of the WAL before. */
static int open_it(holdfast_pool *pool)
{
  hf_keeper *keeper = &pool->keeper;
  unsigned epoch = atomic_load(&pool->epoch);
  int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_FULLMUTEX | SQLITE_OPEN_PRIVATECACHE;
  sqlite3 *db = NULL, *old = keeper->db;
  int rc;

  if (old && keeper->epoch == epoch) return SQLITE_OK;
  if (old) hf_checkpoint_drop(pool, true);
  rc = sqlite3_open_v2(pool->name, &db, flags | (pool->uri ? SQLITE_OPEN_URI : 0), pool->config.vfs);
  if (rc == SQLITE_OK) {
    (void)sqlite3_busy_timeout(db, OPEN_BUSY_MS);
    (void)sqlite3_extended_result_codes(db, 1);
    if (pool->config.on_connect) rc = pool->config.on_connect(db, HOLDFAST_READ, pool->config.on_connect_arg);
    if (rc == SQLITE_OK) rc = hf_connection_text(db, "PRAGMA main.schema_version", NULL, 0);
  }
  if (rc) {
    (void)sqlite3_close(db);
    return rc;
  }
  pthread_mutex_lock(&pool->mutex);
  keeper->db = db;
  keeper->epoch = epoch;
  pthread_mutex_unlock(&pool->mutex);
  return SQLITE_OK;
}

void hf_checkpoint_drop(holdfast_pool *pool, bool stale)
{
  sqlite3 *db = pool->keeper.db;

  if (!db) return;
  pthread_mutex_lock(&pool->mutex); /* nobody interrupts it from here on */
  pool->keeper.db = NULL;
  pthread_mutex_unlock(&pool->mutex);
  hf_connection_plain_close(db, stale);
}

void hf_checkpoint_close(holdfast_pool *pool)
{
  pthread_mutex_lock(&pool->keeper.work);
  hf_checkpoint_drop(pool, false);
  pthread_mutex_unlock(&pool->keeper.work);
}

/* ---------------------------------------------------------------- one checkpoint */

static int run_once(holdfast_pool *pool, holdfast_checkpoint *out)
{
  int frames = 0, copied = 0, rc;

  pthread_mutex_lock(&pool->keeper.work);
  rc = open_it(pool);
  if (rc == SQLITE_OK)
    rc = sqlite3_wal_checkpoint_v2(pool->keeper.db, "main", SQLITE_CHECKPOINT_PASSIVE, &frames, &copied);
  /* Its handle may have lost the right to write (F15, F21): the next one has a new one. */
  if (rc && (rc & 0xff) != SQLITE_BUSY && (rc & 0xff) != SQLITE_LOCKED && rc != SQLITE_INTERRUPT)
    hf_checkpoint_drop(pool, rc == SQLITE_READONLY_DBMOVED);
  pthread_mutex_unlock(&pool->keeper.work);

  out->frames = frames > 0 ? frames : 0;
  out->copied = copied > 0 ? copied : 0;
  out->pin = -1;
  if ((rc & 0xff) == SQLITE_BUSY || (rc & 0xff) == SQLITE_LOCKED || rc == SQLITE_INTERRUPT) {
    out->state = HOLDFAST_CHECKPOINT_BUSY;
    return SQLITE_OK;
  }
  out->state = frames < 0         ? HOLDFAST_CHECKPOINT_NO_WAL
               : copied == frames ? HOLDFAST_CHECKPOINT_COMPLETE
                                  : HOLDFAST_CHECKPOINT_PARTIAL;
  return rc;
}

/* With the write lane held nobody of this pool adds to the log: what is left is short. */
static int run_for_tail(holdfast_pool *pool, holdfast_checkpoint *out)
{
  hf_want want = {.mode = HOLDFAST_WRITE,
                  .main = true,
                  .thread = hf_thread(),
                  .now_ns = hf_now(),
                  .wait_ns = TAIL_WAIT_NS,
                  .tag = "holdfast: end of a checkpoint"};
  holdfast_lease *lease;
  int rc;

  if (hf_queue_take(pool, &want, &lease) != 0) return SQLITE_OK; /* another time */
  rc = run_once(pool, out);
  (void)hf_queue_give(lease);
  return rc;
}

/* ---------------------------------------------------------------- what came of it */

/*
 * Since when has the end not come nearer? Only a read that is older than that can be the reason, however many
 * short ones there are just now.
 */
static void note_the_pin(hf_keeper *keeper, int64_t began, const holdfast_checkpoint *report)
{
  if (keeper->pinned && keeper->pin_copied == report->copied) return;
  keeper->pin_first_ns = keeper->pin_same_ns = began;
  keeper->pin_copied = report->copied;
  keeper->pin_said = false;
}

/* The mutex is held. */
static void name_the_pin(holdfast_pool *pool, holdfast_checkpoint *report, uint64_t *serial)
{
  const holdfast_lease *lease = hf_keeper_oldest_reader(pool, pool->keeper.pin_first_ns);

  report->pin = lease != NULL;
  *serial = 0;
  if (!lease) return;
  *serial = lease->serial;
  report->pin_age_ms = (hf_now() - lease->since_ns) / HF_MS;
  memcpy(report->pin_tag, lease->tag, sizeof report->pin_tag);
  hf_copy_sql(lease, report->pin_sql);
}

/* Who holds a read lock of the WAL, apart from this pool: at most three, the list may be long. */
static void name_outsiders(const holdfast_pool *pool, char *out, size_t size)
{
  holdfast_holders holders = {.struct_size = sizeof holders};
  size_t used = 0;
  int named = 0;

  snprintf(out, size, "it could not be found");
  if (holdfast_lock_holders(pool->path, &holders) != SQLITE_OK) return;
  for (int i = 0; i < holders.count && named < NAMED && used < size; i++) {
    const holdfast_holder *one = &holders.at[i];
    if (one->mine || strncmp(one->lock, "WAL_READ", 8) != 0) continue;
    used += (size_t)snprintf(out + used, size - used, "%spid %lld (%s, %s)", named ? ", " : "",
                             (long long)one->pid, one->command, one->state);
    named++;
  }
  if (!named) snprintf(out, size, "one of this process, or one that cannot be seen from here");
  holdfast_holders_free(&holders);
}

/* The mutex is held, and given up while the event is told. Somebody outside of the pool is number 0. */
static void tell_about_pin(holdfast_pool *pool, const holdfast_checkpoint *report, uint64_t serial)
{
  hf_keeper *keeper = &pool->keeper;
  hf_said said = {.kind = HOLDFAST_POOL_PINNED, .lane = HOLDFAST_READ, .age_ms = report->pin_age_ms};
  char who[HF_TAG + 2 * HF_SQL], outside[HF_SQL];
  bool say;

  if (!keeper->pinned || keeper->pin_serial != serial) {
    keeper->pin_same_ns = hf_now();
    keeper->pin_said = false;
  }
  say = !keeper->pin_said && hf_now() - keeper->pin_same_ns >= AGAIN_NS - SLACK_NS;
  keeper->pinned = true;
  keeper->pin_serial = serial;
  if (!say) return;
  keeper->pin_said = true;
  memcpy(said.tag, report->pin_tag, sizeof said.tag);
  memcpy(said.sql, report->pin_sql, sizeof said.sql);
  pthread_mutex_unlock(&pool->mutex);
  if (report->pin == 1) {
    snprintf(who, sizeof who, "a read of this pool, for %lld ms: \"%.60s\" %.100s", (long long)said.age_ms,
             *said.tag ? said.tag : "(no tag)", said.sql);
  } else {
    name_outsiders(pool, outside, sizeof outside);
    snprintf(who, sizeof who, "a connection outside of this pool: %s", outside);
  }
  hf_event(pool, &said, "the WAL has %d frames, and %d cannot be brought home because of %s", report->frames,
           report->frames - report->copied, who);
  pthread_mutex_lock(&pool->mutex);
}

/* The mutex is held. */
static void conclude(holdfast_pool *pool, int rc, const holdfast_checkpoint *report, uint64_t serial)
{
  hf_keeper *keeper = &pool->keeper;

  pool->checkpoints++;
  keeper->again_ns = 0;
  keeper->frames_since_ns = 0;
  keeper->settled_frames = -1;
  switch (rc ? 0 : report->state) {
  case HOLDFAST_CHECKPOINT_PARTIAL:
    pool->checkpoints_partial++;
    /* As long as it is new who is in the way; then with the next commits. */
    if (!keeper->pin_said || keeper->pin_serial != serial) keeper->again_ns = hf_now() + AGAIN_NS;
    tell_about_pin(pool, report, serial);
    break;
  case HOLDFAST_CHECKPOINT_BUSY:
    pool->checkpoints_busy++;
    keeper->again_ns = hf_now() + AGAIN_NS;
    break;
  default: keeper->settled_frames = report->frames; keeper->pinned = keeper->pin_said = false;
  }
}

void hf_checkpoint_turn(holdfast_pool *pool)
{
  hf_keeper *keeper = &pool->keeper;
  uint64_t asked = keeper->asked, serial = 0;
  int64_t began = hf_now();
  holdfast_checkpoint report = {.struct_size = sizeof report};
  int rc;

  keeper->wanted = false;
  pthread_mutex_unlock(&pool->mutex);
  rc = run_once(pool, &report);
  if (!rc && pool->config.checkpoint_frames && report.state != HOLDFAST_CHECKPOINT_BUSY &&
      report.frames >= LONG_LOGS * pool->config.checkpoint_frames && report.pin < 0)
    rc = run_for_tail(pool, &report);
  pthread_mutex_lock(&pool->mutex);
  if (!rc && report.state == HOLDFAST_CHECKPOINT_PARTIAL) {
    note_the_pin(keeper, began, &report);
    name_the_pin(pool, &report, &serial);
  }
  keeper->last = report;
  keeper->last_rc = rc;
  keeper->reached = asked;
  pthread_cond_broadcast(&keeper->done);
  conclude(pool, rc, &report, serial);
}

/* ---------------------------------------------------------------- asked for */

/* The mutex is held. A checkpoint that begins after this moment: one under way may have begun too early. */
static int wait_for_one(holdfast_pool *pool, int64_t until)
{
  hf_keeper *keeper = &pool->keeper;
  uint64_t mine = ++keeper->asked;

  pthread_cond_signal(&keeper->wake);
  while (keeper->reached < mine && !keeper->stop)
    if (hf_cond_until(&keeper->done, &pool->mutex, until)) break;
  return keeper->reached >= mine ? 0 : keeper->stop ? HOLDFAST_CLOSED : HOLDFAST_TIMEOUT;
}

int holdfast_pool_checkpoint(holdfast_pool *pool, int wait_ms, holdfast_checkpoint *report)
{
  int64_t wait_ns;
  int rc;

  if (!pool || wait_ms < HOLDFAST_NO_WAIT || (report && report->struct_size < sizeof *report))
    return hf_fail(HOLDFAST_MISUSE, "holdfast_pool_checkpoint: a bad argument");
  if (hf_forked(pool)) return hf_fail_forked();
  if (pool->config.flags & HOLDFAST_POOL_READONLY)
    return hf_fail(HOLDFAST_MISUSE, "pool %s was opened with HOLDFAST_POOL_READONLY", pool->config.name);
  wait_ns = wait_ms > 0 ? wait_ms * HF_MS : wait_ms ? 0 : pool->config.wait_ns;
  pthread_mutex_lock(&pool->mutex);
  if (pool->memory) {
    pool->keeper.last = (holdfast_checkpoint){.state = HOLDFAST_CHECKPOINT_NO_WAL, .pin = -1};
    rc = 0;
  } else {
    rc = wait_for_one(pool, hf_now() + wait_ns);
    if (!rc) rc = pool->keeper.last_rc;
  }
  if (!rc && report) {
    size_t size = report->struct_size;
    *report = pool->keeper.last;
    report->struct_size = size;
  }
  pthread_mutex_unlock(&pool->mutex);
  return rc ? hf_fail(rc, "pool %s: checkpoint: %s", pool->config.name, holdfast_strerror(rc)) : 0;
}

/* The last one, at close and at exit: a little time, then it is interrupted. */
void hf_keeper_finish(holdfast_pool *pool, int64_t bound_ns)
{
  if (!pool->keeper.started || pool->memory || !pool->config.checkpoint_frames ||
      pool->config.flags & HOLDFAST_POOL_READONLY)
    return;
  if (pthread_mutex_trylock(&pool->mutex) != 0) return; /* somebody is in it: exit is no time to wait */
  if (strcmp(pool->journal, "wal") == 0 && wait_for_one(pool, hf_now() + bound_ns) == HOLDFAST_TIMEOUT &&
      pool->keeper.db)
    sqlite3_interrupt(pool->keeper.db);
  pthread_mutex_unlock(&pool->mutex);
}
