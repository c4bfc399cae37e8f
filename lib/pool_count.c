/*
 * pool_count.c - durations, counted so that percentiles can be told without keeping them.
 */
#include "pool.h"

/* Four steps in each doubling: 4..5, 5..6, 6..7, 7..8, 8..10, ... */
static int bucket_of(int64_t ns)
{
  uint64_t value = ns > 0 ? (uint64_t)ns : 0;
  int top;

  if (value < HF_STEPS) return (int)value;
  top = 63 - __builtin_clzll(value);
  return (top - 1) * HF_STEPS + (int)(value >> (top - 2) & (HF_STEPS - 1));
}

static int64_t end_of(int bucket)
{
  int top = bucket / HF_STEPS + 1;

  if (bucket < HF_STEPS) return bucket;
  return ((int64_t)(HF_STEPS + bucket % HF_STEPS + 1) << (top - 2)) - 1;
}

void hf_histogram_add(hf_histogram *to, int64_t ns, int64_t weight)
{
  to->count += weight;
  to->sum += ns * weight;
  if (ns > to->max) to->max = ns;
  to->bucket[bucket_of(ns)] += (uint32_t)weight;
}

int64_t hf_histogram_at(const hf_histogram *from, int per_mille)
{
  int64_t wanted = (from->count * per_mille + 999) / 1000, seen = 0;

  for (int i = 0; i < HF_BUCKETS && from->count; i++) {
    seen += from->bucket[i];
    if (seen >= wanted) return end_of(i) < from->max ? end_of(i) : from->max;
  }
  return from->max;
}
