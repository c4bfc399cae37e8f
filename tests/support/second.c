/*
 * second.c - see second.h.
 */
#include "second.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "files.h"
#include "peer.h"

static struct {
  int (*open_v2)(const char *, sqlite3 **, int, const char *);
  int (*exec)(sqlite3 *, const char *, int (*)(void *, int, char **, char **), void *, char **);
  int (*close)(sqlite3 *);
  int (*extended_errcode)(sqlite3 *);
  const char *(*errmsg)(sqlite3 *);
  void (*free)(void *);
  int (*db_config)(sqlite3 *, int, ...);
  sqlite3_vfs *(*vfs_find)(const char *);
  int (*load_extension)(sqlite3 *, const char *, const char *, char **);
} lib;

static void find(void *library, const char *name, void *to)
{
  void *symbol = dlsym(library, name);

  if (!symbol) check_broken(name);
  memcpy(to, &symbol, sizeof symbol);
}

static void *load_copy(void)
{
  char name[64];
  Dl_info first;
  char *bytes;
  size_t size;
  void *library;

  if (!dladdr((void *)(uintptr_t)&sqlite3_libversion, &first) || !strstr(first.dli_fname, ".so"))
    check_skip("SQLite is not a shared library in this program");
  bytes = file_read(first.dli_fname, &size);
  if (!bytes) check_broken(first.dli_fname);
  (void)snprintf(name, sizeof name, "./second-sqlite-%d.so", (int)getpid()); /* never a name that is loaded */
  file_write(name, bytes, size);
  free(bytes);
  library = dlopen(name, RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
  if (!library) check_broken(dlerror());
  file_remove(name);
  return library;
}

static void load_shim(void)
{
  sqlite3 *db = NULL;
  char *message = NULL;
  int rc = second_open(":memory:", &db);

  if (rc == SQLITE_OK) rc = lib.db_config(db, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 1, (int *)NULL);
  if (rc == SQLITE_OK) rc = lib.load_extension(db, shim_path(), NULL, &message);
  if (rc) printf("load_extension: %s\n", message ? message : "");
  lib.free(message);
  (void)lib.close(db); /* the shim stays loaded */
  if (rc) check_broken("the shim in a second library");
}

static void (*watch)(int fd);
static int (*next_close)(int fd);

static int watched_close(int fd)
{
  watch(fd);
  return next_close(fd);
}

static void put_below(void)
{
  sqlite3_vfs *unix_vfs = lib.vfs_find("unix");
  sqlite3_syscall_ptr old = unix_vfs ? unix_vfs->xGetSystemCall(unix_vfs, "close") : NULL;

  if (!old) check_broken("the system calls of a second library");
  memcpy(&next_close, &old, sizeof next_close);
  if (unix_vfs->xSetSystemCall(unix_vfs, "close", (sqlite3_syscall_ptr)watched_close)) check_broken("close");
}

void second_watch_closes(void (*run)(int fd))
{
  watch = run;
}

void second_load(int shim)
{
  const char *(*version)(void) = NULL;
  void *library;

  if (lib.close) return;
  library = load_copy();
  find(library, "sqlite3_libversion", &version);
  if (version == sqlite3_libversion) check_broken("the second library is the first one");
  find(library, "sqlite3_open_v2", &lib.open_v2);
  find(library, "sqlite3_exec", &lib.exec);
  find(library, "sqlite3_extended_errcode", &lib.extended_errcode);
  find(library, "sqlite3_errmsg", &lib.errmsg);
  find(library, "sqlite3_free", &lib.free);
  find(library, "sqlite3_db_config", &lib.db_config);
  find(library, "sqlite3_vfs_find", &lib.vfs_find);
  find(library, "sqlite3_load_extension", &lib.load_extension);
  find(library, "sqlite3_close", &lib.close);
  if (watch) put_below();
  if (shim) load_shim();
}

int second_open(const char *path, sqlite3 **db)
{
  return lib.open_v2(path, db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);
}

int second_open_readonly(const char *path, sqlite3 **db)
{
  return lib.open_v2(path, db, SQLITE_OPEN_READONLY, NULL);
}

static int keep(void *out, int columns, char **values, char **names)
{
  (void)names;
  if (columns > 0) (void)snprintf(out, 200, "%s", values[0] ? values[0] : "");
  return 0;
}

int second_sql(sqlite3 *db, const char *sql, char *out, size_t size)
{
  char value[200] = "";
  int rc = lib.exec(db, sql, keep, value, NULL);

  if (rc) rc = lib.extended_errcode(db);
  (void)snprintf(out, size, "%s", rc ? lib.errmsg(db) : value); /* a cut message is good enough */
  return rc;
}

int second_close(sqlite3 *db)
{
  return lib.close(db);
}
