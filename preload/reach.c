/*
 * reach.c - registers the shim in each SQLite of the process, at the one right moment: after the program may
 * call sqlite3_config() (refused once SQLite has started) and before SQLite picks a VFS for the first
 * database.
 *
 * Two calls of SQLite to libc tell when that is:
 *  - sqlite3_initialize() first makes a recursive mutex, under its main mutex. When that one is given back,
 *    nothing is held; from then on SQLite may be started by anybody, so it is started there and then. To
 * learn of that moment, this one library's call to pthread_mutex_unlock is caught, once.
 *  - getenv("SQLITE_TMPDIR") at the end of sqlite3_os_init() (SQLite 3.40 to 3.53): a VFS may be registered
 *    there. For builds without mutexes, and for programs at fixed addresses, where the first way does not
 * look.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "preload.h"

/* Of the shim, which is linked in (vfs/ext.c). Without a connection it registers for all later ones. */
int sqlite3_holdfast_auto_init(sqlite3 *db, char **error, const sqlite3_api_routines *routines);
/* For a program that is linked with holdfast and calls this before it registers by itself (vfs/linked.c). */
__attribute__((visibility("default"))) void holdfast_preload_leave(const void *address);

enum { OBJECTS = 64, CALLERS = 16, STATIC_MAIN = 2 };

/* What is known of an object. Without locks: a fork may come at any time. */
typedef struct known {
  atomic_uintptr_t key;
  _Atomic(unsigned long long) unloaded;
  _Atomic(const sqlite3_api_routines *) table;
  atomic_uintptr_t caller[CALLERS]; /* places in a program at fixed addresses that have called */
  atomic_int state;                 /* 0 = not looked at, else a bit set of the below */
} known;
enum { LOOKED = 1, THOROUGH = 2, TOLD = 4, LEFT = 8, WITH_SQL = 16 };

static known objects[OBJECTS];

/* NULL when all places are taken: then it is looked at each time. */
static known *known_of(const pl_object *object)
{
  for (int i = 0; i < OBJECTS; i++) {
    uintptr_t key = atomic_load(&objects[i].key);
    if (key == 0 && atomic_compare_exchange_strong(&objects[i].key, &key, object->key))
      atomic_store(&objects[i].unloaded, object->unloaded);
    if (atomic_load(&objects[i].key) != object->key) continue;
    /* Something was unloaded since: this may be another library at the same address. */
    if (atomic_exchange(&objects[i].unloaded, object->unloaded) != object->unloaded)
      atomic_fetch_and(&objects[i].state, LEFT);
    return &objects[i];
  }
  return NULL;
}

static const sqlite3_api_routines *table_of(const pl_object *object, known *k, bool thorough)
{
  const sqlite3_api_routines *table;
  int want = LOOKED | (thorough ? THOROUGH : 0);

  if (k && (atomic_load(&k->state) & LOOKED)) {
    table = atomic_load(&k->table);
    if (table || (atomic_load(&k->state) & want) == want) return table;
  }
  table = pl_table_in(object, thorough);
  if (k) {
    atomic_store(&k->table, table);
    atomic_fetch_or(&k->state, want);
  }
  return table;
}

static bool first_time(known *k)
{
  return k && !(atomic_fetch_or(&k->state, TOLD) & TOLD);
}

static bool covered(const sqlite3_api_routines *table)
{
  const sqlite3_vfs *ours = table->vfs_find("holdfast");
  return ours && table->vfs_find(NULL) == ours;
}

/* Also when it was there before: sqlite3_shutdown() and a new start make the old default VFS come back. */
static void cover(const pl_object *object, known *k, const sqlite3_api_routines *table)
{
  if (!covered(table)) (void)sqlite3_holdfast_auto_init(NULL, NULL, table); /* says itself what is wrong */
  if (first_time(k)) {
    if (table->vfs_find("holdfast"))
      pl_note_reached(object, table->libversion());
    else
      pl_note_missed(object, "holdfast could not be registered in its SQLite");
  }
}

/* What comes with each connection. Not while SQLite starts: sqlite3_auto_extension() would wait for itself.
 */
static void add_to_connections(known *k, const sqlite3_api_routines *table)
{
  if (k && (atomic_fetch_or(&k->state, WITH_SQL) & WITH_SQL)) return;
  if (!table->vfs_find("holdfast")) return;
  (void)table->auto_extension((void (*)(void))sqlite3_holdfast_auto_init); /* missing tables cost no data */
  pl_note_started(table);
}

/* The mutex that SQLite holds only while it starts or changes its lists; NULL when it runs without any. */
static sqlite3_mutex *main_mutex(const sqlite3_api_routines *table)
{
  return table->mutex_alloc && table->mutex_try ? table->mutex_alloc(STATIC_MAIN) : NULL;
}

static bool is_held(const sqlite3_api_routines *table, sqlite3_mutex *mutex)
{
  if (table->mutex_try(mutex) == SQLITE_BUSY) return true;
  table->mutex_leave(mutex);
  return false;
}

/* ---------------------------------------------------------------- the first way */

typedef struct awaited {
  const sqlite3_api_routines *table; /* NULL = nothing is awaited */
  known *known;
  pl_object object;
  pl_patch unlock, lock;
} awaited;

static __thread awaited wait_for __attribute__((tls_model("initial-exec")));
static __thread bool busy
    __attribute__((tls_model("initial-exec"))); /* our own calls come to the hooks, too */

/*
 * From where SQLite may be started until the shim is in it, other threads that come to a mutex of this
 * library wait: one that finds SQLite running would pick the VFS that is to be covered. They hold nothing
 * that the starting thread needs, because SQLite takes no second mutex under the first that early. After a
 * fork at the wrong moment nobody opens the gate, so the wait ends by itself.
 */
enum { GATE_TRIES = 20000, GATE_PAUSE_US = 100 };
static _Atomic(pthread_t) starter; /* 0 = the gate is open; glibc's pthread_t is an address */

static int lock_at_gate(pthread_mutex_t *mutex)
{
  pthread_t who = atomic_load(&starter);

  for (int i = 0; who && who != pthread_self(); i++) {
    if (i == GATE_TRIES) atomic_compare_exchange_strong(&starter, &who, 0);
    usleep(GATE_PAUSE_US);
    who = atomic_load(&starter);
  }
  return pthread_mutex_lock(mutex);
}

static void open_gate(void)
{
  pthread_t self = pthread_self();
  atomic_compare_exchange_strong(&starter, &self, 0);
}

static int unlocked(pthread_mutex_t *mutex)
{
  int rc = pthread_mutex_unlock(mutex);
  const sqlite3_api_routines *table = wait_for.table;

  if (!table) return rc; /* another thread's */
  wait_for.table = NULL;
  pl_object_undo(&wait_for.object, &wait_for.unlock);
  busy = true;
  cover(&wait_for.object, wait_for.known, table);
  atomic_fetch_and(&wait_for.known->state, ~WITH_SQL); /* sqlite3_shutdown() forgets them */
  add_to_connections(wait_for.known, table);
  busy = false;
  pl_object_undo(&wait_for.object, &wait_for.lock);
  open_gate();
  return rc;
}

static void await_unlock(const pl_object *object, known *k, const sqlite3_api_routines *table)
{
  pthread_t nobody = 0;

  wait_for = (awaited){.known = k, .object = *object};
  /* Two libraries that start at the same moment: the second goes without a gate. */
  if (atomic_compare_exchange_strong(&starter, &nobody, pthread_self()))
    (void)pl_object_patch(object, "pthread_mutex_lock", (void *)lock_at_gate, &wait_for.lock);
  if (pl_object_patch(object, "pthread_mutex_unlock", (void *)unlocked, &wait_for.unlock)) {
    wait_for.table = table;
    return;
  }
  pl_object_undo(object, &wait_for.lock);
  open_gate();
  if (first_time(k)) pl_note_missed(object, "the start of its SQLite could not be caught");
}

/* Is it worth the time to look through all constants of a program at fixed addresses? Answered once for each
 * caller. */
static bool worth_it(const pl_object *object, known *k, const void *caller)
{
  if (object->base != 0) return false;
  for (int i = 0; i < CALLERS; i++) {
    uintptr_t there = 0;
    if (atomic_compare_exchange_strong(&k->caller[i], &there, (uintptr_t)caller))
      return pl_code_near(object, caller);
    if (there == (uintptr_t)caller) return false;
  }
  return false;
}

void pl_reach_starting(const void *caller)
{
  const sqlite3_api_routines *table;
  sqlite3_mutex *mutex;
  pl_object object;
  known *k;

  if (busy || wait_for.table || !pl_object_at(caller, &object)) return;
  k = known_of(&object);
  if (!k || (atomic_load(&k->state) & LEFT)) return;
  table = table_of(&object, k, worth_it(&object, k, caller));
  mutex = table ? main_mutex(table) : NULL;
  if (!mutex) return;
  if (is_held(table, mutex))
    await_unlock(&object, k, table);
  else if ((atomic_load(&k->state) & (TOLD | WITH_SQL)) == TOLD)
    add_to_connections(k, table); /* reached in the second way */
}

/* ---------------------------------------------------------------- the second way */

void pl_reach_ready(const void *caller)
{
  const sqlite3_api_routines *table;
  pl_object object;
  known *k;

  if (busy || wait_for.table || !pl_object_at(caller, &object)) return;
  k = known_of(&object);
  if (k && (atomic_load(&k->state) & LEFT)) return;
  table = table_of(&object, k, true);
  if (!table) {
    if (first_time(k))
      pl_note_missed(&object, "the SQLite inside cannot be reached (built without loadable extensions?)");
    return;
  }
  busy = true;
  cover(&object, k, table);
  if (!main_mutex(table)) add_to_connections(k, table);
  busy = false;
}

void holdfast_preload_leave(const void *address)
{
  pl_object object;
  known *k;

  if (!pl_object_at(address, &object)) return;
  k = known_of(&object);
  if (k) atomic_fetch_or(&k->state, LEFT);
}
