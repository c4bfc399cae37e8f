/*
 * show.c - how `holdfast doctor` prints its findings: text for people, one JSON object for programs.
 *
 * Both say the same; what is judged here is only how to put it.
 */
#include <errno.h>
#include <string.h>

#include <sqlite3.h>

#include "cli.h"
#include "doctor.h"

enum { LINE_BYTES = 1400 };

const char *verdict_word(int code)
{
  return code == EXIT_FINE      ? "ok"
         : code == EXIT_WARNING ? "warning"
         : code == EXIT_UNSAFE  ? "unsafe"
                                : "failed";
}

/* One sentence about why there is no verdict, or NULL when there is one. */
static const char *failure(const findings *f, char *out, size_t size)
{
  const holdfast_mount *m = &f->mount;
  const char *who = m->mount_class == HOLDFAST_CLASS_LOCAL || m->mount_class == HOLDFAST_CLASS_MEMORY
                        ? "the disk"
                        : "the server";

  if (f->interrupted)
    snprintf(out, size, "interrupted");
  else if (f->silent && f->have_mount)
    snprintf(out, size, "%s of %s (%s %s) does not answer", who, m->mount_point, m->fstype, m->source);
  else if (f->silent)
    snprintf(out, size, "%s does not answer", f->resolved[0] ? f->resolved : f->path);
  else if (f->error)
    snprintf(out, size, "cannot reach it: %s", strerror(f->error));
  else if (f->kind == KIND_OTHER)
    snprintf(out, size, "it is %s, not a database file", f->special);
  else if (!f->have_mount)
    snprintf(out, size, "cannot find out what it lies on");
  else
    return NULL;
  return out;
}

static const char *kind_word(int kind)
{
  static const char *const words[] = {NULL, "file", "new", "directory", "other"};

  return words[kind];
}

static const char *header_word(int header)
{
  static const char *const words[] = {NULL, "empty", "rollback", "wal", "not-sqlite", "unreadable"};

  return words[header];
}

static const char *step_word(int result)
{
  static const char *const words[] = {"?", "passed", "failed", "expected", "skipped"};

  return result >= HOLDFAST_STEP_PASSED && result <= HOLDFAST_STEP_SKIPPED ? words[result] : words[0];
}

static const char *probe_word(const findings *f)
{
  static const char *const words[] = {"not-run", "not-run", NULL, "not-run", "unfinished"};

  return f->probe_state != PROBE_RAN ? words[f->probe_state] : f->report.failed ? "failed" : "passed";
}

/* Why the self-test did not run or did not end. */
static const char *probe_reason(const findings *f, char *out, size_t size)
{
  switch (f->probe_state) {
  case PROBE_NOT_ASKED: snprintf(out, size, f->probe ? "not reached" : "--no-probe"); break;
  case PROBE_NOT_SENSIBLE: snprintf(out, size, "nothing can be written here"); break;
  case PROBE_IMPOSSIBLE:
    snprintf(out, size, "no file could be made here: %s", strerror(f->probe_error));
    break;
  case PROBE_UNFINISHED:
    snprintf(out, size, "it did not end in time%s%s", f->leftover ? "; this file may still be there: " : "",
             f->leftover ? f->sidecar : "");
    break;
  default: return NULL;
  }
  return out;
}

static const holdfast_selftest_report *report_of(const findings *f)
{
  return f->probe_state == PROBE_RAN ? &f->report : NULL;
}

/* ---------------------------------------------------------------- text */

static void label(const char *name)
{
  printf("  %-10s ", name);
}

static void line(const char *name, const char *text)
{
  label(name);
  out_text(stdout, text);
  putchar('\n');
}

static tone tone_of(int code)
{
  return code == EXIT_FINE ? TONE_GOOD : code == EXIT_WARNING ? TONE_WARN : TONE_BAD;
}

static void text_mount(const holdfast_mount *m)
{
  char text[LINE_BYTES + 2048];

  snprintf(text, sizeof text, "%s, %s on %s", m->fstype, m->source, m->mount_point);
  line("mount", text);
  line("", m->options);
  snprintf(text, sizeof text, "%s (class %s, confidence %s)", holdfast_word("rule", m->rule),
           holdfast_word("class", m->mount_class), holdfast_word("confidence", m->confidence));
  line("rule", text);
  snprintf(text, sizeof text, "shared memory %s, locks %s, durable %s, scope %s",
           holdfast_word("shm", m->shm), holdfast_word("locks", m->locks),
           holdfast_word("durable", m->durable), holdfast_word("scope", m->scope));
  line("", text);
  line("", m->reason);
}

static void text_beside(const char *suffix, long long size)
{
  if (size >= 0) printf(", %s of %lld bytes", suffix, size);
}

static void text_journal(const findings *f)
{
  const journal_facts *j = &f->journal;

  if (f->kind != KIND_FILE) {
    line("database", f->kind == KIND_NEW ? "does not exist yet" : "none: this is a directory");
    return;
  }
  label("database");
  switch (j->header) {
  case HEADER_EMPTY: printf("empty"); break;
  case HEADER_ROLLBACK: printf("rollback journal, page size %d", j->page_size); break;
  case HEADER_WAL: printf("WAL mode, page size %d", j->page_size); break;
  case HEADER_STRANGE: printf("not a plain SQLite database: something else, or encrypted"); break;
  default: printf("cannot be read: %s", strerror(j->error)); break;
  }
  text_beside("-wal", j->wal);
  text_beside("-shm", j->shm);
  text_beside("-journal", j->journal);
  putchar('\n');
  if (j->hot)
    line("",
         "a transaction is under way, or its writer died: then the next program that opens it rolls it back");
  if (j->header == HEADER_WAL && j->wal > 0)
    line("", "rows may be in the -wal only: never delete or copy without it");
  if (j->header == HEADER_WAL && f->mount.rule != HOLDFAST_RULE_WAL_OK)
    line("", "WAL does not work on this mount: `holdfast convert` takes the database out of it");
}

/* What passed is one line of names; everything else gets its own line with the detail. */
static void text_steps(const char *name, const holdfast_selftest_report *r)
{
  static const tone tones[] = {TONE_PLAIN, TONE_GOOD, TONE_BAD, TONE_GOOD, TONE_WARN};
  const char *between = " ";

  label(name);
  out_toned(TONE_GOOD, "passed");
  for (int i = 0; i < r->count; i++) {
    if (r->steps[i].result != HOLDFAST_STEP_PASSED) continue;
    printf("%s%s", between, r->steps[i].name);
    between = ", ";
  }
  putchar('\n');
  for (int i = 0; i < r->count; i++) {
    const holdfast_step *step = &r->steps[i];
    if (step->result == HOLDFAST_STEP_PASSED) continue;
    label("");
    out_toned(tones[step->result], step_word(step->result));
    printf(" %s: ", step->name);
    out_text(stdout, step->detail);
    putchar('\n');
  }
}

static void text_selftest(const findings *f)
{
  char why[PATH_BYTES + 128];

  if (!probe_reason(f, why, sizeof why)) {
    text_steps("self-test", &f->report);
    return;
  }
  label("self-test");
  out_toned(f->probe_state >= PROBE_IMPOSSIBLE ? TONE_WARN : TONE_DIM, probe_word(f));
  printf(" (");
  out_text(stdout, why);
  printf(")\n");
}

static const char *hosts_reason(const findings *f)
{
  if (f->hosts_state == PROBE_UNFINISHED) return "it did not end in time";
  return f->hosts_error == ETIMEDOUT ? "the other host did not come: run the same with the other letter there"
                                     : strerror(f->hosts_error);
}

static bool hosts_advice(const findings *f, int index, char *text, size_t size)
{
  return f->as && f->hosts_state == PROBE_RAN &&
         holdfast_advice_hosts(&f->mount, &f->hosts, index, text, size) == SQLITE_OK;
}

static void text_hosts(const findings *f)
{
  if (!f->as) return;
  if (f->hosts_state == PROBE_RAN)
    text_steps("two hosts", &f->hosts);
  else
    line("two hosts", hosts_reason(f));
}

static void text_sqlite(void)
{
  holdfast_bug bug = {.struct_size = sizeof bug};
  int version = sqlite3_libversion_number();
  char text[LINE_BYTES];

  snprintf(text, sizeof text, "%s in this command (SELECT sqlite_version() tells that of your program)",
           sqlite3_libversion());
  line("sqlite", text);
  for (int i = 0; holdfast_known_bug(version, i, &bug) == SQLITE_OK; i++) {
    snprintf(text, sizeof text, "%s, fixed in %s: %s", bug.id, bug.fixed, bug.what);
    line("", text);
  }
}

static void text_advice(const findings *f)
{
  char text[LINE_BYTES];

  for (int i = 0; hosts_advice(f, i, text, sizeof text); i++) line("advice", text);
  for (int i = 0; holdfast_advice(&f->mount, report_of(f), i, text, sizeof text) == SQLITE_OK; i++)
    line(i == 0 ? "advice" : "", text);
}

/* The last line's few words: the rule, and what makes the answer worse than the rule alone. */
static void conclude(const findings *f, int code, char *out, size_t size)
{
  const char *rule = holdfast_word("rule", f->mount.rule), *but = "";

  if (f->as && f->hosts_state != PROBE_RAN)
    but = ", but nobody came to try it from a second host";
  else if (f->as && f->hosts.failed)
    but = ", but two hosts must not share a database here";
  else if (code == EXIT_UNSAFE && f->mount.rule != HOLDFAST_RULE_REFUSE)
    but = ", but locks or files do not work as SQLite needs them";
  else if (f->journal.header == HEADER_STRANGE)
    but = ", but this is not a plain SQLite database";
  else if (f->journal.header == HEADER_UNREADABLE)
    but = ", but the file cannot be read";
  else if (f->probe_state == PROBE_IMPOSSIBLE || f->probe_state == PROBE_UNFINISHED)
    but = ", but the locks could not be tried";
  else if (f->probe_state == PROBE_RAN && f->report.maps == 0 && f->mount.rule == HOLDFAST_RULE_WAL_OK)
    but = ", but shared memory does not work";
  else if (f->mount.confidence == HOLDFAST_CONFIDENCE_LOW)
    but = ", but holdfast is not sure of this place";
  snprintf(out, size, "%s%s", rule, but);
}

void show_text(const findings *f, int code)
{
  char text[PATH_BYTES + LINE_BYTES];

  out_text(stdout, f->path);
  if (f->resolved[0] && strcmp(f->resolved, f->path) != 0) {
    printf(" -> ");
    out_text(stdout, f->resolved);
  }
  putchar('\n');
  if (!failure(f, text, sizeof text)) {
    text_mount(&f->mount);
    text_journal(f);
    text_selftest(f);
    text_hosts(f);
    text_sqlite();
    text_advice(f);
    conclude(f, code, text, sizeof text);
  } else if (f->leftover) {
    snprintf(text + strlen(text), sizeof text - strlen(text), "; the self-test's file may still be there: %s",
             f->sidecar);
  }
  label("verdict");
  out_toned(tone_of(code), verdict_word(code));
  printf(": ");
  out_text(stdout, text);
  putchar('\n');
}

/* ---------------------------------------------------------------- JSON */

static void json_word(json *j, const char *key, bool known, const char *kind, int value)
{
  json_text(j, key, known ? holdfast_word(kind, value) : NULL);
}

static void json_mount(json *j, const findings *f, const char *reason)
{
  const holdfast_mount *m = &f->mount;
  bool known = f->have_mount;

  json_word(j, "rule", known, "rule", m->rule);
  json_word(j, "class", known, "class", m->mount_class);
  json_word(j, "shm", known, "shm", m->shm);
  json_word(j, "locks", known, "locks", m->locks);
  json_word(j, "durable", known, "durable", m->durable);
  json_word(j, "scope", known, "scope", m->scope);
  json_word(j, "confidence", known, "confidence", m->confidence);
  json_text(j, "fstype", known ? m->fstype : NULL);
  json_text(j, "source", known ? m->source : NULL);
  json_text(j, "options", known ? m->options : NULL);
  json_text(j, "mount_point", known ? m->mount_point : NULL);
  json_text(j, "reason", reason ? reason : m->reason);
}

static void json_size(json *j, const char *key, long long size)
{
  if (size < 0)
    json_text(j, key, NULL);
  else
    json_number(j, key, size);
}

static void json_journal(json *j, const findings *f)
{
  const journal_facts *facts = &f->journal;

  if (!facts->header) {
    json_text(j, "journal", NULL);
    return;
  }
  json_begin(j, "journal", '{');
  json_text(j, "mode", header_word(facts->header));
  json_number(j, "page_size", facts->page_size);
  json_size(j, "size", facts->size);
  json_size(j, "wal_size", facts->wal);
  json_size(j, "shm_size", facts->shm);
  json_size(j, "journal_size", facts->journal);
  json_flag(j, "hot_possible", facts->hot);
  json_end(j, '}');
}

static void json_steps(json *j, const holdfast_selftest_report *r)
{
  json_begin(j, "steps", '[');
  for (int i = 0; i < r->count; i++) {
    json_begin(j, NULL, '{');
    json_text(j, "name", r->steps[i].name);
    json_text(j, "result", step_word(r->steps[i].result));
    json_text(j, "detail", r->steps[i].detail);
    json_end(j, '}');
  }
  json_end(j, ']');
}

static void json_selftest(json *j, const findings *f)
{
  const holdfast_selftest_report *r = &f->report;
  char why[PATH_BYTES + 128];

  json_begin(j, "selftest", '{');
  json_text(j, "result", probe_word(f));
  json_text(j, "reason", probe_reason(f, why, sizeof why));
  json_text(j, "leftover", f->leftover ? f->sidecar : NULL);
  if (f->probe_state == PROBE_RAN) {
    json_flag(j, "excludes", r->excludes);
    json_flag(j, "kernel_records", r->kernel_records);
    json_flag(j, "maps", r->maps);
    json_steps(j, r);
  }
  json_end(j, '}');
}

/* Only where it was asked for. */
static void json_hosts(json *j, const findings *f)
{
  const char as[2] = {f->as, 0};
  bool ran = f->hosts_state == PROBE_RAN;

  if (!f->as) return;
  json_begin(j, "hosts", '{');
  json_text(j, "as", as);
  json_text(j, "result", !ran ? "not-run" : f->hosts.failed ? "failed" : "passed");
  json_text(j, "reason", ran ? NULL : hosts_reason(f));
  if (ran) json_steps(j, &f->hosts);
  json_end(j, '}');
}

static void json_bugs(json *j)
{
  holdfast_bug bug = {.struct_size = sizeof bug};

  json_begin(j, "known_bugs", '[');
  for (int i = 0; holdfast_known_bug(sqlite3_libversion_number(), i, &bug) == SQLITE_OK; i++) {
    json_begin(j, NULL, '{');
    json_text(j, "id", bug.id);
    json_text(j, "fixed", bug.fixed);
    json_text(j, "what", bug.what);
    json_end(j, '}');
  }
  json_end(j, ']');
}

void show_json(const findings *f, int code)
{
  char text[PATH_BYTES + LINE_BYTES];
  const char *failed = failure(f, text, sizeof text);
  json j = {0};

  json_begin(&j, NULL, '{');
  json_text(&j, "path", f->path);
  json_text(&j, "resolved", f->resolved[0] ? f->resolved : NULL);
  json_text(&j, "kind", kind_word(f->kind));
  json_text(&j, "verdict", verdict_word(code));
  json_mount(&j, f, failed);
  json_journal(&j, f);
  json_selftest(&j, f);
  json_hosts(&j, f);
  json_text(&j, "sqlite_version", sqlite3_libversion());
  json_bugs(&j);
  json_begin(&j, "advice", '[');
  for (int i = 0; hosts_advice(f, i, text, sizeof text); i++) json_text(&j, NULL, text);
  for (int i = 0;
       f->have_mount && holdfast_advice(&f->mount, report_of(f), i, text, sizeof text) == SQLITE_OK; i++)
    json_text(&j, NULL, text);
  json_end(&j, ']');
  json_end(&j, '}');
}
