/*
 * pool_process.c - which process and which thread is this, and what time is it.
 *
 * The process has a number that is another one in every forked child: a page that the kernel empties there
 * holds it, so that a child made by clone() or _Fork(), which run no handlers, is noticed, too.
 */
#include <errno.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "pool.h"

static volatile unsigned plain = 1;
static volatile unsigned *page = &plain;
static unsigned last = 1; /* ordinary memory: a child has its parent's */

static unsigned next_process(void)
{
  unsigned next = last + 1 ? last + 1 : 1;

  *page = next;
  last = next; /* two threads of a child compute the same */
  return next;
}

static void in_child(void)
{
  (void)next_process();
}

static void start(void)
{
  long size = sysconf(_SC_PAGESIZE);
  size_t length = size > 0 ? (size_t)size : 4096;
  void *got = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

  if (got != MAP_FAILED) {
#ifdef MADV_WIPEONFORK
    (void)madvise(got, length, MADV_WIPEONFORK); /* before Linux 4.14 the handler does it */
#endif
    page = got;
    *page = last;
  }
  (void)pthread_atfork(NULL, NULL, in_child); /* fails only without memory; the page is enough */
}

void hf_process_start(void)
{
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  (void)pthread_once(&once, start);
}

unsigned hf_process(void)
{
  unsigned now = *page;
  return now ? now : next_process();
}

/* Never used again, unlike pthread_self(): a lease that a thread left behind must not look like another's. */
uint64_t hf_thread(void)
{
  static atomic_ullong threads;
  static __thread uint64_t me __attribute__((tls_model("initial-exec")));

  if (!me) me = atomic_fetch_add(&threads, 1) + 1;
  return me;
}

int64_t hf_now(void)
{
  struct timespec now;

  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * HF_S + now.tv_nsec;
}

int64_t hf_now_coarse(void)
{
#ifdef CLOCK_MONOTONIC_COARSE
  struct timespec now;

  if (clock_gettime(CLOCK_MONOTONIC_COARSE, &now) == 0) return (int64_t)now.tv_sec * HF_S + now.tv_nsec;
#endif
  return hf_now();
}

int hf_cond_init(pthread_cond_t *cond)
{
  pthread_condattr_t how;
  int error = pthread_condattr_init(&how);

  if (error) return error;
  (void)pthread_condattr_setclock(&how, CLOCK_MONOTONIC); /* cannot fail for this clock */
  error = pthread_cond_init(cond, &how);
  (void)pthread_condattr_destroy(&how);
  return error;
}

int hf_cond_until(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t ns)
{
  struct timespec until = {.tv_sec = (time_t)(ns / HF_S), .tv_nsec = (long)(ns % HF_S)};
  return pthread_cond_timedwait(cond, mutex, &until) == ETIMEDOUT ? ETIMEDOUT : 0;
}
