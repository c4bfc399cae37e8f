/*
 * io.c - reads, writes, syncs and truncates of the database.
 *
 * A forked child that does not own the connection is refused, a hard error latches the handle (F21), and
 * where locks cannot be owned the first write of a transaction looks whether they are still there.
 */
#include "guard.h"

int hf_xRead(sqlite3_file *file, void *data, int amount, sqlite3_int64 offset)
{
  hf_node *node = hf_node_of(file);

  if (!hf_guard_process(node)) return SQLITE_MISUSE;
  return node->base->pMethods->xRead(node->base, data, amount, offset);
}

int hf_xWrite(sqlite3_file *file, const void *data, int amount, sqlite3_int64 offset)
{
  hf_node *node = hf_node_of(file);
  int rc = hf_guard_process(node) ? SQLITE_OK : SQLITE_MISUSE;

  if (rc == SQLITE_OK && node->verify_next) rc = hf_guard_held(node);
  if (rc) return rc;
  if (offset == 0 && !node->wal_allowed && !node->wal_exclusive && hf_is_mode_flip(node, data, amount)) {
    hf_report(node->owner, "refused", "wal-header", node->path, SQLITE_READONLY,
              "journal_mode=WAL cannot work on %s: the database stays as it is", node->facts.fstype);
    return SQLITE_READONLY;
  }
  return hf_guard_written(node, node->base->pMethods->xWrite(node->base, data, amount, offset),
                          "a write failed");
}

int hf_xTruncate(sqlite3_file *file, sqlite3_int64 size)
{
  hf_node *node = hf_node_of(file);
  int rc = hf_guard_process(node) ? SQLITE_OK : SQLITE_MISUSE;

  if (rc == SQLITE_OK && node->verify_next) rc = hf_guard_held(node);
  return rc ? rc
            : hf_guard_written(node, node->base->pMethods->xTruncate(node->base, size), "a truncate failed");
}

int hf_xSync(sqlite3_file *file, int flags)
{
  hf_node *node = hf_node_of(file);

  if (!hf_guard_process(node)) return SQLITE_MISUSE;
  return hf_guard_written(node, node->base->pMethods->xSync(node->base, flags), "a sync failed");
}
