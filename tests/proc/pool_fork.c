/*
 * pool_fork.c - a process forks while its pool is in every state that it can be in.
 *
 * The child finds each call answered with HOLDFAST_FORKED, at once and without touching the parent's files or
 * mutexes, opens a pool of its own for the same database, writes through it and exits as programs do. The
 * parent goes on: what it was doing at the fork succeeds, and every acknowledged row of both is there.
 *
 * A child that was forked inside of a write transaction (without WAL: of any) opens nothing: SQLite's own
 * memory says there that this process has the lock (docs/pool.md).
 */
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "files.h"
#include "lane.h"
#include "peer.h"

enum { CHILD_SECONDS = 60, BUSY_FORKS = 40, BUSY_WRITERS = 3 };
#define DB "fork.db"

static long children; /* rows that children have acknowledged */
static holdfast_pool *pool;
static int journal;

/* ---------------------------------------------------------------- the child */

static int refused(holdfast_lease *lease, holdfast_cancel *cancel)
{
  holdfast_stats stats = {.struct_size = sizeof stats};
  holdfast_checkpoint report = {.struct_size = sizeof report};
  holdfast_lease *more;
  sqlite3_stmt *stmt;
  int bad = 0;

  bad += holdfast_acquire(pool, HOLDFAST_READ, 0, &more) != HOLDFAST_FORKED;
  bad += holdfast_acquire(pool, HOLDFAST_WRITE, 0, &more) != HOLDFAST_FORKED;
  bad += holdfast_read(pool, lane_sql, (void *)"SELECT 1") != HOLDFAST_FORKED;
  bad += holdfast_write(pool, lane_sql, (void *)"SELECT 1") != HOLDFAST_FORKED;
  bad += holdfast_pool_checkpoint(pool, 0, &report) != HOLDFAST_FORKED;
  bad += holdfast_pool_stats(pool, &stats) != HOLDFAST_FORKED;
  bad += holdfast_pool_backup(pool, "never.db", NULL) != HOLDFAST_FORKED;
  bad += holdfast_pool_on_event(pool, NULL, NULL) != HOLDFAST_FORKED;
  bad += holdfast_pool_close(pool, 0) != HOLDFAST_FORKED;
  holdfast_cancel_fire(cancel);
  if (lease) {
    bad += holdfast_lease_db(lease) != NULL;
    bad += holdfast_prepare(lease, "SELECT 1", &stmt) != HOLDFAST_FORKED;
    bad += holdfast_release(lease) != HOLDFAST_FORKED;
  }
  bad += strstr(holdfast_errmsg(), "fork") == NULL;
  return bad;
}

static void child(holdfast_lease *lease, holdfast_cancel *cancel, bool opens)
{
  holdfast_pool_config config = {.struct_size = sizeof config, .journal = journal};
  holdfast_pool *mine = NULL;

  alarm(CHILD_SECONDS);
  if (refused(lease, cancel)) exit(10);
  if (!opens) exit(0);
  if (holdfast_pool_open(DB, &config, &mine)) exit(11);
  if (mine == pool) exit(12);
  if (holdfast_write(mine, lane_sql, (void *)"INSERT INTO t VALUES('child')")) exit(13);
  if (lane_number(mine, "SELECT count(*) FROM t") < 0) exit(14);
  if (holdfast_pool_close(mine, 0)) exit(15);
  exit(0); /* with the handlers, as a program does that does not know of _exit() */
}

static pid_t fork_child(holdfast_lease *lease, holdfast_cancel *cancel, bool opens)
{
  pid_t pid;

  fflush(stdout);
  pid = fork();
  if (pid == 0) child(lease, cancel, opens);
  if (pid < 0) check_broken("fork");
  children += opens;
  return pid;
}

static int end_of(pid_t pid)
{
  int status = -1;
  return waitpid(pid, &status, 0) == pid ? status : -1;
}

/* ---------------------------------------------------------------- the states */

static void begin(const char *what)
{
  holdfast_pool_config config = {.struct_size = sizeof config,
                                 .readers = 2,
                                 .journal = journal,
                                 .checkpoint_frames = 2,
                                 .checkpoint_ms = 100};

  check_scene("%s, %s", what, journal ? "delete" : "wal");
  db_remove(DB);
  children = 0;
  CHECK_INT("open", holdfast_pool_open(DB, &config, &pool), 0);
  CHECK_INT("a table", holdfast_write(pool, lane_sql, (void *)"CREATE TABLE t(who)"), 0);
}

static void end(long rows)
{
  sqlite3 *db = NULL;
  char text[100];

  CHECK_INT("rows of the parent", lane_number(pool, "SELECT count(*) FROM t WHERE who='parent'"), rows);
  CHECK_INT("rows of the children", lane_number(pool, "SELECT count(*) FROM t WHERE who='child'"), children);
  CHECK_INT("close", holdfast_pool_close(pool, 0), 0);
  CHECK_INT("open plainly", sqlite3_open_v2(DB, &db, SQLITE_OPEN_READWRITE, "unix"), SQLITE_OK);
  CHECK_INT("look",
            sql_text(db, "PRAGMA integrity_check; SELECT count(*) FROM t NOT INDEXED", text, sizeof text), 0);
  sqlite3_close(db);
  CHECK_HAS("whole", text, "ok");
}

static void idle(void)
{
  begin("idle");
  CHECK_INT("child", end_of(fork_child(NULL, NULL, true)), 0);
  CHECK_INT("write", holdfast_write(pool, lane_sql, (void *)"INSERT INTO t VALUES('parent')"), 0);
  end(1);
}

static void in_a_read(void)
{
  holdfast_lease *lease = NULL;
  pid_t pid;

  begin("a lease in a read transaction");
  CHECK_INT("acquire", holdfast_acquire(pool, HOLDFAST_READ, 0, &lease), 0);
  CHECK_INT("read", lane_sql(lease, (void *)"BEGIN; SELECT count(*) FROM t"), 0);
  pid = fork_child(lease, NULL,
                   !journal); /* without WAL a reader keeps writers out, that is not ours to test */
  CHECK_INT("child", end_of(pid), 0);
  CHECK_INT("read on", lane_sql(lease, (void *)"SELECT count(*) FROM t; COMMIT"), 0);
  CHECK_INT("release", holdfast_release(lease), 0);
  end(0);
}

static void in_a_write(void)
{
  holdfast_cancel *cancel = NULL;
  holdfast_options options = {.struct_size = sizeof options, .tag = "parent"};
  holdfast_lease *lease = NULL;
  pid_t pid;

  begin("a lease in a write transaction, with a cancel object");
  CHECK_INT("cancel", holdfast_cancel_new(&cancel), 0);
  options.cancel = cancel;
  CHECK_INT("acquire", holdfast_acquire_with(pool, HOLDFAST_WRITE, &options, &lease), 0);
  CHECK_INT("write", lane_sql(lease, (void *)"BEGIN IMMEDIATE; INSERT INTO t VALUES('parent')"), 0);
  pid = fork_child(lease, cancel, false);
  lane_nap(50); /* time for the child to do harm; it needs none to do right */
  CHECK_INT("commit", lane_sql(lease, (void *)"INSERT INTO t VALUES('parent'); COMMIT"), 0);
  CHECK_INT("release", holdfast_release(lease), 0);
  CHECK_INT("child", end_of(pid), 0);
  holdfast_cancel_free(cancel);
  end(2);
}

static pid_t forked_inside;
static int forks_inside(holdfast_lease *lease, void *arg)
{
  (void)arg;
  forked_inside = fork_child(lease, NULL, false);
  return lane_sql(lease, (void *)"INSERT INTO t VALUES('parent')");
}

static int returns_in_the_child(holdfast_lease *lease, void *arg)
{
  fflush(stdout);
  *(pid_t *)arg = fork();
  return *(pid_t *)arg ? lane_sql(lease, (void *)"INSERT INTO t VALUES('parent')") : 0;
}

static void in_a_scope(void)
{
  pid_t pid = -1;
  int rc;

  begin("inside of holdfast_write");
  CHECK_INT("write", holdfast_write(pool, forks_inside, NULL), 0);
  CHECK_INT("child", end_of(forked_inside), 0);
  rc = holdfast_write(pool, returns_in_the_child, &pid);
  if (pid == 0) _exit(rc == HOLDFAST_FORKED ? 0 : 1); /* the child came out of it, too */
  CHECK_INT("write, and the function returns twice", rc, 0);
  CHECK_INT("child", end_of(pid), 0);
  end(2);
}

static void with_waiters(void)
{
  lane_other holder, waiter;

  begin("threads that hold and wait");
  lane_take(&holder, pool, HOLDFAST_WRITE, NULL);
  CHECK_INT("holder", lane_result(&holder), 0);
  lane_take(&waiter, pool, HOLDFAST_WRITE, NULL);
  lane_wait_for(pool, HOLDFAST_WRITE, 1);
  CHECK_INT("child", end_of(fork_child(holder.lease, NULL, true)), 0);
  CHECK_INT("release", holdfast_release(holder.lease), 0);
  CHECK_INT("waiter", lane_result(&waiter), 0);
  CHECK_INT("write", lane_sql(waiter.lease, (void *)"INSERT INTO t VALUES('parent')"), 0);
  CHECK_INT("release", holdfast_release(waiter.lease), 0);
  end(1);
}

static pid_t forked_in_event;
static void forks_in_event(const holdfast_pool_event *event, void *arg)
{
  (void)arg;
  if (event->kind == HOLDFAST_POOL_UNCLEAN && !forked_in_event)
    forked_in_event = fork_child(NULL, NULL, true);
}

static void in_an_event(void)
{
  begin("inside of an event");
  forked_in_event = 0;
  CHECK_INT("listen", holdfast_pool_on_event(pool, forks_in_event, NULL), 0);
  CHECK_INT("leave it open", lane_exec(pool, HOLDFAST_READ, "BEGIN; SELECT count(*) FROM t"), 0);
  CHECK_TRUE("forked", forked_in_event > 0);
  CHECK_INT("child", end_of(forked_in_event), 0);
  CHECK_INT("listen no more", holdfast_pool_on_event(pool, NULL, NULL), 0);
  end(0);
}

static void *close_it(void *arg)
{
  *(int *)arg = holdfast_pool_close(pool, 20000);
  return NULL;
}

static void while_it_closes(void)
{
  pthread_t closing;
  lane_other holder;
  holdfast_lease *more;
  int rc = -1;

  begin("while another thread closes it");
  lane_take(&holder, pool, HOLDFAST_WRITE, NULL);
  CHECK_INT("holder", lane_result(&holder), 0);
  CHECK_INT("thread", pthread_create(&closing, NULL, close_it, &rc), 0);
  while (holdfast_acquire(pool, HOLDFAST_READ, HOLDFAST_NO_WAIT, &more) != HOLDFAST_CLOSED) {
    CHECK_INT("release", holdfast_release(more), 0);
    lane_nap(1);
  }
  CHECK_INT("child", end_of(fork_child(holder.lease, NULL, true)), 0);
  CHECK_INT("write", lane_sql(holder.lease, (void *)"INSERT INTO t VALUES('parent')"), 0);
  CHECK_INT("release", holdfast_release(holder.lease), 0);
  pthread_join(closing, NULL);
  CHECK_INT("close", rc, 0);
  CHECK_INT("open again", holdfast_pool_open(DB, NULL, &pool), 0);
  end(1);
}

static atomic_bool stop;
static atomic_long written;
static void *write_on(void *arg)
{
  (void)arg;
  while (!atomic_load(&stop))
    if (holdfast_write(pool, lane_sql, (void *)"INSERT INTO t VALUES('parent')") == 0)
      atomic_fetch_add(&written, 1);
  return NULL;
}

/* The keeper checkpoints all the time: a child must find SQLite's mutexes free. */
static void under_load(void)
{
  pthread_t threads[BUSY_WRITERS];

  begin("under load, with checkpoints");
  atomic_store(&stop, false);
  atomic_store(&written, 0);
  /* Only the keeper is in SQLite at the forks: with other threads in it a child may not use SQLite at all. */
  for (int round = 0; round < BUSY_FORKS; round++) {
    CHECK_INT("write", holdfast_write(pool, lane_sql, (void *)"INSERT INTO t VALUES('parent')"), 0);
    CHECK_INT("child", end_of(fork_child(NULL, NULL, round % 4 == 0)), 0);
  }
  /* And here nothing but the refusal is asked of the child. */
  for (int i = 0; i < BUSY_WRITERS; i++) pthread_create(&threads[i], NULL, write_on, NULL);
  for (int round = 0; round < BUSY_FORKS; round++) {
    pid_t pid = fork();
    if (pid == 0) {
      alarm(CHILD_SECONDS);
      _exit(refused(NULL, NULL) ? 10 : 0);
    }
    CHECK_INT("child under load", end_of(pid), 0);
  }
  atomic_store(&stop, true);
  for (int i = 0; i < BUSY_WRITERS; i++) pthread_join(threads[i], NULL);
  end(BUSY_FORKS + atomic_load(&written));
}

int main(void)
{
  alarm(4 * CHILD_SECONDS);
  for (int mode = 0; mode < 2; mode++) {
    journal = mode ? HOLDFAST_JOURNAL_DELETE : 0;
    idle();
    in_a_read();
    in_a_write();
    in_a_scope();
    with_waiters();
    in_an_event();
    while_it_closes();
    under_load();
  }
  return check_done();
}
