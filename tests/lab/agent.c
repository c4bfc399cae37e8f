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
 *   sql TEXT        run statements; values of all rows, separated by '|'
 *   commits N WHO   N transactions "count up, write it down": how many were acknowledged, the last code
 *   die-after N     kill this process after its Nth write to a database file from now on
 *   close
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BUSY_MS = 3000, COMMIT_BUSY_MS = 10000, LINE_BYTES = 8192 };

static sqlite3 *db;
static char values[LINE_BYTES];
static long writes_left; /* 0: not armed */

typedef ssize_t pwrite_fn(int, const void *, size_t, off_t);
static pwrite_fn *next_pwrite;

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

/* Below whatever is loaded later: the shim overrides other calls, and chains to what it finds. */
static int hook_pwrite(void)
{
  sqlite3_vfs *unix_vfs = sqlite3_vfs_find("unix");
  const char *name = "pwrite64";

  if (unix_vfs == NULL || unix_vfs->iVersion < 3) return -1;
  next_pwrite = (pwrite_fn *)unix_vfs->xGetSystemCall(unix_vfs, name);
  if (next_pwrite == NULL) {
    name = "pwrite";
    next_pwrite = (pwrite_fn *)unix_vfs->xGetSystemCall(unix_vfs, name);
  }
  if (next_pwrite == NULL) return -1;
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
  size_t used = strlen(values);
  int i;

  (void)unused;
  (void)names;
  for (i = 0; i < n; i++) {
    (void)snprintf(values + used, sizeof values - used, "%s%s", used > 0 ? "|" : "",
                   texts[i] ? texts[i] : "NULL");
    used = strlen(values);
  }
  return 0;
}

static int sql(const char *text)
{
  values[0] = '\0';
  return sqlite3_exec(db, text, add_values, NULL, NULL);
}

static void answer(int rc)
{
  char *p;

  if (rc == SQLITE_OK) {
    for (p = values; *p != '\0'; p++) {
      if (*p == '\n') *p = ' ';
    }
    printf("ok %s\n", values);
  } else {
    printf("error %d %s\n", rc, db != NULL ? sqlite3_errmsg(db) : sqlite3_errstr(rc));
  }
}

static void close_database(void)
{
  (void)sqlite3_close(db); /* no statement is open between commands */
  db = NULL;
}

static int open_database(const char *path)
{
  int rc;

  close_database();
  values[0] = '\0';
  rc = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);
  if (rc != SQLITE_OK) return rc;
  (void)sqlite3_busy_timeout(db, BUSY_MS);
  return sql("PRAGMA schema_version");
}

/* Stops at the first one that is refused: nothing is tried again, so nothing is hidden. */
static int commits(long n, const char *who)
{
  char text[256];
  long i, acknowledged = 0;
  int rc = SQLITE_OK;

  (void)sqlite3_busy_timeout(db, COMMIT_BUSY_MS);
  (void)snprintf(text, sizeof text,
                 "BEGIN IMMEDIATE; UPDATE c SET v = v + 1; INSERT INTO log SELECT '%.40s', v FROM c; COMMIT",
                 who);
  for (i = 0; i < n && rc == SQLITE_OK; i++) {
    rc = sql(text);
    acknowledged += rc == SQLITE_OK;
  }
  (void)snprintf(values, sizeof values, "%ld|%d", acknowledged, rc);
  return SQLITE_OK;
}

static void obey(char *line)
{
  char *rest = strchr(line, ' ');

  if (rest != NULL) *rest++ = '\0';
  if (strcmp(line, "open") == 0 && rest != NULL) {
    answer(open_database(rest));
  } else if (strcmp(line, "sql") == 0 && rest != NULL && db != NULL) {
    answer(sql(rest));
  } else if (strcmp(line, "commits") == 0 && rest != NULL && db != NULL) {
    char *who;
    long n = strtol(rest, &who, 10);

    answer(commits(n, who + (*who == ' ')));
  } else if (strcmp(line, "die-after") == 0 && rest != NULL) {
    writes_left = strtol(rest, NULL, 10);
    values[0] = '\0';
    answer(SQLITE_OK);
  } else if (strcmp(line, "close") == 0) {
    close_database();
    values[0] = '\0';
    answer(SQLITE_OK);
  } else {
    printf("error 21 bad command\n");
  }
  (void)fflush(stdout); /* the asker waits for this line; if it is gone, so is stdin */
}

int main(int argc, char **argv)
{
  static char line[LINE_BYTES];
  int i;

  for (i = 1; i + 1 < argc; i += 2) {
    if (strcmp(argv[i], "--client") == 0 && join_client(argv[i + 1]) != 0) {
      perror("agent: setns");
      return 1;
    }
  }
  if (hook_pwrite() != 0) {
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
