/*
 * health_sql.c - the check as a table: SELECT * FROM holdfast_health('full', budget_ms, schema, force).
 *
 * SQLite begins a read transaction on "main" before it asks for the first row, so by then it is too late to
 * empty the cache: page 1 is in use. The table therefore empties it when the statement is prepared, when no
 * transaction is open, and when it is asked for rows without that (a statement that is run a second time),
 * or needs a second snapshot to confirm damage, it answers SQLITE_SCHEMA: SQLite then ends the transaction,
 * prepares the statement anew, and asks again. What cannot be had that way (the program has a transaction
 * open) is not_checked(cached).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "health.h"

enum {
  COLUMN_VERDICT,
  COLUMN_KIND,
  COLUMN_REASON,
  COLUMN_COVERAGE,
  COLUMN_TIME,
  COLUMN_AGE_MS,
  COLUMN_UNCHANGED,
  COLUMN_CHANGE_COUNTER,
  COLUMN_SQLITE_VERSION,
  COLUMN_CODE,
  COLUMN_TEXT,
  COLUMN_FINDING,
  COLUMN_OBJECT,
  COLUMN_DETAIL,
  COLUMN_WANTED, /* the arguments, hidden */
  COLUMN_BUDGET_MS,
  COLUMN_SCHEMA,
  COLUMN_FORCE
};
enum { ARGUMENTS = 4, FRESH_FOR_NS = 1000000000, ASK_AGAIN = 4 };

static const char declaration[] =
    "CREATE TABLE x(verdict TEXT, kind TEXT, reason TEXT, coverage TEXT, time INT, age_ms INT, unchanged "
    "INT, "
    "change_counter INT, sqlite_version TEXT, code INT, text TEXT, finding TEXT, object TEXT, detail TEXT, "
    "wanted HIDDEN, budget_ms HIDDEN, schema HIDDEN, force HIDDEN)";

typedef struct vtab {
  sqlite3_vtab base;
  const hf_api *api;
  sqlite3 *db;
  int64_t emptied_ns; /* when the cache was emptied outside any transaction; 0 = not, or used up */
  int64_t misses;     /* of the cache, then */
  int asked;          /* SQLITE_SCHEMA was answered so often for this row source */
  holdfast_health_run *confirming; /* waits for a second snapshot */
} vtab;

typedef struct cursor {
  sqlite3_vtab_cursor base;
  holdfast_health_run *run;
  int at;
} cursor;

static vtab *vtab_of(cursor *c)
{
  return (vtab *)c->base.pVtab;
}

static int xConnect(sqlite3 *db, void *aux, int argc, const char *const *argv, sqlite3_vtab **out,
                    char **error)
{
  hf_vfs *owner = aux;
  vtab *made = calloc(1, sizeof *made);
  int rc = made ? owner->api.declare_vtab(db, declaration) : SQLITE_NOMEM;

  (void)argc, (void)argv, (void)error;
#ifdef SQLITE_VTAB_DIRECTONLY /* since 3.31 */
  /* It sends events: not from a trigger or a view that somebody else put into the file. */
  if (rc == SQLITE_OK && owner->api.libversion_number() >= 3031000)
    rc = owner->api.vtab_config(db, SQLITE_VTAB_DIRECTONLY);
#endif
  if (rc) {
    free(made);
    return rc;
  }
  made->api = &owner->api;
  made->db = db;
  *out = &made->base;
  return SQLITE_OK;
}

static int xDisconnect(sqlite3_vtab *table)
{
  hf_health_end(((vtab *)table)->confirming);
  free(table);
  return SQLITE_OK;
}

/* Called while the statement is prepared: the moment at which no transaction of it is open. */
static int xBestIndex(sqlite3_vtab *table, sqlite3_index_info *info)
{
  vtab *v = (vtab *)table;
  int given[ARGUMENTS] = {0}, next = 1;

  for (int i = 0; i < info->nConstraint; i++) {
    int which = info->aConstraint[i].iColumn - COLUMN_WANTED;
    if (which < 0 || info->aConstraint[i].op != SQLITE_INDEX_CONSTRAINT_EQ) continue;
    if (!info->aConstraint[i].usable)
      return SQLITE_CONSTRAINT; /* an argument that comes from a table read later */
    given[which] = i + 1;
  }
  for (int i = 0; i < ARGUMENTS; i++) {
    if (!given[i]) continue;
    info->idxNum |= 1 << i;
    info->aConstraintUsage[given[i] - 1].argvIndex = next++;
    info->aConstraintUsage[given[i] - 1].omit = 1;
  }
  info->estimatedCost = 1e6;
  if (hf_disk_idle(v->api, v->db, 0)) {
    (void)v->api->db_release_memory(v->db); /* SQLITE_OK always */
    v->emptied_ns = hf_now_ns();
    v->misses = hf_disk_misses(v->api, v->db);
  }
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
  hf_health_end(((cursor *)c)->run);
  free(c);
  return SQLITE_OK;
}

/* ---------------------------------------------------------------- running it */

/*
 * Was the cache emptied for this very execution? Then page 1 of "main" has been read from the disk since: a
 * miss. Of an attached database nothing has been read yet.
 */
static bool is_fresh(vtab *v, const holdfast_health_run *run)
{
  bool fresh = v->emptied_ns && hf_now_ns() - v->emptied_ns < FRESH_FOR_NS && hf_disk_idle(v->api, v->db, 1);

  v->emptied_ns = 0;
  if (strcmp(run->schema, "main") != 0) return fresh;
  return fresh && (hf_disk_misses(v->api, v->db) > v->misses || hf_disk_empty(run));
}

static int refuse(vtab *v, const char *why)
{
  char *message = v->api->malloc(100);

  if (!message) return SQLITE_NOMEM;
  snprintf(message, 100, "holdfast_health: %s", why);
  v->base.zErrMsg = message; /* SQLite frees it */
  return SQLITE_ERROR;
}

static int arguments(vtab *v, int number, sqlite3_value **argv, holdfast_health_options *out,
                     const char **schema)
{
  int at = 0;

  *out = (holdfast_health_options){.struct_size = sizeof *out, .kind = HOLDFAST_HEALTH_QUICK};
  *schema = "main";
  if (number & 1) out->kind = hf_health_kind((const char *)v->api->value_text(argv[at++]));
  if (out->kind < 0) return refuse(v, "the first argument is 'quick', 'full', 'fk' or 'fts'");
  if (number & 2) {
    sqlite3_int64 budget = v->api->value_int64(argv[at]);
    if (v->api->value_type(argv[at++]) != SQLITE_NULL) {
      if (budget < 1 || budget > INT32_MAX) return refuse(v, "the budget is 1 to 2147483647 milliseconds");
      out->budget_ms = (int)budget;
    }
  }
  if (number & 4) *schema = (const char *)v->api->value_text(argv[at++]);
  if (number & 8) out->force = v->api->value_int64(argv[at]) != 0;
  return *schema ? SQLITE_OK : refuse(v, "no such schema");
}

static int ask_again(vtab *v)
{
  v->asked++;
  return SQLITE_SCHEMA;
}

static int begin(vtab *v, int number, sqlite3_value **argv, holdfast_health_run **out)
{
  holdfast_health_options options;
  const char *schema;
  int rc = arguments(v, number, argv, &options, &schema);

  if (rc) return rc;
  rc = hf_health_begin(v->api, v->db, schema, &options, true, out);
  return rc == SQLITE_MISUSE ? refuse(v, "no such schema") : rc;
}

static int xFilter(sqlite3_vtab_cursor *c, int number, const char *string, int argc, sqlite3_value **argv)
{
  cursor *at = (cursor *)c;
  vtab *v = vtab_of(at);
  holdfast_health_run *run = v->confirming;
  int rc = SQLITE_OK;

  (void)string, (void)argc;
  hf_health_end(at->run);
  at->run = NULL;
  at->at = 0;
  v->confirming = NULL;
  if (!run) rc = begin(v, number, argv, &run);
  if (rc) return rc;
  run->fresh_given = is_fresh(v, run);
  if (!run->over && !run->fresh_given && v->asked < ASK_AGAIN && v->api->get_autocommit(v->db)) {
    v->confirming = run;
    return ask_again(v);
  }
  (void)hf_health_step(run, 0);
  if (run->wants_fresh) {
    run->wants_fresh = false;
    v->confirming = run;
    return ask_again(v);
  }
  v->asked = 0;
  at->run = run;
  return SQLITE_OK;
}

/* ---------------------------------------------------------------- showing it */

static int xNext(sqlite3_vtab_cursor *c)
{
  ((cursor *)c)->at++;
  return SQLITE_OK;
}

/* One row for each finding; one row when there is none. */
static int xEof(sqlite3_vtab_cursor *c)
{
  const cursor *at = (const cursor *)c;

  return !at->run || at->at >= (at->run->shown ? at->run->shown : 1);
}

static void put(const hf_api *api, sqlite3_context *context, const char *text)
{
  if (text && *text)
    api->result_text(context, text, -1, SQLITE_TRANSIENT);
  else
    api->result_null(context);
}

static void put_finding(const hf_api *api, sqlite3_context *context, const cursor *at, int column)
{
  const hf_finding *finding = at->at < at->run->shown ? &at->run->findings[at->at] : NULL;

  if (!finding)
    api->result_null(context);
  else
    put(api, context,
        column == COLUMN_FINDING  ? holdfast_word("finding", finding->what)
        : column == COLUMN_OBJECT ? finding->object
                                  : finding->text);
}

static int xColumn(sqlite3_vtab_cursor *c, sqlite3_context *context, int column)
{
  cursor *at = (cursor *)c;
  const hf_api *api = vtab_of(at)->api;
  const holdfast_health_report *r = &at->run->report;
  char text[200];

  switch (column) {
  case COLUMN_VERDICT: put(api, context, holdfast_word("verdict", r->verdict)); break;
  case COLUMN_KIND: put(api, context, holdfast_word("kind", r->kind)); break;
  case COLUMN_REASON: put(api, context, r->reason ? holdfast_word("reason", r->reason) : NULL); break;
  case COLUMN_COVERAGE: put(api, context, holdfast_health_coverage(r, text, sizeof text)); break;
  case COLUMN_TIME: api->result_int64(context, r->when_ms / 1000); break;
  case COLUMN_AGE_MS: api->result_int64(context, hf_now_ms() - r->when_ms); break;
  case COLUMN_UNCHANGED: api->result_int64(context, r->unchanged); break;
  case COLUMN_CHANGE_COUNTER: api->result_int64(context, r->change_counter); break;
  case COLUMN_SQLITE_VERSION: put(api, context, r->sqlite_version); break;
  case COLUMN_CODE: api->result_int64(context, r->code); break;
  case COLUMN_TEXT: put(api, context, r->text); break;
  case COLUMN_FINDING:
  case COLUMN_OBJECT:
  case COLUMN_DETAIL: put_finding(api, context, at, column); break;
  default: api->result_null(context);
  }
  return SQLITE_OK;
}

static int xRowid(sqlite3_vtab_cursor *c, sqlite3_int64 *out)
{
  *out = ((cursor *)c)->at + 1;
  return SQLITE_OK;
}

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

int hf_health_attach(hf_vfs *owner, sqlite3 *db)
{
  int rc = owner->api.create_module_v2(db, "holdfast_health", &module, owner, NULL);

  return rc == SQLITE_MISUSE ? SQLITE_OK : rc; /* old SQLite's word for "there already" */
}
