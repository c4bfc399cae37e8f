/* proctext_*.c: the verdict by text alone agrees with the real one, and cleans paths without touching them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "holdfast.h"

static holdfast_mount by_text(const char *path)
{
  holdfast_mount m = {.struct_size = sizeof m};

  assert_int_equal(holdfast_mount_of_text(path, &m), SQLITE_OK);
  return m;
}

static void text_and_kernel_agree(void **state)
{
  static const char *const paths[] = {"/", "/proc", ".", "/dev/shm"};

  (void)state;
  for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
    holdfast_mount text = by_text(paths[i]), real = {.struct_size = sizeof real};
    assert_int_equal(holdfast_mount_of(paths[i], &real), SQLITE_OK);
    assert_string_equal(text.fstype, real.fstype);
    assert_string_equal(text.mount_point, real.mount_point);
    assert_int_equal(text.rule, real.rule);
    assert_int_equal(text.mount_class, real.mount_class);
  }
}

static void paths_are_cleaned_by_text(void **state)
{
  static const char *const same[] = {"/proc",         "//proc//",
                                     "/proc/self/..", "/./proc/./no/such/file/../..",
                                     "/../proc",      "/no/such/place/../../../proc/x"};

  (void)state;
  for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
    holdfast_mount m = by_text(same[i]);
    assert_string_equal(m.mount_point, "/proc");
    assert_string_equal(m.fstype, "proc");
  }
  assert_string_equal(by_text("/procession").mount_point,
                      by_text("/").mount_point); /* not a prefix of bytes */
}

static void bad_arguments_touch_nothing(void **state)
{
  holdfast_mount m = {.struct_size = sizeof m, .rule = 99};
  char path[6000];

  (void)state;
  assert_int_equal(holdfast_mount_of_text(NULL, &m), SQLITE_MISUSE);
  assert_int_equal(holdfast_mount_of_text("", &m), SQLITE_MISUSE);
  assert_int_equal(holdfast_mount_of_text("/", NULL), SQLITE_MISUSE);
  memset(path, 'x', sizeof path);
  path[sizeof path - 1] = '\0';
  assert_int_equal(holdfast_mount_of_text(path, &m), SQLITE_NOTFOUND);
  assert_int_equal(m.rule, 99);
  m.struct_size = 1;
  assert_int_equal(holdfast_mount_of_text("/", &m), SQLITE_MISUSE);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(text_and_kernel_agree),
      cmocka_unit_test(paths_are_cleaned_by_text),
      cmocka_unit_test(bad_arguments_touch_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
