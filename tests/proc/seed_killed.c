/*
 * seed_killed.c - four processes on one database, one of them plain SQLite, one killed every second.
 *
 * Three write through a pool each, with a thread that reads, has the health checked, and is careless with the
 * file (F1); the fourth is plain SQLite and well behaved. Every second one of the four is killed with SIGKILL
 * and started again. Each acknowledged row must be there in the end, none twice; no health check may say
 * "damaged"; nobody may end with an error; no lock may be left. HF_LONG=1 is the seed's size, 60 s for each
 * journal mode. The control is four plain and careless ones: it goes bad.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "check.h"
#include "crowd.h"
#include "pooled.h"
#include "scene.h"

enum { MEMBERS = 4, PLAIN_ONE = 3, DAMAGED = 9, PAUSE_US = 2000 };

static void look_at_the_file(void)
{
  (void)stray_db(NULL, NULL, 0); /* a file that is not there is no matter */
  (void)stray_wal(NULL, NULL, 0);
  (void)stray_shm(NULL, NULL, 0);
}

/* ---------------------------------------------------------------- with a pool */

typedef struct careful {
  holdfast_pool *pool;
  int who;
  int rc;
} careful;

static void *look_after(void *arg)
{
  careful *c = arg;

  while (!crowd_stopped() && c->rc == SQLITE_OK) {
    int rc = pooled_check(c->pool);
    if (rc == SQLITE_CORRUPT || rc == SQLITE_NOTADB) c->rc = rc; /* the rest is "not checked" */
    if (pooled_number(c->pool, "SELECT count(*) FROM t") < 0) c->rc = SQLITE_ERROR;
    look_at_the_file();
    (void)usleep(PAUSE_US);
  }
  return NULL;
}

static int with_pool(int who)
{
  careful c = {.pool = pooled_open(NULL), .who = who};
  pthread_t second;
  int rc = 0;

  if (pthread_create(&second, NULL, look_after, &c)) return 5;
  while (!crowd_stopped() && rc == SQLITE_OK) rc = pooled_insert(c.pool, who);
  (void)pthread_join(second, NULL); /* started above */
  if (rc == SQLITE_OK) rc = c.rc;
  if (rc != SQLITE_OK) printf("writer %d: %d %s; %s\n", who, rc, holdfast_strerror(rc), holdfast_errmsg());
  if (holdfast_pool_close(c.pool, 0)) rc = rc ? rc : SQLITE_MISUSE;
  return rc == SQLITE_CORRUPT ? DAMAGED : rc != SQLITE_OK;
}

/* ---------------------------------------------------------------- without */

static void *look_until_stop(void *unused)
{
  while (!crowd_stopped()) {
    look_at_the_file();
    (void)usleep(PAUSE_US / 4);
  }
  return unused;
}

static int plain_and_careless(int who)
{
  pthread_t second;

  if (pthread_create(&second, NULL, look_until_stop, NULL)) return 5;
  (void)crowd_insert_until_stop(who); /* the log tells */
  (void)pthread_join(second, NULL);
  return 0;
}

/* ---------------------------------------------------------------- the scene */

typedef int body(int who);

static void run(const char *mode, body *const *bodies, long ms, long between, int *kills, crowd_count *count)
{
  pid_t pids[MEMBERS];

  *kills = 0;
  crowd_start();
  scene_make(mode, "CREATE INDEX tv ON t(v)");
  for (int i = 0; i < MEMBERS; i++) pids[i] = crowd_fork(SHIM_NO, bodies[i], crowd_writer());
  for (long passed = 0; passed < ms; passed += between) {
    int i = (int)seed_below(MEMBERS), end;
    crowd_sleep(between);
    (void)kill(pids[i], SIGKILL); /* it may have ended by itself: the code tells */
    end = crowd_wait(pids[i]);
    *kills += end == 128 + SIGKILL;
    if (bodies[i] == with_pool) CHECK_INT("end of one with a pool", end, 128 + SIGKILL);
    pids[i] = crowd_fork(SHIM_NO, bodies[i], crowd_writer());
  }
  crowd_stop();
  for (int i = 0; i < MEMBERS; i++) {
    int end = crowd_wait(pids[i]);
    if (bodies[i] == with_pool) CHECK_INT("end of one with a pool", end, 0);
  }
  crowd_audit(count);
}

static void control(const char *mode)
{
  body *const bodies[] = {plain_and_careless, plain_and_careless, plain_and_careless, plain_and_careless};
  crowd_count c;
  int kills, runs = 0;

  check_scene("control, four plain and careless, %s", mode);
  do run(mode, bodies, 1000, 250, &kills, &c);
  while (++runs < 20 && crowd_exact(&c));
  printf("%-6s plain: bad in run %d: %ld acknowledged, %ld lost, %d ended with an error (%d), integrity: "
         "%.60s\n",
         mode, runs, c.committed, c.lost, c.failed, c.first_error, c.integrity);
  CHECK_TRUE("the control goes bad", !crowd_exact(&c));
}

static void with_holdfast(const char *mode)
{
  body *const bodies[] = {with_pool, with_pool, with_pool, crowd_insert_until_stop};
  long ms = scene_rounds(2500, 60000), between = scene_rounds(250, 1000);
  crowd_count c;
  int kills;

  check_scene("three pools and a plain one, %s", mode);
  run(mode, bodies, ms, between, &kills, &c);
  printf("%-6s holdfast: %ld ms, %d kills, %d writers, %ld acknowledged, %ld found, %ld lost, integrity: "
         "%.60s\n",
         mode, ms, kills, c.writers, c.committed, c.found, c.lost, c.integrity);
  CHECK_INT("acknowledged rows that are not there", c.lost, 0);
  CHECK_INT("rows that nobody wrote", c.extra, 0);
  CHECK_INT("writers that ended with an error", c.failed, 0);
  CHECK_STR("integrity", c.integrity, "ok");
  CHECK_TRUE("killed and wrote", kills >= ms / between && c.committed > 100);
  CHECK_TRUE("no lock is left", !scene_locks_left());
}

int main(void)
{
  seed_start();
  for (int m = 0; m < SCENE_MODES; m++) {
    control(scene_modes[m]);
    with_holdfast(scene_modes[m]);
  }
  return check_done();
}
