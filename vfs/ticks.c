/*
 * ticks.c - how long a tick of the lock path's clock is, measured against CLOCK_MONOTONIC since the start.
 */
#include "ticks.h"

#include <pthread.h>

static uint64_t first_ticks, first_ns;

static uint64_t monotonic_ns(void)
{
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void start(void)
{
  first_ns = monotonic_ns();
  first_ticks = hf_ticks();
}

void hf_ticks_start(void)
{
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, start);
}

double hf_tick_ns(void)
{
  const struct timespec millisecond = {0, 1000000};
  uint64_t ns, ticks;

  hf_ticks_start();
  if (monotonic_ns() - first_ns < 1000000) (void)nanosleep(&millisecond, NULL); /* cut short: less exact */
  ns = monotonic_ns() - first_ns;
  ticks = hf_ticks() - first_ticks;
  return ticks ? (double)ns / (double)ticks : 1.0;
}

uint64_t hf_ticks_of_us_if_known(int us)
{
  hf_ticks_start();
  return monotonic_ns() - first_ns < 1000000 ? 0 : (uint64_t)((double)us * 1e3 / hf_tick_ns());
}

uint64_t hf_ticks_of_ms(int ms)
{
  return (uint64_t)((double)ms * 1e6 / hf_tick_ns());
}
