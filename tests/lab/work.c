/*
 * work.c - what an agent does many times over: commits, reads, threads, and the storm. See agent.c.
 */
#include "agent.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { THREADS_MAX = 8, THREAD_BUSY_MS = 60000, STORM_BUSY_MS = 10000 };

/* Stops at the first one that is refused: nothing is tried again, so nothing is hidden. */
int work_commits(long n, const char *who)
{
  const char *busy = getenv("CASE_BUSY_MS");
  char text[256];
  long i, acknowledged = 0;
  int rc = SQLITE_OK;

  (void)sqlite3_busy_timeout(agent_db, busy != NULL ? atoi(busy) : STORM_BUSY_MS);
  (void)snprintf(text, sizeof text,
                 "BEGIN IMMEDIATE; UPDATE c SET v = v + 1; INSERT INTO log SELECT '%.40s', v FROM c; COMMIT",
                 who);
  for (i = 0; i < n && rc == SQLITE_OK; i++) {
    rc = agent_sql(text);
    acknowledged += rc == SQLITE_OK;
  }
  (void)snprintf(agent_values, sizeof agent_values, "%ld|%d", acknowledged, rc);
  return SQLITE_OK;
}

typedef struct job {
  const char *path;
  long commits, acknowledged;
} job;

static void *commit_in_thread(void *arg)
{
  job *j = arg;
  sqlite3 *own = NULL;
  long i;

  if (sqlite3_open_v2(j->path, &own, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK) {
    (void)sqlite3_busy_timeout(own, THREAD_BUSY_MS);
    for (i = 0; i < j->commits; i++)
      j->acknowledged +=
          sqlite3_exec(own, "INSERT INTO log(who) VALUES('thread')", NULL, NULL, NULL) == SQLITE_OK;
  }
  (void)sqlite3_close(own); /* no statement is open */
  return NULL;
}

int work_threads(int n, long commits, const char *path)
{
  pthread_t thread[THREADS_MAX];
  job jobs[THREADS_MAX];
  long sum = 0;
  int i, started = 0;

  for (i = 0; i < n && i < THREADS_MAX; i++) {
    jobs[i] = (job){path, commits, 0};
    if (pthread_create(&thread[i], NULL, commit_in_thread, &jobs[i]) != 0) break;
    started++;
  }
  for (i = 0; i < started; i++) {
    (void)pthread_join(thread[i], NULL); /* it was started above */
    sum += jobs[i].acknowledged;
  }
  (void)snprintf(agent_values, sizeof agent_values, "%ld|0", sum);
  return started == n ? SQLITE_OK : SQLITE_ERROR;
}

/* ---- one writer of several, which may be killed at any time */

static int log_fd;

static void note(const char *what, const char *detail)
{
  char line[128];
  int n = snprintf(line, sizeof line, "%s %s\n", what, detail);

  if (write(log_fd, line, (size_t)n) != n) _exit(3); /* what is not in the log must not count */
}

static int line_is_waiting(void)
{
  struct pollfd ready = {0, POLLIN, 0};

  return poll(&ready, 1, 0) > 0;
}

/* All rows of t have one version, and the log has a line for each: both in one read transaction. */
static void look_for_torn(void)
{
  int rc = agent_sql("SELECT count(DISTINCT v) = 1 AND max(v) = (SELECT count(*) FROM log) FROM t");

  if (rc != SQLITE_OK && (rc & 0xff) != SQLITE_BUSY)
    note("error", sqlite3_errmsg(agent_db));
  else if (rc == SQLITE_OK && strcmp(agent_values, "1") != 0)
    note("torn", agent_values);
}

int work_storm(const char *who, const char *log)
{
  char text[300], id[80];
  long n;

  log_fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (log_fd < 0) return SQLITE_CANTOPEN;
  (void)sqlite3_busy_timeout(agent_db, STORM_BUSY_MS);
  while (!line_is_waiting() && agent_sql(agent_first) != SQLITE_OK) continue; /* busy, for ten seconds each */
  for (n = 0; !line_is_waiting(); n++) {
    int rc;

    (void)snprintf(id, sizeof id, "%.40s.%ld", who, n);
    (void)snprintf(
        text, sizeof text,
        "BEGIN IMMEDIATE; UPDATE t SET v = v + 1; INSERT INTO log VALUES('%s', (SELECT max(v) FROM t)); "
        "COMMIT",
        id);
    rc = agent_sql(text);
    if (rc == SQLITE_OK)
      note("commit", id);
    else if ((rc & 0xff) != SQLITE_BUSY)
      note("error", sqlite3_errmsg(agent_db));
    if (!sqlite3_get_autocommit(agent_db))
      (void)agent_sql("ROLLBACK"); /* what it says is known from the error above */
    look_for_torn();
  }
  (void)!fgets(text, sizeof text, stdin); /* that line */
  (void)close(log_fd);                    /* every line was written at once */
  return SQLITE_OK;
}

int work_found(const char *log)
{
  char line[160];
  long commits = 0, missing = 0, errors = 0, torn = 0;
  sqlite3_stmt *look = NULL;
  FILE *in = fopen(log, "r");
  int rc = sqlite3_prepare_v2(agent_db, "SELECT 1 FROM log WHERE who = ?", -1, &look, NULL);

  while (rc == SQLITE_OK && in != NULL && fgets(line, sizeof line, in) != NULL) {
    line[strcspn(line, "\n")] = '\0';
    errors += strncmp(line, "error ", 6) == 0;
    torn += strncmp(line, "torn ", 5) == 0;
    if (strncmp(line, "commit ", 7) != 0) continue;
    commits++;
    (void)sqlite3_bind_text(look, 1, line + 7, -1, SQLITE_TRANSIENT); /* without memory it is not found */
    missing += sqlite3_step(look) != SQLITE_ROW;
    (void)sqlite3_reset(look); /* its result was the step's */
  }
  (void)sqlite3_finalize(look);
  if (in != NULL) (void)fclose(in); /* only read */
  (void)snprintf(agent_values, sizeof agent_values, "%ld|%ld|%ld|%ld", commits, missing, errors, torn);
  return rc;
}

int work_reads(long n)
{
  int rc = SQLITE_OK;

  for (; n > 0 && rc == SQLITE_OK; n--) {
    (void)sqlite3_db_release_memory(agent_db);
    rc = agent_sql("SELECT v FROM c");
  }
  return rc;
}
