/*
 * walframe.c - with the shim each frame of the -wal is one write (vfs/walframe.c), and what the file holds is
 * what it would hold without: after every commit, and after a kill, a copy without its -shm is recovered by
 * plain SQLite, which finds the same rows as the writer.
 *
 * The transactions are random, most of them larger than the cache, so that frames are written again, and some
 * are taken back in part (F28); with powersafe_overwrite=0 commits fill their sector up and the sync cuts a
 * page in two.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "files.h"
#include "scene.h"

/* ---------------------------------------------------------------- inside of the writer */

enum { COMMITS = 50, FRAMES = 2 };

/* Write calls of this process as the kernel counts them; -1 where it does not. */
static long write_calls(void)
{
  char line[100];
  long count = -1;
  FILE *io = fopen("/proc/self/io", "re");

  while (io && fgets(line, sizeof line, io))
    if (sscanf(line, "syscw: %ld", &count) == 1) break;
  if (io) (void)fclose(io);
  return count;
}

static int commit_and_count(sqlite3 **db, char *out, size_t size)
{
  long before = write_calls();
  int rc = SQLITE_OK;
  char sql[80], text[100];

  for (int i = 1; i <= COMMITS && rc == SQLITE_OK; i++) {
    (void)snprintf(sql, sizeof sql, "INSERT INTO u VALUES(%d)", i);
    rc = sql_text(db[0], sql, text, sizeof text);
  }
  (void)snprintf(out, size, "%ld", before < 0 ? before : write_calls() - before);
  return rc;
}

/* Somebody who wants to see every write: then there is one for each that SQLite makes. */
static ssize_t (*next_write)(int, const void *, size_t, off_t);
static ssize_t see_write(int fd, const void *data, size_t size, off_t offset)
{
  return next_write(fd, data, size, offset);
}
static int want_to_see(sqlite3 **db, char *out, size_t size)
{
  sqlite3_vfs *vfs = sqlite3_vfs_find("unix");

  (void)db, (void)out, (void)size;
  next_write = (ssize_t(*)(int, const void *, size_t, off_t))vfs->xGetSystemCall(vfs, "pwrite64");
  return next_write ? vfs->xSetSystemCall(vfs, "pwrite64", (sqlite3_syscall_ptr)see_write) : SQLITE_NOTFOUND;
}

/* ---------------------------------------------------------------- scenes */

static peer *writer(int shim, bool seen, const char *name, const char *settings)
{
  peer *p = peer_start(shim, NULL);

  if (seen && peer_call(p, want_to_see)) check_broken("pwrite64 cannot be replaced");
  if (peer_open(p, 0, name, 0)) check_broken(peer_text(p));
  scene_must(p, settings);
  return p;
}

static void each_frame_is_one_write(void)
{
  static const struct {
    const char *name;
    int shim;
    bool seen;
    long writes;
  } sides[] = {{"plain", SHIM_NO, false, 2L * COMMITS * FRAMES},
               {"shim", SHIM_YES, false, 1L * COMMITS * FRAMES},
               {"shim, and somebody looks", SHIM_YES, true, 2L * COMMITS * FRAMES}};

  for (int i = 0; i < 3; i++) {
    peer *p;

    check_scene("%d commits of %d pages, %s", COMMITS, FRAMES, sides[i].name);
    scene_make("wal", "CREATE TABLE u(a PRIMARY KEY)");
    p = writer(sides[i].shim, sides[i].seen, SCENE_DB, "PRAGMA synchronous=NORMAL; INSERT INTO u VALUES(0)");
    CHECK_INT("commits", peer_call(p, commit_and_count), SQLITE_OK);
    if (strcmp(peer_text(p), "-1") == 0)
      printf("this kernel does not count calls: not compared\n");
    else
      CHECK_INT("writes", strtol(peer_text(p), NULL, 10), sides[i].writes);
    CHECK_STR("rows", scene_look("SELECT count(*) FROM u; PRAGMA integrity_check"), "51\nok");
    CHECK_INT("end", peer_end(p), 0);
  }
}

#define ASK "SELECT count(*), sum(id*n), sum(length(v)), ifnull(max(id),0) FROM t; PRAGMA integrity_check"

static void random_statement(peer *p)
{
  char sql[300];
  unsigned from = seed_below(300), rows = 1 + seed_below(60), bytes = 1 + seed_below(1500);

  switch (seed_below(4)) {
  case 0:
    (void)snprintf(sql, sizeof sql,
                   "WITH RECURSIVE i(x) AS (VALUES(%u) UNION ALL SELECT x+1 FROM i WHERE x<%u) "
                   "REPLACE INTO t(id,who,n,v) SELECT x,1,%u,hex(randomblob(%u)) FROM i",
                   from, from + rows, bytes, bytes / 2);
    break;
  case 1:
    (void)snprintf(sql, sizeof sql, "DELETE FROM t WHERE id BETWEEN %u AND %u", from, from + rows);
    break;
  case 2:
    (void)snprintf(sql, sizeof sql,
                   "SAVEPOINT s; UPDATE t SET v=v||'x' WHERE id>%u; UPDATE t SET n=n+2 WHERE id>%u; "
                   "ROLLBACK TO s; RELEASE s",
                   from, from);
    break;
  default:
    (void)snprintf(sql, sizeof sql, "UPDATE t SET n=n+1, v=substr(v,2)||'%u' WHERE id>%u", bytes, from);
  }
  scene_must(p, sql);
}

/* What plain SQLite recovers from the files as they are now. The writer is between two steps. */
static const char *recovered(void)
{
  static char text[200];
  peer *p = peer_start(SHIM_NO, NULL);

  db_remove("copy.db");
  db_copy(SCENE_DB, "copy.db");
  file_remove("copy.db-shm");
  if (peer_open(p, 0, "copy.db", 0)) check_broken(peer_text(p));
  (void)snprintf(text, sizeof text, "%.190s", peer_ask(p, 0, ASK));
  (void)peer_end(p);
  return text;
}

static void what_is_recovered_is_what_was_committed(int page, const char *name, const char *synchronous)
{
  char settings[200], wanted[200];
  peer *p, *reader;

  check_scene("pages of %d, %s, synchronous=%s", page, name, synchronous);
  scene_make("delete", NULL);
  (void)snprintf(settings, sizeof settings,
                 "PRAGMA page_size=%d; VACUUM; PRAGMA journal_mode=WAL; PRAGMA cache_size=4; "
                 "PRAGMA synchronous=%s; PRAGMA wal_autocheckpoint=200",
                 page, synchronous);
  p = writer(SHIM_YES, false, name, settings);
  reader = scene_peer(SHIM_NO);
  (void)snprintf(wanted, sizeof wanted, "%.190s", peer_ask(p, 0, ASK));
  for (int i = 0; i < scene_rounds(25, 200); i++) {
    bool kept = seed_below(5) != 0;
    scene_must(p, "BEGIN IMMEDIATE");
    for (unsigned n = 1 + seed_below(5); n; n--) random_statement(p);
    scene_must(p, kept ? "COMMIT" : "ROLLBACK");
    if (kept) (void)snprintf(wanted, sizeof wanted, "%.190s", peer_ask(p, 0, ASK));
    CHECK_STR("a reader of another process", peer_ask(reader, 0, ASK), wanted);
    CHECK_STR("recovered", recovered(), wanted);
  }
  scene_must(p, "BEGIN IMMEDIATE");
  for (int n = 0; n < 5; n++) random_statement(p);
  peer_kill(p);
  CHECK_STR("after a kill, recovered", recovered(), wanted);
  CHECK_STR("after a kill", peer_ask(reader, 0, ASK), wanted);
  CHECK_INT("end", peer_end(reader), 0);
}

int main(void)
{
  seed_start();
  each_frame_is_one_write();
  what_is_recovered_is_what_was_committed(1024, SCENE_DB, "NORMAL");
  what_is_recovered_is_what_was_committed(4096, SCENE_DB, "FULL");
  what_is_recovered_is_what_was_committed(512, "file:" SCENE_DB "?psow=0", "FULL");
  what_is_recovered_is_what_was_committed(4096, "file:" SCENE_DB "?psow=0", "FULL");
  what_is_recovered_is_what_was_committed(16384, SCENE_DB, "OFF");
  what_is_recovered_is_what_was_committed(65536, SCENE_DB, "NORMAL");
  return check_done();
}
