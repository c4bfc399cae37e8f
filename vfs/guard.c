/*
 * guard.c - fork, latch and identity of one handle. What they cost in the ordinary case: one load each, and
 * for identity one stat() for each write transaction.
 *
 * A guard refuses and says so; it never closes, unlocks or repairs anything, because the close of a stale
 * handle is what checkpoints stale frames (T11). Nothing here is sticky beyond the handle (T10).
 */
#include "guard.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "neighbours.h"
#include "nfs.h"
#include "records.h"
#include "smb.h"

/* ---------------------------------------------------------------- latch */

int hf_guard_refusal(const hf_node *node)
{
  switch (atomic_load_explicit(&node->latched, memory_order_relaxed)) {
  case HF_LATCH_NONE: return SQLITE_OK;
  case HF_LATCH_MOVED: return SQLITE_READONLY_DBMOVED;
  case HF_LATCH_LOST: return SQLITE_IOERR_LOCK;
  default: return SQLITE_IOERR_WRITE;
  }
}

static bool same_identity(const hf_identity *a, const hf_identity *b)
{
  return a->device == b->device && a->inode == b->inode;
}

/* Every handle of this file that is open now: each of them may hold pages from before the failure. */
void hf_guard_latch(hf_node *node, int why, int code, const char *detail)
{
  hf_vfs *owner = node->owner;
  bool first = atomic_load(&node->latched) == HF_LATCH_NONE;

  pthread_mutex_lock(&owner->mutex);
  for (hf_node *one = owner->nodes; one; one = one->next)
    if (one == node || same_identity(&one->self, &node->self)) {
      int none = HF_LATCH_NONE;
      atomic_compare_exchange_strong(&one->latched, &none, why);
    }
  pthread_mutex_unlock(&owner->mutex);
  if (first)
    hf_report(owner, "latched", why == HF_LATCH_IO ? "latch-io" : "latch", node->path, code,
              "%s: no further write by the handles that are open now; close and open again", detail);
}

int hf_guard_failed(hf_node *node, int rc, const char *what)
{
  /* FULL, BUSY and NOMEM pass by themselves. IOERR_NOMEM is NOMEM under another name. */
  if ((rc & 0xff) != SQLITE_IOERR || rc == SQLITE_IOERR_NOMEM || rc == SQLITE_IOERR_BLOCKED) return rc;
  if (hf_smb_lost(node)) return SQLITE_IOERR_LOCK; /* the transaction ends, the handle goes on */
  if (node->nfs.on && hf_nfs_judge(node, rc) == SQLITE_IOERR_LOCK) return SQLITE_IOERR_LOCK;
  hf_guard_latch(node, HF_LATCH_IO, rc, what);
  return rc;
}

/* ---------------------------------------------------------------- fork */

static bool used_at_fork(const hf_node *one)
{
  return one->level != SQLITE_LOCK_NONE || one->wal_files || one->shm_mapped;
}

/*
 * This is a child, and everything in memory is as it was at the fork. SQLite shares one lock state among its
 * connections to an inode, so a lock of any of them would be believed to be held here.
 */
bool hf_guard_adopt(hf_node *node)
{
  hf_vfs *owner = node->owner;
  unsigned now = hf_generation();
  bool used = false;

  if (node->forked) return false;
  pthread_mutex_lock(&owner->mutex);
  for (const hf_node *one = owner->nodes; one; one = one->next)
    if (one->generation != now && (one == node || same_identity(&one->self, &node->self)))
      used = used || used_at_fork(one);
  pthread_mutex_unlock(&owner->mutex);
  if (used) {
    node->forked = true;
    hf_report(
        owner, "refused", "fork", node->path, SQLITE_MISUSE,
        "this connection was opened before a fork, and the parent was using it: open it again in the child");
    return false;
  }
  hf_records_check_fork();
  node->generation = now;
  hf_report(owner, "adopted", "adopted", node->path, 0,
            "opened before a fork and idle then: this child uses it now");
  return true;
}

/* ---------------------------------------------------------------- identity */

/* 0 = found; ENOENT = no such name; else nothing can be said. */
static int look(const char *path, const char *suffix, hf_identity *out, struct stat *st)
{
  char name[HF_SIDECAR_PATH];
  struct stat own;

  if (!st) st = &own;
  if (*suffix) {
    size_t length = strlen(path), tail = strlen(suffix) + 1;
    if (length + tail > sizeof name) return ENAMETOOLONG;
    char *end =
        mempcpy(name, path, length); /* snprintf() would be the dearest part of a WAL commit's check */
    memcpy(end, suffix, tail);
    path = name;
  }
  if (stat(path, st)) return errno == ENOTDIR ? ENOENT : errno;
  out->device = (uint64_t)st->st_dev;
  out->inode = (uint64_t)st->st_ino;
  out->known = true;
  return 0;
}

void hf_guard_note(hf_node *node, hf_identity *which, const char *suffix)
{
  hf_identity now = {0};

  if (look(node->path, suffix, &now, NULL) == 0)
    *which = now;
  else
    which->known = false;
  node->directory.known = false;
}

static int moved(hf_node *node, const char *suffix, bool gone, bool latch)
{
  char detail[200];

  snprintf(detail, sizeof detail,
           gone ? "the name of the %s leads nowhere now (unlinked or renamed under us)"
                : "the name of the %s leads to another file now (replaced under us)",
           *suffix ? suffix : "database");
  hf_report(node->owner, gone ? "unlinked" : "replaced", gone ? "unlinked" : "replaced", node->path,
            SQLITE_READONLY_DBMOVED, "%s: the write is refused, nothing is lost", detail);
  if (latch) hf_guard_latch(node, HF_LATCH_MOVED, SQLITE_READONLY_DBMOVED, detail);
  return SQLITE_READONLY_DBMOVED;
}

static int64_t time_of(struct timespec t)
{
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int look_at_directory(const hf_node *node, hf_directory *out)
{
  struct stat st;

  if (!node->directory_path) return ENOTSUP;
  if (stat(node->directory_path, &st)) return errno;
  *out = (hf_directory){(uint64_t)st.st_dev, (uint64_t)st.st_ino, time_of(st.st_ctim), true};
  return 0;
}

/* After a chroot, or when the whole directory was renamed, the names lead nowhere and the files are all
 * right. */
static bool out_of_sight(const hf_node *node)
{
  hf_directory ignored;

  return look_at_directory(node, &ignored) == ENOENT &&
         hf_record_links(node->owner->slot, (dev_t)node->self.device, (ino_t)node->self.inode) > 0;
}

static int compare(hf_node *node, const hf_identity *was, const char *suffix, bool latch)
{
  hf_identity now = {0};
  int error;

  if (!was->known) return SQLITE_OK;
  error = look(node->path, suffix, &now, NULL);
  if (error == ENOENT && out_of_sight(node)) return SQLITE_OK;
  if (error == ENOENT) return moved(node, suffix, true, latch);
  if (error)
    return SQLITE_OK; /* dropped privileges: the name cannot be looked up, which says nothing about the file
                       */
  return same_identity(was, &now) ? SQLITE_OK : moved(node, suffix, false, latch);
}

/*
 * One stat() of the directory instead of three of files: whoever replaces, renames or removes a name changes
 * the directory's ctime, which nobody can set. It is believed only when it was older than the clock's tick at
 * the last full look, so that a change within the same tick cannot hide. In DELETE mode journals come and go
 * all the time: there the database alone is looked at.
 */
enum { TICK_NS = 20000000 };

static int compare_all(hf_node *node)
{
  int rc = compare(node, &node->self, "", true);
  if (rc == SQLITE_OK) rc = compare(node, &node->wal, "-wal", true);
  if (rc == SQLITE_OK) rc = compare(node, &node->shm, "-shm", true);
  return rc;
}

/* With its journal switched off or in memory SQLite itself goes on writing to a file that was moved away. */
static int rollback_identity(hf_node *node)
{
  struct stat st;

  if (node->journal_unsafe || !node->self.known) return SQLITE_OK;
  node->seen_ticks = hf_ticks();
  if (HF_LIKELY(stat(node->path, &st) == 0 && (uint64_t)st.st_ino == node->self.inode &&
                (uint64_t)st.st_dev == node->self.device))
    return SQLITE_OK;
  node->seen_ticks = 0;
  return compare(node, &node->self, "", false);
}

/*
 * SQLite asks HAS_MOVED, a stat() of the same name, right before it creates the journal; in a statement of
 * its own that is some microseconds after RESERVED. Between its own stat() and its open() lies a gap of the
 * same kind, which nothing closes; ours must not be wider than such a gap can be anyway. What guards the
 * database is the look at EXCLUSIVE, and that is never left out.
 */
enum { JUST_US = 50 };

bool hf_guard_just_seen(const hf_node *node)
{
  static _Atomic uint64_t limit;
  uint64_t just = atomic_load_explicit(&limit, memory_order_relaxed);

  if (HF_UNLIKELY(!just))
    atomic_store_explicit(&limit, just = hf_ticks_of_us_if_known(JUST_US), memory_order_relaxed);
  return node->seen_ticks && atomic_load_explicit(&node->reserved, memory_order_relaxed) &&
         hf_ticks() - node->seen_ticks < just;
}

static __attribute__((noinline)) int look_at_all(hf_node *node, hf_directory now)
{
  struct timespec clock;
  int rc = compare_all(node);

  clock_gettime(CLOCK_REALTIME, &clock);
  if (rc == SQLITE_OK) node->good_ns = time_of(clock);
  now.known = now.known && rc == SQLITE_OK && node->verdict.scope == HOLDFAST_SCOPE_ONE_KERNEL &&
              now.ctime_ns < time_of(clock) - TICK_NS;
  node->directory = now;
  return rc;
}

int hf_guard_identity(hf_node *node, bool wal)
{
  hf_directory now = {0};

  if (!wal) return rollback_identity(node);
  if (look_at_directory(node, &now) == 0 && node->directory.known &&
      now.ctime_ns == node->directory.ctime_ns && now.inode == node->directory.inode &&
      now.device == node->directory.device)
    return SQLITE_OK;
  return look_at_all(node, now);
}

static int64_t now_ns(void)
{
  struct timespec clock;
  clock_gettime(CLOCK_REALTIME, &clock);
  return time_of(clock);
}

void hf_guard_checkpointed(hf_node *node)
{
  node->good_ns = now_ns();
}

enum { SAME, GONE, OTHER };

static int where(const hf_node *node, const hf_identity *was, const char *suffix, struct stat *st)
{
  hf_identity now = {0};
  int error;

  if (!was->known) return SAME;
  error = look(node->path, suffix, &now, st);
  if (error == ENOENT) return GONE;
  return error || same_identity(was, &now) ? SAME : OTHER;
}

/*
 * EXCLUSIVE was granted, so this handle is the last one on its inode. With every name as it was, SQLite does
 * as always. Else:
 * - a database or -wal that is another file now belongs to those who opened it: hands off.
 * - a -wal that is still there, beside a -shm that is not, or after a latch: the next opener recovers
 * everything from it, while our wal-index may be stale: hands off, too.
 * - a -wal without a name holds commits that nobody else will bring home: checkpoint, unless somebody has
 * written the database since we last knew it well.
 */
int hf_guard_last_close(hf_node *node)
{
  struct stat st = {0};
  int db = where(node, &node->self, "", &st), wal = where(node, &node->wal, "-wal", NULL),
      shm = where(node, &node->shm, "-shm", NULL);
  bool latched = atomic_load(&node->latched) != HF_LATCH_NONE;

  if (db == OTHER) return moved(node, "", false, true);
  if (wal == OTHER) return moved(node, "-wal", false, true);
  if (wal == SAME && (shm != SAME || latched))
    return shm == SAME ? hf_guard_latched(node) : moved(node, "-shm", shm == GONE, true);
  if (wal == GONE && db == SAME && time_of(st.st_mtim) > node->good_ns + TICK_NS)
    return moved(node, "-wal", true, true);
  return SQLITE_OK;
}

/* ---------------------------------------------------------------- locks that cannot be owned */

/* In WAL mode what a writer holds is on the -shm. */
static hf_held held_now(const hf_node *node)
{
  int slot = node->owner->slot;
  hf_held held = hf_record_verify(slot, (dev_t)node->self.device, (ino_t)node->self.inode);

  if (held == HF_HELD_UNKNOWN && node->wal_files && node->shm.known)
    held = hf_record_verify(slot, (dev_t)node->shm.device, (ino_t)node->shm.inode);
  return held;
}

/* What was lost stays lost until the transaction is over: its rollback would write old pages, too. */
int hf_guard_still_held(hf_node *node)
{
  hf_held held;

  if (node->lost) return SQLITE_IOERR_LOCK;
  held = held_now(node);
  if (held == HF_HELD_OWNED) node->verify = false; /* as long as this handle is open */
  if (held != HF_HELD_NOT) return SQLITE_OK;
  node->lost = node->verify_next = true;
  hf_report(node->owner, "lock-lost", "lock-lost", node->path, SQLITE_IOERR_LOCK,
            "SQLite's lock on this file is gone: some code of this process closed a descriptor of it. "
            "Nothing was written");
  hf_guard_latch(node, HF_LATCH_LOST, SQLITE_IOERR_LOCK, "its lock was lost");
  return SQLITE_IOERR_LOCK;
}

int hf_guard_held(hf_node *node)
{
  int rc = hf_guard_still_held(node);

  if (rc == SQLITE_OK) node->verify_next = false;
  return rc;
}

/* ---------------------------------------------------------------- a second SQLite library */

void hf_guard_second_library(hf_node *node)
{
  char path[HF_SIDECAR_PATH];
  const char *state =
      node->overridden ? hf_record_state(node->owner->slot, (dev_t)node->self.device, (ino_t)node->self.inode)
                       : "posix";

  if (strcmp(state, "owned") == 0) return;
  if (snprintf(path, sizeof path, "%s-shm", node->path) >= (int)sizeof path || hf_neighbour_maps(path) < 2)
    return;
  hf_report(node->owner, "warned", "second-library", node->path, 0,
            "two SQLite libraries of this process have this WAL database open, and neither sees the other's "
            "locks: let "
            "holdfast own them (mode=enforce, loaded first), or use one library");
}
