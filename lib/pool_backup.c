/*
 * pool_backup.c - a copy of the database, taken in slices from the writing connection.
 *
 * From there, because what this connection writes between two slices goes into the copy as well, while every
 * other writer makes SQLite begin anew. Between slices the writers of the pool have their turn. When others
 * force too many new beginnings, the rest is taken in one piece.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "pool_cancel.h"

enum { SLICE_PAGES = 256, RESTARTS = 5, NAP_MS = 2 };

typedef struct hf_copy {
  holdfast_pool *pool;
  hf_want want;
  bool bounded;
  sqlite3 *dest, *from;
  sqlite3_backup *backup;
  int left, restarts;
} hf_copy;

static int time_left(hf_copy *copy)
{
  if (hf_cancel_fired(copy->want.cancel))
    return hf_fail(HOLDFAST_CANCELLED, "pool %s: the backup was cancelled", copy->pool->config.name);
  if (copy->bounded && hf_now() >= copy->want.now_ns + copy->want.wait_ns)
    return hf_fail(HOLDFAST_TIMEOUT, "pool %s: the backup was not done in time", copy->pool->config.name);
  return 0;
}

/* The main connection may have been replaced since the last slice: then from the beginning. */
static int begin(hf_copy *copy, sqlite3 *from)
{
  if (copy->backup && copy->from == from) return SQLITE_OK;
  if (copy->backup) {
    (void)sqlite3_backup_finish(copy->backup); /* its result is about the source that is gone */
    copy->restarts++;
  }
  copy->backup = sqlite3_backup_init(copy->dest, "main", from, "main");
  copy->from = from;
  copy->left = 0;
  return copy->backup ? SQLITE_OK : sqlite3_extended_errcode(copy->dest);
}

static int slice(hf_copy *copy)
{
  holdfast_lease *lease;
  hf_want want = copy->want;
  int rc, left;

  want.now_ns = hf_now();
  if (copy->bounded) want.wait_ns -= want.now_ns - copy->want.now_ns;
  rc = hf_acquire(copy->pool, &want, &lease);
  if (rc) return rc;
  rc = begin(copy, lease->db);
  if (rc == SQLITE_OK) rc = sqlite3_backup_step(copy->backup, copy->restarts > RESTARTS ? -1 : SLICE_PAGES);
  if (copy->backup && (rc == SQLITE_OK || rc == SQLITE_DONE)) {
    left = sqlite3_backup_remaining(copy->backup);
    if (left > copy->left && copy->left) copy->restarts++;
    copy->left = left;
  }
  (void)hf_release(lease);
  return rc;
}

static int run(hf_copy *copy)
{
  int rc;

  do {
    rc = time_left(copy);
    if (rc) return rc;
    rc = slice(copy);
    if (rc == SQLITE_BUSY || rc == SQLITE_LOCKED) sqlite3_sleep(NAP_MS);
  } while (rc == SQLITE_OK || rc == SQLITE_BUSY || rc == SQLITE_LOCKED);
  return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* A new file of our own, with the rights of the database. O_EXCL: never somebody's. */
static int create(holdfast_pool *pool, const char *dest)
{
  int fd = open(dest, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOCTTY, 0600);

  if (fd < 0)
    return hf_fail(errno == EROFS || errno == EACCES ? SQLITE_READONLY : SQLITE_CANTOPEN,
                   "pool %s: the backup %s cannot be made: %s", pool->config.name, dest, strerror(errno));
  close(fd);
  return 0;
}

int holdfast_pool_backup(holdfast_pool *pool, const char *dest, const holdfast_options *options)
{
  hf_copy copy = {.pool = pool};
  int rc;

  if (!pool || !dest || !*dest)
    return hf_fail(HOLDFAST_MISUSE, "holdfast_pool_backup: an argument is NULL or empty");
  if (hf_forked(pool)) return hf_fail_forked();
  rc = hf_want_of(pool, HOLDFAST_READ, options, &copy.want);
  if (rc) return rc;
  copy.want.mode = HOLDFAST_WRITE;
  copy.want.main = copy.want.polite = true;
  copy.bounded = options && options->wait_ms;
  if (!copy.want.tag) copy.want.tag = "holdfast: backup";
  rc = create(pool, dest);
  if (rc) return rc;
  rc = sqlite3_open_v2(dest, &copy.dest, SQLITE_OPEN_READWRITE | SQLITE_OPEN_PRIVATECACHE, NULL);
  if (rc)
    rc = hf_fail_sqlite(pool, copy.dest, rc, "the backup cannot be opened");
  else
    rc = run(&copy);
  if (copy.backup) {
    int finished = sqlite3_backup_finish(copy.backup);
    if (!rc) rc = finished;
  }
  if (rc > 0) rc = hf_fail_sqlite(pool, copy.dest, rc, "backup");
  (void)sqlite3_close(copy.dest);
  if (rc) (void)unlink(dest); /* rc says what went wrong; what is left is a file that the caller has named */
  return rc;
}
