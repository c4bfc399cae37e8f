/*
 * pool_keeper.c - the thread that looks after one pool: checkpoints, leases that are out too long, and files
 * that were moved away.
 *
 * A thread of its own, because what it has to notice happens when nobody calls the pool, and because a
 * checkpoint on the back of a commit or a release makes somebody wait for the disk. It sleeps without a timer
 * while no lease is out and nothing is due. A fork waits until it is outside of SQLite.
 */
#include <limits.h>
#include <signal.h>
#include <string.h>

#include "pool_keeper.h"

enum { TICK_NS = 1000000000, TICK_LEAST_NS = 5000000, IDLE_TICKS = 2 };

/* ---------------------------------------------------------------- leases */

static void copy_about(const holdfast_lease *lease, int kind, int64_t now, hf_said *out)
{
  out->kind = kind;
  out->lane = lease->mode;
  out->age_ms = (now - lease->since_ns) / HF_MS;
  memcpy(out->tag, lease->tag, sizeof out->tag);
  hf_copy_sql(lease, out->sql);
}

/* The mutex is held. One that has to be told about now, if there is one. */
static bool next_leak(holdfast_pool *pool, int64_t now, hf_said *out)
{
  hf_lane *lanes[] = {&pool->write, &pool->read};

  for (int i = 0; i < 2 && pool->config.leak_ns; i++)
    for (int k = 0; k < lanes[i]->capacity; k++) {
      holdfast_lease *one = &lanes[i]->connections[k];
      if (one->state != HF_LEASED || one->leak_said || now - one->since_ns < pool->config.leak_ns) continue;
      one->leak_said = true;
      pool->leaks++;
      copy_about(one, HOLDFAST_POOL_LEAK, now, out);
      return true;
    }
  return false;
}

static int always(void *ignored)
{
  (void)ignored;
  return 1;
}

/*
 * The mutex is held. End a read that is too old: what runs is interrupted. A transaction without a running
 * statement is rolled back here, and the connection answers SQLITE_INTERRUPT until it is released. A
 * statement in mid-step is left to its thread, which may be reading from it: its next step ends it.
 */
static void end_read(holdfast_lease *lease)
{
  sqlite3_mutex *mutex = sqlite3_db_mutex(lease->db);
  bool stepping = false;

  atomic_store(&lease->stop, HF_STOP_AGE);
  if (sqlite3_mutex_try(mutex) == SQLITE_OK) {
    sqlite3_progress_handler(lease->db, 1, always, NULL);
    for (sqlite3_stmt *one = sqlite3_next_stmt(lease->db, NULL); one; one = sqlite3_next_stmt(lease->db, one))
      stepping |= sqlite3_stmt_busy(one) != 0;
    if (!stepping && !sqlite3_get_autocommit(lease->db)) {
      sqlite3_progress_handler(lease->db, 0, NULL, NULL);
      (void)sqlite3_exec(lease->db, "ROLLBACK", NULL, NULL, NULL);
      sqlite3_progress_handler(lease->db, 1, always, NULL);
    }
    sqlite3_mutex_leave(mutex);
  }
  sqlite3_interrupt(lease->db);
}

/* The mutex is held. In a transaction, as far as that can be seen: one that is in SQLite just now counts. */
static bool is_reading(const holdfast_lease *lease)
{
  sqlite3_mutex *mutex = lease->db ? sqlite3_db_mutex(lease->db) : NULL;
  bool reading;

  if (!mutex || atomic_load(&lease->opening)) return false;
  if (sqlite3_mutex_try(mutex) != SQLITE_OK)
    return !atomic_load_explicit(&lease->napping, memory_order_relaxed);
  reading = hf_is_reading(lease->db);
  sqlite3_mutex_leave(mutex);
  return reading;
}

/* The same for a lease that may write: it has a snapshot, and no write transaction, for sure. */
static bool only_reads(const holdfast_lease *lease)
{
  sqlite3_mutex *mutex = lease->db ? sqlite3_db_mutex(lease->db) : NULL;
  bool reading;

  if (!mutex || sqlite3_mutex_try(mutex) != SQLITE_OK) return false;
  reading = hf_is_reading(lease->db) && !hf_is_writing(lease->db);
  sqlite3_mutex_leave(mutex);
  return reading;
}

static bool next_old_read(holdfast_pool *pool, int64_t now, hf_said *out)
{
  for (int k = 0; k < pool->read.capacity && pool->config.read_age_ns; k++) {
    holdfast_lease *one = &pool->read.connections[k];
    if (one->state != HF_LEASED || one->age_said || now - one->since_ns < pool->config.read_age_ns) continue;
    if (!is_reading(one)) continue;
    one->age_said = true;
    pool->reads_ended++;
    copy_about(one, HOLDFAST_POOL_READ_ENDED, now, out);
    end_read(one);
    return true;
  }
  return false;
}

/*
 * Which read has kept a snapshot since before `since`? A write transaction began with the newest one, and
 * what it keeps is its own: it is never the reason. Nor is one that is in SQLite just now on the write lane.
 */
const holdfast_lease *hf_keeper_oldest_reader(holdfast_pool *pool, int64_t since)
{
  hf_lane *lanes[] = {&pool->read, &pool->write};
  const holdfast_lease *oldest = NULL;

  for (int i = 0; i < 2; i++)
    for (int k = 0; k < lanes[i]->capacity; k++) {
      const holdfast_lease *one = &lanes[i]->connections[k];
      if (one->state != HF_LEASED || one->since_ns > since || (oldest && one->since_ns >= oldest->since_ns))
        continue;
      if (one->mode == HOLDFAST_WRITE ? only_reads(one) : is_reading(one)) oldest = one;
    }
  return oldest;
}

/* The mutex is held, and given up while an event is told. */
static void look_at_leases(holdfast_pool *pool)
{
  hf_said said = {0};
  bool leak;

  while ((leak = next_leak(pool, hf_now(), &said)) || next_old_read(pool, hf_now(), &said)) {
    pthread_mutex_unlock(&pool->mutex);
    hf_event(pool, &said,
             leak ? "a lease has been out for %lld ms: \"%s\"%s%s"
                  : "a read was ended after %lld ms (max_read_age_ms): \"%s\"%s%s",
             (long long)said.age_ms, *said.tag ? said.tag : "(no tag)", *said.sql ? ": " : "", said.sql);
    pthread_mutex_lock(&pool->mutex);
  }
}

static void look_at_file(holdfast_pool *pool)
{
  unsigned epoch = atomic_load(&pool->epoch);

  if (pool->memory || pool->network) return;
  pthread_mutex_unlock(&pool->mutex);
  if (hf_registry_moved(pool)) hf_pool_reopen(pool, epoch, 0);
  pthread_mutex_lock(&pool->mutex);
}

/* ---------------------------------------------------------------- the thread */

static int64_t tick_of(const holdfast_pool *pool)
{
  int64_t tick = TICK_NS;

  if (pool->config.leak_ns && pool->config.leak_ns / 4 < tick) tick = pool->config.leak_ns / 4;
  if (pool->config.read_age_ns && pool->config.read_age_ns / 4 < tick) tick = pool->config.read_age_ns / 4;
  return tick < TICK_LEAST_NS ? TICK_LEAST_NS : tick;
}

/* The mutex is held. When the next checkpoint is due: now or earlier, later, or INT64_MAX = not at all. */
static int64_t checkpoint_due(holdfast_pool *pool, int64_t now)
{
  hf_keeper *keeper = &pool->keeper;
  int frames = atomic_load_explicit(&pool->wal_frames, memory_order_relaxed);

  if (keeper->wanted || keeper->asked > keeper->reached) return now;
  if (keeper->again_ns) return keeper->again_ns;
  if (!pool->config.checkpoint_frames || !pool->config.checkpoint_ns || frames == keeper->settled_frames) {
    keeper->frames_since_ns = 0;
    return INT64_MAX;
  }
  if (!keeper->frames_since_ns) keeper->frames_since_ns = now;
  return keeper->frames_since_ns + pool->config.checkpoint_ns;
}

static void sleep_until(holdfast_pool *pool, int64_t due)
{
  hf_keeper *keeper = &pool->keeper;
  int out = pool->write.out + pool->read.out;

  keeper->idle_ticks = out || keeper->acquired != pool->serial ? 0 : keeper->idle_ticks + 1;
  keeper->acquired = pool->serial;
  keeper->awake = keeper->idle_ticks < IDLE_TICKS;
  if (keeper->awake && due > hf_now() + keeper->tick_ns) due = hf_now() + keeper->tick_ns;
  if (due == INT64_MAX)
    (void)pthread_cond_wait(&keeper->wake, &pool->mutex);
  else
    (void)hf_cond_until(&keeper->wake, &pool->mutex, due);
}

static void *life(void *arg)
{
  holdfast_pool *pool = arg;
  hf_keeper *keeper = &pool->keeper;
  int64_t ticked = hf_now(), due;

  pthread_mutex_lock(&pool->mutex);
  while (!keeper->stop) {
    due = checkpoint_due(pool, hf_now());
    if (due <= hf_now()) {
      hf_checkpoint_turn(pool);
      continue;
    }
    sleep_until(pool, due);
    if (keeper->stop || hf_now() - ticked < keeper->tick_ns) continue;
    ticked = hf_now();
    look_at_leases(pool);
    look_at_file(pool);
  }
  pthread_mutex_unlock(&pool->mutex);
  hf_checkpoint_close(pool);
  return NULL;
}

/* The program's signals are not for this thread. */
int hf_keeper_start(holdfast_pool *pool)
{
  sigset_t all, before;
  int error;

  pool->keeper.tick_ns = tick_of(pool);
  atomic_store(&pool->nudge_at, pool->config.checkpoint_frames);
  (void)sigfillset(&all);
  (void)pthread_sigmask(SIG_SETMASK, &all, &before);
  error = pthread_create(&pool->keeper.thread, NULL, life, pool);
  (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (error)
    return hf_fail(SQLITE_NOMEM, "pool %s: no thread for it: %s", pool->config.name, strerror(error));
  pool->keeper.started = true;
  return 0;
}

void hf_keeper_stop(holdfast_pool *pool)
{
  hf_keeper *keeper = &pool->keeper;

  if (!keeper->started) return;
  pthread_mutex_lock(&pool->mutex);
  keeper->stop = true;
  pthread_cond_signal(&keeper->wake);
  pthread_mutex_unlock(&pool->mutex);
  (void)pthread_join(keeper->thread, NULL);
  keeper->started = false;
}

void hf_keeper_wake(holdfast_pool *pool)
{
  pool->keeper.awake = true;
  pthread_cond_signal(&pool->keeper.wake);
}

void hf_keeper_nudge(holdfast_pool *pool)
{
  pthread_mutex_lock(&pool->mutex);
  pool->keeper.wanted = true;
  pthread_cond_signal(&pool->keeper.wake);
  pthread_mutex_unlock(&pool->mutex);
}

/* ---------------------------------------------------------------- fork */

/* A long checkpoint is cut short: SQLite looks between two pages whether it was interrupted. */
void hf_keeper_before_fork(holdfast_pool *pool)
{
  if (pthread_mutex_trylock(&pool->keeper.work) == 0) return;
  pthread_mutex_lock(&pool->mutex);
  if (pool->keeper.db) sqlite3_interrupt(pool->keeper.db);
  pthread_mutex_unlock(&pool->mutex);
  pthread_mutex_lock(&pool->keeper.work);
}

void hf_keeper_after_fork(holdfast_pool *pool)
{
  pthread_mutex_unlock(&pool->keeper.work);
}
