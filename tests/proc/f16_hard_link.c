/*
 * f16_hard_link.c - F16: one database under two names.
 *
 * The -wal and -journal are found by name. Two programs that open a hard-linked database by different names
 * share the database and its locks, but each has a log of its own: in WAL mode each commits what the other
 * never sees, and the two checkpoints write over each other.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "files.h"
#include "scene.h"

#define ALIAS "alias.db"
enum { ROWS = 100 };

static peer *peer_by(int shim, const char *name)
{
  peer *p = peer_start(shim, NULL);

  (void)peer_open(p, 0, name, 0); /* refused is fine: its inserts tell */
  return p;
}

static int insert_rows(peer *p, int who, int count)
{
  char sql[100];
  int done = 0;

  (void)snprintf(sql, sizeof sql, "INSERT INTO t(who, v) VALUES(%d, hex(randomblob(100)))", who);
  for (int i = 0; i < count; i++) done += peer_sql(p, 0, sql) == SQLITE_OK;
  return done;
}

static int rows_of(int who)
{
  char sql[100];
  int n = 0;

  (void)snprintf(sql, sizeof sql, "SELECT count(*) FROM t NOT INDEXED WHERE who=%d", who);
  (void)sscanf(scene_look(sql), "%d", &n);
  return n;
}

static void make(const char *mode)
{
  db_remove(ALIAS);
  scene_make(mode, "INSERT INTO t(who) VALUES(0)");
  if (link(SCENE_DB, ALIAS)) check_broken("link");
}

/* Both write, by turns. Returns how many acknowledged rows are not there. */
static int two_names(const char *mode, const scene_side *side, int *acknowledged)
{
  peer *one, *two;
  int first = 0, second = 0;

  make(mode);
  one = peer_by(side->holder, SCENE_DB);
  two = peer_by(side->other, ALIAS);
  for (int i = 0; i < 10; i++) {
    first += insert_rows(one, 1, ROWS / 10);
    second += insert_rows(two, 2, ROWS / 10);
  }
  CHECK_INT("end of the first", peer_end(one), 0);
  CHECK_INT("end of the second", peer_end(two), 0);
  *acknowledged = first + second;
  return first - rows_of(1) + second - rows_of(2);
}

/* WAL does not start on a file with two names, and a refusal says why. */
static void says_so(void)
{
  peer *p = peer_start(SHIM_YES, NULL);

  check_scene("what holdfast says");
  make("delete");
  CHECK_INT("open", peer_open(p, 0, ALIAS, 0), SQLITE_OK);
  CHECK_STR("WAL", peer_ask(p, 0, "PRAGMA journal_mode=WAL"), "delete");
  CHECK_STR("write", peer_ask(p, 0, "INSERT INTO t(who) VALUES(1)"), "");
  CHECK_HAS("warning", peer_ask(p, 0, "PRAGMA holdfast_events"), "several names");
  make("wal");
  CHECK_INT("an existing WAL database", peer_open(p, 1, SCENE_DB, 0), SQLITE_CANTOPEN);
  file_remove(ALIAS);
  CHECK_INT("with one name again", peer_open(p, 1, SCENE_DB, 0), SQLITE_OK);
  CHECK_STR("it is in WAL mode", peer_ask(p, 1, "PRAGMA journal_mode"), "wal");
  CHECK_INT("end", peer_end(p), 0);
}

int main(void)
{
  int acknowledged, lost;

  for (int m = 0; m < SCENE_MODES; m++)
    for (int s = 0; s < SCENE_SIDES; s++) {
      bool wal = strcmp(scene_modes[m], "wal") == 0;
      check_scene("two names, %s, %s", scene_modes[m], scene_sides[s].name);
      lost = two_names(scene_modes[m], &scene_sides[s], &acknowledged);
      printf("two names, %-6s %-24s %d acknowledged, %d lost, integrity: %.60s\n", scene_modes[m],
             scene_sides[s].name, acknowledged, lost, scene_look("PRAGMA integrity_check(1)"));
      if (!scene_sides[s].guarded && wal) {
        CHECK_TRUE("plain SQLite loses rows", lost > 0);
        continue;
      }
      CHECK_INT("rows lost", lost, 0);
      /* An existing WAL database is refused to whoever has the shim. */
      CHECK_INT("acknowledged", acknowledged, (wal ? scene_sides[s].other == SHIM_NO : 2) * ROWS);
      CHECK_STR("integrity", scene_look("PRAGMA integrity_check"), "ok");
      CHECK_TRUE("no lock is left", !scene_locks_left());
    }
  says_so();
  return check_done();
}
