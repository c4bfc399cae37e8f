/*
 * shm.c - xShmMap, xShmLock, xShmBarrier and xShmUnmap: the locks of WAL mode.
 *
 * The same three questions as in lock.c, at the locks that begin to write: WRITE (a transaction) and CKPT (a
 * checkpoint, which writes the database). The WAL-reset guard is in walguard.c.
 */
#include "guard.h"

enum { WRITE_LOCK = 0, CKPT_LOCK = 1, READ0_LOCK = 3 };

int hf_xShmMap(sqlite3_file *file, int region, int size, int extend, void volatile **out)
{
  hf_node *node = hf_node_of(file);
  int rc;

  if (!hf_guard_process(node)) return SQLITE_MISUSE;
  rc = node->base->pMethods->xShmMap(node->base, region, size, extend, out);
  if (rc) return rc;
  hf_walguard_mapped(&node->walguard, region, *out);
  if (!node->shm_mapped) {
    node->shm_mapped = true;
    hf_guard_note(node, &node->shm, "-shm");
    hf_guard_second_library(node);
  }
  return SQLITE_OK;
}

static void report_alarm(hf_node *node)
{
  node->walguard.alarm = false;
  hf_report(node->owner, "damaged", "wal-reset", node->path, SQLITE_CORRUPT, HF_WALGUARD_ALARM,
            node->walguard.backfill, node->walguard.frames);
}

/* The base's xShmLock with the WAL-reset guard around it. */
static int base_lock(hf_node *node, int offset, int n, int flags)
{
  int rc = hf_walguard_lock(&node->walguard, node->base, offset, n, flags);

  if (node->walguard.alarm) report_alarm(node);
  return rc;
}

static unsigned mask_of(int offset, int n)
{
  return ((1u << n) - 1) << offset;
}

static bool begins_to_write(int offset, int n, int flags)
{
  return (flags & (SQLITE_SHM_LOCK | SQLITE_SHM_EXCLUSIVE)) == (SQLITE_SHM_LOCK | SQLITE_SHM_EXCLUSIVE) &&
         n == 1 && (offset == WRITE_LOCK || offset == CKPT_LOCK);
}

/* What readers do, twice for each transaction. */
static int shared(hf_node *node, int offset, int flags)
{
  sqlite3_file *base = node->base;
  int rc;

  if (flags & SQLITE_SHM_UNLOCK) {
    node->shm_held &= (uint16_t) ~(1u << offset);
    return base->pMethods->xShmLock(base, offset, 1, flags);
  }
  if (!hf_guard_process(node)) return SQLITE_MISUSE;
  rc = base->pMethods->xShmLock(base, offset, 1, flags);
  if (rc) return rc;
  node->shm_held |= (uint16_t)(1u << offset);
  if (node->walguard.watch && offset > READ0_LOCK) {
    hf_walguard_granted(&node->walguard);
    if (node->walguard.alarm) report_alarm(node);
  }
  return SQLITE_OK;
}

static int exclusive(hf_node *node, int offset, int n, int flags)
{
  bool writes = begins_to_write(offset, n, flags);
  int rc = SQLITE_OK;

  if (flags & SQLITE_SHM_UNLOCK) { /* always passes */
    if (node->shm_held & 1u << CKPT_LOCK && offset == CKPT_LOCK) hf_guard_checkpointed(node);
    node->shm_held &= (uint16_t)~mask_of(offset, n);
    return base_lock(node, offset, n, flags);
  }
  if (!hf_guard_process(node)) return SQLITE_MISUSE;
  /* A latched handle may still take WRITE: a reader needs it to recover the wal-index. Its writes are refused
   * (side.c). */
  if (writes && offset == CKPT_LOCK) rc = hf_guard_latched(node);
  if (rc) return rc;
  rc = base_lock(node, offset, n, flags);
  if (rc) return rc;
  if (writes) {
    rc = hf_guard_identity(node, true);
    if (rc) {
      (void)base_lock(node, offset, n, SQLITE_SHM_UNLOCK | SQLITE_SHM_EXCLUSIVE); /* the refusal says more */
      return rc;
    }
  }
  node->shm_held |= (uint16_t)mask_of(offset, n);
  return SQLITE_OK;
}

int hf_xShmLock(sqlite3_file *file, int offset, int n, int flags)
{
  hf_node *node = hf_node_of(file);

  return flags & SQLITE_SHM_SHARED && n == 1 ? shared(node, offset, flags)
                                             : exclusive(node, offset, n, flags);
}

void hf_xShmBarrier(sqlite3_file *file)
{
  hf_node *node = hf_node_of(file);
  node->base->pMethods->xShmBarrier(node->base);
}

/* In a child that does not own the connection the -shm is the parent's: it is let go of and never deleted. */
int hf_xShmUnmap(sqlite3_file *file, int delete_it)
{
  hf_node *node = hf_node_of(file);

  if (delete_it && !hf_guard_process(node)) delete_it = 0;
  node->shm_mapped = false;
  node->shm_held = 0;
  node->shm.known = false;
  hf_walguard_mapped(&node->walguard, 0, NULL);
  return node->base->pMethods->xShmUnmap(node->base, delete_it);
}
