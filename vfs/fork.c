/*
 * fork.c - noticing that this is a forked child.
 *
 * A page that the kernel empties in every child (MADV_WIPEONFORK) holds the generation, so that even a child
 * made without libc's fork() sees it. Where the kernel cannot do that, a fork handler does. What a child may
 * do with the parent's connections is in lock.c; that it lets go of the parent's locks, in records_linux.c.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "fork.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <unistd.h>

static volatile unsigned plain = 1;
volatile unsigned *hf_generation_page = &plain;
static unsigned last = 1; /* ordinary memory: a child sees its parent's */

/* Two threads of a child may come here at once: both compute the same number. */
unsigned hf_generation_slow(void)
{
  unsigned next = last + 1 ? last + 1 : 1;

  *hf_generation_page = next;
  last = next;
  return next;
}

static void in_child(void)
{
  (void)hf_generation_slow(); /* also right where the page was wiped */
}

static void start(void)
{
  long size = sysconf(_SC_PAGESIZE);
  void *page =
      mmap(NULL, size > 0 ? (size_t)size : 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

  if (page != MAP_FAILED) {
#ifdef MADV_WIPEONFORK
    (void)madvise(page, size > 0 ? (size_t)size : 4096,
                  MADV_WIPEONFORK); /* before Linux 4.14 the handler does it */
#endif
    hf_generation_page = page;
    *hf_generation_page = last;
  }
  (void)pthread_atfork(NULL, NULL, in_child); /* fails only without memory; the page is enough */
}

void hf_fork_start(void)
{
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, start);
}
