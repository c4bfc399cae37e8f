/*
 * seed_board.c - the checks that the project began with, in one process: a board of tasks through the pool.
 *
 * 1,000 tasks are created and completed as fast as it goes, with the health checked in between, also by
 * threads that work at the same time; and the pool is one object for each process and file, whoever opens it.
 * What the same work does without a pool is played by tests/proc/demo.sh.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "crowd.h"
#include "files.h"
#include "pooled.h"
#include "scene.h"

enum { TASKS = 1000, THREADS = 32, WORKERS = 4, CHECK_EVERY = 50 };

static int failed; /* of the process that works: what main() of a member returns */

#define MUST(what, got, want)                                                                                \
  do {                                                                                                       \
    long got_ = (long)(got), want_ = (long)(want);                                                           \
    if (got_ != want_) {                                                                                     \
      printf("%s: got %ld, want %ld; %s\n", what, got_, want_, holdfast_errmsg());                           \
      failed = 1;                                                                                            \
    }                                                                                                        \
  } while (0)

static const char complete_sql[] = "UPDATE t SET v='done' WHERE id=(SELECT max(id) FROM t WHERE v<>'done')";

/* ---------------------------------------------------------------- 1,000 tasks, one after the other */

static int rapid(int who)
{
  holdfast_pool *pool = pooled_open(NULL);

  for (int i = 1; i <= TASKS && !failed; i++) {
    MUST("create", pooled_insert(pool, who), 0);
    MUST("complete", pooled_sql(pool, complete_sql), 0);
    if (i % CHECK_EVERY == 0) MUST("health in between", pooled_check(pool), 0);
  }
  MUST("tasks that are done", pooled_number(pool, "SELECT count(*) FROM t WHERE v='done'"), TASKS);
  MUST("health", pooled_check(pool), 0);
  MUST("close", holdfast_pool_close(pool, 0), 0);
  return failed;
}

/* ---------------------------------------------------------------- several at the same time */

static holdfast_pool *shared_pool;

static void *work(void *arg)
{
  int who = *(int *)arg;
  int rc = 0;

  for (int i = 1; i <= TASKS / WORKERS && rc == 0; i++) {
    rc = pooled_insert(shared_pool, who);
    if (rc == 0 && i % CHECK_EVERY == 0) rc = pooled_check(shared_pool);
    if (rc == 0 && pooled_number(shared_pool, "SELECT count(*) FROM t") < i) rc = SQLITE_ERROR;
  }
  *(int *)arg = rc;
  return NULL;
}

static int together(int who)
{
  pthread_t threads[WORKERS];
  int arg[WORKERS], rc;

  shared_pool = pooled_open(NULL);
  for (int i = 0; i < WORKERS; i++) {
    arg[i] = i ? crowd_writer() : who;
    MUST("thread", pthread_create(&threads[i], NULL, work, &arg[i]), 0);
  }
  do {
    rc = pooled_check(shared_pool); /* a fifth one checks all the time */
    MUST("health meanwhile", rc, 0);
  } while (rc == 0 && pooled_number(shared_pool, "SELECT count(*) FROM t") < TASKS / 2);
  for (int i = 0; i < WORKERS; i++) {
    MUST("join", pthread_join(threads[i], NULL), 0);
    MUST("what a thread saw", arg[i], 0);
  }
  MUST("rows", pooled_number(shared_pool, "SELECT count(*) FROM t"), TASKS);
  MUST("health", pooled_check(shared_pool), 0);
  MUST("close", holdfast_pool_close(shared_pool, 0), 0);
  return failed;
}

/* ---------------------------------------------------------------- one pool for a process and file */

static const holdfast_pool_config as_it_is = {.struct_size = sizeof as_it_is,
                                              .journal = HOLDFAST_JOURNAL_AS_IT_IS};
static pthread_barrier_t at_once;

typedef struct opener {
  const char *name;
  holdfast_pool *pool;
  int rc;
} opener;

static void *open_it(void *arg)
{
  opener *o = arg;

  (void)pthread_barrier_wait(&at_once);
  o->rc = holdfast_pool_open(o->name, &as_it_is, &o->pool);
  return NULL;
}

/* Descriptors of this process that lead to the database file. */
static int descriptors(void)
{
  struct stat want, got;
  int count = 0;

  if (stat(SCENE_DB, &want)) check_broken(SCENE_DB);
  for (int fd = 0; fd < 1024; fd++) {
    if (fstat(fd, &got) == 0 && got.st_dev == want.st_dev && got.st_ino == want.st_ino) count++;
  }
  return count;
}

static int one_object(int who)
{
  char *real = realpath(SCENE_DB, NULL);
  const char *names[] = {SCENE_DB, "./" SCENE_DB, "link.db", "../here/" SCENE_DB, real};
  opener openers[THREADS];
  pthread_t threads[THREADS];
  holdfast_config shim = {.struct_size = sizeof shim, .log = "none"};
  int alone, now;

  (void)who;
  MUST("init", holdfast_init(&shim), 0);
  MUST("barrier", pthread_barrier_init(&at_once, NULL, THREADS), 0);
  for (int i = 0; i < THREADS; i++) {
    openers[i] = (opener){.name = names[i % 5]};
    MUST("thread", pthread_create(&threads[i], NULL, open_it, &openers[i]), 0);
  }
  for (int i = 0; i < THREADS; i++) {
    MUST("join", pthread_join(threads[i], NULL), 0);
    MUST("open", openers[i].rc, 0);
    MUST("the same pool", openers[i].pool == openers[0].pool, 1);
  }
  now = descriptors();
  for (int i = 1; i < THREADS; i++) MUST("close", holdfast_pool_close(openers[i].pool, 0), 0);
  MUST("it works still", pooled_sql(openers[0].pool, "INSERT INTO t(who) VALUES(0)"), 0);
  MUST("last close", holdfast_pool_close(openers[0].pool, 0), 0);
  MUST("descriptors afterwards", descriptors(), 0);
  MUST("another one", holdfast_pool_open(SCENE_DB, &as_it_is, &openers[0].pool), 0);
  alone = descriptors();
  MUST("descriptors of 32 openers and of one", now, alone);
  MUST("last close", holdfast_pool_close(openers[0].pool, 0), 0);
  free(real);
  return failed;
}

static void scene(const char *what, const char *mode, int (*body)(int who))
{
  crowd_count c;

  check_scene("%s, %s", what, mode);
  crowd_start();
  scene_make(mode, NULL);
  CHECK_INT("end of the process", crowd_wait(crowd_fork(SHIM_NO, body, crowd_writer())), 0);
  crowd_audit(&c);
  printf("%-10s %-6s %ld acknowledged, %ld found, integrity: %.60s\n", what, mode, c.committed, c.found,
         c.integrity);
  CHECK_TRUE("every task, and no other", crowd_exact(&c));
  CHECK_TRUE("no lock is left", !scene_locks_left());
}

int main(void)
{
  if (mkdir("here", 0777) || chdir("here") || symlink(SCENE_DB, "link.db")) check_broken("folder");
  for (int m = 0; m < SCENE_MODES; m++) {
    scene("rapid", scene_modes[m], rapid);
    scene("together", scene_modes[m], together);
    scene("one object", scene_modes[m], one_object);
  }
  return check_done();
}
