/*
 * f18_mode_flip.c - F18: the journal mode is changed while somebody else is attached.
 *
 * SQLite itself refuses that, as long as it knows of the others. After a stray close (F1) it does not: the
 * database is taken out of WAL mode, or put into it, under a process that goes on in the old mode, and what
 * that one commits is lost. The same after an I/O error, when programs "fall back to DELETE".
 */
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "faulty.h"
#include "files.h"
#include "scene.h"

enum { ROWS = 100 };

static int insert_rows(peer *p, int who)
{
  char sql[100];
  int done = 0;

  for (int i = 1; i <= ROWS; i++) {
    (void)snprintf(sql, sizeof sql, "INSERT INTO t(who, n) VALUES(%d, %d)", who, i);
    done += peer_sql(p, 0, sql) == SQLITE_OK;
  }
  return done;
}

static int rows_of(int who)
{
  char sql[100];
  int n = -1;

  (void)snprintf(sql, sizeof sql, "SELECT count(*) FROM t NOT INDEXED WHERE who=%d", who);
  (void)sscanf(scene_look(sql), "%d", &n);
  return n;
}

/* Nobody has lost a lock: refused, by SQLite itself. */
static void refused_anyway(const scene_side *side)
{
  peer *holder, *other;

  check_scene("flip without a stray close, %s", side->name);
  scene_make("wal", NULL);
  holder = scene_peer(side->holder);
  other = scene_peer(side->other);
  CHECK_STR("WAL to DELETE", peer_ask(other, 0, "PRAGMA journal_mode=DELETE"), "error 5: database is locked");
  CHECK_STR("stays in WAL mode", peer_ask(other, 0, "PRAGMA journal_mode"), "wal");
  CHECK_INT("rows of the holder", insert_rows(holder, 1), ROWS);
  CHECK_INT("and they are there", rows_of(1), ROWS);
  CHECK_INT("end of the holder", peer_end(holder), 0);
  CHECK_STR("alone it is done", peer_ask(other, 0, "PRAGMA journal_mode=DELETE"), "delete");
  CHECK_INT("end of the other", peer_end(other), 0);
}

/* WAL to DELETE beside a holder that did a stray close. */
static void out_of_wal(const scene_side *side)
{
  peer *holder, *other;
  int acknowledged, seen;
  bool flipped;

  check_scene("WAL to DELETE after a stray close, %s", side->name);
  scene_make("wal", "INSERT INTO t(who) VALUES(0)");
  holder = scene_peer(side->holder);
  other = scene_peer(side->other);
  CHECK_INT("the stray close", peer_call(holder, stray_db), SQLITE_OK);
  flipped = strcmp(peer_ask(other, 0, "PRAGMA journal_mode=DELETE"), "delete") == 0;
  acknowledged = insert_rows(holder, 1);
  (void)insert_rows(other, 2);
  seen = rows_of(1);
  printf("WAL to DELETE  %-24s %s; %d rows acknowledged, %d found\n", side->name,
         flipped ? "done" : "refused", acknowledged, seen);
  CHECK_INT("the mode was flipped", flipped, !side->guarded);
  CHECK_INT("rows acknowledged", acknowledged, ROWS);
  CHECK_INT("rows found", seen, side->guarded ? ROWS : 0);
  if (!side->guarded) { /* what its close does now is not defined */
    peer_kill(holder);
    peer_kill(other);
    return;
  }
  CHECK_INT("end of the holder", peer_end(holder), 0);
  CHECK_INT("end of the other", peer_end(other), 0);
  CHECK_INT("rows of the other", rows_of(2), ROWS);
  CHECK_STR("integrity", scene_look("PRAGMA integrity_check"), "ok");
}

/* DELETE to WAL, ROWS rows and gone again, while a transaction is open that goes on in the old mode. */
static void into_wal(const scene_side *side)
{
  peer *holder, *other;
  int written, seen;
  bool flipped, committed;

  check_scene("DELETE to WAL after a stray close, %s", side->name);
  scene_make("delete", "INSERT INTO t(who) VALUES(0)");
  holder = scene_peer(side->holder);
  other = scene_peer(side->other);
  scene_must(holder, "BEGIN; SELECT count(*) FROM t");
  CHECK_INT("the stray close", peer_call(holder, stray_db), SQLITE_OK);
  flipped = strcmp(peer_ask(other, 0, "PRAGMA journal_mode=WAL"), "wal") == 0;
  written = flipped ? insert_rows(other, 2) : 0;
  CHECK_INT("end of the other", peer_end(other), 0);
  committed = peer_sql(holder, 0, "INSERT INTO t(who) VALUES(1); COMMIT") == SQLITE_OK;
  seen = rows_of(2);
  printf("DELETE to WAL  %-24s %s; the other's rows: %d acknowledged, %d found\n", side->name,
         flipped ? "done" : "refused", written, seen);
  CHECK_INT("the mode was flipped", flipped, !side->guarded);
  CHECK_INT("rows of the other", seen, 0); /* plain: ROWS were acknowledged */
  CHECK_TRUE("the holder's commit is acknowledged", committed);
  if (!side->guarded) {
    peer_kill(holder);
    return;
  }
  other = scene_peer(side->other);
  CHECK_STR("nobody in the way: it is done", peer_ask(other, 0, "PRAGMA journal_mode=WAL"), "wal");
  CHECK_STR("both write in the new mode", peer_ask(holder, 0, "INSERT INTO t(who) VALUES(1)"), "");
  CHECK_STR("both write in the new mode", peer_ask(other, 0, "INSERT INTO t(who) VALUES(1)"), "");
  CHECK_INT("end of the holder", peer_end(holder), 0);
  CHECK_INT("end of the other", peer_end(other), 0);
  CHECK_STR("after all", scene_look("SELECT count(*) FROM t WHERE who=1; PRAGMA integrity_check"), "3\nok");
}

/* "It could not write, so fall back to DELETE": by the connection that saw the error. */
static void fall_back(int shim)
{
  const char *answer;
  peer *p;
  bool flipped;

  check_scene("fall back after an I/O error, %s", shim ? "holdfast" : "plain");
  scene_make("wal", "INSERT INTO t(who) VALUES(0)");
  (void)faulty(); /* made before the fork */
  p = peer_start_in(shim, NULL, faulty_register);
  CHECK_INT("open", peer_open(p, 0, SCENE_DB, 0), SQLITE_OK);
  scene_must(p, "INSERT INTO t(who) VALUES(0)");
  faulty_arm(FAULTY_WAL, FAULTY_WRITE, SQLITE_IOERR_WRITE);
  CHECK_TRUE("the fault is heard", peer_sql(p, 0, "INSERT INTO t(who) VALUES(0)") != SQLITE_OK);
  answer = peer_ask(p, 0, "PRAGMA journal_mode=DELETE");
  flipped = strcmp(answer, "delete") == 0;
  printf("fall back      %-24s %s\n", shim ? "holdfast" : "plain", answer);
  CHECK_INT("the mode was flipped", flipped, !shim);
  (void)peer_end(p); /* a latched connection may not close cleanly; the file tells */
  CHECK_STR("header", db_header_mode(SCENE_DB), shim ? "2,2" : "1,1");
  CHECK_STR("rows", scene_look("SELECT count(*) FROM t NOT INDEXED; PRAGMA integrity_check"), "2\nok");
}

int main(void)
{
  for (int i = 0; i < SCENE_SIDES; i++) {
    refused_anyway(&scene_sides[i]);
    out_of_wal(&scene_sides[i]);
    into_wal(&scene_sides[i]);
  }
  fall_back(SHIM_NO);
  fall_back(SHIM_YES);
  return check_done();
}
