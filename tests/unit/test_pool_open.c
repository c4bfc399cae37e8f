/*
 * The opening of a pool: the journal mode is settled first, an error is what it is, and damage is told from
 * what could not be looked at. And F21: a pool gets over a connection that may not write any more.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "faulty.h"
#include "files.h"
#include "lane.h"
#include "pool.h"

#define DB "o.db"

static holdfast_stats stats_of(holdfast_pool *pool)
{
  holdfast_stats stats = {.struct_size = sizeof stats};

  assert_int_equal(holdfast_pool_stats(pool, &stats), 0);
  return stats;
}

static sqlite3 *plain_connection(const char *sql)
{
  sqlite3 *db;

  assert_int_equal(sqlite3_open_v2(DB, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "unix"), SQLITE_OK);
  assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
  return db;
}

static int fresh(void **state)
{
  (void)state;
  atomic_store(&faulty()->code, 0);
  return system("rm -rf o.db o.db-*") ? -1 : 0;
}

static int open_with(const holdfast_pool_config *config, holdfast_pool **out)
{
  int rc = holdfast_pool_open(DB, config, out);
  if (rc) print_message("%s\n", holdfast_errmsg());
  return rc;
}

/* ---------------------------------------------------------------- journal mode */

static void wal_unless_something_else_is_asked_for(void **state)
{
  static const struct {
    int asked;
    const char *word;
  } modes[] = {{0, "wal"},
               {HOLDFAST_JOURNAL_DELETE, "delete"},
               {HOLDFAST_JOURNAL_TRUNCATE, "truncate"},
               {HOLDFAST_JOURNAL_PERSIST, "persist"}};
  holdfast_pool *pool;

  (void)state;
  for (int i = 0; i < 4; i++) {
    holdfast_pool_config config = {.struct_size = sizeof config, .journal = modes[i].asked};
    assert_int_equal(open_with(&config, &pool), 0);
    assert_string_equal(stats_of(pool).journal, modes[i].word);
    assert_int_equal(lane_exec(pool, HOLDFAST_WRITE, "CREATE TABLE IF NOT EXISTS t(x)"), SQLITE_OK);
    assert_int_equal(holdfast_pool_close(pool, 0), 0);
  }
  {
    holdfast_pool_config config = {.struct_size = sizeof config, .journal = HOLDFAST_JOURNAL_AS_IT_IS};
    sqlite3_close(plain_connection("PRAGMA journal_mode=wal; INSERT INTO t VALUES(1)"));
    assert_int_equal(open_with(&config, &pool), 0);
    assert_string_equal(stats_of(pool).journal, "wal");
    assert_int_equal(holdfast_pool_close(pool, 0), 0);
  }
}

/* T5, T8: to set the mode needs the file alone. A user of the file is no reason to fail, nor to change it. */
static void a_mode_that_is_right_is_not_set_and_one_that_cannot_be_had_is_lived_with(void **state)
{
  holdfast_pool_config config = {.struct_size = sizeof config, .wait_ms = 100};
  sqlite3 *reader = plain_connection("CREATE TABLE t(x); INSERT INTO t VALUES(1); BEGIN; SELECT * FROM t");
  holdfast_pool *pool;

  (void)state;
  assert_int_equal(open_with(&config, &pool), 0);
  assert_string_equal(stats_of(pool).journal, "delete");
  assert_string_equal(stats_of(pool).check, "ok");
  assert_int_equal(holdfast_pool_close(pool, 0), 0);
  assert_string_equal(db_header_mode(DB), "1,1");
  assert_int_equal(
      sqlite3_exec(reader, "COMMIT; PRAGMA journal_mode=wal; BEGIN; SELECT * FROM t", NULL, NULL, NULL),
      SQLITE_OK);
  assert_int_equal(open_with(&config, &pool), 0);
  assert_string_equal(stats_of(pool).journal, "wal");
  assert_int_equal(holdfast_pool_close(pool, 0), 0);
  sqlite3_close(reader);
}

/* T7: an I/O error while WAL is set up is an I/O error. No other mode, no talk of damage. */
static void an_error_at_wal_setup_is_reported_as_what_it_is(void **state)
{
  static const int codes[] = {SQLITE_IOERR_WRITE, SQLITE_FULL};
  holdfast_pool *pool = NULL;

  (void)state;
  for (int i = 0; i < 2; i++) {
    sqlite3_close(plain_connection("CREATE TABLE IF NOT EXISTS t(x); INSERT INTO t VALUES(1)"));
    faulty_arm(FAULTY_DB, FAULTY_WRITE, codes[i]); /* the header is where the mode is kept */
    assert_int_equal(open_with(NULL, &pool), codes[i]);
    assert_int_equal(atomic_load(&faulty()->failed), 1);
    assert_null(strstr(holdfast_errmsg(), "damage"));
    assert_null(strstr(holdfast_errmsg(), "malformed"));
    assert_null(pool);
    assert_int_equal(open_with(NULL, &pool), 0); /* the fault is over, and nothing has changed */
    assert_string_equal(stats_of(pool).journal, "wal");
    assert_int_equal(lane_number(pool, "SELECT count(*) FROM t"), 1);
    assert_int_equal(holdfast_pool_close(pool, 0), 0);
    pool = NULL;
    assert_int_equal(fresh(NULL), 0);
  }
}

static void on_a_network_mount_one_connection_without_wal(void **state)
{
  static const char name[] = "file:" DB "?holdfast_assume=network";
  holdfast_pool *pool;

  (void)state;
  assert_int_equal(holdfast_pool_open(name, NULL, &pool), 0);
  assert_string_equal(stats_of(pool).journal, "delete");
  assert_int_equal(lane_exec(pool, HOLDFAST_WRITE, "CREATE TABLE t(x); INSERT INTO t VALUES(7)"), SQLITE_OK);
  assert_int_equal(lane_number(pool, "SELECT x FROM t"), 7);
  assert_int_equal(holdfast_pool_close(pool, 0), 0);
}

static int number_of_connections;
static int prepare_connection(sqlite3 *db, int lane, void *arg)
{
  (void)lane;
  number_of_connections++;
  if (arg) return SQLITE_AUTH;
  return sqlite3_exec(db, "PRAGMA foreign_keys=ON", NULL, NULL, NULL);
}

static void each_connection_is_prepared(void **state)
{
  holdfast_pool_config config = {.struct_size = sizeof config, .on_connect = prepare_connection};
  holdfast_pool *pool = NULL;

  (void)state;
  number_of_connections = 0;
  assert_int_equal(open_with(&config, &pool), 0);
  assert_int_equal(number_of_connections, 1);
  assert_int_equal(lane_number(pool, "PRAGMA foreign_keys"), 1);
  assert_int_equal(number_of_connections, 2);
  assert_int_equal(holdfast_pool_close(pool, 0), 0);
  config.on_connect_arg = &config;
  pool = NULL;
  assert_int_equal(open_with(&config, &pool), SQLITE_AUTH);
  assert_null(pool);
}

/* ---------------------------------------------------------------- the check */

static void make_damaged(void)
{
  static const unsigned char junk[600] = {0x55};

  sqlite3_close(
      plain_connection("PRAGMA page_size=1024; CREATE TABLE t(x, y); CREATE TABLE u(x);"
                       "WITH RECURSIVE i(n) AS (VALUES(1) UNION ALL SELECT n+1 FROM i WHERE n<200) "
                       "INSERT INTO t SELECT n, hex(randomblob(100)) FROM i; INSERT INTO u VALUES(8)"));
  file_patch(DB, 1024L * 9, junk, sizeof junk);
}

static void a_damaged_database_is_opened_for_reading(void **state)
{
  holdfast_pool *pool;

  (void)state;
  make_damaged();
  assert_int_equal(open_with(NULL, &pool), 0);
  assert_string_equal(stats_of(pool).check, "damaged");
  assert_int_equal(stats_of(pool).quarantined, 1);
  assert_int_equal(holdfast_write(pool, lane_sql, (void *)"INSERT INTO u VALUES(9)"), HOLDFAST_QUARANTINED);
  assert_int_equal(lane_number(pool, "SELECT max(x) FROM u"), 8);
  assert_false(file_exists(DB ".corrupt"));
  assert_int_equal(holdfast_pool_close(pool, 0), 0);
}

/* Each step of SQLite's machine takes a while, so that a check is too long on any machine. */
static int rest(void *unused)
{
  struct timespec length = {0, 1000000};

  (void)unused;
  (void)nanosleep(&length, NULL);
  return 0;
}

static int slow_down(sqlite3 *db, int lane, void *arg)
{
  (void)lane, (void)arg;
  sqlite3_progress_handler(db, 1, rest, NULL);
  return 0;
}

static void what_was_not_looked_at_is_neither_ok_nor_damaged(void **state)
{
  holdfast_pool_config none = {.struct_size = sizeof none, .on_connect = slow_down}, config = none;
  holdfast_pool *pool;

  (void)state;
  config.check_ms = 1;
  sqlite3_close(
      plain_connection("CREATE TABLE t(x); WITH RECURSIVE i(n) AS (VALUES(1) UNION ALL SELECT n+1 FROM "
                       "i WHERE n<500) INSERT INTO t SELECT n FROM i"));
  assert_int_equal(open_with(&config, &pool), 0);
  assert_string_equal(stats_of(pool).check, "not_checked");
  assert_int_equal(stats_of(pool).quarantined, 0);
  assert_int_equal(lane_exec(pool, HOLDFAST_WRITE, "INSERT INTO t VALUES(1)"), SQLITE_OK);
  assert_int_equal(holdfast_pool_close(pool, 0), 0);
  none.check = HOLDFAST_CHECK_NONE;
  assert_int_equal(open_with(&none, &pool), 0);
  assert_string_equal(stats_of(pool).check, "not_checked");
  assert_int_equal(holdfast_pool_close(pool, 0), 0);
}

/* F5: somebody has the file for himself. That is a reason to wait, and no sign of damage. */
static void a_locked_database_is_busy_and_not_damaged(void **state)
{
  holdfast_pool_config config = {
      .struct_size = sizeof config, .wait_ms = 50, .journal = HOLDFAST_JOURNAL_AS_IT_IS};
  sqlite3 *owner = plain_connection("CREATE TABLE t(x); BEGIN EXCLUSIVE");
  holdfast_pool *pool = NULL;
  int rc = open_with(&config, &pool);

  (void)state;
  if (rc == 0) {
    assert_string_equal(stats_of(pool).check, "not_checked");
    assert_int_equal(stats_of(pool).quarantined, 0);
    assert_int_equal(holdfast_pool_close(pool, 0), 0);
  } else {
    assert_int_equal(rc & 0xff, SQLITE_BUSY);
  }
  sqlite3_close(owner);
  assert_int_equal(open_with(&config, &pool), 0);
  assert_string_equal(stats_of(pool).check, "ok");
  assert_int_equal(holdfast_pool_close(pool, 0), 0);
}

/* ---------------------------------------------------------------- F21 */

static void a_failed_write_costs_one_transaction_and_not_the_pool(void **state)
{
  static const struct {
    int journal, file, call;
  } faults[] = {{0, FAULTY_WAL, FAULTY_WRITE},
                {0, FAULTY_WAL, FAULTY_SYNC},
                {HOLDFAST_JOURNAL_DELETE, FAULTY_DB, FAULTY_WRITE},
                {HOLDFAST_JOURNAL_DELETE, FAULTY_DB, FAULTY_SYNC}};
  holdfast_pool *pool;
  long rows;

  (void)state;
  for (int i = 0; i < 4; i++)
    for (int scoped = 0; scoped < 2; scoped++) {
      holdfast_pool_config config = {.struct_size = sizeof config, .journal = faults[i].journal};
      assert_int_equal(fresh(NULL), 0);
      assert_int_equal(open_with(&config, &pool), 0);
      assert_int_equal(lane_exec(pool, HOLDFAST_WRITE, "CREATE TABLE t(x); PRAGMA synchronous=FULL"),
                       SQLITE_OK);
      assert_int_equal(lane_number(pool, "SELECT count(*) FROM t"), 0);
      faulty_arm(faults[i].file, faults[i].call,
                 faults[i].call == FAULTY_WRITE ? SQLITE_IOERR_WRITE : SQLITE_IOERR_FSYNC);
      if (scoped)
        assert_int_equal(holdfast_write(pool, lane_sql, (void *)"INSERT INTO t VALUES(1)") & 0xff,
                         SQLITE_IOERR);
      else
        assert_int_equal(lane_exec(pool, HOLDFAST_WRITE, "INSERT INTO t VALUES(1)") & 0xff, SQLITE_IOERR);
      assert_int_equal(atomic_load(&faulty()->failed), 1);
      assert_int_equal(holdfast_write(pool, lane_sql, (void *)"INSERT INTO t VALUES(2)"), 0);
      rows = lane_number(pool, "SELECT count(*) FROM t WHERE x=2");
      assert_int_equal(rows, 1);
      assert_true(stats_of(pool).discarded >= 1);
      assert_int_equal(holdfast_pool_close(pool, 0), 0);
    }
}

static void a_backup_is_whole_and_takes_no_ones_place(void **state)
{
  holdfast_pool *pool, *copy;

  (void)state;
  (void)unlink("copy.db");
  assert_int_equal(open_with(NULL, &pool), 0);
  assert_int_equal(
      lane_exec(pool, HOLDFAST_WRITE,
                "CREATE TABLE t(x,y); WITH RECURSIVE i(n) AS (VALUES(1) UNION ALL SELECT n+1 FROM i "
                "WHERE n<3000) INSERT INTO t SELECT n, hex(randomblob(500)) FROM i"),
      SQLITE_OK);
  assert_int_equal(holdfast_pool_backup(pool, "copy.db", NULL), 0);
  assert_int_equal(holdfast_pool_backup(pool, "copy.db", NULL), SQLITE_CANTOPEN);
  assert_int_equal(holdfast_pool_backup(pool, "none/copy.db", NULL), SQLITE_CANTOPEN);
  assert_int_equal(holdfast_pool_close(pool, 0), 0);
  assert_int_equal(holdfast_pool_open("copy.db", NULL, &copy), 0);
  assert_string_equal(stats_of(copy).check, "ok");
  assert_int_equal(lane_number(copy, "SELECT count(*) FROM t NOT INDEXED"), 3000);
  assert_int_equal(holdfast_pool_close(copy, 0), 0);
}

/* ---------------------------------------------------------------- a fork while another thread closes it */

static holdfast_pool *watched;
static bool kept_out; /* at the fork, of SQLite: the keeper of `watched` */

/* Registered before the pool's own handler, so it runs after that one. */
static void look_before_fork(void)
{
  if (!watched) return;
  kept_out = pthread_mutex_trylock(&watched->keeper.work) != 0;
  if (!kept_out) pthread_mutex_unlock(&watched->keeper.work);
}

static void *close_watched(void *rc)
{
  *(int *)rc = holdfast_pool_close(watched, 20000);
  return NULL;
}

/* Its keeper works on until the last lease is back. A child that is forked while it is inside of SQLite would
 * find mutexes locked that nobody will ever unlock. */
static void a_fork_waits_for_the_keeper_of_a_pool_that_closes(void **state)
{
  lane_other holder;
  holdfast_lease *more;
  pthread_t closing;
  int rc = -1, status = -1;
  pid_t pid;

  (void)state;
  assert_int_equal(open_with(NULL, &watched), 0);
  lane_take(&holder, watched, HOLDFAST_WRITE, NULL);
  assert_int_equal(lane_result(&holder), 0);
  assert_int_equal(pthread_create(&closing, NULL, close_watched, &rc), 0);
  while (holdfast_acquire(watched, HOLDFAST_READ, HOLDFAST_NO_WAIT, &more) != HOLDFAST_CLOSED) {
    assert_int_equal(holdfast_release(more), 0);
    lane_nap(1);
  }
  kept_out = false;
  pid = fork();
  if (pid == 0)
    raise(SIGKILL); /* an exit would count the threads that it does not have as leaks (valgrind) */
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_int_equal(status, SIGKILL);
  assert_true(kept_out);
  assert_int_equal(holdfast_release(holder.lease), 0);
  pthread_join(closing, NULL);
  watched = NULL;
  assert_int_equal(rc, 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(wal_unless_something_else_is_asked_for, fresh),
      cmocka_unit_test_setup(a_mode_that_is_right_is_not_set_and_one_that_cannot_be_had_is_lived_with, fresh),
      cmocka_unit_test_setup(an_error_at_wal_setup_is_reported_as_what_it_is, fresh),
      cmocka_unit_test_setup(on_a_network_mount_one_connection_without_wal, fresh),
      cmocka_unit_test_setup(each_connection_is_prepared, fresh),
      cmocka_unit_test_setup(a_damaged_database_is_opened_for_reading, fresh),
      cmocka_unit_test_setup(what_was_not_looked_at_is_neither_ok_nor_damaged, fresh),
      cmocka_unit_test_setup(a_locked_database_is_busy_and_not_damaged, fresh),
      cmocka_unit_test_setup(a_failed_write_costs_one_transaction_and_not_the_pool, fresh),
      cmocka_unit_test_setup(a_fork_waits_for_the_keeper_of_a_pool_that_closes, fresh),
      cmocka_unit_test_setup(a_backup_is_whole_and_takes_no_ones_place, fresh),
  };

  if (pthread_atfork(look_before_fork, NULL, NULL)) return 1;
  faulty_register(); /* below the shim, which the first pool registers */
  return cmocka_run_group_tests(tests, NULL, NULL);
}
