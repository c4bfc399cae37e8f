/*
 * pool_registry.c, pool_file.c and the opening half of pool_open.c: one pool for each file, by whatever name,
 * and what becomes of it when the file moves.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "files.h"
#include "lane.h"
#include "pool.h"

enum { THREADS = 32 };

static holdfast_pool *opened(const char *path)
{
  holdfast_pool *pool = NULL;

  if (holdfast_pool_open(path, NULL, &pool)) print_message("%s: %s\n", path, holdfast_errmsg());
  return pool;
}

static int fresh_directory(void **state)
{
  (void)state;
  return system("rm -rf d && mkdir -p d/e") ? -1 : 0;
}

static void every_name_of_a_file_is_the_same_pool(void **state)
{
  char here[900], absolute[1000], uri[1100];
  holdfast_pool *first = opened("d/a.db");
  const char *names[] = {
      "./d/../d/a.db", "d/soft.db", "d/e/far.db", "file:d/a.db", "file:d/%61.db?cache=private",
      absolute,        uri};
  holdfast_stats stats = {.struct_size = sizeof stats};

  (void)state;
  assert_non_null(getcwd(here, sizeof here));
  snprintf(absolute, sizeof absolute, "%s/d/a.db", here);
  snprintf(uri, sizeof uri, "file://localhost%s/d/a.db#x", here);
  assert_int_equal(symlink("a.db", "d/soft.db"), 0);
  assert_int_equal(symlink("../soft.db", "d/e/far.db"), 0);
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) assert_ptr_equal(opened(names[i]), first);
  assert_int_equal(holdfast_pool_stats(first, &stats), 0);
  assert_int_equal(stats.references, 1 + (int)(sizeof names / sizeof *names));
  for (size_t i = 0; i <= sizeof names / sizeof *names; i++)
    assert_int_equal(holdfast_pool_close(first, 0), 0);
}

static void a_hard_link_is_the_same_pool_and_another_file_is_not(void **state)
{
  holdfast_pool *first = opened("d/a.db"), *other;

  (void)state;
  assert_int_equal(lane_exec(first, HOLDFAST_WRITE, "CREATE TABLE t(x)"), SQLITE_OK);
  assert_int_equal(link("d/a.db", "d/hard.db"), 0);
  assert_ptr_equal(opened("d/hard.db"), first);
  other = opened("d/b.db");
  assert_ptr_not_equal(other, first);
  assert_int_equal(holdfast_pool_close(other, 0), 0);
  assert_int_equal(holdfast_pool_close(first, 0), 0);
  assert_int_equal(holdfast_pool_close(first, 0), 0);
}

/* SQLite makes the target of a link that leads nowhere yet: both names are one file from the first moment. */
static void a_link_to_a_file_that_is_not_there_yet(void **state)
{
  holdfast_pool *first;

  (void)state;
  assert_int_equal(symlink("e/new.db", "d/dangling.db"), 0);
  first = opened("d/dangling.db");
  assert_non_null(first);
  assert_true(file_exists("d/e/new.db"));
  assert_ptr_equal(opened("d/e/new.db"), first);
  assert_int_equal(holdfast_pool_close(first, 0), 0);
  assert_int_equal(holdfast_pool_close(first, 0), 0);
}

static void a_changed_directory_does_not_lead_readers_elsewhere(void **state)
{
  holdfast_pool *pool = opened("d/a.db");

  (void)state;
  assert_int_equal(lane_exec(pool, HOLDFAST_WRITE, "CREATE TABLE t(x); INSERT INTO t VALUES(7)"), SQLITE_OK);
  assert_int_equal(chdir("d/e"), 0);
  assert_int_equal(lane_number(pool, "SELECT x FROM t"), 7);
  assert_int_equal(chdir("../.."), 0);
  assert_false(file_exists("d/e/d"));
  assert_int_equal(holdfast_pool_close(pool, 0), 0);
}

static void memory_databases_are_private(void **state)
{
  holdfast_pool *a = opened(":memory:"), *b = opened(":memory:"), *c = opened("file:x?mode=memory");

  (void)state;
  assert_ptr_not_equal(a, b);
  assert_int_equal(lane_exec(a, HOLDFAST_WRITE, "CREATE TABLE t(x); INSERT INTO t VALUES(7)"), SQLITE_OK);
  assert_int_equal(lane_number(a, "SELECT x FROM t"), 7);
  assert_int_equal(lane_number(b, "SELECT count(*) FROM sqlite_master"), 0);
  assert_false(file_exists("x"));
  assert_int_equal(holdfast_pool_close(a, 0), 0);
  assert_int_equal(holdfast_pool_close(b, 0), 0);
  assert_int_equal(holdfast_pool_close(c, 0), 0);
}

static void another_configuration_is_refused_and_silence_agrees(void **state)
{
  holdfast_pool_config config = {.struct_size = sizeof config, .readers = 3, .wait_ms = 700};
  holdfast_pool *first = NULL, *again = NULL;

  (void)state;
  assert_int_equal(holdfast_pool_open("d/a.db", &config, &first), 0);
  config.wait_ms = 800;
  assert_int_equal(holdfast_pool_open("d/a.db", &config, &again), HOLDFAST_CONFLICT);
  assert_non_null(strstr(holdfast_errmsg(), "wait_ms"));
  assert_null(again);
  config.wait_ms = 0;
  config.name = "mine";
  assert_int_equal(holdfast_pool_open("d/a.db", &config, &again), HOLDFAST_CONFLICT);
  config.name = NULL;
  assert_int_equal(holdfast_pool_open("d/a.db", &config, &again), 0);
  assert_ptr_equal(again, first);
  assert_int_equal(holdfast_pool_close(first, 0), 0);
  assert_int_equal(holdfast_pool_close(first, 0), 0);
}

static void what_cannot_be_opened_says_why_and_leaves_nothing(void **state)
{
  holdfast_pool_config config = {.struct_size = sizeof config, .flags = HOLDFAST_POOL_NO_CREATE};
  holdfast_pool *pool = NULL;

  (void)state;
  assert_int_equal(holdfast_pool_open("d/none/a.db", NULL, &pool), SQLITE_CANTOPEN);
  assert_int_equal(holdfast_pool_open("d/a.db", &config, &pool), SQLITE_CANTOPEN);
  assert_false(file_exists("d/a.db"));
  file_write("d/text.db", "This is not a database, but long enough to be looked at as one. ................",
             80);
  assert_int_equal(holdfast_pool_open("d/text.db", NULL, &pool), SQLITE_NOTADB);
  assert_non_null(strstr(holdfast_errmsg(), "not a database"));
  assert_null(pool);
  file_remove("d/text.db");
  pool = opened("d/text.db"); /* the failure is not remembered */
  assert_non_null(pool);
  assert_int_equal(holdfast_pool_close(pool, 0), 0);
}

static pthread_barrier_t together;
static void *open_one(void *arg)
{
  holdfast_pool **out = arg;

  pthread_barrier_wait(&together);
  *out = opened("d/a.db");
  return NULL;
}

static void many_threads_open_one_pool(void **state)
{
  pthread_t threads[THREADS];
  holdfast_pool *pools[THREADS];

  (void)state;
  pthread_barrier_init(&together, NULL, THREADS);
  for (int i = 0; i < THREADS; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, open_one, &pools[i]), 0);
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  pthread_barrier_destroy(&together);
  for (int i = 0; i < THREADS; i++) assert_ptr_equal(pools[i], pools[0]);
  assert_int_equal(pools[0]->opened, 1);
  for (int i = 0; i < THREADS; i++) assert_int_equal(holdfast_pool_close(pools[i], 0), 0);
}

/* ---------------------------------------------------------------- moved and replaced */

static void make_other(const char *path, int x)
{
  char sql[100];
  sqlite3 *db;

  assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "unix"), SQLITE_OK);
  snprintf(sql, sizeof sql, "CREATE TABLE t(x); INSERT INTO t VALUES(%d)", x);
  assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
  sqlite3_close(db);
}

static long number_in(const char *path, const char *sql)
{
  sqlite3_stmt *stmt;
  sqlite3 *db;
  long number = -1;

  assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, "unix"), SQLITE_OK);
  if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW)
    number = (long)sqlite3_column_int64(stmt, 0);
  sqlite3_finalize(stmt);
  sqlite3_close(db);
  return number;
}

static int journal_of_test;
static holdfast_pool *with_one_row(void)
{
  holdfast_pool_config config = {.struct_size = sizeof config, .readers = 2, .journal = journal_of_test};
  holdfast_pool *pool = NULL;

  assert_int_equal(holdfast_pool_open("d/a.db", &config, &pool), 0);
  assert_int_equal(lane_exec(pool, HOLDFAST_WRITE, "CREATE TABLE t(x); INSERT INTO t VALUES(1)"), SQLITE_OK);
  assert_int_equal(lane_number(pool, "SELECT max(x) FROM t"), 1);
  lane_listen(pool);
  return pool;
}

/* F15. What was acknowledged before stays in the old file; what comes after goes into the new one. */
static void a_replaced_file_is_opened_anew(void **state)
{
  holdfast_pool *pool = with_one_row();
  holdfast_stats stats = {.struct_size = sizeof stats};

  (void)state;
  make_other("d/new.db", 50);
  assert_int_equal(rename("d/a.db", "d/old.db"), 0);
  if (journal_of_test != HOLDFAST_JOURNAL_DELETE) { /* as docs/failures.md says: they go with the old file */
    assert_int_equal(rename("d/a.db-wal", "d/old.db-wal"), 0);
    assert_int_equal(rename("d/a.db-shm", "d/old.db-shm"), 0);
  }
  assert_int_equal(rename("d/new.db", "d/a.db"), 0);
  assert_int_equal(holdfast_write(pool, lane_sql, (void *)"INSERT INTO t VALUES(51)"), 0);
  assert_int_equal(lane_number(pool, "SELECT count(*) FROM t WHERE x>=50"), 2);
  assert_int_equal(lane_number(pool, "SELECT count(*) FROM t WHERE x=1"), 0);
  assert_int_equal(lane_events(HOLDFAST_POOL_REOPENED), 1);
  assert_int_equal(holdfast_pool_stats(pool, &stats), 0);
  assert_int_equal(stats.reopened, 1);
  assert_ptr_equal(opened("d/a.db"), pool);
  assert_int_equal(holdfast_pool_close(pool, 0), 0);
  assert_int_equal(holdfast_pool_close(pool, 0), 0);
  assert_int_equal(number_in("d/a.db", "SELECT count(*) FROM t"), 2);
  assert_int_equal(number_in("d/old.db", "SELECT count(*) FROM t"), 1);
}

/* A lease does not find out by itself: its write is refused, and the next lease has the new file. */
static void an_explicit_lease_never_writes_to_the_old_file(void **state)
{
  holdfast_pool *pool = with_one_row();

  (void)state;
  make_other("d/new.db", 50);
  assert_int_equal(rename("d/new.db", "d/a.db"), 0);
  if (journal_of_test != HOLDFAST_JOURNAL_DELETE) assert_int_equal(unlink("d/a.db-wal"), 0);
  if (journal_of_test != HOLDFAST_JOURNAL_DELETE) assert_int_equal(unlink("d/a.db-shm"), 0);
  assert_int_equal(lane_exec(pool, HOLDFAST_WRITE, "INSERT INTO t VALUES(51)") & 0xff, SQLITE_READONLY);
  assert_int_equal(lane_exec(pool, HOLDFAST_WRITE, "INSERT INTO t VALUES(52)"), SQLITE_OK);
  assert_int_equal(lane_number(pool, "SELECT count(*) FROM t WHERE x=52"), 1);
  assert_int_equal(holdfast_pool_close(pool, 0), 0);
  assert_int_equal(number_in("d/a.db", "SELECT count(*) FROM t"), 2);
}

/* Nothing writes, and the keeper sees it all the same. */
static void readers_follow_within_a_tick(void **state)
{
  holdfast_pool *pool = with_one_row();

  (void)state;
  make_other("d/new.db", 50);
  file_remove("d/a.db-wal");
  file_remove("d/a.db-shm");
  assert_int_equal(rename("d/new.db", "d/a.db"), 0);
  assert_int_equal(lane_exec(pool, HOLDFAST_READ, "SELECT 1"), SQLITE_OK);
  assert_true(lane_hears(HOLDFAST_POOL_REOPENED, 10000));
  assert_int_equal(lane_number(pool, "SELECT max(x) FROM t"), 50);
  assert_int_equal(holdfast_pool_close(pool, 0), 0);
}

/* An empty database in its place would hide the loss. */
static void a_lost_file_is_not_made_again(void **state)
{
  holdfast_pool *pool = with_one_row();

  (void)state;
  assert_int_equal(rename("d/a.db", "d/gone.db"), 0);
  assert_int_not_equal(holdfast_write(pool, lane_sql, (void *)"INSERT INTO t VALUES(2)"), 0);
  assert_int_not_equal(holdfast_write(pool, lane_sql, (void *)"INSERT INTO t VALUES(3)"), 0);
  assert_false(file_exists("d/a.db"));
  assert_int_equal(rename("d/gone.db", "d/a.db"), 0);
  assert_int_equal(holdfast_write(pool, lane_sql, (void *)"INSERT INTO t VALUES(4)"), 0);
  assert_int_equal(lane_number(pool, "SELECT count(*) FROM t"), 2);
  assert_int_equal(holdfast_pool_close(pool, 0), 0);
  assert_int_equal(number_in("d/a.db", "SELECT count(*) FROM t"), 2);
}

static int in_delete(void **state)
{
  journal_of_test = HOLDFAST_JOURNAL_DELETE;
  return fresh_directory(state);
}
static int in_wal(void **state)
{
  journal_of_test = HOLDFAST_JOURNAL_WAL_IF_POSSIBLE;
  return fresh_directory(state);
}
#define IN_DIRECTORY(test)  cmocka_unit_test_setup(test, fresh_directory)
#define IN_BOTH_MODES(test) cmocka_unit_test_setup(test, in_delete), cmocka_unit_test_setup(test, in_wal)

int main(void)
{
  const struct CMUnitTest tests[] = {
      IN_DIRECTORY(every_name_of_a_file_is_the_same_pool),
      IN_DIRECTORY(a_hard_link_is_the_same_pool_and_another_file_is_not),
      IN_DIRECTORY(a_link_to_a_file_that_is_not_there_yet),
      IN_DIRECTORY(a_changed_directory_does_not_lead_readers_elsewhere),
      IN_DIRECTORY(memory_databases_are_private),
      IN_DIRECTORY(another_configuration_is_refused_and_silence_agrees),
      IN_DIRECTORY(what_cannot_be_opened_says_why_and_leaves_nothing),
      IN_DIRECTORY(many_threads_open_one_pool),
      IN_BOTH_MODES(a_replaced_file_is_opened_anew),
      IN_BOTH_MODES(an_explicit_lease_never_writes_to_the_old_file),
      IN_BOTH_MODES(readers_follow_within_a_tick),
      IN_BOTH_MODES(a_lost_file_is_not_made_again),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
