/*
 * f19_schedules.c - F19, SQLite's WAL-reset bug, on random schedules: checkpointers, writers and a reader in
 * one process, one thread at a time, and who goes on is decided by a seed at each call of SQLite.
 *
 * First all of them plain: some schedules must lose commits. Then with the shim on the checkpointers, on the
 * writers, on both: none may. 1,000 schedules, or 10,000 for each of the three with HF_LONG=1. The schedule
 * that is known to lose, between two processes, is in f19_wal_reset.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "holdfast.h"
#include "peer.h"
#include "walrace.h"

enum { SHORT_RUN = 334, LONG_RUN = 10000, CONTROL_RUN = 200 };

static bool has_the_bug(void)
{
  holdfast_bug bug = {.struct_size = sizeof bug};

  for (int i = 0; holdfast_known_bug(sqlite3_libversion_number(), i, &bug) == SQLITE_OK; i++)
    if (strcmp(bug.id, "wal-reset") == 0) return true;
  return false;
}

static bool covered(const char *vfs)
{
  char text[4096] = "";
  sqlite3 *db = NULL;

  if (sqlite3_open_v2("covered.db", &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, vfs) == SQLITE_OK)
    (void)sql_text(db, "PRAGMA holdfast", text, sizeof text); /* no row: no text */
  (void)sqlite3_close(db);                                    /* no statement is left */
  return text[0] != 0;
}

int main(void)
{
  static const wrap_rules hook = {.name = "hook", .before = walrace_yield};
  static const walrace plain = {"hook", "hook", false, "hook"}, plain_mixed = {"hook", "hook", true, "hook"};
  static const walrace checkpointer = {"holdfast", "hook", false, "hook"};
  static const walrace writer = {"hook", "holdfast", false, "hook"};
  static const walrace both = {"holdfast", "holdfast", true, "hook"};
  int count = getenv("HF_LONG") ? LONG_RUN : SHORT_RUN, lost;

  (void)shim_path(); /* skips when there is none */
  if (!has_the_bug()) check_skip("this SQLite does not have the WAL-reset bug: nothing could be lost");
  (void)setvbuf(stdout, NULL, _IOLBF, 0); /* a run that hangs must have shown its seed; cannot fail here */
  seed_start();
  if (wrapvfs_register(&hook, 1) != SQLITE_OK) check_broken("sqlite3_vfs_register");

  lost = walrace_many(&plain, CONTROL_RUN, "plain");
  lost += walrace_many(&plain_mixed, CONTROL_RUN, "plain, mixed");
  CHECK_TRUE("plain SQLite loses commits", lost > 0); /* in about one schedule of twenty */

  if (setenv("HOLDFAST_LOG", "none", 1)) check_broken("setenv");
  CHECK_INT("load the shim", shim_load(), SQLITE_OK);
  CHECK_TRUE("the shim covers what is opened on it", covered("holdfast"));
  CHECK_TRUE("and nothing else", !covered("hook"));
  CHECK_INT("bad, checkpointers with the shim", walrace_many(&checkpointer, count, "checkpointers"), 0);
  CHECK_INT("bad, writers with the shim", walrace_many(&writer, count, "writers"), 0);
  CHECK_INT("bad, all with the shim", walrace_many(&both, count, "all"), 0);
  return check_done();
}
