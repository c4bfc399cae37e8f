/*
 * side.c - the -journal and the -wal of an open database.
 *
 * They are wrapped for few reasons: a forked child that does not own the connection must not write, truncate
 * or delete its parent's journal (F14), a hard error on the -wal latches the database's handle (F21), what
 * the -wal gets is written in fewer calls (walframe.c) and with every checksum (walsum.c), and a journal on
 * NFS or SMB may not go before all else has arrived (nfs.c, smb.c). A side file's database is open as long as
 * it is: SQLite closes them in that order.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "guard.h"
#include "nfs.h"
#include "smb.h"
#include "walframe.h"
#include "walsum.h"

typedef struct hf_side {
  hf_node *of;
  bool wal;
  hf_walframe frame; /* of the -wal, as the next */
  hf_walsum sum;
  bool of_node;                     /* the memory is the node's own, which has room for one journal */
  _Alignas(16) sqlite3_file base[]; /* szOsFile bytes */
} side;

/* In the memory that SQLite gives lies the same as for a database: an hf_file. */
static side *side_of(sqlite3_file *file)
{
  return (side *)((char *)hf_base_of(file) - offsetof(side, base));
}

size_t hf_side_size(const hf_vfs *owner)
{
  return sizeof(side) + (((size_t)owner->base->szOsFile + 15) & ~(size_t)15);
}

/* A journal comes and goes with each transaction of DELETE mode: without malloc(). */
static side *allocate(hf_node *of, bool wal)
{
  bool of_node = !wal && !atomic_exchange_explicit(&of->journal_open, true, memory_order_acquire);
  side *made = of_node ? of->journal : malloc(hf_side_size(of->owner));

  if (!made) return NULL;
  memset(made->base, 0, (size_t)of->owner->base->szOsFile);
  made->of = of;
  made->wal = wal;
  made->of_node = of_node;
  made->frame = (hf_walframe){.fd = -1};
  made->sum = (hf_walsum){0};
  return made;
}

static void release(side *gone)
{
  hf_node *of = gone->of;

  if (gone->of_node)
    atomic_store_explicit(&of->journal_open, false, memory_order_release);
  else
    free(gone);
}

/* The database whose journal this thread closed last, if the journal is not (or not any more) this handle's
 * to delete. Compared, never followed. */
__thread const hf_node *hf_closed_not_ours HF_TLS;

/*
 * Without the lock, the file of that name may be the journal of whoever has it now: it is not touched. One
 * that is left is harmless, because it has the pages as they are, and whoever comes first rolls it back.
 */
static int may_finish(side *at)
{
  return at->of->verify && at->of->reserved ? hf_guard_still_held(at->of) : SQLITE_OK;
}

static int hf_side_xClose(sqlite3_file *file)
{
  side *at = side_of(file);
  hf_node *of = at->of;
  int rc = at->base->pMethods->xClose(at->base);

  if (at->wal && --of->wal_files == 0) {
    of->wal.known = false;
    of->nfs.wal_fd = -1;
  }
  /* DELETE mode closes its journal and then deletes it, on the same thread: see hf_side_keep(). */
  hf_closed_not_ours = !at->wal && (!hf_guard_at_home(of) || may_finish(at)) ? of : NULL;
  release(at);
  hf_node_release(of);
  file->pMethods = NULL;
  return rc;
}
static int hf_side_xRead(sqlite3_file *file, void *data, int amount, sqlite3_int64 offset)
{
  sqlite3_file *base = hf_base_of(file);
  return base->pMethods->xRead(base, data, amount, offset);
}

/* ---------------------------------------------------------------- the -wal */

static const char wal_write[] = "a write of the -wal failed";

static inline int may_write(const side *at)
{
  if (!hf_guard_process(at->of)) return SQLITE_MISUSE;
  if (hf_guard_is_latched(at->of)) return hf_guard_refusal(at->of);
  return HF_UNLIKELY(at->of->verify) && hf_guard_still_held(at->of) ? SQLITE_IOERR_LOCK : SQLITE_OK;
}
static int hf_wal_xWrite(sqlite3_file *file, const void *data, int amount, sqlite3_int64 offset)
{
  side *at = side_of(file);
  int rc = may_write(at);

  if (HF_UNLIKELY(rc)) {
    hf_walframe_forget(&at->frame);
    return rc;
  }
  hf_walsum_look(&at->sum, at->base, data, amount, offset);
  return hf_guard_written(at->of, hf_walframe_write(&at->frame, at->base, data, amount, offset), wal_write);
}
/* SQLite does nothing else with the file between a head and its page. Should it ever: the head comes first.
 */
static HF_SLOW int settle(side *at)
{
  int rc = may_write(at);

  if (rc) hf_walframe_forget(&at->frame);
  return rc ? rc : hf_guard_written(at->of, hf_walframe_settle(&at->frame, at->base), wal_write);
}
static HF_SLOW int read_a_sum(side *at, void *data, int amount, sqlite3_int64 offset)
{
  int rc = may_write(at);

  if (rc) return rc;
  rc = hf_walsum_read(&at->sum, at->base, data, amount, offset);
  if (at->sum.mended)
    hf_report(at->of->owner, "warned", "savepoint", at->of->path, rc,
              "SQLite %s was about to commit %d frames of the -wal without a checksum, a bug that 3.50.2 "
              "does not have: the "
              "next recovery would have lost this commit and all later ones. %s",
              at->of->owner->api.libversion(), at->sum.mended,
              rc ? "They could not be mended: the commit is refused" : "They are mended");
  return rc;
}
static int hf_wal_xRead(sqlite3_file *file, void *data, int amount, sqlite3_int64 offset)
{
  side *at = side_of(file);
  int rc = HF_UNLIKELY(at->frame.held) ? settle(at) : SQLITE_OK;

  if (HF_UNLIKELY(hf_walsum_owes(&at->sum, amount)) && rc == SQLITE_OK)
    return read_a_sum(at, data, amount, offset);
  return rc ? rc : at->base->pMethods->xRead(at->base, data, amount, offset);
}
static int hf_wal_xFileSize(sqlite3_file *file, sqlite3_int64 *out)
{
  side *at = side_of(file);
  int rc = HF_UNLIKELY(at->frame.held) ? settle(at) : SQLITE_OK;

  return rc ? rc : at->base->pMethods->xFileSize(at->base, out);
}
static int hf_wal_xTruncate(sqlite3_file *file, sqlite3_int64 size)
{
  side *at = side_of(file);

  if (!hf_guard_process(at->of)) return SQLITE_MISUSE;
  if (hf_guard_is_latched(at->of)) return hf_guard_refusal(at->of);
  hf_walframe_forget(&at->frame); /* whatever SQLite writes next begins anew */
  return hf_guard_written(at->of, at->base->pMethods->xTruncate(at->base, size),
                          "a truncate of the -wal failed");
}
static int hf_wal_xSync(sqlite3_file *file, int flags)
{
  side *at = side_of(file);
  uint64_t began = hf_ticks();
  int rc;

  if (!hf_guard_process(at->of)) return SQLITE_MISUSE;
  rc = HF_UNLIKELY(at->frame.held) ? settle(at) : SQLITE_OK;
  if (rc) return rc;
  rc = at->base->pMethods->xSync(at->base, flags);
  return hf_guard_written(at->of, hf_stat_synced(&at->of->stats, HF_STAT_SYNC_WAL, began, rc),
                          "a sync of the -wal failed");
}

/* ---------------------------------------------------------------- writes of the -journal */
/*
 * Nothing of it is latched: it may still be rolled back and finished. Where locks are only verified, two that
 * believe to write may have the same journal open: that is what the second set of methods is for. The third
 * is for a server that may forget us (smb.c).
 */

static HF_SLOW int write_abroad(sqlite3_file *file, const void *data, int amount, sqlite3_int64 offset)
{
  side *at = side_of(file);

  if (!hf_guard_process(at->of)) return SQLITE_MISUSE;
  return at->base->pMethods->xWrite(at->base, data, amount, offset);
}
static int hf_journal_xWrite(sqlite3_file *file, const void *data, int amount, sqlite3_int64 offset)
{
  sqlite3_file *base = hf_base_of(file);

  if (!hf_guard_at_home(side_of(file)->of)) return write_abroad(file, data, amount, offset);
  return base->pMethods->xWrite(base, data, amount, offset);
}
static int hf_journal_xTruncate(sqlite3_file *file, sqlite3_int64 size)
{
  side *at = side_of(file);

  if (!hf_guard_process(at->of)) return SQLITE_MISUSE;
  return at->base->pMethods->xTruncate(at->base, size);
}
static HF_SLOW int sync_abroad(sqlite3_file *file, int flags)
{
  side *at = side_of(file);

  if (!hf_guard_process(at->of)) return SQLITE_MISUSE;
  return at->base->pMethods->xSync(at->base, flags);
}
static int hf_journal_xSync(sqlite3_file *file, int flags)
{
  sqlite3_file *base = hf_base_of(file);

  hf_node *of = side_of(file)->of;
  uint64_t began = hf_ticks();

  if (!hf_guard_at_home(of)) return sync_abroad(file, flags);
  return hf_stat_synced(&of->stats, HF_STAT_SYNC_JOURNAL, began, base->pMethods->xSync(base, flags));
}

static int hf_watched_xWrite(sqlite3_file *file, const void *data, int amount, sqlite3_int64 offset)
{
  int rc = hf_guard_process(side_of(file)->of) ? may_finish(side_of(file)) : SQLITE_MISUSE;

  return rc ? rc : hf_journal_xWrite(file, data, amount, offset);
}
static int hf_watched_xTruncate(sqlite3_file *file, sqlite3_int64 size)
{
  int rc = hf_guard_process(side_of(file)->of) ? may_finish(side_of(file)) : SQLITE_MISUSE;

  return rc ? rc : hf_journal_xTruncate(file, size);
}

/* journal_mode=PERSIST ends a transaction by a header of zeros. */
static bool is_end(const char *data, int amount, sqlite3_int64 offset)
{
  static const char zeros[8];
  return offset == 0 && amount >= (int)sizeof zeros && memcmp(data, zeros, sizeof zeros) == 0;
}
static int hf_nfs_xWrite(sqlite3_file *file, const void *data, int amount, sqlite3_int64 offset)
{
  int rc = is_end(data, amount, offset) ? hf_nfs_journal_ends(side_of(file)->of) : SQLITE_OK;

  return rc ? rc : hf_journal_xWrite(file, data, amount, offset);
}
static int hf_nfs_xTruncate(sqlite3_file *file, sqlite3_int64 size)
{
  int rc = hf_nfs_journal_ends(side_of(file)->of);

  return rc ? rc : hf_journal_xTruncate(file, size);
}

static int hf_smb_xWrite(sqlite3_file *file, const void *data, int amount, sqlite3_int64 offset)
{
  return hf_smb_journal_write(side_of(file)->of, hf_base_of(file), data, amount, offset);
}
static int hf_smb_xTruncate(sqlite3_file *file, sqlite3_int64 size)
{
  int rc = hf_smb_journal_ends(side_of(file)->of);

  return rc ? rc : hf_journal_xTruncate(file, size);
}
static int hf_smb_xSync(sqlite3_file *file, int flags)
{
  int rc = hf_smb_journal_send(side_of(file)->of);

  return rc ? rc : hf_journal_xSync(file, flags);
}
static int hf_smb_xRead(sqlite3_file *file, void *data, int amount, sqlite3_int64 offset)
{
  int rc = hf_smb_journal_send(side_of(file)->of);

  return rc ? rc : hf_side_xRead(file, data, amount, offset);
}
static int hf_smb_xFileSize(sqlite3_file *file, sqlite3_int64 *out)
{
  int rc = hf_smb_journal_send(side_of(file)->of);

  return rc ? rc : hf_base_of(file)->pMethods->xFileSize(hf_base_of(file), out);
}
static int hf_smb_xClose(sqlite3_file *file)
{
  int sent = hf_smb_journal_closes(side_of(file)->of);
  int rc = hf_side_xClose(file);

  return rc ? rc : sent;
}

/* ---------------------------------------------------------------- all else */

static int hf_side_xFileSize(sqlite3_file *file, sqlite3_int64 *out)
{
  sqlite3_file *base = hf_base_of(file);
  return base->pMethods->xFileSize(base, out);
}
static int hf_side_xLock(sqlite3_file *file, int level)
{
  sqlite3_file *base = hf_base_of(file);
  return base->pMethods->xLock(base, level);
}
static int hf_side_xUnlock(sqlite3_file *file, int level)
{
  sqlite3_file *base = hf_base_of(file);
  return base->pMethods->xUnlock(base, level);
}
static int hf_side_xCheckReservedLock(sqlite3_file *file, int *out)
{
  sqlite3_file *base = hf_base_of(file);
  return base->pMethods->xCheckReservedLock(base, out);
}
static int hf_side_xFileControl(sqlite3_file *file, int op, void *arg)
{
  sqlite3_file *base = hf_base_of(file);
  return base->pMethods->xFileControl(base, op, arg);
}
static int hf_side_xSectorSize(sqlite3_file *file)
{
  sqlite3_file *base = hf_base_of(file);
  return base->pMethods->xSectorSize(base);
}
static int hf_side_xDeviceCharacteristics(sqlite3_file *file)
{
  sqlite3_file *base = hf_base_of(file);
  return base->pMethods->xDeviceCharacteristics(base);
}

/* SQLite uses no method of version 2 or 3 on a journal or a WAL file. */
#define METHODS(read, write, truncate, sync, size, close)                                                    \
  {                                                                                                          \
    .iVersion = 1, .xClose = (close), .xRead = (read), .xWrite = (write), .xTruncate = (truncate),           \
    .xSync = (sync), .xFileSize = (size), .xLock = hf_side_xLock, .xUnlock = hf_side_xUnlock,                \
    .xCheckReservedLock = hf_side_xCheckReservedLock, .xFileControl = hf_side_xFileControl,                  \
    .xSectorSize = hf_side_xSectorSize, .xDeviceCharacteristics = hf_side_xDeviceCharacteristics             \
  }
static const sqlite3_io_methods wal_methods =
    METHODS(hf_wal_xRead, hf_wal_xWrite, hf_wal_xTruncate, hf_wal_xSync, hf_wal_xFileSize, hf_side_xClose);
static const sqlite3_io_methods journal_methods =
    METHODS(hf_side_xRead, hf_journal_xWrite, hf_journal_xTruncate, hf_journal_xSync, hf_side_xFileSize,
            hf_side_xClose);
static const sqlite3_io_methods watched_methods =
    METHODS(hf_side_xRead, hf_watched_xWrite, hf_watched_xTruncate, hf_journal_xSync, hf_side_xFileSize,
            hf_side_xClose);
static const sqlite3_io_methods nfs_methods = METHODS(hf_side_xRead, hf_nfs_xWrite, hf_nfs_xTruncate,
                                                      hf_journal_xSync, hf_side_xFileSize, hf_side_xClose);
static const sqlite3_io_methods smb_methods =
    METHODS(hf_smb_xRead, hf_smb_xWrite, hf_smb_xTruncate, hf_smb_xSync, hf_smb_xFileSize, hf_smb_xClose);

static const sqlite3_io_methods *methods_for(const hf_node *of, bool wal)
{
  if (wal) return &wal_methods;
  if (HF_UNLIKELY(of->nfs.on)) return &nfs_methods;
  if (HF_UNLIKELY(of->smb.on)) return &smb_methods;
  return of->verify ? &watched_methods : &journal_methods;
}

static bool has(const hf_node *one, const char *name, bool wal)
{
  return strncmp(one->path, name, one->path_length) == 0 &&
         strcmp(name + one->path_length, wal ? "-wal" : "-journal") == 0;
}

/*
 * Whose journal is it? SQLite opens it on the thread that has just locked the database, so that handle is the
 * one. Else it is the one that writes, of which there is one for each file and process. Takes a reference.
 */
static hf_node *database_of(hf_vfs *owner, const char *name, bool wal)
{
  const hf_node *last = hf_last_locked();
  hf_node *found = NULL, *one;

  pthread_mutex_lock(&owner->mutex);
  for (one = owner->nodes; one && one != last;) one = one->next;
  if (one && has(one, name, wal)) found = one;
  for (one = found ? NULL : owner->nodes; one; one = one->next)
    if (has(one, name, wal) && (!found || (!wal && one->reserved))) found = one;
  if (found) atomic_fetch_add(&found->references, 1);
  pthread_mutex_unlock(&owner->mutex);
  return found;
}

/* Of the -wal that was opened just now, if writing to it passes nobody else: a VFS in between, or a call that
 * was put into the place of write(), may look at the size of what is written. */
static int descriptor_of(const hf_node *of)
{
  int fd = hf_last_opened();
  struct stat st;

  if (!of->overridden || of->nfs.on || !of->wal.known || strncmp(of->owner->base->zName, "unix", 4) != 0 ||
      !hf_syscalls_write_is_plain(of->owner) || fd < 0 || fstat(fd, &st))
    return -1;
  return (uint64_t)st.st_ino == of->wal.inode && (uint64_t)st.st_dev == of->wal.device ? fd : -1;
}

/* Returns SQLITE_NOTFOUND when the file is left to the base. */
static int open_for(hf_node *of, const char *name, sqlite3_file *file, int flags, int *out_flags)
{
  sqlite3_vfs *base = of->owner->base;
  side *at;
  int rc;

  if (of->set.mode != HOLDFAST_MODE_ENFORCE) return SQLITE_NOTFOUND;
  if (!hf_guard_process(of)) return SQLITE_MISUSE;
  if (!(flags & SQLITE_OPEN_WAL) && of->verify && of->reserved && hf_guard_still_held(of))
    return SQLITE_IOERR_LOCK;
  if (HF_UNLIKELY(of->nfs.coarse) && (flags & SQLITE_OPEN_CREATE) && hf_nfs_opens(of, name))
    return SQLITE_CANTOPEN;
  at = allocate(of, (flags & SQLITE_OPEN_WAL) != 0);
  if (!at) return SQLITE_NOMEM;
  if (at->wal) hf_forget_last_opened();
  rc = base->xOpen(base, name, at->base, flags, out_flags);
  if (HF_UNLIKELY(at->wal && of->nfs.on) && rc == SQLITE_OK) rc = hf_nfs_wal_opened(of, hf_last_opened());
  if (HF_UNLIKELY(rc)) {
    if (at->base->pMethods) (void)at->base->pMethods->xClose(at->base); /* rc says more */
    release(at);
    return rc;
  }
  if (at->wal && of->wal_files++ == 0) hf_guard_note(of, &of->wal, "-wal");
  if (at->wal) at->frame.fd = descriptor_of(of);
  ((hf_file *)file)->base = at->base;
  file->pMethods = methods_for(of, at->wal);
  return SQLITE_OK;
}

int hf_side_open(hf_vfs *owner, const char *name, sqlite3_file *file, int flags, int *out_flags)
{
  hf_node *of = database_of(owner, name, (flags & SQLITE_OPEN_WAL) != 0);
  int rc = of ? open_for(of, name, file, flags, out_flags) : SQLITE_NOTFOUND;

  if (rc == SQLITE_OK) return rc; /* the side keeps the reference */
  if (of) hf_node_release(of);
  return rc == SQLITE_NOTFOUND ? owner->base->xOpen(owner->base, name, file, flags, out_flags) : rc;
}

/* xDelete: the journal that this thread closed a moment ago without owning it stays. */
bool hf_side_keep(hf_vfs *owner, const char *name)
{
  bool keep = false;
  size_t stem;

  pthread_mutex_lock(&owner->mutex);
  for (const hf_node *one = hf_node_by_sidecar(owner, name, &stem); one && !keep; one = one->next)
    keep = one == hf_closed_not_ours && strncmp(one->path, name, stem) == 0 && one->path[stem] == 0;
  pthread_mutex_unlock(&owner->mutex);
  hf_closed_not_ours = NULL;
  return keep;
}
