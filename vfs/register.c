/*
 * register.c - make the VFS "holdfast" the default of one SQLite library, once.
 *
 * Finds the base (the default at that time), mirrors its shape, and keeps one hf_vfs for each SQLite library.
 * Loading again, from any connection or by another copy of this code, changes nothing. What the methods do
 * is in the other files.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fork.h"
#include "metrics.h"
#include "slots.h"

hf_vfs *hf_slot[HF_SLOTS];

/* Every hf_vfs that was ever made, newest first. They are never freed: the extension stays loaded for good
 * and SQLite may call in at any time. A SQLite that was unloaded and loaded again gets a new one. */
static _Atomic(hf_vfs *) all;
static pthread_mutex_t register_mutex = PTHREAD_MUTEX_INITIALIZER;

const char *holdfast_version(void)
{
  return HOLDFAST_VERSION;
}

hf_vfs *hf_vfs_of_stranger(sqlite3_vfs *vfs)
{
  /* Somebody's copy: quota and multiplex keep our pAppData, PROJ has its own. It may be a pointer to
   * anything, so it is compared and never followed. For a stranger the newest library is right in all but odd
   * cases, and what he lent from us (xAccess, xFullPathname, ...) depends on no state. */
  for (hf_vfs *one = atomic_load(&all); one; one = one->next)
    if (one == vfs->pAppData) return one;
  return atomic_load(&all);
}

/* Another copy of this code (a second holdfast.so, a linked one beside an extension) is one of ours, too. */
static bool is_holdfast(const sqlite3_vfs *vfs)
{
  return vfs->pAppData && memcmp(vfs->pAppData, HF_MAGIC, sizeof HF_MAGIC) == 0;
}

hf_vfs *hf_vfs_in(const hf_api *api)
{
  sqlite3_vfs *vfs = api->vfs_find(HF_VFS_NAME);
  return vfs && vfs->xOpen == hf_xOpen ? vfs->pAppData : NULL;
}

static hf_vfs *make(const hf_api *api, sqlite3_vfs *base)
{
  hf_vfs *made = calloc(1, sizeof *made);

  if (!made) return NULL;
  made->events = calloc(HF_EVENTS, sizeof *made->events);
  if (!made->events) {
    free(made);
    return NULL;
  }
  memcpy(made->magic, HF_MAGIC, sizeof HF_MAGIC);
  made->api = *api;
  made->base = base;
  made->slot = -1;
  pthread_mutex_init(&made->mutex, NULL);
  hf_metrics_from_env(made->metrics, sizeof made->metrics);

  /* szOsFile is the base's: PROJ keeps a pointer at file + szOsFile of the default VFS and looks the default
   * up again at close. What we need beyond it is on the heap. */
  made->vfs.iVersion = base->iVersion < 3 ? base->iVersion : 3;
  made->vfs.szOsFile = base->szOsFile;
  made->vfs.mxPathname = base->mxPathname;
  made->vfs.zName = HF_VFS_NAME;
  made->vfs.pAppData = made;
  made->vfs.xOpen = hf_xOpen;
  hf_pass_vfs_methods(&made->vfs, base);
  /* The unix VFS looks at no argument of its own there: lent until a file on a server needs more (open.c). */
  made->vfs.xAccess = strncmp(base->zName, "unix", 4) == 0 ? base->xAccess : hf_xAccess;
  return made;
}

static void unmake(hf_vfs *made)
{
  pthread_mutex_destroy(&made->mutex);
  free(made->events);
  free(made->health);
  free(made);
}

/* Is the default VFS of the library the one below us again? sqlite3_shutdown() and _initialize() do that. */
static bool lost_default(const hf_api *api, const hf_vfs *ours)
{
  return api->vfs_find(NULL) == ours->base;
}

static int configure(hf_vfs *owner, const hf_settings *settings, const char *log,
                     const holdfast_config *config, char *message, size_t size)
{
  hf_settings merged = *settings;
  char where[sizeof owner->log];
  int rc;

  snprintf(where, sizeof where, "%s", log);
  rc = hf_config_merge(config, &merged, where, sizeof where, message, size);
  if (rc) return rc;
  pthread_mutex_lock(&owner->mutex);
  owner->settings = merged;
  memcpy(owner->log, where, sizeof where);
  pthread_mutex_unlock(&owner->mutex);
  return SQLITE_OK;
}

/* A fork while another thread holds an owner's mutex would leave the child with a mutex that nobody unlocks.
 */
static void before_fork(void)
{
  pthread_mutex_lock(&register_mutex);
  for (hf_vfs *one = atomic_load(&all); one; one = one->next) pthread_mutex_lock(&one->mutex);
}

static void after_fork(void)
{
  for (hf_vfs *one = atomic_load(&all); one; one = one->next) pthread_mutex_unlock(&one->mutex);
  pthread_mutex_unlock(&register_mutex);
}

static void watch_forks(void)
{
  hf_fork_start();
  hf_ticks_start();
  (void)pthread_atfork(before_fork, after_fork, after_fork); /* fails only without memory */
}

/* Before vfs_register(): a thread may open a file the moment after. */
static void list(hf_vfs *made)
{
  static int slots; /* under register_mutex */

  if (slots < HF_SLOTS) {
    made->slot = slots++;
    hf_slot[made->slot] = made;
  }
  made->next = atomic_load(&all);
  atomic_store(&all, made);
}

static pthread_once_t forks = PTHREAD_ONCE_INIT;

static int register_new(const hf_api *api, const holdfast_config *config, hf_vfs **out, char *message,
                        size_t size)
{
  sqlite3_vfs *base = api->vfs_find(NULL);
  hf_settings settings;
  char log[512];
  hf_vfs *made;
  int rc;

  if (!base || base->szOsFile < (int)sizeof(hf_file)) {
    snprintf(message, size, "holdfast: SQLite has no default VFS that can be wrapped");
    return SQLITE_ERROR;
  }
  pthread_once(&forks, watch_forks);
  rc = hf_config_from_env(&settings, log, sizeof log, message, size);
  if (rc) return rc;
  made = make(api, base);
  if (!made) return SQLITE_NOMEM;
  rc = configure(made, &settings, log, config, message, size);
  if (rc) {
    unmake(made);
    return rc;
  }
  list(made);
  rc = api->vfs_register(&made->vfs,
                         1); /* fails only when SQLite cannot initialize; `made` stays listed, unused */
  /* Now, so that as few connections as can be are older than the override. */
  if (rc == SQLITE_OK && made->settings.mode == HOLDFAST_MODE_ENFORCE) (void)hf_syscalls_ready(made);
  if (rc == SQLITE_OK) *out = made;
  return rc;
}

int hf_register(const hf_api *api, const holdfast_config *config, hf_vfs **out, char *message, size_t size)
{
  sqlite3_vfs *there;
  int rc = SQLITE_OK;

  pthread_mutex_lock(&register_mutex);
  there = api->vfs_find(HF_VFS_NAME);
  if (!there) {
    rc = register_new(api, config, out, message, size);
  } else if (there->xOpen == hf_xOpen) {
    hf_vfs *owner = there->pAppData;
    if (lost_default(api, owner)) rc = api->vfs_register(there, 1);
    if (rc == SQLITE_OK && config) rc = configure(owner, &owner->settings, owner->log, config, message, size);
    if (rc == SQLITE_OK) *out = owner;
  } else if (is_holdfast(there)) {
    *out = NULL; /* the other copy does the work */
  } else {
    snprintf(message, size, "holdfast: another VFS is registered under the name \"%s\"", HF_VFS_NAME);
    rc = SQLITE_ERROR;
  }
  pthread_mutex_unlock(&register_mutex);
  return rc;
}
