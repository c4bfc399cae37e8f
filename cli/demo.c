/*
 * demo.c - `holdfast demo`: the story that holdfast began with, played twice.
 */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "cli.h"
#include "demo.h"

enum { SECONDS = 15, SECONDS_MAX = 3600 };

static const char help[] =
    "holdfast demo [--dir DIR] [--seconds N] [--json]\n"
    "\n"
    "Two programs, \"gateway\" and \"dashboard\", work on one board of tasks: they create, claim and "
    "complete\n"
    "tasks, poll on every tick, and have the board's health checked. First as such programs are written:\n"
    "plain SQLite, a connection for each transaction, a second connection for the check, a look at the\n"
    "file's first bytes by open and close, and a copy of the file whenever the check says anything but ok.\n"
    "Then the same through holdfast's pool. Both are counted in the same way and shown side by side.\n"
    "\n"
    "  --dir DIR    where to do it (default: $TMPDIR, else /tmp); it makes a folder holdfast-demo there, "
    "and\n"
    "               removes it in the end. If that is there already, nothing is done.\n"
    "  --seconds N  for each side (default 15, at most 3600)\n"
    "  --json       one JSON object: path, seconds, verdict (shown, not shown or failed), status, plain, "
    "pool\n"
    "\n"
    "Exit codes: 0 plain SQLite went wrong and holdfast did not, 1 neither did (try again, longer),\n"
    "2 something went wrong with holdfast, 3 it could not be played, 64 usage.\n";

static demo_shared *shared_new(void)
{
  demo_shared *s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

  return s == MAP_FAILED ? NULL : s;
}

static int could_not(const char *what, int error)
{
  fprintf(stderr, "holdfast: the demo could not be played: ");
  out_text(stderr, what);
  fprintf(stderr, "%s%s\n", error ? ": " : "", error ? strerror(error) : "");
  return EXIT_FAILED;
}

/* One side on an empty folder. */
static int play(demo_result *r, const demo_place *place, long seconds, bool quiet)
{
  int rc;

  r->shared = shared_new();
  if (!r->shared) return errno;
  rc = crew_play(r->side, place, seconds, quiet, r->shared);
  r->copies = place_copies(place);
  place_empty(place);
  return rc;
}

static int play_and_show(const demo_place *place, const char *dir, long seconds, bool as_json)
{
  demo_result plain = {.side = &demo_plain}, pool = {.side = &demo_pool};
  int code, rc = play(&plain, place, seconds, as_json);

  if (rc == 0) rc = play(&pool, place, seconds, as_json);
  if (rc != 0) {
    code = could_not(dir, rc);
  } else if (!demo_worked(&plain) && !demo_worked(&pool)) {
    code = could_not("neither side could create a task", 0);
  } else {
    code = !demo_clean(&pool) ? EXIT_UNSAFE : demo_clean(&plain) ? EXIT_WARNING : EXIT_FINE;
    if (as_json)
      demo_json(&plain, &pool, dir, seconds, code);
    else
      demo_table(&plain, &pool, dir, seconds);
  }
  if (plain.shared) (void)munmap(plain.shared, sizeof *plain.shared); /* it was mapped like that */
  if (pool.shared) (void)munmap(pool.shared, sizeof *pool.shared);
  return code;
}

static int run(int argc, char **argv)
{
  static const struct option options[] = {{"dir", required_argument, NULL, 'd'},
                                          {"seconds", required_argument, NULL, 's'},
                                          {"json", no_argument, NULL, 'j'},
                                          {NULL, 0, NULL, 0}};
  const char *dir = getenv("TMPDIR");
  long seconds = SECONDS;
  bool as_json = false;
  demo_place place;
  int c, rc, code;

  opterr = 0;
  if (!dir || !*dir) dir = "/tmp";
  while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
    if (c == 'd') {
      dir = optarg;
    } else if (c == 's') {
      seconds = seconds_from(optarg, 1, SECONDS_MAX);
      if (seconds < 0) return usage_error("demo", "--seconds wants 1 to %d, not %s", SECONDS_MAX, optarg);
    } else if (c == 'j') {
      as_json = true;
    } else {
      return usage_error("demo", "unknown option, or its value is missing: %s", argv[optind - 1]);
    }
  }
  if (optind != argc) return usage_error("demo", "demo takes no other words: %s", argv[optind]);
  crew_listen(); /* from here on there is something to remove */
  rc = place_make(&place, dir);
  if (rc == EEXIST) {
    fprintf(stderr, "holdfast: ");
    out_text(stderr, place.folder);
    fprintf(stderr, " is there already, perhaps from another demo: nothing was done.\n");
    return EXIT_FAILED;
  }
  if (rc) return could_not(dir, rc);
  code = play_and_show(&place, dir, seconds, as_json);
  rc = place_remove(&place);
  if (rc) {
    fprintf(stderr, "holdfast: the folder stays: ");
    out_text(stderr, place.folder);
    fprintf(stderr, ": %s\n", strerror(rc));
  }
  return code;
}

const command command_demo = {"demo", "           see it: two programs on one board, plain and with holdfast",
                              run, help};
