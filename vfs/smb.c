/*
 * smb.c - one transaction on SMB: what is looked at before it counts (F27).
 *
 * A server that drops a session forgets its locks, and the client opens files again without a word, so that
 * reads and writes go on as if nothing had been. Only the descriptor that carries the locks is never opened
 * again: what is asked through it is a proof that the locks still stand. It is asked for when EXCLUSIVE is
 * granted, before the journal is sealed, before it goes, and in between when the last proof is old. What
 * SQLite believes of the file is compared with what the server has when EXCLUSIVE is granted. After a loss
 * nothing is written until the transaction has been rolled back; then the descriptor is replaced and the
 * connection goes on.
 */
#include "smb.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guard.h"
#include "records.h"

enum {
  COUNTER_AT = 24,    /* change counter, size, freelist: what SQLite itself compares */
  HELD = 65536,       /* bytes of the journal that are put together */
  END = 28,           /* zeros by which journal_mode=PERSIST ends a transaction */
  WRITE_NS = 5000000, /* how old a proof may be before a page of the database goes out ... */
  OTHER_NS = 50000000 /* ... and after a page was read */
};

/* ---------------------------------------------------------------- a lost session */

/*
 * Our journal is still there, and nothing of the database was written: it holds pages as old as any, and is
 * as harmful, because the kernel may have sent it after others had rolled ours back and gone on.
 */
static void defuse(hf_node *node)
{
  char name[HF_SIDECAR_PATH];

  if (node->smb.wrote || !node->smb.has_nonce) return;
  if (snprintf(name, sizeof name, "%s-journal", node->path) < (int)sizeof name)
    (void)hf_smb_defuse(name, node->smb.nonce); /* the transaction fails in any case */
}

static int lost(hf_node *node, const char *how)
{
  if (!node->smb.lost)
    hf_report(node->owner, "lock-lost", "lock-lost", node->path, SQLITE_IOERR_LOCK,
              "the server has forgotten our locks (%s): the transaction fails, the database is not damaged",
              how);
  node->smb.lost = true;
  hf_record_distrust(node->owner->slot, (dev_t)node->self.device, (ino_t)node->self.inode);
  return SQLITE_IOERR_LOCK;
}

static int prove(hf_node *node)
{
  bool writable = false;
  int fd, error;

  if (node->smb.lost) return SQLITE_IOERR_LOCK;
  fd = hf_record_lock_fd(node->owner->slot, (dev_t)node->self.device, (ino_t)node->self.inode, &writable);
  if (fd < 0) return SQLITE_OK; /* nothing is locked, so nothing can be lost */
  error = hf_smb_prove(fd, writable);
  if (error) return lost(node, strerror(error));
  node->smb.proof_ns = hf_now_ns();
  return SQLITE_OK;
}

static int prove_if_older(hf_node *node, int64_t limit_ns)
{
  if (node->smb.lost) return SQLITE_IOERR_LOCK;
  if (node->level == SQLITE_LOCK_NONE || hf_now_ns() - node->smb.proof_ns < limit_ns) return SQLITE_OK;
  return prove(node);
}

bool hf_smb_lost(hf_node *node)
{
  return node->smb.on && node->level > SQLITE_LOCK_NONE && prove(node) != SQLITE_OK;
}

/* ---------------------------------------------------------------- the change counter */

/* What SQLite has seen of the header under this SHARED: it always reads these bytes, alone or with page 1. */
static void remember(hf_node *node, const void *data, int amount, sqlite3_int64 offset)
{
  hf_smb *smb = &node->smb;

  if (offset > COUNTER_AT || offset + amount < COUNTER_AT + (int)sizeof smb->counter) return;
  memcpy(smb->counter, (const char *)data + (COUNTER_AT - offset), sizeof smb->counter);
  smb->seen = true;
}

/* The file is read past the client's cache, so this is the server's word. */
static int unchanged(hf_node *node)
{
  unsigned char now[sizeof node->smb.counter];
  int rc;

  if (!node->smb.seen || !node->reserved) return SQLITE_OK; /* a new file, or the rollback of a hot journal */
  rc = node->base->pMethods->xRead(node->base, now, sizeof now, COUNTER_AT);
  if (rc) return rc;
  if (memcmp(now, node->smb.counter, sizeof now) == 0) return SQLITE_OK;
  return lost(node, "another one has written the file under them, perhaps one that mounts with nobrl");
}

static bool is_wal(const hf_node *node, const char *name)
{
  return strcmp(name + node->path_length, "-wal") == 0;
}

void hf_smb_note_absent(hf_node *node, const char *name)
{
  hf_smb *smb = &node->smb;

  if (!is_wal(node, name)) return;
  smb->no_wal = smb->on && smb->seen;
  memcpy(smb->counter_then, smb->counter, sizeof smb->counter);
}

bool hf_smb_no_wal(const hf_node *node, const char *name)
{
  const hf_smb *smb = &node->smb;

  return smb->on && smb->seen && smb->no_wal && is_wal(node, name) &&
         memcmp(smb->counter_then, smb->counter, sizeof smb->counter) == 0;
}

/* ---------------------------------------------------------------- the journal */

/*
 * Journals are written past the client's cache, and SQLite writes them in small pieces: these are put
 * together here. Nothing is then left in the kernel that it could send when others have rolled our journal
 * back and gone on; what is held here after a loss is dropped.
 */
static int send_held(hf_node *node)
{
  hf_smb *smb = &node->smb;
  int bytes = smb->held_bytes;

  smb->held_bytes = 0;
  return bytes ? smb->journal->pMethods->xWrite(smb->journal, smb->held, bytes, smb->held_at) : SQLITE_OK;
}

int hf_smb_journal_send(hf_node *node)
{
  int rc;

  if (!hf_guard_process(node)) return SQLITE_MISUSE;
  if (node->smb.lost) node->smb.held_bytes = 0;
  if (node->smb.held_bytes == 0) return SQLITE_OK;
  rc = prove_if_older(node, WRITE_NS);
  if (rc) node->smb.held_bytes = 0;
  return rc ? rc : send_held(node);
}

int hf_smb_journal_closes(hf_node *node)
{
  int rc = node->smb.held_bytes ? hf_smb_journal_send(node) : SQLITE_OK;

  free(node->smb.held);
  node->smb.held = NULL;
  node->smb.journal = NULL;
  node->smb.held_bytes = 0;
  return rc;
}

static void remember_nonce(hf_smb *smb, const void *data, int amount, sqlite3_int64 offset)
{
  if (offset != 0 || amount <= END) return; /* the header; its first bytes may be empty still */
  memcpy(smb->nonce, (const char *)data + HF_SMB_NONCE_AT, HF_SMB_NONCE);
  smb->has_nonce = true;
}

/* Does it go behind what is held, or does that have to be sent first? */
static bool fits(const hf_smb *smb, const sqlite3_file *base, int amount, sqlite3_int64 offset)
{
  if (smb->held_bytes == 0) return amount <= HELD;
  return smb->journal == base && offset == smb->held_at + smb->held_bytes && smb->held_bytes + amount <= HELD;
}

int hf_smb_journal_write(hf_node *node, sqlite3_file *base, const void *data, int amount,
                         sqlite3_int64 offset)
{
  static const unsigned char zeros[END];
  hf_smb *smb = &node->smb;
  bool end = offset == 0 && amount == END && memcmp(data, zeros, END) == 0; /* in mode PERSIST */
  int rc = SQLITE_OK;

  if (!hf_guard_process(node)) return SQLITE_MISUSE;
  if (smb->lost) return SQLITE_IOERR_LOCK;
  remember_nonce(smb, data, amount, offset);
  if (!smb->held) smb->held = malloc(HELD);
  if (end || !fits(smb, base, amount, offset)) rc = hf_smb_journal_send(node);
  if (rc) return rc;
  if (end || !smb->held || amount > HELD) {
    rc = end ? hf_smb_journal_ends(node) : prove_if_older(node, WRITE_NS);
    return rc ? rc : base->pMethods->xWrite(base, data, amount, offset);
  }
  if (smb->held_bytes == 0) {
    smb->held_at = offset;
    smb->journal = base;
  }
  memcpy(smb->held + smb->held_bytes, data, (size_t)amount);
  smb->held_bytes += amount;
  return SQLITE_OK;
}

/*
 * The commit point, or the end of a rollback. When the locks are gone, the file of that name may be the
 * journal of whoever has them now; and if it is ours and some of the database was written, its pages are
 * needed.
 */
int hf_smb_journal_ends(hf_node *node)
{
  if (!node->smb.on || node->level < SQLITE_LOCK_RESERVED || !hf_guard_process(node)) return SQLITE_OK;
  return prove(node);
}

/*
 * A journal is emptied, not deleted: an empty journal is no journal to every SQLite. A deleted file keeps its
 * name from being used again as long as the server knows a handle of it, and it goes on knowing those of
 * killed processes, for ever in the worst case: nobody could write any more.
 */
int hf_smb_delete(hf_vfs *owner, const char *name, bool sync)
{
  hf_node *found = NULL;
  size_t stem, length = strlen(name);
  int rc, error;

  if (length < 8 || strcmp(name + length - 8, "-journal") != 0) return SQLITE_NOTFOUND;
  pthread_mutex_lock(&owner->mutex);
  for (hf_node *one = hf_node_by_sidecar(owner, name, &stem); one; one = one->next)
    if (one->smb.on && strncmp(one->path, name, stem) == 0 && one->path[stem] == 0 &&
        (!found || one->level > found->level))
      found = one;
  if (found) atomic_fetch_add(&found->references, 1);
  pthread_mutex_unlock(&owner->mutex);
  if (!found) return SQLITE_NOTFOUND;
  rc = hf_guard_process(found) ? hf_smb_journal_ends(found) : SQLITE_MISUSE;
  hf_node_release(found);
  if (rc) return rc;
  error = hf_smb_empty(name, sync);
  return error == 0 ? SQLITE_OK : error == ENOENT ? SQLITE_IOERR_DELETE_NOENT : SQLITE_IOERR_DELETE;
}

/* ---------------------------------------------------------------- the methods that do more here */

static int smb_xLock(sqlite3_file *file, int level)
{
  hf_node *node = hf_node_of(file);
  bool entering = node->level == SQLITE_LOCK_NONE;
  int rc;

  if (node->smb.lost && !entering) return SQLITE_IOERR_LOCK;
  if (entering) node->smb.lost = node->smb.seen = false;
  rc = hf_xLock(file, level);
  if (rc) return rc;
  if (entering) node->smb.proof_ns = hf_now_ns();
  if (level != SQLITE_LOCK_EXCLUSIVE) return SQLITE_OK;
  node->smb.wrote = false;
  rc = prove(node);
  return rc ? rc : unchanged(node);
}

static int smb_xUnlock(sqlite3_file *file, int level)
{
  hf_node *node = hf_node_of(file);
  int rc;

  if (node->smb.lost) node->smb.held_bytes = 0;
  if (node->smb.lost) defuse(node); /* SQLite has closed it by now, and so has sent the rest of it */
  rc = hf_xUnlock(file, level);
  node->smb.has_nonce = node->smb.wrote = false;
  if (level == SQLITE_LOCK_NONE) node->smb.lost = node->smb.seen = false;
  return rc;
}

/* The proof comes after the read: then what was read is from before the locks went. */
static int smb_xRead(sqlite3_file *file, void *data, int amount, sqlite3_int64 offset)
{
  hf_node *node = hf_node_of(file);
  int rc = hf_xRead(file, data, amount, offset), held;

  if (rc != SQLITE_OK && rc != SQLITE_IOERR_SHORT_READ) return hf_smb_lost(node) ? SQLITE_IOERR_LOCK : rc;
  if (rc == SQLITE_OK && node->level < SQLITE_LOCK_EXCLUSIVE) remember(node, data, amount, offset);
  held = prove_if_older(node, OTHER_NS);
  return held ? held : rc;
}

static int smb_xWrite(sqlite3_file *file, const void *data, int amount, sqlite3_int64 offset)
{
  hf_node *node = hf_node_of(file);
  int rc = hf_smb_journal_send(node); /* with synchronous=OFF nobody else has done it (F26) */

  if (rc == SQLITE_OK) rc = prove_if_older(node, WRITE_NS);
  if (rc) return rc;
  node->smb.wrote = true;
  return hf_xWrite(file, data, amount, offset);
}

static int smb_xTruncate(sqlite3_file *file, sqlite3_int64 size)
{
  hf_node *node = hf_node_of(file);
  int rc = prove(node);

  if (rc) return rc;
  node->smb.wrote = true;
  return hf_xTruncate(file, size);
}

/* The descriptor may be from a session that is gone: a read opens it again, an fsync() does not. */
static int smb_xSync(sqlite3_file *file, int flags)
{
  hf_node *node = hf_node_of(file);
  char bytes[16];
  int rc;

  if (!hf_guard_process(node)) return SQLITE_MISUSE;
  if (node->smb.lost) return SQLITE_IOERR_LOCK;
  rc = node->base->pMethods->xSync(node->base, flags);
  if (rc && prove(node) == SQLITE_OK) {
    (void)node->base->pMethods->xRead(node->base, bytes, sizeof bytes, 0); /* what it reads does not matter */
    rc = node->base->pMethods->xSync(node->base, flags);
  }
  /* Without a journal on disk this is the commit point. */
  if (rc == SQLITE_OK && node->journal_unsafe) return prove(node);
  return hf_guard_written(node, rc, "a sync failed");
}

void hf_smb_methods(hf_node *node)
{
  if (!node->smb.on) return;
  node->methods.xRead = smb_xRead;
  node->methods.xWrite = smb_xWrite;
  node->methods.xTruncate = smb_xTruncate;
  node->methods.xSync = smb_xSync;
  node->methods.xLock = smb_xLock;
  node->methods.xUnlock = smb_xUnlock;
}

void hf_smb_begin(hf_node *node)
{
  node->smb.on = node->smb_locks;
  if (node->smb.on) hf_smb_opened(hf_last_opened(), node->path); /* the first one here: nobody knew before */
}
