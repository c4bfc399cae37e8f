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

static HF_SLOW void report_alarm(hf_node *node)
{
  node->walguard.alarm = false;
  hf_report(node->owner, "damaged", "wal-reset", node->path, SQLITE_CORRUPT, HF_WALGUARD_ALARM,
            node->walguard.backfill, node->walguard.frames);
}

/* The base's xShmLock with the WAL-reset guard around it. */
static int base_lock(hf_node *node, int offset, int n, int flags)
{
  int rc = hf_walguard_lock(&node->walguard, node->base, offset, n, flags);

  if (HF_UNLIKELY(node->walguard.alarm)) report_alarm(node);
  return rc;
}

static HF_SLOW int suspected(hf_node *node)
{
  hf_walguard_granted(&node->walguard);
  if (node->walguard.alarm) report_alarm(node);
  return SQLITE_OK;
}

/* Readers, once for each transaction. */
static __attribute__((noinline)) int lock_shared(sqlite3_file *file, int offset, int n, int flags)
{
  hf_node *node = hf_node_of(file);
  int rc;

  if (!hf_guard_process(node)) return SQLITE_MISUSE;
  if (offset <= READ0_LOCK) return node->base->pMethods->xShmLock(node->base, offset, n, flags);
  rc = node->base->pMethods->xShmLock(node->base, offset, n, flags);
  return rc == SQLITE_OK && HF_UNLIKELY(hf_walguard_suspects(&node->walguard)) ? suspected(node) : rc;
}

static HF_SLOW int undo_write(hf_node *node, int rc)
{
  (void)base_lock(node, WRITE_LOCK, 1, SQLITE_SHM_UNLOCK | SQLITE_SHM_EXCLUSIVE); /* the refusal says more */
  return rc;
}

/* The writer's lock. A latched handle may still take it: a reader needs it to recover the wal-index. Its
 * writes are refused (side.c). */
static __attribute__((noinline)) int lock_write(sqlite3_file *file, int offset, int n, int flags)
{
  hf_node *node = hf_node_of(file);
  int rc;

  if (!hf_guard_process(node)) return SQLITE_MISUSE;
  rc = node->base->pMethods->xShmLock(node->base, offset, n, flags);
  if (rc) return rc;
  hf_walguard_note(&node->walguard, WRITE_LOCK, true);
  rc = hf_guard_identity(node, true);
  return HF_LIKELY(rc == SQLITE_OK) ? rc : undo_write(node, rc);
}

/* Restart, checkpoint, recovery, and a writer's own read mark. */
static __attribute__((noinline)) int lock_exclusive(sqlite3_file *file, int offset, int n, int flags)
{
  hf_node *node = hf_node_of(file);
  bool checkpoint = n == 1 && offset == CKPT_LOCK;
  int rc = SQLITE_OK;

  if (!hf_guard_process(node)) return SQLITE_MISUSE;
  if (checkpoint) rc = hf_guard_latched(node);
  if (HF_UNLIKELY(rc)) return rc;
  rc = base_lock(node, offset, n, flags);
  if (rc || !checkpoint) return rc;
  rc = hf_guard_identity(node, true);
  node->verify_next = node->verify;
  if (HF_UNLIKELY(rc))
    (void)base_lock(node, offset, n, SQLITE_SHM_UNLOCK | SQLITE_SHM_EXCLUSIVE); /* the refusal says more */
  return rc;
}

static __attribute__((noinline)) int unlock_exclusive(sqlite3_file *file, int offset, int n, int flags)
{
  hf_node *node = hf_node_of(file);

  if (offset == CKPT_LOCK && node->walguard.held & 1u << CKPT_LOCK) hf_guard_checkpointed(node);
  return base_lock(node, offset, n, flags);
}

/* An unlock always passes. */
int hf_xShmLock(sqlite3_file *file, int offset, int n, int flags)
{
  sqlite3_file *base = hf_base_of(file);

  if (flags & SQLITE_SHM_SHARED)
    return flags & SQLITE_SHM_LOCK ? lock_shared(file, offset, n, flags)
                                   : base->pMethods->xShmLock(base, offset, n, flags);
  if (n != 1 || offset != WRITE_LOCK)
    return flags & SQLITE_SHM_LOCK ? lock_exclusive(file, offset, n, flags)
                                   : unlock_exclusive(file, offset, n, flags);
  if (flags & SQLITE_SHM_LOCK) return lock_write(file, offset, n, flags);
  hf_walguard_note(&hf_node_of(file)->walguard, WRITE_LOCK, false);
  return base->pMethods->xShmLock(base, offset, n, flags);
}

void hf_xShmBarrier(sqlite3_file *file)
{
  sqlite3_file *base = hf_base_of(file);
  base->pMethods->xShmBarrier(base);
}

/* In a child that does not own the connection the -shm is the parent's: it is let go of and never deleted. */
int hf_xShmUnmap(sqlite3_file *file, int delete_it)
{
  hf_node *node = hf_node_of(file);

  if (delete_it && !hf_guard_process(node)) delete_it = 0;
  node->shm_mapped = false;
  node->shm.known = false;
  hf_walguard_mapped(&node->walguard, 0, NULL);
  return node->base->pMethods->xShmUnmap(node->base, delete_it);
}
