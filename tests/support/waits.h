/*
 * waits.h - many durations in little memory, and what half, 99 % or 99.9 % of them are at most.
 *
 * Buckets are 1/64 of a power of two wide, so an answer is at most 2 % too high. One thread adds; merge
 * afterwards. The memory may be shared with other processes.
 */
#ifndef HFT_WAITS_H
#define HFT_WAITS_H

#include <stdint.h>

enum { WAITS_PART = 64, WAITS_BUCKETS = WAITS_PART * 40 };

typedef struct waits {
  int64_t count, max_ns;
  int64_t bucket[WAITS_BUCKETS];
} waits;

int64_t waits_now_ns(void);
void waits_add(waits *w, int64_t ns);
void waits_merge(waits *into, const waits *from);
int64_t waits_at(const waits *w, double part); /* part of 1: 0.999; 0 when there is none */

#endif
