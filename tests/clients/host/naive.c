/*
 * naive.c - the VFS shim as textbooks write it, to show that host.c sees what is wrong with it.
 *
 * It keeps the API table and the VFS below in globals, as most extensions do. In a process with one
 * SQLite that works. When a second SQLite library loads the same file, the first one's files are opened by
 * the second one's VFS: `host route` must fail then, and the test checks that it does.
 */
#include <sqlite3ext.h>
#include <stddef.h>
SQLITE_EXTENSION_INIT1

static sqlite3_vfs *below;
static sqlite3_vfs naive;

static int naive_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out_flags)
{
  (void)vfs;
  return below->xOpen(below, name, file, flags, out_flags);
}

int sqlite3_naive_init(sqlite3 *db, char **error, const sqlite3_api_routines *routines);

int sqlite3_naive_init(sqlite3 *db, char **error, const sqlite3_api_routines *routines)
{
  SQLITE_EXTENSION_INIT2(routines)
  (void)db;
  (void)error;
  if (sqlite3_vfs_find("naive")) return SQLITE_OK_LOAD_PERMANENTLY;
  below = sqlite3_vfs_find(NULL);
  naive = *below;
  naive.zName = "naive";
  naive.xOpen = naive_open;
  if (sqlite3_vfs_register(&naive, 1)) return SQLITE_ERROR;
  return SQLITE_OK_LOAD_PERMANENTLY;
}
