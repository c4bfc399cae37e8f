/*
 * access.c - xAccess: is there a -journal, is there a -wal?
 *
 * A network client believes for half a minute or more that a file it once missed is still missing. A reader
 * then does not see the journal of a writer that crashed on another host and takes half a transaction for the
 * database (F24: 10 of 10 on every NFS version). So for files on NFS and SMB the server is asked first.
 * How to ask it is in fresh_<os>.c.
 */
#include <errno.h>
#include <string.h>

#include "smb.h"

/* The handle that this thread has just locked: nobody else uses it now, so it may be kept. */
static hf_node *own_among(hf_node *first, const char *name, size_t stem)
{
  for (hf_node *one = first; one; one = one->next)
    if (one == hf_last_locked() && one->level >= SQLITE_LOCK_SHARED && strncmp(one->path, name, stem) == 0 &&
        one->path[stem] == 0)
      return one;
  return NULL;
}

/* Is `name` the -journal or -wal of an open file that lies on a server? *smb tells which kind. */
static bool on_server(hf_vfs *owner, const char *name, bool *smb, hf_node **own)
{
  hf_node *node;
  bool fresh;
  size_t stem;

  pthread_mutex_lock(&owner->mutex);
  node = hf_node_by_sidecar(owner, name, &stem);
  fresh = node && node->fresh;
  if (fresh) *smb = node->verdict.smb;
  if (fresh) *own = own_among(node, name, stem);
  pthread_mutex_unlock(&owner->mutex);
  return fresh;
}

/*
 * SQLite asks for both files after each SHARED lock. While it holds that, nothing comes into being that it
 * would have to see, so on NFS the directory is asked once. On SMB each name costs three calls, and a -wal
 * that was not there cannot have come as long as the change counter stands: the step to WAL is a transaction.
 */
static bool known_without(hf_node *own, const char *name, bool smb, bool *directory_is_fresh)
{
  if (!own) return false;
  if (smb) return hf_smb_no_wal(own, name);
  *directory_is_fresh = own->nfs.on && own->nfs.asked;
  own->nfs.asked = own->nfs.on;
  return false;
}

static __attribute__((noinline)) int ask(hf_vfs *owner, const char *name, int flags, int *out)
{
  bool smb = false, directory_is_fresh = false, exists = false;
  hf_node *own = NULL;
  int error;

  if (!on_server(owner, name, &smb, &own)) return owner->base->xAccess(owner->base, name, flags, out);
  *out = 0;
  if (known_without(own, name, smb, &directory_is_fresh)) return SQLITE_OK;
  error = hf_fresh_exists(name, smb, directory_is_fresh, &exists);
  if (error) {
    /* "No journal" would be a guess here, and the wrong one costs half a transaction. */
    hf_report(owner, "refused", "journal-unknown", name, SQLITE_IOERR_ACCESS,
              "the server does not say whether this file exists (%s)", strerror(error));
    return SQLITE_IOERR_ACCESS;
  }
  if (own && smb && !exists) hf_smb_note_absent(own, name);
  *out = exists;
  return SQLITE_OK;
}

int hf_xAccess(sqlite3_vfs *vfs, const char *name, int flags, int *out)
{
  hf_vfs *owner = hf_vfs_of(vfs);

  if (flags == SQLITE_ACCESS_EXISTS && atomic_load_explicit(&owner->fresh_files, memory_order_relaxed) > 0)
    return ask(owner, name, flags, out);
  return owner->base->xAccess(owner->base, name, flags, out);
}
