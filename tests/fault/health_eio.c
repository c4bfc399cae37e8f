/*
 * health_eio.c - each read of the database and of its -wal fails once, with EIO, while a healthy database is
 * checked: the verdict is ok or not_checked(io), never damaged, no event is sent, and the next check is
 * right.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "asked.h"
#include "check.h"
#include "damage.h"
#include "faulty.h"
#include "files.h"

static int damaged, not_checked, fine;

static void count(const char *answer)
{
  damaged += strncmp(answer, "damaged", 7) == 0;
  not_checked += strncmp(answer, "not_checked|io|0|", 17) == 0;
  fine += strncmp(answer, "ok|none|0|", 10) == 0;
}

/* The n-th read fails. False: there were not so many. */
static bool one(peer *p, int file, int n, peer_function *step)
{
  const char *answer;

  faulty_arm(file, FAULTY_READ, SQLITE_IOERR_READ);
  atomic_store(&faulty()->after, n);
  answer = asked_of(p, step);
  if (atomic_load(&faulty()->failed) == 0) {
    faulty_arm(file, FAULTY_READ, 0);
    return false;
  }
  count(answer);
  if (strncmp(answer, "not_checked|io|0|", 17) != 0 && strncmp(answer, "ok|none|0|", 10) != 0)
    CHECK_HAS("verdict", answer, "not_checked|io|0|");
  return true;
}

static void sweep(const char *name, const char *mode, int file, int step_by)
{
  peer *p;
  int n = 0;

  check_scene("%s, reads of the %s fail", mode, file == FAULTY_WAL ? "-wal" : "database");
  p = asked_start(faulty_register);
  if (peer_open(p, 0, name, 0)) check_broken(name);
  CHECK_INT("write",
            peer_sql(p, 0, "PRAGMA wal_autocheckpoint = 0; UPDATE a SET v = v || 'x' WHERE id % 20 = 0"),
            SQLITE_OK);
  while (one(p, file, n, asked_full)) n += step_by;
  CHECK_TRUE("some failed", n > 5);
  n = 0;
  while (one(p, file, n, asked_quick)) n += step_by;
  CHECK_HAS("afterwards", asked_of(p, asked_full), "ok|none|0|");
  CHECK_HAS_NOT("events", peer_ask(p, 0, "PRAGMA holdfast_events"), "\"damaged\"");
  peer_kill(p);
}

int main(void)
{
  seed_start();
  faulty_arm(FAULTY_DB, FAULTY_READ, 0); /* before the first peer, so that all share the plan */
  damage_base("delete.db", "delete", 0);
  damage_base("wal.db", "wal", 0);
  sweep("delete.db", "delete", FAULTY_DB, 3);
  sweep("wal.db", "wal", FAULTY_DB, 7);
  sweep("wal.db", "wal", FAULTY_WAL, 2);
  check_scene("all");
  printf("%d reads failed: %d checks were not_checked, %d did not need it, %d damaged\n",
         not_checked + fine + damaged, not_checked, fine, damaged);
  CHECK_INT("called damaged", damaged, 0);
  CHECK_TRUE("most were not_checked", not_checked > fine);
  return check_done();
}
