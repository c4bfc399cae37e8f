/*
 * tables.c - the rows of holdfast_mount, holdfast_lock_stats, holdfast_lock_holders and holdfast_events.
 *
 * A table shows every file of its SQLite library, not only the connection's own, because the question is
 * often asked from another connection. Everything is copied under the mutex and shown without it.
 */
#include "tables.h"

#include <stdlib.h>
#include <string.h>

#include "holders.h"
#include "stattable.h"

static hf_cell *new_row(hf_rows *rows)
{
  if (rows->failed) return NULL;
  if (rows->count == rows->room) {
    int room = rows->room ? rows->room * 2 : 16;
    hf_cell *grown = realloc(rows->cells, (size_t)room * (size_t)rows->columns * sizeof *grown);
    if (!grown) {
      rows->failed = true;
      return NULL;
    }
    rows->cells = grown;
    rows->room = room;
  }
  hf_cell *row = rows->cells + (size_t)rows->count++ * (size_t)rows->columns;
  memset(row, 0, (size_t)rows->columns * sizeof *row);
  return row;
}

static void put_text(hf_rows *rows, hf_cell **cell, const char *text)
{
  (*cell)->text = text ? strdup(text) : NULL;
  if (text && !(*cell)->text) rows->failed = true;
  ++*cell;
}

static void put_integer(hf_cell **cell, int64_t value)
{
  (*cell)->integer = value;
  (*cell)->is_integer = true;
  ++*cell;
}

/* ---------------------------------------------------------------- holdfast_mount */

static const char *const mount_columns[] = {"schema",      "path",  "fstype", "source",     "options",
                                            "mount_point", "class", "shm",    "locks",      "durable",
                                            "scope",       "rule",  "reason", "confidence", NULL};

static void put_mount(hf_rows *rows, const hf_node *node)
{
  const hf_verdict *verdict = &node->verdict;
  holdfast_mount mount = {.struct_size = sizeof mount};
  hf_cell *cell = new_row(rows);

  if (!cell) return;
  hf_mount_public(&node->facts, verdict, &mount);
  put_text(rows, &cell, NULL); /* the schema is put in below, outside the mutex */
  put_text(rows, &cell, node->path);
  put_text(rows, &cell, mount.fstype);
  put_text(rows, &cell, mount.source);
  put_text(rows, &cell, mount.options);
  put_text(rows, &cell, mount.mount_point);
  put_text(rows, &cell, holdfast_word("class", verdict->mount_class));
  put_text(rows, &cell, holdfast_word("shm", verdict->shm));
  put_text(rows, &cell, holdfast_word("locks", verdict->locks));
  put_text(rows, &cell, holdfast_word("durable", verdict->durable));
  put_text(rows, &cell, holdfast_word("scope", verdict->scope));
  put_text(rows, &cell, holdfast_word("rule", verdict->rule));
  put_text(rows, &cell, mount.reason);
  put_text(rows, &cell, holdfast_word("confidence", verdict->confidence));
}

/* The asking connection's own files are shown with the name that it knows them by. */
static void put_schemas(hf_vfs *owner, sqlite3 *db, hf_rows *rows)
{
  const hf_api *api = &owner->api;
  sqlite3_stmt *list = NULL;

  if (api->prepare_v2(db, "PRAGMA database_list", -1, &list, NULL) == SQLITE_OK) {
    while (api->step(list) == SQLITE_ROW) {
      const char *schema = (const char *)api->column_text(list, 1),
                 *path = (const char *)api->column_text(list, 2);
      for (int i = 0; schema && path && i < rows->count; i++) {
        hf_cell *row = rows->cells + (size_t)i * (size_t)rows->columns;
        if (row[0].text || !row[1].text || strcmp(row[1].text, path) != 0) continue;
        row[0].text = strdup(schema);
        if (!row[0].text) rows->failed = true;
        break; /* several connections may have the file open: name one row */
      }
    }
  }
  (void)api->finalize(list); /* accepts NULL; a connection that cannot be asked leaves NULLs */
}

static void fill_mount(hf_vfs *owner, sqlite3 *db, hf_rows *rows)
{
  pthread_mutex_lock(&owner->mutex);
  for (const hf_node *node = owner->nodes; node; node = node->next) put_mount(rows, node);
  pthread_mutex_unlock(&owner->mutex);
  if (db && !rows->failed) put_schemas(owner, db, rows);
}

/* ---------------------------------------------------------------- holdfast_events */

static const char *const event_columns[] = {"seq", "time", "path", "kind", "code", "detail", NULL};

static void fill_events(hf_vfs *owner, sqlite3 *db, hf_rows *rows)
{
  (void)db;
  pthread_mutex_lock(&owner->mutex);
  int64_t last = owner->event_seq, first = last > HF_EVENTS ? last - HF_EVENTS : 0;
  for (int64_t seq = first; seq < last; seq++) {
    const hf_event *event = &owner->events[seq % HF_EVENTS];
    hf_cell *cell = new_row(rows);
    if (!cell) break;
    put_integer(&cell, event->seq);
    put_integer(&cell, event->time);
    put_text(rows, &cell, event->path);
    put_text(rows, &cell, event->kind);
    put_integer(&cell, event->code);
    put_text(rows, &cell, event->detail);
  }
  pthread_mutex_unlock(&owner->mutex);
}

/* ---------------------------------------------------------------- holdfast_lock_holders */

static const char *const holder_columns[] = {"path", "lock",       "mode",   "pid",      "command", "state",
                                             "mine", "connection", "thread", "since_ms", "sql",     NULL};

/* What is not known is NULL. */
static void put_known(hf_cell **cell, int64_t value, bool known)
{
  if (known)
    put_integer(cell, value);
  else
    ++*cell;
}

static void put_holder(hf_rows *rows, const char *path, const holdfast_holder *is)
{
  hf_cell *cell = new_row(rows);

  if (!cell) return;
  put_text(rows, &cell, path);
  put_text(rows, &cell, is->lock);
  put_text(rows, &cell, is->mode);
  put_known(&cell, is->pid, is->pid > 0);
  put_text(rows, &cell, is->command[0] ? is->command : NULL);
  put_text(rows, &cell, is->state);
  put_integer(&cell, is->mine);
  put_known(&cell, (int64_t)is->connection, is->connection > 0);
  put_known(&cell, is->thread, is->thread > 0);
  put_known(&cell, is->since_ms, is->since_ms >= 0);
  put_text(rows, &cell, is->sql[0] ? is->sql : NULL);
}

static void fill_holders(hf_vfs *owner, sqlite3 *db, hf_rows *rows)
{
  hf_holders all;

  (void)db;
  if (hf_holders_of(owner, NULL, &all) != SQLITE_OK) {
    rows->failed = true;
    return;
  }
  for (int i = 0; i < all.count; i++) put_holder(rows, all.targets[all.at[i].target].path, &all.at[i].is);
  hf_holders_free(&all);
}

/* ---------------------------------------------------------------- holdfast_lock_stats */

static const char *const stat_columns[] = {"path",        "lock",        "attempts",    "granted",
                                           "busy",        "errors",      "abandoned",   "wait_ns",
                                           "wait_max_ns", "wait_p50_ns", "wait_p99_ns", "hold_ns",
                                           "hold_max_ns", "hold_p50_ns", "hold_p99_ns", NULL};

static void put_time(hf_cell **cell, uint64_t ticks, double tick_ns)
{
  put_integer(cell, (int64_t)((double)ticks * tick_ns));
}

static void put_stat(hf_rows *rows, const char *path, int stat, const hf_stat_total *of, double tick_ns)
{
  hf_cell *cell = new_row(rows);

  if (!cell) return;
  put_text(rows, &cell, path);
  put_text(rows, &cell, hf_stat_name(stat));
  put_integer(&cell, (int64_t)(of->granted + of->busy + of->errors));
  put_integer(&cell, (int64_t)of->granted);
  put_integer(&cell, (int64_t)of->busy);
  put_integer(&cell, (int64_t)of->errors);
  put_integer(&cell, (int64_t)of->abandoned);
  put_time(&cell, of->wait_sum, tick_ns);
  put_time(&cell, of->wait_max, tick_ns);
  put_time(&cell, hf_stat_percentile(of->wait, 0.50, of->wait_max), tick_ns);
  put_time(&cell, hf_stat_percentile(of->wait, 0.99, of->wait_max), tick_ns);
  put_time(&cell, of->hold_sum, tick_ns);
  put_time(&cell, of->hold_max, tick_ns);
  put_time(&cell, hf_stat_percentile(of->hold, 0.50, of->hold_max), tick_ns);
  put_time(&cell, hf_stat_percentile(of->hold, 0.99, of->hold_max), tick_ns);
}

/* Locks that nobody has asked for have no row. */
static void fill_stats(hf_vfs *owner, sqlite3 *db, hf_rows *rows)
{
  double tick_ns = hf_tick_ns();
  hf_path_stats *all;

  (void)db;
  if (hf_stats_of(owner, &all) != SQLITE_OK) {
    rows->failed = true;
    return;
  }
  for (const hf_path_stats *one = all; one; one = one->next)
    for (int i = 0; i < HF_STATS; i++)
      if (one->of[i].granted + one->of[i].busy + one->of[i].errors)
        put_stat(rows, one->path, i, &one->of[i], tick_ns);
  hf_path_stats_free(all);
}

/* ---------------------------------------------------------------- all tables */

const hf_table hf_tables[] = {{"holdfast_mount", mount_columns, fill_mount},
                              {"holdfast_lock_stats", stat_columns, fill_stats},
                              {"holdfast_lock_holders", holder_columns, fill_holders},
                              {"holdfast_events", event_columns, fill_events}};
const int hf_table_count = sizeof hf_tables / sizeof *hf_tables;

int hf_rows_of(const hf_table *table, hf_vfs *owner, sqlite3 *db, hf_rows *out)
{
  hf_rows rows = {0};

  while (table->columns[rows.columns]) rows.columns++;
  table->fill(owner, db, &rows);
  if (rows.failed) {
    hf_rows_free(&rows);
    return SQLITE_NOMEM;
  }
  *out = rows;
  return SQLITE_OK;
}

void hf_rows_free(hf_rows *rows)
{
  for (int i = 0; i < rows->count * rows->columns; i++) free(rows->cells[i].text);
  free(rows->cells);
  memset(rows, 0, sizeof *rows);
}

void hf_rows_json(const hf_table *table, const hf_rows *rows, hf_text *out)
{
  hf_text_add(out, "[");
  for (int i = 0; i < rows->count; i++) {
    hf_text_add(out, i ? ",{" : "{");
    for (int k = 0; k < rows->columns; k++) {
      const hf_cell *cell = rows->cells + (size_t)i * (size_t)rows->columns + k;
      hf_text_add(out, k ? ",\"%s\":" : "\"%s\":", table->columns[k]);
      if (cell->is_integer)
        hf_text_add(out, "%lld", (long long)cell->integer);
      else
        hf_text_json(out, cell->text);
    }
    hf_text_add(out, "}");
  }
  hf_text_add(out, "]");
}
