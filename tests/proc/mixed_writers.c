/*
 * mixed_writers.c - plain and shimmed writers on one file, killed with SIGKILL again and again.
 *
 * Two plain processes and two with the shim insert rows; every now and then one of them is killed and a new
 * one takes its place. In those with the shim another thread opens, reads and closes the files all the time
 * (F1). In the end each writer's acknowledged rows must be there, none twice, none that nobody wrote, and no
 * lock may be left behind. The control is the same without the shim: it goes bad.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "check.h"
#include "crowd.h"
#include "scene.h"

enum { MEMBERS = 4, ROWS_BETWEEN = 5 };

/* Waits little and tries again at once: whoever loses a lock has the next one in the file. */
static int eager(int who)
{
  sqlite3 *db = NULL;
  int rc = sqlite3_open_v2(SCENE_DB, &db, SQLITE_OPEN_READWRITE, NULL);

  (void)sqlite3_busy_timeout(db, 2); /* fails only for a bad handle */
  while (!crowd_stopped() && (rc == SQLITE_OK || rc == SQLITE_BUSY)) rc = crowd_insert(db, who, ROWS_BETWEEN);
  (void)sqlite3_close(db);
  return 0;
}

static void *stray_until_stop(void *unused)
{
  while (!crowd_stopped()) {
    (void)stray_db(NULL, NULL, 0); /* a file that is not there is no matter */
    (void)stray_wal(NULL, NULL, 0);
    (void)stray_shm(NULL, NULL, 0);
    (void)usleep(500);
  }
  return unused;
}

static int eager_and_careless(int who)
{
  pthread_t thread;

  if (pthread_create(&thread, NULL, stray_until_stop, NULL)) return 5;
  (void)eager(who);
  (void)pthread_join(thread, NULL); /* an error ends the writing, not the carelessness */
  return 0;
}

typedef struct member {
  pid_t pid;
  int shim;
  int (*body)(int who);
} member;

static void start(member *m)
{
  m->pid = crowd_fork(m->shim, m->body, crowd_writer());
}

/* `guarded`: those that do stray closes have the shim. Else nobody has it. */
static void run(const char *mode, bool guarded, long ms, long between, int *kills, crowd_count *count)
{
  member members[MEMBERS];

  *kills = 0;
  crowd_start();
  scene_make(mode, "CREATE INDEX tv ON t(v)");
  for (int i = 0; i < MEMBERS; i++) {
    bool careless = i % 2;
    members[i] = (member){.shim = guarded && careless ? SHIM_YES : SHIM_NO,
                          .body = careless ? eager_and_careless : eager};
    start(&members[i]);
  }
  for (long passed = 0; passed < ms; passed += between) {
    member *m = &members[seed_below(MEMBERS)];
    crowd_sleep(between);
    (void)kill(m->pid, SIGKILL); /* it may have ended with an error: the log tells */
    *kills += crowd_wait(m->pid) == 128 + SIGKILL;
    start(m);
  }
  crowd_stop();
  for (int i = 0; i < MEMBERS; i++) {
    int code = crowd_wait(members[i].pid);
    if (guarded) CHECK_INT("end of a writer", code, 0);
  }
  crowd_audit(count);
}

static void guarded_run(const char *mode)
{
  long ms = scene_rounds(4000, 60000), between = scene_rounds(250, 1000);
  crowd_count c;
  int kills;

  check_scene("half plain, half with holdfast, %s", mode);
  run(mode, true, ms, between, &kills, &c);
  printf("%-6s half with holdfast: %ld ms, %d kills, %d writers, %ld acknowledged, %ld found, %ld lost, "
         "integrity: %.60s\n",
         mode, ms, kills, c.writers, c.committed, c.found, c.lost, c.integrity);
  CHECK_INT("acknowledged rows that are not there", c.lost, 0);
  CHECK_INT("rows that nobody wrote", c.extra, 0);
  CHECK_INT("writers that ended with an error", c.failed, 0);
  CHECK_STR("integrity", c.integrity, "ok");
  CHECK_TRUE("killed and wrote", kills > 5 && c.committed > 100);
  CHECK_TRUE("no lock is left", !scene_locks_left());
}

static void control(const char *mode)
{
  crowd_count c;
  int kills, runs = 0;

  check_scene("control, all plain, %s", mode);
  do run(mode, false, 1500, 250, &kills, &c);
  while (++runs < 20 && crowd_exact(&c));
  CHECK_TRUE("the control goes bad", !crowd_exact(&c));
  printf("%-6s all plain: bad in run %d: %ld acknowledged, %ld lost, %d ended with an error (%d), integrity: "
         "%.60s\n",
         mode, runs, c.committed, c.lost, c.failed, c.first_error, c.integrity);
}

int main(void)
{
  seed_start();
  for (int m = 0; m < SCENE_MODES; m++) {
    control(scene_modes[m]);
    guarded_run(scene_modes[m]);
  }
  return check_done();
}
