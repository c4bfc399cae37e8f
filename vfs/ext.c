/*
 * ext.c - the entry points of the loadable extension. Only in holdfast.so.
 *
 * Fills the API table of this SQLite library from what load_extension() hands in. Nothing is kept in a global
 * sqlite3_api: another SQLite in this process may load the same file a moment later. SQL objects are added to
 * the loading connection and, by an automatic extension, to every later one.
 */
#define SQLITE_CORE /* here only: sqlite3ext.h for its structure, without renaming every function */
#include <sqlite3ext.h>

#include <stdio.h>
#include <string.h>

#include "vfs.h"

HOLDFAST_API int sqlite3_holdfast_init(sqlite3 *db, char **error, const sqlite3_api_routines *routines);
HOLDFAST_API int sqlite3_holdfast_auto_init(sqlite3 *db, char **error, const sqlite3_api_routines *routines);

static hf_api api_of(const sqlite3_api_routines *routines)
{
#define HF_FILL(name) .name = routines->name,
  hf_api api = {HF_API_EACH(HF_FILL)};
#undef HF_FILL
  api.interrupt = routines->interruptx;
  if (api.libversion_number() >= 3031000) api.uri_key = routines->uri_key;
  return api;
}

/* Called by SQLite at the end of every open. It never fails one: tables that are missing cost no data. */
static int on_open(sqlite3 *db, char **error, const sqlite3_api_routines *routines)
{
  hf_api api = api_of(routines);
  hf_vfs *owner = hf_vfs_in(&api);

  (void)error;
  if (!owner || hf_nested()) return SQLITE_OK;
  if (hf_connection_ready(owner, db) != SQLITE_OK)
    (void)api.exec(db, "", NULL, NULL, NULL); /* SQLite takes the connection's error code for the open's */
  return SQLITE_OK;
}

static int load(sqlite3 *db, char **error, const sqlite3_api_routines *routines, hf_vfs **out)
{
  hf_api api = api_of(routines);
  char message[300] = "";
  int rc;

  (void)db;
  if (api.libversion_number() < 3015000) {
    snprintf(message, sizeof message, "holdfast: SQLite %s is too old, 3.15.0 is needed", api.libversion());
    rc = SQLITE_ERROR;
  } else {
    rc = hf_register(&api, NULL, out, message, sizeof message);
  }
  if (rc && message[0] && error) {
    *error = api.malloc((int)strlen(message) + 1);
    if (*error) strcpy(*error, message);
  }
  return rc;
}

int sqlite3_holdfast_init(sqlite3 *db, char **error, const sqlite3_api_routines *routines)
{
  hf_vfs *owner = NULL;
  int rc = load(db, error, routines, &owner);

  if (rc) return rc;
  if (owner) {
    rc = routines->auto_extension((void (*)(void))on_open); /* a second time changes nothing */
    if (rc == SQLITE_OK) rc = hf_connection_ready(owner, db);
  }
  return rc ? rc : SQLITE_OK_LOAD_PERMANENTLY;
}

/*
 * For sqlite3_auto_extension(), which takes SQLITE_OK_LOAD_PERMANENTLY for a failure and lets a failure fail
 * the open. So it never fails: a setting that is not known is said on stderr, and the connection works
 * without the shim. holdfast-preload.so calls it once before there is a connection (`db` is NULL), for the
 * VFS alone.
 */
int sqlite3_holdfast_auto_init(sqlite3 *db, char **error, const sqlite3_api_routines *routines)
{
  hf_vfs *owner = NULL;
  char *message = NULL;

  (void)error;
  if (hf_nested()) return SQLITE_OK;
  if (load(db, &message, routines, &owner) && message) {
    routines->log(SQLITE_WARNING, "%s", message);
    fprintf(stderr, "%s: not loaded\n", message);
  }
  routines->free(message);
  if (owner && db && hf_connection_ready(owner, db) != SQLITE_OK)
    (void)routines->exec(db, "", NULL, NULL, NULL);
  return SQLITE_OK;
}
