/*
 * health.c - a check: which piece comes next, when damage is confirmed, and what the verdict is.
 *
 * The rules, each of which somebody's data paid for: what did not run is never ok; what could not run is
 * never damaged; damage is said when the same connection saw it twice, from the disk, in two snapshots, under
 * locks that are known to be held; and it is said once.
 */
#include "health.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guard.h"

enum { BUDGET_MS = 60000, SEE_TWICE = 2, SEE_AGAIN = 3, RELISTS = 3, FIRST_LIMIT_MS = 20 };

/* ---------------------------------------------------------------- the file of a run */

hf_node *hf_health_node(const holdfast_health_run *run)
{
  sqlite3_file *file = hf_file_of(run->api, run->db, run->schema);

  return run->owner && file && file->pMethods->xClose == hf_xClose ? hf_node_of(file) : NULL;
}

/* In WAL mode the wal-index is mapped by the first read, and without it there is nothing to compare. */
static void map_index(holdfast_health_run *run, hf_node *node)
{
  unsigned char version = 0;
  int64_t ignored;
  char sql[200];

  if (node->walguard.index || !node->wal_allowed) return;
  if (node->base->pMethods->xRead(node->base, &version, 1, 18) != SQLITE_OK || version != 2) return;
  snprintf(sql, sizeof sql, "PRAGMA \"%s\".schema_version", run->schema);
  (void)hf_sql_number(run->api, run->db, sql, &ignored); /* what fails here fails again in the first piece */
}

/* ---------------------------------------------------------------- the verdict */

static void say_damaged(holdfast_health_run *run, const hf_node *node)
{
  holdfast_health_report *r = &run->report;
  char cause[40];
  unsigned number;

  r->incident = hf_memory_damage(run->owner, r->device, r->inode, r->text, r->when_ms, &number);
  if (!r->incident) return;
  snprintf(cause, sizeof cause, "health-%u", number); /* a later incident is not the same line said again */
  hf_report(run->owner, "damaged", cause, node->path, SQLITE_CORRUPT,
            "%s (confirmed by a second %s check from the disk, SQLite %s); nothing was changed or deleted",
            r->text, holdfast_word("kind", r->kind), r->sqlite_version);
}

static void say_whole(holdfast_health_run *run, const hf_node *node)
{
  if (!hf_memory_whole(run->owner, run->report.device, run->report.inode, run->report.when_ms)) return;
  hf_report(run->owner, "lifted", "lifted", node->path, 0,
            "a full check found nothing: the incident is over");
}

static void remember(holdfast_health_run *run)
{
  holdfast_health_report *r = &run->report;
  hf_node *node = hf_health_node(run);
  hf_print after = {0}, seen;
  holdfast_health_report last;

  if (!node || r->device == 0) return;
  hf_print_take(node, &after);
  /* The print from before the first page was read: what came later shows as a change. */
  seen = run->before;
  if (!hf_print_same(&run->before, &after)) seen.known = false;
  if (r->kind <= HOLDFAST_HEALTH_FULL && r->verdict == HOLDFAST_HEALTH_DAMAGED) say_damaged(run, node);
  if (r->kind == HOLDFAST_HEALTH_FULL && r->verdict == HOLDFAST_HEALTH_OK) say_whole(run, node);
  if (r->verdict == HOLDFAST_HEALTH_NOT_CHECKED &&
      hf_memory_get(run->owner, r->device, r->inode, r->kind, &last, &after))
    return; /* what could not be checked takes nothing away from what was */
  hf_memory_put(run->owner, r, &seen);
}

static void finish(holdfast_health_run *run, int verdict, int why, const char *text)
{
  holdfast_health_report *r = &run->report;

  r->verdict = verdict;
  r->reason = why;
  if (why == HOLDFAST_WHY_CACHED) r->coverage |= HOLDFAST_COVER_CACHED;
  snprintf(r->text, sizeof r->text, "%s", text);
  r->when_ms = hf_now_ms();
  run->over = true;
  remember(run);
}

static const char *why_text(int why)
{
  switch (why) {
  case HOLDFAST_WHY_BUDGET: return "the time was up before everything was read";
  case HOLDFAST_WHY_CACHED:
    return "the connection has an open transaction or a busy statement, so its cache cannot be emptied";
  case HOLDFAST_WHY_MEMORY: return "out of memory";
  case HOLDFAST_WHY_UNPROVEN:
    return "damage was seen, but locks cannot be looked at here (the file is not under the shim, or it only "
           "observes)";
  default: return holdfast_word("reason", why);
  }
}

static void give_up(holdfast_health_run *run, const hf_outcome *out)
{
  run->report.code = out->code;
  if (out->why == HOLDFAST_WHY_UNPROVEN) { /* shown all the same, as what it is */
    memcpy(run->findings, out->findings, (size_t)out->count * sizeof *run->findings);
    run->shown = out->count;
  }
  finish(run, HOLDFAST_HEALTH_NOT_CHECKED, out->why,
         out->text[0] && out->why != HOLDFAST_WHY_UNPROVEN ? out->text : why_text(out->why));
}

/* ---------------------------------------------------------------- piece by piece */

static void cover(holdfast_health_run *run, const hf_piece *piece)
{
  bool full = run->set.kind == HOLDFAST_HEALTH_FULL;
  int virtual = run->api->libversion_number() >= 3044000 ? HOLDFAST_COVER_VIRTUAL : 0;

  if (piece->name) run->report.tables_done++;
  switch (piece->what) {
  case HF_PIECE_WHOLE:
    run->report.coverage |= HOLDFAST_COVER_TABLES | HOLDFAST_COVER_FREELIST | virtual;
    if (full) run->report.coverage |= HOLDFAST_COVER_INDEXES;
    break;
  case HF_PIECE_TABLE: break; /* counted; covered when all are done */
  default: break;
  }
}

static void cover_all(holdfast_health_run *run)
{
  switch (run->set.kind) {
  case HOLDFAST_HEALTH_FK: run->report.coverage |= HOLDFAST_COVER_FK; break;
  case HOLDFAST_HEALTH_FTS: run->report.coverage |= HOLDFAST_COVER_VIRTUAL; break;
  default: run->report.coverage |= HOLDFAST_COVER_TABLES; break;
  }
}

/* Tables that were made while the others were read. */
static bool more_tables(holdfast_health_run *run)
{
  int64_t now = run->cookie;
  char sql[200];
  int before = run->count;

  if (!run->relisted || run->relisted > RELISTS) return false;
  snprintf(sql, sizeof sql, "PRAGMA \"%s\".schema_version", run->schema);
  if (hf_sql_number(run->api, run->db, sql, &now) || now == run->cookie) return false;
  (void)hf_list_tables(
      run); /* a failure lists none: the pass over the whole file, or the next check, has them */
  return run->count > before;
}

static void next(holdfast_health_run *run)
{
  run->at++;
  run->seen = 0;
  if (run->at < run->count || more_tables(run)) return;
  cover_all(run);
  if (run->unknown)
    finish(run, HOLDFAST_HEALTH_NOT_CHECKED, HOLDFAST_WHY_UNKNOWN,
           "SQLite reports something that this version of holdfast does not know: see the findings");
  else
    finish(run, HOLDFAST_HEALTH_OK, HOLDFAST_WHY_NONE, "");
}

/* The pass over the whole file says again what was said of its tables. */
static bool shown(const holdfast_health_run *run, const hf_finding *finding)
{
  for (int i = 0; i < run->shown; i++)
    if (strcmp(run->findings[i].text, finding->text) == 0) return true;
  return false;
}

static void keep_findings(holdfast_health_run *run, const hf_outcome *out)
{
  for (int i = 0; i < out->count && run->shown < HF_FINDINGS; i++)
    if (!shown(run, &out->findings[i])) run->findings[run->shown++] = out->findings[i];
  run->report.damage += out->damage;
  run->unknown += out->unknown;
}

static int needed(const holdfast_health_run *run)
{
  const hf_node *node = hf_health_node(run);

  return run->set.confirm_again || (node && node->fresh) ? SEE_AGAIN : SEE_TWICE;
}

static void saw_damage(holdfast_health_run *run, const hf_outcome *out)
{
  bool alike = strcmp(run->first, out->text) == 0;

  if (run->seen++ == 0) snprintf(run->first, sizeof run->first, "%s", out->text);
  if (run->seen > 1 && needed(run) == SEE_AGAIN && !alike) {
    finish(run, HOLDFAST_HEALTH_NOT_CHECKED, HOLDFAST_WHY_UNPROVEN,
           "damage was seen, and another one when it was read again: the mount may be giving old pages");
  } else if (run->seen >= needed(run)) {
    keep_findings(run, out);
    run->report.code = out->code ? out->code : SQLITE_CORRUPT;
    finish(run, HOLDFAST_HEALTH_DAMAGED, HOLDFAST_WHY_NONE, out->text);
  } else {
    run->wants_fresh = run->inside;
  }
}

static void take(holdfast_health_run *run, hf_piece *piece, const hf_outcome *out)
{
  char text[256];

  if (out->gone) {
    next(run);
  } else if (out->why) {
    give_up(run, out);
  } else if (out->damage) {
    saw_damage(run, out);
  } else if (run->seen) {
    snprintf(text, sizeof text, "seen once and not when it was read again: %.200s", run->first);
    finish(run, HOLDFAST_HEALTH_NOT_CHECKED, HOLDFAST_WHY_UNPROVEN, text);
  } else {
    keep_findings(run, out);
    cover(run, piece);
    next(run);
  }
}

/* ---------------------------------------------------------------- time */

static int64_t budget_left_ms(const holdfast_health_run *run)
{
  if (run->set.budget_ms < 0) return INT64_MAX / 2000000;
  return run->set.budget_ms - run->report.work_ms;
}

/* Cut off by the clock: twice the time for the next try. Cut off because somebody waited: as much again. */
static void cut_off(holdfast_health_run *run, hf_piece *piece, int64_t took_ms)
{
  int most = run->set.slice_max_ms;

  run->report.interruptions++;
  if (hf_timer_asked(&run->timer)) return;
  if (most && piece->limit_ms >= most) {
    finish(run, HOLDFAST_HEALTH_NOT_CHECKED, HOLDFAST_WHY_BUDGET,
           "a piece of it takes longer than a slice may");
    return;
  }
  piece->limit_ms = (int)(took_ms < FIRST_LIMIT_MS / 2 ? FIRST_LIMIT_MS
                          : took_ms > INT32_MAX / 2    ? INT32_MAX
                                                       : took_ms * 2);
  if (most && piece->limit_ms > most) piece->limit_ms = most;
}

static void run_one(holdfast_health_run *run, int64_t slice_end)
{
  hf_outcome out = {.findings = run->again};
  int at = run->at;
  int64_t start = hf_now_ns(), left = budget_left_ms(run), deadline = 0;

  if (left <= 0) {
    finish(run, HOLDFAST_HEALTH_NOT_CHECKED, HOLDFAST_WHY_BUDGET, why_text(HOLDFAST_WHY_BUDGET));
    return;
  }
  if (slice_end) {
    deadline = start + run->pieces[at].limit_ms * (int64_t)1000000;
    if (deadline < slice_end) deadline = slice_end;
  }
  if (run->set.budget_ms >= 0 && (!deadline || deadline > start + left * 1000000))
    deadline = start + left * 1000000;
  {
    hf_piece piece = run->pieces[at]; /* listing moves the pieces */
    int64_t took;

    hf_piece_run(run, &piece, deadline, &out);
    took = (hf_now_ns() - start) / 1000000;
    run->report.work_ms += took;
    if (out.cut) {
      cut_off(run, &piece, took);
      run->pieces[at].limit_ms = piece.limit_ms;
    } else {
      take(run, &piece, &out);
    }
  }
}

int hf_health_step(holdfast_health_run *run, int slice_ms)
{
  int64_t end = slice_ms > 0 ? hf_now_ns() + slice_ms * (int64_t)1000000 : 0;

  hf_timer_step(&run->timer, true);
  while (!run->over && !run->wants_fresh) {
    run_one(run, end);
    if (hf_timer_asked(&run->timer) || (end && hf_now_ns() >= end)) break;
  }
  hf_timer_step(&run->timer, false);
  return run->over ? SQLITE_DONE : SQLITE_ROW;
}

/* ---------------------------------------------------------------- begin and end */

/* Nothing was written since the last ok, by whomever: the answer is known. */
static void answer_at_once(holdfast_health_run *run, hf_node *node)
{
  holdfast_health_report last;
  hf_print then;

  if (!node->walguard.index && !run->inside) map_index(run, node);
  hf_print_take(node, &run->before);
  run->report.device = node->self.device;
  run->report.inode = node->self.inode;
  if (run->set.force ||
      !hf_memory_get(run->owner, node->self.device, node->self.inode, run->set.kind, &last, &then))
    return;
  if (last.verdict != HOLDFAST_HEALTH_OK || !then.sure || !hf_print_same(&then, &run->before)) return;
  run->report = last;
  run->report.kind = run->set.kind;
  run->report.unchanged = 1;
  run->report.incident = 0;
  run->over = true;
}

static bool settings(holdfast_health_run *run, const holdfast_health_options *options)
{
  if (options && options->struct_size < sizeof *options) return false;
  if (options) run->set = *options;
  if (!run->set.kind) run->set.kind = HOLDFAST_HEALTH_QUICK;
  if (!run->set.budget_ms) run->set.budget_ms = BUDGET_MS;
  return run->set.kind >= HOLDFAST_HEALTH_QUICK && run->set.kind <= HOLDFAST_HEALTH_FTS &&
         run->set.slice_max_ms >= 0;
}

/* A name that cannot be put between double quotes as it is would be checked as another one. */
static bool schema_fits(holdfast_health_run *run, const char *schema)
{
  if (!schema) schema = "main";
  if (strchr(schema, '"') || strlen(schema) >= sizeof run->schema) return false;
  strcpy(run->schema, schema);
  return run->api->db_readonly(run->db, schema) >= 0;
}

static int prepare_run(holdfast_health_run *run)
{
  hf_node *node = hf_health_node(run);
  sqlite3_stmt *known = NULL;
  char sql[200];

  run->report = (holdfast_health_report){.struct_size = sizeof run->report,
                                         .verdict = HOLDFAST_HEALTH_NOT_CHECKED,
                                         .kind = run->set.kind,
                                         .reason = HOLDFAST_WHY_BUDGET};
  snprintf(run->report.sqlite_version, sizeof run->report.sqlite_version, "%s", run->api->libversion());
  snprintf(run->report.text, sizeof run->report.text, "%s", why_text(HOLDFAST_WHY_BUDGET));
  if (node) answer_at_once(run, node);
  if (run->over) return SQLITE_OK;
  /* A schema that is in memory was read from a database. Nothing is read for this question. */
  snprintf(sql, sizeof sql, "SELECT 1 FROM \"%s\".sqlite_master", run->schema);
  run->was_database = run->api->prepare_v2(run->db, sql, -1, &known, NULL) == SQLITE_OK;
  (void)run->api->finalize(known); /* accepts NULL */
  run->findings = calloc(2 * HF_FINDINGS, sizeof *run->findings);
  if (!run->findings || hf_list_start(run) != SQLITE_OK) return SQLITE_NOMEM;
  run->again = run->findings + HF_FINDINGS;
  return run->inside ? SQLITE_OK : hf_timer_start(&run->timer, run->api, run->db);
}

int hf_health_begin(const hf_api *api, sqlite3 *db, const char *schema,
                    const holdfast_health_options *options, bool inside, holdfast_health_run **out)
{
  holdfast_health_run *run = calloc(1, sizeof *run);
  int rc = SQLITE_MISUSE;

  if (!run) return SQLITE_NOMEM;
  run->own_api = *api;
  run->api = &run->own_api;
  run->owner = hf_vfs_in(api);
  run->db = db;
  run->inside = inside;
  if (settings(run, options) && schema_fits(run, schema)) rc = prepare_run(run);
  if (rc) {
    hf_health_end(run);
    return rc;
  }
  *out = run;
  return SQLITE_OK;
}

void hf_health_end(holdfast_health_run *run)
{
  if (!run) return;
  hf_timer_stop(&run->timer);
  hf_list_free(run);
  free(run->findings);
  free(run);
}
