/*
 * asked.c - see asked.h.
 */
#include "asked.h"

#include <stdio.h>
#include <stdlib.h>

static void (*run_before)(void);

static void registered(void)
{
  if (run_before) run_before();
  if (holdfast_register(NULL) != SQLITE_OK) exit(3);
}

peer *asked_start(void (*before)(void))
{
  run_before = before;
  return peer_start_in(SHIM_NO, NULL, registered);
}

int asked(sqlite3 *db, const holdfast_health_options *options, int slice_ms, char *out, size_t size)
{
  holdfast_health_report report = {.struct_size = sizeof report};
  holdfast_health_run *run;
  int rc = holdfast_health_begin(db, "main", options, &run);

  if (rc) {
    (void)snprintf(out, size, "no run: code %d", rc);
    return SQLITE_OK; /* the answer tells */
  }
  while (holdfast_health_step(run, slice_ms) == SQLITE_ROW) continue;
  (void)holdfast_health_report_of(run, &report); /* the arguments are right */
  (void)snprintf(out, size, "%s|%s|%d|%s", holdfast_word("verdict", report.verdict),
                 holdfast_word("reason", report.reason), report.damage > 0, report.text);
  holdfast_health_end(run);
  return SQLITE_OK;
}

static int of_kind(sqlite3 **db, int kind, char *out, size_t size)
{
  holdfast_health_options options = {.struct_size = sizeof options, .kind = kind};

  return asked(db[0], &options, 5, out, size);
}

int asked_quick(sqlite3 **db, char *out, size_t size)
{
  return of_kind(db, HOLDFAST_HEALTH_QUICK, out, size);
}
int asked_full(sqlite3 **db, char *out, size_t size)
{
  return of_kind(db, HOLDFAST_HEALTH_FULL, out, size);
}
int asked_fk(sqlite3 **db, char *out, size_t size)
{
  return of_kind(db, HOLDFAST_HEALTH_FK, out, size);
}
int asked_fts(sqlite3 **db, char *out, size_t size)
{
  return of_kind(db, HOLDFAST_HEALTH_FTS, out, size);
}

const char *asked_of(peer *p, peer_function *step)
{
  (void)peer_call(p, step); /* the answer tells */
  return peer_text(p);
}
