/*
 * locks_holders.c - who holds the lock? One process holds each lock of SQLite, plain or with the shim; others
 * ask: a program that only looks (as `holdfast locks` does), the PRAGMA and the table of a process that has
 * the shim, somebody without rights, somebody in a container.
 *
 * The right lock, process, name and state must come back, nothing else, and the looking must not drop or take
 * a lock: the holder's locks are counted before and after. F13: a stopped or frozen holder is called so.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "holdfast.h"
#include "scene.h"

typedef struct held {
  const char *name, *mode;
  const char *take;   /* of the holder */
  const char *reader; /* of a second process, before; NULL = none */
  const char *lock, *rights;
} held;

static const held all[] = {
    {"a reader", "delete", "BEGIN; SELECT count(*) FROM t", NULL, "SHARED", "read"},
    {"a writer", "delete", "BEGIN IMMEDIATE", NULL, "RESERVED", "write"},
    {"a writer that waits for a reader", "delete", "BEGIN IMMEDIATE; INSERT INTO t(who) VALUES(1); COMMIT",
     "BEGIN; SELECT count(*) FROM t", "PENDING", "write"},
    {"a writer that has spilled", "delete", "BEGIN EXCLUSIVE", NULL, "EXCLUSIVE", "write"},
    {"a reader", "wal", "BEGIN; SELECT count(*) FROM t", NULL, "WAL_READ1", "read"},
    {"a writer", "wal", "BEGIN IMMEDIATE", NULL, "WAL_WRITE", "write"},
    {"an idle connection", "wal", "SELECT 1", NULL, "DMS", "read"},
};
enum { HELD = sizeof all / sizeof all[0] };

static const holdfast_holder *row_of(const holdfast_holders *rows, const char *lock, pid_t pid)
{
  for (int i = 0; i < rows->count; i++)
    if (!strcmp(rows->at[i].lock, lock) && rows->at[i].pid == pid) return &rows->at[i];
  return NULL;
}

static void look(holdfast_holders *rows)
{
  memset(rows, 0, sizeof *rows);
  rows->struct_size = sizeof *rows;
  CHECK_INT("looking", holdfast_lock_holders(SCENE_DB, rows), SQLITE_OK);
}

/* The name that the kernel has for this very program, of which every peer is a fork. */
static const char *own_name(void)
{
  static char name[64];
  FILE *file = fopen("/proc/self/comm", "re");

  if (!file || !fgets(name, sizeof name, file)) check_broken("/proc/self/comm");
  (void)fclose(file);
  name[strcspn(name, "\n")] = 0;
  return name;
}

static void check_outside(const held *h, pid_t pid, const char *state)
{
  const holdfast_holder *row;
  holdfast_holders rows;

  look(&rows);
  row = row_of(&rows, h->lock, pid);
  if (!row) {
    CHECK_STR("the lock that is held", "not found", h->lock);
    for (int i = 0; i < rows.count; i++)
      printf("  there is %s of %lld\n", rows.at[i].lock, (long long)rows.at[i].pid);
  } else {
    CHECK_STR("its mode", row->mode, h->rights);
    CHECK_STR("its holder's program", row->command, own_name());
    CHECK_STR("its holder's state", row->state, state);
    CHECK_INT("is it mine", row->mine, 0);
  }
  CHECK_INT("all is seen", rows.complete, 1);
  holdfast_holders_free(&rows);
}

/* The same by SQL, from a process that has the database open through the shim. */
static void check_asker(peer *asker, const held *h, pid_t pid, const char *state)
{
  char sql[300], want[200];

  (void)snprintf(sql, sizeof sql,
                 "SELECT mode, command, state, mine, since_ms IS NULL FROM holdfast_lock_holders "
                 "WHERE lock='%s' AND pid=%d AND path LIKE '%%/" SCENE_DB "'",
                 h->lock, (int)pid);
  (void)snprintf(want, sizeof want, "%s|%s|%s|0|1", h->rights, own_name(), state);
  CHECK_STR("the table", peer_ask(asker, 1, sql), want);
  (void)snprintf(want, sizeof want,
                 "\"lock\":\"%s\",\"mode\":\"%s\",\"pid\":%d,\"command\":\"%s\",\"state\":\"%s\"", h->lock,
                 h->rights, (int)pid, own_name(), state);
  CHECK_HAS("the PRAGMA", peer_ask(asker, 0, "PRAGMA holdfast_lock_holders"), want);
}

/* The locks that a process has taken, through whatever descriptor. Not counted in /proc/locks: the kernel
 * hands that out in pieces, and other tests' locks come and go between them. */
static int locks_of(pid_t pid)
{
  char name[64], line[256];
  struct dirent *entry;
  int count = 0;
  DIR *fds;

  (void)snprintf(name, sizeof name, "/proc/%d/fdinfo", (int)pid);
  fds = opendir(name);
  if (!fds) check_broken(name);
  while ((entry = readdir(fds)) != NULL) {
    int fd = openat(dirfd(fds), entry->d_name, O_RDONLY | O_CLOEXEC);
    FILE *list = fd < 0 || entry->d_name[0] == '.' ? NULL : fdopen(fd, "r");
    while (list && fgets(line, sizeof line, list)) count += strncmp(line, "lock:", 5) == 0;
    if (list)
      (void)fclose(list);
    else if (fd >= 0)
      (void)close(fd);
  }
  (void)closedir(fds);
  return count;
}

static void one(const held *h, int holder_shim)
{
  peer *reader = NULL, *asker, *holder;
  int before, asking, rc;

  scene_make(h->mode, strcmp(h->mode, "wal") ? NULL : "INSERT INTO t(who) VALUES(0)");
  asker = scene_peer(SHIM_YES);
  CHECK_INT("a connection that can always ask", peer_open(asker, 1, ":memory:", 0), SQLITE_OK);
  holder = scene_peer(holder_shim);
  if (strcmp(h->mode, "wal") == 0) scene_must(holder, "INSERT INTO t(who) VALUES(1)"); /* a mark above 0 */
  if (h->reader) {
    reader = scene_peer(holder_shim);
    scene_must(reader, h->reader);
  }
  if (strcmp(h->lock, "DMS") != 0) {
    holdfast_holders rows;
    look(&rows);
    CHECK_TRUE("before, nobody holds it", !row_of(&rows, h->lock, peer_pid(holder)));
    holdfast_holders_free(&rows);
  }
  rc = peer_sql(holder, 0, h->take);
  CHECK_INT("taking it", rc & 0xff, h->reader ? SQLITE_BUSY : SQLITE_OK);
  before = locks_of(peer_pid(holder));
  asking = locks_of(peer_pid(asker)) + locks_of(getpid());
  CHECK_TRUE("the holder holds some", before > 0);
  check_outside(h, peer_pid(holder), "running");
  check_asker(asker, h, peer_pid(holder), "running");
  CHECK_INT("SIGSTOP", kill(peer_pid(holder), SIGSTOP), 0);
  while (waitpid(peer_pid(holder), &rc, WUNTRACED) > 0 && !WIFSTOPPED(rc)) continue;
  check_outside(h, peer_pid(holder), "stopped");
  check_asker(asker, h, peer_pid(holder), "stopped");
  CHECK_INT("SIGCONT", kill(peer_pid(holder), SIGCONT), 0);
  CHECK_INT("the holder's locks after all the looking", locks_of(peer_pid(holder)), before);
  CHECK_INT("and of those who looked", locks_of(peer_pid(asker)) + locks_of(getpid()), asking);
  if (reader) CHECK_INT("the reader's end", peer_end(reader), 0);
  CHECK_INT("the holder's end", peer_end(holder), 0);
  CHECK_INT("the asker's end", peer_end(asker), 0);
}

/* ---------------------------------------------------------------- those who may not see all */

/* Runs body in a child and returns what it printed. */
static const char *in_child(void (*body)(FILE *out))
{
  static char text[4000];
  int ends[2], status;
  size_t used = 0;
  ssize_t n;
  pid_t pid;

  if (pipe(ends)) check_broken("pipe");
  (void)fflush(stdout);
  pid = fork();
  if (pid < 0) check_broken("fork");
  if (pid == 0) {
    FILE *out = fdopen(ends[1], "w");
    body(out);
    (void)fclose(out);
    _exit(0);
  }
  (void)close(ends[1]);
  while ((n = read(ends[0], text + used, sizeof text - 1 - used)) > 0) used += (size_t)n;
  text[used] = 0;
  (void)close(ends[0]);
  (void)waitpid(pid, &status, 0);
  return text;
}

static void print_rows(FILE *out)
{
  holdfast_holders rows = {.struct_size = sizeof rows};

  (void)fprintf(out, "rc %d\n", holdfast_lock_holders(SCENE_DB, &rows));
  for (int i = 0; i < rows.count; i++)
    (void)fprintf(out, "%s %lld %s\n", rows.at[i].lock, (long long)rows.at[i].pid, rows.at[i].state);
  (void)fprintf(out, "complete %d %s\n", rows.complete, rows.unseen);
  holdfast_holders_free(&rows);
}

static void as_nobody(FILE *out)
{
  if (setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534))
    (void)fprintf(out, "setresuid\n");
  else
    print_rows(out);
}

/* In a pid namespace of its own, with a /proc of its own; then through the shim, whose descriptors may ask.
 */
static void in_container(FILE *out)
{
  char text[4000];
  sqlite3 *db = NULL;
  pid_t pid;

  if (unshare(CLONE_NEWPID | CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)) {
    (void)fprintf(out, "no namespaces here: %s\n", strerror(errno));
    return;
  }
  pid = fork();
  if (pid > 0) (void)waitpid(pid, NULL, 0);
  if (pid) return;
  if (mount("proc", "/proc", "proc", 0, NULL)) {
    (void)fprintf(out, "no namespaces here: %s\n", strerror(errno));
  } else {
    print_rows(out);
    (void)setenv("HOLDFAST_LOG", "none", 1);
    if (shim_load() == SQLITE_OK && sqlite3_open(SCENE_DB, &db) == SQLITE_OK &&
        sql_text(
            db, "SELECT count(*) FROM t; SELECT lock, ifnull(pid,'nobody'), state FROM holdfast_lock_holders",
            text, sizeof text) == SQLITE_OK)
      (void)fprintf(out, "table %s\n", text);
    (void)sqlite3_close(db);
  }
  (void)fclose(out);
  _exit(0);
}

static void without_rights(int holder_shim)
{
  char line[100];
  const char *got;
  peer *holder;

  check_scene("without rights, the holder %s", holder_shim ? "with holdfast" : "plain");
  if (geteuid() != 0) {
    printf("not root: another user and a container are not tried\n");
    return;
  }
  scene_make("delete", NULL);
  CHECK_INT("chmod", chmod(".", 0755) | chmod(SCENE_DB, 0644), 0);
  holder = scene_peer(holder_shim);
  scene_must(holder, "BEGIN IMMEDIATE");
  got = in_child(as_nobody);
  /* A POSIX lock has its process beside it, an OFD lock has not. */
  (void)snprintf(line, sizeof line, "rc 0\nRESERVED %d %s\n", holder_shim ? 0 : (int)peer_pid(holder),
                 holder_shim ? "unseen" : "running");
  CHECK_HAS("another user sees the lock", got, line);
  CHECK_HAS("and is told what he cannot see", got, holder_shim ? "complete 0" : "complete 1");
  if (holder_shim) CHECK_HAS("and who could", got, "ask as root");
  got = in_child(in_container);
  if (strncmp(got, "no namespaces", 13) == 0) {
    printf("%s", got);
  } else {
    CHECK_HAS("in a container it is said that not all shows", got, "complete 0");
    CHECK_HAS("and why", got, "pid namespace");
    CHECK_HAS("the kernel answers the shim's question", got, "RESERVED|nobody|unseen");
  }
  CHECK_INT("the holder's end", peer_end(holder), 0);
}

/* ---------------------------------------------------------------- a machine with many locks */

enum { TAKERS = 2, TAKEN = 90, ASKED = 20 };

/* Takes and drops locks on many files until it is killed, so that /proc/locks is longer than a page and its
 * lines move all the time. */
static pid_t taker(int number)
{
  int fds[TAKEN];
  char name[40];
  pid_t pid;

  (void)fflush(stdout);
  pid = fork();
  if (pid < 0) check_broken("fork");
  if (pid) return pid;
  if (prctl(PR_SET_PDEATHSIG, SIGKILL)) _exit(1); /* should the program end early */
  for (int i = 0; i < TAKEN; i++) {
    (void)snprintf(name, sizeof name, "taken-%d-%d", number, i);
    fds[i] = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fds[i] < 0) _exit(1);
  }
  for (int round = 0;; round++)
    for (int i = 0; i < TAKEN; i++) {
      struct flock lock = {.l_type = (round + i) % 3 ? F_WRLCK : F_UNLCK, .l_whence = SEEK_SET, .l_len = 1};
      (void)fcntl(fds[i], F_SETLK, &lock);
    }
}

static void many_locks(void)
{
  pid_t takers[TAKERS];
  int found = 0, status;
  peer *holder;

  check_scene("a machine with many locks");
  if (geteuid() != 0) {
    printf("not root: another user is not tried\n");
    return;
  }
  scene_make("delete", NULL);
  CHECK_INT("chmod", chmod(".", 0755) | chmod(SCENE_DB, 0644), 0);
  holder = scene_peer(SHIM_YES);
  scene_must(holder, "BEGIN IMMEDIATE");
  for (int i = 0; i < TAKERS; i++) takers[i] = taker(i);
  for (int i = 0; i < ASKED; i++) found += strstr(in_child(as_nobody), "RESERVED 0 unseen") != NULL;
  CHECK_INT("times that another user saw the lock", found, ASKED);
  for (int i = 0; i < TAKERS; i++) {
    CHECK_INT("a taker lives", kill(takers[i], SIGKILL), 0);
    CHECK_INT("and has ended", waitpid(takers[i], &status, 0), takers[i]);
    CHECK_INT("by that", WIFSIGNALED(status), 1);
  }
  CHECK_INT("the holder's end", peer_end(holder), 0);
}

/* ---------------------------------------------------------------- a paused container */

#define FREEZER "/sys/fs/cgroup/freezer/holdfast-test"

static bool put(const char *name, const char *text)
{
  FILE *file = fopen(name, "we");
  bool done = file && fputs(text, file) >= 0;

  return file && fclose(file) == 0 && done;
}

static void frozen(void)
{
  char pid[20];
  peer *holder;
  bool done = false;

  check_scene("a paused container");
  if (mkdir(FREEZER, 0755) && errno != EEXIST) {
    printf("no freezer here: a paused container is not tried\n");
    return;
  }
  scene_make("delete", NULL);
  holder = scene_peer(SHIM_YES);
  scene_must(holder, "BEGIN IMMEDIATE");
  (void)snprintf(pid, sizeof pid, "%d", (int)peer_pid(holder));
  CHECK_TRUE("freezing", put(FREEZER "/cgroup.procs", pid) && put(FREEZER "/freezer.state", "FROZEN"));
  for (int i = 0; i < 5000 && !done; i++) { /* FREEZING until it is so */
    char state[32] = "";
    FILE *file = fopen(FREEZER "/freezer.state", "re");
    done = file && fgets(state, sizeof state, file) && strncmp(state, "FROZEN", 6) == 0;
    if (file) (void)fclose(file);
    if (!done) (void)usleep(1000);
  }
  check_outside(&all[1], peer_pid(holder), "frozen");
  CHECK_TRUE("thawing", put(FREEZER "/freezer.state", "THAWED"));
  CHECK_INT("the holder's end", peer_end(holder), 0);
  (void)rmdir(FREEZER);
}

int main(void)
{
  for (int i = 0; i < HELD; i++)
    for (int shim = SHIM_NO; shim <= SHIM_YES; shim++) {
      check_scene("%s, %s, %s", all[i].name, all[i].mode, shim ? "with holdfast" : "plain");
      one(&all[i], shim);
    }
  without_rights(SHIM_NO);
  without_rights(SHIM_YES);
  many_locks();
  frozen();
  return check_done();
}
