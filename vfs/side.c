/*
 * side.c - the -journal and the -wal of an open database.
 *
 * They are wrapped for two reasons only: a forked child that does not own the connection must not write,
 * truncate or delete its parent's journal (F14), and a hard error on the -wal latches the database's handle
 * (F21). A side file's database is open as long as it is: SQLite closes them in that order.
 */
#include <stdlib.h>
#include <string.h>

#include "guard.h"

typedef struct side {
  hf_node *of;
  bool wal;
  sqlite3_file base[]; /* szOsFile bytes */
} side;

typedef struct side_file {
  const sqlite3_io_methods *pMethods;
  side *at;
} side_file;

/* The database whose journal this thread closed last, if the journal is not (or not any more) this handle's
 * to delete. Compared, never followed. */
static __thread const hf_node *closed_not_ours HF_TLS;

static side *side_of(sqlite3_file *file)
{
  return ((side_file *)file)->at;
}

/*
 * Without the lock, the file of that name may be the journal of whoever has it now: it is not touched. One
 * that is left is harmless, because it has the pages as they are, and whoever comes first rolls it back.
 */
static int may_finish(side *at)
{
  return at->of->verify && at->of->reserved ? hf_guard_still_held(at->of) : SQLITE_OK;
}

static int hf_side_xClose(sqlite3_file *file)
{
  side *at = side_of(file);
  int rc = at->base->pMethods->xClose(at->base);

  if (at->wal && --at->of->wal_files == 0) at->of->wal.known = false;
  /* DELETE mode closes its journal and then deletes it, on the same thread: see hf_side_keep(). */
  closed_not_ours = !at->wal && (at->of->generation != hf_generation() || may_finish(at)) ? at->of : NULL;
  hf_node_release(at->of);
  free(at);
  file->pMethods = NULL;
  return rc;
}
static int hf_side_xRead(sqlite3_file *file, void *data, int amount, sqlite3_int64 offset)
{
  side *at = side_of(file);
  return at->base->pMethods->xRead(at->base, data, amount, offset);
}
static int after_write(side *at, int rc, const char *what)
{
  return at->wal ? hf_guard_written(at->of, rc, what) : rc;
}

static int may_write(side *at)
{
  if (!hf_guard_process(at->of)) return SQLITE_MISUSE;
  if (!at->wal) return may_finish(at); /* a latch does not mind: it may still be rolled back */
  return hf_guard_latched(at->of);
}

static int hf_side_xWrite(sqlite3_file *file, const void *data, int amount, sqlite3_int64 offset)
{
  side *at = side_of(file);
  int rc = may_write(at);

  if (rc) return rc;
  return after_write(at, at->base->pMethods->xWrite(at->base, data, amount, offset),
                     "a write of the -wal failed");
}
/* A journal is written many times for each transaction, and nothing of it is latched. */
static int hf_journal_xWrite(sqlite3_file *file, const void *data, int amount, sqlite3_int64 offset)
{
  side *at = side_of(file);
  /* Where locks are only verified: two that believe to write may have the same journal open. */
  int rc = at->of->verify ? may_write(at) : SQLITE_OK;

  if (rc) return rc;
  if (!hf_guard_process(at->of)) return SQLITE_MISUSE;
  return at->base->pMethods->xWrite(at->base, data, amount, offset);
}

static int hf_side_xTruncate(sqlite3_file *file, sqlite3_int64 size)
{
  side *at = side_of(file);
  int rc = may_write(at);

  if (rc) return rc;
  return after_write(at, at->base->pMethods->xTruncate(at->base, size), "a truncate of the -wal failed");
}
static int hf_side_xSync(sqlite3_file *file, int flags)
{
  side *at = side_of(file);
  if (!hf_guard_process(at->of)) return SQLITE_MISUSE;
  return after_write(at, at->base->pMethods->xSync(at->base, flags), "a sync of the -wal failed");
}
static int hf_side_xFileSize(sqlite3_file *file, sqlite3_int64 *out)
{
  side *at = side_of(file);
  return at->base->pMethods->xFileSize(at->base, out);
}
static int hf_side_xLock(sqlite3_file *file, int level)
{
  side *at = side_of(file);
  return at->base->pMethods->xLock(at->base, level);
}
static int hf_side_xUnlock(sqlite3_file *file, int level)
{
  side *at = side_of(file);
  return at->base->pMethods->xUnlock(at->base, level);
}
static int hf_side_xCheckReservedLock(sqlite3_file *file, int *out)
{
  side *at = side_of(file);
  return at->base->pMethods->xCheckReservedLock(at->base, out);
}
static int hf_side_xFileControl(sqlite3_file *file, int op, void *arg)
{
  side *at = side_of(file);
  return at->base->pMethods->xFileControl(at->base, op, arg);
}
static int hf_side_xSectorSize(sqlite3_file *file)
{
  side *at = side_of(file);
  return at->base->pMethods->xSectorSize(at->base);
}
static int hf_side_xDeviceCharacteristics(sqlite3_file *file)
{
  side *at = side_of(file);
  return at->base->pMethods->xDeviceCharacteristics(at->base);
}

/* SQLite uses no method of version 2 or 3 on a journal or a WAL file. */
static const sqlite3_io_methods wal_methods = {.iVersion = 1,
                                               .xClose = hf_side_xClose,
                                               .xRead = hf_side_xRead,
                                               .xWrite = hf_side_xWrite,
                                               .xTruncate = hf_side_xTruncate,
                                               .xSync = hf_side_xSync,
                                               .xFileSize = hf_side_xFileSize,
                                               .xLock = hf_side_xLock,
                                               .xUnlock = hf_side_xUnlock,
                                               .xCheckReservedLock = hf_side_xCheckReservedLock,
                                               .xFileControl = hf_side_xFileControl,
                                               .xSectorSize = hf_side_xSectorSize,
                                               .xDeviceCharacteristics = hf_side_xDeviceCharacteristics};

static const sqlite3_io_methods journal_methods = {.iVersion = 1,
                                                   .xClose = hf_side_xClose,
                                                   .xRead = hf_side_xRead,
                                                   .xWrite = hf_journal_xWrite,
                                                   .xTruncate = hf_side_xTruncate,
                                                   .xSync = hf_side_xSync,
                                                   .xFileSize = hf_side_xFileSize,
                                                   .xLock = hf_side_xLock,
                                                   .xUnlock = hf_side_xUnlock,
                                                   .xCheckReservedLock = hf_side_xCheckReservedLock,
                                                   .xFileControl = hf_side_xFileControl,
                                                   .xSectorSize = hf_side_xSectorSize,
                                                   .xDeviceCharacteristics = hf_side_xDeviceCharacteristics};

/*
 * Whose journal is it? SQLite opens it on the thread that has just locked the database, so that handle is the
 * one. Else it is the one that writes, of which there is one for each file and process. Takes a reference.
 */
static hf_node *database_of(hf_vfs *owner, const char *name, bool wal)
{
  const hf_node *last = hf_last_locked();
  hf_node *found = NULL;
  size_t stem;

  pthread_mutex_lock(&owner->mutex);
  for (hf_node *one = hf_node_by_sidecar(owner, name, &stem); one; one = one->next) {
    if (strncmp(one->path, name, stem) != 0 || one->path[stem] != 0) continue;
    if (!found || one == last || (found != last && !wal && one->reserved)) found = one;
  }
  if (found) atomic_fetch_add(&found->references, 1);
  pthread_mutex_unlock(&owner->mutex);
  return found;
}

/* Returns SQLITE_NOTFOUND when the file is left to the base. */
static int open_for(hf_node *of, const char *name, sqlite3_file *file, int flags, int *out_flags)
{
  sqlite3_vfs *base = of->owner->base;
  side *at;
  int rc;

  if (of->set.mode != HOLDFAST_MODE_ENFORCE) return SQLITE_NOTFOUND;
  if (!hf_guard_process(of)) return SQLITE_MISUSE;
  if (!(flags & SQLITE_OPEN_WAL) && of->verify && of->reserved && hf_guard_still_held(of))
    return SQLITE_IOERR_LOCK;
  at = malloc(sizeof *at +
              (size_t)base->szOsFile); /* calloc() is twenty times dearer, once for each journal */
  if (!at) return SQLITE_NOMEM;
  memset(at->base, 0, (size_t)base->szOsFile);
  at->of = of;
  at->wal = (flags & SQLITE_OPEN_WAL) != 0;
  rc = base->xOpen(base, name, at->base, flags, out_flags);
  if (rc) {
    if (at->base->pMethods) (void)at->base->pMethods->xClose(at->base); /* rc says more */
    free(at);
    return rc;
  }
  if (at->wal && of->wal_files++ == 0) hf_guard_note(of, &of->wal, "-wal");
  ((side_file *)file)->at = at;
  file->pMethods = at->wal ? &wal_methods : &journal_methods;
  return SQLITE_OK;
}

int hf_side_open(hf_vfs *owner, const char *name, sqlite3_file *file, int flags, int *out_flags)
{
  hf_node *of = database_of(owner, name, (flags & SQLITE_OPEN_WAL) != 0);
  int rc = of ? open_for(of, name, file, flags, out_flags) : SQLITE_NOTFOUND;

  if (rc == SQLITE_OK) return rc; /* the side keeps the reference */
  if (of) hf_node_release(of);
  return rc == SQLITE_NOTFOUND ? owner->base->xOpen(owner->base, name, file, flags, out_flags) : rc;
}

/* xDelete: the journal that this thread closed a moment ago without owning it stays. */
bool hf_side_keep(hf_vfs *owner, const char *name)
{
  bool keep = false;
  size_t stem;

  if (!closed_not_ours) return false;
  pthread_mutex_lock(&owner->mutex);
  for (const hf_node *one = hf_node_by_sidecar(owner, name, &stem); one && !keep; one = one->next)
    keep = one == closed_not_ours && strncmp(one->path, name, stem) == 0 && one->path[stem] == 0;
  pthread_mutex_unlock(&owner->mutex);
  closed_not_ours = NULL;
  return keep;
}
