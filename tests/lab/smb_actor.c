/*
 * smb_actor.c - one of the two processes of smb_drops.c: it stops at a point of its transaction until it is
 * told to go on.
 */
#include "smb_actor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ANSWER_MS = 120000, BUSY_MS = 30000 };

const char *actor_shim, *actor_client2;
char actor_db[1024];
long actor_lowest, actor_highest;

void actor_fail(const char *what)
{
  printf("lab failed: %s: %s\n", what, strerror(errno));
  (void)fflush(stdout);
  _exit(1);
}

void actor_nap(int ms)
{
  struct timespec t = {ms / 1000, ms % 1000 * 1000000L};
  (void)nanosleep(&t, NULL); /* woken early is fine */
}

/* ---- one process */

static int to_parent, from_parent, stop_point = -1, pages;

static void say(char what, int number)
{
  char text[32];
  int n = snprintf(text, sizeof text, "%c %d\n", what, number);
  if (write(to_parent, text, (size_t)n) != n) _exit(1);
}

static void wait_here(void)
{
  char byte;
  stop_point = -1; /* once */
  say('p', 0);
  if (read(from_parent, &byte, 1) != 1) _exit(1);
}

static int kind_of(int fd)
{
  char link[64], path[1100];
  ssize_t n;

  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  n = readlink(link, path, sizeof path - 1);
  if (n < 9) return 0;
  path[n] = 0;
  return strcmp(path + n - 3, ".db") == 0 ? 1 : strcmp(path + n - 8, "-journal") == 0 ? 2 : 0;
}

typedef ssize_t pwrite_fn(int, const void *, size_t, off_t);
static pwrite_fn *next_pwrite;

static ssize_t on_pwrite(int fd, const void *data, size_t size, off_t at)
{
  int kind = stop_point < 0 ? 0 : kind_of(fd);
  ssize_t n;

  if ((kind == 1 && stop_point == IN_PAGE) || (kind == 2 && stop_point == IN_SEAL && size == 12)) wait_here();
  n = next_pwrite(fd, data, size, at);
  pages += kind == 1;
  if ((kind == 1 && stop_point == AT_FIRST_PAGE) ||
      (kind == 1 && stop_point == AT_LATER_PAGE && pages == 6) ||
      (kind == 1 && stop_point == AT_LAST_PAGES && at == 0) ||
      (kind == 2 && stop_point == AT_SEALED && size == 12))
    wait_here();
  return n;
}

/* Below the shim, which chains to what it finds. */
static void hook(void)
{
  sqlite3_vfs *vfs = sqlite3_vfs_find("unix");
  const char *name = vfs->xGetSystemCall(vfs, "pwrite64") ? "pwrite64" : "pwrite";

  next_pwrite = (pwrite_fn *)vfs->xGetSystemCall(vfs, name);
  if (vfs->xSetSystemCall(vfs, name, (sqlite3_syscall_ptr)on_pwrite)) actor_fail("hooks");
}

static void join_client(const char *pid)
{
  static const char *const kinds[] = {"net", "uts", "mnt"};
  char path[64];

  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    int fd;
    snprintf(path, sizeof path, "/proc/%s/ns/%s", pid, kinds[i]);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || setns(fd, 0)) actor_fail("joining client 2");
    close(fd);
  }
}

static void tell_all(void *unused, int code, const char *text)
{
  (void)unused;
  fprintf(stderr, "%d: %d %s\n", (int)getpid(), code, text);
}

static sqlite3 *open_db(const char *mode)
{
  sqlite3 *db = NULL, *memory = NULL;
  char text[200];

  if (getenv("SMB_DROPS_LOG")) (void)sqlite3_config(SQLITE_CONFIG_LOG, tell_all, NULL);
  hook();
  if (actor_shim && (sqlite3_open(":memory:", &memory) || sqlite3_enable_load_extension(memory, 1) ||
                     sqlite3_load_extension(memory, actor_shim, NULL, NULL)))
    actor_fail("loading the shim");
  (void)sqlite3_close(memory);
  snprintf(text, sizeof text, "PRAGMA cache_size=4; PRAGMA journal_mode=%s; SELECT * FROM t", mode);
  if (sqlite3_open(actor_db, &db)) actor_fail("opening");
  (void)sqlite3_busy_timeout(db, BUSY_MS);
  (void)sqlite3_exec(db, text, NULL, NULL, NULL); /* if it fails, so does what follows, and is shown */
  return db;
}

int actor_row(void *unused, int columns, char **values, char **names)
{
  long v = atol(values[0]);
  (void)unused, (void)columns, (void)names;
  if (v < actor_lowest) actor_lowest = v;
  if (v > actor_highest) actor_highest = v;
  return 0;
}

static int read_all(sqlite3 *db, bool stops)
{
  int rc;

  actor_lowest = 1L << 40, actor_highest = -1;
  rc = sqlite3_exec(db, "BEGIN; SELECT v FROM t WHERE id < 12", actor_row, NULL, NULL);
  if (rc == SQLITE_OK && stops) wait_here();
  if (rc == SQLITE_OK) rc = sqlite3_exec(db, "SELECT v FROM t WHERE id >= 12; COMMIT", actor_row, NULL, NULL);
  if (rc && !sqlite3_get_autocommit(db)) (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
  return rc ? rc : actor_lowest == actor_highest ? SQLITE_OK : -1; /* -1: torn */
}

static int write_all(sqlite3 *db, int amount)
{
  char text[100];
  int rc;

  pages = 0;
  snprintf(text, sizeof text, "UPDATE t SET v = v + %d", amount);
  if (stop_point == AT_IDLE) wait_here();
  rc = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
  if (rc == SQLITE_OK && stop_point == AT_RESERVED) wait_here();
  if (rc == SQLITE_OK) rc = sqlite3_exec(db, text, NULL, NULL, NULL);
  if (rc == SQLITE_OK && stop_point == AT_CHANGED) wait_here();
  if (rc == SQLITE_OK && stop_point == AT_ROLLBACK) {
    wait_here();
    rc = sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return rc ? sqlite3_extended_errcode(db) : SQLITE_ABORT; /* it is not in the database, as A wanted */
  }
  if (rc == SQLITE_OK) rc = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
  if (rc) rc = sqlite3_extended_errcode(db);
  if (rc && !sqlite3_get_autocommit(db)) (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
  return rc;
}

static void process(const char *mode, bool is_a, int point)
{
  sqlite3 *db;
  char command;

  if (is_a) join_client(actor_client2);
  db = open_db(mode);
  say('r', 0);
  while (read(from_parent, &command, 1) == 1) {
    int rc;
    stop_point = command == 's' ? point : -1;
    if (command == 's')
      rc = point == AT_READING ? read_all(db, true) : write_all(db, 1);
    else if (command == 'w')
      rc = write_all(db, is_a ? 1 : 1000);
    else
      rc = read_all(db, false);
    say('e', rc);
  }
  (void)sqlite3_close(db);
  _exit(0);
}

actor actor_start(const char *mode, bool is_a, int point)
{
  int down[2], up[2];
  actor it;

  if (pipe2(down, O_CLOEXEC) || pipe2(up, O_CLOEXEC)) actor_fail("pipe");
  it.pid = fork();
  if (it.pid < 0) actor_fail("fork");
  if (it.pid == 0) {
    close(down[1]), close(up[0]);
    from_parent = down[0], to_parent = up[1];
    process(mode, is_a, point);
  }
  close(down[0]), close(up[1]);
  it.to = down[1], it.from = up[0];
  return it;
}

void actor_tell(const actor *it, char what)
{
  if (write(it->to, &what, 1) != 1) actor_fail("actor gone");
}

char actor_hear(const actor *it, int *rc)
{
  struct pollfd ready = {it->from, POLLIN, 0};
  char text[32];
  size_t n = 0;

  while (n + 1 < sizeof text) {
    if (poll(&ready, 1, ANSWER_MS) <= 0 || read(it->from, text + n, 1) != 1) return 0;
    if (text[n++] == '\n') break;
  }
  text[n] = 0;
  *rc = atoi(text + 1);
  return *text;
}

void actor_finish(actor *it)
{
  close(it->to);
  close(it->from);
  (void)kill(it->pid, SIGKILL);
  while (waitpid(it->pid, NULL, 0) < 0 && errno == EINTR) continue;
}
