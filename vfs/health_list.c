/*
 * health_list.c - what there is to check: a piece for each table, in the order of the schema.
 *
 * Since SQLite 3.33 quick_check and integrity_check take the name of a table. They leave out the freelist and
 * pages that belong to nobody, so "full" ends with one pass over the whole file; before 3.33 there is only
 * that pass.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "health.h"

enum { BY_TABLE_SINCE = 3033000 };

static hf_piece *add(holdfast_health_run *run, int what, const char *name)
{
  char *copy = name ? strdup(name) : NULL;
  hf_piece *grown;

  if (name && !copy) return NULL;
  if ((run->count & (run->count - 1)) == 0) {
    grown = realloc(run->pieces, (size_t)(run->count ? run->count * 2 : 1) * sizeof *grown);
    if (!grown) {
      free(copy);
      return NULL;
    }
    run->pieces = grown;
  }
  run->pieces[run->count] = (hf_piece){.what = what, .name = copy};
  return &run->pieces[run->count++];
}

int hf_list_start(holdfast_health_run *run)
{
  int kind = run->set.kind;
  bool by_table = run->api->libversion_number() >= BY_TABLE_SINCE && !run->set.unsliced;
  bool structure = kind == HOLDFAST_HEALTH_QUICK || kind == HOLDFAST_HEALTH_FULL;

  if (structure && !add(run, HF_PIECE_HEADER, NULL)) return SQLITE_NOMEM;
  return add(run, by_table || !structure ? HF_PIECE_LIST : HF_PIECE_WHOLE, NULL) ? SQLITE_OK : SQLITE_NOMEM;
}

static bool listed(const holdfast_health_run *run, const char *name)
{
  for (int i = 0; run->relisted && i < run->count; i++)
    if (run->pieces[i].name && strcmp(run->pieces[i].name, name) == 0) return true;
  return false;
}

/* "CREATE VIRTUAL TABLE t USING fts4(...)": the word behind USING, 0 = no FTS. */
static int fts_version(const char *sql)
{
  const char *found = sql ? strcasestr(sql, "using") : NULL;

  if (!found) return 0;
  found += 5 + strspn(found + 5, " \t\r\n\"[`'");
  if (strncasecmp(found, "fts", 3) != 0 || found[3] < '3' || found[3] > '5') return 0;
  return found[3] - '0';
}

static bool add_table(holdfast_health_run *run, const char *name, bool is_virtual, const char *sql)
{
  int fts = is_virtual ? fts_version(sql) : 0;
  hf_piece *piece;

  if (listed(run, name) || run->count >= HF_PIECES) return true;
  switch (run->set.kind) {
  case HOLDFAST_HEALTH_FK: return is_virtual || add(run, HF_PIECE_FK, name);
  case HOLDFAST_HEALTH_FTS:
    if (!fts) return true;
    piece = add(run, HF_PIECE_FTS, name);
    if (piece) piece->external = fts < 5 && strcasestr(sql, "content=") && !strcasestr(sql, "content=\"\"");
    return piece != NULL;
  default: return is_virtual || add(run, HF_PIECE_TABLE, name);
  }
}

static int add_tables(holdfast_health_run *run, sqlite3_stmt *rows)
{
  const hf_api *api = run->api;
  int rc;

  while ((rc = api->step(rows)) == SQLITE_ROW) {
    const char *name = (const char *)api->column_text(rows, 0);
    if (name &&
        !add_table(run, name, api->column_int64(rows, 1) == 0, (const char *)api->column_text(rows, 2)))
      return SQLITE_NOMEM;
  }
  return rc == SQLITE_DONE ? SQLITE_OK : api->extended_errcode(run->db);
}

int hf_list_tables(holdfast_health_run *run)
{
  const hf_api *api = run->api;
  bool structure = run->set.kind == HOLDFAST_HEALTH_QUICK || run->set.kind == HOLDFAST_HEALTH_FULL;
  sqlite3_stmt *rows = NULL;
  char sql[300];
  int rc;

  if (structure && !run->relisted && !add(run, HF_PIECE_TABLE, "sqlite_master")) return SQLITE_NOMEM;
  snprintf(sql, sizeof sql, "SELECT name, rootpage, sql FROM \"%s\".sqlite_master WHERE type = 'table'",
           run->schema);
  rc = api->prepare_v2(run->db, sql, -1, &rows, NULL);
  if (rc) return api->extended_errcode(run->db);
  rc = add_tables(run, rows);
  (void)api->finalize(rows); /* its code is the one of the step */
  if (rc == SQLITE_OK) {
    snprintf(sql, sizeof sql, "PRAGMA \"%s\".schema_version", run->schema);
    rc = hf_sql_number(api, run->db, sql, &run->cookie);
  }
  if (rc == SQLITE_OK && run->set.kind == HOLDFAST_HEALTH_FULL && !run->relisted &&
      !add(run, HF_PIECE_WHOLE, NULL))
    rc = SQLITE_NOMEM;
  run->relisted++;
  run->report.tables = 0;
  for (int i = 0; i < run->count; i++) run->report.tables += run->pieces[i].name != NULL;
  return rc;
}

void hf_list_free(holdfast_health_run *run)
{
  for (int i = 0; i < run->count; i++) free(run->pieces[i].name);
  free(run->pieces);
  run->pieces = NULL;
  run->count = 0;
}
