/*
 * lockstats.c - the rare part of counting locks: waits, errors, and reading it all back.
 *
 * SQLite drops to no lock between tries, so a wait is a run of busy answers for one lock of one handle with
 * gaps of at most a second, across unlocks. It ends when the lock is granted; a longer gap ends it as
 * abandoned, and it then counts up to its last try. What is granted at once is no wait.
 *
 * A handle's counters go with it. At its close they are added to what is kept for its path; a reset takes the
 * sums so far and subtracts them from then on, because nobody but the handle's own thread may write to them.
 */
#include "lockstats.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "fork.h"
#include "slowlock.h"
#include "stattable.h"
#include "vfs.h"

enum { GAP_MS = 1000, PAST_MAX = 64 };

uint64_t hf_bucket_ticks(unsigned bucket)
{
  unsigned octave = HF_FIRST_OCTAVE + bucket / 8;
  uint64_t eighth = (uint64_t)1 << (octave - 3);

  return (8 + bucket % 8) * eighth + eighth / 2;
}

/* ---------------------------------------------------------------- on the lock path, rarely */

static unsigned bit(int lock)
{
  return 1u << ((unsigned)lock & 31u);
}

static void held(hf_lockstats *stats, int lock, uint64_t ticks)
{
  uint64_t bucket = hf_bucket_of(ticks);
  hf_lockstat *one = &stats->of[lock];

  /* Less than the first octave; or two processors that do not agree. */
  if (ticks < (uint64_t)1 << HF_FIRST_OCTAVE || ticks >> 63) bucket = 0;
  if (bucket >= HF_BUCKETS) {
    bucket = HF_BUCKETS - 1;
    hf_poke(&one->long_sum, hf_peek(&one->long_sum) + ticks - hf_bucket_ticks(bucket));
    if (ticks > hf_peek(&one->long_max)) hf_poke(&one->long_max, ticks);
  }
  hf_poke(&stats->hold[lock][bucket], hf_peek(&stats->hold[lock][bucket]) + 1);
}

void hf_stat_released(hf_lockstats *stats, int lock)
{
  uint64_t since = hf_peek(&stats->since[lock]);

  if (!since) return;
  hf_poke(&stats->since[lock], 0);
  held(stats, lock, hf_ticks() - since);
}

static uint64_t gap(void)
{
  static _Atomic uint64_t known;
  uint64_t ticks = hf_peek(&known);

  if (!ticks) hf_poke(&known, ticks = hf_ticks_of_ms(GAP_MS));
  return ticks;
}

static void wait_ends(hf_lockstats *stats, int lock, uint64_t end)
{
  hf_lockstat *one = &stats->of[lock];
  uint64_t waited = end - hf_peek(&one->wait_first);
  uint64_t bucket = waited >> HF_FIRST_OCTAVE ? hf_bucket_of(waited) : 0;

  if (bucket >= HF_BUCKETS) bucket = HF_BUCKETS - 1;
  atomic_fetch_add_explicit(&one->wait[bucket], 1, memory_order_relaxed);
  hf_poke(&one->wait_sum, hf_peek(&one->wait_sum) + waited);
  if (waited > hf_peek(&one->wait_max)) hf_poke(&one->wait_max, waited);
  hf_poke(&one->wait_first, 0);
  atomic_fetch_and_explicit(&stats->waiting, ~(bit(lock)), memory_order_relaxed);
}

/* True when the run of busy answers is over because nobody has tried for too long. */
static bool wait_is_abandoned(hf_lockstats *stats, int lock, uint64_t now)
{
  hf_lockstat *one = &stats->of[lock];

  if (!hf_peek(&one->wait_first) || now - hf_peek(&one->wait_last) <= gap()) return false;
  hf_poke(&one->abandoned, hf_peek(&one->abandoned) + 1);
  wait_ends(stats, lock, hf_peek(&one->wait_last));
  return true;
}

static hf_node *node_around(hf_lockstats *stats)
{
  return (hf_node *)((char *)stats - offsetof(hf_node, stats));
}

static void count_busy(hf_lockstats *stats, int lock)
{
  bool mark = lock >= HF_LOCK_WAL_READ0, checkpoint = hf_peek(&stats->since[HF_LOCK_WAL_CKPT]) != 0;
  hf_lockstat *one = &stats->of[lock];
  uint64_t now = hf_ticks();

  hf_poke(&one->busy, hf_peek(&one->busy) + 1);
  if (mark && !checkpoint) return; /* one that looks for a free mark takes the next one */
  if (wait_is_abandoned(stats, lock, now))
    node_around(stats)->slow_said &= ~(bit(lock)); /* a new one begins */
  if (!hf_peek(&one->wait_first)) hf_poke(&one->wait_first, now);
  hf_poke(&one->wait_last, now);
  atomic_fetch_or_explicit(&stats->waiting, bit(lock), memory_order_relaxed);
  if (mark)
    hf_slow_pinned(node_around(stats), lock, now);
  else
    hf_slow_wait(node_around(stats), lock, now - hf_peek(&one->wait_first));
}

void hf_stat_granted(hf_lockstats *stats, int lock)
{
  uint64_t now = hf_ticks();

  hf_poke(&stats->since[lock], now);
  if (!hf_peek(&stats->of[lock].wait_first) || wait_is_abandoned(stats, lock, now)) return;
  hf_slow_granted(node_around(stats), lock, now - hf_peek(&stats->of[lock].wait_first));
  wait_ends(stats, lock, now);
}

int hf_stat_failed(hf_lockstats *stats, int lock, int n, int rc)
{
  for (int i = 0; i < n; i++) {
    hf_lockstat *one = &stats->of[lock + i];
    if ((rc & 0xff) == SQLITE_BUSY)
      count_busy(stats, lock + i);
    else
      hf_poke(&one->errors, hf_peek(&one->errors) + 1);
  }
  return rc;
}

int hf_stat_synced(hf_lockstats *stats, int which, uint64_t began, int rc)
{
  hf_lockstat *one = &stats->of[which];

  if (rc)
    hf_poke(&one->errors, hf_peek(&one->errors) + 1);
  else
    held(stats, which, hf_ticks() - began);
  return rc;
}

/* ---------------------------------------------------------------- at the fcntl level */

__thread hf_current hf_now_here HF_TLS;

int hf_stat_called(int64_t first_byte, short type, int rc)
{
  hf_lockstats *stats = hf_now_here.calls_of;
  _Atomic uint64_t *count;
  hf_calls *calls;

  if (!stats || type == F_UNLCK || (first_byte != HF_PENDING_BYTE && first_byte != HF_DMS_BYTE)) return rc;
  calls = first_byte == HF_PENDING_BYTE ? &stats->pending : &stats->dms;
  count = rc == 0 ? &calls->granted : errno == EAGAIN || errno == EACCES ? &calls->busy : &calls->errors;
  hf_poke(count, hf_peek(count) + 1);
  return rc;
}

/* ---------------------------------------------------------------- reading one handle */

static uint64_t highest(const uint64_t *buckets)
{
  for (unsigned i = HF_BUCKETS; i > 0; i--)
    if (buckets[i - 1]) return hf_bucket_ticks(i - 1);
  return 0;
}

static void read_calls(const hf_calls *calls, hf_stat_total *out)
{
  memset(out, 0, sizeof *out);
  out->granted = hf_peek(&calls->granted);
  out->busy = hf_peek(&calls->busy);
  out->errors = hf_peek(&calls->errors);
}

static void read_one(const hf_lockstats *stats, int lock, uint64_t now, hf_stat_total *out)
{
  const hf_lockstat *one = &stats->of[lock];

  if (lock == HF_LOCK_PENDING || lock == HF_LOCK_DMS) {
    read_calls(lock == HF_LOCK_PENDING ? &stats->pending : &stats->dms, out);
    return;
  }
  memset(out, 0, sizeof *out);
  out->hold_sum = hf_peek(&one->long_sum);
  for (unsigned i = 0; i < HF_BUCKETS; i++) {
    out->hold[i] = hf_peek(&stats->hold[lock][i]);
    out->granted += out->hold[i];
    out->hold_sum += out->hold[i] * hf_bucket_ticks(i);
    out->wait[i] = atomic_load_explicit(&one->wait[i], memory_order_relaxed);
  }
  uint64_t since = hf_peek(&stats->since[lock]);
  out->held = since != 0;
  out->oldest = since && now > since ? now - since : 0;
  out->granted += out->held;
  out->busy = hf_peek(&one->busy);
  out->errors = hf_peek(&one->errors);
  out->abandoned = hf_peek(&one->abandoned);
  out->hold_max = hf_peek(&one->long_max) ? hf_peek(&one->long_max) : highest(out->hold);
  out->wait_sum = hf_peek(&one->wait_sum);
  out->wait_max = hf_peek(&one->wait_max);
  /* A wait that nobody will come back to is over, though its own thread has not been here to say so. */
  uint64_t first = hf_peek(&one->wait_first), last = hf_peek(&one->wait_last);
  out->waiting = first && (now <= last || now - last <= gap());
  if (first && now > last && now - last > gap()) {
    uint64_t bucket = (last - first) >> HF_FIRST_OCTAVE ? hf_bucket_of(last - first) : 0;
    out->abandoned++;
    out->wait[bucket < HF_BUCKETS ? bucket : HF_BUCKETS - 1]++;
    out->wait_sum += last - first;
    if (last - first > out->wait_max) out->wait_max = last - first;
  }
}

static void add(hf_stat_total *to, const hf_stat_total *from)
{
  for (int i = 0; i < HF_BUCKETS; i++) {
    to->hold[i] += from->hold[i];
    to->wait[i] += from->wait[i];
  }
  to->held += from->held;
  to->waiting += from->waiting;
  if (from->oldest > to->oldest) to->oldest = from->oldest;
  to->granted += from->granted;
  to->busy += from->busy;
  to->errors += from->errors;
  to->abandoned += from->abandoned;
  to->hold_sum += from->hold_sum;
  to->wait_sum += from->wait_sum;
  if (from->hold_max > to->hold_max) to->hold_max = from->hold_max;
  if (from->wait_max > to->wait_max) to->wait_max = from->wait_max;
}

/* What has come since `from`. A highest value since then was not kept: the bucket that it must lie in is. */
static void subtract(hf_stat_total *to, const hf_stat_total *from)
{
  for (int i = 0; i < HF_BUCKETS; i++) {
    to->hold[i] -= from->hold[i];
    to->wait[i] = to->wait[i] > from->wait[i] ? to->wait[i] - from->wait[i] : 0;
  }
  to->granted -= from->granted;
  to->busy -= from->busy;
  to->errors -= from->errors;
  to->abandoned = to->abandoned > from->abandoned ? to->abandoned - from->abandoned : 0;
  to->hold_sum -= from->hold_sum;
  to->wait_sum = to->wait_sum > from->wait_sum ? to->wait_sum - from->wait_sum : 0;
  if (to->hold_max <= from->hold_max) to->hold_max = highest(to->hold);
  if (to->wait_max <= from->wait_max) to->wait_max = highest(to->wait);
}

static void read_node(const hf_node *node, hf_stat_total *out)
{
  uint64_t now = hf_ticks();

  for (int i = 0; i < HF_STATS; i++) {
    read_one(&node->stats, i, now, &out[i]);
    if (node->stats_before) subtract(&out[i], &node->stats_before[i]);
  }
}

/* ---------------------------------------------------------------- by path */

static hf_path_stats *path_stats(hf_path_stats **list, const char *path)
{
  size_t length = strlen(path) + 1;
  hf_path_stats *made;
  int count = 0;

  for (hf_path_stats *one = *list; one; one = one->next, count++)
    if (strcmp(one->path, path) == 0) return one;
  made = count < PAST_MAX ? calloc(1, sizeof *made + length) : NULL;
  if (!made) return NULL;
  memcpy(made->path, path, length);
  made->next = *list;
  *list = made;
  return made;
}

void hf_path_stats_free(hf_path_stats *list)
{
  while (list) {
    hf_path_stats *next = list->next;
    free(list);
    list = next;
  }
}

static void add_all(hf_path_stats *to, const hf_stat_total *from)
{
  for (int i = 0; i < HF_STATS; i++) add(&to->of[i], &from[i]);
}

void hf_stats_keep(hf_node *node)
{
  hf_vfs *owner = node->owner;
  hf_stat_total *now = malloc(sizeof *now * HF_STATS);
  hf_path_stats *kept;

  if (!now) return; /* a close must not fail for it */
  read_node(node, now);
  for (int i = 0; i < HF_STATS; i++) now[i].held = now[i].waiting = now[i].oldest = 0;
  kept = path_stats(&owner->past, node->path);
  if (kept) add_all(kept, now);
  free(now);
  free(node->stats_before);
  node->stats_before = NULL;
}

int hf_stats_of(hf_vfs *owner, hf_path_stats **out)
{
  hf_stat_total *now = malloc(sizeof *now * HF_STATS);
  hf_path_stats *all = NULL, *one;
  bool failed = !now;

  pthread_mutex_lock(&owner->mutex);
  for (const hf_path_stats *past = owner->past; past && !failed; past = past->next) {
    one = path_stats(&all, past->path);
    if (one)
      add_all(one, past->of);
    else
      failed = true;
  }
  for (const hf_node *node = owner->nodes; node && !failed; node = node->next) {
    if (!hf_generation_is(node->generation)) continue; /* what the parent did */
    one = path_stats(&all, node->path);
    if (!one) break; /* more paths than there is room for */
    read_node(node, now);
    add_all(one, now);
    one->open++;
  }
  pthread_mutex_unlock(&owner->mutex);
  free(now);
  if (failed) {
    hf_path_stats_free(all);
    return SQLITE_NOMEM;
  }
  *out = all;
  return SQLITE_OK;
}

int hf_stats_reset(hf_vfs *owner)
{
  hf_path_stats *gone;
  int rc = SQLITE_OK;

  pthread_mutex_lock(&owner->mutex);
  gone = owner->past;
  owner->past = NULL;
  for (hf_node *node = owner->nodes; node; node = node->next) {
    hf_stat_total *now = malloc(sizeof *now * HF_STATS), *before = node->stats_before;
    uint64_t clock = hf_ticks();
    if (!now) {
      rc = SQLITE_NOMEM;
      continue;
    }
    for (int i = 0; i < HF_STATS; i++) read_one(&node->stats, i, clock, &now[i]);
    node->stats_before = now;
    free(before);
  }
  pthread_mutex_unlock(&owner->mutex);
  hf_path_stats_free(gone);
  return rc;
}

const char *hf_stat_name(int stat)
{
  static const char *const syncs[] = {"SYNC_DB", "SYNC_JOURNAL", "SYNC_WAL"};
  return stat < HF_STAT_SYNC_DB ? hf_lock_name(stat) : syncs[stat - HF_STAT_SYNC_DB];
}

uint64_t hf_stat_percentile(const uint64_t *buckets, double part, uint64_t max)
{
  uint64_t total = 0, seen = 0, ticks;

  for (int i = 0; i < HF_BUCKETS; i++) total += buckets[i];
  if (!total) return 0;
  for (unsigned i = 0; i < HF_BUCKETS; i++) {
    seen += buckets[i];
    if ((double)seen < part * (double)total) continue;
    ticks = hf_bucket_ticks(i);
    return ticks < max ? ticks : max;
  }
  return max;
}
