/*
 * f21_after_io_error.c - F21: a write or a sync fails with an I/O error, and the program goes on writing.
 *
 * A VFS below the shim fails one call of one connection. From then on that connection must not begin a write
 * or a checkpoint, nor may its close bring pages into the file. A connection that is opened afterwards works,
 * also while the first one is still open. A full disk, a lock that is busy and want of memory are no reason.
 */
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "faulty.h"
#include "files.h"
#include "scene.h"

static const struct fault {
  const char *name, *mode;
  int file, call, code;
  const char *action; /* in which the fault happens */
  bool hard;          /* the connection must stop writing */
} faults[] = {
    {"write of the database", "delete", FAULTY_DB, FAULTY_WRITE, SQLITE_IOERR_WRITE,
     "INSERT INTO t(who) VALUES(1)", true},
    {"sync of the database", "delete", FAULTY_DB, FAULTY_SYNC, SQLITE_IOERR_FSYNC,
     "INSERT INTO t(who) VALUES(1)", true},
    {"write of the -wal", "wal", FAULTY_WAL, FAULTY_WRITE, SQLITE_IOERR_WRITE, "INSERT INTO t(who) VALUES(1)",
     true},
    {"sync of the -wal", "wal", FAULTY_WAL, FAULTY_SYNC, SQLITE_IOERR_FSYNC, "INSERT INTO t(who) VALUES(1)",
     true},
    {"write of the database by a checkpoint", "wal", FAULTY_DB, FAULTY_WRITE, SQLITE_IOERR_WRITE,
     "PRAGMA wal_checkpoint", true},
    {"sync of the database by a checkpoint", "wal", FAULTY_DB, FAULTY_SYNC, SQLITE_IOERR_FSYNC,
     "PRAGMA wal_checkpoint", true},
    {"truncate of the -wal by a checkpoint", "wal", FAULTY_WAL, FAULTY_TRUNCATE, SQLITE_IOERR_TRUNCATE,
     "PRAGMA wal_checkpoint(TRUNCATE)", true},
    {"write of the -journal", "delete", FAULTY_JOURNAL, FAULTY_WRITE, SQLITE_IOERR_WRITE,
     "INSERT INTO t(who) VALUES(1)", false}, /* the database is as it was */
    {"full disk, database", "delete", FAULTY_DB, FAULTY_WRITE, SQLITE_FULL, "INSERT INTO t(who) VALUES(1)",
     false},
    {"full disk, -wal", "wal", FAULTY_WAL, FAULTY_WRITE, SQLITE_FULL, "INSERT INTO t(who) VALUES(1)", false},
    {"busy, database", "delete", FAULTY_DB, FAULTY_WRITE, SQLITE_BUSY, "INSERT INTO t(who) VALUES(1)", false},
    {"busy, -wal", "wal", FAULTY_WAL, FAULTY_WRITE, SQLITE_BUSY, "INSERT INTO t(who) VALUES(1)", false},
    {"no memory, database", "delete", FAULTY_DB, FAULTY_WRITE, SQLITE_IOERR_NOMEM,
     "INSERT INTO t(who) VALUES(1)", false},
    {"no memory, -wal", "wal", FAULTY_WAL, FAULTY_WRITE, SQLITE_IOERR_NOMEM, "INSERT INTO t(who) VALUES(1)",
     false},
};
enum { FAULTS = sizeof faults / sizeof faults[0], TRIES = 20 };

static long writes(int file)
{
  return atomic_load(&faulty()->done[file][FAULTY_WRITE]);
}

/* After the fault: how many of TRIES inserts and of TRIES checkpoints does the same connection get done? */
static void go_on(peer *p, int *inserts, int *checkpoints)
{
  *inserts = *checkpoints = 0;
  for (int i = 0; i < TRIES; i++) *inserts += peer_sql(p, 0, "INSERT INTO t(who) VALUES(2)") == SQLITE_OK;
  for (int i = 0; i < TRIES; i++)
    *checkpoints += peer_sql(p, 0, "PRAGMA wal_checkpoint(FULL)") == SQLITE_OK && peer_text(p)[0] == '0' &&
                    strcmp(peer_text(p), "0|-1|-1") != 0;
}

/* A connection that is opened after the fault, in the same process and in another one. */
static void fresh_ones_work(peer *p, int rows)
{
  char want[40];

  CHECK_INT("a fresh connection opens", peer_open(p, 1, SCENE_DB, 0), SQLITE_OK);
  CHECK_STR("and writes", peer_ask(p, 1, "INSERT INTO t(who) VALUES(3)"), "");
  CHECK_STR("and reads", peer_ask(p, 1, "SELECT count(*) FROM t WHERE who=3"), "1");
  CHECK_INT("and closes", peer_close(p, 1), SQLITE_OK);
  CHECK_STR("another process writes", scene_look("INSERT INTO t(who) VALUES(3)"), "");
  (void)snprintf(want, sizeof want, "%d\n2\nok", rows);
  CHECK_STR("all that was acknowledged is there",
            scene_look("SELECT count(*) FROM t NOT INDEXED WHERE who<=2; "
                       "SELECT count(*) FROM t WHERE who=3; PRAGMA integrity_check"),
            want);
}

static void run(const struct fault *f, int shim)
{
  bool wal = strcmp(f->mode, "wal") == 0;
  peer *p;
  int inserts, checkpoints, code;
  long before;

  check_scene("%s, %s", f->name, shim ? "holdfast" : "plain");
  scene_make(f->mode, "INSERT INTO t(who) VALUES(0)");
  (void)faulty(); /* made before the fork */
  p = peer_start_in(shim, NULL, faulty_register);
  CHECK_INT("open", peer_open(p, 0, SCENE_DB, 0), SQLITE_OK);
  /* -wal and -shm stay while the connection is in use; FULL, so that a commit syncs the -wal. */
  scene_must(p, "PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0; INSERT INTO t(who) VALUES(0)");
  faulty_arm(f->file, f->call, f->code);
  code = peer_sql(p, 0, f->action);
  CHECK_INT("the fault happened", atomic_load(&faulty()->failed), 1);
  CHECK_INT("the caller hears of it", code != SQLITE_OK, 1);
  (void)peer_sql(p, 0, "ROLLBACK"); /* nothing to roll back, where SQLite has done it */
  before = writes(FAULTY_DB);
  go_on(p, &inserts, &checkpoints);
  printf("%-38s %-8s answer %4d; afterwards %d of %d inserts and %d checkpoints\n", f->name,
         shim ? "holdfast" : "plain", code, inserts, TRIES, checkpoints);
  if (shim && f->hard) {
    CHECK_INT("inserts after the fault", inserts, 0);
    CHECK_INT("checkpoints after the fault", checkpoints, 0);
    if (wal) CHECK_INT("pages written into the database", writes(FAULTY_DB), before);
    CHECK_HAS("it is reported", peer_ask(p, 0, "PRAGMA holdfast_events"), "\"latched\"");
  } else {
    CHECK_INT("inserts after the fault", inserts, TRIES);
    if (wal) CHECK_INT("checkpoints after the fault", checkpoints, TRIES);
  }
  if (shim) {
    if (f->hard) CHECK_HAS("the latch says why", peer_ask(p, 0, "INSERT INTO t(who) VALUES(2)"), "error");
    fresh_ones_work(p, 2 + inserts);
    before = writes(FAULTY_DB);
    CHECK_INT("the latched connection closes", peer_close(p, 0), SQLITE_OK);
    if (f->hard) CHECK_INT("its close writes no pages", writes(FAULTY_DB), before);
    CHECK_INT("open once more", peer_open(p, 0, SCENE_DB, 0), SQLITE_OK);
    CHECK_STR("works", peer_ask(p, 0, "INSERT INTO t(who) VALUES(4); SELECT count(*) FROM t WHERE who=4"),
              "1");
  }
  CHECK_INT("end", peer_end(p), 0);
  if (shim) {
    CHECK_STR("integrity", scene_look("SELECT count(*) FROM t WHERE who>=3; PRAGMA integrity_check"),
              "3\nok");
    CHECK_TRUE("no lock is left", !scene_locks_left());
  }
}

/* The latch is of this process: one with a connection of its own goes on, and the latched one may read. */
static void others(void)
{
  peer *p, *other;

  check_scene("whom the latch concerns");
  scene_make("wal", "INSERT INTO t(who) VALUES(0)");
  (void)faulty();
  p = peer_start_in(SHIM_YES, NULL, faulty_register);
  other = scene_peer(SHIM_YES);
  CHECK_INT("open", peer_open(p, 0, SCENE_DB, 0), SQLITE_OK);
  scene_must(p, "INSERT INTO t(who) VALUES(1)");
  faulty_arm(FAULTY_WAL, FAULTY_WRITE, SQLITE_IOERR_WRITE);
  CHECK_TRUE("the fault is heard", peer_sql(p, 0, "INSERT INTO t(who) VALUES(1)") != SQLITE_OK);
  CHECK_TRUE("no write after it", peer_sql(p, 0, "INSERT INTO t(who) VALUES(1)") != SQLITE_OK);
  CHECK_STR("the other process writes", peer_ask(other, 0, "INSERT INTO t(who) VALUES(2)"), "");
  CHECK_STR("the latched one still reads", peer_ask(p, 0, "SELECT count(*) FROM t"), "3");
  CHECK_INT("end", peer_end(p), 0);
  CHECK_STR("the other process still writes", peer_ask(other, 0, "INSERT INTO t(who) VALUES(2)"), "");
  CHECK_INT("end of the other", peer_end(other), 0);
  CHECK_STR("after all", scene_look("SELECT count(*) FROM t NOT INDEXED; PRAGMA integrity_check"), "4\nok");
}

int main(void)
{
  for (int i = 0; i < FAULTS; i++) {
    run(&faults[i], SHIM_NO);
    run(&faults[i], SHIM_YES);
  }
  others();
  return check_done();
}
