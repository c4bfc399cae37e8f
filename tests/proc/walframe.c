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
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "files.h"
#include "scene.h"

enum { FRAME_HEAD = 24 };

/* ---------------------------------------------------------------- inside of the writer: its calls are
 * counted */

typedef ssize_t write_function(int, const void *, size_t, off_t);
static write_function *next[2];
static long heads, all;

static ssize_t count(write_function *then, int fd, const void *data, size_t size, off_t offset)
{
  all++;
  heads += size == FRAME_HEAD;
  return then(fd, data, size, offset);
}
static ssize_t count_pwrite(int fd, const void *data, size_t size, off_t offset)
{
  return count(next[0], fd, data, size, offset);
}
static ssize_t count_pwrite64(int fd, const void *data, size_t size, off_t offset)
{
  return count(next[1], fd, data, size, offset);
}

static int begin_to_count(sqlite3 **db, char *out, size_t size)
{
  static write_function *const mine[] = {count_pwrite, count_pwrite64};
  static const char *const names[] = {"pwrite", "pwrite64"};
  sqlite3_vfs *vfs = sqlite3_vfs_find("unix");

  (void)db, (void)out, (void)size;
  for (int i = 0; i < 2; i++) {
    next[i] = (write_function *)vfs->xGetSystemCall(vfs, names[i]);
    if (next[i] && vfs->xSetSystemCall(vfs, names[i], (sqlite3_syscall_ptr)mine[i])) return SQLITE_ERROR;
  }
  return SQLITE_OK;
}

static int counted(sqlite3 **db, char *out, size_t size)
{
  (void)db;
  (void)snprintf(out, size, "%ld %ld", all, heads);
  all = heads = 0;
  return SQLITE_OK;
}

/* ---------------------------------------------------------------- scenes */

static peer *writer(int shim, const char *name, const char *settings)
{
  peer *p = peer_start(shim, NULL);

  if (peer_call(p, begin_to_count)) check_broken("the calls cannot be counted");
  if (peer_open(p, 0, name, 0)) check_broken(peer_text(p));
  scene_must(p, settings);
  return p;
}

static void each_frame_is_one_write(void)
{
  enum { COMMITS = 50, FRAMES = 2 };

  for (int shim = SHIM_NO; shim <= SHIM_YES; shim++) {
    long writes = -1, alone = -1;
    peer *p;

    check_scene("%d commits of %d pages, %s", COMMITS, FRAMES, shim ? "shim" : "plain");
    scene_make("wal", "CREATE TABLE u(a PRIMARY KEY)");
    p = writer(shim, SCENE_DB, "PRAGMA synchronous=NORMAL; INSERT INTO u VALUES(0)");
    (void)peer_call(p, counted);
    for (int i = 1; i <= COMMITS; i++) {
      char sql[80];
      (void)snprintf(sql, sizeof sql, "INSERT INTO u VALUES(%d)", i);
      scene_must(p, sql);
    }
    (void)peer_call(p, counted);
    (void)sscanf(peer_text(p), "%ld %ld", &writes, &alone);
    CHECK_INT("writes", writes, shim ? COMMITS * FRAMES : 2 * COMMITS * FRAMES);
    CHECK_INT("heads alone", alone, shim ? 0 : COMMITS * FRAMES);
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
  p = writer(SHIM_YES, name, settings);
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
