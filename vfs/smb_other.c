/*
 * smb_other.c - systems whose SMB client nobody has looked at yet: their locks are left as they are.
 */
#include <errno.h>

#include "records.h"
#include "smb.h"

int hf_smb_lock(hf_record *record, int fd, int cmd, struct flock *lock, bool fd_writable)
{
  (void)record, (void)fd, (void)cmd, (void)lock, (void)fd_writable;
  errno = ENOTSUP;
  return -1;
}
int hf_smb_fresh_stat(int fd, struct stat *st)
{
  (void)fd, (void)st;
  errno = ENOTSUP;
  return -1;
}
int hf_smb_open(const char *path, bool writable, hf_record *at)
{
  (void)path, (void)writable, (void)at;
  errno = ENOTSUP;
  return -1;
}
int hf_smb_set(int fd, short type, off_t start, off_t length)
{
  (void)fd, (void)type, (void)start, (void)length;
  errno = ENOTSUP;
  return -1;
}
int hf_smb_prove(int fd, bool writable)
{
  (void)fd, (void)writable;
  return ENOTSUP;
}
int hf_smb_defuse(const char *journal, const unsigned char *nonce)
{
  (void)journal, (void)nonce;
  return ENOTSUP;
}
int hf_smb_empty(const char *journal, bool sync)
{
  (void)journal, (void)sync;
  return ENOTSUP;
}
void hf_smb_opened(int fd, const char *path)
{
  (void)fd, (void)path;
}
bool hf_smb_may_come(const char *path, int tries)
{
  (void)path, (void)tries;
  return false;
}
