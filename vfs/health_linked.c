/*
 * health_linked.c - the C functions of health, in libholdfast only: they work on connections of the SQLite
 * that this program is linked with.
 */
#include <string.h>

#include "health.h"

int holdfast_health_begin(sqlite3 *db, const char *schema, const holdfast_health_options *options,
                          holdfast_health_run **out)
{
  hf_api api = hf_api_linked();

  return db && out ? hf_health_begin(&api, db, schema, options, false, out) : SQLITE_MISUSE;
}

int holdfast_health_step(holdfast_health_run *run, int slice_ms)
{
  return run ? hf_health_step(run, slice_ms) : SQLITE_DONE;
}

void holdfast_health_yield(holdfast_health_run *run)
{
  if (run) hf_timer_ask(&run->timer);
}

int holdfast_health_progress(const holdfast_health_run *run)
{
  if (!run || run->over || run->count == 0) return 100;
  return 100 * run->at / run->count;
}

int holdfast_health_report_of(const holdfast_health_run *run, holdfast_health_report *out)
{
  if (!run || !out || out->struct_size < sizeof *out) return SQLITE_MISUSE;
  *out = run->report;
  out->findings = run->shown;
  return SQLITE_OK;
}

int holdfast_health_finding(const holdfast_health_run *run, int index, holdfast_health_finding_row *out)
{
  if (!run || index < 0 || !out || out->struct_size < sizeof *out) return SQLITE_MISUSE;
  if (index >= run->shown) return SQLITE_NOTFOUND;
  out->what = run->findings[index].what;
  memcpy(out->object, run->findings[index].object, sizeof out->object);
  memcpy(out->text, run->findings[index].text, sizeof out->text);
  return SQLITE_OK;
}

void holdfast_health_end(holdfast_health_run *run)
{
  hf_health_end(run);
}

int holdfast_health_evidence(sqlite3 *db, const char *schema, int copies_max, int64_t bytes_max, int *made,
                             char *name, size_t size)
{
  hf_api api = hf_api_linked();
  int ignored;

  if (!db || copies_max < 0 || bytes_max < 0) return SQLITE_MISUSE;
  return hf_health_evidence(&api, db, schema ? schema : "main", copies_max, bytes_max, made ? made : &ignored,
                            name, size);
}

int holdfast_health_recall(const char *path, int kind, holdfast_health_report *out)
{
  hf_vfs *owner = hf_vfs_linked();
  holdfast_health_report last = {.struct_size = sizeof last,
                                 .verdict = HOLDFAST_HEALTH_NOT_CHECKED,
                                 .kind = kind,
                                 .reason = HOLDFAST_WHY_NEVER,
                                 .text = "nobody has checked it yet"};
  hf_print now, then;

  if (!owner || !path || kind < HOLDFAST_HEALTH_QUICK || kind > HOLDFAST_HEALTH_FTS || !out ||
      out->struct_size < sizeof *out)
    return SQLITE_MISUSE;
  hf_print_look(path, &now);
  if (!now.known) return SQLITE_CANTOPEN;
  if (hf_memory_get(owner, now.device, now.inode, kind, &last, &then)) {
    last.kind = kind;
    last.incident = 0;
    if (last.verdict != HOLDFAST_HEALTH_NOT_CHECKED) {
      if ((then.sure || last.verdict == HOLDFAST_HEALTH_DAMAGED) && hf_print_same_files(&then, &now))
        last.unchanged = 1;
      else
        last.verdict = HOLDFAST_HEALTH_STALE;
    }
  }
  *out = last;
  return SQLITE_OK;
}
