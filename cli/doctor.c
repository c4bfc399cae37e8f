/*
 * doctor.c - `holdfast doctor PATH`: is this a place for a database, and what should be changed?
 *
 * Finds the mount by text first, so that a dead server can be named, then lets a child touch the path
 * (look.c) with a deadline (deadline.c), turns what was found into an exit code, and has it printed (show.c).
 */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <sqlite3.h>

#include "cli.h"
#include "doctor.h"

enum { TIMEOUT_S = 5, TIMEOUT_MAX_S = 3600, WAIT_S = 60, HOSTS_S = 180 /* all steps at their slowest */ };

static const char help[] =
    "holdfast doctor PATH [--json] [--timeout SECONDS] [--no-probe]\n"
    "holdfast doctor PATH --as a|b [--wait SECONDS] [--json]    on two hosts at the same time\n"
    "\n"
    "Says what PATH (a database, existing or not, or a directory) lies on, whether SQLite is safe there, "
    "what\n"
    "journal files lie beside it, and what should be changed. Tries the locks with a small file of its own "
    "in\n"
    "the same directory, NAME-hfprobe-..., which it removes; the database is only read.\n"
    "\n"
    "  --json             one JSON object\n"
    "  --timeout SECONDS  how long a server may be silent (default 5, 1 to 3600)\n"
    "  --as a|b           run it on two hosts, on one with a, on the other with b, on the same directory:\n"
    "                     they meet by files PATH/hfhosts-... (or DATABASE-hfhosts-...) and show whether "
    "locks\n"
    "                     and data cross\n"
    "  --wait SECONDS     how long to wait for the other host (default 60)\n"
    "  --no-probe         do not try the locks: write nothing at all\n"
    "\n"
    "Exit codes: 0 wal-ok or rollback-only; 1 rollback-one-host, read-only, not sure, or something was not\n"
    "checked; 2 unsafe, or two hosts must not share it; 3 nobody came (--as), or PATH cannot be reached or "
    "its server does not answer; 64 usage.\n";

static int worse(int a, int b)
{
  return a > b ? a : b;
}

static int code_of_rule(const holdfast_mount *mount)
{
  switch (mount->rule) {
  case HOLDFAST_RULE_WAL_OK:
  case HOLDFAST_RULE_ROLLBACK_ONLY:
    return mount->confidence == HOLDFAST_CONFIDENCE_LOW ? EXIT_WARNING : EXIT_FINE;
  case HOLDFAST_RULE_REFUSE: return EXIT_UNSAFE;
  default: return EXIT_WARNING;
  }
}

/* Shared memory is only needed for WAL: without it a place is no worse for a rollback journal. */
static int code_of_probe(const findings *f)
{
  const holdfast_selftest_report *r = &f->report;

  if (f->probe_state == PROBE_IMPOSSIBLE || f->probe_state == PROBE_UNFINISHED) return EXIT_WARNING;
  if (f->probe_state != PROBE_RAN) return EXIT_FINE;
  if (r->failed > (r->maps == 0)) return EXIT_UNSAFE;
  return r->maps == 0 && f->mount.rule == HOLDFAST_RULE_WAL_OK ? EXIT_WARNING : EXIT_FINE;
}

static int code_of_hosts(const findings *f)
{
  if (!f->as) return EXIT_FINE;
  if (f->hosts_state != PROBE_RAN) return EXIT_FAILED;
  return f->hosts.failed ? EXIT_UNSAFE : EXIT_FINE;
}

static int judge(const findings *f)
{
  int code;

  if (f->silent || f->interrupted || f->error || f->kind == KIND_OTHER || !f->have_mount) return EXIT_FAILED;
  code = worse(worse(code_of_rule(&f->mount), code_of_probe(f)), code_of_hosts(f));
  if (f->kind == KIND_FILE && (f->journal.header == HEADER_STRANGE || f->journal.header == HEADER_UNREADABLE))
    code = worse(code, EXIT_WARNING);
  return code;
}

/* The mount that the hanging call was about, by text alone. */
static void name_the_silent(findings *f)
{
  f->mount.struct_size = sizeof f->mount;
  f->have_mount = holdfast_mount_of_text(f->resolved[0] ? f->resolved : f->path, &f->mount) == SQLITE_OK;
}

/* A child gave up in the middle of the self-test: take its file away, and see whether the server lives. */
static void clean_up(findings *f, int seconds)
{
  char stage;

  f->leftover = run_with_deadline(look_remove, f, seconds, &stage) != CHILD_DONE;
  if (f->leftover) {
    f->silent = !f->interrupted;
    name_the_silent(f);
  }
}

static void examine(findings *f, int seconds)
{
  char stage = 0;
  int how = run_with_deadline(look, f, seconds, &stage);

  if (how == CHILD_DONE) return;
  f->interrupted = how == CHILD_INTERRUPTED;
  if (how == CHILD_NONE || (how == CHILD_DIED && stage != 's')) {
    f->error = how == CHILD_NONE ? errno : EIO;
    return;
  }
  if (stage == 's') {
    clean_up(f, seconds);
  } else if (how == CHILD_SILENT) {
    f->silent = true;
    name_the_silent(f);
  }
}

/* A server that hangs in the middle of it ends the wait, too. */
static void meet_host(findings *f)
{
  char stage = 0;
  int how = run_with_deadline(look_hosts, f, f->wait_s + HOSTS_S, &stage);

  f->interrupted = how == CHILD_INTERRUPTED;
}

static int run(int argc, char **argv)
{
  static const struct option options[] = {
      {"json", no_argument, NULL, 'j'},       {"timeout", required_argument, NULL, 't'},
      {"no-probe", no_argument, NULL, 'n'},   {"as", required_argument, NULL, 'a'},
      {"wait", required_argument, NULL, 'w'}, {NULL, 0, NULL, 0}};
  bool as_json = false, probe = true;
  long seconds = TIMEOUT_S, wait = WAIT_S;
  char as = 0;
  findings *f;
  int c, code;

  opterr = 0;
  while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
    if (c == 'j') {
      as_json = true;
    } else if (c == 'n') {
      probe = false;
    } else if (c == 't') {
      seconds = seconds_from(optarg, 1, TIMEOUT_MAX_S);
      if (seconds < 0)
        return usage_error("doctor", "--timeout wants 1 to %d seconds, not %s", TIMEOUT_MAX_S, optarg);
    } else if (c == 'a' && (strcmp(optarg, "a") == 0 || strcmp(optarg, "b") == 0)) {
      as = *optarg;
    } else if (c == 'a') {
      return usage_error("doctor", "--as wants a or b, not %s", optarg);
    } else if (c == 'w') {
      wait = seconds_from(optarg, 1, TIMEOUT_MAX_S);
      if (wait < 0)
        return usage_error("doctor", "--wait wants 1 to %d seconds, not %s", TIMEOUT_MAX_S, optarg);
    } else {
      return usage_error("doctor", "unknown option, or its value is missing: %s", argv[optind - 1]);
    }
  }
  if (optind + 1 != argc || !argv[optind][0]) return usage_error("doctor", "doctor takes one path");
  f = mmap(NULL, sizeof *f, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (f == MAP_FAILED) {
    perror("holdfast: no memory");
    return EXIT_FAILED;
  }
  f->path = argv[optind];
  f->probe = probe;
  f->as = as;
  f->wait_s = (int)wait;
  if (strlen(f->path) >= PATH_BYTES)
    f->error = ENAMETOOLONG;
  else
    examine(f, (int)seconds);
  if (as && f->have_mount && !f->error && !f->silent && !f->interrupted) meet_host(f);
  code = judge(f);
  if (as_json)
    show_json(f, code);
  else
    show_text(f, code);
  (void)munmap(f, sizeof *f);
  return code;
}

const command command_doctor = {"doctor", "PATH       what is this place for a database?", run, help};
