/*
 * shm.c - xShmMap, xShmLock, xShmBarrier and xShmUnmap: the locks of WAL mode.
 *
 * The same three questions as in lock.c, at the locks that begin to write: WRITE (a transaction) and CKPT (a
 * checkpoint, which writes the database). The WAL-reset guard is in walguard.c.
 */
#include "guard.h"
#include "statement.h"

enum { WRITE_LOCK = 0, CKPT_LOCK = 1, READ0_LOCK = 3 };

int hf_xShmMap(sqlite3_file *file, int region, int size, int extend, void volatile **out)
{
  hf_node *node = hf_node_of(file);
  int rc;

  if (!hf_guard_process(node)) return SQLITE_MISUSE;
  hf_now_here.calls_of = &node->stats;
  rc = node->base->pMethods->xShmMap(node->base, region, size, extend, out);
  hf_now_here.calls_of = NULL;
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

static unsigned stat_of(unsigned offset)
{
  return HF_LOCK_WAL_WRITE + offset;
}

static HF_SLOW int granted_oddly(sqlite3_file *base, int offset)
{
  hf_node *node = hf_node_around(base);

  hf_stat_granted(&node->stats, stat_of(offset));
  return offset > READ0_LOCK && hf_walguard_suspects(&node->walguard) ? suspected(node) : SQLITE_OK;
}

static HF_SLOW int shared_abroad(sqlite3_file *base, int offset)
{
  if (!hf_guard_process(hf_node_around(base))) return SQLITE_MISUSE;
  return base->pMethods->xShmLock(base, offset, 1, SQLITE_SHM_LOCK | SQLITE_SHM_SHARED);
}

static HF_SLOW int not_granted(sqlite3_file *base, int offset, int rc)
{
  return hf_stat_failed(&hf_node_around(base)->stats, stat_of(offset), 1, rc);
}

/* Readers, once for each transaction. SQLite takes and gives back shared locks one by one. */
static __attribute__((noinline)) int lock_shared(sqlite3_file *file, unsigned offset)
{
  sqlite3_file *base = hf_base_of(file);
  int rc;

  if (!hf_guard_at_home(hf_node_around(base)))
    rc = shared_abroad(base, offset);
  else
    rc = base->pMethods->xShmLock(base, offset, 1, SQLITE_SHM_LOCK | SQLITE_SHM_SHARED);
  if (HF_UNLIKELY(rc)) return not_granted(base, offset, rc);
  if (!hf_stat_grant(&hf_node_around(base)->stats, stat_of(offset)) ||
      (offset > READ0_LOCK && HF_UNLIKELY(hf_walguard_suspects(&hf_node_around(base)->walguard))))
    return granted_oddly(base, offset);
  return SQLITE_OK;
}

static HF_SLOW int unlock_oddly(sqlite3_file *base, hf_lockstats *stats, int offset, int flags)
{
  hf_stat_released(stats, stat_of(offset));
  return base->pMethods->xShmLock(base, offset, 1, flags);
}

/* Shared, or a read mark alone. */
static __attribute__((noinline)) int unlock_one(sqlite3_file *file, unsigned offset, int flags)
{
  sqlite3_file *base = hf_base_of(file);
  hf_lockstats *stats = &hf_node_of(file)->stats;

  if (!hf_stat_release(stats, stat_of(offset))) return unlock_oddly(base, stats, offset, flags);
  return base->pMethods->xShmLock(base, offset, 1, flags);
}

/* A reader moves its mark, once after each transaction of a writer. The WAL-reset guard does not look at
 * that. */
static __attribute__((noinline)) int lock_mark(sqlite3_file *file, unsigned offset, int flags)
{
  hf_node *node = hf_node_of(file);
  int rc;

  if (!hf_guard_process(node)) return SQLITE_MISUSE;
  rc = node->base->pMethods->xShmLock(node->base, offset, 1, flags);
  if (HF_UNLIKELY(rc)) return hf_stat_failed(&node->stats, stat_of(offset), 1, rc);
  if (!hf_stat_grant(&node->stats, stat_of(offset))) hf_stat_granted(&node->stats, stat_of(offset));
  return SQLITE_OK;
}

static HF_SLOW int undo_write(hf_node *node, int rc)
{
  (void)base_lock(node, WRITE_LOCK, 1, SQLITE_SHM_UNLOCK | SQLITE_SHM_EXCLUSIVE); /* the refusal says more */
  return hf_stat_failed(&node->stats, HF_LOCK_WAL_WRITE, 1, rc);
}

/* The writer's lock. A latched handle may still take it: a reader needs it to recover the wal-index. Its
 * writes are refused (side.c). */
static __attribute__((noinline)) int lock_write(sqlite3_file *file)
{
  hf_node *node = hf_node_of(file);
  int rc;

  if (!hf_guard_process(node)) return SQLITE_MISUSE;
  rc = node->base->pMethods->xShmLock(node->base, WRITE_LOCK, 1, SQLITE_SHM_LOCK | SQLITE_SHM_EXCLUSIVE);
  if (HF_UNLIKELY(rc)) return hf_stat_failed(&node->stats, HF_LOCK_WAL_WRITE, 1, rc);
  hf_walguard_note(&node->walguard, WRITE_LOCK, true);
  rc = hf_guard_identity(node, true);
  if (HF_UNLIKELY(rc)) return undo_write(node, rc);
  if (!hf_stat_grant(&node->stats, HF_LOCK_WAL_WRITE)) hf_stat_granted(&node->stats, HF_LOCK_WAL_WRITE);
  hf_statement_note(node);
  return SQLITE_OK;
}

static __attribute__((noinline)) int unlock_write(sqlite3_file *file)
{
  sqlite3_file *base = hf_base_of(file);
  hf_node *node = hf_node_of(file);

  hf_walguard_note(&node->walguard, WRITE_LOCK, false);
  if (!hf_stat_release(&node->stats, HF_LOCK_WAL_WRITE))
    return unlock_oddly(base, &node->stats, WRITE_LOCK, SQLITE_SHM_UNLOCK | SQLITE_SHM_EXCLUSIVE);
  return base->pMethods->xShmLock(base, WRITE_LOCK, 1, SQLITE_SHM_UNLOCK | SQLITE_SHM_EXCLUSIVE);
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
  if (rc == SQLITE_OK && checkpoint) {
    rc = hf_guard_identity(node, true);
    node->verify_next = node->verify;
    if (HF_UNLIKELY(rc))
      (void)base_lock(node, offset, n, SQLITE_SHM_UNLOCK | SQLITE_SHM_EXCLUSIVE); /* the refusal says more */
  }
  if (HF_UNLIKELY(rc)) return hf_stat_failed(&node->stats, stat_of(offset), n, rc);
  node->checkpoints += checkpoint;
  for (int i = 0; i < n; i++) hf_stat_granted(&node->stats, stat_of(offset + i));
  return SQLITE_OK;
}

static __attribute__((noinline)) int unlock_exclusive(sqlite3_file *file, int offset, int n, int flags)
{
  hf_node *node = hf_node_of(file);

  for (int i = 0; i < n; i++) hf_stat_released(&node->stats, stat_of(offset + i));
  if (offset == CKPT_LOCK && node->walguard.held & 1u << CKPT_LOCK) hf_guard_checkpointed(node);
  return base_lock(node, offset, n, flags);
}

/* An unlock always passes. */
int hf_xShmLock(sqlite3_file *file, int offset, int n, int flags)
{
  if (flags == (SQLITE_SHM_LOCK | SQLITE_SHM_SHARED)) return lock_shared(file, offset);
  if (flags == (SQLITE_SHM_UNLOCK | SQLITE_SHM_SHARED)) return unlock_one(file, offset, flags);
  if (n == 1 && offset == WRITE_LOCK) return flags & SQLITE_SHM_LOCK ? lock_write(file) : unlock_write(file);
  if (n == 1 && offset > READ0_LOCK)
    return flags & SQLITE_SHM_LOCK ? lock_mark(file, offset, flags) : unlock_one(file, offset, flags);
  return flags & SQLITE_SHM_LOCK ? lock_exclusive(file, offset, n, flags)
                                 : unlock_exclusive(file, offset, n, flags);
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
