/*
 * turns.c - a writer that waits for another one asks one question a try: it takes SHARED once, and not at
 * each of its looks. Whoever reads meanwhile is let in at once, through the same connection, too, and also a
 * statement that writes another database and only reads this one.
 */
#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "scene.h"

#define COUNT(lock, column)                                                                                  \
  "SELECT ifnull(sum(" column "), 0) FROM holdfast_lock_stats WHERE lock='" lock                             \
  "' AND path LIKE '%" SCENE_DB "'"

static long number(peer *who, const char *sql)
{
  return atol(peer_ask(who, 1, sql));
}

static void waits(void)
{
  peer *holder, *waiter;
  long shared, looks;

  check_scene("a writer waits, delete");
  scene_make("delete", "INSERT INTO t(who) VALUES(0)");
  holder = scene_peer(SHIM_NO);
  waiter = scene_peer(SHIM_YES);
  CHECK_INT("a connection that can always ask", peer_open(waiter, 1, ":memory:", 0), SQLITE_OK);
  scene_must(waiter, "PRAGMA busy_timeout=300; ATTACH 'mine.db' AS mine; CREATE TABLE mine.t(n)");
  scene_must(holder, "BEGIN IMMEDIATE");
  shared = number(waiter, COUNT("SHARED", "attempts"));
  CHECK_INT("a write", peer_sql(waiter, 0, "INSERT INTO main.t(who) VALUES(1)") & 0xff, SQLITE_BUSY);
  looks = number(waiter, COUNT("RESERVED", "busy"));
  printf("%ld looks, SHARED taken %ld times\n", looks, number(waiter, COUNT("SHARED", "attempts")) - shared);
  CHECK_TRUE("it looked several times", looks > 3);
  CHECK_TRUE("SHARED was not taken for each", number(waiter, COUNT("SHARED", "attempts")) - shared <= 2);
  scene_must(waiter, "PRAGMA busy_timeout=0");
  CHECK_STR("a read by the same connection", peer_ask(waiter, 0, "SELECT count(*) FROM main.t"), "1");
  CHECK_INT("a write again", peer_sql(waiter, 0, "INSERT INTO main.t(who) VALUES(1)") & 0xff, SQLITE_BUSY);
  CHECK_INT("a write of another database that reads this one",
            peer_sql(waiter, 0, "INSERT INTO mine.t SELECT count(*) FROM main.t"), SQLITE_OK);
  scene_must(waiter, "PRAGMA busy_timeout=20000");
  scene_must(holder, "COMMIT");
  CHECK_INT("the lock is free", peer_sql(waiter, 0, "INSERT INTO main.t(who) VALUES(1)"), SQLITE_OK);
  CHECK_INT("the holder's end", peer_end(holder), 0);
  CHECK_INT("the waiter's end", peer_end(waiter), 0);
}

int main(void)
{
  waits();
  return check_done();
}
