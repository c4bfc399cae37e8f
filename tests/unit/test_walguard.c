/*
 * walguard.c over a base that only notes what it is asked for: which calls arrive below, in which order, and
 * what comes back. What that is good for is shown in test_walguard_race.c and in tests/proc (F19).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "walguard.h"

enum { LOCK = SQLITE_SHM_LOCK, UNLOCK = SQLITE_SHM_UNLOCK, EXCL = SQLITE_SHM_EXCLUSIVE };
enum { SHARED = SQLITE_SHM_SHARED, INDEX_WORDS = 34 };
enum { AFFECTED = 3040001, FIXED = 3051003 };

/* ---------------------------------------------------------------- a base and a wal-index */

static struct {
  char calls[400]; /* "+1X" = lock slot 1 exclusively, "-4-7X" = unlock 4 to 7, S = shared */
  int fail_slot, fail_code;
  uint32_t index[INDEX_WORDS];
} below;

static int note_call(sqlite3_file *file, int slot, int n, int flags)
{
  size_t used = strlen(below.calls), left = sizeof below.calls - used;
  char range[20] = "";

  (void)file;
  if (n > 1) (void)snprintf(range, sizeof range, "-%d", slot + n - 1);
  (void)snprintf(below.calls + used, left, "%s%c%d%s%c", used ? " " : "", flags & LOCK ? '+' : '-', slot,
                 range, flags & EXCL ? 'X' : 'S');
  return (flags & LOCK) && slot == below.fail_slot ? below.fail_code : SQLITE_OK;
}

static const sqlite3_io_methods methods = {.iVersion = 2, .xShmLock = note_call};
static sqlite3_file base = {&methods};

/* A guard over a healthy wal-index of 45 frames, all of them copied. */
static hf_walguard fresh(int setting)
{
  hf_walguard g = {0};

  memset(&below, 0, sizeof below);
  below.fail_slot = -1;
  below.index[0] = below.index[12] = 3007000;
  below.index[4] = below.index[16] = 45;
  below.index[8] = below.index[20] = 1000;
  below.index[9] = below.index[21] = 77;
  below.index[24] = 45;
  hf_walguard_open(&g, AFFECTED, NULL, setting);
  hf_walguard_mapped(&g, 0, below.index);
  return g;
}

static void restart_log(void)
{
  below.index[4] = 1;
  below.index[8]++;
  below.index[9] = 4242;
  below.index[24] = 0;
}

static const char *calls(void)
{
  static char seen[sizeof below.calls];

  memcpy(seen, below.calls, sizeof seen);
  below.calls[0] = 0;
  return seen;
}

#define ASK(g, slot, n, flags) hf_walguard_lock((g), &base, (slot), (n), (flags))

/* ---------------------------------------------------------------- tests */

static void versions_have_the_right_borders(void **state)
{
  static const struct {
    int version;
    const char *sourceid;
    bool affected;
  } cases[] = {
      {3006023, NULL, false},
      {3007000, NULL, true},
      {3015000, NULL, true},
      {3040001, "2022-12-28 14:03:47 df5c253c0b3dd24916e4ec7cf77d3db5294cc9fd45ae7b9c5e82ad8197f3alt1", true},
      {3044005, NULL, true},
      {3044006, NULL, false},
      {3044999, NULL, false},
      {3045000, NULL, true},
      {3050006, NULL, true},
      {3050007, NULL, false},
      {3051000, NULL, true},
      {3051002, NULL, true},
      {3051003, NULL, false},
      {3052000, NULL, false},
      {3053000, "2026-04-09 11:41:38 4525003a53a7fc63ca75c59b22c79608659ca12f0131f52c18637f829977alt1",
       false},
      {3052000, "2026-01-15 10:00:00 0123456789 a snapshot of the trunk before the fix", true},
      {3054001, "built from a tree without a manifest", false},
      {3054001, "", false},
      {4000000, NULL, false},
  };

  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    if (hf_walguard_affected(cases[i].version, cases[i].sourceid) != cases[i].affected)
      fail_msg("%d %s", cases[i].version, cases[i].sourceid ? cases[i].sourceid : "");
  }
}

static void settings_switch_it(void **state)
{
  static const struct {
    int version, setting;
    bool guard, watch;
  } cases[] = {
      {AFFECTED, 0, true, true},
      {AFFECTED, HF_WALGUARD_AUTO, true, true},
      {AFFECTED, HF_WALGUARD_ON, true, true},
      {AFFECTED, HF_WALGUARD_OFF, false, false},
      {FIXED, HF_WALGUARD_AUTO, false, true},
      {FIXED, HF_WALGUARD_ON, true, true},
      {FIXED, HF_WALGUARD_OFF, false, false},
  };

  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    hf_walguard g = {0};
    hf_walguard_open(&g, cases[i].version, NULL, cases[i].setting);
    assert_int_equal(g.guard, cases[i].guard);
    assert_int_equal(g.watch, cases[i].watch);
  }
}

/* What a checkpoint, a restart and a reader ask for arrives as it is when the guard is off, ... */
static void nothing_is_added_when_off(void **state)
{
  hf_walguard g = fresh(HF_WALGUARD_OFF);

  (void)state;
  assert_int_equal(ASK(&g, 1, 1, LOCK | EXCL), SQLITE_OK);
  restart_log();
  below.index[24] = 45;
  assert_int_equal(ASK(&g, 3, 1, LOCK | EXCL), SQLITE_OK);
  assert_int_equal(ASK(&g, 3, 1, UNLOCK | EXCL), SQLITE_OK);
  assert_int_equal(ASK(&g, 1, 1, UNLOCK | EXCL), SQLITE_OK);
  assert_int_equal(ASK(&g, 4, 4, LOCK | EXCL), SQLITE_OK);
  assert_int_equal(ASK(&g, 4, 4, UNLOCK | EXCL), SQLITE_OK);
  assert_int_equal(ASK(&g, 4, 1, LOCK | SHARED), SQLITE_OK);
  assert_string_equal(calls(), "+1X +3X -3X -1X +4-7X -4-7X +4S");
  assert_false(g.alarm);
}

/* ... and when the wal-index is not one that it knows, or not mapped yet. */
static void nothing_is_added_for_a_strange_index(void **state)
{
  (void)state;
  for (int mapped = 0; mapped < 2; mapped++) {
    hf_walguard g = fresh(HF_WALGUARD_ON);
    below.index[0] = 3008000;
    below.index[24] = 99;
    if (!mapped) hf_walguard_mapped(&g, 0, NULL);
    assert_int_equal(ASK(&g, 1, 1, LOCK | EXCL), SQLITE_OK);
    restart_log();
    assert_int_equal(ASK(&g, 3, 1, LOCK | EXCL), SQLITE_OK);
    assert_int_equal(ASK(&g, 1, 1, UNLOCK | EXCL), SQLITE_OK);
    assert_int_equal(ASK(&g, 4, 4, LOCK | EXCL), SQLITE_OK);
    assert_int_equal(ASK(&g, 4, 1, LOCK | SHARED), SQLITE_OK);
    assert_string_equal(calls(), "+1X +3X -1X +4-7X +4S");
    assert_false(g.alarm);
  }
}

static void check_stops_a_checkpoint_after_a_restart(void **state)
{
  hf_walguard g = fresh(HF_WALGUARD_AUTO);

  (void)state;
  assert_int_equal(ASK(&g, 1, 1, LOCK | EXCL), SQLITE_OK);
  restart_log();
  assert_int_equal(ASK(&g, 3, 1, LOCK | EXCL), SQLITE_BUSY);
  assert_int_equal(ASK(&g, 1, 1, UNLOCK | EXCL), SQLITE_OK);
  assert_string_equal(calls(), "+1X +3X -3X -1X");
  /* The next one sees the new salts from its beginning. */
  assert_int_equal(ASK(&g, 1, 1, LOCK | EXCL), SQLITE_OK);
  assert_int_equal(ASK(&g, 3, 1, LOCK | EXCL), SQLITE_OK);
  assert_string_equal(calls(), "+1X +3X");
}

/* One word of the salt is enough, and a longer log is none of its business. */
static void check_looks_at_both_words_of_the_salt(void **state)
{
  (void)state;
  for (int changed = 8; changed <= 10; changed++) {
    hf_walguard g = fresh(HF_WALGUARD_AUTO);
    assert_int_equal(ASK(&g, 1, 1, LOCK | EXCL), SQLITE_OK);
    below.index[4] = 60;
    below.index[changed]++;
    assert_int_equal(ASK(&g, 3, 1, LOCK | EXCL), changed < 10 ? SQLITE_BUSY : SQLITE_OK);
  }
}

/* With WRITE held the header was copied under it: BUSY would keep the busy handler going for ever. */
static void check_leaves_a_holder_of_write_alone(void **state)
{
  hf_walguard g = fresh(HF_WALGUARD_AUTO);

  (void)state;
  assert_int_equal(ASK(&g, 1, 1, LOCK | EXCL), SQLITE_OK);
  restart_log();
  assert_int_equal(ASK(&g, 0, 1, LOCK | EXCL), SQLITE_OK);
  assert_int_equal(ASK(&g, 3, 1, LOCK | EXCL), SQLITE_OK);
  assert_int_equal(ASK(&g, 0, 1, UNLOCK | EXCL), SQLITE_OK);
  assert_int_equal(ASK(&g, 3, 1, UNLOCK | EXCL), SQLITE_OK);
  assert_int_equal(ASK(&g, 3, 1, LOCK | EXCL), SQLITE_BUSY);
}

/* A checkpoint can be the first thing that a connection does. */
static void check_works_when_the_index_is_mapped_later(void **state)
{
  hf_walguard g = fresh(HF_WALGUARD_AUTO);

  (void)state;
  hf_walguard_mapped(&g, 0, NULL);
  assert_int_equal(ASK(&g, 1, 1, LOCK | EXCL), SQLITE_OK);
  hf_walguard_mapped(&g, 0, below.index);
  hf_walguard_mapped(&g, 1, NULL);
  restart_log();
  hf_walguard_mapped(&g, 0, below.index);
  assert_int_equal(ASK(&g, 3, 1, LOCK | EXCL), SQLITE_BUSY);
}

static void gate_restarts_under_ckpt(void **state)
{
  hf_walguard g = fresh(HF_WALGUARD_AUTO);

  (void)state;
  assert_int_equal(ASK(&g, 0, 1, LOCK | EXCL), SQLITE_OK);
  assert_int_equal(ASK(&g, 4, 4, LOCK | EXCL), SQLITE_OK);
  assert_int_equal(ASK(&g, 4, 4, UNLOCK | EXCL), SQLITE_OK);
  assert_int_equal(ASK(&g, 0, 1, UNLOCK | EXCL), SQLITE_OK);
  assert_string_equal(calls(), "+0X +1X +4-7X -4-7X -1X -0X");
  /* Setting one mark is no restart, nor is a reader's lock. */
  assert_int_equal(ASK(&g, 4, 1, LOCK | EXCL), SQLITE_OK);
  assert_int_equal(ASK(&g, 4, 1, UNLOCK | EXCL), SQLITE_OK);
  assert_int_equal(ASK(&g, 4, 1, LOCK | SHARED), SQLITE_OK);
  assert_int_equal(ASK(&g, 4, 1, UNLOCK | SHARED), SQLITE_OK);
  assert_string_equal(calls(), "+4X -4X +4S -4S");
}

static void gate_gives_way(void **state)
{
  static const struct {
    int slot, code, answer;
    const char *calls;
  } cases[] = {
      {1, SQLITE_BUSY, SQLITE_BUSY, "+1X"},
      {1, SQLITE_BUSY | (3 << 8), SQLITE_BUSY, "+1X"}, /* what a SQLite that can wait may say */
      {1, SQLITE_IOERR_SHMLOCK, SQLITE_IOERR_SHMLOCK, "+1X"},
      {4, SQLITE_BUSY, SQLITE_BUSY, "+1X +4-7X -1X"},
      {4, SQLITE_IOERR_SHMLOCK, SQLITE_IOERR_SHMLOCK, "+1X +4-7X -1X"},
  };

  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    hf_walguard g = fresh(HF_WALGUARD_AUTO);
    below.fail_slot = cases[i].slot;
    below.fail_code = cases[i].code;
    assert_int_equal(ASK(&g, 4, 4, LOCK | EXCL), cases[i].answer);
    assert_string_equal(calls(), cases[i].calls);
    below.fail_slot = -1;
    assert_int_equal(ASK(&g, 4, 4, LOCK | EXCL), SQLITE_OK);
    assert_int_equal(ASK(&g, 4, 4, UNLOCK | EXCL), SQLITE_OK);
    assert_string_equal(calls(), "+1X +4-7X -4-7X -1X");
  }
}

/* RESTART and TRUNCATE hold CKPT, and so does recovery, by a range. */
static void gate_leaves_a_holder_of_ckpt_alone(void **state)
{
  hf_walguard g = fresh(HF_WALGUARD_AUTO);

  (void)state;
  assert_int_equal(ASK(&g, 1, 1, LOCK | EXCL), SQLITE_OK);
  assert_int_equal(ASK(&g, 4, 4, LOCK | EXCL), SQLITE_OK);
  assert_int_equal(ASK(&g, 4, 4, UNLOCK | EXCL), SQLITE_OK);
  assert_int_equal(ASK(&g, 1, 1, UNLOCK | EXCL), SQLITE_OK);
  assert_string_equal(calls(), "+1X +4-7X -4-7X -1X");
  assert_int_equal(ASK(&g, 1, 2, LOCK | EXCL), SQLITE_OK);
  assert_int_equal(ASK(&g, 4, 4, LOCK | EXCL), SQLITE_OK);
  assert_int_equal(ASK(&g, 4, 4, UNLOCK | EXCL), SQLITE_OK);
  assert_int_equal(ASK(&g, 1, 2, UNLOCK | EXCL), SQLITE_OK);
  assert_string_equal(calls(), "+1-2X +4-7X -4-7X -1-2X");
}

static void alarm_goes_off_once_and_only_under_a_lock_that_proves_it(void **state)
{
  uint32_t damaged[INDEX_WORDS];
  hf_walguard g = fresh(HF_WALGUARD_AUTO);

  (void)state;
  assert_int_equal(ASK(&g, 4, 1, LOCK | SHARED), SQLITE_OK); /* all copied: healthy */
  assert_false(g.alarm);
  assert_int_equal(ASK(&g, 4, 1, UNLOCK | SHARED), SQLITE_OK);
  below.index[4] = 1;
  memcpy(damaged, below.index, sizeof damaged);
  assert_int_equal(ASK(&g, 3, 1, LOCK | SHARED), SQLITE_OK); /* a restart may be half done */
  assert_int_equal(ASK(&g, 0, 1, LOCK | EXCL), SQLITE_OK);
  assert_int_equal(ASK(&g, 4, 1, UNLOCK | SHARED), SQLITE_OK);
  below.fail_slot = 5;
  below.fail_code = SQLITE_BUSY;
  assert_int_equal(ASK(&g, 5, 1, LOCK | SHARED), SQLITE_BUSY);
  assert_false(g.alarm);
  assert_int_equal(ASK(&g, 7, 1, LOCK | SHARED), SQLITE_OK);
  assert_true(g.alarm);
  assert_int_equal(g.backfill, 45);
  assert_int_equal(g.frames, 1);
  g.alarm = false;
  assert_int_equal(ASK(&g, 4, 1, LOCK | SHARED), SQLITE_OK);
  assert_false(g.alarm);
  assert_memory_equal(below.index, damaged, sizeof damaged);
}

static void alarm_is_seen_by_a_checkpoint_with_a_fixed_sqlite_too(void **state)
{
  hf_walguard g = fresh(HF_WALGUARD_OFF);

  (void)state;
  hf_walguard_open(&g, FIXED, NULL, HF_WALGUARD_AUTO);
  below.index[4] = 44;
  assert_int_equal(ASK(&g, 1, 1, LOCK | EXCL), SQLITE_OK);
  assert_false(g.alarm);
  assert_int_equal(ASK(&g, 3, 1, LOCK | EXCL), SQLITE_OK);
  assert_true(g.alarm);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(versions_have_the_right_borders),
      cmocka_unit_test(settings_switch_it),
      cmocka_unit_test(nothing_is_added_when_off),
      cmocka_unit_test(nothing_is_added_for_a_strange_index),
      cmocka_unit_test(check_stops_a_checkpoint_after_a_restart),
      cmocka_unit_test(check_looks_at_both_words_of_the_salt),
      cmocka_unit_test(check_leaves_a_holder_of_write_alone),
      cmocka_unit_test(check_works_when_the_index_is_mapped_later),
      cmocka_unit_test(gate_restarts_under_ckpt),
      cmocka_unit_test(gate_gives_way),
      cmocka_unit_test(gate_leaves_a_holder_of_ckpt_alone),
      cmocka_unit_test(alarm_goes_off_once_and_only_under_a_lock_that_proves_it),
      cmocka_unit_test(alarm_is_seen_by_a_checkpoint_with_a_fixed_sqlite_too),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
