/*
 * health_pragma.c - the check as a PRAGMA: PRAGMA holdfast_health = full, one JSON value.
 *
 * It is answered while SQLite prepares it, before any transaction. So it works where the table does not: on a
 * database whose first page is broken, of which SQLite cannot even begin to read. It is the whole check, not
 * sliced.
 */
#include <string.h>
#include <strings.h>

#include "health.h"

static void member(hf_text *out, const char *key, const char *value)
{
  hf_text_add(out, ",\"%s\":", key);
  hf_text_json(out, value && *value ? value : NULL);
}

static void add_row(const holdfast_health_run *run, int index, hf_text *out)
{
  const holdfast_health_report *r = &run->report;
  const hf_finding *finding = index < run->shown ? &run->findings[index] : NULL;
  char text[200];

  hf_text_add(out, "%s{\"verdict\":\"%s\"", index ? "," : "", holdfast_word("verdict", r->verdict));
  member(out, "kind", holdfast_word("kind", r->kind));
  member(out, "reason", r->reason ? holdfast_word("reason", r->reason) : NULL);
  member(out, "coverage", holdfast_health_coverage(r, text, sizeof text));
  hf_text_add(out, ",\"time\":%lld,\"age_ms\":%lld,\"unchanged\":%d,\"change_counter\":%lu",
              (long long)(r->when_ms / 1000), (long long)(hf_now_ms() - r->when_ms), r->unchanged,
              (unsigned long)r->change_counter);
  member(out, "sqlite_version", r->sqlite_version);
  hf_text_add(out, ",\"code\":%d", r->code);
  member(out, "text", r->text);
  member(out, "finding", finding ? holdfast_word("finding", finding->what) : NULL);
  member(out, "object", finding ? finding->object : NULL);
  member(out, "detail", finding ? finding->text : NULL);
  hf_text_add(out, "}");
}

int hf_health_pragma(const hf_api *api, sqlite3 *db, const char *schema, const char *kind, hf_text *out)
{
  holdfast_health_options options = {.struct_size = sizeof options,
                                     .kind = hf_health_kind(kind ? kind : "quick")};
  holdfast_health_run *run = NULL;
  int rc;

  if (options.kind < 0) {
    hf_text_add(out, "holdfast_health: quick, full, fk or fts");
    return SQLITE_ERROR;
  }
  rc = hf_health_begin(api, db, schema, &options, false, &run);
  if (rc) return rc;
  (void)hf_health_step(run, 0); /* without a slice it is over then */
  hf_text_add(out, "[");
  for (int i = 0; i == 0 || i < run->shown; i++) add_row(run, i, out);
  hf_text_add(out, "]");
  hf_health_end(run);
  return SQLITE_OK;
}
