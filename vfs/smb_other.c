/*
 * smb_other.c - systems where SMB locks are not converted: no device is ever taken, so nothing is overridden.
 */
#include "syscalls.h"

#include <errno.h>

bool hf_smb_known(int slot)
{
  (void)slot;
  return false;
}
bool hf_smb_device(uint64_t device)
{
  (void)device;
  return false;
}
bool hf_smb_add_device(int slot, uint64_t device)
{
  (void)slot, (void)device;
  return false;
}
int hf_smb_lock(int slot, int fd, const struct stat *st, int cmd, struct flock *lock, bool *handled)
{
  (void)slot, (void)fd, (void)st, (void)cmd, (void)lock, (void)handled;
  errno = ENOTSUP;
  return -1;
}
int hf_smb_fresh_stat(int fd, struct stat *st)
{
  (void)fd, (void)st;
  errno = ENOTSUP;
  return -1;
}
void hf_smb_closing(int slot, int fd)
{
  (void)slot, (void)fd;
}
