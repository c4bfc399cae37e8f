/*
 * check.c - `holdfast check DB`: one holdfast_health_... run in one pass, with progress, words and an exit
 * code.
 *
 * The database is opened read-only, through SQLite and the shim, and closed without a checkpoint: neither it
 * nor its -wal is changed. Only the check of FTS tables needs the right to write before SQLite 3.44; it asks
 * for the write lock and writes nothing.
 */
#include <getopt.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <sqlite3.h>

#include "cli.h"
#include "holdfast.h"

enum { BUSY_MS = 5000, BUDGET_MAX_S = 7 * 86400, TICK_MS = 200 };

static const char help[] =
    "holdfast check DB [--full | --fk | --fts] [--budget SECONDS] [--json]\n"
    "\n"
    "Is this database whole? Reads it from the disk, inside a read transaction, and changes nothing: "
    "neither\n"
    "DB nor its -wal. Damage is said only when it was seen twice, under a lock.\n"
    "\n"
    "  (nothing)         the header, every page, the freelist; not what indexes should hold\n"
    "  --full            and every index entry against its row; takes several times as long\n"
    "  --fk              do the foreign keys lead somewhere?\n"
    "  --fts             the own check of FTS3, FTS4 and FTS5 tables\n"
    "  --budget SECONDS  give up after that time (default: none)\n"
    "  --json            one JSON object\n"
    "\n"
    "Exit codes: 0 ok; 1 not checked, or whole but with rows that break their own rules; 2 damaged; 3 the\n"
    "database cannot be opened; 64 usage.\n";

/* ---------------------------------------------------------------- progress */

/* Bytes that this process has read: it does nothing else. A check reads the file about once. */
typedef struct meter {
  pthread_t thread;
  pthread_mutex_t mutex; /* guards `done` */
  pthread_cond_t changed;
  bool running, done;
  long long size;
} meter;

static long long bytes_read(void)
{
  long long n = -1;
  FILE *io = fopen("/proc/self/io", "re");

  if (!io) return -1;
  if (fscanf(io, "rchar: %lld", &n) != 1) n = -1;
  (void)fclose(io); /* only read from */
  return n;
}

static void *show_meter(void *arg)
{
  meter *m = arg;
  long long start = bytes_read(), now;
  struct timespec next;

  pthread_mutex_lock(&m->mutex);
  while (!m->done) {
    clock_gettime(CLOCK_REALTIME, &next);
    next.tv_nsec += TICK_MS * 1000000L;
    next.tv_sec += next.tv_nsec / 1000000000;
    next.tv_nsec %= 1000000000;
    (void)pthread_cond_timedwait(&m->changed, &m->mutex, &next); /* either way: look again */
    now = bytes_read() - start;
    if (!m->done && start >= 0)
      fprintf(stderr, "\rchecking: %lld %%  ", now >= m->size ? 99 : 100 * now / m->size);
  }
  pthread_mutex_unlock(&m->mutex);
  fputs("\r                    \r", stderr);
  return NULL;
}

static void meter_start(meter *m, const char *path)
{
  struct stat st;

  m->size = stat(path, &st) == 0 && st.st_size > 0 ? (long long)st.st_size : 1;
  pthread_mutex_init(&m->mutex, NULL);
  pthread_cond_init(&m->changed, NULL);
  m->running = isatty(STDERR_FILENO) && pthread_create(&m->thread, NULL, show_meter, m) == 0;
}

static void meter_stop(meter *m)
{
  pthread_mutex_lock(&m->mutex);
  m->done = true;
  pthread_cond_signal(&m->changed);
  pthread_mutex_unlock(&m->mutex);
  if (m->running) (void)pthread_join(m->thread, NULL);
  pthread_cond_destroy(&m->changed);
  pthread_mutex_destroy(&m->mutex);
}

/* ---------------------------------------------------------------- output */

static int code_of(const holdfast_health_report *r)
{
  if (r->verdict == HOLDFAST_HEALTH_DAMAGED) return EXIT_UNSAFE;
  if (r->verdict != HOLDFAST_HEALTH_OK || r->findings > 0) return EXIT_WARNING;
  return EXIT_FINE;
}

static const char *advice(const holdfast_health_report *r)
{
  if (r->verdict == HOLDFAST_HEALTH_DAMAGED && r->kind == HOLDFAST_HEALTH_FK)
    return "The file is whole; rows refer to rows that are not there. Delete or complete them.";
  if (r->verdict == HOLDFAST_HEALTH_DAMAGED && r->kind == HOLDFAST_HEALTH_FTS)
    return "Rebuild the table: INSERT INTO t(t) VALUES('rebuild').";
  if (r->verdict == HOLDFAST_HEALTH_DAMAGED)
    return "Stop the programs that write to it, keep this file and its -wal as they are, and restore a "
           "backup or "
           "run\n`holdfast salvage DB NEW`. If only indexes are named, REINDEX on a copy may be enough.";
  if (r->verdict == HOLDFAST_HEALTH_OK)
    return r->findings ? "The file is whole; these rows break a rule of their own table, or an index of a "
                         "virtual table is "
                         "out of step."
                       : NULL;
  switch (r->reason) {
  case HOLDFAST_WHY_BUSY: return "Somebody has locked it: try again.";
  case HOLDFAST_WHY_SCHEMA:
    return "The check needs what the program brings: run it there, SELECT * FROM holdfast_health('full').";
  case HOLDFAST_WHY_READONLY:
    return "Its journal waits to be played back: open it once with a program that may write.";
  default: return NULL;
  }
}

static void show_text(const char *path, const holdfast_health_run *run, const holdfast_health_report *r)
{
  static const tone tones[] = {TONE_PLAIN, TONE_GOOD, TONE_BAD, TONE_WARN, TONE_WARN};
  holdfast_health_finding_row row = {.struct_size = sizeof row};
  char coverage[200];
  const char *next = advice(r);

  out_text(stdout, path);
  fputs(": ", stdout);
  out_toned(tones[r->verdict], holdfast_word("verdict", r->verdict));
  if (r->reason) printf(" (%s)", holdfast_word("reason", r->reason));
  fputc('\n', stdout);
  if (r->text[0]) {
    fputs("  ", stdout);
    out_text(stdout, r->text);
    fputc('\n', stdout);
  }
  printf("  %s check, read: %s; %lld ms, SQLite %s\n", holdfast_word("kind", r->kind),
         r->coverage ? holdfast_health_coverage(r, coverage, sizeof coverage) : "nothing",
         (long long)r->work_ms, r->sqlite_version);
  for (int i = 0; holdfast_health_finding(run, i, &row) == SQLITE_OK; i++) {
    printf("  %s: ", holdfast_word("finding", row.what));
    out_text(stdout, row.text);
    fputc('\n', stdout);
  }
  if (next) printf("%s\n", next);
}

static void show_json(const char *path, const holdfast_health_run *run, const holdfast_health_report *r)
{
  holdfast_health_finding_row row = {.struct_size = sizeof row};
  char coverage[200];
  json j = {0};

  json_begin(&j, NULL, '{');
  json_text(&j, "path", path);
  json_text(&j, "verdict", holdfast_word("verdict", r->verdict));
  json_text(&j, "kind", holdfast_word("kind", r->kind));
  json_text(&j, "reason", r->reason ? holdfast_word("reason", r->reason) : NULL);
  json_text(&j, "text", r->text[0] ? r->text : NULL);
  json_text(&j, "coverage", holdfast_health_coverage(r, coverage, sizeof coverage));
  json_number(&j, "code", r->code);
  json_number(&j, "time", r->when_ms / 1000);
  json_number(&j, "work_ms", r->work_ms);
  json_number(&j, "change_counter", r->change_counter);
  json_text(&j, "sqlite_version", r->sqlite_version);
  json_begin(&j, "findings", '[');
  for (int i = 0; holdfast_health_finding(run, i, &row) == SQLITE_OK; i++) {
    json_begin(&j, NULL, '{');
    json_text(&j, "finding", holdfast_word("finding", row.what));
    json_text(&j, "object", row.object[0] ? row.object : NULL);
    json_text(&j, "detail", row.text);
    json_end(&j, '}');
  }
  json_end(&j, ']');
  json_end(&j, '}');
}

/* ---------------------------------------------------------------- the check */

static int cannot(const char *path, const char *why, bool as_json)
{
  json j = {0};

  if (as_json) {
    json_begin(&j, NULL, '{');
    json_text(&j, "path", path);
    json_text(&j, "verdict", "failed");
    json_text(&j, "reason", why);
    json_end(&j, '}');
  } else {
    fputs("holdfast: ", stderr);
    out_text(stderr, path);
    fputs(": ", stderr);
    out_text(stderr, why);
    fputc('\n', stderr);
  }
  return EXIT_FAILED;
}

static int check(const char *path, const holdfast_health_options *options, bool as_json)
{
  holdfast_health_report report = {.struct_size = sizeof report};
  holdfast_health_run *run = NULL;
  bool writes = options->kind == HOLDFAST_HEALTH_FTS && sqlite3_libversion_number() < 3044000;
  sqlite3 *db = NULL;
  meter m = {0};
  int code = EXIT_FAILED;
  int rc = sqlite3_open_v2(path, &db, writes ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY, NULL);

  if (rc == SQLITE_OK) {
    (void)sqlite3_busy_timeout(db, BUSY_MS);
#ifdef SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE /* since 3.16; a read-only connection makes no checkpoint anyway */
    (void)sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
#endif
    rc = holdfast_health_begin(db, "main", options, &run);
  }
  if (rc == SQLITE_OK) {
    meter_start(&m, path);
    while (holdfast_health_step(run, 0) == SQLITE_ROW) continue;
    meter_stop(&m);
    (void)holdfast_health_report_of(run, &report); /* the arguments are right */
    (as_json ? show_json : show_text)(path, run, &report);
    code = code_of(&report);
    holdfast_health_end(run);
  } else {
    (void)cannot(path, db ? sqlite3_errmsg(db) : sqlite3_errstr(rc), as_json);
  }
  (void)sqlite3_close(db); /* read only: nothing is left to say */
  return code;
}

static int run(int argc, char **argv)
{
  static const struct option names[] = {{"full", no_argument, NULL, HOLDFAST_HEALTH_FULL},
                                        {"fk", no_argument, NULL, HOLDFAST_HEALTH_FK},
                                        {"fts", no_argument, NULL, HOLDFAST_HEALTH_FTS},
                                        {"budget", required_argument, NULL, 'b'},
                                        {"json", no_argument, NULL, 'j'},
                                        {NULL, 0, NULL, 0}};
  holdfast_config config = {.struct_size = sizeof config, .log = "none"}; /* what it says, we print */
  holdfast_health_options options = {
      .struct_size = sizeof options, .budget_ms = -1, .force = 1, .unsliced = 1};
  bool as_json = false;
  long seconds;
  int c;

  opterr = 0;
  while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
    if (c == 'j') {
      as_json = true;
    } else if (c == 'b') {
      seconds = seconds_from(optarg, 1, BUDGET_MAX_S);
      if (seconds < 0)
        return usage_error("check", "--budget wants 1 to %d seconds, not %s", BUDGET_MAX_S, optarg);
      options.budget_ms = (int)seconds * 1000;
    } else if (c == '?') {
      return usage_error("check", "unknown option, or its value is missing: %s", argv[optind - 1]);
    } else if (options.kind) {
      return usage_error("check", "one of --full, --fk and --fts");
    } else {
      options.kind = c;
    }
  }
  if (optind + 1 != argc || !argv[optind][0]) return usage_error("check", "check takes one database");
  if (holdfast_init(&config) != SQLITE_OK)
    return cannot(argv[optind], "holdfast cannot start: is a HOLDFAST_* variable set to an unknown value?",
                  as_json);
  return check(argv[optind], &options, as_json);
}

const command command_check = {"check", "DB         is this database whole?", run, help};
