/*
 * lockstats.h - counting on the lock path: what every lock of every open database has cost.
 *
 * Each open file has counters of its own, inside its node: no allocation, and no cache line is shared between
 * connections. Only the thread that is inside the connection writes them; others read while it does, so
 * all is atomic, relaxed, and single numbers may be a call older than others. What is granted at once costs
 * two readings of the clock and about thirty instructions for lock and unlock together; all else is in
 * lockstats.c.
 */
#ifndef HF_LOCKSTATS_H
#define HF_LOCKSTATS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "hot.h"
#include "locknames.h"
#include "ticks.h"
#include "tls.h"

/* Counted: the locks by their numbers in locknames.h (OTHER is never taken by SQLite), and syncs. */
enum { HF_STAT_SYNC_DB = HF_LOCK_OTHER, HF_STAT_SYNC_JOURNAL, HF_STAT_SYNC_WAL, HF_STATS };

/*
 * Times lie in buckets of an eighth of a power of two, so a time read back is wrong by at most 1/16. A
 * floating point number has that in its upper bits: the exponent, then the first three binary digits. The
 * first octave is 128 to 255 ticks of the clock (less counts as that), the last ends at 2^39 ticks, some
 * minutes; what is longer counts there.
 */
enum { HF_FIRST_OCTAVE = 7, HF_OCTAVES = 32, HF_BUCKETS = HF_OCTAVES * 8 };
enum { HF_DOUBLE_BIAS = 1023, HF_DOUBLE_SHIFT = 52 - 3 };
static inline uint64_t hf_bucket_of(uint64_t ticks)
{
  double number = (double)(int64_t)ticks; /* below 0 or below the first octave: far beyond the last bucket */
  uint64_t bits;

  memcpy(&bits, &number, sizeof bits);
  return (bits >> HF_DOUBLE_SHIFT) - (HF_DOUBLE_BIAS + HF_FIRST_OCTAVE) * 8;
}
uint64_t hf_bucket_ticks(unsigned bucket); /* its middle */

/* What happens rarely. Sum and highest of the hold times are those of the buckets, but for times beyond them.
 */
typedef struct hf_lockstat {
  _Atomic uint64_t busy, errors, abandoned;
  _Atomic uint64_t wait_sum, wait_max;
  _Atomic uint64_t wait_first, wait_last; /* of the run of busy answers that is going on; 0 = none */
  _Atomic uint64_t long_sum, long_max;
  _Atomic uint32_t wait[HF_BUCKETS];
} hf_lockstat;

/*
 * PENDING and the dead man's switch are taken inside other calls: they are counted where the unix VFS calls
 * fcntl() for them (syscalls.c), for the handle on whose behalf this thread is below us at that moment. An
 * inode's locks are asked for once for all connections of a library, so these are fewer than SHARED's.
 */
typedef struct hf_calls {
  _Atomic uint64_t granted, busy, errors;
} hf_calls;
enum { HF_PENDING_BYTE = 0x40000000, HF_DMS_BYTE = 128 };

/* Of this thread. One variable, because its address costs something. */
typedef struct hf_current {
  const void *last_locked;       /* lock.c */
  struct hf_lockstats *calls_of; /* on whose behalf the base is at work, NULL = nobody's */
} hf_current;
extern HF_HIDDEN __thread hf_current hf_now_here HF_TLS;

enum { HF_SQL_WORDS = 32 }; /* of 8 bytes: the beginning of a statement */

typedef struct hf_lockstats {
  _Atomic uint64_t since[HF_STATS]; /* clock when it was granted, 0 = not held */
  atomic_uint waiting;              /* a bit for each lock whose wait_first is set */
  atomic_int thread;                /* of the last statement that began to write */
  atomic_uint statement;            /* odd while `sql` is being written */
  _Atomic uint64_t sql[HF_SQL_WORDS];
  char noted[HF_SQL_WORDS * 8];                /* the same, of the thread inside the connection only */
  _Atomic uint64_t hold[HF_STATS][HF_BUCKETS]; /* their sum is how often it was held and given back */
  hf_lockstat of[HF_STATS];
  hf_calls pending, dms;
} hf_lockstats;

static inline uint64_t hf_peek(const _Atomic uint64_t *from)
{
  return atomic_load_explicit(from, memory_order_relaxed);
}
static inline void hf_poke(_Atomic uint64_t *to, uint64_t value)
{
  atomic_store_explicit(to, value, memory_order_relaxed);
}

/* Locks number lock .. lock + n - 1 were not granted; returns rc. */
HF_SLOW int hf_stat_failed(hf_lockstats *stats, int lock, int n, int rc);
/* After fcntl(): rc and errno are the call's. PENDING or the dead man's switch, else it is not counted.
 * Returns rc. */
HF_SLOW int hf_stat_called(int64_t first_byte, short type, int rc);
/* A sync that began at `began` came back with rc; returns rc. */
int hf_stat_synced(hf_lockstats *stats, int which, uint64_t began, int rc);
/*
 * What a hot function does with a lock that was granted or is about to be given back. False = this is one of
 * the rare cases: nothing was counted yet, and the caller ends with a call of a cold function, which calls
 * hf_stat_granted() or hf_stat_released(). So it needs no stack of its own.
 */
static inline bool hf_stat_grant(hf_lockstats *stats, unsigned lock)
{
  hf_poke(&stats->since[lock], hf_ticks());
  return HF_LIKELY(!atomic_load_explicit(&stats->waiting, memory_order_relaxed));
}

static inline bool hf_stat_release(hf_lockstats *stats, unsigned lock)
{
  uint64_t since = hf_peek(&stats->since[lock]), held = hf_ticks() - since;
  uint64_t bucket = hf_bucket_of(held);

  if (HF_UNLIKELY(bucket >= HF_BUCKETS || !since)) return false;
  hf_poke(&stats->since[lock], 0);
  hf_poke(&stats->hold[lock][bucket], hf_peek(&stats->hold[lock][bucket]) + 1);
  return true;
}

/* The same for everybody else. */
HF_SLOW void hf_stat_granted(hf_lockstats *stats, int lock);
HF_SLOW void hf_stat_released(hf_lockstats *stats, int lock);

#endif
