/*
 * health_disk.c - sees to it that a check reads the disk and not the cache of its connection, and that what
 * it read was read under a lock.
 *
 * sqlite3_db_release_memory() drops the clean pages that nobody uses. Page 1 is in use as long as there is a
 * transaction, of this connection or, with a shared cache, of another one. So page 1 is the proof: when it
 * has to be read anew, nothing was in use, and nothing is left in the cache.
 */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "guard.h"
#include "health.h"
#include "nfs.h"
#include "records.h"

bool hf_disk_idle(const hf_api *api, sqlite3 *db, int statements)
{
  int busy = 0;

  if (!api->get_autocommit(db)) return false;
  for (sqlite3_stmt *one = api->next_stmt(db, NULL); one; one = api->next_stmt(db, one))
    busy += api->stmt_busy(one) != 0;
  return busy <= statements;
}

int64_t hf_disk_misses(const hf_api *api, sqlite3 *db)
{
  int now = 0, high = 0;

  return api->db_status(db, SQLITE_DBSTATUS_CACHE_MISS, &now, &high, 0) == SQLITE_OK ? now : 0;
}

/* Of an empty file no page is ever read. */
bool hf_disk_empty(const holdfast_health_run *run)
{
  sqlite3_file *file = hf_file_of(run->api, run->db, run->schema);
  sqlite3_int64 size = 1;

  return file && file->pMethods->xFileSize(file, &size) == SQLITE_OK && size == 0;
}

int hf_disk_begin(holdfast_health_run *run, bool *cached)
{
  const hf_api *api = run->api;
  char sql[200];
  int64_t before, ignored;
  int rc;

  if (run->inside) { /* the statement around us holds the transaction; see health_sql.c */
    *cached = !run->fresh_given || !hf_disk_idle(api, run->db, 1);
    (void)api->db_release_memory(run->db); /* SQLITE_OK always */
    return SQLITE_OK;
  }
  *cached = !hf_disk_idle(api, run->db, 0);
  if (*cached) return SQLITE_OK;
  (void)api->db_release_memory(run->db); /* SQLITE_OK always */
  before = hf_disk_misses(api, run->db);
  rc = api->exec(run->db, "BEGIN", NULL, NULL, NULL);
  if (rc) return rc;
  run->began = true;
  snprintf(sql, sizeof sql, "PRAGMA \"%s\".schema_version", run->schema);
  rc = hf_sql_number(api, run->db, sql, &ignored);
  *cached = rc == SQLITE_OK && hf_disk_misses(api, run->db) == before && !hf_disk_empty(run);
  return rc;
}

/* Only what hf_disk_begin() began: a transaction of the program is the program's. */
void hf_disk_end(holdfast_health_run *run)
{
  if (run->began && !run->api->get_autocommit(run->db))
    (void)run->api->exec(run->db, "ROLLBACK", NULL, NULL, NULL); /* nothing was written */
  run->began = false;
}

/* ---------------------------------------------------------------- locks */

static bool still_there(const hf_node *node, const hf_identity *was, const char *suffix)
{
  char name[HF_SIDECAR_PATH];
  struct stat st;

  if (!was->known) return true;
  if (snprintf(name, sizeof name, "%s%s", node->path, suffix) >= (int)sizeof name || stat(name, &st))
    return false;
  return (uint64_t)st.st_dev == was->device && (uint64_t)st.st_ino == was->inode;
}

/*
 * Inside the read transaction: is what was read protected by a lock that is still held, and is it still the
 * file that its name leads to? A reader without a lock takes a passing state for damage.
 */
int hf_locks_state(hf_node *node)
{
  dev_t device;
  ino_t inode;

  if (!node || !node->overridden) return HF_LOCKS_UNKNOWN;
  if (atomic_load(&node->latched) != HF_LATCH_NONE || node->generation != hf_generation())
    return HF_LOCKS_LOST;
  if (!still_there(node, &node->self, "") || !still_there(node, &node->wal, "-wal") ||
      !still_there(node, &node->shm, "-shm"))
    return HF_LOCKS_LOST;
  if (!hf_nfs_held(node)) return HF_LOCKS_LOST;
  device = (dev_t)node->self.device;
  inode = (ino_t)node->self.inode;
  switch (hf_record_verify(node->owner->slot, device, inode)) {
  case HF_HELD_NOT: return HF_LOCKS_LOST;
  case HF_HELD_UNKNOWN: return node->fresh ? HF_LOCKS_INTACT : HF_LOCKS_UNKNOWN;
  default: return HF_LOCKS_INTACT;
  }
}
