/*
 * stattable.h - counters as they are read: sums over the handles of a path, in the clock's ticks.
 */
#ifndef HF_STATTABLE_H
#define HF_STATTABLE_H

#include "lockstats.h"

struct hf_vfs;
struct hf_node;

typedef struct hf_stat_total {
  uint64_t granted, busy, errors, abandoned; /* attempts = the first three together */
  uint64_t held, waiting, oldest; /* connections that do so now; ticks since the oldest was granted */
  uint64_t hold_sum, hold_max, wait_sum, wait_max;
  uint64_t hold[HF_BUCKETS], wait[HF_BUCKETS];
} hf_stat_total;

typedef struct hf_path_stats {
  struct hf_path_stats *next;
  int open; /* handles */
  hf_stat_total of[HF_STATS];
  char path[];
} hf_path_stats;

/* Everything that was counted, by path; give it to hf_path_stats_free(). SQLITE_OK or SQLITE_NOMEM. */
int hf_stats_of(struct hf_vfs *owner, hf_path_stats **out);
void hf_path_stats_free(hf_path_stats *list);
int hf_stats_reset(struct hf_vfs *owner); /* SQLITE_NOMEM: some go on counting from where they were */
void hf_stats_keep(struct hf_node *node); /* as it is unlinked for good, with the owner's mutex held */
uint64_t hf_stat_percentile(const uint64_t *buckets, double part, uint64_t max); /* ticks */
const char *hf_stat_name(int stat); /* "SHARED", ..., "SYNC_WAL" */

#endif
