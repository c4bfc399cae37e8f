/*
 * selftest_*.c: it passes on a good directory, leaves nothing behind, and notices each way in which a
 * file system can be bad. The bad file systems are played by this program: its fcntl(), mmap() and fstatfs()
 * come before libc's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <sqlite3.h>

#include "holdfast.h"

/* ---------------------------------------------------------------- the bad file systems */

static enum { GOOD, FAKE_LOCKS, NO_LOCKS, NO_UPGRADE, SMB, NO_OFD, NO_QUERY, NO_MAP, STALE_MAP } place;

static int bad_lock(int cmd, struct flock *lock)
{
  bool set = cmd == F_SETLK || cmd == F_OFD_SETLK;

  if (place == NO_LOCKS) return ENOLCK;
  if (place == NO_OFD && cmd == F_OFD_SETLK) return EINVAL;
  if ((place == NO_UPGRADE || place == SMB) && set && lock->l_type == F_WRLCK && lock->l_len > 1)
    return EACCES;
  return 0;
}

/* Takes the place of libc's function for this whole program, SQLite and cmocka included. */
int fcntl(int fd, int cmd, ...)
{
  va_list args;
  void *arg;

  va_start(args, cmd);
  arg = va_arg(args, void *);
  va_end(args);
  if (place != GOOD && (cmd == F_SETLK || cmd == F_OFD_SETLK || cmd == F_GETLK || cmd == F_OFD_GETLK)) {
    int err = bad_lock(cmd, arg);
    if (err) {
      errno = err;
      return -1;
    }
    if (cmd == F_OFD_GETLK && (place == SMB || place == NO_QUERY)) {
      ((struct flock *)arg)->l_type = F_UNLCK;
      return 0;
    }
    if (place == FAKE_LOCKS) {
      if (cmd == F_GETLK || cmd == F_OFD_GETLK) ((struct flock *)arg)->l_type = F_UNLCK;
      return 0;
    }
  }
  return (int)syscall(SYS_fcntl, fd, cmd, arg);
}

void *mmap(void *at, size_t length, int prot, int flags, int fd, off_t offset)
{
  if (fd >= 0 && place == NO_MAP) {
    errno = ENODEV;
    return MAP_FAILED;
  }
  if (fd >= 0 && place == STALE_MAP) flags = (flags & ~MAP_SHARED) | MAP_PRIVATE;
  return (void *)syscall(SYS_mmap, at, length, prot, flags, fd, offset);
}

int fstatfs(int fd, struct statfs *out)
{
  int rc = (int)syscall(SYS_fstatfs, fd, out);

  if (rc == 0 && place == SMB)
    out->f_type = (__typeof__(out->f_type))0xFF534D42; /* sign-extended on 32 bits */
  return rc;
}

/* ---------------------------------------------------------------- helpers */

static int files_here(void)
{
  DIR *dir = opendir(".");
  int n = 0;

  assert_non_null(dir);
  while (readdir(dir)) n++;
  closedir(dir);
  return n - 2;
}

static holdfast_selftest_report report_on(int where, int level)
{
  holdfast_selftest_report report = {.struct_size = sizeof report};
  int before = files_here(), rc;

  place = where;
  rc = holdfast_selftest("side", level, &report);
  place = GOOD;
  assert_int_equal(rc, SQLITE_OK);
  assert_int_equal(files_here(), before);
  return report;
}

/* The result of one step, 0 when it is not in the report. */
static int result_of(const holdfast_selftest_report *report, const char *name)
{
  for (int i = 0; i < report->count; i++) {
    if (!strcmp(report->steps[i].name, name)) return report->steps[i].result;
  }
  return 0;
}

/* ---------------------------------------------------------------- tests */

static void a_good_directory_passes(void **state)
{
  holdfast_selftest_report one = report_on(GOOD, 1), two = report_on(GOOD, 2);

  (void)state;
  assert_int_equal(one.failed, 0);
  assert_int_equal(one.excludes, 1);
  assert_int_equal(one.maps, 1);
  assert_int_equal(result_of(&one, "two-processes"), 0);
  assert_int_equal(two.failed, 0);
  assert_int_equal(result_of(&two, "ofd-conflict"), HOLDFAST_STEP_PASSED);
  assert_int_equal(result_of(&two, "two-processes"), HOLDFAST_STEP_PASSED);
  assert_int_equal(result_of(&two, "killed-holder"), HOLDFAST_STEP_PASSED);
  assert_int_equal(result_of(&two, "counter"), HOLDFAST_STEP_PASSED);
  assert_true(two.count <= (int)(sizeof two.steps / sizeof two.steps[0]));
}

static void fake_locks_are_noticed_by_one_and_by_two(void **state)
{
  holdfast_selftest_report one = report_on(FAKE_LOCKS, 1), two = report_on(FAKE_LOCKS, 2);

  (void)state;
  assert_int_equal(one.excludes, 0);
  assert_int_equal(one.kernel_records, 0);
  assert_int_equal(result_of(&one, "ofd-conflict"), HOLDFAST_STEP_FAILED);
  assert_int_equal(result_of(&two, "two-processes"), HOLDFAST_STEP_FAILED);
}

static void absent_locks_end_the_lock_steps(void **state)
{
  holdfast_selftest_report two = report_on(NO_LOCKS, 2);

  (void)state;
  assert_int_equal(two.excludes, 0);
  assert_int_equal(result_of(&two, "lock-bytes"), HOLDFAST_STEP_FAILED);
  assert_int_equal(result_of(&two, "two-processes"), 0);
  assert_int_equal(result_of(&two, "names"), HOLDFAST_STEP_PASSED);
}

static void a_refused_upgrade_fails_except_on_smb(void **state)
{
  holdfast_selftest_report other = report_on(NO_UPGRADE, 2), smb = report_on(SMB, 2);

  (void)state;
  assert_int_equal(result_of(&other, "upgrade"), HOLDFAST_STEP_FAILED);
  assert_int_equal(other.failed, 1);
  assert_int_equal(result_of(&smb, "upgrade"), HOLDFAST_STEP_EXPECTED);
  assert_int_equal(result_of(&smb, "ofd-query"), HOLDFAST_STEP_EXPECTED);
  assert_int_equal(result_of(&smb, "counter"), HOLDFAST_STEP_PASSED);
  assert_int_equal(smb.failed, 0);
}

static void a_query_that_says_free_fails(void **state)
{
  holdfast_selftest_report one = report_on(NO_QUERY, 1);

  (void)state;
  assert_int_equal(result_of(&one, "ofd-query"), HOLDFAST_STEP_FAILED);
  assert_int_equal(one.excludes, 1);
}

static void a_kernel_without_ofd_is_judged_by_two_processes(void **state)
{
  holdfast_selftest_report two = report_on(NO_OFD, 2);

  (void)state;
  assert_int_equal(result_of(&two, "ofd-conflict"), HOLDFAST_STEP_SKIPPED);
  assert_int_equal(two.excludes, 1);
  assert_int_equal(two.kernel_records, -1);
  assert_int_equal(two.failed, 0);
}

static void shared_memory_that_fails_or_lies_is_noticed(void **state)
{
  holdfast_selftest_report none = report_on(NO_MAP, 1), stale = report_on(STALE_MAP, 1);

  (void)state;
  assert_int_equal(none.maps, 0);
  assert_int_equal(stale.maps, 0);
  assert_int_equal(none.failed, 1);
  assert_int_equal(stale.failed, 1);
  assert_int_equal(none.excludes, 1);
}

static void an_existing_file_is_never_touched(void **state)
{
  holdfast_selftest_report report = {.struct_size = sizeof report, .count = 77};
  FILE *file = fopen("mine", "w");
  struct stat st;

  (void)state;
  assert_non_null(file);
  fputs("precious", file);
  fclose(file);
  assert_int_equal(holdfast_selftest("mine", 2, &report), SQLITE_CANTOPEN);
  assert_int_equal(report.count, 77);
  assert_int_equal(stat("mine", &st), 0);
  assert_int_equal(st.st_size, 8);
  assert_int_equal(symlink("mine", "link"), 0);
  assert_int_equal(holdfast_selftest("link", 1, &report), SQLITE_CANTOPEN);
  assert_int_equal(unlink("link"), 0);
  assert_int_equal(unlink("mine"), 0);
}

static void places_that_cannot_be_written_have_their_codes(void **state)
{
  holdfast_selftest_report report = {.struct_size = sizeof report};
  char path[5000];

  (void)state;
  assert_int_equal(holdfast_selftest("no/such/dir", 1, &report), SQLITE_CANTOPEN);
  assert_int_equal(errno, ENOENT);
  memset(path, 'x', sizeof path);
  path[sizeof path - 1] = '\0';
  assert_int_equal(holdfast_selftest(path, 1, &report), SQLITE_MISUSE);
  path[300] = '\0';
  assert_int_equal(holdfast_selftest(path, 1, &report), SQLITE_CANTOPEN);
  assert_int_equal(errno, ENAMETOOLONG);
  assert_int_equal(holdfast_selftest(NULL, 1, &report), SQLITE_MISUSE);
  assert_int_equal(holdfast_selftest("side", 0, &report), SQLITE_MISUSE);
  assert_int_equal(holdfast_selftest("side", 3, &report), SQLITE_MISUSE);
  assert_int_equal(holdfast_selftest("side", 1, NULL), SQLITE_MISUSE);
  report.struct_size = 8;
  assert_int_equal(holdfast_selftest("side", 1, &report), SQLITE_MISUSE);
  assert_int_equal(files_here(), 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_good_directory_passes),
      cmocka_unit_test(fake_locks_are_noticed_by_one_and_by_two),
      cmocka_unit_test(absent_locks_end_the_lock_steps),
      cmocka_unit_test(a_refused_upgrade_fails_except_on_smb),
      cmocka_unit_test(a_query_that_says_free_fails),
      cmocka_unit_test(a_kernel_without_ofd_is_judged_by_two_processes),
      cmocka_unit_test(shared_memory_that_fails_or_lies_is_noticed),
      cmocka_unit_test(an_existing_file_is_never_touched),
      cmocka_unit_test(places_that_cannot_be_written_have_their_codes),
  };
  char dir[] = "selftest-XXXXXX";

  if (!mkdtemp(dir) || chdir(dir) != 0) return 1;
  return cmocka_run_group_tests(tests, NULL, NULL);
}
