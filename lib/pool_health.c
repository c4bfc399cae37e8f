/*
 * pool_health.c - the check of a pool's database: slices on the main connection, and what follows from a
 * verdict.
 *
 * The check itself is the engine behind holdfast_health_begin(). Here it gets the main connection as
 * everybody does, by a lease, and politely: it never passes a writer, and a writer that comes while a slice
 * runs ends it (pool_queue.c). When the connection was replaced between two slices the check begins again.
 */
#include <stdio.h>
#include <string.h>

#include "pool.h"

enum { SLICE_MS = 10, BUDGET_MS = 60000, BEGINNINGS = 3 };

typedef struct hf_checkup {
  holdfast_pool *pool;
  holdfast_health_options options;
  hf_want want;
  int64_t until_ns; /* 0 = no limit */
  holdfast_health_run *run;
  sqlite3 *db; /* the connection that the run belongs to */
  int beginnings;
  holdfast_health_report report;
} hf_checkup;

static void set_running(holdfast_pool *pool, holdfast_health_run *run)
{
  pthread_mutex_lock(&pool->mutex);
  pool->checking = run;
  pthread_mutex_unlock(&pool->mutex);
}

/* ---------------------------------------------------------------- what follows from a verdict */

static void tell_damage(hf_checkup *c)
{
  hf_said said = {.kind = HOLDFAST_POOL_CHECKED, .lane = HOLDFAST_WRITE, .code = c->report.code};

  hf_event(c->pool, &said, "the database is damaged: %s", c->report.text);
  hf_evidence(c->pool, c->db, c->options.evidence_max, c->options.evidence_bytes);
}

/* The lease is still out: what was seen is on this connection. */
static void respond(hf_checkup *c)
{
  const holdfast_health_report *r = &c->report;

  if (r->kind > HOLDFAST_HEALTH_FULL) return; /* foreign keys and FTS tables say nothing about the file */
  if (r->verdict == HOLDFAST_HEALTH_DAMAGED) {
    if (r->incident) tell_damage(c);
    hf_quarantine(c->pool, true, r->text);
  } else if (r->verdict == HOLDFAST_HEALTH_OK && r->kind == HOLDFAST_HEALTH_FULL) {
    hf_quarantine(c->pool, false, "a full check found nothing");
  }
}

/* ---------------------------------------------------------------- slices */

static int begin(hf_checkup *c, holdfast_lease *lease)
{
  if (c->run && c->db == lease->db) return SQLITE_OK;
  holdfast_health_end(c->run); /* its connection is gone, and it does not touch it any more */
  c->run = NULL;
  c->db = lease->db;
  if (c->beginnings++ == BEGINNINGS) return SQLITE_SCHEMA; /* said as not_checked by the caller */
  return holdfast_health_begin(c->db, "main", &c->options, &c->run);
}

/* An error that may be damage would cost the connection at its release: the second look comes first. */
static int step(hf_checkup *c)
{
  int rc;

  set_running(c->pool, c->run);
  do rc = holdfast_health_step(c->run, c->options.slice_ms);
  while (rc == SQLITE_ROW && holdfast_classify(sqlite3_extended_errcode(c->db)) == HOLDFAST_CODE_SUSPECT);
  set_running(c->pool, NULL);
  return rc;
}

static int slice(hf_checkup *c)
{
  holdfast_lease *lease = NULL;
  int rc;

  c->want.now_ns = hf_now();
  c->want.wait_ns = c->until_ns ? c->until_ns - c->want.now_ns : c->pool->config.wait_ns;
  if (c->want.wait_ns < 0) c->want.wait_ns = 0;
  rc = hf_acquire(c->pool, &c->want, &lease);
  if (rc) return rc;
  rc = begin(c, lease);
  if (rc == SQLITE_OK) {
    rc = step(c);
    (void)holdfast_health_report_of(c->run, &c->report); /* the arguments are right */
    if (rc == SQLITE_DONE) respond(c);
  }
  (void)hf_release(lease); /* a connection that was given up is replaced when it is wanted */
  return rc;
}

static int run(hf_checkup *c)
{
  int rc;

  do {
    rc = slice(c);
    if (rc == HOLDFAST_TIMEOUT && c->run) return 0; /* the budget went by in the queue: the report says so */
  } while (rc == SQLITE_ROW);
  if (rc == SQLITE_SCHEMA) {
    snprintf(c->report.text, sizeof c->report.text, "the connection was replaced again and again");
    c->report.reason = HOLDFAST_WHY_INTERRUPTED;
    rc = SQLITE_DONE;
  }
  return rc == SQLITE_DONE ? 0 : rc;
}

static int settings(hf_checkup *c, const holdfast_health_options *options)
{
  int rc, mode = c->pool->config.flags & HOLDFAST_POOL_READONLY ? HOLDFAST_READ : HOLDFAST_WRITE;

  if (options && options->struct_size < sizeof *options)
    return hf_fail(HOLDFAST_MISUSE, "holdfast_health_check: struct_size of the options is wrong");
  if (options) c->options = *options;
  c->options.struct_size = sizeof c->options;
  if (!c->options.budget_ms) c->options.budget_ms = BUDGET_MS;
  if (c->options.slice_ms <= 0) c->options.slice_ms = SLICE_MS;
  rc = hf_want_of(c->pool, mode, NULL, &c->want);
  if (rc) return rc;
  c->want.main = c->want.polite = true;
  c->want.tag = "holdfast: check";
  if (c->options.budget_ms > 0) c->until_ns = hf_now() + c->options.budget_ms * HF_MS;
  return 0;
}

int holdfast_health_check(holdfast_pool *pool, const holdfast_health_options *options,
                          holdfast_health_report *report)
{
  hf_checkup c = {.pool = pool,
                  .report = {.struct_size = sizeof c.report, .verdict = HOLDFAST_HEALTH_NOT_CHECKED}};
  int rc;

  if (!pool || !report || report->struct_size < sizeof *report)
    return hf_fail(HOLDFAST_MISUSE, "holdfast_health_check: an argument is NULL, or struct_size is wrong");
  if (hf_forked(pool)) return hf_fail_forked();
  rc = settings(&c, options);
  if (rc) return rc;
  rc = run(&c);
  holdfast_health_end(c.run);
  if (rc == SQLITE_MISUSE) return hf_fail(HOLDFAST_MISUSE, "holdfast_health_check: a value is out of range");
  if (rc) return rc > 0 ? hf_fail(rc, "pool %s: the check: %s", pool->config.name, sqlite3_errstr(rc)) : rc;
  *report = c.report;
  return 0;
}

int holdfast_health_last(holdfast_pool *pool, holdfast_health_report *report)
{
  holdfast_health_report quick = {.struct_size = sizeof quick}, full = {.struct_size = sizeof full};
  int rc;

  if (!pool || !report || report->struct_size < sizeof *report)
    return hf_fail(HOLDFAST_MISUSE, "holdfast_health_last: an argument is NULL, or struct_size is wrong");
  if (hf_forked(pool)) return hf_fail_forked();
  rc = holdfast_health_recall(pool->path, HOLDFAST_HEALTH_QUICK, &quick);
  if (!rc) rc = holdfast_health_recall(pool->path, HOLDFAST_HEALTH_FULL, &full);
  if (rc) return hf_fail(rc, "pool %s: %s cannot be looked at", pool->config.name, pool->path);
  *report = full.when_ms >= quick.when_ms && full.reason != HOLDFAST_WHY_NEVER ? full : quick;
  return 0;
}
