/*
 * nfs.c - one transaction on NFS: what is looked at before it counts (F24..F26).
 *
 * A lost lock must never end as an acknowledged commit or as a damaged file. So: the change counter is what
 * it was when EXCLUSIVE is granted; everything was written, and the server still knew our lock, before the
 * journal goes; the same again before EXCLUSIVE is given up, which is the last moment to fail the commit.
 * What is found missing is reported as a lost lock, whatever error the kernel chose for it.
 */
#include "nfs.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "advice.h"
#include "guard.h"
#include "records.h"

enum { COUNTER_AT = 24 };

static int descriptor(const hf_node *node)
{
  return hf_record_descriptor(node->owner->slot, (dev_t)node->self.device, (ino_t)node->self.inode);
}

/* ---------------------------------------------------------------- a lost lock */

static int lost(hf_node *node, const char *how)
{
  if (hf_guard_latched(node) != SQLITE_IOERR_LOCK)
    hf_report(
        node->owner, "lock-lost", "lock-lost", node->path, SQLITE_IOERR_LOCK,
        "the server has given our lock away while this machine was cut off from it (%s): the transaction "
        "fails, "
        "the database is not damaged",
        how);
  hf_guard_latch(node, HF_LATCH_LOST, SQLITE_IOERR_LOCK, "its lock was lost");
  return SQLITE_IOERR_LOCK;
}

int hf_nfs_judge(hf_node *node, int rc)
{
  int fd;

  if ((rc & 0xff) != SQLITE_IOERR || rc == SQLITE_IOERR_SHORT_READ || rc == SQLITE_IOERR_NOMEM ||
      rc == SQLITE_IOERR_BLOCKED)
    return rc;
  if (hf_guard_latched(node) == SQLITE_IOERR_LOCK) return SQLITE_IOERR_LOCK;
  fd = descriptor(node);
  if (fd < 0 || !node->nfs.leases || hf_nfs_alive(fd) != EIO || hf_nfs_reachable(fd) != 0) return rc;
  return lost(node, "its reads and writes are refused");
}

/* Everything written so far has reached the server under our lock, or the error says that it has not. */
static int flush(hf_node *node)
{
  int fd = descriptor(node), error;

  if (fd < 0) return SQLITE_OK; /* locked by POSIX: open before the shim came, and reported as that */
  error = hf_nfs_flush(fd);
  if (error) return hf_guard_written(node, SQLITE_IOERR_FSYNC, "what was written did not reach the server");
  node->nfs.proved = node->level == SQLITE_LOCK_EXCLUSIVE;
  return SQLITE_OK;
}

/* Only NFSv4 ties reads to locks. */
static int alive(hf_node *node)
{
  int fd = node->nfs.leases ? descriptor(node) : -1;

  if (fd < 0 || hf_nfs_alive(fd) == 0) return SQLITE_OK;
  return hf_nfs_judge(node, SQLITE_IOERR_READ);
}

bool hf_nfs_held(hf_node *node)
{
  return !node->nfs.on || alive(node) == SQLITE_OK;
}

/* ---------------------------------------------------------------- the change counter */

static void remember(hf_node *node)
{
  int fd = descriptor(node);
  node->nfs.seen = fd < 0 ? -1 : (int)pread(fd, node->nfs.counter, sizeof node->nfs.counter, COUNTER_AT);
}

int hf_nfs_unchanged(hf_node *node)
{
  unsigned char now[sizeof node->nfs.counter];
  int fd = descriptor(node);
  ssize_t got;

  if (!node->nfs.on || fd < 0 || node->nfs.seen < 0) return SQLITE_OK;
  got = pread(fd, now, sizeof now, COUNTER_AT);
  if (got < 0) return hf_nfs_judge(node, SQLITE_IOERR_READ);
  if (got == node->nfs.seen && memcmp(now, node->nfs.counter, (size_t)got) == 0) return SQLITE_OK;
  return lost(node, "another one has written the file under our lock");
}

/* ---------------------------------------------------------------- the journal */

int hf_nfs_journal_ends(hf_node *node)
{
  int rc;

  if (!node->nfs.on || node->level < SQLITE_LOCK_RESERVED || !hf_guard_process(node)) return SQLITE_OK;
  /* It may be another one's by now, who found ours and rolled it back. After a commit's pages have gone
   * through, the server need not be asked again: the lock was there a moment ago, and more cannot be had. */
  if (node->nfs.proved) {
    node->nfs.proved = false;
    return SQLITE_OK;
  }
  rc = flush(node);
  return rc ? rc : alive(node);
}

/*
 * Where names are learned of late, the name of the journal is made once and stays: an empty journal is no
 * journal to every SQLite.
 */
int hf_nfs_opens(hf_node *node, const char *name)
{
  bool made = false;
  int error;

  if (!node->nfs.coarse) return SQLITE_OK;
  error = hf_nfs_make(name, node->path, &made);
  if (!error && made) error = hf_fresh_announce(name);
  if (!error || !made) return SQLITE_OK; /* SQLite's own open() will say what is wrong */
  hf_report(
      node->owner, "refused", "journal-unknown", node->path, SQLITE_CANTOPEN,
      "other machines may not see a journal made now (%s): when this one stopped, they would find half a "
      "transaction",
      strerror(error));
  return SQLITE_CANTOPEN;
}

int hf_nfs_delete(hf_vfs *owner, const char *name)
{
  hf_node *found = NULL;
  size_t stem;
  int rc, error;

  pthread_mutex_lock(&owner->mutex);
  for (hf_node *one = hf_node_by_sidecar(owner, name, &stem); one && !found; one = one->next)
    if (one->nfs.on && one->level >= SQLITE_LOCK_RESERVED && strncmp(one->path, name, stem) == 0 &&
        one->path[stem] == 0)
      found = one;
  if (found) atomic_fetch_add(&found->references, 1);
  pthread_mutex_unlock(&owner->mutex);
  if (!found) return SQLITE_NOTFOUND;
  rc = hf_nfs_journal_ends(found);
  if (rc == SQLITE_OK && !found->nfs.coarse) rc = SQLITE_NOTFOUND;
  hf_node_release(found);
  if (rc) return rc;
  error = hf_nfs_empty(name);
  return error == 0 ? SQLITE_OK : error == ENOENT ? SQLITE_IOERR_DELETE_NOENT : SQLITE_IOERR_DELETE;
}

/* ---------------------------------------------------------------- the methods that do more here */

static int nfs_xRead(sqlite3_file *file, void *data, int amount, sqlite3_int64 offset)
{
  int rc = hf_xRead(file, data, amount, offset);
  return rc ? hf_nfs_judge(hf_node_of(file), rc) : rc;
}

static int nfs_xLock(sqlite3_file *file, int level)
{
  hf_node *node = hf_node_of(file);
  bool entering = node->level == SQLITE_LOCK_NONE;
  int rc = hf_xLock(file, level);

  if (rc) return hf_nfs_judge(node, rc);
  if (level < SQLITE_LOCK_EXCLUSIVE) node->nfs.proved = false;
  if (entering) {
    node->nfs.asked = false;
    remember(node);
  }
  return SQLITE_OK;
}

static int nfs_xUnlock(sqlite3_file *file, int level)
{
  hf_node *node = hf_node_of(file);
  int rc = SQLITE_OK, unlocked;

  if (node->level == SQLITE_LOCK_EXCLUSIVE && node->generation == hf_generation()) {
    rc = flush(node);
    if (rc == SQLITE_OK) rc = alive(node);
    if (level == SQLITE_LOCK_SHARED) remember(node); /* with our own commit in it */
  }
  unlocked = hf_xUnlock(file, level);
  return rc ? rc : hf_nfs_judge(node, unlocked);
}

static int nfs_xFileControl(sqlite3_file *file, int op, void *arg)
{
  hf_node *node = hf_node_of(file);
  int rc = SQLITE_OK;

  /* SYNC: all pages are written and the journal still stands, whatever the journal mode and `synchronous`. */
  if (op == SQLITE_FCNTL_SYNC && node->generation == hf_generation()) rc = flush(node);
  /* A commit is in the -wal: with synchronous=NORMAL it would be in this machine's memory only. */
  if (op == SQLITE_FCNTL_COMMIT_PHASETWO && node->wal_files && node->nfs.wal_fd >= 0 &&
      node->generation == hf_generation() && hf_nfs_flush(node->nfs.wal_fd))
    rc = hf_guard_written(node, SQLITE_IOERR_FSYNC, "a commit did not reach the server");
  return rc ? rc : hf_xFileControl(file, op, arg);
}

void hf_nfs_methods(hf_node *node)
{
  if (!node->nfs.on) return;
  node->methods.xRead = nfs_xRead;
  node->methods.xLock = nfs_xLock;
  node->methods.xUnlock = nfs_xUnlock;
  node->methods.xFileControl = nfs_xFileControl;
}

/* ---------------------------------------------------------------- opening, the -wal, PRAGMAs */

int hf_nfs_begin(hf_node *node)
{
  hf_nfs *nfs = &node->nfs;

  nfs->wal_fd = nfs->seen = -1;
  nfs->leases = strcmp(node->facts.fstype, "nfs4") == 0;
  nfs->coarse = !nfs->leases;
  nfs->on =
      node->overridden && hf_records_device(node->facts.device, HF_KIND_NFS) && hf_nfs_ready(node->owner);
  if (!nfs->on) (void)hf_records_device(node->facts.device, HF_KIND_PASS); /* no room: asked again per file */
  if (!nfs->on)
    hf_report(
        node->owner, "warned", "nfs-io", node->path, 0,
        "locks and reads cannot be kept together for this VFS or system: after a lost lease a commit may be "
        "acknowledged that nobody finds");
  if (!nfs->leases || !hf_nfs_recovers_locks()) return SQLITE_OK;
  hf_report(
      node->owner, node->set.strict ? "refused" : "warned", "recover-lost-locks", node->path,
      node->set.strict ? SQLITE_CANTOPEN : 0,
      "the module option nfs.recover_lost_locks is on: this machine takes lost locks again as if nobody had "
      "written meanwhile. Set it to 0");
  return node->set.strict ? SQLITE_CANTOPEN : SQLITE_OK;
}

int hf_nfs_wal_opened(hf_node *node, int fd)
{
  int error = fd < 0 ? EBADF : hf_nfs_lock_wal(fd);

  if (error) {
    hf_report(node->owner, "refused", "wal-lock", node->path, SQLITE_IOERR_LOCK,
              "the -wal cannot be locked (%s): no commit there would be safe", strerror(error));
    return error == EAGAIN || error == EACCES ? SQLITE_BUSY : SQLITE_IOERR_LOCK;
  }
  node->nfs.wal_fd = fd;
  return SQLITE_OK;
}

static bool means_off(const char *value)
{
  static const char *const words[] = {"0", "off", "no", "false"};

  for (size_t i = 0; i < sizeof words / sizeof *words; i++)
    if (strcasecmp(value, words[i]) == 0) return true;
  return false;
}

int hf_nfs_pragma(hf_node *node, const char *name, const char *value, const char **why)
{
  *why = "synchronous=OFF on NFS: when this machine stops, others find half a transaction and no journal";
  if (!node->nfs.on || !value || strcasecmp(name, "synchronous") != 0 || !means_off(value))
    return SQLITE_NOTFOUND;
  if (!node->set.strict) {
    hf_report(node->owner, "warned", "synchronous-off", node->path, 0, "%s", *why);
    return SQLITE_NOTFOUND;
  }
  hf_report(node->owner, "refused", "synchronous-off", node->path, SQLITE_ERROR,
            "%s: refused because strict is on", *why);
  return SQLITE_ERROR;
}
