/*
 * trace_linux.c - see trace.h.
 */
#include "trace.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

#ifndef __x86_64__
void trace_run(void (*child)(void *), void *arg, const trace_plan *plan, trace_result *result)
{
  (void)child, (void)arg, (void)plan, (void)result;
  check_skip("stepping through system calls is written for x86-64 only");
}
#else

enum { CALLS_MAX = 1000000 };

static const struct {
  long call;
  bool writes;
  const char *name;
} known[] = {
    {SYS_write, true, "write"},
    {SYS_pwrite64, true, "pwrite64"},
    {SYS_ftruncate, true, "ftruncate"},
    {SYS_fallocate, true, "fallocate"},
    {SYS_fsync, true, "fsync"},
    {SYS_fdatasync, true, "fdatasync"},
    {SYS_unlink, true, "unlink"},
    {SYS_unlinkat, true, "unlinkat"},
    {SYS_rename, true, "rename"},
    {SYS_openat, true, "openat"},
    {SYS_open, true, "open"},
    {SYS_linkat, true, "linkat"},
    {SYS_fchmod, true, "fchmod"},
    {SYS_fchown, true, "fchown"},
    {SYS_read, false, "read"},
    {SYS_pread64, false, "pread64"},
    {SYS_lseek, false, "lseek"},
    {SYS_fcntl, false, "fcntl"},
    {SYS_newfstatat, false, "newfstatat"},
    {SYS_stat, false, "stat"},
    {SYS_lstat, false, "lstat"},
    {SYS_fstat, false, "fstat"},
    {SYS_statx, false, "statx"},
    {SYS_statfs, false, "statfs"},
    {SYS_fstatfs, false, "fstatfs"},
    {SYS_access, false, "access"},
    {SYS_faccessat, false, "faccessat"},
    {SYS_faccessat2, false, "faccessat2"},
    {SYS_readlink, false, "readlink"},
    {SYS_readlinkat, false, "readlinkat"},
    {SYS_getcwd, false, "getcwd"},
    {SYS_mmap, false, "mmap"},
    {457, false, "statmount"}, /* younger than the C library's list */
};
enum { KNOWN = sizeof known / sizeof known[0] };

static int find(long call)
{
  for (int i = 0; i < KNOWN; i++)
    if (known[i].call == call) return i;
  return -1;
}

bool trace_writes(long call, const unsigned long *args)
{
  int i = find(call);

  (void)args;
  return i >= 0 && known[i].writes;
}

bool trace_files(long call, const unsigned long *args)
{
  if (call == SYS_mmap) return !(args[3] & MAP_ANONYMOUS); /* memory is alloc_fail's business */
  return find(call) >= 0;
}

const char *trace_name(long call)
{
  int i = find(call);

  return i >= 0 ? known[i].name : "another call";
}

void trace_here(void)
{
  if (ptrace(PTRACE_TRACEME, 0, NULL, NULL)) _exit(99);
  (void)raise(SIGSTOP);
}

static pid_t start(void (*child)(void *), void *arg)
{
  int status;
  pid_t pid;

  (void)fflush(stdout); /* else the child prints it once more */
  pid = fork();
  if (pid < 0) check_broken("fork");
  if (pid == 0) {
    child(arg);
    _exit(0);
  }
  if (waitpid(pid, &status, 0) != pid) check_broken("waitpid");
  if (WIFEXITED(status) && WEXITSTATUS(status) == 99) check_skip("ptrace is not allowed here");
  if (!WIFSTOPPED(status)) {
    printf("the child ended with status 0x%x before its mark\n", status);
    check_broken("a traced child");
  }
  if (ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL))
    check_broken("ptrace options");
  return pid;
}

/* On to the next stop at a system call. False: the child is gone. */
static bool next_stop(pid_t pid, int *status)
{
  int signal_given = 0;

  for (;;) {
    if (ptrace(PTRACE_SYSCALL, pid, NULL, (void *)(uintptr_t)signal_given) && errno != ESRCH)
      check_broken("ptrace");
    if (waitpid(pid, status, 0) != pid) check_broken("waitpid");
    if (!WIFSTOPPED(*status)) return false;
    if (WSTOPSIG(*status) == (SIGTRAP | 0x80)) return true;
    signal_given = WSTOPSIG(*status); /* a signal of its own: deliver it */
  }
}

static void end(pid_t pid, int *status)
{
  (void)kill(pid, SIGKILL);
  do
    if (waitpid(pid, status, 0) != pid) check_broken("waitpid");
  while (WIFSTOPPED(*status));
}

static void set_register(pid_t pid, size_t offset, long value)
{
  if (ptrace(PTRACE_POKEUSER, pid, (void *)offset, (void *)value)) check_broken("ptrace registers");
}

/* One call, stopped at its entry. False: the child is gone (killed here, or by itself). */
static bool one_call(pid_t pid, const trace_plan *plan, trace_result *r)
{
  struct user_regs_struct regs;
  unsigned long args[6];
  bool hit, fail;

  if (ptrace(PTRACE_GETREGS, pid, NULL, &regs)) check_broken("ptrace registers");
  args[0] = regs.rdi, args[1] = regs.rsi, args[2] = regs.rdx;
  args[3] = regs.r10, args[4] = regs.r8, args[5] = regs.r9;
  hit = !plan->counts || plan->counts((long)regs.orig_rax, args);
  if (hit) r->counted++;
  if (r->counted > CALLS_MAX) {
    r->endless = true;
    end(pid, &r->status);
    return false;
  }
  fail = hit && ((plan->act == TRACE_FAIL_ONCE && r->counted == plan->at) ||
                 (plan->act == TRACE_FAIL_EVER && r->counted >= plan->at));
  hit = hit && r->counted == plan->at && plan->act != TRACE_COUNT;
  if (hit) r->acted = true, r->call = (long)regs.orig_rax;
  if (hit && plan->act == TRACE_KILL_ENTRY) {
    end(pid, &r->status);
    return false;
  }
  if (fail) set_register(pid, offsetof(struct user_regs_struct, orig_rax), -1);
  if (!next_stop(pid, &r->status)) return false;
  if (fail) set_register(pid, offsetof(struct user_regs_struct, rax), -plan->error);
  if (hit && plan->act == TRACE_KILL_EXIT) {
    end(pid, &r->status);
    return false;
  }
  return true;
}

void trace_run(void (*child)(void *), void *arg, const trace_plan *plan, trace_result *result)
{
  pid_t pid = start(child, arg);
  trace_result r = {0};

  while (next_stop(pid, &r.status))
    if (!one_call(pid, plan, &r)) break;
  *result = r;
}
#endif
