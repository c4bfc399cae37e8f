/*
 * io.c - reads, writes, syncs and truncates of the database.
 *
 * A forked child that does not own the connection is refused, a hard error latches the handle (F21), and
 * where locks cannot be owned the first write of a transaction looks whether they are still there.
 */
#include "guard.h"

static HF_SLOW int read_abroad(sqlite3_file *file, void *data, int amount, sqlite3_int64 offset)
{
  hf_node *node = hf_node_of(file);

  if (!hf_guard_process(node)) return SQLITE_MISUSE;
  return node->base->pMethods->xRead(node->base, data, amount, offset);
}

int hf_xRead(sqlite3_file *file, void *data, int amount, sqlite3_int64 offset)
{
  sqlite3_file *base = hf_base_of(file);

  if (!hf_guard_at_home(hf_node_of(file))) return read_abroad(file, data, amount, offset);
  return base->pMethods->xRead(base, data, amount, offset);
}

static int may_write(hf_node *node)
{
  if (!hf_guard_process(node)) return SQLITE_MISUSE;
  return HF_UNLIKELY(node->verify_next) ? hf_guard_held(node) : SQLITE_OK;
}

static HF_SLOW int refuse_mode_flip(hf_node *node)
{
  hf_report(node->owner, "refused", "wal-header", node->path, SQLITE_READONLY,
            "journal_mode=WAL cannot work on %s: the database stays as it is", node->facts.fstype);
  return SQLITE_READONLY;
}

int hf_xWrite(sqlite3_file *file, const void *data, int amount, sqlite3_int64 offset)
{
  hf_node *node = hf_node_of(file);
  int rc = may_write(node);

  if (HF_UNLIKELY(rc)) return rc;
  if (offset == 0 && !node->wal_allowed && !node->wal_exclusive && hf_is_mode_flip(node, data, amount))
    return refuse_mode_flip(node);
  rc = node->base->pMethods->xWrite(node->base, data, amount, offset);
  return hf_guard_written(node, rc, "a write failed");
}

int hf_xTruncate(sqlite3_file *file, sqlite3_int64 size)
{
  hf_node *node = hf_node_of(file);
  int rc = may_write(node);

  if (HF_UNLIKELY(rc)) return rc;
  return hf_guard_written(node, node->base->pMethods->xTruncate(node->base, size), "a truncate failed");
}

int hf_xSync(sqlite3_file *file, int flags)
{
  hf_node *node = hf_node_of(file);
  uint64_t began = hf_ticks();
  int rc;

  if (!hf_guard_process(node)) return SQLITE_MISUSE;
  rc = node->base->pMethods->xSync(node->base, flags);
  return hf_guard_written(node, hf_stat_synced(&node->stats, HF_STAT_SYNC_DB, began, rc), "a sync failed");
}
