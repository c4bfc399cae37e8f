/*
 * nfs_other.c - systems without OFD locks: the I/O of a file on NFS is left as it is, and so are its locks.
 */
#include <errno.h>

#include "nfs.h"

bool hf_nfs_ready(hf_vfs *owner)
{
  (void)owner;
  return false; /* and none of the functions below is called */
}
int hf_nfs_flush(int fd)
{
  (void)fd;
  return ENOTSUP;
}
int hf_nfs_alive(int fd)
{
  (void)fd;
  return ENOTSUP;
}
int hf_nfs_reachable(int fd)
{
  (void)fd;
  return ENOTSUP;
}
int hf_nfs_lock_wal(int fd)
{
  (void)fd;
  return ENOTSUP;
}
int hf_nfs_make(const char *path, const char *database, bool *made)
{
  (void)path, (void)database;
  *made = false;
  return ENOTSUP;
}
int hf_nfs_empty(const char *path)
{
  (void)path;
  return ENOTSUP;
}
