/*
 * convert.c - `holdfast convert DB`: holdfast_convert() with a sentence and an exit code.
 */
#include <getopt.h>
#include <string.h>

#include <sqlite3.h>

#include "cli.h"
#include "holdfast.h"

enum { WAIT_S = 5, WAIT_MAX_S = 86400, PATH_MAX_BYTES = 4095 };

static const char help[] =
    "holdfast convert DB [--wait SECONDS] [--json]\n"
    "\n"
    "Takes a database out of WAL mode, so that it can be used on a mount where WAL cannot work: whatever is\n"
    "in its -wal is brought into the database, then the journal mode becomes DELETE. It needs to be the "
    "only\n"
    "user of the database and waits for others to leave. A database that is not in WAL mode is left as it "
    "is.\n"
    "\n"
    "  --wait SECONDS  how long to wait for other users (default 5, at most 86400)\n"
    "  --json          one JSON object: path, verdict (ok or failed), code (SQLite's), reason\n"
    "\n"
    "Exit codes: 0 it is not in WAL mode now, 3 it could not be done and nothing was changed, 64 usage.\n";

static void show_json(const char *path, int rc, const char *reason)
{
  json j = {0};

  json_begin(&j, NULL, '{');
  json_text(&j, "path", path);
  json_text(&j, "verdict", rc == SQLITE_OK ? "ok" : "failed");
  json_number(&j, "code", rc);
  json_text(&j, "reason", reason);
  json_end(&j, '}');
}

static int run(int argc, char **argv)
{
  static const struct option options[] = {
      {"wait", required_argument, NULL, 'w'}, {"json", no_argument, NULL, 'j'}, {NULL, 0, NULL, 0}};
  holdfast_config config = {.struct_size = sizeof config, .log = "none"}; /* what it says, we print */
  char reason[PATH_MAX_BYTES + 300] = "";
  bool as_json = false;
  long wait_s = WAIT_S;
  int c, rc;

  opterr = 0;
  while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
    if (c == 'w') {
      wait_s = seconds_from(optarg, 0, WAIT_MAX_S);
      if (wait_s < 0)
        return usage_error("convert", "--wait wants 0 to %d seconds, not %s", WAIT_MAX_S, optarg);
    } else if (c == 'j') {
      as_json = true;
    } else {
      return usage_error("convert", "unknown option, or its value is missing: %s", argv[optind - 1]);
    }
  }
  if (optind + 1 != argc || !argv[optind][0]) return usage_error("convert", "convert takes one database");
  rc = holdfast_init(&config);
  if (rc == SQLITE_OK && strlen(argv[optind]) > PATH_MAX_BYTES) {
    rc = SQLITE_CANTOPEN; /* the sentence would be nothing but the path */
    snprintf(reason, sizeof reason, "not converted: the path has %zu bytes, %d are possible",
             strlen(argv[optind]), PATH_MAX_BYTES);
  } else if (rc == SQLITE_OK) {
    rc = holdfast_convert(argv[optind], (int)wait_s * 1000, reason, sizeof reason);
  } else {
    snprintf(reason, sizeof reason,
             "holdfast cannot start (%s): is a HOLDFAST_* variable set to an unknown value?",
             sqlite3_errstr(rc));
  }
  if (as_json) {
    show_json(argv[optind], rc, reason);
  } else {
    FILE *to = rc == SQLITE_OK ? stdout : stderr;
    out_text(to, reason);
    fputc('\n', to);
    if ((rc & 0xFF) == SQLITE_BUSY)
      fputs("Which program has it open is not known yet: stop the ones you know of, or try --wait.\n", to);
  }
  return rc == SQLITE_OK ? EXIT_FINE : EXIT_FAILED;
}

const command command_convert = {"convert", "DB         take a database out of WAL mode", run, help};
