/*
 * posix_linux.c - are POSIX locks of this process still there?
 *
 * For places where a lock cannot be owned (records_linux.c decides that). A process cannot ask about its own
 * POSIX locks with F_GETLK. An OFD query sees them as somebody else's; where the kernel or a sandbox has no
 * OFD locks, a child asks that shares the memory and waits for nothing.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdalign.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "records.h"

typedef struct question {
  int fd, rc;
  struct flock lock;
} question;

/* In the child, which has memory and stack in common with us: nothing but system calls. */
static int ask(void *arg)
{
  question *q = arg;

  q->rc = (int)syscall(SYS_fcntl, q->fd, F_GETLK, &q->lock);
  return 0;
}

/*
 * POSIX locks belong to a table of descriptors, and the child has a copy of ours: another owner. Its end
 * drops nothing of ours. It sends no SIGCHLD, and no handler of the application runs in it. Called with the
 * mutex of the records held, so one stack is enough.
 */
static bool ask_in_child(question *q)
{
  static alignas(16) char stack[32 * 1024];
  sigset_t all, before;
  int saved = errno;
  pid_t child;

  q->rc = -1;
  (void)sigfillset(&all); /* cannot fail */
  if (pthread_sigmask(SIG_SETMASK, &all, &before)) return false;
  child = clone(ask, stack + sizeof stack, CLONE_VM | CLONE_VFORK, q);
  while (child > 0 && waitpid(child, NULL, __WALL) < 0 && errno == EINTR) continue;
  (void)pthread_sigmask(SIG_SETMASK, &before, NULL); /* as it was */
  errno = saved;
  return child > 0 && q->rc == 0;
}

static bool answered(question *q)
{
  int saved = errno;

  if (fcntl(q->fd, F_OFD_GETLK, &q->lock) == 0) return true;
  errno = saved;
  q->lock.l_pid = 0;
  return ask_in_child(q);
}

bool hf_posix_can_ask(int fd)
{
  question q = {.fd = fd, .lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1}};

  return answered(&q);
}

/*
 * A close drops all locks of the file at once, and what was asked for since is held again. RESERVED is what a
 * transaction takes first; the rollback of a hot journal has none.
 */
hf_held hf_posix_held(int fd, unsigned units)
{
  question q = {.fd = fd, .lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET}};

  if (!units) return HF_HELD_UNKNOWN;
  hf_unit_range(units & HF_UNIT_RESERVED ? 1 : __builtin_ctz(units), &q.lock.l_start, &q.lock.l_len);
  if (!answered(&q)) return HF_HELD_UNKNOWN;
  return q.lock.l_type == F_UNLCK || (q.lock.l_pid > 0 && q.lock.l_pid != getpid()) ? HF_HELD_NOT : HF_HELD;
}

/* Of several readers the kernel names one, who need not be we. */
hf_held hf_posix_shared(int fd, unsigned units)
{
  question q = {.fd = fd, .lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET}};

  if (!units) return HF_HELD_UNKNOWN;
  hf_unit_range(__builtin_ctz(units), &q.lock.l_start, &q.lock.l_len);
  if (!answered(&q)) return HF_HELD_UNKNOWN;
  if (q.lock.l_type == F_UNLCK) return HF_HELD_NOT;
  return q.lock.l_pid == getpid() ? HF_HELD : HF_HELD_UNKNOWN;
}
