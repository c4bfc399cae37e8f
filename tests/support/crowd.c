/*
 * crowd.c - see crowd.h.
 */
#include "crowd.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "peer.h"
#include "scene.h"

enum { MEMBER_S_MAX = 120, END_MS_MAX = 60 * 1000, BUSY_MS = 20 * 1000 };

typedef struct crowd {
  atomic_int stop, next;
  crowd_log logs[CROWD_WRITERS];
} crowd;
static crowd *shared; /* the same memory in every process of the test */

void crowd_start(void)
{
  if (!shared) {
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) check_broken("shared memory");
  }
  memset(shared, 0, sizeof *shared); /* no member lives */
}

void crowd_stop(void)
{
  atomic_store(&shared->stop, 1);
}

bool crowd_stopped(void)
{
  return atomic_load(&shared->stop);
}

int crowd_writer(void)
{
  int who = atomic_fetch_add(&shared->next, 1) + 1;

  if (who >= CROWD_WRITERS) check_broken("too many writers");
  return who;
}

crowd_log *crowd_log_of(int who)
{
  return &shared->logs[who];
}

pid_t crowd_fork(int shim, int (*body)(int who), int who)
{
  pid_t pid;

  if (shim) (void)shim_path(); /* skips here, in the main process */
  (void)fflush(stdout);        /* else the child prints it once more */
  pid = fork();
  if (pid < 0) check_broken("fork");
  if (pid) return pid;
  (void)alarm(scene_long() ? 3600 : MEMBER_S_MAX); /* whatever happens, it ends */
  (void)setenv("HOLDFAST_LOG", "none", 1);         /* cannot fail for want of anything but memory */
  if (shim && shim_load() != SQLITE_OK) exit(3);
  exit(body(who));
}

void crowd_sleep(long ms)
{
  struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

  while (nanosleep(&left, &left) && errno == EINTR) continue;
}

int crowd_wait(pid_t pid)
{
  int status = 0;

  for (int waited = 0; waitpid(pid, &status, WNOHANG) == 0; waited += 2) {
    if (waited == END_MS_MAX) {
      printf("process %d does not end and is killed\n", (int)pid);
      (void)kill(pid, SIGKILL);
    }
    crowd_sleep(2);
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int crowd_insert(sqlite3 *db, int who, long rows)
{
  crowd_log *log = crowd_log_of(who);
  long n = atomic_load(&log->committed), last = rows < 0 ? -1 : n + rows;
  char sql[160], out[200];
  int rc = SQLITE_OK;

  while (n != last && !(rows < 0 && crowd_stopped())) {
    (void)snprintf(sql, sizeof sql, "INSERT INTO t(who,n,v) VALUES(%d,%ld,hex(randomblob(40)))", who, n + 1);
    atomic_store(&log->started, n + 1);
    rc = sql_text(db, sql, out, sizeof out);
    if (rc == SQLITE_OK) {
      atomic_store(&log->committed, ++n);
      continue;
    }
    if ((rc & 0xff) != SQLITE_BUSY) break;
    atomic_fetch_add(&log->busy, 1);
    if (rows >= 0) break;
  }
  if ((rc & 0xff) == SQLITE_BUSY) return SQLITE_BUSY;
  if (rc) atomic_store(&log->error, rc);
  return rc;
}

int crowd_insert_until_stop(int who)
{
  sqlite3 *db = NULL;
  int rc = sqlite3_open_v2(SCENE_DB, &db, SQLITE_OPEN_READWRITE, NULL);

  if (rc == SQLITE_OK) {
    (void)sqlite3_busy_timeout(db, BUSY_MS); /* fails only for a bad handle */
    (void)crowd_insert(db, who, -1);         /* the log tells */
  } else {
    atomic_store(&crowd_log_of(who)->error, rc);
  }
  (void)sqlite3_close(db); /* nothing is open on it */
  return 0;
}

/* One line "who|count|highest n|lowest n" of the table against the log. */
static void compare(crowd_count *c, int who, long found, long high, long low, bool *seen)
{
  const crowd_log *log = &shared->logs[who];
  long committed = atomic_load(&log->committed), started = atomic_load(&log->started);

  seen[who] = true;
  c->found += found;
  if (found < committed) c->lost += committed - found;
  if (found > started) c->extra += found - started;
  if (found > 0 && (low != 1 || high != found)) { /* a gap, or a row twice */
    printf("writer %d: %ld rows from %ld to %ld; %ld committed, %ld started\n", who, found, low, high,
           committed, started);
    c->extra++;
  } else if (found < committed || found > started) {
    printf("writer %d: %ld rows; %ld committed, %ld started\n", who, found, committed, started);
  }
}

void crowd_audit(crowd_count *out)
{
  static bool seen[CROWD_WRITERS];
  crowd_count c = {0};
  peer *p = peer_start(SHIM_NO, NULL);
  char *line, *save = NULL;
  long who, found, high, low;

  memset(seen, 0, sizeof seen);
  if (peer_open(p, 0, SCENE_DB, SQLITE_OPEN_READWRITE) ||
      peer_sql(p, 0, "SELECT who,count(*),max(n),min(n) FROM t NOT INDEXED WHERE who>0 GROUP BY who")) {
    printf("the rows cannot be read: %s\n", peer_text(p));
  } else {
    char *text = strdup(peer_text(p));
    if (!text) check_broken("memory");
    for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
      if (sscanf(line, "%ld|%ld|%ld|%ld", &who, &found, &high, &low) == 4 && who < CROWD_WRITERS)
        compare(&c, (int)who, found, high, low, seen);
      else
        c.extra++;
    }
    free(text);
  }
  for (int i = 1; i < CROWD_WRITERS; i++) {
    const crowd_log *log = &shared->logs[i];
    int error = atomic_load(&log->error);
    c.committed += atomic_load(&log->committed);
    if (atomic_load(&log->started)) c.writers++;
    if (error) c.failed++, c.first_error = error;
    if (!seen[i] && atomic_load(&log->committed)) compare(&c, i, 0, 0, 0, seen);
  }
  (void)snprintf(c.integrity, sizeof c.integrity, "%.390s", peer_ask(p, 0, "PRAGMA integrity_check(3)"));
  (void)peer_end(p); /* what it saw is what counts */
  *out = c;
}

bool crowd_exact(const crowd_count *c)
{
  return c->lost == 0 && c->extra == 0 && c->failed == 0 && strcmp(c->integrity, "ok") == 0;
}
