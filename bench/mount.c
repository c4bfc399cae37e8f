/*
 * mount.c (bench) - what a mount verdict costs: fresh by statmount, fresh by mountinfo of 50 mounts, and
 * as every later open on the mount gets it.
 *
 *     build/bench/mount [DIRECTORY]     default: the current one
 *
 * Prints medians of single calls in nanoseconds beside the marks that the project set itself. The mountinfo
 * run is real: a child in its own mount namespace mounts until there are 50 and forbids itself statmount, as
 * a sandbox does. It needs the right to make a namespace and says so when it has none.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "mount.h"

enum { SAMPLES = 4001, MOUNTS = 50, CALL_STATMOUNT = 457 };

static uint64_t now_ns(void)
{
  struct timespec t;

  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int by_size(const void *a, const void *b)
{
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

  return (x > y) - (x < y);
}

static void fresh(const char *path)
{
  hf_mount_facts facts;
  hf_verdict verdict;

  if (hf_mount_facts_of(path, &facts) == 0) hf_verdict_of(&facts, HOLDFAST_ASSUME_NOTHING, &verdict);
}

/* What the VFS does at each open: facts and verdict of its file. */
static void later(const char *path)
{
  static hf_mount_facts facts;
  static hf_verdict verdict;

  (void)hf_mount_verdict(path, HOLDFAST_ASSUME_NOTHING, &facts, &verdict);
}

static void nothing(const char *path)
{
  (void)path;
}

static uint64_t median(void (*call)(const char *), const char *path)
{
  static uint64_t ns[SAMPLES];

  for (int i = 0; i < 200; i++) call(path);
  for (int i = 0; i < SAMPLES; i++) {
    uint64_t start = now_ns();

    call(path);
    ns[i] = now_ns() - start;
  }
  qsort(ns, SAMPLES, sizeof ns[0], by_size);
  return ns[SAMPLES / 2];
}

static bool line(const char *what, uint64_t ns, uint64_t mark)
{
  printf("%-44s %8llu ns   mark %7llu ns   %s\n", what, (unsigned long long)ns, (unsigned long long)mark,
         ns <= mark ? "kept" : "MISSED");
  return ns <= mark;
}

/* How the facts of this path came about: the label of a line must be true. */
static const char *source_of_facts(const char *path)
{
  static hf_mount_facts facts;

  return hf_mount_facts_of(path, &facts) == 0 ? facts.how : "nothing";
}

static int forbid_statmount(void)
{
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, CALL_STATMOUNT, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {sizeof code / sizeof code[0], code};

  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
  return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static int count_mounts(void)
{
  FILE *f = fopen("/proc/self/mountinfo", "r");
  int lines = 0, c;

  while (f && (c = fgetc(f)) != EOF) lines += c == '\n';
  if (f) fclose(f);
  return lines;
}

/* In a child: exit code 0 kept, 1 missed, 77 not possible here. */
static int by_mountinfo(const char *dir)
{
  char path[4096], label[80];
  int mounts, fd;

  if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) return 77;
  do { /* one on the other: the last line of the table is the one that is wanted */
    if (mount("tmpfs", dir, "tmpfs", 0, "size=64k") != 0) return 77;
  } while ((mounts = count_mounts()) < MOUNTS);
  snprintf(path, sizeof path, "%s/a.db", dir);
  fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
  if (fd < 0 || forbid_statmount() != 0) return 77;
  close(fd);
  if (strcmp(source_of_facts(path), "mountinfo") != 0) return 77;
  snprintf(label, sizeof label, "fresh verdict by mountinfo of %d mounts", mounts);
  return line(label, median(fresh, path), 100000) ? 0 : 1;
}

int main(int argc, char **argv)
{
  const char *dir = argc > 1 ? argv[1] : ".";
  char path[4096], label[80], empty[] = "/tmp/holdfast-bench.XXXXXX";
  struct utsname u;
  int fd, status = 0;
  bool kept = true;
  pid_t child;

  if (uname(&u) == 0) printf("kernel %s %s, medians of %d calls\n", u.release, u.machine, SAMPLES);
  snprintf(path, sizeof path, "%s/holdfast-bench-%ld.db", dir, (long)getpid());
  fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
  if (fd < 0) {
    perror(path);
    return 1;
  }
  close(fd);
  printf("%-44s %8llu ns\n", "two readings of the clock, in every line",
         (unsigned long long)median(nothing, path));
  snprintf(label, sizeof label, "fresh verdict by %s", source_of_facts(path));
  kept &= line(label, median(fresh, path), strcmp(source_of_facts(path), "statmount") == 0 ? 10000 : 100000);
  kept &= line("later open on the mount", median(later, path), 2000);
  unlink(path);

  fflush(stdout);
  child = mkdtemp(empty) ? fork() : -1;
  if (child == 0) {
    status = by_mountinfo(empty);
    fflush(stdout);
    _exit(status);
  }
  if (child < 0 || waitpid(child, &status, 0) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) == 77)
    printf("not measured: a verdict by mountinfo of %d mounts (needs a mount namespace and seccomp)\n",
           MOUNTS);
  else
    kept &= WEXITSTATUS(status) == 0;
  rmdir(empty);
  return kept ? 0 : 1;
}
