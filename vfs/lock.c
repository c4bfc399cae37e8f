/*
 * lock.c - xLock, xUnlock and xCheckReservedLock.
 *
 * Adds to the base: refusal in a forked child and after a latch, and at each lock that begins to write the
 * check that the file is still the one that was opened. Which descriptor carries the lock is decided below,
 * in syscalls.c.
 */
#include "guard.h"
#include "nfs.h"
#include "statement.h"
#include "turns.h"

/* The handle that this thread locked last: SQLite opens a -wal or -journal right after. Compared, never
 * followed. */
const hf_node *hf_last_locked(void)
{
  return hf_now_here.last_locked;
}

/*
 * What a latched handle may not start. Rolling back a hot journal (EXCLUSIVE straight from SHARED) repairs
 * and may go on after an I/O error or a lost lock. In WAL mode EXCLUSIVE means to checkpoint and unlink: not
 * after an I/O error; where names have moved, hf_guard_last_close() decides.
 */
static int latched(const hf_node *node, int level)
{
  int why = atomic_load_explicit(&node->latched, memory_order_relaxed);

  if (HF_LIKELY(why == HF_LATCH_NONE)) return SQLITE_OK;
  if (level > SQLITE_LOCK_RESERVED && node->wal_files && why == HF_LATCH_MOVED) return SQLITE_OK;
  if (level > SQLITE_LOCK_RESERVED && !node->wal_files &&
      (why == HF_LATCH_IO || (why == HF_LATCH_LOST && !node->reserved)))
    return SQLITE_OK;
  return hf_guard_latched(node);
}

/* RESERVED begins a write and EXCLUSIVE ends it; a file may be replaced in between. */
static int identity(hf_node *node, int level)
{
  if (level > SQLITE_LOCK_RESERVED && node->wal_files) return hf_guard_last_close(node);
  if (level == SQLITE_LOCK_EXCLUSIVE && node->nfs.on) {
    int rc = hf_nfs_unchanged(node);
    if (rc) return rc;
  }
  return hf_guard_identity(node, false);
}

/* The levels' numbers are SQLite's, less one. */
static int stat_of(int level)
{
  return level - SQLITE_LOCK_SHARED + HF_LOCK_SHARED;
}

static HF_SLOW int write_refused(hf_node *node, int level, int rc)
{
  if (level == SQLITE_LOCK_RESERVED && rc == SQLITE_BUSY) hf_turn_refused(node);
  return hf_stat_failed(&node->stats, stat_of(level), 1, rc);
}

static __attribute__((noinline)) int lock_to_write(hf_node *node, int level)
{
  int rc = latched(node, level);

  if (HF_UNLIKELY(rc)) return rc;
  hf_now_here.calls_of = &node->stats;
  rc = node->base->pMethods->xLock(node->base, level);
  hf_now_here.calls_of = NULL;
  if (HF_UNLIKELY(rc)) return write_refused(node, level, rc);
  rc = identity(node, level);
  if (HF_UNLIKELY(rc)) {
    /* The refusal says more than the unlock's result. From RESERVED there is no way back but to let SQLite
     * roll back: the base holds more than SQLite asks for until then. */
    if (node->level < SQLITE_LOCK_RESERVED) (void)node->base->pMethods->xUnlock(node->base, node->level);
    return hf_stat_failed(&node->stats, stat_of(level), 1, rc);
  }
  if (level == SQLITE_LOCK_RESERVED) {
    atomic_store_explicit(&node->reserved, true, memory_order_relaxed);
    node->verify_next = node->verify;
    hf_statement_note(node);
  } else if (level == SQLITE_LOCK_EXCLUSIVE && !node->reserved) {
    node->verify_next = node->verify; /* the rollback of a hot journal */
    node->lost = false;
    if (!node->wal_files) hf_statement_note(node); /* not a connection that is being closed */
  }
  node->level = level;
  hf_now_here.last_locked = node;
  hf_stat_granted(&node->stats, stat_of(level));
  return SQLITE_OK;
}

static HF_SLOW int shared_failed(hf_node *node, int rc)
{
  return hf_stat_failed(&node->stats, HF_LOCK_SHARED, 1, rc);
}

static HF_SLOW int shared_oddly(hf_node *node)
{
  hf_stat_granted(&node->stats, HF_LOCK_SHARED);
  return SQLITE_OK;
}

static __attribute__((noinline)) int lock_shared(hf_node *node)
{
  int rc;

  hf_now_here.calls_of = &node->stats;
  rc = node->base->pMethods->xLock(node->base, SQLITE_LOCK_SHARED);
  hf_now_here.calls_of = NULL;
  if (HF_UNLIKELY(rc)) return shared_failed(node, rc);
  node->level = SQLITE_LOCK_SHARED;
  hf_now_here.last_locked = node;
  return hf_stat_grant(&node->stats, HF_LOCK_SHARED) ? SQLITE_OK : shared_oddly(node);
}

int hf_xLock(sqlite3_file *file, int level)
{
  hf_node *node = hf_node_of(file);

  if (!hf_guard_process(node)) return SQLITE_MISUSE;
  return level == SQLITE_LOCK_SHARED ? lock_shared(node) : lock_to_write(node, level);
}

static HF_SLOW int unlock_oddly(hf_node *node, int level)
{
  for (int one = HF_LOCK_EXCLUSIVE; one >= stat_of(level) + 1; one--) hf_stat_released(&node->stats, one);
  node->level = level;
  return node->base->pMethods->xUnlock(node->base, level);
}

/* Always passes: in a forked child the base's lock calls find nothing to release. */
int hf_xUnlock(sqlite3_file *file, int level)
{
  hf_node *node = hf_node_of(file);

  atomic_store_explicit(&node->reserved, false,
                        memory_order_relaxed); /* SQLite unlocks to SHARED or NONE only */
  if (node->level != SQLITE_LOCK_SHARED || level != SQLITE_LOCK_NONE ||
      !hf_stat_release(&node->stats, HF_LOCK_SHARED))
    return unlock_oddly(node, level);
  node->level = SQLITE_LOCK_NONE;
  return node->base->pMethods->xUnlock(node->base, SQLITE_LOCK_NONE);
}

static HF_SLOW int check_reserved_abroad(sqlite3_file *file, int *out)
{
  hf_node *node = hf_node_of(file);

  if (!hf_guard_process(node)) return SQLITE_MISUSE;
  return node->base->pMethods->xCheckReservedLock(node->base, out);
}

int hf_xCheckReservedLock(sqlite3_file *file, int *out)
{
  sqlite3_file *base = hf_base_of(file);

  if (!hf_guard_at_home(hf_node_of(file))) return check_reserved_abroad(file, out);
  return base->pMethods->xCheckReservedLock(base, out);
}
