/*
 * faulty.c - see faulty.h. All that it does is in fault(); the rest hands each call on.
 */
#include "faulty.h"

#include <sqlite3.h>
#include <sys/mman.h>

#include "check.h"

typedef struct faulty_file {
  sqlite3_file base;
  int kind; /* FAULTY_DB ..., FAULTY_FILES = none of them */
} faulty_file;

static sqlite3_vfs *unix_vfs;

static sqlite3_file *real(sqlite3_file *file)
{
  return (sqlite3_file *)((faulty_file *)file + 1);
}

faulty_plan *faulty(void)
{
  static faulty_plan *plan;

  if (plan) return plan;
  plan = mmap(NULL, sizeof *plan, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (plan == MAP_FAILED) check_broken("shared memory");
  return plan;
}

void faulty_arm(int file, int call, int code)
{
  faulty_plan *p = faulty();

  for (int f = 0; f < FAULTY_FILES; f++)
    for (int c = 0; c < FAULTY_CALLS; c++) atomic_store(&p->done[f][c], 0);
  atomic_store(&p->file, file);
  atomic_store(&p->call, call);
  atomic_store(&p->failed, 0);
  atomic_store(&p->after, 0);
  atomic_store(&p->code, code);
}

/* The code that this call has to return, 0 = do it. */
static int fault(sqlite3_file *file, int call)
{
  faulty_plan *p = faulty();
  int kind = ((faulty_file *)file)->kind, code;

  if (kind == FAULTY_FILES) return 0;
  if (kind == atomic_load(&p->file) && call == atomic_load(&p->call) && atomic_fetch_sub(&p->after, 1) <= 0) {
    code = atomic_exchange(&p->code, 0);
    if (code) {
      atomic_fetch_add(&p->failed, 1);
      return code;
    }
  }
  atomic_fetch_add(&p->done[kind][call], 1);
  return 0;
}

static int x_write(sqlite3_file *file, const void *data, int amount, sqlite3_int64 offset)
{
  int rc = fault(file, FAULTY_WRITE);
  return rc ? rc : real(file)->pMethods->xWrite(real(file), data, amount, offset);
}
static int x_truncate(sqlite3_file *file, sqlite3_int64 size)
{
  int rc = fault(file, FAULTY_TRUNCATE);
  return rc ? rc : real(file)->pMethods->xTruncate(real(file), size);
}
static int x_sync(sqlite3_file *file, int flags)
{
  int rc = fault(file, FAULTY_SYNC);
  return rc ? rc : real(file)->pMethods->xSync(real(file), flags);
}

static int x_close(sqlite3_file *file)
{
  return real(file)->pMethods->xClose(real(file));
}
static int x_read(sqlite3_file *file, void *data, int amount, sqlite3_int64 offset)
{
  int code = fault(file, FAULTY_READ);

  return code ? code : real(file)->pMethods->xRead(real(file), data, amount, offset);
}
static int x_file_size(sqlite3_file *file, sqlite3_int64 *size)
{
  return real(file)->pMethods->xFileSize(real(file), size);
}
static int x_lock(sqlite3_file *file, int level)
{
  return real(file)->pMethods->xLock(real(file), level);
}
static int x_unlock(sqlite3_file *file, int level)
{
  return real(file)->pMethods->xUnlock(real(file), level);
}
static int x_check_reserved_lock(sqlite3_file *file, int *out)
{
  return real(file)->pMethods->xCheckReservedLock(real(file), out);
}
static int x_file_control(sqlite3_file *file, int op, void *arg)
{
  return real(file)->pMethods->xFileControl(real(file), op, arg);
}
static int x_sector_size(sqlite3_file *file)
{
  return real(file)->pMethods->xSectorSize(real(file));
}
static int x_device(sqlite3_file *file)
{
  return real(file)->pMethods->xDeviceCharacteristics(real(file));
}
static int x_shm_map(sqlite3_file *file, int region, int size, int extend, void volatile **out)
{
  return real(file)->pMethods->xShmMap(real(file), region, size, extend, out);
}
static int x_shm_lock(sqlite3_file *file, int offset, int n, int flags)
{
  return real(file)->pMethods->xShmLock(real(file), offset, n, flags);
}
static void x_shm_barrier(sqlite3_file *file)
{
  real(file)->pMethods->xShmBarrier(real(file));
}
static int x_shm_unmap(sqlite3_file *file, int remove)
{
  return real(file)->pMethods->xShmUnmap(real(file), remove);
}
static int x_fetch(sqlite3_file *file, sqlite3_int64 offset, int amount, void **out)
{
  return real(file)->pMethods->xFetch(real(file), offset, amount, out);
}
static int x_unfetch(sqlite3_file *file, sqlite3_int64 offset, void *page)
{
  return real(file)->pMethods->xUnfetch(real(file), offset, page);
}

static const sqlite3_io_methods methods = {3,
                                           x_close,
                                           x_read,
                                           x_write,
                                           x_truncate,
                                           x_sync,
                                           x_file_size,
                                           x_lock,
                                           x_unlock,
                                           x_check_reserved_lock,
                                           x_file_control,
                                           x_sector_size,
                                           x_device,
                                           x_shm_map,
                                           x_shm_lock,
                                           x_shm_barrier,
                                           x_shm_unmap,
                                           x_fetch,
                                           x_unfetch};

static int x_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out_flags)
{
  faulty_file *f = (faulty_file *)file;
  int rc;

  (void)vfs;
  f->kind = flags & SQLITE_OPEN_MAIN_DB        ? FAULTY_DB
            : flags & SQLITE_OPEN_WAL          ? FAULTY_WAL
            : flags & SQLITE_OPEN_MAIN_JOURNAL ? FAULTY_JOURNAL
                                               : FAULTY_FILES;
  f->base.pMethods = NULL;
  rc = unix_vfs->xOpen(unix_vfs, name, real(file), flags, out_flags);
  if (real(file)->pMethods) f->base.pMethods = &methods;
  return rc;
}

void faulty_register(void)
{
  static sqlite3_vfs vfs;

  unix_vfs = sqlite3_vfs_find("unix");
  if (!unix_vfs) check_skip("this SQLite has no VFS \"unix\"");
  vfs = *unix_vfs;
  vfs.zName = "faulty";
  vfs.szOsFile += (int)sizeof(faulty_file);
  vfs.pNext = NULL;
  vfs.xOpen = x_open;
  if (sqlite3_vfs_register(&vfs, 1)) check_broken("registering a VFS");
}
