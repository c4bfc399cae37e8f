/*
 * f19_alarm.c - F19, SQLite's WAL-reset bug has struck between plain processes: whoever reads the database
 * with the shim then hears of it, once, and what he is told to do brings everything back.
 *
 * The race is played within one plain process: the writer's commit happens in a call of the checkpointer. The
 * wal-index must stay as it is (nothing is repaired), and a healthy one must raise no alarm.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "files.h"
#include "holdfast.h"
#include "peer.h"
#include "wrapvfs.h"

#define SUM    "SELECT sum(n) FROM t; PRAGMA integrity_check"
#define EVENTS "SELECT kind, detail FROM holdfast_events WHERE path LIKE '%a.db'"

enum { CHECKPOINTER, WRITER, FRESH }; /* slots */

static sqlite3 *window_writer; /* in the peer: commits once, in the window */

static void commit_in_the_window(const wrap_call *call)
{
  sqlite3 *writer = window_writer;

  if (call->op != WRAP_UNFETCH || !writer) return;
  window_writer = NULL;
  if (sqlite3_exec(writer, "UPDATE t SET n=n+1 WHERE id=1", NULL, NULL, NULL)) _exit(4);
}

static void hook_below(void)
{
  static const wrap_rules hook = {.name = "hook", .before = commit_in_the_window};

  if (wrapvfs_register(&hook, 1) != SQLITE_OK) _exit(5);
}

static int race(sqlite3 **db, char *out, size_t size)
{
  window_writer = db[WRITER];
  return sql_text(db[CHECKPOINTER], "PRAGMA wal_checkpoint", out, size);
}

static bool has_the_bug(void)
{
  holdfast_bug bug = {.struct_size = sizeof bug};

  for (int i = 0; holdfast_known_bug(sqlite3_libversion_number(), i, &bug) == SQLITE_OK; i++)
    if (strcmp(bug.id, "wal-reset") == 0) return true;
  return false;
}

/* 40 rows, n = 10 each, a page each; 20 frames in the log, copied. A sum of 420. */
static peer *before_the_race(void)
{
  peer *p = peer_start_in(SHIM_NO, NULL, hook_below);

  db_remove("a.db");
  CHECK_INT("open", peer_open(p, WRITER, "a.db", 0), SQLITE_OK);
  CHECK_STR("make",
            peer_ask(p, WRITER,
                     "PRAGMA page_size=512; PRAGMA journal_mode=WAL;"
                     "CREATE TABLE t(id INTEGER PRIMARY KEY, n, pad);"
                     "WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x+1 FROM c WHERE x<40) "
                     "INSERT INTO t SELECT x, 10, zeroblob(400) FROM c;"
                     "PRAGMA wal_checkpoint(TRUNCATE)"),
            "wal\n0|0|0");
  CHECK_INT("open", peer_open(p, CHECKPOINTER, "a.db", 0), SQLITE_OK);
  CHECK_STR("look", peer_ask(p, CHECKPOINTER, "SELECT count(*) FROM t"), "40");
  CHECK_STR("log", peer_ask(p, WRITER, "UPDATE t SET n=n+1 WHERE id<=20; PRAGMA wal_checkpoint"), "0|20|20");
  return p;
}

/* Contents of the -shm but for the locks' own bytes. This process runs no SQLite, so it may open the file. */
static char *index_now(void)
{
  size_t size;
  char *index = file_read("a.db-shm", &size);

  if (!index || size < 32768) check_broken("a.db-shm");
  memset(index + 100, 0, 28); /* read marks change with every reader */
  return index;
}

static void healthy(void)
{
  peer *plain, *shim = peer_start(SHIM_YES, NULL);

  check_scene("healthy");
  plain = before_the_race();
  CHECK_INT("open", peer_open(shim, FRESH, "a.db", 0), SQLITE_OK);
  CHECK_STR("read", peer_ask(shim, FRESH, SUM), "420\nok");
  CHECK_STR("write", peer_ask(plain, WRITER, "UPDATE t SET n=n+1 WHERE id=1"), "");
  CHECK_STR("read", peer_ask(shim, FRESH, SUM), "421\nok");
  CHECK_HAS("checkpoint", peer_ask(shim, FRESH, "PRAGMA wal_checkpoint"), "0|");
  CHECK_HAS_NOT("no alarm", peer_ask(shim, FRESH, EVENTS), "damaged");
  CHECK_INT("end", peer_end(shim), 0);
  CHECK_INT("end", peer_end(plain), 0);
}

static void damaged(void)
{
  peer *plain, *shim = peer_start(SHIM_YES, NULL);
  char *before, *after;
  const char *events;

  check_scene("damaged");
  plain = before_the_race();
  CHECK_INT("the race", peer_call(plain, race), SQLITE_OK);
  for (int i = 0; i < 5; i++)
    CHECK_STR("later", peer_ask(plain, WRITER, "UPDATE t SET n=n+1 WHERE id=40"), "");
  before = index_now();
  CHECK_INT("open", peer_open(shim, FRESH, "a.db", 0), SQLITE_OK);
  /* 426 was acknowledged: this is the loss, and what SQLite shows is left as it is. */
  CHECK_STR("read", peer_ask(shim, FRESH, SUM), "421\nok");
  events = peer_ask(shim, FRESH, EVENTS);
  CHECK_HAS("alarm", events, "damaged|the wal-index counts 20 frames as copied of a log of 6");
  CHECK_HAS("advice", events, "Copy the database and its -wal, not its -shm");
  CHECK_STR("read again", peer_ask(shim, FRESH, SUM), "421\nok");
  CHECK_STR("one alarm", peer_ask(shim, FRESH, "SELECT count(*) FROM holdfast_events WHERE kind='damaged'"),
            "1");
  after = index_now();
  CHECK_TRUE("the wal-index is as it was", memcmp(before, after, 32768) == 0);
  free(before);
  free(after);
  db_copy("a.db", "copy.db");
  file_remove("copy.db-shm");
  CHECK_INT("end", peer_end(shim), 0);
  CHECK_INT("end", peer_end(plain), 0);
}

/* With the copy all is there; in the original it is gone for good, or the advice would not be needed. */
static void rescued(void)
{
  peer *p = peer_start(SHIM_NO, NULL);

  check_scene("rescued");
  CHECK_INT("open", peer_open(p, 0, "a.db", 0), SQLITE_OK);
  CHECK_STR("the original, after all have closed it", peer_ask(p, 0, SUM), "421\nok");
  CHECK_INT("open", peer_open(p, 1, "copy.db", 0), SQLITE_OK);
  CHECK_STR("the copy", peer_ask(p, 1, SUM), "426\nok");
  CHECK_INT("end", peer_end(p), 0);
}

int main(void)
{
  (void)shim_path(); /* skips when there is none */
  if (!has_the_bug()) check_skip("this SQLite does not have the WAL-reset bug: it cannot be made to strike");
  healthy();
  damaged();
  rescued();
  return check_done();
}
