/*
 * smb_linux.c: the flags of lock descriptors. The SMB client gives descriptors of one file with the same
 * flags one handle of the server, so no lock descriptor may have the flags of one that reads or writes: the
 * handle would be opened anew by the next read, and the loss of its locks would go unseen. Nor may two have
 * the same: when one is killed, its locks stay until the other closes. What the server
 * then does is seen in the lab (smb-drops); which flags are chosen does not need one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>
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
    for (unsigned set = 0; set < HF_SMB_FLAG_SETS; set++) {
      hf_record one = {.flag_set = set, .claim_fd = 0}; /* it has its set already */
      int flags = flags_of(hf_smb_open(name, access[i] == O_RDWR, &one));
      assert_int_equal(flags & O_ACCMODE, access[i]);
      assert_int_not_equal(flags, plain);
      assert_int_not_equal(flags, direct);
    }
  }
}

/* As many libraries as there are sets, which would all begin with the same one; then one more. */
static void nobody_gets_the_flags_of_another(void **state)
{
  const ino_t inode = (ino_t)getpid(); /* the names are the machine's: this program may run twice */
  hf_record all[HF_SMB_FLAG_SETS + 1];
  int seen[HF_SMB_FLAG_SETS + 1], again;
  (void)state;

  for (int i = 0; i <= HF_SMB_FLAG_SETS; i++) {
    all[i] = (hf_record){.device = 1, .inode = inode, .claim_fd = -1};
    seen[i] = flags_of(hf_smb_open(name, true, &all[i]));
    for (int before = 0; before < i && i < HF_SMB_FLAG_SETS; before++)
      assert_int_not_equal(seen[i], seen[before]);
  }
  assert_int_equal(all[HF_SMB_FLAG_SETS].claim_fd, -1);
  assert_int_equal(flags_of(hf_smb_open(name, true, &all[3])), seen[3]); /* it keeps them */
  close(all[3].claim_fd);
  again = flags_of(hf_smb_open(name, true, &all[HF_SMB_FLAG_SETS]));
  assert_int_equal(again, seen[3]); /* they are free again */
  for (int i = 0; i <= HF_SMB_FLAG_SETS; i++)
    if (i != 3) close(all[i].claim_fd);
}

/* Another process: its number would lead to another set, so it is told to begin with the parent's. */
static void nor_does_another_process(void **state)
{
  const ino_t inode = (ino_t)getpid();
  hf_record parents = {.device = 1, .inode = inode, .claim_fd = -1}, childs;
  int ours = flags_of(hf_smb_open(name, true, &parents)), status = 0;
  pid_t pid = fork(), parent;
  (void)state;

  assert_true(pid >= 0);
  if (pid == 0) {
    parent = getppid();
    childs = (hf_record){.device = 1, .inode = inode, .claim_fd = -1};
    /* 7 * slot = parent - child, modulo the number of sets */
    while ((7 * childs.slot + (int)getpid() - (int)parent) % HF_SMB_FLAG_SETS != 0) childs.slot++;
    _exit(flags_of(hf_smb_open(name, true, &childs)) == ours ? 1 : childs.claim_fd < 0 ? 2 : 0);
  }
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_int_equal(status, 0);
  close(parents.claim_fd);
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
      cmocka_unit_test(nobody_gets_the_flags_of_another),
      cmocka_unit_test(nor_does_another_process),
  };

  return cmocka_run_group_tests_name("smb_flags", tests, clean, clean);
}
