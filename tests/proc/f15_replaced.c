/*
 * f15_replaced.c - F15: the database, its -wal or its -shm is replaced, renamed or removed under a live
 * connection.
 *
 * The connection goes on with files that have no name any more: what it commits is acknowledged and then
 * gone, and its checkpoint writes old pages over somebody else's. With the shim the next write is refused
 * with SQLITE_READONLY_DBMOVED, and a connection that is opened afterwards works: nothing stays refused.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "files.h"
#include "scene.h"

enum { ROWS = 20 };

/*
 * What happens to the files.
 */
static void move(const char *from, const char *to)
{
  if (rename(from, to)) check_broken(from);
}
static void new_over_db(void)
{
  move("new.db", SCENE_DB);
}
static void unlink_db(void)
{
  file_remove(SCENE_DB);
}
static void rename_db(void)
{
  move(SCENE_DB, "old.db");
}
static void rename_all(void)
{
  move(SCENE_DB, "old.db");
  move(SCENE_DB "-wal", "old.db-wal");
  move(SCENE_DB "-shm", "old.db-shm");
}
static void unlink_wal(void)
{
  file_remove(SCENE_DB "-wal");
}
static void unlink_shm(void)
{
  file_remove(SCENE_DB "-shm");
}
static void unlink_both(void)
{
  unlink_wal();
  unlink_shm();
}
static void copy_over_wal(void)
{
  char *bytes;
  size_t size;

  bytes = file_read(SCENE_DB "-wal", &size);
  file_write("new.wal", bytes ? bytes : "", bytes ? size : 0);
  free(bytes);
  move("new.wal", SCENE_DB "-wal");
}
static void empty_over_shm(void)
{
  file_write("new.shm", "", 0);
  move("new.shm", SCENE_DB "-shm");
}

static const struct change {
  const char *name, *mode;
  void (*make)(void);
  int in_transaction; /* does it come between BEGIN IMMEDIATE and COMMIT? */
  int plain_code;     /* what a plain holder hears at its write; SQLITE_OK: its commits are acknowledged */
  bool db_stays;      /* the same database is still there under its name */
} changes[] = {
    /* Plain SQLite looks at the name before it creates a -journal, so it is right here, ... */
    {"a new file over the database", "delete", new_over_db, 0, SQLITE_READONLY_DBMOVED, false},
    {"unlink of the database", "delete", unlink_db, 0, SQLITE_READONLY_DBMOVED, false},
    {"rename of the database", "delete", rename_db, 0, SQLITE_READONLY_DBMOVED, false},
    /* ... but not where it creates none (nor does holdfast: SQLite's own tests want it so), ... */
    {"a new file over the database", "memory", new_over_db, 0, SQLITE_OK, false},
    {"rename of the database", "memory", rename_db, 0, SQLITE_OK, false},
    /* ... nor once the journal is there, ... */
    {"a new file over the database", "delete", new_over_db, 1, SQLITE_OK, false},
    {"unlink of the database", "delete", unlink_db, 1, SQLITE_OK, false},
    {"a new file over the database", "persist", new_over_db, 1, SQLITE_OK, false},
    /* ... and never in WAL mode. */
    {"a new file over the database", "wal", new_over_db, 0, SQLITE_OK, false},
    {"unlink of the database", "wal", unlink_db, 0, SQLITE_OK, false},
    {"rename of the database", "wal", rename_db, 0, SQLITE_OK, false},
    {"rename of all three files", "wal", rename_all, 0, SQLITE_OK, false},
    {"unlink of the -wal", "wal", unlink_wal, 0, SQLITE_OK, true},
    {"unlink of the -shm", "wal", unlink_shm, 0, SQLITE_OK, true},
    {"unlink of -wal and -shm", "wal", unlink_both, 0, SQLITE_OK, true},
    {"a copy over the -wal", "wal", copy_over_wal, 0, SQLITE_IOERR_SHORT_READ, true}, /* by luck it notices */
    {"an empty file over the -shm", "wal", empty_over_shm, 0, SQLITE_OK, true},
};
enum { CHANGES = sizeof changes / sizeof changes[0] };

static void make_new(void)
{
  scene_make("delete", "INSERT INTO t(who) VALUES(7)");
  db_remove("new.db");
  move(SCENE_DB, "new.db");
  db_remove("old.db");
}

/* Rows that p gets acknowledged; the code of the last try. */
static int insert_rows(peer *p, int who, int *last)
{
  char sql[100];
  int done = 0;

  (void)snprintf(sql, sizeof sql, "INSERT INTO t(who) VALUES(%d)", who);
  for (int i = 0; i < ROWS; i++) {
    *last = peer_sql(p, 0, sql);
    done += *last == SQLITE_OK;
  }
  return done;
}

static int rows_of(int who)
{
  char sql[100];
  int n = 0;

  if (!file_exists(SCENE_DB)) return 0;
  (void)snprintf(sql, sizeof sql, "SELECT count(*) FROM t NOT INDEXED WHERE who=%d", who);
  (void)sscanf(scene_look(sql), "%d", &n);
  return n;
}

/* The holder writes after the change, beside another process where there still is a database. */
static void write_on(const struct change *c, peer *holder, int other_shim, int *acknowledged, int *others,
                     int *code)
{
  peer *other = NULL;
  int last;

  *acknowledged = *others = 0;
  if (c->in_transaction) {
    *code = peer_sql(holder, 0, "COMMIT");
    *acknowledged = *code == SQLITE_OK ? 1 : 0;
    if (*code) (void)peer_sql(holder, 0, "ROLLBACK");
    return;
  }
  if (file_exists(SCENE_DB)) {
    other = peer_start(other_shim, NULL);
    if (peer_open(other, 0, SCENE_DB, 0)) check_broken(SCENE_DB);
    *others = insert_rows(other, 2, &last); /* none, where the -shm speaks of a -wal that is gone */
  }
  *acknowledged = insert_rows(holder, 1, code);
  if (!other) return;
  *others += insert_rows(other, 2, &last);
  CHECK_INT("end of the other", peer_end(other), 0);
}

static void run(const struct change *c, const scene_side *side)
{
  int acknowledged, others, code = -1, lost;
  char mode[40];
  peer *holder;
  bool bad;

  check_scene("%s, %s%s, %s", c->name, c->mode, c->in_transaction ? ", in a transaction" : "", side->name);
  make_new();
  scene_make(strcmp(c->mode, "wal") == 0 ? "wal" : "delete", "INSERT INTO t(who) VALUES(0)");
  holder = scene_peer(side->holder);
  (void)snprintf(mode, sizeof mode, "PRAGMA journal_mode=%s", c->mode);
  scene_must(holder, mode);
  scene_must(holder, "INSERT INTO t(who) VALUES(0)");
  if (c->make == new_over_db)
    scene_must(holder, "PRAGMA wal_checkpoint(TRUNCATE)"); /* no frames are left behind */
  if (c->in_transaction) scene_must(holder, "BEGIN IMMEDIATE; INSERT INTO t(who) VALUES(1)");
  c->make();
  write_on(c, holder, side->other, &acknowledged, &others, &code);
  lost = acknowledged - rows_of(1);
  if (c->make == new_over_db) lost += 1 - rows_of(7); /* old pages cover the new file's */
  bad = lost > 0 || (others > 0 && rows_of(2) != others);
  printf("%-30s %-6s %s %-24s %2d acknowledged, %2d lost, code %d\n", c->name, c->mode,
         c->in_transaction ? "mid" : "   ", side->name, acknowledged, lost, code);
  if (!side->guarded) {
    CHECK_INT("what the plain holder hears", code, c->plain_code);
    CHECK_INT("rows are lost", bad, c->plain_code == SQLITE_OK);
    peer_kill(holder); /* what its close does now is not defined */
    return;
  }
  if (strcmp(c->mode, "memory") == 0) { /* who switches the journal off has this, too */
    CHECK_INT("as with plain SQLite", bad, true);
    CHECK_INT("end of the holder", peer_end(holder), 0);
    return;
  }
  CHECK_INT("acknowledged by the holder", acknowledged, 0);
  if (code != c->plain_code || c->plain_code == SQLITE_OK)
    CHECK_INT("the holder hears", code, SQLITE_READONLY_DBMOVED);
  CHECK_TRUE("nothing is lost", !bad);
  CHECK_INT("close of the refused one", peer_close(holder, 0), SQLITE_OK);
  CHECK_INT("rows of the other after it", rows_of(2), others);
  if (c->db_stays || file_exists(SCENE_DB)) {
    CHECK_INT("open again", peer_open(holder, 0, SCENE_DB, 0), SQLITE_OK);
    CHECK_INT("writes", insert_rows(holder, 3, &code), ROWS);
    CHECK_INT("rows are there", rows_of(3), ROWS);
    CHECK_STR("integrity", scene_look("PRAGMA integrity_check"), "ok");
  }
  /* The first row is in the database, the second may have been in a -wal that somebody removed. */
  if (c->db_stays) CHECK_TRUE("rows of before", rows_of(0) >= 1);
  CHECK_INT("end of the holder", peer_end(holder), 0);
  CHECK_TRUE("no lock is left", !scene_locks_left());
}

/* Moved away and back. In WAL mode the handle that was refused stays so, in rollback mode each lock looks
 * again; a new handle in the same process always works. */
static void away_and_back(const char *mode)
{
  bool wal = strcmp(mode, "wal") == 0;
  peer *p;

  check_scene("away and back, %s", mode);
  scene_make(mode, "INSERT INTO t(who) VALUES(0)");
  p = scene_peer(SHIM_YES);
  rename_db();
  CHECK_INT("refused", peer_sql(p, 0, "INSERT INTO t(who) VALUES(1)"), SQLITE_READONLY_DBMOVED);
  move("old.db", SCENE_DB);
  CHECK_INT("a new connection opens", peer_open(p, 1, SCENE_DB, 0), SQLITE_OK);
  CHECK_STR("and writes", peer_ask(p, 1, "INSERT INTO t(who) VALUES(3)"), "");
  CHECK_INT("the refused one", peer_sql(p, 0, "INSERT INTO t(who) VALUES(1)"),
            wal ? SQLITE_READONLY_DBMOVED : SQLITE_OK);
  CHECK_INT("close of the refused one", peer_close(p, 0), SQLITE_OK);
  CHECK_STR("the new one still writes", peer_ask(p, 1, "INSERT INTO t(who) VALUES(3)"), "");
  CHECK_HAS("it was reported", peer_ask(p, 1, "PRAGMA holdfast_events"),
            wal ? "\"latched\"" : "\"unlinked\"");
  CHECK_INT("end", peer_end(p), 0);
  CHECK_STR("after all", scene_look("SELECT who, count(*) FROM t GROUP BY 1; PRAGMA integrity_check"),
            wal ? "0|1\n3|2\nok" : "0|1\n1|1\n3|2\nok");
}

/* Nobody else comes, and the holder only closes: what it had committed before must not go with the -wal. */
static void only_close(const struct change *c, int shim)
{
  peer *p;
  const char *path;

  check_scene("%s, %s, then only a close, %s", c->name, c->mode, shim ? "holdfast" : "plain");
  db_remove("old.db");
  scene_make("wal", "INSERT INTO t(who) VALUES(0)");
  p = scene_peer(shim);
  scene_must(p, "INSERT INTO t(who) VALUES(0)");
  c->make();
  CHECK_INT("close", peer_close(p, 0), SQLITE_OK);
  CHECK_INT("end", peer_end(p), 0);
  path = file_exists(SCENE_DB) ? SCENE_DB : "old.db";
  if (strcmp(path, SCENE_DB) != 0) move(path, SCENE_DB);
  if (file_exists("old.db-wal")) move("old.db-wal", SCENE_DB "-wal");
  file_remove(SCENE_DB "-shm");
  CHECK_INT("rows of before", rows_of(0), 2);
}

/* Step: under RESERVED the database is moved away; what SQLite's own question, asked before it creates a
 * journal, is answered a millisecond later. */
static int ask_has_moved(sqlite3 **db, char *out, size_t size)
{
  struct timespec began, now;
  int before = -1, after = -1;

  if (sqlite3_exec(db[0], "BEGIN IMMEDIATE", NULL, NULL, NULL)) return 1;
  (void)sqlite3_file_control(db[0], "main", SQLITE_FCNTL_HAS_MOVED, &before);
  rename_db();
  clock_gettime(CLOCK_MONOTONIC, &began);
  do clock_gettime(CLOCK_MONOTONIC, &now);
  while ((now.tv_sec - began.tv_sec) * 1000000000 + now.tv_nsec - began.tv_nsec < 1000000);
  (void)sqlite3_file_control(db[0], "main", SQLITE_FCNTL_HAS_MOVED, &after);
  (void)snprintf(out, size, "%d then %d", before, after);
  return sqlite3_exec(db[0], "ROLLBACK", NULL, NULL, NULL);
}

/* The look at RESERVED saves SQLite a look of its own (guard.c): only for a moment, and never the last one.
 */
static void moved_before_the_journal(const scene_side *side)
{
  int code;
  peer *p;

  check_scene("moved between BEGIN IMMEDIATE and the first write, %s", side->name);
  make_new();
  scene_make("delete", "INSERT INTO t(who) VALUES(0)");
  p = scene_peer(side->holder);
  scene_must(p, "BEGIN IMMEDIATE");
  new_over_db();
  code = peer_sql(p, 0, "INSERT INTO t(who) VALUES(1)");
  if (code == SQLITE_OK) code = peer_sql(p, 0, "COMMIT");
  CHECK_INT("refused", code, SQLITE_READONLY_DBMOVED);
  CHECK_INT("close", peer_close(p, 0), SQLITE_OK);
  CHECK_TRUE("no journal is left beside the new file", !file_exists(SCENE_DB "-journal"));
  CHECK_INT("the new file's row", rows_of(7), 1);
  CHECK_INT("end", peer_end(p), 0);
  scene_make("delete", NULL);
  p = scene_peer(side->holder);
  CHECK_INT("step", peer_call(p, ask_has_moved), SQLITE_OK);
  CHECK_STR("SQLite's own question", peer_text(p), "0 then 1");
  CHECK_INT("end", peer_end(p), 0);
}

int main(void)
{
  for (int i = 0; i < CHANGES; i++)
    if (strcmp(changes[i].mode, "wal") == 0 && changes[i].make != new_over_db &&
        changes[i].make != unlink_db) {
      only_close(&changes[i], SHIM_NO);
      only_close(&changes[i], SHIM_YES);
    }
  for (int i = 0; i < CHANGES; i++)
    for (int s = 0; s < SCENE_SIDES; s++) run(&changes[i], &scene_sides[s]);
  for (int s = 0; s < 2; s++) moved_before_the_journal(&scene_sides[s]);
  for (int m = 0; m < SCENE_MODES; m++) away_and_back(scene_modes[m]);
  return check_done();
}
