/*
 * f02_wal_unlinked.c - F2: the last close of somebody else takes the -wal away that is still written to.
 *
 * One process has a WAL database open and does a stray close, which drops the SHARED lock that says "I am
 * here". Another program opens, reads and closes: it believes that it is the last one, checkpoints, and
 * unlinks -wal and -shm. The first process goes on and commits into files that have no name any more.
 */
#include <stdio.h>

#include "check.h"
#include "files.h"
#include "scene.h"

enum { ROWS = 100 };

typedef struct seen {
  int acknowledged, visible;
  bool wal_kept;
} seen;

/* `holds`: what the holder is in the middle of while the other one comes and goes. */
static void run(const scene_side *side, peer_function *stray, const char *holds, const char *releases,
                seen *out)
{
  peer *holder, *other;
  char sql[100];

  *out = (seen){0};
  scene_make("wal", "INSERT INTO t(who) VALUES(0)");
  holder = scene_peer(side->holder);
  scene_must(holder, "INSERT INTO t(who) VALUES(0)");
  scene_must(holder, holds);
  CHECK_INT("the stray close", peer_call(holder, stray), SQLITE_OK);
  other = scene_peer(side->other); /* opens and reads */
  CHECK_INT("end of the other", peer_end(other), 0);
  out->wal_kept = db_beside(SCENE_DB, "-wal");
  scene_must(holder, releases);
  for (int i = 1; i <= ROWS; i++) {
    (void)snprintf(sql, sizeof sql, "INSERT INTO t(who, n) VALUES(1, %d)", i);
    out->acknowledged += peer_sql(holder, 0, sql) == SQLITE_OK;
  }
  /* While the holder lives: this is what every other program sees. */
  (void)sscanf(scene_look("SELECT count(*) FROM t NOT INDEXED WHERE who=1"), "%d", &out->visible);
  if (side->guarded) { /* a plain holder closes a -wal of its own now, whatever that does */
    CHECK_INT("end of the holder", peer_end(holder), 0);
    CHECK_STR("after all",
              scene_look("SELECT count(*) FROM t NOT INDEXED WHERE who=1; PRAGMA integrity_check"),
              "100\nok");
    CHECK_TRUE("the last one tidied up", !db_beside(SCENE_DB, "-wal") && !db_beside(SCENE_DB, "-shm"));
    CHECK_TRUE("no lock is left", !scene_locks_left());
  } else {
    peer_kill(holder);
  }
}

static void both(const char *what, peer_function *stray, bool harmful, const char *holds,
                 const char *releases)
{
  int rounds = scene_rounds(3, 10);
  seen s = {0};

  for (int i = 0; i < SCENE_SIDES; i++) {
    check_scene("stray close of %s, %s", what, scene_sides[i].name);
    for (int r = 0; r < rounds; r++) {
      bool safe = scene_sides[i].guarded || !harmful;
      run(&scene_sides[i], stray, holds, releases, &s);
      CHECK_INT("acknowledged", s.acknowledged, ROWS);
      CHECK_INT("visible to others", s.visible, safe ? ROWS : 0);
      CHECK_INT("the -wal was kept", s.wal_kept, safe);
    }
    printf("stray close of %-22s %-24s %d acknowledged, %d visible to others, -wal %s\n", what,
           scene_sides[i].name, s.acknowledged, s.visible, s.wal_kept ? "kept" : "unlinked");
  }
}

int main(void)
{
  both("db", stray_db, true, "SELECT 1", "SELECT 1");
  both("db, in a transaction", stray_db, true, "BEGIN; SELECT count(*) FROM t", "COMMIT");
  /* The SHARED lock on the database is the gate: these two do no harm alone. */
  both("-shm", stray_shm, false, "SELECT 1", "SELECT 1");
  both("-wal", stray_wal, false, "SELECT 1", "SELECT 1");
  return check_done();
}
