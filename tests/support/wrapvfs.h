/*
 * wrapvfs.h - a VFS around another one, so that a test sees every call on a database and its -wal.
 *
 * `before` is told of each call before the VFS below gets it; what it does there (note, wait, work on another
 * connection) decides how connections interleave. With it nobody sleeps: WRAP_SLEEP is all that happens.
 * `after` is told how a lock, or the question for RESERVED, was answered. With `shm_lock` and `shm_mapped` a
 * test plays a part of a shim. Files that are neither a database nor its -wal go to the VFS below untouched,
 * and so does a -journal if `journals` is 0.
 */
#ifndef HFT_WRAPVFS_H
#define HFT_WRAPVFS_H

#include <sqlite3.h>
#include <stddef.h>

enum {
  WRAP_READ = 1,
  WRAP_WRITE,
  WRAP_TRUNCATE,
  WRAP_SYNC,
  WRAP_SIZE,
  WRAP_LOCK,
  WRAP_UNLOCK,
  WRAP_CHECK_RESERVED,
  WRAP_SHM_MAP,
  WRAP_SHM_LOCK,
  WRAP_SHM_BARRIER,
  WRAP_SHM_UNMAP,
  WRAP_FETCH,
  WRAP_UNFETCH,
  WRAP_SLEEP
};

typedef struct wrap_rules wrap_rules;

typedef struct wrap_file {
  const sqlite3_io_methods *pMethods;
  const wrap_rules *rules;
  sqlite3_file *below;
  void *extra; /* rules->extra bytes, zero at open */
  int flags;   /* of xOpen: SQLITE_OPEN_MAIN_DB, _MAIN_JOURNAL or _WAL tell what it is */
} wrap_file;

typedef struct wrap_call {
  int op;          /* WRAP_... */
  wrap_file *file; /* NULL: WRAP_SLEEP */
  int a, n, flags; /* WRAP_SHM_LOCK: slot, count, flags; WRAP_LOCK and _UNLOCK: a = level;
                      WRAP_CHECK_RESERVED: a = the answer; else 0 */
} wrap_call;

/* All members but the name may be NULL or 0. Must stay where it is: SQLite keeps it. */
struct wrap_rules {
  const char *name;
  const char *below; /* NULL: what is the default at that time */
  size_t extra;
  void (*opened)(wrap_file *file);                              /* a main database */
  int journals;                                                 /* not 0: they are wrapped, too */
  void (*before)(const wrap_call *call);                        /* NULL: nothing */
  void (*after)(const wrap_call *call, int rc);                 /* WRAP_LOCK, _CHECK_RESERVED, _SHM_LOCK */
  int (*shm_lock)(wrap_file *file, int slot, int n, int flags); /* instead of the one below */
  void (*shm_mapped)(wrap_file *file, int region, volatile void *page); /* (0, NULL): unmapping */
};

/* Registers the VFS; SQLITE_OK or a code. */
int wrapvfs_register(const wrap_rules *rules, int make_default);

#endif
