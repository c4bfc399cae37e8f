/*
 * alloc_fail.c - each allocation fails: once, and for ever, over load, open, conversion, PRAGMAs, tables and
 * close.
 *
 * This program defines malloc() and its kin, so every library in it uses them, the shim and SQLite alike. A
 * child goes through a session in which the n-th allocation fails. Each step that fails must say so with a
 * code for it; after a single failure the same step must succeed when it is tried again; and a second session
 * without failures must go well, with every row there. At the end as many blocks are in use as after two
 * sessions without any failure: nothing leaks.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "files.h"
#include "made.h"

enum { ROWS = 50, STEP_TEXT = 16384 };

/* ---------------------------------------------------------------- allocation */

/* The build hides symbols by default, and a hidden malloc() would be this file's own. */
#define EXPORTED __attribute__((visibility("default")))

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);
void __libc_free(void *block);

static atomic_long asked, blocks;      /* allocations since arming; blocks in use */
static atomic_long fail_from, fail_to; /* those fail; 0 = none */

static bool denied(void)
{
  long n = atomic_fetch_add(&asked, 1) + 1;

  if (n < atomic_load(&fail_from) || n > atomic_load(&fail_to)) return false;
  errno = ENOMEM;
  return true;
}

static void *counted(void *block)
{
  if (block) atomic_fetch_add(&blocks, 1);
  return block;
}

EXPORTED void *malloc(size_t size)
{
  return denied() ? NULL : counted(__libc_malloc(size));
}

EXPORTED void *calloc(size_t count, size_t size)
{
  return denied() ? NULL : counted(__libc_calloc(count, size));
}

EXPORTED void *realloc(void *block, size_t size)
{
  void *grown;

  if (denied()) return NULL;
  grown = __libc_realloc(block, size);
  return block ? grown : counted(grown);
}

EXPORTED void free(void *block)
{
  if (block) atomic_fetch_sub(&blocks, 1);
  __libc_free(block);
}

static void arm(long first, long last)
{
  atomic_store(&asked, 0);
  atomic_store(&fail_to, last);
  atomic_store(&fail_from, first);
}

/* ---------------------------------------------------------------- the session */

static sqlite3 *db;

static int load(char *out)
{
  sqlite3 *memory = NULL;
  int rc = sqlite3_open(":memory:", &memory);

  if (rc == SQLITE_OK) rc = sqlite3_db_config(memory, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 1, NULL);
  if (rc == SQLITE_OK) rc = sqlite3_load_extension(memory, shim_path(), NULL, NULL);
  (void)sqlite3_close(memory); /* accepts NULL */
  out[0] = 0;
  return rc == SQLITE_ERROR ? SQLITE_NOMEM : rc; /* load_extension() has one code for all failures */
}

static int open_database(char *out)
{
  int rc = sqlite3_open("a.db", &db);

  out[0] = 0;
  if (rc == SQLITE_OK) return rc;
  (void)sqlite3_close(db); /* accepts NULL */
  db = NULL;
  return rc;
}

static int close_database(char *out)
{
  int rc = sqlite3_close(db);

  out[0] = 0;
  if (rc == SQLITE_OK) db = NULL;
  return rc;
}

/* A check that lacks memory says so in its verdict, and never that the database is damaged. */
static int check_health(char *out)
{
  int rc =
      sql_text(db, "SELECT verdict, reason FROM holdfast_health('quick', NULL, 'main', 1)", out, STEP_TEXT);

  if (rc || strcmp(out, "not_checked|memory") != 0) return rc;
  return SQLITE_NOMEM;
}

static const struct step {
  const char *name; /* SQL where there is no function */
  int (*function)(char *out);
  const char *want; /* NULL: any answer */
} steps[] = {
    {"load", load, NULL},
    {"open", open_database, NULL},
    {"SELECT count(*) FROM t", NULL, "50"},
    {"PRAGMA journal_mode=WAL", NULL, "delete"},
    {"PRAGMA holdfast", NULL, NULL},
    {"PRAGMA holdfast_status", NULL, NULL},
    {"PRAGMA holdfast_mount", NULL, NULL},
    {"PRAGMA holdfast_events", NULL, NULL},
    {"SELECT rule, class FROM holdfast_mount WHERE schema = 'main'", NULL, "rollback-only|network"},
    {"SELECT count(*) > 0 FROM holdfast_events WHERE path LIKE '%/a.db'", NULL, "1"},
    {"SELECT holdfast_version() LIKE '0.%'", NULL, "1"},
    {"check", check_health, "ok|"},
    {"ATTACH 'b.db' AS b", NULL, ""},
    {"PRAGMA b.journal_mode=WAL", NULL, "delete"},
    {"DETACH b", NULL, ""},
    {"UPDATE t SET v = v || ''", NULL, ""},
    {MADE_ASK, NULL, NULL},
    {"PRAGMA journal_mode", NULL, "delete"},
    {"close", close_database, NULL},
};
enum { STEPS = sizeof steps / sizeof steps[0] };

static struct report {
  int step, rc;
  char text[200];
  long asked, blocks;
  bool good;
} * report;
static char text[STEP_TEXT];

static bool wrong(int step, int rc, const char *what)
{
  report->step = step;
  report->rc = rc;
  (void)snprintf(report->text, sizeof report->text, "%s: %.150s", what, text);
  return false;
}

static int run_step(int i)
{
  return steps[i].function ? steps[i].function(text) : sql_text(db, steps[i].name, text, sizeof text);
}

static bool right_answer(int i)
{
  const char *want = steps[i].name == steps[STEPS - 3].name ? made_answer(ROWS) : steps[i].want;

  return !want || strcmp(text, want) == 0;
}

/* tries: 2 = a step that lacked memory is tried once more and must go well; 1 = it may fail. */
static bool session(int tries)
{
  for (int i = 0; i < STEPS; i++) {
    int rc = steps[i].function || db ? run_step(i) : SQLITE_NOMEM;
    if ((rc == SQLITE_NOMEM || rc == SQLITE_IOERR_NOMEM) && tries == 2) rc = run_step(i);
    /* The hook at open never fails an open: without memory tables and functions are missing there. */
    if (tries && rc == SQLITE_ERROR && strncmp(text, "no such ", 8) == 0) continue;
    if (tries == 1 && (rc == SQLITE_NOMEM || rc == SQLITE_IOERR_NOMEM)) continue;
    if (rc != SQLITE_OK) return wrong(i, rc, "code");
    if (!right_answer(i)) return wrong(i, rc, "answer");
  }
  return true;
}

static void child(long first, long last)
{
  (void)alarm(60);
  (void)dlopen(shim_path(), RTLD_NOW); /* the dynamic linker's own allocations are not the subject */
  arm(first, last);
  report->good = session(first == last ? 2 : 1);
  report->asked = atomic_load(&asked);
  arm(0, 0);
  if (db) (void)close_database(text);
  if (report->good) report->good = session(0);
  report->blocks = atomic_load(&blocks);
}

/* False: the child asked for less than `first` blocks. */
static bool run(long first, long last, struct report *out)
{
  int status;
  pid_t pid;

  db_copy("made.db", "a.db");
  db_remove("b.db");
  memset(report, 0, sizeof *report);
  (void)fflush(stdout); /* else the child prints it once more */
  pid = fork();
  if (pid == 0) {
    child(first, last);
    _exit(0);
  }
  if (pid < 0 || waitpid(pid, &status, 0) != pid) check_broken("fork");
  *out = *report;
  if (status) {
    check_scene("allocation %ld fails", first);
    CHECK_INT("status of the child", status, 0);
    return true; /* it did not come to its end: go on with the next one */
  }
  return report->asked >= first;
}

/* ---------------------------------------------------------------- sweeps */

static void sweep(bool for_ever, long step, const struct report *base)
{
  struct report r = {0};
  long runs = 0;

  for (long n = 1 + (long)seed_below((uint32_t)step); run(n, for_ever ? 1L << 40 : n, &r); n += step) {
    const struct step *at = &steps[r.step];
    check_scene("allocation %ld fails %s", n, for_ever ? "for ever" : "once");
    if (!r.asked) continue; /* it has been reported */
    if (!r.good) printf("step \"%s\": code %d, %s\n", at->name, r.rc, r.text);
    CHECK_TRUE("the session", r.good);
    CHECK_INT("blocks in use at the end", r.blocks, base->blocks);
    runs++;
  }
  printf("%s: %ld of %ld allocations failed in turn\n", for_ever ? "for ever" : "once", runs, base->asked);
  CHECK_TRUE("there were some", runs > 100);
}

int main(void)
{
  struct report base;
  bool through;

  seed_start();
  (void)shim_path(); /* skips here when nothing was built */
  report = mmap(NULL, sizeof *report, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (report == MAP_FAILED) check_broken("mmap");
  if (setenv("HOLDFAST_ASSUME", "network", 1) || setenv("HOLDFAST_LOG", "none", 1)) check_broken("setenv");
  made_wal("made.db", ROWS, 0);
  through = !run(1L << 30, 1L << 30, &base);
  check_scene("without failures");
  if (!base.good) printf("step \"%s\": code %d, %s\n", steps[base.step].name, base.rc, base.text);
  CHECK_TRUE("the session", through && base.good);
  sweep(false, 1, &base);
  sweep(true, 7, &base);
  return check_done();
}
