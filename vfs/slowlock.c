/*
 * slowlock.c - the slow-lock log: who waits, for what, since when, and who is in the way.
 *
 * Said by the waiter's own thread between two tries, so it costs nothing but the time of one that waits
 * anyway. A rollback reader that keeps a writer from finishing (F9) shows as a wait for EXCLUSIVE. A reader
 * that pins the WAL (F12) makes nobody wait: there every checkpoint of a handle meets the same read mark, and
 * that is said when it has gone on for as long.
 *
 * One line for each lock and holder in half a minute; report.c counts what was kept back.
 */
#include "slowlock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "holders.h"

enum { AGAIN_S = 30, NAMED_MAX = 4, LIST = 400 };

static uint64_t limit(const hf_node *node)
{
  return node->set.slow_lock_ms > 0 ? hf_ticks_of_ms(node->set.slow_lock_ms) : UINT64_MAX;
}

static long long ms_of(uint64_t ticks)
{
  return (long long)((double)ticks * hf_tick_ns() / 1e6);
}

/* Does what this row says stand in the way of `wanted`? */
static bool stands_in_the_way(const hf_holder *row, int wanted, const hf_node *waiter)
{
  if (row->is.mine && row->is.connection == waiter->number) return false;
  if (row->lock == HF_LOCK_OTHER) return true;
  switch (wanted) {
  case HF_LOCK_SHARED: return row->lock == HF_LOCK_PENDING || row->lock == HF_LOCK_EXCLUSIVE;
  case HF_LOCK_RESERVED: return row->lock >= HF_LOCK_RESERVED && row->lock <= HF_LOCK_EXCLUSIVE;
  case HF_LOCK_EXCLUSIVE: return row->lock <= HF_LOCK_EXCLUSIVE;
  default: return row->lock == wanted;
  }
}

static void name_one(const hf_holder *row, char *out, size_t size, size_t *used)
{
  const holdfast_holder *is = &row->is;
  int n = 0;

  if (*used >= size) return;
  if (!is->pid)
    n = snprintf(out + *used, size - *used, "%s%s of somebody who cannot be seen", *used ? ", " : "",
                 is->lock);
  else
    n = snprintf(out + *used, size - *used, "%s%s of pid %lld (%s, %s)", *used ? ", " : "", is->lock,
                 (long long)is->pid, is->command, is->state);
  *used += n > 0 ? (size_t)n : 0;
  if (is->connection && *used < size)
    *used +=
        (size_t)snprintf(out + *used, size - *used, ", connection %llu", (unsigned long long)is->connection);
  if (is->thread && *used < size)
    *used += (size_t)snprintf(out + *used, size - *used, ", thread %lld", (long long)is->thread);
  if (is->since_ms >= 0 && *used < size)
    *used += (size_t)snprintf(out + *used, size - *used, ", for %lld ms", (long long)is->since_ms);
  if (is->sql[0] && *used < size) *used += (size_t)snprintf(out + *used, size - *used, ": %.120s", is->sql);
}

/* Names up to NAMED_MAX of those in the way. *key: of the first one, to tell one holder from the next. */
static void name_holders(hf_node *node, int wanted, char *out, size_t size, long long *key)
{
  hf_holders all;
  size_t used = 0;
  int named = 0, more = 0;

  *key = 0;
  snprintf(out, size, "nobody any more");
  if (hf_holders_of(node->owner, node, &all) != SQLITE_OK) return;
  for (int i = 0; i < all.count; i++) {
    if (!stands_in_the_way(&all.at[i], wanted, node)) continue;
    if (named == NAMED_MAX) {
      more++;
      continue;
    }
    if (!named++) *key = (long long)all.at[i].is.pid;
    name_one(&all.at[i], out, size, &used);
  }
  if (more && used < size) snprintf(out + used, size - used, ", and %d more", more);
  hf_holders_free(&all);
}

static void say(hf_node *node, int lock, const char *what, uint64_t ticks, const char *tail)
{
  char list[LIST], cause[64];
  int saved = errno;
  long long key;

  name_holders(node, lock, list, sizeof list, &key);
  snprintf(cause, sizeof cause, "slow-%s-%lld", hf_lock_name(lock), key);
  hf_report_every(AGAIN_S, node->owner, "slow-lock", cause, node->path, 0,
                  "thread %d %s %s for %lld ms%s: %s", (int)syscall(SYS_gettid), what, hf_lock_name(lock),
                  ms_of(ticks), tail, list);
  errno = saved;
}

void hf_slow_wait(hf_node *node, int lock, uint64_t ticks)
{
  if (node->slow_said & 1u << lock || ticks < limit(node)) return;
  node->slow_said |= 1u << lock;
  say(node, lock, "has waited for", ticks, "; in the way");
}

void hf_slow_granted(hf_node *node, int lock, uint64_t ticks)
{
  char cause[64];

  if (!(node->slow_said & 1u << lock)) return;
  node->slow_said &= ~(1u << lock);
  snprintf(cause, sizeof cause, "granted-%s", hf_lock_name(lock));
  hf_report_every(AGAIN_S, node->owner, "slow-lock", cause, node->path, 0,
                  "thread %d was granted %s after %lld ms", (int)syscall(SYS_gettid), hf_lock_name(lock),
                  ms_of(ticks));
}

void hf_slow_pinned(hf_node *node, int lock, uint64_t now)
{
  hf_pin *pin = &node->pins[lock - HF_LOCK_WAL_READ0];
  char name[HF_SIDECAR_PATH], tail[80];
  struct stat st;

  /* Not met by the checkpoint before this one: it is another reader's mark. */
  if (!pin->since || node->checkpoints - pin->checkpoint > 1) *pin = (hf_pin){.since = now};
  pin->checkpoint = node->checkpoints;
  if (now - pin->since < limit(node)) return;
  if (snprintf(name, sizeof name, "%s-wal", node->path) >= (int)sizeof name || stat(name, &st)) return;
  snprintf(tail, sizeof tail, ", and the -wal has %lld bytes; it is kept by", (long long)st.st_size);
  say(node, lock, "could not get past", now - pin->since, tail);
}
