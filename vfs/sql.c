/*
 * sql.c - the tables of tables.c and the functions holdfast_version() and holdfast_reset_stats() on one
 * connection.
 *
 * Tables are eponymous virtual tables: there without CREATE, read-only, a copy made when the query starts.
 * Best read on a ":memory:" connection, because on a locked or broken database SQLite cannot even read
 * the schema; every table is also a PRAGMA of the same name.
 */
#include <stdlib.h>
#include <string.h>

#include "slots.h"
#include "stattable.h"
#include "tables.h"

typedef struct module_of {
  hf_vfs *owner;
  const hf_table *table;
} module_of;

typedef struct vtab {
  sqlite3_vtab base;
  hf_vfs *owner;
  const hf_table *table;
  sqlite3 *db;
} vtab;

typedef struct cursor {
  sqlite3_vtab_cursor base;
  hf_rows rows;
  int at;
} cursor;

static vtab *vtab_of(cursor *c)
{
  return (vtab *)c->base.pVtab;
}

static int xConnect(sqlite3 *db, void *aux, int argc, const char *const *argv, sqlite3_vtab **out,
                    char **error)
{
  module_of *module = aux;
  hf_text sql = {0};
  vtab *made = NULL;
  int rc;

  (void)argc, (void)argv, (void)error;
  hf_text_add(&sql, "CREATE TABLE x(");
  for (int i = 0; module->table->columns[i]; i++)
    hf_text_add(&sql, i ? ",%s" : "%s", module->table->columns[i]);
  hf_text_add(&sql, ")");
  made = sql.failed ? NULL : calloc(1, sizeof *made);
  rc = made ? module->owner->api.declare_vtab(db, sql.at) : SQLITE_NOMEM;
  hf_text_free(&sql);
  if (rc) {
    free(made);
    return rc;
  }
  made->owner = module->owner;
  made->table = module->table;
  made->db = db;
  *out = &made->base;
  return SQLITE_OK;
}

static int xDisconnect(sqlite3_vtab *table)
{
  free(table);
  return SQLITE_OK;
}

static int xBestIndex(sqlite3_vtab *table, sqlite3_index_info *info)
{
  (void)table;
  info->estimatedCost = 1000.0;
  return SQLITE_OK;
}

static int xOpen(sqlite3_vtab *table, sqlite3_vtab_cursor **out)
{
  cursor *made = calloc(1, sizeof *made);

  (void)table;
  if (!made) return SQLITE_NOMEM;
  *out = &made->base;
  return SQLITE_OK;
}

static int xClose(sqlite3_vtab_cursor *c)
{
  hf_rows_free(&((cursor *)c)->rows);
  free(c);
  return SQLITE_OK;
}

static int xFilter(sqlite3_vtab_cursor *c, int number, const char *string, int argc, sqlite3_value **argv)
{
  cursor *at = (cursor *)c;
  vtab *table = vtab_of(at);

  (void)number, (void)string, (void)argc, (void)argv;
  hf_rows_free(&at->rows);
  at->at = 0;
  return hf_rows_of(table->table, table->owner, table->db, &at->rows);
}

static int xNext(sqlite3_vtab_cursor *c)
{
  ((cursor *)c)->at++;
  return SQLITE_OK;
}

static int xEof(sqlite3_vtab_cursor *c)
{
  return ((cursor *)c)->at >= ((cursor *)c)->rows.count;
}

static int xColumn(sqlite3_vtab_cursor *c, sqlite3_context *context, int column)
{
  cursor *at = (cursor *)c;
  const hf_api *api = &vtab_of(at)->owner->api;
  const hf_cell *cell = at->rows.cells + (size_t)at->at * (size_t)at->rows.columns + column;

  if (cell->is_integer)
    api->result_int64(context, cell->integer);
  else if (cell->text)
    api->result_text(context, cell->text, -1, SQLITE_TRANSIENT);
  else
    api->result_null(context);
  return SQLITE_OK;
}

static int xRowid(sqlite3_vtab_cursor *c, sqlite3_int64 *out)
{
  *out = ((cursor *)c)->at + 1;
  return SQLITE_OK;
}

/* xCreate is NULL: the table exists by its name alone and CREATE VIRTUAL TABLE is refused. */
static const sqlite3_module module = {.iVersion = 1,
                                      .xConnect = xConnect,
                                      .xBestIndex = xBestIndex,
                                      .xDisconnect = xDisconnect,
                                      .xOpen = xOpen,
                                      .xClose = xClose,
                                      .xFilter = xFilter,
                                      .xNext = xNext,
                                      .xEof = xEof,
                                      .xColumn = xColumn,
                                      .xRowid = xRowid};

static void version_of(const hf_vfs *owner, sqlite3_context *context)
{
  owner->api.result_text(context, holdfast_version(), -1, SQLITE_STATIC);
}

static void reset_of(hf_vfs *owner, sqlite3_context *context)
{
  int rc = hf_stats_reset(owner);

  if (rc)
    owner->api.result_error_nomem(context);
  else
    owner->api.result_null(context);
}

#define VERSION_FUNCTION(n)                                                                                  \
  static void version_##n(sqlite3_context *context, int argc, sqlite3_value **argv)                          \
  {                                                                                                          \
    (void)argc, (void)argv;                                                                                  \
    version_of(hf_slot[n], context);                                                                         \
  }                                                                                                          \
  static void reset_##n(sqlite3_context *context, int argc, sqlite3_value **argv)                            \
  {                                                                                                          \
    (void)argc, (void)argv;                                                                                  \
    reset_of(hf_slot[n], context);                                                                           \
  }
HF_EACH_SLOT(VERSION_FUNCTION)

#define VERSION_NAME(n) version_##n,
static void (*const version_functions[])(sqlite3_context *, int,
                                         sqlite3_value **) = {HF_EACH_SLOT(VERSION_NAME)};

#define RESET_NAME(n) reset_##n,
static void (*const reset_functions[])(sqlite3_context *, int, sqlite3_value **) = {HF_EACH_SLOT(RESET_NAME)};

static int attach_functions(const hf_vfs *owner, sqlite3 *db)
{
  int direct = 0, rc;

#ifdef SQLITE_DIRECTONLY
  if (owner->api.libversion_number() >= 3030000) direct = SQLITE_DIRECTONLY; /* it has an effect */
#endif
  if (owner->slot < 0) return SQLITE_OK;
  rc = owner->api.create_function_v2(db, "holdfast_version", 0, SQLITE_UTF8 | SQLITE_DETERMINISTIC, NULL,
                                     version_functions[owner->slot], NULL, NULL, NULL);
  if (rc) return rc;
  return owner->api.create_function_v2(db, "holdfast_reset_stats", 0, SQLITE_UTF8 | direct, NULL,
                                       reset_functions[owner->slot], NULL, NULL, NULL);
}

static int attach_tables(hf_vfs *owner, sqlite3 *db)
{
  int rc = SQLITE_OK;

  for (int i = 0; i < hf_table_count && rc == SQLITE_OK; i++) {
    module_of *aux = malloc(sizeof *aux);
    if (!aux) return SQLITE_NOMEM;
    *aux = (module_of){owner, &hf_tables[i]};
    rc = owner->api.create_module_v2(db, hf_tables[i].name, &module, aux,
                                     free);  /* frees aux on failure, too */
    if (rc == SQLITE_MISUSE) rc = SQLITE_OK; /* old SQLite's word for "there already" */
  }
  return rc;
}

int hf_connection_ready(hf_vfs *owner, sqlite3 *db)
{
  int rc = attach_functions(owner, db);

  if (rc == SQLITE_OK) rc = attach_tables(owner, db);
  if (rc == SQLITE_OK) rc = hf_health_attach(owner, db);
  if (rc == SQLITE_OK) rc = hf_exclusive_ready(owner, db);
  return rc;
}
