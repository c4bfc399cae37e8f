/*
 * walrace.h - checkpoints against writers that restart the log, in one process, on a random schedule.
 *
 * Two checkpointers, two writers and a reader share one database; every acknowledged commit is counted, and
 * afterwards the database must hold all of them and be sound, before and after everybody has closed it. Both
 * VFS must call interleave_point() at each call on the database (walrace_yield is made for that).
 */
#ifndef HFT_WALRACE_H
#define HFT_WALRACE_H

#include <stdbool.h>
#include <stdint.h>

#include "wrapvfs.h"

typedef struct walrace {
  const char *checkpointer, *writer; /* VFS of each part */
  bool mixed;                        /* writers checkpoint and checkpointers write, too */
  const char *plain;                 /* VFS that sets the scene and looks at the result */
} walrace;

typedef struct walrace_result {
  bool bad;      /* something that was committed is not there, or the database is damaged */
  char why[300]; /* the first thing that was wrong */
  int commits, checkpoints, restarts;
} walrace_result;

/* One schedule, all of which follows from the seed (but for SQLite's own random salts). Uses "race.db". */
void walrace_run(const walrace *race, uint32_t seed, walrace_result *out);

/* `count` schedules with seeds of seed_next(); prints those that were bad. Returns how many. HF_SCHEDULE=seed
 * in the environment: that one instead. */
int walrace_many(const walrace *race, int count, const char *who);

void walrace_yield(const wrap_call *call); /* a `before` for wrap_rules */

#endif
