/*
 * f01_not_owned.c - F1 where holdfast cannot own the lock: on FUSE, and where a sandbox has no OFD locks.
 *
 * The stray close drops the lock there, with holdfast as without. The process outside walks in and commits;
 * then the one that believes to be the writer commits. Plain SQLite writes over what was committed outside.
 * holdfast looks before the first write of a transaction, finds the lock gone, and writes nothing.
 */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "files.h"
#include "sandbox.h"
#include "scene.h"

#define FILLED                                                                                               \
  "WITH RECURSIVE i(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM i WHERE x<400) "                               \
  "INSERT INTO t(who,v) SELECT 0, printf('%0900d', x) FROM i"

/* When the lock goes, what the one outside does then, and how the one that believes to hold it goes on. */
typedef struct course {
  const char *journal;
  bool before;     /* the lock goes before the first change, else after it */
  bool more;       /* there are changes after it */
  bool open;       /* the one outside is in mid-transaction when the holder goes on, else it has committed */
  const char *end; /* COMMIT or ROLLBACK */
} course;

static peer *holder_in(int shim, void (*before)(void), const char *journal)
{
  peer *p = before ? peer_start_in(shim, NULL, before) : peer_start(shim, NULL);
  char sql[200];

  if (peer_open(p, 0, SCENE_DB, 0)) check_broken(SCENE_DB);
  (void)snprintf(sql, sizeof sql, "PRAGMA journal_mode=%s; PRAGMA synchronous=OFF; SELECT count(*) FROM t",
                 journal);
  scene_must(p, sql);
  return p;
}

/* A handle that has lost its lock is not used for writing again; a new one of the same process is. */
static void afterwards(peer *p, bool told, const course *c)
{
  char sql[100];

  if (told) {
    CHECK_HAS("it is reported", peer_ask(p, 0, "PRAGMA holdfast_events"), "\"lock-lost\"");
    CHECK_INT("it writes no more", peer_sql(p, 0, "INSERT INTO t(who) VALUES(1)"), SQLITE_IOERR_LOCK);
  }
  CHECK_INT("it still reads", peer_sql(p, 0, "SELECT count(*) FROM t"), SQLITE_OK);
  CHECK_INT("close", peer_close(p, 0), SQLITE_OK);
  CHECK_INT("open again", peer_open(p, 0, SCENE_DB, 0), SQLITE_OK);
  (void)snprintf(sql, sizeof sql, "PRAGMA journal_mode=%s; INSERT INTO t(who) VALUES(3)", c->journal);
  CHECK_STR("this one writes", peer_ask(p, 0, sql), c->journal);
}

#define ADD "INSERT INTO t(who) VALUES(1)"

/* The holder's part after the lock is gone. Returns true when it heard of it. */
static bool goes_on(peer *p, const course *c, bool shim)
{
  int rc = c->before ? peer_sql(p, 0, ADD) : SQLITE_OK;
  int end;

  if (c->more) rc = peer_sql(p, 0, "UPDATE t SET v=hex(id) WHERE id%40=0");
  end = peer_sql(p, 0, c->end);

  if (shim && strcmp(c->end, "COMMIT") == 0)
    CHECK_TRUE("a commit is refused, or its lock is the other one's", end != SQLITE_OK);
  if (end && strcmp(c->end, "COMMIT") == 0) (void)peer_sql(p, 0, "ROLLBACK"); /* SQLite may have done it */
  return rc == SQLITE_IOERR_LOCK || end == SQLITE_IOERR_LOCK;
}

/* How many commits of the process outside are gone or damaged in the end. */
static int lost(int shim, void (*before)(void), int rounds, const course *c)
{
  peer *p, *outside;
  unsigned long long print;
  char want[60];
  int left = 0;
  bool told;

  scene_make(c->journal, FILLED);
  p = holder_in(shim, before, c->journal);
  outside = holder_in(SHIM_NO, NULL, c->journal);
  for (int i = 0; i < rounds; i++) {
    scene_must(p, c->before ? "BEGIN IMMEDIATE" : "BEGIN IMMEDIATE; " ADD);
    CHECK_TRUE("before the stray close nobody gets in", !scene_gets_in(outside));
    CHECK_INT("the stray close", peer_call(p, stray_db), SQLITE_OK);
    CHECK_STR("outside", peer_ask(outside, 0, "BEGIN IMMEDIATE; INSERT INTO t(who) VALUES(2)"), "");
    if (!c->open) CHECK_STR("outside commits", peer_ask(outside, 0, "COMMIT"), "");
    print = db_print(SCENE_DB);
    told = goes_on(p, c, shim);
    if (shim) {
      CHECK_TRUE("no byte of database or journal is changed", db_print(SCENE_DB) == print);
    }
    if (c->open && peer_sql(outside, 0, "COMMIT"))
      (void)peer_sql(outside, 0, "ROLLBACK"); /* counted as lost */
    if (shim) afterwards(p, told, c);
  }
  CHECK_INT("end", peer_end(p), 0);
  CHECK_INT("end of the one outside", peer_end(outside), 0);
  (void)sscanf(scene_look("SELECT count(*) FROM t NOT INDEXED WHERE who=2"), "%d", &left);
  if (shim) {
    (void)snprintf(want, sizeof want, "0|%d|%d\nok", rounds, rounds);
    CHECK_STR("rows", scene_look("SELECT sum(who=1), sum(who=2), sum(who=3) FROM t; PRAGMA integrity_check"),
              want);
    CHECK_TRUE("no lock is left", !scene_locks_left());
  }
  return rounds - left;
}

static void compare(const char *place, void (*before)(void))
{
  static const char *const journals[] = {"delete", "truncate", "persist"};
  int rounds = scene_rounds(2, 5), all = 0, plain = 0, shimmed = 0;
  char name[200];

  for (int i = 0; i < 48; i++) {
    course c = {journals[i % 3], i / 3 % 2, i / 6 % 2, i / 12 % 2, i / 24 ? "ROLLBACK" : "COMMIT"};
    (void)snprintf(name, sizeof name, "%s, %s, lock lost %s the first change, %s, the other %s, %s", place,
                   c.journal, c.before ? "before" : "after", c.more ? "more changes" : "no more",
                   c.open ? "in mid-transaction" : "has committed", c.end);

    check_scene("%s; plain", name);
    plain += lost(SHIM_NO, before, rounds, &c);
    check_scene("%s; holdfast", name);
    shimmed += lost(SHIM_YES, before, rounds, &c);
    all += rounds;
  }
  check_scene("%s", place);
  CHECK_TRUE("the control loses commits", plain >= all / 8);
  CHECK_INT("commits lost", shimmed, 0);
  printf("%-24s plain %d of %d lost, holdfast %d\n", place, plain, all, shimmed);
}

/* In WAL mode the close of the -shm is what does it. A log that two write is overwritten, or ends malformed.
 */
static int lost_wal(int shim, void (*before)(void), int rounds, bool more)
{
  peer *p, *outside;
  int left = 0;

  scene_make("wal", FILLED);
  outside = holder_in(SHIM_NO, NULL, "wal"); /* keeps the -wal through our closing and opening */
  p = holder_in(shim, before, "wal");
  scene_must(p, "INSERT INTO t(who) VALUES(0)"); /* the reader of an empty log notices by itself */
  for (int i = 0; i < rounds; i++) {
    scene_must(p, "BEGIN IMMEDIATE; " ADD);
    CHECK_INT("the stray close", peer_call(p, stray_shm), SQLITE_OK);
    CHECK_STR("outside", peer_ask(outside, 0, "INSERT INTO t(who) VALUES(2)"), "");
    if (more)
      (void)peer_sql(p, 0, "PRAGMA cache_size=4; UPDATE t SET v='x'||v WHERE who=0"); /* the commit counts */
    if (peer_sql(p, 0, "COMMIT")) (void)peer_sql(p, 0, "ROLLBACK"); /* SQLite may have done it */
    if (!shim) continue;
    CHECK_HAS("it is reported", peer_ask(p, 0, "PRAGMA holdfast_events"), "\"lock-lost\"");
    CHECK_INT("it writes no more", peer_sql(p, 0, "INSERT INTO t(who) VALUES(1)"), SQLITE_IOERR_LOCK);
    CHECK_INT("it still reads", peer_sql(p, 0, "SELECT count(*) FROM t"), SQLITE_OK);
    CHECK_INT("close", peer_close(p, 0), SQLITE_OK);
    CHECK_INT("open again", peer_open(p, 0, SCENE_DB, 0), SQLITE_OK);
    CHECK_STR("this one writes", peer_ask(p, 0, "INSERT INTO t(who) VALUES(3)"), "");
  }
  CHECK_INT("end", peer_end(p), 0);
  CHECK_INT("end of the one outside", peer_end(outside), 0);
  (void)sscanf(scene_look("SELECT count(*) FROM t NOT INDEXED WHERE who=2"), "%d", &left);
  if (shim) {
    CHECK_STR("who", scene_look("SELECT sum(who=1), count(*)-sum(who=0) FROM t; PRAGMA integrity_check"),
              rounds == 2 ? "0|4\nok" : "0|40\nok");
    CHECK_TRUE("no lock is left", !scene_locks_left());
  }
  return rounds - left;
}

static void compare_wal(const char *place, void (*before)(void))
{
  int rounds = scene_rounds(2, 20), plain = 0, shimmed = 0;

  for (int more = 0; more < 2; more++) {
    check_scene("%s, WAL, %s; plain", place, more ? "more changes" : "no more");
    plain += lost_wal(SHIM_NO, before, rounds, more);
    check_scene("%s, WAL, %s; holdfast", place, more ? "more changes" : "no more");
    shimmed += lost_wal(SHIM_YES, before, rounds, more);
  }
  check_scene("%s, WAL", place);
  CHECK_TRUE("the control loses commits", plain > 0);
  CHECK_INT("commits lost", shimmed, 0);
  printf("%-24s plain %d of %d lost, holdfast %d; WAL\n", place, plain, 2 * rounds, shimmed);
}

/* Without a stray close nothing is refused: a look that cried wolf would be worse than none. */
static void no_false_alarm(const char *place, void (*before)(void), const char *journal)
{
  peer *p;

  check_scene("%s, %s, nobody closes anything", place, journal);
  scene_make(journal, NULL);
  p = holder_in(SHIM_YES, before, journal);
  CHECK_HAS("the lock is looked at", peer_ask(p, 0, "PRAGMA holdfast_status"), "\"verified\"");
  for (int i = 0; i < 50; i++)
    CHECK_STR("insert", peer_ask(p, 0, "BEGIN; INSERT INTO t(who) VALUES(1); COMMIT"), "");
  CHECK_STR("spilled",
            peer_ask(p, 0, "PRAGMA cache_size=4; BEGIN; UPDATE t SET v=randomblob(3000); ROLLBACK"), "");
  CHECK_STR("rows", peer_ask(p, 0, "SELECT count(*), count(v) FROM t"), "50|0");
  if (strcmp(journal, "wal") == 0)
    CHECK_HAS("a checkpoint", peer_ask(p, 0, "PRAGMA wal_checkpoint(TRUNCATE)"), "0|0|0");
  CHECK_HAS_NOT("no event", peer_ask(p, 0, "PRAGMA holdfast_events"), "lock-lost");
  CHECK_INT("end", peer_end(p), 0);
}

static int bindfs(void)
{
  int status = 0;
  pid_t child;

  if (mkdir("below", 0700) || mkdir("fuse", 0700)) check_broken("mkdir");
  child = fork();
  if (child == 0) {
    execlp("bindfs", "bindfs", "below", "fuse", (char *)NULL);
    _exit(127);
  }
  return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void on_fuse(void)
{
  char home[4096];

  if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL)) {
    printf("not tried: FUSE (needs the right to make mounts)\n");
    return;
  }
  if (access("/dev/fuse", R_OK | W_OK) || bindfs()) {
    printf("not tried: FUSE (bindfs is not installed, or no /dev/fuse)\n");
    return;
  }
  if (!getcwd(home, sizeof home) || chdir("fuse")) check_broken("chdir");
  compare("FUSE (bindfs)", NULL);
  no_false_alarm("FUSE (bindfs)", NULL, "delete");
  if (setenv("HOLDFAST_ASSUME", "local", 1)) check_broken("setenv"); /* else WAL is not allowed there */
  compare_wal("FUSE (bindfs)", NULL);
  no_false_alarm("FUSE (bindfs)", NULL, "wal");
  if (chdir(home) || umount2("fuse", MNT_DETACH)) check_broken("umount"); /* which also ends the server */
}

int main(void)
{
  compare("no OFD locks", sandbox_without_ofd);
  compare_wal("no OFD locks", sandbox_without_ofd);
  no_false_alarm("no OFD locks", sandbox_without_ofd, "delete");
  no_false_alarm("no OFD locks", sandbox_without_ofd, "wal");
  on_fuse();
  return check_done();
}
