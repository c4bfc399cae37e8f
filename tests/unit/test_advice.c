/* advice.c: which sentence for which mount, never one that switches locks off, and its ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "advice.h"

static holdfast_mount mount_with(const char *fstype, const char *options, int rule, int class)
{
  holdfast_mount m = {.struct_size = sizeof m,
                      .rule = rule,
                      .mount_class = class,
                      .durable = HOLDFAST_DURABLE_YES,
                      .confidence = HOLDFAST_CONFIDENCE_HIGH};

  snprintf(m.fstype, sizeof m.fstype, "%s", fstype);
  snprintf(m.options, sizeof m.options, "%s", options);
  return m;
}

static holdfast_mount nfs_with(const char *options)
{
  return mount_with("nfs4", options, HOLDFAST_RULE_ROLLBACK_ONLY, HOLDFAST_CLASS_NETWORK);
}

static holdfast_mount smb_with(const char *options)
{
  return mount_with("cifs", options, HOLDFAST_RULE_ROLLBACK_ONLY, HOLDFAST_CLASS_NETWORK);
}

static holdfast_selftest_report seen(int excludes, int maps, int failed)
{
  holdfast_selftest_report r = {
      .struct_size = sizeof r, .excludes = excludes, .maps = maps, .kernel_records = 1, .failed = failed};

  return r;
}

/* Is there a line with this text? Also reads all lines, so each test is a test of the whole list. */
static int says(const holdfast_mount *m, const holdfast_selftest_report *r, int recovers, const char *part)
{
  char text[600];
  int found = 0;

  for (int i = 0; hf_advice(m, r, recovers, i, text, sizeof text) == SQLITE_OK; i++) {
    assert_true(i < 20);
    assert_true(strlen(text) > 20);
    assert_int_equal(text[strlen(text) - 1], '.');
    assert_null(strstr(text, "with nolock"));
    assert_null(strstr(text, "with nobrl"));
    if (strstr(text, part)) found = 1;
  }
  return found;
}

static void nfs_options(void **state)
{
  holdfast_mount plain = nfs_with("rw,relatime,vers=4.2,hard"),
                 good = nfs_with("rw,lookupcache=pos,vers=4.2,hard");
  holdfast_mount soft = nfs_with("rw,soft,vers=4.2"), v3 = nfs_with("rw,vers=3,hard");
  holdfast_mount nolock = nfs_with("rw,vers=3,nolock,local_lock=all"),
                 flock = nfs_with("rw,vers=3,local_lock=flock");
  holdfast_mount none = nfs_with("rw,vers=4.2,local_lock=none");

  (void)state;
  assert_true(says(&plain, NULL, 0, "lookupcache=positive"));
  assert_false(says(&good, NULL, 0, "lookupcache=positive"));
  assert_true(says(&soft, NULL, 0, "hard instead of soft"));
  assert_false(says(&plain, NULL, 0, "hard instead of soft"));
  assert_true(says(&v3, NULL, 0, "vers=4.2"));
  assert_false(says(&plain, NULL, 0, "Prefer vers=4.2"));
  assert_true(says(&nolock, NULL, 0, "without nolock"));
  assert_false(says(&flock, NULL, 0, "without nolock"));
  assert_false(says(&none, NULL, 0, "without nolock"));
  assert_true(says(&plain, NULL, 1, "recover_lost_locks"));
  assert_false(says(&plain, NULL, 0, "recover_lost_locks"));
  assert_true(says(&plain, NULL, 0, "synchronous"));
}

static void smb_options(void **state)
{
  holdfast_mount plain = smb_with("rw,vers=3.1.1,cache=strict,soft"),
                 nobrl = smb_with("rw,nobrl,cache=strict");
  holdfast_mount loose = smb_with("rw,cache=loose"), nosync = smb_with("rw,cache=strict,nostrictsync");

  (void)state;
  assert_true(says(&plain, NULL, 0, "posix locking = no"));
  assert_true(says(&plain, NULL, 0, "Load holdfast in every program"));
  assert_true(says(&plain, NULL, 0, "hard instead of soft"));
  assert_false(says(&plain, NULL, 0, "cache=strict"));
  assert_true(says(&nobrl, NULL, 0, "without nobrl"));
  assert_true(says(&loose, NULL, 0, "cache=strict"));
  assert_true(says(&nosync, NULL, 0, "without nostrictsync"));
  assert_false(says(&plain, NULL, 1, "recover_lost_locks"));
}

static void a_local_disk_needs_none(void **state)
{
  holdfast_mount m = mount_with("ext4", "rw,soft,nolock", HOLDFAST_RULE_WAL_OK, HOLDFAST_CLASS_LOCAL);
  holdfast_selftest_report good = seen(1, 1, 0);
  char text[64] = "before";

  (void)state;
  assert_int_equal(hf_advice(&m, &good, 1, 0, text, sizeof text), SQLITE_NOTFOUND);
  assert_string_equal(text, "before");
}

static void the_assume_line_needs_a_guess_and_a_clean_test(void **state)
{
  holdfast_mount fuse = mount_with("fuse", "rw", HOLDFAST_RULE_ROLLBACK_ONE_HOST, HOLDFAST_CLASS_FUSE);
  holdfast_mount merger = mount_with("fuse.mergerfs", "rw", HOLDFAST_RULE_WAL_OK, HOLDFAST_CLASS_LOCAL);
  holdfast_mount vm = mount_with("virtiofs", "rw", HOLDFAST_RULE_ROLLBACK_ONE_HOST, HOLDFAST_CLASS_VM_SHARE);
  holdfast_selftest_report good = seen(1, 1, 0), no_map = seen(1, 0, 1), fake = seen(0, 1, 2);

  (void)state;
  holdfast_mount split = mount_with("ext4", "rw", HOLDFAST_RULE_ROLLBACK_ONE_HOST, HOLDFAST_CLASS_LOCAL);

  merger.confidence = split.confidence = HOLDFAST_CONFIDENCE_LOW;
  assert_false(says(&split, &good, 0, "HOLDFAST_ASSUME=local")); /* a file mounted without its directory */
  assert_true(says(&split, &good, 0, "Mount the directory"));
  assert_false(says(&split, &good, 0, "one machine only"));
  assert_true(says(&fuse, &good, 0, "HOLDFAST_ASSUME=local"));
  assert_false(says(&fuse, NULL, 0, "HOLDFAST_ASSUME=local"));
  assert_false(says(&fuse, &no_map, 0, "HOLDFAST_ASSUME=local"));
  assert_false(says(&fuse, &fake, 0, "HOLDFAST_ASSUME=local"));
  assert_true(says(&fuse, &fake, 0, "Do not let two programs"));
  assert_false(
      says(&vm, &good, 0, "HOLDFAST_ASSUME=local")); /* what is known is not overruled by one machine */
  assert_true(says(&merger, &good, 0, "HOLDFAST_ASSUME=local"));
  assert_true(says(&merger, &no_map, 0, "HOLDFAST_ASSUME=one-host"));
}

static void lost_durability_is_said(void **state)
{
  holdfast_mount volatile_overlay = mount_with("overlay", "rw", HOLDFAST_RULE_WAL_OK, HOLDFAST_CLASS_LOCAL);
  holdfast_mount memory = mount_with("tmpfs", "rw", HOLDFAST_RULE_WAL_OK, HOLDFAST_CLASS_MEMORY);

  (void)state;
  volatile_overlay.durable = memory.durable = HOLDFAST_DURABLE_NO;
  assert_true(says(&volatile_overlay, NULL, 0, "fsync does nothing"));
  assert_true(says(&memory, NULL, 0, "gone when the machine stops"));
  assert_false(says(&memory, NULL, 0, "fsync does nothing"));
}

static void bad_arguments_are_misuse(void **state)
{
  holdfast_mount m = nfs_with("rw");
  holdfast_selftest_report small = {.struct_size = 1};
  char text[8] = "";

  (void)state;
  assert_int_equal(holdfast_advice(NULL, NULL, 0, text, sizeof text), SQLITE_MISUSE);
  assert_int_equal(holdfast_advice(&m, NULL, -1, text, sizeof text), SQLITE_MISUSE);
  assert_int_equal(holdfast_advice(&m, NULL, 0, NULL, 8), SQLITE_MISUSE);
  assert_int_equal(holdfast_advice(&m, NULL, 0, text, 0), SQLITE_MISUSE);
  assert_int_equal(holdfast_advice(&m, &small, 0, text, sizeof text), SQLITE_MISUSE);
  assert_int_equal(holdfast_advice(&m, NULL, 0, text, sizeof text), SQLITE_OK);
  assert_int_equal(strlen(text), 7); /* cut at its size */
  assert_int_equal(holdfast_advice(&m, NULL, 50, text, sizeof text), SQLITE_NOTFOUND);
  m.struct_size = 0;
  assert_int_equal(holdfast_advice(&m, NULL, 0, text, sizeof text), SQLITE_MISUSE);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(nfs_options),
      cmocka_unit_test(smb_options),
      cmocka_unit_test(a_local_disk_needs_none),
      cmocka_unit_test(the_assume_line_needs_a_guess_and_a_clean_test),
      cmocka_unit_test(lost_durability_is_said),
      cmocka_unit_test(bad_arguments_are_misuse),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
