/*
 * agent.c - one SQLite process of the lab, told over its stdin what to do, one line at a time.
 *
 *   agent [--shim FILE] [--client PID]
 *
 * Without --shim it is plain SQLite. With --client it lives in that process's network, host name and
 * mounts: it is another machine's process. What a case means is decided in cases.c; this file only
 * obeys and answers each command with one line, "ok VALUES" or "error CODE TEXT":
 *
 *   open PATH       open for reading and writing, create if absent; the header is read at once
 *   connect PATH    the same, and nothing is read yet
 *   sql TEXT        run statements; values of all rows, separated by '|'
 *   commits N WHO   N transactions "count up, write it down": how many were acknowledged, the last code
 *   die-after N     kill this process after its Nth write to a database file from now on
 *   other PATH      a second connection, for reading only, which reads once and stays
 *   other-reads     it reads again
 *   threads N M PATH   N threads with a connection each make M commits each: how many were acknowledged
 *   fork            a child writes through the connection: the code that it got
 *   stray PATH      open and close the file, as some other code of a program may do
 *   first SQL       what the next storm begins with, when it can
 *   storm WHO LOG   write and read until a line comes in; each outcome is a line of LOG, written at once
 *   found LOG       how many of LOG's commits there are and how many of them are not found, its errors, torn
 *   reads N         N read transactions, each in a cache of its own
 *   stop-at-unlink  before it next deletes a journal, or empties it by its name, say "stopped" and wait for a
 * line stop-after-steps N   when a statement has made N steps of SQLite's machine, do so close
 */
#include "agent.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BUSY_MS = 3000 };

sqlite3 *agent_db;
char agent_values[AGENT_LINE_BYTES], agent_first[AGENT_LINE_BYTES];
static long writes_left; /* 0: not armed */
static int stop_at_unlink, stop_in_statement;
static sqlite3 *other;

typedef ssize_t pwrite_fn(int, const void *, size_t, off_t);
static pwrite_fn *next_pwrite;
typedef int unlink_fn(const char *);
static unlink_fn *next_unlink;

/* ---- dying in mid-commit: the unix VFS writes every page through this pointer */

static int is_database(int fd)
{
  char link[64], path[4096];
  ssize_t n;

  (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  n = readlink(link, path, sizeof path - 1);
  return n > 3 && memcmp(path + n - 3, ".db", 3) == 0;
}

static ssize_t counted_pwrite(int fd, const void *data, size_t size, off_t at)
{
  ssize_t n = next_pwrite(fd, data, size, at);

  if (writes_left > 0 && is_database(fd) && --writes_left == 0) (void)raise(SIGKILL);
  return n;
}

/* The answer to the command comes later, so the asker hears two lines. */
static void stop_here(int *armed)
{
  char line[16];

  *armed = 0;
  printf("stopped\n");
  (void)fflush(stdout);                   /* as in obey() */
  (void)!fgets(line, sizeof line, stdin); /* the end of input lets it go on, too */
}

static int waiting_unlink(const char *path)
{
  if (stop_at_unlink && strstr(path, "-journal") != NULL) stop_here(&stop_at_unlink);
  return next_unlink(path);
}

/* Found before libc's by the shim, which empties journals where it does not delete them. */
int truncate(const char *path, off_t size)
{
  if (stop_at_unlink && strstr(path, "-journal") != NULL) stop_here(&stop_at_unlink);
  return (int)syscall(SYS_truncate, path, size);
}

static int waiting_step(void *unused)
{
  (void)unused;
  if (stop_in_statement) stop_here(&stop_in_statement);
  return 0;
}

/* Below whatever is loaded later: the shim overrides other calls, and chains to what it finds. */
static int hook_calls(void)
{
  sqlite3_vfs *unix_vfs = sqlite3_vfs_find("unix");
  const char *name = "pwrite64";

  if (unix_vfs == NULL || unix_vfs->iVersion < 3) return -1;
  next_pwrite = (pwrite_fn *)unix_vfs->xGetSystemCall(unix_vfs, name);
  if (next_pwrite == NULL) {
    name = "pwrite";
    next_pwrite = (pwrite_fn *)unix_vfs->xGetSystemCall(unix_vfs, name);
  }
  next_unlink = (unlink_fn *)unix_vfs->xGetSystemCall(unix_vfs, "unlink");
  if (next_pwrite == NULL || next_unlink == NULL) return -1;
  if (unix_vfs->xSetSystemCall(unix_vfs, "unlink", (sqlite3_syscall_ptr)waiting_unlink) != SQLITE_OK)
    return -1;
  return unix_vfs->xSetSystemCall(unix_vfs, name, (sqlite3_syscall_ptr)counted_pwrite);
}

/* ---- birth */

static int join_client(const char *pid)
{
  static const char *const kinds[] = {"net", "uts", "mnt"};
  char path[64];
  size_t i;

  for (i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    int fd, rc;

    (void)snprintf(path, sizeof path, "/proc/%s/ns/%s", pid, kinds[i]);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    rc = setns(fd, 0);
    (void)close(fd); /* nothing was written through it */
    if (rc != 0) return -1;
  }
  return 0;
}

/* As a program would do it: on a connection of its own that needs no file. */
static int load_shim(const char *file)
{
  sqlite3 *memory = NULL;
  char *why = NULL;
  int rc = sqlite3_open(":memory:", &memory);

  if (rc == SQLITE_OK) rc = sqlite3_enable_load_extension(memory, 1);
  if (rc == SQLITE_OK) rc = sqlite3_load_extension(memory, file, NULL, &why);
  if (rc != SQLITE_OK) printf("error %d %s\n", rc, why != NULL ? why : "cannot load the shim");
  sqlite3_free(why);
  (void)sqlite3_close(memory); /* the extension stays: it is loaded permanently */
  return rc == SQLITE_OK ? 0 : -1;
}

/* ---- commands */

static int add_values(void *unused, int n, char **texts, char **names)
{
  size_t used = strlen(agent_values);
  int i;

  (void)unused;
  (void)names;
  for (i = 0; i < n; i++) {
    (void)snprintf(agent_values + used, sizeof agent_values - used, "%s%s", used > 0 ? "|" : "",
                   texts[i] ? texts[i] : "NULL");
    used = strlen(agent_values);
  }
  return 0;
}

int agent_sql(const char *text)
{
  agent_values[0] = '\0';
  return sqlite3_exec(agent_db, text, add_values, NULL, NULL);
}

static void answer(int rc)
{
  char *p;

  if (rc == SQLITE_OK) {
    for (p = agent_values; *p != '\0'; p++) {
      if (*p == '\n') *p = ' ';
    }
    printf("ok %s\n", agent_values);
  } else {
    printf("error %d %s\n", rc, agent_db != NULL ? sqlite3_errmsg(agent_db) : sqlite3_errstr(rc));
  }
}

static void close_database(void)
{
  (void)sqlite3_close(other);
  other = NULL;
  (void)sqlite3_close(agent_db); /* no statement is open between commands */
  agent_db = NULL;
}

static int connect_to(const char *path)
{
  int rc;

  (void)sqlite3_close(agent_db); /* no statement is open between commands; the other connection stays */
  agent_db = NULL;
  agent_values[0] = '\0';
  rc = sqlite3_open_v2(path, &agent_db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);
  if (rc != SQLITE_OK) return rc;
  return sqlite3_busy_timeout(agent_db, BUSY_MS);
}

static int open_database(const char *path)
{
  int rc = connect_to(path);

  return rc != SQLITE_OK ? rc : agent_sql("PRAGMA schema_version");
}

static int other_reads(void)
{
  return sqlite3_exec(other, "SELECT count(*) FROM sqlite_master", NULL, NULL, NULL);
}

static int open_other(const char *path)
{
  int rc = sqlite3_open_v2(path, &other, SQLITE_OPEN_READONLY, NULL);

  return rc != SQLITE_OK ? rc : other_reads();
}

/* A connection used in a child that did not open it, by mistake or by a library that forks. */
static int use_in_child(void)
{
  pid_t child;
  int status = 0;

  (void)fflush(stdout); /* nothing may be printed twice */
  child = fork();
  if (child < 0) return SQLITE_NOMEM;
  if (child == 0) {
    int rc = sqlite3_exec(agent_db, "INSERT INTO log(who) VALUES('child'); COMMIT", NULL, NULL, NULL);

    _exit(rc & 0xff);
  }
  if (waitpid(child, &status, 0) != child) return SQLITE_ERROR;
  (void)snprintf(agent_values, sizeof agent_values, "%d", WIFEXITED(status) ? WEXITSTATUS(status) : -1);
  return SQLITE_OK;
}

static int stray(const char *path)
{
  int fd = open(path, O_RDONLY | O_CLOEXEC);

  return fd < 0 || close(fd) != 0 ? SQLITE_CANTOPEN : SQLITE_OK;
}

static void obey(char *line)
{
  char *rest = strchr(line, ' ');

  if (rest != NULL) *rest++ = '\0';
  if (strcmp(line, "open") == 0 && rest != NULL) {
    answer(open_database(rest));
  } else if (strcmp(line, "connect") == 0 && rest != NULL) {
    answer(connect_to(rest));
  } else if (strcmp(line, "sql") == 0 && rest != NULL && agent_db != NULL) {
    answer(agent_sql(rest));
  } else if (strcmp(line, "commits") == 0 && rest != NULL && agent_db != NULL) {
    char *who;
    long n = strtol(rest, &who, 10);

    answer(work_commits(n, who + (*who == ' ')));
  } else if (strcmp(line, "die-after") == 0 && rest != NULL) {
    writes_left = strtol(rest, NULL, 10);
    agent_values[0] = '\0';
    answer(SQLITE_OK);
  } else if (strcmp(line, "other") == 0 && rest != NULL) {
    agent_values[0] = '\0';
    answer(open_other(rest));
  } else if (strcmp(line, "other-reads") == 0 && other != NULL) {
    agent_values[0] = '\0';
    answer(other_reads());
  } else if (strcmp(line, "fork") == 0 && agent_db != NULL) {
    answer(use_in_child());
  } else if (strcmp(line, "threads") == 0 && rest != NULL) {
    char *at, *path;
    int n = (int)strtol(rest, &at, 10);
    long commits = strtol(at, &path, 10);

    answer(work_threads(n, commits, path + (*path == ' ')));
  } else if (strcmp(line, "stray") == 0 && rest != NULL) {
    agent_values[0] = '\0';
    answer(stray(rest));
  } else if (strcmp(line, "first") == 0 && rest != NULL) {
    (void)snprintf(agent_first, sizeof agent_first, "%s", rest);
    agent_values[0] = '\0';
    answer(SQLITE_OK);
  } else if (strcmp(line, "storm") == 0 && rest != NULL && strchr(rest, ' ') != NULL && agent_db != NULL) {
    char *log = strchr(rest, ' ');

    *log++ = '\0';
    answer(work_storm(rest, log));
  } else if (strcmp(line, "found") == 0 && rest != NULL && agent_db != NULL) {
    answer(work_found(rest));
  } else if (strcmp(line, "reads") == 0 && rest != NULL && agent_db != NULL) {
    answer(work_reads(strtol(rest, NULL, 10)));
  } else if (strcmp(line, "stop-at-unlink") == 0) {
    stop_at_unlink = 1;
    agent_values[0] = '\0';
    answer(SQLITE_OK);
  } else if (strcmp(line, "stop-after-steps") == 0 && rest != NULL && agent_db != NULL) {
    stop_in_statement = 1;
    sqlite3_progress_handler(agent_db, atoi(rest), waiting_step, NULL);
    agent_values[0] = '\0';
    answer(SQLITE_OK);
  } else if (strcmp(line, "close") == 0) {
    close_database();
    agent_values[0] = '\0';
    answer(SQLITE_OK);
  } else {
    printf("error 21 bad command\n");
  }
  (void)fflush(stdout); /* the asker waits for this line; if it is gone, so is stdin */
}

int main(int argc, char **argv)
{
  static char line[AGENT_LINE_BYTES];
  int i;

  for (i = 1; i + 1 < argc; i += 2) {
    if (strcmp(argv[i], "--client") == 0 && join_client(argv[i + 1]) != 0) {
      perror("agent: setns");
      return 1;
    }
  }
  /* So that poll() sees a line that came with the one before it. */
  if (setvbuf(stdin, NULL, _IONBF, 0) != 0) return 1;
  if (hook_calls() != 0) {
    fprintf(stderr, "agent: no system call to hook in the unix VFS\n");
    return 1;
  }
  for (i = 1; i + 1 < argc; i += 2) {
    if (strcmp(argv[i], "--shim") == 0 && load_shim(argv[i + 1]) != 0) return 1;
  }
  printf("ok ready\n");
  (void)fflush(stdout); /* as in obey() */
  while (fgets(line, sizeof line, stdin) != NULL) {
    line[strcspn(line, "\n")] = '\0';
    obey(line);
  }
  close_database();
  return 0;
}
