/*
 * settings.c - what a user can say: mode, assume, journal and strict, in the environment and in the URI.
 *
 * Every setting is seen to work by its effect on files or answers, next to the same steps without it. A value
 * that is not known refuses the open, because a guess would leave somebody unprotected.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "files.h"
#include "made.h"

/* Answer to "WAL, please" on a fresh database, and the mode of the header afterwards. */
static void asked_for_wal(const char *env, const char *parameters, const char *answer, const char *header)
{
  peer *p = peer_start(SHIM_YES, env);
  char name[300];

  check_scene("WAL asked for with %s %s", env ? env : "no environment", parameters);
  db_remove("a.db");
  (void)snprintf(name, sizeof name, "file:a.db%s", parameters);
  CHECK_INT("open", peer_open(p, 0, name, 0), SQLITE_OK);
  CHECK_STR("answer", peer_ask(p, 0, "PRAGMA journal_mode=WAL"), answer);
  CHECK_STR("write", peer_ask(p, 0, "CREATE TABLE t(x); INSERT INTO t VALUES(7); SELECT x FROM t"), "7");
  CHECK_STR("header", db_header_mode("a.db"), header);
  CHECK_INT("end", peer_end(p), 0);
}

static void assume_and_journal(void)
{
  static const char network[] = "HOLDFAST_ASSUME=network";

  asked_for_wal(NULL, "?holdfast_assume=local", "wal", "2,2");
  asked_for_wal(NULL, "?holdfast_assume=one-host", "delete", "1,1");
  asked_for_wal(NULL, "?holdfast_assume=network", "delete", "1,1");
  asked_for_wal(network, "?holdfast_assume=local", "wal", "2,2"); /* URI over environment */
  asked_for_wal("HOLDFAST_ASSUME=local", "?holdfast_assume=network", "delete", "1,1");
  asked_for_wal(network, "?holdfast_journal=truncate", "truncate", "1,1");
  asked_for_wal(network, "?holdfast_journal=persist", "persist", "1,1");
  asked_for_wal("HOLDFAST_ASSUME=network HOLDFAST_JOURNAL=truncate", "", "truncate", "1,1");
  asked_for_wal("HOLDFAST_ASSUME=network HOLDFAST_JOURNAL=persist", "", "persist", "1,1");
  asked_for_wal("HOLDFAST_ASSUME=network HOLDFAST_JOURNAL=persist", "?holdfast_journal=delete", "delete",
                "1,1");
  asked_for_wal("HOLDFAST_JOURNAL=truncate", "?holdfast_assume=local", "wal",
                "2,2"); /* WAL works: nothing to replace */
  asked_for_wal(network, "?holdfast_mode=off", "wal", "2,2");
  asked_for_wal(network, "?holdfast_mode=observe", "wal", "2,2");
  asked_for_wal("HOLDFAST_ASSUME=network HOLDFAST_MODE=off", "?holdfast_mode=enforce", "delete", "1,1");
  asked_for_wal("HOLDFAST_ASSUME=network HOLDFAST_STRICT=1", "?holdfast_assume=local", "wal", "2,2");
}

/* journal=wal-exclusive: never on a network mount yet; with one host alone WAL works, without shared memory.
 */
static void wal_exclusive(void)
{
  peer *p, *other;

  asked_for_wal("HOLDFAST_ASSUME=network HOLDFAST_JOURNAL=wal-exclusive", "", "delete", "1,1");
  asked_for_wal("HOLDFAST_ASSUME=network", "?holdfast_journal=wal-exclusive", "delete", "1,1");

  check_scene("wal-exclusive on one host");
  db_remove("x.db");
  p = peer_start(SHIM_YES, "HOLDFAST_ASSUME=one-host HOLDFAST_JOURNAL=wal-exclusive");
  CHECK_INT("open", peer_open(p, 0, "x.db", 0), SQLITE_OK);
  CHECK_STR("WAL", peer_ask(p, 0, "PRAGMA journal_mode=WAL"), "wal");
  CHECK_STR("write", peer_ask(p, 0, "CREATE TABLE t(x); INSERT INTO t VALUES(7); SELECT x FROM t"), "7");
  CHECK_TRUE("a -wal and no -shm", db_beside("x.db", "-wal") && !db_beside("x.db", "-shm"));
  other = peer_start(SHIM_NO, NULL);
  CHECK_INT("another opener", peer_open(other, 0, "x.db", 0), SQLITE_OK);
  CHECK_INT("is kept out", peer_sql(other, 0, "SELECT * FROM t") & 0xff, SQLITE_BUSY);
  CHECK_INT("end", peer_end(other), 0);
  peer_kill(p);
  p = peer_start(SHIM_YES, "HOLDFAST_ASSUME=one-host HOLDFAST_JOURNAL=wal-exclusive");
  CHECK_INT("open after a crash", peer_open(p, 0, "x.db", 0), SQLITE_OK);
  CHECK_STR("read", peer_ask(p, 0, "SELECT x FROM t"), "7");
  CHECK_TRUE("no -shm", !db_beside("x.db", "-shm"));
  CHECK_INT("end", peer_end(p), 0);
}

/* The same steps, plain and observed: the same answers, the same bytes, the same files. */
static void same_as_plain(const char *env, const char *kind)
{
  static const char steps[] =
      "PRAGMA journal_mode=WAL; PRAGMA mmap_size=1000000; CREATE TABLE n(x); INSERT INTO n "
      "VALUES(1),(2); UPDATE n SET x = x + 1; PRAGMA journal_mode; PRAGMA locking_mode; "
      "SELECT sum(x) FROM n; PRAGMA integrity_check";
  peer *p[2] = {peer_start(SHIM_NO, NULL), peer_start(SHIM_YES, env)};
  char answer[2][600];
  unsigned long long print[2];

  check_scene("%s", env);
  db_remove("base.db");
  made_wal("base.db", 100, 0);
  for (int i = 0; i < 2; i++) {
    db_copy("base.db", "o.db");
    CHECK_INT("open", peer_open(p[i], 0, "o.db", 0), SQLITE_OK);
    (void)snprintf(answer[i], sizeof answer[i], "%.500s", peer_ask(p[i], 0, steps));
    CHECK_INT("close", peer_close(p[i], 0), SQLITE_OK);
    print[i] = db_print("o.db");
  }
  CHECK_HAS("plain is in WAL mode", answer[0], "wal");
  CHECK_STR("answers", answer[1], answer[0]);
  CHECK_TRUE("bytes of all files", print[0] == print[1]);
  CHECK_INT("a memory database", peer_open(p[1], 1, ":memory:", 0), SQLITE_OK);
  CHECK_STR("what it reports", peer_ask(p[1], 1, "SELECT group_concat(DISTINCT kind) FROM holdfast_events"),
            kind);
  CHECK_INT("end", peer_end(p[0]), 0);
  CHECK_INT("end", peer_end(p[1]), 0);
}

/* Strict refuses what is known to be unsafe for others; that assumption alone is not such knowledge. */
static void strict(void)
{
  peer *p = peer_start(SHIM_YES, "HOLDFAST_STRICT=1");

  check_scene("strict");
  db_remove("a.db");
  CHECK_INT("a network mount with server locks", peer_open(p, 0, "file:a.db?holdfast_assume=network", 0),
            SQLITE_OK);
  CHECK_HAS("the line says it", peer_ask(p, 0, "PRAGMA holdfast"), "strict");
  CHECK_INT("switched off for one file", peer_open(p, 1, "file:a.db?holdfast_strict=0", 0), SQLITE_OK);
  CHECK_HAS_NOT("the line does not", peer_ask(p, 1, "PRAGMA holdfast"), "strict");
  CHECK_INT("end", peer_end(p), 0);
}

/* Absurd values refuse the open, name themselves, and touch nothing. */
static void absurd_parameters(void)
{
  static const char *const absurd[] = {
      "holdfast_assume=nfs",
      "holdfast_assume=",
      "holdfast_assume=network%00",
      "holdfast_mode=1",
      "holdfast_mode=ENFORCED",
      "holdfast_journal=wal",
      "holdfast_journal=delete,persist",
      "holdfast_strict=maybe",
      "holdfast_strict=-1",
      "holdfast_asume=local",
      "holdfast_=1",
      "holdfast_mode=observe&holdfast_x=1",
  };
  peer *p = peer_start(SHIM_YES, NULL);
  char name[9000];

  for (size_t i = 0; i < sizeof absurd / sizeof absurd[0]; i++) {
    check_scene("parameter %s", absurd[i]);
    db_remove("a.db");
    (void)snprintf(name, sizeof name, "file:a.db?%s", absurd[i]);
    if (strstr(absurd[i], "%00")) { /* SQLite cuts a value there: what is left is a good one */
      CHECK_INT("open", peer_open(p, 0, name, 0), SQLITE_OK);
      CHECK_INT("close", peer_close(p, 0), SQLITE_OK);
      continue;
    }
    CHECK_INT("open", peer_open(p, 0, name, 0), SQLITE_CANTOPEN);
    CHECK_TRUE("nothing is created", !file_exists("a.db"));
  }
  check_scene("a value of 8,000 bytes");
  (void)snprintf(name, sizeof name, "file:a.db?holdfast_assume=%08000d", 1);
  CHECK_INT("open", peer_open(p, 0, name, 0), SQLITE_CANTOPEN);
  CHECK_INT("a memory database tells", peer_open(p, 1, ":memory:", 0), SQLITE_OK);
  CHECK_HAS("which", peer_ask(p, 1, "SELECT group_concat(detail) FROM holdfast_events"), "holdfast_asume");
  CHECK_INT("end", peer_end(p), 0);
}

/* In the environment the same: the shim does not load, and says which. */
static int load_again(sqlite3 **db, char *out, size_t size)
{
  char *message = NULL;
  int rc;

  (void)sqlite3_db_config(db[0], SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 1, NULL); /* known since 3.13 */
  rc = sqlite3_load_extension(db[0], shim_path(), NULL, &message);
  (void)snprintf(out, size, "%s", message ? message : "");
  sqlite3_free(message);
  return rc;
}

static void absurd_environment(const char *env, const char *names)
{
  peer *p = peer_start(SHIM_NO, env);

  check_scene("environment %s", env);
  CHECK_INT("open", peer_open(p, 0, ":memory:", 0), SQLITE_OK);
  CHECK_TRUE("load", peer_call(p, load_again) != SQLITE_OK);
  CHECK_HAS("the message", peer_text(p), names);
  CHECK_INT("plain SQLite goes on", peer_open(p, 1, "e.db", 0), SQLITE_OK);
  CHECK_STR("no shim", peer_ask(p, 1, "PRAGMA holdfast"), "");
  CHECK_INT("end", peer_end(p), 0);
}

int main(void)
{
  assume_and_journal();
  wal_exclusive();
  same_as_plain("HOLDFAST_ASSUME=network HOLDFAST_MODE=observe", "warned");
  same_as_plain("HOLDFAST_ASSUME=network HOLDFAST_MODE=off", "");
  strict();
  absurd_parameters();
  absurd_environment("HOLDFAST_MODE=protect", "HOLDFAST_MODE");
  absurd_environment("HOLDFAST_ASSUME=nfs", "HOLDFAST_ASSUME");
  absurd_environment("HOLDFAST_JOURNAL=wal", "HOLDFAST_JOURNAL");
  absurd_environment("HOLDFAST_STRICT=2", "HOLDFAST_STRICT");
  return check_done();
}
