/*
 * locks_strace.c - PENDING and the dead man's switch are counted where fcntl() is called: the counters equal
 * what strace sees, in both journal modes, with several connections in threads and with two processes at
 * once.
 *
 *   locks_strace              compares
 *   locks_strace work         what is traced: prints "PENDING granted busy" and "DMS granted busy"
 */
#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "scene.h"

enum { THREADS = 3, PROCESSES = 2, ROUNDS = 25 };

/* ---------------------------------------------------------------- what is traced */

static void *worker(void *arg)
{
  char text[200];
  sqlite3 *db = NULL;

  (void)arg;
  for (int i = 0; i < ROUNDS; i++) {
    if (!db && sqlite3_open(SCENE_DB, &db) != SQLITE_OK) return "open";
    (void)sqlite3_busy_timeout(db, 5);
    (void)sql_text(db, "PRAGMA synchronous=OFF; SELECT count(*) FROM t", text, sizeof text);
    (void)sql_text(db, "INSERT INTO t(who) VALUES(1)", text, sizeof text);
    if (i % 5) continue;
    if (sqlite3_close(db) != SQLITE_OK) return "close"; /* the -shm is opened again, with its switch */
    db = NULL;
  }
  return sqlite3_close(db) == SQLITE_OK ? NULL : "close";
}

static int work(void)
{
  pthread_t thread[THREADS];
  char text[400];
  sqlite3 *db = NULL;
  int bad = 0;

  (void)setenv("HOLDFAST_LOG", "none", 1);
  if (shim_load() != SQLITE_OK || sqlite3_open(":memory:", &db) != SQLITE_OK) return 1;
  for (int i = 0; i < THREADS; i++)
    if (pthread_create(&thread[i], NULL, worker, NULL)) return 1;
  for (int i = 0; i < THREADS; i++) {
    void *what = NULL;
    (void)pthread_join(thread[i], &what);
    bad += what != NULL;
  }
  if (sql_text(
          db,
          "SELECT ifnull(group_concat(lock || ' ' || granted || ' ' || busy || ' ' || errors, ', '), '') "
          "FROM (SELECT lock, sum(granted) AS granted, sum(busy) AS busy, sum(errors) AS errors FROM "
          "holdfast_lock_stats WHERE lock IN ('DMS','PENDING') GROUP BY lock ORDER BY lock)",
          text, sizeof text) != SQLITE_OK)
    return 1;
  printf("%s\n", text);
  return bad != 0;
}

/* ---------------------------------------------------------------- what strace has seen */

typedef struct seen {
  long granted, busy, other;
} seen;

static void count_line(const char *line, seen *pending, seen *dms)
{
  seen *to = strstr(line, "l_start=1073741824,") ? pending : strstr(line, "l_start=128,") ? dms : NULL;

  if (!to || !(strstr(line, "F_OFD_SETLK,") || strstr(line, "F_SETLK,"))) return;
  if (!strstr(line, "l_type=F_RDLCK") && !strstr(line, "l_type=F_WRLCK")) return;
  *(strstr(line, ") = 0") ? &to->granted : strstr(line, "EAGAIN") ? &to->busy : &to->other) += 1;
}

/* strace -ff writes a file for each thread: "trace.N.PID". */
static void count_files(int number, seen *pending, seen *dms)
{
  char prefix[40], line[1000];
  struct dirent *entry;
  DIR *here = opendir(".");
  FILE *file;

  (void)snprintf(prefix, sizeof prefix, "trace.%d.", number);
  while (here && (entry = readdir(here)) != NULL) {
    if (strncmp(entry->d_name, prefix, strlen(prefix)) != 0) continue;
    file = fopen(entry->d_name, "re");
    while (file && fgets(line, sizeof line, file)) count_line(line, pending, dms);
    if (file) (void)fclose(file);
    (void)unlink(entry->d_name);
  }
  if (here) (void)closedir(here);
}

static const char *program;
static FILE *start(int number)
{
  char command[1200];

  (void)snprintf(command, sizeof command, "exec strace -ff -qq -e trace=fcntl -o trace.%d '%s' work", number,
                 program);
  return popen(command, "r");
}

static void compare(const char *mode)
{
  FILE *from[PROCESSES];
  char got[400], want[400];
  long busy = 0;

  check_scene("fcntl, %s, %d processes of %d threads", mode, PROCESSES, THREADS);
  scene_make(mode, NULL);
  for (int i = 0; i < PROCESSES; i++)
    if ((from[i] = start(i)) == NULL) check_broken("strace");
  for (int i = 0; i < PROCESSES; i++) {
    seen pending = {0}, dms = {0};
    size_t used = 0;
    got[0] = 0;
    (void)fgets(got, sizeof got, from[i]);
    got[strcspn(got, "\n")] = 0;
    CHECK_INT("the work", pclose(from[i]), 0);
    count_files(i, &pending, &dms);
    want[0] = 0;
    if (dms.granted + dms.busy)
      used = (size_t)snprintf(want, sizeof want, "DMS %ld %ld %ld, ", dms.granted, dms.busy, dms.other);
    (void)snprintf(want + used, sizeof want - used, "PENDING %ld %ld %ld", pending.granted, pending.busy,
                   pending.other);
    CHECK_STR("granted, busy and failed calls", got, want);
    CHECK_TRUE("there was something to count", pending.granted > 0);
    if (strcmp(mode, "wal") == 0) CHECK_TRUE("and of the switch", dms.granted > 0);
    busy += pending.busy;
    printf("%s: %s\n", mode, got);
  }
  if (strcmp(mode, "delete") == 0) printf("%ld busy answers\n", busy);
}

int main(int argc, char **argv)
{
  static char self[1000];
  ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);

  if (argc > 1 && strcmp(argv[1], "work") == 0) return work();
  if (length <= 0) check_broken("/proc/self/exe");
  program = self;
  if (system("strace -o /dev/null true >/dev/null 2>&1") != 0)
    check_skip("no strace here, or it may not trace");
  compare("delete");
  compare("wal");
  return check_done();
}
