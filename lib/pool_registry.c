/*
 * pool_registry.c - the pools of this process: one for each database file.
 *
 * A forked child has a registry of its own, empty: the parent's stays behind, locked or not. A fork waits
 * until no keeper is inside SQLite, so that a child finds SQLite's own mutexes free.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "pool.h"

typedef struct hf_registry {
  struct hf_registry *parents;
  unsigned generation;
  pthread_mutex_t mutex;
  pthread_cond_t changed; /* a pool was set up, or failed */
  holdfast_pool *pools;
  holdfast_pool *leaving; /* closed, and not at their end yet: their keepers are still at work */
} hf_registry;

static _Atomic(hf_registry *) current;

static hf_registry *registry_now(void)
{
  hf_registry *old = atomic_load(&current), *made;

  if (old && old->generation == hf_process()) return old;
  made = calloc(1, sizeof *made);
  if (!made || pthread_mutex_init(&made->mutex, NULL) != 0 || hf_cond_init(&made->changed) != 0) {
    free(made);
    return NULL;
  }
  made->generation = hf_process();
  made->parents = old;
  if (atomic_compare_exchange_strong(&current, &old, made)) return made;
  free(made); /* another thread was faster */
  return old;
}

/* ---------------------------------------------------------------- fork and exit */

static void before_fork(void)
{
  hf_registry *registry = atomic_load(&current);

  if (!registry || registry->generation != hf_process()) return;
  pthread_mutex_lock(&registry->mutex);
  for (holdfast_pool *one = registry->pools; one; one = one->next) hf_keeper_before_fork(one);
  for (holdfast_pool *one = registry->leaving; one; one = one->next) hf_keeper_before_fork(one);
}

static void after_fork(void)
{
  hf_registry *registry = atomic_load(&current);

  if (!registry || registry->generation != hf_process()) return;
  for (holdfast_pool *one = registry->pools; one; one = one->next) hf_keeper_after_fork(one);
  for (holdfast_pool *one = registry->leaving; one; one = one->next) hf_keeper_after_fork(one);
  pthread_mutex_unlock(&registry->mutex);
}

/* Pools that nobody has closed: their WAL is checkpointed as far as that goes in a moment. */
static void at_exit(void)
{
  hf_registry *registry = atomic_load(&current);

  if (!registry || registry->generation != hf_process()) return;
  if (pthread_mutex_trylock(&registry->mutex) != 0)
    return; /* somebody is in there: exit is no time to wait */
  for (holdfast_pool *one = registry->pools; one; one = one->next)
    if (one->ready) hf_keeper_finish(one, HF_S);
  pthread_mutex_unlock(&registry->mutex);
}

static void start(void)
{
  hf_process_start();
  (void)pthread_atfork(before_fork, after_fork, NULL); /* both fail only without memory */
  (void)atexit(at_exit);
}

/* ---------------------------------------------------------------- identity */

static bool leads_to(const char *path, uint64_t device, uint64_t inode)
{
  struct stat st;
  return stat(path, &st) == 0 && (uint64_t)st.st_dev == device && (uint64_t)st.st_ino == inode;
}

void hf_registry_identify(holdfast_pool *pool)
{
  hf_registry *registry = registry_now();
  struct stat st;

  if (pool->memory || !registry || stat(pool->path, &st) != 0) return;
  pthread_mutex_lock(&registry->mutex);
  pool->device = (uint64_t)st.st_dev;
  pool->inode = (uint64_t)st.st_ino;
  pool->inode_counts = !pool->network;
  pthread_mutex_unlock(&registry->mutex);
}

bool hf_registry_moved(holdfast_pool *pool)
{
  hf_registry *registry = registry_now();
  uint64_t device, inode;
  bool counts;
  struct stat st;

  if (!registry) return false;
  pthread_mutex_lock(&registry->mutex);
  counts = pool->inode_counts;
  device = pool->device;
  inode = pool->inode;
  pthread_mutex_unlock(&registry->mutex);
  /* No such name: there is nothing to open instead, and the shim refuses writes. */
  return counts && stat(pool->path, &st) == 0 &&
         ((uint64_t)st.st_dev != device || (uint64_t)st.st_ino != inode);
}

/* One whose own name leads elsewhere by now is about to leave this inode: it is not the pool of this file. */
static bool same_file(const holdfast_pool *one, const holdfast_pool *mine)
{
  if (strcmp(one->path, mine->path) == 0) return true;
  return mine->inode_counts && one->inode_counts && one->device == mine->device &&
         one->inode == mine->inode && leads_to(one->path, one->device, one->inode);
}

/* ---------------------------------------------------------------- in and out */

holdfast_pool *hf_registry_enter(holdfast_pool *mine)
{
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  hf_registry *registry;
  holdfast_pool *found = NULL;

  (void)pthread_once(&once, start);
  registry = registry_now();
  if (!registry) return NULL;
  hf_registry_identify(mine);
  pthread_mutex_lock(&registry->mutex);
  for (holdfast_pool *one = registry->pools; one && !found && !mine->memory; one = one->next)
    if (!one->memory && !one->failed && same_file(one, mine)) found = one;
  if (!found) {
    found = mine;
    mine->next = registry->pools;
    registry->pools = mine;
  }
  found->references++;
  pthread_mutex_unlock(&registry->mutex);
  return found;
}

int hf_registry_wait(holdfast_pool *pool, int64_t until)
{
  hf_registry *registry = registry_now();
  int rc = 0;

  if (!registry) return SQLITE_NOMEM;
  pthread_mutex_lock(&registry->mutex);
  while (!pool->ready && !pool->failed && !rc)
    if (hf_cond_until(&registry->changed, &registry->mutex, until)) rc = HOLDFAST_TIMEOUT;
  if (pool->ready) rc = 0;
  if (pool->failed) rc = pool->failed;
  pthread_mutex_unlock(&registry->mutex);
  return rc;
}

void hf_registry_ready(holdfast_pool *pool, int failed)
{
  hf_registry *registry = registry_now();

  if (!registry) return;
  pthread_mutex_lock(&registry->mutex);
  pool->ready = !failed;
  pool->failed = failed;
  pthread_cond_broadcast(&registry->changed);
  pthread_mutex_unlock(&registry->mutex);
}

static bool take_out(holdfast_pool **link, const holdfast_pool *pool)
{
  for (; *link; link = &(*link)->next)
    if (*link == pool) {
      *link = pool->next;
      return true;
    }
  return false;
}

bool hf_registry_leave(holdfast_pool *pool)
{
  hf_registry *registry = registry_now();
  bool last;

  if (!registry) return false;
  pthread_mutex_lock(&registry->mutex);
  last = --pool->references == 0;
  if (last && take_out(&registry->pools, pool)) {
    pool->next = registry->leaving;
    registry->leaving = pool;
  }
  pthread_mutex_unlock(&registry->mutex);
  return last;
}

void hf_registry_gone(holdfast_pool *pool)
{
  hf_registry *registry = registry_now();

  if (!registry) return;
  pthread_mutex_lock(&registry->mutex);
  (void)take_out(&registry->leaving, pool);
  pthread_mutex_unlock(&registry->mutex);
}

int hf_registry_references(holdfast_pool *pool)
{
  hf_registry *registry = registry_now();
  int count = 0;

  if (!registry) return 0;
  pthread_mutex_lock(&registry->mutex);
  count = pool->references;
  pthread_mutex_unlock(&registry->mutex);
  return count;
}
