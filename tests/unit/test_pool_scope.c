/*
 * pool_scope.c, pool_lease.c, pool_statements.c and pool_wait.c: transactions that say the truth, connections
 * that come back clean, one deadline.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lane.h"
#include "pool.h"

static holdfast_pool *pool;
static sqlite3 *plain; /* another connection to the file, as another process has it */

static int open_all(int journal, int wait_ms, int statements)
{
  holdfast_pool_config config = {.struct_size = sizeof config,
                                 .readers = 2,
                                 .wait_ms = wait_ms,
                                 .journal = journal,
                                 .statements = statements};
  if (system("rm -f s.db*")) return -1;
  if (holdfast_pool_open("s.db", &config, &pool)) return -1;
  if (lane_exec(pool, HOLDFAST_WRITE, "CREATE TABLE t(x PRIMARY KEY)")) return -1;
  lane_listen(pool);
  return sqlite3_open("s.db", &plain);
}
static int in_wal(void **state)
{
  (void)state;
  return open_all(0, 300, 4);
}
static int in_delete(void **state)
{
  (void)state;
  return open_all(HOLDFAST_JOURNAL_DELETE, 300, 4);
}
static int end_all(void **state)
{
  (void)state;
  sqlite3_close(plain);
  return holdfast_pool_close(pool, 0);
}

static int write_sql(const char *sql)
{
  return holdfast_write(pool, lane_sql, (void *)(uintptr_t)sql);
}

/* ---------------------------------------------------------------- what a write says */

static int fails_after_writing(holdfast_lease *lease, void *arg)
{
  (void)lane_sql(lease, (void *)"INSERT INTO t VALUES(1)");
  return *(int *)arg;
}

static void a_write_is_done_when_commit_was(void **state)
{
  int code = 4711;

  (void)state;
  assert_int_equal(write_sql("INSERT INTO t VALUES(9)"), 0);
  assert_int_equal(holdfast_write(pool, fails_after_writing, &code), 4711);
  assert_int_equal(lane_number(pool, "SELECT sum(x) FROM t"), 9);
}

/* SQLite ended the transaction by itself, and the function does not say so. */
static int hides_a_rollback(holdfast_lease *lease, void *arg)
{
  (void)arg;
  (void)lane_sql(lease, (void *)"INSERT INTO t VALUES(1)");
  (void)lane_sql(lease, (void *)"INSERT OR ROLLBACK INTO t VALUES(1)");
  return 0;
}

static void a_transaction_that_sqlite_took_back_is_not_called_done(void **state)
{
  (void)state;
  assert_int_equal(holdfast_write(pool, hides_a_rollback, NULL), SQLITE_CONSTRAINT_PRIMARYKEY);
  assert_int_equal(write_sql("COMMIT"), HOLDFAST_MISUSE);
  assert_int_equal(lane_number(pool, "SELECT count(*) FROM t"), 0);
}

/* F10: a write that begins as a read cannot wait for the lock. These begin as writes. */
static void a_writer_elsewhere_is_waited_for(void **state)
{
  int64_t began;

  (void)state;
  assert_int_equal(sqlite3_exec(plain, "BEGIN IMMEDIATE; INSERT INTO t VALUES(5)", NULL, NULL, NULL),
                   SQLITE_OK);
  began = hf_now();
  assert_int_equal(write_sql("INSERT INTO t VALUES(6)"), HOLDFAST_TIMEOUT);
  assert_in_range(hf_now() - began, 290 * HF_MS, 3000 * HF_MS);
  assert_non_null(strstr(holdfast_errmsg(), "another process or connection"));
  assert_int_equal(sqlite3_exec(plain, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
  assert_int_equal(write_sql("INSERT INTO t VALUES(6)"), 0);
  assert_int_equal(lane_number(pool, "SELECT sum(x) FROM t"), 11);
}

/* Who has met others and has written for long since leaves the lock free for 5 ms; alone, nobody does. */
static void a_writer_gives_way_to_those_it_has_met(void **state)
{
  int64_t began;

  (void)state;
  assert_int_equal(write_sql("INSERT INTO t VALUES(1)"), 0);
  assert_int_equal(pool->met_ns, 0);
  assert_int_equal(sqlite3_exec(plain, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
  assert_int_equal(write_sql("INSERT INTO t VALUES(2)"), HOLDFAST_TIMEOUT);
  assert_int_equal(sqlite3_exec(plain, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
  assert_true(pool->met_ns != 0);
  began = hf_now();
  pool->met_ns = began; /* however slow this machine is */
  pool->turn_ns = began - 50 * HF_MS;
  assert_int_equal(write_sql("INSERT INTO t VALUES(3)"), 0);
  assert_true(hf_now() - began >= 5 * HF_MS);
  assert_true(pool->turn_ns > began - 10 * HF_MS); /* a new turn has begun */
  pool->met_ns = hf_now() - 2000 * HF_MS;
  assert_int_equal(write_sql("INSERT INTO t VALUES(4)"), 0);
  assert_int_equal(pool->met_ns, 0); /* they are forgotten */
}

static void *release_after_200_ms(void *lease)
{
  lane_nap(200);
  (void)holdfast_release(lease);
  return NULL;
}

/* 300 ms in all, of which the queue takes 200: what is left for the lock is 100, and not 300. */
static void one_deadline_covers_the_queue_and_the_lock(void **state)
{
  lane_other other;
  pthread_t late;
  int64_t began;

  (void)state;
  assert_int_equal(sqlite3_exec(plain, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
  lane_take(&other, pool, HOLDFAST_WRITE, NULL);
  assert_int_equal(lane_result(&other), 0);
  began = hf_now();
  assert_int_equal(pthread_create(&late, NULL, release_after_200_ms, other.lease), 0);
  assert_int_equal(write_sql("INSERT INTO t VALUES(6)"), HOLDFAST_TIMEOUT);
  assert_in_range(hf_now() - began, 290 * HF_MS, 480 * HF_MS);
  pthread_join(late, NULL);
  assert_int_equal(sqlite3_exec(plain, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
}

static int reads_then_writes(holdfast_lease *lease, void *arg)
{
  *(int *)arg = lane_sql(lease, (void *)"SELECT count(*) FROM t");
  *(int *)arg = write_sql("INSERT INTO t VALUES(1)");
  return 0;
}

/* Without WAL the commit would wait for this thread's own read; with it there is nothing to wait for. */
static void a_write_inside_a_read_of_this_thread(void **state)
{
  int rc = -99;
  int64_t began = hf_now();

  (void)state;
  assert_int_equal(holdfast_read(pool, reads_then_writes, &rc), 0);
  assert_int_equal(rc, strcmp(pool->journal, "wal") ? HOLDFAST_REENTRANT : 0);
  assert_in_range(hf_now() - began, 0, 250 * HF_MS);
}

static int counts_twice(holdfast_lease *lease, void *arg)
{
  long *seen = arg;
  sqlite3_stmt *stmt;

  for (int i = 0; i < 2; i++) {
    if (holdfast_prepare(lease, "SELECT count(*) FROM t", &stmt) || sqlite3_step(stmt) != SQLITE_ROW)
      return 1;
    seen[i] = (long)sqlite3_column_int64(stmt, 0);
    if (i == 0) (void)sqlite3_exec(plain, "INSERT INTO t VALUES(77)", NULL, NULL, NULL);
  }
  return 0;
}

static void a_read_sees_one_snapshot(void **state)
{
  long seen[2] = {-1, -2};

  (void)state;
  assert_int_equal(holdfast_read(pool, counts_twice, seen), 0);
  assert_int_equal(seen[0], seen[1]);
  assert_int_equal(lane_events(HOLDFAST_POOL_UNCLEAN),
                   0); /* statements in mid-step are the scope's business */
}

/* ---------------------------------------------------------------- what comes back */

static void what_was_left_open_is_cleaned_and_counted(void **state)
{
  static const char *const left[] = {"BEGIN", "BEGIN; INSERT INTO t VALUES(1)", "SAVEPOINT a"};
  holdfast_stats stats = {.struct_size = sizeof stats};
  holdfast_lease *lease;
  sqlite3_stmt *raw;

  (void)state;
  for (int i = 0; i < 3; i++) {
    assert_int_equal(lane_exec(pool, HOLDFAST_WRITE, left[i]), SQLITE_OK);
    assert_int_equal(lane_events(HOLDFAST_POOL_UNCLEAN), i + 1);
    assert_non_null(strstr(lane_text(HOLDFAST_POOL_UNCLEAN), i == 1 ? "INSERT INTO t" : left[i]));
    assert_int_equal(write_sql("SELECT 1"), 0);
  }
  assert_int_equal(write_sql("INSERT INTO t VALUES(3),(4)"), 0);
  assert_int_equal(holdfast_acquire(pool, HOLDFAST_READ, 0, &lease), 0);
  assert_int_equal(sqlite3_prepare_v2(holdfast_lease_db(lease), "SELECT x FROM t", -1, &raw, NULL),
                   SQLITE_OK);
  assert_int_equal(sqlite3_step(raw), SQLITE_ROW);
  assert_int_equal(holdfast_release(lease), 0); /* a raw statement in mid-step: the snapshot goes with it */
  assert_int_equal(lane_events(HOLDFAST_POOL_UNCLEAN), 4);
  assert_int_equal(write_sql("DELETE FROM t WHERE x=3"), 0);
  assert_int_equal(lane_number(pool, "SELECT count(*) FROM t"), 1);
  assert_int_equal(holdfast_pool_stats(pool, &stats), 0);
  assert_int_equal(stats.unclean, 4);
  assert_int_equal(stats.discarded, 0);
  sqlite3_finalize(raw);
}

static void statements_are_kept_within_their_limit(void **state)
{
  holdfast_stats before = {.struct_size = sizeof before}, after = before;
  holdfast_lease *lease;
  sqlite3_stmt *a, *b, *c;
  char sql[40];

  (void)state;
  assert_int_equal(write_sql("INSERT INTO t VALUES(1),(2)"), 0);
  assert_int_equal(holdfast_acquire(pool, HOLDFAST_WRITE, 0, &lease), 0);
  assert_int_equal(holdfast_prepare(lease, "SELECT x FROM t WHERE x=?", &a), 0);
  sqlite3_bind_int(a, 1, 2);
  assert_int_equal(sqlite3_step(a), SQLITE_ROW);
  assert_int_equal(holdfast_prepare(lease, "SELECT x FROM t WHERE x=?", &b),
                   0); /* while a is being stepped */
  assert_ptr_not_equal(a, b);
  assert_int_equal(sqlite3_column_int(a, 0), 2);
  assert_int_equal(sqlite3_step(a), SQLITE_DONE);
  assert_int_equal(holdfast_prepare(lease, "SELECT x FROM t WHERE x=?", &c), 0);
  assert_ptr_equal(a, c);
  assert_int_equal(sqlite3_step(c), SQLITE_DONE); /* no binding is left */
  assert_int_equal(holdfast_prepare(lease, "SELECT 1; SELECT 2", &b), SQLITE_ERROR);
  assert_int_equal(holdfast_prepare(lease, "  ", &b), SQLITE_ERROR);
  assert_int_equal(holdfast_prepare(lease, "SELECT 3; ", &b), 0);
  for (int i = 0; i < 20; i++) { /* more than are kept, all of them out */
    snprintf(sql, sizeof sql, "SELECT %d", i);
    assert_int_equal(holdfast_prepare(lease, sql, &b), 0);
    assert_int_equal(sqlite3_step(b), SQLITE_ROW);
  }
  assert_int_equal(lease->statements.count, 22);
  assert_int_equal(holdfast_release(lease), 0);
  assert_int_equal(pool->write.connections[0].statements.count, 4);
  assert_int_equal(lane_events(HOLDFAST_POOL_UNCLEAN), 1); /* the twenty were in mid-step */

  assert_int_equal(holdfast_pool_stats(pool, &before), 0);
  assert_int_equal(holdfast_acquire(pool, HOLDFAST_WRITE, 0, &lease), 0);
  assert_int_equal(holdfast_prepare(lease, "SELECT 19", &b), 0);
  assert_int_equal(holdfast_prepare(lease, "SELECT 0", &b), 0);
  assert_int_equal(holdfast_release(lease), 0);
  assert_int_equal(holdfast_pool_stats(pool, &after), 0);
  assert_int_equal(after.statements_hit - before.statements_hit, 1);
  assert_int_equal(after.statements_missed - before.statements_missed, 1);
}

/* ---------------------------------------------------------------- what the keeper sees */

static int with_a_short_patience(void **state)
{
  holdfast_pool_config config = {.struct_size = sizeof config,
                                 .readers = 2,
                                 .leak_ms = 500, /* valgrind on a busy machine takes its time, too */
                                 .max_read_age_ms = 500,
                                 .checkpoint_frames = 10};
  (void)state;
  if (system("rm -f s.db*")) return -1;
  if (holdfast_pool_open("s.db", &config, &pool)) return -1;
  if (lane_exec(pool, HOLDFAST_WRITE, "CREATE TABLE t(x PRIMARY KEY); INSERT INTO t VALUES(1),(2),(3)"))
    return -1;
  lane_listen(pool);
  return sqlite3_open("s.db", &plain);
}

static void a_lease_that_is_out_long_is_reported_once(void **state)
{
  holdfast_options options = {.struct_size = sizeof options, .tag = "long work"};
  holdfast_lease *lease;

  (void)state;
  assert_int_equal(holdfast_acquire_with(pool, HOLDFAST_WRITE, &options, &lease), 0);
  assert_int_equal(lane_sql(lease, (void *)"SELECT count(*) FROM t"), SQLITE_OK);
  assert_true(lane_hears(HOLDFAST_POOL_LEAK, 10000));
  assert_non_null(strstr(lane_text(HOLDFAST_POOL_LEAK), "long work"));
  assert_non_null(strstr(lane_text(HOLDFAST_POOL_LEAK), "SELECT count(*) FROM t"));
  lane_nap(700);
  assert_int_equal(lane_events(HOLDFAST_POOL_LEAK), 1);
  assert_int_equal(holdfast_release(lease), 0);
  assert_int_equal(lane_events(HOLDFAST_POOL_RETURNED), 1);
}

/* An idle transaction is rolled back; what its thread does next says so instead of seeing something else. */
static void an_old_idle_transaction_is_ended(void **state)
{
  holdfast_lease *lease;
  holdfast_checkpoint report = {.struct_size = sizeof report};

  (void)state;
  assert_int_equal(holdfast_acquire(pool, HOLDFAST_READ, 0, &lease), 0);
  assert_int_equal(lane_sql(lease, (void *)"BEGIN; SELECT count(*) FROM t"), SQLITE_OK);
  assert_int_equal(write_sql("INSERT INTO t VALUES(10)"), 0);
  assert_true(lane_hears(HOLDFAST_POOL_READ_ENDED, 10000));
  assert_int_equal(write_sql("INSERT INTO t VALUES(11)"), 0);
  assert_int_equal(holdfast_pool_checkpoint(pool, 0, &report), 0);
  assert_int_equal(report.state, HOLDFAST_CHECKPOINT_COMPLETE); /* it pins nothing any more */
  assert_int_equal(lane_sql(lease, (void *)"SELECT count(*) FROM t"), SQLITE_INTERRUPT);
  assert_int_equal(holdfast_release(lease), 0);
  assert_int_equal(lane_events(HOLDFAST_POOL_DISCARDED), 1);
  assert_int_equal(lane_number(pool, "SELECT count(*) FROM t"), 5);
}

/* A statement in mid-step is its thread's: it is told with its next step. */
static void an_old_statement_is_ended_by_its_next_step(void **state)
{
  holdfast_lease *lease;
  sqlite3_stmt *stmt;

  (void)state;
  assert_int_equal(holdfast_acquire(pool, HOLDFAST_READ, 0, &lease), 0);
  assert_int_equal(holdfast_prepare(lease, "SELECT x FROM t ORDER BY x", &stmt), 0);
  assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
  assert_true(lane_hears(HOLDFAST_POOL_READ_ENDED, 10000));
  assert_int_equal(sqlite3_column_int(stmt, 0), 1); /* what it has read stays readable */
  assert_int_equal(sqlite3_step(stmt), SQLITE_INTERRUPT);
  assert_int_equal(holdfast_release(lease), 0);
  assert_int_equal(lane_number(pool, "SELECT count(*) FROM t"), 3);
}

/* A lease without a transaction keeps nothing: however old, it is left alone. */
static void an_old_lease_that_reads_nothing_is_left_alone(void **state)
{
  holdfast_lease *lease;

  (void)state;
  assert_int_equal(holdfast_acquire(pool, HOLDFAST_READ, 0, &lease), 0);
  assert_int_equal(lane_sql(lease, (void *)"SELECT count(*) FROM t"), SQLITE_OK);
  lane_nap(900);
  assert_int_equal(lane_events(HOLDFAST_POOL_READ_ENDED), 0);
  assert_int_equal(lane_sql(lease, (void *)"SELECT count(*) FROM t"), SQLITE_OK);
  assert_int_equal(holdfast_release(lease), 0);
}

/* F12: complete, partial with a name, and partial because of somebody outside. */
static void a_checkpoint_says_what_it_reached_and_who_is_in_the_way(void **state)
{
  holdfast_options options = {.struct_size = sizeof options, .tag = "the report"};
  holdfast_checkpoint report = {.struct_size = sizeof report};
  holdfast_lease *lease;

  (void)state;
  assert_int_equal(write_sql("INSERT INTO t VALUES(1)"), 0);
  assert_int_equal(holdfast_pool_checkpoint(pool, 0, &report), 0);
  assert_int_equal(report.state, HOLDFAST_CHECKPOINT_COMPLETE);
  assert_int_equal(report.copied, report.frames);
  assert_int_equal(report.pin, -1);
  assert_int_equal(holdfast_acquire_with(pool, HOLDFAST_READ, &options, &lease), 0);
  assert_int_equal(lane_sql(lease, (void *)"BEGIN; SELECT max(x) FROM t"), SQLITE_OK);
  assert_int_equal(write_sql("INSERT INTO t VALUES(2)"), 0);
  assert_int_equal(write_sql("INSERT INTO t VALUES(3)"), 0);
  assert_int_equal(holdfast_pool_checkpoint(pool, 0, &report), 0);
  assert_int_equal(report.state, HOLDFAST_CHECKPOINT_PARTIAL);
  assert_int_equal(report.pin, 1);
  assert_string_equal(report.pin_tag, "the report");
  assert_string_equal(report.pin_sql, "SELECT max(x) FROM t");
  assert_true(lane_hears(HOLDFAST_POOL_PINNED, 1000)); /* within a second of the first incomplete one */
  assert_int_equal(holdfast_release(lease), 0);

  lane_listen(pool);
  assert_int_equal(sqlite3_exec(plain, "BEGIN; SELECT * FROM t", NULL, NULL, NULL), SQLITE_OK);
  assert_int_equal(write_sql("INSERT INTO t VALUES(4)"), 0);
  assert_int_equal(holdfast_pool_checkpoint(pool, 0, &report), 0);
  assert_int_equal(report.state, HOLDFAST_CHECKPOINT_PARTIAL);
  assert_int_equal(report.pin, 0);
  assert_true(lane_hears(HOLDFAST_POOL_PINNED, 3000));
  assert_non_null(strstr(lane_text(HOLDFAST_POOL_PINNED), "outside of this pool: one of this process"));
  assert_int_equal(sqlite3_exec(plain, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
  assert_int_equal(holdfast_pool_checkpoint(pool, 0, &report), 0);
  assert_int_equal(report.state, HOLDFAST_CHECKPOINT_COMPLETE);
}

#define IN(mode, test) cmocka_unit_test_setup_teardown(test, mode, end_all)
int main(void)
{
  const struct CMUnitTest tests[] = {
      IN(in_wal, a_write_is_done_when_commit_was),
      IN(in_delete, a_write_is_done_when_commit_was),
      IN(in_wal, a_transaction_that_sqlite_took_back_is_not_called_done),
      IN(in_wal, a_writer_elsewhere_is_waited_for),
      IN(in_delete, a_writer_elsewhere_is_waited_for),
      IN(in_wal, a_writer_gives_way_to_those_it_has_met),
      IN(in_delete, a_writer_gives_way_to_those_it_has_met),
      IN(in_wal, one_deadline_covers_the_queue_and_the_lock),
      IN(in_wal, a_write_inside_a_read_of_this_thread),
      IN(in_delete, a_write_inside_a_read_of_this_thread),
      IN(in_wal, a_read_sees_one_snapshot),
      IN(in_delete, a_read_sees_one_snapshot),
      IN(in_wal, what_was_left_open_is_cleaned_and_counted),
      IN(in_delete, what_was_left_open_is_cleaned_and_counted),
      IN(in_wal, statements_are_kept_within_their_limit),
      IN(with_a_short_patience, a_lease_that_is_out_long_is_reported_once),
      IN(with_a_short_patience, an_old_idle_transaction_is_ended),
      IN(with_a_short_patience, an_old_statement_is_ended_by_its_next_step),
      IN(with_a_short_patience, an_old_lease_that_reads_nothing_is_left_alone),
      IN(in_wal, a_checkpoint_says_what_it_reached_and_who_is_in_the_way),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
