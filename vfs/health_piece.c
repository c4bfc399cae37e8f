/*
 * health_piece.c - runs one piece of a check: one statement in one read transaction of its own, every row of
 * which is a finding, and a look whether the locks held.
 *
 * What a statement said counts only when it came to its own end. After sqlite3_interrupt() SQLite before 3.41
 * still gives the rows of its walk, and there each page it did not get to is "never used".
 */
#include <stdio.h>
#include <string.h>

#include "health.h"

void hf_outcome_add(hf_outcome *out, int kind, int what, const char *object, const char *text)
{
  hf_finding *at = &out->findings[out->count];

  out->damage += hf_is_damage(kind, what, text);
  out->unknown += what == HOLDFAST_FINDING_UNKNOWN;
  if (hf_is_damage(kind, what, text) && !out->text[0]) snprintf(out->text, sizeof out->text, "%s", text);
  if (out->count == HF_FINDINGS) return; /* enough to know; the counts go on */
  out->count++;
  at->what = what;
  snprintf(at->object, sizeof at->object, "%s", object ? object : "");
  snprintf(at->text, sizeof at->text, "%s", text);
}

int hf_sql_number(const hf_api *api, sqlite3 *db, const char *sql, int64_t *out)
{
  sqlite3_stmt *statement = NULL;
  int rc = api->prepare_v2(db, sql, -1, &statement, NULL);

  if (rc) return api->extended_errcode(db);
  rc = api->step(statement);
  if (rc == SQLITE_ROW) *out = api->column_int64(statement, 0);
  if (rc != SQLITE_ROW && rc != SQLITE_DONE) rc = api->extended_errcode(db);
  (void)api->finalize(statement); /* its code is the one of the step */
  return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* ---------------------------------------------------------------- the statement of a piece */

static void add_quoted(hf_text *sql, char quote, const char *name)
{
  hf_text_add(sql, "%c", quote);
  for (const char *p = name; *p; p++) hf_text_add(sql, *p == quote ? "%c%c" : "%c", *p, *p);
  hf_text_add(sql, "%c", quote);
}

static void sql_of(const holdfast_health_run *run, const hf_piece *piece, hf_text *sql)
{
  const char *check = run->set.kind == HOLDFAST_HEALTH_QUICK ? "quick_check" : "integrity_check";

  switch (piece->what) {
  case HF_PIECE_WHOLE: hf_text_add(sql, "PRAGMA \"%s\".%s(%d)", run->schema, check, HF_FINDINGS); return;
  case HF_PIECE_FK: hf_text_add(sql, "PRAGMA \"%s\".foreign_key_check(", run->schema); break;
  case HF_PIECE_FTS:
    if (run->api->libversion_number() < 3044000) {
      hf_text_add(sql, "INSERT INTO \"%s\".", run->schema);
      add_quoted(sql, '"', piece->name);
      hf_text_add(sql, "(");
      add_quoted(sql, '"', piece->name);
      hf_text_add(sql, ") VALUES('integrity-check')");
      return;
    } /* fall through */
  default: hf_text_add(sql, "PRAGMA \"%s\".%s(", run->schema, check);
  }
  add_quoted(sql, '\'', piece->name);
  hf_text_add(sql, ")");
}

/* ---------------------------------------------------------------- its rows */

/* One row of an integrity check may be many lines, under the heading "*** in database main ***". */
static void add_lines(holdfast_health_run *run, const hf_piece *piece, const char *row, hf_outcome *out)
{
  bool of_rtree = strncmp(row, "In RTree ", 9) == 0;

  while (*row) {
    size_t length = strcspn(row, "\n");
    char line[256];
    int what;

    snprintf(line, sizeof line, "%.*s", (int)length, row);
    row += length + (row[length] == '\n');
    if (!line[0] || strncmp(line, "*** in database ", 16) == 0) continue;
    if (hf_line_code(line) && hf_why_of(hf_line_code(line), "")) {
      out->line_code = hf_line_code(line);
      out->line_why = hf_why_of(out->line_code, "");
      snprintf(out->unread, sizeof out->unread, "%s", line);
      continue;
    }
    out->maps += strncmp(line, "Failed to read ptrmap", 21) == 0;
    what = of_rtree ? HOLDFAST_FINDING_VIRTUAL : hf_finding_of(line);
    if (piece->external && what == HOLDFAST_FINDING_VIRTUAL) what = HOLDFAST_FINDING_CONSTRAINT;
    hf_outcome_add(out, run->set.kind, what, piece->name, line);
  }
}

static void add_reference(holdfast_health_run *run, const hf_piece *piece, sqlite3_stmt *row, hf_outcome *out)
{
  const hf_api *api = run->api;
  const char *rowid = (const char *)api->column_text(row, 1),
             *parent = (const char *)api->column_text(row, 2);
  char line[256];

  snprintf(line, sizeof line, "row %s of %s refers to a row of %s that is not there",
           rowid ? rowid : "(without rowid)", piece->name, parent ? parent : "?");
  hf_outcome_add(out, run->set.kind, HOLDFAST_FINDING_REFERENCE, piece->name, line);
}

static void add_row(holdfast_health_run *run, const hf_piece *piece, sqlite3_stmt *row, hf_outcome *out)
{
  const char *text = (const char *)run->api->column_text(row, 0);

  if (piece->what == HF_PIECE_FK)
    add_reference(run, piece, row, out);
  else if (text && strcmp(text, "ok") != 0)
    add_lines(run, piece, text, out);
}

/* ---------------------------------------------------------------- its end */

static void failed(holdfast_health_run *run, const hf_piece *piece, int rc, hf_outcome *out)
{
  const char *message = run->api->errmsg(run->db);
  char line[256];
  int what;

  out->code = rc;
  out->why = hf_why_of(rc, message);
  if (rc == SQLITE_NOTADB && !run->was_database && !hf_header_overwritten(run, line, sizeof line))
    out->why = HOLDFAST_WHY_NOT_SQLITE;
  if (out->why != HOLDFAST_WHY_NONE) {
    /* Listed a moment ago and dropped since: nothing to check. */
    out->gone = piece->what != HF_PIECE_WHOLE && strncmp(message, "no such table", 13) == 0;
    snprintf(out->text, sizeof out->text, "%.200s (code %d)", message, rc);
    return;
  }
  what = rc != SQLITE_CORRUPT_VTAB ? HOLDFAST_FINDING_STRUCTURE
         : piece->external         ? HOLDFAST_FINDING_CONSTRAINT
                                   : HOLDFAST_FINDING_VIRTUAL;
  snprintf(line, sizeof line, "%.200s (code %d)", message, rc);
  hf_outcome_add(out, run->set.kind, what, piece->name, line);
}

static int run_statement(holdfast_health_run *run, const hf_piece *piece, hf_outcome *out)
{
  const hf_api *api = run->api;
  sqlite3_stmt *statement = NULL;
  hf_text sql = {0};
  int rc;

  sql_of(run, piece, &sql);
  if (sql.failed) return SQLITE_NOMEM;
  rc = api->prepare_v2(run->db, sql.at, -1, &statement, NULL);
  hf_text_free(&sql);
  if (rc == SQLITE_OK)
    while ((rc = api->step(statement)) == SQLITE_ROW) add_row(run, piece, statement, out);
  if (rc != SQLITE_DONE) {
    rc = api->extended_errcode(run->db);
    failed(run, piece, rc, out);
  }
  (void)api->finalize(statement); /* its code is the one of the step */
  return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static void list(holdfast_health_run *run, const hf_piece *piece, hf_outcome *out)
{
  int rc = hf_list_tables(run);

  if (rc) failed(run, piece, rc, out);
}

static void no_memory(hf_outcome *out)
{
  out->why = HOLDFAST_WHY_MEMORY;
  out->code = SQLITE_NOMEM;
}

/* A page that could not be read makes everything else that was said doubtful: pages behind it are "never
 * used". */
static void look_at_reads(holdfast_health_run *run, hf_outcome *out)
{
  if (!out->line_why && out->maps && out->maps == out->damage && !hf_file_readable(run)) {
    out->line_why = HOLDFAST_WHY_IO;
    out->line_code = SQLITE_IOERR_READ;
    snprintf(out->unread, sizeof out->unread, "the file cannot be read to its end");
  }
  if (!out->line_why) return;
  out->why = out->line_why;
  out->code = out->line_code;
  snprintf(out->text, sizeof out->text, "%s", out->unread);
}

/* What was read without a lock says nothing. Damage needs a lock that can be shown to be held. */
static void look_at_locks(holdfast_health_run *run, hf_outcome *out)
{
  switch (hf_locks_state(hf_health_node(run))) {
  case HF_LOCKS_INTACT: return;
  case HF_LOCKS_LOST:
    out->why = HOLDFAST_WHY_LOCK;
    snprintf(out->text, sizeof out->text,
             "a lock was lost, or the file was replaced, while it was read: what was read says nothing");
    break;
  default:
    if (out->damage) out->why = HOLDFAST_WHY_UNPROVEN;
  }
}

void hf_piece_run(holdfast_health_run *run, hf_piece *piece, int64_t deadline_ns, hf_outcome *out)
{
  hf_finding *places = out->findings;
  bool cached = false, fired;
  int rc;

  *out = (hf_outcome){.findings = places};
  hf_timer_arm(&run->timer, deadline_ns);
  rc = hf_disk_begin(run, &cached);
  if (rc)
    failed(run, piece, rc, out);
  else if (cached)
    out->why = HOLDFAST_WHY_CACHED;
  else if (piece->what == HF_PIECE_HEADER)
    hf_header_check(run, out);
  else if (piece->what == HF_PIECE_LIST)
    list(run, piece, out);
  else if (run_statement(run, piece, out) == SQLITE_NOMEM)
    no_memory(out);
  fired = hf_timer_disarm(&run->timer);
  if (fired) {
    *out = (hf_outcome){.findings = places, .cut = true, .why = HOLDFAST_WHY_BUDGET};
  } else {
    if (!out->why) look_at_reads(run, out);
    if (!out->why) look_at_locks(run, out);
  }
  hf_disk_end(run);
}
