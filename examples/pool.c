/*
 * pool.c - a guest book that several threads, and several runs of this program at once, write into.
 *
 *     cc pool.c -o pool $(pkg-config --cflags --libs holdfast) -lsqlite3 -lpthread
 *     ./pool guests.db
 *
 * Each thread opens the pool of the file by itself: in one process that is the same pool, so there is nothing
 * to hand around. Writes wait for their turn, and holdfast_write() says 0 only when the COMMIT did.
 */
#include <holdfast.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>

enum { THREADS = 4, GUESTS = 25 };

static int complain(const char *what, int rc)
{
  /* Below zero it is holdfast's own code, and its long text names the pool and who is in the way. */
  fprintf(stderr, "%s: %s\n", what, rc < 0 ? holdfast_errmsg() : holdfast_strerror(rc));
  return 1;
}

/* Called once for each connection of the pool, before it is used: the place for PRAGMAs and functions. */
static int prepare_connection(sqlite3 *db, int lane, void *unused)
{
  (void)unused;
  if (lane != HOLDFAST_WRITE) return SQLITE_OK;
  return sqlite3_exec(db, "CREATE TABLE IF NOT EXISTS guest(id INTEGER PRIMARY KEY, name TEXT)", NULL, NULL,
                      NULL);
}

/* What leaks, what pins the WAL, what was reopened: said here, in one sentence. */
static void tell(const holdfast_pool_event *event, void *unused)
{
  (void)unused;
  fprintf(stderr, "holdfast: %s\n", event->text);
}

/* Runs inside BEGIN IMMEDIATE ... COMMIT. All but 0 rolls back. */
static int add_guest(holdfast_lease *lease, void *arg)
{
  sqlite3_stmt *insert; /* the pool keeps it prepared: do not finalize it */
  int rc = holdfast_prepare(lease, "INSERT INTO guest(name) VALUES(printf('guest %d', ?1))", &insert);

  if (rc != SQLITE_OK) return rc;
  sqlite3_bind_int(insert, 1, *(int *)arg);
  rc = sqlite3_step(insert);
  return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* Runs in a read transaction: everything that it reads is from one moment. */
static int count_guests(holdfast_lease *lease, void *arg)
{
  sqlite3_stmt *query;
  int rc = holdfast_prepare(lease, "SELECT count(*) FROM guest", &query);

  if (rc == SQLITE_OK && sqlite3_step(query) == SQLITE_ROW) *(int *)arg = sqlite3_column_int(query, 0);
  return rc;
}

typedef struct visitor {
  const char *path;
  int failed;
} visitor;

static void *visit(void *arg)
{
  visitor *v = arg;
  holdfast_pool *pool;
  int rc = holdfast_pool_open(v->path, NULL, &pool); /* the one that main opened */

  v->failed = rc != 0;
  if (v->failed) return NULL;
  for (int i = 0; i < GUESTS && !v->failed; i++) v->failed = holdfast_write(pool, add_guest, &i) != 0;
  rc = holdfast_pool_close(pool, 0);
  if (rc) v->failed = complain("close", rc);
  return NULL;
}

int main(int argc, char **argv)
{
  holdfast_pool_config config = {
      .struct_size = sizeof config, .name = "guests", .on_connect = prepare_connection, .leak_ms = 5000};
  pthread_t threads[THREADS];
  visitor visitors[THREADS];
  holdfast_pool *pool;
  int rc, before = 0, after = 0, failed = 0;

  if (argc != 2) return fprintf(stderr, "usage: pool DATABASE\n"), 64;
  rc = holdfast_pool_open(argv[1], &config, &pool);
  if (rc) return complain(argv[1], rc);
  holdfast_pool_on_event(pool, tell, NULL);
  rc = holdfast_read(pool, count_guests, &before);
  if (rc) failed = complain("count", rc);
  for (int i = 0; i < THREADS; i++) {
    visitors[i] = (visitor){.path = argv[1]};
    if (pthread_create(&threads[i], NULL, visit, &visitors[i])) return 1;
  }
  for (int i = 0; i < THREADS; i++) {
    pthread_join(threads[i], NULL);
    failed |= visitors[i].failed;
  }
  rc = holdfast_read(pool, count_guests, &after);
  if (rc) failed = complain("count", rc);
  printf("%d guests before, %d now\n", before, after);
  rc = holdfast_pool_close(pool, 0);
  if (rc) failed = complain("close", rc);
  return failed;
}
