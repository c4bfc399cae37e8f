/*
 * lock.c - xLock, xUnlock and xCheckReservedLock.
 *
 * Adds to the base: refusal in a forked child and after a latch, and at each lock that begins to write the
 * check that the file is still the one that was opened. Which descriptor carries the lock is decided below,
 * in syscalls.c.
 */
#include "guard.h"

/* The handle that this thread locked last: SQLite opens a -wal or -journal right after. Compared, never
 * followed. */
static __thread const hf_node *last_locked HF_TLS;
const hf_node *hf_last_locked(void)
{
  return last_locked;
}

/* What a latched handle may not start. Rolling back a hot journal (EXCLUSIVE straight from SHARED) repairs
 * and may go on after an I/O error; in WAL mode EXCLUSIVE means checkpoint and unlink, and on a moved file
 * all of it is wrong. */
static bool latch_forbids(const hf_node *node, int level)
{
  if (level < SQLITE_LOCK_RESERVED) return false;
  if (level == SQLITE_LOCK_RESERVED) return true;
  return node->wal_files || atomic_load_explicit(&node->latched, memory_order_relaxed) != HF_LATCH_IO ||
         node->level < SQLITE_LOCK_SHARED;
}

/* RESERVED begins a write; EXCLUSIVE without RESERVED rolls back a journal or, in WAL mode, checkpoints at
 * close. */
static bool begins_to_write(const hf_node *node, int level)
{
  return level == SQLITE_LOCK_RESERVED ||
         (level == SQLITE_LOCK_EXCLUSIVE && node->level < SQLITE_LOCK_RESERVED);
}

int hf_xLock(sqlite3_file *file, int level)
{
  hf_node *node = hf_node_of(file);
  int rc = hf_guard_process(node) ? SQLITE_OK : SQLITE_MISUSE;

  if (rc == SQLITE_OK && level >= SQLITE_LOCK_RESERVED) {
    rc = hf_guard_latched(node);
    if (rc && !latch_forbids(node, level)) rc = SQLITE_OK;
  }
  if (rc) return rc;
  rc = node->base->pMethods->xLock(node->base, level);
  if (rc) return rc;
  if (begins_to_write(node, level)) {
    rc = hf_guard_identity(node, node->wal_files > 0);
    if (rc) {
      (void)node->base->pMethods->xUnlock(node->base, node->level); /* the refusal says more */
      return rc;
    }
    node->verify_next = node->verify;
  }
  if (level == SQLITE_LOCK_RESERVED) node->reserved = true;
  node->level = level;
  last_locked = node;
  return SQLITE_OK;
}

/* Always passes: in a forked child the base's lock calls find nothing to release. */
int hf_xUnlock(sqlite3_file *file, int level)
{
  hf_node *node = hf_node_of(file);

  node->reserved = false; /* SQLite unlocks to SHARED or NONE only */
  node->level = level;
  return node->base->pMethods->xUnlock(node->base, level);
}

int hf_xCheckReservedLock(sqlite3_file *file, int *out)
{
  hf_node *node = hf_node_of(file);

  if (!hf_guard_process(node)) return SQLITE_MISUSE;
  return node->base->pMethods->xCheckReservedLock(node->base, out);
}
