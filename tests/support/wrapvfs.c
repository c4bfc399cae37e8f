/*
 * wrapvfs.c - see wrapvfs.h.
 */
#include "wrapvfs.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"

enum { ALIGN = 16 };

static size_t aligned(size_t size)
{
  return (size + ALIGN - 1) & ~(size_t)(ALIGN - 1);
}

typedef struct wrap_vfs {
  sqlite3_vfs vfs;
  sqlite3_vfs *below;
  const wrap_rules *rules;
} wrap_vfs;

static wrap_vfs *vfs_of(sqlite3_vfs *vfs)
{
  return vfs->pAppData;
}

static void tell(const wrap_rules *rules, wrap_call call)
{
  if (rules->before) rules->before(&call);
}

/* ---------------------------------------------------------------- files */

#define FILE_OF(file) ((wrap_file *)(file))
#define BELOW(file)   (FILE_OF(file)->below)
#define TELL(what, ...)                                                                                      \
  tell(FILE_OF(file)->rules, (wrap_call){.op = (what), .file = FILE_OF(file), __VA_ARGS__})

static int answered(sqlite3_file *file, wrap_call call, int rc)
{
  call.file = FILE_OF(file);
  if (call.file->rules->after) call.file->rules->after(&call, rc);
  return rc;
}

static int x_close(sqlite3_file *file)
{
  return BELOW(file)->pMethods->xClose(BELOW(file));
}
static int x_read(sqlite3_file *file, void *data, int amount, sqlite3_int64 offset)
{
  TELL(WRAP_READ, .a = 0);
  return BELOW(file)->pMethods->xRead(BELOW(file), data, amount, offset);
}
static int x_write(sqlite3_file *file, const void *data, int amount, sqlite3_int64 offset)
{
  TELL(WRAP_WRITE, .a = 0);
  return BELOW(file)->pMethods->xWrite(BELOW(file), data, amount, offset);
}
static int x_truncate(sqlite3_file *file, sqlite3_int64 size)
{
  TELL(WRAP_TRUNCATE, .a = 0);
  return BELOW(file)->pMethods->xTruncate(BELOW(file), size);
}
static int x_sync(sqlite3_file *file, int flags)
{
  TELL(WRAP_SYNC, .flags = flags);
  return BELOW(file)->pMethods->xSync(BELOW(file), flags);
}
static int x_size(sqlite3_file *file, sqlite3_int64 *out)
{
  TELL(WRAP_SIZE, .a = 0);
  return BELOW(file)->pMethods->xFileSize(BELOW(file), out);
}
static int x_lock(sqlite3_file *file, int level)
{
  TELL(WRAP_LOCK, .a = level);
  return answered(file, (wrap_call){.op = WRAP_LOCK, .a = level},
                  BELOW(file)->pMethods->xLock(BELOW(file), level));
}
static int x_unlock(sqlite3_file *file, int level)
{
  TELL(WRAP_UNLOCK, .a = level);
  return BELOW(file)->pMethods->xUnlock(BELOW(file), level);
}
static int x_check_reserved(sqlite3_file *file, int *out)
{
  int rc = BELOW(file)->pMethods->xCheckReservedLock(BELOW(file), out);

  return answered(file, (wrap_call){.op = WRAP_CHECK_RESERVED, .a = *out}, rc);
}
static int x_control(sqlite3_file *file, int op, void *arg)
{
  return BELOW(file)->pMethods->xFileControl(BELOW(file), op, arg);
}
static int x_sector_size(sqlite3_file *file)
{
  return BELOW(file)->pMethods->xSectorSize(BELOW(file));
}
static int x_characteristics(sqlite3_file *file)
{
  return BELOW(file)->pMethods->xDeviceCharacteristics(BELOW(file));
}
static int x_shm_map(sqlite3_file *file, int region, int size, int extend, void volatile **out)
{
  const wrap_rules *rules = FILE_OF(file)->rules;
  int rc;

  TELL(WRAP_SHM_MAP, .a = region);
  rc = BELOW(file)->pMethods->xShmMap(BELOW(file), region, size, extend, out);
  if (rc == SQLITE_OK && rules->shm_mapped) rules->shm_mapped(FILE_OF(file), region, *out);
  return rc;
}
static int x_shm_lock(sqlite3_file *file, int slot, int n, int flags)
{
  const wrap_rules *rules = FILE_OF(file)->rules;

  TELL(WRAP_SHM_LOCK, .a = slot, .n = n, .flags = flags);
  if (rules->shm_lock) return rules->shm_lock(FILE_OF(file), slot, n, flags);
  return answered(file, (wrap_call){.op = WRAP_SHM_LOCK, .a = slot, .n = n, .flags = flags},
                  BELOW(file)->pMethods->xShmLock(BELOW(file), slot, n, flags));
}
static void x_shm_barrier(sqlite3_file *file)
{
  TELL(WRAP_SHM_BARRIER, .a = 0);
  BELOW(file)->pMethods->xShmBarrier(BELOW(file));
}
static int x_shm_unmap(sqlite3_file *file, int remove)
{
  const wrap_rules *rules = FILE_OF(file)->rules;

  TELL(WRAP_SHM_UNMAP, .a = 0);
  if (rules->shm_mapped) rules->shm_mapped(FILE_OF(file), 0, NULL);
  return BELOW(file)->pMethods->xShmUnmap(BELOW(file), remove);
}
static int x_fetch(sqlite3_file *file, sqlite3_int64 offset, int amount, void **out)
{
  TELL(WRAP_FETCH, .a = 0);
  return BELOW(file)->pMethods->xFetch(BELOW(file), offset, amount, out);
}
static int x_unfetch(sqlite3_file *file, sqlite3_int64 offset, void *page)
{
  TELL(WRAP_UNFETCH, .a = 0);
  return BELOW(file)->pMethods->xUnfetch(BELOW(file), offset, page);
}

static const sqlite3_io_methods methods = {
    .iVersion = 3,
    .xClose = x_close,
    .xRead = x_read,
    .xWrite = x_write,
    .xTruncate = x_truncate,
    .xSync = x_sync,
    .xFileSize = x_size,
    .xLock = x_lock,
    .xUnlock = x_unlock,
    .xCheckReservedLock = x_check_reserved,
    .xFileControl = x_control,
    .xSectorSize = x_sector_size,
    .xDeviceCharacteristics = x_characteristics,
    .xShmMap = x_shm_map,
    .xShmLock = x_shm_lock,
    .xShmBarrier = x_shm_barrier,
    .xShmUnmap = x_shm_unmap,
    .xFetch = x_fetch,
    .xUnfetch = x_unfetch,
};

/* ---------------------------------------------------------------- the VFS */

static int x_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out_flags)
{
  wrap_vfs *own = vfs_of(vfs);
  wrap_file *made = FILE_OF(file);
  size_t head = aligned(sizeof *made);
  int rc;

  if (!(flags &
        (SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_WAL | (own->rules->journals ? SQLITE_OPEN_MAIN_JOURNAL : 0))))
    return own->below->xOpen(own->below, name, file, flags, out_flags);
  memset(made, 0, head + own->rules->extra);
  made->rules = own->rules;
  made->flags = flags;
  made->extra = (char *)made + head;
  made->below = (sqlite3_file *)((char *)made + head + aligned(own->rules->extra));
  rc = own->below->xOpen(own->below, name, made->below, flags, out_flags);
  if (rc) return rc;
  if (made->below->pMethods->iVersion < 3) check_broken("the VFS below has no version 3 files");
  made->pMethods = &methods;
  if ((flags & SQLITE_OPEN_MAIN_DB) && own->rules->opened) own->rules->opened(made);
  return SQLITE_OK;
}

static int x_delete(sqlite3_vfs *vfs, const char *name, int sync_dir)
{
  return vfs_of(vfs)->below->xDelete(vfs_of(vfs)->below, name, sync_dir);
}
static int x_access(sqlite3_vfs *vfs, const char *name, int flags, int *out)
{
  return vfs_of(vfs)->below->xAccess(vfs_of(vfs)->below, name, flags, out);
}
static int x_full_pathname(sqlite3_vfs *vfs, const char *name, int size, char *out)
{
  return vfs_of(vfs)->below->xFullPathname(vfs_of(vfs)->below, name, size, out);
}
static int x_sleep(sqlite3_vfs *vfs, int microseconds)
{
  const wrap_rules *rules = vfs_of(vfs)->rules;

  tell(rules, (wrap_call){.op = WRAP_SLEEP});
  return rules->before ? microseconds : vfs_of(vfs)->below->xSleep(vfs_of(vfs)->below, microseconds);
}

int wrapvfs_register(const wrap_rules *rules, int make_default)
{
  sqlite3_vfs *below = sqlite3_vfs_find(rules->below);
  wrap_vfs *made = calloc(1, sizeof *made); /* SQLite keeps it for good */

  if (!below || !made) check_broken("no VFS to wrap");
  made->vfs = *below; /* what is not replaced below does not use its vfs argument: true for unix */
  made->vfs.pNext = NULL;
  made->vfs.zName = rules->name;
  made->vfs.pAppData = made;
  made->vfs.szOsFile = (int)(aligned(sizeof(wrap_file)) + aligned(rules->extra)) + below->szOsFile;
  made->vfs.xOpen = x_open;
  made->vfs.xDelete = x_delete;
  made->vfs.xAccess = x_access;
  made->vfs.xFullPathname = x_full_pathname;
  made->vfs.xSleep = x_sleep;
  made->below = below;
  made->rules = rules;
  return sqlite3_vfs_register(&made->vfs, make_default);
}
