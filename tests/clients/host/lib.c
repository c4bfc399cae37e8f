/*
 * lib.c - opens SQLite libraries side by side and counts the checks made on them.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib.h"

static pthread_mutex_t count_mutex = PTHREAD_MUTEX_INITIALIZER;
static int checks, failures; /* under count_mutex */

bool check(const lib *one, bool ok, const char *format, ...)
{
  va_list args;

  pthread_mutex_lock(&count_mutex);
  checks++;
  if (!ok) {
    failures++;
    printf("FAIL SQLite %s: ", one->version ? one->version : "?");
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
    fflush(stdout);
  }
  pthread_mutex_unlock(&count_mutex);
  return ok;
}

bool check_text(const lib *one, const char *what, const char *got, const char *wanted)
{
  return check(one, strcmp(got, wanted) == 0, "%s: wanted \"%s\", got \"%s\"", what, wanted, got);
}

int check_summary(void)
{
  printf("%d checks, %d failed\n", checks, failures);
  return checks == 0 || failures != 0;
}

static void give_up(const lib *one, const char *what, const char *why)
{
  (void)check(one, false, "%s: %s", what, why);
  exit(check_summary());
}

static void *function(lib *one, const char *name)
{
  void *found = dlsym(one->handle, name);

  if (!found) give_up(one, name, "not in this library");
  return found;
}

void lib_open(lib *one, const char *file)
{
  one->file = file;
  one->handle = dlopen(file, RTLD_NOW | RTLD_LOCAL);
  if (!one->handle) give_up(one, file, dlerror());
#define LIB_FIND(name) *(void **)&one->call.name = function(one, "sqlite3_" #name);
  LIB_FUNCTIONS(LIB_FIND)
#undef LIB_FIND
  one->version = one->call.libversion();
}

void lib_close(lib *one)
{
  one->version = NULL;
  (void)check(one, dlclose(one->handle) == 0, "dlclose: %s", one->file);
  (void)check(one, !is_mapped(strrchr(one->file, '/')), "%s is still there after dlclose", one->file);
}

int lib_load(lib *one, const char *extension)
{
  sqlite3 *db = db_open(one, ":memory:", NULL);
  char *message = NULL;
  int rc;

  (void)one->call.enable_load_extension(db, 1); /* if it fails, so does the next call */
  rc = one->call.load_extension(db, extension, NULL, &message);
  (void)check(one, rc == SQLITE_OK, "load_extension %d: %s", rc, message ? message : "");
  one->call.free(message);
  db_close(one, db);
  return rc;
}

sqlite3 *db_open(lib *one, const char *path, const char *vfs)
{
  sqlite3 *db = NULL;
  int rc = one->call.open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI, vfs);

  if (rc || !db) give_up(one, path, db ? one->call.errmsg(db) : "no memory");
  return db;
}

void db_close(lib *one, sqlite3 *db)
{
  int rc = one->call.close(db);

  (void)check(one, rc == SQLITE_OK, "close: %d", rc);
}

static int take_first(void *out, int columns, char **values, char **names)
{
  (void)names;
  if (columns > 0 && values[0]) snprintf(out, TEXT_MAX, "%s", values[0]);
  return 0;
}

int db_ask(lib *one, sqlite3 *db, const char *sql, char text[TEXT_MAX])
{
  text[0] = 0;
  return one->call.exec(db, sql, take_first, text, NULL);
}

void db_vfs_name(lib *one, sqlite3 *db, char text[TEXT_MAX])
{
  char *name = NULL;
  int rc = one->call.file_control(db, "main", SQLITE_FCNTL_VFSNAME, &name);

  snprintf(text, TEXT_MAX, "%s", rc == SQLITE_OK && name ? name : "");
  one->call.free(name);
}

bool is_mapped(const char *name)
{
  FILE *maps = fopen("/proc/self/maps", "re");
  size_t length = strlen(name);
  char line[TEXT_MAX];
  bool found = false;

  while (maps && !found && fgets(line, sizeof line, maps)) {
    size_t end = strcspn(line, "\n");
    found = end >= length && memcmp(line + end - length, name, length) == 0;
  }
  if (maps) (void)fclose(maps); /* only read */
  return found;
}
