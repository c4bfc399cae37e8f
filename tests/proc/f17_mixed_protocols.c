/*
 * f17_mixed_protocols.c - F17: two ways of locking on one file.
 *
 * Programs that lock by another protocol than SQLite's fcntl bytes (unix-dotfile) do not see each other. The
 * shim changes who owns the locks, so it has to be shown that it did not become another protocol: with it in
 * one process and plain SQLite in the other they exclude each other both ways, lock for lock, a third
 * process sees the same bytes, and a stranger's flock() on the file disturbs nobody.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "check.h"
#include "crowd.h"
#include "files.h"
#include "scene.h"

/* Holder takes, other tries; want = does SQLite's protocol let it in? */
static const struct pair {
  const char *name, *mode, *take, *give, *try;
  bool lets_in;
} pairs[] = {
    {"SHARED, SHARED", "delete", "BEGIN; SELECT count(*) FROM t", "COMMIT", "SELECT count(*) FROM t", true},
    {"SHARED, RESERVED", "delete", "BEGIN; SELECT count(*) FROM t", "COMMIT", "BEGIN IMMEDIATE; ROLLBACK",
     true},
    {"SHARED, EXCLUSIVE", "delete", "BEGIN; SELECT count(*) FROM t", "COMMIT", "BEGIN EXCLUSIVE; ROLLBACK",
     false},
    {"RESERVED, SHARED", "delete", "BEGIN IMMEDIATE", "COMMIT", "SELECT count(*) FROM t", true},
    {"RESERVED, RESERVED", "delete", "BEGIN IMMEDIATE", "COMMIT", "BEGIN IMMEDIATE; ROLLBACK", false},
    {"EXCLUSIVE, SHARED", "delete", "BEGIN EXCLUSIVE", "COMMIT", "SELECT count(*) FROM t", false},
    {"EXCLUSIVE, RESERVED", "delete", "BEGIN EXCLUSIVE", "COMMIT", "BEGIN IMMEDIATE; ROLLBACK", false},
    {"locking_mode=EXCLUSIVE", "delete", "PRAGMA locking_mode=EXCLUSIVE; BEGIN EXCLUSIVE; COMMIT",
     "PRAGMA locking_mode=NORMAL; SELECT count(*) FROM t", "SELECT count(*) FROM t", false},
    {"read, read", "wal", "BEGIN; SELECT count(*) FROM t", "COMMIT", "SELECT count(*) FROM t", true},
    {"read, write", "wal", "BEGIN; SELECT count(*) FROM t", "COMMIT", "BEGIN IMMEDIATE; ROLLBACK", true},
    {"write, read", "wal", "BEGIN IMMEDIATE", "COMMIT", "SELECT count(*) FROM t", true},
    {"write, write", "wal", "BEGIN IMMEDIATE", "COMMIT", "BEGIN IMMEDIATE; ROLLBACK", false},
    {"attached, change of mode", "wal", "SELECT count(*) FROM t", "SELECT 1", "PRAGMA journal_mode=DELETE",
     false},
};
enum { PAIRS = sizeof pairs / sizeof pairs[0] };

/* The bytes that a stranger finds locked, as "bytes from+length": each byte of the lock page and of -shm. */
static const char *locked_bytes(void)
{
  static char text[600];
  static const struct {
    const char *suffix;
    off_t from;
    int count;
  } areas[] = {{"", 0x40000000, 512}, {"-shm", 120, 9}};
  char name[64];
  size_t used = 0;

  text[0] = 0;
  for (size_t a = 0; a < sizeof areas / sizeof *areas; a++) {
    int fd;
    (void)snprintf(name, sizeof name, SCENE_DB "%s", areas[a].suffix);
    fd = open(name, O_RDWR | O_CLOEXEC);
    for (int i = 0, from = -1; fd >= 0 && i <= areas[a].count; i++) {
      struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = areas[a].from + i, .l_len = 1};
      bool held = i < areas[a].count && fcntl(fd, F_GETLK, &l) == 0 && l.l_type != F_UNLCK;
      if (held && from < 0) from = i;
      if (!held && from >= 0 && used < sizeof text) {
        used +=
            (size_t)snprintf(text + used, sizeof text - used, "%s:%d+%d ", areas[a].suffix, from, i - from);
        from = -1;
      }
    }
    if (fd >= 0) (void)close(fd); /* this process never has it open through SQLite */
  }
  return text;
}

static void run_pair(const struct pair *pair, int holder_shim, int other_shim, char *bytes, size_t size)
{
  peer *holder, *other;
  bool in;

  check_scene("%s, %s, %s then %s", pair->name, pair->mode, holder_shim ? "holdfast" : "plain",
              other_shim ? "holdfast" : "plain");
  scene_make(pair->mode, NULL);
  holder = scene_peer(holder_shim);
  other = scene_peer(other_shim);
  scene_must(holder, pair->take);
  (void)snprintf(bytes, size, "%s", locked_bytes());
  in = peer_sql(other, 0, pair->try) == SQLITE_OK;
  CHECK_INT("the other one gets in", in, pair->lets_in);
  CHECK_STR("a refusal means: locked", in ? "database is locked" : peer_text(other), "database is locked");
  (void)peer_sql(other, 0, "ROLLBACK"); /* of a BEGIN that got in; else there is nothing */
  scene_must(holder, pair->give);
  if (peer_sql(other, 0, pair->try) != SQLITE_OK && strstr(pair->try, "journal_mode") == NULL)
    CHECK_STR("afterwards it gets in", peer_text(other), "");
  CHECK_INT("end of the holder", peer_end(holder), 0);
  CHECK_INT("end of the other", peer_end(other), 0);
  CHECK_TRUE("no lock is left", !scene_locks_left());
}

/* Lock for lock: who gets in, and the bytes that are held, are the same whoever has the shim. */
static void lock_for_lock(void)
{
  char plain[600], bytes[600];

  for (int i = 0; i < PAIRS; i++) {
    run_pair(&pairs[i], SHIM_NO, SHIM_NO, plain, sizeof plain);
    run_pair(&pairs[i], SHIM_NO, SHIM_YES, bytes, sizeof bytes);
    run_pair(&pairs[i], SHIM_YES, SHIM_NO, bytes, sizeof bytes);
    CHECK_STR("locked bytes", bytes, plain);
    run_pair(&pairs[i], SHIM_YES, SHIM_YES, bytes, sizeof bytes);
    CHECK_STR("locked bytes", bytes, plain);
    printf("%-26s %-6s bytes %s\n", pairs[i].name, pairs[i].mode, plain);
  }
}

/* What it looks like when two protocols do meet: the control of the comparisons above. */
static void dot_file(void)
{
  peer *holder = NULL, *other;
  int in = 0;

  check_scene("control: unix-dotfile beside unix");
  scene_make("delete", NULL);
  holder = peer_start(SHIM_NO, NULL);
  if (peer_open(holder, 0, "file:" SCENE_DB "?vfs=unix-dotfile", 0)) check_skip("no VFS unix-dotfile");
  other = scene_peer(SHIM_NO);
  for (int i = 0; i < 25; i++) {
    scene_must(holder, "BEGIN IMMEDIATE; INSERT INTO t(who) VALUES(1)");
    in += scene_gets_in(other);
    scene_must(holder, "ROLLBACK");
  }
  CHECK_INT("breaches", in, 25);
  printf("unix-dotfile beside unix: %d of 25 breached\n", in);
  CHECK_INT("end of the holder", peer_end(holder), 0);
  CHECK_INT("end of the other", peer_end(other), 0);
}

/*
 * Eight writers: four threads with a connection each in a plain process, four in one with the shim. A third
 * process holds flock() on the database all the time.
 */
enum { THREADS = 4 };

static void *writer(void *number)
{
  (void)crowd_insert_until_stop(*(int *)number); /* the log tells */
  return NULL;
}

static int writers(int first)
{
  pthread_t threads[THREADS];
  int numbers[THREADS];

  for (int i = 0; i < THREADS; i++) {
    numbers[i] = first + i;
    if (pthread_create(&threads[i], NULL, writer, &numbers[i])) return 5;
  }
  for (int i = 0; i < THREADS; i++) (void)pthread_join(threads[i], NULL);
  return 0;
}

static int hold_flock(int who)
{
  int fd = open(SCENE_DB, O_RDWR | O_CLOEXEC);

  (void)who;
  if (fd < 0 || flock(fd, LOCK_EX)) return 4;
  while (!crowd_stopped()) crowd_sleep(5);
  return close(fd) ? 5 : 0;
}

static void eight_writers(const char *mode, int one, int two)
{
  pid_t first, second, stranger;
  crowd_count c;
  int numbers[2];

  check_scene("eight writers, %s", mode);
  crowd_start();
  scene_make(mode, "CREATE INDEX tv ON t(v)");
  for (int i = 0; i < 2; i++) {
    numbers[i] = crowd_writer();
    for (int k = 1; k < THREADS; k++) (void)crowd_writer();
  }
  stranger = crowd_fork(SHIM_NO, hold_flock, 0);
  first = crowd_fork(one, writers, numbers[0]);
  second = crowd_fork(two, writers, numbers[1]);
  crowd_sleep(scene_rounds(2000, 20000));
  crowd_stop();
  CHECK_INT("end of the plain process", crowd_wait(first), 0);
  CHECK_INT("end of the one with holdfast", crowd_wait(second), 0);
  CHECK_INT("end of the one with flock", crowd_wait(stranger), 0);
  crowd_audit(&c);
  CHECK_TRUE("rows exact, integrity ok", crowd_exact(&c));
  CHECK_TRUE("all wrote", c.writers == 2 * THREADS && c.committed > 2 * THREADS);
  CHECK_TRUE("no lock is left", !scene_locks_left());
  printf("eight writers, %-6s %ld acknowledged, %ld found, integrity %s\n", mode, c.committed, c.found,
         c.integrity);
}

int main(void)
{
  dot_file();
  lock_for_lock();
  for (int m = 0; m < SCENE_MODES; m++) eight_writers(scene_modes[m], SHIM_NO, SHIM_YES);
  return check_done();
}
