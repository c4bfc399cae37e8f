/*
 * demo_show.c - both sides of the demo side by side: a table for people, an object for programs.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "demo.h"

/* The two programs of one side together. */
typedef struct totals {
  long tasks, found, lost, commits, reads, looks, checks, not_checked, alarms, false_alarms, copies, left_out,
      errors, breaches, twice, crashes;
  double commits_per_s, wait_ms_max;
  const char *integrity, *first_error, *first_alarm;
} totals;

static totals add_up(const demo_result *r)
{
  const demo_shared *s = r->shared;
  totals t = {.found = s->audit.found, .copies = r->copies, .integrity = s->audit.said};
  long unchecked = 0, wait_ns = 0;

  for (int i = 0; i < DEMO_PROGRAMS; i++) {
    const demo_log *l = &s->log[i];
    t.tasks += atomic_load(&l->created);
    t.commits += atomic_load(&l->commits);
    t.reads += atomic_load(&l->reads);
    t.looks += atomic_load(&l->looks);
    t.checks += atomic_load(&l->checks);
    t.not_checked += atomic_load(&l->not_checked);
    t.alarms += atomic_load(&l->alarms);
    unchecked += atomic_load(&l->alarms_unchecked);
    t.left_out += atomic_load(&l->copies_left_out);
    t.errors += atomic_load(&l->errors);
    t.breaches += atomic_load(&l->breaches);
    t.twice += atomic_load(&l->given_twice);
    t.crashes += l->ended_by != 0;
    if (atomic_load(&l->wait_ns_max) > wait_ns) wait_ns = atomic_load(&l->wait_ns_max);
    if (!t.first_error && atomic_load(&l->has_error)) t.first_error = l->first_error;
    if (!t.first_alarm && atomic_load(&l->has_alarm)) t.first_alarm = l->first_alarm;
  }
  t.lost = t.tasks - t.found;
  /* An alarm is false when nothing was checked, and when the board turns out to be sound. */
  t.false_alarms = s->audit.integrity == CHECK_OK ? t.alarms : unchecked;
  t.commits_per_s = s->ran_ms > 0 ? (double)t.commits * 1000 / (double)s->ran_ms : 0;
  t.wait_ms_max = (double)wait_ns / 1e6;
  return t;
}

bool demo_worked(const demo_result *r)
{
  return add_up(r).tasks > 0;
}

bool demo_clean(const demo_result *r)
{
  totals t = add_up(r);

  return t.tasks > 0 && t.lost == 0 && t.twice == 0 && t.breaches == 0 && t.alarms == 0 && t.copies == 0 &&
         t.errors == 0 && t.crashes == 0 && r->shared->audit.integrity == CHECK_OK;
}

/* ---------------------------------------------------------------- the table */

enum { LABEL = 36, CELL = 14 };

static const char *grouped(long number, char out[32])
{
  char digits[24];
  int n = snprintf(digits, sizeof digits, "%ld", number), o = 0;

  for (int i = 0; i < n; i++) {
    if (i > 0 && (n - i) % 3 == 0 && digits[i - 1] != '-') out[o++] = ',';
    out[o++] = digits[i];
  }
  out[o] = '\0';
  return out;
}

static void cell(const char *text, tone t)
{
  printf("%*s", CELL - (int)strlen(text) > 0 ? CELL - (int)strlen(text) : 1, "");
  out_toned(t, text);
}

static void label(const char *text)
{
  printf("  %-*s", LABEL, text);
}

static void row_count(const char *name, long a, long b)
{
  char text[32];

  label(name);
  cell(grouped(a, text), TONE_PLAIN);
  cell(grouped(b, text), TONE_PLAIN);
  putchar('\n');
}

/* A number that should be zero. */
static void row_wrong(const char *name, long a, long b)
{
  char text[32];

  label(name);
  cell(grouped(a, text), a ? TONE_BAD : TONE_GOOD);
  cell(grouped(b, text), b ? TONE_BAD : TONE_GOOD);
  putchar('\n');
}

static void row_wait(const char *name, double a, double b)
{
  char text[32];

  label(name);
  for (int i = 0; i < 2; i++) {
    double ms = i ? b : a;
    (void)snprintf(text, sizeof text, ms < 1000 ? "%.0f ms" : "%.1f s", ms < 1000 ? ms : ms / 1000);
    cell(text, TONE_PLAIN);
  }
  putchar('\n');
}

static void row_health(const char *name, const demo_result *a, const demo_result *b)
{
  static const char *const words[] = {"ok", "DAMAGED", "not checked"}; /* CHECK_... */
  static const tone tones[] = {TONE_GOOD, TONE_BAD, TONE_WARN};
  int of_a = a->shared->audit.integrity, of_b = b->shared->audit.integrity;

  label(name);
  cell(words[of_a], tones[of_a]);
  cell(words[of_b], tones[of_b]);
  putchar('\n');
}

/* First line only: what SQLite says can have several. */
static void said(const char *who, const char *what, const char *text)
{
  char line[DEMO_TEXT];

  if (!text) return;
  (void)snprintf(line, sizeof line, "%.*s", (int)strcspn(text, "\n"), text);
  printf("  %s, %s: ", who, what);
  out_text(stdout, line);
  putchar('\n');
}

/* "1 error", "2 errors", after a comma where it is not the first. */
static void part(int *parts, long number, const char *what)
{
  char text[32];

  if (number > 0)
    printf("%s%s %s%s", (*parts)++ ? ", " : " ", grouped(number, text), what, number == 1 ? "" : "s");
}

/* What it comes to, from the same numbers. */
static void sentence(const char *name, const totals *t, int integrity)
{
  char a[32], b[32];
  int parts = 0;

  printf("%s:", name);
  if (t->lost > 0) {
    printf(" %s of %s acknowledged tasks are gone", grouped(t->lost, a), grouped(t->tasks, b));
    parts++;
  }
  if (t->tasks == 0) printf("%s not one task could be created", parts++ ? "," : "");
  if (integrity == CHECK_ALARM) printf("%s the database is damaged", parts++ ? "," : "");
  part(&parts, t->twice, "double claim");
  part(&parts, t->false_alarms, "false alarm");
  part(&parts, t->copies, "backup file");
  part(&parts, t->errors, "error");
  part(&parts, t->crashes, "crashed or hanging program");
  if (parts == 0) printf(" all %s tasks are there, no alarm, no copy, no error", grouped(t->tasks, a));
  puts(".");
}

void demo_table(const demo_result *plain, const demo_result *pool, const char *dir, long seconds)
{
  totals a = add_up(plain), b = add_up(pool);

  printf("\nTwo programs, \"gateway\" and \"dashboard\", one board of tasks in ");
  out_text(stdout, dir);
  printf(", %ld s each side.\n", seconds);
  if (pool->shared->note[0]) {
    out_text(stdout, pool->shared->note);
    putchar('\n');
  }
  printf("\n  %-*s%*s%*s\n", LABEL, "", CELL, plain->side->title, CELL, pool->side->title);
  row_count("tasks acknowledged", a.tasks, b.tasks);
  row_count("  of these found afterwards", a.found, b.found);
  row_wrong("  lost", a.lost, b.lost);
  row_wrong("tasks given to both programs", a.twice, b.twice);
  row_wrong("lock breaches (two writers at once)", a.breaches, b.breaches);
  row_wrong("alarms (\"corrupt!\")", a.alarms, b.alarms);
  row_wrong("  of these false", a.false_alarms, b.false_alarms);
  row_wrong("backup files made", a.copies, b.copies);
  row_wrong("errors", a.errors, b.errors);
  if (a.crashes || b.crashes) row_wrong("programs that crashed or hung", a.crashes, b.crashes);
  row_count("commits per second", (long)(a.commits_per_s + 0.5), (long)(b.commits_per_s + 0.5));
  row_wait("worst wait of a writer", a.wait_ms_max, b.wait_ms_max);
  row_health("database in the end", plain, pool);
  putchar('\n');
  sentence(plain->side->title, &a, plain->shared->audit.integrity);
  sentence(pool->side->title, &b, pool->shared->audit.integrity);
  putchar('\n');
  label("journal mode");
  cell(plain->shared->audit.mode, TONE_DIM);
  cell(pool->shared->audit.mode, TONE_DIM);
  putchar('\n');
  row_count("health checks", a.checks, b.checks);
  row_count("looks at the file (open, close)", a.looks, b.looks);
  if (!pool->shared->careless)
    puts("  (With holdfast these are left out here: it does not own the locks on this mount.)");
  said(plain->side->title, "first alarm", a.first_alarm);
  said(plain->side->title, "first error", a.first_error);
  said(pool->side->title, "first alarm", b.first_alarm);
  said(pool->side->title, "first error", b.first_error);
  printf("  Why: each close() of the file drops the locks that SQLite holds on it in that process "
         "(docs/failures.md,\n"
         "  F1, F2), and a check that could not run is no damage (F5).%s\n",
         pool->shared->careless ? " holdfast owns its locks, and tells the two apart." : "");
  if (a.left_out + b.left_out > 0)
    printf("  (%ld more copies were not made: the demo stops at %d MB.)\n", a.left_out + b.left_out,
           DEMO_COPY_BYTES_MAX >> 20);
}

/* ---------------------------------------------------------------- JSON */

static void json_side(json *j, const demo_result *r)
{
  totals t = add_up(r);

  json_begin(j, r->side->name, '{');
  json_number(j, "tasks_acknowledged", t.tasks);
  json_number(j, "tasks_found", t.found);
  json_number(j, "tasks_lost", t.lost);
  json_number(j, "tasks_given_twice", t.twice);
  json_number(j, "lock_breaches", t.breaches);
  json_number(j, "alarms", t.alarms);
  json_number(j, "false_alarms", t.false_alarms);
  json_number(j, "backup_files", t.copies);
  json_number(j, "backup_files_left_out", t.left_out);
  json_number(j, "errors", t.errors);
  json_number(j, "crashes", t.crashes);
  json_number(j, "commits", t.commits);
  json_number(j, "commits_per_second", (long long)(t.commits_per_s + 0.5));
  json_number(j, "wait_us_max", (long long)(t.wait_ms_max * 1000));
  json_number(j, "reads", t.reads);
  json_number(j, "checks", t.checks);
  json_number(j, "not_checked", t.not_checked);
  json_number(j, "looks", t.looks);
  json_text(j, "journal_mode", r->shared->audit.mode);
  json_text(j, "integrity", t.integrity);
  json_text(j, "first_error", t.first_error);
  json_text(j, "first_alarm", t.first_alarm);
  json_end(j, '}');
}

void demo_json(const demo_result *plain, const demo_result *pool, const char *dir, long seconds, int code)
{
  static const char *const verdicts[] = {"shown", "not shown", "failed"};
  json j = {0};

  json_begin(&j, NULL, '{');
  json_text(&j, "path", dir);
  json_number(&j, "seconds", seconds);
  json_text(&j, "verdict", verdicts[code]);
  json_text(&j, "status", pool->shared->note);
  json_side(&j, plain);
  json_side(&j, pool);
  json_end(&j, '}');
}
