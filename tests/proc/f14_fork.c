/*
 * f14_fork.c - F14: fork() while a database is open, and both sides go on with it.
 *
 * The child of plain SQLite believes that it holds its parent's locks. It rolls the parent's transaction
 * back, deletes its journal, commits into it. With the shim a child may go on with a connection only where
 * that is right (no lock held, no WAL mode): daemons do so. Otherwise it is refused, and whatever it does,
 * up to its close and its exit, changes nothing for the parent.
 *
 * The child is made inside the peer by fork(), by _Fork() and by a bare clone(), which run no handlers.
 */
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "files.h"
#include "scene.h"

#ifndef SQLITE_FCNTL_NULL_IO /* since 3.48 */
#define SQLITE_FCNTL_NULL_IO 43
#endif

#define FILLED                                                                                               \
  "WITH RECURSIVE i(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM i WHERE x<400) "                               \
  "INSERT INTO t(who,v) SELECT 0, printf('%0900d', x) FROM i"
#define WRITES "BEGIN IMMEDIATE; INSERT INTO t(who) VALUES(1)"
#define SPILLS                                                                                               \
  "PRAGMA cache_size=4; BEGIN IMMEDIATE; UPDATE t SET v='1' || substr(v, 2); INSERT INTO t(who) VALUES(1)"
#define READS "BEGIN; SELECT count(*) FROM t"

static const struct state {
  const char *name, *mode, *take;
  bool writes, adopts;
  const char *plain_bad; /* numbers of the acts of the child after which a plain parent has lost something */
} states[] = {
    {"nothing", "delete", NULL, false, true, ""},
    {"nothing", "wal", NULL, false, false, ""},
    {"SHARED", "delete", READS, false, false, ""},
    {"a read", "wal", READS, false, false, ""},
    {"RESERVED", "delete", WRITES, true, false, "126"},
    {"RESERVED", "truncate", WRITES, true, false, ""},
    {"RESERVED", "persist", WRITES, true, false, ""},
    {"EXCLUSIVE", "delete", SPILLS, true, false, "12346"},
    {"EXCLUSIVE", "truncate", SPILLS, true, false, "126"},
    {"EXCLUSIVE", "persist", SPILLS, true, false, "126"},
    {"a write", "wal", WRITES, true, false, "34"},
    {"a spilled write", "wal", SPILLS, true, false, "3"},
};
enum { STATES = sizeof states / sizeof states[0] };

enum { WAY_FORK, WAY__FORK, WAY_CLONE, WAYS };
static const char *const way_names[WAYS] = {"fork", "_Fork", "clone"};

enum { ACT_EXIT, ACT_CLOSE, ACT_ROLLBACK, ACT_WRITE, ACT_COMMIT, ACT_FRESH, ACT_NULL_IO, ACTS };
static const char *const act_names[ACTS] = {
    "exits",   "closes",        "rolls back and exits", "writes and commits",
    "commits", "opens it anew", "NULL_IO and closes"};

/* What the child has to do, and what came of it: in memory that all processes share. */
static struct plan {
  int way, act;
  int rc, reads, status;
  pid_t pid;
  char said[200];
} * plan;

static pid_t make_child(int way)
{
  switch (way) {
#ifdef SYS_clone
  case WAY_CLONE: return (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
#endif
#if defined(__GLIBC__) && (__GLIBC__ > 2 || __GLIBC_MINOR__ >= 34)
  case WAY__FORK: return _Fork();
#endif
  default: return fork();
  }
}

static int opens_anew(char *said, size_t size)
{
  sqlite3 *own = NULL;
  int rc = sqlite3_open_v2(SCENE_DB, &own, SQLITE_OPEN_READWRITE, NULL);

  if (rc == SQLITE_OK) rc = sql_text(own, "SELECT count(*) FROM t", said, size);
  if (rc == SQLITE_OK) rc = sql_text(own, "INSERT INTO t(who) VALUES(3)", said, size);
  (void)sqlite3_close(own); /* nothing is open on it */
  return rc;
}

static void act(sqlite3 **db)
{
  char *said = plan->said, out[200];
  size_t size = sizeof plan->said;

  switch (plan->act) {
  case ACT_CLOSE: plan->rc = sqlite3_close(db[0]); break;
  case ACT_ROLLBACK: plan->rc = sql_text(db[0], "ROLLBACK", said, size); break;
  case ACT_WRITE:
    plan->reads = sql_text(db[0], "SELECT count(*) FROM t", out, sizeof out);
    plan->rc = sql_text(db[0], "INSERT INTO t(who) VALUES(2)", said, size);
    if (plan->rc == SQLITE_OK && !sqlite3_get_autocommit(db[0]))
      plan->rc = sql_text(db[0], "COMMIT", said, size);
    break;
  case ACT_COMMIT: plan->rc = sql_text(db[0], "COMMIT", said, size); break;
  case ACT_FRESH: plan->rc = opens_anew(said, size); break;
  case ACT_NULL_IO:
    plan->rc = sqlite3_file_control(db[0], "main", SQLITE_FCNTL_NULL_IO, NULL);
    (void)sqlite3_close(db[0]); /* its descriptors are gone */
    break;
  default: break;
  }
}

/* Step inside the parent: make the child, let it act, see it end. */
static int fork_and_act(sqlite3 **db, char *out, size_t size)
{
  pid_t pid = make_child(plan->way);

  (void)out, (void)size;
  if (pid == 0) {
    (void)alarm(30);
    act(db);
    if (plan->act == ACT_EXIT && plan->way == WAY_FORK) exit(0); /* with its handlers */
    _exit(0);
  }
  return pid > 0 && waitpid(pid, &plan->status, 0) == pid ? SQLITE_OK : SQLITE_ERROR;
}

/* The rows of before, those of them that the parent changed, its own rows and its child's. */
static const char *rows(void)
{
  return scene_look("SELECT sum(who=0), sum(substr(v,1,1)='1'), sum(who=1), sum(who=2) FROM t NOT INDEXED; "
                    "PRAGMA integrity_check");
}

/* The answer of the child, in the states where it has to be refused. */
static void child_was_right(const struct state *s)
{
  bool may = s->adopts || plan->act == ACT_EXIT || plan->act == ACT_CLOSE || plan->act == ACT_NULL_IO;

  CHECK_INT("end of the child", plan->status, 0);
  if (plan->act == ACT_FRESH)
    CHECK_INT("a connection of its own obeys the parent's lock", plan->rc,
              s->writes ? SQLITE_BUSY : plan->rc);
  else if (plan->act == ACT_WRITE || (plan->act == ACT_COMMIT && s->writes))
    CHECK_INT("the child hears", plan->rc & 0xff, may ? SQLITE_OK : SQLITE_MISUSE);
  else if (may && plan->act == ACT_NULL_IO)
    CHECK_INT("NULL_IO goes through", plan->rc,
              sqlite3_libversion_number() >= 3048000 ? SQLITE_OK : SQLITE_NOTFOUND);
  if (plan->act == ACT_FRESH && !s->take) CHECK_INT("a connection of its own works", plan->rc, SQLITE_OK);
}

/* One fork. True: it went well for the parent. What must hold with the shim is compared when `shim`. */
static bool run(const struct state *s, int way, int action, int shim)
{
  char want[80];
  peer *p, *outside;
  bool in = false, good;

  check_scene("fork at %s (%s), by %s, the child %s, %s", s->name, s->mode, way_names[way], act_names[action],
              shim ? "holdfast" : "plain");
  *plan = (struct plan){.way = way, .act = action};
  scene_make(s->mode, FILLED);
  p = scene_peer(shim);
  if (strcmp(s->mode, "truncate") == 0 || strcmp(s->mode, "persist") == 0) {
    (void)snprintf(want, sizeof want, "PRAGMA journal_mode=%s",
                   s->mode); /* of the connection, not of the file */
    scene_must(p, want);
  }
  if (s->take) scene_must(p, s->take);
  if (peer_call(p, fork_and_act)) check_broken("a child");
  if (s->writes) { /* the parent still keeps others out */
    outside = peer_start(SHIM_NO, NULL);
    if (peer_open(outside, 0, SCENE_DB, 0)) check_broken(SCENE_DB);
    in = scene_gets_in(outside);
    (void)peer_end(outside); /* nothing is open */
  }
  good = !s->take || peer_sql(p, 0, "COMMIT") == SQLITE_OK;
  if (!good && shim) CHECK_STR("the parent ends its transaction", peer_text(p), "");
  good = peer_sql(p, 0, "INSERT INTO t(who) VALUES(1)") == SQLITE_OK && good;
  if (!shim) {
    peer_kill(p); /* its close might repair or damage: look at what is there */
  } else {
    child_was_right(s);
    CHECK_TRUE("nobody else gets in", !in);
    CHECK_INT("end of the parent", peer_end(p), 0);
    CHECK_TRUE("no lock is left", !scene_locks_left());
  }
  (void)snprintf(want, sizeof want, "400|%d|%d|%d\nok", s->take && strcmp(s->take, SPILLS) == 0 ? 400 : 0,
                 s->writes ? 2 : 1, action == ACT_WRITE && plan->rc == SQLITE_OK);
  if (shim)
    good = CHECK_STR("what was committed", rows(), want) && !in && good;
  else
    good = strcmp(rows(), want) == 0 && !in && good;
  return good;
}

/* The rarer ways of forking are tried with every state in a long run only. */
static bool wanted(int shim, const struct state *s, int way)
{
  if (way == WAY_FORK) return true;
  if (!shim) return false; /* to plain SQLite it is all the same */
  return scene_long() || strcmp(s->mode, "delete") == 0 || strcmp(s->name, "a write") == 0;
}

static void every_state(int shim)
{
  int bad[WAYS] = {0}, runs[WAYS] = {0};

  for (int i = 0; i < STATES; i++)
    for (int way = 0; way < WAYS; way++)
      for (int action = 0; action < ACTS && wanted(shim, &states[i], way); action++) {
        bool good = run(&states[i], way, action, shim);
        bad[way] += !good;
        runs[way]++;
        if (shim)
          CHECK_TRUE("the parent has lost nothing", good);
        else
          CHECK_INT("plain SQLite goes wrong", !good, strchr(states[i].plain_bad, '0' + action) != NULL);
      }
  for (int way = 0; way < WAYS; way++)
    if (runs[way])
      printf("%-8s by %-5s the parent lost something in %d of %d forks\n", shim ? "holdfast" : "plain",
             way_names[way], bad[way], runs[way]);
}

/*
 * Daemons: open, fork, and the parent is gone. The child goes on answering the steps of the peer.
 */
enum { ROWS = 100 };

static int parent_leaves(sqlite3 **db, char *out, size_t size)
{
  (void)db, (void)out, (void)size;
  if (fork() > 0) _exit(0);
  (void)alarm(60);
  return SQLITE_OK;
}

static int insert_rows(peer *p, int slot)
{
  int done = 0;

  for (int i = 0; i < ROWS; i++) done += peer_sql(p, slot, "INSERT INTO t(who) VALUES(2)") == SQLITE_OK;
  return done;
}

static int visible(void)
{
  int n = -1;

  (void)sscanf(scene_look("SELECT count(*) FROM t NOT INDEXED WHERE who=2"), "%d", &n);
  return n;
}

static void daemonise(const char *mode, int shim, bool read_before, int want_done, int want_seen)
{
  peer *p, *passer_by;
  int done, seen;

  check_scene("daemon, %s, %s, %s", mode, read_before ? "read before the fork" : "only opened",
              shim ? "holdfast" : "plain");
  scene_make(mode, "INSERT INTO t(who) VALUES(0)");
  p = peer_start(shim, NULL);
  if (peer_open(p, 0, SCENE_DB, 0)) check_broken(SCENE_DB);
  if (read_before) scene_must(p, "SELECT count(*) FROM t");
  if (peer_call(p, parent_leaves)) check_broken("a daemon");
  (void)peer_sql(p, 0, "SELECT count(*) FROM t"); /* it is up; refused or not is seen below */
  passer_by = scene_peer(SHIM_NO);
  CHECK_INT("end of the passer-by", peer_end(passer_by), 0);
  done = insert_rows(p, 0);
  if (shim && done == 0) CHECK_STR("it hears", peer_text(p), "bad parameter or other API misuse");
  if (shim && want_done == ROWS) CHECK_HAS("event", peer_ask(p, 0, "PRAGMA holdfast_events"), "\"adopted\"");
  passer_by = scene_peer(SHIM_NO);
  CHECK_INT("end of the second passer-by", peer_end(passer_by), 0);
  seen = visible();
  printf("daemon %-6s %-20s %-8s %d acknowledged, %d visible\n", mode,
         read_before ? "read before" : "only opened", shim ? "holdfast" : "plain", done, seen);
  if (want_done >= 0) {
    CHECK_INT("acknowledged", done, want_done);
    CHECK_INT("visible", seen, want_seen);
  } else {
    CHECK_INT("visible is what was acknowledged", seen, done);
  }
  if (shim) {
    CHECK_INT("a connection of its own", peer_open(p, 1, SCENE_DB, 0), SQLITE_OK);
    CHECK_INT("writes", insert_rows(p, 1), ROWS);
    CHECK_INT("closes", peer_close(p, 1), SQLITE_OK);
    CHECK_INT("the old one closes", peer_close(p, 0), SQLITE_OK);
    CHECK_INT("all is there", visible(), done + ROWS);
    CHECK_STR("integrity", scene_look("PRAGMA integrity_check"), "ok");
    CHECK_TRUE("no lock is left", !scene_locks_left());
  }
  (void)peer_end(p); /* what is waited for is the parent, which has been gone for long */
}

/*
 * A child that only lives, and touches nothing: it must not keep the parent's locks alive.
 */
static int child_stays(sqlite3 **db, char *out, size_t size)
{
  int born[2];
  char byte = 0;
  pid_t pid;

  (void)db, (void)out, (void)size;
  if (pipe(born)) return SQLITE_IOERR;
  pid = make_child(plan->way);
  if (pid == 0) {
    (void)alarm(60);
    if (write(born[1], "b", 1) != 1) _exit(1); /* its fork handlers have run */
    for (;;) (void)pause();
  }
  plan->pid = pid;
  (void)close(born[1]);
  if (read(born[0], &byte, 1) != 1) pid = -1;
  (void)close(born[0]);
  return pid > 0 ? SQLITE_OK : SQLITE_ERROR;
}

static void living_child(const char *mode, int way, bool killed)
{
  peer *p, *outside;
  bool in;

  check_scene("a child by %s lives on, %s, the parent %s", way_names[way], mode,
              killed ? "is killed" : "ends");
  *plan = (struct plan){.way = way};
  scene_make(mode, "INSERT INTO t(who) VALUES(0)");
  p = scene_peer(SHIM_YES);
  scene_must(p, WRITES);
  if (peer_call(p, child_stays)) check_broken("a child");
  outside = scene_peer(SHIM_NO);
  CHECK_TRUE("the parent's lock holds", !scene_gets_in(outside));
  if (killed) {
    peer_kill(p);
  } else {
    scene_must(p, "COMMIT");
    CHECK_TRUE("after its commit others get in", scene_gets_in(outside));
    scene_must(p, WRITES);
    CHECK_INT("end of the parent", peer_end(p), 0);
  }
  in = scene_gets_in(outside);
  /* A child that nobody told of its birth keeps the locks of a killed parent as long as it lives. */
  if (!killed || way == WAY_FORK) CHECK_TRUE("the parent is gone: others get in", in);
  (void)kill(plan->pid, SIGKILL);
  (void)waitpid(plan->pid, NULL, 0); /* it has become ours */
  CHECK_TRUE("the child is gone: others get in", scene_gets_in(outside));
  CHECK_INT("end of the outsider", peer_end(outside), 0);
  CHECK_TRUE("no lock is left", !scene_locks_left());
  CHECK_STR("rows", scene_look("SELECT count(*) FROM t WHERE who=1; PRAGMA integrity_check"),
            killed ? "0\nok" : "1\nok");
}

static int spawn_something(sqlite3 **db, char *out, size_t size)
{
  char *arguments[] = {(char[]){"true"}, NULL};
  pid_t pid;
  int status = -1;

  (void)db, (void)out, (void)size;
  if (posix_spawnp(&pid, "true", NULL, NULL, arguments, environ)) return SQLITE_ERROR;
  return waitpid(pid, &status, 0) == pid && status == 0 ? SQLITE_OK : SQLITE_ERROR;
}

static void other_programs(const char *mode)
{
  peer *p, *outside;

  check_scene("another program is started, %s", mode);
  scene_make(mode, NULL);
  p = scene_peer(SHIM_YES);
  outside = scene_peer(SHIM_NO);
  scene_must(p, WRITES);
  for (int i = 0; i < 5; i++) {
    CHECK_INT("it runs", peer_call(p, spawn_something), SQLITE_OK);
    CHECK_TRUE("the lock holds", !scene_gets_in(outside));
  }
  CHECK_STR("commit", peer_ask(p, 0, "COMMIT"), "");
  CHECK_INT("end of the outsider", peer_end(outside), 0);
  CHECK_INT("end", peer_end(p), 0);
  CHECK_STR("row", scene_look("SELECT count(*) FROM t"), "1");
}

int main(void)
{
  plan = mmap(NULL, sizeof *plan, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (plan == MAP_FAILED) check_broken("shared memory");
  if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)) check_broken("prctl");
  every_state(SHIM_NO);
  every_state(SHIM_YES);
  daemonise("delete", SHIM_NO, true, ROWS, ROWS); /* plain SQLite is right here, ... */
  daemonise("wal", SHIM_NO, true, ROWS, 0);       /* ... and here it is not */
  daemonise("delete", SHIM_YES, true, ROWS, ROWS);
  daemonise("delete", SHIM_YES, false, ROWS, ROWS);
  daemonise("wal", SHIM_YES, true, 0, 0);
  daemonise("wal", SHIM_YES, false, -1, -1);
  for (int m = 0; m < SCENE_MODES; m++) {
    for (int way = 0; way < WAYS; way++) {
      living_child(scene_modes[m], way, false);
      living_child(scene_modes[m], way, true);
    }
    other_programs(scene_modes[m]);
  }
  return check_done();
}
