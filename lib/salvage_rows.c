/*
 * salvage_rows.c - puts tables and rows into the new database, by plain SQL: what SQLite refuses goes to
 * lost_and_found, so that nothing that was read is thrown away.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "salvage.h"

enum { LOST_COLUMNS = 100 };

static int run(hf_target *t, char *sql)
{
  int rc = sql ? sqlite3_exec(t->db, sql, NULL, NULL, NULL) : SQLITE_NOMEM;

  sqlite3_free(sql);
  return rc;
}

/* ---------------------------------------------------------------- tables */

/* Is it the table's name for the rowid? "INTEGER PRIMARY KEY" alone, and only in a table with rowids. */
static bool ask_columns(hf_target *t, hf_object *o)
{
  char *sql = sqlite3_mprintf("PRAGMA table_xinfo(%Q)", o->name);
  sqlite3_stmt *s = NULL;
  int keys = 0, key = -1;
  bool failed = !sql || sqlite3_prepare_v2(t->db, sql, -1, &s, NULL) != SQLITE_OK;

  sqlite3_free(sql);
  while (!failed && sqlite3_step(s) == SQLITE_ROW) {
    int hidden = sqlite3_column_int(s, 6), *of;
    const char *type = (const char *)sqlite3_column_text(s, 2),
               *name = (const char *)sqlite3_column_text(s, 1);
    char **names;
    if (sqlite3_column_int(s, 5)) {
      keys++;
      if (type && strcasecmp(type, "INTEGER") == 0) key = o->column_count;
    }
    if (hidden == 2) continue; /* computed when it is read: not in the record */
    of = realloc(o->column_of, (size_t)(o->stored + 1) * sizeof *of);
    if (of) o->column_of = of;
    names = realloc(o->columns, (size_t)(o->column_count + 1) * sizeof *names);
    if (names) o->columns = names;
    failed = !of || !names || !name;
    if (failed) break;
    o->column_of[o->stored++] = hidden ? -1 : o->column_count;
    if (hidden) continue;
    o->columns[o->column_count] = strdup(name);
    failed = !o->columns[o->column_count++];
  }
  (void)sqlite3_finalize(s);
  if (keys == 1 && !o->without_rowid) o->rowid_column = key;
  return !failed;
}

/* A table without rowids is an index: its key comes first in the record. */
static bool order_of_key(hf_target *t, hf_object *o)
{
  char *sql =
      sqlite3_mprintf("SELECT x.name FROM pragma_index_list(%Q) AS l, pragma_index_xinfo(l.name) AS x "
                      "WHERE l.origin = 'pk' ORDER BY x.seqno",
                      o->name);
  sqlite3_stmt *s = NULL;
  int n = 0;
  bool failed = !sql || sqlite3_prepare_v2(t->db, sql, -1, &s, NULL) != SQLITE_OK;

  sqlite3_free(sql);
  while (!failed && n < o->stored && sqlite3_step(s) == SQLITE_ROW) {
    const char *name = (const char *)sqlite3_column_text(s, 0);
    o->column_of[n] = -1;
    for (int i = 0; name && i < o->column_count; i++)
      if (strcasecmp(o->columns[i], name) == 0) o->column_of[n] = i;
    n++;
  }
  (void)sqlite3_finalize(s);
  return !failed;
}

static void make_table(hf_target *t, hf_object *o)
{
  int rc;

  if (strncasecmp(o->name, "sqlite_stat", 11) == 0)
    rc = sqlite3_exec(t->db, "ANALYZE", NULL, NULL, NULL);
  else if (strcasecmp(o->name, "sqlite_sequence") == 0)
    rc = SQLITE_OK; /* there with the first AUTOINCREMENT */
  else
    rc = o->sql ? sqlite3_exec(t->db, o->sql, NULL, NULL, NULL) : SQLITE_ERROR;
  o->made = rc == SQLITE_OK && ask_columns(t, o) && (!o->without_rowid || order_of_key(t, o));
  if (o->made && o->stored == 0) o->made = false;
  if (!o->made)
    snprintf(o->account.note, sizeof o->account.note,
             "could not be made, its rows are in lost_and_found: %.70s", sqlite3_errmsg(t->db));
}

static bool is(const hf_object *o, const char *type)
{
  return strcmp(o->type, type) == 0;
}

int hf_target_create(hf_target *t)
{
  static const char *const encodings[] = {"", "UTF-8", "UTF-16le", "UTF-16be"};
  char sql[300];

  (void)snprintf(
      sql, sizeof sql,
      "PRAGMA page_size = %u; PRAGMA encoding = '%s'; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;"
      "PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON; BEGIN",
      t->image->page_size, encodings[t->image->encoding]);
  t->rc = sqlite3_exec(t->db, sql, NULL, NULL, NULL);
  for (int i = 0; i < t->schema->count && t->rc == SQLITE_OK; i++) {
    hf_object *o = &t->schema->objects[i];
    if (!is(o, "table")) continue;
    (void)snprintf(o->account.name, sizeof o->account.name, "%s", o->name);
    if (!o->is_virtual) make_table(t, o);
  }
  return t->rc;
}

/* ---------------------------------------------------------------- rows */

static int bind(const hf_target *t, sqlite3_stmt *s, int at, const hf_field *f)
{
  switch (f->type) {
  case SQLITE_INTEGER: return sqlite3_bind_int64(s, at, f->integer);
  case SQLITE_FLOAT: return sqlite3_bind_double(s, at, f->real);
  case SQLITE_BLOB:
    return sqlite3_bind_blob64(s, at, f->size ? (const void *)f->bytes : "", f->size, SQLITE_TRANSIENT);
  case SQLITE_TEXT:
    return sqlite3_bind_text64(s, at, f->size ? (const char *)f->bytes : "", f->size, SQLITE_TRANSIENT,
                               (unsigned char)t->image->encoding);
  default: return sqlite3_bind_null(s, at);
  }
}

/* An INSERT of the fields that are there: columns that were added later have their defaults. */
static sqlite3_stmt *insert_for(hf_target *t, const hf_object *o, const int *column_of, int fields,
                                bool with_rowid)
{
  char *sql = sqlite3_mprintf("INSERT INTO \"%w\"(", o->name);
  sqlite3_stmt *s = NULL;
  int n = 0;

  if (with_rowid && o->rowid_column < 0) sql = sqlite3_mprintf(n++ ? "%z,_rowid_" : "%z_rowid_", sql);
  for (int i = 0; i < fields; i++)
    if (column_of[i] >= 0) sql = sqlite3_mprintf("%z%s\"%w\"", sql, n++ ? "," : "", o->columns[column_of[i]]);
  sql = sqlite3_mprintf("%z) VALUES(?", sql);
  for (int i = 1; i < n; i++) sql = sqlite3_mprintf("%z,?", sql);
  sql = sqlite3_mprintf("%z)", sql);
  if (n && sql && sqlite3_prepare_v2(t->db, sql, -1, &s, NULL) != SQLITE_OK) s = NULL;
  sqlite3_free(sql);
  return s;
}

static bool insert(hf_target *t, const hf_object *o, const int *column_of, const hf_field *f, int n,
                   int64_t rowid)
{
  bool with_rowid = !o->without_rowid;
  sqlite3_stmt *s = insert_for(t, o, column_of, n, with_rowid);
  int at = 1, rc = s ? SQLITE_OK : SQLITE_ERROR;

  if (s && with_rowid && o->rowid_column < 0) rc = sqlite3_bind_int64(s, at++, rowid);
  for (int i = 0; s && i < n && rc == SQLITE_OK; i++) {
    if (column_of[i] < 0) continue;
    rc = column_of[i] == o->rowid_column ? sqlite3_bind_int64(s, at++, rowid) : bind(t, s, at++, &f[i]);
  }
  if (rc == SQLITE_OK) rc = sqlite3_step(s);
  (void)sqlite3_finalize(s);
  return rc == SQLITE_DONE;
}

bool hf_target_row(hf_target *t, hf_object *o, const hf_cell_row *row, int64_t *kept)
{
  hf_field *f = malloc(HF_FIELDS * sizeof *f);
  int n = f ? hf_record_read(row->payload, row->size, f) : -1;
  bool ok = f != NULL;

  if (n >= 0 && o->made && n <= o->stored && insert(t, o, o->column_of, f, n, row->rowid))
    (*kept)++;
  else if (ok)
    ok = hf_target_lost(t, o->name, row);
  free(f);
  return ok;
}

bool hf_target_lost(hf_target *t, const char *source, const hf_cell_row *row)
{
  hf_field *f = malloc(HF_FIELDS * sizeof *f);
  int n = f ? hf_record_read(row->payload, row->size, f) : -1;
  sqlite3_stmt *s = NULL;
  int rc = SQLITE_OK;

  if (!t->lost_columns) {
    char *sql = sqlite3_mprintf(
        "CREATE TABLE IF NOT EXISTS lost_and_found(source TEXT, page INT, rowid_was INT, fields INT");
    for (int i = 0; i < LOST_COLUMNS; i++) sql = sqlite3_mprintf("%z,c%d", sql, i);
    rc = run(t, sqlite3_mprintf("%z)", sql));
    t->lost_columns = LOST_COLUMNS;
  }
  if (n > LOST_COLUMNS) n = LOST_COLUMNS;
  if (rc == SQLITE_OK && n > 0) {
    char *sql = sqlite3_mprintf("INSERT INTO lost_and_found VALUES(?,?,?,?");
    for (int i = 0; i < LOST_COLUMNS; i++) sql = sqlite3_mprintf(i < n ? "%z,?" : "%z,NULL", sql);
    sql = sqlite3_mprintf("%z)", sql);
    rc = sql ? sqlite3_prepare_v2(t->db, sql, -1, &s, NULL) : SQLITE_NOMEM;
    sqlite3_free(sql);
    if (rc == SQLITE_OK) {
      (void)sqlite3_bind_text(s, 1, source, -1, SQLITE_TRANSIENT);
      (void)sqlite3_bind_int64(s, 2, row->page);
      (void)sqlite3_bind_int64(s, 3, row->rowid);
      (void)sqlite3_bind_int64(s, 4, n);
      for (int i = 0; i < n; i++) (void)bind(t, s, 5 + i, &f[i]);
      rc = sqlite3_step(s) == SQLITE_DONE ? SQLITE_OK : sqlite3_errcode(t->db);
      t->lost_rows += rc == SQLITE_OK;
    }
    (void)sqlite3_finalize(s);
  }
  free(f);
  if (rc && !t->rc) t->rc = rc;
  return rc == SQLITE_OK;
}

/* ---------------------------------------------------------------- indexes */

bool hf_target_has(hf_target *t, const hf_object *o, int64_t rowid)
{
  char *sql =
      sqlite3_mprintf("SELECT 1 FROM \"%w\" NOT INDEXED WHERE _rowid_ = %lld", o->name, (long long)rowid);
  sqlite3_stmt *s = NULL;
  bool there =
      sql && sqlite3_prepare_v2(t->db, sql, -1, &s, NULL) == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW;

  (void)sqlite3_finalize(s);
  sqlite3_free(sql);
  return there;
}

/* The columns of the index, by asking SQLite about an index that is made in the new database for the
 * question. */
static int index_columns(hf_target *t, const hf_object *o, const hf_object *index, int *column_of, int max)
{
  char *sql = sqlite3_mprintf("SELECT name FROM pragma_index_info(%Q)", index->name);
  sqlite3_stmt *s = NULL;
  int n = 0;

  if (sql && sqlite3_prepare_v2(t->db, sql, -1, &s, NULL) == SQLITE_OK)
    while (n < max && sqlite3_step(s) == SQLITE_ROW) {
      const char *name = (const char *)sqlite3_column_text(s, 0);
      column_of[n] = -1;
      for (int i = 0; name && i < o->column_count; i++)
        if (strcasecmp(o->columns[i], name) == 0) column_of[n] = i;
      n++;
    }
  (void)sqlite3_finalize(s);
  sqlite3_free(sql);
  return n;
}

/* The index has all columns: the row is whole. Else what it has goes to lost_and_found. */
bool hf_target_from_index(hf_target *t, hf_object *o, const hf_object *index, const hf_cell_row *row)
{
  hf_field *f = malloc(HF_FIELDS * sizeof *f);
  int n = f ? hf_record_read(row->payload, row->size, f) : -1, column_of[64], columns, covered = 0;
  bool ok = f != NULL;
  char source[300];

  if (n >= 2 && f[n - 1].type == SQLITE_INTEGER && !hf_target_has(t, o, f[n - 1].integer)) {
    columns = index_columns(t, o, index, column_of, 64);
    for (int i = 0; i < columns; i++) covered += column_of[i] >= 0 && column_of[i] != o->rowid_column;
    if (columns == n - 1 && covered == o->column_count - (o->rowid_column >= 0) &&
        (o->rowid_column < 0 || columns < 64)) {
      hf_field rowid = f[n - 1];
      int count = columns;
      if (o->rowid_column >= 0) {
        column_of[count] = o->rowid_column;
        f[count++] = rowid;
      }
      if (insert(t, o, column_of, f, count, rowid.integer)) {
        o->account.rows_kept++;
        o->account.rows_by_index++;
        free(f);
        return true;
      }
    }
    o->account.rows_lost++;
    snprintf(source, sizeof source, "%.120s, by index %.120s", o->name, index->name);
    hf_cell_row part = *row;
    part.rowid = f[n - 1].integer;
    ok = hf_target_lost(t, source, &part);
  }
  free(f);
  return ok;
}

/* ---------------------------------------------------------------- the end */

int hf_target_finish(hf_target *t, void (*say)(void *arg, const char *line), void *arg)
{
  static const char *const order[] = {"index", "view", "trigger"};
  char line[400];

  for (int i = 0; i < t->schema->count;
       i++) { /* virtual tables: their rows are in tables that were copied as they are */
    const hf_object *o = &t->schema->objects[i];
    if (!is(o, "table") || !o->is_virtual) continue;
    (void)run(
        t, sqlite3_mprintf(
               "PRAGMA writable_schema = ON; INSERT INTO sqlite_master(type, name, tbl_name, rootpage, sql) "
               "VALUES('table', %Q, %Q, 0, %Q)",
               o->name, o->name, o->sql));
  }
  for (size_t k = 0; k < sizeof order / sizeof *order; k++)
    for (int i = 0; i < t->schema->count; i++) {
      const hf_object *o = &t->schema->objects[i];
      if (!is(o, order[k]) || !o->sql) continue;
      if (sqlite3_exec(t->db, o->sql, NULL, NULL, NULL) == SQLITE_OK) continue;
      if (strstr(sqlite3_errmsg(t->db), "already exists")) continue; /* made before, to be asked */
      (void)snprintf(line, sizeof line, "%s %.150s could not be made: %.150s", o->type, o->name,
                     sqlite3_errmsg(t->db));
      say(arg, line);
    }
  if (!t->rc) t->rc = sqlite3_exec(t->db, "COMMIT", NULL, NULL, NULL);
  return t->rc;
}
