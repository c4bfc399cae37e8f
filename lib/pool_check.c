/*
 * pool_check.c - the look at the database when a pool opens, and the quarantine, and the copy that is kept.
 *
 * On the pool's own main connection, never on another: a probe connection sees locks and half states and
 * calls them damage (F5). What could not be checked is "not_checked", which is neither ok nor damaged. Later
 * checks are in pool_health.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pool.h"

enum { BYTES_PER_MS = 256 * 1024, BY_TABLE_SINCE = 3033000 };

/* Old versions cannot be stopped in the middle: what is too big from the start is not begun. */
static bool too_big(sqlite3 *db, int64_t budget_ns)
{
  char pages[24] = "0", bytes[24] = "0";

  if (sqlite3_libversion_number() >= BY_TABLE_SINCE) return false;
  if (hf_connection_text(db, "PRAGMA main.page_count", pages, sizeof pages) ||
      hf_connection_text(db, "PRAGMA main.page_size", bytes, sizeof bytes))
    return false; /* the check itself will say what is wrong */
  return strtoll(pages, NULL, 10) * strtoll(bytes, NULL, 10) > budget_ns / HF_MS * BYTES_PER_MS;
}

static void look(holdfast_lease *lease, holdfast_health_report *report)
{
  holdfast_health_options options = {.struct_size = sizeof options,
                                     .kind = HOLDFAST_HEALTH_QUICK,
                                     .budget_ms = (int)(lease->pool->config.check_ns / HF_MS)};
  holdfast_health_run *run = NULL;
  int rc;

  report->verdict = HOLDFAST_HEALTH_NOT_CHECKED;
  snprintf(report->text, sizeof report->text, "it would take too long");
  if (too_big(lease->db, lease->pool->config.check_ns)) return;
  rc = holdfast_health_begin(lease->db, "main", &options, &run);
  if (rc) {
    snprintf(report->text, sizeof report->text, "%s", sqlite3_errstr(rc));
    return;
  }
  while (holdfast_health_step(run, 0) == SQLITE_ROW) continue;
  (void)holdfast_health_report_of(run, report); /* the arguments are right */
  holdfast_health_end(run);
}

void hf_quarantine(holdfast_pool *pool, bool on, const char *why)
{
  hf_said said = {.kind = on ? HOLDFAST_POOL_QUARANTINED : HOLDFAST_POOL_LIFTED, .lane = HOLDFAST_WRITE};
  bool was;

  pthread_mutex_lock(&pool->mutex);
  was = pool->quarantined;
  pool->quarantined = on;
  hf_queue_wake_all(pool);
  pthread_mutex_unlock(&pool->mutex);
  if (was != on) hf_event(pool, &said, on ? "writes are off: %s" : "writes are on again: %s", why);
}

/* One copy for each incident, however often it is asked for; what says so is the copy itself. */
void hf_evidence(holdfast_pool *pool, sqlite3 *db, int copies_max, int64_t bytes_max)
{
  hf_said said = {.kind = HOLDFAST_POOL_CHECKED, .lane = HOLDFAST_WRITE};
  char name[1024] = "";
  int made = 0;

  if (copies_max < 0) return;
  said.code = holdfast_health_evidence(db, "main", copies_max, bytes_max, &made, name, sizeof name);
  if (said.code)
    hf_event(pool, &said, "no copy could be kept as evidence: %s", sqlite3_errstr(said.code));
  else if (made)
    hf_event(pool, &said, "a copy was kept as evidence: %s", name);
}

void hf_check_at_open(holdfast_lease *lease)
{
  holdfast_pool *pool = lease->pool;
  hf_said said = {.kind = HOLDFAST_POOL_CHECKED, .lane = HOLDFAST_WRITE};
  holdfast_health_report report = {.struct_size = sizeof report, .verdict = HOLDFAST_HEALTH_NOT_CHECKED};
  bool wanted = pool->config.check == HOLDFAST_CHECK_QUICK && !pool->memory;

  if (wanted) look(lease, &report);
  pthread_mutex_lock(&pool->mutex);
  snprintf(pool->check, sizeof pool->check, "%s", holdfast_word("verdict", report.verdict));
  pthread_mutex_unlock(&pool->mutex);
  if (!wanted || report.verdict == HOLDFAST_HEALTH_OK) return;
  hf_event(pool, &said, "the check at open says %s: %s", holdfast_word("verdict", report.verdict),
           report.text);
  if (report.verdict != HOLDFAST_HEALTH_DAMAGED) return;
  hf_evidence(pool, lease->db, 0, 0);
  hf_quarantine(pool, true, report.text);
}
