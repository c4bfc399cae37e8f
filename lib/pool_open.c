/*
 * pool_open.c - the life of a pool: made, shared, drained, ended.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pool.h"

/* How long leases have to come back after their SQL was interrupted, and the last checkpoint may take. */
enum { GRACE_MS = 500 };

/* ---------------------------------------------------------------- make and free */

static void free_pool(holdfast_pool *pool)
{
  if (!pool) return;
  hf_queue_free(pool);
  hf_config_free(&pool->config);
  free(pool->name);
  free(pool->path);
  free(pool);
}

/* What SQLite is given: with the real path, so that a chdir() does not lead the next connection elsewhere. */
static char *name_for_sqlite(const char *given, const char *path)
{
  const char *query = strchr(given, '?');
  size_t length = strlen(path);
  char *name, *at;

  if (!*path || strncmp(given, "file:", 5) != 0) return strdup(*path ? path : ":memory:");
  name = malloc(3 * length + (query ? strlen(query) : 0) + 6);
  if (!name) return NULL;
  at = stpcpy(name, "file:");
  for (size_t i = 0; i < length; i++) {
    unsigned char c = (unsigned char)path[i];
    bool plain =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("/._-~", c);
    at += plain ? sprintf(at, "%c", c) : sprintf(at, "%%%02X", c);
  }
  (void)stpcpy(at, query ? query : "");
  return name;
}

static int resolve(holdfast_pool *pool, const char *given)
{
  char *path = hf_path_of(given);

  if (!path) return hf_fail(SQLITE_NOMEM, "no memory for a pool");
  pool->memory = !*path;
  pool->uri = strncmp(given, "file:", 5) == 0;
  pool->path = pool->memory ? strdup("") : hf_file_real(path);
  free(path);
  if (!pool->path) return hf_fail(SQLITE_CANTOPEN, "%s: it has no directory, or that cannot be read", given);
  pool->network = !pool->memory && hf_file_network(pool->path);
  pool->name = name_for_sqlite(given, pool->path);
  return pool->name ? 0 : hf_fail(SQLITE_NOMEM, "no memory for a pool");
}

static int init_telling(pthread_mutex_t *mutex)
{
  pthread_mutexattr_t how;
  int error = pthread_mutexattr_init(&how);

  if (error) return error;
  (void)pthread_mutexattr_settype(&how, PTHREAD_MUTEX_RECURSIVE); /* a callback may cause an event */
  error = pthread_mutex_init(mutex, &how);
  (void)pthread_mutexattr_destroy(&how);
  return error;
}

static int make(const char *path, const holdfast_pool_config *config, holdfast_pool **out)
{
  holdfast_pool *made = calloc(1, sizeof *made);
  int rc;

  if (!made) return hf_fail(SQLITE_NOMEM, "no memory for a pool");
  made->generation = hf_process();
  rc = resolve(made, path);
  if (!rc) rc = hf_config_read(config, made->path, &made->config);
  if (!rc && (pthread_mutex_init(&made->mutex, NULL) || init_telling(&made->telling) ||
              pthread_mutex_init(&made->keeper.work, NULL) || hf_cond_init(&made->left) ||
              hf_cond_init(&made->keeper.wake) || hf_cond_init(&made->keeper.done) || hf_queue_init(made)))
    rc = hf_fail(SQLITE_NOMEM, "no memory for a pool");
  if (rc)
    free_pool(made);
  else
    *out = made;
  return rc;
}

/* ---------------------------------------------------------------- open */

/* The first connection: journal mode first (it is settled when the connection is opened), then the check. */
static int set_up(holdfast_pool *pool)
{
  hf_want want = {.mode = HOLDFAST_WRITE,
                  .main = true,
                  .thread = hf_thread(),
                  .now_ns = hf_now(),
                  .wait_ns = pool->config.wait_ns,
                  .tag = "holdfast: open"};
  holdfast_lease *lease;
  int rc = hf_acquire(pool, &want, &lease);

  if (rc) return rc;
  pool->ready_once = true;
  hf_registry_identify(pool);
  hf_check_at_open(lease);
  rc = hf_release(lease);
  return rc ? rc : hf_keeper_start(pool);
}

static int share(holdfast_pool *pool, const holdfast_pool_config *config)
{
  int rc = hf_registry_wait(pool, hf_now() + pool->config.wait_ns);

  if (rc == HOLDFAST_TIMEOUT)
    (void)hf_fail(rc, "pool %s: another thread has been opening it for too long", pool->config.name);
  else if (rc)
    (void)hf_fail(rc, "pool %s: another thread could not open it (%s)", pool->config.name,
                  holdfast_strerror(rc));
  return rc ? rc : hf_config_conflict(pool, config);
}

int holdfast_pool_open(const char *path, const holdfast_pool_config *config, holdfast_pool **out)
{
  holdfast_pool *mine = NULL, *pool;
  int rc;

  if (!path || !out) return hf_fail(HOLDFAST_MISUSE, "holdfast_pool_open: an argument is NULL");
  if (!sqlite3_threadsafe()) return hf_fail(HOLDFAST_MISUSE, "this SQLite was compiled without threads");
  if (!sqlite3_vfs_find("holdfast")) {
    rc = holdfast_register(NULL);
    if (rc) return hf_fail(rc, "holdfast cannot be registered (code %d)", rc);
  }
  hf_process_start();
  rc = make(path, config, &mine);
  if (rc) return rc;
  pool = hf_registry_enter(mine);
  if (!pool) {
    free_pool(mine);
    return hf_fail(SQLITE_NOMEM, "no memory for a pool");
  }
  if (pool == mine) {
    rc = set_up(pool);
    hf_registry_ready(pool, rc);
  } else {
    free_pool(mine);
    rc = share(pool, config);
  }
  if (!rc)
    *out = pool;
  else if (hf_registry_leave(pool))
    hf_pool_end(pool);
  return rc;
}

void hf_pool_reopen(holdfast_pool *pool, unsigned epoch, int code)
{
  hf_said said = {.kind = HOLDFAST_POOL_REOPENED, .code = code};
  bool first;

  pthread_mutex_lock(&pool->mutex);
  first = pool->epoch == epoch;
  if (first) {
    pool->epoch++;
    pool->reopened++;
  }
  pthread_mutex_unlock(&pool->mutex);
  if (!first) return;
  hf_registry_identify(pool);
  hf_event(pool, &said, "%s or its -wal was moved or replaced: what has that name now is opened anew",
           pool->path);
}

/* ---------------------------------------------------------------- close */

static void stop_leases(hf_lane *lane)
{
  for (int i = 0; i < lane->capacity; i++) hf_lease_stop(&lane->connections[i], HF_STOP_CLOSE);
}

/* pool->mutex is held. False: leases are still out. */
static bool all_back(holdfast_pool *pool, int64_t until)
{
  int timed_out = 0;

  while (pool->waiters || pool->write.out || pool->read.out) {
    if (timed_out && !pool->waiters) return false; /* those who wait were woken and leave by themselves */
    timed_out = hf_cond_until(&pool->left, &pool->mutex, timed_out ? hf_now() + HF_S : until);
  }
  return true;
}

static int still_out(holdfast_pool *pool)
{
  hf_said said = {.kind = HOLDFAST_POOL_LEFT, .code = HOLDFAST_TIMEOUT};
  const holdfast_lease *one;
  int count = pool->write.out + pool->read.out;

  one = hf_longest(&pool->write);
  if (!one) one = hf_longest(&pool->read);
  if (one) {
    said.lane = one->mode;
    said.age_ms = (hf_now() - one->since_ns) / HF_MS;
    memcpy(said.tag, one->tag, sizeof said.tag);
    hf_copy_sql(one, said.sql);
  }
  pthread_mutex_unlock(&pool->mutex);
  hf_event(pool, &said, "closed while %d leases are out; for %lld ms: \"%s\" %s", count,
           (long long)said.age_ms, said.tag, said.sql);
  (void)hf_fail(HOLDFAST_TIMEOUT, "pool %s: closed, but %d leases are out; %s lane, for %lld ms: \"%s\" %s",
                pool->config.name, count, hf_lane_word(said.lane), (long long)said.age_ms, said.tag,
                said.sql);
  pthread_mutex_lock(&pool->mutex);
  return HOLDFAST_TIMEOUT;
}

static int drain(holdfast_pool *pool, int64_t drain_ns)
{
  bool done;
  int rc = 0;

  pthread_mutex_lock(&pool->mutex);
  pool->closing = true;
  hf_queue_wake_all(pool);
  done = all_back(pool, hf_now() + drain_ns);
  if (!done) {
    pthread_mutex_unlock(&pool->mutex);
    stop_leases(&pool->write);
    stop_leases(&pool->read);
    pthread_mutex_lock(&pool->mutex);
    done = all_back(pool, hf_now() + GRACE_MS * HF_MS);
  }
  if (!done) {
    pthread_mutex_unlock(&pool->mutex);
    hf_keeper_stop(pool);
    pthread_mutex_lock(&pool->mutex);
    rc = still_out(pool);
    done = pool->write.out + pool->read.out == 0;
    pool->zombie = !done; /* the last release ends it */
  }
  pthread_mutex_unlock(&pool->mutex);
  if (done) hf_pool_end(pool);
  return rc;
}

static bool holds(holdfast_pool *pool, uint64_t thread)
{
  hf_lane *lanes[] = {&pool->write, &pool->read};
  bool found = false;

  pthread_mutex_lock(&pool->mutex);
  for (int i = 0; i < 2; i++)
    for (int k = 0; k < lanes[i]->capacity; k++)
      found |= lanes[i]->connections[k].state == HF_LEASED && lanes[i]->connections[k].thread == thread;
  pthread_mutex_unlock(&pool->mutex);
  return found;
}

int holdfast_pool_close(holdfast_pool *pool, int drain_ms)
{
  int64_t drain_ns;

  if (!pool || drain_ms < HOLDFAST_NO_WAIT)
    return hf_fail(HOLDFAST_MISUSE, "holdfast_pool_close: pool is NULL or drain_ms is wrong");
  if (hf_forked(pool)) return hf_fail_forked();
  if (holds(pool, hf_thread()))
    return hf_fail(HOLDFAST_REENTRANT, "pool %s: this thread holds a lease of it: release it first",
                   pool->config.name);
  drain_ns = drain_ms > 0 ? drain_ms * HF_MS : drain_ms ? 0 : pool->config.wait_ns;
  return hf_registry_leave(pool) ? drain(pool, drain_ns) : 0;
}

static void end_lane(hf_lane *lane)
{
  for (int i = 0; i < lane->capacity; i++) hf_connection_close(&lane->connections[i], false);
}

void hf_pool_end(holdfast_pool *pool)
{
  hf_keeper_finish(pool, GRACE_MS * HF_MS);
  hf_keeper_stop(pool);
  hf_registry_gone(pool);
  end_lane(&pool->read);
  end_lane(&pool->write);
  (void)pthread_cond_destroy(&pool->left);
  (void)pthread_cond_destroy(&pool->keeper.wake);
  (void)pthread_cond_destroy(&pool->keeper.done);
  (void)pthread_mutex_destroy(&pool->keeper.work);
  (void)pthread_mutex_destroy(&pool->telling);
  (void)pthread_mutex_destroy(&pool->mutex);
  free_pool(pool);
}
