/*
 * mount_linux.c, statmount_linux.c and holdfast_mount_of(): facts of real paths, every fallback (a seccomp
 * filter takes calls away), and the cache. What needs mounts of its own is tests/proc/mounts_real.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "mount.h"

enum { CALL_STATMOUNT = 457 };

static char home[PATH_MAX]; /* the test's own directory, absolute */
static char *program;       /* this program; /proc/self/exe would be valgrind */

static void touch(const char *name)
{
  int fd = open(name, O_CREAT | O_RDWR | O_CLOEXEC, 0600);

  assert_true(fd >= 0);
  close(fd);
}

/* Answer two calls with errors from now on, in this process and for good. */
static bool forbid(unsigned first, unsigned first_error, unsigned second, unsigned second_error)
{
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, first, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | first_error),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, second, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | second_error),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog filter = {sizeof code / sizeof code[0], code};

  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

/*
 * This program again, as another process that answers on stdout: a real one (valgrind does not follow), so
 * that calls can be taken from it. Returns its exit code; `out` may be NULL.
 */
static int self(const char *what, const char *path, int a, int b, void *out, size_t size)
{
  char first[16], second[16];
  int pipes[2], status = 0;
  ssize_t got;
  pid_t child;

  snprintf(first, sizeof first, "%d", a);
  snprintf(second, sizeof second, "%d", b);
  assert_int_equal(pipe(pipes), 0);
  child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    char *args[] = {program, (char *)what, (char *)path, first, second, NULL};

    dup2(pipes[1], 1);
    execv(program, args);
    _exit(99);
  }
  close(pipes[1]);
  got = out ? read(pipes[0], out, size) : 0;
  close(pipes[0]);
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFEXITED(status));
  if (out && WEXITSTATUS(status) == 0) assert_int_equal(got, size);
  return WEXITSTATUS(status);
}

/* A mount that is left while this process still stands in it (umount -l). */
static int tell_unmounted(const char *directory)
{
  hf_mount_facts facts;

  if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) return 77;
  if (mount("gone", directory, "tmpfs", 0, "size=64k") != 0 || chdir(directory) != 0) return 1;
  if (umount2(".", MNT_DETACH) != 0 || hf_mount_facts_of("a.db", &facts) != 0) return 1;
  return write(1, &facts, sizeof facts) == (ssize_t)sizeof facts ? 0 : 1;
}

/* A file that is bind-mounted without its directory, on a kernel without statx (before 4.11). */
static int tell_split_without_statx(const char *directory)
{
  hf_mount_facts facts;
  int fd;

  if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) return 77;
  if (mount("apart", directory, "tmpfs", 0, "size=64k") != 0 || chdir(directory) != 0) return 1;
  for (int i = 0; i < 2; i++) {
    fd = open(i ? "b.db" : "a.db", O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0) return 1;
    close(fd);
  }
  if (mount("a.db", "b.db", NULL, MS_BIND, NULL) != 0) return 1;
  if (!forbid(CALL_STATMOUNT, ENOSYS, SYS_statx, ENOSYS)) return 77;
  if (hf_mount_facts_of("a.db", &facts) != 0 || facts.split) return 1;
  if (hf_mount_facts_of("b.db", &facts) != 0) return 1;
  return write(1, &facts, sizeof facts) == (ssize_t)sizeof facts ? 0 : 1;
}

/* The other process: facts of a path without some calls, or the try of a lock. */
static int other_process(char **args)
{
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 1, .l_len = 1};
  unsigned statmount_error = (unsigned)atoi(args[2]), statx_error = (unsigned)atoi(args[3]);
  hf_mount_facts facts;

  if (strcmp(args[0], "unmounted") == 0) return tell_unmounted(args[1]);
  if (strcmp(args[0], "split") == 0) return tell_split_without_statx(args[1]);
  if (strcmp(args[0], "lock") == 0) return fcntl(open(args[1], O_RDWR | O_CLOEXEC), F_SETLK, &lock) == 0;
  if (!forbid(CALL_STATMOUNT, statmount_error, statx_error ? SYS_statx : CALL_STATMOUNT, statx_error))
    return 77;
  if (hf_mount_facts_of(args[1], &facts) != 0) return 1;
  return write(1, &facts, sizeof facts) == (ssize_t)sizeof facts ? 0 : 1;
}

/* The facts of `path` as a process sees them that may not use the calls named. */
static bool facts_without(const char *path, int statmount_error, int statx_error, hf_mount_facts *out)
{
  int code = self("facts", path, statmount_error, statx_error, out, sizeof *out);

  if (code == 77) print_message("skipped: no seccomp filter can be had here\n");
  assert_true(code == 0 || code == 77);
  return code == 0;
}

static bool has_statmount(void)
{
  return syscall(CALL_STATMOUNT, NULL, NULL, 0, 0) != 0 && errno != ENOSYS && errno != EPERM;
}

static const char *const places[] = {".", "/", "/proc", "/dev/shm", "/sys", "/dev", "/dev/pts", "/run"};

static void statmount_and_mountinfo_agree(void **state)
{
  hf_mount_facts a, b;
  (void)state;

  if (!has_statmount()) {
    print_message("skipped: this kernel (or valgrind) has no statmount\n");
    skip();
  }
  for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
    if (hf_mount_facts_of(places[i], &a) == ENOENT) continue;
    if (strcmp(a.how, "statmount") != 0) skip(); /* 6.8 to 6.12 */
    if (!facts_without(places[i], ENOSYS, 0, &b)) skip();
    assert_string_equal(b.how, "mountinfo");
    assert_string_equal(a.fstype, b.fstype);
    assert_string_equal(a.source, b.source);
    assert_string_equal(a.root, b.root);
    assert_string_equal(a.mount_point, b.mount_point);
    assert_string_equal(a.mount_options, b.mount_options);
    assert_string_equal(a.super_options, b.super_options);
    assert_int_equal(a.device, b.device);
    assert_int_equal(a.mount_id, b.mount_id);
    assert_true(a.unique_id && b.unique_id);
  }
}

/* Old kernel or strict sandbox: each fallback leads to the same type, mount point and file. */
static void every_fallback_gives_the_same_answer(void **state)
{
  static const struct {
    int statmount, statx;
    const char *how;
  } cases[] = {{ENOSYS, 0, "mountinfo"},
               {EPERM, 0, "mountinfo"},
               {EPERM, ENOSYS, "mountinfo"},
               {EPERM, EPERM, "mountinfo"}};
  char path[PATH_MAX + 8];
  hf_mount_facts best, f;
  (void)state;

  touch("a.db");
  snprintf(path, sizeof path, "%s/a.db", home);
  assert_int_equal(hf_mount_facts_of(path, &best), 0);
  assert_true(best.file_exists);
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    if (!facts_without(path, cases[i].statmount, cases[i].statx, &f)) skip();
    assert_string_equal(f.how, cases[i].how);
    assert_string_equal(f.fstype, best.fstype);
    assert_string_equal(f.mount_point, best.mount_point);
    assert_int_equal(f.device, best.device);
    assert_int_equal(f.links, 1);
    assert_true(f.file_exists);
    assert_false(f.split);
    if (cases[i].statx) assert_false(f.unique_id);
  }
}

static void paths_that_are_not_there(void **state)
{
  char *path = malloc(2 * PATH_MAX);
  hf_mount_facts f = {.mount_id = 4711};
  hf_verdict v;
  (void)state;

  assert_non_null(path);
  touch("file");
  assert_int_equal(hf_mount_facts_of("absent.db", &f), 0); /* its directory is there */
  assert_false(f.file_exists);
  assert_int_equal(f.links, 0);
  f.mount_id = 4711;
  assert_int_equal(hf_mount_facts_of("absent/a.db", &f), ENOENT);
  assert_int_equal(hf_mount_facts_of("file/a.db", &f), ENOTDIR);
  assert_int_equal(hf_mount_facts_of("", &f), ENOENT);
  for (size_t len = PATH_MAX - 20; len < PATH_MAX + 20; len++) {
    memset(path, '/', len);
    memcpy(path + len, "a", 2);
    assert_int_equal(hf_mount_facts_of(path, &f), len + 1 >= PATH_MAX ? ENAMETOOLONG : 0);
  }
  memset(path, 'x', 2 * PATH_MAX - 1);
  path[2 * PATH_MAX - 1] = '\0';
  f.mount_id = 4711;
  assert_int_equal(hf_mount_verdict(path, 0, &f, &v), ENAMETOOLONG);
  assert_int_equal(f.mount_id, 4711); /* not touched on failure */
  free(path);
}

/* Does another process get the write lock on `path`? 1 yes, 0 no. */
static int other_gets_lock(const char *path)
{
  return self("lock", path, 0, 0, NULL, 0);
}

/* F1: an open and close of the database, as any statfs-by-descriptor would do it, drops its locks. */
static void asking_keeps_the_locks_of_this_process(void **state)
{
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 1, .l_len = 1};
  hf_mount_facts f;
  hf_verdict v;
  int fd;
  (void)state;

  touch("locked.db");
  fd = open("locked.db", O_RDWR | O_CLOEXEC);
  assert_int_equal(fcntl(fd, F_SETLK, &lock), 0);
  assert_int_equal(other_gets_lock("locked.db"), 0);
  assert_int_equal(hf_mount_facts_of("locked.db", &f), 0);
  assert_int_equal(hf_mount_verdict("locked.db", 0, &f, &v), 0);
  assert_int_equal(hf_mount_verdict("locked.db", 0, &f, &v), 0);
  assert_int_equal(other_gets_lock("locked.db"), 0);
  close(open("locked.db", O_RDONLY | O_CLOEXEC)); /* the control: this is what must not happen */
  assert_int_equal(other_gets_lock("locked.db"), 1);
  close(fd);
}

/* The verdict of a mount is kept, the facts of a file are its own. */
static void the_cache_keeps_files_apart(void **state)
{
  hf_mount_facts f;
  hf_verdict plain, linked, assumed, v;
  (void)state;

  touch("plain.db");
  touch("linked.db");
  (void)unlink("second-name.db");
  assert_int_equal(link("linked.db", "second-name.db"), 0);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(hf_mount_verdict("plain.db", 0, &f, &plain), 0);
    assert_int_equal(f.links, 1);
    assert_int_equal(hf_mount_verdict("linked.db", 0, &f, &linked), 0);
    assert_int_equal(f.links, 2);
    assert_int_equal(hf_mount_verdict("plain.db", HOLDFAST_ASSUME_NETWORK, NULL, &assumed), 0);
    assert_int_equal(hf_mount_verdict("absent.db", 0, &f, &v), 0);
    assert_false(f.file_exists);
    assert_int_equal(f.links, 0);
    assert_null(strstr(plain.notes, "names"));
    assert_non_null(strstr(linked.notes, "2 names"));
    assert_int_equal(linked.confidence, HOLDFAST_CONFIDENCE_LOW);
    assert_int_equal(assumed.rule, HOLDFAST_RULE_ROLLBACK_ONLY);
    assert_int_equal(hf_mount_verdict("/proc", 0, &f, &v), 0);
    assert_int_equal(v.rule, HOLDFAST_RULE_REFUSE);
    assert_string_equal(f.mount_point, "/proc");
  }
  assert_int_equal(unlink("second-name.db"), 0);
  assert_int_equal(hf_mount_verdict("linked.db", 0, &f, &v), 0);
  assert_int_equal(f.links, 1);
  assert_null(strstr(v.notes, "names"));
}

/* No table lists it any more: the number of statfs is all there is, and that is said. */
static void a_mount_that_was_detached(void **state)
{
  hf_mount_facts f;
  hf_verdict v;
  int code;
  (void)state;

  (void)mkdir("detached", 0700);
  code = self("unmounted", "detached", 0, 0, &f, sizeof f);
  if (code == 77) {
    print_message("skipped: no mount namespace can be had here\n");
    skip();
  }
  assert_int_equal(code, 0);
  assert_string_equal(f.how, "statfs");
  assert_int_equal(f.magic, 0x01021994);
  if (has_statmount()) assert_true(f.deleted);
  hf_verdict_of(&f, HOLDFAST_ASSUME_NOTHING, &v);
  assert_int_equal(v.confidence, HOLDFAST_CONFIDENCE_LOW);
}

static void a_split_file_without_statx(void **state)
{
  hf_mount_facts f;
  int code;
  (void)state;

  (void)mkdir("apart", 0700);
  code = self("split", "apart", 0, 0, &f, sizeof f);
  if (code == 77) {
    print_message("skipped: no mount namespace or no seccomp filter can be had here\n");
    skip();
  }
  assert_int_equal(code, 0);
  assert_true(f.split);
  assert_string_equal(f.source, "apart");
}

static void *ask_often(void *arg)
{
  const int assume = *(const int *)arg;
  uintptr_t wrong = 0;

  for (int i = 0; i < 1500; i++) {
    const char *path = i % 3 ? "plain.db" : "/proc";
    hf_mount_facts f;
    hf_verdict v;

    if (hf_mount_verdict(path, assume, &f, &v) != 0) wrong++;
    if (i % 3 == 0 && strcmp(f.fstype, "proc") != 0) wrong++;
    if (i % 3 && assume == HOLDFAST_ASSUME_NETWORK && v.rule != HOLDFAST_RULE_ROLLBACK_ONLY) wrong++;
    if (i % 3 && assume == HOLDFAST_ASSUME_ONE_HOST && v.rule != HOLDFAST_RULE_ROLLBACK_ONE_HOST) wrong++;
    if (i % 3 && assume == HOLDFAST_ASSUME_LOCAL && v.rule != HOLDFAST_RULE_WAL_OK) wrong++;
  }
  return (void *)wrong;
}

static void threads_do_not_mix_verdicts(void **state)
{
  static const int assume[] = {HOLDFAST_ASSUME_LOCAL, HOLDFAST_ASSUME_ONE_HOST, HOLDFAST_ASSUME_NETWORK,
                               HOLDFAST_ASSUME_LOCAL};
  pthread_t threads[4];
  void *wrong;
  (void)state;

  touch("plain.db");
  for (int i = 0; i < 4; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, ask_often, (void *)(uintptr_t)&assume[i]), 0);
  for (int i = 0; i < 4; i++) {
    assert_int_equal(pthread_join(threads[i], &wrong), 0);
    assert_null(wrong);
  }
}

static void the_public_call(void **state)
{
  holdfast_mount m = {.struct_size = sizeof m};
  char name[PATH_MAX + 16];
  (void)state;

  touch("plain.db");
  assert_int_equal(holdfast_mount_of("plain.db", &m), 0);
  assert_true(m.rule > 0 && m.fstype[0] && m.reason[0] && m.mount_point[0] == '/');
  assert_true(strncmp(m.options, "rw", 2) == 0);
  /* A link is followed: what counts is where the file lies. */
  (void)unlink("to-proc");
  assert_int_equal(symlink("/proc/version", "to-proc"), 0);
  assert_int_equal(holdfast_mount_of("to-proc", &m), 0);
  assert_string_equal(m.fstype, "proc");
  assert_int_equal(holdfast_mount_of("/absent.db", &m), 0);
  assert_string_equal(m.mount_point, "/");
  snprintf(name, sizeof name, "%s/absent.db", home);
  assert_int_equal(holdfast_mount_of(name, &m), 0);

  m.rule = 4711;
  assert_int_equal(holdfast_mount_of("absent/a.db", &m), 14); /* SQLITE_CANTOPEN */
  assert_int_equal(holdfast_mount_of(NULL, &m), 21);          /* SQLITE_MISUSE */
  assert_int_equal(holdfast_mount_of("", &m), 21);
  assert_int_equal(holdfast_mount_of("plain.db", NULL), 21);
  m.struct_size = 0;
  assert_int_equal(holdfast_mount_of("plain.db", &m), 21);
  assert_int_equal(m.rule, 4711);
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(statmount_and_mountinfo_agree),
      cmocka_unit_test(every_fallback_gives_the_same_answer),
      cmocka_unit_test(paths_that_are_not_there),
      cmocka_unit_test(asking_keeps_the_locks_of_this_process),
      cmocka_unit_test(the_cache_keeps_files_apart),
      cmocka_unit_test(a_mount_that_was_detached),
      cmocka_unit_test(a_split_file_without_statx),
      cmocka_unit_test(threads_do_not_mix_verdicts),
      cmocka_unit_test(the_public_call),
  };
  if (argc == 5) return other_process(argv + 1);
  program = realpath(argv[0], NULL);
  if (!program || !getcwd(home, sizeof home)) return 1;
  argc = cmocka_run_group_tests(tests, NULL, NULL);
  free(program);
  return argc;
}
