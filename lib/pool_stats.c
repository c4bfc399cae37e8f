/*
 * pool_stats.c - a picture of a pool in numbers.
 */
#include <stdio.h>
#include <string.h>

#include "pool.h"

static void of_lane(const hf_lane *lane, int64_t now, holdfast_lane_stats *out)
{
  const holdfast_lease *longest = hf_longest(lane);

  out->connections = lane->capacity;
  out->connections_max = lane->capacity;
  for (int i = 0; i < lane->capacity; i++) out->connections -= lane->connections[i].db == NULL;
  out->in_use = lane->out;
  out->waiting = lane->waiting;
  out->acquired = lane->acquired;
  out->waited = lane->wait.count;
  out->timeouts = lane->timeouts;
  out->cancelled = lane->cancelled;
  out->reentrant = lane->reentrant;
  out->wait_ns = lane->wait.sum;
  out->wait_p50_ns = hf_histogram_at(&lane->wait, 500);
  out->wait_p99_ns = hf_histogram_at(&lane->wait, 990);
  out->wait_p999_ns = hf_histogram_at(&lane->wait, 999);
  out->wait_max_ns = lane->wait.max;
  out->hold_ns = lane->hold.sum;
  out->hold_p50_ns = hf_histogram_at(&lane->hold, 500);
  out->hold_p99_ns = hf_histogram_at(&lane->hold, 990);
  out->hold_p999_ns = hf_histogram_at(&lane->hold, 999);
  out->hold_max_ns = lane->hold.max;
  if (!longest) return;
  out->longest_ms = (now - longest->since_ns) / HF_MS;
  memcpy(out->longest_tag, longest->tag, sizeof out->longest_tag);
  hf_copy_sql(longest, out->longest_sql);
}

int holdfast_pool_stats(holdfast_pool *pool, holdfast_stats *out)
{
  holdfast_stats now = {0};

  if (!pool || !out || out->struct_size < sizeof *out)
    return hf_fail(HOLDFAST_MISUSE, "holdfast_pool_stats: an argument is NULL, or struct_size is wrong");
  if (hf_forked(pool)) return hf_fail_forked();
  now.struct_size = out->struct_size;
  now.references = hf_registry_references(pool);
  snprintf(now.name, sizeof now.name, "%s", pool->config.name);
  snprintf(now.path, sizeof now.path, "%s", pool->path);
  now.lock_waits = atomic_load(&pool->lock_waits);
  now.statements_hit = atomic_load(&pool->statements_hit);
  now.statements_missed = atomic_load(&pool->statements_missed);
  now.wal_frames = atomic_load(&pool->wal_frames);
  pthread_mutex_lock(&pool->mutex);
  memcpy(now.journal, pool->journal, sizeof now.journal);
  memcpy(now.check, pool->check, sizeof now.check);
  now.quarantined = pool->quarantined;
  of_lane(&pool->write, hf_now(), &now.write);
  of_lane(&pool->read, hf_now(), &now.read);
  now.opened = pool->opened;
  now.discarded = pool->discarded;
  now.reopened = pool->reopened;
  now.unclean = pool->unclean;
  now.leaks = pool->leaks;
  now.reads_ended = pool->reads_ended;
  now.commits = pool->commits;
  now.rollbacks = pool->rollbacks;
  now.checkpoints = pool->checkpoints;
  now.checkpoints_partial = pool->checkpoints_partial;
  now.checkpoints_busy = pool->checkpoints_busy;
  pthread_mutex_unlock(&pool->mutex);
  *out = now;
  return 0;
}
