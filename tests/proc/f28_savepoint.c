/*
 * f28_savepoint.c - F28: a transaction that has outgrown the cache is taken back in part, by ROLLBACK TO or
 * by a statement that fails, goes on and commits. SQLite before 3.50.2 may write frames without a checksum
 * then: the commit is acknowledged, everybody sees it, and when the programs are killed the next one recovers
 * a database without it, without all later commits, or a malformed one.
 *
 * Each way: with plain SQLite something is lost; with holdfast in the writer nothing is, whoever recovers.
 */
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "holdfast.h"
#include "scene.h"

#define FILL                                                                                                 \
  "WITH RECURSIVE i(x) AS (VALUES(1) UNION ALL SELECT x+1 FROM i WHERE x<300) INSERT INTO t SELECT "         \
  "x,0,x,hex(zeroblob(400)) FROM i"
#define BEGIN_AND_SPILL "BEGIN IMMEDIATE; UPDATE t SET v=v||'a' WHERE id<60"
#define TWICE           "UPDATE t SET v=v||'b' WHERE id>100; UPDATE t SET v=v||'c' WHERE id>100"
/* Rows that come in no order: their pages leave the cache and are changed again. The last one is there
 * already. */
#define FAILS                                                                                                \
  "WITH RECURSIVE i(x) AS (VALUES(1) UNION ALL SELECT x+1 FROM i WHERE x<300) INSERT INTO t SELECT "         \
  "CASE x WHEN 300 THEN 5 ELSE 1000+(x*37)%300 END,0,x,hex(zeroblob(400)) FROM i"
#define ASK "SELECT count(*), sum(id*length(v)), sum(n) FROM t; PRAGMA integrity_check"

static const struct {
  const char *name, *steps[8];
  int code; /* of a step that is to fail */
} ways[] = {
    {"rolled back to a savepoint",
     {BEGIN_AND_SPILL, "SAVEPOINT s; " TWICE "; ROLLBACK TO s", "UPDATE t SET v=v||'d' WHERE id>200",
      "COMMIT"},
     0},
    {"the same, and nothing is spilled after that",
     {BEGIN_AND_SPILL, "SAVEPOINT s; " TWICE "; ROLLBACK TO s", "UPDATE t SET v=v||'d' WHERE id=150",
      "COMMIT", "UPDATE t SET n=n+1 WHERE id=2"},
     0},
    {"the same, released, and a checkpoint follows",
     {"UPDATE t SET v=v||'e'", BEGIN_AND_SPILL, "SAVEPOINT s; " TWICE "; ROLLBACK TO s; RELEASE s",
      "UPDATE t SET v=v||'d' WHERE id>150", "COMMIT", "PRAGMA wal_checkpoint(PASSIVE)"},
     0},
    {"an import that fails at its last row",
     {BEGIN_AND_SPILL, FAILS, "UPDATE t SET v=v||'d' WHERE id>200", "COMMIT"},
     SQLITE_CONSTRAINT},
};
enum { WAYS = sizeof ways / sizeof *ways };

static bool has_the_bug(void)
{
  holdfast_bug bug = {.struct_size = sizeof bug};

  for (int i = 0; holdfast_known_bug(sqlite3_libversion_number(), i, &bug) == SQLITE_OK; i++)
    if (strcmp(bug.id, "wal-savepoint") == 0) return true;
  return false;
}

static void one_way(int way, const scene_side *side)
{
  peer *writer, *next;
  char acknowledged[300], found[300];
  int failed = 0;

  check_scene("%s, %s", ways[way].name, side->name);
  scene_make("wal", FILL);
  writer = scene_peer(side->holder);
  scene_must(writer, "PRAGMA cache_size=5; PRAGMA wal_autocheckpoint=0");
  for (int i = 0; i < 8 && ways[way].steps[i]; i++) {
    int rc = peer_sql(writer, 0, ways[way].steps[i]);
    if (rc & 0xff) CHECK_INT(peer_text(writer), rc & 0xff, ways[way].code);
    failed += rc != SQLITE_OK;
  }
  CHECK_INT("steps that fail", failed, ways[way].code != 0);
  (void)snprintf(acknowledged, sizeof acknowledged, "%.290s", peer_ask(writer, 0, ASK));
  CHECK_HAS("the writer sees it", acknowledged, "\nok");
  if (side->guarded && has_the_bug())
    CHECK_HAS("said", peer_ask(writer, 0, "SELECT kind, detail FROM holdfast_events"), "without a checksum");
  peer_kill(writer);

  next = peer_start(side->other, NULL);
  if (peer_open(next, 0, SCENE_DB, 0)) check_broken(peer_text(next));
  (void)snprintf(found, sizeof found, "%.290s", peer_ask(next, 0, ASK));
  (void)peer_end(next); /* what it found is what counts */
  if (side->guarded || !has_the_bug())
    CHECK_STR("after a kill", found, acknowledged);
  else
    CHECK_TRUE("after a kill plain SQLite has lost it", strcmp(found, acknowledged) != 0);
  if (side == scene_sides)
    printf("%s, plain: %.60s\n", ways[way].name, strcmp(found, acknowledged) ? found : "kept");
}

int main(void)
{
  printf("SQLite %s\n", sqlite3_libversion());
  for (int way = 0; way < WAYS; way++)
    for (int side = 0; side < SCENE_SIDES; side++) one_way(way, &scene_sides[side]);
  return check_done();
}
