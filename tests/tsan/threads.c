/*
 * threads.c - eight threads do with two databases what programs do, for ThreadSanitizer to look at.
 *
 *   threads SECONDS      in an empty directory; exit 0, 1 (something went wrong), 66 (ThreadSanitizer's)
 *
 * One database is in WAL mode, the other is kept in DELETE mode by the shim. The threads open and close
 * connections, write, read, ask for all that the shim tells, close a stray descriptor of the database, and
 * fork. Whether the rows are all there is looked at at the end, too; what is a race is ThreadSanitizer's to
 * say.
 *
 * On top of the shim lies a copy of its VFS that counts the opened files, as any library may have one. With
 * HF_PLANTED_RACE the count is a plain variable: that is the only difference, and it must be reported.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "holdfast.h"

enum { THREADS = 8, KEEP_ROUNDS = 16, STRAY_EVERY = 3, FORK_EVERY = 4, BUSY_NAPS = 5000, NAP_NS = 2000000 };

static const struct {
  const char *path, *uri, *mode;
} databases[2] = {
    {"wal.db", "file:wal.db?holdfast_assume=local", "wal"},
    {"delete.db", "file:delete.db?holdfast_assume=network", "delete"},
};

#ifdef HF_PLANTED_RACE
static long files_opened;
#else
static atomic_long files_opened;
#endif
static atomic_long connections, rows[2], reads, answers, strays, forks, busy, looks, wrong;
static atomic_bool stop;
static sqlite3_vfs counting, *shim;

/* The nap lets threads meet here: two that write one after the other are mostly in order by one of SQLite's
 * mutexes, and then there is no race to be seen. */
static int counted_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out_flags)
{
  struct timespec nap = {0, NAP_NS};

  (void)vfs;
  nanosleep(&nap, NULL);
  files_opened++;
  return shim->xOpen(shim, name, file, flags, out_flags);
}

static int count_on_top(void)
{
  shim = sqlite3_vfs_find("holdfast");
  if (!shim) return SQLITE_ERROR;
  counting = *shim;
  counting.zName = "counting";
  counting.pNext = NULL;
  counting.xOpen = counted_open;
  return sqlite3_vfs_register(&counting, 1);
}

static void complain(const char *what, const char *why)
{
  atomic_fetch_add(&wrong, 1);
  fprintf(stderr, "%s: %s\n", what, why);
}

/* Counts in `counter` when it is done. Another thread's lock is no fault, and the step is left out then. */
static void run(sqlite3 *db, const char *sql, atomic_long *counter)
{
  int rc = sqlite3_exec(db, sql, NULL, NULL, NULL) & 0xff;

  if (rc == SQLITE_OK)
    atomic_fetch_add(counter, 1);
  else if (rc == SQLITE_BUSY)
    atomic_fetch_add(&busy, 1);
  else
    complain(sql, sqlite3_errmsg(db));
}

/* The first column of the only row must be `want`, or begin with it. */
static void ask(sqlite3 *db, const char *sql, const char *want, atomic_long *counter)
{
  sqlite3_stmt *statement = NULL;
  int rc = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);

  if (rc == SQLITE_OK) rc = sqlite3_step(statement);
  if (rc == SQLITE_ROW) {
    const char *text = (const char *)sqlite3_column_text(statement, 0);
    if (!text || strncmp(text, want, strlen(want)) != 0) complain(sql, text ? text : "(null)");
    atomic_fetch_add(counter, 1);
  } else if ((rc & 0xff) == SQLITE_BUSY) {
    atomic_fetch_add(&busy, 1);
  } else {
    complain(sql, rc == SQLITE_DONE ? "no row" : sqlite3_errmsg(db));
  }
  (void)sqlite3_finalize(statement); /* says again what step said */
}

/* Short naps: SQLite's own grow to a tenth of a second, and little would happen. */
static int wait_a_little(void *unused, int count)
{
  struct timespec nap = {0, NAP_NS};

  (void)unused;
  nanosleep(&nap, NULL);
  return count < BUSY_NAPS;
}

static sqlite3 *connect_to(int which)
{
  sqlite3 *db = NULL;
  int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI;

  if (sqlite3_open_v2(databases[which].uri, &db, flags, NULL) != SQLITE_OK ||
      holdfast_attach_sql(db) != SQLITE_OK) {
    complain(databases[which].uri, db ? sqlite3_errmsg(db) : "no memory");
    sqlite3_close(db);
    return NULL;
  }
  sqlite3_busy_handler(db, wait_a_little, NULL);
  atomic_fetch_add(&connections, 1);
  ask(db, "PRAGMA journal_mode=WAL", databases[which].mode, &answers);
  run(db, "PRAGMA synchronous=OFF", &answers); /* more rounds in the same time: no power fails here */
  return db;
}

static void work(sqlite3 *db, int which)
{
  run(db, "INSERT INTO t VALUES(hex(randomblob(200)))", &rows[which]);
  ask(db, "SELECT count(*) > 0 FROM t", "1", &reads);
  ask(db, "PRAGMA holdfast_status", "{", &answers);
  ask(db, "PRAGMA holdfast_mount", "[", &answers);
  ask(db, "PRAGMA holdfast_events", "[", &answers);
  ask(db, "PRAGMA holdfast_lock_stats", "[", &answers);
  ask(db, "PRAGMA holdfast_lock_holders", "[", &answers);
  /* None is right, too: another thread may have reset them in this moment. */
  ask(db, "SELECT count(*) >= 0 FROM holdfast_lock_stats", "1", &answers);
  ask(db, "SELECT holdfast_reset_stats() IS NULL", "1", &answers);
  ask(db, "SELECT count(*) > 0 FROM holdfast_mount", "1", &answers);
  ask(db, "SELECT count(*) >= 0 FROM holdfast_events", "1", &answers);
}

/* Everything that the shim tells, from a connection that locks nothing itself, while all others lock. */
static void *look_at_all(void *unused)
{
  static const char *const tables[] = {"holdfast_mount", "holdfast_lock_stats", "holdfast_lock_holders",
                                       "holdfast_events"};
  sqlite3 *db = NULL;
  char sql[100];

  (void)unused;
  if (sqlite3_open(":memory:", &db) != SQLITE_OK || holdfast_attach_sql(db) != SQLITE_OK)
    complain(":memory:", "cannot be opened");
  while (!atomic_load(&stop))
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
      (void)snprintf(sql, sizeof sql, "SELECT count(*) >= 0 FROM %s", tables[i]);
      ask(db, sql, "1", &looks);
    }
  (void)sqlite3_close(db);
  return NULL;
}

/* What loses every lock of the process where the locks are POSIX ones. */
static void stray(int which)
{
  int fd = open(databases[which].path, O_RDONLY | O_CLOEXEC);

  if (fd < 0 || close(fd) != 0)
    complain(databases[which].path, strerror(errno));
  else
    atomic_fetch_add(&strays, 1);
}

static void fork_once(void)
{
  int status = 0;
  pid_t child = fork();

  if (child == 0) _exit(0);
  if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
    complain("fork", "the child did not end as it should");
  else
    atomic_fetch_add(&forks, 1);
}

/* Half of the threads open a connection for each round, the others keep theirs for a while. */
static void *life(void *argument)
{
  int number = (int)(intptr_t)argument;
  sqlite3 *db = NULL;
  int which = number & 1;

  for (int round = 0; !atomic_load(&stop); round++) {
    if (!db) db = connect_to(which);
    if (!db) break;
    work(db, which);
    if (round % STRAY_EVERY == 0) stray(which);
    if (number == 0 && round % FORK_EVERY == 0) fork_once();
    if (number & 2 && round % KEEP_ROUNDS) continue;
    if (sqlite3_close(db) != SQLITE_OK) complain("close", sqlite3_errmsg(db));
    db = NULL;
    which = !which;
  }
  sqlite3_close(db);
  return NULL;
}

static void look_at_the_rows(int which)
{
  char sql[80];
  atomic_long asked = 0;
  sqlite3 *db = connect_to(which);

  if (!db) return;
  ask(db, "PRAGMA integrity_check", "ok", &asked);
  snprintf(sql, sizeof sql, "SELECT count(*) = %ld FROM t", atomic_load(&rows[which]));
  ask(db, sql, "1", &asked);
  sqlite3_close(db);
}

int main(int argc, char **argv)
{
  struct timespec length = {argc == 2 ? atoi(argv[1]) : 0, 0};
  pthread_t threads[THREADS], looker;
  atomic_long made = 0;

  if (length.tv_sec <= 0) return fprintf(stderr, "usage: threads SECONDS\n"), 1;
  if (holdfast_register(NULL) != SQLITE_OK || count_on_top() != SQLITE_OK)
    return fprintf(stderr, "holdfast does not register\n"), 1;
  for (int which = 0; which < 2; which++) {
    sqlite3 *db = connect_to(which);
    if (!db) return 1;
    run(db, "CREATE TABLE t(x)", &made);
    sqlite3_close(db);
  }
  for (int i = 0; i < THREADS; i++) {
    if (pthread_create(&threads[i], NULL, life, (void *)(intptr_t)i) != 0)
      return fprintf(stderr, "no thread\n"), 1;
  }
  if (pthread_create(&looker, NULL, look_at_all, NULL) != 0) return fprintf(stderr, "no thread\n"), 1;
  nanosleep(&length, NULL);
  atomic_store(&stop, true);
  pthread_join(looker, NULL);
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  for (int which = 0; which < 2; which++) look_at_the_rows(which);
  printf("%ld connections, %ld files, %ld + %ld rows, %ld reads, %ld answers, %ld strays, %ld forks, %ld "
         "looks, %ld busy\n",
         atomic_load(&connections), (long)files_opened, atomic_load(&rows[0]), atomic_load(&rows[1]),
         atomic_load(&reads), atomic_load(&answers), atomic_load(&strays), atomic_load(&forks),
         atomic_load(&looks), atomic_load(&busy));
  if (!rows[0] || !rows[1] || !reads || !strays || !forks || !looks)
    complain("too little was done", "see the counts");
  return wrong ? 1 : 0;
}
