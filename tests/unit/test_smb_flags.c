/*
 * smb_linux.c: the flags of lock descriptors. The SMB client gives descriptors of one file with the same
 * flags one handle of the server, so no lock descriptor may have the flags of one that reads or writes: the
 * handle would be opened anew by the next read, and the loss of its locks would go unseen. What the server
 * then does is seen in the lab (smb-drops); which flags are chosen does not need one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "records.h"
#include "smb.h"

static const char name[] = "smb-flags-test.db";

static int flags_of(int fd)
{
  int flags = fcntl(fd, F_GETFL);

  assert_true(fd >= 0);
  close(fd);
  return flags;
}

/* As SQLite opens a database, and as it is after the shim has seen it. */
static int flags_of_io(int access, bool direct)
{
  int fd = open(name, access | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

  assert_true(fd >= 0);
  if (direct) hf_smb_opened(fd, name);
  return flags_of(fd);
}

static void no_lock_descriptor_looks_like_one_for_data(void **state)
{
  const int access[] = {O_RDONLY, O_RDWR};
  (void)state;

  for (size_t i = 0; i < 2; i++) {
    int plain = flags_of_io(access[i], false), direct = flags_of_io(access[i], true);
    if (plain == direct)
      print_message("no O_DIRECT on this file system: only plain descriptors are compared\n");
    for (int slot = 0; slot < HF_SMB_FLAG_SETS; slot++) {
      int flags = flags_of(hf_smb_open(name, access[i] == O_RDWR, slot));
      assert_int_equal(flags & O_ACCMODE, access[i]);
      assert_int_not_equal(flags, plain);
      assert_int_not_equal(flags, direct);
    }
  }
}

static void every_set_of_flags_is_another_one(void **state)
{
  int seen[HF_SMB_FLAG_SETS];
  (void)state;

  for (int slot = 0; slot < HF_SMB_FLAG_SETS; slot++) {
    seen[slot] = flags_of(hf_smb_open(name, true, slot));
    for (int before = 0; before < slot; before++) assert_int_not_equal(seen[slot], seen[before]);
  }
}

static int clean(void **state)
{
  (void)state;
  (void)unlink(name);
  return 0;
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(no_lock_descriptor_looks_like_one_for_data),
      cmocka_unit_test(every_set_of_flags_is_another_one),
  };

  return cmocka_run_group_tests_name("smb_flags", tests, clean, clean);
}
