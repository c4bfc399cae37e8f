/*
 * pass.c - methods that only forward to the base, and the tables of methods.
 *
 * Each one exists where the base has it and nowhere else: SQLite looks at versions and at null pointers to
 * learn what a VFS can do, and the shim must not promise more or less. Where WAL cannot work, shared memory
 * and mmap are taken away by handing out version 1.
 */
#include <stddef.h>

#include "guard.h"
#include "nfs.h"
#include "records.h"
#include "smb.h"

#define BASE(vfs) (hf_vfs_of(vfs)->base)

static int hf_xDelete(sqlite3_vfs *vfs, const char *name, int sync_dir)
{
  sqlite3_vfs *base = BASE(vfs);

  if (HF_UNLIKELY(hf_closed_not_ours) && hf_side_keep(hf_vfs_of(vfs), name)) return SQLITE_OK;
  if (HF_UNLIKELY(atomic_load_explicit(&hf_vfs_of(vfs)->fresh_files, memory_order_relaxed) > 0)) {
    int rc = hf_nfs_delete(hf_vfs_of(vfs), name);
    if (rc == SQLITE_NOTFOUND) rc = hf_smb_delete(hf_vfs_of(vfs), name, sync_dir != 0);
    if (rc != SQLITE_NOTFOUND) return rc;
  }
  return base->xDelete(base, name, sync_dir);
}
static int hf_xFullPathname(sqlite3_vfs *vfs, const char *name, int size, char *out)
{
  return BASE(vfs)->xFullPathname(BASE(vfs), name, size, out);
}
static void *hf_xDlOpen(sqlite3_vfs *vfs, const char *name)
{
  return BASE(vfs)->xDlOpen(BASE(vfs), name);
}
static void hf_xDlError(sqlite3_vfs *vfs, int size, char *out)
{
  BASE(vfs)->xDlError(BASE(vfs), size, out);
}
static void (*hf_xDlSym(sqlite3_vfs *vfs, void *handle, const char *symbol))(void)
{
  return BASE(vfs)->xDlSym(BASE(vfs), handle, symbol);
}
static void hf_xDlClose(sqlite3_vfs *vfs, void *handle)
{
  BASE(vfs)->xDlClose(BASE(vfs), handle);
}
static int hf_xRandomness(sqlite3_vfs *vfs, int size, char *out)
{
  return BASE(vfs)->xRandomness(BASE(vfs), size, out);
}
static int hf_xSleep(sqlite3_vfs *vfs, int microseconds)
{
  return BASE(vfs)->xSleep(BASE(vfs), microseconds);
}
static int hf_xCurrentTime(sqlite3_vfs *vfs, double *out)
{
  return BASE(vfs)->xCurrentTime(BASE(vfs), out);
}
static int hf_xGetLastError(sqlite3_vfs *vfs, int size, char *out)
{
  return BASE(vfs)->xGetLastError(BASE(vfs), size, out);
}
static int hf_xCurrentTimeInt64(sqlite3_vfs *vfs, sqlite3_int64 *out)
{
  return BASE(vfs)->xCurrentTimeInt64(BASE(vfs), out);
}
static int hf_xSetSystemCall(sqlite3_vfs *vfs, const char *name, sqlite3_syscall_ptr call)
{
  return BASE(vfs)->xSetSystemCall(BASE(vfs), name, call);
}
static sqlite3_syscall_ptr hf_xGetSystemCall(sqlite3_vfs *vfs, const char *name)
{
  return BASE(vfs)->xGetSystemCall(BASE(vfs), name);
}
static const char *hf_xNextSystemCall(sqlite3_vfs *vfs, const char *name)
{
  return BASE(vfs)->xNextSystemCall(BASE(vfs), name);
}

#define MIRROR(to, from, slot) (to)->slot = (from)->slot ? hf_##slot : NULL

void hf_pass_vfs_methods(sqlite3_vfs *vfs, const sqlite3_vfs *base)
{
  MIRROR(vfs, base, xDelete);
  MIRROR(vfs, base, xFullPathname);
  MIRROR(vfs, base, xDlOpen);
  MIRROR(vfs, base, xDlError);
  MIRROR(vfs, base, xDlSym);
  MIRROR(vfs, base, xDlClose);
  MIRROR(vfs, base, xRandomness);
  MIRROR(vfs, base, xSleep);
  MIRROR(vfs, base, xCurrentTime);
  MIRROR(vfs, base, xGetLastError);
  if (vfs->iVersion < 2) return;
  MIRROR(vfs, base, xCurrentTimeInt64);
  if (vfs->iVersion < 3) return;
  MIRROR(vfs, base, xSetSystemCall);
  MIRROR(vfs, base, xGetSystemCall);
  MIRROR(vfs, base, xNextSystemCall);
}

static int pass_xRead(sqlite3_file *file, void *data, int amount, sqlite3_int64 offset)
{
  sqlite3_file *base = hf_base_of(file);
  return base->pMethods->xRead(base, data, amount, offset);
}
static int pass_xWrite(sqlite3_file *file, const void *data, int amount, sqlite3_int64 offset)
{
  sqlite3_file *base = hf_base_of(file);
  return base->pMethods->xWrite(base, data, amount, offset);
}
static int pass_xTruncate(sqlite3_file *file, sqlite3_int64 size)
{
  sqlite3_file *base = hf_base_of(file);
  return base->pMethods->xTruncate(base, size);
}
static int pass_xSync(sqlite3_file *file, int flags)
{
  sqlite3_file *base = hf_base_of(file);
  return base->pMethods->xSync(base, flags);
}
static int hf_xFileSize(sqlite3_file *file, sqlite3_int64 *out)
{
  sqlite3_file *base = hf_base_of(file);
  return base->pMethods->xFileSize(base, out);
}
static int pass_xLock(sqlite3_file *file, int level)
{
  sqlite3_file *base = hf_base_of(file);
  return base->pMethods->xLock(base, level);
}
static int pass_xUnlock(sqlite3_file *file, int level)
{
  sqlite3_file *base = hf_base_of(file);
  return base->pMethods->xUnlock(base, level);
}
static int pass_xCheckReservedLock(sqlite3_file *file, int *out)
{
  sqlite3_file *base = hf_base_of(file);
  return base->pMethods->xCheckReservedLock(base, out);
}
static int hf_xSectorSize(sqlite3_file *file)
{
  sqlite3_file *base = hf_base_of(file);
  return base->pMethods->xSectorSize(base);
}
static int hf_xDeviceCharacteristics(sqlite3_file *file)
{
  sqlite3_file *base = hf_base_of(file);
  return base->pMethods->xDeviceCharacteristics(base);
}
static int pass_xShmMap(sqlite3_file *file, int region, int size, int extend, void volatile **out)
{
  hf_node *node = hf_node_of(file);
  int rc = node->base->pMethods->xShmMap(node->base, region, size, extend, out);

  if (rc == SQLITE_OK && !node->shm_mapped) { /* looked at and reported, as all that mode=observe does */
    node->shm_mapped = true;
    hf_guard_second_library(node);
  }
  return rc;
}
static int pass_xShmLock(sqlite3_file *file, int offset, int n, int flags)
{
  sqlite3_file *base = hf_base_of(file);
  return base->pMethods->xShmLock(base, offset, n, flags);
}
static void pass_xShmBarrier(sqlite3_file *file)
{
  sqlite3_file *base = hf_base_of(file);
  base->pMethods->xShmBarrier(base);
}
static int pass_xShmUnmap(sqlite3_file *file, int delete_it)
{
  sqlite3_file *base = hf_base_of(file);
  return base->pMethods->xShmUnmap(base, delete_it);
}
static int hf_xFetch(sqlite3_file *file, sqlite3_int64 offset, int amount, void **out)
{
  sqlite3_file *base = hf_base_of(file);
  return base->pMethods->xFetch(base, offset, amount, out);
}
static int hf_xUnfetch(sqlite3_file *file, sqlite3_int64 offset, void *page)
{
  sqlite3_file *base = hf_base_of(file);
  return base->pMethods->xUnfetch(base, offset, page);
}

/* Where the base has the method: ours that looks, or the one above that does not. */
#define CHOOSE(slot) methods->slot = !base->slot ? NULL : guarded ? hf_##slot : pass_##slot

void hf_pass_io_methods(sqlite3_io_methods *methods, const sqlite3_io_methods *base, bool wal_allowed,
                        bool guarded)
{
  methods->iVersion = !wal_allowed ? 1 : base->iVersion < 3 ? base->iVersion : 3;
  methods->xClose = hf_xClose;
  methods->xFileControl = hf_xFileControl;
  CHOOSE(xRead);
  CHOOSE(xWrite);
  CHOOSE(xTruncate);
  CHOOSE(xSync);
  CHOOSE(xLock);
  CHOOSE(xUnlock);
  CHOOSE(xCheckReservedLock);
  MIRROR(methods, base, xFileSize);
  MIRROR(methods, base, xSectorSize);
  MIRROR(methods, base, xDeviceCharacteristics);
  if (methods->iVersion < 2) return;
  CHOOSE(xShmMap);
  CHOOSE(xShmLock);
  CHOOSE(xShmBarrier);
  CHOOSE(xShmUnmap);
  if (methods->iVersion < 3) return;
  MIRROR(methods, base, xFetch);
  MIRROR(methods, base, xUnfetch);
}
