/*
 * counters.c (bench) - what the counters of one lock cost, beside the reading of the clock that each has: the
 * inline code of lockstats.h alone, for a lock that is granted at once and given back.
 *
 *     build/bench/counters
 *
 * Prints medians of batches in nanoseconds for one call beside the mark that the project set itself. What a
 * lock as a whole costs is in the instructions of bench/load.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "lockstats.h"

enum { SAMPLES = 2001, LOCKS = 10, ROUNDS = 50, BATCH = 2 * LOCKS * ROUNDS, MARK_NS = 30 };

static hf_lockstats stats;

static double now_ns(void)
{
  struct timespec t;

  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int by_size(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;

  return (x > y) - (x < y);
}

static void read_clock(void)
{
  for (int i = 0; i < BATCH; i++) hf_poke(&stats.since[0], hf_ticks());
}

/* All of them, then all back: a lock that is held for less than the first bucket is a rare case, and not this
 * one. */
static void count(void)
{
  for (int i = 0; i < ROUNDS; i++) {
    for (unsigned lock = 0; lock < LOCKS; lock++)
      if (!hf_stat_grant(&stats, lock)) abort();
    for (unsigned lock = 0; lock < LOCKS; lock++)
      if (!hf_stat_release(&stats, lock)) abort();
  }
}

static double median(void (*batch)(void))
{
  static double ns[SAMPLES];

  for (int i = 0; i < SAMPLES; i++) {
    double start = now_ns();
    batch();
    ns[i] = (now_ns() - start) / BATCH;
  }
  qsort(ns, SAMPLES, sizeof *ns, by_size);
  return ns[SAMPLES / 2];
}

int main(void)
{
  double clock, all;

  (void)median(count); /* the first touch of its memory */
  clock = median(read_clock);
  all = median(count);
  printf("medians of %d batches of %d calls, a lock or an unlock each\n", SAMPLES, BATCH);
  printf("one reading of the clock                       %6.1f ns\n", clock);
  printf("the counters of one call, clock and all        %6.1f ns\n", all);
  printf("the same without the reading                   %6.1f ns   mark %6d ns   %s\n", all - clock, MARK_NS,
         all - clock <= MARK_NS ? "kept" : "MISSED");
  return 0;
}
