/*
 * ticks.h - the clock of the lock path: as cheap as there is, in units of its own.
 *
 * On x86-64 and arm64 it is the processor's counter, which runs at one rate on every processor that Linux has
 * run on in this century's second decade; elsewhere it is CLOCK_MONOTONIC. Only differences mean something.
 * ticks.c knows how long a tick is.
 */
#ifndef HF_TICKS_H
#define HF_TICKS_H

#include <stdint.h>
#include <time.h>

static inline uint64_t hf_ticks(void)
{
#if defined(__x86_64__)
  return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
  uint64_t now;
  __asm__ volatile("mrs %0, cntvct_el0" : "=r"(now));
  return now;
#else
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
#endif
}

void hf_ticks_start(void); /* once, as early as can be: the longer ago, the better a tick is known */
double hf_tick_ns(void);   /* length of a tick; a first call right after the start takes a millisecond */
uint64_t hf_ticks_of_ms(int ms); /* for limits */
/* The same without ever waiting: 0 as long as a tick is not known well enough. */
uint64_t hf_ticks_of_us_if_known(int us);

#endif
