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

#include "vfs.h"

/*
 * Is `name` the -journal or -wal of an open file that lies on a server? *smb tells which kind. SQLite asks
 * for both after each SHARED lock; while it holds that, nothing that it would have to see comes into being,
 * so on NFS the directory is asked once.
 */
static bool on_server(hf_vfs *owner, const char *name, bool *smb, bool *directory_is_fresh)
{
  hf_node *node;
  bool fresh;
  size_t stem;

  pthread_mutex_lock(&owner->mutex);
  node = hf_node_by_sidecar(owner, name, &stem);
  fresh = node && node->fresh;
  if (fresh) *smb = node->verdict.smb;
  if (fresh && node == hf_last_locked() && node->nfs.on && node->level >= SQLITE_LOCK_SHARED) {
    *directory_is_fresh = node->nfs.asked;
    node->nfs.asked = true;
  }
  pthread_mutex_unlock(&owner->mutex);
  return fresh;
}

static __attribute__((noinline)) int ask(hf_vfs *owner, const char *name, int flags, int *out)
{
  bool smb = false, directory_is_fresh = false, exists = false;
  int error;

  if (!on_server(owner, name, &smb, &directory_is_fresh))
    return owner->base->xAccess(owner->base, name, flags, out);
  error = hf_fresh_exists(name, smb, directory_is_fresh, &exists);
  if (error) {
    /* "No journal" would be a guess here, and the wrong one costs half a transaction. */
    hf_report(owner, "refused", "journal-unknown", name, SQLITE_IOERR_ACCESS,
              "the server does not say whether this file exists (%s)", strerror(error));
    return SQLITE_IOERR_ACCESS;
  }
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
