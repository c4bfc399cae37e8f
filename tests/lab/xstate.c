/*
 * xstate.c - lets linux.uml 6.1 boot on processors with a large XSAVE area (AMX).
 *
 * That kernel hands PTRACE_SETREGSET(NT_X86_XSTATE) only the part of the area that it knows, 2.6 of
 * up to 11 KiB. Newer host kernels refuse a short area with EFAULT, and the lab kernel panics at its
 * first process ("ptrace set fp regs failed, errno 14"). Preloaded into linux.uml, this file fills
 * the unknown rest with what the process has there already. Where the area is small, or the lab
 * kernel already knows all of it, every request goes through untouched.
 */
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { REGSET_X86_XSTATE = 0x202, AREA_BYTES_MAX = 64 * 1024 };

/* linux.uml calls this from one thread per traced process, so the area is the thread's own. */
static _Thread_local char area[AREA_BYTES_MAX];

static long kernel_ptrace(long request, long pid, void *addr, void *data)
{
  return syscall(SYS_ptrace, request, pid, addr, data);
}

static long set_whole_xstate(long pid, void *addr, struct iovec *part)
{
  struct iovec whole = {area, sizeof area};
  long rc = kernel_ptrace(PTRACE_GETREGSET, pid, addr, &whole);

  if (rc != 0 || whole.iov_len <= part->iov_len) {
    return kernel_ptrace(PTRACE_SETREGSET, pid, addr, part);
  }
  memcpy(area, part->iov_base, part->iov_len);
  return kernel_ptrace(PTRACE_SETREGSET, pid, addr, &whole);
}

/* glibc's ptrace() is variadic and returns the word of a PEEK as its result; so does this one. */
long ptrace(enum __ptrace_request request, ...)
{
  va_list args;
  long pid, word, rc;
  void *addr, *data;

  va_start(args, request);
  pid = va_arg(args, pid_t);
  addr = va_arg(args, void *);
  data = va_arg(args, void *);
  va_end(args);

  switch (request) {
  case PTRACE_SETREGSET:
    if ((long)addr == REGSET_X86_XSTATE) return set_whole_xstate(pid, addr, data);
    break;
  case PTRACE_PEEKTEXT:
  case PTRACE_PEEKDATA:
  case PTRACE_PEEKUSER:
    rc = kernel_ptrace(request, pid, addr, &word);
    if (rc < 0) return rc;
    errno = 0; /* a word of -1 is told from an error by errno alone */
    return word;
  default: break;
  }
  return kernel_ptrace(request, pid, addr, data);
}
