/* knownbugs.c: every range is tried at its borders, and the search at its ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "holdfast.h"

static int has(int version, const char *id)
{
  holdfast_bug bug = {.struct_size = sizeof bug};
  for (int i = 0; i < 100 && holdfast_known_bug(version, i, &bug) == SQLITE_OK; i++) {
    if (!strcmp(bug.id, id)) return 1;
  }
  return 0;
}

static int count(int version)
{
  holdfast_bug bug = {.struct_size = sizeof bug};
  int n = 0;
  while (n < 100 && holdfast_known_bug(version, n, &bug) == SQLITE_OK) n++;
  return n;
}

static void ranges_have_the_right_borders(void **state)
{
  static const struct {
    const char *id;
    int version, expected;
  } cases[] = {
      {"wal-reset", 3015000, 1},        {"wal-reset", 3044005, 1},        {"wal-reset", 3044006, 0},
      {"wal-reset", 3045000, 1},        {"wal-reset", 3050006, 1},        {"wal-reset", 3050007, 0},
      {"wal-reset", 3051000, 1},        {"wal-reset", 3051002, 1},        {"wal-reset", 3051003, 0},
      {"wal-reset", 3052000, 0},        {"wal-reset", 3040001, 1},        {"withdrawn", 3051003, 0},
      {"withdrawn", 3052000, 1},        {"withdrawn", 3053000, 0},        {"page-cache", 3039003, 1},
      {"page-cache", 3039004, 0},       {"savepoint-memory", 3034001, 0}, {"savepoint-memory", 3035000, 1},
      {"savepoint-memory", 3037001, 1}, {"savepoint-memory", 3037002, 0}, {"drop-column", 3034001, 0},
      {"drop-column", 3035000, 1},      {"drop-column", 3035004, 1},      {"drop-column", 3035005, 0},
      {"expression-index", 3022000, 1}, {"expression-index", 3023000, 0}, {"auto-vacuum", 3015002, 0},
      {"auto-vacuum", 3016000, 1},      {"auto-vacuum", 3018000, 1},      {"auto-vacuum", 3018001, 0},
      {"auto-vacuum", 3019000, 1},      {"auto-vacuum", 3019002, 1},      {"auto-vacuum", 3019003, 0},
      {"replace-rowid", 3018001, 1},    {"replace-rowid", 3019000, 0},    {"wal-savepoint", 3015000, 1},
      {"wal-savepoint", 3050001, 1},    {"wal-savepoint", 3050002, 0},
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    if (has(cases[i].version, cases[i].id) != cases[i].expected)
      fail_msg("%s in %d: expected %d", cases[i].id, cases[i].version, cases[i].expected);
  }
}

static void fixed_and_unknown_versions_have_none(void **state)
{
  (void)state;
  assert_int_equal(count(3051003), 0);
  assert_int_equal(count(3053000), 0);
  assert_int_equal(count(3008000), 0); /* before the table */
  assert_int_equal(count(0), 0);
  assert_int_equal(count(-1), 0);
  assert_int_equal(count(3040001), 2);
}

static void bad_arguments_are_misuse_and_touch_nothing(void **state)
{
  holdfast_bug bug = {.struct_size = sizeof bug, .id = "before"};
  (void)state;
  assert_int_equal(holdfast_known_bug(3040001, -1, &bug), SQLITE_MISUSE);
  assert_int_equal(holdfast_known_bug(3040001, 99, &bug), SQLITE_NOTFOUND);
  assert_int_equal(holdfast_known_bug(3040001, 0, NULL), SQLITE_MISUSE);
  assert_string_equal(bug.id, "before");
  bug.struct_size = 0;
  assert_int_equal(holdfast_known_bug(3040001, 0, &bug), SQLITE_MISUSE);
  assert_string_equal(bug.id, "before");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(ranges_have_the_right_borders),
      cmocka_unit_test(fixed_and_unknown_versions_have_none),
      cmocka_unit_test(bad_arguments_are_misuse_and_touch_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
