/*
 * pool_queue.c: who gets which connection, in what order, and what those are told who get none.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lane.h"
#include "pool.h"

static holdfast_options waits(int ms, const char *tag)
{
  return (holdfast_options){.struct_size = sizeof(holdfast_options), .wait_ms = ms, .tag = tag};
}

static holdfast_pool *fresh(int readers, int handoff_us)
{
  holdfast_pool_config config = {.struct_size = sizeof config,
                                 .readers = readers,
                                 .handoff_us = handoff_us,
                                 .check = HOLDFAST_CHECK_NONE};
  (void)remove("q.db");
  return lane_pool("q.db", &config);
}

static void one_writer_and_so_many_readers(void **state)
{
  holdfast_pool *pool = fresh(2, 0);
  holdfast_lease *write, *read[2], *more = NULL;

  (void)state;
  assert_int_equal(holdfast_acquire(pool, HOLDFAST_WRITE, HOLDFAST_NO_WAIT, &write), 0);
  for (int i = 0; i < 2; i++)
    assert_int_equal(holdfast_acquire(pool, HOLDFAST_READ, HOLDFAST_NO_WAIT, &read[i]), 0);
  assert_ptr_not_equal(holdfast_lease_db(read[0]), holdfast_lease_db(read[1]));
  assert_ptr_not_equal(holdfast_lease_db(read[0]), holdfast_lease_db(write));
  /* A lease of this thread's own is in the way: waiting would not end. */
  assert_int_equal(holdfast_acquire(pool, HOLDFAST_READ, 60000, &more), HOLDFAST_REENTRANT);
  assert_null(more);
  for (int i = 0; i < 2; i++) assert_int_equal(holdfast_release(read[i]), 0);
  assert_int_equal(holdfast_release(write), 0);
  assert_int_equal(holdfast_release(write), HOLDFAST_MISUSE);
  assert_int_equal(holdfast_pool_close(pool, 0), 0);
}

static void a_second_write_of_this_thread_is_refused_with_the_first_tag(void **state)
{
  holdfast_pool *pool = fresh(2, 0);
  holdfast_options first = waits(0, "the importer");
  holdfast_lease *lease, *second;

  (void)state;
  assert_int_equal(holdfast_acquire_with(pool, HOLDFAST_WRITE, &first, &lease), 0);
  assert_int_equal(holdfast_acquire(pool, HOLDFAST_WRITE, 60000, &second), HOLDFAST_REENTRANT);
  assert_non_null(strstr(holdfast_errmsg(), "the importer"));
  assert_non_null(strstr(holdfast_errmsg(), "q.db"));
  assert_int_equal(holdfast_write(pool, lane_sql, (void *)"SELECT 1"), HOLDFAST_REENTRANT);
  assert_int_equal(holdfast_pool_close(pool, 0), HOLDFAST_REENTRANT);
  assert_int_equal(holdfast_release(lease), 0);
  assert_int_equal(holdfast_pool_close(pool, 0), 0);
}

static void who_waits_in_vain_is_told_who_held_it(void **state)
{
  holdfast_pool *pool = fresh(2, 0);
  holdfast_options holder = waits(0, "nightly report");
  lane_other other;
  holdfast_lease *lease;
  int64_t began;

  (void)state;
  lane_take(&other, pool, HOLDFAST_WRITE, &holder);
  assert_int_equal(lane_result(&other), 0);
  assert_int_equal(lane_sql(other.lease, (void *)"CREATE TABLE slow(x)"), SQLITE_OK);
  assert_int_equal(holdfast_acquire(pool, HOLDFAST_WRITE, HOLDFAST_NO_WAIT, &lease), HOLDFAST_TIMEOUT);
  began = hf_now();
  assert_int_equal(holdfast_acquire(pool, HOLDFAST_WRITE, 50, &lease), HOLDFAST_TIMEOUT);
  assert_in_range(hf_now() - began, 50 * HF_MS, 2000 * HF_MS);
  assert_non_null(strstr(holdfast_errmsg(), "nightly report"));
  assert_non_null(strstr(holdfast_errmsg(), "CREATE TABLE slow(x)"));
  assert_non_null(strstr(holdfast_errmsg(), "write lane"));
  assert_int_equal(holdfast_release(other.lease), 0);
  assert_int_equal(holdfast_pool_close(pool, 0), 0);
}

/* Handed over: whoever comes after the release does not get it. */
static void the_first_in_the_queue_is_not_passed_in_strict_order(void **state)
{
  holdfast_pool *pool = fresh(2, HOLDFAST_OFF);
  lane_other others[3];
  holdfast_lease *lease, *late;
  holdfast_options wait = waits(20000, "waits");

  (void)state;
  assert_int_equal(holdfast_acquire(pool, HOLDFAST_WRITE, 0, &lease), 0);
  for (int i = 0; i < 3; i++) {
    lane_take(&others[i], pool, HOLDFAST_WRITE, &wait);
    lane_wait_for(pool, HOLDFAST_WRITE, i + 1);
  }
  assert_int_equal(holdfast_release(lease), 0);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(lane_result(&others[i]), 0);
    assert_int_equal(holdfast_acquire(pool, HOLDFAST_WRITE, HOLDFAST_NO_WAIT, &late), HOLDFAST_TIMEOUT);
    for (int k = i + 1; k < 3; k++) assert_null(others[k].lease);
    assert_int_equal(holdfast_release(others[i].lease), 0);
  }
  assert_int_equal(holdfast_pool_close(pool, 0), 0);
}

/* Within the window a connection is left free, so the one who releases may take it again at once. */
static void the_releaser_may_pass_within_the_window_and_not_after(void **state)
{
  holdfast_pool *pool = fresh(2, 200000); /* 200 ms: wide enough to be inside of it for sure */
  lane_other other;
  holdfast_lease *lease, *again = NULL;
  holdfast_options wait = waits(20000, "waits");
  int passed = 0;

  (void)state;
  for (int i = 0; i < 20 && !passed; i++) {
    assert_int_equal(holdfast_acquire(pool, HOLDFAST_WRITE, 0, &lease), 0);
    lane_take(&other, pool, HOLDFAST_WRITE, &wait);
    assert_int_equal(holdfast_release(lease), 0);
    passed = holdfast_acquire(pool, HOLDFAST_WRITE, HOLDFAST_NO_WAIT, &again) == 0;
    if (passed) {
      lane_nap(250);
      assert_int_equal(holdfast_release(again), 0); /* its wait is longer than the window now: handed over */
      assert_int_equal(holdfast_acquire(pool, HOLDFAST_WRITE, HOLDFAST_NO_WAIT, &again), HOLDFAST_TIMEOUT);
    }
    assert_int_equal(lane_result(&other), 0);
    assert_int_equal(holdfast_release(other.lease), 0);
  }
  assert_int_equal(passed, 1);
  assert_int_equal(holdfast_pool_close(pool, 0), 0);
}

static void *fire(void *cancel)
{
  holdfast_cancel_fire(cancel);
  return NULL;
}

static void a_cancel_ends_waits_and_statements(void **state)
{
  static const char endless[] =
      "WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM i) SELECT count(*) FROM i";
  holdfast_pool *pool = fresh(2, 0);
  holdfast_options wait = waits(20000, "cancelled");
  holdfast_lease *lease;
  lane_other other;
  pthread_t firing;

  (void)state;
  assert_int_equal(holdfast_cancel_new(&wait.cancel), 0);
  assert_int_equal(holdfast_acquire(pool, HOLDFAST_WRITE, 0, &lease), 0);
  lane_take(&other, pool, HOLDFAST_WRITE, &wait);
  holdfast_cancel_fire(wait.cancel);
  assert_int_equal(lane_result(&other), HOLDFAST_CANCELLED);
  assert_int_equal(holdfast_release(lease), 0);
  assert_int_equal(holdfast_acquire_with(pool, HOLDFAST_READ, &wait, &lease), HOLDFAST_CANCELLED);
  holdfast_cancel_reset(wait.cancel);

  assert_int_equal(holdfast_acquire_with(pool, HOLDFAST_READ, &wait, &lease), 0);
  assert_int_equal(pthread_create(&firing, NULL, fire, wait.cancel), 0);
  while (lane_sql(lease, (void *)endless) != SQLITE_INTERRUPT) continue;
  pthread_join(firing, NULL);
  assert_int_equal(holdfast_release(lease), 0);
  holdfast_cancel_free(wait.cancel);
  assert_int_equal(holdfast_pool_close(pool, 0), 0);
}

/* The shot falls into the set-up of a connection, and is forgotten before anybody looks. */
static int is_shot(sqlite3 *db, int mode, void *cancel)
{
  sqlite3_stmt *stmt;
  int rc;

  if (mode == HOLDFAST_WRITE) return 0;
  if (sqlite3_prepare_v2(db, "SELECT 1 UNION ALL SELECT 2", -1, &stmt, NULL)) return SQLITE_ERROR;
  rc = sqlite3_step(stmt);
  holdfast_cancel_fire(cancel);
  holdfast_cancel_reset(cancel);
  if (rc == SQLITE_ROW) rc = sqlite3_step(stmt);
  sqlite3_finalize(stmt);
  return rc;
}

static void a_cancel_in_the_set_up_of_a_connection_is_called_that(void **state)
{
  holdfast_options wait = waits(20000, "cancelled");
  holdfast_pool_config config = {.struct_size = sizeof config, .readers = 2, .on_connect = is_shot};
  holdfast_lease *lease;
  holdfast_pool *pool;

  (void)state;
  assert_int_equal(holdfast_cancel_new(&wait.cancel), 0);
  config.on_connect_arg = wait.cancel;
  (void)remove("q.db");
  pool = lane_pool("q.db", &config);
  assert_int_equal(holdfast_acquire_with(pool, HOLDFAST_READ, &wait, &lease), HOLDFAST_CANCELLED);
  assert_int_equal(holdfast_pool_close(pool, 0), 0);
  holdfast_cancel_free(wait.cancel);
}

/* Not every short lease is timed, but every long one, and the short ones count for those that are not. */
static void a_long_lease_is_timed_among_many_short_ones(void **state)
{
  holdfast_pool *pool = fresh(2, 0);
  holdfast_stats stats = {.struct_size = sizeof stats};
  holdfast_lease *lease;

  (void)state;
  for (int i = 0; i < 2000; i++) {
    assert_int_equal(holdfast_acquire(pool, HOLDFAST_READ, 0, &lease), 0);
    if (i == 1000) lane_nap(50);
    assert_int_equal(holdfast_release(lease), 0);
  }
  assert_int_equal(holdfast_pool_stats(pool, &stats), 0);
  assert_int_equal(stats.read.acquired, 2000);
  assert_true(stats.read.hold_max_ns >= 50000000);
  assert_true(stats.read.hold_ns >= stats.read.hold_max_ns);
  assert_true(stats.read.hold_p50_ns > 0 && stats.read.hold_p50_ns < 50000000);
  assert_int_equal(holdfast_pool_close(pool, 0), 0);
}

/* A pool of one connection: reads and writes take turns, and a read cannot write. */
static void one_connection_serves_both_lanes(void **state)
{
  holdfast_pool *pool = fresh(HOLDFAST_OFF, 0);
  holdfast_lease *lease, *second;

  (void)state;
  assert_int_equal(lane_exec(pool, HOLDFAST_WRITE, "CREATE TABLE t(x); INSERT INTO t VALUES(1)"), SQLITE_OK);
  assert_int_equal(lane_number(pool, "SELECT count(*) FROM t"), 1);
  assert_int_equal(holdfast_acquire(pool, HOLDFAST_WRITE, 0, &lease), 0);
  assert_int_equal(holdfast_acquire(pool, HOLDFAST_READ, 60000, &second), HOLDFAST_REENTRANT);
  assert_int_equal(holdfast_release(lease), 0);
  assert_int_not_equal(lane_exec(pool, HOLDFAST_READ, "INSERT INTO t VALUES(2)"), SQLITE_OK);
  assert_int_equal(lane_number(pool, "SELECT count(*) FROM t"), 1);
  assert_int_equal(holdfast_pool_close(pool, 0), 0);
}

static void a_reader_refuses_to_write(void **state)
{
  holdfast_pool *pool = fresh(2, 0);

  (void)state;
  assert_int_equal(lane_exec(pool, HOLDFAST_WRITE, "CREATE TABLE t(x)"), SQLITE_OK);
  assert_int_equal(lane_exec(pool, HOLDFAST_READ, "INSERT INTO t VALUES(2)"), SQLITE_READONLY);
  assert_int_equal(holdfast_pool_close(pool, 0), 0);
}

/* The last close with a lease out: waits, interrupts, and leaves the rest to the release. */
static void a_lease_may_outlive_its_pool(void **state)
{
  holdfast_pool *pool = fresh(2, 0);
  holdfast_options who = waits(0, "forgotten");
  lane_other other;

  (void)state;
  lane_take(&other, pool, HOLDFAST_READ, &who);
  assert_int_equal(lane_result(&other), 0);
  assert_int_equal(holdfast_pool_close(pool, 20), HOLDFAST_TIMEOUT);
  assert_non_null(strstr(holdfast_errmsg(), "forgotten"));
  assert_int_equal(lane_sql(other.lease, (void *)"SELECT 1"), SQLITE_OK);
  assert_int_equal(holdfast_release(other.lease), 0); /* memcheck sees that all of it is freed now */
}

static void bad_arguments_are_named(void **state)
{
  holdfast_pool_config config = {.struct_size = sizeof config, .readers = 1000};
  holdfast_pool *pool = NULL;
  holdfast_lease *lease;

  (void)state;
  assert_int_equal(holdfast_pool_open("q.db", &config, &pool), HOLDFAST_MISUSE);
  assert_non_null(strstr(holdfast_errmsg(), "readers"));
  config = (holdfast_pool_config){.struct_size = 3};
  assert_int_equal(holdfast_pool_open("q.db", &config, &pool), HOLDFAST_MISUSE);
  assert_int_equal(holdfast_pool_open(NULL, NULL, &pool), HOLDFAST_MISUSE);
  assert_null(pool);
  pool = fresh(1, 0);
  assert_int_equal(holdfast_acquire(pool, 3, 0, &lease), HOLDFAST_MISUSE);
  assert_int_equal(holdfast_acquire(pool, HOLDFAST_READ, -2, &lease), HOLDFAST_MISUSE);
  assert_int_equal(holdfast_acquire(NULL, HOLDFAST_READ, 0, &lease), HOLDFAST_MISUSE);
  assert_int_equal(holdfast_release(NULL), 0);
  assert_string_equal(holdfast_strerror(HOLDFAST_TIMEOUT), "the wait for a connection or a lock ended");
  assert_string_equal(holdfast_strerror(SQLITE_CORRUPT), sqlite3_errstr(SQLITE_CORRUPT));
  assert_string_equal(holdfast_strerror(-99), "unknown code");
  assert_int_equal(holdfast_pool_close(pool, 0), 0);
}

static void percentiles_are_at_most_a_quarter_too_high(void **state)
{
  static hf_histogram counted;

  (void)state;
  for (int64_t ns = 1; ns <= 1000000; ns += 7) hf_histogram_add(&counted, ns, 1);
  assert_in_range(hf_histogram_at(&counted, 500), 500000, 625000);
  assert_in_range(hf_histogram_at(&counted, 990), 990000, 1000000);
  assert_int_equal(counted.max, 1 + (999999 / 7) * 7);
  assert_int_equal(hf_histogram_at(&counted, 1000), counted.max);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(one_writer_and_so_many_readers),
      cmocka_unit_test(a_second_write_of_this_thread_is_refused_with_the_first_tag),
      cmocka_unit_test(who_waits_in_vain_is_told_who_held_it),
      cmocka_unit_test(the_first_in_the_queue_is_not_passed_in_strict_order),
      cmocka_unit_test(the_releaser_may_pass_within_the_window_and_not_after),
      cmocka_unit_test(a_cancel_ends_waits_and_statements),
      cmocka_unit_test(a_cancel_in_the_set_up_of_a_connection_is_called_that),
      cmocka_unit_test(a_long_lease_is_timed_among_many_short_ones),
      cmocka_unit_test(one_connection_serves_both_lanes),
      cmocka_unit_test(a_reader_refuses_to_write),
      cmocka_unit_test(a_lease_may_outlive_its_pool),
      cmocka_unit_test(bad_arguments_are_named),
      cmocka_unit_test(percentiles_are_at_most_a_quarter_too_high),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
