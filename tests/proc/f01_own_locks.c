/*
 * f01_own_locks.c - F1: a program opens, reads and closes its own live database, and the kernel drops the
 * locks that SQLite holds on it.
 *
 * One process holds a lock and does the stray close; a second one, which never waits, tries what that lock
 * forbids. A breach is a try that succeeds. Which file's close does harm differs between the journal modes:
 * the rows that are harmless by themselves are compared too, so that the controls are known exactly.
 */
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "scene.h"

/* What the first process holds when the stray close comes, and what the second one must not be able to do. */
typedef struct held {
  const char *name, *mode;
  const char *take, *give; /* of the holder */
  const char *try, *undo;  /* of the other; undo may fail */
  const char *beside;      /* "db", "-wal", "-shm" */
  peer_function *stray;
  bool harmful; /* with plain SQLite */
} held;

#define FILLED                                                                                               \
  "WITH RECURSIVE i(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM i WHERE x<400) "                               \
  "INSERT INTO t(who,v) SELECT 0, printf('%0900d', x) FROM i"
#define SPILL "PRAGMA cache_size=4; BEGIN; UPDATE t SET v='half' || substr(v, 5)"

static const held all[] = {
    {"write lock", "delete", "BEGIN IMMEDIATE; INSERT INTO t(who) VALUES(1)", "COMMIT", "BEGIN IMMEDIATE",
     "ROLLBACK", "db", stray_db, true},
    {"write lock", "wal", "BEGIN IMMEDIATE; INSERT INTO t(who) VALUES(1)", "COMMIT", "BEGIN IMMEDIATE",
     "ROLLBACK", "db", stray_db, false},
    {"write lock", "wal", "BEGIN IMMEDIATE; INSERT INTO t(who) VALUES(1)", "COMMIT", "BEGIN IMMEDIATE",
     "ROLLBACK", "-wal", stray_wal, false},
    {"write lock", "wal", "BEGIN IMMEDIATE; INSERT INTO t(who) VALUES(1)", "COMMIT", "BEGIN IMMEDIATE",
     "ROLLBACK", "-shm", stray_shm, true},
    /* A reader's lock: nobody may change what it is reading (DELETE), or start the log anew (WAL). */
    {"read lock", "delete", "BEGIN; SELECT count(*) FROM t", "COMMIT", "INSERT INTO t(who) VALUES(2)", "",
     "db", stray_db, true},
    {"read lock", "wal", "BEGIN; SELECT count(*) FROM t", "COMMIT",
     "INSERT INTO t(who) VALUES(2); PRAGMA wal_checkpoint(TRUNCATE)", "", "-shm", stray_shm, true},
    /* Half of a transaction is in the file: nobody may read it. */
    {"exclusive lock", "delete", SPILL, "ROLLBACK", "SELECT count(*) FROM t", "", "db", stray_db, true},
};
enum { HELD = sizeof all / sizeof all[0] };

/* Did the other one get what it wanted? A checkpoint says so in its first column: 0 = not busy. */
static bool tried(peer *other, const held *h)
{
  int rc = peer_sql(other, 0, h->try);
  bool got = rc == SQLITE_OK;

  if (got && strstr(h->try, "wal_checkpoint")) got = peer_text(other)[0] == '0';
  if (!got && rc != SQLITE_OK && (rc & 0xff) != SQLITE_BUSY)
    CHECK_STR("the other process hears", peer_text(other), "database is locked");
  if (*h->undo) (void)peer_sql(other, 0, h->undo); /* fails when it had not got in */
  return got;
}

static int breaches(const held *h, const scene_side *side, int rounds)
{
  peer *holder, *other;
  int in = 0;

  scene_make(h->mode, FILLED);
  holder = scene_peer(side->holder);
  other = scene_peer(side->other);
  scene_must(holder, "PRAGMA synchronous=OFF"); /* thousands of commits; no lock depends on it */
  scene_must(other, "PRAGMA synchronous=OFF");
  for (int i = 0; i < rounds; i++) {
    scene_must(holder, h->take);
    CHECK_TRUE("before the stray close nobody gets in", !tried(other, h));
    CHECK_INT("the stray close", peer_call(holder, h->stray), SQLITE_OK);
    in += tried(other, h);
    if (side->guarded)
      CHECK_STR("the holder ends its transaction", peer_ask(holder, 0, h->give), "");
    else if (peer_sql(holder, 0, h->give)) /* the other one may have rolled it back */
      (void)peer_sql(holder, 0, "ROLLBACK");
  }
  CHECK_INT("end of the holder", peer_end(holder), 0);
  CHECK_INT("end of the other", peer_end(other), 0);
  if (side->guarded) {
    CHECK_STR("integrity", scene_look("PRAGMA integrity_check"), "ok");
    if (strcmp(h->name, "write lock") == 0) {
      char want[20];
      (void)snprintf(want, sizeof want, "%d", rounds);
      CHECK_STR("every commit is there", scene_look("SELECT count(*) FROM t NOT INDEXED WHERE who=1"), want);
    }
    CHECK_TRUE("no lock is left", !scene_locks_left());
  }
  return in;
}

int main(void)
{
  int rounds = scene_rounds(25, 200), in, want;

  for (int i = 0; i < HELD; i++)
    for (int s = 0; s < SCENE_SIDES; s++) {
      check_scene("%s, %s, stray close of %s, %s", all[i].name, all[i].mode, all[i].beside,
                  scene_sides[s].name);
      in = breaches(&all[i], &scene_sides[s], rounds);
      want = all[i].harmful && !scene_sides[s].guarded ? rounds : 0;
      CHECK_INT("breaches", in, want);
      printf("%-14s %-6s %-4s %-24s %d of %d breached\n", all[i].name, all[i].mode, all[i].beside,
             scene_sides[s].name, in, rounds);
    }
  return check_done();
}
