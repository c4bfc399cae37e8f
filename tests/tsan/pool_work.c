/*
 * pool_work.c - all that a pool can do, from many threads at once, for ThreadSanitizer to look at.
 *
 *   pool_work SECONDS      in an empty directory; exit 0, 1 (something went wrong), 66 (ThreadSanitizer's)
 *
 * Threads open and close references to two pools (WAL, and DELETE on a mount that is taken for a network's),
 * read and write in both ways, leave transactions open, are interrupted for their age and reported as leaks,
 * checkpoint, back up, ask for statistics, fire cancels, replace the file under the pool, and fork. At the
 * end the rows that were acknowledged are counted.
 */
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

enum { THREADS = 7 };

static const char *const names[2] = {"work.db", "file:net.db?holdfast_assume=network"};
static holdfast_pool *pools[2];
static atomic_long rows[2], wrong, events, reads, backups, checkpoints, forks, unclean, cancelled;
static atomic_bool stop;
static holdfast_cancel *cancel;

static void complain(const char *what, int code)
{
  if (atomic_fetch_add(&wrong, 1) < 20) printf("WRONG: %s: code %d (%s)\n", what, code, holdfast_errmsg());
}

static void on_event(const holdfast_pool_event *event, void *arg)
{
  (void)arg;
  if (!strlen(event->text)) complain("an event without a text", event->kind);
  atomic_fetch_add(&events, 1);
}

static int insert(holdfast_lease *lease, void *arg)
{
  sqlite3_stmt *stmt;
  int rc = holdfast_prepare(lease, "INSERT INTO t VALUES(?)", &stmt);

  if (rc) return rc;
  sqlite3_bind_int(stmt, 1, (int)(intptr_t)arg);
  rc = sqlite3_step(stmt);
  return rc == SQLITE_DONE ? 0 : rc;
}

static int count(holdfast_lease *lease, void *arg)
{
  sqlite3_stmt *stmt;
  int rc = holdfast_prepare(lease, "SELECT count(*) FROM t", &stmt);

  if (rc) return rc;
  rc = sqlite3_step(stmt);
  if (rc != SQLITE_ROW) return rc;
  *(long *)arg = (long)sqlite3_column_int64(stmt, 0);
  return 0;
}

static void write_one(int which, const holdfast_options *options)
{
  int rc = holdfast_write_with(pools[which], options, insert, (void *)(intptr_t)which);

  if (rc == 0)
    atomic_fetch_add(&rows[which], 1);
  else if (rc == HOLDFAST_CANCELLED || (options && (rc == SQLITE_INTERRUPT || rc == SQLITE_BUSY)))
    atomic_fetch_add(&cancelled, 1);
  else
    complain("write", rc);
}

static void read_one(int which)
{
  long found = 0;
  int rc = holdfast_read(pools[which], count, &found);

  /* Ended for its age; without WAL perhaps while it waited for a lock. */
  if (rc && rc != SQLITE_INTERRUPT && rc != SQLITE_BUSY) complain("read", rc);
  atomic_fetch_add(&reads, 1);
}

/* Leaves a statement in mid-step and a transaction open, for longer than reads may last. */
static void sloppy_read(int which)
{
  holdfast_lease *lease;
  struct timespec nap = {0, 30000000};
  sqlite3_stmt *stmt;
  int rc = holdfast_acquire(pools[which], HOLDFAST_READ, 0, &lease);

  if (rc) {
    complain("acquire", rc);
    return;
  }
  sqlite3_exec(holdfast_lease_db(lease), "BEGIN", NULL, NULL, NULL);
  if (holdfast_prepare(lease, "SELECT * FROM t", &stmt) == 0) sqlite3_step(stmt);
  nanosleep(&nap, NULL);
  atomic_fetch_add(&unclean, 1);
  if (holdfast_release(lease)) complain("release", 0);
}

static void again(int which)
{
  holdfast_pool *same = NULL;
  holdfast_stats stats = {.struct_size = sizeof stats};

  if (holdfast_pool_open(names[which], NULL, &same)) {
    complain("open again", 0);
    return;
  }
  if (same != pools[which]) complain("another pool for the same file", which);
  if (holdfast_pool_stats(same, &stats)) complain("stats", 0);
  if (holdfast_pool_close(same, 0)) complain("close one of two", 0);
}

static void look_after(int which, int round)
{
  holdfast_checkpoint report = {.struct_size = sizeof report};
  char dest[40];
  int rc = holdfast_pool_checkpoint(pools[which], 0, &report);

  if (rc) complain("checkpoint", rc);
  atomic_fetch_add(&checkpoints, 1);
  snprintf(dest, sizeof dest, "copy-%d-%d", which, round);
  rc = holdfast_pool_backup(pools[which], dest, NULL);
  if (rc) complain("backup", rc);
  (void)unlink(dest);
  atomic_fetch_add(&backups, 1);
}

static void fork_once(void)
{
  holdfast_lease *lease;
  int status = 0;
  pid_t child = fork();

  if (child == 0) _exit(holdfast_acquire(pools[0], HOLDFAST_READ, 0, &lease) == HOLDFAST_FORKED ? 0 : 1);
  if (child < 0 || waitpid(child, &status, 0) != child || status != 0) complain("fork", status);
  atomic_fetch_add(&forks, 1);
}

static void *life(void *argument)
{
  int number = (int)(intptr_t)argument, which = number & 1;
  holdfast_options options = {.struct_size = sizeof options, .tag = "cancelled", .cancel = cancel};

  for (int round = 0; !atomic_load(&stop); round++) {
    switch (number) {
    case 0:
    case 1: write_one(which, NULL); break;
    case 2: write_one(0, &options); break;
    case 3: read_one(round & 1); break;
    case 4: sloppy_read(round & 1); break;
    case 5:
      again(round & 1);
      holdfast_cancel_fire(cancel);
      holdfast_cancel_reset(cancel);
      break;
    default: look_after(round & 1, round); fork_once();
    }
  }
  return NULL;
}

static int create(holdfast_lease *lease, void *arg)
{
  (void)arg;
  return sqlite3_exec(holdfast_lease_db(lease), "CREATE TABLE t(x)", NULL, NULL, NULL);
}

int main(int argc, char **argv)
{
  struct timespec length = {argc == 2 ? atoi(argv[1]) : 0, 0};
  holdfast_pool_config config = {.struct_size = sizeof config,
                                 .readers = 3,
                                 .leak_ms = 20,
                                 .max_read_age_ms = 20,
                                 .checkpoint_frames = 50,
                                 .checkpoint_ms = 100};
  pthread_t threads[THREADS];
  long found;

  if (length.tv_sec <= 0) return fprintf(stderr, "usage: pool_work SECONDS\n"), 1;
  if (holdfast_cancel_new(&cancel)) return 1;
  for (int i = 0; i < 2; i++) {
    if (holdfast_pool_open(names[i], &config, &pools[i]) || holdfast_write(pools[i], create, NULL))
      return fprintf(stderr, "%s: %s\n", names[i], holdfast_errmsg()), 1;
    holdfast_pool_on_event(pools[i], on_event, NULL);
  }
  for (int i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, life, (void *)(intptr_t)i);
  nanosleep(&length, NULL);
  atomic_store(&stop, true);
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  for (int i = 0; i < 2; i++) {
    int rc;
    do rc = holdfast_read(pools[i], count, &found);
    while (rc == SQLITE_INTERRUPT); /* on a busy machine 20 ms go by before it has counted */
    if (rc || found != atomic_load(&rows[i])) complain("rows acknowledged and rows found differ", i);
    if (holdfast_pool_close(pools[i], 0)) complain("close", 0);
  }
  holdfast_cancel_free(cancel);
  printf("%ld + %ld rows, %ld cancelled, %ld reads, %ld unclean, %ld events, %ld checkpoints, %ld backups, "
         "%ld forks, %ld "
         "wrong\n",
         rows[0], rows[1], cancelled, reads, unclean, events, checkpoints, backups, forks, wrong);
  if (!rows[0] || !rows[1] || !reads || !events || !backups || !forks) complain("too little was done", 0);
  return wrong ? 1 : 0;
}
