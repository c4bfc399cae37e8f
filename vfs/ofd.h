/*
 * ofd.h - fcntl(fd, F_OFD_SETLK, lock) by the shortest way.
 *
 * All that a lock costs above plain SQLite is spent around this call, five times for each transaction. libc's
 * fcntl() takes 35 instructions to find out which of its many calls this is. It does nothing else for this
 * one, which is no cancellation point. Where struct flock is the kernel's own the call is made directly, and
 * on x86-64 without the shuffling of syscall(), too.
 */
#ifndef HF_OFD_H
#define HF_OFD_H

#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "hot.h"

#if defined(__linux__) && defined(__x86_64__) && defined(__LP64__)
/* Rare, and apart so that the call itself needs no stack. */
static HF_SLOW int hf_ofd_refused(long rc)
{
  errno = (int)-rc;
  return -1;
}
#endif

/* 0, or not: then hf_ofd_result() makes of it what fcntl() returns. */
static inline long hf_ofd_call(int fd, struct flock *lock)
{
#if defined(__linux__) && defined(__x86_64__) && defined(__LP64__)
  long rc;

  __asm__ volatile("syscall"
                   : "=a"(rc)
                   : "0"((long)SYS_fcntl), "D"((long)fd), "S"((long)F_OFD_SETLK), "d"(lock)
                   : "rcx", "r11", "memory");
  return rc;
#elif defined(__linux__) && defined(__LP64__)
  return syscall(SYS_fcntl, fd, F_OFD_SETLK, lock);
#else
  return fcntl(fd, F_OFD_SETLK, lock);
#endif
}

static inline int hf_ofd_result(long rc)
{
#if defined(__linux__) && defined(__x86_64__) && defined(__LP64__)
  return HF_LIKELY(rc == 0) ? 0 : hf_ofd_refused(rc);
#else
  return (int)rc;
#endif
}

static inline int hf_ofd_set(int fd, struct flock *lock)
{
  return hf_ofd_result(hf_ofd_call(fd, lock));
}

#endif
