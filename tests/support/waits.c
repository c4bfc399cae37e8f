/*
 * waits.c - see waits.h.
 */
#include "waits.h"

#include <time.h>

int64_t waits_now_ns(void)
{
  struct timespec t;

  (void)clock_gettime(CLOCK_MONOTONIC, &t); /* this clock is always there */
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

enum { PART_POWER = 6 }; /* of WAITS_PART */

/* Below WAITS_PART each value has a bucket; then there are WAITS_PART for each power of two. */
static int bucket_of(int64_t ns)
{
  int power, b;

  if (ns < WAITS_PART) return ns < 0 ? 0 : (int)ns;
  power = 63 - __builtin_clzll((unsigned long long)ns);
  b = (power - PART_POWER + 1) * WAITS_PART + (int)(ns >> (power - PART_POWER)) - WAITS_PART;
  return b < WAITS_BUCKETS ? b : WAITS_BUCKETS - 1;
}

static int64_t top_of(int bucket)
{
  int power = bucket / WAITS_PART + PART_POWER - 1;

  if (bucket < WAITS_PART) return bucket;
  return ((int64_t)(bucket % WAITS_PART + WAITS_PART + 1) << (power - PART_POWER)) - 1;
}

void waits_add(waits *w, int64_t ns)
{
  w->count++;
  w->bucket[bucket_of(ns)]++;
  if (ns > w->max_ns) w->max_ns = ns;
}

void waits_merge(waits *into, const waits *from)
{
  into->count += from->count;
  if (from->max_ns > into->max_ns) into->max_ns = from->max_ns;
  for (int i = 0; i < WAITS_BUCKETS; i++) into->bucket[i] += from->bucket[i];
}

int64_t waits_at(const waits *w, double part)
{
  int64_t rest = (int64_t)(part * (double)w->count);

  if (rest >= w->count) return w->max_ns;
  for (int i = 0; i < WAITS_BUCKETS; i++) {
    rest -= w->bucket[i];
    if (rest < 0) return top_of(i) < w->max_ns ? top_of(i) : w->max_ns;
  }
  return w->max_ns;
}
